package upstreamtest_test

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/http"
	"strings"
	"sync"
	"testing"

	. "sluice/shared/upstream/upstreamtest"
)

func TestCredentials(t *testing.T) {
	locked, open := NewAnthropic(t, WithKey("secret")), NewAnthropic(t)
	for name, tt := range map[string]struct {
		a       *Anthropic
		key     string
		bearer  string
		message string // empty: accepted
	}{
		"Key":         {locked, "secret", "", ""},
		"Bearer":      {locked, "", "Bearer secret", ""},
		"WrongKey":    {locked, "other", "Bearer secret", "invalid x-api-key"},
		"WrongBearer": {locked, "", "Bearer other", "Invalid bearer token"},
		"None":        {locked, "", "", "x-api-key header is required"},
		"Basic":       {locked, "", "Basic secret", "x-api-key header is required"},
		"Any":         {open, "anything", "", ""},
		"NoneOpen":    {open, "", "", "x-api-key header is required"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRequest(t, deadline(t), http.MethodPost, tt.a.URL+"/v1/messages", plainBody)
			r.Header.Del("X-Api-Key")
			if tt.key != "" {
				r.Header.Set("X-Api-Key", tt.key)
			}
			if tt.bearer != "" {
				r.Header.Set("Authorization", tt.bearer)
			}
			if tt.message == "" {
				mustStatus(t, do(t, r), 200)
				return
			}
			mustError(t, do(t, r), 401, "authentication_error", tt.message)
		})
	}
}

func TestValidation(t *testing.T) {
	a := NewAnthropic(t)
	a.Queue(Reply(Text("queued")))
	for body, message := range map[string]string{
		``:     "not valid JSON",
		`{"a"`: "not valid JSON",
		`[]`:   "valid dictionary",
		`{}`:   "model: Field required",
		`{"model":3,"max_tokens":1,"messages":[1]}`:                 "model: Input should be a valid string",
		`{"model":"","max_tokens":1,"messages":[1]}`:                "model: String should",
		`{"model":"m","messages":[1]}`:                              "max_tokens: Field required",
		`{"model":"m","max_tokens":"1","messages":[1]}`:             "max_tokens: Input should be a valid integer",
		`{"model":"m","max_tokens":1.5,"messages":[1]}`:             "max_tokens: Input should be a valid integer",
		`{"model":"m","max_tokens":-1,"messages":[1]}`:              "max_tokens: Input should be greater",
		`{"model":"m","max_tokens":1}`:                              "messages: Field required",
		`{"model":"m","max_tokens":1,"messages":{}}`:                "messages: Input should be a valid list",
		`{"model":"m","max_tokens":1,"messages":[ ]}`:               "messages: at least one message is required",
		`{"model":"m","max_tokens":1,"messages":[1],"stream":"on"}`: "stream: Input should be a valid boolean",
	} {
		mustError(t, post(t, a, body), 400, "invalid_request_error", message)
	}
	r := newRequest(t, deadline(t), http.MethodPost, a.URL+"/v1/messages", plainBody)
	r.Header.Del("Anthropic-Version")
	mustError(t, do(t, r), 400, "invalid_request_error", "anthropic-version: header is required")
	r = newRequest(t, deadline(t), http.MethodPost, a.URL+"/v1/messages", plainBody)
	r.Header.Set("Content-Type", "text/plain")
	mustError(t, do(t, r), 400, "invalid_request_error", "content-type")
	mustError(t, do(t, newRequest(t, deadline(t), http.MethodGet, a.URL+"/v1/messages", "")), 405, "invalid_request_error", "Method Not Allowed")
	mustError(t, do(t, newRequest(t, deadline(t), http.MethodPost, a.URL+"/v1/complete", "{}")), 404, "not_found_error", "Not found")
	if a.Queued() != 1 {
		t.Error("a refused request took a behaviour from the queue")
	}
	lenient := NewAnthropic(t, WithoutValidation())
	mustStatus(t, post(t, lenient, `{}`), 200)
	mustError(t, post(t, lenient, `x`), 400, "invalid_request_error", "JSON")
}

