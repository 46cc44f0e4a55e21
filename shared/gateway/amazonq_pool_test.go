package gateway_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/upstream/upstreamtest"
)

// admin calls the admin API with the operator's key.
func (r *rig) admin(method, path, body string, status int) map[string]any {
	r.t.Helper()
	got := r.do(method, path, body, "X-Api-Key", "", "X-Admin-Key", operatorKey)
	out := map[string]any{}
	if got.status != status || json.Unmarshal([]byte(got.body), &out) != nil {
		r.t.Fatalf("%s %s: got %d %s", method, path, got.status, got.body)
	}
	return out
}

// account adds a node as Guide B does, and returns its id.
func (r *rig) account(name string, l upstreamtest.Login) string {
	r.t.Helper()
	body, _ := json.Marshal(map[string]string{"name": name, "refresh_token": l.RefreshToken, "client_id": l.ClientID, "client_secret": l.ClientSecret})
	id, _ := r.admin("POST", "/admin/accounts", string(body), 200)["id"].(float64)
	return strconv.Itoa(int(id))
}

// guideRig is an installation that uses fakes of both services for accounts made by the guide's calls.
func guideRig(t testing.TB) (*rig, *clock, *upstreamtest.AmazonQ, *upstreamtest.OIDC) {
	t.Helper()
	up, oidc := upstreamtest.NewAmazonQ(t), upstreamtest.NewOIDC(t)
	r, c := newPoolRig(t, "AMAZONQ_API_ENDPOINT", up.URL+"/", "AMAZONQ_TOKEN_ENDPOINT", oidc.URL+"/token")
	oidc.SetClock(c.now)
	up.SetTokens(oidc.Valid)
	return r, c, up, oidc
}

// Three accounts of one tier share the load, and each takes ten requests a minute unless it is told otherwise.
func TestPool_SharesTheLoadWithinEachNodesLimit(t *testing.T) {
	r, c, up, oidc := guideRig(t)
	for _, name := range []string{"a", "b", "c"} {
		r.account(name, oidc.Login())
	}
	served, first := map[string]int{}, map[string]int{}
	for i := range 30 {
		got := r.post(poolPlain)
		if got.status != 200 {
			t.Fatalf("request %d: got %d %s", i, got.status, got.body)
		}
		served[got.header.Get("X-Proxy-Node")]++
		if i < 15 {
			first[got.header.Get("X-Proxy-Node")]++
		}
	}
	if served["a"] != 10 || served["b"] != 10 || served["c"] != 10 {
		t.Errorf("served %v, want 10 each", served)
	}
	if len(first) < 2 { // one node alone would have served 10 of the first 15, by chance once in 10 million
		t.Errorf("the first requests went to %v", first)
	}
	if n := len(up.Conversations()); n != 30 || oidc.Refreshes() != 3 {
		t.Errorf("%d requests and %d refreshes, want 30 and 3", n, oidc.Refreshes())
	}
	for _, ask := range poolAsks {
		if ask.name == "responses" {
			continue // waits for short limits (D40): TestPool_AllThrottled
		}
		got := r.do("POST", ask.path, ask.plain)
		if got.status != 429 || got.header.Get("Retry-After") != "6" || !strings.Contains(got.body, "have reached their limits") {
			t.Errorf("%s: got %d %v %s", ask.name, got.status, got.header, got.body)
		}
	}
	c.advance(6 * time.Second)
	if got := r.post(poolPlain); got.status != 200 {
		t.Errorf("after the wait: %d %s", got.status, got.body)
	}
}

// Of three nodes one is throttled and one suspended: no client sees it, and each is found out once.
func TestPool_ThrottledAndSuspendedNodesAreNotSeen(t *testing.T) {
	r, c := newPoolRig(t)
	throttled := r.fakePool("throttled")
	suspended, id := r.fakePoolID("suspended")
	r.fakePool("good")
	throttled.Default(upstreamtest.RateLimited(20 * time.Second))
	suspended.Default(upstreamtest.Suspended())
	ask := func(r *rig, n int) {
		t.Helper()
		for i := range n {
			a := poolAsks[i%len(poolAsks)]
			got := r.do("POST", a.path, a.body)
			if got.status != 200 || got.header.Get("X-Proxy-Node") != "good" || !strings.Contains(got.body, a.end) || strings.Contains(got.body, a.failed) {
				t.Fatalf("request %d, %s: got %d %v %s", i, a.name, got.status, got.header, tail(got.body))
			}
		}
	}
	other := newRigOn(t, r.store, c.now, "PROXY_RETRY_MAX", "1") // another instance, running all the while
	ask(r, 60)
	ask(other, 30)
	if n, m := throttled.Count(), suspended.Count(); n != 1 || m != 1 {
		t.Errorf("the throttled node was asked %d times, the suspended one %d times, want once each", n, m)
	}
	if s := r.state(id); s.Blocked != core.BlockedSuspended || s.LastError == "" || strings.Contains(s.LastError, "d-0000") {
		t.Errorf("state %+v", s)
	}
	for _, rec := range r.records() {
		if !rec.Success() || rec.NodeName != "good" || rec.Tokens.Output == 0 {
			t.Errorf("recorded %+v", rec)
		}
	}
	c.advance(21 * time.Second)
	throttled.Default(upstreamtest.Reply(upstreamtest.Text("Hello")))
	asked := false
	for range 60 {
		asked = asked || r.post(poolPlain).header.Get("X-Proxy-Node") == "throttled"
	}
	if !asked || suspended.Count() != 1 {
		t.Errorf("after a minute: the throttled node serves: %v; the suspended one was asked %d times", asked, suspended.Count())
	}

	throttled.Default(upstreamtest.RateLimited(20 * time.Second))
	again := newRigOn(t, r.store, c.now)
	ask(again, 30)
	if suspended.Count() != 1 {
		t.Error("after a restart the suspended node is asked again")
	}
}

