package clients_test

import (
	"fmt"
	"strings"
	"testing"

	up "sluice/shared/upstream/upstreamtest"
)

// readConverse reads a request of Converse. Marks of the cache say nothing here.
func (s *said) readConverse(b object) {
	for _, p := range list(b["system"]) {
		if text := str(p["text"]); text != "" {
			s.words("system", text)
		}
	}
	for _, m := range list(b["messages"]) {
		for _, p := range list(m["content"]) {
			s.converseBlock(str(m["role"]), p)
		}
	}
	for _, t := range list(dig(b, "toolConfig", "tools")) {
		spec, ok := t["toolSpec"].(object)
		if !ok {
			continue
		}
		name := str(spec["name"])
		s.Names = append(s.Names, name)
		whole := object{"type": "object", "properties": object{}}
		schema, _ := dig(spec, "inputSchema", "json").(object)
		for k, v := range schema {
			whole[k] = v
		}
		s.Tools[name] = canonical(whole)
	}
}

func (s *said) converseBlock(who string, p object) {
	for kind, v := range p {
		switch kind {
		case "text":
			s.words(who, str(v))
		case "image":
			s.add("image", "data:image/"+str(dig(v, "format"))+";base64,"+str(dig(v, "source", "bytes")))
		case "document":
			s.add("document", str(dig(v, "format"))+" "+canonical(dig(v, "source", "bytes")))
		case "toolUse":
			s.call(str(dig(v, "toolUseId")), str(dig(v, "name")), canonical(dig(v, "input")))
		case "toolResult":
			inner := said{}
			for _, part := range list(dig(v, "content")) {
				inner.converseBlock("", part)
			}
			s.add(fmt.Sprint("result ", s.ids[str(dig(v, "toolUseId"))]), squash(strings.Join(inner.Turns, " ")))
		case "reasoningContent", "cachePoint":
		default:
			s.add(who, canonical(p))
		}
	}
}

// bedStep is a turn in which the model calls tools. calls makes them from the request before; seen judges the results that it
// brings, as "result 1: ..." in their order.
type bedStep struct {
	calls func(there *said) []up.Block
	seen  func(results []string) bool
}

// results are those of the last message.
func (s *said) results() (out []string) {
	for i := len(s.Turns) - 1; i >= 0 && !strings.HasPrefix(s.Turns[i], "call "); i-- {
		if strings.HasPrefix(s.Turns[i], "result ") {
			out = append([]string{s.Turns[i]}, out...)
		}
	}
	return out
}

// bedWalk is a model that goes through steps, looks at what each of them brought, and ends with a text. Requests that do not
// offer tools, as the side requests of real clients, get the text at once.
func bedWalk(t *testing.T, text string, usage up.Usage, steps ...bedStep) up.Behaviour {
	return up.Func(func(r up.Request) up.Behaviour {
		there := read(t, r.Path, r.Body)
		done := 0
		for i, turn := range there.Turns {
			if strings.HasPrefix(turn, "call ") && (i == 0 || !strings.HasPrefix(there.Turns[i-1], "call ")) {
				done++
			}
		}
		switch {
		case done > len(steps):
			t.Errorf("%d steps were made of %d", done, len(steps))
		case done > 0 && !steps[done-1].seen(there.results()):
			t.Errorf("step %d brought %.2000q", done, there.results())
		case done < len(steps) && len(there.Tools) > 0:
			return up.Reply(append([]up.Block{up.Text(fmt.Sprintf("Step %d.", done+1))}, steps[done].calls(there)...)...).Usage(usage)
		}
		return up.Reply(up.Text(text)).Usage(usage)
	})
}

// bedCall is one call of a tool, its input in pieces. Ids come from the number of calls so far.
func bedCall(there *said, offset int, name string, input object) up.Block {
	whole := canonical(input)
	return up.ToolUse(fmt.Sprintf("toolu_bdrk_%d", len(there.ids)+offset), name, whole[:1], whole[1:len(whole)/2], whole[len(whole)/2:])
}

// oneCall is a step of one call.
func oneCall(name string, input func() object, seen func([]string) bool) bedStep {
	return bedStep{func(there *said) []up.Block { return []up.Block{bedCall(there, 1, name, input())} }, seen}
}

// bring tells whether the results are these many and have the words in them in turn.
func bring(words ...string) func([]string) bool {
	return func(results []string) bool {
		if len(results) != len(words) {
			return false
		}
		for i, want := range words {
			if !strings.Contains(results[i], want) {
				return false
			}
		}
		return true
	}
}