func TestBodyLimit(t *testing.T) {
	a := NewAnthropic(t, WithoutRecording())
	const head, tail = `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"`, `"}]}`
	fits := head + strings.Repeat("x", 32<<20-len(head)-len(tail)) + tail
	mustStatus(t, post(t, a, fits), 200)
	mustError(t, post(t, a, fits+" "), 413, "request_too_large", "maximum")
}

// Nested and escaped text must not confuse the search for the fields.
func TestModelEchoedAsAsked(t *testing.T) {
	a := NewAnthropic(t)
	body := "{ \"system\" : \"\\\\\\\"model\\\":\\\\\", \"x\":{\"model\":[1,{\"stream\":false}]},\n\"messages\":[\"]\"],\"max_tokens\":0 ,\"n\":-1.5e3,\"model\" : \"cl\\u0061ude[1m]\",\"stream\"\t:true}"
	got := post(t, a, body)
	mustStatus(t, got, 200)
	if !strings.Contains(got.body, `"message":{"model":"cl\u0061ude[1m]",`) {
		t.Errorf("got %s", got.body)
	}
	if r := a.Last(); r.Model() != "claude[1m]" || !r.Stream() {
		t.Errorf("got model %q", r.Model())
	}
}

func TestScriptAndRecording(t *testing.T) {
	a := NewAnthropic(t)
	a.Queue(Overloaded(), Status(500, ""))
	a.Respond(func(r Request) Behaviour { return Reply(Text("for " + r.Model())) })
	mustStatus(t, post(t, a, plainBody), 529)
	mustStatus(t, post(t, a, plainBody), 500)
	if got := post(t, a, plainBody); !strings.Contains(got.body, "for claude-x") {
		t.Errorf("got %s", got.body)
	}
	a.Respond(nil)
	a.Default(Reply(Text("fallback")))
	if got := post(t, a, plainBody); !strings.Contains(got.body, "fallback") {
		t.Errorf("got %s", got.body)
	}
	if err := a.WaitDone(deadline(t), 4); err != nil {
		t.Fatal(err)
	}
	all := a.Requests()
	if len(all) != 4 || a.Count() != 4 || len(a.Messages()) != 4 {
		t.Fatalf("got %d requests", len(all))
	}
	r := all[0]
	if r.Method != "POST" || r.Path != "/v1/messages" || r.RawQuery != "beta=true" || string(r.Body) != plainBody ||
		r.Header.Get("Anthropic-Version") != "2023-06-01" || r.Credential() != "k" || r.RemoteAddr == "" || !r.Done || r.Aborted {
		t.Errorf("got %+v", r)
	}
	a.Reset()
	if len(a.Requests()) != 0 || a.Count() != 0 || a.Last().Method != "" {
		t.Error("Reset left requests behind")
	}
	if got := post(t, a, plainBody); !strings.Contains(got.body, "Hello there!") {
		t.Errorf("got %s", got.body)
	}
}

func TestManyAtOnce(t *testing.T) {
	for _, opts := range [][]Option{nil, {WithoutRecording(), WithoutValidation()}} {
		a := NewAnthropic(t, opts...)
		a.Default(Events(20))
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				body := strings.ReplaceAll(streamBody, "claude-x", fmt.Sprintf("model-%d-", i))
				if got := post(t, a, body); !strings.Contains(got.body, fmt.Sprintf(`"model-%d-"`, i)) {
					t.Errorf("got %v: %s", got.err, got.body)
				}
			})
		}
		wg.Wait()
		if a.Count() != 20 || len(a.Requests()) != 20*(1-len(opts)/2) {
			t.Errorf("got %d, %d recorded", a.Count(), len(a.Requests()))
		}
	}
}

func get(t *testing.T, a *Anthropic, method, path, body string) string {
	t.Helper()
	got := do(t, newRequest(t, deadline(t), method, a.URL+path, body))
	mustStatus(t, got, 200)
	return got.body
}

