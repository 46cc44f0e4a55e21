package amazonq

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"

	"sluice/shared/core"
	"sluice/shared/upstream"
)

// BuilderIDStartURL is the login page of AWS Builder ID, used where a login names none.
const BuilderIDStartURL = "https://view.awsapps.com/start"

const (
	tries       = 2
	grantDevice = "urn:ietf:params:oauth:grant-type:device_code"
	grantFresh  = "refresh_token"

	usualExpiry   = time.Hour // of an access token whose answer names none
	maxExpiry     = 24 * time.Hour
	usualInterval = 5 * time.Second
	maxInterval   = time.Minute
	usualDevice   = 10 * time.Minute
	maxDevice     = time.Hour
)

// Errors of PollDevice.
var (
	ErrPending  = errors.New("the login is not confirmed yet; ask again after the interval")
	ErrSlowDown = errors.New("the login is asked for too often; ask again after the interval and 5 seconds more")
	ErrExpired  = errors.New("the login was not confirmed in time; start it again")
	ErrDenied   = errors.New("the login was refused; start it again and allow it")
)

// scopes are what conversations need.
func scopes() []string {
	return []string{"codewhisperer:completions", "codewhisperer:analysis", "codewhisperer:conversations"}
}

// Login drives the device flow and refreshes tokens at AWS's token service (SSO OIDC). It is safe for concurrent use. Every
// call takes 20 s at most; an error of the service that none of the named errors fits is an *upstream.Error.
type Login struct{ o Options }

// NewLogin makes a Login. Options.Tokens and Options.Endpoint are not used.
func NewLogin(o Options) *Login { return &Login{o.withDefaults()} }

// Registration is a client registration. A login and all its refreshes need the same one.
type Registration struct {
	ClientID     string
	ClientSecret core.Secret
	Expires      time.Time // zero: the service told none
}

// Device is a login under way.
type Device struct {
	DeviceCode core.Secret
	UserCode   string // what the person compares or enters
	VerifyURL  string // where the person confirms; http or https
	// CompleteURL is VerifyURL with the code in it; empty: the service gave none.
	CompleteURL string
	Interval    time.Duration // between polls
	Expires     time.Time
}

// Register registers this product as a public client with the token service of a region (empty: Builder ID's).
func (l *Login) Register(ctx context.Context, region string) (Registration, error) {
	var r Registration
	err := l.call(ctx, region, tries, func(ctx context.Context, c *ssooidc.Client) error {
		out, err := c.RegisterClient(ctx, &ssooidc.RegisterClientInput{ClientName: aws.String(userAgent), ClientType: aws.String("public"), Scopes: scopes()})
		if err != nil {
			return err
		}
		r = Registration{ClientID: aws.ToString(out.ClientId), ClientSecret: core.NewSecret(aws.ToString(out.ClientSecret))}
		if out.ClientSecretExpiresAt > 0 && out.ClientSecretExpiresAt < 1e11 {
			r.Expires = time.Unix(out.ClientSecretExpiresAt, 0).UTC()
		}
		if r.ClientID == "" || r.ClientSecret.IsZero() {
			return unusable()
		}
		return nil
	})
	return r, err
}

// StartDevice begins a login with the ClientID, ClientSecret, Region and StartURL of c.
func (l *Login) StartDevice(ctx context.Context, c Credential) (Device, error) {
	start := either(c.StartURL, BuilderIDStartURL)
	if u, err := url.Parse(start); err != nil || u.Scheme != "https" || u.Host == "" || len(start) > 512 {
		return Device{}, misconfigured("the start URL is not an https address; enter the one of your AWS access portal")
	}
	var d Device
	err := l.call(ctx, c.Region, tries, func(ctx context.Context, sdk *ssooidc.Client) error {
		out, err := sdk.StartDeviceAuthorization(ctx, &ssooidc.StartDeviceAuthorizationInput{
			ClientId: aws.String(c.ClientID), ClientSecret: aws.String(c.ClientSecret), StartUrl: aws.String(start)})
		if err != nil {
			return err
		}
		d = Device{
			DeviceCode: core.NewSecret(aws.ToString(out.DeviceCode)), UserCode: named(aws.ToString(out.UserCode)),
			VerifyURL: link(aws.ToString(out.VerificationUri)), CompleteURL: link(aws.ToString(out.VerificationUriComplete)),
			Interval: seconds(out.Interval, usualInterval, maxInterval), Expires: l.o.Now().Add(seconds(out.ExpiresIn, usualDevice, maxDevice)),
		}
		if d.DeviceCode.IsZero() || d.UserCode == "" || d.VerifyURL == "" && d.CompleteURL == "" {
			return unusable()
		}
		return nil
	})
	return d, err
}

