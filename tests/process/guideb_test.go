//go:build unix

package process

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/shared/upstream/upstreamtest"
)

// What Guide B prints, word for word.
const (
	publishedAdmin = "amq-admin-default-key-change-immediately"
	stepAdminKey   = `{
    "name": "我的管理员密钥",
    "is_admin": true,
    "requests_per_minute": 100
  }`
	stepAccount = `{
    "name": "主账号",
    "refresh_token": "your_refresh_token_from_env",
    "client_id": "your_client_id_from_env",
    "client_secret": "your_client_secret_from_env",
    "profile_arn": "your_profile_arn_from_env",
    "requests_per_minute": 10
  }`
	stepClientKey = `{
    "name": "默认密钥",
    "description": "用于生产环境",
    "requests_per_minute": 60,
    "requests_per_day": 10000
  }`
	chat = `{"model":"claude-sonnet-4-5-20250929","messages":[{"role":"user","content":"Hello"}]}`
)

// guideLogin is the login that the guide's step 8 names.
var guideLogin = upstreamtest.Login{ClientID: "your_client_id_from_env", ClientSecret: "your_client_secret_from_env", RefreshToken: "your_refresh_token_from_env"}

// amazon is a service of Amazon Q and its token service, and the environment that names them.
type amazon struct {
	q    *upstreamtest.AmazonQ
	oidc *upstreamtest.OIDC
	env  map[string]string
}

func newAmazon(t *testing.T) *amazon {
	t.Helper()
	a := &amazon{q: upstreamtest.NewAmazonQ(t), oidc: upstreamtest.NewOIDC(t)}
	a.q.SetTokens(a.oidc.Valid)
	// as the older program's defaults are written: a slash behind the one, the path of one operation behind the other
	a.env = map[string]string{"AMAZONQ_API_ENDPOINT": a.q.URL + "/", "AMAZONQ_TOKEN_ENDPOINT": a.oidc.URL + "/token"}
	return a
}

// tokenCalls tells how often the token service was asked for tokens, also in vain.
func (a *amazon) tokenCalls() int {
	n := 0
	for _, r := range a.oidc.Requests() {
		if r.Path == "/token" {
			n++
		}
	}
	return n
}

func bearer(key string) []string { return []string{"Authorization", "Bearer " + key} }

// refused expects the answer to a call without a key: 401 whose message names the header, in the field of the older system, too.
func (s *server) refused(method, path, body, names string) {
	s.t.Helper()
	resp, text := s.do(method, path, body)
	var m struct{ Detail, Error json.RawMessage }
	if resp.StatusCode != 401 || json.Unmarshal([]byte(text), &m) != nil || !strings.Contains(string(m.Error), names) {
		s.t.Errorf("%s %s without a key: %d %s", method, path, resp.StatusCode, text)
	}
	if strings.HasPrefix(path, "/admin/") && !strings.Contains(string(m.Detail), names) {
		s.t.Errorf("%s %s without a key: no detail: %s", method, path, text)
	}
}

// serves expects that a key is answered by the node, in both dialects.
func (s *server) serves(key, node string) {
	s.t.Helper()
	for _, c := range []struct{ path, body, has string }{
		{"/v1/messages", question, `"type":"message"`}, {"/v1/messages", streamed, "event: message_stop"},
		{"/v1/chat/completions", chat, `"object":"chat.completion"`},
	} {
		resp, body := s.do("POST", c.path, c.body, bearer(key)...)
		if by := resp.Header.Get("X-Proxy-Node"); resp.StatusCode != 200 || by != url.PathEscape(node) || !strings.Contains(body, c.has) {
			s.t.Errorf("%s: %d by %q, want %q: %s", c.path, resp.StatusCode, by, url.PathEscape(node), body)
		}
	}
}

