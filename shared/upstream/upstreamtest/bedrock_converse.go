package upstreamtest

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
)

// The patterns of the service's model.
var (
	bToolName     = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)
	bToolUseID    = regexp.MustCompile(`^[a-zA-Z0-9_.:-]+$`)
	bDocumentName = regexp.MustCompile(`^[a-zA-Z0-9\s\-()\[\]]+$`)
	bSpaces       = regexp.MustCompile(`\s\s`)
)

// converse answers Converse and ConverseStream.
func (k *Bedrock) converse(x *exchange) {
	m, ok := k.resolve(x, x.bedrock.model)
	if !ok {
		return
	}
	if k.validating {
		if e, cause := checkConverse(m, x.req.Body); cause != "" {
			k.refuse(x, e, cause)
			return
		}
	}
	x.fields.stream = []byte(strconv.FormatBool(x.bedrock.stream))
	if x.bedrock.stream {
		x.media = []string{EventStreamType}
	}
	x.play(k.script.next(x.req))
}

func checkConverse(m BedrockModel, body []byte) (bError, string) {
	c := &bChecker{model: m}
	if !json.Valid(body) || body[skipSpace(body, 0)] != '{' {
		c.fail(bError{http.StatusBadRequest, "SerializationException", "Unexpected token at the start of the body", false, true})
		return c.problem, c.cause
	}
	o := c.of(value{raw: body})
	c.known(o, "messages", "system", "inferenceConfig", "toolConfig", "guardrailConfig", "additionalModelRequestFields", "promptVariables",
		"additionalModelResponseFieldPaths", "requestMetadata", "performanceConfig", "serviceTier", "outputConfig")
	c.conversation(o)
	c.inference(c.of(o.at("inferenceConfig")))
	c.of(o.at("additionalModelRequestFields"))
	for _, p := range c.elements(o.at("additionalModelResponseFieldPaths")) {
		c.text(p, 1, 256)
	}
	c.oneOf(c.of(o.at("performanceConfig")).at("latency"), "standard", "optimized")
	c.oneOf(c.of(o.at("serviceTier")).at("type"), "priority", "default", "flex", "reserved")
	c.known(c.of(o.at("outputConfig")), "effort", "textFormat")
	return c.problem, c.cause
}

// conversation checks what Converse has in common with what CountTokens takes.
func (c *bChecker) conversation(o object) {
	turns := c.elements(c.need(o, "messages"))
	if len(turns) == 0 {
		c.refuse("A conversation must start with a user message. Try again with a conversation that starts with a user message.")
	}
	for _, v := range c.elements(o.at("system")) {
		kind, part := c.union(v, "text", "guardContent", "cachePoint")
		switch kind {
		case "text":
			c.text(part, 1, 0)
		case "cachePoint":
			c.cachePoint(part)
		}
	}
	config := o.at("toolConfig")
	if config.present() {
		c.toolConfig(c.of(config))
	}
	c.turns(turns, config.present())
	if c.marks > 4 {
		c.refuse("%sA maximum of 4 blocks with cache_control may be provided. Found %d.", bModelPrefix, c.marks)
	}
}

func (c *bChecker) inference(o object) {
	c.known(o, "maxTokens", "temperature", "topP", "stopSequences")
	c.number(o.at("maxTokens"), true, 1, 1<<31-1)
	c.number(o.at("temperature"), false, 0, 1)
	c.number(o.at("topP"), false, 0, 1)
	stops := c.elements(o.at("stopSequences"))
	if len(stops) > 2500 {
		c.constraint(o.at("stopSequences"), "Member must have length less than or equal to 2500")
	}
	for _, v := range stops {
		c.text(v, 1, 0)
	}
}

