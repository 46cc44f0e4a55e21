package notifytest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

func mac(key, text string) []byte {
	m := hmac.New(sha256.New, []byte(key))
	_, _ = m.Write([]byte(text))
	return m.Sum(nil)
}

// NewWebhook is a receiver that verifies signatures as notify.WebhookPayload tells receivers to. Without a secret it wants
// no signature.
func NewWebhook(now func() time.Time, secret string) *Server {
	return start(now, "/hook/aaaa-bbbb-cccc?token=query-secret", func(r *http.Request, body []byte) (Message, string, Reply) {
		refuse := func(why string) (Message, string, Reply) { return Message{}, why, Reply{Status: 401, Body: why} }
		var p struct {
			ID, Type, Category, Account, Subject, Node, Name, Title, Text, Gateway string
			At                                                                     time.Time
		}
		if why := jsonPost(r, body, &p); why != "" {
			return refuse(why)
		}
		if p.ID == "" || p.Type == "" || p.Title == "" || p.At.IsZero() || r.Header.Get("X-Sluice-Delivery") != p.ID ||
			r.Header.Get("X-Sluice-Event") != p.Type {
			return refuse("fields or headers are missing")
		}
		header := r.Header.Get("X-Sluice-Signature")
		if secret == "" && header != "" {
			return refuse("signed without a secret")
		}
		if secret != "" {
			t, sum, ok := strings.Cut(strings.TrimPrefix(header, "t="), ",v1=")
			at, err := strconv.ParseInt(t, 10, 64)
			if !ok || err != nil || now().Sub(time.Unix(at, 0)).Abs() > 5*time.Minute {
				return refuse("signature's time: " + header)
			}
			if sum != hex.EncodeToString(mac(secret, t+"."+string(body))) {
				return refuse("signature is wrong")
			}
		}
		return Message{Text: p.Text, Title: p.Title}, "", Reply{Status: 204}
	})
}

var slackTag = regexp.MustCompile(`<[^>]*>|&(?:amp|lt|gt);`)

// NewSlack is an incoming webhook. It refuses as the real one does, and also takes no text with markup that mentions or
// links: none of the gateway's has any.
func NewSlack(now func() time.Time) *Server {
	return start(now, "/services/T00000000/B00000000/xoxsecretxoxsecret", func(r *http.Request, body []byte) (Message, string, Reply) {
		var p struct {
			Text   string `json:"text"`
			Unfurl bool   `json:"unfurl_links"`
		}
		if why := jsonPost(r, body, &p); why != "" {
			return Message{}, why, Reply{Status: 400, Body: "invalid_payload"}
		}
		if p.Text == "" {
			return Message{}, "no text", Reply{Status: 400, Body: "no_text"}
		}
		for _, tag := range slackTag.FindAllString(p.Text, -1) {
			if strings.HasPrefix(tag, "<") {
				return Message{}, "markup " + tag, Reply{Status: 400, Body: "invalid_payload"}
			}
		}
		if utf8.RuneCountInString(p.Text) > 40000 {
			return Message{}, "text is long", Reply{Status: 400, Body: "msg_too_long"}
		}
		return Message{Text: p.Text}, "", Reply{Status: 200, Body: "ok"}
	})
}

type robotAnswer struct {
	Code    int    `json:"errcode"`
	Message string `json:"errmsg"`
}

// NewDingTalk is a custom robot with a secret or a keyword, or without ("").
func NewDingTalk(now func() time.Time, secret, keyword string) *Server {
	return start(now, "/robot/send?access_token=dingtoken0123456789", func(r *http.Request, body []byte) (Message, string, Reply) {
		refuse := func(code int, why string) (Message, string, Reply) {
			return Message{}, why, answerJSON(200, robotAnswer{code, why})
		}
		q := r.URL.Query()
		if q.Get("access_token") != "dingtoken0123456789" {
			return refuse(300005, "token is not exist")
		}
		var p struct {
			Type     string `json:"msgtype"`
			Markdown struct {
				Title string `json:"title"`
				Text  string `json:"text"`
			} `json:"markdown"`
			At struct {
				Mobiles []string `json:"atMobiles"`
				All     bool     `json:"isAtAll"`
			} `json:"at"`
		}
		if why := jsonPost(r, body, &p); why != "" {
			return refuse(40035, "缺少参数 json: "+why)
		}
		if secret != "" {
			ms, err := strconv.ParseInt(q.Get("timestamp"), 10, 64)
			if err != nil || now().Sub(time.UnixMilli(ms)).Abs() > time.Hour {
				return refuse(310000, "invalid timestamp")
			}
			if q.Get("sign") != base64.StdEncoding.EncodeToString(mac(secret, q.Get("timestamp")+"\n"+secret)) {
				return refuse(310000, "sign not match")
			}
		}
		switch {
		case p.Type != "markdown" || p.Markdown.Title == "" || p.Markdown.Text == "":
			return refuse(40035, "不合法的参数: markdown")
		case len(body) > 20000:
			return refuse(460101, "message too long, exceed 20000 bytes")
		case !strings.Contains(p.Markdown.Text, keyword):
			return refuse(310000, "keywords not in content")
		case p.At.All || len(p.At.Mobiles) > 0:
			return refuse(310000, "mentions")
		}
		return Message{Title: p.Markdown.Title, Text: p.Markdown.Text}, "", answerJSON(200, robotAnswer{0, "ok"})
	})
}

