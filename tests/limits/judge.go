package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// row is one promise with what came of it.
type row struct {
	promise, bound, measured string
	ok                       bool
	slow                     bool // nothing was shown, because there was not enough demand
	target                   bool // a figure to reach, not a promise: a miss is printed and is no failure
}

// minute is in microseconds, as all times here.
const minute = int64(time.Minute / time.Microsecond)

// rateRows judges requests per minute: admissions at the times that Admit was given, over every window, and over all.
func rateRows(l *log, limit int64, slack time.Duration, length time.Duration) []row {
	at := make([]int64, 0, len(l.order))
	for _, r := range l.order {
		at = append(at, r.begin)
	}
	slices.Sort(at)
	over, window := worstWindow(at, limit)
	over -= float64(limit) * slack.Seconds() / 60
	bound := "<= L + L*t/60 in any t s"
	if slack > 0 {
		bound = fmt.Sprintf("<= L + L*(t+%g)/60 in any t s", slack.Seconds())
	}
	refill := float64(limit) * length.Minutes()
	share := (float64(len(at)) - float64(limit)) / refill
	// The first L are there without a refill, so they need a demand of their own.
	demand := (float64(len(at)+l.refused) - float64(limit)) / refill
	return []row{
		{promise: fmt.Sprintf("requests per minute, L = %d", limit), bound: bound, ok: len(at) > 0 && over <= 1e-6,
			measured: fmt.Sprintf("%d admitted; the fullest window (%.1f s) is %.1f below", len(at), window.Seconds(), 0-over)},
		{promise: "the refill is not lost", bound: ">= 0.95 of it, demand above", ok: share >= 0.95 && demand > 1.2, slow: demand <= 1.2,
			measured: fmt.Sprintf("%.3f of it, demand %.1f times", share, demand)},
	}
}

// worstWindow returns by how many admissions the fullest window passes limit + limit*t/60 (negative: stays below), and how
// long it is.
func worstWindow(at []int64, limit int64) (over float64, window time.Duration) {
	over = math.Inf(-1)
	// A window from the i-th to the j-th has j-i+1 admissions, so it is the least i - L*t/60 before j that counts.
	least, from := math.Inf(1), int64(0)
	for i, t := range at {
		n := float64(i) - float64(limit)*float64(t-at[0])/float64(minute)
		if n < least {
			least, from = n, t
		}
		if o := n - least + 1 - float64(limit); o > over {
			over, window = o, time.Duration(t-from)*time.Microsecond
		}
	}
	return over, window
}

// edge is where a request begins or ends to hold its place for certain.
type edge struct {
	at   int64
	step int
}

// peak is the most requests that certainly held a place at one moment.
func peak(rs []*request) int {
	var edges []edge
	for _, r := range rs {
		end := r.leaseEnd
		if r.leave > 0 {
			end = min(end, r.leave)
		}
		if end > r.admitted {
			edges = append(edges, edge{r.admitted, 1}, edge{end, -1})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.step, b.step)) // who leaves first
	})
	n, most := 0, 0
	for _, e := range edges {
		n += e.step
		most = max(most, n)
	}
	return most
}

// orphans are the requests that the killed process certainly held.
func orphans(l *log) []*request {
	var out []*request
	for _, r := range l.order {
		if r.group == 0 && r.leave == 0 {
			out = append(out, r)
		}
	}
	return out
}

// probe is what admissions after the end found: how many got in just before the first orphan's lease ended, and when the
// last must have.
type probe struct{ before, after int }

func concurrencyRows(l *log, limit int, p probe) []row {
	most, dead := peak(l.order), len(orphans(l))
	// A request of the killed process whose admission or settlement was on its way may hold a place or not.
	return []row{
		{promise: fmt.Sprintf("concurrent requests, C = %d", limit), bound: "<= C at any moment", ok: most > limit/2 && most <= limit, slow: most <= limit/2,
			measured: fmt.Sprintf("at most %d of %d requests", most, len(l.order))},
		{promise: "a killed process holds on to its places", bound: "<= C - held, until its leases end", ok: dead > 0 && p.before <= limit-dead, slow: dead == 0,
			measured: fmt.Sprintf("%d held, %d let in", dead, p.before)},
		{promise: "and gives them back when its leases end", bound: "C let in", ok: p.after == limit, measured: fmt.Sprintf("%d let in", p.after)},
	}
}

// budgetRows judges a budget in micro-USD. left is what the store says is left of tenfold the budget after the run.
func budgetRows(l *log, budget, left int64) []row {
	spent, most := int64(0), int64(0)
	for _, r := range l.order {
		spent += r.used
		most = max(most, r.ask)
	}
	fullest := fullestAdmission(l.order)
	allowed := underestimated(l.order)
	unspent := spent < budget-most
	return []row{
		{promise: fmt.Sprintf("budget of %d micro-USD", budget), bound: "spent + reserved <= budget at each admission", ok: fullest <= budget,
			measured: fmt.Sprintf("at most %d, %d requests", fullest, len(l.order))},
		{promise: "it is passed only by what was underestimated", bound: fmt.Sprintf("<= %d over", allowed), ok: spent-budget <= allowed && !unspent, slow: unspent,
			measured: fmt.Sprintf("%+d", spent-budget)},
		{promise: "the counter is what was spent", bound: fmt.Sprint(spent), measured: fmt.Sprint(10*budget - left), ok: 10*budget-left == spent},
	}
}

// fullestAdmission is the most that was certainly spent and reserved at one admission, this included.
func fullestAdmission(rs []*request) int64 {
	worst := int64(0)
	for _, r := range rs {
		sum := r.ask
		for _, o := range rs {
			switch {
			case o == r || o.admitted > r.begin: // not certainly before
			case o.leave == 0 || o.leave > r.admitted:
				sum += o.ask // certainly reserved
			case o.settled > 0 && o.settled <= r.begin:
				sum += o.used
			default: // its settlement was on its way
				sum += min(o.ask, o.used)
			}
		}
		worst = max(worst, sum)
	}
	return worst
}

// underestimated sums what the requests that may have been in flight at the last admission used beyond their estimate.
func underestimated(rs []*request) int64 {
	last := int64(0)
	for _, r := range rs {
		last = max(last, r.begin)
	}
	// Which admission the store made last is not known: it is one of those that had not returned when the last one began.
	from, to := int64(math.MaxInt64), int64(0)
	for _, r := range rs {
		if r.admitted >= last {
			from, to = min(from, r.begin), max(to, r.admitted)
		}
	}
	sum := int64(0)
	for _, r := range rs {
		if r.begin <= to && (r.settled == 0 || r.settled >= from) {
			sum += max(0, r.used-r.ask)
		}
	}
	return sum
}
