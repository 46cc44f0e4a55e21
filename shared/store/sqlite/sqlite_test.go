package sqlite_test

import (
	"path/filepath"
	"testing"

	"sluice/shared/store"
	"sluice/shared/store/sqlite"
	"sluice/shared/store/storetest"
)

func openDir(tb testing.TB, dir string) store.Store {
	tb.Helper()
	s, err := sqlite.Open(tb.Context(), filepath.Join(dir, "data", "a b?#%.db"), sqlite.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func open(tb testing.TB) store.Store { return openDir(tb, tb.TempDir()) }

func TestStore(t *testing.T) { storetest.Run(t, open) }

func TestRestart(t *testing.T) { storetest.RunRestart(t, openDir) }

func BenchmarkStore(b *testing.B) { storetest.Benchmark(b, open) }
