package boot_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"sluice/shared/boot"
	"sluice/shared/boot/boottest"
	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/store/memory"
)

// TestScrapeWhileTheStoreIsAway: an address is told to wait for wrong keys, not for a store that could not tell whether they are.
func TestScrapeWhileTheStoreIsAway(t *testing.T) {
	s := &fragile{Store: memory.New()}
	cfg, err := boottest.Parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	app, err := boot.Open(t.Context(), boot.Options{Part: boot.Everything(), Config: cfg, Log: slog.New(slog.DiscardHandler), Scrape: http.NotFoundHandler(),
		Openers: map[string]boot.Opener{"memory": func(context.Context, core.Secret, *slog.Logger) (boot.Opened, error) {
			return boot.Opened{Store: s, Where: "memory"}, nil
		}}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = app.Close() }()
	scrape := func() int {
		w := httptest.NewRecorder()
		app.Handler.ServeHTTP(w, boottest.Request("GET", "/metrics", "", "x-admin-key", "nobody-knows-this-key"))
		return w.Code
	}
	for _, c := range []struct {
		why  string
		gone bool
		want int
		n    int
	}{
		{"the store is away", true, 503, directory.MaxBadKeys + 1},
		{"a wrong key", false, 401, directory.MaxBadKeys},
		{"one too many", false, 429, 1},
	} {
		s.gone.Store(c.gone)
		for i := range c.n {
			if got := scrape(); got != c.want {
				t.Fatalf("%s, scrape %d: status %d, want %d", c.why, i+1, got, c.want)
			}
		}
	}
}
