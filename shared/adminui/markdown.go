package adminui

import (
	"net/url"
	"strings"
)

// block is a part of a markdown text, for a template: nothing in it is HTML, templates escape it.
type block struct {
	Kind  string    // h2, h3, p, ul or pre
	Lines [][]piece // of a list its items; of others one
}

// piece is a part of a line.
type piece struct {
	Kind string // empty: text; code, strong or a
	Text string
	Href string // of a: an http or https address
}

// markdown reads the markdown that our own texts are written in: headings, paragraphs, lists of one level, fenced code, and in
// lines code, strong and links. All else, HTML before all, stays the text that it is. The first heading is left out: it is the
// page's.
func markdown(text string) (out []block) {
	var kind, held string // what is being read
	var items [][]piece
	flush := func() {
		if held != "" {
			items = append(items, inline(held))
		}
		if len(items) > 0 {
			out = append(out, block{Kind: kind, Lines: items})
		}
		kind, held, items = "", "", nil
	}
	fenced := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \t\r\n")
		bare := strings.TrimLeft(line, " \t")
		if strings.HasPrefix(bare, "```") {
			if fenced && held != "" {
				out = append(out, block{Kind: "pre", Lines: [][]piece{{{Text: strings.TrimSuffix(held, "\n")}}}})
				held = ""
			} else if !fenced {
				flush()
			}
			fenced = !fenced
			continue
		}
		if fenced {
			held += line + "\n"
			continue
		}
		level := len(bare) - len(strings.TrimLeft(bare, "#"))
		switch {
		case bare == "":
			flush()
		case level > 0 && level <= 6 && strings.HasPrefix(bare[level:], " "):
			flush()
			if kind = "h2"; level > 2 {
				kind = "h3"
			}
			if held = strings.TrimSpace(bare[level:]); level == 1 {
				held = ""
			}
			flush()
		case strings.HasPrefix(bare, "- ") || strings.HasPrefix(bare, "* "):
			if kind != "ul" {
				flush()
			} else if held != "" {
				items = append(items, inline(held))
			}
			kind, held = "ul", strings.TrimSpace(bare[2:])
		case held != "":
			held += " " + bare
		default:
			kind, held = "p", bare
		}
	}
	if fenced {
		kind = "pre"
	}
	flush()
	return out
}

// inline reads a line.
func inline(s string) (out []piece) {
	text := func(t string) {
		if t == "" {
			return
		}
		if n := len(out); n > 0 && out[n-1].Kind == "" {
			out[n-1].Text += t
			return
		}
		out = append(out, piece{Text: t})
	}
	for s != "" {
		at := strings.IndexAny(s, "`*[")
		if at < 0 {
			break
		}
		text(s[:at])
		s = s[at:]
		sp, size := pieceAt(s)
		if size == 0 {
			sp, size = piece{Text: s[:1]}, 1
		}
		if sp.Kind == "" {
			text(sp.Text)
		} else {
			out = append(out, sp)
		}
		s = s[size:]
	}
	text(s)
	return out
}

// pieceAt reads what s begins with, and how long it is; 0: it is text.
func pieceAt(s string) (piece, int) {
	if rest, ok := strings.CutPrefix(s, "`"); ok {
		if end := strings.IndexByte(rest, '`'); end > 0 {
			return piece{Kind: "code", Text: rest[:end]}, end + 2
		}
		return piece{}, 0
	}
	if rest, ok := strings.CutPrefix(s, "**"); ok {
		if end := strings.Index(rest, "**"); end > 0 {
			return piece{Kind: "strong", Text: rest[:end]}, end + 4
		}
		return piece{}, 0
	}
	label, rest, ok := strings.Cut(s, "](")
	end := strings.IndexByte(rest, ')')
	if !ok || s[0] != '[' || end < 1 || strings.ContainsAny(label[1:], "[]") {
		return piece{}, 0
	}
	size := len(label) + 2 + end + 1
	u, err := url.Parse(rest[:end])
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return piece{Text: label[1:]}, size // a file of the repository, or no address of the web
	}
	return piece{Kind: "a", Text: label[1:], Href: u.String()}, size
}