func (c *bChecker) toolConfig(o object) {
	c.known(o, "tools", "toolChoice")
	tools := c.elements(c.need(o, "tools"))
	if len(tools) == 0 {
		c.constraint(o.at("tools"), "Member must have length greater than or equal to 1")
	}
	var names []string
	for i, v := range tools {
		switch kind, part := c.union(v, "toolSpec", "cachePoint", "systemTool"); kind {
		case "cachePoint":
			if i == 0 {
				c.refuse("%s: a cachePoint must follow a tool.", part.path)
			}
			c.cachePoint(part)
		case "systemTool":
			c.text(c.need(c.of(part), "name"), 1, 64)
		case "toolSpec":
			names = c.toolSpec(c.of(part), names)
		}
	}
	if choice := o.at("toolChoice"); choice.present() {
		kind, part := c.union(choice, "auto", "any", "tool")
		chosen := c.of(part)
		if kind != "tool" {
			c.known(chosen)
		} else if name := c.toolName(chosen); !slices.Contains(names, name) {
			c.refuse("The tool %s of toolConfig.toolChoice is not in toolConfig.tools.", name)
		}
	}
}

func (c *bChecker) toolSpec(o object, names []string) []string {
	c.known(o, "name", "description", "inputSchema", "strict")
	name := c.toolName(o)
	if slices.Contains(names, name) {
		c.refuse("The tool %s is already defined at toolConfig.tools.%d.toolSpec.", name, slices.Index(names, name))
	}
	c.text(o.at("description"), 1, 0)
	c.boolean(o.at("strict"))
	_, schema := c.union(c.need(o, "inputSchema"), "json")
	if s := c.of(schema); schema.present() && s.at("type").text() != "object" {
		c.refuse("The value at %s.type must be one of the following: object.", schema.path)
	}
	return append(names, name)
}

func (c *bChecker) toolName(o object) string {
	v := c.need(o, "name")
	name := c.text(v, 1, 64)
	if v.present() && !bToolName.MatchString(name) {
		c.constraint(v, "Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+")
	}
	return name
}

func (c *bChecker) toolUseID(o object) string {
	v := c.need(o, "toolUseId")
	id := c.text(v, 1, 64)
	if v.present() && !bToolUseID.MatchString(id) {
		c.constraint(v, "Member must satisfy regular expression pattern: [a-zA-Z0-9_.:-]+")
	}
	return id
}

func (c *bChecker) cachePoint(v value) {
	o := c.of(v)
	c.known(o, "type", "ttl")
	c.oneOf(c.need(o, "type"), "default")
	c.oneOf(o.at("ttl"), "5m", "1h")
	c.marks++
	switch {
	case !c.model.Caches:
		c.fail(bError{http.StatusForbidden, "AccessDeniedException", bNoCaching, true, false})
	case o.at("ttl").text() == "1h" && !c.model.LongCache:
		c.refuse("%s: this model does not take a ttl.", v.path)
	}
}

// bTurn is what the order of messages depends on.
type bTurn struct {
	uses, results []string
	plain         bool // has blocks that are no results
}

// turns checks the messages: that roles alternate and begin with the user, and
// that each use of a tool has its result in the next one.
func (c *bChecker) turns(messages []value, tools bool) {
	var before bTurn
	for i, v := range messages {
		m := c.of(v)
		c.known(m, "role", "content")
		role := c.oneOf(c.need(m, "role"), "user", "assistant")
		switch {
		case i == 0 && role == "assistant":
			c.refuse("A conversation must start with a user message. Try again with a conversation that starts with a user message.")
		case (role == "user") != (i%2 == 0):
			c.refuse("A conversation must alternate between user and assistant roles. Make sure the conversation alternates between user and assistant roles and try again.")
		}
		content := c.need(m, "content")
		blocks := c.elements(content)
		if len(blocks) == 0 {
			c.refuse("The content field in the Message object at %s is empty. Add a ContentBlock object to the content field and try again.", m.path)
		}
		now := c.blocks(blocks, role == "user")
		if !tools && len(now.uses)+len(now.results) > 0 {
			c.refuse("The toolConfig field must be defined when using toolUse and toolResult content blocks.")
		}
		c.paired(content.path, before, now)
		before = now
	}
}

