package upstreamtest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	. "sluice/shared/upstream/upstreamtest"
)

// short names the events of a response stream, runs of one kind as one.
func shortNames(t *testing.T, body string) string {
	t.Helper()
	var out []string
	for i, e := range events(t, body) {
		if !strings.HasPrefix(e.data, fmt.Sprintf(`{"type":%q,"sequence_number":%d,`, e.name, i)) {
			t.Fatalf("event %d, %s: %s", i, e.name, e.data)
		}
		out = append(out, strings.TrimPrefix(e.name, "response."))
	}
	return strings.Join(out, " ")
}

// D38: the sequence that Codex acts on, for each kind of item.
func TestD38_Sequences(t *testing.T) {
	for _, tt := range []struct {
		block Block
		want  string
	}{
		{Text("a", "b"), "content_part.added output_text.delta output_text.delta output_text.done content_part.done"},
		{RefusalText("No"), "content_part.added refusal.delta refusal.done content_part.done"},
		{ToolUse("call_1", "f", `{}`), "function_call_arguments.delta function_call_arguments.done"},
		{CustomToolUse("call_1", "f", "x"), "custom_tool_call_input.delta custom_tool_call_input.done"},
		{Reasoning("enc", "one", "two"), "reasoning_summary_part.added reasoning_summary_text.delta reasoning_summary_text.done reasoning_summary_part.done " +
			"reasoning_summary_part.added reasoning_summary_text.delta reasoning_summary_text.done reasoning_summary_part.done"},
		{Reasoning("enc"), ""},
		{ReasoningText("x"), "content_part.added reasoning_text.delta reasoning_text.done content_part.done"},
		{RawItem(`{"type":"local_shell_call"}`), ""},
	} {
		want := "created in_progress output_item.added " + tt.want + " output_item.done completed"
		got := askOpenAI(t, Reply(tt.block), respStream)
		mustStatus(t, got, 200)
		if n := shortNames(t, got.body); n != strings.ReplaceAll(want, "  ", " ") {
			t.Errorf("got  %s\nwant %s", n, want)
		}
	}
}

func TestD38_ToolCallStream(t *testing.T) {
	got := askOpenAI(t, Reply(ToolUse("call_1", "Read", `{"a":`, `1}`)).Usage(Usage{Input: 3, CacheRead: 4, Output: 5, Thinking: 1}), respStream)
	list := events(t, fixed(got.body))
	const item = `{"id":"fc_ID00","type":"function_call","status":"%s","arguments":%s,"call_id":"call_1","name":"Read"}`
	done := fmt.Sprintf(item, "completed", `"{\"a\":1}"`)
	for i, want := range map[int]string{
		2: `{"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":` + fmt.Sprintf(item, "in_progress", `""`) + `}`,
		3: `{"type":"response.function_call_arguments.delta","sequence_number":3,"item_id":"fc_ID00","output_index":0,"delta":"{\"a\":"}`,
		5: `{"type":"response.function_call_arguments.done","sequence_number":5,"item_id":"fc_ID00","output_index":0,"arguments":"{\"a\":1}"}`,
		6: `{"type":"response.output_item.done","sequence_number":6,"output_index":0,"item":` + done + `}`,
	} {
		if list[i].data != want {
			t.Errorf("got  %s\nwant %s", list[i].data, want)
		}
	}
	last := list[7].data
	for _, want := range []string{`"id":"resp_ID"`, `"status":"completed"`, `"output":[` + done + `]`, `"store":false`, `"completed_at":1`,
		`"usage":{"input_tokens":7,"input_tokens_details":{"cached_tokens":4,"cache_write_tokens":0},"output_tokens":5,"output_tokens_details":{"reasoning_tokens":1},"total_tokens":12}`} {
		if list[7].name != "response.completed" || !strings.Contains(last, want) {
			t.Errorf("no %s in %s", want, last)
		}
	}
	if first := list[0].data; !strings.Contains(first, `"status":"in_progress"`) || !strings.Contains(first, `"output":[]`) || !strings.Contains(first, `"usage":null`) {
		t.Errorf("got %s", first)
	}
}

