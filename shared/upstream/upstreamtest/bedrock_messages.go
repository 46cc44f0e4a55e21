package upstreamtest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// The API versions of the Messages API.
const (
	bVersionOld = "2023-06-01"
	bVersionNew = "2026-10-21"
	// bInvokeVersion is the value of anthropic_version that all models take;
	// newer ones take bVersionNew, too, which anthropic-sdk-go/v2 sends there.
	bInvokeVersion = "bedrock-2023-05-31"
)

// claudeForm is where a body with Claude's fields stands.
type claudeForm struct {
	native bool // in the Messages API: with model and stream, flags in a header
	count  bool // to be counted, not answered
	modern bool // API version 2026-10-21
}

// messages answers the Messages API and its count_tokens.
func (k *Bedrock) messages(x *exchange) {
	count := x.bedrock.op == opCountMessageTokens
	version := x.req.Header.Get("Anthropic-Version")
	x.fields, _ = scan(x.req.Body)
	switch {
	case !k.validating:
	case !json.Valid(x.req.Body):
		k.refuse(x, bValidation("The request body is not valid JSON: "+syntaxError(x.req.Body)), "no JSON")
		return
	case version == "":
		k.refuse(x, bValidation("anthropic-version: header is required"), "no anthropic-version")
		return
	default:
		if problem := check(x.fields, !count); problem != "" {
			k.refuse(x, bValidation(problem), problem)
			return
		}
	}
	name := string(x.fields.model)
	if x.bedrock.host != hostExternal && k.validating {
		m, ok := k.resolve(x, value{raw: x.fields.model}.text())
		if !ok || !k.claudeBody(x, m, version, count) {
			return
		}
		name = quote(m.bare())
	}
	x.fields.model = []byte(name)
	if !count {
		x.play(k.script.next(x.req))
		return
	}
	x.normally(k.ops.next(x.bedrock.name()), func() (int, []byte) {
		return http.StatusOK, []byte(`{"input_tokens":` + strconv.FormatInt(CountTokens(x.req.Body), 10) + `}`)
	})
}

// claudeBody checks a body of the Messages API.
func (k *Bedrock) claudeBody(x *exchange, m BedrockModel, version string, count bool) bool {
	c := &bChecker{model: m}
	switch {
	case !m.claude():
		c.fail(bError{404, "ResourceNotFoundException", bMissing(m.ID), true, false})
	case version != bVersionOld && version != bVersionNew:
		c.refuse("anthropic-version: %s is not a valid version", quote(version))
	case version == bVersionNew && m.versioned():
		c.refuse("anthropic-version: %s is not supported by this model", version)
	}
	for _, line := range x.req.Header.Values("Anthropic-Beta") {
		for _, flag := range strings.Split(line, ",") {
			c.beta(strings.TrimSpace(flag))
		}
	}
	c.claude(value{raw: x.req.Body}, claudeForm{native: true, count: count, modern: version == bVersionNew})
	return c.cause == "" || k.refuse(x, c.problem, c.cause)
}

// invoke answers InvokeModel and its stream.
func (k *Bedrock) invoke(x *exchange) {
	m, ok := k.resolve(x, x.bedrock.model)
	if !ok {
		return
	}
	if k.validating {
		if e, cause := checkInvoke(m, x.req.Body); cause != "" {
			k.refuse(x, e, cause)
			return
		}
	}
	x.fields.model = []byte(quote(m.bare()))
	x.fields.stream = []byte(strconv.FormatBool(x.bedrock.stream))
	if x.bedrock.stream {
		x.media = []string{EventStreamType}
		x.w.Header()["X-Amzn-Bedrock-Content-Type"] = []string{"application/json"}
	}
	x.play(k.script.next(x.req))
}

