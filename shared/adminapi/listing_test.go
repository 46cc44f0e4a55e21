package adminapi_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
)

// listed are the names in a list of an answer, and what stands beside it.
func listed(a *answer, list, field string) (names string, total any) {
	a.t.Helper()
	var out []string
	for _, m := range items(a, list) {
		out = append(out, fmt.Sprint(m[field]))
	}
	return strings.Join(out, " "), a.json()["total"]
}

// fleet makes four nodes: two that serve, one that failed, one that is disabled.
func (p *pool) fleet(account string) (ids []string) {
	p.t.Helper()
	for i, body := range []string{
		`{"name":"Zeta","base_url":"https://z.example","weight":3,"notes":"the [spare]","models":["claude-haiku-*"]}`,
		`{"name":"alpha","base_url":"https://hidden-host.example","weight":1,"health_check_method":"head"}`,
		`{"name":"10","base_url":"https://ten.example","weight":2}`,
		`{"name":"9","base_url":"https://nine.example","weight":4}`,
	} {
		id := p.made(account, body)
		ids = append(ids, id)
		for j := range i {
			p.settle(core.Settlement{RequestID: fmt.Sprint(account, i, j), Account: account, Node: id, EndedAt: p.clock().Add(-time.Duration(j) * 30 * time.Hour), Status: 200 + j*329})
		}
	}
	p.failed(account, ids[2], "connection refused by 10.9.8.7")
	p.want(200, "POST", "/admin/api/nodes/disable", `{"id":"`+ids[3]+`"}`)
	p.saw(account, ids[0], core.HealthCheck{At: p.clock(), OK: true, MS: 30})
	p.saw(account, ids[1], core.HealthCheck{At: p.clock(), OK: true, MS: 20})
	return ids
}

// TestListsOfNodes: searched, sorted, cut; and as they always were where nothing of that is asked for.
func TestListsOfNodes(t *testing.T) {
	p := newPool(t, nil)
	p.fleet("acc-beta")
	p.made("default", `{"name":"another's","base_url":"https://other.example"}`)
	for _, c := range []struct {
		why, query, want string
		total            any
	}{
		{"nothing asked for", "", "alpha 10 Zeta 9", nil},
		{"a page", "limit=2", "alpha 10", 4.0},
		{"the next", "limit=2&offset=2", "Zeta 9", 4.0},
		{"behind the end", "limit=2&offset=7", "", 4.0},
		{"a search goes without a page", "q=ZETA", "Zeta", nil},
		{"by the address", "q=hidden-host&limit=5", "alpha", 1.0},
		{"by notes, as text and no pattern", "q=%5Bspare%5D", "Zeta", nil},
		{"by a model", "q=haiku", "Zeta", nil},
		{"blanks around are none of it", "q=%20zeta%20", "Zeta", nil},
		{"blanks alone search for nothing", "q=%20", "alpha 10 Zeta 9", nil},
		{"a state", "state=active", "alpha Zeta", nil},
		{"what does not serve", "state=failed&limit=1000", "10", 1.0},
		{"disabled", "state=disabled", "9", nil},
		{"a state and a search", "state=active&q=alpha&limit=9", "alpha", 1.0},
		{"names as people sort them", "sort=name", "9 10 alpha Zeta", nil},
		{"turned round", "sort=-name&limit=2", "Zeta alpha", 4.0},
		{"weights", "sort=-weight", "9 Zeta 10 alpha", nil},
		{"requests", "sort=-requests&limit=2", "9 10", 4.0},
		{"success; where equal as they were", "sort=success", "9 10 alpha Zeta", nil},
		{"pings", "sort=-latency&limit=2", "Zeta alpha", 4.0},
		{"methods", "sort=method", "10 Zeta 9 alpha", nil},
		{"states", "sort=state", "9 10 alpha Zeta", nil},
	} {
		a := p.want(200, "GET", "/admin/api/nodes?account_id=acc-beta&"+c.query, "")
		if got, total := listed(a, "nodes", "name"); got != c.want || total != c.total {
			t.Errorf("%s: %q of %v, want %q of %v", c.why, got, total, c.want, c.total)
		}
		counts := a.json()["counts"]
		if strings.Contains(c.query, "limit") != (counts != nil) || counts != nil && fmt.Sprint(counts) != "map[active:2 all:4 disabled:1 failed:1]" {
			t.Errorf("%s: counts %v", c.why, counts)
		}
	}
	id := p.want(200, "GET", "/admin/api/nodes?account_id=acc-beta&q=zeta", "").json()["nodes"].([]any)[0].(map[string]any)["id"].(string)
	if got, _ := listed(p.want(200, "GET", "/admin/api/nodes?account_id=acc-beta&id="+id, ""), "nodes", "name"); got != "Zeta" {
		t.Errorf("one node: %q", got)
	}
	for _, whole := range items(p.want(200, "GET", "/admin/api/nodes?account_id=acc-beta", ""), "nodes") {
		id, _ := whole["id"].(string)
		if alone := items(p.want(200, "GET", "/admin/api/nodes?account_id=acc-beta&id="+id, ""), "nodes"); len(alone) != 1 || fmt.Sprint(alone[0]) != fmt.Sprint(whole) {
			t.Errorf("alone it is %v, in the list %v", alone, whole)
		}
	}
	for _, none := range []string{id, "77", "%00", strings.Repeat("x", 5000)} {
		if got, _ := listed(p.want(200, "GET", "/admin/api/nodes?id="+none, ""), "nodes", "name"); got != "" {
			t.Errorf("a node of another account, or none: %q", got)
		}
		if got, _ := listed(p.want(200, "GET", "/admin/api/keys?id=x"+none, ""), "keys", "id"); got != "" {
			t.Errorf("no key: %q", got)
		}
	}
}

