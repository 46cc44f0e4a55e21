package adminapi

import (
	"cmp"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

const (
	maxListed = 1000      // rows of a page
	maxOffset = 1_000_000 // rows before it
	maxSearch = 200       // characters
)

// listing is what a call asks of a list: of which rows, in which order, which part. Without any of it the list is whole and
// as it always was.
type listing struct {
	id, q, sort, state string
	down               bool // the order turned round
	limit, offset      int  // limit 0: all
	light              bool // the few fields that a choice needs
}

// shape is how a list of T is searched, sorted and told apart.
type shape[T any] struct {
	id    func(*T) string
	text  func(*T) string // that q is looked for in
	by    map[string]func(a, b *T) int
	state func(*T) string // one of states; nil: the list knows none
}

// states are the groups that the state of a node belongs to.
var states = [...]string{"active", "failed", "disabled"}

// listing reads the query. sorts are the orders that the list knows; states tells whether it knows them.
func (c *call) listing(sorts []string, grouped bool) (l listing, err error) {
	q := c.r.URL.Query()
	l.id, l.q, l.state = q.Get("id"), strings.ToLower(strings.TrimSpace(q.Get("q"))), q.Get("state")
	l.sort, l.down = strings.CutPrefix(q.Get("sort"), "-")
	if l.limit, err = queryInt(q, "limit", 0, 1, maxListed); err != nil {
		return l, err
	}
	if l.offset, err = queryInt(q, "offset", 0, 0, maxOffset); err != nil {
		return l, err
	}
	if l.light, err = queryBool(q, "light"); err != nil {
		return l, err
	}
	switch {
	case l.offset > 0 && l.limit == 0:
		return l, bad("offset: goes with limit")
	case utf8.RuneCountInString(l.q) > maxSearch:
		return l, bad("q: must have at most " + itoa(maxSearch) + " characters")
	case (l.sort != "" || l.down) && !slices.Contains(sorts, l.sort):
		return l, bad("sort: must be one of " + strings.Join(sorts, ", ") + ", with a minus before it for the other way round")
	case l.state != "" && !grouped:
		return l, bad("state: this list has none")
	case l.state != "" && !slices.Contains(states[:], l.state):
		return l, bad("state: must be one of " + strings.Join(states[:], ", "))
	}
	return l, nil
}

// page is a part of a list.
type page[T any] struct {
	rows   []T
	total  int            // that the search found
	counts map[string]int // by state, and all, whatever was searched for; nil: the list knows no states
}

// into adds what a page is of to an answer, if it is one.
func (p *page[T]) into(l *listing, out map[string]any) map[string]any {
	if l.limit > 0 {
		out["total"] = p.total
		if p.counts != nil {
			out["counts"] = p.counts
		}
	}
	return out
}

// choose searches, sorts and cuts rows that are in the list's own order. It may change rows.
func choose[T any](l *listing, rows []T, s *shape[T]) page[T] {
	var p page[T]
	if s.state != nil {
		p.counts = map[string]int{"all": len(rows)}
		for _, name := range states {
			p.counts[name] = 0
		}
		for i := range rows {
			p.counts[s.state(&rows[i])]++
		}
	}
	rows = slices.DeleteFunc(rows, func(v T) bool {
		return l.id != "" && s.id(&v) != l.id || l.state != "" && s.state(&v) != l.state || l.q != "" && !strings.Contains(strings.ToLower(s.text(&v)), l.q)
	})
	if f := s.by[l.sort]; f != nil {
		slices.SortStableFunc(rows, func(a, b T) int {
			if l.down {
				return f(&b, &a)
			}
			return f(&a, &b)
		})
	}
	p.total = len(rows)
	if l.limit > 0 {
		from := min(l.offset, len(rows))
		rows = rows[from:min(from+l.limit, len(rows))]
	}
	p.rows = rows
	return p
}

// bound is choose for an order that costs a look-up a row: look makes them for what the search found, which must be few enough.
func (s *shape[T]) bound(l *listing, rows []T, look func([]T) error) (page[T], error) {
	found := *l
	found.sort, found.limit, found.offset = "", 0, 0
	of := choose(&found, slices.Clone(rows), s)
	if len(of.rows) > maxLastUsed {
		return of, bad("sort: that many rows cannot be sorted by their last use; search for fewer")
	}
	if err := look(of.rows); err != nil {
		return of, err
	}
	p := choose(l, of.rows, s)
	p.counts = of.counts
	return p, nil
}

// sorts are the names of a shape's orders.
func (s *shape[T]) sorts() []string { return slices.Sorted(maps.Keys(s.by)) }

// byText sorts by a text as people do: capitals are no different, and numbers go by their size.
func byText[T any](of func(*T) string) func(a, b *T) int {
	return func(a, b *T) int {
		x, y := of(a), of(b)
		n, err1 := strconv.ParseInt(x, 10, 64)
		m, err2 := strconv.ParseInt(y, 10, 64)
		if err1 == nil && err2 == nil {
			return cmp.Compare(n, m)
		}
		return cmp.Compare(strings.ToLower(x), strings.ToLower(y))
	}
}

func byNumber[T any, N cmp.Ordered](of func(*T) N) func(a, b *T) int {
	return func(a, b *T) int { return cmp.Compare(of(a), of(b)) }
}

// each calls f for 0 to n-1, several at a time, and returns the first error by number. A panic of f is one: in a goroutine
// of ours it would end the process, not the call.
func each(n, atOnce int, f func(i int) error) error {
	failed := make([]error, n)
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					failed[i] = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
				}
				<-slots
			}()
			failed[i] = f(i)
		})
	}
	wg.Wait()
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}
