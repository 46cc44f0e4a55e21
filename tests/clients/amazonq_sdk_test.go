package clients_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/anthropics/anthropic-sdk-go/v2"

	up "sluice/shared/upstream/upstreamtest"
)

// eachPoolSDK runs a test for each version of Anthropic's Go SDK.
func eachPoolSDK(t *testing.T, test func(p *pool, open func(sdkOptions) sdk)) {
	t.Helper()
	t.Parallel()
	for _, v := range versions {
		t.Run(v.name, func(t *testing.T) {
			p := poolOn(t)
			test(p, func(o sdkOptions) sdk {
				o.key = proxyKey
				return v.open(p.tap.URL, o)
			})
		})
	}
}

func TestPoolGoSDKText(t *testing.T) {
	eachPoolSDK(t, func(p *pool, open func(sdkOptions) sdk) {
		p.q.Default(up.Reply(up.Text("Grüße, ", "\"Welt\"", " 你好")).Usage(counted))
		p.ways(func(p *pool, stream bool) {
			c := open(sdkOptions{}).chat(chatOptions{system: []string{"first", "second"}})
			c.say("Hello \u00e9\u4f60 <b>&</b>")
			r, err := c.turn(within(p.T, patience), stream)
			p.noError(err)
			if r.text != "Grüße, \"Welt\" 你好" || r.stop != "end_turn" || r.model != model || r.input != 11 || r.cacheRead != 2000 || r.cacheWrite != 300 || r.output != 7 {
				p.Errorf("got %+v", r)
			}
			if stream && (r.events[0] != "message_start" || r.events[len(r.events)-1] != "message_stop") {
				p.Errorf("events %v", r.events)
			}
			c.say("And now?") // the system prompt stays
			_, err = c.turn(within(p.T, patience), stream)
			p.noError(err)
			if there := p.lastSaid(); len(there.Turns) != 3 || !strings.Contains(there.Turns[0].Text, "second") || there.last().Text != "And now?" {
				p.Errorf("the account got %+v", there)
			}
		})
		p.checkPool()
		p.checkSaid()
		p.checkCounted("/v1/messages", 4)
	})
}

// TestPoolGoSDKTools: with a name that the service does not take, in pieces that come in turns with another call's.
func TestPoolGoSDKTools(t *testing.T) {
	eachPoolSDK(t, func(p *pool, open func(sdkOptions) sdk) {
		const name = "2-weather_of-the-day-in-a-city-with-all-of-its-temperatures-and-winds"
		p.q.Default(p.walk("Sunny.", step{func(there *poolSaid) []up.Block {
			return []up.Block{call(there, 1, there.Tools[0].Name, object{"city": "Zürich", "days": []int{1, 2}})}
		}, brought("22 degrees")}))
		p.ways(func(p *pool, stream bool) {
			c := open(sdkOptions{}).chat(chatOptions{tool: name})
			c.say("How is the weather?")
			r, err := c.turn(within(p.T, patience), stream)
			p.noError(err)
			if r.stop != "tool_use" || r.toolName != name || parsed(r.toolInput) != `{"city":"Zürich","days":[1,2]}` || r.text != "Step 1." {
				p.Fatalf("got %+v", r)
			}
			c.result(r.toolID, "22 degrees")
			last, err := c.turn(within(p.T, patience), stream)
			p.noError(err)
			if last.text != "Sunny." || last.stop != "end_turn" {
				p.Errorf("got %+v", last)
			}
		})
		p.checkPool()
		p.checkSaid()
		p.wantReached(4)
	})
}