func (c *bChecker) paired(path string, before, now bTurn) {
	var missing []string
	for _, id := range before.uses {
		if !slices.Contains(now.results, id) {
			missing = append(missing, id)
		}
	}
	if len(now.results) > len(before.uses) {
		c.refuse("The number of toolResult blocks at %s exceeds the number of toolUse blocks of previous turn.", path)
	}
	if len(missing) > 0 {
		list := missing[0]
		for _, id := range missing[1:] {
			list += ", " + id
		}
		c.refuse("Expected toolResult blocks at %s for the following Ids: %s", path, list)
	}
	for _, id := range now.results {
		if !slices.Contains(before.uses, id) {
			c.refuse("The toolUseId %s at %s is not one of the previous turn.", id, path)
		}
	}
	// Only models other than Claude, which takes results before text.
	if len(now.results) > 0 && now.plain && !c.model.claude() {
		c.refuse("%s: Conversation blocks and tool result blocks cannot be provided in the same turn.", path)
	}
}

// blocks checks the content of a message.
func (c *bChecker) blocks(blocks []value, user bool) (t bTurn) {
	last, text, document := "", false, false
	for i, v := range blocks {
		kind, part := c.union(v, "text", "image", "document", "video", "audio", "toolUse", "toolResult", "guardContent", "cachePoint", "reasoningContent", "citationsContent", "searchResult")
		o := value{path: part.path, raw: part.raw}
		switch kind {
		case "text":
			text = true
			if blank(c.text(o, 0, 0)) {
				c.refuse("The text field in the ContentBlock object at %s is blank. Add text to the text field, and try again.", v.path)
			}
		case "image":
			c.imageBlock(c.of(o))
		case "document":
			document = true
			c.documentBlock(c.of(o))
		case "toolUse":
			t.uses = append(t.uses, c.use(c.of(o), user))
		case "toolResult":
			t.results = append(t.results, c.resultBlock(c.of(o), user))
		case "reasoningContent":
			c.reasoningBlock(o, user)
		case "cachePoint":
			c.cachePlace(o, i, last)
		}
		if kind != "toolResult" && kind != "cachePoint" {
			t.plain = true
		}
		last = kind
	}
	if document && !text {
		c.refuse("A message with a document block must also have a text block.")
	}
	return t
}

func (c *bChecker) cachePlace(v value, i int, last string) {
	switch {
	case i == 0:
		c.refuse("%s: a cachePoint must follow the content that it caches.", v.path)
	case last == "reasoningContent":
		c.refuse("Cache point cannot be inserted after reasoning block. Please remove the invalid cache point and try again.")
	}
	c.cachePoint(v)
}

// blob reads base64 of at most so many bytes.
func (c *bChecker) blob(v value, most int) {
	s := c.text(v, 1, 0)
	b, err := base64.StdEncoding.DecodeString(s)
	switch {
	case !v.present():
	case err != nil:
		c.serialization(v, "a blob")
	case len(b) > most:
		c.refuse("%s has %d bytes, more than %d.", v.path, len(b), most)
	}
}

func (c *bChecker) imageBlock(o object) {
	c.known(o, "format", "source")
	c.oneOf(c.need(o, "format"), "png", "jpeg", "gif", "webp")
	if kind, v := c.union(c.need(o, "source"), "bytes", "s3Location"); kind == "bytes" {
		c.blob(v, 3_932_160) // 3.75 MB: docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-call.html
	}
}

func (c *bChecker) documentBlock(o object) {
	c.known(o, "format", "name", "source", "context", "citations")
	c.oneOf(o.at("format"), "pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md")
	v := c.need(o, "name")
	if name := c.text(v, 1, 200); v.present() && (!bDocumentName.MatchString(name) || bSpaces.MatchString(name)) {
		c.refuse("The document file name can only contain alphanumeric characters, whitespace characters, hyphens, parentheses, and square brackets. The name can't contain more than one consecutive whitespace character.")
	}
	if kind, v := c.union(c.need(o, "source"), "bytes", "s3Location", "text", "content"); kind == "bytes" {
		c.blob(v, 4_718_592) // 4.5 MB, ibid.
	}
}

