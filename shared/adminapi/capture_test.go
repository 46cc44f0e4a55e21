package adminapi_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/shared/boot/boottest"
	"sluice/shared/core"
)

// capturing is a gateway with a place for bodies.
func capturing(t *testing.T) (w *world, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "captures")
	return start(t, "CAPTURE_URL", "file:"+dir), dir
}

func keptFiles(dir string) (n int) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return nil
	})
	return n
}

// capture turns capture of an account on, for an hour.
func (w *world) capture(account, more string) {
	w.t.Helper()
	w.admin(200, "PUT", "/admin/api/accounts?id="+account, `{"capture":{"enabled":true,"until":"`+w.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`"`+more+`}}`)
}

func TestCaptureSettings(t *testing.T) {
	w, _ := capturing(t)
	at := func(d time.Duration) string { return `"` + w.Now().Add(d).UTC().Format(time.RFC3339) + `"` }
	if a := w.listed("default"); a["capturing"] != false || a["capture"].(map[string]any)["enabled"] != false {
		t.Errorf("at first: %v", a)
	}
	for _, c := range []struct {
		why, body, want string // an error; empty: good
	}{
		{"an end must be named", `{"enabled":true}`, "capture.until"},
		{"it must be ahead", `{"enabled":true,"until":` + at(-time.Second) + `}`, "is over"},
		{"and not far", `{"enabled":true,"until":` + at(30*24*time.Hour+time.Minute) + `}`, "30 days"},
		{"nor far while it is off", `{"until":` + at(31*24*time.Hour) + `}`, "30 days"},
		{"keep_days", `{"keep_days":91}`, "keep_days"},
		{"keep_days 0", `{"keep_days":0}`, "keep_days"},
		{"max_bytes", `{"max_bytes":3000000}`, "max_bytes"},
		{"max_bytes, too few", `{"max_bytes":10}`, "max_bytes"},
		{"a rule that is none", `{"redact":["("]}`, "capture.redact: pattern 1"},
		{"too many rules", `{"redact":[` + strings.TrimSuffix(strings.Repeat(`"x",`, 21), ",") + `]}`, "at most 20"},
		{"a time that is none", `{"enabled":true,"until":"tomorrow"}`, "JSON"},
		{"no object", `true`, "capture"},
		{"the longest", `{"enabled":true,"until":` + at(30*24*time.Hour) + `,"redact":["case-\\d+"],"redact_emails":true,"keep_days":90,"failed_only":true,"max_bytes":2097152}`, ""},
	} {
		got := w.Call("PUT", "/admin/api/accounts?id=default", `{"capture":`+c.body+`}`, "x-admin-key", adminKey)
		if (got.Status == 200) != (c.want == "") || c.want != "" && (got.Status != 400 || !strings.Contains(errorOf(t, got), c.want)) {
			t.Errorf("%s: %d %s", c.why, got.Status, got.Body)
		}
	}
	a := w.listed("default")
	s := a["capture"].(map[string]any)
	if a["capturing"] != true || a["capturing_until"] == nil || s["enabled"] != true || s["keep_days"] != 90.0 || s["failed_only"] != true || s["redact_emails"] != true ||
		s["max_bytes"] != 2097152.0 || fmt.Sprint(s["redact"]) != `[case-\d+]` {
		t.Errorf("the account shows %v", a)
	}
	w.admin(200, "PUT", "/admin/api/accounts?id=default", `{"capture":{"enabled":false}}`)
	if a = w.listed("default"); a["capturing"] != false || a["capture"].(map[string]any)["keep_days"] != 90.0 {
		t.Errorf("turned off, it forgot the rest: %v", a)
	}
	w.capture("default", "")
	w.Advance(2 * time.Hour)
	if a = w.listed("default"); a["capturing"] != false || a["capturing_until"] != nil {
		t.Errorf("after its end: %v", a)
	}
	w.admin(200, "PUT", "/admin/api/accounts?id=default", `{"name":"renamed","capture":{"keep_days":3}}`)
}

func TestCaptureNeedsAPlace(t *testing.T) {
	w := start(t)
	got := w.Call("PUT", "/admin/api/accounts?id=default", `{"capture":{"enabled":true,"until":"`+w.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`"}}`, "x-admin-key", adminKey)
	if got.Status != 400 || !strings.Contains(errorOf(t, got), "CAPTURE_URL") {
		t.Errorf("%d %s", got.Status, got.Body)
	}
	if a := w.listed("default"); a["capturing"] != false || a["capture"] != nil {
		t.Errorf("the account shows %v", a)
	}
	w.admin(404, "GET", "/api/usage/logs/req_x/bodies", "")
}

