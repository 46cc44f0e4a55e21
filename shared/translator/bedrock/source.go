package bedrock

import (
	"errors"
	"net/http"
	"strings"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/sse"
	"sluice/shared/translator"
)

var (
	errNotJSON = errors.New("an event whose payload is not a JSON object")
	errShape   = errors.New("an event without what its type demands")
	errCall    = errors.New("a tool call of the upstream's answer has no id or no name")
	errLarge   = errors.New("the upstream's answer has a signature longer than any has")
	errNoStop  = errors.New("the upstream's answer ended without a reason")
)

var (
	deltaFields     = []string{"contentBlockIndex", "delta"}
	pieceFields     = []string{"text", "toolUse", "reasoningContent", "citation"}
	inputFields     = []string{"input"}
	reasoningFields = []string{"text", "signature", "redactedContent"}
	detailFields    = []string{"ttl", "inputTokens"}
	usageFields     = []string{"inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens", "cacheDetails"}
)

const (
	maxSignature = 16 << 20 // bytes
	// maxCount is more tokens than any answer has: larger counts are not believed.
	maxCount = 1 << 40
)

// source reads a stream of events. Each block has its index; those of text and of thinking have no beginning of their own.
type source struct {
	b         *translator.Builder
	index     int64  // of the block that is being read
	kind      kind   // of it
	fed       bool   // a piece of it came
	signature []byte // of it: the pieces, inside of a JSON string
	calls     bool   // there are some
	stopped   bool   // the reason came
	failed    *translator.Error
	told      bool // the counts came

	queue   []*waiting         // blocks that began while another was read
	byIndex map[int64]*waiting // the same
	held    int                // about the bytes of their parts
}

// kind is what a block is.
type kind uint8

const (
	kindNone kind = iota
	kindText
	kindThinking
	kindCall
	kindSkipped // what no client has a place for: a call that the service itself carries out, and its result
)

// NewSource implements translator.Back. Its events are those of Cut. The last is metadata, behind messageStop; End takes its
// place when it is missing.
func (Codec) NewSource(b *translator.Builder) translator.Source { return &source{b: b, index: -1} }

// Event implements translator.Source. Unknown events are passed over: the API may add some at any time.
func (s *source) Event(ev sse.Event) error {
	switch string(ev.Name) {
	case "contentBlockDelta":
		return s.delta(ev.Data)
	case "messageStart":
		s.b.Start("")
		return nil
	case "contentBlockStart":
		return s.blockStart(ev.Data)
	case "contentBlockStop":
		return s.blockEnd(ev.Data)
	case "messageStop":
		return s.messageStop(ev.Data)
	case "metadata":
		return s.metadata(ev.Data)
	}
	if name, is := strings.CutPrefix(string(ev.Name), exceptionPrefix); is {
		s.b.Fail(streamError(name, ev.Data))
	} else if name, is := strings.CutPrefix(string(ev.Name), errorPrefix); is {
		s.b.Fail(streamError(name, ev.Data))
	}
	return nil
}

// enter begins to read a block, if it is another than the one before.
func (s *source) enter(index int64, k kind) {
	if s.kind != kindNone && s.index == index && s.kind == k {
		return
	}
	s.blockStop()
	s.index, s.kind = index, k
}

func (s *source) delta(data []byte) error {
	var v [2]rawjson.Value
	if rawjson.Scan(data, deltaFields, v[:]) != nil {
		return errNotJSON
	}
	index, ok := v[0].Int()
	if !ok || v[1].Kind() != rawjson.Object {
		return errShape
	}
	return s.deltaOf(index, v[1].Raw())
}

func (s *source) deltaOf(index int64, obj []byte) error {
	if s.kind == kindSkipped && s.index == index {
		return nil
	}
	var d [4]rawjson.Value
	if rawjson.Scan(obj, pieceFields, d[:]) != nil {
		return errShape
	}
	if s.elsewhere(index) && d[1].Kind() != rawjson.Object && (s.kind == kindText || s.kind == kindThinking) {
		s.blockStop() // neither of the two begins: another one of them ends it, too
		if err := s.next(); err != nil {
			return err
		}
	}
	if s.elsewhere(index) {
		return s.wait(index, obj, false)
	}
	switch {
	case d[0].Kind() == rawjson.String:
		s.enter(index, kindText)
		s.fed = s.fed || len(d[0].Raw()) > 2
		s.b.Text(d[0].Raw(), nil)
	case d[1].Kind() == rawjson.Object:
		return s.input(index, d[1].Raw())
	case d[2].Kind() == rawjson.Object:
		return s.reasoning(index, d[2].Raw())
	case d[3].Kind() == rawjson.Object:
		s.enter(index, kindText)
		s.cite(d[3].Raw())
	}
	return nil
}

