package adminapi

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/notify"
	"sluice/shared/store"
)

// Where an account's notifications go. Channels, subscriptions and rules belong to an account's settings: who may manage its
// nodes may edit them. What is secret in a channel goes in and never comes out.
const (
	notifyPath  = "/api/notification"
	maxChannels = 50 // of an account
)

var (
	errNoChannel      = core.E(core.CodeNotFound, "channel not found")
	errNoSubscription = core.E(core.CodeNotFound, "subscription not found")
)

// hub is the hub, or an error that tells that there is none.
func (c *call) hub() (*notify.Hub, error) {
	if c.a.o.Notify == nil {
		return nil, core.E(core.CodeUnavailable, "not implemented here: this process sends no notifications")
	}
	return c.a.o.Notify, nil
}

// hubOf is the hub, and the account that the query names.
func (c *call) hubOf() (*notify.Hub, string, error) {
	account, err := c.nodesOf()
	if err != nil {
		return nil, "", err
	}
	h, err := c.hub()
	return h, account, err
}

// channel reads a channel that the caller may manage.
func (c *call) channel(id string) (*notify.Hub, notify.Channel, error) {
	h, err := c.hub()
	if err != nil {
		return nil, notify.Channel{}, err
	}
	ch, err := owned(c, h.Channels, id, errNoChannel, func(ch *notify.Channel) string { return ch.Account })
	return h, ch, err
}

// channelView is a channel as lists show it.
type channelView struct {
	ID        string    `json:"id"`
	AccountID string    `json:"account_id"`
	Name      string    `json:"name"`
	Kind      string    `json:"channel_type"`
	Enabled   bool      `json:"enabled"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

func viewChannel(ch *notify.Channel) channelView {
	return channelView{ID: ch.ID, AccountID: ch.Account, Name: ch.Name, Kind: ch.Kind, Enabled: ch.Enabled, CreatedAt: ch.CreatedAt, UpdatedAt: ch.UpdatedAt}
}

// channelInput is the body of create and update. On update a missing field changes nothing.
type channelInput struct {
	Name    *string         `json:"name"`
	Kind    *string         `json:"channel_type"`
	Config  json.RawMessage `json:"config"`
	Enabled *bool           `json:"enabled"`
}

func (in *channelInput) hasConfig() bool { return len(in.Config) > 0 && string(in.Config) != "null" }

func (c *call) listChannels() error {
	h, account, err := c.hubOf()
	if err != nil {
		return err
	}
	rows, err := h.Channels.All(c.r.Context(), account)
	if err != nil {
		return err
	}
	views := make([]channelView, 0, len(rows))
	for i := range rows {
		views = append(views, viewChannel(&rows[i].Value))
	}
	slices.SortFunc(views, func(a, b channelView) int { return store.CompareIDs(a.ID, b.ID) })
	return c.ok(map[string]any{"channels": views})
}

func (c *call) createChannel() error {
	h, account, err := c.hubOf()
	if err != nil {
		return err
	}
	var in channelInput
	if err := c.decode(&in); err != nil {
		return err
	}
	switch {
	case text(in.Name) == "":
		return bad("name is required")
	case text(in.Kind) == "":
		return bad("channel_type is required, one of " + strings.Join(notify.Kinds(), ", "))
	}
	if !in.hasConfig() {
		in.Config = json.RawMessage("{}") // so that the error names what is missing
	}
	now := c.a.o.Now().UTC()
	ch := notify.Channel{Account: account, Enabled: true, CreatedAt: now}
	config, err := c.applyChannel(&ch, &in)
	if err != nil {
		return err
	}
	done, err := c.alone()
	if err != nil {
		return err
	}
	defer done()
	if err := room(c.r.Context(), h.Channels, account, 1, maxChannels, "channels"); err != nil {
		return err
	}
	if ch.ID, err = h.NextID(c.r.Context(), store.KindChannel); err != nil {
		return err
	}
	ch.Config = h.Seal(ch.ID, config)
	if _, err := h.Channels.Create(c.r.Context(), ch); err != nil {
		return err
	}
	err = c.within(func(ctx context.Context) error { return room(ctx, h.Channels, account, 0, maxChannels, "channels") },
		func(ctx context.Context) error { return h.Channels.Delete(ctx, ch.ID) })
	if err != nil {
		return err
	}
	h.Changed(account)
	return c.created(viewChannel(&ch))
}

// applyChannel checks the input and puts it into ch, all but the settings, which it returns; nil: none came.
func (c *call) applyChannel(ch *notify.Channel, in *channelInput) (json.RawMessage, error) {
	if s := text(in.Name); s != "" {
		if err := checkName("name", s); err != nil {
			return nil, err
		}
		ch.Name = s
	}
	if k := text(in.Kind); k != "" && k != ch.Kind {
		if !slices.Contains(notify.Kinds(), k) {
			return nil, bad("channel_type: must be one of " + strings.Join(notify.Kinds(), ", "))
		}
		if !in.hasConfig() {
			return nil, bad("config is required with another channel_type")
		}
		ch.Kind = k
	}
	if in.Enabled != nil {
		ch.Enabled = *in.Enabled
	}
	ch.UpdatedAt = c.a.o.Now().UTC()
	if !in.hasConfig() {
		return nil, nil
	}
	config, err := notify.ParseConfig(ch.Kind, in.Config)
	var field *notify.FieldError
	switch {
	case errors.As(err, &field):
		return nil, bad(field.Error())
	case err != nil:
		return nil, err
	case notify.UsesOwnAWS(ch.Kind, config) && !c.who.admin:
		return nil, bad("config.access_key_id is missing: only an administrator's channel may use the gateway's own AWS credentials")
	}
	return config, nil
}

func (c *call) updateChannel() error {
	h, old, err := c.channel(c.id)
	if err != nil {
		return err
	}
	var in channelInput
	if err := c.decode(&in); err != nil {
		return err
	}
	r, err := h.Channels.Update(c.r.Context(), old.ID, func(ch *notify.Channel) error {
		config, err := c.applyChannel(ch, &in)
		if config != nil {
			ch.Config = h.Seal(ch.ID, config)
		}
		return err
	})
	if err != nil {
		return err
	}
	h.Changed(old.Account)
	return c.ok(viewChannel(&r.Value))
}

// deleteChannel removes a channel with its subscriptions.
func (c *call) deleteChannel() error {
	h, ch, err := c.channel(c.id)
	if err != nil {
		return err
	}
	ctx := c.r.Context()
	// the channel last: while it is there the call can be repeated
	subs, err := h.Subscriptions.All(ctx, ch.Account)
	if err != nil {
		return err
	}
	for i := range subs {
		if s := &subs[i].Value; s.Channel == ch.ID {
			if err := h.Subscriptions.Delete(ctx, s.ID); err != nil && !store.Missing(err) {
				return err
			}
		}
	}
	if err := h.Channels.Delete(ctx, ch.ID); err != nil && !store.Missing(err) {
		return err
	}
	h.Changed(ch.Account)
	return c.ok(map[string]string{"deleted": ch.ID})
}

// testTime bounds a test message; the hub's own bound is tighter.
const testTime = 25 * time.Second

// testChannel sends a message at once and tells what became of it.
func (c *call) testChannel() error {
	var in struct {
		Channel *string `json:"channel_id"`
		Title   *string `json:"title"`
		Content *string `json:"content"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if text(in.Channel) == "" {
		return bad("channel_id is required")
	}
	h, ch, err := c.channel(text(in.Channel))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), testTime)
	defer cancel()
	if err := h.Test(ctx, ch, text(in.Title), text(in.Content)); err != nil {
		return testFailed(err)
	}
	return c.ok(map[string]string{"status": "sent"})
}

