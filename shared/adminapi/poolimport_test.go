package adminapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"sluice/shared/upstream"
)

func sso(n string) string {
	return fmt.Sprintf(`{"clientId":"client-%s","clientSecret":"client-secret-%s","refreshToken":"refresh-secret-%s","region":"eu-central-1","accessToken":"x","expiresAt":"2026-01-01T00:00:00Z"}`, n, n, n)
}

// upload sends the form of upload-json.
func (p *pool) upload(status int, fields ...string) *answer {
	p.t.Helper()
	body, ct := form(fields...)
	return p.want(status, "POST", "/admin/accounts/upload-json", body, "Content-Type", ct)
}

// upload-json of one object answers as the older pool did (2.12).
func TestUploadJSON(t *testing.T) {
	q := &fakeQ{}
	p := newPool(t, q)
	m := p.upload(200, "json_file", sso("a"), "name", "from a file", "profile_arn", profile, "requests_per_minute", "25", "notes", "mine").json()
	sameKeys(t, "the answer", m, "success", "message", "account", "token_refresh")
	acct := m["account"].(map[string]any)
	sameKeys(t, "its account", acct, "id", "name", "client_id", "profile_arn", "is_active", "is_healthy", "created_at")
	if refresh := m["token_refresh"].(map[string]any); acct["name"] != "from a file" || acct["client_id"] != "client-a" || acct["profile_arn"] != profile || refresh["success"] != true || refresh["expires_in"] != 3600.0 {
		t.Errorf("uploaded %v", m)
	}
	n := p.node("/1")
	if c := p.credential(n); n.Limits.RPM != 25 || n.Notes != "mine" || c.Region != "eu-central-1" || c.RefreshToken != "refresh-secret-a" {
		t.Errorf("stored %+v", n)
	}
	q.err = upstream.ErrInvalidGrant
	m = p.upload(201, "json_file", sso("b")).json()
	if refresh := m["token_refresh"].(map[string]any); m["warning"] == nil || refresh["success"] != false || !strings.Contains(refresh["error"].(string), "log in again") {
		t.Errorf("with a token that is refused: %v", m)
	}
	if name := m["account"].(map[string]any)["name"]; name != "AWS-SSO-20260310-123000" {
		t.Errorf("an account without a name is called %v", name)
	}
	// a list is answered as an import
	m = p.upload(200, "json_file", "["+sso("a")+","+sso("c")+`,{"clientId":"x"}]`, "requests_per_minute", "3", "name", "many").json()
	if len(m["taken"].([]any)) != 1 || len(m["skipped"].([]any)) != 2 || m["success"] != true {
		t.Errorf("a list: %v", m)
	}
	if n := p.node("/3"); n.Limits.RPM != 3 || n.Name != "many" {
		t.Errorf("of the list %+v", n)
	}
}

// A bad upload is a 400 that names the field, and nothing is stored.
func TestBadUploads(t *testing.T) {
	p := newPool(t, &fakeQ{})
	p.upload(200, "json_file", sso("here"), "name", "taken")
	many := []string{"json_file", sso("z")}
	for i := range 30 {
		many = append(many, fmt.Sprint("field", i), "x")
	}
	for _, c := range []struct {
		why    string
		fields []string
		status int
		text   string
	}{
		{"no file", []string{"name", "x"}, 400, "json_file"},
		{"an empty file", []string{"json_file", " "}, 400, "json_file"},
		{"no JSON", []string{"json_file", "clientId=x"}, 400, "json_file"},
		{"cut JSON", []string{"json_file", sso("q")[:40]}, 400, "json_file"},
		{"a missing field is named", []string{"json_file", `{"clientId":"x","refreshToken":"y"}`}, 400, "clientSecret"},
		{"another missing field", []string{"json_file", `{"clientId":"x","clientSecret":"y"}`}, 400, "refreshToken"},
		{"an empty list", []string{"json_file", `[]`}, 400, "json_file"},
		{"the same account", []string{"json_file", sso("here")}, 400, "here already"},
		{"a taken name", []string{"json_file", sso("q"), "name", "taken"}, 400, "name"},
		{"a limit in words", []string{"json_file", sso("q"), "requests_per_minute", "many"}, 400, "requests_per_minute"},
		{"a negative limit", []string{"json_file", sso("q"), "requests_per_minute", "-1"}, 400, "requests_per_minute"},
		{"a name with a control character", []string{"json_file", sso("q"), "name", "a\x1bb"}, 400, "name"},
		{"an ARN that is none", []string{"json_file", sso("q"), "profile_arn", "arn:aws:codewhisperer:evil.example/:1:x"}, 400, "profile_arn"},
		{"notes without an end", []string{"json_file", sso("q"), "notes", strings.Repeat("n", 1001)}, 400, "notes"},
		{"thirty fields", many, 400, "fields"},
		{"a field twice", []string{"json_file", sso("q"), "json_file", sso("r")}, 400, "twice"},
		{"two MiB", []string{"json_file", strings.Repeat(" ", 2<<20) + sso("q")}, 413, "1 MiB"},
		{"a field of two MiB behind a good file", []string{"json_file", sso("q"), "notes", strings.Repeat("n", 2<<20)}, 413, "1 MiB"},
		{"deep", []string{"json_file", strings.Repeat("[", 100_000)}, 400, "json_file"},
	} {
		if a := p.upload(c.status, c.fields...); !strings.Contains(a.body, c.text) || len(a.body) > 600 {
			t.Errorf("%s: %s", c.why, a.body)
		}
	}
	body, ct := form("json_file", sso("q"))
	p.want(400, "POST", "/admin/accounts/upload-json", body, "Content-Type", "application/json")
	p.want(400, "POST", "/admin/accounts/upload-json", body[:len(body)-20], "Content-Type", ct)
	p.want(400, "POST", "/admin/accounts/upload-json", body, "Content-Type", "multipart/form-data")
	if l := p.want(200, "GET", "/admin/accounts", "").list(); len(l) != 1 {
		t.Errorf("something refused was stored: %v", l)
	}
}

