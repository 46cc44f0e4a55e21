package openaichat_test

import (
	"encoding/json"
	"errors"
	"testing"

	"sluice/shared/sse"
	"sluice/shared/translator"
)

// What is decoded can be encoded, into JSON that decodes again.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(bodyWith(`"tools":[{"type":"function","name":"f"}],"tool_choice":{"type":"function","name":"f"},"stop":["a"],"n":1,"x":{}`)))
	f.Add([]byte(message(`{"role":"assistant","content":null,"reasoning_details":[{"type":"reasoning.text","signature":"s"}],"tool_calls":[{"id":"c","function":{"name":"f","arguments":"{"}}]},{"role":"tool","tool_call_id":"c","content":[{"type":"image_url","image_url":"data:image/png;base64,AA=="}]}`)))
	f.Add([]byte(message(`{"role":"user","content":[{"type":"file","file":{"file_data":"data:text\/plain;base64,aGk=","filename":"\u00e9"}}]}`)))
	f.Add([]byte(bodyWith(`"functions":[{"name":"f"}],"function_call":"auto","response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"}}}`)))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := codec.Decode(body)
		if err != nil {
			var fe *translator.FieldError
			if !errors.As(err, &fe) || fe.Message == "" {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		e, err := codec.Encode(r, translator.Target{Model: "gpt-5"})
		if err != nil {
			return
		}
		if !json.Valid(e.Body) {
			t.Fatalf("%s", e.Body)
		}
	})
}

// Whatever an upstream streams, the events keep their grammar, the client's stream is JSON, and the tap does not panic.
func FuzzSource(f *testing.F) {
	for _, c := range streams {
		f.Add([]byte(c.in))
	}
	f.Add([]byte(unended(`{"error":{"message":"x"}}`)))
	f.Fuzz(func(t *testing.T, in []byte) {
		l := newListener()
		sink := codec.NewSink(options)
		var out []byte
		l.b = translator.NewBuilder(func(e *translator.Event) {
			l.event(e)
			out = sink.Event(out, e)
		})
		err := l.feed(string(in))
		if l.bad != "" {
			t.Fatal(l.bad)
		}
		if st := l.b.Status(); err != nil && st.Ended {
			t.Fatalf("ended and broken: %v", err)
		}
		for rest := out; len(rest) > 0; {
			ev, next, ok := sse.Cut(rest)
			if !ok || string(ev.Data) != "[DONE]" && !json.Valid(ev.Data) {
				t.Fatalf("the client gets %q", rest)
			}
			rest = next
		}
		codec.NewTap(translator.TapOptions{Model: "m", HideUsage: true, ID: "i"}).Batch(in)
		passed(translator.TapOptions{}, string(in), true)
	})
}

// What is read as an answer is written as JSON that reads the same.
func FuzzReadReply(f *testing.F) {
	f.Add([]byte(`{"choices":[{"message":{"content":"hi","tool_calls":[{"id":"a","function":{"name":"f","arguments":"{\"x\":1}"}}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}`))
	f.Add([]byte(`{"choices":[{"message":{"content":[{"type":"text","text":"x"}],"refusal":"no","annotations":[{"url_citation":{"url":"u","start_index":1}}]},"logprobs":{"content":[{}]}}]}`))
	f.Add([]byte(`{"error":{"message":"x","code":429}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		l := newListener()
		_, _, _, passErr := codec.PassReply(body, translator.TapOptions{Model: "m"})
		if err := codec.ReadReply(body, l.b); err != nil {
			return
		}
		if passErr != nil || l.bad != "" || !l.b.Status().Ended {
			t.Fatalf("pass %v, grammar %s, status %+v", passErr, l.bad, l.b.Status())
		}
		out := codec.AppendReply(nil, &l.c.Reply, options)
		if !json.Valid(out) {
			t.Fatalf("%s", out)
		}
		again := newListener()
		if err := codec.ReadReply(out, again.b); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	})
}
