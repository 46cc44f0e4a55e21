package notify_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"sluice/shared/core"
	"sluice/shared/notify"
	"sluice/shared/notify/notifytest"
	"sluice/shared/store"
)

// TestOutboxIsBounded: 2,000 events to 50 channels left 100,000 notices of one account, which every Deliver had to read.
func TestOutboxIsBounded(t *testing.T) {
	r := newRig(t)
	s := webhook(r, "")
	for range 20 {
		r.channel("a", "webhook", map[string]string{"url": s.URL}, core.EventNodeFailed)
	}
	r.channel("b", "webhook", map[string]string{"url": s.URL}, core.EventNodeFailed)
	pending := func(account string) int {
		t.Helper()
		rows, err := r.hub.Notices.All(t.Context(), account)
		if err != nil {
			t.Fatal(err)
		}
		return len(rows)
	}
	for i := range 75 {
		r.emit(r.hub, failed("a", fmt.Sprint("node ", i)))
	}
	if n := pending("a"); n != 1000 {
		t.Fatalf("%d notices", n)
	}
	if n := strings.Count(r.logs.String(), "too many unsent notifications"); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
	lists := 0
	r.docs.fail = func(verb, kind string) error {
		if verb == "list" && kind == store.KindNotice {
			lists++
		}
		return nil
	}
	for i := range 10 {
		r.emit(r.hub, failed("a", fmt.Sprint("late node ", i)))
	}
	if lists != 0 {
		t.Errorf("a full outbox is counted again with each event: %d listings", lists)
	}
	r.docs.fail = nil
	r.emit(r.hub, failed("b", "node 1"))
	if n := pending("b"); n != 1 {
		t.Errorf("another account has %d notices", n)
	}
	r.deliver(r.hub) // 20 of each channel
	r.add(10 * time.Second)
	r.emit(r.hub, failed("a", "node 1000"))
	if n := pending("a"); n != 1000-20*20+20 {
		t.Errorf("%d notices after some were sent", n)
	}
	for range 4 { // instances that know nothing
		h := r.another()
		for i := range 200 {
			r.emit(h, failed("a", fmt.Sprintf("node of %p %d", h, i)))
		}
	}
	if n := pending("a"); n > 1000+4*100 {
		t.Errorf("%d notices by four instances", n)
	}
}

// TestDeadChannelLeavesRoom: one channel that takes nothing must not fill the account's bound for the others.
func TestDeadChannelLeavesRoom(t *testing.T) {
	r, _, dead := hook(t)
	for i := range 1500 {
		r.emit(r.hub, failed("a", fmt.Sprint("node ", i)))
	}
	if n := len(r.outbox()); n != 500 {
		t.Fatalf("%d notices", n)
	}
	r.channel("a", "webhook", map[string]string{"url": "https://well.example"}, core.EventNodeAdded)
	r.emit(r.hub, core.Event{Type: core.EventNodeAdded, Account: "a", Subject: "node 1"})
	others := 0
	for _, n := range r.outbox() {
		if n.Channel != dead.ID {
			others++
		}
	}
	if others != 1 {
		t.Errorf("%d notices of the channel that works", others)
	}
}

// TestLastWordOfAFullOutbox: a change takes the place of an earlier one that waits, also where there is no room for another.
func TestLastWordOfAFullOutbox(t *testing.T) {
	r, _, _ := hook(t)
	change := func(once string) {
		e := failed("a", "node x")
		e.Once, e.Text = once, "text "+once
		r.emit(r.hub, e)
	}
	change("one")
	change("two") // waits for the window's end
	for i := range 600 {
		r.emit(r.hub, failed("a", fmt.Sprint("node ", i)))
	}
	change("three")
	texts := map[string]bool{}
	for _, n := range r.outbox() {
		texts[n.Event.Text] = true
	}
	if !texts["text three"] || texts["text two"] || len(r.outbox()) != 500 {
		t.Errorf("%d notices, %v", len(r.outbox()), texts)
	}
}

// TestRoomIsCheap: an account whose outbox is small is not counted with each event.
func TestRoomIsCheap(t *testing.T) {
	r, _, _ := hook(t)
	lists := 0
	r.docs.fail = func(verb, kind string) error {
		if verb == "list" && kind == store.KindNotice {
			lists++
		}
		return nil
	}
	for i := range 250 {
		r.emit(r.hub, failed("a", fmt.Sprint("node ", i)))
	}
	if lists > 6 { // at 50 and 150 it counts, in pages
		t.Errorf("%d listings", lists)
	}
}

// TestTestsAreLimitedByAccount: the limit was the channel's, so that channels made, tested and deleted in turn sent without
// end.
func TestTestsAreLimitedByAccount(t *testing.T) {
	r := newRig(t)
	s := webhook(r, "")
	var busy *notify.BusyError
	for range 3 {
		c := r.channel("a", "webhook", map[string]string{"url": s.URL})
		for range 20 {
			if err := r.another().Test(t.Context(), c, "", ""); err != nil && !errors.As(err, &busy) {
				t.Fatal(err)
			}
		}
		if err := r.hub.Channels.Delete(t.Context(), c.ID); err != nil {
			t.Fatal(err)
		}
	}
	if s.Calls() != 20 || busy == nil || busy.RetryAfter != time.Minute {
		t.Errorf("%d messages, %+v", s.Calls(), busy)
	}
	if n := len(r.history("a")); n != 20 {
		t.Errorf("%d entries in the log", n)
	}
	other := r.channel("b", "webhook", map[string]string{"url": s.URL})
	if err := r.hub.Test(t.Context(), other, "", ""); err != nil {
		t.Errorf("another account: %v", err)
	}
	r.add(time.Minute)
	if err := r.hub.Test(t.Context(), r.channel("a", "webhook", map[string]string{"url": s.URL}), "", ""); err != nil {
		t.Errorf("a minute later: %v", err)
	}
}

// TestTestErrors: who asked can tell a service's refusal from a limit, and neither from a store that is away.
func TestTestErrors(t *testing.T) {
	r, s, c := hook(t)
	var refused *notify.RefusedError
	var busy *notify.BusyError
	s.Script(notifytest.Reply{Status: 410})
	if err := r.hub.Test(t.Context(), c, "", ""); !errors.As(err, &refused) || refused.Reason != "HTTP 410 Gone" {
		t.Errorf("%v", err)
	}
	refused = nil
	away := errors.New("dial tcp 10.0.0.1:6379: connection refused")
	r.docs.fail = func(_, kind string) error {
		if kind == store.KindNoticeSeen {
			return away
		}
		return nil
	}
	if err := r.hub.Test(t.Context(), c, "", ""); !errors.Is(err, away) || errors.As(err, &refused) || errors.As(err, &busy) {
		t.Errorf("%v", err)
	}
}

// TestTestsLogLittle: a test's text of 2,000 characters was logged for 30 days.
func TestTestsLogLittle(t *testing.T) {
	r, s, c := hook(t)
	if err := r.hub.Test(t.Context(), c, "", strings.Repeat("界", 2000)); err != nil {
		t.Fatal(err)
	}
	if m := s.Messages(); len(m) != 1 || utf8.RuneCountInString(m[0].Text) != 2000 {
		t.Errorf("the message is cut, too: %d", utf8.RuneCountInString(m[0].Text))
	}
	if log := r.history("a"); len(log) != 1 || utf8.RuneCountInString(log[0].Event.Text) != 200 {
		t.Errorf("%+v", log)
	}
}