// TestLightLists: what choices need, and nothing that has to be looked up for each.
func TestLightLists(t *testing.T) {
	p := newPool(t, nil)
	p.fleet("default")
	p.want(200, "PUT", "/admin/api/accounts?id=acc-beta", `{"proxy_api_key":"beta-proxy-key-4567"}`)
	sums := p.sums.n.Load()
	for _, c := range []struct {
		why, target, list, want, fields string
		total                           any
	}{
		{"nodes", "/admin/api/nodes?light=true&sort=-name&limit=2", "nodes", "Zeta alpha", "id account_id name kind weight models disabled", 4.0},
		{"all of them", "/admin/api/nodes?light=1", "nodes", "alpha 10 Zeta 9", "id account_id name kind weight disabled", nil},
		{"by state, which is looked at then", "/admin/api/nodes?light=true&state=active&limit=5", "nodes", "alpha Zeta", "id account_id name kind weight disabled state", 2.0},
		{"a light search knows what light rows have", "/admin/api/nodes?light=true&q=hidden", "nodes", "", "", nil},
		{"accounts", "/admin/api/accounts?light=true&q=beta", "accounts", "acc-beta", "id name is_admin capturing", nil},
		{"keys", "/admin/api/keys?light=true&limit=5", "keys", "proxy_api_key", "id account_id name prefix revoked scopes", 1.0},
	} {
		a := p.want(200, "GET", c.target, "")
		if got, total := listed(a, c.list, "name"); got != c.want || total != c.total {
			t.Errorf("%s: %q of %v, want %q of %v", c.why, got, total, c.want, c.total)
		}
		if l := items(a, c.list); len(l) > 0 {
			sameKeys(t, c.why, l[0], strings.Fields(c.fields)...)
		}
	}
	if n := p.sums.n.Load() - sums; n != 0 {
		t.Errorf("%d sums for light lists", n)
	}
}

