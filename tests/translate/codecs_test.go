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
	"sluice/shared/sse"
	"sluice/shared/translator"
	"sluice/shared/translator/anthropic"
	"sluice/shared/translator/openaichat"
	"sluice/shared/translator/responses"
)

type codec interface {
	translator.Front
	translator.Back
	translator.Passer
}

// dialect is one wire format, with the model that its upstream serves here.
type dialect struct {
	codec
	name  string
	id    core.Dialect
	model string
	check func(stream []byte, o checkOptions) (*heard, error)
}

func dialects() []*dialect {
	return []*dialect{
		{anthropic.Codec{}, "anthropic", core.DialectAnthropic, "claude-opus-5", checkAnthropic},
		{openaichat.Codec{}, "chat", core.DialectOpenAIChat, "gpt-5.2", checkChat},
		{responses.Codec{}, "responses", core.DialectOpenAIResponses, "gpt-5.2", checkResponses},
	}
}

func dialectNamed(t testing.TB, name string) *dialect {
	t.Helper()
	for _, d := range dialects() {
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
		for _, u := range dialects() {
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
	return translator.Target{Model: model, Same: p.client.name != "anthropic" && p.upstream.name != "anthropic"}
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
)

func replyOptions(r *translator.Request) translator.ReplyOptions {
	return translator.ReplyOptions{ID: replyID, Model: r.Model, Created: created, Request: r}
}

// brokenOff is what the gateway says to a client whose upstream broke off.
func brokenOff() *translator.Error {
	return &translator.Error{Status: 502, Type: "api_error", Message: "The upstream ended the stream before the message was complete. Send the request again."}
}

const maxEvent = 32 << 20

// drain feeds a pipe from r and returns all that the client is sent.
func drain(tb testing.TB, pipe *translator.Pipe, r io.Reader) []byte {
	tb.Helper()
	rd := sse.NewReader(r, maxEvent)
	defer rd.Release()
	var out []byte
	for {
		batch, err := rd.Batch()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				tb.Fatalf("reading the upstream's stream: %v", err)
			}
			return out
		}
		out = append(out, pipe.Batch(batch)...)
	}
}

func (p pair) pipe(r *translator.Request, e translator.Enforce) *translator.Pipe {
	return translator.NewPipe(p.upstream, p.client.NewSink(replyOptions(r)), e)
}

// whole reads an upstream's answer that was not streamed.
func (p pair) whole(body []byte, e translator.Enforce) (*translator.Reply, *translator.Builder, error) {
	c := &translator.Collector{}
	b := translator.NewBuilder(c.Event)
	b.Enforce(e)
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
