package bedrocksdk

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	anthropic "github.com/anthropics/anthropic-sdk-go/v2"
	anthropicbedrock "github.com/anthropics/anthropic-sdk-go/v2/bedrock"
	"github.com/anthropics/anthropic-sdk-go/v2/option"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
	smithy "github.com/aws/smithy-go"
	"github.com/aws/smithy-go/auth/bearer"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/gateway"
	"sluice/shared/health"
	"sluice/shared/seal/sealtest"
	"sluice/shared/store"
	"sluice/shared/store/memory"
	upstreams "sluice/shared/upstream"
	upstream_anthropic "sluice/shared/upstream/anthropic"
	upstream_bedrock "sluice/shared/upstream/bedrock"
	"sluice/shared/upstream/upstreamtest"
	"sluice/shared/web"
)

// The SDKs of AWS and of Anthropic judge the gateway's routes for clients that speak to Bedrock themselves.

const (
	frontKey    = "gateway-key-of-these-tests-01"
	frontSecret = `{"access_key_id":"AKIAIOSFODNN7EXAMPLE","secret_access_key":"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}`
	frontModel  = "us.anthropic.claude-opus-5-5"
	frontBody   = `{"anthropic_version":"bedrock-2023-05-31","max_tokens":100,"messages":[{"role":"user","content":"hi"}]}`
)

// front is a gateway with one node, of the kind bedrock or anthropic.
type front struct {
	t       *testing.T
	url     string
	http    *http.Client
	store   *memory.Store
	running sync.WaitGroup
	fake    interface {
		Default(upstreamtest.Behaviour)
	}
}

func newFront(t *testing.T, api string, opts ...upstreamtest.Option) *front {
	t.Helper()
	ctx, log := context.Background(), slog.New(slog.DiscardHandler)
	f := &front{t: t, store: memory.New()}
	tables, box := store.NewTables(f.store, time.Now), sealtest.Box(t)
	out := &http.Transport{}
	t.Cleanup(out.CloseIdleConnections)
	n := core.Node{ID: "1", Account: core.DefaultAccount, Name: "n", Weight: 1, Kind: core.KindBedrock, API: api, Region: "us-east-1"}
	secret := frontSecret
	var way http.RoundTripper = out
	if api == "anthropic" {
		up := upstreamtest.NewAnthropic(t)
		n.Kind, n.API, n.BaseURL, secret, f.fake = core.KindAnthropic, "", up.URL, "a-secret-of-these-tests", up
	} else {
		up := upstreamtest.NewBedrock(t, opts...)
		way, f.fake = up.Transport(), up
	}
	n.Credential = box.Seal(directory.CredentialOwner(n.ID), core.NewSecret(secret))
	_, err := tables.Accounts.Create(ctx, core.Account{ID: core.DefaultAccount, Name: "default"})
	if err == nil {
		_, err = tables.Keys.Create(ctx, core.Key{ID: "1", Account: core.DefaultAccount, Hashes: []string{box.Hash(frontKey)}, Scopes: []core.Scope{core.ScopeInference}})
	}
	if err == nil {
		_, err = tables.Nodes.Create(ctx, n)
	}
	if err != nil {
		t.Fatal(err)
	}
	tr := &upstreams.Transports{Guarded: way, Operator: way}
	g := gateway.New(gateway.Options{Directory: directory.New(directory.Options{Tables: tables, Generations: f.store, Box: box, Now: time.Now}),
		Health: health.New(health.Options{States: tables.States, Log: log}), Admission: f.store, Tables: tables, Box: box, Log: log, Settings: gateway.Settings{RetryMax: 1},
		Upstreams: map[core.Kind]upstreams.Client{core.KindAnthropic: upstream_anthropic.New(tr), core.KindBedrock: upstream_bedrock.New(upstream_bedrock.Options{Transports: tr})}})
	h := web.Wrap(g, web.Options{Log: log, Error: gateway.WriteError})
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.running.Add(1)
		defer f.running.Done()
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	f.url, f.http = s.URL+"/bedrock", s.Client()
	return f
}

// aws is AWS's client with the gateway's key as its bearer token, which it sends over HTTPS only.
func (f *front) aws() *bedrockruntime.Client {
	return bedrockruntime.New(bedrockruntime.Options{Region: "us-east-1", BaseEndpoint: aws.String(f.url), HTTPClient: f.http, RetryMaxAttempts: 1,
		BearerAuthTokenProvider: bearer.StaticTokenProvider{Token: bearer.Token{Value: frontKey}}, AuthSchemePreference: []string{"httpBearerAuth"}})
}

// anthropic is Anthropic's client of Bedrock.
func (f *front) anthropic() anthropic.Client {
	cfg := aws.Config{Region: "us-east-1", BearerAuthTokenProvider: anthropicbedrock.NewStaticBearerTokenProvider(frontKey)}
	return anthropic.NewClient(anthropicbedrock.WithConfig(cfg), option.WithBaseURL(f.url), option.WithHTTPClient(f.http), option.WithMaxRetries(0))
}

