package tokens_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/seal"
	"sluice/shared/seal/sealtest"
	"sluice/shared/store"
	"sluice/shared/store/memory"
	"sluice/shared/tokens"
	"sluice/shared/upstream"
)

// service is a token service that rotates: each answer brings a new refresh token, and the old one is refused from then on.
type service struct {
	mu      sync.Mutex
	calls   int
	serial  int
	current map[string]string // node -> refresh token; none: the credential's own
	takes   time.Duration     // for an answer, of the bubble's time
	life    time.Duration     // of access tokens
	fail    error             // answered instead, before anything changes
	before  func(call int)    // runs before a call is judged
	after   func(call int)    // runs when a call was judged
	asked   []string          // refresh tokens
}

func (s *service) refresh(ctx context.Context, _, refresh core.Secret, n core.Node) (upstream.Grant, error) {
	s.mu.Lock()
	s.calls++
	call, before, after := s.calls, s.before, s.after
	s.asked = append(s.asked, refresh.Reveal())
	takes := s.takes
	s.mu.Unlock()
	if before != nil {
		before(call)
	}
	if takes > 0 {
		timer := time.NewTimer(takes)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return upstream.Grant{}, ctx.Err()
		}
	}
	g, err := s.judge(refresh, n)
	if after != nil {
		after(call)
	}
	return g, err
}

func (s *service) judge(refresh core.Secret, n core.Node) (upstream.Grant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return upstream.Grant{}, s.fail
	}
	if refresh.Reveal() != s.current[n.ID] {
		return upstream.Grant{}, fmt.Errorf("status 400: %w", upstream.ErrInvalidGrant)
	}
	s.serial++
	s.current[n.ID] = fmt.Sprint("refresh-", s.serial)
	return upstream.Grant{Access: core.NewSecret(fmt.Sprint("access-", s.serial)), Refresh: core.NewSecret(s.current[n.ID]), Expires: time.Now().Add(s.life)}, nil
}

func (s *service) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *service) set(edit func(*service)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	edit(s)
}

// faulty is a store whose calls can fail and are counted. Several share what is in it.
type faulty struct {
	*memory.Store
	mu     sync.Mutex
	reads  int
	writes int
	leases int
	noRead error
	noSave error
}

var errAway = errors.New("the store is away")

func (f *faulty) look(n *int, err *error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	*n++
	return *err
}

func (f *faulty) set(edit func(*faulty)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	edit(f)
}

func (f *faulty) trips() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reads + f.writes + f.leases
}

func (f *faulty) Get(ctx context.Context, kind, id string) (store.Doc, error) {
	if err := f.look(&f.reads, &f.noRead); err != nil {
		return store.Doc{}, err
	}
	return f.Store.Get(ctx, kind, id)
}

func (f *faulty) Create(ctx context.Context, d store.Doc) (int64, error) {
	if err := f.look(&f.writes, &f.noSave); err != nil {
		return 0, err
	}
	return f.Store.Create(ctx, d)
}

func (f *faulty) Replace(ctx context.Context, d store.Doc) (int64, error) {
	if err := f.look(&f.writes, &f.noSave); err != nil {
		return 0, err
	}
	return f.Store.Replace(ctx, d)
}

func (f *faulty) Acquire(ctx context.Context, name, holder string, now time.Time, ttl time.Duration) (int64, error) {
	if err := f.look(&f.leases, new(error)); err != nil {
		return 0, err
	}
	return f.Store.Acquire(ctx, name, holder, now, ttl)
}

// rig is one store and token service for any number of vaults. Time is the bubble's.
type rig struct {
	t    testing.TB
	st   *memory.Store
	svc  *service
	box  *seal.Box
	log  lines
	node core.Node
	n    int
}

// lines is a log that can be read.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newRig(t testing.TB) *rig {
	t.Helper()
	box := sealtest.Box(t)
	return &rig{t: t, st: memory.New(), box: box, svc: &service{current: map[string]string{}, life: time.Hour},
		node: core.Node{ID: "7", Account: "acme", Kind: core.KindAmazonQ, UpdatedAt: time.Now()}}
}

// vault is another instance, on a store of its own whose faults are its own.
func (r *rig) vault(edits ...func(*tokens.Options)) (*tokens.Vault, *faulty) {
	f := &faulty{Store: r.st}
	r.n++
	o := tokens.Options{Tables: store.NewTables(f, time.Now), Leases: f, Box: r.box, Refresh: r.svc.refresh, Static: static,
		Log: slog.New(slog.NewTextHandler(&r.log, nil)), Holder: fmt.Sprint("instance-", r.n)}
	for _, e := range edits {
		e(&o)
	}
	return tokens.New(o), f
}

func static(credential core.Secret) (core.Secret, bool) {
	return credential, strings.HasPrefix(credential.Reveal(), "ksk_")
}

// target is the rig's node with its credential.
func (r *rig) target() upstream.Target {
	n := r.node
	return upstream.Target{Node: &n, Credential: core.NewSecret("credential-of-" + n.ID)}
}

// gives checks what Token returns.
func (r *rig) gives(v *tokens.Vault, want string) {
	r.t.Helper()
	got, err := v.Token(r.t.Context(), r.target())
	if err != nil || got.Reveal() != want {
		r.t.Errorf("token %q, %v, want %q", got.Reveal(), err, want)
	}
}

// refuses checks that an error is an *upstream.Error of the class and block.
func (r *rig) refuses(err error, class upstream.Class, blocked string) {
	r.t.Helper()
	var told *upstream.Error
	if !errors.As(err, &told) || told.Class != class || told.Blocked != blocked || told.Reason == "" {
		r.t.Errorf("error %#v, want class %d, blocked %q", err, class, blocked)
	}
}

func (r *rig) doc() core.NodeToken {
	r.t.Helper()
	row, err := store.NewTables(r.st, time.Now).Tokens.Get(r.t.Context(), r.node.ID)
	if err != nil {
		r.t.Fatal(err)
	}
	return row.Value
}

// saved is the refresh token that the store has.
func (r *rig) saved() string {
	r.t.Helper()
	s, err := r.box.Open(tokens.RefreshOwner(r.node.ID), r.doc().Refresh)
	if err != nil {
		r.t.Fatal(err)
	}
	return s.Reveal()
}

// calls checks how often the token service was asked.
func (r *rig) calls(want int) {
	r.t.Helper()
	if got := r.svc.count(); got != want {
		r.t.Errorf("%d refreshes, want %d", got, want)
	}
}
