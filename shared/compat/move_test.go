package compat

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sluice/shared/rawjson"
)

// renames lays rows over the built-in table: from and to of fields, with members of the row behind.
func renames(t testing.TB, rows ...string) *Table {
	t.Helper()
	var list []string
	for _, r := range rows {
		f := strings.SplitN(r, " ", 3)
		more := ""
		if len(f) == 3 {
			more = "," + f[2]
		}
		list = append(list, fmt.Sprintf(`{"route":"*","model":"*","kind":"field","name":%q,"action":"rename","to":%q%s,"evidence":"test"}`, f[0], f[1], more))
	}
	table, err := Parse([]byte(`{"rows":[` + strings.Join(list, ",") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestRenameField(t *testing.T) {
	const loaded = "tool-search-tool-2025-10-19"
	tests := []struct {
		why  string
		rows []string // besides the built-in ones
		in   string
		want applied
		of   string // the family; empty: claude-opus-5
		beta string
	}{
		{why: "vercel/ai#12298: into an object that is there", in: `{"output_format":{"type":"json_schema"},"output_config":{"effort":"low"},"a":1}`, want: applied{body: `{"output_config":{"format":{"type":"json_schema"},"effort":"low"},"a":1}`}},
		{why: "that stands before it", in: `{"a":1, "output_config":{"effort":"low"}, "output_format":{"type":"t"}}`, want: applied{body: `{"a":1, "output_config":{"format":{"type":"t"},"effort":"low"}}`}},
		{why: "that is empty", in: `{"output_config":{ },"output_format":1}`, want: applied{body: `{"output_config":{"format":1 }}`}},
		{why: "that is not there", in: `{"a":1,"output_format":{"type":"t"}}`, want: applied{body: `{"output_config":{"format":{"type":"t"}},"a":1}`}},
		{why: "and nothing else is", in: `{ "output_format" : 1 }`, want: applied{body: `{"output_config":{"format":1}  }`}},
		{why: "and nothing else stays", in: `{"speed":1,"output_format":1,"fallbacks":2}`, want: applied{body: `{"output_config":{"format":1}}`, dropped: "speed fallbacks"}},
		{why: "the last that stays is one that is dropped in part", in: `{"speed":1,"output_format":1,"system":[{"cache_control":{"scope":1}}]}`,
			want: applied{body: `{"output_config":{"format":1},"system":[{"cache_control":{}}]}`, dropped: "speed system[].cache_control.scope"}},
		{why: "the client's own goes before it", in: `{"output_format":1,"output_config":{"format":2}}`, want: applied{body: `{"output_config":{"format":2}}`, dropped: "output_format"}},
		{why: "sent twice, the first goes", in: `{"output_format":1,"output_format":2}`, want: applied{body: `{"output_config":{"format":1}}`, dropped: "output_format"}},
		{why: "no place beside what is no object", in: `{"output_format":1,"output_config":"x"}`, want: applied{refused: "output_format"}},
		{why: "nor beside an array", in: `{"output_format":1,"output_config":[]}`, want: applied{refused: "output_format"}},
		{why: "a null is no object, and takes no place", in: `{"output_config":null,"output_format":{"type":"t"}}`, want: applied{body: `{"output_config":{"format":{"type":"t"}}}`}},
		{why: "at the end of the way, too", in: `{"output_format":1,"output_config":{"effort":"low","format": null}}`, want: applied{body: `{"output_config":{"effort":"low","format": 1}}`}},
		{why: "a null moves nothing", in: `{"a":1,"output_format":null}`, want: applied{body: `{"a":1}`, dropped: "output_format"}},
		{why: "and needs no place", in: `{"output_config":"x","output_format":null}`, want: applied{body: `{"output_config":"x"}`, dropped: "output_format"}},
		{why: "both", in: `{"output_config":null,"output_format":null}`, want: applied{body: `{"output_config":null}`, dropped: "output_format"}},
		{why: "the second goes where the first is null", in: `{"output_format":null,"output_format":2}`, want: applied{body: `{"output_config":{"format":2}}`, dropped: "output_format"}},
		{why: "what has a null in its new place is refused all the same", of: "claude-opus-4-7", in: `{"output_config":null,"output_format":{"type":"t"}}`, want: applied{refused: "output_format"}},
		{why: "several into one null", rows: []string{"a n.x", "b n.m.y"}, in: `{"b":2,"n":null,"a":1}`, want: applied{body: `{"n":{"m":{"y":2},"x":1}}`}},
		{why: "only the name differs, and a null has it", rows: []string{"a.b a.c", "a q"}, in: `{"a":{"c":null,"b":{"d":1}}}`, want: applied{body: `{"q":{"c":{"d":1}}}`}},
		{why: "in an object that goes elsewhere", rows: []string{"a.b a.c", "a n.q"}, in: `{"a":{"x":1,"c":null,"b":2}}`, want: applied{body: `{"n":{"q":{"x":1,"c":2}}}`}},
		{why: "a null that goes itself leaves its name", rows: []string{"b c", "c n.d"}, in: `{"c":null,"b":2}`, want: applied{body: `{"c":2}`, dropped: "c"}},
		{why: "the new place is refused", of: "claude-opus-4-7", in: `{"output_format":{"type":"t"}}`, want: applied{refused: "output_format"}},
		{why: "unless it asks for nothing", of: "claude-opus-4-7", in: `{"output_format":{},"a":1}`, want: applied{body: `{"a":1}`, dropped: "output_format"}},
		{why: "the new place is refused below one that is dropped", of: "claude-3-haiku", in: `{"output_format":{"type":"t"}}`, want: applied{refused: "output_format"}},
		{why: "the new place is dropped", rows: []string{"x output_config.effort"}, of: "claude-haiku-4-5", in: `{"x":"low","a":1}`, want: applied{body: `{"a":1}`, dropped: "x"}},
		{why: "the new place is dropped for some values, and this is one", rows: []string{"x output_config.effort"}, of: "claude-opus-4-5", beta: "effort-2025-11-24", in: `{"x":"max","a":1}`,
			want: applied{body: `{"a":1}`, betas: "effort-2025-11-24", dropped: "x"}},
		{why: "and this is none", rows: []string{"x output_config.effort"}, of: "claude-opus-4-5", beta: "effort-2025-11-24", in: `{"x":"low","a":1}`,
			want: applied{body: `{"output_config":{"effort":"low"},"a":1}`, betas: "effort-2025-11-24"}},
		{why: "litellm#36855: out of an object that goes, in each tool", beta: loaded, in: `{"tools":[{"name":"a","custom":{"defer_loading":true,"x":1}},{"custom":{"x":1},"name":"b"},{"custom":{"defer_loading":true},"defer_loading":false}]}`,
			want: applied{body: `{"tools":[{"defer_loading":true,"name":"a"},{"name":"b"},{"defer_loading":false}]}`, betas: loaded, dropped: "tools[].custom"}},
		{why: "not where its flag is not sent", in: `{"tools":[{"name":"a","custom":{"defer_loading":true}}]}`, want: applied{body: `{"tools":[{"name":"a"}]}`, dropped: "tools[].custom"}},
		{why: "a tool that goes takes it along", beta: loaded, in: `{"tools":[{"name":"a"},{"type":"advisor_1","name":"b","custom":{"defer_loading":true}}]}`,
			want: applied{body: `{"tools":[{"name":"a"}]}`, betas: loaded, dropped: "tool:advisor_1"}},

		{why: "only the name differs: the value is not touched", rows: []string{"a.b a.c"}, in: `{"a" : { "x":1, "b" : [ 1 ] , "y":2}}`, want: applied{body: `{"a" : { "x":1, "c" : [ 1 ] , "y":2}}`}},
		{why: "at the top, between others that go", rows: []string{"b c"}, in: `{"speed":1,"b":2,"fallbacks":3}`, want: applied{body: `{"c":2}`, dropped: "speed fallbacks"}},
		{why: "the new name is taken, in front and behind", rows: []string{"b c"}, in: `{"c":1,"b":2}`, want: applied{body: `{"c":1}`, dropped: "b"}},
		{why: "by what comes later", rows: []string{"b c"}, in: `{"b":2,"c":1}`, want: applied{body: `{"c":1}`, dropped: "b"}},
		{why: "in an object that has another name, too", rows: []string{"a q", "a.b a.c"}, in: `{"a":{"b":1}}`, want: applied{body: `{"q":{"c":1}}`}},
		{why: "what is renamed is not renamed again", rows: []string{"a b", "b c"}, in: `{"a":1}`, want: applied{body: `{"b":1}`}},
		{why: "in a value that goes elsewhere", rows: []string{"a n.a", "a.b a.c"}, in: `{"a":{"b":1,"speed":2}}`, want: applied{body: `{"n":{"a":{"c":1,"speed":2}}}`}},
		{why: "drops within a value that goes elsewhere", rows: []string{"tools n.tools"}, in: `{"tools":[{"custom":1,"name":"a"},{"custom":2}],"a":1}`, want: applied{body: `{"n":{"tools":[{"name":"a"},{}]},"a":1}`, dropped: "tools[].custom"}},
		{why: "several into one new object", rows: []string{"a n.x", "b n.m.y", "c n.m.z"}, in: `{"c":3,"b":2,"q":0,"a":1}`, want: applied{body: `{"n":{"m":{"y":2,"z":3},"x":1},"q":0}`}},
		{why: "several into one that is there, and a part of it", rows: []string{"a n.x", "b n.m.y"}, in: `{"n":{"m":{"k":0}},"b":2,"a":1}`, want: applied{body: `{"n":{"x":1,"m":{"y":2,"k":0}}}`}},
		{why: "two to one place: the first", rows: []string{"a n.x", "b n.x"}, in: `{"b":2,"a":1}`, want: applied{body: `{"n":{"x":2}}`, dropped: "a"}},
		{why: "two of which one would lie in the other", rows: []string{"a n.x", "b n.x.y"}, in: `{"a":1,"b":2}`, want: applied{body: `{"n":{"x":1}}`, dropped: "b"}},
		{why: "into an object that goes elsewhere", rows: []string{"n k.n", "a n.x"}, in: `{"n":{},"a":1}`, want: applied{body: `{"k":{"n":{}}}`, dropped: "a"}},
		{why: "into what the wire leaves out", rows: []string{"a model.x"}, in: `{"model":{},"a":1,"b":2}`, want: applied{body: `{"b":2}`, dropped: "a"}},
		{why: "in elements, each its own", rows: []string{"messages[].content[].in.k messages[].content[].k"}, in: `{"messages":[{"content":[{"in":{"k":1}},{"in":{"k":2},"k":3},{"in":{}}]},{"content":[{"in":{"k":4,"l":5},"m":6}]}]}`,
			want: applied{body: `{"messages":[{"content":[{"k":1,"in":{}},{"in":{},"k":3},{"in":{}}]},{"content":[{"k":4,"in":{"l":5},"m":6}]}]}`, dropped: "messages[].content[].in.k"}},
		{why: "above an array that other paths go on into", rows: []string{"system sys.list", "system[].a system[].b.a"}, in: `{"system":[{"a":1},{"b":{},"a":2}]}`, want: applied{body: `{"sys":{"list":[{"b":{"a":1}},{"b":{"a":2}}]}}`}},
		{why: "where its condition holds", rows: []string{`thinking.budget thinking.budget_tokens "when":["thinking.type=enabled"]`}, in: `{"thinking":{"budget":1,"type":"enabled"}}`, want: applied{body: `{"thinking":{"budget_tokens":1,"type":"enabled"}}`}},
		{why: "and not where it does not", rows: []string{`thinking.budget thinking.budget_tokens "when":["thinking.type=enabled"]`}, in: `{"thinking":{"budget":1,"type":"adaptive"}}`, want: applied{body: `{"thinking":{"budget":1,"type":"adaptive"}}`}},
		{why: "unless a flag is sent", rows: []string{`a b "unless":["` + loaded + `"]`}, beta: loaded, in: `{"a":1}`, want: applied{body: `{"a":1}`, betas: loaded}},
	}
	for _, c := range tests {
		t.Run(c.why, func(t *testing.T) {
			family := c.of
			if family == "" {
				family = "claude-opus-5"
			}
			if got := run(t, renames(t, c.rows...), RouteInvoke, family, c.beta, c.in, "model"); got != c.want {
				t.Errorf("%s\n got %+v\nwant %+v", c.in, got, c.want)
			}
		})
	}
}

// move does in a decoded document what a row that renames does; false: there is no place for it. A null is no value.
func move(v any, from, to string) bool {
	if base := arrays(from); base != "" {
		ok := true
		name, rest, _ := strings.Cut(from, "[].")
		m, _ := v.(map[string]any)
		for _, key := range strings.Split(name, ".")[:strings.Count(name, ".")] {
			m, _ = m[key].(map[string]any)
		}
		list, _ := m[name[strings.LastIndexByte(name, '.')+1:]].([]any)
		for _, e := range list {
			ok = move(e, rest, strings.TrimPrefix(to, name+"[].")) && ok
		}
		return ok
	}
	source, target := strings.Split(from, "."), strings.Split(to, ".")
	m, _ := v.(map[string]any)
	for _, key := range source[:len(source)-1] {
		m, _ = m[key].(map[string]any)
	}
	value, ok := m[source[len(source)-1]]
	if !ok {
		return true
	}
	at, _ := v.(map[string]any)
	place := true
	for _, key := range target[:len(target)-1] {
		next, there := at[key]
		if at, place = next.(map[string]any); there && next != nil && !place && value != nil {
			return false
		}
	}
	delete(m, source[len(source)-1])
	if value == nil {
		return true
	}
	at = v.(map[string]any)
	for _, key := range target[:len(target)-1] {
		if at[key] == nil {
			at[key] = map[string]any{}
		}
		at = at[key].(map[string]any)
	}
	if at[target[len(target)-1]] == nil {
		at[target[len(target)-1]] = value
	}
	return true
}

// paths are renames that do not depend on each other, of every form.
var paths = [][2]string{
	{"a.b", "a.c"}, {"x", "n.m.x"}, {"y", "n.m.y"}, {"z", "n.z"}, {"deep.er.q", "q"}, {"tools[].in.k", "tools[].k"}, {"tools[].u", "tools[].n.u"}, {"tools[].v", "tools[].n.v"},
	{"tools[].list[].r", "tools[].list[].s.r"}, {"old", "new"},
}

// TestRandomRenames: bodies full of what rows rename become what a decoder would make of them, and each value is there once.
func TestRandomRenames(t *testing.T) {
	var rows []string
	for _, p := range paths {
		rows = append(rows, p[0]+" "+p[1])
	}
	table := renames(t, rows...)
	rnd := rand.New(rand.NewPCG(3, 4))
	shape := map[string][]string{
		"top": {"a", "x", "y", "n", "z", "deep", "q", "tools", "old", "new", "speed", "model"}, "a": {"b", "c", "o"}, "n": {"m", "z", "u", "v", "o"}, "m": {"x", "y"}, "deep": {"er"}, "er": {"q", "o"},
		"tools": {"in", "k", "u", "n", "v", "list", "custom"}, "in": {"k", "o"}, "list": {"r", "s"}, "s": {"r", "o"},
	}
	leaf := 0
	var object func(at string, depth int) string
	value := func(at string, depth int) string {
		_, known := shape[at]
		switch {
		case rnd.IntN(15) == 0:
			return "null"
		case !known || depth > 6 || rnd.IntN(30) == 0:
			leaf++
			return fmt.Sprint(leaf)
		case at == "tools" || at == "list":
			var list []string
			for range rnd.IntN(4) {
				list = append(list, object(at, depth+1))
			}
			return "[" + strings.Join(list, ",") + "]"
		}
		return object(at, depth+1)
	}
	object = func(at string, depth int) string {
		var list []string
		for _, i := range rnd.Perm(len(shape[at])) {
			if name := shape[at][i]; rnd.IntN(2) == 0 {
				list = append(list, fmt.Sprintf("%q%s:%s", name, strings.Repeat(" ", rnd.IntN(2)), value(name, depth)))
			}
		}
		return "{" + strings.Repeat(" ", rnd.IntN(2)) + strings.Join(list, ", ") + strings.Repeat("\n", rnd.IntN(2)) + "}"
	}
	refusals, moves := 0, 0
	for range 8000 {
		body := object("top", 0)
		var want, have any
		if err := json.Unmarshal([]byte(body), &want); err != nil {
			t.Fatal(err, body)
		}
		var strip []string
		if rnd.IntN(2) == 0 {
			strip = []string{"model"}
			dropPath(want, strip)
		}
		fits := true
		for _, p := range paths {
			fits = move(want, p[0], p[1]) && fits
		}
		dropPath(want, []string{"speed"})
		dropPath(want, []string{"tools[]", "custom"})
		got, err := table.Apply(RouteInvoke, "claude-opus-5", nil, []byte(body), strip...)
		if _, no := errors.AsType[*Refusal](err); no || err != nil {
			if fits || !no {
				t.Fatalf("%v: %s", err, body)
			}
			refusals++
			continue
		}
		out := Splice(nil, []byte(body), got.Edits)
		if err := json.Unmarshal(out, &have); err != nil || !fits || !reflect.DeepEqual(want, have) {
			t.Fatalf("%v, %v: %s\nbecame %s", err, fits, body, out)
		}
		if twice(out) {
			t.Fatalf("a name twice: %s\nbecame %s", body, out)
		}
		moves += len(got.Edits)
	}
	if refusals < 100 || moves < 8000 {
		t.Errorf("%d refusals and %d edits: the bodies are not what they should be", refusals, moves)
	}
}

// FuzzRename: two renames of any paths leave JSON, lose no member that is not reported, and have the same edits in any body.
func FuzzRename(f *testing.F) {
	f.Add("output_format", "output_config.format", "x", "output_config.y", []byte(`{"output_format":1,"x":2,"output_config":{}}`))
	f.Add("tools[].custom.a", "tools[].a", "tools[].custom", "tools[].b.c", []byte(`{"tools":[{"custom":{"a":1}},{"custom":{"a":1},"a":2}]}`))
	f.Add("a", "b.a", "b", "a.b", []byte(`{"a":{"x":1},"b":{"y":2}}`))
	f.Add("a", "b", "b", "a", []byte(`{"a":1,"b":2}`))
	f.Add("a", "b", "b", "a", []byte(`{"b":null,"a":1}`))
	f.Add("a", "n.x", "b", "n.y.z", []byte(`{"n":null,"a":1,"b":2}`))
	f.Add("n", "k", "n.a", "n.b", []byte(`{"n":{"b":null,"a":1}}`))
	f.Add("n", "k.n", "n.a", "n.b", []byte(`{"n":{"b":null,"a":{"c":1}},"k":null}`))
	f.Add("a.b", "c", "a", "d.a", []byte(`{"a":{"b":1,"e":2},"a":{"b":3}}`))
	f.Fuzz(func(t *testing.T, from1, to1, from2, to2 string, body []byte) {
		rows, err := json.Marshal(document{[]Row{
			{Route: "*", Model: "*", Kind: KindField, Name: from1, Action: Rename, To: to1, Evidence: "e"},
			{Route: "*", Model: "*", Kind: KindField, Name: from2, Action: Rename, To: to2, When: []string{"when!=not"}, Evidence: "e"},
		}})
		if err != nil {
			return
		}
		table, err := Parse(rows)
		if err != nil {
			return
		}
		body = slices.Clip(slices.Clone(body))
		got, err := table.Apply(RouteInvoke, "m", nil, body)
		from := 0
		for _, e := range got.Edits {
			if e.At < from || e.End < e.At || e.End > len(body) {
				t.Fatalf("edits %v", got.Edits)
			}
			from = e.End
		}
		if err != nil || rawjson.Valid(body) != nil {
			return
		}
		out := Splice(nil, body, got.Edits)
		if err := rawjson.Valid(out); err != nil {
			t.Fatalf("%v: %s\nbecame %s", err, body, out)
		}
		if twice(out) && !twice(body) {
			t.Fatalf("a name twice: %s\nbecame %s", body, out)
		}
		if len(got.Dropped) == 0 && scalars(out) != scalars(body) {
			t.Fatalf("%s\nbecame %s", body, out)
		}
	})
}

// scalars counts the values that are no objects, no arrays and not null, in the place of which others go.
func scalars(doc []byte) (n int) {
	below := func(v rawjson.Value) bool {
		switch v.Kind() {
		case rawjson.Object, rawjson.Array:
			n += scalars(v.Raw())
		case rawjson.Null:
		default:
			n++
		}
		return true
	}
	_ = rawjson.Members(doc, func(_, v rawjson.Value) bool { return below(v) })
	_ = rawjson.Elements(doc, below)
	return n
}

// TestRenameBounds: what a client repeats costs no more for it.
func TestRenameBounds(t *testing.T) {
	table := renames(t, "a n.a", "tools[].x tools[].y", "tools[].p tools[].n.p")
	body := `{"q":0` + strings.Repeat(`,"a":1`, 200_000) + `}`
	if got := run(t, table, RouteInvoke, "m", "", body); got.body != `{"n":{"a":1},"q":0}` || got.dropped != "a" {
		t.Errorf("%.80s, dropped %s", got.body, got.dropped)
	}
	tools := `{"tools":[` + strings.Repeat(`{"x":1},`, MaxEdits) + `1]}`
	if got := run(t, table, RouteInvoke, "m", "", tools); got.refused != "" {
		t.Error(got.refused)
	}
	tools = `{"tools":[` + strings.Repeat(`{"p":1},`, MaxEdits) + `1]}` // of two edits each
	if got := run(t, table, RouteInvoke, "m", "", tools); got.refused != "body" {
		t.Error("no bound of edits")
	}
}
