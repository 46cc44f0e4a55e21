package adminui

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// nodeAPI is the admin API with nodes: what was sent to it is kept, and what it is told to refuse is refused.
type nodeAPI struct {
	me     string // of who is signed in
	nodes  string
	refuse map[string]string // by method and path, the error
	sent   []string          // method, address and body
	reply  map[string]string
}

func (a *nodeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if r.Method != http.MethodGet {
		a.sent = append(a.sent, r.Method+" "+r.URL.RequestURI()+" "+string(body))
	}
	if why, ok := a.refuse[r.Method+" "+r.URL.Path]; ok {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": why})
		return
	}
	switch r.URL.Path {
	case "/admin/api/me":
		_, _ = io.WriteString(w, a.me)
	case "/admin/api/accounts":
		_, _ = io.WriteString(w, `{"accounts":[{"id":"default","name":"default"},{"id":"acc-b","name":"Team B"}]}`)
	case nodesAPI:
		if r.Method == http.MethodGet {
			l := fakeLists()[nodesAPI]
			l.answer(w, r, rowsOf("nodes", a.nodes))
			return
		}
		_, _ = io.WriteString(w, `{"id":"9"}`)
	default:
		_, _ = io.WriteString(w, a.reply[r.Method+" "+r.URL.Path])
	}
}

const (
	adminMe  = `{"account_id":"default","account_name":"default","is_admin":true}`
	tenantMe = `{"account_id":"acc-b","account_name":"Team B"}`
	someMore = `{"nodes":[
 {"id":"1","account_id":"default","name":"<script>alert(1)</script>","kind":"anthropic","base_url":"https://a.example","has_api_key":true,"weight":1,"state":"online","health_check_method":"api","requests":10,"fail_count":1,"health_rate":90,"ping_ms":31},
 {"id":"2","account_id":"default","name":"b","kind":"openai","base_url":"https://b.example/v1","weight":1,"state":"login_needed","state_reason":"<i>why</i>","health_check_method":"head","wire":"both","model_map":{"x":"y"},"health_rate":100},
 {"id":"3","account_id":"default","name":"c","kind":"amazonq","weight":4,"state":"disabled","disabled":true,"active":true,"health_check_method":"api","health_rate":100,"limits":{"requests_per_minute":60},"model_map":{"q-in":"q-out"}}]}`
)

func askNodes(a *nodeAPI, method, target string, form url.Values, htmx string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if htmx != "" {
		r.Header.Set("HX-Request", "true")
		r.Header.Set("HX-Target", htmx)
	}
	w := httptest.NewRecorder()
	New(Options{API: a}).ServeHTTP(w, r)
	return w
}

