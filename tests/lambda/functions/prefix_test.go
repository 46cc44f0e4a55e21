package functions_test

import (
	"net/http"
	"strings"
	"testing"

	"sluice/tests/lambda/front"
	"sluice/tests/lambda/scenario"
	"sluice/tests/lambda/stores"
)

// TestStageInLinks: under the stage of a REST API, links, redirects and cookies led to paths that the API does not have.
func TestStageInLinks(t *testing.T) {
	f := start(t, "admin", serving(begin(t, stores.InProcess), "http://127.0.0.1:1")...)
	for stage, prefix := range map[string]string{"prod": "/prod", "": ""} {
		h := f.door(t, &front.Door{Type: front.RESTBuffered, Stage: stage})
		r, err := scenario.Do(t, h, "GET", prefix+"/login", nil, http.Header{"Accept": {"text/html"}})
		if err != nil || r.Status != 200 || !strings.Contains(string(r.Body), `action="`+prefix+`/login?do=login"`) || !strings.Contains(string(r.Body), `src="`+prefix+`/admin/assets/`) {
			t.Errorf("the form under %q: %v %+v", prefix, err, r)
		}
	}
}
