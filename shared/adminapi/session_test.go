package adminapi_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

func key(k string) url.Values         { return url.Values{"admin_key": {k}} }
func password(u, p string) url.Values { return url.Values{"username": {u}, "password": {p}} }

// TestSessionCookie: what the browser gets, and that it opens the page and the API.
func TestSessionCookie(t *testing.T) {
	w := start(t).console("")
	id := w.account("beta", "beta-proxy-key-4567")
	w.person(id)
	for _, c := range []struct {
		reason string
		form   url.Values
		admin  bool
	}{
		{"the operator by ADMIN_API_KEY", key(adminKey), true},
		{"with a blank pasted along", key(" " + adminKey + "\n"), true},
		{"a tenant by its proxy key", key("beta-proxy-key-4567"), false},
		{"a tenant by name and password", password("beta", passwd), false},
		{"a tenant by id and password", password(id, passwd), false},
	} {
		t.Run(c.reason, func(t *testing.T) {
			a := w.form(c.form)
			ck := cookie(t, a)
			if a.Status != http.StatusSeeOther || a.Header.Get("Location") != "/admin" {
				t.Fatalf("status %d to %q, want 303 to /admin", a.Status, a.Header.Get("Location"))
			}
			if !ck.HttpOnly || ck.SameSite != http.SameSiteLaxMode || ck.Path != "/" || ck.MaxAge != 86400 || ck.Secure || len(ck.Value) < 40 {
				t.Errorf("cookie %+v", ck)
			}
			pair := "session_token=" + ck.Value
			w.Want(200, "GET", "/admin", "", "Cookie", pair, "Accept", "text/html")
			if got := len(w.Want(200, "GET", "/admin/api/accounts", "", "Cookie", pair).List("accounts")); (got > 1) != c.admin {
				t.Errorf("sees %d accounts", got)
			}
			out := w.Want(303, "POST", "/logout", "", "Cookie", pair)
			if out.Header.Get("Location") != "/login" || cookie(t, out).MaxAge >= 0 {
				t.Errorf("logout: %v", out.Header)
			}
			errorOf(t, w.Want(401, "GET", "/admin/api/accounts", "", "Cookie", pair))
		})
	}
}

