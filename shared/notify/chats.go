package notify

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
)

// feishu is a custom bot of Feishu or Lark: {"msg_type":"text"}, code 0 on success, else HTTP 200 or 400 with a code:
// 19021 a wrong signature or time, 19024 a missing keyword, 19001 an unknown hook, 11232 too many (100 a minute, 5 a
// second). In text, <at> mentions. The signature is base64 of the HMAC-SHA-256 of nothing, keyed with the time in seconds,
// a newline and the secret, and holds for an hour. https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot
type feishu struct {
	URL     string `json:"webhook_url"`
	Secret  string `json:"secret,omitempty"`
	Keyword string `json:"keyword,omitempty"`
}

func (s *feishu) validate() error   { return checkRobot(s.URL, s.Secret, s.Keyword) }
func (s *feishu) secrets() []string { return append(urlSecrets(s.URL), s.Secret) }

const feishuBusy = 11232

func (s *feishu) send(ctx context.Context, h *Hub, m *message) error {
	type content struct {
		Text string `json:"text"`
	}
	body := struct {
		Timestamp string  `json:"timestamp,omitempty"`
		Sign      string  `json:"sign,omitempty"`
		Type      string  `json:"msg_type"`
		Content   content `json:"content"`
	}{Type: "text", Content: content{withKeyword(m.plain(chatText), s.Keyword, "\n")}}
	if s.Secret != "" {
		body.Timestamp = strconv.FormatInt(m.now.Unix(), 10)
		body.Sign = base64.StdEncoding.EncodeToString(sign([]byte(body.Timestamp+"\n"+s.Secret), ""))
	}
	a, err := h.postJSON(ctx, s.URL, body)
	if err != nil {
		return err
	}
	var r struct {
		Code    *int   `json:"code"`
		Message string `json:"msg"`
	}
	if err := json.Unmarshal(a.body, &r); err != nil || r.Code == nil {
		if a.status != 200 {
			return a.refused("")
		}
		return permanent("the answer is not Feishu's: is the URL a custom bot's?")
	}
	if *r.Code == 0 && a.status == 200 {
		return nil
	}
	f := permanent("Feishu refused it: %s (code %d)", oneLine(r.Message, 4*maxRefusal), *r.Code)
	if *r.Code == feishuBusy || a.status >= 500 || a.status == 429 {
		f.permanent, f.after = false, a.retryAfter()
	}
	return f
}

// telegram is the Bot API's sendMessage: text of 1 to 4096 characters (counted here as UTF-16 units, which is never more
// generous), no parse_mode, so that nothing in it is markup; "ok" and, on failure, error_code, description and on 429
// parameters.retry_after. https://core.telegram.org/bots/api#sendmessage
type telegram struct {
	Token string `json:"bot_token"`
	Chat  chatID `json:"chat_id"`
}

// chatID is a number, or "@name" of a public channel; JSON strings and numbers are taken.
type chatID string

// UnmarshalJSON implements json.Unmarshaler.
func (c *chatID) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] != '"' {
		*c = chatID(b)
		return nil
	}
	return json.Unmarshal(b, (*string)(c))
}

const telegramUnits = 4096

var (
	telegramToken = regexp.MustCompile(`^[0-9]{1,20}:[A-Za-z0-9_-]{20,100}$`)
	telegramChat  = regexp.MustCompile(`^(-?[1-9][0-9]{0,18}|@[A-Za-z][A-Za-z0-9_]{3,63})$`)
)

func (s *telegram) validate() error {
	switch {
	case s.Token == "":
		return &FieldError{"bot_token", "is missing"}
	case !telegramToken.MatchString(s.Token):
		return &FieldError{"bot_token", `is not a bot's token ("123456:ABC...")`}
	case s.Chat == "":
		return &FieldError{"chat_id", "is missing"}
	case !telegramChat.MatchString(string(s.Chat)):
		return &FieldError{"chat_id", `must be a number or "@channel"`}
	}
	return nil
}

func (s *telegram) secrets() []string {
	_, key, _ := strings.Cut(s.Token, ":")
	return []string{s.Token, key}
}

func (s *telegram) send(ctx context.Context, h *Hub, m *message) error {
	base := h.o.TelegramURL
	if base == "" {
		base = "https://api.telegram.org"
	}
	type preview struct {
		Disabled bool `json:"is_disabled"`
	}
	a, err := h.postJSON(ctx, base+"/bot"+s.Token+"/sendMessage", struct {
		Chat    string  `json:"chat_id"`
		Text    string  `json:"text"`
		Preview preview `json:"link_preview_options"`
	}{string(s.Chat), cutUnits(m.plain(chatText), telegramUnits), preview{true}})
	if err != nil {
		return err
	}
	var r struct {
		OK          bool   `json:"ok"`
		Code        int    `json:"error_code"`
		Description string `json:"description"`
		Parameters  struct {
			RetryAfter int `json:"retry_after"`
		} `json:"parameters"`
	}
	if err := json.Unmarshal(a.body, &r); err != nil {
		return a.refused("")
	}
	if r.OK && a.status == 200 {
		return nil
	}
	if r.Code >= 400 && r.Code < 600 {
		a.status = r.Code
	}
	f := a.refused(oneLine(r.Description, 4*maxRefusal))
	f.after = max(f.after, seconds(r.Parameters.RetryAfter))
	return f
}
