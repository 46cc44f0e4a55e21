package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/store"
	"sluice/shared/store/memory"
)

type thing struct {
	ID, Owner, Word string
	Count           int
	Until           time.Time
}

func things(docs store.Docs, now func() time.Time) *store.Table[thing] {
	return store.NewTable(docs, "thing", now, func(v *thing) store.Meta {
		m := store.Meta{ID: v.ID, Account: v.Owner, Expires: v.Until}
		if v.Word != "" {
			m.Unique = []string{v.Word}
		}
		return m
	})
}

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

func fixed() time.Time { return noon }

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestTableRoundTrip(t *testing.T) {
	ctx, tab := t.Context(), things(memory.New(), fixed)
	made := must[store.Row[thing]](t)(tab.Create(ctx, thing{ID: "a", Owner: "o", Word: "w", Count: 1}))
	if made.Version != 1 {
		t.Errorf("version %d after Create", made.Version)
	}
	if got := must[store.Row[thing]](t)(tab.Find(ctx, "w")); got.Value.ID != "a" || got.Version != 1 {
		t.Errorf("found %+v", got)
	}
	up := must[store.Row[thing]](t)(tab.Update(ctx, "a", func(v *thing) error { v.Count++; v.Word = "x"; return nil }))
	if up.Version != 2 || up.Value.Count != 2 {
		t.Errorf("updated %+v", up)
	}
	for _, c := range []struct {
		reason string
		err    error
		want   error
	}{
		{"the old look-up string is free", second(tab.Find(ctx, "w")), store.ErrNotFound},
		{"the new one is taken", second(tab.Create(ctx, thing{ID: "b", Word: "x"})), store.ErrExists},
		{"the id is taken", second(tab.Create(ctx, thing{ID: "a"})), store.ErrExists},
		{"no such thing to update", second(tab.Update(ctx, "none", func(*thing) error { return nil })), store.ErrNotFound},
		{"no such thing", second(tab.Get(ctx, "none")), store.ErrNotFound},
		{"nothing to delete", tab.Delete(ctx, "none"), store.ErrNotFound},
		{"there was", tab.Delete(ctx, "a"), nil},
		{"now there is none", tab.Delete(ctx, "a"), store.ErrNotFound},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", c.reason, c.err, c.want)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestFailedEditStoresNothing: an error of edit ends the update.
func TestFailedEditStoresNothing(t *testing.T) {
	ctx, tab := t.Context(), things(memory.New(), fixed)
	must[store.Row[thing]](t)(tab.Create(ctx, thing{ID: "a", Count: 1}))
	no := errors.New("no")
	if _, err := tab.Update(ctx, "a", func(v *thing) error { v.Count = 9; return no }); !errors.Is(err, no) {
		t.Errorf("error %v", err)
	}
	if _, err := tab.Upsert(ctx, "b", func(*thing) error { return no }); !errors.Is(err, no) {
		t.Errorf("error %v", err)
	}
	if got := must[store.Row[thing]](t)(tab.Get(ctx, "a")); got.Value.Count != 1 || got.Version != 1 {
		t.Errorf("stored %+v", got)
	}
	if _, err := tab.Get(ctx, "b"); !store.Missing(err) {
		t.Errorf("a refused upsert made something: %v", err)
	}
}

// TestExpiredIsMissing: TTL is checked on read, and an expired holder of an id makes way.
func TestExpiredIsMissing(t *testing.T) {
	now := noon
	ctx, tab := t.Context(), things(memory.New(), func() time.Time { return now })
	must[store.Row[thing]](t)(tab.Create(ctx, thing{ID: "a", Owner: "o", Word: "w", Until: noon.Add(time.Minute)}))
	must[store.Row[thing]](t)(tab.Create(ctx, thing{ID: "b", Owner: "o"}))
	now = noon.Add(time.Minute - time.Nanosecond)
	must[store.Row[thing]](t)(tab.Get(ctx, "a"))
	now = noon.Add(time.Minute)
	for reason, err := range map[string]error{
		"Get":    second(tab.Get(ctx, "a")),
		"Find":   second(tab.Find(ctx, "w")),
		"Update": second(tab.Update(ctx, "a", func(*thing) error { return nil })),
	} {
		if !store.Missing(err) {
			t.Errorf("%s at the very end: %v", reason, err)
		}
	}
	if all := must[[]store.Row[thing]](t)(tab.All(ctx, "o")); len(all) != 1 || all[0].Value.ID != "b" {
		t.Errorf("All: %+v", all)
	}
	again := must[store.Row[thing]](t)(tab.Create(ctx, thing{ID: "a", Owner: "o", Word: "w", Count: 2}))
	if again.Version != 1 || again.Value.Count != 2 {
		t.Errorf("created anew: %+v", again)
	}
	up := must[store.Row[thing]](t)(tab.Upsert(ctx, "a", func(v *thing) error { v.Count++; return nil }))
	if up.Value.Count != 3 {
		t.Errorf("upsert over the new one: %+v", up)
	}
}

// TestAllReadsEveryPage, of one account or of all.
func TestAllReadsEveryPage(t *testing.T) {
	ctx, tab := t.Context(), things(memory.New(), fixed)
	const n = 1203
	for i := range n {
		must[store.Row[thing]](t)(tab.Create(ctx, thing{ID: fmt.Sprintf("%05d", i), Owner: []string{"x", "y"}[i%2]}))
	}
	for account, want := range map[string]int{"": n, "x": (n + 1) / 2, "y": n / 2, "z": 0} {
		all := must[[]store.Row[thing]](t)(tab.All(ctx, account))
		seen := map[string]bool{}
		for _, r := range all {
			seen[r.Value.ID] = true
		}
		if len(all) != want || len(seen) != want {
			t.Errorf("account %q: %d rows, %d ids, want %d", account, len(all), len(seen), want)
		}
	}
}

// TestConcurrentUpdatesAllCount: compare-and-swap under contention.
func TestConcurrentUpdatesAllCount(t *testing.T) {
	ctx, tab := t.Context(), things(memory.New(), fixed)
	const n = 100
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if _, err := tab.Upsert(ctx, "a", func(v *thing) error { v.ID = "a"; v.Count++; return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := must[store.Row[thing]](t)(tab.Get(ctx, "a")); got.Value.Count != n || got.Version != n {
		t.Errorf("count %d at version %d, want %d", got.Value.Count, got.Version, n)
	}
}

// conflicts is a store in which somebody else is always faster.
type conflicts struct {
	store.Docs
	tries int
}

func (c *conflicts) Replace(context.Context, store.Doc) (int64, error) {
	c.tries++
	return 0, store.ErrConflict
}

// TestUpdateGivesUp: with ErrConflict after many tries, at once when its context ends.
func TestUpdateGivesUp(t *testing.T) {
	docs := &conflicts{Docs: memory.New()}
	tab := things(docs, fixed)
	must[store.Row[thing]](t)(tab.Create(t.Context(), thing{ID: "a"}))
	if _, err := tab.Update(t.Context(), "a", func(*thing) error { return nil }); !errors.Is(err, store.ErrConflict) || docs.tries < 10 {
		t.Errorf("%v after %d tries", err, docs.tries)
	}
	ctx, cancel := context.WithCancel(t.Context())
	docs.tries = 0
	_, err := tab.Update(ctx, "a", func(*thing) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) || docs.tries > 1 {
		t.Errorf("%v after %d tries of a cancelled context", err, docs.tries)
	}
}

// TestUnreadableDocument: an error that names it, not a zero value.
func TestUnreadableDocument(t *testing.T) {
	docs := memory.New()
	if _, err := docs.Create(t.Context(), store.Doc{Kind: "thing", ID: "a", Body: []byte("{")}); err != nil {
		t.Fatal(err)
	}
	if _, err := things(docs, fixed).Get(t.Context(), "a"); err == nil || store.Missing(err) || !strings.Contains(err.Error(), "thing a") {
		t.Errorf("error %v", err)
	}
}

// TestMeta: named values of the installation.
func TestMeta(t *testing.T) {
	ctx, tabs := t.Context(), store.NewTables(memory.New(), fixed)
	var v map[string]int
	if err := tabs.ReadMeta(ctx, "m", &v); !store.Missing(err) {
		t.Errorf("unset: %v", err)
	}
	if err := tabs.CreateMeta(ctx, "m", map[string]int{"a": 1}); err != nil {
		t.Fatal(err)
	}
	if err := tabs.CreateMeta(ctx, "m", map[string]int{"a": 2}); !errors.Is(err, store.ErrExists) {
		t.Errorf("set already: %v", err)
	}
	if err := tabs.WriteMeta(ctx, "m", map[string]int{"a": 3}); err != nil {
		t.Fatal(err)
	}
	if err := tabs.ReadMeta(ctx, "m", &v); err != nil || v["a"] != 3 {
		t.Errorf("%v, %v", v, err)
	}
}

// TestIDs: keys begin at 2, as 1 is the published admin credential's; ids sort by number.
func TestIDs(t *testing.T) {
	ctx, tabs := t.Context(), store.NewTables(memory.New(), fixed)
	if id := must[string](t)(tabs.NextID(ctx, store.KindKey)); id != "2" {
		t.Errorf("first key %q", id)
	}
	if id := must[string](t)(tabs.NextID(ctx, store.KindNode)); id != "1" {
		t.Errorf("first node %q", id)
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"2", "10", -1}, {"10", "2", 1}, {"7", "7", 0}, {"9", "8", 1}} {
		if got := store.CompareIDs(c.a, c.b); got < 0 != (c.want < 0) || got > 0 != (c.want > 0) {
			t.Errorf("CompareIDs(%s, %s) = %d", c.a, c.b, got)
		}
	}
}
