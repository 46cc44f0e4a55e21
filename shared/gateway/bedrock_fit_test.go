package gateway_test

import (
	"slices"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/upstream/upstreamtest"
)

// TestBedrockDropped: what the node would refuse is left out by byte edits and named; everything else is the client's, byte for
// byte, cache marks and odd spaces too. The fake refuses the request were anything of it left.
func TestBedrockDropped(t *testing.T) {
	const betas = "claude-code-20250219, unknown-2099-01-01,interleaved-thinking-2025-05-14 ,files-api-2025-04-14"
	const before = `"max_tokens":100,  "context_management":{"edits":[]},"speed":"fast","system":[{"type":"text","text":"a","cache_control":{"type":"ephemeral","scope":"global","ttl":"1h"}}],` +
		`"tools":[{"name":"t","input_schema":{"type":"object"},"eager_input_streaming":true, "defer_loading":true}],"messages":[{"role":"user","content":"hi"}]`
	const after = `"max_tokens":100,"system":[{"type":"text","text":"a","cache_control":{"type":"ephemeral","ttl":"1h"}}],` +
		`"tools":[{"name":"t","input_schema":{"type":"object"}}],"messages":[{"role":"user","content":"hi"}]`
	const kept = "interleaved-thinking-2025-05-14"
	for i := range bedrockRoutes {
		br := &bedrockRoutes[i]
		t.Run(br.name, func(t *testing.T) {
			r := newBedrockRig(t, nil)
			r.bedrock("b", br.api, br.edit)
			if _, err := r.app.Compat.Set(t.Context(), []byte(`{"rows":[{"route":"*","model":"*","kind":"beta","name":"claude-code-20250219","action":"drop","evidence":"this test"}]}`)); err != nil {
				t.Fatal(err)
			}
			got := r.post(bedrockAsk(bedrockModel, before, true), "Anthropic-Beta", betas)
			wantStream(t, got, "Hello there!")
			dropped := strings.Split(got.header.Get("X-Sluice-Dropped"), ", ")
			slices.Sort(dropped)
			want := []string{"beta:claude-code-20250219", "beta:files-api-2025-04-14", "beta:unknown-2099-01-01", "context_management", "speed", "system[].cache_control.scope",
				"tools[].defer_loading", "tools[].eager_input_streaming"}
			if !slices.Equal(dropped, want) {
				t.Errorf("dropped %q\nwant %q", dropped, want)
			}
			call := r.sawLast()
			body := br.sends(after, true)
			if br.invoke() {
				body = invokeHead + `"anthropic_beta":["` + kept + `"],` + after + "}"
			} else if flags := call.Header.Get("Anthropic-Beta"); flags != kept {
				t.Errorf("the fake got the flags %q", flags)
			}
			if string(call.Body) != body {
				t.Errorf("the fake got %s\nwant %s", call.Body, body)
			}
		})
	}
}

