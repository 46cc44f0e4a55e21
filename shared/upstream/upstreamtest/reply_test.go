package upstreamtest_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	. "sluice/shared/upstream/upstreamtest"
)

func fullReply() Behaviour {
	return Reply(
		Thinking("sig==", "hm ", "<ok>"),
		RedactedThinking("opaque"),
		Text("a&", "b"),
		ServerToolUse("srvtoolu_1", "web_search", `{"query":`, `"x"}`),
		WebSearchResult("srvtoolu_1", "T", "https://example.com"),
		ToolUse("toolu_1", "Read", `{"path":`, `"/tmp"}`),
		ToolUse("toolu_2", "List"),
	).Usage(Usage{Input: 5, CacheRead: 7, CacheWrite5m: 11, CacheWrite1h: 13, Output: 17, Thinking: 3, WebSearches: 1})
}

type message struct {
	ID, Type, Role, Model string
	Content               []map[string]any
	StopReason            *string        `json:"stop_reason"`
	StopSequence          *string        `json:"stop_sequence"`
	StopDetails           map[string]any `json:"stop_details"`
	Usage                 map[string]any
}

// assemble builds the message of a stream as an SDK does.
func assemble(t *testing.T, body string) message {
	t.Helper()
	var m message
	inputs := map[int]string{}
	for _, e := range events(t, body) {
		var d struct {
			Type    string
			Message message
			Index   int
			Block   map[string]any `json:"content_block"`
			Delta   map[string]any
			Usage   map[string]any
		}
		decode(t, e.data, &d)
		if d.Type != e.name {
			t.Fatalf("event %s has type %s", e.name, d.Type)
		}
		switch e.name {
		case "message_start":
			m = d.Message
		case "content_block_start":
			if d.Index != len(m.Content) {
				t.Fatalf("block %d starts at %d", d.Index, len(m.Content))
			}
			m.Content = append(m.Content, d.Block)
		case "content_block_delta":
			block := m.Content[d.Index]
			switch d.Delta["type"] {
			case "text_delta":
				block["text"] = block["text"].(string) + d.Delta["text"].(string)
			case "thinking_delta":
				block["thinking"] = block["thinking"].(string) + d.Delta["thinking"].(string)
			case "signature_delta":
				block["signature"] = d.Delta["signature"]
			case "input_json_delta":
				inputs[d.Index] += d.Delta["partial_json"].(string)
			}
		case "content_block_stop":
			if in := inputs[d.Index]; in != "" {
				var v any
				decode(t, in, &v)
				m.Content[d.Index]["input"] = v
			}
		case "message_delta":
			reason := d.Delta["stop_reason"].(string)
			m.StopReason = &reason
			for k, v := range d.Usage {
				m.Usage[k] = v
			}
		}
	}
	return m
}

// A stream and a whole message must say the same.
func TestReplyStreamedAndWhole(t *testing.T) {
	a := NewAnthropic(t)
	a.Default(fullReply())
	streamed, whole := post(t, a, streamBody), post(t, a, plainBody)
	mustStatus(t, streamed, 200)
	mustStatus(t, whole, 200)
	if got := streamed.Header.Get("Content-Type"); got != "text/event-stream; charset=utf-8" {
		t.Errorf("got content type %q", got)
	}
	for _, name := range []string{"Anthropic-Ratelimit-Tokens-Limit", "Anthropic-Ratelimit-Requests-Reset", "Anthropic-Organization-Id"} {
		if streamed.Header.Get(name) == "" || whole.Header.Get(name) == "" {
			t.Errorf("no header %s", name)
		}
	}
	var want message
	decode(t, whole.body, &want)
	got := assemble(t, streamed.body)
	if got.ID == want.ID || !strings.HasPrefix(got.ID, "msg_01") || !strings.HasPrefix(want.ID, "msg_01") {
		t.Errorf("got ids %q and %q", got.ID, want.ID)
	}
	got.ID = want.ID
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	if string(g) != string(w) {
		t.Errorf("streamed %s\nwhole    %s", g, w)
	}
	if want.Model != "claude-x" || want.Type != "message" || want.Role != "assistant" || *want.StopReason != "tool_use" {
		t.Errorf("got %s", w)
	}
	const usage = `{"cache_creation":{"ephemeral_1h_input_tokens":13,"ephemeral_5m_input_tokens":11},"cache_creation_input_tokens":24,` +
		`"cache_read_input_tokens":7,"input_tokens":5,"output_tokens":17,"output_tokens_details":{"thinking_tokens":3},` +
		`"server_tool_use":{"web_fetch_requests":0,"web_search_requests":1},"service_tier":"standard"}`
	if u, _ := json.Marshal(want.Usage); string(u) != usage {
		t.Errorf("got usage %s\nwant      %s", u, usage)
	}
	if in, _ := json.Marshal(want.Content[6]["input"]); string(in) != "{}" {
		t.Errorf("got empty input %s", in)
	}
}

func TestExactStream(t *testing.T) {
	got := ask(t, Reply(Text("Hi")).Usage(Usage{Input: 3, Output: 2}), streamBody)
	mustStatus(t, got, 200)
	id := assemble(t, got.body).ID
	want := `event: message_start
data: {"type":"message_start","message":{"model":"claude-x","id":"` + id + `","type":"message","role":"assistant","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":3,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":1,"service_tier":"standard"}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: ping
data: {"type": "ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":3,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":2}}

event: message_stop
data: {"type":"message_stop"}

`
	if got.body != want {
		t.Errorf("got\n%s\nwant\n%s", got.body, want)
	}
}

