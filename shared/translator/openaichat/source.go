package openaichat

import (
	"bytes"
	"errors"

	"sluice/shared/rawjson"
	"sluice/shared/sse"
	"sluice/shared/translator"
)

var (
	errNotJSON   = errors.New("an event of the upstream's stream is no JSON object")
	errNoChoices = errors.New("what the upstream sent has no choices, no usage and no error")
	errShape     = errors.New("a choice of the upstream's answer has a member of the wrong type")
	errNoName    = errors.New("a tool call of the upstream's answer has no name")
	errManyCalls = errors.New("the upstream's answer has more tool calls than any answer has")
)

var (
	chunkFields  = []string{"id", "choices", "usage", "error", "service_tier", "model"}
	choiceFields = []string{"index", "delta", "finish_reason", "logprobs", "stop_reason", "message"}
	deltaFields  = []string{"content", "refusal", "reasoning_content", "reasoning", "tool_calls", "function_call", "annotations"}
)

// chunk is the top level of a chunk or of a whole answer, and choice what is read of a choice.
type (
	chunk  struct{ id, choices, usage, err, tier, model rawjson.Value }
	choice struct {
		index, delta, finish, logprobs, stop, message rawjson.Value
		at                                            int // in the list
	}
)

func readChunk(data []byte) (c chunk, err error) {
	var v [6]rawjson.Value
	if rawjson.Scan(data, chunkFields, v[:]) != nil {
		return c, errNotJSON
	}
	return chunk{v[0], v[1], v[2], v[3], v[4], v[5]}, nil
}

func readChoice(el rawjson.Value) (c choice, err error) {
	var v [6]rawjson.Value
	if el.Kind() != rawjson.Object || rawjson.Scan(el.Raw(), choiceFields, v[:]) != nil {
		return c, errShape
	}
	return choice{v[0], v[1], v[2], v[3], v[4], v[5], el.Offset()}, nil
}

// set reports whether a value is there and not null.
func set(v rawjson.Value) bool { return v.Kind() > rawjson.Null }

// failed reports whether the chunk is an error.
func (c *chunk) failed() bool { return set(c.err) }

// valid reports whether it is anything of the dialect.
func (c *chunk) valid() bool {
	return c.choices.Kind() == rawjson.Array || c.usage.Kind() == rawjson.Object
}

// first is the choice that is read, of index 0: no more than one was asked for.
func (c *chunk) first() (first choice, ok bool, err error) {
	if c.choices.Kind() != rawjson.Array {
		return first, false, nil
	}
	bad := rawjson.Elements(c.choices.Raw(), func(el rawjson.Value) bool {
		if first, err = readChoice(el); err != nil {
			return false
		}
		n, isInt := first.index.Int()
		ok = !isInt || n == 0
		return !ok
	})
	return first, ok, errors.Join(err, bad)
}

// source reads a stream of chunks.
type source struct {
	b       *translator.Builder
	started bool
	id      string // the upstream's, of the answer
	calls   []toolCall
	refused bool // the model refused in words
	reason  bool // a finish_reason came
	counted bool // there is an output count
	held    int  // bytes of calls without a name so far
	open    int  // the key, from 1, of the custom call whose text may go on; 0: none

	// What stood around the text of the last chunk that had nothing else to say. A chunk with the same around a JSON
	// string says the same with another text, and needs no other reading.
	before, after []byte
	padded        bool          // after is without the padding and the brace behind it
	text          rawjson.Value // of such a chunk, while it is read
}

// NewSource implements translator.Back. Only [DONE] ends a stream: one that stops after its finish_reason is cut off.
func (Codec) NewSource(b *translator.Builder) translator.Source { return &source{b: b} }

