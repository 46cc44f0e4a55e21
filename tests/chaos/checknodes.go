package main

import (
	"fmt"
	"slices"
	"time"
)

const (
	reasonRefused = "connection refused" // of a failed attempt, in the gateway's log
	outWithin     = time.Second          // of traffic
	inFlight      = 500 * time.Millisecond
	hearsay       = 5 * time.Second // in which all gateways on one store know what one of them knows (DESIGN 6)
	retryShare    = 0.2             // of the requests
	retryReserve  = 10              // for each process
	spare         = 5               // descriptors that a process may have more after the run
)

// outOfTraffic: (d) a dead node is not asked any more a second after a process met it, but for trials: one for all in an
// interval. A node counts as dead after Fails failures; what does not ask that often may take longer.
func (l *ledger) outOfTraffic() check {
	c := check{Name: fmt.Sprintf("d a dead node is out of traffic in 1 s or %d attempts", l.Fails)}
	worst, attempts, trials, judged := time.Duration(0), 0, 0, 0
	for _, d := range l.deaths {
		for g := range l.Gateways {
			at := l.refusedAt(d, g)
			if len(at) == 0 {
				continue
			}
			judged++
			last := at[0]
			for i, t := range at {
				switch {
				case i > 0 && t.Sub(at[i-1]) >= l.Interval*9/10:
					trials++
					continue
				case t.Sub(at[0]) > outWithin && i >= l.Fails:
					c.broken("gateway %d asked %s %v after it first met it dead, the attempt before %v earlier (%d in all)", g, d.Node, t.Sub(at[0]), t.Sub(at[i-1]), len(at))
				}
				last = t
				attempts++
			}
			worst = max(worst, last.Sub(at[0]))
		}
	}
	c.Measured = fmt.Sprintf("%d deaths, %d times met by a process: out after at most %v, %.1f attempts each and %d trials", len(l.deaths), judged,
		worst.Round(time.Millisecond), float64(attempts)/float64(max(1, judged)), trials)
	if judged == 0 {
		c.broken("no process met a dead node: nothing was shown")
	}
	return c
}

// refusedAt are the times at which a gateway's attempts at a dead node failed, in order.
func (l *ledger) refusedAt(d *death, gateway int) []time.Time {
	var at []time.Time
	for _, f := range l.failures {
		if f.Gateway == gateway && f.Node == d.Node && f.Reason == reasonRefused && !f.At.Before(d.From) && (d.To.IsZero() || f.At.Before(d.To)) {
			at = append(at, f.At)
		}
	}
	slices.SortFunc(at, time.Time.Compare)
	return at
}

// backInTraffic: (d) a node that is well again serves again: every process that met it dead, or on one store any of them.
func (l *ledger) backInTraffic() check {
	bound := backWithin(l.Interval)
	c := check{Name: fmt.Sprintf("d a node that is well again serves within %v", bound)}
	worst, judged := time.Duration(0), 0
	gateways := map[string]int{}
	for _, r := range l.requests {
		gateways[r.Marker] = r.Gateway
	}
	for _, d := range l.deaths {
		if d.To.IsZero() || !d.Quiet.IsZero() && d.Quiet.Sub(d.To) < bound || l.lastAsk().Sub(d.To) < bound {
			continue
		}
		first := func(g int) (took time.Duration, found bool) { // of gateway g, of any when it is below 0
			for _, a := range l.attempts {
				if from, ok := gateways[a.Marker]; ok && (g < 0 || from == g) && a.Node == d.Node && a.At.After(d.To) && (!found || a.At.Sub(d.To) < took) {
					took, found = a.At.Sub(d.To), true
				}
			}
			return took, found
		}
		for g := range l.Gateways {
			if l.Shared {
				g = -1
			} else if len(l.refusedAt(d, g)) == 0 {
				continue // it does not know of the death
			}
			judged++
			took, found := first(g)
			if worst = max(worst, took); !found || took > bound {
				c.broken("gateway %d (below 0: any): %s was well again for %v until it was asked (asked at all: %v)", g, d.Node, took, found)
			}
			if l.Shared {
				break
			}
		}
	}
	c.Measured = fmt.Sprintf("%d returns: after at most %v", judged, worst.Round(time.Millisecond))
	if judged == 0 {
		c.broken("no node came back in time to be judged: nothing was shown")
	}
	return c
}

// lastAsk is when the last request began.
func (l *ledger) lastAsk() (t time.Time) {
	for _, r := range l.requests {
		if r.Began.After(t) {
			t = r.Began
		}
	}
	return t
}

