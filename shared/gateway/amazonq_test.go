package gateway_test

import (
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/store/memory"
	"sluice/shared/upstream/amazonq"
	"sluice/shared/upstream/upstreamtest"
)

const (
	poolModel = "claude-sonnet-4-5-20250929"

	poolPlain  = `{"model":"` + poolModel + `","max_tokens":1000,"messages":[{"role":"user","content":"hi"}]}`
	poolStream = `{"model":"` + poolModel + `","max_tokens":1000,"stream":true,"messages":[{"role":"user","content":"hi"}]}`
	poolTools  = `"tools":[{"name":"get_weather","description":"Weather of a city.","input_schema":{"type":"object","properties":{"city":{"type":"string"}}}},` +
		`{"name":"get_time","input_schema":{"type":"object"}}]`

	poolChat            = `{"model":"` + poolModel + `","messages":[{"role":"user","content":"hi"}]}`
	poolChatStream      = `{"model":"` + poolModel + `","stream":true,"messages":[{"role":"user","content":"hi"}]}`
	poolResponses       = `{"model":"` + poolModel + `","input":"hi"}`
	poolResponsesStream = `{"model":"` + poolModel + `","stream":true,"input":"hi"}`
)

// poolAsks are a streamed request in each dialect, and what its clean end has in it and its error.
var poolAsks = []struct{ name, path, body, plain, end, failed string }{
	{"messages", "/v1/messages", poolStream, poolPlain, "event: message_stop", "event: error"},
	{"chat", chatPath, poolChatStream, poolChat, "[DONE]", `data: {"error":`},
	{"responses", responsesPath, poolResponsesStream, poolResponses, "event: response.completed", "event: response.failed"},
}

// clock is one that tests move.
type clock struct{ at atomic.Int64 }

