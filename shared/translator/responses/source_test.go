package responses_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/shared/translator"
)

const (
	created  = `{"type":"response.created","response":{"id":"resp_1","object":"response","status":"in_progress","model":"up","output":[]}}`
	progress = `{"type":"response.in_progress","response":{"id":"resp_1","status":"in_progress","model":"up","output":[]}}`
	counts   = `"usage":{"input_tokens":100,"input_tokens_details":{"cached_tokens":30,"cache_write_tokens":20},"output_tokens":9,"output_tokens_details":{"reasoning_tokens":4},"total_tokens":109}`
	finished = `{"type":"response.completed","response":{"id":"resp_1","status":"completed","model":"up","output":[],` + counts + `}}`
	counted  = "in=50 read=30 write=20 out=9 reasoning=4\nstop\n"
)

func delta(kind string, index int, text, more string) string {
	return fmt.Sprintf(`{"type":"response.%s.delta","item_id":"i%d","output_index":%d,"delta":%s%s}`, kind, index, index, text, more)
}

func item(event string, index int, body string) string {
	return fmt.Sprintf(`{"type":"response.output_item.%s","output_index":%d,"item":%s}`, event, index, body)
}

// streams are answers and the hub's events of them.
var streams = []struct {
	why, want string
	data      []string
}{
	{"text", "start resp_1\n0 begin 0   custom=false refusal=false\n0 + \"Hel\" \n0 + \"lo\" \n0 end\nfinal end_turn " + counted, []string{
		created, progress,
		item("added", 0, `{"type":"message","id":"i0","role":"assistant","content":[]}`),
		`{"type":"response.content_part.added","item_id":"i0","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[]}}`,
		delta("output_text", 0, `"Hel"`, `,"content_index":0,"logprobs":[],"obfuscation":"xyz"`), delta("output_text", 0, `"lo"`, `,"content_index":0`), delta("output_text", 0, `""`, `,"content_index":0`),
		`{"type":"response.output_text.done","item_id":"i0","output_index":0,"content_index":0,"text":"Hello"}`,
		item("done", 0, `{"type":"message","id":"i0","role":"assistant","content":[{"type":"output_text","text":"Hello","annotations":[]}]}`),
		`{"type":"keepalive"}`, `{"type":"response.of.tomorrow","output_index":0}`, finished}},
	{"the beginning did not come", "start \n0 begin 0   custom=false refusal=false\n0 + \"a\" \n0 end\nfinal end_turn " + counted, []string{
		delta("output_text", 0, `"a"`, ""), finished}},
	{"an item that comes whole", "start resp_1\n0 begin 0   custom=false refusal=false\n0 + \"Hi\" [{\"token\":\"Hi\"}]\n0 cite \"https://x\" \"T\" 0-2\n0 end\n1 begin 5 c f custom=false refusal=false\n1 + \"{}\" \n1 end\nfinal tool_use " + counted, []string{
		created,
		item("done", 0, `{"type":"message","content":[{"type":"output_text","text":"Hi","logprobs":[{"token":"Hi"}],"annotations":[{"type":"url_citation","url":"https://x","title":"T","start_index":0,"end_index":2}]}]}`),
		item("done", 1, `{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}`), finished}},
	{"only the end", "start resp_1\n0 begin 0   custom=false refusal=false\n0 + \"Hi\" \n0 end\n1 begin 5 c f custom=false refusal=false\n1 + \"{\\\"a\\\":1}\" \n1 end\nfinal tool_use in=0 read=0 write=0 out=3 reasoning=0\nstop\n", []string{
		`{"type":"response.completed","response":{"id":"resp_1","output":[{"type":"message","content":[{"type":"output_text","text":"Hi"}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{\"a\":1}"}]}}`}},
	{"two parts and two messages are blocks of their own", "start resp_1\n0 begin 0   custom=false refusal=false\n0 + \"a\" \n0 end\n1 begin 0   custom=false refusal=false\n1 + \"b\" \n1 end\n2 begin 0   custom=false refusal=false\n2 + \"c\" \n2 end\nfinal end_turn " + counted, []string{
		created, delta("output_text", 0, `"a"`, `,"content_index":0`), delta("output_text", 0, `"b"`, `,"content_index":1`), delta("output_text", 1, `"c"`, `,"content_index":0`), finished}},
	{"a part without deltas is read from its item", "start resp_1\n0 begin 0   custom=false refusal=false\n0 + \"a\" \n0 end\n1 begin 0   custom=false refusal=false\n1 + \"b\" \n1 end\nfinal end_turn " + counted, []string{
		created, delta("output_text", 0, `"a"`, `,"content_index":0`),
		item("done", 0, `{"type":"message","content":[{"type":"output_text","text":"a"},{"type":"output_text","text":"b"}]}`), finished}},
	{"reasoning with its summary", "start resp_1\n0 begin 3   custom=false refusal=false\n0 + \"one\" \n0 + \"\\n\\n\" \n0 + \"two\" \n0 signature rs_1 \"ENC\"\n0 end\n1 begin 0   custom=false refusal=false\n1 + \"a\" \n1 end\nfinal end_turn " + counted, []string{
		created, item("added", 0, `{"type":"reasoning","id":"rs_1","summary":[]}`),
		delta("reasoning_summary_text", 0, `"one"`, `,"summary_index":0`), delta("reasoning_summary_text", 0, `"two"`, `,"summary_index":1`),
		item("done", 0, `{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"one"},{"type":"summary_text","text":"two"}],"encrypted_content":"ENC"}`),
		delta("output_text", 1, `"a"`, ""), finished}},
	{"trap redactedthinking: reasoning without a word", "start resp_1\n0 begin 4   custom=false refusal=false\n0 redacted rs_1 \"ENC\"\n0 end\nfinal end_turn " + counted, []string{
		created, item("added", 0, `{"type":"reasoning","id":"rs_1","summary":[]}`), item("done", 0, `{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"ENC"}`), finished}},
	{"trap visiblethinking: reasoning in plain words, twice", "start resp_1\n0 begin 3   custom=false refusal=false\n0 + \"r\" \n0 end\n1 begin 3   custom=false refusal=false\n1 + \"s\" \n1 end\nfinal end_turn " + counted, []string{
		created, delta("reasoning_text", 0, `"r"`, `,"content_index":0`), delta("reasoning_summary_text", 0, `"ignored"`, `,"summary_index":0`), item("done", 0, `{"type":"reasoning","id":"a","summary":[],"encrypted_content":null}`),
		item("done", 1, `{"type":"reasoning","id":"b","content":[{"type":"reasoning_text","text":"s"}]}`), finished}},
	{"calls that overlap", "start resp_1\n0 begin 5 c0 f custom=false refusal=false\n0 + \"{\\\"a\\\":\" \n0 + \"1}\" \n0 end\n1 begin 5 c1 g custom=false refusal=false\n1 + \"{}\" \n1 end\nfinal tool_use " + counted, []string{
		created, item("added", 0, `{"type":"function_call","id":"i0","call_id":"c0","name":"f","arguments":""}`), delta("function_call_arguments", 0, `"{\"a\":"`, ""),
		item("added", 1, `{"type":"function_call","id":"i1","call_id":"c1","name":"g","arguments":""}`), delta("function_call_arguments", 1, `"{}"`, ""),
		delta("function_call_arguments", 0, `"1}"`, ""),
		item("done", 1, `{"type":"function_call","call_id":"c1","name":"g","arguments":"{}"}`), item("done", 0, `{"type":"function_call","call_id":"c0","name":"f","arguments":"{\"a\":1}"}`), finished}},
	{"a call whose name comes late", "start resp_1\n0 begin 5 c f custom=false refusal=false\n0 + \"{\\\"a\\\":1}\" \n0 end\nfinal tool_use " + counted, []string{
		created, item("added", 0, `{"type":"function_call","id":"i0"}`), delta("function_call_arguments", 0, `"{\"a\":"`, ""), delta("function_call_arguments", 0, `"1}"`, ""),
		item("done", 0, `{"type":"function_call","call_id":"c","name":"f","arguments":"{\"a\":1}"}`), finished}},
	{"items without an index", "start resp_1\n0 begin 5 c0 f custom=false refusal=false\n0 + \"{}\" \n0 end\n1 begin 5 c1 g custom=false refusal=false\n1 + \"{}\" \n1 end\nfinal tool_use " + counted, []string{
		created, `{"type":"response.output_item.added","item":{"type":"function_call","id":"i0","call_id":"c0","name":"f"}}`, `{"type":"response.output_item.added","item":{"type":"function_call","id":"i1","call_id":"c1","name":"g"}}`,
		`{"type":"response.function_call_arguments.delta","item_id":"i0","delta":"{}"}`, `{"type":"response.function_call_arguments.delta","item_id":"i1","delta":"{}"}`, finished}},
	{"a custom tool's text", "start resp_1\n0 begin 5 c p custom=true refusal=false\n0 + \"{\\\"input\\\":\\\"\" \n0 + \"a\\\\\\\"b\" \n0 + \"\\\\n\" \n0 + \"\\\"}\" \n0 end\nfinal tool_use " + counted, []string{
		created, item("added", 0, `{"type":"custom_tool_call","id":"i0","call_id":"c","name":"p","input":""}`), delta("custom_tool_call_input", 0, `"a\"b"`, ""), delta("custom_tool_call_input", 0, `"\n"`, ""),
		item("done", 0, `{"type":"custom_tool_call","call_id":"c","name":"p","input":"a\"b\n"}`), finished}},
	{"a custom call and a shell call that come whole", "start resp_1\n0 begin 5 c p custom=true refusal=false\n0 + \"{\\\"input\\\":\\\"x\\\"}\" \n0 end\n1 begin 5 s local_shell custom=false refusal=false\n1 + \"{\\\"command\\\":[\\\"ls\\\"]}\" \n1 end\nfinal tool_use " + counted, []string{
		created, item("done", 0, `{"type":"custom_tool_call","call_id":"c","name":"p","input":"x"}`),
		item("added", 1, `{"type":"local_shell_call","call_id":"s","action":{"type":"exec","command":[],"env":{}}}`), item("done", 1, `{"type":"local_shell_call","call_id":"s","action":{"type":"exec","command":["ls"]}}`), finished}},
	{"trap refusal: in words", "start resp_1\n0 begin 0   custom=false refusal=true\n0 + \"No\" \n0 end\nfinal refusal " + counted, []string{
		created, delta("refusal", 0, `"No"`, `,"content_index":0`), item("done", 0, `{"type":"message","content":[{"type":"refusal","refusal":"No"}]}`), finished}},
	{"a citation of a file, and one of no use", "start resp_1\n0 begin 0   custom=false refusal=false\n0 + \"a\" \n0 cite  \"f.pdf\" 3-3\n0 end\nfinal end_turn " + counted, []string{
		created, delta("output_text", 0, `"a"`, ""),
		`{"type":"response.output_text.annotation.added","output_index":0,"annotation":{"type":"file_citation","file_id":"x","filename":"f.pdf","index":3}}`,
		`{"type":"response.output_text.annotation.added","output_index":0,"annotation":{"type":"file_path","file_id":"x"}}`, finished}},
	{"server tools say nothing", "start resp_1\n0 begin 0   custom=false refusal=false\n0 + \"a\" \n0 end\nfinal end_turn " + counted, []string{
		created, item("added", 0, `{"type":"web_search_call","id":"ws"}`), `{"type":"response.web_search_call.searching","output_index":0}`, item("done", 0, `{"type":"web_search_call","id":"ws"}`),
		delta("output_text", 1, `"a"`, ""), finished}},
	{"cut by the limit", "start resp_1\n0 begin 0   custom=false refusal=false\n0 + \"a\" \n0 end\nfinal max_tokens " + counted, []string{
		created, delta("output_text", 0, `"a"`, ""), `{"type":"response.incomplete","response":{"id":"resp_1","status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"output":[],` + counts + `}}`}},
	{"cut by the filter", "start resp_1\nfinal refusal " + counted, []string{
		created, `{"type":"response.incomplete","response":{"id":"resp_1","incomplete_details":{"reason":"content_filter"},"output":[],` + counts + `}}`}},
}

