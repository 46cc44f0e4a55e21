package upstreamtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// bChecker finds the first thing that the service would refuse in a body. Once
// it has found one, all that follows does nothing. Paths have dots, also before
// the index of an element.
type bChecker struct {
	problem bError
	cause   string // empty: nothing
	model   BedrockModel
	betas   []string
	marks   int // of the cache
}

func (c *bChecker) fail(e bError) {
	if c.cause == "" {
		c.problem, c.cause = e, e.message
	}
}

func (c *bChecker) refuse(format string, args ...any) {
	c.fail(bValidation(fmt.Sprintf(format, args...)))
}

// constraint is the framework's text for what the service's model forbids.
func (c *bChecker) constraint(v value, rule string, args ...any) {
	c.refuse("1 validation error detected: Value %s at '%s' failed to satisfy constraint: %s", short(v), v.path, fmt.Sprintf(rule, args...))
}

// short is a value in an error: whole if it is not long.
func short(v value) string {
	if !v.present() {
		return "null"
	}
	s := string(v.raw)
	if v.raw[0] == '"' {
		s = "'" + v.text() + "'"
	}
	if len(s) > 80 {
		return "of " + strconv.Itoa(len(s)) + " bytes"
	}
	return s
}

// serialization refuses a value of the wrong kind, as AWS's framework does.
func (c *bChecker) serialization(v value, want string) {
	c.fail(bError{http.StatusBadRequest, "SerializationException", v.path + ": " + v.kind() + " can not be converted to " + want, false, true})
}

func (c *bChecker) of(v value) object {
	o := object{path: v.path}
	if v.present() && !members(v.raw, func(key, raw []byte) { o.all = append(o.all, member{value{raw: key}.text(), raw}) }) {
		c.serialization(v, "an object")
	}
	return o
}

// need returns a member that must be there.
func (c *bChecker) need(o object, name string) value {
	v := o.at(name)
	if !v.present() {
		c.constraint(v, "Member must not be null")
	}
	return v
}

// known refuses members that the shape does not have. The service itself passes
// over some of these; here a misspelled name must show.
func (c *bChecker) known(o object, names ...string) {
	for _, m := range o.all {
		if !slices.Contains(names, m.name) {
			c.refuse("The member %s is not in the service's model.", o.at(m.name).path)
		}
	}
}

// union reads an object with exactly one member, one of the names.
func (c *bChecker) union(v value, names ...string) (string, value) {
	o := c.of(v)
	var found []string
	for _, m := range o.all {
		if string(m.raw) != "null" {
			found = append(found, m.name)
		}
	}
	if len(found) != 1 || !slices.Contains(names, found[0]) {
		c.refuse("%s has the members [%s], not exactly one of [%s].", v.path, strings.Join(found, " "), strings.Join(names, " "))
		return "", value{path: v.path}
	}
	return found[0], o.at(found[0])
}

func (c *bChecker) elements(v value) []value {
	if !v.present() {
		return nil
	}
	var raw []json.RawMessage
	if json.Unmarshal(v.raw, &raw) != nil {
		c.serialization(v, "an array")
		return nil
	}
	out := make([]value, 0, len(raw))
	for i, r := range raw {
		out = append(out, value{v.path + "." + strconv.Itoa(i), r})
	}
	return out
}

// text reads a string of least to most characters, which may be absent; most 0
// is no limit.
func (c *bChecker) text(v value, least, most int) string {
	if !v.present() {
		return ""
	}
	if v.raw[0] != '"' {
		c.serialization(v, "a string")
		return ""
	}
	s := v.text()
	switch n := utf8.RuneCountInString(s); {
	case n < least:
		c.constraint(v, "Member must have length greater than or equal to %d", least)
	case most > 0 && n > most:
		c.constraint(v, "Member must have length less than or equal to %d", most)
	}
	return s
}

func (c *bChecker) oneOf(v value, names ...string) string {
	s := c.text(v, 0, 0)
	if v.present() && !slices.Contains(names, s) {
		c.constraint(v, "Member must satisfy enum value set: [%s]", strings.Join(names, ", "))
	}
	return s
}

func (c *bChecker) boolean(v value) {
	if v.present() && v.kind() != "a boolean" {
		c.serialization(v, "a boolean")
	}
}

// number reads a number between two bounds, which may be absent.
func (c *bChecker) number(v value, whole bool, least, most float64) {
	if !v.present() {
		return
	}
	kind := v.kind()
	switch n := v.number(); {
	case kind != "an integer" && (whole || kind != "a decimal number"):
		c.serialization(v, "a number")
	case n < least:
		c.constraint(v, "Member must have value greater than or equal to %v", least)
	case n > most:
		c.constraint(v, "Member must have value less than or equal to %v", most)
	}
}
