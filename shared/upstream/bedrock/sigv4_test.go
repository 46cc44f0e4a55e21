package bedrock_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// The verifier is written from the specification, not from the signer that it judges:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func hexSum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// uriEncode is the specification's UriEncode.
func uriEncode(s string, slash bool) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~', c == '/' && !slash:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func uriDecode(s string) string {
	var b []byte
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if v, err := hex.DecodeString(s[i+1 : i+3]); err == nil {
				b, i = append(b, v[0]), i+2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

func canonicalQuery(raw string) string {
	if raw == "" {
		return ""
	}
	var pairs []string
	for part := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(part, "=")
		pairs = append(pairs, uriEncode(uriDecode(name), true)+"="+uriEncode(uriDecode(value), true))
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

// signature of a request whose target is as it came over the wire: its path is escaped once, and once more to be signed, as
// all services but S3 want it.
func signature(secret, method, target string, headers [][2]string, bodyHash, date, region, service string) string {
	path, query, _ := strings.Cut(target, "?")
	var names, lines []string
	for _, h := range headers {
		names = append(names, h[0])
		lines = append(lines, h[0]+":"+strings.Join(strings.Fields(h[1]), " ")+"\n")
	}
	canonical := method + "\n" + uriEncode(path, false) + "\n" + canonicalQuery(query) + "\n" + strings.Join(lines, "") + "\n" + strings.Join(names, ";") + "\n" + bodyHash
	scope := date[:8] + "/" + region + "/" + service + "/aws4_request"
	toSign := "AWS4-HMAC-SHA256\n" + date + "\n" + scope + "\n" + hexSum([]byte(canonical))
	key := mac(mac(mac(mac([]byte("AWS4"+secret), date[:8]), region), service), "aws4_request")
	return hex.EncodeToString(mac(key, toSign))
}

// TestVerifier judges the judge, by the first case of AWS's published test suite (get-vanilla).
func TestVerifier(t *testing.T) {
	got := signature("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "GET", "/", [][2]string{{"host", "example.amazonaws.com"}, {"x-amz-date", "20150830T123600Z"}},
		hexSum(nil), "20150830T123600Z", "us-east-1", "service")
	if want := "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// stamp is what an Authorization header says.
type stamp struct{ key, date, region, service string }

func readStamp(h http.Header) (s stamp, signed []string, sig string, err error) {
	rest, ok := strings.CutPrefix(h.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return s, nil, "", errors.New("no signature")
	}
	for part := range strings.SplitSeq(rest, ", ") {
		switch name, value, _ := strings.Cut(part, "="); name {
		case "Credential":
			if f := strings.Split(value, "/"); len(f) == 5 && f[4] == "aws4_request" {
				s = stamp{key: f[0], date: f[1], region: f[2], service: f[3]}
			}
		case "SignedHeaders":
			signed = strings.Split(value, ";")
		case "Signature":
			sig = value
		}
	}
	if s.key == "" || len(signed) == 0 || len(sig) != 64 {
		return s, nil, "", errors.New("incomplete signature")
	}
	return s, signed, sig, nil
}

// account is what the doubles know: secrets and session tokens by access key.
type account map[string][2]string

// verify judges a request as AWS does. The kind is that of the refusal, empty for none.
func (a account) verify(r *http.Request, body []byte, region, service string, now time.Time) (s stamp, kind, message string) {
	s, signed, sig, err := readStamp(r.Header)
	if err != nil {
		return s, "MissingAuthenticationTokenException", "Missing Authentication Token"
	}
	known, ok := a[s.key]
	if !ok || r.Header.Get("X-Amz-Security-Token") != known[1] {
		return s, "UnrecognizedClientException", "The security token included in the request is invalid."
	}
	date := r.Header.Get("X-Amz-Date")
	at, err := time.Parse("20060102T150405Z", date)
	if err != nil || date[:8] != s.date {
		return s, "IncompleteSignatureException", "Date must be in ISO-8601 'basic format'."
	}
	if s.region != region {
		return s, "InvalidSignatureException", "Credential should be scoped to a valid region. "
	}
	if s.service != service {
		return s, "InvalidSignatureException", "Credential should be scoped to correct service: '" + service + "'. "
	}
	if now.Sub(at) > 5*time.Minute {
		return s, "InvalidSignatureException", "Signature expired: " + date + " is now earlier than " + now.Format("20060102T150405Z")
	}
	if at.Sub(now) > 5*time.Minute {
		return s, "InvalidSignatureException", "Signature not yet current: " + date + " is still later than " + now.Format("20060102T150405Z")
	}
	for name := range r.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-amz") && !slices.Contains(signed, name) {
			return s, "InvalidSignatureException", "There were headers present in the request which were not signed: " + name
		}
	}
	if !slices.Contains(signed, "host") || !slices.IsSorted(signed) {
		return s, "InvalidSignatureException", "host is not signed, or the signed headers are not sorted"
	}
	var headers [][2]string
	for _, name := range signed {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = fmt.Sprint(r.ContentLength)
		}
		headers = append(headers, [2]string{name, value})
	}
	if sig != signature(known[0], r.Method, r.RequestURI, headers, hexSum(body), date, region, service) {
		return s, "InvalidSignatureException", "The request signature we calculated does not match the signature you provided."
	}
	return s, "", ""
}

// seen is a request that a double took.
type seen struct {
	target, body string
	header       http.Header
	stamp        stamp
	refused      string
}

// refuse answers as Bedrock does.
func refuse(w http.ResponseWriter, status int, kind, message string) {
	w.Header().Set("X-Amzn-Errortype", kind+":http://internal.amazon.com/coral/com.amazon.bedrock/")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"message":%q}`, message)
}

// serve starts a double.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}
