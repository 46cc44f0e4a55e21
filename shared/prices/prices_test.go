package prices_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/prices"
	"sluice/shared/pricing"
	"sluice/shared/store"
	"sluice/shared/store/memory"
)

const million = 1_000_000

// world is a store with a clock, whose reads can be counted and made to fail.
type world struct {
	store.Docs
	t     *testing.T
	mu    sync.Mutex
	now   time.Time
	fail  bool
	reads int
	log   bytes.Buffer
}

func newWorld(t *testing.T) *world {
	return &world{Docs: memory.New(), t: t, now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

var errAway = errors.New("away")

func (w *world) read() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads++
	if w.fail {
		return errAway
	}
	return nil
}

func (w *world) Get(ctx context.Context, kind, id string) (store.Doc, error) {
	if err := w.read(); err != nil {
		return store.Doc{}, err
	}
	return w.Docs.Get(ctx, kind, id)
}

func (w *world) List(ctx context.Context, kind, account, after string, limit int) ([]store.Doc, error) {
	if err := w.read(); err != nil {
		return nil, err
	}
	return w.Docs.List(ctx, kind, account, after, limit)
}

// instance is another process on the same store.
func (w *world) instance() *prices.Book {
	return prices.New(prices.Options{Tables: store.NewTables(w, w.clock), Now: w.clock, Log: slog.New(slog.NewTextHandler(&w.log, nil))})
}

func (w *world) set(b *prices.Book, account, model string, usd int64, from time.Time) {
	w.t.Helper()
	if err := b.Set(w.t.Context(), account, flat(model, usd, from), ""); err != nil {
		w.t.Fatal(err)
	}
}

func flat(model string, usd int64, from time.Time) pricing.Row {
	n := usd * million
	return pricing.Row{Model: model, From: from, Rates: pricing.Rates{Input: n, Output: n, CacheRead: n, Write5m: n, Write1h: n}}
}

// usd is what a million tokens of input cost an account, -1: unpriced.
func usd(b *prices.Book, account, model string, at time.Time) int64 {
	micro, priced := b.List(account).Cost(model, core.Tokens{Input: million}, at)
	if !priced {
		return -1
	}
	return micro / million
}

// What holds for an account goes before what the operator set, that before the list it imported, and that before what ships.
func TestPrecedence(t *testing.T) {
	w := newWorld(t)
	b, now := w.instance(), w.clock()
	const model = "claude-opus-5-5" // 4 USD
	expect := func(why string, at time.Time, alpha, beta int64) {
		t.Helper()
		if a, o := usd(b, "alpha", model, at), usd(b, "beta", model, at); a != alpha || o != beta {
			t.Errorf("%s: %d and %d USD, want %d and %d", why, a, o, alpha, beta)
		}
	}
	expect("nothing set", now, 4, 4)
	if n, err := b.Update(t.Context(), []pricing.Row{flat(model, 6, time.Time{})}, now, "elsewhere", false); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	expect("imported", now, 6, 6)
	w.set(b, "", model, 7, now.Add(time.Hour))
	expect("the operator's has not begun", now, 6, 6)
	expect("the operator's", now.Add(time.Hour), 7, 7)
	w.set(b, "alpha", model, 9, now.Add(2*time.Hour))
	expect("the account's has not begun", now.Add(time.Hour), 7, 7)
	expect("the account's is its own", now.Add(2*time.Hour), 9, 7)
	expect("the past stays", now.Add(-time.Second), 4, 4)
	if n, err := b.Update(t.Context(), []pricing.Row{flat(model, 8, time.Time{})}, now.Add(3*time.Hour), "elsewhere", false); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	expect("an import does not touch what was set", now.Add(4*time.Hour), 9, 7)
	for _, account := range []string{"alpha", ""} {
		if err := b.End(t.Context(), account, model, "", now.Add(5*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	expect("ended, the next list has the word", now.Add(5*time.Hour), 8, 8)
	expect("but not for the time before", now.Add(4*time.Hour), 9, 7)
	if err := b.End(t.Context(), "beta", model, "", now); !errors.Is(err, prices.ErrNone) || !store.Missing(err) {
		t.Errorf("nothing to end: %v", err)
	}
	if err := b.Drop(t.Context(), "alpha"); err != nil {
		t.Fatal(err)
	}
	expect("an account that is gone leaves nothing behind", now.Add(4*time.Hour), 7, 7)
}

// Every price tells where it comes from.
func TestRows(t *testing.T) {
	w := newWorld(t)
	b, now := w.instance(), w.clock()
	w.set(b, "", "house-model", 1, now)
	if err := b.Set(t.Context(), "alpha", flat("claude-haiku-4-5", 2, now), "Small one"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Update(t.Context(), []pricing.Row{flat("new-model", 3, time.Time{})}, now, "a list", false); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range b.Rows("alpha") {
		if r.To.IsZero() {
			got[r.Model+" "+string(r.Kind)] = r.From + "/" + r.Name + "/" + r.Source
		}
	}
	for model, want := range map[string]string{"house-model ": "operator//", "claude-haiku-4-5 ": "account/Small one/", "new-model ": "list//a list"} {
		if got[model] != want {
			t.Errorf("%s: %q, want %q", model, got[model], want)
		}
	}
	if !strings.HasPrefix(got["claude-opus-5 "], "builtin//platform") {
		t.Errorf("built-in: %q", got["claude-opus-5 "])
	}
	for _, r := range b.Rows("beta") {
		if r.From == prices.Account {
			t.Errorf("another account sees %+v", r)
		}
	}
}

// Other processes learn of an edit within a minute, by one small read when there was none.
func TestInstances(t *testing.T) {
	w := newWorld(t)
	a, b := w.instance(), w.instance()
	ctx := t.Context()
	b.Refresh(ctx, time.Minute)
	w.set(a, "alpha", "house-model", 5, w.clock())
	if usd(a, "alpha", "house-model", w.clock()) != 5 {
		t.Error("an edit does not bind where it was made")
	}
	reads := func(d time.Duration) int {
		w.pass(d)
		before := w.reads
		b.Refresh(ctx, time.Minute)
		return w.reads - before
	}
	if n := reads(59 * time.Second); n != 0 || usd(b, "alpha", "house-model", w.clock()) != -1 {
		t.Errorf("%d reads of lists that are new", n)
	}
	if n := reads(time.Second); n != 2 || usd(b, "alpha", "house-model", w.clock()) != 5 {
		t.Errorf("%d reads after an edit", n)
	}
	if n := reads(time.Minute); n != 1 {
		t.Errorf("%d reads after none", n)
	}
	if n := reads(15 * time.Minute); n != 2 {
		t.Errorf("%d reads after a quarter of an hour: an editor may have died before it said so", n)
	}
}

// While the store is away, the prices read before stay; that is said once, and not tried with every request.
func TestStoreAway(t *testing.T) {
	w := newWorld(t)
	b := w.instance()
	w.set(b, "", "house-model", 5, w.clock())
	w.fail = true
	for range 5 {
		w.pass(time.Minute)
		b.Refresh(t.Context(), time.Minute)
		reads := w.reads
		b.Refresh(t.Context(), time.Minute)
		if w.reads != reads {
			t.Error("a failing store is asked again at once")
		}
	}
	if usd(b, "alpha", "house-model", w.clock()) != 5 || strings.Count(w.log.String(), "prices not read") != 1 {
		t.Errorf("%d USD; log:\n%s", usd(b, "alpha", "house-model", w.clock()), w.log.String())
	}
	w.fail = false
	w.set(w.instance(), "", "house-model", 6, w.clock())
	w.pass(10 * time.Second)
	b.Refresh(t.Context(), time.Minute)
	if usd(b, "alpha", "house-model", w.clock()) != 6 {
		t.Error("the prices are not read again")
	}
	fresh := w.instance()
	w.fail = true
	if fresh.Refresh(t.Context(), time.Minute); usd(fresh, "", "claude-opus-5", w.clock()) != 5 {
		t.Error("without a store the built-in prices do not hold")
	}
}

// A list that cannot be read takes no other away.
func TestDamagedList(t *testing.T) {
	w := newWorld(t)
	b := w.instance()
	w.set(b, "alpha", "house-model", 5, w.clock())
	tables := store.NewTables(w, w.clock)
	if _, err := tables.Prices.Create(t.Context(), store.PriceTable{ID: prices.Operator, Table: "no table"}); err != nil {
		t.Fatal(err)
	}
	other := w.instance()
	if other.Refresh(t.Context(), time.Minute); usd(other, "alpha", "house-model", w.clock()) != 5 || !strings.Contains(w.log.String(), "not readable") {
		t.Errorf("%d USD; log: %s", usd(other, "alpha", "house-model", w.clock()), w.log.String())
	}
	if err := other.Set(t.Context(), "", flat("m", 1, w.clock()), ""); err == nil {
		t.Error("an edit overwrote a list that it could not read")
	}
}

// Edits of many at once are all kept, none of them twice.
func TestConcurrentEdits(t *testing.T) {
	w := newWorld(t)
	var done sync.WaitGroup
	for i := range 8 {
		done.Go(func() {
			if err := w.instance().Set(t.Context(), "", flat("m-"+strconv.Itoa(i), 1, w.clock()), ""); err != nil {
				t.Error(err)
			}
		})
	}
	done.Wait()
	b := w.instance()
	b.Refresh(t.Context(), 0)
	n := 0
	for _, r := range b.Rows("") {
		if r.From == prices.Operator {
			n++
		}
	}
	if n != 8 {
		t.Errorf("%d prices, want 8", n)
	}
}

// Looking, reading and editing at once is safe, and what is seen is always one edition.
func TestAtOnce(t *testing.T) {
	w := newWorld(t)
	b, now := w.instance(), w.clock()
	var done sync.WaitGroup
	for i := range 4 {
		done.Go(func() {
			for n := range 10 {
				if err := b.Set(t.Context(), "alpha", flat("m-"+strconv.Itoa(i), int64(n+1), now), ""); err != nil {
					t.Error(err)
				}
			}
		})
		done.Go(func() {
			for range 200 {
				b.Refresh(t.Context(), 0)
				if got := usd(b, "alpha", "m-"+strconv.Itoa(i), now); got == 0 || got > 10 {
					t.Errorf("%d USD", got)
				}
			}
		})
	}
	done.Wait()
	for i := range 4 {
		if got := usd(b, "alpha", "m-"+strconv.Itoa(i), now); got != 10 {
			t.Errorf("m-%d: %d USD after all edits", i, got)
		}
	}
}

func TestUpdate(t *testing.T) {
	w := newWorld(t)
	b, now := w.instance(), w.clock()
	back := pricing.Builtin()
	opus, _ := back.Find("claude-opus-5", "", now)
	dearer := opus
	dearer.Input *= 2
	for _, c := range []struct {
		why     string
		rows    []pricing.Row
		dry     bool
		changed int
		usd     int64
	}{
		{"what the built-in list says is no news", []pricing.Row{opus}, false, 0, 5},
		{"to see first", []pricing.Row{dearer}, true, 1, 5},
		{"a change", []pricing.Row{dearer}, false, 1, 10},
		{"the same again", []pricing.Row{dearer}, false, 0, 10},
		{"a list without the model leaves it", []pricing.Row{flat("other-1", 1, time.Time{})}, false, 1, 10},
		{"back to the built-in price", []pricing.Row{opus}, false, 1, 5},
	} {
		w.pass(time.Second)
		n, err := b.Update(t.Context(), c.rows, w.clock(), "list", c.dry)
		if got := usd(b, "", "claude-opus-5", w.clock()); n != c.changed || err != nil || got != c.usd {
			t.Errorf("%s: %d changed, %d USD, %v; want %d, %d", c.why, n, got, err, c.changed, c.usd)
		}
	}
	if got := usd(b, "", "claude-opus-5", now.Add(3*time.Second)); got != 10 {
		t.Errorf("the past has become %d USD", got)
	}
	if slices.ContainsFunc(b.Rows(""), func(r prices.Row) bool {
		return r.Model == "claude-opus-5" && r.To.IsZero() && r.From != prices.Builtin
	}) {
		t.Error("a price that is the built-in one again is kept")
	}
}

// A list stays small enough for every store.
func TestFull(t *testing.T) {
	w := newWorld(t)
	b := w.instance()
	var rows []pricing.Row
	for i := range 6000 {
		r := flat("a-model-with-a-long-name-"+strconv.Itoa(i), 1, time.Time{})
		r.Output += int64(i)
		rows = append(rows, r)
	}
	for _, dry := range []bool{true, false} {
		if _, err := b.Update(t.Context(), rows, w.clock(), "list", dry); !errors.Is(err, prices.ErrFull) {
			t.Errorf("dry %v: %v", dry, err)
		}
	}
	if n, err := b.Update(t.Context(), rows[:1500], w.clock(), "list", false); n != 1500 || err != nil {
		t.Errorf("a list of the usual size: %d, %v", n, err)
	}
	tables := store.NewTables(w, w.clock)
	if d, err := tables.Prices.Get(t.Context(), prices.Imported); err != nil || len(d.Value.Table) > 300_000 {
		t.Errorf("%d bytes, %v", len(d.Value.Table), err)
	}
	if err := b.Set(t.Context(), "", flat("with,comma", 1, w.clock()), ""); err == nil {
		t.Error("a name that the table gives a meaning is taken")
	}
}

// What ended long ago makes way.
func TestOldPricesGo(t *testing.T) {
	w := newWorld(t)
	b := w.instance()
	for range 3 {
		w.set(b, "", "house-model", 1, w.clock())
		w.pass(60 * 24 * time.Hour)
	}
	n := 0
	for _, r := range b.Rows("") {
		if r.Model == "house-model" {
			n++
		}
	}
	if n != 3 {
		t.Errorf("%d prices, want 3", n)
	}
	w.set(b, "", "house-model", 2, w.clock())
	oldest := w.clock()
	for _, r := range b.Rows("") {
		if r.Model == "house-model" && r.Row.From.Before(oldest) {
			oldest = r.Row.From
		}
	}
	if age := w.clock().Sub(oldest); age != 120*24*time.Hour {
		t.Errorf("the oldest price began %v ago", age)
	}
}

func TestTake(t *testing.T) {
	w := newWorld(t)
	b, now := w.instance(), w.clock()
	w.set(b, "", "mine", 5, now)
	rows := []pricing.Row{flat("mine", 9, now), flat("new", 2, now)}
	for i, want := range []int{1, 0} {
		if n, err := b.Take(t.Context(), rows); n != want || err != nil {
			t.Errorf("run %d took %d, %v", i, n, err)
		}
	}
	if usd(b, "", "mine", now) != 5 || usd(b, "", "new", now) != 2 {
		t.Error("an edit was undone, or nothing taken")
	}
}

func BenchmarkList(b *testing.B) {
	w := &world{Docs: memory.New(), now: time.Now()}
	book := w.instance()
	for _, account := range []string{"", "alpha"} {
		if err := book.Set(b.Context(), account, flat("house-model", 1, w.now), ""); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		book.Refresh(b.Context(), time.Minute)
		if _, priced := book.List("alpha").Cost("claude-opus-5", core.Tokens{Input: 10, Output: 10}, w.now); !priced {
			b.Fatal("unpriced")
		}
	}
}

// A look at a price costs nothing that the garbage collector would notice.
func TestNoAllocations(t *testing.T) {
	w := newWorld(t)
	b := w.instance()
	w.set(b, "alpha", "house-model", 1, w.clock())
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		b.Refresh(ctx, time.Minute)
		b.List("alpha").Cost("claude-opus-5", core.Tokens{Input: 10}, time.Time{})
		b.List("beta").Cost("house-model", core.Tokens{Input: 10}, time.Time{})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
