package openaichat_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"sluice/shared/sse"
	"sluice/shared/translator"
)

// streams are whole answers, with what the hub makes of them: each block, then the stop reason.
var streams = []struct{ why, in, want string }{
	{"text", events(chunkOf(`{"role":"assistant","content":""}`, "null"), chunkOf(`{"content":"Hel"}`, "null"), chunkOf(`{"content":"lo"}`, "null"), chunkOf(`{}`, `"stop"`), usageChunk), `text"Hello" end_turn`},
	{"the usage in the last chunk", events(chunkOf(`{"content":"x"}`, "null"), strings.Replace(usageChunk, `[]`, `[{"index":0,"delta":{},"finish_reason":"length"}]`, 1)), `text"x" max_tokens`},
	{"no choices in the last chunk (D48)", events(chunkOf(`{"content":"x"}`, `"stop"`), `{"id":"up1","usage":{"prompt_tokens":100,"completion_tokens":9,"prompt_tokens_details":{"cached_tokens":60,"cache_write_tokens":10},"completion_tokens_details":{"reasoning_tokens":4}}}`), `text"x" end_turn`},
	{"Azure's first chunk has no choices", events(`{"id":"","choices":[],"prompt_filter_results":[]}`, chunkOf(`{"content":"x"}`, `"stop"`), usageChunk), `text"x" end_turn`},
	{"comments and unknown events", ": ping\n\n" + events(chunkOf(`{"content":"x"}`, "null"), `{"type":"ping"}`, chunkOf(`{}`, `"stop"`), usageChunk), `text"x" end_turn`},
	{"vLLM tells the stop sequence", events(chunkOf(`{"content":"x"}`, "null"), `{"choices":[{"index":0,"delta":{},"finish_reason":"stop","stop_reason":"END"}]}`, usageChunk), `text"x" stop_sequence"END"`},
	{"reasoning, then text", events(chunkOf(`{"reasoning_content":"a","content":null}`, "null"), chunkOf(`{"reasoning":"b"}`, "null"), chunkOf(`{"content":"x"}`, `"stop"`), usageChunk), `thinking"ab" text"x" end_turn`},
	{"a refusal", events(chunkOf(`{"refusal":"I "}`, "null"), chunkOf(`{"refusal":"won't"}`, "null"), chunkOf(`{}`, `"stop"`), usageChunk), `refusal"I won't" refusal`},
	{"a filter", events(chunkOf(`{"content":"x"}`, "null"), chunkOf(`{}`, `"content_filter"`), usageChunk), `text"x" refusal`},
	{"calls by index", events(
		chunkOf(`{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]}`, "null"),
		chunkOf(`{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\""}}]}`, "null"),
		chunkOf(`{"tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"g","arguments":"{}"}}]}`, "null"),
		chunkOf(`{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}`, "null"), chunkOf(`{}`, `"tool_calls"`), usageChunk), `call(a f {"x":1}) call(b g {}) tool_use`},
	{"no index, the id says which", events(
		chunkOf(`{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{\"x\""}}]}`, "null"), chunkOf(`{"tool_calls":[{"id":"a","function":{"name":"f","arguments":":1}"}}]}`, "null"),
		chunkOf(`{"tool_calls":[{"id":"b","function":{"name":"f","arguments":"{"}}]}`, "null"), chunkOf(`{"tool_calls":[{"function":{"arguments":"}"}}]}`, "null"), chunkOf(`{}`, `"stop"`), usageChunk),
		`call(a f {"x":1}) call(b f {}) tool_use`},
	{"id and name on every chunk", events(
		chunkOf(`{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}]}`, "null"), chunkOf(`{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"}"}}]}`, "null"),
		chunkOf(`{}`, `"tool_calls"`), usageChunk), `call(a f {}) tool_use`},
	{"every call has index 0", events(chunkOf(`{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}},{"index":0,"id":"b","function":{"name":"f","arguments":"{}"}}]}`, `"tool_calls"`), usageChunk),
		`call(a f {}) call(b f {}) tool_use`},
	{"arguments before the name", events(chunkOf(`{"tool_calls":[{"index":0,"id":"a","function":{"arguments":"{\"x\":"}}]}`, "null"), chunkOf(`{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"2}"}}]}`, `"tool_calls"`), usageChunk),
		`call(a f {"x":2}) tool_use`},
	{"arguments as an object", events(chunkOf(`{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":{"x":2}}}]}`, `"stop"`), usageChunk), `call(a f {"x":2}) tool_use`},
	{"a call without arguments", events(chunkOf(`{"tool_calls":[{"index":0,"id":"a","function":{"name":"f"}}]}`, `"tool_calls"`), usageChunk), `call(a f {}) tool_use`},
	{"a custom call", events(chunkOf(`{"tool_calls":[{"index":0,"id":"a","type":"custom","custom":{"name":"g","input":""}}]}`, "null"), chunkOf(`{"tool_calls":[{"index":0,"custom":{"input":"say \"hi\"\n"}}]}`, "null"),
		chunkOf(`{"tool_calls":[{"index":0,"custom":{"input":"ok"}}]}`, "null"), chunkOf(`{"tool_calls":[{"index":1,"id":"b","function":{"name":"f","arguments":"{}"}}]}`, `"tool_calls"`), usageChunk),
		`custom(a g {"input":"say \"hi\"\nok"}) call(b f {}) tool_use`},
	{"Mistral's parts", events(chunkOf(`{"content":[{"type":"thinking","thinking":[{"type":"text","text":"t"}]},{"type":"text","text":"x"}]}`, `"stop"`), usageChunk), `thinking"t" text"x" end_turn`},
	{"other choices are not ours", events(`{"choices":[{"index":1,"delta":{"content":"no"}},{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}`, usageChunk), `text"x" end_turn`},
	{"a chunk like the one before, with another text", events(chunkOf(`{"content":"a"}`, "null"), chunkOf(`{"content":"\"b"}`, "null"), chunkOf(`{"content":"c","refusal":null}`, "null"), chunkOf(`{"content":"d"}`, `"stop"`), usageChunk), `text"a\"bcd" end_turn`},
}

