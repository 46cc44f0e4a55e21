package anthropic_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/sse"
	"sluice/shared/translator"
)

var richTokens = core.Tokens{Input: 10, CacheRead: 5, CacheWrite5m: 3, CacheWrite1h: 4, Output: 42}

// TestTap: D5, D10, D12. Whatever the batches, the bytes are the upstream's.
func TestTap(t *testing.T) {
	var ends []int // of events
	for rest := []byte(rich); len(rest) > 0; {
		e, next, _ := sse.Cut(rest)
		ends = append(ends, len(rich)-len(rest)+len(e.Raw))
		rest = next
	}
	renamed := strings.Replace(rich, `"model":"m-up"`, `"model":"al\"ias"`, 1)
	for _, c := range []struct {
		o    translator.TapOptions
		want string
	}{{translator.TapOptions{}, rich}, {translator.TapOptions{Model: `al"ias`}, renamed}} {
		for i := range ends {
			for j := i; j < len(ends); j++ {
				tap := codec.NewTap(c.o)
				out := string(tap.Batch([]byte(rich[:ends[i]])))
				out += string(tap.Batch([]byte(rich[ends[i]:ends[j]])))
				out += string(tap.Batch([]byte(rich[ends[j]:])))
				if out != c.want {
					t.Fatalf("cut at %d and %d: got\n%s", ends[i], ends[j], out)
				}
				tokens, estimated := tap.Tokens()
				if st := tap.Status(); !st.Started || !st.Content || !st.Ended || st.Err != nil || st.Broken != nil || tokens != richTokens || estimated {
					t.Fatalf("cut at %d and %d: %+v %+v", ends[i], ends[j], st, tokens)
				}
			}
		}
	}
}

