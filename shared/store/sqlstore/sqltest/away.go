//go:build unix

package sqltest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/sqlstore"
)

// trips counts what the calls cost on a warm connection.
func trips(t *testing.T, b Backend, s *Server) {
	dsn := b.Empty(t, s)
	p := newProxy(t, "127.0.0.1:"+s.Port)
	st := b.open(t, b.Via(dsn, p.addr()))
	free := subject(t, st, store.KindKey, "free", core.Limits{})
	rate := subject(t, st, store.KindKey, "rate", core.Limits{RPM: 1000})
	leased := subject(t, st, store.KindKey, "leased", core.Limits{RPM: 1000, Concurrency: 1000})
	shut := subject(t, st, store.KindKey, "shut", core.Limits{RPD: 1})
	account := subject(t, st, store.KindAccount, "acme", core.Limits{RPM: 1000, TPM: 1_000_000, USDDay: 1_000_000})
	n := 0
	id := func() string { n++; return fmt.Sprint("r", n) }
	now := time.Now().UTC() // records of a request that ends now are the cheap ones
	admit := func(subs ...store.Subject) func() error {
		return func() error {
			_, err := st.Admit(t.Context(), ask(now, id(), store.Amount{Tokens: 1, USD: 1}, subs...))
			var r *store.Refusal
			if errors.As(err, &r) {
				return nil
			}
			return err
		}
	}
	settle := func(at time.Time, subs ...store.Subject) func() error {
		m := 0
		return func() error {
			m++
			return st.Settle(t.Context(), done(at, fmt.Sprintf("r%d", n-m+1), store.Amount{Tokens: 2, USD: 2}, subs...))
		}
	}
	const times = 5
	for _, c := range []struct {
		what string
		call func() error
		want int
	}{
		{"admit, nothing limited", admit(free), b.Trips.Unlimited},
		{"settle, nothing limited", settle(now, free), b.Trips.SettleUnlimited},
		{"admit, requests a minute", admit(rate), b.Trips.Rate},
		{"admit, refused", admit(shut), b.Trips.Refused},
		{"admit, with a lease", admit(leased), b.Trips.Leased},
		{"settle, with a lease", settle(now, leased), b.Trips.SettleLeased},
		{"admit, key and account", admit(leased, account), b.Trips.Pair},
		{"renew, key and account", func() error { return st.Renew(t.Context(), ask(now, "r1", store.Amount{}, leased, account)) }, b.Trips.Renew},
		{"settle, key and account", settle(now, leased, account), b.Trips.SettlePair},
		{"settle, of an hour that may be closed", settle(start, free), b.Trips.Late},
	} {
		for range 2 { // statements are prepared, rows of counters made
			if err := c.call(); err != nil {
				t.Fatalf("%s: %v", c.what, err)
			}
		}
		before := p.trips.Load()
		for range times {
			if err := c.call(); err != nil {
				t.Fatalf("%s: %v", c.what, err)
			}
		}
		if got := float64(p.trips.Load()-before) / times; got != float64(c.want) {
			t.Errorf("%s: %.1f trips, want %d", c.what, got, c.want)
		}
	}
}

// A server that comes later than the gateway is waited for, and that is said.
func late(t *testing.T, b Backend, s *Server) {
	dsn := b.Empty(t, s)
	addr := "127.0.0.1:" + freePort(t)
	var log lines
	type result struct {
		s   store.Store
		err error
	}
	opened := make(chan result, 1)
	go func() {
		st, err := b.Open(t.Context(), b.Via(dsn, addr), log.logger())
		opened <- result{st, err}
	}()
	Await(t, "a line that tells of waiting", func(context.Context) error {
		if !strings.Contains(log.String(), "waiting") {
			return errors.New("none")
		}
		return nil
	})
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Skip("someone else took the port meanwhile: ", err)
	}
	var wg sync.WaitGroup
	pass := func(c net.Conn) { // a server that is there
		up, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", "127.0.0.1:"+s.Port)
		if err != nil {
			_ = c.Close()
			return
		}
		wg.Go(func() { _, _ = io.Copy(up, c); _ = up.Close() })
		wg.Go(func() { _, _ = io.Copy(c, up); _ = c.Close() })
	}
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			pass(c)
		}
	})
	r := <-opened
	if r.err != nil {
		t.Errorf("it came, but: %v", r.err)
	} else if err := errors.Join(r.s.Ping(t.Context()), r.s.Close()); err != nil {
		t.Error(err)
	}
	_ = l.Close()
	wg.Wait()
	if text := log.String(); !strings.Contains(text, "is there") || strings.Contains(text, "hunter2") || strings.Count(text, "waiting") > 3 {
		t.Errorf("the log:\n%s", text)
	}
	// One that never comes ends the waiting.
	begin := time.Now()
	_, err = b.Open(t.Context(), WithParam(b.Via(dsn, "127.0.0.1:"+freePort(t)), "sluice_wait", "1s"), nil)
	if !errors.Is(err, sqlstore.ErrAway) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "is the server running") {
		t.Errorf("a server that never comes: %v", err)
	}
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("waited %v instead of a second", d)
	}
}