// NewFeishu is a custom bot with a secret or a keyword, or without ("").
func NewFeishu(now func() time.Time, secret, keyword string) *Server {
	type reply struct {
		Code    int      `json:"code"`
		Data    struct{} `json:"data"`
		Message string   `json:"msg"`
	}
	return start(now, "/open-apis/bot/v2/hook/ffffffff-0000-1111", func(r *http.Request, body []byte) (Message, string, Reply) {
		refuse := func(status, code int, why string) (Message, string, Reply) {
			return Message{}, why, answerJSON(status, reply{Code: code, Message: why})
		}
		var p struct {
			Timestamp string `json:"timestamp"`
			Sign      string `json:"sign"`
			Type      string `json:"msg_type"`
			Content   struct {
				Text string `json:"text"`
			} `json:"content"`
		}
		if why := jsonPost(r, body, &p); why != "" || len(body) > 20<<10 {
			return refuse(400, 9499, "Bad Request")
		}
		if secret != "" {
			at, err := strconv.ParseInt(p.Timestamp, 10, 64)
			if err != nil || now().Sub(time.Unix(at, 0)).Abs() > time.Hour ||
				p.Sign != base64.StdEncoding.EncodeToString(mac(p.Timestamp+"\n"+secret, "")) {
				return refuse(200, 19021, "sign match fail or timestamp is not within one hour from current time")
			}
		}
		switch {
		case p.Type != "text" || p.Content.Text == "":
			return refuse(400, 9499, "Bad Request")
		case !strings.Contains(p.Content.Text, keyword):
			return refuse(200, 19024, "Key Words Not Found")
		case strings.Contains(p.Content.Text, "<at"):
			return refuse(200, 9499, "mention")
		}
		return Message{Text: p.Content.Text}, "", answerJSON(200, reply{Message: "success"})
	})
}

// NewWeCom is a group robot.
func NewWeCom(now func() time.Time) *Server {
	return start(now, "/cgi-bin/webhook/send?key=693axxx6-7aoc-4bc4", func(r *http.Request, body []byte) (Message, string, Reply) {
		refuse := func(code int, why string) (Message, string, Reply) {
			return Message{}, why, answerJSON(200, robotAnswer{code, why + ", hint: [1700000000_1], from ip: 192.0.2.1, more info at " +
				"https://open.work.weixin.qq.com/devtool/query?e=" + strconv.Itoa(code)})
		}
		if key := r.URL.Query().Get("key"); key != "693axxx6-7aoc-4bc4" {
			return refuse(93000, "invalid webhook url "+key)
		}
		var p struct {
			Type     string `json:"msgtype"`
			Markdown struct {
				Content string `json:"content"`
			} `json:"markdown"`
		}
		switch why := jsonPost(r, body, &p); {
		case why != "":
			return refuse(47001, "data format error "+why)
		case p.Type != "markdown":
			return refuse(40008, "invalid message type")
		case p.Markdown.Content == "":
			return refuse(44004, "empty content")
		case len(p.Markdown.Content) > 4096:
			return refuse(40058, "markdown.content exceed max length 4096")
		case !utf8.ValidString(p.Markdown.Content):
			return refuse(40058, "not UTF-8")
		case strings.Contains(p.Markdown.Content, "<@"):
			return refuse(40058, "mention")
		}
		return Message{Text: p.Markdown.Content}, "", answerJSON(200, robotAnswer{0, "ok"})
	})
}

// NewTelegram is the Bot API for one bot, which may write to one chat. Its URL is the API's base.
func NewTelegram(now func() time.Time, token, chat string) *Server {
	type reply struct {
		OK          bool   `json:"ok"`
		Code        int    `json:"error_code,omitempty"`
		Description string `json:"description,omitempty"`
	}
	return start(now, "", func(r *http.Request, body []byte) (Message, string, Reply) {
		refuse := func(code int, why string) (Message, string, Reply) {
			return Message{}, why, answerJSON(code, reply{Code: code, Description: why})
		}
		bot, method, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/bot"), "/")
		if bot != token {
			return refuse(401, "Unauthorized")
		}
		if method != "sendMessage" {
			return refuse(404, "Not Found")
		}
		var p struct {
			Chat    string `json:"chat_id"`
			Text    string `json:"text"`
			Mode    string `json:"parse_mode"`
			Preview struct {
				Disabled bool `json:"is_disabled"`
			} `json:"link_preview_options"`
		}
		switch why := jsonPost(r, body, &p); {
		case why != "":
			return refuse(400, "Bad Request: "+why)
		case p.Chat != chat:
			return refuse(400, "Bad Request: chat not found")
		case strings.TrimSpace(p.Text) == "":
			return refuse(400, "Bad Request: message text is empty")
		case len(utf16.Encode([]rune(p.Text))) > 4096:
			return refuse(400, "Bad Request: message is too long")
		case p.Mode != "":
			return refuse(400, fmt.Sprintf("Bad Request: parse_mode %s", p.Mode))
		}
		return Message{Text: p.Text}, "", Reply{Status: 200, Body: `{"ok":true,"result":{"message_id":7}}`}
	})
}