// record is the one that the gateway keeps of the only request.
func (f *front) record() core.Settlement {
	f.t.Helper()
	f.running.Wait() // the answer is out before it is settled
	got, _, err := f.store.Records(context.Background(), store.UsageFilter{}, "", 10)
	if err != nil || len(got) != 1 {
		f.t.Fatalf("%d records, %v", len(got), err)
	}
	return got[0]
}

func frontReply() upstreamtest.Behaviour {
	return upstreamtest.Reply(upstreamtest.Thinking("c2ln", "h", "m"), upstreamtest.Text("Hel", "lo"), upstreamtest.ToolUse("toolu_1", "f", `{"a"`, `:1}`)).
		Usage(upstreamtest.Usage{Input: 12, CacheRead: 3, Output: 6})
}

var frontAPIs = []string{"invoke", "messages", "converse", "anthropic"}

// TestFront_AWS: InvokeModel and its stream.
func TestFront_AWS(t *testing.T) {
	for _, api := range frontAPIs {
		t.Run(api, func(t *testing.T) {
			f := newFront(t, api)
			f.fake.Default(frontReply())
			out, err := f.aws().InvokeModel(t.Context(), &bedrockruntime.InvokeModelInput{ModelId: aws.String(frontModel), Body: []byte(frontBody)})
			if err != nil {
				t.Fatal(err)
			}
			if m := message(t, out.Body); m != `thinking "hm" text "Hello" tool_use "f" {"a":1} tool_use 12 3 6` || aws.ToString(out.ContentType) != "application/json" {
				t.Errorf("%s as %s", m, aws.ToString(out.ContentType))
			}
			if rec := f.record(); rec.Tokens != (core.Tokens{Input: 12, CacheRead: 3, Output: 6}) || rec.Dialect != core.DialectBedrockInvoke {
				t.Errorf("recorded %+v", rec)
			}
			streamed, err := f.aws().InvokeModelWithResponseStream(t.Context(), &bedrockruntime.InvokeModelWithResponseStreamInput{ModelId: aws.String(frontModel), Body: []byte(frontBody)})
			if err != nil {
				t.Fatal(err)
			}
			text, types, metrics := chunks(t, streamed)
			if text != "Hello" || !strings.HasPrefix(types, "message_start content_block_start") || !strings.HasSuffix(types, "message_delta message_stop") {
				t.Errorf("text %q of %s", text, types)
			}
			if metrics["inputTokenCount"] != 12 || metrics["outputTokenCount"] != 6 {
				t.Errorf("metrics %v", metrics)
			}
		})
	}
}

// message is a whole message in words.
func message(t *testing.T, body []byte) string {
	t.Helper()
	var m anthropic.Message
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	return words(&m)
}

func words(m *anthropic.Message) string {
	var out []string
	for _, b := range m.Content {
		switch b.Type {
		case "text":
			out = append(out, `text "`+b.Text+`"`)
		case "thinking":
			out = append(out, `thinking "`+b.Thinking+`"`)
		case "tool_use":
			out = append(out, `tool_use "`+b.Name+`" `+compact(b.Input))
		}
	}
	u := m.Usage
	counts, _ := json.Marshal([]int64{u.InputTokens, u.CacheReadInputTokens, u.OutputTokens})
	return strings.Join(append(out, string(m.StopReason)), " ") + " " + strings.NewReplacer("[", "", "]", "", ",", " ").Replace(string(counts))
}

