package notify_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"sluice/shared/notify"
)

func TestParseConfig(t *testing.T) {
	const arn = `"topic_arn":"arn:aws:sns:eu-central-1:123456789012:x"`
	for _, c := range []struct{ why, kind, raw, want string }{ // want: the normalised form, or "!field" that is refused
		{"webhook", "webhook", `{"url":"https://x.example/h?a=b"}`, `{"url":"https://x.example/h?a=b"}`},
		{"headers", "webhook", `{"url":"https://x.example","headers":{"Authorization":"Bearer x"}}`, `{"url":"https://x.example","headers":{"Authorization":"Bearer x"}}`},
		{"an IPv6 address", "webhook", `{"url":"http://[2001:db8::1]:8080/"}`, `{"url":"http://[2001:db8::1]:8080/"}`},
		{"no URL", "webhook", `{}`, "!url"},
		{"another scheme", "webhook", `{"url":"file:///etc/passwd"}`, "!url"},
		{"gopher", "slack", `{"webhook_url":"gopher://x/_data"}`, "!webhook_url"},
		{"credentials in the URL", "webhook", `{"url":"https://user:pass@x.example"}`, "!url"},
		{"no host", "webhook", `{"url":"https:///x"}`, "!url"},
		{"only a port", "webhook", `{"url":"https://:80/x"}`, "!url"},
		{"an impossible port", "webhook", `{"url":"https://x.example:99999/"}`, "!url"},
		{"relative", "webhook", `{"url":"/x"}`, "!url"},
		{"a line break in the URL", "webhook", `{"url":"https://x.example/\r\nHost: y"}`, "!url"},
		{"a fragment", "webhook", `{"url":"https://x.example/#x"}`, "!url"},
		{"a long URL", "webhook", `{"url":"https://x.example/` + strings.Repeat("x", 3000) + `"}`, "!url"},
		{"a short secret", "webhook", `{"url":"https://x.example","secret":"short"}`, "!secret"},
		{"a secret of two lines", "webhook", `{"url":"https://x.example","secret":"12345678\n9"}`, "!secret"},
		{"a secret with a space, which is said", "webhook", `{"url":"https://x.example","secret":"12345678 9"}`, "!secret must hold only visible ASCII characters, no spaces"},
		{"a header of ours", "webhook", `{"url":"https://x.example","headers":{"X-Sluice-Signature":"x"}}`, "!headers.x-sluice-signature"},
		{"a header that frames", "webhook", `{"url":"https://x.example","headers":{"transfer-encoding":"chunked"}}`, "!headers.transfer-encoding"},
		{"the host", "webhook", `{"url":"https://x.example","headers":{"HOST":"y"}}`, "!headers.host"},
		{"a header of two", "webhook", `{"url":"https://x.example","headers":{"A":"b\r\nC: d"}}`, "!headers.a"},
		{"a name of two", "webhook", `{"url":"https://x.example","headers":{"A: b\r\nC":"d"}}`, "!headers"},
		{"a mistyped field", "webhook", `{"url":"https://x.example","secrt":"12345678"}`, "!secrt"},
		{"a wrong type", "webhook", `{"url":7}`, "!url"},
		{"no object", "webhook", `"https://x.example"`, "!"},
		{"two objects", "webhook", `{"url":"https://x.example"}{}`, "!"},
		{"null", "slack", `null`, "!webhook_url"},
		{"nothing", "slack", ``, "!"},
		{"too long", "slack", `{"webhook_url":"https://x.example"` + strings.Repeat(" ", 17<<10) + `}`, "!"},
		{"an unknown kind", "fax", `{}`, "!"},
		{"slack", "slack", `{"webhook_url":"https://hooks.slack.com/services/T/B/x"}`, `{"webhook_url":"https://hooks.slack.com/services/T/B/x"}`},
		{"dingtalk", "dingtalk", `{"webhook_url":"https://oapi.dingtalk.com/robot/send?access_token=x","secret":"SEC12345","keyword":"告警"}`,
			`{"webhook_url":"https://oapi.dingtalk.com/robot/send?access_token=x","secret":"SEC12345","keyword":"告警"}`},
		{"a keyword of two lines", "feishu", `{"webhook_url":"https://x.example","keyword":"a\nb"}`, "!keyword"},
		{"Guide A's name", "wechat_work", `{"webhook_url":"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=x"}`,
			`{"webhook_url":"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=x"}`},
		{"telegram, number", "telegram", `{"bot_token":"1:abcdefghijklmnopqrst","chat_id":-1001234}`, `{"bot_token":"1:abcdefghijklmnopqrst","chat_id":"-1001234"}`},
		{"telegram, name", "telegram", `{"bot_token":"1:abcdefghijklmnopqrst","chat_id":"@alerts"}`, `{"bot_token":"1:abcdefghijklmnopqrst","chat_id":"@alerts"}`},
		{"a token that leaves its place in the path", "telegram", `{"bot_token":"1:../../abcdefghijklmnopqrst","chat_id":1}`, "!bot_token"},
		{"a fraction", "telegram", `{"bot_token":"1:abcdefghijklmnopqrst","chat_id":1.5}`, "!chat_id"},
		{"a chat that is an object", "telegram", `{"bot_token":"1:abcdefghijklmnopqrst","chat_id":{}}`, "!chat_id"},
		{"its API elsewhere", "telegram", `{"bot_token":"1:abcdefghijklmnopqrst","chat_id":1,"api_url":"http://10.0.0.1"}`, "!api_url"},
		{"mail, defaults", "email", `{"host":"smtp.example.com","from":"a@example.com","to":["b@example.com"]}`,
			`{"host":"smtp.example.com","port":587,"security":"starttls","from":"a@example.com","to":["b@example.com"]}`},
		{"mail, port 465", "email", `{"host":"smtp.example.com","port":465,"from":"a@example.com","to":"b@example.com,C \u003cc@example.com\u003e"}`,
			`{"host":"smtp.example.com","port":465,"security":"tls","from":"a@example.com","to":["b@example.com","\"C\" \u003cc@example.com\u003e"]}`},
		{"a password in the clear", "email", `{"host":"x.example","security":"none","username":"u","password":"p","from":"a@example.com","to":["b@example.com"]}`, "!security"},
		{"a password of nobody", "email", `{"host":"x.example","password":"p","from":"a@example.com","to":["b@example.com"]}`, "!username"},
		{"a name without a password", "email", `{"host":"x.example","username":"p","from":"a@example.com","to":["b@example.com"]}`, "!password"},
		{"an unknown protection", "email", `{"host":"x.example","security":"ssl","from":"a@example.com","to":["b@example.com"]}`, "!security"},
		{"a host with a port", "email", `{"host":"x.example:25","from":"a@example.com","to":["b@example.com"]}`, "!host"},
		{"a host of two lines", "email", `{"host":"x.example\r\nQUIT","from":"a@example.com","to":["b@example.com"]}`, "!host"},
		{"an impossible mail port", "email", `{"host":"x.example","port":70000,"from":"a@example.com","to":["b@example.com"]}`, "!port"},
		{"a sender of two lines", "email", `{"host":"x.example","from":"a@example.com\r\nBcc: c@example.com","to":["b@example.com"]}`, "!from"},
		{"two senders", "email", `{"host":"x.example","from":"a@example.com, c@example.com","to":["b@example.com"]}`, "!from"},
		{"a recipient that is a command", "email", `{"host":"x.example","from":"a@example.com","to":["\"b>\\r\\nDATA\"@example.com"]}`, "!to"},
		{"a recipient that is two without its quotes", "email", `{"host":"x.example","from":"a@example.com","to":["\"b,c\"@example.com"]}`, "!to"},
		{"the same with a name", "email", `{"host":"x.example","from":"a@example.com","to":["B <\"b,c\"@example.com>"]}`, "!to"},
		{"a sender that needs quotes", "email", `{"host":"x.example","from":"\"a b\"@example.com","to":["b@example.com"]}`, "!from"},
		{"a second at sign", "email", `{"host":"x.example","from":"\"a@b\"@example.com","to":["b@example.com"]}`, "!from"},
		{"quotes that are not needed", "email", `{"host":"x.example","from":"\"a\"@example.com","to":["b+x@example.com"]}`,
			`{"host":"x.example","port":587,"security":"starttls","from":"a@example.com","to":["b+x@example.com"]}`},
		{"nobody", "email", `{"host":"x.example","from":"a@example.com","to":[]}`, "!to"},
		{"crowd", "email", `{"host":"x.example","from":"a@example.com","to":"` + strings.Repeat("b@example.com,", 21) + `"}`, "!to"},
		{"recipients as numbers", "email", `{"host":"x.example","from":"a@example.com","to":[1]}`, "!to"},
		{"sns, own credentials", "sns", `{` + arn + `}`, `{` + arn + `}`},
		{"an ARN of something else", "sns", `{"topic_arn":"arn:aws:sqs:eu-central-1:123456789012:x"}`, "!topic_arn"},
		{"a region that is a host", "sns", `{"topic_arn":"arn:aws:sns:evil.example/:123456789012:x"}`, "!topic_arn"},
		{"a subscription's ARN", "sns", `{"topic_arn":"arn:aws:sns:eu-central-1:123456789012:x:11112222"}`, "!topic_arn"},
		{"half a key", "sns", `{` + arn + `,"access_key_id":"AKIAIOSFODNN7EXAMPLE"}`, "!secret_access_key"},
		{"the other half", "sns", `{` + arn + `,"secret_access_key":"12345678"}`, "!access_key_id"},
	} {
		got, err := notify.ParseConfig(c.kind, json.RawMessage(c.raw))
		field, refused := strings.CutPrefix(c.want, "!")
		if !refused {
			if err != nil || string(got) != c.want {
				t.Errorf("%s: %s, %v", c.why, got, err)
			}
			if again, err := notify.ParseConfig(c.kind, got); err != nil || string(again) != string(got) {
				t.Errorf("%s: read again it is %s, %v", c.why, again, err)
			}
			continue
		}
		var f *notify.FieldError
		field, said, _ := strings.Cut(field, " ")
		if !errors.As(err, &f) || f.Field != field || said != "" && f.Problem != said {
			t.Errorf("%s: %v, want a refusal of %q", c.why, err, field)
		}
	}
}

