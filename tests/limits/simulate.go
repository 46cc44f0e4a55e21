package main

import (
	"container/heap"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"sluice/shared/limit"
)

// simulation prints what docs/scale.md quotes. It calls no store: it is a model of one hot item, with the constants of
// package dynamodb, under loads that no test machine can make. The same numbers come out on every run.
func simulation(w io.Writer) error {
	fmt.Fprintln(w, "One hot item of a key with a limit on concurrency and a budget: 1,000 write units a second, 4 tries.")
	fmt.Fprintln(w, "  requests/s  seconds each  in flight  units/write  let in/s  turned away  tries/call  p99 of Admit")
	for _, load := range []struct {
		seconds float64
		rates   []float64
	}{{1, []float64{50, 90, 120, 500}}, {10, []float64{10, 25, 40, 100}}, {30, []float64{5, 15, 25, 100}}} {
		for _, rate := range load.rates {
			seconds := load.seconds
			r := simulateItem(rate, seconds)
			fmt.Fprintf(w, "  %10.0f  %12.0f  %9.0f  %11.1f  %8.0f  %10.1f%%  %10.2f  %9.0f ms\n",
				rate, seconds, r.flight, r.units, r.in, 100*r.away, r.tries, r.p99*1000)
		}
	}
	fmt.Fprintln(w, "\nCalls more than one per admitted request because an instance's picture of the token bucket was out of date (128 instances, 1,000 a minute).")
	fmt.Fprintln(w, "  demand  naive form  form of package dynamodb")
	for _, demand := range []float64{0.2, 0.6, 0.95, 1.5} {
		fmt.Fprintf(w, "  %5.0f%%  %10.3f  %10.3f\n", 100*demand, simulateForms(demand, 0), simulateForms(demand, dynamoLag))
	}
	fmt.Fprintln(w, "\nRequests refused although the whole has room, if a bucket of 64 a minute were split into shards taken at random.")
	fmt.Fprintln(w, "  demand  1 shard  4 shards  16 shards")
	for _, demand := range []float64{0.5, 0.8, 0.95} {
		fmt.Fprintf(w, "  %5.0f%%  %6.2f%%  %7.2f%%  %8.2f%%\n", 100*demand, 100*simulateShards(demand, 1), 100*simulateShards(demand, 4), 100*simulateShards(demand, 16))
	}
	return nil
}

// What the model of an item is made of, in bytes and seconds.
const (
	itemUnits   = 1000             // write units a second of one item
	itemBase    = 200              // keys, version, counters, names
	itemLease   = 30 + 26 + 2      // request id, end.tokens.usd.day.month, overhead of a map's element
	itemLatency = 0.004            // of a call that is taken
	itemTries   = 4                // package dynamodb's
	itemPause   = 0.015            // mean of its first pause; doubled each time
	itemAgain   = 1.               // after which a settlement that failed is repeated
	itemTime    = 240.             // simulated
	dynamoLag   = int64(2_000_000) // microseconds that a bucket in use may lag behind
)

// call is a try of a write at a time.
type call struct {
	at, first float64
	settle    bool
	try       int
}

type calls []call

func (c calls) Len() int           { return len(c) }
func (c calls) Less(i, j int) bool { return c[i].at < c[j].at }
func (c calls) Swap(i, j int)      { c[i], c[j] = c[j], c[i] }
func (c *calls) Push(x any)        { *c = append(*c, x.(call)) }
func (c *calls) Pop() any {
	last := (*c)[len(*c)-1]
	*c = (*c)[:len(*c)-1]
	return last
}

// itemResult is what one item did under a load.
type itemResult struct{ flight, units, in, away, tries, p99 float64 }