func chunks(t *testing.T, out *bedrockruntime.InvokeModelWithResponseStreamOutput) (text, kinds string, metrics map[string]int64) {
	t.Helper()
	stream := out.GetStream()
	defer stream.Close()
	var all []string
	for e := range stream.Events() {
		chunk, ok := e.(*types.ResponseStreamMemberChunk)
		if !ok {
			t.Fatalf("%T", e)
		}
		var d struct {
			Type    string
			Delta   struct{ Text string }
			Metrics map[string]int64 `json:"amazon-bedrock-invocationMetrics"`
		}
		if err := json.Unmarshal(chunk.Value.Bytes, &d); err != nil {
			t.Fatal(err)
		}
		text, all, metrics = text+d.Delta.Text, append(all, d.Type), d.Metrics
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	return text, strings.Join(all, " "), metrics
}

// TestFront_AWSCounts: CountTokens.
func TestFront_AWSCounts(t *testing.T) {
	f := newFront(t, "invoke")
	out, err := f.aws().CountTokens(t.Context(), &bedrockruntime.CountTokensInput{ModelId: aws.String("us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
		Input: &types.CountTokensInputMemberInvokeModel{Value: types.InvokeModelTokensRequest{Body: []byte(frontBody)}}})
	if err != nil || aws.ToInt32(out.InputTokens) < 1 {
		t.Errorf("%+v, %v", out, err)
	}
}

// TestFront_AWSErrors: the SDK knows each error by its type, before a stream and in it.
func TestFront_AWSErrors(t *testing.T) {
	for _, c := range []struct {
		why    string
		fault  upstreamtest.Behaviour
		before any // of InvokeModel
	}{
		{"a limit", upstreamtest.RateLimited(0), new(*types.ThrottlingException)},
		{"no capacity", upstreamtest.Overloaded(), new(*types.ServiceUnavailableException)},
		{"a long prompt", upstreamtest.PromptTooLong(2, 1), new(*types.ValidationException)},
		{"a fault", upstreamtest.Status(500, ""), new(*types.InternalServerException)},
	} {
		for _, api := range frontAPIs {
			t.Run(c.why+"/"+api, func(t *testing.T) {
				f := newFront(t, api)
				f.fake.Default(c.fault)
				_, err := f.aws().InvokeModel(t.Context(), &bedrockruntime.InvokeModelInput{ModelId: aws.String(frontModel), Body: []byte(frontBody)})
				var told smithy.APIError
				if !errors.As(err, c.before) || !errors.As(err, &told) || told.ErrorMessage() == "" {
					t.Errorf("%v", err)
				}
			})
		}
	}
	f := newFront(t, "anthropic")
	f.fake.Default(upstreamtest.Reply(upstreamtest.Text("Hel", "lo")).ErrorAt(upstreamtest.AfterDeltas(1), "overloaded_error", "Overloaded"))
	out, err := f.aws().InvokeModelWithResponseStream(t.Context(), &bedrockruntime.InvokeModelWithResponseStreamInput{ModelId: aws.String(frontModel), Body: []byte(frontBody)})
	if err != nil {
		t.Fatal(err)
	}
	stream := out.GetStream()
	defer stream.Close()
	for range stream.Events() {
		continue
	}
	var want *types.ServiceUnavailableException
	if !errors.As(stream.Err(), &want) || want.ErrorMessage() != "Overloaded" {
		t.Errorf("the stream ended with %v", stream.Err())
	}
}

// TestFront_Signed: AWS's own credentials are refused with what to set in their place.
func TestFront_Signed(t *testing.T) {
	f := newFront(t, "invoke")
	c := bedrockruntime.New(bedrockruntime.Options{Region: "us-east-1", BaseEndpoint: aws.String(f.url), HTTPClient: f.http, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "")})
	_, err := c.InvokeModel(t.Context(), &bedrockruntime.InvokeModelInput{ModelId: aws.String(frontModel), Body: []byte(frontBody)})
	var denied *types.AccessDeniedException
	if !errors.As(err, &denied) || !strings.Contains(denied.ErrorMessage(), "AWS_BEARER_TOKEN_BEDROCK") {
		t.Errorf("%v", err)
	}
	_, err = f.aws().Converse(t.Context(), &bedrockruntime.ConverseInput{ModelId: aws.String(frontModel), Messages: []types.Message{{Role: types.ConversationRoleUser, Content: []types.ContentBlock{&types.ContentBlockMemberText{Value: "hi"}}}}})
	var invalid *types.ValidationException
	if !errors.As(err, &invalid) || !strings.Contains(invalid.ErrorMessage(), "Converse") {
		t.Errorf("Converse: %v", err)
	}
}

// TestFront_Anthropic: Anthropic's SDK, which keeps the path of the Messages API where its base URL has one.
func TestFront_Anthropic(t *testing.T) {
	const want = `thinking "hm" text "Hello" tool_use "f" {"a":1} tool_use 12 3 6`
	ask := anthropic.MessageNewParams{Model: frontModel, MaxTokens: 4000, Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("hi"))}}
	for _, api := range frontAPIs {
		t.Run(api, func(t *testing.T) {
			var opts []upstreamtest.Option
			if api == "invoke" { // the fake knows one version there; the SDK names the newer one, which must arrive
				opts = append(opts, upstreamtest.WithoutValidation())
			}
			f := newFront(t, api, opts...)
			f.fake.Default(frontReply())
			client := f.anthropic()
			m, err := client.Messages.New(t.Context(), ask)
			if err != nil {
				t.Fatal(err)
			}
			if s := words(m); s != want {
				t.Errorf("whole: %s", s)
			}
			stream := client.Messages.NewStreaming(t.Context(), ask)
			defer stream.Close()
			var got anthropic.Message
			for stream.Next() {
				if err := got.Accumulate(stream.Current()); err != nil {
					t.Fatal(err)
				}
			}
			if s := words(&got); s != want || stream.Err() != nil {
				t.Errorf("streamed: %s, %v", s, stream.Err())
			}
			if up, ok := f.fake.(*upstreamtest.Bedrock); ok && api == "invoke" {
				for _, call := range up.Calls() {
					if !strings.HasPrefix(string(call.Body), `{"anthropic_version":"2026-10-21",`) {
						t.Errorf("the service got %s", call.Body)
					}
				}
			}
		})
	}
}
