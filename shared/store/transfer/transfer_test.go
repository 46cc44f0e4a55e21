package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/memory"
	"sluice/shared/store/spool"
	"sluice/shared/store/sqlite"
	"sluice/shared/store/transfer"
)

var start = time.Date(2026, 3, 14, 10, 20, 30, 0, time.UTC)

func clock() time.Time { return start }

func file(t *testing.T) store.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "s.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func inMemory(*testing.T) store.Store { return memory.New() }

func create(t *testing.T, s store.Store, ds ...store.Doc) {
	t.Helper()
	for _, d := range ds {
		if d.Body == nil {
			d.Body = fmt.Appendf(nil, `{"id":%q}`, d.ID)
		}
		if _, err := s.Create(t.Context(), d); err != nil {
			t.Fatalf("create %s %s: %v", d.Kind, d.ID, err)
		}
	}
}

func settle(t *testing.T, s store.Store, from, n int) {
	t.Helper()
	for i := from; i < from+n; i++ {
		at := start.Add(time.Duration(i/3) * time.Minute) // three end at once
		r := core.Settlement{RequestID: fmt.Sprint("r", i), Account: "a" + strconv.Itoa(i%3), Key: "2", Status: 200, Attempts: 1,
			Tokens: core.Tokens{Input: int64(i), Output: 1}, StartedAt: at, EndedAt: at}
		if err := s.Settle(t.Context(), store.SettleRequest{ID: r.RequestID, Account: r.Account, Record: r}); err != nil {
			t.Fatal(err)
		}
	}
}

