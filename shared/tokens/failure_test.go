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

// What the token service gave is in the store before any request has it.
func TestSavedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		v, f := r.vault()
		writes := 0
		r.svc.after = func(int) { f.set(func(f *faulty) { writes = f.writes }) }
		for i := 1; i < 4; i++ {
			r.gives(v, fmt.Sprint("access-", i))
			if f.writes == writes || r.saved() != fmt.Sprint("refresh-", i) {
				t.Errorf("%d writes after answer %d; saved: %s", f.writes-writes, i, r.saved())
			}
			time.Sleep(time.Hour)
		}
	})
}

// A store that cannot save: the token is used, that is said loudly, and saving goes on until it is done.
func TestUnsaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		a, f := r.vault()
		b, _ := r.vault()
		f.set(func(f *faulty) { f.noSave = errAway })
		r.gives(a, "access-1")
		if !strings.Contains(r.log.String(), "COULD NOT BE SAVED") {
			t.Errorf("the log: %s", &r.log)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := b.Token(ctx, r.target()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("while a keeps the lease: %v", err) // else b would try the refresh token that is spent
		}
		trips := f.trips()
		for range 10 {
			r.gives(a, "access-1")
		}
		if n := f.trips() - trips; n > 3 {
			t.Errorf("%d store trips of 10 requests in one moment", n)
		}
		time.Sleep(11 * time.Second)
		r.gives(a, "access-1") // tries to save, in vain
		f.set(func(f *faulty) { f.noSave = nil })
		time.Sleep(11 * time.Second)
		r.gives(a, "access-1")
		r.calls(1)
		if r.saved() != "refresh-1" || !strings.Contains(r.log.String(), "saved at last") {
			t.Errorf("saved %s; the log: %s", r.saved(), &r.log)
		}
		r.gives(b, "access-1")
		time.Sleep(time.Hour)
		r.gives(b, "access-2")
		r.calls(2)
	})
}

// A process ends between the token service's answer and saving it. The next one tries the refresh token that is spent, once,
// and says that someone must log in; so do all others and all later calls, without asking again.
func TestKilledBeforeSaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		first, _ := r.vault()
		r.gives(first, "access-1")
		time.Sleep(2 * time.Hour)
		killed, f := r.vault()
		f.set(func(f *faulty) { f.noSave = errAway }) // for ever: nothing of it is heard again
		r.gives(killed, "access-2")
		r.calls(2)
		time.Sleep(time.Minute) // its lease ends
		var wg sync.WaitGroup
		vaults := []*tokens.Vault{first}
		for range 3 {
			v, _ := r.vault()
			vaults = append(vaults, v)
		}
		for _, v := range vaults {
			for range 10 {
				wg.Go(func() {
					_, err := v.Token(t.Context(), r.target())
					r.refuses(err, upstream.Credential, core.BlockedLogin)
				})
			}
		}
		wg.Wait()
		r.calls(3)
		restarted, quiet := r.vault()
		for range 10 {
			_, err := restarted.Token(t.Context(), r.target())
			r.refuses(err, upstream.Credential, core.BlockedLogin)
		}
		if n := quiet.trips(); n != 1 {
			t.Errorf("%d store trips of 10 requests in one moment", n)
		}
		for i, v := range append(vaults, restarted) {
			for range 20 {
				time.Sleep(7 * time.Second)
				_, err := v.Token(t.Context(), r.target())
				r.refuses(err, upstream.Credential, core.BlockedLogin)
				_, err = v.Renew(t.Context(), r.target(), core.NewSecret(fmt.Sprint("access-", i)))
				r.refuses(err, upstream.Credential, core.BlockedLogin)
				r.refuses(v.Sweep(t.Context(), []upstream.Target{r.target()})["7"], upstream.Credential, core.BlockedLogin)
			}
		}
		r.calls(3)
		if d := r.doc(); !d.Lost || r.saved() != "refresh-1" {
			t.Errorf("the document: %+v", d)
		}
		// a new login
		r.svc.set(func(s *service) { s.current["7"] = "" })
		again := r.target()
		again.Credential, again.Node.UpdatedAt = core.NewSecret("new login"), time.Now()
		for _, v := range append(vaults, restarted) {
			if got, err := v.Token(t.Context(), again); err != nil || got.Reveal() != "access-3" {
				t.Errorf("after a new login: %q, %v", got.Reveal(), err)
			}
		}
		r.calls(4)
	})
}

