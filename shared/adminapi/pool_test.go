package adminapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/adminapi"
	"sluice/shared/audit"
	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/health"
	"sluice/shared/seal"
	"sluice/shared/seal/sealtest"
	"sluice/shared/store"
	"sluice/shared/store/memory"
	"sluice/shared/upstream"
	"sluice/shared/upstream/amazonq"
	"sluice/shared/web"
)

const (
	poolAdmin  = "operator-key-of-this-pool"
	profile    = "arn:aws:codewhisperer:us-east-1:123456789012:profile/ABCDEFGHIJKL"
	guideBody  = `{"name": "主账号", "refresh_token": "your_refresh_token_from_env", "client_id": "your_client_id_from_env", "client_secret": "your_client_secret_from_env", "profile_arn": "your_profile_arn_from_env", "requests_per_minute": 10}`
	deviceCode = "the-device-code-of-the-login"
)

// quiet is what no answer may show.
var quiet = []string{"your_refresh_token_from_env", "your_client_secret_from_env", deviceCode, "refresh-secret-", "client-secret-", "ksk_secret", "bedrock-secret-"}

// pool is the API over an empty store, with a fake client of Amazon Q and a clock that the test moves.
type pool struct {
	t      *testing.T
	h      http.Handler
	tables *store.Tables
	store  *memory.Store
	box    *seal.Box
	health *health.Tracker
	q      *fakeQ
	watching
	mu  sync.Mutex
	now time.Time
}

// fakeQ is a Pool that answers what the test says.
type fakeQ struct {
	mu      sync.Mutex
	err     error
	status  adminapi.LoginStatus
	began   []adminapi.LoginPlace
	polls   []adminapi.DeviceLogin
	forgot  []string
	noToken bool
	told    func()         // called before a poll is answered
	quota   *amazonq.Quota // nil: one with room
}

func (q *fakeQ) BeginLogin(_ context.Context, w adminapi.LoginPlace) (adminapi.DeviceLogin, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.began = append(q.began, w)
	return adminapi.DeviceLogin{LoginPlace: w, ClientID: "registered-client", ClientSecret: core.NewSecret("client-secret-of-login"), DeviceCode: core.NewSecret(deviceCode),
		UserCode: "ABCD-EFGH", VerificationURI: "https://device.sso.us-east-1.amazonaws.com/", VerificationURIComplete: "https://device.sso.us-east-1.amazonaws.com/?user_code=ABCD-EFGH",
		ExpiresIn: 10 * time.Minute, Interval: 5 * time.Second}, q.err
}

func (q *fakeQ) PollLogin(_ context.Context, l adminapi.DeviceLogin) (adminapi.LoginStatus, upstream.Grant, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.polls = append(q.polls, l)
	if q.told != nil {
		q.told()
	}
	var g upstream.Grant
	if q.status == adminapi.LoginComplete && !q.noToken {
		g = upstream.Grant{Access: core.NewSecret("access"), Refresh: core.NewSecret("refresh-secret-of-login")}
	}
	return q.status, g, q.err
}

func (q *fakeQ) Refresh(context.Context, core.Node) (time.Duration, error) { return time.Hour, q.err }

func (q *fakeQ) TokenInfo(context.Context, core.Node) (adminapi.TokenInfo, error) {
	at := time.Unix(1_900_000_000, 0).UTC()
	return adminapi.TokenInfo{Cached: true, ExpiresAt: &at, Valid: true}, nil
}

func (q *fakeQ) Quota(context.Context, core.Node) (amazonq.Quota, error) {
	if q.quota != nil {
		return *q.quota, q.err
	}
	return amazonq.Quota{Subscription: "KIRO PRO", Usage: amazonq.Usage{Resource: "CREDIT", Used: 12.5, Limit: 1000}}, q.err
}

func (q *fakeQ) Forget(_ context.Context, node string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.forgot = append(q.forgot, node)
	return nil
}

func (p *pool) clock() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *pool) advance(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = p.now.Add(d)
}

// newPool starts the API; with is its client, nil for none.
func newPool(t *testing.T, with *fakeQ) *pool {
	t.Helper()
	return newPoolOver(t, with, nil)
}

