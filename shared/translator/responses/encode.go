package responses

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// encoder writes one request.
type encoder struct {
	r      *translator.Request
	t      translator.Target
	e      *translator.Encoded
	dst    []byte
	custom map[string]bool // ids of calls of custom tools: their results are items of another type
	tools  map[string]translator.ToolType
	think  bool // the model reasons
}

// Encode implements translator.Back. Nothing is kept at the upstream (store:false); reasoning comes back encrypted.
func (Codec) Encode(r *translator.Request, t translator.Target) (*translator.Encoded, error) {
	w := &encoder{r: r, t: t, e: &translator.Encoded{}, custom: map[string]bool{}, think: reasons(t.Model)}
	w.dst = make([]byte, 0, size(r))
	w.dst = append(w.dst, `{"model":`...)
	w.dst = appendString(w.dst, t.Model)
	for _, step := range []func() error{w.extras, w.conversation, w.writeTools, w.writeChoice, w.writeReasoning, w.writeText, w.limits} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	w.rest()
	w.dst = append(w.dst, '}')
	w.e.Body = w.dst
	return w.e, nil
}

// size is about what a body needs, so that its buffer need not grow.
func size(r *translator.Request) int {
	n := 4096
	for i := range r.Tools {
		n += 256 + len(r.Tools[i].Description) + len(r.Tools[i].Schema)
	}
	for i := range r.Messages {
		n += blocksSize(r.Messages[i].Content)
	}
	return n + blocksSize(r.System)
}

func blocksSize(blocks []translator.Block) int {
	n := 0
	for i := range blocks {
		b := &blocks[i]
		n += 160 + len(b.Text) + len(b.Signature) + len(b.Input)*9/8 + len(b.Media.Data) + blocksSize(b.Content)
	}
	return n
}

// member appends the beginning of a member.
func (w *encoder) member(name string) {
	w.dst = append(append(append(w.dst, `,"`...), name...), `":`...)
}

// pass appends a member whose value is the client's; nothing when that is absent.
func (w *encoder) pass(name string, value raw) {
	if value != nil {
		w.member(name)
		w.dst = append(w.dst, value...)
	}
}

func (w *encoder) passString(name, value string) {
	if value != "" {
		w.member(name)
		w.dst = appendString(w.dst, value)
	}
}

// fromChat reports whether the client speaks the elder dialect of the family.
func (w *encoder) fromChat() bool { return w.r.From == core.DialectOpenAIChat }

func (w *encoder) native() bool { return w.r.From == core.DialectOpenAIResponses }

// field is a hub field's name in the client's dialect, for messages and for what is dropped.
func (w *encoder) field(responses, chat, anthropic string) string {
	switch {
	case w.native():
		return responses
	case w.fromChat():
		return chat
	}
	return anthropic
}

// shared are the extras that both of OpenAI's dialects have a place for.
func sharedExtra(name string) bool {
	switch name {
	case "metadata", "prompt_cache_retention", "prompt_cache_options", "safety_identifier", "moderation":
		return true
	}
	return false
}

// needed reports whether an extra changes what the answer is, so that leaving it out would deceive the client.
func needed(name string, value raw) bool {
	switch name {
	case "n", "audio", "modalities", "web_search_options", "background", "conversation", "prompt", "previous_response_id":
		return true
	case "mcp_servers":
		return string(appendCompact(nil, value)) != "[]"
	}
	return false
}

// extras takes, refuses or drops the fields that the hub has no name for.
func (w *encoder) extras() error {
	for _, x := range w.r.Extras {
		switch {
		case x.Name == "verbosity" && (w.t.Same || w.native()): // part of text
		case w.native(), w.t.Same && sharedExtra(x.Name):
			w.dst = append(appendString(append(w.dst, ','), x.Name), ':')
			w.dst = append(w.dst, x.Value...)
		case needed(x.Name, x.Value):
			return translator.Bad(x.Name, "is not offered by the upstream that serves the model; leave it out or choose another model")
		default:
			w.e.Drop(x.Name)
		}
	}
	if w.r.CacheControl != nil {
		w.e.Drop("cache_control")
	}
	if (w.r.Logprobs || w.r.TopLogprobs != nil) && !w.t.Same && !w.native() {
		return translator.Bad("logprobs", "is not offered by the upstream that serves the model; leave it out or choose another model")
	}
	return nil
}

