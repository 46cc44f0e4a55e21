package eventstream_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	aws "github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"

	"sluice/shared/eventstream"
)

// encode makes a frame with AWS's own encoder.
func encode(t testing.TB, payload string, headers ...aws.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := aws.NewEncoder().Encode(&b, aws.Message{Headers: headers, Payload: []byte(payload)}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func text(name, value string) aws.Header {
	return aws.Header{Name: name, Value: aws.StringValue(value)}
}

func event(t testing.TB, name, payload string) []byte {
	t.Helper()
	return encode(t, payload, text(":event-type", name), text(":content-type", "application/json"), text(":message-type", "event"))
}

// kinds are frames of the three message types, with every type of header.
func kinds(t testing.TB) [][]byte {
	return [][]byte{
		event(t, "assistantResponseEvent", `{"content":"hi"}`),
		encode(t, `{}`, text(":message-type", "event"), text(":event-type", "other"),
			aws.Header{Name: "t", Value: aws.BoolValue(true)}, aws.Header{Name: "f", Value: aws.BoolValue(false)},
			aws.Header{Name: "b", Value: aws.Int8Value(1)}, aws.Header{Name: "s", Value: aws.Int16Value(1)},
			aws.Header{Name: "i", Value: aws.Int32Value(1)}, aws.Header{Name: "l", Value: aws.Int64Value(1)},
			aws.Header{Name: "r", Value: aws.BytesValue("raw")}, aws.Header{Name: "", Value: aws.StringValue("")},
			aws.Header{Name: "at", Value: aws.TimestampValue(time.UnixMilli(1))}, aws.Header{Name: "u", Value: aws.UUIDValue{1}}),
		encode(t, `{"message":"slow down"}`, text(":message-type", "exception"), text(":exception-type", "ThrottlingException")),
		encode(t, "", text(":message-type", "error"), text(":error-code", "500"), text(":error-message", "broken")),
	}
}

var told = []string{
	`0 assistantResponseEvent "" {"content":"hi"}`,
	`0 other "" {}`,
	`1 ThrottlingException "" {"message":"slow down"}`,
	`2 500 "broken" `,
}

func say(m eventstream.Message) string {
	return fmt.Sprintf("%d %s %q %s", m.Kind, m.Name, m.Text, m.Payload)
}

// drain reads a stream to its end and checks that batches are whole and errors stay.
func drain(t testing.TB, src io.Reader, max int) (said []string, err error) {
	t.Helper()
	r := eventstream.NewReader(src, max)
	defer r.Release()
	for {
		batch, err := r.Batch()
		if err != nil {
			if _, again := r.Batch(); again != err || len(batch) > 0 {
				t.Fatalf("%q with %v, then %v", batch, err, again)
			}
			return said, err
		}
		if len(batch) == 0 {
			t.Fatal("an empty batch without an error")
		}
		for len(batch) > 0 {
			m, rest, ok, err := eventstream.Cut(batch)
			if err != nil {
				return said, err
			}
			if !ok {
				t.Fatal("a batch that ends within a frame")
			}
			said, batch = append(said, say(m)), rest
		}
	}
}

// A stream reads the same however it arrives, and ends cleanly at a border of frames only.
func TestReader_CutAtEveryByte(t *testing.T) {
	frames := kinds(t)
	stream := bytes.Join(frames, nil)
	border := map[int]int{0: 0}
	for i, at := 0, 0; i < len(frames); i++ {
		at += len(frames[i])
		border[at] = i + 1
	}
	whole := 0
	for k := 0; k <= len(stream); k++ {
		for way, src := range map[string]io.Reader{
			"in two reads": io.MultiReader(bytes.NewReader(stream[:k]), bytes.NewReader(stream[k:])),
			"byte by byte": io.MultiReader(iotest.OneByteReader(bytes.NewReader(stream[:k])), bytes.NewReader(stream[k:])),
			"with the end": iotest.DataErrReader(io.MultiReader(bytes.NewReader(stream[:k]), bytes.NewReader(stream[k:]))),
		} {
			if said, err := drain(t, src, 1<<20); err != io.EOF || strings.Join(said, "\n") != strings.Join(told, "\n") {
				t.Fatalf("%s, at %d: %q, %v", way, k, said, err)
			}
		}
		want := io.ErrUnexpectedEOF
		if n, at := border[k]; at {
			want, whole = io.EOF, n
		}
		for way, src := range map[string]io.Reader{
			"plain": bytes.NewReader(stream[:k]), "byte by byte": iotest.OneByteReader(bytes.NewReader(stream[:k])),
		} {
			if said, err := drain(t, src, 1<<20); err != want || len(said) != whole {
				t.Fatalf("%s, ended at %d: %d frames, %v; want %d, %v", way, k, len(said), err, whole, want)
			}
		}
	}
}

// seal gives a frame the checksums that belong to it.
func seal(b []byte) []byte {
	b = bytes.Clone(b)
	binary.BigEndian.PutUint32(b[8:], crc32.ChecksumIEEE(b[:8]))
	binary.BigEndian.PutUint32(b[len(b)-4:], crc32.ChecksumIEEE(b[:len(b)-4]))
	return b
}

func with(b []byte, at int, v ...byte) []byte {
	b = bytes.Clone(b)
	copy(b[at:], v)
	return b
}

func TestReader_BadFrames(t *testing.T) {
	good := event(t, "e", "{}")
	flip := func(at int) []byte { return with(good, at, good[at]^1) }
	for _, c := range []struct {
		why  string
		in   []byte
		want error
	}{
		{"the prelude's checksum", flip(9), eventstream.ErrCorrupt},
		{"a length that its checksum does not match", flip(3), eventstream.ErrCorrupt},
		{"the message's checksum", flip(len(good) - 1), eventstream.ErrCorrupt},
		{"a changed payload", flip(len(good) - 5), eventstream.ErrCorrupt},
		{"a changed header", flip(13), eventstream.ErrCorrupt},
		{"2 GiB, which nobody may allocate", seal(with(good, 0, 0x80, 0, 0, 0)), eventstream.ErrTooLarge},
		{"4 GiB - 1", seal(with(good, 0, 0xff, 0xff, 0xff, 0xff)), eventstream.ErrTooLarge},
		{"a length of zero, which would loop", seal(with(good, 0, 0, 0, 0, 0)), eventstream.ErrCorrupt},
		{"shorter than any frame", seal(with(good, 0, 0, 0, 0, 15, 0, 0, 0, 0)), eventstream.ErrCorrupt},
		{"headers longer than the frame", seal(with(good, 4, 0, 0, 1, 0)), eventstream.ErrCorrupt},
		{"headers of 4 GiB", seal(with(good, 4, 0xff, 0xff, 0xff, 0xff)), eventstream.ErrCorrupt},
		{"a header's name beyond the headers", seal(with(good, 12, 255)), eventstream.ErrCorrupt},
		{"a header's type that does not exist", seal(with(good, 12+1+len(":event-type"), 10)), eventstream.ErrCorrupt},
		{"a header's value beyond the headers", seal(with(good, 12+2+len(":event-type"), 0x7f, 0xff)), eventstream.ErrCorrupt},
		{"no message type", encode(t, "{}", text(":event-type", "e")), eventstream.ErrCorrupt},
		{"an unknown message type", encode(t, "{}", text(":message-type", "call")), eventstream.ErrCorrupt},
		{"a message type that is no text", encode(t, "{}", aws.Header{Name: ":message-type", Value: aws.BytesValue("event")}), eventstream.ErrCorrupt},
		{"longer than the bound", event(t, "e", strings.Repeat("x", 2000)), eventstream.ErrTooLarge},
	} {
		t.Run(c.why, func(t *testing.T) {
			for way, src := range map[string]io.Reader{
				"first":  bytes.NewReader(c.in),
				"later":  io.MultiReader(bytes.NewReader(good), bytes.NewReader(c.in)),
				"slowly": iotest.OneByteReader(bytes.NewReader(append(bytes.Clone(good), c.in...))),
			} {
				said, err := drain(t, src, 1000)
				if n := 1; !errors.Is(err, c.want) || way == "first" && len(said) > 0 || way != "first" && len(said) != n {
					t.Errorf("%s: %q, %v", way, said, err)
				}
			}
		})
	}
}

func TestReader_Bound(t *testing.T) {
	f := event(t, "e", strings.Repeat("x", 300_000))
	stream := append(append(bytes.Clone(f), event(t, "e", "{}")...), f...)
	if said, err := drain(t, iotest.HalfReader(bytes.NewReader(stream)), len(f)); err != io.EOF || len(said) != 3 {
		t.Errorf("%d frames, %v: a frame of just the bound must pass, also after a small one", len(said), err)
	}
	if said, err := drain(t, bytes.NewReader(stream), len(f)-1); err != eventstream.ErrTooLarge || len(said) != 0 {
		t.Errorf("%d frames, %v", len(said), err)
	}
}

type wrong struct{ n int }

func (w wrong) Read([]byte) (int, error) { return w.n, nil }

func TestReader_Sources(t *testing.T) {
	own := errors.New("own")
	if said, err := drain(t, io.MultiReader(bytes.NewReader(event(t, "e", "{}")), iotest.ErrReader(own)), 1000); err != own || len(said) != 1 {
		t.Errorf("%q, %v", said, err)
	}
	if _, err := drain(t, wrong{0}, 1000); err != io.ErrNoProgress {
		t.Errorf("a source that brings nothing: %v", err)
	}
	if _, err := drain(t, wrong{-1}, 1000); err == nil || err == io.EOF {
		t.Errorf("a source with an impossible count: %v", err)
	}
	r := eventstream.NewReader(bytes.NewReader(event(t, "e", "{}")), 1000)
	r.Release()
	r.Release()
	if _, err := r.Batch(); err == nil || err == io.EOF {
		t.Errorf("after Release: %v", err)
	}
}

func TestCut_Part(t *testing.T) {
	f := event(t, "e", "{}")
	for k := range f {
		if _, rest, ok, err := eventstream.Cut(f[:k]); ok || err != nil || len(rest) != k {
			t.Fatalf("%d bytes of a frame: %v, %v, %d left", k, ok, err, len(rest))
		}
	}
}

func TestMessage_Err(t *testing.T) {
	f := kinds(t)
	var errs []error
	for _, b := range f {
		m, _, _, err := eventstream.Cut(b)
		if err != nil {
			t.Fatal(err)
		}
		errs = append(errs, m.Err())
		clear(b)
	}
	var x *eventstream.ExceptionError
	var e *eventstream.FrameError
	switch {
	case errs[0] != nil || errs[1] != nil:
		t.Errorf("events: %v", errs[:2])
	case !errors.As(errs[2], &x) || x.Name != "ThrottlingException" || string(x.Payload) != `{"message":"slow down"}`:
		t.Errorf("an exception: %#v", errs[2])
	case !errors.As(errs[3], &e) || e.Code != "500" || e.Message != "broken":
		t.Errorf("an error: %#v", errs[3])
	case strings.Contains(x.Error(), "slow down") || !strings.Contains(e.Error(), "500"):
		t.Errorf("%v, %v", x, e)
	}
}

// What is taken as a frame, AWS's decoder takes too, and reads the same.
func FuzzCut(f *testing.F) {
	for _, b := range kinds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) >= 16 { // else checksums keep the fuzzer out
			binary.BigEndian.PutUint32(in, uint32(len(in)))
			in = seal(in)
		}
		m, rest, ok, err := eventstream.Cut(in)
		if err != nil || !ok {
			return
		}
		want, err := aws.NewDecoder().Decode(bytes.NewReader(in), nil)
		if err != nil || len(rest) > 0 || !bytes.Equal(m.Payload, want.Payload) {
			t.Fatalf("%v: %+v, want %+v", err, m, want)
		}
		name := want.Headers.Get([...]string{":event-type", ":exception-type", ":error-code"}[m.Kind])
		if v, is := name.(aws.StringValue); is && string(v) != m.Name || !is && m.Name != "" {
			t.Fatalf("the name is %q, want %v", m.Name, name)
		}
		said, err := drain(t, iotest.OneByteReader(bytes.NewReader(in)), 1<<20)
		if err != io.EOF || len(said) != 1 || said[0] != say(m) {
			t.Fatalf("byte by byte %q, %v", said, err)
		}
	})
}

