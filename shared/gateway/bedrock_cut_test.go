package gateway_test

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/gateway"
	"sluice/shared/upstream"
	"sluice/shared/upstream/upstreamtest"
)

// bedrockFrames are a short answer in frames: its start, up to content and past it.
var bedrockFrames = []struct {
	api               string
	head, first, rest string
}{
	{"invoke", inChunks(head), inChunks(evText), inChunks(evMore + ends)},
	{"converse", upstreamtest.Frame("messageStart", `{"role":"assistant"}`), upstreamtest.Frame("contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":"Hello"}}`),
		upstreamtest.Frame("contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":" there"}}`) + upstreamtest.Frame("contentBlockStop", `{"contentBlockIndex":0}`) +
			upstreamtest.Frame("messageStop", `{"stopReason":"end_turn"}`) + upstreamtest.Frame("metadata", `{"usage":{"inputTokens":11,"outputTokens":42,"totalTokens":53},"metrics":{"latencyMs":1}}`)},
}

// bedrockBubble is a bubble with nodes of the API.
func bedrockBubble(t *testing.T, s gateway.Settings, api string, names ...string) *bubble {
	t.Helper()
	b := newBubble(t, s)
	b.o.Upstreams = map[core.Kind]upstream.Client{core.KindBedrock: b.up}
	b.count(nil)
	for i, name := range names {
		b.node(name, name, i+1, bedrockNode(api))
	}
	return b
}

// TestD12_BedrockFramesCutAtEveryByte: before content another node answers, within it the client is told.
func TestD12_BedrockFramesCutAtEveryByte(t *testing.T) {
	for _, f := range bedrockFrames {
		t.Run(f.api, func(t *testing.T) {
			whole := f.head + f.first + f.rest
			end := len(whole)
			if f.api == "converse" { // what follows messageStop is not missed but for its usage
				end = strings.LastIndex(whole, ":event-type") // of metadata
			}
			for at := range end {
				how := []error{io.EOF, io.ErrUnexpectedEOF, errReset}[at%3]
				synctest.Test(t, func(t *testing.T) {
					b := bedrockBubble(t, gateway.Settings{RetryMax: 1}, f.api, "a", "b")
					b.up.on("a", answer("application/vnd.amazon.eventstream", step{data: whole[:at], err: how}))
					b.up.on("b", answer("application/vnd.amazon.eventstream", step{data: whole}))
					got := b.post(t.Context(), streamBody).reply()
					es := parse(t, got.body)
					rec := b.record()
					if at < len(f.head+f.first) {
						if text(es) != "Hello there" || rec.NodeName != "b" || !rec.Success() {
							t.Fatalf("cut at %d: events %s by %s", at, names(es), rec.NodeName)
						}
						return
					}
					if f.api == "converse" && rec.Success() && rec.Estimated { // after messageStop: whole, without its usage
						return
					}
					typ, message := lastError(t, es)
					if typ != "api_error" || message == "" || strings.Contains(got.body, "event: message_stop") || rec.ErrorCode != "stream_cut" || rec.NodeName != "a" {
						t.Fatalf("cut at %d (%v): error %q %q, events %s, %+v", at, how, typ, message, names(es), rec)
					}
				})
			}
		})
	}
}