// names are those of the accounts that an import tells of.
func names(m map[string]any) (names []any) {
	for _, a := range m["taken"].([]any) {
		names = append(names, a.(map[string]any)["name"])
	}
	return names
}

// An import takes every form, tells of each entry, and can be repeated.
func TestImport(t *testing.T) {
	p := newPool(t, &fakeQ{})
	lines := strings.Join([]string{
		"label one|client-l1|client-secret-l1|aorrefresh-secret-l1|access|project|endpoint",
		"me@example.com|password-of-mail|client-l2|client-secret-l2|aorrefresh-secret-l2|access",
		"broken|line",
	}, "\n")
	env := "# v1\nPORT=8080\nAMAZONQ_REFRESH_TOKEN=refresh-secret-env\nAMAZONQ_CLIENT_ID=client-env\nAMAZONQ_CLIENT_SECRET=client-secret-env\nAMAZONQ_PROFILE_ARN=" + profile + "\n"
	for _, c := range []struct {
		why, body, contentType string
		taken, skipped         int
	}{
		{"a list as text", "[" + sso("1") + "," + sso("2") + "]", "text/plain", 2, 0},
		{"one object as text", sso("3"), "text/plain; charset=utf-8", 1, 0},
		{"one object as JSON", sso("4"), "application/json", 1, 0},
		{"lines in JSON", `{"text":` + quote(lines) + `}`, "application/json", 2, 1},
		{"a .env", env, "text/plain", 1, 0},
		{"an API key", "ksk_secretsecretsecret", "text/plain", 1, 0},
		{"a part that is there already", "[" + sso("2") + "," + sso("5") + "]", "text/plain", 1, 1},
		{"an account that is switched off", strings.Replace(sso("6"), "{", `{"enabled":false,"name":"off","requests_per_minute":7,`, 1), "text/plain", 1, 0},
	} {
		before := len(p.want(200, "GET", "/admin/accounts", "").list())
		dry := p.want(200, "POST", "/admin/accounts/import?dry_run=true", c.body, "Content-Type", c.contentType).json()
		if taken := dry["taken"].([]any); len(taken) != c.taken || len(dry["skipped"].([]any)) != c.skipped || dry["dry_run"] != true || taken[0].(map[string]any)["id"] != nil {
			t.Errorf("%s: a dry run tells %v", c.why, dry)
		}
		if n := len(p.want(200, "GET", "/admin/accounts", "").list()); n != before {
			t.Errorf("%s: a dry run made %d accounts", c.why, n-before)
		}
		for _, again := range []bool{false, true} {
			m := p.want(200, "POST", "/admin/accounts/import", c.body, "Content-Type", c.contentType).json()
			if m["dry_run"] != nil || !again && fmt.Sprint(names(m)) != fmt.Sprint(names(dry)) {
				t.Errorf("%s: the dry run told %v, made were %v", c.why, names(dry), names(m))
			}
			taken, skipped := len(m["taken"].([]any)), len(m["skipped"].([]any))
			if !again && (taken != c.taken || skipped != c.skipped) || again && (taken != 0 || skipped != c.taken+c.skipped) {
				t.Errorf("%s (again: %v): %v", c.why, again, m)
			}
			for _, s := range m["skipped"].([]any) {
				if e := s.(map[string]any); e["entry"] == "" || e["why"] == "" {
					t.Errorf("%s: skipped without a reason: %v", c.why, e)
				}
			}
		}
	}
	p.refused("dry_run", "POST", "/admin/accounts/import?dry_run=perhaps", sso("z"), "a dry run in words")
	named := make(map[any]bool)
	l := p.want(200, "GET", "/admin/accounts", "").list()
	for _, a := range l {
		if named[a["name"]] {
			t.Errorf("two accounts are called %v", a["name"])
		}
		named[a["name"]] = true
		if a["name"] == "off" && (a["is_active"] != false || a["requests_per_minute"] != 7.0) || a["name"] != "off" && a["requests_per_minute"] != 10.0 {
			t.Errorf("imported %v", a)
		}
	}
	if len(l) != 10 || !named["label one"] || !named["me@example.com"] {
		t.Errorf("%d accounts: %v", len(l), named)
	}
	if strings.Contains(p.want(200, "GET", "/admin/accounts", "").body, "password-of-mail") {
		t.Error("a mail password was kept")
	}
	for _, body := range []string{"", "hello", "[", `{"text":7}`, `{"text":""}`, "\xff\xfe", strings.Repeat("a|b|c|d\n", 300_000)} {
		a := p.call("POST", "/admin/accounts/import", body, "x-admin-key", poolAdmin)
		if want := http.StatusBadRequest; a.status != want && a.status != http.StatusRequestEntityTooLarge && !strings.Contains(a.body, `"taken":[]`) {
			t.Errorf("%.20q: status %d: %.300s", body, a.status, a.body)
		}
	}
}
