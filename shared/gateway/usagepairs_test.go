package gateway_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/gateway"
	"sluice/shared/store"
	"sluice/shared/store/memory"
	"sluice/shared/upstream"
)

// Usage equals what the upstream reported: every dialect of a client over every dialect of an upstream, streamed and whole.
// An upstream's words stand in usagescenes_test.go, byte for byte as they come over the wire.

// usageScene is one way in which an upstream tells what an answer used.
type usageScene struct {
	why     string
	stream  string // empty: the scene has no streamed form
	whole   string // empty: the scene has no whole form
	end     sceneEnd
	model   string      // empty: the wire's own
	want    core.Tokens // of the record; about: a guess, of which only the size is checked
	guessed bool        // the record says that it is, or has, an estimate
	code    string      // ErrorCode of the record
	// differs tells why a client of the upstream's own dialect reads something else than is recorded: its bytes pass.
	// Empty: it reads the same. Clients of other dialects always do.
	differs   string
	reasoning int64 // of the output
}

// about is a count that is a guess: of sceneInput or sceneText.
const about = -1

// sceneEnd is how an upstream's stream ends.
type sceneEnd uint8

const (
	endWhole sceneEnd = iota // as it should
	endReset                 // the connection breaks
	endLeave                 // the client leaves after the first content
)

// sceneText is what the models of the scenes say: 400 bytes, which are guessed to be 100 tokens.
var sceneText = strings.Repeat("word ", 80)

// usageWire is a dialect of upstreams.
type usageWire struct {
	name   string
	client string // path of the client's endpoint of the same dialect; empty: there is none
	model  string
	media  string
	whole  string // content type of whole answers
	node   func(*core.Node)
	scenes func() []usageScene
	pack   func(stream string) string // nil: streams go over the wire as the scenes have them
}

var usageWires = []usageWire{
	{"anthropic", "/v1/messages", "claude-sonnet-4-5", "text/event-stream", "application/json", func(*core.Node) {}, anthropicScenes, nil},
	{"openai-chat", chatPath, "gpt-5.4", "text/event-stream", "application/json", openaiNode("chat"), chatScenes, nil},
	{"openai-responses", responsesPath, "gpt-5.4", "text/event-stream", "application/json", openaiNode("responses"), responsesScenes, nil},
	{"amazonq", "", "claude-sonnet-4-5", "application/vnd.amazon.eventstream", "application/vnd.amazon.eventstream", amazonqNode, amazonqScenes, nil},
	{"bedrock-messages", "/v1/messages", "claude-sonnet-4-5", "text/event-stream", "application/json", bedrockNode(""), anthropicScenes, nil},
	{"bedrock-invoke", "/v1/messages", "claude-sonnet-4-5", "application/vnd.amazon.eventstream", "application/json", bedrockNode("invoke"), anthropicScenes, inChunks},
	{"bedrock-converse", "", "amazon.nova-pro-v1:0", "application/vnd.amazon.eventstream", "application/json", bedrockNode("converse"), converseScenes, nil},
}

func amazonqNode(n *core.Node) { n.Kind = core.KindAmazonQ }

// usageClient is a dialect of clients.
type usageClient struct {
	name, path string
	body       func(model string, stream bool) string
	told       func(t *testing.T, body string, stream bool) (toldUsage, bool)
}

var usageClients = []usageClient{
	{"anthropic", "/v1/messages", anthropicAsk, anthropicTold},
	{"openai-chat", chatPath, chatAsk, chatTold},
	{"openai-responses", responsesPath, responsesAsk, responsesTold},
}

// sceneAsk is the question of every scene: some 100 tokens, or 150 for who divides the body's bytes by four.
var sceneAsk = strings.Repeat("what is it ", 40)

func sceneStream(stream bool, options string) string {
	if stream {
		return `"stream":true,` + options
	}
	return ""
}

func anthropicAsk(model string, stream bool) string {
	return `{"model":"` + model + `","max_tokens":200000,` + sceneStream(stream, "") + `"messages":[{"role":"user","content":"` + sceneAsk + `"}]}`
}

func chatAsk(model string, stream bool) string {
	return `{"model":"` + model + `",` + sceneStream(stream, `"stream_options":{"include_usage":true},`) + `"messages":[{"role":"user","content":"` + sceneAsk + `"}]}`
}

func responsesAsk(model string, stream bool) string {
	return `{"model":"` + model + `",` + sceneStream(stream, "") + `"input":"` + sceneAsk + `"}`
}

// toldUsage is what a client reads of its answer's usage, as the hub counts: input is all of it.
type toldUsage struct {
	input, read, write, write1h, output, reasoning int64
	split                                          bool // 1-hour writes are told apart
}

