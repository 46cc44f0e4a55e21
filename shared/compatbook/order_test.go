package compatbook_test

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/compatbook"
	"sluice/shared/store"
	"sluice/shared/store/memory"
)

// slow answers the first edit a second after it has taken place.
type slow struct {
	store.Docs
	first sync.Once
}

func (s *slow) Create(ctx context.Context, d store.Doc) (int64, error) {
	v, err := s.Docs.Create(ctx, d)
	s.first.Do(func() { time.Sleep(time.Second) }) // of the bubble
	return v, err
}

// TestEditsInOrder: of two edits at a time the one that the store has in the end is in force. The table of the first came last
// where its answer did.
func TestEditsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := compatbook.New(compatbook.Options{Tables: store.NewTables(&slow{Docs: memory.New()}, time.Now), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		none := bytes.Replace([]byte(keepNew), []byte("new-flag"), []byte("other-flag"), 1)
		var both sync.WaitGroup
		both.Go(func() {
			if _, err := b.Set(t.Context(), none); err != nil {
				t.Error(err)
			}
		})
		both.Go(func() {
			time.Sleep(time.Second / 2)
			if _, err := b.Set(t.Context(), []byte(keepNew)); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		inForce := takes(t, b.Table())
		if stored, err := b.Read(t.Context()); err != nil || inForce != takes(t, stored) || !inForce {
			t.Errorf("in force: %v, of the store: %v", inForce, err)
		}
	})
}
