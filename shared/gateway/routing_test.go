package gateway_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/gateway"
	"sluice/shared/upstream/upstreamtest"
)

func body(model string) string { return strings.Replace(streamBody, "claude-x", model, 1) }

func TestCooling_OfOneModelForAsLongAsToldAndNoFailure(t *testing.T) {
	for _, c := range []struct {
		reason string
		first  play
		wait   time.Duration
	}{
		{"whole seconds", refusing(429, "rate_limit_error", "x", "Retry-After", "20"), 20 * time.Second},
		{"milliseconds win", refusing(429, "rate_limit_error", "x", "Retry-After", "50", "Retry-After-Ms", "2500"), 2500 * time.Millisecond},
		{"fractions", refusing(429, "rate_limit_error", "x", "Retry-After", "1.5"), 1500 * time.Millisecond},
		{"a date", refusing(429, "rate_limit_error", "x", "Retry-After", "Sat, 01 Jan 2000 00:01:00 GMT"), time.Minute},
		{"none", refusing(429, "rate_limit_error", "x"), 30 * time.Second},
		{"nonsense", refusing(429, "rate_limit_error", "x", "Retry-After", "soon"), 30 * time.Second},
		{"in a stream", streaming(step{data: upstreamtest.ErrorEvent("rate_limit_error", "x")}), 30 * time.Second},
	} {
		t.Run(c.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // its clock begins at midnight UTC 2000-01-01
				b := newBubble(t, gateway.Settings{FailThreshold: 1}, "a", "b")
				b.up.on("a", c.first, streaming(step{data: whole}))
				b.up.on("b", streaming(step{data: whole}))
				b.post(t.Context(), body("m1"))
				_ = pause(t.Context(), c.wait-time.Millisecond)
				b.post(t.Context(), body("m1")) // still cooling
				b.post(t.Context(), body("m2")) // for the other model it never was
				_ = pause(t.Context(), time.Millisecond)
				b.post(t.Context(), body("m1")) // back
				if got := b.up.order(); got != "a b b a a" {
					t.Errorf("asked %s, want a b b a a", got)
				}
				if s := b.state("1"); s.Failed || s.FailStreak != 0 {
					t.Errorf("a rate limit counted as a failure: %+v", s)
				}
			})
		})
	}
}

func TestCooling_AllNodesGivesTheShortestWait(t *testing.T) {
	for _, c := range []struct {
		reason string
		a, b   play
		want   string
	}{
		{"shortest first", refusing(429, "rate_limit_error", "of a", "Retry-After", "5"), refusing(429, "rate_limit_error", "of b", "Retry-After", "90"), "5"},
		{"shortest last", refusing(429, "rate_limit_error", "of a", "Retry-After", "90"), refusing(429, "rate_limit_error", "of b", "Retry-After", "5"), "5"},
		{"one gives none", refusing(429, "rate_limit_error", "of a"), refusing(429, "rate_limit_error", "of b", "Retry-After", "90"), "30"},
		{"milliseconds", refusing(429, "rate_limit_error", "of a", "Retry-After-Ms", "5200"), refusing(429, "rate_limit_error", "of b", "Retry-After-Ms", "90000", "Retry-After", "90"), "6"},
		{"in streams", streaming(step{data: upstreamtest.ErrorEvent("rate_limit_error", "of a")}), streaming(step{data: upstreamtest.ErrorEvent("rate_limit_error", "of b")}), "30"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, gateway.Settings{}, "a", "b")
				b.up.on("a", c.a)
				b.up.on("b", c.b)
				w := b.post(t.Context(), streamBody)
				if w.status != 429 || w.sent.Get("Retry-After") != c.want || w.sent.Get("Retry-After-Ms") != "" || !strings.Contains(w.text(), "of b") {
					t.Errorf("first request: got %d, retry-after %q, %q: %s", w.status, w.sent.Get("Retry-After"), w.sent.Get("Retry-After-Ms"), w.text())
				}
				w = b.post(t.Context(), streamBody) // now nobody is asked
				wantError(t, w.reply(), 429, "rate_limit_error", "Try again in "+c.want+"s")
				if w.sent.Get("Retry-After") != c.want || len(b.up.sent) != 2 {
					t.Errorf("second request: got retry-after %q after %d tries", w.sent.Get("Retry-After"), len(b.up.sent))
				}
				for _, rec := range b.records() { // of one moment, so in any order
					if rec.Status != 429 || (rec.Attempts == 0) != (rec.Node == "") || rec.Attempts != 0 && rec.Attempts != 2 {
						t.Errorf("recorded %+v", rec)
					}
				}
			})
		})
	}
}

