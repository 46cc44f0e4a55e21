package measure_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"context"

	"sluice/shared/store"
	"sluice/shared/store/measure"
	"sluice/shared/store/memory"
	"sluice/shared/store/storetest"
)

// The decorator keeps every promise of what it wraps.
func TestStore(t *testing.T) {
	storetest.Run(t, func(testing.TB) store.Store { return measure.New(memory.New(), func(measure.Call) {}) })
}

// slow is a store whose admissions take three seconds and whose other calls fail.
type slow struct{ *memory.Store }

var errAway = errors.New("away")

func (s *slow) Admit(ctx context.Context, r store.AdmitRequest) (store.AdmitResult, error) {
	time.Sleep(3 * time.Second)
	return s.Store.Admit(ctx, r)
}

func (s *slow) Ping(context.Context) error { return errAway }

// Each call is told once, with its time and its own error, whatever it is.
func TestCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var calls []measure.Call
		inner := &slow{memory.New()}
		s := measure.New(inner, func(c measure.Call) {
			mu.Lock()
			defer mu.Unlock()
			calls = append(calls, c)
		})
		now := time.Now()
		_, _ = s.Admit(t.Context(), store.AdmitRequest{Now: now, ID: "r", Account: "a", LeaseEnd: now.Add(time.Minute)})
		if _, err := s.Get(t.Context(), store.KindNode, "none"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the error is not passed on: %v", err)
		}
		_ = s.Ping(t.Context())
		_, _ = s.Acquire(t.Context(), "l", "h", now, time.Minute)
		_, _, _ = s.Records(t.Context(), store.UsageFilter{}, "", 1)
		verbs := make([]string, len(calls))
		for i, c := range calls {
			verbs[i] = c.Verb
		}
		if !slices.Equal(verbs, []string{"admit", "get", "ping", "acquire", "records"}) {
			t.Fatalf("told of %v", verbs)
		}
		if calls[0].Took != 3*time.Second || calls[1].Took != 0 {
			t.Errorf("took %v and %v", calls[0].Took, calls[1].Took)
		}
		if !errors.Is(calls[1].Err, store.ErrNotFound) || !errors.Is(calls[2].Err, errAway) || calls[3].Err != nil {
			t.Errorf("errors %v, %v, %v", calls[1].Err, calls[2].Err, calls[3].Err)
		}
		if s.Unwrap() != store.Store(inner) {
			t.Error("another store inside")
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
