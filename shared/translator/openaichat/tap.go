package openaichat

import (
	"bytes"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/sse"
	"sluice/shared/translator"
)

// tap is the Stream of an answer that passes.
type tap struct {
	o        translator.TapOptions
	model    []byte // o.Model as JSON
	out      []byte
	cut, doc []byte // chunks without their usage, and with another model
	edited   []byte // the event of such a chunk
	finished bool   // a finish_reason came
	status   translator.Status
	usage    translator.Usage
	counted  bool  // there is an output count
	sized    bool  // and it is the last
	bytes    int64 // of content
	envelope int64 // what of an event with content is not that
}

// NewTap implements translator.Passer. Bytes pass as they came; o.Model takes the place of another name, and o.HideUsage
// takes out the usage chunk and the usage of the others. A stream that only passes is not parsed once content has come.
func (Codec) NewTap(o translator.TapOptions) translator.Stream {
	return &tap{o: o, model: translator.Quote(o.Model)}
}

// Status implements translator.Stream.
func (t *tap) Status() *translator.Status { return &t.status }

// Fail implements translator.Stream.
func (t *tap) Fail(e *translator.Error) []byte {
	return Codec{}.AppendErrorEvent(nil, e, translator.ReplyOptions{})
}

// End implements translator.Stream. Streams of this dialect have a terminal event: without it nothing is complete.
func (t *tap) End() []byte { return nil }

// Tokens implements translator.Stream.
func (t *tap) Tokens() (core.Tokens, bool) {
	tokens := t.usage.Tokens
	if !t.sized {
		tokens.Output = max(tokens.Output, (t.bytes+3)/4)
	}
	return tokens, !t.sized || t.usage.Partial
}

// Terms implements translator.Stream.
func (t *tap) Terms() translator.Terms { return t.usage.Terms }

// Batch implements translator.Stream.
func (t *tap) Batch(batch []byte) []byte {
	if t.status.Ended || t.status.Broken != nil {
		return nil
	}
	edits := t.o.Model != "" || t.o.HideUsage
	if t.status.Content && !edits && plain(batch) {
		t.bytes += max(0, int64(len(batch))-int64(bytes.Count(batch, blankLine))*t.envelope)
		return batch
	}
	t.out = t.out[:0]
	copied, done := false, 0 // nothing is copied while all passes
	for rest := batch; !t.status.Ended && t.status.Broken == nil; {
		ev, next, ok := sse.Cut(rest)
		if !ok {
			break
		}
		rest = next
		out, same := t.event(ev)
		if same && !copied {
			done += len(ev.Raw)
			continue
		}
		if !copied {
			copied = true
			t.out = append(t.out, batch[:done]...)
		}
		t.out = append(t.out, out...)
	}
	if !copied {
		return batch[:done]
	}
	return t.out
}

var blankLine = []byte("\n\n")

// plain reports whether a batch has nothing in it but content: no usage, no error and no end. Text that speaks of these
// makes it false, which costs time and nothing else.
func plain(batch []byte) bool {
	if bytes.Contains(batch, []byte("[DONE]")) || bytes.Contains(batch, []byte(`"error"`)) ||
		bytes.HasPrefix(batch, []byte("event")) || bytes.Contains(batch, []byte("\nevent")) || bytes.IndexByte(batch, '\r') >= 0 {
		return false
	}
	for rest := batch; ; {
		i := bytes.Index(rest, []byte(`"usage"`))
		if i < 0 {
			return true
		}
		rest = bytes.TrimLeft(rest[i+len(`"usage"`):], ": \t")
		if !bytes.HasPrefix(rest, []byte("null")) {
			return false
		}
	}
}

// event looks at one event and returns what the client is sent for it, and whether that is the event as it came.
func (t *tap) event(ev sse.Event) (out []byte, same bool) {
	data := bytes.TrimSpace(ev.Data)
	if len(data) == 0 {
		return ev.Raw, true
	}
	if string(data) == "[DONE]" {
		if !t.status.Content {
			t.status.Broken = errNoChoices
			return nil, false
		}
		t.status.Ended = true
		t.sized = t.sized || t.counted // nothing more is coming, whatever stood beside the last count
		return ev.Raw, true
	}
	c, err := readChunk(data)
	switch {
	case err == nil && (c.failed() || string(ev.Name) == "error"):
		t.status.Ended, t.status.Err = true, eventError(data, c.err)
		if !t.status.Content {
			return nil, false // it came in place of an answer
		}
		return ev.Raw, true
	case err == nil && !c.valid() && !t.status.Started:
		err = errNoChoices
	}
	if err != nil && !t.status.Content {
		t.status.Broken = err
		return nil, false
	}
	if err != nil || !c.valid() {
		return ev.Raw, true
	}
	t.status.Started = true
	t.look(&c, len(ev.Raw))
	return t.edit(ev, data, &c)
}

