package upstreamtest

import (
	"bytes"
	"slices"
	"strings"
)

// responseFields are what a request for a response may have. The last one is
// in no reference, but Codex sends it to everyone.
var responseFields = strings.Fields("background instructions max_output_tokens max_tool_calls parallel_tool_calls previous_response_id " +
	"prompt_cache_key safety_identifier store temperature top_logprobs top_p user context_management conversation include metadata moderation " +
	"prompt prompt_cache_retention prompt_cache_options service_tier stream stream_options truncation access_programs input model reasoning text " +
	"tool_choice tools client_metadata")

// checkResponse returns what the API would refuse in a request for a response,
// nil: nothing.
func checkResponse(body []byte) *openAIError {
	c := &checker{}
	o := c.of(value{raw: body})
	for _, moved := range [][2]string{{"messages", "input"}, {"response_format", "text.format"}, {"max_tokens", "max_output_tokens"},
		{"max_completion_tokens", "max_output_tokens"}, {"reasoning_effort", "reasoning.effort"}} {
		if o.at(moved[0]).raw != nil {
			c.refuse("", "unsupported_parameter", "Unsupported parameter: '%s'. In the Responses API, this parameter has moved to '%s'.", moved[0], moved[1])
		}
	}
	c.known(o, responseFields...)
	model := c.need(o, "model")
	if c.problem != nil {
		return c.problem
	}
	c.responseSampling(o, reasons(c.text(model, 0)))
	c.input(o)
	c.responseTools(o)
	if text := o.at("text"); text.present() {
		c.textFormat(c.of(text))
	}
	return c.problem
}

func (c *checker) responseSampling(o object, reasoning bool) {
	temperature, thinking := o.at("temperature"), o.at("reasoning")
	c.decimal(temperature, 2)
	c.decimal(o.at("top_p"), 1)
	c.integer(o.at("max_output_tokens"), 16)
	c.boolean(o.at("stream"))
	c.boolean(o.at("store"))
	if thinking.present() {
		r := c.of(thinking)
		c.known(r, "effort", "summary", "generate_summary", "context", "mode")
		c.effort(r.at("effort"))
		if s := r.at("summary"); s.present() {
			c.oneOf(s, "auto", "concise", "detailed")
		}
		if !reasoning && r.has("effort") {
			c.refuse("reasoning.effort", "unsupported_parameter", "Unsupported parameter: 'reasoning.effort' is not supported with this model.")
		}
	}
	if include := o.at("include"); include.present() {
		c.elements(include, 0)
		if !reasoning && bytes.Contains(include.raw, []byte(`"reasoning.encrypted_content"`)) {
			c.refuse("include", "", "Encrypted content is not supported with this model.")
		}
	}
	if reasoning && temperature.present() && temperature.number() != 1 {
		c.refuse("temperature", "unsupported_parameter", "Unsupported parameter: 'temperature' is not supported with this model.")
	}
	if options := o.at("stream_options"); options.present() {
		c.known(c.of(options), "include_obfuscation")
	}
	if id := o.at("previous_response_id"); id.present() {
		if s := c.text(id, 0); !strings.HasPrefix(s, "resp_") {
			c.refuse(id.path, "invalid_value", "Invalid '%s': '%s'. Expected an ID that begins with 'resp'.", id.path, s)
		}
	}
}

// input checks the items, and that calls and outputs of tools belong together.
// After an earlier response, which the fake does not keep, they may not.
func (c *checker) input(o object) {
	v := o.at("input")
	if !v.present() {
		if !o.has("previous_response_id") && !o.has("prompt") && !o.has("conversation") {
			c.refuse("input", "missing_required_parameter", "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation_id' must be provided.")
		}
		return
	}
	if v.kind() == "a string" {
		return
	}
	var calls, outputs []string
	for _, i := range c.elements(v, 0) {
		item := c.of(i)
		switch kind := item.at("type").text(); kind {
		case "", "message":
			c.inputMessage(item)
		case "function_call", "custom_tool_call":
			calls = append(calls, c.inputCall(item, kind))
		case "function_call_output", "custom_tool_call_output":
			c.known(item, "type", "id", "call_id", "output", "status")
			id := c.text(c.need(item, "call_id"), 64)
			c.outputText(c.need(item, "output"))
			outputs = append(outputs, id)
			if !slices.Contains(calls, id) && !o.has("previous_response_id") && !o.has("conversation") {
				c.refuse("input", "", "No tool call found for function call output with call_id %s.", id)
			}
		case "reasoning":
			c.known(item, "type", "id", "summary", "content", "encrypted_content", "status")
			c.elements(c.need(item, "summary"), 0)
		default:
			c.oneOf(item.at("type"), itemTypes...)
		}
	}
	for _, id := range calls {
		if !slices.Contains(outputs, id) {
			c.refuse("input", "", "No tool output found for function call %s.", id)
		}
	}
}

