package openaichat

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
)

// reasons reports whether a model is one of OpenAI's that reason: they take max_completion_tokens and reasoning_effort, and
// refuse temperature, top_p and the penalties. A prefix such as "openai/" is ignored.
// Source: platform.openai.com/docs/guides/reasoning.
func reasons(model string) bool {
	m := strings.ToLower(model[strings.LastIndexByte(model, '/')+1:])
	if strings.Contains(m, "-chat") {
		return false
	}
	for _, p := range []string{"o1", "o3", "o4", "gpt-oss", "codex"} {
		if strings.HasPrefix(m, p) {
			return true
		}
	}
	rest, ok := strings.CutPrefix(m, "gpt-")
	digits := 0
	for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
		digits++
	}
	n, err := strconv.Atoi(rest[:digits])
	return ok && err == nil && n >= 5
}

// maxID is the longest id of a call that the dialect takes.
const maxID = 40

// safeID returns an id that the dialect takes, the same for a call and for its result.
func safeID(id string) string {
	if len(id) <= maxID && id != "" {
		return id
	}
	return "call_" + digest(id)
}

// digest is the first 32 hex digits of a text's SHA-256.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:16])
}
