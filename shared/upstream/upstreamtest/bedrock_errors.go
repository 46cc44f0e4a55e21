package upstreamtest

import (
	"net/http"
	"strings"
)

// bError is an error before an API of Bedrock gives it its shape.
type bError struct {
	status  int
	shape   string // of AWS
	message string
	own     bool // of the service's model, not of the framework in front of it
	upper   bool // the framework's authorizers spell it Message
}

// The messages, each seen in the threads named in the tests.
const (
	bIsExpired    = "The security token included in the request is expired"
	bIsInvalid    = "The security token included in the request is invalid."
	bMismatch     = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
	bBadKey       = "Authentication failed: Please make sure your API Key is valid."
	bNoAccess     = "You don't have access to the model with the specified model ID."
	bBadModel     = "The provided model identifier is invalid."
	bNoCounting   = "The provided model doesn't support counting tokens."
	bNoCaching    = "You invoked an unsupported model or your request did not allow prompt caching. See the documentation for more information."
	bBadBeta      = "invalid beta flag"
	bThrottled    = "Too many requests, please wait before trying again."
	bUnavailable  = "Bedrock is unable to process your request."
	bNotReady     = "Model is not ready for inference. Please wait and try your request again."
	bTimedOut     = "Model has timed out in processing the request. Try your request again."
	bUnexpected   = "The system encountered an unexpected error during processing. Try your request again."
	bModelPrefix  = "The model returned the following errors: "
	bUnknownRoute = "The requested operation is not recognized by the service."
)

// bOnDemand has the apostrophe that the service writes.
func bOnDemand(id string) string {
	return "Invocation of model ID " + id + " with on-demand throughput isn’t supported. Retry your request with the ID or ARN of an inference profile that contains this model."
}

func bMissing(id string) string { return "The model '" + id + "' does not exist" }

func bValidation(message string) bError {
	return bError{http.StatusBadRequest, "ValidationException", message, true, false}
}

func bForbidden(shape, message string) bError {
	return bError{http.StatusForbidden, shape, message, false, false}
}

// bShapes are the errors of bedrockruntime v1.63.11 with the status of each and
// the usual message.
func bShapes() []bError {
	return []bError{
		{400, "ValidationException", "The input fails to satisfy the constraints specified by an AWS service.", true, false},
		{403, "AccessDeniedException", bNoAccess, true, false},
		{404, "ResourceNotFoundException", "The specified resource ARN was not found. Check the ARN and try your request again.", true, false},
		{408, "ModelTimeoutException", bTimedOut, true, false},
		{424, "ModelErrorException", "The request failed due to an error while processing the model.", true, false},
		{429, "ThrottlingException", bThrottled, true, false},
		{500, "InternalServerException", bUnexpected, true, false},
		{503, "ServiceUnavailableException", bUnavailable, true, false},
		{400, "ServiceQuotaExceededException", "Your request exceeds the service quota for your account.", true, false},
		{400, "ConflictException", "Error occurred because of a conflict while performing an operation.", true, false},
		{424, "ModelStreamErrorException", bUnexpected, true, false},
		{429, "ModelNotReadyException", bNotReady, true, false},
		{403, "ExpiredTokenException", bIsExpired, false, false},
		{403, "UnrecognizedClientException", bIsInvalid, false, false},
		{403, "InvalidSignatureException", bMismatch, false, false},
		{404, "UnknownOperationException", bUnknownRoute, false, false},
		{413, "RequestEntityTooLargeException", "Request entity too large", false, false},
	}
}

// bedrock is the fault in AWS's words. The type may be a shape, also with the
// small first letter of a stream's exceptions, or one of Anthropic's types, so
// that one script serves all fakes.
func (f *fault) bedrock() bError {
	e := bError{status: f.status, shape: "InternalServerException", message: bUnexpected, own: true}
	switch {
	case f.tokens > 0:
		_, _, message := f.anthropic()
		e = bValidation(message)
	case f.overload:
		e = bNamed("ServiceUnavailableException")
	case f.errType != "":
		e = bNamed(bShapeOf(f.errType))
	default:
		e = bWith(f.status)
	}
	if f.status != 0 && !f.overload {
		e.status = f.status
	}
	if f.message != "" {
		e.message = f.message
	}
	return e
}

// bNamed is the error of a shape; an unknown one is the service's 500.
func bNamed(shape string) bError {
	for _, e := range bShapes() {
		if e.shape == shape {
			return e
		}
	}
	return bError{http.StatusInternalServerError, shape, bUnexpected, true, false}
}

// bWith is the usual error of a status.
func bWith(status int) bError {
	switch status {
	case http.StatusUnauthorized:
		return bForbidden("UnrecognizedClientException", bIsInvalid)
	case StatusOverloaded:
		return bNamed("ServiceUnavailableException")
	}
	for _, e := range bShapes() {
		if e.status == status {
			return e
		}
	}
	e := bNamed("InternalServerException")
	if status != 0 && status < 500 {
		e = bNamed("ValidationException")
	}
	if status != 0 {
		e.status = status
	}
	return e
}