// Whatever bytes come, the reader ends with an error and does not hold more than it was sent.
func FuzzReader(f *testing.F) {
	f.Add(bytes.Join(kinds(f), nil), uint16(7))
	f.Add([]byte("HTTP/1.1 502 Bad Gateway\r\n\r\n"), uint16(3))
	f.Fuzz(func(t *testing.T, in []byte, at uint16) {
		k := int(at) % (len(in) + 1)
		one, err1 := drain(t, bytes.NewReader(in), 1<<16)
		two, err2 := drain(t, io.MultiReader(bytes.NewReader(in[:k]), iotest.OneByteReader(bytes.NewReader(in[k:]))), 1<<16)
		if strings.Join(one, "\n") != strings.Join(two, "\n") || fmt.Sprint(err1) != fmt.Sprint(err2) {
			t.Fatalf("%q, %v, and cut %q, %v", one, err1, two, err2)
		}
	})
}

func stream200(b *testing.B) []byte {
	return bytes.Repeat(event(b, "assistantResponseEvent", `{"content":" harbour","modelId":"claude-sonnet-4.5"}`), 200)
}

// BenchmarkStream200 reads 200 events.
func BenchmarkStream200(b *testing.B) {
	stream := stream200(b)
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		r, n := eventstream.NewReader(bytes.NewReader(stream), 1<<20), 0
		for {
			batch, err := r.Batch()
			if err == io.EOF {
				break
			}
			for len(batch) > 0 {
				_, rest, ok, err := eventstream.Cut(batch)
				if !ok {
					b.Fatal(err)
				}
				batch = rest
				n++
			}
		}
		r.Release()
		if n != 200 {
			b.Fatal(n)
		}
	}
}

// BenchmarkAWS200 is the same with AWS's decoder, for comparison.
func BenchmarkAWS200(b *testing.B) {
	stream := stream200(b)
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	buf := make([]byte, 4096)
	for b.Loop() {
		d, src := aws.NewDecoder(), bytes.NewReader(stream)
		for range 200 {
			if _, err := d.Decode(src, buf); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func TestCut_Allocs(t *testing.T) {
	f := event(t, "assistantResponseEvent", `{"content":"hi"}`)
	if n := testing.AllocsPerRun(100, func() {
		if _, _, ok, err := eventstream.Cut(f); !ok {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations for an event, want none", n)
	}
}
