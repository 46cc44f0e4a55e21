package responses

import (
	"strings"

	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// maxName is the most characters that a tool's name may have at every upstream.
const maxName = 64

// names are the hub's names of the tools. Those in a namespace get one made of both, since no other dialect has
// namespaces; what has no name gets that of its type.
type names struct {
	taken map[string]bool
	flat  map[[2]string]string // by namespace and name
	count map[string]int       // of the tools without a name, by type
	shell string
}

// flatten makes the name of a tool in a namespace. It is the same each time, so that the calls of earlier turns keep theirs.
func flatten(namespace, name string) string {
	s := safe(namespace + "__" + name)
	if len(s) > maxName {
		return hashed(s, namespace, name)
	}
	return s
}

func hashed(s, namespace, name string) string {
	h := "_" + digest(namespace+"\x00"+name, 8)
	return s[:min(len(s), maxName-len(h))] + h
}

// safe replaces what other dialects refuse in a name.
func safe(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return '_'
	}, s)
}

// inSpace gives a tool in a namespace its name.
func (n *names) inSpace(namespace, name string) string {
	s := flatten(namespace, name)
	if n.taken[s] {
		s = hashed(s, namespace, name)
	}
	n.taken[s] = true
	n.flat[[2]string{namespace, name}] = s
	return s
}

// free gives a tool without a name its type's.
func (n *names) free(kind string) string {
	s := safe(kind)
	for n.taken[s] {
		n.count[kind]++
		s = safe(kind) + "_" + itoa(n.count[kind]+1)
	}
	n.taken[s] = true
	return s
}

// of returns the hub's name of a tool that the client names; it need not be among the tools.
func (n *names) of(namespace, name string) string {
	if namespace == "" {
		return name
	}
	if s, ok := n.flat[[2]string{namespace, name}]; ok {
		return s
	}
	return flatten(namespace, name)
}

// readTools reads tools.
func (d *decoder) readTools() error {
	d.tools = names{taken: map[string]bool{}, flat: map[[2]string]string{}, count: map[string]int{}}
	if v := d.f[fTools]; v.Exists() {
		if v.Kind() != rawjson.Array {
			return wrongKind("tools", rawjson.Array, v)
		}
		if err := each(v, func(i int, e rawjson.Value) error { return d.tool(e, translator.At("tools", i), "", "") }); err != nil {
			return err
		}
	}
	if err := d.addedTools(); err != nil {
		return err
	}
	// tools with names of their own keep them, so the others come second
	for i := range d.req.Tools {
		switch t := &d.req.Tools[i]; {
		case t.Namespace != "":
			t.Name = d.tools.inSpace(t.Namespace, t.Original)
		case t.Type == translator.ToolShell:
			t.Name = d.tools.free(shellName)
			if d.tools.shell == "" {
				d.tools.shell = t.Name
			}
		case t.Name == "":
			t.Name = d.tools.free(t.Kind)
		}
	}
	if d.tools.shell == "" {
		d.tools.shell = shellName
	}
	return nil
}

// each calls fn for the elements of an array until it returns an error.
func each(v rawjson.Value, fn func(i int, e rawjson.Value) error) error {
	i, bad := 0, error(nil)
	err := rawjson.Elements(v.Raw(), func(e rawjson.Value) bool {
		bad = fn(i, e)
		i++
		return bad == nil
	})
	if bad != nil {
		return bad
	}
	return err
}

// toolFields are the members of a tool, whose values have these types.
var toolFields = [...]struct {
	name string
	kind rawjson.Kind
}{
	{"type", rawjson.String}, {"name", rawjson.String}, {"description", rawjson.String}, {"parameters", rawjson.Object},
	{"strict", rawjson.Bool}, {"format", rawjson.Object}, {"defer_loading", rawjson.Bool},
	{"function", rawjson.Object}, {"custom", rawjson.Object}, {"tools", rawjson.Array},
}

