package anthropic_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"sluice/shared/core"
	"sluice/shared/sse"
	"sluice/shared/translator"
	"sluice/shared/translator/anthropic"
)

// ev writes an event as the API does.
func ev(data string) string {
	var e struct{ Type string }
	_ = json.Unmarshal([]byte(data), &e)
	return "event: " + e.Type + "\ndata: " + data + "\n\n"
}

// started are the first events of an answer.
var started = ev(`{"type":"message_start","message":{"id":"msg_up","type":"message","role":"assistant","model":"m-up","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":7,"cache_read_input_tokens":5,"cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":4},"output_tokens":1,"service_tier":"priority"}}}`)

var ended = ev(`{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":42,"output_tokens_details":{"thinking_tokens":6}}}`) + ev(`{"type":"message_stop"}`)

// rich has every kind of block.
var rich = started + ev(`{"type":"ping"}`) +
	ev(`{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`) +
	ev(`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Let \u00e9"}}`) +
	ev(`{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ln"}}`) +
	ev(`{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"bmF0"}}`) +
	ev(`{"type":"content_block_stop","index":0}`) +
	ev(`{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"ZGF0YQ"}}`) + ev(`{"type":"content_block_stop","index":1}`) +
	ev(`{"type":"content_block_start","index":2,"content_block":{"type":"server_tool_use","id":"s1","name":"web_search","input":{}}}`) +
	ev(`{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":""}}`) +
	ev(`{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"query\":"}}`) +
	ev(`{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"\"x\"}"}}`) + ev(`{"type":"content_block_stop","index":2}`) +
	ev(`{"type":"content_block_start","index":3,"content_block":{"type":"web_search_tool_result","tool_use_id":"s1","content":[]}}`) + ev(`{"type":"content_block_stop","index":3}`) +
	ev(`{"type":"future_event","a":1}`) + ": comment\n\n" +
	ev(`{"type":"content_block_start","index":4,"content_block":{"type":"text","text":""}}`) +
	ev(`{"type":"content_block_delta","index":4,"delta":{"type":"citations_delta","citation":{"type":"web_search_result_location","url":"https://a","title":"T","cited_text":"c"}}}`) +
	ev(`{"type":"content_block_delta","index":4,"delta":{"type":"text_delta","text":"Hello \"you\""}}`) +
	ev(`{"type":"content_block_delta","index":4,"delta":{"type":"future_delta","x":1}}`) +
	ev(`{"type":"content_block_delta","index":4,"delta":{"type":"text_delta","text":"\n<b>"}}`) + ev(`{"type":"content_block_stop","index":4}`) +
	ev(`{"type":"content_block_start","index":5,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}}`) +
	ev(`{"type":"content_block_delta","index":5,"delta":{"type":"input_json_delta","partial_json":""}}`) +
	ev(`{"type":"content_block_delta","index":5,"delta":{"type":"input_json_delta","partial_json":"{\"a\": "}}`) +
	ev(`{"type":"content_block_delta","index":5,"delta":{"type":"input_json_delta","partial_json":"1}"}}`) + ev(`{"type":"content_block_stop","index":5}`) +
	ev(`{"type":"content_block_start","index":6,"content_block":{"type":"tool_use","id":"toolu_2","name":"g","input":{}}}`) + ev(`{"type":"content_block_stop","index":6}`) +
	ended

// richReply is the same answer in one piece.
const richReply = `{"id":"msg_up","type":"message","role":"assistant","model":"m-up","content":[
	{"type":"thinking","thinking":"Let \u00e9","signature":"c2lnbmF0"},{"type":"redacted_thinking","data":"ZGF0YQ"},
	{"type":"server_tool_use","id":"s1","name":"web_search","input":{"query":"x"}},{"type":"web_search_tool_result","tool_use_id":"s1","content":[]},
	{"type":"text","text":"Hello \"you\"\n<b>","citations":[{"type":"web_search_result_location","url":"https://a","title":"T","cited_text":"c"}]},
	{"type":"tool_use","id":"toolu_1","name":"f","input":{"a": 1}},{"type":"tool_use","id":"toolu_2","name":"g","input":{}}],
	"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":7,"cache_read_input_tokens":5,
	"cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":4},"output_tokens":42,"output_tokens_details":{"thinking_tokens":6},"service_tier":"priority"}}`

