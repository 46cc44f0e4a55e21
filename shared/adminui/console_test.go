package adminui

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

func requestOf(method, target string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	r.Header.Set("Accept", "text/html")
	return r
}

// api answers as the admin API does to who is signed in, and to who is not.
type api struct {
	signed bool
	calls  []string
	reply  map[string]string // by method and path
	header http.Header
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.calls = append(a.calls, r.Method+" "+r.URL.RequestURI())
	a.header = r.Header
	body, ok := a.reply[r.Method+" "+r.URL.Path]
	switch {
	case !a.signed:
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":"unauthorized"}`)
	case r.URL.Path == "/admin/api/me" && !ok:
		_, _ = io.WriteString(w, `{"account_id":"default","account_name":"Team <b>A</b>","is_admin":true}`)
	case !ok:
		_, _ = io.WriteString(w, `{}`)
	default:
		_, _ = io.WriteString(w, body)
	}
}

// TestFrame: a page needs a session, loads nothing from elsewhere, and shows hostile names as text.
func TestFrame(t *testing.T) {
	for _, c := range []struct {
		why, method, target string
		signed              bool
		status              int
		location            string
		has, lacks          string
	}{
		{"without a session", "GET", "/admin", false, 303, "/login", "", "Overview"},
		{"signed in", "GET", "/admin", true, 200, "", "Team &lt;b&gt;A&lt;/b&gt;", "<b>A</b>"},
		{"the login page needs none", "GET", "/login", false, 200, "", `name="admin_key"`, ""},
		{"who is signed in needs no login page", "GET", "/login", true, 303, "/admin", "", ""},
		{"a form that is not known", "POST", "/admin?do=nothing", true, 404, "", `role="alert"`, ""},
		{"another site is no way on", "GET", "/login?next=//evil.example", false, 200, "", "", "evil"},
		{"nor what browsers take for one", "GET", "/login?next=/admin%5C%5Cevil.example", false, 200, "", "", "evil"},
		{"words of a link are not shown", "GET", "/admin?done=<script>", true, 200, "", "", "&lt;script"},
	} {
		a := &api{signed: c.signed}
		w := httptest.NewRecorder()
		r := requestOf(c.method, c.target)
		console := New(Options{API: a, Version: "v1"})
		if !console.Handles(r) {
			t.Errorf("%s: not handled", c.why)
		}
		console.ServeHTTP(w, r)
		if w.Code != c.status || w.Header().Get("Location") != c.location {
			t.Errorf("%s: %d to %q: %s", c.why, w.Code, w.Header().Get("Location"), w.Body)
		}
		if body := w.Body.String(); !strings.Contains(body, c.has) || c.lacks != "" && strings.Contains(body, c.lacks) {
			t.Errorf("%s: %s", c.why, body)
		}
		if p := w.Header().Get("Content-Security-Policy"); !strings.Contains(p, "default-src 'none'") || strings.Contains(p, "unsafe") {
			t.Errorf("%s: %q", c.why, p)
		}
		if cc := w.Header().Get("Cache-Control"); cc != "no-store" {
			t.Errorf("%s: %q", c.why, cc)
		}
	}
}

// TestHandles: a page where a browser asks for one, the API's JSON where a program does.
func TestHandles(t *testing.T) {
	console := New(Options{API: &api{}})
	for _, c := range []struct {
		why, method, target, accept string
		want                        bool
	}{
		{"a browser", "GET", "/admin", "text/html,*/*", true},
		{"curl", "GET", "/admin", "*/*", false},
		{"a form of a page", "POST", "/login?do=login", "text/html", true},
		{"a script that logs in", "POST", "/login", "*/*", false},
		{"a browser that confirms a link", "POST", "/admin?admin_key=k", "text/html", true},
		{"a key in the address of the login form is none", "POST", "/login?admin_key=k", "text/html", false},
		{"a script that makes an account with a key in the address", "POST", "/admin/accounts?admin_key=k", "*/*", false},
		{"the address of the older guides", "GET", "/admin/dashboard", "text/html", true},
		{"the API", "GET", "/admin/api/nodes", "text/html", false},
		{"model traffic", "POST", "/v1/messages", "text/html", false},
		{"its files", "GET", "/admin/assets/x.js", "*/*", true},
	} {
		r := httptest.NewRequest(c.method, c.target, nil)
		r.Header.Set("Accept", c.accept)
		if got := console.Handles(r); got != c.want {
			t.Errorf("%s: %v", c.why, got)
		}
	}
}

