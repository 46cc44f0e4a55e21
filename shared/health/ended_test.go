package health_test

import (
	"errors"
	"testing"
	"time"

	"sluice/shared/core"
)

// An instance that had something else to save put back the block, and the cool-down of a month, that another instance had
// just ended.
func TestWhatAnotherEndedDoesNotComeBack(t *testing.T) {
	month := day.AddDate(0, 0, 18)
	for _, c := range []struct {
		why     string
		between bool // it looked between the end and its own save
		again   bool // it was told once more itself, after the end
	}{
		{"its save alone", false, false},
		{"it had looked before", true, false},
		{"what it learnt itself since counts", true, true},
	} {
		a, b, _ := pair()
		ctx := t.Context()
		n, mine := a.Node(ctx, "1", "acme"), b.Node(ctx, "1", "acme")
		a.Blocked(n, "n", core.BlockedLogin, "refused", day)
		a.Cooled(n, "n", "", month, "monthly limit", day)
		save(t, a, n)
		b.Sync(ctx, "acme", 1, ids)
		if s := mine.State(); s.Blocked == "" || !cooling(mine, "m") {
			t.Fatalf("%s: it does not know: %+v", c.why, s)
		}
		b.Failed(mine, "n", "broken", day, strict) // not saved yet
		if err := a.Clear(ctx, "1", "acme"); err != nil {
			t.Fatal(err)
		}
		if c.between {
			b.Sync(ctx, "acme", 2, ids)
			if s := mine.State(); s.Blocked != "" || cooling(mine, "m") || s.FailStreak != 1 {
				t.Errorf("%s: after the look: %+v", c.why, s)
			}
		}
		if c.again {
			b.Blocked(mine, "n", core.BlockedSuspended, "suspended", day)
			b.Cooled(mine, "n", "", month, "monthly limit", day)
		}
		save(t, b, mine)
		a.Sync(ctx, "acme", 3, ids)
		if s := n.State(); (s.Blocked != "") != c.again || cooling(n, "m") != c.again || s.FailStreak != 1 {
			t.Errorf("%s: it is %+v", c.why, s)
		}
		b.Sync(ctx, "acme", 3, ids)
		if s := mine.State(); (s.Blocked != "") != c.again || cooling(mine, "m") != c.again {
			t.Errorf("%s: there it is %+v", c.why, s)
		}
	}
}

// EndCooling ends the cool-down for all models here and elsewhere, and nothing else.
func TestEndCooling(t *testing.T) {
	a, b, _ := pair()
	ctx := t.Context()
	n, other := a.Node(ctx, "1", "acme"), b.Node(ctx, "1", "acme")
	a.Cooled(n, "n", "", day.AddDate(0, 0, 18), "monthly limit", day)
	a.Cooled(n, "n", "m", day.Add(time.Minute), "limit", day)
	a.Blocked(n, "n", core.BlockedLogin, "refused", day)
	save(t, a, n)
	b.Sync(ctx, "acme", 1, ids)
	b.Failed(other, "n", "broken", day, strict)
	if err := b.EndCooling(ctx, "1", "acme"); err != nil {
		t.Fatal(err)
	}
	a.Sync(ctx, "acme", 2, ids)
	if s := n.State(); cooling(n, "else") || !cooling(n, "m") || s.Blocked == "" || s.FailStreak != 1 {
		t.Errorf("left of it: %+v", s)
	}
	b.Cooled(other, "n", "", day.Add(time.Hour), "limit", day)
	save(t, b, other)
	a.Sync(ctx, "acme", 3, ids)
	if !cooling(n, "else") {
		t.Error("a new cool-down does not count")
	}
}

// What a save that failed had taken is not lost, and stands before what came after it.
func TestFailedSaveLosesNothing(t *testing.T) {
	for _, c := range []struct {
		why            string
		cleared, ended bool // after the save that failed
	}{{"nothing came after", false, false}, {"it was forgiven", true, false}, {"there is quota left", false, true}} {
		tr, f, tables := newTracker(t)
		ctx := t.Context()
		n := tr.Node(ctx, "1", "acct")
		tr.Blocked(n, "a", core.BlockedLogin, "x", now)
		tr.Cooled(n, "a", "", now.Add(time.Hour), "x", now)
		f.err = errors.New("away")
		if tr.Save(ctx, n) == nil {
			t.Fatal("no error")
		}
		if c.cleared && tr.Clear(ctx, "1", "acct") == nil || c.ended && tr.EndCooling(ctx, "1", "acct") == nil {
			t.Fatal("no error")
		}
		f.err = nil
		if err := tr.Save(ctx, n); err != nil {
			t.Fatal(err)
		}
		s := saved(t, tables, "1")
		if (s.Blocked == "") != c.cleared || (len(s.Cooling) == 0) != (c.cleared || c.ended) {
			t.Errorf("%s: saved %+v", c.why, s)
		}
	}
}

// A block that ended by itself is gone here, in the store and elsewhere, also where the first save failed; another stays.
func TestUnblocked(t *testing.T) {
	for _, c := range []struct {
		why, blocked, later, want string
		saved, fails              bool
	}{
		{"its own", core.BlockedLogin, "", "", true, false},
		{"another", core.BlockedSuspended, "", core.BlockedSuspended, true, false},
		{"the store was away", core.BlockedLogin, "", "", true, true},
		{"blocked anew", core.BlockedLogin, core.BlockedLogin, core.BlockedLogin, true, true},
		{"its own, before anyone heard of it", core.BlockedLogin, "", "", false, false},
		{"and with the store away", core.BlockedLogin, "", "", false, true},
	} {
		tr, f, tables := newTracker(t)
		ctx := t.Context()
		n := tr.Node(ctx, "1", "acct")
		tr.Unblocked(n, "a", core.BlockedLogin) // nothing is known
		tr.Blocked(n, "a", c.blocked, "x", now)
		tr.Failed(n, "a", "y", now, policy)
		if c.saved {
			save(t, tr, n)
		}
		tr.Unblocked(n, "a", core.BlockedLogin)
		if c.fails {
			f.err = errors.New("away")
			if tr.Save(ctx, n) == nil {
				t.Fatal("no error")
			}
			f.err = nil
		}
		if c.later != "" {
			tr.Blocked(n, "a", c.later, "x", now)
		}
		tr.Sync(ctx, "acct", 1, []string{"1"})
		if s := n.State(); s.Blocked != c.want || s.FailStreak != 1 {
			t.Errorf("%s: it is %+v", c.why, s)
		}
		save(t, tr, n)
		if s := saved(t, tables, "1"); s.Blocked != c.want || s.FailStreak != 1 {
			t.Errorf("%s: saved %+v", c.why, s)
		}
	}
}