// agrees compares what a client was told with a record, as far as its dialect can say it: OpenAI's have one class of cache
// writes, and so has a message_delta of Anthropic's.
func (u *toldUsage) agrees(rec *core.Settlement) bool {
	t := rec.Tokens
	return u.input == t.TotalInput() && u.read == t.CacheRead && u.write == t.CacheWrite5m+t.CacheWrite1h && u.output == t.Output &&
		(!u.split || u.write1h == t.CacheWrite1h)
}

func decodeInto(t *testing.T, data string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(data), v); err != nil {
		t.Fatalf("%v: %s", err, tail(data))
	}
}

// anthropicTold reads as the SDKs do: a message_delta's counts replace those of message_start.
func anthropicTold(t *testing.T, body string, stream bool) (toldUsage, bool) {
	t.Helper()
	var u struct {
		Input  int64 `json:"input_tokens"`
		Read   int64 `json:"cache_read_input_tokens"`
		Write  int64 `json:"cache_creation_input_tokens"`
		Output int64 `json:"output_tokens"`
		Split  *struct {
			Long  int64 `json:"ephemeral_1h_input_tokens"`
			Short int64 `json:"ephemeral_5m_input_tokens"`
		} `json:"cache_creation"`
		Details struct {
			Thinking int64 `json:"thinking_tokens"`
		} `json:"output_tokens_details"`
	}
	final := false
	if !stream {
		decodeInto(t, body, &struct{ Usage any }{&u})
		final = true
	} else {
		for _, e := range parse(t, body) {
			switch e.name {
			case "message_start":
				decodeInto(t, e.data, &struct{ Message any }{&struct{ Usage any }{&u}})
			case "message_delta":
				decodeInto(t, e.data, &struct{ Usage any }{&u})
				final = true
			}
		}
	}
	told := toldUsage{input: u.Input + u.Read + u.Write, read: u.Read, write: u.Write, output: u.Output, reasoning: u.Details.Thinking}
	if u.Split != nil && u.Split.Long+u.Split.Short == u.Write {
		told.split, told.write1h = true, u.Split.Long
	}
	return told, final
}

func chatTold(t *testing.T, body string, stream bool) (toldUsage, bool) {
	t.Helper()
	type usage struct {
		Prompt     int64 `json:"prompt_tokens"`
		Completion int64 `json:"completion_tokens"`
		Total      int64 `json:"total_tokens"`
		In         struct {
			Cached int64 `json:"cached_tokens"`
			Write  int64 `json:"cache_write_tokens"`
		} `json:"prompt_tokens_details"`
		Out struct {
			Reasoning int64 `json:"reasoning_tokens"`
		} `json:"completion_tokens_details"`
	}
	var got struct{ Usage *usage }
	if stream {
		for line := range strings.SplitSeq(body, "\n") {
			if data, ok := strings.CutPrefix(line, "data: {"); ok {
				var chunk struct{ Usage *usage }
				decodeInto(t, "{"+data, &chunk)
				if chunk.Usage != nil {
					got.Usage = chunk.Usage
				}
			}
		}
	} else {
		decodeInto(t, body, &got)
	}
	if got.Usage == nil {
		return toldUsage{}, false
	}
	u := got.Usage
	if u.Total != 0 && u.Total != u.Prompt+u.Completion {
		t.Errorf("total_tokens is %d of %d and %d", u.Total, u.Prompt, u.Completion)
	}
	return toldUsage{input: u.Prompt, read: u.In.Cached, write: u.In.Write, output: u.Completion, reasoning: u.Out.Reasoning}, true
}

func responsesTold(t *testing.T, body string, stream bool) (toldUsage, bool) {
	t.Helper()
	var got struct {
		Usage *struct {
			Input  int64 `json:"input_tokens"`
			Output int64 `json:"output_tokens"`
			In     struct {
				Cached int64 `json:"cached_tokens"`
				Write  int64 `json:"cache_write_tokens"`
			} `json:"input_tokens_details"`
			Out struct {
				Reasoning int64 `json:"reasoning_tokens"`
			} `json:"output_tokens_details"`
		}
	}
	if stream {
		for _, e := range parse(t, body) {
			if e.name == "response.completed" || e.name == "response.incomplete" || e.name == "response.failed" {
				decodeInto(t, e.data, &struct{ Response any }{&got})
			}
		}
	} else {
		decodeInto(t, body, &got)
	}
	if got.Usage == nil {
		return toldUsage{}, false
	}
	u := got.Usage
	return toldUsage{input: u.Input, read: u.In.Cached, write: u.In.Write, output: u.Output, reasoning: u.Out.Reasoning}, true
}

