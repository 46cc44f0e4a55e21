package responses

import (
	"bytes"
	"unicode/utf8"

	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// startText begins a part, and the message when none is open.
func (s *sink) startText(dst []byte, refusal bool) []byte {
	if s.kind != messageItem {
		s.setID("msg_")
		s.parts, s.part = s.parts[:0], 0
		dst = s.added(dst, messageItem, appendMessage(nil, s.itemID, statusInProgress, nil))
	}
	dst = s.partEvent(dst, "response.content_part.added", appendPart(nil, refusal, nil, nil, nil))
	name := evTextDelta
	if refusal {
		name = "response.refusal.delta"
	}
	s.setPrefix(name, s.atPart)
	return dst
}

func (s *sink) partEvent(dst []byte, name string, part []byte) []byte {
	dst = append(s.atPart(s.open(dst, name)), `,"part":`...)
	return s.close(append(dst, part...))
}

// stopText ends a part. The message stays open for the next one.
func (s *sink) stopText(dst []byte, refusal bool) []byte {
	if refusal {
		s.refused = true
		dst = append(s.atPart(s.open(dst, "response.refusal.done")), `,"refusal":"`...)
		dst = s.close(append(append(dst, s.text...), '"'))
	} else {
		dst = append(s.atPart(s.open(dst, "response.output_text.done")), `,"text":"`...)
		dst = append(append(dst, s.text...), `","logprobs":[`...)
		dst = s.close(append(append(dst, s.logs...), ']'))
	}
	part := appendPart(nil, refusal, s.text, s.notes, s.logs)
	dst = s.partEvent(dst, "response.content_part.done", part)
	if len(s.parts) > 0 {
		s.parts = append(s.parts, ',')
	}
	s.parts = append(s.parts, part...)
	s.part++
	return dst
}

// closeMessage ends the open message, if there is one.
func (s *sink) closeMessage(dst []byte) []byte {
	if s.kind != messageItem {
		return dst
	}
	status := statusCompleted
	if s.stopped {
		status = statusIncomplete
	}
	return s.done(dst, appendMessage(nil, s.itemID, status, s.parts))
}

// appendMessage appends a message item; parts are joined by commas.
func appendMessage(dst, id []byte, status string, parts []byte) []byte {
	dst = append(append(dst, `{"id":`...), id...)
	dst = append(append(dst, `,"type":"message","status":"`...), status...)
	dst = append(append(dst, `","role":"assistant","content":[`...), parts...)
	return append(dst, `]}`...)
}

// appendPart appends a part of a message; text is a string's inside, the lists are joined by commas.
func appendPart(dst []byte, refusal bool, text, notes, logs []byte) []byte {
	if refusal {
		return append(append(append(dst, `{"type":"refusal","refusal":"`...), text...), `"}`...)
	}
	dst = append(append(dst, `{"type":"output_text","annotations":[`...), notes...)
	dst = append(append(dst, `],"logprobs":[`...), logs...)
	return append(append(append(dst, `],"text":"`...), text...), `"}`...)
}

// cite appends an annotation of the open part.
func (s *sink) cite(dst []byte, e *translator.Event) []byte {
	if e.Block.Type != translator.BlockText || e.Block.Refusal {
		return dst
	}
	s.chars += characters(s.text[s.counted:])
	s.counted = len(s.text)
	note := appendAnnotation(nil, e.Citation, s.chars)
	dst = append(s.atPart(s.open(dst, "response.output_text.annotation.added")), `,"annotation_index":`...)
	dst = append(appendInt(dst, int64(s.noted)), `,"annotation":`...)
	dst = s.close(append(dst, note...))
	s.noted++
	if len(s.notes) > 0 {
		s.notes = append(s.notes, ',')
	}
	s.notes = append(s.notes, note...)
	return dst
}

// characters counts those of a string's inside.
func characters(text []byte) int64 { return int64(utf8.RuneCountInString(quoted(text).Text())) }

// appendAnnotation appends a citation; chars is the length of the citing text so far, all of which it stands for when its
// place is unknown.
func appendAnnotation(dst []byte, c *translator.Citation, chars int64) []byte {
	start, end := c.Start, c.End
	if start < 0 || end < start {
		start, end = 0, chars
	}
	if c.URL == nil {
		dst = append(dst, `{"type":"file_citation","file_id":"","filename":`...)
		dst = append(append(dst, orEmpty(c.Title)...), `,"index":`...)
		return append(appendInt(dst, end), '}')
	}
	dst = append(dst, `{"type":"url_citation","start_index":`...)
	dst = append(appendInt(dst, start), `,"end_index":`...)
	dst = append(appendInt(dst, end), `,"url":`...)
	dst = append(append(dst, c.URL...), `,"title":`...)
	return append(append(dst, orEmpty(c.Title)...), '}')
}

func orEmpty(r raw) raw {
	if len(r) < 2 || r[0] != '"' {
		return translator.EmptyString
	}
	return r
}

// reasoning is a reasoning item.
type reasoning struct {
	id        []byte // a JSON string
	status    string
	summary   []byte // a string's inside
	has       bool   // there is a summary
	encrypted raw    // nil: null
}

func (r reasoning) append(dst []byte) []byte {
	dst = append(append(dst, `{"id":`...), r.id...)
	dst = append(append(dst, `,"type":"reasoning","status":"`...), r.status...)
	dst = append(dst, `","summary":[`...)
	if r.has {
		dst = appendSummaryPart(dst, r.summary)
	}
	dst = append(dst, `],"encrypted_content":`...)
	if r.encrypted == nil {
		return append(dst, "null}"...)
	}
	return append(append(dst, r.encrypted...), '}')
}

func appendSummaryPart(dst, text []byte) []byte {
	return append(append(append(dst, `{"type":"summary_text","text":"`...), text...), `"}`...)
}

// atSummary appends which part of the summary an event is about; there is one.
func (s *sink) atSummary(dst []byte) []byte { return append(s.at(dst), `,"summary_index":0`...) }

func (s *sink) startSummary(dst []byte) []byte {
	s.summary = true
	dst = append(s.atSummary(s.open(dst, "response.reasoning_summary_part.added")), `,"part":`...)
	dst = s.close(appendSummaryPart(dst, nil))
	s.setPrefix("response.reasoning_summary_text.delta", s.atSummary)
	return dst
}

// stopThinking ends a reasoning item. What the upstream needs to take it back goes out whether the client asked or not:
// without it the next turn would forget the thinking.
func (s *sink) stopThinking(dst []byte, b *translator.Block) []byte {
	if s.summary {
		dst = append(s.atSummary(s.open(dst, "response.reasoning_summary_text.done")), `,"text":"`...)
		dst = s.close(append(append(dst, s.text...), '"'))
		dst = append(s.atSummary(s.open(dst, "response.reasoning_summary_part.done")), `,"part":`...)
		dst = s.close(appendSummaryPart(dst, s.text))
	}
	whole := *b
	if b.Type == translator.BlockThinking {
		whole.Text, whole.Signature = quoted(s.text), s.sig
	}
	return s.done(dst, reasoningItem(s.itemID, &whole).append(nil))
}

// reasoningItem makes the item of a thinking or redacted block.
func reasoningItem(id []byte, b *translator.Block) reasoning {
	r := reasoning{id: id, status: statusCompleted}
	if b.Type == translator.BlockThinking && len(b.Text) > 2 {
		r.summary, r.has = inner(b.Text), true
	}
	if len(b.Signature) > 2 {
		if _, encrypted, ok := translator.Reasoning(b.Signature); ok {
			r.encrypted = encrypted
		} else {
			r.encrypted = translator.CarryThinking(b)
		}
	}
	return r
}

// call is a call of a client's tool, as the client knows it.
type call struct {
	typ             string // of the item
	id              string
	name, namespace string
}

// newCall finds the client's names of a call.
func newCall(r *translator.Request, b *translator.Block) call {
	c := call{typ: typeFunction, id: b.ID, name: b.Name}
	if b.Custom {
		c.typ = typeCustom
	}
	if r == nil {
		return c
	}
	if t := r.Tool(b.Name); t != nil {
		if t.Namespace != "" {
			c.name, c.namespace = t.Original, t.Namespace
		}
		switch t.Type {
		case translator.ToolCustom:
			c.typ = typeCustom
		case translator.ToolShell:
			c.typ = typeShell
		}
	}
	return c
}

// whole reports whether the input can be sent only when it is complete.
func (c *call) whole() bool { return c.typ != typeFunction }

// prefix is that of the item's id.
func (c *call) prefix() string {
	switch c.typ {
	case typeCustom:
		return "ctc_"
	case typeShell:
		return "lsh_"
	}
	return "fc_"
}

// append appends the item; input is a function's arguments or a custom tool's text, as a JSON string, or the shell's
// action.
func (c *call) append(dst, id []byte, status string, input raw) []byte {
	dst = append(append(dst, `{"id":`...), id...)
	dst = append(append(dst, `,"type":"`...), c.typ...)
	dst = append(append(dst, `","status":"`...), status...)
	dst = append(dst, `","call_id":`...)
	dst = appendString(dst, c.id)
	if c.typ == typeShell {
		return append(append(append(dst, `,"action":`...), input...), '}')
	}
	dst = append(dst, `,"name":`...)
	dst = appendString(dst, c.name)
	if c.namespace != "" {
		dst = append(dst, `,"namespace":`...)
		dst = appendString(dst, c.namespace)
	}
	if c.typ == typeCustom {
		dst = append(dst, `,"input":`...)
	} else {
		dst = append(dst, `,"arguments":`...)
	}
	return append(append(dst, input...), '}')
}

// empty is the input of a call that has just begun, of is that of one that is complete; input is the hub's.
func (c *call) empty() raw {
	if c.typ == typeShell {
		return appendAction(nil, translator.EmptyObject)
	}
	return translator.EmptyString
}

func (c *call) of(input raw) raw {
	switch c.typ {
	case typeCustom:
		return translator.CustomText(input)
	case typeShell:
		return appendAction(nil, input)
	}
	return translator.TextOf(input)
}

func (s *sink) startCall(dst []byte, b *translator.Block) []byte {
	s.call = newCall(s.o.Request, b)
	s.setID(s.call.prefix())
	s.setPrefix("response.function_call_arguments.delta", s.at)
	return s.added(dst, otherItem, s.call.append(nil, s.itemID, statusInProgress, s.call.empty()))
}

// stopCall ends a call. A function's arguments go out as the model wrote them, even when they are no JSON.
func (s *sink) stopCall(dst []byte) []byte {
	var input raw
	switch c := &s.call; c.typ {
	case typeFunction:
		if len(bytes.TrimSpace(s.text)) == 0 {
			s.text = append(s.text[:0], "{}"...)
			dst = s.close(append(append(dst, s.prefix...), `"{}"`...))
		}
		input = quoted(s.text)
		dst = append(s.at(s.open(dst, "response.function_call_arguments.done")), `,"name":`...)
		dst = append(appendString(dst, c.name), `,"arguments":`...)
		dst = s.close(append(dst, input...))
	case typeCustom:
		input = c.of(translator.ObjectOf(quoted(s.text)))
		dst = append(s.at(s.open(dst, "response.custom_tool_call_input.delta")), `,"delta":`...)
		dst = s.close(append(dst, input...))
		dst = append(s.at(s.open(dst, "response.custom_tool_call_input.done")), `,"input":`...)
		dst = s.close(append(dst, input...))
	default:
		input = c.of(translator.ObjectOf(quoted(s.text)))
	}
	return s.done(dst, s.call.append(nil, s.itemID, statusCompleted, input))
}

// appendAction appends the action of a local_shell_call. Models write the command as one string at times: a shell
// takes it then. Members of the wrong type are left out.
func appendAction(dst []byte, input raw) []byte {
	var want [len(shellMembers)]string
	for i, m := range shellMembers {
		want[i] = m.input
	}
	var v [len(shellMembers)]rawjson.Value
	_ = rawjson.Scan(input, want[:], v[:]) // an error leaves all of them absent
	dst = append(dst, `{"type":"exec","command":[`...)
	switch v[0].Kind() {
	case rawjson.String:
		dst = append(append(dst, `"bash","-lc",`...), v[0].Raw()...)
	case rawjson.Array:
		dst = appendStrings(dst, v[0])
	}
	dst = append(dst, `],"env":{`...)
	if v[3].Kind() == rawjson.Object {
		dst = appendEnv(dst, v[3])
	}
	dst = append(dst, `},"timeout_ms":`...)
	if n, ok := v[2].Int(); ok && n >= 0 {
		dst = appendInt(dst, n)
	} else {
		dst = append(dst, "null"...)
	}
	dst = append(dst, `,"user":null,"working_directory":`...)
	if s := stringOf(v[1]); s != nil {
		return append(append(dst, s...), '}')
	}
	return append(dst, "null}"...)
}

// appendStrings appends the elements that are strings, joined by commas.
func appendStrings(dst []byte, list rawjson.Value) []byte {
	first := true
	_ = rawjson.Elements(list.Raw(), func(e rawjson.Value) bool {
		if s := stringOf(e); s != nil {
			dst = append(appendComma(dst, first), s...)
			first = false
		}
		return true
	})
	return dst
}

// appendEnv appends the members that are strings.
func appendEnv(dst []byte, obj rawjson.Value) []byte {
	first := true
	_ = rawjson.Members(obj.Raw(), func(key, v rawjson.Value) bool {
		if s := stringOf(v); s != nil {
			dst = append(append(appendComma(dst, first), key.Raw()...), ':')
			dst = append(dst, s...)
			first = false
		}
		return true
	})
	return dst
}

func appendComma(dst []byte, first bool) []byte {
	if first {
		return dst
	}
	return append(dst, ',')
}
