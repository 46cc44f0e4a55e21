package upstreamtest_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	. "sluice/shared/upstream/upstreamtest"
)

// qMessage is a request whose current message has the members, after a history.
func qMessage(history, members string) string {
	return `{"profileArn":"arn:aws:codewhisperer:us-east-1:123456789012:profile/ABCDEFGHIJKL","conversationState":{"chatTriggerType":"MANUAL","history":[` +
		history + `],"currentMessage":{"userInputMessage":{` + members + `}}}}`
}

func qWithContext(context string) string {
	return qMessage("", `"content":"hi","userInputMessageContext":{`+context+`}`)
}

func qTool(name, members string) string {
	return `{"toolSpecification":{"name":"` + name + `","inputSchema":{"json":{"type":"object"}}` + members + `}}`
}

func qUse(id string) string    { return `{"toolUseId":"` + id + `","name":"read","input":{}}` }
func qResult(id string) string { return `{"toolUseId":"` + id + `","content":[{"text":""}]}` }

func qUser(members string) string { return `{"userInputMessage":{"content":"a"` + members + `}}` }

func qAssistant(members string) string {
	return `{"assistantResponseMessage":{"content":"b"` + members + `}}`
}

// many joins n results of f.
func many(n int, f func(id string) string) string {
	var all []string
	for i := range n {
		all = append(all, f(fmt.Sprintf("t_%d", i)))
	}
	return strings.Join(all, ",")
}

func qImage(format, data string) string {
	return qMessage("", `"content":"hi","images":[{"format":"`+format+`","source":{"bytes":"`+data+`"}}]`)
}

func TestAmazonQAccepts(t *testing.T) {
	results := func(n int) string { return `"userInputMessageContext":{"toolResults":[` + many(n, qResult) + `]}` }
	for why, body := range map[string]string{
		"the least": `{"conversationState":{"chatTriggerType":"MANUAL","currentMessage":{"userInputMessage":{"content":"hi"}}}}`,
		"everything": qMessage(
			qUser(`,"origin":"CLI","cachePoint":{"type":"default"},"images":[{"format":"webp","source":{"bytes":"AAAA"}}]`)+`,`+
				qAssistant(`,"messageId":"m","toolUses":[`+many(10, qUse)+`],"reasoningContent":{"reasoningText":{"text":"hm","signature":"s"}}`)+`,`+
				qUser(`,`+results(10))+`,`+qAssistant(`,"reasoningContent":{"redactedContent":"AAAA"}`),
			`"content":"hi","userIntent":"IMPROVE_CODE","origin":"KIRO_CLI","modelId":"claude-sonnet-4.5","clientCacheConfig":{"useClientCachingOnly":true},"future":1,`+
				`"userInputMessageContext":{"envState":{"operatingSystem":"linux","currentWorkingDirectory":"/","environmentVariables":[{"key":"A","value":""}],"timezoneOffset":-60},`+
				`"userSettings":{"hasConsentedToCrossRegionCalls":true},"additionalContext":[{"name":"a-b","description":"d","innerContext":"c"}],`+
				`"tools":[`+qTool("a", `,"description":"`+strings.Repeat("字", 10240)+`"`)+`,`+qTool("B_2", "")+`,{"cachePoint":{"type":"default"}}]}`),
		"the longest text": qMessage("", `"content":"`+strings.Repeat("字", 600_000)+`"`),
		"an answer of tools alone": qMessage(qUser("")+`,{"assistantResponseMessage":{"content":"","toolUses":[`+qUse("t_0")+`]}}`,
			`"content":"x",`+results(1)),
	} {
		t.Run(why, func(t *testing.T) {
			q := NewAmazonQ(t)
			mustStatus(t, do(t, qRequest(t, q.URL, qGenerate, body)), 200)
			mustStatus(t, do(t, qRequest(t, q.URL, qSend, strings.Replace(body, "{", `{"source":"CLI","dryRun":false,`, 1))), 200)
		})
	}
}

