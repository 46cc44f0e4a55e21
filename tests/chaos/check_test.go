package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/tests/lambda/stores"
)

var t0 = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

// wellKept is the ledger of a run in which every promise was kept, and each shown.
func wellKept() *ledger {
	l := &ledger{Store: stores.Redis, Shared: true, Interval: 3 * time.Second, Fails: failThreshold, Gateways: 2, Good: "node-1",
		Kinds: map[string]string{"node-1": kindAnthropic, "node-2": kindInvoke}}
	add := func(n int, p planned, end, text string, as ...*attempt) {
		p.Marker = fmt.Sprintf("mark-%d-x", n)
		r := &request{planned: p, ID: fmt.Sprint("req_", n), End: end, Text: text, Status: 200, Began: t0.Add(time.Duration(n) * time.Second)}
		r.Ended = r.Began.Add(time.Second)
		rec := record{RequestID: r.ID, Code: "upstream_error"}
		for _, a := range as {
			a.Marker = p.Marker
			l.attempts = append(l.attempts, a)
			if r.Node = a.Node; a.Whole {
				rec = record{RequestID: r.ID, Node: a.Node, Usage: a.Usage, Success: true}
				r.Input, r.Output = a.Usage.Input+a.Usage.CacheRead, a.Usage.Output
			}
		}
		l.requests, l.records = append(l.requests, r), append(l.records, rec)
	}
	answer := func(n int, node string) *attempt {
		return &attempt{Node: node, Model: "m", At: t0.Add(time.Duration(n)*time.Second + 100*time.Millisecond), Answer: fmt.Sprintf("%d-x/%s/1", n, node),
			Usage: usage{1000, 3, 100}, Whole: true}
	}
	main := planned{Account: accountMain, API: apiChat, Stream: true}
	for n := range 30 {
		a := answer(n, "node-1")
		p := main
		p.Gateway = n % 2
		if n == 15 {
			a = answer(n, "node-2") // it is back
		}
		add(n, p, endWhole, answerText(a.Answer), a)
	}
	// an upstream that died after content, one that said 429 before another answered, and an account without any
	cut := answer(30, "node-3")
	cut.Fault, cut.Whole = faultCut, false
	add(30, main, endEvent, answerPieces(cut.Answer)[0], cut)
	limited, a := answer(31, "node-3"), answer(31, "node-1")
	limited.Fault, limited.Whole, limited.Answer, limited.Limit = faultLimitLong, false, "31-x/node-3/1", limited.At.Add(6*time.Second)
	add(31, main, endWhole, answerText(a.Answer), limited, a)
	dark := answer(32, "dark-1")
	dark.Fault, dark.Whole = fault500, false
	add(32, planned{Account: accountDark, API: apiMessages}, endStatus, "", dark)
	// node-2 was dead from 10 to 14; both processes met it, one of them made a trial
	l.deaths = []*death{{Node: "node-2", From: t0.Add(10 * time.Second), To: t0.Add(14 * time.Second)}}
	for i, ms := range []int{100, 300, 700, 3900} {
		l.failures = append(l.failures, failure{Gateway: 0, At: t0.Add(10*time.Second + time.Duration(ms)*time.Millisecond), RequestID: fmt.Sprint("req_", 2*i), Node: "node-2", Reason: reasonRefused})
	}
	for i, f := range []string{faultReset, fault500, fault502, fault503, faultOverloaded, faultLimitShort, faultSlow, faultSilence, faultEvent, faultEventLate, faultGarbage} {
		l.attempts = append(l.attempts, &attempt{Marker: "mark-0-x", Node: fmt.Sprint("node-", i+10), At: t0, Fault: f})
	}
	for range 2 {
		l.procs = append(l.procs, process{Before: 12, After: 14, Stop: time.Second, Drained: 2, Asked: 2})
	}
	l.sums = map[string]int64{}
	for _, r := range l.records {
		l.sums["requests"]++
		l.sums["input"] += r.Usage.Input + r.Usage.CacheRead
		l.sums["output"] += r.Usage.Output
	}
	return l
}

func TestChecksPass(t *testing.T) {
	for _, c := range wellKept().checks() {
		if len(c.Broken) > 0 {
			t.Errorf("%s: %q", c.Name, c.Broken)
		}
	}
}

