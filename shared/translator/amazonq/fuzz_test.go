package amazonq_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"sluice/shared/sse"
	"sluice/shared/translator"
	"sluice/shared/translator/anthropic"
)

// Whatever a client sends, the body is one that the service takes, or the error is the client's; and no result is lost.
func FuzzEncode(f *testing.F) {
	for _, s := range []string{
		with(user(`"hi"`)+`,`+assistant(`[`+call("a", "f")+`,`+call("a", "g.h")+`]`)+`,`+user(`[`+answer("a", "x")+`,`+png+`]`), aTool+`,"system":"S"`),
		with(assistant(`[`+call("\u00e9", "")+`]`)+`,`+user(`"x"`)+`,`+user(`[`+answer("\u00e9", "y")+`]`), aTool),
		with(user(strings.Replace(`[`+png+`]`, `"data":"`, `"data":"aG=k`, 1)), ``),
		with(user(`[{"type":"document","source":{"type":"text","media_type":"text/plain","data":"d"}}]`), `,"tool_choice":{"type":"none"}`+aTool),
		with(assistant(`[{"type":"thinking","thinking":"t","signature":"s"}]`)+`,`+user(`[{"type":"text","text":"x","cache_control":{}}]`), `,"cache_control":{}`),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := anthropic.Codec{}.Decode(in)
		if err != nil {
			return
		}
		r, _ = r.FitNamesTo(codec.Names())
		e, err := codec.Encode(r, target)
		if err != nil {
			var field *translator.FieldError
			if !errors.As(err, &field) || field.Message == "" {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		_, problem := valid(e.Body)
		if problem != "" {
			t.Fatalf("the service refuses %s: %s", problem, e.Body)
		}
		for _, m := range r.Messages {
			for _, b := range m.Content {
				for _, c := range b.Content {
					inner := strings.Trim(string(c.Text), `"`)
					if b.Type == translator.BlockToolResult && c.Type == translator.BlockText && !strings.Contains(inner, `\`) && !strings.Contains(string(e.Body), inner) {
						t.Fatalf("the result %q is lost in %s", inner, e.Body)
					}
				}
			}
		}
	})
}

// Whatever the service streams, events keep their grammar, and the end is clean only when there was content, or the service
// counted up an answer without.
func FuzzSource(f *testing.F) {
	for _, c := range streams {
		f.Add(strings.Join(c.events, "\n"))
	}
	f.Add(`!ThrottlingException {"message":"m"}`)
	f.Fuzz(func(t *testing.T, in string) {
		l := newListener()
		s := codec.NewSource(l.b)
		for _, line := range strings.Split(in, "\n") {
			name, payload, _ := strings.Cut(line, " ")
			if x, is := strings.CutPrefix(name, "!"); is {
				name = "exception/" + x
			}
			if err := s.Event(sse.Event{Name: []byte(name), Data: []byte(payload)}); err != nil {
				l.b.Break(err)
				break
			}
		}
		err := s.(translator.Ender).End()
		st := l.b.Status()
		if l.bad != "" {
			t.Fatal(l.bad)
		}
		counted := strings.Contains(in, "metadataEvent") || strings.Contains(in, "meteringEvent") || strings.Contains(in, "contextUsageEvent")
		if err == nil && st.Err == nil && st.Broken == nil && (!st.Ended || len(l.c.Reply.Blocks) == 0 && !counted) {
			t.Fatalf("a clean end of nothing: %+v", st)
		}
		for _, b := range l.c.Reply.Blocks {
			if st.Ended && st.Err == nil && b.Type == translator.BlockToolUse && !json.Valid(b.Input) {
				t.Fatalf("input %s", b.Input)
			}
		}
	})
}

func FuzzReadReply(f *testing.F) {
	for _, c := range streams {
		f.Add([]byte(stream(f, c.events...)))
	}
	f.Add([]byte(`{"__type":"ThrottlingException"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		l := newListener()
		if err := codec.ReadReply(in, l.b); err == nil && (!l.b.Status().Ended || l.bad != "") {
			t.Fatalf("%+v %s", l.b.Status(), l.bad)
		}
	})
}

func FuzzParseError(f *testing.F) {
	f.Add(400, []byte(`{"__type":"a#ThrottlingException:b","message":"\u00e9","reason":"X"}`))
	f.Add(0, []byte(`<html>`))
	f.Fuzz(func(t *testing.T, status int, in []byte) {
		e := codec.ParseError(status, in)
		if e.Status < 400 || e.Type == "" || e.Message == "" || len(e.Message) > 4096 || !json.Valid(translator.Quote(e.Message)) {
			t.Fatalf("%+v", e)
		}
	})
}
