package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// check is what a run showed of one promise.
type check struct {
	Name     string
	Measured string
	Broken   []string // each a way in which it was not kept
	Timed    bool     // a machine that is too slow breaks it, too
}

func (c *check) broken(format string, args ...any) {
	c.Broken = append(c.Broken, fmt.Sprintf(format, args...))
}

// checks judges a run. It only reads the ledger.
func (l *ledger) checks() []check {
	kept := l.keptUp()
	cs := []check{l.answered(), l.once(), l.billedOnce(), l.outOfTraffic(), l.backInTraffic(), l.retries(), l.cooled(), l.processes(), l.faults(), l.kinds(), kept}
	for i := range cs {
		switch cs[i].Name[0] {
		case 'd', 'f', '-':
			cs[i].Timed = true
		case 'g': // a store that did not keep up is in the logs
			cs[i].Timed = len(kept.Broken) > 0
		}
	}
	return cs
}

// byMarker groups the attempts at upstreams by the request that they were for.
func (l *ledger) byMarker() map[string][]*attempt {
	out := map[string][]*attempt{}
	for _, a := range l.attempts {
		if a.Marker != "" {
			out[a.Marker] = append(out[a.Marker], a)
		}
	}
	return out
}

func (r *request) String() string {
	return fmt.Sprintf("%s %s (%s, %s, stream %v, gateway %d, node %q, status %d, after %v)", r.Marker, r.ID, r.Account, r.API, r.Stream, r.Gateway, r.Node, r.Status, r.After.Round(1e6))
}

// answered: (a) with one good node every request has its answer, but for those that had content when their upstream died.
// Those end with an error event in the client's dialect.
func (l *ledger) answered() check {
	c := check{Name: "a every request without content yet is answered"}
	whole, waited, cut, refused := 0, 0, 0, 0
	attempts := l.byMarker()
	for _, r := range l.requests {
		switch {
		case l.away[r.ID]: // keptUp tells of it
			refused++
		case r.Account == accountDark:
			refused++
			if r.End != endStatus && r.End != endEvent || r.Text != "" {
				c.broken("no node is well, but %v ended with %s and %q: %s", r, r.End, r.Text, r.Error)
			}
		case r.End == endWhole:
			if whole++; len(attempts[r.Marker]) > 0 && !attempts[r.Marker][0].Limit.IsZero() && r.Account == accountNarrow {
				waited++
			}
		case r.End == endEvent && r.Text != "" && cutAfterContent(attempts[r.Marker]):
			cut++
		default:
			c.broken("%v ended with %s after %q: %s", r, r.End, r.Text, r.Error)
		}
	}
	c.Measured = fmt.Sprintf("%d of %d answered, %d of them on the second try at their only node after its limit; %d had content when it died and ended with an error event; %d of the dark account or without a store refused",
		whole, len(l.requests)-cut-refused, waited, cut, refused)
	if whole == 0 {
		c.broken("no request was answered: nothing was shown")
	}
	return c
}

// cutAfterContent reports whether the last attempt was one that breaks off after content.
func cutAfterContent(as []*attempt) bool {
	if len(as) == 0 {
		return false
	}
	last := as[len(as)-1]
	return last.Fault == faultCut || last.Fault == faultEventLate || last.Fault == faultClosing
}

// holdFor is how long the gateway holds the headers of a stream back.
const holdFor = 15 * time.Second

// once: (b) a client's text is one upstream's answer to it, whole, and no second upstream gave one.
func (l *ledger) once() check {
	c := check{Name: "b no request is answered twice or from two answers"}
	texts, parts := 0, 0
	for _, r := range l.requests {
		own := map[string]*attempt{}
		wholes := 0
		for _, a := range l.byMarkerOf(r.Marker) {
			own[a.Answer] = a
			if a.Whole {
				wholes++
			}
		}
		if wholes > 1 {
			c.broken("%v was answered %d times", r, wholes)
		}
		if wholes == 1 && r.End != endWhole {
			c.broken("%v ended with %s, but an upstream gave the whole answer: %s", r, r.End, r.Error)
		}
		if r.Text == "" {
			if r.End == endWhole {
				c.broken("%v has no text", r)
			}
			continue
		}
		id, _, _ := strings.Cut(strings.TrimPrefix(r.Text, "["), " ")
		a := own[id]
		switch {
		case a == nil:
			c.broken("%v has a text that no upstream sent it: %q", r, r.Text)
		case r.End == endWhole && r.Text != answerText(id):
			c.broken("%v has another text than %s: %q", r, id, r.Text)
		case r.End != endWhole && !strings.HasPrefix(answerText(id), r.Text):
			c.broken("%v broke off with what is no beginning of %s: %q", r, id, r.Text)
		case r.End == endWhole && a.Node != r.Node && r.Ended.Sub(r.Began) < holdFor: // later, keep-alives went out first, with the first node's name
			c.broken("%v has the answer of %s", r, a.Node)
		case r.End == endWhole:
			texts++
		default:
			parts++
		}
	}
	c.Measured = fmt.Sprintf("%d whole texts of one answer each, %d beginnings of one", texts, parts)
	return c
}

func (l *ledger) byMarkerOf(m string) []*attempt {
	if l.index == nil {
		l.index = l.byMarker()
	}
	return l.index[m]
}

