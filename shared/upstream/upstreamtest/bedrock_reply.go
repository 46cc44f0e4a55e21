package upstreamtest

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream/eventstreamapi"
)

// ChunkFrame returns a frame of InvokeModelWithResponseStream around an event of
// Messages, a JSON object, for [Behaviour.Inject] and [Raw].
func ChunkFrame(object string) string { return chunkFrame(object, 12) }

// CorruptFrame returns the frame with its last byte, which is of the checksum,
// changed.
func CorruptFrame(frame string) string {
	b := []byte(frame)
	b[len(b)-1] ^= 0xff
	return string(b)
}

// padding is what the service adds to each event, so that lengths tell nothing
// about the text: the first n characters of this alphabet.
const padding = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

func pad(n int) string { return padding[:n%len(padding)+1] }

func chunkFrame(object string, n int) string {
	return bedrockFrame("chunk", `{"bytes":"`+base64.StdEncoding.EncodeToString([]byte(object))+`","p":"`+pad(n)+`"}`)
}

// bedrockFrame has the headers in the order of the service.
func bedrockFrame(event, payload string) string {
	return FrameOf(payload, eventstreamapi.EventTypeHeader, event, eventstreamapi.ContentTypeHeader, "application/json",
		eventstreamapi.MessageTypeHeader, eventstreamapi.EventMessageType)
}

// compileBedrock lays out an answer of Bedrock.
func (s *spec) compileBedrock(p *plan, b *builder, v variant) {
	settings := s.settings
	settings.noPing = true
	b.s = &settings
	switch v {
	case variantMessages:
		b.frame = func(f *fault) []byte {
			_, errType, message := f.messages()
			return renderEvent("error", string(appendError(nil, errType, message, "")))
		}
		s.compileReply(p, b)
	case variantInvoke:
		b.frame = func(f *fault) []byte { return []byte(f.bedrock().exceptionFrame()) }
		b.wrap = chunker(s.bedrockUsage().invocationMetrics())
		s.compileReply(p, b)
	default:
		b.frame = func(f *fault) []byte { return []byte(f.bedrock().exceptionFrame()) }
		// Frames have no lines to end otherwise.
		b.wrap = func(event []byte) []byte { return event }
		s.compileConverse(p, b)
	}
}

// chunker puts events into chunk frames, the last one with the metrics. What is
// no event in text, such as an injected frame, stays as it is.
func chunker(metrics string) func(event []byte) []byte {
	n := 0
	return func(event []byte) []byte {
		var out []byte
		for rest := event; len(rest) > 0; {
			i := bytes.Index(rest, []byte("data: "))
			if i < 0 || rest[0] == 0 {
				return append(out, rest...)
			}
			object, after, _ := strings.Cut(string(rest[i+len("data: "):]), "\n")
			if object == `{"type":"message_stop"}` {
				object = `{"type":"message_stop","amazon-bedrock-invocationMetrics":` + metrics + `}`
			}
			n += 7
			out = append(out, chunkFrame(object, n)...)
			rest = []byte(strings.TrimPrefix(after, "\n"))
		}
		return out
	}
}

// bedrockUsage is the usage of a reply or the default one.
func (s *spec) bedrockUsage() Usage {
	if s.usageGiven {
		return s.usage
	}
	deltas := 0
	for _, blk := range s.blocks {
		deltas += len(blk.deltas)
	}
	return Usage{Input: 10, Output: max(deltas, 1)}
}

func (u Usage) invocationMetrics() string {
	n := strconv.Itoa
	return `{"inputTokenCount":` + n(u.Input) + `,"outputTokenCount":` + n(u.Output) + `,"invocationLatency":1234,"firstByteLatency":345,"cacheReadInputTokenCount":` +
		n(u.CacheRead) + `,"cacheWriteInputTokenCount":` + n(u.CacheWrite5m+u.CacheWrite1h) + `}`
}

// converse is the usage in Converse's form, cacheDetails with the longer
// time-to-live first.
func (u Usage) converse() string {
	n := strconv.Itoa
	var details []string
	for _, d := range []struct {
		tokens int
		ttl    string
	}{{u.CacheWrite1h, "1h"}, {u.CacheWrite5m, "5m"}} {
		if d.tokens > 0 {
			details = append(details, `{"inputTokens":`+n(d.tokens)+`,"ttl":"`+d.ttl+`"}`)
		}
	}
	writes := u.CacheWrite5m + u.CacheWrite1h
	return `{"cacheDetails":[` + strings.Join(details, ",") + `],"cacheReadInputTokens":` + n(u.CacheRead) + `,"cacheWriteInputTokens":` + n(writes) +
		`,"inputTokens":` + n(u.Input) + `,"outputTokens":` + n(u.Output) + `,"totalTokens":` + n(u.Input+u.CacheRead+writes+u.Output) + `}`
}

// cBuilder lays out an answer of Converse.
type cBuilder struct {
	*builder
	index int
	n     int // of events, for the padding
	whole []string
}

func (s *spec) compileConverse(p *plan, b *builder) {
	c := &cBuilder{builder: b}
	c.at(AfterHeaders)
	c.send("messageStart", `"role":"assistant"`)
	c.at(AfterStart)
	for _, blk := range s.blocks {
		c.block(blk)
	}
	c.from(c.seen + 1)
	stop := s.converseStop()
	c.send("messageStop", `"stopReason":`+quote(stop))
	c.at(BeforeStop)
	usage := s.bedrockUsage().converse()
	if !s.noUsage {
		c.send("metadata", `"metrics":{"latencyMs":1234},"usage":`+usage)
	}
	c.at(AfterStop)
	c.flushInside()
	p.wholeEnd = []byte(`{"metrics":{"latencyMs":1234},"output":{"message":{"content":[` + strings.Join(c.whole, ",") +
		`],"role":"assistant"}},"stopReason":` + quote(stop) + `,"usage":` + usage + `}`)
}

