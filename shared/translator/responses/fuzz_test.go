package responses_test

import (
	"encoding/json"
	"errors"
	"testing"

	"sluice/shared/core"
	"sluice/shared/sse"
	"sluice/shared/translator"
)

// FuzzDecode: a body is taken or refused with a FieldError; what is taken can be encoded to JSON or is refused likewise.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"model":"m","input":"x"}`))
	f.Add([]byte(`{"input":[{"role":"user","content":[{"type":"input_image","image_url":"data:image/png;base64,AA"}]},{"type":"reasoning","summary":[],"encrypted_content":"x"},
		{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":[]},
		{"type":"local_shell_call","call_id":"d","action":{"command":[]}}],"tools":[{"type":"namespace","name":"a","tools":[{"type":"function","name":"f"}]},{"type":"local_shell"},
		{"type":"custom","name":"c"}],"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"custom","name":"c"}]},"text":{"format":{"type":"json_schema","schema":{"type":"object"}}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := codec.Decode(body)
		var fe *translator.FieldError
		if err != nil {
			if !errors.As(err, &fe) {
				t.Fatalf("%v is no FieldError", err)
			}
			return
		}
		for _, from := range []core.Dialect{core.DialectOpenAIResponses, core.DialectAnthropic} {
			r.From = from
			e, err := codec.Encode(r, translator.Target{Model: "gpt-5", Same: from != core.DialectAnthropic})
			if err != nil {
				if !errors.As(err, &fe) {
					t.Fatalf("%v is no FieldError", err)
				}
				continue
			}
			if !json.Valid(e.Body) {
				t.Fatalf("not JSON: %s", e.Body)
			}
		}
		out := codec.NewSink(translator.ReplyOptions{Request: r}).Event(nil, &translator.Event{Type: translator.EvStart})
		for len(out) > 0 {
			ev, rest, ok := sse.Cut(out)
			if !ok || !json.Valid(ev.Data) {
				t.Fatalf("not an event: %q", out)
			}
			out = rest
		}
	})
}

// FuzzSource: any stream is read without a panic, makes whole events for a client, and reads alike in any pieces; the tap
// never passes more than it was given.
func FuzzSource(f *testing.F) {
	for _, c := range streams {
		f.Add([]byte(events(c.data...)))
	}
	f.Add([]byte(events(created, `{"type":"response.failed","response":{"error":{}}}`)))
	f.Fuzz(func(t *testing.T, stream []byte) {
		l, b := read(string(stream), whole)
		if one, ob := read(string(stream), bytewise); one.String() != l.String() || ob.Status().Ended != b.Status().Ended {
			// a CR at the end of a piece counts as a line end by itself, as sse.Cut says
			if !containsCR(stream) {
				t.Fatalf("byte by byte it reads\n%s\nnot\n%s", one, l)
			}
		}
		pipe := translator.NewPipe(codec, codec.NewSink(translator.ReplyOptions{ID: "x"}), translator.Enforce{})
		out := pipe.Batch(stream)
		for len(out) > 0 {
			ev, rest, ok := sse.Cut(out)
			if !ok || !json.Valid(ev.Data) {
				t.Fatalf("not an event: %q", out)
			}
			out = rest
		}
		tap := codec.NewTap(translator.TapOptions{})
		if got := tap.Batch(stream); len(got) > len(stream) || string(got) != string(stream[:len(got)]) {
			t.Fatalf("the tap made %q", got)
		}
		codec.NewTap(translator.TapOptions{Model: "m"}).Batch(stream)
	})
}

func containsCR(b []byte) bool {
	for _, c := range b {
		if c == '\r' {
			return true
		}
	}
	return false
}

// FuzzReadReply: any body is an answer, an error of the upstream's, or none of this dialect; what is read can be written.
func FuzzReadReply(f *testing.F) {
	f.Add([]byte(`{"id":"r","status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"x"}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}]}`))
	f.Add([]byte(`{"status":"failed","output":[],"error":{"code":"x","message":"m"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var c translator.Collector
		if err := codec.ReadReply(body, translator.NewBuilder(c.Event)); err == nil {
			if out := codec.AppendReply(nil, &c.Reply, translator.ReplyOptions{}); !json.Valid(out) {
				t.Fatalf("not JSON: %s", out)
			}
		}
		if _, _, _, err := codec.PassReply(body, translator.TapOptions{Model: "m"}); err != nil && err.Error() == "" {
			t.Fatal("an error without words")
		}
		if e := codec.ParseError(500, body); e.Message == "" {
			t.Fatal("an error without a message")
		}
	})
}