func TestSource(t *testing.T) {
	for _, c := range streams {
		stream := events(c.data...)
		l, b := read(stream, whole)
		if err := b.Whole(); err != nil {
			t.Errorf("%s: %v", c.why, err)
		}
		if l.String() != c.want {
			t.Errorf("%s: got\n%swant\n%s", c.why, l, c.want)
		}
		if one, _ := read(stream, bytewise); one.String() != l.String() {
			t.Errorf("%s: byte by byte it reads\n%s", c.why, one)
		}
		unnamed := strings.ReplaceAll(stream, "event: ", ": ")
		if one, _ := read(unnamed, whole); one.String() != l.String() {
			t.Errorf("%s: without event names it reads\n%s", c.why, one)
		}
	}
}

// TestSource_Cut: trap streamtruncation. A stream that is cut anywhere has the same events up to there, and no end.
func TestSource_Cut(t *testing.T) {
	for _, c := range streams {
		stream := events(c.data...)
		all, _ := read(stream, whole)
		for n := range len(stream) {
			l, b := read(stream[:n], whole)
			if !strings.HasPrefix(all.String(), l.String()) {
				t.Fatalf("%s: after %d bytes it reads\n%s", c.why, n, l)
			}
			if b.Status().Ended || b.Whole() == nil {
				t.Fatalf("%s: ended after %d of %d bytes", c.why, n, len(stream))
			}
		}
	}
}

