package compat

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

var routes = []string{RouteMantle, RouteRuntime, RouteInvoke}

// TestProbedBetas has the lists of the flags that were probed live on InvokeModel: the built-in table says the same of each,
// for a model without rows of its own, on every route.
func TestProbedBetas(t *testing.T) {
	accepted := `computer-use-2024-10-22 computer-use-2025-01-24 context-1m-2025-08-07 context-management-2025-06-27
		dev-full-thinking-2025-05-14 fine-grained-tool-streaming-2025-05-14 interleaved-thinking-2025-05-14 mcp-client-2025-04-04
		mcp-client-2025-11-20 model-context-window-exceeded-2025-08-26 output-128k-2025-02-19 pdfs-2024-09-25
		search-results-2025-06-09 token-counting-2024-11-01 token-efficient-tools-2025-02-19 tool-search-tool-2025-10-19
		web-search-2025-03-05`
	rejected := `prompt-caching-2024-07-31 extended-cache-ttl-2025-04-11 files-api-2025-04-14 code-execution-2025-05-22
		memory-2025-08-18 thinking-token-count-2026-05-13`
	table := Builtin()
	named := func(beta string) bool {
		return slices.ContainsFunc(table.Rows(), func(r Row) bool { return r.Kind == KindBeta && r.Name == beta && r.Model == "*" })
	}
	for _, route := range routes {
		for _, b := range strings.Fields(accepted) {
			if got := run(t, table, route, "claude-opus-5", b, `{}`); got.betas != b || got.dropped != "" || !named(b) {
				t.Errorf("%s %s: %+v", route, b, got)
			}
		}
		for _, b := range strings.Fields(rejected) {
			if got := run(t, table, route, "claude-opus-5", b, `{}`); got.betas != "" || got.dropped != "beta:"+b || !named(b) {
				t.Errorf("%s %s: %+v", route, b, got)
			}
		}
		if got := run(t, table, route, "claude-opus-5", "advanced-tool-use-2025-11-20", `{}`); got.betas != "tool-search-tool-2025-10-19" {
			t.Errorf("%s: %+v", route, got)
		}
	}
}

// bodyWith makes a body that has value at the path.
func bodyWith(path, value string) string {
	segments := strings.Split(path, ".")
	for _, s := range slices.Backward(segments) {
		if name, array := strings.CutSuffix(s, "[]"); array {
			value = fmt.Sprintf(`{"x":1,%q:[0,%s]}`, name, value)
		} else {
			value = fmt.Sprintf(`{"x":1,%q:%s}`, s, value)
		}
	}
	return value
}

// TestEveryBuiltinRow: each row is the one that holds somewhere, and does there what it says.
func TestEveryBuiltinRow(t *testing.T) {
	table := Builtin()
	for i := range table.rows {
		r := &table.rows[i]
		t.Run(fmt.Sprintf("%s %s %s %s %v", r.Route, r.Model, r.Kind, r.Name, r.When), func(t *testing.T) {
			in := routes
			if r.Route != "*" {
				in = []string{r.Route}
			}
			for _, route := range in {
				family := strings.Replace(r.Model, "*", "9", 1)
				if r.Model == "*" {
					family = "claude-opus-5"
				}
				name := strings.Replace(r.Name, "*", "20990101", 1)
				if r.Kind == KindField && r.Action == Rename {
					exerciseMove(t, r, route, family)
					continue
				}
				exercise(t, table, r, route, family, name)
				for _, flag := range r.Unless {
					sent, err := Parse(fmt.Appendf(nil, `{"rows":[{"route":%q,"model":%q,"kind":"beta","name":%q,"action":"keep","evidence":"test"}]}`, route, family, flag))
					if err != nil {
						t.Fatal(err)
					}
					kept := *r
					kept.Action = Keep
					exercise(t, sent, &kept, route, family, name, flag)
				}
			}
		})
	}
}