// PollDevice asks once whether a login was confirmed. ErrPending, ErrSlowDown, ErrExpired and ErrDenied tell how it stands.
// It is not repeated by itself: an answer is given once.
func (l *Login) PollDevice(ctx context.Context, c Credential, device core.Secret) (upstream.Grant, error) {
	return l.createToken(ctx, c, 1, &ssooidc.CreateTokenInput{GrantType: aws.String(grantDevice), DeviceCode: aws.String(device.Reveal())})
}

// Refresh exchanges a refresh token (empty: the credential's own) for an access token. The error wraps
// upstream.ErrInvalidGrant when only a new login helps: the token or the registration is no longer good.
func (l *Login) Refresh(ctx context.Context, c Credential, refresh core.Secret) (upstream.Grant, error) {
	token := either(refresh.Reveal(), c.RefreshToken)
	if token == "" || c.ClientID == "" || c.ClientSecret == "" {
		return upstream.Grant{}, &upstream.Error{Failure: upstream.Failure{Class: upstream.Credential,
			Reason: "the node's credential has no login to refresh"}}
	}
	return l.createToken(ctx, c, tries, &ssooidc.CreateTokenInput{GrantType: aws.String(grantFresh), RefreshToken: aws.String(token)})
}

func (l *Login) createToken(ctx context.Context, c Credential, tries int, in *ssooidc.CreateTokenInput) (upstream.Grant, error) {
	in.ClientId, in.ClientSecret = aws.String(c.ClientID), aws.String(c.ClientSecret)
	var g upstream.Grant
	err := l.call(ctx, c.Region, tries, func(ctx context.Context, sdk *ssooidc.Client) error {
		out, err := sdk.CreateToken(ctx, in)
		if err != nil {
			return judge(err, *in.GrantType)
		}
		g = upstream.Grant{
			Access: core.NewSecret(aws.ToString(out.AccessToken)), Refresh: core.NewSecret(aws.ToString(out.RefreshToken)),
			Expires: l.o.Now().Add(seconds(out.ExpiresIn, usualExpiry, maxExpiry)),
		}
		if !headerSafe(g.Access.Reveal()) {
			return unusable()
		}
		return nil
	})
	return g, err
}

// call runs f with a client for the region's token service.
func (l *Login) call(ctx context.Context, region string, tries int, f func(context.Context, *ssooidc.Client) error) error {
	base, rt, err := l.service(region)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	client := ssooidc.New(ssooidc.Options{
		Region: either(region, defaultRegion), BaseEndpoint: aws.String(base), HTTPClient: door{rt}, Credentials: aws.AnonymousCredentials{},
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = tries, time.Second }),
	})
	if err := f(ctx, client); err != nil {
		return judge(err, "")
	}
	return nil
}

// service is the address of the region's token service and the way there.
func (l *Login) service(region string) (string, http.RoundTripper, error) {
	if region != "" && !upstream.ValidRegion(region) {
		return "", nil, misconfigured("the region of the login is not the name of a region, such as us-east-1")
	}
	if raw := l.o.TokenEndpoint; raw != "" {
		u, ok := parseEndpoint(raw)
		if !ok {
			return "", nil, misconfigured("AMAZONQ_TOKEN_ENDPOINT is not a usable address; correct it")
		}
		if own, isOwn := regionOf(u, "oidc."); !isOwn || region == "" || region == own {
			return trimToken(u), l.o.Transports.Operator, nil
		}
	}
	return fmt.Sprintf("https://oidc.%s.amazonaws.com", either(region, defaultRegion)), l.o.Transports.Guarded, nil
}

// seconds reads a number of seconds from the service, bounded; usual stands for none.
func seconds(n int32, usual, most time.Duration) time.Duration {
	if n <= 0 {
		return usual
	}
	return min(time.Duration(n)*time.Second, most)
}

// link is an address that may be shown as a link, else nothing: a browser would run others.
func link(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || !headerSafe(s) {
		return ""
	}
	return s
}
