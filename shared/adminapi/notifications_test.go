package adminapi_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/notify"
	"sluice/shared/store"
)

const (
	hookURL     = "https://hooks.example.com/services/T0/B0/very-secret-part"
	hookSecret  = "signs-the-webhooks-body"
	hookChannel = `{"name":"ops","channel_type":"webhook","config":{"url":"` + hookURL + `","secret":"` + hookSecret + `"}}`
)

// channel makes a channel of an account and returns its id.
func (p *pool) channel(account string) string {
	p.t.Helper()
	return p.want(201, "POST", "/api/notification/channels?account_id="+account, hookChannel).json()["id"].(string)
}

// TestChannels: what goes in as settings never comes out, and a PUT without them keeps them.
func TestChannels(t *testing.T) {
	quiet = append(quiet, "very-secret-part", hookSecret)
	defer func() { quiet = quiet[:len(quiet)-2] }()
	p := newPool(t, nil)
	made := p.want(201, "POST", "/api/notification/channels", hookChannel)
	sameKeys(t, "a channel", made.json(), "id", "account_id", "name", "channel_type", "enabled", "created_at", "updated_at")
	id := made.json()["id"].(string)
	list := items(p.want(200, "GET", "/api/notification/channels", ""), "channels")
	if len(list) != 1 || list[0]["id"] != id || list[0]["enabled"] != true || list[0]["channel_type"] != "webhook" {
		t.Fatalf("channels %v", list)
	}
	test := fmt.Sprintf(`{"channel_id":%q,"title":"Hello","content":"A test."}`, id)
	sent := func(why string) {
		t.Helper()
		if m := p.want(200, "POST", "/api/notification/test", test).json(); m["status"] != "sent" {
			t.Errorf("%s: %v", why, m)
		}
		if got := p.service.last(); !strings.HasPrefix(got, hookURL+" ") || !strings.Contains(got, "A test.") {
			t.Errorf("%s: the service got %q", why, got)
		}
	}
	sent("the settings as they came")
	for _, c := range []struct {
		why, body string
		field     string
		want      any
	}{
		{"nothing", `{}`, "name", "ops"},
		{"null keeps", `{"name":null,"config":null,"enabled":null,"channel_type":null}`, "enabled", true},
		{"its own kind", `{"channel_type":"webhook"}`, "channel_type", "webhook"},
		{"a name in Chinese", `{"name":"运维"}`, "name", "运维"},
		{"switched off", `{"enabled":false}`, "enabled", false},
	} {
		if m := p.want(200, "PUT", "/api/notification/channels/"+id, c.body).json(); m[c.field] != c.want {
			t.Errorf("%s: %v", c.why, m)
		}
		sent(c.why)
	}
	p.want(200, "PUT", "/api/notification/channels/"+id, `{"channel_type":"wechat_work","config":{"webhook_url":"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=very-secret-part"}}`)
	p.service.status, p.service.says = 200, `{"errcode":0,"errmsg":"ok"}`
	if p.want(200, "POST", "/api/notification/test", test); !strings.HasPrefix(p.service.last(), "https://qyapi.weixin.qq.com/") {
		t.Errorf("another kind: %q", p.service.last())
	}
	if m := p.want(200, "DELETE", "/api/notification/channels/"+id, "").json(); m["deleted"] != id {
		t.Errorf("deleted %v", m)
	}
	p.want(404, "POST", "/api/notification/test", test)
	p.want(404, "DELETE", "/api/notification/channels/"+id, "")
}

