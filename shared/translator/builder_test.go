package translator_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/shared/translator"
)

// trace writes events as short lines.
type trace struct{ lines []string }

func (t *trace) event(e *translator.Event) {
	add := func(format string, args ...any) { t.lines = append(t.lines, fmt.Sprintf(format, args...)) }
	switch e.Type {
	case translator.EvStart:
		add("start %s", e.Upstream)
	case translator.EvBlockStart:
		kind := []string{"text", "image", "document", "thinking", "redacted", "call", "result", "other"}[e.Block.Type]
		if e.Block.Refusal {
			kind = "refusal"
		}
		add("%d %s%s", e.Index, kind, strings.TrimRight(" "+e.Block.ID+e.Block.Kind, " "))
	case translator.EvText, translator.EvThinking, translator.EvInput:
		add("%d %s%s", e.Index, e.Data, e.Logprobs)
	case translator.EvSignature:
		add("%d signature %s", e.Index, e.Data)
	case translator.EvCitation:
		add("%d cite %s", e.Index, e.Citation.Raw)
	case translator.EvBlockStop:
		add("%d end", e.Index)
	case translator.EvFinal:
		add("final %s %s", e.Stop, e.Sequence)
	case translator.EvStop:
		add("stop")
	}
}

func (t *trace) String() string { return strings.Join(t.lines, "|") }

func raw(s string) translator.Raw { return translator.Raw(s) }

// q is a JSON string.
func q(s string) translator.Raw { return translator.Quote(s) }

func TestBuilder(t *testing.T) {
	end := func(b *translator.Builder) { b.Stop(translator.StopEndTurn, nil); b.End() }
	for _, c := range []struct {
		why   string
		build func(b *translator.Builder)
		want  string
	}{
		{"an answer without content", end, "start u|final end_turn |stop"},
		{"pieces of one text are one block", func(b *translator.Builder) { b.Text(q("a"), nil); b.Text(q("b"), nil); end(b) },
			`start u|0 text|0 "a"|0 "b"|0 end|final end_turn |stop`},
		{"an empty piece is nothing", func(b *translator.Builder) { b.Text(q(""), nil); b.Thinking(q("")); b.Input(7, q("")); end(b) },
			"start u|final end_turn |stop"},
		{"log probabilities of an empty piece are kept", func(b *translator.Builder) { b.Text(nil, raw(`[1]`)); end(b) },
			`start u|0 text|0 ""[1]|0 end|final end_turn |stop`},
		{"a closed text is not gone on with", func(b *translator.Builder) { b.Text(q("a"), nil); b.Close(); b.Close(); b.Text(q("b"), nil); end(b) },
			`start u|0 text|0 "a"|0 end|1 text|1 "b"|1 end|final end_turn |stop`},
		{"a refusal is a text of its own", func(b *translator.Builder) { b.Text(q("a"), nil); b.Refuse(q("no")); end(b) },
			`start u|0 text|0 "a"|0 end|1 refusal|1 "no"|1 end|final end_turn |stop`},
		{"thinking ends with its signature", func(b *translator.Builder) {
			b.Thinking(q("t"))
			b.Signature(q("s"))
			b.Thinking(q("u"))
			b.Text(q("a"), nil)
			end(b)
		}, `start u|0 thinking|0 "t"|0 signature "s"|0 end|1 thinking|1 "u"|1 end|2 text|2 "a"|2 end|final end_turn |stop`},
		{"a signature alone is a block", func(b *translator.Builder) { b.Signature(q("s")); end(b) },
			`start u|0 thinking|0 signature "s"|0 end|final end_turn |stop`},
		{"whole blocks", func(b *translator.Builder) { b.Redacted(q("d")); b.Other("k", raw("{}")); end(b) },
			`start u|0 redacted|0 end|1 other k|1 end|final end_turn |stop`},
		{"a citation needs a text", func(b *translator.Builder) {
			b.Cite(&translator.Citation{Raw: raw("1")})
			b.Text(q("a"), nil)
			b.Cite(&translator.Citation{Raw: raw("2")})
			end(b)
		}, `start u|0 text|0 "a"|0 cite 2|0 end|final end_turn |stop`},
		{"nothing comes after the end", func(b *translator.Builder) {
			end(b)
			b.Text(q("a"), nil)
			b.Tool(0, "i", "n", false)
			b.Start("v")
			b.Close()
			b.CloseAll()
			end(b)
			b.Fail(&translator.Error{})
			b.Break(fmt.Errorf("late"))
		}, "start u|final end_turn |stop"},
		{"a second start is nothing", func(b *translator.Builder) { b.Start("v"); end(b) }, "start u|final end_turn |stop"},
		{"the last stop reason counts", func(b *translator.Builder) {
			b.Stop(translator.StopMaxTokens, nil)
			b.Stop(translator.StopSequence, q("x"))
			b.End()
		}, `start u|final stop_sequence "x"|stop`},
		{"an upstream's error ends it", func(b *translator.Builder) {
			b.Text(q("a"), nil)
			b.Fail(&translator.Error{})
			b.Text(q("b"), nil)
			end(b)
		}, `start u|0 text|0 "a"`},
	} {
		var tr trace
		b := translator.NewBuilder(tr.event)
		b.Start("u")
		c.build(b)
		if tr.String() != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.why, tr.String(), c.want)
		}
		if b.Status().Broken != nil {
			t.Errorf("%s: broken: %v", c.why, b.Status().Broken)
		}
	}
}