func TestSource_Errors(t *testing.T) {
	for _, c := range []struct {
		why, stream, typ, code string
		status                 int
		wait                   time.Duration
	}{
		{"failed", events(created, `{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"m"}}}`), "api_error", "server_error", 500, 0},
		{"too many requests", events(`{"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded","message":"Please try again in 1.5s."}}}`), "rate_limit_error", "rate_limit_exceeded", 429, 1500 * time.Millisecond},
		{"no quota", events(`{"type":"response.failed","response":{"error":{"code":"insufficient_quota","message":"m"}}}`), "rate_limit_error", "insufficient_quota", 429, 0},
		{"too long", events(`{"type":"response.failed","response":{"error":{"code":"context_length_exceeded","message":"m"}}}`), "invalid_request_error", "context_length_exceeded", 400, 0},
		{"a bad prompt", events(`{"type":"response.failed","response":{"error":{"code":"invalid_prompt","message":"m"}}}`), "invalid_request_error", "invalid_prompt", 400, 0},
		{"failed without a reason", events(`{"type":"response.failed","response":{}}`), "api_error", "", 500, 0},
		{"cancelled", events(`{"type":"response.cancelled","response":{}}`), "api_error", "", 500, 0},
		{"completed, but failed", events(`{"type":"response.completed","response":{"status":"failed","error":{"code":"slow_down","message":"m"}}}`), "overloaded_error", "slow_down", 503, 0},
		{"an error event", events(`{"type":"error","code":"rate_limit_exceeded","message":"m","param":null}`), "rate_limit_error", "rate_limit_exceeded", 429, 0},
		{"an error event with an object", events(`{"type":"error","error":{"type":"invalid_request_error","code":null,"message":"m"}}`), "invalid_request_error", "", 400, 0},
		{"an error event by name", "event: error\ndata: {\"message\":\"m\"}\n\n", "api_error", "", 500, 0},
	} {
		_, b := read(c.stream, whole)
		e := b.Status().Err
		if e == nil || !b.Status().Ended {
			t.Errorf("%s: no error: %+v", c.why, b.Status())
			continue
		}
		if e.Type != c.typ || e.Code != c.code || e.Status != c.status || e.RetryAfter != c.wait || e.Message == "" {
			t.Errorf("%s: got %+v", c.why, e)
		}
	}
}

