package anthropic

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
	effort  string // output_config.effort; empty: absent
}

func (t thinking) on() bool { return t.typ == "adaptive" || t.typ == "enabled" }

const minBudget = 1024 // tokens, the least the API takes

// decideThinking makes thinking out of an effort, as the model has it.
func (e *encoder) decideThinking() {
	r := e.r
	effort := r.Effort
	if t := r.Thinking; t != nil && effort == "" {
		switch {
		case t.Type == "disabled":
			effort = "none"
		case e.f.adaptive():
			e.adaptive(t.Display)
			return
		default:
			e.enable(budgetOf(t), e.effortField())
			return
		}
	}
	switch {
	case effort == "":
	case effort == "none":
		if e.f.adaptive() { // the others do not think unless they are told to
			e.think.typ = "disabled"
		}
	case e.f.effort():
		if e.think.effort = effort; effort == "minimal" {
			e.think.effort = "low"
		}
		if e.f.adaptive() {
			display := ""
			if r.Summary != "" {
				display = "summarized"
			}
			e.adaptive(display)
		}
	default:
		e.enable(budgets[effort], e.effortField())
	}
}

// budgets are what models without effort get in its place.
var budgets = map[string]int64{"minimal": 2048, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 24_576, "max": 24_576}

func budgetOf(t *translator.Thinking) int64 {
	if f, ok := number(t.Budget); ok && f >= minBudget {
		return int64(min(f, 1e15))
	}
	return budgets["medium"]
}

// effortField is the client's name of what asks for thinking.
func (e *encoder) effortField() string {
	switch {
	case e.r.From == core.DialectOpenAIResponses:
		return "reasoning"
	case e.r.From == core.DialectAnthropic || e.r.Effort == "":
		return "thinking"
	}
	return "reasoning_effort"
}

// adaptive asks for thinking, unless a tool must be called: the API refuses both together.
func (e *encoder) adaptive(display string) {
	if !e.forced() {
		e.think.typ, e.think.display = "adaptive", display
	}
}

// enable asks for thinking within a budget, where the model, the limit and the conversation allow it.
func (e *encoder) enable(budget int64, field string) {
	budget = min(budget, e.limit()-1)
	if !e.f.budgets() || budget < minBudget || e.forced() || !e.continues() {
		e.out.Drop(field)
		return
	}
	e.think.typ, e.think.budget = "enabled", budget
}

// continues reports whether thinking may be on: a turn that is answered with tool results must then begin with the
// thinking that led to the calls, which only this API's own models can have left.
func (e *encoder) continues() bool {
	n := len(e.turns)
	if n == 0 || !e.turns[n-1].results() {
		return true
	}
	if n == 1 {
		return false
	}
	first := e.turns[n-2].blocks[0]
	return first.Type == translator.BlockThinking || first.Type == translator.BlockRedacted
}

func (e *encoder) writeThinking() {
	t := e.think
	if t.typ == "" {
		return
	}
	e.b = append(e.b, `,"thinking":{"type":"`...)
	e.b = append(append(e.b, t.typ...), '"')
	if t.budget > 0 {
		e.b = strconv.AppendInt(member(e.b, "budget_tokens", nil), t.budget, 10)
	}
	if t.display != "" {
		e.b = stringMember(e.b, "display", t.display)
	}
	e.b = append(e.b, '}')
}

// outputConfig writes effort and the form of the answer.
func (e *encoder) outputConfig() {
	schema := e.schema()
	if e.think.effort == "" && schema == nil {
		return
	}
	e.b = append(e.b, `,"output_config":{`...)
	if e.think.effort != "" {
		e.b = rawjson.AppendString(append(e.b, `"effort":`...), e.think.effort)
		if schema != nil {
			e.b = append(e.b, ',')
		}
	}
	if schema != nil {
		e.b = append(e.b, `"format":{"type":"json_schema","schema":`...)
		e.b = append(append(e.b, schema...), '}')
	}
	e.b = append(e.b, '}')
}

// schema is that of the answer, nil when any text will do.
func (e *encoder) schema() translator.Raw {
	f := e.r.Format
	if f == nil {
		return nil
	}
	field := "response_format"
	switch e.r.From {
	case core.DialectOpenAIResponses:
		field = "text.format"
	case core.DialectAnthropic:
		field = "output_config.format"
	}
	switch {
	case f.Schema == nil:
		e.fail(translator.Place{}, field, "json_object is not offered by the upstream that serves this model; use json_schema with a schema")
	case !e.f.strict():
		e.fail(translator.Place{}, field, "this model does not offer structured output; name a newer model, or describe the form in the prompt")
	}
	return f.Schema
}
