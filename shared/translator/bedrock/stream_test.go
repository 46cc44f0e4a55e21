package bedrock_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/eventstream"
	"sluice/shared/translator"
	"sluice/shared/translator/anthropic"
	"sluice/shared/translator/openaichat"
)

// listener collects what a source says, and checks the grammar of events.
type listener struct {
	c     translator.Collector
	b     *translator.Builder
	state translator.EventType
	began bool
	bad   string
}

func newListener() *listener {
	l := &listener{state: translator.EvBlockStop}
	l.b = translator.NewBuilder(l.event)
	return l
}

func (l *listener) event(e *translator.Event) {
	l.c.Event(e)
	inBlock := l.state != translator.EvBlockStop
	ok := l.began
	switch e.Type {
	case translator.EvStart:
		ok, l.began = !l.began, true
		e = &translator.Event{Type: translator.EvBlockStop}
	case translator.EvBlockStart, translator.EvFinal:
		ok = ok && !inBlock
	case translator.EvStop:
		ok = l.state == translator.EvFinal
	default:
		ok = ok && inBlock
	}
	if !ok || e.Data != nil && !json.Valid(e.Data) || e.Citation != nil && e.Citation.Raw != nil && !json.Valid(e.Citation.Raw) {
		l.bad = fmt.Sprintf("event %d after %d: %s", e.Type, l.state, e.Data)
	}
	l.state = e.Type
}

// feed gives a stream to a source and tells it the end.
func (l *listener) feed(stream []byte) error {
	s := codec.NewSource(l.b)
	for len(stream) > 0 && !l.b.Status().Ended {
		ev, rest, ok, err := codec.Cut(stream)
		if err != nil {
			return err
		}
		if !ok {
			return errors.New("no whole frames")
		}
		if err := s.Event(ev); err != nil {
			return err
		}
		stream = rest
	}
	return s.(translator.Ender).End()
}

func describe(r *translator.Reply) string {
	var out strings.Builder
	for i := range r.Blocks {
		switch b := &r.Blocks[i]; b.Type {
		case translator.BlockText:
			fmt.Fprintf(&out, "text %s", b.Text)
			for _, c := range b.Citations {
				fmt.Fprintf(&out, " cites %s %s %s", c.Raw, c.URL, c.Text)
			}
			out.WriteString("; ")
		case translator.BlockThinking:
			fmt.Fprintf(&out, "thinking %s %s; ", b.Text, b.Signature)
		case translator.BlockRedacted:
			fmt.Fprintf(&out, "redacted %s; ", b.Signature)
		case translator.BlockToolUse:
			fmt.Fprintf(&out, "%s=%s(%s); ", b.ID, b.Name, b.Input)
		}
	}
	return out.String() + string(r.Stop) + string(r.Sequence)
}

func at(i int, delta string) string {
	return fmt.Sprintf(`contentBlockDelta {"contentBlockIndex":%d,"delta":%s,"p":"abcd"}`, i, delta)
}

func say(i int, s string) string { return at(i, `{"text":"`+s+`"}`) }

func think(i int, member string) string { return at(i, `{"reasoningContent":{`+member+`}}`) }

func input(i int, s string) string { return at(i, `{"toolUse":{"input":`+s+`}}`) }

func begin(i int, id string) string {
	return fmt.Sprintf(`contentBlockStart {"contentBlockIndex":%d,"start":{"toolUse":{"toolUseId":"%s","name":"f_%s"}}}`, i, id, id)
}

func end(i int) string { return fmt.Sprintf(`contentBlockStop {"contentBlockIndex":%d}`, i) }

func stop(reason string) string { return `messageStop {"stopReason":"` + reason + `"}` }

const (
	start  = `messageStart {"role":"assistant","p":"abc"}`
	counts = `metadata {"metrics":{"latencyMs":1},"usage":{"inputTokens":10,"outputTokens":7,"totalTokens":47,"cacheReadInputTokens":20,"cacheWriteInputTokens":10,"cacheDetails":[{"ttl":"1h","inputTokens":4},{"ttl":"5m","inputTokens":6}]},"serviceTier":{"type":"priority"}}`
)

