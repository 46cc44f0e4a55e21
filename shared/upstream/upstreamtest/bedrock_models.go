package upstreamtest

import (
	"net/url"
	"slices"
	"strings"
)

// BedrockModel is a foundation model that [Bedrock] has in every region.
type BedrockModel struct {
	// ID is the model's own id, such as anthropic.claude-opus-5-5.
	ID string
	// Profiles are the places of its inference profiles: global, us, eu, jp,
	// apac. The id of a profile is the place, a dot, and ID.
	Profiles []string
	// Applications are the last parts of the ARNs of application inference
	// profiles of the account.
	Applications []string
	// OnDemand makes runtime take the bare ID, too.
	OnDemand bool
	// Mantle makes bedrock-mantle serve it, under the bare ID alone.
	Mantle bool
	// Counts makes CountTokens take the bare ID.
	Counts bool
	// Caches makes it take cache marks; LongCache marks with a ttl.
	Caches, LongCache bool
	// Betas are the flags that it takes; nil is the list that Envoy AI Gateway
	// probed, which holds for most models.
	Betas []string
}

// bedrockModels are one model of each kind that matters: only through profiles,
// with a short list of flags, with a version, on demand, and of other makers.
func bedrockModels() []BedrockModel {
	everywhere := []string{"global", "us", "eu", "jp"}
	return []BedrockModel{
		{ID: "anthropic.claude-opus-5-5", Profiles: everywhere, Applications: []string{"opus55app001"}, Mantle: true, Caches: true, LongCache: true},
		{ID: "anthropic.claude-sonnet-5-5", Profiles: everywhere, Mantle: true, Caches: true, LongCache: true},
		{ID: "anthropic.claude-haiku-5-5", Profiles: everywhere, Mantle: true, Caches: true, LongCache: true},
		// Only one flag: anthropics/claude-code issue 49370.
		{ID: "anthropic.claude-opus-4-7", Profiles: []string{"global", "us", "eu"}, Mantle: true, Caches: true, LongCache: true, Betas: []string{"interleaved-thinking-2025-05-14"}},
		{ID: "anthropic.claude-sonnet-4-5-20250929-v1:0", Profiles: everywhere, Counts: true, Caches: true, LongCache: true},
		{ID: "anthropic.claude-sonnet-4-20250514-v1:0", Profiles: []string{"us", "eu", "apac"}, Counts: true, Caches: true},
		{ID: "anthropic.claude-3-haiku-20240307-v1:0", OnDemand: true},
		{ID: "amazon.nova-pro-v1:0", Profiles: []string{"us", "eu", "apac"}, OnDemand: true, Caches: true},
		{ID: "meta.llama3-3-70b-instruct-v1:0", Profiles: []string{"us"}},
		{ID: "deepseek.v3-v1:0", OnDemand: true},
		{ID: "qwen.qwen3-32b-v1:0", OnDemand: true},
	}
}

// claude tells whether the model has Anthropic's bodies.
func (m BedrockModel) claude() bool { return strings.HasPrefix(m.ID, "anthropic.") }

// versioned tells whether the id has a version, as those of older models.
func (m BedrockModel) versioned() bool { return strings.Contains(m.ID, ":") }

// bare is the maker's own name for the model, which stands in answers.
func (m BedrockModel) bare() string {
	_, name, _ := strings.Cut(m.ID, ".")
	name, _, _ = strings.Cut(name, ":")
	return strings.TrimSuffix(name, "-v1")
}

func (m BedrockModel) betas() []string {
	if m.Betas != nil {
		return m.Betas
	}
	return ProbedBetas()
}

// ProbedBetas are the flags that InvokeModel took when Envoy AI Gateway probed
// it (internal/translator/anthropic_awsanthropic.go, 2026); it refused all
// others that were tried.
func ProbedBetas() []string {
	return []string{
		"computer-use-2024-10-22", "computer-use-2025-01-24", "context-1m-2025-08-07", "context-management-2025-06-27",
		"dev-full-thinking-2025-05-14", "fine-grained-tool-streaming-2025-05-14", "interleaved-thinking-2025-05-14",
		"mcp-client-2025-04-04", "mcp-client-2025-11-20", "model-context-window-exceeded-2025-08-26", "output-128k-2025-02-19",
		"pdfs-2024-09-25", "search-results-2025-06-09", "token-counting-2024-11-01", "token-efficient-tools-2025-02-19",
		"tool-search-tool-2025-10-19", "web-search-2025-03-05",
	}
}

