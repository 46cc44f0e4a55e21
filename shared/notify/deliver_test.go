package notify_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/notify"
	"sluice/shared/notify/notifytest"
	"sluice/shared/store"
)

func always(status, n int) []notifytest.Reply {
	return slices.Repeat([]notifytest.Reply{{Status: status}}, n)
}

// TestRetrySchedule: the pauses between attempts, and the end of hope.
func TestRetrySchedule(t *testing.T) {
	r, s, c := hook(t)
	s.Script(always(503, 100)...)
	r.emit(r.hub, failed("a", "node 1"))
	pauses := []time.Duration{5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, time.Hour}
	for i, p := range pauses {
		r.want(r.hub, fmt.Sprint("attempt ", i+1), 0, 0, 1)
		if s.Calls() != i+1 {
			t.Fatalf("%d calls after attempt %d", s.Calls(), i+1)
		}
		if n := r.outbox()[0]; n.Attempts != i+1 || n.Error != "HTTP 503 Service Unavailable" || !n.NextAt.Equal(r.Now().Add(p)) {
			t.Fatalf("attempt %d: %+v", i+1, n)
		}
		r.add(p - time.Millisecond)
		r.want(r.hub, "not yet due", 0, 0, 1)
		r.add(time.Millisecond)
	}
	r.want(r.hub, "the last attempt", 0, 1, 0)
	log := r.history("a")
	if s.Calls() != 8 || len(log) != 1 || log[0].Status != notify.StatusFailed || log[0].Attempts != 8 || log[0].Channel != c.ID {
		t.Errorf("%d calls, log %+v", s.Calls(), log)
	}
}

// TestGivenUpAfterADay: what nobody could send in time is told as such, not sent late.
func TestGivenUpAfterADay(t *testing.T) {
	r, s, _ := hook(t)
	r.emit(r.hub, failed("a", "node 1"))
	r.add(24 * time.Hour)
	r.want(r.hub, "a day late", 0, 1, 0)
	if log := r.history("a"); s.Calls() != 0 || len(log) != 1 || !strings.Contains(log[0].Error, "24 hours") {
		t.Errorf("%d calls, log %+v", s.Calls(), log)
	}
}

// TestAnswers: which are final, which are waited out.
func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		why   string
		reply notifytest.Reply
		tries int // until it is given up
		next  time.Duration
		words string
	}{
		{"gone for good", notifytest.Reply{Status: 404}, 3, 5 * time.Second, "HTTP 404 Not Found"},
		{"a redirect could lead anywhere", notifytest.Reply{Status: 302, Header: map[string]string{"Location": "/elsewhere"}}, 3, 5 * time.Second, "redirects are not followed"},
		{"timeouts pass", notifytest.Reply{Status: 408}, 8, 5 * time.Second, "HTTP 408"},
		{"too many, no word when", notifytest.Reply{Status: 429}, 8, 5 * time.Second, "HTTP 429"},
		{"too many, in seconds", notifytest.Reply{Status: 429, Header: map[string]string{"Retry-After": "90"}}, 8, 90 * time.Second, "HTTP 429"},
		{"too many, with a date", notifytest.Reply{Status: 503, Header: map[string]string{"Retry-After": start.Add(2 * time.Minute).Format(http.TimeFormat)}}, 8, 2 * time.Minute, "HTTP 503"},
		{"an absurd wait is cut", notifytest.Reply{Status: 429, Header: map[string]string{"Retry-After": "99999999"}}, 8, time.Hour, "HTTP 429"},
		{"its page is not repeated", notifytest.Reply{Status: 400, Body: "<h1>intranet</h1>"}, 3, 5 * time.Second, "HTTP 400 Bad Request"},
	} {
		r, s, _ := hook(t)
		s.Script(slices.Repeat([]notifytest.Reply{c.reply}, 20)...)
		r.emit(r.hub, failed("a", "node 1"))
		r.deliver(r.hub)
		n := r.outbox()
		if len(n) != 1 || !n[0].NextAt.Equal(start.Add(c.next)) || !strings.Contains(n[0].Error, c.words) || strings.Contains(n[0].Error, "intranet") {
			t.Errorf("%s: %+v", c.why, n)
		}
		for range 20 {
			r.add(90 * time.Minute)
			r.deliver(r.hub)
		}
		if s.Calls() != c.tries {
			t.Errorf("%s: %d tries, want %d", c.why, s.Calls(), c.tries)
		}
	}
}

