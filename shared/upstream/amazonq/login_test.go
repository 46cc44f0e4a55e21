package amazonq_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/upstream"
	"sluice/shared/upstream/amazonq"
)

// login is over true transports to an operator's token endpoint, written as the guide writes it: with its path.
func login(t *testing.T, h http.HandlerFunc) *amazonq.Login {
	return amazonq.NewLogin(amazonq.Options{Transports: real(t), TokenEndpoint: serve(t, h) + "/token", Now: fixed})
}

var cred = amazonq.Credential{ClientID: "id", ClientSecret: "secret", RefreshToken: "own"}

func TestLogin_Flow(t *testing.T) {
	var asked []string
	l := login(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		asked = append(asked, r.Method+" "+r.URL.Path+" "+string(b))
		if r.Header.Get("User-Agent") != "sluice" || r.Header.Get("X-Amz-User-Agent") != "" || r.Header.Get("Authorization") != "" {
			t.Errorf("headers %v", r.Header)
		}
		_, _ = io.WriteString(w, map[string]string{
			"/client/register":      `{"clientId":"id","clientSecret":"secret","clientSecretExpiresAt":1800000000}`,
			"/device_authorization": `{"deviceCode":"dev","userCode":"ABCD-EFGH","verificationUri":"https://device.example/","verificationUriComplete":"javascript:alert(1)","expiresIn":600,"interval":1}`,
			"/token":                `{"accessToken":"at","refreshToken":"rt","expiresIn":3600,"tokenType":"Bearer"}`,
		}[r.URL.Path])
	})
	r, err := l.Register(t.Context(), "")
	if err != nil || r.ClientID != "id" || r.ClientSecret.Reveal() != "secret" || r.Expires.Unix() != 1800000000 {
		t.Fatalf("got %+v, %v", r, err)
	}
	d, err := l.StartDevice(t.Context(), amazonq.Credential{ClientID: "id", ClientSecret: "secret"})
	if err != nil || d.DeviceCode.Reveal() != "dev" || d.UserCode != "ABCD-EFGH" || d.VerifyURL != "https://device.example/" || d.CompleteURL != "" ||
		d.Interval != time.Second || d.Expires != fixed().Add(10*time.Minute) {
		t.Fatalf("got %+v, %v", d, err)
	}
	g, err := l.PollDevice(t.Context(), cred, d.DeviceCode)
	if err != nil || g.Access.Reveal() != "at" || g.Refresh.Reveal() != "rt" || g.Expires != fixed().Add(time.Hour) {
		t.Fatalf("got %+v, %v", g, err)
	}
	for i, want := range [][]string{{"POST /client/register ", `"clientType":"public"`, `"codewhisperer:completions","codewhisperer:analysis","codewhisperer:conversations"`},
		{"POST /device_authorization ", `"startUrl":"https://view.awsapps.com/start"`, `"clientId":"id"`},
		{"POST /token ", `"grantType":"urn:ietf:params:oauth:grant-type:device_code"`, `"deviceCode":"dev"`, `"clientSecret":"secret"`}} {
		for _, w := range want {
			if !strings.Contains(asked[i], w) {
				t.Errorf("%s lacks %s", asked[i], w)
			}
		}
	}
}

// BUG 2.7: "rotated refreshToken is never saved": the grant has the new one; and the one that was given is used, not the credential's.
func TestRefresh(t *testing.T) {
	for _, c := range []struct {
		why, given, body    string
		sent, access, fresh string
		life                time.Duration
	}{
		{"rotated", "rotated", `{"accessToken":"at","refreshToken":"next","expiresIn":28800}`, "rotated", "at", "next", 8 * time.Hour},
		{"not rotated, no time", "", `{"accessToken":"at"}`, "own", "at", "", time.Hour},
		{"a time gone by", "", `{"accessToken":"at","expiresIn":-5}`, "own", "at", "", time.Hour},
		{"a time beyond all", "", `{"accessToken":"at","expiresIn":2147483647}`, "own", "at", "", 24 * time.Hour},
		{"no token", "", `{"expiresIn":5}`, "own", "", "", 0},
		{"a token that is no header", "", `{"accessToken":"a\r\nX: y"}`, "own", "", "", 0},
		{"no JSON", "", `<html>`, "own", "", "", 0},
		{"huge", "", `{"accessToken":"` + strings.Repeat("a", 1<<20) + `"}`, "own", "", "", 0},
	} {
		l := login(t, func(w http.ResponseWriter, r *http.Request) {
			var in struct{ GrantType, RefreshToken, ClientID, ClientSecret string }
			if json.NewDecoder(r.Body).Decode(&in) != nil || in.GrantType != "refresh_token" || in.RefreshToken != c.sent || in.ClientID != "id" || in.ClientSecret != "secret" {
				t.Errorf("%s: got %+v", c.why, in)
			}
			_, _ = io.WriteString(w, c.body)
		})
		g, err := l.Refresh(t.Context(), cred, core.NewSecret(c.given))
		if c.access == "" {
			var told *upstream.Error
			if !errors.As(err, &told) || told.Class != upstream.Server || strings.Contains(err.Error(), "html") {
				t.Errorf("%s: got %v", c.why, err)
			}
			continue
		}
		if err != nil || g.Access.Reveal() != c.access || g.Refresh.Reveal() != c.fresh || g.Expires != fixed().Add(c.life) {
			t.Errorf("%s: got %v until %v, %v", c.why, g.Refresh.Reveal(), g.Expires, err)
		}
	}
}

