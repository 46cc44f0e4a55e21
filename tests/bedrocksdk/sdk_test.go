// Package bedrocksdk has no code of its own: the SDK of AWS judges the codec of Converse and the envelope of InvokeModel. It is a
// module apart, so that the gateway does not depend on the module of the runtime API.
package bedrocksdk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	aws_eventstream "github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/document"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/schemas"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
	smithy "github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/aws/smithy-go/transport/http/protocol/restjson1"

	"sluice/shared/translator"
	"sluice/shared/translator/bedrock"
)

// testdata are the scenes of the codec's own golden test.
const testdata = "../../shared/translator/bedrock/testdata"

// upstream answers every request with one body, and keeps the request's.
type upstream struct {
	media, body string
	sent        []byte
}

func (u *upstream) Do(r *http.Request) (*http.Response, error) {
	var err error
	if r.Body != nil {
		u.sent, err = io.ReadAll(r.Body)
	}
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {u.media}}, Body: io.NopCloser(strings.NewReader(u.body)), Request: r}, err
}

func client(u *upstream) *bedrockruntime.Client {
	return bedrockruntime.New(bedrockruntime.Options{Region: "us-east-1", HTTPClient: u, RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "example"}, nil
		})})
}

// files lists a file of all scenes that have it.
func files(t *testing.T, name string, least int) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(testdata, "*", "*", name))
	if err != nil || len(all) < least {
		t.Fatalf("%d scenes with %s, %v: the test would pass on next to nothing", len(all), name, err)
	}
	return all
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// rest reads the part of a request that ConverseTokensRequest does not have, the way the SDK reads answers, by its schemas: what
// they do not know is lost.
type rest struct{ in *bedrockruntime.ConverseInput }

func (r rest) Deserialize(d smithy.ShapeDeserializer) error {
	return smithy.ReadStruct(d, schemas.ConverseRequest, func(s *smithy.Schema) error {
		switch s {
		case schemas.ConverseRequest_inferenceConfig:
			r.in.InferenceConfig = &types.InferenceConfiguration{}
			return r.in.InferenceConfig.Deserialize(d)
		case schemas.ConverseRequest_outputConfig:
			r.in.OutputConfig = &types.OutputConfig{}
			return r.in.OutputConfig.Deserialize(d)
		case schemas.ConverseRequest_serviceTier:
			r.in.ServiceTier = &types.ServiceTier{}
			return r.in.ServiceTier.Deserialize(d)
		}
		return nil
	})
}

// only is a JSON object with some of its members.
func only(t *testing.T, body []byte, names ...string) []byte {
	t.Helper()
	var all map[string]json.RawMessage
	if err := json.Unmarshal(body, &all); err != nil {
		t.Fatal(err)
	}
	some := map[string]json.RawMessage{}
	for _, name := range names {
		if v, ok := all[name]; ok {
			some[name] = v
		}
	}
	out, err := json.Marshal(some)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func deserialize(t *testing.T, body []byte, out smithy.Deserializable) {
	t.Helper()
	op := smithy.NewOperationSchema(schemas.Converse, schemas.ConverseRequest, schemas.ConverseResponse)
	err := restjson1.New(nil).DeserializeResponse(context.Background(), op, nil,
		&smithyhttp.Response{Response: &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body))}}, out)
	if err != nil {
		t.Fatal(err)
	}
}

// What the codec writes is what the SDK writes, when it is asked for what it reads in it: every member is one that the API
// has, in its place and of its type.
func TestSDK_Request(t *testing.T) {
	for _, path := range files(t, "upstream_request.json", 5) {
		t.Run(filepath.Dir(path), func(t *testing.T) {
			body := read(t, path)
			var q types.ConverseTokensRequest
			deserialize(t, body, &q)
			in := bedrockruntime.ConverseInput{ModelId: aws.String("m"), Messages: q.Messages, System: q.System, ToolConfig: q.ToolConfig}
			deserialize(t, only(t, body, "inferenceConfig", "outputConfig", "serviceTier"), rest{&in})
			var free struct {
				Fields any               `json:"additionalModelRequestFields"`
				Paths  []string          `json:"additionalModelResponseFieldPaths"`
				Meta   map[string]string `json:"requestMetadata"`
			}
			if err := json.Unmarshal(body, &free); err != nil {
				t.Fatal(err)
			}
			if in.AdditionalModelResponseFieldPaths, in.RequestMetadata = free.Paths, free.Meta; free.Fields != nil {
				in.AdditionalModelRequestFields = document.NewLazyDocument(free.Fields)
			}
			u := &upstream{media: "application/json", body: `{"output":{"message":{"role":"assistant","content":[]}},"stopReason":"end_turn"}`}
			if _, err := client(u).Converse(context.Background(), &in); err != nil {
				t.Fatal(err)
			}
			var ours, theirs any
			if json.Unmarshal(body, &ours) != nil || json.Unmarshal(u.sent, &theirs) != nil {
				t.Fatalf("no JSON: %s", u.sent)
			}
			if !reflect.DeepEqual(ours, theirs) {
				t.Errorf("the SDK read the codec's\n%s\nand wrote\n%s", body, u.sent)
			}
		})
	}
}

