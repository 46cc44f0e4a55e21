package adminapi_test

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sluice/shared/audit"
	"sluice/shared/store"
	"sluice/shared/web"
)

// TestSecretsStayOut: whatever takes a secret, the log holds none of it, nor a hash or a sealed form, and no answer shows any.
func TestSecretsStayOut(t *testing.T) {
	p := newPool(t, nil)
	n := 0
	marker := func() string { n++; return fmt.Sprintf("MARKER%dsecretvalue", n) }
	acc := p.id(p.want(201, "POST", "/admin/api/accounts", `{"name":"s","proxy_api_key":"`+marker()+`","password":"`+marker()+`"}`), "id")
	p.want(200, "PUT", "/admin/api/accounts?id="+acc, `{"proxy_api_key":"`+marker()+`","password":"`+marker()+`"}`)
	node := p.made(acc, `{"name":"n","base_url":"https://u.example/v1","api_key":"`+marker()+`"}`)
	p.want(200, "PUT", "/admin/api/nodes?id="+node, `{"api_key":"`+marker()+`"}`)
	p.call("PUT", "/admin/api/nodes?id="+node, `{"base_url":"https://user:`+marker()+`@u.example/v1?key=`+marker()+`"}`, "x-admin-key", poolAdmin)
	q := func(name string) string {
		return fmt.Sprintf(`{"name":%q,"refresh_token":%q,"client_id":"c-%s","client_secret":%q}`, name, marker(), name, marker())
	}
	path := fmt.Sprintf("/admin/accounts/%v", p.want(200, "POST", "/admin/accounts", q("one")).json()["id"])
	p.want(200, "PUT", path, q("one"))
	p.want(200, "PUT", path, `{"api_key":"ksk_`+marker()+`"}`)
	p.want(200, "POST", "/admin/accounts/import", "a|client-a|"+marker()+"|aor"+marker()+"\n")
	p.want(200, "POST", "/admin/accounts/import", "ksk_"+marker()+"\n")
	channels := []string{
		`{"name":"w","channel_type":"webhook","config":{"url":"https://hooks.example/` + marker() + `?token=` + marker() + `","secret":"` + marker() + `","headers":{"X-Auth":"` + marker() + `"}}}`,
		`{"name":"s","channel_type":"slack","config":{"webhook_url":"https://hooks.slack.com/services/T/B/` + marker() + `"}}`,
		`{"name":"t","channel_type":"telegram","config":{"bot_token":"123456:` + marker() + `AAAAAAAAAAAAAAAAAAAAAAAA","chat_id":"@channel"}}`,
		`{"name":"e","channel_type":"email","config":{"host":"smtp.example","username":"u","password":"` + marker() + `","from":"a@example.com","to":["b@example.com"]}}`,
		`{"name":"a","channel_type":"sns","config":{"topic_arn":"arn:aws:sns:us-east-1:123456789012:topic","access_key_id":"AKIAIOSFODNN7EXAMPLE","secret_access_key":"` + marker() + `","session_token":"` + marker() + `"}}`,
	}
	for i, c := range channels {
		id := p.id(p.want(201, "POST", "/api/notification/channels", c), "id")
		p.want(200, "PUT", "/api/notification/channels/"+id, c)
		if i%2 == 0 {
			p.want(200, "DELETE", "/api/notification/channels/"+id, "")
		}
	}
	p.call("POST", "/login", "username="+marker()+"&password=x", "Content-Type", "application/x-www-form-urlencoded")
	p.call("POST", "/login", "admin_key="+marker(), "Content-Type", "application/x-www-form-urlencoded")
	p.call("GET", "/admin?admin_key="+marker(), "", "Accept", "text/html")
	p.call("DELETE", "/admin/api/keys?id=1&admin_key="+marker(), "", "x-admin-key", poolAdmin)
	shared := p.shared("default", "1h")["token"].(string)
	made := p.key("default", `{"name":"made","nodes":true}`)
	p.want(200, "DELETE", path, "")
	p.want(200, "DELETE", "/admin/api/accounts?id="+acc, "")

	var all strings.Builder
	docs, err := p.store.List(t.Context(), store.KindAudit, "", "", 1000)
	if err != nil || len(docs) < 25 {
		t.Fatalf("%d entries, %v", len(docs), err)
	}
	for _, d := range docs {
		all.Write(d.Body)
		if len(d.Body) > 2*audit.MaxFields+8<<10 {
			t.Errorf("entry %s has %d bytes", d.ID, len(d.Body))
		}
	}
	for _, target := range []string{"/api/audit?limit=500", "/api/audit/export", "/api/audit/export?format=csv"} {
		all.WriteString(p.want(200, "GET", target, "").body)
	}
	text := all.String()
	forbidden := []string{"secretvalue", "$2a$", "v1.1.", shared, made, p.box.Hash(shared), p.box.Hash(made), poolAdmin, "AKIAIOSFODNN7EXAMPLE"}
	for i := range n + 1 {
		forbidden = append(forbidden, p.box.Hash(fmt.Sprintf("MARKER%dsecretvalue", i)))
	}
	for _, s := range forbidden {
		if at := strings.Index(text, s); at >= 0 {
			t.Errorf("the log shows %q: ...%s...", s, text[max(0, at-200):min(len(text), at+50)])
		}
	}
	if !strings.Contains(text, p.box.Hash(made)[:8]) {
		t.Error("no fingerprint of a key: this test has lost its eyes")
	}
}

