package responses_test

import (
	"errors"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/sse"
	"sluice/shared/translator"
)

// tapped feeds a stream to a tap, event by event or all at once, and returns what came out.
func tapped(o translator.TapOptions, stream string, single bool) (string, translator.Stream) {
	tap := codec.NewTap(o)
	var out strings.Builder
	rest := []byte(stream)
	for len(rest) > 0 {
		n := len(rest)
		if single {
			_, after, ok := sse.Cut(rest)
			if !ok {
				break
			}
			n -= len(after)
		}
		out.Write(tap.Batch(rest[:n]))
		rest = rest[n:]
	}
	return out.String(), tap
}

func TestTap_PassesBytes(t *testing.T) {
	for _, c := range streams {
		for _, stream := range []string{
			events(c.data...),
			strings.ReplaceAll(events(c.data...), "\n", "\r\n"),
			strings.ReplaceAll(events(c.data...), "event: ", "id: 7\n: "),
		} {
			for _, single := range []bool{false, true} {
				out, tap := tapped(translator.TapOptions{}, stream, single)
				if out != stream {
					t.Errorf("%s: the bytes changed:\n%s", c.why, out)
				}
				if st := tap.Status(); !st.Started || !st.Ended || !st.Content || st.Err != nil || st.Broken != nil {
					t.Errorf("%s: the status is %+v", c.why, st)
				}
			}
		}
	}
}

func TestTap_Model(t *testing.T) {
	stream := events(streams[0].data...)
	want := strings.ReplaceAll(stream, `"model":"up"`, `"model":"the \"alias\""`)
	for _, single := range []bool{false, true} {
		if out, _ := tapped(translator.TapOptions{Model: `the "alias"`}, stream, single); out != want {
			t.Errorf("got\n%s", out)
		}
	}
	crlf := strings.ReplaceAll(stream, "\n", "\r\n")
	if out, _ := tapped(translator.TapOptions{Model: "a"}, crlf, false); out != strings.ReplaceAll(crlf, `"model":"up"`, `"model":"a"`) {
		t.Errorf("with CRLF: got\n%s", out)
	}
	lines := "event: response.created\ndata: {\"type\":\"response.created\",\ndata: \"response\":{\"model\":\"up\"}}\n\n"
	if out, _ := tapped(translator.TapOptions{Model: "a"}, lines, false); strings.Contains(out, "up") || strings.Count(out, "data: ") != 2 {
		t.Errorf("of several lines: got\n%s", out)
	}
}

func TestTap_Status(t *testing.T) {
	text := delta("output_text", 0, `"x"`, "")
	for _, c := range []struct {
		why     string
		data    []string
		started bool
		content bool
		ended   bool
		err     int
		passed  int // events
	}{
		{"nothing", nil, false, false, false, 0, 0},
		{"a keep-alive", []string{`{"type":"keepalive"}`}, false, false, false, 0, 1},
		{"a beginning", []string{created, progress}, true, false, false, 0, 2},
		{"the first event is another", []string{text}, true, true, false, 0, 1},
		{"a message that begins", []string{created, item("added", 0, `{"type":"message"}`)}, true, false, false, 0, 2},
		{"an empty delta", []string{created, delta("output_text", 0, `""`, "")}, true, false, false, 0, 2},
		{"text", []string{created, text}, true, true, false, 0, 2},
		{"a call that begins", []string{created, item("added", 0, `{"type":"function_call"}`)}, true, true, false, 0, 2},
		{"an item that is done", []string{created, item("done", 0, `{"type":"reasoning"}`)}, true, true, false, 0, 2},
		{"an end without content", []string{created, finished, text}, true, true, true, 0, 2},
		{"trap streamfailbilling: an error in place of an answer stays here, so that another node may answer", []string{created, `{"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded","message":"m"}}}`}, true, false, true, 429, 1},
		{"the same as an event of its own", []string{created, `{"type":"error","code":"server_error","message":"m"}`}, true, false, true, 500, 1},
		{"an error after content passes", []string{created, text, `{"type":"response.failed","response":{"error":{"code":"server_error","message":"m"}}}`}, true, true, true, 500, 3},
		{"cancelled", []string{created, text, `{"type":"response.cancelled","response":{}}`}, true, true, true, 500, 3},
		{"incomplete", []string{created, `{"type":"response.incomplete","response":{}}`}, true, true, true, 0, 2},
	} {
		for _, single := range []bool{false, true} {
			out, tap := tapped(translator.TapOptions{}, events(c.data...), single)
			st := tap.Status()
			status := 0
			if st.Err != nil {
				status = st.Err.Status
			}
			if st.Started != c.started || st.Content != c.content || st.Ended != c.ended || status != c.err || st.Broken != nil {
				t.Errorf("%s: the status is %+v", c.why, st)
			}
			if n := strings.Count(out, "\n\n"); n != c.passed {
				t.Errorf("%s: %d events passed, want %d:\n%s", c.why, n, c.passed, out)
			}
		}
	}
	out, tap := tapped(translator.TapOptions{}, events(created)+"data: nonsense\n\n"+events(text), false)
	if tap.Status().Broken == nil || out != events(created) {
		t.Errorf("nonsense: %+v, %q", tap.Status(), out)
	}
}