// TestBedrockFlags: a header whose flags all pass is not touched, and flags of the body come first with InvokeModel.
func TestBedrockFlags(t *testing.T) {
	r := newBedrockRig(t, nil)
	r.bedrock("b", "")
	const odd = "interleaved-thinking-2025-05-14,  context-1m-2025-08-07"
	r.post(bedrockAsk(bedrockModel, bedrockRest, true), "Anthropic-Beta", odd)
	if got := r.sawLast().Header.Get("Anthropic-Beta"); got != odd {
		t.Errorf("the fake got the flags %q", got)
	}
	for _, c := range []struct{ why, body, want string }{
		{"members in another order, and one that is there already", `{ "stream" : true , "anthropic_version":"x","messages":[{"role":"user","content":"hi"}], "model":"claude-opus-5-5" ,"anthropic_beta":["context-1m-2025-08-07"],"max_tokens":5}`,
			`{"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["context-1m-2025-08-07","interleaved-thinking-2025-05-14"],"messages":[{"role":"user","content":"hi"}],"max_tokens":5}`},
		{"what must stay is first", `{"messages":[{"role":"user","content":"hi"}],"max_tokens":5,"stream":true,"model":"claude-opus-5-5"}`,
			`{"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["interleaved-thinking-2025-05-14"],"messages":[{"role":"user","content":"hi"}],"max_tokens":5}`},
	} {
		r := newBedrockRig(t, nil)
		r.bedrock("b", "invoke")
		wantStream(t, r.post(c.body, "Anthropic-Beta", "interleaved-thinking-2025-05-14"), "Hello there!")
		if got := string(r.sawLast().Body); strings.ReplaceAll(got, " ", "") != c.want {
			t.Errorf("%s: the fake got %s\nwant %s", c.why, got, c.want)
		}
	}
	r = newBedrockRig(t, nil)
	r.bedrock("b", "invoke")
	for _, c := range []struct{ body, says string }{
		{`{"model":"claude-opus-5-5","max_tokens":5}`, "messages"},
		{`{"model":"claude-opus-5-5","max_tokens":5,"messages":[],"anthropic_beta":"x"}`, "anthropic_beta: must be a list"},
		{`{"model":"claude-opus-5-5","max_tokens":5,"messages":[],"anthropic_beta":[1]}`, "anthropic_beta: must be a list"},
		{`{"model":"claude-opus-5-5","max_tokens":5,"messages":[],"anthropic_beta":[],"anthropic_beta":[]}`, "anthropic_beta: stands twice"},
	} {
		wantError(t, r.post(c.body), 400, "invalid_request_error", c.says)
	}
}

