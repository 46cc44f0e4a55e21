package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// What a node does wrong. All but refused and flap are done to a request that arrived.
const (
	faultNone       = ""
	faultRefused    = "refused"     // nothing listens, and answers under way break off
	faultFlap       = "flap"        // refused and well in turns
	faultReset      = "reset"       // the connection is reset before the headers
	fault500        = "500"         //
	fault502        = "502 page"    // a proxy's page
	fault503        = "503"         //
	faultOverloaded = "overloaded"  // 529, or OpenAI's and Bedrock's 503
	faultLimitShort = "429 short"   //
	faultLimitLong  = "429 long"    //
	faultSlow       = "slow"        // the first content comes after the gateway's hold of 15 s
	faultSilence    = "silence"     // never
	faultEvent      = "event"       // an error event inside the 200, before content
	faultCut        = "cut"         // the answer breaks off after content
	faultEventLate  = "event late"  // an error event after content
	faultGarbage    = "garbage"     // no event stream, no JSON
	faultClosing    = "node closed" // an answer that broke off because its node went down
)

// refusable reports whether a fault closes the node's listener.
func refusable(fault string) bool { return fault == faultRefused || fault == faultFlap }

// phase is a time during which a node has one fault.
type phase struct {
	Fault    string
	From, To time.Duration // since the run's start
	Model    string        // the limits hold for this of the client's models alone
}

// planned is a request as the script has it.
type planned struct {
	Marker  string
	Account string
	Gateway int
	API     string
	Model   string // as the client asks
	Stream  bool
	Session string
	After   time.Duration
}

// The APIs that clients speak.
const (
	apiMessages  = "messages"
	apiChat      = "chat"
	apiResponses = "responses"
)

// The models that clients ask for; each node has its own name for either.
const (
	modelClaude = "claude-sonnet-5-5"
	modelGPT    = "gpt-5.5"
)

// The kinds of nodes.
const (
	kindAnthropic = "" // Anthropic's API
	kindOpenAI    = "openai"
	kindMantle    = "mantle" // of Bedrock, the Messages API with an API key
	kindInvoke    = "invoke" // of Bedrock, InvokeModel with signatures
)

// nodeKinds are those of the main account's nodes, in turn.
var nodeKinds = [...]string{kindAnthropic, kindOpenAI, kindMantle, kindOpenAI, kindInvoke}

// nodePlan is a node of the main account.
type nodePlan struct {
	Name   string
	Kind   string
	Good   bool // always
	Limits bool // error events in its streams may be about limits, after which it gets less traffic
	Phases []phase
}

// script is a whole run, made of its seed.
type script struct {
	Nodes    []nodePlan
	Narrow   nodePlan // the one of its account
	Requests []planned
}

// timing are the lengths of a run.
type timing struct {
	Duration time.Duration
	Interval time.Duration // PROXY_HEALTH_INTERVAL_SEC
	Rate     float64       // requests a second on all gateways together
}

const (
	silenceAfter = 19 * time.Second // STREAM_SILENCE_TIMEOUT and ANSWER_TIMEOUT of the gateways
	slowFor      = 16 * time.Second // beyond the hold of 15 s, within the silence
)

// newScript makes a run. The same arguments give the same run.
func newScript(seed uint64, t timing, gateways int) *script {
	rng := rand.New(rand.NewPCG(seed, 0x5eed))
	s := &script{}
	good := rng.IntN(len(nodeKinds))
	for i, kind := range nodeKinds {
		s.Nodes = append(s.Nodes, nodePlan{Name: fmt.Sprintf("node-%d", i+1), Kind: kind, Good: i == good})
	}
	s.plan(rng, t)
	s.Narrow = nodePlan{Name: accountNarrow + "-1"}
	for at, every := 3*time.Second, 6*time.Second; at+4*time.Second < t.Duration; at += every {
		if at > 40*time.Second {
			every = 20 * time.Second // or the retry budget, which pays for second tries, would soon be spent
		}
		s.Narrow.Phases = append(s.Narrow.Phases, phase{Fault: faultLimitShort, From: at, To: at + 2*time.Second})
	}
	s.ask(rng, t, gateways)
	return s
}

// pair is what a node does first, which takes the longest to end, and what it does for long.
type pair struct{ first, long string }