func (s *source) input(index int64, obj []byte) error {
	var v [1]rawjson.Value
	if rawjson.Scan(obj, inputFields, v[:]) != nil || v[0].Kind() != rawjson.String {
		return errShape
	}
	piece := translator.Raw(v[0].Raw())
	if s.kind == kindCall && s.index == index {
		s.fed = s.fed || len(piece) > 2
	}
	s.b.Input(int(index), piece) // which knows whether the call ever began
	return nil
}

func (s *source) reasoning(index int64, obj []byte) error {
	var v [3]rawjson.Value
	if rawjson.Scan(obj, reasoningFields, v[:]) != nil {
		return errShape
	}
	s.enter(index, kindThinking)
	if v[0].Kind() == rawjson.String {
		s.b.Thinking(v[0].Raw())
	}
	if p := v[1].Raw(); v[1].Kind() == rawjson.String && len(p) > 2 {
		if len(s.signature)+len(p) > maxSignature {
			return errLarge
		}
		s.signature = append(s.signature, p[1:len(p)-1]...)
	}
	if v[2].Kind() == rawjson.String {
		s.b.Redacted(v[2].Raw())
	}
	return nil
}

func (s *source) blockStart(data []byte) error {
	var v [2]rawjson.Value
	if rawjson.Scan(data, []string{"contentBlockIndex", "start"}, v[:]) != nil {
		return errNotJSON
	}
	index, ok := v[0].Int()
	if !ok || v[1].Kind() != rawjson.Object {
		return errShape
	}
	return s.startOf(index, v[1].Raw())
}

func (s *source) startOf(index int64, obj []byte) error {
	var t [3]rawjson.Value
	if rawjson.Scan(obj, []string{"toolUse", "toolResult", "image"}, t[:]) != nil {
		return errShape
	}
	if s.elsewhere(index) {
		return s.wait(index, obj, true)
	}
	s.blockStop()
	switch {
	case t[0].Kind() == rawjson.Object:
		s.index = index
		return s.call(index, t[0].Raw())
	case t[1].Exists() || t[2].Exists():
		s.index, s.kind = index, kindSkipped
	}
	return nil
}

// call begins a call.
func (s *source) call(index int64, obj []byte) error {
	var v [3]rawjson.Value
	if rawjson.Scan(obj, []string{"toolUseId", "name", "type"}, v[:]) != nil {
		return errShape
	}
	if v[2].TextEquals("server_tool_use") {
		s.kind = kindSkipped
		return nil
	}
	id, _ := v[0].Text()
	name, _ := v[1].Text()
	if id == "" || name == "" {
		return errCall
	}
	s.kind, s.calls = kindCall, true
	s.b.Tool(int(index), id, name, false)
	return nil
}

// emptyInput is what a call without input is called with, as a JSON string.
var emptyInput = translator.Raw(`"{}"`)

// blockStop ends the block that is being read.
func (s *source) blockStop() {
	switch {
	case s.kind == kindNone:
		return
	case s.kind == kindCall && !s.fed:
		s.b.Input(int(s.index), emptyInput)
	case len(s.signature) > 0:
		s.b.Signature(append(append(translator.Raw{'"'}, s.signature...), '"'))
	}
	if s.kind != kindSkipped {
		s.b.Close()
	}
	s.kind, s.fed, s.signature = kindNone, false, nil
}

func (s *source) messageStop(data []byte) error {
	var v [2]rawjson.Value
	if rawjson.Scan(data, []string{"stopReason", "additionalModelResponseFields"}, v[:]) != nil {
		return errNotJSON
	}
	if err := s.endAll(); err != nil {
		return err
	}
	s.stop(v[0], v[1])
	if s.told {
		s.end()
	}
	return nil
}

// stop notes why the answer ended.
func (s *source) stop(reason, fields rawjson.Value) {
	text, _ := reason.Text()
	if text == "" {
		return
	}
	s.stopped = true
	stop, failed := stopOf(text)
	if stop == translator.StopToolUse && !s.calls {
		stop = translator.StopEndTurn // the calls were the service's own
	}
	var sequence translator.Raw
	if fields.Kind() == rawjson.Object {
		if v, err := rawjson.Find(fields.Raw(), "stop_sequence"); err == nil && v.Kind() == rawjson.String {
			sequence = v.Raw()
		}
	}
	s.failed = failed
	s.b.Stop(stop, sequence)
}

