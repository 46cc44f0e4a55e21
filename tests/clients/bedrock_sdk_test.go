package clients_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/anthropics/anthropic-sdk-go/v2"

	up "sluice/shared/upstream/upstreamtest"
)

// eachBedSDK runs a test for each version of Anthropic's Go SDK on each way.
func eachBedSDK(t *testing.T, ways []bedWay, test func(b *bed, open func(sdkOptions) sdk)) {
	t.Helper()
	t.Parallel()
	for _, v := range versions {
		t.Run(v.name, func(t *testing.T) {
			eachBed(t, ways, func(b *bed) {
				test(b, func(o sdkOptions) sdk {
					o.key = proxyKey
					return v.open(b.tap.URL, o)
				})
			})
		})
	}
}

// openV2 is the newer SDK.
func (b *bed) openV2(o sdkOptions) sdk {
	o.key = proxyKey
	return newSDKV2(b.tap.URL, o)
}

// TestD27BedGoSDKText: words, stop reason and usage, with both kinds of cache writes, come as from Anthropic's own API, and
// are recorded so.
func TestD27BedGoSDKText(t *testing.T) {
	eachBedSDK(t, allBedWays, func(b *bed, open func(sdkOptions) sdk) {
		const text = "Grüße, \"Welt\" – 你好 </s>\n\ttab"
		b.k.Default(up.Reply(up.Text("Grüße, ", "\"Welt\" – ", "你好 ", "</s>\n\ttab")).Usage(reported))
		var replies []reply
		b.ways(func(b *bed, stream bool) {
			c := open(sdkOptions{}).chat(chatOptions{system: []string{"first", "second"}})
			c.say("Hello \u00e9\u4f60 <b>&</b>")
			r, err := c.turn(within(b.T, patience), stream)
			b.noError(err)
			if r.text != text || r.stop != "end_turn" || r.model != model || r.input != 11 || r.cacheRead != 2000 || r.cacheWrite != 340 || r.output != 7 {
				b.Errorf("got %+v", r)
			}
			if stream && (r.events[0] != "message_start" || r.events[len(r.events)-2] != "message_delta" || r.events[len(r.events)-1] != "message_stop") {
				b.Errorf("events %v (D9, D12)", r.events)
			}
			r.events = nil
			replies = append(replies, r)
		})
		if fmt.Sprint(replies[0]) != fmt.Sprint(replies[1]) {
			b.Errorf("the accumulated stream is not the whole message: %+v and %+v", replies[0], replies[1])
		}
		b.checkBed()
		b.checkSaid()
		b.checkCounted(2, reported)
		for i, u := range b.recorded() {
			if u.Stream != (i == 1) || u.ModelID != model {
				b.Errorf("recorded %+v", u)
			}
		}
		for _, r := range b.arrived() {
			if n := strings.Count(string(r.Body), `"cache_control":{"type":"ephemeral"}`) + strings.Count(string(r.Body), `"cachePoint":{"type":"default"}`); n != 2 {
				b.Errorf("%d marks of the cache arrived: %s", n, r.Body)
			}
		}
	})
}

// TestBedGoSDKTools: a loop of five turns, with calls at once of which one fails.
func TestBedGoSDKTools(t *testing.T) {
	eachBed(t, allBedWays, func(b *bed) {
		one := func(city, seen string) bedStep {
			return oneCall("weather", func() object { return object{"city": city} }, bring(seen))
		}
		b.k.Default(bedWalk(b.T, "Sunny.", reported, one("Zürich", "22 degrees in Zürich"),
			bedStep{func(there *said) []up.Block {
				return []up.Block{bedCall(there, 1, "weather", object{"city": "Bern"}), bedCall(there, 2, "weather", object{"city": "Nowhere"})}
			}, bring("22 degrees in Bern", "no such city")},
			one("Basel", "22 degrees in Basel"), one("Genève \"GVA\"\n", "22 degrees in Genève")))
		b.ways(func(b *bed, stream bool) {
			c := b.openV2(sdkOptions{}).chat(chatOptions{tool: "weather"}).(*chatV2)
			c.say("How is the weather?")
			var stops []string
			for len(stops) < 5 {
				r, err := c.turn(within(b.T, patience), stream)
				b.noError(err)
				if stops = append(stops, r.stop); r.stop != "tool_use" {
					break
				}
				if want := fmt.Sprintf("Step %d.", len(stops)); r.text != want {
					b.Errorf("turn %d says %q", len(stops), r.text)
				}
				c.answer(b.T)
			}
			if want := []string{"tool_use", "tool_use", "tool_use", "tool_use", "end_turn"}; !slices.Equal(stops, want) {
				b.Errorf("the turns ended with %v", stops)
			}
		})
		b.checkBed()
		b.checkSaid()
		b.checkCounted(10, reported)
	})
}

