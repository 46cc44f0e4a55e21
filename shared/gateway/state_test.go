package gateway_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/upstream/upstreamtest"
)

var responseID = regexp.MustCompile(`"id":\s*"(resp_[A-Za-z0-9_]+)"`)

// responseOf is the id of the response in an answer, streamed or not.
func responseOf(t *testing.T, got reply) string {
	t.Helper()
	m := responseID.FindAllStringSubmatch(got.body, -1)
	if got.status != 200 || m == nil {
		t.Fatalf("no response: %d %s", got.status, got.body)
	}
	return m[len(m)-1][1]
}

func keeping(days int) func(*core.Account) { return func(a *core.Account) { a.ResponseDays = days } }

func TestState_ConversationsGoOnOverEveryUpstream(t *testing.T) {
	for _, wire := range []string{"anthropic", "chat", "responses"} {
		for _, stream := range []string{"", `"stream":true,`} {
			t.Run(wire+stream, func(t *testing.T) {
				r := newRig(t)
				r.editAccount(keeping(1))
				var last func() string
				answer := upstreamtest.Reply(upstreamtest.Text("first answer"))
				if wire == "anthropic" {
					up := r.fakeNode("a")
					up.Default(answer)
					last = func() string { return string(up.Last().Body) }
				} else {
					up := r.fakeOpenAI("a", wire)
					up.Default(answer)
					last = func() string { return string(up.Last().Body) }
				}
				first := responseOf(t, r.do("POST", responsesPath, `{"model":"m",`+stream+`"instructions":"be brief","input":"first question"}`))
				got := r.do("POST", responsesPath, `{"model":"m",`+stream+`"previous_response_id":"`+first+`","input":[{"role":"user","content":"second question"}]}`)
				second := responseOf(t, got)
				if wire != "responses" && (!strings.Contains(got.body, `"store":true`) || !strings.Contains(got.body, `"previous_response_id":"`+first+`"`)) {
					t.Errorf("the answer does not say what the client asked for: %s", got.body)
				}
				for _, want := range []string{"first question", "first answer", "second question"} {
					if strings.Count(last(), want) != 1 {
						t.Errorf("upstream does not get %q once: %s", want, last())
					}
				}
				if strings.Contains(last(), "be brief") || strings.Contains(last(), first) || strings.Contains(last(), `"store":true`) {
					t.Errorf("upstream got %s", last())
				}
				responseOf(t, r.do("POST", responsesPath, `{"model":"m","previous_response_id":"`+second+`","input":"third question"}`))
				if strings.Count(last(), "first answer") != 2 || strings.Count(last(), "question") != 3 {
					t.Errorf("the third turn does not hold all before: %s", last())
				}
			})
		}
	}
}

func TestState_OffByDefault(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a")
	id := responseOf(t, r.do("POST", responsesPath, `{"model":"m","store":true,"input":"x"}`))
	got := r.do("POST", responsesPath, `{"model":"m","previous_response_id":"`+id+`","input":"y"}`)
	wantOpenAIError(t, got, 400, "invalid_request_error", "", "previous_response_id")
	if up.Count() != 1 {
		t.Errorf("%d upstream requests", up.Count())
	}
	if rows, err := r.app.Tables.Responses.All(t.Context(), ""); err != nil || len(rows) != 0 {
		t.Errorf("%d responses are kept, %v", len(rows), err)
	}
	wantOpenAIError(t, r.do("GET", responsesPath+"/"+id, ""), 404, "invalid_request_error", "not_found", "not found")

	// an upstream that keeps responses itself is asked as the client wrote
	r = newRig(t)
	openai := upstreamtest.NewOpenAI(t, upstreamtest.WithoutValidation())
	r.node("a", openai.BaseURL(), openaiNode("responses"))
	body := `{"model":"m","previous_response_id":"resp_1","store":true,"input":"y"}`
	r.do("POST", responsesPath, body)
	if got := string(openai.Last().Body); got != body {
		t.Errorf("upstream got %s", got)
	}
}

