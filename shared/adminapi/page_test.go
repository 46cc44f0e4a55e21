package adminapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"sluice/shared/boot/boottest"
	"sluice/shared/web"
)

// TestAdminKeyInTheAddress: Guide A's http://localhost:8000/admin?admin_key=... opens the console and leaves the address; a
// program that is no browser gets a session, too.
func TestAdminKeyInTheAddress(t *testing.T) {
	for _, accept := range []string{"text/html", "*/*"} {
		w := start(t).console("")
		a := w.Want(303, "GET", "/admin?admin_key="+url.QueryEscape(adminKey), "", "Accept", accept)
		if got := a.Header.Get("Location"); got != "/admin" {
			t.Errorf("Location %q: the key must not stay in the address", got)
		}
		if got := a.Header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("the answer to the link may be kept: %q", got)
		}
		if got, want := a.Header.Get("Referrer-Policy"), map[bool]string{true: "strict-origin", false: "no-referrer"}[accept == "text/html"]; got != want {
			t.Errorf("the key may be told to others: %q, want %q", got, want)
		}
		ck := cookie(t, a)
		page := w.Want(200, "GET", "/admin", "", "Accept", "text/html", "Cookie", ck.Name+"="+ck.Value)
		if s := string(page.Body); !strings.Contains(s, "team-alpha") || !strings.HasPrefix(page.Header.Get("Content-Type"), "text/html") {
			t.Errorf("the page: %s", s)
		}
		for _, h := range []string{"Cache-Control", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Content-Security-Policy"} {
			if page.Header.Get(h) == "" {
				t.Errorf("the page has no %s", h)
			}
		}
		if me := w.Want(200, "GET", "/admin", "", "Accept", "*/*", "Cookie", ck.Name+"="+ck.Value); me.Text("account_id") != "default" || me.JSON()["is_admin"] != true {
			t.Errorf("a program reads %s", me.Body)
		}
		for _, c := range []struct {
			reason, target string
			headers        []string
			want           int
			location       string
		}{
			{"no session", "/admin", nil, 303, "/login"},
			{"no session, another page", "/admin/dashboard", nil, 303, "/login"},
			{"a wrong key", "/admin?admin_key=wrong", nil, 401, ""},
			{"an empty key is none", "/admin?admin_key=", nil, 303, "/login"},
		} {
			a := w.Call("GET", c.target, "", append(c.headers, "Accept", accept)...)
			if a.Status != c.want || a.Header.Get("Location") != c.location || a.Header.Get("Set-Cookie") != "" {
				t.Errorf("%s: status %d to %q, cookie %q; want %d to %q without one", c.reason, a.Status, a.Header.Get("Location"), a.Header.Get("Set-Cookie"), c.want, c.location)
			}
		}
		if strings.Contains(w.Log(), adminKey) {
			t.Error("the key of the address is in the log")
		}
	}
	w := start(t)
	w.Want(200, "GET", "/admin", "", "x-admin-key", adminKey)
	w.Want(403, "GET", "/admin", "", "x-admin-key", proxyKey)
}

