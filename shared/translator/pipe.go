package translator

import (
	"sluice/shared/core"
	"sluice/shared/sse"
)

// Pipe is a Stream through the hub.
type Pipe struct {
	src  Source
	cut  func(batch []byte) (sse.Event, []byte, bool, error)
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
	p.cut = cutSSE
	if f, ok := back.(Framer); ok {
		p.cut = f.Cut
	}
	return p
}

func cutSSE(batch []byte) (sse.Event, []byte, bool, error) {
	ev, rest, ok := sse.Cut(batch)
	return ev, rest, ok, nil
}

// Rename is Builder.Rename.
func (p *Pipe) Rename(names map[string]string) { p.b.Rename(names) }

// Guess is Builder.Guess.
func (p *Pipe) Guess(input int64) { p.b.Guess(input) }

// Batch implements Stream.
func (p *Pipe) Batch(batch []byte) []byte {
	p.out = p.out[:0]
	if p.b.over() {
		return nil
	}
	for !p.b.over() {
		ev, rest, ok, err := p.cut(batch)
		if !ok && err == nil {
			break
		}
		batch = rest
		if err == nil {
			err = p.src.Event(ev)
		}
		if err != nil {
			p.b.Break(err)
		}
	}
	return p.told()
}

// End implements Stream.
func (p *Pipe) End() []byte {
	p.out = p.out[:0]
	if e, ok := p.src.(Ender); ok && !p.b.over() {
		if err := e.End(); err != nil {
			p.b.Break(err)
		}
	}
	return p.told()
}

// told is what the client is sent, with the error that the upstream ended with.
func (p *Pipe) told() []byte {
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

// Terms implements Stream.
func (p *Pipe) Terms() Terms { return p.b.Terms() }
