package bedrock_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/upstream"
	"sluice/shared/upstream/bedrock"
)

const roleJSON = `{"access_key_id":"` + keyID + `","secret_access_key":"` + keySecret + `","role_arn":"` + roleARN + `","external_id":"tenant-7"}`

// sts is the token service: each call makes other keys, which the double of Bedrock then knows.
type sts struct {
	d      *double
	clock  func() time.Time
	valid  time.Duration
	calls  atomic.Int64
	forms  chan url.Values
	answer func(w http.ResponseWriter) bool // true: answered; nil: keys
	hold   chan struct{}                    // nil: none
	url    string
}

func newSTS(t *testing.T, d *double, c *clock) *sts {
	s := &sts{d: d, clock: c.now, valid: time.Hour, forms: make(chan url.Values, 100)}
	s.url = serve(t, s.serve)
	return s
}

func (s *sts) serve(w http.ResponseWriter, r *http.Request) {
	n := s.calls.Add(1)
	body, _ := io.ReadAll(r.Body)
	now := s.clock()
	w.Header().Set("Date", now.Format(http.TimeFormat))
	if _, kind, message := (account{keyID: {keySecret, ""}}).verify(r, body, "eu-west-1", "sts", now); kind != "" {
		kind = strings.TrimSuffix(strings.Replace(kind, "InvalidSignature", "SignatureDoesNotMatch", 1), "Exception")
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprintf(w, "<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>", kind, message)
		return
	}
	form, _ := url.ParseQuery(string(body))
	s.forms <- form
	if s.hold != nil {
		<-s.hold
	}
	if s.answer != nil && s.answer(w) {
		return
	}
	id, secret, token := fmt.Sprintf("ASIAEXAMPLE%09d", n), fmt.Sprintf("secret/%d", n), fmt.Sprintf("token/%d==", n)
	s.d.mu.Lock()
	s.d.known[id] = [2]string{secret, token}
	s.d.mu.Unlock()
	_, _ = fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><AssumedRoleUser><Arn>x</Arn></AssumedRoleUser>
<Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>%s</Expiration></Credentials>
</AssumeRoleResult></AssumeRoleResponse>`, id, secret, strings.ReplaceAll(token, "=", "&#61;"), now.Add(s.valid).Format(time.RFC3339))
}

// roles is a client with both doubles.
func roles(t *testing.T) (*clock, *double, *sts, *bedrock.Client, upstream.Target) {
	clk := newClock()
	d := newDouble(t, "bedrock", clk)
	s := newSTS(t, d, clk)
	cl := bedrock.New(bedrock.Options{Transports: real(t, true), Now: clk.now, STSEndpoint: s.url})
	return clk, d, s, cl, target(roleJSON, core.Node{API: "invoke", Region: "eu-west-1", BaseURL: d.url})
}

func TestRole_AssumedAndKept(t *testing.T) {
	clk, d, s, cl, to := roles(t)
	for range 3 {
		if status, body := send(t, cl, to, request("{}")); status != 200 {
			t.Fatalf("status %d: %s", status, body)
		}
	}
	form := <-s.forms
	if s.calls.Load() != 1 || form.Get("Action") != "AssumeRole" || form.Get("RoleArn") != roleARN || form.Get("ExternalId") != "tenant-7" || form.Get("RoleSessionName") != "sluice" || form.Get("Version") != "2011-06-15" {
		t.Errorf("%d calls, form %v", s.calls.Load(), form)
	}
	clk.move(54 * time.Minute)
	send(t, cl, to, request("{}"))
	if s.calls.Load() != 1 {
		t.Error("fetched anew long before the keys expire")
	}
	clk.move(2 * time.Minute)
	if status, _ := send(t, cl, to, request("{}")); status != 200 || s.calls.Load() != 2 {
		t.Errorf("4 minutes before the end: status %d, %d calls", status, s.calls.Load())
	}
	if got := d.seen(); got[len(got)-1].stamp.key != "ASIAEXAMPLE000000002" {
		t.Errorf("signed with %s", got[len(got)-1].stamp.key)
	}
	other := to
	other.Credential = core.NewSecret(strings.Replace(roleJSON, "tenant-7", "tenant-8", 1))
	if send(t, cl, other, request("{}")); s.calls.Load() != 3 {
		t.Error("keys of one external id were used for another")
	}
}

// TestRole_LateRefreshKeepsGoing: keys that are still good are used while another caller asks for new ones, and when asking fails.
func TestRole_LateRefreshKeepsGoing(t *testing.T) {
	clk, _, s, cl, to := roles(t)
	send(t, cl, to, request("{}"))
	<-s.forms
	clk.move(56 * time.Minute)
	s.hold = make(chan struct{})
	s.answer = func(w http.ResponseWriter) bool { w.WriteHeader(503); return true }
	done := make(chan int)
	go func() {
		status, _ := send(t, cl, to, request("{}"))
		done <- status
	}()
	<-s.forms                                                      // the other asks
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // sooner than the other gives up
	defer cancel()
	if resp, err := cl.Send(ctx, to, request("{}")); err != nil {
		t.Errorf("while another asks: %v", err)
	} else {
		_ = resp.Body.Close()
	}
	close(s.hold)
	if status := <-done; status != 200 || s.calls.Load() != 2 {
		t.Errorf("after a failure: status %d, %d calls", status, s.calls.Load())
	}
	clk.move(10 * time.Minute)
	if f := failing(t, cl, to, request("{}")); f.Class != upstream.Server {
		t.Errorf("expired keys and no new ones: %+v", f)
	}
}

// TestRole_RefreshedOnce: of many callers whose keys are refused as expired, one asks for new ones.
func TestRole_RefreshedOnce(t *testing.T) {
	_, d, s, cl, to := roles(t)
	send(t, cl, to, request("{}"))
	d.mu.Lock()
	delete(d.known, "ASIAEXAMPLE000000001")
	d.mu.Unlock()
	const n = 32
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range n {
		wg.Go(func() {
			<-start
			if status, body := send(t, cl, to, request(`{"a":1}`)); status != 200 {
				t.Errorf("status %d: %s", status, body)
			}
		})
	}
	close(start)
	wg.Wait()
	if s.calls.Load() != 2 {
		t.Errorf("%d calls of the token service, want 2", s.calls.Load())
	}
	for _, r := range d.seen()[1:] {
		if r.body != `{"a":1}` {
			t.Errorf("a body was lost: %q", r.body)
		}
	}
}

// TestRole_NoStampede: of many first callers one asks; when that is refused, nobody asks again for a while.
func TestRole_NoStampede(t *testing.T) {
	for _, refuses := range []bool{false, true} {
		clk, _, s, cl, to := roles(t)
		s.hold = make(chan struct{})
		if refuses {
			s.answer = func(w http.ResponseWriter) bool {
				w.WriteHeader(403)
				_, _ = io.WriteString(w, "<ErrorResponse><Error><Code>AccessDenied</Code><Message>User: x is not authorized to perform: sts:AssumeRole on resource: "+roleARN+"</Message></Error></ErrorResponse>")
				return true
			}
		}
		const n = 16
		failures := make(chan error, n)
		for range n {
			go func() {
				resp, err := cl.Send(t.Context(), to, request("{}"))
				if err == nil {
					_ = resp.Body.Close()
				}
				failures <- err
			}()
		}
		<-s.forms
		close(s.hold)
		for range n {
			err := <-failures
			if f := upstream.ClassifyError(errOr(err)); refuses != (err != nil) || refuses && (f.Class != upstream.Credential || !strings.Contains(f.Reason, "trust policy") || strings.Contains(f.Reason, roleARN)) {
				t.Errorf("refuses %v: got %v, %+v", refuses, err, f)
			}
		}
		if s.calls.Load() != 1 {
			t.Errorf("refuses %v: %d calls", refuses, s.calls.Load())
		}
		if refuses {
			s.answer = nil
			clk.move(6 * time.Second)
			if status, _ := send(t, cl, to, request("{}")); status != 200 {
				t.Errorf("after the refusal: status %d", status)
			}
		}
	}
}

func errOr(err error) error {
	if err == nil {
		return errors.New("none")
	}
	return err
}

// TestRole_CallerGoes: a caller that goes away while it asks leaves the right to ask to the next.
func TestRole_CallerGoes(t *testing.T) {
	_, _, s, cl, to := roles(t)
	s.hold = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		_, err := cl.Send(ctx, to, request("{}")) //nolint:bodyclose // none comes
		gone <- err
	}()
	<-s.forms
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(s.hold)
	if status, _ := send(t, cl, to, request("{}")); status != 200 {
		t.Errorf("the next: status %d", status)
	}
}

func TestRole_UnusableAnswers(t *testing.T) {
	good := "<Credentials><AccessKeyId>ASIAEXAMPLE000000001</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2026-11-22T13:00:00Z</Expiration></Credentials>"
	for _, c := range []struct {
		why, body string
		status    int
		class     upstream.Class
	}{
		{"nothing", "", 200, upstream.Server},
		{"JSON", `{"AssumeRoleResponse":{}}`, 200, upstream.Server},
		{"cut", good[:60], 200, upstream.Server},
		{"keys with a line", strings.Replace(good, ">t<", ">t&#13;&#10;x<", 1), 200, upstream.Server},
		{"no expiry", strings.Replace(good, "Expiration", "Other", 2), 200, upstream.Server},
		{"expired", strings.Replace(good, "13:00", "11:00", 1), 200, upstream.Credential},
		{"too large", good + strings.Repeat(" ", 70<<10), 200, upstream.Server},
		{"another status of success", good, 204, upstream.Server},
		{"redirect", good, 307, upstream.Server},
		{"throttled", "<Error><Code>Throttling</Code></Error>", 400, upstream.RateLimited},
		{"region off", "<Error><Code>RegionDisabledException</Code></Error>", 403, upstream.Credential},
		{"wrong ARN", "<Error><Code>ValidationError</Code><Message>" + roleARN + "</Message></Error>", 400, upstream.Credential},
		{"expired keys", "<Error><Code>ExpiredToken</Code></Error>", 403, upstream.Credential},
		{"failure", "<Error><Code>InternalFailure</Code></Error>", 500, upstream.Server},
	} {
		_, d, s, cl, to := roles(t)
		s.answer = func(w http.ResponseWriter) bool {
			w.Header().Set("Location", "/")
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
			return true
		}
		f := failing(t, cl, to, request("{}"))
		if f.Class != c.class || f.Reason == "" || strings.Contains(f.Reason, "arn:") || len(d.seen()) != 0 || s.calls.Load() != 1 {
			t.Errorf("%s: got %+v, %d calls", c.why, f, s.calls.Load())
		}
	}
}

// TestClockSkew: a clock that is off is learned from the refusal, once, also by the token service's.
func TestClockSkew(t *testing.T) {
	for _, by := range []time.Duration{-20 * time.Minute, 9 * time.Hour} {
		for _, credential := range []string{keysJSON, roleJSON} {
			_, d, s, _, to := roles(t)
			ours := newClock()
			ours.move(by)
			cl := bedrock.New(bedrock.Options{Transports: real(t, true), Now: ours.now, STSEndpoint: s.url})
			to.Credential, to.Node.Operator = core.NewSecret(credential), true
			for range 3 {
				if status, body := send(t, cl, to, request(`{"a":1}`)); status != 200 {
					t.Fatalf("off by %v: status %d: %s", by, status, body)
				}
			}
			refused := 0
			for _, r := range d.seen() {
				if r.refused != "" {
					refused++
				}
				if r.body != `{"a":1}` {
					t.Errorf("a body was lost: %q", r.body)
				}
			}
			if want := map[string]int{keysJSON: 1, roleJSON: 0}[credential]; refused != want {
				t.Errorf("off by %v: refused %d times, want %d", by, refused, want)
			}
		}
	}
}

// TestClockSkew_Untrusted: the clock of a host that a tenant entered counts for its own request only.
func TestClockSkew_Untrusted(t *testing.T) {
	clk := newClock()
	d := newDouble(t, "bedrock", clk)
	theirs := newClock()
	theirs.move(time.Hour)
	evil := newDouble(t, "bedrock", theirs)
	cl := bedrock.New(bedrock.Options{Transports: real(t, true), Now: clk.now})
	n := core.Node{API: "invoke", Region: "eu-west-1", BaseURL: evil.url}
	if status, _ := send(t, cl, target(keysJSON, n), request("{}")); status != 200 || len(evil.seen()) != 2 {
		t.Errorf("status %d, %d requests", status, len(evil.seen()))
	}
	n.BaseURL = d.url
	if status, _ := send(t, cl, target(keysJSON, n), request("{}")); status != 200 || len(d.seen()) != 1 {
		t.Errorf("another host: status %d, %d requests", status, len(d.seen()))
	}
}

// TestRefusedForGood: keys that are wrong are not tried again, and the refusal can be read by the caller.
func TestRefusedForGood(t *testing.T) {
	clk := newClock()
	d := newDouble(t, "bedrock", clk)
	cl := bedrock.New(bedrock.Options{Transports: real(t, true), Now: clk.now})
	n := core.Node{API: "invoke", Region: "eu-west-1", BaseURL: d.url}
	wrong := strings.Replace(keysJSON, "wJalr", "xJalr", 1)
	resp, err := cl.Send(t.Context(), target(wrong, n), request("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	f := cl.Classify(resp.StatusCode, resp.Header, []byte(readAll(t, resp.Body)))
	if f.Class != upstream.Credential || !strings.Contains(f.Reason, "secret access key is wrong") || len(d.seen()) != 1 {
		t.Errorf("got %+v, %d requests", f, len(d.seen()))
	}
	n.Region = "us-east-1"
	resp, err = cl.Send(t.Context(), target(keysJSON, n), request("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	f = cl.Classify(resp.StatusCode, resp.Header, []byte(readAll(t, resp.Body)))
	if f.Class != upstream.Credential || !strings.Contains(f.Reason, "region") {
		t.Errorf("wrong region: got %+v", f)
	}
}

// TestManyIdentities: credentials that come and go push none of those in use out.
func TestManyIdentities(t *testing.T) {
	_, d, s, cl, to := roles(t)
	for i := range 2500 {
		if i%500 == 0 {
			send(t, cl, to, request("{}"))
		}
		other := to
		other.Credential = core.NewSecret(fmt.Sprintf("%s%06d", apiKey, i))
		r := request("{}")
		r.Model = "no id" // known, but sent nowhere
		failing(t, cl, other, r)
	}
	if s.calls.Load() != 1 || len(d.seen()) != 5 {
		t.Errorf("%d calls, %d requests", s.calls.Load(), len(d.seen()))
	}
}
