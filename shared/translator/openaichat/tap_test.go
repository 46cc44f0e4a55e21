package openaichat_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"sluice/shared/sse"
	"sluice/shared/translator"
)

// passed gives a stream to a tap, an event at a time or as one batch.
func passed(o translator.TapOptions, in string, one bool) (string, translator.Stream) {
	tap := codec.NewTap(o)
	if !one {
		return string(tap.Batch([]byte(in))), tap
	}
	var out []byte
	rest := []byte(in)
	for {
		ev, next, ok := sse.Cut(rest)
		if !ok {
			return string(out), tap
		}
		rest = next
		out = append(out, tap.Batch(ev.Raw)...)
	}
}

// What passes is not touched, and what it used is known.
func TestTapPasses(t *testing.T) {
	for _, c := range streams {
		for _, one := range []bool{true, false} {
			out, tap := passed(translator.TapOptions{}, c.in+"data: after the end\n\n", one)
			if out != c.in {
				t.Errorf("%s: changed to %q", c.why, out)
			}
			tokens, estimated := tap.Tokens()
			if estimated || tokens.Input != 30 || tokens.CacheRead != 60 || tokens.CacheWrite5m != 10 || tokens.Output != 9 {
				t.Errorf("%s: tokens %+v, estimated %v", c.why, tokens, estimated)
			}
			if st := tap.Status(); !st.Started || !st.Content || !st.Ended || st.Err != nil || st.Broken != nil {
				t.Errorf("%s: status %+v", c.why, st)
			}
		}
	}
}

// OpenRouter's usage comes in a chunk with an empty delta, after the one with the finish_reason, which is not read when
// content has come: what it says is still the last word.
func TestTapUsageBesideAnEmptyDelta(t *testing.T) {
	chunk := func(delta, finish, usage string) string {
		return `{"id":"u","model":"m","choices":[{"index":0,"delta":` + delta + `,"finish_reason":` + finish + `}]` + usage + `}`
	}
	text := `{"content":"` + strings.Repeat("much longer than its tokens ", 40) + `"}`
	in := events(chunk(`{"content":"x"}`, "null", ""), chunk(text, "null", ""), chunk(`{}`, `"stop"`, ""), chunk(`{"content":""}`, "null", `,"usage":{"prompt_tokens":5,"completion_tokens":9}`))
	for _, one := range []bool{true, false} {
		_, tap := passed(translator.TapOptions{}, in+"data: [DONE]\n\n", one)
		if tokens, estimated := tap.Tokens(); estimated || tokens.Input != 5 || tokens.Output != 9 {
			t.Errorf("one by one %v: tokens %+v, estimated %v", one, tokens, estimated)
		}
	}
}

// Cut off anywhere, a stream has not ended, and its tokens are an estimate until the usage came.
func TestTapCuts(t *testing.T) {
	for _, c := range streams {
		for i := range len(c.in) {
			out, tap := passed(translator.TapOptions{}, c.in[:i], true)
			if !strings.HasPrefix(c.in, out) || tap.Status().Ended || tap.Status().Broken != nil {
				t.Fatalf("%s cut at %d: %q, %+v", c.why, i, out, tap.Status())
			}
			if _, estimated := tap.Tokens(); !estimated && !strings.Contains(out, `"prompt_tokens"`) {
				t.Fatalf("%s cut at %d: no estimate", c.why, i)
			}
		}
	}
}

func TestTapEdits(t *testing.T) {
	chunk := func(model, usage string) string {
		return `{"id":"u","model":"` + model + `","choices":[{"index":0,"delta":{"content":"model \"usage\":null"},"finish_reason":null}]` + usage + `}`
	}
	for _, c := range []struct {
		why      string
		o        translator.TapOptions
		in, want string
	}{
		{"another name", translator.TapOptions{Model: "client"}, events(chunk("node", ""), chunk("client", "")), events(chunk("client", ""), chunk("client", ""))},
		{"hidden", translator.TapOptions{HideUsage: true}, events(chunk("m", `,"usage":null`), usageChunk), events(chunk("m", ""))},
		{"hidden from the chunk that has choices, too", translator.TapOptions{HideUsage: true}, events(chunk("m", `,"usage":{"completion_tokens":1}`)), events(chunk("m", ""))},
		{"hidden, no choices at all", translator.TapOptions{HideUsage: true}, events(chunk("m", ""), `{"usage":{"completion_tokens":1}}`), events(chunk("m", ""))},
		{"both", translator.TapOptions{Model: "client", HideUsage: true}, events(chunk("node", `,"usage":null`), chunk("node", ` , "usage" : null `), usageChunk), events(chunk("client", ""), chunk("client", " "))},
		{"usage first", translator.TapOptions{Model: "c", HideUsage: true}, events(`{ "usage": null, "model":"n","choices":[{"delta":{"content":"x"}}]}`), events(`{ "model":"c","choices":[{"delta":{"content":"x"}}]}`)},
		{"usage before the rest of the node's name", translator.TapOptions{Model: "c", HideUsage: true}, events(`{"id":"i","usage":null,"model":"n","choices":[{"delta":{"content":"x"}}]}`), events(`{"id":"i","model":"c","choices":[{"delta":{"content":"x"}}]}`)},
		{"other lines and line ends stay", translator.TapOptions{Model: "c"}, "id: 7\r\ndata:" + chunk("n", "") + "\r\n\r\n: note\r\n\r\ndata: [DONE]\r\n\r\n",
			"id: 7\r\ndata:" + chunk("c", "") + "\r\n\r\n: note\r\n\r\ndata: [DONE]\r\n\r\n"},
		{"several data lines become one", translator.TapOptions{Model: "c"}, "data: {\"model\":\"n\",\ndata: \"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\ndata: [DONE]\n\n",
			"data: {\"model\":\"c\",\ndata: \"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\ndata: [DONE]\n\n"},
	} {
		for _, one := range []bool{true, false} {
			out, tap := passed(c.o, c.in, one)
			if out != c.want {
				t.Errorf("%s (one by one: %v):\n%s\nwant\n%s", c.why, one, out, c.want)
			}
			if !tap.Status().Ended {
				t.Errorf("%s: not ended", c.why)
			}
		}
	}
}

