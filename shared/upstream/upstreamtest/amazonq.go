package upstreamtest

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// AmazonQ is a running fake of Amazon Q Developer's endpoint, and of Kiro's: the
// operations GenerateAssistantResponse, SendMessage, ListAvailableModels,
// GetUsageLimits and ListAvailableProfiles of awsJson1.0, POST to the root. All
// methods are safe for concurrent use.
//
// Replies are event-stream frames. [AfterStart] is after initial-response and
// messageMetadataEvent; [AfterDeltas] counts pieces of text, reasoning and tool
// input, and past the last one is before metadataEvent; [BeforeStop] is before
// meteringEvent, the last one. The protocol has no end of its own: an answer cut
// at an event with [EndClean] is whole. Stop reasons and pings have no place in
// this form.
type AmazonQ struct {
	fake
	ops   opQueue
	state amazonQState
}

// amazonQState is what a test can change while the fake runs.
type amazonQState struct {
	mu       sync.Mutex
	valid    func(token string) bool // nil: see WithKey
	invalid  Behaviour
	models   []string
	profiles []Profile
	quota    string // JSON
	refused  []string
}

const awsJSON = "application/x-amz-json-1.0"

// WithHistory makes [AmazonQ] take at most n messages of history. The default is
// 10,000, which the official client allows itself; the service's model says 250.
func WithHistory(n int) Option { return func(o *options) { o.history = n } }

// WithInputLimit makes [AmazonQ] refuse bodies of more than n bytes as input
// that is too long for the model; by default only its fields have limits.
func WithInputLimit(n int) Option { return func(o *options) { o.inputLimit = n } }

// StartAmazonQ starts a fake that serves until Close. It fails only if it
// cannot listen.
func StartAmazonQ(opts ...Option) (*AmazonQ, error) {
	q := &AmazonQ{}
	q.json = []string{awsJSON}
	q.fake.eventStream = []string{EventStreamType}
	models := []string{"auto", "claude-opus-4.6", "claude-sonnet-4.6", "claude-opus-4.5", "claude-sonnet-4.5", "claude-sonnet-4", "claude-haiku-4.5"}
	if err := q.start(q, models, opts); err != nil {
		return nil, err
	}
	q.reset()
	return q, nil
}

// Reset forgets the requests received, the script, and all that the Set methods
// have changed: the fake is as if just started.
func (q *AmazonQ) Reset() {
	q.fake.Reset()
	q.ops.reset()
	q.reset()
}

func (q *AmazonQ) reset() {
	s := &q.state
	s.mu.Lock()
	defer s.mu.Unlock()
	s.valid, s.invalid, s.refused = nil, TokenInvalid(http.StatusForbidden), nil
	s.models, s.profiles, s.quota = q.models, defaultProfiles(), defaultQuota()
}

// SetTokens sets which access tokens are valid; [OIDC.Valid] is such a function.
// nil is the one of [WithKey], or without it any.
func (q *AmazonQ) SetTokens(valid func(token string) bool) {
	q.state.mu.Lock()
	defer q.state.mu.Unlock()
	q.state.valid = valid
}

// AllowTokens makes exactly these access tokens valid.
func (q *AmazonQ) AllowTokens(tokens ...string) {
	tokens = slices.Clone(tokens)
	q.SetTokens(func(token string) bool { return slices.Contains(tokens, token) })
}

// SetInvalid sets the answer to a token that is not valid, which by default is
// [TokenInvalid] with 403.
func (q *AmazonQ) SetInvalid(b Behaviour) {
	q.state.mu.Lock()
	defer q.state.mu.Unlock()
	q.state.invalid = b
}

// SetModels sets the ids of the models that exist, the default one first.
func (q *AmazonQ) SetModels(ids ...string) {
	q.state.mu.Lock()
	defer q.state.mu.Unlock()
	q.state.models = slices.Clone(ids)
}

// QueueOperation adds behaviours for the next valid requests of an operation of
// the control plane, such as GetUsageLimits, one each. A [Reply] is the normal
// answer, with the behaviour's actions before the headers.
func (q *AmazonQ) QueueOperation(operation string, b ...Behaviour) { q.ops.add(operation, b) }

