package responses

import (
	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// The members of an output item.
const (
	oType = iota
	oID
	oCallID
	oName
	oArguments
	oInput
	oAction
	oContent
	oSummary
	oEncrypted
	oCount
)

func readItem(item []byte) (v [oCount]rawjson.Value, err error) {
	want := [oCount]string{oType: "type", oID: "id", oCallID: "call_id", oName: "name", oArguments: "arguments", oInput: "input",
		oAction: "action", oContent: "content", oSummary: "summary", oEncrypted: "encrypted_content"}
	err = rawjson.Scan(item, want[:], v[:])
	return v, err
}

// added begins an item. A call whose name is still missing begins when it is done.
func (s *source) added(o *output, item []byte) error {
	v, err := readItem(item)
	if err != nil {
		return errNoItem
	}
	s.begin()
	if o.typ != "" {
		return nil
	}
	o.typ = text(v[oType])
	if (o.typ == typeFunction || o.typ == typeCustom) && text(v[oName]) != "" && callID(&v) != "" {
		s.openCall(o, &v)
	}
	return nil
}

// callID is the id of a call, which servers leave out in favour of the item's at times.
func callID(v *[oCount]rawjson.Value) string {
	if id := text(v[oCallID]); id != "" {
		return id
	}
	return text(v[oID])
}

// openCall begins a call in the hub.
func (s *source) openCall(o *output, v *[oCount]rawjson.Value) {
	id, name := callID(v), text(v[oName])
	if id == "" {
		id = "call_" + itoa(o.key)
	}
	if o.typ == typeShell {
		name = shellName
	}
	o.open, s.calls = true, true
	s.last = o
	s.b.Tool(o.key, id, name, o.typ == typeCustom)
}

// finish takes a complete item. What its deltas did not say is said now.
func (s *source) finish(o *output, item []byte) error {
	v, err := readItem(item)
	if err != nil {
		return errNoItem
	}
	if o.done {
		return nil
	}
	o.done = true
	s.begin()
	if o.typ == "" {
		o.typ = text(v[oType])
	}
	switch o.typ {
	case typeMessage:
		return s.finishMessage(o, v[oContent])
	case typeReasoning:
		s.finishReasoning(o, &v)
	case typeFunction, typeCustom, typeShell:
		return s.finishCall(o, &v)
	}
	return nil // items of tools that the upstream ran say nothing to other dialects
}

func (s *source) finishMessage(o *output, content rawjson.Value) error {
	if content.Kind() != rawjson.Array {
		return nil
	}
	return each(content, func(j int, e rawjson.Value) error {
		if o.seen&bit(int64(j)) != 0 || e.Kind() != rawjson.Object {
			return nil
		}
		var m [5]rawjson.Value
		if rawjson.Scan(e.Raw(), []string{"type", "text", "refusal", "annotations", "logprobs"}, m[:]) != nil {
			return errNoItem
		}
		switch text(m[0]) {
		case "output_text":
			var logs raw
			if m[4].Kind() == rawjson.Array {
				logs = m[4].Raw()
			}
			s.text(o, int64(j), stringOf(m[1]), logs, false)
			s.cite(m[3], m[1])
		case "refusal":
			s.text(o, int64(j), stringOf(m[2]), nil, true)
		}
		return nil
	})
}

// cite takes the annotations of a whole part; one without text has no block to cite in.
func (s *source) cite(notes, text rawjson.Value) {
	if notes.Kind() != rawjson.Array || len(text.Raw()) <= 2 {
		return
	}
	_ = rawjson.Elements(notes.Raw(), func(e rawjson.Value) bool {
		if c, ok := citation(e); ok {
			s.b.Cite(&c)
		}
		return true
	})
}

// finishReasoning ends the thinking with what its upstream needs to take it back.
func (s *source) finishReasoning(o *output, v *[oCount]rawjson.Value) {
	shown := o.content || o.summarize
	if !shown {
		for _, list := range [...]rawjson.Value{v[oSummary], v[oContent]} {
			if list.Kind() != rawjson.Array {
				continue
			}
			if parts, ok := thoughtParts(list); ok && len(parts) > 0 {
				s.turn(o, 0)
				s.b.Thinking(translator.Join(nil, "\n\n", parts...))
				shown = true
				break
			}
		}
	}
	encrypted := stringOf(v[oEncrypted])
	switch {
	case len(encrypted) > 2:
		signature := translator.CarryReasoning(text(v[oID]), encrypted)
		if shown && s.last == o {
			s.b.Signature(signature)
		} else {
			s.turn(o, 0)
			s.b.Redacted(signature)
		}
	case shown && s.last == o:
		s.b.Close() // the thinking of the next item is not this one's
	}
}

func (s *source) finishCall(o *output, v *[oCount]rawjson.Value) error {
	if !o.open {
		if o.typ != typeShell && text(v[oName]) == "" {
			return errNoName
		}
		s.openCall(o, v)
	}
	switch {
	case o.typ == typeCustom && o.fed:
		s.b.Input(o.key, raw(`"\"}"`))
	case o.fed:
	case o.typ == typeCustom:
		input := stringOf(v[oInput])
		if input == nil {
			input = translator.EmptyString
		}
		s.b.Input(o.key, translator.TextOf(translator.CustomInput(input)))
	case o.typ == typeShell:
		input := translator.EmptyObject
		if v[oAction].Kind() == rawjson.Object {
			if in, err := shellInput(v[oAction].Raw()); err == nil {
				input = in
			}
		}
		s.b.Input(o.key, translator.TextOf(input))
	default:
		s.b.Input(o.key, stringOf(v[oArguments]))
	}
	return nil
}

// The members of a response object that its end needs.
const (
	rID = iota
	rStatus
	rOutput
	rUsage
	rTier
	rIncomplete
	rError
	rCount
)

func readResponse(obj []byte) (v [rCount]rawjson.Value, err error) {
	want := [rCount]string{rID: "id", rStatus: "status", rOutput: "output", rUsage: "usage", rTier: "service_tier",
		rIncomplete: "incomplete_details", rError: "error"}
	err = rawjson.Scan(obj, want[:], v[:])
	return v, err
}

// end takes the response object of a terminal event, or a whole answer; status is the event's, that of the object counts
// for more.
func (s *source) end(obj []byte, status string) error {
	v, err := readResponse(obj)
	if err != nil {
		return errNoResponse
	}
	switch own := text(v[rStatus]); own {
	case statusCompleted, statusIncomplete, statusFailed, statusCancelled:
		status = own
	}
	if v[rUsage].Kind() == rawjson.Object {
		u := s.b.Usage(false)
		if readUsage(u, v[rUsage].Raw()) {
			s.b.Usage(true)
		}
		u.Tier = text(v[rTier])
		u.Priority = u.Tier == translator.PriorityTier
	}
	if status == statusFailed || status == statusCancelled {
		s.b.Fail(failedError(obj, status))
		return nil
	}
	s.b.Start(text(v[rID]))
	if v[rOutput].Kind() == rawjson.Array {
		if err := s.rest(v[rOutput]); err != nil {
			return err
		}
	}
	s.b.Stop(s.reason(status, v[rIncomplete]), nil)
	s.b.End()
	return nil
}

// rest takes the items of a whole output that no events told of.
func (s *source) rest(list rawjson.Value) error {
	n := 0
	_ = rawjson.Elements(list.Raw(), func(rawjson.Value) bool {
		n++
		return true
	})
	if n <= len(s.items) && s.allDone() {
		return nil
	}
	return each(list, func(i int, e rawjson.Value) error {
		if e.Kind() != rawjson.Object {
			return errNoItem
		}
		id, err := rawjson.Find(e.Raw(), "id")
		if err != nil {
			return errNoItem
		}
		o := s.byID[text(id)]
		if o == nil {
			o = s.items[int64(i)]
		}
		if o == nil {
			if o, err = s.add(int64(i)); err != nil {
				return err
			}
		}
		return s.finish(o, e.Raw())
	})
}

// allDone reports whether every item that began has ended: then the output at the end has nothing new, and the places in
// it need not be those of the events.
func (s *source) allDone() bool {
	for _, o := range s.items {
		if !o.done {
			return false
		}
	}
	return true
}

// reason is why the answer ended, in the hub's words.
func (s *source) reason(status string, details rawjson.Value) translator.StopReason {
	if status == statusIncomplete {
		if details.Kind() == rawjson.Object {
			if r, err := rawjson.Find(details.Raw(), "reason"); err == nil && r.TextEquals("content_filter") {
				return translator.StopRefusal
			}
		}
		return translator.StopMaxTokens
	}
	switch {
	case s.calls:
		return translator.StopToolUse
	case s.refused:
		return translator.StopRefusal
	}
	return translator.StopEndTurn
}

// ReadReply implements translator.Back.
func (Codec) ReadReply(body []byte, b *translator.Builder) error {
	v, err := readResponse(body)
	if err != nil {
		return errNoOutput
	}
	if v[rError].Kind() == rawjson.Object && v[rOutput].Kind() != rawjson.Array {
		return streamError(v[rError].Raw())
	}
	if v[rOutput].Kind() != rawjson.Array {
		return errNoOutput
	}
	switch text(v[rStatus]) {
	case "", statusCompleted, statusIncomplete, statusFailed, statusCancelled:
	default:
		return errUnfinished
	}
	b.Start(text(v[rID]))
	if err := newSource(b).end(body, statusCompleted); err != nil {
		return err
	}
	return b.Whole()
}
