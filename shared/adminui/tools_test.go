package adminui

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

const (
	toolNodes  = `{"nodes":[{"models":["<b>m</b>","gpt-5.4","claude-*"],"model_map":{"fast":"x"}},{"models":["off"],"disabled":true}]}`
	toolPrices = `{"pricing":[{"model_id":"claude-opus-5-5"}]}`
)

func newToolFake(t *testing.T) *poolFake {
	return newPoolFake(t, map[string]string{"GET /admin/api/nodes": toolNodes, "GET /api/pricing?active_only=true&limit=500": toolPrices})
}

// TestSetup: texts for this gateway's address and the models that there are; what is asked for by a form takes their place,
// what a link asks for does not.
func TestSetup(t *testing.T) {
	f := newToolFake(t)
	f.has("at first", f.get("/admin/setup?url=https://evil.example&model=evil"), 200, "http://example.com/v1", `value="gpt-5.4"`, `value="fast"`, `value="claude-opus-5-5"`, "!https://evil.example", `!value="evil"`, "!&#34;evil&#34;", `!value="off"`, `!value="claude-*"`, "!<b>m", "data-key=\"YOUR_KEY\"", "~/.codex/config.toml")
	f.has("behind TLS", f.get("/admin/setup", "X-Forwarded-Proto", "https"), 200, "https://example.com/v1")
	in := url.Values{"url": {"https://gate.example:8443/stage/v1/"}, "model": {"us.anthropic.claude-x:0"}, "small": {""}, "allow": {"Read(<x>)\r\n\r\nBash(a)"}, "deny": {`Edit("y")`}}
	f.has("a form", f.post("/admin/setup?do=show", in), 200, "https://gate.example:8443/stage/v1/messages", "us.anthropic.claude-x:0", "Read(&lt;x&gt;)", "!<x>", "!stage/v1/v1", "!ANTHROPIC_DEFAULT_HAIKU_MODEL")
	f.has("a part of the page", f.post("/admin/setup?do=show", in, "HX-Request", "true", "HX-Target", "div#setup"), 200, "https://gate.example:8443/stage", "!<html", "!setup-key")
	f.has("in Chinese", f.get("/admin/setup", "Accept-Language", "zh"), 200, "客户端配置")
	for field, bad := range map[string]string{"url": "javascript:alert(1)", "model": `x"; rm -rf /`, "small": "$(id)"} {
		asked := url.Values{"url": {"https://gate.example"}, "model": {"m"}, "small": {"s"}, "allow": {"kept <rule>"}}
		asked.Set(field, bad)
		f.has(field, f.post("/admin/setup?do=show", asked), 400, `id="f-`+field+`" name="`+field+`"`, `aria-invalid="true"`, "kept &lt;rule&gt;", "!settings.json")
	}
	f.has("too many rules", f.post("/admin/setup?do=show", url.Values{"url": {"https://a.b"}, "model": {"m"}, "deny": {strings.Repeat("x\n", 201)}}), 400, "at most 200")
}

// TestSetupFile: a file for browsers without scripts, with the place of the key in it.
func TestSetupFile(t *testing.T) {
	f := newToolFake(t)
	in := url.Values{"url": {"https://gate.example"}, "model": {"m1"}, "small": {"m2"}, "allow": {`Bash("<q>")`}, "id": {"claude-file"}}
	w := f.post("/admin/setup?do=file", in)
	var s claudeSettings
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || w.Code != 200 || w.Header().Get("Content-Disposition") != `attachment; filename=settings.json` ||
		s.Env.URL != "https://gate.example" || s.Env.Token != keyPlace || s.Env.Small != "m2" || s.Model != "m1" || s.Permissions.Allow[0] != `Bash("<q>")` || s.Permissions.Deny != nil {
		t.Errorf("%d %v %v: %s", w.Code, err, w.Header(), w.Body)
	}
	in.Set("id", "claude-unix")
	f.has("no file", f.post("/admin/setup?do=file", in), 404, "!ANTHROPIC")
	in.Set("url", "x")
	f.has("a form that is refused", f.post("/admin/setup?do=file", in), 400, `value="x"`)
}

// TestGatewayAddress: PUBLIC_URL where there is one, else what the browser asked, but never what could end a text.
func TestGatewayAddress(t *testing.T) {
	for _, c := range []struct{ why, public, host, proto, want string }{
		{"as asked", "", "gate.example:8000", "", "http://gate.example:8000"},
		{"behind TLS", "", "gate.example", "HTTPS, http", "https://gate.example"},
		{"IPv6", "", "[::1]:8000", "", "http://[::1]:8000"},
		{"PUBLIC_URL", "https://p.example/Prod/", "gate.example", "", "https://p.example/Prod"},
		{"a Host that ends a quote", "", `a";id;"`, "", "http://localhost:8000"},
	} {
		r := requestOf("GET", "/admin/setup")
		r.Host = c.host
		r.Header.Set("X-Forwarded-Proto", c.proto)
		v := New(Options{API: &api{}, PublicURL: c.public}).view(httptest.NewRecorder(), r, nil, "")
		if got := v.gateway(); got != c.want {
			t.Errorf("%s: %q", c.why, got)
		}
	}
	if !local("http://127.0.0.1:1") || !local("http://[::1]") || !local("https://localhost/x") || local("https://gate.example") {
		t.Error("which addresses are local")
	}
}