// look reads of a chunk what the gateway must know.
func (t *tap) look(c *chunk, size int) {
	choices := false
	if c.choices.Kind() == rawjson.Array {
		_ = rawjson.Elements(c.choices.Raw(), func(el rawjson.Value) bool {
			choices = true
			ch, err := readChoice(el)
			if err != nil {
				t.status.Content = true // not ours to judge
				return true
			}
			n := content(ch.delta)
			if n > 0 {
				t.bytes += n
				t.envelope = int64(size) - n
			}
			t.finished = t.finished || set(ch.finish)
			t.status.Content = t.status.Content || n > 0 || t.finished
			return true
		})
	}
	if set(c.usage) && readUsage(c.usage, &t.usage) {
		t.usage.Priority = c.tier.TextEquals(translator.PriorityTier)
		t.counted = t.counted || t.usage.Output > 0
		t.sized = t.sized || t.finished || !choices
	}
}

// content is how many bytes of a delta are something that a client would miss.
func content(delta rawjson.Value) (n int64) {
	if delta.Kind() != rawjson.Object {
		return 0
	}
	_ = rawjson.Members(delta.Raw(), func(key, value rawjson.Value) bool {
		if raw := value.Raw(); set(value) && len(raw) > 2 && !key.TextEquals("role") {
			n += int64(len(raw) - 2)
		}
		return true
	})
	return n
}

// edit makes the changes that were asked for.
func (t *tap) edit(ev sse.Event, data []byte, c *chunk) (out []byte, same bool) {
	doc := data
	if t.o.HideUsage && c.usage.Exists() {
		if set(c.usage) && emptyArray(c.choices) {
			return nil, false
		}
		t.cut = cutMember(t.cut[:0], data, "usage")
		doc, c.model = t.cut, rawjson.Value{}
		if t.o.Model != "" {
			c.model, _ = rawjson.Find(doc, "model") // it has moved
		}
	}
	if t.o.Model != "" && c.model.Kind() == rawjson.String && !c.model.TextEquals(t.o.Model) {
		t.doc = rawjson.Splice(t.doc[:0], doc, c.model, t.model)
		doc = t.doc
	}
	if len(doc) == len(data) && &doc[0] == &data[0] {
		return ev.Raw, true
	}
	i := bytes.Index(ev.Raw, data)
	if i < 0 { // of several data lines
		return sse.AppendEvent(nil, string(ev.Name), doc), false
	}
	t.edited = append(append(t.edited[:0], ev.Raw[:i]...), doc...)
	t.edited = append(t.edited, ev.Raw[i+len(data):]...)
	return t.edited, false
}

// emptyArray reports whether there are no choices.
func emptyArray(v rawjson.Value) bool {
	return v.Kind() != rawjson.Array || len(bytes.TrimSpace(v.Raw()[1:])) == 1
}

// cutMember appends a JSON object without one of its members and the comma before it; after it, when it is the first. All
// else stays as it is written.
func cutMember(dst, doc []byte, name string) []byte {
	from, to, before := -1, -1, -1 // before: the end of the member before
	_ = rawjson.Members(doc, func(key, value rawjson.Value) bool {
		end := value.Offset() + len(value.Raw())
		switch {
		case from >= 0: // the one after the first
			to = key.Offset()
			return false
		case key.TextEquals(name) && before < 0:
			from, to = key.Offset(), end
		case key.TextEquals(name):
			from, to = before, end
			return false
		}
		before = end
		return true
	})
	if from < 0 {
		return append(dst, doc...)
	}
	return append(append(dst, doc[:from]...), doc[to:]...)
}

// PassReply implements translator.Passer. A usage that is missing is estimated from the size of the choices.
func (Codec) PassReply(body []byte, o translator.TapOptions) ([]byte, translator.Usage, bool, error) {
	c, first, err := readAnswer(body)
	if err != nil {
		return nil, translator.Usage{}, false, err
	}
	var u translator.Usage
	sized := set(c.usage) && readUsage(c.usage, &u)
	if !sized {
		u.Output = max(u.Output, (content(first.message)+3)/4)
	}
	if o.Model != "" && c.model.Kind() == rawjson.String && !c.model.TextEquals(o.Model) {
		body = rawjson.Splice(make([]byte, 0, len(body)+len(o.Model)), body, c.model, translator.Quote(o.Model))
	}
	u.Priority = c.tier.TextEquals(translator.PriorityTier)
	return body, u, !sized || u.Partial, nil
}
