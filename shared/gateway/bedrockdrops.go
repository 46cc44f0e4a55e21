package gateway

import (
	"slices"

	"sluice/shared/compat"
	"sluice/shared/rawjson"
)

// What a node whose API is Converse does not get of a body of the Messages API, for which the codecs have no place: they read
// what they know and pass over the rest, as every reader of that API must. Here it is named.

// members are those of an object, or of each object in an array, that the codecs read.
type members struct {
	name   string // of the object or array
	path   string // of the members, but for their names
	reads  []string
	within []*members
}

var (
	readMark  = []string{"type", "ttl"}
	readBlock = []string{"type", "text", "citations", "cache_control", "thinking", "signature", "data", "id", "name", "input", "tool_use_id", "content",
		"is_error", "source", "title", "context", "tool_name"}
	readTool = []string{"type", "name", "description", "input_schema", "strict", "defer_loading", "cache_control"}
	readBody = &members{within: []*members{ // of the top the codecs tell themselves
		{"system", "system[].", readBlock, marked("system[].")},
		{"messages", "messages[].", []string{"role", "content"}, []*members{
			{"content", "messages[].content[].", readBlock, append(marked("messages[].content[]."),
				&members{"content", "messages[].content[].content[].", readBlock, marked("messages[].content[].content[].")})}}},
		{"tools", "tools[].", readTool, marked("tools[].")},
		{"tool_choice", "tool_choice.", []string{"type", "name", "disable_parallel_tool_use"}, nil},
		{"thinking", "thinking.", []string{"type", "budget_tokens", "display"}, nil},
		{"output_config", "output_config.", []string{"effort", "format"}, []*members{{"format", "output_config.format.", []string{"type", "schema"}, nil}}},
		{"output_format", "output_format.", []string{"type", "schema"}, nil},
		{"metadata", "metadata.", []string{"user_id"}, nil},
		{"cache_control", "cache_control.", readMark, nil},
	}}
)

func marked(path string) []*members {
	return []*members{{"cache_control", path + "cache_control.", readMark, nil}}
}

// unread calls found with the path of each member of a body that is none of those, as rows of the table write paths: a client's
// words, and the same path as often as it stands there, until found returns false. A null says nothing in that API.
func unread(body []byte, found func(path string) bool) { readBody.object(body, found) }

func (m *members) object(doc []byte, found func(string) bool) (more bool) {
	more = true
	_ = rawjson.Members(doc, func(key, value rawjson.Value) bool { // which has been checked as a whole
		if m.reads != nil && !slices.ContainsFunc(m.reads, key.TextEquals) {
			if value.Kind() != rawjson.Null {
				name, _ := key.Text()
				more = found(m.path + name[:min(len(name), maxDroppedName)])
			}
			return more
		}
		for _, in := range m.within {
			if key.TextEquals(in.name) {
				more = in.value(value, found)
			}
		}
		return more
	})
	return more
}

func (m *members) value(v rawjson.Value, found func(string) bool) (more bool) {
	switch more = true; v.Kind() {
	case rawjson.Object:
		more = m.object(v.Raw(), found)
	case rawjson.Array:
		_ = rawjson.Elements(v.Raw(), func(e rawjson.Value) bool {
			if e.Kind() == rawjson.Object {
				more = m.object(e.Raw(), found)
			}
			return more
		})
	}
	return more
}

// The bounds of what is noted of one request.
const (
	maxDroppedName = 64
	maxUnread      = 1 << 12 // members that are looked at: clients send the same few in each turn
)

// converseDrops notes what a node of Converse does not get besides what its codec tells: the flags, and what unread finds.
func (x *exchange) converseDrops(p *plan) {
	f := &fitted{route: routeConverse}
	p.fit = f
	if x.asked != dialectAnthropic {
		return
	}
	note := func(what string) {
		if len(f.dropped) < compat.MaxDropped && !slices.Contains(f.dropped, what) {
			f.dropped = append(f.dropped, what)
		}
	}
	for _, flag := range x.flagsHere() {
		note("beta:" + clip(flag, maxDroppedName))
	}
	if x.r.Header.Get(profileHeader) != "" {
		note(profileField)
	}
	left := maxUnread
	unread(x.body.buf, func(path string) bool {
		note(path)
		left--
		return left > 0
	})
}

// converseFields are what the codec of Converse drops by names of its own.
var converseFields = []string{"thinking", "reasoning", "reasoning_effort", "reasoning.summary", "output_config", "temperature", "top_p", "top_k", "service_tier",
	"prompt_cache_key", "metadata", "user", "cache_control", "cache_control.ttl", "strict", "defer_loading", "detail", "citations",
	"tool_choice.disable_parallel_tool_use", "parallel_tool_calls"}

// countConverse counts what a node of Converse does not get.
func (a *attempt) countConverse(m Metrics, names *dropNames) {
	count := func(name string) { m.Dropped(routeConverse, name) }
	for _, d := range a.plan.fit.dropped {
		count(names.name(d))
	}
	if enc := a.plan.enc; enc != nil {
		for _, d := range enc.Dropped {
			if slices.Contains(converseFields, d) {
				count(d)
			} else {
				count(names.name(d))
			}
		}
		for range enc.Tools {
			count("tool:" + otherDropped)
		}
	}
}
