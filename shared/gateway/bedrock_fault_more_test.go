package gateway_test

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/gateway"
	"sluice/shared/upstream/upstreamtest"
)

// What bedrock_fault_test.go and bedrock_cut_test.go show for one route is shown here for each.

// TestBedrockExceptions_BeforeAndInside is every exception of a stream, on every wire: in place of content it is an answer with
// its status, after content an event of its type, and the operator reads which it was.
func TestBedrockExceptions_BeforeAndInside(t *testing.T) {
	for _, c := range []struct {
		shape, native string // as frames and as events name it
		message       string
		status        int
		typ           string
		clients       bool // the client's fault, which is no node's
	}{
		{"throttlingException", "rate_limit_error", "Too many requests.", 429, "rate_limit_error", false},
		{"serviceUnavailableException", "overloaded_error", "No capacity.", 529, "overloaded_error", false},
		{"internalServerException", "api_error", "It broke.", 500, "api_error", false},
		{"modelStreamErrorException", "api_error", "The model stopped.", 500, "api_error", false},
		{"modelTimeoutException", "timeout_error", "Too slow.", 504, "timeout_error", false},
		{"validationException", "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum", 400, "invalid_request_error", true},
	} {
		for _, br := range everyRoute() {
			for _, p := range []struct {
				why     string
				at      upstreamtest.Point
				content bool
			}{{"after the headers", upstreamtest.AfterHeaders, false}, {"after the start", upstreamtest.AfterStart, false}, {"inside", upstreamtest.AfterDeltas(1), true}} {
				t.Run(c.shape+"/"+br.name+"/"+p.why, func(t *testing.T) {
					name := c.shape
					if br.sse() {
						name = c.native
					}
					r := newBedrockRig(t, nil, oneTry...)
					id := r.bedrock("b", br.api, br.edit)
					r.up.Default(upstreamtest.Reply(upstreamtest.Text("Hel", "lo")).ErrorAt(p.at, name, c.message))
					got := r.post(bedrockAsk(bedrockModel, bedrockRest, true))
					rec, state := r.record(), r.state(id)
					if rec.Success() {
						t.Errorf("recorded %+v", rec)
					}
					if c.clients && !strings.Contains(got.body, c.message) { // D15: clients act on these words
						t.Errorf("no %q in %s", c.message, got.body)
					}
					if !p.content {
						if got.status != c.status || !strings.Contains(got.body, `"type":"`+c.typ+`"`) || strings.Contains(got.body, "event:") {
							t.Errorf("status %d, want %d %s: %s", got.status, c.status, c.typ, got.body)
						}
						if !c.clients && (len(rec.Tries) != 1 || rec.Tries[0].Reason == "") || c.clients != (state.FailStreak == 0 && len(state.Cooling) == 0) {
							t.Errorf("the operator reads %+v, the node is %+v", rec.Tries, state)
						}
						return
					}
					es := parse(t, got.body)
					if typ, message := lastError(t, es); got.status != 200 || typ != c.typ || message == "" || text(es) != "Hel" {
						t.Errorf("status %d, error %q %q, text %q", got.status, typ, message, text(es))
					}
				})
			}
		}
	}
}

