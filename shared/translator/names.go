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

// hashed is how many characters of a hash keep shortened names apart.
const hashed = 8

// FitNames returns the request with names of tools that a target takes, and a map from each changed name to the hub's,
// for Builder.Rename; r itself and nil when all names fit. A name is changed the same way in every request.
func (r *Request) FitNames(most int) (*Request, map[string]string) {
	var names map[string]string
	fit := func(name string) string {
		if fits(name, most) {
			return name
		}
		to := shorten(name, most)
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
			if b.Type != BlockToolUse || fits(b.Name, most) {
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

func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

func fits(name string, most int) bool {
	for i := range len(name) {
		if !nameByte(name[i]) {
			return false
		}
	}
	return len(name) <= most
}

// shorten makes a name that fits, with a hash of the whole at its end.
func shorten(name string, most int) string {
	sum := sha256.Sum256([]byte(name))
	b := []byte(name)
	for i, c := range b {
		if !nameByte(c) {
			b[i] = '_'
		}
	}
	b = append(b[:min(len(b), most-hashed-1)], '_')
	return string(hex.AppendEncode(b, sum[:hashed/2]))
}