// sceneTime is when the scenes are played: prices are dated.
var sceneTime = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// usageBubble is a bubble with one node of the wire, at sceneTime. It must run in testing/synctest.
func usageBubble(t *testing.T, w *usageWire) *bubble {
	time.Sleep(time.Until(sceneTime))
	b := newBubble(t, gateway.Settings{RetryMax: 1})
	b.o.Upstreams = map[core.Kind]upstream.Client{core.KindAnthropic: b.up, core.KindOpenAI: b.up, core.KindAmazonQ: b.up, core.KindBedrock: b.up}
	b.count(nil)
	b.node("1", "a", 1, w.node)
	return b
}

// ask sends one request to a path.
func (b *bubble) ask(ctx context.Context, w http.ResponseWriter, path, body string) {
	q := httptest.NewRequestWithContext(ctx, http.MethodPost, path, strings.NewReader(body))
	q.Header.Set("X-Api-Key", proxyKey)
	b.handler.ServeHTTP(w, q)
}

// sceneForm is how an answer comes.
type sceneForm string

const (
	formWhole  sceneForm = "whole"
	formStream sceneForm = "streamed"  // in as few reads as may be
	formPieces sceneForm = "in pieces" // of events
)

// has reports whether the scene is played in that form. How much of an answer a client that leaves has seen depends on
// the pieces.
func (s *usageScene) has(f sceneForm) bool {
	switch f {
	case formWhole:
		return s.whole != ""
	case formPieces:
		return s.stream != "" && s.end != endLeave
	}
	return s.stream != ""
}

// play is the upstream of a scene.
func (s *usageScene) play(w *usageWire, f sceneForm) play {
	if f == formWhole {
		return answer(w.whole, step{data: s.whole})
	}
	stream := s.stream
	if w.pack != nil {
		stream = w.pack(stream)
	}
	steps := []step{{data: stream}}
	if f == formPieces {
		steps = nil
		for rest := stream; rest != ""; {
			n := min(97, len(rest))
			steps = append(steps, step{data: rest[:n]})
			rest = rest[n:]
		}
	}
	switch s.end {
	case endReset:
		steps = append(steps, step{err: errReset})
	case endLeave:
		steps = append(steps, step{wait: forever, data: "x"})
	}
	return answer(w.media, steps...)
}

// run plays the scene for a client and returns the record and the client's answer.
func (s *usageScene) run(t *testing.T, w *usageWire, c *usageClient, f sceneForm) (core.Settlement, *client) {
	t.Helper()
	b := usageBubble(t, w)
	b.up.queue(s.play(w, f))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := newClient(t)
	if s.end == endLeave {
		out.onWrite = func(p []byte) error {
			if strings.Contains(string(p), "word") {
				cancel()
			}
			return nil
		}
	}
	model := s.model
	if model == "" {
		model = w.model
	}
	b.ask(ctx, out, c.path, c.body(model, f != formWhole))
	return b.record(), out
}

// isCount reports whether a count is the one wanted, or a guess of about 100 tokens.
func isCount(got, want, low, high int64) bool {
	if want == about {
		return got >= low && got <= high
	}
	return got == want
}

// recorded compares the record with what the upstream reported.
func (s *usageScene) recorded(rec *core.Settlement) bool {
	got, want := rec.Tokens, s.want
	return isCount(got.Input, want.Input, 80, 200) && got.CacheRead == want.CacheRead && got.CacheWrite5m == want.CacheWrite5m &&
		got.CacheWrite1h == want.CacheWrite1h && isCount(got.Output, want.Output, 75, 170) &&
		rec.Estimated == s.guessed && rec.Status == http.StatusOK && rec.ErrorCode == s.code && rec.Attempts == 1
}

// TestUsagePairs_EqualsWhatTheUpstreamReported is the table: each pair, each scene, streamed and whole. Its second half adds
// the records up in a store, by everything that sums are grouped by.
func TestUsagePairs_EqualsWhatTheUpstreamReported(t *testing.T) {
	var all []core.Settlement
	for i := range usageWires {
		w := &usageWires[i]
		for _, s := range w.scenes() {
			for j := range usageClients {
				c := &usageClients[j]
				for _, f := range []sceneForm{formWhole, formStream, formPieces} {
					if !s.has(f) {
						continue
					}
					t.Run(w.name+"/"+s.why+"/"+c.name+" "+string(f), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							rec, out := s.run(t, w, c, f)
							s.check(t, w, c, f != formWhole, &rec, out.text())
							all = append(all, rec)
						})
					})
				}
			}
		}
	}
	if len(all) < 500 {
		t.Fatalf("only %d records", len(all))
	}
	sumsAgree(t, all)
}

