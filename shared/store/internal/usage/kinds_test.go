package usage

import (
	"testing"

	"sluice/shared/core"
	"sluice/shared/store"
)

func TestKindOf(t *testing.T) {
	for _, c := range []struct {
		why    string
		filter store.UsageFilter
		by     store.GroupBy
		want   Kind
	}{
		{"nothing but the account is asked for", store.UsageFilter{Account: "a"}, store.GroupDay, ByAccount},
		{"a group", store.UsageFilter{}, store.GroupKey, ByKey},
		{"a filter", store.UsageFilter{Node: "1"}, store.GroupHour, ByNode},
		{"a filter by what is grouped", store.UsageFilter{Model: "m"}, store.GroupModel, ByModel},
		{"two things need the finest", store.UsageFilter{Key: "1"}, store.GroupModel, ByAll},
		{"two filters, too", store.UsageFilter{Key: "1", Node: "1"}, store.GroupNone, ByAll},
	} {
		if got := KindOf(&c.filter, c.by); got != c.want {
			t.Errorf("%s: %v, want %v", c.why, got, c.want)
		}
	}
}

// Sums of each kind add up to the same.
func TestKinds(t *testing.T) {
	all := make(Tallies)
	var want Tally
	for i, d := range []Dims{{"a", "1", "1", "m", "", ""}, {"a", "1", "2", "m", "", ""}, {"a", "2", "2", "n", "", ""}, {"b", "2", "2", "n", "", ""}} {
		r := core.Settlement{Account: d.Account, Key: d.Key, Node: d.Node, Model: d.Model, Status: 200, FirstByteMS: int64(100 * i), CostUSD: int64(i)}
		all.Of(ByAll.Keep(d)).Record(&r)
		want.Record(&r)
	}
	for k, groups := range map[Kind]int{ByAll: 4, ByAccount: 2, ByKey: 3, ByNode: 3, ByModel: 3} {
		part := k.Of(all)
		var got Tally
		for _, t := range part {
			got.Merge(t)
		}
		if len(part) != groups || got.Sum() != want.Sum() {
			t.Errorf("kind %d: %d groups of %+v, want %d of %+v", k, len(part), got.Sum(), groups, want.Sum())
		}
	}
}

// A text that is none of a sketch is told of.
func TestDamagedSketch(t *testing.T) {
	g := NewGroups(&store.UsageFilter{}, store.GroupNone)
	g.Hour(&Dims{}, 1).AddText(&core.UsageSum{Requests: 1}, "A", "AB")
	if out, err := g.List(); err == nil {
		t.Errorf("%+v, want an error", out)
	}
}