// answer appends the results of the calls of the last message.
func (c *chatV2) answer(t *testing.T) {
	t.Helper()
	data, err := json.Marshal(c.p.Messages[len(c.p.Messages)-1])
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Content []struct {
			Type, ID string
			Input    struct{ City string }
		}
	}
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	var results []anthropic.ContentBlockParamUnion
	for _, b := range m.Content {
		switch {
		case b.Type != "tool_use":
		case b.Input.City == "Nowhere":
			results = append(results, anthropic.NewToolResultBlock(b.ID, "no such city", true))
		default:
			results = append(results, anthropic.NewToolResultBlock(b.ID, "22 degrees in "+b.Input.City, false))
		}
	}
	c.p.Messages = append(c.p.Messages, anthropic.NewUserMessage(results...))
}

// page is a small PDF, which no fake looks into.
const page = "JVBERi0xLjQKJSVFT0YK"

// TestBedGoSDKContent: a picture in a question and in a result, and a PDF.
func TestBedGoSDKContent(t *testing.T) {
	eachBed(t, allBedWays, func(b *bed) {
		b.k.Default(up.Reply(up.Text("A dot, twice")))
		result := anthropic.NewToolResultBlock("toolu_a", "", false)
		result.OfToolResult.Content = []anthropic.ToolResultBlockParamContentUnion{{OfImage: anthropic.NewImageBlockBase64("image/png", pixel).OfImage}}
		pdf := anthropic.NewDocumentBlock(anthropic.Base64PDFSourceParam{Data: page})
		b.ways(func(b *bed, stream bool) {
			c := b.openV2(sdkOptions{}).chat(chatOptions{tool: "look"}).(*chatV2)
			c.p.Messages = []anthropic.MessageParam{
				anthropic.NewUserMessage(pdf, anthropic.NewImageBlockBase64("image/png", pixel), anthropic.NewTextBlock("Is it the same?")),
				anthropic.NewAssistantMessage(anthropic.NewToolUseBlock("toolu_a", object{"city": "a"}, "look")),
				anthropic.NewUserMessage(result, anthropic.NewTextBlock("Look closely.")),
			}
			r, err := c.turn(within(b.T, patience), stream)
			b.noError(err)
			if r.text != "A dot, twice" {
				b.Errorf("got %+v", r)
			}
			there := b.last()
			if !there.has("image", pixel) || !there.has("result 1", pixel) || !there.has("user", "Look closely.") || !there.has("document", page) {
				b.Errorf("the account got %q", there.Turns)
			}
		})
		b.checkBed()
	})
}

// TestBedGoSDKThinking is D7: what the model thinks comes out with its signature, and goes back as it was.
func TestBedGoSDKThinking(t *testing.T) {
	eachBed(t, allBedWays, func(b *bed) {
		const signature, data = "EqMBCkYIBxgC+/aa==", "ErUBmnop/+=="
		b.k.Default(up.Reply(up.Thinking(signature, "Let me ", "think <é>."), up.RedactedThinking(data), up.Text("Done")))
		b.ways(func(b *bed, stream bool) {
			c := b.openV2(sdkOptions{}).chat(chatOptions{thinking: true})
			c.say("Think")
			r, err := c.turn(within(b.T, patience), stream)
			b.noError(err)
			if r.thinking != "Let me think <é>." || r.signature != signature || r.redacted == "" || r.text != "Done" ||
				!slices.Equal(r.kinds, []string{"thinking", "redacted_thinking", "text"}) {
				b.Fatalf("got %+v", r)
			}
			c.say("Go on")
			_, err = c.turn(within(b.T, patience), stream)
			b.noError(err)
			all := b.arrived()
			body := string(all[len(all)-1].Body)
			for _, want := range []string{canonical("Let me think <é>."), canonical(signature), canonical(r.redacted)} {
				if plain := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(want); !strings.Contains(body, want) && !strings.Contains(body, plain) {
					b.Errorf("%s did not go back: %s", want, body)
				}
			}
		})
		b.checkBed()
	})
}

