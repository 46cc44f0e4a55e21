package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"sluice/shared/store"
)

const (
	perMinute = 20          // messages of a channel: what the robots of DingTalk and WeCom take, and a group of Telegram
	maxRest   = time.Minute // of a channel after a failure, unless the service asks for more
	logFor    = 30 * 24 * time.Hour
)

// rate is what a channel was sent of late, or what an account sent as tests. It lives in the store, so that the limit holds over restarts and instances.
type rate struct {
	ID      string    `json:"id"`
	Account string    `json:"account"`
	Sent    []int64   `json:"sent"`          // ms since 1970, of the last minute
	Rest    time.Time `json:"rest,omitzero"` // nothing is sent before
	Expires time.Time `json:"expires"`
}

// limit names a rate and whose it is.
type limit struct{ id, account string }

func (c *Channel) rate() limit { return limit{"rate/" + c.ID, c.Account} }

// reserve takes one message of this minute; a *BusyError when there is none left, or while a channel rests. wake ends the
// rest: who tests a channel has perhaps just mended it.
func (h *Hub) reserve(ctx context.Context, l limit, wake bool) error {
	now := h.o.Now()
	return h.editRate(ctx, l, func(r *rate) error {
		if wake {
			r.Rest = time.Time{}
		}
		if now.Before(r.Rest) {
			return &BusyError{RetryAfter: r.Rest.Sub(now)}
		}
		r.Sent = slices.DeleteFunc(r.Sent, func(ms int64) bool { return now.Sub(time.UnixMilli(ms)) >= time.Minute })
		if len(r.Sent) >= perMinute {
			return &BusyError{RetryAfter: time.UnixMilli(slices.Min(r.Sent)).Add(time.Minute).Sub(now)}
		}
		r.Sent = append(r.Sent, now.UnixMilli())
		return nil
	})
}

// rest keeps a channel that failed or was slow from being tried with each of its notices. It goes on when ctx ends: the next
// one to deliver must know.
func (h *Hub) rest(ctx context.Context, c *Channel, until time.Time) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	return h.editRate(ctx, c.rate(), func(r *rate) error {
		r.Rest = until
		return nil
	})
}

func (h *Hub) editRate(ctx context.Context, l limit, edit func(*rate) error) error {
	_, err := h.rates.Upsert(ctx, l.id, func(r *rate) error {
		r.ID, r.Account = l.id, l.account
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