func richBlocks() []translator.Block {
	cite := raw(`{"type":"web_search_result_location","url":"https://a","title":"T","cited_text":"c"}`)
	return []translator.Block{
		{Type: translator.BlockThinking, Text: raw(`"Let \u00e9"`), Signature: raw(`"c2lnbmF0"`)},
		{Type: translator.BlockRedacted, Signature: raw(`"ZGF0YQ"`)},
		{Type: translator.BlockOther, Kind: "server_tool_use", Raw: raw(`{"type":"server_tool_use","id":"s1","name":"web_search","input":{"query":"x"}}`)},
		{Type: translator.BlockOther, Kind: "web_search_tool_result", Raw: raw(`{"type":"web_search_tool_result","tool_use_id":"s1","content":[]}`)},
		{Text: raw(`"Hello \"you\"\n<b>"`), Citations: []translator.Citation{{Raw: cite, URL: raw(`"https://a"`), Title: raw(`"T"`), Text: raw(`"c"`), Start: -1, End: -1}}},
		{Type: translator.BlockToolUse, ID: "toolu_1", Name: "f", Input: raw(`{"a": 1}`)},
		{Type: translator.BlockToolUse, ID: "toolu_2", Name: "g", Input: raw(`{}`)},
	}
}

// read runs a stream through a Source, as it comes from a reader.
func read(src io.Reader) (*translator.Reply, *translator.Builder) {
	var c translator.Collector
	b := translator.NewBuilder(c.Event)
	feed(src, codec.NewSource(b), b)
	return &c.Reply, b
}

func feed(src io.Reader, s translator.Source, b *translator.Builder) {
	rd := sse.NewReader(src, 1<<20)
	defer rd.Release()
	for {
		batch, err := rd.Batch()
		if err != nil {
			return
		}
		for !b.Status().Ended && b.Status().Broken == nil {
			e, rest, ok := sse.Cut(batch)
			if !ok {
				break
			}
			batch = rest
			if err := s.Event(e); err != nil {
				b.Break(err)
			}
		}
	}
}

func TestSource(t *testing.T) {
	want := translator.Reply{Upstream: "msg_up", Blocks: richBlocks(), Stop: translator.StopToolUse,
		Usage: translator.Usage{Tokens: core.Tokens{Input: 10, CacheRead: 5, CacheWrite5m: 3, CacheWrite1h: 4, Output: 42}, Reasoning: 6, Tier: "priority"}}
	bare := strings.NewReplacer("event: content_block_delta\n", "", "event: message_start\n", "", "event: content_block_stop\n", "").Replace(rich)
	for why, src := range map[string]io.Reader{
		"whole":                     strings.NewReader(rich),
		"byte by byte":              iotest.OneByteReader(strings.NewReader(rich)),
		"halves":                    iotest.HalfReader(strings.NewReader(rich)),
		"without names":             strings.NewReader(bare),
		"CRLF":                      strings.NewReader(strings.ReplaceAll(rich, "\n", "\r\n")),
		"something after the end":   strings.NewReader(rich + ev(`{"type":"error","error":{}}`)),
		"blocks without their ends": strings.NewReader(strings.ReplaceAll(rich, "event: content_block_stop\n", "event: unknown\n")),
	} {
		got, b := read(src)
		if st := b.Status(); !st.Ended || st.Broken != nil || st.Err != nil {
			t.Errorf("%s: %+v", why, st)
		}
		if !reflect.DeepEqual(*got, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", why, *got, want)
		}
	}
	for cut := range len(rich) { // R19: no cut is ever a clean end
		got, b := read(strings.NewReader(rich[:cut]))
		if b.Status().Ended || b.Status().Broken != nil || got.Stop != "" {
			t.Fatalf("cut at %d: %+v", cut, b.Status())
		}
	}
}