// writeReasoning writes how hard the model shall think, and asks for what the next turn needs of its thinking.
func (w *encoder) writeReasoning() error {
	effort, from := w.effort()
	if !w.think {
		if effort != "" {
			w.e.Drop(from)
		} else if w.r.Summary != "" {
			w.e.Drop("reasoning")
		}
		w.include("")
		return nil
	}
	summary := w.r.Summary
	if t := w.r.Thinking; t != nil && summary == "" && t.Type != "disabled" && t.Display != "omitted" {
		summary = "auto"
	}
	if effort != "" || summary != "" {
		w.member("reasoning")
		w.dst = append(w.dst, '{')
		if effort != "" {
			w.dst = appendString(append(w.dst, `"effort":`...), effort)
		}
		if summary != "" {
			if effort != "" {
				w.dst = append(w.dst, ',')
			}
			w.dst = appendString(append(w.dst, `"summary":`...), summary)
		}
		w.dst = append(w.dst, '}')
	}
	w.include(`"reasoning.encrypted_content"`)
	return nil
}

// effort is the effort asked for, and the client's field that asks.
func (w *encoder) effort() (effort, from string) {
	if w.r.Effort != "" {
		return w.r.Effort, w.field("reasoning", "reasoning_effort", "output_config")
	}
	t := w.r.Thinking
	if t == nil || t.Type != "enabled" {
		return "", ""
	}
	n, err := strconv.ParseFloat(string(t.Budget), 64)
	switch {
	case err != nil || n >= 16384:
		return "high", "thinking"
	case n < 4096:
		return "low", "thinking"
	}
	return "medium", "thinking"
}

func (w *encoder) include(what string) {
	if w.r.Logprobs {
		if what != "" {
			what += ","
		}
		what += `"message.output_text.logprobs"`
	}
	if what != "" {
		w.member("include")
		w.dst = append(append(append(w.dst, '['), what...), ']')
	}
	w.pass("top_logprobs", w.r.TopLogprobs)
}

// writeText writes the form of the answer.
func (w *encoder) writeText() error {
	var verbosity raw
	if w.t.Same || w.native() {
		verbosity = w.r.Extra("verbosity")
	}
	f := w.r.Format
	if f == nil && verbosity == nil {
		return nil
	}
	w.member("text")
	w.dst = append(w.dst, '{')
	if f != nil {
		w.dst = append(w.dst, `"format":`...)
		w.writeFormat(f)
	}
	if verbosity != nil {
		if f != nil {
			w.dst = append(w.dst, ',')
		}
		w.dst = append(append(w.dst, `"verbosity":`...), verbosity...)
	}
	w.dst = append(w.dst, '}')
	return nil
}

func (w *encoder) writeFormat(f *translator.Format) {
	if f.Schema == nil {
		w.dst = append(w.dst, `{"type":"json_object"}`...)
		return
	}
	name := f.Name
	if name == "" {
		name = "output"
	}
	w.dst = append(w.dst, `{"type":"json_schema"`...)
	w.passString("name", name)
	w.pass("description", f.Description)
	w.pass("schema", f.Schema)
	switch {
	case f.Strict != nil:
		w.pass("strict", f.Strict)
	case !w.native() && !w.fromChat():
		// Anthropic's form is always strict; here only schemas that rule out and require everything may be
		w.member("strict")
		w.dst = strconv.AppendBool(w.dst, strictable(f.Schema, 0))
	}
	w.dst = append(w.dst, '}')
}

// minTokens is the least that the API takes for max_output_tokens.
const minTokens = 16

