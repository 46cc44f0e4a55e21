package adminui

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// row is a row of a list of the API.
type row map[string]any

// fakeList is a list of the API: rows under a name, the orders that it knows, and whether it tells states apart.
type fakeList struct {
	name   string
	sorts  string
	states bool
	light  bool // it has a light form
	row    func(i int) row
}

// fakeLists are those that pages are made of, by their paths.
func fakeLists() map[string]fakeList {
	state := func(i int) string { return [...]string{"online", "failed", "disabled", "degraded"}[i%4] }
	named := func(kind string, i int) row {
		return row{"id": strconv.Itoa(i + 1), "name": fmt.Sprintf("%s %03d", kind, i), "kind": "anthropic", "state": state(i), "health_check_method": "api", "health": row{"status": "up", "check_method": "api"}}
	}
	node := func(i int) row { return named("node", i) }
	return map[string]fakeList{
		nodesAPI:                      {"nodes", "weight name state method latency success requests", true, true, node},
		"/api/monitor/dashboard":      {"nodes", "name requests state success weight", true, false, node},
		"/api/monitor/share/" + token: {"nodes", "name requests state success weight", true, false, node},
		keysAPI:                       {"keys", "id name account used expires", false, true, func(i int) row { return row{"id": strconv.Itoa(i + 1), "name": fmt.Sprintf("key %03d", i)} }},
		tenantsAPI:                    {"accounts", "created id name keys nodes", false, true, func(i int) row { return row{"id": fmt.Sprintf("acc-%d", i), "name": fmt.Sprintf("account %03d", i)} }},
		poolAPI:                       {"accounts", "id name state requests tokens used checked", true, false, func(i int) row { return row{"id": i + 1, "name": fmt.Sprintf("pool %03d", i), "state": state(i)} }},
	}
}

// part answers as the API does; why is what was wrong with the question. That a page asks for more than it shows is wrong, too.
func (l *fakeList) part(q url.Values, all []row) (out map[string]any, why string) {
	name := strings.TrimPrefix(q.Get("sort"), "-")
	light, limit := q.Get("light") == "true", 0
	switch n, err := strconv.Atoi(q.Get("limit")); {
	case light && !l.light:
		return nil, "light: this list has no light form"
	case !light && !q.Has("limit") && !q.Has("id"):
		return nil, "limit: the page asks for all"
	case q.Has("limit") && (err != nil || n < 1 || n > perPage):
		return nil, "limit: the page asks for more than it shows"
	case q.Has("offset") && !q.Has("limit"):
		return nil, "offset: goes with limit"
	case q.Has("sort") && !slices.Contains(strings.Fields(l.sorts), name):
		return nil, "sort: must be one of " + l.sorts
	case q.Has("state") && (!l.states || !slices.Contains([]string{"active", "failed", "disabled"}, q.Get("state"))):
		return nil, "state: must be one of those that there are"
	case len([]rune(q.Get("q"))) > 200:
		return nil, "q: must have at most 200 characters"
	default:
		limit = n
	}
	counts, found := map[string]int{"all": len(all), "active": 0, "failed": 0, "disabled": 0}, []row{}
	for _, r := range all {
		group := map[string]string{"online": "active", "degraded": "active", "disabled": "disabled"}[fmt.Sprint(r["state"])]
		group = cmp.Or(group, "failed")
		counts[group]++
		text, _ := json.Marshal(slices.Collect(func(yield func(any) bool) {
			for _, v := range r {
				if !yield(v) {
					return
				}
			}
		}))
		if q.Has("id") && q.Get("id") != fmt.Sprint(r["id"]) || q.Has("state") && q.Get("state") != group || !strings.Contains(strings.ToLower(string(text)), strings.ToLower(q.Get("q"))) {
			continue
		}
		found = append(found, r)
	}
	if strings.HasPrefix(q.Get("sort"), "-") {
		slices.Reverse(found)
	}
	out = map[string]any{"total": len(found)}
	if l.states {
		out["counts"] = counts
	}
	if limit > 0 {
		from, _ := strconv.Atoi(q.Get("offset"))
		from = min(from, len(found))
		found = found[from:min(from+limit, len(found))]
	}
	out[l.name] = found
	return out, ""
}

// answer answers with a part of rows.
func (l *fakeList) answer(w http.ResponseWriter, r *http.Request, all []row) {
	out, why := l.part(r.URL.Query(), all)
	if why != "" {
		w.WriteHeader(http.StatusBadRequest)
		out = map[string]any{"error": why}
	}
	_ = json.NewEncoder(w).Encode(out)
}

// rowsOf are the rows of an answer with a whole list.
func rowsOf(name, list string) []row {
	var out map[string][]row
	_ = json.Unmarshal([]byte(list), &out)
	return out[name]
}

// manyAPI is the API of a gateway with a hundred and twenty of everything.
type manyAPI struct {
	t    *testing.T
	me   string
	seen []string // the lists' questions
}

const many = 120

