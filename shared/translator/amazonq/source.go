package amazonq

import (
	"errors"
	"strconv"
	"strings"

	"sluice/shared/rawjson"
	"sluice/shared/sse"
	"sluice/shared/translator"
)

var (
	errNotJSON  = errors.New("an event of the upstream's stream is no JSON object")
	errNoName   = errors.New("a tool call of the upstream's answer has no name")
	errNoID     = errors.New("a piece of a tool call of the upstream's answer belongs to none")
	errShape    = errors.New("a tool call of the upstream's answer has a member of the wrong type")
	errStopped  = errors.New("a tool call of the upstream's answer goes on after its end")
	errMany     = errors.New("the upstream's answer has more tool calls than any answer has")
	errHeld     = errors.New("the upstream's answer has more text within a tool call than any answer has")
	errEmpty    = errors.New("the upstream's answer ended without any content")
	errOpenCall = errors.New("the upstream's answer ended within a tool call")
)

var (
	textFields     = []string{"content"}
	thinkingFields = []string{"text", "signature", "redactedContent"}
	toolFields     = []string{"toolUseId", "name", "input", "stop"}
	tokenFields    = []string{"uncachedInputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"}
)

const (
	maxToolUses = 1024
	maxHeld     = 16 << 20 // bytes of text that waits for the end of a call
	// window is the context of most of the service's models in tokens, by which the share that an answer reports is counted.
	// Those with a larger one are not known here.
	window = 200_000
	// maxCount is more tokens than any answer has: larger counts are not believed.
	maxCount = 1 << 40
)

// toolUse is a call of a streamed answer; its place in the list is its key.
type toolUse struct {
	id      string
	input   []byte // the inside of a JSON string
	stopped bool
}

// piece is something that came within a call.
type piece struct {
	kind translator.BlockType // text, thinking, or redacted
	sign bool                 // a signature
	data translator.Raw
}

// source reads a stream of events.
type source struct {
	b       *translator.Builder
	started bool
	said    bool // there was content
	settled bool // the service counted up the answer, which it does at its end
	counted bool // the upstream's own count came
	shared  bool // the input is an estimate by the share of the window
	sized   bool // that of the output too
	full    bool // the conversation has filled the model's window
	calls   []toolUse
	open    int     // calls that have not ended
	held    []piece // what came within them: blocks do not overlap
	size    int     // of held
}

// NewSource implements translator.Back. Its events are those of Cut. The dialect has no terminal event: End says whether
// the answer is whole.
func (Codec) NewSource(b *translator.Builder) translator.Source { return &source{b: b} }

// Event implements translator.Source.
func (s *source) Event(ev sse.Event) error {
	switch string(ev.Name) {
	case "assistantResponseEvent":
		return s.text(ev.Data)
	case "reasoningContentEvent":
		return s.thinking(ev.Data)
	case "toolUseEvent":
		return s.toolUse(ev.Data)
	case "initial-response":
		return s.begin(ev.Data, "conversationId")
	case "messageMetadataEvent":
		return s.begin(ev.Data, "utteranceId")
	case "metadataEvent":
		s.settled = true
		return s.usage(ev.Data)
	case "contextUsageEvent":
		s.settled = true
		return s.contextUsage(ev.Data)
	case "meteringEvent":
		s.settled = true
		return nil
	case "invalidStateEvent":
		s.b.Fail(streamError("ValidationException", ev.Data))
		return nil
	}
	if name, is := strings.CutPrefix(string(ev.Name), exceptionPrefix); is {
		s.b.Fail(streamError(name, ev.Data))
	} else if name, is := strings.CutPrefix(string(ev.Name), errorPrefix); is {
		s.b.Fail(streamError(name, ev.Data))
	}
	// The rest says nothing of the answer (codeReferenceEvent, citationEvent, followupPromptEvent...), or is
	// newer than this codec.
	return nil
}

// start begins the answer with the first event of it.
func (s *source) start(id string) {
	if !s.started {
		s.started = true
		s.b.Start(id)
	}
}

