package gateway

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/health"
	"sluice/shared/rawjson"
	"sluice/shared/router"
	"sluice/shared/store"
	"sluice/shared/translator"
	"sluice/shared/web"
)

// exchange is one request on its way through the gateway. It belongs to the handler's goroutine; what its timer may touch
// is in clientStream.
type exchange struct {
	g    *Gateway
	w    http.ResponseWriter
	rc   *http.ResponseController
	r    *http.Request
	path string // escaped, without the /anthropic prefix
	ep   *endpoint
	info *web.Info

	key      *directory.Key
	account  *directory.Snapshot
	subjects [2]store.Subject
	figures  []store.Figure
	admitted bool
	done     bool // settled

	client *dialect // in which the client is answered
	asked  *dialect // in which it wrote the body: Cursor sends Responses bodies to chat
	body   *body
	model  rawjson.Value // in the body
	name   string        // of the model, as the client wrote it
	routed string        // what the account's map makes of it
	sess   string        // affinity

	options rawjson.Value // OpenAI's stream_options
	mixed   bool          // a chat body that no chat upstream would take as it is

	hub      *translator.Request // the body, decoded when a node needs it
	hubErr   error
	reserved int64         // bytes of translated bodies
	plans    []*plan       // that hold them
	unfit    error         // why the last node that cannot express the request cannot
	absorbed time.Duration // waited for limits of upstreams
	only     *dialect      // nil: any; else only nodes that speak it have the endpoint
	state    *keeper       // nil: nothing of the conversation is kept
	previous []byte        // previous_response_id as the client wrote it, where the conversation goes on; nil: none

	watch    *watch
	trial    bool           // the attempt is a failed node's trial
	brief    bool           // one pass, and no failure counts against a node
	fallback func()         // answers when no node did
	touched  []*health.Node // whose state may need saving
	rec      core.Settlement
}

// leaseFor is how long an admission's concurrency is held when nobody renews it, and renewEvery how often it is renewed.
const (
	leaseFor   = 180 * time.Second
	renewEvery = 60 * time.Second
)

// credentials returns the keys a client sent: Authorization: Bearer, x-api-key, api-key. Clients that send two send the
// same one twice; where they differ the one we know counts, so all are returned.
func credentials(h http.Header) (out [3]string) {
	n := 0
	add := func(s string) {
		s = strings.TrimSpace(s)
		if s != "" && !(n > 0 && out[0] == s) {
			out[n] = s
			n++
		}
	}
	if a := h.Get("Authorization"); len(a) > 7 && strings.EqualFold(a[:7], "bearer ") {
		add(a[7:])
	}
	add(h.Get("X-Api-Key"))
	add(h.Get("Api-Key"))
	return out
}