// TestAuditIsIsolated: an account sees what was done to it, of the operator no more than that it was the operator, and nothing of
// another account.
func TestAuditIsIsolated(t *testing.T) {
	p := newPool(t, nil)
	w := p.everything("acc-beta")
	key := p.key("acc-beta", `{"name":"betas-own","nodes":true}`)
	client := p.key("acc-beta", `{"name":"client"}`)
	p.made("default", `{"name":"secret-of-default","base_url":"https://x.example","api_key":"k-1234567890"}`)
	if a := p.call("PUT", "/admin/api/nodes?id="+w.node, `{"weight":9}`, "x-api-key", key, "User-Agent", "betas-agent"); a.status != 200 {
		t.Fatal(a.body)
	}
	for _, target := range []string{"/api/audit", "/api/audit?account_id=acc-beta", "/api/audit/export", "/api/audit/export?format=csv"} {
		a := p.call("GET", target, "", "x-api-key", key, "User-Agent", "reader")
		if a.status != 200 || !strings.Contains(a.body, "betas-own") || !strings.Contains(a.body, "betas-agent") || !strings.Contains(a.body, "operator") || !strings.Contains(a.body, "192.0.2.1") {
			t.Errorf("%s: %d %s", target, a.status, a.body)
		}
		for _, s := range []string{"secret-of-default", "ADMIN_API_KEY", "default"} {
			if strings.Contains(a.body, s) {
				t.Errorf("%s shows %q: %s", target, s, a.body)
			}
		}
	}
	for _, e := range items(p.call("GET", "/api/audit?actor=operator", "", "x-api-key", key), "entries") {
		if e["address"] != nil || e["user_agent"] != nil || e["request_id"] != nil || e["prev"] != "" || e["hash"] != nil || e["account_id"] != "acc-beta" {
			t.Errorf("of the operator: %v", e)
		}
	}
	if got := items(p.call("GET", "/api/audit?actor=ADMIN_API_KEY", "", "x-api-key", key), "entries"); len(got) != 0 {
		t.Errorf("what is hidden can be asked for: %v", got)
	}
	for _, c := range []struct {
		why, key, target string
		status           int
	}{
		{"another's log", key, "/api/audit?account_id=default", 403},
		{"an account that is not", key, "/api/audit?account_id=acc-nobody", 403},
		{"another's export", key, "/api/audit/export?account_id=default", 403},
		{"the chain of all", key, "/api/audit/verify", 403},
		{"a key that only calls models", client, "/api/audit", 403},
		{"such a key's export", client, "/api/audit/export", 403},
		{"nobody", "", "/api/audit", 401},
		{"nobody's export", "", "/api/audit/export", 401},
		{"nobody's verification", "", "/api/audit/verify", 401},
	} {
		if a := p.call("GET", c.target, "", "x-api-key", c.key); a.status != c.status {
			t.Errorf("%s: status %d, want %d: %s", c.why, a.status, c.status, a.body)
		}
	}
}