// billedOnce: (c) each request has one usage record, with the tokens of the answer that its client got.
func (l *ledger) billedOnce() check {
	c := check{Name: "c every request is billed once, for its own answer"}
	records := map[string][]record{}
	for _, r := range l.records {
		records[r.RequestID] = append(records[r.RequestID], r)
	}
	asked := map[string]bool{}
	exact := 0
	for _, r := range l.requests {
		if r.ID == "" || asked[r.ID] {
			c.broken("%v has no id of its own", r)
			continue
		}
		asked[r.ID] = true
		rs := records[r.ID]
		if l.away[r.ID] && len(rs) == 0 {
			continue // it was not let in
		}
		if len(rs) != 1 {
			c.broken("%v has %d records", r, len(rs))
			continue
		}
		exact += c.billed(r, rs[0], l.byMarkerOf(r.Marker))
	}
	for _, id := range slices.Sorted(maps.Keys(records)) {
		if !asked[id] {
			c.broken("there is a record of %s, which no client made", id)
		}
	}
	sums := map[string]int64{}
	for _, r := range l.records {
		sums["requests"]++
		sums["input"] += r.Usage.Input + r.Usage.CacheRead
		sums["output"] += r.Usage.Output
	}
	if !maps.Equal(sums, l.sums) {
		c.broken("the summary says %v, the records add up to %v", l.sums, sums)
	}
	c.Measured = fmt.Sprintf("%d records of %d requests, %d with their upstream's tokens exactly; the summary is their sum", len(l.records), len(l.requests), exact)
	return c
}

// billed judges the one record of a request; 1 when it has the upstream's tokens.
func (c *check) billed(r *request, rec record, as []*attempt) int {
	if r.End != endWhole {
		if rec.Success {
			c.broken("%v failed, its record says that it did not", r)
		}
		if r.Text == "" && rec.Usage.Output != 0 && !rec.Estimated {
			c.broken("%v got nothing, its record has %+v", r, rec.Usage)
		}
		return 0
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(r.Text, "["), " ")
	for _, a := range as {
		if a.Answer != id {
			continue
		}
		if !rec.Success || rec.Estimated || rec.Usage != a.Usage || rec.Node != a.Node {
			c.broken("%v: %s reported %+v, the record is %+v", r, a.Node, a.Usage, rec)
		}
		if r.Output != a.Usage.Output || r.Input != a.Usage.Input+a.Usage.CacheRead && r.API != apiMessages {
			c.broken("%v: %s reported %+v, the client was told %d and %d", r, a.Node, a.Usage, r.Input, r.Output)
		}
		return 1
	}
	return 0 // once says so
}

// faults: the run was no walk in the park.
func (l *ledger) faults() check {
	c := check{Name: "- every kind of fault was met"}
	met := map[string]int{}
	for _, a := range l.attempts {
		if a.Marker != "" && strings.HasPrefix(a.Node, "node-") {
			met[a.Fault]++
		}
	}
	for _, f := range l.failures {
		if f.Reason == reasonRefused {
			met[faultRefused]++
		}
	}
	var parts []string
	for _, f := range []string{faultRefused, faultReset, fault500, fault502, fault503, faultOverloaded, faultLimitShort, faultLimitLong, faultSlow, faultSilence, faultEvent,
		faultCut, faultEventLate, faultGarbage} {
		parts = append(parts, fmt.Sprintf("%s %d", f, met[f]))
		if met[f] == 0 {
			c.broken("no request met %q: the run is too short, or its seed unlucky", f)
		}
	}
	c.Measured = fmt.Sprintf("%s, node closed %d, well %d", strings.Join(parts, ", "), met[faultClosing], met[faultNone])
	return c
}

// kinds: every kind of node gave answers, and broke off or refused.
func (l *ledger) kinds() check {
	c := check{Name: "- every kind of node answered and failed"}
	well, failed := map[string]int{}, map[string]int{}
	for _, a := range l.attempts {
		switch kind, ok := l.Kinds[a.Node]; {
		case !ok || a.Marker == "":
		case a.Whole:
			well[kind]++
		case a.Fault != faultNone:
			failed[kind]++
		}
	}
	for _, f := range l.failures {
		if kind, ok := l.Kinds[f.Node]; ok && f.Reason == reasonRefused {
			failed[kind]++
		}
	}
	seen := map[string]bool{}
	var parts []string
	for _, node := range slices.Sorted(maps.Keys(l.Kinds)) {
		kind := l.Kinds[node]
		if seen[kind] {
			continue
		}
		seen[kind] = true
		parts = append(parts, fmt.Sprintf("%s %d and %d", cmp.Or(kind, "anthropic"), well[kind], failed[kind]))
		if well[kind] == 0 || failed[kind] == 0 && !l.sound(kind) {
			c.broken("nodes of kind %q answered %d times and failed %d times", cmp.Or(kind, "anthropic"), well[kind], failed[kind])
		}
	}
	c.Measured = strings.Join(parts, ", ")
	return c
}

// sound reports whether no node of the kind was to fail.
func (l *ledger) sound(kind string) bool {
	for node, k := range l.Kinds {
		if k == kind && node != l.Good {
			return false
		}
	}
	return true
}

// keptUp: the store did not fail. Where it did, the machine was too slow for what was asked of it, and the other checks showed
// less than they say.
func (l *ledger) keptUp() check {
	c := check{Name: "- the store kept up", Measured: fmt.Sprintf("it failed %d requests", len(l.away))}
	if len(l.away) > 0 {
		c.broken("the store failed %d requests: the machine is too slow for this -rate", len(l.away))
	}
	return c
}
