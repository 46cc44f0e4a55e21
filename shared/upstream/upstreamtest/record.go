package upstreamtest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Request is one request as received. Header and Body are shared: read only.
type Request struct {
	Method        string
	Path          string // as sent, still escaped
	RawQuery      string
	Host          string
	Header        http.Header
	Body          []byte
	ContentLength int64 // -1 if the body came in chunks
	RemoteAddr    string
	Done          bool // the answer has ended, for whatever reason
	Aborted       bool // the client left before the answer ended
}

// Decode unmarshals the body into v.
func (r Request) Decode(v any) error {
	if err := json.Unmarshal(r.Body, v); err != nil {
		return fmt.Errorf("decode request body: %w", err)
	}
	return nil
}

// Model is the body's model, or empty. For [AmazonQ] it is the modelId of the
// current message.
func (r Request) Model() string {
	f, _ := scan(r.Body)
	if f.model == nil {
		f.model = scanAmazonQ(r.Body).model
	}
	var model string
	_ = json.Unmarshal(f.model, &model)
	return model
}

// Target is the operation that X-Amz-Target names, without the service before
// the dot, as in GenerateAssistantResponse; empty without one.
func (r Request) Target() string {
	target := r.Header.Get("X-Amz-Target")
	return target[strings.LastIndexByte(target, '.')+1:]
}

// Stream tells whether the body asks for a stream or, for [Bedrock], the path.
func (r Request) Stream() bool {
	f, _ := scan(r.Body)
	return string(f.stream) == "true" || strings.HasSuffix(r.Path, "-stream")
}

// Credential is the value of x-api-key or, without it, of a bearer token or
// api-key.
func (r Request) Credential() string {
	if key := anthropicCredential(r.Header); key != "" {
		return key
	}
	return r.Header.Get("Api-Key")
}

func anthropicCredential(h http.Header) string {
	if key := h.Get("X-Api-Key"); key != "" {
		return key
	}
	return bearer(h)
}

func bearer(h http.Header) string {
	scheme, token, _ := strings.Cut(h.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// recorder keeps what was received.
type recorder struct {
	mu      sync.Mutex
	all     []*Request
	aborted []Request
	changed chan struct{} // closed at the next change, if someone waits
}

func (rec *recorder) add(r *Request) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.all = append(rec.all, r)
	rec.broadcast()
}

// end notes how a request ended; kept tells whether it was added.
func (rec *recorder) end(r *Request, left, kept bool) {
	if !left && !kept {
		return
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	r.Done, r.Aborted = true, left
	if left {
		entry := *r
		if !kept {
			entry.Body = nil // its memory is used again
		}
		rec.aborted = append(rec.aborted, entry)
	}
	rec.broadcast()
}

func (rec *recorder) broadcast() {
	if rec.changed != nil {
		close(rec.changed)
		rec.changed = nil
	}
}

func (rec *recorder) reset() {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.all, rec.aborted = nil, nil
	rec.broadcast()
}

// wait returns when done, called with the lock held, says so.
func (rec *recorder) wait(ctx context.Context, done func() bool) error {
	for {
		rec.mu.Lock()
		if done() {
			rec.mu.Unlock()
			return nil
		}
		if rec.changed == nil {
			rec.changed = make(chan struct{})
		}
		changed := rec.changed
		rec.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Requests returns everything received so far on any path, in order of
// arrival. A request appears when its body has been read.
func (f *fake) Requests() []Request {
	f.records.mu.Lock()
	defer f.records.mu.Unlock()
	out := make([]Request, 0, len(f.records.all))
	for _, r := range f.records.all {
		out = append(out, *r)
	}
	return out
}

// posts is Requests for POST to the given paths alone.
func (f *fake) posts(paths ...string) []Request {
	return slices.DeleteFunc(f.Requests(), func(r Request) bool {
		return r.Method != http.MethodPost || !slices.Contains(paths, r.Path)
	})
}

// Last returns the newest request; the zero Request if there is none.
func (f *fake) Last() Request {
	f.records.mu.Lock()
	defer f.records.mu.Unlock()
	if n := len(f.records.all); n > 0 {
		return *f.records.all[n-1]
	}
	return Request{}
}

// Count tells how many requests were received, also without recording.
func (f *fake) Count() int { return int(f.count.Load()) }

// WaitRequests waits until n requests have been received since the start or
// the last Reset. It needs recording, and returns the context's error if that
// ends first.
func (f *fake) WaitRequests(ctx context.Context, n int) error {
	return f.records.wait(ctx, func() bool { return len(f.records.all) >= n })
}

// WaitDone waits until n requests have been received and all received ones
// have ended. It needs recording, and returns the context's error if that ends
// first.
func (f *fake) WaitDone(ctx context.Context, n int) error {
	return f.records.wait(ctx, func() bool {
		for _, r := range f.records.all {
			if !r.Done {
				return false
			}
		}
		return len(f.records.all) >= n
	})
}

// WaitAborted waits until a client has left before its answer ended, and
// returns the first such request since the start or the last Reset. It returns
// the context's error if that ends first.
func (f *fake) WaitAborted(ctx context.Context) (Request, error) {
	var first Request
	err := f.records.wait(ctx, func() bool {
		if len(f.records.aborted) == 0 {
			return false
		}
		first = f.records.aborted[0]
		return true
	})
	return first, err
}
