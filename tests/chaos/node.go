package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	up "sluice/shared/upstream/upstreamtest"
)

const upstreamKey = "chaos-upstream-key-0003"

// fake is a fake upstream of any vendor.
type fake interface {
	Close()
	Respond(func(up.Request) up.Behaviour)
	Requests() []up.Request
}

// node is a fake upstream that can go down and come back at its address.
type node struct {
	nodePlan
	*address
	ledger *ledger
	start  time.Time // of the script
	dark   bool      // it never answers

	mu    sync.Mutex
	srv   fake // nil while it is down
	phase phase
	seq   int
	alive []*attempt // on srv, in the order of arrival for each marker
}

// openNode starts a node at an address that is its own until it is shut.
func openNode(l *ledger, p nodePlan) (*node, error) {
	a, err := holdAddress()
	if err != nil {
		return nil, err
	}
	n := &node{nodePlan: p, address: a, ledger: l}
	return n, n.up()
}

func (n *node) up() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.srv != nil {
		return nil
	}
	ln, err := n.listen()
	if err != nil {
		return err
	}
	opts := []up.Option{up.WithListener(ln), up.WithKey(upstreamKey)}
	switch n.Kind {
	case kindOpenAI:
		n.srv, err = asFake(up.StartOpenAI(opts...))
	case kindMantle, kindInvoke:
		n.srv, err = asFake(up.StartBedrock(opts...))
	default:
		n.srv, err = asFake(up.StartAnthropic(opts...))
	}
	if err == nil {
		n.srv.Respond(n.respond)
	}
	return err
}

