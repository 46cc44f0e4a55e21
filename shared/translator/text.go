package translator

import (
	"bytes"

	"sluice/shared/rawjson"
)

// EmptyString and EmptyObject are JSON.
var (
	EmptyString = Raw(`""`)
	EmptyObject = Raw(`{}`)
)

// Quote returns s as a JSON string.
func Quote(s string) Raw { return rawjson.AppendString(make([]byte, 0, len(s)+2), s) }

// Text decodes a JSON string; "" for anything else.
func (r Raw) Text() string {
	if len(r) < 2 || r[0] != '"' {
		return ""
	}
	if bytes.IndexByte(r, '\\') < 0 {
		return string(r[1 : len(r)-1])
	}
	v, err := rawjson.Find(r)
	if err != nil {
		return ""
	}
	s, _ := v.Text()
	return s
}

// IsEmpty reports whether r is absent, null or an empty string.
func (r Raw) IsEmpty() bool { return len(r) <= 2 || string(r) == "null" }

// IsBase64 reports whether r is a string of padded base64 in the standard alphabet, which may have line breaks. Services that read
// it as bytes cannot read a request at all that has another.
func (r Raw) IsBase64() bool {
	if len(r) < 2 || r[0] != '"' {
		return false
	}
	text := inner(r)
	if bytes.IndexByte(text, '\\') >= 0 {
		text = []byte(r.Text())
	}
	n, pad := 0, 0
	for _, c := range text {
		switch {
		case c == '\n' || c == '\r':
			continue
		case c == '=':
			pad++
		case pad > 0 || !('A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '+' || c == '/'):
			return false
		}
		n++
	}
	return n%4 == 0 && pad <= 2
}

// IsTrue reports whether r is true.
func (r Raw) IsTrue() bool { return string(r) == "true" }

// inner is a JSON string's bytes without the quotes.
func inner(r Raw) []byte {
	if len(r) < 2 {
		return nil
	}
	return r[1 : len(r)-1]
}

func quoted(b []byte) Raw {
	out := make(Raw, 0, len(b)+2)
	out = append(out, '"')
	out = append(out, b...)
	return append(out, '"')
}

func clone(r Raw) Raw { return bytes.Clone(r) }

// Join appends JSON strings as one, with sep between them.
func Join(dst []byte, sep string, parts ...Raw) []byte {
	dst = append(dst, '"')
	for i, p := range parts {
		if i > 0 && sep != "" {
			dst = append(dst, inner(Quote(sep))...)
		}
		dst = append(dst, inner(p)...)
	}
	return append(dst, '"')
}

// ObjectOf returns the JSON object that a JSON string holds: the input of a call whose arguments came as text. Models
// write bad JSON at times and clients send it back for ever: what is no object is wrapped as {"arguments": text}, and
// nothing at all is {}.
func ObjectOf(text Raw) Raw {
	s := bytes.TrimSpace([]byte(text.Text()))
	if len(s) == 0 {
		return EmptyObject
	}
	if s[0] == '{' && rawjson.Valid(s) == nil {
		return s
	}
	out := append(Raw(`{"arguments":`), rawjson.AppendString(nil, string(s))...)
	return append(out, '}')
}

// TextOf returns a JSON object as a JSON string, the way OpenAI's dialects carry arguments.
func TextOf(object Raw) Raw {
	if len(object) == 0 {
		object = EmptyObject
	}
	return rawjson.AppendString(make([]byte, 0, len(object)+len(object)/8+2), string(object))
}

// CustomInput is the hub's input of a call with free text, CustomText its inverse.
func CustomInput(text Raw) Raw {
	out := make(Raw, 0, len(text)+10)
	out = append(out, `{"input":`...)
	out = append(out, text...)
	return append(out, '}')
}

// CustomText returns the text of a call of a custom tool, as a JSON string. A model that ignored the form gets its whole
// input passed on as text.
func CustomText(input Raw) Raw {
	v, err := rawjson.Find(input, "input")
	if err == nil && v.Kind() == rawjson.String {
		return v.Raw()
	}
	return TextOf(input)
}

// PlainText joins the text of blocks, with a blank line between them; images and documents are skipped.
func PlainText(blocks []Block) Raw {
	var parts []Raw
	for i := range blocks {
		if b := &blocks[i]; b.Type == BlockText && !b.Text.IsEmpty() {
			parts = append(parts, b.Text)
		}
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return Join(nil, "\n\n", parts...)
}

// depth follows the JSON text of a call's input through its pieces, each of them the inside of a JSON string, to know
// when the object is complete.
type depth struct {
	level   int
	str     bool // within a string of the inner text
	escaped bool // the inner text's last byte was its backslash
	begun   bool
}

func (d *depth) complete() bool { return d.begun && d.level == 0 && !d.str }

// feed takes the inside of a JSON string.
func (d *depth) feed(p []byte) {
	for i := 0; i < len(p); i++ {
		c := p[i]
		if c == '\\' && i+1 < len(p) {
			i++
			switch p[i] {
			case 'u':
				c = 0
				if i+4 < len(p) && p[i+1] == '0' && p[i+2] == '0' {
					c = unhex(p[i+3])<<4 | unhex(p[i+4])
				}
				i += 4
			case '"', '\\', '/':
				c = p[i]
			default:
				c = ' ' // a control character
			}
		}
		d.byte(c)
	}
}

func (d *depth) byte(c byte) {
	switch {
	case d.escaped:
		d.escaped = false
	case d.str:
		d.escaped = c == '\\'
		d.str = c != '"'
	case c == '"':
		d.str, d.begun = true, true
	case c == '{' || c == '[':
		d.level++
		d.begun = true
	case c == '}' || c == ']':
		d.level--
	}
}

func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 0
}
