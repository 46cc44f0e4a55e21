package gateway_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"sluice/shared/core"
)

const upstreamAddress = `https://api.example.com/base/v1/messages/batches/`

func TestBatches_ResultsAddressLeadsBackToTheGateway(t *testing.T) {
	batch := func(id, base string) string {
		return `{ "id":"` + id + `", "n": 1.0e2,	"s":"\u00e9\/",  "results_url" : "` + base + id + `/results" , "counts":{"results_url":"` + upstreamAddress + `"} }`
	}
	list := func(base string) string {
		return ` {"data" : [ ` + batch("b1", base) + ` ,
	{ "id":"b2", "results_url": null },7 , ` + batch("b3", base) + " ] , \"has_more\" :false}\n"
	}
	const below = "/v1/messages/batches/"
	for _, c := range []struct {
		reason, public, method, path string
		list                         bool
		headers                      []string
		want                         string // empty: as it is
	}{
		{"creation", "", "POST", "/v1/messages/batches", false, nil, "http://gw.example:81" + below},
		{"one", "", "GET", "/v1/messages/batches/b1", false, nil, "http://gw.example:81" + below},
		{"with a query", "", "GET", "/v1/messages/batches/b1?beta=true", false, nil, "http://gw.example:81" + below},
		{"cancelled", "", "POST", "/v1/messages/batches/b1/cancel", false, nil, "http://gw.example:81" + below},
		{"all", "", "GET", "/v1/messages/batches", true, nil, "http://gw.example:81" + below},
		{"with the prefix", "", "GET", "/anthropic/v1/messages/batches/b1", false, nil, "http://gw.example:81/anthropic" + below},
		{"all with the prefix", "", "GET", "/anthropic/v1/messages/batches", true, nil, "http://gw.example:81/anthropic" + below},
		{"behind a proxy with TLS", "", "GET", "/v1/messages/batches/b1", false, []string{"X-Forwarded-Proto", "https"}, "https://gw.example:81" + below},
		{"by PUBLIC_URL", "https://llm.example", "GET", "/v1/messages/batches/b1", false, nil, "https://llm.example" + below},
		{"by PUBLIC_URL with a path", "https://llm.example/team/", "GET", "/v1/messages/batches/b1", false, nil, "https://llm.example/team" + below},
		{"by PUBLIC_URL and prefix", "https://llm.example/team", "POST", "/anthropic/v1/messages/batches", false, nil, "https://llm.example/team/anthropic" + below},
		{"a file", "", "GET", "/v1/files/b1", false, nil, ""},
		{"all files", "", "GET", "/v1/files", true, nil, ""},
		{"a skill", "", "GET", "/v1/skills/b1", false, nil, ""},
	} {
		t.Run(c.reason, func(t *testing.T) {
			answer := func(base string) string { return batch("b1", base) }
			if c.list {
				answer = list
			}
			var env []string
			if c.public != "" {
				env = []string{"PUBLIC_URL", c.public}
			}
			r := newRig(t, env...)
			r.node("a", newStatusServer(t, 200, nil, answer(upstreamAddress)))
			sent := ""
			if c.method == "POST" {
				sent = batchBody
			}
			q := r.request(deadline(t), c.method, c.path, sent, c.headers...)
			q.Host = "gw.example:81"
			want := c.want
			if want == "" {
				want = upstreamAddress
			}
			if got := r.send(q); got.status != 200 || got.body != answer(want) {
				t.Errorf("got %d %s\nwant %s", got.status, got.body, answer(want))
			}
		})
	}
}

func TestBatches_AddressesThatAreNoneStay(t *testing.T) {
	for _, body := range []string{`{"id":"b1","results_url":null}`, `{"id":"b1"}`, `{"id":"b1","results_url":"https://x.example/elsewhere"}`,
		`{"id":"b1","results_url":5}`, `{"data":[]}`, `{"data":"x"}`, `[]`, `no JSON`, ``} {
		r := newRig(t)
		r.node("a", newStatusServer(t, 200, nil, body))
		if got := r.do("GET", "/v1/messages/batches/b1", ""); got.status != 200 || got.body != body {
			t.Errorf("got %d %s, want %s", got.status, got.body, body)
		}
	}
}