// itemTypes are the input items whose members are not looked at.
var itemTypes = strings.Fields("item_reference file_search_call computer_call computer_call_output web_search_call tool_search_call " +
	"tool_search_output additional_tools configuration_update compaction compaction_trigger image_generation_call code_interpreter_call " +
	"local_shell_call local_shell_call_output shell_call shell_call_output apply_patch_call apply_patch_call_output mcp_list_tools " +
	"mcp_approval_request mcp_approval_response mcp_call program program_output")

// inputCall returns the id of a call.
func (c *checker) inputCall(item object, kind string) string {
	input := "arguments"
	if kind == "custom_tool_call" {
		input = "input"
	}
	c.known(item, "type", "id", "call_id", "name", "namespace", "status", "async", "caller", input)
	c.named(item)
	c.text(c.need(item, input), 0)
	if id := item.at("id"); id.present() && kind == "function_call" && !strings.HasPrefix(id.text(), "fc") {
		c.refuse(id.path, "invalid_value", "Invalid '%s': '%s'. Expected an ID that begins with 'fc'.", id.path, id.text())
	}
	return c.text(c.need(item, "call_id"), 64)
}

func (c *checker) outputText(v value) {
	if v.raw == nil || v.raw[0] != '[' {
		c.text(v, 0)
		return
	}
	for _, p := range c.elements(v, 0) {
		c.inputPart(c.of(p), "input_text", "input_image", "input_file")
	}
}

func (c *checker) inputMessage(item object) {
	c.known(item, "type", "id", "role", "content", "status", "phase")
	role := c.oneOf(c.need(item, "role"), "assistant", "system", "developer", "user")
	content := c.need(item, "content")
	if c.problem != nil || content.kind() == "a string" {
		return
	}
	for _, p := range c.elements(content, 0) {
		if role == "assistant" {
			c.inputPart(c.of(p), "output_text", "refusal")
			continue
		}
		c.inputPart(c.of(p), "input_text", "input_image", "input_file")
	}
}

func (c *checker) inputPart(o object, kinds ...string) {
	switch c.oneOf(c.need(o, "type"), kinds...) {
	case "input_text":
		c.known(o, "type", "text")
		c.text(c.need(o, "text"), 0)
	case "output_text":
		c.known(o, "type", "text", "annotations", "logprobs")
		c.text(c.need(o, "text"), 0)
	case "refusal":
		c.known(o, "type", "refusal")
	case "input_image":
		c.known(o, "type", "image_url", "file_id", "detail")
		if url := o.at("image_url"); url.present() {
			c.imageURL(url)
		}
	case "input_file":
		c.known(o, "type", "file_id", "file_url", "file_data", "filename", "detail")
	}
}

func (c *checker) responseTools(o object) {
	tools := o.at("tools")
	if !tools.present() {
		return
	}
	for _, t := range c.elements(tools, 128) {
		tool := c.of(t)
		switch kind := c.text(c.need(tool, "type"), 0); kind {
		case "function":
			c.need(tool, "name")
			c.known(tool, "type", "name", "description", "parameters", "strict", "defer_loading")
			c.function(tool)
		case "custom":
			c.need(tool, "name")
			c.known(tool, "type", "name", "description", "format", "defer_loading")
			c.named(tool)
		default:
			if !slices.Contains(hostedTools, kind) {
				c.oneOf(tool.at("type"), append([]string{"function", "custom"}, hostedTools...)...)
			}
		}
	}
	if choice := o.at("tool_choice"); choice.present() && choice.kind() == "a string" {
		c.oneOf(choice, "none", "auto", "required")
	} else if choice.present() {
		c.known(c.of(choice), "type", "name", "mode", "tools", "server_label")
	}
}

var hostedTools = strings.Fields("web_search web_search_preview file_search computer computer_use_preview code_interpreter image_generation " +
	"local_shell shell apply_patch mcp namespace tool_search")

func (c *checker) textFormat(text object) {
	c.known(text, "format", "verbosity")
	if v := text.at("verbosity"); v.present() {
		c.oneOf(v, "low", "medium", "high")
	}
	f := text.at("format")
	if !f.present() {
		return
	}
	format := c.of(f)
	if c.oneOf(c.need(format, "type"), "text", "json_object", "json_schema") == "json_schema" {
		c.known(format, "type", "name", "description", "schema", "strict")
		c.formatSchema(format, "text.format.schema")
	}
}
