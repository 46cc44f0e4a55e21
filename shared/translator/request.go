package translator

import (
	"strconv"

	"sluice/shared/core"
)

// Request is one request in the hub's form.
type Request struct {
	From   core.Dialect // of the client
	Model  string       // as the client named it
	Stream bool

	System     []Block // text blocks before the conversation
	Messages   []Message
	Tools      []Tool
	ToolChoice *ToolChoice // nil: absent

	MaxTokens   Raw // a number; null never gets here
	Stop        []string
	Temperature Raw // numbers
	TopP        Raw
	TopK        Raw

	Thinking *Thinking // nil: absent
	Effort   string    // none, minimal, low, medium, high, xhigh, max; empty: absent
	Summary  string    // of reasoning, as the Responses API asks for it: auto, concise, detailed; empty: absent
	Format   *Format   // nil: text

	User         string // opaque id of the end user; empty: absent
	ServiceTier  string // auto, standard_only, or a name of OpenAI's (default, flex, priority, scale); empty: absent
	CacheControl Raw    // mark on the whole prompt, Anthropic's form
	CacheKey     string // prompt_cache_key

	Logprobs     bool // OpenAI's; both must be false for other targets
	TopLogprobs  Raw
	IncludeUsage bool // chat: the client wants the usage chunk
	Legacy       bool // chat: the client used functions in place of tools, and is answered with function_call

	// Extras are the other fields of the body that have a value which matters, in its order. Encoders take, drop or
	// refuse them by name. The names are the client's, except that fields which chat and responses share bear chat's.
	Extras []Field

	// Echo are the fields that a Responses answer repeats.
	Echo []Field
}

// Bounds of a request, far beyond what any upstream takes. A block of the hub is many times larger than the few bytes that
// a hostile body needs for one, and tools are looked up one by one.
const (
	MaxTools  = 10_000  // and names of tools in a choice
	MaxPieces = 100_000 // messages, blocks, citations and unknown members together
)

// Messages about bodies beyond the bounds.
const (
	TooManyTools  = "has more than 10,000 tools, which no upstream takes; send those that this request needs"
	TooManyPieces = "has more than 100,000 parts, which no upstream takes; send a shorter conversation"
)

// Forget drops all that an answer does not need, and with it the views of the body that the request was decoded from:
// what is left are names and types of tools, settings of the answer, and Echo.
func (r *Request) Forget() {
	keep := Request{From: r.From, Model: r.Model, Stream: r.Stream, Logprobs: r.Logprobs, IncludeUsage: r.IncludeUsage, Legacy: r.Legacy,
		Tools: make([]Tool, len(r.Tools)), Echo: make([]Field, len(r.Echo))}
	for i := range r.Tools {
		t := &r.Tools[i]
		keep.Tools[i] = Tool{Type: t.Type, Name: t.Name, Original: t.Original, Namespace: t.Namespace, Kind: t.Kind}
	}
	for i, f := range r.Echo {
		keep.Echo[i] = Field{Name: f.Name, Value: clone(f.Value)}
	}
	*r = keep
}

// Field is a member of a JSON object.
type Field struct {
	Name  string
	Value Raw
}

// Extra returns the value of an extra field, nil when it is absent.
func (r *Request) Extra(name string) Raw {
	for i := range r.Extras {
		if r.Extras[i].Name == name {
			return r.Extras[i].Value
		}
	}
	return nil
}

// Role is who says a message.
type Role uint8

// The roles. A system message stands within the conversation; those before it are Request.System.
const (
	RoleUser Role = iota
	RoleAssistant
	RoleSystem
)

// Message is one turn. Tool results are blocks of a user message, as in Anthropic's form, and come first in it.
type Message struct {
	Role    Role
	Content []Block
	Place   Place
}

// BlockType is the type of a content block.
type BlockType uint8

// The block types.
const (
	BlockText BlockType = iota
	BlockImage
	BlockDocument
	BlockThinking
	BlockRedacted   // thinking that only its upstream can read
	BlockToolUse    // a call
	BlockToolResult // its result
	BlockOther      // any other of Anthropic's, whole in Raw: server tools and their results
)

// Block is a piece of content. Which fields are set depends on the type.
type Block struct {
	Type BlockType

	Text      Raw  // Text, Thinking: a JSON string; never nil there
	Refusal   bool // Text: the model's words for refusing
	Citations []Citation

	// Thinking: Anthropic's signature, a JSON string. Redacted: its data, likewise. What another dialect needs to take
	// a block back is an envelope in the same place, see Carry.
	Signature Raw

	ID     string // ToolUse: of the call; ToolResult: of the call it answers
	Name   string // ToolUse: of the tool, as in Tool.Name
	Input  Raw    // ToolUse: a JSON object
	Custom bool   // ToolUse: a call of a ToolCustom; its Input is {"input": text}

	Content []Block // ToolResult: text, images, documents; Document of content: text and images
	IsError bool    // ToolResult

	Media Media // Image, Document

	CacheControl Raw
	Raw          Raw    // Other: the whole block
	Kind         string // Other: its type
	Place        Place
}