// TestBedrockFramesDamaged: a frame whose checksum is wrong, and one that holds something else, end the answer in an error.
func TestBedrockFramesDamaged(t *testing.T) {
	for _, f := range bedrockFrames {
		for _, c := range []struct{ why, frame string }{
			{"checksum", upstreamtest.CorruptFrame(f.first)},
			{"no event", upstreamtest.Frame("chunk", `{"bytes":"!"}`) + upstreamtest.Frame("contentBlockDelta", `[]`)},
			{"too large", "\x7f\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00"},
		} {
			for _, content := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					b := bedrockBubble(t, gateway.Settings{RetryMax: 1}, f.api, "a")
					data := f.head + c.frame + f.rest
					if content {
						data = f.head + f.first + c.frame + f.rest
					}
					b.up.queue(answer("application/vnd.amazon.eventstream", step{data: data}))
					got := b.post(t.Context(), streamBody).reply()
					rec := b.record()
					if rec.Success() || b.state("a").FailStreak != 1 {
						t.Errorf("%s %s: recorded %+v, state %+v", f.api, c.why, rec, b.state("a"))
					}
					if content {
						if typ, message := lastError(t, parse(t, got.body)); typ != "api_error" || message == "" {
							t.Errorf("%s %s: error %q %q", f.api, c.why, typ, message)
						}
					} else if got.status != 502 {
						t.Errorf("%s %s: status %d: %s", f.api, c.why, got.status, got.body)
					}
				})
			}
		}
	}
}

// TestD11_BedrockSilence: a client hears something however long the frames keep it waiting.
func TestD11_BedrockSilence(t *testing.T) {
	const silence = 290 * time.Second
	for _, f := range bedrockFrames {
		for _, steps := range [][]step{
			{{wait: silence}, {data: f.head + f.first + f.rest}},
			{{data: f.head}, {wait: silence, data: f.first + f.rest}},
			{{data: f.head + f.first}, {wait: silence, data: f.rest}},
			{{data: f.head + f.first + f.rest[:40]}, {wait: silence, data: f.rest[40:]}},
		} {
			synctest.Test(t, func(t *testing.T) {
				b := bedrockBubble(t, gateway.Settings{}, f.api, "a")
				b.up.queue(answer("application/vnd.amazon.eventstream", steps...))
				w := b.post(t.Context(), streamBody)
				wantStream(t, w.reply(), "Hello there")
				if gap := w.longestGap(); gap > 25*time.Second {
					t.Errorf("%s: the client heard nothing for %v", f.api, gap)
				}
			})
		}
	}
}

// TestBedrockTold: metrics and traces name the kind and the wires.
func TestBedrockTold(t *testing.T) {
	for _, c := range []struct{ api, wire, body, trace string }{
		{"", "text/event-stream", whole, ""},
		{"invoke", "application/vnd.amazon.eventstream", inChunks(whole), ""},
		{"converse", "application/vnd.amazon.eventstream", bedrockFrames[1].head + bedrockFrames[1].first + bedrockFrames[1].rest, "anthropic to bedrock-converse"},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := bedrockBubble(t, gateway.Settings{RetryMax: 1}, c.api, "a")
			m, tr := &counted{}, &told{}
			b.o.Trace = tr
			b.count(m)
			b.up.queue(answer(c.wire, step{data: c.body}))
			wantStream(t, b.post(t.Context(), streamBody).reply(), "Hello there")
			if got := strings.Join(m.said, ", "); got != "attempt bedrock ok, observe bedrock " {
				t.Errorf("api %q: counted %q", c.api, got)
			}
			if said := strings.Join(tr.said, "\n"); !strings.Contains(said, c.trace) || tr.open != 0 || c.trace == "" && strings.Contains(said, " to bedrock") {
				t.Errorf("api %q: traced %s, %d open", c.api, said, tr.open)
			}
		})
	}
}

// TestBedrockCaptured: what is kept of an exchange is what the client sent and got.
func TestBedrockCaptured(t *testing.T) {
	r := newBedrockRig(t, nil, "CAPTURE_URL", "file:"+t.TempDir())
	r.editAccount(func(a *core.Account) { a.Capture = core.Capture{Enabled: true, Until: time.Now().Add(time.Hour)} })
	r.bedrock("b", "invoke")
	body := bedrockAsk(bedrockModel, bedrockRest, true)
	got := r.post(body)
	wantStream(t, got, "Hello there!")
	kept, ok := r.captured(got.header.Get("Request-Id"))
	if !ok || kept.Request != body || kept.Response != got.body || kept.Dialect != "anthropic" {
		t.Errorf("kept %+v", kept)
	}
}
