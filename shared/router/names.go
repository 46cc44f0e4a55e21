package router

import (
	"maps"
	"slices"
	"strings"

	"sluice/shared/core"
)

const (
	// longContext is the suffix by which Claude Code asks for the 1M window; it names no other model (D22).
	longContext = "[1m]"
	// claudeDash begins the names of Claude models.
	claudeDash = "claude-"
)

// Resolve returns the name by which the account's nodes know the model that the client named; Request.Model, Serves and
// SentModel want it. A key's allow-list is checked against the client's own name, not this one.
//
// First the account's ModelMap applies: the exact name, else the key with one * whose literal part is the longest; a * of
// the target stands for what the key's * matched. A trailing "[1m]" is not part of what keys match, unless they end in it
// themselves, and stays where the target is a Claude name. Then, for names that no enabled node lists or maps, the
// built-in aliases, to which the account's map applies in turn:
//
//   - "sonnet-5-5" is claude-sonnet-5-5 (D50: Cursor sends names that hold "claude" elsewhere), likewise opus, haiku,
//     fable and mythos;
//   - gpt-4, gpt-4-turbo, gpt-4-turbo-preview and gpt-4o are claude-sonnet-4-5, gpt-4o-mini and gpt-3.5-turbo are
//     claude-haiku-4-5, unless an enabled node of kind openai takes them.
//
// Of the candidates only the nodes count. Names without a rule come back as they are, without an allocation.
func Resolve(a *core.Account, cs []Candidate, model string) string {
	name, mapped := accountName(a, model)
	to, gpt := aliasOf(name)
	if to == "" || held(cs, name, gpt) {
		return name
	}
	if !mapped {
		to, _ = accountName(a, to)
	}
	return to
}

// accountName applies the account's map.
func accountName(a *core.Account, model string) (string, bool) {
	to, score := renamed(a.ModelMap, model)
	if score == 0 {
		return model, false
	}
	if score < longKey && strings.HasSuffix(model, longContext) && isClaude(to) && !strings.HasSuffix(to, longContext) {
		to += longContext
	}
	return to, true
}

// held reports whether an enabled node has a use of its own for a name that a built-in alias would change.
func held(cs []Candidate, model string, gpt bool) bool {
	name := spell(model)
	for i := range cs {
		n := cs[i].Node
		if n.Disabled {
			continue
		}
		if lists(n, name) || gpt && n.Kind == core.KindOpenAI && serves(n, name) {
			return true
		}
		// a lone * maps whatever the name is: it would map the alias as well
		if _, score := nodeName(n, name); score > loneStar {
			return true
		}
	}
	return false
}

// aliasOf is the name that a built-in alias stands for, "" for other names; gpt tells that it is an OpenAI model's.
func aliasOf(model string) (to string, gpt bool) {
	switch model {
	case "gpt-4", "gpt-4-turbo", "gpt-4-turbo-preview", "gpt-4o":
		return "claude-sonnet-4-5", true
	case "gpt-4o-mini", "gpt-3.5-turbo":
		return "claude-haiku-4-5", true
	}
	if family, _, ok := strings.Cut(model, "-"); ok && isFamily(family) {
		return claudeDash + model, false
	}
	return "", false
}

// Aliases returns the other name under which Resolve takes a Claude model, the one without "claude-" (D50); "" when the
// model has none.
func Aliases(name string) string {
	rest, ok := strings.CutPrefix(name, claudeDash)
	if !ok {
		return ""
	}
	if family, _, ok := strings.Cut(rest, "-"); !ok || !isFamily(family) {
		return ""
	}
	return rest
}

func isFamily(s string) bool {
	switch s {
	case "opus", "sonnet", "haiku", "fable", "mythos":
		return true
	}
	return false
}

// isClaude reports whether a name is a Claude model's, in Anthropic's spelling or in Bedrock's.
func isClaude(model string) bool {
	return strings.HasPrefix(model, "claude") || strings.Contains(model, "anthropic.claude")
}

// spelling is a model's name as it was asked for and, where its version has a dot, with dashes. Anthropic and Bedrock know
// Claude models by the latter only, Amazon Q by the former.
type spelling struct {
	asked, dashed string
	bedrock       bool // it is an id of Bedrock's
}

func spell(model string) spelling { return spelling{model, dashed(model), isBedrockID(model)} }

