// Package tracetest is a collector of traces for tests: it takes OTLP over HTTP, as protobuf and as JSON, and decodes both with
// the definitions that OpenTelemetry publishes, so what it understands any collector does.
package tracetest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// The kinds and the status of spans, as OTLP numbers them.
const (
	Internal = 1
	Server   = 2
	Client   = 3

	Failed = 2 // of Status; 0 is unset
)

// Span is a span as it was received.
type Span struct {
	Trace, ID, Parent string // hexadecimal; Parent is empty at the root
	State             string // tracestate
	Remote            bool   // the parent is another process's
	Name              string
	Kind, Status      int
	Message           string // of the status
	Start, End        time.Time
	Attrs             map[string]any // string, bool, int64 or float64
	Events            []string
	Resource          map[string]any
	Scope             string
}

// Collector is a server that takes traces at any path.
type Collector struct {
	URL string

	t      testing.TB
	server *httptest.Server

	mu    sync.Mutex
	spans []Span
	raw   bytes.Buffer
	posts []*http.Request
	more  chan struct{} // closed when spans come
	reply func(n int) (status int, header http.Header)
	hold  chan struct{}
}

// New starts a collector that ends with the test.
func New(t testing.TB) *Collector {
	c := &Collector{t: t, more: make(chan struct{})}
	c.server = httptest.NewServer(c)
	c.URL = c.server.URL
	t.Cleanup(c.server.Close)
	return c
}

// Reply makes the collector answer the n-th post (from 1) with a status and header of the test's choice.
func (c *Collector) Reply(f func(n int) (status int, header http.Header)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reply = f
}

// Hang makes the collector keep its answers back until the function it returns is called or the client leaves.
func (c *Collector) Hang() (release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	hold := make(chan struct{})
	c.hold = hold
	return sync.OnceFunc(func() { close(hold) })
}

// ServeHTTP implements http.Handler.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := read(r)
	if err != nil {
		c.t.Errorf("collector: %v", err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	spans, err := decode(r.Header.Get("Content-Type"), body)
	if err != nil {
		c.t.Errorf("collector: %v", err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	c.posts = append(c.posts, r)
	c.raw.Write(body)
	n, reply, hold := len(c.posts), c.reply, c.hold
	c.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-r.Context().Done():
			return
		}
	}
	status := http.StatusOK
	if reply != nil {
		var h http.Header
		status, h = reply(n)
		for k, v := range h {
			w.Header()[k] = v
		}
	}
	if status == http.StatusOK {
		c.mu.Lock()
		c.spans = append(c.spans, spans...)
		close(c.more)
		c.more = make(chan struct{})
		c.mu.Unlock()
	}
	w.WriteHeader(status)
}

func read(r *http.Request) ([]byte, error) {
	var src io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, err
		}
		src = z
	}
	return io.ReadAll(src)
}

func decode(contentType string, body []byte) ([]Span, error) {
	var d tracepb.TracesData // the same fields as ExportTraceServiceRequest
	switch contentType {
	case "application/x-protobuf":
		if err := proto.Unmarshal(body, &d); err != nil {
			return nil, err
		}
		if len(d.ProtoReflect().GetUnknown()) > 0 {
			return nil, errors.New("unknown fields")
		}
	case "application/json":
		fixed, err := base64IDs(body)
		if err != nil {
			return nil, err
		}
		if err := protojson.Unmarshal(fixed, &d); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("content type %q", contentType)
	}
	var out []Span
	for _, rs := range d.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				one, err := span(s)
				if err != nil {
					return nil, err
				}
				one.Resource, one.Scope = attrs(rs.GetResource().GetAttributes()), ss.GetScope().GetName()
				out = append(out, one)
			}
		}
	}
	return out, nil
}

