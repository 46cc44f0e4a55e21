package probe_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/health/probe"
	"sluice/shared/store/memory"
	"sluice/shared/upstream"
	"sluice/shared/upstream/bedrock"
	"sluice/shared/upstream/upstreamtest"
)

// TestBedrock asks the exact fake of each API what a check asks, as its credential and model may be.
func TestBedrock(t *testing.T) {
	const key = "bedrock-api-key-of-this-test"
	for _, c := range []struct {
		why   string
		node  core.Node
		asked string // what the fake last served, method and path
		body  string
		ok    bool
		error string
	}{
		{"Messages, no model known", core.Node{}, "POST /mantle/anthropic/v1/messages", `{"model":"anthropic.claude-haiku-5-5","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}`, true, ""},
		{"HEAD tells nothing", core.Node{HealthMethod: "head"}, "POST /mantle/anthropic/v1/messages", `{"model":"anthropic.claude-haiku-5-5","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}`, true, ""},
		{"InvokeModel, by the profile of the region", core.Node{API: "invoke", HealthModel: "claude-sonnet-4-5"}, "POST /runtime/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke",
			`{"anthropic_version":"bedrock-2023-05-31","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}`, true, ""},
		{"Converse, of the list the cheapest", core.Node{API: "converse", Models: []string{"us.amazon.nova-pro-v1:0", "claude-opus-5-5"}}, "POST /runtime/model/us.amazon.nova-pro-v1%3A0/converse",
			`{"messages":[{"role":"user","content":[{"text":"hi"}]}],"inferenceConfig":{"maxTokens":1}}`, true, ""},
		{"not offered what it is asked for", core.Node{API: "invoke", HealthModel: "anthropic.claude-nowhere"}, "", "", false, "not offered the health check model"},
	} {
		up := upstreamtest.NewBedrock(t)
		up.SetAPIKeys(key)
		transports := upstream.NewTransports(upstream.TransportOptions{})
		t.Cleanup(transports.CloseIdle)
		client := bedrock.New(bedrock.Options{Transports: transports, ControlEndpoint: up.ControlURL()})
		r := newRig(t, memory.New(), func(o *probe.Options) {
			o.Clients = map[core.Kind]upstream.Client{core.KindBedrock: client}
			o.Target = func(n *core.Node) (upstream.Target, error) {
				return upstream.Target{Node: n, Credential: core.NewSecret(key)}, nil
			}
		})
		n := c.node
		n.Kind, n.Region, n.Operator, n.BaseURL = core.KindBedrock, "us-east-1", true, up.MantleURL()+"/anthropic"
		if n.API != "" {
			n.BaseURL = up.RuntimeURL()
		}
		n = r.add(n, "")
		found, err := r.Check(t.Context(), n)
		if err != nil || found.OK != c.ok || !strings.Contains(found.Error, c.error) || found.Method != core.CheckAPI {
			t.Errorf("%s: %+v, %v; the fake refused %q", c.why, found, err, up.Refused())
			continue
		}
		if !c.ok {
			continue
		}
		calls := up.Calls()
		last := calls[len(calls)-1]
		if got := last.Method + " " + last.Path; got != c.asked || string(last.Body) != c.body {
			t.Errorf("%s: asked %s %s", c.why, got, last.Body)
		}
	}
}

// lists is a client that offers some models only, and lists them.
type lists struct {
	scripted
	has   []string
	asked []string
}

func (l *lists) Send(ctx context.Context, t upstream.Target, r *upstream.Request) (*http.Response, error) {
	l.asked = append(l.asked, r.Model)
	l.reply = func(context.Context, string, string) (int, error) {
		for _, id := range l.has {
			if id == r.Model {
				return 200, nil
			}
		}
		return 404, nil
	}
	return l.scripted.Send(ctx, t, r)
}

func (l *lists) Classify(status int, h http.Header, b []byte) upstream.Failure {
	if status == 404 {
		return upstream.Failure{Class: upstream.NotOffered, Status: status, Reason: "status 404"}
	}
	return l.scripted.Classify(status, h, b)
}

func (l *lists) Models(context.Context, upstream.Target) (out []upstream.Model, err error) {
	for _, id := range l.has {
		out = append(out, upstream.Model{ID: id})
	}
	return out, nil
}

// TestBedrockOffers: a node that names no model is asked for the cheapest that it is offered, where the usual one is not.
func TestBedrockOffers(t *testing.T) {
	for _, c := range []struct {
		why, api string
		has      []string
		last     string
		ok       bool
	}{
		{"the usual one", "invoke", []string{"claude-haiku-5-5"}, "claude-haiku-5-5", true},
		{"the cheapest Claude", "invoke", []string{"us.amazon.nova-micro-v1:0", "us.anthropic.claude-opus-5-5", "us.anthropic.claude-haiku-4-5-20251001-v1:0"}, "us.anthropic.claude-haiku-4-5-20251001-v1:0", true},
		{"whatever Converse serves", "converse", []string{"us.anthropic.claude-opus-5-5", "us.amazon.nova-micro-v1:0"}, "us.amazon.nova-micro-v1:0", true},
		{"a Claude without a price is better than none", "messages", []string{"anthropic.claude-next-9"}, "anthropic.claude-next-9", true},
		{"none at all", "messages", nil, "claude-haiku-5-5", false},
		{"none of this API's", "invoke", []string{"us.amazon.nova-micro-v1:0"}, "claude-haiku-5-5", false},
	} {
		l := &lists{has: c.has}
		r := newRig(t, memory.New(), func(o *probe.Options) { o.Clients = map[core.Kind]upstream.Client{core.KindBedrock: l} })
		found, err := r.Check(t.Context(), r.add(core.Node{Kind: core.KindBedrock, API: c.api}, ""))
		if err != nil || found.OK != c.ok || l.asked[len(l.asked)-1] != c.last {
			t.Errorf("%s: %+v, %v, asked %q", c.why, found, err, l.asked)
		}
	}
}
