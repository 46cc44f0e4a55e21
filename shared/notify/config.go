package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	maxConfig = 16 << 10 // bytes
	maxURL    = 2048
	minSecret = 8 // shorter ones sign nothing, and could not be told from ordinary words when they are blotted out
	maxSecret = 512
)

// FieldError is a setting that cannot be used. It never holds the value.
type FieldError struct{ Field, Problem string }

// Error implements error.
func (e *FieldError) Error() string {
	if e.Field == "" {
		return "config " + e.Problem
	}
	return "config." + e.Field + " " + e.Problem
}

// settings are a kind's own, decoded. validate also brings them into the form that is stored.
type settings interface {
	validate() error
	// secrets are the texts that must not be shown.
	secrets() []string
	send(ctx context.Context, h *Hub, m *message) error
}

func newSettings(kind string) settings {
	switch kind {
	case KindWebhook:
		return new(webhook)
	case KindSlack:
		return new(slack)
	case KindDingTalk:
		return new(dingTalk)
	case KindFeishu:
		return new(feishu)
	case KindWeCom, KindWeChatWork, KindWeChatPersonal:
		return new(weCom)
	case KindTelegram:
		return new(telegram)
	case KindEmail:
		return new(email)
	case KindSNS:
		return new(sns)
	}
	return nil
}

// ParseConfig checks the settings of a channel of that kind and returns them as they are stored. An error is a *FieldError
// that names the field. The fields of each kind:
//
//	webhook   url, secret (signs, optional), headers (an object, optional)
//	slack     webhook_url
//	dingtalk  webhook_url, secret ("SEC...", of a robot that wants signatures), keyword (of one that wants a word)
//	feishu    webhook_url, secret, keyword: as dingtalk
//	wecom     webhook_url; the same of wechat_work and wechat_personal
//	telegram  bot_token, chat_id (number, or "@channel")
//	email     host, port (587), security (starttls, tls, none), username, password, from, to (list, or separated by commas)
//	sns       topic_arn, access_key_id, secret_access_key, session_token (none: the process's own, of administrators)
func ParseConfig(kind string, raw json.RawMessage) (json.RawMessage, error) {
	s, err := parseConfig(kind, raw)
	if err != nil {
		return nil, err
	}
	return json.Marshal(s)
}

func parseConfig(kind string, raw json.RawMessage) (settings, error) {
	s := newSettings(kind)
	if s == nil {
		return nil, &FieldError{"", fmt.Sprintf("is of an unknown kind of channel; known are %s", strings.Join(Kinds(), ", "))}
	}
	if len(raw) > maxConfig {
		return nil, &FieldError{"", fmt.Sprintf("is longer than %d bytes", maxConfig)}
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields() // a mistyped "secret" would leave messages unsigned
	if err := d.Decode(s); err != nil {
		return nil, decodeError(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, &FieldError{"", "must be one JSON object"}
	}
	if err := s.validate(); err != nil {
		return nil, err
	}
	return s, nil
}

func decodeError(err error) error {
	var field *FieldError
	if errors.As(err, &field) {
		return field
	}
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return &FieldError{oneLine(wrong.Field, 60), "must not be a JSON " + oneLine(wrong.Value, 20)}
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		if plain, err := strconv.Unquote(name); err == nil {
			return &FieldError{oneLine(plain, 60), "is not a setting of this kind of channel"}
		}
	}
	return &FieldError{"", "must be a JSON object"}
}

// UsesOwnAWS reports whether settings that ParseConfig returned would send with the process's own AWS credentials, which
// only channels of administrators' accounts may.
func UsesOwnAWS(kind string, config json.RawMessage) bool {
	s, err := parseConfig(kind, config)
	t, ok := s.(*sns)
	return err == nil && ok && t.AccessKeyID == ""
}

// checkURL wants an absolute http or https URL without credentials in it.
func checkURL(field, raw string) error {
	switch {
	case raw == "":
		return &FieldError{field, "is missing"}
	case len(raw) > maxURL:
		return &FieldError{field, fmt.Sprintf("is longer than %d bytes", maxURL)}
	case strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return &FieldError{field, "contains blanks or control characters"}
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return &FieldError{field, "is not a URL"}
	case u.Scheme != "http" && u.Scheme != "https":
		return &FieldError{field, "must begin with https:// or http://"}
	case u.User != nil:
		return &FieldError{field, "must not hold a user name or password"}
	case u.Hostname() == "":
		return &FieldError{field, "names no host"}
	case u.Fragment != "":
		return &FieldError{field, "must not have a fragment"}
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
			return &FieldError{field, "has an impossible port"}
		}
	}
	if _, err := url.ParseQuery(u.RawQuery); err != nil {
		return &FieldError{field, "has a query that is not readable"}
	}
	return nil
}

// checkSecret wants visible ASCII, if anything.
func checkSecret(field, s string) error {
	switch {
	case s == "":
		return nil
	case len(s) < minSecret || len(s) > maxSecret:
		return &FieldError{field, fmt.Sprintf("must have %d to %d characters", minSecret, maxSecret)}
	case strings.ContainsFunc(s, func(r rune) bool { return r < '!' || r > '~' }):
		return &FieldError{field, "must hold only visible ASCII characters, no spaces"}
	}
	return nil
}

// checkWord wants one line of printable characters, if anything.
func checkWord(field, s string, longest int) error {
	if s != oneLine(s, longest) {
		return &FieldError{field, fmt.Sprintf("must be one line of at most %d printable characters", longest)}
	}
	return nil
}

// checkHeaders keeps what frames a request, and our own signature, out of a tenant's hands.
func checkHeaders(field string, headers map[string]string) error {
	if len(headers) > 10 {
		return &FieldError{field, "has more than 10 entries"}
	}
	for name, value := range headers {
		lower := strings.ToLower(name)
		switch {
		case len(name) > 100 || !headerName.MatchString(name):
			return &FieldError{field, "has a name that is not a header's"}
		case slices.Contains(ownHeaders, lower) || strings.HasPrefix(lower, "x-sluice-") || strings.HasPrefix(lower, "proxy-"):
			return &FieldError{field + "." + lower, "is set by the gateway"}
		case len(value) > 1024 || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }):
			return &FieldError{field + "." + lower, "must be at most 1024 printable ASCII characters"}
		}
	}
	return nil
}

var (
	headerName = regexp.MustCompile(`^[A-Za-z0-9!#$%&'*+.^_|~-]+$`)
	ownHeaders = []string{"host", "content-type", "content-length", "content-encoding", "transfer-encoding", "connection",
		"keep-alive", "te", "trailer", "upgrade", "expect", "user-agent", "accept-encoding"}
)

// urlSecrets are the parts of a webhook's URL that let anyone post there.
func urlSecrets(raw string) []string {
	out := []string{raw}
	u, err := url.Parse(raw)
	if err != nil {
		return out
	}
	out = append(out, u.RequestURI(), u.RawQuery, u.Path, u.Host, u.Hostname())
	for _, values := range u.Query() {
		out = append(out, values...)
	}
	for part := range strings.SplitSeq(u.Path, "/") {
		if len(part) >= minSecret {
			out = append(out, part)
		}
	}
	return out
}
