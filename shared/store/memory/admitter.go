package memory

import (
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"sluice/shared/limit"
	"sluice/shared/store"
)

const (
	shards      = 64 // of the registry
	maxSubjects = 4  // of one admission
)

// Admitter decides admissions from memory. It knows the version of every document that can be a subject, told by the
// backend that keeps them, and holds what each used beside it: so there is one state per document and nothing to clear
// up but what Remove takes away. It is safe for concurrent use.
type Admitter struct {
	seed    maphash.Seed
	shards  [shards]shard
	changed func()

	genMu sync.RWMutex
	gens  map[string]int64

	dirtyMu sync.Mutex
	dirty   []*subject
}

type shard struct {
	mu       sync.RWMutex
	subjects map[name]*subject
}

type name struct{ kind, id string }

// subject is one document's version and state. Locks of several are taken in the order of names.
type subject struct {
	name
	mu      sync.Mutex
	version int64 // 0: the document is gone
	state   limit.State
	dirty   bool // in Admitter.dirty, whose lock guards it
}

// Counter is what must survive a restart of one subject's state.
type Counter struct {
	Kind, ID string
	limit.Counters
}

// NewAdmitter makes an Admitter that knows no document. changed is called, without locks, when a counter changed and
// Unsaved had none before; nil when nobody saves them.
func NewAdmitter(changed func()) *Admitter {
	a := &Admitter{seed: maphash.MakeSeed(), changed: changed, gens: make(map[string]int64)}
	for i := range a.shards {
		a.shards[i].subjects = make(map[name]*subject)
	}
	return a
}

func (a *Admitter) shard(id string) *shard {
	return &a.shards[maphash.String(a.seed, id)%shards]
}

func (a *Admitter) find(kind, id string) *subject {
	sh := a.shard(id)
	sh.mu.RLock()
	s := sh.subjects[name{kind, id}]
	sh.mu.RUnlock()
	return s
}

// Put tells that a document exists at a version. Calls for one document must come in the order of its changes.
func (a *Admitter) Put(kind, id string, version int64) {
	sh := a.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s := sh.subjects[name{kind, id}]
	if s == nil {
		s = &subject{name: name{kind, id}}
		sh.subjects[s.name] = s
	}
	s.mu.Lock()
	s.version = version
	s.mu.Unlock()
}

// Remove tells that a document is gone; its state goes with it.
func (a *Admitter) Remove(kind, id string) {
	sh := a.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s := sh.subjects[name{kind, id}]
	if s == nil {
		return
	}
	delete(sh.subjects, s.name)
	s.mu.Lock()
	s.version = 0
	s.mu.Unlock()
}

// SetGeneration tells an account's generation.
func (a *Admitter) SetGeneration(account string, n int64) {
	a.genMu.Lock()
	a.gens[account] = n
	a.genMu.Unlock()
}

// Generation returns an account's generation, 0 when none was set.
func (a *Admitter) Generation(account string) int64 {
	a.genMu.RLock()
	defer a.genMu.RUnlock()
	return a.gens[account]
}

var (
	errNoID     = errors.New("admit: a lease needs a request id")
	errSubjects = fmt.Errorf("admit: more than %d subjects, or one of them twice", maxSubjects)
)

// Admit is store.Admission's. It allocates nothing when no subject has limits and nothing is wrong.
func (a *Admitter) Admit(r *store.AdmitRequest) (store.AdmitResult, error) {
	subs, err := a.lookUp(r.Subjects)
	if err != nil {
		return store.AdmitResult{}, err
	}
	changed, figures, err := a.decide(r, &subs)
	if err != nil {
		return store.AdmitResult{}, err
	}
	if changed != 0 && a.changed != nil && a.noteDirty(&subs, changed) {
		a.changed()
	}
	return store.AdmitResult{Generation: a.Generation(r.Account), Figures: figures}, nil
}

// lookUp finds the subjects, in the order given.
func (a *Admitter) lookUp(in []store.Subject) (subs [maxSubjects]*subject, err error) {
	if len(in) > maxSubjects {
		return subs, errSubjects
	}
	for i := range in {
		if subs[i] = a.find(in[i].Kind, in[i].ID); subs[i] == nil {
			return subs, stale(&in[i])
		}
		for j := range i {
			if subs[j] == subs[i] {
				return subs, errSubjects
			}
		}
	}
	return subs, nil
}

