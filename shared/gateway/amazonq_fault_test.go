package gateway_test

import (
	"encoding/binary"
	"hash/crc32"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/upstream/upstreamtest"
)

var (
	frameText  = upstreamtest.Frame("assistantResponseEvent", `{"content":"Hello"}`)
	frameCall  = upstreamtest.Frame("toolUseEvent", `{"toolUseId":"tooluse_1","name":"get_time","input":"{\"a\":"}`)
	frameStop  = upstreamtest.Frame("toolUseEvent", `{"toolUseId":"tooluse_1","name":"get_time","input":"1}","stop":true}`)
	frameUsage = upstreamtest.Frame("metadataEvent", `{"tokenUsage":{"uncachedInputTokens":3,"outputTokens":1,"totalTokens":4}}`)
)

// framesOf answers with these bytes as an event stream.
func framesOf(frames ...string) upstreamtest.Behaviour {
	return upstreamtest.Raw(200, http.Header{"Content-Type": {upstreamtest.EventStreamType}}, frames...)
}

// damaged is a frame of which the byte at i is another.
func damaged(frame string, i int) string {
	b := []byte(frame)
	b[i] ^= 0x10
	return string(b)
}

// announcing is the beginning of a frame of n bytes, with the checksum that it should have.
func announcing(n uint32) string {
	b := binary.BigEndian.AppendUint32(nil, n)
	b = binary.BigEndian.AppendUint32(b, 100)
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return string(b) + strings.Repeat("x", 1000)
}

// faults are ways in which a stream goes wrong after some frames.
var faults = []struct {
	why   string
	then  string
	class string // of the error in mid-stream, Anthropic's name; empty: any
}{
	{"exception of the service's own", upstreamtest.ExceptionFrame("error", `{"message":"boom"}`), "api_error"},
	{"exception: throttling", upstreamtest.ExceptionFrame("ThrottlingException", `{"message":"slow"}`), "rate_limit_error"},
	{"exception: no capacity", upstreamtest.ExceptionFrame("ThrottlingException", `{"message":"m","reason":"INSUFFICIENT_MODEL_CAPACITY"}`), "overloaded_error"},
	{"exception of a new kind, without JSON", upstreamtest.ExceptionFrame("NewException", "?"), "api_error"},
	{"error frame", upstreamtest.ErrorFrame("InternalFailure", "m"), "api_error"},
	{"invalidStateEvent", upstreamtest.Frame("invalidStateEvent", `{"reason":"INVALID_TASK_ASSIST_PLAN","message":"m"}`), ""},
	{"wrong checksum of the message", damaged(frameText, len(frameText)-1), "api_error"},
	{"payload that is not the one of the checksum", damaged(frameText, len(frameText)-8), "api_error"},
	{"wrong checksum of the prelude", damaged(frameText, 9), "api_error"},
	{"a frame of 2 GiB", announcing(1 << 31), "api_error"},
	{"a frame of no length", announcing(0), "api_error"},
	{"headers longer than the frame", announcing(60), "api_error"},
	{"no frames at all", strings.Repeat("data: {}\n\n", 20), "api_error"},
	{"an event without JSON", upstreamtest.Frame("assistantResponseEvent", "?"), "api_error"},
	{"an event for another type", upstreamtest.Frame("toolUseEvent", `{"toolUseId":"t","name":"get_time","input":7}`), "api_error"},
}

// Before content, whatever goes wrong is another node's chance; the client never learns of it.
func TestQFault_BeforeContentFailsOver(t *testing.T) {
	for _, f := range faults {
		t.Run(f.why, func(t *testing.T) {
			r, c := newPoolRig(t)
			bad := r.fakePool("bad", weight(1))
			good := r.fakePool("good", weight(2))
			good.Default(upstreamtest.Reply(upstreamtest.Text("Hello")))
			bad.Default(framesOf(f.then))
			clientFault := f.why == "invalidStateEvent" // the service calls the request wrong
			for _, ask := range poolAsks {
				for _, body := range []string{ask.body, ask.plain} {
					c.advance(time.Minute) // a node that cools or has failed is tried again
					got := r.do("POST", ask.path, body)
					if clientFault {
						if got.status != 400 {
							t.Errorf("%s: got %d %s", ask.name, got.status, got.body)
						}
						continue
					}
					if got.status != 200 || !strings.Contains(got.body, "Hello") || strings.Contains(got.body, ask.failed) || got.header.Get("X-Proxy-Node") != "good" {
						t.Errorf("%s: got %d from %s: %s", ask.name, got.status, got.header.Get("X-Proxy-Node"), got.body)
					}
				}
			}
			if bad.Count() != 6 || !clientFault && good.Count() != 6 {
				t.Errorf("the bad node was asked %d times, the good one %d times, want 6", bad.Count(), good.Count())
			}
		})
	}
}

