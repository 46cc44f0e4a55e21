package upstreamtest_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	. "sluice/shared/upstream/upstreamtest"
)

// bRefusal is a request that the service refuses, or without want accepts.
type bRefusal struct {
	why    string
	source string
	model  string // empty: Opus 5.5 through a profile
	body   string
	status int // 0: 400
	want   string
}

// Where the refusals were seen.
const (
	srcSDK      = "anthropic-sdk-go bedrock/bedrock.go"
	srcEnvoy    = "envoyproxy/ai-gateway internal/translator/anthropic_awsanthropic.go"
	srcDefer    = "anthropics/claude-code issue 82549"
	srcAdvisor  = "anthropics/claude-code issues 46105, 70563"
	srcBeta     = "BerriAI/litellm pull request 19875; anthropics/claude-code issue 49370"
	srcExtra    = "BerriAI/litellm issues 13825, 13609"
	srcBinding  = "BerriAI/litellm pull request 41203"
	srcFormat   = "BerriAI/litellm pull request 19712"
	srcDocs     = "docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages-request-response.html"
	srcCaching  = "docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html"
	srcVersions = "platform.claude.com/docs/en/api/versioning"
	srcOnDemand = "langchain-ai/langchain-aws issue 1019; anomalyco/opencode issue 396"
	srcMantle   = "posit-dev/chatlas issue 411; BerriAI/litellm pull request 39846"
	srcModel    = "iOfficeAI/AionCore pull request 377"
	srcPairs    = "decocms/studio issue 1803; anthropics/claude-code issue 15205"
	srcTypes    = "aws-sdk-go-v2 service/bedrockruntime v1.63.11 types"
	srcCount    = "pydantic/pydantic-ai issue 4001; Boise-State-Development/agentcore-public-stack pull request 430"
	srcPrefix   = "BerriAI/litellm pull request 19875, with the prefix; 41203, without"
)

// bClaudeWith is a Messages body of InvokeModel with more members.
func bClaudeWith(members string) string {
	return strings.TrimSuffix(bClaude, "}") + "," + members + "}"
}

func bBlocks(blocks string) string {
	return `{"anthropic_version":"bedrock-2023-05-31","max_tokens":100,"messages":[{"role":"user","content":[` + blocks + `]}]}`
}

const bCustom = `{"name":"f","input_schema":{"type":"object"}`

func betas(flags string) string { return `"anthropic_beta":[` + flags + `]` }