// TestSessionEndsWithWhatOpenedIt: the key, the password, ADMIN_API_KEY, the account, or a day.
func TestSessionEndsWithWhatOpenedIt(t *testing.T) {
	w := start(t)
	id := w.account("beta", "beta-proxy-key-4567")
	w.person(id)
	made := w.admin(201, "POST", "/admin/api/keys", `{"is_admin":true}`)
	w.Secret("beta-proxy-key-new1", "another password", "another-admin-key-1", made.Text("key"))
	for _, c := range []struct {
		reason string
		form   url.Values
		end    func()
	}{
		{"another proxy_api_key", key("beta-proxy-key-4567"), func() {
			w.admin(200, "PUT", "/admin/api/accounts?id="+id, `{"proxy_api_key":"beta-proxy-key-new1"}`)
		}},
		{"a deleted key", key(made.Text("key")), func() { w.admin(200, "DELETE", "/admin/api/keys?id="+made.Text("id"), "") }},
		{"another password", password("beta", passwd), func() {
			w.admin(200, "PUT", "/admin/api/accounts?id="+id, `{"password":"another password"}`)
		}},
		{"24 hours", key(adminKey), func() { w.Advance(24*time.Hour + time.Second) }},
		{"a deleted account", password("beta", "another password"), func() { w.admin(200, "DELETE", "/admin/api/accounts?id="+id, "") }},
		{"another ADMIN_API_KEY", key(adminKey), func() {
			if err := w.Restart(env(w.up, "ADMIN_API_KEY", "another-admin-key-1")); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		pair := w.login(c.form)
		w.Want(200, "GET", "/admin/api/accounts", "", "Cookie", pair)
		c.end()
		if a := w.Call("GET", "/admin/api/accounts", "", "Cookie", pair); a.Status != 401 {
			t.Errorf("%s: the session goes on: %d", c.reason, a.Status)
		}
		if a := w.Call("GET", "/admin", "", "Cookie", pair); a.Status != 303 || a.Header.Get("Location") != "/login" {
			t.Errorf("%s: the page answers %d to %q, want 303 to /login", c.reason, a.Status, a.Header.Get("Location"))
		}
	}
}

// TestSessionSurvivesRestart, which the older system's did not.
func TestSessionSurvivesRestart(t *testing.T) {
	w := start(t)
	pair := w.login(key(adminKey))
	if err := w.Restart(env(w.up)); err != nil {
		t.Fatal(err)
	}
	w.Want(200, "GET", "/admin/api/accounts", "", "Cookie", pair)
}

// TestNoFixation: a token that the browser brought is never made a session.
func TestNoFixation(t *testing.T) {
	w := start(t)
	ck := cookie(t, w.form(key(adminKey), "Cookie", "session_token=chosen-by-the-attacker"))
	if ck.Value == "chosen-by-the-attacker" {
		t.Error("the token was taken over")
	}
	for _, bad := range []string{"chosen-by-the-attacker", "", strings.Repeat("x", 4000), ck.Value[:20]} {
		w.Want(401, "GET", "/admin/api/accounts", "", "Cookie", "session_token="+bad)
	}
	if second := cookie(t, w.form(key(adminKey))); second.Value == ck.Value {
		t.Error("two logins share a token")
	}
}

// TestCrossOriginWritesAreRefused: a cookie alone is no consent. A key in a header is, as no other site can send it.
func TestCrossOriginWritesAreRefused(t *testing.T) {
	w := start(t, "PUBLIC_URL", "https://gate.example/llm")
	pair := w.login(key(adminKey))
	for _, c := range []struct {
		reason string
		header []string
		want   int
	}{
		{"another site", []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, 403},
		{"another site, old browser", []string{"Origin", "https://evil.example"}, 403},
		{"a sibling of our domain", []string{"Origin", "https://blog.gate.example", "Sec-Fetch-Site", "same-site"}, 403},
		{"a sandboxed frame", []string{"Origin", "null"}, 403},
		{"our own page", []string{"Origin", "http://localhost:8000", "Sec-Fetch-Site", "same-origin"}, 200},
		{"our own page behind a proxy that changes Host", []string{"Origin", "https://gate.example"}, 200},
		{"curl", nil, 200},
	} {
		for _, call := range [][3]string{{"PUT", "/admin/api/config", `{"retries":3}`}, {"POST", "/admin/api/nodes/activate", `{"id":""}`}} {
			a := w.Call(call[0], call[1], call[2], append([]string{"Cookie", pair}, c.header...)...)
			if a.Status != c.want {
				t.Errorf("%s: %s %s: status %d, want %d: %s", c.reason, call[0], call[1], a.Status, c.want, a.Body)
			}
		}
	}
	evil := []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}
	w.Want(200, "PUT", "/admin/api/config", `{"retries":3}`, append(evil, "x-admin-key", adminKey)...)
	if a := w.form(key(adminKey), evil...); a.Status != 403 || a.Header.Get("Set-Cookie") != "" {
		t.Errorf("another site signs the browser in: %d %q", a.Status, a.Header.Get("Set-Cookie"))
	}
	if a := w.Call("POST", "/logout", "", append(evil, "Cookie", pair)...); a.Status != 403 || a.Header.Get("Set-Cookie") != "" {
		t.Errorf("another site signs the browser out: %d", a.Status)
	}
	w.Want(200, "GET", "/admin/api/accounts", "", "Cookie", pair)
}

// TestFailedLoginsAreThrottled: ten a minute from one network, however many at once; others are not hindered.
func TestFailedLoginsAreThrottled(t *testing.T) {
	w := start(t)
	for _, c := range []struct {
		reason, peer, same, other string
	}{
		{"an IPv4 address", "192.0.2.1:1000", "192.0.2.1:2000", "192.0.2.2:1000"},
		{"an IPv6 network", "[2001:db8::1]:1", "[2001:db8::ffff:1]:2", "[2001:db8:0:1::1]:1"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			var wg sync.WaitGroup
			var mu sync.Mutex
			got := map[int]int{}
			for range 40 {
				wg.Go(func() {
					a := w.form(key("a guess"), "Peer", c.peer)
					mu.Lock()
					got[a.Status]++
					mu.Unlock()
				})
			}
			wg.Wait()
			if got[401] != 10 || got[429] != 30 {
				t.Errorf("40 wrong keys at once: %v, want 10 of 401 and 30 of 429", got)
			}
			a := w.form(key(adminKey), "Peer", c.same)
			if a.Status != 429 || a.Header.Get("Retry-After") == "" {
				t.Errorf("the right key while throttled: %d, retry-after %q", a.Status, a.Header.Get("Retry-After"))
			}
			errorOf(t, a)
			if a := w.Call("GET", "/admin?admin_key="+adminKey, "", "Peer", c.same); a.Status != 429 || a.Header.Get("Retry-After") == "" {
				t.Errorf("?admin_key= goes around it: %d", a.Status)
			}
			if a := w.form(key(adminKey), "Peer", c.other); a.Status != 303 {
				t.Errorf("another network: %d", a.Status)
			}
			w.Advance(time.Minute)
			if a := w.form(key(adminKey), "Peer", c.same); a.Status != 303 {
				t.Errorf("a minute later: %d", a.Status)
			}
		})
	}
	for range 30 { // good logins are not counted
		if a := w.form(key(adminKey), "Peer", "198.51.100.7:1"); a.Status != 303 {
			t.Fatalf("a good login is throttled: %d", a.Status)
		}
	}
}

