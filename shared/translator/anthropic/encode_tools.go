package anthropic

import (
	"slices"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// chooseTools decides which tools are sent.
func (e *encoder) chooseTools() {
	c := e.r.ToolChoice
	for i := range e.r.Tools {
		t := &e.r.Tools[i]
		if c != nil && c.Allowed != nil && !slices.Contains(c.Allowed, t.Name) {
			continue
		}
		if t.Type == translator.ToolServer && e.r.From != core.DialectAnthropic {
			if c != nil && c.Type == translator.ChoiceTool && c.Name == t.Name {
				e.fail(c.Place, "", "the tool is not offered by the upstream that serves this model; leave it out or choose another")
			}
			e.out.Tools = append(e.out.Tools, t.Name)
			continue
		}
		e.tools = append(e.tools, t)
	}
	if c != nil && c.Type == translator.ChoiceAny && len(e.tools) == 0 && len(e.out.Tools) > 0 {
		e.fail(c.Place, "", "none of the tools is offered by the upstream that serves this model; leave the choice to the model")
	}
}

// forced reports whether the model must call a tool.
func (e *encoder) forced() bool {
	c := e.r.ToolChoice
	return c != nil && len(e.tools) > 0 && (c.Type == translator.ChoiceAny || c.Type == translator.ChoiceTool)
}

// writeTools writes the tools and their choice, which the API refuses without tools.
func (e *encoder) writeTools() {
	if len(e.tools) == 0 {
		return
	}
	for i, t := range e.tools {
		if i == 0 {
			e.b = append(e.b, `,"tools":[`...)
		} else {
			e.b = append(e.b, ',')
		}
		e.tool(t)
	}
	e.b = append(e.b, ']')
	if e.r.ToolChoice != nil {
		e.choice(e.r.ToolChoice)
	}
}

func (e *encoder) choice(c *translator.ToolChoice) {
	e.b = append(e.b, `,"tool_choice":{"type":`...)
	switch c.Type {
	case translator.ChoiceAuto:
		e.b = append(e.b, `"auto"`...)
	case translator.ChoiceAny:
		e.b = append(e.b, `"any"`...)
	case translator.ChoiceTool:
		e.b = rawjson.AppendString(append(e.b, `"tool","name":`...), c.Name)
	case translator.ChoiceNone:
		e.b = append(e.b, `"none"}`...)
		return
	}
	if c.NoParallel {
		e.b = append(e.b, `,"disable_parallel_tool_use":true`...)
	}
	e.b = append(e.b, '}')
}

var freeText = translator.Raw(`{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}`)

func (e *encoder) tool(t *translator.Tool) {
	if t.Type == translator.ToolServer {
		e.b = append(e.b, t.Raw...)
		return
	}
	schema, description := t.Schema, t.Description
	if t.Type == translator.ToolCustom {
		schema, description = freeText, withGrammar(description, t.Grammar)
	}
	e.b = rawjson.AppendString(append(e.b, `{"name":`...), t.Name)
	e.b = optional(e.b, "description", description)
	e.b = appendSchema(append(e.b, `,"input_schema":`...), schema)
	if t.Strict.IsTrue() && t.Type == translator.ToolFunction {
		if e.f.strict() {
			e.b = member(e.b, "strict", t.Strict)
		} else {
			e.out.Drop("strict")
		}
	}
	if t.Defer.IsTrue() && e.r.From == core.DialectAnthropic {
		e.b = member(e.b, "defer_loading", t.Defer)
	}
	e.b = append(optional(e.b, "cache_control", t.CacheControl), '}')
}

// appendSchema appends a schema with the type and the properties that the API demands and other APIs do not.
func appendSchema(dst []byte, schema translator.Raw) []byte {
	var v [2]rawjson.Value
	if len(schema) == 0 || rawjson.Scan(schema, []string{"type", "properties"}, v[:]) != nil {
		return append(dst, `{"type":"object","properties":{}}`...)
	}
	if v[0].Exists() {
		return append(dst, schema...)
	}
	dst = append(dst, `{"type":"object"`...)
	if !v[1].Exists() {
		dst = append(dst, `,"properties":{}`...)
	}
	return appendMembers(dst, schema)
}

// appendMembers appends the members of an object to one that has some, and closes it.
func appendMembers(dst, object []byte) []byte {
	empty := true
	_ = rawjson.Members(object, func(_, _ rawjson.Value) bool { empty = false; return false })
	if empty {
		return append(dst, '}')
	}
	return append(append(dst, ','), object[1:]...)
}

// withGrammar tells in words what a tool's text must look like, since this API cannot hold the model to it.
func withGrammar(description, grammar translator.Raw) translator.Raw {
	if len(grammar) == 0 {
		return description
	}
	var v [3]rawjson.Value
	if rawjson.Scan(grammar, []string{"grammar", "syntax", "definition"}, v[:]) != nil {
		return description
	}
	if v[0].Kind() == rawjson.Object { // as chat has it, one level down
		inner := v[0].Raw()
		if rawjson.Scan(inner, []string{"grammar", "syntax", "definition"}, v[:]) != nil {
			return description
		}
	}
	if v[2].Kind() != rawjson.String {
		return description
	}
	syntax, _ := v[1].Text()
	words := translator.Quote("The text in \"input\" must match this grammar (" + syntax + "):\n")
	words = translator.Join(nil, "", words, v[2].Raw())
	if description.IsEmpty() {
		return words
	}
	return translator.Join(nil, "\n\n", description, words)
}
