package compat

import (
	"fmt"
	"strings"
	"testing"

	"sluice/shared/rawjson"
)

func TestWhen(t *testing.T) {
	tests := []struct {
		why  string
		rows string // of action drop where they do not say: kind, name, conditions with & between, and more members
		in   string
		want applied
		beta string
	}{
		{why: "the field itself is of the value", rows: `field effort effort=max`, in: `{"effort":"max","a":1}`, want: applied{body: `{"a":1}`, dropped: "effort"}},
		{why: "it is not", rows: `field effort effort=max`, in: `{"effort":"maximal"}`, want: applied{body: `{"effort":"maximal"}`}},
		{why: "a text with escapes", rows: `field effort effort=max`, in: `{"effort":"m\u0061x","a":1}`, want: applied{body: `{"a":1}`, dropped: "effort"}},
		{why: "a number as it is written", rows: `field n n=1`, in: `{"n":1,"a":1}`, want: applied{body: `{"a":1}`, dropped: "n"}},
		{why: "another number", rows: `field n n=1`, in: `{"n":1.0}`, want: applied{body: `{"n":1.0}`}},
		{why: "true", rows: `field n n=true`, in: `{"n":true,"a":1}`, want: applied{body: `{"a":1}`, dropped: "n"}},
		{why: "a pattern", rows: `field n n=clear_*`, in: `{"n":"clear_x","a":1}`, want: applied{body: `{"a":1}`, dropped: "n"}},
		{why: "a star is whatever there is, objects too", rows: `field n thinking=*`, in: `{"n":1,"thinking":{}}`, want: applied{body: `{"thinking":{}}`, dropped: "n"}},
		{why: "but not nothing", rows: `field n thinking=*`, in: `{"n":1}`, want: applied{body: `{"n":1}`}},
		{why: "an object is of no other value", rows: `field n thinking=a*`, in: `{"n":1,"thinking":{"a":1}}`, want: applied{body: `{"n":1,"thinking":{"a":1}}`}},
		{why: "something within it", rows: `field thinking thinking.type=adaptive`, in: `{"thinking":{"x":{"type":"no"},"type":"adaptive"},"a":1}`, want: applied{body: `{"a":1}`, dropped: "thinking"}},
		{why: "something else, that comes later", rows: `field temperature thinking.type=adaptive`, in: `{"temperature":1,"thinking":{"type":"adaptive"}}`, want: applied{body: `{"thinking":{"type":"adaptive"}}`, dropped: "temperature"}},
		{why: "something else, that came before", rows: `field temperature thinking.type=adaptive`, in: `{"thinking":{"type":"adaptive"},"temperature":1}`, want: applied{body: `{"thinking":{"type":"adaptive"}}`, dropped: "temperature"}},
		{why: "something else of another value", rows: `field temperature thinking.type=adaptive`, in: `{"thinking":{"type":"enabled"},"temperature":1}`, want: applied{body: `{"thinking":{"type":"enabled"},"temperature":1}`}},
		{why: "not of a value", rows: `field temperature thinking.type!=disabled`, in: `{"thinking":{"type":"enabled"},"temperature":1}`, want: applied{body: `{"thinking":{"type":"enabled"}}`, dropped: "temperature"}},
		{why: "what is not there is of no value", rows: `field temperature thinking.type!=disabled`, in: `{"temperature":1,"a":1}`, want: applied{body: `{"a":1}`, dropped: "temperature"}},
		{why: "it is of that", rows: `field temperature thinking.type!=disabled`, in: `{"thinking":{"type":"disabled"},"temperature":1}`, want: applied{body: `{"thinking":{"type":"disabled"},"temperature":1}`}},
		{why: "all must hold", rows: `field n n=1&thinking=*`, in: `{"n":1}`, want: applied{body: `{"n":1}`}},
		{why: "and all do", rows: `field n n=1&thinking=*`, in: `{"n":1,"thinking":0}`, want: applied{body: `{"thinking":0}`, dropped: "n"}},
		{why: "each element its own", rows: `field system[].cache_control.ttl system[].cache_control.ttl=1h`, in: `{"system":[{"cache_control":{"ttl":"1h","type":"e"}},{"cache_control":{"ttl":"5m"}},"x"]}`,
			want: applied{body: `{"system":[{"cache_control":{"type":"e"}},{"cache_control":{"ttl":"5m"}},"x"]}`, dropped: "system[].cache_control.ttl"}},
		{why: "another member of the same element", rows: `field tools[].strict tools[].kind=x`, in: `{"tools":[{"strict":1,"kind":"x"},{"kind":"y","strict":1},{"strict":1}]}`,
			want: applied{body: `{"tools":[{"kind":"x"},{"kind":"y","strict":1},{"strict":1}]}`, dropped: "tools[].strict"}},
		{why: "of the element around", rows: `field messages[].content[].x messages[].role=user`, in: `{"messages":[{"content":[{"x":1},{"x":2}],"role":"user"},{"role":"assistant","content":[{"x":3}]}]}`,
			want: applied{body: `{"messages":[{"content":[{},{}],"role":"user"},{"role":"assistant","content":[{"x":3}]}]}`, dropped: "messages[].content[].x"}},
		{why: "of the body, from within an element", rows: `field tools[].strict thinking.type=adaptive`, in: `{"tools":[{"strict":1}],"thinking":{"type":"adaptive"}}`, want: applied{body: `{"tools":[{}],"thinking":{"type":"adaptive"}}`, dropped: "tools[].strict"}},
		{why: "a flag by a field", rows: `beta pdfs-2024-09-25 thinking.type=adaptive`, beta: "pdfs-2024-09-25", in: `{"thinking":{"type":"adaptive"}}`, want: applied{body: `{"thinking":{"type":"adaptive"}}`, dropped: "beta:pdfs-2024-09-25"}},
		{why: "and not without it", rows: `beta pdfs-2024-09-25 thinking.type=adaptive`, beta: "pdfs-2024-09-25", in: `{}`, want: applied{body: `{}`, betas: "pdfs-2024-09-25"}},
		{why: "a tool by one of its members", rows: `tool bash_* tools[].version=2`, in: `{"tools":[{"type":"bash_1","version":2,"name":"a"},{"name":"b"},{"version":3,"type":"bash_1","name":"c"}]}`,
			want: applied{body: `{"tools":[{"name":"b"},{"version":3,"type":"bash_1","name":"c"}]}`, dropped: "tool:bash_1"}},
		{why: "refused by a value, and the place is named", rows: `field thinking.type thinking.type=adaptive "action":"refuse","message":"m"`, in: `{"thinking":{"type":"adaptive"}}`, want: applied{refused: "thinking.type"}},
		{why: "kept by a value, where another row drops", rows: `field speed speed=standard "action":"keep"`, in: `{"speed":"standard"}`, want: applied{body: `{"speed":"standard"}`}},
		{why: "and dropped else", rows: `field speed speed=standard "action":"keep"`, in: `{"speed":"fast"}`, want: applied{body: `{}`, dropped: "speed"}},
		{why: "the longest text that is compared", rows: `field n n=a*`, in: `{"n":"` + strings.Repeat("a", 900) + `"}`, want: applied{body: `{"n":"` + strings.Repeat("a", 900) + `"}`}},
	}
	for _, c := range tests {
		t.Run(c.why, func(t *testing.T) {
			f := strings.SplitN(c.rows, " ", 4)
			more := `"action":"drop"`
			if len(f) == 4 {
				more = f[3]
			}
			table, err := Parse(fmt.Appendf(nil, `{"rows":[{"route":"*","model":"*","kind":%q,"name":%q,%s,"when":["%s"],"evidence":"test"}]}`, f[0], f[1], more, strings.ReplaceAll(f[2], "&", `","`)))
			if err != nil {
				t.Fatal(err)
			}
			if got := run(t, table, RouteInvoke, "claude-opus-5", c.beta, c.in); got != c.want {
				t.Errorf("%s\n got %+v\nwant %+v", c.in, got, c.want)
			}
		})
	}
}

