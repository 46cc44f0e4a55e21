package notify_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/notify"
	"sluice/shared/notify/notifytest"
	"sluice/shared/store"
)

func webhook(r *rig, secret string) *notifytest.Server {
	s := notifytest.NewWebhook(r.Now, secret)
	r.t.Cleanup(s.Close)
	return s
}

// hook is a rig with one webhook of account "a", subscribed to failed nodes.
func hook(t *testing.T) (*rig, *notifytest.Server, notify.Channel) {
	r := newRig(t)
	s := webhook(r, "")
	return r, s, r.channel("a", "webhook", map[string]string{"url": s.URL}, core.EventNodeFailed)
}

// TestCatalogueIsComplete compares it with the constants as they stand in core's source: a new one cannot be forgotten.
func TestCatalogueIsComplete(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "../core/event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var declared []string
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 || !strings.HasPrefix(v.Names[0].Name, "Event") {
			return true
		}
		text, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Error(err)
		}
		declared = append(declared, text)
		return true
	})
	var listed []string
	for _, i := range notify.Catalogue() {
		listed = append(listed, string(i.Type))
		if i.Category == "" || i.Title == "" || i.Description == "" || i.DescriptionZH == "" || !notify.Known(i.Type) {
			t.Errorf("%s is described in part only", i.Type)
		}
	}
	if !slices.Equal(declared, listed) || len(listed) != 18 {
		t.Errorf("catalogue:\n%v\nconstants:\n%v", listed, declared)
	}
	if notify.Known(notify.EventTest) || notify.Known("") {
		t.Error("what is no event can be subscribed to")
	}
}

// TestWindow: the same type and subject is told once in 5 minutes, whoever sees it.
func TestWindow(t *testing.T) {
	r, _, _ := hook(t)
	other := r.another()
	steps := []struct {
		why   string
		after time.Duration
		hub   *notify.Hub
		event core.Event
		total int
	}{
		{"first", 0, r.hub, failed("a", "node 1"), 1},
		{"again", time.Second, r.hub, failed("a", "node 1"), 1},
		{"again, seen by another instance", time.Second, other, failed("a", "node 1"), 1},
		{"and by it again, from memory", time.Second, other, failed("a", "node 1"), 1},
		{"another subject", 0, other, failed("a", "node 2"), 2},
		{"nobody subscribed to the type", 0, other, core.Event{Type: core.EventNodeAdded, Account: "a", Subject: "node 1"}, 2},
		{"another account", 0, r.hub, failed("b", "node 1"), 2},
		{"just before the window ends", 5*time.Minute - 4*time.Second, other, failed("a", "node 1"), 2},
		{"the window is over", time.Second, other, failed("a", "node 1"), 3},
		{"the new window is the other's, too", time.Second, r.hub, failed("a", "node 1"), 3},
	}
	for _, s := range steps {
		r.add(s.after)
		r.emit(s.hub, s.event)
		if got := len(r.outbox()); got != s.total {
			t.Fatalf("%s: %d notices, want %d", s.why, got, s.total)
		}
	}
}