// newPoolOver is newPool over what docs makes of the store; nil for the store itself.
func newPoolOver(t *testing.T, with *fakeQ, docs func(store.Docs) store.Docs) *pool {
	t.Helper()
	p := &pool{t: t, store: memory.New(), q: with, now: time.Date(2026, 3, 10, 12, 30, 0, 0, time.UTC)}
	over := store.Docs(p.store)
	if docs != nil {
		over = docs(over)
	}
	over = audit.Watch(over)
	p.tables = store.NewTables(over, p.clock)
	p.box = sealtest.Box(t)
	for _, id := range []string{core.DefaultAccount, "acc-beta"} {
		if _, err := p.tables.Accounts.Create(t.Context(), core.Account{ID: id, Name: id}); err != nil {
			t.Fatal(err)
		}
	}
	admin := core.NewSecret(poolAdmin)
	log := slog.New(slog.DiscardHandler)
	p.health = health.New(health.Options{States: p.tables.States, Log: log, Now: p.clock})
	o := adminapi.Options{Tables: p.tables, Usage: p.store, Budgets: p.store, Box: p.box, Kinds: []core.Kind{core.KindAnthropic, core.KindOpenAI, core.KindAmazonQ, core.KindBedrock}, AdminKey: admin, Log: log, Now: p.clock,
		Docs: over, Health: p.health, Directory: directory.New(directory.Options{Tables: p.tables, Generations: p.store, Box: p.box, AdminKey: admin, Now: p.clock})}
	if with != nil {
		o.Pool = with
	}
	o.Audit = audit.New(audit.Options{Docs: p.store, Now: p.clock, Keep: 365 * 24 * time.Hour, Hash: p.box.Hash, Open: p.box.Open})
	p.watch(&o, over)
	p.h = web.Wrap(adminapi.New(o), web.Options{Log: log, Error: adminapi.WriteError, Draining: &web.Drain{}})
	return p
}

// answer is what came back.
type answer struct {
	t      *testing.T
	status int
	header http.Header
	body   string
}

func (a *answer) json() map[string]any {
	a.t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(a.body), &m); err != nil {
		a.t.Fatalf("no JSON object: %s", a.body)
	}
	return m
}

func (a *answer) list() []map[string]any {
	a.t.Helper()
	var l []map[string]any
	if err := json.Unmarshal([]byte(a.body), &l); err != nil {
		a.t.Fatalf("no JSON list: %s", a.body)
	}
	return l
}

