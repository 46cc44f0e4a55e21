package spool_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/store"
	"sluice/shared/store/spool"
)

func admitRequest(id string, now time.Time) store.AdmitRequest {
	return store.AdmitRequest{Now: now, ID: id, Account: "acme", LeaseEnd: now.Add(time.Minute)}
}

// TestClosed: by default nobody is let in while the store is away, and the caller sees why.
func TestClosed(t *testing.T) {
	r := newRig(t, spool.Options{})
	defer r.s.Close()
	r.in.set(func(f *faulty) { f.err = errAway })
	for range 10 {
		if _, err := r.s.Admit(t.Context(), admitRequest("a", start)); !errors.Is(err, errAway) {
			t.Fatalf("error %v, want the store's", err)
		}
	}
	if r.in.admits != 10 || r.s.Stats().LetIn != 0 {
		t.Errorf("%d calls, stats %+v", r.in.admits, r.s.Stats())
	}
}

// TestOpen: requests are let in, counted and told of; a store that is silent is not asked for each of them.
func TestOpen(t *testing.T) {
	r := newRig(t, spool.Options{Open: true})
	defer r.s.Close()
	r.in.set(func(f *faulty) { f.err = errAway })
	for i := range 100 {
		res, err := r.s.Admit(t.Context(), admitRequest("a", start.Add(time.Duration(i)*time.Millisecond)))
		if err != nil || res.Generation != 0 || res.Figures != nil {
			t.Fatalf("%+v, %v", res, err)
		}
	}
	if r.in.admits != 3 {
		t.Errorf("the store was asked %d times within 100 ms, want 3", r.in.admits)
	}
	if _, err := r.s.Admit(t.Context(), admitRequest("a", start.Add(3*time.Second))); err != nil || r.in.admits != 4 {
		t.Errorf("%v; asked %d times 3 s later, want 4", err, r.in.admits)
	}
	if n := r.s.Stats().LetIn; n != 101 {
		t.Errorf("%d counted, want 101", n)
	}
	if n := strings.Count(r.log.String(), "let in without limits"); n != 1 {
		t.Errorf("%d lines, want 1 within 10 s:\n%s", n, r.log.String())
	}
	r.in.set(func(f *faulty) { f.err = nil })
	if _, err := r.s.Admit(t.Context(), admitRequest("b", start.Add(10*time.Second))); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(r.log.String(), `"msg":"the store answers again","let_in":101`) {
		t.Errorf("the log is\n%s", r.log.String())
	}
	n := r.in.admits
	for range 5 {
		_, _ = r.s.Admit(t.Context(), admitRequest("c", start.Add(10*time.Second)))
	}
	if r.in.admits != n+5 {
		t.Error("a store that answers is not asked")
	}
}

// TestOpenStillRefuses: a refusal, a stale version and a client that left are answers, not outages.
func TestOpenStillRefuses(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		why string
		ctx context.Context
		err error
	}{
		{"a limit forbids it", t.Context(), &store.Refusal{Limit: store.LimitRPM}},
		{"the key was revoked", t.Context(), fmt.Errorf("key 1: %w", store.ErrStale)},
		{"nobody waits for it", gone, context.Canceled},
	} {
		r := newRig(t, spool.Options{Open: true})
		r.in.set(func(f *faulty) { f.err = c.err })
		if _, err := r.s.Admit(c.ctx, admitRequest("a", start)); !errors.Is(err, c.err) || r.s.Stats().LetIn != 0 {
			t.Errorf("%s: error %v, stats %+v", c.why, err, r.s.Stats())
		}
		_ = r.s.Close()
	}
}

// TestHangingStore: a store that does not answer is away after the timeout, and does not keep Close waiting.
func TestHangingStore(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, spool.Options{Open: true, Timeout: 5 * time.Second, Dir: dir})
		r.in.set(func(f *faulty) { f.hang = true })
		began := time.Now()
		if _, err := r.s.Admit(t.Context(), admitRequest("a", start)); err != nil {
			t.Error(err)
		}
		r.settle("a")
		if d := time.Since(began); d != 10*time.Second {
			t.Errorf("admission and settlement took %v, want 5 s each", d)
		}
		time.Sleep(3 * time.Second) // the goroutine asks by now
		if err := r.s.Close(); err != nil {
			t.Error(err)
		}
		if d := time.Since(began); d > 14*time.Second {
			t.Errorf("Close waited until %v", d)
		}
		if len(r.files()) != 1 {
			t.Errorf("files %v", r.files())
		}
	})
}
