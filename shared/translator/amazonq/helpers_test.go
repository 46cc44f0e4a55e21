package amazonq_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode/utf16"

	aws "github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"

	"sluice/shared/translator"
	"sluice/shared/translator/amazonq"
	"sluice/shared/translator/anthropic"
)

var (
	codec  = amazonq.Codec{}
	target = translator.Target{Model: "claude-sonnet-4.5", Conversation: "c-1"}
)

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

const aTool = `,"tools":[{"name":"f","description":"d","input_schema":{"type":"object","properties":{}}}]`

const png = `{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aGk="}}`

// The body as the service reads it.
type (
	body struct {
		State struct {
			ID      string    `json:"conversationId"`
			History []message `json:"history"`
			Current message   `json:"currentMessage"`
			Trigger string    `json:"chatTriggerType"`
		} `json:"conversationState"`
		Profile string `json:"profileArn"`
	}
	message struct {
		User      *userMessage      `json:"userInputMessage"`
		Assistant *assistantMessage `json:"assistantResponseMessage"`
	}
	userMessage struct {
		Content *string
		Model   string `json:"modelId"`
		Origin  string
		Images  []struct {
			Format string
			Source struct{ Bytes []byte }
		}
		Context struct {
			Results []struct {
				ID      string `json:"toolUseId"`
				Content []struct{ Text *string }
				Status  string
			} `json:"toolResults"`
			Tools []struct {
				Spec *struct {
					Name        string
					Description *string
					Schema      struct{ JSON map[string]any } `json:"inputSchema"`
				} `json:"toolSpecification"`
				Cache *struct{ Type string } `json:"cachePoint"`
			}
		} `json:"userInputMessageContext"`
		Cache *struct{ Type string } `json:"cachePoint"`
	}
	assistantMessage struct {
		Content *string
		Uses    []struct {
			ID    string `json:"toolUseId"`
			Name  string
			Input map[string]any
		} `json:"toolUses"`
		Thinking *struct {
			Text     *struct{ Text, Signature string } `json:"reasoningText"`
			Redacted string                            `json:"redactedContent"`
		} `json:"reasoningContent"`
		Cache *struct{ Type string } `json:"cachePoint"`
	}
)

