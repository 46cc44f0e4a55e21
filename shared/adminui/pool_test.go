package adminui

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// poolFake is an API with a pool: it answers what the test says, and remembers what it was asked and sent.
type poolFake struct {
	t     *testing.T
	reply map[string]string // by method and address with its query; "502 " before the body is another status than 200
	calls []string
	sent  map[string]string
}

func (f *poolFake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := r.Method + " " + r.URL.RequestURI()
	f.calls = append(f.calls, call)
	data, _ := io.ReadAll(r.Body)
	f.sent[call] = string(data)
	body, ok := f.reply[call]
	if l, isList := fakeLists()[r.URL.Path]; isList && r.Method == http.MethodGet {
		if body, ok = f.listed(&l, r); ok && !strings.Contains("45", body[:1]) {
			l.answer(w, r, rowsOf(l.name, body))
			return
		}
	}
	switch {
	case !ok && call == "GET /admin/api/me":
		body = `{"account_id":"default","account_name":"Team","is_admin":true}`
	case !ok:
		body = `{}`
	}
	if len(body) > 4 && body[3] == ' ' {
		w.WriteHeader(int(body[0]-'0')*100 + int(body[1]-'0')*10 + int(body[2]-'0'))
		body = body[4:]
	}
	_, _ = io.WriteString(w, body)
}

// listed is the whole list that the test says for the account of a question, else for all.
func (f *poolFake) listed(l *fakeList, r *http.Request) (string, bool) {
	if a := r.URL.Query().Get("account_id"); a != "" {
		if body, ok := f.reply["GET "+r.URL.Path+"?account_id="+a]; ok {
			return body, true
		}
	}
	if body, ok := f.reply["GET "+r.URL.Path]; ok {
		return body, true
	}
	return `{"` + l.name + `":[]}`, true
}

func newPoolFake(t *testing.T, reply map[string]string) *poolFake {
	return &poolFake{t: t, reply: reply, sent: map[string]string{}}
}

// ask asks the console as a browser does. header are names and values in turn.
func (f *poolFake) ask(method, target, kind, body string, header ...string) *httptest.ResponseRecorder {
	f.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Accept", "text/html")
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	c := New(Options{API: f, Now: func() time.Time { return time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC) }})
	if !c.Handles(r) {
		f.t.Errorf("%s %s is not the console's", method, target)
	}
	c.ServeHTTP(w, r)
	return w
}

func (f *poolFake) get(target string, header ...string) *httptest.ResponseRecorder {
	return f.ask("GET", target, "", "", header...)
}

func (f *poolFake) post(target string, form url.Values, header ...string) *httptest.ResponseRecorder {
	return f.ask("POST", target, "application/x-www-form-urlencoded", form.Encode(), header...)
}

// has fails the test unless the answer has the status, holds all texts, and none of those behind "!".
func (f *poolFake) has(why string, w *httptest.ResponseRecorder, status int, texts ...string) {
	f.t.Helper()
	if w.Code != status {
		f.t.Errorf("%s: status %d, want %d", why, w.Code, status)
	}
	for _, text := range texts {
		text, not := strings.CutPrefix(text, "!")
		if strings.Contains(w.Body.String(), text) == not {
			f.t.Errorf("%s: %q (unwanted: %v) in %s", why, text, not, w.Body)
		}
	}
}

func (f *poolFake) asked(call string) bool {
	for _, c := range f.calls {
		if strings.HasPrefix(c, call) {
			return true
		}
	}
	return false
}

const poolRows = `{"accounts":[{"id":7,"state":"login_needed","state_reason":"<u>log in again</u>","name":"<script>x</script>","is_active":true,"is_healthy":false,"total_requests":1234,"total_tokens":45600,"health_check_error":"boom","notes":"<i>n</i>","requests_per_minute":10},
	{"id":8,"name":"off","is_active":false,"is_healthy":true,"state":"disabled"}]}`

