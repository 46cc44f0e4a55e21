package translate_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"sluice/shared/translator"
)

// played is one stream of an upstream, and what its client was sent for it.
type played struct {
	out    []byte
	ends   int // bytes of the upstream's stream up to the end of the event that ended it; -1: none did
	status translator.Status
}

// play runs a stream through a pipe, batch by batch.
func play(tb testing.TB, pipe *translator.Pipe, stream []byte, batches [][]byte) played {
	tb.Helper()
	p := played{ends: -1}
	at := 0
	for _, b := range batches {
		p.out = append(p.out, pipe.Batch(b)...)
		at += len(b)
		if p.ends < 0 && pipe.Status().Ended {
			p.ends = at
		}
	}
	if at != len(stream) {
		tb.Fatalf("played %d of %d bytes", at, len(stream))
	}
	p.status = *pipe.Status()
	return p
}

// events cuts a stream after each event. The streams of testdata have LF alone.
func (d *dialect) events(stream []byte) [][]byte {
	var list [][]byte
	for d.isQ() && len(stream) > 0 {
		n := min(int(binary.BigEndian.Uint32(stream)), len(stream))
		list, stream = append(list, stream[:n]), stream[n:]
	}
	for len(stream) > 0 {
		n := len(stream)
		if i := bytes.Index(stream, []byte("\n\n")); i >= 0 {
			n = i + 2
		}
		list, stream = append(list, stream[:n]), stream[n:]
	}
	return list
}

// streamed lists the scenes with a stream, with the request of each made ready.
func streamed(t *testing.T, fn func(t *testing.T, s scene, stream []byte, pipe func() *translator.Pipe)) {
	n := 0
	for _, s := range scenes(t) {
		stream := s.streamed(t)
		req, err := s.decode(s.read(t, "request.json"))
		if stream == nil || err != nil {
			continue
		}
		enc, err := s.encode(req, s.model)
		if err != nil {
			continue
		}
		n++
		t.Run(s.String()+"/"+s.name, func(t *testing.T) {
			fn(t, s, stream, func() *translator.Pipe { return s.pipeOf(req, enc) })
		})
	}
	if n < 100 {
		t.Errorf("only %d streams: the test passes on next to nothing", n)
	}
}

// TestStreamsInPieces: how a stream is cut into packets changes nothing of what the client is sent.
func TestStreamsInPieces(t *testing.T) {
	streamed(t, func(t *testing.T, s scene, stream []byte, pipe func() *translator.Pipe) {
		at := pipe()
		want := slices.Clone(at.Batch(stream))
		if !at.Status().Ended && !s.upstream.lost(stream) {
			want = append(want, at.End()...)
		}
		readers := map[string]io.Reader{
			"at once":             bytes.NewReader(stream),
			"byte by byte":        iotest.OneByteReader(bytes.NewReader(stream)),
			"in halves":           iotest.HalfReader(bytes.NewReader(stream)),
			"with the end at one": iotest.DataErrReader(bytes.NewReader(stream)),
		}
		if s.upstream.isQ() {
			readers["among unknown events"] = bytes.NewReader(amongUnknown(s.upstream.events(stream)))
		} else {
			readers["with CRLF"] = iotest.OneByteReader(strings.NewReader(strings.ReplaceAll(string(stream), "\n", "\r\n")))
			readers["with CR"] = iotest.HalfReader(strings.NewReader(strings.ReplaceAll(string(stream), "\n", "\r")))
			readers["after comments"] = strings.NewReader(": PROCESSING\n\n" + strings.ReplaceAll(string(stream), "\n\n", "\n\n: ping\n\n"))
		}
		for how, r := range readers {
			if got := s.drain(t, pipe(), r); !bytes.Equal(got, want) {
				t.Errorf("%s:\n%s\nat once, as one batch:\n%s", how, got, want)
			}
		}
	})
}

// TestStreamsCut: a stream that is cut anywhere has said the beginning of what the whole one says, and has not ended,
// unless the cut is behind the event that ends it (D12, D33, D38).
func TestStreamsCut(t *testing.T) {
	streamed(t, func(t *testing.T, s scene, stream []byte, pipe func() *translator.Pipe) {
		whole := play(t, pipe(), stream, s.upstream.events(stream))
		for _, n := range cuts(s, stream) {
			p := pipe()
			got, _ := s.feed(t, p, bytes.NewReader(stream[:n]))
			if !bytes.HasPrefix(whole.out, got) {
				t.Fatalf("cut at %d of %d:\n%s\nis not the beginning of\n%s", n, len(stream), got, whole.out)
			}
			st := p.Status()
			if want := whole.ends >= 0 && n >= whole.ends; st.Ended != want {
				t.Fatalf("cut at %d of %d: ended %v, want %v (the last event ends at %d)", n, len(stream), st.Ended, want, whole.ends)
			}
			if st.Broken != nil {
				t.Fatalf("cut at %d: broken: %v", n, st.Broken)
			}
		}
	})
}

