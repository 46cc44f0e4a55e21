package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"sluice/shared/core"
)

// maxLogged is how many runes of a test's text are kept in the log: the sender knows the rest.
const maxLogged = 200

// RefusedError is what a service, or the channel's own settings, have against a message, in words without address or secret.
type RefusedError struct{ Reason string }

// Error implements error.
func (e *RefusedError) Error() string { return e.Reason }

// BusyError is a message too many within a minute.
type BusyError struct{ RetryAfter time.Duration }

// Error implements error.
func (e *BusyError) Error() string {
	return fmt.Sprintf("there were too many messages within a minute: try again in %d s", max(1, int(math.Ceil(e.RetryAfter.Seconds()))))
}

// Test sends a message to a channel at once, whether it is enabled or not, and logs it with the beginning of its text. Empty
// texts get ones that say that it is a test. An account has 20 tests a minute, whatever becomes of its channels, and the
// channel's rate limit counts. The error is a *RefusedError of the service, a *BusyError, ctx's, or else the store's.
func (h *Hub) Test(ctx context.Context, channel Channel, title, content string) error {
	now := h.o.Now()
	title = cmp.Or(oneLine(title, maxTitle), "Test")
	content = cmp.Or(someLines(content, maxContent), "This is a test of the channel.")
	m := &message{
		id: noticeID(channel.Account, randomID()), title: title, text: content, gateway: h.o.PublicURL, now: now,
		event: core.Event{Type: EventTest, Account: channel.Account, Subject: "channel " + channel.ID, At: now},
	}
	// by account: a channel is made anew as easily as it is tested
	if err := h.reserve(ctx, limit{"tests/" + channel.Account, channel.Account}, false); err != nil {
		return err
	}
	if err := h.reserve(ctx, channel.rate(), true); err != nil {
		return err
	}
	failed := h.attempt(ctx, channel, func() *message { return m })
	n := &Notice{ID: m.id, Account: channel.Account, Channel: channel.ID, Event: m.event, Attempts: 1}
	n.Event.Text = oneLine(content, maxLogged)
	status, reason := StatusSent, ""
	if failed != nil {
		status, reason = StatusFailed, failed.Error()
	}
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	if err := h.log(own, n, title, status, reason); err != nil {
		h.o.Log.Warn("a test of a channel could not be logged", "channel", channel.ID, "error", err)
	}
	var f *failure
	if errors.As(failed, &f) {
		return &RefusedError{Reason: f.words}
	}
	return failed
}