// After content, every fault is an error event of the client's own dialect, and never a clean end (D12, D33, D41).
func TestQFault_MidStreamIsAnErrorEvent(t *testing.T) {
	for _, f := range faults {
		for _, before := range []struct{ why, frames string }{
			{"text", frameText},
			{"within a call", frameText + frameCall},
			{"after a call", frameCall + frameStop},
			{"after the usage", frameText + frameUsage},
		} {
			t.Run(f.why+", "+before.why, func(t *testing.T) {
				r, c := newPoolRig(t)
				r.fakePool("bad", weight(1)).Default(framesOf(before.frames, f.then, frameText+frameUsage))
				good := r.fakePool("good", weight(2))
				for _, ask := range poolAsks {
					c.advance(time.Minute) // a node that cools or has failed is tried again
					got := r.do("POST", ask.path, ask.body)
					if got.status != 200 || got.err != nil || strings.Contains(got.body, ask.end) || strings.Count(got.body, ask.failed) != 1 {
						t.Errorf("%s: got %d %v: %s", ask.name, got.status, got.err, got.body)
					}
					if ask.name == "messages" {
						if typ, _ := lastError(t, parse(t, got.body)); typ != f.class && f.class != "" {
							t.Errorf("error %s, want %s", typ, f.class)
						}
					}
				}
				if good.Count() != 0 {
					t.Error("after content another node was asked")
				}
				for _, rec := range r.records() {
					if rec.NodeName != "bad" || rec.Success() || rec.ErrorCode == "" || rec.Tokens.Output == 0 {
						t.Errorf("recorded %+v", rec)
					}
				}
			})
		}
	}
}

// What the codec does not know, and what says nothing to clients, passes without a trace.
func TestQFault_UnknownEventsAreSkipped(t *testing.T) {
	r, _ := newPoolRig(t)
	noise := ""
	for _, name := range []string{"meteringEvent", "codeReferenceEvent", "supplementaryWebLinksEvent", "citationEvent", "followupPromptEvent", "codeEvent",
		"intentsEvent", "interactionComponentsEvent", "dryRunSucceedEvent", "toolResultEvent", "fromTheFutureEvent", ""} {
		noise += upstreamtest.Frame(name, `{"content":"no","text":"no"}`) + upstreamtest.Frame(name, "?") + upstreamtest.Frame(name, "")
	}
	r.fakePool("q").Default(framesOf(noise, frameText+noise+frameCall, noise+frameStop+noise, frameUsage+noise))
	m := r.both(strings.Replace(poolPlain, "{", "{"+poolTools+",", 1))
	if m.said() != `Hello | get_time({"a":1})` || m.stop() != "tool_use" || *m.Usage.Input != 3 {
		t.Errorf("got %s, %s, %+v", m.said(), m.stop(), m.Usage)
	}
}

// The stream of an answer, cut at every byte: with the connection closed or reset it is never a clean end; with HTTP's own
// end only where the answer is whole.
func TestQFault_CutAtEveryByte(t *testing.T) {
	frames := []string{frameText, frameCall, frameStop}
	whole := strings.Join(frames, "")
	clean := map[int]bool{len(frameText): true, len(whole): true} // in between a call is open
	for _, end := range []struct {
		why string
		end upstreamtest.End
	}{{"closed", upstreamtest.EndClose}, {"reset", upstreamtest.EndReset}, {"ended", upstreamtest.EndClean}} {
		t.Run(end.why, func(t *testing.T) {
			r, c := newPoolRig(t, "PROXY_FAIL_THRESHOLD", "100")
			up := r.fakePool("q")
			for at := range len(whole) + 1 {
				ask := poolAsks[at%len(poolAsks)]
				up.Default(framesOf(whole[:at]).Cut(upstreamtest.AfterDeltas(1), end.end))
				c.advance(time.Minute) // a node that has failed gets a trial
				got := r.do("POST", ask.path, ask.body)
				if up.Count() != at+1 {
					t.Fatalf("cut at %d: the node was not asked", at)
				}
				complete := got.status == 200 && strings.Contains(got.body, ask.end)
				failed := got.status >= 500 || strings.Count(got.body, ask.failed) == 1
				if want := end.end == upstreamtest.EndClean && clean[at]; complete != want || failed == want {
					t.Fatalf("%s, cut at %d of %d: got %d %s", ask.name, at, len(whole), got.status, got.body)
				}
			}
		})
	}
}

