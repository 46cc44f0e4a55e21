package gateway_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/gateway"
)

// other is a request of its own: the same one again would count once.
func other(body string, i int) string {
	return strings.Replace(body, "hi", "hi "+strconv.Itoa(i), 1)
}

// A body that an upstream chokes on took every node from everyone: clients repeat what failed with a 500, and three of those
// failed a node for half a minute.
func TestPoisonedRequestFailsNoNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{RetryMax: 1}, "a", "b")
		b.up.queue(refusing(500, "api_error", "x"))
		for range 10 {
			b.post(t.Context(), plainBody)
		}
		for _, id := range []string{"1", "2"} {
			if s := b.state(id); s.Failed || s.FailStreak != 1 {
				t.Errorf("node %s after ten times the same request: %+v", id, s)
			}
		}
		b.post(t.Context(), other(plainBody, 1))
		b.post(t.Context(), other(plainBody, 2))
		for _, id := range []string{"1", "2"} {
			if s := b.state(id); !s.Failed {
				t.Errorf("node %s after two others: %+v", id, s)
			}
		}
	})
}

// Where another node answers the request, it was the node's fault, however often the same request comes.
func TestPoisonIsProvedOtherwise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{RetryMax: 1}, "a", "b")
		b.up.on("a", refusing(500, "api_error", "x"))
		b.up.on("b", streaming(step{data: whole}))
		for i := range 3 {
			if w := b.post(t.Context(), streamBody); w.status != 200 {
				t.Fatalf("request %d: %d", i, w.status)
			}
		}
		if s := b.state("1"); !s.Failed {
			t.Errorf("a: %+v", s)
		}
		asked := len(b.up.sent)
		b.post(t.Context(), streamBody)
		if len(b.up.sent) != asked+1 {
			t.Error("the failed node is still asked")
		}
	})
}

func (b *bubble) weigh(t *testing.T, id string, weight int) {
	t.Helper()
	if _, err := b.tables.Nodes.Update(t.Context(), id, func(n *core.Node) error { n.Weight = weight; return nil }); err != nil {
		t.Fatal(err)
	}
}

// An outage must not multiply the load: further tries on nodes that failed are a fifth of the requests, beside a reserve.
func TestRetryBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{FailThreshold: 1 << 30}, "a")
		b.up.queue(refusing(529, "overloaded_error", "x"))
		const requests = 500
		for i := range requests {
			b.post(t.Context(), other(plainBody, i))
		}
		if further := len(b.up.sent) - requests; further < requests/5 || further > requests/5+10 {
			t.Errorf("%d requests made %d further tries", requests, further)
		}
	})
}

// A client that says how long it waits is not made to wait longer (X-Stainless-Timeout), and gets its 429 at once.
func TestAbsorb_ClientsPatience(t *testing.T) {
	for _, c := range []struct {
		why, timeout string
		status       int
	}{
		{"long enough", "600", 200},
		{"too short", "5", 429},
		{"said in another way", "soon", 200},
		{"none", "0", 200},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, gateway.Settings{}, "a")
			b.up.queue(refusing(429, "rate_limit_error", "slow down", "Retry-After", "4"), streaming(step{data: whole}))
			w := newClient(t)
			q := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/messages", strings.NewReader(streamBody))
			q.Header.Set("X-Api-Key", proxyKey)
			q.Header.Set("X-Stainless-Timeout", c.timeout)
			b.handler.ServeHTTP(w, q)
			if w.status != c.status || c.status == 429 && time.Since(w.born) > 0 {
				t.Errorf("%s: got %d after %v", c.why, w.status, time.Since(w.born))
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{}, "a")
		b.up.queue(refusing(429, "rate_limit_error", "spent", "Retry-After", "4", "X-Should-Retry", "false"))
		if w := b.post(t.Context(), streamBody); w.status != 429 || time.Since(w.born) > 0 || len(b.up.sent) != 1 {
			t.Errorf("where the upstream says that repeating is no use: got %d after %v", w.status, time.Since(w.born))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{}, "a")
		b.up.queue(refusing(429, "rate_limit_error", "slow down", "Retry-After", "4"))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // as on Lambda
		defer cancel()
		if w := b.post(ctx, streamBody); w.status != 429 || time.Since(w.born) > 0 {
			t.Errorf("before the request's own end: got %d after %v", w.status, time.Since(w.born))
		}
	})
}

