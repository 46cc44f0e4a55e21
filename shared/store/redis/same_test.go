package redis_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"sluice/shared/core"
	"sluice/shared/limit"
	"sluice/shared/store"
	"sluice/shared/store/memory"
	"sluice/shared/store/redis"
)

// The scripts decide as package limit does: random requests go to the store and to memory.Admitter, which is package
// limit with a lock. Compared are errors, reasons, waits and figures of each answer, and all counters after each sequence.
func TestSameAsLimit(t *testing.T) {
	t.Run("in process", func(t *testing.T) {
		compare(t, open(t, "redis://"+miniredis.RunT(t).Addr()), 200)
	})
	plain(t, func(t *testing.T, program string) {
		compare(t, open(t, start(t, program).url("")), 1000)
	})
}

func compare(t *testing.T, s *redis.Store, sequences int) {
	var seen stats
	for seed := range sequences {
		q := newSequence(t, s, uint64(seed))
		for range 30 {
			q.step()
		}
		q.counters()
		seen.add(q.stats)
		if t.Failed() {
			t.Fatalf("sequence %d differs", seed)
		}
	}
	t.Logf("%d sequences: %+v", sequences, seen)
	if seen.In < 100 || seen.Refused < 100 || seen.Never == 0 || seen.Again == 0 || seen.Late == 0 {
		t.Errorf("the sequences do not cover what they should: %+v", seen)
	}
}

// stats counts what happened, so that the test cannot pass by testing nothing.
type stats struct{ In, Refused, Never, Again, Settled, Late, Back int }

func (s *stats) add(o stats) {
	s.In += o.In
	s.Refused += o.Refused
	s.Never += o.Never
	s.Again += o.Again
	s.Settled += o.Settled
	s.Late += o.Late
	s.Back += o.Back
}

// sequence is a random history of an account with a key, itself and a node.
type sequence struct {
	*testing.T
	rng     *rand.Rand
	s       *redis.Store
	want    *memory.Admitter
	account string
	subs    [3]store.Subject // key, account, node
	now     time.Time
	floor   time.Time // the clock does not run back before it
	zone    *time.Location
	open    []string // requests that were admitted
	settled map[string]bool
	ids     int
	stats
}

func newSequence(t *testing.T, s *redis.Store, seed uint64) *sequence {
	q := &sequence{T: t, rng: rand.New(rand.NewPCG(seed, 5)), s: s, want: memory.NewAdmitter(func() {}),
		account: fmt.Sprint("acc", seed), settled: map[string]bool{}}
	var err error
	if q.zone, err = time.LoadLocation([]string{"UTC", "Asia/Shanghai", "America/New_York"}[seed%3]); err != nil {
		t.Fatal(err)
	}
	q.now = []time.Time{
		time.Date(2026, 3, 31, 23, 59, 30, 123456000, q.zone), time.Date(2026, 3, 8, 1, 58, 0, 0, q.zone),
		time.Date(2026, 12, 31, 23, 58, 59, 1000, q.zone), time.Date(2026, 6, 15, 12, 0, 0, 0, q.zone),
	}[q.rng.IntN(4)]
	for i, kind := range []string{store.KindKey, store.KindAccount, store.KindNode} {
		id := fmt.Sprint(kind, seed)
		if kind == store.KindAccount {
			id = q.account
		}
		if _, err := s.Create(t.Context(), store.Doc{Kind: kind, ID: id, Account: q.account}); err != nil {
			t.Fatal(err)
		}
		q.want.Put(kind, id, 1)
		q.subs[i] = store.Subject{Kind: kind, ID: id, Version: 1}
	}
	q.want.SetGeneration(q.account, 3)
	q.limits()
	return q
}