// checkInvoke checks a body of InvokeModel. Only Claude's are known here.
func checkInvoke(m BedrockModel, body []byte) (bError, string) {
	c := &bChecker{model: m}
	switch {
	case !json.Valid(body):
		c.refuse("Malformed input request, please reformat your input and try again.")
		return c.problem, c.cause
	case !m.claude():
		c.refuse("Malformed input request: this fake knows the InvokeModel bodies of Anthropic's models alone.")
	}
	o := c.of(value{raw: body})
	modern := false
	if v := o.at("anthropic_version"); !v.present() {
		c.refuse("anthropic_version: Field required")
	} else if modern = v.text() == bVersionNew && !m.versioned(); !modern && v.text() != bInvokeVersion {
		c.refuse("anthropic_version: Input should be '%s'", bInvokeVersion)
	}
	for _, flag := range c.elements(o.at("anthropic_beta")) {
		c.beta(c.text(flag, 0, 0))
	}
	c.claude(value{raw: body}, claudeForm{modern: modern})
	// Older models' refusals come with this before them (LiteLLM pull requests
	// 13825 and 19875), newer ones' without (41203).
	if m.versioned() && c.problem.shape == "ValidationException" {
		c.problem.message = bModelPrefix + c.problem.message
	}
	return c.problem, c.cause
}

// beta refuses a flag that the model does not take.
func (c *bChecker) beta(flag string) {
	if flag == "" {
		return
	}
	if !slices.Contains(c.model.betas(), flag) {
		c.fail(bValidation(bBadBeta))
		c.cause += ": " + flag
	}
	c.betas = append(c.betas, flag)
}

// hasBeta tells whether a flag with that beginning was sent.
func (c *bChecker) hasBeta(prefix string) bool {
	return slices.ContainsFunc(c.betas, func(b string) bool { return strings.HasPrefix(b, prefix) })
}

// extra refuses the members of an object that are not among the names, in the
// words of the model's own check.
func (c *bChecker) extra(o object, names ...string) {
	for _, m := range o.all {
		if !slices.Contains(names, m.name) {
			c.refuse("%s: Extra inputs are not permitted", o.at(m.name).path)
		}
	}
}

// claude checks the fields of a body. A field of Anthropic's own API that
// Bedrock lacks is an extra input, which refuses the whole request.
func (c *bChecker) claude(body value, f claudeForm) {
	o := c.of(body)
	names := []string{"max_tokens", "messages", "system", "metadata", "stop_sequences", "thinking", "tools", "tool_choice", "output_config"}
	if f.native {
		names = append(names, "model", "stream")
	} else {
		names = append(names, "anthropic_version", "anthropic_beta", "user_profile_id")
	}
	if !f.modern {
		names = append(names, "temperature", "top_k", "top_p")
	}
	if c.hasBeta("context-management-") {
		names = append(names, "context_management")
	}
	if c.hasBeta("mcp-client-") {
		names = append(names, "mcp_servers")
	}
	c.extra(o, names...)
	scanned, _ := scan(body.raw)
	if !f.native {
		scanned.model = []byte(`"m"`)
	}
	if problem := check(scanned, !f.count); problem != "" {
		c.refuse("%s", problem)
		return
	}
	thinking := c.of(o.at("thinking"))
	kind := thinking.at("type").text()
	thinking.path += "." + kind
	c.extra(thinking, "type", "budget_tokens", "display")
	for _, t := range c.elements(o.at("tools")) {
		c.claudeTool(c.of(t))
	}
	if v := o.at("system"); v.present() && v.raw[0] == '[' {
		for _, b := range c.elements(v) {
			c.claudeBlock(c.of(b))
		}
	}
	c.claudeTurns(c.elements(o.at("messages")), f)
	if c.marks > 4 {
		c.refuse("A maximum of 4 blocks with cache_control may be provided. Found %d.", c.marks)
	}
}

// cacheMark checks cache_control, whose path names the type of its block.
func (c *bChecker) cacheMark(o object, kind string) {
	v := o.at("cache_control")
	if !v.present() {
		return
	}
	c.marks++
	mark := c.of(v)
	if mark.at("type").text() != "ephemeral" {
		c.refuse("%s.%s.cache_control: Input tag '%s' found using 'type' does not match any of the expected tags: 'ephemeral'", o.path, kind, mark.at("type").text())
	}
	mark.path = o.path + "." + kind + ".cache_control.ephemeral"
	names := []string{"type"}
	if c.model.LongCache {
		names = append(names, "ttl")
	}
	c.extra(mark, names...)
	if ttl := mark.at("ttl"); ttl.present() && ttl.text() != "5m" && ttl.text() != "1h" {
		c.refuse("%s: Input should be '5m' or '1h'", ttl.path)
	}
}