// A session leaves its node when that became slow, other instances learn of it, and it comes home by one trial.
func TestAffinityLetsGoOfASlowNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{SlowFirstByte: 15 * time.Second, TrialAfter: 30 * time.Second}, "a", "b")
		b.weigh(t, "2", 1)
		slow, quick := streaming(step{wait: 20 * time.Second, data: whole}), streaming(step{data: whole})
		ask := func(session string) string {
			w := b.post(t.Context(), streamBody, "X-Session-Id", session)
			return w.sent.Get("X-Proxy-Node")
		}
		now := quick
		b.up.on("a", func(ctx context.Context) (*http.Response, error) { return now(ctx) })
		b.up.on("b", quick)
		var home []string // sessions of node a
		for i := 0; len(home) < 12; i++ {
			if s := "s" + strconv.Itoa(i); ask(s) == "a" {
				home = append(home, s)
			}
		}
		now = slow
		moved := 0
		for i := range 60 {
			if ask(home[i%12]) == "b" {
				moved = i
				break
			}
		}
		if moved == 0 || b.state("1").Degraded != core.DegradedSlow {
			t.Fatalf("nothing moved: %+v", b.state("1"))
		}
		for _, s := range home {
			if by := ask(s); by != "b" {
				t.Fatalf("session %s went to %s", s, by)
			}
		}
		if r, err := b.tables.States.Get(t.Context(), "1"); err != nil || r.Value.Degraded == "" {
			t.Errorf("other instances do not learn of it: %+v, %v", r.Value, err)
		}
		_ = pause(t.Context(), 31*time.Second)
		if by := ask(home[0]); by != "b" || !strings.HasSuffix(b.up.order(), "a b") { // a trial, which is slow
			t.Errorf("the trial was answered by %s, asked %s", by, b.up.order())
		}
		if by := ask(home[0]); by != "b" {
			t.Errorf("after a slow trial: %s", by)
		}
		now = quick
		_ = pause(t.Context(), 31*time.Second)
		for _, s := range home {
			if by := ask(s); by != "a" {
				t.Errorf("session %s did not come home: %s", s, by)
			}
		}
		if s := b.state("1"); s.Degraded != "" {
			t.Errorf("state %+v", s)
		}
	})
}

// A node of which every second request fails never fails three times in a row.
func TestAffinityLetsGoOfAFlappingNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{ErrorRate: 0.4, TrialAfter: 30 * time.Second, RetryMax: 1}, "a", "b")
		var flaps []play
		for range 50 {
			flaps = append(flaps, refusing(500, "api_error", "x"), streaming(step{data: whole}))
		}
		b.up.on("a", flaps...)
		b.up.on("b", streaming(step{data: whole}))
		for i := range 40 {
			if w := b.post(t.Context(), other(streamBody, i)); w.status != 200 {
				t.Fatalf("request %d: %d", i, w.status)
			}
		}
		if s := b.state("1"); s.Failed || s.Degraded != core.DegradedErrors {
			t.Errorf("state %+v", s)
		}
		asked := strings.Count(b.up.order(), "a")
		for i := range 10 {
			b.post(t.Context(), other(streamBody, 100+i))
		}
		if n := strings.Count(b.up.order(), "a"); n != asked {
			t.Errorf("asked %d times more", n-asked)
		}
	})
}

// events collects what is emitted.
type events struct {
	mu  sync.Mutex
	all []core.Event
}

func (e *events) Emit(_ context.Context, ev core.Event) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, ev)
	return nil
}