// TestWindowRace: many instances see the same at the same time.
func TestWindowRace(t *testing.T) {
	r, _, _ := hook(t)
	var wg sync.WaitGroup
	for range 8 {
		h := r.another()
		wg.Go(func() {
			if err := h.Emit(t.Context(), failed("a", "node 1")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(r.outbox()); n != 1 {
		t.Errorf("%d notices", n)
	}
}

// TestOnce: an event with an id makes one notice per channel, however often and by whomever it is emitted, also after it was
// sent and after its subject's window.
func TestOnce(t *testing.T) {
	r, s, _ := hook(t)
	e := failed("a", "node 1")
	e.Once = "budget 80 % of March"
	r.emit(r.hub, e)
	first := r.outbox()
	r.emit(r.another(), e)
	if got := r.outbox(); len(first) != 1 || len(got) != 1 || got[0].ID != first[0].ID {
		t.Fatalf("notices %v, then %v", first, got)
	}
	r.want(r.hub, "it is sent", 1, 0, 0)
	for _, later := range []time.Duration{time.Second, window5, 24 * time.Hour} {
		r.add(later)
		r.emit(r.hub, e)
		r.emit(r.another(), e)
		r.want(r.hub, "after "+later.String(), 0, 0, 0)
	}
	e.Once = "budget 100 % of March"
	r.emit(r.hub, e)
	r.want(r.hub, "what happened next", 1, 0, 0)
	if n := len(s.Messages()); n != 2 {
		t.Errorf("%d messages", n)
	}
}

// TestLastWordIsTrue: a node that failed, came back and failed again within 5 minutes was told of as well, for good. A change
// that comes too soon is told when the window ends, and only the last of several.
func TestLastWordIsTrue(t *testing.T) {
	r, s, _ := hook(t)
	for i, once := range []string{"one", "two", "three"} {
		e := failed("a", "node 1")
		e.Once, e.Text = once, "text "+once
		r.emit(r.hub, e)
		r.emit(r.another(), e) // seen by others, too
		r.want(r.hub, once, max(0, 1-i), 0, min(i, 1))
		r.add(time.Minute)
	}
	r.add(2 * time.Minute)
	r.want(r.hub, "the window is over", 1, 0, 0)
	r.add(time.Hour)
	r.want(r.hub, "no more", 0, 0, 0)
	if got := s.Messages(); len(got) != 2 || !strings.Contains(string(got[1].Body), "text three") {
		t.Errorf("%d messages, the last %s", len(got), got[len(got)-1].Body)
	}
}

const window5 = 5*time.Minute + time.Second

// TestEmitAfterAFailure: a store that fails in between loses nothing of what is emitted again, and doubles nothing that has
// an id.
func TestEmitAfterAFailure(t *testing.T) {
	broken := errors.New("store is away")
	for _, once := range []string{"", "an id"} {
		for _, c := range []struct {
			verb, kind string
			skip       int // such calls that work
		}{
			{"create", store.KindNotice, 0},
			{"create", store.KindNotice, 1},
			{"create", store.KindNoticeSeen, 0},
			{"create", store.KindNoticeSeen, 1},
			{"list", store.KindSubscription, 0},
			{"list", store.KindChannel, 0},
		} {
			if once == "" && c.kind == store.KindNoticeSeen && c.skip == 1 {
				continue // there is no second one
			}
			r, s, _ := hook(t)
			second := webhook(r, "")
			r.channel("a", "webhook", map[string]string{"url": second.URL}, core.EventNodeFailed)
			skip := c.skip
			r.docs.fail = func(verb, kind string) error {
				if verb == c.verb && kind == c.kind {
					if skip--; skip < 0 {
						return broken
					}
				}
				return nil
			}
			e := failed("a", "node 1")
			e.Once = once
			if err := r.hub.Emit(t.Context(), e); !errors.Is(err, broken) {
				t.Fatalf("%+v: error %v", c, err)
			}
			r.docs.fail = nil
			r.emit(r.another(), e) // this process may be gone
			r.deliver(r.hub)
			a, b := len(s.Messages()), len(second.Messages())
			if a < 1 || b < 1 || once != "" && (a != 1 || b != 1) {
				t.Errorf("once %q, %+v: %d and %d messages", once, c, a, b)
			}
		}
	}
}

// TestEmitIsCheap: no store trip where nobody subscribed, or where it was told of late.
func TestEmitIsCheap(t *testing.T) {
	r, _, _ := hook(t)
	r.emit(r.hub, failed("b", "node 1"))
	r.emit(r.hub, failed("a", "node 1"))
	before := r.docs.count()
	for range 100 {
		r.emit(r.hub, failed("a", "node 1"))
		for i := range 20 {
			r.emit(r.hub, failed("b", fmt.Sprintf("node %d", i)))
		}
	}
	if n := r.docs.count() - before; n != 0 {
		t.Errorf("%d store trips", n)
	}
}

// TestEmitAfterTheCallerLeft: what is worth telling often comes from a request that was given up.
func TestEmitAfterTheCallerLeft(t *testing.T) {
	r, _, _ := hook(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.hub.Emit(ctx, failed("a", "node 1")); err != nil || len(r.outbox()) != 1 {
		t.Errorf("%v, %d notices", err, len(r.outbox()))
	}
}

// TestSwitchedOff: what is off hears nothing: at once here, within 30 s elsewhere.
func TestSwitchedOff(t *testing.T) {
	r, _, c := hook(t)
	other := r.another()
	r.emit(other, failed("a", "node 0"))
	set := func(enabled bool) {
		t.Helper()
		if _, err := r.hub.Channels.Update(t.Context(), c.ID, func(c *notify.Channel) error { c.Enabled = enabled; return nil }); err != nil {
			t.Fatal(err)
		}
		r.hub.Changed("a")
	}
	set(false)
	r.emit(r.hub, failed("a", "node 1"))
	if n := len(r.outbox()); n != 1 {
		t.Fatalf("%d notices with the channel off", n)
	}
	r.add(31 * time.Second)
	r.emit(other, failed("a", "node 2"))
	if n := len(r.outbox()); n != 1 {
		t.Fatalf("%d notices with the channel off, by another instance", n)
	}
	r.want(r.hub, "what was noted before it was switched off", 0, 1, 0)
	set(true)
	subs, err := r.hub.Subscriptions.All(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.hub.Subscriptions.Update(t.Context(), subs[0].Value.ID, func(s *notify.Subscription) error { s.Enabled = false; return nil }); err != nil {
		t.Fatal(err)
	}
	r.hub.Changed("a")
	r.emit(r.hub, failed("a", "node 3"))
	if n := len(r.outbox()); n != 0 {
		t.Errorf("%d notices with the subscription off", n)
	}
}

// TestAccountsAreApart: nothing of one account reaches another's channel, however the documents are bent.
func TestAccountsAreApart(t *testing.T) {
	r, s, mine := hook(t)
	// a subscription of b that names a's channel
	r.subscribe("b", mine.ID, core.EventNodeAdded)
	r.hub.Changed("")
	r.emit(r.hub, core.Event{Type: core.EventNodeAdded, Account: "b", Subject: "node 9", Text: "secret of b"})
	if n := len(r.outbox()); n != 0 {
		t.Fatalf("%d notices", n)
	}
	// a notice of b that names a's channel
	n := notify.Notice{ID: "bent", Account: "b", Channel: mine.ID, Event: failed("b", "node 9"), NextAt: start, CreatedAt: start,
		Expires: start.Add(time.Hour)}
	if _, err := r.hub.Notices.Create(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	r.want(r.hub, "a bent notice", 0, 1, 0)
	if got := r.history("a"); len(s.Messages()) != 0 || len(got) != 0 {
		t.Errorf("a got %d messages, %d log entries", len(s.Messages()), len(got))
	}
	// the settings of a's channel under b's
	stolen := notify.Channel{ID: "chn-77", Account: "b", Kind: "webhook", Config: mine.Config, Enabled: true}
	if err := r.hub.Test(t.Context(), stolen, "", ""); err == nil || len(s.Messages()) != 0 {
		t.Errorf("a's settings work under b's id: %v", err)
	}
}

// TestSystemEvents go to administrators' accounts only.
func TestSystemEvents(t *testing.T) {
	r := newRig(t, func(o *notify.Options) {
		// an account without an id would stand for all
		o.AdminAccounts = func(context.Context) ([]string, error) { return []string{"", "root"}, nil }
	})
	root, tenant := webhook(r, ""), webhook(r, "")
	r.channel("root", "webhook", map[string]string{"url": root.URL}, core.EventSystemError)
	r.channel("tenant", "webhook", map[string]string{"url": tenant.URL}, core.EventSystemError)
	r.emit(r.hub, core.Event{Type: core.EventSystemError, Subject: "store", Text: "The store is slow."})
	r.want(r.hub, "an event of the installation", 1, 0, 0)
	if len(root.Messages()) != 1 || len(tenant.Messages()) != 0 {
		t.Errorf("%d to the administrator, %d to the tenant", len(root.Messages()), len(tenant.Messages()))
	}
	if log := r.history("root"); len(log) != 1 || log[0].Event.Account != "" {
		t.Errorf("log %+v", log)
	}
	// the account in which it was noticed does not make it that account's: it was told to the tenant, with the store's words
	r.emit(r.hub, core.Event{Type: core.EventSystemError, Account: "tenant", Subject: "pricing", Text: "The price list is damaged."})
	r.want(r.hub, "noticed in a tenant's request", 1, 0, 0)
	if len(root.Messages()) != 2 || len(tenant.Messages()) != 0 {
		t.Errorf("%d to the administrator, %d to the tenant", len(root.Messages()), len(tenant.Messages()))
	}
}

// TestIDs: names of documents, and one subscription per channel and type.
func TestIDs(t *testing.T) {
	r, _, c := hook(t)
	if c.ID != "chn-1" {
		t.Errorf("channel %s", c.ID)
	}
	if id, err := r.hub.NextID(t.Context(), store.KindAlertRule); id != "alr-1" || err != nil {
		t.Errorf("rule %s, %v", id, err)
	}
	again := notify.Subscription{ID: "sub-9", Account: "a", Channel: c.ID, Event: core.EventNodeFailed}
	if _, err := r.hub.Subscriptions.Create(t.Context(), again); !errors.Is(err, store.ErrExists) {
		t.Errorf("a second subscription: %v", err)
	}
	if _, err := r.hub.NextID(t.Context(), store.KindNode); err == nil {
		t.Error("nodes are numbered elsewhere")
	}
}