// TestAuditPagesAndFilters: newest first, each entry once.
func TestAuditPagesAndFilters(t *testing.T) {
	p := newPool(t, nil)
	for i := range 12 {
		p.key([]string{"default", "acc-beta"}[i%2], fmt.Sprintf(`{"name":"k%d"}`, i))
		p.advance(time.Minute)
	}
	seen, cursor := 0, ""
	for last := int64(1 << 40); ; {
		a := p.want(200, "GET", "/api/audit?limit=5&cursor="+cursor, "").json()
		for _, e := range a["entries"].([]any) {
			n := int64(e.(map[string]any)["seq"].(float64))
			if n >= last {
				t.Fatalf("%d after %d", n, last)
			}
			last = n
			seen++
		}
		if cursor = a["next_cursor"].(string); cursor == "" {
			break
		}
	}
	if seen != 12 {
		t.Errorf("%d entries", seen)
	}
	for query, want := range map[string]int{"account_id=acc-beta": 6, "action=key": 12, "action=key.create": 12, "action=node": 0, "object=key/3": 1, "object=key": 12, "actor=ADMIN_API_KEY": 12,
		"actor=key": 12, "actor=nobody": 0, "from=2026-03-10T12:32:00Z&to=2026-03-10T12:35:00Z": 3, "account_id=acc-none": 0} {
		if got := len(items(p.want(200, "GET", "/api/audit?"+query, ""), "entries")); got != want {
			t.Errorf("%s: %d entries, want %d", query, got, want)
		}
	}
	for field, query := range map[string]string{"limit": "limit=0", "cursor": "cursor=x", "from": "from=yesterday", "account_id": "account_id=" + strings.Repeat("a", 300), "action": "action=" + strings.Repeat("a", 300)} {
		p.refused(field, "GET", "/api/audit?"+query, "", "bad "+field)
	}
	p.refused("cursor", "GET", "/api/audit?cursor=-1", "", "a negative cursor")
	p.refused("limit", "GET", "/api/audit?limit=501", "", "a limit that is too large")
	p.refused("format", "GET", "/api/audit/export?format=xml", "", "an unknown format")
	p.refused("head", "GET", "/api/audit/verify?head=abc", "", "a head that is none")
	p.serve(func(o *optionsOf) { o.Audit = nil })
	for _, target := range []string{"/api/audit", "/api/audit/export", "/api/audit/verify"} {
		p.want(503, "GET", target, "")
	}
	p.want(201, "POST", "/admin/api/keys", `{"name":"without a log"}`)
}

// TestAuditExport: the lines are the chain itself, also in parts; CSV is one that no spreadsheet takes for formulas.
func TestAuditExport(t *testing.T) {
	p := newPool(t, nil)
	for i := range 30 {
		p.key("default", fmt.Sprintf(`{"name":"=cmd %d"}`, i))
	}
	a := p.want(200, "GET", "/api/audit/export", "")
	if v, err := audit.VerifyExport(strings.NewReader(a.body), ""); err != nil || !v.OK || v.Entries != 30 {
		t.Errorf("%+v, %v", v, err)
	}
	if ct, cd := a.header.Get("Content-Type"), a.header.Get("Content-Disposition"); !strings.HasPrefix(ct, "application/x-ndjson") || cd != `attachment; filename="sluice-audit-20260310T123000Z.jsonl"` {
		t.Errorf("%s, %s", ct, cd)
	}
	var parts strings.Builder
	cursor, n := "", 0
	for {
		part := p.want(200, "GET", "/api/audit/export?limit=7&to=2030-01-01T00:00:00Z&action=key&cursor="+cursor, "")
		parts.WriteString(part.body)
		n++
		if cursor = part.header.Get("X-Next-Cursor"); cursor == "" {
			break
		}
	}
	if v, err := audit.VerifyExport(strings.NewReader(parts.String()), ""); err != nil || v.Entries != 30 || n != 5 {
		t.Errorf("%d parts: %+v, %v", n, v, err)
	}
	rows, err := csv.NewReader(strings.NewReader(p.want(200, "GET", "/api/audit/export?format=csv&action=key", "").body)).ReadAll()
	if err != nil || len(rows) != 31 || len(rows[0]) != len(rows[1]) || rows[0][13] != "object_name" || rows[1][13] != "'=cmd 0" {
		t.Errorf("%d rows, %v: %v", len(rows), err, rows[1])
	}
	for _, c := range []struct{ why, name, want string }{
		{"a cell behind a semicolon, which parts them in many countries", "a;=1+1;b", "a;'=1+1;b"},
		{"a wide sign", "＝1+1", "'＝1+1"},
	} {
		p.key("default", fmt.Sprintf(`{"name":%q}`, c.name))
		rows, err := csv.NewReader(strings.NewReader(p.want(200, "GET", "/api/audit/export?format=csv&action=key", "").body)).ReadAll()
		if err != nil || rows[len(rows)-1][13] != c.want {
			t.Errorf("%s: %v, %v", c.why, err, rows[len(rows)-1])
		}
	}
	// the exports themselves are in the log
	if got := len(items(p.want(200, "GET", "/api/audit?action=audit.export", ""), "entries")); got != 9 {
		t.Errorf("%d exports are in the log", got)
	}
}

// TestAuditOfNothing: a tenant who repeats a call that changes nothing does not fill the store with entries.
func TestAuditOfNothing(t *testing.T) {
	p := newPool(t, nil)
	key := p.key("acc-beta", `{"name":"own","nodes":true}`)
	for range 60 {
		if a := p.call("GET", "/api/audit/export", "", "x-api-key", key); a.status != 200 {
			t.Fatal(a.status, a.body)
		}
		p.want(200, "GET", "/api/audit/export", "")
	}
	for account, want := range map[string]int{"acc-beta": maxIdle + 1, "default": 60} {
		if got := len(items(p.want(200, "GET", "/api/audit?limit=500&action=audit.export&account_id="+account, ""), "entries")); got != want {
			t.Errorf("%s: %d entries, want %d", account, got, want)
		}
	}
}