var streams = []struct {
	why    string
	events []string
	want   string
}{
	{"text, whose blocks have no beginning", []string{start, say(0, "Hel"), say(0, "lo"), end(0), stop("end_turn"), counts}, `text "Hello"; end_turn`},
	{"two blocks of text", []string{start, say(0, "a"), end(0), say(1, "b"), end(1), stop("end_turn"), counts}, `text "a"; text "b"; end_turn`},
	{"a block that is never closed", []string{start, say(0, "a"), say(1, "b"), stop("end_turn"), counts}, `text "a"; text "b"; end_turn`},
	{"thinking, its signature in pieces, and a call", []string{start, think(0, `"text":"h"`), think(0, `"text":"m"`), think(0, `"signature":"c2"`), think(0, `"signature":"ln"`), end(0),
		say(1, "I look."), end(1), begin(2, "a"), input(2, `""`), input(2, `"{\"x\""`), input(2, `":1}"`), end(2), stop("tool_use"), counts},
		`thinking "hm" "c2ln"; text "I look."; a=f_a({"x":1}); tool_use`},
	{"thinking without a signature, as of DeepSeek", []string{start, think(0, `"text":"hm"`), end(0), say(1, "x"), end(1), stop("end_turn"), counts}, `thinking "hm" ; text "x"; end_turn`},
	{"a signature of thinking that is not shown", []string{start, think(0, `"text":""`), think(0, `"signature":"s"`), end(0), say(1, "x"), end(1), stop("end_turn"), counts}, `thinking "" "s"; text "x"; end_turn`},
	{"redacted thinking", []string{start, think(0, `"redactedContent":"ZGF0YQ=="`), end(0), say(1, "x"), end(1), stop("end_turn"), counts}, `redacted "ZGF0YQ=="; text "x"; end_turn`},
	{"two calls", []string{start, begin(0, "a"), input(0, `"{\"x\":1}"`), end(0), begin(1, "b"), input(1, `"{\"y\":2}"`), end(1), stop("tool_use"), counts}, `a=f_a({"x":1}); b=f_b({"y":2}); tool_use`},
	{"D26: a call without input", []string{start, begin(0, "a"), end(0), stop("tool_use"), counts}, `a=f_a({}); tool_use`},
	{"end_turn with a call", []string{start, begin(0, "a"), input(0, `"{}"`), end(0), stop("end_turn"), counts}, `a=f_a({}); tool_use`},
	{"a call that is cut by the limit", []string{start, begin(0, "a"), input(0, `"{\"x\":"`), end(0), stop("max_tokens"), counts}, `a=f_a({"arguments":"{\"x\":"}); max_tokens`},
	{"a call that the service carries out itself, and its result", []string{start, `contentBlockStart {"contentBlockIndex":0,"start":{"toolUse":{"toolUseId":"s","name":"nova_grounding","type":"server_tool_use"}}}`, input(0, `"{}"`), end(0),
		`contentBlockStart {"contentBlockIndex":1,"start":{"toolResult":{"toolUseId":"s"}}}`, at(1, `{"toolResult":[{"text":"x"}]}`), end(1), say(2, "so"), end(2), stop("end_turn"), counts}, `text "so"; end_turn`},
	{"the service's own call is none to wait for", []string{start, `contentBlockStart {"contentBlockIndex":0,"start":{"toolUse":{"toolUseId":"s","name":"g","type":"server_tool_use"}}}`, end(0), stop("tool_use"), counts}, `end_turn`},
	{"citations of a document", []string{start, say(0, "It is green."), at(0, `{"citation":{"title":"T","location":{"documentChar":{"documentIndex":0,"start":1,"end":5}},"sourceContent":[{"text":"green"}]}}`), end(0), stop("end_turn"), counts},
		`text "It is green." cites {"type":"char_location","cited_text":"green","document_index":0,"start_char_index":1,"end_char_index":5,"document_title":"T"}  "green"; end_turn`},
	{"a citation before its text", []string{start, at(0, `{"citation":{"location":{"documentPage":{"documentIndex":1,"start":2,"end":3}}}}`), say(0, "x"), end(0), stop("end_turn"), counts},
		`text "x" cites {"type":"page_location","cited_text":"","document_index":1,"start_page_number":2,"end_page_number":3,"document_title":null}  ""; end_turn`},
	{"a citation of the web", []string{start, say(0, "x"), at(0, `{"citation":{"title":"T","location":{"web":{"url":"https://a/","domain":"a"}}}}`), end(0), stop("end_turn"), counts}, `text "x" cites  "https://a/" ""; end_turn`},
	{"which sequence stopped it", []string{start, say(0, "x"), end(0), `messageStop {"stopReason":"stop_sequence","additionalModelResponseFields":{"stop_sequence":"END"}}`, counts}, `text "x"; stop_sequence"END"`},
	{"a guardrail", []string{start, say(0, "No."), end(0), stop("guardrail_intervened"), counts}, `text "No."; refusal`},
	{"a filter", []string{start, stop("content_filtered"), counts}, `refusal`},
	{"a full window", []string{start, say(0, "x"), end(0), stop("model_context_window_exceeded"), counts}, `text "x"; model_context_window_exceeded`},
	{"a reason that is new", []string{start, say(0, "x"), end(0), stop("moon_phase"), counts}, `text "x"; end_turn`},
	{"events and members that are new", []string{start, `novelty {"x":1}`, at(0, `{"novelty":{}}`), say(0, "x"), end(0), stop("end_turn"), counts}, `text "x"; end_turn`},
	{"counts before the reason", []string{start, say(0, "x"), end(0), counts, stop("end_turn")}, `text "x"; end_turn`},
	{"an answer of nothing", []string{start, stop("end_turn"), counts}, `end_turn`},
}