// told is a collected reply in the words of the table.
func told(r *translator.Reply) string {
	var out []string
	for i := range r.Blocks {
		switch b := &r.Blocks[i]; {
		case b.Type == translator.BlockThinking:
			out = append(out, "thinking"+string(b.Text))
		case b.Type == translator.BlockToolUse && b.Custom:
			out = append(out, "custom("+b.ID+" "+b.Name+" "+string(b.Input)+")")
		case b.Type == translator.BlockToolUse:
			out = append(out, "call("+b.ID+" "+b.Name+" "+string(b.Input)+")")
		case b.Refusal:
			out = append(out, "refusal"+string(b.Text))
		default:
			out = append(out, "text"+string(b.Text))
		}
	}
	return strings.Join(append(out, string(r.Stop)+string(r.Sequence)), " ")
}

func TestSource(t *testing.T) {
	for _, c := range streams {
		t.Run(c.why, func(t *testing.T) {
			l := newListener()
			if err := l.feed(c.in); err != nil {
				t.Fatal(err)
			}
			if got := told(&l.c.Reply); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if l.bad != "" || !l.b.Status().Ended {
				t.Errorf("grammar: %s; status %+v", l.bad, l.b.Status())
			}
			u := l.c.Reply.Usage
			if u.Input != 30 || u.CacheRead != 60 || u.CacheWrite5m != 10 || u.Output != 9 || u.Reasoning != 4 {
				t.Errorf("usage %+v", u)
			}
		})
	}
}

