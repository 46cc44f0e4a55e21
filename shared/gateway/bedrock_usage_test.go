package gateway_test

import (
	"strconv"
	"strings"

	"sluice/shared/core"
	"sluice/shared/upstream/upstreamtest"
)

// The wires of Bedrock in the table of usagepairs_test.go.

func bedrockNode(api string) func(*core.Node) {
	return func(n *core.Node) { n.Kind, n.API, n.Region = core.KindBedrock, api, "us-east-1" }
}

// inChunks puts server-sent events into frames of InvokeModelWithResponseStream, the last one with the metrics.
func inChunks(stream string) string {
	var out strings.Builder
	for event := range strings.SplitSeq(stream, "\n\n") {
		_, data, ok := strings.Cut(event, "data: ")
		if !ok {
			continue
		}
		if data == `{"type":"message_stop"}` {
			data = `{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":999,"outputTokenCount":999,"invocationLatency":1,"firstByteLatency":1}}`
		}
		out.WriteString(upstreamtest.ChunkFrame(data))
	}
	return out.String()
}

// converseSays is the start of an answer, and its text.
func converseSays() string {
	var out strings.Builder
	out.WriteString(upstreamtest.Frame("messageStart", `{"role":"assistant","p":"ab"}`))
	for _, part := range sceneParts() {
		out.WriteString(upstreamtest.Frame("contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":`+strconv.Quote(part)+`},"p":"abcd"}`))
	}
	return out.String()
}

func converseStops() string {
	return upstreamtest.Frame("contentBlockStop", `{"contentBlockIndex":0}`) + upstreamtest.Frame("messageStop", `{"stopReason":"end_turn"}`)
}

func converseTells(usage string) string {
	return upstreamtest.Frame("metadata", `{"metrics":{"latencyMs":12}`+member("usage", usage)+`}`)
}

func converseWhole(usage string) string {
	return `{"output":{"message":{"role":"assistant","content":[{"text":` + strconv.Quote(sceneText) + `}]}},"stopReason":"end_turn","metrics":{"latencyMs":12}` + member("usage", usage) + `}`
}

// converseScenes are what Converse tells: the input without what the cache gave or took.
func converseScenes() []usageScene {
	both := func(why, usage string, want core.Tokens) usageScene {
		return usageScene{why: why, stream: converseSays() + converseStops() + converseTells(usage), whole: converseWhole(usage), want: want}
	}
	none := both("no usage", "", core.Tokens{Input: about, Output: about})
	none.guessed = true
	return []usageScene{
		both("plain", `{"inputTokens":20,"outputTokens":30,"totalTokens":50}`, core.Tokens{Input: 20, Output: 30}),
		both("cache read, and writes of both kinds", `{"inputTokens":7,"outputTokens":40,"totalTokens":1347,"cacheReadInputTokens":1000,"cacheWriteInputTokens":300,"cacheDetails":[{"ttl":"1h","inputTokens":200},{"ttl":"5m","inputTokens":100}]}`,
			core.Tokens{Input: 7, CacheRead: 1000, CacheWrite5m: 100, CacheWrite1h: 200, Output: 40}),
		both("only the flat count of writes", `{"inputTokens":7,"outputTokens":40,"totalTokens":347,"cacheWriteInputTokens":300}`, core.Tokens{Input: 7, CacheWrite5m: 300, Output: 40}),
		none,
		{why: "an exception after content", stream: converseSays() + upstreamtest.ExceptionFrame("serviceUnavailableException", `{"message":"x"}`),
			want: core.Tokens{Input: about, Output: about}, guessed: true, code: "upstream_overloaded_error"},
		{why: "cut off", stream: converseSays(), end: endReset, want: core.Tokens{Input: about, Output: about}, guessed: true, code: "stream_cut"},
		{why: "the client leaves", stream: converseSays(), end: endLeave, want: core.Tokens{Input: about, Output: about}, guessed: true, code: "client_gone"},
	}
}
