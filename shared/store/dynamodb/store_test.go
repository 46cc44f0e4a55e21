package dynamodb_test

import (
	"testing"
	"time"

	"sluice/shared/store"
	"sluice/shared/store/dynamodb"
	"sluice/shared/store/storetest"
)

// TestConformance also records what IAM must allow: the conformance suite makes every kind of request.
func TestConformance(t *testing.T) {
	need(t)
	seen := newRecorder()
	open(t, bareTable(t), dynamodb.Options{HTTPClient: seen}) // the first start on a stack's table
	storetest.Run(t, func(tb testing.TB) store.Store {
		return open(tb, newTable(tb), dynamodb.Options{HTTPClient: seen})
	}, storetest.Options{Lag: 2 * time.Second, Hasty: true, PurgesItself: true})
	if !t.Failed() && !part() {
		seen.sameActions(t)
	}
}

func TestRestart(t *testing.T) {
	tables := map[string]string{} // by the case's folder
	storetest.RunRestart(t, func(tb testing.TB, dir string) store.Store {
		if tables[dir] == "" {
			tables[dir] = newTable(tb)
		}
		return open(tb, tables[dir], dynamodb.Options{})
	}, storetest.RestartOptions{LeasesSurvive: true})
}

func BenchmarkStore(b *testing.B) { storetest.Benchmark(b, fresh) }
