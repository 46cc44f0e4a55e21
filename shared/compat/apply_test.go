package compat

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"sluice/shared/rawjson"
)

// applied is what a test expects: the body, the betas and the report.
type applied struct {
	body    string
	betas   string // with blanks between
	dropped string
	refused string // the field
}

func run(t *testing.T, table *Table, route, family, betas, body string, strip ...string) applied {
	t.Helper()
	before := body
	doc := []byte(body)
	flags := strings.Fields(betas)
	given := slices.Clone(flags)
	got, err := table.Apply(route, family, flags, doc, strip...)
	if string(doc) != before || !slices.Equal(flags, given) {
		t.Fatal("what was given is changed")
	}
	var r *Refusal
	if errors.As(err, &r) {
		if r.Message == "" || got.Betas != nil || got.Edits != nil || got.Dropped != nil {
			t.Fatalf("refusal %+v with %+v", r, got)
		}
		return applied{refused: r.Field}
	}
	if err != nil {
		t.Fatal(err)
	}
	out := Splice(nil, doc, got.Edits)
	if err := rawjson.Valid(out); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return applied{body: string(out), betas: strings.Join(got.Betas, " "), dropped: strings.Join(got.Dropped, " ")}
}

func TestApplyBody(t *testing.T) {
	table := Builtin()
	const mantle, invoke = RouteMantle, RouteInvoke
	tests := []struct {
		why, route, family, betas, body string
		want                            applied
		strip                           []string
	}{
		{why: "a plain request passes byte by byte", route: mantle, family: "claude-opus-5", body: `{ "model":"m" , "messages":[{"role":"user","content":"hi"}] }`,
			want: applied{body: `{ "model":"m" , "messages":[{"role":"user","content":"hi"}] }`}},
		{why: "claude-code #82549: the field goes where its flag is not sent", route: mantle, family: "claude-sonnet-4-6", body: `{"tools":[{"name":"a","defer_loading":true},{"defer_loading":true,"name":"b"},{"name":"c"}]}`,
			want: applied{body: `{"tools":[{"name":"a"},{"name":"b"},{"name":"c"}]}`, dropped: "tools[].defer_loading"}},
		{why: "and stays where it is, under its new name", route: mantle, family: "claude-sonnet-4-6", betas: "advanced-tool-use-2025-11-20", body: `{"tools":[{"name":"a","defer_loading":true}]}`,
			want: applied{body: `{"tools":[{"name":"a","defer_loading":true}]}`, betas: "tool-search-tool-2025-10-19"}},
		{why: "claude-code #49370: Opus 4.7 takes one flag, so that fields of others go", route: invoke, family: "claude-opus-4-7", betas: "claude-code-20250219 interleaved-thinking-2025-05-14 context-management-2025-06-27",
			body: `{"context_management":{"edits":[]},"max_tokens":1}`,
			want: applied{body: `{"max_tokens":1}`, betas: "interleaved-thinking-2025-05-14", dropped: "beta:claude-code-20250219 beta:context-management-2025-06-27 context_management"}},
		{why: "mantle takes them for the same model", route: mantle, family: "claude-opus-4-7", betas: "claude-code-20250219 context-management-2025-06-27", body: `{"context_management":{"edits":[]}}`,
			want: applied{body: `{"context_management":{"edits":[]}}`, betas: "claude-code-20250219 context-management-2025-06-27"}},
		{why: "all members may go", route: mantle, family: "m", body: `{ "speed":"fast" , "fallbacks":[] }`, want: applied{body: `{  }`, dropped: "speed fallbacks"}},
		{why: "a run at the start", route: mantle, family: "m", body: `{"speed":"fast","fallbacks":[],"a":1}`, want: applied{body: `{"a":1}`, dropped: "speed fallbacks"}},
		{why: "a run in the middle", route: mantle, family: "m", body: `{"a":1 , "speed":"fast", "fallbacks":[], "b":2}`, want: applied{body: `{"a":1, "b":2}`, dropped: "speed fallbacks"}},
		{why: "a run at the end", route: mantle, family: "m", body: `{"a":1,"speed":"fast","fallbacks":[]}`, want: applied{body: `{"a":1}`, dropped: "speed fallbacks"}},
		{why: "neighbours that the wire leaves out share commas and are not reported", route: invoke, family: "m", body: `{"model":"m","speed":"fast","max_tokens":1,"stream":true}`,
			strip: []string{"model", "stream"}, want: applied{body: `{"max_tokens":1}`, dropped: "speed"}},
		{why: "strip is for the top level", route: invoke, family: "m", body: `{"tools":[{"model":"m","name":"a"}],"model":"m"}`, strip: []string{"model"}, want: applied{body: `{"tools":[{"model":"m","name":"a"}]}`}},
		{why: "a name written with escapes is the same name", route: mantle, family: "m", body: `{"sp\u0065ed":"fast","a":1}`, want: applied{body: `{"a":1}`, dropped: "speed"}},
		{why: "every one of a member sent twice goes", route: mantle, family: "m", body: `{"speed":"fast","a":1,"speed":2}`, want: applied{body: `{"a":1}`, dropped: "speed"}},
		{why: "text that looks like a member is text", route: mantle, family: "m", body: `{"messages":[{"content":"\\\",\"speed\":1,\"tools\":[{\"defer_loading\":1}]\\"}]}`,
			want: applied{body: `{"messages":[{"content":"\\\",\"speed\":1,\"tools\":[{\"defer_loading\":1}]\\"}]}`}},
		{why: "a field of that name elsewhere stays", route: mantle, family: "m", body: `{"tools":[{"input_schema":{"properties":{"defer_loading":{},"speed":{}}}}]}`,
			want: applied{body: `{"tools":[{"input_schema":{"properties":{"defer_loading":{},"speed":{}}}}]}`}},
		{why: "values of another kind than the path says pass", route: mantle, family: "m", body: `{"tools":{"defer_loading":1},"system":"s","messages":[[{"cache_control":{"scope":1}}],1]}`,
			want: applied{body: `{"tools":{"defer_loading":1},"system":"s","messages":[[{"cache_control":{"scope":1}}],1]}`}},
		{why: "the mark stays without its scope, at every place", route: mantle, family: "claude-opus-5",
			body: `{"system":[{"cache_control":{"type":"ephemeral","scope":"global"}}],"messages":[{"content":[{"content":[{"cache_control":{"scope":"x","ttl":"1h","type":"ephemeral"}}]}]}]}`,
			want: applied{body: `{"system":[{"cache_control":{"type":"ephemeral"}}],"messages":[{"content":[{"content":[{"cache_control":{"ttl":"1h","type":"ephemeral"}}]}]}]}`,
				dropped: "system[].cache_control.scope messages[].content[].content[].cache_control.scope"}},
		{why: "the ttl goes where the model does not take it, the mark stays", route: invoke, family: "claude-sonnet-4", body: `{"system":[{"text":"s","cache_control":{"type":"ephemeral","ttl":"1h"}}]}`,
			want: applied{body: `{"system":[{"text":"s","cache_control":{"type":"ephemeral"}}]}`, dropped: "system[].cache_control.ttl"}},
		{why: "and stays where it does", route: invoke, family: "claude-sonnet-4-5", body: `{"system":[{"cache_control":{"type":"ephemeral","ttl":"1h"}}]}`,
			want: applied{body: `{"system":[{"cache_control":{"type":"ephemeral","ttl":"1h"}}]}`}},
		{why: "what would change the answer is refused", route: mantle, family: "claude-opus-5", body: `{"mcp_servers":[{"url":"u"}]}`, want: applied{refused: "mcp_servers"}},
		{why: "unless it asks for nothing", route: mantle, family: "claude-opus-5", body: `{"mcp_servers":[ ],"container":null,"a":1}`, want: applied{body: `{"a":1}`, dropped: "mcp_servers container"}},
		{why: "a file of Anthropic's", route: invoke, family: "claude-opus-5", body: `{"messages":[{"content":[{"source":{"type":"file","file_id":"f"}}]}]}`, want: applied{refused: "messages[].content[].source.file_id"}},
		{why: "a row below one that drops still refuses", route: invoke, family: "claude-3-haiku", body: `{"output_config":{"effort":"low","format":{"type":"json_schema"}}}`, want: applied{refused: "output_config.format"}},
		{why: "without it the whole member goes, and is named once", route: invoke, family: "claude-3-haiku", body: `{"output_config":{"effort":"low"},"a":1}`, want: applied{body: `{"a":1}`, dropped: "output_config"}},
		{why: "what goes with it is not named", route: invoke, family: "claude-3-haiku", body: `{"output_config":{"format":{}},"a":1}`, want: applied{body: `{"a":1}`, dropped: "output_config"}},
		{why: "effort alone goes where only the format is known", route: invoke, family: "claude-haiku-4-5", body: `{"output_config":{"effort":"low","format":{}}}`, want: applied{body: `{"output_config":{"format":{}}}`, dropped: "output_config.effort"}},
	}
	for _, c := range tests {
		t.Run(c.why, func(t *testing.T) {
			if got := run(t, table, c.route, c.family, c.betas, c.body, c.strip...); got != c.want {
				t.Errorf("%s\n got %+v\nwant %+v", c.body, got, c.want)
			}
		})
	}
}

