package adminui

import (
	"net/http/httptest"
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
