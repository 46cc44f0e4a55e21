package tokens_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/tokens"
	"sluice/shared/upstream"
)

// While a token has more than 5 minutes left nothing is asked but memory.
func TestFromMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		v, f := r.vault()
		r.gives(v, "access-1")
		if d := r.doc(); strings.Contains(string(d.Access)+string(d.Refresh)+d.Origin, "-") || r.saved() != "refresh-1" || d.Account != "acme" {
			t.Errorf("saved: %+v", d)
		}
		trips := f.trips()
		for range 55 {
			time.Sleep(time.Minute - time.Millisecond)
			r.gives(v, "access-1")
		}
		if f.trips() != trips {
			t.Errorf("%d store trips", f.trips()-trips)
		}
		time.Sleep(time.Second)
		r.gives(v, "access-2") // 5 minutes early
		r.calls(2)
		if r.saved() != "refresh-2" {
			t.Errorf("saved: %s", r.saved())
		}
		other, _ := r.vault() // a restart, or another instance
		r.gives(other, "access-2")
		r.calls(2)
	})
}

// 50 requests at once on each of 4 instances find an expired token: exactly one refresh, and all get its token.
func TestOneRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		v, _ := r.vault()
		r.gives(v, "access-1")
		time.Sleep(2 * time.Hour)
		r.svc.takes = 3 * time.Second
		var wg sync.WaitGroup
		for range 4 {
			v, _ := r.vault()
			for range 50 {
				wg.Go(func() { r.gives(v, "access-2") })
			}
		}
		wg.Wait()
		r.calls(2)
	})
}

// Requests do not wait for a refresh while the present token is good; one makes it, on whichever instance.
func TestPresentTokenServesMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		a, _ := r.vault()
		b, f := r.vault()
		r.gives(a, "access-1")
		r.gives(b, "access-1")
		time.Sleep(56 * time.Minute)
		r.svc.takes = 5 * time.Second
		var wg sync.WaitGroup
		wg.Go(func() { r.gives(a, "access-2") })
		synctest.Wait()
		begin := time.Now()
		r.gives(a, "access-1")
		trips := f.trips()
		for range 20 {
			r.gives(b, "access-1")
		}
		if time.Since(begin) != 0 || f.trips() > trips+2 {
			t.Errorf("they waited %v; %d store trips", time.Since(begin), f.trips()-trips)
		}
		wg.Wait()
		r.gives(b, "access-2")
		r.calls(2)
	})
}

// Who waits for an expired token's refresh waits no longer than its own context, and 25 s.
func TestWaitingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.svc.takes = 35 * time.Second
		a, _ := r.vault()
		b, _ := r.vault()
		var wg sync.WaitGroup
		wg.Go(func() { r.gives(a, "access-1") })
		synctest.Wait()
		for _, v := range []*tokens.Vault{a, b} { // in the process and across
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			begin := time.Now()
			if _, err := v.Token(ctx, r.target()); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
			cancel()
		}
		for _, v := range []*tokens.Vault{a, b} {
			wg.Go(func() {
				begin := time.Now()
				_, err := v.Token(t.Context(), r.target())
				r.refuses(err, upstream.Connection, "")
				if d := time.Since(begin); d != 25*time.Second {
					t.Errorf("waited %v", d)
				}
			})
		}
		wg.Wait()
		r.calls(1)
	})
}

// A client that leaves does so at once (it was held for 39 s), and does not take the answer of the token service with it. The
// end of the process waits for the answer, and for no new one.
func TestLeavingDoesNotStopIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		v, _ := r.vault()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		r.svc.takes = 39 * time.Second
		begin := time.Now()
		if _, err := v.Token(ctx, r.target()); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		hurry, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := v.Close(hurry); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("closed with a refresh under way: %v", err)
		}
		for range 2 {
			if err := v.Close(t.Context()); err != nil || time.Since(begin) != 39*time.Second {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
		}
		if r.saved() != "refresh-1" {
			t.Errorf("saved: %s", r.saved())
		}
		r.gives(v, "access-1") // what is in memory
		r.refuses(v.Refresh(t.Context(), r.target()), upstream.Stopped, "")
		r.calls(1)
	})
}

func TestRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		a, _ := r.vault()
		b, f := r.vault()
		r.gives(a, "access-1")
		r.gives(b, "access-1")
		renew := func(v *tokens.Vault, refused, want string) {
			t.Helper()
			got, err := v.Renew(t.Context(), r.target(), core.NewSecret(refused))
			if err != nil || got.Reveal() != want {
				t.Errorf("renew %s: %q, %v, want %q", refused, got.Reveal(), err, want)
			}
		}
		_, err := a.Renew(t.Context(), r.target(), core.NewSecret("access-1"))
		r.refuses(err, upstream.Credential, "") // made just now: another would be refused, too
		r.calls(1)
		time.Sleep(time.Minute)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { renew(a, "access-1", "access-2") })
		}
		wg.Wait()
		renew(b, "access-1", "access-2") // from the document
		trips := f.trips()
		renew(b, "access-1", "access-2") // from memory
		if f.trips() != trips {
			t.Error("a trip for a token in memory")
		}
		renew(b, "", "access-2")
		r.calls(2)
		for range 100 { // an upstream that takes no token at all
			time.Sleep(time.Second)
			tok, err := a.Token(t.Context(), r.target())
			if err == nil {
				_, _ = a.Renew(t.Context(), r.target(), tok)
			}
		}
		if n := r.svc.count(); n > 2+4 {
			t.Errorf("%d refreshes in 100 s for an upstream that refuses each token", n-2)
		}
	})
}

// API keys go out as they are.
func TestStatic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		v, f := r.vault()
		target := r.target()
		target.Credential = core.NewSecret("ksk_1")
		for range 3 {
			if got, err := v.Token(t.Context(), target); err != nil || got.Reveal() != "ksk_1" {
				t.Error(got.Reveal(), err)
			}
			time.Sleep(24 * time.Hour)
		}
		_, err := v.Renew(t.Context(), target, core.NewSecret("ksk_1"))
		r.refuses(err, upstream.Credential, "")
		if got, err := v.Renew(t.Context(), target, core.NewSecret("ksk_0")); err != nil || got.Reveal() != "ksk_1" {
			t.Error(got.Reveal(), err)
		}
		if errs := v.Sweep(t.Context(), []upstream.Target{target}); len(errs) != 0 {
			t.Error(errs)
		}
		if i, err := v.Info(t.Context(), target); err != nil || !i.Static || !i.Valid {
			t.Error(i, err)
		}
		r.calls(0)
		if f.trips() != 0 {
			t.Errorf("%d store trips", f.trips())
		}
	})
}

// A node's token belongs to its credential. One that is replaced makes way, and does not come back with a late request.
func TestCredentialChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		a, _ := r.vault()
		b, _ := r.vault()
		r.gives(a, "access-1")
		r.gives(b, "access-1")
		old := r.target()
		edited := r.target()
		edited.Node.UpdatedAt = time.Now().Add(time.Second)
		edited.Credential = core.NewSecret("another")
		r.svc.set(func(s *service) { s.current["7"] = "" })
		if got, err := a.Token(t.Context(), edited); err != nil || got.Reveal() != "access-2" {
			t.Error(got.Reveal(), err)
		}
		if i, err := a.Info(t.Context(), old); err != nil || i.Known {
			t.Errorf("the old credential's: %+v, %v", i, err)
		}
		_, err := a.Token(t.Context(), old)
		r.refuses(err, upstream.RateLimited, "")
		time.Sleep(57 * time.Minute)
		_, err = b.Token(t.Context(), old) // b has not heard of the edit
		r.refuses(err, upstream.RateLimited, "")
		r.calls(2)
		if got, err := b.Token(t.Context(), edited); err != nil || got.Reveal() != "access-3" {
			t.Error(got.Reveal(), err)
		}
		if got := r.svc.asked[2]; got != "refresh-2" {
			t.Errorf("refreshed with %q", got)
		}
	})
}

// The sweep is ahead of the requests and does what none of them has to wait for.
func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.svc.takes = time.Second
		a, f := r.vault()
		var targets []upstream.Target
		for i := range 12 {
			r.node.ID = fmt.Sprint(i)
			targets = append(targets, r.target(), r.target())
		}
		r.svc.set(func(s *service) { s.current["3"] = "someone else used it" })
		begin := time.Now()
		errs := a.Sweep(t.Context(), targets)
		if len(errs) != 1 || time.Since(begin) != 3*time.Second {
			t.Errorf("%v after %v, want 12 refreshes 4 at a time, one of them in vain", errs, time.Since(begin))
		}
		r.refuses(errs["3"], upstream.Credential, core.BlockedLogin)
		r.calls(12)
		trips := f.trips()
		time.Sleep(50 * time.Minute)
		errs = a.Sweep(t.Context(), targets)
		r.refuses(errs["3"], upstream.Credential, core.BlockedLogin) // known, not tried
		r.calls(12)
		if n := f.trips() - trips; n > 1 {
			t.Errorf("%d store trips for tokens that are good", n)
		}
		time.Sleep(4*time.Minute + 30*time.Second) // 5.5 minutes are left
		b, _ := r.vault()
		r.node.ID = "0"
		if _, err := b.Token(t.Context(), r.target()); err != nil { // a request does not mind
			t.Error(err)
		}
		r.calls(12)
		var wg sync.WaitGroup
		for range 3 { // on several instances at once
			v, _ := r.vault()
			wg.Go(func() { v.Sweep(t.Context(), targets) })
		}
		wg.Wait()
		r.calls(12 + 11)
	})
}

func TestInfoAndForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		v, _ := r.vault()
		info := func(want tokens.Info) {
			t.Helper()
			if got, err := v.Info(t.Context(), r.target()); err != nil || !got.Made.Equal(want.Made) || !got.Expires.Equal(want.Expires) ||
				got.Known != want.Known || got.Valid != want.Valid || got.Lost != want.Lost {
				t.Errorf("%+v, %v, want %+v", got, err, want)
			}
		}
		info(tokens.Info{})
		r.gives(v, "access-1")
		made := time.Now()
		info(tokens.Info{Known: true, Valid: true, Made: made, Expires: made.Add(time.Hour)})
		time.Sleep(2 * time.Hour)
		info(tokens.Info{Known: true, Made: made, Expires: made.Add(time.Hour)})
		if err := v.Refresh(t.Context(), r.target()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if err := v.Refresh(t.Context(), r.target()); err != nil { // although it is new
			t.Error(err)
		}
		r.gives(v, "access-3")
		r.svc.set(func(s *service) { s.current["7"] = "gone" })
		time.Sleep(time.Second)
		r.refuses(v.Refresh(t.Context(), r.target()), upstream.Credential, core.BlockedLogin)
		info(tokens.Info{Known: true, Lost: true, Made: made.Add(2*time.Hour + time.Second), Expires: made.Add(3*time.Hour + time.Second)})
		// deleted while a refresh is under way: it stays deleted
		r.node.ID = "8"
		r.svc.set(func(s *service) { s.takes = time.Second })
		var wg sync.WaitGroup
		wg.Go(func() { r.gives(v, "access-4") })
		synctest.Wait()
		for range 2 {
			if err := v.Forget(t.Context(), "8"); err != nil {
				t.Error(err)
			}
		}
		wg.Wait()
		if _, err := r.st.Get(t.Context(), store.KindNodeToken, "8"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the token of a deleted node: %v", err)
		}
	})
}

// What lives shorter than the usual ways to refresh early is not refreshed by each request.
func TestShortLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for _, life := range []time.Duration{2 * time.Minute, -time.Hour} {
			v, _ := r.vault()
			r.svc.life = life
			before := r.svc.count()
			time.Sleep(time.Hour)
			for range 100 {
				if _, err := v.Token(t.Context(), r.target()); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Second)
			}
			if n := r.svc.count() - before; n > 3 {
				t.Errorf("life %v: %d refreshes in 100 s", life, n)
			}
		}
	})
}

// Memory is bounded, but what the store does not have yet is not thrown away.
func TestManyNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		v, f := r.vault()
		f.set(func(f *faulty) { f.noSave = errAway })
		const owed = 20
		for i := range owed {
			r.node.ID = fmt.Sprint(i)
			r.gives(v, fmt.Sprint("access-", i+1))
		}
		for i := range 30_000 {
			n := core.Node{ID: fmt.Sprint("key ", i)}
			if _, err := v.Token(t.Context(), upstream.Target{Node: &n, Credential: core.NewSecret("ksk_1")}); err != nil {
				t.Fatal(err)
			}
		}
		f.set(func(f *faulty) { f.noSave = nil })
		time.Sleep(11 * time.Second)
		for i := range owed {
			r.node.ID = fmt.Sprint(i)
			r.gives(v, fmt.Sprint("access-", i+1))
			if want := fmt.Sprint("refresh-", i+1); r.saved() != want {
				t.Errorf("saved %s, want %s", r.saved(), want)
			}
		}
		r.calls(owed)
	})
}

func BenchmarkToken(b *testing.B) {
	r := newRig(b)
	v, _ := r.vault()
	target := r.target()
	ctx := b.Context()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := v.Token(ctx, target); err != nil {
				b.Error(err)
			}
		}
	})
}