// limits writes what bounds and steers the sampling.
func (w *encoder) limits() error {
	r := w.r
	if r.MaxTokens != nil {
		n, err := strconv.ParseInt(string(r.MaxTokens), 10, 64)
		if err == nil && n < minTokens && !w.native() {
			// smaller limits are usual elsewhere, as a probe for instance
			w.pass("max_output_tokens", raw(strconv.Itoa(minTokens)))
			w.e.Enforce.MaxTokens = max(0, n)
		} else {
			w.pass("max_output_tokens", r.MaxTokens)
		}
	}
	w.e.Enforce.Stop = r.Stop
	for _, f := range [...]struct {
		name  string
		value raw
	}{{"temperature", r.Temperature}, {"top_p", r.TopP}} {
		switch {
		case f.value == nil:
		case w.think:
			w.e.Drop(f.name)
		default:
			w.pass(f.name, f.value)
		}
	}
	if r.TopK != nil {
		w.e.Drop("top_k")
	}
	return nil
}

// maxUser is the longest user the API takes.
const maxUser = 64

// rest writes what is left.
func (w *encoder) rest() {
	r := w.r
	if r.Stream {
		w.pass("stream", raw("true"))
	}
	w.pass("store", raw("false"))
	w.passString("prompt_cache_key", r.CacheKey)
	user := r.User
	if utf8.RuneCountInString(user) > maxUser {
		user = digest(user, 32)
	}
	w.passString("user", user)
	switch {
	case r.ServiceTier == "standard_only":
		w.passString("service_tier", "default")
	default:
		w.passString("service_tier", r.ServiceTier)
	}
}

// strictable reports whether the API would take a schema as strict: every object rules out other members and requires
// all it has.
func strictable(schema raw, depth int) bool {
	const deepest = 64
	if depth > deepest {
		return false
	}
	var v [3]rawjson.Value
	if rawjson.Scan(schema, []string{"properties", "required", "additionalProperties"}, v[:]) != nil {
		return len(schema) > 0 && schema[0] != '{' // true, false or an array have nothing to rule out
	}
	t, err := rawjson.Find(schema, "type")
	if err != nil {
		return false
	}
	object := t.TextEquals("object") || v[0].Exists() ||
		t.Kind() == rawjson.Array && strings.Contains(string(t.Raw()), `"object"`)
	if object && (string(v[2].Raw()) != "false" || !requiresAll(v[0], v[1])) {
		return false
	}
	ok := true
	err = rawjson.Members(schema, func(key, sub rawjson.Value) bool {
		ok = strictMember(text(key), sub, depth+1)
		return ok
	})
	return ok && err == nil
}

// strictMember looks at the schemas that a member of a schema holds.
func strictMember(name string, v rawjson.Value, depth int) bool {
	ok := true
	one := func(v rawjson.Value) bool {
		ok = strictable(v.Raw(), depth)
		return ok
	}
	switch {
	case name == "properties" || name == "$defs" || name == "definitions":
		if v.Kind() == rawjson.Object {
			_ = rawjson.Members(v.Raw(), func(_, sub rawjson.Value) bool { return one(sub) })
		}
	case name == "anyOf" || name == "allOf" || name == "oneOf" || name == "items" && v.Kind() == rawjson.Array:
		if v.Kind() == rawjson.Array {
			_ = rawjson.Elements(v.Raw(), one)
		}
	case name == "items" && v.Kind() == rawjson.Object:
		one(v)
	}
	return ok
}

func requiresAll(properties, required rawjson.Value) bool {
	if properties.Kind() != rawjson.Object {
		return true
	}
	names := map[string]bool{}
	if required.Kind() == rawjson.Array {
		_ = rawjson.Elements(required.Raw(), func(e rawjson.Value) bool {
			names[text(e)] = true
			return true
		})
	}
	all := true
	_ = rawjson.Members(properties.Raw(), func(key, _ rawjson.Value) bool {
		all = names[text(key)]
		return all
	})
	return all
}
