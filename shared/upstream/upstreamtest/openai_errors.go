package upstreamtest

import (
	"fmt"
	"net/http"
)

// openAIError is an error in the API's form. An empty param or code is null.
type openAIError struct {
	status                        int
	errType, param, code, message string
}

func (e openAIError) append(dst []byte) []byte {
	dst = append(dst, "{\n    \"error\": {\n        \"message\": "...)
	dst = appendString(dst, e.message)
	dst = appendString(append(dst, ",\n        \"type\": "...), e.errType)
	dst = appendNullable(append(dst, ",\n        \"param\": "...), e.param)
	dst = appendNullable(append(dst, ",\n        \"code\": "...), e.code)
	return append(dst, "\n    }\n}"...)
}

// line is the error as one event of a chat stream has it.
func (e openAIError) line() string {
	return `{"error":{"message":` + quote(e.message) + `,"type":` + quote(e.errType) +
		`,"param":` + nullable(e.param) + `,"code":` + nullable(e.code) + `}}`
}

// name is what a response has for the error's code.
func (e openAIError) name() string {
	if e.code != "" {
		return e.code
	}
	return e.errType
}

func appendNullable(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "null"...)
	}
	return appendString(dst, s)
}

func nullable(s string) string { return string(appendNullable(nil, s)) }

// openAI is the fault in OpenAI's words. The type may be a code, or one of
// Anthropic's, so that one script serves both fakes.
func (f *fault) openAI(responses bool) openAIError {
	if f.tokens > 0 {
		return f.tooLong(responses)
	}
	status := f.status
	if f.overload {
		status = http.StatusServiceUnavailable
	}
	e, known := errorNamed(f.errType)
	switch {
	case f.errType == "":
		e = errorWith(status)
	case !known:
		e = errorWith(status)
		e.errType, e.code = f.errType, ""
	}
	if status != 0 {
		e.status = status
	}
	if f.limited {
		e.message = fmt.Sprintf("Rate limit reached for the model in organization org-fake on requests per min (RPM): Limit 500, Used 500, "+
			"Requested 1. Please try again in %v. Visit https://platform.openai.com/account/rate-limits to learn more.", f.wait)
	}
	if f.message != "" {
		e.message = f.message
	}
	if f.code != "" {
		e.code = f.code
	}
	return e
}

func (f *fault) tooLong(responses bool) openAIError {
	e := openAIError{http.StatusBadRequest, "invalid_request_error", "messages", "context_length_exceeded", fmt.Sprintf(
		"This model's maximum context length is %d tokens. However, your messages resulted in %d tokens. Please reduce the length of the messages.", f.limit, f.tokens)}
	if responses {
		e.param, e.message = "input", "Your input exceeds the context window of this model. Please adjust your input and try again."
	}
	return e
}

// errorWith is the usual error of a status.
func errorWith(status int) openAIError {
	const request = "invalid_request_error"
	switch status {
	case 401:
		return openAIError{401, request, "", "invalid_api_key", "Incorrect API key provided: fake. You can find your API key at https://platform.openai.com/account/api-keys."}
	case 403:
		return openAIError{403, request, "", "missing_scope", "You have insufficient permissions for this operation. Missing scopes: model.request."}
	case 404:
		return openAIError{404, request, "", "model_not_found", "The model does not exist or you do not have access to it."}
	case 413:
		return openAIError{413, request, "", "", "Maximum content size limit exceeded."}
	case 429:
		return openAIError{429, "requests", "", "rate_limit_exceeded", "Rate limit reached for requests. Please try again in 1s."}
	case 503:
		return openAIError{503, "server_error", "", "", "The server is currently overloaded with other requests. Sorry about that! You can retry your request, " +
			"or contact us through our help center at help.openai.com if the error persists."}
	case 504:
		return openAIError{504, "server_error", "", "", "Request timed out."}
	}
	if status == 0 || status >= 500 {
		return openAIError{max(status, 500), "server_error", "", "", "The server had an error while processing your request. Sorry about that!"}
	}
	return openAIError{status, request, "", "", "Invalid request."}
}

// errorNamed is the usual error of a code or type.
func errorNamed(name string) (openAIError, bool) {
	const request = "invalid_request_error"
	switch name {
	case "insufficient_quota", "billing_error":
		return openAIError{429, "insufficient_quota", "", "insufficient_quota", "You exceeded your current quota, please check your plan and billing details. " +
			"For more information on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors."}, true
	case "context_length_exceeded":
		return (&fault{tokens: 130000, limit: 128000}).tooLong(true), true
	case request, "invalid_prompt":
		e := errorWith(400)
		if name != request {
			e.code = name
		}
		return e, true
	}
	for _, known := range []struct {
		name   string
		status int
	}{
		{"invalid_api_key", 401}, {"authentication_error", 401}, {"permission_error", 403},
		{"model_not_found", 404}, {"not_found_error", 404}, {"request_too_large", 413},
		{"rate_limit_exceeded", 429}, {"rate_limit_error", 429}, {"requests", 429},
		{"server_error", 500}, {"api_error", 500}, {"overloaded_error", 503}, {"timeout_error", 504},
	} {
		if known.name == name {
			return errorWith(known.status), true
		}
	}
	return openAIError{}, false
}