var (
	goodID   = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)
	goodName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_]{0,63}$`)
)

func length(s string) int { return len(utf16.Encode([]rune(s))) }

// valid reads a body and says what in it the service would refuse; empty: nothing.
func valid(raw []byte) (b body, problem string) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil {
		return b, err.Error()
	}
	if b.State.Trigger != "MANUAL" || b.State.Current.User == nil || b.State.Current.User.Model == "" {
		return b, "no current message of the user, trigger or model"
	}
	all := append(append([]message{}, b.State.History...), b.State.Current)
	seen := map[string]bool{}
	marks := 0
	var before *assistantMessage
	for i, m := range all {
		if (m.User == nil) == (m.Assistant == nil) || (m.User != nil) != (i%2 == 0) {
			return b, fmt.Sprintf("message %d: the sides do not alternate", i)
		}
		if a := m.Assistant; a != nil {
			before = a
			if a.Cache != nil {
				marks++
			}
			if p := validUses(a, seen); p != "" {
				return b, fmt.Sprintf("message %d: %s", i, p)
			}
			continue
		}
		if m.User.Cache != nil {
			marks++
		}
		if p := validUser(m.User, before, i == len(all)-1); p != "" {
			return b, fmt.Sprintf("message %d: %s", i, p)
		}
	}
	tools := b.State.Current.User.Context.Tools
	for _, t := range tools {
		switch {
		case t.Cache != nil:
			marks++
		case !goodName.MatchString(t.Spec.Name) || t.Spec.Schema.JSON["type"] == nil,
			t.Spec.Description != nil && (*t.Spec.Description == "" || length(*t.Spec.Description) > 10_240):
			return b, "tool " + t.Spec.Name
		}
	}
	if len(seen) > 0 && len(tools) == 0 {
		return b, "calls without tools"
	}
	if marks > 4 {
		return b, "more than four cache points"
	}
	return b, ""
}

func validUses(a *assistantMessage, seen map[string]bool) string {
	if a.Content == nil || *a.Content == "" && len(a.Uses) == 0 || length(*a.Content) > 100_000 || len(a.Uses) > 10 {
		return "the assistant's content"
	}
	for _, u := range a.Uses {
		if !goodID.MatchString(u.ID) || seen[u.ID] || !goodName.MatchString(u.Name) || u.Input == nil {
			return "call " + u.ID
		}
		seen[u.ID] = true
	}
	return ""
}

func validUser(u *userMessage, before *assistantMessage, last bool) string {
	if u.Content == nil || strings.TrimSpace(*u.Content) == "" || length(*u.Content) > 600_000 || u.Origin != "CLI" {
		return "the user's content or origin"
	}
	if len(u.Images) > 10 || !last && len(u.Context.Tools) > 0 {
		return "images, or tools in the history"
	}
	n := 0
	if before != nil {
		n = len(before.Uses)
	}
	if len(u.Context.Results) != n {
		return fmt.Sprintf("%d results of %d calls", len(u.Context.Results), n)
	}
	for i, r := range u.Context.Results {
		if r.ID != before.Uses[i].ID || len(r.Content) == 0 || r.Status != "success" && r.Status != "error" {
			return "result " + r.ID
		}
		for _, c := range r.Content {
			if c.Text == nil || *c.Text == "" || length(*c.Text) > 800_000 {
				return "content of result " + r.ID
			}
		}
	}
	return ""
}

// shape encodes a body and writes what the service is sent, a line for each message.
func shape(t testing.TB, r *translator.Request) (string, *translator.Encoded) {
	t.Helper()
	e, err := codec.Encode(r, target)
	if err != nil {
		t.Fatalf("Encode: %v", err)
	}
	b, problem := valid(e.Body)
	if problem != "" {
		t.Fatalf("the service refuses %s: %s", problem, e.Body)
	}
	var out strings.Builder
	for _, m := range append(b.State.History, b.State.Current) {
		if a := m.Assistant; a != nil {
			fmt.Fprintf(&out, "A %q", *a.Content)
			for _, u := range a.Uses {
				in, _ := json.Marshal(u.Input)
				fmt.Fprintf(&out, " %s=%s(%s)", u.ID, u.Name, in)
			}
			if th := a.Thinking; th != nil && th.Text != nil {
				fmt.Fprintf(&out, " thinks %q %q", th.Text.Text, th.Text.Signature)
			} else if th != nil {
				fmt.Fprintf(&out, " redacted %q", th.Redacted)
			}
			if a.Cache != nil {
				out.WriteString(" cached")
			}
			out.WriteString("\n")
			continue
		}
		u := m.User
		fmt.Fprintf(&out, "U %q", *u.Content)
		for _, r := range u.Context.Results {
			fmt.Fprintf(&out, " %s:%s", r.ID, r.Status)
			for _, c := range r.Content {
				fmt.Fprintf(&out, " %q", *c.Text)
			}
		}
		for _, i := range u.Images {
			fmt.Fprintf(&out, " [%s %s]", i.Format, i.Source.Bytes)
		}
		for _, tool := range u.Context.Tools {
			if tool.Cache != nil {
				out.WriteString(" tools-cached")
			}
		}
		if u.Cache != nil {
			out.WriteString(" cached")
		}
		out.WriteString("\n")
	}
	return out.String(), e
}

// frame makes one with AWS's own encoder.
func frame(t testing.TB, kind, nameHeader, name, payload string) []byte {
	t.Helper()
	var b bytes.Buffer
	h := aws.Headers{{Name: ":message-type", Value: aws.StringValue(kind)}, {Name: nameHeader, Value: aws.StringValue(name)},
		{Name: ":content-type", Value: aws.StringValue("application/json")}}
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
