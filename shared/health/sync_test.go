package health_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"sluice/shared/health"
	"sluice/shared/router"
	"sluice/shared/store"
	"sluice/shared/store/memory"
)

var (
	day    = time.Date(2026, 3, 14, 10, 0, 0, 0, time.UTC)
	strict = router.Policy{FailThreshold: 2, TrialAfter: time.Minute}
	ids    = []string{"1", "2"}
)

// failing is a store whose listings fail when told so, and that may do something before one.
type failing struct {
	*memory.Store
	err    error
	before func()
	lists  int
	gets   int
}

func (f *failing) List(ctx context.Context, kind, account, after string, limit int) ([]store.Doc, error) {
	f.lists++
	if f.err != nil {
		return nil, f.err
	}
	ds, err := f.Store.List(ctx, kind, account, after, limit)
	if f.before != nil { // what happens while the answer is under way
		f.before()
	}
	return ds, err
}

func (f *failing) Get(ctx context.Context, kind, id string) (store.Doc, error) {
	f.gets++
	return f.Store.Get(ctx, kind, id)
}

func pair() (a, b *health.Tracker, f *failing) {
	f = &failing{Store: memory.New()}
	clock := func() time.Time { return day }
	log := slog.New(slog.DiscardHandler)
	return health.New(health.Options{States: store.NewTables(f.Store, clock).States, Log: log, Now: clock}), health.New(health.Options{States: store.NewTables(f, clock).States, Log: log, Now: clock}), f
}

func save(t *testing.T, tr *health.Tracker, n *health.Node) {
	t.Helper()
	if err := tr.Save(t.Context(), n); err != nil {
		t.Fatal(err)
	}
}

func cooling(n *health.Node, model string) bool {
	return !router.CoolingUntil(n.State(), model, day).IsZero()
}

func TestSyncTakesOverWhatOthersSaved(t *testing.T) {
	a, b, f := pair()
	ctx := t.Context()
	b.Sync(ctx, "acme", 1, ids)
	if !b.Current("acme", 1) || b.Current("acme", 2) || b.Current("other", 1) {
		t.Error("the generation is not what was read")
	}
	n := b.Node(ctx, "1", "acme")
	n.Begin(false)
	other := a.Node(ctx, "1", "acme")
	a.Cooled(other, "n", "m", day.Add(time.Minute), "limit", day)
	a.Failed(other, "n", "broken", day, strict)
	a.Failed(other, "n", "broken", day, strict)
	save(t, a, other)
	if n.State() != nil {
		t.Error("it knows before it looked")
	}
	b.Sync(ctx, "acme", 2, ids)
	if s := n.State(); s == nil || !s.Failed || !cooling(n, "m") || n.InFlight() != 1 || b.Node(ctx, "1", "acme") != n {
		t.Errorf("state %+v, in flight %d", s, n.InFlight())
	}
	a.Succeeded(other, "n", strict)
	save(t, a, other)
	b.Sync(ctx, "acme", 3, ids)
	if s := n.State(); s.Failed || !cooling(n, "m") {
		t.Errorf("state %+v", s)
	}
	if b.Node(ctx, "2", "acme").State() != nil || f.gets != 0 || f.lists != 3 {
		t.Errorf("%d listings and %d look-ups for three syncs of two nodes", f.lists, f.gets)
	}
	if err := a.Forget(ctx, "1"); err != nil {
		t.Fatal(err)
	}
	b.Sync(ctx, "acme", 4, ids)
	if n.State() != nil {
		t.Errorf("what is saved no more still counts: %+v", n.State())
	}
}

// Changes that are not saved yet survive, and meet those of others in the store.
func TestSyncKeepsOwnChanges(t *testing.T) {
	a, b, _ := pair()
	ctx := t.Context()
	mine, other := b.Node(ctx, "1", "acme"), a.Node(ctx, "1", "acme")
	b.Cooled(mine, "n", "mine", day.Add(time.Minute), "limit", day)
	b.Failed(mine, "n", "broken", day, strict)
	a.Cooled(other, "n", "theirs", day.Add(time.Minute), "limit", day)
	save(t, a, other)
	b.Sync(ctx, "acme", 1, ids)
	if s := mine.State(); s.FailStreak != 1 || !cooling(mine, "mine") || !cooling(mine, "theirs") {
		t.Errorf("state %+v", s)
	}
	a.Cooled(other, "n", "late", day.Add(time.Minute), "limit", day)
	save(t, a, other)
	save(t, b, mine) // knows nothing of the late one
	a.Sync(ctx, "acme", 2, ids)
	for _, m := range []string{"mine", "theirs", "late"} {
		if !cooling(other, m) {
			t.Errorf("the cool-down for %s was lost: %+v", m, other.State())
		}
	}
	if err := b.Clear(ctx, "1", "acme"); err != nil {
		t.Fatal(err)
	}
	a.Sync(ctx, "acme", 3, ids)
	if s := other.State(); len(s.Cooling) != 0 || s.FailStreak != 0 {
		t.Errorf("forgiven on one, not on the other: %+v", s)
	}
}

// What happens while the listing is under way is newer than it, saved or not.
func TestSyncDoesNotGoBack(t *testing.T) {
	for _, saved := range []bool{true, false} {
		_, b, f := pair()
		ctx := t.Context()
		b.Sync(ctx, "acme", 1, ids)
		n := b.Node(ctx, "1", "acme")
		f.before = func() {
			b.Failed(n, "n", "broken", day, strict)
			if saved {
				save(t, b, n)
			}
		}
		b.Sync(ctx, "acme", 2, ids)
		if s := n.State(); s == nil || s.FailStreak != 1 {
			t.Errorf("saved %v: state %+v", saved, s)
		}
	}
}

func TestSyncWithoutAStore(t *testing.T) {
	_, b, f := pair()
	ctx := t.Context()
	n := b.Node(ctx, "1", "acme")
	b.Failed(n, "n", "broken", day, strict)
	f.err = errors.New("away")
	b.Sync(ctx, "acme", 1, ids)
	if b.Current("acme", 1) || n.State().FailStreak != 1 {
		t.Errorf("state %+v", n.State())
	}
	if err := b.Reload(ctx, "acme", ids); !errors.Is(err, f.err) {
		t.Errorf("error %v", err)
	}
	f.err = nil
	b.Sync(ctx, "acme", 1, ids)
	if !b.Current("acme", 1) {
		t.Error("it is not tried again")
	}
}
