package openaichat

import (
	"slices"

	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// shellSchema is what a local shell is called with; the dialect knows it as a function.
const shellSchema = `{"type":"object","properties":{"command":{"type":"array","items":{"type":"string"}}},"required":["command"]}`

// tools writes the tools, in the dialect's nested form, and how they may be used. Tools that run at another upstream are
// left out, unless the answer depends on them.
func (e *encoder) tools() {
	n := 0
	for i := range e.r.Tools {
		t := &e.r.Tools[i]
		if t.CacheControl != nil {
			e.out.Drop("cache_control")
		}
		if t.Type == translator.ToolServer {
			e.out.Tools = append(e.out.Tools, t.Name)
			continue
		}
		if n++; n == 1 {
			e.lit(`,"tools":[`)
		}
		e.tool(t)
	}
	if n > 0 {
		e.lit("]")
	}
	if c := e.r.ToolChoice; c != nil {
		e.choice(c, n > 0)
	}
}

func (e *encoder) tool(t *translator.Tool) {
	e.elem()
	if t.Type == translator.ToolCustom {
		e.lit(`{"type":"custom","custom":{`)
		e.str("name", t.Name)
		e.raw("description", t.Description)
		e.grammar(t.Grammar)
		e.lit("}}")
		return
	}
	e.lit(`{"type":"function","function":{`)
	e.str("name", t.Name)
	e.raw("description", t.Description)
	schema := t.Schema
	if schema == nil && t.Type == translator.ToolShell {
		schema = translator.Raw(shellSchema)
	}
	e.raw("parameters", parameters(schema))
	e.raw("strict", t.Strict)
	e.lit("}}")
}

// grammar writes the format of a custom tool. The hub has it in the Responses API's flat form.
func (e *encoder) grammar(format translator.Raw) {
	if format == nil {
		return
	}
	var v [3]rawjson.Value
	if rawjson.Scan(format, []string{"type", "syntax", "definition"}, v[:]) == nil && v[0].TextEquals("grammar") && v[1].Exists() {
		e.name("format")
		e.lit(`{"type":"grammar","grammar":{`)
		e.raw("syntax", v[1].Raw())
		e.raw("definition", v[2].Raw())
		e.lit("}}")
		return
	}
	e.raw("format", format)
}

// parameters completes a schema: the upstream refuses one that does not say it is an object, and one without properties.
func parameters(schema translator.Raw) translator.Raw {
	var v [2]rawjson.Value
	if schema == nil || rawjson.Scan(schema, []string{"type", "properties"}, v[:]) != nil {
		return translator.Raw(`{"type":"object","properties":{}}`)
	}
	typed := v[0].Exists() && v[0].Kind() != rawjson.Null
	if typed && (v[1].Exists() || !v[0].TextEquals("object")) {
		return schema
	}
	w := writer{b: append(make([]byte, 0, len(schema)+40), '{')}
	if !typed {
		w.lit(`"type":"object"`)
	}
	if !v[1].Exists() {
		w.name("properties")
		w.lit("{}")
	}
	_ = rawjson.Members(schema, func(key, value rawjson.Value) bool {
		if !typed && key.TextEquals("type") {
			return true
		}
		w.lit(",")
		w.b = append(append(append(w.b, key.Raw()...), ':'), value.Raw()...)
		return true
	})
	return append(w.b, '}')
}

// choice writes tool_choice and parallel_tool_calls, which the upstream refuses without tools.
func (e *encoder) choice(c *translator.ToolChoice, any bool) {
	named := c.Allowed
	if c.Type == translator.ChoiceTool {
		named = []string{c.Name}
	}
	for _, name := range named {
		if slices.Contains(e.out.Tools, name) {
			e.fail(translator.BadAt(c.Place, "", "the tool "+name+" is not offered by the upstream that serves this model; name another"))
			return
		}
	}
	if !any {
		return
	}
	if c.NoParallel {
		e.lit(`,"parallel_tool_calls":false`)
	}
	if c.Implied {
		return
	}
	e.name("tool_choice")
	switch {
	case c.Allowed != nil:
		mode := "auto"
		if c.Type == translator.ChoiceAny {
			mode = "required"
		}
		e.lit(`{"type":"allowed_tools","allowed_tools":{"mode":"` + mode + `","tools":[`)
		for _, name := range c.Allowed {
			e.elem()
			e.toolName(name)
		}
		e.lit("]}}")
	case c.Type == translator.ChoiceTool:
		e.toolName(c.Name)
	case c.Type == translator.ChoiceAny:
		e.lit(`"required"`)
	case c.Type == translator.ChoiceNone:
		e.lit(`"none"`)
	default:
		e.lit(`"auto"`)
	}
}

func (e *encoder) toolName(name string) {
	typ := "function"
	if t := e.r.Tool(name); t != nil && t.Type == translator.ToolCustom {
		typ = "custom"
	}
	e.lit(`{"type":"` + typ + `","` + typ + `":{`)
	e.str("name", name)
	e.lit("}}")
}

// strictSchema reports whether a schema is one that OpenAI's strict mode takes: every object in it lists all its properties
// as required and allows no others. Source: platform.openai.com/docs/guides/structured-outputs.
func strictSchema(schema translator.Raw) bool {
	v, err := rawjson.Find(schema)
	return err == nil && strict(v, 0)
}

// maxSchema is the depth to which a schema is looked at: each level is read once more for those above it.
const maxSchema = 64

// strict looks at a schema and, whatever their place, at all in it.
func strict(v rawjson.Value, depth int) bool {
	if depth > maxSchema {
		return false
	}
	ok := true
	switch v.Kind() {
	case rawjson.Array:
		_ = rawjson.Elements(v.Raw(), func(el rawjson.Value) bool {
			ok = strict(el, depth+1)
			return ok
		})
	case rawjson.Object:
		var m [4]rawjson.Value
		if rawjson.Scan(v.Raw(), []string{"type", "properties", "required", "additionalProperties"}, m[:]) != nil {
			return false
		}
		if m[0].TextEquals("object") || m[1].Kind() == rawjson.Object && m[0].Kind() != rawjson.Object {
			if closed, is := m[3].Bool(); !is || closed || !allRequired(m[1], m[2]) {
				return false
			}
		}
		_ = rawjson.Members(v.Raw(), func(key, value rawjson.Value) bool {
			if !key.TextEquals("enum") && !key.TextEquals("const") {
				ok = strict(value, depth+1)
			}
			return ok
		})
	}
	return ok
}

// allRequired reports whether every property is in the list of the required ones.
func allRequired(properties, required rawjson.Value) bool {
	if properties.Kind() != rawjson.Object {
		return true // none
	}
	listed := map[string]bool{}
	if required.Kind() == rawjson.Array {
		_ = rawjson.Elements(required.Raw(), func(el rawjson.Value) bool {
			name, _ := el.Text()
			listed[name] = true
			return true
		})
	}
	ok := true
	_ = rawjson.Members(properties.Raw(), func(key, _ rawjson.Value) bool {
		name, _ := key.Text()
		ok = listed[name]
		return ok
	})
	return ok
}