// stopOf is the hub's word for a reason. An answer that the service could not read is an error and no end of the turn: a
// client that was told so would take half a call for silence, while after an error it asks again. A reason that is new ends
// the turn.
func stopOf(reason string) (translator.StopReason, *translator.Error) {
	switch reason {
	case "end_turn", "tool_use", "max_tokens", "stop_sequence", "model_context_window_exceeded", "pause_turn", "refusal":
		return translator.StopReason(reason), nil
	case "guardrail_intervened", "content_filtered":
		return translator.StopRefusal, nil
	case "malformed_model_output":
		return translator.StopEndTurn, unreadable(reason, "the model's answer could not be read by the upstream")
	case "malformed_tool_use":
		return translator.StopEndTurn, unreadable(reason, "the model called a tool in a form that the upstream could not read")
	}
	return translator.StopEndTurn, nil
}

// unreadable is the error of an answer that was made, and is paid for, and that the service could not read. The verdict on the
// node is by the reason.
func unreadable(reason, what string) *translator.Error {
	return &translator.Error{Status: http.StatusInternalServerError, Type: "api_error", Message: what + " (" + reason + "); try again", Raw: `{"__type":"` + reason + `"}`}
}

func (s *source) metadata(data []byte) error {
	var v [2]rawjson.Value
	if rawjson.Scan(data, []string{"usage", "serviceTier"}, v[:]) != nil {
		return errNotJSON
	}
	if s.told = s.usage(v[0]) || s.told; s.told {
		s.tier(v[1])
	}
	if s.stopped && s.told {
		s.end()
	}
	return nil
}

// usage takes the counts; false when there are none. Input is what was neither read from a cache nor written to one, as in
// Anthropic's API.
func (s *source) usage(usage rawjson.Value) bool {
	var v [5]rawjson.Value
	if usage.Kind() != rawjson.Object || rawjson.Scan(usage.Raw(), usageFields, v[:]) != nil {
		return false
	}
	u := s.b.Usage(false)
	if !count(&u.Output, v[1]) {
		u.Partial = true
		return false
	}
	u = s.b.Usage(true)
	u.Partial = !count(&u.Input, v[0])
	u.Partial = !count(&u.CacheRead, v[2]) && v[2].Kind() > rawjson.Null || u.Partial
	u.Partial = !writes(&u.Tokens, v[3], v[4]) || u.Partial
	return true
}

// writes takes what was written to caches: the total, and the details of it, one for each time to live. Source:
// API_runtime_TokenUsage and API_runtime_CacheDetail. What the details do not tell is of the usual five minutes; of a total
// that is missing they are all. False when a count is there that cannot be.
func writes(t *core.Tokens, total, details rawjson.Value) bool {
	short, long := detailed(details)
	all := min(short+long, maxCount)
	if ok := count(&all, total); !ok && total.Kind() > rawjson.Null {
		return false
	}
	t.CacheWrite1h = min(long, all)
	t.CacheWrite5m = all - t.CacheWrite1h
	return true
}

// detailed is how many tokens were written for five minutes and for an hour.
func detailed(details rawjson.Value) (short, long int64) {
	if details.Kind() != rawjson.Array {
		return 0, 0
	}
	_ = rawjson.Elements(details.Raw(), func(e rawjson.Value) bool {
		var v [2]rawjson.Value
		if e.Kind() != rawjson.Object || rawjson.Scan(e.Raw(), detailFields, v[:]) != nil {
			return true
		}
		var one int64
		count(&one, v[1])
		if v[0].TextEquals("1h") {
			long = min(long+one, maxCount)
		} else {
			short = min(short+one, maxCount)
		}
		return true
	})
	return short, long
}

// tier takes the tier that answered, on which the price depends.
func (s *source) tier(v rawjson.Value) {
	if v.Kind() != rawjson.Object {
		return
	}
	if t, err := rawjson.Find(v.Raw(), "type"); err == nil && t.Kind() == rawjson.String && len(t.Raw()) <= 32 {
		u := s.b.Usage(true)
		u.Tier, _ = t.Text()
		u.Priority = u.Tier == translator.PriorityTier
	}
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

// end ends the answer.
func (s *source) end() {
	if s.failed != nil {
		s.b.Fail(s.failed)
		return
	}
	s.b.End()
}

// End implements translator.Ender. An answer is whole when its reason came; without the counts they are an estimate.
func (s *source) End() error {
	if st := s.b.Status(); st.Ended || st.Broken != nil {
		return nil
	}
	if !s.stopped {
		return errNoStop
	}
	s.end()
	return nil
}
