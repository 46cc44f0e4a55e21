package gateway_test

import (
	"strings"

	"sluice/shared/core"
	"sluice/shared/upstream/upstreamtest"
)

// OpenAI's wire of the Responses API.

func respond(name, data string) string {
	return upstreamtest.Event(name, `{"type":"`+name+`",`+data+`}`)
}

func responseBody(status, output, usage string) string {
	return `{"id":"resp_1","object":"response","created_at":1,"status":"` + status + `","error":null,"incomplete_details":null,"model":"gpt-5.4","output":[` + output + `]` + member("usage", usage) + `}`
}

const (
	respondItem  = `"output_index":0,"item":{"id":"msg_1","type":"message","role":"assistant"`
	respondPlace = `"item_id":"msg_1","output_index":0,"content_index":0`
)

func respondMessage() string {
	return `{"id":"msg_1","type":"message","role":"assistant","status":"completed","content":[{"type":"output_text","text":"` + sceneText + `","annotations":[]}]}`
}

// respondSays is a stream's beginning and its text.
func respondSays() string {
	out := respond("response.created", `"response":`+responseBody("in_progress", "", "null")) +
		respond("response.output_item.added", respondItem+`,"status":"in_progress","content":[]}`) +
		respond("response.content_part.added", respondPlace+`,"part":{"type":"output_text","text":"","annotations":[]}`)
	for _, p := range sceneParts() {
		out += respond("response.output_text.delta", respondPlace+`,"delta":"`+p+`"`)
	}
	return out
}

// respondEnd closes the message and ends the answer.
func respondEnd(usage string) string {
	return respond("response.output_text.done", respondPlace+`,"text":"`+sceneText+`"`) +
		respond("response.output_item.done", `"output_index":0,"item":`+respondMessage()) +
		respond("response.completed", `"response":`+responseBody("completed", respondMessage(), usage))
}

