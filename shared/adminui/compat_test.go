package adminui

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

const compatTable = `{"rows":[
{"route":"*","model":"*","kind":"beta","name":"pdfs-2024-09-25","action":"keep","evidence":"probed, 2026","source":"built-in"},
{"route":"*","model":"*","kind":"beta","name":"old-flag","action":"rename","to":"new-flag","evidence":"<b>said</b>, 2026","source":"built-in"},
{"route":"invoke","model":"claude-opus-5*","kind":"field","name":"container","action":"refuse","when":["a.b=1"],"unless":["a-flag","b-flag"],"message":"<script>m</script>","evidence":"400, 2027","source":"operator","later":{"x":1}},
{"route":"*","model":"*","kind":"beta","name":"files-api","action":"keep","evidence":"notes, 2027","source":"operator","replaces":true}]}`

const (
	fieldRow   = "kind=field&model=claude-opus-5%2A&name=container&route=invoke&when=a.b%3D1"
	builtinRow = "kind=beta&model=%2A&name=old-flag&route=%2A"
)

func newCompatFake(t *testing.T) *poolFake {
	return newPoolFake(t, map[string]string{"GET /api/compat": compatTable})
}

// TestCompatPage: rows with what they say and where they come from; hostile texts are text; only the operator's can be taken
// away.
func TestCompatPage(t *testing.T) {
	f := newCompatFake(t)
	w := f.get("/admin/bedrock")
	f.has("rows", w, 200, "pdfs-2024-09-25", "becomes <code>new-flag", "only with <code>a.b=1</code>", "not with <code>a-flag</code> <code>b-flag</code>", "&lt;script&gt;m", "!<script>m", "&lt;b&gt;said", "!<b>said", "claude-opus-5*", "Leave out", "in place of a built-in row", "4 ")
	if n := strings.Count(w.Body.String(), "do=delete"); n != 2 || !strings.Contains(w.Body.String(), "Back to built-in: files-api") || !strings.Contains(w.Body.String(), "Delete: container") {
		t.Errorf("%d rows can be taken away: %s", n, w.Body)
	}
	for _, c := range []struct {
		why, target string
		has         []string
	}{
		{"found by a flag of unless", "?q=B-FLAG", []string{"container", "!pdfs"}},
		{"found by evidence", "?q=probed", []string{"pdfs", "!>container"}},
		{"fields", "?kind=field", []string{"<code>container", "!pdfs", `value="field" selected`}},
		{"what is kept", "?action=keep", []string{"pdfs", "files-api", "!<code>container"}},
		{"the operator's", "?source=operator", []string{"files-api", "!pdfs"}},
		{"both at once", "?source=operator&kind=beta", []string{"files-api", "!<code>container", "!pdfs"}},
		{"a filter that is none", "?kind=colour", []string{"pdfs", "<code>container"}},
		{"nothing", "?q=zzz", []string{"Nothing found"}},
		{"found by a condition", "?q=a.b", []string{"container", "!pdfs"}},
		{"an edit", "?edit=" + url.QueryEscape(fieldRow), []string{"Edit the row: <code>container", `value="claude-opus-5*"`, "a-flag\nb-flag", ">a.b=1<", `<option value="refuse" selected`, `value="400, 2027"`}},
		{"a built-in row is a pattern for one's own, which needs its own evidence", "?edit=" + url.QueryEscape(builtinRow), []string{"Override a built-in row: <code>old-flag", `name="to" type="text" value="new-flag"`, `name="evidence" type="text" value=""`}},
		{"an edit of what is not there is a new row", "?edit=x", []string{"do=create"}},
	} {
		f.has(c.why, f.get("/admin/bedrock"+c.target), 200, c.has...)
	}
	f.has("in Chinese", f.get("/admin/bedrock", "Accept-Language", "zh"), 200, "Bedrock 兼容性", "恢复内置")
	order := func(target string) bool {
		s := f.get(target).Body.String()
		return strings.Index(s, "<code>container") < strings.Index(s, "<code>files-api")
	}
	if !order("/admin/bedrock?sort=name") || order("/admin/bedrock?sort=-name") {
		t.Error("not sorted by name")
	}
	bare := newPoolFake(t, map[string]string{"GET /api/compat": strings.ReplaceAll(compatTable, `"operator"`, `"built-in"`)})
	bare.has("nothing to take away", bare.get("/admin/bedrock"), 200, "!do=delete", "!do=bulk", `!name="ids"`)
	own := newCompatFake(t)
	own.reply["GET /admin/api/me"], own.reply["GET /api/compat"] = personMe, `403 {"error":"only an administrator may see it"}`
	own.has("a tenant", own.get("/admin/bedrock"), 403, "only an administrator may see it", `!href="/admin/bedrock"`)
}

