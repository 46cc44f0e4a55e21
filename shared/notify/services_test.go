package notify_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"sluice/shared/core"
	"sluice/shared/notify"
	"sluice/shared/notify/notifytest"
)

const (
	dingSecret = "SECdingdingdingdingding"
	botToken   = "123456789:AAtelegramtelegramtelegram"
	keyID      = "AKIAIOSFODNN7EXAMPLE"
	awsSecret  = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

// service is a kind with its fake, and a rig whose hub knows it.
type service struct {
	kind   string
	config map[string]any
	server *notifytest.Server
	hidden []string // what must never be shown
}

// services starts the fake of every kind over HTTP.
func services(t *testing.T) (*rig, []service) {
	clk := &clock{at: start} // the services' own
	telegram := notifytest.NewTelegram(clk.Now, botToken, "-100123")
	sns := notifytest.NewSNS(clk.Now, "eu-central-1", keyID, awsSecret, "")
	hook, slack := notifytest.NewWebhook(clk.Now, "hook-secret-1"), notifytest.NewSlack(clk.Now)
	ding, word := notifytest.NewDingTalk(clk.Now, dingSecret, ""), notifytest.NewDingTalk(clk.Now, "", "告警")
	lark, larkWord := notifytest.NewFeishu(clk.Now, "larksecretlark", ""), notifytest.NewFeishu(clk.Now, "", "alert!")
	wecom, work, personal := notifytest.NewWeCom(clk.Now), notifytest.NewWeCom(clk.Now), notifytest.NewWeCom(clk.Now)
	all := []service{
		{"webhook", map[string]any{"url": hook.URL, "secret": "hook-secret-1", "headers": map[string]string{"Authorization": "Bearer own-token"}}, hook,
			[]string{"hook-secret-1", "own-token", "query-secret", "aaaa-bbbb-cccc"}},
		{"slack", map[string]any{"webhook_url": slack.URL}, slack, []string{"xoxsecret"}},
		{"dingtalk", map[string]any{"webhook_url": ding.URL, "secret": dingSecret}, ding, []string{"dingtoken", dingSecret}},
		{"dingtalk", map[string]any{"webhook_url": word.URL, "keyword": "告警"}, word, []string{"dingtoken"}},
		{"feishu", map[string]any{"webhook_url": lark.URL, "secret": "larksecretlark"}, lark, []string{"ffffffff-0000", "larksecret"}},
		{"feishu", map[string]any{"webhook_url": larkWord.URL, "keyword": "alert!"}, larkWord, []string{"ffffffff-0000"}},
		{"wecom", map[string]any{"webhook_url": wecom.URL}, wecom, []string{"693axxx6"}},
		{"wechat_work", map[string]any{"webhook_url": work.URL}, work, []string{"693axxx6"}},
		{"wechat_personal", map[string]any{"webhook_url": personal.URL}, personal, []string{"693axxx6"}},
		{"telegram", map[string]any{"bot_token": botToken, "chat_id": -100123}, telegram, []string{botToken, "AAtelegram"}},
		{"sns", map[string]any{"topic_arn": "arn:aws:sns:eu-central-1:123456789012:alerts", "access_key_id": keyID, "secret_access_key": awsSecret}, sns,
			[]string{keyID, awsSecret}},
	}
	for _, s := range all {
		t.Cleanup(s.server.Close)
	}
	r := newRig(t, func(o *notify.Options) {
		o.TelegramURL, o.SNSURL = telegram.URL, sns.URL
	})
	return r, all
}

// TestServicesTakeIt: each fake checks the real payload rules, so what it takes is right.
func TestServicesTakeIt(t *testing.T) {
	r, all := services(t)
	for _, s := range all {
		r.channel("a", s.kind, s.config, core.EventNodeFailed)
	}
	r.emit(r.hub, failed("a", "node 5"))
	r.want(r.hub, "one to each", len(all), 0, 0)
	for i, s := range all {
		m := s.server.Messages()
		if len(m) != 1 {
			t.Errorf("%s (%d): refused: %v", s.kind, i, s.server.Refused())
			continue
		}
		body := m[0].Title + "\n" + m[0].Text
		for _, part := range []string{"Node failed: main", "It answered 503 three times."} {
			if !strings.Contains(body, part) {
				t.Errorf("%s: %q is missing in\n%s", s.kind, part, body)
			}
		}
		if s.kind != "webhook" && !strings.Contains(body, "https://gate.example") {
			t.Errorf("%s: no link in\n%s", s.kind, body)
		}
	}
	if m := all[0].server.Messages()[0]; m.Header.Get("Authorization") != "Bearer own-token" || m.Header.Get("X-Sluice-Event") != "node.failed" {
		t.Errorf("webhook's headers %v", m.Header)
	}
}

// TestHostileTexts: names and texts of tenants mean nothing but themselves, and never make a service refuse the message.
func TestHostileTexts(t *testing.T) {
	for _, c := range []struct{ why, text string }{
		{"Slack mentions", "<!channel> <!here> <@U123> <https://evil.example|click>"},
		{"mentions of DingTalk and Feishu", `@all @13800138000 <at user_id="all">all</at> <at id=all></at>`},
		{"a mention of WeCom", "<@all> <@zhangsan>"},
		{"links and images of markdown", "[click](https://evil.example) ![x](https://evil.example/p.png) **b** `c`"},
		{"headings and quotes in lines of their own", "x\n# big\n> quote\r\n- item"},
		{"tags", `<script>alert(1)</script><font color="warning">x</font> &lt;!channel&gt; &amp;`},
		{"header injection", "x\r\nBcc: victim@example.com\r\n\r\nbody"},
		{"the end of an SMTP message", "x\r\n.\r\nMAIL FROM:<a@b>"},
		{"line separators", "x\u2028y\u2029z\u0085w\vv"},
		{"reading direction", "safe\u202egnp.exe\u2066x\u2069"},
		{"control characters", "a\x00b\x1b[31mred\x07"},
		{"broken UTF-8", "a\xff\xfeb\xed\xa0\x80c"},
		{"JSON", `","msgtype":"text","x":"`},
		{"XML", "]]></Message><Code>x</Code>"},
		{"long, of four bytes each", strings.Repeat("😀", 5000)},
		{"long, of three bytes each", strings.Repeat("告", 5000)},
		{"long, of what is escaped", strings.Repeat("<&>", 3000)},
		{"only blanks", " \t\r\n "},
		{"template", "{{.Secret}} ${env} %s %n"},
	} {
		t.Run(c.why, func(t *testing.T) {
			r, all := services(t)
			mail, err := notifytest.NewSMTP(notifytest.SMTPOptions{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(mail.Close)
			r.o.Roots = mail.Roots
			hub := r.another()
			for _, s := range all {
				r.channel("a", s.kind, s.config, core.EventNodeFailed)
			}
			r.channel("a", "email", mailConfig(mail, nil), core.EventNodeFailed)
			e := core.Event{Type: core.EventNodeFailed, Account: "a", Subject: c.text, Node: c.text, Name: c.text, Text: c.text, Once: c.text}
			r.emit(hub, e)
			r.want(hub, "all", len(all)+1, 0, 0)
			for _, s := range all {
				m := s.server.Messages()
				if len(m) != 1 {
					t.Fatalf("%s: refused: %v", s.kind, s.server.Refused())
				}
				harmless(t, s.kind, m[0])
			}
			checkMail(t, mail.Mails()[0])
		})
	}
}

func harmless(t *testing.T, kind string, m notifytest.Message) {
	t.Helper()
	all := m.Title + m.Text
	if !utf8.ValidString(all) || strings.Contains(string(m.Body), `\ufffd\ufffd\ufffd\ufffd`) {
		t.Errorf("%s: not UTF-8", kind)
	}
	for _, r := range all {
		if r != '\n' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			t.Errorf("%s: %U in %q", kind, r, all)
		}
	}
	if strings.ContainsAny(m.Title, "\r\n") {
		t.Errorf("%s: title of several lines %q", kind, m.Title)
	}
	switch kind {
	case "webhook", "sns":
		return // JSON and plain text: nothing in them is markup
	case "slack":
		all = strings.NewReplacer("&lt;", "", "&gt;", "", "&amp;", "").Replace(all)
		if strings.ContainsAny(all, "<>&") {
			t.Errorf("slack: not escaped: %q", all)
		}
		return
	}
	for _, sign := range []string{"@", "<", "[", "]", "`"} {
		if strings.Contains(all, sign) {
			t.Errorf("%s: %q in %q", kind, sign, all)
		}
	}
	if kind != "telegram" && kind != "feishu" && strings.Count(all, "# ") > strings.Count(all, "#### ") {
		t.Errorf("%s: a heading in %q", kind, all)
	}
}

// TestLongTests: the longest text that can be sent fits every service.
func TestLongTests(t *testing.T) {
	for _, text := range []string{strings.Repeat("😀", 9000), strings.Repeat("告", 9000), strings.Repeat("&", 9000)} {
		r, all := services(t)
		for _, s := range all {
			if err := r.hub.Test(t.Context(), r.channel("a", s.kind, s.config), text, text+"\n"+text); err != nil {
				t.Errorf("%s: %v, %v", s.kind, err, s.server.Refused())
				continue
			}
			harmless(t, s.kind, s.server.Messages()[0])
		}
	}
}

// TestRefusals: real failure bodies, in words, final or not; without address or secret though the service repeats them.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		kind  string
		reply notifytest.Reply
		final bool
		next  time.Duration
		words string
	}{
		{"slack", notifytest.Reply{Status: 404, Body: "no_service"}, true, 0, "no_service"},
		{"slack", notifytest.Reply{Status: 403, Body: "invalid_token"}, true, 0, "invalid_token"},
		{"slack", notifytest.Reply{Status: 429, Body: "rate_limited", Header: map[string]string{"Retry-After": "30"}}, false, 30 * time.Second, "429"},
		{"slack", notifytest.Reply{Status: 500, Body: "rollup_error"}, false, 5 * time.Second, "rollup_error"},
		{"slack", notifytest.Reply{Status: 200, Body: "<html>parked</html>"}, true, 0, "not Slack's"},
		{"dingtalk", notifytest.Reply{Status: 200, Body: `{"errcode":310000,"errmsg":"sign not match, token dingtoken0123456789 secret ` + dingSecret + `"}`}, true, 0, "310000"},
		{"dingtalk", notifytest.Reply{Status: 200, Body: `{"errcode":130101,"errmsg":"send too fast, exceed 20 times per minute"}`}, false, 10 * time.Minute, "send too fast"},
		{"dingtalk", notifytest.Reply{Status: 200, Body: `{"errcode":-1,"errmsg":"系统繁忙"}`}, false, 5 * time.Second, "系统繁忙"},
		{"dingtalk", notifytest.Reply{Status: 200, Body: "ok"}, true, 0, "not DingTalk's"},
		{"feishu", notifytest.Reply{Status: 200, Body: `{"code":19021,"msg":"sign match fail or timestamp is not within one hour from current time","data":{}}`}, true, 0, "sign match fail"},
		{"feishu", notifytest.Reply{Status: 400, Body: `{"code":11232,"msg":"frequency limited psm[lark.oapi.app_platform_runtime]"}`}, false, 5 * time.Second, "frequency limited"},
		{"feishu", notifytest.Reply{Status: 400, Body: `{"code":19001,"msg":"param invalid: incoming webhook access token invalid"}`}, true, 0, "19001"},
		{"feishu", notifytest.Reply{Status: 502, Body: "bad gateway"}, false, 5 * time.Second, "HTTP 502"},
		{"wecom", notifytest.Reply{Status: 200, Body: `{"errcode":93000,"errmsg":"invalid webhook url 693axxx6-7aoc-4bc4, hint: [1]"}`}, true, 0, "[redacted]"},
		{"wecom", notifytest.Reply{Status: 200, Body: `{"errcode":45009,"errmsg":"api freq out of limit"}`}, false, time.Minute, "api freq"},
		{"telegram", notifytest.Reply{Status: 429, Body: `{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 35","parameters":{"retry_after":35}}`}, false, 35 * time.Second, "retry after 35"},
		{"telegram", notifytest.Reply{Status: 403, Body: `{"ok":false,"error_code":403,"description":"Forbidden: bot was blocked by the user"}`}, true, 0, "bot was blocked"},
		{"telegram", notifytest.Reply{Status: 401, Body: `{"ok":false,"error_code":401,"description":"Unauthorized ` + botToken + `"}`}, true, 0, "Unauthorized"},
		{"telegram", notifytest.Reply{Status: 200, Body: `{"ok":false,"error_code":500,"description":"Internal"}`}, false, 5 * time.Second, "HTTP 500"},
		{"sns", notifytest.Reply{Status: 400, Body: `<ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>`}, false, 5 * time.Second, "Rate exceeded"},
		{"sns", notifytest.Reply{Status: 403, Body: `<ErrorResponse><Error><Code>AuthorizationError</Code><Message>User with ` + keyID + ` is not authorized</Message></Error></ErrorResponse>`}, true, 0, "AuthorizationError"},
		{"sns", notifytest.Reply{Status: 200, Body: "hello"}, true, 0, "not that of Amazon SNS"},
		{"webhook", notifytest.Reply{Status: 500, Body: strings.Repeat("x", 1<<20)}, false, 5 * time.Second, "HTTP 500"},
	} {
		r, all := services(t)
		for _, s := range all {
			if s.kind != c.kind {
				continue
			}
			ch := r.channel("a", s.kind, s.config, core.EventNodeFailed)
			s.server.Script(c.reply, c.reply, c.reply, c.reply)
			r.emit(r.hub, failed("a", "node 1"))
			r.deliver(r.hub)
			n := r.outbox()
			if len(n) != 1 || !strings.Contains(n[0].Error, c.words) || len([]rune(n[0].Error)) > 300 {
				t.Errorf("%s %s: %+v", c.kind, c.words, n)
				break
			}
			if !c.final && !n[0].NextAt.Equal(start.Add(c.next)) {
				t.Errorf("%s %s: next after %v", c.kind, c.words, n[0].NextAt.Sub(start))
			}
			r.add(90 * time.Minute)
			r.deliver(r.hub)
			r.add(90 * time.Minute)
			r.deliver(r.hub)
			if final := len(r.outbox()) == 0; final != c.final {
				t.Errorf("%s %s: final %v", c.kind, c.words, final)
			}
			err := r.hub.Test(t.Context(), ch, "", "")
			if err == nil {
				t.Errorf("%s %s: the test succeeds", c.kind, c.words)
				break
			}
			said := n[0].Error + fmt.Sprint(err, r.history("a")) + r.logs.String()
			for _, secret := range append(s.hidden, strings.TrimPrefix(s.server.URL, "http://")) {
				if strings.Contains(said, secret) {
					t.Errorf("%s %s: %q is shown in %s", c.kind, c.words, secret, said)
				}
			}
			break
		}
	}
}

