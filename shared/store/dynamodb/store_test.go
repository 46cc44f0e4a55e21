package dynamodb_test

import (
	"testing"
	"time"

	"sluice/shared/store"
	"sluice/shared/store/dynamodb"
	"sluice/shared/store/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, fresh, storetest.Options{Lag: 2 * time.Second, Hasty: true, PurgesItself: true})
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
