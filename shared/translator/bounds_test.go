package translator_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/translator"
	"sluice/shared/translator/anthropic"
	"sluice/shared/translator/openaichat"
	"sluice/shared/translator/responses"
)

// A body must not make the hub hold or compare much more than its bytes: what is beyond the bounds is refused.
func TestDecode_Bounds(t *testing.T) {
	many := func(n int, element string) string { return strings.Repeat(element+",", n-1) + element }
	tools := func(element string) string {
		var b strings.Builder
		for i := range translator.MaxTools + 1 {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(strings.ReplaceAll(element, "$", strconv.Itoa(i)))
		}
		return b.String()
	}
	unknown := tools(`"u$":1`)
	for i := 1; i < 11; i++ {
		unknown += "," + tools(`"u`+strconv.Itoa(i)+`_$":1`)
	}
	const n = translator.MaxPieces
	chat, claude, codex := openaichat.Codec{}, anthropic.Codec{}, responses.Codec{}
	chatBody := func(s string) string { return `{"model":"m",` + s + `}` }
	claudeBody := func(s string) string { return `{"model":"m","max_tokens":9,` + s + `}` }
	for _, c := range []struct {
		why         string
		front       translator.Front
		dialect     core.Dialect
		body, field string
	}{
		{"chat: messages", chat, core.DialectOpenAIChat, chatBody(`"messages":[` + many(n+1, `{"role":"user","content":""}`) + `]`), "messages"},
		{"chat: parts", chat, core.DialectOpenAIChat, chatBody(`"messages":[{"role":"user","content":[` + many(n, `{"type":"text","text":""}`) + `]}]`), "messages"},
		{"chat: calls", chat, core.DialectOpenAIChat, chatBody(`"messages":[{"role":"assistant","tool_calls":[` + many(n, `{"id":"a","function":{"name":"f"}}`) + `]}]`), "messages"},
		{"chat: thinking", chat, core.DialectOpenAIChat, chatBody(`"messages":[{"role":"assistant","reasoning_details":[` + many(n, `{"type":"reasoning.encrypted","data":"x"}`) + `]}]`), "messages"},
		{"chat: tools", chat, core.DialectOpenAIChat, chatBody(`"messages":[{"role":"user","content":"x"}],"tools":[` + tools(`{"type":"function","function":{"name":"f$"}}`) + `]`), "tools"},
		{"chat: allowed tools", chat, core.DialectOpenAIChat, chatBody(`"messages":[{"role":"user","content":"x"}],"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[` + many(translator.MaxTools+1, `{"name":"f"}`) + `]}`), "tool_choice.tools"},
		{"chat: unknown members", chat, core.DialectOpenAIChat, chatBody(`"messages":[{"role":"user","content":"x"}],` + unknown), ""},
		{"messages: messages", claude, core.DialectAnthropic, claudeBody(`"messages":[` + many(n+1, `{"role":"user","content":""}`) + `]`), "messages"},
		{"messages: blocks", claude, core.DialectAnthropic, claudeBody(`"messages":[{"role":"user","content":[` + many(n, `{"type":"text","text":""}`) + `]}]`), "messages"},
		{"messages: citations", claude, core.DialectAnthropic, claudeBody(`"messages":[{"role":"assistant","content":[{"type":"text","text":"","citations":[` + many(n, `{}`) + `]}]}]`), "messages"},
		{"messages: tools", claude, core.DialectAnthropic, claudeBody(`"messages":[{"role":"user","content":"x"}],"tools":[` + tools(`{"name":"f$"}`) + `]`), "tools"},
		{"messages: unknown members", claude, core.DialectAnthropic, claudeBody(`"messages":[{"role":"user","content":"x"}],` + unknown), "body"},
		{"responses: items", codex, core.DialectOpenAIResponses, chatBody(`"input":[` + many(n+1, `{"role":"user","content":""}`) + `]`), "input"},
		{"responses: parts", codex, core.DialectOpenAIResponses, chatBody(`"input":[{"role":"user","content":[` + many(n, `{"type":"input_text","text":""}`) + `]}]`), "input"},
		{"responses: tools", codex, core.DialectOpenAIResponses, chatBody(`"input":"x","tools":[` + tools(`{"type":"function","name":"f$"}`) + `]`), "tools"},
		{"responses: allowed tools", codex, core.DialectOpenAIResponses, chatBody(`"input":"x","tool_choice":{"type":"allowed_tools","mode":"auto","tools":[` + many(translator.MaxTools+1, `{"type":"function","name":"f"}`) + `]}`), "tool_choice.tools"},
		{"responses: unknown members", codex, core.DialectOpenAIResponses, chatBody(`"input":"x",` + unknown), ""},
	} {
		_, err := c.front.Decode([]byte(c.body))
		var f *translator.FieldError
		if !errors.As(err, &f) || f.Path(c.dialect) != c.field || !strings.Contains(f.Message, "no upstream takes") {
			t.Errorf("%s: got %v", c.why, err)
		}
	}
}