// limits gives the subjects new ones, small enough to be reached.
func (q *sequence) limits() {
	some := func(n int64) int64 {
		switch q.rng.IntN(5) {
		case 0, 1:
			return 0
		case 2:
			return -1 + q.rng.Int64N(3)
		}
		return 1 + q.rng.Int64N(n)
	}
	for i := range q.subs {
		q.subs[i].Limits = core.Limits{RPM: some(6), RPD: some(12), Concurrency: some(4), TPM: some(4000), USDDay: some(9000), USDMonth: some(20_000)}
		if q.rng.IntN(6) == 0 {
			q.subs[i].Limits = core.Limits{}
		}
		if q.rng.IntN(12) == 0 {
			q.subs[i].Limits.RPM, q.subs[i].Limits.USDDay = math.MaxInt64, 1<<52
		}
	}
}

func (q *sequence) step() {
	switch n := q.rng.IntN(20); {
	case n < 9:
		q.admit()
	case n < 13 && len(q.open) > 0:
		q.settle()
	case n < 14 && len(q.open) > 0:
		q.renew()
	case n == 14:
		q.limits()
	case n == 15:
		q.back()
	case n == 16:
		q.raise()
	default:
		q.now = q.now.Add(time.Duration(q.rng.Int64N(int64([]time.Duration{time.Second, 20 * time.Second, 4 * time.Minute, 30 * time.Hour}[q.rng.IntN(4)]))) / 1000 * 1000)
	}
}

// back lets the clock run back. What several leases that ended give back to a bucket of tokens at once can leave it a
// little fuller or less full than full, by their order, which package limit leaves open; a clock that then runs back
// would show it, and so it stops there.
func (q *sequence) back() {
	to := q.now.Add(-time.Duration(q.rng.Int64N(int64([]time.Duration{time.Second, time.Minute, 49 * time.Hour}[q.rng.IntN(3)]))) / 1000 * 1000)
	if to.After(q.floor) {
		q.now = to
		q.Back++
	}
}

func (q *sequence) request(id string) store.AdmitRequest {
	r := store.AdmitRequest{Now: q.now, ID: id, Account: q.account, Zone: q.zone, LeaseEnd: q.now.Add(time.Duration(1+q.rng.Int64N(180)) * time.Second)}
	r.Subjects = q.subs[:1+q.rng.IntN(3)]
	r.Ask = store.Amount{Tokens: q.rng.Int64N(1500) - 20, USD: q.rng.Int64N(3000) - 20}
	if q.rng.IntN(25) == 0 {
		r.Ask.Tokens = 1 << q.rng.IntN(63)
	}
	return r
}

func (q *sequence) admit() {
	q.ids++
	id := fmt.Sprint(q.account, "-", q.ids)
	if len(q.open) > 0 && q.rng.IntN(6) == 0 {
		id = q.open[q.rng.IntN(len(q.open))]
		q.Again++
	}
	r := q.request(id)
	if dead := q.dead(&r); dead > 1 {
		q.floor = q.now
	}
	want, wantErr := q.want.Admit(&r)
	got, err := q.s.Admit(q.Context(), r)
	if !reflect.DeepEqual(err, wantErr) {
		q.Errorf("admit %+v:\n got  %#v\n want %#v", r, err, wantErr)
	}
	if !reflect.DeepEqual(norm(got), norm(want)) {
		q.Errorf("admit %+v:\n got  %+v\n want %+v", r, got, want)
	}
	var refusal *store.Refusal
	switch {
	case err == nil:
		q.In++
		if !q.settled[id] {
			q.open = append(q.open, id)
		}
	case errors.As(err, &refusal) && refusal.RetryAfter == store.NeverFits:
		q.Never++
	default:
		q.Refused++
	}
}

func norm(r store.AdmitResult) store.AdmitResult {
	if len(r.Figures) == 0 {
		r.Figures = nil
	}
	return r
}

// dead counts the leases that an admission will end.
func (q *sequence) dead(r *store.AdmitRequest) (n int64) {
	for _, sub := range r.Subjects {
		_, z, _ := q.s.Subject(q.account, sub.Kind, sub.ID)
		c, err := q.s.DB().ZCount(q.Context(), z, "-inf", strconv.FormatInt(r.Now.UnixMicro(), 10)).Result()
		if err != nil {
			q.Fatal(err)
		}
		n = max(n, c)
	}
	return n
}

