package amazonq_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"sluice/shared/eventstream"
	"sluice/shared/translator"
	"sluice/shared/translator/anthropic"
)

func stream200(b testing.TB) []byte {
	events := []string{initial}
	for range 196 {
		events = append(events, text(" small words"))
	}
	return stream(b, append(events, `contextUsageEvent {"contextUsagePercentage":1.25}`, tokens, `meteringEvent {"usage":0.1}`)...)
}

func benchPipe(b *testing.B, e translator.Enforce) {
	in := stream200(b)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		p := translator.NewPipe(codec, anthropic.Codec{}.NewSink(translator.ReplyOptions{ID: "r1", Model: "m"}), e)
		r := eventstream.NewReader(bytes.NewReader(in), 1<<20)
		for {
			batch, err := r.Batch()
			if err == io.EOF {
				break
			}
			p.Batch(batch)
		}
		r.Release()
		if p.End(); !p.Status().Ended {
			b.Fatal("not ended")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/200, "ns/event")
}

// BenchmarkStream200 is an answer of 200 events from frames to the bytes of a client of the Messages API.
func BenchmarkStream200(b *testing.B) { benchPipe(b, translator.Enforce{}) }

// BenchmarkStream200Limited is the same with the max_tokens that the gateway holds itself.
func BenchmarkStream200Limited(b *testing.B) { benchPipe(b, translator.Enforce{MaxTokens: 32_000}) }

// BenchmarkEncode is a conversation of 100 tool calls with 20 tools.
func BenchmarkEncode(b *testing.B) {
	msgs := []string{user(`"begin"`)}
	for i := range 100 {
		msgs = append(msgs, assistant(`[{"type":"text","text":"I read the next one."},`+call(fmt.Sprint("t", i), "f")+`]`),
			user(`[`+answer(fmt.Sprint("t", i), strings.Repeat("a line of a file\\n", 200))+`]`))
	}
	var tools []string
	for i := range 20 {
		tools = append(tools, fmt.Sprintf(`{"name":"tool_%d","description":"%s","input_schema":{"type":"object","properties":{}}}`, i, strings.Repeat("what it does. ", 100)))
	}
	r := decode(b, with(strings.Join(msgs, ","), `,"system":"`+strings.Repeat("rule. ", 3000)+`","tools":[`+strings.Join(tools, ",")+`]`))
	b.ReportAllocs()
	for b.Loop() {
		e, err := codec.Encode(r, target)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(e.Body)))
	}
}

// A text event costs nothing on its way from the frame to the client.
func TestTextAllocs(t *testing.T) {
	p := pipe()
	batch := stream(t, text(" small words"))
	p.Batch(batch)
	if n := testing.AllocsPerRun(200, func() { p.Batch(batch) }); n > 0 {
		t.Errorf("%v allocations for an event, want none", n)
	}
}