// converseStop is the stop reason in the words of Converse.
func (s *spec) converseStop() string {
	switch s.stop {
	case "":
		if n := len(s.blocks); n > 0 && isTool(s.blocks[n-1]) {
			return "tool_use"
		}
		return "end_turn"
	case "refusal", "content_filter":
		return "content_filtered"
	case "stop":
		return "end_turn"
	case "length":
		return "max_tokens"
	case "tool_calls":
		return "tool_use"
	}
	return s.stop
}

// send adds a frame; the members are what it has beside the padding.
func (c *cBuilder) send(name, members string) {
	c.n += 7
	c.event(op{kind: opWrite, data: []byte(bedrockFrame(name, `{`+members+`,"p":"`+pad(c.n)+`"}`))})
}

func (c *cBuilder) delta(delta string) {
	if c.seen > 0 && c.s.every > 0 {
		c.add(op{kind: opPause, pause: c.s.every})
	}
	c.send("contentBlockDelta", `"contentBlockIndex":`+strconv.Itoa(c.index)+`,"delta":`+delta)
	c.seen++
	c.at(AfterDeltas(c.seen))
}

// block adds the frames of a block and its element in a whole answer. Only a
// tool use has a start.
func (c *cBuilder) block(blk Block) {
	switch blk.form {
	case formText, formRefusal:
		for _, text := range blk.parts[0] {
			c.delta(`{"text":` + quote(text) + `}`)
		}
		c.whole = append(c.whole, `{"text":`+quote(strings.Join(blk.parts[0], ""))+`}`)
	case formReasoning, formReasoningText:
		c.reasoning(blk)
	case formTool, formCustomTool:
		c.tool(blk)
	default:
		return
	}
	c.send("contentBlockStop", `"contentBlockIndex":`+strconv.Itoa(c.index))
	c.index++
}

func (c *cBuilder) reasoning(blk Block) {
	if len(blk.deltas) == 0 {
		redacted := `{"redactedContent":` + quote(blob(blk.data)) + `}`
		c.delta(`{"reasoningContent":` + redacted + `}`)
		c.whole = append(c.whole, `{"reasoningContent":`+redacted+`}`)
		return
	}
	var all strings.Builder
	for _, part := range blk.parts {
		for _, text := range part {
			c.delta(`{"reasoningContent":{"text":` + quote(text) + `}}`)
			all.WriteString(text)
		}
	}
	signature := ""
	if blk.data != "" {
		c.delta(`{"reasoningContent":{"signature":` + quote(blk.data) + `}}`)
		signature = `"signature":` + quote(blk.data) + `,`
	}
	c.whole = append(c.whole, `{"reasoningContent":{"reasoningText":{`+signature+`"text":`+quote(all.String())+`}}}`)
}

func (c *cBuilder) tool(blk Block) {
	head := `"name":` + quote(blk.name) + `,"toolUseId":` + quote(blk.id)
	fragments := blk.parts[0]
	if blk.form == formCustomTool {
		fragments = []string{`{"input":` + quote(strings.Join(fragments, "")) + `}`}
	}
	c.send("contentBlockStart", `"contentBlockIndex":`+strconv.Itoa(c.index)+`,"start":{"toolUse":{`+head+`}}`)
	input := strings.Join(fragments, "")
	if len(blk.deltas) == 1 { // no fragments but the empty one
		fragments = nil
	}
	for _, f := range fragments {
		c.delta(`{"toolUse":{"input":` + quote(f) + `}}`)
	}
	c.whole = append(c.whole, `{"toolUse":{"input":`+input+`,`+head+`}}`)
}

func (k *Bedrock) variant(x *exchange) variant {
	switch x.bedrock.op {
	case opInvoke:
		return variantInvoke
	case opConverse:
		return variantConverse
	}
	return variantMessages
}

func (k *Bedrock) setLimits(h http.Header) { h["X-Amzn-Bedrock-Invocation-Latency"] = []string{"1234"} }

// render is message_start, the only event that differs for each request.
func (k *Bedrock) render(x *exchange, p *plan, _ *op, crlf bool) []byte {
	const head = `{"type":"message_start","message":{"model":`
	object := k.appendHead(x, nil, head, bytes.TrimRight(p.startEnd, "\n"))
	if x.bedrock.op == opInvoke {
		return []byte(chunkFrame(string(object), int(k.nextID()%60)))
	}
	event := renderEvent("message_start", string(object))
	if crlf {
		event = toCRLF(event)
	}
	return event
}

// appendHead is what [exchange.appendHead] is, with Bedrock's kind of id.
func (k *Bedrock) appendHead(x *exchange, dst []byte, head string, tail []byte) []byte {
	model := x.fields.model
	if len(model) == 0 {
		model = []byte(`""`)
	}
	dst = append(append(append(dst, head...), model...), `,"id":"`...)
	return append(appendID(dst, "msg_bdrk_", k.nextID()), tail...)
}

func (k *Bedrock) body(x *exchange, p *plan) []byte {
	switch x.bedrock.op {
	case opMessages, opInvoke:
		return k.appendHead(x, x.buf[:0], `{"model":`, p.wholeEnd)
	case opConverse:
		return append(x.buf[:0], p.wholeEnd...)
	}
	return append(x.buf[:0], x.token...)
}
