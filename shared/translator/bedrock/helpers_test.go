package bedrock_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	aws "github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"

	"sluice/shared/translator"
	"sluice/shared/translator/anthropic"
	"sluice/shared/translator/bedrock"
)

const (
	sonnet = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
	opus   = "global.anthropic.claude-opus-5-5"
	opus45 = "global.anthropic.claude-opus-4-5-20251101-v1:0"
	old    = "anthropic.claude-3-5-haiku-20241022-v1:0"
	nova   = "us.amazon.nova-pro-v1:0"
	llama  = "us.meta.llama4-scout-17b-instruct-v1:0"
)

var codec = bedrock.Codec{}

// decode reads a body of the Messages API.
func decode(t testing.TB, body string) *translator.Request {
	t.Helper()
	r, err := anthropic.Codec{}.Decode([]byte(body))
	if err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	r, _ = r.FitNamesTo(codec.Names())
	return r
}

// with makes a body of messages and other members, which begin with a comma.
func with(messages, more string) string {
	return `{"model":"m","max_tokens":1000,"messages":[` + messages + `]` + more + `}`
}

func user(content string) string { return `{"role":"user","content":` + content + `}` }

func assistant(content string) string { return `{"role":"assistant","content":` + content + `}` }

func call(id, name string) string {
	return `{"type":"tool_use","id":"` + id + `","name":"` + name + `","input":{"a":1}}`
}

func answer(id, text string) string {
	return `{"type":"tool_result","tool_use_id":"` + id + `","content":"` + text + `"}`
}

const (
	hi    = `{"role":"user","content":"hi"}`
	aTool = `,"tools":[{"name":"f","description":"d","input_schema":{"type":"object","properties":{}}}]`
	png   = `{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aGk="}}`
	pdf   = `{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"aGk="}}`
	mark  = `,"cache_control":{"type":"ephemeral"}`
	mark1 = `,"cache_control":{"type":"ephemeral","ttl":"1h"}`
)

// The body as the service reads it, which refuses any other member. Source: API_runtime_Converse.
type (
	point struct {
		Type string `json:"type"`
		TTL  string `json:"ttl"`
	}
	source struct {
		Bytes   []byte                   `json:"bytes"`
		Text    *string                  `json:"text"`
		Content []struct{ Text *string } `json:"content"`
	}
	image struct {
		Format string `json:"format"`
		Source source `json:"source"`
	}
	document struct {
		Format    string                  `json:"format"`
		Name      string                  `json:"name"`
		Source    source                  `json:"source"`
		Context   string                  `json:"context"`
		Citations *struct{ Enabled bool } `json:"citations"`
	}
	block struct {
		Text      *string   `json:"text"`
		Image     *image    `json:"image"`
		Document  *document `json:"document"`
		Cache     *point    `json:"cachePoint"`
		Reasoning *struct {
			Text *struct {
				Text      *string `json:"text"`
				Signature string  `json:"signature"`
			} `json:"reasoningText"`
			Redacted []byte `json:"redactedContent"`
		} `json:"reasoningContent"`
		Use *struct {
			ID    string         `json:"toolUseId"`
			Name  string         `json:"name"`
			Input map[string]any `json:"input"`
		} `json:"toolUse"`
		Result *struct {
			ID      string  `json:"toolUseId"`
			Status  string  `json:"status"`
			Content []block `json:"content"`
		} `json:"toolResult"`
	}
	tool struct {
		Spec *struct {
			Name        string  `json:"name"`
			Description *string `json:"description"`
			Strict      bool    `json:"strict"`
			Schema      struct {
				JSON map[string]any `json:"json"`
			} `json:"inputSchema"`
		} `json:"toolSpec"`
		Cache *point `json:"cachePoint"`
	}
	converse struct {
		System   []block `json:"system"`
		Messages []struct {
			Role    string  `json:"role"`
			Content []block `json:"content"`
		} `json:"messages"`
		Inference *struct {
			MaxTokens   *int32   `json:"maxTokens"`
			Temperature *float32 `json:"temperature"`
			TopP        *float32 `json:"topP"`
			Stop        []string `json:"stopSequences"`
		} `json:"inferenceConfig"`
		Tools *struct {
			Tools  []tool                    `json:"tools"`
			Choice map[string]map[string]any `json:"toolChoice"`
		} `json:"toolConfig"`
		Fields map[string]any    `json:"additionalModelRequestFields"`
		Paths  []string          `json:"additionalModelResponseFieldPaths"`
		Meta   map[string]string `json:"requestMetadata"`
		Tier   *struct {
			Type string `json:"type"`
		} `json:"serviceTier"`
		Output *struct {
			Effort string `json:"effort"`
			Format *struct {
				Type      string `json:"type"`
				Structure struct {
					Schema struct {
						Schema, Name, Description string
					} `json:"jsonSchema"`
				} `json:"structure"`
			} `json:"textFormat"`
		} `json:"outputConfig"`
	}
)

