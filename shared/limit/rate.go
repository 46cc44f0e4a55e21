// Package limit is the arithmetic of limits: token buckets, calendar days and leases. It does no I/O and takes the time
// as an argument, so that every backend gives the same answer.
package limit

import "math"

const (
	minute = 60_000_000 // microseconds

	// maxRate bounds a rate to one token a microsecond, the smallest step of the state. Higher limits count as this.
	maxRate = minute

	// grace is how far in microseconds a state may lie beyond what its bucket can owe before it is taken for the work
	// of a wrong clock. Within it, a clock that runs back only lengthens waits; were it zero, two instances whose clocks
	// differ could erase each other's debt for ever.
	grace = minute
)

// Never is the wait of what does not fit even into a full bucket.
const Never = math.MaxInt64

// Rate is a token bucket as GCRA: it holds as many tokens as the rate and is refilled evenly with as many a minute. Its
// whole state is one time in microseconds, the moment at which it is full again; 0 is a full bucket. In any t seconds
// at most Rate + Rate*t/60 tokens are taken.
type Rate int64

func (r Rate) bounded() int64 { return min(max(int64(r), 1), maxRate) }

// Cost is the time in microseconds that one token takes to come back, rounded up so that the bound above is never passed.
func (r Rate) Cost() int64 { return (minute + r.bounded() - 1) / r.bounded() }

// Depth is the time in microseconds in which an empty bucket fills: exactly Rate tokens fit.
func (r Rate) Depth() int64 { return r.bounded() * r.Cost() }

// base is the state without what has come back already. One that no bucket can owe becomes an empty bucket with room
// for n: it must let one request in, because only that replaces the state, and else none would pass until the clock is
// back where it was.
func (r Rate) base(full, now, n int64) int64 {
	if full > now+r.Depth()+grace {
		return now + r.Depth() - n*r.Cost()
	}
	return max(full, now)
}

// Take asks for n tokens at now, both times in microseconds. wait 0 means they are there, and next is the state without
// them; otherwise next is full as given and wait the earliest time from now at which they can be there, or Never.
func (r Rate) Take(full, now, n int64) (next, wait int64) {
	if n > r.bounded() {
		return full, Never
	}
	next = r.base(full, now, n) + n*r.Cost()
	if over := next - now - r.Depth(); over > 0 {
		return full, over
	}
	return next, 0
}

// Settle takes n tokens without asking (what a request used beyond its estimate) or, when n is negative, gives them
// back. A bucket never gets fuller than full and never owes more than a minute beyond empty.
func (r Rate) Settle(full, now, n int64) int64 {
	n = min(max(n, -2*r.bounded()), 2*r.bounded())
	return min(r.base(full, now, 0)+n*r.Cost(), now+r.Depth()+grace)
}

// Remaining is the number of whole tokens in the bucket at now.
func (r Rate) Remaining(full, now int64) int64 {
	return max(0, (r.Depth()-(r.base(full, now, 0)-now))/r.Cost())
}