// A server that takes connections and says nothing does not hold the callers for ever.
func silent(t *testing.T, b Backend, s *Server) {
	dsn := b.Empty(t, s)
	p := newProxy(t, "127.0.0.1:"+s.Port)
	st := b.open(t, b.Via(dsn, p.addr()))
	k := subject(t, st, store.KindKey, "1", core.Limits{RPM: 5})
	p.deaf.Store(true)
	begin := time.Now()
	_, err := b.Open(t.Context(), WithParam(b.Via(dsn, p.addr()), "sluice_wait", "0s"), nil)
	if !errors.Is(err, sqlstore.ErrAway) {
		t.Errorf("open: %v, want ErrAway", err)
	}
	calls := []func() error{
		func() error { _, err := st.Admit(t.Context(), ask(start, "a", store.Amount{}, k)); return err },
		func() error { return st.Settle(t.Context(), done(start, "a", store.Amount{}, k)) },
		func() error { _, err := st.Get(t.Context(), store.KindKey, "1"); return err },
		func() error { _, err := st.Next(t.Context(), "n"); return err },
		func() error { _, err := st.Create(t.Context(), store.Doc{Kind: store.KindKey, ID: "2"}); return err },
	}
	parallel(t, len(calls), func(i int) error {
		if err := calls[i](); !errors.Is(err, sqlstore.ErrAway) {
			return fmt.Errorf("call %d: %w, want ErrAway", i, err)
		}
		return nil
	})
	if d := time.Since(begin); d > 40*time.Second {
		t.Errorf("it took %v", d)
	}
}

// crash kills the server under load: callers get ErrAway, nothing that was answered is lost, and it goes on by itself.
func crash(t *testing.T, b Backend, _ *Server) {
	s := b.Start(t)
	st := b.open(t, b.Empty(t, s))
	k := subject(t, st, store.KindKey, "1", core.Limits{RPD: 1_000_000, USDMonth: 1 << 40})
	a := subject(t, st, store.KindAccount, "acme", core.Limits{RPD: 1_000_000})
	var admitted, settled, failed atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprint(w, "-", i)
				if _, err := st.Admit(t.Context(), ask(start, id, store.Amount{USD: 10}, k, a)); err == nil {
					admitted.Add(1)
				} else if failed.Add(1); !errors.Is(err, sqlstore.ErrAway) {
					t.Errorf("admit: %v", err)
				}
				switch err := st.Settle(t.Context(), done(start, id, store.Amount{USD: 7, Tokens: 1}, k, a)); {
				case err == nil:
					settled.Add(1)
				case !errors.Is(err, sqlstore.ErrAway):
					t.Errorf("settle: %v", err)
				}
			}
		})
	}
	reached := func(n *atomic.Int64, more int64) {
		t.Helper()
		from := n.Load()
		Await(t, "progress", func(context.Context) error {
			if n.Load() < from+more {
				return errors.New("none")
			}
			return nil
		})
	}
	reached(&settled, 200)
	s.Kill(t)
	reached(&failed, 20)
	if err := st.Ping(t.Context()); !errors.Is(err, sqlstore.ErrAway) {
		t.Errorf("ping while it is away: %v", err)
	}
	s.Up(t)
	reached(&settled, 200)
	close(stop)
	wg.Wait()
	sums, err := st.Sums(t.Context(), store.UsageFilter{}, store.GroupNone)
	if err != nil || sums[0].Requests < settled.Load() || sums[0].Requests > settled.Load()+2*8 {
		t.Errorf("%+v, %v, want the %d answered, and at most those whose answer was lost", sums, err, settled.Load())
	}
	res, err := st.Admit(t.Context(), ask(start, "last", store.Amount{}, k, a))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range res.Figures {
		if used := f.Max - f.Remaining - 1; f.Limit == store.LimitRPD && (used < admitted.Load() || used > admitted.Load()+2*8) {
			t.Errorf("%s counts %d, want the %d answered, and at most those whose answer was lost", f.Subject, used, admitted.Load())
		}
	}
}