func (c *bChecker) use(o object, user bool) string {
	c.known(o, "toolUseId", "name", "input", "type")
	if user {
		c.refuse("%s: User messages cannot contain tool uses.", o.path)
	}
	c.toolName(o)
	if in := c.need(o, "input"); in.present() && in.kind() != "an object" {
		c.refuse("The format of the value at %s is invalid. Provide a json object for the field and try again.", in.path)
	}
	return c.toolUseID(o)
}

func (c *bChecker) resultBlock(o object, user bool) string {
	c.known(o, "toolUseId", "content", "status", "type")
	if !user {
		c.refuse("%s: Assistant messages cannot contain tool results.", o.path)
	}
	status := c.oneOf(o.at("status"), "success", "error")
	parts := c.elements(c.need(o, "content"))
	if status == "error" && len(parts) == 0 {
		c.refuse("The content field at %s cannot be empty when status value is error.", o.path)
	}
	for _, v := range parts {
		switch kind, part := c.union(v, "text", "json", "image", "document", "video", "searchResult"); kind {
		case "text":
			c.text(part, 0, 0)
		case "json":
			if part.kind() != "an object" {
				c.refuse("The format of the value at %s is invalid. Provide a json object for the field and try again.", part.path)
			}
		case "image":
			c.imageBlock(c.of(part))
		case "document":
			c.documentBlock(c.of(part))
		}
	}
	return c.toolUseID(o)
}

func (c *bChecker) reasoningBlock(v value, user bool) {
	if user {
		c.refuse("%s: User messages cannot contain reasoning content.", v.path)
	}
	kind, part := c.union(v, "reasoningText", "redactedContent")
	if kind == "redactedContent" {
		c.blob(part, maxBody)
		return
	}
	o := c.of(part)
	c.known(o, "text", "signature")
	c.text(c.need(o, "text"), 0, 0)
	signature := o.at("signature")
	c.text(signature, 0, 0)
	if c.model.claude() && signature.text() == "" {
		c.refuse("%s%s: Field required", bModelPrefix, signature.path)
	}
}

// countTokens answers CountTokens.
func (k *Bedrock) countTokens(x *exchange) {
	m, ok := k.resolve(x, x.bedrock.model)
	if !ok {
		return
	}
	counted := x.req.Body
	if k.validating {
		e, cause, body := checkCount(m, x.req.Body)
		if cause != "" {
			k.refuse(x, e, cause)
			return
		}
		counted = body
	}
	x.normally(k.ops.next("CountTokens"), func() (int, []byte) {
		return http.StatusOK, []byte(`{"inputTokens":` + strconv.FormatInt(CountTokens(counted), 10) + `}`)
	})
}

// checkCount also returns the body that is to be counted.
func checkCount(m BedrockModel, body []byte) (e bError, cause string, counted []byte) {
	c := &bChecker{model: m}
	if !json.Valid(body) {
		c.refuse("The body is no JSON.")
		return c.problem, c.cause, nil
	}
	o := c.of(value{raw: body})
	c.known(o, "input")
	kind, v := c.union(c.need(o, "input"), "invokeModel", "converse")
	switch kind {
	case "invokeModel":
		in := c.of(v)
		c.known(in, "body")
		raw := c.need(in, "body")
		inner, err := base64.StdEncoding.DecodeString(c.text(raw, 1, 0))
		if err != nil {
			c.serialization(raw, "a blob")
		}
		if c.cause == "" {
			e, cause = checkInvoke(m, inner)
			return e, cause, inner
		}
	case "converse":
		in := c.of(v)
		c.known(in, "messages", "system", "toolConfig", "additionalModelRequestFields")
		c.conversation(in)
	}
	return c.problem, c.cause, v.raw
}
