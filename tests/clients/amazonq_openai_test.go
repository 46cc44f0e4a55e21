package clients_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	up "sluice/shared/upstream/upstreamtest"
)

// asOpenAI makes clients ask for an OpenAI model, which the gateway takes for a Claude model of its own accord.
func (p *pool) asOpenAI() *pool {
	p.model = "gpt-4o"
	return p
}

// eachPoolAPI runs a test for each API of OpenAI's Go SDK.
func eachPoolAPI(t *testing.T, test func(p *pool, a api, open func(talkOptions) talk)) {
	t.Helper()
	t.Parallel()
	for _, a := range apis {
		t.Run(a.name, func(t *testing.T) {
			p := poolOn(t).asOpenAI()
			test(p, a, func(o talkOptions) talk {
				o.model = p.model
				return a.open(p.openAI(o), o)
			})
		})
	}
}

func TestPoolOpenAIGoText(t *testing.T) {
	eachPoolAPI(t, func(p *pool, a api, open func(talkOptions) talk) {
		p.q.Default(up.Reply(up.Text("Grüße, ", "\"Welt\" – ", "你好 ", "</s>\n\ttab")).Usage(counted))
		var answers []answer
		p.ways(func(p *pool, stream bool) {
			c := open(talkOptions{system: "Be brief.", usage: true})
			c.show("Hello \u00e9\u4f60 <b>&</b>", "data:image/png;base64,"+pixel)
			got, err := c.turn(within(p.T, patience), stream)
			p.noError(err)
			if got.text != "Grüße, \"Welt\" – 你好 </s>\n\ttab" || got.model != p.model || got.input != countedInput || got.cached != 2000 || got.output != 7 {
				p.Errorf("got %+v", got)
			}
			if want := map[string]string{"Chat": "stop", "Responses": "completed"}[a.name]; got.stop != want {
				p.Errorf("it ended with %q", got.stop)
			}
			if there := p.lastSaid(); there.Model != "claude-sonnet-4.5" || !slices.Equal(there.last().Images, []string{"data:image/png;base64," + pixel}) {
				p.Errorf("the account got %+v", there)
			}
			got.chunks, got.usages, got.id = 0, 0, ""
			answers = append(answers, got)
		})
		if fmt.Sprint(answers[0]) != fmt.Sprint(answers[1]) {
			p.Errorf("the accumulated stream is not the whole answer: %+v and %+v", answers[0], answers[1])
		}
		p.checkPool()
		p.checkSaid()
		p.checkCounted(a.endpoint, 2)
	})
}

// TestPoolOpenAIGoTools: two calls at once, whose pieces come in turns, their results, and the final answer.
func TestPoolOpenAIGoTools(t *testing.T) {
	eachPoolAPI(t, func(p *pool, a api, open func(talkOptions) talk) {
		p.q.Default(p.walk("Sunny in both.", step{func(there *poolSaid) []up.Block {
			return []up.Block{call(there, 1, "weather", object{"city": "Zürich"}), call(there, 2, there.Tools[1].Name, object{"city": "Basel"})}
		}, brought("20 degrees", "21 degrees")}))
		p.ways(func(p *pool, stream bool) {
			c := open(talkOptions{tools: []string{"weather", "fore-cast"}})
			c.say("How is the weather?")
			got, err := c.turn(within(p.T, patience), stream)
			p.noError(err)
			if len(got.calls) != 2 || got.text != "Step 1." || a.name == "Chat" && got.stop != "tool_calls" {
				p.Fatalf("got %+v", got)
			}
			for i, want := range []madeCall{{"", "weather", `{"city":"Zürich"}`}, {"", "fore-cast", `{"city":"Basel"}`}} {
				if c := got.calls[i]; c.name != want.name || parsed(c.arguments) != want.arguments || c.id == "" {
					p.Errorf("call %d: %+v", i, c)
				}
			}
			for i, call := range got.calls {
				c.result(call.id, fmt.Sprintf("%d degrees", 20+i))
			}
			last, err := c.turn(within(p.T, patience), stream)
			p.noError(err)
			if last.text != "Sunny in both." || len(last.calls) != 0 {
				p.Errorf("got %+v", last)
			}
		})
		p.checkPool()
		p.checkSaid()
		p.wantReached(4)
	})
}

func TestPoolOpenAIGoErrors(t *testing.T) {
	eachPoolAPI(t, func(p *pool, a api, open func(talkOptions) talk) {
		ask := func(retries int) (answer, error) {
			c := open(talkOptions{retries: retries})
			c.say("Hello")
			return c.turn(within(p.T, patience), true)
		}
		p.q.Default(up.PromptTooLong(210_000, 200_000))
		_, err := ask(2)
		if status, code, _ := broken(err); status != http.StatusBadRequest || code != "context_length_exceeded" {
			p.Errorf("got %v (D41)", err)
		}
		p.wantReached(1)
		p.q.Default(up.Reply(up.Text("recovered")))
		p.q.Queue(up.Overloaded())
		if got, err := ask(0); err != nil || got.text != "recovered" {
			p.Errorf("got %+v, %v", got, err)
		}
		p.q.Queue(up.Overloaded(), up.ModelCapacity(), up.Overloaded())
		if got, err := ask(2); err != nil || got.text != "recovered" {
			p.Errorf("got %+v, %v", got, err)
		}
		p.checkPool()
	})
}

