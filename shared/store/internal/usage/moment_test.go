package usage

import (
	"testing"
	"time"

	"sluice/shared/store"
)

// TestMoments: groups of days and months have their names and their first instants, also where clocks skip midnight.
func TestMoments(t *testing.T) {
	for _, c := range []struct {
		why, zone, hour string
		day             bool // a sum of a day of UTC
		by              store.GroupBy
		name, at        string
	}{
		{"a plain day", "UTC", "2026-03-10T04:00:00Z", false, store.GroupDay, "2026-03-10", "2026-03-10T00:00:00Z"},
		{"midnight is skipped", "America/Santiago", "2026-09-06T12:00:00-03:00", false, store.GroupDay, "2026-09-06", "2026-09-06T01:00:00-03:00"},
		{"the day before it", "America/Santiago", "2026-09-05T23:00:00-04:00", false, store.GroupDay, "2026-09-05", "2026-09-05T00:00:00-04:00"},
		{"a day of UTC stands for the zone's", "America/Santiago", "2026-09-06T00:00:00Z", true, store.GroupDay, "2026-09-06", "2026-09-06T01:00:00-03:00"},
		{"in March", "America/Havana", "2026-03-08T05:00:00-04:00", false, store.GroupDay, "2026-03-08", "2026-03-08T01:00:00-04:00"},
		{"its first hour", "Atlantic/Azores", "2026-03-29T01:00:00Z", false, store.GroupDay, "2026-03-29", "2026-03-29T01:00:00Z"},
		{"midnight comes twice", "America/Havana", "2026-11-01T00:00:00-05:00", false, store.GroupDay, "2026-11-01", "2026-11-01T00:00:00-04:00"},
		{"a month", "America/Santiago", "2026-09-06T12:00:00-03:00", false, store.GroupMonth, "2026-09", "2026-09-01T00:00:00-04:00"},
		{"a month whose first midnight is skipped", "America/Asuncion", "2000-10-09T12:00:00-03:00", false, store.GroupMonth, "2000-10", "2000-10-01T01:00:00-03:00"},
		{"a month by a day of UTC", "America/Asuncion", "2000-10-09T00:00:00Z", true, store.GroupMonth, "2000-10", "2000-10-01T01:00:00-03:00"},
		{"an hour", "America/Santiago", "2026-09-06T12:00:00-03:00", false, store.GroupHour, "", "2026-09-06T15:00:00Z"},
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		hour, err := time.Parse(time.RFC3339, c.hour)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		g := NewGroups(&store.UsageFilter{Zone: zone}, c.by)
		if got := g.moment(HourOf(hour.UnixMicro()), c.day); got != (slot{c.name, at.UnixMicro()}) {
			t.Errorf("%s: %q from %v, want %q from %s", c.why, got.name, time.UnixMicro(got.at).In(zone), c.name, c.at)
		}
	}
}
