package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Progress shows on a terminal how far long work is; elsewhere it shows nothing. Its methods may be called from anywhere.
type Progress struct {
	w    io.Writer // nil: not shown
	what string
	quit chan struct{}
	done sync.WaitGroup

	mu    sync.Mutex
	n     int64
	total int64
	note  string
	began time.Time
}

// NewProgress begins to show work on w, which is usually standard error. Stop must be called.
func NewProgress(w io.Writer, what string) *Progress {
	p := &Progress{what: what, quit: make(chan struct{}), began: time.Now()}
	if !IsTerminal(w) {
		return p
	}
	p.w = w
	p.done.Go(func() {
		t := time.NewTicker(200 * time.Millisecond)
		defer t.Stop()
		for {
			select {
			case <-p.quit:
				_, _ = io.WriteString(p.w, "\r\x1b[K")
				return
			case <-t.C:
				p.draw()
			}
		}
	})
	return p
}

// Shown reports whether anybody sees it.
func (p *Progress) Shown() bool { return p.w != nil }

// Set tells how much is done of total, and of what in note. total 0: it is not known.
func (p *Progress) Set(n, total int64, note string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n, p.total, p.note = n, total, clean(note)
}

// Stop takes the line away.
func (p *Progress) Stop() {
	close(p.quit)
	p.done.Wait()
}

const barWidth = 24

func (p *Progress) draw() {
	p.mu.Lock()
	n, total, note := p.n, p.total, p.note
	p.mu.Unlock()
	line := p.what
	if total > 0 {
		full := int(min(n, total) * barWidth / total)
		line += fmt.Sprintf(" [%s%s] %d%%", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), min(n, total)*100/total)
	}
	if n > 0 {
		line += " " + count(n)
	}
	if note != "" {
		line += " " + note
	}
	line += " " + time.Since(p.began).Round(time.Second).String()
	if w, _ := size(p.w); w > 0 {
		line = cut(line, w-1)
	}
	_, _ = io.WriteString(p.w, "\r"+line+"\x1b[K")
}