// TestLinkOfAnother: a link with a key, which anybody can make somebody follow, never takes the place of a session of somebody
// else; one of the same account and rights it may.
func TestLinkOfAnother(t *testing.T) {
	w := start(t)
	const betaKey = "beta-proxy-key-4567"
	id := w.account("beta", betaKey)
	w.person(id)
	operator, tenant := w.login(key(adminKey)), w.login(password("beta", passwd))
	ended := w.login(key(adminKey))
	w.Want(303, "POST", "/logout", "", "Cookie", ended)
	for _, c := range []struct {
		why, have, key string
		header         []string
		want           int
	}{
		{"none is there", "", betaKey, nil, 303},
		{"none is there, by a bookmark", "", betaKey, []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Dest", "document"}, 303},
		{"none is there, from another site: the console asks", "", betaKey, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "document"}, 409},
		{"one that has ended, from another site", ended, betaKey, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "document"}, 409},
		{"the operator's is there", operator, betaKey, nil, 409},
		{"the operator's is there, from another site", operator, betaKey, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "document"}, 409},
		{"a tenant's is there", tenant, adminKey, nil, 409},
		{"another account's, with other rights", operator, proxyKey, nil, 409},
		{"one's own", operator, adminKey, nil, 303},
		{"one's own account's by password", tenant, betaKey, nil, 303},
		{"one that has ended", ended, betaKey, nil, 303},
		{"one that never was", "session_token=chosen", betaKey, nil, 303},
		{"a wrong key says so first", operator, "wrong", nil, 401},
		{"a picture on another page", "", betaKey, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "image"}, 403},
		{"a frame", "", betaKey, []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Dest", "iframe"}, 403},
		{"a script that fetches", "", betaKey, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "empty"}, 403},
	} {
		h := c.header
		if c.have != "" {
			h = append(h, "Cookie", c.have)
		}
		a := w.Call("GET", "/admin?admin_key="+c.key, "", h...)
		if opened := a.Header.Get("Set-Cookie") != ""; a.Status != c.want || opened != (c.want == 303) {
			t.Errorf("%s: %d, session opened: %v; want %d", c.why, a.Status, opened, c.want)
		}
		if c.want != 303 {
			errorOf(t, a)
		}
	}
	for _, pair := range []string{operator, tenant} {
		w.Want(200, "GET", "/admin/api/me", "", "Cookie", pair)
	}
}

// TestLogoutByLink: GET /logout, which older scripts know, ends a session unless another site led there.
func TestLogoutByLink(t *testing.T) {
	w := start(t)
	for _, c := range []struct {
		why, method, from string
		want              int
	}{
		{"a link of another site", "GET", "cross-site", 403},
		{"a link of another port", "GET", "same-site", 403},
		{"a form of another site", "POST", "cross-site", 403},
		{"a form of another port", "POST", "same-site", 403},
		{"a typed address", "GET", "none", 303},
		{"a link of the gateway", "GET", "same-origin", 303},
		{"a script", "GET", "", 303},
		{"the console's form", "POST", "same-origin", 303},
	} {
		h := []string{"Cookie", w.login(key(adminKey))}
		if c.from != "" {
			h = append(h, "Sec-Fetch-Site", c.from)
		}
		a, after := w.Call(c.method, "/logout", "", h...), 401
		if c.want == 403 {
			after = 200
		}
		if a.Status != c.want || (a.Header.Get("Set-Cookie") != "") != (c.want == 303) || w.Call("GET", "/admin/api/me", "", h[:2]...).Status != after {
			t.Errorf("%s: %d %v", c.why, a.Status, a.Header)
		}
	}
}

// TestLinkAsks: the console asks who is signed in as somebody else, without the key in the page, and goes on when told to by
// its own form alone.
func TestLinkAsks(t *testing.T) {
	w := start(t).console("")
	w.account("beta", "beta-proxy-key-4567")
	have := []string{"Accept", "text/html", "Cookie", w.login(key(adminKey))}
	const link = "/admin?admin_key=beta-proxy-key-4567"
	a := w.Want(200, "GET", link, "", append(have, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "document")...)
	if s := string(a.Body); a.Header.Get("Set-Cookie") != "" || !strings.Contains(s, "You are signed in as team-alpha") || strings.Contains(s, "beta-proxy-key") || a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Referrer-Policy") != "strict-origin" {
		t.Errorf("%v %s", a.Header, s)
	}
	if s := string(w.Want(200, "GET", link, "", "Accept", "text/html", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "document").Body); !strings.Contains(s, "Another site led you here") || strings.Contains(s, "beta-proxy-key") {
		t.Errorf("nobody is signed in: %s", s)
	}
	for _, from := range [][]string{{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, {"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "same-site"}} {
		if a := w.Call("POST", link, "", append(from, have...)...); a.Status != 403 || a.Header.Get("Set-Cookie") != "" {
			t.Errorf("%v confirms it: %d", from, a.Status)
		}
	}
	a = w.Want(303, "POST", link, "", append(have, "Sec-Fetch-Site", "same-origin")...)
	if ck := cookie(t, a); a.Header.Get("Location") != "/admin" || w.Want(200, "GET", "/admin/api/me", "", "Cookie", ck.Name+"="+ck.Value).Text("account_name") != "beta" {
		t.Errorf("confirmed: %v", a.Header)
	}
	if a := w.Call("POST", "/admin?admin_key=wrong", "", append(have, "Sec-Fetch-Site", "same-origin")...); a.Status != 401 || !strings.Contains(string(a.Body), `name="admin_key"`) {
		t.Errorf("a wrong key: %d %s", a.Status, a.Body)
	}
}

// TestAPIIsAlwaysJSON: a browser that opens an API path gets 401 as JSON, not a redirect that hides it.
func TestAPIIsAlwaysJSON(t *testing.T) {
	w := start(t)
	errorOf(t, w.Want(401, "GET", "/admin/api/accounts", "", "Accept", "text/html,application/xhtml+xml"))
	a := w.Want(200, "GET", "/admin/api/accounts", "", "Accept", "text/html", "x-admin-key", adminKey)
	if ct := a.Header.Get("Content-Type"); !strings.HasPrefix(ct, "application/json") || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("Content-Type %q, Cache-Control %q", ct, a.Header.Get("Cache-Control"))
	}
}

