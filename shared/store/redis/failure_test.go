package redis_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/redis"
)

// A store that does not open says why in one line, and nothing of user and password.
func TestDoesNotOpen(t *testing.T) {
	locked := miniredis.RunT(t)
	locked.RequireUserAuth("someone", "hunter2")
	newer := miniredis.RunT(t)
	if err := newer.Set("sluice:{i}:schema", "7 2"); err != nil {
		t.Fatal(err)
	}
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	for _, c := range []struct{ why, url, want string }{
		{"nobody listens", "redis://hunter3:hunter4@127.0.0.1:1", "cannot connect"},
		{"nobody listens", "redis://:hunter4@127.0.0.1:1,127.0.0.1:2", "cannot connect"},
		{"nobody listens", "redis+sentinel://:hunter4@127.0.0.1:1/main", "cannot connect"},
		{"the password is wrong", "redis://someone:hunter3@" + locked.Addr(), "refuses the user name or password"},
		{"the user is wrong", "redis://hunter3:hunter2@" + locked.Addr(), "refuses the user name or password"},
		{"there is no password", "redis://" + locked.Addr(), "wants a password"},
		{"the layout is newer", "redis://" + newer.Addr(), store.ErrNewer.Error()},
		{"the server says nothing", "redis://:hunter4@" + silent.Addr().String(), "no answer"},
		{"the server does not speak TLS", "rediss://:hunter4@" + locked.Addr(), "cannot connect"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		s, err := redis.Open(ctx, c.url, redis.Options{})
		cancel()
		if err == nil {
			t.Errorf("%s: it opens", c.why)
			_ = s.Close()
			continue
		}
		if text := err.Error(); !strings.Contains(text, c.want) || strings.Contains(text, "\n") || strings.Contains(text, "hunter") {
			t.Errorf("%s: %q, want %q and no secret in one line", c.why, text, c.want)
		}
	}
}

// The same of a real server, which also knows Clusters and users that may do little.
func TestDoesNotOpenServer(t *testing.T) {
	servers(t, func(t *testing.T, program string) {
		srv := start(t, program, "--requirepass", "hunter2", "--user", "weak", "on", ">hunter5", "~other:*", "+@read")
		node := start(t, program, "--cluster-enabled", "yes", "--cluster-port", freePort(t))
		for _, c := range []struct{ why, url, want string }{
			{"the password is wrong", "redis://:hunter3@" + srv.addr, "refuses the user name or password"},
			{"there is no password", "redis://" + srv.addr, "wants a password"},
			{"the user may not do enough", "redis://weak:hunter5@" + srv.addr, "the user may not"},
			{"it is no Cluster", "redis://:hunter2@" + srv.addr + "?cluster=true", "not a Cluster"},
			{"it is a Cluster, and not up", "redis://" + node.addr, "?cluster=true"},
		} {
			_, err := redis.Open(t.Context(), c.url, redis.Options{})
			if err == nil {
				t.Errorf("%s: it opens", c.why)
			} else if text := err.Error(); !strings.Contains(text, c.want) || strings.Contains(text, "\n") || strings.Contains(text, "hunter") {
				t.Errorf("%s: %q, want %q and no secret in one line", c.why, text, c.want)
			}
		}
		s := open(t, "redis://:hunter2@"+srv.addr)
		if strings.Contains(s.Where(), "hunter") {
			t.Errorf("the name of the store tells its password: %s", s.Where())
		}
		everything(t, s, "acme")
	})
}

// A server that may evict keys is reported once; one that never does is not.
func TestEvictionWarning(t *testing.T) {
	servers(t, func(t *testing.T, program string) {
		for policy, want := range map[string]int{"noeviction": 0, "allkeys-lru": 1, "volatile-ttl": 1} {
			var out bytes.Buffer
			openWith(t, start(t, program, "--maxmemory-policy", policy).url(""), redis.Options{Logger: slog.New(slog.NewTextHandler(&out, nil))})
			if got := strings.Count(out.String(), "noeviction"); got != want || !strings.Contains(out.String(), policy) == (want == 1) {
				t.Errorf("%s: %q", policy, out.String())
			}
		}
	})
}

// A full server refuses writes with ErrMemory, keeps what it has whole, lets reads and deletions through, and works
// again as soon as there is memory.
func TestOutOfMemory(t *testing.T) {
	plain(t, func(t *testing.T, program string) {
		srv := start(t, program, "--maxmemory-policy", "noeviction")
		s, ctx := open(t, srv.url("")), t.Context()
		subs := tenant(t, s, "acme", everyLimit)
		if _, err := s.Admit(ctx, request("a", "acme", subs...)); err != nil {
			t.Fatal(err)
		}
		before := dump(t, s)
		memory := func(max string) {
			t.Helper()
			if err := s.DB().ConfigSet(ctx, "maxmemory", max).Err(); err != nil {
				t.Fatal(err)
			}
		}
		memory("1")
		d, err := s.Get(ctx, store.KindKey, subs[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		d.Unique = []string{"new"}
		full := settlement("a", "acme", subs...)
		for what, call := range map[string]func() error{
			"Create": func() error {
				_, err := s.Create(ctx, store.Doc{Kind: store.KindNode, ID: "9", Account: "acme", Unique: []string{"u"}})
				return err
			},
			"Replace": func() error { _, err := s.Replace(ctx, d); return err },
			"Admit":   func() error { _, err := s.Admit(ctx, request("b", "acme", subs...)); return err },
			"Settle":  func() error { return s.Settle(ctx, full) },
			"Next":    func() error { _, err := s.Next(ctx, "n"); return err },
			"Acquire": func() error { _, err := s.Acquire(ctx, "l", "h", now, time.Minute); return err },
		} {
			if err := call(); !errors.Is(err, redis.ErrMemory) {
				t.Errorf("%s: %v, want ErrMemory", what, err)
			}
		}
		memory("0")
		if after := dump(t, s); after != before {
			t.Errorf("a refused write left something:\n%s\nwas\n%s", after, before)
		}
		memory("1")
		if err := s.Delete(ctx, store.KindNode, subs[2].ID, 0); err != nil {
			t.Errorf("Delete in need: %v", err)
		}
		memory("0")
		if err := s.Settle(ctx, full); err != nil {
			t.Error(err)
		}
		if _, err := s.Create(ctx, store.Doc{Kind: store.KindNode, ID: "9", Account: "acme", Unique: []string{"u"}}); err != nil {
			t.Error(err)
		}
	})
}

// dump is everything that the server has.
func dump(t *testing.T, s *redis.Store) string {
	t.Helper()
	keys, err := s.DB().Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, k := range sorted(keys) {
		v, err := s.DB().Dump(t.Context(), k).Result()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %x\n", k, v)
	}
	return b.String()
}

// A server that is killed and comes back is used again without a new start, with what it saved.
func TestServerRestarts(t *testing.T) {
	servers(t, func(t *testing.T, program string) {
		dir, port := t.TempDir(), freePort(t)
		keep := []string{"--appendonly", "yes", "--appendfsync", "always"}
		srv := startAt(t, program, dir, port, keep...)
		s, ctx := open(t, srv.url("")), t.Context()
		subs := tenant(t, s, "acme", core.Limits{RPD: 10, Concurrency: 2})
		if _, err := s.Admit(ctx, request("a", "acme", subs[0])); err != nil {
			t.Fatal(err)
		}
		fence, err := s.Acquire(ctx, "l", "me", now, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		srv.kill()
		if err := s.Ping(ctx); err == nil {
			t.Error("a dead server answers")
		}
		if _, err := s.Admit(ctx, request("b", "acme", subs[0])); err == nil || errors.Is(err, store.ErrStale) {
			t.Errorf("without a server: %v", err)
		}
		startAt(t, program, dir, port, keep...)
		res, err := s.Admit(ctx, request("b", "acme", subs[0]))
		if err != nil || res.Figures[0].Remaining != 8 || res.Figures[1].Remaining != 0 {
			t.Errorf("after the restart: %+v, %v", res, err)
		}
		if _, err := s.Acquire(ctx, "l", "other", now, time.Minute); !errors.Is(err, store.ErrHeld) {
			t.Errorf("the lease after the restart: %v", err)
		}
		if n, err := s.Acquire(ctx, "l", "other", now.Add(time.Hour), time.Minute); err != nil || n <= fence {
			t.Errorf("fence %d, %v, want more than %d", n, err, fence)
		}
		if _, err := s.Find(ctx, store.KindKey, "look "+subs[0].ID); err != nil {
			t.Error(err)
		}
	})
}

// What may be repeated is, when a connection breaks: a settlement whose answer is lost counts once.
func TestBrokenConnection(t *testing.T) {
	w := &watch{}
	s, ctx := openWith(t, "redis://"+miniredis.RunT(t).Addr(), redis.Options{}.WithHooks(w)), t.Context()
	subs := tenant(t, s, "acme", everyLimit)
	for _, sent := range []bool{false, true} {
		id := fmt.Sprint("r", sent)
		once := func() {
			broke := false
			w.breaks(func(goredis.Cmder) (error, bool) {
				if broke {
					return nil, false
				}
				broke = true
				return io.EOF, sent
			})
		}
		once()
		if _, err := s.Admit(ctx, request(id, "acme", subs[:2]...)); err != nil {
			t.Errorf("admit, sent %v: %v", sent, err)
		}
		if err := s.Settle(ctx, settlement(id, "acme", subs[:2]...)); err != nil { // scripts and account are known now
			t.Fatal(err)
		}
		id += "2"
		if _, err := s.Admit(ctx, request(id, "acme", subs[:2]...)); err != nil {
			t.Fatal(err)
		}
		once()
		if err := s.Settle(ctx, settlement(id, "acme", subs[:2]...)); err != nil {
			t.Errorf("settle, sent %v: %v", sent, err)
		}
		once()
		if _, err := s.Get(ctx, store.KindKey, subs[0].ID); err != nil {
			t.Errorf("get: %v", err)
		}
		once()
		if _, err := s.Replace(ctx, store.Doc{Kind: store.KindNode, ID: subs[2].ID, Account: "acme", Version: 1}); err == nil {
			t.Error("a change is repeated, which could apply an edit twice")
		}
		w.breaks(nil)
	}
	res, err := s.Admit(ctx, request("x", "acme", subs[0]))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range res.Figures {
		if f.Limit == store.LimitUSDDay && f.Remaining != 1e6-4*3-5 || f.Limit == store.LimitRPD && f.Remaining != 1e6-5 {
			t.Errorf("%+v counts something twice", f)
		}
	}
	if recs, _, err := s.Records(ctx, store.UsageFilter{}, "", 10); err != nil || len(recs) != 4 {
		t.Errorf("%d records, %v, want 4", len(recs), err)
	}
}

// The clock of the requests is corrected by the server's when they really differ, again and again, without a trip for it.
func TestClock(t *testing.T) {
	srv := miniredis.RunT(t)
	local := now
	srv.SetTime(local.Add(50 * time.Millisecond))
	w := &watch{}
	s := openWith(t, "redis://"+srv.Addr(), redis.Options{Now: func() time.Time { return local }}.WithHooks(w))
	if at := s.At(local); !at.Equal(local) {
		t.Errorf("corrected by %v for a difference that clocks may have", at.Sub(local))
	}
	subs := tenant(t, s, "acme", core.Limits{RPD: 100, Concurrency: 5})
	srv.SetTime(local.Add(3 * time.Hour))
	for i, c := range []struct{ pass, want time.Duration }{{0, 0}, {29 * time.Second, 0}, {2 * time.Second, 3 * time.Hour}, {time.Second, 3 * time.Hour}} {
		local = local.Add(c.pass)
		srv.SetTime(local.Add(3 * time.Hour))
		if _, err := s.Admit(t.Context(), request(fmt.Sprint(i), "acme", subs[0])); err != nil {
			t.Fatal(err)
		}
		if got := s.At(local).Sub(local); got != c.want {
			t.Errorf("step %d: corrected by %v, want %v", i, got, c.want)
		}
	}
	w.take()
	res, err := s.Admit(t.Context(), request("x", "acme", subs[0]))
	if err != nil || len(w.take()) != 1 {
		t.Fatal("not one trip", err)
	}
	if res.Figures[0].Remaining != 95 || res.Figures[1].Remaining != 3 { // the leases of before the correction ended by it
		t.Errorf("figures %+v", res.Figures)
	}
}
