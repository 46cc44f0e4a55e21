package tokens_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/tokens"
	"sluice/shared/upstream"
)

// loginOf names a credential's origin by what stands before the first space; the rest may be edited.
func loginOf(o *tokens.Options) {
	o.Origin = func(credential core.Secret) string { return credential.Reveal()[:6] }
}

// edited is the node with another credential.
func (r *rig) edited(credential string) upstream.Target {
	r.node.UpdatedAt = time.Now()
	t := r.target()
	t.Credential = core.NewSecret(credential)
	return t
}

func (r *rig) givesFor(v *tokens.Vault, t upstream.Target, want string) {
	r.t.Helper()
	if got, err := v.Token(r.t.Context(), t); err != nil || got.Reveal() != want {
		r.t.Errorf("token %q, %v, want %q", got.Reveal(), err, want)
	}
}

// An edit of the region or the start URL threw the rotated refresh token away, and the credential's own was spent: the login
// was lost.
func TestEditKeepsTheRotatedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		a, f := r.vault(loginOf)
		b, _ := r.vault(loginOf)
		r.givesFor(a, r.edited("login1 us-east-1"), "access-1")
		time.Sleep(time.Hour)
		edited := r.edited("login1 eu-west-1")
		r.givesFor(a, edited, "access-2")
		r.givesFor(b, edited, "access-2")
		time.Sleep(time.Hour)
		f.set(func(f *faulty) { f.noSave = errAway })
		r.givesFor(a, edited, "access-3")
		again := r.edited("login1 eu-west-2")
		r.givesFor(a, again, "access-3") // though it is not saved yet, neither is it forgotten
		f.set(func(f *faulty) { f.noSave = nil })
		time.Sleep(11 * time.Second)
		r.givesFor(a, again, "access-3")
		if r.saved() != "refresh-3" {
			t.Errorf("saved %s", r.saved())
		}
		r.calls(3)
		r.svc.set(func(s *service) { s.current["7"] = "" })
		r.givesFor(a, r.edited("login2 eu-west-2"), "access-4") // another login's own
	})
}

// A wrong client secret or region ends a login that only an edit of them brings back: the edit gets a try, one.
func TestEditTriesALostLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		a, _ := r.vault(loginOf)
		b, _ := r.vault(loginOf)
		first := r.edited("login1 wrong")
		r.givesFor(a, first, "access-1")
		time.Sleep(time.Hour)
		r.svc.set(func(s *service) { s.current["7"] = "not yet" })
		lost := func(v *tokens.Vault, target upstream.Target) {
			t.Helper()
			for range 3 {
				_, err := v.Token(t.Context(), target)
				r.refuses(err, upstream.Credential, core.BlockedLogin)
				time.Sleep(11 * time.Second)
			}
		}
		lost(a, first)
		r.calls(2)
		second := r.edited("login1 wrong too")
		lost(a, second)
		lost(b, second)
		r.calls(3)
		_, err := b.Token(t.Context(), first) // b heard of the edit before; such a request has no say
		r.refuses(err, upstream.RateLimited, "")
		other, _ := r.vault(loginOf)
		_, err = other.Token(t.Context(), first)
		r.refuses(err, upstream.RateLimited, "")
		r.calls(3)
		r.svc.set(func(s *service) { s.current["7"] = "refresh-1" })
		third := r.edited("login1 right")
		r.givesFor(a, third, "access-2")
		r.givesFor(b, third, "access-2")
		if d := r.doc(); d.Lost || d.LostBy != "" {
			t.Errorf("the document: %+v", d)
		}
	})
}

// A login that was marked lost stayed so for ever, whatever the token service would have said. An operator's call tries it,
// once with each refresh token there is.
func TestOperatorTriesALostLogin(t *testing.T) {
	for why, c := range map[string]struct {
		good  string // the refresh token that the service takes
		asked int
		saved string
	}{
		"the saved one is good again": {"refresh-1", 1, "refresh-2"},
		"the credential's own is":     {"", 2, "refresh-2"},
		"none is":                     {"gone", 2, "refresh-1"},
	} {
		t.Run(why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				a, _ := r.vault()
				b, _ := r.vault()
				r.gives(a, "access-1")
				r.svc.set(func(s *service) { s.current["7"] = "gone" })
				time.Sleep(time.Hour)
				for _, v := range []*tokens.Vault{a, b} {
					_, err := v.Token(t.Context(), r.target())
					r.refuses(err, upstream.Credential, core.BlockedLogin)
				}
				r.calls(2)
				r.svc.set(func(s *service) { s.current["7"] = c.good })
				time.Sleep(time.Minute)
				err := b.Refresh(t.Context(), r.target())
				r.calls(2 + c.asked)
				if c.good == "gone" {
					r.refuses(err, upstream.Credential, core.BlockedLogin)
					for range 10 { // and nobody else tries
						time.Sleep(time.Minute)
						_, err := b.Token(t.Context(), r.target())
						r.refuses(err, upstream.Credential, core.BlockedLogin)
						r.refuses(a.Sweep(t.Context(), []upstream.Target{r.target()})["7"], upstream.Credential, core.BlockedLogin)
					}
					r.calls(2 + c.asked)
				} else if err != nil {
					t.Error(err)
				} else {
					time.Sleep(11 * time.Second)
					r.gives(b, "access-2")
					r.gives(a, "access-2")
				}
				if d := r.doc(); d.Lost != (c.good == "gone") || r.saved() != c.saved {
					t.Errorf("saved %s, %+v", r.saved(), d)
				}
			})
		})
	}
}

// Operators who ask for the same lost login at once get one try between them.
func TestOperatorsTryOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		v, _ := r.vault()
		r.svc.set(func(s *service) { s.current["7"], s.takes = "gone", time.Second })
		_, err := v.Token(t.Context(), r.target())
		r.refuses(err, upstream.Credential, core.BlockedLogin)
		time.Sleep(time.Minute)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { r.refuses(v.Refresh(t.Context(), r.target()), upstream.Credential, core.BlockedLogin) })
		}
		wg.Wait()
		r.calls(2)
	})
}

// A refusal that does not end the login is not repeated every few seconds, neither by requests nor by the sweep.
func TestRefusedForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		v, _ := r.vault()
		r.gives(v, "access-1")
		r.svc.set(func(s *service) {
			s.fail = &upstream.Error{Failure: upstream.Failure{Class: upstream.Credential, Status: 400, Reason: "denied"}}
		})
		time.Sleep(time.Hour)
		for i := range 3600 {
			_, err := v.Token(t.Context(), r.target())
			r.refuses(err, upstream.Credential, "")
			if i%60 == 0 {
				r.refuses(v.Sweep(t.Context(), []upstream.Target{r.target()})["7"], upstream.Credential, "")
			}
			time.Sleep(time.Second)
		}
		if n := r.svc.count() - 1; n < 20 || n > 26 {
			t.Errorf("%d refreshes in an hour, want one in three minutes", n)
		}
		r.svc.set(func(s *service) { s.fail = nil })
		if d := r.doc(); d.Lost {
			t.Error("the login is lost")
		}
		time.Sleep(3 * time.Minute)
		r.gives(v, "access-2")
		time.Sleep(2 * time.Hour)
		if err := v.Refresh(t.Context(), r.target()); err != nil { // an operator never waits
			t.Error(err)
		}
	})
}