// The unsaved token of a process that lives is worth more than another's word that the login has ended.
func TestUnsavedHealsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		a, f := r.vault()
		b, _ := r.vault()
		f.set(func(f *faulty) { f.noSave = errAway })
		r.gives(a, "access-1")
		time.Sleep(2 * time.Minute)
		_, err := b.Token(t.Context(), r.target())
		r.refuses(err, upstream.Credential, core.BlockedLogin)
		f.set(func(f *faulty) { f.noSave = nil })
		r.gives(a, "access-1")
		if d := r.doc(); d.Lost || r.saved() != "refresh-1" {
			t.Errorf("the document: %+v", d)
		}
		time.Sleep(11 * time.Second)
		r.gives(b, "access-1")
		r.calls(2)
	})
}

// A token that is not saved yet is saved before another is made: the store has a refresh token that is spent. A late
// request with the credential of before does not take it away.
func TestUnsavedGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		a, f := r.vault()
		late := r.target()
		late.Credential, late.Node.UpdatedAt = core.NewSecret("the one before"), r.node.UpdatedAt.Add(-time.Hour)
		r.gives(a, "access-1")
		time.Sleep(time.Hour)
		f.set(func(f *faulty) { f.noSave = errAway })
		r.gives(a, "access-2")
		time.Sleep(time.Hour)
		for range 3 {
			_, err := a.Token(t.Context(), r.target())
			r.refuses(err, upstream.RateLimited, "")
			_, err = a.Token(t.Context(), late)
			r.refuses(err, upstream.RateLimited, "")
		}
		r.calls(2)
		time.Sleep(2 * time.Second) // not long enough to try saving for its own sake
		f.set(func(f *faulty) { f.noSave = nil })
		r.gives(a, "access-3")
		if r.saved() != "refresh-3" || r.doc().Lost {
			t.Errorf("saved %s", r.saved())
		}
	})
}

// While ours is not saved, what the store has is older than ours and no way out.
func TestUnsavedIsNewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		v, f := r.vault()
		r.gives(v, "access-1")
		f.set(func(f *faulty) { f.noSave = errAway })
		time.Sleep(time.Second)
		if err := v.Refresh(t.Context(), r.target()); err != nil {
			t.Error(err)
		}
		time.Sleep(31 * time.Second)
		r.gives(v, "access-2")
		time.Sleep(time.Second)
		got, err := v.Renew(t.Context(), r.target(), core.NewSecret("access-2"))
		if err == nil {
			t.Errorf("got %q", got.Reveal())
		}
		r.refuses(err, upstream.RateLimited, "")
		r.calls(2)
	})
}

// The word that a login has ended is remembered even where it cannot be saved.
func TestLostUnsaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		v, f := r.vault()
		r.svc.set(func(s *service) { s.current["7"] = "gone" })
		f.set(func(f *faulty) { f.noSave = errAway })
		for range 10 {
			_, err := v.Token(t.Context(), r.target())
			r.refuses(err, upstream.Credential, core.BlockedLogin)
			time.Sleep(time.Minute)
		}
		f.set(func(f *faulty) { f.noSave = nil })
		_, err := v.Token(t.Context(), r.target())
		r.refuses(err, upstream.Credential, core.BlockedLogin)
		if !r.doc().Lost {
			t.Error("it is not saved when it can be")
		}
		r.calls(1)
	})
}

