package storetest

import (
	"fmt"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// DirOpener opens the store that lives in a directory.
type DirOpener func(tb testing.TB, dir string) store.Store

// RestartOptions are what a backend states about itself.
type RestartOptions struct {
	LeasesSurvive bool // others use the store, too: a request's leases live on until they end or it is settled
}

// RunRestart checks what survives Close and a new start. It is apart because a store in memory survives nothing.
func RunRestart(t *testing.T, open DirOpener, o ...RestartOptions) {
	survive := len(o) > 0 && o[0].LeasesSurvive
	for _, c := range restartCases {
		t.Run(c.name, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Log("The contract says: " + c.why)
				}
			})
			dir := t.TempDir()
			x := &T{TB: t, S: open(t, dir), Ctx: t.Context(), Now: start}
			t.Cleanup(func() {
				if err := x.S.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			c.run(x, func(flying map[string]store.Subject) {
				t.Helper()
				for id, k := range flying {
					if survive {
						defer x.ended(id, k)
					}
				}
				if err := x.S.Close(); err != nil {
					t.Fatalf("Close: %v", err)
				}
				x.S = open(t, dir)
			})
		})
	}
}

var restartCases = []struct {
	name, why string
	run       func(t *T, restart func(flying map[string]store.Subject)) // flying: who holds a subject's only slot
}{
	{"Docs", "documents, look-up strings, counters and generations survive", func(t *T, restart func(map[string]store.Subject)) {
		d := t.replace(t.create(store.KindKey, "1", "acme", "look"))
		t.create(store.KindKey, "2", "acme", "gone")
		t.ok(t.S.Delete(t.Ctx, store.KindKey, "2", 0), "delete")
		n, err := t.S.Next(t.Ctx, "c")
		t.ok(err, "next")
		g, err := t.S.Generation(t.Ctx, "acme")
		t.ok(err, "generation")
		restart(nil)
		if got, err := t.S.Find(t.Ctx, store.KindKey, "look"); err != nil || got.ID != "1" || got.Version != d.Version {
			t.Errorf("got %+v, %v", got, err)
		}
		_, err = t.S.Find(t.Ctx, store.KindKey, "gone")
		t.is(err, store.ErrNotFound, "find what was deleted")
		if m, err := t.S.Next(t.Ctx, "c"); err != nil || m <= n {
			t.Errorf("next is %d, %v after %d", m, err, n)
		}
		if m, err := t.S.Generation(t.Ctx, "acme"); err != nil || m != g {
			t.Errorf("generation %d, %v, want %d", m, err, g)
		}
		t.admit("a", store.Subject{Kind: store.KindKey, ID: "1", Version: d.Version})
		_, err = t.S.Admit(t.Ctx, t.request("a", store.Subject{Kind: store.KindKey, ID: "1", Version: 1}))
		t.is(err, store.ErrStale, "admit with the version before")
	}},
	{"Limits", "requests a minute and a day stay used; leases end with their process", func(t *T, restart func(map[string]store.Subject)) {
		k, a := t.key("1", core.Limits{RPM: 4, RPD: 5, Concurrency: 1}), t.account("acme", core.Limits{RPD: 9})
		gone := t.key("2", core.Limits{RPD: 1})
		t.admit("a", k, a)
		t.admit("b", gone)
		t.ok(t.S.Delete(t.Ctx, store.KindKey, "2", 0), "delete")
		restart(map[string]store.Subject{"a": k})
		res := t.admit("c", k, a)
		t.remaining(res.Figures, store.KindKey, store.LimitRPM, 2)
		t.remaining(res.Figures, store.KindKey, store.LimitRPD, 3)
		t.remaining(res.Figures, store.KindAccount, store.LimitRPD, 7)
		t.ok(t.S.Flush(t.Ctx), "flush")
		t.create(store.KindKey, "2", "acme")
		t.admit("d", gone)
		restart(map[string]store.Subject{"c": k})
		t.remaining(t.admit("e", k, a).Figures, store.KindKey, store.LimitRPD, 2)
	}},
	{"Raise", "what a budget was raised to survives, also without a request after it", func(t *T, restart func(map[string]store.Subject)) {
		k := t.key("1", core.Limits{USDDay: 1000, USDMonth: 1000})
		t.raise(k, time.UTC, 400, 600)
		restart(nil)
		t.left("a", k, time.UTC, 600, 400)
	}},
	{"Usage", "records survive, also those settled right before Close; so do sums", func(t *T, restart func(map[string]store.Subject)) {
		for i := range 1200 {
			t.put(t.record(fmt.Sprint("a", i)))
		}
		restart(nil)
		t.ok(t.S.Rollup(t.Ctx, t.Now.Add(5*time.Hour)), "rollup")
		t.put(t.record("a0")) // known
		t.put(t.record("b"))  // late
		restart(nil)
		if got := t.sums(store.UsageFilter{}, store.GroupNone)[0]; got.Requests != 1201 {
			t.Errorf("%d requests in the sums, want 1201", got.Requests)
		}
		if got := t.records(store.UsageFilter{}); len(got) != 1201 {
			t.Errorf("%d records, want 1201", len(got))
		}
	}},
	{"Keeping", "sums survive, also those of what was removed", func(t *T, restart func(map[string]store.Subject)) {
		all := t.week()
		now, keep := day0.Add(10*day), store.Retention{Records: 6 * day, Hours: 8 * day}
		t.ok(t.S.Rollup(t.Ctx, now), "rollup")
		restart(nil)
		t.kept("rolled up", all, day0, day0)
		t.retain(now, keep)
		late := t.record("late")
		late.EndedAt = day0.Add(time.Hour)
		t.put(late)
		all = append(all, late)
		restart(nil)
		t.kept("retained", all, day0.Add(2*day), day0.Add(4*day))
		if n := t.retain(now, store.Retention{Records: 6 * day, Hours: 8 * day}); n > 1 {
			t.Errorf("another %d removed, want at most the late record", n)
		}
		t.kept("again", all, day0.Add(2*day), day0.Add(4*day))
	}},
	{"Leases", "a lease and its fencing number survive", func(t *T, restart func(map[string]store.Subject)) {
		n, err := t.S.Acquire(t.Ctx, "x", "a", t.Now, time.Minute)
		t.ok(err, "acquire")
		restart(nil)
		_, err = t.S.Acquire(t.Ctx, "x", "b", t.Now, time.Minute)
		t.is(err, store.ErrHeld, "acquire")
		if m, err := t.S.Acquire(t.Ctx, "x", "b", t.Now.Add(time.Hour), time.Minute); err != nil || m <= n {
			t.Errorf("fence %d, %v, want more than %d", m, err, n)
		}
	}},
}

// ended checks that a request holds its slot still, and settles it.
func (t *T) ended(id string, k store.Subject) {
	t.Helper()
	t.refuse("while "+id+" is in flight", k)
	t.settle(id, k)
}