// TestBedrockExpired: keys of a role that expired are fetched anew once on each route, unseen; where nothing can be fetched, or
// what comes is refused, too, the client reads that it is not its fault, and the operator what to do. Nothing is tried for ever.
func TestBedrockExpired(t *testing.T) {
	for _, br := range everyRoute() {
		t.Run(br.name, func(t *testing.T) {
			r := newBedrockRig(t, nil, oneTry...)
			r.up.SetRoles(upstreamtest.BedrockRole{ARN: "arn:aws:iam::123456789012:role/tenant", ExternalID: "tenant-7"})
			id := r.bedrock("b", br.api, br.edit, r.credential(bedrockRole))
			ask := func() reply { return r.post(bedrockAsk(bedrockModel, bedrockRest, true)) }
			count := func() (assumed, asked int) {
				for _, c := range r.up.Calls() {
					if c.Operation == "AssumeRole" {
						assumed++
					} else {
						asked++
					}
				}
				return assumed, asked
			}
			wantStream(t, ask(), "Hello there!")
			r.up.Expire(r.sawLast().AccessKeyID)
			wantStream(t, ask(), "Hello there!")
			if assumed, asked := count(); assumed != 2 || asked != 3 {
				t.Errorf("assumed %d times and asked %d times, want 2 and 3", assumed, asked)
			}
			if recs := r.records(); recs[1].Attempts != 1 || len(recs[1].Tries) != 0 || !recs[1].Success() {
				t.Errorf("the request that met expired keys: %+v", recs[1])
			}

			expired := awsAnswer(403, "ExpiredTokenException", `{"message":"The security token included in the request is expired"}`)
			if br.sse() {
				expired = awsAnswer(403, "", `{"type":"error","error":{"type":"permission_error","message":"The security token included in the request is expired"}}`)
			}
			r.up.Default(expired)
			wantError(t, ask(), 502, "api_error", "Your key is not at fault")
			if assumed, asked := count(); assumed != 3 || asked != 5 {
				t.Errorf("refused anew: assumed %d times and asked %d times, want 3 and 5", assumed, asked)
			}
			if s := r.state(id); !strings.Contains(s.LastError, "expired; enter new ones") {
				t.Errorf("the operator reads %q", s.LastError)
			}

			r.editNode(id, r.credential(strings.Replace(strings.Replace(bedrockKeys, "AKIAIOS", "ASIAIOS", 1), "{", `{"session_token":"old",`, 1)))
			wantError(t, ask(), 502, "api_error", "Your key is not at fault")
			if assumed, asked := count(); assumed != 3 || asked != 6 {
				t.Errorf("keys that nobody renews: assumed %d times and asked %d times, want 3 and 6", assumed, asked)
			}
		})
	}
}

// TestBedrockRefused: refusals of AWS's front door, on each route: the client reads that it is not its fault, the operator
// what to set right, and the node rests.
func TestBedrockRefused(t *testing.T) {
	for _, c := range []struct{ why, shape, message, operator string }{
		{"a clock that stays off", "InvalidSignatureException", "Signature expired: 20261122T110000Z is now earlier than 20261122T115500Z (20261122T120000Z - 5 min.)", "the clock of this machine is off"},
		{"a clock that is fast", "InvalidSignatureException", "Signature not yet current: 20261122T130000Z is still later than 20261122T120500Z (20261122T120000Z + 5 min.)", "the clock of this machine is off"},
		{"the wrong region", "InvalidSignatureException", "Credential should be scoped to a valid region. ", "the host is of another region than was signed for"},
		{"the wrong service", "InvalidSignatureException", "Credential should be scoped to correct service: 'bedrock-mantle'. ", "of another service"},
		{"keys of a region that is not enabled", "UnrecognizedClientException", "The security token included in the request is invalid.", "its region is not enabled"},
	} {
		for _, br := range everyRoute() {
			for _, stream := range []bool{true, false} {
				r := newBedrockRig(t, nil, oneTry...)
				id := r.bedrock("b", br.api, br.edit)
				r.up.Default(awsAnswer(403, c.shape, `{"message":"`+c.message+`"}`))
				wantError(t, r.post(bedrockAsk(bedrockModel, bedrockRest, stream)), 502, "api_error", "Your key is not at fault")
				if s := r.state(id); !strings.Contains(s.LastError, c.operator) || s.FailStreak == 0 {
					t.Errorf("%s, %s: the operator reads %q", br.name, c.why, s.LastError)
				}
				if n := len(r.up.Calls()); n != 1 {
					t.Errorf("%s, %s: asked %d times", br.name, c.why, n)
				}
			}
		}
	}
}

// TestBedrockClock: a clock that is slow or fast is followed on each route, by one request more, and afterwards by none.
func TestBedrockClock(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -7 * time.Hour} {
		for _, br := range everyRoute() {
			r := newBedrockRig(t, nil, oneTry...)
			r.bedrock("b", br.api, br.edit)
			r.up.SetClock(func() time.Time { return time.Now().Add(by) })
			for range 3 {
				wantStream(t, r.post(bedrockAsk(bedrockModel, bedrockRest, true)), "Hello there!")
			}
			if n := len(r.up.Calls()); n != 4 {
				t.Errorf("%s, %v: %d calls for three requests, want 4", br.name, by, n)
			}
		}
	}
}