// TestBadChannels: each is a 400 that names the field and not the value.
func TestBadChannels(t *testing.T) {
	p := newPool(t, nil)
	id := p.channel("default")
	ok := `"name":"n","channel_type":"webhook"`
	for _, c := range []struct{ why, field, body string }{
		{"no name", "name", `{"channel_type":"webhook","config":{"url":"https://h.example"}}`},
		{"a line break in the name", "name", `{"name":"a\nb","channel_type":"webhook","config":{"url":"https://h.example"}}`},
		{"no type", "channel_type", `{"name":"n"}`},
		{"a type that there is not", "channel_type", `{"name":"n","channel_type":"pigeon","config":{}}`},
		{"no settings", "config", `{` + ok + `}`},
		{"settings that are text", "config", `{` + ok + `,"config":"https://h.example"}`},
		{"a file", "config", `{` + ok + `,"config":{"url":"file:///etc/passwd<x>"}}`},
		{"a mistyped secret", "config", `{` + ok + `,"config":{"url":"https://h.example","secrets":"x"}}`},
		{"our own header", "config", `{` + ok + `,"config":{"url":"https://h.example","headers":{"X-Sluice-Signature":"x"}}}`},
		{"too long", "config", `{` + ok + `,"config":{"url":"https://h.example/` + strings.Repeat("x", 20_000) + `"}}`},
		{"enabled in words", "enabled", `{` + ok + `,"config":{"url":"https://h.example"},"enabled":"yes"}`},
		{"no JSON", "", `name=x`},
		{"null", "", `null`},
	} {
		p.refused(c.field, "POST", "/api/notification/channels", c.body, c.why)
	}
	for _, c := range []struct{ why, field, body string }{
		{"another type without its settings", "config", `{"channel_type":"slack"}`},
		{"settings of another type", "config", `{"config":{"bot_token":"x"}}`},
		{"a name too long", "name", `{"name":"` + strings.Repeat("x", 101) + `"}`},
	} {
		p.refused(c.field, "PUT", "/api/notification/channels/"+id, c.body, c.why)
	}
	p.want(413, "POST", "/api/notification/channels", `{"name":"`+strings.Repeat("x", 1<<20)+`"}`)
	if n := len(items(p.want(200, "GET", "/api/notification/channels", ""), "channels")); n != 1 {
		t.Errorf("%d channels: something refused was stored", n)
	}
	key := p.key("acc-beta", `{"name":"own","nodes":true}`)
	sns := `{"name":"n","channel_type":"sns","config":{"topic_arn":"arn:aws:sns:us-east-1:123456789012:ops"}}`
	if a := p.call("POST", "/api/notification/channels", sns, "x-api-key", key); a.status != 400 || !strings.Contains(a.body, "access_key_id") {
		t.Errorf("a tenant's channel with the gateway's own AWS credentials: %d %s", a.status, a.body)
	}
	for range 49 {
		p.channel("default")
	}
	p.refused("an account", "POST", "/api/notification/channels", hookChannel, "the 51st")
	p.channel("acc-beta")
}

