package responses

import "strings"

// reasons reports whether a model thinks before it answers, by its name after the last "/": such models take an effort
// and refuse sampling parameters. The chat variants of the newer lines are ordinary models.
func reasons(model string) bool {
	name := strings.ToLower(model[strings.LastIndexByte(model, '/')+1:])
	name = strings.TrimPrefix(name, "openai.") // as Amazon Bedrock names them
	if strings.Contains(name, "-chat") {
		return false
	}
	for _, prefix := range [...]string{"o1", "o3", "o4", "gpt-oss", "codex"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	version, ok := strings.CutPrefix(name, "gpt-")
	if !ok {
		return false
	}
	n := 0
	for n < len(version) && version[n] >= '0' && version[n] <= '9' {
		n++
	}
	return n > 1 || n == 1 && version[0] >= '5'
}