func stale(s *store.Subject) error { return fmt.Errorf("%s %s: %w", s.Kind, s.ID, store.ErrStale) }

// lock takes the subjects' locks in one order whatever the order given: keys before accounts, then by id.
func lock(subs *[maxSubjects]*subject, n int) (order [maxSubjects]*subject) {
	order = *subs
	for i := 1; i < n; i++ {
		for j := i; j > 0 && order[j].before(order[j-1]); j-- {
			order[j], order[j-1] = order[j-1], order[j]
		}
	}
	for i := range n {
		order[i].mu.Lock()
	}
	return order
}

func (s *subject) before(o *subject) bool {
	return cmp.Or(-cmp.Compare(s.kind, o.kind), cmp.Compare(s.id, o.id)) < 0
}

// decide checks all subjects and then takes from all, under all their locks. changed has bit i set when subject i has
// counters to save.
func (a *Admitter) decide(r *store.AdmitRequest, subs *[maxSubjects]*subject) (changed uint, figures []store.Figure, err error) {
	n := len(r.Subjects)
	order := lock(subs, n)
	defer func() {
		for i := range n {
			order[i].mu.Unlock()
		}
	}()
	limited := 0
	for i := range n {
		if in := &r.Subjects[i]; subs[i].version != in.Version {
			return 0, nil, stale(in)
		} else if !in.Limits.IsZero() {
			limited++
		}
	}
	if limited == 0 {
		return 0, nil, nil
	}
	m := limit.At(r.Now, r.Zone)
	var ds [maxSubjects]limit.Decision
	worst, repeat := -1, false
	for i := range n {
		l := &r.Subjects[i].Limits
		if l.IsZero() {
			continue
		}
		if r.ID == "" && limit.Limits(*l).Leased() {
			return 0, nil, errNoID
		}
		ds[i] = subs[i].state.Check(limit.Limits(*l), &m, r.ID, limit.Amount(r.Ask))
		repeat = repeat || ds[i].Repeat
		if !ds[i].OK() && (worst < 0 || ds[i].Wait > ds[worst].Wait) {
			worst = i
		}
	}
	refused := worst >= 0 && !repeat
	if !refused && !repeat {
		end := r.LeaseEnd.UnixMicro()
		for i := range n {
			if !r.Subjects[i].Limits.IsZero() && subs[i].state.Apply(&ds[i], r.ID, end) {
				changed |= 1 << i
			}
		}
	}
	figures = collect(r, subs, &m)
	if refused {
		d := &ds[worst]
		return 0, nil, &store.Refusal{
			Subject: r.Subjects[worst].Kind, Limit: store.LimitName(d.Limit), Max: d.Max, RetryAfter: d.Wait, Figures: figures,
		}
	}
	return changed, figures, nil
}

func collect(r *store.AdmitRequest, subs *[maxSubjects]*subject, m *limit.Moment) []store.Figure {
	var own [6]limit.Figure
	out := make([]store.Figure, 0, 2*len(r.Subjects))
	for i := range r.Subjects {
		s := &r.Subjects[i]
		for _, f := range subs[i].state.Figures(own[:0], limit.Limits(s.Limits), m) {
			out = append(out, store.Figure{Subject: s.Kind, Limit: store.LimitName(f.Limit), Max: f.Max, Remaining: f.Remaining, Reset: f.Reset})
		}
	}
	return out
}

// Renew is store.Admission's.
func (a *Admitter) Renew(r *store.AdmitRequest) {
	now, end := r.Now.UnixMicro(), r.LeaseEnd.UnixMicro()
	for i := range r.Subjects {
		if s := a.find(r.Subjects[i].Kind, r.Subjects[i].ID); s != nil {
			s.mu.Lock()
			s.state.Renew(r.ID, now, end)
			s.mu.Unlock()
		}
	}
}