// claudeTool checks a tool: one of the client's, or one of the few of the
// service.
func (c *bChecker) claudeTool(o object) {
	kind := o.at("type").text()
	if kind == "" || kind == "custom" {
		c.cacheMark(o, "custom")
		names := []string{"type", "name", "description", "input_schema", "cache_control", "strict"}
		if c.hasBeta("tool-search-tool-") {
			names = append(names, "defer_loading", "allowed_callers")
		}
		if c.hasBeta("fine-grained-tool-streaming-") {
			names = append(names, "eager_input_streaming")
		}
		for _, name := range []string{"name", "input_schema"} {
			if !o.has(name) {
				c.refuse("%s.custom.%s: Field required", o.path, name)
			}
		}
		o.path += ".custom"
		c.extra(o, names...)
		return
	}
	c.cacheMark(o, kind)
	for prefix, flag := range map[string]string{"bash_": "", "text_editor_": "", "computer_": "computer-use-", "memory_": "context-management-", "tool_search_tool_": "tool-search-tool-"} {
		if strings.HasPrefix(kind, prefix) && (flag == "" || c.hasBeta(flag)) {
			return
		}
	}
	c.refuse("%s: Input tag '%s' found using 'type' does not match any of the expected tags: 'bash_20250124', 'custom', 'text_editor_20250124', 'text_editor_20250429', 'text_editor_20250728'", o.path, kind)
}

// claudeBlock checks what of a block depends on the service.
func (c *bChecker) claudeBlock(o object) {
	kind := o.at("type").text()
	c.cacheMark(o, kind)
	switch kind {
	case "text":
		if o.at("text").text() == "" {
			c.refuse("%s.text: text content blocks must be non-empty", o.path)
		}
	case "image", "document":
		source := c.of(o.at("source"))
		if from := source.at("type").text(); from == "url" || from == "file" {
			c.refuse("%s.%s.source: Input tag '%s' found using 'type' does not match any of the expected tags: 'base64'", o.path, kind, from)
		}
	case "tool_result":
		if v := o.at("content"); v.present() && v.raw[0] == '[' {
			for _, b := range c.elements(v) {
				c.claudeBlock(c.of(b))
			}
		}
	}
}

// claudeTurns checks roles, blocks, and that uses and results of tools belong to
// each other.
func (c *bChecker) claudeTurns(messages []value, f claudeForm) {
	var uses []string
	for i, v := range messages {
		m := c.of(v)
		role := m.at("role").text()
		switch {
		case role == "system" && f.modern && i > 0:
			continue
		case role != "user" && role != "assistant":
			c.refuse("%s.role: Input should be 'user' or 'assistant'", m.path)
		case i == 0 && role != "user":
			c.refuse("messages: first message must use the \"user\" role")
		}
		var now, results []string
		if content := m.at("content"); content.present() && content.raw[0] == '[' {
			for _, b := range c.elements(content) {
				o := c.of(b)
				c.claudeBlock(o)
				switch o.at("type").text() {
				case "tool_use":
					now = append(now, o.at("id").text())
				case "tool_result":
					id := o.at("tool_use_id").text()
					results = append(results, id)
					if !slices.Contains(uses, id) {
						c.refuse("%s: unexpected `tool_use_id` found in `tool_result` blocks: %s. Each `tool_result` block must have a corresponding `tool_use` block in the previous message.", o.path, id)
					}
				}
			}
		} else if c.text(content, 0, 0) == "" {
			c.refuse("%s.content: text content blocks must be non-empty", m.path)
		}
		c.unanswered(i, uses, results)
		uses = now
	}
	c.unanswered(len(messages), uses, nil)
}

// unanswered refuses uses of the message before i that it does not answer.
func (c *bChecker) unanswered(i int, uses, results []string) {
	for _, id := range uses {
		if !slices.Contains(results, id) {
			c.refuse("messages.%d: `tool_use` ids were found without `tool_result` blocks immediately after: %s. Each `tool_use` block must have a corresponding `tool_result` block in the next message.", i-1, id)
		}
	}
}
