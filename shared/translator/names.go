package translator

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
)

// The most characters a target takes in the name of a tool. Both want letters, digits, underscores and dashes only.
const (
	NameOpenAI    = 64
	NameAnthropic = 128
)

// NameRule is what a target demands of the names of tools: letters, digits, underscores and dashes, in ASCII.
type NameRule struct {
	Most       int  // characters; at least 16
	Identifier bool // no dashes, and a letter comes first
}

// hashed is how many characters of a hash keep shortened names apart.
const hashed = 8

// FitNames is FitNamesTo for a target that bounds only the length.
func (r *Request) FitNames(most int) (*Request, map[string]string) {
	return r.FitNamesTo(NameRule{Most: most})
}

// FitNamesTo returns the request with names of tools that a target takes, and a map from each changed name to the hub's,
// for Builder.Rename; r itself and nil when all names fit. A name is changed the same way in every request.
func (r *Request) FitNamesTo(rule NameRule) (*Request, map[string]string) {
	var names map[string]string
	fit := func(name string) string {
		if rule.fits(name) {
			return name
		}
		to := rule.shorten(name)
		if names == nil {
			names = make(map[string]string)
		}
		names[to] = name
		return to
	}
	out := *r
	for i := range r.Tools {
		if to := fit(r.Tools[i].Name); to != r.Tools[i].Name {
			if &out.Tools[0] == &r.Tools[0] {
				out.Tools = slices.Clone(r.Tools)
			}
			out.Tools[i].Name = to
		}
	}
	if c := r.ToolChoice; c != nil {
		choice := *c
		choice.Name = ""
		if c.Name != "" {
			choice.Name = fit(c.Name)
		}
		if c.Allowed != nil {
			choice.Allowed = slices.Clone(c.Allowed)
			for i, name := range c.Allowed {
				choice.Allowed[i] = fit(name)
			}
		}
		out.ToolChoice = &choice
	}
	for i := range r.Messages {
		for j := range r.Messages[i].Content {
			b := &r.Messages[i].Content[j]
			if b.Type != BlockToolUse || rule.fits(b.Name) {
				continue
			}
			if &out.Messages[0] == &r.Messages[0] {
				out.Messages = slices.Clone(r.Messages)
			}
			if &out.Messages[i].Content[0] == &r.Messages[i].Content[0] {
				out.Messages[i].Content = slices.Clone(r.Messages[i].Content)
			}
			out.Messages[i].Content[j].Name = fit(b.Name)
		}
	}
	if names == nil {
		return r, nil
	}
	return &out, names
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func (n NameRule) takes(c byte) bool {
	return letter(c) || c >= '0' && c <= '9' || c == '_' || c == '-' && !n.Identifier
}

func (n NameRule) fits(name string) bool {
	if n.Identifier && (name == "" || !letter(name[0])) {
		return false
	}
	for i := range len(name) {
		if !n.takes(name[i]) {
			return false
		}
	}
	return len(name) <= n.Most
}

// shorten makes a name that fits, with a hash of the whole at its end.
func (n NameRule) shorten(name string) string {
	sum := sha256.Sum256([]byte(name))
	b := make([]byte, 0, len(name)+1)
	if n.Identifier && (name == "" || !letter(name[0])) {
		b = append(b, 't')
	}
	for i := range len(name) {
		c := name[i]
		if !n.takes(c) {
			c = '_'
		}
		b = append(b, c)
	}
	b = append(b[:min(len(b), n.Most-hashed-1)], '_')
	return string(hex.AppendEncode(b, sum[:hashed/2]))
}
