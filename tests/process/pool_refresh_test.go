//go:build unix

package process

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/redis"
	"sluice/shared/store/sqlstore/sqltest"
	"sluice/shared/upstream/upstreamtest"
)

// redisServer starts a server of its own and returns its URL.
func redisServer(t *testing.T) string {
	t.Helper()
	program := sqltest.Program("redis-server", "valkey-server")
	if program == "" {
		sqltest.Missing(t, "redis", "there is no redis-server (apt-get install redis-server)")
	}
	dir := t.TempDir()
	s := sqltest.NewServer(t, nil, dir, program, func(port string) []string {
		return []string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", dir, "--maxmemory-policy", "noeviction"}
	})
	s.Up(t)
	sqltest.Await(t, "the server's start", func(ctx context.Context) error {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:"+s.Port)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
	return "redis://127.0.0.1:" + s.Port + "/0"
}

// fleet is several processes of the program on one store.
type fleet struct {
	*amazon
	t       *testing.T
	env     map[string]string
	members []*server
	store   store.Store
}

// newFleet starts n processes over a new Redis, on which one process before them made a node with a token. The node is not
// in use, so that none of them looks at its token before use is called.
func newFleet(t *testing.T, n int) *fleet {
	t.Helper()
	f := &fleet{amazon: newAmazon(t), t: t}
	l := f.oidc.Login()
	f.env = with(f.amazon.env, "STORE_URL", redisServer(t), "ADMIN_API_KEY", adminKey, "DEFAULT_PROXY_API_KEY", proxyKey,
		"AMAZONQ_REFRESH_TOKEN", l.RefreshToken, "AMAZONQ_CLIENT_ID", l.ClientID, "AMAZONQ_CLIENT_SECRET", l.ClientSecret)
	first := start(t, t.TempDir(), f.env)
	first.serves(proxyKey, "amazonq")
	first.json(200, "PUT", "/admin/accounts/1", `{"is_active":false,"requests_per_minute":0}`, "x-admin-key", adminKey)
	first.stop()
	s, err := redis.Open(t.Context(), f.env["STORE_URL"], redis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	f.store = s
	if n := f.tokenCalls(); n != 1 {
		t.Fatalf("%d calls of the token service so far, want 1", n)
	}
	for range n {
		f.members = append(f.members, start(t, t.TempDir(), f.env))
	}
	return f
}

// age moves the times of the saved token, by which it expires.
func (f *fleet) age(by time.Duration) {
	f.t.Helper()
	_, err := store.NewTables(f.store, time.Now).Tokens.Update(f.t.Context(), "1", func(d *core.NodeToken) error {
		d.Made, d.Expires = d.Made.Add(-by), d.Expires.Add(-by)
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	if by >= time.Hour {
		f.oidc.RevokeAccess()
	}
}

// use puts the node into use.
func (f *fleet) use() {
	f.t.Helper()
	f.members[0].json(200, "PUT", "/admin/accounts/1", `{"is_active":true}`, "x-admin-key", adminKey)
}

// health is what an operator sees of the node.
func (s *server) health() (healthy bool, why string) {
	s.t.Helper()
	n := s.json(200, "GET", "/admin/accounts/1", "", "x-admin-key", adminKey)
	why, _ = n["health_check_error"].(string)
	return n["is_healthy"].(bool), why
}

// ask sends n requests at once, shared out among the processes, and returns how often each status came.
func (f *fleet) ask(n int) map[int]int {
	f.t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	got := map[int]int{}
	for i := range n {
		wg.Go(func() {
			body := question
			if i%2 == 1 {
				body = streamed
			}
			resp, err := client.Do(request("POST", f.members[i%len(f.members)].url+"/v1/messages", body, "x-api-key", proxyKey))
			if err != nil {
				f.t.Error(err)
				return
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			if whole := strings.Contains(string(text), `"end_turn"`); err != nil || whole != (resp.StatusCode == http.StatusOK) {
				f.t.Errorf("%d, %v: %s", resp.StatusCode, err, text)
			}
			mu.Lock()
			defer mu.Unlock()
			got[resp.StatusCode]++
		})
	}
	wg.Wait()
	return got
}

// TestOneRefresh: 50 requests at once over four processes, none of which has a good token, make exactly one refresh, and
// all of them are served.
func TestOneRefresh(t *testing.T) {
	for _, c := range []struct {
		why   string
		stale func(f *fleet)
	}{
		{"it has expired", func(f *fleet) { f.age(2 * time.Hour) }},
		{"it ends within seconds", func(f *fleet) { f.age(time.Hour - 5*time.Second) }},
		// an hour's token of which half an hour is left; what was made within 30 s is not refreshed for a refusal
		{"the service refuses it before its time", func(f *fleet) {
			f.age(30 * time.Minute)
			f.oidc.RevokeAccess()
		}},
	} {
		t.Run(c.why, func(t *testing.T) {
			f := newFleet(t, 4)
			// an answer that takes its time, so that the others come meanwhile
			f.oidc.Default(upstreamtest.Reply().Pause(upstreamtest.BeforeHeaders, 300*time.Millisecond))
			c.stale(f)
			f.use()
			if got := f.ask(50); fmt.Sprint(got) != "map[200:50]" {
				t.Errorf("answers: %v", got)
			}
			if n := f.tokenCalls(); n != 2 || f.oidc.Refreshes() != 2 {
				t.Errorf("%d calls of the token service, %d refreshes; want one more than the 1 of before", n, f.oidc.Refreshes())
			}
			counted := 0
			for _, s := range f.members { // the one that refreshed counts it
				_, text := s.get("/metrics", "x-admin-key", adminKey)
				counted += strings.Count(text, `sluice_token_refreshes_total{kind="amazonq",result="ok"} 1`)
			}
			if counted != 1 {
				t.Errorf("%d processes count a refresh in their metrics, want one", counted)
			}
			for _, s := range f.members {
				s.stop()
			}
			for i := range f.members { // what they learnt is there for those that come later
				f.members[i] = start(t, t.TempDir(), f.env)
			}
			if got := f.ask(20); fmt.Sprint(got) != "map[200:20]" || f.tokenCalls() != 2 {
				t.Errorf("after a restart: %v, %d calls", got, f.tokenCalls())
			}
		})
	}
}

// TestKilledWithTheAnswer: a process ends between the token service's answer and saving it. The refresh token that the
// store has is spent, so someone must log in; the node says so, and nobody asks the token service again and again.
func TestKilledWithTheAnswer(t *testing.T) {
	f := newFleet(t, 3)
	victim := f.members[0]
	f.age(2 * time.Hour)
	var once sync.Once
	f.use()
	f.oidc.AfterToken(func(upstreamtest.Issued) { once.Do(victim.kill) })
	if resp, err := client.Do(request("POST", victim.url+"/v1/messages", question, "x-api-key", proxyKey)); err == nil {
		t.Errorf("the process that was killed answers %d", resp.StatusCode)
		_ = resp.Body.Close()
	}
	if code := victim.wait(); code != -1 {
		t.Fatalf("exit code %d, so it was not killed", code)
	}
	if n := f.oidc.Refreshes(); n != 2 {
		t.Fatalf("%d refreshes, want that of before and the one whose answer is lost", n)
	}
	f.endLease()
	f.members = f.members[1:]
	ended := func(why string, calls int) {
		t.Helper()
		if got := f.ask(20); got[http.StatusBadGateway]+got[http.StatusServiceUnavailable] != 20 { // who found out, and who was spared it
			t.Errorf("%s: answers %v", why, got)
		}
		for _, s := range f.members {
			if healthy, text := s.health(); healthy || !strings.Contains(text, "login needed") {
				t.Errorf("%s: healthy %v, %q", why, healthy, text)
			}
		}
		if n := f.tokenCalls(); n != calls {
			t.Errorf("%s: %d calls of the token service, want %d", why, n, calls)
		}
	}
	ended("at once", 3) // the spent one was tried, once
	ended("again", 3)
	for round := range 3 {
		for i, s := range f.members {
			s.stop()
			f.members[i] = start(t, t.TempDir(), f.env)
		}
		ended(fmt.Sprint("restart ", round+1), 3)
	}
	if n := f.oidc.Refreshes(); n != 2 {
		t.Errorf("%d refreshes", n)
	}
	s := f.members[0]
	resp, body := s.do("POST", "/admin/accounts/1/refresh-token", "", "x-admin-key", adminKey)
	// who asks by hand may know better: the latest token and the one of the credential are tried, each once
	if resp.StatusCode < 400 || !strings.Contains(body, "login needed") || f.tokenCalls() > 5 {
		t.Errorf("a refresh by hand: %d, %d calls: %s", resp.StatusCode, f.tokenCalls(), body)
	}
	// and a login mends it, on all
	l := f.oidc.Login()
	s.json(200, "PUT", "/admin/accounts/1", `{"refresh_token":"`+l.RefreshToken+`","client_id":"`+l.ClientID+`","client_secret":"`+l.ClientSecret+`"}`, "x-admin-key", adminKey)
	if got := f.ask(20); fmt.Sprint(got) != "map[200:20]" || f.oidc.Refreshes() != 3 {
		t.Errorf("after a new login: %v, %d refreshes", got, f.oidc.Refreshes())
	}
	if healthy, text := s.health(); !healthy {
		t.Errorf("after a new login: %s", text)
	}
}

// endLease lets the time pass that a lease of a process that was killed lasts: a minute.
func (f *fleet) endLease() {
	f.t.Helper()
	later := time.Now().Add(2 * time.Minute)
	if _, err := f.store.Acquire(f.t.Context(), "token:1", "the test", later, time.Minute); err != nil {
		f.t.Fatal(err)
	}
	if err := f.store.Release(f.t.Context(), "token:1", "the test"); err != nil {
		f.t.Fatal(err)
	}
}

// TestNoRefreshOnTheWay: while the token is good for more than five minutes, no request waits for the token service, also
// after restarts and crashes.
func TestNoRefreshOnTheWay(t *testing.T) {
	dir, a := t.TempDir(), newAmazon(t)
	a.oidc.SetExpiry(8 * time.Minute)
	l := a.oidc.Login()
	env := with(a.env, "ADMIN_API_KEY", adminKey, "DEFAULT_PROXY_API_KEY", proxyKey,
		"AMAZONQ_REFRESH_TOKEN", l.RefreshToken, "AMAZONQ_CLIENT_ID", l.ClientID, "AMAZONQ_CLIENT_SECRET", l.ClientSecret)
	for round := range 3 {
		s := start(t, dir, env)
		if round == 0 {
			s.json(200, "PUT", "/admin/accounts/1", `{"requests_per_minute":0}`, "x-admin-key", adminKey)
			s.serves(proxyKey, "amazonq")
			// from here on whoever asks waits for ever
			a.oidc.Default(upstreamtest.Reply().Silence(upstreamtest.BeforeHeaders))
		}
		for range 100 {
			if status, _, _ := s.ask(proxyKey); status != 200 {
				t.Fatalf("status %d", status)
			}
		}
		if n := a.tokenCalls(); n != 1 {
			t.Errorf("round %d: %d calls of the token service, want 1", round, n)
		}
		if round == 1 {
			s.kill()
		} else {
			s.stop()
		}
	}
	if n := len(a.q.Conversations()); n != 303 {
		t.Errorf("%d requests reached the service", n)
	}
}
