// Package notifytest has fakes of the services that package notify speaks to. Each checks what the real one checks
// (required fields, lengths, signatures, keywords) and answers as it does, refusals included, so that a payload the real
// service would refuse fails a test.
package notifytest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// Message is what a fake accepted.
type Message struct {
	Text   string      // as the reader sees it
	Title  string      // where the service has one
	Body   []byte      // as it came
	Header http.Header // of services over HTTP
}

// Reply is an answer that a fake gives instead of its own.
type Reply struct {
	Status int
	Header map[string]string
	Body   string
}

// Server is a fake over HTTP. It is safe for concurrent use.
type Server struct {
	URL string // what a channel's config names

	http    *httptest.Server
	now     func() time.Time
	mu      sync.Mutex
	got     []Message
	refused []string
	replies []Reply
	calls   int
}

// start serves check, which judges a request and returns the message it holds and the answer; a reply with another status
// than accepted, or one whose refusal is not empty, does not count as taken.
func start(now func() time.Time, path string, check func(r *http.Request, body []byte) (m Message, refusal string, answer Reply)) *Server {
	s := &Server{now: now}
	s.http = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		s.mu.Lock()
		s.calls++
		var scripted *Reply
		if len(s.replies) > 0 {
			scripted, s.replies = &s.replies[0], s.replies[1:]
		}
		s.mu.Unlock()
		if scripted != nil {
			scripted.write(w)
			return
		}
		m, refusal, answer := check(r, body)
		m.Body, m.Header = body, r.Header.Clone()
		s.mu.Lock()
		if refusal == "" {
			s.got = append(s.got, m)
		} else {
			s.refused = append(s.refused, refusal)
		}
		s.mu.Unlock()
		answer.write(w)
	}))
	s.URL = s.http.URL + path
	return s
}

func (r Reply) write(w http.ResponseWriter) {
	for k, v := range r.Header {
		w.Header().Set(k, v)
	}
	w.WriteHeader(r.Status)
	_, _ = io.WriteString(w, r.Body)
}

// Close ends the server.
func (s *Server) Close() { s.http.Close() }

// Script makes the next requests be answered so, one reply each, unread and unchecked.
func (s *Server) Script(r ...Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replies = append(s.replies, r...)
}

// Messages returns what was taken, in order.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Message(nil), s.got...)
}

// Refused returns why requests were refused by the fake's own checks.
func (s *Server) Refused() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.refused...)
}

// Calls counts all requests.
func (s *Server) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// jsonPost checks what all the chat services want of a request and decodes its body, without unknown fields.
func jsonPost(r *http.Request, body []byte, v any) string {
	if r.Method != http.MethodPost {
		return "method " + r.Method
	}
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		return "content type " + r.Header.Get("Content-Type")
	}
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return "body: " + err.Error()
	}
	return ""
}

func answerJSON(status int, v any) Reply {
	b, _ := json.Marshal(v)
	return Reply{Status: status, Header: map[string]string{"Content-Type": "application/json"}, Body: string(b)}
}
