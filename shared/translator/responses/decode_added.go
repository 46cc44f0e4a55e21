package responses

import (
	"bytes"

	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// typeAdded is an input item that declares tools in mid-conversation. Codex puts all of its tools into one for the models
// that it knows, and has no tools beside it.
const typeAdded = "additional_tools"

// addedTools reads the tools that items of the input declare. One declared again replaces the one before.
func (d *decoder) addedTools() error {
	v := d.f[fInput]
	if v.Kind() != rawjson.Array || !bytes.Contains(v.Raw(), []byte(`"`+typeAdded+`"`)) {
		return nil
	}
	d.again = true
	return each(v, func(i int, e rawjson.Value) error {
		var m [2]rawjson.Value
		if e.Kind() != rawjson.Object || rawjson.Scan(e.Raw(), []string{"type", "tools"}, m[:]) != nil || !m[0].TextEquals(typeAdded) {
			return nil // what is wrong with an item is said where the input is read
		}
		p := translator.At("input", i)
		if m[1].Kind() != rawjson.Array {
			return translator.BadAt(p, "tools", "must be an array")
		}
		return each(m[1], func(j int, t rawjson.Value) error { return d.tool(t, p, "tools["+itoa(j)+"]", "") })
	})
}

// replace puts a tool in the place of the one with the client's same name.
func (d *decoder) replace(t translator.Tool) {
	for i := range d.req.Tools {
		old := &d.req.Tools[i]
		if old.Name == t.Name && old.Namespace == t.Namespace && old.Original == t.Original {
			*old = t
			return
		}
	}
}
