package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"sluice/shared/audit"
	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/memory"
	"sluice/shared/store/redis"
	"sluice/shared/store/sqlite"
)

// clock is a clock that the test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

const year = 365 * 24 * time.Hour

func options(d store.Docs, c *clock) audit.Options {
	return audit.Options{Docs: d, Now: c.now, Keep: year, Hash: func(s string) string { return fmt.Sprintf("%08x", len(s)) + "rest" },
		Open: func(string, core.Sealed) (core.Secret, error) { return core.Secret{}, errors.New("not sealed") }}
}

func entry(action string) audit.Entry {
	return audit.Entry{Actor: audit.Actor{Kind: audit.ActorKey, Key: "5", Account: "default"}, Action: action, Object: audit.Object{Kind: "node", ID: "1"}, Account: "default", Result: audit.ResultOK}
}

func write(t *testing.T, l *audit.Log, actions ...string) {
	t.Helper()
	for _, a := range actions {
		if _, err := l.Append(t.Context(), entry(a)); err != nil {
			t.Fatal(err)
		}
	}
}

func verify(t *testing.T, l *audit.Log, want int64) audit.Verdict {
	t.Helper()
	v, err := l.Verify(t.Context(), "")
	if err != nil || !v.OK || v.Entries != want {
		t.Fatalf("verdict %+v, %v, want %d entries", v, err, want)
	}
	return v
}

// stores are what every chain must hold on.
func stores(t *testing.T, test func(t *testing.T, s store.Store)) {
	for name, open := range map[string]func(t *testing.T) store.Store{
		"memory": func(*testing.T) store.Store { return memory.New() },
		"sqlite": func(t *testing.T) store.Store {
			s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "audit.db"), sqlite.Options{})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		"redis": func(t *testing.T) store.Store {
			s, err := redis.Open(t.Context(), "redis://"+miniredis.RunT(t).Addr(), redis.Options{})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() { _ = s.Close() })
			test(t, s)
		})
	}
}

