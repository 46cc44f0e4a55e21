package trace

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
)

const (
	maxReply  = 64 << 10         // bytes of a collector's answer that are read
	tries     = 3                // of one export
	firstWait = time.Second      // before it is repeated
	maxWait   = 30 * time.Second // that a collector may ask for
	restFor   = 30 * time.Second // after a failure, in which Flush does not wait for another
	logEvery  = time.Minute
)

// exporter posts spans to a collector, or writes them as lines. It never returns an error: the SDK would write it to stderr.
type exporter struct {
	url     string
	header  http.Header
	client  *http.Client
	json    bool
	gzip    bool
	timeout time.Duration
	console io.Writer // not nil: instead of a collector
	log     *slog.Logger

	failed atomic.Int64 // Unix time in ns of the last failure; 0: the last export went well
	logged time.Time
	lost   int // spans, since it was logged

	mu      sync.Mutex
	cancel  context.CancelFunc // of the export under way
	aborted bool
}

func newExporter(o *Options) *exporter {
	s := &o.Settings
	e := &exporter{url: s.Endpoint, header: http.Header{"Content-Type": {"application/x-protobuf"}, "User-Agent": {"sluice/" + o.Version}},
		json: s.JSON, gzip: s.Gzip, timeout: s.Timeout, log: o.Log}
	if s.JSON {
		e.header["Content-Type"] = []string{"application/json"}
	}
	if s.Gzip {
		e.header["Content-Encoding"] = []string{"gzip"}
	}
	for k, v := range s.Headers {
		e.header.Set(k, v.Reveal())
	}
	if s.Exporter == "console" {
		if e.console = o.Console; e.console == nil {
			e.console = io.Discard
		}
	}
	e.client = &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConns: 2, IdleConnTimeout: 90 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true, ResponseHeaderTimeout: s.Timeout},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }} // headers hold credentials
	return e
}

// ExportSpans implements sdk.SpanExporter.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	if len(spans) == 0 {
		return nil
	}
	if e.console != nil {
		body := append(appendJSON(nil, spans), '\n')
		if _, err := e.console.Write(body); err != nil {
			e.fail(len(spans), err)
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	if !e.begin(cancel) {
		return nil
	}
	if err := e.post(ctx, e.body(spans)); err != nil {
		e.fail(len(spans), err)
		return nil
	}
	e.failed.Store(0)
	return nil
}

// begin notes how abort ends an export; false: it has been called.
func (e *exporter) begin(cancel context.CancelFunc) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cancel = cancel
	return !e.aborted
}

// abort ends the export under way, and every later one at once.
func (e *exporter) abort() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.aborted = true
	if e.cancel != nil {
		e.cancel()
	}
}

// Shutdown implements sdk.SpanExporter. The SDK calls it once, after the last export.
func (e *exporter) Shutdown(context.Context) error {
	e.client.CloseIdleConnections()
	return nil
}

// resting reports whether an export failed just now.
func (e *exporter) resting() bool {
	at := e.failed.Load()
	return at != 0 && time.Since(time.Unix(0, at)) < restFor
}

// fail notes spans that are lost, and says so once a minute at most.
func (e *exporter) fail(n int, err error) {
	now := time.Now()
	e.failed.Store(now.UnixNano())
	e.lost += n
	if now.Sub(e.logged) < logEvery {
		return
	}
	e.log.Warn("traces not exported; see OTEL_EXPORTER_OTLP_ENDPOINT and whether its collector takes them", "spans", e.lost, "error", err)
	e.logged, e.lost = now, 0
}

// body encodes spans.
func (e *exporter) body(spans []sdk.ReadOnlySpan) []byte {
	var b []byte
	if e.json {
		b = appendJSON(nil, spans)
	} else {
		b = appendProto(nil, spans)
	}
	if !e.gzip {
		return b
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b) // a Buffer takes all
	_ = z.Close()
	return out.Bytes()
}

// post sends a body, and again where the collector may yet take it (OTLP 1.x, "Failures").
func (e *exporter) post(ctx context.Context, body []byte) error {
	wait := firstWait
	for try := 1; ; try++ {
		after, err := e.once(ctx, body)
		if err == nil || after < 0 || try == tries || ctx.Err() != nil {
			return err
		}
		if after == 0 {
			after = wait/2 + rand.N(wait/2)
			wait *= 2
		}
		timer := time.NewTimer(after)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// once posts a body once. On an error it says when to repeat: below 0 never, 0 as one likes.
func (e *exporter) once(ctx context.Context, body []byte) (again time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return -1, errors.New("bad address")
	}
	req.Header = e.header
	resp, err := e.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) { // without the address, which may tell more than a log should
			err = u.Err
		}
		return 0, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxReply))
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return 0, nil
	}
	err = errors.New("the collector answered status " + strconv.Itoa(resp.StatusCode))
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		if s, convErr := strconv.Atoi(resp.Header.Get("Retry-After")); convErr == nil && s > 0 {
			return min(time.Duration(min(s, 3600))*time.Second, maxWait), err
		}
		return 0, err
	}
	return -1, err
}