// However a stream is cut into reads, the events are the same; cut off, it never ends.
func TestSourceCuts(t *testing.T) {
	for _, c := range streams {
		whole := newListener()
		if err := whole.feed(c.in); err != nil {
			t.Fatal(err)
		}
		for name, r := range map[string]io.Reader{"bytes": iotest.OneByteReader(strings.NewReader(c.in)), "halves": iotest.HalfReader(strings.NewReader(c.in))} {
			l := newListener()
			s := codec.NewSource(l.b)
			rd := sse.NewReader(r, 1<<20)
			for {
				batch, err := rd.Batch()
				if err != nil {
					break
				}
				for {
					ev, rest, ok := sse.Cut(batch)
					if !ok {
						break
					}
					batch = rest
					if err := s.Event(ev); err != nil {
						t.Fatalf("%s by %s: %v", c.why, name, err)
					}
				}
			}
			rd.Release()
			if l.lines.String() != whole.lines.String() {
				t.Errorf("%s by %s: other events", c.why, name)
			}
		}
		for i := range len(c.in) {
			l := newListener()
			err := l.feed(c.in[:i])
			if err != nil || l.b.Status().Ended {
				t.Fatalf("%s cut at %d of %d: err %v, ended %v", c.why, i, len(c.in), err, l.b.Status().Ended)
			}
			if !strings.HasPrefix(whole.lines.String(), l.lines.String()) {
				t.Fatalf("%s cut at %d: other events", c.why, i)
			}
		}
	}
}

func TestSourceBreaks(t *testing.T) {
	start := chunkOf(`{"content":"x"}`, "null")
	for why, in := range map[string]string{
		"no JSON":                     unended(`hello`),
		"no object":                   unended(`[1]`),
		"no JSON after content":       unended(start, `{"choices":`),
		"nothing of the dialect":      unended(`{"type":"message_start"}`),
		"an end without a beginning":  events(),
		"an end without a reason":     events(start),
		"a choice that is no object":  unended(`{"choices":[1]}`),
		"a delta that is no object":   unended(`{"choices":[{"delta":"x"}]}`),
		"content of the wrong type":   unended(chunkOf(`{"content":7}`, "null")),
		"tool_calls of a wrong type":  unended(chunkOf(`{"tool_calls":{}}`, "null")),
		"arguments of the wrong type": unended(chunkOf(`{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":[1]}}]}`, "null")),
		"a call that has no name":     events(chunkOf(`{"tool_calls":[{"index":0,"id":"a","function":{"arguments":"{}"}}]}`, `"tool_calls"`)),
		"a member twice":              unended(`{"choices":[],"choices":[]}`),
	} {
		l := newListener()
		err := l.feed(in)
		if err == nil {
			err = l.b.Status().Broken
		}
		if err == nil || l.b.Status().Ended {
			t.Errorf("%s: err %v, status %+v", why, err, l.b.Status())
		}
	}
}

// The sink and the source are each other's inverse.
func TestSinkReadsBack(t *testing.T) {
	o := options
	o.Request = &translator.Request{IncludeUsage: true}
	for _, c := range streams {
		p := translator.NewPipe(codec, codec.NewSink(o), translator.Enforce{})
		var out []byte
		rest := []byte(c.in)
		for {
			ev, next, ok := sse.Cut(rest)
			if !ok {
				break
			}
			rest = next
			out = append(out, p.Batch(ev.Raw)...)
		}
		l := newListener()
		if err := l.feed(string(out)); err != nil {
			t.Fatalf("%s: %v in %s", c.why, err, out)
		}
		want := strings.Replace(c.want, `stop_sequence"END"`, "end_turn", 1) // the dialect has no word for it
		if got := told(&l.c.Reply); got != want {
			t.Errorf("%s: got %s, want %s", c.why, got, want)
		}
		if u := l.c.Reply.Usage; u.TotalInput() != 100 || u.CacheRead != 60 || u.Output != 9 || u.Reasoning != 4 {
			t.Errorf("%s: usage %+v", c.why, u)
		}
	}
}

// run gives events of the hub to a sink.
func run(o translator.ReplyOptions, tell func(b *translator.Builder)) []byte {
	s := codec.NewSink(o)
	var out []byte
	b := translator.NewBuilder(func(e *translator.Event) { out = s.Event(out, e) })
	b.Start("up")
	tell(b)
	b.Usage(true).Output = 3
	b.End()
	return out
}