type response struct {
	ID, Status, Object string
	Output             []json.RawMessage
}

// A stream and a whole response say the same, and output_item.done is what
// counts. D43: encrypted reasoning comes only when it was asked for.
func TestD43_ResponseStreamedAndWhole(t *testing.T) {
	streamed, whole := askOpenAI(t, everything(), respStream), askOpenAI(t, everything(), respPlain)
	mustStatus(t, whole, 200)
	var want response
	decode(t, fixed(whole.body), &want)
	var got []json.RawMessage
	var last struct{ Response response }
	for _, e := range events(t, fixed(streamed.body)) {
		var d struct{ Item json.RawMessage }
		if decode(t, e.data, &d); e.name == "response.output_item.done" {
			got = append(got, d.Item)
		}
		if e.name == "response.completed" {
			decode(t, e.data, &last)
		}
	}
	g, _ := json.Marshal(got)
	l, _ := json.Marshal(last.Response.Output)
	w, _ := json.Marshal(want.Output)
	if string(g) != string(w) || string(l) != string(w) || len(got) != 8 || want.Object != "response" {
		t.Errorf("items %s\nlast  %s\nwhole %s", g, l, w)
	}
	for _, part := range []string{`{"id":"rs_ID00","type":"reasoning","summary":[{"type":"summary_text","text":"hm ok"}],"encrypted_content":"sig=="}`,
		`{"id":"msg_ID01","type":"message","status":"completed","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"a&b"}],"role":"assistant"}`,
		`{"id":"ctc_ID04","type":"custom_tool_call","status":"completed","input":"*** Begin","call_id":"call_3","name":"patch"}`,
		`{"type":"refusal","refusal":"No."}`, `{"type":"web_search_call","id":"ws_1","status":"completed"}`} {
		if !strings.Contains(fixed(whole.body), part) {
			t.Errorf("no %s in %s", part, whole.body)
		}
	}
	if got := askOpenAI(t, everything(), `{"model":"gpt-6-sol","input":"hi"}`); strings.Contains(got.body, "encrypted_content") {
		t.Errorf("got %s", got.body)
	}
	if got := askOpenAI(t, everything(), `{"model":"gpt-6-sol","stream":true,"input":"hi"}`); !strings.Contains(got.body, `"obfuscation":"`) {
		t.Errorf("got %s", got.body)
	}
}

// What a response repeats must not tear its event apart.
func TestResponseEchoesRequest(t *testing.T) {
	got := askOpenAI(t, Reply(Text("x")), "{\"model\":\"gpt-\\u0034o\",\"stream\":true,\"input\":\"hi\",\"instructions\":\"be\\nbrief\",\"metadata\":{\n \"a\":\n\"b\"},\"user\":null}")
	mustStatus(t, got, 200)
	list := events(t, got.body)
	for _, e := range []sse{list[0], list[1], list[len(list)-1]} {
		for _, want := range []string{`"model":"gpt-\u0034o"`, `"instructions":"be\nbrief"`, `"metadata":{"a":"b"}`, `"tool_choice":"auto"`, `"user":null`} {
			if !strings.Contains(e.data, want) {
				t.Errorf("%s: no %s in %s", e.name, want, e.data)
			}
		}
	}
}

func TestOpenAIWithoutValidation(t *testing.T) {
	o := NewOpenAI(t, WithoutValidation())
	for path, body := range map[string]string{chatPath: `{}`, responsePath: `{"stream":true}`} {
		mustStatus(t, do(t, openAIRequest(t, o, http.MethodPost, path, body)), 200)
		mustOpenAIError(t, do(t, openAIRequest(t, o, http.MethodPost, path, `x`)), 400, "invalid_request_error", "", "could not parse the JSON body")
	}
}
