package responses

import (
	"bytes"
	"strings"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/sse"
	"sluice/shared/translator"
)

// tap passes a stream on as it is, but for the model's name, and notes how far it has come.
type tap struct {
	o      translator.TapOptions
	model  []byte // o.Model as JSON; nil: nothing is replaced
	status translator.Status
	usage  translator.Usage
	final  bool // the usage is the upstream's
	bytes  int64
	events int64
	out    []byte
}

// NewTap implements translator.Passer. Deltas that come after the first content are measured, not read.
func (Codec) NewTap(o translator.TapOptions) translator.Stream {
	t := &tap{o: o}
	if o.Model != "" {
		t.model = appendString(nil, o.Model)
	}
	return t
}

// Status implements translator.Stream.
func (t *tap) Status() *translator.Status { return &t.status }

// Fail implements translator.Stream.
func (t *tap) Fail(e *translator.Error) []byte {
	o := translator.ReplyOptions{ID: t.o.ID, Model: t.o.Model, Created: t.o.Created}
	return appendFailed(nil, e, o, t.events, nil)
}

// End implements translator.Stream. Streams of this dialect have a terminal event: without it nothing is complete.
func (t *tap) End() []byte { return nil }

// Tokens implements translator.Stream.
func (t *tap) Tokens() (core.Tokens, bool) {
	tokens := t.usage.Tokens
	if t.final {
		return tokens, t.usage.Partial
	}
	tokens.Output = max(tokens.Output, (t.bytes+3)/4)
	return tokens, true
}

// Terms implements translator.Stream.
func (t *tap) Terms() translator.Terms { return t.usage.Terms }

// Batch implements translator.Stream. An error that comes in place of an answer is not passed on: another node may
// answer. Nothing is after the terminal event.
func (t *tap) Batch(batch []byte) []byte {
	t.out = t.out[:0]
	start, at := 0, 0 // what is not in out yet; where the next event begins
	for at < len(batch) && !t.status.Ended && t.status.Broken == nil {
		if n := t.skim(batch[at:]); n > 0 {
			at += n
			continue
		}
		ev, rest, ok := sse.Cut(batch[at:])
		if !ok {
			break
		}
		end := len(batch) - len(rest)
		place, name := t.event(ev)
		switch {
		case t.status.Broken != nil, t.status.Err != nil && !t.status.Content:
			end = at
		case name.Exists():
			t.out = append(t.out, batch[start:at]...)
			t.out = appendReplaced(t.out, ev, place, name, t.model)
			start = end
		}
		at = end
	}
	if !t.status.Ended && t.status.Broken == nil {
		at = len(batch)
	}
	if start == 0 {
		return batch[:at]
	}
	t.out = append(t.out, batch[start:at]...)
	return t.out
}

// skim passes a delta of the frequent kinds once content has come, without reading its JSON; it returns its length.
func (t *tap) skim(batch []byte) int {
	if !t.status.Content {
		return 0
	}
	n := sse.Span(batch, evTextDelta)
	if n == 0 {
		n = sse.Span(batch, "response.function_call_arguments.delta")
	}
	if n == 0 {
		n = sse.Span(batch, "response.reasoning_summary_text.delta")
	}
	if n > 0 {
		t.events++
		t.bytes += int64(deltaLength(batch[:n]))
	}
	return n
}

// deltaLength is the length of the first member named delta, a string; 0 when it is not found.
func deltaLength(event []byte) int {
	const name = `"delta":`
	i := bytes.Index(event, []byte(name))
	if i < 0 {
		return 0
	}
	rest := bytes.TrimLeft(event[i+len(name):], " ")
	if len(rest) == 0 || rest[0] != '"' {
		return 0
	}
	rest = rest[1:]
	for n := 0; n < len(rest); n++ {
		switch rest[n] {
		case '\\':
			n++
		case '"':
			return n
		}
	}
	return 0
}

