package gateway

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/store"
)

// subjectList is who is limited: the key, and the account where it has limits of its own.
func (x *exchange) subjectList() []store.Subject {
	if x.subjects[1].Kind == "" {
		return x.subjects[:1:1]
	}
	return x.subjects[:2:2]
}

// tryAdmit is admit without its trace.
func (x *exchange) tryAdmit() error {
	ctx, d := x.r.Context(), x.g.o.Directory
	for try := 0; ; try++ {
		if x.name != "" && !x.mayUse(x.name) {
			if try == 0 { // no admission will tell that a copy which refuses is stale
				d.Forget(x.key)
				if err := x.authenticate(); err != nil {
					return err
				}
				continue
			}
			return core.E(core.CodeForbidden, "This key may not use the model "+clip(x.name, 100)+". Ask the operator of the gateway which it may use.")
		}
		acct, err := d.Account(ctx, x.key.Account, 0)
		if err != nil {
			return x.noAccount(err)
		}
		x.account = acct
		x.subjects[0] = store.Subject{Kind: store.KindKey, ID: x.key.ID, Version: x.key.Version, Limits: x.key.Limits}
		x.subjects[1] = store.Subject{}
		if !acct.Limits.IsZero() {
			x.subjects[1] = store.Subject{Kind: store.KindAccount, ID: acct.ID, Version: acct.Version, Limits: acct.Limits}
		}
		res, err := x.g.o.Admission.Admit(ctx, x.admitRequest(x.subjectList(), x.ask(acct)))
		if err == nil {
			x.admitted, x.figures = true, res.Figures
			if err := x.refresh(res.Generation); err != nil {
				return err
			}
			return x.admitAccount()
		}
		var refused *store.Refusal
		switch {
		case errors.As(err, &refused):
			x.figures = refused.Figures
			x.limitHeaders(x.w.Header())
			return x.refusal(refused, x.ask(acct))
		case errors.Is(err, store.ErrStale) && try < 3:
			d.Forget(x.key)
			if err := x.authenticate(); err != nil {
				return err
			}
		default:
			return x.storeAway(err)
		}
	}
}

// admitAccount asks for the account alone when the admission told that it has got limits which the copy before had not: an
// edit binds the next request.
func (x *exchange) admitAccount() error {
	for try := 0; x.subjects[1].Kind == "" && !x.account.Limits.IsZero(); try++ {
		acct := x.account
		own := store.Subject{Kind: store.KindAccount, ID: acct.ID, Version: acct.Version, Limits: acct.Limits}
		ask := x.ask(acct)
		res, err := x.g.o.Admission.Admit(x.r.Context(), x.admitRequest([]store.Subject{own}, ask))
		var refused *store.Refusal
		switch {
		case err == nil:
			x.subjects[1] = own
			x.figures = append(x.figures, res.Figures...)
		case errors.As(err, &refused):
			x.figures = append(x.figures, refused.Figures...)
			x.limitHeaders(x.w.Header())
			return x.refusal(refused, ask)
		case errors.Is(err, store.ErrStale) && try < 3:
			if err := x.refresh(directory.Newest); err != nil {
				return err
			}
		default:
			return x.storeAway(err)
		}
	}
	return nil
}

func (x *exchange) admitRequest(subjects []store.Subject, ask store.Amount) store.AdmitRequest {
	now := x.g.o.Now()
	return store.AdmitRequest{Now: now, ID: x.info.ID, Account: x.key.Account, Subjects: subjects, Ask: ask,
		LeaseEnd: now.Add(leaseFor), Zone: x.g.s.Zone}
}

// refresh makes the copies of the account's nodes and of what is known of them as new as the generation that came with the
// admission; 0: the store did not look.
func (x *exchange) refresh(generation int64) error {
	ctx := x.r.Context()
	if generation != 0 && generation != x.account.Generation {
		acct, err := x.g.o.Directory.Account(ctx, x.key.Account, generation)
		if err != nil {
			return x.noAccount(err)
		}
		x.account = acct
	}
	x.syncHealth(x.account)
	return nil
}

// syncHealth reads what other instances learnt of the account's nodes when something of the account changed.
func (x *exchange) syncHealth(acct *directory.Snapshot) {
	if h := x.g.o.Health; !h.Current(acct.ID, acct.Generation) {
		ids := make([]string, len(acct.Nodes))
		for i := range acct.Nodes {
			ids[i] = acct.Nodes[i].ID
		}
		h.Sync(x.r.Context(), acct.ID, acct.Generation, ids)
	}
}

func (x *exchange) noAccount(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		x.g.o.Directory.Forget(x.key)
		return core.E(core.CodeUnauthenticated, "The account of this API key was deleted. Ask the operator of the gateway for another key.")
	}
	return x.storeAway(err)
}

func (x *exchange) storeAway(err error) error {
	if x.r.Context().Err() != nil {
		return errClientGone
	}
	x.g.o.Log.Error("store failed", "request_id", x.info.ID, "error", err)
	return &core.Error{Code: core.CodeUnavailable, RetryAfter: 5 * time.Second,
		Message: "The gateway cannot reach its store. Send the request again in a few seconds."}
}