// TestRefusedForGood is about the notice, not the channel: others are sent meanwhile.
func TestRefusedForGood(t *testing.T) {
	r, s, _ := hook(t)
	s.Script(notifytest.Reply{Status: 400})
	r.emit(r.hub, failed("a", "node 1"))
	r.deliver(r.hub)
	r.emit(r.hub, failed("a", "node 2"))
	r.want(r.hub, "another notice", 1, 0, 1)
}

// TestFailingChannelRests: one attempt a run, whatever waits, and none with another notice before its rest is over.
func TestFailingChannelRests(t *testing.T) {
	for _, status := range []int{404, 503} {
		r, s, _ := hook(t)
		s.Script(always(status, 10)...)
		for i := range 5 {
			r.emit(r.hub, failed("a", fmt.Sprintf("node %d", i)))
		}
		r.want(r.hub, "the first run", 0, 0, 5)
		if s.Calls() != 1 {
			t.Fatalf("%d: %d calls in one run", status, s.Calls())
		}
		r.want(r.another(), "another notice at once", 0, 0, 5)
		want := map[int]int{404: 2, 503: 1}[status] // a refusal is about the notice
		if s.Calls() != want {
			t.Errorf("%d: %d calls while it rests, want %d", status, s.Calls(), want)
		}
		r.add(5 * time.Second)
		r.want(r.hub, "the rest is over", 0, 0, 5)
		if s.Calls() != want+1 {
			t.Errorf("%d: %d calls after the rest", status, s.Calls())
		}
	}
}

// TestServiceAsksForRest: what a service asks for binds the whole channel, also beyond a minute.
func TestServiceAsksForRest(t *testing.T) {
	r, s, _ := hook(t)
	s.Script(notifytest.Reply{Status: 429, Header: map[string]string{"Retry-After": "600"}})
	r.emit(r.hub, failed("a", "node 1"))
	r.deliver(r.hub)
	r.add(599 * time.Second)
	r.emit(r.hub, failed("a", "node 2"))
	r.want(r.another(), "before", 0, 0, 2)
	r.add(time.Second)
	r.want(r.another(), "after", 2, 0, 0)
	if s.Calls() != 3 {
		t.Errorf("%d calls", s.Calls())
	}
}

// endless is a body that never ends; it counts what was read of it.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	if e.read += len(p); e.read > 1<<20 {
		return 0, errors.New("more than a careful client reads")
	}
	return len(p), nil
}

func (e *endless) Close() error { return nil }

// TestEndlessAnswer: no more than 64 KiB of an answer are read.
func TestEndlessAnswer(t *testing.T) {
	body := new(endless)
	r := newRig(t, func(o *notify.Options) {
		o.HTTP.Transport = roundTrip(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: body, Header: http.Header{}}, nil
		})
	})
	c := r.channel("a", "webhook", map[string]string{"url": "https://hook.example/x"})
	if err := r.hub.Test(t.Context(), c, "", ""); err != nil || body.read > 128<<10 {
		t.Errorf("%v, %d bytes read", err, body.read)
	}
}

