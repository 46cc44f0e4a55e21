package boot_test

import (
	"strings"
	"testing"

	"sluice/shared/boot/boottest"
)

// TestEnvironmentReachesTheAPI: what the process was started with is what administrators are shown, without its secrets.
func TestEnvironmentReachesTheAPI(t *testing.T) {
	g := boottest.Start(t, map[string]string{"ADMIN_API_KEY": "operator-key-of-this-test", "PROXY_RETRY_MAX": "7"})
	a := g.Want(200, "GET", "/api/envvars?category=retry", "", "x-admin-key", "operator-key-of-this-test")
	if !strings.Contains(string(a.Body), `"name":"PROXY_RETRY_MAX"`) || !strings.Contains(string(a.Body), `"current_value":"7","is_set":true`) {
		t.Errorf("%s", a.Body)
	}
	a = g.Want(200, "GET", "/api/envvars?category=basic", "", "x-admin-key", "operator-key-of-this-test")
	if !strings.Contains(string(a.Body), "oper****test") || strings.Contains(string(a.Body), "operator-key") {
		t.Errorf("%s", a.Body)
	}
}
