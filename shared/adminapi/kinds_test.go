package adminapi_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sluice/shared/adminapi"
	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/health"
	"sluice/shared/seal/sealtest"
	"sluice/shared/store"
	"sluice/shared/store/memory"
	"sluice/shared/web"
)

// An Amazon Q node takes 10 requests a minute unless the call says otherwise; other kinds have no limit of their own.
func TestNodeLimitsByKind(t *testing.T) {
	s := memory.New()
	tables := store.NewTables(s, time.Now)
	box := sealtest.Box(t)
	if _, err := tables.Accounts.Create(t.Context(), core.Account{ID: core.DefaultAccount, Name: "default"}); err != nil {
		t.Fatal(err)
	}
	admin := core.NewSecret("operator-key-of-this-test")
	log := slog.New(slog.DiscardHandler)
	api := adminapi.New(adminapi.Options{Tables: tables, Usage: s, Budgets: s, Box: box, Kinds: []core.Kind{core.KindAnthropic, core.KindAmazonQ}, AdminKey: admin, Log: log,
		Health: health.New(health.Options{States: tables.States, Log: log}), Directory: directory.New(directory.Options{Tables: tables, Generations: s, Box: box, AdminKey: admin, Now: time.Now})})
	h := web.Wrap(api, web.Options{Log: log, Error: adminapi.WriteError, Draining: &web.Drain{}})
	for _, c := range []struct {
		body string
		want int64
	}{
		{`{"name":"q","kind":"amazonq","base_url":"https://q.example.com"}`, 10},
		{`{"name":"q2","kind":"amazonq","base_url":"https://q.example.com","limits":{"requests_per_minute":25}}`, 25},
		{`{"name":"q3","kind":"amazonq","base_url":"https://q.example.com","limits":{"requests_per_minute":0}}`, 0},
		{`{"name":"a","base_url":"https://a.example.com"}`, 0},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/admin/api/nodes", strings.NewReader(c.body))
		r.Header.Set("X-Admin-Key", admin.Reveal())
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusCreated {
			body, _ := io.ReadAll(w.Body)
			t.Fatalf("%s: status %d: %s", c.body, w.Code, body)
		}
		rows, err := tables.Nodes.All(t.Context(), core.DefaultAccount)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			if n := row.Value; strings.Contains(c.body, `"name":"`+n.Name+`"`) && n.Limits.RPM != c.want {
				t.Errorf("%s: %d a minute, want %d", c.body, n.Limits.RPM, c.want)
			}
		}
	}
}
