package bedrock

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sluice/shared/upstream"
)

const (
	// dailyCooling is for a used-up day: AWS does not tell when it begins anew, and a refused trial costs nothing.
	dailyCooling = time.Hour
	quotaCooling = time.Minute // for any other quota
	maxMessage   = 1024        // of a message that is looked at: longer ones quote what a client wrote
)

// fault is what an error's headers and body say.
type fault struct {
	kind    string // the shape's name without namespace and without Exception; or the type of an error of Anthropic's form
	message string // "" where it is too long to be the service's own words only
	lower   string
}

// parseFault reads an error: JSON of AWS's form ({"message"}, with the kind in x-amzn-errortype or __type), of Anthropic's
// ({"type":"error","error":{"type","message"}}), or XML of STS. It may be cut or anything at all: what was readable up to
// there counts.
func parseFault(h http.Header, body []byte) fault {
	if len(body) > maxRefusal {
		body = body[:maxRefusal]
	}
	f := fault{kind: shape(h.Get("X-Amzn-Errortype"))}
	if body = bytes.TrimSpace(body); len(body) > 0 && body[0] == '<' {
		f.note(element(string(body), "Code"), element(string(body), "Message"))
	} else {
		f.readJSON(body)
	}
	if len(f.message) > maxMessage {
		f.message = ""
	}
	f.message = strings.ReplaceAll(f.message, "\u2019", "'") // "isn't" comes with either
	f.lower = strings.ToLower(f.message)
	return f
}

func (f *fault) note(kind, message string) {
	if f.kind == "" {
		f.kind = shape(kind)
	}
	if f.message == "" {
		f.message = message
	}
}

func (f *fault) readJSON(body []byte) {
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return
		}
		var raw json.RawMessage
		if d.Decode(&raw) != nil {
			return
		}
		var v string
		_ = json.Unmarshal(raw, &v) // something else is none of these
		switch name {
		case "__type", "code":
			f.note(v, "")
		case "message", "Message":
			f.note("", v)
		case "error":
			var inner struct{ Type, Message label }
			_ = json.Unmarshal(raw, &inner)
			f.note(string(inner.Type), string(inner.Message))
		}
	}
}

// label is a string, or "" for whatever else comes in its place.
type label string

// UnmarshalJSON implements json.Unmarshaler.
func (l *label) UnmarshalJSON(b []byte) error {
	var s string
	_ = json.Unmarshal(b, &s)
	*l = label(s)
	return nil
}

// shape strips what servers put around a shape's name.
func shape(s string) string {
	s, _, _ = strings.Cut(s, ":")
	if i := strings.LastIndexByte(s, '#'); i >= 0 {
		s = s[i+1:]
	}
	return strings.TrimSuffix(strings.TrimSpace(s), "Exception")
}

// says reports whether one of the phrases is in the message.
func (f fault) says(phrases ...string) bool {
	for _, p := range phrases {
		if strings.Contains(f.lower, p) {
			return true
		}
	}
	return false
}

// credential reports whether the service refuses the signature or the keys, not what they are allowed. Kinds decide; of the
// statuses without a kind that tells, the service's own words do.
func (f fault) credential(status int) bool {
	switch f.kind {
	case "ExpiredToken", "UnrecognizedClient", "InvalidSignature", "SignatureDoesNotMatch", "IncompleteSignature", "InvalidClientTokenId",
		"InvalidToken", "MissingAuthenticationToken", "RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture", "AuthFailure", "authentication_error":
		return true
	}
	return status == http.StatusUnauthorized || status == http.StatusForbidden &&
		f.says("security token included in the request is", "signature expired", "signature not yet current", "signature we calculated", "scoped to")
}