// invokeRefusals hold for InvokeModel and its stream.
func invokeRefusals() []bRefusal {
	custom := func(more string) string { return bClaudeWith(`"tools":[` + bCustom + more + `}]`) }
	mark := func(more string) string {
		return bBlocks(`{"type":"text","text":"x","cache_control":{"type":"ephemeral"` + more + `}}`)
	}
	newer := func(body string) string { return strings.Replace(body, "bedrock-2023-05-31", "2026-10-21", 1) }
	systemTurn := strings.Replace(bClaude, `"hi"}]`, `"hi"},{"role":"system","content":"Be brief."}]`, 1)
	five := strings.TrimSuffix(strings.Repeat(`{"type":"text","text":"x","cache_control":{"type":"ephemeral"}},`, 5), ",")
	return []bRefusal{
		{"the body without what the path and the host say", srcSDK, "", bClaude, 0, ""},
		{"a member of the model", srcSDK, "", bClaudeWith(`"model":"x"`), 0, "model: Extra inputs are not permitted"},
		{"a member of the stream", srcSDK, "", bClaudeWith(`"stream":true`), 0, "stream: Extra inputs are not permitted"},
		{"no version", srcSDK, "", `{"max_tokens":1,"messages":[{"role":"user","content":"x"}]}`, 0, "anthropic_version: Field required"},
		{"the version of the header", srcSDK, "", strings.Replace(bClaude, "bedrock-2023-05-31", "2023-06-01", 1), 0, "anthropic_version: Input should be 'bedrock-2023-05-31'"},
		{"the new version", srcVersions, "", newer(bClaude), 0, ""},
		{"the new version and an older model", srcVersions, bSonnet45, newer(bClaude), 0, "anthropic_version: Input should be 'bedrock-2023-05-31'"},
		{"sampling in the new version", srcVersions, "", newer(bClaudeWith(`"temperature":1`)), 0, "temperature: Extra inputs are not permitted"},
		{"a system turn in the new version", srcVersions, "", newer(systemTurn), 0, ""},
		{"a system turn in the old version", srcVersions, "", systemTurn, 0, "messages.1.role: Input should be 'user' or 'assistant'"},
		{"flags that were taken", srcEnvoy, "", bClaudeWith(betas(`"context-1m-2025-08-07","interleaved-thinking-2025-05-14"`)), 0, ""},
		{"a flag that was refused", srcEnvoy, "", bClaudeWith(betas(`"interleaved-thinking-2025-05-14","extended-cache-ttl-2025-04-11"`)), 0, "invalid beta flag"},
		{"a flag before it was renamed", srcEnvoy, "", bClaudeWith(betas(`"advanced-tool-use-2025-11-20"`)), 0, "invalid beta flag"},
		{"a flag that no one has tried", srcBeta, "", bClaudeWith(betas(`"claude-code-20250219"`)), 0, "invalid beta flag"},
		{"a flag that this model does not take", srcBeta, "us.anthropic.claude-opus-4-7", bClaudeWith(betas(`"tool-search-tool-2025-10-19"`)), 0, `{"message":"invalid beta flag"}`},
		{"the one flag that this model takes", srcBeta, "us.anthropic.claude-opus-4-7", bClaudeWith(betas(`"interleaved-thinking-2025-05-14"`)), 0, ""},
		{"the words of an older model", srcPrefix, bSonnet45, bClaudeWith(betas(`"memory-2025-08-18"`)), 0, "The model returned the following errors: invalid beta flag"},
		{"flags as text", srcSDK, "", bClaudeWith(`"anthropic_beta":"x"`), 0, "can not be converted to an array"},
		{"output_format", srcFormat, "", bClaudeWith(`"output_format":{"type":"json_schema"}`), 0, "output_format: Extra inputs are not permitted"},
		{"output_config", srcDocs, "", bClaudeWith(`"output_config":{"effort":"high"}`), 0, ""},
		{"context_management without its flag", srcEnvoy, "", bClaudeWith(`"context_management":{}`), 0, "context_management: Extra inputs are not permitted"},
		{"context_management with its flag", srcEnvoy, "", bClaudeWith(betas(`"context-management-2025-06-27"`) + `,"context_management":{}`), 0, ""},
		{"mcp_servers without its flag", srcEnvoy, "", bClaudeWith(`"mcp_servers":[]`), 0, "mcp_servers: Extra inputs are not permitted"},
		{"mcp_servers with its flag", srcEnvoy, "", bClaudeWith(betas(`"mcp-client-2025-11-20"`) + `,"mcp_servers":[]`), 0, ""},
		{"a field of the first-party API", srcExtra, "", bClaudeWith(`"inference_geo":"us"`), 0, "inference_geo: Extra inputs are not permitted"},
		{"a cache mark of the whole body", srcCaching, "", bClaudeWith(`"cache_control":{"type":"ephemeral"}`), 0, "cache_control: Extra inputs are not permitted"},
		{"a field of another API", srcExtra, bSonnet45, bClaudeWith(`"reasoning":{}`), 0, "The model returned the following errors: reasoning: Extra inputs are not permitted"},
		{"block_binding", srcBinding, "", bClaudeWith(`"thinking":{"type":"adaptive","block_binding":{}}`), 0, "thinking.adaptive.block_binding: Extra inputs are not permitted"},
		{"thinking", srcDocs, "", bClaudeWith(`"thinking":{"type":"enabled","budget_tokens":1024}`), 0, ""},
		{"defer_loading without its flag", srcDefer, "", custom(`,"defer_loading":true`), 0, "tools.0.custom.defer_loading: Extra inputs are not permitted"},
		{"defer_loading with its flag", srcEnvoy, "", bClaudeWith(betas(`"tool-search-tool-2025-10-19"`) + `,"tools":[` + bCustom + `,"defer_loading":true}]`), 0, ""},
		{"input_examples", srcDefer, "", custom(`,"input_examples":[]`), 0, "tools.0.custom.input_examples: Extra inputs are not permitted"},
		{"fine-grained input without its flag", srcEnvoy, "", custom(`,"eager_input_streaming":true`), 0, "tools.0.custom.eager_input_streaming: Extra inputs are not permitted"},
		{"fine-grained input with its flag", srcEnvoy, "", bClaudeWith(betas(`"fine-grained-tool-streaming-2025-05-14"`) + `,"tools":[` + bCustom + `,"eager_input_streaming":true}]`), 0, ""},
		{"a tool without a schema", srcDocs, "", bClaudeWith(`"tools":[{"name":"f"}]`), 0, "tools.0.custom.input_schema: Field required"},
		{"the advisor", srcAdvisor, "", bClaudeWith(`"tools":[` + bCustom + `},{"type":"advisor_20260301","name":"advisor"}]`), 0, "tools.1: Input tag 'advisor_20260301' found using 'type' does not match any of the expected tags"},
		{"web search", srcDocs, "", bClaudeWith(`"tools":[{"type":"web_search_20250305","name":"web_search"}]`), 0, "tools.0: Input tag 'web_search_20250305'"},
		{"a tool of the client with a type of its own", srcDocs, "", bClaudeWith(`"tools":[{"type":"bash_20250124","name":"bash"}]`), 0, ""},
		{"computer use without its flag", srcDocs, "", bClaudeWith(`"tools":[{"type":"computer_20250124","name":"computer"}]`), 0, "Input tag 'computer_20250124'"},
		{"a cache mark", srcCaching, "", mark(""), 0, ""},
		{"a cache mark of an hour", srcCaching, "", mark(`,"ttl":"1h"`), 0, ""},
		{"a cache mark of an hour on an older model", srcCaching, "us.anthropic.claude-sonnet-4-20250514-v1:0", mark(`,"ttl":"1h"`), 0, "messages.0.content.0.text.cache_control.ephemeral.ttl: Extra inputs are not permitted"},
		{"a ttl that does not exist", srcCaching, "", mark(`,"ttl":"2h"`), 0, "Input should be '5m' or '1h'"},
		{"a scope of the cache", srcExtra, "", mark(`,"scope":"global"`), 0, "messages.0.content.0.text.cache_control.ephemeral.scope: Extra inputs are not permitted"},
		{"a cache mark of another type", srcCaching, "", bBlocks(`{"type":"text","text":"x","cache_control":{"type":"long"}}`), 0, "expected tags: 'ephemeral'"},
		{"a scope of the cache in system", srcExtra, "", bClaudeWith(`"system":[{"type":"text","text":"x","cache_control":{"type":"ephemeral","scope":"global"}}]`), 0, "system.0.text.cache_control.ephemeral.scope: Extra inputs"},
		{"a scope of the cache on a tool", srcExtra, "", custom(`,"cache_control":{"type":"ephemeral","scope":"global"}`), 0, "tools.0.custom.cache_control.ephemeral.scope: Extra inputs"},
		{"five cache marks", srcCaching, "", bBlocks(five), 0, "A maximum of 4 blocks with cache_control may be provided. Found 5."},
		{"an image by address", srcDocs, "", bBlocks(`{"type":"image","source":{"type":"url","url":"https://x"}}`), 0, "messages.0.content.0.image.source: Input tag 'url'"},
		{"a document of the Files API", srcEnvoy, "", bBlocks(`{"type":"document","source":{"type":"file","file_id":"f"}}`), 0, "messages.0.content.0.document.source: Input tag 'file'"},
		{"a whole image", srcDocs, "", bBlocks(`{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}`), 0, ""},
		{"an empty text", srcDocs, "", bBlocks(`{"type":"text","text":""}`), 0, "text content blocks must be non-empty"},
		{"an empty message", srcDocs, "", strings.Replace(bClaude, `"hi"`, `""`, 1), 0, "messages.0.content: text content blocks must be non-empty"},
		{"an unknown role", srcDocs, "", strings.Replace(bClaude, `"user"`, `"system"`, 1), 0, "messages.0.role: Input should be 'user' or 'assistant'"},
		{"the assistant first", srcDocs, "", strings.Replace(bClaude, `"user"`, `"assistant"`, 1), 0, `first message must use the \"user\" role`},
		{"a result without a use", srcPairs, "", bBlocks(`{"type":"tool_result","tool_use_id":"t","content":"x"}`), 0, "unexpected `tool_use_id` found in `tool_result` blocks: t."},
		{"a use without a result", srcPairs, "", strings.Replace(bClaude, `"hi"}]`, `"hi"},{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{}}]},{"role":"user","content":"x"}]`, 1), 0, "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: t."},
		{"a use and its result", srcPairs, "", strings.Replace(bClaude, `"hi"}]`, `"hi"},{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"x"}]}]}]`, 1), 0, ""},
		{"no max_tokens", srcDocs, "", strings.Replace(bClaude, `"max_tokens":100,`, "", 1), 0, "max_tokens: Field required"},
		{"no messages", srcDocs, "", `{"anthropic_version":"bedrock-2023-05-31","max_tokens":1,"messages":[]}`, 0, "messages: at least one message is required"},
		{"no JSON", srcDocs, "", `{`, 0, "Malformed input request"},
		{"Claude's body to another model", srcTypes, bNova, bClaude, 0, "Malformed input request"},
	}
}

