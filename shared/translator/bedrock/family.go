package bedrock

import (
	"strconv"
	"strings"

	"sluice/shared/translator"
)

// family is what can be told of a model by its id.
type family struct {
	claude, nova bool
	line         string // of Claude: opus, sonnet, haiku...; empty: unknown
	major, minor int    // of Claude; 0, 0: unknown, which counts as new
	second       bool   // 3.5 Sonnet of October, v2
}

// familyFor is the family of the model that a request goes to.
func familyFor(t *translator.Target) family {
	f := familyOf(t.Model)
	if !f.claude && !f.nova && strings.HasPrefix(t.Model, "arn:") {
		return familyOf(t.Asked)
	}
	return f
}

// familyOf reads an id such as us.anthropic.claude-sonnet-4-5-20250929-v1:0, anthropic.claude-opus-5-5, amazon.nova-pro-v1:0 or
// the ARN of a model or profile that has such an id in it. The ARN of an application inference profile tells nothing.
func familyOf(id string) (f family) {
	id = strings.ToLower(id)
	f.nova = strings.Contains(id, "amazon.nova")
	at := strings.LastIndex(id, "claude")
	if f.claude = at >= 0; !f.claude {
		return f
	}
	f.second = strings.Contains(id, "-20241022-v2")
	words := strings.FieldsFunc(id[at+len("claude"):], func(r rune) bool { return strings.ContainsRune("-.@:_[/", r) })
	for i, w := range words {
		n, ok := version(w)
		switch {
		case ok && f.major == 0:
			f.major = n
			if i+1 < len(words) {
				f.minor, _ = version(words[i+1])
			}
		case !ok && f.line == "" && w != "" && w[0] >= 'a' && w[0] <= 'z' && w != "v1" && w != "v2":
			f.line = w
		}
	}
	return f
}

// version reads a part of a version number: of at most two digits, so that a date is none.
func version(w string) (int, bool) {
	if len(w) == 0 || len(w) > 2 {
		return 0, false
	}
	n, err := strconv.Atoi(w)
	return n, err == nil && n >= 0
}

// atLeast reports whether the model is a Claude of that version or later, or of an unknown one.
func (f family) atLeast(major, minor int) bool {
	return f.claude && (f.major == 0 || f.major > major || f.major == major && f.minor >= minor)
}

// effort reports whether the model takes an effort; Opus 4.5 takes none above high, see the table of package compat.
func (f family) effort() bool {
	return f.atLeast(4, 6) || f.claude && f.line == "opus" && f.major == 4 && f.minor == 5
}

// adaptive reports whether the model decides itself how much to think. Before that there are budgets only.
func (f family) adaptive() bool { return f.atLeast(4, 6) }

// budgets reports whether the model thinks within a budget.
func (f family) budgets() bool { return f.atLeast(3, 7) && !f.adaptive() }

// strict reports whether the model takes strict tools, and a Claude a schema of its answer.
func (f family) strict() bool { return f.atLeast(4, 5) }

// caches reports whether the model takes cache points: Nova, and Claude from 3.5 Haiku and the second 3.5 Sonnet on. Others
// refuse the request that has one. Source: the user guide's page prompt-caching.
func (f family) caches() bool {
	return f.nova || f.atLeast(3, 7) || f.claude && f.major == 3 && f.minor == 5 && (f.line == "haiku" || f.second)
}

// hour reports whether cache points may last an hour: from Claude 4.5 on. Source: likewise.
func (f family) hour() bool { return f.atLeast(4, 5) }

// status reports whether results of tools may have one. Source: API_runtime_ToolResultBlock.
func (f family) status() bool { return f.claude || f.nova }
