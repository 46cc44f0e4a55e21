package pricing

import (
	"bytes"
	"strings"
)

// maxName is the length beyond which a name is none.
const maxName = 512

// The parts before a model's own name. A list of arrays, so that looking at it allocates nothing.
var (
	// vendors that resellers put before a name and charge what the vendor does
	vendors = [...]string{"anthropic/", "openai/", "google/", "x-ai/", "models/"}
	// regions are the prefixes of Bedrock's inference profiles (wire-formats 5), before one of makers
	regions = [...]string{"global.", "us.", "eu.", "jp.", "apac.", "au.", "ca.", "us-gov."}
	// makers begin the ids of Bedrock's models
	makers = [...]string{"anthropic.", "amazon.", "meta.", "deepseek.", "qwen.", "mistral.", "openai.", "google.", "moonshot.", "moonshotai.",
		"minimax.", "zai.", "xai.", "nvidia.", "cohere.", "ai21.", "writer."}
)

// spelled is a model's name as the list writes it, and what its other parts tell.
type spelled struct {
	text    []byte
	bedrock bool // it is an id of Bedrock's
	global  bool // a profile that is not bound to a region
}

// Name spells a model as the list does: without vendor and region before it ("anthropic/", "us.anthropic.", an ARN), without
// the date, "-latest", Bedrock's "-v1:0", Vertex's "@date" or "[1m]" behind it, and with dashes in the version of a Claude.
// Bedrock's other models keep their maker ("amazon.nova-pro"). A date with dashes stays, for OpenAI's dated models may have
// a price of their own; where they have none, the list looks for the name without it. A name of over 512 bytes is "".
func Name(model string) string {
	var buf [maxName]byte
	return string(spell(buf[:0], model).text)
}

// spell writes the name to dst, whose capacity must be maxName.
func spell(dst []byte, model string) (n spelled) {
	model = strings.TrimSpace(model)
	if len(model) > maxName {
		return n
	}
	for i := range len(model) {
		c := model[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	s := dst
	if _, ok := cutPrefix(s, "arn:aws"); ok {
		s = s[bytes.LastIndexByte(s, '/')+1:]
	}
	s = n.trimBefore(s)
	s = bytes.TrimSuffix(s, []byte("[1m]"))
	if base, date, ok := bytes.Cut(s, []byte("@")); ok && (isDate(date) || string(date) == "default" || string(date) == "latest") {
		s = base
	}
	claude := bytes.HasPrefix(s, []byte("claude-"))
	if claude || n.bedrock {
		s = trimRevision(s)
	}
	s = bytes.TrimSuffix(s, []byte("-latest"))
	if i := bytes.LastIndexByte(s, '-'); i > 0 && isDate(s[i+1:]) {
		s = s[:i]
	}
	if claude {
		for i := range s {
			if s[i] == '.' {
				s[i] = '-'
			}
		}
	}
	n.text = s
	return n
}

// trimBefore removes what stands before the name.
func (n *spelled) trimBefore(s []byte) []byte {
	for _, v := range vendors {
		if rest, ok := cutPrefix(s, v); ok {
			s = rest
			break
		}
	}
	for _, r := range regions {
		if rest, ok := cutPrefix(s, r); ok && made(rest) {
			s, n.global = rest, r == regions[0]
			break
		}
	}
	n.bedrock = made(s)
	s, _ = cutPrefix(s, "anthropic.")
	return s
}

// made reports whether s begins with a maker.
func made(s []byte) bool {
	for _, m := range makers {
		if _, ok := cutPrefix(s, m); ok {
			return true
		}
	}
	return false
}

func cutPrefix(s []byte, prefix string) ([]byte, bool) {
	if len(s) < len(prefix) || string(s[:len(prefix)]) != prefix {
		return s, false
	}
	return s[len(prefix):], true
}

// trimRevision removes "-v1:0", "-v1" or "-1:0" at the end, and the size of a context window behind it (":200k").
func trimRevision(s []byte) []byte {
	i := bytes.LastIndexByte(s, '-')
	if i < 0 {
		return s
	}
	major, minor, colon := bytes.Cut(s[i+1:], []byte(":"))
	if before, window, ok := bytes.Cut(minor, []byte(":")); ok && len(window) > 1 && len(window) < 6 && window[len(window)-1] == 'k' && digits(window[:len(window)-1]) {
		minor = before
	}
	major, v := cutPrefix(major, "v")
	if !v && !colon || len(major) == 0 || len(major) > 2 || !digits(major) || !digits(minor) {
		return s
	}
	return s[:i]
}

// undated is s without a date in OpenAI's form behind it, "-2026-03-05".
func undated(s []byte) ([]byte, bool) {
	i := len(s) - len("-2026-03-05")
	if i <= 0 || s[i] != '-' || s[i+5] != '-' || s[i+8] != '-' {
		return s, false
	}
	d := s[i+1:]
	return s[:i], string(d[:2]) == "20" && digits(d[:4]) && digits(d[5:7]) && digits(d[8:])
}

func isDate(s []byte) bool { return len(s) == 8 && digits(s) && s[0] == '2' && s[1] == '0' }

func digits(s []byte) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
