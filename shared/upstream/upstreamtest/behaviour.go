package upstreamtest

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Behaviour is how one request for a reply is answered, in the form of the
// fake and the path it was sent to. Make one with [Reply],
// [Events], [Status], [Raw] and their kin; the zero value is a short text
// reply. Values are immutable and safe for concurrent and repeated use: every
// method returns a changed copy. What is costly to render is rendered once for
// each value, so keep one rather than building it anew for each request.
type Behaviour struct {
	spec *spec
}

type kind uint8

const (
	kindReply kind = iota
	kindStatus
	kindRaw
	kindWire
	kindFunc
)

type settings struct {
	kind        kind
	blocks      []Block
	usage       Usage
	usageGiven  bool
	stop        string
	stopSeq     string
	stopDetails string
	every       time.Duration
	pingEvery   int
	noPing      bool
	actions     []action
	header      [][2]string
	crlf        bool
	split       int
	batch       int
	noUsage     bool
	noStart     bool
	interleave  bool
	percent     float64 // of contextUsageEvent; 0: none
	cutBytes    bool
	cutAt       int // bytes of the stream, if cutBytes
	cutEnd      End
	status      int // of Raw
	fault       fault
	chunks      [][]byte
	rawHeader   http.Header
	choose      func(Request) Behaviour
}

type spec struct {
	settings
	plans [variants]struct { // one for each form that was asked for
		once sync.Once
		made *plan
	}
}

// Point is a place in an answer.
type Point int

// The fixed points; [AfterDeltas] gives those between the start and the end of
// a stream. For an answer that is not streamed, [AfterStart] and all later
// points are the middle of the JSON body. For [Raw], whose chunks count as
// deltas, [AfterStart], [BeforeStop] and [AfterStop] are the end of the body.
const (
	BeforeHeaders Point = -5 // the request is read, nothing is sent
	AfterHeaders  Point = -4 // status and headers are sent
	AfterStart    Point = -3 // message_start is sent
	BeforeStop    Point = -2 // all but message_stop is sent
	AfterStop     Point = -1 // message_stop is sent, the body not ended
)

// AfterDeltas is the point after the k-th content_block_delta of the answer,
// counted from 1 over all blocks. Past the last one it is just before
// message_delta.
func AfterDeltas(k int) Point {
	if k < 1 {
		return AfterStart
	}
	return Point(k)
}

// End is how a cut answer ends on the wire.
type End uint8

// The ends of a cut answer. Before the headers all but EndReset close the
// connection without a byte.
const (
	EndClean End = iota // the HTTP body ends properly: only the protocol's own end is missing
	EndClose            // the connection is closed (FIN) in the middle of the body
	EndReset            // the connection is reset (RST)
)

type action struct {
	at     Point
	kind   opKind
	data   []byte
	pause  time.Duration
	end    End
	inside bool
	fault  fault
}

// Reply answers with a message of the given blocks: streamed if the request
// asks for it, else as one JSON object. The model is echoed as asked. The stop
// reason is tool_use if the last block is one, else end_turn. The default
// usage is 10 tokens in and one token out for each delta.
func Reply(blocks ...Block) Behaviour {
	return Behaviour{&spec{settings: settings{kind: kindReply, blocks: append([]Block(nil), blocks...)}}}
}

// Events is a reply of n text deltas ("tok0 ", "tok1 ", ...), each a different
// text so that loss and doubling show. The stream has n+6 events: see
// [Behaviour.NoPing].
func Events(n int) Behaviour { return EventsSized(n, 0) }

// EventsSized is [Events] with every delta's text padded to size bytes.
func EventsSized(n, size int) Behaviour {
	deltas := make([]string, n)
	for i := range deltas {
		text := "tok" + strconv.Itoa(i) + " "
		if pad := size - len(text); pad > 0 {
			text += strings.Repeat("x", pad)
		}
		deltas[i] = text
	}
	return Reply(Text(deltas...))
}

// HugeEvent is a reply of one text delta of n MiB: one very long line.
func HugeEvent(n int) Behaviour {
	return Reply(Text(strings.Repeat("x", n<<20)))
}

// Func decides for each request: choose is called with the request, whose Body
// is valid only during the answer if recording is off. The methods of Behaviour
// do nothing to a Func: apply them to what choose returns.
func Func(choose func(Request) Behaviour) Behaviour {
	return Behaviour{&spec{settings: settings{kind: kindFunc, choose: choose}}}
}

func (b Behaviour) with(change func(*settings)) Behaviour {
	if b.spec == nil {
		b = shortReply()
	}
	s := &spec{settings: b.spec.settings}
	// Copied so that two values made from one never share a backing array.
	s.actions = append([]action(nil), s.actions...)
	s.header = append([][2]string(nil), s.header...)
	change(&s.settings)
	return Behaviour{s}
}

func shortReply() Behaviour { return Reply(Text("Hello", " there", "!")) }

// Usage sets the reply's usage.
func (b Behaviour) Usage(u Usage) Behaviour {
	return b.with(func(s *settings) { s.usage, s.usageGiven = u, true })
}

// NoUsage leaves the usage out in the OpenAI forms, as some compatible services
// do even when asked, and metadataEvent in that of [AmazonQ].
func (b Behaviour) NoUsage() Behaviour {
	return b.with(func(s *settings) { s.noUsage = true })
}