// TestSubscriptions: idempotent by channel and event.
func TestSubscriptions(t *testing.T) {
	p := newPool(t, nil)
	ch, other := p.channel("default"), p.channel("default")
	body := func(ch string) string {
		return `{"channel_id":"` + ch + `","event_types":["node.failed","node.recovered","node.failed"]}`
	}
	first := items(p.want(201, "POST", "/api/notification/subscriptions", body(ch)), "subscriptions")
	again := items(p.want(201, "POST", "/api/notification/subscriptions", body(ch)), "subscriptions")
	if len(first) != 2 || len(again) != 2 || first[0]["id"] != again[0]["id"] || first[1]["id"] != again[1]["id"] || first[0]["enabled"] != true {
		t.Fatalf("first %v\nagain %v", first, again)
	}
	sameKeys(t, "a subscription", first[0], "id", "channel_id", "event_type", "enabled", "created_at")
	p.want(201, "POST", "/api/notification/subscriptions", body(other))
	count := func(query string) int {
		return len(items(p.want(200, "GET", "/api/notification/subscriptions"+query, ""), "subscriptions"))
	}
	if count("") != 4 || count("?channel_id="+ch) != 2 || count("?account_id=acc-beta") != 0 {
		t.Errorf("%d, %d, %d subscriptions", count(""), count("?channel_id="+ch), count("?account_id=acc-beta"))
	}
	id := first[0]["id"].(string)
	if m := p.want(200, "PUT", "/api/notification/subscriptions/"+id, `{"enabled":false}`).json(); m["enabled"] != false || m["id"] != id {
		t.Errorf("switched off: %v", m)
	}
	if m := items(p.want(201, "POST", "/api/notification/subscriptions", body(ch)), "subscriptions"); m[0]["enabled"] != true {
		t.Errorf("subscribing again switches on: %v", m)
	}
	if m := p.want(200, "DELETE", "/api/notification/subscriptions/"+id, "").json(); m["deleted"] != id {
		t.Errorf("deleted %v", m)
	}
	p.want(404, "PUT", "/api/notification/subscriptions/"+id, `{"enabled":true}`)
	for _, b := range []string{`{}`, `{"channel_id":"` + ch + `"}`, `{"channel_id":"` + ch + `","event_types":[]}`, `{"channel_id":"` + ch + `","event_types":["moon.rose"]}`,
		`{"event_types":["node.failed"]}`, `{"channel_id":"` + ch + `","event_types":"node.failed"}`, `{"channel_id":"` + ch + `","event_types":[` + strings.Repeat(`"node.failed",`, 50) + `"node.failed"]}`,
		`{"channel_id":"` + ch + `","event_types":["test"]}`} {
		p.want(400, "POST", "/api/notification/subscriptions", b)
	}
	p.want(400, "PUT", "/api/notification/subscriptions/"+first[1]["id"].(string), `{}`)
	p.want(404, "POST", "/api/notification/subscriptions", body("chn-999"))
	p.want(404, "GET", "/api/notification/subscriptions?channel_id=chn-999", "")
	p.want(200, "DELETE", "/api/notification/channels/"+ch, "")
	if count("") != 2 {
		t.Errorf("%d subscriptions after one of two channels went", count(""))
	}
	types := items(p.want(200, "GET", "/api/notification/event-types", ""), "event_types")
	if len(types) != len(notify.Catalogue()) || types[0]["type"] == "" || types[0]["category"] == "" || types[0]["description"] == "" {
		t.Errorf("event types: %v", types)
	}
	// the next event of this process goes to who subscribed a moment ago, though it knew of nobody before
	if err := p.hub.Emit(t.Context(), core.Event{Type: core.EventNodeAdded, Account: "default", Subject: "node 0", At: p.clock(), Text: "x"}); err != nil {
		t.Fatal(err)
	}
	p.want(201, "POST", "/api/notification/subscriptions", `{"channel_id":"`+other+`","event_types":["node.added"]}`)
	if err := p.hub.Emit(t.Context(), core.Event{Type: core.EventNodeAdded, Account: "default", Subject: "node 1", At: p.clock(), Text: "x"}); err != nil {
		t.Fatal(err)
	}
	if rows, err := p.hub.Notices.All(t.Context(), "default"); err != nil || len(rows) != 1 {
		t.Errorf("%d notices, %v", len(rows), err)
	}
}

// TestTestMessages: the service's refusal is told in words, and all of it is in the history, newest first.
func TestTestMessages(t *testing.T) {
	p := newPool(t, nil)
	id := p.channel("default")
	test := func(want int, title string) *answer {
		p.advance(2 * time.Minute)
		return p.want(want, "POST", "/api/notification/test", fmt.Sprintf(`{"channel_id":%q,"title":%q}`, id, title))
	}
	test(200, "one")
	p.service.status, p.service.says = 403, "go away, very-secret-part"
	if a := test(502, "two"); !strings.Contains(a.body, "403") || strings.Contains(a.body, "very-secret-part") || strings.Contains(a.body, "hooks.example.com") {
		t.Errorf("the refusal: %s", a.body)
	}
	p.service.status = 0
	test(200, "three")
	a := p.want(200, "GET", "/api/notification/history?limit=2", "")
	page := items(a, "history")
	if len(page) != 2 || page[0]["title"] != "three" || page[1]["title"] != "two" || page[1]["status"] != "failed" || page[1]["error"] == "" || page[0]["status"] != "sent" {
		t.Fatalf("history %s", a.body)
	}
	sameKeys(t, "an entry", page[0], "id", "channel_id", "event_type", "title", "content", "status", "error", "attempts", "sent_at", "created_at")
	rest := items(p.want(200, "GET", "/api/notification/history?limit=2&cursor="+a.json()["next_cursor"].(string), ""), "history")
	if len(rest) != 1 || rest[0]["title"] != "one" {
		t.Errorf("the next page: %v", rest)
	}
	if n := len(items(p.want(200, "GET", "/api/notification/history?account_id=acc-beta", ""), "history")); n != 0 {
		t.Errorf("%d entries of another account", n)
	}
	for _, q := range []string{"limit=0", "limit=201", "cursor=%00", "cursor=..%2F", "cursor=" + strings.Repeat("a", 65)} {
		p.want(400, "GET", "/api/notification/history?"+q, "")
	}
	for _, b := range []string{`{}`, `{"channel_id":""}`, `{"channel_id":1}`, ``} {
		p.want(400, "POST", "/api/notification/test", b)
	}
	p.advance(2 * time.Minute)
	for range 20 { // a minute's
		p.want(200, "POST", "/api/notification/test", `{"channel_id":"`+id+`"}`)
	}
	if a := p.want(429, "POST", "/api/notification/test", `{"channel_id":"`+id+`"}`); a.header.Get("Retry-After") != "60" {
		t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
	}
	p.advance(2 * time.Minute)
	// an error of the store is no word of a service: one without a cause of its own was shown
	p.hub = notify.New(notify.Options{Docs: brokenDocs{p.store}, Leases: p.store, Box: p.box, Now: p.clock, Log: p.o.Log})
	p.serve(func(o *optionsOf) { o.Notify = p.hub })
	if a := p.want(500, "POST", "/api/notification/test", `{"channel_id":"`+id+`"}`); strings.Contains(a.body, "10.0.0.9") {
		t.Errorf("the store's error: %s", a.body)
	}
}