// TestPoolGoSDKContent: a picture in a question and in a result, calls at once of which one fails.
func TestPoolGoSDKContent(t *testing.T) {
	p := poolOn(t)
	p.q.Default(up.Reply(up.Text("A dot, twice")).Usage(counted))
	result := anthropic.NewToolResultBlock("toolu_a", "", false)
	result.OfToolResult.Content = []anthropic.ToolResultBlockParamContentUnion{{OfImage: anthropic.NewImageBlockBase64("image/png", pixel).OfImage}}
	p.ways(func(p *pool, stream bool) {
		c := newSDKV2(p.tap.URL, sdkOptions{key: proxyKey}).chat(chatOptions{tool: "look"}).(*chatV2)
		c.p.Messages = []anthropic.MessageParam{
			anthropic.NewUserMessage(anthropic.NewImageBlockBase64("image/png", pixel), anthropic.NewTextBlock("Is it the same?")),
			anthropic.NewAssistantMessage(anthropic.NewToolUseBlock("toolu_a", object{"city": "a"}, "look"), anthropic.NewToolUseBlock("toolu_b", object{"city": "b"}, "look")),
			anthropic.NewUserMessage(anthropic.NewToolResultBlock("toolu_b", "no such city", true), result, anthropic.NewTextBlock("Look closely.")),
		}
		r, err := c.turn(within(p.T, patience), stream)
		p.noError(err)
		if r.text != "A dot, twice" {
			p.Errorf("got %+v", r)
		}
		there := p.lastSaid()
		first, last := there.Turns[0], there.last()
		if !slices.Equal(first.Images, []string{"data:image/png;base64," + pixel}) || !slices.Equal(last.Images, first.Images) || last.Text != "Look closely." {
			p.Errorf("the account got %+v", there)
		}
		if len(last.Results) != 2 || last.Results[0].Status != "success" || last.Results[0].Text == "" || last.Results[1].Status != "error" || last.Results[1].Text != "no such city" {
			p.Errorf("the account got the results %+v", last.Results)
		}
	})
	p.checkPool()
}

// TestPoolGoSDKThinking: what the model thinks comes out with its signature, and goes back as it was.
func TestPoolGoSDKThinking(t *testing.T) {
	p := poolOn(t)
	p.q.Default(up.Reply(up.Thinking("EqMBCkYIBxgC+/aa==", "Let me ", "think."), up.Text("Done")))
	p.ways(func(p *pool, stream bool) {
		c := newSDKV2(p.tap.URL, sdkOptions{key: proxyKey}).chat(chatOptions{thinking: true})
		c.say("Think")
		r, err := c.turn(within(p.T, patience), stream)
		p.noError(err)
		if r.thinking != "Let me think." || r.signature == "" || r.text != "Done" || !slices.Equal(r.kinds, []string{"thinking", "text"}) {
			p.Fatalf("got %+v", r)
		}
		c.say("Go on")
		_, err = c.turn(within(p.T, patience), stream)
		p.noError(err)
		if got := p.lastSaid().Turns[1]; got.Thinking != "Let me think.EqMBCkYIBxgC+/aa==" || got.Text != "Done" {
			p.Errorf("the account got back %+v", got)
		}
	})
	p.checkPool()
	p.checkSaid()
}

// TestPoolGoSDKErrors: what the account refuses is refused in words that clients know, at once; what passes is mended by the
// gateway, and what lasts longer by the SDK.
func TestPoolGoSDKErrors(t *testing.T) {
	eachPoolSDK(t, func(p *pool, open func(sdkOptions) sdk) {
		client := open(sdkOptions{retries: 2})
		ask := func(stream bool) (reply, error) {
			c := client.chat(chatOptions{})
			c.say("Hello")
			return c.turn(within(p.T, patience), stream)
		}
		p.q.Default(up.PromptTooLong(210_000, 200_000))
		p.ways(func(p *pool, stream bool) {
			_, err := ask(stream)
			if e, ok := client.apiError(err); !ok || e.status != 400 || e.kind != "invalid_request_error" || !strings.Contains(e.raw, "prompt is too long") {
				p.Errorf("got %v: %+v (D15)", err, e)
			}
		})
		p.wantStatuses("/v1/messages", http.StatusBadRequest, http.StatusBadRequest)
		p.q.Default(up.Reply(up.Text("recovered")))
		for _, queue := range [][]up.Behaviour{{up.Overloaded()}, {up.ModelCapacity(), up.Overloaded(), up.Overloaded()}} {
			p.q.Queue(queue...)
			if r, err := ask(true); err != nil || r.text != "recovered" {
				p.Errorf("after %d errors: %+v, %v", len(queue), r, err)
			}
		}
		if got := p.tap.statuses("/v1/messages")[2:]; got[0] != http.StatusOK || got[len(got)-1] != http.StatusOK || slices.Contains(got, http.StatusTooManyRequests) {
			p.Errorf("its requests ended with %v", got)
		}
		p.checkPool()
	})
}