// TestTenantsNeitherCaptureNorRead: a tenant sees that it is captured, and nothing else, of its own account, too.
func TestTenantsNeitherCaptureNorRead(t *testing.T) {
	w, _ := capturing(t)
	id := w.account("tenant-a", "tenant-a-proxy-key")
	w.node("tenant-a-proxy-key", "a-node", w.up.URL, 1)
	w.capture(id, `,"redact":["hidden-rule"]`)
	const marker = "MARKER-of-a-prompt"
	asked := w.Call("POST", "/v1/messages", strings.Replace(question, "Hello", marker, 1), "x-api-key", "tenant-a-proxy-key")
	if asked.Status != 200 || asked.Header.Get("X-Sluice-Captured") != "true" {
		t.Fatalf("%d %v", asked.Status, asked.Header)
	}
	bodies := "/api/usage/logs/" + asked.Header.Get("Request-Id") + "/bodies"
	w.person(id)
	session := w.login(map[string][]string{"username": {"tenant-a"}, "password": {passwd}})
	for _, who := range [][]string{{"x-api-key", "tenant-a-proxy-key"}, {"Cookie", session, "Sec-Fetch-Site", "same-origin"}, {"x-api-key", proxyKey}} {
		for _, c := range []struct{ method, target, body string }{
			{"GET", bodies, ""},
			{"GET", bodies + "?account_id=" + id, ""},
			{"PUT", "/admin/api/accounts?id=" + id, `{"capture":{"enabled":false}}`},
			{"PUT", "/admin/api/accounts?id=" + id, `{"capture":{}}`},
			{"PUT", "/admin/api/accounts?id=default", `{"capture":{"enabled":true}}`},
		} {
			if got := w.Call(c.method, c.target, c.body, who...); got.Status != 403 || strings.Contains(string(got.Body), marker) {
				t.Errorf("%s: %s %s %s: %d %s", who[0], c.method, c.target, c.body, got.Status, got.Body)
			}
		}
	}
	if got := w.Call("GET", bodies, ""); got.Status != 401 {
		t.Errorf("without a key: %d", got.Status)
	}
	a := w.tenant(200, "tenant-a-proxy-key", "GET", "/admin/api/accounts", "").List("accounts")[0]
	if a["capturing"] != true || a["capturing_until"] == nil || a["capture"] != nil {
		t.Errorf("the tenant sees %v", a)
	}
	got := w.admin(200, "GET", bodies+"?account_id="+id, "")
	if !strings.Contains(got.Text("request"), marker) || !strings.Contains(got.Text("response"), "message") || got.Text("account_id") != id ||
		got.Header.Get("Cache-Control") != "no-store" || got.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("the administrator reads %v %s", got.Header, got.Body)
	}
	w.admin(404, "GET", bodies, "") // of the administrator's own account
	w.admin(404, "GET", "/api/usage/logs/..%2f..%2fx/bodies?account_id="+id, "")
	log := w.Log()
	if strings.Contains(log, marker) {
		t.Error("the log shows a prompt")
	}
	if !strings.Contains(log, "captured bodies were read") || !strings.Contains(log, "can be captured") {
		t.Error("the log tells neither that capture is possible nor that bodies were read")
	}
}

// TestCapturesEnd with their days and with their account.
func TestCapturesEnd(t *testing.T) {
	w, dir := capturing(t)
	id := w.account("tenant-a", "tenant-a-proxy-key")
	w.node("tenant-a-proxy-key", "a-node", w.up.URL, 1)
	w.capture(id, `,"keep_days":2`)
	w.capture("default", "")
	mine := w.Call("POST", "/v1/messages", question, "x-api-key", proxyKey).Header.Get("Request-Id")
	w.ask("tenant-a-proxy-key")
	if n := keptFiles(dir); n != 2 {
		t.Fatalf("%d files", n)
	}
	w.Advance(2 * 24 * time.Hour)
	w.Maintain(t.Context())
	if n := keptFiles(dir); n != 2 {
		t.Errorf("%d files within their days", n)
	}
	w.Advance(24 * time.Hour)
	w.Maintain(t.Context())
	if n := keptFiles(dir); n != 1 {
		t.Errorf("%d files after three days", n)
	}
	w.admin(200, "GET", "/api/usage/logs/"+mine+"/bodies", "")
	w.Advance(6 * 24 * time.Hour)
	w.admin(404, "GET", "/api/usage/logs/"+mine+"/bodies", "") // before it is removed
	w.capture(id, "")
	w.ask("tenant-a-proxy-key")
	if n := keptFiles(dir); n != 2 {
		t.Fatalf("%d files", n)
	}
	w.admin(200, "DELETE", "/admin/api/accounts?id="+id, "")
	if _, err := os.Stat(filepath.Join(dir, id)); err == nil || keptFiles(dir) != 1 {
		t.Errorf("the deleted account's captures are there: %v", err)
	}
}