// TestNodesPage: what is shown, to whom, and that names are text.
func TestNodesPage(t *testing.T) {
	for _, c := range []struct {
		why, me, nodes, target, htmx string
		status                       int
		has, lacks                   []string
	}{
		{"a list", adminMe, someMore, "/admin/nodes", "", 200, []string{"&lt;script&gt;alert(1)", "&lt;i&gt;why", "login needed", "31 ms", "90.0%", `data-row="3"`, `value="up"`, "Team B", "<!doctype html>"}, []string{"<script>alert", "<i>why"}},
		{"none yet", adminMe, `{"nodes":[]}`, "/admin/nodes", "", 200, []string{"No nodes yet"}, []string{"<table"}},
		{"a tenant chooses no account", tenantMe, someMore, "/admin/nodes", "", 200, []string{`data-row="1"`}, []string{`name="account_id"`}},
		{"those that fail", adminMe, someMore, "/admin/nodes?state=failed", "", 200, []string{`data-row="2"`}, []string{`data-row="1"`, `data-row="3"`, `value="up"`}},
		{"a search", adminMe, someMore, "/admin/nodes?q=b.example", "", 200, []string{`data-row="2"`}, []string{`data-row="1"`, `value="up"`}},
		{"another order cannot be dragged", adminMe, someMore, "/admin/nodes?sort=-name", "", 200, []string{`data-row="1"`}, []string{"data-handle"}},
		{"the live part alone", adminMe, someMore, "/admin/nodes", "div#live", 200, []string{`data-row="1"`}, []string{"<!doctype", `id="form"`}},
		{"the form of an Anthropic node", adminMe, someMore, "/admin/nodes?new=anthropic", "", 200, []string{`name="base_url"`, `name="api_key"`, "do=create"}, []string{`name="auth_header"`}},
		{"the form of an OpenAI node", adminMe, someMore, "/admin/nodes?new=openai", "", 200, []string{`name="auth_header"`, `name="wire"`}, nil},
		{"no other kind is made here", adminMe, someMore, "/admin/nodes?new=amazonq", "", 200, nil, []string{`id="form"`}},
		{"an edit", adminMe, someMore, "/admin/nodes?edit=2", "", 200, []string{"do=update", "x = y", `value="both" selected`}, []string{"is kept"}},
		{"a credential is kept", adminMe, someMore, "/admin/nodes?edit=1", "", 200, []string{"is kept", `name="forget"`}, nil},
		{"of Amazon Q what all nodes have, models too", adminMe, someMore, "/admin/nodes?edit=3", "", 200, []string{`name="weight"`, `name="requests_per_minute" type="number" value="60"`, `name="models"`, ">q-in = q-out</textarea>"}, []string{`name="base_url"`, `name="api_key"`, `name="health_check_method"`}},
		{"what is not there is not edited", adminMe, someMore, "/admin/nodes?edit=77", "", 200, nil, []string{`id="form"`}},
	} {
		w := askNodes(&nodeAPI{me: c.me, nodes: c.nodes}, "GET", c.target, nil, c.htmx)
		body := w.Body.String()
		if w.Code != c.status {
			t.Errorf("%s: %d", c.why, w.Code)
		}
		for _, s := range c.has {
			if !strings.Contains(body, s) {
				t.Errorf("%s: lacks %q: %s", c.why, s, body)
			}
		}
		for _, s := range c.lacks {
			if strings.Contains(body, s) {
				t.Errorf("%s: has %q", c.why, s)
			}
		}
	}
}