func checkBedrock(t *testing.T, action string, cases []bRefusal) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.why, func(t *testing.T) {
			if c.source == "" {
				t.Fatal("no source")
			}
			k := NewBedrock(t)
			k.Queue(Reply(Text("queued")))
			model := c.model
			if model == "" {
				model = bOpus
			}
			got := do(t, bedrockRequest(t, bedrockPath(k, model, action), c.body))
			if c.want == "" {
				mustStatus(t, got, 200)
				return
			}
			mustStatus(t, got, max(c.status, 400))
			var e struct{ Message string }
			decode(t, got.body, &e)
			if !strings.Contains(got.body, c.want) && !strings.Contains(e.Message, c.want) {
				t.Errorf("got %s, want %s", got.body, c.want)
			}
			if len(k.Refused()) != 1 || k.Queued() != 1 {
				t.Errorf("got %q, %d queued", k.Refused(), k.Queued())
			}
		})
	}
}

func TestBedrockRefusesInvoke(t *testing.T) {
	checkBedrock(t, "invoke", invokeRefusals())
	checkBedrock(t, "invoke-with-response-stream", invokeRefusals()[:3])
}

// The Messages API refuses the same fields; flags stand in the header, and the
// errors are Anthropic's.
func TestBedrockRefusesMessages(t *testing.T) {
	with := func(members string) string { return strings.TrimSuffix(bNative, "}") + "," + members + "}" }
	runtime := func(id string) string { return strings.Replace(bNative, "anthropic.claude-opus-5-5", id, 1) }
	for _, c := range []struct {
		why, source        string
		runtime            bool
		beta, version      string
		body, path         string
		status             int
		errType, want, typ string
	}{
		{why: "flags that were taken, in two headers' form", source: srcEnvoy, beta: "context-1m-2025-08-07, interleaved-thinking-2025-05-14", body: bNative},
		{why: "one unknown flag among known ones", source: srcBeta, beta: "interleaved-thinking-2025-05-14,oauth-2025-04-20", body: bNative, status: 400, errType: "invalid_request_error", want: "invalid beta flag"},
		{why: "an unknown flag on count_tokens", source: srcBeta, path: "/count_tokens", beta: "oauth-2025-04-20", body: bNative, status: 400, errType: "invalid_request_error", want: "invalid beta flag"},
		{why: "output_format", source: srcFormat, body: with(`"output_format":{}`), status: 400, errType: "invalid_request_error", want: "output_format: Extra inputs are not permitted"},
		{why: "context_management without its flag", source: srcEnvoy, body: with(`"context_management":{}`), status: 400, errType: "invalid_request_error", want: "context_management: Extra inputs"},
		{why: "context_management with its flag", source: srcEnvoy, beta: "context-management-2025-06-27", body: with(`"context_management":{}`)},
		{why: "defer_loading", source: srcDefer, body: with(`"tools":[` + bCustom + `,"defer_loading":true}]`), status: 400, errType: "invalid_request_error", want: "tools.0.custom.defer_loading: Extra inputs are not permitted"},
		{why: "the advisor", source: srcAdvisor, body: with(`"tools":[{"type":"advisor_20260301","name":"a"}]`), status: 400, errType: "invalid_request_error", want: "tools.0: Input tag 'advisor_20260301'"},
		{why: "the body's version of InvokeModel", source: srcSDK, body: with(`"anthropic_version":"bedrock-2023-05-31"`), status: 400, errType: "invalid_request_error", want: "anthropic_version: Extra inputs"},
		{why: "the body's flags of InvokeModel", source: srcSDK, body: with(`"anthropic_beta":[]`), status: 400, errType: "invalid_request_error", want: "anthropic_beta: Extra inputs"},
		{why: "no version", source: srcVersions, version: "none", body: bNative, status: 400, errType: "invalid_request_error", want: "anthropic-version: header is required"},
		{why: "an unknown version", source: srcVersions, version: "2024-01-01", body: bNative, status: 400, errType: "invalid_request_error", want: "is not a valid version"},
		{why: "the new version", source: srcVersions, version: "2026-10-21", body: bNative},
		{why: "sampling in the new version", source: srcVersions, version: "2026-10-21", body: with(`"temperature":1`), status: 400, errType: "invalid_request_error", want: "temperature: Extra inputs"},
		{why: "sampling in the old version", source: srcVersions, body: with(`"temperature":1`)},
		{why: "the new version and an older model", source: srcVersions, runtime: true, version: "2026-10-21", body: runtime(bSonnet45), status: 400, errType: "invalid_request_error", want: "2026-10-21 is not supported by this model"},
		{why: "a profile on mantle", source: srcMantle, body: runtime(bOpus), status: 404, errType: "not_found_error", want: "The model 'us.anthropic.claude-opus-5-5' does not exist"},
		{why: "a model that mantle lacks", source: srcMantle, body: runtime("anthropic.claude-sonnet-4-5-20250929-v1:0"), status: 404, errType: "not_found_error", want: "does not exist"},
		{why: "a profile on runtime", source: srcOnDemand, runtime: true, body: runtime("global.anthropic.claude-opus-5-5")},
		{why: "a bare id on runtime", source: srcOnDemand, runtime: true, body: bNative, status: 400, errType: "invalid_request_error", want: "with on-demand throughput isn’t supported"},
		{why: "another maker's model", source: srcMantle, runtime: true, body: runtime(bNova), status: 404, errType: "not_found_error", want: "does not exist"},
		{why: "no model", source: srcVersions, body: strings.Replace(bNative, `"model":"anthropic.claude-opus-5-5",`, "", 1), status: 400, errType: "invalid_request_error", want: "model: Field required"},
		{why: "no JSON", source: srcVersions, body: "{", status: 400, errType: "invalid_request_error", want: "not valid JSON"},
		{why: "another content type", source: srcVersions, typ: "text/plain", body: bNative, status: 400, errType: "invalid_request_error", want: "Content-Type"},
		{why: "another path", source: srcMantle, path: "/batches", body: bNative, status: 404, errType: "not_found_error", want: "not recognized"},
	} {
		t.Run(c.why, func(t *testing.T) {
			k := NewBedrock(t)
			base := k.MantleURL()
			if c.runtime {
				base = k.RuntimeURL()
			}
			r := bedrockRequest(t, base+"/anthropic/v1/messages"+c.path, c.body)
			r.Header.Set("Anthropic-Beta", c.beta)
			switch c.version {
			case "":
			case "none":
				r.Header.Del("Anthropic-Version")
			default:
				r.Header.Set("Anthropic-Version", c.version)
			}
			if c.typ != "" {
				r.Header.Set("Content-Type", c.typ)
			}
			got := do(t, r)
			if c.status == 0 {
				mustStatus(t, got, 200)
				return
			}
			bedrockError(t, got, c.status, c.errType, c.want)
			if c.source == "" || len(k.Refused()) != 1 {
				t.Errorf("got source %q, refused %q", c.source, k.Refused())
			}
		})
	}
}

