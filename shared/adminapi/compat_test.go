package adminapi_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"sluice/shared/core"
	"sluice/shared/store"
)

const (
	newRow    = `{"route":"*","model":"*","kind":"beta","name":"new-flag-2027-01-01","action":"keep","evidence":"asked AWS, 2027-01-02"}`
	newRowKey = "route=*&model=*&kind=beta&name=new-flag-2027-01-01"
)

// compatRows are the rows of a listing, and the operator's of them.
func compatRows(t *testing.T, a *answer) (all, own []map[string]any) {
	t.Helper()
	var out struct{ Rows []map[string]any }
	if err := json.Unmarshal([]byte(a.body), &out); err != nil {
		t.Fatal(err)
	}
	for _, r := range out.Rows {
		if r["source"] == "operator" {
			own = append(own, r)
		}
	}
	return out.Rows, own
}

// TestCompat: the operator's rows are laid over the built-in ones, by administrators only.
func TestCompat(t *testing.T) {
	p := newPool(t, nil)
	tenant := p.key(core.DefaultAccount, `{"name":"own","nodes":true}`)
	const row = `{"rows":[` + newRow + `]}`
	for _, method := range []string{"GET", "PUT"} {
		if a := p.call(method, "/api/compat", row, "x-api-key", tenant); a.status != 403 || !strings.Contains(a.body, "administrator") {
			t.Errorf("%s by a tenant: %d %s", method, a.status, a.body)
		}
	}
	rows := func(a *answer) (n int, mine map[string]any) {
		t.Helper()
		all, own := compatRows(t, a)
		if len(own) > 0 {
			mine = own[0]
		}
		return len(all), mine
	}
	before, mine := rows(p.want(200, "GET", "/api/compat", ""))
	if before < 20 || mine != nil {
		t.Fatalf("%d rows, %v", before, mine)
	}
	found := p.since(func() { p.want(200, "PUT", "/api/compat", row) })
	if len(found) != 1 || found[0].Action != "compat.update" || found[0].Result != "ok" {
		t.Errorf("the log has %+v", found)
	}
	listed := p.want(200, "GET", "/api/compat", "")
	if n, mine := rows(listed); n != before+1 || mine["name"] != "new-flag-2027-01-01" {
		t.Errorf("%d rows, %v", n, mine)
	}
	if n, mine := rows(p.want(200, "PUT", "/api/compat", listed.body)); n != before+1 || mine == nil {
		t.Errorf("a listing sent back: %d rows, %v", n, mine)
	}
	for _, c := range []struct{ why, body, has string }{
		{"no JSON", `{"rows":`, ""},
		{"no document", "", `{\"rows\":[]}`},
		{"an unknown kind", `{"rows":[{"route":"*","model":"*","kind":"colour","name":"x","action":"keep","evidence":"e"}]}`, "kind"},
		{"no evidence", `{"rows":[{"route":"*","model":"*","kind":"beta","name":"x","action":"keep"}]}`, "evidence"},
	} {
		if a := p.call("PUT", "/api/compat", c.body, "x-admin-key", poolAdmin); a.status != 400 || !strings.Contains(a.body, c.has) {
			t.Errorf("%s: %d %s", c.why, a.status, a.body)
		}
	}
	if n, mine := rows(p.want(200, "PUT", "/api/compat", `{"rows":[]}`)); n != before || mine != nil {
		t.Errorf("no rows any more: %d, %v", n, mine)
	}
}