func TestSource_Odd(t *testing.T) {
	start := func(block string) string {
		return ev(`{"type":"content_block_start","index":0,"content_block":` + block + `}`)
	}
	delta := func(d string) string { return ev(`{"type":"content_block_delta","index":0,"delta":` + d + `}`) }
	stop := ev(`{"type":"content_block_stop","index":0}`)
	for _, c := range []struct {
		why, in string
		want    []translator.Block
		tokens  int64
	}{
		{"input in the beginning of the block", start(`{"type":"tool_use","id":"i","name":"n","input":{"a":1}}`) + stop,
			[]translator.Block{{Type: translator.BlockToolUse, ID: "i", Name: "n", Input: raw(`{"a":1}`)}}, 42},
		{"input in both", start(`{"type":"tool_use","id":"i","name":"n","input":{"a":1}}`) + delta(`{"type":"input_json_delta","partial_json":"{\"b\":2}"}`) + stop,
			[]translator.Block{{Type: translator.BlockToolUse, ID: "i", Name: "n", Input: raw(`{"b":2}`)}}, 42},
		{"text in the beginning of the block", start(`{"type":"text","text":"a"}`) + delta(`{"type":"text_delta","text":"b"}`) + stop, []translator.Block{{Text: raw(`"ab"`)}}, 42},
		{"thinking that is not shown", start(`{"type":"thinking","thinking":"","signature":""}`) + delta(`{"type":"signature_delta","signature":"s"}`) + stop,
			[]translator.Block{{Type: translator.BlockThinking, Text: raw(`""`), Signature: raw(`"s"`)}}, 42},
		{"thinking with its signature at once", start(`{"type":"thinking","thinking":"t","signature":"s"}`) + stop,
			[]translator.Block{{Type: translator.BlockThinking, Text: raw(`"t"`), Signature: raw(`"s"`)}}, 42},
		{"two texts", start(`{"type":"text","text":"a"}`) + stop + start(`{"type":"text","text":"b"}`) + stop, []translator.Block{{Text: raw(`"a"`)}, {Text: raw(`"b"`)}}, 42},
		{"a server tool's broken input", start(`{"type":"server_tool_use","input":{}}`) + delta(`{"type":"input_json_delta","partial_json":"{"}`) + stop,
			[]translator.Block{{Type: translator.BlockOther, Kind: "server_tool_use", Raw: raw(`{"type":"server_tool_use","input":{}}`)}}, 42},
	} {
		got, b := read(strings.NewReader(started + c.in + ended))
		if !b.Status().Ended || !reflect.DeepEqual(got.Blocks, c.want) {
			t.Errorf("%s: %+v\ngot  %+v", c.why, b.Status(), got.Blocks)
		}
	}
	got, b := read(strings.NewReader(started + start(`{"type":"text","text":""}`) + ev(`{"type":"error","error":{"type":"overloaded_error","message":"busy"}}`)))
	if e := b.Status().Err; e == nil || e.Type != "overloaded_error" || e.Message != "busy" || e.Status != 529 || b.Status().Content || len(got.Blocks) > 0 {
		t.Errorf("an error event: %+v", b.Status())
	}
	noCount := started + start(`{"type":"text","text":"`+strings.Repeat("x", 400)+`"}`) + ev(`{"type":"message_delta","delta":{"stop_reason":"end_turn"}}`) + ev(`{"type":"message_stop"}`)
	_, b = read(strings.NewReader(noCount))
	if tokens, estimated := b.Tokens(); tokens.Output != 100 || !estimated {
		t.Errorf("without a count: %+v %v", tokens, estimated)
	}
	hostile := strings.Replace(rich, `"output_tokens":42`, `"output_tokens":9223372036854775807,"input_tokens":-1`, 1)
	_, b = read(strings.NewReader(hostile))
	if tokens, estimated := b.Tokens(); tokens.Input != 10 || tokens.Output > 1000 || !estimated {
		t.Errorf("hostile counts: %+v %v", tokens, estimated)
	}
}