// D27: the events made of a ConverseStream are those of an answer.
func TestSource(t *testing.T) {
	want := core.Tokens{Input: 10, Output: 7, CacheRead: 20, CacheWrite5m: 6, CacheWrite1h: 4}
	for _, c := range streams {
		t.Run(c.why, func(t *testing.T) {
			l := newListener()
			if err := l.feed(stream(t, c.events...)); err != nil || l.bad != "" {
				t.Fatal(err, l.bad)
			}
			if got := describe(&l.c.Reply); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			tokens, guess := l.b.Tokens()
			if tokens != want || guess || !l.b.Terms().Priority || l.c.Reply.Usage.Tier != "priority" {
				t.Errorf("%+v, a guess: %v, %+v", tokens, guess, l.c.Reply.Usage)
			}
		})
	}
}

// D26: a call without input is called with {}, also where the input travels as text.
func TestSource_NoInput(t *testing.T) {
	p := translator.NewPipe(codec, openaichat.Codec{}.NewSink(translator.ReplyOptions{ID: "r", Model: "m", Request: &translator.Request{}}), translator.Enforce{})
	if out := p.Batch(stream(t, start, begin(0, "a"), end(0), stop("tool_use"), counts)); !bytes.Contains(out, []byte(`"arguments":"{}"`)) {
		t.Errorf("%s", out)
	}
}

