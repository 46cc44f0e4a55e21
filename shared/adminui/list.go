package adminui

import (
	"cmp"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const perPage = 50

const (
	maxSought = 200    // characters of a search, as the API has it
	maxPage   = 20_000 // beyond what the API lists
)

// list is a page of things: searched by ?q=, sorted by ?sort= (a minus before it turns it round), ?page= of them.
type list[T any] struct {
	Items       []T
	Total       int // that the search found
	All         int // without it; listed does not tell
	Page, Pages int
	Q, Sort     string
}

// order are the ways to sort a list, by the name that ?sort= says.
type order[T any] map[string]func(a, b T) int

// listOf searches, sorts and cuts what the API told. text is what the search looks in; def is the order of who asks for none.
func listOf[T any](v *view, all []T, text func(T) string, by order[T], def string) list[T] {
	l := list[T]{All: len(all), Q: v.Query("q"), Sort: v.Query("sort")}
	found := make([]T, 0, len(all))
	q := strings.ToLower(strings.TrimSpace(l.Q))
	for _, item := range all {
		if q == "" || strings.Contains(strings.ToLower(text(item)), q) {
			found = append(found, item)
		}
	}
	name, down := strings.CutPrefix(l.Sort, "-")
	if by[name] == nil {
		l.Sort = def
		name, down = strings.CutPrefix(def, "-")
	}
	if f := by[name]; f != nil {
		slices.SortStableFunc(found, func(a, b T) int {
			if down {
				return f(b, a)
			}
			return f(a, b)
		})
	}
	l.Total = len(found)
	l.Pages = max(1, (l.Total+perPage-1)/perPage)
	l.Page, _ = strconv.Atoi(v.Query("page"))
	l.Page = min(max(1, l.Page), l.Pages)
	l.Items = found[(l.Page-1)*perPage : min(l.Page*perPage, l.Total)]
	return l
}

// listed asks the API for the page of a list, and for the last one where there are fewer. by are the orders that the API knows,
// def the one of who asks for none of them; ask asks with what the API is to be told of the search, the order and the part, and
// returns the rows, and how many the search found.
func listed[T any](v *view, by []string, def string, ask func(q url.Values) ([]T, int, error)) (l list[T], err error) {
	l.Q, l.Sort = strings.TrimSpace(v.Query("q")), v.Query("sort")
	if q := []rune(l.Q); len(q) > maxSought {
		l.Q = string(q[:maxSought])
	}
	if !slices.Contains(by, strings.TrimPrefix(l.Sort, "-")) {
		l.Sort = def
	}
	l.Page, _ = strconv.Atoi(v.Query("page"))
	l.Page = min(max(1, l.Page), maxPage)
	for {
		q := url.Values{"limit": {strconv.Itoa(perPage)}}
		if l.Q != "" {
			q.Set("q", l.Q)
		}
		if l.Sort != "" {
			q.Set("sort", l.Sort)
		}
		if l.Page > 1 {
			q.Set("offset", strconv.Itoa((l.Page-1)*perPage))
		}
		l.Items, l.Total, err = ask(q)
		if no := (*Refusal)(nil); l.Sort != def && errors.As(err, &no) && no.Field == "sort" { // too many for an order that costs a look-up a row
			l.Sort = def
			continue
		}
		if err != nil {
			return l, err
		}
		if l.Pages = max(1, (l.Total+perPage-1)/perPage); l.Page <= l.Pages {
			return l, nil
		}
		l.Page = l.Pages
	}
}

// counts are how many rows of a list there are, by state, whatever was searched for.
type counts struct{ All, Active, Failed, Disabled int64 }

// choice is a filter with how many it finds.
type choice struct {
	Key, Link string
	N         int64
	Here      bool
}

// choices are the filters by state.
func (v *view) choices(n counts) (out []choice) {
	here := v.state()
	for _, c := range [...]choice{{Key: "all", N: n.All}, {Key: "active", N: n.Active}, {Key: "failed", N: n.Failed}, {Key: "disabled", N: n.Disabled}} {
		key := c.Key
		if key == "all" {
			key = ""
		}
		c.Link, c.Here = v.With("state", key, "edit", "", "new", "", "login", ""), key == here
		out = append(out, c)
	}
	return out
}

// state is the state that the page shows alone; empty: all.
func (v *view) state() string {
	switch s := v.Query("state"); s {
	case "active", "failed", "disabled":
		return s
	}
	return ""
}

// ofState makes a part's query one of an account and of the page's state.
func (v *view) ofState(q url.Values, account string) url.Values {
	for name, s := range map[string]string{"account_id": account, "state": v.state()} {
		if s != "" {
			q.Set(name, s)
		}
	}
	return q
}

// light is the query of a list's light form, of an account or, empty, of what the API takes then.
func light(account string) url.Values {
	q := url.Values{"light": {"true"}}
	if account != "" {
		q.Set("account_id", account)
	}
	return q
}

// byText sorts by a text as people do: without regard to capitals, numbers in it by their size where both are numbers.
func byText[T any](of func(T) string) func(a, b T) int {
	return func(a, b T) int {
		x, y := of(a), of(b)
		n, err1 := strconv.ParseInt(x, 10, 64)
		m, err2 := strconv.ParseInt(y, 10, 64)
		if err1 == nil && err2 == nil {
			return cmp.Compare(n, m)
		}
		return cmp.Compare(strings.ToLower(x), strings.ToLower(y))
	}
}

func byNumber[T any, N cmp.Ordered](of func(T) N) func(a, b T) int {
	return func(a, b T) int { return cmp.Compare(of(a), of(b)) }
}

// With is the page's address with some values of its query changed: pairs of name and value, of which an empty one is taken
// out. Another search or order begins on the first page.
func (v *view) With(pairs ...string) string {
	q := url.Values{}
	for k, vs := range v.r.URL.Query() {
		if k != "page" && k != "do" && k != "done" {
			q[k] = vs
		}
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			q.Del(pairs[i])
		} else {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if len(q) == 0 {
		return v.Self()
	}
	return v.Self() + "?" + q.Encode()
}

// column is a heading that sorts.
type column struct {
	Link, Label string
	State       string // of aria-sort
	Number      bool
}

// Column makes the heading of a column that sorts by name; sort is the list's order now.
func (v *view) Column(sort, name, label string, number bool) column {
	c := column{Label: v.t(label), State: "none", Number: number}
	next := name
	switch sort {
	case name:
		c.State, next = "ascending", "-"+name
	case "-" + name:
		c.State = "descending"
	}
	c.Link = v.With("sort", next)
	return c
}

// Pager are the pages before and after one; empty where there is none.
type Pager struct {
	Before, After string
	Page, Pages   int
	Total         int
}

// Pager makes the links to the neighbours of a page.
func (v *view) Pager(page, pages, total int) Pager {
	p := Pager{Page: page, Pages: pages, Total: total}
	if page > 1 {
		p.Before = v.With("page", strconv.Itoa(page-1))
	}
	if page < pages {
		p.After = v.With("page", strconv.Itoa(page+1))
	}
	return p
}
