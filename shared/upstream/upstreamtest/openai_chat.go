package upstreamtest

import (
	"strconv"
	"strings"
)

// PingComment is a comment as compatible services send it to keep a stream
// open; [Behaviour.Ping] sends it in the OpenAI forms.
const PingComment = ": ping\n\n"

// ChatDone is the end of a chat stream, for [Behaviour.Inject].
const ChatDone = "data: [DONE]\n\n"

// ChatErrorEvent returns an error of a chat stream as text, for
// [Behaviour.Inject]. The type may be a code.
func ChatErrorEvent(errType, message string) string {
	return Event("", (&fault{errType: errType, message: message}).openAI(false).line())
}

// chatBuilder lays out an answer of Chat Completions.
type chatBuilder struct {
	*builder
	usage     bool // asked for
	obfuscate bool
	tools     int
}

const (
	chatHead   = `{"id":"chatcmpl-` + slotID + `","object":"chat.completion`
	chatMiddle = `","created":` + slotCreated + `,"model":` + slotModel
	chatPrint  = `,"system_fingerprint":"fp_06737a9306"`
)

func (s *spec) compileChat(p *plan, b *builder, v variant) {
	c := chatBuilder{builder: b, usage: v&1 != 0 && !s.noUsage, obfuscate: v&2 != 0}
	b.broken = func(f *fault) string { return Event("", f.openAI(false).line()) }
	usage := s.openAIUsage().chat()
	c.stream(usage)
	p.parts = newTemplate(s.wholeChat(usage), false)
}

func (c *chatBuilder) stream(usage string) {
	s := c.s
	c.at(AfterHeaders)
	content := `""`
	if len(s.blocks) > 0 && s.blocks[0].form != formText {
		content = "null"
	}
	c.text(c.delta(`"role":"assistant","content":` + content + `,"refusal":null`))
	c.at(AfterStart)
	for _, blk := range s.blocks {
		c.block(blk)
	}
	c.from(c.seen + 1)
	c.text(c.chunk(`{"index":0,"delta":{},"logprobs":null,"finish_reason":`+quote(s.finishReason())+`}`, "null", 0))
	if c.usage {
		c.text(c.chunk("", usage, 0))
	}
	c.at(BeforeStop)
	c.write([]byte(ChatDone))
	c.at(AfterStop)
	c.flushInside()
}

func (c *chatBuilder) block(blk Block) {
	member := ""
	switch blk.form {
	case formText:
		member = "content"
	case formRefusal:
		member = "refusal"
	case formReasoning, formReasoningText:
		member = "reasoning_content"
	case formTool, formCustomTool:
		c.tool(blk)
		return
	default:
		return
	}
	for _, part := range blk.parts {
		for _, text := range part {
			c.piece(c.delta(`"` + member + `":` + quote(text)))
		}
	}
}

// tool sends id and name first, then the arguments alone: the index is what
// ties them together.
func (c *chatBuilder) tool(blk Block) {
	head := `"tool_calls":[{"index":` + strconv.Itoa(c.tools)
	kind, member := toolKind(blk)
	c.tools++
	c.text(c.delta(head + `,"id":` + quote(blk.id) + `,"type":"` + kind + `","` + kind + `":{"name":` + quote(blk.name) + `,"` + member + `":""}}]`))
	for _, text := range blk.parts[0] {
		c.piece(c.delta(head + `,"` + kind + `":{"` + member + `":` + quote(text) + `}}]`))
	}
}

func toolKind(blk Block) (kind, member string) {
	if blk.form == formCustomTool {
		return "custom", "input"
	}
	return "function", "arguments"
}

func (c *chatBuilder) delta(members string) string {
	return c.chunk(`{"index":0,"delta":{`+members+`},"logprobs":null,"finish_reason":null}`, "null", len(members))
}

func (c *chatBuilder) chunk(choices, usage string, size int) string {
	text := "data: " + chatHead + ".chunk" + chatMiddle + `,"service_tier":` + quote(c.s.tier()) + chatPrint + `,"choices":[` + choices + `]`
	if c.usage {
		text += `,"usage":` + usage
	}
	if c.obfuscate {
		text += obfuscation(size)
	}
	return text + "}\n\n"
}

