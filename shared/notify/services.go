package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/shared/core"
)

// WebhookPayload is the JSON body that a channel of kind webhook POSTs. Texts are as their owners wrote them, without
// control characters: the receiver escapes them for where it shows them.
//
// Headers: X-Sluice-Event is the type; X-Sluice-Delivery the id, the same on every try of one notice, by which a
// receiver knows a repetition; X-Sluice-Signature, where the channel has a secret, "t=<unix seconds>,v1=<hex>", whose v1
// is the HMAC-SHA-256, keyed with the secret, of t, "." and the body's bytes. A receiver should refuse a t that is more
// than 5 minutes away. Any 2xx is success; 408, 429 and 5xx are tried again for hours, Retry-After is kept; any other
// answer is tried twice more. Redirects are not followed.
type WebhookPayload struct {
	ID       string         `json:"id"`   // delivery id
	Type     core.EventType `json:"type"` // as in Catalogue; "test" of a test
	Category string         `json:"category"`
	Account  string         `json:"account"`           // empty: of the installation
	Subject  string         `json:"subject,omitempty"` // "node 5"
	Node     string         `json:"node,omitempty"`    // id
	Name     string         `json:"name,omitempty"`    // of node, key or rule
	Title    string         `json:"title"`
	Text     string         `json:"text"`
	At       time.Time      `json:"at"`                // RFC 3339, UTC
	Gateway  string         `json:"gateway,omitempty"` // its public URL
}

