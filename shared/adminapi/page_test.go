package adminapi_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"sluice/shared/boot/boottest"
	"sluice/shared/web"
)

// TestAdminKeyInTheAddress: Guide A's http://localhost:8000/admin?admin_key=... opens the page and leaves the address.
func TestAdminKeyInTheAddress(t *testing.T) {
	w := start(t)
	a := w.Want(303, "GET", "/admin?admin_key="+url.QueryEscape(adminKey), "", "Accept", "text/html")
	if got := a.Header.Get("Location"); got != "/admin" {
		t.Errorf("Location %q: the key must not stay in the address", got)
	}
	ck := cookie(t, a)
	page := w.Want(200, "GET", "/admin", "", "Accept", "text/html", "Cookie", ck.Name+"="+ck.Value)
	if s := string(page.Body); !strings.Contains(s, "alpha-node-1") || !strings.HasPrefix(page.Header.Get("Content-Type"), "text/html") {
		t.Errorf("the page: %s", s)
	}
	for _, h := range []string{"Cache-Control", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Content-Security-Policy"} {
		if page.Header.Get(h) == "" {
			t.Errorf("the page has no %s", h)
		}
	}
	for _, c := range []struct {
		reason, target string
		headers        []string
		want           int
		location       string
	}{
		{"no session", "/admin", []string{"Accept", "text/html"}, 303, "/login"},
		{"no session, another page", "/admin/dashboard", nil, 303, "/login"},
		{"a wrong key shows the form", "/admin?admin_key=wrong", nil, 401, ""},
		{"an empty key is none", "/admin?admin_key=", nil, 303, "/login"},
		{"a key in a header opens the page without a session", "/admin", []string{"x-admin-key", adminKey}, 200, ""},
		{"a key that may not is told so", "/admin", []string{"x-admin-key", proxyKey}, 403, ""},
	} {
		a := w.Call("GET", c.target, "", c.headers...)
		if a.Status != c.want || a.Header.Get("Location") != c.location || a.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: status %d to %q, cookie %q; want %d to %q without one", c.reason, a.Status, a.Header.Get("Location"), a.Header.Get("Set-Cookie"), c.want, c.location)
		}
	}
	if strings.Contains(w.Log(), adminKey) {
		t.Error("the key of the address is in the log")
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

// TestHostileNamesAreEscaped: what a tenant names its node must not run in an administrator's browser.
func TestHostileNamesAreEscaped(t *testing.T) {
	w := start(t)
	for _, name := range []string{`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `</table><form action=https://evil.example>`, `{{.Version}}`, `' onmouseover='x`} {
		w.tenant(201, proxyKey, "POST", "/admin/api/nodes", `{"name":`+quote(name)+`,"base_url":"https://api.anthropic.com"}`)
		page := string(w.Want(200, "GET", "/admin", "", "x-admin-key", adminKey).Body)
		if strings.Contains(page, name) && strings.ContainsAny(name, "<>'") {
			t.Errorf("the page holds %s as it stands", name)
		}
	}
	a := w.form(password(`"><script>x</script>`, "wrong password"), "Accept", "text/html")
	if strings.Contains(string(a.Body), "<script>") {
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
			w := start(t, "PUBLIC_URL", c.url)
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
			if page := string(w.Want(200, "GET", "/admin", "", "Cookie", pair).Body); !strings.Contains(page, `action="`+c.prefix+`/logout"`) {
				t.Errorf("the page's form: %s", page)
			}
			if page := string(w.Want(200, "GET", "/login", "").Body); !strings.Contains(page, `action="`+c.prefix+`/login"`) {
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
