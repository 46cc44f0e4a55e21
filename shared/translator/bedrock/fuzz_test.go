package bedrock_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"sluice/shared/sse"
	"sluice/shared/translator"
	"sluice/shared/translator/anthropic"
	"sluice/shared/translator/bedrock"
)

// Whatever a client sends, the body is one that the service takes, or the error is the client's; no result is lost, and no
// cache mark without a word.
func FuzzEncode(f *testing.F) {
	for _, s := range []string{
		with(user(`"hi"`)+`,`+assistant(`[`+call("a", "f")+`,`+call("a", "g.h")+`]`)+`,`+user(`[`+answer("a", "x")+`,`+png+`]`), aTool+`,"system":"S"`),
		with(assistant(`[`+call("\u00e9", "")+`]`)+`,`+user(`"x"`)+`,`+user(`[`+answer("\u00e9", "y")+`]`), aTool),
		with(user(`[`+pdf+`,`+pdf+`]`), `,"tool_choice":{"type":"none"}`+aTool),
		with(hi+`,`+assistant(`[{"type":"thinking","thinking":"t","signature":"s"},{"type":"redacted_thinking","data":"ZA=="}]`)+`,`+user(`[{"type":"text","text":"x"`+mark1+`}]`), mark),
		with(hi, `,"stop_sequences":["a"," "],"temperature":2,"thinking":{"type":"adaptive"},"output_config":{"effort":"low"},"metadata":{"user_id":"u"}`),
	} {
		for i := range models {
			f.Add([]byte(s), i)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, model int) {
		r, err := anthropic.Codec{}.Decode(in)
		if err != nil {
			return
		}
		r, _ = r.FitNamesTo(codec.Names())
		e, err := codec.Encode(r, translator.Target{Model: models[uint(model)%uint(len(models))]})
		if err != nil {
			var field *translator.FieldError
			if !errors.As(err, &field) || field.Message == "" {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		if !json.Valid(e.Body) {
			t.Fatalf("no JSON: %s", e.Body)
		}
		if _, problem := valid(e.Body); problem != "" && !theClients(problem) {
			t.Fatalf("the service refuses %s: %s", problem, e.Body)
		}
		if marked(r) && !strings.Contains(string(e.Body), `{"cachePoint":`) && !slices.Contains(e.Dropped, "cache_control") {
			t.Fatalf("a mark is lost in %s, dropped %q", e.Body, e.Dropped)
		}
		for _, m := range r.Messages {
			for _, b := range m.Content {
				for _, c := range b.Content {
					inner := strings.Trim(string(c.Text), `"`)
					if b.Type == translator.BlockToolResult && c.Type == translator.BlockText && strings.TrimSpace(c.Text.Text()) != "" && !strings.Contains(string(e.Body), inner) {
						t.Fatalf("the result %q is lost in %s", inner, e.Body)
					}
				}
			}
		}
	})
}

func marked(r *translator.Request) bool {
	is := r.CacheControl != nil
	for _, t := range r.Tools {
		is = is || t.CacheControl != nil
	}
	for _, m := range append([]translator.Message{{Content: r.System}}, r.Messages...) {
		for _, b := range m.Content {
			is = is || b.CacheControl != nil
			for _, c := range b.Content {
				is = is || c.CacheControl != nil
			}
		}
	}
	return is
}

var models = []string{sonnet, opus, old, nova, llama}

// theClients reports whether what is wrong is the client's own, which the service says better: numbers beyond its own, and
// base64 that is none.
func theClients(problem string) bool {
	return strings.Contains(problem, "base64") || strings.Contains(problem, "cannot unmarshal number")
}

// Whatever the service streams, events keep their grammar, and an end without a reason is none.
func FuzzSource(f *testing.F) {
	for _, c := range streams {
		f.Add(strings.Join(c.events, "\n"))
	}
	f.Add(`!throttlingException {"message":"m"}`)
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
		if err == nil && st.Err == nil && st.Broken == nil && (!st.Ended || !strings.Contains(in, "messageStop")) {
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
	for _, c := range replies {
		f.Add([]byte(c.body))
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
	f.Add(400, "ThrottlingException:b", []byte(`{"message":"\u00e9"}`))
	f.Add(0, "", []byte(`{"__type":"a#ValidationException","message":"Input is too long"}`))
	f.Add(500, "x", []byte(`<html>`))
	f.Fuzz(func(t *testing.T, status int, header string, in []byte) {
		e := codec.ParseError(status, bedrock.WithType(header, in))
		if e.Status < 400 || e.Type == "" || e.Message == "" || len(e.Message) > 4096 || !json.Valid(translator.Quote(e.Message)) {
			t.Fatalf("%+v", e)
		}
	})
}
