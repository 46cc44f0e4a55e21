package translator

import (
	"sluice/shared/core"
	"sluice/shared/sse"
)

// Pipe is a Stream through the hub.
type Pipe struct {
	src  Source
	b    *Builder
	sink Sink
	out  []byte
}

// NewPipe makes a Pipe from an upstream's dialect to a client's.
func NewPipe(back Back, sink Sink, e Enforce) *Pipe {
	p := &Pipe{sink: sink}
	p.b = NewBuilder(func(ev *Event) { p.out = p.sink.Event(p.out, ev) })
	p.b.Enforce(e)
	p.src = back.NewSource(p.b)
	return p
}

// Rename is Builder.Rename.
func (p *Pipe) Rename(names map[string]string) { p.b.Rename(names) }

// Batch implements Stream.
func (p *Pipe) Batch(batch []byte) []byte {
	p.out = p.out[:0]
	if p.b.over() {
		return nil
	}
	for !p.b.over() {
		ev, rest, ok := sse.Cut(batch)
		if !ok {
			break
		}
		batch = rest
		if err := p.src.Event(ev); err != nil {
			p.b.Break(err)
		}
	}
	if st := p.b.Status(); st.Err != nil && st.Content {
		p.out = p.sink.Fail(p.out, st.Err)
	}
	return p.out
}

// Status implements Stream.
func (p *Pipe) Status() *Status { return p.b.Status() }

// Fail implements Stream.
func (p *Pipe) Fail(e *Error) []byte { return p.sink.Fail(nil, e) }

// Tokens implements Stream.
func (p *Pipe) Tokens() (core.Tokens, bool) { return p.b.Tokens() }
