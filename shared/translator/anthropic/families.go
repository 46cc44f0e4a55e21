package anthropic

import (
	"strconv"
	"strings"
)

// family is what can be told of a model by its name.
type family struct {
	line         string // opus, sonnet, haiku, ...; empty: unknown
	major, minor int    // 0, 0: unknown, which counts as new
}

// familyOf reads a name such as claude-3-5-haiku-20241022, us.anthropic.claude-sonnet-4-5-20250929-v1:0 or
// anthropic/claude-opus-4.1. Whatever stands before "claude" is ignored.
func familyOf(name string) family {
	name = strings.ToLower(name)
	at := strings.LastIndex(name, "claude")
	if at < 0 {
		return family{}
	}
	var f family
	words := strings.FieldsFunc(name[at+len("claude"):], func(r rune) bool { return strings.ContainsRune("-.@:_[/", r) })
	for i, w := range words {
		n, ok := version(w)
		switch {
		case ok && f.major == 0:
			f.major = n
			if i+1 < len(words) {
				f.minor, _ = version(words[i+1])
			}
		case !ok && f.line == "" && w != "" && w[0] >= 'a' && w[0] <= 'z':
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

func (f family) known() bool { return f.major > 0 }

// atLeast reports whether the version is that one or later, or unknown.
func (f family) atLeast(major, minor int) bool {
	return !f.known() || f.major > major || f.major == major && f.minor >= minor
}

// effort reports whether the model takes output_config.effort.
func (f family) effort() bool {
	return f.atLeast(4, 6) || f.line == "opus" && f.major == 4 && f.minor == 5
}

// adaptive reports whether the model decides itself how much to think. Before that there are budgets only.
func (f family) adaptive() bool { return f.atLeast(4, 6) }

// budgets reports whether the model thinks within a budget.
func (f family) budgets() bool { return f.atLeast(3, 7) && !f.adaptive() }

// strict reports whether the model takes strict tools and output_config.format.
func (f family) strict() bool { return f.atLeast(4, 5) }

// maxTokens is what is asked for where the client set no limit, which this API demands.
func (f family) maxTokens() int64 {
	switch {
	case !f.known() || f.atLeast(3, 7):
		return 32_000
	case f.major == 3 && f.minor == 5:
		return 8192
	}
	return 4096
}
