package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	aoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/ssestream"
	"github.com/openai/openai-go/v3/responses"
)

// headerNote is a transport that notes who answered a request.
type headerNote struct{ next http.RoundTripper }

type noteKey struct{}

func (t headerNote) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(r)
	if q, ok := r.Context().Value(noteKey{}).(*request); ok && err == nil {
		q.ID, q.Node, q.Status = resp.Header.Get("Request-Id"), resp.Header.Get("X-Proxy-Node"), resp.StatusCode
	}
	return resp, err
}

// clients are the official SDKs, whose own retries are off: that the gateway's are enough is what is shown.
type clients struct {
	transport *http.Transport
	http      *http.Client
	urls      []string
}

func newClients(urls []string) *clients {
	t := &http.Transport{MaxIdleConnsPerHost: 100}
	return &clients{transport: t, http: &http.Client{Transport: headerNote{t}}, urls: urls}
}

// requestTimeout is the longest that a request can take: two silences and more.
const requestTimeout = 90 * time.Second

// send makes a request and notes what came of it.
func (c *clients) send(ctx context.Context, p planned) *request {
	r := &request{planned: p}
	c.do(ctx, r)
	return r
}

func (c *clients) do(ctx context.Context, r *request) {
	r.Began = time.Now()
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, noteKey{}, r), requestTimeout)
	defer cancel()
	var err error
	switch r.API {
	case apiMessages:
		err = c.messages(ctx, r)
	case apiChat:
		err = c.chat(ctx, r)
	default:
		err = c.responses(ctx, r)
	}
	r.Ended = time.Now()
	r.End = endOf(err)
	if err != nil {
		r.Error = err.Error()
	}
}

func (r *request) key() string {
	if r.direct {
		return upstreamKey
	}
	return keyOf(r.Account)
}

func (r *request) prompt() string { return r.Marker + " Tell me your id." }

// messages speaks through Anthropic's SDK.
func (c *clients) messages(ctx context.Context, r *request) error {
	opts := []aoption.RequestOption{aoption.WithoutEnvironmentDefaults(), aoption.WithBaseURL(c.urls[r.Gateway]), aoption.WithMaxRetries(0),
		aoption.WithAPIKey(r.key()), aoption.WithHTTPClient(c.http)}
	if r.Session != "" {
		opts = append(opts, aoption.WithHeader("X-Claude-Code-Session-Id", r.Session))
	}
	sdk := anthropic.NewClient(opts...)
	p := anthropic.MessageNewParams{Model: r.Model, MaxTokens: 1000,
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(r.prompt()))}}
	var m anthropic.Message
	if !r.Stream {
		whole, err := sdk.Messages.New(ctx, p)
		if err != nil {
			return err
		}
		m = *whole
	} else {
		st := sdk.Messages.NewStreaming(ctx, p)
		defer func() { _ = st.Close() }()
		for st.Next() {
			ev := st.Current()
			if ev.Type == "content_block_delta" {
				r.Text += ev.Delta.Text
				if r.onText != nil {
					r.onText()
				}
			}
			if err := m.Accumulate(ev); err != nil {
				return fmt.Errorf("unreadable event: %w", err)
			}
		}
		if err := st.Err(); err != nil {
			return err
		}
		if m.StopReason == "" {
			return errors.New("the stream ended without a stop reason")
		}
		r.Text = ""
	}
	for _, b := range m.Content {
		r.Text += b.Text
	}
	r.Input, r.Output = m.Usage.InputTokens+m.Usage.CacheReadInputTokens, m.Usage.OutputTokens
	return nil
}

// openAI is OpenAI's SDK with nothing from the environment.
func (c *clients) openAI(r *request, session string) []option.RequestOption {
	opts := []option.RequestOption{option.WithBaseURL(c.urls[r.Gateway] + "/v1"), option.WithAPIKey(r.key()), option.WithMaxRetries(0), option.WithHTTPClient(c.http)}
	if r.Session != "" {
		opts = append(opts, option.WithHeader(session, r.Session))
	}
	return opts
}