func TestSource_Broken(t *testing.T) {
	for _, c := range []struct{ why, in string }{
		{"no JSON", started + "event: content_block_delta\ndata: x\n\n"},
		{"an array", started + "event: content_block_start\ndata: []\n\n"},
		{"text before the start", ev(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}`)},
		{"a start without message", ev(`{"type":"message_start"}`)},
		{"a delta without index", started + ev(`{"type":"content_block_delta","delta":{"type":"text_delta","text":"a"}}`)},
		{"a delta without delta", started + ev(`{"type":"content_block_delta","index":0}`)},
		{"a delta without type", started + ev(`{"type":"content_block_delta","index":0,"delta":{"text":"a"}}`)},
		{"a delta without its text", started + ev(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta"}}`)},
		{"a text that is none", started + ev(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":1}}`)},
		{"a signature that is none", started + ev(`{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":null}}`)},
		{"input of no call", started + ev(`{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{"}}`)},
		{"a citation that is none", started + ev(`{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":"x"}}`)},
		{"a block without type", started + ev(`{"type":"content_block_start","index":0,"content_block":{}}`)},
		{"no block", started + ev(`{"type":"content_block_start","index":0}`)},
		{"a call without id", started + ev(`{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","name":"n","input":{}}}`)},
		{"a call whose input is text", started + ev(`{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"i","name":"n","input":"{}"}}`)},
		{"redacted thinking without data", started + ev(`{"type":"content_block_start","index":0,"content_block":{"type":"redacted_thinking"}}`)},
		{"a block without end", started + ev(`{"type":"content_block_start","index":0,"content_block":{"type":"server_tool_use","input":{}}}`) +
			strings.Repeat(ev(`{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"`+strings.Repeat("x", 900_000)+`"}}`), 19)},
		{"a signature without end", started + strings.Repeat(ev(`{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"`+strings.Repeat("x", 900_000)+`"}}`), 19)},
		{"an end without a reason", started + ev(`{"type":"message_stop"}`)},
		{"an end before the start", ev(`{"type":"message_stop"}`)},
	} {
		if _, b := read(strings.NewReader(c.in)); b.Status().Broken == nil || b.Status().Ended {
			t.Errorf("%s: %+v", c.why, b.Status())
		}
	}
}

func TestReadReply(t *testing.T) {
	var c translator.Collector
	b := translator.NewBuilder(c.Event)
	if err := codec.ReadReply([]byte(richReply), b); err != nil || !b.Status().Ended {
		t.Fatalf("%v, %+v", err, b.Status())
	}
	want := translator.Reply{Upstream: "msg_up", Blocks: richBlocks(), Stop: translator.StopToolUse,
		Usage: translator.Usage{Tokens: core.Tokens{Input: 10, CacheRead: 5, CacheWrite5m: 3, CacheWrite1h: 4, Output: 42}, Reasoning: 6, Tier: "priority"}}
	if !reflect.DeepEqual(c.Reply, want) {
		t.Errorf("got  %+v\nwant %+v", c.Reply, want)
	}
	for _, bad := range []string{``, `[]`, `{}`, `{"type":"completion","content":[]}`, `{"type":"message"}`, `{"content":"x","stop_reason":"end_turn"}`,
		`{"content":[1],"stop_reason":"end_turn"}`, `{"content":[{"type":"text"}],"stop_reason":"end_turn"}`, `{"content":[]}`, `{"content":[],"stop_reason":null}`} {
		b := translator.NewBuilder(func(*translator.Event) {})
		err := codec.ReadReply([]byte(bad), b)
		var e *translator.Error
		if err == nil || errors.As(err, &e) || b.Status().Ended {
			t.Errorf("%s: got %v", bad, err)
		}
	}
	err := codec.ReadReply([]byte(`{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}`), translator.NewBuilder(func(*translator.Event) {}))
	var e *translator.Error
	if !errors.As(err, &e) || e.Status != 429 || e.Message != "slow" {
		t.Errorf("got %v", err)
	}
}

// TestSink: D9, D12, D27, D29. What a Source reads of a Sink's stream is what went in.
func TestSink(t *testing.T) {
	o := translator.ReplyOptions{ID: "req1", Model: "alias \"x\""}
	var out bytes.Buffer
	sink := codec.NewSink(o)
	b := translator.NewBuilder(func(e *translator.Event) { out.Write(sink.Event(nil, e)) })
	feed(strings.NewReader(rich), codec.NewSource(b), b)
	again, b2 := read(strings.NewReader(out.String()))
	first, _ := read(strings.NewReader(rich))
	first.Upstream = "msg_req1"
	if !b2.Status().Ended || !reflect.DeepEqual(again, first) {
		t.Errorf("%+v\ngot  %+v\nwant %+v\n%s", b2.Status(), again, first, out.String())
	}
	wantStart := ev(`{"type":"message_start","message":{"id":"msg_req1","type":"message","role":"assistant","model":"alias \"x\"","content":[],"stop_reason":null,"stop_sequence":null,"usage":` +
		`{"input_tokens":10,"cache_creation_input_tokens":7,"cache_read_input_tokens":5,"output_tokens":1,"cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":4},"service_tier":"priority"}}}`)
	wantEnd := ev(`{"type":"content_block_stop","index":6}`) +
		ev(`{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":10,"cache_creation_input_tokens":7,"cache_read_input_tokens":5,"output_tokens":42,"output_tokens_details":{"thinking_tokens":6},"cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":4}}}`) +
		ev(`{"type":"message_stop"}`)
	if got := out.String(); !strings.HasPrefix(got, wantStart) || !strings.HasSuffix(got, wantEnd) {
		t.Errorf("got %s", got)
	}
	wantCall := ev(`{"type":"content_block_start","index":5,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}}`) +
		ev(`{"type":"content_block_delta","index":5,"delta":{"type":"input_json_delta","partial_json":"{\"a\": "}}`)
	if !strings.Contains(out.String(), wantCall) {
		t.Errorf("no call in %s", out.String())
	}

	body := codec.AppendReply([]byte("x"), first, o)
	var c translator.Collector
	if err := codec.ReadReply(body[1:], translator.NewBuilder(c.Event)); err != nil || !reflect.DeepEqual(c.Reply, *first) {
		t.Errorf("whole: %v\ngot  %+v\nwant %+v", err, c.Reply, *first)
	}
	if !strings.HasPrefix(string(body), `x{"id":"msg_req1","type":"message","role":"assistant","model":"alias \"x\"","content":[{"type":"thinking"`) {
		t.Errorf("got %s", body)
	}
}

func TestSink_OfOtherUpstreams(t *testing.T) {
	var out []byte
	sink := codec.NewSink(translator.ReplyOptions{ID: "r", Model: "m"})
	b := translator.NewBuilder(func(e *translator.Event) { out = sink.Event(out, e) })
	b.Start("chatcmpl-1")
	b.Text(raw(`"a"`), raw(`[{"token":"a"}]`))
	b.Cite(&translator.Citation{URL: raw(`"https://a"`)})
	b.Tool(0, "", "f", true)
	b.Input(0, raw(`"{\"input\":\"x\"}"`))
	b.Usage(true).Output = 3
	b.Stop(translator.StopSequence, raw(`"END"`))
	b.End()
	want := ev(`{"type":"message_start","message":{"id":"msg_r","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"service_tier":"standard"}}}`) +
		ev(`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`) + ev(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}`) + ev(`{"type":"content_block_stop","index":0}`) +
		ev(`{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_r_1","name":"f","input":{}}}`) + ev(`{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"input\":\"x\"}"}}`) + ev(`{"type":"content_block_stop","index":1}`) +
		ev(`{"type":"message_delta","delta":{"stop_reason":"stop_sequence","stop_sequence":"END"},"usage":{"input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":3}}`) + ev(`{"type":"message_stop"}`)
	if string(out) != want {
		t.Errorf("got  %s\nwant %s", out, want)
	}
}

// TestErrorsOfTheCodec: D14, D15.
func TestErrorsOfTheCodec(t *testing.T) {
	for _, c := range []struct {
		e    translator.Error
		want string
	}{
		{translator.Error{Status: 429, Type: "rate_limit_error", Message: "slow"}, `"type":"rate_limit_error","message":"slow"`},
		{translator.Error{Status: 404, Message: "no"}, `"type":"not_found_error","message":"no"`},
		{translator.Error{Status: 400, Code: translator.CodeContext, Message: "Too much."}, `"type":"invalid_request_error","message":"prompt is too long: Too much."`},
		{translator.Error{Status: 400, Code: translator.CodeContext, Message: "This model's maximum context length is 128,000 tokens. However, your messages resulted in 130001 tokens."}, `"message":"prompt is too long: 130001 tokens > 128000 maximum"`},
		{translator.Error{Status: 400, Code: translator.CodeContext, Message: "Prompt is too long: 2 tokens > 1 maximum"}, `"message":"Prompt is too long: 2 tokens > 1 maximum"`},
		{translator.Error{Status: 400, Code: translator.CodeContext, Message: "maximum context length is 9 and you requested 5"}, `"message":"prompt is too long: maximum context length is 9 and you requested 5"`},
	} {
		body := codec.AppendError(nil, &c.e, "req_1")
		if !json.Valid(body) || !strings.Contains(string(body), c.want) || !strings.HasSuffix(string(body), `},"request_id":"req_1"}`) {
			t.Errorf("got %s, want %s", body, c.want)
		}
		e, rest, ok := sse.Cut(codec.AppendErrorEvent(nil, &c.e, translator.ReplyOptions{ID: "req_1"}))
		if !ok || len(rest) > 0 || string(e.Name) != "error" || !bytes.Equal(e.Data, body) {
			t.Errorf("got %q", e.Raw)
		}
		if fail := codec.NewSink(translator.ReplyOptions{ID: "req_1"}).Fail(nil, &c.e); !bytes.Equal(fail, e.Raw) {
			t.Errorf("got %q", fail)
		}
	}
	for _, c := range []struct {
		status    int
		body      string
		typ, text string
	}{
		{529, `{"type":"error","error":{"type":"overloaded_error","message":"busy"}}`, "overloaded_error", "busy"},
		{503, `<html>`, "overloaded_error", "The upstream answered with status 503."},
		{400, `{"error":{"message":"bad"}}`, "invalid_request_error", "bad"},
		{418, ``, "invalid_request_error", "The upstream answered with status 418."},
	} {
		if e := codec.ParseError(c.status, []byte(c.body)); e.Status != c.status || e.Type != c.typ || e.Message != c.text {
			t.Errorf("%s: got %+v", c.body, e)
		}
	}
	for _, first := range []bool{true, false} { // D11
		if e := event(t, string(codec.AppendKeepAlive(nil, first, translator.ReplyOptions{}))); anthropic.Kind(e) != anthropic.EventPing || string(e.Name) != "ping" {
			t.Errorf("got %q", e.Raw)
		}
	}
	if got := codec.Resume([]byte(started)); string(got) != started {
		t.Errorf("got %q", got)
	}
}

// FuzzSource: hostile streams neither panic nor make an answer that is no stream.
func FuzzSource(f *testing.F) {
	f.Add([]byte(rich))
	f.Add([]byte(started + ended))
	f.Add([]byte(started + "data: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"citations_delta\",\"citation\":{\ndata: }}}\n\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		var out []byte
		sink := codec.NewSink(translator.ReplyOptions{ID: "r", Model: "m"})
		var c translator.Collector
		b := translator.NewBuilder(func(e *translator.Event) { out = sink.Event(out, e); c.Event(e) })
		feed(bytes.NewReader(stream), codec.NewSource(b), b)
		for rest := out; len(rest) > 0; {
			e, next, ok := sse.Cut(rest)
			if !ok || !json.Valid(e.Data) {
				t.Fatalf("got %q", rest)
			}
			rest = next
		}
		if b.Status().Ended && b.Status().Err == nil {
			again, b2 := read(bytes.NewReader(out))
			if !b2.Status().Ended || again.Stop != c.Reply.Stop {
				t.Fatalf("%+v of\n%s", b2.Status(), out)
			}
			if body := codec.AppendReply(nil, &c.Reply, translator.ReplyOptions{}); !json.Valid(body) {
				t.Fatalf("got %s", body)
			}
		}
	})
}

// FuzzReadReply: a body is an answer, an upstream's error, or neither, and never half of two.
func FuzzReadReply(f *testing.F) {
	f.Add([]byte(richReply))
	f.Add([]byte(`{"type":"error","error":{"type":"x"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var c translator.Collector
		b := translator.NewBuilder(c.Event)
		err := codec.ReadReply(body, b)
		if (err == nil) != b.Status().Ended {
			t.Fatalf("%v, %+v", err, b.Status())
		}
		if err == nil && !json.Valid(codec.AppendReply(nil, &c.Reply, translator.ReplyOptions{})) {
			t.Fatal("what was read writes no JSON")
		}
		if _, tokens, _, err := codec.PassReply(body, translator.TapOptions{Model: "m"}); err == nil && (tokens.Output < 0 || tokens.Input < 0) {
			t.Fatalf("got %+v", tokens)
		}
	})
}