// TestNodeForms: what each form sends to the API, and where it leads.
func TestNodeForms(t *testing.T) {
	base := url.Values{"kind": {"anthropic"}, "name": {"n"}, "base_url": {" https://a.example "}, "models": {"m1\nm2*"}, "model_map": {" a = b \n\n"}, "health_check_method": {"head"}}
	with := func(pairs ...string) url.Values {
		f := url.Values{}
		for k, v := range base {
			f[k] = v
		}
		for i := 0; i < len(pairs); i += 2 {
			f.Set(pairs[i], pairs[i+1])
		}
		return f
	}
	for _, c := range []struct {
		why, target string
		form        url.Values
		sent        []string // beginnings
		has, lacks  string   // of what was sent
		location    string
	}{
		{"create", "/admin/nodes?do=create&new=openai&account_id=acc-b", with("wire", "both", "api_key", "sk-1"), []string{"POST /admin/api/nodes?account_id=acc-b "}, `"kind":"openai"`, `"weight"`, "/admin/nodes?account_id=acc-b&done=nodes.created&done=n"},
		{"an Anthropic node has no wire", "/admin/nodes?do=create&new=anthropic", with("wire", "both", "api_key", "sk-1"), []string{"POST /admin/api/nodes "}, `"models":["m1","m2*"]`, "wire", "/admin/nodes?done=nodes.created&done=n"},
		{"an empty credential keeps", "/admin/nodes?do=update&edit=1", with("api_key", "", "weight", "7"), []string{"PUT /admin/api/nodes?id=1 "}, `"weight":7`, "api_key", "/admin/nodes?done=nodes.saved&done=n"},
		{"a credential is removed", "/admin/nodes?do=update&edit=1", with("forget", "1", "api_key", "x"), []string{"PUT /admin/api/nodes?id=1 "}, `"api_key":""`, `"kind"`, "/admin/nodes?done=nodes.saved&done=n"},
		{"of Amazon Q nothing else is touched", "/admin/nodes?do=update&edit=3", with("kind", "amazonq", "requests_per_minute", "5"), []string{"PUT /admin/api/nodes?id=3 "}, `"model_map":{"a":"b"},"models":["m1","m2*"],"name":"n"`, "base_url", "/admin/nodes?done=nodes.saved&done=n"},
		{"disable, back to the same filter", "/admin/nodes?do=disable&state=active&account_id=acc-b", url.Values{"id": {"2"}, "name": {"b"}}, []string{`POST /admin/api/nodes/disable {"id":"2"}`}, "", "", "/admin/nodes?account_id=acc-b&state=active&done=nodes.disable&done=b"},
		{"activate", "/admin/nodes?do=activate", url.Values{"id": {"2"}, "name": {"b"}}, []string{`POST /admin/api/nodes/activate {"id":"2"}`}, "", "", "/admin/nodes?done=nodes.activate&done=b"},
		{"end it", "/admin/nodes?do=deactivate&account_id=acc-b", url.Values{"id": {"2"}}, []string{`POST /admin/api/nodes/activate?account_id=acc-b {"id":""}`}, "", "", "/admin/nodes?account_id=acc-b&done=nodes.deactivate&done="},
		{"from the node's page", "/admin/nodes/2?do=enable", url.Values{"id": {"2"}, "name": {"b"}}, []string{`POST /admin/api/nodes/enable {"id":"2"}`}, "", "", "/admin/nodes/2?done=nodes.enable&done=b"},
		{"many", "/admin/nodes?do=bulk", url.Values{"ids": {"1", "2"}, "to": {"disable"}}, []string{`POST /admin/api/nodes/disable {"id":"1"}`, `POST /admin/api/nodes/disable {"id":"2"}`}, "", "", "/admin/nodes?done=nodes.bulk.disable&done=2"},
		{"many for good", "/admin/nodes?do=bulk", url.Values{"ids": {"1", "2"}, "what": {"delete"}, "confirm": {"delete"}}, []string{"DELETE /admin/api/nodes?id=1", "DELETE /admin/api/nodes?id=2"}, "", "", "/admin/nodes?done=nodes.bulk.delete&done=2"},
		{"delete", "/admin/nodes?do=delete", url.Values{"id": {"2"}, "name": {"b"}, "confirm": {"b"}}, []string{"DELETE /admin/api/nodes?id=2 "}, "", "", "/admin/nodes?done=nodes.deleted&done=b"},
		{"up: weights from 1, only those that change", "/admin/nodes?do=move", url.Values{"id": {"2"}, "to": {"up"}}, []string{`PUT /admin/api/nodes?id=1 {"weight":2}`, `PUT /admin/api/nodes?id=3 {"weight":3}`}, "", "", "/admin/nodes?done=nodes.moved&done=b"},
		{"the first goes no higher", "/admin/nodes?do=move", url.Values{"id": {"1"}, "to": {"up"}}, []string{`PUT /admin/api/nodes?id=2 {"weight":2}`, `PUT /admin/api/nodes?id=3 {"weight":3}`}, "", "", "/admin/nodes?done=nodes.moved&done=%3Cscript%3Ealert%281%29%3C%2Fscript%3E"},
		{"dragged", "/admin/nodes?do=order", url.Values{"ids": {"3", "1", "2"}}, []string{`PUT /admin/api/nodes?id=3 {"weight":1}`, `PUT /admin/api/nodes?id=1 {"weight":2}`, `PUT /admin/api/nodes?id=2 {"weight":3}`}, "", "", "/admin/nodes?done=nodes.ordered"},
		{"dragged on a page that does not show all", "/admin/nodes?do=order", url.Values{"ids": {"3", "1"}}, []string{`PUT /admin/api/nodes?id=3 {"weight":1}`, `PUT /admin/api/nodes?id=2 {"weight":2}`, `PUT /admin/api/nodes?id=1 {"weight":3}`}, "", "", "/admin/nodes?done=nodes.ordered"},
	} {
		a := &nodeAPI{me: adminMe, nodes: someMore}
		w := askNodes(a, "POST", c.target, c.form, "")
		if w.Code != 303 || w.Header().Get("Location") != c.location {
			t.Errorf("%s: %d to %q, want %q", c.why, w.Code, w.Header().Get("Location"), c.location)
		}
		all := strings.Join(a.sent, "\n")
		if !slices.EqualFunc(a.sent, c.sent, strings.HasPrefix) || !strings.Contains(all, c.has) || c.lacks != "" && strings.Contains(all, c.lacks) {
			t.Errorf("%s: %s", c.why, all)
		}
	}
}