// TestRateLimit: 20 a minute, over runs and instances; nothing is lost, nothing is written while waiting.
func TestRateLimit(t *testing.T) {
	r, s, _ := hook(t)
	for i := range 50 {
		r.emit(r.hub, failed("a", fmt.Sprintf("node %d", i)))
		r.add(time.Millisecond) // they have an order
	}
	r.want(r.hub, "the first minute's", 20, 0, 30)
	r.want(r.another(), "another instance", 0, 0, 30)
	writes := 0
	r.docs.fail = func(verb, _ string) error {
		if verb != "get" && verb != "list" {
			writes++
		}
		return nil
	}
	r.add(59 * time.Second)
	r.want(r.another(), "before the minute is over", 0, 0, 30)
	if writes != 0 {
		t.Errorf("%d writes while it waits", writes)
	}
	r.docs.fail = nil
	r.add(time.Second)
	r.want(r.another(), "the second minute's", 20, 0, 10)
	r.add(time.Minute)
	r.want(r.hub, "the rest", 10, 0, 0)
	seen := map[string]bool{}
	for i, m := range s.Messages() {
		if id := m.Header.Get("X-Sluice-Delivery"); seen[id] {
			t.Errorf("%s twice", id)
		} else {
			seen[id] = true
		}
		if i < 20 && !strings.Contains(string(m.Body), fmt.Sprintf(`"node %d"`, i)) {
			t.Errorf("message %d is not the oldest: %s", i, m.Body)
		}
	}
	if len(seen) != 50 {
		t.Errorf("%d messages", len(seen))
	}
	// the test button shares the limit
	c, _ := r.hub.Channels.Get(t.Context(), "chn-1")
	for range 10 {
		if err := r.hub.Test(t.Context(), c.Value, "", ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.hub.Test(t.Context(), c.Value, "", ""); err == nil || s.Calls() != 60 {
		t.Errorf("test beyond the limit: %v, %d calls", err, s.Calls())
	}
}

// TestRestart: a new process delivers what the old one left.
func TestRestart(t *testing.T) {
	r, s, _ := hook(t)
	s.Script(notifytest.Reply{Status: 500})
	r.emit(r.hub, failed("a", "node 1"))
	r.deliver(r.hub)
	id := r.outbox()[0].ID
	r.add(5 * time.Second)
	r.want(r.another(), "a new process", 1, 0, 0)
	if m := s.Messages()[0]; m.Header.Get("X-Sluice-Delivery") != id {
		t.Errorf("delivery id %s, want %s", m.Header.Get("X-Sluice-Delivery"), id)
	}
	if log := r.history("a"); len(log) != 1 || log[0].Attempts != 2 || log[0].Status != notify.StatusSent || log[0].Notice != id {
		t.Errorf("log %+v", log)
	}
}

// TestDiesAfterSending: the service has the message, the store does not know: it comes again under the same id.
func TestDiesAfterSending(t *testing.T) {
	r, s, _ := hook(t)
	r.emit(r.hub, failed("a", "node 1"))
	died := errors.New("died")
	r.docs.fail = func(verb, kind string) error {
		if verb == "delete" && kind == store.KindNotice {
			return died
		}
		return nil
	}
	if _, err := r.hub.Deliver(t.Context()); !errors.Is(err, died) {
		t.Fatalf("error %v", err)
	}
	r.docs.fail = nil
	r.want(r.another(), "after the death", 1, 0, 0)
	m := s.Messages()
	if len(m) != 2 || m[0].Header.Get("X-Sluice-Delivery") != m[1].Header.Get("X-Sluice-Delivery") {
		t.Errorf("%d messages", len(m))
	}
}

// roundTrip is an HTTP client without a network.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestEndsMidSend: what was under way when ctx ended stays as it was, without an attempt counted.
func TestEndsMidSend(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := newRig(t, func(o *notify.Options) {
		o.HTTP.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			cancel()
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
	})
	r.channel("a", "webhook", map[string]string{"url": "https://hook.example/x"}, core.EventNodeFailed)
	r.emit(r.hub, failed("a", "node 1"))
	if rep, err := r.hub.Deliver(ctx); err != nil || rep.Sent+rep.Failed != 0 || rep.Left != 1 {
		t.Errorf("%+v, %v", rep, err)
	}
	n := r.outbox()
	if len(n) != 1 || n[0].Attempts != 0 || !n[0].NextAt.Equal(start) {
		t.Errorf("outbox %+v", n)
	}
	// and the lease is free for the next one
	if _, err := r.store.Acquire(t.Context(), "notify", "x", r.Now(), time.Second); err != nil {
		t.Errorf("lease: %v", err)
	}
}

// TestOneAtATime: while another instance delivers, nothing is done; when it died, its lease ends.
func TestOneAtATime(t *testing.T) {
	r, s, _ := hook(t)
	r.emit(r.hub, failed("a", "node 1"))
	if _, err := r.store.Acquire(t.Context(), "notify", "other", r.Now(), time.Minute); err != nil {
		t.Fatal(err)
	}
	if rep := r.deliver(r.hub); rep != (notify.Report{Held: true}) || s.Calls() != 0 {
		t.Errorf("%+v, %d calls", rep, s.Calls())
	}
	r.add(time.Minute)
	r.want(r.hub, "the lease ended", 1, 0, 0)
}

// TestEmptyOutboxCostsOneTrip, as it is asked for every few seconds.
func TestEmptyOutboxCostsOneTrip(t *testing.T) {
	r, _, _ := hook(t)
	before := r.docs.count()
	r.want(r.hub, "nothing", 0, 0, 0)
	if n := r.docs.count() - before; n != 1 {
		t.Errorf("%d trips", n)
	}
}

// TestSlowChannels: those that do not answer cost the others their own timeout at most, and each other nothing; a channel
// that failed is not tried again with its next notice.
func TestSlowChannels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		calls, active, most := map[string]int{}, 0, 0
		r := newRig(t, func(o *notify.Options) {
			o.Now = time.Now
			o.HTTP.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
				mu.Lock()
				calls[r.URL.Host]++
				active++
				most = max(most, active)
				mu.Unlock()
				defer func() { mu.Lock(); active--; mu.Unlock() }()
				if strings.HasPrefix(r.URL.Host, "slow") {
					<-r.Context().Done()
					return nil, r.Context().Err()
				}
				return &http.Response{StatusCode: 200, Body: http.NoBody, Header: http.Header{}}, nil
			})
		})
		for i := range 4 {
			r.channel("a", "webhook", map[string]string{"url": fmt.Sprintf("https://slow%d.example/x", i)}, core.EventNodeFailed)
		}
		for i := range 6 {
			r.channel("a", "webhook", map[string]string{"url": fmt.Sprintf("https://fast%d.example/x", i)}, core.EventNodeFailed)
		}
		for i := range 3 {
			r.emit(r.hub, failed("a", fmt.Sprintf("node %d", i)))
		}
		began := time.Now()
		r.want(r.hub, "four that hang", 18, 0, 12)
		if d := time.Since(began); d > 20*time.Second {
			t.Errorf("took %v", d)
		}
		if most > 4 {
			t.Errorf("%d at a time", most)
		}
		for host, n := range calls {
			if strings.HasPrefix(host, "slow") && n != 1 || strings.HasPrefix(host, "fast") && n != 3 {
				t.Errorf("%s: %d calls", host, n)
			}
		}
		for _, n := range r.outbox() {
			if n.Attempts > 0 && n.Error != "no answer within 10 seconds" {
				t.Errorf("error %q", n.Error)
			}
		}
	})
}