// TestKindsAreParsed: every kind has settings, and demands something of them.
func TestKindsAreParsed(t *testing.T) {
	for _, k := range notify.Kinds() {
		if _, err := notify.ParseConfig(k, json.RawMessage(`{}`)); err == nil || strings.Contains(err.Error(), "unknown kind") {
			t.Errorf("%s: %v", k, err)
		}
	}
}

// FuzzParseConfig: no panic; what is accepted is stable, and holds no line break that could reach a header or a command.
func FuzzParseConfig(f *testing.F) {
	for _, s := range []string{
		`{"url":"https://x.example","secret":"12345678","headers":{"A":"b"}}`, `{"webhook_url":"https://x.example/a?b=c","keyword":"x"}`,
		`{"bot_token":"1:abcdefghijklmnopqrst","chat_id":-5}`, `{"host":"x.example","port":25,"from":"\"A\" <a@b.c>","to":"d@e.f"}`,
		`{"topic_arn":"arn:aws:sns:eu-central-1:123456789012:x.fifo"}`, `{"host":"::1","from":"=?utf-8?q?a=0d=0ab?= <a@b.c>","to":["a@[1.2.3.4]"]}`,
	} {
		for i := range notify.Kinds() {
			f.Add(i, s)
		}
	}
	kinds := notify.Kinds()
	f.Fuzz(func(t *testing.T, kind int, raw string) {
		k := kinds[uint(kind)%uint(len(kinds))]
		got, err := notify.ParseConfig(k, json.RawMessage(raw))
		if err != nil {
			if len(err.Error()) > 500 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		again, err := notify.ParseConfig(k, got)
		if err != nil || string(again) != string(got) {
			t.Fatalf("%s became %s, then %s, %v", raw, got, again, err)
		}
		var fields map[string]any
		if err := json.Unmarshal(got, &fields); err != nil {
			t.Fatal(err)
		}
		for name, v := range fields {
			texts := []any{v}
			switch v := v.(type) {
			case []any:
				texts = v
			case map[string]any:
				texts = slices.Collect(maps.Values(v))
			}
			for _, x := range texts {
				if s, ok := x.(string); ok && strings.ContainsAny(s, "\r\n\x00") {
					t.Errorf("%s of %s holds %q", name, k, s)
				}
			}
		}
	})
}
