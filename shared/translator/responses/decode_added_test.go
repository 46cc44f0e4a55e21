package responses_test

import (
	"errors"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/translator"
)

// TestD42_AdditionalTools: the form in which Codex declares its tools for the models that it knows.
func TestD42_AdditionalTools(t *testing.T) {
	const item = `{"type":"additional_tools","id":"at_1","role":"developer","tools":`
	for _, c := range []struct{ why, body, want string }{
		{"namespaces in an item, calls with and without theirs", `"input":[` + item + `[{"type":"namespace","name":"functions","description":"","tools":[{"type":"custom","name":"exec"},{"type":"function","name":"wait"}]}]},
			{"role":"user","content":"u"},
			{"type":"custom_tool_call","call_id":"c","namespace":"functions","name":"exec","input":"1"},{"type":"custom_tool_call_output","call_id":"c","output":"2"}]`,
			"user: text(\"u\")\nassistant: call(c functions__exec {\"input\":\"1\"} custom=true)\nuser: result(c text(\"2\"))\ntool 1 functions__exec (functions / exec) \ntool 0 functions__wait (functions / wait) \n"},
		{"beside tools, which the item may declare again", `"tools":[{"type":"function","name":"f","parameters":{"a":1}},{"type":"function","name":"g"}],"input":[{"role":"user","content":"u"},` + item + `[{"type":"function","name":"f","parameters":{"a":2}}]}]`,
			"user: text(\"u\")\ntool 0 f {\"a\":2}\ntool 0 g \n"},
		{"a later item replaces what an earlier one had", `"input":[` + item + `[{"type":"namespace","name":"n","tools":[{"type":"function","name":"f"}]}]},{"role":"user","content":"u"},` + item + `[{"type":"namespace","name":"n","tools":[{"type":"custom","name":"f"}]}]}]`,
			"user: text(\"u\")\ntool 1 n__f (n / f) \n"},
		{"a text that has the word", `"input":[{"role":"user","content":"\"additional_tools\""}]`, "user: text(\"\\\"additional_tools\\\"\")\n"},
	} {
		r, err := codec.Decode([]byte(body(c.body)))
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		if got := dump(r); got != c.want {
			t.Errorf("%s: got\n%swant\n%s", c.why, got, c.want)
		}
	}
	for _, c := range []struct{ why, body, path string }{
		{"no tools", `"input":[` + strings.TrimSuffix(item, `,"tools":`) + `},{"role":"user","content":"u"}]`, "input[0].tools"},
		{"a tool without a name", `"input":[{"role":"user","content":"u"},` + item + `[{"type":"namespace","name":"n","tools":[{"type":"function"}]}]}]`, "input[1].tools[0].tools[0].name"},
		{"an item without a type of its own", `"input":[{"additional":"additional_tools"}]`, "input[0].type"},
	} {
		_, err := codec.Decode([]byte(body(c.body)))
		var f *translator.FieldError
		if !errors.As(err, &f) || f.Path(core.DialectOpenAIResponses) != c.path {
			t.Errorf("%s: got %v", c.why, err)
		}
	}
}