// TestPoolPage: accounts with their states, hostile names as text, quotas asked for later and only of those in use; an
// administrator has a choice of accounts and the statistics, a tenant has neither, and neither is asked for.
func TestPoolPage(t *testing.T) {
	f := newPoolFake(t, map[string]string{"GET /admin/accounts?account_id=default": poolRows,
		"GET /admin/api/accounts":                                           `{"accounts":[{"id":"default","name":"Team"},{"id":"b","name":"<b>B</b>"}]}`,
		"GET /admin/stats/tokens?account_id=default&days=7&light=true":      `{"total":{"requests":3},"daily":[{"date":"2026-03-01","input_tokens":5,"output_tokens":6}]}`,
		"GET /admin/stats/account-usage?account_id=default&days=7&limit=10": `{"accounts":[{"account_name":"<s>used</s>","requests":3},{"account_name":"unused"}]}`})
	f.has("an administrator", f.get("/admin/accounts"), 200, "&lt;script&gt;x", "!<script>x", "&lt;u&gt;log in again", "!boom", "login needed", "1,234", "45.6k", "&lt;i&gt;n",
		`id="quota-7" hx-get="/admin/accounts/7"`, `!id="quota-8" hx-get`, `<option value="default" selected>`, "&lt;b&gt;B", "[[1772323200],[5],[6]]", "&lt;s&gt;used", "!unused")
	if f.asked("GET /admin/accounts/7/quota") {
		t.Error("the list asks the service before it is shown")
	}
	tenant := newPoolFake(t, map[string]string{"GET /admin/api/me": `{"account_id":"b"}`, "GET /admin/accounts": `{"accounts":[{"id":9,"name":"mine","is_active":true,"is_healthy":true,"state":"online"}]}`})
	tenant.has("a tenant", tenant.get("/admin/accounts"), 200, "mine", `!name="account_id"`, "!data-chart")
	tenant.has("a filter that finds none", tenant.get("/admin/accounts?state=failed"), 200, "Nothing found", "All (1)", "Failed (0)")
	if tenant.asked("GET /admin/stats") || tenant.asked("GET /admin/api/accounts") || tenant.asked("GET /admin/api/nodes") {
		t.Errorf("for a tenant: %v", tenant.calls)
	}
	empty := newPoolFake(t, nil)
	empty.has("empty", empty.get("/admin/accounts", "Accept-Language", "zh"), 200, "还没有账号", "!data-chart", `do=login`)
	empty.has("found nothing", empty.get("/admin/accounts?q=x"), 200, "Nothing found", "!All (")
	refused := newPoolFake(t, map[string]string{"GET /admin/accounts?account_id=b": `403 {"error":"forbidden"}`})
	refused.has("another's", refused.get("/admin/accounts?account_id=b"), 403, "forbidden")
}

// TestPoolQuota: a row's bars come alone; that the service refuses is told in their place.
func TestPoolQuota(t *testing.T) {
	f := newPoolFake(t, map[string]string{"GET /admin/accounts/7/quota": `{"subscription":"<b>PRO</b>","name":"Credit","used":812.5,"limit":1000,"free_trial":{"used":5,"limit":5},
		"overage":{"used":2,"cap":10,"charges":1.5,"currency":"USD"},"others":[{"resource_type":"VIBE","used":1}]}`})
	hx := []string{"HX-Request", "true", "HX-Target", "div#quota-7"}
	f.has("a row", f.get("/admin/accounts/7", hx...), 200, "!<html", "&lt;b&gt;PRO", "812.5 / 1,000", `class="high" max="1" value="0.812"`, `class="full" max="1" value="1.000"`, "2 of 10, 1.5 USD", "VIBE")
	if f.asked("GET /admin/accounts/7/stats") {
		t.Error("a row asks for more than its quota")
	}
	f.reply["GET /admin/accounts/7/quota"] = `502 {"error":"the service refused: <x>"}`
	f.has("refused", f.get("/admin/accounts/7", hx...), 200, "the service refused: &lt;x&gt;", "!<progress")
	f.reply["GET /admin/accounts/7/stats"] = `{"id":7,"name":"<i>one</i>","state":"online","api":"kiro","requests_per_minute":25,"is_active":true,"token_info":{"cached":true,"is_valid":true}}`
	f.has("the page of one", f.get("/admin/accounts/7"), 200, "&lt;i&gt;one", `hx-trigger="load"`, `value="25"`, `value="kiro" selected`, "valid until", "!the service refused")
	f.has("without scripts", f.get("/admin/accounts/7?quota=1"), 200, "the service refused")
	f.reply["GET /admin/accounts/9/stats"] = `404 {"error":"Account not found"}`
	f.has("another's", f.get("/admin/accounts/9"), 404, "Account not found")
	for in, want := range map[float64]string{0: "0", 12.5: "12.5", 1234567.891: "1,234,567.89", 1e300: "1e+300", -3: "-3"} {
		if got := amount(in); got != want {
			t.Errorf("amount(%g) = %q, want %q", in, got, want)
		}
	}
}

