//go:build unix

package tokens

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/seal"
	"sluice/shared/store"
	"sluice/shared/store/redis"
	"sluice/shared/store/sqlstore/sqltest"
	"sluice/shared/upstream"
)

// service is a token service that hands out a new refresh token with each answer and refuses the old one from then on.
type service struct {
	URL string

	mu      sync.Mutex
	calls   int
	refused int
	current string
}

func newService(t *testing.T) *service {
	t.Helper()
	s := &service{current: "from-the-login"}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	s.URL = srv.URL
	return s
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var ask struct{ GrantType, RefreshToken, ClientID, ClientSecret string }
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil || r.URL.Path != "/token" || ask.GrantType != "refresh_token" || ask.ClientID != "c" || ask.ClientSecret != "s" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	status, answer := s.answer(ask.RefreshToken)
	slow := time.NewTimer(300 * time.Millisecond) // time enough for others to ask, too
	defer slow.Stop()
	select {
	case <-slow.C:
	case <-r.Context().Done():
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}

func (s *service) answer(spent string) (int, any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if spent != s.current {
		s.refused++
		return http.StatusBadRequest, map[string]string{"error": "invalid_grant", "error_description": "Invalid grant provided"}
	}
	s.current = fmt.Sprint("refresh-", s.calls)
	return http.StatusOK, map[string]any{"accessToken": fmt.Sprint("access-", s.calls), "refreshToken": s.current, "expiresIn": 3600, "tokenType": "Bearer"}
}

func (s *service) counts() (calls, refused int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls, s.refused
}

// stage starts a Redis server and a token service, and leaves a token in the store that ended an hour ago.
func stage(t *testing.T) (job, *redis.Store, *service) {
	t.Helper()
	program := sqltest.Program("redis-server", "valkey-server")
	if program == "" {
		sqltest.Missing(t, "redis", "there is no redis-server (apt-get install redis-server)")
	}
	dir := t.TempDir()
	srv := sqltest.NewServer(t, nil, dir, program, func(port string) []string {
		return []string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", dir}
	})
	srv.Up(t)
	j := job{URL: "redis://127.0.0.1:" + srv.Port, Master: seal.NewLocalKey().Reveal(), Node: core.Node{ID: "7", Account: "acme", Kind: core.KindAmazonQ}}
	var st *redis.Store
	sqltest.Await(t, "the server's start", func(ctx context.Context) (err error) {
		st, err = redis.Open(ctx, j.URL, redis.Options{})
		return err
	})
	t.Cleanup(func() { _ = st.Close() })
	master, err := seal.ParseLocalKey(core.NewSecret(j.Master))
	if err != nil {
		t.Fatal(err)
	}
	if j.Keyring, _, err = seal.NewKeyring(t.Context(), master); err != nil {
		t.Fatal(err)
	}
	s := newService(t)
	j.Service = s.URL
	v, err := j.vault(t.Context(), st, func() time.Time { return time.Now().Add(-2 * time.Hour) }, func() {})
	if err != nil {
		t.Fatal(err)
	}
	if tok, err := v.Token(t.Context(), j.target()); err != nil || tok.Reveal() != "access-1" {
		t.Fatal(tok.Reveal(), err)
	}
	return j, st, s
}

// crew runs processes at once and adds up what their requests got.
func crew(t *testing.T, j job, processes int) line {
	t.Helper()
	var members []*member
	for i := range processes {
		j.Holder = fmt.Sprint("process-", i)
		members = append(members, start(t, j))
	}
	for _, m := range members {
		m.say("go")
	}
	sum := line{Tokens: map[string]int{}, Errors: map[string]int{}}
	for _, m := range members {
		l := m.hears(ended)
		for k, n := range l.Tokens {
			sum.Tokens[k] += n
		}
		for k, n := range l.Errors {
			sum.Errors[k] += n
		}
	}
	return sum
}

// TestOneRefreshAcrossProcesses: 4 processes of 50 requests at once find an expired token. One of them refreshes it, once.
func TestOneRefreshAcrossProcesses(t *testing.T) {
	j, _, s := stage(t)
	j.Requests = 50
	got := crew(t, j, 4)
	if calls, refused := s.counts(); calls != 2 || refused != 0 {
		t.Errorf("%d refreshes, %d of them refused; want one beside the first", calls, refused)
	}
	if !maps.Equal(got.Tokens, map[string]int{"access-2": 200}) || len(got.Errors) != 0 {
		t.Errorf("200 requests got %v, errors %v", got.Tokens, got.Errors)
	}
}

// TestKilledBeforeSaving: a process is killed when the token service has answered and nothing is saved. The others try the
// refresh token that is spent, once; then the node says that someone must log in, on all processes and after restarts.
func TestKilledBeforeSaving(t *testing.T) {
	j, st, s := stage(t)
	j.Requests = 10
	victim := j
	victim.Holder, victim.Stops = "victim", true
	m := start(t, victim)
	m.say("go")
	m.hears(answered)
	if err := m.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = m.cmd.Wait() // it says that it was killed
	if calls, _ := s.counts(); calls != 2 {
		t.Fatalf("%d refreshes, want one beside the first", calls)
	}
	const lease = "token:7"
	if _, err := st.Acquire(t.Context(), lease, "test", time.Now(), time.Second); !errors.Is(err, store.ErrHeld) {
		t.Errorf("the lease of the one that was killed: %v", err)
	}
	if _, err := st.Acquire(t.Context(), lease, "test", time.Now().Add(time.Minute), time.Second); err != nil { // its minute is over
		t.Fatal(err)
	}
	if err := st.Release(t.Context(), lease, "test"); err != nil {
		t.Fatal(err)
	}
	j.Rounds = 3
	login := fmt.Sprint(upstream.Credential, " ", core.BlockedLogin)
	for range 2 { // the second time they are processes that were started anew
		got := crew(t, j, 3)
		if calls, refused := s.counts(); calls != 3 || refused != 1 {
			t.Errorf("%d refreshes, %d of them refused; want one more, refused", calls, refused)
		}
		if !maps.Equal(got.Errors, map[string]int{login: 90}) || len(got.Tokens) != 0 {
			t.Errorf("90 requests got %v, errors %v", got.Tokens, got.Errors)
		}
	}
	// the login anew, with the edit of the node that brings its credential, is in the tests of package tokens
	row, err := store.NewTables(st, time.Now).Tokens.Get(t.Context(), "7")
	if err != nil || !row.Value.Lost {
		t.Errorf("the document: %+v, %v", row.Value, err)
	}
}
