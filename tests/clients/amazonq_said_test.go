package clients_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	up "sluice/shared/upstream/upstreamtest"
)

// poolTurn is one message of a conversation as an Amazon Q account gets it. Calls and results are told apart by the order in
// which the calls were made, as in said.
type poolTurn struct {
	User     bool
	Text     string // one space between words
	Thinking string // with its signature
	Images   []string
	Calls    []poolCall
	Results  []poolResult
}

type poolCall struct {
	Number      int
	Name, Input string
}

type poolResult struct {
	Number int
	Status string
	Text   string // one space between words
}

// poolSaid is a request to an Amazon Q account.
type poolSaid struct {
	Model string
	Turns []poolTurn // the last is the current message
	Tools []poolTool
}

type poolTool struct{ Name, Description, Schema string }

func squash(text string) string { return strings.Join(strings.Fields(text), " ") }

// readPool reads a request for a reply.
func readPool(t *testing.T, body []byte) *poolSaid {
	t.Helper()
	var b object
	if err := json.Unmarshal(body, &b); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	p, ids := &poolSaid{}, map[string]int{}
	for _, m := range append(list(dig(b, "conversationState", "history")), dig(b, "conversationState", "currentMessage").(object)) {
		turn := poolTurn{}
		user, assistant := dig(m, "userInputMessage"), dig(m, "assistantResponseMessage")
		turn.User = user != nil
		turn.Text = squash(str(dig(user, "content")) + str(dig(assistant, "content")))
		turn.Thinking = str(dig(assistant, "reasoningContent", "reasoningText", "text")) + str(dig(assistant, "reasoningContent", "reasoningText", "signature"))
		for _, image := range list(dig(user, "images")) {
			turn.Images = append(turn.Images, "data:image/"+str(image["format"])+";base64,"+str(dig(image, "source", "bytes")))
		}
		for _, call := range list(dig(assistant, "toolUses")) {
			ids[str(call["toolUseId"])] = len(ids) + 1
			turn.Calls = append(turn.Calls, poolCall{len(ids), str(call["name"]), canonical(call["input"])})
		}
		for _, result := range list(dig(user, "userInputMessageContext", "toolResults")) {
			var texts []string
			for _, part := range list(result["content"]) {
				texts = append(texts, str(part["text"]))
			}
			turn.Results = append(turn.Results, poolResult{ids[str(result["toolUseId"])], str(result["status"]), squash(strings.Join(texts, " "))})
		}
		for _, tool := range list(dig(user, "userInputMessageContext", "tools")) {
			if spec, ok := tool["toolSpecification"].(object); ok {
				p.Tools = append(p.Tools, poolTool{str(spec["name"]), str(spec["description"]), canonical(dig(spec, "inputSchema", "json"))})
			}
		}
		p.Model = str(dig(user, "modelId"))
		p.Turns = append(p.Turns, turn)
	}
	return p
}

// last is the current message.
func (p *poolSaid) last() *poolTurn { return &p.Turns[len(p.Turns)-1] }

// calls counts those that were made so far.
func (p *poolSaid) calls() (n int) {
	for _, turn := range p.Turns {
		n += len(turn.Calls)
	}
	return n
}

// named is the name under which a tool is offered whose description has the words; empty if none is.
func (p *poolSaid) named(words string) string {
	for _, tool := range p.Tools {
		if strings.Contains(tool.Description, words) {
			return tool.Name
		}
	}
	return ""
}

// offers tells whether there is a tool of the name.
func (p *poolSaid) offers(name string) bool {
	return slices.ContainsFunc(p.Tools, func(tool poolTool) bool { return tool.Name == name })
}

// checkSaid compares every request of the client with what the account that works was told in its place: the same words,
// images, calls and results, each in its turn and by the same side, the system prompt in the first. It holds when each
// needed one attempt there.
func (p *pool) checkSaid() {
	p.Helper()
	sent, got := p.asked(), p.q.Conversations()
	if len(sent) != len(got) || len(sent) == 0 {
		p.Fatalf("%d requests were sent, %d arrived", len(sent), len(got))
	}
	for i := range sent {
		here, there := read(p.T, sent[i].Path, sent[i].Body), readPool(p.T, got[i].Body)
		names := checkPoolTools(p.T, here, there)
		checkPoolTurns(p.T, sides(here.Turns), there, names)
	}
}

// checkPoolTools compares the tools and returns the account's names of them.
func checkPoolTools(t *testing.T, sent *said, got *poolSaid) map[string]string {
	t.Helper()
	names := map[string]string{}
	if len(sent.Names) != len(got.Tools) {
		t.Errorf("%d tools arrived as %d", len(sent.Names), len(got.Tools))
		return names
	}
	for i, name := range sent.Names {
		tool := got.Tools[i]
		names[name] = tool.Name
		if want := sent.Tools[name]; tool.Schema != want && want != free {
			t.Errorf("tool %s %s arrived as %s %s", name, want, tool.Name, tool.Schema)
		}
	}
	return names
}