func (s *source) begin(data []byte, field string) error {
	var v [1]rawjson.Value
	if rawjson.Scan(data, []string{field}, v[:]) != nil {
		return errNotJSON
	}
	id, _ := v[0].Text()
	s.start(id)
	return nil
}

func (s *source) text(data []byte) error {
	var v [1]rawjson.Value
	if rawjson.Scan(data, textFields, v[:]) != nil {
		return errNotJSON
	}
	s.start("")
	if v[0].Kind() == rawjson.String && len(v[0].Raw()) > 2 {
		return s.say(piece{kind: translator.BlockText, data: v[0].Raw()})
	}
	return nil
}

func (s *source) thinking(data []byte) error {
	var v [3]rawjson.Value
	if rawjson.Scan(data, thinkingFields, v[:]) != nil {
		return errNotJSON
	}
	s.start("")
	for i, p := range [...]piece{
		{kind: translator.BlockThinking},
		{kind: translator.BlockThinking, sign: true},
		{kind: translator.BlockRedacted},
	} {
		if v[i].Kind() == rawjson.String && len(v[i].Raw()) > 2 {
			p.data = v[i].Raw()
			if err := s.say(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// say passes on what is no call, after the calls that are open: their blocks cannot be left and entered again.
func (s *source) say(p piece) error {
	s.said = true
	if s.open > 0 {
		if s.size += len(p.data) + 64; s.size > maxHeld {
			return errHeld
		}
		p.data = append(translator.Raw(nil), p.data...)
		s.held = append(s.held, p)
		return nil
	}
	switch {
	case p.sign:
		s.b.Signature(p.data)
	case p.kind == translator.BlockThinking:
		s.b.Thinking(p.data)
	case p.kind == translator.BlockRedacted:
		s.b.Redacted(p.data)
	default:
		s.b.Text(p.data, nil)
	}
	return nil
}

func (s *source) release() {
	held := s.held
	s.held, s.size = nil, 0
	for _, p := range held {
		_ = s.say(p) // no call is open
	}
}

// toolUse takes a piece of a call. Pieces of several calls may be mixed; each has the id of its own.
func (s *source) toolUse(data []byte) error {
	var v [4]rawjson.Value
	if rawjson.Scan(data, toolFields, v[:]) != nil {
		return errNotJSON
	}
	s.start("")
	var input translator.Raw
	switch v[2].Kind() {
	case rawjson.Absent, rawjson.Null:
	case rawjson.String:
		input = v[2].Raw()
	case rawjson.Object:
		input = translator.TextOf(v[2].Raw())
	default:
		return errShape
	}
	key, err := s.call(v[0], v[1])
	if err != nil {
		return err
	}
	c := &s.calls[key]
	if len(input) > 2 {
		if c.stopped {
			return errStopped
		}
		c.input = append(c.input, input[1:len(input)-1]...)
		s.b.Input(key, input)
	}
	if stop, _ := v[3].Bool(); stop {
		s.stop(key)
	}
	return nil
}

// call finds the call with an id, or begins it. Without an id it is the last, which must still be open.
func (s *source) call(id, name rawjson.Value) (int, error) {
	last := len(s.calls) - 1
	known := id.Kind() == rawjson.String && len(id.Raw()) > 2
	for i := last; i >= 0 && known; i-- {
		if id.TextEquals(s.calls[i].id) {
			return i, nil
		}
	}
	switch {
	case !known && last >= 0 && !s.calls[last].stopped:
		return last, nil
	case !known:
		return 0, errNoID
	case name.Kind() != rawjson.String || len(name.Raw()) <= 2:
		return 0, errNoName
	case last+1 >= maxToolUses:
		return 0, errMany
	}
	c := toolUse{}
	c.id, _ = id.Text()
	s.calls = append(s.calls, c)
	s.open++
	s.said = true
	text, _ := name.Text()
	s.b.Tool(last+1, c.id, text, false)
	return last + 1, nil
}

// emptyInput is what a call without input is called with, as a JSON string.
var emptyInput = translator.Raw(`"{}"`)

func (s *source) stop(key int) {
	c := &s.calls[key]
	if c.stopped {
		return
	}
	if len(c.input) < 64 && strings.TrimSpace(unquoted(c.input)) == "" {
		s.b.Input(key, emptyInput)
	}
	c.stopped, c.input = true, nil
	if s.open--; s.open == 0 {
		s.release()
	}
}

// usage takes the upstream's own counts.
func (s *source) usage(data []byte) error {
	v, err := rawjson.Find(data, "tokenUsage")
	if err != nil {
		return errNotJSON
	}
	s.start("")
	var t [4]rawjson.Value
	if v.Kind() != rawjson.Object || rawjson.Scan(v.Raw(), tokenFields, t[:]) != nil {
		return nil
	}
	u := s.b.Usage(false)
	all := u.TotalInput()
	if count(&u.Input, t[0]) {
		s.counted, s.shared = true, false
		u.CacheRead, u.CacheWrite5m = 0, 0
	}
	read, write := count(&u.CacheRead, t[2]), count(&u.CacheWrite5m, t[3])
	u.Partial = !read && t[2].Kind() > rawjson.Null || !write && t[3].Kind() > rawjson.Null
	if cached := read || write; cached && !s.counted { // what was estimated is all of it
		u.Input, s.shared = max(0, all-u.CacheRead-u.CacheWrite5m), false
	}
	s.sized = count(&u.Output, t[1]) && s.counted || s.sized
	return nil
}

// count stores a count that is present and sane.
func count(dst *int64, v rawjson.Value) bool {
	n, ok := v.Int()
	if !ok || n < 0 || n > maxCount {
		return false
	}
	*dst = n
	return true
}

// contextUsage takes the share of the window that the conversation fills, the only measure that some accounts are given. It
// makes an estimate only where there is neither a count nor the gateway's own guess: that is made from the request itself,
// while this depends on a window that is known for most models only (with a million tokens it would tell a fifth), has the
// answer in it, and is rounded.
func (s *source) contextUsage(data []byte) error {
	v, err := rawjson.Find(data, "contextUsagePercentage")
	if err != nil {
		return errNotJSON
	}
	s.start("")
	share, err := strconv.ParseFloat(string(v.Raw()), 64)
	if err != nil || !(share >= 0 && share <= 1000) {
		return nil
	}
	s.full = share >= 100
	if u := s.b.Usage(false); s.shared || u.TotalInput() == 0 && !s.counted {
		u.Input, s.shared = int64(share/100*window), true
	}
	return nil
}

// End implements translator.Ender. An answer is whole when all its calls have ended, and it says something or was counted up
// by the service: a model may have nothing to say.
func (s *source) End() error {
	if st := s.b.Status(); st.Ended || st.Broken != nil {
		return nil
	}
	s.b.Usage(s.sized) // not before: of an answer that broke off after the counts more came than they tell
	for i := range s.calls {
		if c := &s.calls[i]; !c.stopped && !whole(c.input) {
			return errOpenCall
		}
	}
	s.open = 0
	s.release()
	if !s.said && !s.settled {
		return errEmpty
	}
	s.start("")
	reason := translator.StopEndTurn // of an answer with calls the Builder makes tool_use
	if s.full && len(s.calls) == 0 {
		reason = translator.StopContext
	}
	s.b.Stop(reason, nil)
	s.b.End()
	return nil
}

// unquoted is the text of a JSON string's inside.
func unquoted(inner []byte) string {
	text := make(translator.Raw, 0, len(inner)+2)
	return append(append(append(text, '"'), inner...), '"').Text()
}

// whole reports whether the input of a call without an end is all the same.
func whole(input []byte) bool {
	doc := strings.TrimSpace(unquoted(input))
	return strings.HasPrefix(doc, "{") && rawjson.Valid([]byte(doc)) == nil
}
