package openaichat

import (
	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// readAnswer reads the top level of a whole answer and its first choice. An error in place of one, which some servers send
// with status 200, is an *Error.
func readAnswer(body []byte) (c chunk, first choice, err error) {
	if c, err = readChunk(body); err != nil {
		return c, first, err
	}
	if c.failed() {
		return c, first, eventError(body, c.err)
	}
	first, ok, err := c.first()
	if err == nil && (!ok || first.message.Kind() != rawjson.Object) {
		err = errNoChoices
	}
	return c, first, err
}

// ReadReply implements translator.Back. Only the choice of index 0 is read; without a finish_reason the answer counts as
// whole, since its body is.
func (Codec) ReadReply(body []byte, b *translator.Builder) error {
	c, first, err := readAnswer(body)
	if err != nil {
		return err
	}
	s := &source{b: b}
	s.start(&c)
	if set(c.usage) { // first: the Builder may end the answer within the content
		s.usage(&c, true)
	}
	if err := s.delta(first.message, logprobs(first.logprobs), true); err != nil {
		return err
	}
	s.finish(first.finish, first.stop)
	if err := s.done(); err != nil {
		return err
	}
	return b.Whole()
}

// AppendReply implements translator.Front.
func (Codec) AppendReply(dst []byte, r *translator.Reply, o translator.ReplyOptions) []byte {
	w := writer{b: append(dst, '{')}
	w.str("id", chatID(o.ID))
	w.lit(`,"object":"chat.completion"`)
	w.b = appendInt(w.b, `,"created":`, o.Created)
	w.str("model", o.Model)
	w.lit(`,"choices":[{"index":0,"message":{"role":"assistant"`)
	refused := replyText(&w, r)
	replyThinking(&w, r)
	legacy := o.Request != nil && o.Request.Legacy
	replyCalls(&w, r, o.Request, legacy)
	w.lit("}")
	replyLogprobs(&w, r)
	w.str("finish_reason", finishReason(r.Stop, refused, legacy))
	w.lit(`}],"usage":`)
	w.b = appendUsage(w.b, &r.Usage)
	return append(w.b, '}')
}

// replyText writes content, refusal and annotations.
func replyText(w *writer, r *translator.Reply) (refused bool) {
	var text, refusal []translator.Raw
	var notes []byte
	chars := int64(0)
	for i := range r.Blocks {
		b := &r.Blocks[i]
		switch {
		case b.Type != translator.BlockText:
		case b.Refusal:
			refusal = append(refusal, b.Text)
		default:
			n := characters(b.Text)
			for j := range b.Citations {
				notes = appendNote(notes, &b.Citations[j], chars, n)
			}
			text = append(text, b.Text)
			chars += n
		}
	}
	member := func(name string, parts []translator.Raw) {
		w.name(name)
		if len(parts) == 0 {
			w.lit("null")
			return
		}
		w.b = translator.Join(w.b, "", parts...)
	}
	member("content", text)
	member("refusal", refusal)
	if notes != nil {
		w.name("annotations")
		w.b = append(append(append(w.b, '['), notes...), ']')
	}
	return len(refusal) > 0
}

// appendNote appends an annotation, after a comma where it is not the first. base is where the citing text begins in the
// content, and n its length. Citations of documents have no form here.
func appendNote(dst []byte, c *translator.Citation, base, n int64) []byte {
	if c.URL == nil {
		return dst
	}
	if len(dst) > 0 {
		dst = append(dst, ',')
	}
	start, end := base, base+n
	if c.Start >= 0 && c.End >= c.Start {
		start, end = base+c.Start, base+c.End
	}
	w := writer{b: append(dst, `{"type":"url_citation","url_citation":{`...)}
	w.b = appendInt(w.b, `"start_index":`, start)
	w.b = appendInt(w.b, `,"end_index":`, end)
	w.raw("url", c.URL)
	title := c.Title
	if title == nil {
		title = translator.EmptyString
	}
	w.raw("title", title)
	return append(w.b, "}}"...)
}

// characters counts those of a JSON string, a pair of escaped halves as one.
func characters(s translator.Raw) (n int64) {
	for i := 1; i < len(s)-1; i++ {
		switch c := s[i]; {
		case c == '\\' && s[i+1] == 'u':
			if d := s[i+2] | 0x20; d == 'd' && s[i+3]|0x20 >= 'c' { // the second half of a pair
				n--
			}
			n++
			i += 5
		case c == '\\':
			n++
			i++
		case c&0xC0 != 0x80:
			n++
		}
	}
	return n
}

// replyThinking writes thinking as text, and whole where it has a signature that its upstream will want back.
func replyThinking(w *writer, r *translator.Reply) {
	var text []translator.Raw
	d := writer{}
	n := int64(0)
	for i := range r.Blocks {
		b := &r.Blocks[i]
		switch b.Type {
		case translator.BlockThinking:
			if !b.Text.IsEmpty() {
				text = append(text, b.Text)
			}
			if !b.Signature.IsEmpty() {
				d.b = appendDetail(d.b, b, b.Signature, b.Text, n)
				n++
			}
		case translator.BlockRedacted:
			d.b = appendDetail(d.b, b, b.Signature, nil, n)
			n++
		}
	}
	if len(text) > 0 {
		w.name("reasoning_content")
		w.b = translator.Join(w.b, "\n\n", text...)
	}
	if n > 0 {
		w.name("reasoning_details")
		w.b = append(append(append(w.b, '['), d.b...), ']')
	}
}

// appendDetail appends one of reasoning_details, after a comma where it is not the first.
func appendDetail(dst []byte, b *translator.Block, signature, text translator.Raw, n int64) []byte {
	if n > 0 && len(dst) > 0 {
		dst = append(dst, ',')
	}
	w := writer{b: append(dst, '{')}
	if b.Type == translator.BlockRedacted {
		w.lit(`"type":"reasoning.encrypted"`)
		w.raw("data", signature)
	} else {
		w.lit(`"type":"reasoning.text"`)
		w.raw("text", text)
		w.raw("signature", signature)
	}
	w.b = appendInt(w.b, `,"index":`, n)
	return append(w.b, '}')
}

// isCustom reports whether a call is answered as one with text: an upstream that has no such tools was given a function.
func isCustom(b *translator.Block, r *translator.Request) bool {
	if b.Custom || r == nil {
		return b.Custom
	}
	t := r.Tool(b.Name)
	return t != nil && t.Type == translator.ToolCustom
}

// replyCalls writes the calls; the old form has room for the first alone.
func replyCalls(w *writer, r *translator.Reply, req *translator.Request, legacy bool) {
	n := 0
	for i := range r.Blocks {
		b := &r.Blocks[i]
		if b.Type != translator.BlockToolUse {
			continue
		}
		n++
		if legacy {
			if n == 1 {
				w.lit(`,"function_call":{`)
				w.str("name", b.Name)
				w.raw("arguments", translator.TextOf(b.Input))
				w.lit("}")
			}
			continue
		}
		if n == 1 {
			w.lit(`,"tool_calls":[`)
		}
		w.elem()
		w.lit("{")
		w.str("id", b.ID)
		if isCustom(b, req) {
			w.lit(`,"type":"custom","custom":{`)
			w.str("name", b.Name)
			w.raw("input", translator.CustomText(b.Input))
		} else {
			w.lit(`,"type":"function","function":{`)
			w.str("name", b.Name)
			w.raw("arguments", translator.TextOf(b.Input))
		}
		w.lit("}}")
	}
	if n > 0 && !legacy {
		w.lit("]")
	}
}

// replyLogprobs writes the logprobs of all text.
func replyLogprobs(w *writer, r *translator.Reply) {
	w.lit(`,"logprobs":`)
	at := len(w.b)
	for _, l := range r.Logprobs {
		if len(l) <= 2 {
			continue
		}
		if len(w.b) == at {
			w.lit(`{"content":[`)
		} else {
			w.lit(",")
		}
		w.b = append(w.b, l[1:len(l)-1]...)
	}
	if len(w.b) == at {
		w.lit("null")
		return
	}
	w.lit(`],"refusal":null}`)
}
