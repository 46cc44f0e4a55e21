package adminui

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestTimesTaken: a time that was not measured is a dash, one too short to be counted is no dash.
func TestTimesTaken(t *testing.T) {
	took := func(ms float64) *float64 { return &ms }
	for _, c := range []struct {
		why  string
		took any
		want string
	}{
		{"nothing was measured", (*float64)(nil), "–"},
		{"no value at all", nil, "–"},
		{"less than the clock counts", took(0), "<1 ms"},
		{"a mean below one", 0.4, "<1 ms"},
		{"the same without a pointer", 0.0, "<1 ms"},
		{"milliseconds", took(31), "31 ms"},
		{"just below a second is not 1000 ms", 999.7, "1.00 s"},
		{"seconds", 1234.0, "1.23 s"},
	} {
		if got := millis(c.took); got != c.want {
			t.Errorf("%s: %q, want %q", c.why, got, c.want)
		}
	}
	if lag(0) != "–" || lag(1) != "1 ms" {
		t.Errorf("to the first byte: %q, %q", lag(0), lag(1))
	}
}

// TestTokenCounts: three digits and the unit that they are of, also where they round up to the next one.
func TestTokenCounts(t *testing.T) {
	for _, c := range []struct {
		why  string
		n    int64
		want string
	}{
		{"nothing", 0, "0"},
		{"below a thousand, each", 999, "999"},
		{"a thousand", 1000, "1k"},
		{"three digits", 12_345, "12.3k"},
		{"the last of thousands", 999_499, "999k"},
		{"the first that rounds to a million", 999_500, "1M"},
		{"just below a million", 999_999, "1M"},
		{"a million", 1_000_000, "1M"},
		{"the last of millions", 999_499_999, "999M"},
		{"the first that rounds to a billion", 999_500_000, "1B"},
		{"just below a billion", 999_999_999, "1B"},
		{"the last of billions", 999_499_999_999, "999B"},
		{"just below a trillion", 999_999_999_999, "1T"},
		{"less than nothing", -999_500, "-1M"},
	} {
		if got := tokens(c.n); got != c.want {
			t.Errorf("%s: %d is %q, want %q", c.why, c.n, got, c.want)
		}
	}
}

// TestNodeTimes: a check that took no time at all is told apart from none, in the list and on the node's page.
func TestNodeTimes(t *testing.T) {
	row := func(more string) string {
		return `{"nodes":[{"id":"1","account_id":"default","name":"n","kind":"anthropic","state":"online","health_check_method":"api"` + more + `}]}`
	}
	for _, c := range []struct{ why, more, has, lacks string }{
		{"measured as 0", `,"ping_ms":0`, `&lt;1 ms`, ""},
		{"not yet checked", `,"ping_ms":null`, "–", "&lt;1 ms"},
	} {
		for _, target := range []string{"/admin/nodes", "/admin/nodes/1"} {
			a := &nodeAPI{me: adminMe, nodes: row(c.more), reply: map[string]string{"GET /api/nodes/1/health-history": `{}`}}
			body := askNodes(a, "GET", target, nil, "").Body.String()
			if !strings.Contains(body, c.has) || c.lacks != "" && strings.Contains(body, c.lacks) {
				t.Errorf("%s, %s: wants %q and not %q: %s", c.why, target, c.has, c.lacks, body)
			}
		}
	}
}

// TestCheckTimes: of a node's history a check has a time, and a point in the chart, however short it was; a change that was seen
// in clients' requests has none.
func TestCheckTimes(t *testing.T) {
	at := func(minute, more string) string {
		return `{"check_time":"2026-01-01T00:0` + minute + `:00Z","success":true,"response_time_ms":0,"check_method":"api",` + more + `,"state":"online"}`
	}
	a := &nodeAPI{me: adminMe, nodes: someMore, reply: map[string]string{"GET /api/nodes/2/health-history": `{"from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z","checks":[` +
		at("1", `"check_source":"scheduled"`) + "," + at("2", `"check_source":"proxy_fail"`) + "," + at("3", `"check_source":"manual"`) + `]}`}}
	body := askNodes(a, "GET", "/admin/nodes/2", nil, "").Body.String()
	for _, s := range []string{`data-chart="[[1767225660,1767225780],[0,0]]"`, `<td class="num">–</td>`} {
		if !strings.Contains(body, s) {
			t.Errorf("no %q: %s", s, body)
		}
	}
	if n := strings.Count(body, `<td class="num">&lt;1 ms</td>`); n != 2 {
		t.Errorf("%d checks have a time", n)
	}
}

// TestTestedSentences: what a test of a node found are sentences of their own, whatever the failure's text ends with.
func TestTestedSentences(t *testing.T) {
	for _, c := range []struct{ why, lang, found, want string }{
		{"a failure", "en", `{"name":"n","success":false,"error_message":"status 500","check_method":"api","state":"failed"}`, "n failed the test: status 500. State: failed; method: "},
		{"a failure that is a sentence", "en", `{"name":"n","success":false,"error_message":"No answer.","check_method":"api","state":"failed"}`, "n failed the test: No answer. State: failed; method: "},
		{"a failure in Chinese", "zh", `{"name":"n","success":false,"error_message":"boom","check_method":"api","state":"failed"}`, "n 测试失败：boom。状态："},
		{"success", "en", `{"name":"n","success":true,"response_time_ms":0,"check_method":"api","state":"online"}`, "n answered in &lt;1 ms. State: online; method: "},
	} {
		a := &nodeAPI{me: adminMe, nodes: someMore, reply: map[string]string{"POST /admin/api/nodes/check": c.found}}
		r := httptest.NewRequest(http.MethodPost, "/admin/nodes?do=check", strings.NewReader("id=1"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Accept-Language", c.lang)
		w := httptest.NewRecorder()
		New(Options{API: a}).ServeHTTP(w, r)
		if !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: no %q in %s", c.why, c.want, w.Body)
		}
	}
}

// TestPageHeader: what the console answers is marked as its own, its errors as such; whatever else a browser gets is not.
func TestPageHeader(t *testing.T) {
	for _, c := range []struct{ why, target, htmx, want string }{
		{"a page", "/admin/nodes", "", "page"},
		{"a part", "/admin/nodes", "div#live", "page"},
		{"an error in the page's frame", "/admin/nodes/77", "", "error"},
		{"an error in the place of a part", "/admin/nodes/77", "div#live", "error"},
		{"a file", assetPath + "none.js", "", ""},
	} {
		w := askNodes(&nodeAPI{me: adminMe, nodes: someMore}, "GET", c.target, nil, c.htmx)
		if got := w.Header().Get(pageHeader); got != c.want {
			t.Errorf("%s: %d, marked %q, want %q", c.why, w.Code, got, c.want)
		}
	}
}