// TestFilesForBrowsers: where an answer has only so many bytes, a browser gets the whole log or a page that says why not, and never
// the beginning of it; elsewhere it gets it as the API sends it.
func TestFilesForBrowsers(t *testing.T) {
	w := start(t).console("")
	for i := range 40 {
		w.admin(201, "POST", "/admin/api/keys", fmt.Sprintf(`{"name":"k%d","description":%q}`, i, strings.Repeat("d", 500)))
	}
	session := w.login(key(adminKey))
	for _, c := range []struct {
		why, target, accept string
		limit               int64
		want                int
		part                bool
	}{
		{"a stream", "/api/audit/export?action=key", "text/html", 0, 200, false},
		{"in one piece that is large enough", "/api/audit/export?action=key", "text/html", 4 << 20, 200, false},
		{"in one piece that is not", "/api/audit/export?action=key", "text/html", 32 << 10, 413, false},
		{"a program that knows of parts", "/api/audit/export?action=key", "*/*", 32 << 10, 200, true},
		{"a part that is asked for", "/api/audit/export?action=key&limit=5", "text/html", 32 << 10, 200, true},
		{"usage", "/api/usage/export?format=jsonl", "text/html", 32 << 10, 200, false},
	} {
		r := boottest.Request("GET", c.target, "", "Accept", c.accept, "Cookie", session)
		got := httptest.NewRecorder()
		if c.limit > 0 {
			r = r.WithContext(web.WithAnswerLimit(r.Context(), c.limit))
		}
		w.Handler.ServeHTTP(got, r)
		isFile, isPage := got.Header().Get("Content-Disposition") != "", strings.Contains(got.Body.String(), "Choose a shorter time")
		if got.Code != c.want || isFile != (c.want == 200) || isPage == isFile || (got.Header().Get("X-Next-Cursor") != "") != c.part {
			t.Errorf("%s: %d %v %.300s", c.why, got.Code, got.Header(), got.Body)
		}
		if lines := strings.Count(got.Body.String(), "key.create"); c.want == 200 && !c.part && strings.Contains(c.target, "audit") && lines != 40 {
			t.Errorf("%s: %d entries", c.why, lines)
		}
	}
}

// TestHostileNamesAreEscaped: what a tenant names its node must not run in an administrator's browser.
func TestHostileNamesAreEscaped(t *testing.T) {
	w := start(t).console("")
	session := w.login(key(adminKey))
	for _, name := range []string{`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `</table><form action=https://evil.example>`, `{{.Version}}`, `' onmouseover='x`} {
		w.tenant(201, proxyKey, "POST", "/admin/api/nodes", `{"name":`+quote(name)+`,"base_url":"https://api.anthropic.com"}`)
		page := string(w.Want(200, "GET", "/admin/nodes", "", "Accept", "text/html", "Cookie", session).Body)
		if !strings.Contains(page, "alpha-node-1") || strings.Contains(page, name) && strings.ContainsAny(name, "<>'") {
			t.Errorf("the page holds %s as it stands", name)
		}
	}
	a := w.Call("POST", "/login?do=login", password(`"><script>x</script>`, "wrong password").Encode(), "Content-Type", "application/x-www-form-urlencoded", "Accept", "text/html")
	if s := string(a.Body); a.Status != 401 || strings.Contains(s, "<script>x") || !strings.Contains(s, "&lt;script&gt;x") {
		t.Errorf("the form repeats the user name unescaped: %s", a.Body)
	}
}

