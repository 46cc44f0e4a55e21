package upstreamtest

import "strings"

// Block is one content block of a reply, in both of its forms: streamed and
// whole.
type Block struct {
	start  string   // content_block of content_block_start, JSON
	deltas []string // delta of each content_block_delta, JSON
	whole  string   // element of content in a whole message, JSON
}

// Text is a text block streamed as the given deltas.
func Text(deltas ...string) Block {
	b := Block{
		start:  `{"type":"text","text":""}`,
		deltas: make([]string, 0, len(deltas)),
		whole:  `{"type":"text","text":` + quote(strings.Join(deltas, "")) + `}`,
	}
	for _, d := range deltas {
		b.deltas = append(b.deltas, `{"type":"text_delta","text":`+quote(d)+`}`)
	}
	return b
}

// Thinking is a thinking block streamed as the given deltas, with its
// signature in a signature_delta at the end.
func Thinking(signature string, deltas ...string) Block {
	b := Block{
		start: `{"type":"thinking","thinking":"","signature":""}`,
		whole: `{"type":"thinking","thinking":` + quote(strings.Join(deltas, "")) + `,"signature":` + quote(signature) + `}`,
	}
	for _, d := range deltas {
		b.deltas = append(b.deltas, `{"type":"thinking_delta","thinking":`+quote(d)+`}`)
	}
	b.deltas = append(b.deltas, `{"type":"signature_delta","signature":`+quote(signature)+`}`)
	return b
}

// RedactedThinking is a redacted_thinking block with the given opaque data. It
// has no deltas.
func RedactedThinking(data string) Block {
	return RawBlock(`{"type":"redacted_thinking","data":` + quote(data) + `}`)
}

// ToolUse is a tool_use block. The fragments, joined, are the input as JSON
// text; each is one input_json_delta, after a first empty one as the API sends
// it. Without fragments the input is {}.
func ToolUse(id, name string, fragments ...string) Block {
	return toolUse("tool_use", id, name, fragments)
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
