package adminui

import (
	"net/url"
	"strings"
	"testing"
)

// TestSecretsAgain: a refused form sends no secret back, and says at each that was typed that it must be typed again: the next
// attempt would save what is weaker.
func TestSecretsAgain(t *testing.T) {
	const again = "Enter it again"
	for _, c := range []struct {
		why, target, call string // call: what the API refuses
		form              url.Values
		secrets           []string
	}{
		{"a new account", "/admin/tenants?do=create", "POST /admin/api/accounts", nil, []string{"password", "proxy_api_key"}},
		{"another password", "/admin/tenants?do=update&id=acc-b", "PUT /admin/api/accounts?id=acc-b", nil, []string{"password"}},
		{"a signed webhook", "/admin/notifications?do=create", "POST /api/notification/channels", url.Values{"kind": {"webhook"}, "url": {"ftp://x"}}, []string{"secret"}},
		{"a robot that wants signatures", "/admin/notifications?do=create", "POST /api/notification/channels", url.Values{"kind": {"dingtalk"}, "webhook_url": {"ftp://x"}}, []string{"secret"}},
		{"the other robot", "/admin/notifications?do=create", "POST /api/notification/channels", url.Values{"kind": {"feishu"}, "webhook_url": {"ftp://x"}}, []string{"secret"}},
		{"a bot", "/admin/notifications?do=create", "POST /api/notification/channels", url.Values{"kind": {"telegram"}, "chat_id": {"x"}}, []string{"bot_token"}},
		{"mail, by the console's own refusal", "/admin/notifications?do=create", "", url.Values{"kind": {"email"}}, []string{"password"}},
		{"a topic", "/admin/notifications?do=create", "POST /api/notification/channels", url.Values{"kind": {"sns"}, "topic_arn": {"x"}}, []string{"secret_access_key", "session_token"}},
		{"an edit of a channel", "/admin/notifications?do=update&id=chn-1", "PUT /api/notification/channels/chn-1", url.Values{"kind": {"webhook"}, "url": {"ftp://x"}}, []string{"secret"}},
		{"a node", "/admin/nodes?do=create&new=anthropic", "", url.Values{"kind": {"anthropic"}}, []string{"api_key"}},
		{"a node of Bedrock", "/admin/nodes?do=create&new=bedrock", "POST /admin/api/nodes", url.Values{"kind": {"bedrock"}, "credential": {"access_keys"}}, []string{"api_key", "secret_access_key", "session_token", "external_id"}},
		{"a login of Amazon Q", "/admin/accounts?do=create", "POST /admin/accounts", nil, []string{"refresh_token", "client_secret", "api_key"}},
		{"another login", "/admin/accounts/7?do=update", "PUT /admin/accounts/7", nil, []string{"refresh_token", "client_secret", "api_key"}},
	} {
		replies := notifyReplies()
		replies["GET /admin/api/accounts"] = tenantRows
		replies["GET /admin/accounts/7/stats"] = `{"id":7,"name":"q"}`
		replies[c.call] = `400 {"error":"something else"}`
		f := newPoolFake(t, replies)
		in := url.Values{"name": {"kept"}, "access_key_id": {"AKIA1"}}
		for name, v := range c.form {
			in[name] = v
		}
		for _, name := range c.secrets {
			in.Set(name, "typed-"+name)
		}
		w := f.post(c.target, in)
		f.has(c.why, w, 400, `value="kept"`, "!typed-")
		for _, name := range c.secrets {
			_, field, _ := strings.Cut(w.Body.String(), `name="`+name+`"`)
			if field, _, _ = strings.Cut(field, "<input"); !strings.Contains(field, again) {
				t.Errorf("%s: nothing at %s says that it is to be typed again: %s", c.why, name, field)
			}
		}
		if n := strings.Count(w.Body.String(), again); n != len(c.secrets) {
			t.Errorf("%s: said %d times, of %d secrets", c.why, n, len(c.secrets))
		}
		if strings.Contains(w.Body.String(), `name="access_key_id"`) {
			f.has(c.why+": what is no secret", w, 400, `value="AKIA1"`)
		}
	}
}