// TestWrongLogins: the words tell nothing of which half was wrong.
func TestWrongLogins(t *testing.T) {
	w := start(t).console("")
	w.person(w.account("beta", "beta-proxy-key-4567"))
	var words []string
	for _, c := range []struct {
		reason string
		form   url.Values
		want   int
	}{
		{"nothing", url.Values{}, 400},
		{"no password", password("beta", ""), 400},
		{"a wrong password", password("beta", "123456"), 401},
		{"an unknown user", password("nobody", passwd), 401},
		{"an account without a password", password("team-alpha", passwd), 401},
		{"a wrong key", key("nonsense"), 401},
		{"the empty hash", password("team-alpha", " "), 401},
	} {
		a := w.form(c.form)
		if a.Status != c.want || a.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: status %d, want %d; cookie %q", c.reason, a.Status, c.want, a.Header.Get("Set-Cookie"))
		}
		text := errorOf(t, a)
		if c.want == 401 && c.form.Get("password") != "" {
			words = append(words, text)
		}
		page := w.Call("POST", "/login?do=login", c.form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Accept", "text/html", "Peer", "203.0.113.9:1")
		if page.Status != c.want || !strings.Contains(string(page.Body), "<form") || !strings.Contains(string(page.Body), text) {
			t.Errorf("%s: a browser gets %d %s", c.reason, page.Status, page.Body)
		}
	}
	for _, s := range words[1:] {
		if s != words[0] {
			t.Errorf("the answers differ: %q", words)
		}
	}
	// a key in the address of the form is not taken: it would stay in logs and histories
	if a := w.Call("POST", "/login?admin_key="+adminKey, "x=y", "Content-Type", "application/x-www-form-urlencoded"); a.Status != 400 {
		t.Errorf("a key in the query of /login: %d", a.Status)
	}
}

// TestTenantBySession: signed in by password it may change its own credentials, never its role; by key it may not.
func TestTenantBySession(t *testing.T) {
	w := start(t)
	id := w.account("beta", "beta-proxy-key-4567")
	w.person(id)
	w.Secret("beta-own-proxy-key-1", "a new password")
	byPassword, byKey := w.login(password("beta", passwd)), w.login(key("beta-proxy-key-4567"))
	for _, c := range []struct {
		reason, session, body string
		want                  int
	}{
		{"its role", byPassword, `{"is_admin":true}`, 403},
		{"its role, along with something it may", byPassword, `{"name":"beta2","is_admin":true}`, 403},
		{"even to what it is", byPassword, `{"is_admin":false}`, 403},
		{"by key only: its password", byKey, `{"password":"a new password"}`, 403},
		{"by key only: its key", byKey, `{"proxy_api_key":"beta-own-proxy-key-1"}`, 403},
		{"its name", byPassword, `{"name":"beta2"}`, 200},
		{"the id of another account as its name would catch that one's logins", byPassword, `{"name":"default"}`, 400},
		{"its key", byPassword, `{"proxy_api_key":"beta-own-proxy-key-1"}`, 200},
		{"its password", byPassword, `{"password":"a new password"}`, 200},
		{"the old password's session is over", byPassword, `{"name":"beta3"}`, 401},
	} {
		if a := w.Call("PUT", "/admin/api/accounts?id="+id, c.body, "Cookie", c.session); a.Status != c.want {
			t.Errorf("%s: status %d, want %d: %s", c.reason, a.Status, c.want, a.Body)
		}
	}
	for _, a := range w.admin(200, "GET", "/admin/api/accounts", "").List("accounts") {
		if a["id"] == id && (a["is_admin"] != false || a["name"] != "beta2") {
			t.Errorf("account: %v", a)
		}
	}
	w.tenant(200, "beta-own-proxy-key-1", "GET", "/admin/api/nodes", "")
}

// TestAdminAccount: an account with is_admin administers all, by key and by password, as long as it is one.
func TestAdminAccount(t *testing.T) {
	w := start(t)
	id := w.account("ops", "ops-proxy-key-12345")
	w.person(id)
	session := w.login(password("ops", passwd))
	rights := func(want int, reason string) {
		t.Helper()
		for _, h := range [][]string{{"x-admin-key", "ops-proxy-key-12345"}, {"x-api-key", "ops-proxy-key-12345"}, {"Cookie", session}} {
			if a := w.Call("GET", "/admin/api/keys", "", h...); a.Status != want {
				t.Errorf("%s, by %s: status %d, want %d", reason, h[0], a.Status, want)
			}
		}
	}
	rights(403, "before")
	w.admin(200, "PUT", "/admin/api/accounts?id="+id, `{"is_admin":true}`)
	rights(200, "as administrator")
	w.admin(200, "PUT", "/admin/api/accounts?id="+id, `{"is_admin":false}`)
	rights(403, "no longer: at once, sessions too")
}
