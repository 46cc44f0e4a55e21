package upstreamtest

import (
	"fmt"
	"strconv"
	"strings"
)

// ResponsesErrorEvent returns the error event of a response stream that stands
// alone, as text for [Behaviour.Inject]. [Behaviour.ErrorAt] sends
// response.failed instead once the response has been created.
func ResponsesErrorEvent(code, message string, sequence int) string {
	return Event("error", `{"type":"error","sequence_number":`+strconv.Itoa(sequence)+`,"code":`+nullable(code)+`,"message":`+quote(message)+`,"param":null}`)
}

// responseBuilder lays out an answer of Responses.
type responseBuilder struct {
	*builder
	encrypted bool // reasoning.encrypted_content was asked for
	obfuscate bool
	sequence  int
	created   bool
	output    []string // the items so far
}

func (s *spec) compileResponse(p *plan, b *builder, v variant) {
	r := &responseBuilder{builder: b, encrypted: v&1 != 0, obfuscate: v&2 != 0}
	b.broken = r.failed
	status, reason := s.responseStatus()
	r.at(AfterHeaders)
	r.send("response.created", `,"response":`+r.response("in_progress", "", "", "null"))
	r.created = true
	r.send("response.in_progress", `,"response":`+r.response("in_progress", "", "", "null"))
	r.at(AfterStart)
	for i, blk := range s.blocks {
		itemStatus := "completed"
		if i == len(s.blocks)-1 {
			itemStatus = status
		}
		r.item(blk, itemStatus)
	}
	r.from(r.seen + 1)
	r.at(BeforeStop)
	usage := "null"
	if !s.noUsage {
		usage = s.openAIUsage().responses()
	}
	whole := r.response(status, reason, "", usage)
	r.send("response."+status, `,"response":`+whole)
	r.at(AfterStop)
	r.flushInside()
	p.parts = newTemplate(whole, false)
}

// failed ends a stream: an event of its own before there is a response, which
// is then what has failed.
func (r *responseBuilder) failed(f *fault) string {
	e := f.openAI(true)
	if !r.created {
		return ResponsesErrorEvent(e.name(), e.message, r.sequence)
	}
	return r.event("response.failed", `,"response":`+r.response("failed", "", `{"code":`+quote(e.name())+`,"message":`+quote(e.message)+`}`, "null"))
}

func (r *responseBuilder) event(name, members string) string {
	text := Event(name, `{"type":"`+name+`","sequence_number":`+strconv.Itoa(r.sequence)+members+`}`)
	r.sequence++
	return text
}

func (r *responseBuilder) send(name, members string) { r.text(r.event(name, members)) }

// response is the response object.
func (r *responseBuilder) response(status, incomplete, fault, usage string) string {
	completed, output := "null", "[]"
	switch status {
	case "completed":
		completed = slotCreated
		fallthrough
	case "incomplete":
		output = "[" + strings.Join(r.output, ",") + "]"
	}
	if fault == "" {
		fault = "null"
	}
	details := "null"
	if incomplete != "" {
		details = `{"reason":` + quote(incomplete) + `}`
	}
	return `{"id":"resp_` + slotID + `","object":"response","created_at":` + slotCreated + `,"status":"` + status +
		`","background":false,"completed_at":` + completed + `,"error":` + fault + `,"incomplete_details":` + details + `,` + slotEcho +
		`"model":` + slotModel + `,"output":` + output + `,"service_tier":` + quote(r.s.tier()) + `,"usage":` + usage + `}`
}

// responseStatus is the state at the end and, of an incomplete response, why.
func (s *settings) responseStatus() (status, reason string) {
	switch s.finishReason() {
	case "length", "max_output_tokens":
		return "incomplete", "max_output_tokens"
	case "content_filter":
		return "incomplete", "content_filter"
	}
	return "completed", ""
}

func (r *responseBuilder) item(blk Block, status string) {
	switch blk.form {
	case formText:
		r.message(blk, status, textPart{"output_text", "text", `,"annotations":[],"logprobs":[]`, `,"logprobs":[]`})
	case formRefusal:
		r.message(blk, status, textPart{"refusal", "refusal", "", ""})
	case formReasoning:
		r.reasoning(blk)
	case formReasoningText:
		r.reasoningText(blk)
	case formTool:
		r.call(blk, status, "function_call", "fc_", "arguments", "response.function_call_arguments")
	case formCustomTool:
		r.call(blk, status, "custom_tool_call", "ctc_", "input", "response.custom_tool_call_input")
	case formItem:
		r.open(blk.data)
		r.shut(blk.data)
	}
}