// TestChannelChoice: a choice is a setting like the others: one that was changed alone is not saved in part, nor lost without a word,
// and a form that does not know what is stored chooses nothing.
func TestChannelChoice(t *testing.T) {
	f := newPoolFake(t, notifyReplies())
	f.has("a new one", f.get("/admin/notifications?new=email"), 200, `value="starttls" selected`, `!<option value="">`)
	f.has("an edit", f.get("/admin/notifications?edit=chn-2"), 200, `name="security"><option value="">as it is</option>`, "!selected")
	all := url.Values{"kind": {"email"}, "name": {"mail"}, "host": {"smtp.example.com"}, "port": {"465"}, "security": {"tls"}, "from": {"a@b.c"}, "to": {"x@b.c"}}
	for _, c := range []struct {
		why  string
		less []string // fields that are blank
		at   string   // field that the form is refused at; empty: it is saved
	}{
		{"the choice alone", []string{"host", "port", "from", "to"}, "host"},
		{"all but the choice, which would become the default", []string{"security"}, "security"},
		{"all but the port, which would, too", []string{"port"}, "port"},
		{"all", nil, ""},
	} {
		in := url.Values{}
		for name, v := range all {
			in[name] = v
		}
		for _, name := range c.less {
			in.Set(name, "")
		}
		f.calls = nil
		w := f.post("/admin/notifications?do=update&id=chn-2", in)
		if c.at == "" {
			if got := f.sent["PUT /api/notification/channels/chn-2"]; w.Code != 303 || !strings.Contains(got, `"security":"tls"`) {
				t.Errorf("%s: %d, %s", c.why, w.Code, got)
			}
			continue
		}
		_, field, _ := strings.Cut(w.Body.String(), `id="f-`+c.at+`"`)
		if field, _, _ = strings.Cut(field, `<label`); w.Code != 400 || f.asked("PUT") || !strings.Contains(field, "must not be empty") || !strings.Contains(field, `aria-invalid="true"`) {
			t.Errorf("%s: %d, %q, at the field %s", c.why, w.Code, f.calls, field)
		}
	}
}

const captureRows = `{"accounts":[{"id":"acc-b","name":"beta","capturing_until":"2026-03-02T10:30:45Z",
	"capture":{"enabled":true,"until":"2026-03-02T10:30:45Z","failed_only":true,"keep_days":3,"max_bytes":2048,"redact":["case-\\d+","a, b"],"redact_emails":false}},
	{"id":"acc-c","name":"gamma","capture":{"enabled":true,"until":"2026-02-02T10:30:45Z","keep_days":7,"max_bytes":1048576,"redact":[]}}]}`

// TestCaptureForm: administrators see and change what is kept of an account, where the operator gave a place for it.
func TestCaptureForm(t *testing.T) {
	f := newPoolFake(t, map[string]string{"GET /admin/api/accounts": captureRows})
	tokyo := []string{"Cookie", "sluice_zone=Asia/Tokyo"}
	f.has("settings", f.get("/admin/tenants?edit=acc-b", tokyo...), 200, `name="enabled" value="1" checked`, `name="until" type="datetime-local" value="2026-03-02T19:30"`, `name="failed_only" value="1" checked`,
		`name="redact_emails" value="1">`, `name="keep_days" type="number" value="3"`, `name="max_bytes" type="number" value="2048"`, ">case-\\d&#43;\na, b</textarea>", "in the time zone Asia/Tokyo", "do=capture&amp;id=acc-b")
	f.has("one that has ended begins again by a box", f.get("/admin/tenants?edit=acc-c"), 200, `name="enabled" value="1">`, `value="2026-02-02T10:30"`)
	f.has("a new account has none", f.get("/admin/tenants"), 200, `!name="keep_days"`, "!CAPTURE_URL")
	none := newPoolFake(t, tenantReplies())
	none.has("without a place", none.get("/admin/tenants?edit=acc-b"), 200, `!name="keep_days"`, "has not set CAPTURE_URL")
	own := newPoolFake(t, map[string]string{"GET /admin/api/me": personMe, "GET /admin/api/accounts": ownRow})
	own.has("a tenant", own.get("/admin/tenants"), 200, `!name="keep_days"`, "!CAPTURE_URL")

	in := url.Values{"name": {"beta"}, "time_zone": {"Asia/Tokyo"}, "was": {"2026-03-02T19:30"}, "until": {"2026-03-02T19:30"}, "enabled": {"1"}, "keep_days": {"3"}, "max_bytes": {"2048"}, "redact": {"case-\\d+\r\n\r\na, b\r\n"}}
	for _, c := range []struct {
		why    string
		change url.Values
		want   string
	}{
		{"an end that nobody changed keeps its seconds", nil, `{"capture":{"enabled":true,"failed_only":false,"keep_days":3,"max_bytes":2048,"redact":["case-\\d+","a, b"],"redact_emails":false}}`},
		{"another end is the reader's", url.Values{"until": {"2026-03-03T09:00"}, "redact_emails": {"1"}}, `{"capture":{"enabled":true,"failed_only":false,"keep_days":3,"max_bytes":2048,"redact":["case-\\d+","a, b"],"redact_emails":true,"until":"2026-03-03T09:00:00+09:00"}}`},
		{"off, and no rules", url.Values{"enabled": nil, "redact": {""}}, `{"capture":{"enabled":false,"failed_only":false,"keep_days":3,"max_bytes":2048,"redact":[],"redact_emails":false}}`},
	} {
		if w := f.post("/admin/tenants?do=capture&id=acc-b&q=b", with(in, c.change)); w.Code != 303 || w.Header().Get("Location") != "/admin/tenants?q=b&done=tenants.saved&done=beta" || f.sent["PUT /admin/api/accounts?id=acc-b"] != c.want {
			t.Errorf("%s: %d to %s: %s", c.why, w.Code, w.Header().Get("Location"), f.sent["PUT /admin/api/accounts?id=acc-b"])
		}
	}
	for _, c := range []struct {
		why, error string
		change     url.Values
		at, says   string
	}{
		{"an end too late", "capture.until: must be at most 30 days ahead", url.Values{"until": {"2027-01-01T00:00"}}, "until", "must be at most 30 days ahead"},
		{"a rule", "capture.redact: pattern 2 is <bad>", nil, "redact", "pattern 2 is &lt;bad&gt;"},
		{"no place any more", "capture.enabled: the gateway has no place for bodies", nil, "", "has no place for bodies"},
		{"an end that was taken away", "", url.Values{"until": {""}}, "until", "must not be empty"},
		{"days that are none", "", url.Values{"keep_days": {"x"}}, "keep_days", "must be a whole number"},
		{"no days", "", url.Values{"keep_days": {""}}, "keep_days", "must not be empty"},
	} {
		delete(f.reply, "PUT /admin/api/accounts?id=acc-b")
		if c.error != "" {
			f.reply["PUT /admin/api/accounts?id=acc-b"] = `400 {"error":"` + c.error + `"}`
		}
		f.calls = nil
		w := f.post("/admin/tenants?do=capture&id=acc-b", with(in, c.change))
		f.has(c.why, w, 400, c.says, ">case-\\d&#43;\r\n", `name="response_days"`, "beta")
		_, field, _ := strings.Cut(w.Body.String(), `id="f-`+c.at+`"`)
		if field, _, _ = strings.Cut(field, "<label"); c.at != "" && !strings.Contains(field, c.says) || c.error == "" && f.asked("PUT") {
			t.Errorf("%s: %q, at the field %s", c.why, f.calls, field)
		}
	}
}

