package probe_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/health/probe"
	"sluice/shared/store/memory"
	"sluice/shared/upstream"
)

type asking struct {
	scripted
	path, body string
}

func (a *asking) Send(ctx context.Context, t upstream.Target, r *upstream.Request) (*http.Response, error) {
	a.path, a.body = r.Method+" "+r.Path, ""
	if r.Body != nil {
		b, _ := io.ReadAll(r.Body)
		a.body = string(b)
	}
	return a.scripted.Send(ctx, t, r)
}

// TestQuestion: the cheapest question of each API.
func TestQuestion(t *testing.T) {
	for _, c := range []struct {
		why        string
		node       core.Node
		path, body string
	}{
		{"Anthropic", core.Node{Kind: core.KindAnthropic, HealthModel: "m"}, "POST /v1/messages", `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}`},
		{"chat", core.Node{Kind: core.KindOpenAI, HealthModel: "m"}, "POST /v1/chat/completions", `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}`},
		{"a node of Responses alone", core.Node{Kind: core.KindOpenAI, Wire: "responses", HealthModel: "m"}, "POST /v1/responses", `{"model":"m","max_output_tokens":16,"input":"hi","store":false}`},
		{"no model is known", core.Node{Kind: core.KindOpenAI, Models: []string{"gpt-*"}}, "GET /v1/models", ""},
		{"a model's name is data", core.Node{HealthModel: `x","max_tokens":99999,"y":"`}, "POST /v1/messages", `{"model":"x\",\"max_tokens\":99999,\"y\":\"","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}`},
	} {
		a := &asking{}
		r := newRig(t, memory.New(), func(o *probe.Options) {
			o.Clients = map[core.Kind]upstream.Client{core.KindAnthropic: a, core.KindOpenAI: a}
		})
		n := r.add(c.node, "")
		if _, err := r.Check(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		if a.path != c.path || a.body != c.body {
			t.Errorf("%s: %s %s", c.why, a.path, a.body)
		}
		if c.body != "" && !json.Valid([]byte(a.body)) || strings.Contains(a.path, " /v1/v1") {
			t.Errorf("%s: %s %s", c.why, a.path, a.body)
		}
	}
}

// OpenAI's newer models refuse max_tokens, so that their nodes never came back by a check.
func TestQuestionOfNewerModels(t *testing.T) {
	a := &asking{}
	r := newRig(t, memory.New(), func(o *probe.Options) { o.Clients = map[core.Kind]upstream.Client{core.KindOpenAI: a} })
	a.reply = func(context.Context, string, string) (int, error) {
		if strings.Contains(a.body, `"max_tokens"`) {
			return 400, nil
		}
		return 200, nil
	}
	n := r.add(core.Node{Kind: core.KindOpenAI, HealthModel: "m"}, "")
	found, err := r.Check(t.Context(), n)
	if want := `{"model":"m","max_completion_tokens":16,"messages":[{"role":"user","content":"hi"}]}`; err != nil || !found.OK || a.body != want || len(a.asked) != 2 {
		t.Errorf("%+v, %v, asked %q, the last %s", found, err, a.asked, a.body)
	}
}