// TestGuideBWalk is Guide B from step 5 to its last question, over HTTP against the program (seed-systems 2.17.1 to 2.17.8).
func TestGuideBWalk(t *testing.T) {
	dir, a := t.TempDir(), newAmazon(t)
	a.oidc.AddLogin(guideLogin)

	// steps 5 and 6
	port := freePort(t)
	env := with(a.env, "PORT", port)
	s := start(t, dir, env, "python", "app_new.py")
	s.url = "http://localhost:" + port
	if _, err := os.Stat(filepath.Join(dir, "data", "sluice.db")); err != nil {
		t.Error(err)
	}
	resp, _ := s.do("GET", "/admin/dashboard", "", "Accept", "text/html")
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/login" {
		t.Fatalf("the dashboard does not ask for the key: %d to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	resp, _ = s.do("POST", "/login", "admin_key="+publishedAdmin, "Content-Type", "application/x-www-form-urlencoded")
	session, _, _ := strings.Cut(resp.Header.Get("Set-Cookie"), ";")
	if resp, page := s.do("GET", "/admin/dashboard", "", "Accept", "text/html", "Cookie", session); resp.StatusCode != 200 || !strings.Contains(page, "<html") {
		t.Fatalf("the dashboard: %d %s", resp.StatusCode, page)
	}

	// step 7
	made := s.json(200, "POST", "/admin/api-keys", stepAdminKey, bearer(publishedAdmin)...)
	admin := made["key"].(string)
	if made["name"] != "我的管理员密钥" || made["is_admin"] != true || made["requests_per_minute"] != 100.0 {
		t.Errorf("made %v", made)
	}
	s.json(200, "DELETE", "/admin/api-keys/1", "", bearer(admin)...)
	dead := func() {
		t.Helper()
		for _, h := range [][]string{bearer(publishedAdmin), {"x-admin-key", "admin"}, {"Cookie", session}} {
			if status, body := s.get("/admin/api-keys", h...); status != 401 {
				t.Errorf("%s after its end: %d %s", h[1], status, body)
			}
		}
	}
	dead()

	// step 8
	s.refused("POST", "/admin/accounts", stepAccount, "Authorization: Bearer")
	account := s.json(200, "POST", "/admin/accounts", stepAccount, bearer(admin)...)
	if account["name"] != "主账号" || account["requests_per_minute"] != 10.0 || account["is_active"] != true || account["is_healthy"] != true {
		t.Errorf("made %v", account)
	}

	// step 9
	s.refused("POST", "/admin/api-keys", stepClientKey, "Authorization: Bearer")
	made = s.json(200, "POST", "/admin/api-keys", stepClientKey, bearer(admin)...)
	key := made["key"].(string)
	if made["description"] != "用于生产环境" || made["requests_per_minute"] != 60.0 || made["requests_per_day"] != 10000.0 || made["is_admin"] != false {
		t.Errorf("made %v", made)
	}
	for _, path := range []string{"/admin/api-keys", "/admin/api-keys/2", "/admin/accounts", "/admin/api/keys"} {
		_, body := s.get(path, bearer(admin)...)
		for _, secret := range []string{key, admin, guideLogin.RefreshToken, guideLogin.ClientSecret} {
			if strings.Contains(body, secret) {
				t.Errorf("%s shows %s", path, secret)
			}
		}
	}

	// steps 10 and 11, and question 1
	s.refused("POST", "/v1/messages", question, "Authorization: Bearer")
	s.refused("POST", "/v1/chat/completions", chat, "Authorization: Bearer")
	s.serves(key, "主账号")
	if status, _ := s.get("/admin/accounts", bearer(key)...); status != 403 {
		t.Errorf("the client's key at the admin API: %d", status)
	}
	if got := s.json(200, "GET", "/admin/stats/accounts", "", bearer(admin)...); got["total_accounts"] != 1.0 || got["total_requests"] != 3.0 {
		t.Errorf("statistics: %v", got)
	}

	// question 3, the script
	for i, name := range []string{"账号1", "账号2"} {
		l := a.oidc.Login()
		body := `{"name": "` + name + `", "refresh_token": "` + l.RefreshToken + `", "client_id": "` + l.ClientID + `", "client_secret": "` + l.ClientSecret + `"}`
		s.refused("POST", "/admin/accounts", body, "Authorization: Bearer")
		if got := s.json(200, "POST", "/admin/accounts", body, bearer(admin)...); got["id"] != float64(i+2) || got["requests_per_minute"] != 10.0 {
			t.Errorf("made %v", got)
		}
	}
	s.stop()

	// the default key stays dead, and the rest stays: question 4's way back, on the same data
	s = start(t, dir, env, "python", "main.py")
	dead()
	if status, _, _ := s.ask(key); status != 200 {
		t.Errorf("the client's key after a restart: %d", status)
	}
	s.stop()
	port = freePort(t)
	s = start(t, dir, a.env, "python", "app_new.py", "--port", port)
	if !strings.HasSuffix(s.url, ":"+port) {
		t.Errorf("listens at %s, want port %s", s.url, port)
	}
	dead()
	s.stop()

	// DATABASE_PATH=/path/to/custom/db.sqlite
	other := filepath.Join(t.TempDir(), "custom", "db.sqlite")
	s = start(t, dir, with(env, "DATABASE_PATH", other), "python", "app_new.py")
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
	if status, _ := s.get("/admin/api-keys", bearer(publishedAdmin)...); status != 200 {
		t.Errorf("the default key on a new database: %d", status)
	}
	if status, _, _ := s.ask(key); status != 401 {
		t.Errorf("another database's key: %d", status)
	}
	s.stop()
}

// TestGuideBEnv: the values of v1's .env make a node (2.17.6), by the rules of all that the environment seeds.
func TestGuideBEnv(t *testing.T) {
	dir, a := t.TempDir(), newAmazon(t)
	const arn = "arn:aws:codewhisperer:us-east-1:123456789012:profile/ABCDEFGHIJKL"
	variables := func(l upstreamtest.Login) map[string]string {
		return with(a.env, "AMAZONQ_REFRESH_TOKEN", l.RefreshToken, "AMAZONQ_CLIENT_ID", l.ClientID, "AMAZONQ_CLIENT_SECRET", l.ClientSecret,
			"ADMIN_API_KEY", adminKey, "DEFAULT_PROXY_API_KEY", proxyKey)
	}
	first, second := a.oidc.Login(), a.oidc.Login()
	env := with(variables(first), "AMAZONQ_PROFILE_ARN", arn)
	s := start(t, dir, env, "python", "main.py")
	s.serves(proxyKey, "amazonq")
	if body := string(a.q.Conversations()[0].Body); !strings.Contains(body, `"profileArn":"`+arn+`"`) {
		t.Errorf("the profile is not sent: %s", body)
	}
	if strings.Contains(s.out.String(), first.RefreshToken) || strings.Contains(s.out.String(), first.ClientSecret) {
		t.Error("the start prints a secret")
	}
	node := s.json(200, "GET", "/admin/accounts/1", "", "x-admin-key", adminKey)
	if node["name"] != "amazonq" || node["requests_per_minute"] != 10.0 || node["profile_arn"] != arn {
		t.Errorf("the node: %v", node)
	}
	s.json(200, "PUT", "/admin/accounts/1", `{"name":"edited","requests_per_minute":50,"notes":"mine"}`, "x-admin-key", adminKey)
	s.stop()

	s = start(t, dir, env) // an edit is not undone
	node = s.json(200, "GET", "/admin/accounts/1", "", "x-admin-key", adminKey)
	if node["name"] != "edited" || node["requests_per_minute"] != 50.0 || node["notes"] != "mine" || node["profile_arn"] != arn {
		t.Errorf("after a restart: %v", node)
	}
	s.serves(proxyKey, "edited")
	if n := a.tokenCalls(); n != 1 {
		t.Errorf("%d calls of the token service, want 1", n)
	}
	s.stop()

	env = variables(second) // a change is applied, and what is unset is no change
	s = start(t, dir, env)
	s.serves(proxyKey, "edited")
	used := a.oidc.Requests()
	if last := string(used[len(used)-1].Body); a.tokenCalls() != 2 || !strings.Contains(last, second.RefreshToken) {
		t.Errorf("after the change %d calls, the last with %s", a.tokenCalls(), last)
	}
	if node = s.json(200, "GET", "/admin/accounts/1", "", "x-admin-key", adminKey); node["profile_arn"] != arn || node["requests_per_minute"] != 50.0 {
		t.Errorf("after the change: %v", node)
	}
	s.json(200, "DELETE", "/admin/accounts/1", "", "x-admin-key", adminKey)
	if status, _, _ := s.ask(proxyKey); status == 200 {
		t.Error("the deleted node serves")
	}
	s.stop()

	s = start(t, dir, env) // what was deleted stays so
	if _, body := s.get("/admin/accounts", "x-admin-key", adminKey); strings.TrimSpace(body) != "[]" {
		t.Errorf("the deleted node is back: %s", body)
	}
	s.stop()

	third := a.oidc.Login()
	s = start(t, dir, variables(third)) // until the variable changes
	s.serves(proxyKey, "amazonq")
	s.stop()

	for _, missing := range []string{"AMAZONQ_CLIENT_ID", "AMAZONQ_CLIENT_SECRET"} {
		half := variables(third)
		delete(half, missing)
		if l := fails(t, dir, half); len(l) != 1 || !strings.Contains(l[0], missing) {
			t.Errorf("without %s: %q", missing, l)
		}
	}
}

// TestGuideBOverhead is the guide's question 5 (2.17.9): what the gateway adds to a request, its store on a disk.
func TestGuideBOverhead(t *testing.T) {
	a := newAmazon(t)
	l := a.oidc.Login()
	s := start(t, t.TempDir(), with(a.env, "AMAZONQ_REFRESH_TOKEN", l.RefreshToken, "AMAZONQ_CLIENT_ID", l.ClientID, "AMAZONQ_CLIENT_SECRET", l.ClientSecret, "ADMIN_API_KEY", adminKey))
	s.json(200, "PUT", "/admin/accounts/1", `{"requests_per_minute":0}`, "x-admin-key", adminKey)
	key := s.json(200, "POST", "/admin/api-keys", stepClientKey, "x-admin-key", adminKey)["key"].(string)
	s.serves(key, "amazonq")
	conversation := a.q.Conversations()[0]
	took := func(do func()) time.Duration {
		var all []time.Duration
		for range 50 {
			began := time.Now()
			do()
			all = append(all, time.Since(began))
		}
		slices.Sort(all)
		return all[len(all)/4] // other work on the machine makes the rest longer
	}
	gateway := took(func() {
		if status, _, _ := s.ask(key); status != 200 {
			t.Fatalf("status %d", status)
		}
	})
	direct := took(func() {
		r := request("POST", a.q.URL, string(conversation.Body))
		r.Header = conversation.Header.Clone()
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Fatalf("status %d", resp.StatusCode)
		}
	})
	t.Logf("%v through the gateway, %v without it", gateway, direct)
	if gateway-direct > 5*time.Millisecond {
		t.Errorf("the gateway adds %v to a request, want less than 5ms", gateway-direct)
	}
	s.stop()
}
