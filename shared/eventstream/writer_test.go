package eventstream_test

import (
	"bytes"
	"strings"
	"testing"

	aws "github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"

	"sluice/shared/eventstream"
)

// write makes a frame behind what is there already.
func write(before []byte, h eventstream.Head, payload string) []byte {
	at := len(before)
	return eventstream.End(append(h.Begin(before), payload...), at)
}

// TestWriter: AWS's encoder writes the same bytes, and Cut reads them.
func TestWriter(t *testing.T) {
	for _, c := range []struct {
		why     string
		head    eventstream.Head
		headers []aws.Header
		payload string
		kind    eventstream.Kind
	}{
		{"an event", eventstream.EventHead("chunk"), []aws.Header{text(":event-type", "chunk"), text(":content-type", "application/json"), text(":message-type", "event")},
			`{"bytes":"e30="}`, eventstream.Event},
		{"an exception", eventstream.ExceptionHead("throttlingException"),
			[]aws.Header{text(":exception-type", "throttlingException"), text(":content-type", "application/json"), text(":message-type", "exception")},
			`{"message":"slow down"}`, eventstream.Exception},
		{"no payload", eventstream.EventHead("ping"), []aws.Header{text(":event-type", "ping"), text(":content-type", "application/json"), text(":message-type", "event")}, "", eventstream.Event},
		{"a large one", eventstream.EventHead("chunk"), []aws.Header{text(":event-type", "chunk"), text(":content-type", "application/json"), text(":message-type", "event")},
			strings.Repeat("x", 70_000), eventstream.Event},
	} {
		t.Run(c.why, func(t *testing.T) {
			want := encode(t, c.payload, c.headers...)
			for _, before := range []string{"", "what came before"} {
				got := write([]byte(before), c.head, c.payload)
				if !bytes.Equal(got, append([]byte(before), want...)) {
					t.Fatalf("got %q\nwant %q", got, want)
				}
			}
			m, rest, ok, err := eventstream.Cut(write(nil, c.head, c.payload))
			if err != nil || !ok || len(rest) > 0 || m.Kind != c.kind || string(m.Payload) != c.payload {
				t.Errorf("read as %v with %d bytes more, %v, %v", m.Kind, len(rest), ok, err)
			}
		})
	}
}

// TestWriter_Allocations: a relay writes a frame for each event of thousands of streams.
func TestWriter_Allocations(t *testing.T) {
	head, buf := eventstream.EventHead("chunk"), make([]byte, 0, 1<<10)
	if n := testing.AllocsPerRun(100, func() { buf = write(buf[:0], head, `{"bytes":"e30="}`) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzWriter: whatever is written is read back by both decoders.
func FuzzWriter(f *testing.F) {
	f.Add("chunk", []byte(`{"bytes":"e30="}`))
	f.Add("", []byte{})
	f.Fuzz(func(t *testing.T, name string, payload []byte) {
		if len(name) > 1<<15 {
			t.Skip("longer than a header's value may be")
		}
		frame := write(nil, eventstream.EventHead(name), string(payload))
		m, rest, ok, err := eventstream.Cut(frame)
		if err != nil || !ok || len(rest) > 0 || m.Name != name || !bytes.Equal(m.Payload, payload) {
			t.Fatalf("%q reads as %+v, %v, %v", frame, m, ok, err)
		}
		got, err := aws.NewDecoder().Decode(bytes.NewReader(frame), nil)
		if err != nil || got.Headers.Get(":event-type").String() != name || !bytes.Equal(got.Payload, payload) {
			t.Fatalf("AWS's decoder reads %v, %v", got, err)
		}
	})
}
