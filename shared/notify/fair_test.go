package notify_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/notify"
	"sluice/shared/store"
)

// web answers every host at once, but those that begin with "slow" after their time. It notes when it was asked.
type web struct {
	slow time.Duration

	mu     sync.Mutex
	at     map[string][]time.Time // by host
	active map[string]int         // by the part of the host before "-"
	most   map[string]int
}

func (w *web) RoundTrip(r *http.Request) (*http.Response, error) {
	owner, _, _ := strings.Cut(r.URL.Host, "-")
	w.mu.Lock()
	w.at[r.URL.Host] = append(w.at[r.URL.Host], time.Now())
	w.active[owner]++
	w.most[owner] = max(w.most[owner], w.active[owner])
	w.mu.Unlock()
	defer func() { w.mu.Lock(); w.active[owner]--; w.mu.Unlock() }()
	if strings.HasPrefix(owner, "slow") {
		select {
		case <-time.After(w.slow):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	return &http.Response{StatusCode: 200, Body: http.NoBody, Header: http.Header{}}, nil
}

func (w *web) asked(host string) []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at[host]
}

func newWeb(t *testing.T, slow time.Duration) (*rig, *web) {
	w := &web{slow: slow, at: map[string][]time.Time{}, active: map[string]int{}, most: map[string]int{}}
	return newRig(t, func(o *notify.Options) { o.Now, o.HTTP.Transport = time.Now, w }), w
}

func (r *rig) hook(account, host string) notify.Channel {
	return r.channel(account, "webhook", map[string]string{"url": "https://" + host + "/x"}, core.EventNodeFailed)
}

// TestSlowTenantHoldsUpNobody: lanes were taken in the order of random ids, so that one tenant's 120 webhooks of 9.9 s had all
// four workers: nothing of another tenant was sent within 300 s.
func TestSlowTenantHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := newWeb(t, 9900*time.Millisecond)
		for i := range 120 {
			r.hook("mallory", fmt.Sprintf("slow-%d", i))
		}
		r.hook("b", "fast-b")
		r.hook("c", "fast-c")
		r.emit(r.hub, failed("mallory", "node 1"))
		r.emit(r.hub, failed("b", "node 1"))
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			time.Sleep(60 * time.Second) // in the midst of it
			r.emit(r.hub, failed("c", "node 1"))
		})
		rep, err := r.hub.Deliver(ctx)
		wg.Wait()
		if err != nil || rep.Sent < 50 {
			t.Errorf("%+v, %v", rep, err)
		}
		for host, noted := range map[string]time.Time{"fast-b": began, "fast-c": began.Add(60 * time.Second)} {
			if got := w.asked(host); len(got) != 1 || got[0].Sub(noted) > 20*time.Second {
				t.Errorf("%s was told at %v, noted at %v", host, got, noted)
			}
		}
		if w.most["slow"] > 2 {
			t.Errorf("%d workers for one account", w.most["slow"])
		}
	})
}

// TestSlowTenantsTakeTurns: six tenants, more than there are workers; each gets its turn, and the next run begins with those
// that this one did not reach.
func TestSlowTenantsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := newWeb(t, 9*time.Second)
		for i := range 6 {
			for j := range 10 {
				r.hook(fmt.Sprint("tenant", i), fmt.Sprintf("slow%d-%d", i, j))
			}
			r.emit(r.hub, failed(fmt.Sprint("tenant", i), "node 1"))
		}
		for range 3 { // each ends before a second row of messages can
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if _, err := r.hub.Deliver(ctx); err != nil {
				t.Error(err)
			}
			cancel()
		}
		for i := range 6 {
			if w.most[fmt.Sprint("slow", i)] == 0 {
				t.Errorf("tenant %d had no turn: %v", i, w.most)
			}
		}
	})
}