func TestLogin_Errors(t *testing.T) {
	oauth := func(code string) string { return `{"error":"` + code + `","error_description":"secret token r"}` }
	const device, refresh = true, false
	for _, c := range []struct {
		why    string
		device bool
		status int
		shape  string
		body   string
		is     error
		class  upstream.Class
		asked  int
	}{
		{"pending", device, 400, "AuthorizationPendingException", oauth("authorization_pending"), amazonq.ErrPending, 0, 1},
		{"slow down", device, 400, "SlowDownException", oauth("slow_down"), amazonq.ErrSlowDown, 0, 1},
		{"expired", device, 400, "ExpiredTokenException", oauth("expired_token"), amazonq.ErrExpired, 0, 1},
		{"denied", device, 400, "AccessDeniedException", oauth("access_denied"), amazonq.ErrDenied, 0, 1},
		{"a code that was used", device, 400, "InvalidGrantException", oauth("invalid_grant"), amazonq.ErrExpired, 0, 1},
		{"pending, a relay dropped the header", device, 400, "", oauth("authorization_pending"), amazonq.ErrPending, 0, 1},
		{"pending, by type", device, 400, "", `{"__type":"com.amazonaws.ssooidc#AuthorizationPendingException"}`, amazonq.ErrPending, 0, 1},
		{"a poll is not repeated", device, 500, "InternalServerException", oauth("server_error"), nil, upstream.Server, 1},
		{"client unknown", device, 401, "InvalidClientException", oauth("invalid_client"), nil, upstream.Credential, 1},
		{"invalid grant", refresh, 400, "InvalidGrantException", oauth("invalid_grant"), upstream.ErrInvalidGrant, 0, 1},
		{"invalid grant, header with more", refresh, 400, "InvalidGrantException:http://x/", oauth("invalid_grant"), upstream.ErrInvalidGrant, 0, 1},
		{"invalid grant, a relay dropped the header", refresh, 400, "", oauth("invalid_grant"), upstream.ErrInvalidGrant, 0, 1},
		{"invalid grant, the body is lost", refresh, 400, "InvalidGrantException", "<html>", upstream.ErrInvalidGrant, 0, 1},
		{"invalid grant, huge", refresh, 400, "InvalidGrantException", oauth("invalid_grant") + strings.Repeat(" ", 1<<20), upstream.ErrInvalidGrant, 0, 1},
		{"access denied was the end of the login, and passes", refresh, 400, "AccessDeniedException", oauth("access_denied"), nil, upstream.Credential, 1},
		{"and so was an unauthorized client", refresh, 400, "UnauthorizedClientException", oauth("unauthorized_client"), nil, upstream.Credential, 1},
		{"and an expired token", refresh, 400, "", oauth("expired_token"), nil, upstream.Credential, 1},
		{"the registration ended", refresh, 401, "InvalidClientException", oauth("invalid_client"), upstream.ErrInvalidGrant, 0, 1},
		{"invalid request", refresh, 400, "InvalidRequestException", oauth("invalid_request"), nil, upstream.Credential, 1},
		{"slow down is no end of a login", refresh, 400, "SlowDownException", oauth("slow_down"), nil, upstream.RateLimited, 1},
		{"throttled", refresh, 429, "", "", nil, upstream.RateLimited, 1},
		{"fails", refresh, 500, "InternalServerException", oauth("server_error"), nil, upstream.Server, 2},
		{"gateway's page", refresh, 502, "", "<html>", nil, upstream.Server, 2},
		{"redirect", refresh, 307, "", "", nil, upstream.Server, 1},
		{"unknown", refresh, 418, "NewException", "[]", nil, upstream.Credential, 1},
	} {
		asked := 0
		l := login(t, func(w http.ResponseWriter, _ *http.Request) {
			asked++
			if c.shape != "" {
				w.Header().Set("X-Amzn-ErrorType", c.shape)
			}
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		})
		call := func() error {
			if c.device {
				_, err := l.PollDevice(t.Context(), cred, core.NewSecret("dev"))
				return err
			}
			_, err := l.Refresh(t.Context(), cred, core.Secret{})
			return err
		}
		err := call()
		var told *upstream.Error
		switch {
		case c.is != nil && !errors.Is(err, c.is), c.is == nil && (!errors.As(err, &told) || told.Class != c.class):
			t.Errorf("%s: got %v", c.why, err)
		case told != nil && told.Blocked != "":
			t.Errorf("%s: got %+v", c.why, told.Failure)
		case told != nil && told.Class == upstream.RateLimited && (!told.All || told.RetryAfter <= 0):
			t.Errorf("%s: got %+v", c.why, told.Failure)
		case strings.Contains(err.Error(), "secret token"):
			t.Errorf("%s: %q has the service's text", c.why, err)
		}
		if asked != c.asked {
			t.Errorf("%s: asked %d times, want %d", c.why, asked, c.asked)
		}
	}
}