// TestNodeRefusals: a refused form keeps what was typed, but for the credential, and says at the field what is wrong.
func TestNodeRefusals(t *testing.T) {
	form := url.Values{"kind": {"openai"}, "name": {"my <b>node"}, "base_url": {"ftp://x"}, "api_key": {"sk-secret"}, "usd_per_day": {"5 dollars"}, "model_map": {"a = b"}}
	for _, c := range []struct {
		why, target, error string
		change             url.Values
		sent               int
		has                []string
	}{
		{"an address", "/admin/nodes?do=create&new=openai", "base_url: must be an absolute URL", nil, 1, []string{`value="ftp://x"`, "must be an absolute URL", `value="my &lt;b&gt;node"`, "Enter it again"}},
		{"a limit", "/admin/nodes?do=update&edit=2", "limits.usd_per_day: must be dollars", nil, 1, []string{`value="5 dollars" autocomplete="off" aria-invalid="true"`, "must be dollars", "do=update"}},
		{"many, by no button", "/admin/nodes?do=bulk", "", url.Values{"ids": {"1", "2"}}, 0, []string{`role="alert"`}},
		{"many, without the word for it", "/admin/nodes?do=bulk", "", url.Values{"ids": {"1", "2"}, "what": {"delete"}}, 0, []string{`role="alert"`}},
		{"of no field", "/admin/nodes?do=create&new=openai", "something else", nil, 1, []string{`role="alert">something else`}},
		{"a line without a sign", "/admin/nodes?do=create&new=openai", "", url.Values{"model_map": {"a = b\nbad <line>"}}, 0, []string{"“bad &lt;line&gt;” must be"}},
		{"a name twice", "/admin/nodes?do=create&new=openai", "", url.Values{"model_map": {"a = b\na = c"}}, 0, []string{"“a = c” must be"}},
		{"no address", "/admin/nodes?do=create&new=openai", "", url.Values{"base_url": {" "}}, 0, []string{"is required"}},
		{"an edit without a name", "/admin/nodes?do=update&edit=2", "", url.Values{"name": {" "}}, 0, []string{"must not be empty", `aria-invalid="true" aria-describedby="f-name-hint"`}},
		{"an edit without a weight", "/admin/nodes?do=update&edit=2", "", url.Values{"weight": {""}}, 0, []string{"must not be empty", `aria-invalid="true" aria-describedby="f-weight-hint"`}},
		{"no number", "/admin/nodes?do=create&new=openai", "", url.Values{"weight": {"1.5"}}, 0, []string{"must be a whole number", `value="1.5"`}},
		{"gone meanwhile", "/admin/nodes?do=update&edit=77", "node not found", nil, 1, []string{"node not found"}},
		{"not confirmed", "/admin/nodes?do=delete", "", url.Values{"id": {"2"}, "name": {"b"}, "confirm": {"c"}}, 0, []string{"Type b to confirm"}},
		{"moved meanwhile", "/admin/nodes?do=order", "", url.Values{"ids": {"1", "77"}}, 0, []string{"the list has changed"}},
		{"twice the same", "/admin/nodes?do=order", "", url.Values{"ids": {"1", "1"}}, 0, []string{"the list has changed"}},
		{"a weight that cannot be saved", "/admin/nodes?do=move", "weight: no", url.Values{"id": {"2"}, "to": {"up"}}, 1, []string{"weight: &lt;script&gt;alert(1)&lt;/script&gt;: no"}},
	} {
		a := &nodeAPI{me: adminMe, nodes: someMore}
		if c.error != "" {
			a.refuse = map[string]string{"POST " + nodesAPI: c.error, "PUT " + nodesAPI: c.error}
		}
		f := url.Values{}
		for k, v := range form {
			f[k] = v
		}
		for k, v := range c.change {
			f[k] = v
		}
		w := askNodes(a, "POST", c.target, f, "")
		body := w.Body.String()
		if w.Code < 400 || len(a.sent) != c.sent || strings.Contains(body, "sk-secret") {
			t.Errorf("%s: %d, %q: %s", c.why, w.Code, a.sent, body)
		}
		for _, s := range c.has {
			if !strings.Contains(body, s) {
				t.Errorf("%s: lacks %q: %s", c.why, s, body)
			}
		}
	}
}