// said is an answer in words, the same for both readers.
type said struct {
	out strings.Builder
	end string
}

func (s *said) String() string { return s.out.String() + s.end }

func (s *said) block(kind, text string) { fmt.Fprintf(&s.out, "%s %q; ", kind, text) }

func usage(u *types.TokenUsage) string {
	var hour int32
	for _, d := range u.CacheDetails {
		if d.Ttl == types.CacheTTLOneHour {
			hour += *d.InputTokens
		}
	}
	return fmt.Sprint(" ", *u.InputTokens, aws.ToInt32(u.CacheReadInputTokens), aws.ToInt32(u.CacheWriteInputTokens)-hour, hour, *u.OutputTokens)
}

// ours is what the codec made of an answer.
func ours(c *translator.Collector, b *translator.Builder) string {
	var s said
	for i := range c.Reply.Blocks {
		switch p := &c.Reply.Blocks[i]; p.Type {
		case translator.BlockText:
			s.block("text", p.Text.Text())
		case translator.BlockThinking:
			s.block("thinking", p.Text.Text()+"|"+p.Signature.Text())
		case translator.BlockToolUse:
			s.block("call", p.ID+" "+p.Name+" "+compact(p.Input))
		}
	}
	u, _ := b.Tokens()
	s.end = string(c.Reply.Stop) + fmt.Sprint(" ", u.Input, u.CacheRead, u.CacheWrite5m, u.CacheWrite1h, u.Output)
	if e := b.Status().Err; e != nil {
		s.end = "error"
	}
	return s.String()
}

func compact(doc []byte) string {
	var out bytes.Buffer
	if json.Compact(&out, doc) != nil {
		return string(doc)
	}
	return out.String()
}

