package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"sluice/shared/core"
)

// sns is Amazon SNS's Publish by the Query API, signed with Signature Version 4 for the topic's region. A subject is ASCII,
// without line breaks, under 100 characters; success is HTTP 200 with a MessageId. A FIFO topic also wants a group and,
// for its own de-duplication, an id. https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
type sns struct {
	Topic           string `json:"topic_arn"`
	AccessKeyID     string `json:"access_key_id,omitempty"`
	SecretAccessKey string `json:"secret_access_key,omitempty"`
	SessionToken    string `json:"session_token,omitempty"`
	used            AWSCredentials
}

const snsSubject = 99

var (
	topicARN = regexp.MustCompile(`^arn:(aws|aws-cn|aws-us-gov):sns:([a-z]{2,4}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}):[0-9]{12}:` +
		`([A-Za-z0-9_-]{1,256}|[A-Za-z0-9_-]{1,251}\.fifo)$`)
	accessKey = regexp.MustCompile(`^[A-Z0-9]{16,128}$`)
)

func (s *sns) validate() error {
	switch {
	case s.Topic == "":
		return &FieldError{"topic_arn", "is missing"}
	case !topicARN.MatchString(s.Topic):
		return &FieldError{"topic_arn", "is not the ARN of an SNS topic (arn:aws:sns:REGION:ACCOUNT:NAME)"}
	case s.AccessKeyID == "" && (s.SecretAccessKey != "" || s.SessionToken != ""):
		return &FieldError{"access_key_id", "is missing"}
	case s.AccessKeyID == "":
		return nil
	case !accessKey.MatchString(s.AccessKeyID):
		return &FieldError{"access_key_id", "is not an AWS access key id"}
	case s.SecretAccessKey == "":
		return &FieldError{"secret_access_key", "is missing"}
	case len(s.SessionToken) > 4096 || strings.ContainsFunc(s.SessionToken, func(r rune) bool { return r < '!' || r > '~' }):
		return &FieldError{"session_token", "must be at most 4096 printable ASCII characters"}
	}
	return checkSecret("secret_access_key", s.SecretAccessKey)
}

func (s *sns) secrets() []string {
	return []string{s.AccessKeyID, s.SecretAccessKey, s.SessionToken,
		s.used.AccessKeyID, s.used.SecretAccessKey.Reveal(), s.used.SessionToken.Reveal()}
}

// mayUseOwnAWS keeps the process's credentials from other tenants: their channels name topics that it may publish to.
func (h *Hub) mayUseOwnAWS(ctx context.Context, account string) error {
	if h.o.AWS == nil || h.o.AdminAccounts == nil {
		return permanent("the channel has no AWS credentials, and the gateway has none of its own: set access_key_id")
	}
	admins, err := h.o.AdminAccounts(ctx)
	if err != nil {
		return temporary("it cannot be told now whether the account may use the gateway's AWS credentials")
	}
	if !slices.Contains(admins, account) {
		return permanent("only administrators' accounts may use the gateway's AWS credentials: set access_key_id")
	}
	return nil
}

func (s *sns) send(ctx context.Context, h *Hub, m *message) error {
	creds := AWSCredentials{AccessKeyID: s.AccessKeyID, SecretAccessKey: core.NewSecret(s.SecretAccessKey),
		SessionToken: core.NewSecret(s.SessionToken)}
	if s.AccessKeyID == "" {
		var err error
		if creds, err = h.o.AWS(ctx); err != nil {
			return temporary("the gateway's own AWS credentials cannot be had")
		}
	}
	s.used = creds
	arn := topicARN.FindStringSubmatch(s.Topic)
	region := arn[2]
	address := h.o.SNSURL
	if address == "" {
		address = "https://sns." + region + ".amazonaws.com"
		if arn[1] == "aws-cn" {
			address += ".cn"
		}
	}
	form := url.Values{"Action": {"Publish"}, "Version": {"2010-03-31"}, "TopicArn": {s.Topic},
		"Subject": {ascii("Sluice: "+m.title, snsSubject)}, "Message": {m.plain(same)}}
	if strings.HasSuffix(s.Topic, ".fifo") {
		form.Set("MessageGroupId", "sluice")
		form.Set("MessageDeduplicationId", m.id)
	}
	body := []byte(form.Encode())
	r, err := newPost(address+"/", "application/x-www-form-urlencoded; charset=utf-8")
	if err != nil {
		return err
	}
	r.ContentLength = int64(len(body))
	sum := sha256.Sum256(body)
	err = v4.NewSigner().SignHTTP(ctx, aws.Credentials{AccessKeyID: creds.AccessKeyID,
		SecretAccessKey: creds.SecretAccessKey.Reveal(), SessionToken: creds.SessionToken.Reveal()},
		r, hex.EncodeToString(sum[:]), "sns", region, m.now)
	if err != nil {
		return permanent("the call could not be signed")
	}
	a, err := h.post(ctx, r, body)
	if err != nil {
		return err
	}
	return a.published()
}

// published judges an answer of SNS: XML of which two elements are read.
func (a *answer) published() error {
	text := string(a.body)
	if a.status == 200 && element(text, "MessageId") != "" {
		return nil
	}
	if a.status == 200 {
		return permanent("the answer is not that of Amazon SNS")
	}
	code, said := element(text, "Code"), element(text, "Message")
	words := oneLine(code, 100)
	if said != "" {
		words += ": " + oneLine(said, 4*maxRefusal)
	}
	f := a.refused(words)
	if strings.HasPrefix(code, "Throttl") || strings.HasSuffix(code, "Throttling") || code == "RequestExpired" {
		f.permanent = false
	}
	return f
}

func element(text, name string) string {
	_, rest, ok := strings.Cut(text, "<"+name+">")
	if !ok {
		return ""
	}
	value, _, ok := strings.Cut(rest, "</"+name+">")
	if !ok {
		return ""
	}
	return xmlEntities.Replace(value)
}

var xmlEntities = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&quot;", `"`, "&apos;", "'", "&amp;", "&")
