package bedrock

import (
	"net/url"
	"strings"

	"sluice/shared/core"
	"sluice/shared/upstream"
)

// The values of a node's API.
const (
	APIMessages = "messages" // also the empty one
	APIInvoke   = "invoke"
	APIConverse = "converse"
)

// The services, by the first label of their hosts. A signature names the service (wire-formats 5), which for the runtime and
// the control plane is the control plane's.
const (
	hostRuntime  = "bedrock-runtime"
	hostMantle   = "bedrock-mantle"
	hostPlatform = "aws-external-anthropic"
	hostControl  = "bedrock"
)

// address is where a request goes and what is signed for it.
type address struct {
	url     url.URL // no user, query or fragment; the path without a slash at its end
	host    string  // one of the services; empty: a host that is none of AWS's
	service string
	region  string // empty: not known, which matters to signatures only
	// trusted are the addresses that the operator set and AWS's own hosts. No address guard applies: AWS's names may lead to a
	// private endpoint within the operator's network, and no tenant can make them lead elsewhere. Their clock is believed.
	trusted bool
}

// resolve finds where a node's requests go: its own base URL, else the host of its API in the region.
func resolve(n *core.Node, region string) (address, error) {
	switch n.API {
	case "", APIMessages, APIInvoke, APIConverse:
	default:
		return address{}, misconfigured("the node's api is none of messages, invoke and converse; correct it")
	}
	if region != "" && !upstream.ValidRegion(region) {
		return address{}, misconfigured("the node's region is not the name of a region, such as us-east-1; correct it")
	}
	if n.BaseURL == "" {
		if region == "" {
			return address{}, misconfigured("the node has no region; enter one, such as us-east-1")
		}
		if isMessages(n) {
			return own(hostMantle, region, "/anthropic"), nil
		}
		return own(hostRuntime, region, ""), nil
	}
	a, ok := parseAddress(n.BaseURL)
	if !ok {
		return address{}, misconfigured("the node's base URL is not usable; correct it")
	}
	a.region = either(a.region, region) // a signature for another region than the host's is refused
	a.trusted = a.trusted || n.Operator
	return a.fit(isMessages(n))
}

func isMessages(n *core.Node) bool { return n.API == "" || n.API == APIMessages }

// fit brings an entered base URL into the form that paths are appended to: people paste it with and without its parts.
func (a address) fit(messages bool) (address, error) {
	path := strings.TrimRight(a.url.Path, "/")
	path = strings.TrimRight(strings.TrimSuffix(strings.TrimSuffix(path, "/messages"), "/v1"), "/")
	switch {
	case messages && path == "" && (a.host == hostMantle || a.host == hostRuntime):
		path = "/anthropic"
	case !messages && (a.host == hostMantle || a.host == hostPlatform):
		return address{}, misconfigured("the base URL's host has the messages API only; choose it, or enter a bedrock-runtime host")
	case !messages && a.host == hostRuntime:
		path = strings.TrimSuffix(path, "/anthropic")
	case a.host == hostControl:
		return address{}, misconfigured("the base URL's host serves no model; enter a bedrock-runtime or bedrock-mantle host, or none")
	}
	a.url.Path, a.url.RawPath = path, ""
	if a.service == "" {
		if a.service = signedAs(hostRuntime); messages {
			a.service = signedAs(hostMantle)
		}
	}
	return a, nil
}

// own is AWS's own host of a service. The region must be valid.
func own(host, region, path string) address {
	domain := ".amazonaws.com"
	if host == hostMantle || host == hostPlatform {
		domain = ".api.aws"
	}
	return address{url: url.URL{Scheme: "https", Host: host + "." + region + domain, Path: path}, host: host, service: signedAs(host), region: region, trusted: true}
}

// signedAs is the name of a host's service in signatures.
func signedAs(host string) string {
	if host == hostRuntime {
		return hostControl
	}
	return host
}

// parseAddress reads an http or https address, and the service and region from AWS's own hosts.
func parseAddress(raw string) (address, bool) {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.Opaque != "" {
		return address{}, false
	}
	u.User, u.Fragment, u.RawFragment, u.RawQuery, u.ForceQuery = nil, "", "", "", false
	u.Host = strings.ToLower(u.Host)
	if port := u.Port(); port == "443" && u.Scheme == "https" || port == "80" && u.Scheme == "http" {
		u.Host = strings.TrimSuffix(u.Host, ":"+port) // not part of what is signed
	}
	a := address{url: *u}
	var private bool
	if a.host, a.region, private = awsHost(u.Hostname()); a.host != "" {
		a.service = signedAs(a.host)
		a.trusted = u.Scheme == "https" && u.Port() == "" && !private
	}
	return a, true
}

// awsHost tells the service and region of one of AWS's own hosts; private: it is that of one endpoint in someone's network
// (vpce-0a1b.bedrock-runtime.us-east-1.vpce.amazonaws.com).
func awsHost(host string) (service, region string, private bool) {
	for _, domain := range [...]string{".vpce.amazonaws.com", ".amazonaws.com", ".api.aws"} {
		rest, ok := strings.CutSuffix(host, domain)
		if !ok {
			continue
		}
		labels := strings.Split(rest, ".")
		if private = domain == ".vpce.amazonaws.com"; private && len(labels) == 3 {
			labels = labels[1:]
		}
		if len(labels) != 2 || !upstream.ValidRegion(labels[1]) {
			return "", "", false
		}
		switch name := strings.TrimSuffix(labels[0], "-fips"); name {
		case hostRuntime, hostMantle, hostPlatform, hostControl:
			return name, labels[1], private
		}
		return "", "", false
	}
	return "", "", false
}

func within(s string, lo, hi byte) bool {
	for i := range len(s) {
		if s[i] < lo || s[i] > hi {
			return false
		}
	}
	return true
}

func misconfigured(reason string) error {
	return &upstream.Error{Failure: upstream.Failure{Class: upstream.Connection, Reason: reason}}
}