func (q *sequence) settle() {
	i := q.rng.IntN(len(q.open))
	id := q.open[i]
	r := store.SettleRequest{ID: id, Account: q.account, Now: q.now, Zone: q.zone, Subjects: q.subs[:2],
		Used:   store.Amount{Tokens: q.rng.Int64N(3000) - 20, USD: q.rng.Int64N(5000) - 20},
		Record: core.Settlement{RequestID: id, Account: q.account, EndedAt: q.now, StartedAt: q.now}}
	switch q.rng.IntN(3) {
	case 0:
		r.Free = q.subs[2:]
	case 1:
		r.Subjects = q.subs[:]
	}
	if q.settled[id] {
		q.Late++
	}
	q.want.Settle(&r, func() bool { return q.settled[id] })
	ctx, cancel := context.WithCancel(q.Context())
	cancel() // it works all the same
	if err := q.s.Settle(ctx, r); err != nil {
		q.Fatalf("settle: %v", err)
	}
	q.settled[id] = true
	q.Settled++
	if q.rng.IntN(4) > 0 { // else it is settled once more
		q.open = append(q.open[:i], q.open[i+1:]...)
	}
}

func (q *sequence) raise() {
	sub := q.subs[q.rng.IntN(3)]
	r := store.RaiseRequest{Now: q.now, Zone: q.zone, Account: q.account, Kind: sub.Kind, ID: sub.ID, Day: q.rng.Int64N(9000), Month: q.rng.Int64N(20_000)}
	if err := errors.Join(q.want.Raise(&r), q.s.Raise(q.Context(), r)); err != nil {
		q.Fatalf("raise: %v", err)
	}
}

func (q *sequence) renew() {
	r := q.request(q.open[q.rng.IntN(len(q.open))])
	q.want.Renew(&r)
	if err := q.s.Renew(q.Context(), r); err != nil {
		q.Fatalf("renew: %v", err)
	}
}

// counters compares what both keep. memory.Admitter tells of those that ever changed, without what leases hold.
func (q *sequence) counters() {
	for _, want := range q.want.Unsaved() {
		h, z, y := q.s.Subject(q.account, want.Kind, want.ID)
		got := limit.State{Leases: map[string]limit.Lease{}}
		m := q.db(q.s.DB().HGetAll(q.Context(), h).Result())
		got.Counters = limit.Counters{Full: q.int(m["f"]), Tokens: q.int(m["t"]), Day: q.int(m["d"]), Count: q.int(m["c"]),
			MoneyDay: q.int(m["md"]), DayUSD: q.int(m["du"]), Month: q.int(m["m"]), MonthUSD: q.int(m["mu"])}
		ids, err := q.s.DB().ZRange(q.Context(), z, 0, -1).Result()
		if err != nil {
			q.Fatal(err)
		}
		held := q.db(q.s.DB().HGetAll(q.Context(), y).Result())
		for _, id := range ids {
			var l limit.Lease
			if text, ok := held[id]; ok {
				if _, err := fmt.Sscan(text, &l.Tokens, &l.USD, &l.Day, &l.Month); err != nil {
					q.Fatal(err)
				}
				delete(held, id)
			}
			got.Leases[id] = l
		}
		if len(held) != 0 {
			q.Errorf("reservations without a lease: %v", held)
		}
		if live := q.want.Live(want.Kind, want.ID, time.Time{}); live != len(ids) {
			q.Errorf("%d leases of %s, want %d", len(ids), want.Kind, live)
		}
		a, b, floor := got.Net(), want.Counters, q.floor.UnixMicro()
		if !q.floor.IsZero() { // see back
			a.Tokens, b.Tokens = max(a.Tokens, floor), max(b.Tokens, floor)
		}
		if a != b {
			q.Errorf("counters of %s: %+v, want %+v", want.Kind, a, b)
		}
	}
}

func (q *sequence) db(m map[string]string, err error) map[string]string {
	if err != nil {
		q.Fatal(err)
	}
	return m
}

func (q *sequence) int(s string) int64 {
	if s == "" {
		return 0
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		q.Fatal(err)
	}
	return n
}
