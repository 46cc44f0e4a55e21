package upstreamtest_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc/types"
	"github.com/aws/smithy-go"

	. "sluice/shared/upstream/upstreamtest"
)

const (
	grantDevice = "urn:ietf:params:oauth:grant-type:device_code"
	builderID   = "https://view.awsapps.com/start"
)

// oidcClient is the official client of the service.
func oidcClient(o *OIDC) *ssooidc.Client {
	return ssooidc.New(ssooidc.Options{Region: "us-east-1", BaseEndpoint: aws.String(o.URL), Retryer: aws.NopRetryer{}, HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}})
}

// flow is a device authorization that has been started.
type flow struct {
	client *ssooidc.Client
	reg    *ssooidc.RegisterClientOutput
	auth   *ssooidc.StartDeviceAuthorizationOutput
}

func startFlow(t *testing.T, o *OIDC) flow {
	t.Helper()
	f := flow{client: oidcClient(o)}
	var err error
	f.reg, err = f.client.RegisterClient(deadline(t), &ssooidc.RegisterClientInput{ClientName: aws.String("test"), ClientType: aws.String("public"), Scopes: []string{"codewhisperer:completions"}})
	if err != nil {
		t.Fatal(err)
	}
	f.auth, err = f.client.StartDeviceAuthorization(deadline(t), &ssooidc.StartDeviceAuthorizationInput{ClientId: f.reg.ClientId, ClientSecret: f.reg.ClientSecret, StartUrl: aws.String(builderID)})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f flow) poll(t *testing.T) (*ssooidc.CreateTokenOutput, error) {
	t.Helper()
	return f.client.CreateToken(deadline(t), &ssooidc.CreateTokenInput{ClientId: f.reg.ClientId, ClientSecret: f.reg.ClientSecret, GrantType: aws.String(grantDevice), DeviceCode: f.auth.DeviceCode})
}

func refresh(t *testing.T, o *OIDC, l Login, token string) (*ssooidc.CreateTokenOutput, error) {
	t.Helper()
	return oidcClient(o).CreateToken(deadline(t), &ssooidc.CreateTokenInput{ClientId: &l.ClientID, ClientSecret: &l.ClientSecret, GrantType: aws.String("refresh_token"), RefreshToken: &token})
}

