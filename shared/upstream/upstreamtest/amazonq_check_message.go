package upstreamtest

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"
)

// content reads the text of a message. The limit is that of the whole input
// when it is a user's.
func (c *qChecker) content(o object) string {
	v := c.need(o, "content")
	s := c.text(v, 0, len(v.raw))
	if n := utf8.RuneCountInString(s); n > qMaxContent {
		c.tooLong(v, n)
	}
	return s
}

func blank(s string) bool { return strings.TrimSpace(s) == "" }

func (c *qChecker) user(o object, current bool) {
	t := qTurn{path: o.path, user: true}
	if blank(c.content(o)) {
		c.improper("%s.content is empty", o.path)
	}
	c.oneOf(o.at("userIntent"), intents()...)
	c.oneOf(o.at("origin"), origins()...)
	c.cachePoint(o.at("cachePoint"))
	c.boolean(c.of(o.at("clientCacheConfig")).at("useClientCachingOnly"))
	model := o.at("modelId")
	if id := c.text(model, 1, 1024); current && model.present() && !slices.Contains(c.models, id) {
		c.fail((&fault{status: http.StatusBadRequest, code: "INVALID_MODEL_ID"}).amazonQ(), model.path+" is "+quote(id))
	}
	for _, v := range c.elements(o.at("images"), qMaxImages) {
		c.image(c.of(v))
	}
	t.results = c.context(c.of(o.at("userInputMessageContext")))
	c.turns = append(c.turns, t)
}

func (c *qChecker) image(o object) {
	c.oneOf(c.need(o, "format"), "png", "jpeg", "gif", "webp")
	_, v := c.union(c.need(o, "source"), "bytes")
	s := c.text(v, 1, len(v.raw))
	n, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		c.serialization(v, "base64")
	}
	if len(n) > qMaxImage {
		c.improper("%s has %d bytes", v.path, len(n))
	}
}

// context returns the ids of the tool results.
func (c *qChecker) context(o object) (results []string) {
	c.environment(c.of(o.at("envState")))
	for _, name := range []string{"editorState", "gitState", "shellState", "consoleState", "diagnostic", "appStudioContext"} {
		c.of(o.at(name))
	}
	c.boolean(c.of(o.at("userSettings")).at("hasConsentedToCrossRegionCalls"))
	for _, v := range c.elements(o.at("additionalContext"), qMaxContext) {
		e := c.of(v)
		if name := c.text(c.need(e, "name"), 1, 1024); !qEntryName.MatchString(name) {
			c.improper("%s.name %q", v.path, name)
		}
		c.text(c.need(e, "description"), 1, 10_240)
		c.text(e.at("innerContext"), 1, 8192)
	}
	var names []string
	for _, v := range c.elements(o.at("tools"), 10_000) {
		names = c.tool(v, names)
	}
	for _, v := range c.elements(o.at("toolResults"), qMaxToolUses) {
		results = c.result(c.of(v), results)
	}
	return results
}

func (c *qChecker) environment(o object) {
	c.oneOf(o.at("operatingSystem"), "macos", "linux", "windows")
	c.text(o.at("currentWorkingDirectory"), 1, 256)
	for _, v := range c.elements(o.at("environmentVariables"), 100) {
		e := c.of(v)
		c.text(e.at("key"), 1, 256)
		c.text(e.at("value"), 0, 1024)
	}
	if v := o.at("timezoneOffset"); v.present() && v.kind() != "an integer" {
		c.serialization(v, "an integer")
	}
}

func (c *qChecker) tool(v value, names []string) []string {
	kind, v := c.union(v, "toolSpecification", "cachePoint")
	if kind == "cachePoint" {
		c.cachePoint(v)
		return names
	}
	o := c.of(v)
	name := c.toolName(o)
	if slices.Contains(names, name) {
		c.improper("%s: a second tool of the name %q", v.path, name)
	}
	c.text(o.at("description"), 1, qMaxDescription)
	schema := c.need(c.of(c.need(o, "inputSchema")), "json")
	if schema.present() && schema.kind() != "an object" {
		c.improper("%s is %s, not an object", schema.path, schema.kind())
	}
	return append(names, name)
}

func (c *qChecker) toolName(o object) string {
	name := c.text(c.need(o, "name"), 1, qMaxToolName)
	if !qToolName.MatchString(name) {
		c.improper("%s.name %q", o.path, name)
	}
	return name
}

// toolUseID adds an id to those of the same message.
func (c *qChecker) toolUseID(o object, ids []string) []string {
	id := c.text(c.need(o, "toolUseId"), 1, qMaxToolName)
	if !qToolUseID.MatchString(id) {
		c.improper("%s.toolUseId %q", o.path, id)
	}
	if slices.Contains(ids, id) {
		c.improper("%s: a second one of the id %q", o.path, id)
	}
	return append(ids, id)
}

func (c *qChecker) result(o object, ids []string) []string {
	ids = c.toolUseID(o, ids)
	c.oneOf(o.at("status"), "success", "error")
	for _, v := range c.elements(c.need(o, "content"), 10_000) {
		if kind, part := c.union(v, "text", "json"); kind == "text" {
			s := c.text(part, 0, len(part.raw))
			if n := utf8.RuneCountInString(s); n > qMaxResultText {
				c.tooLong(part, n)
			}
		}
	}
	return ids
}

func (c *qChecker) assistant(o object) {
	t := qTurn{path: o.path}
	c.text(o.at("messageId"), 1, qMaxID)
	v := c.need(o, "content")
	content := c.text(v, 0, len(v.raw))
	if n := utf8.RuneCountInString(content); n > qMaxAnswer {
		c.tooLong(v, n)
	}
	for _, use := range c.elements(o.at("toolUses"), qMaxToolUses) {
		u := c.of(use)
		t.uses = c.toolUseID(u, t.uses)
		c.toolName(u)
		if in := c.need(u, "input"); in.present() && in.kind() != "an object" {
			c.improper("%s is %s, not an object", in.path, in.kind())
		}
	}
	c.cachePoint(o.at("cachePoint"))
	if r := o.at("reasoningContent"); r.present() {
		c.reasoning(r)
	}
	if blank(content) && len(t.uses) == 0 {
		c.improper("%s.content is empty", o.path)
	}
	c.turns = append(c.turns, t)
}

func (c *qChecker) reasoning(v value) {
	kind, v := c.union(v, "reasoningText", "redactedContent")
	if kind == "reasoningText" {
		o := c.of(v)
		c.text(c.need(o, "text"), 0, len(v.raw))
		c.text(o.at("signature"), 0, len(v.raw))
		return
	}
	if s := c.text(v, 1, len(v.raw)); s != "" {
		if _, err := base64.StdEncoding.DecodeString(s); err != nil {
			c.serialization(v, "base64")
		}
	}
}
