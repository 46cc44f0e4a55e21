package gateway

import (
	"context"
	"strconv"
	"sync"
	"time"

	"sluice/shared/router"
)

const (
	retryShare    = 0.2    // of an account's requests may be further tries on nodes that failed them
	retryReserve  = 10     // tries that an account may make before it has earned any
	maxRetryPurse = 20_000 // accounts
)

// retryBudget bounds how much an outage multiplies the load on nodes that fail: of the requests that an account makes, each
// earns a share of a further try. The first pass over the candidates is free. A process counts its own requests: together
// they stay within the share, and the reserve of each. It is safe for concurrent use.
type retryBudget struct {
	mu     sync.Mutex
	purses map[string]float64 // account -> tries; absent: full
}

// earn counts a request in. It costs nothing where nothing was spent.
func (b *retryBudget) earn(account string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	have, ok := b.purses[account]
	switch {
	case !ok:
	case have+retryShare >= retryReserve:
		delete(b.purses, account)
	default:
		b.purses[account] = have + retryShare
	}
}

// left reports whether the account has a further try left.
func (b *retryBudget) left(account string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	have, ok := b.purses[account]
	return !ok || have >= 1
}

// spend takes one further try of one node; false when the account has none left.
func (b *retryBudget) spend(account string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	have, ok := b.purses[account]
	if !ok {
		have = retryReserve
	}
	if have < 1 {
		return false
	}
	if b.purses == nil || len(b.purses) >= maxRetryPurse {
		b.purses = make(map[string]float64)
	}
	b.purses[account] = have - 1
	return true
}

const (
	absorbMost  = 30 * time.Second // that limits of upstreams are waited out for clients that do not do so themselves
	absorbShort = 5 * time.Second  // and for all others, less than that
	answerTime  = time.Second      // that an answer needs at least
)

// absorb waits out a short limit of all nodes: a client would only wait the same time, and some do not wait at all (D40:
// Codex gives up on a 429). false: the wait is too long for this client, or it left.
func (x *exchange) absorb(ctx context.Context, c router.Choice) bool {
	most := absorbShort - 1
	if x.client == dialectResponses {
		most = absorbMost
	}
	if c.Why != router.Cooling || x.brief || c.Wait <= 0 || x.absorbed+c.Wait > most || !x.patient(ctx, c.Wait) {
		return false
	}
	if x.rec.Attempts > 0 && !x.g.retries.left(x.key.Account) {
		return false
	}
	x.absorbed += c.Wait
	spread := time.Duration(random() % uint64(c.Wait/10+1)) // those who wait for the same node need not come at once
	return sleep(ctx, c.Wait+spread)
}

// patient reports whether the client still waits after that time, as far as it says: Stainless's SDKs send their timeout in
// seconds, Lambda ends the request's context.
func (x *exchange) patient(ctx context.Context, wait time.Duration) bool {
	need := wait + wait/10 + answerTime
	if d, ok := ctx.Deadline(); ok && time.Until(d) < need {
		return false
	}
	timeout, err := strconv.ParseFloat(x.r.Header.Get("X-Stainless-Timeout"), 64)
	return err != nil || timeout <= 0 || timeout-time.Since(x.info.Start).Seconds() > need.Seconds()
}
