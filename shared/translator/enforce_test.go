package translator_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"sluice/shared/sse"
	"sluice/shared/translator"
)

func TestEnforce(t *testing.T) {
	for _, c := range []struct {
		why    string
		limits translator.Enforce
		pieces []string
		text   string
		stop   string // reason and sequence; empty: the upstream's own end
	}{
		{"not met", translator.Enforce{Stop: []string{"END"}}, []string{"abc", "EN", "d"}, "abcENd", ""},
		{"within a piece", translator.Enforce{Stop: []string{"END"}}, []string{"abENDcd", "e"}, "ab", `stop_sequence "END"`},
		{"across pieces", translator.Enforce{Stop: []string{"END"}}, []string{"abE", "N", "Dcd"}, "ab", `stop_sequence "END"`},
		{"at once", translator.Enforce{Stop: []string{"END"}}, []string{"END"}, "", `stop_sequence "END"`},
		{"the first in the text", translator.Enforce{Stop: []string{"yy", "x"}}, []string{"axbyy"}, "a", `stop_sequence "x"`},
		{"the longest of two at one place", translator.Enforce{Stop: []string{"ab", "abc"}}, []string{"-abc"}, "-", `stop_sequence "abc"`},
		{"a beginning that goes on otherwise", translator.Enforce{Stop: []string{"aab"}}, []string{"a", "a", "a", "b"}, "a", `stop_sequence "aab"`},
		{"what was held comes at the end", translator.Enforce{Stop: []string{"END"}}, []string{"abEN"}, "abEN", ""},
		{"whitespace", translator.Enforce{Stop: []string{"\n\n"}}, []string{"a\n", "b\n", "\nc"}, "a\nb", `stop_sequence "\n\n"`},
		{"an empty one is none", translator.Enforce{Stop: []string{""}}, []string{"ab"}, "ab", ""},
		{"not ASCII", translator.Enforce{Stop: []string{"é!"}}, []string{"aé", "é", "!"}, "aé", `stop_sequence "é!"`},
		{"tokens", translator.Enforce{MaxTokens: 2}, []string{"abcd", "efghij"}, "abcdefgh", "max_tokens "},
		{"as many tokens as there may be", translator.Enforce{MaxTokens: 2}, []string{"abcdefgh"}, "abcdefgh", ""},
		{"not within a character", translator.Enforce{MaxTokens: 1}, []string{"abc€d"}, "abc", "max_tokens "},
		{"a limit beyond all", translator.Enforce{MaxTokens: 1<<63 - 1}, []string{"abc"}, "abc", ""},
		{"a sequence beyond the limit", translator.Enforce{MaxTokens: 1, Stop: []string{"END"}}, []string{"abcdefEND"}, "abcd", "max_tokens "},
		{"held text beyond the limit", translator.Enforce{MaxTokens: 1, Stop: []string{"deZ"}}, []string{"abcde"}, "abcd", "max_tokens "},
	} {
		var g grammar
		var col translator.Collector
		check := g.event(t)
		b := translator.NewBuilder(func(e *translator.Event) { check(e); col.Event(e) })
		b.Enforce(c.limits)
		b.Start("")
		for _, p := range c.pieces {
			b.Text(q(p), nil)
		}
		b.Stop(translator.StopEndTurn, nil)
		b.End()
		text := translator.PlainText(col.Reply.Blocks).Text()
		stop := string(col.Reply.Stop) + " " + string(col.Reply.Sequence)
		want := c.stop
		if want == "" {
			want = "end_turn "
		}
		if text != c.text || stop != want || !g.stopped {
			t.Errorf("%s: got %q, %s", c.why, text, stop)
		}
		if cut := b.Status().Cut; cut != (c.stop != "") {
			t.Errorf("%s: cut %v", c.why, cut)
		}
	}
}

// TestEnforce_OnlyText: limits bind text, not thinking and calls.
func TestEnforce_OnlyText(t *testing.T) {
	var tr trace
	b := translator.NewBuilder(tr.event)
	b.Enforce(translator.Enforce{Stop: []string{"END"}, MaxTokens: 1})
	b.Start("")
	b.Thinking(q("END of thinking"))
	b.Tool(0, "c", "n", false)
	b.Input(0, q(`{"a":"END"}`))
	b.Stop(translator.StopToolUse, nil)
	b.End()
	if got := tr.String(); !strings.HasSuffix(got, "final tool_use |stop") || b.Status().Cut {
		t.Errorf("got %s", got)
	}
}

