package adminapi_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// The older pool's keys: made with its defaults, listed without credentials, edited, revoked, removed (Guide B, steps 7 and 9).
func TestAPIKeys(t *testing.T) {
	w := start(t)
	made := w.admin(200, "POST", "/admin/api-keys", `{"name":"默认密钥","description":"用于生产环境"}`).JSON()
	key, id := made["key"].(string), made["id"].(float64)
	if made["requests_per_minute"] != 60.0 || made["requests_per_day"] != 10000.0 || made["is_active"] != true || made["is_admin"] != false || made["expires_at"] != nil ||
		!strings.HasPrefix(key, "sluice_") {
		t.Errorf("made %v", made)
	}
	path := "/admin/api-keys/" + strconv.Itoa(int(id))
	if list := string(w.admin(200, "GET", "/admin/api-keys", "").Body); strings.Contains(list, key) || !strings.Contains(list, `"name":"默认密钥"`) || !strings.HasPrefix(list, "[") {
		t.Errorf("listed %s", list)
	}
	got := w.admin(200, "PUT", path, `{"requests_per_minute":5,"is_active":false,"expires_days":7}`).JSON()
	if got["requests_per_minute"] != 5.0 || got["requests_per_day"] != 10000.0 || got["is_active"] != false || got["expires_at"] == nil || got["name"] != "默认密钥" {
		t.Errorf("edited %v", got)
	}
	w.admin(200, "PUT", path, `{"is_active":true}`)
	w.admin(200, "POST", path+"/revoke", "")
	if got := w.admin(200, "GET", path, "").JSON(); got["is_active"] != false || got["total_requests"] != 0.0 {
		t.Errorf("revoked %v", got)
	}
	admin := w.admin(200, "POST", "/admin/api-keys", `{"name":"我的管理员密钥","is_admin":true,"requests_per_minute":100}`).JSON()
	if admin["is_admin"] != true || admin["requests_per_minute"] != 100.0 {
		t.Errorf("made %v", admin)
	}
	w.admin(200, "DELETE", path, "")
	for _, c := range []struct {
		why, method, path, body string
		status                  int
	}{
		{"gone", "GET", path, "", 404}, {"gone, edited", "PUT", path, `{}`, 404}, {"gone, revoked", "POST", path + "/revoke", "", 404}, {"gone, removed", "DELETE", path, "", 404},
		{"no number", "GET", "/admin/api-keys/x", "", 404}, {"not ours to spell", "GET", "/admin/api-keys/+7", "", 404}, {"another verb", "POST", path + "/renew", "", 405},
		{"revoke by GET", "GET", path + "/revoke", "", 405}, {"no such method", "PATCH", "/admin/api-keys", "", 405},
		{"no name", "POST", "/admin/api-keys", `{}`, 400}, {"a negative limit", "POST", "/admin/api-keys", `{"name":"x","requests_per_day":-1}`, 400},
		{"expired at birth", "POST", "/admin/api-keys", `{"name":"x","expires_days":0}`, 400},
	} {
		answer := w.admin(c.status, c.method, c.path, c.body)
		if e := answer.JSON(); e["detail"] == "" || e["detail"] != e["error"] {
			t.Errorf("%s: %s", c.why, answer.Body)
		}
	}
	// a key that may not
	w.tenant(http.StatusForbidden, proxyKey, "POST", "/admin/api-keys", `{"name":"x"}`)
}
