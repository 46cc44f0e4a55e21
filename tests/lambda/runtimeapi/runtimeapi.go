// Package runtimeapi is a fake of the AWS Lambda Runtime API, for tests that start real function binaries without AWS. It
// hands out invocations, takes buffered and streamed answers with their error trailers, and keeps what arrived when.
//
// It is as strict as the real one where a function can go wrong: an answer for an unknown or finished invocation is a 400, a
// buffered answer over 6 MiB a 413. It also keeps the real one's silence: a client that leaves is not told to the function.
package runtimeapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// MaxBuffered is the largest buffered answer, in bytes.
const MaxBuffered = 6 << 20

const streamType = "application/vnd.awslambda.http-integration-response"

// Server is the fake. Make it with New and close it.
type Server struct {
	queue   chan *invocation
	srv     *http.Server
	address string
	closed  chan struct{}

	mu       sync.Mutex
	n        int
	running  map[string]*invocation
	records  []*Record
	inits    []FunctionError
	mostBusy int
	asked    time.Time
}

// Record is what one invocation brought.
type Record struct {
	ID          string
	ContentType string
	Mode        string // Lambda-Runtime-Function-Response-Mode, "" when the function sent none
	Streamed    bool
	Began       time.Time // when the answer's header came
	Chunks      []Chunk
	Err         *FunctionError // from /error or from the trailers
	Done        bool
}

// Chunk is one piece of an answer as it was read.
type Chunk struct {
	At    time.Time
	Bytes []byte
}

// FunctionError is what a function says of its failure.
type FunctionError struct {
	Type    string `json:"errorType"`
	Message string `json:"errorMessage"`
}

// Error implements error.
func (e *FunctionError) Error() string { return "function error " + e.Type + ": " + e.Message }

type invocation struct {
	id       string
	payload  []byte
	deadline time.Time
	answer   chan *Answer
	rec      *Record
}

// Answer is a function's answer as it comes in.
type Answer struct {
	ContentType string
	Streamed    bool
	// Body ends with io.EOF, or with a *FunctionError when the function broke off. Closing it early loses the rest; the
	// function is not told.
	Body io.ReadCloser
}

// New starts a fake on a free port of the loopback.
func New() (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{queue: make(chan *invocation, 64), running: map[string]*invocation{}, address: l.Addr().String(), closed: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", s.next)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", s.response)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", s.failure)
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", s.initError)
	mux.HandleFunc("POST /2020-01-01/extension/register", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Lambda-Extension-Identifier", "00000000-0000-4000-8000-000000000000")
	})
	mux.HandleFunc("GET /2020-01-01/extension/event/next", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-s.closed:
		}
	})
	s.srv = &http.Server{Handler: mux}
	go func() { _ = s.srv.Serve(l) }()
	return s, nil
}

// Address is the value for AWS_LAMBDA_RUNTIME_API.
func (s *Server) Address() string { return s.address }

// Close ends the fake; functions that wait for an invocation lose their connection and exit.
func (s *Server) Close() {
	close(s.closed)
	_ = s.srv.Close()
}

// Ready is when a function asked for its first invocation, which ends its init phase; zero before.
func (s *Server) Ready() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// Records returns what has arrived so far, oldest first.
func (s *Server) Records() []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Record, len(s.records))
	for i, r := range s.records {
		out[i] = *r
	}
	return out
}

// InitErrors returns the failures that a function reported before its first invocation.
func (s *Server) InitErrors() []FunctionError {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]FunctionError(nil), s.inits...)
}

// MostBusy returns how many invocations were running at once at most.
func (s *Server) MostBusy() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mostBusy
}

// Invoke hands an event to the function and returns when the answer begins. A function that reports a failure instead gives
// a *FunctionError. The event over 6 MiB is refused as Lambda does, before the function sees it.
func (s *Server) Invoke(ctx context.Context, payload []byte, timeout time.Duration) (*Answer, error) {
	if len(payload) > MaxBuffered {
		return nil, fmt.Errorf("RequestEntityTooLargeException: %d bytes", len(payload))
	}
	s.mu.Lock()
	s.n++
	inv := &invocation{id: fmt.Sprintf("8476a536-e9f4-11e8-9739-%012d", s.n), payload: payload, deadline: time.Now().Add(timeout),
		answer: make(chan *Answer, 1)}
	inv.rec = &Record{ID: inv.id}
	s.records = append(s.records, inv.rec)
	s.mu.Unlock()
	select {
	case s.queue <- inv:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case a := <-inv.answer:
		if a.Body == nil {
			return nil, inv.rec.Err
		}
		return a, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.closed:
		return nil, errors.New("runtime API closed")
	}
}

