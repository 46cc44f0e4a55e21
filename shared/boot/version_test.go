package boot

import (
	"testing"
	"time"

	"sluice/shared/release"
)

// TestVersionOf: the fields of the older gateway; what is not known is empty, not the year 1.
func TestVersionOf(t *testing.T) {
	got := versionOf("v1.2.3", release.Info{Commit: "abc", Date: time.Date(2026, 3, 1, 20, 30, 0, 0, time.UTC), Go: "go1.26"})
	want := versionView{Version: "v1.2.3", Commit: "abc", Built: "2026-03-01T20:30:00Z", Beijing: "2026-03-02 04:30:00", Go: "go1.26"}
	if got != want {
		t.Errorf("%+v", got)
	}
	if got := versionOf("dev", release.Info{}); got != (versionView{Version: "dev"}) {
		t.Errorf("%+v", got)
	}
}
