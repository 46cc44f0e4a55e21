package amazonq

import (
	"slices"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// Characters of a tool's description: the most that the service takes, and where a longer one is cut. Source: service-2.json.
const (
	maxDescription = 10_240
	cutDescription = 10_000
)

// chooseTools decides which tools are sent. The service cannot be told that one must be called; that none may be is told by
// sending none. It runs none itself: one that a client declares beside its own is left out, but where Anthropic's clients
// declare no other, the request is about it.
func (e *encoder) chooseTools() {
	c := e.r.ToolChoice
	if c != nil && c.Type == translator.ChoiceTool {
		if t := e.r.Tool(c.Name); t != nil && t.Type == translator.ToolServer {
			e.serverTool(t)
		}
	}
	if c != nil && (c.Type == translator.ChoiceAny || c.Type == translator.ChoiceTool) {
		e.fail(c.Place, "", "a call cannot be forced at the upstream that serves this model; leave the choice to the model, and ask for the call in the prompt")
	}
	for i := range e.r.Tools {
		t := &e.r.Tools[i]
		switch {
		case c != nil && (c.Type == translator.ChoiceNone || c.Allowed != nil && !slices.Contains(c.Allowed, t.Name)):
		case t.Type == translator.ToolServer:
			e.out.Tools = append(e.out.Tools, t.Name)
		default:
			e.tools = append(e.tools, t)
			if t.Strict.IsTrue() {
				e.out.Drop("strict")
			}
		}
	}
	if len(e.tools) == 0 && len(e.out.Tools) > 0 && e.r.From == core.DialectAnthropic {
		e.serverTool(e.r.Tool(e.out.Tools[0]))
	}
	e.markTools()
	for _, t := range e.tools {
		if d := description(t); units(maxDescription, d) > maxDescription {
			e.docs = append(e.docs, translator.Join(nil, "", translator.Quote("## "+t.Name+"\n\n"), d))
		}
	}
}

func (e *encoder) serverTool(t *translator.Tool) {
	name := t.Name
	if name == "" {
		name = t.Kind
	}
	e.fail(t.Place, "", name+" is a server tool, of which the upstream that serves this model has none; leave it out, or name a model of another upstream")
}

// markTools counts the cache points behind tools. The last mark covers all tools before it, so one is enough.
func (e *encoder) markTools() {
	for i := len(e.tools) - 1; i >= 0; i-- {
		if e.mark(e.tools[i].CacheControl) {
			e.marks--
			return
		}
	}
}

func (e *encoder) writeTools() {
	last := -1
	for i, t := range e.tools {
		if t.CacheControl != nil && e.claude {
			last = i
		}
	}
	e.lit(`"tools":[`)
	for i, t := range e.tools {
		if i > 0 {
			e.lit(",")
		}
		e.tool(t)
		if i == last {
			e.lit(`,{"cachePoint":{"type":"default"}}`)
		}
	}
	e.lit("]")
}

func (e *encoder) tool(t *translator.Tool) {
	e.lit(`{"toolSpecification":{"name":`)
	e.b = rawjson.AppendString(e.b, t.Name)
	if d := description(t); !blank(d) {
		e.lit(`,"description":`)
		e.b = append(e.b, e.fitted(t, d)...)
	}
	e.lit(`,"inputSchema":{"json":`)
	e.b = appendSchema(e.b, schemaOf(t))
	e.lit(`}}}`)
}

// fitted cuts a description that is too long. All of it is in the prompt, see docs.
func (e *encoder) fitted(t *translator.Tool, d translator.Raw) translator.Raw {
	if units(maxDescription, d) <= maxDescription {
		return d
	}
	text := []rune(d.Text())
	n := 0
	for i, c := range text {
		if n++; c > 0xFFFF {
			n++
		}
		if n > cutDescription {
			text = text[:i]
			break
		}
	}
	return translator.Quote(string(text) + "\n\n(Cut here. The whole description is at the beginning of the conversation, in " +
		toolDocs + " under " + t.Name + ".)")
}

var freeText = translator.Raw(`{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}`)

// schemaOf is what a tool is called with: the service has functions only, so that free text is an input of one string.
func schemaOf(t *translator.Tool) translator.Raw {
	if t.Type == translator.ToolCustom {
		return freeText
	}
	return t.Schema
}

// description is a tool's, with the grammar of its text in words: the service cannot hold the model to it.
func description(t *translator.Tool) translator.Raw {
	d := t.Description
	if t.Type != translator.ToolCustom || len(t.Grammar) == 0 {
		return d
	}
	var v [2]rawjson.Value
	if rawjson.Scan(t.Grammar, []string{"syntax", "definition"}, v[:]) != nil || v[1].Kind() != rawjson.String {
		return d
	}
	syntax, _ := v[0].Text()
	words := translator.Raw(translator.Join(nil, "", translator.Quote("The text in \"input\" must match this grammar ("+syntax+"):\n"), v[1].Raw()))
	if d.IsEmpty() {
		return words
	}
	return translator.Join(nil, "\n\n", d, words)
}

// appendSchema appends a schema with the type and the properties that the service wants and others do not.
func appendSchema(dst []byte, schema translator.Raw) []byte {
	var v [2]rawjson.Value
	if len(schema) == 0 || rawjson.Scan(schema, []string{"type", "properties"}, v[:]) != nil {
		return append(dst, `{"type":"object","properties":{}}`...)
	}
	if v[0].Exists() && v[1].Exists() {
		return append(dst, schema...)
	}
	dst = append(dst, '{')
	if !v[0].Exists() {
		dst = append(dst, `"type":"object",`...)
	}
	if !v[1].Exists() {
		dst = append(dst, `"properties":{},`...)
	}
	_ = rawjson.Members(schema, func(key, value rawjson.Value) bool {
		dst = append(append(append(append(dst, key.Raw()...), ':'), value.Raw()...), ',')
		return true
	})
	dst[len(dst)-1] = '}'
	return dst
}