// MediaType says where an image or a document is.
type MediaType uint8

// The media types.
const (
	MediaBase64 MediaType = iota
	MediaURL
	MediaText   // documents: plain text
	MediaFile   // an upstream's file id
	MediaBlocks // documents: text and images, in Block.Content
)

// Media is the body of an image or document.
type Media struct {
	Type    MediaType
	MIME    string // Base64, Text: "image/png"
	Data    Raw    // a JSON string: base64 without line breaks, the URL, the text, or the file's id
	Detail  Raw    // images: OpenAI's low, high, auto or original, a JSON string; nil: absent
	Title   Raw    // documents: a JSON string, the title or file name
	Context Raw    // documents: a JSON string
	Cited   bool   // documents: citations are enabled
}

// Citation is where a text comes from. Anthropic's form is in Raw when it came from there.
type Citation struct {
	Raw        Raw
	URL        Raw // JSON strings; URL is nil for a citation of a document
	Title      Raw
	Text       Raw   // what is cited
	Start, End int64 // of the citing text, in characters of its block; -1: unknown
}

// ToolType is how a tool is called.
type ToolType uint8

// The tool types.
const (
	ToolFunction ToolType = iota // with a JSON object
	ToolCustom                   // with free text; in the hub's blocks {"input": text}
	ToolShell                    // the Responses API's local_shell; in the hub {"command": [...], ...}
	ToolServer                   // run by the upstream, or one of Anthropic's with a type of its own; whole in Raw
)

// Tool is one that the model may call.
type Tool struct {
	Type        ToolType
	Name        string // unique among the request's tools
	Original    string // the client's own name where Name was made from it; else empty
	Namespace   string // the Responses API's, of Original; else empty
	Description Raw    // a JSON string
	Schema      Raw    // Function: a JSON schema, as the client sent it; nil: none
	Strict      Raw    // a boolean
	Grammar     Raw    // Custom: its format
	Defer       Raw    // Anthropic's defer_loading: a boolean

	CacheControl Raw
	Kind         string // Server: the type; others: empty
	Raw          Raw    // Server: the whole tool
	Place        Place
}

// Tool returns the tool with the hub's name, nil when there is none.
func (r *Request) Tool(name string) *Tool {
	for i := range r.Tools {
		if r.Tools[i].Name == name {
			return &r.Tools[i]
		}
	}
	return nil
}

// ChoiceType is how free the model is to call tools.
type ChoiceType uint8

// The choices.
const (
	ChoiceAuto ChoiceType = iota
	ChoiceAny             // some tool must be called
	ChoiceTool            // the tool Name must be called
	ChoiceNone
)

// ToolChoice says which tools may or must be called.
type ToolChoice struct {
	Type    ChoiceType
	Implied bool     // the client set only NoParallel
	Name    string   // Tool: as in Tool.Name
	Allowed []string // only these tools may be called; nil: all
	// NoParallel allows one call at a time.
	NoParallel bool
	Place      Place
}

// Thinking is Anthropic's thinking setting.
type Thinking struct {
	Type    string // adaptive, enabled, disabled, between_tools
	Budget  Raw    // a number, of enabled
	Display string // summarized, omitted; empty: absent
}

// Format is the form an answer must have.
type Format struct {
	Schema      Raw    // nil: any JSON object (OpenAI's json_object)
	Name        string // OpenAI's; empty: absent
	Description Raw
	Strict      Raw // OpenAI's: a boolean; nil: absent
}

// Place is where in the client's body something stands, for messages about it.
type Place struct {
	List string // the field: "messages", "input", "system", "tools"; empty: unknown
	I, J int32  // index in it, and in the content of that element; -1: none
}

// At makes a Place of an element.
func At(list string, i int) Place { return Place{List: list, I: int32(i), J: -1} }

// Part makes a Place of a part of an element's content.
func (p Place) Part(j int) Place { return Place{List: p.List, I: p.I, J: int32(j)} }

// Path is the place as a path in the style of the dialect: messages[0].content[1] for OpenAI's, messages.0.content.1 for
// Anthropic's. field is appended where it is not empty.
func (p Place) Path(d core.Dialect, field string) string {
	if p.List == "" {
		return field
	}
	left, right := ".", ""
	if d == core.DialectOpenAIChat || d == core.DialectOpenAIResponses {
		left, right = "[", "]"
	}
	s := p.List
	if p.I >= 0 {
		s += left + strconv.Itoa(int(p.I)) + right
		if p.J >= 0 {
			s += ".content" + left + strconv.Itoa(int(p.J)) + right
		}
	}
	if field != "" {
		s += "." + field
	}
	return s
}
