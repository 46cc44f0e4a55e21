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

// eachBedAPI runs a test for each API of OpenAI's Go SDK on each way.
func eachBedAPI(t *testing.T, test func(b *bed, a api, open func(talkOptions) talk)) {
	t.Helper()
	t.Parallel()
	for _, a := range apis {
		t.Run(a.name, func(t *testing.T) {
			eachBed(t, openAIWays, func(b *bed) {
				test(b, a, func(o talkOptions) talk {
					o.model = b.model
					return a.open(b.openAI(o), o)
				})
			})
		})
	}
}

// TestD27BedOpenAIGoText: with a picture, whole and in a stream.
func TestD27BedOpenAIGoText(t *testing.T) {
	eachBedAPI(t, func(b *bed, a api, open func(talkOptions) talk) {
		b.k.Default(up.Reply(up.Text("Grüße, ", "\"Welt\" – ", "你好 ", "</s>\n\ttab")).Usage(reported))
		var answers []answer
		b.ways(func(b *bed, stream bool) {
			c := open(talkOptions{system: "Be brief.", usage: true})
			c.show("Hello \u00e9\u4f60 <b>&</b>", "data:image/png;base64,"+pixel)
			got, err := c.turn(within(b.T, patience), stream)
			b.noError(err)
			if got.text != "Grüße, \"Welt\" – 你好 </s>\n\ttab" || got.model != b.model || got.input != 11+2000+340 || got.cached != 2000 || got.output != 7 {
				b.Errorf("got %+v", got)
			}
			if want := map[string]string{"Chat": "stop", "Responses": "completed"}[a.name]; got.stop != want {
				b.Errorf("it ended with %q", got.stop)
			}
			if there := b.last(); !there.has("image", pixel) || !there.has("system", "Be brief.") {
				b.Errorf("the account got %q", there.Turns)
			}
			got.chunks, got.usages, got.id = 0, 0, ""
			answers = append(answers, got)
		})
		if fmt.Sprint(answers[0]) != fmt.Sprint(answers[1]) {
			b.Errorf("the accumulated stream is not the whole answer: %+v and %+v", answers[0], answers[1])
		}
		b.checkBed()
		b.checkSaid()
		b.checkCounted(2, reported)
	})
}

// TestBedOpenAIGoTools: five turns, in one of them two calls at once.
func TestBedOpenAIGoTools(t *testing.T) {
	eachBedAPI(t, func(b *bed, a api, open func(talkOptions) talk) {
		one := func(city string) bedStep {
			return oneCall("weather", func() object { return object{"city": city} }, bring("It rains in "+city))
		}
		b.k.Default(bedWalk(b.T, "It rains.", reported, one("Zürich"), bedStep{func(there *said) []up.Block {
			return []up.Block{bedCall(there, 1, "weather", object{"city": "Bern"}), bedCall(there, 2, "fore-cast", object{"city": "Basel"})}
		}, bring("It rains in Bern", "It rains in Basel")}, one("Genève"), one("Chur")))
		b.ways(func(b *bed, stream bool) {
			c := open(talkOptions{tools: []string{"weather", "fore-cast"}})
			c.say("How is the weather?")
			var made []string
			var last answer
			for range 5 {
				var err error
				last, err = c.turn(within(b.T, patience), stream)
				b.noError(err)
				if a.name == "Chat" && (last.stop == "tool_calls") != (len(last.calls) > 0) {
					b.Errorf("it ended with %q", last.stop)
				}
				for _, call := range last.calls {
					made = append(made, call.name+" "+parsed(call.arguments))
					city := strings.TrimSuffix(strings.TrimPrefix(parsed(call.arguments), `{"city":"`), `"}`)
					c.result(call.id, "It rains in "+city)
				}
			}
			want := []string{`weather {"city":"Zürich"}`, `weather {"city":"Bern"}`, `fore-cast {"city":"Basel"}`, `weather {"city":"Genève"}`, `weather {"city":"Chur"}`}
			if last.text != "It rains." || !slices.Equal(made, want) {
				b.Errorf("made %q, then %+v", made, last)
			}
		})
		b.checkBed()
		b.checkSaid()
		b.checkCounted(10, reported)
	})
}

