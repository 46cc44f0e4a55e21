package cli

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// topGroups are the groupings of top, in the order of its keys.
var topGroups = []string{"model", "node", "key", "account"} // read only

const (
	minRefresh = 500 * time.Millisecond
	minWindow  = 10 * time.Second
	maxWindow  = 24 * time.Hour
)

func topCommand(f *flags) action {
	f.remote()
	account := f.account("whose requests count; default all")
	by := f.choice("by", "model", "one line for each ", topGroups...)
	window := f.String("window", "5m", "`SPAN` that is summed up, such as 1m or 1h")
	every := f.Duration("every", 2*time.Second, "refresh")
	return func(ctx context.Context, s *session, _ []string) error {
		d, err := span(*window)
		if err != nil || d < minWindow || d > maxWindow {
			return usageError("--window: must be a time span from 10s to 24h")
		}
		if *every < minRefresh || *every > time.Hour {
			return usageError("--every: must be 500ms to 1h")
		}
		if err := s.connect(ctx, NeedRunning); err != nil {
			return err
		}
		t := &top{s: s, account: *account, by: slices.Index(topGroups, *by), window: d, every: *every, names: map[string]map[string]string{}}
		out := file(s.env.Stdout)
		if out == nil || s.f.json {
			return t.once(ctx)
		}
		return t.live(ctx, out)
	}
}

// top is the live view.
type top struct {
	s             *session
	account       string
	by            int // in topGroups
	window, every time.Duration
	names         map[string]map[string]string // by what they are names of; asked once
}

// frame is what one refresh brought.
type frame struct {
	by   string
	sums []sum
	ids  map[string]string
	at   time.Time
	err  error
}

func (t *top) query() url.Values {
	to := t.s.env.Now().Add(t.s.api.skew).UTC()
	q := ofAccount(t.account)
	q.Set("group_by", topGroups[t.by])
	q.Set("from", to.Add(-t.window).Format(time.RFC3339))
	return q
}

// once prints a plain table, for pipes.
func (t *top) once(ctx context.Context) error {
	if _, err := t.s.call(ctx, "GET", logsPath, url.Values{"limit": {"1"}}, nil); err != nil { // tells the gateway's clock
		return err
	}
	var many struct{ Summaries []sum }
	if printed, err := t.s.ask(ctx, "GET", summaryPath, t.query(), nil, &many); err != nil || printed {
		return err
	}
	by := topGroups[t.by]
	return t.s.print(t.columns(by), t.rows(many.Summaries, by, t.s.names(ctx, named[by], t.account)))
}

func (t *top) columns(by string) []column {
	return columns(strings.ToUpper(by), ">REQ/MIN", ">SUCCESS", ">TOKENS/MIN", ">COST", ">FIRST p50", ">p95", ">TOTAL p50", ">p95")
}

func (t *top) rows(sums []sum, by string, names map[string]string) [][]cell {
	slices.SortStableFunc(sums, func(a, b sum) int { return int(b.Requests - a.Requests) })
	rows := make([][]cell, 0, len(sums))
	for i := range sums {
		rows = append(rows, t.row(&sums[i], label(sums[i].group(by), names)))
	}
	return rows
}

func (t *top) row(m *sum, name string) []cell {
	row := []cell{text(name), text(t.rate(m.Requests)), success(m), text(short(int64(float64(m.Input+m.Output) / t.window.Minutes()))), text(cost(m))}
	return append(append(row, m.FirstByte.cells()...), m.Total.cells()...)
}

// rate is a number of the window as one a minute.
func (t *top) rate(n int64) string {
	return fmt.Sprintf("%.1f", float64(n)/t.window.Minutes())
}

// live draws until a key or a signal ends it. The terminal is given back in every case, a panic among them.
func (t *top) live(ctx context.Context, out *os.File) error {
	in := file(t.s.env.Stdin)
	restore, err := screen(in, out)
	if err != nil {
		return fmt.Errorf("the terminal: %w", err)
	}
	defer restore()
	ctx, cancel := context.WithCancel(ctx)
	keys, frames := make(chan byte), make(chan frame, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if in != nil {
			pressed(ctx, in, keys)
		}
	}()
	defer func() { cancel(); <-ended }()
	resize, stop := resized()
	defer stop()
	return t.loop(ctx, out, keys, frames, resize)
}