// call sends a request; headers are names and values in turn. No answer may show a secret, and an error is told twice.
func (p *pool) call(method, target, body string, headers ...string) *answer {
	p.t.Helper()
	r := httptest.NewRequestWithContext(p.t.Context(), method, target, strings.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	p.h.ServeHTTP(w, r)
	a := &answer{t: p.t, status: w.Code, header: w.Result().Header, body: w.Body.String()}
	for _, s := range quiet {
		if strings.Contains(a.body, s) {
			p.t.Errorf("%s %s shows %q: %s", method, target, s, a.body)
		}
	}
	if a.status >= 400 && strings.HasPrefix(a.header.Get("Content-Type"), "application/json") && strings.HasPrefix(target, "/admin/accounts") {
		if m := a.json(); m["error"] == "" || m["detail"] != m["error"] || len(m) != 2 {
			p.t.Errorf("%s %s: an error is told as detail and as error: %s", method, target, a.body)
		}
	}
	return a
}

// want is call with the operator's key and a status that it must have.
func (p *pool) want(status int, method, target, body string, headers ...string) *answer {
	p.t.Helper()
	a := p.call(method, target, body, append([]string{"Authorization", "Bearer " + poolAdmin}, headers...)...)
	if a.status != status {
		p.t.Fatalf("%s %s %.200s: status %d, want %d: %s", method, target, body, a.status, status, a.body)
	}
	return a
}

// refused fails the test unless the call is a 400 that names the field.
func (p *pool) refused(field, method, target, body, why string) {
	p.t.Helper()
	a := p.call(method, target, body, "x-admin-key", poolAdmin)
	text, _ := a.json()["error"].(string)
	if a.status != 400 || !strings.HasPrefix(text, field) || len(text) > 300 || strings.ContainsAny(text, "\r\x00\x1b<") {
		p.t.Errorf("%s: status %d: %s", why, a.status, a.body)
	}
}

// key makes a key of an account.
func (p *pool) key(account, body string) string {
	p.t.Helper()
	return p.want(201, "POST", "/admin/api/keys?account_id="+account, body).json()["key"].(string)
}

// add makes an account and returns its path.
func (p *pool) add(name string) string {
	p.t.Helper()
	m := p.want(200, "POST", "/admin/accounts", fmt.Sprintf(`{"name":%q,"refresh_token":"refresh-secret-%s","client_id":"client-%s","client_secret":"client-secret-%s"}`, name, name, name, name)).json()
	return fmt.Sprintf("/admin/accounts/%v", m["id"])
}

// node reads the node behind a path.
func (p *pool) node(path string) core.Node {
	p.t.Helper()
	r, err := p.tables.Nodes.Get(p.t.Context(), path[strings.LastIndex(path, "/")+1:])
	if err != nil {
		p.t.Fatal(err)
	}
	return r.Value
}

// credential reads the credential of a node.
func (p *pool) credential(n core.Node) amazonq.Credential {
	p.t.Helper()
	s, err := p.box.Open(directory.CredentialOwner(n.ID), n.Credential)
	if err != nil {
		p.t.Fatal(err)
	}
	c, err := amazonq.ParseCredential(s)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// used records a request.
func (p *pool) used(id string, at time.Time, n core.Node, in, out int64) {
	p.t.Helper()
	rec := core.Settlement{RequestID: id, Account: n.Account, Key: "2", Node: n.ID, NodeName: n.Name, Endpoint: "/v1/messages", Dialect: core.DialectAnthropic, Model: "claude-sonnet-4.5",
		Status: 200, Attempts: 1, Tokens: core.Tokens{Input: in, Output: out}, StartedAt: at, EndedAt: at}
	if err := p.store.Settle(p.t.Context(), store.SettleRequest{ID: id, Account: n.Account, Now: at, Zone: time.UTC, Record: rec}); err != nil {
		p.t.Fatal(err)
	}
}

func keysOf(m map[string]any) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func sameKeys(t *testing.T, what string, m map[string]any, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := keysOf(m); !slices.Equal(got, want) {
		t.Errorf("%s has the fields\n%v, want\n%v", what, got, want)
	}
}

var accountFields = []string{"id", "name", "profile_arn", "is_active", "is_healthy", "total_requests", "total_tokens", "last_used", "last_health_check", "health_check_error",
	"error_count", "last_error_time", "first_error_time", "auto_recover_at", "requests_per_minute", "current_rpm", "rpm_reset_at", "created_at", "updated_at", "notes"}

// form is a multipart form; fields are names and values in turn, json_file is sent as a file.
func form(fields ...string) (body, contentType string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] == "json_file" {
			f, _ := w.CreateFormFile("json_file", "token.json")
			_, _ = f.Write([]byte(fields[i+1]))
			continue
		}
		_ = w.WriteField(fields[i], fields[i+1])
	}
	_ = w.Close()
	return b.String(), w.FormDataContentType()
}

// The guide's step 8 without a key gets 401 and learns which header to send; with one it makes an account (2.17.3).
func TestGuideB_AddAccount(t *testing.T) {
	p := newPool(t, &fakeQ{})
	a := p.call("POST", "/admin/accounts", guideBody, "Content-Type", "application/json")
	if text, _ := a.json()["detail"].(string); a.status != 401 || !strings.Contains(text, "Authorization: Bearer <admin key>") || !strings.Contains(text, "x-admin-key") {
		t.Errorf("without a key: %d %s", a.status, a.body)
	}
	if a := p.call("POST", "/admin/accounts", guideBody, "Authorization", "Bearer nobody-knows-this-key"); a.status != 401 {
		t.Errorf("with an unknown key: %d %s", a.status, a.body)
	}
	client := p.key("default", `{"name":"client"}`)
	if a := p.call("POST", "/admin/accounts", guideBody, "Authorization", "Bearer "+client); a.status != 403 {
		t.Errorf("with a key that may not: %d %s", a.status, a.body)
	}
	made := p.want(200, "POST", "/admin/accounts", guideBody).json()
	sameKeys(t, "the new account, whose profile is none", made, append([]string{"warning"}, accountFields...)...)
	if made["id"] != 1.0 || made["name"] != "主账号" || made["is_active"] != true || made["is_healthy"] != true || made["requests_per_minute"] != 10.0 || made["profile_arn"] != nil {
		t.Errorf("made %v", made)
	}
	n := p.node("/1")
	if c := p.credential(n); n.Kind != core.KindAmazonQ || n.Account != "default" || n.Limits.RPM != 10 || c.RefreshToken != "your_refresh_token_from_env" || c.ClientID != "your_client_id_from_env" || c.ClientSecret != "your_client_secret_from_env" {
		t.Errorf("stored %+v", n)
	}
	p.refused("name", "POST", "/admin/accounts", guideBody, "the same name again")
	for _, f := range []string{"name", "refresh_token", "client_id", "client_secret"} {
		p.refused(f, "POST", "/admin/accounts", strings.Replace(strings.Replace(guideBody, "主账号", "other", 1), `"`+f+`"`, `"x"`, 1), f+" is missing")
	}
	// the batch script of question 3
	for i := range 3 {
		p.want(200, "POST", "/admin/accounts", fmt.Sprintf(`{"name": "账号%d", "refresh_token": "...", "client_id": "...", "client_secret": "..."}`, i+1))
	}
	if l := p.want(200, "GET", "/admin/accounts", "").list(); len(l) != 4 || l[3]["name"] != "账号3" {
		t.Errorf("listed %v", l)
	}
}

