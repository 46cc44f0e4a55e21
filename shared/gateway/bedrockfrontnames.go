package gateway

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"sluice/shared/compat"
	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/rawjson"
	"sluice/shared/router"
	awsbedrock "sluice/shared/upstream/bedrock"
)

// noAccount is the account in the ARNs of our own lists, of which AWS has none.
const noAccount = "000000000000"

// ownARN is the id in an ARN of our own lists; all else comes back as it is.
func ownARN(id string) string {
	const head = "arn:aws:bedrock:us-east-1:"
	rest, ok := strings.CutPrefix(id, head)
	if !ok {
		return id
	}
	if own, ok := strings.CutPrefix(rest, noAccount+":inference-profile/"); ok && own != "" {
		return own
	}
	if own, ok := strings.CutPrefix(rest, ":foundation-model/"); ok && own != "" { // AWS's own, too
		return own
	}
	return id
}

// mayUse reports whether the key may use a model: where it is named as Bedrock does, also by Anthropic's name for it.
func (x *exchange) mayUse(model string) bool {
	return router.Allowed(x.key.Models, model) || x.front != nil && router.Allowed(x.key.Models, awsbedrock.AnthropicName(model))
}

// admitFront is admit for a request that names its model as Bedrock does.
func (x *exchange) admitFront() error {
	err := x.admit()
	if err == nil {
		x.account, err = x.frontAccount(x.account)
	}
	return err
}

// guardrail is the header that names a guardrail: an answer without it would not be what the client asked for.
const (
	guardrail  = guardrails + "identifier"
	guardrails = "X-Amzn-Bedrock-Guardrail" // what begins the names of all headers about one
)

// frontAccount is an account as this request sees it: Bedrock's id of the model is mapped for the nodes that know it by
// another name, and nodes that cannot honour the request are switched off. With an error the account comes back as it is.
func (x *exchange) frontAccount(raw *directory.Snapshot) (*directory.Snapshot, error) {
	acct := *raw
	acct.Nodes = slices.Clone(acct.Nodes)
	for name, v := range x.r.Header {
		if strings.HasPrefix(name, guardrails) && !awsbedrock.PlainHeader(v) {
			return raw, badField(strings.ToLower(name), "must have one value of printable ASCII without spaces around it")
		}
	}
	if len(x.r.Header[guardrail]) > 0 {
		left := 0
		for i := range acct.Nodes {
			n := &acct.Nodes[i]
			n.Disabled = n.Disabled || n.Kind != core.KindBedrock || n.API != awsbedrock.APIInvoke
			if !n.Disabled {
				left++
			}
		}
		if left == 0 {
			return raw, core.E(core.CodeInvalid, "Guardrails need a node of kind bedrock with api invoke, and this account has none.")
		}
	}
	plain := awsbedrock.AnthropicName(x.name)
	if plain == x.name || !strings.HasPrefix(plain, "claude-") {
		return &acct, nil
	}
	list := make([]router.Candidate, len(acct.Nodes))
	for i := range list {
		list[i].Node = &acct.Nodes[i].Node
	}
	if router.Resolve(&acct.Account, list, x.name) != x.name {
		return &acct, nil
	}
	if to := router.Resolve(&acct.Account, list, plain); to != plain { // what the account maps is mapped by whatever name
		acct.ModelMap = mapped(acct.ModelMap, x.name, to)
		return &acct, nil
	}
	if x.mapFront(acct.Nodes, x.name, plain); !slices.ContainsFunc(acct.Nodes, func(n directory.Node) bool { return !n.Disabled }) &&
		slices.ContainsFunc(raw.Nodes, func(n directory.Node) bool { return !n.Disabled }) {
		return raw, core.E(core.CodeNotFound, "model: no node of this account serves "+clip(x.name, 100)+" in the regions of its profile.")
	}
	return &acct, nil
}

// mapped is a copy of a map with one name more.
func mapped(m map[string]string, name, to string) map[string]string {
	out := make(map[string]string, len(m)+1)
	maps.Copy(out, m)
	out[name] = to
	return out
}

