package gateway_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/gateway"
	"sluice/shared/store"
)

func nodeLimits(l core.Limits) func(*core.Node) { return func(n *core.Node) { n.Limits = l } }

// limitedNodes is a gateway with nodes that have limits, each of the weight of its place.
func limitedNodes(t *testing.T, ls ...core.Limits) (*bubble, *spy) {
	up := &scripted{}
	b := newBubbleWith(t, gateway.Settings{}, up)
	b.up = up
	for i, l := range ls {
		id := string(rune('1' + i))
		b.node(id, string(rune('a'+i)), i+1, nodeLimits(l))
	}
	b, s := b.instance(up)
	b.up = up
	return b, s
}

// A node over its limit is passed over for the request, like one that cools; when all are, the client waits for the first.
func TestNodeLimit_RequestsPerMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, trips := limitedNodes(t, core.Limits{RPM: 2}, core.Limits{RPM: 1}, core.Limits{})
		b.up.queue(streaming(step{data: whole}))
		var order []string
		for range 5 {
			order = append(order, b.post(t.Context(), streamBody).sent.Get("X-Proxy-Node"))
		}
		if got := strings.Join(order, ""); got != "aabcc" {
			t.Errorf("served by %s, want aabcc", got)
		}
		if got := trips.taken(); got["admit key"] != 5 || got["admit node"] != 1+1+2+2+2 || got["settle"] != 5 {
			t.Errorf("trips %v: want one for each attempt on a node with limits", got)
		}
		for _, rec := range b.records() {
			if rec.Attempts != 1 || rec.Status != 200 {
				t.Errorf("a node that refused counts as an attempt: %+v", rec)
			}
		}
		if s := b.state("1"); s.LastError != "" || len(s.Cooling) != 0 {
			t.Errorf("a limit of ours marked the node: %+v", s)
		}
	})
}

func TestNodeLimit_AllRefuse(t *testing.T) {
	for _, c := range []struct {
		why    string
		a, b   core.Limits
		wait   string
		retry  string // x-should-retry
		status int
		typ    string
		says   string
	}{
		{"the shortest wait counts", core.Limits{RPM: 1}, core.Limits{RPM: 3}, "20", "", 429, "rate_limit_error", "have reached their limits"},
		{"a minute is told as 59 s (D16)", core.Limits{RPM: 1}, core.Limits{RPD: 1}, "59", "", 429, "rate_limit_error", "have reached their limits"},
		{"a day is told as it is", core.Limits{RPD: 1}, core.Limits{RPD: 1}, "86400", "", 429, "rate_limit_error", "have reached their limits"},
		{"spent budgets", core.Limits{USDDay: 1200}, core.Limits{USDMonth: 1200}, "86400", "false", 429, "rate_limit_error", "have reached their limits"},
		{"a budget here, a minute there", core.Limits{USDDay: 1200}, core.Limits{RPM: 1}, "59", "", 429, "rate_limit_error", "have reached their limits"},
		{"larger than both can take", core.Limits{TPM: 100}, core.Limits{TPM: 99}, "", "false", 400, "invalid_request_error", "can never fit"},
	} {
		synctest.Test(t, func(t *testing.T) {
			b, _ := limitedNodes(t, c.a, c.b)
			b.up.queue(streaming(step{data: whole}))
			var w *client
			for range 20 {
				if w = b.post(t.Context(), pricedBody); w.status != 200 {
					break
				}
			}
			wantError(t, w.reply(), c.status, c.typ, c.says)
			if w.sent.Get("Retry-After") != c.wait || w.sent.Get("X-Should-Retry") != c.retry {
				t.Errorf("%s: retry-after %q, x-should-retry %q; want %q, %q", c.why, w.sent.Get("Retry-After"), w.sent.Get("X-Should-Retry"), c.wait, c.retry)
			}
			if strings.Contains(w.text(), "prompt is too long") {
				t.Errorf("%s: Claude Code would compact the conversation: %s", c.why, w.text())
			}
		})
	}
}

// What a request holds of a node is freed at its end: of the one that answered and of those tried in vain.
func TestNodeLimit_LeasesAreFreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := core.Limits{Concurrency: 1, TPM: 100_000, USDDay: 1_000_000}
		b, trips := limitedNodes(t, l, l)
		b.up.on("a", refusing(500, "api_error", "broken"), streaming(step{data: whole}))
		b.up.on("b", streaming(step{data: whole}))
		for i, want := range []string{"b", "a"} {
			if got := b.post(t.Context(), pricedBody).sent.Get("X-Proxy-Node"); got != want {
				t.Errorf("request %d: served by %q, want %q: its place was not given back", i, got, want)
			}
		}
		s := trips.settled[0]
		if len(s.Subjects) != 2 || s.Subjects[1].ID != "2" || len(s.Free) != 1 || s.Free[0].ID != "1" || s.Free[0].Kind != store.KindNode {
			t.Errorf("settled %+v, free %+v", s.Subjects, s.Free)
		}
		rec := b.records()[0]
		if want := (store.Amount{Tokens: 11 + 3 + 42, USD: rec.CostUSD}); s.Used != want || rec.CostUSD == 0 {
			t.Errorf("used %+v, want %+v", s.Used, want)
		}
		left := func(id string) (tokens, usd int64) {
			res, err := b.store.Admit(t.Context(), store.AdmitRequest{Now: time.Now(), ID: "probe", Account: core.DefaultAccount, Zone: time.UTC,
				LeaseEnd: time.Now(), Subjects: []store.Subject{{Kind: store.KindNode, ID: id, Version: 1, Limits: l}}})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range res.Figures {
				switch f.Limit {
				case store.LimitTPM:
					tokens = f.Max - f.Remaining
				case store.LimitUSDDay:
					usd = f.Max - f.Remaining
				}
			}
			return tokens, usd
		}
		for _, id := range []string{"1", "2"} {
			if n, usd := left(id); n != 56 || usd != rec.CostUSD {
				t.Errorf("node %s: %d tokens and %d micro-USD taken, want those of its one answer", id, n, usd)
			}
		}
	})
}

