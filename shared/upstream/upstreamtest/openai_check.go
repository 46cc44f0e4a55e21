package upstreamtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// checker finds the first thing the API would refuse in a request. Once it has
// found one, all that follows does nothing.
type checker struct {
	problem *openAIError
}

// value is a part of a request's body and the path by which the API names it.
type value struct {
	path string
	raw  []byte // nil: absent
}

func (c *checker) refuse(param, code, format string, args ...any) {
	if c.problem == nil {
		c.problem = &openAIError{http.StatusBadRequest, invalidRequest, param, code, fmt.Sprintf(format, args...)}
	}
}

// object is the members of an object, in order.
type object struct {
	path string
	all  []member
}

type member struct {
	name string
	raw  []byte
}

func (v value) present() bool { return v.raw != nil && string(v.raw) != "null" }

func (v value) kind() string {
	switch {
	case v.raw == nil:
		return "undefined"
	case v.raw[0] == '{':
		return "an object"
	case v.raw[0] == '[':
		return "an array"
	case v.raw[0] == '"':
		return "a string"
	case v.raw[0] == 't' || v.raw[0] == 'f':
		return "a boolean"
	case v.raw[0] == 'n':
		return "null"
	case bytes.ContainsAny(v.raw, ".eE"):
		return "a decimal number"
	}
	return "an integer"
}

func (v value) text() string {
	var s string
	_ = json.Unmarshal(v.raw, &s)
	return s
}

func (v value) number() float64 {
	n, _ := strconv.ParseFloat(string(v.raw), 64)
	return n
}

// of reads an object; it is refused when it is something else.
func (c *checker) of(v value) object {
	o := object{path: v.path}
	if !members(v.raw, func(key, raw []byte) { o.all = append(o.all, member{value{raw: key}.text(), raw}) }) {
		c.refuse(v.path, "invalid_type", "Invalid type for '%s': expected an object, but got %s instead.", v.path, v.kind())
	}
	return o
}

func (o object) at(name string) value {
	v := value{path: name}
	if o.path != "" {
		v.path = o.path + "." + name
	}
	for _, m := range o.all {
		if m.name == name {
			v.raw = m.raw
		}
	}
	return v
}

func (o object) has(name string) bool { return o.at(name).present() }

// known refuses members that are not among the names.
func (c *checker) known(o object, names ...string) {
	for _, m := range o.all {
		if !slices.Contains(names, m.name) {
			path := o.at(m.name).path
			c.refuse(path, "unknown_parameter", "Unknown parameter: '%s'.", path)
		}
	}
}

// need returns a member that must be there.
func (c *checker) need(o object, name string) value {
	v := o.at(name)
	if !v.present() {
		c.refuse(v.path, "missing_required_parameter", "Missing required parameter: '%s'.", v.path)
	}
	return v
}

// elements reads an array of at most limit elements, 0 is any number.
func (c *checker) elements(v value, limit int) []value {
	var raw []json.RawMessage
	if json.Unmarshal(v.raw, &raw) != nil {
		c.refuse(v.path, "invalid_type", "Invalid type for '%s': expected an array, but got %s instead.", v.path, v.kind())
		return nil
	}
	if limit > 0 && len(raw) > limit {
		c.refuse(v.path, "array_above_max_length", "Invalid '%s': array too long. Expected an array with maximum length %d, but got an array with length %d instead.", v.path, limit, len(raw))
	}
	out := make([]value, 0, len(raw))
	for i, r := range raw {
		out = append(out, value{fmt.Sprintf("%s[%d]", v.path, i), bytes.TrimSpace(r)})
	}
	return out
}

// text reads a string of at most limit characters, 0 is any number.
func (c *checker) text(v value, limit int) string {
	if v.raw == nil || v.raw[0] != '"' {
		c.refuse(v.path, "invalid_type", "Invalid type for '%s': expected a string, but got %s instead.", v.path, v.kind())
		return ""
	}
	s := v.text()
	if limit > 0 && len(s) > limit {
		c.refuse(v.path, "string_above_max_length", "Invalid '%s': string too long. Expected a string with maximum length %d, but got a string with length %d instead.", v.path, limit, len(s))
	}
	return s
}

// oneOf reads a string that must be one of the names.
func (c *checker) oneOf(v value, names ...string) string {
	s := c.text(v, 0)
	if !slices.Contains(names, s) {
		c.refuse(v.path, "invalid_value", "Invalid value: '%s'. Supported values are: %s.", s, listed(names))
	}
	return s
}

func listed(names []string) string {
	quoted := make([]string, 0, len(names))
	for _, n := range names {
		quoted = append(quoted, "'"+n+"'")
	}
	last := len(quoted) - 1
	if last < 1 {
		return strings.Join(quoted, "")
	}
	sep := ", and "
	if last == 1 {
		sep = " and "
	}
	return strings.Join(quoted[:last], ", ") + sep + quoted[last]
}

// integer refuses what is no integer or below the least.
func (c *checker) integer(v value, least float64) {
	switch {
	case !v.present():
	case v.kind() != "an integer":
		c.refuse(v.path, "invalid_type", "Invalid type for '%s': expected an integer, but got %s instead.", v.path, v.kind())
	case v.number() < least:
		c.refuse(v.path, "integer_below_min_value", "Invalid '%s': integer below minimum value. Expected a value >= %v, but got %s instead.", v.path, least, v.raw)
	}
}

// decimal refuses what is no number between 0 and most.
func (c *checker) decimal(v value, most float64) {
	switch n := v.number(); {
	case !v.present():
	case v.kind() != "an integer" && v.kind() != "a decimal number":
		c.refuse(v.path, "invalid_type", "Invalid type for '%s': expected a decimal, but got %s instead.", v.path, v.kind())
	case n > most:
		c.refuse(v.path, "decimal_above_max_value", "Invalid '%s': decimal above maximum value. Expected a value <= %v, but got %s instead.", v.path, most, v.raw)
	case n < 0:
		c.refuse(v.path, "decimal_below_min_value", "Invalid '%s': decimal below minimum value. Expected a value >= 0, but got %s instead.", v.path, v.raw)
	}
}

func (c *checker) boolean(v value) {
	if v.present() && v.kind() != "a boolean" {
		c.refuse(v.path, "invalid_type", "Invalid type for '%s': expected a boolean, but got %s instead.", v.path, v.kind())
	}
}

// efforts are the values of reasoning effort.
func (c *checker) effort(v value) {
	if v.present() {
		c.oneOf(v, "none", "minimal", "low", "medium", "high", "xhigh", "max")
	}
}

// reasons tells whether a model is one that reasons, by the names OpenAI gives.
func reasons(model string) bool {
	for _, prefix := range []string{"gpt-5", "gpt-6", "o1", "o3", "o4"} {
		if strings.HasPrefix(model, prefix) {
			return true
		}
	}
	return false
}