// TestBedGoSDKErrors: what the account refuses is refused in words that clients know, at once; what passes is mended by the
// gateway, and what lasts longer by the SDK.
func TestBedGoSDKErrors(t *testing.T) {
	eachBed(t, allBedWays, func(b *bed) {
		client := b.openV2(sdkOptions{retries: 2})
		ask := func(stream bool) (reply, error) {
			c := client.chat(chatOptions{})
			c.say("Hello")
			return c.turn(within(b.T, patience), stream)
		}
		b.k.Default(up.PromptTooLong(210_000, 200_000))
		b.ways(func(b *bed, stream bool) {
			_, err := ask(stream)
			if e, ok := client.apiError(err); !ok || e.status != 400 || e.kind != "invalid_request_error" || !strings.Contains(e.raw, "prompt is too long") || e.requestID == "" {
				b.Errorf("got %v: %+v (D15)", err, e)
			}
		})
		b.wantStatuses("/v1/messages", http.StatusBadRequest, http.StatusBadRequest)
		b.k.Default(up.Reply(up.Text("recovered")))
		notReady := up.ModelNotReady()
		if b.way.api == "messages" { // there it is a 429 like any other
			notReady = up.Overloaded()
		}
		for _, queue := range [][]up.Behaviour{
			{up.Overloaded()}, {notReady}, {up.Status(500, "")},
			{up.Events(3).ErrorAt(up.AfterStart, "overloaded_error", "Overloaded")},
			{up.Overloaded(), up.Overloaded(), up.Overloaded()},
		} {
			b.k.Queue(queue...)
			if r, err := ask(true); err != nil || r.text != "recovered" {
				b.Errorf("after %d errors: %+v, %v", len(queue), r, err)
			}
		}
		got := b.tap.statuses("/v1/messages")[2:]
		if slices.ContainsFunc(got[:4], func(status int) bool { return status != http.StatusOK }) || got[len(got)-1] != http.StatusOK {
			b.Errorf("its requests ended with %v", got)
		}
		b.checkBed()
	})
}

// TestBedGoSDKBrokenStreams: an exception in the stream, and a cut of frames and of events, is an error, and never a whole
// message. A fourth failure would find the only node that is left resting.
func TestBedGoSDKBrokenStreams(t *testing.T) {
	eachBed(t, allBedWays, func(b *bed) {
		for _, tt := range []struct {
			why       string
			behaviour up.Behaviour
		}{
			{"an exception in the stream", up.Events(5).ErrorAt(up.AfterDeltas(2), "overloaded_error", "Overloaded")},
			{"the body ends within an event", up.Events(5).CutInside(up.AfterDeltas(2), up.EndClean)},
			{"all has come but the last event", up.Events(2).Cut(up.BeforeStop, up.EndClose)},
		} {
			b.k.Default(tt.behaviour)
			client := b.openV2(sdkOptions{retries: 2})
			c := client.chat(chatOptions{})
			c.say("Hello")
			r, err := c.turn(within(b.T, patience), true)
			if e, ok := client.apiError(err); !ok || e.kind == "" || r.text != "tok0 tok1 " {
				b.Errorf("%s: %v after %q", tt.why, err, r.text)
			}
		}
		b.wantReached(3)
		b.checkBed()
	})
}

// TestBedGoSDKCountTokens: counted by the account where the way and the model have that, and estimated where not.
func TestBedGoSDKCountTokens(t *testing.T) {
	eachBed(t, allBedWays, func(b *bed) {
		n, err := b.openV2(sdkOptions{}).countTokens(within(b.T, patience), strings.Repeat("How many tokens are these? ", 40))
		b.noError(err)
		if n < 100 || n > 600 {
			b.Errorf("counted %d", n)
		}
		asked := 0
		for _, k := range []*up.Bedrock{b.k, b.throttled, b.denied} {
			for _, c := range k.Calls() {
				if c.Operation == "CountMessageTokens" {
					asked++
				}
			}
		}
		if (asked > 0) != (b.way.api == "messages") {
			b.Errorf("the accounts were asked to count %d times", asked)
		}
		b.wantStatuses("/v1/messages/count_tokens", http.StatusOK)
	})
}