// TestListsOfKeys: names of accounts count, and what is looked up for each key is looked up for those that are shown.
func TestListsOfKeys(t *testing.T) {
	p := newPool(t, nil)
	p.key("default", `{"name":"zed","description":"the builder's"}`)        // 2
	p.key("acc-beta", `{"name":"Bob","expires_at":"2026-12-31T00:00:00Z"}`) // 3
	p.key("default", `{}`)                                                  // 4
	p.settle(core.Settlement{RequestID: "old", Key: "4", EndedAt: p.clock().Add(-time.Hour)})
	p.settle(core.Settlement{RequestID: "new", Account: "acc-beta", Key: "3", EndedAt: p.clock()})
	p.want(200, "PUT", "/admin/api/accounts?id=acc-beta", `{"name":"Aardvark"}`)
	for _, c := range []struct {
		why, query, want string
		total            any
	}{
		{"nothing asked for", "", "2 3 4", nil},
		{"a page", "limit=2&offset=1", "3 4", 3.0},
		{"names; one without is called by its number", "sort=name", "4 3 2", nil},
		{"accounts by their names", "sort=account&limit=9", "3 2 4", 3.0},
		{"a search for an account's name", "q=aardv", "3", nil},
		{"for a description", "q=BUILDER&limit=1", "2", 1.0},
		{"last used", "sort=-used&limit=2", "3 4", 3.0},
		{"expiring", "sort=-expires", "3 2 4", nil},
		{"one", "id=4", "4", nil},
		{"one that is not", "id=77", "", nil},
		{"of an account", "account_id=acc-beta&limit=5", "3", 1.0},
	} {
		a := p.want(200, "GET", "/admin/api/keys?"+c.query, "")
		if got, total := listed(a, "keys", "id"); got != c.want || total != c.total {
			t.Errorf("%s: %q of %v, want %q of %v", c.why, got, total, c.want, c.total)
		}
		for _, k := range items(a, "keys") {
			if (k["last_used_at"] != nil) != (k["id"] != "2") {
				t.Errorf("%s: key %v was used at %v", c.why, k["id"], k["last_used_at"])
			}
		}
	}
}

// TestListsOfAccounts: with how many keys and nodes each has, where that is asked for.
func TestListsOfAccounts(t *testing.T) {
	p := newPool(t, nil)
	p.made("acc-beta", anthropicNode)
	p.key("acc-beta", `{"name":"one"}`)
	own := p.key("acc-beta", `{"name":"two","nodes":true}`)
	p.key("default", `{}`)
	for i := range 9 { // more than are looked up one by one
		p.advance(time.Second)
		p.want(201, "POST", "/admin/api/accounts", fmt.Sprintf(`{"name":"team-%d","proxy_api_key":"team-%d-proxy-key-long"}`, i, i))
	}
	for _, c := range []struct {
		why, query, want string
		total            any
	}{
		{"a page", "limit=3", "acc-beta default team-0", 11.0},
		{"by keys", "sort=-keys&limit=2", "acc-beta default", 11.0},
		{"by nodes", "sort=-nodes&limit=1", "acc-beta", 11.0},
		{"a search", "q=TEAM-7", "team-7", nil},
		{"the newest", "sort=-created&limit=1", "team-8", 11.0},
		{"one", "id=default", "default", nil},
	} {
		a := p.want(200, "GET", "/admin/api/accounts?"+c.query, "")
		if got, total := listed(a, "accounts", "name"); got != c.want || total != c.total {
			t.Errorf("%s: %q of %v, want %q of %v", c.why, got, total, c.want, c.total)
		}
		for _, m := range items(a, "accounts") {
			if named := strings.HasPrefix(m["name"].(string), "team-"); m["has_proxy_api_key"] != named || named && m["proxy_api_key_prefix"] != "team" {
				t.Errorf("%s: the key of %v", c.why, m)
			}
		}
	}
	beta := items(p.want(200, "GET", "/admin/api/accounts?count=true&q=beta", ""), "accounts")[0]
	if beta["keys"] != 2.0 || beta["nodes"] != 1.0 {
		t.Errorf("counted %v", beta)
	}
	if m := items(p.want(200, "GET", "/admin/api/accounts", ""), "accounts")[0]; m["keys"] != nil || m["nodes"] != nil {
		t.Errorf("counts that nobody asked for: %v", m)
	}
	a := p.call("GET", "/admin/api/accounts?count=true&limit=5&sort=-keys", "", "x-api-key", own)
	if got, total := listed(a, "accounts", "id"); got != "acc-beta" || total != 1.0 {
		t.Errorf("a tenant sees %q of %v", got, total)
	}
	if m := items(a, "accounts")[0]; m["nodes"] != 1.0 || m["keys"] != nil {
		t.Errorf("keys are told to who may list them: %v", m)
	}
}