// A refresh token that someone else replaced is not the end: the document is read again, once.
func TestRefusedButReplaced(t *testing.T) {
	for name, end := range map[string]struct {
		live  bool // the token in the document is good
		good  bool // the refresh token in it is
		want  string
		calls int
	}{
		"its token is taken":                   {true, true, "access-by-hand", 1},
		"its refresh token is tried":           {false, true, "access-1", 2},
		"its refresh token is refused as well": {false, false, "", 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				v, _ := r.vault()
				r.svc.set(func(s *service) {
					s.current["7"] = "by hand"
					if !end.good {
						s.current["7"] = "gone"
					}
				})
				r.svc.before = func(call int) {
					if call > 1 {
						return
					}
					expires := time.Now()
					if end.live {
						expires = expires.Add(time.Hour)
					}
					_, err := store.NewTables(r.st, time.Now).Tokens.Create(t.Context(), core.NodeToken{Node: "7", Account: "acme", Origin: r.box.Hash("credential-of-7"),
						Access:  r.box.Seal(tokens.AccessOwner("7"), core.NewSecret("access-by-hand")),
						Refresh: r.box.Seal(tokens.RefreshOwner("7"), core.NewSecret("by hand")), Made: time.Now(), Expires: expires})
					if err != nil {
						t.Error(err)
					}
				}
				if end.want != "" {
					r.gives(v, end.want)
				} else {
					for range 5 {
						_, err := v.Token(t.Context(), r.target())
						r.refuses(err, upstream.Credential, core.BlockedLogin)
						time.Sleep(time.Minute)
					}
				}
				r.calls(end.calls)
			})
		})
	}
}

// A holder that stood still for longer than its lease does not overwrite the token of the next one.
func TestFencing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		resume := make(chan struct{})
		slow, _ := r.vault(func(o *tokens.Options) {
			o.Refresh = func(context.Context, core.Secret, core.Secret, core.Node) (upstream.Grant, error) {
				<-resume // it was stopped, and does not look at its clock
				return upstream.Grant{Access: core.NewSecret("late"), Refresh: core.NewSecret("late"), Expires: time.Now().Add(time.Hour)}, nil
			}
		})
		var wg sync.WaitGroup
		wg.Go(func() { r.gives(slow, "access-1") })
		synctest.Wait()
		time.Sleep(2 * time.Minute)
		v, _ := r.vault()
		r.gives(v, "access-1")
		before := r.doc()
		close(resume)
		wg.Wait()
		if after := r.doc(); after != before || r.saved() != "refresh-1" {
			t.Errorf("overwritten: %+v, was %+v", after, before)
		}
		if !strings.Contains(r.log.String(), "lease of a token refresh was lost") {
			t.Errorf("the log: %s", &r.log)
		}
		r.gives(slow, "access-1")
		r.calls(1)
	})
}

// In a store that documents were moved to the numbers of leases begin anew; what is written there counts all the same.
func TestFencesAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		v, _ := r.vault()
		r.gives(v, "access-1")
		if _, err := store.NewTables(r.st, time.Now).Tokens.Update(t.Context(), "7", func(d *core.NodeToken) error { d.Fence = 1 << 60; return nil }); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			time.Sleep(time.Hour)
			r.gives(v, fmt.Sprint("access-", i+2))
			if want := fmt.Sprint("refresh-", i+2); r.saved() != want || r.doc().Fence != 1<<60 {
				t.Errorf("saved %s with fence %d, want %s", r.saved(), r.doc().Fence, want)
			}
		}
	})
}

// Failures that pass: the present token serves while it is good, and the token service has its peace.
func TestServiceAway(t *testing.T) {
	for name, c := range map[string]struct {
		fail  error
		class upstream.Class
		pause time.Duration
	}{
		"no connection": {errors.New("dial: connection refused"), upstream.Connection, 10 * time.Second},
		"throttled":     {&upstream.Error{Failure: upstream.Failure{Class: upstream.RateLimited, RetryAfter: 30 * time.Second}}, upstream.RateLimited, 30 * time.Second},
		"throttled for a day": {&upstream.Error{Failure: upstream.Failure{Class: upstream.RateLimited, RetryAfter: 24 * time.Hour}}, upstream.RateLimited,
			3 * time.Minute},
		"silence": {context.DeadlineExceeded, upstream.Timeout, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				v, f := r.vault()
				r.gives(v, "access-1")
				r.svc.set(func(s *service) { s.fail = c.fail })
				time.Sleep(55*time.Minute + 30*time.Second)
				r.gives(v, "access-1")
				trips := f.trips()
				for range 20 {
					r.gives(v, "access-1")
				}
				if r.calls(2); f.trips() != trips {
					t.Errorf("%d store trips within the pause", f.trips()-trips)
				}
				time.Sleep(c.pause)
				r.gives(v, "access-1")
				r.calls(3)
				r.refuses(v.Sweep(t.Context(), []upstream.Target{r.target()})["7"], c.class, "") // it does not wait
				r.calls(4)
				time.Sleep(time.Hour)
				var wg sync.WaitGroup
				for range 50 {
					wg.Go(func() {
						_, err := v.Token(t.Context(), r.target())
						r.refuses(err, c.class, "")
					})
				}
				wg.Wait()
				r.calls(5)
				r.svc.set(func(s *service) { s.fail = nil })
				_, err := v.Token(t.Context(), r.target())
				r.refuses(err, c.class, "")
				time.Sleep(c.pause)
				r.gives(v, "access-2")
			})
		})
	}
}