// Refused returns why requests were refused by the checks, in order. The
// service itself says no more than "Improperly formed request."
func (q *AmazonQ) Refused() []string {
	q.state.mu.Lock()
	defer q.state.mu.Unlock()
	return slices.Clone(q.state.refused)
}

// Conversations is Requests for the requests for replies alone.
func (q *AmazonQ) Conversations() []Request {
	return slices.DeleteFunc(q.posts("/"), func(r Request) bool {
		return r.Target() != "GenerateAssistantResponse" && r.Target() != "SendMessage"
	})
}

// amazonQFields are what an answer has of its request, JSON; nil if absent.
type amazonQFields struct {
	conversation, model []byte
}

// scanAmazonQ finds the fields without decoding the rest.
func scanAmazonQ(body []byte) (f amazonQFields) {
	members(body, func(key, value []byte) {
		if string(key) != `"conversationState"` {
			return
		}
		members(value, func(key, value []byte) {
			switch string(key) {
			case `"conversationId"`:
				f.conversation = value
			case `"currentMessage"`:
				members(value, func(_, value []byte) {
					members(value, func(key, value []byte) {
						if string(key) == `"modelId"` {
							f.model = value
						}
					})
				})
			}
		})
	})
	return f
}

// amazonQMessage is what helpers look at in the current message.
type amazonQMessage struct {
	Context struct {
		ToolResults []json.RawMessage `json:"toolResults"`
		Tools       []struct {
			Spec struct {
				Name string `json:"name"`
			} `json:"toolSpecification"`
		} `json:"tools"`
	} `json:"userInputMessageContext"`
}

func (m amazonQMessage) toolNames() []string {
	var names []string
	for _, t := range m.Context.Tools {
		names = append(names, t.Spec.Name)
	}
	return names
}

// currentAmazonQ reads the current message of a body that has one.
func currentAmazonQ(body []byte) (amazonQMessage, bool) {
	var b struct {
		State *struct {
			Current struct {
				User amazonQMessage `json:"userInputMessage"`
			} `json:"currentMessage"`
		} `json:"conversationState"`
	}
	if json.Unmarshal(body, &b) != nil || b.State == nil {
		return amazonQMessage{}, false
	}
	return b.State.Current.User, true
}

func (q *AmazonQ) maxBody(string) int64 { return maxBody }

func (q *AmazonQ) setLimits(h http.Header) { h["Cache-Control"] = nil }

// variant also makes the frames that differ for each request.
func (q *AmazonQ) variant(x *exchange) variant {
	id := string(x.amazonq.conversation)
	if len(id) < 3 || id[0] != '"' {
		id = `"` + uuid(q.nextID()) + `"`
	}
	x.head[slotInitial[0]] = initialFrame(`{"conversationId":` + id + `}`)
	x.head[slotMetadata[0]] = []byte(Frame("messageMetadataEvent", `{"conversationId":`+id+`,"utteranceId":"`+uuid(q.nextID())+`"}`))
	return variantAmazonQ
}

func (q *AmazonQ) render(x *exchange, _ *plan, step *op, _ bool) []byte {
	x.buf = step.parts.append(x.buf[:0], &x.head)
	return x.buf
}

func (q *AmazonQ) body(x *exchange, _ *plan) []byte { return append(x.buf[:0], x.token...) }

// uuid makes n look like one.
func uuid(n uint64) string {
	h := hex.EncodeToString(appendID(nil, "", n)[2:18])
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:32]
}