func bShapeOf(name string) string {
	switch name {
	case "invalid_request_error", "request_too_large":
		return "ValidationException"
	case "authentication_error":
		return "UnrecognizedClientException"
	case "permission_error", "billing_error":
		return "AccessDeniedException"
	case "not_found_error":
		return "ResourceNotFoundException"
	case "rate_limit_error":
		return "ThrottlingException"
	case "timeout_error":
		return "ModelTimeoutException"
	case "overloaded_error":
		return "ServiceUnavailableException"
	case "api_error":
		return "InternalServerException"
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

// bAnthropicOf is the type that Messages has for an error of AWS.
func bAnthropicOf(shape string) (status int, errType string) {
	switch shape {
	case "ValidationException", "ServiceQuotaExceededException", "ConflictException":
		return 400, "invalid_request_error"
	case "AccessDeniedException", "ExpiredTokenException", "UnrecognizedClientException", "InvalidSignatureException",
		"MissingAuthenticationTokenException", "IncompleteSignatureException":
		return 403, "permission_error"
	case "ResourceNotFoundException", "UnknownOperationException":
		return 404, "not_found_error"
	case "ThrottlingException", "ModelNotReadyException":
		return 429, "rate_limit_error"
	case "ServiceUnavailableException":
		return 503, "overloaded_error"
	case "ModelTimeoutException":
		return 504, "timeout_error"
	case "RequestEntityTooLargeException":
		return 413, "request_too_large"
	}
	return 500, "api_error"
}

// messages is the fault in the words of the Messages API on Bedrock.
func (f *fault) messages() (status int, errType, message string) {
	status, errType, message = f.anthropic()
	if f.limited && f.message == "" {
		message = bThrottled
	}
	if f.errType != "" && !strings.HasSuffix(f.errType, "_error") && f.errType != "request_too_large" {
		e := f.bedrock()
		status, errType = bAnthropicOf(e.shape)
		message = e.message
	}
	if f.status != 0 {
		status = f.status
	}
	return status, errType, message
}

// exceptionFrame is the error inside a stream: the shape with a small letter,
// and for a failure of the model the status and words of the model.
func (e bError) exceptionFrame() string {
	payload := `{"message":` + quote(e.message) + `}`
	if e.shape == "ModelStreamErrorException" {
		payload = `{"message":` + quote(e.message) + `,"originalMessage":` + quote(e.message) + `,"originalStatusCode":500}`
	}
	return ExceptionFrame(strings.ToLower(e.shape[:1])+e.shape[1:], payload)
}

// send answers with the error in the shape of the exchange's API.
func (e bError) send(x *exchange) {
	h := x.w.Header()
	header := e.shape
	if e.own {
		header += ":http://internal.amazon.com/coral/com.amazon.bedrock/"
	}
	switch {
	case x.bedrock.host == hostSTS:
		e.sendXML(x)
	case x.bedrock.anthropic():
		status, errType := bAnthropicOf(e.shape)
		if e.status != status && e.status != 0 {
			status = e.status
		}
		if e.shape == "UnrecognizedClientException" && status == http.StatusUnauthorized {
			errType = "authentication_error"
		}
		h["X-Amzn-Errortype"] = []string{header}
		x.answer(status, appendError(x.buf[:0], errType, e.message, x.id))
	default:
		h["X-Amzn-Errortype"] = []string{header}
		name := "message"
		if e.upper {
			name = "Message"
		}
		x.answer(e.status, append(appendString(append(x.buf[:0], `{"`+name+`":`...), e.message), '}'))
	}
}

// sendXML is the error of the query protocol, whose codes lack the suffix and
// partly have names of their own.
func (e bError) sendXML(x *exchange) {
	code := strings.TrimSuffix(e.shape, "Exception")
	switch code {
	case "UnrecognizedClient":
		code = "InvalidClientTokenId"
	case "InvalidSignature":
		code = "SignatureDoesNotMatch"
	case "MissingAuthenticationToken":
		code = "MissingAuthenticationToken"
	case "Validation":
		code = "ValidationError"
	}
	kind := "Sender"
	if e.status >= 500 {
		kind = "Receiver"
	}
	x.w.Header()["Content-Type"] = []string{"text/xml"}
	x.answer(e.status, []byte("<ErrorResponse xmlns=\""+stsNamespace+"\">\n  <Error>\n    <Type>"+kind+"</Type>\n    <Code>"+code+
		"</Code>\n    <Message>"+xmlText(e.message)+"</Message>\n  </Error>\n  <RequestId>"+uuid(x.f.nextID())+"</RequestId>\n</ErrorResponse>\n"))
}

// ModelNotReady is Bedrock's 429 for a model that is being loaded, which is no
// limit of the account. The other APIs answer it as another 429.
func ModelNotReady() Behaviour {
	return ofFault(fault{status: http.StatusTooManyRequests, errType: "ModelNotReadyException", message: bNotReady})
}

// ModelAccessDenied is Bedrock's 403 for a model that the account has not
// enabled.
func ModelAccessDenied() Behaviour {
	return ofFault(fault{status: http.StatusForbidden, errType: "AccessDeniedException", message: bNoAccess})
}

// ModelTimeout is Bedrock's 408 for a model that took too long.
func ModelTimeout() Behaviour {
	return ofFault(fault{errType: "ModelTimeoutException", message: bTimedOut})
}

func (k *Bedrock) fault(x *exchange, s *spec, f *fault) {
	x.setHeaders(s)
	if x.bedrock.anthropic() {
		status, errType, message := f.messages()
		x.answer(status, appendError(x.buf[:0], errType, message, x.id))
		return
	}
	e := f.bedrock()
	if f.tokens > 0 && x.bedrock.op == opConverse {
		e.message = bModelPrefix + e.message
	}
	e.send(x)
}
