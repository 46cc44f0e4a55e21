package responses_test

import (
	"fmt"
	"strings"
	"testing"

	"sluice/shared/translator"
)

// pipeline is a Pipe from this dialect to itself that has begun, and a batch of one text delta.
func pipeline() (translator.Stream, []byte) {
	p := translator.NewPipe(codec, codec.NewSink(translator.ReplyOptions{ID: "req1", Model: "alias", Created: 1700000000}), translator.Enforce{})
	p.Batch([]byte(events(created, item("added", 0, `{"type":"message","id":"i0","role":"assistant","content":[]}`))))
	word := []byte(events(delta("output_text", 0, `" word"`, `,"content_index":0,"logprobs":[],"obfuscation":"abcdefghij"`)))
	p.Batch(word)
	return p, word
}

func tapline() (translator.Stream, []byte) {
	_, word := pipeline()
	tap := codec.NewTap(translator.TapOptions{Model: "alias"})
	tap.Batch([]byte(events(created)))
	tap.Batch(word)
	return tap, word
}

func TestAllocations(t *testing.T) {
	p, word := pipeline()
	if n := testing.AllocsPerRun(2000, func() { p.Batch(word) }); n > 2 {
		t.Errorf("a text delta allocates %v times", n)
	}
	tap, word := tapline()
	if n := testing.AllocsPerRun(2000, func() { tap.Batch(word) }); n > 0 {
		t.Errorf("the tap allocates %v times", n)
	}
	if st := p.Status(); st.Broken != nil || !st.Content {
		t.Errorf("the pipe is broken: %+v", st)
	}
}

func BenchmarkTextDelta(b *testing.B) {
	p, word := pipeline()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%10000 == 0 { // an answer's length
			p, word = pipeline()
		}
		p.Batch(word)
	}
}

func BenchmarkTap(b *testing.B) {
	tap, word := tapline()
	b.ReportAllocs()
	for b.Loop() {
		tap.Batch(word)
	}
}

func BenchmarkRequest1MiB(b *testing.B) {
	var input strings.Builder
	input.WriteString(`{"role":"user","content":"begin"}`)
	for i := range 256 {
		fmt.Fprintf(&input, `,{"type":"function_call","call_id":"c%d","name":"f","arguments":"{\"path\":\"a\"}"},{"type":"function_call_output","call_id":"c%d","output":"%s"}`, i, i, strings.Repeat(`func f() {\n\treturn \"x\"\n}\n`, 130))
	}
	doc := []byte(body(`"input":[` + input.String() + `]`))
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		r, err := codec.Decode(doc)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := codec.Encode(r, translator.Target{Model: "gpt-5", Same: true}); err != nil {
			b.Fatal(err)
		}
	}
}
