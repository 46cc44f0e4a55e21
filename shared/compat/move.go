package compat

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sluice/shared/rawjson"
)

// target is a step to where a field goes.
type target struct {
	name  string
	place *node
}

// moved is a value on its way to another object than its own.
type moved struct {
	land  int      // where the object begins, or the null that it takes the place of
	names []string // within it; none: it is the null's place itself
	value []byte
}

// taken is a path that something has gone to.
type taken struct {
	open int // of the object that the path begins in
	to   string
}

// checkMove: both paths lead through the same arrays, so that the value stays in its element, and neither lies in the other.
func (r *Row) checkMove() error {
	if err := checkName("to", r.To, false); err != nil {
		return err
	}
	if err := checkPath("to", r.To); err != nil {
		return err
	}
	switch {
	case arrays(r.To) != arrays(r.Name):
		return fmt.Errorf("to %q must lead through the same arrays as the name: a field stays in its element", clip(r.To))
	case r.To != r.Name && (within(r.To, r.Name) || within(r.Name, r.To)):
		return errors.New("to and the name lie one in the other")
	case vital(r.To):
		return fmt.Errorf("to %q is what every request has", clip(r.To))
	}
	return nil
}

// aim fills to: base is the place of the object that both paths begin in.
func (r *rule) aim(base *node) {
	base.base = true
	path := strings.TrimSuffix(arrays(r.To)+".", ".")
	from, names := below(r.Name), below(r.To)
	r.sibling = slices.Equal(from[:len(from)-1], names[:len(names)-1])
	n := base
	for _, name := range names {
		if path != "" {
			path += "."
		}
		path += name
		n = n.member(name, path)
		r.to = append(r.to, target{name, n})
	}
}

// verdict is what becomes of a field that a row renames.
type verdict uint8

const (
	goes    verdict = iota // to its new place
	renamed                // it stays where it is, under another name
	left                   // out, as the new place is taken, or what goes there is left out
	refused
)

// rename deals with a member of the object at parent that a row renames, and returns the end of its value.
func (w *walk) rename(r *rule, m *node, parent int, key span, value int, c *cut) int {
	open := w.opens[r.depth]
	what, y := w.landing(r, m, open, parent, value)
	if what <= renamed {
		w.taken = append(w.taken, taken{open, r.To})
	}
	switch what {
	case renamed:
		c.keep(w, key.at)
		w.edit(Edit{key.at, key.end, rawjson.AppendString(nil, r.to[len(r.to)-1].name)})
		c.kept = w.value(value, m)
		return c.kept
	case refused:
		return skipValue(w.b, value) // as is all that comes
	case left:
		end := w.leaveOut(m, value)
		c.drop(w, key.at, end)
		return end
	}
	first := len(w.edits)
	end := w.value(value, m)
	if end < 0 {
		return bad
	}
	inner := w.edits[first:]
	inOrder(inner)
	for i := range inner {
		inner[i].At -= value
		inner[i].End -= value
	}
	out := Splice(nil, w.b[value:end], inner)
	w.edits = w.edits[:first]
	c.drop(w, key.at, end)
	if r.sibling { // in the place of a null, which goes with the object wherever that goes
		w.edit(Edit{y.land, y.land + len(null), out})
		w.mixed = true
		return end
	}
	var names []string
	for _, t := range r.to[y.names:] {
		names = append(names, t.name)
	}
	w.pending = append(w.pending, moved{y.land, names, out})
	return end
}

// landing says where a field goes. What rows say of the new place and of what leads to it holds there as for a field that a
// client sent, but that a renamed field is not renamed again. A null moves nothing: it is as good as no field.
func (w *walk) landing(r *rule, m *node, open, parent, value int) (verdict, *way) {
	if isNull(w.b, value) {
		return left, nil
	}
	for _, t := range w.taken {
		if t.open == open && (within(t.to, r.To) || within(r.To, t.to)) {
			return left, nil
		}
	}
	y := w.way(r, open, parent)
	if y.refuses != nil && w.asks(value) {
		w.refuse(m.path, y.refuses.Message)
		return refused, y
	}
	if y.across != nil {
		w.refuse(m.path, "is "+r.To+" on Amazon Bedrock, which has no place beside what the request has at "+y.across.path)
		return refused, y
	}
	to := r.to[len(r.to)-1]
	if !w.leaves(to) {
		switch last := w.rule(to.place.rows, value); {
		case last == nil || last.Action == Keep || last.Action == Rename:
			switch {
			case y.ends:
				return left, y
			case r.sibling && !isNull(w.b, y.land):
				return renamed, y
			}
			return goes, y
		case last.Action == Refuse && w.asks(value): // below what drops, too
			w.refuse(m.path, last.Message)
			return refused, y
		}
	}
	return left, y
}

// way is what the fields that a row renames meet within one object on their way, whatever they are. It is looked up once: of
// a field that is sent a million times each must not go over the object again.
type way struct {
	at      int   // 1 + where the object begins; 0: nothing is known
	land    int   // the object that takes the value, or the null whose place it takes
	names   int   // of the names of the new place, the first that is missing there
	ends    bool  // the client has something at the new place, or a row or the wire drops what leads there
	refuses *rule // what leads there
	across  *node // what leads there and is no object
}

