package responses

import (
	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// writeTools writes the tools that the API can have. Those that another API runs are left out, and named.
func (w *encoder) writeTools() error {
	w.tools = make(map[string]translator.ToolType, len(w.r.Tools))
	start := len(w.dst)
	w.member("tools")
	w.dst = append(w.dst, '[')
	for i := range w.r.Tools {
		t := &w.r.Tools[i]
		if t.CacheControl != nil {
			w.e.Drop("cache_control")
		}
		if t.Type == translator.ToolServer && !w.native() {
			w.e.Tools = append(w.e.Tools, t.Name)
			continue
		}
		if len(w.tools) > 0 {
			w.dst = append(w.dst, ',')
		}
		w.tools[t.Name] = t.Type
		w.tool(t)
	}
	if len(w.tools) == 0 {
		w.dst = w.dst[:start]
		return nil
	}
	w.dst = append(w.dst, ']')
	return nil
}

func (w *encoder) tool(t *translator.Tool) {
	switch t.Type {
	case translator.ToolServer:
		w.dst = append(w.dst, t.Raw...)
		return
	case translator.ToolShell:
		w.dst = append(w.dst, `{"type":"local_shell"}`...)
		return
	case translator.ToolCustom:
		w.dst = append(w.dst, `{"type":"custom"`...)
		w.passString("name", t.Name)
		w.pass("description", t.Description)
		w.pass("format", t.Grammar)
		w.dst = append(w.dst, '}')
		return
	}
	w.dst = append(w.dst, `{"type":"function"`...)
	w.passString("name", t.Name)
	w.pass("description", t.Description)
	w.member("parameters")
	w.dst = appendSchema(w.dst, t.Schema)
	switch {
	case t.Strict != nil:
		w.pass("strict", t.Strict)
	case !w.native(): // the API's default is true, that of all others false
		w.pass("strict", raw("false"))
	}
	w.dst = append(w.dst, '}')
}

// appendSchema appends a tool's schema. The API wants a type and, of an object, its properties.
func appendSchema(dst []byte, schema raw) []byte {
	var v [2]rawjson.Value
	if rawjson.Scan(schema, []string{"type", "properties"}, v[:]) != nil {
		return append(dst, `{"type":"object","properties":{}}`...)
	}
	add := ""
	if !given(v[0]) {
		add = `"type":"object"`
	}
	if !v[1].Exists() && (!given(v[0]) || v[0].TextEquals("object")) {
		if add != "" {
			add += ","
		}
		add += `"properties":{}`
	}
	if add == "" {
		return append(dst, schema...)
	}
	dst = append(append(dst, '{'), add...)
	err := rawjson.Members(schema, func(key, m rawjson.Value) bool {
		if key.TextEquals("type") && !given(v[0]) {
			return true // null, and replaced
		}
		dst = append(append(append(dst, ','), key.Raw()...), ':')
		dst = append(dst, m.Raw()...)
		return true
	})
	_ = err // Scan has passed it
	return append(dst, '}')
}

// writeChoice writes tool_choice and parallel_tool_calls, which mean nothing without tools.
func (w *encoder) writeChoice() error {
	c := w.r.ToolChoice
	if c == nil {
		return nil
	}
	if c.Type == translator.ChoiceTool {
		if t := w.r.Tool(c.Name); t != nil && t.Type == translator.ToolServer && !w.native() {
			return translator.Bad("tool_choice", "the tool "+c.Name+" is not offered by the upstream that serves the model; choose another tool or another model")
		}
	}
	if len(w.tools) == 0 {
		return nil
	}
	if !c.Implied {
		w.choice(c)
	}
	if c.NoParallel {
		w.pass("parallel_tool_calls", raw("false"))
	}
	return nil
}

func (w *encoder) choice(c *translator.ToolChoice) {
	mode := `"auto"`
	switch c.Type {
	case translator.ChoiceAny:
		mode = `"required"`
	case translator.ChoiceNone:
		mode = `"none"`
	case translator.ChoiceTool:
		w.member("tool_choice")
		w.chosen(c.Name)
		return
	}
	if c.Allowed == nil || c.Type == translator.ChoiceNone {
		w.pass("tool_choice", raw(mode))
		return
	}
	w.member("tool_choice")
	w.dst = append(append(append(w.dst, `{"type":"allowed_tools","mode":`...), mode...), `,"tools":[`...)
	first := true
	for _, name := range c.Allowed {
		if _, ok := w.tools[name]; ok {
			w.dst = appendComma(w.dst, first)
			w.chosen(name)
			first = false
		}
	}
	w.dst = append(w.dst, `]}`...)
}

// chosen appends the object that names a tool.
func (w *encoder) chosen(name string) {
	kind := typeToolFunction
	switch w.tools[name] {
	case translator.ToolCustom:
		kind = typeToolCustom
	case translator.ToolShell, translator.ToolServer:
		kind = typeToolShell
		if t := w.r.Tool(name); t != nil && t.Type == translator.ToolServer {
			kind = t.Kind
		}
		w.dst = append(appendString(append(w.dst, `{"type":`...), kind), '}')
		return
	}
	w.dst = append(append(append(w.dst, `{"type":"`...), kind...), `"`...)
	w.passString("name", name)
	w.dst = append(w.dst, '}')
}