// id is that of the item under way, new for each request.
func (r *responseBuilder) id(prefix string) string {
	return fmt.Sprintf("%s%s%02d", prefix, slotID, len(r.output))
}

// place is what ties an event to the item under way.
func (r *responseBuilder) place(id string) string {
	return `,"item_id":"` + id + `","output_index":` + strconv.Itoa(len(r.output))
}

func (r *responseBuilder) open(item string) {
	r.send("response.output_item.added", `,"output_index":`+strconv.Itoa(len(r.output))+`,"item":`+item)
}

func (r *responseBuilder) shut(item string) {
	r.send("response.output_item.done", `,"output_index":`+strconv.Itoa(len(r.output))+`,"item":`+item)
	r.output = append(r.output, item)
}

// deltas sends the pieces of a text and then all of it.
func (r *responseBuilder) deltas(event, place, member, extra string, pieces []string) {
	for _, text := range pieces {
		members := place + `,"delta":` + quote(text) + extra
		if r.obfuscate {
			members += obfuscation(len(text))
		}
		r.piece(r.event(event+".delta", members))
	}
	r.send(event+".done", place+`,"`+member+`":`+quote(strings.Join(pieces, ""))+extra)
}

// textPart says what a part of a message or of reasoning is called.
type textPart struct {
	kind, member string
	more         string // members of the part
	extra        string // members of its events
}

func (t textPart) with(text string) string {
	return `{"type":"` + t.kind + `"` + t.more + `,"` + t.member + `":` + quote(text) + `}`
}

func (r *responseBuilder) part(t textPart, id string, pieces []string) string {
	place := r.place(id) + `,"content_index":0`
	whole := t.with(strings.Join(pieces, ""))
	r.send("response.content_part.added", place+`,"part":`+t.with(""))
	r.deltas("response."+t.kind, place, t.member, t.extra, pieces)
	r.send("response.content_part.done", place+`,"part":`+whole)
	return whole
}

func (r *responseBuilder) message(blk Block, status string, t textPart) {
	id := r.id("msg_")
	item := func(status, content string) string {
		return `{"id":"` + id + `","type":"message","status":"` + status + `","content":[` + content + `],"role":"assistant"}`
	}
	r.open(item("in_progress", ""))
	r.shut(item(status, r.part(t, id, blk.parts[0])))
}

func (r *responseBuilder) call(blk Block, status, kind, prefix, member, event string) {
	id := r.id(prefix)
	item := func(status, input string) string {
		return `{"id":"` + id + `","type":"` + kind + `","status":"` + status + `","` + member + `":` + quote(input) +
			`,"call_id":` + quote(blk.id) + `,"name":` + quote(blk.name) + `}`
	}
	r.open(item("in_progress", ""))
	r.deltas(event, r.place(id), member, "", blk.parts[0])
	r.shut(item(status, strings.Join(blk.parts[0], "")))
}

func (r *responseBuilder) reasoning(blk Block) {
	id := r.id("rs_")
	item := func(summary, secret string) string {
		text := `{"id":"` + id + `","type":"reasoning","summary":[` + summary + `]`
		if r.encrypted && blk.data != "" {
			text += `,"encrypted_content":` + quote(secret)
		}
		return text + `}`
	}
	r.open(item("", blk.data[:len(blk.data)/2])) // only the item that is done counts
	var parts []string
	for i, pieces := range blk.parts {
		t := textPart{kind: "summary_text", member: "text"}
		place := r.place(id) + `,"summary_index":` + strconv.Itoa(i)
		whole := t.with(strings.Join(pieces, ""))
		r.send("response.reasoning_summary_part.added", place+`,"part":`+t.with(""))
		r.deltas("response.reasoning_summary_text", place, "text", "", pieces)
		r.send("response.reasoning_summary_part.done", place+`,"part":`+whole)
		parts = append(parts, whole)
	}
	r.shut(item(strings.Join(parts, ","), blk.data))
}

func (r *responseBuilder) reasoningText(blk Block) {
	id := r.id("rs_")
	head := `{"id":"` + id + `","type":"reasoning","summary":[]`
	r.open(head + `}`)
	part := r.part(textPart{kind: "reasoning_text", member: "text"}, id, blk.parts[0])
	r.shut(head + `,"content":[` + part + `]}`)
}