// An answer that did not come whole, and one that the service says is none.
func TestSource_Broken(t *testing.T) {
	for _, c := range []struct {
		why    string
		events []string
		status int    // of the upstream's error
		typ    string // of it
		err    string
	}{
		{"no reason (D12: never a silent end)", []string{start, say(0, "x")}, 0, "", "ended without a reason"},
		{"nothing", nil, 0, "", "ended without a reason"},
		{"an exception in place of an answer", []string{`!throttlingException {"message":"Too many requests"}`}, 429, "rate_limit_error", ""},
		{"within one", []string{start, say(0, "x"), `!modelStreamErrorException {"message":"bad","originalStatusCode":500,"originalMessage":"worse"}`}, 500, "api_error", ""},
		{"no capacity", []string{start, `!serviceUnavailableException {"message":"m"}`}, 529, "overloaded_error", ""},
		{"a failure", []string{start, `!internalServerException {"message":"m"}`}, 500, "api_error", ""},
		{"a request that is wrong", []string{`!validationException {"message":"Input is too long for requested model."}`}, 400, "invalid_request_error", ""},
		{"an exception that is new", []string{`!moonException {"message":"m"}`}, 502, "api_error", ""},
		{"output that could not be read is an error", []string{start, say(0, "x"), end(0), stop("malformed_model_output"), counts}, 500, "api_error", ""},
		{"so is a call", []string{start, stop("malformed_tool_use"), counts}, 500, "api_error", ""},
		{"input without a call", []string{start, input(0, `"{}"`)}, 0, "", "input of a call that never began"},
		{"a call without a name", []string{start, `contentBlockStart {"contentBlockIndex":0,"start":{"toolUse":{"toolUseId":"a"}}}`}, 0, "", "no id or no name"},
		{"a delta without an index", []string{start, `contentBlockDelta {"delta":{"text":"x"}}`}, 0, "", "without what its type demands"},
		{"no JSON", []string{start, `contentBlockDelta x`}, 0, "", "not a JSON object"},
		{"content before the beginning", []string{say(0, "x")}, 0, "", "before the beginning"},
	} {
		t.Run(c.why, func(t *testing.T) {
			l := newListener()
			err := l.feed(stream(t, c.events...))
			if err == nil {
				err = l.b.Status().Broken
			}
			st := l.b.Status()
			switch {
			case c.err != "":
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, want %s", err, c.err)
				}
			case err != nil || st.Err == nil || st.Err.Status != c.status || st.Err.Type != c.typ || st.Err.Message == "":
				t.Errorf("%v, %+v", err, st.Err)
			}
		})
	}
}

// An answer whose counts never came is whole, and its count an estimate.
func TestSource_NoCounts(t *testing.T) {
	l := newListener()
	if err := l.feed(stream(t, start, say(0, "x"), end(0), stop("end_turn"))); err != nil {
		t.Fatal(err)
	}
	if _, guess := l.b.Tokens(); !guess || !l.b.Status().Ended {
		t.Errorf("%+v", l.b.Status())
	}
	l = newListener()
	if err := l.feed(stream(t, start, stop("malformed_tool_use"), counts)); err != nil {
		t.Fatal(err)
	}
	if tokens, _ := l.b.Tokens(); tokens.Output != 7 {
		t.Errorf("the counts of an answer that could not be read: %+v", tokens)
	}
}

// D9, D12, D27: what a client of the Messages API is sent is the same wherever the stream is cut into pieces, and a stream
// that ends early never ends an answer.
func TestPipe_CutAtEveryByte(t *testing.T) {
	in := stream(t, start, think(0, `"text":"hm"`), think(0, `"signature":"s"`), end(0), say(1, "a"), end(1), begin(2, "c"), input(2, `"{}"`), end(2), stop("tool_use"), counts)
	run := func(parts ...[]byte) (string, *translator.Status) {
		p := translator.NewPipe(codec, anthropic.Codec{}.NewSink(translator.ReplyOptions{ID: "r", Model: "m"}), translator.Enforce{})
		var out []byte
		r := eventstream.NewReader(&chunks{parts}, 1<<20)
		defer r.Release()
		for {
			batch, err := r.Batch()
			if err != nil {
				break
			}
			out = append(out, p.Batch(batch)...)
		}
		return string(out), p.Status()
	}
	want, st := run(in)
	if !st.Ended || !strings.Contains(want, "event: message_stop") {
		t.Fatalf("%+v %s", st, want)
	}
	for k := 1; k < len(in); k++ {
		if got, _ := run(in[:k], in[k:]); got != want {
			t.Fatalf("cut at %d:\n%s\nwant\n%s", k, got, want)
		}
		if got, st := run(in[:k]); st.Ended || strings.Contains(got, "message_stop") || !strings.HasPrefix(want, got) {
			t.Fatalf("ended at %d: %+v\n%s", k, st, got)
		}
	}
}

// chunks gives pieces one read at a time.
type chunks struct{ parts [][]byte }

func (c *chunks) Read(dst []byte) (int, error) {
	if len(c.parts) == 0 {
		return 0, io.EOF
	}
	n := copy(dst, c.parts[0])
	if c.parts[0] = c.parts[0][n:]; len(c.parts[0]) == 0 {
		c.parts = c.parts[1:]
	}
	return n, nil
}

