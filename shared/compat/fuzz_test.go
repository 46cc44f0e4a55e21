package compat

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sluice/shared/rawjson"
)

var seeds = []string{
	`{}`, ` { "speed" : 1 , "a" : [ ] } `, `{"speed":1,"fallbacks":2,"cache_control":{"scope":1},"x":{},"service_tier":"a"}`,
	`{"model":"m","tools":[{"type":"advisor_1","name":"n","cache_control":{"scope":1}},{"name":"a","defer_loading":true,"custom":{}},{"type":"web_fetch_1"}]}`,
	`{"system":[{"cache_control":{"ttl":"1h","scope":"g","type":"ephemeral"}},"x"],"messages":[{"content":[{"cache_control":{"scope":1},"caller":{},"parsed_output":1}]},{"content":"t"}]}`,
	`{"messages":[{"content":[{"type":"server_tool_use","name":"n"},{"content":[{"cache_control":{"ttl":1}}]}]}],"tools":[{"type":"advisor_1","name":"n"},{}]}`,
	`{"output_config":{"effort":1,"format":{}},"mcp_servers":[],"container":null,"stream":true}`,
	`{"output_format":{"type":"t"},"output_config":{"effort":"max"},"tools":[{"custom":{"defer_loading":true},"name":"a"},{"defer_loading":false,"custom":{"defer_loading":true}}]}`,
	`{"output_format":{"type":"t"},"speed":1}`, `{"output_config":{"effort":"xh\u0069gh"},"output_format":null}`, `{"output_config":[],"output_format":1}`,
	`{"a":"\\\"","sp\u0065ed":"\u0022","tool\u0073":[{"typ\u0065":"advis\u006fr_1"},1]}`, `{"tools":[`, `{"a":1}}`, `[]`,
}

// FuzzApply: whatever is sent, the result is JSON, and what it lacks is what is reported, nothing else.
func FuzzApply(f *testing.F) {
	for i, s := range seeds {
		f.Add([]byte(s), "pdfs-2024-09-25 tool-search-tool-2025-10-19 x", uint8(i))
	}
	table := Builtin()
	families := []string{"claude-opus-5", "claude-3-haiku", "claude-opus-4-7", "claude-sonnet-4", "claude-opus-4-5"}
	f.Fuzz(func(t *testing.T, body []byte, betas string, pick uint8) {
		route, family := routes[int(pick)%3], families[int(pick/3)%len(families)]
		var strip []string
		if pick >= 128 {
			strip = []string{"model", "stream"}
		}
		body = bytes.Clone(body)[:len(body):len(body)] // reading past the end must be a panic here
		before := bytes.Clone(body)
		got, err := table.Apply(route, family, strings.Fields(betas), body, strip...)
		if !bytes.Equal(body, before) {
			t.Fatal("the body is changed")
		}
		from := 0
		for _, e := range got.Edits {
			if e.At < from || e.End < e.At || e.End > len(body) {
				t.Fatalf("edits %v", got.Edits)
			}
			from = e.End
		}
		if len(got.Dropped) > MaxDropped || len(got.Edits) > MaxEdits || len(got.Betas) > MaxBetas {
			t.Fatal("no bound")
		}
		if err != nil {
			if _, refused := errors.AsType[*Refusal](err); !refused && rawjson.Valid(body) == nil && body[skipSpace(body, 0)] == '{' {
				t.Fatal(err)
			}
			return
		}
		if rawjson.Valid(body) != nil || len(got.Dropped) == MaxDropped {
			return
		}
		compare(t, body, Splice(nil, body, got.Edits), slices.Concat(got.Dropped, strip), got.Betas)
	})
}

