package main

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// The accounts of a run.
const (
	accountMain   = "main"   // five nodes, one of them always good
	accountDark   = "dark"   // two nodes that never answer: what its requests cost the upstreams is bounded by the retry budget
	accountNarrow = "narrow" // one node that has short limits: they are waited out
)

// How a request ended for its client.
const (
	endWhole  = "whole"  // a proper end
	endEvent  = "event"  // an error event in the client's dialect, inside a stream
	endStatus = "status" // an HTTP status of 400 or more with an error in the client's dialect
	endBroken = "broken" // anything else: the connection broke, or what came was not to be read
)

// request is one request of a client, and what came of it.
type request struct {
	planned
	Began, Ended time.Time
	ID           string // the gateway's
	Node         string // that X-Proxy-Node names
	End          string
	Status       int
	Error        string
	Text         string
	Input        int64 // tokens as the client was told, all classes
	Output       int64

	onText func() // hears of the content as it comes; nil: nobody does
	direct bool   // it is sent to an upstream
}

// usage is what an upstream says an answer cost.
type usage struct{ Input, CacheRead, Output int64 }

// attempt is a request as it reached a fake upstream.
type attempt struct {
	Marker  string // of the client's request; empty: a health check's
	Node    string
	Model   string // that the node was asked for
	At      time.Time
	Fault   string // what the node did; faultNone: it answers
	Answer  string // the id of its answer, if the whole or a part of it is sent
	Usage   usage
	Limit   time.Time // of a 429: until when
	Whole   bool      // the answer was sent to its end
	Pending bool      // it had not ended when the node was last looked at
}

// death is a time during which nothing listened at a node's address.
type death struct {
	Node     string
	From, To time.Time // To is zero when it stayed so
	Quiet    time.Time // when its script has the next fault after To; zero: never
}

// failure is a line "attempt failed" of a gateway.
type failure struct {
	Gateway   int
	At        time.Time
	RequestID string
	Node      string
	Reason    string
}

// record is a usage record as the admin API shows it.
type record struct {
	Gateway   int // that told of it
	RequestID string
	Node      string
	Usage     usage
	Code      string // of an error
	Success   bool
	Estimated bool
	Attempts  int
}

// process is what is known of a gateway's process.
type process struct {
	Early          string // how it ended before it was told to; empty: it did not
	Before, After  int    // open descriptors, without those to its store
	Pool           int    // connections to its store, after
	MemoryMB       int
	Errors         int    // in its log
	Crash          string // likewise; empty: none
	Exit           string // how it ended when told to; empty: well
	Stop           time.Duration
	Drained, Asked int // streams under way when it was told to end: those that came whole
}

// ledger is all that a run saw. It is safe for concurrent use while the run lasts.
type ledger struct {
	Store    string
	Shared   bool // the gateways share one store
	Interval time.Duration
	Fails    int // failures that make a node failed
	Gateways int
	Kinds    map[string]string // of the main account's nodes
	Good     string            // the one of them that is always good

	mu       sync.Mutex
	requests []*request
	attempts []*attempt
	deaths   []*death
	failures []failure
	away     map[string]bool // the ids of requests that the gateways' logs say the store failed
	records  []record
	sums     map[string]int64      // of the summary: requests, input, output
	index    map[string][]*attempt // by marker; made by the checks
	procs    []process
}

func (l *ledger) addRequest(r *request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests = append(l.requests, r)
}

func (l *ledger) addAttempt(a *attempt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.attempts = append(l.attempts, a)
}

// pieces is how many deltas a streamed answer has.
const pieces = 6

// answerPieces are the deltas of an answer: they carry its id and count, so that loss, doubling and mixing show.
func answerPieces(id string) []string {
	out := make([]string, 0, pieces)
	out = append(out, "["+id+" ")
	for i := 1; i < pieces-1; i++ {
		out = append(out, fmt.Sprintf("%s.%d ", id, i))
	}
	return append(out, id+"]")
}

// answerText is a whole answer.
func answerText(id string) string { return strings.Join(answerPieces(id), "") }

// marker finds the mark of a request, which begins with "mark-" and ends before the next blank, quote or backslash.
func marker(body string) string {
	i := strings.Index(body, "mark-")
	if i < 0 {
		return ""
	}
	rest := body[i:]
	if j := strings.IndexAny(rest, " \"\\"); j >= 0 {
		rest = rest[:j]
	}
	return rest
}
