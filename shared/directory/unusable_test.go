package directory_test

import (
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/seal/sealtest"
	"sluice/shared/store"
	"sluice/shared/store/memory"
)

// TestAnUnusableCopyIsReadAgain: a key that is usable again must not stay refused until the process ends.
func TestAnUnusableCopyIsReadAgain(t *testing.T) {
	box := sealtest.Box(t)
	s := memory.New()
	tabs := store.NewTables(s, time.Now)
	d := directory.New(directory.Options{Tables: tabs, Generations: s, Box: box, Now: time.Now})
	if _, err := tabs.Keys.Create(t.Context(), core.Key{ID: "2", Account: "a", Revoked: true, Hashes: []string{box.Hash("a-revoked-key-123")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Authenticate(t.Context(), "a-revoked-key-123", directory.Origin{Direct: true}); core.AsError(err).Code != core.CodeUnauthenticated {
		t.Fatalf("revoked: %v", err)
	}
	if _, err := tabs.Keys.Update(t.Context(), "2", func(k *core.Key) error { k.Revoked = false; return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Authenticate(t.Context(), "a-revoked-key-123", directory.Origin{Direct: true}); err != nil {
		t.Errorf("no longer revoked: %v", err)
	}
}
