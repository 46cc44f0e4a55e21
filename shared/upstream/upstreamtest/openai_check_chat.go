package upstreamtest

import (
	"bytes"
	"slices"
	"strings"
)

// chatFields are what a chat request may have.
var chatFields = strings.Fields("messages model frequency_penalty logprobs max_completion_tokens max_tokens n presence_penalty prompt_cache_key " +
	"prompt_cache_options prompt_cache_retention safety_identifier seed store temperature top_logprobs top_p parallel_tool_calls user audio " +
	"logit_bias metadata modalities moderation reasoning_effort service_tier stop stream stream_options verbosity function_call functions " +
	"prediction response_format tool_choice tools web_search_options")

// checkChat returns what the API would refuse in a chat request, nil: nothing.
func checkChat(body []byte) *openAIError {
	c := &checker{}
	o := c.of(value{raw: body})
	if !o.has("model") {
		c.refuse("", "", "you must provide a model parameter")
	}
	model := c.text(o.at("model"), 0)
	c.known(o, chatFields...)
	c.chatSampling(o, reasons(model))
	if messages := c.need(o, "messages"); c.problem == nil {
		c.messages(messages)
	}
	c.chatTools(o)
	c.responseFormat(o)
	return c.problem
}

func (c *checker) chatSampling(o object, reasoning bool) {
	temperature := o.at("temperature")
	c.decimal(temperature, 2)
	c.decimal(o.at("top_p"), 1)
	c.integer(o.at("max_tokens"), 1)
	c.integer(o.at("max_completion_tokens"), 1)
	c.integer(o.at("n"), 1)
	c.integer(o.at("seed"), -1<<63)
	c.boolean(o.at("stream"))
	c.effort(o.at("reasoning_effort"))
	if reasoning {
		if o.has("max_tokens") {
			c.refuse("max_tokens", "unsupported_parameter", "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.")
		}
		if temperature.present() && temperature.number() != 1 {
			c.refuse("temperature", "unsupported_value", "Unsupported value: 'temperature' does not support %s with this model. Only the default (1) value is supported.", temperature.raw)
		}
	} else if o.has("reasoning_effort") {
		c.refuse("", "", "Unrecognized request argument supplied: reasoning_effort")
	}
	if stop := o.at("stop"); stop.present() && stop.kind() != "a string" {
		for _, s := range c.elements(stop, 4) {
			c.text(s, 0)
		}
	}
	if options := o.at("stream_options"); options.present() {
		if string(o.at("stream").raw) != "true" {
			c.refuse("stream_options", "", "The 'stream_options' parameter is only allowed when 'stream' is enabled.")
		}
		c.known(c.of(options), "include_usage", "include_obfuscation")
	}
}

// messages checks the conversation, and that calls and results of tools belong
// together.
func (c *checker) messages(v value) {
	all := c.elements(v, 0)
	if len(all) == 0 {
		c.refuse(v.path, "empty_array", "Invalid '%s': empty array. Expected an array with minimum length 1, but got an empty array instead.", v.path)
	}
	var open []string // calls without a result yet
	results := false  // tool messages may come here
	for _, m := range all {
		o := c.of(m)
		role := c.oneOf(c.need(o, "role"), "system", "assistant", "user", "function", "tool", "developer")
		if role == "tool" {
			id := c.text(c.need(o, "tool_call_id"), 40)
			i := slices.Index(open, id)
			if !results || i < 0 {
				c.refuse(dotted(m.path)+".role", "", "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.")
			} else {
				open = slices.Delete(open, i, i+1)
			}
		} else {
			c.answered(m.path, open)
			open, results = nil, false
		}
		c.message(o, role)
		if calls := o.at("tool_calls"); role == "assistant" && calls.present() {
			open, results = c.calls(calls), true
		}
	}
	c.answered(v.path, open)
}

// dotted is how the API writes the index of a message in older refusals.
func dotted(path string) string { return strings.Replace(path, "[", ".[", 1) }

func (c *checker) answered(path string, open []string) {
	if len(open) > 0 {
		c.refuse(dotted(path), "", "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "+
			"The following tool_call_ids did not have response messages: %s", strings.Join(open, ", "))
	}
}

