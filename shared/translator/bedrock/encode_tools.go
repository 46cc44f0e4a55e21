package bedrock

import (
	"slices"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// chooseTools decides which tools are sent. Converse cannot say that none may be called: that is told by sending none. It
// runs none of other upstreams' server tools: one that a client declares beside its own is left out, but where Anthropic's
// clients declare no other, the request is about it.
func (e *encoder) chooseTools() {
	c := e.r.ToolChoice
	for i := range e.r.Tools {
		t := &e.r.Tools[i]
		n := len(e.tools)
		switch {
		case c != nil && (c.Type == translator.ChoiceNone || c.Allowed != nil && !slices.Contains(c.Allowed, t.Name)):
		case t.Type == translator.ToolServer:
			if c != nil && c.Type == translator.ChoiceTool && c.Name == t.Name {
				e.serverTool(t)
			}
			e.out.Tools = append(e.out.Tools, t.Name)
		default:
			e.tools = append(e.tools, t)
		}
		if t.CacheControl != nil && len(e.tools) == n {
			e.out.Drop("cache_control")
		}
	}
	if len(e.tools) > 0 || len(e.out.Tools) == 0 {
		return
	}
	if e.r.From == core.DialectAnthropic {
		e.serverTool(e.r.Tool(e.out.Tools[0]))
	}
	if c != nil && c.Type == translator.ChoiceAny {
		e.fail(c.Place, "", "none of the tools is offered by the upstream that serves this model; leave the choice to the model")
	}
}

func (e *encoder) serverTool(t *translator.Tool) {
	name := t.Name
	if name == "" {
		name = t.Kind
	}
	e.fail(t.Place, "", name+" is a server tool, of which the upstream that serves this model has none; leave it out, or name a model of another upstream")
}

// forced reports whether the model must call a tool.
func (e *encoder) forced() bool {
	c := e.r.ToolChoice
	return c != nil && len(e.tools) > 0 && (c.Type == translator.ChoiceAny || c.Type == translator.ChoiceTool)
}

// writeTools writes toolConfig, which may not be empty.
func (e *encoder) writeTools() {
	if len(e.tools) == 0 {
		return
	}
	e.member(`"toolConfig":{"tools":[`)
	for i, t := range e.tools {
		e.comma(i)
		e.tool(t)
		if t.CacheControl != nil && e.f.claude { // Nova has no cache points here
			e.cachePoint(t.CacheControl)
		}
	}
	e.lit("]")
	switch c := e.r.ToolChoice; {
	case c == nil:
	case c.Type == translator.ChoiceAny:
		e.lit(`,"toolChoice":{"any":{}}`)
	case c.Type == translator.ChoiceTool:
		e.lit(`,"toolChoice":{"tool":{"name":`)
		e.b = rawjson.AppendString(e.b, c.Name)
		e.lit("}}")
	case c.Type == translator.ChoiceAuto && !c.Implied && (e.f.claude || e.f.nova): // the default, which other models refuse to be told
		e.lit(`,"toolChoice":{"auto":{}}`)
	}
	e.lit("}")
}

func (e *encoder) tool(t *translator.Tool) {
	schema, description := t.Schema, t.Description
	if t.Type == translator.ToolCustom {
		schema, description = freeText, withGrammar(description, t.Grammar)
	}
	e.lit(`{"toolSpec":{"name":`)
	e.b = rawjson.AppendString(e.b, t.Name)
	if !blank(description) {
		e.lit(`,"description":`)
		e.b = append(e.b, description...)
	}
	e.lit(`,"inputSchema":{"json":`)
	e.b = appendSchema(e.b, schema)
	e.lit(`}`)
	if t.Strict.IsTrue() && t.Type == translator.ToolFunction {
		if e.f.strict() {
			e.lit(`,"strict":true`)
		} else {
			e.out.Drop("strict")
		}
	}
	if t.Defer.IsTrue() {
		e.out.Drop("defer_loading")
	}
	e.lit(`}}`)
}

var freeText = translator.Raw(`{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}`)

// appendSchema appends a schema with the type that the service demands and other APIs do not.
func appendSchema(dst []byte, schema translator.Raw) []byte {
	var v [2]rawjson.Value
	if len(schema) == 0 || rawjson.Scan(schema, []string{"type", "properties"}, v[:]) != nil {
		return append(dst, `{"type":"object","properties":{}}`...)
	}
	if v[0].Exists() {
		return append(dst, schema...)
	}
	dst = append(dst, `{"type":"object",`...)
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

// withGrammar tells in words what a tool's text must look like, since the service cannot hold the model to it.
func withGrammar(description, grammar translator.Raw) translator.Raw {
	var v [3]rawjson.Value
	if len(grammar) == 0 || rawjson.Scan(grammar, []string{"grammar", "syntax", "definition"}, v[:]) != nil {
		return description
	}
	if v[0].Kind() == rawjson.Object { // as chat has it, one level down
		if rawjson.Scan(v[0].Raw(), []string{"grammar", "syntax", "definition"}, v[:]) != nil {
			return description
		}
	}
	if v[2].Kind() != rawjson.String {
		return description
	}
	syntax, _ := v[1].Text()
	words := translator.Raw(translator.Join(nil, "", translator.Quote("The text in \"input\" must match this grammar ("+syntax+"):\n"), v[2].Raw()))
	if description.IsEmpty() {
		return words
	}
	return translator.Join(nil, "\n\n", description, words)
}

// maxMarks is how many cache points a request may have. Source: the user guide's page prompt-caching.
const maxMarks = 4

// placeMarks decides which cache marks become cache points. Of more than the model takes the last stay, which cover the most;
// what is left out is named.
func (e *encoder) placeMarks() {
	if e.r.CacheControl != nil && len(e.turns) > 0 {
		if items := e.turns[len(e.turns)-1].items; items[len(items)-1].mark == nil {
			items[len(items)-1].mark = e.r.CacheControl
		}
	}
	n, tools := 0, 0
	for _, t := range e.tools {
		if t.CacheControl != nil {
			tools++
		}
	}
	e.eachItem(func(it *item) {
		if it.mark != nil {
			n++
		}
	})
	switch {
	case !e.f.caches():
		e.skip = n + tools
	case e.f.claude:
		e.skip = max(0, n+tools-maxMarks)
	default:
		e.skip = max(0, n-maxMarks)
	}
	if e.skip > 0 || tools > 0 && !e.f.claude {
		e.out.Drop("cache_control")
	}
	e.unmark()
}

// unmark takes the first marks away, in the order of the prompt: tools, system, messages.
func (e *encoder) unmark() {
	for i, t := range e.tools {
		if t.CacheControl != nil && e.skip > 0 && (e.f.claude || !e.f.caches()) { // Nova's tools get none anyway, and count for nothing
			bare := *t
			bare.CacheControl = nil
			e.tools[i] = &bare
			e.skip--
		}
	}
	e.eachItem(func(it *item) {
		if it.mark != nil && e.skip > 0 {
			it.mark = nil
			e.skip--
		}
	})
}

func (e *encoder) eachItem(fn func(*item)) {
	for i := range e.system {
		fn(&e.system[i])
	}
	for i := range e.turns {
		for j := range e.turns[i].items {
			fn(&e.turns[i].items[j])
		}
	}
}

// cachePoint writes one behind what a mark was on. Five minutes are the default and not told.
func (e *encoder) cachePoint(mark translator.Raw) {
	e.lit(`,{"cachePoint":{"type":"default"`)
	if ttl, err := rawjson.Find(mark, "ttl"); err == nil && ttl.TextEquals("1h") {
		if e.f.hour() {
			e.lit(`,"ttl":"1h"`)
		} else {
			e.out.Drop("cache_control.ttl")
		}
	}
	e.lit("}}")
}