// way looks from the object at open, or at parent where only the name differs.
func (w *walk) way(r *rule, open, parent int) *way {
	if w.ways == nil {
		w.ways = make([]way, w.t.renames)
	}
	y, i, at := &w.ways[r.nth], 0, open
	if r.sibling {
		i, at = len(r.to)-1, parent
	}
	if y.at == at+1 {
		return y
	}
	*y = way{at: at + 1, land: bad}
	for ; i < len(r.to); i++ {
		t, found, last := r.to[i], bad, i == len(r.to)-1
		if y.land < 0 && !y.ends {
			found = w.member(at, t.name)
		}
		if !last && w.stops(y, t, found) {
			continue // a row below one that drops still refuses
		}
		switch {
		case y.land >= 0 || y.ends:
		case found < 0:
			y.land, y.names = at, i
		case !isNull(w.b, found):
			switch {
			case last:
				y.ends = true
			case w.b[found] != '{':
				y.ends, y.across = true, t.place
				return y
			}
			at = found
		case w.passes(w.rule(t.place.rows, found)):
			y.land, y.names = found, i+1
		default: // a null that goes
			y.land, y.names = at, i
		}
	}
	return y
}

// stops notes what a row says of a step on the way, whose value is at found.
func (w *walk) stops(y *way, t target, found int) bool {
	if w.leaves(t) {
		y.ends = true
		return true
	}
	r := w.rule(t.place.rows, found)
	if w.passes(r) {
		return false
	}
	y.ends = true
	if r.Action == Refuse && y.refuses == nil {
		y.refuses = r
	}
	return true
}

func (w *walk) passes(r *rule) bool { return r == nil || r.Action == Keep }

// leaves reports whether the wire leaves a step out.
func (w *walk) leaves(t target) bool {
	return slices.Contains(w.strip, t.name) && slices.Contains(w.t.fields.members, t.place)
}

// asks reports whether the value at i asks for something.
func (w *walk) asks(i int) bool {
	end := skipValue(w.b, i)
	return end > 0 && !empty(w.b[i:end])
}

const null = "null"

// isNull reports whether the value at i is null, which Anthropic's API takes for no value.
func isNull(b []byte, i int) bool {
	return i >= 0 && i+len(null) <= len(b) && string(b[i:i+len(null)]) == null
}

// put makes edits of the fields that go to other places of one object, whose edits begin with first.
func (w *walk) put(first int, moves []moved) {
	slices.SortStableFunc(moves, func(a, b moved) int { return cmp.Or(cmp.Compare(a.land, b.land), slices.Compare(a.names, b.names)) })
	cuts := w.edits[first:]
	for len(moves) > 0 {
		n := 1
		for n < len(moves) && moves[n].land == moves[0].land {
			n++
		}
		w.edit(w.putAt(moves[0].land, moves[:n], cuts))
		moves = moves[n:]
	}
	inOrder(w.edits[first:])
}

// putAt is the edit that puts moves into the object at land, or in the place of the null there.
func (w *walk) putAt(land int, moves []moved, cuts []Edit) Edit {
	if !isNull(w.b, land) {
		with := appendMoved(nil, moves, 0)
		if w.stays(land, cuts) {
			with = append(with, ',')
		}
		return Edit{land + 1, land + 1, with}
	}
	with := moves[0].value
	if len(moves[0].names) > 0 {
		with = append(appendMoved([]byte{'{'}, moves, 0), '}')
	}
	return Edit{land, land + len(null), with}
}

// inOrder sorts edits by where they are.
func inOrder(edits []Edit) {
	slices.SortStableFunc(edits, func(a, b Edit) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.End, b.End)) })
}

// appendMoved writes members, in objects of their own where the names lead on. No path of moves leads on from another.
func appendMoved(dst []byte, moves []moved, depth int) []byte {
	for i := 0; i < len(moves); {
		m := &moves[i]
		n := i + 1
		for n < len(moves) && moves[n].names[depth] == m.names[depth] {
			n++
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(rawjson.AppendString(dst, m.names[depth]), ':')
		if len(m.names) == depth+1 {
			dst = append(dst, m.value...)
		} else {
			dst = append(appendMoved(append(dst, '{'), moves[i:n], depth+1), '}')
		}
		i = n
	}
	return dst
}

// stays reports whether a member of the object at i is left when cuts are made, which are in order.
func (w *walk) stays(i int, cuts []Edit) bool {
	b := w.b
	for i++; ; i++ {
		i = skipSpace(b, i)
		end, value := skipKey(b, i)
		if end < 0 {
			return false // the end
		}
		for len(cuts) > 0 && (cuts[0].End <= i || len(cuts[0].With) > 0) {
			cuts = cuts[1:]
		}
		if len(cuts) == 0 || cuts[0].At > i {
			return true
		}
		if i = skipValue(b, value); i < 0 {
			return false
		}
		if i = skipSpace(b, i); i >= len(b) || b[i] != ',' {
			return false
		}
	}
}