// TestSlowSuccessRests: a channel that works, slowly, took a worker for all of its notices in a row.
func TestSlowSuccessRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := newWeb(t, 4*time.Second)
		r.hook("a", "slow-a")
		for i := range 3 {
			r.emit(r.hub, failed("a", fmt.Sprint("node ", i)))
		}
		r.want(r.hub, "one", 1, 0, 2)
		r.want(r.another(), "it rests, everywhere", 0, 0, 2)
		time.Sleep(4 * time.Second)
		r.want(r.another(), "for as long as it took", 1, 0, 1)
		if n := len(w.asked("slow-a")); n != 2 {
			t.Errorf("%d messages", n)
		}
	})
}

// TestListingIsBounded: every pass read the whole outbox, however much one account had there, before anything was sent.
func TestListingIsBounded(t *testing.T) {
	var r *rig
	read, first := 0, 0
	listed := &listing{count: func(n int) { read += n }}
	var mu sync.Mutex
	r = newRig(t, func(o *notify.Options) {
		listed.Docs, o.Docs = o.Docs, listed
		o.HTTP.Transport = roundTrip(func(*http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			if first == 0 {
				first = read
			}
			return &http.Response{StatusCode: 200, Body: http.NoBody, Header: http.Header{}}, nil
		})
	})
	for i := range 4 {
		account := fmt.Sprint("flood", i)
		r.hook(account, "x.example")
		r.emit(r.hub, failed(account, "node 1"))
	}
	for _, n := range r.outbox() { // left by a version without a bound
		block := n.ID[:13]
		for i := range 2500 {
			n.ID = fmt.Sprintf("%s%032d", block, i)
			if _, err := r.hub.Notices.Create(t.Context(), n); err != nil {
				t.Fatal(err)
			}
		}
	}
	read = 0
	rep := r.deliver(r.hub)
	if rep.Sent != 4*20 {
		t.Errorf("%+v: want a minute's worth for each account", rep)
	}
	if first > 7000 {
		t.Errorf("%d notices were read before the first was sent", first)
	}
}

type listing struct {
	store.Docs
	count func(int)
}

func (l *listing) List(ctx context.Context, kind, account, after string, limit int) ([]store.Doc, error) {
	docs, err := l.Docs.List(ctx, kind, account, after, limit)
	if kind == store.KindNotice {
		l.count(len(docs))
	}
	return docs, err
}

// TestPanicIsAFailedAttempt: a fault in one service's protocol ended the process, from a goroutine that nothing guards.
func TestPanicIsAFailedAttempt(t *testing.T) {
	r := newRig(t, func(o *notify.Options) {
		o.HTTP.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "bad" {
				panic("boom")
			}
			return &http.Response{StatusCode: 200, Body: http.NoBody, Header: http.Header{}}, nil
		})
	})
	bad := r.hook("a", "bad")
	r.hook("a", "good")
	r.emit(r.hub, failed("a", "node 1"))
	r.want(r.hub, "with one that panics", 1, 0, 1)
	if n := r.outbox(); len(n) != 1 || n[0].Channel != bad.ID || n[0].Attempts != 1 || !n[0].NextAt.Equal(start.Add(5*time.Second)) || n[0].Error == "" {
		t.Errorf("%+v", n)
	}
	if log := r.logs.String(); !strings.Contains(log, "boom") || !strings.Contains(log, bad.ID) {
		t.Errorf("the log has %q", log)
	}
	var refused *notify.RefusedError
	if err := r.hub.Test(t.Context(), bad, "", ""); !errors.As(err, &refused) || strings.Contains(err.Error(), "boom") {
		t.Errorf("a test: %v", err)
	}
}

// TestPanicOfTheStore ends a Deliver with an error, and nothing else.
func TestPanicOfTheStore(t *testing.T) {
	r, s, _ := hook(t)
	r.emit(r.hub, failed("a", "node 1"))
	r.docs.fail = func(verb, kind string) error {
		if verb == "get" && kind == store.KindChannel {
			panic("boom")
		}
		return nil
	}
	if _, err := r.hub.Deliver(t.Context()); err == nil {
		t.Error("no error")
	}
	r.docs.fail = nil
	r.want(r.hub, "when it is well again", 1, 0, 0)
	if s.Calls() != 1 {
		t.Errorf("%d calls", s.Calls())
	}
}