func TestRefresh_Transport(t *testing.T) {
	g := &failing{err: io.ErrUnexpectedEOF}
	l := amazonq.NewLogin(amazonq.Options{Transports: &upstream.Transports{Guarded: g}})
	_, err := l.Refresh(t.Context(), cred, core.Secret{})
	if f := upstream.ClassifyError(err); f.Class != upstream.Connection || errors.Is(err, upstream.ErrInvalidGrant) || g.n != 2 {
		t.Errorf("got %+v, %d tries", f, g.n)
	}
	g = &failing{err: context.DeadlineExceeded}
	l = amazonq.NewLogin(amazonq.Options{Transports: &upstream.Transports{Guarded: g}})
	_, err = l.Refresh(t.Context(), cred, core.Secret{})
	if f := upstream.ClassifyError(err); f.Class != upstream.Timeout {
		t.Errorf("got %+v", f)
	}
	if g.limit <= 0 || g.limit > 20*time.Second {
		t.Errorf("a call may last %v", g.limit)
	}
	if _, err := l.Refresh(t.Context(), amazonq.Credential{APIKey: "ksk_1"}, core.Secret{}); upstream.ClassifyError(err).Class != upstream.Credential {
		t.Errorf("an API key was refreshed: %v", err)
	}
}

type failing struct {
	err   error
	n     int
	limit time.Duration
}

func (f *failing) RoundTrip(r *http.Request) (*http.Response, error) {
	f.n++
	end, _ := r.Context().Deadline()
	f.limit = time.Until(end)
	return nil, f.err
}

func TestLogin_Hosts(t *testing.T) {
	const guide = "https://oidc.us-east-1.amazonaws.com/token"
	for _, c := range []struct {
		why, endpoint, region, want string
		operator                    bool
	}{
		{"Builder ID", "", "", "https://oidc.us-east-1.amazonaws.com/token", false},
		{"Identity Center", "", "eu-west-1", "https://oidc.eu-west-1.amazonaws.com/token", false},
		{"the guide's", guide, "", guide, true},
		{"the guide's, same region", guide, "us-east-1", guide, true},
		{"the guide's is no place for another region", guide, "eu-west-1", "https://oidc.eu-west-1.amazonaws.com/token", false},
		{"without path", "http://fake:1", "eu-west-1", "http://fake:1/token", true},
		{"with a slash", "http://fake:1/token/", "", "http://fake:1/token", true},
		{"a relay's path", "http://fake:1/oidc/token?x=1", "", "http://fake:1/oidc/token", true},
		{"hostile region", "", "evil.example/x", "", false},
		{"hostile region with an endpoint", "http://fake:1", "a@b", "", false},
		{"bad endpoint", "ftp://x", "", "", false},
	} {
		g, o := &capture{}, &capture{}
		g.answers = []func() *http.Response{answer(200, `{"accessToken":"at"}`)}
		o.answers = g.answers
		l := amazonq.NewLogin(amazonq.Options{Transports: &upstream.Transports{Guarded: g, Operator: o}, TokenEndpoint: c.endpoint})
		with := cred
		with.Region = c.region
		_, err := l.Refresh(t.Context(), with, core.Secret{})
		got := append(g.got, o.got...)
		if c.want == "" {
			if err == nil || len(got) > 0 || strings.Contains(err.Error(), "evil") {
				t.Errorf("%s: got %v, %d requests", c.why, err, len(got))
			}
			continue
		}
		if err != nil || len(got) != 1 || got[0].URL.String() != c.want || len(o.got) == 1 != c.operator {
			t.Errorf("%s: got %v, %v", c.why, got, err)
		}
	}
}

