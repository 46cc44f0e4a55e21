package label

import "sluice/shared/core"

// Families are the labels of model families.
var Families = [...]string{"claude-opus", "claude-sonnet", "claude-haiku", "claude-fable", "claude-mythos", "claude", "gpt", "o", "embedding",
	"gemini", "nova", "llama", "mistral", "deepseek", "qwen", "kimi", "glm", "grok", None, Other}

// Places in Families.
const (
	opus = iota
	sonnet
	haiku
	fable
	mythos
	claude
	gpt
	oSeries
	embedding
	gemini
	nova
	llama
	mistral
	deepseek
	qwen
	kimi
	glm
	grok
	none
	other
)

const (
	maxModel = 256 // bytes of a name that are looked at
	maxWord  = 16  // letters of a word that are: no word of a family is longer
)

// Family is the place in Families of the model that was sent upstream, else of the one asked for. A name counts for a family by
// one of its words, so that vendors, regions, versions and dates around it do not matter: "us.anthropic.claude-opus-4-1-v1:0"
// is "claude-opus". What is no known name is Other.
func Family(s *core.Settlement) int {
	model := s.ServedModel
	if model == "" {
		model = s.Model
	}
	if model == "" {
		return none
	}
	if len(model) > maxModel {
		model = model[:maxModel]
	}
	found := other
	var word [maxWord]byte
	n, digits := 0, 0 // of the word so far: its letters and digits, and how many digits it ends in
	for i := 0; i <= len(model); i++ {
		var c byte
		if i < len(model) {
			c = lower(model[i])
		}
		if alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'; alnum {
			if n < maxWord {
				word[n] = c
			}
			n++
			if c <= '9' {
				digits++
			} else {
				digits = 0
			}
			continue
		}
		if n > 0 && n <= maxWord {
			if f := family(word[:n-digits], digits > 0); f == claude {
				found = claude // a later word may tell which
			} else if f != other {
				return f
			}
		}
		n, digits = 0, 0
	}
	return found
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// family knows a family by a word without the digits at its end.
func family(word []byte, numbered bool) int {
	switch string(word) {
	case "opus":
		return opus
	case "sonnet":
		return sonnet
	case "haiku":
		return haiku
	case "fable":
		return fable
	case "mythos":
		return mythos
	case "claude":
		return claude
	case "gpt", "chatgpt", "codex":
		return gpt
	case "o":
		if numbered { // o1, o3, o4
			return oSeries
		}
	case "embedding", "embeddings", "embed":
		return embedding
	case "gemini", "gemma":
		return gemini
	case "nova":
		return nova
	case "llama", "codellama":
		return llama
	case "mistral", "mixtral", "codestral", "devstral", "magistral", "ministral", "pixtral":
		return mistral
	case "deepseek":
		return deepseek
	case "qwen", "qwq":
		return qwen
	case "kimi":
		return kimi
	case "glm":
		return glm
	case "grok":
		return grok
	}
	return other
}
