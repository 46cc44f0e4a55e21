package compat

import "strings"

// glob reports whether s is of the pattern, in which a star stands for any characters, none too.
func glob[S string | []byte](pattern string, s S) bool {
	star, mark := -1, 0
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case star >= 0: // let the last star take one more
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// weight orders patterns by how specific they are.
func weight(pattern string) int {
	stars := strings.Count(pattern, "*")
	if stars == 0 {
		return 1 << 20
	}
	return len(pattern) - stars
}

// Family is the name by which rows know a model, of any name that Bedrock has for it: without region, vendor, day and version.
// It is claude-sonnet-4-5 for us.anthropic.claude-sonnet-4-5-20250929-v1:0, for the ARN of such a profile and for Anthropic's
// claude-sonnet-4-5-20250929. Of an application's own profile, whose ARN does not tell the model, it is the profile's id; give
// Apply the model that the profile is for.
func Family(model string) string {
	if i := strings.LastIndexByte(model, '/'); i >= 0 {
		model = model[i+1:]
	}
	if i := strings.IndexByte(model, '['); i >= 0 { // claude-opus-4-6[1m]
		model = model[:i]
	}
	if i := strings.LastIndexByte(model, '.'); i >= 0 && strings.HasSuffix(model[:i], "anthropic") {
		model = model[i+1:]
	}
	if i := strings.IndexByte(model, ':'); i >= 0 {
		model = model[:i]
	}
	if i := strings.LastIndex(model, "-v"); i >= 0 && digits(model[i+2:]) {
		model = model[:i]
	}
	if i := strings.LastIndexByte(model, '-'); i >= 0 && len(model)-i == 9 && digits(model[i+1:]) {
		model = model[:i]
	}
	return strings.TrimSuffix(strings.ToLower(model), "-latest")
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