// TestListsOfPoolAccounts: the older pool's list is bare; a part of it says how many there are, and the states.
func TestListsOfPoolAccounts(t *testing.T) {
	p := newPool(t, &fakeQ{})
	one, two := p.add("one"), p.add("two")
	p.want(200, "PUT", p.add("Off"), `{"is_active":false}`)
	p.made("default", anthropicNode)
	p.failed("default", p.node(two).ID, "boom")
	p.used("a", p.clock().Add(-time.Hour), p.node(one), 10, 1)
	p.used("b", p.clock(), p.node(two), 5, 0)
	if l := p.want(200, "GET", "/admin/accounts", "").list(); len(l) != 3 {
		t.Errorf("%v", l)
	} else {
		sameKeys(t, "a row of the bare list", l[0], accountFields...)
	}
	if l := p.want(200, "GET", "/admin/accounts?state=active&sort=-name", "").list(); len(l) != 1 || l[0]["name"] != "one" {
		t.Errorf("a search of the bare list: %v", l)
	}
	for _, c := range []struct {
		why, query, want string
		total            any
	}{
		{"a page", "limit=2", "one two", 3.0},
		{"names", "sort=name&limit=3", "Off one two", 3.0},
		{"tokens", "sort=-tokens&limit=1", "one", 3.0},
		{"requests, turned round", "sort=-requests&limit=2", "one two", 3.0},
		{"last used", "sort=-used&limit=2", "two one", 3.0},
		{"what failed", "state=failed&limit=5", "two", 1.0},
		{"by the reason", "q=BOOM&limit=5", "two", 1.0},
		{"active ones", "active_only=true&limit=5", "one two", 2.0},
	} {
		a := p.want(200, "GET", "/admin/accounts?"+c.query, "")
		if got, total := listed(a, "accounts", "name"); got != c.want || total != c.total {
			t.Errorf("%s: %q of %v, want %q of %v", c.why, got, total, c.want, c.total)
		}
		for _, m := range items(a, "accounts") {
			if want := map[any]any{"one": "online", "two": "failed", "Off": "disabled"}[m["name"]]; m["state"] != want || m["name"] == "one" && m["last_used"] == nil {
				t.Errorf("%s: %v", c.why, m)
			}
		}
	}
	for _, c := range []struct{ why, target, list, want string }{
		{"use", "/admin/stats/account-usage?limit=1", "accounts", "one"}, {"all of it", "/admin/stats/account-usage", "accounts", "one two Off"},
	} {
		a := p.want(200, "GET", c.target, "")
		if got, total := listed(a, c.list, "account_name"); got != c.want || strings.Contains(c.target, "limit") != (total == 3.0) {
			t.Errorf("%s: %q of %v", c.why, got, total)
		}
	}
	sameKeys(t, "light tokens", p.want(200, "GET", "/admin/stats/tokens?light=true", "").json(), "period", "total", "daily")
}

