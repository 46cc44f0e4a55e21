package translator_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/translator"
)

func TestCollector(t *testing.T) {
	var c translator.Collector
	b := translator.NewBuilder(c.Event)
	piece := []byte(`"one \n"`)
	b.Start("up")
	b.Thinking(q("t"))
	b.Signature(piece)
	b.Text(piece, raw(`[1]`))
	cite := []byte(`{"a":1}`)
	b.Cite(&translator.Citation{Raw: cite})
	b.Text(q("two"), raw(`[2,3]`))
	b.Tool(0, "id", "name", true)
	b.Input(0, q(`{"a"`))
	b.Input(0, q(`:1}`))
	data, other := []byte(`"data"`), []byte(`{"type":"k"}`)
	b.Redacted(data)
	b.Other("k", other)
	b.Tool(1, "id2", "name", false)
	b.Input(1, q(`no json`))
	b.Usage(true).Output = 9
	b.Stop(translator.StopSequence, q("x"))
	b.End()
	for _, view := range [][]byte{piece, cite, data, other} { // they are good only while they are given
		for i := range view {
			view[i] = '!'
		}
	}
	want := translator.Reply{
		Upstream: "up", Stop: translator.StopSequence, Sequence: q("x"),
		Usage: translator.Usage{Tokens: core.Tokens{Output: 9}},
		Blocks: []translator.Block{
			{Type: translator.BlockThinking, Text: q("t"), Signature: raw(`"one \n"`)},
			{Type: translator.BlockText, Text: raw(`"one \ntwo"`), Citations: []translator.Citation{{Raw: raw(`{"a":1}`)}}},
			{Type: translator.BlockToolUse, ID: "id", Name: "name", Custom: true, Input: raw(`{"a":1}`)},
			{Type: translator.BlockRedacted, Signature: raw(`"data"`)},
			{Type: translator.BlockOther, Kind: "k", Raw: raw(`{"type":"k"}`)},
			{Type: translator.BlockToolUse, ID: "id2", Name: "name", Input: raw(`{"arguments":"no json"}`)},
		},
		Logprobs: []translator.Raw{nil, raw(`[1,2,3]`)},
	}
	if !reflect.DeepEqual(c.Reply, want) {
		t.Errorf("got  %s\nwant %s", dump(c.Reply), dump(want))
	}
}

func dump(v any) string {
	b, _ := json.MarshalIndent(v, "", " ")
	return string(b)
}

func TestCarry(t *testing.T) {
	for _, c := range []struct{ id, encrypted string }{{"rs_1", `"gAAA/+=="`}, {"", `""`}, {"é\"\n", `"\u00e9"`}} {
		s := translator.CarryReasoning(c.id, raw(c.encrypted))
		id, encrypted, ok := translator.Reasoning(s)
		if !ok || id != c.id || string(encrypted) != c.encrypted {
			t.Errorf("%+v: got %q %s %v", c, id, encrypted, ok)
		}
		b := translator.Block{Type: translator.BlockThinking, Text: q("t"), Signature: s}
		if b.Native() {
			t.Errorf("%+v: an envelope of OpenAI's passes for Anthropic's signature", c)
		}
	}
	for _, b := range []translator.Block{
		{Type: translator.BlockThinking, Text: raw(`"a\u00e9\n"`), Signature: raw(`"sig/+="`)},
		{Type: translator.BlockThinking, Text: q(""), Signature: q("s")},
		{Type: translator.BlockRedacted, Signature: q("data")},
	} {
		carried := translator.CarryThinking(&b)
		got, ok := translator.ThinkingBlock(carried)
		if !ok || !reflect.DeepEqual(got, b) || !got.Native() {
			t.Errorf("got %+v, %v, want %+v", got, ok, b)
		}
	}
	slashed := strings.ReplaceAll(string(translator.CarryReasoning("????????", raw(`"e"`))), "/", `\/`)
	if id, _, ok := translator.Reasoning(raw(slashed)); !ok || id != "????????" || !strings.Contains(slashed, `\/`) {
		t.Errorf("a client that escapes slashes loses the reasoning: %s", slashed)
	}
	unsigned, ok := translator.ThinkingBlock(translator.CarryThinking(&translator.Block{Type: translator.BlockThinking, Text: q("t")}))
	if !ok || unsigned.Native() {
		t.Errorf("thinking without a signature: %+v, %v", unsigned, ok)
	}
	if _, encrypted, ok := translator.Reasoning(translator.CarryReasoning("i", nil)); !ok || !encrypted.IsEmpty() {
		t.Errorf("reasoning without content: %s, %v", encrypted, ok)
	}
	for _, bad := range []string{``, `null`, `"x"`, `"sluice-r1."`, `"sluice-r1.!!"`, `"sluice-r1.bnVsbA"`, `"sluice-a1.e30"`, `"sluice-a1.W10"`, `7`} {
		if _, _, ok := translator.Reasoning(raw(bad)); ok {
			t.Errorf("%s passes for reasoning", bad)
		}
		if _, ok := translator.ThinkingBlock(raw(bad)); ok {
			t.Errorf("%s passes for thinking", bad)
		}
	}
}