func asFake[T fake](f T, err error) (fake, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

// down closes the node: connections are refused from here on, and answers under way have broken off.
func (n *node) down() {
	n.mu.Lock()
	srv := n.srv
	n.srv = nil
	n.mu.Unlock()
	if srv == nil {
		return
	}
	open := map[string]int{} // that had not ended before
	for _, r := range srv.Requests() {
		if !r.Done {
			open[marker(string(r.Body))]++
		}
	}
	srv.Close()
	n.judge(srv, open)
}

// judge notes how the attempts on srv ended. Of those in open, the last of their marker broke off.
func (n *node) judge(srv fake, open map[string]int) {
	byMarker := map[string][]up.Request{}
	for _, r := range srv.Requests() {
		if m := marker(string(r.Body)); m != "" {
			byMarker[m] = append(byMarker[m], r)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	seen := map[string]int{}
	for _, a := range n.alive {
		all := byMarker[a.Marker]
		i := seen[a.Marker]
		seen[a.Marker]++
		if a.Marker == "" || i >= len(all) {
			continue
		}
		broken := i >= len(all)-open[a.Marker]
		a.Pending = !all[i].Done
		a.Whole = all[i].Done && !all[i].Aborted && !broken && (a.Fault == faultNone || a.Fault == faultSlow)
		if broken && a.Fault == faultNone {
			a.Fault = faultClosing
		}
	}
	n.alive = nil
}

// look judges the attempts so far without closing the node.
func (n *node) look() {
	n.mu.Lock()
	srv := n.srv
	n.mu.Unlock()
	if srv != nil {
		n.judge(srv, nil)
	}
}

func (n *node) set(p phase) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.phase = p
}

// run plays the node's script from start on until ctx ends or it is over; the node is well then.
func (n *node) run(ctx context.Context, start time.Time) error {
	n.start = start
	for i, p := range n.Phases {
		if !pause(ctx, time.Until(start.Add(p.From))) {
			return n.up()
		}
		var quiet time.Time
		if i+1 < len(n.Phases) {
			quiet = start.Add(n.Phases[i+1].From)
		}
		if refusable(p.Fault) {
			if err := n.die(ctx, start.Add(p.To), quiet, p.Fault == faultFlap); err != nil {
				return err
			}
			continue
		}
		n.set(p)
		pause(ctx, time.Until(start.Add(p.To)))
		n.set(phase{})
	}
	return nil
}

// flapEvery is how long a node that flaps is down, and then well.
const flapEvery = 400 * time.Millisecond

// die takes the node down until to, or up and down in turns.
func (n *node) die(ctx context.Context, to, quiet time.Time, flaps bool) error {
	for flaps && time.Until(to) > 2*flapEvery && ctx.Err() == nil {
		n.down()
		pause(ctx, flapEvery)
		if err := n.up(); err != nil {
			return err
		}
		pause(ctx, flapEvery)
	}
	if flaps {
		return nil
	}
	n.down()
	d := &death{Node: n.Name, From: time.Now(), Quiet: quiet}
	pause(ctx, time.Until(to))
	err := n.up()
	d.To = time.Now()
	n.ledger.mu.Lock()
	n.ledger.deaths = append(n.ledger.deaths, d)
	n.ledger.mu.Unlock()
	return err
}

// pause waits; false when ctx ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// respond decides what a request gets, and writes it down.
func (n *node) respond(r up.Request) up.Behaviour {
	n.mu.Lock()
	p := n.phase
	n.seq++
	a := &attempt{Marker: marker(string(r.Body)), Node: n.Name, Model: asked(r), At: time.Now(), Fault: p.Fault, Pending: true}
	n.alive = append(n.alive, a)
	seq := n.seq
	n.mu.Unlock()
	if p.Model != "" && a.Model != n.sent(p.Model) {
		a.Fault = faultNone
	}
	if n.dark {
		a.Fault = []string{fault500, fault503, faultReset}[seq%3]
	}
	a.Answer = fmt.Sprintf("%s/%s/%d", strings.TrimPrefix(a.Marker, "mark-"), n.Name, seq)
	a.Usage = usage{Input: int64(1000 + seq), CacheRead: int64(seq % 7), Output: int64(100 + seq%900)}
	b := n.behave(a, seq, time.Until(n.start.Add(p.To)))
	n.ledger.addAttempt(a)
	return b
}

// behave is what is sent for an attempt; left is what is left of its fault's time.
func (n *node) behave(a *attempt, seq int, left time.Duration) up.Behaviour {
	reply := up.Reply(up.Text(answerPieces(a.Answer)...)).Every(8 * time.Millisecond).
		Usage(up.Usage{Input: int(a.Usage.Input), CacheRead: int(a.Usage.CacheRead), Output: int(a.Usage.Output)})
	point := []up.Point{up.BeforeHeaders, up.AfterHeaders, up.AfterStart}[seq%3]
	switch a.Fault {
	case faultNone:
		if strings.HasPrefix(a.Marker, "mark-last-") {
			return reply.Every(300 * time.Millisecond)
		}
		return reply
	case faultReset:
		return reply.Cut(up.BeforeHeaders, []up.End{up.EndReset, up.EndClose}[seq%2])
	case fault500:
		return up.Status(http.StatusInternalServerError, "")
	case fault502:
		return up.HTMLError(http.StatusBadGateway)
	case fault503:
		return up.Status(http.StatusServiceUnavailable, "")
	case faultOverloaded:
		return up.Overloaded()
	case faultLimitShort, faultLimitLong:
		wait := max(left, time.Second).Round(time.Second)
		a.Limit = a.At.Add(wait)
		return up.RateLimited(wait)
	case faultSlow:
		return reply.Pause(point, slowFor)
	case faultSilence:
		return reply.Silence(point)
	case faultEvent:
		if n.Limits && a.Model == n.sent(modelGPT) {
			return reply.ErrorAt(up.AfterStart, "rate_limit_error", "Slow down.") // it names no time: the node cools for half a minute
		}
		return reply.ErrorAt(up.AfterStart, []string{"overloaded_error", "server_error"}[seq%2], "Overloaded.")
	case faultCut:
		at, end := up.AfterDeltas(2+seq%3), []up.End{up.EndClean, up.EndClose, up.EndReset}[seq%3]
		if seq/3%2 == 0 {
			return reply.CutInside(at, end)
		}
		return reply.Cut(at, end)
	case faultEventLate:
		return reply.ErrorAt(up.AfterDeltas(2+seq%3), "overloaded_error", "Overloaded.")
	}
	return []up.Behaviour{up.GarbageStream(), up.HTMLPage(), up.BadJSON(), up.Empty("text/event-stream")}[seq%4]
}

// models are what the node calls the two models that clients ask for.
func (n *nodePlan) models() map[string]string {
	switch n.Kind {
	case kindOpenAI:
		return map[string]string{modelClaude: "gpt-5.5", modelGPT: "gpt-4.1"}
	case kindMantle:
		return map[string]string{modelClaude: "anthropic.claude-sonnet-5-5", modelGPT: "anthropic.claude-haiku-5-5"}
	case kindInvoke:
		return map[string]string{modelClaude: "us.anthropic.claude-sonnet-5-5", modelGPT: "global.anthropic.claude-haiku-5-5"}
	}
	return map[string]string{modelClaude: modelClaude, modelGPT: "claude-haiku-5-5"}
}

func (n *nodePlan) sent(model string) string { return n.models()[model] }

// serves lists the names of the models that clients ask for.
func (n *nodePlan) serves() []string { return slices.Sorted(maps.Keys(n.models())) }

// fields are what the admin API takes for the node.
func (n *node) fields() map[string]any {
	base := "http://" + n.String()
	in := map[string]any{"name": n.Name, "base_url": base, "api_key": upstreamKey, "models": n.serves(), "model_map": n.models()}
	switch n.Kind {
	case kindOpenAI:
		in["kind"], in["base_url"] = "openai", base+"/v1"
	case kindMantle: // the paths are those under which the fake has AWS's hosts
		in["kind"], in["region"], in["api"], in["base_url"] = "bedrock", "us-east-1", "messages", base+"/mantle/anthropic"
	case kindInvoke:
		keys := up.DefaultBedrockCredentials()
		delete(in, "api_key")
		in["kind"], in["region"], in["api"], in["base_url"] = "bedrock", "us-east-1", "invoke", base+"/runtime"
		in["access_key_id"], in["secret_access_key"] = keys.AccessKeyID, keys.SecretAccessKey
	}
	return in
}

// asked is the model that a request asks for: InvokeModel has it in the path.
func asked(r up.Request) string {
	_, rest, ok := strings.Cut(r.Path, "/model/")
	if !ok {
		return r.Model()
	}
	id, _, _ := strings.Cut(rest, "/")
	if plain, err := url.PathUnescape(id); err == nil {
		return plain
	}
	return id
}