// cuts are the places at which a stream is cut: every byte of a few, and of the others around and within each event.
func cuts(s scene, stream []byte) []int {
	var at []int
	if s.name == "thinkingsignature" || s.name == "paralleltools" || s.name == "interleavedtools" {
		for n := range len(stream) + 1 {
			at = append(at, n)
		}
		return at
	}
	end := 0
	for _, ev := range s.upstream.events(stream) {
		begin := end
		end += len(ev)
		at = append(at, begin+1, begin+len(ev)/2, end-1, end)
	}
	return at
}

// TestStreamsCutFail: what the gateway appends to a stream that broke off makes it one that failed, at every event.
func TestStreamsCutFail(t *testing.T) {
	streamed(t, func(t *testing.T, s scene, stream []byte, pipe func() *translator.Pipe) {
		req, err := s.decode(s.read(t, "request.json"))
		if err != nil {
			t.Fatal(err)
		}
		list := s.upstream.events(stream)
		for n := range list {
			p := pipe()
			got := play(t, p, bytes.Join(list[:n], nil), list[:n])
			if !got.status.Content || got.status.Ended {
				continue // the gateway answers with a status, or the stream is over
			}
			out := append(got.out, p.Fail(brokenOff())...)
			h, err := s.client.check(out, checkOptions{usage: req.IncludeUsage, legacy: req.Legacy, failed: true, bad: true})
			if err != nil {
				t.Fatalf("after %d events: %v\n%s", n, err, out)
			}
			if msg := fmt.Sprint(h.failure["message"]); msg != brokenOff().Message {
				t.Fatalf("after %d events the error says %q", n, msg)
			}
			if tokens, estimated := p.Tokens(); tokens.Output == 0 || !estimated && tokens.Output < 2 {
				t.Fatalf("after %d events: %+v, estimated %v: content is billed", n, tokens, estimated)
			}
		}
	})
}

// TestGarbage: what is no answer of the dialect says nothing to the client, and the gateway can try another node.
func TestGarbage(t *testing.T) {
	cases := map[string]string{
		"an HTML page":            "<!DOCTYPE html>\n<html><body><h1>It works</h1></body></html>\n\n",
		"nothing":                 "",
		"comments":                ": OPENROUTER PROCESSING\n\n: x\n\n",
		"data that is no JSON":    "data: {\"id\":\n\n",
		"data that is no object":  "data: [1,2]\n\n",
		"data that is a word":     "data: hello\n\n",
		"an empty object":         "data: {}\n\n",
		"an unfinished event":     "data: {}",
		"a lone DONE":             "data: [DONE]\n\n",
		"a stray delta":           "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"x\"}}\n\n",
		"deep nesting":            "data: " + strings.Repeat("[", 5000) + "\n\n",
		"an error of Anthropic's": "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
		"an error of chat's":      "data: {\"error\":{\"message\":\"m\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n",
		"an error of Responses'":  "event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"m\",\"param\":null,\"sequence_number\":0}\n\n",
	}
	for _, p := range pairs() {
		all := map[string]string{}
		for name, s := range cases {
			all[name] = s
		}
		for _, d := range upstreams() {
			if d.name != p.upstream.name {
				all["the stream of "+d.name] = string(plainStream(t, d))
			}
		}
		req, err := p.decode(plainRequest(p.client.name))
		if err != nil {
			t.Fatal(err)
		}
		for name, stream := range all {
			t.Run(p.String()+"/"+name, func(t *testing.T) {
				pipe := p.pipe(req, translator.Enforce{})
				out := p.drain(t, pipe, strings.NewReader(stream))
				st := pipe.Status()
				if st.Content {
					t.Errorf("content was seen: %s", out)
				}
				if st.Ended && st.Err == nil {
					t.Errorf("it counts as an answer: %+v, %s", st, out)
				}
				if len(out) > 0 && !st.Started {
					t.Errorf("the client was sent %s", out)
				}
			})
		}
	}
}

// plainRequest is a request of one word.
func plainRequest(dialect string) []byte {
	switch dialect {
	case "anthropic":
		return []byte(`{"model":"alias","max_tokens":1024,"stream":true,"messages":[{"role":"user","content":"Hi"}]}`)
	case "chat":
		return []byte(`{"model":"alias","stream":true,"messages":[{"role":"user","content":"Hi"}]}`)
	}
	return []byte(`{"model":"alias","stream":true,"input":"Hi"}`)
}

// plainStream is a dialect's answer of a few words, from testdata.
func plainStream(t testing.TB, d *dialect) []byte {
	for _, s := range scenes(t) {
		if s.upstream.name == d.name && s.name == "text" {
			return s.streamed(t)
		}
	}
	t.Fatalf("testdata has no plain stream of %s", d.name)
	return nil
}