var (
	goodName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)
	goodFile = regexp.MustCompile(`^[a-zA-Z0-9()\[\]-]+( [a-zA-Z0-9()\[\]-]+)*$`)
	goodMeta = regexp.MustCompile(`^[a-zA-Z0-9\s:_@$#=/+,\-.]{0,256}$`)
)

// judge is what a request is held against.
type judge struct {
	files map[string]bool
	marks int
	calls bool
}

// valid reads a body and says what in it the service would refuse; empty: nothing.
func valid(raw []byte) (b converse, problem string) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil {
		return b, err.Error()
	}
	j := &judge{files: map[string]bool{}}
	for i, s := range b.System {
		if p := j.block(&s, "system"); p != "" {
			return b, fmt.Sprintf("system %d: %s", i, p)
		}
	}
	if len(b.Messages) == 0 {
		return b, "no messages"
	}
	for i, m := range b.Messages {
		if m.Role != [...]string{"user", "assistant"}[i%2] || len(m.Content) == 0 || m.Content[0].Cache != nil {
			return b, fmt.Sprintf("message %d: the role, or nothing in it", i)
		}
		text, file, late := false, false, false
		for k := range m.Content {
			c := &m.Content[k]
			if p := j.block(c, m.Role); p != "" {
				return b, fmt.Sprintf("message %d.%d: %s", i, k, p)
			}
			text, file = text || c.Text != nil, file || c.Document != nil
			if c.Result != nil && late {
				return b, fmt.Sprintf("message %d: a result behind other content", i)
			}
			late = late || c.Result == nil && c.Cache == nil
		}
		if file && !text {
			return b, fmt.Sprintf("message %d: a document without a text", i)
		}
	}
	if p := j.tools(&b); p != "" {
		return b, p
	}
	if j.marks > 4 {
		return b, "more than four cache points"
	}
	for k, v := range b.Meta {
		if k == "" || !goodMeta.MatchString(k) || !goodMeta.MatchString(v) || len(b.Meta) > 16 {
			return b, "metadata " + k
		}
	}
	if in := b.Inference; in != nil {
		if in.MaxTokens != nil && *in.MaxTokens < 1 || len(in.Stop) > 2500 {
			return b, "maxTokens or stopSequences"
		}
		for _, s := range in.Stop {
			if strings.TrimSpace(s) == "" {
				return b, "a blank stop sequence"
			}
		}
	}
	return b, ""
}

func (j *judge) tools(b *converse) string {
	if b.Tools == nil {
		if j.calls {
			return "The toolConfig field must be defined when using toolUse and toolResult content blocks"
		}
		return ""
	}
	n := 0
	for _, t := range b.Tools.Tools {
		switch {
		case t.Cache != nil:
			j.marks++
		case t.Spec == nil || !goodName.MatchString(t.Spec.Name) || t.Spec.Schema.JSON["type"] == nil || t.Spec.Description != nil && *t.Spec.Description == "":
			return "a tool"
		default:
			n++
		}
	}
	if n == 0 || len(b.Tools.Choice) > 1 {
		return "no tools, or two choices"
	}
	return ""
}

