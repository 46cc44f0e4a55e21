package responses

import (
	"errors"
	"strings"

	"sluice/shared/rawjson"
	"sluice/shared/sse"
	"sluice/shared/translator"
)

var (
	errNotObject  = errors.New("an event whose data is no JSON object")
	errNoResponse = errors.New("an event without its response object")
	errNoDelta    = errors.New("a delta event without its text")
	errNoItem     = errors.New("an item event without its item")
	errNoName     = errors.New("a call without a name")
	errNoOutput   = errors.New("the body is no response object with an output")
	errUnfinished = errors.New("the response object has no final status")
	errManyItems  = errors.New("more output items than any answer has")
)

// maxItems bounds the output items of one answer.
const maxItems = 10_000

// source reads one streamed answer.
type source struct {
	b     *translator.Builder
	items map[int64]*output
	byID  map[string]*output // those that came without an index
	last  *output            // the item that wrote last
	part  int64              // and the part of it
	calls bool
	// refused: the model said in words that it refuses
	refused bool
}

// output is what is known of an output item.
type output struct {
	key       int
	typ       string
	seen      uint64 // content parts of which a delta came, by index; those beyond count as the last
	open      bool   // a call was begun
	fed       bool   // a piece of its input came
	content   bool   // of reasoning: its text came, not its summary
	summarize bool   // of reasoning: its summary came
	done      bool
}

// NewSource implements translator.Back. Items are told apart by output_index; one of which no delta came is read from its
// output_item.done, or at last from the response at the end.
func (Codec) NewSource(b *translator.Builder) translator.Source { return newSource(b) }

func newSource(b *translator.Builder) *source {
	return &source{b: b, items: map[int64]*output{}}
}

// eventType is an event's type: its data's, or its name where the data has none.
func eventType(ev sse.Event) string {
	v, err := rawjson.Find(ev.Data, "type")
	if err == nil && v.Kind() == rawjson.String {
		return text(v)
	}
	return string(ev.Name)
}

// The members of an event's data that most events have.
const (
	eType = iota
	eIndex
	eDelta
	eLogprobs
	eItem
	eResponse
	eContent
	eSummary
	eItemID
	eCount
)

// Event implements translator.Source.
func (s *source) Event(ev sse.Event) error {
	if ev.Data == nil || isDone(ev.Data) {
		return nil
	}
	var v [eCount]rawjson.Value
	want := [eCount]string{eType: "type", eIndex: "output_index", eDelta: "delta", eLogprobs: "logprobs", eItem: "item",
		eResponse: "response", eContent: "content_index", eSummary: "summary_index", eItemID: "item_id"}
	if err := rawjson.Scan(ev.Data, want[:], v[:]); err != nil {
		return errNotObject
	}
	if v[eType].TextEquals(evTextDelta) {
		return s.textDelta(&v, false)
	}
	name := text(v[eType])
	if name == "" {
		name = string(ev.Name)
	}
	if delta, ok := strings.CutSuffix(name, ".delta"); ok {
		return s.delta(delta, &v)
	}
	switch name {
	case evCreated, evInProgress, "response.queued":
		return s.start(v[eResponse])
	case evItemAdded, evItemDone:
		if v[eItem].Kind() != rawjson.Object {
			return errNoItem
		}
		id, err := rawjson.Find(v[eItem].Raw(), "id")
		if err != nil {
			return errNoItem
		}
		o, err := s.at(v[eIndex], id)
		if err != nil {
			return err
		}
		if name == evItemAdded {
			return s.added(o, v[eItem].Raw())
		}
		return s.finish(o, v[eItem].Raw())
	case "response.output_text.annotation.added":
		return s.annotation(ev.Data)
	case evCompleted, evIncomplete, evFailed, evCancelled:
		if v[eResponse].Kind() != rawjson.Object {
			return errNoResponse
		}
		return s.end(v[eResponse].Raw(), strings.TrimPrefix(name, "response."))
	case evError:
		s.b.Fail(errorEvent(ev.Data))
	}
	return nil
}

func (s *source) start(response rawjson.Value) error {
	if response.Kind() != rawjson.Object {
		return errNoResponse
	}
	id, err := rawjson.Find(response.Raw(), "id")
	if err != nil {
		return errNoResponse
	}
	s.b.Start(text(id))
	return nil
}

// at finds the item of an output_index, and by its id where a server leaves the index out.
func (s *source) at(index, id rawjson.Value) (*output, error) {
	n, ok := index.Int()
	if !ok && id.Kind() == rawjson.String {
		if s.byID == nil {
			s.byID = map[string]*output{}
		}
		name := text(id)
		if s.byID[name] == nil {
			o, err := s.add(-1 - int64(len(s.byID))) // no index that an event can have
			if err != nil {
				return nil, err
			}
			s.byID[name] = o
		}
		return s.byID[name], nil
	}
	if o := s.items[n]; o != nil {
		return o, nil
	}
	return s.add(n)
}

func (s *source) add(n int64) (*output, error) {
	if len(s.items) >= maxItems {
		return nil, errManyItems
	}
	o := &output{key: len(s.items)}
	s.items[n] = o
	return o, nil
}