func TestTap_Status(t *testing.T) {
	block := ev(`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`)
	hello := ev(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hello"}}`)
	failed := ev(`{"type":"error","error":{"type":"overloaded_error","message":"busy"}}`)
	for _, c := range []struct {
		why, in, out                    string
		started, content, ended, failed bool
	}{
		{"a start", started, started, true, false, false, false},
		{"pings and empty blocks", started + ev(`{"type":"ping"}`) + block + ev(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""}}`), "=", true, false, false, false},
		{"text", started + block + hello, "=", true, true, false, false},
		{"an empty answer", started + ended, "=", true, true, true, false},
		{"an event of the future", started + ev(`{"type":"future"}`), "=", true, true, false, false},
		{"text before a start", hello + ended, "=", false, false, false, false},
		{"a start that is none", "event: message_start\ndata: x\n\n" + hello, "=", false, false, false, false},
		{"text that is no JSON", started + "event: content_block_delta\ndata: x\n\n", "=", true, false, false, false},
		{"an error in place of an answer", started + block + failed, started + block, true, false, true, true},
		{"an error at first", failed, "", false, false, true, true},
		{"an error in an answer", started + hello + failed, "=", true, true, true, true},
		{"what follows an end", started + hello + ended + failed, "=", true, true, true, false},
		{"an error without a type", started + hello + "event: error\ndata: x\n\n", "=", true, true, true, true},
	} {
		tap := codec.NewTap(translator.TapOptions{ID: "r"})
		out, want := tap.Batch([]byte(c.in)), c.out
		if want == "=" {
			want = c.in
		}
		st := tap.Status()
		if string(out) != want || st.Started != c.started || st.Content != c.content || st.Ended != c.ended || (st.Err != nil) != c.failed || st.Broken != nil {
			t.Errorf("%s: %+v\n%s", c.why, st, out)
		}
		if st.Err != nil && (st.Err.Type == "" || st.Err.Message == "" || st.Err.Status < 500) {
			t.Errorf("%s: %+v", c.why, st.Err)
		}
		byEvent := codec.NewTap(translator.TapOptions{ID: "r"})
		var all []byte
		for rest := []byte(c.in); len(rest) > 0; {
			e, next, _ := sse.Cut(rest)
			all = append(all, byEvent.Batch(e.Raw)...)
			rest = next
		}
		if s := byEvent.Status(); string(all) != want || s.Content != c.content || s.Ended != c.ended {
			t.Errorf("%s, event by event: %+v\n%s", c.why, s, all)
		}
		fail := tap.Fail(&translator.Error{Type: "api_error", Message: "cut"})
		if want := ev(`{"type":"error","error":{"type":"api_error","message":"cut"},"request_id":"r"}`); string(fail) != want {
			t.Errorf("got %s", fail)
		}
	}
	tap := codec.NewTap(translator.TapOptions{})
	tap.Batch([]byte(started + hello + strings.Replace(hello, "hello", strings.Repeat("hello", 100), 1)))
	if tokens, estimated := tap.Tokens(); !estimated || tokens.Output < 100 || tokens.Output > 160 {
		t.Errorf("505 bytes are %d tokens", tokens.Output)
	}
}

func TestPassReply(t *testing.T) {
	out, tokens, estimated, err := codec.PassReply([]byte(richReply), translator.TapOptions{})
	if err != nil || string(out) != richReply || tokens.Tokens != richTokens || estimated {
		t.Errorf("%v %+v %v\n%s", err, tokens, estimated, out)
	}
	out, _, _, err = codec.PassReply([]byte(richReply), translator.TapOptions{Model: "x\""})
	if want := strings.Replace(richReply, `"m-up"`, `"x\""`, 1); err != nil || string(out) != want {
		t.Errorf("%v\n%s", err, out)
	}
	_, _, _, err = codec.PassReply([]byte(`{"type":"error","error":{"type":"overloaded_error","message":"busy"}}`), translator.TapOptions{})
	var e *translator.Error
	if !errors.As(err, &e) || e.Status != 529 || e.Message != "busy" {
		t.Errorf("got %v", err)
	}
	for _, bad := range []string{"", "[]", "<html>", `{"type":"a","type":"b"}`} {
		if _, _, _, err := codec.PassReply([]byte(bad), translator.TapOptions{}); err == nil || errors.As(err, &e) {
			t.Errorf("%s passes", bad)
		}
	}
	if out, _, estimated, err := codec.PassReply([]byte(`{"input_tokens":3}`), translator.TapOptions{Model: "x"}); err != nil || string(out) != `{"input_tokens":3}` || !estimated {
		t.Errorf("a count: %s, %v", out, err)
	}
}

const delta = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" harbour\"}}\n\n"

// begunTap is one past its first content.
func begunTap() translator.Stream {
	tap := codec.NewTap(translator.TapOptions{Model: "x"})
	tap.Batch([]byte(started + delta))
	return tap
}

// begunPipe is a Source, a Builder and a Sink past their first content.
func begunPipe() func(batch []byte) []byte {
	var out []byte
	sink := codec.NewSink(translator.ReplyOptions{ID: "r", Model: "m"})
	b := translator.NewBuilder(func(e *translator.Event) { out = sink.Event(out, e) })
	src := codec.NewSource(b)
	return func(batch []byte) []byte {
		out = out[:0]
		for {
			e, rest, ok := sse.Cut(batch)
			if !ok {
				return out
			}
			batch = rest
			if src.Event(e) != nil {
				return nil
			}
		}
	}
}

func TestAllocations(t *testing.T) {
	batch := []byte(strings.Repeat(delta, 10))
	tap := begunTap()
	if got := tap.Batch(batch); &got[0] != &batch[0] {
		t.Error("the tap copies what it does not change")
	}
	if n := testing.AllocsPerRun(100, func() { tap.Batch(batch) }); n > 0 {
		t.Errorf("the tap allocates %v times in ten events", n)
	}
	pipe := begunPipe()
	pipe([]byte(started + delta))
	if got := pipe(batch); !bytes.Equal(got, batch) {
		t.Errorf("got %s", got)
	}
	if n := testing.AllocsPerRun(100, func() { pipe(batch) }); n > 0 {
		t.Errorf("source and sink allocate %v times in ten events", n)
	}
}

func BenchmarkTap(b *testing.B) {
	tap, batch := begunTap(), []byte(delta)
	b.ReportAllocs()
	for b.Loop() {
		tap.Batch(batch)
	}
}

func BenchmarkPipe(b *testing.B) {
	pipe, batch := begunPipe(), []byte(delta)
	pipe([]byte(started + delta))
	b.ReportAllocs()
	for b.Loop() {
		pipe(batch)
	}
}

func BenchmarkDecodeEncode1MiB(b *testing.B) {
	turn := `{"role":"user","content":[{"type":"text","text":"` + strings.Repeat("Some words of a turn. ", 100) + `"}]},{"role":"assistant","content":"` + strings.Repeat("An answer. ", 200) + `"},`
	body := []byte(`{"model":"m","max_tokens":5,"messages":[` + strings.Repeat(turn, (1<<20)/len(turn)) + `{"role":"user","content":"q"}]}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		r, err := codec.Decode(body)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := codec.Encode(r, translator.Target{Model: "x"}); err != nil {
			b.Fatal(err)
		}
	}
}
