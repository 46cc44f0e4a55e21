package capture

import (
	"bytes"
	"strings"
)

// token is a credential that is known by how it begins.
type token struct {
	prefix string
	least  int // bytes behind the prefix
	more   string
}

// tokens are the credentials that are never kept: our own keys, and those whose issuers gave them a form.
func tokens() []token {
	return []token{
		{"sluice_", 20, ""},
		{"sk-", 16, "-_"}, // OpenAI, Anthropic and many others
		{"sk_live_", 10, ""}, {"sk_test_", 10, ""}, {"rk_live_", 10, ""},
		{"AKIA", 16, ""}, {"ASIA", 16, ""}, {"ABSK", 60, "+/="}, // AWS, Bedrock
		{"aorAAAA", 20, "-_+/=:."}, {"aoaAAAA", 20, "-_+/=:."}, {"ksk_", 16, "-_"}, // Amazon Q and Kiro
		{"ghp_", 20, ""}, {"gho_", 20, ""}, {"ghu_", 20, ""}, {"ghs_", 20, ""}, {"ghr_", 20, ""}, {"github_pat_", 20, "_"},
		{"glpat-", 16, "-_"}, {"npm_", 30, ""}, {"hf_", 20, ""}, {"pypi-", 50, "-_"},
		{"xoxb-", 10, "-"}, {"xoxa-", 10, "-"}, {"xoxp-", 10, "-"}, {"xoxr-", 10, "-"}, {"xoxs-", 10, "-"},
		{"AIza", 30, "-_"}, {"ya29.", 20, "-_"}, // Google
		{"eyJ", 40, "-_."}, // JSON web tokens
	}
}

func alnum(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9'
}

// builtin finds the credentials that are never kept.
func builtin(text []byte, hit func(from, to int)) {
	for _, t := range tokens() {
		seen := 0 // no byte is looked at twice: a body may be nothing but prefixes
		everywhere(text, t.prefix, func(at int) {
			if at < seen || at > 0 && (alnum(text[at-1]) || text[at-1] == '_') {
				return // within one, or within a word
			}
			end := at + len(t.prefix)
			for end < len(text) && (alnum(text[end]) || strings.IndexByte(t.more, text[end]) >= 0) {
				end++
			}
			seen = end
			if end-at-len(t.prefix) >= t.least {
				hit(at, end)
			}
		})
	}
	bearers(text, hit)
	privateKeys(text, hit)
	userinfo(text, hit)
}

// bearers finds what follows the word Bearer, if it may be a token: long, or with a digit.
func bearers(text []byte, hit func(from, to int)) {
	for _, word := range [...]string{"Bearer ", "bearer ", "BEARER "} {
		everywhere(text, word, func(at int) {
			from := at + len(word)
			for from < len(text) && text[from] == ' ' {
				from++
			}
			to, digit := from, false
			for to < len(text) && (alnum(text[to]) || strings.IndexByte("-._~+/=", text[to]) >= 0) {
				digit = digit || text[to] >= '0' && text[to] <= '9'
				to++
			}
			if n := to - from; n >= 20 || n >= 8 && digit {
				hit(from, to)
			}
		})
	}
}

const maxPEM = 32 << 10

// privateKeys finds PEM blocks of private keys, also when their end is missing.
func privateKeys(text []byte, hit func(from, to int)) {
	const begin, end, dashes = "-----BEGIN ", "-----END ", "-----"
	seen := 0
	everywhere(text, begin, func(at int) {
		if at < seen {
			return
		}
		rest := text[at+len(begin) : min(len(text), at+maxPEM)]
		label := bytes.Index(rest[:min(len(rest), 80)], []byte(dashes))
		if label < 0 || !bytes.Contains(rest[:label], []byte("PRIVATE KEY")) {
			return
		}
		to := at + len(begin) + len(rest)
		if i := bytes.Index(rest[label:], []byte(end)); i >= 0 {
			to = at + len(begin) + label + i + len(end)
			if j := bytes.Index(text[to:min(len(text), to+80)], []byte(dashes)); j >= 0 {
				to += j + len(dashes)
			}
		}
		seen = to
		hit(at, to)
	})
}

// userinfo finds the password of an address such as postgres://user:password@host.
func userinfo(text []byte, hit func(from, to int)) {
	everywhere(text, "://", func(at int) {
		colon := -1
		for p := at + 3; p < len(text) && p < at+3+512; p++ {
			switch c := text[p]; {
			case c == ':' && colon < 0:
				colon = p
			case c == '@':
				if colon > 0 && p > colon+1 {
					hit(colon+1, p)
				}
				return
			case c <= ' ', c == '/', c == '"', c == '\'', c == '<', c == '>', c == '\\', c == '`':
				return
			}
		}
	})
}

// addresses finds e-mail addresses in ASCII.
func addresses(text []byte, hit func(from, to int)) {
	local := func(b byte) bool { return alnum(b) || strings.IndexByte("._%+-", b) >= 0 }
	everywhere(text, "@", func(at int) {
		from, to := at, at+1
		for from > 0 && at-from < 64 && local(text[from-1]) {
			from--
		}
		dot := false
		for to < len(text) && to-at < 255 && (alnum(text[to]) || text[to] == '-' || text[to] == '.') {
			dot = dot || text[to] == '.' && to > at+1 && to+1 < len(text) && alnum(text[to+1])
			to++
		}
		if from < at && dot {
			hit(from, to)
		}
	})
}