// simulateItem lets requests that take some seconds each come at random to one item. What it takes is limited by units,
// and each write costs the item's whole size, leases of requests in flight included.
func simulateItem(rate, seconds float64) itemResult {
	rng := rand.New(rand.NewPCG(7, 11))
	var queue calls
	heap.Push(&queue, call{at: rng.ExpFloat64() / rate})
	tokens, last, leases := float64(itemUnits), 0., 0
	half := itemTime / 2 // the first half fills it
	var writes, units, flight, tried, began, away float64
	var waits []float64
	for len(queue) > 0 {
		c := heap.Pop(&queue).(call)
		if c.at > itemTime {
			break
		}
		if !c.settle && c.try == 0 {
			c.first = c.at
			heap.Push(&queue, call{at: c.at + rng.ExpFloat64()/rate})
			if c.at > half {
				began++
			}
		}
		tokens, last = min(itemUnits, tokens+(c.at-last)*itemUnits), c.at
		if c.at > half {
			tried++
		}
		cost := math.Ceil(float64(itemBase+leases*itemLease) / 1024)
		switch {
		case tokens >= cost:
			tokens -= cost
			if c.settle {
				leases--
			} else {
				leases++
				heap.Push(&queue, call{at: c.at + seconds*(0.5+rng.Float64()), settle: true})
			}
			if c.at > half {
				writes, units, flight = writes+1, units+cost, flight+float64(leases)
				if !c.settle {
					waits = append(waits, c.at-c.first+itemLatency)
				}
			}
		case c.try+1 < itemTries:
			c.at += 2 * itemPause * rng.Float64() * float64(int(1)<<c.try)
			c.try++
			heap.Push(&queue, c)
		case c.settle:
			c.at, c.try = c.at+itemAgain*(0.5+rng.Float64()), 0
			heap.Push(&queue, c)
		case c.at > half:
			away++
		}
	}
	if writes == 0 || began == 0 {
		return itemResult{away: 1}
	}
	return itemResult{flight: flight / writes, units: units / writes, in: float64(len(waits)) / half, away: away / began, tries: tried / writes, p99: quantile(waits, 0.99)}
}

func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[int(q*float64(len(values)-1))]
}

// simulateForms counts the failed updates for each admitted request when many instances share a bucket and each knows it
// only from its own last answer. lag is by how much a bucket in use may lie behind the clock; 0: not at all.
func simulateForms(demand float64, lag int64) float64 {
	const instances, rate = 128, limit.Rate(1000)
	rng := rand.New(rand.NewPCG(3, 5))
	cost, depth := rate.Cost(), rate.Depth()
	var seen, until [instances]int64
	var busy [instances]bool
	state, now, end := int64(0), int64(1e12), int64(1e12)+20*minute
	start := now + 5*minute
	var admitted, extra float64
	for now < end {
		now += int64(rng.ExpFloat64() * float64(minute) / (demand * float64(rate)))
		i := rng.IntN(instances)
		if now < until[i] {
			continue // a refusal that it remembers
		}
		use := busy[i] || seen[i] >= now-lag
		for failed := 0.; ; failed++ {
			if use && state >= now-lag && state <= now+depth-cost {
				state += cost
			} else if !use && state < now {
				state = now + cost
			} else {
				seen[i] = state
				if state > now+depth-cost {
					until[i] = now + min(int64(time.Second/time.Microsecond), state+cost-depth-now)
					break
				}
				// What was seen was out of date: the answer tells the right form. With a lag the form in use is kept.
				use = state >= now-lag
				busy[i] = lag > 0 && use
				continue
			}
			seen[i] = state
			if now > start {
				admitted, extra = admitted+1, extra+failed
			}
			break
		}
	}
	return extra / admitted
}

// simulateShards is the share of requests that a bucket in shards refuses although all shards together would not.
func simulateShards(demand float64, shards int) float64 {
	const total = 64 // a minute; 64 so that 16 shards divide it
	rng := rand.New(rand.NewPCG(13, 17))
	part, whole := limit.Rate(total/shards), limit.Rate(total)
	states := make([]int64, shards)
	state, now := int64(0), int64(1e12)
	var tried, wrong float64
	for range 200_000 {
		now += int64(rng.ExpFloat64() * float64(minute) / (demand * total))
		next, wait := whole.Take(state, now, 1)
		if wait > 0 {
			continue // it has no room either
		}
		state = next
		tried++
		s := rng.IntN(shards)
		if next, wait = part.Take(states[s], now, 1); wait > 0 {
			wrong++
			continue
		}
		states[s] = next
	}
	return wrong / tried
}