// Shapes and verbs of an account (2.5).
func TestPoolAccount(t *testing.T) {
	q := &fakeQ{}
	p := newPool(t, q)
	first, second := p.add("first"), p.add("second")
	got := p.want(200, "GET", first, "").json()
	sameKeys(t, "an account", got, accountFields...)
	if got["notes"] != nil || got["last_used"] != nil || got["current_rpm"] != 0.0 || got["error_count"] != 0.0 {
		t.Errorf("a new account: %v", got)
	}
	p.used("r1", p.clock(), p.node(first), 100, 20)
	p.used("r2", p.clock(), p.node(first), 1, 2)
	put := p.want(200, "PUT", first, `{"name":"renamed","notes":"two\r\nlines","requests_per_minute":0,"profile_arn":"`+profile+`","is_active":false}`).json()
	if put["name"] != "renamed" || put["notes"] != "two\nlines" || put["requests_per_minute"] != 0.0 || put["profile_arn"] != profile || put["is_active"] != false ||
		put["total_requests"] != 2.0 || put["total_tokens"] != 123.0 || put["last_used"] == nil {
		t.Errorf("edited %v", put)
	}
	if c := p.credential(p.node(first)); c.RefreshToken != "refresh-secret-first" {
		t.Errorf("an edit of other fields changed the credential: %+v", c.ClientID)
	}
	p.want(200, "PUT", first, `{"refresh_token":"refresh-secret-new"}`)
	if c := p.credential(p.node(first)); c.RefreshToken != "refresh-secret-new" || c.ClientID != "client-first" || c.ClientSecret != "client-secret-first" {
		t.Errorf("a new refresh token alone keeps its client: %+v", c.ClientID)
	}
	p.refused("name", "PUT", first, `{"name":"second"}`, "the other's name")
	p.want(200, "PUT", first, `{"name":"renamed"}`)
	if l := p.want(200, "GET", "/admin/accounts?active_only=true", "").list(); len(l) != 1 || l[0]["name"] != "second" {
		t.Errorf("active only: %v", l)
	}
	if l := p.want(200, "GET", "/admin/accounts?active_only=false", "").list(); len(l) != 2 {
		t.Errorf("all: %v", l)
	}
	p.refused("active_only", "GET", "/admin/accounts?active_only=perhaps", "", "a truth that is none")
	if m := p.want(200, "DELETE", first, "").json(); m["message"] == nil {
		t.Errorf("deleted: %v", m)
	}
	if !slices.Equal(q.forgot, []string{"1"}) {
		t.Errorf("the vault was told to forget %v", q.forgot)
	}
	for _, c := range [][2]string{{"GET", first}, {"PUT", first}, {"DELETE", first}, {"POST", first + "/refresh-token"}, {"GET", first + "/stats"}, {"GET", first + "/quota"},
		{"GET", "/admin/accounts/x"}, {"GET", "/admin/accounts/+2"}, {"GET", "/admin/accounts/02"}, {"GET", "/admin/accounts/-1"}, {"GET", "/admin/accounts/99999999999999999999"}, {"GET", "/admin/accounts/%7Bid%7D"}} {
		p.want(404, c[0], c[1], `{}`)
	}
	for _, c := range [][2]string{{"PATCH", "/admin/accounts"}, {"PATCH", second}, {"GET", second + "/refresh-token"}, {"GET", "/admin/accounts/upload-json"}, {"POST", second + "/stats"}, {"GET", "/admin/accounts/import"}} {
		if a := p.want(405, c[0], c[1], ""); a.header.Get("Allow") == "" {
			t.Errorf("%v: no Allow", c)
		}
	}
	// a node of another kind is no account
	other := p.want(201, "POST", "/admin/api/nodes", `{"base_url":"https://a.example.com"}`).json()["id"].(string)
	p.want(404, "GET", "/admin/accounts/"+other, "")
	if l := p.want(200, "GET", "/admin/accounts", "").list(); len(l) != 1 {
		t.Errorf("listed %v", l)
	}
}

