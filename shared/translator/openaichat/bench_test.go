package openaichat_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"sluice/shared/sse"
	"sluice/shared/translator"
	"sluice/shared/translator/openaichat"
)

// deltaEvent is a text delta as OpenAI sends it.
const deltaEvent = `data: {"id":"chatcmpl-up","object":"chat.completion.chunk","created":1700000000,"model":"gpt-x",` +
	`"service_tier":"default","system_fingerprint":"fp_1","choices":[{"index":0,"delta":{"content":" small words"},` +
	`"logprobs":null,"finish_reason":null}],"usage":null}` + "\n\n"

func startedPipe() *translator.Pipe {
	p := translator.NewPipe(openaichat.Codec{}, openaichat.Codec{}.NewSink(options), translator.Enforce{})
	p.Batch([]byte(deltaEvent))
	p.Batch([]byte(deltaEvent))
	return p
}

// A text delta costs at most two allocations on its way through the hub, and none in a tap that only passes.
func TestTextDeltaAllocs(t *testing.T) {
	batch := []byte(deltaEvent)
	p := startedPipe()
	if n := testing.AllocsPerRun(200, func() { p.Batch(batch) }); n > 2 {
		t.Errorf("through the hub: %v allocations per delta, want at most 2", n)
	}
	for name, o := range map[string]translator.TapOptions{"passing": {}, "renaming": {Model: "client"}, "hiding": {Model: "client", HideUsage: true}} {
		tap := openaichat.Codec{}.NewTap(o)
		tap.Batch(batch)
		tap.Batch(batch)
		if n := testing.AllocsPerRun(200, func() { tap.Batch(batch) }); n > 0 {
			t.Errorf("%s tap: %v allocations per delta, want none", name, n)
		}
	}
}

func BenchmarkTextDelta(b *testing.B) {
	batch := []byte(deltaEvent)
	p := startedPipe()
	b.SetBytes(int64(len(batch)))
	b.ReportAllocs()
	for b.Loop() {
		p.Batch(batch)
	}
}

func BenchmarkTap(b *testing.B) {
	batch := []byte(deltaEvent)
	for _, c := range []struct {
		name string
		o    translator.TapOptions
	}{{"pass", translator.TapOptions{}}, {"rename", translator.TapOptions{Model: "client"}}, {"hide", translator.TapOptions{Model: "client", HideUsage: true}}} {
		b.Run(c.name, func(b *testing.B) {
			tap := openaichat.Codec{}.NewTap(c.o)
			tap.Batch(batch)
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				tap.Batch(batch)
			}
		})
	}
}

// bigRequest is about 1 MiB: a long conversation with calls.
func bigRequest() []byte {
	var w bytes.Buffer
	w.WriteString(`{"model":"m","messages":[{"role":"system","content":"be brief"}`)
	text := strings.Repeat(`words and \"quoted\" words\n`, 80)
	for i := range 200 {
		fmt.Fprintf(&w, `,{"role":"user","content":[{"type":"text","text":"%s"}]}`, text)
		fmt.Fprintf(&w, `,{"role":"assistant","content":null,"tool_calls":[{"id":"c%d","type":"function","function":{"name":"f","arguments":"{\"a\":\"%s\"}"}}]}`, i, strings.Repeat("x", 800))
		fmt.Fprintf(&w, `,{"role":"tool","tool_call_id":"c%d","content":"%s"}`, i, text)
	}
	w.WriteString(`]}`)
	return w.Bytes()
}

func BenchmarkRequest(b *testing.B) {
	body := bigRequest()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		r, err := openaichat.Codec{}.Decode(body)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := (openaichat.Codec{}).Encode(r, translator.Target{Model: "m"}); err != nil {
			b.Fatal(err)
		}
	}
}

// Cutting one event must not cost more than reading it.
func BenchmarkCut(b *testing.B) {
	batch := []byte(deltaEvent)
	for b.Loop() {
		sse.Cut(batch)
	}
}
