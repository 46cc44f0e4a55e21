package translator

import (
	"bytes"
	"strings"
)

// Enforce are limits of an answer that the upstream was not told of, because its dialect has no place for them. They
// bind text only.
type Enforce struct {
	Stop      []string
	MaxTokens int64 // 0: none; counted as a quarter of the bytes of text
}

// enforcer applies them to text that comes in pieces.
type enforcer struct {
	Enforce
	held  string // the end of the text so far that may be the beginning of a stop sequence
	bytes int64
}

func (e *enforcer) active() bool { return len(e.Stop) > 0 || e.MaxTokens > 0 }

// enforced lets text pass up to a limit.
func (b *Builder) enforced(raw Raw) {
	e := &b.enforcer
	if len(e.Stop) == 0 && len(raw) >= 2 && bytes.IndexByte(raw, '\\') < 0 && e.bytes+int64(len(raw)) <= e.MaxTokens*4 {
		e.bytes += int64(len(raw) - 2) // it passes as it is, which is nearly always so
		if len(raw) > 2 {
			b.delta(EvText, raw, nil)
		}
		return
	}
	text := e.held + raw.Text()
	e.held = ""
	at, which := -1, ""
	for _, s := range e.Stop {
		if s == "" {
			continue
		}
		if i := strings.Index(text, s); i >= 0 && (at < 0 || i < at || i == at && len(s) > len(which)) {
			at, which = i, s
		}
	}
	if at >= 0 {
		b.passText(text[:at])
		b.cut(StopSequence, Quote(which))
		return
	}
	keep := 0
	for _, s := range e.Stop {
		for n := min(len(s)-1, len(text)); n > keep; n-- {
			if strings.HasSuffix(text, s[:n]) {
				keep = n
			}
		}
	}
	e.held = text[len(text)-keep:]
	b.passText(text[:len(text)-keep])
}

func (b *Builder) passText(text string) {
	e := &b.enforcer
	if e.MaxTokens > 0 {
		if left := e.MaxTokens*4 - e.bytes; int64(len(text)) > left {
			n := int(max(0, left))
			for n > 0 && n < len(text) && text[n]&0xC0 == 0x80 {
				n-- // not within a character
			}
			e.bytes += int64(n)
			if n > 0 {
				b.delta(EvText, Quote(text[:n]), nil)
			}
			b.cut(StopMaxTokens, nil)
			return
		}
	}
	e.bytes += int64(len(text))
	if text != "" {
		b.delta(EvText, Quote(text), nil)
	}
}

func (b *Builder) flushEnforced() {
	if held := b.enforcer.held; held != "" {
		b.enforcer.held = ""
		b.passText(held)
	}
}

// cut ends the answer in the middle of the upstream's.
func (b *Builder) cut(reason StopReason, sequence Raw) {
	if b.over() {
		return
	}
	b.enforcer = enforcer{}
	b.waiting = nil
	b.Close()
	b.stop, b.sequence = reason, sequence
	b.finish()
	b.status.Cut = true
}