// retries: (e) what one request asks the same node for beyond the first time is at most a fifth of the requests, and ten for
// each process. Each account has its own budget.
func (l *ledger) retries() check {
	c := check{Name: "e retries stay in budget"}
	type subject struct {
		account string
		gateway int
	}
	type pairing struct{ request, node string }
	requests, extra := map[subject]int{}, map[subject]int{}
	of, ids := map[string]subject{}, map[string]string{}
	for _, r := range l.requests {
		s := subject{r.Account, r.Gateway}
		requests[s]++
		of[r.Marker], ids[r.ID] = s, r.Marker
	}
	tries := map[pairing]int{}
	for _, a := range l.attempts {
		if a.Marker != "" {
			tries[pairing{a.Marker, a.Node}]++
		}
	}
	for _, f := range l.failures {
		if m, ok := ids[f.RequestID]; ok && f.Reason == reasonRefused { // which no upstream could see
			tries[pairing{m, f.Node}]++
		}
	}
	for p, n := range tries {
		extra[of[p.request]] += n - 1
	}
	text := ""
	for _, account := range []string{accountMain, accountNarrow, accountDark} {
		most, bound := 0, 0.0
		for g := range l.Gateways {
			s := subject{account, g}
			b := retryShare*float64(requests[s]) + retryReserve
			if extra[s] >= most {
				most, bound = extra[s], b
			}
			if float64(extra[s]) > b {
				c.broken("gateway %d, account %s: %d further tries on the same node for %d requests, at most %.1f are in budget", g, account, extra[s], requests[s], b)
			}
		}
		text += fmt.Sprintf("%s: at most %d of %.1f in a process; ", account, most, bound)
	}
	c.Measured = text[:len(text)-2]
	return c
}

// cooled: (f) a node that said 429 is not asked for that model before its time is over: by the process that was told not at
// once, by others on the same store not once they have heard of it.
func (l *ledger) cooled() check {
	c := check{Name: "f a cooled node is left alone"}
	gateways := map[string]int{}
	for _, r := range l.requests {
		gateways[r.Marker] = r.Gateway
	}
	limits, early := 0, 0
	for _, a := range l.attempts {
		if a.Limit.IsZero() || a.Marker == "" {
			continue
		}
		limits++
		for _, b := range l.attempts {
			if b.Marker == "" || b.Node != a.Node || b.Model != a.Model || !b.At.After(a.At) || !b.At.Before(a.Limit) {
				continue
			}
			same := gateways[a.Marker] == gateways[b.Marker]
			after := b.At.Sub(a.At)
			if !same {
				early++
			}
			if same && after > inFlight || !same && l.Shared && after > hearsay {
				c.broken("%s told gateway %d to leave it alone for %v, and was asked for %s by gateway %d after %v", a.Node, gateways[a.Marker],
					a.Limit.Sub(a.At), a.Model, gateways[b.Marker], after)
			}
		}
	}
	c.Measured = fmt.Sprintf("%d answers 429; asked within their time by processes that had not heard: %d", limits, early)
	if limits == 0 {
		c.broken("no request met a limit: nothing was shown")
	}
	return c
}

// processes: (g) none died, leaked descriptors, or failed to end in time with what was under way.
func (l *ledger) processes() check {
	c := check{Name: "g processes live, leak nothing and end cleanly"}
	text := ""
	for g, p := range l.procs {
		if p.Early != "" {
			c.broken("gateway %d ended by itself: %s", g, p.Early)
			continue
		}
		if p.Crash != "" {
			c.broken("gateway %d has in its log: %s", g, p.Crash)
		}
		if p.After > p.Before+spare {
			c.broken("gateway %d has %d open descriptors, %d before the run", g, p.After, p.Before)
		}
		if p.Exit != "" || p.Stop > grace {
			c.broken("gateway %d took %v to end: %s", g, p.Stop, p.Exit)
		}
		if p.Drained != p.Asked || p.Asked == 0 {
			c.broken("gateway %d: %d of %d streams under way came whole when it was told to end", g, p.Drained, p.Asked)
		}
		text += fmt.Sprintf("%d to %d descriptors and %d to the store, %d MiB, %d errors logged, ended in %.1f s; ", p.Before, p.After, p.Pool, p.MemoryMB, p.Errors, p.Stop.Seconds())
	}
	if len(l.procs) != l.Gateways {
		c.broken("%d of %d processes were looked at", len(l.procs), l.Gateways)
	}
	c.Measured = text
	return c
}
