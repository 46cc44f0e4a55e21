package health_test

import (
	"testing"
	"time"

	"sluice/shared/core"
)

// TestNoted: why a request failed that says nothing of the node is told and changes nothing else, and however often it comes,
// it is written at most once a minute, the same reason at most once an hour.
func TestNoted(t *testing.T) {
	tr, f, tables := newTracker(t)
	n := tr.Node(t.Context(), "1", "acct")
	wrote := 0
	for _, c := range []struct {
		why    string
		at     time.Duration
		reason string
		writes bool
	}{
		{"the first", 0, "no access", true},
		{"the same again", 2 * time.Minute, "no access", false},
		{"another one", 2 * time.Minute, "no form", true},
		{"another one at once", 2*time.Minute + 59*time.Second, "no access", false},
		{"a minute later", 3 * time.Minute, "no access", true},
		{"the same, an hour later", 63 * time.Minute, "no access", true},
	} {
		tr.Noted(n, c.reason, now.Add(c.at))
		save(t, tr, n)
		if c.writes {
			wrote++
		}
		s := saved(t, tables, "1")
		if f.writes != wrote || c.writes && (s.LastError != c.reason || !s.LastErrAt.Equal(now.Add(c.at))) {
			t.Errorf("%s: %d writes, want %d; saved %+v", c.why, f.writes, wrote, s)
		}
		if s.FailStreak != 0 || s.Failed || s.Blocked != "" || len(s.Cooling) != 0 {
			t.Errorf("%s: it counts: %+v", c.why, s)
		}
	}
	tr.Failed(n, "a", "broken", now.Add(64*time.Minute), policy)
	tr.Failed(n, "a", "broken", now.Add(64*time.Minute), policy)
	tr.Noted(n, "no form", now.Add(66*time.Minute))
	if s := n.State(); !s.Failed || s.LastError != "broken" {
		t.Errorf("a failed node: %+v", s)
	}
	tr.Blocked(n, "a", core.BlockedLogin, "refused", now.Add(64*time.Minute))
	tr.Noted(n, "no form", now.Add(66*time.Minute))
	if s := n.State(); s.Blocked != core.BlockedLogin || s.LastError != "refused" {
		t.Errorf("a blocked node: %+v", s)
	}
}
