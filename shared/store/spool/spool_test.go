package spool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/memory"
	"sluice/shared/store/spool"
	"sluice/shared/store/sqlite"
	"sluice/shared/store/storetest"
)

var start = time.Date(2026, 3, 14, 10, 20, 30, 0, time.UTC)

// The decorator keeps every promise of what it wraps, whatever its policy.
func TestStore(t *testing.T) {
	for _, open := range []bool{false, true} {
		t.Run(fmt.Sprintf("open=%v", open), func(t *testing.T) {
			storetest.Run(t, func(tb testing.TB) store.Store {
				return spool.New(memory.New(), spool.Options{Open: open, Dir: filepath.Join(tb.TempDir(), "spool"), Timeout: time.Minute})
			})
		})
	}
}

func TestRestart(t *testing.T) {
	storetest.RunRestart(t, func(tb testing.TB, dir string) store.Store {
		s, err := sqlite.Open(tb.Context(), filepath.Join(dir, "s.db"), sqlite.Options{})
		if err != nil {
			tb.Fatal(err)
		}
		return spool.New(s, spool.Options{Dir: filepath.Join(dir, "spool")})
	})
}

var errAway = errors.New("dial tcp 10.0.0.1:6379: connection refused")

// faulty is a store in memory that can be away, hang, or store and then fail.
type faulty struct {
	*memory.Store
	mu      sync.Mutex
	err     error // of everything
	lost    bool  // answers of Settle do not arrive, though it worked
	hang    bool
	refuse  string // request id that a working store does not take
	full    bool
	admits  int
	settles []store.SettleRequest
}

func (f *faulty) set(edit func(*faulty)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	edit(f)
}

func (f *faulty) fault(ctx context.Context) error {
	f.mu.Lock()
	err, hang := f.err, f.hang
	f.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (f *faulty) Admit(ctx context.Context, r store.AdmitRequest) (store.AdmitResult, error) {
	f.set(func(f *faulty) { f.admits++ })
	if err := f.fault(ctx); err != nil {
		return store.AdmitResult{}, err
	}
	return f.Store.Admit(ctx, r)
}

func (f *faulty) Settle(ctx context.Context, r store.SettleRequest) error {
	f.set(func(f *faulty) { f.settles = append(f.settles, r) })
	if err := f.fault(ctx); err != nil {
		return err
	}
	if f.refuse == r.ID && r.ID != "" {
		return errors.New("value too long")
	}
	if f.full {
		return fmt.Errorf("%w: disk", store.ErrFull)
	}
	err := f.Store.Settle(ctx, r)
	if f.lost {
		return errors.New("connection reset")
	}
	return err
}

func (f *faulty) Ping(ctx context.Context) error {
	if err := f.fault(ctx); err != nil {
		return err
	}
	return f.Store.Ping(ctx)
}

// safeLog collects log lines.
type safeLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *safeLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *safeLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type rig struct {
	t   *testing.T
	in  *faulty
	s   *spool.Store
	dir string
	log safeLog
}

func newRig(t *testing.T, o spool.Options) *rig {
	r := &rig{t: t, in: &faulty{Store: memory.New()}, dir: o.Dir}
	r.open(o)
	return r
}

func (r *rig) open(o spool.Options) {
	o.Log = slog.New(slog.NewJSONHandler(&r.log, nil))
	r.s = spool.New(r.in, o)
}

func (r *rig) settle(id string, subjects ...store.Subject) {
	r.t.Helper()
	rec := core.Settlement{RequestID: id, Account: "acme", Key: "1", Status: 200, Attempts: 1, Tokens: core.Tokens{Input: 10, Output: 5}, StartedAt: start, EndedAt: start}
	err := r.s.Settle(r.t.Context(), store.SettleRequest{ID: id, Account: "acme", Now: start, Zone: time.UTC, Subjects: subjects,
		Used: store.Amount{Tokens: 15}, Record: rec})
	if err != nil {
		r.t.Fatalf("settle %s: %v", id, err)
	}
}

// stored counts the records inside, without the decorator's help.
func (r *rig) stored(want int) {
	r.t.Helper()
	got, _, err := r.in.Records(r.t.Context(), store.UsageFilter{}, "", 1_000_000)
	if err != nil || len(got) != want {
		r.t.Errorf("%d records are stored (%v), want %d\n%s", len(got), err, want, r.log.String())
	}
}

func (r *rig) files() []string {
	names, err := filepath.Glob(filepath.Join(r.dir, "*"))
	if err != nil {
		r.t.Fatal(err)
	}
	return names
}

// TestKeptAndReplayed: what the store did not take is on disk, readable by its owner only, and is stored when the store
// answers again, by itself.
func TestKeptAndReplayed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "spool")
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, spool.Options{Dir: dir})
		defer r.s.Close()
		r.settle("before")
		if len(r.files()) != 0 {
			t.Error("a store that works made files")
		}
		r.in.set(func(f *faulty) { f.err = errAway })
		for i := range 10 {
			r.settle(fmt.Sprint("q", i))
		}
		r.stored(1)
		fs := r.files()
		if len(fs) != 1 {
			t.Fatalf("files %v, want one", fs)
		}
		for path, mode := range map[string]os.FileMode{fs[0]: 0o600, dir: 0o700} {
			if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != mode {
				t.Errorf("%s: %v %v, want %v", path, fi.Mode(), err, mode)
			}
		}
		if st := r.s.Stats(); st.Spooled != 10 || st.Waiting != 10 {
			t.Errorf("stats %+v", st)
		}
		time.Sleep(time.Minute)
		r.stored(1)
		r.in.set(func(f *faulty) { f.err = nil })
		time.Sleep(20 * time.Second)
		r.stored(11)
		if st := r.s.Stats(); st.Replayed != 10 || st.Waiting != 0 || len(r.files()) != 0 {
			t.Errorf("stats %+v, files %v", st, r.files())
		}
		if n := strings.Count(r.log.String(), "does not take settlements"); n != 1 {
			t.Errorf("%d lines tell of the outage, want 1:\n%s", n, r.log.String())
		}
	})
}

