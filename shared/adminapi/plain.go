package adminapi

import (
	"net/netip"
	"net/url"
	"strings"
	"unicode"

	"sluice/shared/core"
)

// plainName is a node's name as people without a login may see it: one that tells where the node is, or was, gives way to its
// id. A node that got no name has its host's, and keeps that when it moves.
func plainName(n *core.Node) string {
	u, err := url.Parse(n.BaseURL)
	if err != nil || tellsHost(n.Name) || u.Hostname() != "" && strings.Contains(strings.ToLower(n.Name), strings.ToLower(u.Hostname())) {
		return "node " + n.ID
	}
	return n.Name
}

// tellsHost reports whether a text holds what looks like a host name with a dot, localhost, a host with its port, or an IP
// address. It takes a few names for hosts that are none; a lone word without a port it takes for none.
func tellsHost(s string) bool {
	for word := range strings.FieldsFuncSeq(s, notOfHosts) {
		if looksLikeHost(strings.Trim(word, ".")) {
			return true
		}
	}
	return false
}

func notOfHosts(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsDigit(r) && !strings.ContainsRune(".-_:[]%", r)
}

func looksLikeHost(word string) bool {
	if _, err := netip.ParseAddr(strings.Trim(word, "[]:")); err == nil {
		return true
	}
	if _, err := netip.ParseAddr(strings.Trim(word, "[]")); err == nil {
		return true
	}
	if _, err := netip.ParseAddrPort(word); err == nil {
		return true
	}
	host, port, found := strings.Cut(strings.TrimRight(word, ":"), ":")
	if found && host != "" && strings.Trim(port, "0123456789") == "" && strings.ContainsFunc(host, unicode.IsLetter) {
		return true
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	// the last label of a host begins with a letter, unlike that of a version: "claude-sonnet-4.5", "gpt-5.4-mini"
	dot := strings.LastIndexByte(host, '.')
	return dot > 0 && strings.IndexFunc(host[dot+1:], unicode.IsLetter) == 0
}
