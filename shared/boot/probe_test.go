package boot_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/boot/boottest"
	"sluice/shared/core"
	"sluice/shared/store/memory"
)

// upstreamOf is a node's upstream that answers with a status and remembers what it was asked.
type upstreamOf struct {
	url    string
	mu     sync.Mutex
	status int
	asked  []string
	hold   chan struct{} // nil: it answers at once
}

func newUpstream(t *testing.T, status int) *upstreamOf {
	u := &upstreamOf{status: status}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		u.mu.Lock()
		u.asked = append(u.asked, r.Method+" "+r.URL.Path+" "+string(b))
		status, hold := u.status, u.hold
		u.mu.Unlock()
		if hold != nil {
			select {
			case <-hold:
			case <-r.Context().Done():
			}
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(srv.Close)
	u.url = srv.URL
	return u
}

func (u *upstreamOf) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.asked)
}

func addNode(t *testing.T, g *boottest.Gateway, n core.Node, failed string) core.Node {
	t.Helper()
	id, err := g.Tables.NextID(t.Context(), "node")
	if err != nil {
		t.Fatal(err)
	}
	n.ID, n.Account, n.CreatedAt = id, core.DefaultAccount, g.Now()
	if n.Kind == "" {
		n.Kind = core.KindAnthropic
	}
	n.Name = "n" + id
	if _, err := g.Tables.Nodes.Create(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if failed != "" {
		if _, err := g.Tables.States.Create(t.Context(), core.NodeState{Node: id, Account: n.Account, Failed: true, FailStreak: 3, LastError: failed}); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func stateOf(t *testing.T, g *boottest.Gateway, n core.Node) core.NodeState {
	t.Helper()
	s, err := g.Tables.States.Get(t.Context(), n.ID)
	if err != nil {
		return core.NodeState{}
	}
	return s.Value
}

var probeEnv = map[string]string{"UPSTREAM_ALLOW_PRIVATE": "true", "PROXY_FAIL_THRESHOLD": "1"}

// TestProbe: each failed node is asked once by its method, and comes back when the method can see what it failed by.
func TestProbe(t *testing.T) {
	for _, c := range []struct {
		why       string
		node      core.Node
		status    int
		failed    string
		asked     string
		recovered bool
	}{
		{"a message of one token to the cheapest model", core.Node{Models: []string{"claude-opus-5", "claude-haiku-5-5", "claude-sonnet-5"}}, 200, "status 500",
			`POST /v1/messages {"model":"claude-haiku-5-5","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}`, true},
		{"to the model that the operator chose", core.Node{HealthModel: "mine", Models: []string{"claude-haiku-5-5"}}, 200, "status 500", `POST /v1/messages {"model":"mine",`, true},
		{"to the name that the upstream knows", core.Node{Models: []string{"small"}, ModelMap: map[string]string{"small": "big"}}, 200, "x", `POST /v1/messages {"model":"big",`, true},
		{"of OpenAI's API", core.Node{Kind: core.KindOpenAI, Models: []string{"gpt"}}, 200, "status 401", `POST /v1/chat/completions {"model":"gpt","max_tokens":1,`, true},
		{"without a known model its list", core.Node{Kind: core.KindOpenAI}, 200, "status 401", `GET /v1/models `, true},
		{"head sees the connection", core.Node{HealthMethod: "head"}, 404, "connection refused", `HEAD /v1/models `, true},
		{"even with a key that is refused", core.Node{HealthMethod: "head"}, 401, "connection timed out", `HEAD /v1/models `, true},
		{"head sees no credential", core.Node{HealthMethod: "head"}, 200, "status 401", `HEAD /v1/models `, false},
		{"head sees no 5xx", core.Node{HealthMethod: "head"}, 200, "status 503", `HEAD /v1/models `, false},
		{"500 is no answer for head", core.Node{HealthMethod: "head"}, 500, "connection refused", `HEAD /v1/models `, false},
		{"still down", core.Node{}, 529, "status 529", `POST /v1/messages `, false},
		{"the key is still refused", core.Node{}, 401, "status 401", `POST /v1/messages `, false},
		{"a question that the node does not take says nothing", core.Node{}, 400, "status 500", `POST /v1/messages `, false},
		{"a limit says that it works, later", core.Node{}, 429, "status 500", `POST /v1/messages `, false},
	} {
		g := boottest.Start(t, probeEnv)
		u := newUpstream(t, c.status)
		c.node.BaseURL = u.url
		n := addNode(t, g, c.node, c.failed)
		rep, err := g.Probe(t.Context())
		if err != nil || rep.Checked != 1 || rep.Left != 0 || (rep.Recovered == 1) != c.recovered {
			t.Errorf("%s: %+v, %v", c.why, rep, err)
		}
		if u.count() != 1 || !strings.HasPrefix(u.asked[0], c.asked) {
			t.Errorf("%s: asked %q", c.why, u.asked)
		}
		if s := stateOf(t, g, n); s.Failed == c.recovered {
			t.Errorf("%s: state %+v", c.why, s)
		}
	}
}

// TestProbeLeavesOthersAlone: healthy, disabled and blocked nodes are sent nothing; a sweep asks the healthy too and notes
// failures.
func TestProbeLeavesOthersAlone(t *testing.T) {
	g := boottest.Start(t, probeEnv)
	u := newUpstream(t, 500)
	healthy := addNode(t, g, core.Node{BaseURL: u.url}, "")
	addNode(t, g, core.Node{BaseURL: u.url, Disabled: true}, "status 500")
	blocked := addNode(t, g, core.Node{BaseURL: u.url}, "")
	if _, err := g.Tables.States.Create(t.Context(), core.NodeState{Node: blocked.ID, Account: blocked.Account, Failed: true, Blocked: core.BlockedLogin}); err != nil {
		t.Fatal(err)
	}
	if rep, err := g.Probe(t.Context()); err != nil || rep.Checked != 0 || u.count() != 0 {
		t.Errorf("%+v, %v, asked %q", rep, err, u.asked)
	}
	if rep, err := g.Sweep(t.Context()); err != nil || rep.Checked != 1 || u.count() != 1 {
		t.Errorf("%+v, %v, asked %q", rep, err, u.asked)
	}
	if s := stateOf(t, g, healthy); !s.Failed || s.LastError != "health check: status 500" {
		t.Errorf("state %+v", s)
	}
	u.status = 200
	if rep, err := g.Sweep(t.Context()); err != nil || rep.Recovered != 1 || stateOf(t, g, healthy).Failed {
		t.Errorf("%+v, %v", rep, err)
	}
}

// TestProbeSeesConnections: what ClassifyError says of a refused connection is what head can clear.
func TestProbeSeesConnections(t *testing.T) {
	for range 20 {
		if seesConnections(t) {
			return
		}
	}
	t.Fatal("each of 20 free ports was taken by another program within a moment")
}

// seesConnections reports false when another program took the port while nobody was to listen on it.
func seesConnections(t *testing.T) bool {
	g := boottest.Start(t, probeEnv)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	n := addNode(t, g, core.Node{BaseURL: "http://" + addr, HealthMethod: "head"}, "")
	_, err = g.Sweep(t.Context())
	l, taken := net.Listen("tcp", addr)
	if taken != nil {
		return false
	}
	defer func() { _ = l.Close() }()
	if err != nil || !stateOf(t, g, n).Failed {
		t.Fatalf("%v, %+v", err, stateOf(t, g, n))
	}
	srv := &http.Server{Handler: http.NotFoundHandler()}
	go func() { _ = srv.Serve(l) }()
	defer func() { _ = srv.Close() }()
	g.Advance(time.Minute) // a probe asks no node twice in a moment
	if rep, err := g.Probe(t.Context()); err != nil || rep.Recovered != 1 {
		t.Errorf("%+v, %v, %+v", rep, err, stateOf(t, g, n))
	}
	return true
}

// TestProbeOnOneInstance: while one is at it, others stand back; when it is done, they may.
func TestProbeOnOneInstance(t *testing.T) {
	s := memory.New()
	a, b := boottest.StartOn(t, s, probeEnv), boottest.StartOn(t, s, probeEnv)
	u := newUpstream(t, 200)
	u.hold = make(chan struct{})
	addNode(t, a, core.Node{BaseURL: u.url}, "status 500")
	done := make(chan error)
	go func() { _, err := a.Probe(t.Context()); done <- err }()
	waitFor(t, func() bool { return u.count() == 1 })
	if rep, err := b.Probe(t.Context()); err != nil || !rep.Elsewhere {
		t.Errorf("%+v, %v", rep, err)
	}
	close(u.hold)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if rep, err := b.Probe(t.Context()); err != nil || rep.Elsewhere {
		t.Errorf("%+v, %v", rep, err)
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.After(20 * time.Second); !ok(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("it does not happen")
		}
	}
}

// TestProbeGoesOnWhereItStopped: time runs out in the middle; the next round begins with those that had no turn, and what was
// cut short is no failure of its node.
func TestProbeGoesOnWhereItStopped(t *testing.T) {
	g := boottest.Start(t, probeEnv)
	slow, quick := newUpstream(t, 200), newUpstream(t, 200)
	slow.hold = make(chan struct{})
	for range 8 { // as many as are asked at once
		addNode(t, g, core.Node{BaseURL: slow.url}, "status 500")
	}
	for range 5 {
		addNode(t, g, core.Node{BaseURL: quick.url}, "status 500")
	}
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		waitFor(t, func() bool { return slow.count() == 8 })
		stop()
	}()
	rep, err := g.Probe(ctx)
	if err != nil || rep.Left != 5 || rep.Recovered != 0 || quick.count() != 0 {
		t.Fatalf("%+v, %v, %d", rep, err, quick.count())
	}
	cut, err := g.Tables.States.All(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range cut {
		if s.Value.LastError != "status 500" {
			t.Errorf("a check that was cut short is blamed: %+v", s.Value)
		}
	}
	ctx, stop = context.WithCancel(t.Context())
	defer stop()
	go func() {
		waitFor(t, func() bool { return quick.count() == 5 && slow.count() > 8 })
		close(slow.hold)
	}()
	rep, err = g.Probe(ctx)
	if err != nil || rep.Left != 0 || rep.Recovered != 13 {
		t.Errorf("%+v, %v", rep, err)
	}
	states, err := g.Tables.States.All(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range states {
		if s.Value.Failed {
			t.Errorf("%+v", s.Value)
		}
	}
}
