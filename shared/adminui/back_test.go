package adminui

import (
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var actionOf = regexp.MustCompile(` (?:action|formaction|hx-post)="([^"]*)"`)

// TestFormsComeBack: forms of a list, and those of a row in it, know the filters, the search, the order and the page that were
// looked at, and lead back to them.
func TestFormsComeBack(t *testing.T) {
	notifyRows := map[string]string{"GET " + channelAPI + "?account_id=b": `{"channels":[{"id":"c1","name":"n","channel_type":"slack","enabled":true}]}`,
		"GET " + rulesAPI + "?account_id=b": `{"rules":[{"id":"r1","name":"n","kind":"error_rate","enabled":true}]}`}
	for _, c := range []struct {
		why, path, query string
		reply            map[string]string
		acts             string     // of the list, in the page
		do               string     // one of them that is sent
		form             url.Values // with it
		to               string     // where it leads, if not to the path
	}{
		{"nodes", "/admin/nodes", "account_id=b&page=2&q=n&sort=-name&state=active", map[string]string{"GET " + nodesAPI + "?account_id=b": someMore}, "bulk check activate disable delete", "disable", url.Values{"id": {"1"}}, ""},
		{"nodes in their own order", "/admin/nodes", "account_id=b&page=2", map[string]string{"GET " + nodesAPI + "?account_id=b": someMore}, "move order", "bulk", url.Values{"ids": {"1"}, "to": {"disable"}}, ""},
		{"the pool", "/admin/accounts", "account_id=b&page=2&q=n&sort=-name&state=failed", map[string]string{"GET " + poolAPI + "?account_id=b": strings.ReplaceAll(poolRows, "login_needed", "failed")}, "bulk refresh disable delete", "disable", url.Values{"id": {"7"}}, ""},
		{"many of the pool", "/admin/accounts", "account_id=b&page=2&q=n", nil, "", "bulk", url.Values{"ids": {"7"}, "what": {"enable"}}, ""},
		{"an account of the pool, from its own page", "/admin/accounts/7", "account_id=b&page=2&q=n&sort=-name&state=failed", map[string]string{"GET /admin/accounts/7/stats": `{"id":7,"name":"n"}`}, "refresh enable delete update", "delete", url.Values{"name": {"n"}, "confirm": {"n"}}, "/admin/accounts"},
		{"channels", notifyPath, "account_id=b&page=2&q=n&sort=-name&tab=channels", notifyRows, "bulk test disable delete", "test", url.Values{"id": {"c1"}}, ""},
		{"rules", notifyPath, "account_id=b&page=2&q=n&sort=-name&tab=rules", notifyRows, "rules rule-disable rule-delete", "rules", url.Values{"ids": {"r1"}, "what": {"enable"}}, ""},
		{"rows of compatibility", compatPath, "action=refuse&kind=field&page=2&q=container&source=operator", newCompatFake(t).reply, "bulk delete create", "bulk", url.Values{"ids": {fieldRow}, "what": {"delete"}, "confirm": {"delete"}}, ""},
		{"prices", pricingPath, "kind=bedrock&page=2&q=m&source=operator", map[string]string{"GET " + pricingAPI + "?kind=bedrock&source=operator": `{"pricing":[{"model_id":"m","source":"operator"}]}`}, "bulk end set", "bulk", url.Values{"ids": {"operator  m"}, "what": {"delete"}, "confirm": {"delete"}}, ""},
		{"links", "/admin/monitor/shares", "account_id=b&page=2&sort=by", map[string]string{"GET " + sharesAPI + "?account_id=b&include_revoked=true&limit=100": `{"shares":[{"id":"s1"}]}`}, "bulk revoke", "bulk", url.Values{"ids": {"s1"}, "what": {"delete"}, "confirm": {"delete"}}, ""},
		{"accounts", tenantsPath, "page=2&q=n&sort=-name", map[string]string{"GET " + tenantsAPI: `{"accounts":[{"id":"b","name":"n"}]}`}, "bulk delete", "bulk", url.Values{"ids": {"b"}, "what": {"delete"}, "confirm": {"delete"}}, ""},
		{"keys", "/admin/keys", "page=2&q=n&sort=-name", map[string]string{"GET " + keysAPI: `{"keys":[{"id":"1","name":"n"}]}`}, "bulk delete rotate revoke", "revoke", url.Values{"id": {"1"}}, ""},
	} {
		f := newPoolFake(t, map[string]string{})
		for k, v := range c.reply {
			f.reply[k] = v
		}
		want, _ := url.ParseQuery(c.query)
		found := map[string]bool{}
		for _, m := range actionOf.FindAllStringSubmatch(f.get(c.path+"?"+c.query).Body.String(), -1) {
			at, err := url.Parse(html.UnescapeString(m[1]))
			if err != nil || at.Path != c.path {
				continue
			}
			q := at.Query()
			do := q.Get("do")
			if q.Del("do"); slices.Contains(strings.Fields(c.acts), do) {
				if found[do] = true; q.Encode() != want.Encode() {
					t.Errorf("%s: %s goes to %s, not with %s", c.why, do, at, c.query)
				}
			}
		}
		for _, do := range strings.Fields(c.acts) {
			if !found[do] {
				t.Errorf("%s: the page has no form that does %s", c.why, do)
			}
		}
		to, done, _ := strings.Cut(f.post(c.path+"?do="+c.do+"&"+c.query, c.form).Header().Get("Location"), "&done=")
		path := c.path
		if c.to != "" {
			path = c.to
		}
		if to != path+"?"+want.Encode() || done == "" {
			t.Errorf("%s: %s leads to %s, then says %q", c.why, c.do, to, done)
		}
	}
}

// TestRefusedTicks: what was ticked still is where the word for it was wrong, on the page that was looked at.
func TestRefusedTicks(t *testing.T) {
	for _, c := range []struct{ why, path, ticked string }{{"nodes", "/admin/nodes", "node 055"}, {"the pool", "/admin/accounts", "pool 055"}, {"accounts", tenantsPath, "account 055"}, {"keys", "/admin/keys", "key 055"}} {
		id := "56"
		if c.path == tenantsPath {
			id = "acc-55"
		}
		a := &manyAPI{t: t, me: adminMe}
		r := requestOf("POST", c.path+"?do=bulk&page=2")
		w := postTo(a, r, url.Values{"ids": {id}, "what": {"delete"}, "confirm": {"no"}})
		if s := w.Body.String(); w.Code != 400 || !strings.Contains(s, `aria-label="Choose `+c.ticked+`" checked`) || strings.Count(s, " checked>") != 1 {
			t.Errorf("%s: %d, ticked %d: %s", c.why, w.Code, strings.Count(s, " checked>"), s)
		}
	}
}

// TestRefusedWords: a wrong word in the place of the one that is asked for is told, wherever one is.
func TestRefusedWords(t *testing.T) {
	for _, c := range []struct{ why, target string }{
		{"a link", "/admin/monitor/shares?do=revoke"}, {"links", "/admin/monitor/shares?do=bulk"}, {"a node", "/admin/nodes?do=delete"}, {"nodes", "/admin/nodes?do=bulk"}, {"an account of the pool", "/admin/accounts?do=delete"},
		{"several of the pool", "/admin/accounts?do=bulk"}, {"an account", tenantsPath + "?do=delete"}, {"accounts", tenantsPath + "?do=bulk"}, {"a key", "/admin/keys?do=delete"}, {"keys", "/admin/keys?do=bulk"},
		{"a channel", notifyPath + "?do=delete"}, {"channels", notifyPath + "?do=bulk"}, {"a rule", notifyPath + "?do=rule-delete"}, {"rules", notifyPath + "?do=rules"}, {"a row", compatPath + "?do=delete"},
		{"rows", compatPath + "?do=bulk"}, {"a price", pricingPath + "?do=end"}, {"prices", pricingPath + "?do=bulk"},
	} {
		f := newPoolFake(t, map[string]string{})
		w := f.post(c.target, url.Values{"id": {"7"}, "ids": {"7"}, "name": {"delete"}, "what": {"delete"}, "confirm": {"another word"}})
		f.has(c.why, w, 400, `role="alert">`, "Type delete to confirm")
		if f.asked("DELETE") {
			t.Errorf("%s: %v", c.why, f.calls)
		}
	}
}

// TestPoolLinks: the page of an account of the pool leads back to the list as it was looked at.
func TestPoolLinks(t *testing.T) {
	f := newPoolFake(t, map[string]string{"GET /admin/accounts?account_id=b": poolRows, "GET /admin/accounts/7/stats": `{"id":7,"name":"n"}`})
	f.has("to it", f.get("/admin/accounts?account_id=b&page=2&state=failed"), 200, `href="/admin/accounts/7?account_id=b&amp;page=2&amp;state=failed"`, `href="/admin/accounts/7?account_id=b&amp;page=2&amp;state=failed#form"`)
	f.has("and back", f.get("/admin/accounts/7?account_id=b&page=2&state=failed"), 200, `href="/admin/accounts?account_id=b&amp;page=2&amp;state=failed">←`)
}

// TestSearchKeepsFilters: a search goes on within what the list was narrowed to.
func TestSearchKeepsFilters(t *testing.T) {
	for _, c := range []struct{ why, target, has string }{
		{"a category", "/admin/environment?category=log", `<input type="hidden" name="category" value="log">`},
		{"a state", "/admin/accounts?state=failed", `<input type="hidden" name="state" value="failed">`},
		{"a part of a page", notifyPath + "?tab=history", `<input type="hidden" name="tab" value="history">`},
	} {
		f := newPoolFake(t, map[string]string{"GET " + poolAPI + "?account_id=default": poolRows})
		_, search, _ := strings.Cut(f.get(c.target).Body.String(), `<form method="get" class="search"`)
		search, _, _ = strings.Cut(search, "</form>")
		if !strings.Contains(search, c.has) {
			t.Errorf("%s: %s", c.why, search)
		}
	}
}

func postTo(api http.Handler, r *http.Request, form url.Values) *httptest.ResponseRecorder {
	r.Body = io.NopCloser(strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	New(Options{API: api}).ServeHTTP(w, r)
	return w
}
