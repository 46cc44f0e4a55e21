package upstreamtest

import "strings"

// Block is one content block of a reply, in all of its forms: streamed and
// whole, for each API. A block that an API has no place for is left out there.
type Block struct {
	start  string   // content_block of content_block_start, JSON
	deltas []string // delta of each content_block_delta, JSON
	whole  string   // element of content in a whole message, JSON

	// For the OpenAI forms.
	form  form
	id    string
	name  string
	data  string     // encrypted reasoning, or an item as JSON
	parts [][]string // text by parts, which only reasoning has several of, and pieces
}

type form uint8

const (
	formNone          form = iota // left out
	formText                      // content
	formRefusal                   // refusal
	formReasoning                 // reasoning_content; an item with a summary for each part
	formReasoningText             // reasoning_content; an item with content
	formTool                      // a call of a function
	formCustomTool                // a call of a custom tool
	formItem                      // an output item of a response, given as JSON
)

// Text is a text block streamed as the given deltas.
func Text(deltas ...string) Block {
	b := Block{
		start:  `{"type":"text","text":""}`,
		deltas: make([]string, 0, len(deltas)),
		whole:  `{"type":"text","text":` + quote(strings.Join(deltas, "")) + `}`,
		form:   formText,
		parts:  [][]string{deltas},
	}
	for _, d := range deltas {
		b.deltas = append(b.deltas, `{"type":"text_delta","text":`+quote(d)+`}`)
	}
	return b
}

// RefusalText is the text with which an OpenAI model refuses; for [Anthropic]
// it is a text block.
func RefusalText(deltas ...string) Block {
	b := Text(deltas...)
	b.form = formRefusal
	return b
}

// Thinking is a thinking block streamed as the given deltas, with its
// signature in a signature_delta at the end. In Responses it is a reasoning
// item with one part of a summary and the signature as its encrypted content,
// in Chat Completions reasoning_content, as compatible services have it.
func Thinking(signature string, deltas ...string) Block {
	b := Block{
		start: `{"type":"thinking","thinking":"","signature":""}`,
		whole: `{"type":"thinking","thinking":` + quote(strings.Join(deltas, "")) + `,"signature":` + quote(signature) + `}`,
		form:  formReasoning,
		data:  signature,
		parts: [][]string{deltas},
	}
	for _, d := range deltas {
		b.deltas = append(b.deltas, `{"type":"thinking_delta","thinking":`+quote(d)+`}`)
	}
	b.deltas = append(b.deltas, `{"type":"signature_delta","signature":`+quote(signature)+`}`)
	return b
}

// Reasoning is [Thinking] whose texts are parts of a summary, each streamed in
// one piece. Without any, a response has the encrypted content alone.
func Reasoning(encrypted string, summaries ...string) Block {
	b := Thinking(encrypted, summaries...)
	b.parts = make([][]string, 0, len(summaries))
	for _, s := range summaries {
		b.parts = append(b.parts, []string{s})
	}
	return b
}

// ReasoningText is [Thinking] without a signature, which in Responses is not
// summed up: the item has reasoning_text for its content, as open models do.
func ReasoningText(deltas ...string) Block {
	b := Thinking("", deltas...)
	b.form = formReasoningText
	return b
}

// RedactedThinking is a redacted_thinking block with the given opaque data. It
// has no deltas. In Responses it is a reasoning item without a summary.
func RedactedThinking(data string) Block {
	b := RawBlock(`{"type":"redacted_thinking","data":` + quote(data) + `}`)
	b.form, b.data = formReasoning, data
	return b
}

// ToolUse is a tool_use block, to OpenAI a function call of that id. The
// fragments, joined, are the input as JSON text; each is one input_json_delta,
// after a first empty one as the API sends it. Without fragments the input is
// {}. Several blocks are parallel calls.
func ToolUse(id, name string, fragments ...string) Block {
	b := toolUse("tool_use", id, name, fragments)
	b.form, b.id, b.name, b.parts = formTool, id, name, [][]string{fragments}
	if len(fragments) == 0 {
		b.parts = [][]string{{"{}"}}
	}
	return b
}

// CustomToolUse is a call of a custom tool, whose input is text, streamed as
// the given deltas. For [Anthropic] it is a tool_use whose input is an object
// with the text as its member input.
func CustomToolUse(id, name string, deltas ...string) Block {
	b := toolUse("tool_use", id, name, []string{`{"input":` + quote(strings.Join(deltas, "")) + `}`})
	b.form, b.id, b.name, b.parts = formCustomTool, id, name, [][]string{deltas}
	return b
}

// RawItem is an output item of a response, given as a JSON object and sent
// whole. The other forms leave it out.
func RawItem(object string) Block {
	b := Text("")
	b.form, b.data = formItem, object
	return b
}

// ServerToolUse is a server_tool_use block, streamed like [ToolUse].
func ServerToolUse(id, name string, fragments ...string) Block {
	return toolUse("server_tool_use", id, name, fragments)
}

func toolUse(kind, id, name string, fragments []string) Block {
	head := `{"type":"` + kind + `","id":` + quote(id) + `,"name":` + quote(name) + `,"input":`
	input := strings.Join(fragments, "")
	if input == "" {
		input = "{}"
	}
	b := Block{
		start:  head + `{}}`,
		deltas: []string{`{"type":"input_json_delta","partial_json":""}`},
		whole:  head + input + `}`,
	}
	for _, f := range fragments {
		b.deltas = append(b.deltas, `{"type":"input_json_delta","partial_json":`+quote(f)+`}`)
	}
	return b
}

// WebSearchResult is a web_search_tool_result block with one hit, answering
// the [ServerToolUse] of the given id.
func WebSearchResult(toolUseID, title, url string) Block {
	return RawBlock(`{"type":"web_search_tool_result","tool_use_id":` + quote(toolUseID) +
		`,"content":[{"type":"web_search_result","title":` + quote(title) + `,"url":` + quote(url) +
		`,"encrypted_content":"EqgfCioIARgBIiQ3YTAwMjY1Mi","page_age":null}]}`)
}

// RawBlock is a block without deltas, given as the JSON object that stands
// both in content_block_start and in a whole message.
func RawBlock(object string) Block {
	return Block{start: object, whole: object}
}

// CustomBlock is a block given as JSON objects: the one of
// content_block_start, the one of a whole message, and each delta.
func CustomBlock(start, whole string, deltas ...string) Block {
	return Block{start: start, whole: whole, deltas: append([]string(nil), deltas...)}
}
