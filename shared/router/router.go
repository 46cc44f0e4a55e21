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
	Trial    bool // a trial of this failed node is under way
	Tried    bool // by this request
	Unable   bool // to express this request: never picked
}

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
	preferred bool // some enabled node is preferred for the model: no other one is a candidate
}

// Pick chooses the next node to try: the activated one while it is fit, then the lowest weight; within it by rendezvous
// hash of the session, else the less loaded of two at random. random returns uniform 64-bit numbers.
//
// Where an enabled node is preferred for the model, fit or not, those that merely would take the name are no candidates:
// a Claude name sent to an OpenAI service brings a 404 in place of the real failure. Preferred for Claude names are nodes of
// kind anthropic, bedrock and amazonq, for others those of kind openai, and for any name those that list or map it.
func Pick(cs []Candidate, r *Request, random func() uint64) Choice {
	q := query{Request: r, name: spell(r.Model)}
	for i := range cs {
		if n := cs[i].Node; !n.Disabled && prefers(n, q.name) {
			q.preferred = true
			break
		}
	}
	return q.pick(cs, random)
}

func (q *query) pick(cs []Candidate, random func() uint64) Choice {
	none := Choice{Index: -1, Why: NoNode}
	weight, equals := 0, 0
	for i := range cs {
		c := &cs[i]
		why, wait := q.fit(c)
		if why != Chosen {
			none.note(why, wait)
			continue
		}
		if c.Node.ID == q.Active {
			return chosen(cs, i)
		}
		switch {
		case equals == 0 || c.Node.Weight < weight:
			weight, equals = c.Node.Weight, 1
		case c.Node.Weight == weight:
			equals++
		}
	}
	if equals == 0 {
		return none
	}
	if q.Session != "" {
		return chosen(cs, q.rendezvous(cs, weight))
	}
	a := q.nth(cs, weight, int(random()%uint64(equals)))
	if equals > 1 {
		b := q.nth(cs, weight, int(random()%uint64(equals)))
		if cs[b].InFlight < cs[a].InFlight {
			a = b
		}
	}
	return chosen(cs, a)
}

func chosen(cs []Candidate, i int) Choice {
	s := cs[i].State
	return Choice{Index: i, Trial: s != nil && s.Failed}
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

// fit tells whether a candidate may be tried, and if not, why and for how long.
func (q *query) fit(c *Candidate) (Why, time.Duration) {
	switch {
	case c.Node.Disabled:
		return NoNode, 0
	case q.preferred && !prefers(c.Node, q.name), !q.preferred && !serves(c.Node, q.name):
		return NoModel, 0
	case c.Unable:
		return Unfit, 0
	}
	s := c.State
	if s != nil && s.Blocked != "" {
		return Blocked, 0
	}
	// before Tried: when all were tried and all cool, the caller must know for how long
	if s != nil && len(s.Cooling) > 0 {
		if until := CoolingUntil(s, sent(c.Node, q.name), q.Now); !until.IsZero() {
			return Cooling, until.Sub(q.Now)
		}
	}
	if c.Tried {
		return Tried, 0
	}
	if s != nil && s.Failed {
		if wait := s.FailedAt.Add(q.Policy.TrialAfter).Sub(q.Now); wait > 0 {
			return Failing, wait
		}
		if c.Trial {
			return Failing, time.Second
		}
	}
	return Chosen, 0
}

func (q *query) nth(cs []Candidate, weight, n int) int {
	for i := range cs {
		if why, _ := q.fit(&cs[i]); why == Chosen && cs[i].Node.Weight == weight {
			if n == 0 {
				return i
			}
			n--
		}
	}
	return -1
}

// rendezvous returns the candidate with the highest score: every instance agrees without sharing anything, and when a
// node leaves only its own sessions move.
func (q *query) rendezvous(cs []Candidate, weight int) int {
	h := fnv(q.Session)
	best, top := -1, uint64(0)
	for i := range cs {
		if why, _ := q.fit(&cs[i]); why != Chosen || cs[i].Node.Weight != weight {
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
