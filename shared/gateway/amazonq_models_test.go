package gateway_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/upstream/amazonq"
	"sluice/shared/upstream/upstreamtest"
)

// modelIDs reads a list of models in either dialect.
func modelIDs(t testing.TB, got reply) (ids, owners []string) {
	t.Helper()
	var list struct {
		Data []struct {
			ID    string
			Owner string `json:"owned_by"`
		}
	}
	if err := json.Unmarshal([]byte(got.body), &list); err != nil || got.status != 200 {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	for _, m := range list.Data {
		ids, owners = append(ids, m.ID), append(owners, m.Owner)
	}
	return ids, owners
}

// What an account may use is what it lists: of several accounts each name once, and of one that says nothing, nothing.
func TestPoolModels_ByEntitlement(t *testing.T) {
	r, c := newPoolRig(t)
	free, paid := r.fakePool("free"), r.fakePool("paid")
	free.SetModels("auto", "claude-sonnet-4.5")
	paid.SetModels("auto", "claude-sonnet-4.5", "claude-opus-4.6")
	ids, _ := modelIDs(t, r.do("GET", "/v1/models?limit=1000", ""))
	slices.Sort(ids)
	if got := strings.Join(ids, " "); got != "auto claude-opus-4.6 claude-sonnet-4.5" {
		t.Errorf("got %s", got)
	}
	ids, owners := modelIDs(t, r.do("GET", "/v1/models", "", "X-Api-Key", "", "Authorization", "Bearer "+proxyKey))
	if i := slices.Index(ids, "claude-opus-4.6"); i < 0 || owners[i] != "anthropic" || !slices.Contains(ids, "opus-4.6") {
		t.Errorf("OpenAI's list: %v", ids)
	}
	for _, q := range append(free.Requests(), paid.Requests()...) {
		if q.Target() != "ListAvailableModels" {
			t.Errorf("asked for %s", q.Target())
		}
	}
	if free.Count() != 1 {
		t.Errorf("the list was read %d times for two requests", free.Count())
	}
	c.advance(6 * 60e9)
	paid.QueueOperation("ListAvailableModels", upstreamtest.Suspended())
	if ids, _ := modelIDs(t, r.do("GET", "/v1/models?limit=1000", "")); strings.Join(ids, " ") != "auto claude-sonnet-4.5" {
		t.Errorf("while one account gives no list: %v", ids)
	}
	if got := r.do("GET", "/v1/models/claude-opus-9", ""); got.status != 404 {
		t.Errorf("a model that nobody has: %d", got.status)
	}
}

// A model that an account is not offered is another account's to serve; what none has is the client's mistake, and no node's.
func TestPoolModels_NotOfferedFailsOver(t *testing.T) {
	r, _ := newPoolRig(t)
	free, id := r.fakePoolID("free", weight(1))
	free.SetModels("auto", "claude-sonnet-4.5")
	paid := r.fakePool("paid", weight(2))
	opus := strings.Replace(poolPlain, poolModel, "claude-opus-4-6", 1)
	for range 5 {
		if got := r.post(opus); got.status != 200 || got.header.Get("X-Proxy-Node") != "paid" {
			t.Fatalf("got %d from %s: %s", got.status, got.header.Get("X-Proxy-Node"), got.body)
		}
	}
	r.served("free")
	paid.SetModels("auto")
	for _, ask := range poolAsks {
		got := r.do("POST", ask.path, strings.Replace(ask.body, poolModel, "claude-opus-4-6", 1))
		if got.status != 404 || !strings.Contains(got.body, "model") || got.header.Get("Retry-After") != "" {
			t.Errorf("%s: got %d %v %s", ask.name, got.status, got.header, got.body)
		}
	}
	if s := r.state(id); s.FailStreak != 0 || len(s.Cooling) != 0 {
		t.Errorf("the node is blamed: %+v", s)
	}
	r.served("free")
}

// Names of Anthropic's API, of Cursor and of Guide B are the service's own; clients read the name they sent, and what was
// served has a price.
func TestPoolModels_Names(t *testing.T) {
	for _, c := range []struct{ name, sent string }{
		{"claude-sonnet-4-5-20250929", "claude-sonnet-4.5"},
		{"claude-sonnet-4-5", "claude-sonnet-4.5"},
		{"claude-sonnet-4.5", "claude-sonnet-4.5"},
		{"claude-sonnet-4-5-20250929[1m]", "claude-sonnet-4.5"}, // D22
		{"sonnet-4.5", "claude-sonnet-4.5"},                     // D50
		{"claude-haiku-4-5-20251001", "claude-haiku-4.5"},       // D20
		{"claude-opus-4-6", "claude-opus-4.6"},
		{"claude-sonnet-4-20250514", "claude-sonnet-4"},
		{"claude-sonnet-4-0", "claude-sonnet-4"},
		{"gpt-4", "claude-sonnet-4.5"},
		{"gpt-4-turbo", "claude-sonnet-4.5"},
		{"gpt-4o", "claude-sonnet-4.5"},
		{"gpt-4o-mini", "claude-haiku-4.5"},
		{"gpt-3.5-turbo", "claude-haiku-4.5"},
	} {
		r, _ := newPoolRig(t)
		up := r.fakePool("q")
		up.Default(upstreamtest.Reply(upstreamtest.Text("Hello")).Usage(upstreamtest.Usage{Input: 100, Output: 10, CacheRead: 50, CacheWrite5m: 20}))
		var a chatAnswer
		a.read(t, r.do("POST", chatPath, strings.Replace(poolChat, poolModel, c.name, 1)))
		m := streamedMessage(t, r.post(strings.Replace(poolStream, poolModel, c.name, 1)))
		if a.Model != c.name || m.Model != c.name {
			t.Errorf("%s: the client reads %s and %s", c.name, a.Model, m.Model)
		}
		if got := up.Last().Model(); got != c.sent {
			t.Errorf("%s: sent %s, want %s", c.name, got, c.sent)
		}
		for _, rec := range r.records() {
			if rec.Unpriced || rec.CostUSD <= 0 || rec.ServedModel != c.sent || rec.Model != c.name {
				t.Errorf("%s: recorded %+v", c.name, rec)
			}
		}
	}
	r, _ := newPoolRig(t) // the service's own choice has no price, and says so
	r.fakePool("q")
	r.post(strings.Replace(poolPlain, poolModel, "auto", 1))
	if rec := r.record(); !rec.Unpriced || rec.CostUSD != 0 || rec.ServedModel != "auto" {
		t.Errorf("auto: recorded %+v", rec)
	}
}

// A map of the node's wins over the built-in names.
func TestPoolModels_NodeMap(t *testing.T) {
	r, _ := newPoolRig(t)
	up := r.fakePool("q", modelMap(map[string]string{"my-model": "claude-opus-4.6", "gpt-4o": "auto"}))
	for name, sent := range map[string]string{"my-model": "claude-opus-4.6", "gpt-4o": "auto"} {
		if got := r.do("POST", chatPath, strings.Replace(poolChat, poolModel, name, 1)); got.status != 200 || up.Last().Model() != sent {
			t.Errorf("%s: got %d, sent %s", name, got.status, up.Last().Model())
		}
	}
}

// The service runs no tools of its own: clients are told which one is the trouble, unless it is one among others that they
// declare as a matter of course.
func TestPool_ServerToolsAreRefused(t *testing.T) {
	r, _ := newPoolRig(t)
	up := r.fakePool("q")
	used := `{"role":"user","content":"news?"},{"role":"assistant","content":[{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"query":"news"}},` +
		`{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[]}]},{"role":"user","content":"and?"}`
	for why, body := range map[string]string{
		"declared alone": with(poolPlain, `"tools":[{"type":"web_search_20250305","name":"web_search"}]`),
		"used before":    `{"model":"` + poolModel + `","max_tokens":9,"messages":[` + used + `]}`,
		"chosen":         with(poolPlain, `"tool_choice":{"type":"tool","name":"web_search"},"tools":[{"type":"web_search_20250305","name":"web_search"}]`),
	} {
		got := r.post(body)
		if got.status != 400 || !strings.Contains(got.body, "web_search") || !strings.Contains(got.body, "upstream that serves this model") {
			t.Errorf("%s: got %d %s", why, got.status, got.body)
		}
	}
	if up.Count() != 0 {
		t.Errorf("the service was asked %d times", up.Count())
	}
	got := r.post(with(poolPlain, `"tools":[{"type":"web_search_20250305","name":"web_search"},{"name":"read","input_schema":{"type":"object"}}]`))
	if got.status != 200 || !strings.Contains(got.header.Get("X-Sluice-Dropped"), "tools:web_search") || strings.Contains(string(up.Last().Body), "web_search") {
		t.Errorf("among others: got %d, dropped %q: %s", got.status, got.header.Get("X-Sluice-Dropped"), got.body)
	}
}

// Documents of text are text to the service; others are refused with what to do.
func TestPool_Documents(t *testing.T) {
	r, _ := newPoolRig(t)
	up := r.fakePool("q")
	doc := func(source string) string {
		return talk(`{"role":"user","content":[{"type":"document","title":"Notes","source":` + source + `},{"type":"text","text":"sum up"}]}`)
	}
	for _, source := range []string{`{"type":"text","media_type":"text/plain","data":"the quick fox"}`, `{"type":"content","content":[{"type":"text","text":"the quick fox"}]}`,
		`{"type":"base64","media_type":"text/plain","data":"dGhlIHF1aWNrIGZveA=="}`} {
		text := r.sent(up, "/v1/messages", doc(source)).State.Current.User.Content
		if !strings.Contains(text, "Notes") || !strings.Contains(text, "the quick fox") || !strings.Contains(text, "sum up") {
			t.Errorf("%s: sent %q", source, text)
		}
	}
	for _, source := range []string{`{"type":"base64","media_type":"application/pdf","data":"JVBERi0="}`, `{"type":"url","url":"https://example.com/a.pdf"}`} {
		wantError(t, r.post(doc(source)), 400, "invalid_request_error", "send the text itself")
	}
}

// Every answer names the node, errors too.
func TestPool_NodeIsNamed(t *testing.T) {
	r, _ := newPoolRig(t)
	up := r.fakePool("账号 1")
	up.Queue(upstreamtest.Reply(upstreamtest.Text("a")), upstreamtest.Reply(upstreamtest.Text("a")), upstreamtest.Status(400, ""), upstreamtest.Status(500, ""))
	for _, body := range []string{poolPlain, poolStream, poolPlain, poolStream} {
		got := r.post(body)
		if got.header.Get("X-Proxy-Node") != "%E8%B4%A6%E5%8F%B7%201" || got.header.Get("X-Upstream-Request-Id") == "" && got.status < 500 {
			t.Errorf("%d: headers %v", got.status, got.header)
		}
		for name := range got.header {
			if strings.HasPrefix(name, "X-Amz") {
				t.Errorf("header %s of the service reached the client", name)
			}
		}
	}
}

// Where no node counts tokens the gateway does, and says that it is an estimate (D21).
func TestPool_CountTokensIsAnEstimate(t *testing.T) {
	r, _ := newPoolRig(t)
	up := r.fakePool("q")
	count := func(body string) int {
		t.Helper()
		got := r.do("POST", "/v1/messages/count_tokens", body)
		var n struct {
			Input int `json:"input_tokens"`
		}
		if got.status != 200 || json.Unmarshal([]byte(got.body), &n) != nil || got.header.Get("X-Sluice-Estimate") != "input_tokens" {
			t.Fatalf("got %d %v %s", got.status, got.header, got.body)
		}
		return n.Input
	}
	short := count(`{"model":"` + poolModel + `","messages":[{"role":"user","content":"hi"}]}`)
	long := count(`{"model":"` + poolModel + `","system":"` + strings.Repeat("You are terse. ", 100) + `",` + poolTools + `,"messages":[{"role":"user","content":"hi"}]}`)
	if short < 1 || short > 30 || long-short < 400 || long-short > 1500 {
		t.Errorf("counted %d and %d", short, long)
	}
	if up.Count() != 0 {
		t.Errorf("the service was asked %d times", up.Count())
	}
	if got := r.do("POST", "/v1/messages/count_tokens", `{"model":"m"}`); got.status != 400 {
		t.Errorf("without messages: %d", got.status)
	}
	// one node that counts is enough for a true count
	r.fakeNode("a", weight(9))
	if got := r.do("POST", "/v1/messages/count_tokens", poolPlain); got.status != 200 || got.header.Get("X-Sluice-Estimate") != "" || got.header.Get("X-Proxy-Node") != "a" {
		t.Errorf("got %d %v %s", got.status, got.header, got.body)
	}
}

// A pool beside a node of Anthropic's own: each request goes to the better tier, and over to the other when that fails.
func TestPool_BesideAnotherKind(t *testing.T) {
	r, _ := newPoolRig(t)
	q := r.fakePool("q", weight(1))
	a := r.fakeNode("a", weight(2))
	a.Default(upstreamtest.Reply(upstreamtest.Text("Hello")))
	q.Queue(upstreamtest.Status(500, ""))
	if got := r.post(poolStream); got.status != 200 || got.header.Get("X-Proxy-Node") != "a" || streamedMessage(t, got).said() != "Hello" {
		t.Errorf("got %d from %s", got.status, got.header.Get("X-Proxy-Node"))
	}
	// what the service cannot express is the other's from the start
	got := r.post(with(poolPlain, `"tool_choice":{"type":"any"},`+poolTools))
	if got.status != 200 || got.header.Get("X-Proxy-Node") != "a" || q.Count() != 1 {
		t.Errorf("got %d from %s, the service was asked %d times", got.status, got.header.Get("X-Proxy-Node"), q.Count())
	}
	r.served("q")
}

// A key of Kiro's needs no token service, and a profile and a region go with the request.
func TestPool_APIKey(t *testing.T) {
	r, _ := newPoolRig(t, "AMAZONQ_TOKEN_ENDPOINT", upstreamtest.NewRefused(t))
	up, id := r.fakePoolID("key", r.login(amazonq.Credential{APIKey: "ksk_one"}), func(n *core.Node) { n.API = "kiro" })
	r.served("key")
	if q := up.Last(); q.Credential() != "ksk_one" || q.Header.Get("Tokentype") != "API_KEY" {
		t.Errorf("sent %v", q.Header)
	}
	up.Default(upstreamtest.TokenInvalid(403))
	wantError(t, r.post(poolPlain), 502, "api_error", "Your key is not at fault") // a 401 or 403 would send the client after its own key
	if up.Count() != 2 {
		t.Errorf("a key that is refused was sent %d times", up.Count()-1)
	}
	if s := r.state(id); s.Blocked != "" || s.FailStreak != 1 {
		t.Errorf("state %+v", s)
	}
}

// What one node is not offered says nothing of the others: while they are busy the client is told to come again.
func TestPoolModels_NotOfferedIsNoAnswerForOthers(t *testing.T) {
	for _, c := range []struct {
		why    string
		paid   upstreamtest.Behaviour
		status int
		wait   string
	}{
		{"overloaded", upstreamtest.Overloaded(), 529, ""},
		{"throttled", upstreamtest.RateLimited(20e9), 429, "20"},
		{"throttled, without a time", upstreamtest.RateLimited(0), 429, "30"},
		{"throttled and known to be", upstreamtest.RateLimited(20e9), 503, "20"},
	} {
		for _, first := range []int{1, 3} { // the one that is not offered the model is asked before or after the other
			r, _ := newPoolRig(t)
			free := r.fakePool("free", weight(first))
			free.SetModels("auto")
			paid := r.fakePool("paid", weight(2))
			paid.Default(c.paid)
			if c.status == 503 {
				r.post(poolPlain)
			}
			got := r.post(poolPlain)
			if got.status != c.status || got.header.Get("Retry-After") != c.wait {
				t.Errorf("%s, order %d: got %d %v %s", c.why, first, got.status, got.header, got.body)
			}
		}
	}
}