// TestBuilder_Calls: the input of one call is never torn by another's.
func TestBuilder_Calls(t *testing.T) {
	type step struct {
		key   int
		begin bool
		input string
	}
	for _, c := range []struct {
		why   string
		steps []step
		want  string
	}{
		{"in turn", []step{{1, true, ""}, {1, false, `{"a"`}, {1, false, `:1}`}, {2, true, ""}, {2, false, "{}"}},
			`0 call 1|0 "{\"a\""|0 ":1}"|0 end|1 call 2|1 "{}"|1 end`},
		{"the second waits for the first", []step{{1, true, ""}, {1, false, "{"}, {2, true, ""}, {2, false, "{"}, {1, false, "}"}, {2, false, "}"}},
			`0 call 1|0 "{"|0 "}"|0 end|1 call 2|1 "{"|1 "}"|1 end`},
		{"all three at once", []step{{1, true, ""}, {2, true, ""}, {3, true, ""}, {3, false, "[3]"}, {2, false, "[2]"}, {1, false, "[1]"}},
			`0 call 1|0 "[1]"|0 end|1 call 2|1 "[2]"|1 end|2 call 3|2 "[3]"|2 end`},
		{"without input", []step{{1, true, ""}, {2, true, ""}}, `0 call 1|0 end|1 call 2|1 end`},
		{"brackets within strings do not count", []step{{1, true, ""}, {1, false, `{"a":"}`}, {2, true, ""}, {1, false, `{[\"\\"}`}, {2, false, "{}"}},
			`0 call 1|0 "{\"a\":\"}"|0 "{[\\\"\\\\\"}"|0 end|1 call 2|1 "{}"|1 end`},
		{"what trails a complete call is whitespace", []step{{1, true, ""}, {1, false, "{}"}, {2, true, ""}, {1, false, " \n"}, {2, false, "{}"}},
			`0 call 1|0 "{}"|0 end|1 call 2|1 "{}"|1 end`},
		{"a string is complete, too", []step{{1, true, ""}, {1, false, `"x\"`}, {2, true, ""}, {1, false, `y"`}},
			`0 call 1|0 "\"x\\\""|0 "y\""|0 end|1 call 2|1 end`},
	} {
		var tr trace
		b := translator.NewBuilder(tr.event)
		b.Start("")
		for _, s := range c.steps {
			if s.begin {
				b.Tool(s.key, fmt.Sprint(s.key), "n", false)
			} else {
				b.Input(s.key, q(s.input))
			}
		}
		b.Stop(translator.StopToolUse, nil)
		b.End()
		want := "start |" + c.want + "|final tool_use |stop"
		if tr.String() != want || b.Status().Broken != nil {
			t.Errorf("%s: %v\ngot  %s\nwant %s", c.why, b.Status().Broken, tr.String(), want)
		}
	}
}

