package bedrock

import (
	"net/http"
	"strings"

	"sluice/shared/translator"
	"sluice/shared/translator/internal/aws"
)

// ParseError implements translator.Back for {"message"} of both APIs. The service names the shape in the header
// x-amzn-errortype: [WithType] puts it into the body; without it the status and the message must do. Messages that may name
// the operator's account are replaced by our own words.
func (Codec) ParseError(status int, body []byte) *translator.Error {
	return failed(aws.ReadFailure("", body), status)
}

// WithType returns an error body with the shape of the header x-amzn-errortype in it, as ParseError reads it; the body itself
// where it names a shape, or the header does not.
func WithType(header string, body []byte) []byte {
	if header = strings.TrimSpace(header); header == "" || len(header) > 256 {
		return body
	}
	if f := aws.ReadFailure("", body); f.Name != "" {
		return body
	}
	return aws.Typed(header, body)
}

// streamError reads an exception or an error in a stream, of the name that its frame has.
func streamError(name string, payload []byte) *translator.Error {
	e := failed(aws.ReadFailure(name, payload), 0)
	e.Raw = string(aws.Typed(name, payload))
	return e
}

// byName are the errors that a shape names, in lower case. An empty message is the service's own. Source: the types of
// service/bedrockruntime, and API Reference, CommonErrors; in streams the names begin with a small letter.
var byName = map[string]translator.Error{
	"throttling":                 {Status: http.StatusTooManyRequests, Message: throttled},
	"toomanyrequests":            {Status: http.StatusTooManyRequests, Message: throttled},
	"servicequotaexceeded":       {Status: http.StatusTooManyRequests, Message: "the upstream account has used up a quota; try again later"},
	"modelnotready":              {Status: aws.StatusOverloaded, Message: "the upstream is getting this model ready; try again shortly"},
	"serviceunavailable":         {Status: aws.StatusOverloaded, Message: overloaded},
	"modeltimeout":               {Status: http.StatusGatewayTimeout, Message: "the model took too long to answer; try again, or ask for less at once"},
	"model":                      {Status: http.StatusInternalServerError}, // ModelErrorException
	"modelstream":                {Status: http.StatusInternalServerError}, // ModelStreamErrorException
	"accessdenied":               {Status: http.StatusForbidden, Message: denied},
	"unrecognizedclient":         {Status: http.StatusUnauthorized, Message: credentials},
	"invalidclienttokenid":       {Status: http.StatusUnauthorized, Message: credentials},
	"missingauthenticationtoken": {Status: http.StatusUnauthorized, Message: credentials},
	"incompletesignature":        {Status: http.StatusUnauthorized, Message: credentials},
	"signaturedoesnotmatch":      {Status: http.StatusUnauthorized, Message: credentials},
	"invalidsignature":           {Status: http.StatusUnauthorized, Message: credentials},
	"expiredtoken":               {Status: http.StatusUnauthorized, Message: credentials},
	"requestexpired":             {Status: http.StatusUnauthorized, Message: credentials},
	"notauthorized":              {Status: http.StatusForbidden, Message: denied},
	"optinrequired":              {Status: http.StatusForbidden, Message: denied},
	"resourcenotfound":           {Status: http.StatusNotFound},
	"unknownoperation":           {Status: http.StatusNotFound, Message: "the upstream does not know this operation; the operator must check the node's address and API"},
	"conflict":                   {Status: http.StatusConflict},
	"validation":                 {Status: http.StatusBadRequest},
	"serialization":              {Status: http.StatusBadRequest},
	"internalserver":             {Status: http.StatusInternalServerError, Message: internal},
	"internalfailure":            {Status: http.StatusInternalServerError, Message: internal},
}

const (
	overloaded  = "the upstream has no capacity for this model at the moment; try again shortly, or name another model"
	throttled   = "the upstream account is asked too often; try again shortly"
	credentials = "the upstream did not accept the node's credentials; the operator must check them, and the clock"
	denied      = "the upstream account has no access to this model; the operator must allow it"
	internal    = "the upstream failed; try again"
	contextFull = "prompt is too long: "
)

// failed makes the error that a client is told of. status is 0 within a stream.
func failed(f aws.Failure, status int) *translator.Error {
	e, ok := byName[strings.ToLower(f.Name)]
	if !ok {
		e = byStatus(status)
	}
	refine(f, &e)
	e.Type = translator.ErrorType(e.Status)
	if e.Message == "" {
		e.Message = f.Words(status)
	}
	return &e
}

// byStatus is an error whose shape is not told, or new.
func byStatus(status int) translator.Error {
	switch {
	case status == http.StatusTooManyRequests:
		return byName["throttling"]
	case status == http.StatusServiceUnavailable:
		return byName["serviceunavailable"]
	case status == http.StatusForbidden:
		return byName["accessdenied"]
	case status == http.StatusRequestTimeout:
		return byName["modeltimeout"]
	case status == http.StatusFailedDependency:
		return byName["model"]
	case status < 400:
		return translator.Error{Status: http.StatusBadGateway}
	}
	return translator.Error{Status: status}
}

// tooLong are the ways in which models are told to be asked too much, in lower case.
var tooLong = []string{"input is too long", "too many input tokens", "too many tokens in the input", "maximum context length", "prompt is too long",
	"input length and `max_tokens` exceed context limit", "exceeds the maximum number of tokens", "input tokens exceed"}

// refine reads the messages that clients and routing act on.
func refine(f aws.Failure, e *translator.Error) {
	name := strings.ToLower(f.Name)
	if len(f.Message) > 8<<10 || e.Status >= 500 && name != "model" && name != "modelstream" {
		return
	}
	low := strings.ToLower(f.Message)
	for _, t := range tooLong {
		if e.Status != http.StatusTooManyRequests && strings.Contains(low, t) {
			e.Status, e.Code = http.StatusBadRequest, translator.CodeContext
			if e.Message = f.Words(0); !strings.Contains(low, strings.TrimSuffix(contextFull, ": ")) && !strings.Contains(low, "`max_tokens` exceed") {
				e.Message = contextFull + e.Message
			}
			return
		}
	}
	switch {
	case e.Status != http.StatusBadRequest:
	case strings.Contains(low, "model identifier is invalid"):
		e.Status, e.Message = http.StatusNotFound, "model: the upstream does not know this model; the operator must check the node's model ids and region"
	case strings.Contains(low, "on-demand throughput"):
		e.Status, e.Message = http.StatusNotFound, "model: the upstream serves this model through an inference profile only; the operator must map it to an id with a prefix such as global. or us."
	}
}