// TestPoolGoSDKBrokenStreams: no cut looks like a whole message, though the protocol has no end of its own.
func TestPoolGoSDKBrokenStreams(t *testing.T) {
	p := poolOn(t)
	p.meet()
	for _, behaviour := range []up.Behaviour{
		up.Events(5).ErrorAt(up.AfterDeltas(2), "overloaded_error", "Overloaded"),
		up.Events(5).Cut(up.AfterDeltas(2), up.EndClose),
		up.Events(5).CutInside(up.AfterDeltas(2), up.EndClean),
	} {
		p.q.Default(behaviour)
		client := newSDKV2(p.tap.URL, sdkOptions{key: proxyKey, retries: 2})
		c := client.chat(chatOptions{})
		c.say("Hello")
		r, err := c.turn(within(p.T, patience), true)
		if e, ok := client.apiError(err); !ok || e.kind == "" || r.text != "tok0 tok1 " {
			p.Errorf("got %v after %q", err, r.text)
		}
	}
	p.wantReached(1 + 3)
	p.checkPool()
}

// TestPoolNodeSDK: the TypeScript SDK's text, tools, picture, thinking in the history, and error.
func TestPoolNodeSDK(t *testing.T) {
	p := poolOn(t)
	p.q.Default(p.walk("Sunny.", step{func(there *poolSaid) []up.Block {
		return []up.Block{call(there, 1, "weather", object{"city": "Zürich"})}
	}, brought("22 degrees")}))
	history := []object{
		{"role": "user", "content": []object{{"type": "image", "source": object{"type": "base64", "media_type": "image/png", "data": pixel}}, {"type": "text", "text": "What is it?"}}},
		{"role": "assistant", "content": []object{{"type": "thinking", "thinking": "Small.", "signature": "EqMB=="}, {"type": "text", "text": "A dot."}}},
		{"role": "user", "content": "Sure?"},
	}
	p.ways(func(p *pool, stream bool) {
		r, err := p.node("tools.mjs", "", object{"model": p.model, "stream": stream})
		p.noError(err)
		if r.Stop != "tool_use" || parsed(string(r.Input)) != `{"city":"Zürich"}` || r.Text != "Sunny." {
			p.Errorf("got %+v", r)
		}
		r, err = p.node(script(stream), "", object{"params": ask(object{"messages": history})})
		p.noError(err)
		if r.Text != "Sunny." || r.Message.Model != model || r.Message.StopReason != "end_turn" || r.Message.Usage.CacheRead != 2000 {
			p.Errorf("got %+v", r)
		}
		if there := p.lastSaid(); len(there.Turns[0].Images) != 1 || there.Turns[1].Thinking != "Small.EqMB==" {
			p.Errorf("the account got %+v", there)
		}
	})
	p.checkSaid()
	p.q.Queue(up.PromptTooLong(210_000, 200_000))
	_, err := p.node("stream.mjs", "", object{"params": ask(nil)})
	var e *nodeError
	if !errors.As(err, &e) || e.Status != 400 || !slices.Contains(e.Classes, "BadRequestError") || !strings.Contains(e.Message, "prompt is too long") {
		p.Errorf("got %v", err)
	}
	p.q.Queue(up.Overloaded(), up.Overloaded(), up.Overloaded())
	if r, err := p.node("stream.mjs", "", object{"params": ask(nil), "retries": 2}); err != nil || r.Text != "Sunny." {
		p.Errorf("got %+v, %v", r, err)
	}
	p.checkPool()
}