// TestOnce: a settlement whose answer was lost is stored once, though it is replayed; so is one that two runs replay.
func TestOnce(t *testing.T) {
	r := newRig(t, spool.Options{Dir: t.TempDir()})
	k := store.Subject{Kind: store.KindKey, ID: "1", Limits: core.Limits{TPM: 100}}
	v, err := r.in.Create(t.Context(), store.Doc{Kind: store.KindKey, ID: "1", Account: "acme", Body: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	k.Version = v
	r.in.set(func(f *faulty) { f.lost = true })
	r.settle("a", k)
	r.in.set(func(f *faulty) { f.lost = false })
	sums, err := r.s.Sums(t.Context(), store.UsageFilter{}, store.GroupNone)
	if err != nil || sums[0].Requests != 1 || sums[0].Tokens.Output != 5 {
		t.Errorf("sums %+v, %v", sums, err)
	}
	res, err := r.s.Admit(t.Context(), store.AdmitRequest{Now: start, ID: "b", Account: "acme", Subjects: []store.Subject{k}, LeaseEnd: start.Add(time.Minute)})
	if err != nil || len(res.Figures) != 1 || res.Figures[0].Remaining != 85 {
		t.Errorf("figures %+v, %v: want the 15 tokens taken once", res.Figures, err)
	}
	if err := r.s.Close(); err != nil {
		t.Error(err)
	}
}

// TestRestartReplays: what a process left on disk, cut in its last line, is stored by the next.
func TestRestartReplays(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, spool.Options{Dir: dir})
	r.in.set(func(f *faulty) { f.err = errAway })
	for i := range 5 {
		r.settle(fmt.Sprint("q", i))
	}
	if err := r.s.Close(); err != nil {
		t.Fatal(err)
	}
	name := r.files()[0]
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	// killed while it wrote the last line; and a disk that damaged the second
	lines := bytes.SplitAfter(data, []byte{'\n'})
	lines[1] = append([]byte(`{"id":"q1","rec`), '\n')
	data = bytes.Join(lines, nil)
	if err := os.WriteFile(name, data[:len(data)-40], 0o600); err != nil {
		t.Fatal(err)
	}
	r.in = &faulty{Store: memory.New()}
	r.open(spool.Options{Dir: dir})
	if _, _, err := r.s.Records(t.Context(), store.UsageFilter{}, "", 1); err != nil {
		t.Fatal(err)
	}
	r.stored(3)
	if len(r.files()) != 0 {
		t.Errorf("files %v are left", r.files())
	}
	if log := r.log.String(); !strings.Contains(log, `"lines":2`) {
		t.Errorf("nothing tells of the two lines that are lost:\n%s", log)
	}
	if err := r.s.Close(); err != nil {
		t.Error(err)
	}
}

// TestSharedFolder: a process leaves alone what another, which lives, still writes.
func TestSharedFolder(t *testing.T) {
	dir := t.TempDir()
	a := newRig(t, spool.Options{Dir: dir})
	a.in.set(func(f *faulty) { f.err = errAway })
	a.settle("a")
	b := newRig(t, spool.Options{Dir: dir})
	if st := b.s.Stats(); st.Waiting != 0 {
		t.Errorf("the second took over what the first writes: %+v", st)
	}
	a.in.set(func(f *faulty) { f.err = nil })
	if err := errors.Join(b.s.Close(), a.s.Flush(t.Context())); err != nil {
		t.Error(err)
	}
	a.stored(1)
	if err := a.s.Close(); err != nil {
		t.Error(err)
	}
}

// TestBounded: the folder does not grow beyond its bound; what finds no place is in the log, whole.
func TestBounded(t *testing.T) {
	r := newRig(t, spool.Options{Dir: t.TempDir(), MaxBytes: 2000})
	defer r.s.Close()
	r.in.set(func(f *faulty) { f.err = errAway })
	for i := range 20 {
		r.settle(fmt.Sprint("q", i))
	}
	size := int64(0)
	for _, f := range r.files() {
		fi, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		size += fi.Size()
	}
	st := r.s.Stats()
	if size > 2000 || st.Spooled == 0 || st.Logged == 0 || st.Spooled+st.Logged != 20 {
		t.Errorf("%d bytes, stats %+v", size, st)
	}
	if log := r.log.String(); !strings.Contains(log, `\"request_id\":\"q19\"`) || !strings.Contains(log, "full") {
		t.Errorf("the log does not hold the last settlement:\n%s", log)
	}
}

// TestNoFolder: where no folder can be made, or none is wanted, the log has it all.
func TestNoFolder(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"", filepath.Join(blocked, "spool")} {
		r := newRig(t, spool.Options{Dir: dir})
		r.in.set(func(f *faulty) { f.err = errAway })
		r.settle("a")
		if log := r.log.String(); strings.Count(log, "\n") != 1 || !strings.Contains(log, `\"request_id\":\"a\"`) || !strings.Contains(log, "settlement not stored") {
			t.Errorf("folder %q: the log is\n%s", dir, log)
		}
		if err := r.s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestOddFile: what is no file of ours is left alone.
func TestOddFile(t *testing.T) {
	dir := t.TempDir()
	odd := filepath.Join(dir, "settle-0-odd.jsonl")
	if err := os.Symlink("/dev/zero", odd); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, spool.Options{Dir: dir})
	r.in.set(func(f *faulty) { f.err = errAway })
	r.settle("a")
	r.in.set(func(f *faulty) { f.err = nil })
	if err := r.s.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	r.stored(1)
	if fs := r.files(); len(fs) != 1 || fs[0] != odd {
		t.Errorf("files %v", fs)
	}
	_ = r.s.Close()
}

// TestHugeFile: a file larger than any of ours is not read into memory and stays as it is.
func TestHugeFile(t *testing.T) {
	dir := t.TempDir()
	huge := filepath.Join(dir, "settle-0-huge.jsonl")
	f, err := os.Create(huge)
	if err != nil {
		t.Fatal(err)
	}
	const size = 64 << 20 // of nothing: it takes no room on the disk
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, spool.Options{Dir: dir})
	r.in.set(func(f *faulty) { f.err = errAway })
	r.settle("a")
	r.in.set(func(f *faulty) { f.err = nil })
	if err := r.s.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	r.stored(1)
	if fi, err := os.Stat(huge); err != nil || fi.Size() != size {
		t.Errorf("%v, %v", fi, err)
	}
	_ = r.s.Close()
}