// A month that is used up comes with status 400. The node is left alone, for every model, until the next one.
func TestPool_MonthlyQuotaCoolsUntilNextMonth(t *testing.T) {
	r, c := newPoolRig(t)
	spent, id := r.fakePoolID("spent", weight(1))
	spare := r.fakePool("spare", weight(2))
	spent.Default(upstreamtest.MonthlyQuota())
	haiku := strings.Replace(poolPlain, "sonnet", "haiku", 1)
	for _, body := range []string{poolPlain, haiku, poolStream} {
		if got := r.post(body); got.status != 200 || got.header.Get("X-Proxy-Node") != "spare" {
			t.Fatalf("got %d %s", got.status, got.body)
		}
	}
	if spent.Count() != 1 {
		t.Errorf("the node whose month is used up was asked %d times", spent.Count())
	}
	next := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	if s := r.state(id); !s.Cooling[""].Equal(next) || s.FailStreak != 0 || s.Blocked != "" {
		t.Errorf("state %+v, want it to cool until %v", s, next)
	}
	spare.Default(upstreamtest.MonthlyQuota())
	got := r.post(haiku) // neither is left
	wantError(t, got, 429, "rate_limit_error", "requests of this month")
	if want := strconv.Itoa(int(next.Sub(c.now()) / time.Second)); got.header.Get("Retry-After") != want {
		t.Errorf("retry-after %s, want %s", got.header.Get("Retry-After"), want)
	}
	spent.Default(upstreamtest.Reply(upstreamtest.Text("Hello")))
	c.advance(next.Sub(c.now()) - time.Second)
	if got := r.post(poolPlain); got.status != 429 || spent.Count() != 1 {
		t.Errorf("in the month's last second: %d", got.status)
	}
	c.advance(time.Second)
	if got := r.post(poolPlain); got.status != 200 || got.header.Get("X-Proxy-Node") != "spent" {
		t.Errorf("in the next month: got %d %s", got.status, got.body)
	}
}

// When all nodes are throttled clients get a 429 of their own dialect that says how long to wait: the shortest time.
func TestPool_AllThrottled(t *testing.T) {
	for _, ask := range poolAsks {
		for _, body := range []string{ask.plain, ask.body} {
			r, _ := newPoolRig(t)
			r.fakePool("a").Default(upstreamtest.RateLimited(50 * time.Second))
			r.fakePool("b").Default(upstreamtest.RateLimited(40 * time.Second))
			r.fakePool("c").Default(upstreamtest.Status(400, "").ErrorType("ThrottlingException").RetryAfter(45 * time.Second)) // with another status
			for i := range 2 {                                                                                                  // as the nodes say it, then as it is known
				got := r.do("POST", ask.path, body)
				if got.status != 429 || got.header.Get("Retry-After") != "40" || got.header.Get("Content-Type") != "application/json" {
					t.Errorf("%s, request %d: got %d %v %s", ask.name, i, got.status, got.header, got.body)
				}
				if ask.name == "messages" {
					wantError(t, got, 429, "rate_limit_error", "")
				} else if typ, _ := openAIError(t, got.body); typ == "" {
					t.Errorf("%s: not an error of OpenAI's: %s", ask.name, got.body)
				}
			}
		}
	}
}

// openAIError reads {"error":{"message","type","code"}}.
func openAIError(t testing.TB, body string) (typ, code string) {
	t.Helper()
	var e struct {
		Error struct {
			Message, Type string
			Code          *string
		}
	}
	if err := json.Unmarshal([]byte(body), &e); err != nil || e.Error.Message == "" {
		t.Fatalf("%v: %s", err, body)
	}
	if e.Error.Code != nil {
		code = *e.Error.Code
	}
	return e.Error.Type, code
}