// mapFront maps Bedrock's id of a model for the nodes that may serve it. Its runtime gets the client's own id, so that requests
// stay in the regions of its profile; mantle knows the plain name alone, and serves it only in a region of that profile. Nodes
// of other kinds are asked where the id names no regions, or where no node of Bedrock could answer.
func (x *exchange) mapFront(nodes []directory.Node, id, plain string) {
	anywhere, served := profileOf(id) == "global", false
	var others []*core.Node
	for i := range nodes {
		n := &nodes[i].Node
		if n.Disabled {
			continue
		}
		route := ""
		if n.Kind == core.KindBedrock {
			route = routeOfBedrock(n)
		}
		switch {
		case route == "":
			others = append(others, n)
		case route == compat.RouteMantle && !withinRegion(x.regionOf(n), id):
			n.Disabled = true
		case route == compat.RouteMantle && router.Serves(n, plain):
			n.ModelMap, served = mapped(n.ModelMap, id, router.SentModel(n, plain)), true
		case router.Serves(n, id):
			served = true
		case router.Serves(n, plain):
			n.ModelMap, served = mapped(n.ModelMap, id, id), true
		}
	}
	if served && !anywhere {
		return
	}
	for _, own := range [...]bool{true, false} { // a service of OpenAI's kind knows Claude only where it is said to, or nobody else could
		for _, n := range others {
			said := n.Kind != core.KindOpenAI || len(n.Models) > 0 || router.SentModel(n, plain) != plain
			if said == own && router.Serves(n, plain) {
				n.ModelMap, served = mapped(n.ModelMap, id, router.SentModel(n, plain)), true
			}
		}
		if served {
			return
		}
	}
}

// regionOf is where a node's host is.
func (x *exchange) regionOf(n *core.Node) string {
	if c, ok := x.g.o.Upstreams[core.KindBedrock].(interface{ Region(n *core.Node) string }); ok {
		return c.Region(n)
	}
	return n.Region
}

// profileOf is the group of regions that an id's, or ARN's, profile names: us, eu, global...; anthropic where it is no profile's.
func profileOf(id string) string {
	group, _, _ := strings.Cut(id[strings.LastIndexByte(id, '/')+1:], ".")
	return group
}

// withinRegion reports whether a host that answers in its own region alone stays in the regions that an id's profile names.
func withinRegion(region, id string) bool {
	group := profileOf(id)
	if group == "us" { // which can be called from Canada, too
		return strings.HasPrefix(region, "us-") && !strings.HasPrefix(region, "us-gov-")
	}
	return group == "anthropic" || slices.Contains(awsbedrock.Groups(region), group)
}

// bedrockModels serves ListInferenceProfiles, GetInferenceProfile and ListFoundationModels: what GET /v1/models lists, by
// Bedrock's ids. Claude models of other nodes have the global profile's.
func (x *exchange) bedrockModels() {
	if err := x.admit(); err != nil {
		x.fail(err)
		return
	}
	x.brief = true
	profiles, foundation := bedrockIDs(x.gatherModels(true))
	query, h := x.r.URL.Query(), x.w.Header()
	var body []byte
	switch id, one := strings.CutPrefix(x.path, pathProfiles+"/"); {
	case x.path == pathFoundation:
		body = listOf(nil, "modelSummaries", filtered(foundation, "byProvider", query, func(m model) string { return m.owner }), appendFoundation)
		body = append(body, '}')
	case one:
		id, _ = url.PathUnescape(id) // which route has done before
		id = ownARN(id)
		i := slices.IndexFunc(profiles, func(m model) bool { return m.id == id })
		if i < 0 {
			x.fail(core.E(core.CodeNotFound, "The inference profile "+clip(id, 100)+" is served by no node of this account."))
			return
		}
		body = appendProfile(nil, profiles[i])
	default:
		if query.Get("type") == "APPLICATION" { // the gateway makes none
			profiles = nil
		}
		page, next, err := paged(profiles, query)
		if err != nil {
			x.fail(err)
			return
		}
		body = listOf(nil, "inferenceProfileSummaries", page, appendProfile)
		if next != "" {
			body = rawjson.AppendString(append(body, `,"nextToken":`...), next)
		}
		body = append(body, '}')
	}
	x.frontID(h)
	x.limitHeaders(h)
	h["Content-Type"] = jsonType
	x.rec.Status = http.StatusOK
	x.writeBody(http.StatusOK, body)
}