// plan deals the faults to the nodes that have any. A long run deals more, by chance.
func (s *script) plan(rng *rand.Rand, t timing) {
	pairs := []pair{{faultSlow, faultRefused}, {faultSlow, faultRefused}, {faultSilence, faultLimitLong}, {faultSilence, faultFlap}}
	deck := []string{faultReset, fault500, fault502, fault503, faultOverloaded, faultLimitShort, faultEvent, faultEvent, faultCut, faultEventLate, faultGarbage, faultCut}
	rng.Shuffle(len(pairs), func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
	rng.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
	bad := 0
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if n.Good {
			continue
		}
		cards, p := deck[3*bad:3*bad+3], pairs[bad]
		bad++
		hand := []string{p.first, cards[0], p.long, cards[1], cards[2]}
		if p.first == faultSilence { // it fails again when that ends
			hand = []string{p.first, cards[0], cards[1], cards[2], p.long}
		}
		n.Limits = p.long != faultRefused // such a node must show how soon it is back
		n.deal(rng, t, hand, append(deck, p.long))
	}
}

// deal makes the phases of a hand, and then of what chance draws from more.
func (n *nodePlan) deal(rng *rand.Rand, t timing, hand, more []string) {
	const spread = int64(400 * time.Millisecond)
	at := 2*time.Second + time.Duration(rng.Int64N(spread))
	for turn := 0; ; turn++ {
		var fault string
		if turn < len(hand) {
			fault = hand[turn]
		} else {
			fault = more[rng.IntN(len(more))]
		}
		p := phase{Fault: fault, From: at, To: at + lasts(fault, t)}
		if len(n.Phases) > 0 && n.Phases[0].Fault == faultSilence { // what it keeps waiting ends, and it fails
			from, to := n.Phases[0].From+silenceAfter-500*time.Millisecond, n.Phases[0].To+silenceAfter+t.Interval+time.Second
			if p.To > from && p.From < to {
				p.From, p.To = to, to+lasts(fault, t)
			}
		}
		if fault == faultLimitShort || fault == faultLimitLong {
			p.Model = modelClaude
		}
		if p.To+t.Interval > t.Duration {
			return
		}
		n.Phases = append(n.Phases, p)
		rest := t.Interval + 2*time.Second // so long a failed node is left alone; then it must show that it is well
		if refusable(fault) {
			rest = backWithin(t.Interval) + 500*time.Millisecond
		}
		at = p.To + rest + time.Duration(rng.Int64N(spread))
	}
}

func lasts(fault string, t timing) time.Duration {
	switch fault {
	case faultRefused:
		return t.Interval + 3*time.Second // longer than until the first trial, which must fail
	case faultLimitLong:
		return 6 * time.Second
	case faultLimitShort, faultFlap:
		return 3 * time.Second
	case faultSlow, faultSilence:
		return 700 * time.Millisecond
	}
	return 2 * time.Second
}

// backWithin is how long a node that is well again may stay without requests: the interval, and five seconds in which
// another instance's news may come and the next request is due.
func backWithin(interval time.Duration) time.Duration { return interval + 5*time.Second }

// ask lets the clients ask at random moments. After a node's death they ask three times as often, so that there is traffic to
// take it out of, and twice as often when it is well again.
func (s *script) ask(rng *rand.Rand, t timing, gateways int) {
	busy := func(at time.Duration) float64 {
		more := 1.0
		for _, n := range s.Nodes {
			for _, p := range n.Phases {
				switch {
				case p.Fault != faultRefused:
				case at >= p.From && at < p.From+2*time.Second:
					more = 3
				case at >= p.To && at < p.To+backWithin(t.Interval):
					more = max(more, 2)
				}
			}
		}
		return more
	}
	n := 0
	add := func(account string, at time.Duration) {
		p := planned{Marker: fmt.Sprintf("mark-%d-%08x", n, rng.Uint32()), Account: account, Gateway: rng.IntN(gateways), After: at,
			API: []string{apiMessages, apiChat, apiResponses}[rng.IntN(3)], Model: []string{modelClaude, modelGPT}[rng.IntN(2)], Stream: rng.IntN(3) > 0}
		if rng.IntN(2) == 0 {
			p.Session = fmt.Sprintf("session-%d", rng.IntN(12))
		}
		s.Requests = append(s.Requests, p)
		n++
	}
	for at := time.Duration(0); at < t.Duration; {
		add(accountMain, at)
		at += time.Duration(rng.ExpFloat64() / (t.Rate * busy(at)) * float64(time.Second))
	}
	dark := min(t.Duration/2, 20*time.Second)
	for i := range 120 {
		add(accountDark, dark*time.Duration(i)/120)
	}
	for at := time.Duration(0); at+3*time.Second < t.Duration; at += 400 * time.Millisecond {
		add(accountNarrow, at)
	}
	slices.SortStableFunc(s.Requests, func(a, b planned) int { return cmp.Compare(a.After, b.After) })
}