func TestBedOpenAIGoErrors(t *testing.T) {
	eachBedAPI(t, func(b *bed, a api, open func(talkOptions) talk) {
		ask := func(retries int) (answer, error) {
			c := open(talkOptions{retries: retries})
			c.say("Hello")
			return c.turn(within(b.T, patience), true)
		}
		b.k.Default(up.PromptTooLong(210_000, 200_000))
		_, err := ask(2)
		if status, code, _ := broken(err); status != http.StatusBadRequest || code != "context_length_exceeded" {
			b.Errorf("got %v (D41)", err)
		}
		b.wantReached(1)
		b.k.Default(up.Reply(up.Text("recovered")))
		b.k.Queue(up.Overloaded())
		if got, err := ask(0); err != nil || got.text != "recovered" {
			b.Errorf("got %+v, %v", got, err)
		}
		for _, behaviour := range []up.Behaviour{up.Events(5).ErrorAt(up.AfterDeltas(2), "overloaded_error", "Overloaded"), up.Events(5).CutInside(up.AfterDeltas(2), up.EndClean)} {
			b.k.Queue(behaviour)
			got, err := ask(2)
			if status, code, message := broken(err); status != 0 || code == "" && message == "" || got.text != "tok0 tok1 " {
				b.Errorf("got %v after %q (D33)", err, got.text)
			}
		}
		b.checkBed()
	})
}

// TestBedOpenAINode: the TypeScript SDK's text with a picture, its tool loops, and an error.
func TestBedOpenAINode(t *testing.T) {
	t.Parallel()
	for _, a := range nodeAPIs {
		t.Run(a.name, func(t *testing.T) {
			eachBed(t, []bedWay{novaWay}, func(b *bed) {
				b.k.Default(bedWalk(b.T, "Sunny.", reported, oneCall("weather", func() object { return object{"city": "Zürich"} }, bring("22 degrees in Zürich"))))
				b.ways(func(b *bed, stream bool) {
					var got nodeAnswer
					b.noError(b.script(a.turn, "", object{"stream": stream, "params": a.params(b.stage, a.picture())}, &got))
					if got.Text != "Sunny." || got.Model != b.model || got.Usage.Input != 11+2000+340 || got.Usage.Details.Cached != 2000 || !b.last().has("image", pixel) {
						b.Errorf("got %+v", got)
					}
					b.noError(b.script(a.loop, "", object{"stream": stream, "model": b.model}, &got))
					if got.Text != "Sunny." || len(got.Inputs) != 1 || got.Inputs[0]["city"] != "Zürich" {
						b.Errorf("got %+v", got)
					}
				})
				b.checkSaid()
				b.wantReached(6)
				b.k.Queue(up.PromptTooLong(210_000, 200_000))
				err := b.script(a.turn, "", object{"stream": true, "params": a.params(b.stage, "Hello")}, nil)
				var e *nodeError
				if !errors.As(err, &e) || e.Status != 400 || !slices.Contains(e.Classes, "BadRequestError") || e.Code != "context_length_exceeded" {
					b.Errorf("got %v (D36)", err)
				}
				b.checkBed()
			})
		})
	}
}

// TestBedAI: the AI SDK's tool loop, through each of its packages. The model says nothing beside the call: what it says the
// package for Responses sends back as a reference to what OpenAI keeps.
func TestBedAI(t *testing.T) {
	eachBed(t, []bedWay{novaWay}, func(b *bed) {
		b.k.Default(up.ToolThenText("weather", `{"city":"Zürich"}`, "Sunny."))
		for _, provider := range providers {
			got, err := b.ai("ai-tools.mjs", provider, true, nil)
			b.noError(err)
			if got.Text != "Sunny." || got.Steps != 2 || len(got.Inputs) != 1 || got.Inputs[0]["city"] != "Zürich" {
				b.Errorf("%s: got %+v", provider.name, got)
			}
			if there := b.last(); !bring("22 degrees in Zürich")(there.results()) {
				b.Errorf("%s: the account got %q", provider.name, there.Turns)
			}
		}
		b.wantReached(2 * len(providers))
		b.checkBed()
		b.checkSaid()
	})
}

// TestBedCodex: Codex runs the command that the account asks for (D42).
func TestBedCodex(t *testing.T) {
	eachBed(t, []bedWay{novaWay, invokeWay}, func(b *bed) {
		b.k.Default(bedWalk(b.T, "It printed a word: MANGO", reported, bedStep{func(there *said) []up.Block {
			const command = "echo sluice-$((40+2))"
			if there.Tools["exec_command"] != "" {
				return []up.Block{bedCall(there, 1, "exec_command", object{"cmd": command})}
			}
			return []up.Block{bedCall(there, 1, "functions__exec", object{"input": `const r = await tools.exec_command({cmd: "` + command + `"}); text(r.output);`})}
		}, bring("sluice-42")}))
		r := b.codex("Print a word", nil)
		if r.exit != nil || strings.TrimSpace(r.out) != "It printed a word: MANGO" {
			b.Fatal(r)
		}
		b.wantReached(2)
		b.checkBed()
		b.checkSaid()
		b.checkCounted(2, reported)
	})
}