// TestPartOfAMonitor: the figures are of all nodes, whichever are shown.
func TestPartOfAMonitor(t *testing.T) {
	p := newPool(t, nil)
	ids := p.fleet("acc-beta")
	token := p.shared("acc-beta", "1h")["token"].(string)
	for _, c := range []struct {
		why, query, own, shared string
	}{
		{"all", "", "alpha 10 Zeta 9", "alpha 10 Zeta"},
		{"a page", "limit=1&offset=1", "10", "10"},
		{"a state", "state=failed&limit=5", "10", "10"},
		{"what is disabled concerns nobody outside", "state=disabled&limit=5", "9", ""},
		{"nor by its id", "limit=5&id=" + ids[3], "9", ""},
		{"an address", "q=hidden-host&limit=5", "alpha", ""},
		{"where an error came from", "q=10.9.8.7&limit=5", "10", ""},
		{"a name", "q=alph&limit=5", "alpha", "alpha"},
		{"sorted", "sort=-name&limit=2", "Zeta alpha", "Zeta alpha"},
		{"by requests", "sort=-requests&limit=1", "9", "10"},
	} {
		for _, as := range []struct {
			who, want string
			a         *answer
		}{{"own", c.own, p.want(200, "GET", "/api/monitor/dashboard?account_id=acc-beta&"+c.query, "")}, {"shared", c.shared, p.call("GET", "/api/monitor/share/"+token+"?"+c.query, "")}} {
			if got, _ := listed(as.a, "nodes", "name"); got != as.want {
				t.Errorf("%s, %s: %q, want %q", c.why, as.who, got, as.want)
			}
			m := as.a.json()
			counts, traffic := m["counts"], m["traffic"]
			want, requests := "map[active:2 all:4 disabled:1 failed:1]", 6.0
			if as.who == "shared" {
				want, requests = "map[active:2 all:3 disabled:0 failed:1]", 3.0
			}
			if !strings.Contains(c.query, "limit") {
				if counts != nil || traffic != nil || m["total"] != nil {
					t.Errorf("%s, %s: more than there was: %v %v", c.why, as.who, counts, traffic)
				}
			} else if fmt.Sprint(counts) != want || traffic.(map[string]any)["total_requests"] != requests {
				t.Errorf("%s, %s: %v %v", c.why, as.who, counts, traffic)
			}
		}
	}
}

// TestHostileListings: each is a 400 that names the parameter.
func TestHostileListings(t *testing.T) {
	p := newPool(t, &fakeQ{})
	lists := []string{"/admin/api/nodes", "/admin/api/keys", "/admin/api/accounts", "/admin/accounts", "/api/monitor/dashboard"}
	for _, c := range []struct{ why, query, field string }{
		{"no rows", "limit=0", "limit"}, {"fewer than none", "limit=-1", "limit"}, {"too many", "limit=1001", "limit"}, {"words", "limit=all", "limit"},
		{"beyond 64 bits", "limit=99999999999999999999", "limit"}, {"a fraction", "limit=1.5", "limit"}, {"hex", "limit=0x10", "limit"},
		{"before the beginning", "limit=5&offset=-1", "offset"}, {"far away", "limit=5&offset=1000001", "offset"}, {"an offset of nothing", "offset=5", "offset"},
		{"an order that is none", "sort=credential", "sort"}, {"a member of ours", "sort=__proto__", "sort"}, {"a minus alone", "sort=-", "sort"}, {"two", "sort=--name", "sort"},
		{"in capitals", "sort=NAME", "sort"}, {"SQL", "sort=" + url.QueryEscape("name; DROP TABLE nodes"), "sort"},
		{"a long search", "q=" + strings.Repeat("x", 201), "q"}, {"a long one of others", "q=" + url.QueryEscape(strings.Repeat("界", 201)), "q"},
		{"neither true nor false", "light=maybe", "light"}, {"a state that is none", "state=online%00", "state"},
	} {
		for _, target := range lists {
			p.refused(c.field, "GET", target+"?"+c.query, "", c.why+" at "+target)
		}
	}
	for _, c := range []struct{ why, target, field string }{
		{"keys have no states", "/admin/api/keys?state=active", "state"}, {"nor have accounts", "/admin/api/accounts?state=active", "state"},
		{"light nodes are not sorted by what is not read", "/admin/api/nodes?light=true&state=active&sort=requests", "sort"}, {"nor have they other states", "/admin/api/nodes?light=true&state=actives", "state"},
		{"light keys are not looked up", "/admin/api/keys?light=true&sort=used", "sort"}, {"nor light accounts counted", "/admin/api/accounts?light=true&count=true", "light"},
		{"or sorted by that", "/admin/api/accounts?light=true&sort=keys", "light"}, {"no such form", "/admin/accounts?light=true", "light"},
		{"counted or not", "/admin/api/accounts?count=two", "count"}, {"statistics", "/admin/stats/account-usage?limit=0", "limit"}, {"tokens", "/admin/stats/tokens?light=2", "light"},
	} {
		p.refused(c.field, "GET", c.target, "", c.why)
	}
	for _, q := range []string{"%00", "%ff%fe", "%25", "_", "*", ".*", "%27%20OR%201=1", "<script>"} { // texts like all others
		for _, target := range lists {
			if a := p.call("GET", target+"?limit=5&q="+q, "", "x-admin-key", poolAdmin); a.status != 200 || a.json()["total"] != 0.0 {
				t.Errorf("%s for %s: %d %s", target, q, a.status, a.body)
			}
		}
	}
}