func responsesScenes() []usageScene {
	const none = "the upstream told no usage"
	const cut = "the end with the usage did not come"
	const plain = `{"input_tokens":20,"output_tokens":30,"total_tokens":50}`
	both := func(s usageScene, usage string) usageScene {
		s.stream, s.whole = respondSays()+respondEnd(usage), responseBody("completed", respondMessage(), usage)
		return s
	}
	exact := core.Tokens{Input: 20, Output: 30}
	call := `{"id":"fc_1","type":"function_call","call_id":"call_1","name":"f","arguments":"{\"a\":1}","status":"completed"}`
	return []usageScene{
		both(usageScene{why: "plain", want: exact}, plain),
		both(usageScene{why: "cached tokens are part of the input", want: core.Tokens{Input: 7, CacheRead: 1000, CacheWrite5m: 300, Output: 40}},
			`{"input_tokens":1307,"input_tokens_details":{"cached_tokens":1000,"cache_write_tokens":300},"output_tokens":40,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":1347}`),
		both(usageScene{why: "reasoning is part of the output", want: exact, reasoning: 12}, `{"input_tokens":20,"output_tokens":30,"output_tokens_details":{"reasoning_tokens":12},"total_tokens":50}`),
		both(usageScene{why: "details are null", want: exact}, `{"input_tokens":20,"input_tokens_details":null,"output_tokens":30,"output_tokens_details":null}`),
		both(usageScene{why: "all is 0"}, `{"input_tokens":0,"output_tokens":0,"total_tokens":0}`),
		both(usageScene{why: "no usage", want: core.Tokens{Input: about, Output: about}, guessed: true, differs: none}, ""),
		both(usageScene{why: "usage is null", want: core.Tokens{Input: about, Output: about}, guessed: true, differs: none}, "null"),
		both(usageScene{why: "counts are null", want: core.Tokens{Input: about, Output: about}, guessed: true, differs: none}, `{"input_tokens":null,"output_tokens":null}`),
		both(usageScene{why: "no count of the input", want: core.Tokens{Input: about, Output: 30}, guessed: true, differs: none}, `{"output_tokens":30}`),
		both(usageScene{why: "no count of the output", want: core.Tokens{Input: 20, Output: about}, guessed: true, differs: none}, `{"input_tokens":20}`),
		both(usageScene{why: "an input below 0", want: core.Tokens{Input: about, Output: 30}, guessed: true, differs: absurdTold}, `{"input_tokens":-20,"output_tokens":30}`),
		both(usageScene{why: "an absurd output", want: core.Tokens{Input: 20, Output: about}, guessed: true, differs: absurdTold}, `{"input_tokens":20,"output_tokens":4000000000000000}`),
		both(usageScene{why: "more was cached than there was", want: core.Tokens{CacheRead: 20, Output: 30}, guessed: true, differs: absurdTold},
			`{"input_tokens":20,"input_tokens_details":{"cached_tokens":50,"cache_write_tokens":60},"output_tokens":30}`),
		both(usageScene{why: "an absurd cache", want: exact, guessed: true, differs: absurdTold}, `{"input_tokens":20,"input_tokens_details":{"cached_tokens":-1},"output_tokens":30}`),
		{why: "tool calls", stream: respond("response.created", `"response":`+responseBody("in_progress", "", "null")) +
			respond("response.output_item.added", `"output_index":0,"item":{"id":"fc_1","type":"function_call","call_id":"call_1","name":"f","arguments":"","status":"in_progress"}`) +
			respond("response.function_call_arguments.delta", `"item_id":"fc_1","output_index":0,"delta":"{\"a\":1}"`) +
			respond("response.output_item.done", `"output_index":0,"item":`+call) + respond("response.completed", `"response":`+responseBody("completed", call, plain)),
			whole: responseBody("completed", call, plain), want: exact},
		{why: "incomplete", stream: respondSays() + respond("response.incomplete", `"response":`+strings.Replace(responseBody("incomplete", respondMessage(), plain), `"incomplete_details":null`, `"incomplete_details":{"reason":"max_output_tokens"}`, 1)), want: exact},
		{why: "failed after content, with usage", stream: respondSays() + respond("response.failed", `"response":`+strings.Replace(responseBody("failed", "", plain), `"error":null`, `"error":{"code":"server_error","message":"x"}`, 1)),
			want: exact, code: "upstream_api_error"},
		{why: "failed after content", stream: respondSays() + respond("response.failed", `"response":`+strings.Replace(responseBody("failed", "", "null"), `"error":null`, `"error":{"code":"server_error","message":"x"}`, 1)),
			want: core.Tokens{Input: about, Output: about}, guessed: true, code: "upstream_api_error", differs: cut},
		{why: "an error after content", stream: respondSays() + respond("error", `"code":"server_error","message":"x","param":null`),
			want: core.Tokens{Input: about, Output: about}, guessed: true, code: "upstream_api_error", differs: cut},
		{why: "cut off", stream: respondSays(), end: endReset, want: core.Tokens{Input: about, Output: about}, guessed: true, code: "stream_cut", differs: cut},
		{why: "no end", stream: respondSays(), want: core.Tokens{Input: about, Output: about}, guessed: true, code: "stream_cut", differs: cut},
		{why: "the client leaves", stream: respondSays(), end: endLeave, want: core.Tokens{Input: about, Output: about}, guessed: true, code: "client_gone", differs: cut},
	}
}

// Amazon Q's wire. Its answers are streams of frames, also for clients that want them whole; its end is the end of the body.

func amazonqSays() string {
	out := upstreamtest.Frame("initial-response", `{"conversationId":"c"}`)
	for _, p := range sceneParts() {
		out += upstreamtest.Frame("assistantResponseEvent", `{"content":"`+p+`"}`)
	}
	return out
}

func amazonqUsed(usage string) string {
	return upstreamtest.Frame("metadataEvent", `{"tokenUsage":`+usage+`}`)
}

var amazonqMetered = upstreamtest.Frame("meteringEvent", `{"usage":0.05,"unit":"credit"}`)