// TestFullBuffer: an embedded store whose buffer is full has counted the limits already; the record alone waits.
func TestFullBuffer(t *testing.T) {
	r := newRig(t, spool.Options{Dir: t.TempDir()})
	r.in.set(func(f *faulty) { f.full = true })
	r.settle("a", store.Subject{Kind: store.KindKey, ID: "1"})
	r.in.set(func(f *faulty) { f.full = false })
	if err := r.s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.stored(1)
	last := r.in.settles[len(r.in.settles)-1]
	if len(r.in.settles) != 2 || last.Subjects != nil || last.Used != (store.Amount{}) {
		t.Errorf("replayed as %+v", last)
	}
	_ = r.s.Close()
}

// TestRefusedByWorkingStore: one settlement that a working store will not take does not keep the others waiting.
func TestRefusedByWorkingStore(t *testing.T) {
	r := newRig(t, spool.Options{Dir: t.TempDir()})
	r.in.set(func(f *faulty) { f.err = errAway })
	r.settle("odd")
	r.settle("good")
	r.in.set(func(f *faulty) { f.err, f.refuse = nil, "odd" })
	for range 6 {
		if err := r.s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r.stored(1)
	if log := r.log.String(); !strings.Contains(log, "settlement not stored") || !strings.Contains(log, "value too long") {
		t.Errorf("the log is\n%s", log)
	}
	if len(r.files()) != 0 {
		t.Errorf("files %v are left", r.files())
	}
	_ = r.s.Close()
}

// TestConcurrent: many settle while the store comes and goes; every one is stored once.
func TestConcurrent(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, spool.Options{Dir: dir})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 200 {
				if w == 0 {
					r.in.set(func(f *faulty) {
						if f.err = nil; i%3 != 0 {
							f.err = errAway
						}
					})
				}
				r.settle(fmt.Sprint(w, "-", i))
				if w == 1 && i%20 == 0 {
					_ = r.s.Flush(t.Context())
				}
			}
		})
	}
	wg.Wait()
	r.in.set(func(f *faulty) { f.err = nil })
	if err := r.s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.stored(1600)
	if err := r.s.Close(); err != nil {
		t.Error(err)
	}
}