// TestListingsAreIsolated: no parameter shows a tenant what is another's, or that it is there.
func TestListingsAreIsolated(t *testing.T) {
	p := newPool(t, &fakeQ{})
	other := p.fleet("default")
	seeded := p.node(p.add("secret-pool")).ID
	p.key("default", `{"name":"secret-key"}`)
	hidden := ""
	for _, k := range items(p.want(200, "GET", "/admin/api/keys?account_id=default", ""), "keys") {
		if k["name"] == "secret-key" {
			hidden, _ = k["id"].(string)
		}
	}
	own := p.key("acc-beta", `{"name":"own","nodes":true}`)
	client := p.key("acc-beta", `{"name":"client"}`)
	for _, c := range []struct {
		target string
		status int
		total  any
	}{
		{"/admin/api/nodes?limit=1000", 200, 0.0}, {"/admin/api/nodes?limit=5&id=" + other[0], 200, 0.0}, {"/admin/api/nodes?limit=5&q=zeta", 200, 0.0}, {"/admin/api/nodes?limit=5&light=true", 200, 0.0},
		{"/admin/api/nodes?limit=5&account_id=default", 403, nil}, {"/admin/api/nodes?light=true&account_id=default", 403, nil},
		{"/admin/accounts?limit=5", 200, 0.0}, {"/admin/accounts?limit=5&id=" + seeded, 200, 0.0}, {"/admin/accounts?limit=5&account_id=default", 403, nil},
		{"/admin/api/accounts?limit=5", 200, 1.0}, {"/admin/api/accounts?limit=5&id=default", 200, 0.0}, {"/admin/api/accounts?limit=5&light=true&q=default", 200, 0.0}, {"/admin/api/accounts?limit=5&count=true&sort=-nodes", 200, 1.0},
		{"/admin/api/keys?limit=5", 403, nil}, {"/admin/api/keys?limit=5&light=true", 200, 2.0}, {"/admin/api/keys?limit=5&light=true&id=" + hidden, 200, 0.0}, {"/admin/api/keys?limit=5&light=true&q=secret", 200, 0.0}, {"/admin/api/keys?light=true&account_id=default", 403, nil}, {"/admin/api/keys?limit=5&account_id=acc-beta", 403, nil},
		{"/api/monitor/dashboard?limit=5", 200, 0.0}, {"/api/monitor/dashboard?limit=5&account_id=default", 403, nil},
		{"/admin/stats/account-usage?limit=5", 403, nil}, {"/admin/stats/tokens?light=true", 403, nil},
	} {
		a := p.call("GET", c.target, "", "x-api-key", own)
		if a.status != c.status || a.json()["total"] != c.total || strings.Contains(a.body, "secret") || strings.Contains(a.body, "Zeta") {
			t.Errorf("%s: %d %s", c.target, a.status, a.body)
		}
		if counts, ok := a.json()["counts"].(map[string]any); ok && counts["all"] != 0.0 {
			t.Errorf("%s counts another's: %v", c.target, counts)
		}
		if a := p.call("GET", c.target, "", "x-api-key", client); a.status != 403 {
			t.Errorf("%s: a key that only calls models: %d", c.target, a.status)
		}
	}
}