func (c *checker) message(o object, role string) {
	parts := []string{"text"}
	switch role {
	case "tool":
		c.known(o, "role", "content", "tool_call_id", "name")
	case "assistant":
		c.known(o, "role", "content", "name", "refusal", "audio", "tool_calls", "function_call", "annotations", "reasoning_content")
		parts = []string{"text", "refusal"}
	case "user":
		c.known(o, "role", "content", "name")
		parts = []string{"text", "image_url", "input_audio", "file"}
	default:
		c.known(o, "role", "content", "name")
	}
	content := o.at("content")
	switch {
	case content.present() && content.raw[0] == '[':
		for _, p := range c.elements(content, 0) {
			c.part(c.of(p), parts)
		}
	case content.present():
		c.text(content, 0)
	case role == "assistant" && (o.has("tool_calls") || o.has("function_call") || o.has("refusal") || o.has("audio")):
	default:
		c.refuse(content.path, "invalid_type", "Invalid value for 'content': expected a string, got null.")
	}
}

func (c *checker) part(o object, kinds []string) {
	kind := c.oneOf(c.need(o, "type"), kinds...)
	c.known(o, "type", kind)
	v := c.need(o, kind)
	switch {
	case c.problem != nil:
	case kind == "text" || kind == "refusal":
		c.text(v, 0)
	case kind == "image_url":
		image := c.of(v)
		c.known(image, "url", "detail")
		c.imageURL(c.need(image, "url"))
	default:
		c.of(v)
	}
}

func (c *checker) imageURL(v value) {
	url := c.text(v, 0)
	if !strings.HasPrefix(url, "data:image/") && !strings.HasPrefix(url, "https://") && !strings.HasPrefix(url, "http://") {
		c.refuse(v.path, "invalid_value", "Invalid '%s'. Expected a valid URL, but got a value with an invalid format.", v.path)
	}
}

// calls returns the ids of the tool calls of a message.
func (c *checker) calls(v value) []string {
	var ids []string
	for _, call := range c.elements(v, 128) {
		o := c.of(call)
		kind := c.oneOf(c.need(o, "type"), "function", "custom")
		c.known(o, "id", "type", kind)
		ids = append(ids, c.text(c.need(o, "id"), 40))
		if f := c.need(o, kind); c.problem == nil {
			function, input := c.of(f), "arguments"
			if kind == "custom" {
				input = "input"
			}
			c.known(function, "name", input)
			c.named(function)
			c.text(c.need(function, input), 0)
		}
	}
	if len(ids) == 0 {
		c.refuse(v.path, "empty_array", "Invalid '%s': empty array. Expected an array with minimum length 1, but got an empty array instead.", v.path)
	}
	return ids
}

func (c *checker) chatTools(o object) {
	tools := o.at("tools")
	if !tools.present() {
		for _, name := range []string{"tool_choice", "parallel_tool_calls"} {
			if o.has(name) {
				c.refuse(name, "", "Invalid value for '%s': '%s' is only allowed when 'tools' are specified.", name, name)
			}
		}
		return
	}
	for _, t := range c.elements(tools, 128) {
		tool := c.of(t)
		kind := c.oneOf(c.need(tool, "type"), "function", "custom")
		c.known(tool, "type", kind)
		if f := c.need(tool, kind); c.problem == nil {
			function := c.of(f)
			if kind == "custom" {
				c.known(function, "name", "description", "format")
				c.named(function)
				continue
			}
			c.known(function, "name", "description", "parameters", "strict")
			c.function(function)
		}
	}
	if choice := o.at("tool_choice"); choice.present() && choice.kind() == "a string" {
		c.oneOf(choice, "none", "auto", "required")
	} else if choice.present() {
		c.known(c.of(choice), "type", "function", "custom", "allowed_tools")
	}
}

func (c *checker) responseFormat(o object) {
	v := o.at("response_format")
	if !v.present() {
		return
	}
	format := c.of(v)
	switch c.oneOf(c.need(format, "type"), "text", "json_object", "json_schema") {
	case "json_schema":
		if js := c.need(format, "json_schema"); c.problem == nil {
			named := c.of(js)
			c.known(named, "name", "description", "schema", "strict")
			c.formatSchema(named, "response_format")
		}
	case "json_object":
		if !bytes.Contains(bytes.ToLower(o.at("messages").raw), []byte("json")) {
			c.refuse("messages", "", "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.")
		}
	}
}

// formatSchema checks structured output; param is what the API blames.
func (c *checker) formatSchema(o object, param string) {
	c.named(o)
	code := ""
	if param != "response_format" {
		code = "invalid_json_schema"
	}
	if s := o.at("schema"); s.present() {
		c.schema(value{param, s.raw}, "response_format '"+o.at("name").text()+"'", code, string(o.at("strict").raw) == "true")
	}
}
