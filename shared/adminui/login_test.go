package adminui

import (
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
)

// TestSessionEnded: whoever has no session is sent to the login page and back to where they were; a form that comes after its
// session ended gets a page that says that nothing was saved and keeps it in the browser, and says nothing to another site.
func TestSessionEnded(t *testing.T) {
	for _, c := range []struct {
		why, method, target string
		header              []string
		status              int
		location, has       string
	}{
		{"never signed in", "GET", "/admin/keys", nil, 303, "/login?next=%2Fadmin%2Fkeys", ""},
		{"the search is there afterwards", "GET", "/admin/keys?q=a%26b", nil, 303, "/login?next=%2Fadmin%2Fkeys%3Fq%3Da%2526b", ""},
		{"ended", "GET", "/admin", []string{"Cookie", "session_token=x"}, 303, "/login?done=login.ended", ""},
		{"a form", "POST", "/admin/keys?do=create", []string{"Cookie", "session_token=x"}, 401, "", "What you typed is not lost"},
		{"a form in Chinese", "POST", "/admin/keys?do=create", []string{"Cookie", "session_token=x", "Accept-Language", "zh"}, 401, "", "表单未保存"},
		{"a form of who never signed in", "POST", "/admin/keys?do=create", nil, 303, "/login", ""},
		{"a form of another site", "POST", "/admin/keys?do=create", []string{"Cookie", "session_token=x", "Sec-Fetch-Site", "cross-site"}, 303, "/login?done=login.ended", ""},
		{"a part of a page", "GET", "/admin/keys?q=a", []string{"Cookie", "session_token=x", "HX-Request", "true"}, 204, "", ""},
		{"what the login page says", "GET", "/login?done=login.ended", nil, 200, "", "Please sign in again"},
	} {
		r := httptest.NewRequest(c.method, c.target, strings.NewReader("name=typed-here&password=typed-secret"))
		r.Header.Set("Accept", "text/html")
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for i := 0; i+1 < len(c.header); i += 2 {
			r.Header.Set(c.header[i], c.header[i+1])
		}
		w := httptest.NewRecorder()
		New(Options{API: &api{}}).ServeHTTP(w, r)
		if body := w.Body.String(); w.Code != c.status || w.Header().Get("Location") != c.location || !strings.Contains(body, c.has) || strings.Contains(body, "typed-") {
			t.Errorf("%s: %d to %q: %s", c.why, w.Code, w.Header().Get("Location"), body)
		}
	}
}

// TestLanguageSwitch: it comes back to the page as it was looked at, and repeats no key of the address.
func TestLanguageSwitch(t *testing.T) {
	for _, c := range []struct {
		why, prefix, method, target, form, back string
	}{
		{"a list", "", "GET", "/admin/keys?q=a%26b&sort=-id&page=2", "", "/admin/keys?page=2&q=a%26b&sort=-id"},
		{"behind a prefix", "/stage", "GET", "/admin/keys?q=a", "", "/stage/admin/keys?q=a"},
		{"what was done is not done again", "", "GET", "/admin/keys?done=keys.saved&q=a", "", "/admin/keys?q=a"},
		{"the login keeps where it leads", "", "GET", "/login?next=%2Fadmin%2Fusage%3Ftab%3Dday", "", "/login?next=%2Fadmin%2Fusage%3Ftab%3Dday"},
		{"behind a prefix, too", "/stage", "GET", "/login?next=%2Fadmin", "", "/stage/login?next=%2Fadmin"},
		{"a login that failed does", "", "POST", "/login?do=login", "next=%2Fadmin%2Fusage", "/login?next=%2Fadmin%2Fusage"},
		{"but to no other site", "", "GET", "/login?next=%2F%2Fevil.example", "", "/login"},
		{"a link with a key", "", "GET", "/admin?admin_key=secret-key", "", "/admin"},
	} {
		a := &api{signed: !strings.HasPrefix(c.target, "/login")}
		console := New(Options{API: a, PublicURL: "http://gate.example" + c.prefix})
		ask := func(method, target, form string) *httptest.ResponseRecorder {
			r := httptest.NewRequest(method, target, strings.NewReader(form))
			r.Header.Set("Accept", "text/html")
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := httptest.NewRecorder()
			console.ServeHTTP(w, r)
			return w
		}
		if c.target == "/admin?admin_key=secret-key" {
			a.signed = false // the key is refused, and the login says so
		}
		page := ask(c.method, c.target, c.form).Body.String()
		if want := `name="back" value="` + strings.ReplaceAll(c.back, "&", "&amp;") + `"`; !strings.Contains(page, want) || strings.Contains(page, "secret-key") {
			t.Errorf("%s: no %s in %s", c.why, want, page)
		}
		if to := ask("POST", "/login?do=language", url.Values{"lang": {"zh-CN"}, "back": {c.back}}.Encode()).Header().Get("Location"); to != c.back {
			t.Errorf("%s: the switch leads to %q", c.why, to)
		}
	}
}

// TestSignedInAlready: who has a session goes on to where the login would have led.
func TestSignedInAlready(t *testing.T) {
	for target, want := range map[string]string{"/login?next=%2Fadmin%2Fkeys%3Fq%3Da": "/admin/keys?q=a", "/login?next=%2F%2Fevil.example": "/admin", "/login": "/admin"} {
		w := httptest.NewRecorder()
		New(Options{API: &api{signed: true}}).ServeHTTP(w, requestOf("GET", target))
		if w.Code != 303 || w.Header().Get("Location") != want {
			t.Errorf("%s: %d to %q", target, w.Code, w.Header().Get("Location"))
		}
	}
}

// TestLoginTellsTheBuild: who sees the login can ask GET /version for the same.
func TestLoginTellsTheBuild(t *testing.T) {
	w := httptest.NewRecorder()
	New(Options{API: &api{}, Version: `v1"<b>`}).ServeHTTP(w, requestOf("GET", "/login"))
	_, title, _ := strings.Cut(w.Body.String(), `<h1 class="text-center" title="`)
	title, _, _ = strings.Cut(title, `"`)
	if !strings.HasPrefix(title, "Version: v1&#34;&lt;b&gt;\n") || !strings.HasSuffix(title, "\nGo version: "+runtime.Version()) {
		t.Errorf("%q", title)
	}
}
