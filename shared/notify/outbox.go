package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

const (
	perMinute = 20          // messages of a channel: what the robots of DingTalk and WeCom take, and a group of Telegram
	maxRest   = time.Minute // of a channel after a failure, unless the service asks for more
	logFor    = 30 * 24 * time.Hour
)

// rate is what a channel was sent of late. It lives in the store, so that the limit holds over restarts and instances.
type rate struct {
	ID      string    `json:"id"`
	Account string    `json:"account"`
	Sent    []int64   `json:"sent"`          // ms since 1970, of the last minute
	Rest    time.Time `json:"rest,omitzero"` // nothing is sent before
	Expires time.Time `json:"expires"`
}

var errBusy = errors.New("the channel has had its messages of this minute")

// reserve takes one of the channel's messages of this minute; false when there is none left, or while it rests. wake ends
// the rest: who tests a channel has perhaps just mended it.
func (h *Hub) reserve(ctx context.Context, c *Channel, wake bool) (bool, error) {
	now := h.o.Now()
	err := h.editRate(ctx, c, func(r *rate) error {
		if wake {
			r.Rest = time.Time{}
		}
		if now.Before(r.Rest) {
			return errBusy
		}
		r.Sent = slices.DeleteFunc(r.Sent, func(ms int64) bool { return now.Sub(time.UnixMilli(ms)) >= time.Minute })
		if len(r.Sent) >= perMinute {
			return errBusy
		}
		r.Sent = append(r.Sent, now.UnixMilli())
		return nil
	})
	if errors.Is(err, errBusy) {
		return false, nil
	}
	return err == nil, err
}

// rest keeps a channel that failed from being tried with each of its notices.
func (h *Hub) rest(ctx context.Context, c *Channel, until time.Time) error {
	return h.editRate(ctx, c, func(r *rate) error {
		r.Rest = until
		return nil
	})
}

func (h *Hub) editRate(ctx context.Context, c *Channel, edit func(*rate) error) error {
	id := "rate/" + c.ID
	_, err := h.rates.Upsert(ctx, id, func(r *rate) error {
		r.ID, r.Account = id, c.Account
		if err := edit(r); err != nil {
			return err
		}
		r.Expires = h.o.Now().Add(time.Minute)
		if r.Rest.After(r.Expires) {
			r.Expires = r.Rest
		}
		return nil
	})
	return err
}

// finish takes a notice out of the outbox and logs it. It goes on when ctx ends: the service has the message already.
func (h *Hub) finish(ctx context.Context, n *Notice, status, reason string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	if err := h.Notices.Delete(ctx, n.ID); err != nil && !store.Missing(err) {
		return err
	}
	return h.log(ctx, n, h.message(n.ID, n.Event).title, status, reason)
}

func (h *Hub) log(ctx context.Context, n *Notice, title, status, reason string) error {
	now := h.o.Now()
	_, err := h.Log.Create(ctx, Sent{
		ID:      fmt.Sprintf("%016x-%s", math.MaxInt64-now.UnixNano(), randomID()[:8]),
		Account: n.Account, Channel: n.Channel, Notice: n.ID, Event: n.Event, Title: title,
		Status: status, Error: reason, Attempts: n.Attempts, At: now, Expires: now.Add(logFor),
	})
	return err
}

// decode reads a listed notice. One that expired is left to the store; one that nobody can read any more is taken out.
func (r *run) decode(ctx context.Context, d *store.Doc) (Notice, bool) {
	var n Notice
	if !d.Expires.IsZero() && !r.h.o.Now().Before(d.Expires) {
		return n, false
	}
	if err := json.Unmarshal(d.Body, &n); err != nil || n.ID != d.ID || n.Account != d.Account {
		r.h.o.Log.Error("a notice in the outbox is not readable and was dropped", "notice", d.ID, "error", err)
		if err := r.h.docs.Delete(ctx, store.KindNotice, d.ID, d.Version); err != nil && !store.Missing(err) {
			r.h.o.Log.Warn("it could not be dropped", "notice", d.ID, "error", err)
		}
		return n, false
	}
	return n, true
}

// Test sends a message to a channel at once, whether it is enabled or not, and logs it. Empty texts get ones that say that
// it is a test. The error is the service's refusal in words, without address or secret; the channel's rate limit counts.
func (h *Hub) Test(ctx context.Context, channel Channel, title, content string) error {
	now := h.o.Now()
	title = cmp.Or(oneLine(title, maxTitle), "Test")
	content = cmp.Or(someLines(content, maxContent), "This is a test of the channel.")
	m := &message{
		id: randomID(), title: title, text: content, gateway: h.o.PublicURL, now: now,
		event: core.Event{Type: EventTest, Account: channel.Account, Subject: "channel " + channel.ID, At: now,
			Text: oneLine(content, maxText)},
	}
	ok, err := h.reserve(ctx, &channel, true)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("the channel has had %d messages within a minute: try again in a minute", perMinute)
	}
	failed := h.send(ctx, channel, m)
	n := &Notice{ID: m.id, Account: channel.Account, Channel: channel.ID, Event: m.event, Attempts: 1}
	status, reason := StatusSent, ""
	if failed != nil {
		status, reason = StatusFailed, failed.Error()
	}
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	if err := h.log(own, n, title, status, reason); err != nil {
		h.o.Log.Warn("a test of a channel could not be logged", "channel", channel.ID, "error", err)
	}
	return failed
}
