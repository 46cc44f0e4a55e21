package upstreamtest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// OIDC is a running fake of AWS's token service (SSO OIDC): RegisterClient,
// StartDeviceAuthorization and CreateToken as the official SDK, service/ssooidc,
// speaks them: restJson1 with camelCase members, the error's shape in the header
// X-Amzn-ErrorType. All methods are safe for concurrent use.
//
// The script of [OIDC.Queue], [OIDC.Default] and [OIDC.Respond] is for POST
// /token, [OIDC.QueueOperation] for the others. [Reply] is the normal answer:
// with [Behaviour.Pause] before the headers a slow one, with [Behaviour.Cut]
// there a request that was never worked on, and after the headers one that was,
// though its answer is lost. A [Status] has the service's shape, with the error
// code that belongs to it or [Behaviour.ErrorCode].
type OIDC struct {
	fake
	ops   opQueue
	state oidcState
}

type oidcState struct {
	mu      sync.Mutex
	now     func() time.Time
	clients map[string]*oidcClient
	devices []*device
	refresh map[string]*oidcLogin // by refresh token
	access  map[string]time.Time  // when it expires
	script  oidcScript
	counts  struct{ refreshes, polls int }
}

// oidcScript is what the setters change.
type oidcScript struct {
	pending   int // polls until a device is approved by itself; below 0: never
	slow      int // polls that are told to slow down
	expires   time.Duration
	interval  int
	rotation  Rotation
	afterHook func(Issued)
}

type oidcClient struct{ secret string }

// oidcLogin is what refresh tokens belong to.
type oidcLogin struct{ client string }

// Login is a login that the fake knows, as a node's credential has it.
type Login struct {
	ClientID, ClientSecret, RefreshToken, AccessToken string
}

// Issued is an answer of /token.
type Issued struct {
	Grant                     string // refresh_token or device_code
	Used                      string // the refresh token or device code that was sent
	ClientID                  string
	AccessToken, RefreshToken string
	ExpiresIn                 time.Duration
}

// Rotation is what becomes of a refresh token that was used.
type Rotation uint8

// The ways of [OIDC.SetRotation].
const (
	Rotate     Rotation = iota // a new one comes with the answer, the old one is void
	RotateKeep                 // the same one comes with the answer
	RotateOmit                 // none comes with the answer, the old one stays
)

// StartOIDC starts a fake that serves until Close. It fails only if it cannot
// listen. [WithKey], [WithModels] and the like have no meaning for it.
func StartOIDC(opts ...Option) (*OIDC, error) {
	o := &OIDC{}
	o.reset()
	if err := o.start(o, nil, opts); err != nil {
		return nil, err
	}
	return o, nil
}

// Reset forgets the requests received, all that was issued, and the script: the
// fake is as if just started.
func (o *OIDC) Reset() {
	o.fake.Reset()
	o.ops.reset()
	o.reset()
}

func (o *OIDC) reset() {
	s := &o.state
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now, s.clients, s.devices = time.Now, map[string]*oidcClient{}, nil
	s.refresh, s.access = map[string]*oidcLogin{}, map[string]time.Time{}
	s.script = oidcScript{pending: -1, expires: time.Hour, interval: 1}
	s.counts.refreshes, s.counts.polls = 0, 0
}

func (o *OIDC) change(f func(*oidcState)) {
	o.state.mu.Lock()
	defer o.state.mu.Unlock()
	f(&o.state)
}

// SetClock makes now the clock by which tokens and device codes expire.
func (o *OIDC) SetClock(now func() time.Time) { o.change(func(s *oidcState) { s.now = now }) }

// SetExpiry sets for how long access tokens are valid, in whole seconds; the
// default is an hour.
func (o *OIDC) SetExpiry(d time.Duration) { o.change(func(s *oidcState) { s.script.expires = d }) }

// SetInterval sets the seconds between polls that device authorizations ask for;
// the default is 1. The fake does not insist on them: see [OIDC.SlowDown].
func (o *OIDC) SetInterval(seconds int) {
	o.change(func(s *oidcState) { s.script.interval = seconds })
}

// SetRotation sets what becomes of refresh tokens; the default is [Rotate].
func (o *OIDC) SetRotation(r Rotation) { o.change(func(s *oidcState) { s.script.rotation = r }) }

// AfterToken sets a hook that is called after tokens were issued and, if one was
// used, the refresh token was rotated, but before the answer's first byte: the
// place to end a client that would otherwise receive them. nil removes it.
func (o *OIDC) AfterToken(hook func(Issued)) {
	o.change(func(s *oidcState) { s.script.afterHook = hook })
}

// QueueOperation adds behaviours for the next valid requests of RegisterClient
// or StartDeviceAuthorization, one each.
func (o *OIDC) QueueOperation(operation string, b ...Behaviour) { o.ops.add(operation, b) }

// Login makes a client and a login of it, as a finished device flow leaves them.
func (o *OIDC) Login() Login {
	l := Login{ClientID: o.newID("client-"), ClientSecret: o.newID("secret-"), RefreshToken: o.newID("aorAAAAAG"), AccessToken: o.newID("aoaAAAAAG")}
	o.AddLogin(l)
	return l
}

// AddLogin makes the fake know a login. Its access token, if it has one, is
// valid for as long as new ones.
func (o *OIDC) AddLogin(l Login) {
	o.change(func(s *oidcState) {
		s.clients[l.ClientID] = &oidcClient{l.ClientSecret}
		s.refresh[l.RefreshToken] = &oidcLogin{l.ClientID}
		if l.AccessToken != "" {
			s.access[l.AccessToken] = s.now().Add(s.script.expires)
		}
	})
}

