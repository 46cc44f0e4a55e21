package translate_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"sluice/shared/translator"
)

// textDelta is the upstream's event of one piece of text, and what must have come before it.
func textDelta(tb testing.TB, d *dialect) (before, delta []byte) {
	tb.Helper()
	for _, ev := range d.events(plainStream(tb, d)) {
		if bytes.Contains(ev, []byte("Bonjour")) {
			return before, ev
		}
		before = append(before, ev...)
	}
	tb.Fatal("no delta")
	return nil, nil
}

// BenchmarkDelta is what one text delta costs on its way from an upstream to a client.
func BenchmarkDelta(b *testing.B) {
	for _, p := range pairs() {
		b.Run(p.String(), func(b *testing.B) {
			pipe, delta := atDelta(b, p)
			b.ReportAllocs()
			b.SetBytes(int64(len(delta)))
			for b.Loop() {
				if len(pipe.Batch(delta)) == 0 {
					b.Fatal("nothing was sent")
				}
			}
		})
	}
}

// atDelta is a pipe that has seen all up to its first text.
func atDelta(tb testing.TB, p pair) (*translator.Pipe, []byte) {
	tb.Helper()
	req, err := p.decode(plainRequest(p.client.name))
	if err != nil {
		tb.Fatal(err)
	}
	before, delta := textDelta(tb, p.upstream)
	pipe := p.pipe(req, translator.Enforce{})
	pipe.Batch(before)
	pipe.Batch(delta)
	if st := pipe.Status(); !st.Content || st.Broken != nil {
		tb.Fatalf("status %+v", st)
	}
	return pipe, delta
}

// TestDeltaAllocs: a text delta allocates at most twice. What a client's dialect must repeat at the end grows now and
// then, which counts for nothing per event.
func TestDeltaAllocs(t *testing.T) {
	for _, p := range pairs() {
		t.Run(p.String(), func(t *testing.T) {
			pipe, delta := atDelta(t, p)
			if n := testing.AllocsPerRun(2000, func() { pipe.Batch(delta) }); n > 2 {
				t.Errorf("%v allocations for each delta, more than 2", n)
			}
		})
	}
}

// longRequest is a conversation of at least size bytes: prose, code, calls and their results.
func longRequest(tb testing.TB, dialect string, size int) []byte {
	tb.Helper()
	r := rand.New(rand.NewPCG(3, 3))
	prose := strings.Repeat("The quick brown fox \"jumps\" over\nthe lazy dog. ", 40)
	code := strings.Repeat("\tif err != nil {\n\t\treturn fmt.Errorf(\"x: %w\", err)\n\t}\n", 40)
	one := someTalk(r)
	one.turns, one.choice, one.stop = nil, "", nil
	one.tools = []tool{{"run", "Runs it", object{"type": "object", "properties": object{"x": object{"type": "string"}}}}}
	var body []byte
	for n := 0; len(body) < size; n++ {
		for range size/80000 + 1 {
			id := "call_" + jsonText(len(one.turns))
			one.turns = append(one.turns,
				turn{said: []string{prose}},
				turn{assistant: true, said: []string{"I look."}, calls: []call{{id, "run", object{"x": code}}}},
				turn{results: []result{{id, code}}, said: []string{"Go on."}},
				turn{assistant: true, said: []string{prose}})
		}
		full := one
		full.turns = append(full.turns[:len(full.turns):len(full.turns)], turn{said: []string{"And now?"}})
		body = full.body(r, dialect)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, body); err != nil {
		tb.Fatal(err)
	}
	return compact.Bytes()
}

// BenchmarkRequest1MiB is what a long conversation costs: decoded for the hub and encoded for its upstream.
func BenchmarkRequest1MiB(b *testing.B) {
	for _, p := range pairs() {
		b.Run(p.String(), func(b *testing.B) {
			body := longRequest(b, p.client.name, 1<<20)
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				req, err := p.client.Decode(body)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := p.upstream.Encode(req, p.target("")); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestLongRequest: the benchmark's conversation arrives whole.
func TestLongRequest(t *testing.T) {
	for _, p := range pairs() {
		body := longRequest(t, p.client.name, 1<<18)
		if p.upstream.isQ() {
			acrossToQ(t, p, body)
			continue
		}
		out, _ := across(t, p.client, p.upstream, body)
		compare(t, 0, p.String(), mustSee(t, p.client.name, body), mustSee(t, p.upstream.name, out), nil)
	}
}