// remedy tells an operator what to do about refused keys.
func (f fault) remedy() string {
	switch {
	case f.says("signature expired", "signature not yet current") || f.kind == "RequestExpired" || f.kind == "RequestTimeTooSkewed" || f.kind == "RequestInTheFuture":
		return "the signature's time is refused: the clock of this machine is off; set it right"
	case f.says("correct service"):
		return "the host is of another service than was signed for; correct the node's base URL or api"
	case f.says("scoped to", "valid region"):
		return "the host is of another region than was signed for; correct the node's region or base URL"
	case f.kind == "ExpiredToken" || f.says("is expired", "has expired"):
		return "the session token or API key is expired; enter new ones"
	case f.kind == "UnrecognizedClient" && f.says("api key", "bearer token"):
		return "the API key is not known: it is deleted, deactivated or of another region's service; enter a new one"
	case f.kind == "UnrecognizedClient" || f.kind == "InvalidClientTokenId" || f.kind == "InvalidToken" || f.says("security token included in the request is invalid"):
		return "the access key or session token is not known: it is deleted, deactivated, of another partition, or its region is not enabled"
	case f.kind == "InvalidSignature" || f.kind == "SignatureDoesNotMatch" || f.kind == "IncompleteSignature" || f.says("signature we calculated"):
		return "the signature is refused: the secret access key is wrong; enter it anew"
	case f.kind == "MissingAuthenticationToken":
		return "the host found no signature; correct the node's base URL"
	}
	return "the key is refused: it is expired, revoked, or of another service; enter a new one"
}

// Classify implements upstream.Client. An error is judged by its kind, else by its status; the reason names the remedy. What
// an account or region is not offered, be it by IAM, by model access or by the id that was used, is NotOffered: the node
// serves other models.
func (c *Client) Classify(status int, h http.Header, body []byte) upstream.Failure {
	v := upstream.ClassifyStatus(status, h)
	if status < 400 {
		return v
	}
	f := parseFault(h, body)
	if why := f.notOffered(status); why != "" {
		return verdict(v, upstream.NotOffered, why)
	}
	if f.credential(status) {
		return verdict(v, upstream.Credential, f.remedy())
	}
	if out, ok := f.byKind(v, h); ok {
		return out
	}
	switch status {
	case http.StatusServiceUnavailable:
		return verdict(v, upstream.Overloaded, "overloaded")
	case http.StatusFailedDependency:
		return verdict(v, upstream.Server, "the model failed")
	}
	return v
}

// notOffered is the remedy for a model that this account and region do not serve as it was asked for; empty: it is not that.
func (f fault) notOffered(status int) string {
	if status != http.StatusBadRequest && status != http.StatusForbidden && status != http.StatusNotFound {
		return ""
	}
	switch {
	case f.says("on-demand throughput isn't supported"):
		return "the model is served by inference profile only; use an id that begins with the region's group or global, such as us.anthropic... or global.anthropic..."
	case f.says("model identifier is invalid", "model id is invalid"):
		return "the region has no model of that id; check the node's region and the id (mantle takes ids without region prefix and version)"
	case f.says("doesn't support counting tokens", "does not support counting tokens"):
		return "CountTokens does not know the model; a node with api messages counts its tokens"
	case f.kind != "" && f.says("does not support the '/", "doesn't support the '/"):
		return "the model is not served by this API; use a node with api converse"
	case f.says("use case details have not been submitted"):
		return "the account has not told Anthropic its use case; fill out the form on the model's page in the Bedrock console"
	case f.says("aws-marketplace:"):
		return "the model needs a subscription; let a user with aws-marketplace:Subscribe and aws-marketplace:ViewSubscriptions invoke it once"
	case f.says("not allowed from unsupported countries"):
		return "the model is not served to this country or region"
	case f.says("did not allow prompt caching"):
		return "the model does not take cache points, or the account may not use them with it"
	case f.kind == "AccessDenied" || f.kind == "permission_error" || f.kind == "access_denied":
		return f.deniedModel()
	case f.kind == "ResourceNotFound", f.kind == "not_found_error" && f.says("model"):
		return "the region has no such model, or it reached its end of life; check the node's region and the id (mantle takes ids without region prefix and version)"
	}
	return ""
}

