package cli

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// clean is text of elsewhere without what would steer a terminal: controls, escapes, and marks that turn the direction.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsPrint(r) && r != unicode.ReplacementChar:
			return r
		case r == '\n' || r == '\t':
			return ' '
		}
		return -1
	}, s)
}

// escaped writes the characters of a JSON text that could steer a terminal as JSON escapes.
func escaped(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case unicode.IsPrint(r) || r == '\n' || r == '\t':
			b.WriteRune(r)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		case r == '\r': // white space between values
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// Steady is w, and where that is a terminal nothing that passes can steer it: what could stands there as JSON escapes. Texts
// of clients are in exports, and CSV has no escapes of its own.
func Steady(w io.Writer) io.Writer {
	if !IsTerminal(w) {
		return w
	}
	return &steady{w: w}
}

type steady struct {
	w    io.Writer
	part []byte // of a character that is not complete
}

// Write implements io.Writer.
func (s *steady) Write(p []byte) (int, error) {
	b := append(s.part, p...)
	end := len(b)
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if c := b[len(b)-i:]; utf8.RuneStart(c[0]) {
			if !utf8.FullRune(c) {
				end = len(b) - i
			}
			break
		}
	}
	_, err := io.WriteString(s.w, escaped(string(b[:end])))
	s.part = append([]byte(nil), b[end:]...)
	return len(p), err
}

// runeWidth is how many columns a character takes on a terminal.
func runeWidth(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

func textWidth(s string) (n int) {
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

// cut shortens clean text to at most n columns, with an ellipsis where something is lost.
func cut(s string, n int) string {
	if textWidth(s) <= n {
		return s
	}
	if n <= 0 {
		return ""
	}
	at, used := 0, 0
	for i, r := range s {
		if used+runeWidth(r) > n-1 {
			break
		}
		used += runeWidth(r)
		at = i + len(string(r))
	}
	return s[:at] + "…"
}

// paint is the colour of a cell, as a parameter of ECMA-48 SGR.
type paint string

const (
	plain  paint = ""
	bold   paint = "1"
	faint  paint = "2"
	red    paint = "31"
	green  paint = "32"
	yellow paint = "33"
)

func (p paint) on(s string) string {
	if p == plain || s == "" {
		return s
	}
	return "\x1b[" + string(p) + "m" + s + "\x1b[0m"
}

// cell is one field of a table.
type cell struct {
	text  string
	paint paint
}

func text(s string) cell { return cell{text: s} }

// column is one column of a table.
type column struct {
	name  string
	right bool // numbers
	whole bool // never shortened, as what it says would be lost
}

// columns makes columns; those whose name begins with > are for numbers, with = never shortened.
func columns(names ...string) []column {
	out := make([]column, len(names))
	for i, n := range names {
		n, out[i].right = strings.CutPrefix(n, ">")
		out[i].name, out[i].whole = strings.CutPrefix(n, "=")
		out[i].whole = out[i].whole || out[i].right
	}
	return out
}

// table writes rows in columns. Widths only grow, so that rows which come later stand below the earlier ones.
type table struct {
	cols   []column
	widths []int
	titled bool
}

const gap = 2 // columns between two fields

// minShrunk is how narrow a column of text may become on a small terminal.
const minShrunk = 8

// lines lays rows out for a terminal of limit columns; 0: any number. The first call has the titles on top.
func (t *table) lines(rows [][]cell, limit int, colour bool) []string {
	if t.widths == nil {
		t.widths = make([]int, len(t.cols))
		for i, c := range t.cols {
			t.widths[i] = textWidth(c.name)
		}
	}
	for _, r := range rows {
		for i := range r {
			r[i].text = clean(r[i].text)
			t.widths[i] = max(t.widths[i], textWidth(r[i].text))
		}
	}
	widths := t.shrunk(limit)
	var out []string
	if !t.titled {
		t.titled = true
		titles := make([]cell, len(t.cols))
		for i, c := range t.cols {
			titles[i] = cell{c.name, bold}
		}
		out = append(out, t.line(titles, widths, limit, colour))
	}
	for _, r := range rows {
		out = append(out, t.line(r, widths, limit, colour))
	}
	return out
}

// shrunk takes from the widest columns of text until the line fits, or none has more to give.
func (t *table) shrunk(limit int) []int {
	widths := append([]int(nil), t.widths...)
	for limit > 0 {
		sum, widest := -gap, -1
		for i, w := range widths {
			sum += w + gap
			if !t.cols[i].whole && w > minShrunk && (widest < 0 || w > widths[widest]) {
				widest = i
			}
		}
		if sum <= limit || widest < 0 {
			break
		}
		widths[widest]--
	}
	return widths
}

func (t *table) line(r []cell, widths []int, limit int, colour bool) string {
	var b strings.Builder
	used := 0
	for i := range r {
		room := widths[i]
		if limit > 0 {
			room = min(room, limit-used)
		}
		if room <= 0 {
			break
		}
		s := cut(r[i].text, room)
		pad := strings.Repeat(" ", max(room-textWidth(s), 0))
		if colour {
			s = r[i].paint.on(s)
		}
		if t.cols[i].right {
			s = pad + s
		} else {
			s += pad
		}
		b.WriteString(s)
		used += room + gap
		if i < len(r)-1 {
			b.WriteString(strings.Repeat(" ", gap))
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// print writes a whole table to standard output.
func (s *session) print(cols []column, rows [][]cell) error {
	return s.more(&table{cols: cols}, rows)
}

func (s *session) more(t *table, rows [][]cell) error {
	for _, l := range t.lines(rows, s.width(), s.colour()) {
		if _, err := io.WriteString(s.env.Stdout, l+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// count writes a number with a separator at thousands.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	neg := strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(s, "-")
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	if neg {
		s = "-" + s
	}
	return s
}

// short writes a large number with a unit.
func short(n int64) string {
	for _, u := range []struct {
		from int64
		name string
	}{{1_000_000_000_000, "T"}, {1_000_000_000, "G"}, {1_000_000, "M"}, {1_000, "k"}} {
		if n >= u.from*10 || n >= u.from && u.from > 1000 {
			return strconv.FormatFloat(float64(n)/float64(u.from), 'f', 1, 64) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

// none stands where there is nothing to tell.
const none = "-"

// usd writes dollars; nil: there is no price, which is not free.
func usd(v *float64) string {
	switch {
	case v == nil:
		return none
	case *v != 0 && math.Abs(*v) < 0.01:
		return "$" + strconv.FormatFloat(*v, 'f', 6, 64)
	}
	return "$" + strconv.FormatFloat(*v, 'f', 2, 64)
}

func percent(part, all int64) string {
	if all <= 0 {
		return none
	}
	return strconv.FormatFloat(math.Floor(float64(part)*1000/float64(all))/10, 'f', 1, 64) + "%"
}

// millis writes milliseconds as people say them.
func millis(ms float64) string {
	switch {
	case ms >= 60_000:
		return time.Duration(ms * float64(time.Millisecond)).Round(time.Second).String()
	case ms >= 1000:
		return strconv.FormatFloat(ms/1000, 'f', 1, 64) + "s"
	}
	return strconv.FormatFloat(ms, 'f', 0, 64) + "ms"
}

func maybeMillis(ms *float64) string {
	if ms == nil {
		return none
	}
	return millis(*ms)
}

// when writes a time in the zone of this machine; nil: never.
func when(t *time.Time) string {
	if t == nil || t.IsZero() {
		return none
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return none
}
