package gateway_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/eventstream"
	"sluice/shared/store/memory"
	"sluice/shared/upstream"
	"sluice/shared/upstream/upstreamtest"
)

// The scenes go to AWS's own host names, so that default addresses and the scopes of signatures are those of production. The
// fake verifies each signature, and refuses what the service does.

const (
	bedrockKeys  = `{"access_key_id":"AKIAIOSFODNN7EXAMPLE","secret_access_key":"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}`
	bedrockModel = "claude-opus-5-5"
	bedrockRest  = `"max_tokens":100,"messages":[{"role":"user","content":"hi"}]`
	invokeHead   = `{"anthropic_version":"bedrock-2023-05-31",`
)

// bedrockAsk is a Messages request; rest is all of it but model and stream.
func bedrockAsk(model, rest string, stream bool) string {
	tail := "}"
	if stream {
		tail = `,"stream":true}`
	}
	return `{"model":"` + model + `",` + rest + tail
}

// awsWire is the way out: AWS's names lead to the fake, all others to where they say. It keeps what the fake sent.
type awsWire struct {
	fake, other http.RoundTripper

	mu   sync.Mutex
	sent []*bytes.Buffer // of answers to requests for a model, in order
}

func (w *awsWire) RoundTrip(r *http.Request) (*http.Response, error) {
	if h := r.URL.Hostname(); !strings.HasSuffix(h, ".amazonaws.com") && !strings.HasSuffix(h, ".api.aws") {
		return w.other.RoundTrip(r)
	}
	resp, err := w.fake.RoundTrip(r)
	if err == nil && r.Method == http.MethodPost {
		b := &bytes.Buffer{}
		w.mu.Lock()
		w.sent = append(w.sent, b)
		w.mu.Unlock()
		resp.Body = &teeBody{io.TeeReader(resp.Body, b), resp.Body}
	}
	return resp, err
}

// last is what the fake sent last.
func (w *awsWire) last() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent[len(w.sent)-1].String()
}

type teeBody struct {
	io.Reader
	io.Closer
}

// bedrockRig is a rig whose way out leads to a fake Bedrock.
type bedrockRig struct {
	*rig
	up   *upstreamtest.Bedrock
	wire *awsWire
}

func newBedrockRig(t testing.TB, now func() time.Time, env ...string) *bedrockRig {
	t.Helper()
	up := upstreamtest.NewBedrock(t)
	out := &http.Transport{DisableCompression: true}
	t.Cleanup(out.CloseIdleConnections)
	w := &awsWire{fake: up.Transport(), other: out}
	return &bedrockRig{newRigVia(t, memory.New(), now, &upstream.Transports{Guarded: w, Operator: w}, env...), up, w}
}

// credential seals one for a node.
func (r *rig) credential(secret string) func(*core.Node) {
	return func(n *core.Node) {
		n.Credential = r.app.Box.Seal(directory.CredentialOwner(n.ID), core.NewSecret(secret))
	}
}

// bedrock adds a node with keys that are good.
func (r *bedrockRig) bedrock(name, api string, edits ...func(*core.Node)) string {
	r.t.Helper()
	return r.node(name, "", append([]func(*core.Node){func(n *core.Node) {
		n.Kind, n.Region, n.API = core.KindBedrock, "us-east-1", api
	}, r.credential(bedrockKeys)}, edits...)...)
}

// runtimeNative makes a node speak the Messages API of bedrock-runtime.
func runtimeNative(n *core.Node) {
	n.BaseURL = "https://bedrock-runtime.us-east-1.amazonaws.com/anthropic"
}

// sawLast is the last call that the fake got.
func (r *bedrockRig) sawLast() upstreamtest.BedrockCall {
	r.t.Helper()
	calls := r.up.Calls()
	if len(calls) == 0 {
		r.t.Fatal("the fake got no call")
	}
	return calls[len(calls)-1]
}

// unframed is what is in the frames of InvokeModelWithResponseStream, as server-sent events.
func unframed(t testing.TB, frames string) string {
	t.Helper()
	var out strings.Builder
	for rest := []byte(frames); len(rest) > 0; {
		m, more, ok, err := eventstream.Cut(rest)
		if err != nil || !ok || m.Name != "chunk" {
			t.Fatalf("frame %q: %v", m.Name, err)
		}
		rest = more
		var chunk struct {
			Bytes []byte `json:"bytes"`
		}
		var event struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal(m.Payload, &chunk); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(chunk.Bytes, &event); err != nil {
			t.Fatal(err)
		}
		data, _, cut := strings.Cut(string(chunk.Bytes), `,"amazon-bedrock-invocationMetrics"`)
		if cut {
			data += "}"
		}
		out.WriteString(upstreamtest.Event(event.Type, data))
	}
	return out.String()
}

