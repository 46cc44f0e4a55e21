// Package translator is the hub between dialects. A request becomes a Request, an answer becomes a sequence of Events that
// only a Builder makes; each dialect has a codec that reads and writes these two and knows no other dialect.
//
// The hub's form is the Anthropic Messages API: typed, indexed content blocks, thinking with signatures, cache marks. The
// other dialects are had from it by forgetting. Leaves (texts, numbers, schemas) stay the JSON they came as, so that
// absent, null and 0 stay different and nothing is decoded only to be encoded again.
//
// Nothing here opens a connection, starts a goroutine or knows a store.
//
// The package has more than 1,500 lines because the hub is one vocabulary: request, events and their grammar.
package translator

import (
	"sluice/shared/core"
	"sluice/shared/sse"
)

// Raw is a JSON value as it stood in the body it came from, without whitespace around it; nil: absent. It is a view: good
// as long as that body is.
type Raw []byte

// Front is the client's half of a dialect: it reads requests and writes answers. It is stateless and safe for concurrent use.
type Front interface {
	// Decode reads a request body that is one JSON object. The error is a *FieldError.
	Decode(body []byte) (*Request, error)
	// NewSink returns the writer of one streamed answer.
	NewSink(o ReplyOptions) Sink
	// AppendReply appends a whole answer.
	AppendReply(dst []byte, r *Reply, o ReplyOptions) []byte
	// AppendError appends an error body.
	AppendError(dst []byte, e *Error, requestID string) []byte
	// AppendErrorEvent appends an error as the last event of a stream that has no Sink: one that passed through, or
	// in which only keep-alives have gone out.
	AppendErrorEvent(dst []byte, e *Error, o ReplyOptions) []byte
	// AppendKeepAlive appends what keeps a silent stream alive. first: nothing has been sent on this stream yet.
	AppendKeepAlive(dst []byte, first bool, o ReplyOptions) []byte
	// Resume returns held, the beginning of an answer's stream, without what the first AppendKeepAlive has already said.
	Resume(held []byte) []byte
}

// Back is the upstream's half of a dialect: it writes requests and reads answers. It is stateless and safe for concurrent use.
type Back interface {
	// Encode writes the request for a target. The error is a *FieldError when the target cannot express what the
	// answer depends on.
	Encode(r *Request, t Target) (*Encoded, error)
	// NewSource returns the reader of one streamed answer.
	NewSource(b *Builder) Source
	// ReadReply reads a whole answer into b, which is ended by it. An *Error is one that the upstream reported; any
	// other error means that the body is no answer of this dialect.
	ReadReply(body []byte, b *Builder) error
	// ParseError reads an error body. It never fails: what cannot be read gets a message that tells the status alone.
	ParseError(status int, body []byte) *Error
}

// Passer is the third part of a dialect: what passes from an upstream to a client of the same dialect.
type Passer interface {
	// NewTap returns a Stream whose bytes are the upstream's own, save for what o asks to be changed.
	NewTap(o TapOptions) Stream
	// PassReply reads the usage out of a whole answer and puts the client's model name into it where o says so. The
	// errors are ReadReply's.
	PassReply(body []byte, o TapOptions) (out []byte, used Usage, estimated bool, err error)
}

// Target is what a request is encoded for.
type Target struct {
	Model string // as the node calls it
	Asked string // as the client calls it: tells what the model is where Model, such as the ARN of a profile, does not
	// Same tells that client and target are two dialects of one family (OpenAI's), which share more than the hub has.
	Same bool
	// Conversation is an id of the request's own, a UUID, for upstreams that want one; Profile is what the node has.
	Conversation string
	Profile      string
}

// Encoded is a request ready to be sent.
type Encoded struct {
	Body    []byte
	Dropped []string // fields of the client's body that the target has no place for, each once
	Tools   []string // names of tools that were left out because the target refuses them
	Enforce Enforce  // limits the target has no place for, which the Builder must hold
}

// maxDropped bounds the dropped fields that are noted: a hostile body has millions, and no one reads so many.
const maxDropped = 64

// Drop notes a dropped field, unless there are more than anyone reads.
func (e *Encoded) Drop(name string) {
	if len(e.Dropped) == maxDropped {
		return
	}
	for _, d := range e.Dropped {
		if d == name {
			return
		}
	}
	e.Dropped = append(e.Dropped, name)
}

// ReplyOptions are what an answer says besides its content.
type ReplyOptions struct {
	ID      string // the gateway's request id; ids in the answer derive from it
	Model   string // as the client named it
	Created int64  // unix seconds
	// Request is the client's; nil in an AppendErrorEvent or AppendKeepAlive that never got so far.
	Request *Request
}

// TapOptions are what a tap changes in a stream that otherwise passes.
type TapOptions struct {
	Model     string // the client's name, put in place of the node's; empty: nothing is replaced
	HideUsage bool   // the client did not ask for the usage that was asked of the upstream
	ID        string // the gateway's request id, for error events
	Created   int64  // unix seconds, likewise
}

// Source reads an upstream's stream. It belongs to one Builder.
type Source interface {
	// Event takes one event. An error means that the upstream does not speak the dialect; it is final. Errors that the
	// upstream reports go to Builder.Fail.
	Event(ev sse.Event) error
}

// Framer is a Back whose streams are not server-sent events.
type Framer interface {
	// Cut takes the first event off a batch of whole ones; false: there is none. An error means that the upstream does
	// not speak the dialect.
	Cut(batch []byte) (ev sse.Event, rest []byte, ok bool, err error)
}

// Ender is a Source of a dialect without a terminal event: its answers end where the stream ends.
type Ender interface {
	// End is told that the stream ended as a stream should. An error means that the answer was not complete.
	End() error
}

// Sink writes one streamed answer in the client's dialect.
type Sink interface {
	// Event appends what the client is sent for a hub event: nothing, or whole events.
	Event(dst []byte, e *Event) []byte
	// Fail appends the error that ends the stream.
	Fail(dst []byte, e *Error) []byte
}

// Stream turns the events of an upstream into the client's bytes: a Pipe through the hub, or a dialect's tap.
type Stream interface {
	// Batch takes whole events and returns what the client is sent for them. The bytes may be batch's own and are good
	// until the next call.
	Batch(batch []byte) []byte
	// End is told once that the upstream's stream ended as a stream should, before its terminal event: the end of an answer
	// in dialects that have none. It returns what the client is sent for it.
	End() []byte
	// Status tells how far the stream has come.
	Status() *Status
	// Fail returns the event that ends a stream which broke off. It is called at most once, and last.
	Fail(e *Error) []byte
	// Tokens returns what was used, and whether that is an estimate.
	Tokens() (t core.Tokens, estimated bool)
	// Terms returns what its price depends on besides.
	Terms() Terms
}

// Status is how far a stream has come. An Err without Content came in place of an answer.
type Status struct {
	Started bool   // the upstream began an answer
	Content bool   // there was something in it that a client would miss: no other node can take over
	Ended   bool   // the terminal event or an error event came: what follows is of no interest
	Cut     bool   // the gateway ended it itself (Enforce): the upstream need not go on
	Err     *Error // the upstream's error event
	Broken  error  // the upstream does not speak the dialect; final
}
