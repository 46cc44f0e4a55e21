// Package translate_test proves what the codecs do together: a request of one dialect becomes one of another, and the
// answer comes back. It looks at bytes alone, through the interfaces of shared/translator.
package translate_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"

	"sluice/shared/core"
	"sluice/shared/eventstream"
	"sluice/shared/sse"
	"sluice/shared/translator"
	"sluice/shared/translator/amazonq"
	"sluice/shared/translator/anthropic"
	"sluice/shared/translator/openaichat"
	"sluice/shared/translator/responses"
)

type codec interface {
	translator.Front
	translator.Back
}

// dialect is one wire format, with the model that its upstream serves here. That of an upstream alone has no Front.
type dialect struct {
	translator.Front
	translator.Back
	name  string
	id    core.Dialect
	model string
	check func(stream []byte, o checkOptions) (*heard, error)
}

// dialects are those that clients and upstreams speak.
func dialects() []*dialect {
	both := func(c codec, name string, id core.Dialect, model string, check func([]byte, checkOptions) (*heard, error)) *dialect {
		return &dialect{c, c, name, id, model, check}
	}
	return []*dialect{
		both(anthropic.Codec{}, "anthropic", core.DialectAnthropic, "claude-opus-5", checkAnthropic),
		both(openaichat.Codec{}, "chat", core.DialectOpenAIChat, "gpt-5.2", checkChat),
		both(responses.Codec{}, "responses", core.DialectOpenAIResponses, "gpt-5.2", checkResponses),
	}
}

// upstreams are all dialects that upstreams speak.
func upstreams() []*dialect {
	return append(dialects(), &dialect{Back: amazonq.Codec{}, name: "amazonq", id: core.DialectAmazonQ, model: "claude-sonnet-4.5"})
}

func (d *dialect) isQ() bool { return d.name == "amazonq" }

func dialectNamed(t testing.TB, name string) *dialect {
	t.Helper()
	for _, d := range upstreams() {
		if d.name == name {
			return d
		}
	}
	t.Fatalf("no dialect %q", name)
	return nil
}

// pair is a client's dialect and an upstream's.
type pair struct{ client, upstream *dialect }

func (p pair) String() string { return p.client.name + "-" + p.upstream.name }

// pairs are all ordered pairs of different dialects.
func pairs() []pair {
	var ps []pair
	for _, c := range dialects() {
		for _, u := range upstreams() {
			if c.name != u.name {
				ps = append(ps, pair{c, u})
			}
		}
	}
	return ps
}

func (p pair) target(model string) translator.Target {
	if model == "" {
		model = p.upstream.model
	}
	openAI := func(d *dialect) bool { return d.id == core.DialectOpenAIChat || d.id == core.DialectOpenAIResponses }
	return translator.Target{Model: model, Same: openAI(p.client) && openAI(p.upstream), Conversation: conversation, Profile: profile}
}

// sent is a request on its way, with the names of tools that it changed.
type sent struct {
	*translator.Encoded
	names map[string]string
}

// encode writes a request for the upstream, as the gateway does.
func (p pair) encode(r *translator.Request, model string) (*sent, error) {
	s := &sent{}
	if p.upstream.isQ() {
		r, s.names = r.FitNamesTo(amazonq.Codec{}.Names())
	}
	var err error
	s.Encoded, err = p.upstream.Encode(r, p.target(model))
	return s, err
}

// decode reads a client's body. A chat client may send the shape of the Responses API (D49).
func (p pair) decode(body []byte) (*translator.Request, error) {
	if p.client.name == "chat" {
		var shape map[string]json.RawMessage
		if json.Unmarshal(body, &shape) == nil && shape["messages"] == nil && shape["input"] != nil {
			return responses.Codec{}.Decode(body)
		}
	}
	return p.client.Decode(body)
}

const (
	replyID = "01hvtest"
	created = 1_790_000_000

	// what an Amazon Q node has of its own
	conversation = "7c1a52ec-9d0a-4b52-8b1e-0a4f6d2c9e31"
	profile      = "arn:aws:codewhisperer:us-east-1:123456789012:profile/AAAABBBBCCCC"

	// guessed is the input's size as long as Amazon Q does not tell it.
	guessed = 17
)

