package bedrock

import (
	"slices"
	"strings"

	"sluice/shared/core"
)

// vendor begins the ids of Anthropic's models.
const vendor = "anthropic."

// profiles are the prefixes of inference profiles: the regions that a request may be served in.
var profiles = [...]string{"global.", "us-gov.", "us.", "eu.", "jp.", "au.", "apac.", "ca."}

// dated are the families whose Bedrock ids have a date and a revision, as AWS's list of supported models gives them:
// https://docs.aws.amazon.com/bedrock/latest/userguide/models-supported.html. Later families have their bare name.
var dated = [...]struct{ family, rest, group string }{
	// group: how the runtime offers it: "" by the id itself; "geo" by profiles of large regions; "all" by those of small ones
	// (jp., au.) and global., too
	{"claude-3-haiku", "-20240307-v1:0", ""},
	{"claude-3-sonnet", "-20240229-v1:0", ""},
	{"claude-3-opus", "-20240229-v1:0", "geo"},
	{"claude-3-5-haiku", "-20241022-v1:0", "geo"},
	{"claude-3-5-sonnet", "-20241022-v2:0", "geo"},
	{"claude-3-7-sonnet", "-20250219-v1:0", "geo"},
	{"claude-sonnet-4", "-20250514-v1:0", "geo"},
	{"claude-opus-4", "-20250514-v1:0", "geo"},
	{"claude-opus-4-1", "-20250805-v1:0", "geo"},
	{"claude-sonnet-4-5", "-20250929-v1:0", "all"},
	{"claude-haiku-4-5", "-20251001-v1:0", "all"},
	{"claude-opus-4-5", "-20251101-v1:0", "all"},
	{"claude-opus-4-6", "-v1", "all"},
}

// firstSonnet35 is the older of the two models of its family: the only name whose date chooses the revision.
const firstSonnet35 = "claude-3-5-sonnet-20240620"

// IsID reports whether a name is one of Bedrock's own already, which none of these functions changes: a model's id, an
// inference profile's, or an ARN.
func IsID(model string) bool {
	maker, _, ok := strings.Cut(bare(model), ".")
	return strings.HasPrefix(model, "arn:") || ok && made(maker, "", 1, 32)
}

// ModelID is the id that a node's host takes for one of Anthropic's names (claude-sonnet-4-5, with a date, with -latest, or in
// the short form of claude-sonnet-4-0): mantle knows the bare id only (anthropic.claude-sonnet-4-5), Claude Platform on AWS
// Anthropic's own names, and the runtime what Candidates begins with. Ids of Bedrock's own and names that are not Claude's
// come back unchanged. A trailing "[1m]", which names no other model, goes.
func ModelID(n *core.Node, model string) string {
	name := strings.TrimSuffix(model, "[1m]")
	if !isAnthropic(name) {
		return name
	}
	host, region := hostMantle, n.Region
	if !isMessages(n) {
		host = hostRuntime
	}
	if a, ok := parseAddress(n.BaseURL); ok && a.host != "" {
		host, region = a.host, a.region
	}
	switch host {
	case hostPlatform:
		return name
	case hostMantle:
		return vendor + Family(name)
	}
	return Candidates(name, region)[0]
}

// Candidates are the ids under which the runtime of a region may offer one of Anthropic's names, the likeliest first: that of
// the inference profile of the region's own group, which keeps requests within it, the group's wider one, the global one, and
// the bare id. A catalogue tells which there are, see Pick. It is never empty.
func Candidates(model, region string) []string {
	name := strings.TrimSuffix(model, "[1m]")
	if !isAnthropic(name) {
		return []string{name}
	}
	id, kind := runtimeID(name)
	if kind == "" {
		return append([]string{id}, prefixed(Groups(region), id)...)
	}
	groups := Groups(region)
	if kind == "geo" { // of a time before the small groups: they come last
		slices.SortStableFunc(groups, func(a, b string) int { return narrow(a) - narrow(b) })
	}
	return append(prefixed(groups, id), id)
}

// Pick is the first of a name's candidates that the catalogue has; empty: none.
func Pick(model, region string, has func(id string) bool) string {
	for _, id := range Candidates(model, region) {
		if has(id) {
			return id
		}
	}
	return ""
}

func prefixed(groups []string, id string) []string {
	out := make([]string, len(groups))
	for i, g := range groups {
		out[i] = g + "." + id
	}
	return out
}

// narrow orders the groups of the older models: their own profile, then the global one, then the small ones.
func narrow(group string) int {
	switch group {
	case "global":
		return 1
	case "jp", "au", "ca":
		return 2
	}
	return 0
}