func TestAmazonQRefuses(t *testing.T) {
	const improper = `#ValidationException","message":"Improperly formed request.","reason":null}`
	const shape = `#SerializationException","message":"The request could not be deserialized."}`
	const tooLong = `#ValidationException","message":"Input is too long.","reason":"CONTENT_LENGTH_EXCEEDS_THRESHOLD"}`
	const noModel = `#ValidationException","message":"Invalid model. Please select a different model to continue.","reason":"INVALID_MODEL_ID"}`
	big := base64.StdEncoding.EncodeToString(make([]byte, 10_000_001))
	for _, c := range []struct{ why, body, want, cause string }{
		{"not JSON", `{"conversationState":`, shape, `the body is not JSON`},
		{"no object", `[]`, shape, `is an array, not an object`},
		{"nothing", `{}`, improper, `conversationState is missing`},
		{"state of another type", `{"conversationState":[]}`, shape, `conversationState is an array, not an object`},
		{"no trigger", strings.Replace(qHello, `"chatTriggerType":"MANUAL",`, "", 1), improper, `chatTriggerType is missing`},
		{"an unknown trigger", strings.Replace(qHello, "MANUAL", "AUTO", 1), improper, `chatTriggerType is "AUTO"`},
		{"an unknown origin", strings.Replace(qHello, "CLI", "TERMINAL", 1), improper, `origin is "TERMINAL"`},
		{"an unknown intent", qMessage("", `"content":"x","userIntent":"WRITE"`), improper, `userIntent is "WRITE"`},
		{"an unknown task type", strings.Replace(qHello, `"chatTriggerType"`, `"agentTaskType":"x","chatTriggerType"`, 1), improper, `agentTaskType is "x"`},
		{"an empty conversationId", strings.Replace(qHello, "c-1", "", 1), improper, `conversationId has 0 characters, not 1 to 128`},
		{"a long conversationId", strings.Replace(qHello, "c-1", strings.Repeat("x", 129), 1), improper, `conversationId has 129 characters, not 1 to 128`},
		{"a name in another case", strings.Replace(qHello, "chatTriggerType", "ChatTriggerType", 1), improper, `chatTriggerType is missing`},
		{"no current message", `{"conversationState":{"chatTriggerType":"MANUAL"}}`, improper, `currentMessage is missing`},
		{"a current message of the assistant", `{"conversationState":{"chatTriggerType":"MANUAL","currentMessage":` + qAssistant("") + `}}`, improper, `currentMessage has 1 members, not exactly one of [userInputMessage]`},
		{"both members of a union", qMessage(`{"userInputMessage":{"content":"a"},"assistantResponseMessage":{"content":"b"}}`, `"content":"x"`), improper, `history[0] has 2 members, not exactly one of [userInputMessage assistantResponseMessage]`},
		{"no member of a union", qMessage(`{}`, `"content":"x"`), improper, `history[0] has 0 members, not exactly one of [userInputMessage assistantResponseMessage]`},
		{"no content", qMessage("", `"modelId":"auto"`), improper, `content is missing`},
		{"empty content", qMessage("", `"content":""`), improper, `content is empty`},
		{"blank content", qMessage("", `"content":" \n"`), improper, `content is empty`},
		{"content of another type", qMessage("", `"content":["hi"]`), shape, `content is an array, not a string`},
		{"empty content in the history", qMessage(`{"userInputMessage":{"content":""}},`+qAssistant(""), `"content":"x"`), improper, `history[0].userInputMessage.content is empty`},
		{"an empty answer", qMessage(qUser("")+`,{"assistantResponseMessage":{"content":""}}`, `"content":"x"`), improper, `history[1].assistantResponseMessage.content is empty`},
		{"content too long", qMessage("", `"content":"`+strings.Repeat("x", 600_001)+`"`), tooLong, `content has a length of 600001`},
		{"an answer too long", qMessage(qUser("")+`,`+strings.Replace(qAssistant(""), `"b"`, `"`+strings.Repeat("x", 100_001)+`"`, 1), `"content":"x"`), tooLong, `history[1].assistantResponseMessage.content has a length of 100001`},
		{"an unknown model", qMessage("", `"content":"x","modelId":"claude-2"`), noModel, `modelId is "claude-2"`},
		{"a bad profile", strings.Replace(qMessage("", `"content":"x"`), "ABCDEFGHIJKL", "ABC", 1), improper, `profileArn "arn:aws:codewhisperer:us-east-1:123456789012:profile/ABC"`},
		{"two users", qMessage(qUser(""), `"content":"x"`), improper, `currentMessage.userInputMessage: the history does not begin with a user and alternate`},
		{"two answers", qMessage(qUser("")+`,`+qAssistant("")+`,`+qAssistant(""), `"content":"x"`), improper, `history[2].assistantResponseMessage: the history does not begin with a user and alternate`},
		{"an answer first", qMessage(qAssistant(""), `"content":"x"`), improper, `history[0].assistantResponseMessage: the history does not begin with a user and alternate`},
		{"a result without a use", qWithContext(`"toolResults":[` + qResult("t_0") + `]`), improper, `currentMessage.userInputMessage: the result of tool use "t_0" has no such use in the message before`},
		{"a result of an older use", qMessage(qUser("")+`,`+qAssistant(`,"toolUses":[`+qUse("t_0")+`]`)+`,`+qUser(`,"userInputMessageContext":{"toolResults":[`+qResult("t_0")+`]}`)+`,`+qAssistant(""),
			`"content":"x","userInputMessageContext":{"toolResults":[`+qResult("t_0")+`]}`), improper, `currentMessage.userInputMessage: the result of tool use "t_0" has no such use in the message before`},
		{"a use without a result", qMessage(qUser("")+`,`+qAssistant(`,"toolUses":[`+qUse("t_0")+`]`), `"content":"x"`), improper, `history[1].assistantResponseMessage: the tool use "t_0" has no result in the message after`},
		{"a use without a result among others", qMessage(qUser("")+`,`+qAssistant(`,"toolUses":[`+many(2, qUse)+`]`), `"content":"x","userInputMessageContext":{"toolResults":[`+qResult("t_0")+`]}`), improper, `history[1].assistantResponseMessage: the tool use "t_1" has no result in the message after`},
		{"a use twice", qMessage(qUser("")+`,`+qAssistant(`,"toolUses":[`+qUse("t_0")+`,`+qUse("t_0")+`]`), `"content":"x","userInputMessageContext":{"toolResults":[`+qResult("t_0")+`]}`), improper, `history[1].assistantResponseMessage.toolUses[1]: a second one of the id "t_0"`},
		{"a result twice", qMessage(qUser("")+`,`+qAssistant(`,"toolUses":[`+qUse("t_0")+`]`), `"content":"x","userInputMessageContext":{"toolResults":[`+qResult("t_0")+`,`+qResult("t_0")+`]}`), improper, `toolResults[1]: a second one of the id "t_0"`},
		{"eleven uses", qMessage(qUser("")+`,`+qAssistant(`,"toolUses":[`+many(11, qUse)+`]`)+`,`+qUser(``)+`,`+qAssistant(""), `"content":"x"`), improper, `history[1].assistantResponseMessage.toolUses has 11 elements, more than 10`},
		{"eleven results", qWithContext(`"toolResults":[` + many(11, qResult) + `]`), improper, `toolResults has 11 elements, more than 10`},
		{"a use's bad id", qMessage(qUser("")+`,`+qAssistant(`,"toolUses":[`+qUse("t.0")+`]`), `"content":"x","userInputMessageContext":{"toolResults":[`+qResult("t.0")+`]}`), improper, `history[1].assistantResponseMessage.toolUses[0].toolUseId "t.0"`},
		{"a use's long id", qMessage(qUser("")+`,`+qAssistant(`,"toolUses":[`+qUse(strings.Repeat("x", 65))+`]`), `"content":"x","userInputMessageContext":{"toolResults":[`+qResult(strings.Repeat("x", 65))+`]}`), improper, `history[1].assistantResponseMessage.toolUses[0].toolUseId has 65 characters, not 1 to 64`},
		{"a use's input as text", qMessage(qUser("")+`,`+qAssistant(`,"toolUses":[{"toolUseId":"t_0","name":"read","input":"{}"}]`), `"content":"x","userInputMessageContext":{"toolResults":[`+qResult("t_0")+`]}`), improper, `history[1].assistantResponseMessage.toolUses[0].input is a string, not an object`},
		{"a result's unknown status", qMessage(qUser("")+`,`+qAssistant(`,"toolUses":[`+qUse("t_0")+`]`), `"content":"x","userInputMessageContext":{"toolResults":[{"toolUseId":"t_0","status":"failed","content":[]}]}`), improper, `toolResults[0].status is "failed"`},
		{"a result's content of two kinds", qMessage(qUser("")+`,`+qAssistant(`,"toolUses":[`+qUse("t_0")+`]`), `"content":"x","userInputMessageContext":{"toolResults":[{"toolUseId":"t_0","content":[{"text":"","json":{}}]}]}`), improper, `toolResults[0].content[0] has 2 members, not exactly one of [text json]`},
		{"a result too long", qMessage(qUser("")+`,`+qAssistant(`,"toolUses":[`+qUse("t_0")+`]`), `"content":"x","userInputMessageContext":{"toolResults":[{"toolUseId":"t_0","content":[{"text":"`+strings.Repeat("x", 800_001)+`"}]}]}`), tooLong, `toolResults[0].content[0].text has a length of 800001`},
		{"a tool with a hyphen", qWithContext(`"tools":[` + qTool("a-b", "") + `]`), improper, `tools[0].toolSpecification.name "a-b"`},
		{"a tool that begins with a digit", qWithContext(`"tools":[` + qTool("1a", "") + `]`), improper, `tools[0].toolSpecification.name "1a"`},
		{"a tool's long name", qWithContext(`"tools":[` + qTool(strings.Repeat("a", 65), "") + `]`), improper, `tools[0].toolSpecification.name has 65 characters, not 1 to 64`},
		{"a tool's empty description", qWithContext(`"tools":[` + qTool("a", `,"description":""`) + `]`), improper, `tools[0].toolSpecification.description has 0 characters, not 1 to 10240`},
		{"a tool's long description", qWithContext(`"tools":[` + qTool("a", `,"description":"`+strings.Repeat("x", 10_241)+`"`) + `]`), improper, `tools[0].toolSpecification.description has 10241 characters, not 1 to 10240`},
		{"two tools of a name", qWithContext(`"tools":[` + qTool("a", "") + `,` + qTool("a", "") + `]`), improper, `tools[1].toolSpecification: a second tool of the name "a"`},
		{"a tool without a schema", qWithContext(`"tools":[{"toolSpecification":{"name":"a"}}]`), improper, `tools[0].toolSpecification.inputSchema is missing`},
		{"a tool's schema as text", qWithContext(`"tools":[{"toolSpecification":{"name":"a","inputSchema":{"json":"{}"}}}]`), improper, `tools[0].toolSpecification.inputSchema.json is a string, not an object`},
		{"a tool of an unknown kind", qWithContext(`"tools":[{"webSearch":{}}]`), improper, `tools[0] has 1 members, not exactly one of [toolSpecification cachePoint]`},
		{"an unknown cache point", qWithContext(`"tools":[{"cachePoint":{"type":"long"}}]`), improper, `tools[0].cachePoint.type is "long"`},
		{"an unknown system", qWithContext(`"envState":{"operatingSystem":"plan9"}`), improper, `envState.operatingSystem is "plan9"`},
		{"a long directory", qWithContext(`"envState":{"currentWorkingDirectory":"` + strings.Repeat("x", 257) + `"}`), improper, `envState.currentWorkingDirectory has 257 characters, not 1 to 256`},
		{"a bad entry", qWithContext(`"additionalContext":[{"name":"A b","description":"x"}]`), improper, `additionalContext[0].name "A b"`},
		{"an unknown image", qImage("bmp", "AAAA"), improper, `images[0].format is "bmp"`},
		{"an image that is no base64", qImage("png", "?"), shape, `images[0].source.bytes is a string, not base64`},
		{"an empty image", qImage("png", ""), improper, `images[0].source.bytes has 0 characters, not 1 to 2`},
		{"a large image", qImage("png", big), improper, `images[0].source.bytes has 10000001 bytes`},
		{"eleven images", qMessage("", `"content":"x","images":[`+many(11, func(string) string { return `{"format":"png","source":{"bytes":"AAAA"}}` })+`]`), improper, `images has 11 elements, more than 10`},
		{"reasoning of no kind", qMessage(qUser("")+`,`+qAssistant(`,"reasoningContent":{"text":"x"}`), `"content":"x"`), improper, `history[1].assistantResponseMessage.reasoningContent has 1 members, not exactly one of [reasoningText redactedContent]`},
		{"an unknown source", strings.Replace(qHello, "{", `{"source":"X",`, 1), improper, `source is "X"`},
	} {
		t.Run(c.why, func(t *testing.T) {
			q := NewAmazonQ(t)
			got := do(t, qRequest(t, q.URL, qSend, c.body))
			mustStatus(t, got, 400)
			if !strings.HasSuffix(got.body, c.want) {
				t.Errorf("got %s, want %s", got.body, c.want)
			}
			if refused := q.Refused(); len(refused) != 1 || !strings.Contains(refused[0], c.cause) {
				t.Errorf("got reasons %q, want %q", refused, c.cause)
			}
		})
	}
}