// event reads one event. It returns the place of the response object in the event's data, and the model's name in it
// where that must be replaced.
func (t *tap) event(ev sse.Event) (place int, model rawjson.Value) {
	if ev.Data == nil || isDone(ev.Data) {
		return 0, model
	}
	t.events++
	var v [4]rawjson.Value
	if rawjson.Scan(ev.Data, []string{"type", "delta", "item", "response"}, v[:]) != nil {
		t.status.Broken = errNotObject
		return 0, model
	}
	name := text(v[0])
	if name == "" {
		name = string(ev.Name)
	}
	if strings.HasPrefix(name, "response.") && name != evFailed && name != evCancelled {
		t.status.Started = true
	}
	switch name {
	case evItemAdded, evItemDone:
		t.item(name, v[2])
		return 0, model
	case evError:
		t.fail(errorEvent(ev.Data))
		return 0, model
	}
	if strings.HasSuffix(name, ".delta") {
		if n := len(v[1].Raw()) - 2; n > 0 {
			t.status.Content = true
			t.bytes += int64(n)
		}
		return 0, model
	}
	if v[3].Kind() != rawjson.Object {
		return 0, model
	}
	t.terminal(name, v[3].Raw())
	if t.model == nil {
		return 0, model
	}
	if m, err := rawjson.Find(v[3].Raw(), "model"); err == nil && m.Kind() == rawjson.String {
		return v[3].Offset(), m
	}
	return 0, model
}

// item notes an item: a call is content from its beginning, anything else when it is done.
func (t *tap) item(name string, item rawjson.Value) {
	if name == evItemDone {
		t.status.Content = true
		return
	}
	if kind, err := rawjson.Find(item.Raw(), "type"); err == nil {
		t.status.Content = t.status.Content || strings.HasSuffix(text(kind), "_call")
	}
}

func (t *tap) fail(e *translator.Error) { t.status.Ended, t.status.Err = true, e }

// terminal notes the end of the answer, if the event is one.
func (t *tap) terminal(name string, response []byte) {
	switch name {
	case evCompleted, evIncomplete, evFailed, evCancelled:
	default:
		return
	}
	if u, err := rawjson.Find(response, "usage"); err == nil && u.Kind() == rawjson.Object {
		t.final = readUsage(&t.usage, u.Raw())
	}
	if tier, err := rawjson.Find(response, "service_tier"); err == nil {
		t.usage.Priority = tier.TextEquals(translator.PriorityTier)
	}
	if name == evFailed || name == evCancelled {
		t.fail(failedError(response, strings.TrimPrefix(name, "response.")))
		return
	}
	t.status.Content, t.status.Ended = true, true
}

// appendReplaced appends an event with the model's name replaced. place is that of the response object in the data.
func appendReplaced(dst []byte, ev sse.Event, place int, name rawjson.Value, model []byte) []byte {
	from := place + name.Offset()
	to := from + len(name.Raw())
	if at := bytes.Index(ev.Raw, ev.Data); at >= 0 { // all its data is one line
		dst = append(dst, ev.Raw[:at+from]...)
		dst = append(dst, model...)
		return append(dst, ev.Raw[at+to:]...)
	}
	data := append(append(bytes.Clone(ev.Data[:from]), model...), ev.Data[to:]...)
	return sse.AppendEvent(dst, string(ev.Name), data)
}

// PassReply implements translator.Passer. An answer that is still to come, as one in the background, passes, too.
func (Codec) PassReply(body []byte, o translator.TapOptions) (out []byte, u translator.Usage, estimated bool, err error) {
	var v [6]rawjson.Value
	if rawjson.Scan(body, []string{"object", "status", "output", "model", "usage", "service_tier"}, v[:]) != nil {
		return nil, u, false, errNoOutput
	}
	status := text(v[1])
	if bad, err := rawjson.Find(body, "error"); err == nil && bad.Kind() == rawjson.Object && v[2].Kind() != rawjson.Array {
		return nil, u, false, streamError(bad.Raw())
	}
	if v[2].Kind() != rawjson.Array && !v[0].TextEquals("response") {
		return nil, u, false, errNoOutput
	}
	u.Priority = v[5].TextEquals(translator.PriorityTier)
	estimated = v[4].Kind() != rawjson.Object || !readUsage(&u, v[4].Raw())
	if estimated {
		u.Output = max(u.Output, int64(len(v[2].Raw())+3)/4)
	}
	estimated = estimated || u.Partial
	if status == statusFailed || status == statusCancelled {
		return nil, u, estimated, failedError(body, status)
	}
	if o.Model == "" || v[3].Kind() != rawjson.String {
		return body, u, estimated, nil
	}
	return rawjson.Splice(nil, body, v[3], appendString(nil, o.Model)), u, estimated, nil
}