type webhook struct {
	URL     string            `json:"url"`
	Secret  string            `json:"secret,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
}

func (s *webhook) validate() error {
	if err := checkURL("url", s.URL); err != nil {
		return err
	}
	if err := checkSecret("secret", s.Secret); err != nil {
		return err
	}
	return checkHeaders("headers", s.Headers)
}

func (s *webhook) secrets() []string {
	return slices.AppendSeq(append(urlSecrets(s.URL), s.Secret), maps.Values(s.Headers))
}

func (s *webhook) send(ctx context.Context, h *Hub, m *message) error {
	category, _ := describe(m.event.Type)
	body, err := encode(WebhookPayload{
		ID: m.id, Type: m.event.Type, Category: category, Account: m.event.Account, Subject: m.event.Subject,
		Node: m.event.Node, Name: m.event.Name, Title: m.title, Text: m.text, At: m.event.At.UTC(), Gateway: m.gateway,
	})
	if err != nil {
		return err
	}
	r, err := newPost(s.URL, "application/json; charset=utf-8")
	if err != nil {
		return err
	}
	for name, value := range s.Headers {
		r.Header.Set(name, value)
	}
	r.Header.Set("X-Sluice-Event", string(m.event.Type))
	r.Header.Set("X-Sluice-Delivery", m.id)
	if s.Secret != "" {
		t := strconv.FormatInt(m.now.Unix(), 10)
		sum := sign([]byte(s.Secret), t+"."+string(body))
		r.Header.Set("X-Sluice-Signature", "t="+t+",v1="+hex.EncodeToString(sum))
	}
	a, err := h.post(ctx, r, body)
	if err != nil {
		return err
	}
	if a.status < 200 || a.status > 299 {
		return a.refused("") // its body is not repeated: it could be anyone's page
	}
	return nil
}

func sign(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write([]byte(text))
	return mac.Sum(nil)
}

// slack is an incoming webhook: {"text"}, answered by 200 and the body "ok", or by a status and one word such as
// no_service. https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
type slack struct {
	URL string `json:"webhook_url"`
}

func (s *slack) validate() error   { return checkURL("webhook_url", s.URL) }
func (s *slack) secrets() []string { return urlSecrets(s.URL) }

var slackWord = regexp.MustCompile(`^[a-z_]{1,60}$`)

func (s *slack) send(ctx context.Context, h *Hub, m *message) error {
	a, err := h.postJSON(ctx, s.URL, struct {
		Text   string `json:"text"`
		Unfurl bool   `json:"unfurl_links"`
	}{Text: "*" + slackText(m.title) + "*\n" + strings.Join(m.lines(slackText), "\n")})
	if err != nil {
		return err
	}
	word := strings.TrimSpace(string(a.body))
	switch {
	case a.status == 200 && word == "ok":
		return nil
	case a.status == 200:
		return permanent("the answer is not Slack's: is the URL an incoming webhook's?")
	case slackWord.MatchString(word):
		return a.refused(word)
	}
	return a.refused("")
}

// robot is what DingTalk's and WeCom's answers have: HTTP 200 whatever happened, and a code.
type robot struct {
	Code    *int   `json:"errcode"`
	Message string `json:"errmsg"`
}

// result judges a robot's answer; busy are the codes that a later try can pass.
func (a *answer) result(service string, busy map[int]time.Duration) error {
	var r robot
	if err := json.Unmarshal(a.body, &r); err != nil || r.Code == nil {
		if a.status != 200 {
			return a.refused("")
		}
		return permanent("the answer is not %s's: is the URL a robot's?", service)
	}
	if *r.Code == 0 && a.status == 200 {
		return nil
	}
	f := permanent("%s refused it: %s (errcode %d)", service, oneLine(r.Message, 4*maxRefusal), *r.Code)
	if after, ok := busy[*r.Code]; ok || a.status >= 500 || a.status == 429 {
		f.permanent, f.after = false, max(after, a.retryAfter())
	}
	return f
}

// dingTalk is a custom robot: markdown, HTTP 200 always, errcode 0 on success; 310000 for a wrong signature, a missing
// keyword or a foreign address; 130101 over 20 messages a minute, which silences the robot for 10 minutes. The signature is
// base64 of the HMAC-SHA-256, keyed with the secret, of the time in ms, a newline and the secret; both travel in the query
// and hold for an hour. https://open.dingtalk.com/document/orgapp/customize-robot-security-settings
type dingTalk struct {
	URL     string `json:"webhook_url"`
	Secret  string `json:"secret,omitempty"`
	Keyword string `json:"keyword,omitempty"`
}

func (s *dingTalk) validate() error { return checkRobot(s.URL, s.Secret, s.Keyword) }

func checkRobot(address, secret, keyword string) error {
	if err := checkURL("webhook_url", address); err != nil {
		return err
	}
	if err := checkSecret("secret", secret); err != nil {
		return err
	}
	return checkWord("keyword", keyword, 30)
}

func (s *dingTalk) secrets() []string { return append(urlSecrets(s.URL), s.Secret) }

func (s *dingTalk) send(ctx context.Context, h *Hub, m *message) error {
	u, err := url.Parse(s.URL)
	if err != nil {
		return permanent("the channel's URL is not valid")
	}
	if s.Secret != "" {
		t := strconv.FormatInt(m.now.UnixMilli(), 10)
		q := u.Query()
		q.Set("timestamp", t)
		q.Set("sign", base64.StdEncoding.EncodeToString(sign([]byte(s.Secret), t+"\n"+s.Secret)))
		u.RawQuery = q.Encode()
	}
	type markdown struct {
		Title string `json:"title"`
		Text  string `json:"text"`
	}
	type at struct {
		All bool `json:"isAtAll"`
	}
	title := chatText(m.title)
	// the service joins lines that no empty one parts
	text := withKeyword("#### "+title+"\n\n"+strings.Join(m.lines(chatText), "\n\n"), s.Keyword, "\n\n")
	a, err := h.postJSON(ctx, u.String(), struct {
		Type     string   `json:"msgtype"`
		Markdown markdown `json:"markdown"`
		At       at       `json:"at"`
	}{"markdown", markdown{title, text}, at{}})
	if err != nil {
		return err
	}
	return a.result("DingTalk", map[int]time.Duration{130101: 10 * time.Minute, -1: 0})
}

// withKeyword adds the word without which the robot takes no message.
func withKeyword(text, keyword, sep string) string {
	if strings.Contains(text, keyword) {
		return text
	}
	return text + sep + keyword
}

// weCom is a group robot of WeCom (WeChat Work): markdown of at most 4096 bytes, <@userid> in it mentions; errcode 0 on
// success, 93000 for an unknown key, 45009 over 20 messages a minute. https://developer.work.weixin.qq.com/document/path/91770
type weCom struct {
	URL string `json:"webhook_url"`
}

const weComBytes = 4096

func (s *weCom) validate() error   { return checkURL("webhook_url", s.URL) }
func (s *weCom) secrets() []string { return urlSecrets(s.URL) }

func (s *weCom) send(ctx context.Context, h *Hub, m *message) error {
	type markdown struct {
		Content string `json:"content"`
	}
	text := "**" + chatText(m.title) + "**\n> " + strings.Join(m.lines(chatText), "\n> ")
	a, err := h.postJSON(ctx, s.URL, struct {
		Type     string   `json:"msgtype"`
		Markdown markdown `json:"markdown"`
	}{"markdown", markdown{cutBytes(text, weComBytes)}})
	if err != nil {
		return err
	}
	return a.result("WeCom", map[int]time.Duration{45009: time.Minute, -1: 0})
}
