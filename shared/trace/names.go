package trace

import (
	"runtime/debug"
	"strings"

	"sluice/shared/core"
)

// schema is the version of the semantic conventions that the names below are of: the last that holds those for generative AI,
// which are still in development.
const schema = "https://opentelemetry.io/schemas/1.41.0"

// Attributes of the conventions (registry, http.* server.* error.* gen_ai.*).
const (
	httpMethod = "http.request.method"
	httpRoute  = "http.route"
	httpStatus = "http.response.status_code"
	errorType  = "error.type"
	serverHost = "server.address"
	serverPort = "server.port"

	aiOperation  = "gen_ai.operation.name"
	aiProvider   = "gen_ai.provider.name"
	aiModel      = "gen_ai.request.model"
	aiStream     = "gen_ai.request.stream"
	aiServed     = "gen_ai.response.model"
	aiFirstChunk = "gen_ai.response.time_to_first_chunk" // seconds
	aiInput      = "gen_ai.usage.input_tokens"           // all of the input: cache reads and writes are part of it
	aiOutput     = "gen_ai.usage.output_tokens"
	aiCacheRead  = "gen_ai.usage.cache_read.input_tokens"
	aiCacheWrite = "gen_ai.usage.cache_creation.input_tokens"
)

// Attributes of our own.
const (
	sluiceRequest   = "sluice.request_id"
	sluiceAccount   = "sluice.account"
	sluiceNode      = "sluice.node"
	sluiceAttempt   = "sluice.attempt"  // of an attempt: 1 is the first
	sluiceAttempts  = "sluice.attempts" // of a request
	sluiceDialect   = "sluice.dialect"
	sluiceFrom      = "sluice.dialect.from"
	sluiceTo        = "sluice.dialect.to"
	sluiceCost      = "sluice.cost_usd"
	sluiceUnpriced  = "sluice.unpriced"
	sluiceEstimated = "sluice.estimated"
)

// firstByte is the event of the first content that goes to the client.
const firstByte = "first_byte"

// operationOf is gen_ai.operation.name; empty: no model is asked. count_tokens is none of the well-known ones.
func operationOf(route string) string {
	switch route {
	case "/v1/messages", "/v1/chat/completions", "/v1/responses", "/bedrock/model/{id}/invoke", "/bedrock/model/{id}/invoke-with-response-stream":
		return "chat"
	case "/v1/messages/count_tokens", "/bedrock/model/{id}/count-tokens":
		return "count_tokens"
	}
	return ""
}

// providerOf is gen_ai.provider.name. A service that speaks OpenAI's API is openai, whoever runs it: server.address tells.
func providerOf(k core.Kind) string {
	switch k {
	case core.KindBedrock:
		return "aws.bedrock"
	case core.KindAmazonQ:
		return "aws.amazonq" // none of the well-known ones
	}
	return string(k)
}

// sdkVersion is that of the linked SDK.
func sdkVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "go.opentelemetry.io/otel/sdk" {
				return strings.TrimPrefix(m.Version, "v")
			}
		}
	}
	return "unknown"
}
