package clients_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/packages/ssestream"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
)

// talk is a conversation through one of the two APIs of OpenAI's Go SDK. Answers are appended to it by the SDK's own
// conversion.
type talk interface {
	say(text string)
	show(text, dataURL string)
	result(call, text string)
	turn(ctx context.Context, stream bool) (answer, error)
}

type talkOptions struct {
	key, model string
	retries    int
	system     string
	tools      []string // each with a parameter city
	schema     object   // of the answer
	usage      bool     // chat: stream_options.include_usage
}

// answer is a reply as the SDK understood it.
type answer struct {
	model, id, text, stop           string
	calls                           []madeCall
	input, cached, output, thoughts int64
	chunks                          int // of a stream
	usages                          int // chunks that had usage
}

type madeCall struct{ id, name, arguments string }

// api is one of the two APIs.
type api struct {
	name     string
	endpoint string
	open     func(c openai.Client, o talkOptions) talk
}

var apis = []api{
	{"Chat", "/v1/chat/completions", newChatTalk},
	{"Responses", "/v1/responses", newResponsesTalk},
}

// eachAPI runs a test for each API on a stage of each kind.
func eachAPI(t *testing.T, kinds []kind, test func(s *stage, a api, open func(talkOptions) talk)) {
	t.Helper()
	t.Parallel()
	for _, a := range apis {
		t.Run(a.name, func(t *testing.T) {
			each(t, kinds, func(s *stage) {
				test(s, a, func(o talkOptions) talk {
					if o.model == "" {
						o.model = s.model
					}
					return a.open(s.openAI(o), o)
				})
			})
		})
	}
}

// openAI is a client of the SDK with nothing from the environment.
func (s *stage) openAI(o talkOptions) openai.Client {
	if o.key == "" {
		o.key = proxyKey
	}
	c := openai.Client{Options: []option.RequestOption{option.WithBaseURL(s.tap.URL + "/v1"), option.WithAPIKey(o.key), option.WithMaxRetries(o.retries)}}
	c.Chat, c.Responses, c.Models = openai.NewChatService(c.Options...), responses.NewResponseService(c.Options...), openai.NewModelService(c.Options...)
	return c
}

var cityParameters = object{"type": "object", "properties": object{"city": object{"type": "string"}}, "required": []string{"city"}, "additionalProperties": false}

// chatTalk speaks Chat Completions.
type chatTalk struct {
	c openai.Client
	p openai.ChatCompletionNewParams
}

func newChatTalk(c openai.Client, o talkOptions) talk {
	t := &chatTalk{c: c}
	t.p.Model = o.model
	if o.system != "" {
		t.p.Messages = append(t.p.Messages, openai.SystemMessage(o.system))
	}
	for _, name := range o.tools {
		t.p.Tools = append(t.p.Tools, openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: name, Parameters: cityParameters}))
	}
	if o.schema != nil {
		t.p.ResponseFormat.OfJSONSchema = &shared.ResponseFormatJSONSchemaParam{
			JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{Name: "fruit", Schema: o.schema, Strict: openai.Bool(true)}}
	}
	if o.usage {
		t.p.StreamOptions.IncludeUsage = openai.Bool(true)
	}
	return t
}

func (t *chatTalk) say(text string) { t.p.Messages = append(t.p.Messages, openai.UserMessage(text)) }

func (t *chatTalk) show(text, dataURL string) {
	t.p.Messages = append(t.p.Messages, openai.UserMessage([]openai.ChatCompletionContentPartUnionParam{openai.TextContentPart(text),
		openai.ImageContentPart(openai.ChatCompletionContentPartImageImageURLParam{URL: dataURL})}))
}

func (t *chatTalk) result(call, text string) {
	t.p.Messages = append(t.p.Messages, openai.ToolMessage(text, call))
}

func (t *chatTalk) turn(ctx context.Context, stream bool) (answer, error) {
	if !stream {
		p := t.p
		p.StreamOptions = openai.ChatCompletionStreamOptionsParam{}
		m, err := t.c.Chat.Completions.New(ctx, p)
		if err != nil {
			return answer{}, err
		}
		return t.take(m), nil
	}
	st := t.c.Chat.Completions.NewStreaming(ctx, t.p)
	defer st.Close()
	var acc openai.ChatCompletionAccumulator
	var a answer
	for st.Next() {
		chunk := st.Current()
		a.chunks++
		if chunk.JSON.Usage.Valid() {
			a.usages++
		}
		if !acc.AddChunk(chunk) {
			return a, fmt.Errorf("chunk %d does not belong to the others: %s", a.chunks, chunk.RawJSON())
		}
	}
	if err := st.Err(); err != nil {
		if len(acc.Choices) > 0 {
			a.text = acc.Choices[0].Message.Content
		}
		return a, err
	}
	whole := t.take(&acc.ChatCompletion)
	whole.chunks, whole.usages = a.chunks, a.usages
	return whole, nil
}

func (t *chatTalk) take(m *openai.ChatCompletion) answer {
	a := answer{model: m.Model, id: m.ID, input: m.Usage.PromptTokens, cached: m.Usage.PromptTokensDetails.CachedTokens,
		output: m.Usage.CompletionTokens, thoughts: m.Usage.CompletionTokensDetails.ReasoningTokens}
	if len(m.Choices) != 1 {
		return a
	}
	choice := m.Choices[0]
	t.p.Messages = append(t.p.Messages, choice.Message.ToParam())
	a.text, a.stop = choice.Message.Content, choice.FinishReason
	for _, c := range choice.Message.ToolCalls {
		a.calls = append(a.calls, madeCall{c.ID, c.Function.Name, c.Function.Arguments})
	}
	return a
}

