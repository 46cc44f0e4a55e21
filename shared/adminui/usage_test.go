package adminui

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

const usageAccounts = `{"accounts":[{"id":"default","name":"Team","capture":{"until":"2026-02-20T00:00:00Z","keep_days":7}},{"id":"b","name":"<b>B</b>"}]}`

const usageRow = `{"id":"req_1","upstream_request_id":"msg_9","account_id":"default","key_id":"3","node_id":"1","node_name":"<i>east</i>","endpoint":"/v1/messages","dialect":"anthropic","model_id":"<script>m",
"served_model":"served-x","session_id":"s<1>","agent_id":"a-1","stream":true,"status":529,"error_code":"overloaded","attempts":2,"input_tokens":70,"output_tokens":7,"uncached_input_tokens":10,"cache_read_tokens":20,
"cache_write_5m_tokens":30,"cache_write_1h_tokens":10,"estimated":true,"cost_usd":0.0005,"fast":true,"geo":"<u>us","searches":4,"bytes":12345,"first_byte_ms":210,"stream_ms":1500,"total_ms":1710,"created_at":"2026-03-01T00:00:00Z",
"tries":[{"node_id":"2","node_name":"<s>west","status":500,"reason":"server <b>error","start_ms":5,"took_ms":205}]}`

// replies of any query, by path
type usageFake struct{ *poolFake }

func newUsageFake(t *testing.T, reply map[string]string) *usageFake {
	f := &usageFake{newPoolFake(t, map[string]string{"GET /admin/api/accounts": usageAccounts})}
	for k, v := range reply {
		f.reply[k] = v
	}
	return f
}

// asked is the query of the last call of a path that has all the given parts.
func (f *usageFake) query(path string, has ...string) url.Values {
	f.t.Helper()
	for i := len(f.calls) - 1; i >= 0; i-- {
		u, err := url.Parse(strings.TrimPrefix(f.calls[i], "GET "))
		if err != nil || u.Path != path {
			continue
		}
		ok := true
		for _, h := range has {
			ok = ok && strings.Contains(u.RawQuery, h)
		}
		if ok {
			return u.Query()
		}
	}
	f.t.Errorf("%s was not asked with %v: %v", path, has, f.calls)
	return nil
}

const tokyo = "&time_zone=Asia%2FTokyo"

// TestUsageFilter: what the form says is what the API is asked, days are the reader's.
func TestUsageFilter(t *testing.T) {
	for _, c := range []struct {
		why, query, path, has string
		want                  url.Values
	}{
		{"seven days of the reader, today the last", "", usageAPI + "/summary", "group_by=day", url.Values{"from": {"2026-02-22T15:00:00Z"}, "time_zone": {"Asia/Tokyo"}}},
		{"an hour", "&span=1h", usageAPI + "/summary", "group_by=model", url.Values{"from": {"2026-02-28T23:00:00Z"}}},
		{"its charts are of a day", "&span=1h", usageAPI + "/summary", "group_by=hour", url.Values{"from": {"2026-02-28T00:00:00Z"}}},
		{"own times are the reader's", "&span=own&from=2026-02-01T00:00&to=2026-02-02T12:30", usageAPI + "/logs", "", url.Values{"from": {"2026-01-31T15:00:00Z"}, "to": {"2026-02-02T03:30:00Z"}}},
		{"a long time of one's own is by month", "&span=own&from=2020-01-01T00:00", usageAPI + "/summary", "group_by=month", url.Values{"from": {"2019-12-31T15:00:00Z"}}},
		{"filters", "&account_id=b&model_id=m&node_id=1&key_id=2&session_id=s&agent_id=a&failed=true&tab=key", usageAPI + "/summary", "group_by=key",
			url.Values{"account_id": {"b"}, "model_id": {"m"}, "node_id": {"1"}, "key_id": {"2"}, "session_id": {"s"}, "agent_id": {"a"}, "failed": {"true"}}},
		{"sessions are bounded", "&tab=session", usageAPI + "/summary", "group_by=session", url.Values{"top": {"200"}}},
		{"a page of the log", "&cursor=c%261", usageAPI + "/logs", "", url.Values{"cursor": {"c&1"}, "limit": {"25"}}},
		{"no tab of this name", "&tab=evil", usageAPI + "/summary", "group_by=model", nil},
		{"no span of this name", "&span=evil", usageAPI + "/summary", "group_by=day", url.Values{"from": {"2026-02-22T15:00:00Z"}}},
	} {
		f := newUsageFake(t, nil)
		f.has(c.why, f.get("/admin/usage?x=1"+tokyo+c.query), 200)
		q := f.query(c.path, c.has)
		for name, want := range c.want {
			if q.Get(name) != want[0] {
				t.Errorf("%s: %s is %q, want %q", c.why, name, q.Get(name), want[0])
			}
		}
	}
}