func TestCountTokensAndProbes(t *testing.T) {
	a := NewAnthropic(t)
	body := `{"model":"m","messages":[{"role":"user","content":"hi"}]}`
	if got := get(t, a, "POST", "/v1/messages/count_tokens?beta=true", body); got != fmt.Sprintf(`{"input_tokens":%d}`, len(body)/4) {
		t.Errorf("got %s", got)
	}
	r, err := http.NewRequestWithContext(deadline(t), http.MethodHead, a.URL+"/api/hello", nil)
	if err != nil {
		t.Fatal(err)
	}
	mustStatus(t, do(t, r), 200)
}

type page struct {
	Data []struct {
		ID, Type string
		Name     string `json:"display_name"`
	}
	HasMore bool   `json:"has_more"`
	FirstID string `json:"first_id"`
	LastID  string `json:"last_id"`
}

func TestModels(t *testing.T) {
	a := NewAnthropic(t, WithModels("claude-opus-5-5", "claude-b", "claude-c"))
	for query, want := range map[string]string{
		"":                               "claude-opus-5-5 claude-b claude-c false",
		"?limit=2":                       "claude-opus-5-5 claude-b true",
		"?limit=1&after_id=claude-b":     "claude-c false",
		"?limit=1&before_id=claude-c":    "claude-b true",
		"?after_id=claude-c":             "false",
		"?limit=1000&before_id=claude-b": "claude-opus-5-5 false",
	} {
		var p page
		decode(t, get(t, a, "GET", "/v1/models"+query, ""), &p)
		got := ""
		for _, m := range p.Data {
			got += m.ID + " "
		}
		if got += fmt.Sprint(p.HasMore); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
		if n := len(p.Data); n > 0 && (p.FirstID != p.Data[0].ID || p.LastID != p.Data[n-1].ID) {
			t.Errorf("%s: got first %s, last %s", query, p.FirstID, p.LastID)
		}
	}
	if got := get(t, a, "GET", "/v1/models/claude-opus-5-5", ""); !strings.Contains(got, `"display_name":"Claude Opus 5.5"`) || !strings.Contains(got, `"line":"opus"`) {
		t.Errorf("got %s", got)
	}
	mustError(t, do(t, newRequest(t, deadline(t), "GET", a.URL+"/v1/models/no%2Fne", "")), 404, "not_found_error", "model: no/ne")
	mustError(t, do(t, newRequest(t, deadline(t), "GET", a.URL+"/v1/models?limit=0", "")), 400, "invalid_request_error", "limit")
}