func TestAmazonQLimitOptions(t *testing.T) {
	q := NewAmazonQ(t, WithHistory(2), WithInputLimit(500), WithModels("m"))
	history := qUser("") + `,` + qAssistant("")
	mustStatus(t, do(t, qRequest(t, q.URL, qGenerate, qMessage(history, `"content":"x","modelId":"m"`))), 200)
	mustStatus(t, do(t, qRequest(t, q.URL, qGenerate, qMessage(history+`,`+history, `"content":"x"`))), 400)
	got := do(t, qRequest(t, q.URL, qGenerate, qMessage("", `"content":"`+strings.Repeat("x", 500)+`"`)))
	mustStatus(t, got, 400)
	if !strings.Contains(got.body, "Input is too long.") {
		t.Errorf("got %s", got.body)
	}
	q.SetModels("n")
	if got := do(t, qRequest(t, q.URL, qGenerate, qMessage("", `"content":"x","modelId":"m"`))); !strings.Contains(got.body, "INVALID_MODEL_ID") {
		t.Errorf("got %s", got.body)
	}
	q.Reset()
	mustStatus(t, do(t, qRequest(t, q.URL, qGenerate, qMessage("", `"content":"x","modelId":"m"`))), 200)
	if len(q.Refused()) != 0 || q.Count() != 1 {
		t.Errorf("got %v, %d requests", q.Refused(), q.Count())
	}
}

