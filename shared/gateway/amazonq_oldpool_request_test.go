package gateway_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"sluice/shared/upstream/upstreamtest"
)

// qUser and qAssistant are the two kinds of messages that the service is sent.
type qUser struct {
	Content string
	Model   string `json:"modelId"`
	Images  []struct {
		Format string
		Source struct{ Bytes []byte }
	}
	Context struct {
		Results []struct {
			ID      string `json:"toolUseId"`
			Status  string
			Content []struct{ Text string }
		} `json:"toolResults"`
		Tools []struct {
			Spec struct{ Name, Description string } `json:"toolSpecification"`
		}
	} `json:"userInputMessageContext"`
}

type qAssistant struct {
	Content string
	Uses    []struct {
		ID    string `json:"toolUseId"`
		Name  string
		Input json.RawMessage
	} `json:"toolUses"`
}

type qMessage struct {
	User      *qUser      `json:"userInputMessage"`
	Assistant *qAssistant `json:"assistantResponseMessage"`
}

// qSent is a request as the service reads it.
type qSent struct {
	State struct {
		ID      string `json:"conversationId"`
		History []qMessage
		Current qMessage `json:"currentMessage"`
	} `json:"conversationState"`
}

// sent posts a body that the service must take and returns what it was sent.
func (r *rig) sent(up *upstreamtest.AmazonQ, path, body string) *qSent {
	r.t.Helper()
	got := r.do("POST", path, body)
	if got.status != 200 || len(up.Refused()) > 0 {
		r.t.Fatalf("got %d %s; the service refused: %v", got.status, got.body, up.Refused())
	}
	var q qSent
	if err := up.Last().Decode(&q); err != nil {
		r.t.Fatal(err)
	}
	return &q
}

// talk is a request with tools and these messages.
func talk(messages string) string {
	return `{"model":"` + poolModel + `","max_tokens":1000,"system":"Be brief.",` + poolTools + `,"messages":[` + messages + `]}`
}

const (
	turnAsk   = `{"role":"user","content":"weather?"}`
	turnCalls = `{"role":"assistant","content":[{"type":"text","text":"I look."},{"type":"tool_use","id":"tooluse_1","name":"get_weather","input":{"city":"Rome"}},` +
		`{"type":"tool_use","id":"tooluse_2","name":"get_time","input":{}}]}`
	turnResults = `{"role":"user","content":[{"type":"tool_result","tool_use_id":"tooluse_1","content":"sun"},` +
		`{"type":"tool_result","tool_use_id":"tooluse_2","is_error":true,"content":[{"type":"text","text":"no clock"}]}]}`
)

// OldPoolBug: is_error was not looked at; every result was a success.
func TestOldPoolBug_IsErrorIsTheStatus(t *testing.T) {
	r, _ := newPoolRig(t)
	up := r.fakePool("q")
	results := r.sent(up, "/v1/messages", talk(turnAsk+","+turnCalls+","+turnResults)).State.Current.User.Context.Results
	if len(results) != 2 || results[0].Status != "success" || results[1].Status != "error" || results[0].Content[0].Text != "sun" || results[1].Content[0].Text != "no clock" {
		t.Errorf("sent %+v", results)
	}
}

// OldPoolBug: the system prompt was left out of every request whose last message is a tool's result.
func TestOldPoolBug_SystemPromptWithToolResults(t *testing.T) {
	r, _ := newPoolRig(t)
	up := r.fakePool("q")
	for _, messages := range []string{turnAsk, turnAsk + "," + turnCalls + "," + turnResults,
		turnAsk + "," + turnCalls + "," + turnResults + `,{"role":"assistant","content":"sun"},{"role":"user","content":"thanks"}`} {
		q := r.sent(up, "/v1/messages", talk(messages))
		first := q.State.Current
		if len(q.State.History) > 0 {
			first = q.State.History[0]
		}
		if strings.Count(first.User.Content, "Be brief.") != 1 || strings.Count(string(up.Last().Body), "Be brief.") != 1 {
			t.Errorf("sent %s", up.Last().Body)
		}
	}
}