// TestBedrockTableOfTheOperator: rows that another process stored hold within two requests.
func TestBedrockTableOfTheOperator(t *testing.T) {
	c := newClock(noon())
	r := newBedrockRig(t, c.now)
	r.up.SetClock(c.now)
	r.bedrock("b", "")
	ask := func() string {
		got := r.post(bedrockAsk(bedrockModel, bedrockRest, true), "Anthropic-Beta", "context-1m-2025-08-07")
		wantStream(t, got, "Hello there!")
		r.rest()
		return got.header.Get("X-Sluice-Dropped")
	}
	if d := ask(); d != "" {
		t.Fatalf("dropped %q", d)
	}
	row := []byte(`{"rows":[{"route":"messages-mantle","model":"claude-opus-*","kind":"beta","name":"context-1m-*","action":"drop","evidence":"this test"}]}`)
	other := newRigOn(t, r.store, c.now) // another process
	if _, err := other.app.Compat.Set(t.Context(), row); err != nil {
		t.Fatal(err)
	}
	_ = ask()
	c.advance(3e9)
	_ = ask()
	if d := ask(); d != "beta:context-1m-2025-08-07" {
		t.Errorf("dropped %q", d)
	}
	if _, err := other.app.Compat.Set(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	c.advance(90e9) // nobody asked for so long that the first request reads
	if d := ask(); d != "" {
		t.Errorf("dropped %q", d)
	}
}

// TestBedrockNames: the node gets the id that its host knows, the client reads the name that it wrote.
func TestBedrockNames(t *testing.T) {
	const app = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/opus55app001"
	for _, c := range []struct {
		why, api, model string
		edit            func(*core.Node)
		sees            string
		dropped         string
	}{
		{"Anthropic's name on mantle", "", "claude-opus-5-5", func(*core.Node) {}, "anthropic.claude-opus-5-5", ""},
		{"with [1m]", "", "claude-opus-5-5[1m]", func(*core.Node) {}, "anthropic.claude-opus-5-5", ""},
		{"with [1m], in InvokeModel's path", "invoke", "claude-opus-5-5[1m]", func(*core.Node) {}, "us.anthropic.claude-opus-5-5", ""},
		{"with a date", "invoke", "claude-sonnet-4-5-20250929", func(*core.Node) {}, "us.anthropic.claude-sonnet-4-5-20250929-v1:0", ""},
		{"Bedrock's own id", "invoke", "global.anthropic.claude-opus-5-5", func(*core.Node) {}, "global.anthropic.claude-opus-5-5", ""},
		{"mapped", "invoke", "fast", modelMap(map[string]string{"fast": "eu.anthropic.claude-haiku-5-5"}), "eu.anthropic.claude-haiku-5-5", ""},
		{"an application's profile: the table goes by the client's name", "invoke", "claude-opus-4-7", modelMap(map[string]string{"claude-opus-4-7": app}), app, "beta:context-1m-2025-08-07"},
	} {
		for _, stream := range []bool{true, false} {
			r := newBedrockRig(t, nil)
			region := func(n *core.Node) {
				if strings.HasPrefix(c.sees, "eu.") {
					n.Region = "eu-west-1"
				}
			}
			r.bedrock("b", c.api, c.edit, region)
			got := r.post(bedrockAsk(c.model, bedrockRest, stream), "Anthropic-Beta", "context-1m-2025-08-07")
			told := c.model
			if c.sees == c.model { // nothing was renamed: the upstream's bytes pass
				told = bedrockModel
			}
			if got.status != 200 || !strings.Contains(got.body, `"model":"`+told+`"`) || got.header.Get("X-Sluice-Dropped") != c.dropped {
				t.Errorf("%s: status %d, dropped %q: %s", c.why, got.status, got.header.Get("X-Sluice-Dropped"), tail(got.body))
			}
			if id := r.sawLast().ModelID; id != c.sees {
				t.Errorf("%s: the fake sees %q", c.why, id)
			}
			if rec := r.record(); rec.Model != c.model || rec.ServedModel != c.sees || rec.Unpriced || rec.CostUSD == 0 {
				t.Errorf("%s: recorded %q, served %q, unpriced %v", c.why, rec.Model, rec.ServedModel, rec.Unpriced)
			}
		}
	}
}

// TestBedrockPlatform: Claude Platform on AWS is Anthropic's own service: nothing is left out.
func TestBedrockPlatform(t *testing.T) {
	r := newBedrockRig(t, nil)
	workspace := strings.Replace(bedrockKeys, "{", `{"workspace_id":"wrkspc_1",`, 1)
	r.bedrock("b", "", r.credential(workspace), func(n *core.Node) { n.BaseURL = "https://aws-external-anthropic.us-east-1.api.aws" })
	const rest = `"max_tokens":100,"messages":[{"role":"user","content":"hi"}],"speed":"fast"`
	const betas = "fast-mode-2026-02-01, files-api-2025-04-14"
	got := r.post(bedrockAsk("claude-sonnet-4-5", rest, true), "Anthropic-Beta", betas)
	wantStream(t, got, "Hello there!")
	call := r.sawLast()
	if string(call.Body) != bedrockAsk("claude-sonnet-4-5", rest, true) || call.Header.Get("Anthropic-Beta") != betas || call.SignedService != "aws-external-anthropic" ||
		call.Header.Get("Anthropic-Workspace-Id") != "wrkspc_1" || got.header.Get("X-Sluice-Dropped") != "" {
		t.Errorf("the fake got %s, %v", call.Body, call.Header)
	}
}

// TestBedrockHeaders: of the client's headers none of its hop pass, nor its key or a signature of its own; of the answer's those
// of the Messages API do.
func TestBedrockHeaders(t *testing.T) {
	for i := range bedrockRoutes {
		br := &bedrockRoutes[i]
		r := newBedrockRig(t, nil)
		r.bedrock("b", br.api, br.edit)
		r.up.Default(upstreamtest.Reply(upstreamtest.Text("a")).Header("Anthropic-Ratelimit-Tokens-Remaining", "7").Header("X-Amzn-Trace-Account", "123456789012"))
		got := r.post(bedrockAsk(bedrockModel, bedrockRest, true), "X-Amz-Security-Token", "stolen", "Cookie", "a=b", "Authorization", "Bearer "+proxyKey)
		wantStream(t, got, "a")
		sent := r.sawLast().Header
		if strings.Contains(sent.Get("Authorization"), proxyKey) || sent.Get("X-Api-Key") != "" || sent.Get("Cookie") != "" || sent.Get("X-Amz-Security-Token") != "" {
			t.Errorf("%s: the fake got %v", br.name, sent)
		}
		if native := got.header.Get("Anthropic-Ratelimit-Tokens-Remaining") == "7"; native == br.invoke() || got.header.Get("X-Amzn-Trace-Account") != "" {
			t.Errorf("%s: the client got %v", br.name, got.header)
		}
	}
}