func frames(t *testing.T, events []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	for _, e := range strings.Split(strings.TrimSpace(string(events)), "\n") {
		name, payload, _ := strings.Cut(e, " ")
		kind, header := "event", ":event-type"
		if x, is := strings.CutPrefix(name, "!"); is {
			kind, header, name = "exception", ":exception-type", x
		}
		m := aws_eventstream.Message{Payload: []byte(payload), Headers: aws_eventstream.Headers{
			{Name: header, Value: aws_eventstream.StringValue(name)},
			{Name: ":content-type", Value: aws_eventstream.StringValue("application/json")},
			{Name: ":message-type", Value: aws_eventstream.StringValue(kind)}}}
		if err := aws_eventstream.NewEncoder().Encode(&out, m); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

// The SDK and the codec read the same in a stream.
func TestSDK_Stream(t *testing.T) {
	for _, path := range files(t, "upstream.events", 5) {
		t.Run(filepath.Dir(path), func(t *testing.T) {
			in := frames(t, read(t, path))
			var c translator.Collector
			b := translator.NewBuilder(c.Event)
			src := bedrock.Codec{}.NewSource(b)
			for rest := in; len(rest) > 0; {
				ev, next, ok, err := bedrock.Codec{}.Cut(rest)
				if err == nil && ok {
					err = src.Event(ev)
				}
				if err != nil || !ok {
					t.Fatal(ok, err)
				}
				rest = next
			}
			got, want := ours(&c, b), streamed(t, in)
			if strings.HasSuffix(want, "malformed_tool_use 5 0 0 0 3") { // which the codec calls an error
				want = "error"
			}
			if got != want && !(strings.HasSuffix(got, "error") && strings.HasSuffix(want, "error")) {
				t.Errorf("the codec reads\n%s\nthe SDK\n%s", got, want)
			}
		})
	}
}

// streamed is what the SDK makes of a stream.
func streamed(t *testing.T, in []byte) string {
	t.Helper()
	out, err := client(&upstream{media: "application/vnd.amazon.eventstream", body: string(in)}).ConverseStream(context.Background(), &bedrockruntime.ConverseStreamInput{ModelId: aws.String("m")})
	if err != nil {
		t.Fatal(err)
	}
	stream := out.GetStream()
	defer stream.Close()
	var s said
	var kind, text, signature string
	var end, counts string
	for e := range stream.Events() {
		switch e := e.(type) {
		case *types.ConverseStreamOutputMemberContentBlockStart:
			if u, ok := e.Value.Start.(*types.ContentBlockStartMemberToolUse); ok {
				kind, text = "call", *u.Value.ToolUseId+" "+*u.Value.Name+" "
			}
		case *types.ConverseStreamOutputMemberContentBlockDelta:
			switch d := e.Value.Delta.(type) {
			case *types.ContentBlockDeltaMemberText:
				kind, text = "text", text+d.Value
			case *types.ContentBlockDeltaMemberToolUse:
				text += *d.Value.Input
			case *types.ContentBlockDeltaMemberReasoningContent:
				kind = "thinking"
				switch r := d.Value.(type) {
				case *types.ReasoningContentBlockDeltaMemberText:
					text += r.Value
				case *types.ReasoningContentBlockDeltaMemberSignature:
					signature += r.Value
				}
			}
		case *types.ConverseStreamOutputMemberContentBlockStop:
			switch kind {
			case "thinking":
				text += "|" + signature
			case "call":
				at := strings.LastIndex(text, " {")
				text = text[:at+1] + compact([]byte(text[at+1:]))
			}
			s.block(kind, text)
			kind, text, signature = "", "", ""
		case *types.ConverseStreamOutputMemberMessageStop:
			end = string(e.Value.StopReason)
		case *types.ConverseStreamOutputMemberMetadata:
			counts = usage(e.Value.Usage)
		}
	}
	if s.end = end + counts; stream.Err() != nil {
		s.end = "error"
	}
	return s.String()
}

// The SDK and the codec read the same in a whole answer.
func TestSDK_Reply(t *testing.T) {
	for _, path := range files(t, "upstream.json", 4) {
		t.Run(filepath.Dir(path), func(t *testing.T) {
			body := read(t, path)
			var c translator.Collector
			b := translator.NewBuilder(c.Event)
			err := bedrock.Codec{}.ReadReply(body, b)
			out, sdk := client(&upstream{media: "application/json", body: string(body)}).Converse(context.Background(), &bedrockruntime.ConverseInput{ModelId: aws.String("m")})
			if sdk != nil {
				t.Fatal(sdk)
			}
			if out.StopReason == types.StopReasonMalformedToolUse {
				if err == nil {
					t.Error("a call that could not be read is no error")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, want := ours(&c, b), whole(t, out); got != want {
				t.Errorf("the codec reads\n%s\nthe SDK\n%s", got, want)
			}
		})
	}
}

func whole(t *testing.T, out *bedrockruntime.ConverseOutput) string {
	t.Helper()
	var s said
	for _, p := range out.Output.(*types.ConverseOutputMemberMessage).Value.Content {
		switch p := p.(type) {
		case *types.ContentBlockMemberText:
			s.block("text", p.Value)
		case *types.ContentBlockMemberCitationsContent:
			s.block("text", p.Value.Content[0].(*types.CitationGeneratedContentMemberText).Value)
		case *types.ContentBlockMemberReasoningContent:
			r := p.Value.(*types.ReasoningContentBlockMemberReasoningText).Value
			s.block("thinking", *r.Text+"|"+aws.ToString(r.Signature))
		case *types.ContentBlockMemberToolUse:
			in, err := p.Value.Input.MarshalSmithyDocument()
			if err != nil {
				t.Fatal(err)
			}
			s.block("call", *p.Value.ToolUseId+" "+*p.Value.Name+" "+string(in))
		default:
			t.Fatalf("%T", p)
		}
	}
	s.end = string(out.StopReason) + usage(out.Usage)
	return s.String()
}

// The SDK and Unwrap read the same in a stream of InvokeModel.
func TestSDK_Invoke(t *testing.T) {
	const delta = `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}`
	in := frames(t, []byte(`chunk {"bytes":"`+string(b64(delta))+`","p":"abc"}`+"\n"+`chunk {"bytes":"`+string(b64(`{"type":"message_stop"}`))+`","p":"abc"}`))
	out, err := client(&upstream{media: "application/vnd.amazon.eventstream", body: string(in)}).InvokeModelWithResponseStream(context.Background(),
		&bedrockruntime.InvokeModelWithResponseStreamInput{ModelId: aws.String("m"), Body: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	stream := out.GetStream()
	defer stream.Close()
	var want string
	for e := range stream.Events() {
		data := e.(*types.ResponseStreamMemberChunk).Value.Bytes
		var name struct{ Type string }
		if err := json.Unmarshal(data, &name); err != nil {
			t.Fatal(err)
		}
		want += "event: " + name.Type + "\ndata: " + string(data) + "\n\n"
	}
	u := bedrock.Unwrap(bytes.NewReader(in), 1<<20)
	defer u.Release()
	if got, err := u.Batch(); err != nil || string(got) != want || stream.Err() != nil || want == "" {
		t.Errorf("%v, %v\ngot\n%s\nwant\n%s", err, stream.Err(), got, want)
	}
}

func b64(s string) []byte {
	out, _ := json.Marshal([]byte(s))
	return out[1 : len(out)-1]
}