func FuzzEnforce(f *testing.F) {
	f.Add("some text with END in it", "END", uint8(3), int64(4))
	f.Add("aaab", "aab", uint8(1), int64(0))
	f.Add("€€€€", "€", uint8(2), int64(1))
	f.Fuzz(func(t *testing.T, text, stop string, step uint8, limit int64) {
		text, stop = strings.ToValidUTF8(text, ""), strings.ToValidUTF8(stop, "")
		if step == 0 || len(text) > 1000 {
			return
		}
		var g grammar
		var col translator.Collector
		check := g.event(t)
		b := translator.NewBuilder(func(e *translator.Event) { check(e); col.Event(e) })
		b.Enforce(translator.Enforce{Stop: []string{stop}, MaxTokens: limit})
		b.Start("")
		runes := []rune(text)
		for len(runes) > 0 {
			n := min(int(step), len(runes))
			b.Text(q(string(runes[:n])), nil)
			runes = runes[n:]
		}
		b.Stop(translator.StopEndTurn, nil)
		b.End()
		want := text
		if stop != "" {
			want, _, _ = strings.Cut(text, stop)
		}
		got := ""
		for _, bl := range col.Reply.Blocks {
			got += bl.Text.Text()
		}
		if limit > 0 && limit < 1000 && int64(len(want)) > 4*limit {
			want = want[:4*limit]
			for !utf8.ValidString(want) {
				want = want[:len(want)-1]
			}
		}
		if got != want || !g.stopped {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

// lines is a Source of events that are a JSON string each, and a Sink that writes texts.
type lines struct{ b *translator.Builder }

func (l lines) Event(ev sse.Event) error {
	switch string(ev.Name) {
	case "start":
		l.b.Start("")
	case "end":
		l.b.Stop(translator.StopEndTurn, nil)
		l.b.End()
	case "fail":
		l.b.Fail(&translator.Error{Type: "api_error", Message: "m"})
	case "bad":
		return errBad
	default:
		l.b.Text(translator.Raw(ev.Data), nil)
	}
	return nil
}

var errBad = &translator.Error{Type: "bad"}

type lineBack struct{ translator.Back }

func (lineBack) NewSource(b *translator.Builder) translator.Source { return lines{b} }

type lineSink struct{}

func (lineSink) Event(dst []byte, e *translator.Event) []byte {
	if e.Type == translator.EvText {
		return append(dst, e.Data...)
	}
	return dst
}

func (lineSink) Fail(dst []byte, e *translator.Error) []byte { return append(dst, e.Type...) }

func TestPipe(t *testing.T) {
	const start, text = "event: start\ndata\n\n", "data: \"a\"\n\n"
	for _, c := range []struct{ why, in, out, status string }{
		{"text", start + text + text, `"a""a"`, "started content"},
		{"an error after content goes out", start + text + "event: fail\n\n" + text, `"a"api_error`, "started content ended err"},
		{"an error before content does not: another node may do better", start + "event: fail\n\n" + text, "", "started ended err"},
		{"an upstream of another dialect", start + text + "event: bad\n\n" + text, `"a"`, "started content broken"},
		{"an end", start + text + "event: end\n\n" + text, `"a"`, "started content ended"},
	} {
		p := translator.NewPipe(lineBack{}, lineSink{}, translator.Enforce{})
		out := string(p.Batch([]byte(c.in)))
		st := *p.Status()
		status := ""
		for _, s := range []struct {
			is   bool
			word string
		}{{st.Started, "started"}, {st.Content, " content"}, {st.Ended, " ended"}, {st.Err != nil, " err"}, {st.Broken != nil, " broken"}} {
			if s.is {
				status += s.word
			}
		}
		if out != c.out || status != c.status {
			t.Errorf("%s: got %q, %s", c.why, out, status)
		}
		if more := p.Batch([]byte(text)); (st.Ended || st.Broken != nil) && len(more) > 0 {
			t.Errorf("%s: after the end came %q", c.why, more)
		}
		if string(p.Fail(&translator.Error{Type: "x"})) != "x" {
			t.Error("Fail does not ask the sink")
		}
	}
}
