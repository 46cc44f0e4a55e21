package bedrock_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/upstream"
	"sluice/shared/upstream/bedrock"
)

func ids(list []upstream.Model) string {
	var out []string
	for _, m := range list {
		out = append(out, m.ID+"="+m.Name+"="+m.Owner)
	}
	return strings.Join(out, "\n")
}

func TestModels_ControlPlane(t *testing.T) {
	clk := newClock()
	d := newDouble(t, "bedrock", clk)
	pages := map[string]string{
		"/foundation-models": `{"modelSummaries":[
{"modelId":"anthropic.claude-3-haiku-20240307-v1:0","modelName":"Claude 3 Haiku","providerName":"Anthropic","outputModalities":["TEXT"],"inferenceTypesSupported":["ON_DEMAND"],"modelLifecycle":{"status":"ACTIVE"}},
{"modelId":"anthropic.claude-opus-4-7","modelName":"Claude Opus 4.7","providerName":"Anthropic","outputModalities":["TEXT"],"inferenceTypesSupported":["INFERENCE_PROFILE"]},
{"modelId":"amazon.titan-image","modelName":"Titan","outputModalities":["IMAGE"],"inferenceTypesSupported":["ON_DEMAND"]},
{"modelId":"evil/../x","modelName":"x","outputModalities":["TEXT"],"inferenceTypesSupported":["ON_DEMAND"]},
{"modelId":"meta.llama","modelName":"a\u0007b","outputModalities":["TEXT"],"inferenceTypesSupported":["ON_DEMAND","PROVISIONED"]}]}`,
		"/inference-profiles?maxResults=1000&type=SYSTEM_DEFINED": `{"inferenceProfileSummaries":[
{"inferenceProfileId":"eu.anthropic.claude-opus-4-7","inferenceProfileName":"EU Opus","status":"ACTIVE"},
{"inferenceProfileId":"eu.amazon.titan-image","inferenceProfileName":"x","status":"ACTIVE"}],"nextToken":"a+b/="}`,
		"/inference-profiles?maxResults=1000&nextToken=a%2Bb%2F%3D&type=SYSTEM_DEFINED": `{"inferenceProfileSummaries":[
{"inferenceProfileId":"global.anthropic.claude-opus-5-5","inferenceProfileName":"Opus","status":"ACTIVE"}],"nextToken":"a+b/="}`,
	}
	d.answer = func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, pages[r.RequestURI]) }
	cl := bedrock.New(bedrock.Options{Transports: real(t, true), Now: clk.now, ControlEndpoint: d.url})
	want := "anthropic.claude-3-haiku-20240307-v1:0=Claude 3 Haiku=anthropic\nmeta.llama==meta\neu.anthropic.claude-opus-4-7=EU Opus=anthropic\nglobal.anthropic.claude-opus-5-5=Opus=anthropic"
	for _, n := range []core.Node{{API: "invoke", Region: "eu-west-1"}, {BaseURL: "https://bedrock-runtime.eu-west-1.amazonaws.com/anthropic"}} {
		list, err := cl.Models(t.Context(), target(keysJSON, n))
		if err != nil || ids(list) != want {
			t.Errorf("%v: %v\n%s", n, err, ids(list))
		}
	}
	if len(d.seen()) != 6 {
		t.Errorf("%d requests: a token that comes again must end the list", len(d.seen()))
	}
	// a relay stands for all hosts
	cl = bedrock.New(bedrock.Options{Transports: real(t, true), Now: clk.now})
	if list, err := cl.Models(t.Context(), target(keysJSON, core.Node{API: "converse", Region: "eu-west-1", BaseURL: d.url})); err != nil || ids(list) != want {
		t.Errorf("relay: %v\n%s", err, ids(list))
	}
}

func TestModels_Native(t *testing.T) {
	for _, c := range []struct{ base, path string }{
		{"", "https://bedrock-mantle.eu-west-1.api.aws/v1/models"},
		{"https://aws-external-anthropic.eu-west-1.api.aws", "https://aws-external-anthropic.eu-west-1.api.aws/v1/models?limit=1000"},
	} {
		rt := &capture{}
		cl := bedrock.New(bedrock.Options{Transports: &upstream.Transports{Operator: rt, Guarded: rt}})
		if _, err := cl.Models(t.Context(), target(apiKey, core.Node{Region: "eu-west-1", BaseURL: c.base})); err != nil || rt.got[0].URL.String() != c.path || rt.got[0].Method != "GET" {
			t.Errorf("got %v, %v", rt.got[0].URL, err)
		}
	}
	clk := newClock()
	d := newDouble(t, "bedrock-mantle", clk)
	d.answer = func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.RequestURI, "after_id") {
			_, _ = io.WriteString(w, `{"data":[{"id":"claude-opus-5-5","display_name":"Opus"}],"has_more":true,"last_id":"anthropic.claude-opus-4-7"}`)
			return
		}
		_, _ = io.WriteString(w, `{"object":"list","data":[{"id":"anthropic.claude-opus-4-7","owned_by":"system"},{"id":"a b"}],"has_more":true,"last_id":"anthropic.claude-opus-4-7"}`)
	}
	cl := bedrock.New(bedrock.Options{Transports: real(t, true), Now: clk.now})
	list, err := cl.Models(t.Context(), target(keysJSON, core.Node{Region: "eu-west-1", BaseURL: d.url + "/anthropic/v1"}))
	if err != nil || ids(list) != "anthropic.claude-opus-4-7==anthropic\nclaude-opus-5-5=Opus=anthropic" || len(d.seen()) != 2 {
		t.Errorf("%v\n%s\n%d requests", err, ids(list), len(d.seen()))
	}
}