// TestChecksFail feeds each check with what it is there to find.
func TestChecksFail(t *testing.T) {
	twice := func(l *ledger, of int) *attempt {
		a := *l.byMarker()[l.requests[of].Marker][0]
		a.Node, a.Answer = "node-4", "twice"
		l.attempts = append(l.attempts, &a)
		return &a
	}
	late := func(l *ledger, gateway int, ms ...int) {
		for _, m := range ms {
			l.failures = append(l.failures, failure{Gateway: gateway, At: t0.Add(10*time.Second + time.Duration(m)*time.Millisecond), Node: "node-2", Reason: reasonRefused})
		}
	}
	for _, c := range []struct {
		why, check string
		spoil      func(*ledger)
	}{
		{"a request fails though a node is good", "a ", func(l *ledger) { l.requests[3].End, l.requests[3].Text = endStatus, "" }},
		{"an error event before any content", "a ", func(l *ledger) { l.requests[30].Text = "" }},
		{"an error event after content that no upstream broke off", "a ", func(l *ledger) { l.requests[3].End = endEvent }},
		{"a connection that breaks after content", "a ", func(l *ledger) { l.requests[30].End = endBroken }},
		{"an answer where nobody can have given one", "a ", func(l *ledger) { l.requests[32].End = endWhole }},
		{"nothing was answered", "a ", func(l *ledger) { l.requests = l.requests[30:31] }},
		{"a clean end of half an answer", "b ", func(l *ledger) { l.requests[3].Text = strings.TrimSuffix(l.requests[3].Text, "]") }},
		{"a piece that stands twice", "b ", func(l *ledger) {
			l.requests[3].Text = strings.Replace(l.requests[3].Text, ".2 ", ".2 3-x/node-1/1.2 ", 1)
		}},
		{"the end of another answer", "b ", func(l *ledger) {
			p := answerPieces(twice(l, 3).Answer)
			l.requests[3].Text = strings.Join(append(answerPieces("3-x/node-1/1")[:3], p[3:]...), "")
		}},
		{"another request's answer", "b ", func(l *ledger) { l.requests[3].Text = l.requests[4].Text }},
		{"a broken answer went on with another", "b ", func(l *ledger) { l.requests[30].Text += "[twice " }},
		{"two whole answers", "b ", func(l *ledger) { twice(l, 3) }},
		{"a whole answer beside one that broke off", "b ", func(l *ledger) { twice(l, 30).Whole = true }},
		{"an answer without text", "b ", func(l *ledger) { l.requests[3].Text = "" }},
		{"the wrong node in the header", "b ", func(l *ledger) { l.requests[3].Node = "node-2" }},
		{"a record twice", "c ", func(l *ledger) { l.records = append(l.records, l.records[3]) }},
		{"a record missing", "c ", func(l *ledger) { l.records = l.records[1:] }},
		{"a record of nobody's request", "c ", func(l *ledger) { l.records = append(l.records, record{RequestID: "req_none"}) }},
		{"another answer's tokens", "c ", func(l *ledger) { l.records[3].Usage.Output++ }},
		{"cache reads lost", "c ", func(l *ledger) { l.records[3].Usage.CacheRead = 0 }},
		{"an estimate of what was reported", "c ", func(l *ledger) { l.records[3].Estimated = true }},
		{"billed on another node", "c ", func(l *ledger) { l.records[3].Node = "node-2" }},
		{"a failure recorded as a success", "c ", func(l *ledger) { l.records[30].Success = true }},
		{"tokens for nothing", "c ", func(l *ledger) { l.records[32].Usage.Output = 5 }},
		{"the client told otherwise", "c ", func(l *ledger) { l.requests[3].Output = 1 }},
		{"a request without an id", "c ", func(l *ledger) { l.requests[3].ID = "" }},
		{"a summary that counts twice", "c ", func(l *ledger) { l.sums["requests"]++ }},
		{"a dead node asked for 2 s", "d a dead", func(l *ledger) { late(l, 0, 1500, 2000) }},
		{"trials too close to each other", "d a dead", func(l *ledger) { late(l, 0, 2500) }},
		{"no node died", "d a dead", func(l *ledger) { l.failures = nil }},
		{"a node that never came back", "d a node", func(l *ledger) { l.byMarker()["mark-15-x"][0].Node = "node-1" }},
		{"a node that came back too late", "d a node", func(l *ledger) { l.byMarker()["mark-15-x"][0].At = t0.Add(23 * time.Second) }},
		{"no time to come back", "d a node", func(l *ledger) { l.deaths[0].Quiet = t0.Add(15 * time.Second) }},
		{"one request asks a node 12 times", "e ", func(l *ledger) {
			for range 12 {
				l.attempts = append(l.attempts, &attempt{Marker: "mark-32-x", Node: "dark-1"})
			}
		}},
		{"the same with refused connections, which no upstream sees", "e ", func(l *ledger) {
			for range 12 {
				l.failures = append(l.failures, failure{RequestID: "req_32", Node: "dark-1", Reason: reasonRefused})
			}
		}},
		{"the process that was told asks again", "f ", func(l *ledger) {
			l.attempts = append(l.attempts, &attempt{Marker: "mark-2-x", Node: "node-3", Model: "m", At: t0.Add(33 * time.Second)})
		}},
		{"another process asks when it must have heard", "f ", func(l *ledger) {
			l.attempts = append(l.attempts, &attempt{Marker: "mark-1-x", Node: "node-3", Model: "m", At: t0.Add(36*time.Second + 500*time.Millisecond)})
		}},
		{"no limit was met", "f ", func(l *ledger) {
			for _, a := range l.attempts {
				a.Limit = time.Time{}
			}
		}},
		{"a process died", "g ", func(l *ledger) { l.procs[1].Early = "exit status 2" }},
		{"a panic in its log", "g ", func(l *ledger) { l.procs[1].Crash = "panic in a handler" }},
		{"descriptors leak", "g ", func(l *ledger) { l.procs[1].After = 40 }},
		{"it had to be killed", "g ", func(l *ledger) { l.procs[1].Exit = "it had to be killed" }},
		{"longer than the grace", "g ", func(l *ledger) { l.procs[1].Stop = grace + time.Second }},
		{"a stream under way was cut", "g ", func(l *ledger) { l.procs[1].Drained = 1 }},
		{"a process that nobody looked at", "g ", func(l *ledger) { l.procs = l.procs[:1] }},
		{"the store failed a request", "- the store", func(l *ledger) { l.away = map[string]bool{"req_3": true} }},
		{"a request that the store failed has two records", "c ", func(l *ledger) {
			l.away = map[string]bool{"req_3": true}
			l.records = append(l.records, l.records[3])
		}},
		{"a fault that nobody met", "- every", func(l *ledger) {
			l.attempts = slices.DeleteFunc(l.attempts, func(a *attempt) bool { return a.Fault == faultGarbage })
		}},
		{"a kind of node that never answered", "- every kind of node", func(l *ledger) { l.byMarker()["mark-15-x"][0].Whole = false }},
		{"a kind of node that never failed", "- every kind of node", func(l *ledger) { l.Good, l.Kinds["node-1"] = "node-2", kindMantle }},
	} {
		t.Run(c.why, func(t *testing.T) {
			l := wellKept()
			c.spoil(l)
			for _, got := range l.checks() {
				if strings.HasPrefix(got.Name, c.check) {
					if len(got.Broken) == 0 {
						t.Errorf("%s passes: %s", got.Name, got.Measured)
					}
					return
				}
			}
			t.Fatalf("there is no check %q", c.check)
		})
	}
}

// TestScarceTraffic: three attempts make a node failed, however long they take to come.
func TestScarceTraffic(t *testing.T) {
	l := wellKept()
	l.failures = nil
	for _, ms := range []int{100, 1700, 2900} {
		l.failures = append(l.failures, failure{Gateway: 1, At: t0.Add(10*time.Second + time.Duration(ms)*time.Millisecond), Node: "node-2", Reason: reasonRefused})
	}
	if c := l.outOfTraffic(); len(c.Broken) > 0 {
		t.Errorf("%q", c.Broken)
	}
}

// TestOtherStores: processes that share nothing may each ask a node that cools.
func TestOtherStores(t *testing.T) {
	l := wellKept()
	l.Shared = false
	l.attempts = append(l.attempts, &attempt{Marker: "mark-1-x", Node: "node-3", Model: "m", At: t0.Add(36*time.Second + 500*time.Millisecond)})
	if c := l.cooled(); len(c.Broken) > 0 {
		t.Errorf("%q", c.Broken)
	}
}