// Event implements translator.Source.
func (s *source) Event(ev sse.Event) error {
	data := bytes.TrimSpace(ev.Data)
	if len(data) == 0 {
		return nil // a comment
	}
	if string(data) == "[DONE]" {
		return s.done()
	}
	if s.again(data, ev.Name) {
		return nil
	}
	c, err := readChunk(data)
	if err != nil {
		return err
	}
	if c.failed() || string(ev.Name) == "error" {
		s.b.Fail(eventError(data, c.err))
		return nil
	}
	if !c.valid() {
		if s.started {
			return nil // an event of the server's own
		}
		return errNoChoices
	}
	s.start(&c)
	s.text = rawjson.Value{}
	first, ok, err := c.first()
	if err != nil {
		return err
	}
	if ok {
		if set(first.delta) {
			if err := s.delta(first.delta, logprobs(first.logprobs), false); err != nil {
				return err
			}
		}
		if set(first.finish) {
			s.finish(first.finish, first.stop)
		}
	}
	if set(c.usage) {
		s.usage(&c, s.reason || !ok)
	} else if set(s.text) && !set(first.finish) && !set(first.logprobs) && len(data)-len(s.text.Raw()) <= maxAround {
		at := c.choices.Offset() + first.at + first.delta.Offset() + s.text.Offset()
		s.before = append(s.before[:0], data[:at]...)
		var rest []byte
		rest, s.padded = unpadded(data)
		s.after = append(s.after[:0], rest[at+len(s.text.Raw()):]...)
	}
	return nil
}

// maxAround bounds what is kept of a chunk around its text.
const maxAround = 4 << 10

// unpadded cuts off OpenAI's padding, the last member of a chunk, and the brace behind it. It differs from chunk to
// chunk, whose sizes it hides.
func unpadded(data []byte) (rest []byte, padded bool) {
	const name = `,"obfuscation":"`
	const most = 64 + len(name)
	if !bytes.HasSuffix(data, []byte(`"}`)) {
		return data, false
	}
	from := max(0, len(data)-most)
	i := bytes.LastIndex(data[from:], []byte(name))
	if i < 0 {
		return data, false
	}
	i += from
	for _, c := range data[i+len(name) : len(data)-2] {
		if c == '"' || c == '\\' || c < ' ' {
			return data, false
		}
	}
	return data[:i], true
}

// again takes a chunk that differs from an earlier one in its text alone.
func (s *source) again(data, name []byte) bool {
	data, padded := unpadded(data)
	if padded != s.padded {
		return false
	}
	n := len(data) - len(s.before) - len(s.after)
	if n < 2 || len(s.before) == 0 || len(name) > 0 || !bytes.HasPrefix(data, s.before) || !bytes.HasSuffix(data, s.after) {
		return false
	}
	text := data[len(s.before) : len(s.before)+n]
	if text[0] != '"' || rawjson.Valid(text) != nil {
		return false
	}
	if n > 2 {
		s.closeCustom()
	}
	s.b.Text(text, nil)
	return true
}

func (s *source) start(c *chunk) {
	if !s.started {
		s.started = true
		s.id, _ = c.id.Text()
		s.b.Start(s.id)
	}
}

// usage takes counts. Some servers send them with every chunk: only those at the end are the last word.
func (s *source) usage(c *chunk, last bool) {
	if u := s.b.Usage(false); readUsage(c.usage, u) {
		s.b.Usage(last)
		s.counted = s.counted || u.Output > 0
		u.Tier, _ = c.tier.Text()
		u.Priority = u.Tier == translator.PriorityTier
	}
}

// delta reads what a delta says, or a whole message, whose calls have no index but are told apart by their places.
func (s *source) delta(v rawjson.Value, logs translator.Raw, whole bool) error {
	var d [7]rawjson.Value
	if v.Kind() != rawjson.Object || rawjson.Scan(v.Raw(), deltaFields, d[:]) != nil {
		return errShape
	}
	if d[0].Kind() == rawjson.String && !set(d[1]) && !set(d[2]) && !set(d[3]) && !set(d[4]) && !set(d[5]) && !set(d[6]) {
		s.text = d[0]
	}
	thinking := d[2]
	if thinking.Kind() != rawjson.String {
		thinking = d[3] // OpenRouter's and newer vLLM's name
	}
	if thinking.Kind() == rawjson.String && len(thinking.Raw()) > 2 {
		s.closeCustom()
		s.b.Thinking(thinking.Raw())
	}
	if err := s.content(d[0], logs); err != nil {
		return err
	}
	if d[1].Kind() == rawjson.String && len(d[1].Raw()) > 2 {
		s.closeCustom()
		s.refused = true
		s.b.Refuse(d[1].Raw())
	}
	if set(d[6]) {
		s.annotations(d[6])
	}
	if set(d[4]) {
		if err := s.toolCalls(d[4], whole); err != nil {
			return err
		}
	}
	if set(d[5]) {
		return s.functionCall(d[5])
	}
	return nil
}