func TestBatches(t *testing.T) {
	a := NewAnthropic(t, WithBatchPolls(1))
	a.Default(Reply(Text("x")).Usage(Usage{Input: 4, Output: 5}))
	type batch struct {
		ID, Type   string
		Status     string         `json:"processing_status"`
		ResultsURL string         `json:"results_url"`
		Counts     map[string]int `json:"request_counts"`
	}
	do1 := func(method, path, body string) (b batch) {
		decode(t, get(t, a, method, "/v1/messages/batches"+path, body), &b)
		return b
	}
	create := `{"requests":[{"custom_id":"a","params":` + plainBody + `},{"custom_id":"b","params":` + plainBody + `}]}`
	b := do1("POST", "", create)
	if b.Type != "message_batch" || b.Status != "in_progress" || b.Counts["processing"] != 2 {
		t.Errorf("got %+v", b)
	}
	if got := do1("GET", "/"+b.ID, ""); got.Status != "in_progress" {
		t.Errorf("got %+v", got)
	}
	path := "/v1/messages/batches/" + b.ID
	mustStatus(t, do(t, newRequest(t, deadline(t), "GET", a.URL+path+"/results", "")), 404)
	mustStatus(t, do(t, newRequest(t, deadline(t), "DELETE", a.URL+path, "")), 400)
	b = do1("GET", "/"+b.ID, "")
	if b.Status != "ended" || b.ResultsURL != a.URL+path+"/results" || b.Counts["succeeded"] != 2 {
		t.Errorf("got %+v", b)
	}
	lines := strings.Split(strings.TrimSpace(get(t, a, "GET", path+"/results", "")), "\n")
	var line struct {
		ID     string `json:"custom_id"`
		Result struct {
			Type    string
			Message message
		}
	}
	decode(t, lines[1], &line)
	if len(lines) != 2 || line.ID != "b" || line.Result.Message.Model != "claude-x" ||
		line.Result.Message.Usage["output_tokens"] != 5.0 || line.Result.Message.Usage["service_tier"] != "batch" {
		t.Errorf("got %s", lines)
	}
	second := do1("POST", "", create)
	if got := do1("POST", "/"+second.ID+"/cancel", ""); got.Status != "canceling" {
		t.Errorf("got %+v", got)
	}
	if got := do1("GET", "/"+second.ID, ""); got.Status != "ended" || got.Counts["canceled"] != 2 {
		t.Errorf("got %+v", got)
	}
	if got := get(t, a, "GET", "/v1/messages/batches/"+second.ID+"/results", ""); !strings.Contains(got, `{"custom_id":"a","result":{"type":"canceled"}}`) {
		t.Errorf("got %s", got)
	}
	var p page
	decode(t, get(t, a, "GET", "/v1/messages/batches?limit=1", ""), &p)
	if p.FirstID != second.ID || !p.HasMore {
		t.Errorf("got %+v", p)
	}
	if got := do1("DELETE", "/"+b.ID, ""); got.Type != "message_batch_deleted" {
		t.Errorf("got %+v", got)
	}
	mustStatus(t, do(t, newRequest(t, deadline(t), "GET", a.URL+path, "")), 404)
	bad := strings.Replace(create, `"b"`, `"a"`, 1)
	mustError(t, do(t, newRequest(t, deadline(t), "POST", a.URL+"/v1/messages/batches", bad)), 400, "invalid_request_error", "requests.1.custom_id")
}

func TestFiles(t *testing.T) {
	a := NewAnthropic(t)
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	part, err := w.CreateFormFile("file", "a.txt")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(part, "content")
	w.Close()
	r := newRequest(t, deadline(t), "POST", a.URL+"/v1/files", form.String())
	r.Header.Set("Content-Type", w.FormDataContentType())
	got := do(t, r)
	mustStatus(t, got, 200)
	var f struct {
		ID, Type, Filename string
		Size               int `json:"size_bytes"`
	}
	decode(t, got.body, &f)
	if f.Type != "file" || f.Filename != "a.txt" || f.Size != 7 {
		t.Errorf("got %s", got.body)
	}
	var p page
	decode(t, get(t, a, "GET", "/v1/files", ""), &p)
	if p.FirstID != f.ID || p.HasMore || get(t, a, "GET", "/v1/files/"+f.ID, "") != got.body {
		t.Errorf("got %+v", p)
	}
	if c := get(t, a, "GET", "/v1/files/"+f.ID+"/content", ""); c != "content" {
		t.Errorf("got %q", c)
	}
	if d := get(t, a, "DELETE", "/v1/files/"+f.ID, ""); !strings.Contains(d, "file_deleted") {
		t.Errorf("got %s", d)
	}
	mustError(t, do(t, newRequest(t, deadline(t), "GET", a.URL+"/v1/files/"+f.ID, "")), 404, "not_found_error", "File not found")
	mustError(t, do(t, newRequest(t, deadline(t), "POST", a.URL+"/v1/files", "{}")), 400, "invalid_request_error", "multipart")
}

func BenchmarkStream(b *testing.B) {
	a := NewAnthropic(b, WithoutRecording(), WithoutValidation())
	a.Default(Events(100))
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var sink bytes.Buffer
		for pb.Next() {
			r, _ := http.NewRequest(http.MethodPost, a.URL+"/v1/messages", strings.NewReader(streamBody))
			r.Header.Set("X-Api-Key", "k")
			resp, err := client.Do(r)
			if err != nil {
				b.Error(err)
				return
			}
			sink.Reset()
			_, _ = sink.ReadFrom(resp.Body)
			resp.Body.Close()
		}
	})
}