// fill makes an installation with something of every kind, more than a page of keys and of records.
func fill(t *testing.T, s store.Store) {
	t.Helper()
	create(t, s, store.Doc{Kind: store.KindMeta, ID: "seal", Body: []byte(`{"id":"seal","data":{"ring":1}}`)},
		store.Doc{Kind: store.KindMeta, ID: "master", Body: []byte(`{"id":"master","data":"secret"}`)})
	for i := range 3 {
		a := "a" + strconv.Itoa(i)
		create(t, s, store.Doc{Kind: store.KindAccount, ID: a, Account: a}, store.Doc{Kind: store.KindNode, ID: strconv.Itoa(i + 1), Account: a},
			store.Doc{Kind: store.KindNodeState, ID: strconv.Itoa(i + 1), Account: a},
			store.Doc{Kind: store.KindSession, ID: "live" + a, Account: a, Expires: start.Add(time.Hour)},
			store.Doc{Kind: store.KindSession, ID: "dead" + a, Account: a, Expires: start.Add(-time.Hour)},
			store.Doc{Kind: store.KindResource, ID: a + "/file", Account: a, Expires: start.Add(time.Hour)},
			store.Doc{Kind: store.KindResponse, ID: a + "/resp", Account: a, Expires: start.Add(time.Hour)})
	}
	for range 300 {
		if _, err := s.Next(t.Context(), store.KindKey); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 230 {
		id := strconv.Itoa(i + 2)
		create(t, s, store.Doc{Kind: store.KindKey, ID: id, Account: "a" + strconv.Itoa(i%3), Unique: []string{"h" + id, "g" + id}})
	}
	settle(t, s, 0, 700)
}

func run(t *testing.T, from, to store.Store) (*transfer.Report, error) {
	t.Helper()
	return transfer.Copy(t.Context(), from, to, transfer.Options{Now: clock, Leave: []string{"master"}})
}

func must(t *testing.T, from, to store.Store) *transfer.Report {
	t.Helper()
	r, err := run(t, from, to)
	if err != nil {
		t.Fatalf("copy: %v; %+v", err, r)
	}
	return r
}

func count(r *transfer.Report, kind string) transfer.Count {
	for _, c := range r.Counts {
		if c.Kind == kind {
			return c
		}
	}
	return transfer.Count{}
}

func written(r *transfer.Report) (n int) {
	for _, c := range r.Counts {
		n += c.Written + c.Removed
	}
	return n
}

// TestCopy: everything that lives is there, found by its look-up strings, in every pair of backends.
func TestCopy(t *testing.T) {
	for _, c := range []struct {
		name     string
		from, to func(*testing.T) store.Store
	}{
		{"file to file", file, file}, {"memory to memory", inMemory, inMemory},
		{"through the decorator", inMemory, func(t *testing.T) store.Store { return spool.New(memory.New(), spool.Options{}) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			from, to := c.from(t), c.to(t)
			fill(t, from)
			r := must(t, from, to)
			for kind, want := range map[string]int{store.KindAccount: 3, store.KindKey: 230, store.KindNode: 3, store.KindNodeState: 3,
				store.KindSession: 3, store.KindResource: 3, store.KindResponse: 3, store.KindMeta: 1, transfer.Records: 700} {
				if got := count(r, kind); got.Source != want || got.Target != want || got.Written != want || got.Removed != 0 {
					t.Errorf("%+v, want %d", got, want)
				}
			}
			if r.Requests != 700 {
				t.Errorf("%d requests in the totals, want 700", r.Requests)
			}
			for _, look := range []string{"h231", "g231", "h2"} {
				d, err := to.Find(t.Context(), store.KindKey, look)
				if err != nil || "h"+d.ID != look && "g"+d.ID != look {
					t.Errorf("%s finds %+v, %v", look, d, err)
				}
			}
			if _, err := to.Get(t.Context(), store.KindMeta, "master"); !store.Missing(err) {
				t.Errorf("what belongs to the place was copied: %v", err)
			}
			if n, err := to.Next(t.Context(), store.KindKey); err != nil || n <= 300 {
				t.Errorf("the next key is %d, %v: an id is given twice", n, err)
			}
			if again := must(t, from, to); written(again) != 0 {
				t.Errorf("the second run wrote: %+v", again)
			}
		})
	}
}

// TestChangesSince: a copy that is run again takes over what changed in the source, also where look-up strings moved.
func TestChangesSince(t *testing.T) {
	from, to := inMemory(t), inMemory(t)
	fill(t, from)
	must(t, from, to)
	ctx := t.Context()
	if err := from.Delete(ctx, store.KindKey, "5", 0); err != nil {
		t.Fatal(err)
	}
	// 231 gets what 2 had, and 2 what 200 had: in the target each is taken still when its turn comes
	for _, move := range [][2]string{{"200", "x200"}, {"2", "h200"}, {"231", "h2"}} {
		d, err := from.Get(ctx, store.KindKey, move[0])
		if err != nil {
			t.Fatal(err)
		}
		d.Unique = []string{move[1]}
		if _, err := from.Replace(ctx, d); err != nil {
			t.Fatal(err)
		}
	}
	if err := from.Delete(ctx, store.KindNode, "3", 0); err != nil {
		t.Fatal(err)
	}
	create(t, from, store.Doc{Kind: store.KindNode, ID: "3", Account: "a0"}) // another account's now
	settle(t, from, 700, 10)
	r := must(t, from, to)
	if k := count(r, store.KindKey); k.Removed != 1 || k.Target != 229 {
		t.Errorf("keys %+v", k)
	}
	if u := count(r, transfer.Records); u.Written != 10 || u.Target != 710 {
		t.Errorf("records %+v", u)
	}
	for look, id := range map[string]string{"x200": "200", "h200": "2", "h2": "231"} {
		if d, err := to.Find(ctx, store.KindKey, look); err != nil || d.ID != id {
			t.Errorf("%s finds key %s, %v; want %s", look, d.ID, err, id)
		}
	}
	if d, err := to.Get(ctx, store.KindNode, "3"); err != nil || d.Account != "a0" {
		t.Errorf("node 3 is %+v, %v", d, err)
	}
}

// breaking fails after so many writes.
type breaking struct {
	store.Store
	left int
}

var errBroken = errors.New("broken pipe")

func (b *breaking) spend() error {
	if b.left--; b.left < 0 {
		return errBroken
	}
	return nil
}

func (b *breaking) Create(ctx context.Context, d store.Doc) (int64, error) {
	if err := b.spend(); err != nil {
		return 0, err
	}
	return b.Store.Create(ctx, d)
}

func (b *breaking) Settle(ctx context.Context, r store.SettleRequest) error {
	if err := b.spend(); err != nil {
		return err
	}
	return b.Store.Settle(ctx, r)
}

// TestBrokenOff: wherever a copy breaks off, no gateway starts on the target, and the next run ends it without doing
// again what was done.
func TestBrokenOff(t *testing.T) {
	from := inMemory(t)
	fill(t, from)
	for _, after := range []int{1, 2, 100, 250, 700, 940} {
		to := inMemory(t)
		tables := store.NewTables(to, clock)
		if _, err := run(t, from, &breaking{to, after}); !errors.Is(err, errBroken) {
			t.Fatalf("after %d writes: %v", after, err)
		}
		if err := transfer.Started(t.Context(), tables); !errors.Is(err, transfer.ErrUnfinished) {
			t.Errorf("after %d writes a gateway starts: %v", after, err)
		}
		if _, err := run(t, to, inMemory(t)); !errors.Is(err, transfer.ErrUnfinished) && !errors.Is(err, transfer.ErrEmpty) {
			t.Errorf("half a copy is copied: %v", err)
		}
		r := must(t, from, to)
		if n := written(r); n > 949-after+1 {
			t.Errorf("after %d writes %d were left to do; 949 are all", after, n)
		}
		if err := transfer.Started(t.Context(), tables); err != nil {
			t.Errorf("a gateway does not start: %v", err)
		}
	}
}

// TestRefuses: a target that is not this copy is not touched.
func TestRefuses(t *testing.T) {
	from := inMemory(t)
	fill(t, from)
	for _, c := range []struct {
		why  string
		make func(t *testing.T) store.Store
		want error
	}{
		{"another installation", func(t *testing.T) store.Store {
			s := inMemory(t)
			create(t, s, store.Doc{Kind: store.KindMeta, ID: "seal"})
			return s
		}, transfer.ErrOther},
		{"a single foreign document", func(t *testing.T) store.Store {
			s := inMemory(t)
			create(t, s, store.Doc{Kind: store.KindResource, ID: "x"})
			return s
		}, transfer.ErrOther},
		{"usage alone", func(t *testing.T) store.Store {
			s := inMemory(t)
			settle(t, s, 0, 1)
			return s
		}, transfer.ErrOther},
		{"the copy of another", func(t *testing.T) store.Store {
			s, other := inMemory(t), inMemory(t)
			create(t, other, store.Doc{Kind: store.KindMeta, ID: "seal", Body: []byte(`{"id":"seal","data":2}`)})
			must(t, other, s)
			return s
		}, transfer.ErrOther},
		{"a copy that a gateway has started on", func(t *testing.T) store.Store {
			s := inMemory(t)
			must(t, from, s)
			if err := transfer.Started(t.Context(), store.NewTables(s, clock)); err != nil {
				t.Fatal(err)
			}
			return s
		}, transfer.ErrOther},
	} {
		to := c.make(t)
		before, err := transfer.Counts(t.Context(), to, clock)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := run(t, from, to); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.why, err, c.want)
		}
		if after, err := transfer.Counts(t.Context(), to, clock); err != nil || !slices.Equal(before, after) {
			t.Errorf("%s: it was changed: %+v, %v; was %+v", c.why, after, err, before)
		}
	}
	if _, err := run(t, inMemory(t), inMemory(t)); !errors.Is(err, transfer.ErrEmpty) {
		t.Errorf("an empty source: %v", err)
	}
}

