package adminapi

import (
	"errors"
	"slices"
	"time"

	"sluice/shared/core"
	"sluice/shared/notify"
	"sluice/shared/store"
)

// subscriptionView is a subscription as lists show it.
type subscriptionView struct {
	ID        string         `json:"id"`
	Channel   string         `json:"channel_id"`
	Event     core.EventType `json:"event_type"`
	Enabled   bool           `json:"enabled"`
	CreatedAt time.Time      `json:"created_at"`
}

func viewSubscription(s *notify.Subscription) subscriptionView {
	return subscriptionView{ID: s.ID, Channel: s.Channel, Event: s.Event, Enabled: s.Enabled, CreatedAt: s.CreatedAt}
}

func (c *call) eventTypes() error {
	return c.ok(map[string]any{"event_types": notify.Catalogue()})
}

// listSubscriptions shows an account's subscriptions, or one channel's.
func (c *call) listSubscriptions() error {
	h, account, err := c.hubOf()
	if err != nil {
		return err
	}
	only := c.r.URL.Query().Get("channel_id")
	if only != "" {
		_, ch, err := c.channel(only)
		if err != nil {
			return err
		}
		account = ch.Account
	}
	rows, err := h.Subscriptions.All(c.r.Context(), account)
	if err != nil {
		return err
	}
	views := make([]subscriptionView, 0, len(rows))
	for i := range rows {
		if s := &rows[i].Value; only == "" || s.Channel == only {
			views = append(views, viewSubscription(s))
		}
	}
	slices.SortFunc(views, func(a, b subscriptionView) int { return store.CompareIDs(a.ID, b.ID) })
	return c.ok(map[string]any{"subscriptions": views})
}

// subscribe sends types of events to a channel. One that is sent there already is only switched on or off.
func (c *call) subscribe() error {
	var in struct {
		Channel *string          `json:"channel_id"`
		Events  []core.EventType `json:"event_types"`
		Enabled *bool            `json:"enabled"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if text(in.Channel) == "" {
		return bad("channel_id is required")
	}
	known := notify.Catalogue()
	if len(in.Events) == 0 || len(in.Events) > len(known) {
		return bad("event_types: must have 1 to " + itoa(len(known)) + " entries; GET " + notifyPath + "/event-types tells which there are")
	}
	for _, e := range in.Events {
		if !notify.Known(e) {
			return bad("event_types: has one that there is not; GET " + notifyPath + "/event-types tells which there are")
		}
	}
	h, ch, err := c.channel(text(in.Channel))
	if err != nil {
		return err
	}
	enabled := in.Enabled == nil || *in.Enabled
	views := make([]subscriptionView, 0, len(in.Events))
	slices.Sort(in.Events)
	for _, e := range slices.Compact(in.Events) {
		s, err := c.subscribed(h, &ch, e, enabled)
		if err != nil {
			return err
		}
		views = append(views, viewSubscription(&s))
	}
	h.Changed(ch.Account)
	return c.created(map[string]any{"subscriptions": views})
}

// subscribed makes a subscription, or switches the one that there is.
func (c *call) subscribed(h *notify.Hub, ch *notify.Channel, event core.EventType, enabled bool) (notify.Subscription, error) {
	ctx := c.r.Context()
	for range 3 {
		have, err := h.Subscriptions.Find(ctx, notify.SubscriptionKey(ch.ID, event))
		if err == nil {
			r, err := h.Subscriptions.Update(ctx, have.Value.ID, func(s *notify.Subscription) error { s.Enabled = enabled; return nil })
			if store.Missing(err) {
				continue // deleted meanwhile
			}
			return r.Value, err
		}
		if !store.Missing(err) {
			return notify.Subscription{}, err
		}
		s := notify.Subscription{Account: ch.Account, Channel: ch.ID, Event: event, Enabled: enabled, CreatedAt: c.a.o.Now().UTC()}
		if s.ID, err = h.NextID(ctx, store.KindSubscription); err != nil {
			return s, err
		}
		if _, err = h.Subscriptions.Create(ctx, s); !errors.Is(err, store.ErrExists) {
			return s, err
		}
	}
	return notify.Subscription{}, store.ErrConflict
}

// subscription reads a subscription that the caller may manage.
func (c *call) subscription() (*notify.Hub, notify.Subscription, error) {
	h, err := c.hub()
	if err != nil {
		return nil, notify.Subscription{}, err
	}
	s, err := owned(c, h.Subscriptions, c.id, errNoSubscription, func(s *notify.Subscription) string { return s.Account })
	return h, s, err
}

func (c *call) updateSubscription() error {
	h, s, err := c.subscription()
	if err != nil {
		return err
	}
	var in struct {
		Enabled *bool `json:"enabled"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if in.Enabled == nil {
		return bad("enabled is required")
	}
	r, err := h.Subscriptions.Update(c.r.Context(), s.ID, func(s *notify.Subscription) error { s.Enabled = *in.Enabled; return nil })
	if err != nil {
		return err
	}
	h.Changed(s.Account)
	return c.ok(viewSubscription(&r.Value))
}

func (c *call) unsubscribe() error {
	h, s, err := c.subscription()
	if err != nil {
		return err
	}
	if err := h.Subscriptions.Delete(c.r.Context(), s.ID); err != nil && !store.Missing(err) {
		return err
	}
	h.Changed(s.Account)
	return c.ok(map[string]string{"deleted": s.ID})
}
