package compat

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/shared/rawjson"
)

// TestLooked: however often a client repeats a field, the way to its new place is looked for once in each object.
func TestLooked(t *testing.T) {
	const many = 4000
	again := func(member string) string { return strings.Repeat(","+member, many) }
	for _, c := range []struct {
		why, of, body string
		rows          []string
		objects       int // that are looked through, each with many members
		refused       bool
	}{
		{why: "refused at once", of: "claude-opus-4-7", body: `{"m":1` + again(`"output_format":1`) + `,"output_config":{"format":1}}`, objects: 1, refused: true},
		{why: "refused, but each time asks for nothing", of: "claude-opus-4-7", body: `{"m":1` + again(`"output_format":{}`) + `,"output_config":{"effort":"low"}}`, objects: 1},
		{why: "left out as the client's own is there", body: `{"m":1` + again(`"output_format":1`) + `,"output_config":{"format":1}}`, objects: 1},
		{why: "left out as what leads there is", of: "claude-3-haiku", body: `{"m":1` + again(`"output_format":{}`) + `,"output_config":{}}`, objects: 1},
		{why: "the client's own is far back in an object that is long, too", body: `{"m":1` + again(`"output_format":1`) + `,"output_config":{"n":1` + again(`"o":1`) + `,"format":1}}`, objects: 2},
		{why: "no value of these goes there", of: "claude-haiku-4-5", rows: []string{"x output_config.effort"}, body: `{"m":1` + again(`"x":1`) + `,"output_config":{}}`, objects: 1},
		{why: "a null", body: `{"m":1` + again(`"output_format":null`) + `,"output_config":{}}`},
		{why: "no object on the way", body: `{"m":1` + again(`"output_format":1`) + `,"output_config":1}`, objects: 1, refused: true},
		{why: "only the name differs", rows: []string{"a.b a.c"}, body: `{"a":{"m":1` + again(`"b":1`) + `,"c":1},"a":{"m":1` + again(`"b":1`) + `,"c":1}}`, objects: 2},
		{why: "in each element", body: `{"tools":[{"custom":{"m":1` + again(`"defer_loading":true`) + `},"n":1` + again(`"o":1`) + `,"defer_loading":true},{"custom":{"defer_loading":1` + again(`"x":1`) + `}}]}`, objects: 1},
		{why: "what leads there is judged by what is in it", rows: []string{`output_config oc "when":["output_config.last=1"]`},
			body: `{"m":1` + again(`"output_format":1`) + `,"output_config":{"n":1` + again(`"o":1`) + `,"last":1}}`, objects: 5}, // and looked for itself where it stands
	} {
		t.Run(c.why, func(t *testing.T) {
			family := c.of
			if family == "" {
				family = "claude-opus-5"
			}
			w := walk{t: renames(t, c.rows...), b: []byte(c.body), route: RouteInvoke, family: family}
			_, err := w.apply([]string{"tool-search-tool-2025-10-19"})
			if _, refused := errors.AsType[*Refusal](err); refused != c.refused {
				t.Errorf("refused: %v", err)
			}
			if most := c.objects * (many + 10); w.looked > most || c.objects > 0 && w.looked == 0 {
				t.Errorf("looked at %d members, want at most %d", w.looked, most)
			}
		})
	}
}

// TestCost: a request of sixteen times the length costs about as many times the work, not the square of it.
func TestCost(t *testing.T) {
	var rows []string
	for i := range 40 {
		rows = append(rows, fmt.Sprintf(`a.x%d n.y%d "when":["a.last!=%d"]`, i, i, i))
	}
	rows = append(rows, "messages[].content[].p messages[].content[].q.r", "a.b a.c", "deep.er deep.est.er", `system[].k system[].l "when":["system[].t=1","a.last!=x"]`)
	table := renames(t, rows...)
	for _, c := range []struct {
		why    string
		family string
		body   func(n int) string
	}{
		{why: "a name of a tool that goes, and calls of others", body: func(n int) string {
			return `{"tools":[{"type":"advisor_1","name":"` + strings.Repeat("x", n*40) + `\\"},{"name":"a"}],"messages":[{"content":[` + strings.Repeat(`{"type":"server_tool_use","name":"y"},`, n) + `1]}]}`
		}},
		{why: "many tools that go", body: func(n int) string {
			return `{"tools":[` + strings.Repeat(`{"type":"advisor_1","name":"z"},`, 60) + `{"name":"a"}],"messages":[{"content":[` + strings.Repeat(`{"type":"server_tool_use","name":"\u0079"},`, n) + `1]}]}`
		}},
		{why: "fields of many rows, again and again", body: func(n int) string {
			return `{"a":{"z":1` + strings.Repeat(`,"x1":1,"x2":1,"x39":1,"b":2`, n) + `,"last":9},"n":{` + strings.Repeat(`"m":1,`, n) + `"y1":1}}`
		}},
		{why: "elements with conditions on the body", body: func(n int) string {
			return `{"system":[` + strings.Repeat(`{"k":1,"t":1},{"k":1},`, n) + `0],"a":{` + strings.Repeat(`"o":1,`, n) + `"last":"x"}}`
		}},
		{why: "elements that values move in", body: func(n int) string {
			return `{"messages":[` + strings.Repeat(`{"content":[{"p":1,"q":null},{"p":2,"q":{}},{"p":3}]},`, n) + `0]}`
		}},
		{why: "objects sent again", body: func(n int) string {
			return `{"z":1` + strings.Repeat(`,"a":{"b":1,"x1":1},"deep":{"er":{"er":1},"est":null}`, n) + `}`
		}},
		{why: "a long name of the model", family: "claude-3-", body: func(n int) string {
			return `{"z":1` + strings.Repeat(`,"output_config":{}`, n) + `}`
		}},
		{why: "texts full of quotes and backslashes", body: func(n int) string {
			return `{"z":1` + strings.Repeat(`,"\\\\\"\"":"\\\\\\\"\\"`, n) + `,"speed":"` + strings.Repeat(`\\`, n) + `"}`
		}},
	} {
		t.Run(c.why, func(t *testing.T) {
			const n = 2000
			took := func(n, times int) time.Duration {
				body, family := []byte(c.body(n)), c.family
				if err := rawjson.Valid(body); err != nil {
					t.Fatal(err)
				}
				if family != "" {
					family += strings.Repeat("x", 20*n)
				}
				least := time.Hour
				for range times {
					from := time.Now()
					_, _ = table.Apply(RouteInvoke, family, nil, body)
					least = min(least, time.Since(from))
				}
				return least
			}
			small := took(n, 5)
			if large := took(16*n, 2); large > 16*6*small+20*time.Millisecond { // the square is 256 times
				t.Errorf("%v, and %v for sixteen times that", small, large)
			}
		})
	}
}