// delta takes a delta event; name is its type without the suffix.
func (s *source) delta(name string, v *[eCount]rawjson.Value) error {
	switch name {
	case "response.output_text":
		return s.textDelta(v, false)
	case "response.refusal":
		return s.textDelta(v, true)
	case "response.reasoning_summary_text", "response.reasoning_text", "response.function_call_arguments",
		"response.custom_tool_call_input":
	default:
		return nil
	}
	if v[eDelta].Kind() != rawjson.String {
		return errNoDelta
	}
	o, err := s.at(v[eIndex], v[eItemID])
	if err != nil {
		return err
	}
	d := raw(v[eDelta].Raw())
	switch name {
	case "response.reasoning_summary_text":
		s.think(o, v[eSummary], d, false)
	case "response.reasoning_text":
		s.think(o, v[eContent], d, true)
	case "response.function_call_arguments":
		s.arguments(o, d)
	default:
		s.customInput(o, d)
	}
	return nil
}

// textDelta takes a piece of a message.
func (s *source) textDelta(v *[eCount]rawjson.Value, refusal bool) error {
	if v[eDelta].Kind() != rawjson.String {
		return errNoDelta
	}
	o, err := s.at(v[eIndex], v[eItemID])
	if err != nil {
		return err
	}
	part, _ := v[eContent].Int()
	var logs raw
	if l := v[eLogprobs]; l.Kind() == rawjson.Array && len(l.Raw()) > 2 {
		logs = v[eLogprobs].Raw()
	}
	s.text(o, part, v[eDelta].Raw(), logs, refusal)
	return nil
}

// text gives the Builder a piece of a message's part, a block to each part.
func (s *source) text(o *output, part int64, piece, logs raw, refusal bool) {
	s.begin()
	s.turn(o, part)
	o.seen |= bit(part)
	s.refused = s.refused || refusal
	if refusal {
		s.b.Refuse(piece)
	} else {
		s.b.Text(piece, logs)
	}
}

func bit(part int64) uint64 { return 1 << min(63, uint64(max(0, part))) }

// begin starts an answer whose first events did not come.
func (s *source) begin() {
	if !s.b.Status().Started {
		s.b.Start("")
	}
}

// turn closes what another item, or another part of the item, had open. Calls are left to the Builder.
func (s *source) turn(o *output, part int64) {
	if s.last != nil && (s.last != o || s.part != part) && !s.last.open {
		s.b.Close()
	}
	s.last, s.part = o, part
}

// think takes a piece of reasoning. Of an item that has both a summary and its text, the one that comes first is taken.
func (s *source) think(o *output, index rawjson.Value, piece raw, content bool) {
	if content && o.summarize || !content && o.content || len(piece) <= 2 {
		return
	}
	s.begin()
	part, _ := index.Int()
	if s.last == o && s.part != part && (o.content || o.summarize) {
		s.b.Thinking(raw(`"\n\n"`))
		s.part = part
	}
	o.content, o.summarize = content, !content
	s.turn(o, part)
	s.b.Thinking(piece)
}

// arguments takes a piece of a function's arguments. Those of a call that is not known yet are in its output_item.done.
func (s *source) arguments(o *output, piece raw) {
	if !o.open || o.typ != typeFunction || len(piece) <= 2 {
		return
	}
	o.fed = true
	s.b.Input(o.key, piece)
}

// customInput takes a piece of a custom tool's text, which in the hub is a member of a JSON object: its bytes are JSON
// already, and are made a string once more.
func (s *source) customInput(o *output, piece raw) {
	if !o.open || o.typ != typeCustom || len(piece) <= 2 {
		return
	}
	if !o.fed {
		o.fed = true
		s.b.Input(o.key, raw(`"{\"input\":\""`))
	}
	s.b.Input(o.key, translator.Quote(string(inner(piece))))
}

func (s *source) annotation(data []byte) error {
	var v [2]rawjson.Value
	if rawjson.Scan(data, []string{"annotation", "output_index"}, v[:]) != nil {
		return errNotObject
	}
	if c, ok := citation(v[0]); ok {
		s.begin()
		s.b.Cite(&c)
	}
	return nil
}

// citation reads an annotation of a URL or a file; other kinds have no place in the hub.
func citation(v rawjson.Value) (c translator.Citation, ok bool) {
	if v.Kind() != rawjson.Object {
		return c, false
	}
	var m [7]rawjson.Value
	if rawjson.Scan(v.Raw(), []string{"type", "url", "title", "start_index", "end_index", "filename", "index"}, m[:]) != nil {
		return c, false
	}
	c.Start, c.End = -1, -1
	switch text(m[0]) {
	case "url_citation":
		c.URL, c.Title = stringOf(m[1]), stringOf(m[2])
		if start, ok := count(m[3]); ok {
			if end, ok := count(m[4]); ok {
				c.Start, c.End = start, end
			}
		}
		return c, c.URL != nil
	case "file_citation", "container_file_citation":
		c.Title = stringOf(m[5])
		if at, ok := count(m[6]); ok {
			c.Start, c.End = at, at
		}
		return c, c.Title != nil
	}
	return c, false
}
