package translate_test

import (
	"strings"
	"testing"
)

// TestValidatorsFindFaults: each of these faults was one of a gateway's, and the validators must not miss it.
func TestValidatorsFindFaults(t *testing.T) {
	cases := []struct{ dialect, name, old, new string }{
		{"anthropic", "a gap in the indexes", `"index":2`, `"index":3`},
		{"anthropic", "a block that is never closed", `event: content_block_stop` + "\n" + `data: {"type":"content_block_stop","index":1}` + "\n\n", ""},
		{"anthropic", "no message_stop", "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n", ""},
		{"anthropic", "no reason", `"stop_reason":"tool_use"`, `"stop_reason":null`},
		{"anthropic", "a reason that does not exist", `"stop_reason":"tool_use"`, `"stop_reason":"tool_calls"`},
		{"anthropic", "no usage at the end", `"output_tokens":40`, `"output":40`},
		{"anthropic", "no event line", "event: message_delta\n", ""},
		{"anthropic", "another event's name", "event: message_delta\n", "event: message_stop\n"},
		{"anthropic", "text in a call", `"type":"input_json_delta","partial_json"`, `"type":"text_delta","text"`},
		{"anthropic", "half an input", `"partial_json":"{`, `"partial_json":"`},
		{"chat", "no DONE", "data: [DONE]\n\n", ""},
		{"chat", "no reason", `"finish_reason":"tool_calls"`, `"finish_reason":null`},
		{"chat", "another id", `{"id":"chatcmpl-01hvtest","object":"chat.completion.chunk","created":1790000000,"model":"alias","choices":[]`, `{"id":"chatcmpl-2","object":"chat.completion.chunk","created":1790000000,"model":"alias","choices":[]`},
		{"chat", "no role", `"role":"assistant",`, ""},
		{"chat", "a call without id", `"id":"call_W1",`, ""},
		{"chat", "a call of another index", `"tool_calls":[{"index":0,"function"`, `"tool_calls":[{"index":1,"function"`},
		{"chat", "usage that does not add up", `"total_tokens":61`, `"total_tokens":60`},
		{"chat", "half a JSON", `"finish_reason":"tool_calls"}]`, `"finish_reason":"tool_calls"]`},
		{"chat", "a line end in the data", `"finish_reason":"tool_calls"`, "\n" + `"finish_reason":"tool_calls"`},
		{"responses", "a gap in the sequence", `"sequence_number":7}`, `"sequence_number":8}`},
		{"responses", "an item without its end", "event: response.output_item.done", "event: response.output_item.dome"},
		{"responses", "no end", "event: response.completed", "event: response.complete"},
		{"responses", "another text at the end", `"text":"Let me look."`, `"text":"Let me look"`},
		{"responses", "other arguments at the end", `"arguments":"{`, `"arguments":"`},
		{"responses", "an item twice", `"output_index":1,`, `"output_index":0,`},
		{"responses", "usage that does not add up", `"total_tokens":61`, `"total_tokens":60`},
		{"responses", "a status of its own", `"status":"completed","error"`, `"status":"done","error"`},
	}
	streams := map[string]string{}
	for _, d := range dialects() {
		other := "responses"
		if d.name == "responses" {
			other = "anthropic"
		}
		s := scene{pair: pair{d, dialectNamed(t, other)}, dir: "testdata/" + d.name + "-" + other + "/thinkingsignature"}
		stream := s.read(t, "reply.sse")
		if _, err := d.check(stream, checkOptions{usage: true}); err != nil {
			t.Fatalf("%s: the stream without a fault: %v", d.name, err)
		}
		if _, err := d.check(stream, checkOptions{usage: true, failed: true}); err == nil {
			t.Errorf("%s: a whole stream passes as one that failed", d.name)
		}
		streams[d.name] = string(stream)
	}
	for _, c := range cases {
		t.Run(c.dialect+"/"+c.name, func(t *testing.T) {
			stream := streams[c.dialect]
			if !strings.Contains(stream, c.old) {
				t.Fatalf("the stream has no %s:\n%s", c.old, stream)
			}
			bad := strings.Replace(stream, c.old, c.new, 1)
			if _, err := dialectNamed(t, c.dialect).check([]byte(bad), checkOptions{usage: true}); err == nil {
				t.Errorf("not found in\n%s", bad)
			}
		})
	}
}
