// Package router orders the candidate nodes of a request. It is pure: time, load and chance are arguments.
package router

import (
	"strings"
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
}

// Request is what of a request decides.
type Request struct {
	Model   string // as the client named it
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

// Pick chooses the next node to try: the activated one while it is fit, then the lowest weight; within it by rendezvous
// hash of the session, else the less loaded of two at random. random returns uniform 64-bit numbers.
func Pick(cs []Candidate, r *Request, random func() uint64) Choice {
	none := Choice{Index: -1, Why: NoNode}
	weight, equals := 0, 0
	for i := range cs {
		c := &cs[i]
		why, wait := fit(c, r)
		if why != Chosen {
			none.note(why, wait)
			continue
		}
		if c.Node.ID == r.Active {
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
	if r.Session != "" {
		return chosen(cs, rendezvous(cs, r, weight))
	}
	a := nth(cs, r, weight, int(random()%uint64(equals)))
	if equals > 1 {
		b := nth(cs, r, weight, int(random()%uint64(equals)))
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
func fit(c *Candidate, r *Request) (Why, time.Duration) {
	switch {
	case c.Node.Disabled:
		return NoNode, 0
	case !Serves(c.Node, r.Model):
		return NoModel, 0
	}
	// before Tried: when all were tried and all cool, the caller must know for how long
	if until := CoolingUntil(c.State, SentModel(c.Node, r.Model), r.Now); !until.IsZero() {
		return Cooling, until.Sub(r.Now)
	}
	if c.Tried {
		return Tried, 0
	}
	if s := c.State; s != nil && s.Failed {
		if wait := s.FailedAt.Add(r.Policy.TrialAfter).Sub(r.Now); wait > 0 {
			return Failing, wait
		}
		if c.Trial {
			return Failing, time.Second
		}
	}
	return Chosen, 0
}

func nth(cs []Candidate, r *Request, weight, n int) int {
	for i := range cs {
		if why, _ := fit(&cs[i], r); why == Chosen && cs[i].Node.Weight == weight {
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
func rendezvous(cs []Candidate, r *Request, weight int) int {
	h := fnv(r.Session)
	best, top := -1, uint64(0)
	for i := range cs {
		if why, _ := fit(&cs[i], r); why != Chosen || cs[i].Node.Weight != weight {
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

// longContext is the suffix by which Claude Code asks for the 1M window; it names no other model.
const longContext = "[1m]"

// Serves reports whether the node takes the model: one without a list takes any name. List entries may end in *.
func Serves(n *core.Node, model string) bool {
	if len(n.Models) == 0 || model == "" {
		return true
	}
	base := strings.TrimSuffix(model, longContext)
	if _, ok := n.ModelMap[model]; ok {
		return true
	}
	if _, ok := n.ModelMap[base]; ok {
		return true
	}
	return Allowed(n.Models, model)
}

// Allowed reports whether a list of names and prefixes ending in * takes the model; an empty list takes any.
func Allowed(list []string, model string) bool {
	if len(list) == 0 {
		return true
	}
	base := strings.TrimSuffix(model, longContext)
	for _, m := range list {
		prefix, wild := strings.CutSuffix(m, "*")
		if m == model || m == base || wild && strings.HasPrefix(model, prefix) {
			return true
		}
	}
	return false
}

// SentModel is the name the node is sent for the model.
func SentModel(n *core.Node, model string) string {
	if len(n.ModelMap) == 0 {
		return model
	}
	if to, ok := n.ModelMap[model]; ok {
		return to
	}
	if base, ok := strings.CutSuffix(model, longContext); ok {
		if to, ok := n.ModelMap[base]; ok {
			return to
		}
	}
	return model
}