// TestLongRun: channels that work, slowly, hold the others up by a share of time only, and the lease is kept for as long as it
// takes.
func TestLongRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var fast time.Duration
		r := newRig(t, func(o *notify.Options) {
			o.Now = time.Now
			o.HTTP.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
				if r.URL.Host == "fast.example" {
					fast = time.Since(began)
				} else {
					time.Sleep(9 * time.Second)
				}
				return &http.Response{StatusCode: 200, Body: http.NoBody, Header: http.Header{}}, nil
			})
		})
		for i := range 4 {
			r.channel("a", "webhook", map[string]string{"url": fmt.Sprintf("https://slow%d.example/x", i)}, core.EventNodeFailed)
		}
		for i := range 12 {
			r.emit(r.hub, failed("a", fmt.Sprintf("node %d", i)))
		}
		r.channel("b", "webhook", map[string]string{"url": "https://fast.example/x"}, core.EventNodeFailed)
		r.emit(r.hub, failed("b", "node 1"))
		other, held := r.another(), 0
		var wg sync.WaitGroup
		wg.Go(func() {
			for range 9 {
				time.Sleep(10 * time.Second)
				if rep, err := other.Deliver(t.Context()); err != nil || !rep.Held {
					t.Errorf("another instance after %v: %+v, %v", time.Since(began), rep, err)
				} else {
					held++
				}
			}
		})
		r.want(r.hub, "all of it", 4*12+1, 0, 0)
		wg.Wait()
		if d := time.Since(began); d < 100*time.Second || held != 9 {
			t.Errorf("took %v, held %d times", d, held)
		}
		if fast > 20*time.Second {
			t.Errorf("the fast one waited %v", fast)
		}
	})
}