func TestApplyTools(t *testing.T) {
	table := Builtin()
	const advisor = `{"type":"advisor_20260301","name":"advisor","model":"claude-opus-5"}`
	tests := []struct {
		why, betas, body string
		want             applied
	}{
		{why: "claude-code #46105: an advisor that nobody asked goes", betas: "advisor-tool-2026-03-01", body: `{"tools":[{"name":"Bash"},` + advisor + `],"messages":[]}`,
			want: applied{body: `{"tools":[{"name":"Bash"}],"messages":[]}`, dropped: "beta:advisor-tool-2026-03-01 tool:advisor_20260301"}},
		{why: "in front, and the edits of the next tool stay in order", body: `{"tools":[` + advisor + `, {"defer_loading":true,"name":"Bash","custom":{}}]}`,
			want: applied{body: `{"tools":[{"name":"Bash"}]}`, dropped: "tool:advisor_20260301 tools[].defer_loading tools[].custom"}},
		{why: "between others", body: `{"tools":[{"name":"a"},` + advisor + `,{"name":"b"}]}`, want: applied{body: `{"tools":[{"name":"a"},{"name":"b"}]}`, dropped: "tool:advisor_20260301"}},
		{why: "its cache mark goes with it, and that is said", body: `{"tools":[{"name":"a"},{"type":"advisor_20260301","name":"advisor","cache_control":{"type":"ephemeral","scope":"global"}}]}`,
			want: applied{body: `{"tools":[{"name":"a"}]}`, dropped: "tool:advisor_20260301 tool:advisor_20260301.cache_control"}},
		{why: "tool_choice names it", body: `{"tools":[{"name":"a"},` + advisor + `],"tool_choice":{"type":"tool","name":"advisor"}}`, want: applied{refused: "tool_choice"}},
		{why: "tool_choice in front names it", body: `{"tool_choice":{"type":"tool","name":"adv\u0069sor"},"tools":[` + advisor + `,{"name":"a"}]}`, want: applied{refused: "tool_choice"}},
		{why: "tool_choice names another", body: `{"tool_choice":{"type":"tool","name":"a"},"tools":[` + advisor + `,{"name":"a"}]}`,
			want: applied{body: `{"tool_choice":{"type":"tool","name":"a"},"tools":[{"name":"a"}]}`, dropped: "tool:advisor_20260301"}},
		{why: "tool_choice names none", body: `{"tool_choice":{"type":"auto"},"tools":[{"type":"advisor_1"},{"name":"a"}]}`,
			want: applied{body: `{"tool_choice":{"type":"auto"},"tools":[{"name":"a"}]}`, dropped: "tool:advisor_1"}},
		{why: "a turn has called another of Anthropic's", body: `{"tools":[` + advisor + `,{"name":"a"}],"messages":[{"content":[{"type":"server_tool_use","name":"bash"}]}]}`,
			want: applied{body: `{"tools":[{"name":"a"}],"messages":[{"content":[{"type":"server_tool_use","name":"bash"}]}]}`, dropped: "tool:advisor_20260301"}},
		{why: "a turn has called it", body: `{"tools":[` + advisor + `,{"name":"a"}],"messages":[{"content":"x"},{"content":[{"type":"text"},{"type":"server_tool_use","name":"advisor","id":"1"}]}]}`, want: applied{refused: "messages"}},
		{why: "a turn has called it, in other letters", body: `{"tools":[` + advisor + `,{"name":"a"}],"messages":[{"content":[{"type":"server\u005ftool_use","name":"\u0061dvisor"}]}]}`, want: applied{refused: "messages"}},
		{why: "a turn speaks of it", body: `{"tools":[` + advisor + `,{"name":"a"}],"messages":[{"content":[{"type":"text","text":"server_tool_use advisor"}]}]}`,
			want: applied{body: `{"tools":[{"name":"a"}],"messages":[{"content":[{"type":"text","text":"server_tool_use advisor"}]}]}`, dropped: "tool:advisor_20260301"}},
		{why: "web search refused clearly: it is what the request is about", betas: "web-search-2025-03-05", body: `{"tools":[{"type":"web_search_20250305","name":"web_search","max_uses":8}]}`, want: applied{refused: "tools.0"}},
		{why: "an offer of web search among others goes", body: `{"tools":[{"name":"a"},{"type":"web_search_20250305","name":"web_search"}]}`, want: applied{body: `{"tools":[{"name":"a"}]}`, dropped: "tool:web_search_20250305"}},
		{why: "servers that a client counts on are refused", body: `{"tools":[{"name":"a"},{"type":"mcp_toolset","mcp_server_name":"s"}]}`, want: applied{refused: "tools.1"}},
		{why: "tool search goes with its flag", body: `{"tools":[{"type":"tool_search_tool_regex_20251119","name":"s"},{"name":"a","defer_loading":true}]}`,
			want: applied{body: `{"tools":[{"name":"a"}]}`, dropped: "tool:tool_search_tool_regex_20251119 tools[].defer_loading"}},
		{why: "and stays with it", betas: "tool-search-tool-2025-10-19", body: `{"tools":[{"type":"tool_search_tool_regex_20251119","name":"s"},{"name":"a","defer_loading":true}]}`,
			want: applied{betas: "tool-search-tool-2025-10-19", body: `{"tools":[{"type":"tool_search_tool_regex_20251119","name":"s"},{"name":"a","defer_loading":true}]}`}},
		{why: "types that no row names pass", body: `{"tools":[{"type":"bash_20250124","name":"bash"},{"type":7},null,"x"]}`, want: applied{body: `{"tools":[{"type":"bash_20250124","name":"bash"},{"type":7},null,"x"]}`}},
	}
	for _, c := range tests {
		t.Run(c.why, func(t *testing.T) {
			if got := run(t, table, RouteInvoke, "claude-opus-5", c.betas, c.body); got != c.want {
				t.Errorf("%s\n got %+v\nwant %+v", c.body, got, c.want)
			}
		})
	}
}

