package compat

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

//go:embed table.json
var builtin []byte

// Table is rows in force. It never changes and is safe for concurrent use.
type Table struct {
	rows    []Row // as listed
	betas   []*rule
	tools   []*rule
	fields  node // the body
	conds   int  // different conditions
	renames int  // of fields
}

// node is a place in the body that rows name, or that leads to one.
type node struct {
	name    string
	path    string  // as in rows
	rows    []*rule // about the member of that name
	members []*node // of its value, an object
	elems   *node   // of its value, an array: the place of the elements
	tools   bool    // a tool
	blocks  bool    // a block of a turn
	deep    bool    // a row below refuses or renames
	base    bool    // fields below are renamed, and stay in this object
}

// Builtin is the table without an operator's rows. It takes a millisecond: keep it.
func Builtin() *Table {
	t, err := Parse(nil)
	if err != nil {
		panic(err) // the file is a constant, and a test reads it
	}
	return t
}

// Parse lays an operator's rows over the built-in ones. The document, of at most MaxDocument bytes and MaxRows rows, is
// {"rows":[{"route","model","kind","name","action","to","when","unless","message","evidence"}]}; nil and empty are no rows. Rows of a
// listing that are marked as built-in are passed over. The error names the row at fault and what to do.
func Parse(overrides []byte) (*Table, error) {
	rows, err := readRows(builtin, BuiltIn)
	if err != nil {
		return nil, err
	}
	tooLong := fmt.Errorf("the compatibility rows are too long: at most %d bytes are taken", MaxDocument)
	if len(overrides) > MaxDocument+2*len(builtin) { // a listing has the built-in rows, too
		return nil, tooLong
	}
	if len(overrides) > 0 {
		own, err := readRows(overrides, Operator)
		if err != nil {
			return nil, err
		}
		rows = lay(rows, own)
	}
	t := compile(rows)
	if len(t.Overrides()) > MaxDocument {
		return nil, tooLong
	}
	return t, nil
}

// lay puts rows behind others and takes out those whose place they take.
func lay(rows, own []Row) []Row {
	at := make(map[key]int, len(own))
	for i := range own {
		at[own[i].key()] = i
	}
	rows = slices.DeleteFunc(rows, func(r Row) bool {
		i, taken := at[r.key()]
		if taken {
			own[i].Replaces = true
		}
		return taken
	})
	return append(rows, own...)
}

func compile(rows []Row) *Table {
	t := &Table{rows: rows}
	order := make([]*rule, 0, len(rows))
	index := make(map[string]int)
	for i := range slices.Backward(rows) { // of equals the later one first
		order = append(order, newRule(&rows[i], index))
	}
	t.conds = len(index)
	slices.SortStableFunc(order, func(a, b *rule) int {
		for _, p := range [...][2]string{{b.Model, a.Model}, {b.Route, a.Route}, {b.Name, a.Name}} {
			if d := weight(p[0]) - weight(p[1]); d != 0 {
				return d
			}
		}
		return len(b.When) - len(a.When)
	})
	for _, r := range order {
		switch r.Kind {
		case KindBeta:
			t.betas = append(t.betas, r)
		case KindTool:
			t.tools = append(t.tools, r)
		case KindField:
			t.fields.add(r)
			if r.Action == Rename {
				r.nth = t.renames
				t.renames++
			}
		}
	}
	if len(t.tools) > 0 {
		t.fields.member("tools", "tools").elements().tools = true
		turn := t.fields.member("messages", "messages").elements()
		turn.member("content", "messages[].content").elements().blocks = true
	}
	return t
}

// add hangs a rule at its place.
func (n *node) add(r *rule) {
	base, deep := n, r.Action == Refuse || r.Action == Rename
	var path []byte
	for s := range strings.SplitSeq(r.Name, ".") {
		n.deep = n.deep || deep
		name, array := strings.CutSuffix(s, "[]")
		if len(path) > 0 {
			path = append(path, '.')
		}
		path = append(path, s...)
		n = n.member(name, string(path))
		if array {
			n.deep = n.deep || deep
			n = n.elements()
			base = n
		}
	}
	n.rows = append(n.rows, r)
	if r.Action == Rename {
		r.aim(base)
	}
}

func (n *node) member(name, path string) *node {
	for _, m := range n.members {
		if m.name == name {
			return m
		}
	}
	m := &node{name: name, path: path}
	n.members = append(n.members, m)
	return m
}

func (n *node) elements() *node {
	if n.elems == nil {
		n.elems = &node{}
	}
	return n.elems
}

// Rows returns a copy of the rows: the built-in ones that no operator's took the place of, then the operator's.
func (t *Table) Rows() []Row {
	rows := slices.Clone(t.rows)
	for i := range rows {
		rows[i].Unless, rows[i].When = slices.Clone(rows[i].Unless), slices.Clone(rows[i].When)
	}
	return rows
}

// MarshalJSON is the list for people, {"rows":[...]}, each row with its source. Parse takes it back.
func (t *Table) MarshalJSON() ([]byte, error) { return json.Marshal(document{t.rows}) }

// Overrides is the document to store: the operator's rows alone, in the form that Parse takes.
func (t *Table) Overrides() []byte {
	doc := document{Rows: []Row{}}
	for _, r := range t.rows {
		if r.Source == Operator {
			r.Source, r.Replaces = "", false
			doc.Rows = append(doc.Rows, r)
		}
	}
	data, err := json.Marshal(doc)
	if err != nil {
		panic(err) // strings only
	}
	return data
}