// TestFailuresBelowHTTP are told without the address.
func TestFailuresBelowHTTP(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := "http://" + closed.Addr().String() + "/secret-path-x"
	_ = closed.Close()
	guarded := errors.New("address is not public; the operator can allow it with UPSTREAM_ALLOW_PRIVATE")
	for _, c := range []struct {
		why, url string
		dial     func(context.Context, string, string) (net.Conn, error)
		words    string
	}{
		{"nobody listens", dead, nil, "no connection: connection refused"},
		{"the guard refuses", "http://10.0.0.1/secret-path-x", func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: guarded}
		}, "no connection: " + guarded.Error()},
		{"no such name", "http://secret-host.invalid/secret-path-x", func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "secret-host.invalid", IsNotFound: true}}
		}, "the host's name does not resolve"},
		{"unknown", "http://secret-host.invalid/secret-path-x", func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("secret-host.invalid is odd")
		}, "the connection failed"},
	} {
		r := newRig(t, func(o *notify.Options) {
			if c.dial != nil {
				o.HTTP = &http.Client{Transport: &http.Transport{DialContext: c.dial}}
			}
		})
		ch := r.channel("a", "webhook", map[string]string{"url": c.url})
		if err := r.hub.Test(t.Context(), ch, "", ""); err == nil || err.Error() != c.words {
			t.Errorf("%s: %v", c.why, err)
		}
	}
}

