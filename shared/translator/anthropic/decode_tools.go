package anthropic

import (
	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// tools reads the tools and what is said of their choice.
func (d *decoder) tools(tools, choice rawjson.Value) {
	seen := map[string]struct{}{}
	d.each(d.opt(spot{}, "tools", tools, rawjson.Array), func(i int, v rawjson.Value) {
		if i == translator.MaxTools {
			d.fail(spot{}, "tools", translator.TooManyTools)
			return
		}
		at := spot{place: translator.At("tools", i)}
		t := d.tool(at, v)
		if _, twice := seen[t.Name]; twice {
			d.fail(at, "name", "is the name of another tool, too")
		}
		seen[t.Name] = struct{}{}
		d.req.Tools = append(d.req.Tools, t)
	})
	if c := d.opt(spot{}, "tool_choice", choice, rawjson.Object); c != nil && d.err == nil {
		d.choice(c)
	}
}

func (d *decoder) tool(at spot, v rawjson.Value) translator.Tool {
	t := translator.Tool{Place: at.place}
	obj := d.need(at, "", v, rawjson.Object)
	if obj == nil {
		return t
	}
	var m [7]rawjson.Value
	d.scan(at, obj, []string{"type", "name", "description", "input_schema", "strict", "defer_loading", "cache_control"}, m[:])
	t.CacheControl = d.opt(at, "cache_control", m[6], rawjson.Object)
	t.Defer = d.opt(at, "defer_loading", m[5], rawjson.Bool)
	if kind := d.opt(at, "type", m[0], rawjson.String).Text(); kind != "" && kind != "custom" {
		t.Type, t.Kind, t.Raw = translator.ToolServer, kind, obj
		if t.Name = d.opt(at, "name", m[1], rawjson.String).Text(); t.Name == "" {
			t.Name = kind // a set of tools has none
		}
		return t
	}
	t.Name = d.name(at, "name", m[1])
	t.Description = d.opt(at, "description", m[2], rawjson.String)
	t.Schema = d.opt(at, "input_schema", m[3], rawjson.Object)
	t.Strict = d.opt(at, "strict", m[4], rawjson.Bool)
	return t
}

func (d *decoder) choice(obj []byte) {
	at := spot{place: translator.At("tool_choice", -1)}
	var m [3]rawjson.Value
	d.scan(at, obj, []string{"type", "name", "disable_parallel_tool_use"}, m[:])
	d.need(at, "type", m[0], rawjson.String)
	c := &translator.ToolChoice{Place: at.place, NoParallel: d.opt(at, "disable_parallel_tool_use", m[2], rawjson.Bool).IsTrue()}
	switch d.word(at, "type", m[0], "auto", "any", "tool", "none") {
	case "any":
		c.Type = translator.ChoiceAny
	case "tool":
		c.Type = translator.ChoiceTool
		c.Name = d.name(at, "name", m[1])
		if len(d.req.Tools) > 0 && d.req.Tool(c.Name) == nil {
			d.fail(at, "name", "is not the name of one of the tools")
		}
	case "none":
		c.Type = translator.ChoiceNone
	}
	d.req.ToolChoice = c
}
