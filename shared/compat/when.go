package compat

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxWhen bounds the conditions of a row.
const maxWhen = 4

// rule is a row as it is applied.
type rule struct {
	*Row
	when    []cond
	depth   int      // arrays that lead to its field
	to      []target // of a field that is renamed: the names from the object on that both paths have in common
	nth     int      // of the rows that rename
	sibling bool     // only the name differs
}

// cond is a condition of a row: what a field of the body must be, or must not.
type cond struct {
	index int      // in the memory of a walk
	own   bool     // the field is the row's own, or within it
	depth int      // arrays that lead to it, each of which leads to the row's field, too
	path  []string // from the row's field, or from the element of the last of those arrays, or from the body
	value string   // a pattern
	not   bool
}

// known is what a walk knows of a condition.
type known struct {
	open int // 1 + where the object begins that it was looked for in; 0: nothing is known
	is   bool
}

// splitWhen reads path=value or path!=value.
func splitWhen(s string) (path, value string, not bool, err error) {
	path, value, ok := strings.Cut(s, "=")
	if path, not = strings.CutSuffix(path, "!"); !ok || value == "" {
		return "", "", false, fmt.Errorf("when %q is no condition: write it like thinking.type=adaptive", clip(s))
	}
	return path, value, not, nil
}

// arrays is the part of a path that leads to the last array in it: messages[] of messages[].content; empty: there is none.
func arrays(path string) string {
	if i := strings.LastIndex(path, "[]"); i >= 0 {
		return path[:i+2]
	}
	return ""
}

// below is what a path is from the element of its last array on.
func below(path string) []string {
	return strings.Split(strings.TrimPrefix(path[len(arrays(path)):], "."), ".")
}

// within reports whether a path is another, or leads on from it.
func within(path, other string) bool {
	rest, ok := strings.CutPrefix(path, other)
	return ok && (rest == "" || rest[0] == '.' || other == "")
}

func (r *Row) checkWhen() error {
	if len(r.When) > maxWhen {
		return fmt.Errorf("when has %d conditions: at most %d are taken", len(r.When), maxWhen)
	}
	for _, s := range r.When {
		path, value, _, err := splitWhen(s)
		if err != nil {
			return err
		}
		if err := checkName("when", path, false); err != nil {
			return err
		}
		if err := checkName("when", value, true); err != nil {
			return err
		}
		if err := checkPath("when", path); err != nil {
			return err
		}
		if a := arrays(path); !within(arrays(r.place()), a) {
			return fmt.Errorf("when %q looks into elements of %s, but the row is not about something in the same element", clip(s), a)
		}
	}
	for i, s := range r.When {
		if slices.Contains(r.When[:i], s) {
			return errors.New("when has a condition twice")
		}
	}
	return nil
}

// place is where in the body a row's subject stands.
func (r *Row) place() string {
	switch r.Kind {
	case KindField:
		return r.Name
	case KindTool:
		return "tools[].type"
	}
	return ""
}

// newRule makes a rule; index numbers conditions that differ.
func newRule(r *Row, index map[string]int) *rule {
	u := &rule{Row: r, depth: strings.Count(r.place(), "[]")}
	for _, s := range r.When {
		path, value, not, _ := splitWhen(s)
		id := path + "=" + value
		if _, ok := index[id]; !ok {
			index[id] = len(index)
		}
		c := cond{index: index[id], value: value, not: not, depth: strings.Count(path, "[]")}
		if c.own = r.Kind == KindField && within(path, r.Name); !c.own {
			c.path = below(path)
		} else if path != r.Name {
			c.path = strings.Split(path[len(r.Name)+1:], ".")
		}
		u.when = append(u.when, c)
	}
	return u
}

// holds reports whether a rule's conditions do; own is where the value of its field begins, bad: there is none.
func (w *walk) holds(r *rule, own int) bool {
	for i := range r.when {
		c := &r.when[i]
		is := false
		if c.own {
			is = w.is(own, c.path, c.value)
		} else {
			is = w.remembered(c)
		}
		if is == c.not {
			return false
		}
	}
	return true
}

// remembered looks once for each object that a condition is about: a member that a client sends a million times must not
// cost a million walks.
func (w *walk) remembered(c *cond) bool {
	var k *known
	if c.index < len(w.few) {
		k = &w.few[c.index]
	} else {
		if w.many == nil {
			w.many = make([]known, w.t.conds-len(w.few))
		}
		k = &w.many[c.index-len(w.few)]
	}
	if open := w.opens[c.depth]; k.open != open+1 {
		*k = known{open + 1, w.is(open, c.path, c.value)}
	}
	return k.is
}

// is reports whether what stands below the value at i is of a pattern: a text, or a number, true, false or null as it is
// written. Objects and arrays are of * alone.
func (w *walk) is(i int, path []string, pattern string) bool {
	for _, name := range path {
		i = w.member(i, name)
	}
	end := bad
	if i >= 0 {
		end = skipValue(w.b, i)
	}
	if end < 0 {
		return false
	}
	raw := w.b[i:end]
	switch {
	case pattern == "*":
		return true
	case raw[0] == '{' || raw[0] == '[' || len(raw) > 6*maxName+2:
		return false
	case raw[0] != '"':
		return glob(pattern, raw)
	case bytes.IndexByte(raw, '\\') >= 0:
		return glob(pattern, text(raw))
	}
	return glob(pattern, raw[1:len(raw)-1])
}

// member is where the value of a member of the object at i begins, the first of that name, or bad.
func (w *walk) member(i int, name string) int {
	b := w.b
	if i < 0 || i >= len(b) || b[i] != '{' {
		return bad
	}
	for i++; ; i++ {
		w.looked++
		i = skipSpace(b, i)
		end, value := skipKey(b, i)
		if end < 0 {
			return bad
		}
		if spells(b[i:end], name) && value < len(b) {
			return value
		}
		if i = skipValue(b, value); i < 0 {
			return bad
		}
		if i = skipSpace(b, i); i >= len(b) || b[i] != ',' {
			return bad
		}
	}
}
