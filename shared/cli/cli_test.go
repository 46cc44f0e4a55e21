package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/cli"
)

const adminKey = "my-secure-admin-key"

// api is a gateway that answers with what a test says, and keeps what it was asked.
type api struct {
	t       *testing.T
	url     string
	mu      sync.Mutex
	calls   []string          // method, address, body
	answers map[string]string // by method and path; "STATUS body" where it is none of success
}

func newAPI(t *testing.T, answers map[string]string) *api {
	t.Helper()
	a := &api{t: t, answers: answers}
	s := httptest.NewServer(a)
	t.Cleanup(s.Close)
	a.url = s.URL
	return a
}

// ServeHTTP implements http.Handler.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		a.t.Error(err)
	}
	a.mu.Lock()
	a.calls = append(a.calls, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)))
	answer, ok := a.answers[r.Method+" "+r.URL.Path]
	a.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+adminKey {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":"unauthorized"}`)
		return
	}
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"error":"no such endpoint"}`)
		return
	}
	for prefix, status := range map[string]int{"429 ": 429, "500 ": 500, "302 ": 302, "403 ": 403} {
		if rest, is := strings.CutPrefix(answer, prefix); is {
			w.Header().Set("Retry-After", "7")
			w.Header().Set("Location", "https://elsewhere.example/admin")
			w.WriteHeader(status)
			answer = rest
		}
	}
	_, _ = io.WriteString(w, answer)
}

func (a *api) asked() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls
}

// world is where a command runs.
type world struct {
	stdin string
	vars  map[string]string
}

func (a *api) vars() map[string]string {
	return map[string]string{"SLUICE_URL": a.url, "SLUICE_ADMIN_KEY": adminKey}
}

func (w world) run(args ...string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	err = cli.Run(cli.Env{Stdin: strings.NewReader(w.stdin), Stdout: &out, Stderr: &errs, Vars: w.vars,
		Now: func() time.Time { return time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC) },
		Local: func(context.Context, cli.Need, io.Writer) (cli.Target, func() error, error) {
			return cli.Target{}, nil, errors.New("no gateway here")
		},
		Words: map[string][]string{"serve": {"--port"}, "store copy": nil}}, args)
	return out.String(), errs.String(), err
}

// TestCalls: what each command asks the API for.
func TestCalls(t *testing.T) {
	ok := map[string]string{"GET /api/usage/summary": `{"summaries":[]}`, "GET /api/usage/logs": `{"logs":[],"next_cursor":""}`, "GET /api/usage/export": "a,b\n1,2\n",
		"GET /admin/api/keys": `{"keys":[]}`, "POST /admin/api/keys": `{"id":"4","account_id":"default","key":"sluice_secret"}`, "PUT /admin/api/keys": `{}`, "DELETE /admin/api/keys": `{}`,
		"POST /admin/api/keys/rotate": `{"id":"4","key":"sluice_new"}`, "GET /admin/api/nodes": `{"nodes":[]}`, "POST /admin/api/nodes": `{"id":"7"}`, "PUT /admin/api/nodes": `{}`,
		"DELETE /admin/api/nodes": `{}`, "POST /admin/api/nodes/enable": `{}`, "POST /admin/api/nodes/disable": `{}`, "POST /admin/api/nodes/activate": `{}`,
		"POST /admin/api/nodes/check": `{"id":"7","success":true,"state":"online"}`, "GET /api/nodes/7/health-history": `{"total":0,"checks":[]}`,
		"GET /admin/api/accounts": `{"accounts":[]}`, "POST /admin/api/accounts": `{"id":"acc-1","proxy_api_key":"made"}`, "PUT /admin/api/accounts": `{}`, "DELETE /admin/api/accounts": `{}`}
	for _, c := range []struct {
		args  string
		stdin string
		want  string // the first call
	}{
		{"usage", "", "GET /api/usage/summary?group_by=model"},
		{"usage --by total", "", "GET /api/usage/summary"},
		{"usage --by day --last 7d --account a", "", "GET /api/usage/summary?account_id=a&from=2026-03-07T12%3A00%3A00Z&group_by=day"},
		{"usage --from 2026-03-01 --to 2026-03-02T06:00 --zone Asia/Shanghai", "", "GET /api/usage/summary?from=2026-02-28T16%3A00%3A00Z&group_by=model&time_zone=Asia%2FShanghai&to=2026-03-01T22%3A00%3A00Z"},
		{"usage --by session --top 5 --failed --model m --node 1 --key 2 --agent x --session y", "", "GET /api/usage/summary?agent_id=x&failed=true&group_by=session&key_id=2&model_id=m&node_id=1&session_id=y&top=5"},
		{"usage --format csv", "", "GET /api/usage/export?format=csv&group_by=model&what=summary"},
		{"usage --format jsonl --logs", "", "GET /api/usage/export?format=jsonl&what=logs"},
		{"logs --failed --limit 5", "", "GET /api/usage/logs?failed=true&limit=5"},
		{"top --by node --window 1m --account a --json", "", "GET /api/usage/logs?limit=1"},
		{"keys list --account a", "", "GET /admin/api/keys?account_id=a"},
		{"keys create --account a --name ci --rpm 5 --usd-day 2.50 --models a,b* --cidr 192.0.2.0/24 --admin", "", `POST /admin/api/keys?account_id=a {"is_admin":true,"models":["a","b*"],"name":"ci","networks":["192.0.2.0/24"],"requests_per_minute":5,"usd_per_day":"2.50"}`},
		{"keys update 4 --rpm 0 --expires=", "", `PUT /admin/api/keys?id=4 {"expires_at":"","requests_per_minute":0}`},
		{"keys update --revoked=false 4", "", `PUT /admin/api/keys?id=4 {"revoked":false}`},
		{"keys rotate 4 --overlap 1h", "", `POST /admin/api/keys/rotate?id=4 {"overlap":3600}`},
		{"keys revoke 4 --yes", "", `PUT /admin/api/keys?id=4 {"revoked":true}`},
		{"keys delete --yes 4", "", "DELETE /admin/api/keys?id=4"},
		{"nodes list", "", "GET /admin/api/nodes"},
		{"nodes add --base-url https://a.example --api-key - --weight 2 --model-map x=y --rpm 3", "sk-1\n", `POST /admin/api/nodes {"api_key":"sk-1","base_url":"https://a.example","limits":{"requests_per_minute":3},"model_map":{"x":"y"},"weight":2}`},
		{"nodes add --kind amazonq --refresh-token - --client-secret - --client-id c", "one\ntwo\n", `POST /admin/api/nodes {"client_id":"c","client_secret":"two","kind":"amazonq","refresh_token":"one"}`},
		{"nodes add --kind bedrock --region eu-west-1 --api-key -", "key-1\n", `POST /admin/api/nodes {"api_key":"key-1","kind":"bedrock","region":"eu-west-1"}`},
		{"nodes add --kind bedrock --region us-east-1 --api invoke --access-key-id A --secret-access-key - --session-token - --role-arn R --external-id E --role-session-name N", "one\ntwo\n",
			`POST /admin/api/nodes {"access_key_id":"A","api":"invoke","external_id":"E","kind":"bedrock","region":"us-east-1","role_arn":"R","role_session_name":"N","secret_access_key":"one","session_token":"two"}`},
		{"nodes add --kind bedrock --base-url https://b.example --default-chain --workspace-id W --profile P", "", `POST /admin/api/nodes {"base_url":"https://b.example","default_chain":true,"kind":"bedrock","profile":"P","workspace_id":"W"}`},
		{"nodes update 7 --admin-key - --api-key -", adminKey + "\nsk-1\n", `PUT /admin/api/nodes?id=7 {"api_key":"sk-1"}`},
		{"nodes update 7 --api-key= --models=", "", `PUT /admin/api/nodes?id=7 {"api_key":"","models":[]}`},
		{"nodes enable 7", "", `POST /admin/api/nodes/enable {"id":"7"}`},
		{"nodes disable 7", "", `POST /admin/api/nodes/disable {"id":"7"}`},
		{"nodes activate 7", "", `POST /admin/api/nodes/activate {"id":"7"}`},
		{"nodes activate", "", `POST /admin/api/nodes/activate {"id":""}`},
		{"nodes delete 7 --yes", "", "DELETE /admin/api/nodes?id=7"},
		{"nodes check 7", "", "POST /admin/api/nodes/check?id=7"},
		{"nodes health 7 --last 1h --limit 9", "", "GET /api/nodes/7/health-history?from=2026-03-14T11%3A00%3A00Z&limit=9"},
		{"accounts list", "", "GET /admin/api/accounts"},
		{"accounts create team --password - --rpm 3 --model-map a=b", "secret\n", `POST /admin/api/accounts {"limits":{"requests_per_minute":3},"model_map":{"a":"b"},"name":"team","password":"secret"}`},
		{"accounts update acc-1 --name x", "", `PUT /admin/api/accounts?id=acc-1 {"name":"x"}`},
		{"accounts delete acc-1 --yes", "", "DELETE /admin/api/accounts?id=acc-1"},
	} {
		a := newAPI(t, ok)
		_, stderr, err := world{c.stdin, a.vars()}.run(strings.Fields(c.args)...)
		if calls := a.asked(); err != nil || len(calls) == 0 || calls[0] != c.want {
			t.Errorf("sluice %s\nasked %q (%v)\nwant  %q", c.args, calls, err, c.want)
		}
		if strings.Contains(stderr, "sk-1") {
			t.Errorf("sluice %s shows a secret: %s", c.args, stderr)
		}
	}
}

// TestWrongCalls: each mistake has its exit code, names the remedy, and asks the gateway nothing.
func TestWrongCalls(t *testing.T) {
	for _, c := range []struct {
		why, args, stdin string
		says             string
	}{
		{"no second word", "keys", "", "list, create, update"},
		{"an unknown one", "nodes frobnicate", "", `unknown command "nodes frobnicate"`},
		{"an unknown flag", "nodes list --colour", "", "--help"},
		{"too many arguments", "nodes list 3", "", "sluice nodes list --help"},
		{"an argument is missing", "keys delete --yes", "", "sluice keys delete ID"},
		{"an id that walks", "nodes health ../../etc", "", "is no id"},
		{"an id that steers the terminal", "nodes check \x1b[2J", "", `"[2J" is no id`},
		{"a grouping there is none of", "usage --by colour", "", "must be one of total, model"},
		{"a bad span", "usage --last yesterday", "", "such as 30m, 24h, 7d"},
		{"a span below nothing", "usage --last -1h", "", "such as 30m"},
		{"two windows", "usage --last 7d --from 2026-01-01", "", "cannot stand beside"},
		{"a bad time", "usage --from someday", "", "a date such as 2026-01-31"},
		{"a bad zone", "usage --zone Mars/Base", "", "Europe/Berlin"},
		{"an export without a format", "usage -o x", "", "--format csv"},
		{"logs as a table", "usage --logs", "", "--format csv"},
		{"a limit out of bounds", "logs --limit 0", "", "1 to 1000"},
		{"follow to an end", "logs --follow --to 2026-01-01", "", "--follow"},
		{"too fast", "top --every 1ms", "", "500ms"},
		{"a window of nothing", "top --window 1s", "", "10s to 24h"},
		{"nothing to change", "keys update 4", "", "nothing to change"},
		{"a secret in the command line", "nodes add --base-url https://x --api-key sk-ant-hunter2", "", "standard input"},
		{"a secret that is not there", "nodes add --base-url https://x --api-key -", "", "nothing was given"},
		{"an admin key in the command line", "nodes list --url https://x --admin-key hunter2", "", "standard input"},
		{"a node without an address", "nodes add --name x", "", "--base-url is needed"},
		{"a map that is none", "nodes update 7 --model-map x", "", "NAME=NAME"},
		{"deleting without a yes", "nodes delete 7", "", "give --yes"},
		{"revoking without a yes", "keys revoke 4", "y\n", "give --yes"},
		{"rotating at once without a yes", "keys rotate 4", "", "give --yes"},
		{"an address of another kind", "nodes list --url ftp://x", "", "https://gateway.example.com"},
		{"an address with a password", "nodes list --url https://u:hunter2@x", "", "https://gateway.example.com"},
		{"an unknown shell", "completion tcsh", "", "bash, zsh or fish"},
	} {
		a := newAPI(t, nil)
		stdout, stderr, err := world{c.stdin, a.vars()}.run(strings.Fields(c.args)...)
		if cli.ExitCode(err) != cli.ExitUsage || !strings.Contains(err.Error(), c.says) || len(a.asked()) > 0 || stdout != "" {
			t.Errorf("%s: %v (exit code %d), asked %q, printed %q; want %q", c.why, err, cli.ExitCode(err), a.asked(), stdout, c.says)
		}
		if err != nil && strings.Contains(err.Error()+stderr, "hunter2") {
			t.Errorf("%s: a secret is told: %v", c.why, err)
		}
	}
}

// TestRefusals: what the gateway refuses is told with the remedy, and steers no terminal.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		why, answer string
		vars        func(*api) map[string]string
		says        []string
	}{
		{"a wrong key", `{"nodes":[]}`, func(a *api) map[string]string {
			return map[string]string{"SLUICE_URL": a.url, "SLUICE_ADMIN_KEY": "wrong"}
		}, []string{"401", "SLUICE_ADMIN_KEY"}},
		{"no key", `{"nodes":[]}`, func(a *api) map[string]string { return map[string]string{"SLUICE_URL": a.url} }, []string{"set SLUICE_ADMIN_KEY", "--admin-key -"}},
		{"a key with a line break", `{"nodes":[]}`, func(a *api) map[string]string {
			return map[string]string{"SLUICE_URL": a.url, "SLUICE_ADMIN_KEY": "a\nb"}
		}, []string{"characters that no key has"}},
		{"no gateway", "", func(*api) map[string]string {
			return map[string]string{"SLUICE_URL": "http://127.0.0.1:1", "SLUICE_ADMIN_KEY": "k"}
		}, []string{"no gateway answers at http://127.0.0.1:1", "--url"}},
		{"another program", "<html>hello</html>", (*api).vars, []string{"no JSON", "Sluice gateway"}},
		{"another shape", `{"nodes":{"a":1}}`, (*api).vars, []string{"not as documented", "version"}},
		{"too often", `429 {"error":"slow down"}`, (*api).vars, []string{"429: slow down", "in 7 seconds"}},
		{"elsewhere", `302 `, (*api).vars, []string{"302", "elsewhere.example"}},
		{"not allowed", `403 {"error":"forbidden"}`, (*api).vars, []string{"403: forbidden", "use an admin key"}},
		{"an error that steers", "500 {\"error\":\"\\u001b[2J\\u001b]0;x\\u0007broken\"}", (*api).vars, []string{"500: [2J]0;xbroken"}},
		{"an error of another form", `500 {"type":"error","error":{"message":"inner"}}`, (*api).vars, []string{"500: inner"}},
	} {
		a := newAPI(t, map[string]string{"GET /admin/api/nodes": c.answer})
		stdout, _, err := world{"", c.vars(a)}.run("nodes", "list")
		if cli.ExitCode(err) != cli.ExitError || stdout != "" {
			t.Errorf("%s: %v, printed %q", c.why, err, stdout)
			continue
		}
		for _, s := range c.says {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%s: %v does not say %q", c.why, err, s)
			}
		}
		if strings.ContainsAny(err.Error(), "\x1b\x07") {
			t.Errorf("%s: %q steers the terminal", c.why, err)
		}
	}
}

// TestTables: names of elsewhere are aligned by their width and steer nothing.
func TestTables(t *testing.T) {
	hostile := "\x1b[31mred\x1b]0;title\x07\u009b2J\u202egnp\u200b"
	nodes, err := json.Marshal(map[string]any{"nodes": []map[string]any{
		{"id": "1", "name": "主节点", "kind": "openai", "state": "online", "weight": 1, "base_url": "https://a.example"},
		{"id": "2", "name": hostile, "kind": "openai", "state": "failed", "weight": 10, "last_error": "two\nlines"},
		{"id": "3", "name": "e\u0301te\u0301", "kind": "openai", "state": "online", "weight": 1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	a := newAPI(t, map[string]string{"GET /admin/api/nodes": string(nodes)})
	stdout, _, err := world{"", a.vars()}.run("nodes", "list")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"\x1b", "\x07", "\u009b", "\u202e", "\u200b"} {
		if strings.Contains(stdout, bad) {
			t.Errorf("%q reaches the terminal", bad)
		}
	}
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if len(lines) != 4 || strings.Contains(lines[0], "\x1b") {
		t.Fatalf("%d lines, want a title and three nodes:\n%s", len(lines), stdout)
	}
	wide := map[rune]int{'主': 2, '节': 2, '点': 2, '\u0301': 0}
	var at []int
	for _, l := range lines[1:] {
		n := 0
		for _, r := range l[:strings.Index(l, "openai")] {
			if w, ok := wide[r]; ok {
				n += w
			} else {
				n++
			}
		}
		at = append(at, n)
	}
	if at[0] != at[1] || at[1] != at[2] {
		t.Errorf("the third column begins at %v:\n%s", at, stdout)
	}
	raw, _, err := world{"", a.vars()}.run("nodes", "list", "--json")
	if err != nil || raw != string(nodes)+"\n" {
		t.Errorf("--json: %v, %q is not the answer as it is", err, raw)
	}
}

// TestUsageTable: sums, their names and their total; what has no price is not free.
func TestUsageTable(t *testing.T) {
	a := newAPI(t, map[string]string{"GET /api/usage/summary": `{"summaries":[
		{"node_id":"1","total_requests":1500,"success_requests":1500,"total_input_tokens":1000,"cache_read_tokens":250,"total_output_tokens":20,"total_cost_usd":1.5,"unpriced_requests":0,
		 "first_byte_ms":{"p50":120,"p95":1500},"total_ms":{"p50":900,"p95":61000}},
		{"node_id":"2","total_requests":10,"success_requests":1,"total_input_tokens":5,"total_output_tokens":1,"total_cost_usd":null,"unpriced_requests":10,"first_byte_ms":null,"total_ms":null},
		{"others":3,"total_requests":2,"success_requests":2,"total_cost_usd":0.000021}]}`,
		"GET /admin/api/nodes": `{"nodes":[{"id":"1","name":"main"},{"id":"2","name":"2"}]}`})
	stdout, stderr, err := world{"", a.vars()}.run("usage", "--by", "node")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for l := range strings.Lines(stdout) {
		got = append(got, strings.Join(strings.Fields(l), " "))
	}
	want := []string{"NODE REQUESTS SUCCESS INPUT CACHED OUTPUT COST FIRST p50 p95 TOTAL p50 p95",
		"1 main 1,500 100.0% 1,000 25.0% 20 $1.50 120ms 1.5s 900ms 1m1s",
		"2 10 10.0% 5 0.0% 1 - - - - -",
		"3 others 2 100.0% 0 - 0 $0.000021 - - - -",
		"all 1,512 99.4% 1,005 24.8% 21 $1.50+ - - - -"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("printed\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !strings.Contains(stderr, "10 requests have no price") {
		t.Errorf("said %q", stderr)
	}
}

// TestLogs: the newest entry stands last, as in a log.
func TestLogs(t *testing.T) {
	a := newAPI(t, map[string]string{"GET /api/usage/logs": `{"logs":[
		{"id":"b","model_id":"m","node_name":"n","status":502,"error_code":"upstream_error","attempts":3,"total_ms":10,"created_at":"2026-03-14T11:00:01Z"},
		{"id":"a","model_id":"m","node_name":"n","status":200,"success":true,"estimated":true,"output_tokens":7,"attempts":1,"cost_usd":0.5,"total_ms":10,"created_at":"2026-03-14T11:00:00Z"}],"next_cursor":"x"}`})
	stdout, _, err := world{"", a.vars()}.run("logs")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if err != nil || len(lines) != 3 || !strings.Contains(lines[1], " 200 ") || !strings.Contains(lines[1], "~7") || !strings.Contains(lines[2], "upstream_error") {
		t.Errorf("%v:\n%s", err, stdout)
	}
}

// TestKeysArePrintedAlone: so that they can be put into a variable, and only once.
func TestKeysArePrintedAlone(t *testing.T) {
	a := newAPI(t, map[string]string{"POST /admin/api/keys": `{"id":"4","account_id":"default","key":"sluice_secret"}`,
		"POST /admin/api/accounts": `{"id":"acc-1","proxy_api_key":"given-or-made"}`})
	w := world{"given-or-made\n", a.vars()}
	if stdout, stderr, err := w.run("keys", "create"); err != nil || stdout != "sluice_secret\n" || strings.Contains(stderr, "secret") || !strings.Contains(stderr, "this once") {
		t.Errorf("%v, %q, %q", err, stdout, stderr)
	}
	if stdout, _, err := w.run("accounts", "create", "x"); err != nil || stdout != "given-or-made\n" {
		t.Errorf("an account whose key is made: %v, %q", err, stdout)
	}
	if stdout, stderr, err := w.run("accounts", "create", "x", "--proxy-api-key", "-"); err != nil || strings.Contains(stdout+stderr, "given-or-made") {
		t.Errorf("a key that was given is told: %v, %q, %q", err, stdout, stderr)
	}
}

// TestCheckFails: a script sees by the exit code that a node is not well.
func TestCheckFails(t *testing.T) {
	a := newAPI(t, map[string]string{"POST /admin/api/nodes/check": `{"id":"7","success":false,"state":"failed","error_message":"status 500"}`})
	stdout, _, err := world{"", a.vars()}.run("nodes", "check", "7")
	if cli.ExitCode(err) != cli.ExitError || !strings.Contains(err.Error(), "node 7 is not well: status 500") || !strings.Contains(stdout, "failed") {
		t.Errorf("%v, %q", err, stdout)
	}
}

// TestExportToFile: half an export is no file.
func TestExportToFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "u.csv")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	var cutOff bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "a,b\n1,2\n")
		if cutOff {
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	}))
	defer s.Close()
	w := world{"", map[string]string{"SLUICE_URL": s.URL, "SLUICE_ADMIN_KEY": "k"}}
	for _, c := range []struct {
		cut  bool
		want string
	}{{true, "old"}, {false, "a,b\n1,2\n"}} {
		cutOff = c.cut
		_, _, err := w.run("usage", "--format", "csv", "-o", path)
		data, rerr := os.ReadFile(path)
		if (err != nil) != c.cut || rerr != nil || string(data) != c.want {
			t.Errorf("broken off: %v: %v, the file has %q, %v", c.cut, err, data, rerr)
		}
		if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
			t.Errorf("broken off: %v: it left %v", c.cut, files)
		}
	}
	cutOff = true
	if _, _, err := w.run("usage", "--format", "csv"); err == nil || !strings.Contains(err.Error(), "not complete") {
		t.Errorf("an export that broke off passes for a whole one: %v", err)
	}
}

// TestExportInParts: where the gateway refuses one piece, the parts are read as one, with one line of titles.
func TestExportInParts(t *testing.T) {
	same := false
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Get("limit") == "" {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			_, _ = io.WriteString(w, `{"error":"too large"}`)
			return
		}
		next := map[string]string{"": "c1", "c1": "c2"}[q.Get("cursor")]
		if same && next == "" {
			next = q.Get("cursor")
		}
		if next != "" {
			w.Header().Set("X-Next-Cursor", next)
		}
		if q.Get("format") == "csv" {
			_, _ = io.WriteString(w, "id\n")
		}
		_, _ = io.WriteString(w, "row"+q.Get("cursor")+"\n")
	}))
	defer s.Close()
	w := world{"", map[string]string{"SLUICE_URL": s.URL, "SLUICE_ADMIN_KEY": "k"}}
	for format, want := range map[string]string{"csv": "id\nrow\nrowc1\nrowc2\n", "jsonl": "row\nrowc1\nrowc2\n"} {
		if stdout, _, err := w.run("usage", "--logs", "--format", format); err != nil || stdout != want {
			t.Errorf("%s: %v, %q, want %q", format, err, stdout, want)
		}
	}
	if _, _, err := w.run("usage", "--logs", "--format", "json"); err == nil || !strings.Contains(err.Error(), "--format jsonl") {
		t.Errorf("json cannot be joined: %v", err)
	}
	same = true
	if _, _, err := w.run("usage", "--logs", "--format", "csv"); err == nil || !strings.Contains(err.Error(), "same cursor") {
		t.Errorf("a gateway that goes in circles: %v", err)
	}
}

// TestComplete: words, flags, their values and ids; nothing that would do something in a shell's line.
func TestComplete(t *testing.T) {
	a := newAPI(t, map[string]string{"GET /admin/api/nodes": `{"nodes":[{"id":"1","name":"main\u001b[2J"},{"id":"2","name":"x"},{"id":"$(reboot)","name":"x"},{"id":"-rf","name":"x"}]}`,
		"GET /admin/api/keys": `{"keys":[]}`, "GET /admin/api/accounts": `{"accounts":[{"id":"default","name":"default"}]}`})
	for _, c := range []struct {
		words []string
		want  string // the words, with spaces between
	}{
		{[]string{"s"}, "serve store"},
		{[]string{"nodes", ""}, "activate add check delete disable enable health list update"},
		{[]string{"store", "c"}, "copy"},
		{[]string{"serve", "--"}, "--port"},
		{[]string{"keys", "ro"}, "rotate"},
		{[]string{"keys", "delete", "--y"}, "--yes"},
		{[]string{"usage", "--by", "m"}, "model month"},
		{[]string{"usage", "--by=m"}, "--by=model --by=month"},
		{[]string{"usage", "--by", "=", "m"}, "model month"},
		{[]string{"nodes", "add", "--kind", ""}, "anthropic openai bedrock amazonq"},
		{[]string{"nodes", "check", ""}, "1 2"},
		{[]string{"nodes", "check", "--json", ""}, "1 2"},
		{[]string{"usage", "--account", "d"}, "default"},
		{[]string{"completion", ""}, "bash zsh fish"},
		{[]string{"frobnicate", ""}, ""},
		{nil, "accounts completion keys logs nodes serve store top usage"},
	} {
		stdout, stderr, err := world{"", a.vars()}.run(append([]string{"__complete"}, c.words...)...)
		var got []string
		for l := range strings.Lines(stdout) {
			word, _, _ := strings.Cut(strings.TrimSpace(l), "\t")
			got = append(got, word)
		}
		if err != nil || stderr != "" || strings.Join(got, " ") != c.want || strings.Contains(stdout, "\x1b") {
			t.Errorf("%q: %v, %q %q, want %q", c.words, err, stdout, stderr, c.want)
		}
	}
	if stdout, stderr, err := (world{"", map[string]string{"SLUICE_URL": "http://127.0.0.1:1", "SLUICE_ADMIN_KEY": "k"}}).run("__complete", "nodes", "check", ""); err != nil || stdout+stderr != "" {
		t.Errorf("without a gateway: %v %q %q", err, stdout, stderr)
	}
}

// FuzzComplete: whatever stands in a line, completion does not fail.
func FuzzComplete(f *testing.F) {
	for _, s := range []string{"nodes check ", "usage --by = m", "= =", "--", "nodes --account", "usage --by="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if _, _, err := (world{}).run(append([]string{"__complete"}, strings.Split(line, " ")...)...); err != nil {
			t.Errorf("%q: %v", line, err)
		}
	})
}