// TestUsageRefused: a filter that cannot be is refused at its field, keeps what was typed, and asks for no sums.
func TestUsageRefused(t *testing.T) {
	for _, c := range []struct{ why, query, says string }{
		{"ends before it begins", "span=own&from=2026-02-02T00:00&to=2026-02-01T00:00", "must be after the beginning"},
		{"no time", "span=own&from=%3Cb%3E", "must be a date and time"},
		{"an end that is no time", "span=own&from=&to=2026-02-30T00:00", "must be a date and time"},
		{"an end that is no time, beside another period", "span=7d&to=soon", "must be a date and time"},
		{"an end without a period is a period of one's own", "from=2026-02-02T00:00&to=2026-02-01T00:00", "must be after the beginning"},
		{"sessions until an end, since ever", "span=own&from=&to=2026-02-01T00:00&tab=session", "at most 31 days"},
		{"sessions of 90 days", "span=90d&tab=session", "at most 31 days"},
		{"failures of 90 days", "span=90d&failed=true", "at most 31 days"},
	} {
		f := newUsageFake(t, nil)
		f.has(c.why, f.get("/admin/usage?"+c.query), 400, c.says, `aria-invalid="true"`, "!<b>\"", "!id=\"log\"")
		if f.asked("GET /api/usage/") {
			t.Errorf("%s: %v", c.why, f.calls)
		}
	}
	f := newUsageFake(t, nil)
	f.has("kept", f.get("/admin/usage?span=own&from=2026-02-02T00:00&to=2026-02-01T00:00"), 400, `value="2026-02-01T00:00"`, `value="own" selected`)
	own := newUsageFake(t, map[string]string{"GET /admin/api/me": personMe})
	own.reply["GET /api/usage/summary?account_id=b&from=2026-02-23T00%3A00%3A00Z&time_zone=UTC"] = `403 {"error":"forbidden"}`
	own.has("another's", own.get("/admin/usage?account_id=b"), 403, "forbidden", `!id="log"`)
}

func usageData(f *usageFake) {
	const base = "GET /api/usage/summary?"
	from := "from=2026-02-23T00%3A00%3A00Z&"
	f.reply[base+from+"time_zone=UTC"] = `{"total_requests":10,"success_requests":9,"total_input_tokens":1000,"cache_read_tokens":500,"cache_read_ratio":0.5,"total_cost_usd":1.5,"unpriced_requests":1,"total_ms":{"p50":1200,"p95":null}}`
	f.reply[base+from+"group_by=day&time_zone=UTC"] = `{"summaries":[{"day":"2026-02-24","total_requests":4,"total_cost_usd":0.5},{"day":"2026-03-01","total_requests":6,"total_input_tokens":9,"total_output_tokens":2}]}`
	f.reply[base+from+"group_by=model&time_zone=UTC"] = `{"summaries":[{"model_id":"<script>m","total_requests":6,"success_requests":6},{"model_id":"cheap","total_requests":4,"total_cost_usd":0.5},{"others":12,"total_requests":1}]}`
	f.reply["GET /api/usage/budgets?limit=50"] = `{"budgets":[{"name":"<b>B</b>","period":"day","limit_usd":10,"spent_usd":5,"used":0.5,"forecast_usd":12,"used_up_at":"2026-03-01T20:00:00Z","resets_at":"2026-03-02T00:00:00Z"},{"key_id":"3","name":"ci","period":"month","limit_usd":1,"spent_usd":2,"used":2,"forecast_usd":2}]}`
	f.reply["GET /api/usage/logs?from=2026-02-23T00%3A00%3A00Z&limit=25"] = `{"logs":[` + usageRow + `],"next_cursor":"n&2"}`
}