// refresh-token, stats and quota, and what their failures look like.
func TestPoolCalls(t *testing.T) {
	q := &fakeQ{}
	p := newPool(t, q)
	path := p.add("one")
	n := p.node(path)
	m := p.want(200, "POST", path+"/refresh-token", "").json()
	sameKeys(t, "refresh-token", m, "message", "account_id", "account_name", "expires_in")
	if m["account_id"] != 1.0 || m["account_name"] != "one" || m["expires_in"] != 3600.0 {
		t.Errorf("refreshed: %v", m)
	}
	p.used("r1", p.clock(), n, 30, 4)
	m = p.want(200, "GET", path+"/stats", "").json()
	sameKeys(t, "stats", m, append([]string{"success_requests", "input_tokens", "output_tokens", "state", "state_reason", "account_id", "api", "region", "has_api_key", "token_info"}, accountFields...)...)
	if info := m["token_info"].(map[string]any); info["cached"] != true || info["is_valid"] != true || info["expires_at"] == nil || m["input_tokens"] != 30.0 || m["output_tokens"] != 4.0 ||
		m["state"] != "online" || m["account_id"] != core.DefaultAccount || m["api"] != "q" || m["has_api_key"] != true {
		t.Errorf("stats: %v", m)
	}
	m = p.want(200, "GET", path+"/quota", "").json()
	if m["account_id"] != 1.0 || m["account_name"] != "one" || m["subscription"] != "KIRO PRO" || m["used"] != 12.5 || m["limit"] != 1000.0 {
		t.Errorf("quota: %v", m)
	}
	for _, c := range []struct {
		why    string
		err    error
		status int
		text   string
	}{
		{"the login ended", fmt.Errorf("wrapped: %w", upstream.ErrInvalidGrant), 502, "log in again"},
		{"a verdict", &upstream.Error{Failure: upstream.Failure{Reason: "account suspended"}}, 502, "account suspended"},
		{"our own words", core.E(core.CodeConflict, "a refresh is under way"), 409, "a refresh is under way"},
		{"foreign words stay in the log", errors.New("dial tcp 10.0.0.7: refused"), 502, "log tells why"},
		{"silence", context.DeadlineExceeded, 504, "in time"},
	} {
		q.err = c.err
		for _, call := range [][2]string{{"POST", path + "/refresh-token"}, {"GET", path + "/quota"}} {
			if a := p.want(c.status, call[0], call[1], ""); !strings.Contains(a.body, c.text) || strings.Contains(a.body, "10.0.0.7") {
				t.Errorf("%s: %s", c.why, a.body)
			}
		}
	}
	// a good refresh proves a lost login wrong, but no suspension
	for why, left := range map[string]bool{core.BlockedLogin: true, core.BlockedSuspended: false} {
		q.err = nil
		p.health.Blocked(p.health.Node(t.Context(), n.ID, n.Account), n.Name, why, "the reason", p.clock())
		if err := p.health.Save(t.Context(), p.health.Node(t.Context(), n.ID, n.Account)); err != nil {
			t.Fatal(err)
		}
		if m := p.want(200, "GET", path, "").json(); m["is_healthy"] != false || m["health_check_error"] != "the reason" {
			t.Errorf("%s: %v", why, m)
		}
		if m := p.want(200, "GET", path+"/stats", "").json(); m["state"] != why {
			t.Errorf("%s: state %v", why, m["state"])
		}
		p.want(200, "POST", path+"/refresh-token", "")
		if m := p.want(200, "GET", path, "").json(); m["is_healthy"] != left {
			t.Errorf("%s: healthy %v after a good refresh", why, m["is_healthy"])
		}
		p.want(200, "PUT", path, `{"is_active":true}`)
		if m := p.want(200, "GET", path, "").json(); m["is_healthy"] != true {
			t.Errorf("%s: enabling it does not clear it", why)
		}
	}
	// without a client
	p = newPool(t, nil)
	path = p.add("one")
	for _, call := range [][2]string{{"POST", path + "/refresh-token"}, {"GET", path + "/quota"}, {"POST", "/admin/accounts/login"}, {"POST", "/admin/accounts/login/X"}} {
		p.want(503, call[0], call[1], "")
	}
	if m := p.want(200, "GET", path+"/stats", "").json(); m["token_info"] != nil {
		t.Errorf("stats: %v", m)
	}
	p.want(200, "DELETE", path, "")
}
