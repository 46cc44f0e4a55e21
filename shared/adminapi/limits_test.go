package adminapi_test

import (
	"strings"
	"testing"
)

// Limits that contradict each other are refused by the name of the field that was given, and nothing is changed.
func TestContradictoryLimits(t *testing.T) {
	w := start(t)
	id, _ := w.key(`{"name":"k","requests_per_minute":10,"requests_per_day":100,"usd_per_day":5,"usd_per_month":50}`)
	before := w.keyShown(id)
	for _, c := range []struct{ body, field string }{
		{`{"requests_per_minute":101}`, "requests_per_minute"},
		{`{"requests_per_day":9}`, "requests_per_day"},
		{`{"requests_per_minute":20,"requests_per_day":19}`, "requests_per_minute"},
		{`{"usd_per_day":50.000001}`, "usd_per_day"},
		{`{"usd_per_month":"4.99"}`, "usd_per_month"},
	} {
		if text := errorOf(t, w.admin(400, "PUT", "/admin/api/keys?id="+id, c.body)); !strings.HasPrefix(text, c.field+":") {
			t.Errorf("%s: %s", c.body, text)
		}
		if text := errorOf(t, w.tenant(400, proxyKey, "POST", "/admin/api/nodes", `{"base_url":"https://a.example.com","limits":{"requests_per_minute":9,"requests_per_day":8}}`)); !strings.HasPrefix(text, "limits.requests_per_minute:") {
			t.Errorf("of a node: %s", text)
		}
	}
	if after := w.keyShown(id); after["requests_per_minute"] != before["requests_per_minute"] || after["usd_per_month"] != before["usd_per_month"] {
		t.Errorf("%v became %v", before, after)
	}
	for _, body := range []string{`{"requests_per_minute":100}`, `{"requests_per_day":0}`, `{"usd_per_day":50}`, `{"usd_per_month":0,"usd_per_day":900}`} {
		w.admin(200, "PUT", "/admin/api/keys?id="+id, body)
	}
}