// TestMoveLive: a row that is moved by a key is answered with the list alone, so that the focus stays where it is.
func TestMoveLive(t *testing.T) {
	w := askNodes(&nodeAPI{me: adminMe, nodes: someMore}, "POST", "/admin/nodes?do=move", url.Values{"id": {"2"}, "to": {"up"}}, "div#live")
	if body := w.Body.String(); w.Code != 200 || strings.Contains(body, "<!doctype") || !strings.Contains(body, "b is now 1 of 3.") {
		t.Errorf("%d: %s", w.Code, body)
	}
}

// TestNodePage: the timeline says the same in words, bars and rows.
func TestNodePage(t *testing.T) {
	a := &nodeAPI{me: adminMe, nodes: someMore, reply: map[string]string{
		"GET /api/nodes/2/health-history": `{"from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z","checks":[
 {"check_time":"2026-01-01T00:05:00Z","success":true,"response_time_ms":30,"check_method":"api","check_source":"scheduled","state":"online"},
 {"check_time":"2026-01-01T00:06:00Z","success":false,"error_message":"<img src=x>","check_method":"proxy","check_source":"proxy_fail","state":"online"},
 {"check_time":"2026-01-01T12:00:00Z","success":false,"error_message":"status 500","check_method":"api","check_source":"recovery","state":"failed"},
 {"check_time":"2026-01-01T23:59:59Z","success":true,"response_time_ms":40,"check_method":"api","check_source":"manual","state":"online"}]}`,
		"POST /admin/api/nodes/check": `{"id":"2","name":"b","success":false,"error_message":"<u>no</u>","check_method":"head","state":"failed"}`}}
	body := askNodes(a, "GET", "/admin/nodes/2", nil, "").Body.String()
	for _, s := range []string{"4 observations, 2 of them failures.", "24 h 0 min ago: 1 good, 1 failed", "12 h 0 min ago: 0 good, 1 failed", "0 h 15 min ago: 1 good, 0 failed", `class="mixed" x="0"`, `class="bad" x="480"`, `class="ok" x="950"`,
		"&lt;img src=x&gt;", "&lt;i&gt;why", "data-chart=", "3 in all"[1:]} {
		if !strings.Contains(body, s) {
			t.Errorf("lacks %q: %s", s, body)
		}
	}
	if strings.Contains(body, "<img") {
		t.Error("hostile text is markup")
	}
	if n := strings.Count(body[strings.Index(body, "Changes of state"):strings.Index(body, "Checks and events")], "<tr>"); n != 3 { // with the heading: to failed and back. What was seen first is no change
		t.Errorf("%d changes", n-1)
	}
	if body := askNodes(a, "POST", "/admin/nodes/2?do=check", url.Values{"id": {"2"}}, "").Body.String(); !strings.Contains(body, "b failed the test: &lt;u&gt;no&lt;/u&gt;") {
		t.Error(body)
	}
	if w := askNodes(a, "GET", "/admin/nodes/77", nil, ""); w.Code != 404 {
		t.Errorf("another's node: %d", w.Code)
	}
}
