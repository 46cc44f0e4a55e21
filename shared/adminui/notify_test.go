package adminui

import (
	"net/url"
	"strings"
	"testing"
)

func notifyReplies() map[string]string {
	chans := `{"channels":[{"id":"chn-1","name":"<b>ops</b>","channel_type":"webhook","enabled":true},{"id":"chn-2","name":"mail","channel_type":"email","enabled":false}]}`
	subs := `{"subscriptions":[{"id":"sub-1","channel_id":"chn-1","event_type":"node.failed","enabled":true},{"id":"sub-2","channel_id":"chn-1","event_type":"node.added","enabled":true},{"id":"sub-3","channel_id":"chn-2","event_type":"node.added","enabled":false}]}`
	rules := `{"rules":[{"id":"alr-1","name":"<i>errors</i>","kind":"error_rate","threshold":5,"window_minutes":10,"min_requests":50,"enabled":true,"raised":true,"raised_at":"2026-02-28T10:00:00Z"},
		{"id":"alr-2","name":"spend","kind":"spend_month","threshold":12.5,"enabled":false,"raised":false,"raised_at":null}]}`
	sent := `{"history":[{"id":"h1","channel_id":"chn-1","event_type":"node.failed","title":"Node failed: <u>n</u>","content":"text","status":"failed","error":"status <500>","attempts":3,"sent_at":"2026-02-28T10:00:00Z"}],"next_cursor":"abc-1"}`
	m := map[string]string{"GET /api/notification/event-types": `{"event_types":[{"type":"node.failed","category":"node","description":"A node failed","description_zh":"节点故障"},{"type":"node.added","category":"node","description":"A node was added","description_zh":"新增节点"},{"type":"alert.raised","category":"alert","description":"An alert","description_zh":"告警"}]}`,
		"GET /api/notification/history?account_id=default&limit=200": sent}
	for _, q := range []string{"", "?account_id=default"} {
		m["GET /api/notification/channels"+q], m["GET /api/notification/subscriptions"+q], m["GET /api/alerts/rules"+q] = chans, subs, rules
	}
	return m
}

// TestNotifyPage: each part with data and without, hostile texts as text.
func TestNotifyPage(t *testing.T) {
	f := newPoolFake(t, notifyReplies())
	f.has("channels", f.get("/admin/notifications"), 200, "&lt;b&gt;ops&lt;/b&gt;", "!<b>ops", `<td class="num" data-label="Events">2</td>`, `do=test`, "Choose a kind")
	f.has("subscriptions", f.get("/admin/notifications?tab=subscriptions"), 200, "A node failed", `name="was" value="chn-1 node.failed"`, `value="chn-1 node.failed" checked`, `!value="chn-2 node.added" checked`, `!name="was" value="chn-2 node.added"`, `colspan="3"`)
	f.has("in Chinese", f.get("/admin/notifications?tab=subscriptions", "Accept-Language", "zh-CN"), 200, "节点故障", "!A node failed")
	f.has("rules", f.get("/admin/notifications?tab=rules"), 200, "&lt;i&gt;errors&lt;/i&gt;", "!<i>errors", "Alerts raised: 1", "above 5 % of requests fail", "over 10 min, of 50 requests", "above $12.50 since the month began", `2026-02-28T10:00:00Z`)
	f.has("history", f.get("/admin/notifications?tab=history"), 200, "Node failed: &lt;u&gt;n&lt;/u&gt;", "status &lt;500&gt;", "cursor=abc-1", "&lt;b&gt;ops&lt;/b&gt;")
	f.has("the live part alone", f.get("/admin/notifications?tab=rules", "HX-Request", "true", "HX-Target", "div#raised"), 200, "Alerts raised: 1", "!<table", "!<html")
	f.has("a part that there is not", f.get("/admin/notifications?tab=<x>"), 200, "&lt;b&gt;ops", "!<x>")

	none := newPoolFake(t, map[string]string{"GET /admin/api/me": personMe})
	for tab, says := range map[string]string{"channels": "No channels yet", "subscriptions": "Add a channel first", "rules": "No alert rules yet", "history": "Nothing was sent"} {
		none.has(tab+" of nobody", none.get("/admin/notifications?tab="+tab), 200, says, `!name="account_id"`)
	}
	if none.asked("GET /admin/api/accounts") {
		t.Error("a tenant has no choice of accounts")
	}
}