func TestModels_Bounded(t *testing.T) {
	clk := newClock()
	d := newDouble(t, "bedrock", clk)
	cl := bedrock.New(bedrock.Options{Transports: real(t, true), Now: clk.now, ControlEndpoint: d.url})
	to := target(keysJSON, core.Node{API: "invoke", Region: "eu-west-1"})
	n := 0
	d.answer = func(w http.ResponseWriter, _ *http.Request) {
		n++
		_, _ = fmt.Fprintf(w, `{"inferenceProfileSummaries":[{"inferenceProfileId":"us.a.b%d"}],"nextToken":"%d"}`, n, n)
	}
	if list, err := cl.Models(t.Context(), to); err != nil || len(list) != 20 {
		t.Errorf("endless pages: %d, %v", len(list), err)
	}
	for why, body := range map[string]string{"huge": `{"modelSummaries":[]}` + strings.Repeat(" ", 5<<20), "no JSON": "<html>"} {
		d.answer = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
		var told *upstream.Error
		if _, err := cl.Models(t.Context(), to); !errors.As(err, &told) || told.Class != upstream.Server {
			t.Errorf("%s: %v", why, err)
		}
	}
	d.answer = func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, 403, "AccessDeniedException", denial("bedrock:ListFoundationModels", "*"))
	}
	var told *upstream.Error
	if _, err := cl.Models(t.Context(), to); !errors.As(err, &told) || told.Class != upstream.Credential || !strings.Contains(told.Reason, "bedrock:ListFoundationModels") {
		t.Errorf("denied: %v", err)
	}
}

func TestCountBody(t *testing.T) {
	for _, c := range []struct{ why, body, want string }{
		{"a Messages body", `{"model":"m","stream":true,"messages":[ 1.0 ],"system":"\u00e9"}`, `{"messages":[ 1.0 ],"system":"\u00e9","anthropic_version":"bedrock-2023-05-31","max_tokens":1}`},
		{"InvokeModel's already", `{"anthropic_version":"bedrock-2023-05-31","max_tokens":5,"messages":[]}`, `{"anthropic_version":"bedrock-2023-05-31","max_tokens":5,"messages":[]}`},
		{"thinking may use less than all", `{"thinking":{"type":"enabled","budget_tokens":2048}}`, `{"thinking":{"type":"enabled","budget_tokens":2048},"anthropic_version":"bedrock-2023-05-31","max_tokens":2049}`},
		{"a mad budget", `{"thinking":{"budget_tokens":9223372036854775807}}`, `{"thinking":{"budget_tokens":9223372036854775807},"anthropic_version":"bedrock-2023-05-31","max_tokens":1099511627777}`},
		{"empty", `{}`, `{"anthropic_version":"bedrock-2023-05-31","max_tokens":1}`},
	} {
		got, err := bedrock.CountBody([]byte("x"), []byte(c.body))
		var out struct {
			Input struct{ InvokeModel struct{ Body []byte } }
		}
		if err != nil || json.Unmarshal(got[1:], &out) != nil || string(out.Input.InvokeModel.Body) != c.want {
			t.Errorf("%s: got %s, %s, %v", c.why, got, out.Input.InvokeModel.Body, err)
		}
	}
	for _, bad := range []string{"", "[]", "{", `{"a":1}x`} {
		if got, err := bedrock.CountBody([]byte("x"), []byte(bad)); err == nil || string(got) != "x" {
			t.Errorf("%q: got %s, %v", bad, got, err)
		}
	}
}

func FuzzCountBody(f *testing.F) {
	f.Add([]byte(`{"model":"m","thinking":{"budget_tokens":1},"a":[1]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := bedrock.CountBody(nil, body)
		if err != nil {
			return
		}
		v, err := rawjson.Find(got, "input", "invokeModel", "body")
		text, ok := v.Text()
		inner, derr := base64.StdEncoding.DecodeString(text)
		if err != nil || !ok || derr != nil || rawjson.Valid(inner) != nil {
			t.Errorf("%q became %q: %v", body, inner, err)
		}
	})
}

func TestReadCount(t *testing.T) {
	if n, err := bedrock.ReadCount([]byte(`{"inputTokens":17}`)); n != 17 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	for _, bad := range []string{"", "{}", `{"inputTokens":-1}`, `{"inputTokens":"1"}`, `{"inputTokens":1.5}`} {
		if _, err := bedrock.ReadCount([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