func TestSource_Broken(t *testing.T) {
	for why, stream := range map[string]string{
		"no JSON":                    "data: nonsense\n\n",
		"no object":                  "data: []\n\n",
		"created without a response": events(`{"type":"response.created"}`),
		"completed without one":      events(created, `{"type":"response.completed"}`),
		"a delta without text":       events(created, `{"type":"response.output_text.delta","output_index":0}`),
		"arguments without text":     events(created, `{"type":"response.function_call_arguments.delta","output_index":0}`),
		"an item event without item": events(created, `{"type":"response.output_item.added","output_index":0}`),
		"a call without a name":      events(created, item("done", 0, `{"type":"function_call","call_id":"c","arguments":"{}"}`)),
	} {
		if _, b := read(stream, whole); b.Status().Broken == nil || b.Status().Ended {
			t.Errorf("%s: %+v", why, b.Status())
		}
	}
	if _, b := read("data: [DONE]\n\n: comment\n\n", whole); b.Status().Broken != nil {
		t.Error("an end mark and a comment are no error:", b.Status().Broken)
	}
}

func TestReadReply(t *testing.T) {
	for _, c := range []struct{ why, body, want string }{
		{"all kinds", `{"id":"resp_1","object":"response","status":"completed","error":null,"incomplete_details":null,"output":[
			{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"t"}],"encrypted_content":"ENC"},
			{"type":"message","content":[{"type":"output_text","text":"Hi","annotations":[]}]},
			{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}],` + counts + `}`,
			"start resp_1\n0 begin 3   custom=false refusal=false\n0 + \"t\" \n0 signature rs_1 \"ENC\"\n0 end\n1 begin 0   custom=false refusal=false\n1 + \"Hi\" \n1 end\n2 begin 5 c f custom=false refusal=false\n2 + \"{}\" \n2 end\nfinal tool_use " + counted},
		{"incomplete", `{"id":"r","status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"output":[],` + counts + `}`, "start r\nfinal max_tokens " + counted},
		{"hostile counts", `{"id":"r","output":[],"usage":{"input_tokens":-1,"output_tokens":1e3}}`, "start r\nfinal end_turn in=0 read=0 write=0 out=0 reasoning=0\nstop\n"},
		{"more cached than there is", `{"id":"r","output":[],"usage":{"input_tokens":5,"input_tokens_details":{"cached_tokens":9},"output_tokens":1}}`, "start r\nfinal end_turn in=0 read=5 write=0 out=1 reasoning=0\nstop\n"},
	} {
		l := &log{}
		if err := codec.ReadReply([]byte(c.body), translator.NewBuilder(l.event)); err != nil {
			t.Errorf("%s: %v", c.why, err)
		}
		if l.String() != c.want {
			t.Errorf("%s: got\n%swant\n%s", c.why, l, c.want)
		}
	}
	for _, c := range []struct {
		why, body string
		reported  bool
	}{
		{"no JSON", `<html>`, false},
		{"another dialect", `{"id":"x","choices":[]}`, false},
		{"still to come", `{"id":"r","status":"queued","output":[]}`, false},
		{"an item that is none", `{"id":"r","status":"completed","output":[7]}`, false},
		{"failed", `{"id":"r","status":"failed","error":{"code":"server_error","message":"m"},"output":[]}`, true},
		{"an error body", `{"error":{"message":"m","type":"server_error"}}`, true},
	} {
		err := codec.ReadReply([]byte(c.body), translator.NewBuilder(func(*translator.Event) {}))
		var e *translator.Error
		if err == nil || errors.As(err, &e) != c.reported {
			t.Errorf("%s: got %v", c.why, err)
		}
	}
}