// TestChannelForms: each kind has its fields; what was set is never shown; blank keeps all of it, and one alone is refused.
func TestChannelForms(t *testing.T) {
	f := newPoolFake(t, notifyReplies())
	for kind, fields := range map[string][]string{"webhook": {"url", "secret", "headers"}, "slack": {"webhook_url"}, "wecom": {"webhook_url"}, "dingtalk": {"webhook_url", "secret", "keyword"},
		"feishu": {"webhook_url", "secret", "keyword"}, "telegram": {"bot_token", "chat_id"}, "email": {"host", "port", "security", "username", "password", "from", "to"},
		"sns": {"topic_arn", "access_key_id", "secret_access_key", "session_token"}} {
		w := f.get("/admin/notifications?new=" + kind)
		for _, name := range fields {
			f.has(kind, w, 200, `name="`+name+`"`)
		}
	}
	post := func(why, target string, in url.Values, call, want string) {
		t.Helper()
		f.sent = map[string]string{}
		if w := f.post(target, in); w.Code != 303 || f.sent[call] != want {
			t.Errorf("%s: %d, %s sent %s, want %s", why, w.Code, call, f.sent[call], want)
		}
	}
	post("a mail", "/admin/notifications?do=create", url.Values{"kind": {"email"}, "name": {"m"}, "host": {"smtp.example.com"}, "port": {"465"}, "security": {"tls"}, "from": {"a@b.c"}, "to": {"x@b.c\ny@b.c"}},
		"POST /api/notification/channels", `{"name":"m","channel_type":"email","config":{"from":"a@b.c","host":"smtp.example.com","port":465,"security":"tls","to":["x@b.c","y@b.c"]}}`)
	post("a webhook of another account", "/admin/notifications?do=create&account_id=acc-b", url.Values{"kind": {"webhook"}, "name": {"w"}, "url": {"https://h.example"}, "headers": {"X-A: 1: 2\n"}},
		"POST /api/notification/channels?account_id=acc-b", `{"name":"w","channel_type":"webhook","config":{"headers":{"X-A":"1: 2"},"url":"https://h.example"}}`)
	post("blank keeps", "/admin/notifications?do=update&id=chn-2", url.Values{"kind": {"email"}, "name": {"mail 2"}, "host": {""}, "port": {""}, "security": {""}}, "PUT /api/notification/channels/chn-2", `{"name":"mail 2","channel_type":"email"}`)
	post("off", "/admin/notifications?do=disable", url.Values{"id": {"chn-1"}, "name": {"ops"}}, "PUT /api/notification/channels/chn-1", `{"enabled":false}`)

	for what, call := range map[string]string{"enable": `PUT /api/notification/channels/chn-2 {"enabled":true}`, "disable": `PUT /api/notification/channels/chn-2 {"enabled":false}`, "delete": "DELETE /api/notification/channels/chn-2 "} {
		f.sent, f.calls = map[string]string{}, nil
		w := f.post("/admin/notifications?do=bulk&account_id=acc-b", url.Values{"ids": {"chn-1", "chn-2"}, "what": {what}, "confirm": {"delete"}})
		name, body, _ := strings.Cut(call, "chn-2 ")
		if w.Code != 303 || !f.asked(name+"chn-1") || !f.asked(name+"chn-2") || f.sent[name+"chn-2"] != body || !strings.Contains(w.Header().Get("Location"), "notify.bulk."+what+"&done=2") {
			t.Errorf("%s: %d to %s, %q, %q", what, w.Code, w.Header().Get("Location"), f.calls, f.sent)
		}
	}
	f.calls = nil
	f.has("many without the word", f.post("/admin/notifications?do=bulk", url.Values{"ids": {"chn-1"}, "what": {"delete"}}), 400, "Type delete to confirm", `value="chn-1" form="bulk" aria-label="Choose &lt;b&gt;ops&lt;/b&gt;" checked`)
	f.has("another word than those", f.post("/admin/notifications?do=bulk", url.Values{"ids": {"chn-1"}, "what": {"sell"}}), 400, `role="alert"`)
	f.has("rules without the word", f.post("/admin/notifications?do=rules", url.Values{"ids": {"alr-1"}, "what": {"delete"}}), 400, "Type delete to confirm")
	if f.asked("DELETE") || f.asked("PUT") {
		t.Errorf("%q", f.calls)
	}

	f.has("one field alone", f.post("/admin/notifications?do=update&id=chn-2", url.Values{"kind": {"email"}, "name": {"m"}, "port": {"25"}}), 400, "must not be empty", `value="25"`)
	f.has("a line that is no header", f.post("/admin/notifications?do=create", url.Values{"kind": {"webhook"}, "name": {"w"}, "url": {"https://h"}, "headers": {"<nope>"}}), 400, "&lt;nope&gt;", `value="https://h"`)
	f.has("a kind that there is not", f.post("/admin/notifications?do=create", url.Values{"kind": {"pager"}, "name": {"w"}}), 400, `role="alert"`)
	for _, c := range []struct{ why, says, id, want string }{
		{"without a colon", "config.url names no host", "f-url", "names no host"},
		{"a secret with a space", "config.secret must hold only visible ASCII characters, no spaces", "f-secret", "no spaces"},
		{"a header of ours", "config.headers.host is set by the gateway", "f-headers", "host is set by the gateway"},
		{"a name", "name: must have at most 100 bytes", "f-name", "must have at most 100 bytes"},
	} {
		f.reply["POST /api/notification/channels"] = `400 {"error":"` + c.says + `"}`
		w := f.post("/admin/notifications?do=create", url.Values{"kind": {"webhook"}, "name": {"w"}, "url": {"https://"}, "secret": {"typed-secret"}, "headers": {"Host: x"}})
		f.has(c.why, w, 400, `value="https://"`, "Host: x", "!typed-secret")
		if _, after, ok := strings.Cut(w.Body.String(), `id="`+c.id+`"`); !ok || !strings.Contains(after[:400], c.want) {
			t.Errorf("%s: %q does not stand at its field", c.why, c.want)
		}
	}
	f.reply["POST /api/notification/channels"] = `400 {"error":"channel_type: must be one of a, b"}`
	f.has("of no field", f.post("/admin/notifications?do=create", url.Values{"kind": {"slack"}, "name": {"w"}, "webhook_url": {"https://h"}}), 400, `role="alert">channel_type: must be one of a, b`)
}

