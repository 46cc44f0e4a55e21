package adminapi_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestLogoutEverywhere: what a caller shows ends each session that was opened with it, and no other's.
func TestLogoutEverywhere(t *testing.T) {
	type end struct {
		cookie string // whose session calls; empty: header does
		header []string
		query  string
		ended  string
		gone   string // names of the sessions that are over
	}
	for _, c := range []struct {
		why string
		end
	}{
		{"the operator's browser", end{cookie: "operator", ended: `{"ended":2}`, gone: "operator operator2"}},
		{"the operator's key", end{header: []string{"x-admin-key", adminKey}, ended: `{"ended":2}`, gone: "operator operator2"}},
		{"a password ends the account's keys' sessions, too", end{cookie: "person", ended: `{"ended":4}`, gone: "person person2 key other"}},
		{"a key ends its own", end{cookie: "key", ended: `{"ended":1}`, gone: "key"}},
		{"an administrator names an account", end{cookie: "operator", query: "?account_id=ID", ended: `{"ended":4}`, gone: "person person2 key other"}},
		{"the own account by name is no more to a person", end{cookie: "person", query: "?account_id=ID", ended: `{"ended":4}`, gone: "person person2 key other"}},
	} {
		t.Run(c.why, func(t *testing.T) {
			w := start(t)
			id := w.account("beta", "beta-proxy-key-4567")
			w.person(id)
			made := w.admin(201, "POST", "/admin/api/keys?account_id="+id, `{"name":"second","scopes":["inference","nodes"]}`)
			w.Secret(made.Text("key"))
			order := []string{"operator", "operator2", "person", "person2", "key", "other", "stranger"}
			w.person("default")
			pairs := map[string]string{}
			for name, form := range map[string]url.Values{"operator": key(adminKey), "operator2": key(adminKey), "person": password("beta", passwd), "person2": password(id, passwd),
				"key": key("beta-proxy-key-4567"), "other": key(made.Text("key")), "stranger": password("default", passwd)} {
				pairs[name] = w.login(form)
			}
			header := c.header
			if c.cookie != "" {
				header = []string{"Cookie", pairs[c.cookie]}
			}
			a := w.Want(200, "DELETE", "/admin/api/sessions"+strings.Replace(c.query, "ID", id, 1), "", header...)
			if got := strings.TrimSpace(string(a.Body)); got != c.ended {
				t.Errorf("answered %s, want %s", got, c.ended)
			}
			var gone []string
			for _, name := range order {
				if w.Call("GET", "/admin/api/me", "", "Cookie", pairs[name]).Status == http.StatusUnauthorized {
					gone = append(gone, name)
				}
			}
			if got := strings.Join(gone, " "); got != c.gone {
				t.Errorf("over are %q, want %q", got, c.gone)
			}
			if cleared := strings.Contains(a.Header.Get("Set-Cookie"), "Max-Age=0"); cleared != (c.cookie != "" && strings.Contains(c.gone, c.cookie)) {
				t.Errorf("cookie: %q", a.Header.Get("Set-Cookie"))
			}
		})
	}
}

// TestLogoutEverywhereOfOthers: nobody ends another's sessions, from another site or without a session.
func TestLogoutEverywhereOfOthers(t *testing.T) {
	w := start(t)
	id := w.account("beta", "beta-proxy-key-4567")
	w.person(id)
	tenant, person := w.login(key("beta-proxy-key-4567")), w.login(password("beta", passwd))
	for _, c := range []struct {
		why, query string
		want       int
		header     []string
	}{
		{"nobody", "", 401, nil},
		{"another account's", "?account_id=default", 403, []string{"Cookie", person}},
		{"a key for the whole account", "?account_id=" + id, 403, []string{"Cookie", tenant}},
		{"another site", "", 403, []string{"Cookie", person, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}},
		{"an account that there is not", "?account_id=acc-none", 404, []string{"x-admin-key", adminKey}},
	} {
		if a := w.Call("DELETE", "/admin/api/sessions"+c.query, "", c.header...); a.Status != c.want {
			t.Errorf("%s: %d, want %d: %s", c.why, a.Status, c.want, a.Body)
		}
	}
	for _, pair := range []string{tenant, person} {
		w.Want(200, "GET", "/admin/api/me", "", "Cookie", pair)
	}
	before := len(w.admin(200, "GET", "/api/audit?action=logout.everywhere", "").List("entries"))
	w.Want(200, "DELETE", "/admin/api/sessions", "", "Cookie", person)
	es := w.admin(200, "GET", "/api/audit?action=logout.everywhere", "").List("entries")
	if len(es) != before+1 || es[0]["result"] != "ok" || es[0]["account_id"] != id {
		t.Errorf("the log: %v", es)
	}
}
