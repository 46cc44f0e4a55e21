package sse

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// reference splits a stream byte by byte in the plainest way.
func reference(in string) (events []string, rest string) {
	begin, empty := 0, true
	for i := 0; i < len(in); i++ {
		switch in[i] {
		case '\r', '\n':
			if in[i] == '\r' && i+1 < len(in) && in[i+1] == '\n' {
				i++
			}
			if empty {
				events = append(events, in[begin:i+1])
				begin = i + 1
			}
			empty = true
		default:
			empty = false
		}
	}
	return events, in[begin:]
}

func FuzzChunkings(f *testing.F) {
	for _, c := range streams {
		f.Add(c.in, uint16(3), uint8(20))
	}
	f.Fuzz(func(t *testing.T, in string, at uint16, bound uint8) {
		k := int(at) % (len(in) + 1)
		raws, rest := reference(in)
		wantErr, wantAll := io.EOF, len(in)-len(rest)
		if rest != "" {
			wantErr = io.ErrUnexpectedEOF
		}
		// The bound ends the stream before the first event that exceeds it.
		maxEvent := 1 + int(bound)
		sum := 0
		for _, raw := range append(raws, rest) {
			if len(raw) > maxEvent {
				wantErr, wantAll = ErrTooLarge, sum
				break
			}
			sum += len(raw)
		}
		var first []want
		for i, src := range []io.Reader{
			strings.NewReader(in),
			iotest.OneByteReader(strings.NewReader(in)),
			iotest.HalfReader(strings.NewReader(in)),
			iotest.DataErrReader(strings.NewReader(in)),
			io.MultiReader(strings.NewReader(in[:k]), strings.NewReader(in[k:])),
		} {
			events, all, _, err := drain(t, src, maxEvent)
			if err != wantErr || all != in[:wantAll] {
				t.Fatalf("chunking %d: %q, %v, want %q, %v", i, all, err, in[:wantAll], wantErr)
			}
			for j, ev := range events {
				if ev.raw != raws[j] {
					t.Fatalf("chunking %d: event %d is %q, want %q", i, j, ev.raw, raws[j])
				}
			}
			if i == 0 {
				first = events
			} else if fmt.Sprint(first) != fmt.Sprint(events) {
				t.Fatalf("chunking %d: %q, want %q", i, events, first)
			}
		}
	})
}

func FuzzAppendEvent(f *testing.F) {
	f.Add("message_start", []byte(`{"type":"message_start"}`), "ping")
	f.Add("", []byte("a\nb\r\n\rc"), "")
	f.Add("x\n\ny", []byte("\r"), "a\r\rb")
	f.Fuzz(func(t *testing.T, name string, data []byte, text string) {
		out := AppendComment(AppendEvent(nil, name, data), text)
		ev, rest, ok := Cut(out)
		wantName := strings.NewReplacer("\r", " ", "\n", " ").Replace(name)
		wantData := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(data))
		if !ok || string(ev.Name) != wantName || ev.Data == nil || string(ev.Data) != wantData {
			t.Fatalf("%q reads as %q, %q, %v", out, ev.Name, ev.Data, ok)
		}
		ev, rest, ok = Cut(rest)
		if !ok || ev.Name != nil || ev.Data != nil || len(rest) > 0 || !bytes.HasSuffix(out, ev.Raw) {
			t.Fatalf("comment in %q reads as %q, rest %q, %v", out, ev.Raw, rest, ok)
		}
	})
}

// anthropicStream is a Messages answer of n events.
func anthropicStream(n int) []byte {
	out := AppendEvent(nil, "message_start", []byte(`{"type":"message_start","message":{"id":"msg_01","role":"assistant",`+
		`"model":"claude-sonnet-4-5","content":[],"usage":{"input_tokens":25,"output_tokens":1}}}`))
	for range n - 2 {
		out = AppendEvent(out, "content_block_delta", []byte(`{"type":"content_block_delta","index":0,`+
			`"delta":{"type":"text_delta","text":" harbour"}}`))
	}
	return AppendEvent(out, "message_stop", []byte(`{"type":"message_stop"}`))
}

func benchStream(b *testing.B, wrap func(io.Reader) io.Reader) {
	stream := anthropicStream(200)
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		r := NewReader(wrap(bytes.NewReader(stream)), 1<<20)
		events := 0
		for {
			batch, err := r.Batch()
			if err == io.EOF {
				break
			}
			for len(batch) > 0 {
				_, rest, ok := Cut(batch)
				if !ok {
					b.Fatal("no event")
				}
				batch = rest
				events++
			}
		}
		r.Release()
		if events != 200 {
			b.Fatal(events)
		}
	}
}

// BenchmarkStream200 has the source fill every read.
func BenchmarkStream200(b *testing.B) { benchStream(b, func(r io.Reader) io.Reader { return r }) }

// BenchmarkStream200ByEvent has about one event a read, as an upstream flushes.
func BenchmarkStream200ByEvent(b *testing.B) {
	benchStream(b, func(r io.Reader) io.Reader { return perEvent{r} })
}

type perEvent struct{ src io.Reader }

func (p perEvent) Read(b []byte) (int, error) { return p.src.Read(b[:min(len(b), 129)]) }

// BenchmarkHugeEvent is one event of 1 MiB that arrives 1400 bytes at a time.
func BenchmarkHugeEvent(b *testing.B) {
	stream := AppendEvent(nil, "", bytes.Repeat([]byte("x"), 1<<20))
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		r := NewReader(packets{bytes.NewReader(stream)}, 2<<20)
		if batch, err := r.Batch(); err != nil || len(batch) != len(stream) {
			b.Fatal(len(batch), err)
		}
		r.Release()
	}
}

type packets struct{ src io.Reader }

func (p packets) Read(b []byte) (int, error) { return p.src.Read(b[:min(len(b), 1400)]) }

func BenchmarkAppendEvent(b *testing.B) {
	data := []byte(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" harbour"}}`)
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendEvent(dst[:0], "content_block_delta", data)
	}
}