func (c *clients) chat(ctx context.Context, r *request) error {
	sdk := openai.NewChatService(c.openAI(r, "X-Session-Id")...)
	p := openai.ChatCompletionNewParams{Model: r.Model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(r.prompt())}}
	if !r.Stream {
		m, err := sdk.Completions.New(ctx, p)
		if err != nil {
			return err
		}
		return r.takeChat(m)
	}
	p.StreamOptions.IncludeUsage = openai.Bool(true)
	st := sdk.Completions.NewStreaming(ctx, p)
	defer func() { _ = st.Close() }()
	var acc openai.ChatCompletionAccumulator
	for st.Next() {
		chunk := st.Current()
		if len(chunk.Choices) > 0 {
			r.Text += chunk.Choices[0].Delta.Content
		}
		if !acc.AddChunk(chunk) {
			return errors.New("a chunk does not belong to the others: " + chunk.RawJSON())
		}
	}
	if err := st.Err(); err != nil {
		return err
	}
	return r.takeChat(&acc.ChatCompletion)
}

func (r *request) takeChat(m *openai.ChatCompletion) error {
	if len(m.Choices) != 1 || m.Choices[0].FinishReason == "" {
		return errors.New("the answer has no end: " + m.RawJSON())
	}
	r.Text, r.Input, r.Output = m.Choices[0].Message.Content, m.Usage.PromptTokens, m.Usage.CompletionTokens
	return nil
}

// failedResponse is how a response ends that the API cannot finish; this SDK gives it out like any other event.
type failedResponse struct{ code, message string }

func (e *failedResponse) Error() string { return e.code + ": " + e.message }

func (c *clients) responses(ctx context.Context, r *request) error {
	sdk := responses.NewResponseService(c.openAI(r, "Session_id")...)
	p := responses.ResponseNewParams{Model: r.Model, Store: openai.Bool(false)}
	p.Input.OfString = openai.String(r.prompt())
	if !r.Stream {
		m, err := sdk.New(ctx, p)
		if err != nil {
			return err
		}
		return r.takeResponse(m)
	}
	st := sdk.NewStreaming(ctx, p)
	defer func() { _ = st.Close() }()
	n := int64(0)
	for ; st.Next(); n++ {
		ev := st.Current()
		if ev.SequenceNumber != n {
			return fmt.Errorf("event %d has the number %d", n, ev.SequenceNumber)
		}
		switch ev.Type {
		case "response.output_text.delta":
			r.Text += ev.Delta
		case "response.failed":
			return &failedResponse{string(ev.Response.Error.Code), ev.Response.Error.Message}
		case "error":
			return &failedResponse{ev.Code, ev.Message}
		case "response.completed":
			return r.takeResponse(&ev.Response)
		}
	}
	if err := st.Err(); err != nil {
		return err
	}
	return errors.New("the stream ended without response.completed")
}

func (r *request) takeResponse(m *responses.Response) error {
	if m.Status != "completed" {
		return errors.New("the response is " + string(m.Status))
	}
	if whole := m.OutputText(); r.Text != "" && r.Text != whole {
		return fmt.Errorf("the deltas add up to %q, the response has %q", r.Text, whole)
	}
	r.Text, r.Input, r.Output = m.OutputText(), m.Usage.InputTokens, m.Usage.OutputTokens
	return nil
}

// endOf tells how a request ended by what its SDK says.
func endOf(err error) string {
	var a *anthropic.Error
	var o *openai.Error
	var event *ssestream.StreamError
	var failed *failedResponse
	var body struct {
		Error struct{ Message string } `json:"error"`
	}
	switch {
	case err == nil:
		return endWhole
	case errors.As(err, &a):
		readable := json.Unmarshal([]byte(a.RawJSON()), &body) == nil && body.Error.Message != ""
		if readable && a.StatusCode >= 400 {
			return endStatus
		} else if readable {
			return endEvent
		}
	case errors.As(err, &o):
		if o.Message != "" {
			return endStatus
		}
	case errors.As(err, &event):
		if json.Unmarshal(event.Event.Data, &body) == nil && body.Error.Message != "" {
			return endEvent
		}
	case errors.As(err, &failed):
		if failed.message != "" {
			return endEvent
		}
	case strings.HasPrefix(err.Error(), "received error while streaming: {"): // Anthropic's SDK has no type for it
		return endEvent
	}
	return endBroken
}