// deniedModel is the remedy where a denial is about the model that was asked for.
func (f fault) deniedModel() string {
	if action, resource, ok := f.denied(); ok {
		for _, kind := range [...]string{"foundation-model/", "inference-profile/", "provisioned-model/", "imported-model/", "custom-model", "prompt-router/"} {
			if strings.Contains(resource, kind) {
				return action + " on the model or inference profile is not allowed; allow it in the IAM policy, for the profile and for the model in each of its regions"
			}
		}
		return ""
	}
	if f.says("access to the model", "model access", "access to this model") {
		return "the account has no access to the model; request it on the model access page of the Bedrock console"
	}
	return ""
}

// denied reads "... is not authorized to perform: bedrock:InvokeModel on resource: arn:... because ...". The action comes back
// in a form that may be shown.
func (f fault) denied() (action, resource string, ok bool) {
	_, rest, ok := strings.Cut(f.message, "not authorized to perform: ")
	if !ok {
		return "", "", false
	}
	action, resource, _ = strings.Cut(rest, " on resource: ")
	if resource, _, _ = strings.Cut(resource, " "); !made(action, ":-", 3, 64) {
		action = "the IAM action"
	}
	return action, resource, true
}

// byKind judges the other kinds: aws-sdk-go-v2 service/bedrockruntime/types/errors.go, and wire-formats 6.7 for Anthropic's.
func (f fault) byKind(v upstream.Failure, h http.Header) (upstream.Failure, bool) {
	set := func(class upstream.Class, why string) (upstream.Failure, bool) { return verdict(v, class, why), true }
	limited := upstream.ClassifyStatus(http.StatusTooManyRequests, h).RetryAfter
	switch f.kind {
	case "Throttling", "TooManyRequests", "rate_limit_error":
		return throttled(v, f, limited), true
	case "ServiceQuotaExceeded":
		v.RetryAfter, v.All = max(limited, quotaCooling), true
		return set(upstream.RateLimited, "a quota of the account is used up; raise it in Service Quotas")
	case "ServiceUnavailable", "overloaded_error":
		return set(upstream.Overloaded, "overloaded")
	case "ModelNotReady":
		return set(upstream.Overloaded, "the model is being made ready")
	case "ModelTimeout", "timeout_error":
		return set(upstream.Timeout, "the model took too long")
	case "ModelError", "ModelStreamError", "InternalServer", "InternalFailure", "InternalServerError", "api_error":
		return set(upstream.Server, "the service failed")
	case "malformed_model_output", "malformed_tool_use": // reasons to stop: the model's doing, no node's, and each trial is paid for
		return set(upstream.ClientFault, "the service could not read what the model wrote")
	case "billing_error":
		return set(upstream.Credential, "the account cannot be billed")
	}
	if f.kind == "Validation" && strings.TrimSpace(f.lower) == "operation not allowed" {
		return set(upstream.Credential, "the account may not use Bedrock; ask AWS support to enable it")
	}
	if v.Class == upstream.Credential {
		why := "access is denied; allow bedrock:InvokeModel, bedrock:InvokeModelWithResponseStream and bedrock:CountTokens (mantle: bedrock-mantle:CreateInference) in IAM, and bedrock:CallWithBearerToken for an API key"
		if action, _, ok := f.denied(); ok {
			why = action + " is not allowed; allow it in the IAM policy"
		} else if f.says("api key", "bearer token") {
			why = f.remedy()
		}
		return set(upstream.Credential, why)
	}
	if v.Class == upstream.RateLimited {
		return throttled(v, f, limited), true
	}
	return v, false
}

// throttled is a limit of one model: each has its own, also of the day.
func throttled(v upstream.Failure, f fault, limited time.Duration) upstream.Failure {
	if v.RetryAfter = limited; f.says("per day", "daily") {
		v.RetryAfter = max(limited, dailyCooling)
		return verdict(v, upstream.RateLimited, "the day's tokens for the model are used up; raise the quota in Service Quotas")
	}
	return verdict(v, upstream.RateLimited, "throttled; raise the model's quota in Service Quotas if it lasts")
}

// verdict keeps the cooling of a RateLimited one only.
func verdict(v upstream.Failure, class upstream.Class, why string) upstream.Failure {
	if v.Class = class; class != upstream.RateLimited {
		v.RetryAfter, v.All = 0, false
	}
	v.Reason = "status " + strconv.Itoa(v.Status) + ": " + why
	return v
}