// granted wraps a call that must give tokens.
func granted(t *testing.T) func(*ssooidc.CreateTokenOutput, error) *ssooidc.CreateTokenOutput {
	t.Helper()
	return func(out *ssooidc.CreateTokenOutput, err error) *ssooidc.CreateTokenOutput {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

// mustRefuse checks that err is of the type E and says code.
func mustRefuse[E error](t *testing.T, err error, code string) {
	t.Helper()
	var want E
	if !errors.As(err, &want) {
		t.Fatalf("got %v, want %T", err, want)
	}
	if got := oauthCode(want); !strings.Contains(got, code) {
		t.Errorf("got %q, want %q", got, code)
	}
}

// oauthCode is the OAuth code of an error.
func oauthCode(err error) string {
	switch e := err.(type) {
	case *types.AuthorizationPendingException:
		return aws.ToString(e.Error_)
	case *types.SlowDownException:
		return aws.ToString(e.Error_)
	case *types.InvalidGrantException:
		return aws.ToString(e.Error_) + ": " + aws.ToString(e.Error_description)
	case *types.InvalidClientException:
		return aws.ToString(e.Error_)
	}
	return ""
}

func TestOIDCDeviceFlow(t *testing.T) {
	o := NewOIDC(t)
	o.SetInterval(3)
	o.SetExpiry(90 * time.Second)
	f := startFlow(t, o)
	if a := f.auth; a.Interval != 3 || a.ExpiresIn != 600 || *a.VerificationUriComplete != *a.VerificationUri+"?user_code="+*a.UserCode || len(*a.UserCode) != 9 {
		t.Errorf("got %+v", a)
	}
	if days := time.Until(time.Unix(f.reg.ClientSecretExpiresAt, 0)).Hours() / 24; days < 89 || days > 91 {
		t.Errorf("the client lives for %v days", days)
	}
	for range 3 {
		_, err := f.poll(t)
		mustRefuse[*types.AuthorizationPendingException](t, err, "authorization_pending")
	}
	o.SlowDown(1)
	_, err := f.poll(t)
	mustRefuse[*types.SlowDownException](t, err, "slow_down")
	if o.Approve("XXXX-XXXX") || !o.Approve(*f.auth.UserCode) || o.Approve("") {
		t.Error("approved the wrong code")
	}
	out := granted(t)(f.poll(t))
	if out.ExpiresIn != 90 || *out.TokenType != "Bearer" || !o.Valid(*out.AccessToken) || *out.RefreshToken == "" || o.Polls() != 5 {
		t.Errorf("got %+v, %d polls", out, o.Polls())
	}
	_, err = f.poll(t)
	mustRefuse[*types.InvalidGrantException](t, err, "invalid_grant")
	l := Login{ClientID: *f.reg.ClientId, ClientSecret: *f.reg.ClientSecret}
	if next, err := refresh(t, o, l, *out.RefreshToken); err != nil || *next.RefreshToken == *out.RefreshToken || o.Refreshes() != 1 {
		t.Errorf("got %v, %v", next, err)
	}
}

func TestOIDCDeviceEnds(t *testing.T) {
	o := NewOIDC(t)
	f := startFlow(t, o)
	o.Deny("")
	_, err := f.poll(t)
	mustRefuse[*types.AccessDeniedException](t, err, "")
	f = startFlow(t, o)
	o.Expire(*f.auth.UserCode)
	_, err = f.poll(t)
	mustRefuse[*types.ExpiredTokenException](t, err, "")
	f = startFlow(t, o)
	o.SetClock(func() time.Time { return time.Now().Add(601 * time.Second) })
	_, err = f.poll(t)
	mustRefuse[*types.ExpiredTokenException](t, err, "")
	o.Reset()
	o.Pending(2)
	f = startFlow(t, o)
	for range 2 {
		_, err = f.poll(t)
		mustRefuse[*types.AuthorizationPendingException](t, err, "")
	}
	if out, err := f.poll(t); err != nil || !o.Valid(*out.AccessToken) {
		t.Errorf("got %v", err)
	}
}

func TestOIDCRotation(t *testing.T) {
	for _, c := range []struct {
		why  string
		mode Rotation
		same bool // as the one sent
		void bool // the one sent is void after
	}{
		{"a new one", Rotate, false, true},
		{"the same", RotateKeep, true, false},
		{"none", RotateOmit, false, false},
	} {
		t.Run(c.why, func(t *testing.T) {
			o := NewOIDC(t)
			o.SetRotation(c.mode)
			l := o.Login()
			out := granted(t)(refresh(t, o, l, l.RefreshToken))
			if (aws.ToString(out.RefreshToken) == l.RefreshToken) != c.same || (out.RefreshToken == nil) != (c.mode == RotateOmit) {
				t.Errorf("got %v", aws.ToString(out.RefreshToken))
			}
			if *out.AccessToken == l.AccessToken || !o.Valid(l.AccessToken) || !o.Valid(*out.AccessToken) {
				t.Error("the access token")
			}
			_, err := refresh(t, o, l, l.RefreshToken)
			if c.void {
				mustRefuse[*types.InvalidGrantException](t, err, "invalid_grant: Invalid refresh token provided")
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOIDCRefusals(t *testing.T) {
	o := NewOIDC(t)
	l, other := o.Login(), o.Login()
	_, err := refresh(t, o, l, other.RefreshToken)
	mustRefuse[*types.InvalidGrantException](t, err, "invalid_grant")
	wrong := l
	wrong.ClientSecret = "x"
	_, err = refresh(t, o, wrong, l.RefreshToken)
	mustRefuse[*types.InvalidClientException](t, err, "invalid_client")
	o.Revoke(l.RefreshToken, l.AccessToken)
	_, err = refresh(t, o, l, l.RefreshToken)
	mustRefuse[*types.InvalidGrantException](t, err, "")
	if o.Valid(l.AccessToken) || !o.Valid(other.AccessToken) || o.Refreshes() != 0 {
		t.Error("revoked the wrong tokens")
	}
	o.RevokeAccess()
	if o.Valid(other.AccessToken) {
		t.Error("an access token is left")
	}
	ctx, c := deadline(t), oidcClient(o)
	_, err = c.CreateToken(ctx, &ssooidc.CreateTokenInput{ClientId: &l.ClientID, ClientSecret: &l.ClientSecret, GrantType: aws.String("password")})
	mustRefuse[*types.UnsupportedGrantTypeException](t, err, "")
	_, err = c.CreateToken(ctx, &ssooidc.CreateTokenInput{ClientId: &l.ClientID, ClientSecret: &l.ClientSecret, GrantType: aws.String("refresh_token")})
	mustRefuse[*types.InvalidRequestException](t, err, "")
	_, err = c.RegisterClient(ctx, &ssooidc.RegisterClientInput{ClientName: aws.String("x"), ClientType: aws.String("private")})
	mustRefuse[*types.InvalidClientMetadataException](t, err, "")
	_, err = c.RegisterClient(ctx, &ssooidc.RegisterClientInput{ClientName: aws.String("x"), ClientType: aws.String("public"), Scopes: []string{""}})
	mustRefuse[*types.InvalidScopeException](t, err, "")
	_, err = c.StartDeviceAuthorization(ctx, &ssooidc.StartDeviceAuthorizationInput{ClientId: &l.ClientID, ClientSecret: &l.ClientSecret, StartUrl: aws.String("start")})
	mustRefuse[*types.InvalidRequestException](t, err, "")
	o.ForgetClients()
	_, err = refresh(t, o, other, other.RefreshToken)
	mustRefuse[*types.InvalidClientException](t, err, "")

	r := newRequest(t, ctx, http.MethodPost, o.URL+"/token", "grant_type=refresh_token")
	mustStatus(t, do(t, r), 400)
	r = newRequest(t, ctx, http.MethodGet, o.URL+"/token", "")
	mustStatus(t, do(t, r), 404)
}

func TestOIDCScript(t *testing.T) {
	o := NewOIDC(t)
	l := o.Login()
	o.Queue(Status(500, ""), Status(400, "gone").ErrorCode("invalid_grant"), Status(429, "").ErrorCode("slow_down"), HTMLError(502), Reply().Cut(BeforeHeaders, EndReset))
	_, err := refresh(t, o, l, l.RefreshToken)
	mustRefuse[*types.InternalServerException](t, err, "")
	_, err = refresh(t, o, l, l.RefreshToken)
	mustRefuse[*types.InvalidGrantException](t, err, "invalid_grant: gone")
	_, err = refresh(t, o, l, l.RefreshToken)
	mustRefuse[*types.SlowDownException](t, err, "")
	for range 2 {
		if _, err = refresh(t, o, l, l.RefreshToken); err == nil {
			t.Error("no error")
		}
	}
	if o.Refreshes() != 0 || !strings.Contains(string(o.Last().Body), l.RefreshToken) {
		t.Errorf("%d refreshes", o.Refreshes())
	}
	o.QueueOperation("RegisterClient", Status(400, "").ErrorCode("unauthorized_client"))
	_, err = oidcClient(o).RegisterClient(deadline(t), &ssooidc.RegisterClientInput{ClientName: aws.String("test"), ClientType: aws.String("public")})
	mustRefuse[*types.UnauthorizedClientException](t, err, "")

	// The answer is lost though the token was rotated.
	o.Queue(Reply().Cut(AfterHeaders, EndReset))
	if _, err = refresh(t, o, l, l.RefreshToken); err == nil || o.Refreshes() != 1 {
		t.Errorf("got %v, %d refreshes", err, o.Refreshes())
	}
	_, err = refresh(t, o, l, l.RefreshToken)
	mustRefuse[*types.InvalidGrantException](t, err, "")
}

func TestOIDCAfterToken(t *testing.T) {
	o := NewOIDC(t)
	l := o.Login()
	ctx, cancel := context.WithCancel(deadline(t))
	var issued []Issued
	left := make(chan struct{})
	o.AfterToken(func(i Issued) {
		issued = append(issued, i)
		cancel()
		<-left // or the answer may still reach the client
	})
	var err error
	go func() {
		defer close(left)
		_, err = oidcClient(o).CreateToken(ctx, &ssooidc.CreateTokenInput{ClientId: &l.ClientID, ClientSecret: &l.ClientSecret, GrantType: aws.String("refresh_token"), RefreshToken: &l.RefreshToken})
	}()
	<-left
	var canceled *smithy.CanceledError
	if !errors.As(err, &canceled) {
		t.Errorf("got %v", err)
	}
	if err := o.WaitDone(deadline(t), 1); err != nil {
		t.Fatal(err)
	}
	if len(issued) != 1 || issued[0].Used != l.RefreshToken || issued[0].Grant != "refresh_token" || !o.Valid(issued[0].AccessToken) || issued[0].ExpiresIn != time.Hour {
		t.Fatalf("got %+v", issued)
	}
	o.AfterToken(nil)
	_, err = refresh(t, o, l, l.RefreshToken)
	mustRefuse[*types.InvalidGrantException](t, err, "")
	if _, err = refresh(t, o, l, issued[0].RefreshToken); err != nil {
		t.Error(err)
	}
}

// Fifty refreshes with one token: one wins.
func TestOIDCRace(t *testing.T) {
	o := NewOIDC(t)
	l := o.Login()
	o.Default(Reply().Pause(BeforeHeaders, time.Millisecond))
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { _, _ = refresh(t, o, l, l.RefreshToken) })
	}
	wg.Wait()
	if o.Refreshes() != 1 || o.Count() != 50 {
		t.Errorf("%d refreshes, %d requests", o.Refreshes(), o.Count())
	}
}

func TestOIDCWithAmazonQ(t *testing.T) {
	o, q := NewOIDC(t), NewAmazonQ(t)
	now := time.Now()
	o.SetClock(func() time.Time { return now })
	q.SetTokens(o.Valid)
	l := o.Login()
	ask := func(token string) int {
		r := qRequest(t, q.URL, qGenerate, qHello)
		r.Header.Set("Authorization", "Bearer "+token)
		return do(t, r).StatusCode
	}
	if got := ask(l.AccessToken); got != 200 {
		t.Errorf("got %d", got)
	}
	now = now.Add(time.Hour)
	if got := ask(l.AccessToken); got != 403 {
		t.Errorf("got %d after an hour", got)
	}
	out := granted(t)(refresh(t, o, l, l.RefreshToken))
	if got := ask(*out.AccessToken); got != 200 {
		t.Errorf("got %d with a new token", got)
	}
}