func (q *AmazonQ) serve(x *exchange) {
	x.w.Header()["X-Amzn-Requestid"] = []string{uuid(q.nextID())}
	service, operation, _ := strings.Cut(x.req.Header.Get("X-Amz-Target"), ".")
	switch {
	case x.tooLarge:
		q.fault(x, nil, &fault{status: http.StatusRequestEntityTooLarge})
	case x.req.Path != "/" || x.req.Method != http.MethodPost:
		q.refuse(x, qUnknownOperation(), "not POST /: "+x.req.Method+" "+x.req.Path)
	case !knownTarget(service, operation):
		q.refuse(x, qUnknownOperation(), "X-Amz-Target "+strconv.Quote(x.req.Header.Get("X-Amz-Target")))
	case q.validating && x.req.Header.Get("Content-Type") != awsJSON:
		q.refuse(x, qUnknownOperation(), "Content-Type "+strconv.Quote(x.req.Header.Get("Content-Type")))
	case !q.authorized(x):
	case operation == "GenerateAssistantResponse" || operation == "SendMessage":
		q.converse(x, operation)
	default:
		q.control(x, operation)
	}
}

func qUnknownOperation() qError {
	return qError{http.StatusNotFound, "UnknownOperationException", "The requested operation is not recognized by the service.", ""}
}

func knownTarget(service, operation string) bool {
	switch operation {
	case "GenerateAssistantResponse", "SendMessage":
		return service == "AmazonCodeWhispererStreamingService"
	case "ListAvailableModels", "GetUsageLimits", "ListAvailableProfiles":
		return service == "AmazonCodeWhispererService" || service == "KiroControlPlaneBearerService"
	}
	return false
}

// refuse answers what the checks found.
func (q *AmazonQ) refuse(x *exchange, e qError, cause string) {
	q.state.mu.Lock()
	q.state.refused = append(q.state.refused, cause)
	q.state.mu.Unlock()
	x.answer(e.status, e.append(x.buf[:0]))
}

func (q *AmazonQ) authorized(x *exchange) bool {
	token := bearer(x.req.Header)
	q.state.mu.Lock()
	valid, invalid := q.state.valid, q.state.invalid
	q.state.mu.Unlock()
	switch {
	case token == "":
		q.refuse(x, qError{http.StatusForbidden, "MissingAuthenticationTokenException", "Missing Authentication Token", ""}, "no bearer token")
		return false
	case valid == nil:
		valid = func(token string) bool { return q.key == "" || token == q.key }
	}
	if valid(token) {
		return true
	}
	x.play(invalid)
	return false
}

func (q *AmazonQ) converse(x *exchange, operation string) {
	x.fields.stream = []byte("true") // it is always one
	x.amazonq = scanAmazonQ(x.req.Body)
	if q.validating {
		q.state.mu.Lock()
		models := q.state.models
		q.state.mu.Unlock()
		if e, cause := q.check(x.req, operation, models); cause != "" {
			q.refuse(x, e, cause)
			return
		}
	} else if !members(x.req.Body, func([]byte, []byte) {}) {
		q.refuse(x, qSerialization(), "the body is no JSON object")
		return
	}
	x.play(q.script.next(x.req))
}

// opQueue is a script for each operation.
type opQueue struct {
	mu  sync.Mutex
	ops map[string][]Behaviour
}

func (q *opQueue) add(operation string, b []Behaviour) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ops == nil {
		q.ops = map[string][]Behaviour{}
	}
	q.ops[operation] = append(q.ops[operation], b...)
}

func (q *opQueue) next(operation string) Behaviour {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.ops[operation]
	if len(all) == 0 {
		return Behaviour{}
	}
	q.ops[operation] = all[1:]
	return all[0]
}

func (q *opQueue) reset() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ops = nil
}

// normally plays a behaviour whose Reply is what make says: the body, or a
// status and the body of an error. What make does has happened once the headers
// are sent, whatever the behaviour does then.
func (x *exchange) normally(b Behaviour, make func() (status int, body []byte)) {
	s := x.resolve(b)
	if s == nil {
		return
	}
	p := s.plan(x.f.api.variant(x))
	if s.kind != kindReply || p.failure != nil {
		x.play(Behaviour{s})
		return
	}
	if !x.run(s, p, p.before, false) {
		return
	}
	status, body := make()
	if status != http.StatusOK {
		x.setHeaders(s)
		x.answer(status, body)
		return
	}
	x.token = body
	x.whole(s, p)
}