// TestCompatRows: one row of the operator's is added, changed and taken away, and the others stay as they are.
func TestCompatRows(t *testing.T) {
	p := newPool(t, nil)
	const path = "/api/compat/rows"
	const field = `{"route":"invoke","model":"claude-*","kind":"field","name":"container","action":"drop","unless":["a-flag"],"evidence":"400, 2027"}`
	const builtin = `{"route":"*","model":"*","kind":"beta","name":"files-api-2025-04-14","action":"keep","evidence":"release notes, 2027","source":"built-in","replaces":true}`
	const builtinKey = "route=*&model=*&kind=beta&name=files-api-2025-04-14"
	all, _ := compatRows(t, p.want(200, "GET", "/api/compat", ""))
	before := len(all)
	p.want(200, "POST", path, newRow)
	p.want(200, "POST", path, field)
	all, own := compatRows(t, p.want(200, "POST", path, builtin)) // as a listing has it: it becomes the operator's
	if len(all) != before+2 || len(own) != 3 || own[2]["replaces"] != true || own[2]["action"] != "keep" {
		t.Errorf("%d rows, of before %d; %v", len(all), before, own)
	}
	_, own = compatRows(t, p.want(200, "PUT", path+"?"+newRowKey, strings.Replace(newRow, "new-flag", "newer-flag", 1)))
	if len(own) != 3 || own[0]["name"] != "newer-flag-2027-01-01" || own[1]["unless"].([]any)[0] != "a-flag" {
		t.Errorf("changed: %v", own)
	}
	for _, c := range []struct {
		why, method, query, body string
		status                   int
		said                     string
	}{
		{"it has another name now", "PUT", "?" + newRowKey, newRow, 404, "no row for this"},
		{"taken away, likewise", "DELETE", "?" + newRowKey, "", 404, "no row for this"},
		{"a built-in row is nobody's to take away", "DELETE", "?route=*&model=*&kind=beta&name=pdfs-2024-09-25", "", 404, "no row for this"},
		{"there is one", "POST", "", field, 409, "name: the operator has a row"},
		{"in the place of another", "PUT", "?" + builtinKey, field, 409, "name: the operator has a row"},
		{"at its field: evidence", "POST", "", strings.Replace(newRow, "asked AWS, 2027-01-02", "", 1), 400, "evidence: is missing"},
		{"at its field: kind", "POST", "", strings.Replace(newRow, `"beta"`, `"colour"`, 1), 400, "kind: "},
		{"at its field: action", "POST", "", strings.Replace(newRow, `"keep"`, `"hide"`, 1), 400, "action: "},
		{"at its field: name", "POST", "", strings.Replace(field, `"container"`, `"a..b"`, 1), 400, "name: "},
		{"at its field: message", "POST", "", strings.Replace(field, `"drop"`, `"refuse"`, 1), 400, "message: is missing"},
		{"at its field: to", "POST", "", strings.Replace(newRow, `"keep"`, `"rename"`, 1), 400, "to: "},
		{"at its field: unless", "POST", "", strings.Replace(field, `"a-flag"`, `"a flag"`, 1), 400, "unless: "},
		{"at its field: to, with another", "POST", "", strings.Replace(field, `"drop","unless":["a-flag"]`, `"rename","to":"container.id"`, 1), 400, "to: to and the name"},
		{"at its field: when", "POST", "", strings.Replace(newRow, `"evidence"`, `"when":["x"],"evidence"`, 1), 400, "when: "},
		{"a member that no row has", "POST", "", strings.Replace(newRow, `"route"`, `"rout"`, 1), 400, "rout"},
		{"two rows in one", "POST", "", newRow + "," + field, 400, "JSON"},
		{"a document", "POST", "", `{"rows":[]}`, 400, ""},
		{"nothing", "POST", "", "", 400, "JSON"},
		{"null", "POST", "", "null", 400, "JSON"},
	} {
		if a := p.call(c.method, path+c.query, c.body, "x-admin-key", poolAdmin); a.status != c.status || !strings.Contains(a.body, c.said) {
			t.Errorf("%s: %d %s, want %d %q", c.why, a.status, a.body, c.status, c.said)
		}
	}
	p.want(200, "DELETE", path+"?"+builtinKey, "")
	all, own = compatRows(t, p.want(200, "DELETE", path+"?route=invoke&model=claude-*&kind=field&name=container", ""))
	if len(all) != before+1 || len(own) != 1 {
		t.Errorf("%d rows, of before %d; %v", len(all), before, own)
	}
	// rows that differ by their conditions alone are two, in whatever order these are
	const low, high = `{"route":"*","model":"*","kind":"field","name":"thinking","action":"drop","when":["thinking.type=a","thinking.x!=b"],"evidence":"e"}`, `{"route":"*","model":"*","kind":"field","name":"thinking","action":"drop","when":["thinking.type=c"],"evidence":"e"}`
	const thinking = "?route=*&model=*&kind=field&name=thinking"
	p.want(200, "POST", path, low)
	p.want(200, "POST", path, high)
	p.want(404, "DELETE", path+thinking, "")
	p.want(200, "PUT", path+thinking+"&when=thinking.x!%3Db&when=thinking.type%3Da", strings.Replace(low, `"e"`, `"another"`, 1))
	if _, own = compatRows(t, p.want(200, "DELETE", path+thinking+"&when=thinking.type%3Dc", "")); len(own) != 2 || own[1]["evidence"] != "another" {
		t.Errorf("with conditions: %v", own)
	}
	tenant := p.key(core.DefaultAccount, `{"name":"own","nodes":true}`)
	for _, c := range [][2]string{{"POST", path}, {"PUT", path + "?" + newRowKey}, {"DELETE", path + "?route=*&model=*&kind=beta&name=newer-flag-2027-01-01"}} {
		if a := p.call(c[0], c[1], newRow, "x-api-key", tenant); a.status != 403 || !strings.Contains(a.body, "administrator") {
			t.Errorf("%s by a tenant: %d %s", c[0], a.status, a.body)
		}
	}
}

