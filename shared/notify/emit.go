package notify

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

const (
	window      = 5 * time.Minute     // in which the same type and subject is told once
	onceFor     = 35 * 24 * time.Hour // that an event with an id is remembered: longer than a budget's month
	cacheFor    = 30 * time.Second    // an account's subscriptions
	maxAccounts = 5_000               // whose subscriptions are cached
	maxTold     = 10_000              // remembered in memory; the store knows the rest
	storeTime   = 5 * time.Second     // for what must be written whoever called
	noticeLife  = 7 * 24 * time.Hour  // of the document: a gateway that was off for long still finds it, and logs its end
)

// mark is what was told of late. Two exist of an event with an id: one of its subject, one of the id.
type mark struct {
	ID      string    `json:"id"`
	Account string    `json:"account"`
	Once    string    `json:"once,omitempty"` // whose event holds the window
	Expires time.Time `json:"expires"`
}

// audience is what is known of who hears of an account's events.
type audience struct {
	sync.Mutex
	until    time.Time
	channels map[core.EventType][]string
	accounts []string // of Hub.admins
}

// Emit notes an event for every enabled subscription of an enabled channel. Nothing is sent by it. The same type and subject
// is noted once in 5 minutes, on all instances together; an event with Once is noted once whoever emits it, and after a
// failure of the store it may be emitted again without a second notice. Such an event is a change of something: one that
// comes too soon after another is noted for the end of the 5 minutes, in place of those before it, so that the last word that
// people get is the true one. Events of the installation (no account) go to the
// subscriptions of AdminAccounts. It costs no store trip when nobody subscribed (as known for at most 30 s) or when
// it was told of late, and goes on when ctx ends, within 5 s.
func (h *Hub) Emit(ctx context.Context, e core.Event) error {
	now := h.o.Now()
	if e.Type == core.EventSystemError {
		e.Account = "" // whoever noticed it: the installation's troubles are not a tenant's to read
	}
	subject := hashID("window", e.Account, string(e.Type), e.Subject)
	once := ""
	if e.Once != "" {
		once = hashID("once", e.Account, string(e.Type), e.Once)
	}
	told := subject
	if once != "" {
		told = once
	}
	if h.wasTold(now, told) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime) // who caused the event may be gone already
	defer cancel()
	to, err := h.audience(ctx, &e)
	if err != nil || len(to) == 0 {
		return err
	}
	mine, taken, err := h.claim(ctx, &e, subject, once, now)
	switch {
	case err != nil:
		return err
	case !mine && once != "" && !taken.IsZero():
		if err := h.noteLate(ctx, bounded(e, now), to, now, taken); err != nil {
			return err
		}
		return h.noteOnce(ctx, &e, once, now)
	case !mine:
		return nil
	}
	if err := h.note(ctx, bounded(e, now), to, now); err != nil {
		if once == "" {
			// the claim must not silence the next try. With an id it need not go: the same event passes it
			_ = h.seen.Delete(ctx, subject)
		}
		return err
	}
	return h.noteTold(ctx, &e, subject, once, now)
}

// note writes the notices. With Once their ids are the same each time, so that a second writing changes nothing.
func (h *Hub) note(ctx context.Context, e core.Event, to []Notice, now time.Time) error {
	for _, n := range to {
		ok, err := h.takeRoom(ctx, n.Account, n.Channel)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		n.Event, n.NextAt, n.CreatedAt, n.Expires = e, now, now, now.Add(noticeLife)
		id := randomID()
		if e.Once != "" {
			id = hashID("notice", e.Account, string(e.Type), e.Once, n.Channel)
		}
		n.ID = noticeID(n.Account, id)
		if _, err := h.Notices.Create(ctx, n); err != nil && !errors.Is(err, store.ErrExists) {
			return err
		}
	}
	return nil
}

// noteLate notes a change for when the window that another one took is over. A later one takes its place, also where there is
// no room for another.
func (h *Hub) noteLate(ctx context.Context, e core.Event, to []Notice, now, due time.Time) error {
	for _, n := range to {
		id := noticeID(n.Account, hashID("late", e.Account, string(e.Type), e.Subject, n.Channel))
		ok, err := h.takeRoom(ctx, n.Account, n.Channel)
		if err != nil {
			return err
		}
		put := h.Notices.Upsert
		if !ok {
			put = h.Notices.Update
		}
		_, err = put(ctx, id, func(late *Notice) error {
			if late.ID == "" {
				*late = Notice{ID: id, Account: n.Account, Channel: n.Channel, NextAt: due, CreatedAt: now}
			}
			late.Event, late.Expires = e, now.Add(noticeLife)
			return nil
		})
		if err != nil && (ok || !store.Missing(err)) {
			return err
		}
	}
	return nil
}