// tool reads one tool; field is the path to it within the place, empty for an element of tools.
func (d *decoder) tool(e rawjson.Value, p translator.Place, field, namespace string) error {
	if d.toolCount++; d.toolCount > translator.MaxTools {
		return translator.Bad("tools", translator.TooManyTools)
	}
	if e.Kind() != rawjson.Object {
		return translator.BadAt(p, field, "must be an object")
	}
	m, err := readTool(e, p, field)
	if err != nil {
		return err
	}
	kind := text(m[0])
	if kind == "" {
		return translator.BadAt(p, join(field, "type"), "is required")
	}
	if kind == typeToolFunction && given(m[7]) || kind == typeToolCustom && given(m[8]) { // the form of Chat Completions
		field = join(field, kind)
		nested := m[7]
		if kind == typeToolCustom {
			nested = m[8]
		}
		if m, err = readTool(nested, p, field); err != nil {
			return err
		}
	}
	switch kind {
	case typeToolFunction, typeToolCustom:
		return d.named(m, kind == typeToolCustom, p, field, namespace)
	case typeNamespace:
		return d.namespace(m, p, field, namespace)
	case typeToolShell:
		d.req.Tools = append(d.req.Tools, translator.Tool{Type: translator.ToolShell, Place: p, Description: shellDescription, Schema: shellSchema})
		return nil
	}
	d.req.Tools = append(d.req.Tools, translator.Tool{Type: translator.ToolServer, Kind: kind, Raw: e.Raw(), Place: p})
	return nil
}

// The local_shell tool as a function of its own, for upstreams that do not know it.
var (
	shellDescription = raw(`"Runs a command on the user's machine and returns its output."`)
	shellSchema      = raw(`{"type":"object","properties":{` +
		`"command":{"type":"array","items":{"type":"string"},"description":"The program and its arguments."},` +
		`"workdir":{"type":"string","description":"The directory to run it in."},` +
		`"timeout_ms":{"type":"integer","description":"The time it may take, in milliseconds."},` +
		`"env":{"type":"object","additionalProperties":{"type":"string"},"description":"Environment variables to set."}},` +
		`"required":["command"]}`)
)

