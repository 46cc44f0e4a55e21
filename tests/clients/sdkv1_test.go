package clients_test

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
)

// sdkV1 is github.com/anthropics/anthropic-sdk-go.
type sdkV1 struct{ c anthropic.Client }

func newSDKV1(base string, o sdkOptions) sdk {
	opts := []option.RequestOption{option.WithoutEnvironmentDefaults(), option.WithBaseURL(base), option.WithMaxRetries(o.retries)}
	if o.bearer {
		opts = append(opts, option.WithAuthToken(o.key))
	} else {
		opts = append(opts, option.WithAPIKey(o.key))
	}
	for name, value := range o.header {
		opts = append(opts, option.WithHeader(name, value))
	}
	return &sdkV1{c: anthropic.NewClient(opts...)}
}

func (s *sdkV1) chat(o chatOptions) chat {
	c := &chatV1{s: s}
	c.p.Model, c.p.MaxTokens = model, o.maxTokens
	if o.maxTokens == 0 {
		c.p.MaxTokens = 1024
	}
	for _, text := range o.system {
		c.p.System = append(c.p.System, anthropic.TextBlockParam{Text: text, CacheControl: anthropic.NewCacheControlEphemeralParam()})
	}
	if o.tool != "" {
		schema := anthropic.ToolInputSchemaParam{Properties: map[string]any{"city": map[string]any{"type": "string"}}, Required: []string{"city"}}
		c.p.Tools = []anthropic.ToolUnionParam{anthropic.ToolUnionParamOfTool(schema, o.tool)}
	}
	if o.thinking {
		c.p.Thinking = anthropic.ThinkingConfigParamUnion{OfAdaptive: &anthropic.ThinkingConfigAdaptiveParam{}}
	}
	if o.timeout > 0 {
		c.opts = append(c.opts, option.WithRequestTimeout(o.timeout))
	}
	return c
}

type chatV1 struct {
	s    *sdkV1
	p    anthropic.MessageNewParams
	opts []option.RequestOption
}

func (c *chatV1) say(text string) {
	c.p.Messages = append(c.p.Messages, anthropic.NewUserMessage(anthropic.NewTextBlock(text)))
}

func (c *chatV1) result(toolUse, text string) {
	c.p.Messages = append(c.p.Messages, anthropic.NewUserMessage(anthropic.NewToolResultBlock(toolUse, text, false)))
}

func (c *chatV1) turn(ctx context.Context, stream bool) (reply, error) {
	if !stream {
		m, err := c.s.c.Messages.New(ctx, c.p, c.opts...)
		if err != nil {
			return reply{}, err
		}
		return c.take(m), nil
	}
	st := c.s.c.Messages.NewStreaming(ctx, c.p, c.opts...)
	defer st.Close()
	var m anthropic.Message
	var events []string
	for st.Next() {
		ev := st.Current()
		events = append(events, ev.Type)
		if err := m.Accumulate(ev); err != nil {
			return reply{events: events}, err
		}
	}
	if err := st.Err(); err != nil {
		r := c.read(&m)
		r.events = events
		return r, err
	}
	r := c.take(&m)
	r.events = events
	return r, nil
}

// take reads a whole message and appends it to the conversation in the SDK's own way.
func (c *chatV1) take(m *anthropic.Message) reply {
	c.p.Messages = append(c.p.Messages, m.ToParam())
	return c.read(m)
}

func (*chatV1) read(m *anthropic.Message) reply {
	r := reply{model: string(m.Model), stop: string(m.StopReason), input: m.Usage.InputTokens, output: m.Usage.OutputTokens,
		cacheRead: m.Usage.CacheReadInputTokens, cacheWrite: m.Usage.CacheCreationInputTokens}
	for _, b := range m.Content {
		r.kinds = append(r.kinds, b.Type)
		switch b.Type {
		case "text":
			r.text += b.Text
		case "thinking":
			r.thinking, r.signature = r.thinking+b.Thinking, b.Signature
		case "redacted_thinking":
			r.redacted = b.Data
		case "tool_use":
			r.toolID, r.toolName, r.toolInput = b.ID, b.Name, string(b.Input)
		}
	}
	return r
}

