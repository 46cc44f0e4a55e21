package gateway_test

import (
	"encoding/json"
	"io"
	"net/url"
	"strings"
	"testing"

	awsframes "github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"

	"sluice/shared/core"
	"sluice/shared/upstream/upstreamtest"
)

// Clients that speak to Bedrock themselves, on the routes below /bedrock. AWS's decoder reads the frames.

const (
	frontID      = "us.anthropic.claude-opus-5-5"
	frontVersion = `"anthropic_version":"bedrock-2023-05-31"`
)

// frontPath is the path of an operation on a model.
func frontPath(id, op string) string { return "/bedrock/model/" + url.PathEscape(id) + "/" + op }

// invokes makes a request of InvokeModel, or of its stream; rest is the body but for its version.
func (r *rig) invokes(id, rest string, stream bool, headers ...string) reply {
	r.t.Helper()
	op := "invoke"
	if stream {
		op = "invoke-with-response-stream"
	}
	return r.do("POST", frontPath(id, op), "{"+frontVersion+","+rest+"}", headers...)
}

// unpacked is a stream of frames, as AWS's decoder reads it: the events of the Messages API in it, without frames of other types,
// and the exception at its end.
func unpacked(t testing.TB, frames string) (events []event, exception, message string) {
	t.Helper()
	in := strings.NewReader(frames)
	for {
		m, err := awsframes.NewDecoder().Decode(in, nil)
		if err == io.EOF {
			return events, exception, message
		}
		if err != nil {
			t.Fatalf("AWS's decoder: %v after %d events", err, len(events))
		}
		if exception != "" {
			t.Fatal("a frame behind an exception")
		}
		header := func(name string) string {
			if v := m.Headers.Get(name); v != nil {
				return v.String()
			}
			return ""
		}
		if header(":content-type") != "application/json" {
			t.Fatalf("headers %v", m.Headers)
		}
		switch header(":message-type") {
		case "exception":
			var told struct{ Message string }
			if err := json.Unmarshal(m.Payload, &told); err != nil {
				t.Fatal(err)
			}
			exception, message = header(":exception-type"), told.Message
		case "event":
			if header(":event-type") != "chunk" {
				continue // as the SDKs skip what their model does not have
			}
			var chunk struct{ Bytes []byte }
			var kind struct{ Type string }
			if err := json.Unmarshal(m.Payload, &chunk); err != nil || json.Unmarshal(chunk.Bytes, &kind) != nil {
				t.Fatalf("chunk %q: %v", m.Payload, err)
			}
			events = append(events, event{kind.Type, string(chunk.Bytes)})
		default:
			t.Fatalf("headers %v", m.Headers)
		}
	}
}

// frontText checks a clean answer, streamed or whole, and returns its text.
func frontText(t testing.TB, got reply, stream bool) string {
	t.Helper()
	if got.status != 200 || got.err != nil {
		t.Fatalf("status %d, %v: %s", got.status, got.err, tail(got.body))
	}
	if got.header.Get("X-Amzn-Requestid") == "" {
		t.Error("the request is not named")
	}
	if !stream {
		var m struct {
			Type    string
			Content []struct{ Text string }
		}
		if err := json.Unmarshal([]byte(got.body), &m); err != nil || m.Type != "message" || len(m.Content) == 0 || got.header.Get("Content-Type") != "application/json" {
			t.Fatalf("%v: %s as %s", err, tail(got.body), got.header.Get("Content-Type"))
		}
		return m.Content[0].Text
	}
	if ct := got.header.Get("Content-Type"); ct != "application/vnd.amazon.eventstream" || got.header.Get("X-Amzn-Bedrock-Content-Type") != "application/json" {
		t.Fatalf("content type %q of %q", ct, got.header.Get("X-Amzn-Bedrock-Content-Type"))
	}
	es, exception, message := unpacked(t, got.body)
	if n := names(es); exception != "" || !strings.HasSuffix(n, "delta stop") || !strings.HasPrefix(n, "message_start") && !strings.HasPrefix(n, "start") {
		t.Fatalf("events %s, exception %q %q", n, exception, message)
	}
	for _, e := range es {
		if e.name == "ping" { // the service sends none, and helpers of SDKs break on it
			t.Error("a ping")
		}
	}
	return text(es)
}