// TestPoolForms: what was refused keeps its input and says so at the field; an update keeps what is not given.
func TestPoolForms(t *testing.T) {
	f := newPoolFake(t, map[string]string{"POST /admin/accounts?account_id=b": `400 {"error":"refresh_token is required"}`})
	in := url.Values{"name": {"<mine>"}, "notes": {"two\nlines"}, "client_id": {"cid"}, "refresh_token": {""}, "api": {"q"}}
	f.has("create", f.post("/admin/accounts?do=create&account_id=b", in), 400, `value="&lt;mine&gt;"`, `value="cid"`, "two\nlines", `name="refresh_token" type="password" value="" autocomplete="new-password" aria-invalid="true"`, "is required")
	if got := f.sent["POST /admin/accounts?account_id=b"]; strings.Contains(got, "requests_per_minute") || !strings.Contains(got, `"notes":"two\nlines"`) {
		t.Errorf("sent %s", got)
	}
	in.Set("requests_per_minute", "many")
	f.has("no number", f.post("/admin/accounts?do=create&account_id=b", in), 400, "must be a whole number", `value="many"`)
	f.reply["POST /admin/accounts"] = `{"name":"n","warning":"profile <ignored>"}`
	in.Set("requests_per_minute", "")
	f.has("a warning", f.post("/admin/accounts?do=create", in), 200, "profile &lt;ignored&gt;")
	in.Set("api_key", "ksk_x")
	f.reply["POST /admin/accounts"] = `{"name":"n"}`
	if w := f.post("/admin/accounts?do=create", in); w.Code != 303 || w.Header().Get("Location") != "/admin/accounts?done=pool.made&done=%3Cmine%3E" || strings.Contains(f.sent["POST /admin/accounts"], `"api":`) {
		t.Errorf("made: %d to %s with %s", w.Code, w.Header().Get("Location"), f.sent["POST /admin/accounts"])
	}
	f.reply["GET /admin/accounts/7/stats"] = `{"id":7,"name":"one","state":"online"}`
	f.reply["PUT /admin/accounts/7"] = `400 {"error":"profile_arn: must be an ARN"}`
	up := url.Values{"name": {"new"}, "profile_arn": {"arn:x"}, "requests_per_minute": {""}, "client_id": {""}}
	f.has("update", f.post("/admin/accounts/7?do=update", up), 400, `value="new"`, `value="arn:x"`, "must be an ARN")
	if got := f.sent["PUT /admin/accounts/7"]; !strings.Contains(got, `"requests_per_minute":0`) || strings.Contains(got, "client_id") {
		t.Errorf("sent %s", got)
	}
	one := url.Values{"id": {"7"}, "name": {"<one>"}}
	f.reply["POST /admin/accounts/7/refresh-token"] = `502 {"error":"the service refused: why"}`
	f.has("refresh", f.post("/admin/accounts?do=refresh", one), 502, "&lt;one&gt;: the service refused: why")
	f.has("delete without its name", f.post("/admin/accounts?do=delete", one), 400, "Type &lt;one&gt; to confirm")
	if f.asked("DELETE") {
		t.Error("it was deleted")
	}
	one.Set("confirm", "<one>")
	if w := f.post("/admin/accounts/7?do=delete&account_id=b", one); w.Code != 303 || !strings.HasPrefix(w.Header().Get("Location"), "/admin/accounts?account_id=b&done=pool.deleted") || !f.asked("DELETE /admin/accounts/7") {
		t.Errorf("deleted: %d to %s", w.Code, w.Header().Get("Location"))
	}
	f.post("/admin/accounts?do=enable", url.Values{"id": {"../api/keys?x"}})
	if f.asked("PUT /admin/api") || !f.asked("PUT /admin/accounts/..%2Fapi%2Fkeys%3Fx") {
		t.Errorf("an id leads elsewhere: %v", f.calls)
	}
}

