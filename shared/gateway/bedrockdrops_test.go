package gateway_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"sluice/shared/core"
	"sluice/shared/gateway"
	"sluice/shared/upstream"
)

// converseDrops is a body with members in every place that Converse has none for, and their names; each once.
const (
	converseBetas = "claude-code-20250219, per-turn-control-2026-07-01,mine-1,claude-code-20250219"
	converseRest  = `"max_tokens":100,"speed":"fast","context_management":{"edits":[]},"thinking":{"type":"adaptive","block_binding":{}},"output_config":{"effort":"high","task_budget":{}},` +
		`"metadata":{"user_id":"u","team":"x"},"system":[{"type":"text","text":"a","cache_control":{"type":"ephemeral","scope":"global"}}],` +
		`"tools":[{"name":"t","input_schema":{"type":"object"},"eager_input_streaming":true,"defer_loading":true,"cache_control":null},{"type":"web_search_20250305","name":"web_search"}],` +
		`"messages":[{"role":"user","content":[{"type":"text","text":"hi","mood":"good","none":null}]},{"role":"assistant","content":"ho"},` +
		`{"role":"user","content":"hi","output_config":{"effort":"low"}},{"role":"assistant","content":"ho"},{"role":"user","content":"hi","output_config":{"effort":"low"}}]`
)

var converseNames = []string{"beta:claude-code-20250219", "beta:mine-1", "beta:per-turn-control-2026-07-01", "context_management", "defer_loading",
	"messages[].content[].mood", "messages[].output_config", "metadata.team", "output_config.task_budget", "speed", "system[].cache_control.scope",
	"thinking.block_binding", "tools:web_search", "tools[].eager_input_streaming"}

// TestBedrockConverse_Dropped: all that Converse has no place for is named, in the dialect of Anthropic's clients and in that of
// Bedrock's.
func TestBedrockConverse_Dropped(t *testing.T) {
	for _, front := range []bool{false, true} {
		for _, stream := range []bool{false, true} {
			r := newBedrockRig(t, nil)
			r.bedrock("b", "converse")
			r.up.Default(frontReply())
			var got reply
			if front {
				got = r.invokes(frontID, `"anthropic_beta":["mine-1"],`+converseRest, stream, "Anthropic-Beta", strings.Replace(converseBetas, ",mine-1", "", 1))
			} else {
				got = r.post(bedrockAsk(bedrockModel, converseRest, stream), "Anthropic-Beta", converseBetas)
			}
			if got.status != 200 {
				t.Fatalf("status %d: %s; %q", got.status, got.body, r.up.Refused())
			}
			dropped, want := strings.Split(got.header.Get("X-Sluice-Dropped"), ", "), converseNames
			if slices.Sort(dropped); front { // where Bedrock alone answers, the header's flags count only if the body has none
				want = slices.DeleteFunc(slices.Clone(want), func(s string) bool { return strings.HasPrefix(s, "beta:") && s != "beta:mine-1" })
			}
			if !slices.Equal(dropped, want) {
				t.Errorf("front %v, stream %v: dropped %q\nwant %q", front, stream, dropped, want)
			}
		}
	}
	r := newBedrockRig(t, nil)
	r.bedrock("b", "converse")
	r.up.Default(frontReply())
	if got := r.post(bedrockAsk(bedrockModel, bedrockRest, true)); got.status != 200 || got.header.Get("X-Sluice-Dropped") != "" {
		t.Errorf("of nothing: status %d, dropped %q", got.status, got.header.Get("X-Sluice-Dropped"))
	}
}

// TestMetrics_ConverseDropped: they are counted, too, by names of ours alone.
func TestMetrics_ConverseDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &counted{}
		b := bedrockBubble(t, gateway.Settings{}, "converse")
		b.count(m)
		b.node("1", "a", 1, bedrockNode("converse"))
		f := bedrockFrames[1]
		b.up.queue(answer("application/vnd.amazon.eventstream", step{data: f.head + f.first + f.rest}))
		if w := b.post(t.Context(), bedrockAsk(bedrockModel, converseRest, true), "Anthropic-Beta", converseBetas); w.status != 200 {
			t.Fatalf("%d: %s", w.status, w.text())
		}
		var got []string
		for _, s := range m.said {
			if d, ok := strings.CutPrefix(s, "dropped converse "); ok {
				got = append(got, d)
			} else if strings.HasPrefix(s, "dropped") {
				t.Errorf("counted %q", s)
			}
		}
		want := []string{"beta:claude-code-20250219", "beta:other", "beta:per-turn-control-2026-07-01", "context_management", "defer_loading", "messages[].output_config",
			"other", "other", "other", "other", "speed", "system[].cache_control.scope", "tool:other", "tools[].eager_input_streaming"}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("counted %q\nwant %q", got, want)
		}
	})
}