func (j *judge) block(b *block, where string) string {
	n := 0
	for _, is := range []bool{b.Text != nil, b.Image != nil, b.Document != nil, b.Cache != nil, b.Reasoning != nil, b.Use != nil, b.Result != nil} {
		if is {
			n++
		}
	}
	if n != 1 {
		return "not one of the union"
	}
	switch {
	case b.Text != nil && strings.TrimSpace(*b.Text) == "":
		return "the text field is blank"
	case b.Cache != nil:
		if j.marks++; b.Cache.Type != "default" || b.Cache.TTL != "" && b.Cache.TTL != "1h" || where == "result" {
			return "a cache point"
		}
	case b.Text == nil && where == "system", b.Image != nil && where == "assistant", b.Use != nil && where != "assistant",
		b.Reasoning != nil && where != "assistant", b.Result != nil && where != "user":
		return "no block for the " + where
	case b.Image != nil:
		if len(b.Image.Source.Bytes) == 0 || !strings.Contains("png jpeg gif webp", b.Image.Format) || b.Image.Format == "" {
			return "an image"
		}
	case b.Document != nil:
		return j.document(b.Document, where)
	case b.Reasoning != nil:
		if (b.Reasoning.Text == nil) == (b.Reasoning.Redacted == nil) {
			return "reasoning"
		}
	case b.Use != nil:
		if j.calls = true; !goodName.MatchString(b.Use.ID) || !goodName.MatchString(b.Use.Name) || b.Use.Input == nil {
			return "call " + b.Use.ID
		}
	case b.Result != nil:
		if j.calls = true; !goodName.MatchString(b.Result.ID) || len(b.Result.Content) == 0 || b.Result.Status != "" && b.Result.Status != "error" {
			return "result " + b.Result.ID
		}
		for i := range b.Result.Content {
			if p := j.block(&b.Result.Content[i], "result"); p != "" {
				return "result: " + p
			}
		}
	}
	return ""
}

func (j *judge) document(d *document, where string) string {
	if j.files[d.Name] || !goodFile.MatchString(d.Name) || len(d.Name) > 200 || where == "assistant" {
		return "the name of the document " + d.Name
	}
	j.files[d.Name] = true
	if d.Format == "" || len(d.Source.Bytes) == 0 && d.Source.Text == nil && len(d.Source.Content) == 0 {
		return "the source of the document " + d.Name
	}
	return ""
}

// encode makes a body for a model and holds it against the judge.
func encode(t testing.TB, model string, r *translator.Request) (converse, *translator.Encoded) {
	t.Helper()
	e, err := codec.Encode(r, translator.Target{Model: model})
	if err != nil {
		t.Fatalf("Encode: %v", err)
	}
	b, problem := valid(e.Body)
	if problem != "" {
		t.Fatalf("the service refuses %s: %s", problem, e.Body)
	}
	return b, e
}

// frame makes one with AWS's own encoder.
func frame(t testing.TB, kind, nameHeader, name, payload string) []byte {
	t.Helper()
	var b bytes.Buffer
	h := aws.Headers{{Name: nameHeader, Value: aws.StringValue(name)}, {Name: ":content-type", Value: aws.StringValue("application/json")},
		{Name: ":message-type", Value: aws.StringValue(kind)}}
	if err := aws.NewEncoder().Encode(&b, aws.Message{Headers: h, Payload: []byte(payload)}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// stream makes a stream of events; each is a name, a space and its payload. "!name payload" is an exception.
func stream(t testing.TB, events ...string) (out []byte) {
	t.Helper()
	for _, e := range events {
		name, payload, _ := strings.Cut(e, " ")
		if x, is := strings.CutPrefix(name, "!"); is {
			out = append(out, frame(t, "exception", ":exception-type", x, payload)...)
			continue
		}
		out = append(out, frame(t, "event", ":event-type", name, payload)...)
	}
	return out
}
