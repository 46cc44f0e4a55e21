package upstreamtest_test

import (
	"encoding/base64"
	"strings"
	"testing"
)

const (
	srcStart   = "langgenius/dify issue 12340"
	srcTurns   = "langchain-ai/langchain-aws issue 130"
	srcTools   = "patriceckhart/zot pull request 18; vxcontrol/pentagi pull request 196"
	srcResults = "strands-agents/harness-sdk issue 1435; pydantic/pydantic-ai issue 2327"
	srcMixed   = "strands-agents/harness-sdk issue 1223"
	srcEmpty   = "aws-samples/sample-multi-agent-orchestration-chat-on-agentcore issue 15"
	srcPoint   = "strands-agents/harness-sdk issue 1820; anomalyco/opencode issue 36517"
	srcDenied  = "Portkey-AI/docs-core pull request 1025"
	srcLimits  = "docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html"
)

// bContent is a conversation of one message; bMore has more members.
func bContent(blocks string) string {
	return `{"messages":[{"role":"user","content":[` + blocks + `]}]}`
}

func bMore(members string) string { return strings.TrimSuffix(bTalk, "}") + "," + members + "}" }

const (
	bTools  = `"toolConfig":{"tools":[{"toolSpec":{"name":"f","inputSchema":{"json":{"type":"object"}}}}]}`
	bUse    = `{"role":"assistant","content":[{"toolUse":{"toolUseId":"t","name":"f","input":{}}}]}`
	bResult = `{"toolResult":{"toolUseId":"t","content":[{"text":"x"}]}}`
	bSaid   = `{"role":"assistant","content":[{"text":"x"}]}`
)

// bMessages is a conversation that goes on, with tools.
func bMessages(messages string) string {
	return `{"messages":[{"role":"user","content":[{"text":"hi"}]},` + messages + `],` + bTools + `}`
}

func bUser(blocks string) string { return `{"role":"user","content":[` + blocks + `]}` }

