package openaichat_test

import (
	"encoding/json"
	"strings"
	"testing"

	"sluice/shared/sse"
	"sluice/shared/translator"
	"sluice/shared/translator/openaichat"
)

// OpenAI pads chunks to hide their sizes; texts that look like the padding, and chunks with and without it in turn, are
// read all the same.
func TestSource_Padding(t *testing.T) {
	pieces := []string{"Hello", " there", `","obfuscation":"x`, `"}`, `x","obfuscation":"y"}`, "é\n\"", "", "}", strings.Repeat("z", 300), "end"}
	paddings := []string{"abc", "a", "", "0123456789", "-", "abc", "obfuscation", strings.Repeat("p", 80), `q\"`, "r"}
	var stream strings.Builder
	want := strings.Join(pieces, "")
	for i, p := range pieces {
		text, _ := json.Marshal(p)
		stream.WriteString(`data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":` + string(text) + `},"finish_reason":null}]`)
		if paddings[i] != "" {
			stream.WriteString(`,"obfuscation":"` + paddings[i] + `"`)
		}
		stream.WriteString("}\n\n")
	}
	stream.WriteString(`data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"obfuscation":"k"}` + "\n\ndata: [DONE]\n\n")
	var c translator.Collector
	b := translator.NewBuilder(c.Event)
	src := openaichat.Codec{}.NewSource(b)
	for rest := []byte(stream.String()); ; {
		ev, next, ok := sse.Cut(rest)
		if !ok {
			break
		}
		rest = next
		if err := src.Event(ev); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Whole(); err != nil || len(c.Reply.Blocks) != 1 || c.Reply.Blocks[0].Text.Text() != want {
		t.Fatalf("%v, got %+v\nwant %q", err, c.Reply.Blocks, want)
	}
}