func TestState_WhatIsKept(t *testing.T) {
	r := newRig(t)
	r.editAccount(keeping(2))
	up := r.fakeNode("a")
	up.Default(upstreamtest.Reply(upstreamtest.Text("the secret answer")))
	ask := func(more string) string {
		t.Helper()
		return responseOf(t, r.do("POST", responsesPath, `{"model":"m",`+more+`"input":"the secret question"}`))
	}
	id, unkept := ask(""), ask(`"store":false,`)
	r.rest()
	rows, err := r.app.Tables.Responses.All(t.Context(), core.DefaultAccount)
	if err != nil || len(rows) != 1 {
		t.Fatalf("%d responses are kept, %v", len(rows), err)
	}
	raw, _ := json.Marshal(rows[0].Value)
	if strings.Contains(string(raw), "secret") || !strings.Contains(string(raw), `"data":"v1.`) {
		t.Errorf("not sealed: %s", raw)
	}
	if left := time.Until(rows[0].Value.Expires); left < 47*time.Hour || left > 48*time.Hour {
		t.Errorf("expires in %v", left)
	}
	got := r.do("GET", responsesPath+"/"+id, "")
	if got.status != 200 || !strings.Contains(got.body, "the secret answer") || !strings.Contains(got.body, id) {
		t.Errorf("got %d %s", got.status, got.body)
	}
	wantOpenAIError(t, r.do("GET", responsesPath+"/"+unkept, ""), 404, "invalid_request_error", "not_found", "not found")
	missing := func(id string, headers ...string) {
		t.Helper()
		got := r.do("POST", responsesPath, `{"model":"m","previous_response_id":"`+id+`","input":"x"}`, headers...)
		wantOpenAIError(t, got, 400, "invalid_request_error", "previous_response_not_found", "'"+id+"' not found")
	}
	missing(unkept)
	missing("resp_never")
	missing("../x")

	// nothing of it is visible to another account
	other := core.Account{ID: "other", Name: "other", ResponseDays: 1}
	if _, err := r.app.Tables.Accounts.Create(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	_, key := r.key(func(k *core.Key) { k.Account = "other" })
	missing(id, "X-Api-Key", key)
	wantOpenAIError(t, r.do("GET", responsesPath+"/"+id, "", "X-Api-Key", key), 404, "invalid_request_error", "not_found", "not found")
	wantOpenAIError(t, r.do("DELETE", responsesPath+"/"+id, "", "X-Api-Key", key), 404, "invalid_request_error", "not_found", "not found")

	if got := r.do("DELETE", responsesPath+"/"+id, ""); got.status != 200 || got.body != `{"id":"`+id+`","object":"response.deleted","deleted":true}` {
		t.Errorf("got %d %s", got.status, got.body)
	}
	missing(id)
}

// What failed or broke off is not gone on with, and what has expired is gone.
func TestState_FailuresAndExpiry(t *testing.T) {
	r := newRig(t, "PROXY_RETRY_MAX", "1")
	r.editAccount(keeping(1))
	up := r.fakeNode("a")
	up.Queue(upstreamtest.Status(500, "x"), upstreamtest.Events(20).Cut(upstreamtest.AfterDeltas(10), upstreamtest.EndReset))
	r.do("POST", responsesPath, responsesPlain)
	r.do("POST", responsesPath, responsesStream)
	r.rest()
	if rows, _ := r.app.Tables.Responses.All(t.Context(), ""); len(rows) != 0 {
		t.Errorf("%d responses are kept", len(rows))
	}
	id := responseOf(t, r.do("POST", responsesPath, responsesPlain))
	r.rest()
	_, err := r.app.Tables.Responses.Update(t.Context(), core.DefaultAccount+"/"+id, func(v *store.Response) error {
		v.Expires = time.Now().Add(-time.Second)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantOpenAIError(t, r.do("GET", responsesPath+"/"+id, ""), 404, "invalid_request_error", "not_found", "not found")
}

// An answer of very many items is kept in time that grows with its size, not with its square.
func TestState_ManyItems(t *testing.T) {
	r := newRig(t)
	r.editAccount(keeping(1))
	const items = 100_000
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"id":"resp_many","object":"response","status":"completed","output":[{"type":"a"}` + strings.Repeat(`,{"type":"b"}`, items-1) + `]}`))
	}))
	defer up.Close()
	r.node("a", up.URL, openaiNode("responses"))
	start := time.Now()
	responseOf(t, r.do("POST", responsesPath, responsesPlain))
	r.rest()
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if got := r.do("GET", responsesPath+"/resp_many", ""); got.status != 200 || strings.Count(got.body, `"type":"b"`) != items-1 {
		t.Errorf("not kept: %d", got.status)
	}
}

// Whatever becomes of a request, the memory that was counted for its body, its translation and its conversation is given
// back: else the gateway would refuse everybody after a while.
func TestState_MemoryIsGivenBack(t *testing.T) {
	r := newRig(t, "MAX_BODY_BYTES", "100000", "MAX_BODY_MEMORY", "300000", "PROXY_RETRY_MAX", "1", "PROXY_FAIL_THRESHOLD", "100")
	r.editAccount(keeping(1))
	up := r.fakeNode("a")
	long := strings.Repeat("x", 40_000)
	for range 12 {
		for _, body := range []string{
			`{"model":"m","input":"` + long + `"}`,
			`{"model":"m","stream":true,"input":"` + long + `"}`,
			`{"model":"m","store":false,"input":"` + long + `"}`,
			`{"model":"m","previous_response_id":"resp_none","input":"` + long + `"}`,
			`{"model":"m","input":[{"type":"nonsense","content":"` + long + `"}]}`,
			`{"model":"m","stream":7,"input":"` + long + `"}`,
		} {
			for _, play := range []upstreamtest.Behaviour{upstreamtest.Reply(upstreamtest.Text("a")), upstreamtest.Status(500, "x"), upstreamtest.Events(20).Cut(upstreamtest.AfterDeltas(10), upstreamtest.EndReset)} {
				up.Default(play)
				if got := r.do("POST", responsesPath, body); strings.Contains(got.body, "request bodies") {
					t.Fatalf("got %d %s for %.60s", got.status, got.body, body)
				}
				r.rest()
			}
		}
	}
}

func TestState_BadInput(t *testing.T) {
	r := newRig(t)
	r.editAccount(keeping(1))
	up := r.fakeNode("a")
	for body, want := range map[string]string{
		`{"model":"m","previous_response_id":7,"input":"x"}`:  "previous_response_id",
		`{"model":"m","previous_response_id":"","input":"x"}`: "previous_response_id",
		`{"model":"m"}`:            "input",
		`{"model":"m","input":{}}`: "input",
		`{"model":"m","input":"x","store":false,"store":true}`: "store",
	} {
		wantOpenAIError(t, r.do("POST", responsesPath, body), 400, "invalid_request_error", "", want)
	}
	if up.Count() != 0 {
		t.Errorf("%d upstream requests", up.Count())
	}
}
