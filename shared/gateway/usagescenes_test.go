package gateway_test

import (
	"strconv"
	"strings"

	"sluice/shared/core"
	"sluice/shared/upstream/upstreamtest"
)

// sceneParts are sceneText as a stream brings it.
func sceneParts() []string {
	const n = 8
	size := len(sceneText) / n
	out := make([]string, n)
	for i := range out {
		out[i] = sceneText[i*size : (i+1)*size]
	}
	return out
}

// Anthropic's wire.

func claude(name, data string) string {
	return upstreamtest.Event(name, `{"type":"`+name+`",`+data+`}`)
}

func claudeStart(usage string) string {
	return claude("message_start", `"message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[],"stop_reason":null`+member("usage", usage)+`}`)
}

func claudeDelta(usage string) string {
	return claude("message_delta", `"delta":{"stop_reason":"end_turn","stop_sequence":null}`+member("usage", usage))
}

func member(name, value string) string {
	if value == "" {
		return ""
	}
	return `,"` + name + `":` + value
}

// claudeBlock is a block with its deltas; the block and each delta lack their braces.
func claudeBlock(index int, block, delta string, parts ...string) string {
	i := `"index":` + strconv.Itoa(index)
	var sb strings.Builder
	sb.WriteString(claude("content_block_start", i+`,"content_block":{`+block+`}`))
	for _, p := range parts {
		sb.WriteString(claude("content_block_delta", i+`,"delta":{`+delta+`:`+strconv.Quote(p)+`}`))
	}
	return sb.String() + claude("content_block_stop", i)
}

func claudeSays() string {
	return claudeBlock(0, `"type":"text","text":""`, `"type":"text_delta","text"`, sceneParts()...)
}

var claudeStop = upstreamtest.Event("message_stop", `{"type":"message_stop"}`)

// claudeTurn is a stream of text with the usage of its start and that of its end.
func claudeTurn(start, end string) string {
	return claudeStart(start) + claudeSays() + claudeDelta(end) + claudeStop
}

func claudeWhole(usage string) string {
	return claudeMessage(`{"type":"text","text":"`+sceneText+`"}`, usage)
}

func claudeMessage(content, usage string) string {
	return `{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[` + content + `],"stop_reason":"end_turn","stop_sequence":null` + member("usage", usage) + `}`
}

const (
	claudeCut   = "the answer has no end, and so no usage of its own"
	claudeNone  = "the upstream told no counts"
	chatCut     = "chat tells its usage at the end, which did not come"
	absurdTold  = "what the upstream said passes, however absurd"
	compactTold = "compaction stands beside the totals, in usage.iterations"
)