func converseRefusals() []bRefusal {
	spec := func(members string) string {
		return bMore(`"toolConfig":{"tools":[{"toolSpec":{` + members + `}}]}`)
	}
	const schema = `"inputSchema":{"json":{"type":"object"}}`
	image := func(format, data string) string {
		return bContent(`{"image":{"format":"` + format + `","source":{"bytes":"` + data + `"}}}`)
	}
	doc := func(name string) string {
		return bContent(`{"text":"x"},{"document":{"format":"pdf","name":"` + name + `","source":{"bytes":"AAAA"}}}`)
	}
	point := `{"cachePoint":{"type":"default"}}`
	return []bRefusal{
		{"a conversation", srcTypes, "", bTalk, 0, ""},
		{"another maker's model", srcTypes, bNova, bTalk, 0, ""},
		{"no JSON", srcTypes, "", "{", 0, "Unexpected token"},
		{"an array", srcTypes, "", "[]", 0, "Unexpected token"},
		{"no messages", srcStart, "", `{"messages":[]}`, 0, "A conversation must start with a user message. Try again"},
		{"messages missing", srcTypes, "", `{}`, 0, "Value null at 'messages' failed to satisfy constraint: Member must not be null"},
		{"the assistant first", srcStart, "", `{"messages":[` + bSaid + `]}`, 0, "A conversation must start with a user message. Try again"},
		{"two users in a row", srcTurns, "", bMessages(bUser(`{"text":"x"}`)), 0, "A conversation must alternate between user and assistant roles."},
		{"two assistants in a row", srcTurns, "", bMessages(bSaid + "," + bSaid), 0, "A conversation must alternate between user and assistant roles."},
		{"an unknown role", srcTypes, "", `{"messages":[{"role":"tool","content":[{"text":"x"}]}]}`, 0, "Value 'tool' at 'messages.0.role' failed to satisfy constraint: Member must satisfy enum value set: [user, assistant]"},
		{"an empty message", srcLimits, "", `{"messages":[{"role":"user","content":[]}]}`, 0, "The content field in the Message object at messages.0 is empty. Add a ContentBlock object"},
		{"content as text", srcTypes, "", `{"messages":[{"role":"user","content":"hi"}]}`, 0, "can not be converted to an array"},
		{"a blank text", srcLimits, "", bContent(`{"text":" \n"}`), 0, "The text field in the ContentBlock object at messages.0.content.0 is blank. Add text to the text field, and try again."},
		{"a text that is a number", srcTypes, "", bContent(`{"text":1}`), 0, "messages.0.content.0.text: an integer can not be converted to a string"},
		{"Anthropic's block", srcTypes, "", bContent(`{"type":"text","text":"x"}`), 0, "messages.0.content.0 has the members [type text], not exactly one of"},
		{"a block of no kind", srcTypes, "", bContent(`{}`), 0, "messages.0.content.0 has the members []"},
		{"a misspelled member", srcTypes, "", bMore(`"max_tokens":1`), 0, "The member max_tokens is not in the service's model."},
		{"a system prompt as text", srcTypes, "", bMore(`"system":"x"`), 0, "can not be converted to an array"},
		{"a system prompt", srcTypes, "", bMore(`"system":[{"text":"x"},` + point + `]`), 0, ""},
		{"an empty system prompt", srcTypes, "", bMore(`"system":[{"text":""}]`), 0, "Member must have length greater than or equal to 1"},

		{"inference settings", srcTypes, "", bMore(`"inferenceConfig":{"maxTokens":1,"temperature":0.5,"topP":1,"stopSequences":["x"]}`), 0, ""},
		{"no tokens", srcLimits, "", bMore(`"inferenceConfig":{"maxTokens":0}`), 0, "Value 0 at 'inferenceConfig.maxTokens' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		{"a part of a token", srcTypes, "", bMore(`"inferenceConfig":{"maxTokens":1.5}`), 0, "can not be converted to a number"},
		{"too hot", srcLimits, "", bMore(`"inferenceConfig":{"temperature":1.5}`), 0, "Member must have value less than or equal to 1"},
		{"a negative topP", srcLimits, "", bMore(`"inferenceConfig":{"topP":-0.1}`), 0, "Member must have value greater than or equal to 0"},
		{"an empty stop sequence", srcLimits, "", bMore(`"inferenceConfig":{"stopSequences":[""]}`), 0, "Member must have length greater than or equal to 1"},
		{"too many stop sequences", srcLimits, "", bMore(`"inferenceConfig":{"stopSequences":["x"` + strings.Repeat(`,"x"`, 2500) + `]}`), 0, "less than or equal to 2500"},
		{"topK, which Converse lacks", srcTypes, "", bMore(`"inferenceConfig":{"topK":1}`), 0, "The member inferenceConfig.topK is not in the service's model."},
		{"topK as the model's own field", srcTypes, "", bMore(`"additionalModelRequestFields":{"top_k":1}`), 0, ""},
		{"an unknown tier", srcTypes, "", bMore(`"serviceTier":{"type":"auto"}`), 0, "[priority, default, flex, reserved]"},
		{"an unknown latency", srcTypes, "", bMore(`"performanceConfig":{"latency":"fast"}`), 0, "[standard, optimized]"},

		{"a tool and its use", srcTypes, "", bMessages(bUse + "," + bUser(bResult)), 0, ""},
		{"text beside a result, for Claude", srcMixed, "", bMessages(bUse + "," + bUser(bResult+`,{"text":"x"}`)), 0, ""},
		{"text beside a result, for others", srcMixed, bNova, bMessages(bUse + "," + bUser(bResult+`,{"text":"x"}`)), 0, "messages.2.content: Conversation blocks and tool result blocks cannot be provided in the same turn."},
		{"tools in the talk but no toolConfig", srcTools, "", strings.Replace(bMessages(bUse+","+bUser(bResult)), ","+bTools, "", 1), 0, "The toolConfig field must be defined when using toolUse and toolResult content blocks."},
		{"a use without a result", srcResults, "", bMessages(bUse + "," + bUser(`{"text":"x"}`)), 0, "Expected toolResult blocks at messages.2.content for the following Ids: t"},
		{"a result without a use", srcResults, "", bMessages(bSaid + "," + bUser(bResult)), 0, "The number of toolResult blocks at messages.2.content exceeds the number of toolUse blocks of previous turn."},
		{"a result of another use", srcResults, "", bMessages(bUse + "," + bUser(strings.Replace(bResult, `"t"`, `"u"`, 1))), 0, "Expected toolResult blocks at messages.2.content for the following Ids: t"},
		{"a use by the user", srcTypes, "", bMessages(bSaid + "," + bUser(`{"toolUse":{"toolUseId":"t","name":"f","input":{}}}`)), 0, "User messages cannot contain tool uses."},
		{"a result by the assistant", srcTypes, "", bMessages(`{"role":"assistant","content":[` + bResult + `]}`), 0, "Assistant messages cannot contain tool results."},
		{"an input as text", srcLimits, "", bMessages(strings.Replace(bUse, "{}}}", `"{}"}}`, 1) + "," + bUser(bResult)), 0, "The format of the value at messages.1.content.0.toolUse.input is invalid. Provide a json object"},
		{"a result of JSON that is no object", srcLimits, "", bMessages(bUse + "," + bUser(strings.Replace(bResult, `{"text":"x"}`, `{"json":[1]}`, 1))), 0, "toolResult.content.0.json is invalid. Provide a json object"},
		{"an error without content", srcEmpty, "", bMessages(bUse + "," + bUser(`{"toolResult":{"toolUseId":"t","status":"error","content":[]}}`)), 0, "The content field at messages.2.content.0.toolResult cannot be empty when status value is error."},
		{"an image in a result", srcTypes, "", bMessages(bUse + "," + bUser(strings.Replace(bResult, `{"text":"x"}`, `{"image":{"format":"png","source":{"bytes":"AAAA"}}},{"document":{"format":"md","name":"a","source":{"text":"x"}}}`, 1))), 0, ""},
		{"an unknown status", srcTypes, "", bMessages(bUse + "," + bUser(`{"toolResult":{"toolUseId":"t","status":"failed","content":[]}}`)), 0, "[success, error]"},
		{"an id with a slash", srcLimits, "", bMessages(strings.ReplaceAll(bUse+","+bUser(bResult), `"t"`, `"t/1"`)), 0, "Member must satisfy regular expression pattern: [a-zA-Z0-9_.:-]+"},
		{"a long id", srcLimits, "", bMessages(strings.ReplaceAll(bUse+","+bUser(bResult), `"t"`, `"`+strings.Repeat("t", 65)+`"`)), 0, "length less than or equal to 64"},

		{"a tool's name with a dot", srcLimits, "", spec(`"name":"a.b",` + schema), 0, "Value 'a.b' at 'toolConfig.tools.0.toolSpec.name' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+"},
		{"a tool's long name", srcLimits, "", spec(`"name":"` + strings.Repeat("a", 65) + `",` + schema), 0, "length less than or equal to 64"},
		{"a tool's empty description", srcLimits, "", spec(`"name":"a","description":"",` + schema), 0, "length greater than or equal to 1"},
		{"strict as text", srcTypes, "", spec(`"name":"a","strict":"yes",` + schema), 0, "strict: a string can not be converted to a boolean"},
		{"a tool without a schema", srcTypes, "", spec(`"name":"a"`), 0, "inputSchema' failed to satisfy constraint: Member must not be null"},
		{"a schema that is no object's", srcLimits, "", spec(`"name":"a","inputSchema":{"json":{"type":"string"}}`), 0, "must be one of the following: object"},
		{"Anthropic's schema", srcTypes, "", spec(`"name":"a","input_schema":{}`), 0, "toolSpec.input_schema is not in the service's model"},
		{"two tools of a name", srcLimits, "", bMore(`"toolConfig":{"tools":[{"toolSpec":{"name":"a",` + schema + `}},{"toolSpec":{"name":"a",` + schema + `}}]}`), 0, "already defined"},
		{"no tools", srcLimits, "", bMore(`"toolConfig":{"tools":[]}`), 0, "length greater than or equal to 1"},
		{"a choice of a tool", srcTypes, "", bMore(strings.TrimSuffix(bTools, "}") + `,"toolChoice":{"tool":{"name":"f"}}}`), 0, ""},
		{"a choice of a tool that is not there", srcLimits, "", bMore(strings.TrimSuffix(bTools, "}") + `,"toolChoice":{"tool":{"name":"g"}}}`), 0, "The tool g of toolConfig.toolChoice is not in toolConfig.tools."},
		{"no choice, which Converse lacks", srcTypes, "", bMore(strings.TrimSuffix(bTools, "}") + `,"toolChoice":{"none":{}}}`), 0, "not exactly one of [auto any tool]"},

		{"an image", srcTypes, "", image("png", "AAAA"), 0, ""},
		{"an unknown image", srcTypes, "", image("jpg", "AAAA"), 0, "[png, jpeg, gif, webp]"},
		{"an image that is no base64", srcTypes, "", image("png", "?"), 0, "can not be converted to a blob"},
		{"a large image", srcLimits, "", image("png", base64.StdEncoding.EncodeToString(make([]byte, 3_932_161))), 0, "has 3932161 bytes, more than 3932160"},
		{"a document", srcTypes, "", doc("a b-(1) [x]"), 0, ""},
		{"a document's name with a dot", srcTypes, "", doc("a.pdf"), 0, "The document file name can only contain alphanumeric characters, whitespace characters, hyphens, parentheses, and square brackets."},
		{"a document's name with two spaces", srcTypes, "", doc("a  b"), 0, "can't contain more than one consecutive whitespace character"},
		{"a document's long name", srcLimits, "", doc(strings.Repeat("a", 201)), 0, "length less than or equal to 200"},
		{"an unknown document", srcTypes, "", strings.Replace(doc("a"), "pdf", "rtf", 1), 0, "[pdf, csv, doc, docx, xls, xlsx, html, txt, md]"},
		{"a document without text", srcLimits, "", strings.Replace(doc("a"), `{"text":"x"},`, "", 1), 0, "must also have a text block"},

		{"a cache point after text", srcCaching, "", bContent(`{"text":"x"},` + point), 0, ""},
		{"a cache point before anything", srcCaching, "", bContent(point + `,{"text":"x"}`), 0, "a cachePoint must follow the content that it caches"},
		{"a cache point after reasoning", srcPoint, "", bMessages(`{"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"x","signature":"s"}}},` + point + `]}`), 0, "Cache point cannot be inserted after reasoning block. Please remove the invalid cache point and try again."},
		{"a cache point of another type", srcTypes, "", bContent(`{"text":"x"},{"cachePoint":{"type":"ephemeral"}}`), 0, "enum value set: [default]"},
		{"a cache point of an hour", srcTypes, "", bContent(`{"text":"x"},{"cachePoint":{"type":"default","ttl":"1h"}}`), 0, ""},
		{"a cache point of two hours", srcTypes, "", bContent(`{"text":"x"},{"cachePoint":{"type":"default","ttl":"2h"}}`), 0, "enum value set: [5m, 1h]"},
		{"a cache point of an hour on Nova", srcCaching, bNova, bContent(`{"text":"x"},{"cachePoint":{"type":"default","ttl":"1h"}}`), 0, "does not take a ttl"},
		{"a cache point on a model without a cache", srcDenied, "deepseek.v3-v1:0", bContent(`{"text":"x"},` + point), 403, "You invoked an unsupported model or your request did not allow prompt caching."},
		{"a cache point as the first tool", srcCaching, "", bMore(`"toolConfig":{"tools":[` + point + `]}`), 0, "a cachePoint must follow a tool"},
		{"five cache points", srcCaching, "", bContent(strings.TrimSuffix(strings.Repeat(`{"text":"x"},`+point+`,`, 5), ",")), 0, "A maximum of 4 blocks with cache_control may be provided. Found 5."},

		{"reasoning by the user", srcTypes, "", bContent(`{"reasoningContent":{"reasoningText":{"text":"x"}}}`), 0, "User messages cannot contain reasoning content."},
		{"reasoning without a signature, for Claude", srcTypes, "", bMessages(`{"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"x"}}},{"text":"x"}]}`), 0, "reasoningText.signature: Field required"},
		{"reasoning without a signature, for others", srcTypes, "deepseek.v3-v1:0", bMessages(`{"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"x"}}},{"text":"x"}]}`), 0, ""},
		{"redacted reasoning that is no base64", srcTypes, "", bMessages(`{"role":"assistant","content":[{"reasoningContent":{"redactedContent":"?"}},{"text":"x"}]}`), 0, "can not be converted to a blob"},
	}
}

func TestBedrockRefusesConverse(t *testing.T) {
	checkBedrock(t, "converse", converseRefusals())
	checkBedrock(t, "converse-stream", converseRefusals()[:6])
}