func TestStopReasons(t *testing.T) {
	var m message
	decode(t, ask(t, Reply(Text("x")).StopSequence("END"), plainBody).body, &m)
	if *m.StopReason != "stop_sequence" || *m.StopSequence != "END" {
		t.Errorf("got %q %q", *m.StopReason, *m.StopSequence)
	}
	decode(t, ask(t, Reply().Refusal("cyber", "no"), plainBody).body, &m)
	if *m.StopReason != "refusal" || m.StopDetails["category"] != "cyber" {
		t.Errorf("got %q %v", *m.StopReason, m.StopDetails)
	}
	got := ask(t, Reply(Text("x")).Stop("max_tokens"), streamBody)
	if !strings.Contains(got.body, `"delta":{"stop_reason":"max_tokens","stop_sequence":null}`) {
		t.Errorf("got %s", got.body)
	}
}

func TestEvents(t *testing.T) {
	for name, b := range map[string]Behaviour{
		"Plain":  EventsSized(40, 100),
		"Paused": EventsSized(40, 100).Every(time.Microsecond),
		"CRLF":   EventsSized(40, 100).CRLF(),
		"Split":  EventsSized(40, 100).Split(7),
		"Batch":  EventsSized(40, 100).Batch(5),
		"OneGo":  EventsSized(40, 100).Batch(-1),
	} {
		t.Run(name, func(t *testing.T) {
			got := ask(t, b, streamBody)
			mustStatus(t, got, 200)
			if n := len(events(t, got.body)); n != 46 {
				t.Errorf("got %d events, want 46", n)
			}
			text := assemble(t, got.body).Content[0]["text"].(string)
			if len(text) != 4000 || !strings.HasPrefix(text[3900:], "tok39 xxx") {
				t.Errorf("got %d bytes of text", len(text))
			}
			if crlf := strings.Count(got.body, "\r\n") == strings.Count(got.body, "\n"); crlf != (name == "CRLF") {
				t.Errorf("CR LF everywhere: %v", crlf)
			}
		})
	}
}

func TestExtras(t *testing.T) {
	b := Events(4).NoPing().Ping(2).
		Inject(AfterStart, UnknownEvent()).
		Inject(AfterDeltas(1), UnknownDelta(0)).
		Inject(AfterDeltas(99), PingEvent).
		Inject(AfterStop, ErrorEvent("api_error", "late")).
		Header("X-Extra", "1").Header("Cache-Control", "")
	got := ask(t, b, streamBody)
	mustStatus(t, got, 200)
	const want = "message_start future_thing start delta delta delta ping delta delta ping stop ping message_delta message_stop error"
	if n := names(events(t, got.body)); n != want {
		t.Errorf("got  %s\nwant %s", n, want)
	}
	if got.Header.Get("X-Extra") != "1" || got.Header.Get("Cache-Control") != "" {
		t.Errorf("got headers %v", got.Header)
	}
	whole := ask(t, b, plainBody)
	mustStatus(t, whole, 200)
	if !json.Valid([]byte(whole.body)) {
		t.Errorf("injections spoil the JSON: %s", whole.body)
	}
}

func TestHugeEvent(t *testing.T) {
	got := ask(t, HugeEvent(3), streamBody)
	mustStatus(t, got, 200)
	if n := len(assemble(t, got.body).Content[0]["text"].(string)); n != 3<<20 {
		t.Errorf("got %d bytes", n)
	}
}

func TestBehaviourIsImmutable(t *testing.T) {
	base := Events(1).Inject(AfterStart, PingEvent)
	one, two := base.Inject(AfterStart, UnknownEvent()), base.Cut(AfterStart, EndClean)
	if n := names(events(t, ask(t, one, streamBody).body)); !strings.HasPrefix(n, "message_start ping future_thing start") {
		t.Errorf("got %s", n)
	}
	if n := names(events(t, ask(t, two, streamBody).body)); n != "message_start ping" {
		t.Errorf("got %s", n)
	}
	if n := names(events(t, ask(t, base, streamBody).body)); n != "message_start ping start ping delta stop message_delta message_stop" {
		t.Errorf("got %s", n)
	}
	if n := len(events(t, ask(t, Behaviour{}, streamBody).body)); n != 9 {
		t.Errorf("the zero value has %d events", n)
	}
}

func TestToolThenText(t *testing.T) {
	a := NewAnthropic(t)
	a.Default(ToolThenText("Bash", `{"command":"ls"}`, "done"))
	const head = `{"model":"m","max_tokens":9,"stream":true,`
	const tools = `"tools":[{"name":"Bash","input_schema":{}}],`
	const result = `{"role":"user","content":[{"type":"tool_result","tool_use_id":"x"},{"type":"text","text":"go on"}]}`
	for name, tt := range map[string]struct {
		body string
		call bool
	}{
		"SideRequest": {head + `"messages":[{"role":"user","content":"hi"}]}`, false},
		"First":       {head + tools + `"messages":[{"role":"user","content":"hi"}]}`, true},
		"Result":      {head + tools + `"messages":[` + result + `]}`, false},
		"SystemLast":  {head + tools + `"messages":[` + result + `,{"role":"system","content":"note"}]}`, false},
		"NextTurn":    {head + tools + `"messages":[` + result + `,{"role":"user","content":[{"type":"text","text":"again"}]}]}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			m := assemble(t, post(t, a, tt.body).body)
			block := m.Content[0]
			if !tt.call {
				if block["text"] != "done" || *m.StopReason != "end_turn" {
					t.Errorf("got %v", block)
				}
				return
			}
			input, _ := json.Marshal(block["input"])
			if block["name"] != "Bash" || string(input) != `{"command":"ls"}` || *m.StopReason != "tool_use" {
				t.Errorf("got %v", block)
			}
		})
	}
}
