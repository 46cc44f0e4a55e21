package clients_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	up "sluice/shared/upstream/upstreamtest"
)

// kind is a kind of node.
type kind struct {
	name  string
	wire  string // of an OpenAI node; empty: an Anthropic node
	model string // that clients ask for here
}

const gpt = "gpt-6-sol"

var (
	anthropicNode = kind{"Anthropic", "", model}
	chatNode      = kind{"Chat", "chat", gpt}
	responsesNode = kind{"Responses", "responses", gpt}
	bothNode      = kind{"Both", "both", gpt}

	allKinds    = []kind{anthropicNode, chatNode, responsesNode}
	openAIKinds = []kind{chatNode, responsesNode}
)

// fake is a fake upstream of either vendor.
type fake interface {
	Default(up.Behaviour)
	Queue(...up.Behaviour)
	Requests() []up.Request
	Count() int
}

// stage is a gateway whose one node is of some kind, with a tap in front of it.
type stage struct {
	*fixture
	kind
	up   fake
	sent string // the model that the node must be asked for
}

// stageOn starts a stage for a test that runs beside others.
func stageOn(t *testing.T, k kind) *stage {
	t.Helper()
	t.Parallel()
	s := &stage{fixture: &fixture{T: t}, kind: k, sent: k.model}
	if k.wire == "" {
		a := up.NewAnthropic(t, up.WithKey(upstreamKey))
		s.up, s.gw = a, startGateway(t, a.URL)
	} else {
		o := up.NewOpenAI(t, up.WithKey(upstreamKey))
		s.up, s.gw = o, startGateway(t, "", "UPSTREAM_ALLOW_PRIVATE=true")
		s.gw.admin(http.MethodPost, "/admin/api/nodes", object{"name": "first", "kind": "openai", "wire": k.wire, "base_url": o.BaseURL(), "api_key": upstreamKey}, nil)
	}
	s.tap = newTap(t, s.gw.URL)
	return s
}

// each runs a test on a stage of each kind.
func each(t *testing.T, kinds []kind, test func(s *stage)) {
	t.Helper()
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) { test(stageOn(t, k)) })
	}
}

// mapModels sets the account's map of model names.
func (s *stage) mapModels(from, to string) {
	s.Helper()
	s.gw.admin(http.MethodPut, "/admin/api/accounts?id=default", object{"model_map": object{from: to}}, nil)
	s.sent = to
}

// asClaude makes clients ask for a Claude model, whatever the node has.
func (s *stage) asClaude() {
	s.Helper()
	if s.wire != "" {
		s.mapModels("claude-*", s.model)
		s.model = model
	}
}

// ways runs a test without and with streaming on one stage.
func (s *stage) ways(test func(s *stage, stream bool)) {
	s.Helper()
	bothWays(s.fixture, func(f *fixture, stream bool) {
		sub := *s
		sub.fixture = f
		test(&sub, stream)
	})
}

// isReply tells whether a path asks for a model's reply.
func isReply(path string) bool {
	return slices.ContainsFunc([]string{"/v1/messages", "/v1/chat/completions", "/v1/responses", "/invoke", "/invoke-with-response-stream"}, func(p string) bool { return strings.HasSuffix(path, p) })
}

// wantReached checks how many requests for a reply reached the upstream.
func (s *stage) wantReached(n int) {
	s.Helper()
	if got := s.arrived(); len(got) != n {
		s.Errorf("%d requests reached the upstream, want %d", len(got), n)
	}
}

// arrived lists the requests for replies at the upstream.
func (s *stage) arrived() []up.Request {
	return slices.DeleteFunc(s.up.Requests(), func(r up.Request) bool { return r.Method != http.MethodPost || !isReply(r.Path) })
}

// asked lists the client's requests for replies.
func (s *stage) asked() []exchange {
	return slices.DeleteFunc(s.tap.exchanges(""), func(x exchange) bool { return x.Method != http.MethodPost || !isReply(x.Path) })
}

// last reads the newest request for a reply as the upstream got it.
func (s *stage) last() *said {
	s.Helper()
	all := s.arrived()
	if len(all) == 0 {
		s.Fatal("nothing reached the upstream")
	}
	r := all[len(all)-1]
	return read(s.T, r.Path, r.Body)
}

// checkSaid compares every request of the client with what the upstream was told in its place: the same, in the node's own
// dialect, to the node's own model, with the node's own key and no other. It holds when each needed one attempt.
func (s *stage) checkSaid() {
	s.Helper()
	sent, got := s.asked(), s.arrived()
	if len(sent) != len(got) || len(sent) == 0 {
		s.Fatalf("%d requests were sent, %d arrived", len(sent), len(got))
	}
	for i := range sent {
		checkCredential(s.T, got[i])
		path := map[string]string{"": "/v1/messages", "chat": "/v1/chat/completions", "responses": "/v1/responses"}[s.wire]
		if s.wire == "both" { // chat is spoken with those who speak it, Responses with all others
			path = "/v1/responses"
			if strings.HasSuffix(sent[i].Path, "/completions") {
				path = sent[i].Path
			}
		}
		if got[i].Path != path {
			s.Errorf("%s arrived at %s, want %s", sent[i].Path, got[i].Path, path)
		}
		there := read(s.T, got[i].Path, got[i].Body)
		if there.Model != s.sent {
			s.Errorf("the upstream was asked for %q, want %q", there.Model, s.sent)
		}
		checkSaid(s.T, read(s.T, sent[i].Path, sent[i].Body), there)
	}
}

// checkUsage compares the usage records of the client's requests with what the upstream reported for each.
func (s *stage) checkUsage(endpoint string, n int, want up.Usage) {
	s.Helper()
	for _, u := range s.gw.usages(endpoint, n) {
		checkTokens(s.T, u, want)
		if u.Status != http.StatusOK || !u.Success || u.NodeName != "first" || u.Attempts != 1 {
			s.Errorf("recorded %+v", u)
		}
	}
}

// toolThenText calls a tool that a request offers, under whichever name ends so, and answers its result with the text.
// Requests that do not offer it, as the side requests of real clients, get the text at once.
func (s *stage) toolThenText(name, input, text string) up.Behaviour {
	return up.Func(func(r up.Request) up.Behaviour {
		there := read(s.T, r.Path, r.Body)
		for offered, schema := range there.Tools {
			switch {
			case offered != name && !strings.HasSuffix(offered, "__"+name) || there.has("result", ""):
			case schema == free:
				return up.Reply(up.CustomToolUse("call_1", offered, input[:1], input[1:]))
			default:
				return up.Reply(up.ToolUse("call_1", offered, input[:1], input[1:]))
			}
		}
		return up.Reply(up.Text(text))
	})
}