// brokenDocs fails where rates are kept.
type brokenDocs struct{ store.Docs }

func (d brokenDocs) Get(ctx context.Context, kind, id string) (store.Doc, error) {
	if kind == store.KindNoticeSeen {
		return store.Doc{}, errors.New("connection to 10.0.0.9 lost")
	}
	return d.Docs.Get(ctx, kind, id)
}

// TestAlertRules: bounds by kind, and what a rule shows.
func TestAlertRules(t *testing.T) {
	p := newPool(t, nil)
	made := p.want(201, "POST", "/api/alerts/rules", `{"name":"too many errors","kind":"error_rate","threshold":12.5}`).json()
	sameKeys(t, "a rule", made, "id", "account_id", "name", "kind", "threshold", "window_minutes", "min_requests", "enabled", "raised", "raised_at", "created_at")
	if made["window_minutes"] != 5.0 || made["min_requests"] != 20.0 || made["enabled"] != true || made["raised"] != false || made["raised_at"] != nil {
		t.Errorf("defaults: %v", made)
	}
	id := made["id"].(string)
	for _, c := range []struct{ why, field, body string }{
		{"no kind", "kind", `{"threshold":1}`},
		{"a kind that there is not", "kind", `{"kind":"vibes","threshold":1}`},
		{"no threshold", "threshold", `{"kind":"error_rate"}`},
		{"more than all", "threshold", `{"kind":"error_rate","threshold":101}`},
		{"less than none", "threshold", `{"kind":"error_rate","threshold":-1}`},
		{"no time", "threshold", `{"kind":"latency_p95","threshold":0}`},
		{"two hours of latency", "threshold", `{"kind":"latency_p95","threshold":7200000}`},
		{"nothing spent", "threshold", `{"kind":"spend_day","threshold":0}`},
		{"half a minute down", "threshold", `{"kind":"node_down","threshold":0.5}`},
		{"a year down", "threshold", `{"kind":"node_down","threshold":525600}`},
		{"a threshold in words", "threshold", `{"kind":"node_down","threshold":"5"}`},
		{"a window where there is none", "window_minutes", `{"kind":"node_down","threshold":5,"window_minutes":5}`},
		{"no window", "window_minutes", `{"kind":"error_rate","threshold":5,"window_minutes":0}`},
		{"two days of requests", "window_minutes", `{"kind":"error_rate","threshold":5,"window_minutes":2880}`},
		{"no requests", "min_requests", `{"kind":"error_rate","threshold":5,"min_requests":0}`},
		{"a hostile name", "name", `{"name":"a\u0000","kind":"error_rate","threshold":5}`},
		{"null", "", `null`},
	} {
		p.refused(c.field, "POST", "/api/alerts/rules", c.body, c.why)
	}
	for _, b := range []string{`{"kind":"latency_p95","threshold":3000,"window_minutes":60,"min_requests":1}`, `{"kind":"spend_day","threshold":0.5}`, `{"kind":"node_down","threshold":5,"enabled":false}`} {
		p.want(201, "POST", "/api/alerts/rules", b)
	}
	_, err := p.hub.Rules.Update(t.Context(), id, func(r *notify.Rule) error { r.Raised, r.RaisedAt = true, p.clock(); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if m := p.want(200, "PUT", "/api/alerts/rules/"+id, `{"threshold":20}`).json(); m["threshold"] != 20.0 || m["raised"] != true || m["raised_at"] != p.clock().Format(time.RFC3339) || m["name"] != "too many errors" {
		t.Errorf("an update keeps what it does not name: %v", m)
	}
	if m := p.want(200, "PUT", "/api/alerts/rules/"+id, `{"enabled":false}`).json(); m["raised"] != false || m["raised_at"] != nil {
		t.Errorf("a rule that is switched off: %v", m)
	}
	p.refused("kind", "PUT", "/api/alerts/rules/"+id, `{"kind":"node_down"}`, "another kind")
	p.refused("threshold", "PUT", "/api/alerts/rules/"+id, `{"threshold":1000}`, "an update beyond the bounds")
	if l := items(p.want(200, "GET", "/api/alerts/rules", ""), "rules"); len(l) != 4 || l[0]["id"] != id || l[0]["threshold"] != 20.0 {
		t.Errorf("rules %v", l)
	}
	if m := p.want(200, "DELETE", "/api/alerts/rules/"+id, "").json(); m["deleted"] != id {
		t.Errorf("deleted %v", m)
	}
	p.want(404, "PUT", "/api/alerts/rules/"+id, `{}`)
	for range 47 {
		p.want(201, "POST", "/api/alerts/rules", `{"kind":"spend_day","threshold":1}`)
	}
	p.refused("an account", "POST", "/api/alerts/rules", `{"kind":"spend_day","threshold":1}`, "the 51st")
}

// TestEditsAreTold: each edit of a node once, after it is stored, and a failure to tell is no failure of the call.
func TestEditsAreTold(t *testing.T) {
	p := newPool(t, &fakeQ{})
	for _, fails := range []error{nil, errors.New("the outbox is away")} {
		p.events.err = fails
		p.events.take()
		told := func(why string, want ...string) {
			t.Helper()
			if got := p.events.take(); !slices.Equal(got, want) {
				t.Errorf("%s (%v): told %q, want %q", why, fails, got, want)
			}
		}
		id := p.made("acc-beta", anthropicNode)
		node := " acc-beta node " + id
		told("made", "node.added"+node+" n")
		p.want(200, "PUT", "/admin/api/nodes?id="+id, `{"name":"m"}`)
		told("edited", "node.updated"+node+" m")
		p.want(400, "PUT", "/admin/api/nodes?id="+id, `{"name":"\n\u0000"}`)
		p.want(404, "PUT", "/admin/api/nodes?id=999", `{}`)
		told("what was refused")
		p.want(200, "POST", "/admin/api/nodes/disable", `{"id":"`+id+`"}`)
		p.want(200, "POST", "/admin/api/nodes/disable", `{"id":"`+id+`"}`)
		told("disabled, twice", "node.disabled"+node+" m")
		p.want(200, "POST", "/admin/api/nodes/enable", `{"id":"`+id+`"}`)
		p.want(200, "POST", "/admin/api/nodes/enable", `{"id":"`+id+`"}`)
		told("enabled, twice", "node.enabled"+node+" m")
		p.want(200, "POST", "/admin/api/nodes/activate", `{"id":"`+id+`"}`)
		p.want(200, "POST", "/admin/api/nodes/activate", `{"id":"`+id+`"}`)
		told("activated, twice", "node.switched acc-beta account acc-beta m")
		p.want(200, "POST", "/admin/api/nodes/activate?account_id=acc-beta", `{"id":""}`)
		told("not any more", "node.switched acc-beta account acc-beta")
		p.want(200, "DELETE", "/admin/api/nodes?id="+id, "")
		told("deleted", "node.deleted"+node+" m")

		path := p.add("pool")
		node = " default node " + path[strings.LastIndex(path, "/")+1:]
		told("made by the older pool's route", "node.added"+node+" pool")
		p.want(200, "PUT", path, `{"is_active":false}`)
		p.want(200, "PUT", path, `{"is_active":true}`)
		p.want(200, "PUT", path, `{"notes":"x"}`)
		p.want(200, "DELETE", path, "")
		told("and all else there", "node.disabled"+node+" pool", "node.enabled"+node+" pool", "node.updated"+node+" pool", "node.deleted"+node+" pool")
	}
	for _, e := range p.events.told {
		if strings.Contains(fmt.Sprintf("%+v", e), "anthropic.com") {
			t.Errorf("an event tells an address: %+v", e)
		}
	}
}