// TestChannelTest: the result of a test message is told, good or bad, in the service's words as text.
func TestChannelTest(t *testing.T) {
	f := newPoolFake(t, notifyReplies())
	in := url.Values{"id": {"chn-1"}, "name": {"ops"}}
	if w := f.post("/admin/notifications?do=test&account_id=default", in); w.Code != 303 || !strings.Contains(w.Header().Get("Location"), "notify.tested") || !strings.Contains(w.Header().Get("Location"), "account_id=default") {
		t.Errorf("%d to %s", w.Code, w.Header().Get("Location"))
	}
	f.reply["POST /api/notification/test"] = `502 {"error":"status 403: <denied>"}`
	f.has("refused", f.post("/admin/notifications?do=test", in), 502, "The test message to ops was not sent: status 403: &lt;denied&gt;")
	f.has("a wrong name", f.post("/admin/notifications?do=delete", url.Values{"id": {"chn-1"}, "name": {"ops"}, "confirm": {"op"}}), 400, `role="alert"`)
	if f.asked("DELETE") {
		t.Error("it was deleted")
	}
}

// TestSubscribe: what was changed is saved, and nothing else.
func TestSubscribe(t *testing.T) {
	f := newPoolFake(t, notifyReplies())
	w := f.post("/admin/notifications?do=subscribe", url.Values{"was": {"chn-1 node.failed"}, "on": {"chn-1 alert.raised", "chn-2 node.added", "nonsense"}})
	if w.Code != 303 || !f.asked("DELETE /api/notification/subscriptions/sub-1") {
		t.Errorf("%d: %q", w.Code, f.calls)
	}
	// sub-2 was ticked by somebody else after the page was read: it stays
	if f.asked("DELETE /api/notification/subscriptions/sub-2") || f.asked("DELETE /api/notification/subscriptions/sub-3") {
		t.Errorf("%q", f.calls)
	}
	n := 0
	for _, c := range f.calls {
		if c == "POST /api/notification/subscriptions" {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d channels were told: %q", n, f.calls)
	}
	f.reply["POST /api/notification/subscriptions"] = `400 {"error":"event_types: has one that there is not"}`
	f.has("refused", f.post("/admin/notifications?do=subscribe", url.Values{"on": {"chn-1 <x>"}}), 400, "has one that there is not", "A node failed")
}

// TestAlertRules: every kind has its form; a window only those that have one; edits keep the kind.
func TestAlertRules(t *testing.T) {
	f := newPoolFake(t, notifyReplies())
	for _, kind := range ruleKinds() {
		w := f.get("/admin/notifications?tab=rules&new=" + kind)
		f.has(kind, w, 200, `name="threshold"`, `name="kind" value="`+kind+`"`, "!alerts.threshold", "!alerts.kind")
		if strings.Contains(w.Body.String(), `name="window_minutes"`) != windowed(kind) {
			t.Errorf("%s: its window", kind)
		}
	}
	post := func(why, target string, in url.Values, call, want string) {
		t.Helper()
		if w := f.post(target, in); w.Code != 303 || f.sent[call] != want {
			t.Errorf("%s: %d, %s sent %s, want %s", why, w.Code, call, f.sent[call], want)
		}
	}
	post("with a window", "/admin/notifications?do=rule-create", url.Values{"kind": {"error_rate"}, "threshold": {"2.5"}, "window_minutes": {"10"}, "min_requests": {""}}, "POST /api/alerts/rules", `{"name":"Error rate","kind":"error_rate","threshold":2.5,"window_minutes":10}`)
	post("without", "/admin/notifications?do=rule-create", url.Values{"kind": {"forecast"}, "name": {"f"}, "threshold": {"100"}, "window_minutes": {"10"}}, "POST /api/alerts/rules", `{"name":"f","kind":"forecast","threshold":100}`)
	post("an edit", "/admin/notifications?do=rule-update&id=alr-2", url.Values{"kind": {"spend_month"}, "name": {"s"}, "threshold": {"1e1"}}, "PUT /api/alerts/rules/alr-2", `{"name":"s","kind":"spend_month","threshold":10}`)
	post("on", "/admin/notifications?do=rule-enable", url.Values{"id": {"alr-2"}, "name": {"s"}}, "PUT /api/alerts/rules/alr-2", `{"enabled":true}`)
	post("many off", "/admin/notifications?do=rules", url.Values{"ids": {"alr-1", "alr-2"}, "what": {"disable"}}, "PUT /api/alerts/rules/alr-1", `{"enabled":false}`)
	f.has("an edit's form", f.get("/admin/notifications?tab=rules&edit=alr-1"), 200, `value="5"`, `value="10"`, `value="50"`, "rule-update&amp;id=alr-1")
	for _, bad := range []string{"", "five", "NaN", "Inf", "1e999"} {
		f.has("threshold "+bad, f.post("/admin/notifications?do=rule-create", url.Values{"kind": {"spend_day"}, "name": {"kept"}, "threshold": {bad}}), 400, "must be a number", `value="kept"`)
	}
	f.reply["POST /api/alerts/rules"] = `400 {"error":"threshold: must be in percent"}`
	f.has("refused", f.post("/admin/notifications?do=rule-create", url.Values{"kind": {"error_rate"}, "name": {"kept"}, "threshold": {"101"}}), 400, "must be in percent", `value="kept"`, `value="101"`, `name="window_minutes"`)
	f.has("a wrong name", f.post("/admin/notifications?do=rule-delete", url.Values{"id": {"alr-1"}, "name": {"n"}, "confirm": {"m"}}), 400, `role="alert"`, "Alerts raised: 1", "sort=name&amp;tab=rules")
	if f.asked("DELETE") {
		t.Error("it was deleted")
	}
}