// testFailed tells what a service refused, in the hub's words. Any other error is not the service's but the store's, and for
// the log alone.
func testFailed(err error) error {
	var refused *notify.RefusedError
	var busy *notify.BusyError
	switch {
	case errors.As(err, &refused):
		return core.E(core.CodeBadGateway, refused.Reason)
	case errors.As(err, &busy):
		return &core.Error{Code: core.CodeRateLimited, RetryAfter: busy.RetryAfter, Message: "the channel gets no message right now: it has had too many, or rests after a failure; try again later"}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return core.E(core.CodeTimeout, "the service did not answer in time")
	}
	return err
}

// noticeView is an entry of the log of notifications.
type noticeView struct {
	ID       string         `json:"id"`
	Channel  string         `json:"channel_id"`
	Event    core.EventType `json:"event_type"`
	Node     string         `json:"node_id,omitempty"`
	Title    string         `json:"title"`
	Content  string         `json:"content"`
	Status   string         `json:"status"` // sent, failed
	Error    string         `json:"error"`
	Attempts int            `json:"attempts"`
	SentAt   time.Time      `json:"sent_at"` // or given up
	Created  time.Time      `json:"created_at"`
}

// notifyHistory shows what became of an account's notifications, the newest first.
func (c *call) notifyHistory() error {
	h, account, err := c.hubOf()
	if err != nil {
		return err
	}
	q := c.r.URL.Query()
	limit, err := queryInt(q, "limit", 50, 1, 200)
	if err != nil {
		return err
	}
	cursor := q.Get("cursor")
	if len(cursor) > maxID || strings.Trim(cursor, "0123456789abcdef-") != "" {
		return bad("cursor: is not one that this API gave")
	}
	sent, err := h.History(c.r.Context(), account, cursor, limit)
	if err != nil {
		return err
	}
	views := make([]noticeView, 0, len(sent))
	now := c.a.o.Now()
	for i := range sent {
		s := &sent[i]
		if !s.Expires.IsZero() && !now.Before(s.Expires) {
			continue
		}
		views = append(views, noticeView{ID: s.ID, Channel: s.Channel, Event: s.Event.Type, Node: s.Event.Node, Title: s.Title, Content: s.Event.Text,
			Status: s.Status, Error: s.Error, Attempts: s.Attempts, SentAt: s.At.UTC(), Created: s.Event.At.UTC()})
	}
	next := ""
	if len(sent) == limit {
		next = sent[len(sent)-1].ID
	}
	return c.ok(map[string]any{"history": views, "next_cursor": next})
}