// TestUsagePage: sums, charts without holes, budgets, the log with its details; hostile names are text.
func TestUsagePage(t *testing.T) {
	f := newUsageFake(t, nil)
	usageData(f)
	w := f.get("/admin/usage")
	f.has("sums", w, 200, "&lt;script&gt;m", "!<script>m", "12 others together", "90.0%", "50.0% from the cache", "1.20 s", "cheap", "$0.5000")
	f.has("charts: each day has its number", w, 200, "[[1771804800,1771891200,1771977600,1772064000,1772150400,1772236800,1772323200],[0,4,0,0,0,0,6]]",
		"[0,0,0,0,0,0,9],[0,0,0,0,0,0,2]]", "[0,0.5,0,0,0,0,0]]")
	f.has("budgets", w, 200, "&lt;b&gt;B&lt;/b&gt;", "!<b>B", "$5.00 of $10.00 (50.0%)", "on its way to $12.00", `class="high" max="1" value="0.500"`, `class="full" max="1" value="1.000"`, "used up by", "key #3")
	f.has("the log", w, 200, "529", "overloaded", "2 attempts", "70 / 7", "$0.000500", "cursor=n%262", `data-open="request-0"`, "id=req_1")
	f.has("its details", w, 200, "msg_9", "sent as served-x", "&lt;s&gt;west", "server &lt;b&gt;error", "205 ms", "210 ms", "12,345", "fast mode", "answered in &lt;u&gt;us", "4 web searches", "estimated", "session_id=s%3C1%3E", "!<i>east", "!<u>us")
	f.has("bodies of an account whose capture has ended", w, 200, `href="/admin/usage/req_1?account_id=default"`, "If any were kept.")
	f.has("exports", w, 200, "/api/usage/export?format=csv&amp;from=2026-02-23T00%3A00%3A00Z&amp;what=logs", "format=jsonl", "group_by=model&amp;time_zone=UTC&amp;what=summary")
	f.has("no other page's request", w, 200, `!id="request"`)
	f.has("details without scripts", f.get("/admin/usage?id=req_1"), 200, `id="request"`)
	f.has("in Chinese", f.get("/admin/usage", "Accept-Language", "zh"), 200, "用量", "其余 12 项合计")
	f.has("sorted", f.get("/admin/usage?sort=-cost"), 200, `aria-sort="descending"`)
	f.has("found nothing", f.get("/admin/usage?q=nothing-like-it"), 200, "Nothing found")

	f.reply["GET /admin/api/me"] = personMe
	f.has("a tenant", f.get("/admin/usage"), 200, `!name="account_id"`, "!tab=account", "!/admin/usage/req_1", "&lt;script&gt;m")
	if f.calls = nil; f.get("/admin/usage?tab=account") == nil || f.asked("GET /admin/api/accounts") || f.asked("GET /api/usage/summary?from=2026-02-23T00%3A00%3A00Z&group_by=account") {
		t.Errorf("for a tenant: %v", f.calls)
	}
	empty := newUsageFake(t, nil)
	empty.has("empty", empty.get("/admin/usage"), 200, "No requests in this period", "has a budget", "!data-chart")
}

// TestUsageNames: nodes and keys have their names where the reader may know them, and lead to what is theirs.
func TestUsageNames(t *testing.T) {
	f := newUsageFake(t, map[string]string{"GET /admin/api/nodes?account_id=b": `{"nodes":[{"id":"7","name":"<b>n</b>"}]}`, "GET /admin/api/nodes?account_id=default": `403 {"error":"no"}`, "GET /admin/api/keys": `{"keys":[{"id":"4","name":"ci"}]}`})
	f.reply["GET /api/usage/summary?from=2026-02-23T00%3A00%3A00Z&group_by=node&time_zone=UTC"] = `{"summaries":[{"node_id":"7"},{"node_id":"8"},{"node_id":""}]}`
	f.reply["GET /api/usage/summary?from=2026-02-23T00%3A00%3A00Z&group_by=key&time_zone=UTC"] = `{"summaries":[{"key_id":"4"}]}`
	f.has("nodes", f.get("/admin/usage?tab=node"), 200, "&lt;b&gt;n", "#8", "no node was reached", "node_id=7")
	f.has("keys", f.get("/admin/usage?tab=key"), 200, ">ci</a>", "key_id=4")
	f.reply["GET /api/usage/logs?from=2026-02-23T00%3A00%3A00Z&limit=25"] = `{"logs":[{"id":"r","key_id":"4"},{"id":"s","key_id":"5"}]}`
	f.has("of the log", f.get("/admin/usage"), 200, "?key_id=4\"", ">ci</a>", ">#5</a>")

	own := newUsageFake(t, map[string]string{"GET /admin/api/me": personMe, "GET /admin/api/keys": `403 {"error":"forbidden"}`, "GET /admin/api/nodes": `{"nodes":[{"id":"7","name":"own <b>n"}]}`,
		"GET /api/usage/budgets?limit=50": `{"budgets":[{"key_id":"3","name":"<i>ci","period":"day","limit_usd":1}]}`})
	const of = "GET /api/usage/summary?from=2026-02-23T00%3A00%3A00Z&group_by="
	own.reply[of+"node&time_zone=UTC"], own.reply[of+"key&time_zone=UTC"] = `{"summaries":[{"node_id":"7"}]}`, `{"summaries":[{"key_id":"3"},{"key_id":"4"}]}`
	own.has("a tenant's nodes", own.get("/admin/usage?tab=node"), 200, "own &lt;b&gt;n</a>")
	own.has("keys of who may not list them", own.get("/admin/usage?tab=key"), 200, "&lt;i&gt;ci</a>", ">#4</a>")
	own.reply["GET /admin/api/keys"] = `{"keys":[{"id":"4","name":"mine"}]}`
	own.has("and of who may", own.get("/admin/usage?tab=key"), 200, ">mine</a>")
}