// TestBuilder_Escapes: the depth is that of the text within the JSON string, however it is escaped.
// An upstream that begins thousands of calls must not make each piece of input cost as much as all of them.
func TestBuilder_ManyWaitingCalls(t *testing.T) {
	took := func(calls int) time.Duration {
		best := time.Hour
		for range 3 {
			b := translator.NewBuilder(func(*translator.Event) {})
			b.Start("")
			for key := range calls {
				b.Tool(key, "id", "f", false)
			}
			piece, start := q("x"), time.Now()
			for range 20_000 {
				b.Input(calls-1, piece)
			}
			best = min(best, time.Since(start))
			if b.Status().Broken != nil {
				t.Fatal(b.Status().Broken)
			}
		}
		return best
	}
	if few, many := took(20), took(9000); many > 30*few+10*time.Millisecond {
		t.Errorf("20,000 pieces beside 20 calls took %v, beside 9,000 calls %v", few, many)
	}
}

// An upstream that never stops must not fill the memory of a sink that repeats the answer at its end.
func TestBuilder_EndlessAnswers(t *testing.T) {
	piece := translator.Quote(strings.Repeat("x", 1<<20))
	for why, tell := range map[string]func(b *translator.Builder){
		"text":      func(b *translator.Builder) { b.Text(piece, nil) },
		"thinking":  func(b *translator.Builder) { b.Thinking(piece) },
		"logprobs":  func(b *translator.Builder) { b.Text(q("x"), piece) },
		"input":     func(b *translator.Builder) { b.Tool(1, "id", "f", false); b.Input(1, q("{")); b.Input(1, piece) },
		"redacted":  func(b *translator.Builder) { b.Redacted(piece) },
		"other":     func(b *translator.Builder) { b.Other("k", piece) },
		"ids":       func(b *translator.Builder) { b.Tool(1, string(piece), "f", false); b.Close() },
		"citations": func(b *translator.Builder) { b.Text(q("x"), nil); b.Cite(&translator.Citation{URL: piece}) },
	} {
		b := translator.NewBuilder(func(*translator.Event) {})
		b.Start("")
		n := 0
		for ; n < 100 && b.Status().Broken == nil; n++ {
			tell(b)
		}
		if n < 60 || n > 66 {
			t.Errorf("%s: broken after %d MiB", why, n)
		}
	}
}

func TestBuilder_Escapes(t *testing.T) {
	for _, first := range []string{
		`"{}"`, `"\u007b\u007d"`, `"{\"a\":\"\\\"}\"}"`, `"{\"a\":\"\u005c\u0022}\"}"`, `"[\n{}\t]"`, `"{\"\u00e9\u4e2d\":1}"`, `"\"\\\\\""`,
	} {
		var tr trace
		b := translator.NewBuilder(tr.event)
		b.Start("")
		b.Tool(1, "1", "n", false)
		b.Input(1, raw(first))
		b.Tool(2, "2", "n", false)
		if got := tr.lines[len(tr.lines)-1]; got != "1 call 2" {
			t.Errorf("%s is complete, but the next call waits: %s", first, &tr)
		}
	}
	for _, first := range []string{`"{"`, `"{\"a\":\"}"`, `"{\"a\":\"\\\"}"`, `"\"\\\\\\\""`, `"\u005b"`, `"12"`, `""`} {
		var tr trace
		b := translator.NewBuilder(tr.event)
		b.Start("")
		b.Tool(1, "1", "n", false)
		b.Input(1, raw(first))
		b.Tool(2, "2", "n", false)
		if got := tr.lines[len(tr.lines)-1]; got == "1 call 2" {
			t.Errorf("%s is incomplete, but the next call does not wait", first)
		}
	}
}