// TestBedrockKeyUnknown: an API key that is expired or revoked, on each route.
func TestBedrockKeyUnknown(t *testing.T) {
	for _, br := range everyRoute() {
		r := newBedrockRig(t, nil, oneTry...)
		id := r.bedrock("b", br.api, br.edit, r.credential("bedrock-api-key-of-this-test"))
		r.up.SetAPIKeys("bedrock-api-key-of-this-test")
		wantStream(t, r.post(bedrockAsk(bedrockModel, bedrockRest, true)), "Hello there!")
		r.up.SetAPIKeys("another")
		wantError(t, r.post(bedrockAsk(bedrockModel, bedrockRest, true)), 502, "api_error", "Your key is not at fault")
		if s := r.state(id); !strings.Contains(s.LastError, "key is refused") && !strings.Contains(s.LastError, "the API key is not known") {
			t.Errorf("%s: the operator reads %q", br.name, s.LastError)
		}
	}
}

// TestBedrockWithoutAccess: a model that the account has not enabled, as the service itself refuses it: the client is told, the
// operator what to do, the node serves its other models, and another node this one.
func TestBedrockWithoutAccess(t *testing.T) {
	for _, br := range everyRoute() {
		t.Run(br.name, func(t *testing.T) {
			r := newBedrockRig(t, nil, oneTry...)
			id := r.bedrock("b", br.api, br.edit)
			r.up.DenyModels("anthropic.claude-opus-5-5")
			for _, stream := range []bool{true, false} {
				got := r.post(bedrockAsk(bedrockModel, bedrockRest, stream))
				if got.status != 403 || !strings.Contains(got.body, `"type":"permission_error"`) || !strings.Contains(got.body, "access") {
					t.Errorf("status %d: %s", got.status, got.body)
				}
			}
			if s := r.state(id); !strings.Contains(s.LastError, "model access page of the Bedrock console") || s.FailStreak != 0 || s.Failed || len(s.Cooling) != 0 {
				t.Errorf("the node is %+v", s)
			}
			wantStream(t, r.post(bedrockAsk("claude-haiku-5-5", bedrockRest, true)), "Hello there!")
			r.fakeNode("other", weight(2))
			wantStream(t, r.post(bedrockAsk(bedrockModel, bedrockRest, true)), "Hello there!")
		})
	}
}

// TestBedrockRegionOfModels: a profile of another region, on each route that has profiles.
func TestBedrockRegionOfModels(t *testing.T) {
	for _, br := range everyRoute()[1:] {
		r := newBedrockRig(t, nil, oneTry...)
		r.bedrock("b", br.api, func(n *core.Node) {
			if n.Region = "eu-west-1"; br.sse() {
				n.BaseURL = "https://bedrock-runtime.eu-west-1.amazonaws.com/anthropic"
			}
		})
		got := r.post(bedrockAsk("us.anthropic.claude-opus-5-5", bedrockRest, true))
		rec := r.record()
		if got.status != 404 && got.status != 400 || len(rec.Tries) != 1 || !strings.Contains(rec.Tries[0].Reason, "check the node's region and the id") {
			t.Errorf("%s: status %d: %s; the operator reads %+v", br.name, got.status, got.body, rec.Tries)
		}
	}
}

// TestBedrockThrottledInStream: a limit told in place of content cools the node for its model, as one told before the stream.
func TestBedrockThrottledInStream(t *testing.T) {
	for _, br := range everyRoute() {
		name := "throttlingException"
		if br.sse() {
			name = "rate_limit_error"
		}
		r := newBedrockRig(t, nil, oneTry...)
		id := r.bedrock("first", br.api, br.edit, weight(1))
		r.fakeNode("second", weight(2))
		r.up.Queue(upstreamtest.Reply(upstreamtest.Text("a")).ErrorAt(upstreamtest.AfterStart, name, "Too many requests."))
		wantStream(t, r.post(bedrockAsk(bedrockModel, bedrockRest, true)), "Hello there!")
		if s := r.state(id); len(s.Cooling) == 0 || s.FailStreak != 0 {
			t.Errorf("%s: the node is %+v", br.name, s)
		}
	}
}