func anthropicScenes() []usageScene {
	const split = `"cache_creation_input_tokens":300,"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200}`
	const compact = `"iterations":[{"type":"compaction","input_tokens":100,"output_tokens":7,"cache_read_input_tokens":50,"cache_creation_input_tokens":30,"cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20}},{"type":"message","input_tokens":20,"output_tokens":30}]`
	whole := func(usage string) string { return claudeWhole(usage) }
	return []usageScene{
		{why: "plain", stream: claudeTurn(`{"input_tokens":20,"output_tokens":1}`, `{"output_tokens":30}`), whole: whole(`{"input_tokens":20,"output_tokens":30}`),
			want: core.Tokens{Input: 20, Output: 30}},
		{why: "cache read, and writes of both kinds", stream: claudeTurn(`{"input_tokens":7,"cache_read_input_tokens":1000,`+split+`,"output_tokens":1}`, `{"output_tokens":40}`),
			whole: whole(`{"input_tokens":7,"cache_read_input_tokens":1000,` + split + `,"output_tokens":40}`),
			want:  core.Tokens{Input: 7, CacheRead: 1000, CacheWrite5m: 100, CacheWrite1h: 200, Output: 40}},
		{why: "the end repeats the writes without their split", stream: claudeTurn(`{"input_tokens":7,`+split+`,"output_tokens":1}`, `{"input_tokens":7,"cache_creation_input_tokens":300,"cache_read_input_tokens":0,"output_tokens":40}`),
			want: core.Tokens{Input: 7, CacheWrite5m: 100, CacheWrite1h: 200, Output: 40}},
		{why: "only the flat count of writes", stream: claudeTurn(`{"input_tokens":7,"cache_creation_input_tokens":300,"output_tokens":1}`, `{"output_tokens":40}`),
			whole: whole(`{"input_tokens":7,"cache_creation_input_tokens":300,"output_tokens":40}`),
			want:  core.Tokens{Input: 7, CacheWrite5m: 300, Output: 40}},
		{why: "cumulative counts grow", stream: claudeStart(`{"input_tokens":20,"output_tokens":1}`) + claudeSays() + claudeDelta(`{"output_tokens":10}`) + claudeDelta(`{"output_tokens":25}`) + claudeDelta(`{"output_tokens":60}`) + claudeStop,
			want: core.Tokens{Input: 20, Output: 60}},
		{why: "the end corrects the input", stream: claudeTurn(`{"input_tokens":0,"output_tokens":0}`, `{"input_tokens":21,"cache_read_input_tokens":6,"cache_creation_input_tokens":4,"output_tokens":30}`),
			want: core.Tokens{Input: 21, CacheRead: 6, CacheWrite5m: 4, Output: 30}},
		{why: "compaction", stream: claudeTurn(`{"input_tokens":20,"output_tokens":1}`, `{"input_tokens":20,"output_tokens":30,`+compact+`}`), whole: whole(`{"input_tokens":20,"output_tokens":30,` + compact + `}`),
			want: core.Tokens{Input: 120, CacheRead: 50, CacheWrite5m: 10, CacheWrite1h: 20, Output: 37}, differs: compactTold},
		{why: "no usage at the end", stream: claudeTurn(`{"input_tokens":20,"output_tokens":1}`, ""), want: core.Tokens{Input: 20, Output: about}, guessed: true, differs: claudeNone},
		{why: "no usage at all", stream: claudeTurn("", ""), whole: whole(""), want: core.Tokens{Input: about, Output: about}, guessed: true, differs: claudeNone},
		{why: "usage is null", stream: claudeTurn("null", "null"), whole: whole("null"), want: core.Tokens{Input: about, Output: about}, guessed: true, differs: claudeNone},
		{why: "all is 0", stream: claudeTurn(`{"input_tokens":0,"output_tokens":0}`, `{"output_tokens":0}`), whole: whole(`{"input_tokens":0,"output_tokens":0}`)},
		{why: "counts are null", stream: claudeTurn(`{"input_tokens":20,"cache_read_input_tokens":null,"cache_creation_input_tokens":null,"cache_creation":null,"output_tokens":1}`, `{"input_tokens":null,"output_tokens":30}`),
			whole: whole(`{"input_tokens":20,"cache_read_input_tokens":null,"cache_creation_input_tokens":null,"cache_creation":null,"output_tokens":30}`),
			want:  core.Tokens{Input: 20, Output: 30}},
		{why: "an input below 0", stream: claudeTurn(`{"input_tokens":-20,"output_tokens":1}`, `{"output_tokens":30}`), whole: whole(`{"input_tokens":-20,"output_tokens":30}`),
			want: core.Tokens{Input: about, Output: 30}, guessed: true, differs: absurdTold},
		{why: "an absurd output", stream: claudeTurn(`{"input_tokens":20,"output_tokens":1}`, `{"output_tokens":4000000000000000}`), whole: whole(`{"input_tokens":20,"output_tokens":4000000000000000}`),
			want: core.Tokens{Input: 20, Output: about}, guessed: true, differs: absurdTold},
		{why: "an absurd cache", stream: claudeTurn(`{"input_tokens":20,"cache_read_input_tokens":-1,"output_tokens":1}`, `{"output_tokens":30}`), whole: whole(`{"input_tokens":20,"cache_read_input_tokens":-1,"output_tokens":30}`),
			want: core.Tokens{Input: 20, Output: 30}, guessed: true, differs: absurdTold},
		{why: "thinking", stream: claudeStart(`{"input_tokens":20,"output_tokens":1}`) + claudeBlock(0, `"type":"thinking","thinking":"","signature":""`, `"type":"thinking_delta","thinking"`, "hmm") +
			claudeBlock(1, `"type":"text","text":""`, `"type":"text_delta","text"`, "word") + claudeDelta(`{"output_tokens":30,"output_tokens_details":{"thinking_tokens":12}}`) + claudeStop,
			whole: claudeMessage(`{"type":"thinking","thinking":"hmm","signature":"s"},{"type":"text","text":"word"}`, `{"input_tokens":20,"output_tokens":30,"output_tokens_details":{"thinking_tokens":12}}`),
			want:  core.Tokens{Input: 20, Output: 30}, reasoning: 12},
		{why: "tool calls", stream: claudeStart(`{"input_tokens":20,"output_tokens":1}`) + claudeBlock(0, `"type":"tool_use","id":"toolu_1","name":"f","input":{}`, `"type":"input_json_delta","partial_json"`, `{"a":`, `1}`) +
			claude("message_delta", `"delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":30}`) + claudeStop,
			whole: claudeMessage(`{"type":"tool_use","id":"toolu_1","name":"f","input":{"a":1}}`, `{"input_tokens":20,"output_tokens":30}`),
			want:  core.Tokens{Input: 20, Output: 30}},
		{why: "an error after content", stream: claudeStart(`{"input_tokens":20,"output_tokens":1}`) + claudeSays() + upstreamtest.ErrorEvent("overloaded_error", "x"),
			want: core.Tokens{Input: 20, Output: about}, guessed: true, code: "upstream_overloaded_error", differs: claudeCut},
		{why: "cut off", stream: claudeStart(`{"input_tokens":20,"output_tokens":1}`) + claudeSays(), end: endReset,
			want: core.Tokens{Input: 20, Output: about}, guessed: true, code: "stream_cut", differs: claudeCut},
		{why: "no end", stream: claudeStart(`{"input_tokens":20,"output_tokens":1}`) + claudeSays(),
			want: core.Tokens{Input: 20, Output: about}, guessed: true, code: "stream_cut", differs: claudeCut},
		{why: "cut off before the upstream told its input", stream: claudeStart(`{"input_tokens":0,"output_tokens":0}`) + claudeSays(), end: endReset,
			want: core.Tokens{Input: about, Output: about}, guessed: true, code: "stream_cut", differs: claudeCut},
		{why: "cut off after counts that were not the last", stream: claudeStart(`{"input_tokens":20,"output_tokens":1}`) + claudeDelta(`{"output_tokens":3}`) + claudeSays(), end: endReset,
			want: core.Tokens{Input: 20, Output: about}, guessed: true, code: "stream_cut", differs: claudeCut},
		{why: "the client leaves", stream: claudeStart(`{"input_tokens":20,"output_tokens":1}`) + claudeSays(), end: endLeave,
			want: core.Tokens{Input: 20, Output: about}, guessed: true, code: "client_gone", differs: claudeCut},
	}
}