// Which ids runtime takes.
func TestBedrockModelIDs(t *testing.T) {
	for _, c := range []struct {
		why, id, region string
		status          int
		shape, want     string
	}{
		{"a global profile", "global.anthropic.claude-opus-5-5", "us-east-1", 200, "", ""},
		{"a profile's ARN", "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-5-5", "us-east-1", 200, "", ""},
		{"an application's ARN", bAppARN, "us-east-1", 200, "", ""},
		{"a bare id on demand", "anthropic.claude-3-haiku-20240307-v1:0", "us-east-1", 200, "", ""},
		{"a model's ARN on demand", "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0", "us-east-1", 200, "", ""},
		{"a profile of Japan in Tokyo", "jp.anthropic.claude-opus-5-5", "ap-northeast-1", 200, "", ""},
		{"a bare id that needs a profile (" + srcOnDemand + ")", "anthropic.claude-opus-5-5", "us-east-1", 400, "ValidationException", "Invocation of model ID anthropic.claude-opus-5-5 with on-demand throughput isn’t supported. Retry your request with the ID or ARN of an inference profile that contains this model."},
		{"a profile of another place (" + srcModel + ")", "eu.anthropic.claude-opus-5-5", "us-east-1", 400, "ValidationException", "The provided model identifier is invalid."},
		{"a profile that the model lacks (" + srcModel + ")", "apac.anthropic.claude-opus-5-5", "ap-northeast-1", 400, "ValidationException", "The provided model identifier is invalid."},
		{"Anthropic's own name (" + srcModel + ")", "claude-opus-5-5", "us-east-1", 400, "ValidationException", "The provided model identifier is invalid."},
		{"an ARN of another region", "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/us.anthropic.claude-opus-5-5", "us-east-1", 400, "ValidationException", "The provided model identifier is invalid."},
		{"an ARN that says it is a model", "arn:aws:bedrock:us-east-1::foundation-model/us.anthropic.claude-opus-5-5", "us-east-1", 400, "ValidationException", "The provided model identifier is invalid."},
		{"an application that does not exist", "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/none", "us-east-1", 400, "ValidationException", "The provided model identifier is invalid."},
		{"a model without access (" + srcTypes + ")", "us.anthropic.claude-haiku-5-5", "us-east-1", 403, "AccessDeniedException", "You don't have access to the model with the specified model ID."},
	} {
		t.Run(c.why, func(t *testing.T) {
			k := NewBedrock(t, WithRegions(c.region))
			k.DenyModels("anthropic.claude-haiku-5-5")
			got := do(t, bedrockRequest(t, bedrockPath(k, c.id, "invoke"), bClaude))
			mustStatus(t, got, c.status)
			if shape, _, _ := strings.Cut(got.Header.Get("X-Amzn-Errortype"), ":"); shape != c.shape || !strings.Contains(got.body, c.want) {
				t.Errorf("got %s %s", shape, got.body)
			}
		})
	}
	k := NewBedrock(t)
	k.SetModels(BedrockModel{ID: "anthropic.claude-x", OnDemand: true, Mantle: true})
	mustStatus(t, do(t, bedrockRequest(t, bedrockPath(k, "anthropic.claude-x", "invoke"), bClaude)), 200)
	mustStatus(t, do(t, bedrockRequest(t, bedrockPath(k, bOpus, "invoke"), bClaude)), 400)
}