const (
	resultOne   = `{"custom_id":"1","result":{"type":"succeeded","message":{"type":"message","model":"claude-x","usage":{"input_tokens":10,"cache_read_input_tokens":2,"output_tokens":3}}}}`
	resultTwo   = `{"custom_id":"2","result":{"type":"succeeded","message":{"type":"message","model":"claude-y","usage":{"input_tokens":100,"output_tokens":30}}}}`
	resultError = `{"custom_id":"3","result":{"type":"errored","error":{"type":"error","error":{"type":"invalid_request_error","message":"x"}}}}`
)

// settled are the records of batches.
func (r *rig) settled() map[string]core.Tokens {
	r.t.Helper()
	out := map[string]core.Tokens{}
	for _, rec := range r.records() {
		if !strings.HasPrefix(rec.RequestID, "batch_") {
			if rec.Tokens != (core.Tokens{}) {
				r.t.Errorf("the request itself took %+v", rec.Tokens)
			}
			continue
		}
		if _, twice := out[rec.Model]; twice || rec.Status != 200 || rec.Account != core.DefaultAccount || rec.NodeName != "a" || rec.Key == "" || rec.Estimated {
			r.t.Errorf("recorded %+v", rec)
		}
		out[rec.Model] = rec.Tokens
	}
	return out
}

func TestBatches_ResultsAreSettledOnce(t *testing.T) {
	x, y := core.Tokens{Input: 10, CacheRead: 2, Output: 3}, core.Tokens{Input: 100, Output: 30}
	for _, c := range []struct {
		reason, body string
		want         map[string]core.Tokens
	}{
		{"two models", resultOne + "\n" + resultTwo + "\n", map[string]core.Tokens{"claude-x": x, "claude-y": y}},
		{"no end of line at the end", resultOne + "\n" + resultTwo, map[string]core.Tokens{"claude-x": x, "claude-y": y}},
		{"one model twice", resultOne + "\n" + resultOne + "\n", map[string]core.Tokens{"claude-x": x.Add(x)}},
		{"lines that are no JSON", "nonsense\n{\n\n" + resultOne + "\r\n\x00\xff\n[" + resultTwo + "]\n", map[string]core.Tokens{"claude-x": x}},
		{"nothing succeeded", resultError + "\n", nil},
		{"nothing", "", nil},
		{"more than one read", strings.Repeat(resultOne+"\n", 1000), map[string]core.Tokens{"claude-x": {Input: 10_000, CacheRead: 2000, Output: 3000}}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			r := newRig(t)
			r.node("a", newResultsServer(t, c.body, 0))
			for range 2 {
				if got := r.do("GET", "/v1/messages/batches/b1/results", ""); got.status != 200 || got.err != nil || got.body != c.body {
					t.Errorf("got %d %v %s", got.status, got.err, tail(got.body))
				}
				got := r.settled()
				if len(got) != len(c.want) {
					t.Errorf("settled %+v, want %+v", got, c.want)
				}
				for model, tokens := range c.want {
					if got[model] != tokens {
						t.Errorf("%s: settled %+v, want %+v", model, got[model], tokens)
					}
				}
			}
		})
	}
}

func TestBatches_ResultsThatAreCutAreNotSettled(t *testing.T) {
	r := newRig(t)
	r.node("a", newResultsServer(t, resultOne+"\n"+resultTwo+"\n", 10))
	resp, err := r.client.Do(r.request(deadline(t), http.MethodGet, "/v1/messages/batches/b1/results", ""))
	if err == nil {
		if _, err = io.ReadAll(resp.Body); err == nil {
			t.Error("got a clean end")
		}
		_ = resp.Body.Close()
	}
	if got := r.settled(); len(got) != 0 {
		t.Errorf("settled %+v", got)
	}
}

// newResultsServer answers with lines of JSON, and announces more bytes than come.
func newResultsServer(t testing.TB, body string, missing int) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-jsonl")
		if missing > 0 {
			w.Header().Set("Content-Length", strconv.Itoa(len(body)+missing))
		}
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}
