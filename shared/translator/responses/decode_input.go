package responses

import (
	"strings"

	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// The members of an input item.
const (
	iType = iota
	iRole
	iContent
	iID
	iCallID
	iName
	iNamespace
	iArguments
	iInput
	iOutput
	iAction
	iSummary
	iEncrypted
	iCount
)

func itemNames() [iCount]string {
	return [iCount]string{
		iType: "type", iRole: "role", iContent: "content", iID: "id", iCallID: "call_id", iName: "name",
		iNamespace: "namespace", iArguments: "arguments", iInput: "input", iOutput: "output", iAction: "action",
		iSummary: "summary", iEncrypted: "encrypted_content",
	}
}

// item is one item of the input.
type item struct {
	d *decoder
	f [iCount]rawjson.Value
	p translator.Place
}

func (it *item) bad(field, message string) error { return translator.BadAt(it.p, field, message) }

// str is the text of a member that must be a string where it is given.
func (it *item) str(i int, name string, required bool) (string, error) {
	v := it.f[i]
	switch {
	case !given(v):
		if required {
			return "", it.bad(name, "is required")
		}
		return "", nil
	case v.Kind() != rawjson.String:
		return "", it.bad(name, "must be a string")
	}
	s := text(v)
	if required && s == "" {
		return "", it.bad(name, "must not be empty")
	}
	return s, nil
}

// input reads the conversation.
func (d *decoder) input() error {
	v := d.f[fInput]
	switch v.Kind() {
	case rawjson.Absent:
		if d.stored {
			return nil
		}
		return translator.Bad("input", "is required")
	case rawjson.String:
		p := translator.Place{List: "input", I: -1, J: -1}
		d.add(translator.RoleUser, p, translator.Block{Text: v.Raw(), Place: p})
		return nil
	case rawjson.Array:
	default:
		return translator.Bad("input", "must be a string or an array")
	}
	names := itemNames()
	err := each(v, func(i int, e rawjson.Value) error {
		if err := d.piece("input"); err != nil {
			return err
		}
		it := &item{d: d, p: translator.At("input", i)}
		if e.Kind() != rawjson.Object {
			return it.bad("", "must be an object")
		}
		if err := rawjson.Scan(e.Raw(), names[:], it.f[:]); err != nil {
			return it.bad("", err.Error())
		}
		return d.item(it)
	})
	if err == nil && len(d.req.Messages) == 0 && !d.stored {
		return translator.Bad("input", "must not be empty")
	}
	return err
}

func (d *decoder) item(it *item) error {
	kind, err := it.str(iType, "type", false)
	if err != nil {
		return err
	}
	switch kind {
	case "", typeMessage:
		return d.message(it)
	case typeReasoning:
		return d.reasoningItem(it)
	case typeFunction, typeCustom:
		return d.call(it, kind == typeCustom)
	case typeShell:
		return d.shellCall(it)
	case typeFunctionOut, typeCustomOut, typeShellOut:
		return d.output(it)
	case typeAdded:
		return nil // read with the tools
	case "item_reference":
		return it.bad("type", "refers to an item that the API keeps; send the item itself, and store:false")
	case "compaction", "compaction_summary", "compaction_trigger", "context_compaction":
		return it.bad("type", "compacted conversations can be read by the API that made them alone; send the conversation itself")
	}
	if serverItem(kind) {
		return it.bad("type", "server tools that the conversation uses are not offered by the upstream that serves the model; leave "+kind+" items out")
	}
	return it.bad("type", "items of this type are not supported by the upstream that serves the model; leave them out")
}

// serverItem reports whether an item is a call of a tool that the API runs or defines, or what came of it.
func serverItem(kind string) bool {
	for _, tool := range [...]string{"web_search", "file_search", "computer", "image_generation", "code_interpreter", "mcp", "shell", "apply_patch"} {
		if strings.HasPrefix(kind, tool+"_") {
			return true
		}
	}
	return false
}

// add appends blocks to the last message where that has the same role and may take them, or to a new one.
func (d *decoder) add(role translator.Role, p translator.Place, blocks ...translator.Block) {
	m := d.req.Messages
	if n := len(m); n > 0 && m[n-1].Role == role && role != translator.RoleSystem &&
		(role == translator.RoleAssistant || results(m[n-1].Content) && results(blocks)) {
		m[n-1].Content = append(m[n-1].Content, blocks...)
		return
	}
	d.req.Messages = append(m, translator.Message{Role: role, Content: blocks, Place: p})
}

// results reports whether blocks are results of calls; messages are made of these alone or of none.
func results(blocks []translator.Block) bool {
	return len(blocks) > 0 && blocks[0].Type == translator.BlockToolResult
}

// message reads a message of any role.
func (d *decoder) message(it *item) error {
	name, err := it.str(iRole, "role", false)
	if err != nil {
		return err
	}
	if name == "" {
		if !given(it.f[iType]) {
			return it.bad("type", "is required for an item that is not a message")
		}
		return it.bad("role", "is required")
	}
	var role translator.Role
	switch name {
	case "user":
		role = translator.RoleUser
	case "assistant":
		role = translator.RoleAssistant
	case "system", "developer":
		role = translator.RoleSystem
	default:
		return it.bad("role", "must be user, assistant, system or developer")
	}
	blocks, err := it.content(it.f[iContent], "content", role)
	if err != nil {
		return err
	}
	d.add(role, it.p, blocks...)
	return nil
}

// call reads a call of a function or custom tool.
func (d *decoder) call(it *item, custom bool) error {
	id, err := it.str(iCallID, "call_id", true)
	if err != nil {
		return err
	}
	name, err := it.str(iName, "name", true)
	if err != nil {
		return err
	}
	space, err := it.str(iNamespace, "namespace", false)
	if err != nil {
		return err
	}
	member, field := it.f[iArguments], "arguments"
	if custom {
		member, field = it.f[iInput], "input"
	}
	if member.Kind() != rawjson.String {
		return it.bad(field, "must be a string")
	}
	b := translator.Block{Type: translator.BlockToolUse, ID: id, Name: d.tools.of(space, name), Custom: custom, Place: it.p}
	if custom {
		b.Input = translator.CustomInput(member.Raw())
	} else {
		b.Input = translator.ObjectOf(member.Raw())
	}
	d.called(it, id)
	d.add(translator.RoleAssistant, it.p, b)
	return nil
}

// called notes a call; local_shell results name it by its item's id.
func (d *decoder) called(it *item, id string) {
	d.calls[id] = id
	if own := text(it.f[iID]); own != "" && d.calls[own] == "" {
		d.calls[own] = id
	}
}

// shellCall reads a local_shell_call. In the hub its input has the members of the tool's schema.
func (d *decoder) shellCall(it *item) error {
	id, err := it.str(iCallID, "call_id", false)
	if err == nil && id == "" {
		id, err = it.str(iID, "call_id", true)
	}
	if err != nil {
		return err
	}
	if it.f[iAction].Kind() != rawjson.Object {
		return it.bad("action", "must be an object")
	}
	input, err := shellInput(it.f[iAction].Raw())
	if err != nil {
		return it.bad("action", err.Error())
	}
	d.called(it, id)
	d.add(translator.RoleAssistant, it.p, translator.Block{Type: translator.BlockToolUse, ID: id, Name: d.tools.shell, Input: input, Place: it.p})
	return nil
}

// shellMembers are the members of a local_shell_call's action and what they are called in the tool's schema.
var shellMembers = [...]struct{ action, input string }{
	{"command", "command"}, {"working_directory", "workdir"}, {"timeout_ms", "timeout_ms"}, {"env", "env"},
}

// shellInput makes the hub's input of an action.
func shellInput(action []byte) (raw, error) {
	var want [len(shellMembers)]string
	for i, m := range shellMembers {
		want[i] = m.action
	}
	var v [len(shellMembers)]rawjson.Value
	if err := rawjson.Scan(action, want[:], v[:]); err != nil {
		return nil, err
	}
	out := raw(`{`)
	for i, m := range shellMembers {
		if !given(v[i]) {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(appendString(out, m.input), ':'), v[i].Raw()...)
	}
	return append(out, '}'), nil
}

// output reads the result of a call.
func (d *decoder) output(it *item) error {
	field := "call_id"
	id, err := it.str(iCallID, field, false)
	if err == nil && id == "" && it.f[iType].TextEquals(typeShellOut) {
		field = "id"
		id, err = it.str(iID, field, false)
	}
	switch {
	case err != nil:
		return err
	case id == "":
		return it.bad(field, "is required")
	case d.calls[id] != "":
		id = d.calls[id]
	case !d.stored:
		return it.bad(field, "is not the id of a call before this item; results need their calls")
	}
	b := translator.Block{Type: translator.BlockToolResult, ID: id, Place: it.p}
	if b.Content, err = it.content(it.f[iOutput], "output", translator.RoleUser); err != nil {
		return err
	}
	d.add(translator.RoleUser, it.p, b)
	return nil
}

// reasoningItem reads a reasoning item. Thinking that came from Anthropic is unpacked; OpenAI's own is packed, so that it
// finds back to where it is understood; what is neither is only text.
func (d *decoder) reasoningItem(it *item) error {
	id, err := it.str(iID, "id", false)
	if err != nil {
		return err
	}
	if v := it.f[iEncrypted]; given(v) && v.Kind() != rawjson.String {
		return it.bad("encrypted_content", "must be a string")
	}
	summary, err := it.thoughts(iSummary, "summary")
	if err != nil {
		return err
	}
	if summary == nil {
		if summary, err = it.thoughts(iContent, "content"); err != nil {
			return err
		}
	}
	encrypted := stringOf(it.f[iEncrypted])
	if b, ok := thinkingOf(id, summary, encrypted); ok {
		b.Place = it.p
		d.add(translator.RoleAssistant, it.p, b)
	}
	return nil
}

// thinkingOf makes the hub's block of a reasoning item; summary is nil when there is none. ok is false for an item that
// says nothing.
func thinkingOf(id string, summary, encrypted raw) (b translator.Block, ok bool) {
	if b, ok = translator.ThinkingBlock(encrypted); ok {
		return b, true
	}
	if len(encrypted) > 2 {
		b.Signature = translator.CarryReasoning(id, encrypted)
	}
	if summary != nil {
		b.Type, b.Text = translator.BlockThinking, summary
		return b, true
	}
	b.Type = translator.BlockRedacted
	return b, b.Signature != nil
}

// thoughts joins the texts of a reasoning item's summary or content; nil when there are none.
func (it *item) thoughts(i int, field string) (raw, error) {
	v := it.f[i]
	if !given(v) {
		return nil, nil
	}
	if v.Kind() != rawjson.Array {
		return nil, it.bad(field, "must be an array")
	}
	parts, ok := thoughtParts(v)
	if !ok {
		return nil, it.bad(field, "must have objects with a text")
	}
	if len(parts) == 0 {
		return nil, nil
	}
	return translator.Join(nil, "\n\n", parts...), nil
}

// thoughtParts are the texts of a reasoning item's parts that are not empty; ok is false when one is malformed.
func thoughtParts(v rawjson.Value) (parts []raw, ok bool) {
	err := each(v, func(_ int, e rawjson.Value) error {
		t, err := rawjson.Find(e.Raw(), "text")
		if err != nil || t.Kind() != rawjson.String {
			return errPart
		}
		if len(t.Raw()) > 2 {
			parts = append(parts, t.Raw())
		}
		return nil
	})
	return parts, err == nil
}