// bedrockRoute is a way by which Anthropic's JSON goes to Bedrock.
type bedrockRoute struct {
	name, api string
	edit      func(*core.Node)
	model     string // as the fake must see it
	service   string // of the host
	signed    string // of the signature
}

var bedrockRoutes = []bedrockRoute{
	{"mantle", "messages", func(*core.Node) {}, "anthropic.claude-opus-5-5", "bedrock-mantle", "bedrock-mantle"},
	{"runtime-native", "", runtimeNative, "us.anthropic.claude-opus-5-5", "bedrock-runtime", "bedrock"},
	{"InvokeModel", "invoke", func(*core.Node) {}, "us.anthropic.claude-opus-5-5", "bedrock-runtime", "bedrock"},
}

func (br *bedrockRoute) invoke() bool { return br.api == "invoke" }

// sends is the body that the fake must get of a request with that rest, byte for byte.
func (br *bedrockRoute) sends(rest string, stream bool) string {
	if br.invoke() {
		return invokeHead + rest + "}"
	}
	return bedrockAsk(br.model, rest, stream)
}

// The parts of Claude Code's requests.
const (
	weatherTool = `{"name":"get_weather","description":"Weather of a city.","input_schema":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}`
	timeTool    = `{"name":"get_time","input_schema":{"type":"object"}}`
	pixel       = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

// bedrockRow is a row of LiteLLM's matrix of what Claude Code needs (docs.litellm.ai, Claude Code compatibility).
type bedrockRow struct {
	name  string
	model string // of the client; empty: bedrockModel
	rest  string
	betas string // of the client's header
	reply upstreamtest.Behaviour
	has   []string // in the client's stream
}

func bedrockRows() []bedrockRow {
	text := upstreamtest.Reply(upstreamtest.Text("Hel", "lo")).Usage(upstreamtest.Usage{Input: 12, CacheRead: 3, CacheWrite5m: 4, CacheWrite1h: 5, Output: 6})
	ask := func(content string) string {
		return `"max_tokens":100,"messages":[{"role":"user","content":[` + content + `]}]`
	}
	cached := func(mark string) string {
		return `"max_tokens":100,"system":[{"type":"text","text":"Long rules.","cache_control":` + mark + `}],"tools":[` + strings.TrimSuffix(weatherTool, "}") + `,"cache_control":` + mark + `}],` +
			`"messages":[{"role":"user","content":[{"type":"text","text":"hi","cache_control":` + mark + `}]}]`
	}
	const used = `{"type":"tool_use","id":"toolu_1","name":"get_weather","input":{"city":"Ulm"}}`
	const result = `{"type":"tool_result","tool_use_id":"toolu_1","content":"sunny"}`
	return []bedrockRow{
		{name: "basic messages", rest: bedrockRest, reply: text, has: []string{"Hel", "lo"}},
		{name: "tools", rest: bedrockRest + `,"tools":[` + weatherTool + `,` + timeTool + `],"tool_choice":{"type":"auto"}`,
			reply: upstreamtest.Reply(upstreamtest.ToolUse("toolu_1", "get_weather", `{"ci`, `ty":"Ulm"}`)), has: []string{"toolu_1", "tool_use"}},
		{name: "parallel tools", rest: `"max_tokens":100,"tools":[` + weatherTool + `,` + timeTool + `],"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[` + used +
			`,{"type":"tool_use","id":"toolu_2","name":"get_time","input":{}}]},{"role":"user","content":[` + result + `,{"type":"tool_result","tool_use_id":"toolu_2","content":[{"type":"text","text":"noon"}]}]}]`,
			reply: upstreamtest.Reply(upstreamtest.Text("Now "), upstreamtest.ToolUse("toolu_3", "get_weather", `{}`), upstreamtest.ToolUse("toolu_4", "get_time", `{}`)), has: []string{"toolu_3", "toolu_4"}},
		{name: "images", rest: ask(`{"type":"image","source":{"type":"base64","media_type":"image/png","data":"` + pixel + `"}},{"type":"text","text":"what?"}`), reply: text},
		{name: "PDF", rest: ask(`{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBERi0xLjQK"},"title":"a"},{"type":"text","text":"what?"}`), reply: text},
		{name: "cache 5m", rest: cached(`{"type":"ephemeral","ttl":"5m"}`), reply: text, has: []string{`"ephemeral_5m_input_tokens":4`}},
		{name: "cache 1h", rest: cached(`{"type":"ephemeral","ttl":"1h"}`), reply: text, has: []string{`"ephemeral_1h_input_tokens":5`}},
		{name: "thinking", rest: `"max_tokens":4000,"thinking":{"type":"enabled","budget_tokens":2000},"messages":[{"role":"user","content":"hi"}]`,
			reply: upstreamtest.Reply(upstreamtest.Thinking("c2ln", "hm", "m"), upstreamtest.Text("ok")), has: []string{"thinking_delta", "signature_delta", "c2ln"}},
		{name: "thinking with tools", betas: "interleaved-thinking-2025-05-14", rest: `"max_tokens":4000,"thinking":{"type":"enabled","budget_tokens":2000},"tools":[` + weatherTool +
			`],"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"c2ln"},` + used + `]},{"role":"user","content":[` + result + `]}]`,
			reply: upstreamtest.Reply(upstreamtest.Thinking("c2lo", "hm"), upstreamtest.ToolUse("toolu_9", "get_weather", `{}`)), has: []string{"toolu_9", "c2lo"}},
		{name: "long context", model: bedrockModel + "[1m]", betas: "context-1m-2025-08-07", rest: ask(`{"type":"text","text":"` + strings.Repeat("prose ", 300_000) + `"}`), reply: text},
	}
}

// TestBedrockMatrix_ByteTruth is the matrix on each route, streamed and whole: the fake gets the client's bytes but for the
// names that are the node's own (and the envelope), and the client gets the fake's (or those in its frames).
func TestBedrockMatrix_ByteTruth(t *testing.T) {
	for i := range bedrockRoutes {
		br := &bedrockRoutes[i]
		r := newBedrockRig(t, nil)
		r.bedrock("b", br.api, br.edit)
		for _, row := range bedrockRows() {
			t.Run(br.name+"/"+row.name, func(t *testing.T) {
				for _, stream := range []bool{true, false} {
					r.checkRow(t, br, &row, stream)
				}
			})
		}
		if refused := r.up.Refused(); len(refused) > 0 {
			t.Errorf("%s: the fake refused: %q", br.name, refused)
		}
	}
}

func (r *bedrockRig) checkRow(t *testing.T, br *bedrockRoute, row *bedrockRow, stream bool) {
	r.up.Default(row.reply)
	model := row.model
	if model == "" {
		model = bedrockModel
	}
	got := r.post(bedrockAsk(model, row.rest, stream), "Anthropic-Version", "2023-06-01", "Anthropic-Beta", row.betas)
	if got.status != 200 || got.err != nil {
		t.Fatalf("status %d, %v: %s\nrefused: %q", got.status, got.err, tail(got.body), r.up.Refused())
	}
	call := r.sawLast()
	want := br.sends(row.rest, stream)
	if br.invoke() && row.betas != "" {
		want = invokeHead + `"anthropic_beta":["` + row.betas + `"],` + row.rest + "}"
	}
	if string(call.Body) != want {
		t.Errorf("the fake got %s\nwant %s", tail(string(call.Body)), tail(want))
	}
	if head := call.Header.Get("Anthropic-Beta"); !br.invoke() && head != row.betas || br.invoke() && head != "" {
		t.Errorf("the fake got the flags %q", head)
	}
	if call.Service != br.service || call.SignedService != br.signed || call.SignedRegion != "us-east-1" || call.ModelID != br.model {
		t.Errorf("the call went to %s as %s for %s in %s", call.Service, call.SignedService, call.ModelID, call.SignedRegion)
	}
	sent := r.wire.last()
	if stream && br.invoke() {
		sent = unframed(t, sent)
	}
	sent = strings.Replace(sent, `"model":"`+bedrockModel+`"`, `"model":"`+model+`"`, 1)
	if got.body != sent {
		t.Errorf("the client got %s\nthe fake sent %s", tail(got.body), tail(sent))
	}
	for _, has := range row.has {
		if stream && !strings.Contains(got.body, has) {
			t.Errorf("no %s in %s", has, got.body)
		}
	}
	if stream {
		if es := parse(t, got.body); !strings.HasSuffix(names(es), "delta stop") {
			t.Errorf("events %s", names(es))
		}
		if ct := got.header.Get("Content-Type"); !strings.HasPrefix(ct, "text/event-stream") {
			t.Errorf("content type %q", ct)
		}
	}
	if d := got.header.Get("X-Sluice-Dropped"); d != "" {
		t.Errorf("dropped %q of what the node takes", d)
	}
	for name := range got.header {
		if strings.HasPrefix(name, "X-Amz") {
			t.Errorf("the client got %s", name)
		}
	}
	if got.header.Get("X-Upstream-Request-Id") == "" {
		t.Error("the upstream's id of the request is not told")
	}
}

// TestBedrockMatrix_WebSearch: what Bedrock has not is refused in words, and a tool among others is left out by name.
func TestBedrockMatrix_WebSearch(t *testing.T) {
	const search = `{"type":"web_search_20250305","name":"web_search"}`
	for i := range bedrockRoutes {
		br := &bedrockRoutes[i]
		t.Run(br.name, func(t *testing.T) {
			r := newBedrockRig(t, nil)
			r.bedrock("b", br.api, br.edit)
			got := r.post(bedrockAsk(bedrockModel, bedrockRest+`,"tools":[`+search+`]`, true))
			wantError(t, got, 400, "invalid_request_error", "web search is not available on Amazon Bedrock")
			if len(r.up.Calls()) != 0 {
				t.Error("the node was asked all the same")
			}
			got = r.post(bedrockAsk(bedrockModel, bedrockRest+`,"tools":[`+search+`,`+timeTool+`]`, true))
			if got.status != 200 || got.header.Get("X-Sluice-Dropped") != "tool:web_search_20250305" {
				t.Fatalf("status %d, dropped %q: %s", got.status, got.header.Get("X-Sluice-Dropped"), tail(got.body))
			}
			if body, want := string(r.sawLast().Body), br.sends(bedrockRest+`,"tools":[`+timeTool+`]`, true); body != want {
				t.Errorf("the fake got %s\nwant %s", body, want)
			}
		})
	}
}

// TestBedrockMatrix_CountTokens: the Messages API counts itself, InvokeModel's nodes ask CountTokens, and where the service does
// not know the model, or the node speaks Converse, the count is our own guess and says so.
func TestBedrockMatrix_CountTokens(t *testing.T) {
	const rest = `"system":"Rules.","messages":[{"role":"user","content":"How many are these?"}]`
	const counts = "claude-sonnet-4-5-20250929"
	for _, c := range []struct {
		name, api, model string
		edit             func(*core.Node)
		operation        string
		guess            bool
	}{
		{"mantle", "", bedrockModel, func(*core.Node) {}, "CountMessageTokens", false},
		{"runtime-native", "", bedrockModel, runtimeNative, "CountMessageTokens", false},
		{"InvokeModel", "invoke", counts, func(*core.Node) {}, "CountTokens", false},
		{"InvokeModel, a model that CountTokens does not know", "invoke", bedrockModel, func(*core.Node) {}, "CountTokens", true},
		{"Converse", "converse", bedrockModel, func(*core.Node) {}, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newBedrockRig(t, nil)
			r.bedrock("b", c.api, c.edit)
			got := r.do("POST", "/v1/messages/count_tokens?beta=true", bedrockAsk(c.model, rest, false), "Anthropic-Version", "2023-06-01", "Anthropic-Beta", "token-counting-2024-11-01")
			var n struct {
				Input int64 `json:"input_tokens"`
			}
			if err := json.Unmarshal([]byte(got.body), &n); err != nil || got.status != 200 || n.Input <= 0 {
				t.Fatalf("status %d: %s\nrefused: %q", got.status, got.body, r.up.Refused())
			}
			if guess := got.header.Get("X-Sluice-Estimate") != ""; guess != c.guess {
				t.Errorf("a guess: %v, want %v", guess, c.guess)
			}
			if calls := r.up.Calls(); c.operation == "" && len(calls) > 0 || c.operation != "" && r.sawLast().Operation != c.operation {
				t.Errorf("calls %+v, want %q", calls, c.operation)
			}
			if !c.guess && c.operation == "CountTokens" {
				var body struct {
					Input struct {
						InvokeModel struct{ Body []byte }
					}
				}
				if err := json.Unmarshal(r.sawLast().Body, &body); err != nil {
					t.Fatal(err)
				}
				want := invokeHead + `"anthropic_beta":["token-counting-2024-11-01"],` + rest + `,"max_tokens":1}`
				if got := string(body.Input.InvokeModel.Body); got != want {
					t.Errorf("counted %s, want %s", got, want)
				}
			}
			if used := r.record().Tokens; used != (core.Tokens{}) {
				t.Errorf("a count used %+v", used)
			}
		})
	}
}

// TestBedrockModels: a node lists what its account is offered.
func TestBedrockModels(t *testing.T) {
	for _, c := range []struct{ api, has, not string }{
		{"", "anthropic.claude-opus-5-5", "amazon.nova-pro-v1:0"},
		{"invoke", "us.anthropic.claude-opus-5-5", ""},
		{"converse", "amazon.nova-pro-v1:0", ""},
	} {
		r := newBedrockRig(t, nil)
		r.bedrock("b", c.api)
		for _, path := range []string{"/v1/models", "/openai/v1/models"} {
			got := r.do("GET", path, "", "Anthropic-Version", "")
			if got.status != 200 || !strings.Contains(got.body, strconv.Quote(c.has)) || c.not != "" && strings.Contains(got.body, strconv.Quote(c.not)) {
				t.Errorf("api %q, %s: status %d: %s", c.api, path, got.status, got.body)
			}
		}
	}
}