// Without the store nothing is refreshed: the refresh token in memory may be one that another instance spent.
func TestStoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		v, f := r.vault()
		r.gives(v, "access-1")
		f.set(func(f *faulty) { f.noRead = errAway })
		time.Sleep(57 * time.Minute)
		r.gives(v, "access-1")
		time.Sleep(57 * time.Minute)
		_, err := v.Token(t.Context(), r.target())
		r.refuses(err, upstream.RateLimited, "")
		r.calls(1)
		// it goes away after the lease was given
		f.set(func(f *faulty) { f.noRead = nil })
		time.Sleep(time.Minute)
		r.svc.before = func(int) { f.set(func(f *faulty) { f.noRead, f.noSave = errAway, errAway }) }
		r.gives(v, "access-2")
		r.svc.set(func(s *service) { s.before = nil })
		time.Sleep(2 * time.Hour)
		_, err = v.Token(t.Context(), r.target())
		r.refuses(err, upstream.RateLimited, "")
		r.calls(2)
		f.set(func(f *faulty) { f.noRead, f.noSave = nil, nil })
		time.Sleep(time.Minute)
		r.gives(v, "access-3") // with refresh-2, which was in memory alone
		r.calls(3)
	})
}

// Answers without an access token, and answers without a new refresh token.
func TestOddGrants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		grants := []upstream.Grant{{Refresh: core.NewSecret("only")}, {Access: core.NewSecret("a"), Expires: time.Now().Add(time.Hour)}}
		var asked []string
		v, _ := r.vault(func(o *tokens.Options) {
			o.Refresh = func(_ context.Context, _, refresh core.Secret, _ core.Node) (upstream.Grant, error) {
				asked = append(asked, refresh.Reveal())
				return grants[len(asked)-1], nil
			}
		})
		_, err := v.Token(t.Context(), r.target())
		r.refuses(err, upstream.Server, "")
		if r.saved() != "only" {
			t.Errorf("saved: %s", r.saved())
		}
		time.Sleep(time.Minute)
		r.gives(v, "a")
		if fmt.Sprint(asked) != "[ only]" || r.saved() != "only" {
			t.Errorf("asked with %q; saved %s", asked, r.saved())
		}
	})
}

// A document that does not open, as after a restore with another key, is made anew.
func TestDamagedDocument(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		_, err := store.NewTables(r.st, time.Now).Tokens.Create(t.Context(), core.NodeToken{Node: "7", Account: "acme", Origin: r.box.Hash("credential-of-7"),
			Access: "v1.9.x", Refresh: r.box.Seal(tokens.RefreshOwner("8"), core.NewSecret("of another node")), Expires: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		v, _ := r.vault()
		r.gives(v, "access-1")
		if r.saved() != "refresh-1" {
			t.Errorf("saved %s", r.saved())
		}
	})
}

// A panic in the token client gives back what was held.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		v, _ := r.vault()
		r.svc.before = func(call int) {
			if call == 1 {
				panic("a fault of ours")
			}
		}
		func() {
			defer func() { _ = recover() }()
			_, _ = v.Token(t.Context(), r.target())
			t.Error("no panic")
		}()
		r.gives(v, "access-1")
		other, _ := r.vault()
		r.gives(other, "access-1")
	})
}