// with is a form with some fields changed; nil takes one away.
func with(in, change url.Values) url.Values {
	out := url.Values{}
	for _, vs := range []url.Values{in, change} {
		for name, v := range vs {
			if out[name] = v; v == nil {
				delete(out, name)
			}
		}
	}
	return out
}

// TestBodiesLink: what was kept is linked as long as it is kept, whether the account still captures or not, for one question a page.
func TestBodiesLink(t *testing.T) {
	const link = "/admin/usage/req_1?account_id=default"
	for _, c := range []struct {
		why, capture, ended string
		has                 bool
	}{
		{"capture goes on", `"capturing":true,"capture":{"enabled":true,"until":"2026-03-02T00:00:00Z","keep_days":7}`, "2026-02-28T12:00:00Z", true},
		{"it has ended", `"capture":{"enabled":true,"until":"2026-02-25T00:00:00Z","keep_days":7}`, "2026-02-24T12:00:00Z", true},
		{"it was turned off", `"capture":{"enabled":false,"until":"2026-03-20T00:00:00Z","keep_days":7}`, "2026-02-24T12:00:00Z", true},
		{"the last day", `"capture":{"until":"2026-02-25T00:00:00Z","keep_days":7}`, "2026-02-22T00:00:00Z", true},
		{"its days are over", `"capture":{"until":"2026-02-25T00:00:00Z","keep_days":7}`, "2026-02-21T23:59:59Z", false},
		{"never captured", `"capture":{"enabled":false,"until":null,"keep_days":7}`, "2026-02-28T12:00:00Z", false},
		{"there is no place any more", `"capturing":false`, "2026-02-28T12:00:00Z", false},
	} {
		f := newUsageFake(t, map[string]string{"GET /admin/api/accounts": `{"accounts":[{"id":"default","name":"Team",` + c.capture + `}]}`})
		row := `{"id":"req_1","account_id":"default","created_at":"` + c.ended + `"}`
		f.reply["GET /api/usage/logs?from=2026-02-23T00%3A00%3A00Z&limit=25"] = `{"logs":[` + row + `,` + row + `]}`
		not := "!"
		if c.has {
			not = ""
		}
		f.has(c.why, f.get("/admin/usage"), 200, not+link)
		if n := strings.Count(strings.Join(f.calls, "\n"), "GET /admin/api/accounts?id=default"); n != 1 {
			t.Errorf("%s: the account was asked for %d times: %q", c.why, n, f.calls)
		}
	}
}
