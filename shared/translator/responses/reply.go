package responses

import "sluice/shared/translator"

// AppendReply implements translator.Front: a response object with all its items.
func (Codec) AppendReply(dst []byte, r *translator.Reply, o translator.ReplyOptions) []byte {
	w := replyWriter{o: o}
	for i := range r.Blocks {
		var logs raw
		if i < len(r.Logprobs) {
			logs = r.Logprobs[i]
		}
		w.block(&r.Blocks[i], logs)
	}
	status, reason := outcome(r.Stop, w.refused)
	w.closeMessage(status)
	return appendResponse(dst, o, state{status: status, reason: reason, output: w.items, usage: &r.Usage})
}

// replyWriter makes the items of a whole answer, by the same rules as a sink.
type replyWriter struct {
	o       translator.ReplyOptions
	items   []byte
	index   int
	parts   []byte // of the open message
	open    bool
	refused bool
}

func (w *replyWriter) block(b *translator.Block, logs raw) {
	if b.Type == translator.BlockText {
		w.text(b, logs)
		return
	}
	w.closeMessage(statusCompleted)
	switch b.Type {
	case translator.BlockThinking, translator.BlockRedacted:
		w.add(reasoningItem(w.id("rs_"), b).append(nil))
	case translator.BlockToolUse:
		c := newCall(w.o.Request, b)
		w.add(c.append(nil, w.id(c.prefix()), statusCompleted, c.of(b.Input)))
	}
}

func (w *replyWriter) text(b *translator.Block, logs raw) {
	w.open = true
	w.refused = w.refused || b.Refusal
	var notes []byte
	if len(b.Citations) > 0 {
		chars := characters(inner(b.Text))
		for i := range b.Citations {
			notes = appendAnnotation(appendComma(notes, i == 0), &b.Citations[i], chars)
		}
	}
	w.parts = appendPart(appendComma(w.parts, len(w.parts) == 0), b.Refusal, inner(b.Text), notes, inner(logs))
}

func (w *replyWriter) closeMessage(status string) {
	if !w.open {
		return
	}
	w.add(appendMessage(nil, w.id("msg_"), status, w.parts))
	w.open, w.parts = false, nil
}

func (w *replyWriter) add(item []byte) {
	w.items = append(appendComma(w.items, w.index == 0), item...)
	w.index++
}

func (w *replyWriter) id(prefix string) []byte { return appendItemID(nil, prefix, w.o.ID, w.index) }