// What operators may want to hear of is told once the client has its answer.
func TestEvents(t *testing.T) {
	for _, c := range []struct {
		why    string
		plays  []play
		limits core.Limits
		want   []core.EventType
	}{
		{"nothing happened", []play{streaming(step{data: whole})}, core.Limits{}, nil},
		{"an error that another node made up for", []play{refusing(500, "api_error", "x"), streaming(step{data: whole})}, core.Limits{}, []core.EventType{core.EventUpstreamError}},
		{"no connection", []play{broken(errReset), streaming(step{data: whole})}, core.Limits{}, []core.EventType{core.EventProxyError}},
		{"a bad credential", []play{refusing(401, "authentication_error", "x"), streaming(step{data: whole})}, core.Limits{}, []core.EventType{core.EventAuthFailed}},
		{"a client's fault", []play{refusing(400, "invalid_request_error", "x")}, core.Limits{}, nil},
		{"all failed", []play{refusing(529, "overloaded_error", "x")}, core.Limits{}, []core.EventType{core.EventUpstreamError, core.EventUpstreamError, core.EventRequestFailed}},
		{"all limited", []play{refusing(429, "rate_limit_error", "x")}, core.Limits{}, []core.EventType{core.EventRequestFailed}},
		{"a budget that is all but reserved", []play{streaming(step{data: whole})}, core.Limits{USDDay: 600}, []core.EventType{core.EventQuotaWarning}},
		{"a budget with room", []play{streaming(step{data: whole})}, core.Limits{USDDay: 70_000_000}, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, gateway.Settings{RetryMax: 1}, "a", "b")
			b.key("2", limitedKey, c.limits)
			b.up.queue(c.plays...)
			b.post(t.Context(), pricedBody, "X-Api-Key", limitedKey)
			var got []core.EventType
			for _, e := range b.events.all {
				got = append(got, e.Type)
				if e.Account != core.DefaultAccount || e.Subject == "" || e.Text == "" || e.At.IsZero() {
					t.Errorf("%s: %+v", c.why, e)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: told %v, want %v", c.why, got, c.want)
			}
		})
	}
}

// One user paid for each trial of an upstream that hangs: five minutes of silence, while a good node stood by.
func TestTrialIsNotWaitedFor(t *testing.T) {
	forever := step{wait: 24 * time.Hour, data: whole}
	for _, c := range []struct {
		why, body string
		hang      play
		most      time.Duration
	}{
		{"streamed", streamBody, streaming(forever), 16 * time.Second},
		{"whole", plainBody, answer("application/json", forever), 31 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, gateway.Settings{RetryMax: 1, FailThreshold: 1, TrialAfter: 30 * time.Second}, "a", "b")
			b.up.on("a", refusing(529, "overloaded_error", "x"), c.hang)
			b.up.on("b", good(c.body))
			b.post(t.Context(), c.body)
			_ = pause(t.Context(), 31*time.Second)
			w := b.post(t.Context(), c.body)
			if took := time.Since(w.born); w.status != 200 || took > c.most || b.up.order() != "a b a b" {
				t.Errorf("%s: %d after %v, asked %s", c.why, w.status, took, b.up.order())
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // where there is no other node, it is
		b := newBubble(t, gateway.Settings{RetryMax: 1, FailThreshold: 1, TrialAfter: 30 * time.Second}, "a")
		b.up.queue(refusing(529, "overloaded_error", "x"), streaming(step{wait: 2 * time.Minute, data: whole}))
		b.post(t.Context(), streamBody)
		_ = pause(t.Context(), 31*time.Second)
		if w := b.post(t.Context(), streamBody); w.text() == "" || b.state("1").Failed {
			t.Errorf("got %s", w.text())
		}
	})
}

// What other endpoints answer says nothing of messages: counts that worked hid a node whose messages all failed.
func TestOnlyAnswersOfModelsClearAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{RetryMax: 1}, "a")
		for i := range 3 {
			b.up.plays = []play{answer("application/json", step{data: `{"input_tokens":7}`})}
			if w := b.serveAt(t, "/v1/messages/count_tokens", plainBody); w.status != 200 {
				t.Fatalf("count: %d", w.status)
			}
			b.up.plays = []play{refusing(529, "overloaded_error", "x")}
			b.post(t.Context(), other(plainBody, i))
		}
		if s := b.state("1"); !s.Failed {
			t.Errorf("state %+v", s)
		}
		_ = pause(t.Context(), 31*time.Second)
		b.up.plays = []play{refusing(400, "invalid_request_error", "x")}
		b.post(t.Context(), plainBody) // a trial that says nothing
		if s := b.state("1"); !s.Failed {
			t.Errorf("a client's mistake closed the breaker: %+v", s)
		}
	})
}

// A single node that stays slow raised the account's generation with every request.
func TestSlowStateIsWrittenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{SlowFirstByte: time.Second, TrialAfter: time.Hour}, "a")
		b.up.queue(streaming(step{wait: 2 * time.Second, data: whole}))
		ask := func(n int) {
			for range n {
				b.post(t.Context(), streamBody)
			}
		}
		ask(20)
		before, err := b.store.Generation(t.Context(), core.DefaultAccount)
		if err != nil || b.state("1").Degraded == "" {
			t.Fatalf("%v, %+v", err, b.state("1"))
		}
		ask(50)
		if after, _ := b.store.Generation(t.Context(), core.DefaultAccount); after != before {
			t.Errorf("50 requests wrote %d times", after-before)
		}
	})
}
