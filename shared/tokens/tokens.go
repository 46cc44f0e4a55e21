// Package tokens keeps the access tokens that nodes' credentials are exchanged for. A token is in memory while it is good,
// in the store for all instances, and refreshed by one of them at a time: token services hand out a new refresh token with
// each answer and refuse the old one from then on, so two refreshes at once, or an answer that is lost, end a node's login.
package tokens

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/upstream"
)

const (
	early      = 5 * time.Minute  // before its end a token is refreshed
	sweepEarly = 6 * time.Minute  // the sweep is ahead of the requests
	margin     = 10 * time.Second // a token with less life left may end under way
	minLife    = time.Minute      // taken for the life of a token that comes with less
	newborn    = 30 * time.Second // a token that is refused at this age would be followed by others like it

	leaseTTL  = time.Minute
	workTime  = 40 * time.Second // reading and asking the token service; with saveTime below leaseTTL
	saveTime  = 10 * time.Second
	storeTime = 5 * time.Second  // giving a lease back
	patience  = 25 * time.Second // waiting for another request's or instance's refresh

	failedPause = 10 * time.Second // between refreshes that fail, looks at a lost token, attempts to save
	heldPause   = time.Second      // between looks at the store while another instance refreshes
	maxPause    = 3 * time.Minute  // the longest that a token service may ask for

	sweepers = 4
	maxNodes = 20_000
)

// Box seals, opens and hashes; a *seal.Box.
type Box interface {
	Seal(owner string, s core.Secret) core.Sealed
	Open(owner string, v core.Sealed) (core.Secret, error)
	Hash(credential string) string
}

// Options configures a Vault.
type Options struct {
	Tables *store.Tables
	Leases store.Leases
	Box    Box
	// Refresh asks the token service. The empty refresh token means the one in the credential. It is called under a context
	// of 40 s that does not end with the caller's, and its answer counts whenever it comes. An error that wraps
	// upstream.ErrInvalidGrant ends the node's login; any other passes.
	Refresh func(ctx context.Context, credential, refresh core.Secret, node core.Node) (upstream.Grant, error)
	// Origin returns what of a credential its tokens come from: a login's refresh token and client id, an API key. While it
	// stays the same, an edited credential keeps the tokens; one that changed makes them void. nil: the whole credential.
	Origin func(credential core.Secret) string
	// Static returns what a credential that needs no token, such as an API key, sends in its place; nil: there are none.
	Static func(credential core.Secret) (core.Secret, bool)
	Now    func() time.Time // nil: time.Now
	Log    *slog.Logger     // nil: none
	Holder string           // names this process to the others; empty: a random name
}

// Vault gives tokens. It is safe for concurrent use.
type Vault struct {
	o       Options
	entries sync.Map // node id -> *entry
	count   atomic.Int64
	serial  atomic.Int64
	works   works
}

// New makes a Vault with an empty memory.
func New(o Options) *Vault {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Static == nil {
		o.Static = func(core.Secret) (core.Secret, bool) { return core.Secret{}, false }
	}
	if o.Origin == nil {
		o.Origin = func(credential core.Secret) string { return credential.Reveal() }
	}
	if o.Holder == "" {
		o.Holder = rand.Text()
	}
	return &Vault{o: o}
}

// Token returns an access token of the node. From memory while one has more than 5 minutes (or a quarter of its life) left;
// else another instance's, else a new one. Who would have to wait for another's refresh gets the present token while that
// is good, else waits up to 25 s. The error is an *upstream.Error: Credential with core.BlockedLogin when someone must log
// in again, Connection or RateLimited when the token service or the store does not serve; or ctx's own.
// Who leaves at ctx's end does not stop a refresh under way: see Close.
func (v *Vault) Token(ctx context.Context, t upstream.Target) (core.Secret, error) {
	if e := v.peek(t.Node.ID); e != nil {
		if s := e.state.Load(); s != nil && s.credential == t.Credential && s.serves(v.o.Now()) {
			return s.tok.access, nil
		}
	}
	return v.obtain(ctx, t, want{early: early})
}

// Renew returns a token other than refused, which the upstream did not take: a newer one of memory or store, else a new
// one. A token that is refused within 30 s of its making is not renewed: the next would fare no better. Errors as of Token.
func (v *Vault) Renew(ctx context.Context, t upstream.Target, refused core.Secret) (core.Secret, error) {
	return v.obtain(ctx, t, want{refused: refused})
}