// Settle ends the leases of a request and takes what it used, once: again is asked, without locks, whether a request
// whose lease is gone was settled before.
func (a *Admitter) Settle(r *store.SettleRequest, again func() bool) {
	for i := range r.Free {
		l := limit.Limits(r.Free[i].Limits)
		if s := a.find(r.Free[i].Kind, r.Free[i].ID); s != nil && l.Leased() {
			m := limit.At(r.Now, r.Zone)
			s.mu.Lock()
			if _, ok := s.state.Leases[r.ID]; ok {
				s.state.Settle(l, &m, r.ID, limit.Amount{})
			}
			s.mu.Unlock()
		}
	}
	var subs [maxSubjects]*subject
	changed, asked := uint(0), false
	m := limit.At(r.Now, r.Zone)
	for i := range r.Subjects {
		l := limit.Limits(r.Subjects[i].Limits)
		if i == maxSubjects || !l.Leased() {
			continue
		}
		s := a.find(r.Subjects[i].Kind, r.Subjects[i].ID)
		if s == nil {
			continue
		}
		subs[i] = s
		s.mu.Lock()
		if _, ok := s.state.Leases[r.ID]; !ok && !asked {
			s.mu.Unlock()
			if again() {
				return
			}
			asked = true
			s.mu.Lock()
		}
		if s.state.Settle(l, &m, r.ID, limit.Amount(r.Used)) {
			changed |= 1 << i
		}
		s.mu.Unlock()
	}
	if changed != 0 && a.changed != nil && a.noteDirty(&subs, changed) {
		a.changed()
	}
}

// Raise is store.Budgets's.
func (a *Admitter) Raise(r *store.RaiseRequest) error {
	s := a.find(r.Kind, r.ID)
	if s == nil {
		return fmt.Errorf("%s %s: %w", r.Kind, r.ID, store.ErrNotFound)
	}
	m := limit.At(r.Now, r.Zone)
	s.mu.Lock()
	changed := s.state.Raise(&m, r.Day, r.Month)
	s.mu.Unlock()
	if changed && a.changed != nil && a.noteDirty(&[maxSubjects]*subject{s}, 1) {
		a.changed()
	}
	return nil
}

// Restore sets a subject's counters, after Put and before the first Admit. Unknown subjects are passed over.
func (a *Admitter) Restore(c Counter) {
	if s := a.find(c.Kind, c.ID); s != nil {
		s.mu.Lock()
		s.state = limit.State{Counters: c.Counters}
		s.mu.Unlock()
	}
}

// noteDirty remembers the subjects whose bit is set for Unsaved and reports whether they are the first.
func (a *Admitter) noteDirty(subs *[maxSubjects]*subject, set uint) bool {
	a.dirtyMu.Lock()
	defer a.dirtyMu.Unlock()
	first := len(a.dirty) == 0
	for i, s := range subs {
		if set&(1<<i) != 0 && !s.dirty {
			s.dirty = true
			a.dirty = append(a.dirty, s)
		}
	}
	return first && len(a.dirty) > 0
}

// Unsaved returns the counters that changed since the last call, as they are now. Who cannot save them hands them to
// Retry.
func (a *Admitter) Unsaved() []Counter {
	a.dirtyMu.Lock()
	subs := a.dirty
	a.dirty = nil
	for _, s := range subs {
		s.dirty = false
	}
	a.dirtyMu.Unlock()
	out := make([]Counter, 0, len(subs))
	for _, s := range subs {
		s.mu.Lock()
		if s.version != 0 {
			out = append(out, Counter{Kind: s.kind, ID: s.id, Counters: s.state.Net()})
		}
		s.mu.Unlock()
	}
	return out
}

// Retry makes Unsaved return these subjects again.
func (a *Admitter) Retry(cs []Counter) {
	for _, c := range cs {
		if s := a.find(c.Kind, c.ID); s != nil {
			a.noteDirty(&[maxSubjects]*subject{s}, 1)
		}
	}
}

// HasUnsaved reports whether Unsaved would return something.
func (a *Admitter) HasUnsaved() bool {
	a.dirtyMu.Lock()
	defer a.dirtyMu.Unlock()
	return len(a.dirty) > 0
}

// Live returns how many leases of a subject live at now, for tests and figures.
func (a *Admitter) Live(kind, id string, now time.Time) int {
	s := a.find(kind, id)
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.Live(limit.Limits{Concurrency: 1}, now.UnixMicro())
}