// TestBedNoAccess: when no account has access to the model, the client is told so at once, and the operator what to do.
func TestBedNoAccess(t *testing.T) {
	eachBed(t, []bedWay{mantleWay, invokeWay}, func(b *bed) {
		for _, k := range []*up.Bedrock{b.k, b.throttled} {
			k.DenyModels("anthropic.claude-sonnet-5-5")
		}
		client := b.openV2(sdkOptions{retries: 2})
		c := client.chat(chatOptions{})
		c.say("Hello")
		_, err := c.turn(within(b.T, patience), true)
		e, ok := client.apiError(err)
		if !ok || e.status != http.StatusForbidden && e.status != http.StatusNotFound || e.kind != "permission_error" && e.kind != "not_found_error" || !strings.Contains(e.raw, "access to th") {
			b.Errorf("got %v: %+v", err, e)
		}
		if strings.Contains(e.raw, "arn:") || strings.Contains(e.raw, up.DefaultBedrockCredentials().AccessKeyID) {
			b.Errorf("the client was told %s", e.raw)
		}
		if got := b.tap.statuses("/v1/messages"); len(got) != 1 {
			b.Errorf("the SDK asked again: %v", got)
		}
	})
}

// TestBedNodeSDK: the TypeScript SDK's text, tools, picture, thinking in the history, and errors.
func TestBedNodeSDK(t *testing.T) {
	eachBed(t, []bedWay{mantleWay, invokeWay, converseWay}, func(b *bed) {
		b.k.Default(bedWalk(b.T, "Sunny.", reported, oneCall("weather", func() object { return object{"city": "Zürich"} }, bring("22 degrees"))))
		history := []object{
			{"role": "user", "content": []object{{"type": "image", "source": object{"type": "base64", "media_type": "image/png", "data": pixel}}, {"type": "text", "text": "What is it?"}}},
			{"role": "assistant", "content": []object{{"type": "thinking", "thinking": "Small.", "signature": "EqMB=="}, {"type": "text", "text": "A dot."}}},
			{"role": "user", "content": "Sure?"},
		}
		b.ways(func(b *bed, stream bool) {
			r, err := b.node("tools.mjs", "", object{"model": b.model, "stream": stream})
			b.noError(err)
			if r.Stop != "tool_use" || parsed(string(r.Input)) != `{"city":"Zürich"}` || r.Text != "Sunny." {
				b.Errorf("got %+v", r)
			}
			r, err = b.node(script(stream), "", object{"params": ask(object{"messages": history})})
			b.noError(err)
			if r.Text != "Sunny." || r.Message.Model != model || r.Message.StopReason != "end_turn" || r.Message.Usage.CacheRead != 2000 || r.Message.Usage.CacheWrite != 340 {
				b.Errorf("got %+v", r)
			}
			all := b.arrived()
			if body := string(all[len(all)-1].Body); !strings.Contains(body, `"Small."`) || !strings.Contains(body, `"EqMB=="`) {
				b.Errorf("the account got %s", body)
			}
		})
		b.checkSaid()
		b.checkCounted(6, reported)
		b.k.Queue(up.PromptTooLong(210_000, 200_000))
		_, err := b.node("stream.mjs", "", object{"params": ask(nil)})
		var e *nodeError
		if !errors.As(err, &e) || e.Status != 400 || !slices.Contains(e.Classes, "BadRequestError") || !strings.Contains(e.Message, "prompt is too long") {
			b.Errorf("got %v", err)
		}
		b.k.Queue(up.Events(5).ErrorAt(up.AfterDeltas(2), "overloaded_error", "Overloaded"))
		if _, err = b.node("stream.mjs", "", object{"params": ask(nil)}); !errors.As(err, &e) || !strings.Contains(e.Message, `after "tok0 tok1 "`) {
			b.Errorf("got %v", err)
		}
		b.checkBed()
	})
}