func amazonqScenes() []usageScene {
	const plain = `{"uncachedInputTokens":20,"outputTokens":30,"totalTokens":50}`
	exact := core.Tokens{Input: 20, Output: 30}
	unknown := core.Tokens{Input: about, Output: about}
	both := func(s usageScene, frames string) usageScene {
		s.stream, s.whole = frames, frames
		return s
	}
	return []usageScene{
		both(usageScene{why: "plain", want: exact}, amazonqSays()+amazonqUsed(plain)+amazonqMetered),
		both(usageScene{why: "cache", want: core.Tokens{Input: 7, CacheRead: 1000, CacheWrite5m: 300, Output: 40}},
			amazonqSays()+amazonqUsed(`{"uncachedInputTokens":7,"cacheReadInputTokens":1000,"cacheWriteInputTokens":300,"outputTokens":40,"totalTokens":1347}`)+amazonqMetered),
		both(usageScene{why: "cache counts are null", want: exact}, amazonqSays()+amazonqUsed(`{"uncachedInputTokens":20,"cacheReadInputTokens":null,"cacheWriteInputTokens":null,"outputTokens":30}`)),
		both(usageScene{why: "counts come twice", want: exact}, amazonqSays()+amazonqUsed(`{"uncachedInputTokens":20,"outputTokens":3}`)+amazonqUsed(plain)+amazonqMetered),
		both(usageScene{why: "all is 0"}, amazonqSays()+amazonqUsed(`{"uncachedInputTokens":0,"outputTokens":0,"totalTokens":0}`)+amazonqMetered),
		both(usageScene{why: "only credits and the share of the window", want: unknown, guessed: true},
			amazonqSays()+upstreamtest.Frame("contextUsageEvent", `{"contextUsagePercentage":12.5}`)+amazonqMetered),
		both(usageScene{why: "only credits", want: unknown, guessed: true}, amazonqSays()+amazonqMetered),
		both(usageScene{why: "nothing is told", want: unknown, guessed: true}, amazonqSays()),
		both(usageScene{why: "usage is null", want: unknown, guessed: true}, amazonqSays()+amazonqUsed("null")),
		both(usageScene{why: "counts are null", want: unknown, guessed: true}, amazonqSays()+amazonqUsed(`{"uncachedInputTokens":null,"outputTokens":null}`)),
		both(usageScene{why: "no count of the input", want: core.Tokens{Input: about, Output: about}, guessed: true}, amazonqSays()+amazonqUsed(`{"outputTokens":100}`)),
		both(usageScene{why: "no count of the output", want: core.Tokens{Input: 20, Output: about}, guessed: true}, amazonqSays()+amazonqUsed(`{"uncachedInputTokens":20}`)),
		both(usageScene{why: "an input below 0", want: core.Tokens{Input: about, Output: 100}, guessed: true}, amazonqSays()+amazonqUsed(`{"uncachedInputTokens":-20,"outputTokens":100}`)),
		both(usageScene{why: "an absurd output", want: core.Tokens{Input: 20, Output: about}, guessed: true}, amazonqSays()+amazonqUsed(`{"uncachedInputTokens":20,"outputTokens":4000000000000000}`)),
		both(usageScene{why: "an absurd cache", want: exact, guessed: true}, amazonqSays()+amazonqUsed(`{"uncachedInputTokens":20,"cacheReadInputTokens":-1,"outputTokens":30}`)),
		both(usageScene{why: "reasoning", want: exact}, upstreamtest.Frame("reasoningContentEvent", `{"text":"hmm"}`)+upstreamtest.Frame("reasoningContentEvent", `{"signature":"s"}`)+amazonqSays()+amazonqUsed(plain)),
		both(usageScene{why: "tool calls", want: exact}, upstreamtest.Frame("toolUseEvent", `{"toolUseId":"t","name":"f"}`)+upstreamtest.Frame("toolUseEvent", `{"toolUseId":"t","name":"f","input":"{\"a\":1}"}`)+
			upstreamtest.Frame("toolUseEvent", `{"toolUseId":"t","name":"f","stop":true}`)+amazonqUsed(plain)),
		{why: "an exception after content", stream: amazonqSays() + upstreamtest.ExceptionFrame("ThrottlingException", `{"message":"x"}`), want: unknown, guessed: true, code: "upstream_rate_limit_error"},
		{why: "cut off", stream: amazonqSays(), end: endReset, want: unknown, guessed: true, code: "stream_cut"},
		{why: "cut off after counts", stream: amazonqSays() + amazonqUsed(`{"uncachedInputTokens":20,"outputTokens":3}`), end: endReset,
			want: core.Tokens{Input: 20, Output: about}, guessed: true, code: "stream_cut"},
		{why: "the client leaves", stream: amazonqSays(), end: endLeave, want: unknown, guessed: true, code: "client_gone"},
	}
}
