package bedrock

import (
	"context"
	"html"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"sluice/shared/upstream"
)

const (
	maxTicket   = 64 << 10 // of an answer of STS
	sessionTime = "3600"   // seconds: the most that a role assumed from a role may have
	leastTime   = time.Minute
)

// assume asks the token service of r's region for keys of its role. It is a form posted to the service, which answers in XML:
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html. The SDK's client would be a good part of a
// function's size.
func (c *Client) assume(ctx context.Context, r *role) (aws.Credentials, error) {
	if r.region == "" {
		return aws.Credentials{}, misconfigured("the node has no region, which a role needs; enter one, such as us-east-1")
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	form := url.Values{"Action": {"AssumeRole"}, "Version": {"2011-06-15"}, "RoleArn": {r.arn}, "RoleSessionName": {r.session}, "DurationSeconds": {sessionTime}}
	if r.external != "" {
		form.Set("ExternalId", r.external)
	}
	to, err := c.o.tokenService(r.region)
	if err != nil {
		return aws.Credentials{}, err
	}
	body := []byte(form.Encode())
	m := &message{to: to, who: &person{source: r.base, signer: r.signer}, method: http.MethodPost, length: int64(len(body)), again: replay(body),
		header: http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=utf-8"}, "Accept": {"text/xml"}, "Accept-Encoding": identityOnly, "User-Agent": noAgent}}
	m.body, _ = m.again()
	resp, err := c.exchange(ctx, m)
	if err != nil {
		return aws.Credentials{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxTicket+1))
	if err != nil {
		return aws.Credentials{}, err
	}
	if resp.StatusCode != http.StatusOK {
		return aws.Credentials{}, &upstream.Error{Failure: refusedRole(resp.StatusCode, resp.Header, b)}
	}
	return c.ticket(b)
}

// ticket reads the keys of an answer.
func (c *Client) ticket(b []byte) (aws.Credentials, error) {
	unusable := &upstream.Error{Failure: upstream.Failure{Class: upstream.Server, Status: http.StatusOK, Reason: "the token service (STS) gave an unusable answer"}}
	if len(b) > maxTicket {
		return aws.Credentials{}, unusable
	}
	section := element(string(b), "Credentials")
	keys := aws.Credentials{AccessKeyID: element(section, "AccessKeyId"), SecretAccessKey: element(section, "SecretAccessKey"),
		SessionToken: element(section, "SessionToken"), CanExpire: true, Source: "an assumed role"}
	expires, err := time.Parse(time.RFC3339, element(section, "Expiration"))
	if err != nil || !headerSafe(keys.AccessKeyID) || !headerSafe(keys.SecretAccessKey) || !headerSafe(keys.SessionToken) {
		return aws.Credentials{}, unusable
	}
	now := c.now()
	if expires.Before(now.Add(leastTime)) {
		return aws.Credentials{}, refused("the keys of the assumed role are expired on arrival: the clock of this machine is off; set it right")
	}
	keys.Expires = expires.UTC()
	if most := now.Add(12 * time.Hour); keys.Expires.After(most) {
		keys.Expires = most // the most that the service gives
	}
	return keys, nil
}

// element is the text of the first element of that name, "" where there is none. The answer's elements that are asked for hold
// text only and have no attributes.
func element(doc, name string) string {
	_, rest, ok := strings.Cut(doc, "<"+name+">")
	if !ok {
		return ""
	}
	text, _, ok := strings.Cut(rest, "</"+name+">")
	if !ok {
		return ""
	}
	return strings.TrimSpace(html.UnescapeString(text))
}

// tokenService is the address of STS for a region. Regional ones know the region's own keys and answer faster than the global one.
func (o Options) tokenService(region string) (address, error) {
	if o.STSEndpoint != "" {
		return o.endpoint(o.STSEndpoint, "STS", "sts", region)
	}
	if !upstream.ValidRegion(region) {
		return address{}, misconfigured("the node's region is not the name of a region, such as us-east-1; correct it")
	}
	to := own("sts", region, "/")
	return to, nil
}

// endpoint is an address that the operator set.
func (o Options) endpoint(raw, what, service, region string) (address, error) {
	to, ok := parseAddress(raw)
	if !ok {
		return address{}, misconfigured("the operator's endpoint for " + what + " is not a usable address; correct it")
	}
	to.service, to.region, to.trusted = service, region, true
	to.url.Path, to.url.RawPath = strings.TrimRight(to.url.Path, "/"), ""
	if service == "sts" && to.url.Path == "" {
		to.url.Path = "/"
	}
	return to, nil
}

// refusedRole tells what to do about a role that is not given.
func refusedRole(status int, h http.Header, b []byte) upstream.Failure {
	v := upstream.ClassifyStatus(status, h)
	f := parseFault(h, b)
	set := func(class upstream.Class, why string) upstream.Failure {
		v.All = class == upstream.RateLimited
		return verdict(v, class, "assuming the role: "+why)
	}
	switch {
	case f.kind == "AccessDenied":
		return set(upstream.Credential, "sts:AssumeRole is denied; allow it to the caller in IAM, and in the role's trust policy with the same external id")
	case f.kind == "RegionDisabled":
		return set(upstream.Credential, "the token service is off in the region; turn it on in the account settings of IAM")
	case f.kind == "ValidationError" || f.kind == "Validation" || f.kind == "MalformedPolicyDocument" || f.kind == "PackedPolicyTooLarge":
		return set(upstream.Credential, "the token service refuses the role's ARN, session name or external id; correct them")
	case f.kind == "Throttling" || v.Class == upstream.RateLimited:
		v.RetryAfter = upstream.ClassifyStatus(http.StatusTooManyRequests, h).RetryAfter
		return set(upstream.RateLimited, "throttled by the token service (STS)")
	case f.credential(status):
		return set(upstream.Credential, f.remedy())
	case v.Class == upstream.ClientFault: // nothing that a client asked
		return set(upstream.Credential, "refused by the token service (STS)")
	}
	if v.Class == upstream.OK { // 2xx other than 200
		v.Class = upstream.Server
	}
	return set(v.Class, "the token service (STS) failed")
}