func newClock(t time.Time) *clock {
	c := &clock{}
	c.at.Store(t.UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

// noon is the 14th of a month, at noon.
func noon() time.Time { return time.Date(2026, 12, 14, 12, 0, 0, 0, time.UTC) }

// newPoolRig is a rig with a clock that stands still; a failing node is not asked twice within a request.
func newPoolRig(t testing.TB, env ...string) (*rig, *clock) {
	t.Helper()
	c := newClock(noon())
	return newRigOn(t, memory.New(), c.now, append([]string{"PROXY_RETRY_MAX", "1"}, env...)...), c
}

func poolKind(n *core.Node) { n.Kind = core.KindAmazonQ }

// login gives a node a credential.
func (r *rig) login(c amazonq.Credential) func(*core.Node) {
	return func(n *core.Node) {
		poolKind(n)
		n.Credential = r.app.Box.Seal(directory.CredentialOwner(n.ID), c.Secret())
	}
}

// fakePool adds a node of Amazon Q with an API key over a fake.
func (r *rig) fakePool(name string, edits ...func(*core.Node)) *upstreamtest.AmazonQ {
	r.t.Helper()
	up, _ := r.fakePoolID(name, edits...)
	return up
}

func (r *rig) fakePoolID(name string, edits ...func(*core.Node)) (*upstreamtest.AmazonQ, string) {
	r.t.Helper()
	up := upstreamtest.NewAmazonQ(r.t)
	id := r.node(name, up.URL, append([]func(*core.Node){r.login(amazonq.Credential{APIKey: "ksk_test"})}, edits...)...)
	return up, id
}

// message is a message as it came, streamed or whole.
type message struct {
	Model   string
	Content []struct {
		Type, Text, Thinking, ID, Name string
		Input                          json.RawMessage
	}
	StopReason   *string `json:"stop_reason"`
	StopSequence *string `json:"stop_sequence"`
	Usage        struct {
		Input         *int64 `json:"input_tokens"`
		Output        *int64 `json:"output_tokens"`
		CacheCreation *int64 `json:"cache_creation_input_tokens"`
		CacheRead     *int64 `json:"cache_read_input_tokens"`
		Created       *struct {
			M5 *int64 `json:"ephemeral_5m_input_tokens"`
			H1 *int64 `json:"ephemeral_1h_input_tokens"`
		} `json:"cache_creation"`
	}
}

func (m *message) stop() string {
	if m.StopReason == nil {
		return ""
	}
	return *m.StopReason
}

// said is the message in short: texts, and calls as name(input).
func (m *message) said() string {
	var out []string
	for _, b := range m.Content {
		switch b.Type {
		case "tool_use":
			out = append(out, b.Name+"("+string(b.Input)+")")
		case "thinking":
			out = append(out, "<"+b.Thinking+">")
		default:
			out = append(out, b.Text)
		}
	}
	return strings.Join(out, " | ")
}

// check holds what every message must be (D27).
func (m *message) check(t testing.TB) {
	t.Helper()
	if reasons := []string{"end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal"}; !slices.Contains(reasons, m.stop()) {
		t.Errorf("stop_reason %q", m.stop())
	}
	u := m.Usage
	if u.Input == nil || u.Output == nil || u.CacheCreation == nil || u.CacheRead == nil || u.Created == nil || u.Created.M5 == nil || u.Created.H1 == nil {
		t.Errorf("a field of the usage is missing: %+v", u)
	} else if *u.CacheCreation != *u.Created.M5+*u.Created.H1 {
		t.Errorf("cache_creation_input_tokens are %d, its parts %d and %d", *u.CacheCreation, *u.Created.M5, *u.Created.H1)
	}
	for _, b := range m.Content {
		if b.Type == "tool_use" && (b.ID == "" || b.Name == "" || !strings.HasPrefix(string(b.Input), "{") || !json.Valid(b.Input)) {
			t.Errorf("tool_use %+v", b)
		}
	}
}

// wholeMessage reads an answer that is not streamed.
func wholeMessage(t testing.TB, got reply) *message {
	t.Helper()
	var m message
	if got.status != 200 || got.err != nil || got.header.Get("Content-Type") != "application/json" {
		t.Fatalf("got %d %v %v: %s", got.status, got.err, got.header, got.body)
	}
	if err := json.Unmarshal([]byte(got.body), &m); err != nil {
		t.Fatal(err)
	}
	m.check(t)
	return &m
}

// streamedMessage reads a stream by the order that D9 and D12 demand, and puts the message together.
func streamedMessage(t testing.TB, got reply) *message {
	t.Helper()
	if got.status != 200 || got.err != nil || !strings.HasPrefix(got.header.Get("Content-Type"), "text/event-stream") || got.header.Get("Content-Encoding") != "" {
		t.Fatalf("got %d %v %v: %s", got.status, got.err, got.header, got.body)
	}
	var m message
	open, inputs, after := -1, "", ""
	for _, e := range parse(t, got.body) {
		var d struct {
			Type    string
			Index   int
			Message json.RawMessage
			Block   json.RawMessage `json:"content_block"`
			Delta   struct {
				Type, Text, Thinking string
				Partial              string  `json:"partial_json"`
				StopReason           *string `json:"stop_reason"`
				StopSequence         *string `json:"stop_sequence"`
			}
			Usage json.RawMessage
		}
		if err := json.Unmarshal([]byte(e.data), &d); err != nil || d.Type != e.name {
			t.Fatalf("event %s: %v %s", e.name, err, e.data)
		}
		bad := func(ok bool) {
			t.Helper()
			if !ok {
				t.Fatalf("%s comes after %s with block %d open:\n%s", e.name, after, open, got.body)
			}
		}
		switch e.name {
		case "ping":
			continue
		case "message_start":
			bad(after == "")
			if err := json.Unmarshal(d.Message, &m); err != nil {
				t.Fatal(err)
			}
			bad(m.StopReason == nil && m.Usage.Created != nil)
		case "content_block_start":
			bad(open < 0 && after != "" && after != "message_delta" && d.Index == len(m.Content))
			open, inputs = d.Index, ""
			m.Content = append(m.Content, struct {
				Type, Text, Thinking, ID, Name string
				Input                          json.RawMessage
			}{})
			if err := json.Unmarshal(d.Block, &m.Content[open]); err != nil {
				t.Fatal(err)
			}
			if b := m.Content[open]; b.Type == "tool_use" {
				bad(string(b.Input) == "{}")
			}
		case "content_block_delta":
			bad(open >= 0 && d.Index == open)
			m.Content[open].Text += d.Delta.Text
			m.Content[open].Thinking += d.Delta.Thinking
			inputs += d.Delta.Partial
		case "content_block_stop":
			bad(open >= 0 && d.Index == open)
			if b := &m.Content[open]; b.Type == "tool_use" && inputs != "" {
				b.Input = json.RawMessage(inputs)
			}
			open = -1
		case "message_delta":
			bad(open < 0 && after != "" && after != "message_delta")
			m.StopReason, m.StopSequence = d.Delta.StopReason, d.Delta.StopSequence
			if err := json.Unmarshal(d.Usage, &m.Usage); err != nil {
				t.Fatal(err)
			}
			// what is cumulative lacks the split: it is that of the whole
			m.Usage.Created.M5 = m.Usage.CacheCreation
		case "message_stop":
			bad(after == "message_delta" && e.data == `{"type":"message_stop"}`)
		default:
			t.Fatalf("unexpected event %s: %s", e.name, e.data)
		}
		after = e.name
	}
	if after != "message_stop" {
		t.Fatalf("the stream ends with %s", after)
	}
	m.check(t)
	return &m
}

// both asks streamed and whole, and returns the message that came in both ways.
func (r *rig) both(body string) *message {
	r.t.Helper()
	one := wholeMessage(r.t, r.post(body))
	two := streamedMessage(r.t, r.post(strings.Replace(body, "{", `{"stream":true,`, 1)))
	if one.said() != two.said() || one.stop() != two.stop() {
		r.t.Errorf("whole:    %s, %s\nstreamed: %s, %s", one.said(), one.stop(), two.said(), two.stop())
	}
	return one
}

// D27 with D9 to D12: over a node of Amazon Q, clients get Anthropic's events and usage, whatever the answer is made of.
func TestD27_AmazonQ(t *testing.T) {
	usage := upstreamtest.Usage{Input: 21, Output: 7, CacheRead: 300, CacheWrite5m: 40}
	for _, c := range []struct {
		why, extra string
		answer     upstreamtest.Behaviour
		said, stop string
	}{
		{"text", "", upstreamtest.Reply(upstreamtest.Text("Hel", "lo")), "Hello", "end_turn"},
		{"a call", poolTools, upstreamtest.Reply(upstreamtest.ToolUse("tooluse_1", "get_weather", `{"city":`, `"Paris"}`)), `get_weather({"city":"Paris"})`, "tool_use"},
		{"text, and a call without input", poolTools, upstreamtest.Reply(upstreamtest.Text("a"), upstreamtest.ToolUse("tooluse_1", "get_time")), "a | get_time({})", "tool_use"},
		{"thinking", "", upstreamtest.Reply(upstreamtest.Thinking("c2ln", "hm", "m"), upstreamtest.Text("yes")), "<hmm> | yes", "end_turn"},
		{"a stop sequence, which the service does not know", `"stop_sequences":["lo"]`, upstreamtest.Reply(upstreamtest.Text("Hel", "lo, you")), "Hel", "stop_sequence"},
	} {
		t.Run(c.why, func(t *testing.T) {
			r, _ := newPoolRig(t)
			up := r.fakePool("q")
			up.Default(c.answer.Usage(usage))
			body := poolPlain
			if c.extra != "" {
				body = strings.Replace(body, "{", "{"+c.extra+",", 1)
			}
			m := r.both(body)
			if m.said() != c.said || m.stop() != c.stop || m.Model != poolModel {
				t.Errorf("got %s, %s of %s; want %s, %s", m.said(), m.stop(), m.Model, c.said, c.stop)
			}
			if refused := up.Refused(); len(refused) > 0 {
				t.Errorf("the service would refuse: %v", refused)
			}
			if c.stop == "stop_sequence" { // the rest of the answer, with the usage, is not waited for
				return
			}
			u := m.Usage
			if *u.Input != 21 || *u.Output != 7 || *u.CacheRead != 300 || *u.CacheCreation != 40 || *u.Created.M5 != 40 || *u.Created.H1 != 0 {
				t.Errorf("usage %+v", u)
			}
			for _, rec := range r.records() {
				if want := (core.Tokens{Input: 21, Output: 7, CacheRead: 300, CacheWrite5m: 40}); rec.Tokens != want || rec.Estimated || !rec.Success() {
					t.Errorf("recorded %+v", rec)
				}
			}
		})
	}
}

// The service's own end of an answer tells no reason: an output as long as max_tokens is one that the gateway holds.
func TestD27_AmazonQMaxTokens(t *testing.T) {
	r, _ := newPoolRig(t)
	up := r.fakePool("q")
	up.Default(upstreamtest.EventsSized(50, 400))
	m := r.both(strings.Replace(poolPlain, "1000", "100", 1))
	if m.stop() != "max_tokens" || len(m.said()) > 4*400 {
		t.Errorf("stop_reason %s after %d bytes", m.stop(), len(m.said()))
	}
}

// Without the upstream's counts the usage is an estimate, and the record says so.
func TestD27_AmazonQUsageAbsent(t *testing.T) {
	for _, c := range []struct {
		why    string
		answer upstreamtest.Behaviour
	}{
		{"no counts at all", upstreamtest.Reply(upstreamtest.Text("Hello, how are ", "you today?")).NoUsage()},
		{"the share of the window, as API keys get it, does not replace our own count", upstreamtest.Reply(upstreamtest.Text("Hello, how are ", "you today?")).NoUsage().ContextUsage(2.5)},
	} {
		t.Run(c.why, func(t *testing.T) {
			r, _ := newPoolRig(t)
			r.fakePool("q").Default(c.answer)
			u := r.both(poolPlain).Usage
			if *u.Input <= 0 || *u.Input > 100 || *u.Output <= 0 {
				t.Errorf("usage %d in, %d out", *u.Input, *u.Output)
			}
			for _, rec := range r.records() {
				if !rec.Estimated || rec.Tokens.Input != *u.Input || rec.Tokens.Output != *u.Output || !rec.Success() {
					t.Errorf("recorded %+v", rec)
				}
			}
		})
	}
}

// D9 and D51: what has come is the client's at once, and a client that leaves ends the request to the node.
func TestD27_AmazonQEventsAreFlushed(t *testing.T) {
	r, _ := newPoolRig(t)
	up := r.fakePool("q")
	up.Queue(upstreamtest.Events(3).Silence(upstreamtest.AfterDeltas(2)))
	resp, rd := r.open(deadline(t), poolStream)
	readUntil(t, rd, `"tok1 "`) // though the node says nothing more
	_ = resp.Body.Close()
	if _, err := up.WaitAborted(deadline(t)); err != nil {
		t.Error("the node is still asked after the client left:", err)
	}
}