func TestTiers_LowestWeightFirstAndBackWhenItRecovers(t *testing.T) {
	r := newRig(t, "PROXY_FAIL_THRESHOLD", "1", "PROXY_RETRY_MAX", "1")
	second := r.fakeNode("second", weight(5))
	first := r.fakeNode("first", weight(1))
	third := r.fakeNode("third", weight(9))
	for range 5 {
		r.post(plainBody)
	}
	if first.Count() != 5 || second.Count() != 0 || third.Count() != 0 {
		t.Fatalf("got %d, %d, %d", first.Count(), second.Count(), third.Count())
	}
	first.Default(upstreamtest.Status(500, ""))
	for range 3 {
		if got := r.post(plainBody); got.status != 200 || got.header.Get("X-Proxy-Node") != "second" {
			t.Errorf("got %d from %s", got.status, got.header.Get("X-Proxy-Node"))
		}
	}
	if first.Count() != 6 || third.Count() != 0 {
		t.Errorf("got %d and %d", first.Count(), third.Count())
	}
}

func TestActivation_WinsWhileHealthy(t *testing.T) {
	r := newRig(t, "PROXY_FAIL_THRESHOLD", "1", "PROXY_RETRY_MAX", "1")
	a := r.fakeNode("a", weight(1))
	b := r.fakeNode("b", weight(50))
	r.editAccount(func(acct *core.Account) { acct.ActiveNode = "2" })
	for _, headers := range [][]string{nil, {"X-Claude-Code-Session-Id", "s1"}, {"X-Session-Id", "s2"}} {
		if got := r.post(plainBody, headers...); got.header.Get("X-Proxy-Node") != "b" {
			t.Errorf("%v went to %s", headers, got.header.Get("X-Proxy-Node"))
		}
	}
	b.Default(upstreamtest.Status(503, ""))
	if got := r.post(plainBody); got.status != 200 || got.header.Get("X-Proxy-Node") != "a" {
		t.Errorf("got %d from %s", got.status, got.header.Get("X-Proxy-Node"))
	}
	before := b.Count()
	r.post(plainBody)
	if b.Count() != before {
		t.Error("the activated node was asked though it failed")
	}
	r.editAccount(func(acct *core.Account) { acct.ActiveNode = "" })
	r.post(plainBody)
	if a.Count() != 3 {
		t.Errorf("got %d", a.Count())
	}
}

