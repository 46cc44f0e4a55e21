package upstreamtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"unicode/utf8"
)

// The limits of a request, in characters or elements: those of the service's
// model, or what the official client allows itself where that is more.
const (
	qMaxContent     = 600_000
	qMaxAnswer      = 100_000
	qMaxID          = 128
	qMaxToolName    = 64
	qMaxDescription = 10_240
	qMaxToolUses    = 10
	qMaxResultText  = 800_000
	qMaxImages      = 10
	qMaxImage       = 10_000_000 // bytes
	qMaxContext     = 20
)

var (
	profileARN = regexp.MustCompile(`^arn:aws:codewhisperer:[-.a-z0-9]{1,63}:\d{12}:profile/[a-zA-Z0-9]{12}$`)
	qToolName  = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_]*$`)
	qToolUseID = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)
	qEntryName = regexp.MustCompile(`^[a-z]+(?:-[a-z0-9]+)*$`)
)

func origins() []string {
	return []string{"AI_EDITOR", "CHATBOT", "CLI", "CONSOLE", "DOCUMENTATION", "GITLAB", "IDE", "INLINE_CHAT", "KIRO_CLI", "MARKETING", "MD", "MD_CE",
		"MD_IDE", "MOBILE", "OPENSEARCH_DASHBOARD", "Q_DEV_BEXT", "SAGE_MAKER", "SERVICE_INTERNAL", "SM_AI_STUDIO_IDE", "UNIFIED_SEARCH", "UNKNOWN"}
}

func intents() []string {
	return []string{"SUGGEST_ALTERNATE_IMPLEMENTATION", "APPLY_COMMON_BEST_PRACTICES", "IMPROVE_CODE", "SHOW_EXAMPLES", "CITE_SOURCES",
		"EXPLAIN_LINE_BY_LINE", "EXPLAIN_CODE_SELECTION", "GENERATE_CLOUDFORMATION_TEMPLATE", "GENERATE_UNIT_TESTS", "CODE_GENERATION"}
}

// qChecker finds the first thing that the service would refuse in a request.
// Once it has found one, all that follows does nothing.
type qChecker struct {
	problem qError
	cause   string // empty: nothing
	models  []string
	turns   []qTurn
}

func qSerialization() qError {
	return qError{http.StatusBadRequest, "SerializationException", "The request could not be deserialized.", ""}
}

// check says what is wrong with a request for a reply, if anything.
func (q *AmazonQ) check(r Request, operation string, models []string) (problem qError, cause string) {
	c := &qChecker{models: models}
	if !json.Valid(r.Body) {
		return qSerialization(), "the body is not JSON"
	}
	if q.inputLimit > 0 && len(r.Body) > q.inputLimit {
		c.tooLong(value{path: "body"}, len(r.Body))
		return c.problem, c.cause
	}
	if v := r.Header.Get("X-Amzn-Codewhisperer-Optout"); v != "" && v != "true" && v != "false" {
		c.serialization(value{path: "x-amzn-codewhisperer-optout"}, "a boolean")
	}
	body := c.of(value{raw: r.Body})
	if arn := c.text(body.at("profileArn"), 1, 950); arn != "" && !profileARN.MatchString(arn) {
		c.improper("profileArn %q", arn)
	}
	if operation == "SendMessage" {
		c.oneOf(body.at("source"), origins()...)
		c.boolean(body.at("dryRun"))
	}
	c.conversation(c.of(c.need(body, "conversationState")), q.history)
	return c.problem, c.cause
}

func (c *qChecker) fail(e qError, cause string) {
	if c.cause == "" {
		c.problem, c.cause = e, cause
	}
}

// improper refuses with the service's one text for nearly everything.
func (c *qChecker) improper(format string, args ...any) {
	c.fail(qWith(http.StatusBadRequest), fmt.Sprintf(format, args...))
}

func (c *qChecker) serialization(v value, want string) {
	c.fail(qSerialization(), fmt.Sprintf("%s is %s, not %s", v.path, v.kind(), want))
}

func (c *qChecker) tooLong(v value, n int) {
	c.fail((&fault{tokens: n}).amazonQ(), fmt.Sprintf("%s has a length of %d", v.path, n))
}

// of reads an object; absent, it is one without members.
func (c *qChecker) of(v value) object {
	o := object{path: v.path}
	if v.present() && !members(v.raw, func(key, raw []byte) { o.all = append(o.all, member{value{raw: key}.text(), raw}) }) {
		c.serialization(v, "an object")
	}
	return o
}

// need returns a member that must be there.
func (c *qChecker) need(o object, name string) value {
	v := o.at(name)
	if !v.present() {
		c.improper("%s is missing", v.path)
	}
	return v
}

// union reads an object with exactly one member, one of the names.
func (c *qChecker) union(v value, names ...string) (string, value) {
	o := c.of(v)
	var found []member
	for _, m := range o.all {
		if string(m.raw) != "null" {
			found = append(found, m)
		}
	}
	if len(found) != 1 || !slices.Contains(names, found[0].name) {
		c.improper("%s has %d members, not exactly one of %v", v.path, len(found), names)
		return "", value{path: v.path}
	}
	return found[0].name, o.at(found[0].name)
}

// elements reads an array of at most limit elements.
func (c *qChecker) elements(v value, limit int) []value {
	if !v.present() {
		return nil
	}
	var raw []json.RawMessage
	if json.Unmarshal(v.raw, &raw) != nil {
		c.serialization(v, "an array")
		return nil
	}
	if len(raw) > limit {
		c.improper("%s has %d elements, more than %d", v.path, len(raw), limit)
	}
	out := make([]value, 0, len(raw))
	for i, r := range raw {
		out = append(out, value{v.path + "[" + strconv.Itoa(i) + "]", bytes.TrimSpace(r)})
	}
	return out
}

// text reads a string of least to most characters, which may be absent.
func (c *qChecker) text(v value, least, most int) string {
	if !v.present() {
		return ""
	}
	if v.raw[0] != '"' {
		c.serialization(v, "a string")
		return ""
	}
	s := v.text()
	if n := utf8.RuneCountInString(s); n < least || n > most {
		c.improper("%s has %d characters, not %d to %d", v.path, n, least, most)
	}
	return s
}

func (c *qChecker) oneOf(v value, names ...string) {
	if s := c.text(v, 0, 1000); v.present() && !slices.Contains(names, s) {
		c.improper("%s is %q, not one of %v", v.path, s, names)
	}
}

func (c *qChecker) boolean(v value) {
	if v.present() && v.kind() != "a boolean" {
		c.serialization(v, "a boolean")
	}
}

func (c *qChecker) cachePoint(v value) {
	if v.present() {
		c.oneOf(c.need(c.of(v), "type"), "default")
	}
}

func (c *qChecker) conversation(s object, history int) {
	c.text(s.at("conversationId"), 1, qMaxID)
	c.text(s.at("workspaceId"), 1, 10_000)
	c.text(s.at("customizationArn"), 0, 950)
	c.text(s.at("agentContinuationId"), 1, qMaxID)
	c.oneOf(s.at("agentTaskType"), "vibe", "spectask")
	c.oneOf(c.need(s, "chatTriggerType"), "MANUAL", "DIAGNOSTIC", "INLINE_CHAT")
	for _, m := range c.elements(s.at("history"), history) {
		kind, v := c.union(m, "userInputMessage", "assistantResponseMessage")
		if kind == "userInputMessage" {
			c.user(c.of(v), false)
		} else {
			c.assistant(c.of(v))
		}
	}
	_, current := c.union(c.need(s, "currentMessage"), "userInputMessage")
	c.user(c.of(current), true)
	c.sequence()
}

// qTurn is what the order of messages depends on.
type qTurn struct {
	path          string
	user          bool
	uses, results []string
}

// sequence checks that users and assistant take turns, beginning and ending
// with a user, and that uses and results of tools belong to each other.
func (c *qChecker) sequence() {
	for i, t := range c.turns {
		if t.user != (i%2 == 0) {
			c.improper("%s: the history does not begin with a user and alternate", t.path)
			return
		}
		var before, after qTurn
		if i > 0 {
			before = c.turns[i-1]
		}
		if i+1 < len(c.turns) {
			after = c.turns[i+1]
		}
		for _, id := range t.results {
			if !slices.Contains(before.uses, id) {
				c.improper("%s: the result of tool use %q has no such use in the message before", t.path, id)
			}
		}
		for _, id := range t.uses {
			if !slices.Contains(after.results, id) {
				c.improper("%s: the tool use %q has no result in the message after", t.path, id)
			}
		}
	}
}