func TestTap_Tokens(t *testing.T) {
	_, tap := tapped(translator.TapOptions{}, events(created, finished), false)
	if got, estimated := tap.Tokens(); estimated || got != (core.Tokens{Input: 50, CacheRead: 30, CacheWrite5m: 20, Output: 9}) {
		t.Errorf("got %+v, %v", got, estimated)
	}
	// cut: a quarter of what came, whether an event was read or only measured
	word := delta("output_text", 0, `"12345678"`, "")
	_, tap = tapped(translator.TapOptions{}, events(created, word, word, delta("function_call_arguments", 1, `"\"\""`, "")), false)
	if got, estimated := tap.Tokens(); !estimated || got.Output != 5 {
		t.Errorf("got %+v, %v", got, estimated)
	}
	fail := tap.Fail(&translator.Error{Status: 502, Message: "cut"})
	if !strings.Contains(string(fail), `"sequence_number":4`) || !strings.HasPrefix(string(fail), "event: response.failed\n") {
		t.Errorf("got %s", fail)
	}
}

func TestPassReply(t *testing.T) {
	const answer = `{"id":"r", "object":"response","status":"completed","model":"up","output":[],` + counts + `}`
	out, tokens, estimated, err := codec.PassReply([]byte(answer), translator.TapOptions{})
	if string(out) != answer || estimated || err != nil || tokens.Output != 9 || tokens.Input != 50 {
		t.Errorf("got %s, %+v, %v, %v", out, tokens, estimated, err)
	}
	if out, _, _, _ = codec.PassReply([]byte(answer), translator.TapOptions{Model: "a"}); string(out) != strings.Replace(answer, `"up"`, `"a"`, 1) {
		t.Errorf("got %s", out)
	}
	_, tokens, estimated, err = codec.PassReply([]byte(`{"output":["`+strings.Repeat("x", 96)+`"]}`), translator.TapOptions{Model: "a"})
	if !estimated || err != nil || tokens.Output != 25 {
		t.Errorf("without usage: got %+v, %v, %v", tokens, estimated, err)
	}
	if _, _, _, err = codec.PassReply([]byte(`{"object":"response","status":"queued"}`), translator.TapOptions{}); err != nil {
		t.Errorf("in the background: %v", err)
	}
	for body, reported := range map[string]bool{
		`{"status":"failed","output":[],"error":{"code":"server_error","message":"m"}}`: true,
		`{"error":{"message":"m"}}`: true, `{"choices":[]}`: false, `nonsense`: false,
	} {
		_, _, _, err := codec.PassReply([]byte(body), translator.TapOptions{})
		var e *translator.Error
		if err == nil || errors.As(err, &e) != reported {
			t.Errorf("%s: got %v", body, err)
		}
	}
}