// reaches tells whether a profile of that place exists in the region.
func reaches(place, region string) bool {
	switch place {
	case "global":
		return true
	case "jp":
		return region == "ap-northeast-1" || region == "ap-northeast-3"
	case "apac":
		return strings.HasPrefix(region, "ap-")
	}
	return strings.HasPrefix(region, place+"-")
}

// findModel looks up what a caller of runtime named: a bare id, a profile's id,
// or an ARN of either.
func findModel(models []BedrockModel, id, region string) (m BedrockModel, profile, ok bool) {
	if arn := strings.SplitN(id, ":", 6); len(arn) == 6 && arn[0] == "arn" {
		kind, name, _ := strings.Cut(arn[5], "/")
		if arn[2] != "bedrock" || arn[3] != region {
			return m, false, false
		}
		if kind == "application-inference-profile" {
			i := slices.IndexFunc(models, func(m BedrockModel) bool { return slices.Contains(m.Applications, name) })
			if i < 0 {
				return m, false, false
			}
			return models[i], true, true
		}
		m, profile, ok = findModel(models, name, region)
		return m, profile, ok && profile == (kind == "inference-profile")
	}
	for _, m := range models {
		if id == m.ID {
			return m, false, true
		}
		for _, place := range m.Profiles {
			if id == place+"."+m.ID {
				return m, true, reaches(place, region)
			}
		}
	}
	return m, false, false
}

// SetModels replaces the models that exist.
func (k *Bedrock) SetModels(models ...BedrockModel) {
	k.state.mu.Lock()
	defer k.state.mu.Unlock()
	k.state.models = slices.Clone(models)
}

// DenyModels makes the account have no access to the models, which are named by
// their bare ids. It replaces the ids of an earlier call.
func (k *Bedrock) DenyModels(ids ...string) {
	k.state.mu.Lock()
	defer k.state.mu.Unlock()
	k.state.denied = slices.Clone(ids)
}

// resolve finds the model of a request, or refuses.
func (k *Bedrock) resolve(x *exchange, id string) (BedrockModel, bool) {
	k.state.mu.Lock()
	models, denied := k.state.models, k.state.denied
	k.state.mu.Unlock()
	m, profile, ok := findModel(models, id, x.bedrock.region)
	cause := "model " + quote(id)
	switch {
	case x.bedrock.host == hostMantle:
		if !ok || profile || id != m.ID || !m.Mantle {
			return m, k.refuse(x, bError{404, "ResourceNotFoundException", bMissing(id), true, false}, cause)
		}
	case !ok:
		return m, k.refuse(x, bValidation(bBadModel), cause)
	case x.bedrock.op == opCountTokens:
		if profile || strings.HasPrefix(id, "arn:") || !m.Counts {
			return m, k.refuse(x, bValidation(bNoCounting), cause)
		}
	case !profile && !m.OnDemand:
		return m, k.refuse(x, bValidation(bOnDemand(id)), cause)
	}
	if slices.Contains(denied, m.ID) {
		return m, k.refuse(x, bError{403, "AccessDeniedException", bNoAccess, true, false}, cause+" is denied")
	}
	return m, true
}

// pathModel is the model id in a path of runtime, and what is done with it. The
// id is one segment: the slash of an ARN must be escaped.
func pathModel(escaped string) (id, action string, ok bool) {
	rest, ok := strings.CutPrefix(escaped, "/model/")
	id, action, found := strings.Cut(rest, "/")
	if !ok || !found || id == "" || strings.Contains(action, "/") {
		return "", "", false
	}
	id, err := url.PathUnescape(id)
	return id, action, err == nil
}