func TestBuilder_Broken(t *testing.T) {
	for _, c := range []struct {
		why   string
		build func(b *translator.Builder)
	}{
		{"content before the start", func(b *translator.Builder) { b.Text(q("a"), nil) }},
		{"end before the start", func(b *translator.Builder) { b.End() }},
		{"end without a reason", func(b *translator.Builder) { b.Start(""); b.End() }},
		{"input of no call", func(b *translator.Builder) { b.Start(""); b.Input(1, q("{")) }},
		{"more calls than any answer has", func(b *translator.Builder) {
			b.Start("")
			for i := range 20_002 {
				b.Tool(i, "i", "n", false)
			}
		}},
		{"more blocks than any answer has", func(b *translator.Builder) {
			b.Start("")
			for range 10_001 {
				b.Text(q("a"), nil)
				b.Close()
			}
		}},
		{"more waiting input than any answer has", func(b *translator.Builder) {
			b.Start("")
			b.Tool(1, "1", "n", false)
			b.Tool(2, "2", "n", false)
			for range 20 {
				b.Input(2, q(strings.Repeat("x", 1<<20)))
			}
		}},
	} {
		var g grammar
		b := translator.NewBuilder(g.event(t))
		c.build(b)
		if b.Status().Broken == nil || b.Status().Ended || g.stopped {
			t.Errorf("%s: got %+v", c.why, b.Status())
		}
	}
}

func TestBuilder_Usage(t *testing.T) {
	var final int64
	b := translator.NewBuilder(func(e *translator.Event) {
		if e.Type == translator.EvFinal {
			final = e.Usage.Output
		}
	})
	b.Start("")
	b.Usage(false).Input = 3
	b.Text(q(strings.Repeat("x", 400)), nil)
	if got, estimated := b.Tokens(); got.Output != 100 || got.Input != 3 || !estimated {
		t.Errorf("in the middle: %+v %v", got, estimated)
	}
	b.Stop(translator.StopEndTurn, nil)
	b.End()
	if got, estimated := b.Tokens(); got.Output != 100 || !estimated || final != 100 {
		t.Errorf("without a count: %+v %v, told %d", got, estimated, final)
	}
	b = translator.NewBuilder(func(*translator.Event) {})
	b.Start("")
	b.Text(q(strings.Repeat("x", 400)), nil)
	b.Usage(true).Output = 7
	if got, estimated := b.Tokens(); got.Output != 7 || estimated {
		t.Errorf("with a count: %+v %v", got, estimated)
	}
}

func TestBuilder_Content(t *testing.T) {
	for _, c := range []struct {
		why   string
		build func(b *translator.Builder)
		want  bool
	}{
		{"a start alone", func(*translator.Builder) {}, false},
		{"an opened block", func(b *translator.Builder) { b.Open(translator.Block{Type: translator.BlockText}) }, false},
		{"text", func(b *translator.Builder) { b.Text(q("a"), nil) }, true},
		{"thinking", func(b *translator.Builder) { b.Thinking(q("a")) }, true},
		{"redacted", func(b *translator.Builder) { b.Redacted(q("a")) }, true},
		{"a call", func(b *translator.Builder) { b.Tool(0, "i", "n", false) }, true},
		{"another block", func(b *translator.Builder) { b.Other("k", raw("{}")) }, true},
		{"an end", func(b *translator.Builder) { b.Stop(translator.StopEndTurn, nil); b.End() }, true},
	} {
		b := translator.NewBuilder(func(*translator.Event) {})
		b.Start("")
		c.build(b)
		if b.Status().Content != c.want {
			t.Errorf("%s: content %v", c.why, !c.want)
		}
	}
}

