package anthropic

import (
	"errors"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/sse"
	"sluice/shared/translator"
)

// NewTap implements translator.Passer.
func (Codec) NewTap(o translator.TapOptions) translator.Stream { return &tap{o: o} }

// tap reads usage, content and the end out of events that go to the client as they are.
type tap struct {
	o     translator.TapOptions
	meter Meter
	st    translator.Status
	out   []byte
}

// Status implements translator.Stream.
func (t *tap) Status() *translator.Status { return &t.st }

// End implements translator.Stream. Streams of this dialect have a terminal event: without it nothing is complete.
func (t *tap) End() []byte { return nil }

// Tokens implements translator.Stream.
func (t *tap) Tokens() (core.Tokens, bool) { return t.meter.Result() }

// Terms implements translator.Stream.
func (t *tap) Terms() translator.Terms { return t.meter.Terms }

// Fail implements translator.Stream.
func (t *tap) Fail(e *translator.Error) []byte {
	return Codec{}.AppendErrorEvent(nil, e, translator.ReplyOptions{ID: t.o.ID, Created: t.o.Created})
}

// Batch implements translator.Stream. An error event in place of an answer is left out: another node may do better,
// unseen. Any other passes.
func (t *tap) Batch(batch []byte) []byte {
	if t.st.Content || t.st.Ended {
		t.inspect(batch)
		return batch
	}
	var out []byte // nil: batch, unchanged so far
	for rest := batch; ; {
		ev, next, ok := sse.Cut(rest)
		done := len(batch) - len(rest)
		if !ok {
			return t.passed(out, batch)
		}
		kind := Kind(ev)
		if kind == EventError {
			t.st.Ended, t.st.Err = true, streamError(ev.Data)
			return t.passed(out, batch[:done])
		}
		if t.decides(&kind, ev) {
			t.st.Content = true
			t.inspect(rest)
			if out != nil {
				out = append(out, rest...)
			}
			return t.passed(out, batch)
		}
		t.meter.Event(kind, ev)
		renamed := kind == EventStart && t.o.Model != "" && t.rename(ev, batch[:done], &out)
		if out != nil && !renamed {
			out = append(out, ev.Raw...)
		}
		rest = next
	}
}

// passed returns out where there is something in it that differs from batch.
func (t *tap) passed(out, batch []byte) []byte {
	if out == nil {
		return batch
	}
	t.out = out
	return out
}

// rename appends a message_start that names the client's model; before is what of the batch stands before it.
func (t *tap) rename(ev sse.Event, before []byte, out *[]byte) bool {
	model, err := rawjson.Find(ev.Data, "message", "model")
	if err != nil || model.Kind() != rawjson.String {
		return false
	}
	if *out == nil {
		*out = append(t.out[:0], before...)
	}
	data := rawjson.Splice(nil, ev.Data, model, rawjson.AppendString(nil, t.o.Model))
	*out = sse.AppendEvent(*out, string(ev.Name), data)
	return true
}

// decides tells whether an event is content, which makes this upstream's the answer. Nothing is content before a
// message_start, or when it is no JSON: such an upstream talks nonsense and is better replaced.
func (t *tap) decides(kind *EventKind, ev sse.Event) bool {
	switch *kind {
	case EventStart:
		t.st.Started = t.st.Started || Valid(ev)
		return false
	case EventBlockStart, EventPing:
		return false
	case EventContent:
		if Empty(ev) {
			*kind = EventEmpty
			return false
		}
	}
	return t.st.Started && Valid(ev)
}

// inspect reads events after the first content.
func (t *tap) inspect(batch []byte) {
	for !t.st.Ended {
		// nearly all events are deltas, of which only the length counts
		if n := sse.Span(batch, "content_block_delta"); n > 0 {
			t.meter.Delta(n)
			batch = batch[n:]
			continue
		}
		ev, next, ok := sse.Cut(batch)
		if !ok {
			return
		}
		batch = next
		kind := Kind(ev)
		t.meter.Event(kind, ev)
		switch kind {
		case EventStop:
			t.st.Ended = true
		case EventError:
			t.st.Ended, t.st.Err = true, streamError(ev.Data)
		}
	}
}

var errNoObject = errors.New("the answer is not a JSON object")

// PassReply implements translator.Passer. Any JSON object passes that is not an error.
func (Codec) PassReply(body []byte, o translator.TapOptions) ([]byte, translator.Usage, bool, error) {
	var v [2]rawjson.Value
	if rawjson.Scan(body, []string{"type", "model"}, v[:]) != nil {
		return nil, translator.Usage{}, false, errNoObject
	}
	if v[0].TextEquals("error") {
		return nil, translator.Usage{}, false, streamError(body)
	}
	var m Meter
	m.Message(body)
	tokens, estimated := m.Result()
	if o.Model != "" && v[1].Kind() == rawjson.String {
		body = rawjson.Splice(nil, body, v[1], rawjson.AppendString(nil, o.Model))
	}
	return body, translator.Usage{Tokens: tokens, Terms: m.Terms}, estimated, nil
}