// TestUnreadableNotice: one damaged document does not stop the others.
func TestUnreadableNotice(t *testing.T) {
	r, s, _ := hook(t)
	for _, d := range []store.Doc{
		{Kind: store.KindNotice, ID: "0", Account: "a", Body: []byte(`{"id":7}`)},
		{Kind: store.KindNotice, ID: "1", Account: "b", Body: []byte(`{"id":"1","account":"a","channel":"chn-1"}`)},
	} {
		if _, err := r.store.Create(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	r.emit(r.hub, failed("a", "node 1"))
	r.want(r.hub, "with damaged ones", 1, 0, 0)
	if len(s.Messages()) != 1 || len(r.outbox()) != 0 {
		t.Errorf("%d messages, %d left", len(s.Messages()), len(r.outbox()))
	}
}

// TestHistory: newest first, in pages, without the other account's, gone after 30 days.
func TestHistory(t *testing.T) {
	r, _, _ := hook(t)
	for i := range 5 {
		r.emit(r.hub, failed("a", fmt.Sprintf("node %d", i)))
		r.add(time.Second)
		r.deliver(r.hub)
	}
	first, err := r.hub.History(t.Context(), "a", "", 2)
	if err != nil || len(first) != 2 || first[0].Event.Subject != "node 4" || first[1].Event.Subject != "node 3" {
		t.Fatalf("%+v, %v", first, err)
	}
	next, err := r.hub.History(t.Context(), "a", first[1].ID, 100)
	if err != nil || len(next) != 3 || next[0].Event.Subject != "node 2" || next[0].Title != "Node failed: main" {
		t.Fatalf("%+v, %v", next, err)
	}
	if other, err := r.hub.History(t.Context(), "b", "", 100); err != nil || len(other) != 0 {
		t.Errorf("b sees %d, %v", len(other), err)
	}
	r.add(30 * 24 * time.Hour)
	if old, err := r.hub.Log.All(t.Context(), "a"); err != nil || len(old) != 0 {
		t.Errorf("%d entries after 30 days, %v", len(old), err)
	}
}

// TestTestButton: at once, also when the channel is off or rests; logged; refusals in the service's words.
func TestTestButton(t *testing.T) {
	r, s, c := hook(t)
	s.Script(notifytest.Reply{Status: 500})
	r.emit(r.hub, failed("a", "node 1"))
	r.deliver(r.hub) // now it rests
	c.Enabled = false
	if err := r.hub.Test(t.Context(), c, "Hello\r\nX: y", "first\r\nsecond"); err != nil {
		t.Fatal(err)
	}
	m := s.Messages()
	if len(m) != 1 || m[0].Title != "Hello X: y" || m[0].Text != "first\nsecond" || m[0].Header.Get("X-Sluice-Event") != "test" {
		t.Errorf("%+v", m)
	}
	s.Script(notifytest.Reply{Status: 410, Body: "gone: " + s.URL})
	if err := r.hub.Test(t.Context(), c, "", ""); err == nil || err.Error() != "HTTP 410 Gone" {
		t.Errorf("error %v", err)
	}
	log := r.history("a")
	if len(log) != 2 || log[0].Event.Type != notify.EventTest {
		t.Fatalf("log %+v", log)
	}
}