// grammar checks that events come in their order.
type grammar struct {
	blocks                          int
	started, open, finaled, stopped bool
	block                           translator.BlockType
}

func (g *grammar) event(t testing.TB) func(*translator.Event) {
	return func(e *translator.Event) {
		t.Helper()
		ok := g.started && !g.finaled
		switch e.Type {
		case translator.EvStart:
			ok = !g.started
			g.started = true
		case translator.EvBlockStart:
			ok = ok && !g.open && e.Index == g.blocks
			g.open, g.block = true, e.Block.Type
			g.blocks++
		case translator.EvBlockStop:
			ok = ok && g.open && e.Index == g.blocks-1 && e.Block.Type == g.block
			g.open = false
		case translator.EvFinal:
			ok = ok && !g.open && e.Stop != "" && e.Usage != nil
			g.finaled = true
		case translator.EvStop:
			ok = g.finaled && !g.stopped
			g.stopped = true
		default:
			kinds := map[translator.EventType]translator.BlockType{translator.EvText: translator.BlockText, translator.EvCitation: translator.BlockText,
				translator.EvThinking: translator.BlockThinking, translator.EvSignature: translator.BlockThinking, translator.EvInput: translator.BlockToolUse}
			ok = ok && g.open && e.Index == g.blocks-1 && g.block == kinds[e.Type] && e.Block.Type == g.block
		}
		if !ok {
			t.Fatalf("event %d (index %d) against the grammar: %+v", e.Type, e.Index, *g)
		}
	}
}

// FuzzBuilder calls its methods in any order: the events keep to their grammar, and an end is the end.
func FuzzBuilder(f *testing.F) {
	f.Add([]byte{0, 1, 1, 2, 3, 12, 13}, "text {}", false)
	f.Add([]byte{0, 6, 22, 7, 23, 39, 8, 12, 13}, `{"a":"}`, false)
	f.Add([]byte{0, 1, 17, 4, 5, 9, 10, 11, 12, 13, 13}, "a\nstop b", true)
	f.Fuzz(func(t *testing.T, steps []byte, text string, enforce bool) {
		var g grammar
		var c translator.Collector
		check := g.event(t)
		b := translator.NewBuilder(func(e *translator.Event) { check(e); c.Event(e) })
		if enforce {
			b.Enforce(translator.Enforce{Stop: []string{"stop", "op ", ""}, MaxTokens: 40})
		}
		for i, s := range steps {
			key := int(s >> 4)
			from := min(i, len(text))
			piece := q(strings.ToValidUTF8(text[from:min(from+1+key, len(text))], ""))
			switch s & 15 {
			case 0:
				b.Start("u")
			case 1, 14:
				b.Text(piece, nil)
			case 2:
				b.Thinking(piece)
			case 3:
				b.Signature(piece)
			case 4:
				b.Redacted(piece)
			case 5:
				b.Refuse(piece)
			case 6, 15:
				b.Tool(key, "i", "n", false)
			case 7:
				b.Input(key, piece)
			case 8:
				b.Close()
			case 9:
				b.CloseAll()
			case 10:
				b.Other("k", raw("{}"))
			case 11:
				b.Cite(&translator.Citation{})
			case 12:
				b.Stop(translator.StopEndTurn, piece)
			case 13:
				b.End()
			}
		}
		st := b.Status()
		if st.Ended != g.stopped || st.Ended && st.Broken != nil || st.Content && !st.Started || st.Cut && !st.Ended {
			t.Fatalf("got %+v, stopped %v", st, g.stopped)
		}
		if len(c.Reply.Blocks) != g.blocks {
			t.Fatalf("%d blocks collected of %d", len(c.Reply.Blocks), g.blocks)
		}
		if tokens, _ := b.Tokens(); tokens.Output < 0 {
			t.Fatalf("got %+v", tokens)
		}
	})
}
