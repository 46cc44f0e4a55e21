package upstreamtest

import (
	"crypto/subtle"
	"net/http"
	"slices"
	"strings"
	"time"
)

// bMaxSkew is how far a signature's time may be from the service's.
const bMaxSkew = 5 * time.Minute

func (k *Bedrock) clock() time.Time {
	k.state.mu.Lock()
	defer k.state.mu.Unlock()
	return k.state.now()
}

// authorized verifies the credential of a request, or refuses.
func (k *Bedrock) authorized(x *exchange) bool {
	header := x.req.Header.Get("Authorization")
	if x.bedrock.host == hostExternal && x.req.Header.Get("Anthropic-Workspace-Id") == "" {
		return k.refuse(x, bValidation("anthropic-workspace-id: header is required"), "no workspace")
	}
	if key, ok := apiKey(x.req.Header, x.bedrock); ok {
		return k.knownKey(x, key)
	}
	if header == "" {
		return k.refuse(x, bForbidden("MissingAuthenticationTokenException", "Missing Authentication Token"), "no credential")
	}
	a, problem := parseAuthorization(header)
	if problem != "" {
		return k.refuse(x, bForbidden("IncompleteSignatureException", problem), "malformed Authorization header")
	}
	e, cause := k.verify(x.req, a, x.bedrock)
	if cause != "" {
		return k.refuse(x, e, cause)
	}
	return true
}

// apiKey is the request's Bedrock API key. The Messages API takes it as
// x-api-key, too; the token service takes none.
func apiKey(h http.Header, r bedrockRoute) (string, bool) {
	if r.host == hostSTS {
		return "", false
	}
	if key := h.Get("X-Api-Key"); key != "" && r.native {
		return key, true
	}
	scheme, _, _ := strings.Cut(h.Get("Authorization"), " ")
	return bearer(h), strings.EqualFold(scheme, "Bearer")
}

// knownKey refuses an unknown API key: with 401 in the Messages API of mantle
// and of the Claude Platform, which is what the Messages API elsewhere answers,
// with the 403 of the authorizer on the other hosts.
func (k *Bedrock) knownKey(x *exchange, key string) bool {
	k.state.mu.Lock()
	keys := k.state.keys
	k.state.mu.Unlock()
	switch {
	case key != "" && (keys == nil || slices.Contains(keys, key)):
		return true
	case x.bedrock.host == hostMantle || x.bedrock.host == hostExternal:
		return k.refuse(x, bError{http.StatusUnauthorized, "UnrecognizedClientException", "Invalid bearer token", false, false}, "unknown API key")
	}
	return k.refuse(x, bError{http.StatusForbidden, "AccessDeniedException", bBadKey, false, true}, "unknown API key")
}

// verify checks a signature: who, whether still valid, for what, when, and at
// last the signature itself.
func (k *Bedrock) verify(r Request, a sigHeader, route bedrockRoute) (e bError, cause string) {
	k.state.mu.Lock()
	now := k.state.now()
	i := slices.IndexFunc(k.state.credentials, func(c BedrockCredentials) bool { return c.AccessKeyID == a.key })
	var c BedrockCredentials
	if i >= 0 {
		c = k.state.credentials[i]
	}
	k.state.mu.Unlock()
	invalid := func(message string) bError { return bForbidden("InvalidSignatureException", message) }
	switch {
	case i < 0:
		return bForbidden("UnrecognizedClientException", bIsInvalid), "unknown access key " + a.key
	case r.Header.Get("X-Amz-Security-Token") != c.SessionToken:
		return bForbidden("UnrecognizedClientException", bIsInvalid), "the session token is not the one of " + a.key
	case !c.Expires.IsZero() && !now.Before(c.Expires):
		return bForbidden("ExpiredTokenException", bIsExpired), "the credentials " + a.key + " expired"
	}
	if e, cause := checkScope(r, a, route); cause != "" {
		return invalid(e), cause
	}
	if e, cause := checkTime(r.Header.Get("X-Amz-Date"), now); cause != "" {
		return invalid(e), cause
	}
	if name := unsigned(r, a.signed); name != "" {
		return invalid("'" + name + "' must be a 'SignedHeader' in the AWS Authorization."), "header " + name + " is not signed"
	}
	canonical, want, err := SigV4(r, c.SecretAccessKey)
	if err != nil {
		return invalid(bMismatch), err.Error()
	}
	if hash := r.Header.Get("X-Amz-Content-Sha256"); hash != "" && hash != sha256Hex(r.Body) {
		return invalid(bMismatch), "X-Amz-Content-Sha256 is not the hash of the body"
	}
	if subtle.ConstantTimeCompare([]byte(want), []byte(a.signature)) != 1 {
		return invalid(bMismatch), "the signature does not match; canonical request:\n" + canonical
	}
	return bError{}, ""
}

// checkScope wants the scope of the host that the request came to.
func checkScope(r Request, a sigHeader, route bedrockRoute) (message, cause string) {
	date := r.Header.Get("X-Amz-Date")
	switch {
	case a.region != route.region:
		return "Credential should be scoped to a valid region. ", "signed for region " + a.region + ", not " + route.region
	case a.service != route.host.signing():
		return "Credential should be scoped to correct service: '" + route.host.signing() + "'. ", "signed for service " + a.service + ", not " + route.host.signing()
	case a.terminator != "aws4_request":
		return "Credential should be scoped with a valid terminator: 'aws4_request', not '" + a.terminator + "'. ", "terminator " + a.terminator
	case len(date) >= 8 && a.date != date[:8]:
		return "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '" + a.date + "' != '" + date[:8] + "', from '" + date + "'.", "date of the scope"
	}
	return "", ""
}

func checkTime(date string, now time.Time) (message, cause string) {
	t, err := time.Parse(sigTime, date)
	if err != nil {
		return "Date must be in ISO-8601 'basic format'. Got '" + date + "'. See http://en.wikipedia.org/wiki/ISO_8601", "X-Amz-Date " + quote(date)
	}
	now = now.UTC().Truncate(time.Second)
	text := now.Format(sigTime)
	switch early, late := now.Add(-bMaxSkew), now.Add(bMaxSkew); {
	case t.Before(early):
		return "Signature expired: " + date + " is now earlier than " + early.Format(sigTime) + " (" + text + " - 5 min.)", "the client's clock is slow"
	case t.After(late):
		return "Signature not yet current: " + date + " is still later than " + late.Format(sigTime) + " (" + text + " + 5 min.)", "the client's clock is fast"
	}
	return "", ""
}