// responsesTalk speaks Responses, keeping the conversation on its own side.
type responsesTalk struct {
	c     openai.Client
	p     responses.ResponseNewParams
	input responses.ResponseInputParam
}

func newResponsesTalk(c openai.Client, o talkOptions) talk {
	t := &responsesTalk{c: c}
	t.p.Model, t.p.Store = o.model, openai.Bool(false)
	if o.system != "" {
		t.p.Instructions = openai.String(o.system)
	}
	for _, name := range o.tools {
		t.p.Tools = append(t.p.Tools, responses.ToolParamOfFunction(name, cityParameters, true))
	}
	if o.schema != nil {
		t.p.Text.Format.OfJSONSchema = &responses.ResponseFormatTextJSONSchemaConfigParam{Name: "fruit", Schema: o.schema, Strict: openai.Bool(true)}
	}
	return t
}

func (t *responsesTalk) say(text string) {
	t.input = append(t.input, responses.ResponseInputItemParamOfMessage(text, responses.EasyInputMessageRoleUser))
}

func (t *responsesTalk) show(text, dataURL string) {
	image := responses.ResponseInputContentParamOfInputImage(responses.ResponseInputImageDetailAuto)
	image.OfInputImage.ImageURL = openai.String(dataURL)
	t.input = append(t.input, responses.ResponseInputItemParamOfMessage(
		responses.ResponseInputMessageContentListParam{responses.ResponseInputContentParamOfInputText(text), image}, responses.EasyInputMessageRoleUser))
}

func (t *responsesTalk) result(call, text string) {
	item := responses.ResponseInputItemParamOfFunctionCallOutput(text)
	item.OfFunctionCallOutput.CallID = openai.String(call)
	t.input = append(t.input, item)
}

// failed is how a response ends that the API cannot finish; this SDK gives it out like any other event.
type failed struct{ code, message string }

func (e *failed) Error() string { return e.code + ": " + e.message }

func (t *responsesTalk) turn(ctx context.Context, stream bool) (answer, error) {
	t.p.Input.OfInputItemList = t.input
	if !stream {
		r, err := t.c.Responses.New(ctx, t.p)
		if err != nil {
			return answer{}, err
		}
		return t.take(r), nil
	}
	st := t.c.Responses.NewStreaming(ctx, t.p)
	defer st.Close()
	return t.collect(st)
}

// collect adds a stream up in the SDK's own way, and checks that its events count on without a gap.
func (t *responsesTalk) collect(st *ssestream.Stream[responses.ResponseStreamEventUnion]) (answer, error) {
	var acc responses.ResponseAccumulator
	var a answer
	for st.Next() {
		ev := st.Current()
		if int(ev.SequenceNumber) != a.chunks {
			return a, fmt.Errorf("event %d has the number %d", a.chunks, ev.SequenceNumber)
		}
		a.chunks++
		switch ev.Type {
		case "response.output_text.delta":
			a.text += ev.Delta
		case "response.failed":
			return a, &failed{string(ev.Response.Error.Code), ev.Response.Error.Message}
		case "error":
			return a, &failed{ev.Code, ev.Message}
		}
		var same responses.ResponsesServerEventUnion
		if err := json.Unmarshal([]byte(ev.RawJSON()), &same); err != nil {
			return a, err
		}
		if err := acc.AddEvent(same); err != nil {
			return a, err
		}
	}
	if err := st.Err(); err != nil {
		return a, err
	}
	r, err := acc.ReconstructedResponse()
	if err != nil {
		return a, err
	}
	if pieces, whole := a.text, acc.Snapshot().OutputText(); pieces != whole || whole != r.OutputText() {
		return a, fmt.Errorf("the deltas add up to %q, the items to %q, the response has %q", pieces, whole, r.OutputText())
	}
	whole := t.take(r)
	whole.chunks = a.chunks
	return whole, nil
}

func (t *responsesTalk) take(r *responses.Response) answer {
	a := answer{model: r.Model, id: r.ID, text: r.OutputText(), stop: string(r.Status), input: r.Usage.InputTokens, output: r.Usage.OutputTokens,
		cached: r.Usage.InputTokensDetails.CachedTokens, thoughts: r.Usage.OutputTokensDetails.ReasoningTokens}
	for _, item := range r.Output {
		t.input = append(t.input, param.Override[responses.ResponseInputItemUnionParam](json.RawMessage(item.RawJSON())))
		if item.Type == "function_call" {
			a.calls = append(a.calls, madeCall{item.CallID, item.Name, item.Arguments.OfString})
		}
	}
	return a
}

// broken takes an error apart: a status, or 0 for one in a stream; the code; and the message.
func broken(err error) (status int, code, message string) {
	var e *openai.Error
	var inStream *ssestream.StreamError
	var end *failed
	switch {
	case errors.As(err, &e):
		return e.StatusCode, e.Code, e.Message
	case errors.As(err, &inStream):
		var body struct {
			Error struct{ Code, Type, Message string }
		}
		if json.Unmarshal(inStream.Event.Data, &body) != nil || body.Error.Message == "" {
			return 0, "unreadable", string(inStream.Event.Data)
		}
		return 0, strings.TrimSpace(body.Error.Code), body.Error.Message
	case errors.As(err, &end):
		return 0, end.code, end.message
	}
	return -1, "", fmt.Sprint(err)
}