// authenticate finds the key and its account before the body is read.
func (x *exchange) authenticate() error {
	creds := credentials(x.r.Header)
	if creds[0] == "" {
		return core.E(core.CodeUnauthenticated, "No API key. Send the gateway's key as x-api-key or as Authorization: Bearer.")
	}
	var first error
	for _, c := range creds {
		if c == "" {
			break
		}
		err := x.authenticateAs(c)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

func (x *exchange) authenticateAs(cred string) error {
	if len(cred) > 512 || !wellFormed(cred) {
		return core.E(core.CodeUnauthenticated, "Malformed API key: it was mistyped or cut. Check it against the one you were given.")
	}
	who, err := x.g.o.Directory.Authenticate(x.r.Context(), cred, x.info.Direct)
	if err == nil && !who.Operator && !who.Key.Has(core.ScopeInference) {
		x.g.o.Directory.Forget(who.Key) // no admission will tell that a copy which refuses is stale
		who, err = x.g.o.Directory.Authenticate(x.r.Context(), cred, x.info.Direct)
	}
	if err != nil {
		return err
	}
	if who.Operator {
		return core.E(core.CodeForbidden, "ADMIN_API_KEY administers the gateway and calls no models. Use an account's key.")
	}
	if !who.Key.Has(core.ScopeInference) {
		return core.E(core.CodeForbidden, "This key may not call models. Ask the operator of the gateway for one that may.")
	}
	x.key = who.Key
	x.info.Account, x.info.Key = x.key.Account, x.key.ID
	return nil
}

// readBody reads the body and finds in it what routing needs. names beyond model are only looked at.
func (x *exchange) readBody() error {
	b, err := x.g.bodies.readBody(x.w, x.r, x.g.s.MaxBody)
	if err != nil {
		var e *core.Error
		if errors.As(err, &e) {
			return e
		}
		if x.r.Context().Err() != nil {
			return errClientGone
		}
		return &core.Error{Code: core.CodeInvalid, Message: "The request body could not be read to its end.", Cause: err}
	}
	x.body = b
	return b.inflate(x.r.Header, x.g.s.MaxBody)
}

var errClientGone = errors.New("the client left")

// session finds the affinity key (DESIGN 4.4) and the ids that are recorded.
func (x *exchange) session(user string, cacheKey, system, messages rawjson.Value) {
	h := x.r.Header
	x.rec.Agent, x.rec.ParentAgent = clipID(h.Get("X-Claude-Code-Agent-Id")), clipID(h.Get("X-Claude-Code-Parent-Agent-Id"))
	for _, name := range [...]string{"X-Claude-Code-Session-Id", "Session_id", "X-Session-Id"} {
		if v := h.Get(name); v != "" {
			x.sess, x.rec.Session = v, clipID(v)
			return
		}
	}
	if s, ok := cacheKey.Text(); ok && s != "" {
		x.sess, x.rec.Session = s, clipID(s)
		return
	}
	if user != "" {
		x.sess, x.rec.Session = user, clipID(user)
		return
	}
	if len(x.body.buf) > 4<<10 || hasCacheMark(x.body.buf) {
		x.sess = prefixSession(system, messages)
	}
}

func clipID(s string) string {
	if len(s) > 128 {
		return s[:128]
	}
	return s
}

// end settles an admitted request, saves what was learnt of nodes, and frees the body. It runs once, also after a panic.
func (x *exchange) end() {
	x.freeBody()
	ctx := detached(x.r)
	for _, n := range x.touched {
		if err := x.g.o.Health.Save(ctx, n); err != nil {
			x.g.o.Log.Warn("node state not saved", "request_id", x.info.ID, "error", err)
		}
	}
	if k := x.state; k != nil {
		x.state = nil
		k.free()
	}
	if x.admitted && !x.done {
		x.settle(ctx)
	}
}

func (x *exchange) settle(ctx context.Context) {
	x.done = true
	rec := &x.rec
	rec.RequestID, rec.Account, rec.Key = x.info.ID, x.key.Account, x.key.ID
	rec.Endpoint, rec.Dialect = x.ep.name, x.client.name
	rec.StartedAt, rec.EndedAt = x.info.Start.UTC(), x.g.o.Now().UTC()
	if x.info.Client.IsValid() {
		rec.ClientAddr = x.info.Client.String()
	}
	if rec.Status == 0 { // a panic got here
		rec.Status, rec.ErrorCode = http.StatusInternalServerError, string(core.CodeInternal)
	}
	x.info.Attempts, x.info.Tokens, x.info.Node = rec.Attempts, rec.Tokens, rec.NodeName
	if rec.ErrorCode != "" {
		x.info.ErrorCode = rec.ErrorCode
	}
	err := x.g.o.Admission.Settle(ctx, store.SettleRequest{ID: rec.RequestID, Account: rec.Account, Subjects: x.subjectList(), Record: *rec})
	if err != nil {
		x.g.o.Log.Error("usage not stored", "request_id", rec.RequestID, "account", rec.Account, "key", rec.Key,
			"tokens_in", rec.Tokens.TotalInput(), "tokens_out", rec.Tokens.Output, "error", err)
	}
}

// subjectList is who is limited: the key, and the account where it has limits of its own.
func (x *exchange) subjectList() []store.Subject {
	if x.subjects[1].Kind == "" {
		return x.subjects[:1]
	}
	return x.subjects[:]
}

// admit takes the request through the store: trip 1.
func (x *exchange) admit() error {
	ctx, d := x.r.Context(), x.g.o.Directory
	for try := 0; ; try++ {
		if x.name != "" && !router.Allowed(x.key.Models, x.name) {
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
		now := x.g.o.Now()
		res, err := x.g.o.Admission.Admit(ctx, store.AdmitRequest{Now: now, ID: x.info.ID, Account: x.key.Account,
			Subjects: x.subjectList(), LeaseEnd: now.Add(leaseFor), Zone: x.g.s.Zone})
		if err == nil {
			x.admitted, x.figures = true, res.Figures
			if res.Generation != 0 && res.Generation != acct.Generation {
				if acct, err = d.Account(ctx, x.key.Account, res.Generation); err != nil {
					return x.noAccount(err)
				}
				x.account = acct
			}
			return nil
		}
		var refused *store.Refusal
		switch {
		case errors.As(err, &refused):
			x.figures = refused.Figures
			x.limitHeaders(x.w.Header())
			return refusal(refused)
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

// maxMinuteWait is the longest retry-after of a per-minute limit: at 60 clients give up (D16).
const maxMinuteWait = 59 * time.Second

func refusal(r *store.Refusal) error {
	who := "This API key"
	if r.Subject == store.KindAccount {
		who = "This account"
	}
	e := &core.Error{Code: core.CodeRateLimited, RetryAfter: r.RetryAfter}
	if e.RetryAfter <= 0 {
		e.RetryAfter = time.Second
	}
	if r.Limit == store.LimitRPM {
		e.RetryAfter = min(e.RetryAfter, maxMinuteWait)
	}
	e.Message = who + " has reached its limit of " + itoa(r.Max) + " " + string(r.Limit) + ". Try again in " + itoa(seconds(e.RetryAfter)) + "s."
	return e
}

// limitHeaders sets our rate-limit headers, for limits that the key or account has; the tighter of the two counts.
func (x *exchange) limitHeaders(h http.Header) {
	var best *store.Figure
	for i := range x.figures {
		f := &x.figures[i]
		if f.Limit == store.LimitRPM && (best == nil || f.Remaining < best.Remaining) {
			best = f
		}
	}
	if best == nil {
		return
	}
	if x.client.openAI() {
		h["X-Ratelimit-Limit-Requests"] = []string{itoa(best.Max)}
		h["X-Ratelimit-Remaining-Requests"] = []string{itoa(max(0, best.Remaining))}
		h["X-Ratelimit-Reset-Requests"] = []string{itoa(max(0, seconds(best.Reset.Sub(x.g.o.Now())))) + "s"}
		return
	}
	h["Anthropic-Ratelimit-Requests-Limit"] = []string{itoa(best.Max)}
	h["Anthropic-Ratelimit-Requests-Remaining"] = []string{itoa(max(0, best.Remaining))}
	h["Anthropic-Ratelimit-Requests-Reset"] = []string{best.Reset.UTC().Format(time.RFC3339)}
}

// fail answers with one of our own errors and notes it in the record.
func (x *exchange) fail(err error) {
	if errors.Is(err, errClientGone) {
		if x.interrupted().done {
			return
		}
		err = stopping()
	}
	e := x.clientError(err)
	if e.Code == core.CodeInternal {
		x.g.o.Log.Error("request failed", "request_id", x.info.ID, "error", err)
	}
	x.rec.Status, x.rec.ErrorCode = e.Code.Status(), string(e.Code)
	WriteError(x.w, x.r, e)
}

// statusGone is what a request is recorded with whose client left before it was answered.
const statusGone = 499

func (x *exchange) gone() {
	if x.rec.Status == 0 {
		x.rec.Status = statusGone
	}
	x.rec.ErrorCode = "client_gone"
	x.info.ErrorCode = x.rec.ErrorCode
	if x.rec.Attempts > 0 && x.rec.Tokens == (core.Tokens{}) {
		x.rec.Estimated = true // the upstream may bill what it never told us
	}
}
