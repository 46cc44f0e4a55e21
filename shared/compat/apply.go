package compat

import (
	"errors"
	"slices"
	"strings"
)

// Edit replaces the bytes of the body from At to End.
type Edit struct {
	At, End int
	With    []byte
}

// Result is what a node is sent in place of what the client sent.
type Result struct {
	Betas   []string // in the client's order, each once; the caller's own slice when nothing changed
	Edits   []Edit   // of the body, in order, none over another
	Dropped []string // what the node will not see, each once: beta:NAME, tool:TYPE, tool:TYPE.cache_control, the path of a field
}

// Refusal says why the node cannot serve a request: leaving the field out would change the answer.
type Refusal struct {
	Field   string // anthropic-beta, tools.3, tool_choice, or the path of a row
	Message string // what is wrong with it and what to do
}

func (r *Refusal) Error() string { return r.Field + ": " + r.Message }

// The bounds of what one request can cause. Clients mark four blocks for the cache and send a hundred tools.
const (
	MaxBetas   = 100     // flags that are looked up; all others are dropped
	MaxDropped = 64      // names in Dropped; what comes behind them is dropped without its name
	MaxEdits   = 1 << 14 // a request that needs more is refused

	maxFamily = 2 * maxName // bytes of a model's name that rows are compared with, each at every field
)

var errBody = errors.New("the request body is not a JSON object")

// Apply makes a request fit for a route and a model family (see [Family]). betas are single flags, see [SplitBetas]; body is a
// Messages request, which must have passed package rawjson (of another, the edits mean nothing, but Apply returns). strip
// names top-level members to leave out besides, unreported: what the wire of the node says elsewhere, as model and stream
// with InvokeModel. They are Apply's business because two neighbours that are left out share a comma.
//
// The error is a *Refusal, or says that the body is not an object. Nothing given is written to; the result holds no part of
// body.
func (t *Table) Apply(route, family string, betas []string, body []byte, strip ...string) (Result, error) {
	w := walk{t: t, b: body, route: route, family: family[:min(len(family), maxFamily)], strip: strip}
	return w.apply(betas)
}

func (w *walk) apply(betas []string) (Result, error) {
	body := w.b
	i := skipSpace(body, 0)
	if i >= len(body) || body[i] != '{' {
		return Result{}, errBody
	}
	w.opens[0] = i
	w.flags(betas)
	if i = w.object(i, &w.t.fields); i < 0 || skipSpace(body, i) != len(body) {
		return Result{}, errBody
	}
	if len(w.gone) > 0 && !w.refused {
		w.checkUse()
	}
	if w.refused {
		return Result{}, &Refusal{w.field, w.message}
	}
	return Result{Betas: w.betas, Edits: w.edits, Dropped: w.dropped}, nil
}

// SplitBetas makes single flags of the values of the header anthropic-beta.
func SplitBetas(values []string) []string {
	var betas []string
	for _, v := range values {
		for b := range strings.SplitSeq(v, ",") {
			if b = strings.TrimSpace(b); b != "" {
				betas = append(betas, b)
			}
		}
	}
	return betas
}

// Splice appends body to dst with the edits made.
func Splice(dst, body []byte, edits []Edit) []byte {
	from := 0
	for _, e := range edits {
		dst = append(append(dst, body[from:e.At]...), e.With...)
		from = e.End
	}
	return append(dst, body[from:]...)
}

// walk is one application of the table.
type walk struct {
	t             *Table
	b             []byte
	route, family string
	strip         []string
	betas         []string // to send
	edits         []Edit
	dropped       []string
	refused       bool
	field         string
	message       string

	tool     tool // the element of tools that is looked at
	tools    int  // elements seen
	gone     []gone
	choice   span // the value of tool_choice
	messages span
	called   bool // a turn has called a tool of Anthropic's

	depth   int                // arrays that lead to where the walk is
	opens   [maxArrays + 1]int // where the body begins, and the element of each of these arrays
	few     [16]known          // conditions
	many    []known            // those beyond
	pending []moved            // of the objects that the walk is in
	taken   []taken
	ways    []way // of the rows that rename
	mixed   bool  // edits are not in order, but within their objects
	looked  int   // members gone over in search of one
}

// span is where a value stands; its zero value means nowhere.
type span struct{ at, end int }

func (w *walk) raw(s span) []byte { return w.b[s.at:s.end] }

