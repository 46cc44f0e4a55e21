package openaichat

import (
	"strconv"

	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// tools reads the tools and what is said of their use.
func (d *decoder) tools(v *[bodyCount]rawjson.Value) {
	body := translator.Place{}
	d.list(v[bTools], "tools", d.tool)
	if functions := d.value(v[bFunctions], rawjson.Array, body, "functions"); len(functions) > 2 {
		if len(d.r.Tools) > 0 {
			d.fail(body, "functions", "cannot stand beside tools; send tools only")
		}
		d.r.Legacy = true
		d.list(v[bFunctions], "functions", d.function)
	}
	d.choice(v[bToolChoice])
	if d.r.ToolChoice == nil {
		d.functionCall(v[bFunctionCall])
	}
	parallel := v[bParallel]
	d.boolean(parallel, body, "parallel_tool_calls")
	if on, ok := parallel.Bool(); ok && !on || d.r.Legacy { // an answer in the old form has room for one call
		if d.r.ToolChoice == nil {
			d.r.ToolChoice = &translator.ToolChoice{Implied: true, Place: translator.Place{List: "tool_choice", I: -1, J: -1}}
		}
		d.r.ToolChoice.NoParallel = true
	}
}

func (d *decoder) list(v rawjson.Value, field string, fn func(p translator.Place, el rawjson.Value)) {
	list := d.value(v, rawjson.Array, translator.Place{}, field)
	if list == nil {
		return
	}
	i := 0
	_ = rawjson.Elements(list, func(el rawjson.Value) bool {
		if i == translator.MaxTools {
			d.fail(translator.Place{}, field, translator.TooManyTools)
			return false
		}
		p := translator.At(field, i)
		if el.Kind() != rawjson.Object {
			d.fail(p, "", "must be an object")
			return false
		}
		fn(p, el)
		i++
		return d.err == nil
	})
}

// tool reads a tool, nested as the dialect has it or flat as the Responses API does (D49).
func (d *decoder) tool(p translator.Place, el rawjson.Value) {
	v, ok := d.object(el, p, "", "type", "function", "custom", "name", "cache_control", "defer_loading")
	if !ok {
		return
	}
	t := translator.Tool{Place: p, CacheControl: d.value(v[4], rawjson.Object, p, "cache_control"),
		Defer: d.value(v[5], rawjson.Bool, p, "defer_loading")}
	typ := d.text(v[0], p, "type")
	switch {
	case typ == "function" || typ == "" && (v[1].Exists() || v[3].Exists()):
		if v[1].Kind() == rawjson.Object {
			d.functionTool(&t, v[1], "function")
		} else if !v[3].Exists() {
			d.fail(p, "function", "is required: an object with name and parameters")
		} else {
			d.functionTool(&t, el, "")
		}
	case typ == "custom":
		if v[2].Kind() == rawjson.Object {
			d.customTool(&t, v[2], "custom")
		} else if !v[3].Exists() {
			d.fail(p, "custom", "is required: an object with name")
		} else {
			d.customTool(&t, el, "")
		}
	case typ == "":
		d.fail(p, "type", "is required: function or custom")
	default:
		t.Type, t.Kind, t.Raw = translator.ToolServer, typ, el.Raw()
		if t.Name, _ = v[3].Text(); t.Name == "" {
			t.Name = typ
		}
	}
	field := "name"
	if v[1].Kind() == rawjson.Object || v[2].Kind() == rawjson.Object {
		field = typ + ".name"
	}
	d.add(t, field)
}

// function reads one of the functions that came before tools.
func (d *decoder) function(p translator.Place, el rawjson.Value) {
	t := translator.Tool{Place: p}
	d.functionTool(&t, el, "")
	d.add(t, "name")
}

// add keeps a tool; field is where its name stands.
func (d *decoder) add(t translator.Tool, field string) {
	if d.err != nil {
		return
	}
	if d.r.Tool(t.Name) != nil {
		d.fail(t.Place, field, "another tool has the same name")
		return
	}
	d.r.Tools = append(d.r.Tools, t)
}

func (d *decoder) functionTool(t *translator.Tool, v rawjson.Value, at string) {
	o, ok := d.object(v, t.Place, at, "name", "description", "parameters", "strict", "cache_control", "input_schema")
	if !ok {
		return
	}
	t.Name = d.required(o[0], t.Place, sub(at, "name"))
	t.Description = d.value(o[1], rawjson.String, t.Place, sub(at, "description"))
	t.Schema = d.value(o[2], rawjson.Object, t.Place, sub(at, "parameters"))
	t.Strict = d.value(o[3], rawjson.Bool, t.Place, sub(at, "strict"))
	if mark := d.value(o[4], rawjson.Object, t.Place, sub(at, "cache_control")); mark != nil {
		t.CacheControl = mark
	}
	if t.Schema == nil { // Anthropic's name, in bodies that mix the dialects
		t.Schema = d.value(o[5], rawjson.Object, t.Place, sub(at, "input_schema"))
	}
}

// customTool reads a tool that is called with text. The hub has its format in the flat form of the Responses API.
func (d *decoder) customTool(t *translator.Tool, v rawjson.Value, at string) {
	o, ok := d.object(v, t.Place, at, "name", "description", "format", "cache_control")
	if !ok {
		return
	}
	t.Type = translator.ToolCustom
	t.Name = d.required(o[0], t.Place, sub(at, "name"))
	t.Description = d.value(o[1], rawjson.String, t.Place, sub(at, "description"))
	t.Grammar = d.value(o[2], rawjson.Object, t.Place, sub(at, "format"))
	if mark := d.value(o[3], rawjson.Object, t.Place, sub(at, "cache_control")); mark != nil {
		t.CacheControl = mark
	}
	if g, ok := d.object(o[2], t.Place, sub(at, "format"), "type", "grammar"); ok && g[1].Kind() == rawjson.Object {
		in, _ := d.object(g[1], t.Place, sub(at, "format.grammar"), "syntax", "definition")
		w := writer{b: []byte(`{"type":"grammar"`)}
		w.raw("syntax", d.value(in[0], rawjson.String, t.Place, sub(at, "format.grammar.syntax")))
		w.raw("definition", d.value(in[1], rawjson.String, t.Place, sub(at, "format.grammar.definition")))
		t.Grammar = append(w.b, '}')
	}
}

// choice reads tool_choice: a word, or an object in the dialect's nested or the Responses API's flat form.
func (d *decoder) choice(v rawjson.Value) {
	body := translator.Place{}
	c := &translator.ToolChoice{Place: translator.Place{List: "tool_choice", I: -1, J: -1}}
	switch v.Kind() {
	case rawjson.Absent, rawjson.Null:
		return
	case rawjson.String:
		word, _ := v.Text()
		d.mode(c, word, "tool_choice")
	case rawjson.Object:
		o, _ := d.object(v, body, "tool_choice", "type", "function", "custom", "name", "allowed_tools", "mode", "tools")
		switch typ := d.required(o[0], body, "tool_choice.type"); typ {
		case "function", "custom":
			nested := o[1]
			if typ == "custom" {
				nested = o[2]
			}
			c.Type = translator.ChoiceTool
			c.Name = d.named(nested, o[3], "tool_choice", typ)
			d.declared(c.Name, "tool_choice")
		case "allowed_tools":
			mode, tools, at := o[5], o[6], "tool_choice"
			if o[4].Kind() == rawjson.Object {
				at = "tool_choice.allowed_tools"
				in, _ := d.object(o[4], body, at, "mode", "tools")
				mode, tools = in[0], in[1]
			}
			d.mode(c, d.required(mode, body, at+".mode"), at+".mode")
			d.allowed(c, tools, at+".tools")
		default:
			d.mode(c, typ, "tool_choice.type")
		}
	default:
		d.fail(body, "tool_choice", "must be a string or an object")
	}
	d.r.ToolChoice = c
}

func (d *decoder) mode(c *translator.ToolChoice, word, field string) {
	switch word {
	case "auto":
	case "none":
		c.Type = translator.ChoiceNone
	case "required", "any":
		c.Type = translator.ChoiceAny
	default:
		d.fail(translator.Place{}, field, "must be none, auto or required, or name a tool")
	}
}

func (d *decoder) allowed(c *translator.ToolChoice, v rawjson.Value, at string) {
	c.Allowed = []string{}
	list := d.value(v, rawjson.Array, translator.Place{}, at)
	if list == nil {
		d.fail(translator.Place{}, at, "is required: an array of tools")
		return
	}
	i := 0
	_ = rawjson.Elements(list, func(el rawjson.Value) bool {
		if i == translator.MaxTools {
			d.fail(translator.Place{}, at, translator.TooManyTools)
			return false
		}
		at := at + "[" + strconv.Itoa(i) + "]"
		i++
		o, ok := d.object(el, translator.Place{}, at, "type", "function", "custom", "name")
		if !ok {
			d.fail(translator.Place{}, at, "must be an object")
			return false
		}
		nested, typ := o[1], "function"
		if o[0].TextEquals("custom") {
			nested, typ = o[2], "custom"
		}
		name := d.named(nested, o[3], at, typ)
		d.declared(name, at)
		c.Allowed = append(c.Allowed, name)
		return d.err == nil
	})
}

// named returns the name of a tool that is spoken of in the nested or in the flat form.
func (d *decoder) named(nested, flat rawjson.Value, at, typ string) string {
	if nested.Kind() == rawjson.Object {
		o, _ := d.object(nested, translator.Place{}, at+"."+typ, "name")
		return d.required(o[0], translator.Place{}, at+"."+typ+".name")
	}
	if flat.Exists() {
		return d.required(flat, translator.Place{}, at+".name")
	}
	d.fail(translator.Place{}, at+"."+typ, "is required: an object with name")
	return ""
}

// declared sees to it that a tool which is spoken of is there. A choice without tools is none.
func (d *decoder) declared(name, field string) {
	if len(d.r.Tools) > 0 && d.r.Tool(name) == nil {
		d.fail(translator.Place{}, field, "names a tool that is not among the tools")
	}
}

// functionCall reads function_call, which came before tool_choice.
func (d *decoder) functionCall(v rawjson.Value) {
	body := translator.Place{}
	c := &translator.ToolChoice{Place: translator.Place{List: "function_call", I: -1, J: -1}}
	switch v.Kind() {
	case rawjson.Absent, rawjson.Null:
		return
	case rawjson.String:
		word, _ := v.Text()
		if word == "required" || word == "any" {
			word = "" // never were words of function_call
		}
		d.mode(c, word, "function_call")
	case rawjson.Object:
		o, _ := d.object(v, body, "function_call", "name")
		c.Type, c.Name = translator.ChoiceTool, d.required(o[0], body, "function_call.name")
		d.declared(c.Name, "function_call.name")
	default:
		d.fail(body, "function_call", "must be a string or an object")
	}
	d.r.ToolChoice = c
}