// TestUsesAddUp: whatever is remembered, nodes are shown with what summaries tell.
func TestUsesAddUp(t *testing.T) {
	p := newPool(t, nil)
	ids := []string{p.made("default", anthropicNode), p.made("default", anthropicNode)}
	n := 0
	settle := func(at time.Time) {
		n++
		p.settle(core.Settlement{RequestID: fmt.Sprint("r", n), Node: ids[n%2], EndedAt: at, Tokens: core.Tokens{Input: int64(n), Output: 1}})
	}
	look := func(why string) {
		t.Helper()
		want := make(map[any]string)
		for _, s := range items(p.want(200, "GET", "/api/usage/summary?group_by=node", ""), "summaries") {
			want[s["node_id"]] = fmt.Sprint(s["total_requests"], s["total_input_tokens"])
		}
		for _, m := range items(p.want(200, "GET", "/admin/api/nodes", ""), "nodes") {
			got := fmt.Sprint(m["requests"], m["input_tokens"])
			if w, ok := want[m["id"]]; ok && got != w || !ok && got != "0 0" {
				t.Errorf("%s: node %v is shown with %s, the summary tells %s", why, m["id"], got, w)
			}
		}
	}
	look("nothing yet")
	for _, c := range []struct {
		why  string
		do   func()
		wait time.Duration
	}{
		{"the first", func() { settle(p.clock()) }, 0},
		{"at the same moment", func() { settle(p.clock()) }, 0},
		{"a month ago, told of late", func() { settle(p.clock().AddDate(0, -1, 0)) }, 0},
		{"yesterday, told of late", func() { settle(p.clock().AddDate(0, 0, -1)) }, 0},
		{"an hour ago", func() { settle(p.clock().Add(-time.Hour)) }, 0},
		{"this morning, told of late", func() { settle(p.clock().Add(-9 * time.Hour)) }, time.Minute},
		{"the next hour", func() { settle(p.clock()) }, time.Hour},
		{"past midnight", func() { settle(p.clock()) }, 11 * time.Hour},
		{"two days on", func() { settle(p.clock()) }, 48 * time.Hour},
		{"a rollup between", func() {
			if err := p.store.Rollup(t.Context(), p.clock()); err != nil {
				t.Fatal(err)
			}
		}, time.Hour},
		{"after the rollup, told of late", func() { settle(p.clock().AddDate(0, 0, -3)) }, 0},
		{"the clock put back", func() { settle(p.clock()) }, -3 * time.Hour},
		{"just before the hour", func() {
			p.advance(59*time.Minute + 40*time.Second - p.clock().Sub(p.clock().Truncate(time.Hour)))
			settle(p.clock().Add(-time.Hour))
			settle(p.clock())
		}, 0},
		{"just after it, when what is remembered ends an hour earlier", func() {}, 30 * time.Second},
	} {
		p.advance(c.wait)
		c.do()
		if c.why == "this morning, told of late" {
			p.advance(time.Minute)
		}
		look(c.why)
		look(c.why + ", again")
	}
	if !slices.ContainsFunc(items(p.want(200, "GET", "/admin/api/nodes", ""), "nodes"), func(m map[string]any) bool { return m["requests"].(float64) > 4 }) {
		t.Error("the test settled nothing")
	}
}