// Valid tells whether an access token was issued and has neither expired nor
// been revoked, for [AmazonQ.SetTokens].
func (o *OIDC) Valid(accessToken string) bool {
	o.state.mu.Lock()
	defer o.state.mu.Unlock()
	until, ok := o.state.access[accessToken]
	return ok && o.state.now().Before(until)
}

// Revoke makes tokens of either kind void.
func (o *OIDC) Revoke(tokens ...string) {
	o.change(func(s *oidcState) {
		for _, t := range tokens {
			delete(s.access, t)
			delete(s.refresh, t)
		}
	})
}

// RevokeAccess makes all access tokens void, as if they had expired.
func (o *OIDC) RevokeAccess() { o.change(func(s *oidcState) { clear(s.access) }) }

// ForgetClients makes all registered clients unknown, as expired ones are.
func (o *OIDC) ForgetClients() { o.change(func(s *oidcState) { clear(s.clients) }) }

// Refreshes tells how many refreshes were granted.
func (o *OIDC) Refreshes() int {
	o.state.mu.Lock()
	defer o.state.mu.Unlock()
	return o.state.counts.refreshes
}

// Polls tells how often a device code was asked for its tokens.
func (o *OIDC) Polls() int {
	o.state.mu.Lock()
	defer o.state.mu.Unlock()
	return o.state.counts.polls
}

func (o *OIDC) maxBody(string) int64 { return 1 << 20 }

func (o *OIDC) setLimits(http.Header) {}

// variant has no meaning but for the actions of a Behaviour, which are the same
// in all forms that are no stream.
func (o *OIDC) variant(*exchange) variant { return variantAnthropic }

func (o *OIDC) render(*exchange, *plan, *op, bool) []byte { return nil }

func (o *OIDC) body(x *exchange, _ *plan) []byte { return append(x.buf[:0], x.token...) }

// oidcError is an error of the service by its OAuth code.
type oidcError struct {
	status            int
	shape, code, text string
}

// oidcErrorOf is the error of a code.
func oidcErrorOf(code, text string) *oidcError {
	e := &oidcError{http.StatusBadRequest, "", code, text}
	switch code {
	case "authorization_pending", "slow_down", "access_denied", "invalid_grant", "invalid_request", "invalid_scope",
		"invalid_client_metadata", "unauthorized_client", "unsupported_grant_type", "invalid_redirect_uri":
		for word := range strings.SplitSeq(code, "_") {
			e.shape += strings.ToUpper(word[:1]) + word[1:]
		}
		e.shape += "Exception"
	case "expired_token":
		e.shape = "ExpiredTokenException"
	case "invalid_client":
		e.status, e.shape = http.StatusUnauthorized, "InvalidClientException"
	default:
		e.status, e.shape, e.code = http.StatusInternalServerError, "InternalServerException", "server_error"
	}
	return e
}

func (e *oidcError) append(dst []byte) []byte {
	dst = appendString(append(dst, `{"error":`...), e.code)
	return append(appendNullable(append(dst, `,"error_description":`...), e.text), '}')
}

func (x *exchange) refuseOIDC(e *oidcError) {
	x.w.Header()["X-Amzn-Errortype"] = []string{e.shape}
	x.answer(e.status, e.append(x.buf[:0]))
}

func (o *OIDC) fault(x *exchange, s *spec, f *fault) {
	code := f.code
	if code == "" {
		code = f.errType
	}
	if code == "" && f.status < 500 && f.status != 0 {
		code = map[int]string{401: "invalid_client", 403: "access_denied"}[f.status]
		if code == "" {
			code = "invalid_request"
		}
	}
	e := oidcErrorOf(code, f.message)
	if f.status != 0 {
		e.status = f.status
	}
	x.setHeaders(s)
	x.refuseOIDC(e)
}

func (o *OIDC) serve(x *exchange) {
	x.w.Header()["X-Amzn-Requestid"] = []string{uuid(o.nextID())}
	var in oidcRequest
	switch path := x.req.Path; {
	case x.req.Method != http.MethodPost || x.req.RawQuery != "" || path != "/client/register" && path != "/device_authorization" && path != "/token":
		x.w.Header()["X-Amzn-Errortype"] = []string{"UnknownOperationException"}
		x.answer(http.StatusNotFound, []byte(`{"message":null}`))
	case x.req.Header.Get("Content-Type") != "application/json" || x.tooLarge || json.Unmarshal(x.req.Body, &in) != nil:
		x.refuseOIDC(oidcErrorOf("invalid_request", "The body is no JSON object of the operation's members: "+strconv.Itoa(len(x.req.Body))+" bytes"))
	case path == "/token":
		x.normally(o.script.next(x.req), func() (int, []byte) { return x.outcome(o.createToken(in)) })
	case path == "/client/register":
		x.normally(o.ops.next("RegisterClient"), func() (int, []byte) { return x.outcome(o.register(in)) })
	default:
		x.normally(o.ops.next("StartDeviceAuthorization"), func() (int, []byte) { return x.outcome(o.authorize(in)) })
	}
}

// outcome is the answer of an operation.
func (x *exchange) outcome(v any, e *oidcError) (int, []byte) {
	if e != nil {
		x.w.Header()["X-Amzn-Errortype"] = []string{e.shape}
		return e.status, e.append(nil)
	}
	return http.StatusOK, mustJSON(v)
}
