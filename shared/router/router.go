// Package router orders the candidate nodes of a request. It is pure: time, load and chance are arguments.
package router

import (
	"time"

	"sluice/shared/core"
)

// Candidate is a node as the router sees it.
type Candidate struct {
	Node     *core.Node
	State    *core.NodeState // nil: nothing is known against it
	InFlight int64
	Trial    bool // a trial of this failed or degraded node is under way
	Tried    bool // by this request
	Unable   bool // to express this request: never picked

	why  Why  // what Pick found
	rank rank // when why is Chosen
}

// rank orders candidates that may be tried, before their weights do.
type rank uint8

const (
	fit      rank = iota
	degraded      // better than none
	last          // failed, and its trial not due yet: tried where the client would get nothing else
)

// lastResortAfter is how long a failed node is left alone in any case: an upstream that is down is asked once in that time.
const lastResortAfter = time.Second

// Request is what of a request decides.
type Request struct {
	Model   string // as Resolve names it; "": none is asked for, as of files and batches
	Session string // "" : no affinity
	Active  string // id of the activated node, "" : none
	Now     time.Time
	Policy  Policy
}

// Why tells why no node was chosen.
type Why uint8

// The reasons, the most telling last.
const (
	Chosen  Why = iota
	NoNode      // the account has none enabled
	NoModel     // none is made for the model
	Unfit       // those made for it cannot express the request
	Blocked     // those left wait for someone to act: log in, or settle it with the upstream
	Failing     // those left have failed
	Cooling     // those left are cooling
	Tried       // all were tried
)

// Choice is the router's answer.
type Choice struct {
	Index int           // into the candidates; -1: none
	Trial bool          // it is a failed node's one trial
	Why   Why           // when none
	Wait  time.Duration // with Failing and Cooling: until the first could be tried
}

// query is a request with what of it is the same for every candidate.
type query struct {
	*Request
	name      spelling
	preferred int // how much the name belongs to the enabled node that it belongs to most: those below are no candidates
}

// Pick chooses the next node to try: the activated one while it is fit, then the lowest weight; within it by rendezvous
// hash of the session, else the less loaded of two at random. random returns uniform 64-bit numbers.
//
// A degraded node comes after all that are not, whatever their weights, but for one trial request at a time once that is
// due. Where nothing at all is left, a failed node gets its trial early: who has one node rather waits for it than for us.
//
// Where an enabled node is preferred for the model, fit or not, those that merely would take the name are no candidates:
// a Claude name sent to an OpenAI service brings a 404 in place of the real failure. Preferred for Claude names are nodes of
// kind anthropic, bedrock and amazonq, for others those of kind openai, and for any name those that list or map it. Bedrock's
// own ids go to its nodes, where there are any.
func Pick(cs []Candidate, r *Request, random func() uint64) Choice {
	q := query{Request: r, name: spell(r.Model)}
	for i := range cs {
		if n := cs[i].Node; !n.Disabled {
			q.preferred = max(q.preferred, belongs(n, q.name))
		}
	}
	return q.pick(cs, random)
}

func (q *query) pick(cs []Candidate, random func() uint64) Choice {
	none := Choice{Index: -1, Why: NoNode}
	best, active, equals := place{}, -1, 0
	for i := range cs {
		c := &cs[i]
		var wait time.Duration
		c.why, c.rank, wait = q.judge(c)
		if c.why != Chosen {
			none.note(c.why, wait)
			continue
		}
		if c.rank == last {
			none.note(Failing, wait)
		}
		if c.Node.ID == q.Active {
			active = i
		}
		switch p := (place{c.rank, c.Node.Weight}); {
		case equals == 0 || p.before(best):
			best, equals = p, 1
		case p == best:
			equals++
		}
	}
	switch {
	case equals == 0:
		return none
	case active >= 0 && cs[active].rank == best.rank:
		return chosen(cs, active)
	case q.Session != "":
		return chosen(cs, q.rendezvous(cs, best))
	}
	a := best.nth(cs, int(random()%uint64(equals)))
	if equals > 1 {
		b := best.nth(cs, int(random()%uint64(equals)))
		if cs[b].InFlight < cs[a].InFlight {
			a = b
		}
	}
	return chosen(cs, a)
}