func TestAmazonQHeaders(t *testing.T) {
	for _, c := range []struct {
		why    string
		change func(*http.Request)
		status int
		want   string
	}{
		{"another path", func(r *http.Request) { r.URL.Path = "/generateAssistantResponse" }, 404, "UnknownOperationException"},
		{"another method", func(r *http.Request) { r.Method = http.MethodPut }, 404, "UnknownOperationException"},
		{"no target", func(r *http.Request) { r.Header.Del("X-Amz-Target") }, 404, "UnknownOperationException"},
		{"the target of another service", func(r *http.Request) {
			r.Header.Set("X-Amz-Target", "AmazonCodeWhispererService.GenerateAssistantResponse")
		}, 404, "UnknownOperationException"},
		{"another content type", func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }, 404, "UnknownOperationException"},
		{"no token", func(r *http.Request) { r.Header.Del("Authorization") }, 403, "MissingAuthenticationTokenException"},
		{"another scheme", func(r *http.Request) { r.Header.Set("Authorization", "Basic aoa-1") }, 403, "MissingAuthenticationTokenException"},
		{"another token", func(r *http.Request) { r.Header.Set("Authorization", "Bearer aoa-2") }, 403, "The bearer token included in the request is invalid."},
		{"an unknown opt-out", func(r *http.Request) { r.Header.Set("X-Amzn-Codewhisperer-Optout", "yes") }, 400, "SerializationException"},
	} {
		t.Run(c.why, func(t *testing.T) {
			q := NewAmazonQ(t)
			q.AllowTokens("aoa-1")
			mustStatus(t, do(t, qRequest(t, q.URL, qGenerate, qHello)), 200)
			r := qRequest(t, q.URL, qGenerate, qHello)
			c.change(r)
			got := do(t, r)
			mustStatus(t, got, c.status)
			if !strings.Contains(got.body, c.want) {
				t.Errorf("got %s", got.body)
			}
		})
	}
	q := NewAmazonQ(t, WithKey("k"))
	mustStatus(t, do(t, qRequest(t, q.URL, qGenerate, qHello)), 403)
	q.SetInvalid(TokenInvalid(401))
	mustStatus(t, do(t, qRequest(t, q.URL, qGenerate, qHello)), 401)
	q.SetTokens(func(token string) bool { return token == "aoa-1" })
	mustStatus(t, do(t, qRequest(t, q.URL, qGenerate, qHello)), 200)
}

// Whatever the body, the fake answers: a broken-off connection is a panic.
func FuzzAmazonQ(f *testing.F) {
	q := NewAmazonQ(f, WithoutRecording())
	for _, body := range []string{
		qHello, `{}`, `{"conversationState":{"history":[{"userInputMessage":null}, 1 ]}}`,
		qMessage(qUser("")+`,`+qAssistant(`,"toolUses":[`+qUse("t_0")+`]`), `"content":"x","userInputMessageContext":{"toolResults":[`+qResult("t_0")+`],"tools":[`+qTool("a", "")+`]}`),
		qImage("png", "AAAA"), `{"maxResults":1,"nextToken":"cGFnZS0x"}`,
	} {
		f.Add(body)
	}
	client := http.Client{}
	f.Fuzz(func(t *testing.T, body string) {
		for _, target := range []string{qSend, qControl + "ListAvailableModels"} {
			resp, err := client.Do(qRequest(t, q.URL, target, body))
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != 200 && resp.StatusCode != 400 {
				t.Errorf("got status %d", resp.StatusCode)
			}
			_ = resp.Body.Close()
		}
	})
}
