package amazonq

import (
	"math"
	"strconv"
	"strings"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/translator"
	"sluice/shared/translator/internal/aws"
)

// encoder writes one request. Its first error stays.
type encoder struct {
	r      *translator.Request
	t      translator.Target
	out    *translator.Encoded
	b      []byte
	tools  []*translator.Tool // that are sent
	docs   []translator.Raw   // descriptions that are too long for their place
	turns  []turn
	ids    map[string]int // of calls, and how often each has come
	marks  int            // cache points that may still be set
	claude bool
	err    *translator.FieldError
}

// maxMarks is how many cache points the models take in one request, as in Anthropic's API.
const maxMarks = 4

// Encode implements translator.Back: a body for GenerateAssistantResponse. The names of the request's tools must have been
// fitted to Names.
func (Codec) Encode(r *translator.Request, t translator.Target) (*translator.Encoded, error) {
	e := &encoder{r: r, t: t, out: &translator.Encoded{}, ids: map[string]int{}, marks: maxMarks,
		claude: strings.HasPrefix(strings.ToLower(t.Model), "claude")}
	e.refuse()
	e.chooseTools()
	e.hints()
	e.limits()
	e.makeTurns()
	e.finishTurns()
	if e.err != nil {
		return nil, e.err
	}
	e.b = make([]byte, 0, e.size())
	e.state()
	if e.err != nil {
		return nil, e.err
	}
	e.out.Body = e.b
	return e.out, nil
}

func (e *encoder) fail(p translator.Place, field, message string) {
	if e.err == nil {
		e.err = translator.BadAt(p, field, message)
	}
}

func (e *encoder) lit(s string) { e.b = append(e.b, s...) }

// size is about how large the body will be, so that it is not copied as it grows.
func (e *encoder) size() int {
	n := 1024
	for i := range e.turns {
		t := &e.turns[i]
		n += 256
		for _, text := range t.text {
			n += len(text) + 4
		}
		for j := range t.results {
			n += 128
			for _, text := range t.results[j].text {
				n += len(text) + 16
			}
		}
		for _, b := range t.images {
			n += len(b.Media.Data) + 64
		}
		for j := range t.uses {
			n += len(t.uses[j].block.Input) + 160
		}
		if b := t.thinking; b != nil {
			n += len(b.Text) + len(b.Signature) + 64
		}
	}
	for _, t := range e.tools {
		n += len(t.Description) + len(t.Schema) + 160
	}
	return n
}

// state writes the body: the last turn is the current message, all before it are the history.
func (e *encoder) state() {
	last := len(e.turns) - 1
	e.lit(`{"conversationState":{`)
	if e.t.Conversation != "" {
		e.lit(`"conversationId":`)
		e.b = append(rawjson.AppendString(e.b, e.t.Conversation), ',')
	}
	if last > 0 {
		e.lit(`"history":[`)
		for i := range e.turns[:last] {
			if i > 0 {
				e.lit(",")
			}
			e.turn(&e.turns[i], false)
		}
		e.lit(`],`)
	}
	e.lit(`"currentMessage":`)
	e.turn(&e.turns[last], true)
	e.lit(`,"chatTriggerType":"MANUAL"}`)
	if strings.HasPrefix(e.t.Profile, "arn:") { // the service refuses a request with anything else
		e.lit(`,"profileArn":`)
		e.b = rawjson.AppendString(e.b, e.t.Profile)
	}
	e.lit("}")
}

// refuse refuses what the answer depends on and the service cannot do.
func (e *encoder) refuse() {
	e.err = aws.Refuse(e.r, e.out, nil)
	if e.r.Format != nil {
		e.fail(translator.Place{}, e.name("output_config.format", "response_format", "text.format"),
			"structured output is not offered by the upstream that serves this model; describe the form in the prompt, or declare a tool that takes it")
	}
}

// name is a field's name in the client's dialect.
func (e *encoder) name(anthropic, chat, responses string) string {
	switch e.r.From {
	case core.DialectOpenAIChat:
		return chat
	case core.DialectOpenAIResponses:
		return responses
	}
	return anthropic
}

// hints names the settings that the service has no place for and an answer is an answer without. Its newer hosts take some
// in additionalModelRequestFields, by a schema of each model; that is not documented, and a field too many is refused.
func (e *encoder) hints() {
	r := e.r
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"temperature", r.Temperature != nil},
		{"top_p", r.TopP != nil},
		{"top_k", r.TopK != nil},
		{"thinking", r.Thinking != nil && r.Thinking.Type != "disabled"},
		{e.name("output_config", "reasoning_effort", "reasoning"), r.Effort != "" && r.Effort != "none"},
		{"reasoning.summary", r.Summary != ""},
		{e.name("metadata", "user", "user"), r.User != ""},
		{"service_tier", r.ServiceTier != "" && r.ServiceTier != "auto" && r.ServiceTier != "default"},
		{"prompt_cache_key", r.CacheKey != ""},
		{"cache_control", r.CacheControl != nil && !e.claude},
		{e.name("tool_choice.disable_parallel_tool_use", "parallel_tool_calls", "parallel_tool_calls"),
			r.ToolChoice != nil && r.ToolChoice.NoParallel && len(e.tools) > 0},
	} {
		if f.set {
			e.out.Drop(f.name)
		}
	}
}

// limits leaves to the gateway what the service has no place for.
func (e *encoder) limits() {
	for _, s := range e.r.Stop {
		if s != "" {
			e.out.Enforce.Stop = append(e.out.Enforce.Stop, s)
		}
	}
	if f, err := strconv.ParseFloat(string(e.r.MaxTokens), 64); err == nil && !math.IsNaN(f) {
		e.out.Enforce.MaxTokens = int64(min(max(f, 0), 1e12))
	}
}

// mark notes a cache mark on a block, true where it becomes a cache point.
func (e *encoder) mark(m translator.Raw) bool {
	if m != nil && !e.claude {
		e.out.Drop("cache_control")
	}
	return m != nil && e.claude
}

// units counts the characters of JSON strings as the service does, in UTF-16. What has no more bytes than most cannot have
// more characters, and is not counted.
func units(most int, parts ...translator.Raw) (n int) {
	for _, p := range parts {
		n += len(p)
	}
	if n <= most {
		return n
	}
	n = 0
	for _, p := range parts {
		for i := 1; i < len(p)-1; i++ {
			switch c := p[i]; {
			case c == '\\' && p[i+1] == 'u':
				n++
				i += 5
			case c == '\\':
				n++
				i++
			case c >= 0xF0:
				n += 2
			case c&0xC0 != 0x80:
				n++
			}
		}
	}
	return n
}
