package bedrock_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"

	"sluice/shared/eventstream"
	"sluice/shared/sse"
	"sluice/shared/translator"
	"sluice/shared/translator/anthropic"
	"sluice/shared/translator/bedrock"
)

type batches interface {
	Batch() ([]byte, error)
	Release()
}

// answer200 is an answer of 200 events: as server-sent events, and as the frames of InvokeModelWithResponseStream.
func answer200(b testing.TB) (text, frames []byte) {
	events := []string{`{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":10,"output_tokens":1}}}`,
		`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`}
	for range 195 {
		events = append(events, `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" some small words"}}`)
	}
	events = append(events, `{"type":"content_block_stop","index":0}`,
		`{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":200}}`, `{"type":"message_stop"}`)
	for i, e := range events {
		text = append(text, sseOf(e)...)
		if i == len(events)-1 {
			e = `{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":10,"outputTokenCount":200,"invocationLatency":1,"firstByteLatency":1}}`
		}
		frames = append(frames, chunk(b, e)...)
	}
	return text, frames
}

func chunk(t testing.TB, data string) []byte {
	return frame(t, "event", ":event-type", "chunk", `{"bytes":"`+base64.StdEncoding.EncodeToString([]byte(data))+`","p":"abcdefghijkl"}`)
}

// pieces is a stream that comes a few events at a time, as from a network.
type pieces struct {
	b []byte
	n int
}

func (p *pieces) Read(dst []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := copy(dst[:min(len(dst), p.n)], p.b)
	p.b = p.b[n:]
	return n, nil
}

// cpu is what this process has used, in nanoseconds: on a machine with other work the clock tells nothing.
func cpu(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return syscall.TimevalToNsec(u.Utime) + syscall.TimevalToNsec(u.Stime)
}

func report(b *testing.B, since int64) {
	b.ReportMetric(float64(cpu(b)-since)/float64(b.N)/200, "cpu-ns/event")
	b.ReportMetric(0, "ns/op")
}

func benchStream(b *testing.B, in []byte, step int, tap bool, open func(io.Reader) batches) {
	b.ReportAllocs()
	since := cpu(b)
	for b.Loop() {
		var tapped translator.Stream
		if tap {
			tapped = anthropic.Codec{}.NewTap(translator.TapOptions{ID: "r1", Model: "claude"})
		}
		r := open(&pieces{in, step})
		n := 0
		for {
			batch, err := r.Batch()
			if err == io.EOF {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			if tap {
				batch = tapped.Batch(batch)
			}
			n += len(batch)
		}
		r.Release()
		if n < 10_000 || tap && !tapped.Status().Ended {
			b.Fatal("not ended")
		}
	}
	report(b, since)
}

// BenchmarkRelay200 is the same answer on its whole way: events come one by one from one socket, go through the tap, and out
// into another. Of what a stream costs the gateway only TLS and HTTP's chunks are missing, which are the same for both.
func BenchmarkRelay200(b *testing.B) {
	text, frames := answer200(b)
	b.Run("sse", func(b *testing.B) {
		benchRelay(b, text, sseSizes(text), func(r io.Reader) batches { return sse.NewReader(r, 1<<20) })
	})
	b.Run("unwrap", func(b *testing.B) {
		benchRelay(b, frames, frameSizes(frames), func(r io.Reader) batches { return bedrock.Unwrap(r, 1<<20) })
	})
}

func sseSizes(in []byte) (sizes []int) {
	for len(in) > 0 {
		_, rest, _ := sse.Cut(in)
		sizes, in = append(sizes, len(in)-len(rest)), rest
	}
	return sizes
}

func frameSizes(in []byte) (sizes []int) {
	for len(in) > 0 {
		_, rest, _, _ := eventstream.Cut(in)
		sizes, in = append(sizes, len(in)-len(rest)), rest
	}
	return sizes
}

// one gives the pieces of a socket one at a time, whatever is there.
type one struct {
	src   io.Reader
	sizes []int
}

func (o *one) Read(dst []byte) (int, error) {
	if len(o.sizes) == 0 {
		return 0, io.EOF
	}
	n, err := o.src.Read(dst[:min(len(dst), o.sizes[0])])
	if o.sizes[0] -= n; o.sizes[0] == 0 {
		o.sizes = o.sizes[1:]
	}
	return n, err
}

func sockets(b *testing.B) (near, far net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		b.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

func benchRelay(b *testing.B, in []byte, sizes []int, open func(io.Reader) batches) {
	b.ReportAllocs()
	up, feed := sockets(b)
	down, client := sockets(b)
	drained := make([]byte, 64<<10)
	since := cpu(b)
	for b.Loop() {
		if _, err := feed.Write(in); err != nil { // fits the socket's buffer
			b.Fatal(err)
		}
		tapped := anthropic.Codec{}.NewTap(translator.TapOptions{ID: "r1", Model: "claude"})
		r := open(&one{up, append([]int(nil), sizes...)})
		out := 0 // bytes that the client has not read
		for {
			batch, err := r.Batch()
			if err == io.EOF {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			n, err := down.Write(tapped.Batch(batch))
			if err != nil {
				b.Fatal(err)
			}
			if out += n; out > 16<<10 {
				n, _ := client.Read(drained)
				out -= n
			}
		}
		r.Release()
		if !tapped.Status().Ended {
			b.Fatal("not ended")
		}
		if _, err := io.ReadFull(client, drained[:out]); err != nil {
			b.Fatal(err)
		}
	}
	report(b, since)
}

// BenchmarkUnwrap200 holds the frames of an answer of 200 events against the same as server-sent events, without and with the
// tap that the gateway has behind either.
func BenchmarkUnwrap200(b *testing.B) {
	text, frames := answer200(b)
	for _, tap := range []bool{false, true} {
		b.Run(fmt.Sprintf("sse/tap=%v", tap), func(b *testing.B) {
			benchStream(b, text, len(text)/100, tap, func(r io.Reader) batches { return sse.NewReader(r, 1<<20) })
		})
		b.Run(fmt.Sprintf("unwrap/tap=%v", tap), func(b *testing.B) {
			benchStream(b, frames, len(frames)/100, tap, func(r io.Reader) batches { return bedrock.Unwrap(r, 1<<20) })
		})
	}
}

func sseOf(data string) []byte {
	name, _, _ := bytes.Cut([]byte(data[len(`{"type":"`):]), []byte{'"'})
	return sse.AppendEvent(nil, string(name), []byte(data))
}
