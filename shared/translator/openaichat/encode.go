package openaichat

import (
	"slices"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// encoder writes one body. The first problem stays in err.
type encoder struct {
	writer
	r   *translator.Request
	t   translator.Target
	out *translator.Encoded
	err *translator.FieldError
}

// maxStop is how many stop sequences the dialect takes.
const maxStop = 4

// Encode implements translator.Back. A streamed answer is always asked for its usage.
func (Codec) Encode(r *translator.Request, t translator.Target) (*translator.Encoded, error) {
	e := &encoder{r: r, t: t, out: &translator.Encoded{}}
	e.b = append(make([]byte, 0, size(r)), '{')
	e.str("model", t.Model)
	e.messages()
	e.tools()
	e.limits()
	e.reasoning()
	e.format()
	e.rest()
	e.extras()
	if e.err != nil {
		return nil, e.err
	}
	e.out.Body = append(e.b, '}')
	return e.out, nil
}

// size is about how long the body will be.
func size(r *translator.Request) int {
	n := 4096 + 512*len(r.Tools)
	for i := range r.Tools {
		n += len(r.Tools[i].Schema) + len(r.Tools[i].Description)
	}
	for i := range r.Messages {
		for j := range r.Messages[i].Content {
			b := &r.Messages[i].Content[j]
			n += 128 + len(b.Text) + len(b.Input)*9/8 + len(b.Media.Data)
			for k := range b.Content {
				n += len(b.Content[k].Text) + len(b.Content[k].Media.Data)
			}
		}
	}
	return n
}

func (e *encoder) fail(err *translator.FieldError) {
	if e.err == nil {
		e.err = err
	}
}

// limits writes how long an answer may be and how it is sampled.
func (e *encoder) limits() {
	r := e.r
	thinks := reasons(e.t.Model)
	if thinks {
		e.raw("max_completion_tokens", r.MaxTokens)
	} else {
		e.raw("max_tokens", r.MaxTokens)
	}
	e.sample("temperature", r.Temperature, thinks)
	e.sample("top_p", r.TopP, thinks)
	e.sample("top_k", r.TopK, r.From != core.DialectOpenAIChat) // not OpenAI's, but many servers of the dialect have it
	switch {
	case len(r.Stop) == 0:
	case len(r.Stop) > maxStop || thinks: // models that reason refuse the field
		e.out.Enforce.Stop = r.Stop
	default:
		e.name("stop")
		e.strings(r.Stop)
	}
}

func (e *encoder) sample(name string, v translator.Raw, drop bool) {
	if v != nil && drop {
		e.out.Drop(name)
		return
	}
	e.raw(name, v)
}

func (e *encoder) strings(list []string) {
	e.lit("[")
	for _, s := range list {
		e.elem()
		e.b = rawjson.AppendString(e.b, s)
	}
	e.lit("]")
}

// reasoning writes the effort. Anthropic's clients say it as an effort or as a budget of tokens; adaptive thinking alone
// leaves it to the model, as no effort does here.
func (e *encoder) reasoning() {
	r := e.r
	effort, field := r.Effort, "reasoning_effort"
	switch r.From {
	case core.DialectAnthropic:
		field = "output_config"
	case core.DialectOpenAIResponses:
		field = "reasoning"
		if r.Summary != "" {
			e.out.Drop("reasoning.summary") // the dialect shows no reasoning
		}
	}
	if t := r.Thinking; effort == "" && t != nil && t.Type == "enabled" {
		effort, field = budgetEffort(t.Budget), "thinking"
	}
	switch {
	case effort == "":
	case reasons(e.t.Model):
		e.str("reasoning_effort", effort)
	default:
		e.out.Drop(field)
	}
}

func budgetEffort(budget translator.Raw) string {
	v, err := rawjson.Find(budget)
	n, ok := v.Int()
	switch {
	case err != nil || !ok || n >= 16384:
		return "high"
	case n < 4096:
		return "low"
	}
	return "medium"
}

// format writes response_format.
func (e *encoder) format() {
	f := e.r.Format
	if f == nil {
		return
	}
	e.name("response_format")
	if f.Schema == nil {
		e.lit(`{"type":"json_object"}`)
		return
	}
	e.lit(`{"type":"json_schema","json_schema":{`)
	name, strict := f.Name, f.Strict
	if name == "" {
		name = "output"
	}
	if strict == nil && e.r.From == core.DialectAnthropic { // there all are strict, but take schemas that are not so here
		strict = translator.Raw("false")
		if strictSchema(f.Schema) {
			strict = translator.Raw("true")
		}
	}
	e.str("name", name)
	e.raw("description", f.Description)
	e.raw("schema", f.Schema)
	e.raw("strict", strict)
	e.lit("}}")
}

// rest writes what has one place each.
func (e *encoder) rest() {
	r := e.r
	if r.User != "" {
		user := r.User
		if len(user) > 64 {
			user = digest(user)
		}
		e.str("user", user)
	}
	switch tier := r.ServiceTier; tier {
	case "":
	case "standard_only":
		e.str("service_tier", "default")
	default:
		e.str("service_tier", tier)
	}
	if r.CacheKey != "" {
		e.str("prompt_cache_key", r.CacheKey)
	}
	if r.CacheControl != nil {
		e.out.Drop("cache_control")
	}
	if r.Logprobs {
		e.lit(`,"logprobs":true`)
		e.raw("top_logprobs", r.TopLogprobs)
	}
	if r.Stream {
		e.lit(`,"stream":true,"stream_options":{"include_usage":true}`)
	}
}

var (
	// taken are the extras that the dialect has a place for, whoever sends them.
	taken = []string{"seed", "frequency_penalty", "presence_penalty", "logit_bias", "metadata", "prompt_cache_retention",
		"prompt_cache_options", "safety_identifier", "verbosity", "prediction", "moderation", "store"}
	penalties = []string{"frequency_penalty", "presence_penalty"}
	// refused are those that an answer's content depends on and that are lost in translation.
	refused = []struct{ name, message string }{
		{"n", "more than one answer is not offered by the translation to the upstream that serves this model; send n requests"},
		{"audio", "audio is not offered by the translation to the upstream that serves this model; leave it out"},
		{"modalities", "only text is offered by the translation to the upstream that serves this model; send [\"text\"]"},
		{"background", "is not offered by the upstream that serves this model; send the request without it and wait"},
		{"conversation", "conversations are not kept by the upstream that serves this model; send all messages as input"},
		{"previous_response_id", "answers are not kept by the upstream that serves this model; send all messages as input"},
		{"prompt", "stored prompts are not offered by the upstream that serves this model; send the prompt itself"},
		{"mcp_servers", "are not offered by the upstream that serves this model; declare their functions as tools"},
	}
)

// extras writes, drops or refuses the fields without a place in the hub. Those of a client of this very dialect are the
// upstream's business, save for what the way through the hub loses.
func (e *encoder) extras() {
	thinks := reasons(e.t.Model)
	for _, f := range e.r.Extras {
		if slices.Contains([]string{"null", "false", "[]", "{}"}, string(f.Value)) && f.Name != "metadata" {
			continue // not used
		}
		for _, no := range refused {
			if f.Name == no.name {
				e.fail(translator.Bad(f.Name, no.message))
			}
		}
		if f.Name == "web_search_options" && e.r.From != core.DialectOpenAIChat {
			e.fail(translator.Bad(f.Name, "web search is not offered by the upstream that serves this model; leave it out"))
		}
		switch {
		case thinks && slices.Contains(penalties, f.Name):
			e.out.Drop(f.Name)
		case e.r.From == core.DialectOpenAIChat || slices.Contains(taken, f.Name):
			e.b = rawjson.AppendString(append(e.b, ','), f.Name)
			e.b = append(append(e.b, ':'), f.Value...)
		default:
			e.out.Drop(f.Name)
		}
	}
}