// Stop sets the reply's stop_reason or finish_reason. The OpenAI forms take the
// names of both APIs; length and content_filter make a response incomplete.
func (b Behaviour) Stop(reason string) Behaviour {
	return b.with(func(s *settings) { s.stop = reason })
}

// StopSequence sets stop_sequence, and the stop_reason of that name.
func (b Behaviour) StopSequence(seq string) Behaviour {
	return b.with(func(s *settings) { s.stop, s.stopSeq = "stop_sequence", seq })
}

// Refusal sets stop_reason refusal and its stop_details.
func (b Behaviour) Refusal(category, explanation string) Behaviour {
	return b.with(func(s *settings) {
		s.stop = "refusal"
		s.stopDetails = `{"type":"refusal","category":` + quote(category) + `,"explanation":` + quote(explanation) + `}`
	})
}

// Every pauses d between two deltas of a stream, or two chunks of [Raw] and
// [Wire]. It does not slow an answer that is not streamed.
func (b Behaviour) Every(d time.Duration) Behaviour {
	return b.with(func(s *settings) { s.every = d })
}

// Ping adds a ping after every n-th delta, in the OpenAI forms [PingComment].
func (b Behaviour) Ping(n int) Behaviour {
	return b.with(func(s *settings) { s.pingEvery = n })
}

// NoPing leaves out the ping that the API sends after the first
// content_block_start.
func (b Behaviour) NoPing() Behaviour {
	return b.with(func(s *settings) { s.noPing = true })
}

// Pause waits d at the point. Several pauses and injections at one point
// happen in the order in which they were added.
func (b Behaviour) Pause(at Point, d time.Duration) Behaviour {
	return b.do(action{at: at, kind: opPause, pause: d})
}

// Silence says nothing more from the point on, and holds the connection open
// until the client leaves or the fake is closed.
func (b Behaviour) Silence(at Point) Behaviour {
	return b.do(action{at: at, kind: opSilence})
}

// Cut ends the answer at the point, in a stream at an event boundary.
func (b Behaviour) Cut(at Point, end End) Behaviour {
	return b.do(action{at: at, kind: opCut, end: end})
}

// CutBytes ends a stream after n bytes of its body, wherever in an event that is.
// It does nothing in an answer that is not streamed, or is shorter.
func (b Behaviour) CutBytes(n int, end End) Behaviour {
	return b.with(func(s *settings) { s.cutBytes, s.cutAt, s.cutEnd = true, max(n, 0), end })
}

// CutInside is [Behaviour.Cut] after half of the event that follows the point.
func (b Behaviour) CutInside(at Point, end End) Behaviour {
	return b.do(action{at: at, kind: opCut, end: end, inside: true})
}

// ErrorAt sends an error event at the point of a stream and ends it properly,
// as the API does when it fails after status 200: in Responses response.failed,
// with the type for its code, of [AmazonQ] and [Bedrock] an exception frame. Before the
// headers, and in an answer that is not streamed, it is an error of the status
// that belongs to the type.
func (b Behaviour) ErrorAt(at Point, errType, message string) Behaviour {
	return b.do(action{at: at, kind: opError, fault: fault{errType: errType, message: message}})
}

// Inject sends the text, which is whole events such as [Event] makes, at the
// point of a stream. It does nothing in an answer that is not streamed.
func (b Behaviour) Inject(at Point, events string) Behaviour {
	return b.do(action{at: at, kind: opWrite, data: []byte(events)})
}

func (b Behaviour) do(a action) Behaviour {
	return b.with(func(s *settings) { s.actions = append(s.actions, a) })
}

// NoStart leaves out what [AmazonQ] sends before the first piece of an answer:
// initial-response and messageMetadataEvent.
func (b Behaviour) NoStart() Behaviour {
	return b.with(func(s *settings) { s.noStart = true })
}

// Interleave makes [AmazonQ] send the fragments of adjacent tool uses in turns
// instead of one tool after the other. It does nothing in the other forms.
func (b Behaviour) Interleave() Behaviour {
	return b.with(func(s *settings) { s.interleave = true })
}

// ContextUsage makes [AmazonQ] send contextUsageEvent, as Kiro's hosts do, with
// the share of the context window that is used, in percent. 0 is none.
func (b Behaviour) ContextUsage(percent float64) Behaviour {
	return b.with(func(s *settings) { s.percent = percent })
}

// Header sets a response header, over one that the fake sets itself; an empty
// value removes it.
func (b Behaviour) Header(name, value string) Behaviour {
	return b.with(func(s *settings) { s.header = append(s.header, [2]string{name, value}) })
}

// CRLF ends the lines of a stream with CR LF.
func (b Behaviour) CRLF() Behaviour {
	return b.with(func(s *settings) { s.crlf = true })
}

// Split sends a stream in TCP writes of at most n bytes, so that events are
// torn apart.
func (b Behaviour) Split(n int) Behaviour {
	return b.with(func(s *settings) { s.split = n })
}

// Batch sends n events of a stream in one TCP write; below 0 it sends all that
// lie between two pauses.
func (b Behaviour) Batch(n int) Behaviour {
	return b.with(func(s *settings) { s.batch = n })
}
