package amazonq

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssooidc/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"sluice/shared/upstream"
)

const (
	maxOIDC     = 64 << 10 // of an answer of the token service
	slowCooling = 30 * time.Second
)

// trimToken takes off the operation's path, which the guide's AMAZONQ_TOKEN_ENDPOINT has and the SDK appends itself.
func trimToken(u url.URL) string {
	u.Path = strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/token")
	u.RawPath, u.RawQuery = "", ""
	return u.String()
}

// door is the SDK's way out: our transports, no redirects, bounded answers, no name of another product.
type door struct{ rt http.RoundTripper }

// Do implements the SDK's HTTPClient.
func (d door) Do(r *http.Request) (*http.Response, error) {
	r.Header.Set("User-Agent", userAgent)
	r.Header.Del("X-Amz-User-Agent")
	resp, err := d.rt.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxOIDC))
	_ = resp.Body.Close()
	ok := resp.StatusCode >= 200 && resp.StatusCode < 300
	if err != nil && ok {
		return nil, err // the answer was lost
	}
	if !ok {
		body = nameError(resp.Header, body)
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return resp, nil
}

// nameError makes sure that the SDK can tell an error: by a body that decodes, without the service's text, and by the shape's
// name, which it reads from a header that relays may drop and which the body gives in OAuth's spelling too.
func nameError(h http.Header, body []byte) []byte {
	var b struct {
		Type  label `json:"__type"`
		Error label `json:"error"`
	}
	_ = json.Unmarshal(body, &b) // a page of HTML names nothing
	if h.Get("X-Amzn-Errortype") == "" && b.Type == "" {
		if name := shapeOf(string(b.Error)); name != "" {
			h.Set("X-Amzn-Errortype", name)
		}
	}
	return []byte(`{"error":` + quote(string(b.Error)) + `,"__type":` + quote(string(b.Type)) + `}`)
}

func quote(s string) string {
	b, _ := json.Marshal(s) // a string always encodes
	return string(b)
}

func shapeOf(oauth string) string {
	switch oauth {
	case "invalid_grant":
		return "InvalidGrantException"
	case "invalid_client":
		return "InvalidClientException"
	case "unauthorized_client":
		return "UnauthorizedClientException"
	case "authorization_pending":
		return "AuthorizationPendingException"
	case "slow_down":
		return "SlowDownException"
	case "expired_token":
		return "ExpiredTokenException"
	case "access_denied":
		return "AccessDeniedException"
	}
	return ""
}

// is reports whether err is one of the SDK's error shapes.
func is[T error](err error) bool {
	var e T
	return errors.As(err, &e)
}

// judge turns the SDK's errors into this package's. grant is what CreateToken was asked for, "" for other operations. What it
// has judged already, and transport errors, stay as they are.
func judge(err error, grant string) error {
	var told *upstream.Error
	if errors.As(err, &told) || errors.Is(err, upstream.ErrInvalidGrant) || isLoginState(err) {
		return err
	}
	switch grant {
	case grantDevice:
		switch {
		case is[*types.AuthorizationPendingException](err):
			return ErrPending
		case is[*types.SlowDownException](err):
			return ErrSlowDown
		case is[*types.ExpiredTokenException](err), is[*types.InvalidGrantException](err):
			return ErrExpired
		case is[*types.AccessDeniedException](err):
			return ErrDenied
		}
	case grantFresh:
		switch {
		case is[*types.InvalidGrantException](err), is[*types.InvalidClientException](err): // the latter: the registration ended
			return fmt.Errorf("refresh: %w", upstream.ErrInvalidGrant)
		case is[*types.AccessDeniedException](err), is[*types.UnauthorizedClientException](err), is[*types.ExpiredTokenException](err):
			// they say nothing of the refresh token, and an administrator of the organisation may undo them
			return refusal(upstream.Failure{Class: upstream.Credential}, "refuses access for now")
		}
	}
	var answer *smithyhttp.ResponseError
	switch {
	case is[*smithyhttp.RequestSendError](err): // no answer: the transport's error is within
	case is[*types.SlowDownException](err):
		return refusal(upstream.Failure{Class: upstream.RateLimited, RetryAfter: slowCooling}, "asks to slow down")
	case errors.As(err, &answer) && answer.HTTPStatusCode() != 0:
		return refusal(upstream.ClassifyStatus(answer.HTTPStatusCode(), answer.Response.Header), "failed")
	case is[smithy.APIError](err), is[*smithy.DeserializationError](err):
		return refusal(upstream.Failure{Class: upstream.Server}, "failed")
	}
	return err
}

func isLoginState(err error) bool {
	return errors.Is(err, ErrPending) || errors.Is(err, ErrSlowDown) || errors.Is(err, ErrExpired) || errors.Is(err, ErrDenied)
}

// refusal is an error of the token service. Its text stays out: it may repeat what was sent.
func refusal(f upstream.Failure, what string) error {
	switch f.Class {
	case upstream.OK:
		f.Class, what = upstream.Server, "gave an unusable answer"
	case upstream.ClientFault: // no client has a part in it
		f.Class, what = upstream.Credential, "refuses the login's data"
	case upstream.RateLimited:
		f.All, f.RetryAfter = true, max(f.RetryAfter, time.Second)
	}
	f.Reason = "the token service " + what
	if f.Status != 0 {
		f.Reason += fmt.Sprintf(" (status %d)", f.Status)
	}
	return &upstream.Error{Failure: f}
}

func unusable() error { return refusal(upstream.Failure{}, "") }
