package usage_test

import (
	"errors"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/internal/usage"
)

func TestCursor(t *testing.T) {
	r := core.Settlement{RequestID: "req.1 ü", EndedAt: time.Date(1969, 1, 2, 3, 4, 5, 6000, time.UTC)}
	want := usage.After(&r)
	got, err := usage.ParseCursor(want.String())
	if err != nil || got != want {
		t.Fatalf("%+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"x", "1", "not a cursor", want.String()[1:], want.String() + "AA", "MDAwMDAwMDAuMS5h"} {
		if _, err := usage.ParseCursor(bad); !errors.Is(err, store.ErrCursor) {
			t.Errorf("%q: %v, want ErrCursor", bad, err)
		}
	}
}

func TestHourOf(t *testing.T) {
	for us, want := range map[int64]int64{0: 0, usage.HourUS - 1: 0, usage.HourUS: 1, -1: -1, -usage.HourUS: -1, -usage.HourUS - 1: -2} {
		if got := usage.HourOf(us); got != want {
			t.Errorf("HourOf(%d) = %d, want %d", us, got, want)
		}
	}
	// An hour is closed ten minutes after its end.
	end := time.Unix(7200, 0)
	if got := usage.Closed(end.Add(usage.CloseAfter - 1)); got != 1 {
		t.Errorf("just before: %d, want 1", got)
	}
	if got := usage.Closed(end.Add(usage.CloseAfter)); got != 2 {
		t.Errorf("then: %d, want 2", got)
	}
}