// The place of a long stream on its node is renewed with the key's: nobody else gets in.
func TestNodeLimit_IsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, trips := limitedNodes(t, core.Limits{Concurrency: 1})
		b.key("2", limitedKey, core.Limits{USDDay: 1_000_000})
		b.up.queue(streaming(step{data: head + evText}, step{wait: 250 * time.Second, data: evMore}, step{wait: 250 * time.Second, data: ends}))
		done := make(chan *client)
		go func() { done <- b.post(t.Context(), pricedBody, "X-Api-Key", limitedKey) }()
		for range 7 { // each waits some seconds for the place
			_ = pause(t.Context(), time.Minute)
			if w := b.post(t.Context(), pricedBody); w.status != 429 || w.sent.Get("Retry-After") != "1" {
				t.Errorf("while the stream lasts: %d %s", w.status, w.text())
			}
		}
		if w := <-done; w.status != 200 {
			t.Errorf("the stream: %d", w.status)
		}
		if n := len(trips.renewed); n < 7 || n > 9 {
			t.Errorf("renewed %d times in 500 s", n)
		}
		for _, r := range trips.renewed {
			if len(r.Subjects) != 2 || r.Subjects[0].Kind != store.KindKey || r.Subjects[1].Kind != store.KindNode {
				t.Errorf("renewed %+v", r.Subjects)
			}
		}
		b.up.plays = []play{streaming(step{data: whole})}
		if w := b.post(t.Context(), pricedBody); w.status != 200 {
			t.Errorf("after it: %d %s", w.status, w.text())
		}
	})
}

// An edit that comes between the key's admission and the node's is followed: the request goes by the node as it is now.
func TestNodeLimit_EditedMeanwhile(t *testing.T) {
	for _, c := range []struct {
		why   string
		edit  func(t *testing.T, b *bubble)
		by    string
		model string // sent
	}{
		{"another limit", func(t *testing.T, b *bubble) { b.editNode(t, func(n *core.Node) { n.Limits.RPM = 7 }) }, "a", "claude-x"},
		{"no limit any more", func(t *testing.T, b *bubble) { b.editNode(t, func(n *core.Node) { n.Limits = core.Limits{} }) }, "a", "claude-x"},
		{"another model", func(t *testing.T, b *bubble) {
			b.editNode(t, func(n *core.Node) { n.ModelMap = map[string]string{"*": "claude-y"} })
		}, "a", "claude-y"},
		{"disabled", func(t *testing.T, b *bubble) { b.editNode(t, func(n *core.Node) { n.Disabled = true }) }, "b", "claude-x"},
		{"deleted", func(t *testing.T, b *bubble) {
			if err := b.tables.Nodes.Delete(t.Context(), "1"); err != nil {
				t.Fatal(err)
			}
		}, "b", "claude-x"},
	} {
		synctest.Test(t, func(t *testing.T) {
			b, trips := limitedNodes(t, core.Limits{RPM: 5}, core.Limits{})
			b.up.queue(streaming(step{data: whole}))
			edited := false
			trips.beforeAdmit = func(r *store.AdmitRequest) {
				if r.Subjects[0].Kind == store.KindNode && !edited {
					edited = true
					c.edit(t, b)
				}
			}
			w := b.post(t.Context(), streamBody)
			if w.status != 200 || w.sent.Get("X-Proxy-Node") != c.by || !strings.Contains(b.up.sent[0].body, c.model) {
				t.Errorf("%s: status %d by %q, sent %s", c.why, w.status, w.sent.Get("X-Proxy-Node"), b.up.sent[0].body)
			}
		})
	}
}

func (b *bubble) editNode(t *testing.T, edit func(*core.Node)) {
	t.Helper()
	if _, err := b.tables.Nodes.Update(t.Context(), "1", func(n *core.Node) error { edit(n); return nil }); err != nil {
		t.Fatal(err)
	}
}

// Codex gives up on a 429 (D40), so a short wait for a node's own limit is waited out like one for its upstream's.
func TestD40_NodeLimitIsWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := limitedNodes(t, core.Limits{RPM: 3})
		b.up.queue(streaming(step{data: whole}))
		for i, want := range []time.Duration{0, 0, 0, 20 * time.Second} {
			begun := time.Now()
			w := b.serveAt(t, responsesPath, `{"model":"claude-x","stream":true,"input":"hi"}`)
			if took := time.Since(begun); w.status != 200 || took < want || took > want+want/10+time.Millisecond {
				t.Errorf("request %d: status %d after %v, want %v", i, w.status, took, want)
			}
		}
	})
}

// Files and batches go to one node: its limit is the answer then.
func TestNodeLimit_OfTheOneNodeThatCanServe(t *testing.T) {
	r := newRig(t)
	r.fakeNode("a", nodeLimits(core.Limits{RPM: 2, Concurrency: 1, USDDay: 1}))
	for i, want := range []int{200, 200, 429} {
		got := r.do("GET", "/v1/files", "")
		if got.status != want {
			t.Errorf("request %d: got %d %s", i, got.status, got.body)
		}
		if want == 429 && (got.header.Get("Retry-After") != "30" || !strings.Contains(got.body, "The node for this request has reached its limit of 2 requests per minute")) {
			t.Errorf("got %v %s", got.header, got.body)
		}
		r.rest()
	}
	r.do("GET", "/v1/models", "") // lists take nothing of a node
}