func TestTapStatus(t *testing.T) {
	role := chunkOf(`{"role":"assistant","content":"","tool_calls":[],"refusal":null}`, "null")
	text := chunkOf(`{"content":"x"}`, "null")
	for _, c := range []struct {
		why, in                 string
		started, content, ended bool
		err, broken             bool
	}{
		{"a comment", ": ping\n\n", false, false, false, false, false},
		{"the role", unended(role), true, false, false, false, false},
		{"content", unended(role, text), true, true, false, false, false},
		{"a call", unended(chunkOf(`{"tool_calls":[{"index":0}]}`, "null")), true, true, false, false, false},
		{"reasoning", unended(chunkOf(`{"reasoning_content":"x"}`, "null")), true, true, false, false, false},
		{"a finish alone", unended(chunkOf(`{}`, `"stop"`)), true, true, false, false, false},
		{"an error in place of an answer", unended(`{"error":{"message":"x"}}`), false, false, true, true, false},
		{"an error after content", unended(text, `{"error":"x"}`), true, true, true, true, false},
		{"an error by name", unended(text) + "event: error\ndata: {\"message\":\"x\"}\n\n", true, true, true, true, false},
		{"no JSON", unended(`hello`), false, false, false, false, true},
		{"no JSON after the role", unended(role, `{"a":`), true, false, false, false, true},
		{"no JSON after content passes", unended(text, `{"a":`), true, true, false, false, false},
		{"another dialect", unended(`{"type":"message_start"}`), false, false, false, false, true},
		{"an end without an answer", events(), false, false, false, false, true},
		{"an end without content", events(role), true, false, false, false, true},
		{"the end", events(text), true, true, true, false, false},
	} {
		for _, one := range []bool{true, false} {
			_, tap := passed(translator.TapOptions{}, c.in, one)
			st := tap.Status()
			if st.Started != c.started || st.Content != c.content || st.Ended != c.ended || (st.Err != nil) != c.err || (st.Broken != nil) != c.broken {
				t.Errorf("%s: %+v", c.why, *st)
			}
		}
	}
	in := unended(text, `{"error":{"message":"boom","code":503}}`)
	out, tap := passed(translator.TapOptions{}, in, true)
	if e := tap.Status().Err; out != in || e.Status != 503 || e.Message != "boom" {
		t.Errorf("an error after content passes: %q, %+v", out, e)
	}
	if out, _ := passed(translator.TapOptions{}, unended(`{"error":"x"}`), true); out != "" {
		t.Errorf("one in place of an answer does not: %q", out)
	}
	if got := string(tap.Fail(&translator.Error{Status: 500, Message: "m"})); got != `data: {"error":{"message":"m","type":"server_error","param":null,"code":"server_error"}}`+"\n\n" {
		t.Errorf("Fail: %s", got)
	}
}

// Without the upstream's count the output is a quarter of what was said, parsed or not.
func TestTapEstimate(t *testing.T) {
	long := chunkOf(`{"content":"`+strings.Repeat("x", 400)+`"}`, "null")
	_, tap := passed(translator.TapOptions{}, unended(long, long, long), true)
	if tokens, estimated := tap.Tokens(); !estimated || tokens.Output != 300 {
		t.Errorf("%+v, estimated %v", tokens, estimated)
	}
}

func TestPassReply(t *testing.T) {
	body := []byte(`{"id":"x","model":"node","choices":[{"index":0,"message":{"content":"` + strings.Repeat("x", 40) + `"}}],"usage":{"prompt_tokens":5,"completion_tokens":2}}`)
	out, tokens, estimated, err := codec.PassReply(body, translator.TapOptions{Model: "client", HideUsage: true})
	if want := bytes.Replace(body, []byte(`"node"`), []byte(`"client"`), 1); err != nil || estimated || !bytes.Equal(out, want) || tokens.Input != 5 || tokens.Output != 2 {
		t.Errorf("%s, %+v, %v, %v", out, tokens, estimated, err)
	}
	bare := bytes.Replace(body, []byte(`"completion_tokens":2`), []byte(`"completion_tokens":-2`), 1)
	out, tokens, estimated, err = codec.PassReply(bare, translator.TapOptions{Model: "node"})
	if err != nil || !estimated || tokens.Output != 10 || &out[0] != &bare[0] {
		t.Errorf("a hostile count: %+v, %v, %v", tokens, estimated, err)
	}
	var e *translator.Error
	if _, _, _, err := codec.PassReply([]byte(`{"error":"no"}`), translator.TapOptions{}); !errors.As(err, &e) || e.Message != "no" {
		t.Errorf("an error: %v", err)
	}
	if _, _, _, err := codec.PassReply([]byte(`<html>`), translator.TapOptions{}); err == nil || errors.As(err, &e) && e == nil {
		t.Errorf("no JSON: %v", err)
	}
}
