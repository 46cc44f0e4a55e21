package translate_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"sluice/shared/translator"
	"sluice/shared/upstream/upstreamtest"
)

// qFrames makes a stream of Amazon Q out of upstream.events, with AWS's own encoder: an event a line, its type, a space and
// its payload. "!type payload" is an exception, "?code words" an error, "~type payload" the half of an event, at which the
// connection was lost. nil for nil.
func qFrames(tb testing.TB, file []byte) []byte {
	tb.Helper()
	if file == nil {
		return nil
	}
	out := []byte{}
	for line := range strings.Lines(string(file)) {
		name, payload, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		exception, isException := strings.CutPrefix(name, "!")
		code, isError := strings.CutPrefix(name, "?")
		half, isHalf := strings.CutPrefix(name, "~")
		switch {
		case name == "":
			tb.Fatalf("a line without an event: %q", line)
		case isException:
			out = append(out, upstreamtest.ExceptionFrame(exception, payload)...)
		case isError:
			out = append(out, upstreamtest.ErrorFrame(code, payload)...)
		case isHalf:
			f := upstreamtest.Frame(half, payload)
			out = append(out, f[:len(f)/2]...)
		default:
			out = append(out, upstreamtest.Frame(name, payload)...)
		}
	}
	return out
}

// lost reports whether a stream of Amazon Q ends within an event.
func (d *dialect) lost(stream []byte) bool {
	list := d.events(stream)
	return d.isQ() && len(list) > 0 && binary.BigEndian.Uint32(list[len(list)-1]) != uint32(len(list[len(list)-1]))
}

// amongUnknown puts an event that no one knows before and after each of a stream.
func amongUnknown(list [][]byte) []byte {
	unknown := []byte(upstreamtest.Frame("brandNewEvent", `{"content":"x","text":[1,{"a":null}]}`) +
		upstreamtest.Frame("codeReferenceEvent", `{"references":[]}`) +
		upstreamtest.Frame("noPayloadEvent", ""))
	return append(append(bytes.Clone(unknown), bytes.Join(list, unknown)...), unknown...)
}

// newQ is the fake that judges requests for Amazon Q.
func newQ(tb testing.TB) *upstreamtest.AmazonQ {
	tb.Helper()
	q := upstreamtest.NewAmazonQ(tb)
	q.SetModels("auto", "claude-sonnet-4.5", "claude-opus-4.6", "qwen3-coder-next")
	return q
}

// accepted fails unless the fake finds nothing wrong with a request.
func accepted(t testing.TB, q *upstreamtest.AmazonQ, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, q.URL, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", "AmazonCodeWhispererStreamingService.GenerateAssistantResponse")
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("Authorization", "Bearer t")
	before := len(q.Refused())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	if why := q.Refused()[before:]; len(why) > 0 || resp.StatusCode != http.StatusOK {
		t.Errorf("Amazon Q refuses it with %d: %q\n%s", resp.StatusCode, why, body)
	}
}

// teller writes answers in the dialect.
func (d *dialect) teller() translator.Sink {
	if d.isQ() {
		return &qSink{}
	}
	return d.NewSink(replyOptions(&translator.Request{Model: "m", IncludeUsage: true}))
}

// qSink writes answers as Amazon Q does. Why one ended it cannot say.
type qSink struct{ id, name []byte }

func (s *qSink) Event(dst []byte, e *translator.Event) []byte {
	frame := func(name, format string, args ...any) {
		dst = append(dst, upstreamtest.Frame(name, fmt.Sprintf(format, args...))...)
	}
	call := e.Block != nil && e.Block.Type == translator.BlockToolUse
	switch e.Type {
	case translator.EvStart:
		frame("initial-response", `{"conversationId":"c"}`)
	case translator.EvText:
		frame("assistantResponseEvent", `{"content":%s}`, e.Data)
	case translator.EvThinking:
		frame("reasoningContentEvent", `{"text":%s}`, e.Data)
	case translator.EvSignature:
		frame("reasoningContentEvent", `{"signature":%s}`, e.Data)
	case translator.EvBlockStart:
		if call {
			s.id, s.name = translator.Quote(e.Block.ID), translator.Quote(e.Block.Name)
			frame("toolUseEvent", `{"toolUseId":%s,"name":%s}`, s.id, s.name)
		}
	case translator.EvInput:
		frame("toolUseEvent", `{"toolUseId":%s,"name":%s,"input":%s}`, s.id, s.name, e.Data)
	case translator.EvBlockStop:
		if call {
			frame("toolUseEvent", `{"toolUseId":%s,"name":%s,"stop":true}`, s.id, s.name)
		}
	case translator.EvFinal:
		u := e.Usage
		frame("metadataEvent", `{"tokenUsage":{"uncachedInputTokens":%d,"outputTokens":%d,"totalTokens":%d,"cacheReadInputTokens":%d,"cacheWriteInputTokens":%d}}`,
			u.Input, u.Output, u.Input+u.CacheRead+u.CacheWrite5m+u.Output, u.CacheRead, u.CacheWrite5m)
	}
	return dst
}

func (s *qSink) Fail(dst []byte, e *translator.Error) []byte {
	message, _ := json.Marshal(e.Message)
	return append(dst, upstreamtest.ExceptionFrame("InternalServerException", `{"message":`+string(message)+`}`)...)
}
