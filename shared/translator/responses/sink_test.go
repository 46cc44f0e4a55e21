package responses_test

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/sse"
	"sluice/shared/translator"
)

// options are of a request that sets all that an answer repeats, with line ends where they may not get into an event.
func options(t testing.TB) translator.ReplyOptions {
	r, err := codec.Decode([]byte(`{"model":"alias","input":"x","temperature":0.5,"max_output_tokens":9,"metadata":{
		"k" : "v w"
	},"parallel_tool_calls":false,"tool_choice":"auto","tools":[
		{"type":"namespace","name":"mcp","tools":[{"type":"function","name":"go"}]},
		{"type":"custom","name":"apply_patch"},{"type":"local_shell"},{"type":"function","name":"f"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	return translator.ReplyOptions{ID: "req1", Model: "alias", Created: 1700000000, Request: r}
}

func usage(u *translator.Usage) {
	u.Tokens = core.Tokens{Input: 50, CacheRead: 30, CacheWrite5m: 15, CacheWrite1h: 5, Output: 9}
	u.Reasoning = 4
}

// answers are what a Builder is told, and the names of the golden files of what a client is sent.
var answers = []struct {
	name string
	tell func(b *translator.Builder)
}{
	{"text", func(b *translator.Builder) {
		b.Text([]byte(`"Hel"`), nil)
		b.Text([]byte(`"lo \ud83d\ude00"`), []byte("[{\"token\":\n\"lo\"}]"))
		b.Cite(&translator.Citation{URL: []byte(`"https://x"`), Title: []byte(`"T"`), Start: 0, End: 3})
		b.Cite(&translator.Citation{Title: []byte(`"f.pdf"`), Start: -1, End: -1})
		b.Close()
		b.Text([]byte(`"second part"`), nil)
		b.Stop(translator.StopEndTurn, nil)
	}},
	{"thinking", func(b *translator.Builder) {
		b.Thinking([]byte(`"I "`))
		b.Thinking([]byte(`"think"`))
		b.Signature([]byte(`"sig"`))
		b.Redacted([]byte(`"data"`))
		b.Redacted(translator.CarryReasoning("rs_9", []byte(`"ENC"`)))
		b.Thinking([]byte(`"unsigned"`))
		b.Text([]byte(`"so"`), nil)
		b.Stop(translator.StopEndTurn, nil)
	}},
	{"calls", func(b *translator.Builder) {
		b.Text([]byte(`"I call"`), nil)
		b.Tool(1, "c1", "mcp__go", false)
		b.Input(1, []byte(`"{\"a\":"`))
		b.Input(1, []byte(`"1}"`))
		b.Tool(2, "c2", "f", false)
		b.Close()
		b.Tool(3, "c3", "apply_patch", false)
		b.Input(3, []byte(`"{\"input\":\"*** Be"`))
		b.Input(3, []byte(`"gin\\n\"}"`))
		b.Tool(4, "c4", "local_shell", false)
		b.Input(4, []byte(`"{\"command\":[\"ls\",7],\"workdir\":\"/w\",\"timeout_ms\":5,\"env\":{\"A\":\"b\",\"C\":1}}"`))
		b.Tool(5, "c5", "local_shell", false)
		b.Input(5, []byte(`"{\"command\":\"ls | wc\"}"`))
		b.Stop(translator.StopToolUse, nil)
	}},
	{"refusal", func(b *translator.Builder) {
		b.Refuse([]byte(`"I will "`))
		b.Refuse([]byte(`"not"`))
		b.Stop(translator.StopRefusal, nil)
	}},
	{"limit", func(b *translator.Builder) {
		b.Text([]byte(`"cut o"`), nil)
		b.Stop(translator.StopMaxTokens, nil)
	}},
	{"filter", func(b *translator.Builder) { b.Stop(translator.StopRefusal, nil) }},
	{"nothing", func(b *translator.Builder) {
		b.Other("server_tool_use", []byte(`{}`))
		b.Stop(translator.StopEndTurn, nil)
	}},
}

// TestD38_Golden: the events of an answer, in their order, each complete.
func TestD38_Golden(t *testing.T) {
	for _, c := range answers {
		o := options(t)
		sink := codec.NewSink(o)
		var out []byte
		collector := translator.Collector{}
		b := translator.NewBuilder(func(e *translator.Event) {
			out = sink.Event(out, e)
			collector.Event(e)
		})
		b.Start("up")
		usage(b.Usage(true))
		c.tell(b)
		b.End()
		if err := b.Whole(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		golden(t, c.name+".sse", out)
		checkStream(t, out)
		reply := codec.AppendReply(nil, &collector.Reply, o)
		var indented bytes.Buffer
		if err := json.Indent(&indented, reply, "", " "); err != nil {
			t.Fatalf("%s: %v: %s", c.name, err, reply)
		}
		golden(t, c.name+".json", append(indented.Bytes(), '\n'))
		if last := lastResponse(t, out); last != flat(t, reply) {
			t.Errorf("%s: the whole answer differs from the end of the streamed one:\n%s\n%s", c.name, flat(t, reply), last)
		}
	}
}

func flat(t *testing.T, doc []byte) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(doc, &v); err != nil {
		t.Fatalf("%v: %s", err, doc)
	}
	out, _ := json.Marshal(v)
	return string(out)
}

// lastResponse is the response object of a stream's last event.
func lastResponse(t *testing.T, stream []byte) string {
	t.Helper()
	var last struct{ Response json.RawMessage }
	for len(stream) > 0 {
		ev, rest, ok := sse.Cut(stream)
		if !ok {
			t.Fatalf("no event: %q", stream)
		}
		last.Response = nil
		if err := json.Unmarshal(ev.Data, &last); err != nil {
			t.Fatal(err)
		}
		stream = rest
	}
	return flat(t, last.Response)
}

// TestD42_NamesGoBack: what the client is told of a call has the names that it gave its tools.
func TestD42_NamesGoBack(t *testing.T) {
	var out []byte
	sink := codec.NewSink(options(t))
	b := translator.NewBuilder(func(e *translator.Event) { out = sink.Event(out, e) })
	b.Start("up")
	b.Tool(1, "c", "mcp__go", false)
	b.Close()
	if n := strings.Count(string(out), `"name":"go","namespace":"mcp"`); n != 2 || strings.Contains(string(out), "mcp__go") {
		t.Errorf("the names are wrong: %s", out)
	}
}

func TestSink_Fail(t *testing.T) {
	for _, c := range []struct {
		why           string
		e             translator.Error
		code, message string
	}{
		{"D41: too long", translator.Error{Status: 400, Message: "prompt is too long: 9 > 8"}, "context_length_exceeded", "prompt is too long: 9 > 8"},
		{"D41: no quota", translator.Error{Status: 429, Code: "insufficient_quota", Message: "m"}, "insufficient_quota", "m"},
		{"D41: not in the plan", translator.Error{Status: 429, Code: "usage_not_included", Message: "m"}, "usage_not_included", "m"},
		{"D41: the time to wait is in the text", translator.Error{Status: 429, Message: "Slow.", RetryAfter: 1500 * time.Millisecond}, "rate_limit_exceeded", "Slow. Please try again in 1.5s."},
		{"D41: once", translator.Error{Status: 429, Message: "Try again in 2s.", RetryAfter: time.Second}, "rate_limit_exceeded", "Try again in 2s."},
		{"D41: unknown", translator.Error{Status: 429, Message: "Slow."}, "rate_limit_exceeded", "Slow."},
		{"the request's fault", translator.Error{Status: 400, Message: "m"}, "invalid_prompt", "m"},
		{"a code of no answer", translator.Error{Status: 401, Code: "invalid_api_key", Message: "m"}, "invalid_prompt", "m"},
		{"overloaded: clients try again", translator.Error{Status: 529, Message: "m"}, "server_error", "m"},
		{"ours", translator.Error{Status: 500, Message: "m"}, "server_error", "m"},
	} {
		sink := codec.NewSink(options(t))
		out := sink.Event(nil, &translator.Event{Type: translator.EvStart})
		out = sink.Fail(out, &c.e)
		checkStream(t, out)
		alone := codec.AppendErrorEvent(nil, &c.e, translator.ReplyOptions{ID: "req1"})
		for _, stream := range [][]byte{out, alone} {
			var r struct {
				ID, Status string
				Error      struct{ Code, Message string }
			}
			if err := json.Unmarshal([]byte(lastResponse(t, stream)), &r); err != nil {
				t.Fatal(err)
			}
			if r.ID != "resp_req1" || r.Status != "failed" || r.Error.Code != c.code || r.Error.Message != c.message {
				t.Errorf("%s: got %+v", c.why, r)
			}
		}
		if ev, _, _ := sse.Cut(alone); string(ev.Name) != "response.failed" {
			t.Errorf("%s: the event is %q", c.why, ev.Name)
		}
	}
}

// TestD39_KeepAlive: what keeps a silent stream alive are events, and the answer that follows does not begin twice.
func TestD39_KeepAlive(t *testing.T) {
	o := options(t)
	o.Request = nil
	out := codec.AppendKeepAlive(nil, true, o)
	if ev, rest, ok := sse.Cut(out); !ok || len(rest) > 0 || string(ev.Name) != "response.created" {
		t.Fatalf("the first is %q", out)
	}
	var r struct{ ID, Status string }
	if err := json.Unmarshal([]byte(lastResponse(t, out)), &r); err != nil || r.ID != "resp_req1" || r.Status != "in_progress" {
		t.Errorf("got %+v, %v", r, err)
	}
	next := codec.AppendKeepAlive(nil, false, o)
	if ev, _, ok := sse.Cut(next); !ok || string(ev.Name) != "keepalive" || string(ev.Data) != `{"type":"keepalive"}` {
		t.Errorf("the next is %q", next)
	}
	sink := codec.NewSink(options(t))
	answer := sink.Event(nil, &translator.Event{Type: translator.EvStart})
	checkStream(t, append(out, codec.Resume(answer)...))
	if got := codec.Resume(next); !bytes.Equal(got, next) {
		t.Errorf("Resume took away %q", next)
	}
	if got := codec.Resume([]byte("event: x")); string(got) != "event: x" {
		t.Errorf("Resume made %q", got)
	}
	upstream := "data: {\"type\":\"response.created\",\"response\":{}}\n\n" + string(next)
	if got := codec.Resume([]byte(upstream)); string(got) != string(next) {
		t.Errorf("Resume left %q", got)
	}
}

// TestThinkingComesBack: what a client is sent of thinking, it sends back as the same block.
func TestThinkingComesBack(t *testing.T) {
	for _, b := range []translator.Block{
		{Type: translator.BlockThinking, Text: []byte(`"deep"`), Signature: []byte(`"sig"`)},
		{Type: translator.BlockRedacted, Signature: []byte(`"data"`)},
	} {
		reply := codec.AppendReply(nil, &translator.Reply{Blocks: []translator.Block{b}, Stop: translator.StopEndTurn}, translator.ReplyOptions{ID: "x"})
		var r struct{ Output []json.RawMessage }
		if err := json.Unmarshal(reply, &r); err != nil {
			t.Fatal(err)
		}
		req, err := codec.Decode([]byte(body(`"input":[` + string(r.Output[0]) + `,{"role":"user","content":"x"}]`)))
		if err != nil {
			t.Fatal(err)
		}
		got := req.Messages[0].Content[0]
		if got.Type != b.Type || !bytes.Equal(got.Text, b.Text) || !bytes.Equal(got.Signature, b.Signature) {
			t.Errorf("got %+v, want %+v", got, b)
		}
	}
}

// A citation of no known place stands for the text so far, and finding that out must not cost a reading of all of it.
func TestSink_CitationsOfALongText(t *testing.T) {
	var out []byte
	took := func(text string) time.Duration {
		sink := codec.NewSink(options(t))
		b := translator.NewBuilder(func(e *translator.Event) { out = sink.Event(out, e) })
		b.Start("")
		b.Text(translator.Quote(text), nil)
		out = out[:0]
		start := time.Now()
		for range 4000 {
			b.Cite(&translator.Citation{Title: translator.Raw(`"f.pdf"`), Start: -1, End: -1})
			out = out[:0]
		}
		d := time.Since(start)
		b.Text(translator.Raw(`"\u00e9\n!"`), nil)
		b.Cite(&translator.Citation{Title: translator.Raw(`"f.pdf"`), Start: -1, End: -1})
		if want := `"index":` + strconv.Itoa(len(text)+3) + "}"; !bytes.Contains(out, []byte(want)) {
			t.Errorf("no %s in %.300s", want, out)
		}
		return d
	}
	few, many := min(took("ab"), took("ab")), min(took(strings.Repeat("ab", 100_000)), took(strings.Repeat("ab", 100_000)))
	if many > 20*few+20*time.Millisecond {
		t.Errorf("4,000 citations of 2 characters took %v, of 200,000 %v", few, many)
	}
}