// exercise checks that r holds for what it names.
func exercise(t *testing.T, table *Table, r *Row, route, family, name string, betas ...string) {
	t.Helper()
	value := "v"
	for _, c := range r.When { // of the built-in rows all are about the field itself
		value = strings.TrimPrefix(c, name+"=")
	}
	report, refused, body := name, name, bodyWith(name, `"`+value+`"`)
	switch r.Kind {
	case KindBeta:
		betas, body, report = []string{name}, `{}`, "beta:"+name
	case KindTool:
		body, report, refused = fmt.Sprintf(`{"tools":[{"name":"x"},{"type":%q,"name":"y"}]}`, name), "tool:"+name, "tools.1"
	}
	got, err := table.Apply(route, family, betas, []byte(body))
	if r.Action == Refuse {
		if ref, ok := errors.AsType[*Refusal](err); !ok || ref.Field != refused || ref.Message != r.Message {
			t.Errorf("%s: %v", route, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if dropped := slices.Contains(got.Dropped, report); dropped != (r.Action == Drop) {
		t.Errorf("%s: dropped %v", route, got.Dropped)
	}
	want := map[Action]string{Keep: name, Rename: r.To}[r.Action]
	if r.Kind == KindBeta && strings.Join(got.Betas, " ") != want {
		t.Errorf("%s: sent %v", route, got.Betas)
	}
	if r.Kind != KindBeta && (len(got.Edits) > 0) != (r.Action == Drop) {
		t.Errorf("%s: edits %v", route, got.Edits)
	}
	if r.Kind == KindTool && r.Action == Drop && r.Message == "" {
		t.Errorf("no message for when the tool is used")
	}
}

// exerciseMove checks that r takes a field to its new place, where that is not left out.
func exerciseMove(t *testing.T, r *Row, route, family string) {
	t.Helper()
	table, err := Parse(fmt.Appendf(nil, `{"rows":[{"route":%q,"model":%q,"kind":"field","name":%q,"action":"keep","evidence":"test"}]}`, route, family, r.To))
	if err != nil {
		t.Fatal(err)
	}
	got := run(t, table, route, family, "", bodyWith(r.Name, `"v"`))
	top := strings.Split(below(r.To)[0], ".")[0]
	if strings.Contains(got.dropped, r.Name+" ") || !strings.Contains(got.body, fmt.Sprintf(`{%q:`, top)) || strings.Count(got.body, `"v"`) != 1 {
		t.Errorf("%s: %+v", route, got)
	}
}

// TestBuiltinFile: one row a line, so that it reads as a table and a change is one line.
func TestBuiltinFile(t *testing.T) {
	data, err := os.ReadFile("table.json")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	if lines[0] != `{"rows": [` || lines[len(lines)-1] != `]}` || len(lines) != len(Builtin().rows)+2 {
		t.Errorf("the frame of the file: %d lines", len(lines))
	}
	for _, l := range lines[1 : len(lines)-1] {
		if !strings.HasPrefix(l, `{"route":`) || !json.Valid([]byte(strings.TrimSuffix(l, ","))) {
			t.Errorf("not a row: %s", l)
		}
		if !strings.Contains(l, "202") {
			t.Errorf("evidence without a day: %s", l)
		}
	}
}

const row = `{"route":"*","model":"*","kind":"field","name":"a.b","action":"drop","evidence":"test"}`

func TestParseRefuses(t *testing.T) {
	with := func(old, new string) string { return `{"rows":[` + strings.Replace(row, old, new, 1) + `]}` }
	tests := []struct{ why, doc, want string }{
		{"not JSON", `rows`, "not a document"},
		{"another form", `[]`, "not a document"},
		{"an unknown member, most likely a slip", with(`"action"`, `"do":"","action"`), "unknown field"},
		{"something behind", with("a", "a") + "{}", "behind"},
		{"an unknown action", with(`"drop"`, `"delete"`), `action "delete" is unknown`},
		{"an unknown kind", with(`"field"`, `"header"`), `kind "header" is unknown`},
		{"no evidence", with(`"evidence":"test"`, `"evidence":" "`), "evidence is missing"},
		{"no route", with(`"route":"*"`, `"route":""`), "route must have"},
		{"no model", with(`"model":"*",`, ``), "model must have"},
		{"a long name", with("a.b", strings.Repeat("a", 129)), "name must have"},
		{"a line break", with(`"test"`, `"te\nst"`), "evidence must be"},
		{"a long message", with(`"evidence"`, `"message":"`+strings.Repeat("a", 401)+`","evidence"`), "message must be"},
		{"paths are no patterns", with("a.b", "a.*"), "not taken there"},
		{"a path that ends in an array", with("a.b", "a[]"), "not the path of a member"},
		{"a path with an empty name", with("a.b", "a..b"), "not the path of a member"},
		{"a bracket in a name", with("a.b", "a[0].b"), "not the path of a member"},
		{"arrays too deep", with("a.b", "a[].b[].c[].d[].e"), "too deep"},
		{"a path too long", with("a.b", "a.b.c.d.e.f.g.h.i"), "too deep"},
		{"no request without it", with("a.b", "messages"), "cannot be dropped"},
		{"a refusal that says nothing", with(`"drop"`, `"refuse"`), "message is missing"},
		{"a field renamed to itself", with(`"drop"`, `"rename","to":"a.b"`), "name itself"},
		{"a field renamed to nothing", with(`"drop"`, `"rename"`), "to must have"},
		{"a field renamed to no path", with(`"drop"`, `"rename","to":"a..c"`), "not the path of a member"},
		{"a field renamed to a pattern", with(`"drop"`, `"rename","to":"a.*"`), "not taken there"},
		{"a field renamed into itself", with(`"drop"`, `"rename","to":"a.b.c"`), "one in the other"},
		{"a field renamed to what it is in", with(`"drop"`, `"rename","to":"a"`), "one in the other"},
		{"a field taken into elements", with(`"drop"`, `"rename","to":"c[].b"`), "same arrays"},
		{"a field taken out of its element", with(`"a.b","action":"drop"`, `"a[].b","action":"rename","to":"b"`), "same arrays"},
		{"a field taken to elements of another array", with(`"a.b","action":"drop"`, `"a[].b","action":"rename","to":"c[].b"`), "same arrays"},
		{"a field in place of what every request has", with(`"drop"`, `"rename","to":"messages"`), "every request has"},
		{"no request without what is renamed", with(`"a.b","action":"drop"`, `"model","action":"rename","to":"c"`), "cannot be dropped or renamed"},
		{"a condition without a value", with(`"drop"`, `"drop","when":["a.b"]`), "is no condition"},
		{"a condition on nothing", with(`"drop"`, `"drop","when":["a.b="]`), "is no condition"},
		{"a condition without a path", with(`"drop"`, `"drop","when":["=1"]`), "when must have"},
		{"a condition on a pattern of paths", with(`"drop"`, `"drop","when":["a.*=1"]`), "not taken there"},
		{"a condition on no path", with(`"drop"`, `"drop","when":["a[]=1"]`), "not the path of a member"},
		{"a condition on elements of which the field is in none", with(`"drop"`, `"drop","when":["tools[].type=x"]`), "not about something in the same element"},
		{"a flag is in no element", `{"rows":[{"route":"*","model":"*","kind":"beta","name":"a","action":"drop","when":["tools[].type=x"],"evidence":"test"}]}`, "not about something in the same element"},
		{"a name that begins like the array's", with(`"a.b","action":"drop"`, `"ab[].c","action":"drop","when":["a[].c=1"]`), "not about something in the same element"},
		{"too many conditions", with(`"drop"`, `"drop","when":["a=1","a=2","a=3","a=4","a=5"]`), "at most 4"},
		{"a condition twice", with(`"drop"`, `"drop","when":["a=1","a=1"]`), "twice"},
		{"two rows for the same conditions, in another order", `{"rows":[` + with1(`"when":["a=1","c=2"]`) + `,` + with1(`"when":["c=2","a=1"]`) + `]}`, "row 2: there is a row for the same"},
		{"to without rename", with(`"drop"`, `"drop","to":"b"`), "to goes with"},
		{"rename to nothing", `{"rows":[{"route":"*","model":"*","kind":"beta","name":"a","action":"rename","evidence":"test"}]}`, "to must have"},
		{"rename to itself", `{"rows":[{"route":"*","model":"*","kind":"beta","name":"a","action":"rename","to":"a","evidence":"test"}]}`, "name itself"},
		{"unless with a flag", `{"rows":[{"route":"*","model":"*","kind":"beta","name":"a","action":"drop","unless":["b"],"evidence":"test"}]}`, "unless goes with"},
		{"unless with keep", with(`"drop"`, `"keep","unless":["b"]`), "unless goes with"},
		{"unless a pattern", with(`"drop"`, `"drop","unless":["b*"]`), "not taken there"},
		{"unless too many", with(`"drop"`, `"drop","unless":["1","2","3","4","5","6","7","8","9"]`), "at most 8"},
		{"two rows for the same that contradict", `{"rows":[` + row + `,` + strings.Replace(row, "drop", "keep", 1) + `]}`, "row 2: there is a row for the same"},
		{"too many rows", `{"rows":[` + strings.TrimSuffix(strings.Repeat(`{},`, MaxRows+1), ",") + `]}`, "at most 500"},
		{"too long", `{"rows":[` + strings.Repeat(" ", 1<<20) + `]}`, "too long"},
		{"too long to store", longRows(), "too long"},
	}
	for _, c := range tests {
		t.Run(c.why, func(t *testing.T) {
			if _, err := Parse([]byte(c.doc)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

// with1 is a row with one member more.
func with1(member string) string { return strings.Replace(row, `"evidence"`, member+`,"evidence"`, 1) }

func longRows() string {
	var rows []string
	for i := range 180 {
		rows = append(rows, strings.Replace(strings.Replace(row, "a.b", fmt.Sprint("a", i), 1), "test", strings.Repeat("e", 380), 1))
	}
	return `{"rows":[` + strings.Join(rows, ",") + `]}`
}

func TestPrecedence(t *testing.T) {
	beta := func(route, model, name string, a Action) string {
		return fmt.Sprintf(`{"route":%q,"model":%q,"kind":"beta","name":%q,"action":%q,"evidence":"test"}`, route, model, name, a)
	}
	tests := []struct {
		why  string
		rows []string
		keep bool // the flag b on RouteInvoke for claude-opus-9
	}{
		{"no row", nil, false},
		{"a row", []string{beta("*", "*", "b", Keep)}, true},
		{"the model counts most", []string{beta("*", "claude-opus-9", "*", Drop), beta("invoke", "claude-*", "b", Keep)}, false},
		{"then the route", []string{beta("*", "*", "b", Keep), beta("invoke", "*", "*", Drop)}, false},
		{"then the name", []string{beta("*", "*", "b", Keep), beta("*", "*", "b*", Drop)}, true},
		{"a longer pattern is more specific", []string{beta("*", "claude-opus-*", "b", Keep), beta("*", "claude-*", "b", Drop)}, true},
		{"of equals the later", []string{beta("*", "claude-opus-*", "b", Drop), beta("*", "*laude-opus-9", "b", Keep)}, true},
		{"of equals the later, the other way", []string{beta("*", "*laude-opus-9", "b", Keep), beta("*", "claude-opus-*", "b", Drop)}, false},
		{"rows of others", []string{beta("messages-*", "*", "b", Keep), beta("*", "claude-sonnet-*", "b", Keep)}, false},
	}
	for _, c := range tests {
		t.Run(c.why, func(t *testing.T) {
			table, err := Parse([]byte(`{"rows":[` + strings.Join(c.rows, ",") + `]}`))
			if err != nil {
				t.Fatal(err)
			}
			if got := run(t, table, RouteInvoke, "claude-opus-9", "b", `{}`); (got.betas == "b") != c.keep {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestOperator: rows laid over the built-in ones, listed, stored and read again.
func TestOperator(t *testing.T) {
	own := `{"rows":[
		{"route":"*","model":"*","kind":"beta","name":"files-api-2025-04-14","action":"keep","evidence":"works since today"},
		{"route":"*","model":"nova-*","kind":"field","name":"thinking","action":"refuse","message":"is not for this model","evidence":"ours"},
		{"route":"invoke","model":"*","kind":"tool","name":"computer_20250124","action":"rename","to":"computer_20251124","evidence":"ours"}]}`
	table, err := Parse([]byte(own))
	if err != nil {
		t.Fatal(err)
	}
	builtin := len(Builtin().Rows())
	listed, err := json.Marshal(table)
	if err != nil {
		t.Fatal(err)
	}
	rows := table.Rows()
	if len(rows) != builtin+2 || rows[0].Source != BuiltIn || !rows[builtin-1].Replaces || rows[builtin+1].Source != Operator || rows[builtin+1].Replaces {
		t.Errorf("%d rows: %+v", len(rows), rows[builtin-1:])
	}
	for name, doc := range map[string][]byte{"as stored": table.Overrides(), "as listed": listed} {
		again, err := Parse(doc)
		if err != nil {
			t.Fatal(name, err)
		}
		if same, _ := json.Marshal(again); string(same) != string(listed) {
			t.Errorf("%s: %s", name, same)
		}
	}
	if stored := string(table.Overrides()); strings.Contains(stored, BuiltIn) || strings.Contains(stored, "replaces") {
		t.Error(stored)
	}
	if stored := string(Builtin().Overrides()); stored != `{"rows":[]}` {
		t.Error(stored)
	}
	if got := run(t, table, RouteInvoke, "claude-opus-5", "files-api-2025-04-14", `{}`); got.betas != "files-api-2025-04-14" {
		t.Errorf("%+v", got)
	}
	if got := run(t, table, RouteInvoke, "nova-2", "", `{"thinking":{"type":"enabled"}}`); got.refused != "thinking" {
		t.Errorf("%+v", got)
	}
	got := run(t, table, RouteInvoke, "claude-opus-5", "", `{"tools":[{"type":"advisor_1"},{"defer_loading":true,"type":"computer_20250124","custom":1}]}`)
	if want := `{"tools":[{"type":"computer_20251124"}]}`; got.body != want {
		t.Errorf("%+v", got)
	}
	rows[0].Action, rows[0].Name = "x", "y"
	if table.Rows()[0].Name == "y" {
		t.Error("the copy is the table")
	}
}

func TestConcurrent(t *testing.T) {
	table := Builtin()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if got, err := table.Apply(RouteInvoke, "claude-opus-4-7", []string{"a", "pdfs-2024-09-25"}, []byte(`{"speed":1}`)); err != nil || len(got.Dropped) != 3 {
					t.Error(got, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestFamily(t *testing.T) {
	tests := map[string]string{
		"claude-opus-4-7":                                  "claude-opus-4-7",
		"anthropic.claude-opus-5-5":                        "claude-opus-5-5",
		"us.anthropic.claude-opus-4-7":                     "claude-opus-4-7",
		"global.anthropic.claude-sonnet-4-5-20250929-v1:0": "claude-sonnet-4-5",
		"anthropic.claude-opus-4-6-v1":                     "claude-opus-4-6",
		"us.anthropic.claude-sonnet-4-20250514-v1:0":       "claude-sonnet-4",
		"apac.anthropic.claude-3-7-sonnet-20250219-v1:0":   "claude-3-7-sonnet",
		"anthropic.claude-3-haiku-20240307-v1:0:48k":       "claude-3-haiku",
		"claude-3-5-haiku-latest":                          "claude-3-5-haiku",
		"claude-opus-4-6[1m]":                              "claude-opus-4-6",
		"Claude-Haiku-4-5-20251001":                        "claude-haiku-4-5",
		"arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-opus-4-7": "claude-opus-4-7",
		"arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-opus-4-1-20250805-v1:0":   "claude-opus-4-1",
		"arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/ab12cd34":         "ab12cd34",
		"us.amazon.nova-pro-v1:0": "us.amazon.nova-pro",
		"":                        "", "-": "-", "anthropic.": "", "-v1": "",
	}
	for in, want := range tests {
		if got := Family(in); got != want {
			t.Errorf("Family(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestGlob(t *testing.T) {
	tests := []struct {
		pattern, s string
		want       bool
	}{
		{"a", "a", true}, {"a", "ab", false}, {"a", "", false}, {"", "", true}, {"*", "", true}, {"*", "abc", true},
		{"a*", "a", true}, {"a*c", "abbc", true}, {"a*c", "abcd", false}, {"*b*", "abc", true}, {"a*b*c", "aXbYbZc", true},
		{"a*b*c", "acb", false}, {"**", "x", true}, {"a.c", "abc", false}, {"[ab]", "a", false},
	}
	for _, c := range tests {
		if got := glob(c.pattern, c.s); got != c.want {
			t.Errorf("glob(%q, %q) = %v", c.pattern, c.s, got)
		}
	}
}
