package notify

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"sluice/shared/store"
)

const (
	maxPending   = 1_000 // notices of an account that wait to be sent
	maxOfChannel = 500   // those of one channel among them: one that is dead must not silence the others
	uncounted    = 50    // that may be written before the account's are counted at all
	recounted    = 100   // and before they are counted again
	recountAfter = 10 * time.Second
)

// room is how many notices an account may add. Nobody counts what waits with each event: an instance writes a few unseen and
// then looks, so all instances together may pass the bound by as many each.
type room struct {
	sync.Mutex
	left  int            // that may be written before the account's are counted again
	of    map[string]int // that wait, by channel, as far as is known
	again time.Time      // not counted before: it was nearly full
}

// takeRoom reports whether another notice of the account may wait for the channel.
func (h *Hub) takeRoom(ctx context.Context, account, channel string) (bool, error) {
	r := h.roomOf(account)
	r.Lock()
	defer r.Unlock()
	full := func() bool { return r.left <= 0 || r.of[channel] >= maxOfChannel }
	if now := h.o.Now(); full() && !now.Before(r.again) {
		if err := h.countPending(ctx, account, r, now); err != nil {
			return false, err
		}
	}
	if full() {
		h.tellFull(account, channel)
		return false, nil
	}
	r.left--
	r.of[channel]++
	return true, nil
}

// countPending counts what waits, up to the bound.
func (h *Hub) countPending(ctx context.Context, account string, r *room, now time.Time) error {
	of, total, after := make(map[string]int), 0, ""
	for total < maxPending {
		docs, err := h.docs.List(ctx, store.KindNotice, account, after, pageSize)
		if err != nil {
			return err
		}
		for i := range docs {
			var n struct {
				Channel string `json:"channel"`
			}
			if json.Unmarshal(docs[i].Body, &n) == nil { // Deliver drops it otherwise
				of[n.Channel]++
			}
			total++
		}
		if len(docs) < pageSize {
			break
		}
		after = docs[len(docs)-1].ID
	}
	r.left, r.of, r.again = min(recounted, maxPending-total), of, time.Time{}
	full := r.left < recounted
	for _, n := range of {
		full = full || n >= maxOfChannel
	}
	if full {
		r.again = now.Add(recountAfter)
	}
	return nil
}

// tellFull logs, once in 5 minutes for an account, that it loses notifications.
func (h *Hub) tellFull(account, channel string) {
	now, id := h.o.Now(), "full/"+account
	if h.wasTold(now, id) {
		return
	}
	h.remember(id, now.Add(window), now)
	h.o.Log.Warn("too many unsent notifications: new ones are dropped until some are sent; see why the account's channels take none",
		"account", account, "channel", channel)
}

func (h *Hub) roomOf(account string) *room {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.rooms[account]
	if r == nil {
		if len(h.rooms) >= maxAccounts {
			clear(h.rooms)
		}
		r = &room{left: uncounted, of: make(map[string]int)}
		h.rooms[account] = r
	}
	return r
}