// flags fills betas.
func (w *walk) flags(betas []string) {
	same := true
	w.betas = betas[:len(betas):len(betas)]
	for i, b := range betas {
		name := b
		if i >= MaxBetas {
			name = ""
			w.report("beta:", "*")
		} else if r := w.find(w.t.betas, b); r == nil || r.Action == Drop {
			name = ""
		} else if r.Action == Refuse {
			w.refuse("anthropic-beta", r.Message)
		} else if r.Action == Rename {
			name = r.To
			if to := w.find(w.t.betas, name); to != nil && (to.Action == Drop || to.Action == Refuse) {
				name = ""
			}
		}
		if name == "" && i < MaxBetas {
			w.report("beta:", b)
		}
		leave := name == "" || slices.Contains(w.betas[:min(i, len(w.betas))], name)
		if same && (leave || name != b) {
			same = false
			w.betas = append(make([]string, 0, len(betas)), betas[:i]...)
		}
		if !same && !leave {
			w.betas = append(w.betas, name)
		}
	}
}

// rule is the one that holds for a member, or nil; own is where its value begins.
func (w *walk) rule(rows []*rule, own int) *rule {
	for _, r := range rows {
		if glob(r.Model, w.family) && glob(r.Route, w.route) && w.holds(r, own) {
			if w.excepted(r) {
				return nil
			}
			return r
		}
	}
	return nil
}

// find is the rule that holds for a flag or a type, or nil.
func (w *walk) find(rows []*rule, name string) *rule {
	if len(name) > maxName {
		return nil
	}
	for _, r := range rows {
		if glob(r.Name, name) && glob(r.Model, w.family) && glob(r.Route, w.route) && w.holds(r, bad) {
			return r
		}
	}
	return nil
}

func (w *walk) excepted(r *rule) bool {
	for _, b := range r.Unless {
		if slices.Contains(w.betas, b) {
			return true
		}
	}
	return false
}

func (w *walk) refuse(field, message string) {
	if !w.refused {
		w.refused, w.field, w.message = true, field, message
	}
}

// report names what is dropped. A client's text is made fit for a header.
func (w *walk) report(prefix, name string) {
	for _, d := range w.dropped {
		if len(d) == len(prefix)+len(name) && strings.HasPrefix(d, prefix) && d[len(prefix):] == name {
			return
		}
	}
	if len(w.dropped) < MaxDropped {
		w.dropped = append(w.dropped, prefix+visible(name))
	}
}

func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || r == ',' {
			return '?'
		}
		return r
	}, s[:min(len(s), maxName)])
}

func (w *walk) edit(e Edit) {
	if len(w.edits) >= MaxEdits {
		w.refuse("body", "has too many parts that Amazon Bedrock does not take; send fewer cache marks and tools")
		return
	}
	w.edits = append(w.edits, e)
}

// cut takes members or elements out of one object or array, with their commas.
type cut struct {
	kept     int // end of the last one that stays; 0: none yet
	from, to int // those that go before the first that stays
	last     int // 1 + the edit that takes out those behind kept; 0: none
}

// keep comes before the edits within what stays.
func (c *cut) keep(w *walk, at int) {
	if c.to > 0 {
		w.edit(Edit{At: c.from, End: at})
		c.to = 0
	}
	c.last = 0
}

func (c *cut) drop(w *walk, at, end int) {
	switch {
	case c.kept > 0 && c.last > 0 && c.last <= len(w.edits):
		w.edits[c.last-1].End = end
	case c.kept > 0:
		w.edit(Edit{At: c.kept, End: end})
		c.last = len(w.edits)
	case c.to > 0:
		c.to = end
	default:
		c.from, c.to = at, end
	}
}

func (c *cut) close(w *walk) {
	if c.to > 0 {
		w.edit(Edit{At: c.from, End: c.to})
	}
}

// object goes over the object at i, whose place is n, and returns its end.
func (w *walk) object(i int, n *node) int {
	if !n.base {
		return w.members(i, n)
	}
	edits, pending, taken := len(w.edits), len(w.pending), len(w.taken)
	end := w.members(i, n)
	if end > 0 && w.mixed {
		inOrder(w.edits[edits:])
	}
	if end > 0 && len(w.pending) > pending {
		w.put(edits, w.pending[pending:])
	}
	w.pending, w.taken = w.pending[:pending], w.taken[:taken]
	return end
}

// members goes over the members of the object at i.
func (w *walk) members(i int, n *node) int {
	var c cut
	b, open := w.b, i
	if i = skipSpace(b, i+1); i < len(b) && b[i] == '}' {
		return i + 1
	}
	for {
		end, value := skipKey(b, i)
		if end < 0 {
			return bad
		}
		next := w.memberAt(n, open, span{i, end}, value, &c)
		if next < 0 {
			return bad
		}
		if i = skipSpace(b, next); i >= len(b) {
			return bad
		}
		if b[i] == '}' {
			c.close(w)
			return i + 1
		}
		if b[i] != ',' {
			return bad
		}
		i = skipSpace(b, i+1)
	}
}