// TestSnippets: each is filled in, and the texts between quotes hold nothing that ends them.
func TestSnippets(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range snippets(client{URL: "https://gate.example", Model: "claude-m", Small: "s"}) {
		for _, s := range g.Snippets {
			if seen[s.ID] || s.Text == "" || strings.Contains(s.Text, "{{") || s.File != "" && !strings.HasSuffix(s.Text, "\n") {
				t.Errorf("%s: %s", s.ID, s.Text)
			}
			seen[s.ID] = true
			if s.ID == "cursor-model" && s.Text != "m" {
				t.Errorf("Cursor would send %q elsewhere", s.Text) // D50
			}
			if s.ID == "bedrock-claude" && (!strings.Contains(s.Text, `--model "global.anthropic.claude-m"`) || !strings.Contains(s.Text, `HAIKU_MODEL="s"`)) {
				t.Errorf("in Bedrock mode: %s", s.Text)
			}
		}
	}
	if len(seen) < 20 {
		t.Errorf("%d texts", len(seen))
	}
}

// TestPlayground: the form has no names, so that a browser without the script sends nothing of it; the script is one of ours.
func TestPlayground(t *testing.T) {
	f := newToolFake(t)
	w := f.get("/admin/playground")
	f.has("shown", w, 200, `value="claude-sonnet-5-5"`, `value="gpt-5.4"`, "/v1/chat/completions", "/admin/assets/tools.", `<fieldset disabled>`, `data-logs="/api/usage/logs"`, "!<b>m")
	form := w.Body.String()[strings.Index(w.Body.String(), `<form id="play"`):]
	if form = form[:strings.Index(form, "</form>")]; strings.Contains(form, " name=") {
		t.Error("a field of the playground has a name")
	}
	own := newToolFake(t)
	own.reply["GET /admin/api/me"] = personMe
	own.has("a tenant, in Chinese", own.get("/admin/playground", "Accept-Language", "zh"), 200, "试验台", "发送")
	none := newPoolFake(t, map[string]string{})
	none.has("no node and no price", none.get("/admin/playground"), 200, `value="claude-sonnet-5-5"`)
}

// TestAbout: which program it is, and its changelog, for everybody who has signed in.
func TestAbout(t *testing.T) {
	f := newPoolFake(t, map[string]string{"GET /admin/api/me": personMe})
	f.has("about", f.get("/admin/about"), 200, "go1.", "<h2>Unreleased</h2>", "/changelog")
	f.has("changelog", f.get("/changelog"), 200, "<h2>Unreleased</h2>", "<li>", "<code>", "!<h2></h2>")
	out := newPoolFake(t, map[string]string{"GET /admin/api/me": `401 {"error":"unauthorized"}`})
	if w := out.get("/changelog"); w.Code != 303 {
		t.Errorf("without a session: %d", w.Code)
	}
	r := requestOf("GET", "/changelog")
	r.Header.Set("Accept", "*/*")
	if New(Options{API: &api{}}).Handles(r) {
		t.Error("a program gets the page, not the markdown")
	}
}

// TestChecklist: the steps as the API tells them; gone when all are made, and never a tenant's.
func TestChecklist(t *testing.T) {
	const published, own = `{"id":"1","name":"<b>admin</b>","default":true,"scopes":["admin"]}`, `{"id":"2","scopes":["inference"]}`
	for _, c := range []struct{ why, me, keys, nodes, sum, want string }{
		{"a new gateway", "", published, "", "", "...."},
		{"a published key that is revoked, a key that has ended", "", `{"default":true,"revoked":true},{"scopes":["inference"],"expires_at":"2020-01-01T00:00:00Z"}`, "", "", "x..."},
		{"a node that is off", "", own, `{"disabled":true}`, "", "x.x."},
		{"a node", "", published + "," + own, `{}`, "", ".xx."},
		{"all but the credentials", "", published + "," + own, "", `{"success_requests":1}`, ".xxx"},
		{"all", "", own, `{}`, `{"success_requests":1}`, ""},
		{"a tenant", personMe, published, "", "", ""},
	} {
		f := newPoolFake(t, map[string]string{"GET /admin/api/keys": `{"keys":[` + c.keys + `]}`, "GET /admin/api/nodes": `{"nodes":[` + c.nodes + `]}`,
			"GET /api/usage/summary?from=2024-10-03T00%3A00%3A00Z": c.sum})
		if c.me != "" {
			f.reply["GET /admin/api/me"] = c.me
		}
		f.checklist(c.why, c.want)
	}
}

// checklist checks which steps are made: x, or a dot; empty: there is no list.
func (f *poolFake) checklist(why, want string) {
	f.t.Helper()
	con := New(Options{API: f, Now: func() time.Time { return time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC) }})
	v := con.view(httptest.NewRecorder(), requestOf("GET", "/admin"), con.pages["/admin"], "")
	if err := v.identify(); err != nil {
		f.t.Fatal(err)
	}
	list, err := v.Checklist()
	if err != nil {
		f.t.Fatal(err)
	}
	got := ""
	if list != nil {
		for _, s := range list.Steps {
			got += map[bool]string{true: "x", false: "."}[s.Done]
		}
	}
	var b strings.Builder
	if err := con.tmpl.ExecuteTemplate(&b, "checklist", v); err != nil {
		f.t.Fatal(err)
	}
	if got != want || (b.Len() > 0) != (want != "") || strings.Contains(b.String(), "<b>admin") {
		f.t.Errorf("%s: %q, want %q: %s", why, got, want, b.String())
	}
}
