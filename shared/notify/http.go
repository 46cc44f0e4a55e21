package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	sendTime   = 10 * time.Second // of one message
	maxAnswer  = 64 << 10         // bytes of a service's answer that are read
	maxRefusal = 300              // runes of what is told of it
	maxPause   = time.Hour        // that a service can ask for
)

// failure is why a message was not taken, in words that name no address and no secret.
type failure struct {
	words     string
	permanent bool          // another try will hardly fare better
	after     time.Duration // the service wants no try before
}

// Error implements error.
func (f *failure) Error() string { return f.words }

func permanent(format string, args ...any) *failure {
	return &failure{words: fmt.Sprintf(format, args...), permanent: true}
}

func temporary(format string, args ...any) *failure {
	return &failure{words: fmt.Sprintf(format, args...)}
}

// attempt sends once. A fault of the program is a failure of this message, logged, not the end of the process.
func (h *Hub) attempt(ctx context.Context, c Channel, m func() *message) (err error) {
	defer func() {
		if p := recover(); p != nil {
			h.o.Log.Error("panic while a notification was sent; the attempt failed", "account", c.Account, "channel", c.ID,
				"kind", c.Kind, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = temporary("the gateway failed while sending: its log tells more")
		}
	}()
	return h.send(ctx, c, m())
}

// send speaks the channel's protocol. The error is a *failure, without secrets, or ctx's.
func (h *Hub) send(ctx context.Context, c Channel, m *message) error {
	raw, err := h.Open(c)
	if err != nil {
		return permanent("the channel's settings cannot be opened: save them again")
	}
	s, err := parseConfig(c.Kind, raw)
	if err != nil {
		return permanent("the channel's settings are not valid: %v", err)
	}
	if t, ok := s.(*sns); ok && t.AccessKeyID == "" {
		if err := h.mayUseOwnAWS(ctx, c.Account); err != nil {
			return err
		}
	}
	within, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	err = s.send(within, h, m)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err() // the caller ended it: nothing is known of the service
	}
	f := new(failure)
	if !errors.As(err, &f) {
		f = temporary("%s", connectWords(within, err))
	}
	told := *f
	told.words = cutRunes(blot(f.words, s.secrets()), maxRefusal)
	return &told
}

// blot takes secrets out of what a service said: some repeat what they refuse.
func blot(words string, secrets []string) string {
	// the longest first, so that no part of one remains
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	for _, s := range secrets {
		if len(s) < 4 {
			continue
		}
		for _, form := range []string{s, url.QueryEscape(s), url.PathEscape(s)} {
			words = strings.ReplaceAll(words, form, "[redacted]")
		}
	}
	return oneLine(words, 4*maxRefusal)
}

// guardWords begin the refusal of upstream.BlockedError, which says what the operator can do and names no address.
const guardWords = "address is not public"

// connectWords tells of a failure below the protocol. The errors of net and net/http name host and URL, so only what is
// known to be harmless is repeated.
func connectWords(ctx context.Context, err error) string {
	var (
		dns     *net.DNSError
		verify  *tls.CertificateVerificationError
		host    x509.HostnameError
		unknown x509.UnknownAuthorityError
		record  tls.RecordHeaderError
		op      *net.OpError
		errno   syscall.Errno
	)
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		if strings.HasPrefix(inner.Error(), guardWords) {
			return "no connection: " + inner.Error()
		}
	}
	switch {
	case ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %d seconds", int(sendTime.Seconds()))
	case errors.As(err, &dns):
		return "the host's name does not resolve"
	case errors.As(err, &verify), errors.As(err, &host), errors.As(err, &unknown):
		return "the host's certificate is not valid for it"
	case errors.As(err, &record):
		return "the host does not speak TLS on this port"
	case errors.As(err, &op) && op.Timeout():
		return "no answer within the time allowed"
	case errors.As(err, &errno):
		return "no connection: " + errno.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed without an answer"
	}
	return "the connection failed"
}

// answer is what a service said.
type answer struct {
	status int
	header http.Header
	body   []byte // at most maxAnswer
	now    time.Time
}

// post sends a body and reads the answer. Its errors are not *failure, except where nothing can be sent.
func (h *Hub) post(ctx context.Context, r *http.Request, body []byte) (*answer, error) {
	if h.client == nil {
		return nil, temporary("sending over HTTP is not set up")
	}
	r = r.WithContext(ctx)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	r.Header.Set("User-Agent", "sluice")
	resp, err := h.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	return &answer{status: resp.StatusCode, header: resp.Header, body: got, now: h.o.Now()}, nil
}

// postJSON posts v. Characters are not escaped for HTML: services count bytes.
func (h *Hub) postJSON(ctx context.Context, address string, v any) (*answer, error) {
	body, err := encode(v)
	if err != nil {
		return nil, err
	}
	r, err := newPost(address, "application/json; charset=utf-8")
	if err != nil {
		return nil, err
	}
	return h.post(ctx, r, body)
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func newPost(address, contentType string) (*http.Request, error) {
	r, err := http.NewRequest(http.MethodPost, address, nil)
	if err != nil {
		return nil, permanent("the channel's URL is not valid")
	}
	r.Header.Set("Content-Type", contentType)
	return r, nil
}

// refused is the failure of a status that is not a success. words may be empty.
func (a *answer) refused(words string) *failure {
	f := &failure{words: fmt.Sprintf("HTTP %d", a.status), after: a.retryAfter()}
	if text := http.StatusText(a.status); text != "" {
		f.words += " " + text
	}
	if a.status >= 300 && a.status < 400 {
		f.words += ": redirects are not followed, set the final URL"
	}
	if words != "" {
		f.words += ": " + words
	}
	f.permanent = a.status >= 300 && a.status < 500 && a.status != http.StatusRequestTimeout &&
		a.status != http.StatusTooManyRequests
	return f
}

func (a *answer) retryAfter() time.Duration {
	v := a.header.Get("Retry-After")
	if n, err := strconv.Atoi(v); err == nil && n > 0 {
		return seconds(n)
	}
	if at, err := http.ParseTime(v); err == nil && at.After(a.now) {
		return min(at.Sub(a.now), maxPause)
	}
	return 0
}

func seconds(n int) time.Duration {
	return time.Duration(min(max(n, 0), int(maxPause/time.Second))) * time.Second
}