// memberAt deals with one member of the object at open and returns the end of its value. When the request is refused, nothing
// else counts.
func (w *walk) memberAt(n *node, open int, key span, value int, c *cut) int {
	if w.refused {
		return skipValue(w.b, value)
	}
	name := w.raw(key)
	if n == &w.t.fields && w.stripped(name) {
		end := skipValue(w.b, value)
		c.drop(w, key.at, end)
		return end
	}
	m := n.find(name)
	var r *rule
	if m != nil {
		r = w.rule(m.rows, value)
	}
	end := bad
	switch {
	case r != nil && r.Action == Drop:
		end = w.leaveOut(m, value)
		c.drop(w, key.at, end)
	case r != nil && r.Action == Rename:
		end = w.rename(r, m, open, key, value, c)
	case r != nil && r.Action == Refuse:
		if end = skipValue(w.b, value); end < 0 {
			return bad
		}
		if !empty(w.b[value:end]) {
			w.refuse(m.path, r.Message)
		}
		w.report("", m.path)
		c.drop(w, key.at, end)
	default:
		c.keep(w, key.at)
		end = w.value(value, m)
		c.kept = end
	}
	if end > 0 {
		w.notice(n, name, span{value, end})
	}
	return end
}

// leaveOut is the end of a value that goes. A row below it may still refuse the request, or take something out to another
// place.
func (w *walk) leaveOut(m *node, value int) int {
	end := 0
	if m.deep {
		edits, dropped, pending := len(w.edits), len(w.dropped), len(w.pending)
		end = w.value(value, m)
		w.edits, w.dropped = w.edits[:edits], w.dropped[:dropped]
		out := slices.DeleteFunc(w.pending[pending:], func(p moved) bool { return p.land >= value && p.land < end })
		w.pending = w.pending[:pending+len(out)]
	} else {
		end = skipValue(w.b, value)
	}
	w.report("", m.path)
	return end
}

func (w *walk) stripped(name []byte) bool {
	for _, s := range w.strip {
		if spells(name, s) {
			return true
		}
	}
	return false
}

// notice keeps where the members stand that tell about tools.
func (w *walk) notice(n *node, name []byte, value span) {
	switch {
	case n.tools:
		switch {
		case spells(name, "type"):
			w.tool.kind = value
		case spells(name, "name"):
			w.tool.name = value
		case spells(name, "cache_control"):
			w.tool.marked = true
		}
	case n.blocks:
		if !w.called && spells(name, "type") {
			w.called = spells(w.raw(value), serverUse)
		}
	case n == &w.t.fields:
		switch {
		case spells(name, "tool_choice"):
			w.choice = value
		case spells(name, "messages"):
			w.messages = value
		}
	}
}

// value goes over the value at i, whose place is m, and returns its end.
func (w *walk) value(i int, m *node) int {
	if m != nil && i < len(w.b) && !w.refused {
		switch {
		case w.b[i] == '{' && (len(m.members) > 0 || m.tools || m.blocks):
			return w.object(i, m)
		case w.b[i] == '[' && m.elems != nil:
			return w.array(i, m.elems)
		}
	}
	return skipValue(w.b, i)
}

// array goes over the array at i, whose elements' place is n.
func (w *walk) array(i int, n *node) int {
	w.depth++
	i = w.elements(i, n)
	w.depth--
	return i
}

func (w *walk) elements(i int, n *node) int {
	var c cut
	b := w.b
	if i = skipSpace(b, i+1); i < len(b) && b[i] == ']' {
		return i + 1
	}
	for {
		w.opens[w.depth] = i
		end := bad
		if n.tools && !w.refused {
			end = w.toolAt(i, n, &c)
		} else {
			end = w.value(i, n)
		}
		if end < 0 {
			return bad
		}
		if i = skipSpace(b, end); i >= len(b) {
			return bad
		}
		if b[i] == ']' {
			c.close(w)
			return i + 1
		}
		if b[i] != ',' {
			return bad
		}
		i = skipSpace(b, i+1)
	}
}

// find is the place of a member by its name with the quotes, or nil.
func (n *node) find(name []byte) *node {
	for _, m := range n.members {
		if spells(name, m.name) {
			return m
		}
	}
	return nil
}