// TestOwnHeadersOnly: the API is asked with the browser's session and origin, and with no key that a page load brought.
func TestOwnHeadersOnly(t *testing.T) {
	a := &api{signed: true}
	r := requestOf("GET", "/admin")
	r.Header.Set("Cookie", "session_token=abc")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	r.Header.Set("X-Admin-Key", "stolen")
	r.Header.Set("X-Forwarded-For", "10.0.0.1")
	New(Options{API: a}).ServeHTTP(httptest.NewRecorder(), r)
	if a.header.Get("Cookie") != "session_token=abc" || a.header.Get("Sec-Fetch-Site") != "cross-site" || a.header.Get("X-Admin-Key") != "" {
		t.Errorf("%v", a.header)
	}
}

// TestAssets: files are kept by browsers for ever, under names that change with them; what came from others is what it was.
func TestAssets(t *testing.T) {
	console := New(Options{API: &api{}})
	sums, err := os.ReadFile("static/vendor/SHA256SUMS.txt")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(sums)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		w := httptest.NewRecorder()
		console.ServeHTTP(w, requestOf("GET", console.assets.path(name)))
		got := sha256.Sum256(w.Body.Bytes())
		if w.Code != 200 || hex.EncodeToString(got[:]) != sum || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d, %s", name, w.Code, hex.EncodeToString(got[:]))
		}
		n++
	}
	if n < 4 {
		t.Errorf("%d files: the test would pass on nothing", n)
	}
	for name := range console.assets.names {
		r := requestOf("GET", console.assets.path(name))
		r.Header.Set("Accept-Encoding", "br, gzip;q=0.5")
		w := httptest.NewRecorder()
		console.ServeHTTP(w, r)
		z, err := gzip.NewReader(bytes.NewReader(w.Body.Bytes()))
		if err != nil || w.Header().Get("Content-Encoding") != "gzip" {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if data, err := io.ReadAll(z); err != nil || bytes.Contains(data, []byte("sourceMappingURL=")) {
			t.Errorf("%s: %v, or it names a source map", name, err)
		}
	}
	for _, path := range []string{"/admin/assets/", "/admin/assets/app.js", "/admin/assets/../adminui.go", "/admin/assets/none.0123.js"} {
		w := httptest.NewRecorder()
		r := requestOf("GET", "/admin/assets/x")
		r.URL.Path = path
		console.ServeHTTP(w, r)
		if w.Code != 404 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

// TestOtherSites: a form that another site sends never reaches its page, also where it would change nothing.
func TestOtherSites(t *testing.T) {
	for _, c := range []struct {
		why, origin, site string
		status            int
	}{
		{"another site", "https://evil.example", "cross-site", 403},
		{"a browser that tells the origin alone", "https://evil.example", "", 403},
		{"another origin of the site", "https://other.example.com", "same-site", 403},
		{"the console itself", "http://example.com", "same-origin", 404},
		{"the address that PUBLIC_URL names", "https://gw.example", "", 404},
		{"no browser", "", "", 404},
	} {
		a := &api{signed: true}
		r := requestOf("POST", "/admin?do=nothing")
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		if c.site != "" {
			r.Header.Set("Sec-Fetch-Site", c.site)
		}
		w := httptest.NewRecorder()
		New(Options{API: a, PublicURL: "https://gw.example/console"}).ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("%s: %d, want %d", c.why, w.Code, c.status)
		}
	}
}