// A start URL of a login is data for the service: nothing but https gets that far, and nothing is dialled.
func TestStartDevice_StartURL(t *testing.T) {
	l := login(t, func(http.ResponseWriter, *http.Request) { t.Error("asked") })
	for _, u := range []string{"http://x.awsapps.com/start", "javascript:1", "https://", "x", "https://x/" + strings.Repeat("a", 600)} {
		if _, err := l.StartDevice(t.Context(), amazonq.Credential{ClientID: "c", ClientSecret: "s", StartURL: u}); err == nil {
			t.Errorf("%.40s: no error", u)
		}
	}
}

func TestParseCredential(t *testing.T) {
	full := amazonq.Credential{RefreshToken: "r", ClientID: "c", ClientSecret: "s", Region: "eu-west-1", StartURL: "https://d-1.awsapps.com/start"}
	for _, c := range []struct {
		why, in string
		want    amazonq.Credential
		err     string
	}{
		{"ours", full.Secret().Reveal(), full, ""},
		{"AWS's file", `{"refreshToken":"r","clientId":"c","clientSecret":"s","region":"eu-west-1","startUrl":"https://d-1.awsapps.com/start","expiresAt":"2026"}`, full, ""},
		{"API key", " ksk_a1\n", amazonq.Credential{APIKey: "ksk_a1"}, ""},
		{"API key in JSON", `{"api_key":"ksk_a1"}`, amazonq.Credential{APIKey: "ksk_a1"}, ""},
		{"API key with a space", "ksk_a b-hidden", amazonq.Credential{}, "API key"},
		{"API key of another product", `{"api_key":"sk-hidden"}`, amazonq.Credential{}, "API key"},
		{"both", `{"api_key":"ksk_1","refresh_token":"hidden"}`, amazonq.Credential{}, "one of them"},
		{"no refresh token", `{"client_id":"c","client_secret":"s"}`, amazonq.Credential{}, "refresh_token"},
		{"no client", `{"refresh_token":"hidden","client_secret":"s"}`, amazonq.Credential{}, "client_id"},
		{"no secret", `{"refresh_token":"hidden","client_id":"c"}`, amazonq.Credential{}, "client_secret"},
		{"hostile region", `{"refresh_token":"hidden","client_id":"c","client_secret":"s","region":"hidden/"}`, amazonq.Credential{}, "region"},
		{"a bare refresh token", "aorAAAAhidden", amazonq.Credential{}, "neither"},
		{"nothing", "", amazonq.Credential{}, "neither"},
		{"cut", `{"refresh_token":"hidden`, amazonq.Credential{}, "neither"},
		{"huge", strings.Repeat("x", 40<<10), amazonq.Credential{}, "too long"},
	} {
		got, err := amazonq.ParseCredential(core.NewSecret(c.in))
		if got != c.want || (err == nil) != (c.err == "") || err != nil && (!strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "hidden")) {
			t.Errorf("%s: error %v", c.why, err)
		}
	}
	j, _ := json.Marshal(full)
	for _, s := range []string{fmt.Sprintf("%v %+v %#v %s %q %x", full, full, full, full, full, full), string(j), full.LogValue().String()} {
		if strings.Contains(s, "awsapps") || !strings.Contains(s, "redacted") {
			t.Errorf("it prints as %s", s)
		}
	}
}

func FuzzParseCredential(f *testing.F) {
	f.Add("ksk_1")
	f.Add(loginJSON)
	f.Fuzz(func(t *testing.T, s string) {
		c, err := amazonq.ParseCredential(core.NewSecret(s))
		if err != nil {
			return
		}
		if again, err := amazonq.ParseCredential(c.Secret()); err != nil || again != c {
			t.Errorf("%q does not come back: %v", s, err)
		}
	})
}