// other is the second spelling that counts for the node, "" without one.
func (s spelling) other(n *core.Node) string {
	if n.Kind == core.KindAnthropic || n.Kind == core.KindBedrock {
		return s.dashed
	}
	return ""
}

// dashed is "claude-sonnet-4-5" for "claude-sonnet-4.5", "" for names that have no such dot. Names of models older than the
// families ("claude-2.1") do have a dot.
func dashed(model string) string {
	rest, ok := strings.CutPrefix(model, claudeDash)
	if !ok || strings.IndexByte(rest, '.') < 0 {
		return ""
	}
	known := false
	for part := range strings.SplitSeq(rest, "-") {
		known = known || isFamily(part)
	}
	if !known {
		return ""
	}
	b := []byte(model)
	for i := 1; i+1 < len(b); i++ {
		if b[i] == '.' && isDigit(b[i-1]) && isDigit(b[i+1]) {
			b[i] = '-'
		}
	}
	if to := string(b); to != model {
		return to
	}
	return ""
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// How well a key of a map fits a name: 0 not at all, loneStar "*", more by the length of its literal part.
const (
	loneStar = 1
	exactKey = 1 << 20
	longKey  = 1 << 21 // and more: the key itself ends in "[1m]"
)

// renamed returns what the map makes of the model and how well the key fits; 0: nothing.
func renamed(m map[string]string, model string) (to string, score int) {
	if len(m) == 0 || model == "" {
		return "", 0
	}
	base, long := strings.CutSuffix(model, longContext)
	if long {
		if to, score = lookup(m, model, true); score > 0 {
			return to, longKey + score
		}
	}
	return lookup(m, base, false)
}

// lookup is renamed among the keys that end in "[1m]", or among the others.
func lookup(m map[string]string, name string, long bool) (to string, score int) {
	if to, ok := m[name]; ok {
		return to, exactKey
	}
	head, tail := 0, 0
	for key, t := range m {
		prefix, suffix, wild := strings.Cut(key, "*")
		if !wild || strings.HasSuffix(key, longContext) != long || len(name) < len(key)-1 ||
			!strings.HasPrefix(name, prefix) || !strings.HasSuffix(name, suffix) {
			continue
		}
		// of two keys with as much literal text, the one that fixes more of the beginning: the order of a map is none
		if len(key) > score || len(key) == score && len(prefix) > head {
			to, score, head, tail = t, len(key), len(prefix), len(suffix)
		}
	}
	if before, after, wild := strings.Cut(to, "*"); wild && score > 0 {
		to = before + name[head:len(name)-tail] + after
	}
	return to, score
}

// nodeName is what the node's map makes of the name, in the spelling that a key fits better.
func nodeName(n *core.Node, s spelling) (to string, score int) {
	if len(n.ModelMap) == 0 {
		return "", 0
	}
	to, score = renamed(n.ModelMap, s.asked)
	if other := s.other(n); other != "" {
		if t, sc := renamed(n.ModelMap, other); sc > score {
			return t, sc
		}
	}
	return to, score
}

// lists reports whether an entry of the node's list is made for the name; "*" is made for none.
func lists(n *core.Node, s spelling) bool {
	other := s.other(n)
	for _, entry := range n.Models {
		if entry != "*" && (takes(entry, s.asked) || other != "" && takes(entry, other)) {
			return true
		}
	}
	return false
}

// How much a name belongs to a node.
const (
	stranger = iota // not at all
	ofKind          // to its kind
	own             // to it: it lists or maps it, or the name is an id of the node's own service
)

// belongs tells how much the name belongs to the node. own counts for more than ofKind with ids of Bedrock's only: an Anthropic
// or OpenAI service may know them, as relays do, but who has a node of Bedrock means that.
func belongs(n *core.Node, s spelling) int {
	claude := isClaude(s.asked)
	switch {
	case s.asked == "":
		return ofKind
	case s.bedrock && named(n, s):
		return own
	case s.bedrock && n.Kind == core.KindBedrock:
		// the other APIs know no models but Claude, which the ARN of a profile that someone made may be
		if (claude || n.API == "converse" || strings.HasPrefix(s.asked, "arn:")) && serves(n, s) {
			return own
		}
		return stranger
	case claude != (n.Kind == core.KindOpenAI) && serves(n, s): // claude*: all kinds but that one; other names: that one alone
		return ofKind
	case named(n, s):
		return ofKind
	}
	return stranger
}

// named reports whether the node lists or maps the name.
func named(n *core.Node, s spelling) bool {
	if len(n.Models) > 0 && lists(n, s) {
		return true
	}
	if len(n.ModelMap) == 0 {
		return false
	}
	_, score := nodeName(n, s)
	return score > 0
}

// isBedrockID reports whether a name is one that only Bedrock gave: an ARN, or a maker's model, with the regions of an inference
// profile before it or without ("us.anthropic.claude-opus-5-5", "amazon.nova-pro-v1:0").
func isBedrockID(model string) bool {
	if strings.HasPrefix(model, "arn:aws") {
		return strings.Contains(model, ":bedrock:")
	}
	maker, rest, ok := strings.Cut(model, ".")
	switch maker {
	case "global", "us", "eu", "jp", "au", "apac", "ca", "us-gov":
		maker, rest, ok = strings.Cut(rest, ".")
	}
	if !ok || maker == "" || rest == "" || !isLetter(rest[0]) {
		return false
	}
	for i := range len(maker) {
		if c := maker[i]; !isLetter(c) && !isDigit(c) {
			return false
		}
	}
	return isLetter(maker[0])
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' }

// Serves reports whether the node takes the model: one without a list takes any name, and every one takes the names that
// it maps. List entries may end in *.
func Serves(n *core.Node, model string) bool { return serves(n, spell(model)) }

func serves(n *core.Node, s spelling) bool {
	if len(n.Models) == 0 || s.asked == "" {
		return true
	}
	if _, score := nodeName(n, s); score > 0 || Allowed(n.Models, s.asked) {
		return true
	}
	other := s.other(n)
	return other != "" && Allowed(n.Models, other)
}

// Allowed reports whether a list of names and prefixes ending in * takes the model; an empty list takes any.
func Allowed(list []string, model string) bool {
	if len(list) == 0 {
		return true
	}
	for _, entry := range list {
		if takes(entry, model) {
			return true
		}
	}
	return false
}

func takes(entry, model string) bool {
	if entry == model || entry == strings.TrimSuffix(model, longContext) {
		return true
	}
	prefix, wild := strings.CutSuffix(entry, "*")
	return wild && strings.HasPrefix(model, prefix)
}

// SentModel is the name that the node is sent for the model: what its ModelMap, by the rules of Resolve, makes of it; else
// the name itself, for Anthropic and Bedrock with dashes in its version unless the node lists it with dots, and without
// "[1m]" for nodes of other kinds than anthropic.
func SentModel(n *core.Node, model string) string { return sent(n, spell(model)) }

func sent(n *core.Node, s spelling) string {
	if to, score := nodeName(n, s); score > 0 {
		return to
	}
	name := s.asked
	if other := s.other(n); other != "" && !slices.Contains(n.Models, name) && !slices.Contains(n.Models, strings.TrimSuffix(name, longContext)) {
		name = other
	}
	switch n.Kind {
	case core.KindOpenAI, core.KindBedrock, core.KindAmazonQ:
		name = strings.TrimSuffix(name, longContext)
	}
	return name
}

// Models returns the names that can be listed without asking an upstream, each once: what enabled nodes list or map, in
// the order of the nodes, then the names of the account's map whose target an enabled node takes. Names with a * are
// none. allow is the key's list, as for Allowed. Of the candidates only the nodes count.
func Models(a *core.Account, cs []Candidate, allow []string) []string {
	var out []string
	seen := make(map[string]bool)
	add := func(name string) {
		if strings.IndexByte(name, '*') < 0 && !seen[name] && Allowed(allow, name) {
			seen[name] = true
			out = append(out, name)
		}
	}
	for i := range cs {
		n := cs[i].Node
		if n.Disabled {
			continue
		}
		for _, name := range n.Models {
			add(name)
		}
		for _, name := range slices.Sorted(maps.Keys(n.ModelMap)) {
			add(name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.ModelMap)) {
		target := Resolve(a, cs, name)
		if slices.ContainsFunc(cs, func(c Candidate) bool { return !c.Node.Disabled && Serves(c.Node, target) }) {
			add(name)
		}
	}
	return out
}

// Open reports whether the node is enabled and takes names that its list does not spell out: only its upstream can tell
// them, and Serves which of them count.
func Open(n *core.Node) bool {
	return !n.Disabled && (len(n.Models) == 0 || slices.ContainsFunc(n.Models, func(m string) bool { return strings.HasSuffix(m, "*") }))
}