// A delta of text costs nothing from its payload to the client's bytes.
func TestDelta_Allocs(t *testing.T) {
	var out []byte
	sink := anthropic.Codec{}.NewSink(translator.ReplyOptions{ID: "r", Model: "m"})
	b := translator.NewBuilder(func(e *translator.Event) { out = sink.Event(out[:0], e) })
	s := codec.NewSource(b)
	for _, e := range []string{start, say(0, "x")} {
		ev, _, _, _ := codec.Cut(stream(t, e))
		if err := s.Event(ev); err != nil {
			t.Fatal(err)
		}
	}
	ev, _, _, _ := codec.Cut(stream(t, say(0, " small words")))
	if n := testing.AllocsPerRun(200, func() { _ = s.Event(ev) }); n > 0 || !bytes.Contains(out, []byte("small words")) {
		t.Errorf("%v allocations for an event, want none: %s", n, out)
	}
}

var replies = []struct{ why, body, want string }{
	{"text, thinking and a call", `{"output":{"message":{"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"hm","signature":"s"}}},{"reasoningContent":{"redactedContent":"ZA=="}},{"text":"a"},{"toolUse":{"toolUseId":"i","name":"f","input":{"x":1.50}}}]}},"stopReason":"tool_use","usage":{"inputTokens":10,"outputTokens":7,"totalTokens":17}}`,
		`thinking "hm" "s"; redacted "ZA=="; text "a"; i=f({"x":1.50}); tool_use`},
	{"texts apart", `{"output":{"message":{"content":[{"text":"a"},{"text":"b"}]}},"stopReason":"end_turn"}`, `text "a"; text "b"; end_turn`},
	{"citations", `{"output":{"message":{"content":[{"citationsContent":{"content":[{"text":"a"},{"text":"b"}],"citations":[{"title":"T","source":"S","location":{"searchResultLocation":{"searchResultIndex":0,"start":0,"end":1}},"sourceContent":[{"text":"c"}]}]}}]}},"stopReason":"end_turn"}`,
		`text "ab" cites {"type":"search_result_location","cited_text":"c","search_result_index":0,"start_block_index":0,"end_block_index":1,"source":"S","title":"T"}  "c"; end_turn`},
	{"a stop sequence", `{"output":{"message":{"content":[{"text":"a"}]}},"stopReason":"stop_sequence","additionalModelResponseFields":{"stop_sequence":"END"}}`, `text "a"; stop_sequence"END"`},
	{"a call without input, and the service's own", `{"output":{"message":{"content":[{"toolUse":{"toolUseId":"s","name":"g","type":"server_tool_use","input":{}}},{"toolResult":{"toolUseId":"s","content":[]}},{"toolUse":{"toolUseId":"i","name":"f"}}]}},"stopReason":"tool_use"}`, `i=f({}); tool_use`},
	{"nothing", `{"output":{"message":{"content":[]}},"stopReason":"max_tokens"}`, `max_tokens`},
}

func TestReadReply(t *testing.T) {
	for _, c := range replies {
		l := newListener()
		if err := codec.ReadReply([]byte(c.body), l.b); err != nil || l.bad != "" {
			t.Errorf("%s: %v %s", c.why, err, l.bad)
		}
		if got := describe(&l.c.Reply); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.why, got, c.want)
		}
	}
	for _, c := range []struct{ why, body, want string }{
		{"no JSON", `<html>`, "not a JSON object"},
		{"something else", `{"a":1}`, "not one of Converse"},
		{"no content", `{"output":{"message":{}},"stopReason":"end_turn"}`, "not one of Converse"},
		{"no reason", `{"output":{"message":{"content":[]}}}`, "without a reason"},
		{"an error in place of it", `{"__type":"com.amazon#ThrottlingException"}`, "rate_limit_error"},
		{"a call that could not be read", `{"output":{"message":{"content":[]}},"stopReason":"malformed_tool_use"}`, "malformed_tool_use"},
		{"input that is no object", `{"output":{"message":{"content":[{"toolUse":{"toolUseId":"i","name":"f","input":"x"}}]}},"stopReason":"tool_use"}`, "a content block without"},
	} {
		err := codec.ReadReply([]byte(c.body), newListener().b)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.why, err, c.want)
		}
	}
}