// settlement is what ends the request in the store: trip 2.
func (x *exchange) settlement(ctx context.Context) store.SettleRequest {
	rec := &x.rec
	if rec.Tokens != (core.Tokens{}) {
		x.setCost(ctx)
	}
	r := store.SettleRequest{ID: rec.RequestID, Account: rec.Account, Now: x.g.o.Now(), Zone: x.g.s.Zone, Subjects: x.subjectList(), Used: used(rec), Record: *rec}
	for _, s := range x.held {
		if s.ID == rec.Node {
			r.Subjects = append(r.Subjects, s)
		} else {
			r.Free = append(r.Free, s)
		}
	}
	return r
}

// used is what limits count of a request (DESIGN 7): cache reads cost money but no tokens.
func used(rec *core.Settlement) store.Amount {
	t := rec.Tokens
	return store.Amount{Tokens: t.Input + t.CacheWrite5m + t.CacheWrite1h + t.Output, USD: rec.CostUSD}
}

// maxMinuteWait is the longest retry-after of a per-minute limit: at 60 clients give up (D16).
const maxMinuteWait = 59 * time.Second

// wait is how long a refused client is told to wait.
func wait(r *store.Refusal) time.Duration {
	d := r.RetryAfter
	switch r.Limit {
	case store.LimitRPM, store.LimitTPM:
		d = min(d, maxMinuteWait)
	case store.LimitConcurrency:
		d = time.Second
	}
	return max(d, time.Second)
}

func budget(l store.LimitName) bool { return l == store.LimitUSDDay || l == store.LimitUSDMonth }

// refusal is the error of a request that a limit forbids. No retry brings back a spent budget (D18), nor makes a request
// smaller.
func (x *exchange) refusal(r *store.Refusal, ask store.Amount) error {
	if m := x.g.o.Metrics; m != nil {
		m.Refused(string(r.Limit))
	}
	who := "This API key"
	switch r.Subject {
	case store.KindAccount:
		who = "This account"
	case store.KindNode:
		who = "The node for this request"
	}
	if r.RetryAfter == store.NeverFits {
		return &core.Error{Code: core.CodeInvalid, NoRetry: true, Message: "This request needs about " + itoa(ask.Tokens) + " tokens. " + who + " has a limit of " + itoa(r.Max) +
			" tokens per minute, into which it can never fit. Send less or a smaller max_tokens, or ask the operator of the gateway for a higher limit."}
	}
	e := &core.Error{Code: core.CodeRateLimited, RetryAfter: wait(r)}
	if budget(r.Limit) {
		e.NoRetry, e.Kind = true, "insufficient_quota"
		period := strings.TrimPrefix(string(r.Limit), "micro-USD per ")
		e.Message = who + " has too little left of its budget of $" + dollars(r.Max) + " per " + period + ". It starts anew with the next " + period +
			"; until then ask the operator of the gateway for a higher one."
		return e
	}
	e.Message = who + " has reached its limit of " + itoa(r.Max) + " " + string(r.Limit) + ". Try again in " + itoa(seconds(e.RetryAfter)) + "s."
	return e
}

// dollars writes micro-USD as dollars, with at least cents where there are any.
func dollars(micro int64) string {
	s := strconv.FormatInt(micro/1_000_000, 10)
	frac := micro % 1_000_000
	if frac == 0 {
		return s
	}
	digits := strings.TrimRight(strconv.FormatInt(1_000_000+frac, 10)[1:], "0")
	if len(digits) == 1 {
		digits += "0"
	}
	return s + "." + digits
}

// shownLimits are the limits that headers tell of, with the names of their headers in both families of dialects.
var shownLimits = [...]struct {
	limit                store.LimitName
	most, left, reset    string // Anthropic's
	most2, left2, reset2 string // OpenAI's
}{
	{store.LimitRPM, "Anthropic-Ratelimit-Requests-Limit", "Anthropic-Ratelimit-Requests-Remaining", "Anthropic-Ratelimit-Requests-Reset",
		"X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests"},
	{store.LimitTPM, "Anthropic-Ratelimit-Tokens-Limit", "Anthropic-Ratelimit-Tokens-Remaining", "Anthropic-Ratelimit-Tokens-Reset",
		"X-Ratelimit-Limit-Tokens", "X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Tokens"},
}

// limitHeaders sets our rate-limit headers, for limits that the key or account has; the tighter of the two counts.
func (x *exchange) limitHeaders(h http.Header) {
	for i := range shownLimits {
		s := &shownLimits[i]
		var best *store.Figure
		for j := range x.figures {
			f := &x.figures[j]
			if f.Limit == s.limit && (best == nil || f.Remaining < best.Remaining) {
				best = f
			}
		}
		switch {
		case best == nil:
		case x.client.openAI():
			h[s.most2] = []string{itoa(best.Max)}
			h[s.left2] = []string{itoa(max(0, best.Remaining))}
			h[s.reset2] = []string{itoa(max(0, seconds(best.Reset.Sub(x.g.o.Now())))) + "s"}
		default:
			h[s.most] = []string{itoa(best.Max)}
			h[s.left] = []string{itoa(max(0, best.Remaining))}
			h[s.reset] = []string{best.Reset.UTC().Format(time.RFC3339)}
		}
	}
}
