package alerts_test

import (
	"errors"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/memory"
)

// TestBudgetsAreHeld: once an hour budgets count at least what the records say, whatever was not counted: requests that were in
// flight when one was set, those that an instance let in before it knew, and all of a store that was copied.
func TestBudgetsAreHeld(t *testing.T) {
	s := memory.New()
	r := newRig(t, s)
	r.remake(s, s)
	l := core.Limits{USDDay: 1000, USDMonth: 5000}
	r.account(began.AddDate(-1, 0, 0), l, l)
	if _, err := r.tables.Nodes.Create(t.Context(), core.Node{ID: "7", Account: "acme", Limits: l}); err != nil {
		t.Fatal(err)
	}
	subjects := []store.Subject{{Kind: store.KindAccount, ID: "acme", Version: 1, Limits: l}, {Kind: store.KindKey, ID: "5", Version: 1, Limits: l},
		{Kind: store.KindNode, ID: "7", Version: 1, Limits: l}}
	spend := func(id, key string, at time.Time, micro int64) {
		rec := core.Settlement{RequestID: id, Account: "acme", Key: key, Node: "7", Status: 200, StartedAt: at, EndedAt: at, CostUSD: micro}
		if err := s.Settle(t.Context(), store.SettleRequest{ID: id, Account: "acme", Now: at, Record: rec}); err != nil {
			t.Fatal(err)
		}
	}
	left := func(why string, want ...int64) {
		t.Helper()
		for i, sub := range subjects {
			req := store.AdmitRequest{Now: r.now, ID: why, Account: "acme", Subjects: []store.Subject{sub}, LeaseEnd: r.now, Zone: time.FixedZone("+8", 8*3600)}
			res, err := s.Admit(t.Context(), req)
			var refused *store.Refusal
			if errors.As(err, &refused) {
				res.Figures = refused.Figures
			} else if err != nil {
				t.Fatal(err)
			}
			if day, month := res.Figures[0].Remaining, res.Figures[1].Remaining; day != want[2*i] || month != want[2*i+1] {
				t.Errorf("%s: %s has %d of its day left and %d of its month, want %d and %d", why, sub.Kind, day, month, want[2*i], want[2*i+1])
			}
		}
	}
	spend("a", "5", r.now.Add(-time.Hour), 300)
	spend("b", "6", r.now.Add(-2*time.Hour), 30)
	spend("c", "5", r.now.Add(-24*time.Hour), 500)
	left("before", 1000, 5000, 1000, 5000, 1000, 5000)
	r.run()
	left("after", 670, 4170, 700, 4200, 670, 4170)
	spend("d", "5", r.now, 1000)
	r.run()
	left("a minute later", 670, 4170, 700, 4200, 670, 4170)
	r.now = r.now.Add(56 * time.Minute) // the next day there
	r.run()
	left("an hour later", 1000, 3170, 1000, 3200, 1000, 3170)
}