// OpenAI's wire of chat.

func chat(choices, usage string) string {
	return `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt-5.4","choices":[` + choices + `]` + member("usage", usage) + "}\n\n"
}

func chatText(text, usage string) string {
	return chat(`{"index":0,"delta":{"content":"`+text+`"},"finish_reason":null}`, usage)
}

// chatSays is the text, with the same usage in each chunk.
func chatSays(usage string) string {
	out := chat(`{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}`, usage)
	for _, p := range sceneParts() {
		out += chatText(p, usage)
	}
	return out
}

func chatFinish(usage string) string {
	return chat(`{"index":0,"delta":{},"finish_reason":"stop"}`, usage)
}

const chatDone = "data: [DONE]\n\n"

// chatTurn is a stream with the usage at its end.
func chatTurn(usage string) string {
	return chatSays("null") + chatFinish("null") + chat("", usage) + chatDone
}

func chatWhole(usage string) string {
	return chatMessage(`"content":"`+sceneText+`"`, usage)
}

func chatMessage(message, usage string) string {
	return `{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-5.4","choices":[{"index":0,"message":{"role":"assistant",` + message + `},"finish_reason":"stop"}]` + member("usage", usage) + `}`
}

func chatScenes() []usageScene {
	const none = "the upstream told no usage although it was asked to"
	const plain = `{"prompt_tokens":20,"completion_tokens":30,"total_tokens":50}`
	const cached = `{"prompt_tokens":1307,"completion_tokens":40,"total_tokens":1347,"prompt_tokens_details":{"cached_tokens":1000,"cache_write_tokens":300}}`
	const reasoned = `{"prompt_tokens":20,"completion_tokens":30,"total_tokens":50,"completion_tokens_details":{"reasoning_tokens":12}}`
	both := func(s usageScene, usage string) usageScene {
		s.stream, s.whole = chatTurn(usage), chatWhole(usage)
		return s
	}
	exact := core.Tokens{Input: 20, Output: 30}
	return []usageScene{
		both(usageScene{why: "plain", want: exact}, plain),
		both(usageScene{why: "cached tokens are part of the input", want: core.Tokens{Input: 7, CacheRead: 1000, CacheWrite5m: 300, Output: 40}}, cached),
		both(usageScene{why: "reasoning is part of the output", want: exact, reasoning: 12}, reasoned),
		both(usageScene{why: "details are null", want: exact}, `{"prompt_tokens":20,"completion_tokens":30,"total_tokens":50,"prompt_tokens_details":null,"completion_tokens_details":null}`),
		both(usageScene{why: "counts within the details are null", want: exact}, `{"prompt_tokens":20,"completion_tokens":30,"prompt_tokens_details":{"cached_tokens":null},"completion_tokens_details":{"reasoning_tokens":null}}`),
		both(usageScene{why: "all is 0"}, `{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}`),
		{why: "growing usage in every chunk", stream: chatSays(`{"prompt_tokens":20,"completion_tokens":3,"total_tokens":23}`) + chatFinish(plain) + chatDone, want: exact},
		{why: "growing usage up to the last content", stream: chatSays(plain) + chatFinish("") + chatDone, want: exact},
		{why: "usage with the finish_reason", stream: chatSays("") + chatFinish(plain) + chatDone, want: exact},
		{why: "no usage", stream: chatSays("") + chatFinish("") + chatDone, whole: chatWhole(""), want: core.Tokens{Input: about, Output: about}, guessed: true, differs: none},
		{why: "usage is null to the end", stream: chatSays("null") + chatFinish("null") + chatDone, whole: chatWhole("null"), want: core.Tokens{Input: about, Output: about}, guessed: true, differs: none},
		both(usageScene{why: "counts are null", want: core.Tokens{Input: about, Output: about}, guessed: true, differs: none}, `{"prompt_tokens":null,"completion_tokens":null,"total_tokens":null}`),
		both(usageScene{why: "no count of the input", want: core.Tokens{Input: about, Output: 30}, guessed: true, differs: none}, `{"completion_tokens":30}`),
		both(usageScene{why: "no count of the output", want: core.Tokens{Input: 20, Output: about}, guessed: true, differs: none}, `{"prompt_tokens":20}`),
		both(usageScene{why: "an input below 0", want: core.Tokens{Input: about, Output: 30}, guessed: true, differs: absurdTold}, `{"prompt_tokens":-20,"completion_tokens":30}`),
		both(usageScene{why: "an absurd output", want: core.Tokens{Input: 20, Output: about}, guessed: true, differs: absurdTold}, `{"prompt_tokens":20,"completion_tokens":4000000000000000}`),
		both(usageScene{why: "more was cached than there was", want: core.Tokens{CacheRead: 20, Output: 30}, guessed: true, differs: absurdTold}, `{"prompt_tokens":20,"completion_tokens":30,"prompt_tokens_details":{"cached_tokens":50,"cache_write_tokens":60}}`),
		both(usageScene{why: "an absurd cache", want: exact, guessed: true, differs: absurdTold}, `{"prompt_tokens":20,"completion_tokens":30,"prompt_tokens_details":{"cached_tokens":-1}}`),
		{why: "tool calls", stream: chat(`{"index":0,"delta":{"role":"assistant","tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]},"finish_reason":null}`, "") +
			chat(`{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":1}"}}]},"finish_reason":null}`, "") + chat(`{"index":0,"delta":{},"finish_reason":"tool_calls"}`, "") + chat("", plain) + chatDone,
			whole: chatMessage(`"content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]`, plain), want: exact},
		{why: "an error after content", stream: chatSays("") + `data: {"error":{"message":"x","type":"server_error","code":null}}` + "\n\n",
			want: core.Tokens{Input: about, Output: about}, guessed: true, code: "upstream_api_error", differs: chatCut},
		{why: "cut off", stream: chatSays(""), end: endReset, want: core.Tokens{Input: about, Output: about}, guessed: true, code: "stream_cut", differs: chatCut},
		{why: "cut off with growing usage", stream: chatSays(`{"prompt_tokens":20,"completion_tokens":3}`), end: endReset, want: core.Tokens{Input: 20, Output: about}, guessed: true, code: "stream_cut", differs: chatCut},
		{why: "no end", stream: chatSays("") + chatFinish(""), want: core.Tokens{Input: about, Output: about}, guessed: true, code: "stream_cut", differs: chatCut},
		{why: "no end, but the usage", stream: chatSays("") + chatFinish("") + chat("", plain), want: exact, code: "stream_cut"},
		{why: "the client leaves", stream: chatSays(""), end: endLeave, want: core.Tokens{Input: about, Output: about}, guessed: true, code: "client_gone", differs: chatCut},
	}
}