// TestCompatRowsAtOnce: nobody's row is lost when many are added at once.
func TestCompatRowsAtOnce(t *testing.T) {
	p := newPool(t, nil)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if a := p.call("POST", "/api/compat/rows", strings.Replace(newRow, "new-flag", fmt.Sprintf("flag-%d", i), 1), "x-admin-key", poolAdmin); a.status != 200 {
				t.Errorf("%d: %d %s", i, a.status, a.body)
			}
		})
	}
	wg.Wait()
	if _, own := compatRows(t, p.want(200, "GET", "/api/compat", "")); len(own) != 8 {
		t.Errorf("%d rows: %v", len(own), own)
	}
}

// TestCompatUnreadable: one row does not wipe others that this version cannot read; a whole table takes their place.
func TestCompatUnreadable(t *testing.T) {
	p := newPool(t, nil)
	if _, err := p.tables.Metas.Upsert(t.Context(), "bedrock_compat", func(m *store.MetaValue) error {
		m.ID, m.Data = "bedrock_compat", []byte(`{"rows":[{"later":1}]}`)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][3]string{{"GET", "/api/compat"}, {"POST", "/api/compat/rows", newRow}, {"PUT", "/api/compat/rows?" + newRowKey, newRow}, {"DELETE", "/api/compat/rows?" + newRowKey}} {
		if a := p.call(c[0], c[1], c[2], "x-admin-key", poolAdmin); a.status != 409 || !strings.Contains(a.body, "PUT /api/compat") || strings.Contains(a.body, "later") {
			t.Errorf("%v: %d %s", c, a.status, a.body)
		}
	}
	m, err := p.tables.Metas.Get(t.Context(), "bedrock_compat")
	if err != nil || !strings.Contains(string(m.Value.Data), "later") {
		t.Errorf("stored is %s, %v", m.Value.Data, err)
	}
	if _, own := compatRows(t, p.want(200, "PUT", "/api/compat", `{"rows":[`+newRow+`]}`)); len(own) != 1 {
		t.Errorf("%v", own)
	}
	p.want(200, "DELETE", "/api/compat/rows?"+newRowKey, "")
}

// TestCompatRowSpelling: members are those of a row in any spelling that the API takes, so that none makes a row one that is
// passed over.
func TestCompatRowSpelling(t *testing.T) {
	p := newPool(t, nil)
	for _, source := range []string{"source", "Source", "SOURCE", "\u017fource"} { // a long s, which a decoder folds, too
		row := strings.Replace(newRow, `{`, `{"`+source+`":"built-in","Replaces":true,`, 1)
		wrong := strings.Replace(row, `"beta"`, `"colour"`, 1)
		for _, c := range [][2]string{{"POST", "/api/compat/rows"}, {"PUT", "/api/compat/rows?" + newRowKey}} {
			if a := p.call(c[0], c[1], wrong, "x-admin-key", poolAdmin); a.status != 400 || !strings.Contains(a.body, "kind: ") {
				t.Errorf("%s, %s: %d %s", source, c[0], a.status, a.body)
			}
		}
		if _, own := compatRows(t, p.want(200, "POST", "/api/compat/rows", row)); len(own) != 1 {
			t.Errorf("%s: %v", source, own)
		}
		p.want(200, "DELETE", "/api/compat/rows?"+newRowKey, "")
	}
	upper := strings.NewReplacer(`"name"`, `"Name"`, `"kind"`, `"KIND"`).Replace(newRow)
	p.want(200, "POST", "/api/compat/rows", upper)
	p.want(409, "POST", "/api/compat/rows", newRow)
}