// Groups are the prefixes, without the dot, of the inference profiles that a region can call, the closest first.
func Groups(region string) []string {
	area, _, _ := strings.Cut(region, "-")
	switch {
	case strings.HasPrefix(region, "us-gov-"):
		return []string{"us-gov"} // a partition of its own: nothing leaves it
	case area == "us":
		return []string{"us", "global"}
	case area == "eu":
		return []string{"eu", "global"}
	case region == "ap-northeast-1" || region == "ap-northeast-3":
		return []string{"jp", "apac", "global"}
	case region == "ap-southeast-2" || region == "ap-southeast-4":
		return []string{"au", "apac", "global"}
	case area == "ap":
		return []string{"apac", "global"}
	case area == "ca":
		return []string{"ca", "us", "global"}
	}
	return []string{"global"}
}

// isAnthropic reports whether a name is one of Anthropic's own spelling.
func isAnthropic(model string) bool { return strings.HasPrefix(model, "claude-") && !IsID(model) }

// runtimeID is a name's id without profile, and how it is offered.
func runtimeID(name string) (id, kind string) {
	if name == firstSonnet35 {
		return vendor + name + "-v1:0", ""
	}
	family := Family(name)
	for _, d := range dated {
		if d.family == family {
			return vendor + family + d.rest, d.group
		}
	}
	return vendor + family, "all"
}

// bare is an id without the prefix of an inference profile.
func bare(id string) string {
	for _, p := range profiles {
		if rest, ok := strings.CutPrefix(id, p); ok && strings.IndexByte(rest, '.') > 0 {
			return rest
		}
	}
	return id
}

// BareID is the id of the model itself: without an inference profile's prefix, and out of the ARN of a model or of one of AWS's
// profiles. The ARN of a profile or deployment that someone made tells no model: it comes back as it is.
func BareID(id string) string {
	if !strings.HasPrefix(id, "arn:") {
		return bare(id)
	}
	fields := strings.SplitN(id, ":", 6)
	if len(fields) == 6 {
		for _, kind := range [...]string{"foundation-model/", "inference-profile/"} {
			if rest, ok := strings.CutPrefix(fields[5], kind); ok && strings.IndexByte(rest, '.') > 0 {
				return bare(rest)
			}
		}
	}
	return id
}

// AnthropicName is Anthropic's name for a Bedrock id: anthropic.claude-sonnet-4-5-20250929-v1:0 is
// claude-sonnet-4-5-20250929, with any profile before it. Ids of other vendors' models come back without the profile.
func AnthropicName(id string) string {
	name, ok := strings.CutPrefix(BareID(id), vendor)
	if !ok {
		return name
	}
	return trimRevision(name)
}

// Family is what an id or name has in common with all others of the same model, for tables: claude-sonnet-4-5 whatever the
// profile, ARN, date, revision or suffix; with the maker for models that are not Anthropic's (amazon.nova-pro). Names that it
// does not know come back as they are, in lower case.
func Family(id string) string {
	s := strings.ToLower(strings.TrimSuffix(id, "[1m]"))
	if s = BareID(s); strings.HasPrefix(s, "arn:") {
		return s
	}
	claude := strings.HasPrefix(s, "claude-") || strings.HasPrefix(s, vendor+"claude-")
	if !claude && !strings.Contains(s, ".") {
		return s
	}
	s = strings.TrimSuffix(trimRevision(strings.TrimPrefix(s, vendor)), "-latest")
	if i := strings.LastIndexByte(s, '-'); claude && i > 0 && len(s)-i == 9 && within(s[i+1:], '0', '9') {
		s = s[:i]
	}
	if !claude {
		return s
	}
	s = strings.ReplaceAll(s, ".", "-") // claude-sonnet-4.5
	if s == "claude-sonnet-4-0" || s == "claude-opus-4-0" {
		s = strings.TrimSuffix(s, "-0")
	}
	return s
}

// trimRevision removes what Bedrock puts behind a name: -v1:0, -v1, and the size of a context window (-v1:0:200k).
func trimRevision(s string) string {
	i := strings.LastIndex(s, "-v")
	if i <= 0 || i+2 >= len(s) {
		return s
	}
	for j, part := range strings.Split(s[i+2:], ":") {
		if part == "" || !within(strings.TrimSuffix(part, "k"), '0', '9') || j < 2 && strings.HasSuffix(part, "k") {
			return s
		}
	}
	return s[:i]
}

// validModel reports whether an id may become a segment of a path: it has what the service's own pattern allows, and nothing
// that means another directory to whoever unescapes it.
func validModel(id string) bool {
	return made(id, "-_.:/+", 1, 2048) && id[0] != '.' && id[0] != '/' && !strings.Contains(id, "..") && (strings.IndexByte(id, '/') < 0 || strings.HasPrefix(id, "arn:"))
}

// plain reports whether a text from the service may be shown and sent on.
func plain(s string) bool {
	return len(s) <= 256 && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufffd' }) < 0
}