// pressed hands on keys until ctx ends.
func pressed(ctx context.Context, in *os.File, to chan<- byte) {
	for {
		b, err := readKeys(ctx, in)
		if err != nil {
			b = []byte{'q'} // nobody can end it any more
		}
		for _, k := range keysOf(b) {
			select {
			case to <- k:
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// What keysOf makes of keys that send several bytes.
const (
	keyNext     = 'l'
	keyPrevious = 'h'
)

// keysOf reads arrows as h and l, tab as l, shift-tab as h.
func keysOf(b []byte) (out []byte) {
	for len(b) > 0 {
		switch {
		case len(b) >= 3 && b[0] == keyEscape && (b[1] == '[' || b[1] == 'O'):
			switch b[2] {
			case 'C', 'B':
				out = append(out, keyNext)
			case 'D', 'A', 'Z':
				out = append(out, keyPrevious)
			}
			b = b[3:]
			continue
		case b[0] == keyTab:
			out = append(out, keyNext)
		default:
			out = append(out, b[0])
		}
		b = b[1:]
	}
	return out
}

func (t *top) loop(ctx context.Context, out io.Writer, keys <-chan byte, frames chan frame, resize <-chan os.Signal) error {
	tick := time.NewTicker(t.every)
	defer tick.Stop()
	last := frame{by: topGroups[t.by]}
	busy := false
	ctx, cancel := context.WithCancel(ctx)
	ask := func() {
		if busy {
			return
		}
		by, q := topGroups[t.by], t.query()
		busy = true // from here on a frame comes
		go t.fetch(ctx, by, q, frames)
	}
	defer func() {
		cancel()
		if busy {
			<-frames // it ends with ctx
		}
	}()
	ask()
	for {
		select {
		case <-ctx.Done():
			return ErrInterrupted
		case k := <-keys:
			switch k {
			case 'q', 'Q':
				return nil
			case keyInterrupt:
				return ErrInterrupted
			case keyNext, keyPrevious:
				step := 1
				if k == keyPrevious {
					step = len(topGroups) - 1
				}
				t.by = (t.by + step) % len(topGroups)
				last = frame{by: topGroups[t.by]}
			}
			ask()
		case f := <-frames:
			busy = false
			switch {
			case f.by != topGroups[t.by]:
				ask() // it was asked before the key
			case f.err != nil:
				last.err = f.err
			default:
				last = f
			}
		case <-tick.C:
			ask()
		case <-resize:
		}
		w, h := size(out)
		_, _ = io.WriteString(out, t.draw(&last, w, h))
	}
}

// fetch asks for one frame.
func (t *top) fetch(ctx context.Context, by string, q url.Values, to chan<- frame) {
	f := frame{by: by, at: t.s.env.Now()}
	defer func() {
		if p := recover(); p != nil {
			f.err = fmt.Errorf("internal error: %v", p)
		}
		to <- f
	}()
	data, err := t.s.call(ctx, "GET", summaryPath, q, nil)
	if err != nil {
		f.err = err
		return
	}
	var many struct{ Summaries []sum }
	if f.err = decode(data, &many); f.err != nil {
		return
	}
	what := named[f.by]
	if _, known := t.names[what]; !known && what != "" {
		t.names[what] = t.s.names(ctx, what, t.account)
	}
	f.sums, f.ids = many.Summaries, t.names[what]
}

// draw makes one page of the terminal.
func (t *top) draw(f *frame, w, h int) string {
	if w <= 0 || h <= 0 {
		w, h = 80, 24
	}
	colour := t.s.env.Vars["NO_COLOR"] == ""
	var all sum
	for i := range f.sums {
		all.add(&f.sums[i])
	}
	head := fmt.Sprintf("sluice top  %s  last %s", clean(t.s.api.t.URL), shortSpan(t.window))
	if !f.at.IsZero() {
		head += "  " + f.at.Format("15:04:05")
	}
	sums := fmt.Sprintf("%s req/min  %s success  %s tokens/min  %s", t.rate(all.Requests), percent(all.Success, all.Requests),
		short(int64(float64(all.Input+all.Output)/t.window.Minutes())), cost(&all))
	lines := []string{paintIf(colour, bold, cut(head, w)), cut(sums, w), ""}
	switch {
	case f.err != nil:
		lines[2] = paintIf(colour, red, cut(clean(f.err.Error()), w))
	case f.at.IsZero():
		lines[2] = "asking…"
	case len(f.sums) == 0:
		lines[2] = "no requests"
	}
	lines = append(lines, (&table{cols: t.columns(f.by)}).lines(t.rows(f.sums, f.by, f.ids), w, colour)...)
	lines = lines[:min(len(lines), max(h-1, 1))]
	lines = append(lines, paintIf(colour, faint, cut("q quit   tab ← → by "+strings.Join(topGroups, ", ")+"   space refresh", w)))
	lines = lines[:min(len(lines), h)]
	return "\x1b[H" + strings.Join(lines, "\x1b[K\r\n") + "\x1b[K\x1b[J"
}

func paintIf(colour bool, p paint, s string) string {
	if !colour {
		return s
	}
	return p.on(s)
}

// shortSpan is a span without zero parts.
func shortSpan(d time.Duration) string {
	s := d.String()
	for _, z := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, z) {
			s = s[:len(s)-2]
		}
	}
	return s
}