// compare takes what was dropped out of the decoded original, and moves what the built-in rows rename.
func compare(t *testing.T, body, out []byte, dropped, betas []string) {
	var want, have any
	if json.Unmarshal(body, &want) != nil {
		return // deeper than the decoder goes
	}
	if err := json.Unmarshal(out, &have); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// of members sent twice the decoder takes one, and what is dropped may stand in the other only
	if bytes.Count(body, []byte(`":`)) > 0 && twice(body) {
		return
	}
	if !slices.Contains(dropped, "output_format") {
		move(want, "output_format", "output_config.format")
	}
	if slices.Contains(betas, "tool-search-tool-2025-10-19") { // without it the new place is dropped
		move(want, "tools[].custom.defer_loading", "tools[].defer_loading")
	}
	for _, d := range dropped {
		if kind, tool := strings.CutPrefix(d, "tool:"); tool {
			dropTools(want, kind)
		} else if !strings.HasPrefix(d, "beta:") {
			dropPath(want, strings.Split(d, "."))
		}
	}
	if !reflect.DeepEqual(want, have) {
		t.Fatalf("%s\nbecame %s\nwithout %v", body, out, dropped)
	}
}

// twice reports whether an object has a member twice.
func twice(doc []byte) (found bool) {
	seen := make(map[string]bool)
	below := func(v rawjson.Value) { found = found || twice(v.Raw()) }
	_ = rawjson.Members(doc, func(k, v rawjson.Value) bool {
		name, _ := k.Text()
		found = found || seen[name]
		seen[name] = true
		below(v)
		return !found
	})
	_ = rawjson.Elements(doc, func(v rawjson.Value) bool { below(v); return !found })
	return found
}

func dropTools(v any, kind string) {
	top, _ := v.(map[string]any)
	if tools, ok := top["tools"].([]any); ok {
		top["tools"] = slices.DeleteFunc(tools, func(v any) bool {
			m, _ := v.(map[string]any)
			s, _ := m["type"].(string)
			return s != "" && visible(s) == kind
		})
	}
}

func dropPath(v any, path []string) {
	m, ok := v.(map[string]any)
	if !ok {
		return
	}
	name, array := strings.CutSuffix(path[0], "[]")
	switch {
	case len(path) == 1:
		delete(m, name)
	case array:
		list, _ := m[name].([]any)
		for _, e := range list {
			dropPath(e, path[1:])
		}
	default:
		dropPath(m[name], path[1:])
	}
}

// FuzzParse: rows of an operator that are taken make a table that can be stored, read and applied.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"rows":[` + row + `]}`))
	f.Add([]byte(`{"rows":[{"route":"*","model":"*","kind":"field","name":"tools[].custom.x","action":"rename","to":"tools[].y.z","when":["tools[].custom.x!=1","model=m*"],"evidence":"e"},{"route":"*","model":"*","kind":"beta","name":"*","action":"keep","when":["output_config.effort=*"],"evidence":"e"},{"route":"*","model":"*","kind":"field","name":"speed","action":"rename","to":"output_config.y","evidence":"e"}]}`))
	f.Add([]byte(`{"rows":[{"route":"inv*","model":"*","kind":"tool","name":"a*","action":"rename","to":"b","evidence":"e"},{"route":"*","model":"*","kind":"field","name":"messages[].content[].type","action":"refuse","message":"m","unless":["x"],"evidence":"e"}]}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		table, err := Parse(doc)
		if err != nil {
			return
		}
		stored := table.Overrides()
		again, err := Parse(stored)
		if err != nil || !bytes.Equal(again.Overrides(), stored) {
			t.Fatalf("%v: %s", err, stored)
		}
		for _, s := range seeds {
			got, err := table.Apply(RouteInvoke, "m", []string{"a"}, []byte(s))
			from := 0
			for _, e := range got.Edits {
				if e.At < from || e.End < e.At || e.End > len(s) {
					t.Fatalf("edits %v of %s with %s", got.Edits, s, stored)
				}
				from = e.End
			}
			if err == nil && rawjson.Valid(Splice(nil, []byte(s), got.Edits)) != nil {
				t.Fatalf("%s with %s", s, stored)
			}
		}
	})
}