// TestBodies: captured texts are text; who is no administrator does not get as far as the API.
func TestBodies(t *testing.T) {
	f := newUsageFake(t, map[string]string{"GET /api/usage/logs/req_1/bodies?account_id=b": `{"request_id":"req_1","request":"<script>alert(1)</script>","response":"<b>","response_truncated":true,"redactions":3}`,
		"GET /api/usage/logs/req_2/bodies": `404 {"error":"nothing was captured <x>"}`})
	f.has("shown", f.get("/admin/usage/req_1?account_id=b"), 200, "&lt;script&gt;alert", "!<script>alert", "The end was cut off", "<dd>3</dd>")
	f.has("none", f.get("/admin/usage/req_2"), 404, "nothing was captured &lt;x&gt;")
	own := newUsageFake(t, map[string]string{"GET /admin/api/me": personMe})
	own.has("a tenant", own.get("/admin/usage/req_1"), 403, "for administrators")
	if own.asked("GET /api/usage/logs") {
		t.Errorf("%v", own.calls)
	}
}

// TestPeriods: charts have a point for each hour, day or month, also where the clocks change.
func TestPeriods(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		why      string
		by       string
		from, to time.Time
		n        int
		last     time.Time
	}{
		{"days over the change of clocks", "day", time.Date(2026, 3, 27, 0, 0, 0, 0, berlin), time.Date(2026, 3, 31, 9, 0, 0, 0, berlin), 5, time.Date(2026, 3, 31, 0, 0, 0, 0, berlin)},
		{"an hour from its middle", "hour", time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC), time.Date(2026, 3, 1, 10, 30, 0, 0, time.UTC), 2, time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)},
		{"the end is not in it", "hour", time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC), time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC), 1, time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)},
		{"months of the zone", "month", time.Date(2025, 12, 31, 0, 0, 0, 0, berlin), time.Date(2026, 3, 1, 1, 0, 0, 0, berlin), 4, time.Date(2026, 3, 1, 0, 0, 0, 0, berlin)},
		{"bounded", "hour", time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), maxPoints, time.Date(2000, 1, 17, 15, 0, 0, 0, time.UTC)},
	} {
		p := period{By: c.by, From: c.from, To: c.to, now: c.to.Add(time.Hour), zone: berlin}
		got := p.starts(c.from)
		if len(got) != c.n || !got[len(got)-1].Equal(c.last) {
			t.Errorf("%s: %d to %v, want %d to %v", c.why, len(got), got[len(got)-1], c.n, c.last)
		}
	}
}

// FuzzZone: whatever a browser says, there is a zone, and it is not the server's.
func FuzzZone(f *testing.F) {
	for _, s := range []string{"", "UTC", "Local", "Asia/Shanghai", "../../etc/passwd", "Etc/GMT+8", "\x00", strings.Repeat("a", 100)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		r := httptest.NewRequest("GET", "/admin/usage?"+url.Values{"time_zone": {name}}.Encode(), nil)
		v := New(Options{API: &api{}}).view(httptest.NewRecorder(), r, &page{}, "")
		if z := v.zone(); z == nil || z == time.Local && z.String() == "Local" {
			t.Errorf("%q: %v", name, z)
		}
	})
}
