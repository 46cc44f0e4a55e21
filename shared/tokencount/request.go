package tokencount

import (
	"bytes"

	"sluice/shared/rawjson"
)

// What a request counts beyond its texts, in tokens. The first two are OpenAI's published counts for chat models (three tokens
// a message with its role as the fourth, three that open the answer); Anthropic's differ by one or two a message. The prompt
// that Anthropic puts before client tools, and its own tools, are as its documentation of tool use lists them for Claude 4.
const (
	messageTokens    = 4
	answerTokens     = 3
	toolTokens       = 8 // the frame around one definition: a guess
	toolPromptTokens = 346
	bashTokens       = 245
	editorTokens     = 700
	computerTokens   = 735
)

// Request estimates the input tokens of a request body: Anthropic Messages, OpenAI chat completions or Responses, told apart by
// nothing but their members. What the model reads is counted: system, instructions, messages, input, prompt, tools, functions and
// the schema of a structured answer. Names, arguments and schemas count as compact JSON; ids, signatures and cache marks do not
// count. An image counts by its size (see imageTokens), a PDF by its bytes, anything that is only referred to (url, file_id) as
// an average one.
//
// The error is rawjson's *SyntaxError where body is not one JSON object. A body of any other shape counts as what it holds: 3
// at least. It makes one allocation.
func Request(body []byte) (int, error) {
	w := walker{}
	err := rawjson.Members(body, func(key, v rawjson.Value) bool {
		name := key.Raw()
		w.doc, w.at = v.Raw(), 0
		switch string(name[1 : len(name)-1]) {
		case "messages", "input":
			w.list(v, messageTokens)
		case "system", "instructions", "prompt":
			w.content(nil)
		case "tools", "functions":
			w.list(v, toolTokens)
		case "response_format", "output_format", "output_config", "text":
			w.exact()
		}
		return true
	})
	if err != nil {
		return 0, err
	}
	if w.toolPrompt {
		w.add(toolPromptTokens)
	}
	w.add(answerTokens)
	return w.tokens(), nil
}

// walker counts the values of a document that has been checked: it trusts the grammar, and still stays within bounds.
type walker struct {
	counter
	doc        []byte
	at         int
	n          int // bytes waiting in buf
	media      int // files met so far, with their bytes
	refs       int // references to files met so far
	toolPrompt bool
	buf        [4096]byte // text whose escapes are resolved, not yet counted
}

func (w *walker) add(tokens int) { w.sum += tokens * one }

// list counts an array of messages or tools, each of which costs something by itself; anything else as content.
func (w *walker) list(v rawjson.Value, each int) {
	if v.Kind() != rawjson.Array {
		w.content(nil)
		return
	}
	w.at++
	for w.next(']') {
		w.add(each)
		w.content(nil)
	}
}

// next moves to the next element or member name and reports whether there is one before the closing bracket, which it passes.
func (w *walker) next(end byte) bool {
	for w.at < len(w.doc) {
		switch c := w.doc[w.at]; c {
		case ' ', '\t', '\n', '\r', ',':
			w.at++
		case end:
			w.at++
			return false
		default:
			return true
		}
	}
	return false
}

// content counts the value here, key being the raw text of its name: the texts in it and no syntax.
func (w *walker) content(key []byte) {
	if w.at >= len(w.doc) {
		return
	}
	switch w.doc[w.at] {
	case '"':
		if mayBeFile(key) {
			if w.file() {
				return
			}
			if string(key) != "data" {
				w.refs++
			}
		}
		w.text()
		w.flush()
	case '[':
		w.at++
		for w.next(']') {
			w.content(nil)
		}
	case '{':
		w.object(string(key) != "source") // whose type says how the file comes, not what it is
	default:
		w.scalar()
	}
}

// object counts a block, a message or a tool by its members, and by its type if that is to be trusted.
func (w *walker) object(typed bool) {
	var kind []byte
	media, refs := w.media, w.refs
	w.at++
	for w.next('}') {
		key := w.key()
		switch string(key) {
		case "type":
			if w.at < len(w.doc) && w.doc[w.at] == '"' {
				kind = w.raw()
				continue
			}
			w.skip()
		case "file_id", "file_url":
			w.refs++
			w.skip()
		case "role", "id", "tool_use_id", "tool_call_id", "call_id", "signature", "encrypted_content", "encrypted_index",
			"cache_control", "media_type", "detail", "status":
			w.skip()
		case "input_schema":
			w.toolPrompt = true
			w.exact()
		case "input", "parameters", "schema", "arguments":
			w.exact()
		default:
			w.content(key)
		}
	}
	if typed {
		w.typed(kind, w.media == media, w.refs != refs)
	}
}

// typed counts what a block's type says and its members did not: a file that is elsewhere, a tool that the service defines.
func (w *walker) typed(kind []byte, noMedia, referred bool) {
	switch string(kind) {
	case "image", "image_url", "input_image", "computer_screenshot":
		if noMedia {
			w.media++
			w.add(imageTokens)
		}
		return
	case "document", "file", "input_file":
		if noMedia && referred {
			w.media++
			w.add(documentTokens)
		}
		return
	}
	for _, t := range [...]struct {
		prefix string
		tokens int
	}{{"bash_2", bashTokens}, {"text_editor_2", editorTokens}, {"computer_2", computerTokens}} {
		if bytes.HasPrefix(kind, []byte(t.prefix)) {
			w.toolPrompt = true
			w.add(t.tokens)
		}
	}
}

// key reads a member name, as it is written, and moves to the value.
func (w *walker) key() []byte {
	k := w.raw()
	for w.at < len(w.doc) {
		switch w.doc[w.at] {
		case ' ', '\t', '\n', '\r', ':':
			w.at++
			continue
		}
		break
	}
	return k
}

// raw passes the string here and returns what is between its quotes.
func (w *walker) raw() []byte {
	from := min(w.at+1, len(w.doc))
	i := from
	for {
		i = plain(w.doc, i)
		if i >= len(w.doc) || w.doc[i] == '"' {
			w.at = min(i+1, len(w.doc))
			return w.doc[from:i]
		}
		i = min(i+2, len(w.doc))
	}
}

// scalar passes a number or a name such as true.
func (w *walker) scalar() []byte {
	from := w.at
	for w.at < len(w.doc) {
		switch w.doc[w.at] {
		case ' ', '\t', '\n', '\r', ',', ':', ']', '}', '[', '{', '"':
			if w.at == from {
				w.at++ // never in a checked document: go on all the same
			}
			return w.doc[from:w.at]
		}
		w.at++
	}
	return w.doc[from:]
}

// skip passes the value here.
func (w *walker) skip() { w.each(false) }

// exact counts the value here as it would be written without white space, a string as its text.
func (w *walker) exact() {
	if w.at < len(w.doc) && w.doc[w.at] == '"' {
		w.text()
	} else {
		w.each(true)
	}
	w.flush()
}

// each passes the value here token by token and keeps them to be counted if it is told to.
func (w *walker) each(keep bool) {
	depth := 0
	for w.at < len(w.doc) {
		c := w.doc[w.at]
		switch c {
		case ' ', '\t', '\n', '\r':
			w.at++
			continue
		case ',', ':':
			w.at++
		case '{', '[':
			depth++
			w.at++
		case '}', ']':
			depth--
			w.at++
		case '"':
			if keep {
				w.put('"')
				w.text()
			} else {
				w.raw()
			}
		default:
			if s := w.scalar(); keep {
				w.copy(s)
			}
			c = 0
		}
		if keep && c != 0 {
			w.put(c)
		}
		if depth <= 0 && c != ',' && c != ':' {
			return
		}
	}
}