// TestWhenEffort: coder#25356, of the levels of effort Opus 4.5 takes three on Bedrock, with the flag; the highest is what a
// request without has.
func TestWhenEffort(t *testing.T) {
	for level, stays := range map[string]bool{"low": true, "medium": true, "high": true, "xhigh": false, "max": false} {
		body := `{"output_config":{"effort":"` + level + `"}}`
		want := applied{body: body, betas: "effort-2025-11-24"}
		if !stays {
			want.body, want.dropped = `{"output_config":{}}`, "output_config.effort"
		}
		if got := run(t, Builtin(), RouteInvoke, "claude-opus-4-5", "effort-2025-11-24", body); got != want {
			t.Errorf("%s: %+v", level, got)
		}
		if got := run(t, Builtin(), RouteInvoke, "claude-opus-4-6", "", body); got.body != body {
			t.Errorf("another model, %s: %+v", level, got)
		}
	}
}

// TestWhenBeside: rows that differ in their conditions stand beside each other, an operator's takes the place of the built-in
// one with the same, and a listing sent back says the same.
func TestWhenBeside(t *testing.T) {
	const own = `{"route":"*","model":"claude-opus-4-5","kind":"field","name":"output_config.effort","action":"keep","when":["output_config.effort=max"],"evidence":"taken since today"}`
	table, err := Parse([]byte(`{"rows":[` + own + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	rows := table.Rows()
	if last := rows[len(rows)-1]; len(rows) != len(Builtin().Rows()) || !last.Replaces || last.When[0] != "output_config.effort=max" {
		t.Errorf("%d rows, the last %+v", len(rows), last)
	}
	rows[len(rows)-1].When[0] = "x=y"
	for _, doc := range [][]byte{table.Overrides(), nil} {
		if doc == nil {
			doc, _ = table.MarshalJSON()
		}
		again, err := Parse(doc)
		if err != nil {
			t.Fatal(err)
		}
		for level, dropped := range map[string]string{"max": "", "xhigh": "output_config.effort"} {
			if got := run(t, again, RouteInvoke, "claude-opus-4-5", "effort-2025-11-24", `{"output_config":{"effort":"`+level+`"}}`); got.dropped != dropped {
				t.Errorf("%s: %+v", level, got)
			}
		}
	}
}

// TestWhenFirst: a row with conditions goes before one without, wherever the two stand.
func TestWhenFirst(t *testing.T) {
	const plain = `{"route":"*","model":"*","kind":"field","name":"a","action":"drop","evidence":"test"}`
	const one = `{"route":"*","model":"*","kind":"field","name":"a","action":"keep","when":["a=1"],"evidence":"test"}`
	const two = `{"route":"*","model":"*","kind":"field","name":"a","action":"refuse","message":"m","when":["a=1","b=1"],"evidence":"test"}`
	for _, rows := range []string{plain + "," + one + "," + two, two + "," + one + "," + plain} {
		table, err := Parse([]byte(`{"rows":[` + rows + `]}`))
		if err != nil {
			t.Fatal(err)
		}
		for body, want := range map[string]applied{`{"a":1}`: {body: `{"a":1}`}, `{"a":2}`: {body: `{}`, dropped: "a"}, `{"a":1,"b":1}`: {refused: "a"}} {
			if got := run(t, table, RouteInvoke, "m", "", body); got != want {
				t.Errorf("%s: %+v", body, got)
			}
		}
	}
}

// TestWhenCost: a condition is looked up once for each object, however often a row asks.
func TestWhenCost(t *testing.T) {
	var rows []string
	for i := range 20 { // more than a walk remembers without memory of its own
		rows = append(rows, fmt.Sprintf(`{"route":"*","model":"*","kind":"field","name":"x","action":"drop","when":["last=%d"],"evidence":"test"}`, i))
		rows = append(rows, fmt.Sprintf(`{"route":"*","model":"*","kind":"field","name":"tools[].x","action":"drop","when":["tools[].last=%d"],"evidence":"test"}`, i))
	}
	table, err := Parse([]byte(`{"rows":[` + strings.Join(rows, ",") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	many := strings.Repeat(`"x":1,`, 50_000) // squared, that takes minutes
	body := `{` + many + `"tools":[{` + many + `"last":19},{` + many + `"last":20}],"last":"7"}`
	got := run(t, table, RouteInvoke, "m", "", body)
	if want := `{"tools":[{"last":19},{` + many + `"last":20}],"last":"7"}`; got.body != want || got.dropped != "x tools[].x" {
		t.Errorf("%d bytes, dropped %s", len(got.body), got.dropped)
	}
	if err := rawjson.Valid([]byte(got.body)); err != nil {
		t.Error(err)
	}
}
