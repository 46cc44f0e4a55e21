package compat

import (
	"bytes"
	"slices"
	"strconv"

	"sluice/shared/rawjson"
)

// tool is what is seen of an element of tools.
type tool struct {
	kind, name span // their values
	marked     bool // for the cache
}

// gone is a tool that is taken out, if the conversation can do without.
type gone struct {
	name  string // decoded once: it may be long, and each call is compared with it
	any   bool   // it has none
	field string
	row   *rule
}

// maxGone bounds the tools that are taken out, each of which is looked for in the conversation.
const maxGone = 64

// serverUse is the type of a block in which the model called a tool of Anthropic's.
const serverUse = "server_tool_use"

// toolAt deals with an element of tools and returns its end.
func (w *walk) toolAt(i int, n *node, c *cut) int {
	edits, dropped := len(w.edits), len(w.dropped)
	w.tool = tool{}
	w.tools++
	end := w.value(i, n)
	if end < 0 {
		return bad
	}
	r := w.toolRule()
	if r == nil || r.Action == Keep || r.Action == Rename {
		if r != nil && r.Action == Rename {
			w.edit(Edit{w.tool.kind.at, w.tool.kind.end, rawjson.AppendString(nil, r.To)})
		}
		c.keepWalked(w, i, edits)
		c.kept = end
		return end
	}
	w.edits, w.dropped = w.edits[:edits], w.dropped[:dropped] // of a tool that goes
	kind := text(w.raw(w.tool.kind))
	w.report("tool:", kind)
	if w.tool.marked {
		w.report("tool:", kind+".cache_control")
	}
	field := "tools." + strconv.Itoa(w.tools-1)
	switch {
	case r.Action == Refuse:
		w.refuse(field, r.Message)
	case len(w.gone) == maxGone:
		w.refuse("tools", "has too many tools that Amazon Bedrock does not take; leave them out")
	default:
		raw := w.raw(w.tool.name)
		w.gone = append(w.gone, gone{text(raw), len(raw) < 2 || raw[0] != '"', field, r})
	}
	c.drop(w, i, end)
	return end
}

// keepWalked is keep for an element whose own edits, from the first on, are made.
func (c *cut) keepWalked(w *walk, at, first int) {
	c.keep(w, at)
	if len(w.edits) > first+1 {
		slices.SortStableFunc(w.edits[first:], func(a, b Edit) int { return a.At - b.At })
	}
}

// toolRule is the row that holds for the type of the tool, or nil.
func (w *walk) toolRule() *rule {
	raw := w.raw(w.tool.kind)
	if len(raw) < 2 || raw[0] != '"' || len(raw) > 6*maxName+2 {
		return nil
	}
	var r *rule
	if bytes.IndexByte(raw, '\\') < 0 {
		r = w.find(w.t.tools, string(raw[1:len(raw)-1]))
	} else {
		r = w.find(w.t.tools, text(raw))
	}
	if r == nil || w.excepted(r) {
		return nil
	}
	return r
}

func text(raw []byte) string {
	v, err := rawjson.Find(raw)
	if err != nil {
		return ""
	}
	s, _ := v.Text()
	return s
}

// checkUse refuses the request if it uses a tool that was taken out: tool_choice names it, a turn of the conversation has
// called it, or no other tool is left, so that it is what the request is about.
func (w *walk) checkUse() {
	first := &w.gone[0]
	if len(w.gone) == w.tools {
		w.refuse(first.field, first.why())
		return
	}
	if choice := w.raw(w.choice); len(choice) > 0 && choice[0] == '{' {
		if name, err := rawjson.Find(choice, "name"); err == nil && name.Exists() {
			if g := w.goneAs(name); g != nil {
				w.refuse("tool_choice", g.why())
				return
			}
		}
	}
	if !w.called {
		return
	}
	if g := w.calledIn(w.raw(w.messages)); g != nil {
		w.refuse("messages", g.why())
	}
}

func (g *gone) why() string {
	if g.row.Message != "" {
		return g.row.Message
	}
	return "tools of this type are not available on Amazon Bedrock: leave it out, or use another model"
}

// goneAs is the first tool taken out that a name may mean, or nil. One without a name may be any.
func (w *walk) goneAs(name rawjson.Value) *gone {
	s, is := name.Text()
	for i := range w.gone {
		if g := &w.gone[i]; g.any || is && g.name == s {
			return g
		}
	}
	return nil
}

// calledIn is a tool taken out that a turn has called, or nil.
func (w *walk) calledIn(messages []byte) (called *gone) {
	_ = rawjson.Elements(messages, func(turn rawjson.Value) bool {
		content, err := rawjson.Find(turn.Raw(), "content")
		if err != nil || content.Kind() != rawjson.Array {
			return true
		}
		_ = rawjson.Elements(content.Raw(), func(block rawjson.Value) bool {
			called = w.calledBy(block)
			return called == nil
		})
		return called == nil
	})
	return called
}

func (w *walk) calledBy(block rawjson.Value) *gone {
	if block.Kind() != rawjson.Object {
		return nil
	}
	var v [2]rawjson.Value
	if rawjson.Scan(block.Raw(), blockNames[:], v[:]) != nil || !v[0].TextEquals(serverUse) {
		return nil
	}
	return w.goneAs(v[1])
}

var blockNames = [2]string{"type", "name"}
