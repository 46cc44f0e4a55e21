package adminapi

import (
	"net/textproto"
	"slices"
	"strings"
	"unicode"

	"sluice/shared/core"
)

func checkModels(list []string) error {
	if len(list) > 200 {
		return bad("models: at most 200 names")
	}
	for _, m := range list {
		if m == "" || len(m) > 256 || strings.ContainsFunc(m, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar }) {
			return bad("models: names must have 1 to 256 characters, none of them a control character")
		}
	}
	return nil
}

// checkModelMap checks a map of names, of a node or of an account; router.Resolve says what a * in it does.
func checkModelMap(m map[string]string) error {
	if len(m) > 200 {
		return bad("model_map: at most 200 entries")
	}
	for k, v := range m {
		if err := checkModels([]string{k, v}); err != nil {
			return bad("model_map: names must have 1 to 256 characters, none of them a control character")
		}
		from, to := strings.Count(k, "*"), strings.Count(v, "*")
		if from > 1 || to > 1 {
			return bad("model_map: a name may hold one * at most")
		}
		if to > from {
			return bad("model_map: a name on the right may hold a * only where the one on the left does")
		}
	}
	return nil
}

// wires are the endpoints that an OpenAI node may have.
var wires = []string{"chat", "responses", "both"}

// applyOpenAI puts what only nodes of kind openai have into n. A missing field changes nothing, an empty one goes back to
// the default.
func applyOpenAI(n *core.Node, in *nodeInput) error {
	wire, header := text(in.Wire), text(in.AuthHeader)
	if n.Kind != core.KindOpenAI {
		switch {
		case wire != "":
			return bad("wire: only nodes of kind openai have one")
		case header != "":
			return bad("auth_header: only nodes of kind openai have one")
		}
		return nil
	}
	if in.Wire != nil {
		if wire != "" && !slices.Contains(wires, wire) {
			return bad("wire: must be chat, responses or both")
		}
		n.Wire = wire
	}
	if in.AuthHeader != nil {
		if header != "" && !mayCarry(header) {
			return bad("auth_header: must be the name of a header that can carry a credential, such as api-key")
		}
		n.AuthHeader = header
	}
	return nil
}

// mayCarry reports whether a header can carry a credential to the upstream: its name is a token (RFC 9110 5.6.2), and
// neither the connection nor the body nor the gateway's own sending depends on it.
func mayCarry(name string) bool {
	if len(name) > 100 {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	switch name = textproto.CanonicalMIMEHeaderKey(name); name {
	case "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding",
		"Upgrade", "Host", "Expect", "Accept", "Accept-Encoding", "User-Agent", "Cookie", "Forwarded", "Via":
		return false
	}
	return !strings.HasPrefix(name, "Content-") && !strings.HasPrefix(name, "X-Forwarded-")
}