func (s *sdkV1) countTokens(ctx context.Context, text string) (int64, error) {
	n, err := s.c.Messages.CountTokens(ctx, anthropic.MessageCountTokensParams{Model: model,
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(text))}})
	if err != nil {
		return 0, err
	}
	return n.InputTokens, nil
}

func (s *sdkV1) models(ctx context.Context, pageSize int64) ([]string, error) {
	var ids []string
	pages := s.c.Models.ListAutoPaging(ctx, anthropic.ModelListParams{Limit: anthropic.Int(pageSize)})
	for pages.Next() {
		ids = append(ids, pages.Current().ID)
	}
	return ids, pages.Err()
}

func (s *sdkV1) model(ctx context.Context, id string) (string, error) {
	m, err := s.c.Models.Get(ctx, id, anthropic.ModelGetParams{})
	if err != nil {
		return "", err
	}
	return m.DisplayName, nil
}

func (s *sdkV1) batchCreate(ctx context.Context, customIDs ...string) (string, error) {
	var p anthropic.MessageBatchNewParams
	for _, id := range customIDs {
		p.Requests = append(p.Requests, anthropic.MessageBatchNewParamsRequest{CustomID: id, Params: anthropic.MessageBatchNewParamsRequestParams{
			Model: model, MaxTokens: 16, Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("batched"))}}})
	}
	b, err := s.c.Messages.Batches.New(ctx, p)
	if err != nil {
		return "", err
	}
	return b.ID, nil
}

func (s *sdkV1) batchStatus(ctx context.Context, id string) (string, error) {
	b, err := s.c.Messages.Batches.Get(ctx, id, anthropic.MessageBatchGetParams{})
	if err != nil {
		return "", err
	}
	return string(b.ProcessingStatus), nil
}

func (s *sdkV1) batchResults(ctx context.Context, id string) (map[string]string, error) {
	st := s.c.Messages.Batches.ResultsStreaming(ctx, id, anthropic.MessageBatchResultsParams{})
	defer st.Close()
	out := map[string]string{}
	for st.Next() {
		r := st.Current()
		m := r.Result.AsSucceeded().Message
		out[r.CustomID] = (*chatV1)(nil).read(&m).text
	}
	return out, st.Err()
}

func (s *sdkV1) batchDelete(ctx context.Context, id string) error {
	_, err := s.c.Messages.Batches.Delete(ctx, id, anthropic.MessageBatchDeleteParams{})
	return err
}

func (s *sdkV1) fileUpload(ctx context.Context, name, content string) (string, error) {
	f, err := s.c.Files.Upload(ctx, anthropic.FileUploadParams{File: anthropic.File(strings.NewReader(content), name, "text/plain")})
	if err != nil {
		return "", err
	}
	return f.ID, nil
}

func (s *sdkV1) files(ctx context.Context) ([]string, error) {
	page, err := s.c.Files.List(ctx, anthropic.FileListParams{})
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, f := range page.Data {
		ids = append(ids, f.ID)
	}
	return ids, nil
}

func (s *sdkV1) fileName(ctx context.Context, id string) (string, error) {
	f, err := s.c.Files.GetMetadata(ctx, id, anthropic.FileGetMetadataParams{})
	if err != nil {
		return "", err
	}
	return f.Filename, nil
}

func (s *sdkV1) fileContent(ctx context.Context, id string) (string, error) {
	resp, err := s.c.Files.Download(ctx, id, anthropic.FileDownloadParams{})
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return string(data), err
}

func (s *sdkV1) fileDelete(ctx context.Context, id string) error {
	_, err := s.c.Files.Delete(ctx, id, anthropic.FileDeleteParams{})
	return err
}

func (*sdkV1) apiError(err error) (apiError, bool) {
	var e *anthropic.Error
	if !errors.As(err, &e) {
		return apiError{}, false
	}
	return apiError{status: e.StatusCode, kind: string(e.Type()), requestID: e.RequestID, raw: e.RawJSON()}, true
}
