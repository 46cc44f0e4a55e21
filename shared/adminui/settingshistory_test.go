package adminui

import (
	"fmt"
	"strings"
	"testing"
)

// changedOnce is an entry of the audit log that tells of a change from n to n+1 tries.
func changedOnce(n int) string {
	return fmt.Sprintf(`{"seq":%d,"at":"2026-02-01T00:00:00Z","actor":{"kind":"password","name":"<b>pat-%d</b>"},"action":"settings.update","object":{"kind":"account","id":"default"},"result":"ok","before":{"retries":%d},"after":{"retries":%d}}`, n, n, n, n+1)
}

// TestSettingsHistory: the last changes of the account's settings stand below them: who, when, which, before and after, 20 at
// most; what was refused or changed nothing is none. A log that cannot be read takes no settings away.
func TestSettingsHistory(t *testing.T) {
	const of, none = "GET /api/audit?account_id=default&action=settings.update&limit=50", "Nothing was changed yet"
	f := newPoolFake(t, map[string]string{"GET /admin/api/accounts": tenantRows})
	f.has("none", f.get("/admin/settings"), 200, none, `href="/admin/audit?account_id=default&amp;action=settings.update"`)

	f.reply[of] = `{"entries":[
		{"seq":9,"at":"2026-02-03T04:05:06Z","actor":{"kind":"key","key_id":"7","key_prefix":"abcd","name":"<i>ci</i>"},"action":"settings.update","object":{"kind":"account"},"result":"ok","before":{"fail_limit":2,"health_interval_sec":30},"after":{"fail_limit":4,"health_interval_sec":60,"retries":5}},
		{"seq":8,"actor":{"kind":"session","name":"idle"},"action":"settings.update","result":"ok"},
		{"seq":7,"actor":{"kind":"session","name":"stranger"},"action":"settings.update","result":"refused","code":"forbidden","before":{"retries":1},"after":{"retries":2}}]}`
	f.has("one", f.get("/admin/settings"), 200, `datetime="2026-02-03T04:05:06Z"`, "&lt;i&gt;ci&lt;/i&gt;", "!<i>ci", "#7 <code>abcd…</code>",
		"Failures until a node is left alone: <del>2</del> → <ins>4</ins>", "Seconds until it is tried again: <del>30</del> → <ins>60</ins>", `Tries on one node: <span class="text-secondary">default</span> → <ins>5</ins>`,
		"!idle", "!stranger", "!"+none)
	f.has("in Chinese", f.get("/admin/settings", "Accept-Language", "zh"), 200, "最近的更改", "默认值</span> → <ins>5</ins>")

	var many []string
	for n := 30; n > 0; n-- {
		many = append(many, changedOnce(n))
	}
	f.reply[of] = `{"entries":[` + strings.Join(many, ",") + `]}`
	w := f.get("/admin/settings")
	f.has("the newest 20", w, 200, "pat-30&lt;", "pat-11&lt;", "!pat-10&lt;")
	if n := strings.Count(w.Body.String(), "→ <ins>"); n != maxHistory || strings.Index(w.Body.String(), "pat-30&lt;") > strings.Index(w.Body.String(), "pat-29&lt;") {
		t.Errorf("%d changes, or not the newest first", n)
	}

	f.reply[of] = `{"entries":[],"next_cursor":"7"}`
	f.has("older ones alone", f.get("/admin/settings"), 200, "The audit log may have older changes", "!"+none)
	f.reply[of] = `503 {"error":"not implemented here: this process keeps no <u>audit log"}`
	f.has("no log", f.get("/admin/settings"), 200, "keeps no &lt;u&gt;audit log", `name="retries"`, "!"+none)

	own := newPoolFake(t, map[string]string{"GET /admin/api/me": personMe, "GET /api/audit?action=settings.update&limit=50": `{"entries":[` + changedOnce(3) + `]}`})
	own.has("a tenant", own.get("/admin/settings"), 200, "<del>3</del> → <ins>4</ins>", `href="/admin/audit?action=settings.update"`)
}

// TestStanding: the head of the page tells the role of the account, or that an admin key administers, whose account may have none.
func TestStanding(t *testing.T) {
	for _, c := range []struct{ why, me, lang, want, not string }{
		{"by key", `{"account_id":"default","account_name":"default","is_admin":true}`, "en", "default · admin key<", "administrator<"},
		{"by key, in Chinese", `{"account_id":"default","account_name":"default","is_admin":true}`, "zh", "default · 管理密钥<", "管理员<"},
		{"an administrator's account, by password", `{"account_id":"acc-b","account_name":"beta","is_admin":true,"person":true}`, "en", "beta · administrator<", "admin key<"},
		{"a tenant", personMe, "en", "", " · "},
	} {
		f := newPoolFake(t, map[string]string{"GET /admin/api/me": c.me})
		body := f.get("/admin/settings", "Accept-Language", c.lang).Body.String()
		_, head, _ := strings.Cut(body, `#sessions" title=`)
		head, _, _ = strings.Cut(head, "</a>")
		_, said, _ := strings.Cut(body, `id="sessions"`)
		for _, s := range []string{head + "<", said} {
			if !strings.Contains(s, c.want) || strings.Contains(s, c.not) {
				t.Errorf("%s: %q", c.why, s)
			}
		}
	}
}
