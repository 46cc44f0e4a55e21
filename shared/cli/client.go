package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Target is a gateway to call.
type Target struct {
	URL   string // without a slash at the end
	Key   string // its credential
	Local bool   // on this machine: no proxy is used, and Key is its control token
}

const (
	callTimeout = 45 * time.Second // longer than a gateway takes for a call that asks another service
	maxAnswer   = 64 << 20         // bytes of an answer that is decoded
	maxRefusal  = 64 << 10         // bytes of an answer that tells of an error
)

// client calls the admin API of one gateway.
type client struct {
	t    Target
	http *http.Client
	now  func() time.Time
	skew time.Duration // of the gateway's clock against ours
}

// refusal is an answer that tells of an error.
type refusal struct {
	status  int
	message string
	remedy  string
}

func (e *refusal) Error() string {
	s := fmt.Sprintf("the gateway answered %d", e.status)
	if e.message != "" {
		s += ": " + e.message
	}
	if e.remedy != "" {
		s += "; " + e.remedy
	}
	return s
}

// connect finds the gateway that flags and environment name, else the one on this machine.
func (s *session) connect(ctx context.Context, need Need) error {
	if s.api != nil {
		return nil
	}
	t, done, err := s.target(ctx, need)
	if err != nil {
		return err
	}
	tr := &http.Transport{Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: callTimeout, TLSHandshakeTimeout: 10 * time.Second,
		DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext, ForceAttemptHTTP2: true}
	if t.Local {
		tr.Proxy = nil // whatever the environment says: it is this machine
	}
	s.api = &client{t: t, now: s.env.Now, http: &http.Client{Transport: tr,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	s.done = func() error {
		tr.CloseIdleConnections()
		if done == nil {
			return nil
		}
		return done()
	}
	return nil
}

func (s *session) target(ctx context.Context, need Need) (Target, func() error, error) {
	address := s.env.Vars["SLUICE_URL"]
	if s.f.set("url") {
		address = s.f.url
	}
	if address == "" {
		if s.f.key != "" {
			return Target{}, nil, usageError("--admin-key is for a gateway that --url or SLUICE_URL names; the one on this machine needs none")
		}
		return s.env.Local(ctx, need, s.env.Stderr)
	}
	base, err := checkURL(address)
	if err != nil {
		return Target{}, nil, err
	}
	key := s.env.Vars["SLUICE_ADMIN_KEY"]
	if s.f.key != "" {
		if key, err = s.adminKey(ctx); err != nil {
			return Target{}, nil, err
		}
	}
	if key = strings.TrimSpace(key); key == "" {
		return Target{}, nil, fmt.Errorf("%s needs an admin key: set SLUICE_ADMIN_KEY, or give --admin-key - and the key on standard input", base.Redacted())
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return Target{}, nil, errors.New("the admin key has characters that no key has; look at SLUICE_ADMIN_KEY or what was read from standard input")
	}
	if base.Scheme == "http" && !loopback(base.Hostname()) && need != NeedQuick {
		fmt.Fprintf(s.env.Stderr, "sluice: warning: %s is not https: the admin key can be read on the way\n", base.Host)
	}
	return Target{URL: strings.TrimRight(base.String(), "/"), Key: key}, nil, nil
}

// adminKey reads the key of --admin-key, once.
func (s *session) adminKey(ctx context.Context) (string, error) {
	if s.key == "" {
		key, err := s.secret(ctx, "--admin-key", s.f.key)
		if err != nil {
			return "", err
		}
		s.key = key
	}
	return s.key, nil
}

func checkURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, usageError("--url or SLUICE_URL: must be an address such as https://gateway.example.com, with its path prefix where it has one")
	}
	return u, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// send sends a request and returns the answer when it is one of success.
func (c *client) send(ctx context.Context, method, path string, q url.Values, body any) (*http.Response, error) {
	var rd io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		rd = bytes.NewReader(data)
	}
	address := c.t.URL + path
	if len(q) > 0 {
		address += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, address, rd)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.t.Local {
		req.Header.Set("X-Admin-Key", c.t.Key)
	} else {
		req.Header.Set("Authorization", "Bearer "+c.t.Key) // takes an account's own key, too
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unanswered(err)
	}
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		c.skew = at.Sub(c.now()).Round(time.Second)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, c.refused(resp)
}

func (c *client) unanswered(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without the address, which has the filters
	}
	if c.t.Local {
		return fmt.Errorf("the gateway on this machine does not answer: %w; look at its log", err)
	}
	return fmt.Errorf("no gateway answers at %s: %w; check --url or SLUICE_URL", clean(c.t.URL), err)
}

func (c *client) refused(resp *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // what came is told
	var e struct {
		Error json.RawMessage `json:"error"`
	}
	var text string
	if json.Unmarshal(data, &e) == nil && json.Unmarshal(e.Error, &text) != nil {
		var nested struct {
			Message string `json:"message"`
		}
		_ = json.Unmarshal(e.Error, &nested)
		text = nested.Message
	}
	r := &refusal{status: resp.StatusCode, message: clean(text)}
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		r.remedy = "check SLUICE_ADMIN_KEY or --admin-key"
	case resp.StatusCode == http.StatusForbidden && text != "" && len(text) < 60:
		r.remedy = "use an admin key; an account's own key may only see and change what is its own"
	case resp.StatusCode < 400:
		r.remedy = "it sends elsewhere: use " + clean(resp.Header.Get("Location")) + " up to /admin or /api as --url"
	case text == "":
		r.remedy = "is " + clean(c.t.URL) + " a Sluice gateway, and its path prefix complete?"
	case resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") != "" && !strings.Contains(text, "second"):
		r.remedy = "try again in " + clean(resp.Header.Get("Retry-After")) + " seconds"
	}
	return r
}

// call sends a request and returns the whole answer.
func (s *session) call(ctx context.Context, method, path string, q url.Values, body any) ([]byte, error) {
	if err := s.connect(ctx, NeedStore); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := s.api.send(ctx, method, path, q, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, s.api.unanswered(err)
	}
	if len(data) > maxAnswer {
		return nil, errors.New("the answer is too long; ask for less, with --from, --to or --limit")
	}
	if len(data) > 0 && !json.Valid(data) {
		return nil, fmt.Errorf("the answer is no JSON; is %s a Sluice gateway, and its path prefix complete?", clean(s.api.t.URL))
	}
	return data, nil
}

// ask calls and decodes the answer into out. With --json it prints the answer instead and returns true: then all is done.
func (s *session) ask(ctx context.Context, method, path string, q url.Values, body, out any) (printed bool, err error) {
	data, err := s.call(ctx, method, path, q, body)
	if err != nil {
		return false, err
	}
	if s.f.json {
		return true, s.printJSON(data)
	}
	return false, decode(data, out)
}

func decode(data []byte, out any) error {
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("the answer is not as documented: %w; is the gateway of this version?", err)
	}
	return nil
}

// printJSON prints an answer. On a terminal, characters that could steer it are written as JSON escapes, which mean the same.
func (s *session) printJSON(data []byte) error {
	text := strings.TrimRight(string(data), "\n")
	if IsTerminal(s.env.Stdout) {
		text = escaped(text)
	}
	_, err := io.WriteString(s.env.Stdout, text+"\n")
	return err
}