// base64IDs writes ids as protobuf's JSON has them: OTLP's has them in hexadecimal.
func base64IDs(body []byte) ([]byte, error) {
	var doc any
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if err := dec.Decode(&doc); err != nil {
		return nil, err
	}
	var walk func(v any) error
	walk = func(v any) error {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				if err := walk(e); err != nil {
					return err
				}
			}
		case map[string]any:
			for k, e := range v {
				if s, ok := e.(string); ok && (k == "traceId" || k == "spanId" || k == "parentSpanId") {
					b, err := hex.DecodeString(s)
					if err != nil {
						return err
					}
					v[k] = base64.StdEncoding.EncodeToString(b)
					continue
				}
				if err := walk(e); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := walk(doc); err != nil {
		return nil, err
	}
	return json.Marshal(doc)
}

func span(s *tracepb.Span) (Span, error) {
	out := Span{Trace: hex.EncodeToString(s.TraceId), ID: hex.EncodeToString(s.SpanId), Parent: hex.EncodeToString(s.ParentSpanId), State: s.TraceState,
		Remote: s.Flags&0x200 != 0, Name: s.Name, Kind: int(s.Kind), Status: int(s.GetStatus().GetCode()), Message: s.GetStatus().GetMessage(),
		Start: time.Unix(0, int64(s.StartTimeUnixNano)), End: time.Unix(0, int64(s.EndTimeUnixNano)), Attrs: attrs(s.Attributes)}
	for _, e := range s.Events {
		at := time.Unix(0, int64(e.TimeUnixNano))
		if at.Before(out.Start) || at.After(out.End) {
			return out, fmt.Errorf("event %s of %s is outside of its span", e.Name, s.Name)
		}
		out.Events = append(out.Events, e.Name)
	}
	switch {
	case len(s.TraceId) != 16 || len(s.SpanId) != 8 || len(s.ParentSpanId) != 0 && len(s.ParentSpanId) != 8:
		return out, fmt.Errorf("ids of %s: %s %s %s", s.Name, out.Trace, out.ID, out.Parent)
	case out.End.Before(out.Start):
		return out, fmt.Errorf("%s ends before it starts", s.Name)
	case len(out.Attrs) != len(s.Attributes):
		return out, fmt.Errorf("%s has an attribute twice: %v", s.Name, s.Attributes)
	case s.Flags&0x101 != 0x101:
		return out, fmt.Errorf("flags of %s: %#x", s.Name, s.Flags)
	}
	return out, nil
}

func attrs(all []*commonpb.KeyValue) map[string]any {
	out := make(map[string]any, len(all))
	for _, kv := range all {
		switch v := kv.GetValue().GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			out[kv.Key] = v.StringValue
		case *commonpb.AnyValue_BoolValue:
			out[kv.Key] = v.BoolValue
		case *commonpb.AnyValue_IntValue:
			out[kv.Key] = v.IntValue
		case *commonpb.AnyValue_DoubleValue:
			out[kv.Key] = v.DoubleValue
		default:
			out[kv.Key] = fmt.Errorf("%T", v)
		}
	}
	return out
}

// Await waits until at least n spans have come, and returns all. The test fails when they do not come in time.
func (c *Collector) Await(n int) []Span {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		c.mu.Lock()
		spans, more := append([]Span(nil), c.spans...), c.more
		c.mu.Unlock()
		if len(spans) >= n {
			return spans
		}
		select {
		case <-more:
		case <-ctx.Done():
			c.t.Fatalf("%d of %d spans came:\n%s", len(spans), n, Tree(spans))
		}
	}
}

// Spans returns what has come so far.
func (c *Collector) Spans() []Span { return c.Await(0) }

// Posts returns the requests that came.
func (c *Collector) Posts() []*http.Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*http.Request(nil), c.posts...)
}

// Raw returns all that was posted, decompressed.
func (c *Collector) Raw() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.raw.String()
}

// Tree draws spans: one line each, children indented below their parent, in order of their start.
func Tree(spans []Span) string {
	known := map[string]bool{}
	for _, s := range spans {
		known[s.ID] = true
	}
	var b strings.Builder
	var draw func(parent string, depth int)
	draw = func(parent string, depth int) {
		for _, s := range inOrder(spans) {
			if s.Parent == parent && depth > 0 || depth == 0 && !known[s.Parent] {
				b.WriteString(strings.Repeat("  ", depth) + s.Name)
				if e, ok := s.Attrs["error.type"]; ok {
					fmt.Fprintf(&b, " (%v)", e)
				}
				if len(s.Events) > 0 {
					fmt.Fprintf(&b, " %v", s.Events)
				}
				b.WriteString("\n")
				draw(s.ID, depth+1)
			}
		}
	}
	draw("", 0)
	return b.String()
}

// Named returns the spans of a name, in order of their start.
func Named(spans []Span, name string) (out []Span) {
	for _, s := range inOrder(spans) {
		if s.Name == name {
			out = append(out, s)
		}
	}
	return out
}

func inOrder(spans []Span) []Span {
	out := slices.Clone(spans)
	slices.SortStableFunc(out, func(a, b Span) int { return a.Start.Compare(b.Start) })
	return out
}
