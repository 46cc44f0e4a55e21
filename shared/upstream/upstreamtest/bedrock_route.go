package upstreamtest

import (
	"net"
	"net/http"
	"strings"
)

type bedrockHost uint8

const (
	hostNone bedrockHost = iota
	hostMantle
	hostRuntime
	hostControl
	hostExternal
	hostSTS
)

func (h bedrockHost) name() string {
	return [...]string{"", "bedrock-mantle", "bedrock-runtime", "bedrock", "aws-external-anthropic", "sts"}[h]
}

// signing is the service that a signature for the host names.
func (h bedrockHost) signing() string {
	if h == hostRuntime {
		return "bedrock"
	}
	return h.name()
}

type bedrockOp uint8

const (
	opNone bedrockOp = iota
	opMessages
	opCountMessageTokens
	opListModels
	opInvoke
	opConverse
	opCountTokens
	opListFoundationModels
	opListInferenceProfiles
	opAssumeRole
)

// bedrockRoute is where a request goes.
type bedrockRoute struct {
	host   bedrockHost
	region string
	op     bedrockOp
	stream bool   // of opInvoke and opConverse
	model  string // of the path
	native bool   // under a path of the Messages API
}

// name is the operation's.
func (r bedrockRoute) name() string {
	name := [...]string{"", "Messages", "CountMessageTokens", "ListModels", "InvokeModel", "Converse", "CountTokens",
		"ListFoundationModels", "ListInferenceProfiles", "AssumeRole"}[r.op]
	switch {
	case r.stream && r.op == opInvoke:
		return name + "WithResponseStream"
	case r.stream:
		return name + "Stream"
	}
	return name
}

// anthropic tells whether errors have the form of the Messages API.
func (r bedrockRoute) anthropic() bool { return r.native }

// namedHost is the host of a real name and its region.
func namedHost(hostport string) (bedrockHost, string) {
	name := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		name = h
	}
	if name == "sts.amazonaws.com" {
		return hostSTS, "us-east-1"
	}
	service, rest, _ := strings.Cut(name, ".")
	region, domain, _ := strings.Cut(rest, ".")
	switch service + " " + domain {
	case "bedrock-mantle api.aws":
		return hostMantle, region
	case "aws-external-anthropic api.aws":
		return hostExternal, region
	case "bedrock-runtime amazonaws.com", "bedrock-runtime-fips amazonaws.com":
		return hostRuntime, region
	case "bedrock amazonaws.com", "bedrock-fips amazonaws.com":
		return hostControl, region
	case "sts amazonaws.com":
		return hostSTS, region
	}
	return hostNone, ""
}

// prefixedHost is the host that a path stands for, and the rest of the path.
func prefixedHost(path string) (bedrockHost, string) {
	first, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch first {
	case "mantle":
		return hostMantle, "/" + rest
	case "runtime":
		return hostRuntime, "/" + rest
	case "control":
		return hostControl, "/" + rest
	case "external":
		return hostExternal, "/" + rest
	case "sts":
		return hostSTS, "/" + rest
	}
	return hostNone, path
}

func (k *Bedrock) route(r Request) bedrockRoute {
	path := r.Path
	out := bedrockRoute{}
	out.host, out.region = namedHost(r.Host)
	if out.host == hostNone {
		out.host, path = prefixedHost(path)
		out.region = k.regions[0]
	}
	post, get := r.Method == http.MethodPost, r.Method == http.MethodGet
	base := "/anthropic"
	switch out.host {
	case hostExternal:
		base = ""
	case hostControl:
		switch {
		case get && path == "/foundation-models":
			out.op = opListFoundationModels
		case get && path == "/inference-profiles":
			out.op = opListInferenceProfiles
		}
		return out
	case hostSTS:
		if post && path == "/" {
			out.op = opAssumeRole
		}
		return out
	}
	out.native = strings.HasPrefix(path, base+"/v1/") && out.host != hostNone
	switch {
	case out.host == hostNone:
	case post && path == base+"/v1/messages":
		out.op = opMessages
	case post && path == base+"/v1/messages/count_tokens":
		out.op = opCountMessageTokens
	case get && path == base+"/v1/models" && out.host != hostRuntime:
		out.op = opListModels
	case get && path == "/v1/models" && out.host == hostMantle:
		out.op = opListModels
	case post && out.host == hostRuntime:
		out.modelRoute(path)
	}
	return out
}

// modelRoute is that of the operations of AWS's own API.
func (r *bedrockRoute) modelRoute(path string) {
	id, action, ok := pathModel(path)
	if !ok {
		return
	}
	r.model = id
	switch action {
	case "invoke":
		r.op = opInvoke
	case "invoke-with-response-stream":
		r.op, r.stream = opInvoke, true
	case "converse":
		r.op = opConverse
	case "converse-stream":
		r.op, r.stream = opConverse, true
	case "count-tokens":
		r.op = opCountTokens
	}
}

// maxBody is the limit of Messages, and the 25,000,000 bytes that the model of
// bedrockruntime allows a body.
func (k *Bedrock) maxBody(path string) int64 {
	if strings.Contains(path, "/model/") {
		return 25_000_000
	}
	return maxBody
}

func (k *Bedrock) serve(x *exchange) {
	x.bedrock = k.route(x.req)
	h := x.w.Header()
	h["Date"] = []string{k.clock().UTC().Format(http.TimeFormat)}
	h["X-Amzn-Requestid"] = []string{uuid(k.nextID())}
	if x.bedrock.native {
		x.id = k.newID("req_")
		h["Request-Id"] = []string{x.id}
	}
	switch {
	case x.tooLarge:
		bNamed("RequestEntityTooLargeException").send(x)
	case !k.authorized(x):
	case x.bedrock.op == opNone:
		k.refuse(x, bNamed("UnknownOperationException"), x.req.Method+" "+x.req.Path)
	case !k.typed(x):
	default:
		k.dispatch(x)
	}
}

// typed refuses a body of the wrong content type.
func (k *Bedrock) typed(x *exchange) bool {
	got, _, _ := strings.Cut(x.req.Header.Get("Content-Type"), ";")
	want := "application/json"
	if x.bedrock.op == opAssumeRole {
		want = "application/x-www-form-urlencoded"
	}
	if x.req.Method != http.MethodPost || got == want || !k.validating {
		return true
	}
	return k.refuse(x, bValidation("The Content-Type "+got+" is not supported; use "+want+"."), "Content-Type "+quote(got))
}

func (k *Bedrock) dispatch(x *exchange) {
	switch x.bedrock.op {
	case opMessages, opCountMessageTokens:
		k.messages(x)
	case opInvoke:
		k.invoke(x)
	case opConverse:
		k.converse(x)
	case opCountTokens:
		k.countTokens(x)
	case opListModels:
		k.listModels(x)
	case opListFoundationModels:
		k.listFoundationModels(x)
	case opListInferenceProfiles:
		k.listInferenceProfiles(x)
	case opAssumeRole:
		k.assumeRole(x)
	}
}

// refuse answers what the checks found; it reports false, for its callers to
// return.
func (k *Bedrock) refuse(x *exchange, e bError, cause string) bool {
	k.state.mu.Lock()
	k.state.refused = append(k.state.refused, cause)
	k.state.mu.Unlock()
	e.send(x)
	return false
}