// What the service calls throttling or a fault of its own, though the model lacks capacity, is an overload (D29).
func TestPool_OverloadIsNoThrottling(t *testing.T) {
	for why, b := range map[string]upstreamtest.Behaviour{
		"no capacity of the model, as 429": upstreamtest.ModelCapacity(),
		"high load, as 500":                upstreamtest.Overloaded(),
		"high load, by its reason":         upstreamtest.Status(500, "").ErrorCode("MODEL_TEMPORARILY_UNAVAILABLE"),
	} {
		r, _ := newPoolRig(t)
		up, id := r.fakePoolID("a", weight(1))
		other := r.fakePool("b", weight(2))
		up.Default(b)
		if got := r.post(poolPlain); got.status != 200 || got.header.Get("X-Proxy-Node") != "b" {
			t.Errorf("%s: got %d %s, want another node's answer", why, got.status, got.body)
		}
		if s := r.state(id); len(s.Cooling) != 0 || s.FailStreak != 1 {
			t.Errorf("%s: state %+v", why, s)
		}
		other.Default(b)
		for _, body := range []string{poolPlain, poolStream} {
			wantError(t, r.post(body), 529, "overloaded_error", "capacity")
		}
		if got := r.do("POST", chatPath, poolChat); got.status != 503 && got.status != 529 {
			t.Errorf("%s: chat got %d %s", why, got.status, got.body)
		}
	}
}

// A prompt that is too long is the request's own fault, in the words that make clients shorten it (D15, D41, D53).
func TestPool_TooLong(t *testing.T) {
	huge := strings.Repeat("word ", 130_000) // over the 600,000 characters that the service takes of a message
	for _, c := range []struct {
		why    string
		answer upstreamtest.Behaviour
		text   string
		asked  int
	}{
		{"by the service", upstreamtest.PromptTooLong(300_000, 200_000), "hi", 1},
		{"by its text alone", upstreamtest.Status(400, "Input is too long."), "hi", 1},
		{"by what a conversation may be", upstreamtest.Status(402, "").ErrorType("ServiceQuotaExceededException").ErrorCode("CONVERSATION_LIMIT_EXCEEDED"), "hi", 1},
		{"by the limits of a message", upstreamtest.Reply(upstreamtest.Text("no")), huge, 0},
	} {
		r, _ := newPoolRig(t)
		a, id := r.fakePoolID("a", weight(1))
		b := r.fakePool("b", weight(2))
		a.Default(c.answer)
		b.Default(c.answer)
		for i, ask := range poolAsks {
			body := strings.Replace(ask.body, `"hi"`, `"`+c.text+`"`, 1)
			got := r.do("POST", ask.path, body)
			if got.status != 400 || !strings.Contains(got.body, "prompt is too long") {
				t.Errorf("%s, %s: got %d %s", c.why, ask.name, got.status, tail(got.body))
				continue
			}
			if ask.name == "messages" {
				wantError(t, got, 400, "invalid_request_error", "prompt is too long: ")
			} else if _, code := openAIError(t, got.body); code != "context_length_exceeded" {
				t.Errorf("%s, %s: code %q", c.why, ask.name, code)
			}
			if n := a.Count(); n != (i+1)*c.asked || b.Count() != 0 {
				t.Errorf("%s: the nodes were asked %d and %d times", c.why, n, b.Count())
			}
		}
		if s := r.state(id); s.FailStreak != 0 || len(s.Cooling) != 0 {
			t.Errorf("%s: the node is blamed: %+v", c.why, s)
		}
	}
}

// Many clients at once meet a node that is suspended at that moment: one word of it is enough.
func TestPool_SuspendedUnderLoad(t *testing.T) {
	r, _ := newPoolRig(t)
	bad, id := r.fakePoolID("a", weight(1))
	r.fakePool("b", weight(2))
	bad.Default(upstreamtest.Suspended())
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			q := r.request(t.Context(), "POST", "/v1/messages", poolPlain)
			resp, err := r.client.Do(q)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if resp.StatusCode != 200 {
				t.Errorf("got %d", resp.StatusCode)
			}
		})
	}
	wg.Wait()
	n := bad.Count()
	if got := r.post(poolPlain); got.status != 200 || bad.Count() != n || r.state(id).Blocked != core.BlockedSuspended {
		t.Errorf("got %d; the node was asked again: %v", got.status, bad.Count() != n)
	}
	bad.Reset()
	r.admin("PUT", "/admin/accounts/"+id, `{"is_active":false}`, 200)
	r.admin("PUT", "/admin/accounts/"+id, `{"is_active":true}`, 200)
	if got := r.post(poolPlain); got.status != 200 || got.header.Get("X-Proxy-Node") != "a" || r.state(id).Blocked != "" {
		t.Errorf("enabled again: got %d from %s, state %+v", got.status, got.header.Get("X-Proxy-Node"), r.state(id))
	}
}