// TestPoolOpenAINode: the TypeScript SDK's text with a picture, its tool loops, and an error.
func TestPoolOpenAINode(t *testing.T) {
	t.Parallel()
	for _, a := range nodeAPIs {
		t.Run(a.name, func(t *testing.T) {
			p := poolOn(t).asOpenAI()
			p.q.Default(p.walk("Sunny.", step{func(there *poolSaid) []up.Block {
				return []up.Block{call(there, 1, "weather", object{"city": "Zürich"})}
			}, brought("22 degrees in Zürich")}))
			p.ways(func(p *pool, stream bool) {
				var got nodeAnswer
				p.noError(p.script(a.turn, "", object{"stream": stream, "params": a.params(p.stage, a.picture())}, &got))
				if got.Text != "Sunny." || got.Model != p.model || got.Usage.Input != countedInput || got.Usage.Details.Cached != 2000 || len(p.lastSaid().last().Images) != 1 {
					p.Errorf("got %+v", got)
				}
				p.noError(p.script(a.loop, "", object{"stream": stream, "model": p.model}, &got))
				if got.Text != "Sunny." || len(got.Inputs) != 1 || got.Inputs[0]["city"] != "Zürich" {
					p.Errorf("got %+v", got)
				}
			})
			p.checkSaid()
			p.wantReached(6)
			p.q.Queue(up.PromptTooLong(210_000, 200_000))
			err := p.script(a.turn, "", object{"stream": true, "params": a.params(p.stage, "Hello")}, nil)
			var e *nodeError
			if !errors.As(err, &e) || e.Status != 400 || !slices.Contains(e.Classes, "BadRequestError") || e.Code != "context_length_exceeded" {
				p.Errorf("got %v (D36)", err)
			}
			p.checkPool()
		})
	}
}

// TestPoolAI: the AI SDK's tool loop, through each of its packages. The model says nothing beside the call: what it says the
// package for Responses sends back as a reference to what OpenAI keeps.
func TestPoolAI(t *testing.T) {
	p := poolOn(t).asOpenAI()
	p.q.Default(up.ToolThenText("weather", `{"city":"Zürich"}`, "Sunny."))
	for _, provider := range providers {
		got, err := p.ai("ai-tools.mjs", provider, true, nil)
		p.noError(err)
		if got.Text != "Sunny." || got.Steps != 2 || len(got.Inputs) != 1 || got.Inputs[0]["city"] != "Zürich" {
			p.Errorf("%s: got %+v", provider.name, got)
		}
		if there := p.lastSaid(); !brought("22 degrees in Zürich")(there) {
			p.Errorf("%s: the account got %+v", provider.name, there)
		}
	}
	p.wantReached(2 * len(providers))
	p.checkPool()
	p.checkSaid()
}

// eachPoolCodex runs a test for the two forms in which Codex sends its tools, see eachCodex.
func eachPoolCodex(t *testing.T, test func(p *pool)) {
	t.Helper()
	t.Parallel()
	for _, asked := range []string{gpt, model} {
		t.Run(asked, func(t *testing.T) {
			p := poolOn(t)
			if p.model = asked; asked == gpt {
				p.mapModels("gpt-*", model)
			}
			test(p)
		})
	}
}

// checkPoolCodex verifies what holds for every run of Codex.
func (p *pool) checkPoolCodex(r cliRun, printed string) {
	p.Helper()
	if r.exit != nil || strings.TrimSpace(r.out) != printed {
		p.Fatal(r)
	}
	p.checkPool()
	p.checkSaid()
	for _, u := range p.gw.usages("/v1/responses", len(p.asked())) {
		if u.Session == "" || !u.Success || u.NodeName != "works" {
			p.Errorf("recorded %+v", u)
		}
	}
}

func TestPoolCodexText(t *testing.T) {
	eachPoolCodex(t, func(p *pool) {
		p.q.Default(up.Reply(up.Text("PINE", "APPLE – 菠萝")).Usage(counted))
		p.checkPoolCodex(p.codex("Name a fruit", nil), "PINEAPPLE – 菠萝")
		p.wantReached(1)
	})
}

// TestPoolCodexTool: Codex runs the command that the account asks for (D42).
func TestPoolCodexTool(t *testing.T) {
	eachPoolCodex(t, func(p *pool) {
		p.q.Default(p.walk("It printed a word: MANGO", step{func(there *poolSaid) []up.Block {
			const command = "echo sluice-$((40+2))"
			if there.offers("exec_command") {
				return []up.Block{call(there, 1, "exec_command", object{"cmd": command})}
			}
			return []up.Block{call(there, 1, "functions__exec", object{"input": `const r = await tools.exec_command({cmd: "` + command + `"}); text(r.output);`})}
		}, brought("sluice-42")}))
		p.checkPoolCodex(p.codex("Print a word", nil), "It printed a word: MANGO")
		p.wantReached(2)
	})
}