// forgetful loses a record.
type forgetful struct{ store.Store }

func (f forgetful) Settle(ctx context.Context, r store.SettleRequest) error {
	if r.ID == "r17" {
		return nil
	}
	return f.Store.Settle(ctx, r)
}

// TestCompares: what was not copied is seen, and such a copy is not finished.
func TestCompares(t *testing.T) {
	from, to := inMemory(t), inMemory(t)
	fill(t, from)
	r, err := run(t, from, forgetful{to})
	if !errors.Is(err, transfer.ErrDiffers) || r == nil || count(r, transfer.Records).Target != 699 {
		t.Fatalf("%v, %+v", err, r)
	}
	if err := transfer.Started(t.Context(), store.NewTables(to, clock)); !errors.Is(err, transfer.ErrUnfinished) {
		t.Errorf("a gateway starts on it: %v", err)
	}
	if r := must(t, from, to); count(r, transfer.Records).Written != 1 {
		t.Errorf("the next run: %+v", r)
	}
}

// TestNotReady: nothing is copied where the caller says no.
func TestNotReady(t *testing.T) {
	from, to := inMemory(t), inMemory(t)
	fill(t, from)
	no := errors.New("no")
	_, err := transfer.Copy(t.Context(), from, to, transfer.Options{Now: clock, Ready: func(context.Context) error { return no }})
	if !errors.Is(err, no) {
		t.Fatal(err)
	}
	if ds, err := to.List(t.Context(), store.KindAccount, "", "", 1); err != nil || len(ds) != 0 {
		t.Errorf("%v, %v", ds, err)
	}
}

// TestEveryKind: a kind that the contract gets must be copied, too.
func TestEveryKind(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "../store.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(v.Names[0].Name, "Kind") || len(v.Values) != 1 {
			return true
		}
		kind, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
		if seen++; err != nil || !slices.Contains(transfer.Kinds(), kind) {
			t.Errorf("documents of kind %q are not copied", kind)
		}
		return true
	})
	if seen < 8 {
		t.Errorf("only %d kinds were found: this test has lost its eyes", seen)
	}
}
