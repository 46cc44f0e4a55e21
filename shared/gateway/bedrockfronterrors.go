package gateway

import (
	"net/http"
	"strings"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/translator"
	"sluice/shared/upstream"
)

// awsError is the status and the name that an error has in AWS's form. Source: the errors of service/bedrockruntime, and
// CommonErrors of the API Reference. AWS's SDKs repeat what is called throttling, and the statuses 500, 502, 503 and 504. The
// service answers 403 to a wrong key; Claude Code takes that for credentials that lapsed and asks again for minutes, whatever
// x-should-retry says, so a key of ours that is wrong is 401, which it asks again about once.
func awsError(status int, code string) (int, string) {
	switch status {
	case http.StatusUnauthorized:
		return http.StatusUnauthorized, "UnrecognizedClientException"
	case http.StatusForbidden, http.StatusPaymentRequired:
		return http.StatusForbidden, "AccessDeniedException"
	case http.StatusNotFound:
		return http.StatusNotFound, "ResourceNotFoundException"
	case http.StatusMethodNotAllowed:
		return http.StatusMethodNotAllowed, "UnknownOperationException"
	case http.StatusConflict:
		return http.StatusBadRequest, "ConflictException"
	case http.StatusRequestEntityTooLarge:
		return http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException"
	case http.StatusTooManyRequests:
		if code == "insufficient_quota" { // a budget: repeating it is of no use
			return http.StatusTooManyRequests, "ServiceQuotaExceededException"
		}
		return http.StatusTooManyRequests, "ThrottlingException"
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return http.StatusRequestTimeout, "ModelTimeoutException"
	case http.StatusServiceUnavailable, 529:
		return http.StatusServiceUnavailable, "ServiceUnavailableException"
	}
	if status < 500 {
		return http.StatusBadRequest, "ValidationException"
	}
	return http.StatusInternalServerError, "InternalServerException"
}

// appendAWSError appends the body of an error in AWS's form; its name goes into the header.
func appendAWSError(dst []byte, h http.Header, name, message string) []byte {
	h["X-Amzn-Errortype"] = []string{name}
	return append(rawjson.AppendString(append(dst, `{"message":`...), message), '}')
}

// statusOf is the status with which WriteError answers.
func statusOf(r *http.Request, e *core.Error) int {
	if dialectName(r) != core.DialectBedrockInvoke {
		return e.Code.Status()
	}
	status, _ := awsError(e.Code.Status(), e.Kind)
	return status
}

// frontError is an upstream's error as the client reads it. The service's own keeps its name.
func (x *exchange) frontError(h http.Header, e *translator.Error, o *outcome) (body []byte, status int) {
	x.frontID(h)
	status, name := awsError(e.Status, e.Code)
	if o.wire == dialectInvoke || o.wire == dialectConverse || o.retold() > 0 {
		told, _, _ := strings.Cut(o.header.Get("X-Amzn-Errortype"), ":") // the shape's address may be behind it
		if told = told[strings.LastIndexByte(told, '#')+1:]; o.status >= 400 && upperCamel(told) {
			status, name = o.status, told
		}
	}
	return appendAWSError(nil, h, name, e.Message), status
}

// upperCamel reports whether a text is the name of a shape.
func upperCamel(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// refusedSignature is the error of a request that AWS's credentials signed, which the gateway cannot check and must not see
// pass. nil: the request is not signed.
func refusedSignature(r *http.Request) *core.Error {
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-") && r.URL.Query().Get("X-Amz-Algorithm") == "" {
		return nil
	}
	return core.E(core.CodeForbidden, "The request is signed with AWS credentials. Send the gateway's key in their place, as Authorization: Bearer or x-api-key: "+
		"set AWS_BEARER_TOKEN_BEDROCK to it, or, for Claude Code, CLAUDE_CODE_SKIP_BEDROCK_AUTH=1 and ANTHROPIC_AUTH_TOKEN.")
}

// copyRetry copies what an upstream says about trying again, and its id of the request.
func copyRetry(h, from http.Header) {
	for _, name := range [...]string{"Retry-After", "Retry-After-Ms", "X-Should-Retry"} {
		if v := from[name]; len(v) > 0 {
			h[name] = v
		}
	}
	if id := upstream.RequestID(from); id != "" {
		h["X-Upstream-Request-Id"] = []string{id}
	}
}