// A clean end of the HTTP answer within a tool call is an error: half an input would be run.
func TestQFault_CleanEndWithinACall(t *testing.T) {
	half := upstreamtest.Frame("toolUseEvent", `{"toolUseId":"tooluse_1","name":"get_weather","input":"{\"city\":"}`)
	r, _ := newPoolRig(t, "PROXY_FAIL_THRESHOLD", "100")
	r.fakePool("q").Default(framesOf(frameText, half))
	for _, ask := range poolAsks {
		got := r.do("POST", ask.path, ask.body)
		if got.status != 200 || strings.Contains(got.body, ask.end) || strings.Count(got.body, ask.failed) != 1 || strings.Contains(got.body, `"stop_reason":"`) {
			t.Errorf("%s: got %d %s", ask.name, got.status, got.body)
		}
		if got := r.do("POST", ask.path, ask.plain); got.status != 502 {
			t.Errorf("%s, whole: got %d %s", ask.name, got.status, got.body)
		}
	}
}

// Answers that are no event streams, though their status is 200.
func TestQFault_OtherAnswers(t *testing.T) {
	for why, b := range map[string]upstreamtest.Behaviour{
		"a web page":                  upstreamtest.HTMLPage(),
		"empty":                       upstreamtest.Empty(upstreamtest.EventStreamType),
		"an error with status 200":    upstreamtest.Raw(200, http.Header{"Content-Type": {"application/x-amz-json-1.0"}}, `{"__type":"InternalServerException","message":"m"}`),
		"frames without a content":    framesOf(upstreamtest.Frame("messageMetadataEvent", `{"conversationId":"c"}`)),
		"HTTP/1.0 without any length": upstreamtest.Wire("HTTP/1.0 200 OK\r\nContent-Type: " + upstreamtest.EventStreamType + "\r\n\r\n"),
		"no answer":                   upstreamtest.Reply().Cut(upstreamtest.BeforeHeaders, upstreamtest.EndReset),
	} {
		t.Run(why, func(t *testing.T) {
			r, _ := newPoolRig(t, "PROXY_FAIL_THRESHOLD", "100")
			up, id := r.fakePoolID("q")
			up.Default(b)
			n := 0
			for _, ask := range poolAsks {
				for _, body := range []string{ask.body, ask.plain} {
					n++
					if got := r.do("POST", ask.path, body); got.status < 500 || got.header.Get("Content-Type") != "application/json" {
						t.Errorf("%s: got %d %s", ask.name, got.status, got.body)
					}
				}
			}
			if s := r.state(id); s.FailStreak != n {
				t.Errorf("%d failures counted, want %d", s.FailStreak, n)
			}
		})
	}
	// an answer that only the connection's end ends cannot be told from one that was cut
	r, _ := newPoolRig(t)
	up := r.fakePool("q")
	up.Default(upstreamtest.Wire("HTTP/1.0 200 OK\r\nContent-Type: " + upstreamtest.EventStreamType + "\r\n\r\n" + frameText))
	if typ, _ := lastError(t, parse(t, r.post(poolStream).body)); typ != "api_error" {
		t.Errorf("got error %q", typ)
	}
}

// An exception tells as much of the node as an error of its own: the verdict is the same, before and after content.
func TestQFault_ExceptionsTellOfTheNode(t *testing.T) {
	next := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		why, frame string
		ok         func(core.NodeState) bool
	}{
		{"month used up", upstreamtest.ExceptionFrame("ThrottlingException", `{"message":"m","reason":"MONTHLY_REQUEST_COUNT"}`), func(s core.NodeState) bool {
			return s.Cooling[""].Equal(next) && s.Blocked == ""
		}},
		{"suspended", upstreamtest.ExceptionFrame("AccessDeniedException", `{"message":"m","reason":"TEMPORARILY_SUSPENDED"}`), func(s core.NodeState) bool {
			return s.Blocked == core.BlockedSuspended
		}},
		{"throttled", upstreamtest.ExceptionFrame("ThrottlingException", `{"message":"m"}`), func(s core.NodeState) bool {
			return len(s.Cooling) == 1 && s.Cooling[""].IsZero() && s.Blocked == ""
		}},
		{"no capacity", upstreamtest.ExceptionFrame("ThrottlingException", `{"reason":"INSUFFICIENT_MODEL_CAPACITY"}`), func(s core.NodeState) bool {
			return len(s.Cooling) == 0 && s.FailStreak == 1
		}},
		{"the request's own fault", upstreamtest.ExceptionFrame("ValidationException", `{"message":"Input is too long.","reason":"CONTENT_LENGTH_EXCEEDS_THRESHOLD"}`), func(s core.NodeState) bool {
			return len(s.Cooling) == 0 && s.FailStreak == 0
		}},
	} {
		for _, before := range []string{"", frameText} {
			for _, body := range []string{poolStream, poolPlain} {
				r, _ := newPoolRig(t)
				up, id := r.fakePoolID("q")
				up.Default(framesOf(before + c.frame))
				if got := r.post(body); got.status == 200 && !strings.Contains(got.body, "event: error") {
					t.Errorf("%s: got %d %s", c.why, got.status, got.body)
				}
				if s := r.state(id); !c.ok(s) {
					t.Errorf("%s, after %d bytes: state %+v", c.why, len(before), s)
				}
			}
		}
	}
}
