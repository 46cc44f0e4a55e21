package usage

import "sluice/shared/store"

// Kind is how fine sums of an hour or a day are. Next to those kept apart by everything there are sums over all but one
// thing: most questions need no more, and these are few however many keys, nodes and models go together.
type Kind int

// The kinds.
const (
	ByAll     Kind = iota // by key, node and model
	ByAccount             // one for the account
	ByKey
	ByNode
	ByModel
	Kinds
)

// Keep are the dimensions that sums of a kind have; the others are empty.
func (k Kind) Keep(d Dims) Dims {
	out := Dims{Account: d.Account}
	switch k {
	case ByAll:
		out.Key, out.Node, out.Model = d.Key, d.Node, d.Model
	case ByKey:
		out.Key = d.Key
	case ByNode:
		out.Node = d.Node
	case ByModel:
		out.Model = d.Model
	}
	return out
}

// KindOf is the coarsest kind that tells what is asked for.
func KindOf(f *store.UsageFilter, by store.GroupBy) Kind {
	kind := ByAccount
	for _, need := range []struct {
		it   bool
		kind Kind
	}{
		{f.Key != "" || by == store.GroupKey, ByKey}, {f.Node != "" || by == store.GroupNode, ByNode}, {f.Model != "" || by == store.GroupModel, ByModel},
	} {
		switch {
		case need.it && kind != ByAccount:
			return ByAll
		case need.it:
			kind = need.kind
		}
	}
	return kind
}

// Tallies are sums by dimensions. They are not for several goroutines.
type Tallies map[Dims]*Tally

// Of is the tally of some dimensions.
func (t Tallies) Of(d Dims) *Tally {
	if t[d] == nil {
		t[d] = &Tally{}
	}
	return t[d]
}

// Of adds sums up to a kind, from those of a finer one.
func (k Kind) Of(all Tallies) Tallies {
	out := make(Tallies)
	for d, t := range all {
		out.Of(k.Keep(d)).Merge(t)
	}
	return out
}