// sides groups turns by the side that says them.
func sides(turns []string) (out [][]string) {
	assistant := func(turn string) bool {
		return strings.HasPrefix(turn, "assistant") || strings.HasPrefix(turn, "call ")
	}
	for i, turn := range turns {
		if i == 0 || assistant(turn) != assistant(turns[i-1]) {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], turn)
	}
	return out
}

func checkPoolTurns(t *testing.T, sent [][]string, got *poolSaid, names map[string]string) {
	t.Helper()
	if len(sent) != len(got.Turns) {
		t.Errorf("%d turns arrived as %d", len(sent), len(got.Turns))
		return
	}
	for i, turn := range got.Turns {
		if turn.User != (i%2 == 0) {
			t.Errorf("turn %d is by the wrong side", i)
		}
		calls, results := 0, 0
		for _, item := range sent[i] {
			who, what, _ := strings.Cut(item, ": ")
			ok := false
			switch kind, number, _ := strings.Cut(who, " "); kind {
			case "system", "user", "assistant":
				ok = strings.Contains(turn.Text, squash(what))
			case "image":
				ok = slices.Contains(turn.Images, what)
			case "call":
				if name, input, _ := strings.Cut(strings.TrimPrefix(item, who+": "), " "); calls < len(turn.Calls) {
					call := turn.Calls[calls]
					ok = fmt.Sprint(call.Number) == number && call.Name == names[name] && call.Input == input
				}
				calls++
			case "result":
				ok = results < len(turn.Results) && sameResult(&turn, turn.Results[results], number, what)
				results++
			}
			if !ok {
				t.Errorf("in turn %d %.300q is not in %.600v", i, item, turn)
			}
		}
		if calls != len(turn.Calls) || results != len(turn.Results) {
			t.Errorf("turn %d: %d calls and %d results arrived as %d and %d", i, calls, results, len(turn.Calls), len(turn.Results))
		}
	}
}

// sameResult compares a result with what said has of it; its images are the message's.
func sameResult(turn *poolTurn, got poolResult, number, what string) bool {
	var words []string
	for _, word := range strings.Fields(what) {
		switch {
		case word == "image:":
		case strings.HasPrefix(word, "data:image/"):
			if !slices.Contains(turn.Images, word) {
				return false
			}
		default:
			words = append(words, word)
		}
	}
	return fmt.Sprint(got.Number) == number && (len(words) == 0 && got.Text != "" || got.Text == strings.Join(words, " "))
}

// step is a turn in which the model calls tools. calls makes them from the request before; seen judges the request that
// brings their results.
type step struct {
	calls func(*poolSaid) []up.Block
	seen  func(*poolSaid) bool
}

// walk is a model that goes through steps, looks at what each of them brought, and ends with a text. Requests that do not
// offer tools, as the side requests of real clients, get the text at once.
func (p *pool) walk(text string, steps ...step) up.Behaviour {
	return up.Func(func(r up.Request) up.Behaviour {
		there := readPool(p.T, r.Body)
		done := 0
		for _, turn := range there.Turns {
			if len(turn.Calls) > 0 {
				done++
			}
		}
		switch {
		case done > len(steps):
			p.Errorf("%d steps were made of %d", done, len(steps))
		case done > 0 && !steps[done-1].seen(there):
			p.Errorf("step %d brought %.2000v", done, *there.last())
		case done < len(steps) && len(there.Tools) > 0:
			return up.Reply(append([]up.Block{up.Text(fmt.Sprintf("Step %d.", done+1))}, steps[done].calls(there)...)...).Interleave()
		}
		return up.Reply(up.Text(text)).Usage(counted)
	})
}

// call is one call of a tool, its input in pieces. Ids come from the number of calls so far.
func call(there *poolSaid, offset int, name string, input object) up.Block {
	whole := canonical(input)
	return up.ToolUse(fmt.Sprintf("tooluse_%d", there.calls()+offset), name, whole[:1], whole[1:len(whole)/2], whole[len(whole)/2:])
}

// brought tells whether the results of the current message are these many, went well, and have the words in them in turn.
func brought(words ...string) func(*poolSaid) bool {
	return func(there *poolSaid) bool {
		results := there.last().Results
		if len(results) != len(words) {
			return false
		}
		for i, want := range words {
			if !strings.Contains(results[i].Text, want) || results[i].Status != "success" {
				return false
			}
		}
		return true
	}
}