func TestApplyBetas(t *testing.T) {
	table, err := Parse([]byte(`{"rows":[
		{"route":"*","model":"*","kind":"beta","name":"secret-*","action":"refuse","message":"ask your operator","evidence":"test"},
		{"route":"*","model":"*","kind":"beta","name":"old","action":"rename","to":"memory-2025-08-18","evidence":"test"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ why, betas, want, dropped, refused string }{
		{why: "none"},
		{why: "kept in order", betas: "pdfs-2024-09-25 context-1m-2025-08-07", want: "pdfs-2024-09-25 context-1m-2025-08-07"},
		{why: "unlisted ones are treated as rejected", betas: "pdfs-2024-09-25 next-year-2027-01-01", want: "pdfs-2024-09-25", dropped: "beta:next-year-2027-01-01"},
		{why: "renamed once", betas: "advanced-tool-use-2025-11-20 tool-search-tool-2025-10-19 pdfs-2024-09-25", want: "tool-search-tool-2025-10-19 pdfs-2024-09-25"},
		{why: "renamed to one that was sent", betas: "tool-search-tool-2025-10-19 advanced-tool-use-2025-11-20", want: "tool-search-tool-2025-10-19"},
		{why: "sent twice", betas: "pdfs-2024-09-25 pdfs-2024-09-25 next next", want: "pdfs-2024-09-25", dropped: "beta:next"},
		{why: "renamed to one that is dropped", betas: "old", dropped: "beta:old"},
		{why: "refused", betas: "secret-1", refused: "anthropic-beta"},
		{why: "a report is fit for a header", betas: "é\x01,", dropped: "beta:???"},
	}
	for _, c := range tests {
		t.Run(c.why, func(t *testing.T) {
			want := applied{body: "{}", betas: c.want, dropped: c.dropped, refused: c.refused}
			if c.refused != "" {
				want = applied{refused: c.refused}
			}
			if got := run(t, table, RouteMantle, "claude-opus-5", c.betas, `{}`); got != want {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
		})
	}
	if got := SplitBetas([]string{" a, b ,", "", "c"}); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Error(got)
	}
}

// TestApplyBounds: a request costs a bounded amount whatever it holds.
func TestApplyBounds(t *testing.T) {
	table := Builtin()
	many := "x-1" + strings.Repeat(" pdfs-2024-09-25 y", 300)
	if got := run(t, table, RouteMantle, "m", many, `{}`); got.betas != "pdfs-2024-09-25" || got.dropped != "beta:x-1 beta:y beta:*" {
		t.Errorf("%+v", got)
	}
	all, err := Parse([]byte(`{"rows":[{"route":"*","model":"*","kind":"beta","name":"*","action":"keep","evidence":"test"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	fits := strings.Repeat("n", maxName)
	if got := run(t, all, RouteMantle, "m", fits+" "+fits+"n", `{}`); got.betas != fits || got.dropped != "beta:"+fits {
		t.Errorf("%+v", got)
	}
	var flags []string
	for i := range 90 {
		flags = append(flags, "f-"+strings.Repeat("i", i))
	}
	if got, err := table.Apply(RouteMantle, "m", flags, []byte(`{}`)); err != nil || len(got.Dropped) != MaxDropped {
		t.Errorf("%d dropped, %v", len(got.Dropped), err)
	}
	marks := `{"system":[` + strings.Repeat(`{"cache_control":{"scope":1}},`, MaxEdits) + `1]}`
	if got := run(t, table, RouteMantle, "m", "", marks); got.refused != "" {
		t.Error(got.refused)
	}
	marks = `{"system":[` + strings.Repeat(`{"cache_control":{"scope":1}},`, MaxEdits+1) + `1]}`
	if got := run(t, table, RouteMantle, "m", "", marks); got.refused != "body" {
		t.Error("no bound of edits")
	}
	tools := `{"tools":[` + strings.Repeat(`{"type":"advisor_1","name":"a"},`, maxGone+1) + `1]}`
	if got := run(t, table, RouteMantle, "m", "", tools); got.refused != "tools" {
		t.Errorf("%+v", got)
	}
	deep := `{"messages":` + strings.Repeat(`[{"content":`, rawjson.MaxDepth/2-1) + "1" + strings.Repeat(`}]`, rawjson.MaxDepth/2-1) + `,"speed":1}`
	if got := run(t, table, RouteMantle, "m", "", deep); got.dropped != "speed" {
		t.Errorf("%+v", got)
	}
	endless := []byte(`{"messages":` + strings.Repeat(`[`, 32<<20))
	if _, err := table.Apply(RouteMantle, "m", nil, endless); err == nil {
		t.Error("no error")
	}
	for _, body := range []string{"", " ", "[]", "1", "{", `{"a"`, `{"a":`, `{"a":}`, `{"a":1`, `{"a":1,}`, `{"a":1}x`, `{"tools":[`, `{"tools":[{"type":"advisor_`, `{"tools":[,]}`, `{"speed":`, `{"output_config":{"f`} {
		_, err := table.Apply(RouteMantle, "claude-3-x", nil, []byte(body))
		if _, refused := errors.AsType[*Refusal](err); err == nil || refused {
			t.Errorf("%q: %v", body, err)
		}
	}
}