// TestBedrockConverse_ManyDropped: what a hostile body has too much of is neither named nor looked at without end.
func TestBedrockConverse_ManyDropped(t *testing.T) {
	r := newBedrockRig(t, nil)
	r.bedrock("b", "converse")
	r.up.Default(frontReply())
	var turn strings.Builder
	for i := range 10_000 {
		turn.WriteString(`,"` + strings.Repeat("x", i%300) + strconv.Itoa(i%5000) + `":1`)
	}
	body := `"max_tokens":100,"messages":[{"role":"user","content":"hi"` + turn.String() + `}]`
	got := r.post(bedrockAsk(bedrockModel, body, true), "Anthropic-Beta", strings.Repeat("a", 5000)+","+strings.Repeat("b,", 3000))
	if n := len(got.header.Get("X-Sluice-Dropped")); got.status != 200 || n < 100 || n > 8<<10 {
		t.Errorf("status %d, %d bytes of names", got.status, n)
	}
}

// TestBedrockFront_ConverseIDs: Converse takes the ids of the runtime, so that a profile stays what the client chose.
func TestBedrockFront_ConverseIDs(t *testing.T) {
	for _, c := range []struct {
		why, id, want string
		edit          func(*core.Node)
	}{
		{"the global profile", "global.anthropic.claude-opus-5-5", "global.anthropic.claude-opus-5-5", weight(1)},
		{"the region's", frontID, frontID, weight(1)},
		{"another region's, which the service judges", "eu.anthropic.claude-opus-5-5", "eu.anthropic.claude-opus-5-5", weight(1)},
		{"Anthropic's name", "claude-opus-5-5", frontID, weight(1)},
		{"a node that lists Anthropic's name alone", "global.anthropic.claude-opus-5-5", "global.anthropic.claude-opus-5-5", func(n *core.Node) { n.Models = []string{"claude-opus-*"} }},
	} {
		r := newBedrockRig(t, nil, oneTry...)
		r.bedrock("n", "converse", c.edit)
		r.up.Default(frontReply())
		got := r.invokes(c.id, bedrockRest, true)
		if sent := r.sawLast().ModelID; sent != c.want || got.status != 200 && !strings.HasPrefix(c.id, "eu.") {
			t.Errorf("%s: status %d, the service was asked for %q, want %q", c.why, got.status, sent, c.want)
		}
	}
}

// FuzzBedrockConverseDropped: whatever a client sends, the names of what a node of Converse does not get are few, and fit for a
// header.
func FuzzBedrockConverseDropped(f *testing.F) {
	for _, s := range []string{converseRest, bedrockRest, `"max_tokens":1,"messages":[{"role":"user","content":[{"type":"text","text":"x","\ud800,\n":1}],"":[]}]`,
		`"max_tokens":1,"messages":[{"role":"user","content":"x"}],"tools":{},"thinking":[{"x":1}],"metadata":null`} {
		f.Add(s, converseBetas)
	}
	f.Fuzz(func(t *testing.T, rest, flags string) {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, gateway.Settings{RetryMax: 1})
			b.o.Upstreams = map[core.Kind]upstream.Client{core.KindBedrock: b.up}
			b.count(&counted{})
			b.node("1", "a", 1, bedrockNode("converse"))
			frames := bedrockFrames[1]
			b.up.queue(answer("application/vnd.amazon.eventstream", step{data: frames.head + frames.first + frames.rest}))
			w := b.post(t.Context(), bedrockAsk(bedrockModel, rest, true), "Anthropic-Beta", flags)
			if w.status == 0 || w.status == 500 {
				t.Fatalf("status %d: %s", w.status, w.text())
			}
			dropped := w.sent.Get("X-Sluice-Dropped")
			if strings.ContainsFunc(dropped, func(r rune) bool { return r < ' ' || r > '~' }) || strings.Count(dropped, ", ") > 100 || len(dropped) > 32<<10 {
				t.Errorf("dropped %q", dropped)
			}
		})
	})
}