// maxIdle is how many entries a minute tell of a tenant's calls that changed nothing; one more says that others follow.
const maxIdle = 30

// TestAuditExportInOnePiece: where an answer may have only so many bytes, the export says where to go on.
func TestAuditExportInOnePiece(t *testing.T) {
	p := newPool(t, nil)
	for i := range 300 {
		p.key("default", fmt.Sprintf(`{"name":"k%d","description":%q}`, i, strings.Repeat("\"", 400)))
	}
	ask := func(cursor string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/api/audit/export?action=key&cursor="+cursor, nil)
		r.Header.Set("X-Admin-Key", poolAdmin)
		r = r.WithContext(web.WithAnswerLimit(r.Context(), 200<<10))
		w := httptest.NewRecorder()
		p.h.ServeHTTP(w, r)
		return w
	}
	var all strings.Builder
	cursor, parts := "", 0
	for {
		w := ask(cursor)
		if w.Code != http.StatusOK || w.Body.Len() > 200<<10 {
			t.Fatalf("status %d, %d bytes", w.Code, w.Body.Len())
		}
		all.Write(w.Body.Bytes())
		parts++
		if cursor = w.Header().Get("X-Next-Cursor"); cursor == "" {
			break
		}
	}
	if v, err := audit.VerifyExport(strings.NewReader(all.String()), ""); err != nil || !v.OK || v.Entries != 300 || parts < 3 {
		t.Errorf("%d parts: %+v, %v", parts, v, err)
	}
}

// fewPages is a store that fails after some pages.
type fewPages struct {
	store.Docs
	left int
}

func (d *fewPages) List(ctx context.Context, kind, account, after string, limit int) ([]store.Doc, error) {
	if kind == store.KindAudit {
		if d.left--; d.left < 0 {
			return nil, errors.New("connection to 10.0.0.9 lost")
		}
	}
	return d.Docs.List(ctx, kind, account, after, limit)
}

// TestAuditExportBrokenOff: a file that the store did not let end does not look like a whole one.
func TestAuditExportBrokenOff(t *testing.T) {
	p := newPool(t, nil)
	for range 250 {
		p.key("default", `{"name":"k"}`)
	}
	docs := &fewPages{Docs: p.store, left: 1}
	p.serve(func(o *optionsOf) {
		o.Audit = audit.New(audit.Options{Docs: docs, Now: p.clock, Hash: p.box.Hash, Open: p.box.Open})
	})
	func() {
		defer func() {
			if got := recover(); got != http.ErrAbortHandler {
				t.Errorf("it ended as if it were whole: %v", got)
			}
		}()
		p.call("GET", "/api/audit/export", "", "x-admin-key", poolAdmin)
	}()
	docs.left = 0
	if a := p.call("GET", "/api/audit/export", "", "x-admin-key", poolAdmin); a.status != 500 || strings.Contains(a.body, "10.0.0.9") {
		t.Errorf("nothing was sent yet: %d %s", a.status, a.body)
	}
}

// TestAuditVerifyRoute: a spoilt entry is named, and so is a head that is not there.
func TestAuditVerifyRoute(t *testing.T) {
	p := newPool(t, nil)
	for range 5 {
		p.key("default", `{"name":"k"}`)
	}
	v := p.want(200, "GET", "/api/audit/verify", "").json()
	if v["ok"] != true || v["entries"] != 5.0 || v["first"] != 1.0 || v["last"] != 5.0 || len(v["head"].(string)) != 64 {
		t.Errorf("%v", v)
	}
	if v := p.want(200, "GET", "/api/audit/verify?head="+strings.ToUpper(v["head"].(string)), "").json(); v["ok"] != true {
		t.Errorf("with its own head: %v", v)
	}
	if v := p.want(200, "GET", "/api/audit/verify?head="+strings.Repeat("ab", 32), "").json(); v["ok"] != false || v["broken_at"] == nil {
		t.Errorf("with another head: %v", v)
	}
	d, err := p.store.Get(t.Context(), store.KindAudit, fmt.Sprintf("%019d", 3))
	if err != nil {
		t.Fatal(err)
	}
	d.Body = []byte(strings.Replace(string(d.Body), `"result":"ok"`, `"result":"no"`, 1))
	if _, err := p.store.Replace(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if v := p.want(200, "GET", "/api/audit/verify", "").json(); v["ok"] != false || v["broken_at"] != 3.0 || !strings.Contains(v["reason"].(string), "changed") {
		t.Errorf("spoilt: %v", v)
	}
}
