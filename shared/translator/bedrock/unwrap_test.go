package bedrock_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"sluice/shared/eventstream"
	"sluice/shared/sse"
	"sluice/shared/translator"
	"sluice/shared/translator/anthropic"
	"sluice/shared/translator/bedrock"
)

// unwrap reads a stream to its end and checks that errors stay.
func unwrap(t testing.TB, src io.Reader) (string, error) {
	t.Helper()
	u := bedrock.Unwrap(src, 1<<20)
	defer u.Release()
	var out []byte
	for {
		batch, err := u.Batch()
		if err != nil {
			if again, err2 := u.Batch(); err2 != err || len(batch)+len(again) > 0 {
				t.Fatalf("%q with %v, then %v", batch, err, err2)
			}
			return string(out), err
		}
		if len(batch) == 0 || !bytes.HasSuffix(batch, []byte("\n\n")) {
			t.Fatalf("a batch that is not of whole events: %q", batch)
		}
		out = append(out, batch...)
	}
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

const textDelta = `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\u00e9\n1.0"}}`

// What stands in a frame comes out byte by byte.
func TestUnwrap(t *testing.T) {
	raw := func(payload string) []byte { return frame(t, "event", ":event-type", "chunk", payload) }
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	event := func(name, data string) string { return "event: " + name + "\ndata: " + data + "\n\n" }
	for _, c := range []struct {
		why  string
		in   []byte
		want string
		err  error
	}{
		{"a delta", chunk(t, textDelta), event("content_block_delta", textDelta), io.EOF},
		{"no padding", raw(`{"bytes":"` + b64(textDelta) + `"}`), event("content_block_delta", textDelta), io.EOF},
		{"members in another order, escaped", raw(`{ "p":"x", "bytes" : "` + strings.ReplaceAll(b64(`{"type":"ping","x":"???>>>"}`), "/", `\/`) + `"}`), event("ping", `{"type":"ping","x":"???>>>"}`), io.EOF},
		{"the type is not the first member", chunk(t, `{"index":0, "type":"content_block_stop"}`), event("content_block_stop", `{"index":0, "type":"content_block_stop"}`), io.EOF},
		{"a type that is new", chunk(t, `{"type":"novelty"}`), event("novelty", `{"type":"novelty"}`), io.EOF},
		{"the metrics are cut out, at the end", chunk(t, `{"type":"message_stop","amazon-bedrock-invocationMetrics":{"a":[1,2]}}`), event("message_stop", `{"type":"message_stop"}`), io.EOF},
		{"at the beginning", chunk(t, `{"amazon-bedrock-invocationMetrics":{} , "type":"message_stop"}`), event("message_stop", `{ "type":"message_stop"}`), io.EOF},
		{"in the middle", chunk(t, `{"type":"message_stop","amazon-bedrock-invocationMetrics":null,"x":1}`), event("message_stop", `{"type":"message_stop","x":1}`), io.EOF},
		{"a text that speaks of them stays", chunk(t, `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"\"amazon-bedrock-invocationMetrics\":1","amazon-bedrock-invocationMetrics":1}}`),
			event("content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"\"amazon-bedrock-invocationMetrics\":1","amazon-bedrock-invocationMetrics":1}}`), io.EOF},
		{"JSON of several lines", chunk(t, "{\"type\":\"content_block_delta\",\n\"index\":0}"), "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\ndata: \"index\":0}\n\n", io.EOF},
		{"an event that is new is passed over", join(frame(t, "event", ":event-type", "novelty", `{}`), chunk(t, textDelta)), event("content_block_delta", textDelta), io.EOF},
		{"nothing", nil, "", io.EOF},
		{"an exception in place of an answer", frame(t, "exception", ":exception-type", "throttlingException", `{"message":"m"}`), event("error", `{"type":"error","error":{"type":"rate_limit_error","message":"the upstream account is asked too often; try again shortly"}}`), io.EOF},
		{"an exception within one, and what follows it", join(chunk(t, textDelta), frame(t, "exception", ":exception-type", "modelStreamErrorException", `{"message":"bad"}`), chunk(t, textDelta)),
			event("content_block_delta", textDelta) + event("error", `{"type":"error","error":{"type":"api_error","message":"bad"}}`), io.EOF},
		{"no capacity", frame(t, "exception", ":exception-type", "serviceUnavailableException", `{}`), event("error", `{"type":"error","error":{"type":"overloaded_error","message":"the upstream has no capacity for this model at the moment; try again shortly, or name another model"}}`), io.EOF},
		{"an error, not modelled", frame(t, "error", ":error-code", "InternalFailure", ``), event("error", `{"type":"error","error":{"type":"api_error","message":"the upstream failed; try again"}}`), io.EOF},
		{"no base64", join(chunk(t, textDelta), raw(`{"bytes":"%%%%"}`)), event("content_block_delta", textDelta), nil},
		{"no bytes", raw(`{"p":"x"}`), "", nil},
		{"bytes that are no text", raw(`{"bytes":1}`), "", nil},
		{"no JSON within", chunk(t, `x`), "", nil},
		{"no type within", chunk(t, `{"type":1}`), "", nil},
		{"a type that forges lines", chunk(t, `{"type":"a\n\nevent: message_stop"}`), "event: a  event: message_stop\ndata: {\"type\":\"a\\n\\nevent: message_stop\"}\n\n", io.EOF},
	} {
		t.Run(c.why, func(t *testing.T) {
			got, err := unwrap(t, bytes.NewReader(c.in))
			if got != c.want || c.err != nil && err != c.err || c.err == nil && (err == nil || err == io.EOF || !strings.Contains(err.Error(), "without an event")) {
				t.Errorf("%v\ngot\n%s\nwant\n%s", err, got, c.want)
			}
		})
	}
}

// A corrupt frame is an error behind the events before it, never an end.
func TestUnwrap_Corrupt(t *testing.T) {
	bad := chunk(t, textDelta)
	bad[len(bad)-20] ^= 1
	got, err := unwrap(t, bytes.NewReader(join(chunk(t, textDelta), bad, chunk(t, textDelta))))
	if !errors.Is(err, eventstream.ErrCorrupt) || strings.Count(got, "event: ") != 1 {
		t.Errorf("%v: %s", err, got)
	}
	if _, err := unwrap(t, bytes.NewReader(chunk(t, `{"type":"`+strings.Repeat("x", 1<<20)+`"}`))); err != eventstream.ErrTooLarge {
		t.Errorf("a frame beyond the bound: %v", err)
	}
	own := errors.New("own")
	if got, err := unwrap(t, io.MultiReader(bytes.NewReader(chunk(t, textDelta)), iotest.ErrReader(own))); err != own || !strings.Contains(got, "delta") {
		t.Errorf("%v: %s", err, got)
	}
	u := bedrock.Unwrap(bytes.NewReader(bad), 1<<20)
	u.Release()
	u.Release()
	if _, err := u.Batch(); err == nil || err == io.EOF {
		t.Errorf("after Release: %v", err)
	}
}

// A stream reads the same however it arrives; it ends cleanly at the border of a frame only.
func TestUnwrap_CutAtEveryByte(t *testing.T) {
	frames := [][]byte{chunk(t, `{"type":"message_start","message":{}}`), chunk(t, textDelta), chunk(t, `{"type":"message_stop","amazon-bedrock-invocationMetrics":{}}`)}
	in := join(frames...)
	border := map[int]bool{0: true}
	for i, at := 0, 0; i < len(frames); i++ {
		at += len(frames[i])
		border[at] = true
	}
	want, _ := unwrap(t, bytes.NewReader(in))
	for k := 0; k <= len(in); k++ {
		for way, src := range map[string]io.Reader{
			"in two reads": io.MultiReader(bytes.NewReader(in[:k]), bytes.NewReader(in[k:])),
			"byte by byte": io.MultiReader(iotest.OneByteReader(bytes.NewReader(in[:k])), bytes.NewReader(in[k:])),
			"with the end": iotest.DataErrReader(io.MultiReader(bytes.NewReader(in[:k]), bytes.NewReader(in[k:]))),
		} {
			if got, err := unwrap(t, src); err != io.EOF || got != want {
				t.Fatalf("%s, at %d: %v\n%s", way, k, err, got)
			}
		}
		end := io.ErrUnexpectedEOF
		if border[k] {
			end = io.EOF
		}
		if got, err := unwrap(t, bytes.NewReader(in[:k])); err != end || !strings.HasPrefix(want, got) {
			t.Fatalf("ended at %d: %v\n%s", k, err, got)
		}
	}
}

// D9, D10, D12: the tap of the Messages API takes what comes out as it takes the API's own stream.
func TestUnwrap_Tap(t *testing.T) {
	text, frames := answer200(t)
	got, err := unwrap(t, bytes.NewReader(frames))
	if err != io.EOF || got != string(text) {
		t.Fatalf("%v: %d bytes, want %d", err, len(got), len(text))
	}
	tap := anthropic.Codec{}.NewTap(translator.TapOptions{ID: "r1"})
	if out := tap.Batch([]byte(got)); string(out) != got || !tap.Status().Ended || tap.Status().Err != nil {
		t.Errorf("%+v", tap.Status())
	}
	tap = anthropic.Codec{}.NewTap(translator.TapOptions{ID: "r1"})
	got, _ = unwrap(t, bytes.NewReader(stream(t, `!throttlingException {"message":"m"}`)))
	if tap.Batch([]byte(got)); tap.Status().Err == nil || tap.Status().Err.Status != 429 || tap.Status().Content {
		t.Errorf("%+v", tap.Status())
	}
}

// endless gives the same bytes for ever.
type endless struct {
	b  []byte
	at int
}

func (e *endless) Read(dst []byte) (int, error) {
	n := copy(dst, e.b[e.at:])
	e.at = (e.at + n) % len(e.b)
	return n, nil
}

func TestUnwrap_Allocs(t *testing.T) {
	u := bedrock.Unwrap(&endless{b: chunk(t, textDelta)}, 1<<20)
	defer u.Release()
	for range 10 {
		if _, err := u.Batch(); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(500, func() { _, _ = u.Batch() }); n > 0 {
		t.Errorf("%v allocations for a batch, want none", n)
	}
}

// Whatever comes, what goes out is whole events of JSON objects, and an end that is not the stream's own is an error.
func FuzzUnwrap(f *testing.F) {
	_, frames := answer200(f)
	f.Add(frames[:2000])
	f.Add(join(chunk(f, `{"type":"message_stop","amazon-bedrock-invocationMetrics":{}}`), frame(f, "exception", ":exception-type", "x", `{}`)))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := unwrap(t, bytes.NewReader(in))
		checkEvents(t, got)
		if again, err2 := unwrap(t, iotest.OneByteReader(bytes.NewReader(in))); again != got || (err == io.EOF) != (err2 == io.EOF) {
			t.Fatalf("byte by byte: %v and %v\n%q\n%q", err, err2, got, again)
		}
	})
}

// FuzzUnwrap_Payload is the same within frames that are good.
func FuzzUnwrap_Payload(f *testing.F) {
	f.Add([]byte(textDelta), []byte(`{"bytes":"e30=","p":""}`))
	f.Add([]byte(`{"amazon-bedrock-invocationMetrics":1,"type":"message_stop"}`), []byte(`{"p":"","bytes":"\u0065"}`))
	f.Fuzz(func(t *testing.T, data, payload []byte) {
		got, err := unwrap(t, bytes.NewReader(chunk(t, string(data))))
		checkEvents(t, got)
		var was map[string]json.RawMessage
		if json.Unmarshal(data, &was) != nil || err != io.EOF {
			return
		}
		ev, rest, ok := sse.Cut([]byte(got))
		if !ok || len(rest) > 0 {
			t.Fatalf("%q", got)
		}
		if bytes.HasPrefix(data, []byte(`{"type":"content_block_delta",`)) {
			return
		}
		var is map[string]json.RawMessage
		if err := json.Unmarshal(ev.Data, &is); err != nil {
			t.Fatalf("%q became %q", data, ev.Data)
		}
		delete(was, "amazon-bedrock-invocationMetrics")
		delete(is, "amazon-bedrock-invocationMetrics") // there twice
		if len(was) != len(is) {
			t.Fatalf("%q became %q", data, ev.Data)
		}
		got, _ = unwrap(t, bytes.NewReader(frame(t, "event", ":event-type", "chunk", string(payload))))
		checkEvents(t, got)
	})
}

func checkEvents(t *testing.T, got string) {
	t.Helper()
	for in := []byte(got); len(in) > 0; {
		ev, rest, ok := sse.Cut(in)
		if !ok || len(ev.Name) == 0 && !bytes.HasPrefix(in, []byte("event: ")) || ev.Data == nil {
			t.Fatalf("%q is no event", in)
		}
		in = rest
	}
}
