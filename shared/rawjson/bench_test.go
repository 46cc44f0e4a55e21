package rawjson

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
)

// wanted is what a gateway asks of a request body.
var wanted = []string{"model", "stream", "max_tokens", "messages", "system", "tools", "metadata", "temperature"}

const prose = "The harbour was quiet that morning, and the keeper of the light wrote in his book " +
	"that nothing had passed since the fog came down; he had counted the hours by the bell. "

// source makes size bytes of indented code. Its lines vary, so that a branch
// predictor cannot learn them by heart as it would a repeated sample.
func source(size int) string {
	rng := rand.New(rand.NewPCG(1, 2))
	var out strings.Builder
	for out.Len() < size {
		out.WriteString(strings.Repeat("\t", rng.IntN(5)))
		for range rng.IntN(7) {
			out.WriteString("identifiersAndCalls("[rng.IntN(10) : 11+rng.IntN(9)])
			switch rng.IntN(6) {
			case 0:
				out.WriteString(` "%q" `)
			case 1:
				out.WriteString(` := "a\n", `)
			default:
				out.WriteString(" == ")
			}
		}
		out.WriteByte('\n')
	}
	return out.String()
}

// messagesBody builds a request whose turns repeat text up to about size bytes.
func messagesBody(text string, size int) []byte {
	turn := AppendString(nil, strings.Repeat(text, 1+4096/len(text)))
	body := []byte(`{"model":"claude-sonnet-4-5","max_tokens":4096,"stream":true,"messages":[`)
	for i := 0; len(body) < size; i++ {
		if i > 0 {
			body = append(body, ',')
		}
		role := "user"
		if i%2 == 1 {
			role = "assistant"
		}
		body = append(body, `{"role":"`+role+`","content":[{"type":"text","text":`...)
		body = append(body, turn...)
		body = append(body, `}]}`...)
	}
	return append(body, `],"temperature":0.7}`...)
}

// smallBody is about 300 bytes, spaced as Python clients write it.
func smallBody() []byte {
	return []byte(`{"model": "claude-haiku-4-5", "max_tokens": 256, "stream": false, ` +
		`"system": "You answer in one short sentence.", "messages": [{"role": "user", ` +
		`"content": "What is the capital of Peru?"}, {"role": "assistant", "content": "Lima."}, ` +
		`{"role": "user", "content": "And of Chile?"}], "metadata": {"user_id": "u-1234567"}}`)
}

func benchScan(b *testing.B, doc []byte) {
	out := make([]Value, len(wanted))
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		if err := Scan(doc, wanted, out); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkScanProse1MiB(b *testing.B)  { benchScan(b, messagesBody(prose, 1<<20)) }
func BenchmarkScanSource1MiB(b *testing.B) { benchScan(b, messagesBody(source(256<<10), 1<<20)) }
func BenchmarkScanSmall(b *testing.B)      { benchScan(b, smallBody()) }

// BenchmarkScanNumbers1MiB is an array of embeddings, all structure and digits.
func BenchmarkScanNumbers1MiB(b *testing.B) {
	doc := append([]byte(`{"model":"e","data":[0`), bytes.Repeat([]byte(`,-0.0123456`), 1<<20/11)...)
	benchScan(b, append(doc, `]}`...))
}

// BenchmarkScanUnicode1MiB is text a client wrote in \uXXXX escapes.
func BenchmarkScanUnicode1MiB(b *testing.B) {
	doc := append([]byte(`{"model":"e","text":"`), bytes.Repeat([]byte(`\u4f60\u597d, `), 1<<20/14)...)
	benchScan(b, append(doc, `"}`...))
}

// BenchmarkValidStdlibProse1MiB is the yardstick.
func BenchmarkValidStdlibProse1MiB(b *testing.B) {
	doc := messagesBody(prose, 1<<20)
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		if !json.Valid(doc) {
			b.Fatal("invalid")
		}
	}
}

func BenchmarkFindUsage(b *testing.B) {
	doc := []byte(`{"type":"message_start","message":{"id":"msg_01","type":"message","role":"assistant",` +
		`"model":"claude-sonnet-4-5","content":[],"stop_reason":null,"usage":{"input_tokens":2095,` +
		`"cache_read_input_tokens":0,"output_tokens":503}}}`)
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		v, err := Find(doc, "message", "usage", "input_tokens")
		if n, ok := v.Int(); err != nil || !ok || n != 2095 {
			b.Fatal(n, ok, err)
		}
	}
}

func BenchmarkSplice1MiB(b *testing.B) {
	doc := messagesBody(prose, 1<<20)
	v, err := Find(doc, "model")
	if err != nil {
		b.Fatal(err)
	}
	repl := []byte(`"claude-opus-4-1"`)
	dst := make([]byte, 0, 2<<20)
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		dst = Splice(dst[:0], doc, v, repl)
	}
}

func BenchmarkAppendStringSource(b *testing.B) {
	text := source(64 << 10)
	dst := make([]byte, 0, 2*len(text))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendString(dst[:0], text)
	}
}