// OldPoolBug: of user messages in a row only the first one's tool results were kept.
func TestOldPoolBug_MergedTurnsKeepToolResults(t *testing.T) {
	r, _ := newPoolRig(t)
	up := r.fakePool("q")
	apart := `{"role":"user","content":[{"type":"tool_result","tool_use_id":"tooluse_1","content":"sun"}]},` +
		`{"role":"user","content":[{"type":"tool_result","tool_use_id":"tooluse_2","content":"noon"},{"type":"text","text":"and now?"}]}`
	for why, messages := range map[string]string{
		"at the end":     turnAsk + "," + turnCalls + "," + apart,
		"in the history": turnAsk + "," + turnCalls + "," + apart + `,{"role":"assistant","content":"ok"},{"role":"user","content":"more"}`,
	} {
		q := r.sent(up, "/v1/messages", talk(messages))
		turn := append(q.State.History, q.State.Current)[2].User
		if len(turn.Context.Results) != 2 || turn.Context.Results[0].Content[0].Text != "sun" || turn.Context.Results[1].Content[0].Text != "noon" || !strings.Contains(turn.Content, "and now?") {
			t.Errorf("%s: sent %+v", why, turn)
		}
	}
}

// OldPoolBug: two messages of the assistant in a row were a 500.
func TestOldPoolBug_TwoAssistantTurns(t *testing.T) {
	r, _ := newPoolRig(t)
	up := r.fakePool("q")
	q := r.sent(up, "/v1/messages", talk(turnAsk+`,{"role":"assistant","content":"One."},{"role":"assistant","content":"Two."},{"role":"user","content":"go on"}`))
	if h := q.State.History; len(h) != 2 || !strings.Contains(h[1].Assistant.Content, "One.") || !strings.Contains(h[1].Assistant.Content, "Two.") || q.State.Current.User.Content != "go on" {
		t.Errorf("sent %s", up.Last().Body)
	}
	if q := r.sent(up, "/v1/messages", talk(`{"role":"assistant","content":"I begin."},`+turnAsk)); len(q.State.History) != 2 || q.State.History[1].Assistant.Content != "I begin." {
		t.Errorf("sent %s", up.Last().Body)
	}
}

// OldPoolBug: a prefill was dropped without a word and an empty question sent. The service cannot go on with the assistant's
// words, and clients are told so.
func TestOldPoolBug_PrefillIsRefused(t *testing.T) {
	r, _ := newPoolRig(t)
	up := r.fakePool("q")
	got := r.post(talk(turnAsk + `,{"role":"assistant","content":"The weather is"}`))
	wantError(t, got, 400, "invalid_request_error", "must end with a message of the user")
	if up.Count() != 0 {
		t.Error("the service was asked all the same")
	}
}

// OldPoolBug: images were dropped.
func TestOldPoolBug_ImagesAreSent(t *testing.T) {
	r, _ := newPoolRig(t)
	up := r.fakePool("q")
	pixel := []byte("\x89PNG\r\n\x1a\nnot quite a picture")
	data := base64.StdEncoding.EncodeToString(pixel)
	block := `{"type":"image","source":{"type":"base64","media_type":"image/png","data":"` + data + `"}}`
	check := func(why string, u *qUser) {
		t.Helper()
		if u == nil || len(u.Images) != 1 || u.Images[0].Format != "png" || string(u.Images[0].Source.Bytes) != string(pixel) || u.Content == "" {
			t.Errorf("%s: sent %s", why, up.Last().Body)
		}
	}
	check("asked", r.sent(up, "/v1/messages", talk(`{"role":"user","content":[`+block+`,{"type":"text","text":"what?"}]}`)).State.Current.User)
	check("alone", r.sent(up, "/v1/messages", talk(`{"role":"user","content":[`+block+`]}`)).State.Current.User)
	check("in the history", r.sent(up, "/v1/messages", talk(`{"role":"user","content":[`+block+`]},{"role":"assistant","content":"a dot"},`+turnAsk)).State.History[0].User)
	check("of a result", r.sent(up, "/v1/messages", talk(turnAsk+","+turnCalls+`,{"role":"user","content":[{"type":"tool_result","tool_use_id":"tooluse_1","content":[`+block+`]}]}`)).State.Current.User)
	check("chat", r.sent(up, chatPath, `{"model":"`+poolModel+`","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,`+data+`"}},{"type":"text","text":"what?"}]}]}`).State.Current.User)
	check("responses", r.sent(up, responsesPath, `{"model":"`+poolModel+`","input":[{"role":"user","content":[{"type":"input_image","image_url":"data:image/png;base64,`+data+`"}]}]}`).State.Current.User)
	n := up.Count()
	got := r.post(talk(`{"role":"user","content":[{"type":"image","source":{"type":"url","url":"https://example.com/a.png"}}]}`))
	if wantError(t, got, 400, "invalid_request_error", "send the image as base64"); up.Count() != n {
		t.Error("an image was dropped")
	}
}

