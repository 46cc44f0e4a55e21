package translator_test

import (
	"strconv"
	"strings"
	"testing"

	"sluice/shared/translator"
)

func TestFitNames(t *testing.T) {
	long := "mcp__server__" + strings.Repeat("tool_with_a_long_name_", 4)
	r := &translator.Request{
		Tools:      []translator.Tool{{Name: "f"}, {Name: long}, {Name: long + "2"}, {Name: "a.b"}},
		ToolChoice: &translator.ToolChoice{Type: translator.ChoiceTool, Name: long, Allowed: []string{"f", long}},
		Messages: []translator.Message{{Content: []translator.Block{{Text: translator.EmptyString}}},
			{Role: translator.RoleAssistant, Content: []translator.Block{{Type: translator.BlockToolUse, Name: "f"}, {Type: translator.BlockToolUse, Name: long}}}},
	}
	out, names := r.FitNames(translator.NameOpenAI)
	if len(names) != 3 || out == r || r.Tools[1].Name != long || r.ToolChoice.Name != long || r.Messages[1].Content[1].Name != long {
		t.Fatalf("the request itself was changed, or not all names: %v", names)
	}
	seen := map[string]bool{}
	for i, tool := range out.Tools {
		if len(tool.Name) > 64 || strings.Contains(tool.Name, ".") || seen[tool.Name] {
			t.Errorf("%q does not fit", tool.Name)
		}
		seen[tool.Name] = true
		if i > 0 && names[tool.Name] != r.Tools[i].Name {
			t.Errorf("%q leads back to %q", tool.Name, names[tool.Name])
		}
	}
	short := out.Tools[1].Name
	if out.ToolChoice.Name != short || out.ToolChoice.Allowed[1] != short || out.Messages[1].Content[1].Name != short || out.Messages[1].Content[0].Name != "f" {
		t.Errorf("not the same name everywhere: %+v", out)
	}
	if again, _ := r.FitNames(translator.NameOpenAI); again.Tools[1].Name != short {
		t.Error("another name in the next request")
	}
	plain := &translator.Request{Tools: []translator.Tool{{Name: "f"}}, ToolChoice: &translator.ToolChoice{}}
	if out, names := plain.FitNames(64); out != plain || names != nil {
		t.Error("a request whose names fit was copied")
	}

	var c translator.Collector
	b := translator.NewBuilder(c.Event)
	b.Rename(names)
	b.Start("x")
	b.Tool(0, "id", short, false)
	b.Stop(translator.StopToolUse, nil)
	b.End()
	if c.Reply.Blocks[0].Name != long {
		t.Errorf("the call came back as %q", c.Reply.Blocks[0].Name)
	}
}

func TestFitNamesTo(t *testing.T) {
	rule := translator.NameRule{Most: 64, Identifier: true}
	for _, c := range []struct {
		why, name string
		fits      bool
		prefix    string
	}{
		{"letters, digits and underscores", "mcp__files__read_2", true, ""},
		{"the longest", strings.Repeat("a", 64), true, ""},
		{"one more", strings.Repeat("a", 65), false, "aaaa"},
		{"a dash, which other targets take", "get-weather", false, "get_weather_"},
		{"a dot", "a.b", false, "a_b_"},
		{"no letter first", "_x", false, "t_x_"},
		{"a digit first", "7zip", false, "t7zip_"},
		{"no character that fits", "天气", false, "t______"},
		{"nothing", "", false, "t_"},
	} {
		r := &translator.Request{Tools: []translator.Tool{{Name: c.name}}}
		out, names := r.FitNamesTo(rule)
		got := out.Tools[0].Name
		if (got == c.name) != c.fits || !c.fits && names[got] != c.name || !strings.HasPrefix(got, c.prefix) || len(got) > 64 {
			t.Errorf("%s: %q became %q, which leads back to %q", c.why, c.name, got, names[got])
		}
		if again, _ := out.FitNamesTo(rule); again != out {
			t.Errorf("%s: %q does not fit itself", c.why, got)
		}
	}
	r := &translator.Request{Tools: []translator.Tool{{Name: "a-b"}, {Name: "a.b"}, {Name: "a_b"}}}
	out, names := r.FitNamesTo(rule)
	if len(names) != 2 || out.Tools[0].Name == out.Tools[1].Name || out.Tools[2].Name != "a_b" {
		t.Errorf("names that differ in what is lost: %+v", out.Tools)
	}
}

// A body with a million unknown fields must not cost a million comparisons for each of them.
func TestEncoded_DropsAreBounded(t *testing.T) {
	var e translator.Encoded
	for i := range 100_000 {
		e.Drop(strconv.Itoa(i))
		e.Drop("0")
	}
	if len(e.Dropped) > 100 || e.Dropped[0] != "0" || e.Dropped[1] != "1" {
		t.Errorf("%d are noted", len(e.Dropped))
	}
}