// TestPoolLogin: the code is shown until the login ends by itself; a failure of a moment does not end it.
func TestPoolLogin(t *testing.T) {
	const poll = "POST /admin/accounts/login/L1"
	f := newPoolFake(t, map[string]string{"POST /admin/accounts/login?account_id=b": `{"id":"L1"}`,
		poll: `{"id":"L1","status":"pending","user_code":"AB<CD","verification_uri_complete":"https://x.example/?user_code=AB","expires_in":125,"interval":7}`})
	if w := f.post("/admin/accounts?do=login&account_id=b", url.Values{"name": {"n"}}); w.Code != 303 || w.Header().Get("Location") != "/admin/accounts?account_id=b&login=L1" {
		t.Errorf("began: %d to %s", w.Code, w.Header().Get("Location"))
	}
	hx := []string{"HX-Request", "true", "HX-Target", "div#login"}
	f.has("the page", f.get("/admin/accounts?login=L1&account_id=b"), 200, "AB&lt;CD", `href="https://x.example/?user_code=AB" target="_blank" rel="noopener noreferrer"`, "2:05", `data-countdown="2026-03-01T00:02:05Z"`, `hx-trigger="every 7s"`)
	f.calls = nil
	f.has("a poll", f.post("/admin/accounts?do=poll&login=L1", nil, hx...), 200, "!<html", "AB&lt;CD")
	if len(f.calls) != 2 {
		t.Errorf("a poll asks for %v", f.calls)
	}
	f.has("the button without scripts", f.post("/admin/accounts?do=poll&login=L1", nil), 200, "<html", "AB&lt;CD")
	f.reply[poll] = `{"status":"pending","user_code":"X","verification_uri":"javascript:alert(1)"}`
	f.has("what is no web page is no link", f.get("/admin/accounts?login=L1"), 200, `!href="javascript`, `!href="#Zgot`)
	f.reply[poll] = `502 {"error":"the service did not answer"}`
	f.has("a failure of a moment", f.post("/admin/accounts?do=poll&login=L1", nil, hx...), 200, "the service did not answer", "hx-trigger")
	for body, says := range map[string]string{`{"status":"denied"}`: "refused in the browser", `{"status":"expired"}`: "in time", `404 {"error":"login not found"}`: "login not found"} {
		f.reply[poll] = body
		f.has("the end", f.post("/admin/accounts?do=poll&login=L1", nil, hx...), 200, says, "!hx-trigger", "Begin a new sign-in")
	}
	f.reply[poll] = `{"status":"complete","account":{"name":"new <one>"}}`
	if w := f.post("/admin/accounts?do=poll&login=L1", nil, hx...); w.Code != 204 || w.Header().Get("HX-Redirect") != "/admin/accounts?done=pool.login&done=new+%3Cone%3E" {
		t.Errorf("complete: %d to %s", w.Code, w.Header())
	}
	f.reply["POST /admin/accounts/login"] = `400 {"error":"start_url: must be a https URL"}`
	f.has("refused", f.post("/admin/accounts?do=login", url.Values{"start_url": {"ftp://<x>"}}), 400, `value="ftp://&lt;x&gt;"`, "must be a https URL")
}

// upload is the form of an import.
func upload(t *testing.T, field, name string, data []byte) (kind, body string) {
	t.Helper()
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	var p io.Writer
	var err error
	if name != "" {
		p, err = m.CreateFormFile(field, name)
	} else {
		p, err = m.CreateFormField(field)
	}
	if err == nil {
		_, err = p.Write(data)
	}
	if err != nil || m.Close() != nil {
		t.Fatal(err)
	}
	return m.FormDataContentType(), b.String()
}