// OldPoolBug: the tool calls of a chat's history were dropped, so that results came without a call.
func TestOldPoolBug_ChatToolCallsAreKept(t *testing.T) {
	r, _ := newPoolRig(t)
	up := r.fakePool("q")
	q := r.sent(up, chatPath, with(`{"model":"`+poolModel+`","messages":[{"role":"user","content":"weather?"},`+
		`{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"get_weather","arguments":"{\"city\":\"Rome\"}"}}]},`+
		`{"role":"tool","tool_call_id":"call_1","content":"sun"}]}`, `"tools":[{"type":"function","function":{"name":"get_weather","parameters":{"type":"object"}}}]`))
	h, results := q.State.History, q.State.Current.User.Context.Results
	if len(h) != 2 || len(h[1].Assistant.Uses) != 1 || h[1].Assistant.Uses[0].Name != "get_weather" || string(h[1].Assistant.Uses[0].Input) != `{"city":"Rome"}` ||
		len(results) != 1 || results[0].ID != h[1].Assistant.Uses[0].ID || results[0].Content[0].Text != "sun" {
		t.Errorf("sent %s", up.Last().Body)
	}
}

// OldPoolBug: messages of the role developer were dropped, and of several system messages only the last was kept.
func TestOldPoolBug_DeveloperRoleIsKept(t *testing.T) {
	r, _ := newPoolRig(t)
	up := r.fakePool("q")
	q := r.sent(up, chatPath, `{"model":"`+poolModel+`","messages":[{"role":"system","content":"Rule one."},{"role":"developer","content":"Rule two."},`+
		`{"role":"system","content":[{"type":"text","text":"Rule three."}]},{"role":"user","content":"hi"}]}`)
	text := q.State.Current.User.Content
	for _, rule := range []string{"Rule one.", "Rule two.", "Rule three.", "hi"} {
		if strings.Count(text, rule) != 1 {
			t.Errorf("%s: sent %q", rule, text)
		}
	}
}

// OldPoolBug: what changes an answer was taken and not held: n, stop, and max_tokens under its new name.
func TestOldPoolBug_SettingsAreHeldOrRefused(t *testing.T) {
	r, _ := newPoolRig(t)
	up := r.fakePool("q")
	up.Default(upstreamtest.Reply(upstreamtest.Text("one two", " three", strings.Repeat(" four", 100))))
	for _, c := range []struct{ why, extra, content, finish string }{
		{"a stop sequence", `"stop":["three"]`, "one two ", "stop"},
		{"max_completion_tokens", `"max_completion_tokens":3`, "", "length"},
	} {
		var a chatAnswer
		a.read(t, r.do("POST", chatPath, with(poolChat, c.extra)))
		if m := a.Choices[0]; m.Finish != c.finish || m.Message.Content == nil || c.content != "" && *m.Message.Content != c.content || len(*m.Message.Content) > 60 {
			t.Errorf("%s: got %+v", c.why, m)
		}
	}
	if got := r.do("POST", chatPath, with(poolChat, `"n":2`)); got.status != 400 || !strings.Contains(got.body, "one request for each choice") {
		t.Errorf("n: got %d %s", got.status, got.body)
	}
	got := r.do("POST", chatPath, with(poolChat, `"temperature":0.5`))
	if got.status != 200 || got.header.Get("X-Sluice-Dropped") != "temperature" {
		t.Errorf("temperature: got %d, dropped %q", got.status, got.header.Get("X-Sluice-Dropped"))
	}
}

// OldPoolBug: a tool without a description was a 500, and names with dashes or dots were refused by the service. They come
// back as the client knows them.
func TestOldPoolBug_ToolsOfAnyName(t *testing.T) {
	r, _ := newPoolRig(t)
	up := r.fakePool("q")
	up.Respond(func(q upstreamtest.Request) upstreamtest.Behaviour {
		var s qSent
		if err := q.Decode(&s); err != nil {
			return upstreamtest.Status(500, "")
		}
		return upstreamtest.Reply(upstreamtest.ToolUse("tooluse_1", s.State.Current.User.Context.Tools[0].Spec.Name, `{}`))
	})
	for _, name := range []string{"mcp__files-and.more__read-file", strings.Repeat("long_", 25), "1st"} {
		m := r.both(with(poolPlain, `"tools":[{"name":"`+name+`","input_schema":{"type":"object"}}]`))
		if m.said() != name+"({})" || len(up.Refused()) != 0 {
			t.Errorf("%s: got %s; refused: %v", name, m.said(), up.Refused())
		}
	}
}
