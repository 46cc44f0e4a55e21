package translate_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"sluice/shared/translator"
	"sluice/shared/upstream/upstreamtest"
)

// TestAmazonQ_CutAtFrames: the dialect has no terminal event. A stream that is over at a frame, as the transport says, is an
// answer when something was said, or the service counted up that nothing was, and no call is open; else it is broken. Where the transport does not say so it never is
// one: TestStreamsCut (D12, D27).
func TestAmazonQ_CutAtFrames(t *testing.T) {
	n := 0
	streamed(t, func(t *testing.T, s scene, stream []byte, pipe func() *translator.Pipe) {
		if !s.upstream.isQ() {
			return
		}
		n++
		req, err := s.decode(s.read(t, "request.json"))
		if err != nil {
			t.Fatal(err)
		}
		list := s.upstream.events(stream)
		for i := range list {
			p := pipe()
			out := s.drain(t, p, bytes.NewReader(bytes.Join(list[:i], nil)))
			st := p.Status()
			if said, open := qHeard(t, list[:i]); st.Ended != (said && !open) && st.Err == nil && !st.Cut {
				t.Fatalf("after %d events: said something: %v, a call is open: %v, but %+v", i, said, open, st)
			}
			if !st.Ended {
				if !st.Content {
					continue // the gateway answers with a status, or asks another node
				}
				out = append(out, p.Fail(brokenOff())...)
			}
			o := checkOptions{usage: req.IncludeUsage, legacy: req.Legacy, failed: !st.Ended || st.Err != nil, bad: s.name == "badarguments" || !st.Ended}
			if _, err := s.client.check(out, o); err != nil {
				t.Fatalf("after %d events: %v\n%s", i, err, out)
			}
		}
	})
	if n < 100 {
		t.Errorf("only %d streams of Amazon Q", n)
	}
}

// qHeard reads frames as plainly as can be: whether there was content, or a count of it, and whether a call has not ended.
func qHeard(t *testing.T, list [][]byte) (said, open bool) {
	t.Helper()
	input, stopped := map[string]string{}, map[string]bool{}
	for _, frame := range list {
		at := bytes.IndexByte(frame[12:], '{')
		for _, name := range []string{"metadataEvent", "meteringEvent", "contextUsageEvent"} {
			said = said || bytes.Contains(frame, []byte(name))
		}
		if at < 0 || !speaks(frame) {
			continue
		}
		var o object
		if decodeNumbers(frame[12+at:], &o) != nil {
			t.Fatalf("no JSON in %q", frame)
		}
		for _, name := range []string{"content", "text", "signature", "redactedContent"} {
			s, _ := o[name].(string)
			said = said || s != ""
		}
		if id, ok := o["toolUseId"].(string); ok {
			said = true
			piece, _ := o["input"].(string)
			input[id] += piece
			stopped[id] = stopped[id] || o["stop"] == true
		}
	}
	for id, text := range input {
		open = open || !stopped[id] && strictJSON([]byte(text)) != nil
	}
	return said, open
}

// speaks reports whether a frame is of an event that has content.
func speaks(frame []byte) bool {
	for _, name := range []string{"assistantResponseEvent", "reasoningContentEvent", "toolUseEvent"} {
		if bytes.Contains(frame, []byte(name)) {
			return true
		}
	}
	return false
}

// TestAmazonQ_Corrupt: a bit that fell over is found, and is never content.
func TestAmazonQ_Corrupt(t *testing.T) {
	for _, client := range dialects() {
		p := pair{client, dialectNamed(t, "amazonq")}
		req, err := p.decode(plainRequest(client.name))
		if err != nil {
			t.Fatal(err)
		}
		stream := plainStream(t, p.upstream)
		whole := p.drain(t, p.pipe(req, translator.Enforce{}), bytes.NewReader(stream))
		for at := range stream {
			bad := slices.Clone(stream)
			bad[at] ^= 0x10
			pipe := p.pipe(req, translator.Enforce{})
			out := p.drain(t, pipe, bytes.NewReader(bad))
			if pipe.Status().Ended || !bytes.HasPrefix(whole, out) {
				t.Fatalf("%v: byte %d: %+v\n%s", p, at, pipe.Status(), out)
			}
		}
	}
}

// TestAmazonQ_Garbage: frames that are no answer say nothing to the client.
func TestAmazonQ_Garbage(t *testing.T) {
	cases := map[string]string{
		"an empty payload":        upstreamtest.Frame("assistantResponseEvent", ""),
		"a payload of words":      upstreamtest.Frame("assistantResponseEvent", "hello"),
		"a payload of a list":     upstreamtest.Frame("assistantResponseEvent", "[1]"),
		"an unfinished payload":   upstreamtest.Frame("assistantResponseEvent", `{"content":"x`),
		"text of another type":    upstreamtest.Frame("assistantResponseEvent", `{"content":7}`),
		"a piece of no call":      upstreamtest.Frame("toolUseEvent", `{"input":"{}","stop":true}`),
		"a call without a name":   upstreamtest.Frame("toolUseEvent", `{"toolUseId":"a","input":"{}","stop":true}`),
		"a number for input":      upstreamtest.Frame("toolUseEvent", `{"toolUseId":"a","name":"f","input":7}`),
		"a beginning alone":       upstreamtest.Frame("messageMetadataEvent", `{"conversationId":"c","utteranceId":"u"}`),
		"unknown events alone":    upstreamtest.Frame("brandNewEvent", `{"content":"x"}`),
		"deep nesting":            upstreamtest.Frame("assistantResponseEvent", strings.Repeat(`{"content":`, 5000)+strings.Repeat("}", 5000)),
		"a frame without headers": upstreamtest.FrameOf(`{"content":"x"}`),
		"an event without a name": upstreamtest.FrameOf(`{"content":"x"}`, ":message-type", "event"),
		"an error of AWS's":       `{"__type":"com.amazon.aws#ThrottlingException","message":"Rate exceeded"}`,
	}
	for _, client := range dialects() {
		p := pair{client, dialectNamed(t, "amazonq")}
		req, err := p.decode(plainRequest(client.name))
		if err != nil {
			t.Fatal(err)
		}
		for name, stream := range cases {
			t.Run(p.String()+"/"+name, func(t *testing.T) {
				pipe := p.pipe(req, translator.Enforce{})
				out := p.drain(t, pipe, strings.NewReader(stream))
				if st := pipe.Status(); st.Content || st.Ended && st.Err == nil || len(out) > 0 && !st.Started {
					t.Errorf("%+v, the client is sent %q", st, out)
				}
			})
		}
	}
}