// TestPoolImport: nothing is made before the preview was seen, from a file as from what was pasted.
func TestPoolImport(t *testing.T) {
	const dry, real = "POST /admin/accounts/import?account_id=b&dry_run=true", "POST /admin/accounts/import?account_id=b"
	f := newPoolFake(t, map[string]string{dry: `{"dry_run":true,"taken":[{"entry":"item 1","name":"<a>"}],"skipped":[{"entry":"item 2","why":"<why>"}]}`,
		real: `{"taken":[{"entry":"item 1","id":12,"name":"<a>"}],"skipped":[]}`})
	for _, c := range []struct{ field, name string }{{"file", "a.json"}, {"text", ""}} {
		kind, body := upload(t, c.field, c.name, []byte("line \"1\"\nline 2"))
		f.calls = nil
		f.has("preview of "+c.field, f.ask("POST", "/admin/accounts?do=preview&account_id=b", kind, body), 200, "&lt;a&gt;", "&lt;why&gt;", "1 would be added, 1 left out",
			"name=\"text\" value=\"line &#34;1&#34;\nline 2\"", "do=import")
		if f.sent[dry] != `{"text":"line \"1\"\nline 2"}` {
			t.Errorf("sent %s", f.sent[dry])
		}
		if f.sent[real] != "" {
			t.Error("the preview made something")
		}
	}
	kind, body := upload(t, "text", "", []byte("x"))
	if f.has("no more is said of them", f.get("/admin/accounts?add=import"), 200, `name="notes"`); strings.Contains(f.sent[dry], "notes") {
		t.Error(f.sent[dry])
	}
	f.has("import", f.ask("POST", "/admin/accounts?do=import&account_id=b", kind, body), 200, `href="/admin/accounts/12`, "1 added, 0 left out", "!do=import")
	for _, c := range []struct {
		why, field, name, data, says string
		status                       int
	}{
		{"nothing", "text", "", " ", "Choose a file", 400},
		{"an empty file", "file", "a", "", "Choose a file", 400},
		{"no UTF-8", "file", "a", "\xff\xfe", "UTF-8", 400},
		{"too large", "file", "a", strings.Repeat("x", 2<<20), "1 MiB", 413},
	} {
		kind, body := upload(t, c.field, c.name, []byte(c.data))
		f.has(c.why, f.ask("POST", "/admin/accounts?do=preview", kind, body), c.status, c.says)
	}
	f.has("no form at all", f.ask("POST", "/admin/accounts?do=preview", "multipart/form-data; boundary=x", "junk"), 400, "Reload the page")
	f.reply["POST /admin/accounts/import?dry_run=true"] = `400 {"error":"text: names no account"}`
	kind, body = upload(t, "text", "", []byte("kept <input>"))
	f.has("refused", f.ask("POST", "/admin/accounts?do=preview", kind, body), 400, "names no account", "kept &lt;input&gt;")
	kind, body = upload(t, "file", "a", []byte("x"))
	f.has("a file refused", f.ask("POST", "/admin/accounts?do=preview", kind, body), 400, `type="file" accept=".json,.txt,.env,.csv,application/json,text/plain" aria-describedby="f-file-hint" aria-invalid="true"`)
}

// TestPoolImportMore: what is said of the accounts beside their text goes where the API takes it, after a preview that says it, too.
func TestPoolImportMore(t *testing.T) {
	const dry, load = "POST /admin/accounts/import?account_id=b&dry_run=true", "POST /admin/accounts/upload-json?account_id=b"
	one, several := `{"clientId":"c"}`, `[{"clientId":"c"}]`
	found := `{"dry_run":true,"taken":[{"entry":"item 1","name":"AWS-SSO-1"}],"skipped":[]}`
	with := func(pairs ...string) url.Values {
		f := url.Values{"notes": {"<line 1>\r\nline 2"}}
		for i := 0; i < len(pairs); i += 2 {
			f.Set(pairs[i], pairs[i+1])
		}
		return f
	}
	for _, c := range []struct {
		why, do, answer string
		form            url.Values
		status          int
		has             []string
		sent            []string // parts of the upload; nil: there is none
	}{
		{"one account has the name", "preview", found, with("text", one, "name", "mine", "requests_per_minute", "7"), 200, []string{"</span> mine<", "!AWS-SSO-1", `name="notes" value="&lt;line 1&gt;`, `name="requests_per_minute" value="7"`, `!name="profile_arn"`}, nil},
		{"of several it is not known which", "preview", found, with("text", several, "name", "mine"), 200, []string{"AWS-SSO-1", `name="name" value="mine"`}, nil},
		{"lines cannot be told more", "preview", found, with("text", "a|b|c|d"), 400, []string{"AWS SSO JSON alone", "a|b|c|d</textarea>", "&lt;line 1&gt;"}, nil},
		{"one is made", "import", `{"success":true,"account":{"id":12,"name":"mine"},"token_refresh":{"success":false,"error":"<why>"}}`, with("text", one, "name", "mine"), 200, []string{`href="/admin/accounts/12`, "1 added, 0 left out", "could not be refreshed: &lt;why&gt;"}, []string{"name=\"json_file\"\r\n\r\n" + one + "\r\n--", "name=\"name\"\r\n\r\nmine\r\n", "<line 1>"}},
		{"several are", "import", `{"success":true,"taken":[{"entry":"item 1","id":13,"name":"x"}],"skipped":[{"entry":"item 2","why":"no"}]}`, with("text", several), 200, []string{`href="/admin/accounts/13`, "1 added, 1 left out"}, []string{several}},
		{"what the API refuses is said at the field, and nothing is lost", "import", `400 {"error":"name: another account has it"}`, with("text", one, "name", "mine"), 400, []string{`value="mine" autocomplete="off" aria-invalid="true"`, "{&#34;clientId&#34;:&#34;c&#34;}</textarea>", "do=preview"}, []string{one}},
		{"so is what is wrong with the file", "import", `400 {"error":"json_file: clientSecret is missing"}`, with("text", one), 400, []string{"clientSecret is missing", `aria-invalid="true"`}, []string{one}},
	} {
		f := newPoolFake(t, map[string]string{dry: c.answer, load: c.answer})
		f.has(c.why, f.post("/admin/accounts?do="+c.do+"&account_id=b", c.form), c.status, c.has...)
		sent := f.sent[load]
		if (sent != "") != (c.sent != nil) || f.asked("POST /admin/accounts/import?account_id=b ") {
			t.Errorf("%s: %q of %v", c.why, sent, f.calls)
		}
		for _, part := range c.sent {
			if !strings.Contains(sent, part) {
				t.Errorf("%s: no %q in %q", c.why, part, sent)
			}
		}
	}
}