// Paths that are no operation: among them an ARN whose slash is not escaped.
func TestBedrockUnknownOperations(t *testing.T) {
	k := NewBedrock(t)
	for _, c := range [][2]string{
		{"POST", "/runtime" + bModelPath + bAppARN + "/invoke"}, {"POST", "/runtime/model/x/chat"}, {"POST", "/runtime/model//invoke"}, {"GET", "/runtime/model/x/invoke"},
		{"POST", "/mantle/model/" + bOpus + "/invoke"}, {"POST", "/v1/messages"}, {"POST", "/control/foundation-models"}, {"POST", "/runtime/model/%zz/invoke"},
	} {
		r := bedrockRequest(t, k.URL+strings.Replace(c[1], "%zz", "", 1), bClaude)
		r.Method = c[0]
		got := do(t, r)
		if got.StatusCode != http.StatusNotFound || got.Header.Get("X-Amzn-Errortype") != "UnknownOperationException" {
			t.Errorf("%s: got %d %s", c[1], got.StatusCode, got.body)
		}
	}
}

func TestBedrockCountTokens(t *testing.T) {
	in := func(inner string) string {
		return `{"input":{"invokeModel":{"body":"` + base64.StdEncoding.EncodeToString([]byte(inner)) + `"}}}`
	}
	const sonnet = "anthropic.claude-sonnet-4-5-20250929-v1:0"
	checkBedrock(t, "count-tokens", []bRefusal{
		{"a body of InvokeModel", srcTypes, sonnet, in(bClaude), 0, ""},
		{"a conversation", srcTypes, sonnet, `{"input":{"converse":` + bTalk + `}}`, 0, ""},
		{"a profile", srcCount, bSonnet45, in(bClaude), 0, "The provided model doesn't support counting tokens."},
		{"a profile's ARN", srcCount, "arn:aws:bedrock:us-east-1:123456789012:inference-profile/" + bSonnet45, in(bClaude), 0, "doesn't support counting tokens"},
		{"Nova", srcCount, bNova, `{"input":{"converse":` + bTalk + `}}`, 0, "doesn't support counting tokens"},
		{"a newer model, which mantle counts for", "BerriAI/litellm issue 32683", "anthropic.claude-opus-5-5", in(bClaude), 0, "doesn't support counting tokens"},
		{"an unknown model", srcModel, "claude", in(bClaude), 0, "The provided model identifier is invalid."},
		{"both", srcTypes, sonnet, `{"input":{"converse":` + bTalk + `,"invokeModel":{"body":"e30="}}}`, 0, "not exactly one of [invokeModel converse]"},
		{"none", srcTypes, sonnet, `{}`, 0, "Value null at 'input' failed to satisfy constraint: Member must not be null"},
		{"a body that is no base64", srcTypes, sonnet, `{"input":{"invokeModel":{"body":"{}"}}}`, 0, "can not be converted to a blob"},
		{"a body that InvokeModel refuses", srcTypes, sonnet, in(`{"messages":[]}`), 0, "anthropic_version: Field required"},
		{"a conversation that Converse refuses", srcTypes, sonnet, `{"input":{"converse":{"messages":[]}}}`, 0, "A conversation must start with a user message."},
		{"inferenceConfig, which is not counted", srcTypes, sonnet, `{"input":{"converse":{"inferenceConfig":{}}}}`, 0, "The member input.converse.inferenceConfig is not in the service's model."},
		{"a query of no JSON", srcTypes, sonnet, `x`, 0, "no JSON"},
	})
	k := NewBedrock(t)
	if got := do(t, bedrockRequest(t, bedrockPath(k, sonnet, "count-tokens"), in(bClaude))); got.body != `{"inputTokens":25}` {
		t.Errorf("got %s", got.body)
	}
	k.QueueOperation("CountTokens", RateLimited(0))
	mustStatus(t, do(t, bedrockRequest(t, bedrockPath(k, sonnet, "count-tokens"), in(bClaude))), 429)
}
