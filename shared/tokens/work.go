package tokens

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"

	"sluice/shared/core"
	"sluice/shared/upstream"
)

// works counts what goes on in goroutines of the Vault's own.
type works struct {
	mu     sync.Mutex
	n      int
	closed bool
	idle   chan struct{} // closed when n is 0 again
}

// begin reports whether one more may begin.
func (w *works) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	if w.n++; w.n == 1 {
		w.idle = make(chan struct{})
	}
	return true
}

func (w *works) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n--; w.n == 0 {
		close(w.idle)
	}
}

// Close makes the Vault give no more tokens but those in memory, and waits for the refreshes that go on though their callers
// left, each of less than a minute. The error says that ctx ended first; with the store closed then, an answer of the token
// service may be lost, and with it the login of its node.
func (v *Vault) Close(ctx context.Context) error {
	v.works.mu.Lock()
	v.works.closed = true
	v.works.mu.Unlock()
	return v.Settle(ctx)
}

// Settle waits for the same while the Vault goes on to give tokens: for hosts that halt the process between requests.
func (v *Vault) Settle(ctx context.Context) error {
	w := &v.works
	w.mu.Lock()
	n, idle := w.n, w.idle
	w.mu.Unlock()
	if n == 0 {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("token refreshes are still under way; their nodes may need a new login: %w", ctx.Err())
	}
}

// outcome is what a work came to.
type outcome struct {
	access core.Secret
	err    error
	panic  any
}

// errClosing is for who asks for a token when the process ends.
var errClosing = &upstream.Error{Failure: upstream.Failure{Class: upstream.Stopped, Reason: "the gateway is shutting down"}}

// run does the work of who has the turn, and gives the turn back. The work has a goroutine of its own, bounded by its own
// times: the caller may leave when its context ends, but a token that the token service gave must be saved all the same, for
// it has made the one before void. Who ends the process waits for it by Close.
func (v *Vault) run(ctx context.Context, e *entry, t upstream.Target, w want) (core.Secret, error) {
	if !v.works.begin() {
		e.turn <- struct{}{}
		return core.Secret{}, errClosing
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			if o.panic = recover(); o.panic != nil {
				v.o.Log.Error("panic in a token refresh", "node", t.Node.ID, "panic", fmt.Sprint(o.panic), "stack", string(debug.Stack()))
			}
			e.turn <- struct{}{}
			v.works.end()
			done <- o
		}()
		o.access, o.err = v.inTurn(ctx, e, t, w)
	}()
	select {
	case o := <-done:
		return o.result()
	case <-ctx.Done():
	}
	select {
	case o := <-done:
		return o.result()
	default:
		return core.Secret{}, fmt.Errorf("wait for a token: %w", ctx.Err())
	}
}

// result passes a panic on to who called: a request ends with it, the process does not.
func (o outcome) result() (core.Secret, error) {
	if o.panic != nil {
		panic(o.panic)
	}
	return o.access, o.err
}