func FuzzCarry(f *testing.F) {
	f.Add(`"sluice-r1.e30"`)
	f.Add(string(translator.CarryReasoning("i", raw(`"x"`))))
	f.Add(string(translator.CarryThinking(&translator.Block{Type: translator.BlockRedacted, Signature: raw(`"x"`)})))
	f.Fuzz(func(t *testing.T, s string) {
		if !json.Valid([]byte(s)) {
			return
		}
		if _, encrypted, ok := translator.Reasoning(raw(s)); ok && !json.Valid(encrypted) {
			t.Fatalf("got %q", encrypted)
		}
		if b, ok := translator.ThinkingBlock(raw(s)); ok && (!json.Valid(b.Signature) || b.Type == translator.BlockThinking && !json.Valid(b.Text)) {
			t.Fatalf("got %+v", b)
		}
	})
}

func TestText(t *testing.T) {
	for _, c := range []struct{ why, got, want string }{
		{"text", raw(`"a"`).Text(), "a"},
		{"text with escapes", raw(`"a\n\u00e9\ud83d\ude00"`).Text(), "a\né😀"},
		{"text of no string", raw(`12`).Text() + raw(`null`).Text() + raw(``).Text() + raw(`"`).Text(), ""},
		{"quote", string(q("a\"\n<")), `"a\"\n<"`},
		{"join", string(translator.Join(nil, "\n", q("a"), q(""), raw(`"\u00e9"`))), `"a\n\n\u00e9"`},
		{"join of none", string(translator.Join(raw("x"), "-")), `x""`},
		{"object of text", string(translator.ObjectOf(q(` {"a":1} `))), `{"a":1}`},
		{"object of nothing", string(translator.ObjectOf(q(" "))) + string(translator.ObjectOf(nil)), `{}{}`},
		{"object of a list", string(translator.ObjectOf(q("[1]"))), `{"arguments":"[1]"}`},
		{"object of bad JSON", string(translator.ObjectOf(q(`{"a":`))), `{"arguments":"{\"a\":"}`},
		{"text of object", string(translator.TextOf(raw(`{"a":"b"}`))), `"{\"a\":\"b\"}"`},
		{"text of nothing", string(translator.TextOf(nil)), `"{}"`},
		{"custom input", string(translator.CustomInput(raw(`"a\n"`))), `{"input":"a\n"}`},
		{"custom text", string(translator.CustomText(raw(`{"x":1,"input":"a\n"}`))), `"a\n"`},
		{"custom text of another form", string(translator.CustomText(raw(`{"inputs":1}`))), `"{\"inputs\":1}"`},
		{"plain text", string(translator.PlainText([]translator.Block{{Text: q("a")}, {Type: translator.BlockImage}, {Text: q("")}, {Text: q("b")}})), `"a\n\nb"`},
		{"plain text of one", string(translator.PlainText([]translator.Block{{Text: q("a")}})), `"a"`},
		{"plain text of none", string(translator.PlainText(nil)), `""`},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %s, want %s", c.why, c.got, c.want)
		}
	}
	for s, empty := range map[string]bool{``: true, `null`: true, `""`: true, `"a"`: false, `{}`: true, `0.5`: false} {
		if raw(s).IsEmpty() != empty {
			t.Errorf("%q: empty %v", s, !empty)
		}
	}
	if !raw("true").IsTrue() || raw("1").IsTrue() || raw("").IsTrue() {
		t.Error("IsTrue")
	}
}

