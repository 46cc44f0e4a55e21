package usage

import (
	"errors"
	"fmt"
	"testing"

	"sluice/shared/core"
	"sluice/shared/store"
)

// Clients name their sessions and agents: a call that sums by them must not hold as many as they like.
func TestGroupsAreBounded(t *testing.T) {
	for _, c := range []struct {
		why    string
		by     store.GroupBy
		groups int
		err    error
	}{
		{"sessions, as many as are told apart", store.GroupSession, store.MaxGroups, nil},
		{"one more", store.GroupSession, store.MaxGroups + 1, store.ErrGroups},
		{"agents", store.GroupAgent, store.MaxGroups + 1, store.ErrGroups},
	} {
		g, all := NewGroups(&store.UsageFilter{}, c.by), NewGroups(&store.UsageFilter{}, c.by)
		for i := range c.groups {
			name := fmt.Sprint(i)
			g.Hour(&Dims{Session: name, Agent: name}, 0).Add(core.UsageSum{Requests: 1})
		}
		all.Merge(g)
		for _, g := range []*Groups{g, all} {
			if out, err := g.List(); !errors.Is(err, c.err) || len(g.sums) > store.MaxGroups || err == nil && out[len(out)-1].Others != int64(c.groups-store.MaxTop) {
				t.Errorf("%s: %d sums, %v", c.why, len(g.sums), err)
			}
		}
	}
}