func TestAffinity_SessionsStayAndOnlyTheDeadNodesMove(t *testing.T) {
	r := newRig(t, "PROXY_RETRY_MAX", "1", "PROXY_FAIL_THRESHOLD", "1")
	var ups []*upstreamtest.Anthropic
	for _, name := range []string{"a", "b", "c"} {
		ups = append(ups, r.fakeNode(name))
	}
	big := strings.Repeat("conversation ", 500)
	sessions := []struct {
		reason  string
		body    func(i int) string
		headers func(i int) []string
	}{
		{"x-claude-code-session-id", func(int) string { return plainBody }, func(i int) []string { return []string{"X-Claude-Code-Session-Id", fmt.Sprint("s", i)} }},
		{"session_id", func(int) string { return plainBody }, func(i int) []string { return []string{"Session_id", fmt.Sprint("s", i)} }},
		{"x-session-id", func(int) string { return plainBody }, func(i int) []string { return []string{"X-Session-Id", fmt.Sprint("s", i)} }},
		{"prompt_cache_key", func(i int) string {
			return strings.Replace(plainBody, "{", fmt.Sprintf(`{"prompt_cache_key":"k%d",`, i), 1)
		}, nil},
		{"metadata.user_id", func(i int) string {
			return strings.Replace(plainBody, "{", fmt.Sprintf(`{"metadata":{"x":1,"user_id":"u%d"},`, i), 1)
		}, nil},
		{"long first message", func(i int) string { return strings.Replace(plainBody, "hi", fmt.Sprint(i, big), 1) }, nil},
		{"cache mark", func(i int) string {
			return strings.Replace(plainBody, "{", fmt.Sprintf(`{"system":[{"type":"text","text":"%d","cache_control":{"type":"ephemeral"}}],`, i), 1)
		}, nil},
	}
	home := map[string]string{}
	ask := func(s int, i int) string {
		var h []string
		if sessions[s].headers != nil {
			h = sessions[s].headers(i)
		}
		got := r.post(sessions[s].body(i), h...)
		if got.status != 200 {
			t.Fatalf("%s: got %d %s", sessions[s].reason, got.status, got.body)
		}
		return got.header.Get("X-Proxy-Node")
	}
	const each = 12
	for s := range sessions {
		nodes := map[string]bool{}
		for i := range each {
			id := fmt.Sprint(s, " ", i)
			home[id] = ask(s, i)
			nodes[home[id]] = true
			for range 2 {
				if again := ask(s, i); again != home[id] {
					t.Errorf("%s: session %d went to %s, then to %s", sessions[s].reason, i, home[id], again)
				}
			}
		}
		if len(nodes) < 2 {
			t.Errorf("%s: all of %d sessions went to one of 3 nodes", sessions[s].reason, each)
		}
	}
	ups[1].Default(upstreamtest.Status(500, ""))
	for s := range sessions {
		for i := range each {
			was, now := home[fmt.Sprint(s, " ", i)], ask(s, i)
			if was != "b" && now != was || was == "b" && now == "b" {
				t.Errorf("%s: session %d of node %s went to %s when b died", sessions[s].reason, i, was, now)
			}
		}
	}
}

func TestLoad_WithoutASessionTheLessLoadedOfTwo(t *testing.T) {
	r := newRig(t)
	a, b := r.fakeNode("a"), r.fakeNode("b")
	for _, up := range []*upstreamtest.Anthropic{a, b} {
		up.Default(upstreamtest.Reply(upstreamtest.Text("x")).Silence(upstreamtest.BeforeStop))
	}
	var wg sync.WaitGroup
	const n = 24
	for range n {
		wg.Add(1)
		_, rd := r.open(deadline(t), streamBody)
		go func() {
			defer wg.Done()
			readUntil(t, rd, "content_block_delta")
		}()
	}
	wg.Wait()
	// two choices with replacement: far from even only by a fault
	if a.Count()+b.Count() != n || a.Count() < n/4 || b.Count() < n/4 {
		t.Errorf("got %d and %d requests", a.Count(), b.Count())
	}
}

func TestD54_OnlyNodesThatServeTheModelAreAsked(t *testing.T) {
	r := newRig(t)
	opus := r.fakeNode("opus", weight(1), func(n *core.Node) { n.Models = []string{"claude-opus-*"} })
	any := r.fakeNode("any", weight(2))
	r.post(plainBody)
	r.post(strings.Replace(plainBody, "claude-x", "claude-opus-5", 1))
	r.post(strings.Replace(plainBody, "claude-x", "claude-opus-5[1m]", 1))
	if opus.Count() != 2 || any.Count() != 1 {
		t.Errorf("got %d and %d", opus.Count(), any.Count())
	}
	opus.Default(upstreamtest.Status(500, ""))
	if got := r.post(strings.Replace(plainBody, "claude-x", "claude-opus-5", 1)); got.header.Get("X-Proxy-Node") != "any" {
		t.Errorf("got %s", got.header.Get("X-Proxy-Node"))
	}
	alone := newRig(t)
	alone.fakeNode("opus", func(n *core.Node) { n.Models = []string{"claude-opus-*"} })
	wantError(t, alone.post(plainBody), 404, "not_found_error", "no node of this account serves claude-x")
}

func TestEdits_OfNodesHoldAtTheNextRequest(t *testing.T) {
	r := newRig(t)
	a := r.fakeNode("a", weight(1))
	b := r.fakeNode("b", weight(2))
	r.post(plainBody)
	r.editNode("1", func(n *core.Node) { n.Disabled = true })
	r.post(plainBody)
	r.editNode("1", func(n *core.Node) { n.Disabled, n.BaseURL = false, b.URL })
	r.post(plainBody)
	if a.Count() != 1 || b.Count() != 2 {
		t.Errorf("got %d and %d", a.Count(), b.Count())
	}
}