// bedrockIDs sorts a list into inference profiles and the models that they are of.
func bedrockIDs(list []model) (profiles, foundation []model) {
	seen := map[string]bool{}
	add := func(to *[]model, m model) {
		if !seen[m.id] {
			seen[m.id] = true
			*to = append(*to, m)
		}
	}
	for _, m := range list {
		switch {
		case strings.HasPrefix(m.id, "arn:"):
			continue
		case !awsbedrock.IsID(m.id):
			ids := awsbedrock.Candidates(strings.TrimSuffix(m.id, "[1m]"), "")
			if len(ids) < 2 { // no model of Bedrock's
				continue
			}
			m.id = "global." + awsbedrock.BareID(ids[0])
		}
		bare := awsbedrock.BareID(m.id)
		maker, _, _ := strings.Cut(bare, ".")
		m.owner = maker
		if bare != m.id {
			add(&profiles, m)
			m.id = bare
		}
		add(&foundation, m)
	}
	return profiles, foundation
}

// filtered is the part of a list that a filter of the query lets pass.
func filtered(list []model, name string, query url.Values, of func(model) string) []model {
	want := query.Get(name)
	if want == "" {
		return list
	}
	return slices.DeleteFunc(list, func(m model) bool { return !strings.EqualFold(of(m), want) })
}

// mostProfiles is how many profiles a page has at most.
const mostProfiles = 1000

// paged is a page of a list; a token is the number of those before it.
func paged(list []model, query url.Values) (page []model, next string, err error) {
	size, from := mostProfiles, 0
	if s := query.Get("maxResults"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > mostProfiles {
			return nil, "", badField("maxResults", "must be a number from 1 to "+strconv.Itoa(mostProfiles))
		}
		size = n
	}
	if s := query.Get("nextToken"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			return nil, "", badField("nextToken", "is none of this list; begin without one")
		}
		from = min(n, len(list))
	}
	end := min(from+size, len(list))
	if end < len(list) {
		next = strconv.Itoa(end)
	}
	return list[from:end], next, nil
}

func listOf(dst []byte, name string, list []model, one func([]byte, model) []byte) []byte {
	dst = append(rawjson.AppendString(append(dst, '{'), name), ":["...)
	for i, m := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = one(dst, m)
	}
	return append(dst, ']')
}

const arnHead = `arn:aws:bedrock:us-east-1:`

// appendProfile appends a profile as the control plane lists it. Days are the epoch, as in GET /v1/models.
func appendProfile(dst []byte, m model) []byte {
	const day = `"1970-01-01T00:00:00Z"`
	dst = rawjson.AppendString(append(dst, `{"inferenceProfileId":`...), m.id)
	dst = rawjson.AppendString(append(dst, `,"inferenceProfileName":`...), m.name)
	dst = rawjson.AppendString(append(dst, `,"inferenceProfileArn":`...), arnHead+noAccount+":inference-profile/"+m.id)
	dst = rawjson.AppendString(append(dst, `,"models":[{"modelArn":`...), arnHead+":foundation-model/"+awsbedrock.BareID(m.id))
	return append(dst, `}],"status":"ACTIVE","type":"SYSTEM_DEFINED","createdAt":`+day+`,"updatedAt":`+day+`}`...)
}

// appendFoundation appends a model as the control plane lists it.
func appendFoundation(dst []byte, m model) []byte {
	dst = rawjson.AppendString(append(dst, `{"modelId":`...), m.id)
	dst = rawjson.AppendString(append(dst, `,"modelName":`...), m.name)
	dst = rawjson.AppendString(append(dst, `,"providerName":`...), m.owner)
	dst = rawjson.AppendString(append(dst, `,"modelArn":`...), arnHead+":foundation-model/"+m.id)
	return append(dst, `,"inputModalities":["TEXT"],"outputModalities":["TEXT"],"responseStreamingSupported":true,"inferenceTypesSupported":["ON_DEMAND"],"modelLifecycle":{"status":"ACTIVE"}}`...)
}