func (s *Server) next(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.asked.IsZero() {
		s.asked = time.Now()
	}
	s.mu.Unlock()
	select {
	case <-r.Context().Done():
	case <-s.closed:
	case inv := <-s.queue:
		s.mu.Lock()
		s.running[inv.id] = inv
		s.mostBusy = max(s.mostBusy, len(s.running))
		s.mu.Unlock()
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Lambda-Runtime-Aws-Request-Id", inv.id)
		h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(inv.deadline.UnixMilli(), 10))
		h.Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:test")
		h.Set("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0")
		_, _ = w.Write(inv.payload)
	}
}

func (s *Server) take(w http.ResponseWriter, r *http.Request) *invocation {
	s.mu.Lock()
	defer s.mu.Unlock()
	inv := s.running[r.PathValue("id")]
	if inv == nil || !inv.rec.Began.IsZero() {
		http.Error(w, `{"errorType":"InvalidRequestID","errorMessage":"no such invocation"}`, http.StatusBadRequest)
		return nil
	}
	inv.rec.Began = time.Now()
	return inv
}

func (s *Server) finish(inv *invocation, err *FunctionError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	inv.rec.Err = err
	inv.rec.Done = true
	delete(s.running, inv.id)
}

func (s *Server) response(w http.ResponseWriter, r *http.Request) {
	inv := s.take(w, r)
	if inv == nil {
		return
	}
	ct, mode := r.Header.Get("Content-Type"), r.Header.Get("Lambda-Runtime-Function-Response-Mode")
	streamed := mode == "streaming" || ct == streamType
	s.mu.Lock()
	inv.rec.ContentType, inv.rec.Mode, inv.rec.Streamed = ct, mode, streamed
	s.mu.Unlock()
	pr, pw := io.Pipe()
	if streamed { // a buffered answer begins when it is whole
		inv.answer <- &Answer{ContentType: ct, Streamed: true, Body: pr}
	}
	all, cut := s.receive(inv, r.Body, pw, streamed)
	var ferr *FunctionError
	switch {
	case cut != nil:
		ferr = &FunctionError{Type: "Runtime.TruncatedResponse", Message: cut.Error()}
	case r.Trailer.Get("Lambda-Runtime-Function-Error-Type") != "":
		ferr = trailerError(r.Trailer)
	case !streamed && len(all) > MaxBuffered:
		ferr = &FunctionError{Type: "Function.ResponseSizeTooLarge", Message: "Response payload size exceeded maximum allowed payload size (6291556 bytes)."}
	}
	s.finish(inv, ferr)
	switch {
	case streamed && ferr != nil:
		_ = pw.CloseWithError(ferr)
	case streamed:
		_ = pw.Close()
	case ferr != nil:
		inv.answer <- &Answer{}
	default:
		inv.answer <- &Answer{ContentType: ct, Body: io.NopCloser(bytes.NewReader(all))}
	}
	if ferr != nil && ferr.Type == "Function.ResponseSizeTooLarge" {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, `{"status":"OK"}`)
}

// receive reads an answer to its end, whoever still listens.
func (s *Server) receive(inv *invocation, body io.Reader, pw *io.PipeWriter, streamed bool) (all []byte, err error) {
	buf := make([]byte, 64<<10)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			c := bytes.Clone(buf[:n])
			s.mu.Lock()
			inv.rec.Chunks = append(inv.rec.Chunks, Chunk{time.Now(), c})
			s.mu.Unlock()
			if streamed {
				_, _ = pw.Write(c) // a reader that left is not the function's business
			} else {
				all = append(all, c...)
			}
		}
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

func trailerError(t http.Header) *FunctionError {
	e := &FunctionError{}
	body, err := base64.StdEncoding.DecodeString(t.Get("Lambda-Runtime-Function-Error-Body"))
	if err != nil || json.Unmarshal(body, e) != nil {
		e.Message = "undecodable error body"
	}
	e.Type = t.Get("Lambda-Runtime-Function-Error-Type")
	return e
}

func (s *Server) failure(w http.ResponseWriter, r *http.Request) {
	inv := s.take(w, r)
	if inv == nil {
		return
	}
	s.finish(inv, readError(r))
	inv.answer <- &Answer{}
	w.WriteHeader(http.StatusAccepted)
}

func (s *Server) initError(w http.ResponseWriter, r *http.Request) {
	e := readError(r)
	s.mu.Lock()
	s.inits = append(s.inits, *e)
	s.mu.Unlock()
	w.WriteHeader(http.StatusAccepted)
}

func readError(r *http.Request) *FunctionError {
	e := &FunctionError{}
	b, _ := io.ReadAll(r.Body)
	if json.Unmarshal(b, e) != nil {
		e.Message = strings.TrimSpace(string(b))
	}
	if e.Type == "" {
		e.Type = r.Header.Get("Lambda-Runtime-Function-Error-Type")
	}
	return e
}
