package sqlstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/sqlstore"
)

// disk is what a saver saves to. Tests run in a bubble, where a goroutine that is left over is a failure.
type disk struct {
	mu     sync.Mutex
	err    error
	groups []int
	saved  map[string]int
	other  atomic.Bool // something else than records waits
	log    bytes.Buffer
}

func (d *disk) save(_ context.Context, recs []core.Settlement) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return d.err
	}
	d.groups = append(d.groups, len(recs))
	for _, r := range recs {
		d.saved[r.RequestID]++
	}
	d.other.Store(false)
	return nil
}

// fail makes saving fail, or with nil work again.
func (d *disk) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

func bubble(t *testing.T, test func(t *testing.T, d *disk, s *sqlstore.Saver)) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{saved: map[string]int{}}
		s := sqlstore.NewSaver(d.save, d.other.Load, slog.New(slog.NewTextHandler(&d.log, nil)))
		test(t, d, s)
		synctest.Wait()
		_ = s.Close(t.Context())
	})
}

func add(t *testing.T, s *sqlstore.Saver, from, n int) {
	t.Helper()
	for i := range n {
		if err := s.Add(core.Settlement{RequestID: fmt.Sprint(from + i)}); err != nil {
			t.Fatalf("add %d: %v", from+i, err)
		}
	}
}

func (d *disk) want(t *testing.T, when string, groups ...int) {
	t.Helper()
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if fmt.Sprint(d.groups) != fmt.Sprint(groups) {
		t.Errorf("%s: saved in groups of %v, want %v", when, d.groups, groups)
	}
}

// count checks that so many records were saved, each once, and none in too large a group.
func (d *disk) count(t *testing.T, want int) {
	t.Helper()
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.saved) != want || slices.Max(d.groups) > sqlstore.SaveChunk {
		t.Errorf("%d records saved in groups of %v, want %d in groups of at most %d", len(d.saved), d.groups, want, sqlstore.SaveChunk)
	}
	for id, n := range d.saved {
		if n != 1 {
			t.Errorf("record %s was saved %d times", id, n)
		}
	}
}

func TestSaverGroups(t *testing.T) {
	bubble(t, func(t *testing.T, d *disk, s *sqlstore.Saver) {
		add(t, s, 0, 3)
		time.Sleep(sqlstore.SaveEvery - 1)
		d.want(t, "before 200 ms")
		add(t, s, 3, 1)
		time.Sleep(1 * time.Nanosecond)
		d.want(t, "after 200 ms", 4)
		time.Sleep(time.Minute)
		d.want(t, "idle", 4)
		add(t, s, 4, sqlstore.SaveAtOnce-1)
		d.want(t, "nearly as many wait", 4)
		add(t, s, 10_000, 1)
		d.want(t, "many wait", 4, sqlstore.SaveAtOnce)
		d.other.Store(true)
		s.Wake()
		d.want(t, "counters wait", 4, sqlstore.SaveAtOnce)
		time.Sleep(sqlstore.SaveEvery)
		d.want(t, "counters waited", 4, sqlstore.SaveAtOnce, 0)
		add(t, s, 10_001, 2)
		if err := s.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		d.want(t, "flushed", 4, sqlstore.SaveAtOnce, 0, 2)
		time.Sleep(time.Minute)
		d.want(t, "idle again", 4, sqlstore.SaveAtOnce, 0, 2)
		add(t, s, 10_003, 1)
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		d.want(t, "closed", 4, sqlstore.SaveAtOnce, 0, 2, 1)
		if err := s.Add(core.Settlement{}); err == nil {
			t.Error("a closed saver takes records")
		}
		d.count(t, sqlstore.SaveAtOnce+7)
	})
}

func TestSaverDiskFull(t *testing.T) {
	bubble(t, func(t *testing.T, d *disk, s *sqlstore.Saver) {
		full := errors.New("disk is full")
		d.fail(full)
		add(t, s, 0, 10)
		time.Sleep(time.Second)
		if err := s.Last(); !errors.Is(err, full) {
			t.Errorf("last error %v", err)
		}
		add(t, s, 10, sqlstore.QueueMax-10)
		err := s.Add(core.Settlement{RequestID: "too many"})
		if !errors.Is(err, store.ErrFull) || !errors.Is(err, full) {
			t.Errorf("one too many: %v, want ErrFull with its reason", err)
		}
		if err := s.Flush(t.Context()); !errors.Is(err, full) {
			t.Errorf("flush: %v", err)
		}
		time.Sleep(time.Hour)
		d.want(t, "nothing can be saved")
		d.fail(nil)
		time.Sleep(sqlstore.SaveRetry)
		d.count(t, sqlstore.QueueMax)
		if err := s.Last(); err != nil {
			t.Errorf("last error %v", err)
		}
		if n := strings.Count(d.log.String(), "\n"); n != 2 {
			t.Errorf("want one line for the failure and one for its end:\n%s", d.log.String())
		}
		add(t, s, sqlstore.QueueMax, 1)
		time.Sleep(sqlstore.SaveEvery)
		d.count(t, sqlstore.QueueMax+1)
	})
}

func TestSaverLoss(t *testing.T) {
	bubble(t, func(t *testing.T, d *disk, s *sqlstore.Saver) {
		gone := errors.New("disk is gone")
		d.fail(gone)
		add(t, s, 0, 7)
		err := s.Close(t.Context())
		if !errors.Is(err, gone) || !strings.Contains(err.Error(), "7 usage records are lost") {
			t.Errorf("close: %v", err)
		}
	})
}

// A caller who leaves during a flush says nothing about the disk.
func TestSaverCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sqlstore.NewSaver(func(ctx context.Context, _ []core.Settlement) error {
			<-ctx.Done()
			return ctx.Err()
		}, func() bool { return false }, slog.New(slog.DiscardHandler))
		add(t, s, 0, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := s.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("flush: %v", err)
		}
		if err := s.Last(); err != nil {
			t.Errorf("last error %v", err)
		}
		_ = s.Close(ctx)
	})
}