// claim takes the window of the event's subject; taken is when the one ends that another event has. An event with an id may
// come again after a failure: the window that it took itself does not hold it up.
func (h *Hub) claim(ctx context.Context, e *core.Event, subject, once string, now time.Time) (mine bool, taken time.Time, err error) {
	if once != "" {
		r, err := h.seen.Get(ctx, once)
		if err == nil {
			h.remember(once, r.Value.Expires, now)
			return false, taken, nil
		}
		if !store.Missing(err) {
			return false, taken, err
		}
	}
	for range 3 {
		_, err := h.seen.Create(ctx, mark{ID: subject, Account: e.Account, Once: once, Expires: now.Add(window)})
		if !errors.Is(err, store.ErrExists) {
			return err == nil, taken, err
		}
		r, err := h.seen.Get(ctx, subject)
		if store.Missing(err) {
			continue // it was given back, or ended, in between
		}
		if err != nil {
			return false, taken, err
		}
		if once != "" && r.Value.Once == once {
			return true, taken, nil
		}
		h.remember(subject, r.Value.Expires, now)
		return false, r.Value.Expires, nil
	}
	return false, now.Add(window), nil
}

// noteTold remembers that the notices are written.
func (h *Hub) noteTold(ctx context.Context, e *core.Event, subject, once string, now time.Time) error {
	h.remember(subject, now.Add(window), now)
	if once == "" {
		return nil
	}
	return h.noteOnce(ctx, e, once, now)
}

// noteOnce remembers an event's id.
func (h *Hub) noteOnce(ctx context.Context, e *core.Event, once string, now time.Time) error {
	_, err := h.seen.Create(ctx, mark{ID: once, Account: e.Account, Expires: now.Add(onceFor)})
	if err != nil && !errors.Is(err, store.ErrExists) {
		return err
	}
	h.remember(once, now.Add(window), now)
	return nil
}

func (h *Hub) wasTold(now time.Time, ids ...string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range ids {
		if until, ok := h.told[id]; ok && now.Before(until) {
			return true
		}
	}
	return false
}

func (h *Hub) remember(id string, until, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.told) >= maxTold {
		maps.DeleteFunc(h.told, func(_ string, until time.Time) bool { return !now.Before(until) })
		if len(h.told) >= maxTold {
			clear(h.told) // the store still knows
		}
	}
	h.told[id] = until
}

// audience returns a notice, with account and channel only, per channel that hears of the event.
func (h *Hub) audience(ctx context.Context, e *core.Event) ([]Notice, error) {
	accounts := []string{e.Account}
	if e.Account == "" {
		var err error
		if accounts, err = h.administrators(ctx); err != nil {
			return nil, err
		}
	}
	var out []Notice
	for _, account := range accounts {
		if account == "" {
			continue // it would list the channels of all
		}
		channels, err := h.subscribed(ctx, account)
		if err != nil {
			return nil, err
		}
		for _, c := range channels[e.Type] {
			out = append(out, Notice{Account: account, Channel: c})
		}
	}
	return out, nil
}

func (h *Hub) administrators(ctx context.Context) ([]string, error) {
	if h.o.AdminAccounts == nil {
		return nil, nil
	}
	h.mu.Lock()
	a := h.admins
	h.mu.Unlock()
	a.Lock()
	defer a.Unlock()
	now := h.o.Now()
	if now.Before(a.until) {
		return a.accounts, nil
	}
	accounts, err := h.o.AdminAccounts(ctx)
	if err != nil {
		return nil, err
	}
	a.accounts, a.until = accounts, now.Add(cacheFor)
	return accounts, nil
}

// subscribed returns an account's enabled channels by type of events. Callers of one account wait for who reads it.
func (h *Hub) subscribed(ctx context.Context, account string) (map[core.EventType][]string, error) {
	now := h.o.Now()
	a := h.cached(account)
	a.Lock()
	defer a.Unlock()
	if now.Before(a.until) {
		return a.channels, nil
	}
	subs, err := h.Subscriptions.All(ctx, account)
	if err != nil {
		return nil, err
	}
	found := make(map[core.EventType][]string)
	if len(subs) > 0 {
		channels, err := h.Channels.All(ctx, account)
		if err != nil {
			return nil, err
		}
		enabled := make(map[string]bool, len(channels))
		for _, c := range channels {
			enabled[c.Value.ID] = c.Value.Enabled
		}
		for _, s := range subs {
			if s.Value.Enabled && enabled[s.Value.Channel] {
				found[s.Value.Event] = append(found[s.Value.Event], s.Value.Channel)
			}
		}
	}
	a.channels, a.until = found, now.Add(cacheFor)
	return found, nil
}

func (h *Hub) cached(account string) *audience {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.subs[account]
	if a == nil {
		if len(h.subs) >= maxAccounts {
			clear(h.subs)
		}
		a = new(audience)
		h.subs[account] = a
	}
	return a
}

// Changed tells that subscriptions or channels of the account were edited by this process; other instances hear of it
// within 30 s. "" forgets all accounts', and who administrates.
func (h *Hub) Changed(account string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if account == "" {
		clear(h.subs)
		h.admins = new(audience)
		return
	}
	delete(h.subs, account) // a reading under way ends in what nobody looks at any more
}