// content takes text, or Mistral's array of parts.
func (s *source) content(v rawjson.Value, logs translator.Raw) error {
	switch v.Kind() {
	case rawjson.Absent, rawjson.Null:
		if len(logs) > 2 {
			s.b.Text(translator.EmptyString, logs)
		}
		return nil
	case rawjson.String:
		if len(v.Raw()) > 2 {
			s.closeCustom()
		}
		s.b.Text(v.Raw(), logs)
		return nil
	case rawjson.Array:
		return s.parts(v, s.b.Text)
	}
	return errShape
}

func (s *source) parts(list rawjson.Value, text func(text, logs translator.Raw)) (err error) {
	bad := rawjson.Elements(list.Raw(), func(el rawjson.Value) bool {
		var v [3]rawjson.Value
		if el.Kind() != rawjson.Object || rawjson.Scan(el.Raw(), []string{"type", "text", "thinking"}, v[:]) != nil {
			err = errShape
			return false
		}
		switch {
		case v[1].Kind() == rawjson.String && len(v[1].Raw()) > 2:
			s.closeCustom()
			text(v[1].Raw(), nil)
		case v[0].TextEquals("thinking") && v[2].Kind() == rawjson.Array:
			_ = rawjson.Elements(v[2].Raw(), func(in rawjson.Value) bool {
				if t, bad := rawjson.Find(in.Raw(), "text"); bad == nil && t.Kind() == rawjson.String {
					s.b.Thinking(t.Raw())
				}
				return true
			})
		}
		return true
	})
	return errors.Join(err, bad)
}

// logprobs is the list for the content of a choice.
func logprobs(v rawjson.Value) translator.Raw {
	if v.Kind() != rawjson.Object {
		return nil
	}
	list, err := rawjson.Find(v.Raw(), "content")
	if err != nil || list.Kind() != rawjson.Array {
		return nil
	}
	return list.Raw()
}

// annotations takes web citations of the open text.
func (s *source) annotations(list rawjson.Value) {
	if list.Kind() != rawjson.Array {
		return
	}
	_ = rawjson.Elements(list.Raw(), func(el rawjson.Value) bool {
		v, err := rawjson.Find(el.Raw(), "url_citation")
		var f [4]rawjson.Value
		if err != nil || v.Kind() != rawjson.Object ||
			rawjson.Scan(v.Raw(), []string{"url", "title", "start_index", "end_index"}, f[:]) != nil || f[0].Kind() != rawjson.String {
			return true
		}
		c := &translator.Citation{URL: bytes.Clone(f[0].Raw()), Start: -1, End: -1}
		if f[1].Kind() == rawjson.String {
			c.Title = bytes.Clone(f[1].Raw())
		}
		count(&c.Start, f[2])
		count(&c.End, f[3])
		s.b.Cite(c)
		return true
	})
}

// finish notes why the answer ended. vLLM tells the stop sequence in stop_reason.
func (s *source) finish(finish, stop rawjson.Value) {
	s.closeCustom()
	s.reason = true
	reason, sequence := translator.StopEndTurn, translator.Raw(nil)
	switch {
	case finish.TextEquals("length"):
		reason = translator.StopMaxTokens
	case finish.TextEquals("tool_calls"), finish.TextEquals("function_call"):
		reason = translator.StopToolUse
	case finish.TextEquals("content_filter"):
		reason = translator.StopRefusal
	case len(s.calls) > 0: // some servers say stop although calls were made
		reason = translator.StopToolUse
	case s.refused:
		reason = translator.StopRefusal
	case stop.Kind() == rawjson.String:
		reason, sequence = translator.StopSequence, stop.Raw()
	}
	s.b.Stop(reason, sequence)
}

func (s *source) done() error {
	s.closeCustom()
	for i := range s.calls {
		if !s.calls[i].begun {
			return errNoName
		}
	}
	s.b.Usage(s.counted) // nothing more is coming, whatever stood beside the last count
	s.b.End()
	return nil
}