// TestCompatForm: a row is sent as it was written, an edit with what this page does not know of it; what is refused keeps what was
// typed and says at the field what is wrong, in the reader's language.
func TestCompatForm(t *testing.T) {
	typed := url.Values{"kind": {"field"}, "name": {" container "}, "model": {"*"}, "route": {"invoke"}, "act": {"drop"}, "to": {""}, "when": {"a.b=1\na.c!=2"}, "unless": {"a-flag\r\n c-flag"}, "message": {""}, "evidence": {"400, 2027"}}
	for _, c := range []struct{ why, target, call, sent string }{
		{"a new one", "?do=create&kind=field&page=2", "POST /api/compat/rows", `{"action":"drop","evidence":"400, 2027","kind":"field","model":"*","name":"container","route":"invoke","unless":["a-flag","c-flag"],"when":["a.b=1","a.c!=2"]}`},
		{"an edit, under the old name", "?do=update&page=2&kind=field&edit=" + url.QueryEscape(fieldRow), "PUT /api/compat/rows?" + fieldRow,
			`{"action":"drop","evidence":"400, 2027","kind":"field","later":{"x":1},"model":"*","name":"container","route":"invoke","unless":["a-flag","c-flag"],"when":["a.b=1","a.c!=2"]}`},
		{"over a built-in one", "?do=update&page=2&kind=field&edit=" + url.QueryEscape(builtinRow), "POST /api/compat/rows", `{"action":"drop","evidence":"400, 2027","kind":"field","model":"*","name":"container","route":"invoke","unless":["a-flag","c-flag"],"when":["a.b=1","a.c!=2"]}`},
		{"an edit of what has gone meanwhile", "?do=update&page=2&kind=field&edit=x", "POST /api/compat/rows", `{"action":"drop","evidence":"400, 2027","kind":"field","model":"*","name":"container","route":"invoke","unless":["a-flag","c-flag"],"when":["a.b=1","a.c!=2"]}`},
	} {
		f := newCompatFake(t)
		w := f.post("/admin/bedrock"+c.target, typed)
		if got := f.sent[c.call]; w.Code != http.StatusSeeOther || got != c.sent {
			t.Errorf("%s: %d, %v", c.why, w.Code, f.sent)
		}
		if to := w.Header().Get("Location"); to != "/admin/bedrock?kind=field&page=2&done=compat.saved&done=container" {
			t.Errorf("%s: to %s", c.why, to)
		}
	}
	f := newCompatFake(t)
	f.reply["POST /api/compat/rows"] = `400 {"error":"evidence: is missing: say where the row comes from, and the day"}`
	bad := url.Values{"kind": {"tool"}, "name": {"<x>"}, "act": {"refuse"}, "evidence": {""}, "unless": {"u-flag"}}
	f.has("refused", f.post("/admin/bedrock?do=create", bad), 400, "is missing: say where", `aria-invalid="true"`, `value="&lt;x&gt;"`, `<option value="tool" selected`, `<option value="refuse" selected`, ">u-flag<")
	f.has("refused in Chinese", f.post("/admin/bedrock?do=create", bad, "Accept-Language", "zh"), 400, "缺少依据")
	f.reply["POST /api/compat/rows"] = `400 {"error":"action: \"hide\" is unknown: use keep, rename, drop or refuse"}`
	f.has("an action is told at its field", f.post("/admin/bedrock?do=create", bad, "Accept-Language", "zh"), 400, `id="f-act-hint"><div class="invalid-feedback d-block">action &#34;hide&#34; 未知`)
	f.reply["POST /api/compat/rows"] = `400 {"error":"the compatibility rows are too long: at most 65536 bytes are taken"}`
	f.has("with the whole", f.post("/admin/bedrock?do=create", bad), 400, `role="alert"`, "too long: at most 65536 bytes")
	f.reply["PUT /api/compat/rows?"+fieldRow] = `409 {"error":"name: the operator has a row for the same"}`
	f.has("the edit goes on", f.post("/admin/bedrock?do=update&edit="+url.QueryEscape(fieldRow), typed), 409, "Edit the row", "the operator has a row", "a-flag\r\n c-flag")
}

// TestCompatRemove: the name is asked for, the word where there are many, and what could not be done is told.
func TestCompatRemove(t *testing.T) {
	f := newCompatFake(t)
	f.has("no name", f.post("/admin/bedrock?do=delete", url.Values{"id": {fieldRow}, "name": {"container"}, "confirm": {"other"}}), 400, `role="alert"`)
	if f.asked("DELETE") {
		t.Errorf("%v", f.calls)
	}
	if w := f.post("/admin/bedrock?do=delete", url.Values{"id": {fieldRow}, "name": {"container"}, "confirm": {"container"}}); w.Code != 303 || !f.asked("DELETE /api/compat/rows?"+fieldRow) {
		t.Errorf("%d %v", w.Code, f.calls)
	}
	f.has("what is no row", f.post("/admin/bedrock?do=delete", url.Values{"id": {"%zz"}, "name": {"x"}, "confirm": {"x"}}), 400, `role="alert"`)
	f = newCompatFake(t)
	const other = "kind=beta&model=%2A&name=files-api&route=%2A"
	f.reply["DELETE /api/compat/rows?"+other] = `404 {"error":"the operator has no row for this route, model, kind and name"}`
	f.has("no word", f.post("/admin/bedrock?do=bulk", url.Values{"ids": {fieldRow, other}}), 400, `role="alert"`)
	f.has("one of two", f.post("/admin/bedrock?do=bulk", url.Values{"ids": {fieldRow, other}, "confirm": {"delete"}}), 409, "no row for this route", "checked")
	if !f.asked("DELETE /api/compat/rows?" + fieldRow) {
		t.Errorf("%v", f.calls)
	}
	delete(f.reply, "DELETE /api/compat/rows?"+other)
	if w := f.post("/admin/bedrock?do=bulk", url.Values{"ids": {fieldRow, other}, "confirm": {"delete"}}); w.Code != 303 || !strings.Contains(w.Header().Get("Location"), "done=compat.bulk&done=2") {
		t.Errorf("%d %s", w.Code, w.Header().Get("Location"))
	}
}

// TestCompatRowRoundTrip: a row goes back as it came where nothing was typed.
func TestCompatRowRoundTrip(t *testing.T) {
	var r compatRow
	if err := json.Unmarshal([]byte(`{"name":"n","later":[1]}`), &r); err != nil || string(r.raw) != `{"name":"n","later":[1]}` || r.Name != "n" {
		t.Errorf("%v %s", err, r.raw)
	}
	if err := json.Unmarshal([]byte(`{"name":1}`), &r); err == nil {
		t.Error("a number is a name")
	}
}
