package compat

import (
	"fmt"
	"strings"
	"testing"

	"sluice/shared/rawjson"
)

// conversation is a body of about 200 KB as coding clients send them: tools with schemas, source code, tool results.
func conversation(tool string) []byte {
	var b strings.Builder
	b.WriteString(`{"model":"claude-opus-5","max_tokens":32000,"stream":true,"system":[{"type":"text","text":"You help.","cache_control":{"type":"ephemeral","ttl":"1h"}}],"tools":[`)
	b.WriteString(tool)
	for i := range 30 {
		fmt.Fprintf(&b, `{"name":"tool%d","description":%q,"input_schema":{"type":"object","properties":{`, i, strings.Repeat("What this does, and when. ", 30))
		for j := range 8 {
			fmt.Fprintf(&b, `"p%d":{"type":"string","description":"The parameter of the tool, one of several"},`, j)
		}
		b.WriteString(`"last":{"type":"number"}},"required":["p1"],"additionalProperties":false}},`)
	}
	b.WriteString(`{"name":"end","input_schema":{}}],"messages":[`)
	code := string(rawjson.AppendString(nil, strings.Repeat("\tif err != nil {\n\t\treturn fmt.Errorf(\"open %q: %w\", path, err)\n\t}\n", 60)))
	for i := 0; b.Len() < 200<<10; i++ {
		fmt.Fprintf(&b, `{"role":"assistant","content":[{"type":"text","text":"Let me see."},{"type":"tool_use","id":"toolu_%d","name":"tool1","input":{"p1":"x"}}]},`, i)
		fmt.Fprintf(&b, `{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_%d","content":[{"type":"text","text":%s}]}]},`, i, code)
	}
	b.WriteString(`{"role":"user","content":[{"type":"text","text":"go on","cache_control":{"type":"ephemeral"}}]}],"metadata":{"user_id":"u"}}`)
	return []byte(b.String())
}

var flags = []string{"claude-code-20250219", "interleaved-thinking-2025-05-14", "context-management-2025-06-27", "effort-2025-11-24"}

func benchApply(b *testing.B, table *Table, body []byte) {
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := table.Apply(RouteMantle, "claude-opus-5", flags, body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkApplyNothing200K(b *testing.B) { benchApply(b, Builtin(), conversation("")) }

func BenchmarkApplyAdvisor200K(b *testing.B) {
	benchApply(b, Builtin(), conversation(`{"type":"advisor_20260301","name":"advisor"},`))
}

// BenchmarkValid200K is the yardstick: the check that every body passes anyway.
func BenchmarkValid200K(b *testing.B) {
	body := conversation("")
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := rawjson.Valid(body); err != nil {
			b.Fatal(err)
		}
	}
}

// TestFastPath: where nothing applies, nothing is allocated, nothing is edited and the flags are the caller's.
func TestFastPath(t *testing.T) {
	table, body := Builtin(), conversation("")
	got, err := table.Apply(RouteMantle, "claude-opus-5", flags, body)
	if err != nil || got.Edits != nil || got.Dropped != nil || &got.Betas[0] != &flags[0] {
		t.Fatalf("%+v, %v", got, err)
	}
	strip := []string{"none"}
	if n := testing.AllocsPerRun(20, func() { _, _ = table.Apply(RouteMantle, "claude-opus-5", flags, body, strip...) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
