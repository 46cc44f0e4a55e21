package notifytest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// NewSNS is Amazon SNS for one access key. It recomputes the signature (Signature Version 4) from the request as it came. Its
// URL is the endpoint. token is the session token that must come along, "" for a key without.
func NewSNS(now func() time.Time, region, keyID, secret, token string) *Server {
	return start(now, "", func(r *http.Request, body []byte) (Message, string, Reply) {
		refuse := func(status int, code, why string) (Message, string, Reply) {
			return Message{}, why, Reply{Status: status, Header: map[string]string{"Content-Type": "text/xml"}, Body: fmt.Sprintf(
				`<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>r</RequestId></ErrorResponse>`,
				code, strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace(why))}
		}
		if why := verify(r, body, now(), region, keyID, secret, token); why != "" {
			return refuse(403, "SignatureDoesNotMatch", why)
		}
		form, err := url.ParseQuery(string(body))
		if err != nil || form.Get("Action") != "Publish" || form.Get("Version") != "2010-03-31" {
			return refuse(400, "InvalidAction", "could not find operation")
		}
		arn := strings.Split(form.Get("TopicArn"), ":")
		subject := form.Get("Subject")
		switch {
		case len(arn) != 6 || arn[3] != region:
			return refuse(400, "InvalidParameter", "Invalid parameter: TopicArn")
		case arn[5] == "gone":
			return refuse(404, "NotFound", "Topic does not exist")
		case form.Get("Message") == "":
			return refuse(400, "InvalidParameter", "Invalid parameter: Empty message")
		case subject == "" || len(subject) >= 100 || strings.ContainsFunc(subject, func(c rune) bool { return c < ' ' || c > '~' }) || subject[0] == ' ':
			return refuse(400, "InvalidParameter", "Invalid parameter: Subject")
		case strings.HasSuffix(arn[5], ".fifo") != (form.Get("MessageGroupId") != "") ||
			strings.HasSuffix(arn[5], ".fifo") != (form.Get("MessageDeduplicationId") != ""):
			return refuse(400, "InvalidParameter", "Invalid parameter: MessageGroupId")
		}
		return Message{Title: subject, Text: form.Get("Message")}, "", Reply{Status: 200, Header: map[string]string{"Content-Type": "text/xml"},
			Body: `<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>m-1</MessageId></PublishResult></PublishResponse>`}
	})
}

// verify follows https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
func verify(r *http.Request, body []byte, now time.Time, region, keyID, secret, token string) string {
	const algorithm = "AWS4-HMAC-SHA256"
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), algorithm+" ")
	parts := map[string]string{}
	for p := range strings.SplitSeq(rest, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		parts[k] = v
	}
	date := r.Header.Get("X-Amz-Date")
	at, err := time.Parse("20060102T150405Z", date)
	if !ok || err != nil || now.Sub(at).Abs() > 15*time.Minute {
		return "Signature expired or missing: " + date
	}
	scope := date[:8] + "/" + region + "/sns/aws4_request"
	if parts["Credential"] != keyID+"/"+scope {
		return "Credential should be scoped to " + scope
	}
	if r.Header.Get("X-Amz-Security-Token") != token {
		return "The security token included in the request is invalid"
	}
	signed := strings.Split(parts["SignedHeaders"], ";")
	for _, must := range []string{"host", "x-amz-date"} {
		if !slices.Contains(signed, must) {
			return must + " is not signed"
		}
	}
	var headers strings.Builder
	for _, name := range signed {
		value := r.Header.Get(name)
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = fmt.Sprint(len(body))
		}
		headers.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
	}
	sum := sha256.Sum256(body)
	canonical := sha256.Sum256([]byte(strings.Join([]string{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, headers.String(),
		parts["SignedHeaders"], hex.EncodeToString(sum[:])}, "\n")))
	key := "AWS4" + secret
	for _, part := range strings.Split(scope, "/") {
		key = string(mac(key, part))
	}
	want := mac(key, strings.Join([]string{algorithm, date, scope, hex.EncodeToString(canonical[:])}, "\n"))
	if parts["Signature"] != hex.EncodeToString(want) {
		return "The request signature we calculated does not match the signature you provided"
	}
	return ""
}
