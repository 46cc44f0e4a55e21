package logging

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

const (
	bufferSize = 32 << 10
	flushAfter = 250 * time.Millisecond
)

// Buffer gathers lines and writes them in groups: after a quarter of a second, when 32 KiB wait, or at Flush. A write per
// line would cost each request a system call.
type Buffer struct {
	mu    sync.Mutex
	w     io.Writer
	buf   []byte
	timer *time.Timer
	armed bool
}

// NewBuffer makes a buffer in front of w.
func NewBuffer(w io.Writer) *Buffer {
	b := &Buffer{w: w}
	b.timer = time.AfterFunc(time.Hour, b.Flush)
	b.timer.Stop()
	return b
}

// Write keeps p until the next flush. It never fails: a log that cannot be written must not stop what it tells of.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf = append(b.buf, p...)
	if len(b.buf) >= bufferSize {
		b.flush()
	} else if !b.armed {
		b.armed = true
		b.timer.Reset(flushAfter)
	}
	return len(p), nil
}

// Flush writes what waits. Call it before the process ends.
func (b *Buffer) Flush() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flush()
}

func (b *Buffer) flush() {
	b.armed = false
	if len(b.buf) > 0 {
		_, _ = b.w.Write(b.buf)
		b.buf = b.buf[:0]
	}
}

// NewBuffered is New through a Buffer, which it returns for other lines and to be flushed at the end. Warnings and errors
// are written at once.
func NewBuffered(w io.Writer, level, format string) (*slog.Logger, *Buffer) {
	b := NewBuffer(w)
	return slog.New(prompt{New(b, level, format).Handler(), b}), b
}

// prompt flushes after what must not wait.
type prompt struct {
	slog.Handler
	b *Buffer
}

func (p prompt) Handle(ctx context.Context, r slog.Record) error {
	err := p.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelWarn {
		p.b.Flush()
	}
	return err
}

func (p prompt) WithAttrs(as []slog.Attr) slog.Handler { return prompt{p.Handler.WithAttrs(as), p.b} }
func (p prompt) WithGroup(name string) slog.Handler    { return prompt{p.Handler.WithGroup(name), p.b} }
