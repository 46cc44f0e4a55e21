package bedrock_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/upstream"
	"sluice/shared/upstream/bedrock"
)

// tripper answers by a function.
type tripper func(r *http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answered(status int, body string) (*http.Response, error) {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
}

// FuzzHosts: whatever a tenant enters, the way without the guard leads to AWS's own hosts only, and a path stays below the
// operation's.
func FuzzHosts(f *testing.F) {
	for _, s := range [][4]string{{"us-east-1", "", "invoke", sonnet}, {"", "https://bedrock-runtime.us-east-1.amazonaws.com/anthropic", "", ""}, {"a-b", "https://x@bedrock.us-east-1.amazonaws.com@evil", "converse", "arn:aws:x/y"},
		{"us-east-1", "https://vpce-1.bedrock-runtime.us-east-1.vpce.amazonaws.com:443", "invoke", ".."}, {"us-east-1", "https://bedrock-mantle.us-east-1.api.aws.", "", ""}} {
		f.Add(s[0], s[1], s[2], s[3])
	}
	f.Fuzz(func(t *testing.T, region, base, api, model string) {
		check := func(own bool) tripper {
			return func(r *http.Request) (*http.Response, error) {
				host, _ := url.Parse(r.URL.String())
				aws := strings.HasSuffix(r.URL.Host, ".amazonaws.com") || strings.HasSuffix(r.URL.Host, ".api.aws")
				if own && (!aws || r.URL.Scheme != "https" || host == nil || host.Host != r.URL.Host || r.Host != r.URL.Host || strings.ContainsAny(r.URL.Host, "@/#?:")) {
					t.Errorf("%q %q goes unguarded to %s", region, base, r.URL)
				}
				if r.Method == http.MethodPost && (api == "invoke" || api == "converse") {
					parts := strings.Split(r.URL.EscapedPath(), "/model/")
					if last := parts[len(parts)-1]; strings.Count(last, "/") != 1 || strings.HasPrefix(last, ".") {
						t.Errorf("id %q becomes %s", model, r.URL.EscapedPath())
					}
				}
				return answered(200, "{}")
			}
		}
		cl := bedrock.New(bedrock.Options{Transports: &upstream.Transports{Operator: check(true), Guarded: check(false)}})
		r := request("{}")
		r.Model = model
		if resp, err := cl.Send(t.Context(), target(keysJSON, core.Node{Region: region, BaseURL: base, API: api}), r); err == nil {
			_ = resp.Body.Close()
		} else if f := upstream.ClassifyError(err); f.Reason == "" {
			t.Errorf("no reason: %v", err)
		}
		_, _ = cl.Models(t.Context(), target(keysJSON, core.Node{Region: region, BaseURL: base, API: "messages"}))
	})
}

// FuzzToken: whatever the token service answers, there are keys that may go into a header, or an error with a reason.
func FuzzToken(f *testing.F) {
	f.Add(200, "<Credentials><AccessKeyId>ASIAEXAMPLE000000001</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2126-11-22T13:00:00Z</Expiration></Credentials>")
	f.Add(403, "<Error><Code>AccessDenied</Code><Message>x</Message></Error>")
	f.Fuzz(func(t *testing.T, status int, body string) {
		rt := tripper(func(r *http.Request) (*http.Response, error) {
			if strings.HasPrefix(r.URL.Host, "sts.") {
				return answered(status, body)
			}
			for _, name := range []string{"Authorization", "X-Amz-Security-Token"} {
				if v := r.Header.Get(name); v == "" || strings.ContainsAny(v, "\r\n") {
					t.Errorf("%s is %q", name, v)
				}
			}
			return answered(200, "{}")
		})
		cl := bedrock.New(bedrock.Options{Transports: &upstream.Transports{Operator: rt, Guarded: rt}})
		if resp, err := cl.Send(t.Context(), target(roleJSON, core.Node{Region: "us-east-1", API: "invoke"}), request("{}")); err == nil {
			_ = resp.Body.Close()
		} else if f := upstream.ClassifyError(err); f.Reason == "" || f.Class == upstream.OK {
			t.Errorf("got %+v", f)
		}
	})
}
