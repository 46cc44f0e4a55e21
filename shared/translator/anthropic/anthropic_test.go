package anthropic_test

import (
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/sse"
	"sluice/shared/translator/anthropic"
)

func event(t testing.TB, text string) sse.Event {
	t.Helper()
	ev, rest, ok := sse.Cut([]byte(text))
	if !ok || len(rest) > 0 {
		t.Fatalf("not one event: %q", text)
	}
	return ev
}

func TestKind(t *testing.T) {
	for _, c := range []struct {
		text  string
		want  anthropic.EventKind
		empty bool
	}{
		{"event: message_start\ndata: {}\n\n", anthropic.EventStart, false},
		{"event: content_block_start\ndata: {}\n\n", anthropic.EventBlockStart, false},
		{"event: content_block_delta\ndata: {\"delta\":{\"text\":\"x\"}}\n\n", anthropic.EventContent, false},
		{"event: content_block_delta\ndata: {\"delta\":{\"text\":\"\"}}\n\n", anthropic.EventContent, true},
		{"event: content_block_delta\ndata: {\"delta\":{\"partial_json\":\"\"}}\n\n", anthropic.EventContent, true},
		{"event: content_block_delta\ndata: {\"delta\":{\"thinking\":\"\"}}\n\n", anthropic.EventContent, true},
		{"event: content_block_delta\ndata: {\"delta\":{\"signature\":\"s\"}}\n\n", anthropic.EventContent, false},
		{"event: content_block_delta\ndata: nonsense\n\n", anthropic.EventContent, false},
		{"event: content_block_stop\ndata: {}\n\n", anthropic.EventContent, false},
		{"event: message_delta\ndata: {}\n\n", anthropic.EventDelta, false},
		{"event: message_stop\ndata: {}\n\n", anthropic.EventStop, false},
		{"event: ping\ndata: {}\n\n", anthropic.EventPing, false},
		{"event: error\ndata: {}\n\n", anthropic.EventError, false},
		{"event: future\ndata: {}\n\n", anthropic.EventOther, false},
		{": comment\n\n", anthropic.EventPing, false},
		{"\n", anthropic.EventPing, false},
		{"data: {\"type\":\"message_stop\"}\n\n", anthropic.EventStop, false},
		{"data: {\"type\":\"message_\\u0073top\"}\n\n", anthropic.EventStop, false},
		{"data: {\"type\":7}\n\n", anthropic.EventOther, false},
		{"data: [DONE]\n\n", anthropic.EventOther, false},
		{"event: message_delta\ndata: {\"type\":\"message_stop\"}\n\n", anthropic.EventDelta, false},
	} {
		ev := event(t, c.text)
		if got := anthropic.Kind(ev); got != c.want {
			t.Errorf("%q: got kind %d, want %d", c.text, got, c.want)
		}
		if got := anthropic.Empty(ev); got != c.empty {
			t.Errorf("%q: empty %v", c.text, got)
		}
	}
}

func TestMeter_WholeMessages(t *testing.T) {
	for _, c := range []struct {
		reason, body string
		want         core.Tokens
		estimated    bool
	}{
		{"all classes", `{"id":"m","model":"x","usage":{"input_tokens":1,"cache_read_input_tokens":2,"cache_creation_input_tokens":7,"cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":4},"output_tokens":5}}`,
			core.Tokens{Input: 1, CacheRead: 2, CacheWrite5m: 3, CacheWrite1h: 4, Output: 5}, false},
		{"no split", `{"usage":{"input_tokens":1,"cache_creation_input_tokens":7,"output_tokens":5}}`, core.Tokens{Input: 1, CacheWrite5m: 7, Output: 5}, false},
		{"nulls", `{"usage":{"input_tokens":1,"cache_creation_input_tokens":null,"cache_read_input_tokens":null,"cache_creation":null,"output_tokens":0}}`, core.Tokens{Input: 1}, false},
		{"no usage", `{"content":"` + strings.Repeat("x", 386) + `"}`, core.Tokens{Output: 100}, true},
		{"usage without output", `{"usage":{"input_tokens":9}}`, core.Tokens{Input: 9, Output: 7}, true},
		{"usage null", `{"usage":null}`, core.Tokens{Output: 4}, true},
	} {
		var m anthropic.Meter
		m.Message([]byte(c.body))
		if got, estimated := m.Result(); got != c.want || estimated != c.estimated {
			t.Errorf("%s: got %+v, %v, want %+v", c.reason, got, estimated, c.want)
		}
	}
}

func TestMeter_EstimatesFromWhatPassed(t *testing.T) {
	var m anthropic.Meter
	start := event(t, "event: message_start\ndata: {\"message\":{\"id\":\"m1\",\"model\":\"x\",\"usage\":{\"input_tokens\":9,\"output_tokens\":3}}}\n\n")
	m.Event(anthropic.EventStart, start)
	if got, estimated := m.Result(); !estimated || got.Output != 3 || got.Input != 9 || m.ID != "m1" || m.Model != "x" {
		t.Errorf("got %+v %v", got, estimated)
	}
	text := event(t, `data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"`+strings.Repeat("word ", 200)+"\"}}\n\n")
	m.Event(anthropic.EventContent, text)
	if got, _ := m.Result(); got.Output < 200 || got.Output > 260 {
		t.Errorf("estimated %d tokens for 1000 bytes", got.Output)
	}
}

// FuzzMeter feeds arbitrary bytes as a stream: nothing panics, counts are never negative, and an end with final counts is
// never called an estimate.
func FuzzMeter(f *testing.F) {
	f.Add([]byte("event: message_start\ndata: {\"message\":{\"usage\":{\"input_tokens\":1,\"cache_creation_input_tokens\":5,\"cache_creation\":{\"ephemeral_1h_input_tokens\":9}}}}\n\nevent: message_delta\ndata: {\"usage\":{\"output_tokens\":3,\"iterations\":[{\"type\":\"compaction\",\"input_tokens\":1}]}}\n\n"))
	f.Add([]byte("data: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"\"}}\r\n\r\n:c\n\n"))
	f.Add([]byte("event: error\ndata: {\"error\":{\"type\":\"x\",\"message\":\"y\"}}\n\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		var m anthropic.Meter
		for rest := stream; ; {
			ev, next, ok := sse.Cut(rest)
			if !ok {
				break
			}
			rest = next
			kind := anthropic.Kind(ev)
			anthropic.Empty(ev)
			anthropic.Valid(ev)
			m.Event(kind, ev)
		}
		check := func(got core.Tokens) {
			if got.Input < 0 || got.CacheRead < 0 || got.CacheWrite5m < 0 || got.CacheWrite1h < 0 || got.Output < 0 {
				t.Fatalf("got %+v", got)
			}
		}
		got, _ := m.Result()
		check(got)
		var whole anthropic.Meter
		whole.Message(stream)
		got, _ = whole.Result()
		check(got)
	})
}

func BenchmarkMeter(b *testing.B) {
	ev := event(b, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hello\"}}\n\n")
	b.ReportAllocs()
	var m anthropic.Meter
	for b.Loop() {
		m.Event(anthropic.Kind(ev), ev)
	}
}