// bedrockWires are the short answer on all three: as events, in frames, and as Converse's.
func bedrockWires() []struct{ api, media, head, whole string } {
	const frames = "application/vnd.amazon.eventstream"
	out := []struct{ api, media, head, whole string }{{"messages", "text/event-stream", head + evText, whole}}
	for _, f := range bedrockFrames {
		out = append(out, struct{ api, media, head, whole string }{f.api, frames, f.head + f.first, f.head + f.first + f.rest})
	}
	return out
}

// TestD12_BedrockInTwoAtEveryByte: an answer that comes in two pieces, wherever it is divided, is the answer.
func TestD12_BedrockInTwoAtEveryByte(t *testing.T) {
	for _, w := range bedrockWires() {
		synctest.Test(t, func(t *testing.T) {
			b := bedrockBubble(t, gateway.Settings{RetryMax: 1}, w.api, "a")
			for at := 1; at < len(w.whole); at++ {
				b.up.queue(answer(w.media, step{data: w.whole[:at]}, step{wait: time.Second, data: w.whole[at:]}))
				got := b.post(t.Context(), streamBody).reply()
				if es := parse(t, got.body); got.status != 200 || text(es) != "Hello there" || !strings.HasSuffix(names(es), "delta stop") {
					t.Fatalf("%s in two at %d: status %d, events %s", w.api, at, got.status, names(es))
				}
			}
			for _, rec := range b.records() {
				if !rec.Success() || rec.Estimated || rec.Tokens.Output != 42 {
					t.Fatalf("%s: recorded %+v", w.api, rec)
				}
			}
		})
	}
}

// TestD12_BedrockEventsCut: events of the Messages API end as frames do: before content another node answers, within
// it the client is told.
func TestD12_BedrockEventsCut(t *testing.T) {
	w := bedrockWires()[0]
	for at := 0; at < len(w.whole)-len(evStop); at += 4 {
		how := []error{io.EOF, io.ErrUnexpectedEOF, errReset}[at/4%3]
		synctest.Test(t, func(t *testing.T) {
			b := bedrockBubble(t, gateway.Settings{RetryMax: 1}, w.api, "a", "b")
			b.up.on("a", answer(w.media, step{data: w.whole[:at], err: how}))
			b.up.on("b", answer(w.media, step{data: w.whole}))
			got := b.post(t.Context(), streamBody).reply()
			es, rec := parse(t, got.body), b.record()
			if at < len(w.head) {
				if text(es) != "Hello there" || rec.NodeName != "b" || !rec.Success() {
					t.Fatalf("cut at %d: events %s by %s", at, names(es), rec.NodeName)
				}
				return
			}
			if typ, message := lastError(t, es); typ != "api_error" || message == "" || strings.Contains(got.body, "event: message_stop") || rec.ErrorCode != "stream_cut" || rec.NodeName != "a" {
				t.Fatalf("cut at %d (%v): error %q %q, events %s, %+v", at, how, typ, message, names(es), rec)
			}
		})
	}
}

// TestD11_BedrockEventsSilence: the Messages API of Bedrock sends no pings either.
func TestD11_BedrockEventsSilence(t *testing.T) {
	const silence = 290 * time.Second
	for _, steps := range [][]step{
		{{wait: silence}, {data: whole}},
		{{data: evStart + evBlock}, {wait: silence, data: evText + evMore + ends}},
		{{data: evStart + evBlock + evText}, {wait: silence, data: evMore + ends}},
		{{data: evStart + evBlock + evText + evMore[:20]}, {wait: silence, data: evMore[20:] + ends}},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := bedrockBubble(t, gateway.Settings{}, "messages", "a")
			b.up.queue(answer("text/event-stream", steps...))
			w := b.post(t.Context(), streamBody)
			wantStream(t, w.reply(), "Hello there")
			if gap := w.longestGap(); gap > 25*time.Second {
				t.Errorf("the client heard nothing for %v", gap)
			}
		})
	}
}