func replyOptions(r *translator.Request) translator.ReplyOptions {
	return translator.ReplyOptions{ID: replyID, Model: r.Model, Created: created, Request: r}
}

// brokenOff is what the gateway says to a client whose upstream broke off.
func brokenOff() *translator.Error {
	return &translator.Error{Status: 502, Type: "api_error", Message: "The upstream ended the stream before the message was complete. Send the request again."}
}

const maxEvent = 32 << 20

// batches is a reader of whole events.
type batches interface {
	Batch() ([]byte, error)
	Release()
}

// drain gives a pipe all that r has, and returns all that the client is sent. Where r ends as a stream should, the pipe is
// told so.
func (p pair) drain(tb testing.TB, pipe *translator.Pipe, r io.Reader) []byte {
	tb.Helper()
	out, err := p.feed(tb, pipe, r)
	if errors.Is(err, io.EOF) && !pipe.Status().Ended {
		out = append(out, pipe.End()...)
	}
	return out
}

// feed is drain without the end. It returns how the stream ended.
func (p pair) feed(tb testing.TB, pipe *translator.Pipe, r io.Reader) (out []byte, err error) {
	tb.Helper()
	var rd batches = sse.NewReader(r, maxEvent)
	if p.upstream.isQ() {
		rd = eventstream.NewReader(r, maxEvent)
	}
	defer rd.Release()
	for {
		batch, err := rd.Batch()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, eventstream.ErrCorrupt) {
				tb.Fatalf("reading the upstream's stream: %v", err)
			}
			return out, err
		}
		out = append(out, pipe.Batch(batch)...)
	}
}

func (p pair) pipe(r *translator.Request, e translator.Enforce) *translator.Pipe {
	// The Back itself, not the dialect: a pipe asks it whether it is a Framer.
	pipe := translator.NewPipe(p.upstream.Back, p.client.NewSink(replyOptions(r)), e)
	if p.upstream.isQ() {
		pipe.Guess(guessed)
	}
	return pipe
}

// pipeOf is the pipe of the answer to a request.
func (p pair) pipeOf(r *translator.Request, s *sent) *translator.Pipe {
	pipe := p.pipe(r, s.Enforce)
	pipe.Rename(s.names)
	return pipe
}

// whole reads an upstream's answer that was not streamed.
func (p pair) whole(body []byte, s *sent) (*translator.Reply, *translator.Builder, error) {
	c := &translator.Collector{}
	b := translator.NewBuilder(c.Event)
	b.Enforce(s.Enforce)
	b.Rename(s.names)
	if p.upstream.isQ() {
		b.Guess(guessed)
	}
	if err := p.upstream.ReadReply(body, b); err != nil {
		return nil, b, err
	}
	return &c.Reply, b, b.Whole()
}

// pretty is a JSON document laid out for reading; its members stay in their order.
func pretty(tb testing.TB, doc []byte) []byte {
	tb.Helper()
	if err := strictJSON(doc); err != nil {
		tb.Fatalf("%v:\n%s", err, doc)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, doc, "", "  "); err != nil {
		tb.Fatalf("%v:\n%s", err, doc)
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// strictJSON reports what is wrong with a document that must be one JSON object without a member given twice.
func strictJSON(doc []byte) error {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	if err := noDuplicates(d); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}

func noDuplicates(d *json.Decoder) error {
	tok, err := d.Token()
	if err != nil {
		return err
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		return nil
	}
	seen := map[string]bool{}
	for d.More() {
		if delim == '{' {
			key, err := d.Token()
			if err != nil {
				return err
			}
			name, _ := key.(string)
			if seen[name] {
				return errors.New("member " + name + " is given twice")
			}
			seen[name] = true
		}
		if err := noDuplicates(d); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

// sseEvents cuts a stream into events.
func sseEvents(tb testing.TB, stream []byte) []sse.Event {
	tb.Helper()
	var list []sse.Event
	for len(stream) > 0 {
		ev, rest, ok := sse.Cut(stream)
		if !ok {
			tb.Fatalf("no whole event: %q", stream)
		}
		list, stream = append(list, ev), rest
	}
	return list
}