func (s *usageScene) check(t *testing.T, w *usageWire, c *usageClient, stream bool, rec *core.Settlement, body string) {
	if !s.recorded(rec) {
		t.Errorf("recorded %+v estimated %v status %d %q, want %+v estimated %v %q", rec.Tokens, rec.Estimated, rec.Status, rec.ErrorCode, s.want, s.guessed, s.code)
	}
	if rec.Bytes != int64(len(body)) || rec.StreamMillis < 0 || rec.FirstByteMS < 1 {
		t.Errorf("%d bytes, first after %d ms and all in %d ms recorded, %d sent", rec.Bytes, rec.FirstByteMS, rec.StreamMillis, len(body))
	}
	same := c.path == w.client
	if sent := map[bool]string{true: s.stream, false: s.whole}[stream]; same && s.code == "" && body != sent {
		t.Errorf("the client got %s, the upstream sent %s", tail(body), tail(sent))
	}
	told, ok := c.told(t, body, stream)
	switch {
	case s.code != "" && !same: // an answer that broke off says nothing of usage in any dialect
		if ok {
			t.Errorf("a broken answer tells its usage: %s", tail(body))
		}
	case same && s.differs != "":
		if ok && told.agrees(rec) {
			t.Errorf("the client reads what is recorded, although %s", s.differs)
		}
	case s.code != "":
	case !ok || !told.agrees(rec) || told.reasoning != s.reasoning:
		t.Errorf("the client reads %+v (%v), recorded %+v", told, ok, rec.Tokens)
	}
}

// sumsAgree stores the records and compares every kind of sums with what the records add up to.
func sumsAgree(t *testing.T, all []core.Settlement) {
	t.Helper()
	st := memory.New()
	for i := range all { // two of everything that sums are grouped by
		rec := &all[i]
		rec.RequestID = "request-" + strconv.Itoa(i)
		rec.Account, rec.Key = []string{"default", "other"}[i%2], []string{"1", "2", "3"}[i%3]
		rec.Node, rec.Session, rec.Agent = []string{"1", "2"}[i%2], []string{"s", "t"}[i/2%2], []string{"m", "n"}[i/3%2]
		rec.EndedAt = rec.EndedAt.Add(time.Duration(i) * 7 * time.Hour)
		if err := st.Settle(t.Context(), store.SettleRequest{ID: rec.RequestID, Account: rec.Account, Now: rec.EndedAt, Record: *rec}); err != nil {
			t.Fatal(err)
		}
	}
	for by, key := range map[store.GroupBy]func(*core.Settlement) string{
		store.GroupNone:    func(*core.Settlement) string { return "" },
		store.GroupAccount: func(r *core.Settlement) string { return r.Account },
		store.GroupKey:     func(r *core.Settlement) string { return r.Key },
		store.GroupNode:    func(r *core.Settlement) string { return r.Node },
		store.GroupModel:   func(r *core.Settlement) string { return r.Model },
		store.GroupHour:    func(r *core.Settlement) string { return r.EndedAt.Format("2006-01-02T15") },
		store.GroupDay:     func(r *core.Settlement) string { return r.EndedAt.Format("2006-01-02") },
		store.GroupMonth:   func(r *core.Settlement) string { return r.EndedAt.Format("2006-01") },
	} {
		compareSums(t, st, by, store.UsageFilter{}, all, key)
	}
	// these are told of the records alone, over a window that is bounded
	f := store.UsageFilter{From: sceneTime, To: sceneTime.Add(store.RecordWindow)}
	var window []core.Settlement
	for _, r := range all {
		if r.EndedAt.Before(f.To) {
			window = append(window, r)
		}
	}
	compareSums(t, st, store.GroupSession, f, window, func(r *core.Settlement) string { return r.Session })
	compareSums(t, st, store.GroupAgent, f, window, func(r *core.Settlement) string { return r.Agent })
}

func compareSums(t *testing.T, st *memory.Store, by store.GroupBy, f store.UsageFilter, all []core.Settlement, key func(*core.Settlement) string) {
	t.Helper()
	type sum struct {
		n, good, guessed, unpriced, cost int64
		tokens                           core.Tokens
	}
	want := map[string]sum{}
	for i := range all {
		r, s := &all[i], want[key(&all[i])]
		s.n++
		s.good += map[bool]int64{true: 1}[r.Success()]
		s.guessed += map[bool]int64{true: 1}[r.Estimated]
		s.unpriced += map[bool]int64{true: 1}[r.Unpriced]
		s.cost += r.CostUSD
		s.tokens = s.tokens.Add(r.Tokens)
		want[key(r)] = s
	}
	got, err := st.Sums(t.Context(), f, by)
	if err != nil || len(got) != len(want) {
		t.Fatalf("by %q: %d sums, want %d (%v)", by, len(got), len(want), err)
	}
	for _, g := range got {
		name := g.Group
		if by == store.GroupHour {
			name = g.Hour.Format("2006-01-02T15")
		}
		if s := (sum{g.Requests, g.Success, g.Estimated, g.Unpriced, g.CostUSD, g.Tokens}); s != want[name] {
			t.Errorf("by %q, %q: sum %+v, the records add up to %+v", by, name, s, want[name])
		}
	}
}
