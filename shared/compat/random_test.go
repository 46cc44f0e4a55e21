package compat

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sluice/shared/rawjson"
)

// names are the members made at a place, by the name of the member around it; those of "" go anywhere.
var names = map[string][]string{
	"":              {"x", "type", "speed", "quote\\\"", "back\\\\"},
	"top":           {"model", "stream", "sp\\u0065ed", "fallbacks", "context_management", "output_config", "output_format", "tools", "system", "messages", "cache_control"},
	"tools":         {"type", "type", "name", "cache_control", "custom", "defer_loading", "d\\u0065fer_loading"},
	"system":        {"cache_control", "content"},
	"messages":      {"content", "role"},
	"content":       {"content", "cache_control", "caller", "parsed_output", "type", "name"},
	"custom":        {"defer_loading", "other"},
	"cache_control": {"scope", "ttl", "type"},
	"output_config": {"effort", "format"},
}

var values = []string{
	`"advisor_20260301"`, `"advis\u006fr_1"`, `"web_search_20250305"`, `"tool_search_tool_regex_20251119"`, `"custom"`, `"server_tool_use"`,
	`"\\"`, `"\""`, `"}"`, `"],"`, `null`, `true`, `-1.5e3`, `0`, `{}`, `[]`, `[ ]`,
}

// maker makes bodies by chance.
type maker struct {
	*rand.Rand
	out []byte
}

func (m *maker) space() {
	if m.IntN(4) == 0 {
		m.out = append(m.out, " \n\t\r"[m.IntN(4)])
	}
}

// value writes the value of the member at.
func (m *maker) value(at string, depth int) {
	m.space()
	_, known := names[at]
	array := slices.Contains([]string{"tools", "system", "messages", "content"}, at)
	switch {
	case !known || depth > 8 || m.IntN(20) == 0:
		m.out = append(m.out, values[m.IntN(len(values))]...)
	case array:
		m.out = append(m.out, '[')
		for i := range m.IntN(5) {
			if i > 0 {
				m.out = append(m.out, ',')
			}
			m.object(at, depth+1)
		}
		m.out = append(m.out, ']')
	default:
		m.object(at, depth+1)
	}
	m.space()
}

func (m *maker) object(at string, depth int) {
	m.out = append(m.out, '{')
	from := slices.Concat(names[at], names[""])
	for i := range m.IntN(6) {
		if i > 0 {
			m.out = append(m.out, ',')
		}
		at := m.IntN(len(from))
		name := from[at]
		from = slices.Delete(from, at, at+1)
		m.space()
		m.out = append(append(append(m.out, '"'), name...), '"')
		m.space()
		m.out = append(m.out, ':')
		m.value(name, depth)
	}
	m.space()
	m.out = append(m.out, '}')
}

// TestRandomBodies: of bodies full of what rows name, only that goes.
func TestRandomBodies(t *testing.T) {
	table := Builtin()
	m := &maker{Rand: rand.New(rand.NewPCG(7, 9))}
	families := []string{"claude-opus-5", "claude-3-haiku", "claude-opus-4-7", "claude-sonnet-4", "claude-haiku-4-5"}
	betas := []string{"context-management-2025-06-27", "tool-search-tool-2025-10-19"}
	seen := make(map[string]int)
	for range 8000 {
		m.out = m.out[:0]
		m.space()
		m.object("top", 0)
		m.space()
		body := slices.Clone(m.out)
		var strip []string
		if m.IntN(2) == 0 {
			strip = []string{"model", "stream"}
		}
		got, err := table.Apply(routes[m.IntN(3)], families[m.IntN(len(families))], betas[:m.IntN(3)], body, strip...)
		if _, refused := errors.AsType[*Refusal](err); refused {
			seen["refused"]++
			continue
		}
		if err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		out := Splice(nil, body, got.Edits)
		if err := rawjson.Valid(out); err != nil {
			t.Fatalf("%v: %s\nbecame %s", err, body, out)
		}
		compare(t, body, out, slices.Concat(got.Dropped, strip), got.Betas)
		for _, d := range got.Dropped {
			seen[d]++
		}
		for _, moved := range []string{`"format":`, `{"output_config":{"format":`, `{"defer_loading":`} {
			for _, e := range got.Edits {
				if strings.Contains("{"+string(e.With), moved) {
					seen[moved]++
				}
			}
		}
		if len(got.Edits) == 0 && !strings.Contains(string(body), "scope") {
			seen["nothing"]++
		}
	}
	for _, what := range []string{
		"refused", "nothing", "output_format", `"format":`, `{"output_config":{"format":`, `{"defer_loading":`, "speed", "fallbacks", "cache_control", "tools[].custom", "tools[].cache_control.scope", "system[].cache_control.ttl",
		"messages[].content[].cache_control.scope", "messages[].content[].content[].cache_control.scope", "messages[].content[].caller",
		"output_config", "output_config.effort", "tool:advisor_20260301", "tool:advisor_1", "tool:advisor_20260301.cache_control",
	} {
		if seen[what] < 10 {
			t.Errorf("%s: %d times", what, seen[what])
		}
	}
}