// TestInstancesWriteOneChain: four instances that write at once leave one chain without a hole, and no entry is lost.
func TestInstancesWriteOneChain(t *testing.T) {
	const instances, writes = 4, 50
	stores(t, func(t *testing.T, s store.Store) {
		c := newClock()
		var wg sync.WaitGroup
		for i := range instances {
			l := audit.New(options(s, c))
			for j := range writes {
				wg.Go(func() {
					if _, err := l.Append(t.Context(), entry(fmt.Sprintf("test.%d-%d", i, j))); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		l := audit.New(options(s, c))
		verify(t, l, instances*writes)
		seen := map[string]bool{}
		if err := l.Walk(t.Context(), "", 0, func(_ []byte, e audit.Entry, bad error) error { seen[e.Action] = true; return bad }); err != nil {
			t.Fatal(err)
		}
		if len(seen) != instances*writes {
			t.Errorf("%d different entries, want %d", len(seen), instances*writes)
		}
	})
}

// spoil changes documents of a store behind the log's back.
func spoil(t *testing.T, s store.Store, seq int64, edit func(d *store.Doc)) {
	t.Helper()
	d, err := s.Get(t.Context(), store.KindAudit, fmt.Sprintf("%019d", seq))
	if err != nil {
		t.Fatal(err)
	}
	edit(&d)
	if d.Body == nil {
		err = s.Delete(t.Context(), d.Kind, d.ID, 0)
	} else {
		_, err = s.Replace(t.Context(), d)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestTampering: whatever is done to an entry in the store, verification names it.
func TestTampering(t *testing.T) {
	for _, c := range []struct {
		why  string
		do   func(t *testing.T, s store.Store)
		at   int64
		says string
	}{
		{"a word changed", func(t *testing.T, s store.Store) {
			spoil(t, s, 4, func(d *store.Doc) { d.Body = bytes.Replace(d.Body, []byte("test.4"), []byte("test.9"), 1) })
		}, 4, "changed"},
		{"the hash changed", func(t *testing.T, s store.Store) {
			spoil(t, s, 4, func(d *store.Doc) { d.Body[len(d.Body)-3] ^= 1 })
		}, 4, "changed"},
		{"removed from the middle", func(t *testing.T, s store.Store) { spoil(t, s, 4, func(d *store.Doc) { d.Body = nil }) }, 5, "missing"},
		{"the newest removed", func(t *testing.T, s store.Store) { spoil(t, s, 8, func(d *store.Doc) { d.Body = nil }) }, 8, "missing"},
		{"another entry in its place", func(t *testing.T, s store.Store) {
			other, err := s.Get(t.Context(), store.KindAudit, fmt.Sprintf("%019d", 2))
			if err != nil {
				t.Fatal(err)
			}
			spoil(t, s, 4, func(d *store.Doc) { d.Body = other.Body })
		}, 4, "not where its number says"},
		{"made anew with a right hash", func(t *testing.T, s store.Store) {
			forged := memory.New()
			l := audit.New(options(forged, newClock()))
			write(t, l, "x", "x", "x", "forged")
			d, err := forged.Get(t.Context(), store.KindAudit, fmt.Sprintf("%019d", 4))
			if err != nil {
				t.Fatal(err)
			}
			spoil(t, s, 4, func(have *store.Doc) { have.Body = d.Body })
		}, 4, "does not follow"},
		{"no JSON", func(t *testing.T, s store.Store) { spoil(t, s, 4, func(d *store.Doc) { d.Body = []byte(`{}`) }) }, 4, "no entry"},
	} {
		t.Run(c.why, func(t *testing.T) {
			s := memory.New()
			l := audit.New(options(s, newClock()))
			write(t, l, "test.1", "test.2", "test.3", "test.4", "test.5", "test.6", "test.7", "test.8")
			verify(t, l, 8)
			c.do(t, s)
			for _, l := range []*audit.Log{l, audit.New(options(s, newClock()))} {
				v, err := l.Verify(t.Context(), "")
				if err != nil || v.OK || v.Broken != c.at || !strings.Contains(v.Reason, c.says) {
					t.Errorf("%+v, %v; want broken at %d: %s", v, err, c.at, c.says)
				}
			}
			// the log goes on all the same, and does not heal what was done
			write(t, audit.New(options(s, newClock())), "after")
			if v, err := l.Verify(t.Context(), ""); err != nil || v.OK {
				t.Errorf("after another entry: %+v, %v", v, err)
			}
		})
	}
}

// TestNotedHead: a chain that was written anew as a whole is found out by a hash that was noted elsewhere.
func TestNotedHead(t *testing.T) {
	s, c := memory.New(), newClock()
	l := audit.New(options(s, c))
	write(t, l, "a", "b", "c")
	head := verify(t, l, 3).Head
	if v, err := l.Verify(t.Context(), head); err != nil || !v.OK {
		t.Errorf("the head itself: %+v, %v", v, err)
	}
	write(t, l, "d")
	if v, err := l.Verify(t.Context(), head); err != nil || !v.OK {
		t.Errorf("an older head: %+v, %v", v, err)
	}
	anew := audit.New(options(memory.New(), c))
	write(t, anew, "a", "x", "c", "d")
	if v, err := anew.Verify(t.Context(), head); err != nil || v.OK {
		t.Errorf("a chain written anew passes: %+v, %v", v, err)
	}
}

// TestOldEntriesGo: the chain then begins later, and stays whole; also when the setting was lowered, and when a backend
// removes what expired in any order.
func TestOldEntriesGo(t *testing.T) {
	stores(t, func(t *testing.T, s store.Store) {
		c := newClock()
		l := audit.New(options(s, c))
		write(t, l, "a", "b")
		c.add(200 * 24 * time.Hour)
		write(t, l, "c")
		short := options(s, c)
		short.Keep = 24 * time.Hour // c must not outlive d
		l = audit.New(short)
		write(t, l, "d")
		c.add(180 * 24 * time.Hour)
		if v := verify(t, l, 2); v.First != 3 || !v.Begun || v.Last != 4 {
			t.Errorf("after a year: %+v", v)
		}
		if err := s.Delete(t.Context(), store.KindAudit, fmt.Sprintf("%019d", 2), 0); err != nil { // 1 is still there
			t.Fatal(err)
		}
		verify(t, l, 2)
		if _, err := s.Purge(t.Context(), c.now()); err != nil {
			t.Fatal(err)
		}
		verify(t, audit.New(options(s, c)), 2)
		c.add(2 * year)
		if _, err := s.Purge(t.Context(), c.now()); err != nil {
			t.Fatal(err)
		}
		// nothing is left: the numbers go on
		l = audit.New(options(s, c))
		verify(t, l, 0)
		write(t, l, "e")
		if v := verify(t, l, 1); v.First != 5 {
			t.Errorf("after everything expired: %+v", v)
		}
	})
}

// TestLostHint: without the document that names the newest entry, or with an old one, the log goes on where it is.
func TestLostHint(t *testing.T) {
	s, c := memory.New(), newClock()
	l := audit.New(options(s, c))
	write(t, l, "a")
	old, err := s.Get(t.Context(), store.KindMeta, "audit-head")
	if err != nil {
		t.Fatal(err)
	}
	for range 40 {
		write(t, l, "b")
	}
	if err := s.Delete(t.Context(), store.KindMeta, "audit-head", 0); err != nil {
		t.Fatal(err)
	}
	write(t, audit.New(options(s, c)), "without a hint")
	now, err := s.Get(t.Context(), store.KindMeta, "audit-head")
	if err != nil {
		t.Fatal(err)
	}
	now.Body = old.Body
	if _, err := s.Replace(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	write(t, audit.New(options(s, c)), "with an old one")
	now, _ = s.Get(t.Context(), store.KindMeta, "audit-head")
	now.Body = []byte(`{"id":"audit-head","data":"nonsense"}`)
	if _, err := s.Replace(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	write(t, audit.New(options(s, c)), "with a spoilt one")
	verify(t, l, 44)
}

// TestClocksApart: an instance whose clock is behind writes no time before that of the entry before.
func TestClocksApart(t *testing.T) {
	s, fast, slow := memory.New(), newClock(), newClock()
	fast.add(time.Hour)
	write(t, audit.New(options(s, fast)), "a")
	e, err := audit.New(options(s, slow)).Append(t.Context(), entry("b"))
	if err != nil || !e.At.Equal(fast.now()) {
		t.Errorf("at %v, %v", e.At, err)
	}
	verify(t, audit.New(options(s, fast)), 2)
}

// twice is a store whose first answer to a creation is lost: its client sends it again and is told that it exists.
type twice struct {
	store.Docs
	once sync.Once
}

func (d *twice) Create(ctx context.Context, doc store.Doc) (v int64, err error) {
	v, err = d.Docs.Create(ctx, doc)
	d.once.Do(func() { v, err = d.Docs.Create(ctx, doc) })
	return v, err
}

func TestSentTwice(t *testing.T) {
	s := memory.New()
	l := audit.New(options(&twice{Docs: s}, newClock()))
	write(t, l, "a", "b")
	verify(t, l, 2)
}

// TestPages: every entry once, the newest first, whoever's they are and however few.
func TestPages(t *testing.T) {
	stores(t, func(t *testing.T, s store.Store) {
		c := newClock()
		l := audit.New(options(s, c))
		const n = 420
		for i := range n {
			e := entry("test.many")
			if i%97 == 3 {
				e.Account, e.Actor.Name, e.Action = "acc-few", "someone", "key.create"
			}
			if _, err := l.Append(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			c.add(time.Second)
		}
		start := newClock().now()
		for _, q := range []struct {
			why   string
			f     audit.Filter
			limit int
			want  int
		}{
			{"all", audit.Filter{}, 50, n},
			{"all at once", audit.Filter{}, 500, n},
			{"of one who has few", audit.Filter{Account: "acc-few"}, 2, 5},
			{"by actor's name", audit.Filter{Actor: "someone"}, 3, 5},
			{"by actor's key", audit.Filter{Actor: "5"}, 100, n},
			{"by action", audit.Filter{Action: "key.create"}, 100, 5},
			{"by the actions of a noun", audit.Filter{Action: "key"}, 100, 5},
			{"by half a word", audit.Filter{Action: "ke"}, 100, 0},
			{"by object", audit.Filter{Object: "node/1"}, 100, n},
			{"by an object that is not", audit.Filter{Object: "node/2"}, 100, 0},
			{"by time", audit.Filter{From: start.Add(100 * time.Second), To: start.Add(110 * time.Second)}, 4, 10},
			{"before all", audit.Filter{To: start}, 10, 0},
			{"of nobody", audit.Filter{Account: "acc-none"}, 10, 0},
		} {
			t.Run(q.why, func(t *testing.T) {
				got, last := 0, int64(1<<62)
				for cursor := int64(0); ; {
					es, next, err := l.Page(t.Context(), q.f, cursor, q.limit)
					if err != nil || len(es) > q.limit {
						t.Fatalf("%d entries, %v", len(es), err)
					}
					for _, e := range es {
						if e.Seq >= last {
							t.Fatalf("%d after %d", e.Seq, last)
						}
						last = e.Seq
						got++
					}
					if cursor = next; next == 0 {
						break
					}
				}
				if got != q.want {
					t.Errorf("%d entries, want %d", got, q.want)
				}
			})
		}
	})
}

// TestViewHides: what a reader may not see cannot be asked for either.
func TestViewHides(t *testing.T) {
	l := audit.New(options(memory.New(), newClock()))
	write(t, l, "a")
	hide := func(e *audit.Entry) { e.Actor = audit.Actor{Kind: audit.ActorOperator} }
	for actor, want := range map[string]int{"5": 0, "default": 0, audit.ActorOperator: 1} {
		es, _, err := l.Page(t.Context(), audit.Filter{Actor: actor, View: hide}, 0, 10)
		if err != nil || len(es) != want {
			t.Errorf("actor %q: %d entries, %v, want %d", actor, len(es), err, want)
		}
	}
}

// TestExportVerifies: what Export gives is a chain for VerifyExport, and a changed byte breaks it.
func TestExportVerifies(t *testing.T) {
	c := newClock()
	l := audit.New(options(memory.New(), c))
	write(t, l, "a", "b", "c", "d")
	var file bytes.Buffer
	err := l.Export(t.Context(), audit.Filter{}, 0, func(line []byte, _ audit.Entry) error {
		file.Write(append(bytes.Clone(line), '\r', '\n'))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	head := verify(t, l, 4).Head
	if v, err := audit.VerifyExport(bytes.NewReader(file.Bytes()), head); err != nil || !v.OK || v.Entries != 4 || v.Head != head {
		t.Errorf("the export: %+v, %v", v, err)
	}
	lines := strings.SplitAfter(file.String(), "\n")
	for why, text := range map[string]string{
		"a line is missing":    lines[0] + lines[2] + lines[3],
		"two changed places":   lines[0] + lines[2] + lines[1] + lines[3],
		"one is there twice":   lines[0] + lines[0] + lines[1],
		"a word changed":       strings.Replace(file.String(), `"action":"b"`, `"action":"z"`, 1),
		"the end is missing":   lines[0] + lines[1] + lines[2],
		"the end is cut":       file.String()[:file.Len()-20],
		"it is something else": "hello\n",
		"a line without end":   strings.Repeat("x", 2<<20),
	} {
		if v, err := audit.VerifyExport(strings.NewReader(text), head); err != nil || v.OK {
			t.Errorf("%s: %+v, %v", why, v, err)
		}
	}
}

// stuck is a store that does not answer a creation until the caller gives up.
type stuck struct {
	store.Docs
	in chan struct{}
}

func (d *stuck) Create(ctx context.Context, _ store.Doc) (int64, error) {
	close(d.in)
	<-ctx.Done()
	return 0, ctx.Err()
}

// TestWaitEnds: who waits for its turn behind a store that hangs is not kept there when its own time is over.
func TestWaitEnds(t *testing.T) {
	d := &stuck{memory.New(), make(chan struct{})}
	l := audit.New(options(d, newClock()))
	ctx, release := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := l.Append(ctx, entry("a")); !errors.Is(err, context.Canceled) {
			t.Errorf("the one that hangs: %v", err)
		}
	})
	<-d.in
	late, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := l.Append(late, entry("b")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the one that waits: %v", err)
	}
	release()
	wg.Wait()
}

// TestHostileTexts: names and agents of elsewhere are cut and stay on their line.
func TestHostileTexts(t *testing.T) {
	l := audit.New(options(memory.New(), newClock()))
	e := entry("a")
	e.Actor.Name, e.Agent, e.Object.Name = strings.Repeat("é", 5000), "a\nb\x1b[31m\x00\xff", "<script>&\u2028"
	for range 80 {
		e.Also = append(e.Also, "node/1")
	}
	got, err := l.Append(t.Context(), e)
	if err != nil || len(got.Actor.Name) > 200 || got.Agent != "ab[31m" || got.Object.Name != "<script>&" || len(got.Also) != audit.MaxAlso || got.More != 30 {
		t.Errorf("%+v, %v", got, err)
	}
	verify(t, l, 1)
}

func FuzzParse(f *testing.F) {
	l := audit.New(options(memory.New(), newClock()))
	_, _ = l.Append(f.Context(), entry("a"))
	_ = l.Walk(f.Context(), "", 0, func(line []byte, _ audit.Entry, _ error) error { f.Add(line); return nil })
	f.Add([]byte(`{"seq":1,"hash":"` + strings.Repeat("0", 64) + `"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := audit.Parse(line)
		if err == nil && (e.Seq < 1 || !json.Valid(line) || !bytes.HasSuffix(line, []byte(e.Hash+`"}`))) {
			t.Errorf("taken for an entry: %q", line)
		}
		_, _ = audit.VerifyExport(bytes.NewReader(line), "")
	})
}
