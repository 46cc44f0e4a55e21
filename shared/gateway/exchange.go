package gateway

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/health"
	"sluice/shared/rawjson"
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
	held     []store.Subject               // nodes that hold something for the request
	current  atomic.Pointer[store.Subject] // the one of them that is being tried: the watch renews it
	figures  []store.Figure
	unsent   bool // the body is bad: nothing of it goes to a node
	est      estimate
	priority bool // the tier "priority" of OpenAI or Bedrock answered
	full     nodeRefusals
	admitted bool
	done     bool // settled

	front  *envelope // nil: the client does not speak to Bedrock
	client *dialect  // in which the client is answered
	asked  *dialect  // in which it wrote the body: Cursor sends Responses bodies to chat
	body   *body
	model  rawjson.Value // in the body
	name   string        // of the model, as the client wrote it
	routed string        // what the account's map makes of it
	sess   string        // affinity

	options rawjson.Value // OpenAI's stream_options
	turns   bool          // the body has messages
	flags   rawjson.Value // anthropic_beta in the body
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
	trial    bool           // the attempt is a failed or degraded node's trial
	spare    bool           // and another node could answer
	brief    bool           // one pass, and no failure counts against a node
	fallback func()         // answers when no node did
	kind     core.Kind      // of the node tried last
	touched  []*health.Node // whose state may need saving
	events   []core.Event   // to be told of
	suspects []suspect
	print    uint64 // of the body; 0: not made yet
	rec      core.Settlement
	captured *captured // nil: the exchange is not kept
	trace    Trace     // nil: the request is not traced
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
		if e := refusedSignature(x.r); e != nil {
			return e
		}
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
	if core.AsError(first).Code == core.CodeUnauthenticated {
		if wait := x.g.bad.Take(x.info.Client); wait > 0 { // a good key never comes here
			return &core.Error{Code: core.CodeRateLimited, RetryAfter: min(wait, maxMinuteWait), NoRetry: true,
				Message: "Too many wrong API keys from this address. Check the key, then try again in a minute."}
		}
	}
	return first
}

func (x *exchange) authenticateAs(cred string) error {
	if len(cred) > 512 || !wellFormed(cred) {
		return core.E(core.CodeUnauthenticated, "Malformed API key: it was mistyped or cut. Check it against the one you were given.")
	}
	from := directory.Origin{Addr: x.info.Client, Direct: x.info.Direct}
	who, err := x.g.o.Directory.Authenticate(x.r.Context(), cred, from)
	if err == nil && !who.Operator && !who.Key.Has(core.ScopeInference) {
		x.g.o.Directory.Forget(who.Key) // no admission will tell that a copy which refuses is stale
		who, err = x.g.o.Directory.Authenticate(x.r.Context(), cred, from)
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
	x.info.Account, x.info.Key, x.info.KeyPrefix = x.key.Account, x.key.ID, x.key.Prefix
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
	defer x.endTrace()
	x.freeBody()
	if k := x.state; k != nil {
		x.state = nil
		k.free()
	}
	if x.admitted && !x.done {
		x.settle(detached(x.r))
	}
	ctx, cancel := context.WithTimeout(detached(x.r), afterwards) // the client waits for the end of its answer
	defer cancel()
	for _, n := range x.touched {
		if err := x.g.o.Health.SaveSoon(ctx, n); err != nil {
			x.g.o.Log.Warn("node state not saved", "request_id", x.info.ID, "error", err)
		}
	}
	if x.g.o.Events != nil {
		x.emit(ctx)
	}
	if x.captured != nil {
		x.captured.end()
	}
}

// afterwards bounds what is saved and told of a request besides its settlement: a later one says it again.
const afterwards = 3 * time.Second

func (x *exchange) settle(ctx context.Context) {
	x.done = true
	rec := &x.rec
	rec.RequestID, rec.Account, rec.Key = x.info.ID, x.key.Account, x.key.ID
	rec.Endpoint, rec.Dialect = x.ep.name, x.client.name
	if x.front.framed() {
		rec.Dialect = core.DialectBedrockInvoke
	}
	rec.StartedAt, rec.EndedAt = x.info.Start.UTC(), x.g.o.Now().UTC()
	if x.info.Client.IsValid() {
		rec.ClientAddr = x.info.Client.String()
	}
	if rec.Status == 0 { // a panic got here
		rec.Status, rec.ErrorCode = http.StatusInternalServerError, string(core.CodeInternal)
	}
	x.info.Usage = rec
	if rec.ErrorCode != "" {
		x.info.ErrorCode = rec.ErrorCode
	}
	settlement := x.settlement(ctx)
	if m := x.g.o.Metrics; m != nil {
		m.Observe(&settlement.Record, x.kind)
	}
	err := x.saveSettlement(ctx, settlement)
	if err != nil {
		x.g.o.Log.Error("usage not stored", "request_id", rec.RequestID, "account", rec.Account, "key", rec.Key,
			"tokens_in", rec.Tokens.TotalInput(), "tokens_out", rec.Tokens.Output, "error", err)
	}
	if x.kind == core.KindBedrock {
		x.g.o.Compat.Refresh(ctx, newTable)
	}
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
		x.tell(core.EventSystemError, "gateway", "", "", "The gateway failed on a request; the log tells why. Its id is "+x.info.ID+".")
	}
	x.rec.Status, x.rec.ErrorCode = statusOf(x.r, e), string(e.Code)
	WriteError(x.w, x.r, e)
}

// statusGone is what a request is recorded with whose client left before it was answered.
const statusGone = 499

func (x *exchange) gone() {
	if x.rec.Status == 0 {
		x.rec.Status = statusGone
	}
	x.rec.ErrorCode = clientGone
	x.info.ErrorCode = x.rec.ErrorCode
	if x.rec.Attempts > 0 && x.rec.Tokens == (core.Tokens{}) {
		x.rec.Estimated = true // the upstream may bill what it never told us
	}
}

// unheard counts the input of an attempt whose client left before the upstream told of any: it was asked, and may bill that.
func (x *exchange) unheard() {
	if x.rec.ErrorCode == clientGone && x.rec.Tokens == (core.Tokens{}) {
		x.noteTokens(core.Tokens{}, translator.Terms{}, true)
	}
}
