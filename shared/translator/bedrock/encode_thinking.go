package bedrock

import (
	"strconv"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// thinking is what a request says of it.
type thinking struct {
	typ     string // adaptive, enabled, disabled; empty: nothing is said
	budget  int64  // of enabled
	display string
	effort  string // outputConfig.effort; empty: absent
}

func (t thinking) on() bool { return t.typ == "adaptive" || t.typ == "enabled" }

const minBudget = 1024 // tokens, the least a Claude takes

// budgets are what models without effort get in its place.
var budgets = map[string]int64{"minimal": 2048, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 24_576, "max": 24_576}

// decideThinking makes thinking out of what was asked for, as the model has it. Converse has no setting of its own for it, and
// those of models other than Claude are by a schema of each.
func (e *encoder) decideThinking() {
	r := e.r
	asked := r.Thinking != nil && r.Thinking.Type != "disabled"
	effort := r.Effort
	if r.Thinking != nil && !asked && effort == "" {
		effort = "none"
	}
	if asked && e.f.claude && r.Thinking.Type != "adaptive" && r.Thinking.Type != "enabled" {
		e.out.Drop("thinking") // between_tools, say, of which is known no more than that newer models take it: what is sent is another
	}
	switch {
	case !e.f.claude:
		if asked || effort != "" && effort != "none" {
			e.out.Drop(e.thinkingField())
		}
	case asked && effort == "" && e.f.adaptive():
		e.adaptive(r.Thinking.Display)
	case asked && effort == "":
		e.enable(budgetOf(r.Thinking))
	case effort == "":
	case effort == "none":
		e.disable()
	case e.f.effort():
		e.withEffort(effort, asked)
	case asked:
		e.enable(budgetOf(r.Thinking))
	case r.From == core.DialectAnthropic: // an effort of words alone, which the model does not have
		e.out.Drop(e.thinkingField())
	default:
		e.enable(budgets[effort])
	}
}

// disable asks for no thinking, where the model thinks without being told to.
func (e *encoder) disable() {
	if e.f.adaptive() {
		e.think.typ = "disabled"
	}
}

func (e *encoder) withEffort(effort string, asked bool) {
	switch e.think.effort = effort; {
	case effort == "minimal":
		e.think.effort = "low"
	case effort != "low" && effort != "medium" && effort != "high" && !e.f.atLeast(4, 6): // what a request without it has is high
		e.think.effort = ""
		e.out.Drop(e.name("output_config.effort", "reasoning_effort", "reasoning"))
	}
	t := e.r.Thinking
	switch {
	case t != nil && !asked:
		e.disable()
	case t != nil && e.f.adaptive():
		e.adaptive(t.Display)
	case t != nil:
		e.enable(budgetOf(t))
	case e.f.adaptive() && e.r.From != core.DialectAnthropic:
		display := ""
		if e.r.Summary != "" {
			display = "summarized"
		}
		e.adaptive(display)
	}
}

func budgetOf(t *translator.Thinking) int64 {
	if f, ok := number(t.Budget); ok && f >= minBudget {
		return int64(min(f, 1e15))
	}
	return budgets["medium"]
}

// thinkingField is the client's name of what asks for thinking.
func (e *encoder) thinkingField() string {
	switch {
	case e.r.From == core.DialectOpenAIResponses:
		return "reasoning"
	case e.r.Thinking == nil && e.r.From == core.DialectAnthropic:
		return "output_config"
	case e.r.From == core.DialectAnthropic || e.r.Effort == "":
		return "thinking"
	}
	return "reasoning_effort"
}

// adaptive asks for thinking, unless a tool must be called: the model refuses both together.
func (e *encoder) adaptive(display string) {
	switch {
	case !e.forced():
		e.think.typ, e.think.display = "adaptive", display
	case e.r.Thinking != nil: // else it was an effort that was asked for, and is sent
		e.out.Drop("thinking")
	}
}

// enable asks for thinking within a budget, where the model, the limit and the conversation allow it.
func (e *encoder) enable(budget int64) {
	budget = min(budget, e.limit()-1)
	if !e.f.budgets() || budget < minBudget || e.forced() || !e.continues() {
		e.out.Drop(e.thinkingField())
		return
	}
	e.think.typ, e.think.budget = "enabled", budget
}

// continues reports whether thinking may be on: a turn that is answered with tool results must then begin with the thinking
// that led to the calls, which only Anthropic's models can have left.
func (e *encoder) continues() bool {
	n := len(e.turns)
	if n == 0 || !e.turns[n-1].results() {
		return true
	}
	if n == 1 {
		return false
	}
	first := e.turns[n-2].items[0].block
	return first.Type == translator.BlockThinking || first.Type == translator.BlockRedacted
}

// additional writes additionalModelRequestFields, by the model's own schema: thinking, top_k and whether calls may come
// together, and asks for the stop sequence that ended the answer, which Converse does not tell by itself.
func (e *encoder) additional() {
	var fields []byte
	field := func(text string) {
		if len(fields) > 0 {
			fields = append(fields, ',')
		}
		fields = append(fields, text...)
	}
	if t := e.think; t.typ != "" {
		field(`"thinking":{"type":"` + t.typ + `"`)
		if t.budget > 0 {
			fields = strconv.AppendInt(append(fields, `,"budget_tokens":`...), t.budget, 10)
		}
		if t.display != "" {
			fields = rawjson.AppendString(append(fields, `,"display":`...), t.display)
		}
		fields = append(fields, '}')
	}
	switch k := e.r.TopK; {
	case len(k) == 0 || e.think.on():
	case e.f.claude:
		field(`"top_k":` + string(k))
	case e.f.nova: // docs.aws.amazon.com/nova/latest/userguide/complete-request-schema.html
		field(`"inferenceConfig":{"topK":` + string(k) + `}`)
	default:
		e.out.Drop("top_k")
	}
	if c := e.r.ToolChoice; c != nil && c.NoParallel && len(e.tools) > 0 {
		if e.f.claude && c.Type == translator.ChoiceAuto { // as LiteLLM's converse_transformation.py does
			field(`"tool_choice":{"type":"auto","disable_parallel_tool_use":true}`)
		} else {
			e.out.Drop(e.name("tool_choice.disable_parallel_tool_use", "parallel_tool_calls", "parallel_tool_calls"))
		}
	}
	if len(fields) > 0 {
		e.member(`"additionalModelRequestFields":{`)
		e.b = append(append(e.b, fields...), '}')
	}
	if e.stops && e.f.claude {
		e.member(`"additionalModelResponseFieldPaths":["/stop_sequence"]`)
	}
}

// outputConfig writes effort and the form of the answer. Source: API_runtime_OutputConfig; the schema travels as text.
func (e *encoder) outputConfig() {
	schema := e.schema()
	if e.think.effort == "" && schema == nil {
		return
	}
	e.member(`"outputConfig":{`)
	if e.think.effort != "" {
		e.lit(`"effort":`)
		e.b = rawjson.AppendString(e.b, e.think.effort)
		if schema != nil {
			e.lit(",")
		}
	}
	if schema != nil {
		f := e.r.Format
		e.lit(`"textFormat":{"type":"json_schema","structure":{"jsonSchema":{"schema":`)
		e.b = append(e.b, translator.TextOf(schema)...)
		if f.Name != "" {
			e.lit(`,"name":`)
			e.b = rawjson.AppendString(e.b, f.Name)
		}
		if !f.Description.IsEmpty() {
			e.lit(`,"description":`)
			e.b = append(e.b, f.Description...)
		}
		e.lit(`}}}`)
	}
	e.lit("}")
}

// schema is that of the answer, nil when any text will do. Which models other than Claude take one is the service's to say.
func (e *encoder) schema() translator.Raw {
	f := e.r.Format
	if f == nil {
		return nil
	}
	field := e.name("output_config.format", "response_format", "text.format")
	switch {
	case f.Schema == nil:
		e.fail(translator.Place{}, field, "json_object is not offered by the upstream that serves this model; use json_schema with a schema")
	case e.f.claude && !e.f.strict():
		e.fail(translator.Place{}, field, "this model does not offer structured output; name a newer model, or describe the form in the prompt")
	}
	return f.Schema
}
