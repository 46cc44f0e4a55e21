package adminui

import (
	"testing"
	"time"
)

// A day whose midnight does not exist once began in the evening before, where the API's sums have no such day.
func TestDaysBeginWithinThem(t *testing.T) {
	for _, c := range []struct {
		why, zone string
		from      time.Time
		by        string
		want      []string
	}{
		{"clocks go forward at midnight", "America/Santiago", time.Date(2026, 9, 5, 12, 0, 0, 0, time.UTC), "day", []string{"2026-09-05T00:00:00-04:00", "2026-09-06T01:00:00-03:00", "2026-09-07T00:00:00-03:00"}},
		{"clocks go back at midnight: the first of both", "America/Havana", time.Date(2026, 10, 31, 12, 0, 0, 0, time.UTC), "day", []string{"2026-10-31T00:00:00-04:00", "2026-11-01T00:00:00-04:00", "2026-11-02T00:00:00-05:00"}},
		{"they go forward at two", "Europe/Berlin", time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC), "day", []string{"2026-03-28T00:00:00+01:00", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"}},
		{"months over a year's end", "Asia/Kolkata", time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC), "month", []string{"2026-11-01T00:00:00+05:30", "2026-12-01T00:00:00+05:30", "2027-01-01T00:00:00+05:30"}},
	} {
		t.Run(c.why, func(t *testing.T) {
			zone, err := time.LoadLocation(c.zone)
			if err != nil {
				t.Fatal(err)
			}
			p := period{zone: zone, From: c.from, By: c.by, now: c.from.AddDate(1, 0, 0)}
			got := p.starts(c.from)
			for i, want := range c.want {
				if i >= len(got) || got[i].Format(time.RFC3339) != want {
					t.Errorf("%d: got %v, want %s", i, got[:min(len(got), 3)], want)
				}
			}
		})
	}
}