func TestPlace(t *testing.T) {
	for _, c := range []struct {
		place             translator.Place
		field             string
		openai, anthropic string
	}{
		{translator.Place{}, "model", "model", "model"},
		{translator.At("messages", 0), "", "messages[0]", "messages.0"},
		{translator.At("messages", 12), "role", "messages[12].role", "messages.12.role"},
		{translator.At("messages", 1).Part(2), "text", "messages[1].content[2].text", "messages.1.content.2.text"},
		{translator.At("tool_choice", -1), "name", "tool_choice.name", "tool_choice.name"},
	} {
		for d, want := range map[core.Dialect]string{core.DialectOpenAIChat: c.openai, core.DialectOpenAIResponses: c.openai, core.DialectAnthropic: c.anthropic} {
			if got := c.place.Path(d, c.field); got != want {
				t.Errorf("%s: got %s, want %s", d, got, want)
			}
		}
	}
	if got := translator.BadAt(translator.At("tools", 3), "name", "is missing").Error(); got != "tools.3.name: is missing" {
		t.Errorf("got %s", got)
	}
	if e := translator.Bad("n", "m"); e.Path(core.DialectOpenAIChat) != "n" || e.Error() != "n: m" {
		t.Errorf("got %v", e)
	}
}

func TestErrors(t *testing.T) {
	for status, typ := range map[int]string{400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
		404: "not_found_error", 405: "invalid_request_error", 409: "conflict_error", 413: "request_too_large", 422: "invalid_request_error",
		429: "rate_limit_error", 500: "api_error", 502: "api_error", 503: "overloaded_error", 504: "timeout_error", 529: "overloaded_error", 200: "api_error"} {
		if got := translator.ErrorType(status); got != typ {
			t.Errorf("%d: got %s, want %s", status, got, typ)
		}
	}
	for typ, status := range map[string]int{"invalid_request_error": 400, "overloaded_error": 529, "timeout_error": 504, "rate_limit_error": 429, "new_error": 500, "": 500} {
		if got := translator.ErrorStatus(typ); got != status {
			t.Errorf("%s: got %d, want %d", typ, got, status)
		}
	}
	for _, c := range []struct {
		e    translator.Error
		want bool
	}{
		{translator.Error{Status: 400, Message: "Prompt is too long: 2 > 1"}, true},
		{translator.Error{Status: 400, Code: translator.CodeContext}, true},
		{translator.Error{Status: 500, Message: "prompt is too long"}, false},
		{translator.Error{Status: 400, Message: "too long"}, false},
	} {
		if got := c.e.TooLong(); got != c.want {
			t.Errorf("%+v: got %v", c.e, got)
		}
	}
	e := translator.OfCode(&core.Error{Code: core.CodeRateLimited, Message: "m", RetryAfter: time.Second})
	if e.Status != 429 || e.Type != "rate_limit_error" || e.Message != "m" || e.RetryAfter != time.Second || e.Error() != "rate_limit_error: m" {
		t.Errorf("got %+v", e)
	}
	var r translator.Request
	if r.Extra("a") != nil || r.Tool("t") != nil {
		t.Error("an empty request has something")
	}
	r.Extras, r.Tools = []translator.Field{{Name: "a", Value: raw("1")}}, []translator.Tool{{Name: "t"}}
	if string(r.Extra("a")) != "1" || r.Tool("t") != &r.Tools[0] {
		t.Error("what a request has is not found")
	}
	var enc translator.Encoded
	enc.Drop("a")
	enc.Drop("b")
	enc.Drop("a")
	if !reflect.DeepEqual(enc.Dropped, []string{"a", "b"}) {
		t.Errorf("got %v", enc.Dropped)
	}
}