// TestPublicURL: links, redirects and cookies carry the prefix under which browsers see us (DESIGN 9).
func TestPublicURL(t *testing.T) {
	for _, c := range []struct {
		url, prefix, path string
		secure            bool
	}{
		{"https://gate.example/llm", "/llm", "/llm", true},
		{"https://gate.example/stage/llm/", "/stage/llm", "/stage/llm/", true},
		{"http://gate.example:8080", "", "/", false},
		{"https://gate.example/", "", "/", true},
	} {
		t.Run(c.url, func(t *testing.T) {
			w := start(t, "PUBLIC_URL", c.url).console(c.url)
			a := w.form(key(adminKey))
			ck := cookie(t, a)
			if got := a.Header.Get("Location"); got != c.prefix+"/admin" {
				t.Errorf("after login to %q", got)
			}
			if ck.Path != c.path || ck.Secure != c.secure {
				t.Errorf("cookie path %q secure %v, want %q %v", ck.Path, ck.Secure, c.path, c.secure)
			}
			if got := w.Call("GET", "/admin", "").Header.Get("Location"); got != c.prefix+"/login" {
				t.Errorf("a page without a session to %q", got)
			}
			if got := w.Call("GET", "/", "", "Accept", "text/html").Header.Get("Location"); got != c.prefix+"/admin" {
				t.Errorf("the root to %q", got)
			}
			pair := ck.Name + "=" + ck.Value
			if page := string(w.Want(200, "GET", "/admin", "", "Cookie", pair, "Accept", "text/html").Body); !strings.Contains(page, `action="`+c.prefix+`/logout"`) {
				t.Errorf("the page's form: %s", page)
			}
			if page := string(w.Want(200, "GET", "/login", "", "Accept", "text/html").Body); !strings.Contains(page, `action="`+c.prefix+`/login?do=login"`) {
				t.Errorf("the login form: %s", page)
			}
			out := w.Want(303, "GET", "/logout", "", "Cookie", pair)
			if gone := cookie(t, out); out.Header.Get("Location") != c.prefix+"/login" || gone.Path != c.path {
				t.Errorf("logout to %q, cookie path %q", out.Header.Get("Location"), gone.Path)
			}
		})
	}
}

// TestSecureCookieBehindTLS: without PUBLIC_URL the connection itself decides.
func TestSecureCookieBehindTLS(t *testing.T) {
	w := start(t)
	r := request("POST", "/login", key(adminKey).Encode())
	a := w.Do(r, "")
	if ck := cookie(t, a); !ck.Secure {
		t.Errorf("over TLS the cookie is not Secure: %+v", ck)
	}
	if r.TLS == nil {
		t.Fatal("the request was not over TLS")
	}
	if a.Header.Get("Location") != "/admin" || a.Status != http.StatusSeeOther {
		t.Errorf("status %d to %q", a.Status, a.Header.Get("Location"))
	}
}

// Under the stage of a REST API, which the host tells, links and cookies led to paths that the API does not have.
func TestPrefixOfTheHost(t *testing.T) {
	w := start(t)
	r := boottest.Request("POST", "/login", "admin_key="+adminKey, "Content-Type", "application/x-www-form-urlencoded")
	got := httptest.NewRecorder()
	w.Handler.ServeHTTP(got, r.WithContext(web.WithPrefix(r.Context(), "/prod")))
	if got.Code != 303 || got.Header().Get("Location") != "/prod/admin" || !strings.Contains(got.Header().Get("Set-Cookie"), "; Path=/prod;") {
		t.Errorf("signed in: %d %v", got.Code, got.Header())
	}
}
