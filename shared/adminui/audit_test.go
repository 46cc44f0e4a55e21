package adminui

import (
	"encoding/json"
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const auditRows = `{"entries":[
	{"seq":12,"at":"2026-02-28T10:00:00Z","actor":{"kind":"session","key_id":"1","key_prefix":"sk-a","account_id":"default","name":"<b>boss</b>"},"address":"192.0.2.1","user_agent":"<i>agent</i>","request_id":"req_1","action":"node.update","object":{"kind":"node","id":"5","name":"<script>n</script>"},"account_id":"acc-b","before":{"weight":3,"notes":"<u>old</u>","limits":{"rpm":1}},"after":{"weight":7,"notes":"","limits":{"rpm":1,"rpd":2}},"also":["key/5"],"more":2,"result":"ok","hash":"aabb"},
	{"seq":11,"at":"2026-02-28T09:00:00Z","actor":{"kind":"anonymous"},"action":"login.failed","object":{"kind":"session"},"result":"refused","code":"unauthenticated","muted":true,"unrecorded":3},
	{"seq":10,"at":"2026-02-28T08:00:00Z","actor":{"kind":"key"},"action":"put /new/route","object":{"kind":"route"},"result":"ok"}],"next_cursor":"9"}`

// TestAuditPage: entries with what changed, hostile names as text, older ones behind a cursor, exports of what is looked for.
func TestAuditPage(t *testing.T) {
	f := newPoolFake(t, map[string]string{"GET /api/audit?limit=50": auditRows, "GET /admin/api/accounts": tenantRows,
		"GET /api/audit?action=node&from=2026-02-01T08%3A30%3A00Z&limit=50": `{"entries":[],"next_cursor":""}`,
		"GET /api/audit?cursor=9&limit=50":                                  `{"entries":[],"next_cursor":"4"}`})
	f.has("all", f.get("/admin/audit"), 200, "&lt;b&gt;boss&lt;/b&gt;", "!<b>boss", "&lt;script&gt;n", "!<script>n", "&lt;u&gt;old&lt;/u&gt;", "&lt;i&gt;agent", "Node: changed", "limits.rpd", "!limits.rpm",
		"<del>3</del>", "<ins>7</ins>", "(empty)", "Login: failed", "Refused: unauthenticated", "key/5 &#43;2", "put /new/route", "/admin/audit?cursor=9", "Verify the log", "/api/audit/export?format=csv", "!Newest")
	f.has("a filter", f.get("/admin/audit?action=node&from=2026-02-01T08:30&to="), 200, `value="node"`, `value="2026-02-01T08:30"`, "export?action=node&amp;format=csv&amp;from=2026-02-01T08%3A30%3A00Z", "Show all")
	f.has("a page that is empty, with more behind it", f.get("/admin/audit?cursor=9"), 200, "Nothing on this page", "/admin/audit?cursor=4", "Newest")
	f.has("in Chinese", f.get("/admin/audit", "Accept-Language", "zh"), 200, "审计日志", "节点：修改")
	bad := f.get("/admin/audit?action=%3Cx%3E&from=yesterday")
	f.has("a time that is none", bad, 400, `value="yesterday"`, `value="&lt;x&gt;"`, `aria-invalid="true"`, "!<x>")
	f.reply["GET /api/audit?from=2026-02-02T00%3A00%3A00Z&limit=50&to=2026-02-01T00%3A00%3A00Z"] = `400 {"error":"from: must be before to"}`
	f.has("refused by the API", f.get("/admin/audit?from=2026-02-02T00:00&to=2026-02-01T00:00"), 400, "must be before to", `value="2026-02-02T00:00"`)
}

// TestAuditVerify: the verdict is told, a refused hash stays in its field; tenants are shown no way to it.
func TestAuditVerify(t *testing.T) {
	f := newPoolFake(t, map[string]string{"GET /api/audit?limit=50": auditRows, "GET /admin/api/accounts": tenantRows,
		"GET /api/audit/verify":         `{"ok":true,"entries":1234,"first":1,"last":1234,"head":"cc00","begins_later":true}`,
		"GET /api/audit/verify?head=ff": `{"ok":false,"entries":3,"broken_at":4,"reason":"entry 4: <b>changed</b>"}`,
		"GET /api/audit/verify?head=zz": `400 {"error":"head: must be the hash of an entry"}`})
	f.has("whole", f.post("/admin/audit?do=verify", url.Values{}), 200, "1,234 entries", "cc00", "does not begin with entry 1", "alert-success")
	f.has("broken", f.post("/admin/audit?do=verify", url.Values{"head": {"ff"}}), 200, "broken at entry 4", "&lt;b&gt;changed", "!<b>changed", "alert-danger")
	f.has("refused", f.post("/admin/audit?do=verify", url.Values{"head": {" zz "}}), 400, "must be the hash of an entry", `aria-invalid="true"`)
	own := newPoolFake(t, map[string]string{"GET /admin/api/me": personMe, "GET /api/audit?limit=50": strings.ReplaceAll(auditRows, `"hash":"aabb"`, `"hash":""`), "GET /api/audit/verify": `403 {"error":"forbidden"}`})
	own.has("a tenant", own.get("/admin/audit"), 200, "&lt;b&gt;boss", "!do=verify", `!name="account_id"`)
	own.has("a tenant that verifies", own.post("/admin/audit?do=verify", url.Values{}), 403, "forbidden", "!alert-success")
	if own.asked("GET /admin/api/accounts") {
		t.Error("a tenant's page asks for the accounts")
	}
}

func TestChanges(t *testing.T) {
	for _, c := range []struct {
		why, before, after string
		want               []change
	}{
		{"nothing", "", "", nil},
		{"made", "", `{"name":"a","n":1,"none":null}`, []change{{"n", value{}, value{"1", true}}, {"name", value{}, value{"a", true}}}},
		{"removed", `{"on":true}`, "null", []change{{"on", value{"true", true}, value{}}}},
		{"within an object", `{"a":{"b":1,"c":[1, 2]}}`, `{"a":{"b":2,"c":[1,2]}}`, []change{{"a.b", value{"1", true}, value{"2", true}}}},
		{"an empty object", `{"a":{}}`, `{"a":{"b":1}}`, []change{{"a", value{"{}", true}, value{}}, {"a.b", value{}, value{"1", true}}}},
		{"deeper than it looks", `{"a":{"b":{"c":{"d":{"e":1}}}}}`, "", []change{{"a.b.c.d", value{`{"e":1}`, true}, value{}}}},
		{"no object", `"x"`, `["y"]`, []change{{"–", value{"x", true}, value{`["y"]`, true}}}},
		{"no JSON", `{"a"`, ``, nil},
	} {
		e := entry{Before: json.RawMessage(c.before), After: json.RawMessage(c.after)}
		if got := e.Differences(); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v", c.why, got)
		}
	}
}