// TestCaptureStaysThroughEdits: what other settings do leaves capture as it is.
func TestCaptureStaysThroughEdits(t *testing.T) {
	w, _ := capturing(t)
	w.capture(core.DefaultAccount, `,"keep_days":3`)
	w.admin(200, "PUT", "/admin/api/accounts?id=default", `{"name":"other","response_days":2}`)
	w.admin(200, "PUT", "/admin/api/config", `{"retries":2}`)
	if a := w.listed("default"); a["capturing"] != true || a["capture"].(map[string]any)["keep_days"] != 3.0 {
		t.Errorf("the account shows %v", a)
	}
	restart(t, w.Gateway)
}

// restart without CAPTURE_URL: the setting stays, and nothing is captured.
func restart(t *testing.T, g *boottest.Gateway) {
	t.Helper()
	if err := g.Restart(map[string]string{"ADMIN_API_KEY": adminKey}); err != nil {
		t.Fatal(err)
	}
	a := g.Want(200, "GET", "/admin/api/accounts", "", "x-admin-key", adminKey).List("accounts")[0]
	if a["capturing"] != false {
		t.Errorf("without a place: %v", a)
	}
}

// TestCaptureInTheConsole: it tells whose bodies are captured, those whom that concerns; the log of an administrator leads to
// what was kept of a request.
func TestCaptureInTheConsole(t *testing.T) {
	w, _ := capturing(t)
	w.console("")
	id := w.account("tenant-a", "tenant-a-proxy-key")
	w.node("tenant-a-proxy-key", "a-node", w.up.URL, 1)
	page := func(of, target string) string {
		t.Helper()
		return string(w.Want(200, "GET", target, "", "Cookie", w.login(key(of)), "Accept", "text/html", "Sec-Fetch-Site", "same-origin").Body)
	}
	if p := page(adminKey, "/admin"); strings.Contains(p, "are kept until") {
		t.Errorf("nothing is captured: %s", p)
	}
	w.capture(id, "")
	const marker = "MARKER-of-a-prompt"
	asked := w.Call("POST", "/v1/messages", strings.NewReplacer("Hello", marker, "claude-sonnet-4-5-20250929", "<b>hostile</b>").Replace(question), "x-api-key", "tenant-a-proxy-key")
	req := asked.Header.Get("Request-Id")
	if p := page(adminKey, "/admin"); !strings.Contains(p, "Bodies of requests of tenant-a are kept until") {
		t.Errorf("the administrator's: %s", p)
	}
	link := "/admin/usage/" + req + "?account_id=" + id
	if p := page(adminKey, "/admin/usage?tab=log&account_id="+id); !strings.Contains(p, `href="`+link+`"`) || strings.Contains(p, "<b>hostile") || strings.Contains(p, marker) {
		t.Errorf("the log: %s", p)
	}
	if p := page(adminKey, link); !strings.Contains(p, marker) {
		t.Errorf("the link opens %s", p)
	}
	if p := page("tenant-a-proxy-key", "/admin"); !strings.Contains(p, "Bodies of requests of tenant-a are kept until") {
		t.Errorf("the tenant's: %s", p)
	}
	if p := page("tenant-a-proxy-key", "/admin/usage?tab=log"); !strings.Contains(p, req) || strings.Contains(p, link) {
		t.Errorf("the tenant's log: %s", p)
	}
	if p := page(proxyKey, "/admin"); strings.Contains(p, "are kept until") {
		t.Errorf("another's: %s", p)
	}
}

// TestCaptureInTheAuditLog: of the settings that an administrator made for an account, its log shows that account whether bodies
// are captured and until when, as the account's own page does, and an administrator everything.
func TestCaptureInTheAuditLog(t *testing.T) {
	w, _ := capturing(t)
	_, key := w.key(`{"name":"own","nodes":true}`)
	w.capture("default", `,"redact":["case-[0-9]+"],"keep_days":3`)
	own, all := string(w.tenant(200, key, "GET", "/api/audit", "").Body), string(w.admin(200, "GET", "/api/audit", "").Body)
	until := w.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for _, s := range []string{"case-", "redact", "keep_days"} {
		if strings.Contains(own, s) || !strings.Contains(all, s) {
			t.Errorf("%q: an account sees %s, an administrator %s", s, own, all)
		}
	}
	if !strings.Contains(own, `"capture":{"enabled":true,"until":"`+until) {
		t.Errorf("an account sees %s", own)
	}
}