// frontNode is a node of some kind, and what reaches it.
type frontNode struct {
	name string
	add  func(r *bedrockRig) func() (model, body string) // what the last request named and was
	sent string                                          // the model's name there
	id   string                                          // that the client sends; empty: frontID
}

func frontNodes() []frontNode {
	bedrock := func(api string, edits ...func(*core.Node)) func(r *bedrockRig) func() (string, string) {
		return func(r *bedrockRig) func() (string, string) {
			r.bedrock("n", api, edits...)
			r.up.Default(frontReply())
			return func() (string, string) { c := r.sawLast(); return c.ModelID, string(c.Body) }
		}
	}
	return []frontNode{
		{"InvokeModel", bedrock("invoke"), frontID, ""},
		{"mantle", bedrock("messages"), "anthropic.claude-opus-5-5", ""},
		{"runtime-native", bedrock("messages", runtimeNative), frontID, ""},
		{"Converse", bedrock("converse"), frontID, ""},
		{"Anthropic", func(r *bedrockRig) func() (string, string) {
			up := r.fakeNode("n")
			up.Default(frontReply())
			return func() (string, string) { return up.Last().Model(), string(up.Last().Body) }
		}, bedrockModel, ""},
		{"OpenAI", func(r *bedrockRig) func() (string, string) {
			up := r.fakeOpenAI("n", "chat")
			up.Default(frontReply())
			return func() (string, string) { return up.Last().Model(), string(up.Last().Body) }
		}, bedrockModel, ""},
		{"OpenAI, Responses", func(r *bedrockRig) func() (string, string) {
			up := r.fakeOpenAI("n", "responses")
			up.Default(frontReply())
			return func() (string, string) { return up.Last().Model(), string(up.Last().Body) }
		}, bedrockModel, ""},
		{"Amazon Q", func(r *bedrockRig) func() (string, string) {
			up := r.fakePool("n")
			up.Default(frontReply())
			return func() (string, string) { return up.Last().Model(), string(up.Last().Body) }
		}, "", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"},
	}
}

func frontReply() upstreamtest.Behaviour {
	return upstreamtest.Reply(upstreamtest.Text("Hel", "lo")).Usage(upstreamtest.Usage{Input: 12, Output: 6})
}

// TestBedrockFront_EveryNode: whatever kind of node serves, the client reads the service's own form and the record has its key,
// its dialect and what was used. A node of Bedrock's runtime gets the client's id, all others their own name of the model.
func TestBedrockFront_EveryNode(t *testing.T) {
	for _, n := range frontNodes() {
		for _, stream := range []bool{true, false} {
			t.Run(n.name, func(t *testing.T) {
				r := newBedrockRig(t, nil)
				last := n.add(r)
				id := frontID
				if n.id != "" {
					id = n.id
				}
				got := r.invokes(id, bedrockRest, stream, "X-Api-Key", "", "Authorization", "Bearer "+proxyKey)
				if s := frontText(t, got, stream); s != "Hello" {
					t.Errorf("text %q", s)
				}
				model, body := last()
				if n.sent != "" && model != n.sent {
					t.Errorf("the node was asked for %q, want %q", model, n.sent)
				}
				if invoke := n.name == "InvokeModel"; strings.Contains(body, "anthropic_version") != invoke || strings.Contains(body, `"stream":true`) != (stream && !invoke && n.name != "Converse" && n.name != "Amazon Q") {
					t.Errorf("the node got %s", body)
				}
				rec := r.record()
				op := "/bedrock/model/{id}/invoke"
				if stream {
					op += "-with-response-stream"
				}
				if rec.Dialect != core.DialectBedrockInvoke || rec.Endpoint != op || rec.Model != id || rec.Key == "" || rec.Status != 200 || rec.Stream != stream || rec.NodeName != "n" || rec.Bytes != int64(len(got.body)) {
					t.Errorf("recorded %+v for %d bytes", rec, len(got.body))
				}
				if n.name != "Amazon Q" && (rec.Tokens != core.Tokens{Input: 12, Output: 6} || rec.Estimated) {
					t.Errorf("recorded tokens %+v", rec.Tokens)
				}
				if n.name != "Amazon Q" && !strings.HasPrefix(n.name, "OpenAI") && rec.Unpriced {
					t.Error("the request has no price")
				}
			})
		}
	}
}

// TestBedrockFront_ByteTruth: over InvokeModel the events are the service's own byte by byte, and the body the client's but for
// the place of its version and flags.
func TestBedrockFront_ByteTruth(t *testing.T) {
	r := newBedrockRig(t, nil)
	r.bedrock("n", "invoke")
	for _, row := range bedrockRows() {
		t.Run(row.name, func(t *testing.T) {
			r.up.Default(row.reply)
			for _, stream := range []bool{true, false} {
				flags, want := "", invokeHead+row.rest+"}"
				if row.betas != "" {
					flags = `"anthropic_beta":["` + row.betas + `"],`
					want = invokeHead + flags + row.rest + "}"
				}
				got := r.invokes(frontID, flags+row.rest, stream)
				if got.status != 200 {
					t.Fatalf("status %d: %s; %q", got.status, got.body, r.up.Refused())
				}
				if call := r.sawLast(); string(call.Body) != want || call.ModelID != frontID {
					t.Errorf("the service got %s for %s\nwant %s", tail(string(call.Body)), call.ModelID, tail(want))
				}
				if sent := r.wire.last(); stream {
					es, _, _ := unpacked(t, got.body)
					their, _, _ := unpacked(t, sent)
					if len(es) == 0 || len(es) != len(their) {
						t.Fatalf("%d events of %d", len(es), len(their))
					}
					for i := range es[:len(es)-1] {
						if es[i] != their[i] {
							t.Errorf("event %d is %s, the service sent %s", i, es[i].data, their[i].data)
						}
					}
				} else if got.body != sent {
					t.Errorf("the client got %s, the service sent %s", tail(got.body), tail(sent))
				}
			}
		})
	}
}

// TestD27_BedrockFrontUsage: the client reads all four counts, where Anthropic has them and where the service has, and the record
// has the same.
func TestD27_BedrockFrontUsage(t *testing.T) {
	used := upstreamtest.Usage{Input: 12, CacheRead: 3, CacheWrite5m: 4, CacheWrite1h: 5, Output: 6}
	want := core.Tokens{Input: 12, CacheRead: 3, CacheWrite5m: 4, CacheWrite1h: 5, Output: 6}
	for _, api := range []string{"invoke", "messages", "converse", "anthropic"} {
		t.Run(api, func(t *testing.T) {
			r := newBedrockRig(t, nil)
			reply := upstreamtest.Reply(upstreamtest.Text("Hel", "lo")).Usage(used)
			if r.up.Default(reply); api == "anthropic" {
				r.fakeNode("n").Default(reply)
			} else {
				r.bedrock("n", api)
			}
			got := r.invokes(frontID, bedrockRest, true)
			es, _, _ := unpacked(t, got.body)
			if len(es) == 0 {
				t.Fatalf("status %d: %s", got.status, got.body)
			}
			var last struct {
				Metrics map[string]int64 `json:"amazon-bedrock-invocationMetrics"`
			}
			if err := json.Unmarshal([]byte(es[len(es)-1].data), &last); err != nil {
				t.Fatal(err)
			}
			m := last.Metrics
			if m["inputTokenCount"] != 12 || m["outputTokenCount"] != 6 || m["cacheReadInputTokenCount"] != 3 || m["cacheWriteInputTokenCount"] != 9 || m["firstByteLatency"] < 1 || m["invocationLatency"] < m["firstByteLatency"] {
				t.Errorf("metrics %v", m)
			}
			var said strings.Builder
			for _, e := range es {
				said.WriteString(e.data)
			}
			for _, has := range []string{`"cache_read_input_tokens":3`, `"ephemeral_5m_input_tokens":4`, `"ephemeral_1h_input_tokens":5`, `"output_tokens":6`, `"stop_reason":"end_turn"`} {
				if !strings.Contains(said.String(), has) {
					t.Errorf("no %s in %s", has, said.String())
				}
			}
			whole := r.invokes(frontID, bedrockRest, false)
			h := whole.header
			if h.Get("X-Amzn-Bedrock-Input-Token-Count") != "12" || h.Get("X-Amzn-Bedrock-Output-Token-Count") != "6" || h.Get("X-Amzn-Bedrock-Cache-Read-Input-Token-Count") != "3" ||
				h.Get("X-Amzn-Bedrock-Cache-Write-Input-Token-Count") != "9" || h.Get("X-Amzn-Bedrock-Invocation-Latency") == "" {
				t.Errorf("header %v", h)
			}
			for _, rec := range r.records() {
				if rec.Tokens != want {
					t.Errorf("recorded %+v", rec.Tokens)
				}
			}
		})
	}
}

// TestBedrockFront_Bodies: the envelope is taken off by edits of bytes, wherever its members stand.
func TestBedrockFront_Bodies(t *testing.T) {
	const m = `"max_tokens":5,"messages":[{"role":"user","content":"hi"}]`
	const model, stream = `{"model":"claude-opus-5-5",`, `{"model":"claude-opus-5-5","stream":true,`
	for _, c := range []struct {
		why, body, header string // anthropic-beta of the client
		stream            bool
		want, flags       string
		version           string
	}{
		{why: "first", body: `{` + frontVersion + `,` + m + `}`, want: model + m + `}`},
		{why: "last", body: `{` + m + `,` + frontVersion + `}`, want: model + m + `}`},
		{why: "in the middle", body: `{"max_tokens":5,` + frontVersion + `,"messages":[{"role":"user","content":"hi"}]}`, want: model + m + `}`},
		{why: "with spaces", body: "\n{ " + m + ` , "anthropic_version" : "bedrock-2023-05-31" , "anthropic_beta" : [] }`, want: "\n" + model + ` ` + m + ` }`},
		{why: "streamed", body: `{` + frontVersion + `,` + m + `}`, stream: true, want: stream + m + `}`},
		{why: "with a name and a stream of its own", body: `{"model":"x",` + m + `,"stream":true}`, want: model + m + `}`},
		{why: "an escaped name of a member", body: `{"anthropic\u005fversion":"bedrock-2023-05-31",` + m + `}`, want: model + m + `}`},
		{why: "the same names below the top stay", body: `{` + frontVersion + `,"metadata":{"user_id":"anthropic_version"},` + m + `}`, want: model + `"metadata":{"user_id":"anthropic_version"},` + m + `}`},
		{why: "no version", body: `{` + m + `}`, want: model + m + `}`},
		{why: "flags of body and header are joined, each once", body: `{"anthropic_beta":["a-1","b-2"],` + m + `}`, header: "b-2, c-3", want: model + m + `}`, flags: "a-1,b-2,c-3"},
		{why: "a flag that Anthropic calls otherwise", body: `{"anthropic_beta":["tool-search-tool-2025-10-19"],` + m + `}`, want: model + m + `}`, flags: "advanced-tool-use-2025-11-20"},
		{why: "null flags", body: `{"anthropic_beta":null,` + m + `}`, want: model + m + `}`},
		{why: "a newer version of the API, which newer SDKs name", body: `{"anthropic_version":"2026-10-21",` + m + `}`, want: model + m + `}`, version: "2026-10-21"},
		{why: "the same with Bedrock's name before it", body: `{"anthropic_version":"bedrock-2026-10-21",` + m + `}`, want: model + m + `}`, version: "2026-10-21"},
	} {
		t.Run(c.why, func(t *testing.T) {
			r := newRig(t)
			up := r.fakeNode("n")
			op := "invoke"
			if c.stream {
				op = "invoke-with-response-stream"
			}
			got := r.do("POST", frontPath(frontID, op), c.body, "Anthropic-Beta", c.header, "Accept", "application/vnd.amazon.eventstream",
				"Amz-Sdk-Request", "attempt=1; max=3", "X-Amz-User-Agent", "aws-sdk-js/3", "X-Amzn-Bedrock-Accept", "application/json")
			if got.status != 200 {
				t.Fatalf("status %d: %s", got.status, got.body)
			}
			last := up.Last()
			if string(last.Body) != c.want {
				t.Errorf("the node got %s\nwant %s", last.Body, c.want)
			}
			h := last.Header
			if c.version == "" {
				c.version = "2023-06-01"
			}
			if h.Get("Anthropic-Beta") != c.flags || h.Get("Anthropic-Version") != c.version || h.Get("Content-Type") != "application/json" || strings.Contains(h.Get("Accept"), "amazon") {
				t.Errorf("the node got the header %v", h)
			}
			for name := range h {
				if strings.HasPrefix(name, "X-Amz") || strings.HasPrefix(name, "Amz-") {
					t.Errorf("the node got %s", name)
				}
			}
		})
	}
}

// TestBedrockFront_Flags: Bedrock reads the flags of the body alone. Claude Code keeps those from it that it is known to refuse,
// and names them in its header all the same; Anthropic takes both.
func TestBedrockFront_Flags(t *testing.T) {
	const body = `"anthropic_beta":["interleaved-thinking-2025-05-14"],` + bedrockRest
	r := newBedrockRig(t, nil)
	r.bedrock("b", "invoke", weight(1))
	r.up.Default(frontReply())
	frontText(t, r.invokes(frontID, body, true, "Anthropic-Beta", "claude-code-20250219,context-1m-2025-08-07"), true)
	if want := invokeHead + body + "}"; string(r.sawLast().Body) != want {
		t.Errorf("the service got %s", r.sawLast().Body)
	}
	frontText(t, r.invokes(frontID, bedrockRest, true, "Anthropic-Beta", "context-1m-2025-08-07"), true)
	if want := invokeHead + `"anthropic_beta":["context-1m-2025-08-07"],` + bedrockRest + "}"; string(r.sawLast().Body) != want {
		t.Errorf("of flags in the header alone the service got %s", r.sawLast().Body)
	}
	up := r.fakeNode("a", weight(0))
	frontText(t, r.invokes("global.anthropic.claude-opus-5-5", body, true, "Anthropic-Beta", "claude-code-20250219"), true)
	if h := up.Last().Header.Get("Anthropic-Beta"); h != "interleaved-thinking-2025-05-14,claude-code-20250219" {
		t.Errorf("Anthropic got %q", h)
	}
}

// TestBedrockFront_IDs: an id comes escaped or not, as a profile, a model or an ARN, and reaches Bedrock as it was sent.
func TestBedrockFront_IDs(t *testing.T) {
	const account = "arn:aws:bedrock:us-east-1:123456789012:"
	for _, c := range []struct{ why, path, want string }{
		{"escaped as the SDKs do", "us.anthropic.claude-sonnet-4-5-20250929-v1%3A0", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"},
		{"not escaped", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"},
		{"another group of regions stays one", "eu.anthropic.claude-opus-5-5", "eu.anthropic.claude-opus-5-5"},
		{"the global profile", "global.anthropic.claude-opus-5-5", "global.anthropic.claude-opus-5-5"},
		{"a model", "anthropic.claude-3-haiku-20240307-v1:0", "anthropic.claude-3-haiku-20240307-v1:0"},
		{"an ARN, escaped", url.PathEscape(account+"application-inference-profile/") + "opus55app001", account + "application-inference-profile/opus55app001"},
		{"an ARN whose slash came unescaped", account + "application-inference-profile/opus55app001", account + "application-inference-profile/opus55app001"},
		{"the ARN of a list of ours", "arn:aws:bedrock:us-east-1:000000000000:inference-profile%2Fus.anthropic.claude-opus-5-5", frontID},
		{"Anthropic's name", "claude-opus-5-5", frontID},
	} {
		t.Run(c.why, func(t *testing.T) {
			r := newBedrockRig(t, nil)
			r.bedrock("n", "invoke")
			r.up.Default(frontReply())
			_ = r.do("POST", "/bedrock/model/"+c.path+"/invoke", "{"+frontVersion+","+bedrockRest+"}")
			if got := r.sawLast().ModelID; got != c.want {
				t.Errorf("the service was asked for %q, want %q", got, c.want)
			}
		})
	}
}

// TestBedrockFront_Routing: which nodes a request with an id of Bedrock's goes to.
func TestBedrockFront_Routing(t *testing.T) {
	anthropic := func(r *bedrockRig, weight int, edits ...func(*core.Node)) {
		r.fakeNode("anthropic", append(edits, func(n *core.Node) { n.Weight = weight })...).Default(frontReply())
	}
	bedrock := func(r *bedrockRig, name, api string, weight int, edits ...func(*core.Node)) {
		r.bedrock(name, api, append(edits, func(n *core.Node) { n.Weight = weight })...)
	}
	only := func(models ...string) func(*core.Node) { return func(n *core.Node) { n.Models = models } }
	for _, c := range []struct {
		why, id string
		set     func(r *bedrockRig)
		tried   string // nodes, in order
		status  int
	}{
		{"an id that names regions stays with Bedrock", frontID, func(r *bedrockRig) { anthropic(r, 1); bedrock(r, "b", "invoke", 2) }, "b", 200},
		{"also when it fails", frontID, func(r *bedrockRig) {
			anthropic(r, 2)
			bedrock(r, "b", "invoke", 1)
			r.up.Default(upstreamtest.Overloaded())
		}, "b", 503},
		{"another node of Bedrock takes over", frontID, func(r *bedrockRig) {
			bedrock(r, "b", "invoke", 1)
			bedrock(r, "c", "invoke", 2)
			r.up.Queue(upstreamtest.Overloaded())
		}, "b c", 200},
		{"the global profile names none: any kind takes over", "global.anthropic.claude-opus-5-5", func(r *bedrockRig) {
			bedrock(r, "b", "invoke", 1)
			anthropic(r, 2)
			r.up.Queue(upstreamtest.Overloaded())
		}, "b anthropic", 200},
		{"mantle serves its own regions", frontID, func(r *bedrockRig) { bedrock(r, "b", "messages", 1) }, "b", 200},
		{"and no other profile's", "eu.anthropic.claude-opus-5-5", func(r *bedrockRig) {
			bedrock(r, "b", "messages", 1)
			bedrock(r, "c", "invoke", 2, func(n *core.Node) { n.Region = "eu-west-1" })
		}, "c", 200},
		{"also where it is alone", "eu.anthropic.claude-opus-5-5", func(r *bedrockRig) { bedrock(r, "b", "messages", 1) }, "", 404},
		{"a node that lists Anthropic's name", frontID, func(r *bedrockRig) { bedrock(r, "b", "invoke", 1, only("claude-opus-*")) }, "b", 200},
		{"a node that lists another", frontID, func(r *bedrockRig) { bedrock(r, "b", "invoke", 1, only("claude-haiku-*")) }, "", 404},
		{"an Anthropic node that lists another", frontID, func(r *bedrockRig) { anthropic(r, 1, only("claude-haiku-*")) }, "", 404},
		{"what the account maps is mapped under any name", frontID, func(r *bedrockRig) {
			r.editAccount(func(a *core.Account) { a.ModelMap = map[string]string{"claude-opus-*": "claude-haiku-5-5"} })
			anthropic(r, 1, only("claude-haiku-5-5"))
		}, "anthropic", 200},
		{"what the node maps, too", frontID, func(r *bedrockRig) { anthropic(r, 1, modelMap(map[string]string{"claude-opus-5-5": "own-name"})) }, "anthropic", 200},
	} {
		t.Run(c.why, func(t *testing.T) {
			r := newBedrockRig(t, nil, oneTry...)
			r.up.Default(frontReply())
			c.set(r)
			got := r.invokes(c.id, bedrockRest, true)
			if got.status != c.status {
				t.Errorf("status %d: %s", got.status, tail(got.body))
			}
			rec := r.record()
			var tried []string
			for _, try := range rec.Tries {
				tried = append(tried, try.Name)
			}
			if len(rec.Tries) == 0 && rec.NodeName != "" {
				tried = append(tried, rec.NodeName)
			}
			if s := strings.Join(tried, " "); s != c.tried {
				t.Errorf("tried %q, want %q", s, c.tried)
			}
		})
	}
}

// TestBedrockFront_Guardrail: an answer without the guardrail that was asked for is none.
func TestBedrockFront_Guardrail(t *testing.T) {
	r := newBedrockRig(t, nil)
	r.up.Default(frontReply())
	r.fakeNode("anthropic")
	guarded := []string{"X-Amzn-Bedrock-GuardrailIdentifier", "gr-1", "X-Amzn-Bedrock-GuardrailVersion", "2"}
	got := r.invokes("global.anthropic.claude-opus-5-5", bedrockRest, true, guarded...)
	wantAWSError(t, got, 400, "ValidationException", "Guardrails need a node")
	r.bedrock("b", "invoke", weight(9))
	frontText(t, r.invokes("global.anthropic.claude-opus-5-5", bedrockRest, true, guarded...), true)
	if h := r.sawLast().Header; h.Get("X-Amzn-Bedrock-Guardrailidentifier") != "gr-1" || h.Get("X-Amzn-Bedrock-Guardrailversion") != "2" {
		t.Errorf("the service got %v", h)
	}
}