func (a *manyAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l, ok := fakeLists()[r.URL.Path]
	switch {
	case r.URL.Path == "/admin/api/me":
		_, _ = w.Write([]byte(a.me))
	case !ok || r.Method != http.MethodGet:
		_, _ = w.Write([]byte("{}"))
	default:
		a.seen = append(a.seen, r.URL.RequestURI())
		all := make([]row, many)
		for i := range all {
			all[i] = l.row(i)
		}
		if _, why := l.part(r.URL.Query(), all); why != "" {
			a.t.Errorf("%s: %s", r.URL.RequestURI(), why)
		}
		l.answer(w, r, all)
	}
}

// TestListsAskForWhatTheyShow: a page asks the API for the rows that it shows, in words that the API knows, whatever its own
// address says; beyond the end it shows the last page.
func TestListsAskForWhatTheyShow(t *testing.T) {
	type want struct {
		why, query string
		first      int // row that is shown, counted from 0; -1: none
		last       int
	}
	common := []want{{"at first", "", 0, 49}, {"the second page", "page=2", 50, 99}, {"beyond the end", "page=77", 100, 119}, {"far beyond", "page=999999999999", 100, 119}, {"before the beginning", "page=-3", 0, 49},
		{"a search", "q=+%20011+", 11, 11}, {"a search of many characters", "q=" + strings.Repeat("%E7%95%8C", 300), -1, -1}, {"an order that is none", "sort=latencies", 0, 49}, {"two minuses", "sort=--name", 0, 49}}
	sorted := []want{{"the other way round", "sort=-name", 119, 70}, {"and its last page", "sort=-name&page=9", 19, 0}}
	filtered := []want{{"those that failed", "state=failed", 1, 117}, {"a state that is none", "state=everything", 0, 49}, {"found by both", "state=disabled&q=00", 2, 6}}
	for _, c := range []struct {
		page, kind, count string
		wants             [][]want
	}{
		{"/admin/nodes", "node", "Active (60)", [][]want{common, sorted, filtered}},
		{"/admin/monitor", "node", "60 / 120", [][]want{common, filtered}},
		{"/monitor/share/" + token, "node", "60 / 120", [][]want{common, filtered}},
		{"/admin/accounts", "pool", "Failed (30)", [][]want{common, sorted, filtered}},
		{"/admin/keys", "key", "", [][]want{common, sorted}},
		{"/admin/tenants", "account", "", [][]want{common, sorted}},
	} {
		for _, w := range slices.Concat(c.wants...) {
			a := &manyAPI{t: t, me: adminMe}
			body := askMany(a, c.page+"?"+w.query)
			for i := range many {
				shown := strings.Contains(body, fmt.Sprintf(">%s %03d<", c.kind, i))
				if shown != (i == w.first || i == w.last) && (i == w.first || i == w.last || i < min(w.first, w.last) || i > max(w.first, w.last)) {
					t.Errorf("%s, %s: %s %d: shown %v", c.page, w.why, c.kind, i, shown)
				}
			}
			if !strings.Contains(body, c.count) {
				t.Errorf("%s, %s: lacks %q", c.page, w.why, c.count)
			}
		}
	}
}

// TestPagesAskForNoMore: what is edited is asked for by its id, and choices by the light form.
func TestPagesAskForNoMore(t *testing.T) {
	for _, c := range []struct{ page, has, asks string }{
		{"/admin/nodes?edit=99&sort=x&state=y", `value="node 098"`, nodesAPI + "?id=99"},
		{"/admin/nodes/99", "node 098", nodesAPI + "?id=99"},
		{"/admin/keys?edit=99&account_id=acc-7", `value="key 098"`, keysAPI + "?id=99"},
		{"/admin/setup", "", nodesAPI + "?light=true"},
		{"/admin/playground", "", nodesAPI + "?light=true"},
		{"/admin/monitor", "account 119", tenantsAPI + "?light=true"},
		{"/admin/accounts", "account 119", poolAPI + "?account_id=default&limit=50&sort=id"},
		{"/admin", "Failed (30)", nodesAPI + "?light=true&limit=20&state=failed"},
		{"/admin", "account 119", keysAPI + "?light=true"},
		{"/admin/usage?tab=node", "account 119", nodesAPI + "?account_id=acc-0&light=true"},
		{"/admin/usage?tab=key", "account 119", keysAPI + "?light=true"},
		{"/admin/tenants?edit=acc-99", `value="account 099"`, tenantsAPI + "?count=true&id=acc-99"},
		{"/admin/audit", "account 119", tenantsAPI + "?light=true"},
		{"/admin/pricing", "account 119", tenantsAPI + "?light=true"},
		{"/admin/settings", "account 119", tenantsAPI + "?light=true"},
		{"/admin/notifications", "account 119", tenantsAPI + "?light=true"},
	} {
		a := &manyAPI{t: t, me: adminMe}
		if body := askMany(a, c.page); !strings.Contains(body, c.has) {
			t.Errorf("%s: lacks %q: %s", c.page, c.has, body)
		}
		if !slices.Contains(a.seen, c.asks) {
			t.Errorf("%s: asked %q, not %s", c.page, a.seen, c.asks)
		}
	}
}

func askMany(a *manyAPI, target string) string {
	w := httptest.NewRecorder()
	New(Options{API: a}).ServeHTTP(w, requestOf("GET", target))
	if w.Code != http.StatusOK {
		a.t.Errorf("%s: %d: %s", target, w.Code, w.Body)
	}
	return w.Body.String()
}
