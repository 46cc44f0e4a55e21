package upstreamtest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Signature Version 4 as the service checks it, written from the specification
// (docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html)
// and not from a signer, so that a signer's mistake is not made twice.

const sigAlgorithm = "AWS4-HMAC-SHA256"

// sigTime is the form of X-Amz-Date.
const sigTime = "20060102T150405Z"

// sigHeader is the Authorization header, taken apart.
type sigHeader struct {
	key, date, region, service, terminator string
	signed                                 []string
	signature                              string
}

// parseAuthorization returns what the header lacks, in the service's words.
func parseAuthorization(header string) (a sigHeader, problem string) {
	rest, ok := strings.CutPrefix(header, sigAlgorithm)
	if !ok {
		return a, "Unsupported AWS 'algorithm': '" + strings.SplitN(header, " ", 2)[0] + "'. "
	}
	params := map[string]string{}
	for _, p := range strings.Split(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		params[name] = value
	}
	for _, name := range []string{"Credential", "Signature", "SignedHeaders"} {
		if params[name] == "" {
			problem += "Authorization header requires '" + name + "' parameter. "
		}
	}
	if problem != "" {
		return a, problem
	}
	// An access key id has no slash.
	scope := strings.Split(params["Credential"], "/")
	if len(scope) != 5 {
		return a, "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '" + params["Credential"] + "'"
	}
	a = sigHeader{key: scope[0], date: scope[1], region: scope[2], service: scope[3], terminator: scope[4], signature: params["Signature"]}
	a.signed = strings.Split(params["SignedHeaders"], ";")
	return a, ""
}

// SigV4 computes the signature that a request signed with Signature Version 4
// must have: the canonical request, for messages, and the signature in hex. It
// reads scope, signed headers and date from the request's own headers and fails
// when these are malformed. Paths are encoded twice, as for all services but S3.
func SigV4(r Request, secret string) (canonical, signature string, err error) {
	a, problem := parseAuthorization(r.Header.Get("Authorization"))
	if problem != "" {
		return "", "", errors.New("authorization header: " + problem)
	}
	canonical = canonicalRequest(r, a.signed)
	scope := strings.Join([]string{a.date, a.region, a.service, a.terminator}, "/")
	toSign := strings.Join([]string{sigAlgorithm, r.Header.Get("X-Amz-Date"), scope, sha256Hex([]byte(canonical))}, "\n")
	key := []byte("AWS4" + secret)
	for _, part := range []string{a.date, a.region, a.service, a.terminator, toSign} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	return canonical, hex.EncodeToString(key), nil
}

func sha256Hex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// canonicalRequest hashes the body that came, whatever X-Amz-Content-Sha256
// says: services other than S3 know no unsigned payloads.
func canonicalRequest(r Request, signed []string) string {
	var b strings.Builder
	b.WriteString(r.Method + "\n" + canonicalPath(r.Path) + "\n" + canonicalQuery(r.RawQuery) + "\n")
	for _, name := range signed {
		b.WriteString(name + ":" + canonicalValue(r, name) + "\n")
	}
	b.WriteString("\n" + strings.Join(signed, ";") + "\n" + sha256Hex(r.Body))
	return b.String()
}

// canonicalPath encodes the path as sent, which is encoded once already, again.
func canonicalPath(escaped string) string {
	clean := path.Clean("/" + escaped)
	if strings.HasSuffix(escaped, "/") && clean != "/" {
		clean += "/"
	}
	segments := strings.Split(clean, "/")
	for i, s := range segments {
		segments[i] = uriEncode(s)
	}
	return strings.Join(segments, "/")
}

// canonicalQuery sorts by encoded name, then by encoded value.
func canonicalQuery(raw string) string {
	if raw == "" {
		return ""
	}
	var pairs [][2]string
	for _, p := range strings.Split(raw, "&") {
		if p == "" {
			continue
		}
		name, value, _ := strings.Cut(p, "=")
		pairs = append(pairs, [2]string{reencode(name), reencode(value)})
	}
	slices.SortFunc(pairs, func(a, b [2]string) int {
		if c := strings.Compare(a[0], b[0]); c != 0 {
			return c
		}
		return strings.Compare(a[1], b[1])
	})
	out := make([]string, 0, len(pairs))
	for _, p := range pairs {
		out = append(out, p[0]+"="+p[1])
	}
	return strings.Join(out, "&")
}

// reencode gives a part of a query the one encoding that is signed.
func reencode(s string) string {
	plain, err := url.QueryUnescape(s)
	if err != nil {
		plain = s
	}
	return uriEncode(plain)
}

// uriEncode leaves only the unreserved characters of RFC 3986 as they are.
func uriEncode(s string) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("-_.~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hexDigits[c>>4])
		b.WriteByte(hexDigits[c&15])
	}
	return b.String()
}

// canonicalValue joins the values of a header; runs of spaces become one.
func canonicalValue(r Request, name string) string {
	switch name {
	case "host":
		return r.Host
	case "content-length":
		return strconv.FormatInt(r.ContentLength, 10)
	}
	values := r.Header[http.CanonicalHeaderKey(name)]
	out := make([]string, 0, len(values))
	for _, v := range values {
		out = append(out, strings.Join(strings.FieldsFunc(v, func(c rune) bool { return c == ' ' }), " "))
	}
	return strings.Join(out, ",")
}

// unsigned returns the first header that the request has but did not sign
// though it must: host and all of x-amz-*.
func unsigned(r Request, signed []string) string {
	if !slices.Contains(signed, "host") {
		return "host"
	}
	var names []string
	for name := range r.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-amz-") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if !slices.Contains(signed, name) {
			return name
		}
	}
	return ""
}
