package openaichat

import (
	"crypto/rand"
	"strconv"
	"strings"

	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

const (
	maxCalls = 1024
	maxHeld  = 1 << 20 // bytes of input that came before the name of its call
)

// toolCall is a call of a streamed answer; its place in the list is its key.
type toolCall struct {
	index  int64 // -1: the server gives none
	id     string
	begun  bool   // its name came
	custom bool   // called with text
	input  []byte // before the name: the inside of a JSON string
}

// Pieces of the hub's input of a custom call, {"input": text}, as JSON strings.
var (
	customHead = translator.Raw(`"{\"input\":\""`)
	customTail = translator.Raw(`"\"}"`)
)

func (s *source) toolCalls(list rawjson.Value, whole bool) (err error) {
	if list.Kind() != rawjson.Array {
		return errShape
	}
	i := int64(0)
	_ = rawjson.Elements(list.Raw(), func(el rawjson.Value) bool {
		place := int64(-1)
		if whole {
			place = i
		}
		err = s.toolCall(el, place)
		i++
		return err == nil
	})
	return err
}

func (s *source) toolCall(el rawjson.Value, place int64) error {
	var v [5]rawjson.Value
	if el.Kind() != rawjson.Object || rawjson.Scan(el.Raw(), []string{"index", "id", "type", "function", "custom"}, v[:]) != nil {
		return errShape
	}
	index := place
	if n, ok := v[0].Int(); ok && place < 0 && n >= 0 {
		index = n
	}
	custom := v[3].Kind() != rawjson.Object && v[4].Kind() == rawjson.Object
	from, input := v[3], "arguments"
	if custom {
		from, input = v[4], "input"
	}
	var f [2]rawjson.Value
	if from.Kind() == rawjson.Object && rawjson.Scan(from.Raw(), []string{"name", input}, f[:]) != nil {
		return errShape
	}
	key, err := s.key(index, v[1], f[0])
	if err != nil {
		return err
	}
	s.calls[key].custom = s.calls[key].custom || custom
	return s.piece(key, f[0], f[1])
}

// key finds the call that a delta belongs to, or makes one. The index tells, but some servers leave it out, and some give
// all calls the same: then an id that is new, together with a name, begins a call.
func (s *source) key(index int64, id, name rawjson.Value) (int, error) {
	named := name.Kind() == rawjson.String && len(name.Raw()) > 2
	known := id.Kind() == rawjson.String && len(id.Raw()) > 2
	for i := len(s.calls) - 1; i >= 0; i-- {
		c := &s.calls[i]
		switch {
		case index >= 0 && c.index == index:
			if named && known && c.id != "" && !id.TextEquals(c.id) {
				return s.newCall(index, id)
			}
			return i, nil
		case index < 0 && known && id.TextEquals(c.id), index < 0 && !known && !named:
			return i, nil
		}
	}
	return s.newCall(index, id)
}

func (s *source) newCall(index int64, id rawjson.Value) (int, error) {
	if len(s.calls) >= maxCalls {
		return 0, errManyCalls
	}
	c := toolCall{index: index}
	if c.id, _ = id.Text(); c.id == "" {
		c.id = s.makeID(len(s.calls))
	}
	s.calls = append(s.calls, c)
	return len(s.calls) - 1, nil
}

// makeID names a call that its server gave no id: it must differ from all others of the conversation.
func (s *source) makeID(n int) string {
	if s.id == "" {
		s.id = rand.Text()
	}
	return "call_" + digest(s.id + "/" + strconv.Itoa(n))[:24]
}

// piece takes what a delta says of a call: its name, once, and a piece of its input, or all of it as an object.
func (s *source) piece(key int, name, input rawjson.Value) error {
	raw := translator.Raw(input.Raw())
	switch input.Kind() {
	case rawjson.Absent, rawjson.Null:
		raw = nil
	case rawjson.Object:
		raw = translator.TextOf(raw)
	case rawjson.String:
	default:
		return errShape
	}
	c := &s.calls[key]
	if !c.begun {
		if text, _ := name.Text(); text != "" {
			s.begin(key, text)
		} else if len(raw) > 2 {
			if s.held += len(raw); s.held > maxHeld {
				return errNoName
			}
			c.input = append(c.input, raw[1:len(raw)-1]...)
			return nil
		}
	}
	if len(raw) > 2 {
		s.input(key, raw)
	}
	return nil
}

func (s *source) begin(key int, name string) {
	s.closeCustom()
	c := &s.calls[key]
	c.begun = true
	s.b.Tool(key, c.id, name, c.custom)
	if c.custom {
		s.open = key + 1
		s.b.Input(key, customHead)
	}
	if len(c.input) > 0 {
		held := append(append([]byte{'"'}, c.input...), '"')
		c.input = nil
		s.input(key, held)
	}
}

func (s *source) input(key int, piece translator.Raw) {
	switch {
	case !s.calls[key].custom:
		s.b.Input(key, piece)
	case s.open == key+1: // the text is a string within the JSON text
		s.b.Input(key, translator.Quote(string(piece[1:len(piece)-1])))
	}
}

// closeCustom ends the text of a custom call: something else began.
func (s *source) closeCustom() {
	if s.open > 0 {
		s.b.Input(s.open-1, customTail)
		s.open = 0
	}
}

// functionCall takes the form of calls that came before tool_calls: one, without an id.
func (s *source) functionCall(v rawjson.Value) error {
	var f [2]rawjson.Value
	if v.Kind() != rawjson.Object || rawjson.Scan(v.Raw(), []string{"name", "arguments"}, f[:]) != nil {
		return errShape
	}
	key, err := s.key(legacyIndex, rawjson.Value{}, f[0])
	if err != nil {
		return err
	}
	return s.piece(key, f[0], f[1])
}

// legacyIndex is an index that no server gives.
const legacyIndex = 1 << 62

// finishReason is the dialect's word for why an answer ended.
func finishReason(stop translator.StopReason, refused, legacy bool) string {
	switch stop {
	case translator.StopMaxTokens, translator.StopContext:
		return "length"
	case translator.StopToolUse:
		if legacy {
			return "function_call"
		}
		return "tool_calls"
	case translator.StopRefusal:
		if !refused {
			return "content_filter"
		}
	}
	return "stop"
}

// chatID is the id of an answer.
func chatID(id string) string {
	if strings.HasPrefix(id, "chatcmpl-") {
		return id
	}
	return "chatcmpl-" + id
}
