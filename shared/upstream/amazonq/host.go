package amazonq

import (
	"net/url"
	"strings"

	"sluice/shared/core"
	"sluice/shared/upstream"
)

const (
	apiKiro       = "kiro"
	defaultRegion = "us-east-1"
)

// resolve finds a node's host: its own base URL, else the operator's endpoint, else the service's host in the region.
func (o Options) resolve(n *core.Node, control bool) (address, error) {
	if n.BaseURL != "" {
		u, ok := parseEndpoint(n.BaseURL)
		if !ok {
			return address{}, misconfigured("the node's base URL is not usable; correct it")
		}
		return address{url: u, operator: n.Operator}, nil
	}
	region, err := nodeRegion(n)
	if err != nil {
		return address{}, err
	}
	if o.Endpoint != "" {
		u, ok := parseEndpoint(o.Endpoint)
		if !ok {
			return address{}, misconfigured("AMAZONQ_API_ENDPOINT is not a usable address; correct it")
		}
		own, isOwn := regionOf(u, "q.")
		if !isOwn || n.API != apiKiro && (region == "" || region == own) {
			return address{url: u, operator: true}, nil
		}
		if region == "" {
			region = own
		}
	}
	if region == "" {
		region = defaultRegion
	}
	host := "q." + region + ".amazonaws.com"
	switch {
	case n.API == apiKiro && control:
		host = "management." + region + ".kiro.dev"
	case n.API == apiKiro:
		host = "runtime." + region + ".kiro.dev"
	}
	return address{url: url.URL{Scheme: "https", Host: host, Path: "/"}}, nil
}

// nodeRegion is the node's own region, else that of its profile; "" when neither names one.
func nodeRegion(n *core.Node) (string, error) {
	region := n.Region
	if region == "" {
		region = profileRegion(n.Profile)
	}
	if region != "" && !upstream.ValidRegion(region) {
		return "", misconfigured("the region of the node or of its profile ARN is not the name of a region; correct it")
	}
	return region, nil
}

// profileRegion is the 4th field of a profile's ARN. Imported nodes may have something else in its place: it says nothing.
func profileRegion(profile string) string {
	if !isARN(profile) {
		return ""
	}
	fields := strings.SplitN(profile, ":", 5)
	if len(fields) < 5 {
		return ""
	}
	return fields[3]
}

func isARN(s string) bool { return strings.HasPrefix(s, "arn:") && len(s) <= 950 }

// regionOf reads the region out of AWS's own host with the prefix.
func regionOf(u url.URL, prefix string) (string, bool) {
	rest, ok := strings.CutPrefix(strings.ToLower(u.Hostname()), prefix)
	region, own := strings.CutSuffix(rest, ".amazonaws.com")
	return region, ok && own && upstream.ValidRegion(region)
}

// parseEndpoint reads an http or https address. The protocol posts to its root; a path in it is kept for relays.
func parseEndpoint(raw string) (url.URL, bool) {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" {
		return url.URL{}, false
	}
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	if u.Path == "" {
		u.Path = "/"
	}
	return *u, true
}

func misconfigured(reason string) error {
	return &upstream.Error{Failure: upstream.Failure{Class: upstream.Connection, Reason: reason}}
}