// obfuscation is a member that hides the size of a delta, as the API adds it
// unless stream_options.include_obfuscation is false.
func obfuscation(size int) string {
	return `,"obfuscation":"` + string(appendID(nil, "", uint64(size))[2:18-size%16]) + `"`
}

func (s *settings) wholeChat(usage string) string {
	var content, refusal, reasoning, tools strings.Builder
	for _, blk := range s.blocks {
		to := &content
		switch blk.form {
		case formText:
		case formRefusal:
			to = &refusal
		case formReasoning, formReasoningText:
			to = &reasoning
		case formTool, formCustomTool:
			kind, member := toolKind(blk)
			if tools.Len() > 0 {
				tools.WriteByte(',')
			}
			tools.WriteString(`{"id":` + quote(blk.id) + `,"type":"` + kind + `","` + kind + `":{"name":` + quote(blk.name) +
				`,"` + member + `":` + quote(strings.Join(blk.parts[0], "")) + `}}`)
			continue
		default:
			continue
		}
		for _, part := range blk.parts {
			to.WriteString(strings.Join(part, ""))
		}
	}
	text := chatHead + chatMiddle + `,"choices":[{"index":0,"message":{"role":"assistant","content":` + nullable(content.String())
	if reasoning.Len() > 0 {
		text += `,"reasoning_content":` + quote(reasoning.String())
	}
	if tools.Len() > 0 {
		text += `,"tool_calls":[` + tools.String() + `]`
	}
	text += `,"refusal":` + nullable(refusal.String()) + `,"annotations":[]},"logprobs":null,"finish_reason":` + quote(s.finishReason()) + `}]`
	if !s.noUsage {
		text += `,"usage":` + usage
	}
	return text + `,"service_tier":` + quote(s.tier()) + chatPrint + `}`
}

// finishReason takes Anthropic's names for it too.
func (s *settings) finishReason() string {
	switch s.stop {
	case "":
		for _, blk := range s.blocks {
			if blk.form == formTool || blk.form == formCustomTool {
				return "tool_calls"
			}
		}
		return "stop"
	case "end_turn", "stop_sequence", "pause_turn":
		return "stop"
	case "max_tokens", "model_context_window_exceeded":
		return "length"
	case "tool_use":
		return "tool_calls"
	case "refusal":
		return "content_filter"
	}
	return s.stop
}

func (s *settings) tier() string {
	if t := s.usage.ServiceTier; t != "" {
		return t
	}
	return "default"
}

// openAIUsage is the usage with its default: 10 tokens in, one out for each
// piece.
func (s *settings) openAIUsage() Usage {
	if s.usageGiven {
		return s.usage
	}
	pieces := 0
	for _, blk := range s.blocks {
		for _, part := range blk.parts {
			pieces += len(part)
		}
	}
	return Usage{Input: 10, Output: max(pieces, 1)}
}

// input is all of the input: unlike Anthropic, OpenAI counts cached tokens in.
func (u Usage) input() int { return u.Input + u.CacheRead + u.CacheWrite5m + u.CacheWrite1h }

func (u Usage) chat() string {
	n := strconv.Itoa
	return `{"prompt_tokens":` + n(u.input()) + `,"completion_tokens":` + n(u.Output) + `,"total_tokens":` + n(u.input()+u.Output) +
		`,"prompt_tokens_details":{"cached_tokens":` + n(u.CacheRead) + `,"cache_write_tokens":` + n(u.CacheWrite5m+u.CacheWrite1h) +
		`,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":` + n(u.Thinking) +
		`,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`
}

func (u Usage) responses() string {
	n := strconv.Itoa
	return `{"input_tokens":` + n(u.input()) + `,"input_tokens_details":{"cached_tokens":` + n(u.CacheRead) +
		`,"cache_write_tokens":` + n(u.CacheWrite5m+u.CacheWrite1h) + `},"output_tokens":` + n(u.Output) +
		`,"output_tokens_details":{"reasoning_tokens":` + n(u.Thinking) + `},"total_tokens":` + n(u.input()+u.Output) + `}`
}