// TestPoolBulk: what fails with one does not stop the others; deletion needs a word.
func TestPoolBulk(t *testing.T) {
	f := newPoolFake(t, map[string]string{"GET /admin/accounts?account_id=default": poolRows, "PUT /admin/accounts/7": `502 {"error":"<broken>"}`})
	ids := url.Values{"ids": {"7", "8"}, "what": {"enable"}}
	f.has("one fails", f.post("/admin/accounts?do=bulk", ids), 409, "1 done", "7: &lt;broken&gt;", `value="7" form="bulk" aria-label="Choose &lt;script&gt;x&lt;/script&gt;" checked`, `!aria-label="Choose off" checked`)
	if f.sent["PUT /admin/accounts/8"] != `{"is_active":true}` {
		t.Errorf("the other was not done: %v", f.calls)
	}
	ids.Set("what", "delete")
	f.has("without the word", f.post("/admin/accounts?do=bulk", ids), 400, "Type delete to confirm")
	for why, bad := range map[string]url.Values{"none": {"what": {"enable"}}, "too many": {"what": {"enable"}, "ids": make([]string, 51)}} {
		f.has(why, f.post("/admin/accounts?do=bulk", bad), 400, "Choose at least one")
	}
	f.has("something else", f.post("/admin/accounts?do=bulk", url.Values{"what": {"rotate"}, "ids": {"7"}}), 400, "Reload the page")
	if f.asked("DELETE") {
		t.Fatalf("deleted: %v", f.calls)
	}
	ids.Set("confirm", "delete")
	if w := f.post("/admin/accounts?do=bulk", ids); w.Code != 303 || !f.asked("DELETE /admin/accounts/7") || !f.asked("DELETE /admin/accounts/8") || !strings.Contains(w.Header().Get("Location"), "done=pool.bulk.delete&done=2") {
		t.Errorf("%d to %s: %v", w.Code, w.Header().Get("Location"), f.calls)
	}
}

// TestPoolHandles: the path is the API's for programs.
func TestPoolHandles(t *testing.T) {
	c := New(Options{API: newPoolFake(t, nil)})
	for _, r := range []*http.Request{httptest.NewRequest("GET", "/admin/accounts", nil), httptest.NewRequest("GET", "/admin/accounts/7", nil), httptest.NewRequest("POST", "/admin/accounts", nil),
		httptest.NewRequest("POST", "/admin/accounts/7/refresh-token", nil), httptest.NewRequest("POST", "/admin/accounts/import?dry_run=true", nil), httptest.NewRequest("DELETE", "/admin/accounts/7", nil)} {
		if c.Handles(r) {
			t.Errorf("%s %s", r.Method, r.URL)
		}
	}
}
