package adminui

import (
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

const keyRows = `{"keys":[{"id":"7","account_id":"acc-b","name":"<b>ci</b>","description":"builds","prefix":"abcd","scopes":["inference","nodes"],"requests_per_minute":60,"tokens_per_minute":5000,"usd_per_day":2.5,"old_key_until":"2026-01-03T00:00:00Z","expires_at":"2027-01-01T00:00:00Z"},
	{"id":"8","account_id":"default","scopes":["inference"],"revoked":true}]}`

// TestKeysPage: keys are told with their account, scope and limits, one without a name by its number; hostile names are text.
func TestKeysPage(t *testing.T) {
	replies := tenantReplies()
	replies["GET /admin/api/keys"] = keyRows
	replies["POST /admin/api/keys"] = `400 {"error":"requests_per_minute: must be a number"}`
	f := newPoolFake(t, replies)
	f.has("the list", f.get("/admin/keys"), 200, "&lt;b&gt;ci&lt;/b&gt;", "!<b>ci", "<strong>#8</strong>", "&lt;b&gt;beta&lt;/b&gt;", "60 requests a minute", "$2.50 a day", `href="/admin/usage?key_id=7"`, `href="/admin/usage?key_id=8"`, `id="delete-7"`, "do=restore", `datetime="2026-01-03T00:00:00Z"`, `name="account_id"`)
	f.has("a key to edit", f.get("/admin/keys?edit=7"), 200, `value="builds"`, `do=update&amp;id=7`, `value="60"`, `edit=7`)
	in := url.Values{"name": {"ci"}, "scope": {"nodes"}, "expires_at": {"2027-01-02T03:04"}}
	f.has("an expiry in the reader's zone", f.post("/admin/keys?do=update&id=7", in, "Cookie", zoneCookie+"=Asia/Shanghai"), 303)
	if sent := f.sent["PUT /admin/api/keys?id=7"]; !strings.Contains(sent, `"expires_at":"2027-01-01T19:04:00Z"`) {
		t.Errorf("sent %s", sent)
	}
	f.has("and shown so", f.get("/admin/keys?edit=7", "Cookie", zoneCookie+"=Asia/Shanghai"), 200, "In the time zone Asia/Shanghai")
	f.has("without one", f.get("/admin/keys?edit=7"), 200, "In the time zone UTC")
	f.calls, f.sent = nil, map[string]string{}
	f.has("a form that only repeats", f.post("/admin/keys?do=update&id=7", url.Values{"name": {"new"}, "scope": {"nodes"}, "expires_at": {"2027-01-01T00:00"}}), 303)
	if sent := f.sent["PUT /admin/api/keys?id=7"]; !strings.Contains(sent, `"name":"new"`) || strings.Contains(sent, "scopes") || strings.Contains(sent, "expires_at") {
		t.Errorf("sent %q of %q", sent, f.sent)
	}
	f.has("one that changes", f.post("/admin/keys?do=update&id=7", url.Values{"name": {"new"}, "scope": {"inference"}, "expires_at": {""}}), 303)
	if sent := f.sent["PUT /admin/api/keys?id=7"]; !strings.Contains(sent, `"scopes":["inference"]`) || !strings.Contains(sent, `"expires_at":""`) {
		t.Errorf("sent %q of %q", sent, f.sent)
	}
	f.has("a search that finds none", f.get("/admin/keys?q=zzz"), 200, "Nothing found")
	for what, words := range map[string]string{"revoke": "2 keys were revoked", "restore": "2 keys work again", "delete": "2 keys were deleted"} {
		f.has(what+" many", f.post("/admin/keys?do=bulk", url.Values{"ids": {"7", "8"}, "what": {what}, "confirm": {"delete"}}), 303)
		f.has("and say so", f.get("/admin/keys?done=keys.bulk."+what+"&done=2"), 200, words)
	}
	f.calls, f.sent = nil, map[string]string{}
	f.has("many, by no button", f.post("/admin/keys?do=bulk", url.Values{"ids": {"7"}, "confirm": {"delete"}}), 400, `role="alert"`)
	if sent, ok := f.sent["PUT /admin/api/keys?id=7"]; ok {
		t.Errorf("a form that does not say what to do sent %q", sent)
	}
	f.has("many for good, without the word for it", f.post("/admin/keys?do=bulk", url.Values{"ids": {"7"}, "what": {"delete"}}), 400, `role="alert"`)
	for overlap, confirmed := range map[string]string{"0": "", "": "", "00": "another"} {
		f.has("a rotation that ends the old one, without its name", f.post("/admin/keys?do=rotate", url.Values{"id": {"7"}, "name": {"ci"}, "overlap": {overlap}, "confirm": {confirmed}}), 400, "Type ci to confirm")
	}
	if sent, ok := f.sent["POST /admin/api/keys/rotate?id=7"]; ok {
		t.Errorf("unconfirmed, it sent %q", sent)
	}
	_ = f.post("/admin/keys?do=rotate", url.Values{"id": {"7"}, "name": {"ci"}, "overlap": {"3600"}})
	if sent := f.sent["POST /admin/api/keys/rotate?id=7"]; sent != `{"overlap":3600}` {
		t.Errorf("with an overlap it sent %q", sent)
	}
	f.has("a refused form", f.post("/admin/keys?do=create", url.Values{"name": {"x"}, "requests_per_minute": {"many"}}), 400, `value="many"`, "invalid-feedback")
}

// TestOwnKeyRotated: who rotates the key of the session that asks is shown the new key all the same.
func TestOwnKeyRotated(t *testing.T) {
	rotated := false
	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/admin/api/keys/rotate":
			rotated = true
			_, _ = io.WriteString(w, `{"key":"slk_the-new-one"}`)
		case rotated:
			w.WriteHeader(http.StatusUnauthorized)
		default:
			_, _ = io.WriteString(w, adminMe)
		}
	})
	r := httptest.NewRequest("POST", "/admin/keys?do=rotate", strings.NewReader("id=1&overlap=0&name=ci&confirm=ci"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	New(Options{API: api}).ServeHTTP(w, r)
	if w.Code != 200 || !strings.Contains(w.Body.String(), "slk_the-new-one") || !strings.Contains(w.Body.String(), `href="/login"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestFormsKeepTheList: forms in a list go back to what was looked at, and so does what is refused.
func TestFormsKeepTheList(t *testing.T) {
	var rows []string
	for i := range 120 {
		rows = append(rows, fmt.Sprintf(`{"id":"k%03d","account_id":"default","name":"key %03d","is_admin":false}`, i, i))
	}
	all := strings.Join(rows, ",")
	f := newPoolFake(t, map[string]string{"GET /admin/api/keys": `{"keys":[` + all + `]}`, "GET /admin/api/accounts": `{"accounts":[` + all + `]}`,
		"POST /admin/api/keys/rotate?id=k060": `400 {"error":"no"}`})
	one := url.Values{"id": {"k060"}, "name": {"key 060"}, "confirm": {"key 060"}, "ids": {"k060"}, "what": {"revoke"}, "scope": {"inference"}}
	for _, c := range []struct {
		page, query string
		acts        []string
	}{
		{"/admin/keys", "account_id=default&page=2&q=key&sort=id", []string{"revoke", "delete", "update", "bulk"}},
		{"/admin/tenants", "page=2&q=key&sort=name", []string{"delete", "update"}},
	} {
		for _, act := range append(c.acts, "create") {
			edited := map[bool]string{true: "edit=k060&"}[act != "create"]
			w := f.get(c.page + "?" + edited + c.query)
			action := ""
			for _, m := range formAction.FindAllStringSubmatch(w.Body.String(), -1) {
				if to := html.UnescapeString(m[1]); strings.Contains(to, "do="+act) {
					action = to
				}
			}
			for want := range strings.SplitSeq(c.query, "&") {
				if !strings.Contains(action, want) || strings.Contains(action, "edit=") {
					t.Errorf("%s: %s by %q, without %s", c.page, act, action, want)
				}
			}
			if act == "create" { // shows what it made in its own answer
				continue
			}
			to, err := url.Parse(f.post(action, one).Header().Get("Location"))
			if err != nil || to.Path != c.page || !strings.HasPrefix(to.RawQuery, c.query+"&done=") {
				t.Errorf("%s: %s leads to %v, %v", c.page, act, to, err)
			}
		}
		for why, act := range map[string]string{"a wrong name": "delete", "a refusal": "rotate"} {
			if c.page == "/admin/keys" || act == "delete" {
				f.has(c.page+": "+why, f.post(c.page+"?do="+act+"&"+c.query, url.Values{"id": {"k060"}, "name": {"key 060"}}), 400, ">k060<", "!>k001<", "2 / 3", `role="alert"`)
			}
		}
	}
}

var formAction = regexp.MustCompile(`<form method="post" action="([^"]*)"`)