var (
	auditedCall   = regexp.MustCompile(`\{"([a-z_]+\.[a-z_]+)", ([a-zA-Z.]+|"[a-z]+"), (?:true|false)\}`)
	auditedObject = regexp.MustCompile(`(?:Object\{Kind: |noun: )([a-zA-Z.]+|"[a-z]+")[,}]`)
	kindConstant  = regexp.MustCompile(`(?m)^\t(Kind\w+)\s+= "(\w+)"`)
	localNames    = regexp.MustCompile(`const node, key, account, installation = store\.KindNode, store\.KindKey, store\.KindAccount, "installation"`)
)

// TestAuditWords: every kind that the API's calls and the gateway itself write into the audit log has a noun, and every action
// its words, in each language.
func TestAuditWords(t *testing.T) {
	source := ""
	for _, pattern := range []string{"../adminapi/audit.go", "../adminapi/signin.go", "../boot/audit.go"} {
		for _, text := range read(t, pattern) {
			source += text
		}
	}
	kinds := map[string]string{"node": "node", "key": "key", "account": "account", "installation": "installation"}
	if !localNames.MatchString(source) {
		t.Error("the short names of kinds are others now")
	}
	for _, text := range read(t, "../store/store.go") {
		for _, m := range kindConstant.FindAllStringSubmatch(text, -1) {
			kinds["store."+m[1]] = m[2]
		}
	}
	nouns, names := map[string]bool{}, []string{"login.ok", "login.failed", "logout"}
	note := func(of string) {
		if of == "act.noun" { // of the table
			return
		}
		if kind, ok := kinds[of]; ok {
			nouns[kind] = true
		} else if kind, err := strconv.Unquote(of); err == nil {
			nouns[kind] = true
		} else {
			t.Errorf("no kind is known for %s", of)
		}
	}
	for _, m := range auditedCall.FindAllStringSubmatch(source, -1) {
		names = append(names, m[1])
		note(m[2])
	}
	for _, m := range auditedObject.FindAllStringSubmatch(source, -1) {
		note(m[1])
	}
	if len(names) < 40 || !nouns["alertrule"] || !nouns["route"] || !nouns["session"] || !nouns["installation"] {
		t.Fatalf("too little was read: %d actions, kinds %v", len(names), nouns)
	}
	for lang, words := range catalogues() {
		v := &view{lang: lang, words: words}
		for kind := range nouns {
			if _, ok := v.known("audit.noun." + kind); !ok {
				t.Errorf("%s: %s has no noun", lang, kind)
			}
		}
		for _, name := range names {
			if v.ActionText(name) == "" {
				t.Errorf("%s: %s has no words", lang, name)
			}
		}
	}
}