// D33: chunks of one id, the role first, [DONE] last; D34: the usage chunk where it was asked for, and not otherwise.
func TestD33D34_Sink(t *testing.T) {
	tell := func(b *translator.Builder) {
		b.Usage(false).Input = 7
		b.Text(translator.Raw(`"hi"`), translator.Raw(`[{"token":"hi"}]`))
		b.Stop(translator.StopEndTurn, nil)
	}
	head := `{"id":"chatcmpl-r1","object":"chat.completion.chunk","created":1700000000,"model":"client-model","choices":`
	plain := func(delta, finish, tail string) string {
		return head + `[{"index":0,"delta":` + delta + `,"logprobs":null,"finish_reason":` + finish + `}]` + tail + `}`
	}
	for _, c := range []struct {
		r     *translator.Request
		tail  string
		usage bool
	}{{nil, "", false}, {&translator.Request{}, "", false}, {&translator.Request{IncludeUsage: true}, `,"usage":null`, true}} {
		o := options
		o.Request = c.r
		want := []string{plain(`{"role":"assistant","content":""}`, "null", c.tail),
			head + `[{"index":0,"delta":{"content":"hi"},"logprobs":{"content":[{"token":"hi"}],"refusal":null},"finish_reason":null}]` + c.tail + `}`,
			plain(`{}`, `"stop"`, c.tail)}
		if c.usage {
			want = append(want, head+`[],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10,"prompt_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}`)
		}
		want = append(want, "[DONE]")
		got := chunks(t, run(o, tell))
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("request %+v:\n%s\nwant\n%s", c.r, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// D35: index, id and name first, then the arguments; a call without any gets the empty object.
func TestD35_SinkCalls(t *testing.T) {
	tell := func(b *translator.Builder) {
		b.Tool(0, "a", "f", false)
		b.Input(0, translator.Raw(`"{\"x\":"`))
		b.Input(0, translator.Raw(`"1}"`))
		b.Tool(1, "b", "g", false)
		b.Close()
		b.Tool(2, "c", "g2", false)
		b.Input(2, translator.Raw(`"{\"input\":\"te\\\"xt\"}"`))
		b.Stop(translator.StopToolUse, nil)
	}
	for _, c := range []struct {
		r    *translator.Request
		want []string
	}{
		{&translator.Request{Tools: []translator.Tool{{Name: "g2", Type: translator.ToolCustom}}}, []string{
			`"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]`,
			`"tool_calls":[{"index":0,"function":{"arguments":"{\"x\":"}}]`, `"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]`,
			`"tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"g","arguments":""}}]`, `"tool_calls":[{"index":1,"function":{"arguments":"{}"}}]`,
			`"tool_calls":[{"index":2,"id":"c","type":"custom","custom":{"name":"g2","input":""}}]`, `"tool_calls":[{"index":2,"custom":{"input":"te\"xt"}}]`,
			`"finish_reason":"tool_calls"`}},
		{&translator.Request{Legacy: true}, []string{`"function_call":{"name":"f","arguments":""}`, `"function_call":{"arguments":"{\"x\":"}`, `"function_call":{"arguments":"1}"}`, `"finish_reason":"function_call"`}},
	} {
		o := options
		o.Request = c.r
		got := chunks(t, run(o, tell))
		got = got[1 : len(got)-1]
		if len(got) != len(c.want) {
			t.Errorf("%d chunks, want %d: %s", len(got), len(c.want), strings.Join(got, "\n"))
			continue
		}
		for i := range got {
			if !strings.Contains(got[i], c.want[i]) {
				t.Errorf("chunk %d: %s, want %s", i, got[i], c.want[i])
			}
		}
	}
}

func TestSinkThinkingAndCitations(t *testing.T) {
	out := string(run(options, func(b *translator.Builder) {
		b.Thinking(translator.Raw(`"hm"`))
		b.Signature(translator.Raw(`"sig"`))
		b.Redacted(translator.Raw(`"data"`))
		b.Text(translator.Raw(`"h\u00e9\ud83d\ude00"`), nil)
		b.Cite(&translator.Citation{URL: translator.Raw(`"https://x"`), Start: -1, End: -1})
		b.Cite(&translator.Citation{Title: translator.Raw(`"a document"`)})
		b.Stop(translator.StopRefusal, nil)
	}))
	for _, want := range []string{`"reasoning_content":"hm"`, `"reasoning_details":[{"type":"reasoning.text","text":"","signature":"sig","index":0}]`,
		`"reasoning_details":[{"type":"reasoning.encrypted","data":"data","index":1}]`,
		`"annotations":[{"type":"url_citation","url_citation":{"start_index":0,"end_index":3,"url":"https://x","title":""}}]`, `"finish_reason":"content_filter"`} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in %s", want, out)
		}
	}
	if strings.Count(out, "annotations") != 1 {
		t.Error("a citation of a document has no form here")
	}
}

// D33: an error is data with an error member, and no [DONE] comes after it.
func TestD33_StreamError(t *testing.T) {
	p := translator.NewPipe(codec, codec.NewSink(options), translator.Enforce{})
	out := bytes.Clone(p.Batch([]byte(unended(chunkOf(`{"content":"x"}`, "null")))))
	out = append(out, p.Batch([]byte(events(`{"error":{"message":"slow down","type":"rate_limit_error","code":"rate_limit_exceeded"}}`)))...)
	got := chunks(t, out)
	if last := got[len(got)-1]; last != `{"error":{"message":"slow down","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"}}` {
		t.Errorf("last event %s", last)
	}
	if st := p.Status(); st.Err == nil || st.Err.Status != 429 || st.Err.Type != "rate_limit_error" || !st.Ended {
		t.Errorf("status %+v %+v", st, st.Err)
	}
	if want := ": keep-alive\n\n"; string(codec.AppendKeepAlive(nil, true, options)) != want || string(codec.AppendKeepAlive(nil, false, options)) != want || string(codec.Resume(out)) != string(out) {
		t.Error("a keep-alive is a comment, and nothing is left out after it")
	}
}

func TestReadReply(t *testing.T) {
	reply := func(message, rest string) string {
		return `{"id":"up","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":` + message + rest + `}],"usage":{"prompt_tokens":5,"completion_tokens":2}}`
	}
	for _, c := range []struct{ why, body, want string }{
		{"text", reply(`{"role":"assistant","content":"hi"}`, `,"finish_reason":"stop"`), `text"hi" end_turn`},
		{"no reason", reply(`{"content":"hi"}`, ``), `text"hi" end_turn`},
		{"calls without an index", reply(`{"content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}},{"id":"a","function":{"name":"f","arguments":""}}]}`, `,"finish_reason":"stop"`), `call(a f {"x":1}) call(a f {}) tool_use`},
		{"bad arguments", reply(`{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{oops"}},{"id":"b","function":{"name":"f","arguments":"{}"}}]}`, ``), `call(a f {"arguments":"{oops"}) call(b f {}) tool_use`},
		{"all at once", reply(`{"reasoning_content":"t","content":"x","refusal":"no","tool_calls":[]}`, `,"finish_reason":"stop"`), `thinking"t" text"x" refusal"no" refusal`},
		{"nothing said", reply(`{"content":""}`, `,"finish_reason":"length"`), `max_tokens`},
	} {
		l := newListener()
		if err := codec.ReadReply([]byte(c.body), l.b); err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		if got := told(&l.c.Reply); got != c.want || l.c.Reply.Usage.Input != 5 {
			t.Errorf("%s: got %s, want %s", c.why, got, c.want)
		}
		again := newListener()
		out := codec.AppendReply(nil, &l.c.Reply, options)
		if err := codec.ReadReply(out, again.b); err != nil || told(&again.c.Reply) != c.want {
			t.Errorf("%s: does not read back: %v, %s", c.why, err, out)
		}
	}
	l := newListener()
	if err := codec.ReadReply([]byte(reply(`{"function_call":{"name":"f","arguments":"{}"}}`, `,"finish_reason":"function_call"`)), l.b); err != nil ||
		len(l.c.Reply.Blocks) != 1 || l.c.Reply.Blocks[0].ID == "" || l.c.Reply.Stop != translator.StopToolUse {
		t.Errorf("the old form: %v %+v", err, l.c.Reply)
	}
	for why, body := range map[string]string{"no JSON": `x`, "no object": `[]`, "no choices": `{"id":"x"}`, "none of them": `{"choices":[]}`, "no message": `{"choices":[{"index":0}]}`,
		"no call's name": reply(`{"tool_calls":[{"id":"a"}]}`, ``)} {
		var e *translator.Error
		if err := codec.ReadReply([]byte(body), newListener().b); err == nil || errors.As(err, &e) {
			t.Errorf("%s: %v", why, err)
		}
	}
	var e *translator.Error
	if err := codec.ReadReply([]byte(`{"error":{"message":"no","code":502}}`), newListener().b); !errors.As(err, &e) || e.Status != 502 || e.Message != "no" {
		t.Errorf("an error with status 200: %v", err)
	}
}

func TestAppendReply(t *testing.T) {
	r := &translator.Reply{Blocks: []translator.Block{
		{Type: translator.BlockThinking, Text: translator.Raw(`"hm"`), Signature: translator.Raw(`"sig"`)}, {Type: translator.BlockRedacted, Signature: translator.Raw(`"d"`)},
		text("héllo "), {Type: translator.BlockText, Text: translator.Raw(`"w"`), Citations: []translator.Citation{{URL: translator.Raw(`"https://x"`), Title: translator.Raw(`"t"`), Start: -1, End: -1}}},
		use("c1", "f", `{"x":1}`)}, Logprobs: []translator.Raw{nil, nil, translator.Raw(`[{"token":"a"}]`), translator.Raw(`[{"token":"b"}]`)}, Stop: translator.StopToolUse}
	r.Usage.Input, r.Usage.CacheRead, r.Usage.CacheWrite1h, r.Usage.Output, r.Usage.Reasoning = 1, 2, 3, 4, 1
	sameJSON(t, string(codec.AppendReply(nil, r, options)), `{"id":"chatcmpl-r1","object":"chat.completion","created":1700000000,"model":"client-model","choices":[{"index":0,
		"message":{"role":"assistant","content":"héllo w","refusal":null,"annotations":[{"type":"url_citation","url_citation":{"start_index":6,"end_index":7,"url":"https://x","title":"t"}}],
		"reasoning_content":"hm","reasoning_details":[{"type":"reasoning.text","text":"hm","signature":"sig","index":0},{"type":"reasoning.encrypted","data":"d","index":1}],
		"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},"logprobs":{"content":[{"token":"a"},{"token":"b"}],"refusal":null},"finish_reason":"tool_calls"}],
		"usage":{"prompt_tokens":6,"completion_tokens":4,"total_tokens":10,"prompt_tokens_details":{"cached_tokens":2,"cache_write_tokens":3},"completion_tokens_details":{"reasoning_tokens":1}}}`)
	o := options
	o.Request = &translator.Request{Legacy: true}
	if out := string(codec.AppendReply(nil, r, o)); !strings.Contains(out, `"function_call":{"name":"f","arguments":"{\"x\":1}"}`) || strings.Contains(out, "tool_calls") {
		t.Errorf("the old form: %s", out)
	}
}

// Logprobs stay with their text, also where nothing but the text differs from the chunk before.
func TestSourceLogprobs(t *testing.T) {
	chunk := func(text string) string {
		return `{"choices":[{"index":0,"delta":{"content":"` + text + `"},"logprobs":{"content":[{"logprob":-1}]},"finish_reason":null}]}`
	}
	l := newListener()
	if err := l.feed(events(chunk("a"), chunk("b"), chunkOf(`{}`, `"stop"`))); err != nil {
		t.Fatal(err)
	}
	if r := l.c.Reply; told(&r) != `text"ab" end_turn` || len(r.Logprobs) != 1 || string(r.Logprobs[0]) != `[{"logprob":-1},{"logprob":-1}]` {
		t.Errorf("%s, logprobs %s", told(&r), r.Logprobs)
	}
}

// An upstream that formats its events over several lines must not break those of the client.
func TestSinkLogprobsOnSeveralLines(t *testing.T) {
	var out []byte
	sink := codec.NewSink(translator.ReplyOptions{ID: "r", Model: "m"})
	b := translator.NewBuilder(func(e *translator.Event) { out = sink.Event(out, e) })
	b.Start("")
	b.Text(translator.Raw(`"x"`), translator.Raw("[\n{\"token\":\r\n\"x\"}\n]"))
	if strings.Count(string(out), "\n") != 4 || strings.Contains(string(out), "\r") || !strings.Contains(string(out), `"content":[ {"token":  "x"} ]`) {
		t.Errorf("got %q", out)
	}
}