// TestOwnAWS: the process's credentials serve administrators' accounts only.
func TestOwnAWS(t *testing.T) {
	clk := &clock{at: start}
	sns := notifytest.NewSNS(clk.Now, "us-gov-west-1", keyID, awsSecret, "session-token")
	t.Cleanup(sns.Close)
	config := map[string]string{"topic_arn": "arn:aws-us-gov:sns:us-gov-west-1:123456789012:alerts.fifo"}
	own := func(context.Context) (notify.AWSCredentials, error) {
		return notify.AWSCredentials{AccessKeyID: keyID, SecretAccessKey: core.NewSecret(awsSecret), SessionToken: core.NewSecret("session-token")}, nil
	}
	r := newRig(t, func(o *notify.Options) { o.SNSURL, o.AWS = sns.URL, own })
	if !notify.UsesOwnAWS("sns", jsonText(t, config)) || notify.UsesOwnAWS("slack", jsonText(t, map[string]string{"webhook_url": "https://x.example"})) {
		t.Error("UsesOwnAWS")
	}
	if err := r.hub.Test(t.Context(), r.channel("root", "sns", config), "", ""); err != nil {
		t.Errorf("administrator: %v, %v", err, sns.Refused())
	}
	if err := r.hub.Test(t.Context(), r.channel("tenant", "sns", config), "", ""); err == nil || !strings.Contains(err.Error(), "administrators") {
		t.Errorf("tenant: %v", err)
	}
	r.o.AWS = nil
	if err := r.another().Test(t.Context(), r.channel("root", "sns", config), "", ""); err == nil {
		t.Error("without credentials")
	}
	if sns.Calls() != 1 {
		t.Errorf("%d calls", sns.Calls())
	}
	r.o.AWS = func(context.Context) (notify.AWSCredentials, error) {
		return notify.AWSCredentials{AccessKeyID: keyID, SecretAccessKey: core.NewSecret("another")}, nil
	}
	if err := r.another().Test(t.Context(), r.channel("root", "sns", config), "", ""); err == nil || len(sns.Refused()) != 1 {
		t.Error("the fake takes any signature")
	}
}

// TestSNSEndpoint is the region's, in each partition.
func TestSNSEndpoint(t *testing.T) {
	for arn, host := range map[string]string{
		"arn:aws:sns:eu-central-1:123456789012:x":     "sns.eu-central-1.amazonaws.com",
		"arn:aws-cn:sns:cn-north-1:123456789012:x":    "sns.cn-north-1.amazonaws.com.cn",
		"arn:aws-us-gov:sns:us-gov-west-1:1234567890": "",
	} {
		asked := ""
		r := newRig(t, func(o *notify.Options) {
			o.HTTP.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
				asked = r.URL.Scheme + "://" + r.URL.Host
				return nil, errors.New("enough")
			})
		})
		config := map[string]string{"topic_arn": arn, "access_key_id": keyID, "secret_access_key": awsSecret}
		if host == "" {
			if _, err := notify.ParseConfig("sns", jsonText(t, config)); err == nil {
				t.Errorf("%s is taken", arn)
			}
			continue
		}
		_ = r.hub.Test(t.Context(), r.channel("a", "sns", config), "", "")
		if asked != "https://"+host {
			t.Errorf("%s: asked %s", arn, asked)
		}
	}
}