// Refresh makes a new token although the present one is good, for an operator who asks for it. A login that ended is tried
// once more, with the refresh token that is saved and then with the credential's own: the token service may have been wrong,
// and nobody else ever tries it. Errors as of Token.
func (v *Vault) Refresh(ctx context.Context, t upstream.Target) error {
	_, err := v.obtain(ctx, t, want{since: v.o.Now(), eager: true, again: true})
	return err
}

// Sweep refreshes what ends within 6 minutes and makes tokens for nodes that never had one, so that no request waits for
// it, 4 at a time. It returns the errors by node id, as of Token; among them the login that ended earlier, every time. What
// another instance refreshes at this moment is left to it. Targets of one id count once.
func (v *Vault) Sweep(ctx context.Context, targets []upstream.Target) map[string]error {
	var mu sync.Mutex
	var wg sync.WaitGroup
	errs := make(map[string]error)
	work := make(chan upstream.Target)
	for range min(sweepers, len(targets)) {
		wg.Go(func() {
			for t := range work {
				_, err := v.obtain(ctx, t, want{early: sweepEarly, eager: true, leave: true})
				if err != nil && !errors.Is(err, errElsewhere) {
					mu.Lock()
					errs[t.Node.ID] = err
					mu.Unlock()
				}
			}
		})
	}
	seen := make(map[string]bool, len(targets))
	for _, t := range targets {
		if ctx.Err() == nil && !seen[t.Node.ID] {
			seen[t.Node.ID] = true
			work <- t
		}
	}
	close(work)
	wg.Wait()
	return errs
}

// Info is what may be shown of a node's token.
type Info struct {
	Known   bool      // there is one, or was one
	Static  bool      // the credential needs none
	Made    time.Time // zero: never
	Expires time.Time
	Valid   bool // a request would be sent with it now
	Lost    bool // someone must log in again
}

// Info reads what the store has for the node and its present credential.
func (v *Vault) Info(ctx context.Context, t upstream.Target) (Info, error) {
	if _, ok := v.o.Static(t.Credential); ok {
		return Info{Known: true, Static: true, Valid: true}, nil
	}
	d, err := v.read(ctx, t)
	if err != nil {
		return Info{}, err
	}
	if d.saved.Origin != d.origin {
		return Info{}, nil
	}
	return Info{Known: true, Made: d.saved.Made, Expires: d.saved.Expires, Valid: d.tok.usable(v.o.Now()), Lost: d.saved.Lost}, nil
}

// Forget drops the token of a node that was deleted. A refresh under way does not bring it back.
func (v *Vault) Forget(ctx context.Context, node string) error {
	if e, ok := v.entries.LoadAndDelete(node); ok {
		e.(*entry).gone.Store(true)
		v.count.Add(-1)
	}
	if err := v.o.Tables.Tokens.Delete(ctx, node); err != nil && !store.Missing(err) {
		return err
	}
	return nil
}

// AccessOwner is the owner under which a node's access token is sealed.
func AccessOwner(node string) string { return "nodetoken/" + node + "/access" }

// RefreshOwner is the owner under which a node's refresh token is sealed.
func RefreshOwner(node string) string { return "nodetoken/" + node + "/refresh" }

func (v *Vault) peek(node string) *entry {
	e, ok := v.entries.Load(node)
	if !ok {
		return nil
	}
	return e.(*entry)
}

// entry returns the node's entry, a new one on first sight.
func (v *Vault) entry(node string) *entry {
	if e := v.peek(node); e != nil {
		return e
	}
	if v.count.Load() >= maxNodes {
		v.trim()
	}
	fresh := &entry{turn: make(chan struct{}, 1), holder: v.o.Holder + "/" + strconv.FormatInt(v.serial.Add(1), 10)}
	fresh.turn <- struct{}{}
	e, loaded := v.entries.LoadOrStore(node, fresh)
	if !loaded {
		v.count.Add(1)
	}
	return e.(*entry)
}

// trim drops a tenth of the entries, at random but for those that are busy or owe the store a token. Who still has hold of a
// dropped one harms nobody: it has a lease holder's name of its own.
func (v *Vault) trim() {
	n := 0
	v.entries.Range(func(node, x any) bool {
		e := x.(*entry)
		select {
		case <-e.turn:
			if s := e.state.Load(); (s == nil || s.debt == nil) && v.entries.CompareAndDelete(node, x) {
				v.count.Add(-1)
				n++
			}
			e.turn <- struct{}{}
		default:
		}
		return n < maxNodes/10
	})
}