func readTool(e rawjson.Value, p translator.Place, field string) (m [len(toolFields)]rawjson.Value, err error) {
	var want [len(toolFields)]string
	for i := range toolFields {
		want[i] = toolFields[i].name
	}
	if err := rawjson.Scan(e.Raw(), want[:], m[:]); err != nil {
		return m, translator.BadAt(p, field, err.Error())
	}
	for i, f := range toolFields {
		if given(m[i]) && m[i].Kind() != f.kind {
			return m, translator.BadAt(p, join(field, f.name), "must be "+article(f.kind))
		}
	}
	return m, nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// named reads a function or custom tool.
func (d *decoder) named(m [len(toolFields)]rawjson.Value, custom bool, p translator.Place, field, namespace string) error {
	t := translator.Tool{Name: text(m[1]), Description: stringOf(m[2]), Place: p}
	if t.Name == "" {
		return translator.BadAt(p, join(field, "name"), "is required")
	}
	if custom {
		t.Type = translator.ToolCustom
		if given(m[5]) {
			t.Grammar = m[5].Raw()
		}
	} else if given(m[3]) {
		t.Schema = m[3].Raw()
	}
	if given(m[4]) {
		t.Strict = m[4].Raw()
	}
	if given(m[6]) {
		t.Defer = m[6].Raw()
	}
	twice, of := d.tools.taken[t.Name], ""
	if namespace == "" {
		d.tools.taken[t.Name] = true
	} else {
		key := [2]string{namespace, t.Name}
		_, twice = d.tools.flat[key]
		of = " of the namespace"
		d.tools.flat[key] = ""
		t.Name, t.Original, t.Namespace = "", t.Name, namespace
	}
	switch {
	case !twice:
		d.req.Tools = append(d.req.Tools, t)
	case d.again:
		d.replace(t)
	default:
		return translator.BadAt(p, join(field, "name"), "is the name of another tool"+of+", too")
	}
	return nil
}

// namespace reads the tools of a namespace.
func (d *decoder) namespace(m [len(toolFields)]rawjson.Value, p translator.Place, field, outer string) error {
	name := text(m[1])
	switch {
	case outer != "":
		return translator.BadAt(p, join(field, "type"), "a namespace within a namespace is not allowed")
	case name == "":
		return translator.BadAt(p, join(field, "name"), "is required")
	case !given(m[9]):
		return translator.BadAt(p, join(field, "tools"), "is required")
	}
	return each(m[9], func(i int, e rawjson.Value) error {
		return d.tool(e, p, join(field, "tools["+itoa(i)+"]"), name)
	})
}

// toolChoice reads tool_choice and parallel_tool_calls.
func (d *decoder) toolChoice() error {
	parallel, set := d.f[fParallel].Bool()
	v := d.f[fToolChoice]
	if !v.Exists() {
		if set && !parallel {
			d.req.ToolChoice = &translator.ToolChoice{Implied: true, NoParallel: true}
		}
		return nil
	}
	c := &translator.ToolChoice{NoParallel: set && !parallel, Place: translator.Place{List: "tool_choice", I: -1, J: -1}}
	d.req.ToolChoice = c
	switch v.Kind() {
	case rawjson.String:
		return setMode(c, text(v), "tool_choice")
	case rawjson.Object:
		return d.choiceObject(c, v)
	}
	return translator.Bad("tool_choice", "must be a string or an object")
}

// setMode sets a choice by its word.
func setMode(c *translator.ToolChoice, word, field string) error {
	switch word {
	case "auto":
		c.Type = translator.ChoiceAuto
	case "required":
		c.Type = translator.ChoiceAny
	case "none":
		c.Type = translator.ChoiceNone
	default:
		return translator.Bad(field, "must be auto, none or required")
	}
	return nil
}

func (d *decoder) choiceObject(c *translator.ToolChoice, v rawjson.Value) error {
	var m [3]rawjson.Value
	if err := scan(v, "tool_choice", []string{"type", "mode", "tools"}, m[:]); err != nil {
		return err
	}
	if !m[0].TextEquals("allowed_tools") {
		name, err := d.chosen(v, "tool_choice")
		c.Type, c.Name = translator.ChoiceTool, name
		return err
	}
	if m[1].Kind() != rawjson.String {
		return translator.Bad("tool_choice.mode", "must be auto or required")
	}
	if m[2].Kind() != rawjson.Array {
		return translator.Bad("tool_choice.tools", "must be an array")
	}
	c.Allowed = []string{}
	err := each(m[2], func(i int, e rawjson.Value) error {
		if i == translator.MaxTools {
			return translator.Bad("tool_choice.tools", translator.TooManyTools)
		}
		name, err := d.chosen(e, "tool_choice.tools["+itoa(i)+"]")
		c.Allowed = append(c.Allowed, name)
		return err
	})
	if err != nil {
		return err
	}
	return setMode(c, text(m[1]), "tool_choice.mode")
}

// chosen is the hub's name of the tool that an object names.
func (d *decoder) chosen(v rawjson.Value, field string) (string, error) {
	if v.Kind() != rawjson.Object {
		return "", translator.Bad(field, "must be an object")
	}
	var m [6]rawjson.Value
	if err := scan(v, field, []string{"type", "name", "namespace", "function", "custom", "server_label"}, m[:]); err != nil {
		return "", err
	}
	kind := text(m[0])
	switch kind {
	case "":
		return "", translator.Bad(field+".type", "is required")
	case typeToolFunction, typeToolCustom:
		name := m[1]
		for _, nested := range m[3:5] { // the form of Chat Completions
			if !given(name) && nested.Kind() == rawjson.Object {
				name, _ = rawjson.Find(nested.Raw(), "name")
			}
		}
		if text(name) == "" {
			return "", translator.Bad(field+".name", "is required")
		}
		s := d.tools.of(text(m[2]), text(name))
		if len(d.req.Tools) > 0 && !d.tools.taken[s] {
			return "", translator.Bad(field+".name", "is not the name of a tool of this request")
		}
		return s, nil
	}
	for i := range d.req.Tools {
		t := &d.req.Tools[i]
		if t.Type == translator.ToolServer && t.Kind == kind || t.Type == translator.ToolShell && kind == typeToolShell {
			return t.Name, nil
		}
	}
	if len(d.req.Tools) > 0 {
		return "", translator.Bad(field+".type", "is not the type of a tool of this request")
	}
	return kind, nil
}