// place is where a candidate stands; those of the same are equals.
type place struct {
	rank   rank
	weight int
}

func (p place) before(o place) bool {
	return p.rank < o.rank || p.rank == o.rank && p.weight < o.weight
}

func (p place) of(c *Candidate) bool {
	return c.why == Chosen && c.rank == p.rank && c.Node.Weight == p.weight
}

func (p place) nth(cs []Candidate, n int) int {
	for i := range cs {
		if p.of(&cs[i]) {
			if n == 0 {
				return i
			}
			n--
		}
	}
	return -1
}

func chosen(cs []Candidate, i int) Choice {
	s := cs[i].State
	return Choice{Index: i, Trial: s != nil && (s.Failed || s.Degraded != "" && cs[i].rank == fit)}
}

// Spare reports whether Pick could have chosen another candidate than the one with the index, a failed one's early trial
// apart. cs must be as Pick left them.
func Spare(cs []Candidate, index int) bool {
	for i := range cs {
		if i != index && cs[i].why == Chosen && cs[i].rank != last {
			return true
		}
	}
	return false
}

// note keeps the most telling reason and the shortest wait.
func (c *Choice) note(why Why, wait time.Duration) {
	if wait > 0 && (c.Wait == 0 || wait < c.Wait) {
		c.Wait = wait
	}
	if why > c.Why {
		c.Why = why
	}
}

// judge tells whether a candidate may be tried, and if not, why and for how long.
func (q *query) judge(c *Candidate) (Why, rank, time.Duration) {
	switch {
	case c.Node.Disabled:
		return NoNode, 0, 0
	case belongs(c.Node, q.name) < q.preferred, q.preferred == stranger && !serves(c.Node, q.name):
		return NoModel, 0, 0
	case c.Unable:
		return Unfit, 0, 0
	}
	s := c.State
	if s == nil {
		if c.Tried {
			return Tried, 0, 0
		}
		return Chosen, fit, 0
	}
	if s.Blocked != "" {
		return Blocked, 0, 0
	}
	// before Tried: when all were tried and all cool, the caller must know for how long
	if len(s.Cooling) > 0 {
		if until := CoolingUntil(s, sent(c.Node, q.name), q.Now); !until.IsZero() {
			return Cooling, 0, until.Sub(q.Now)
		}
	}
	if c.Tried {
		return Tried, 0, 0
	}
	switch {
	case s.Failed:
		return q.failed(c)
	case s.Degraded != "" && (c.Trial || q.Now.Before(s.DegradedAt.Add(q.Policy.TrialAfter))):
		return Chosen, degraded, 0
	}
	return Chosen, fit, 0
}

// failed judges a failed candidate.
func (q *query) failed(c *Candidate) (Why, rank, time.Duration) {
	if c.Trial {
		return Failing, 0, time.Second
	}
	down := q.Now.Sub(c.State.FailedAt)
	switch {
	case down >= q.Policy.TrialAfter:
		return Chosen, fit, 0
	case down >= lastResortAfter || down < 0: // or the clock was set back
		return Chosen, last, q.Policy.TrialAfter - down
	}
	return Failing, 0, lastResortAfter - down
}

// rendezvous returns the candidate of that place with the highest score: every instance agrees without sharing anything,
// and when a node leaves only its own sessions move.
func (q *query) rendezvous(cs []Candidate, p place) int {
	h := fnv(q.Session)
	best, top := -1, uint64(0)
	for i := range cs {
		if !p.of(&cs[i]) {
			continue
		}
		if s := mix(h ^ mix(fnv(cs[i].Node.ID))); best < 0 || s > top {
			best, top = i, s
		}
	}
	return best
}

func fnv(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// mix spreads every bit (splitmix64): FNV alone leaves similar ids close together.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
