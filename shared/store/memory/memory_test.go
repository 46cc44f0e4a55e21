package memory_test

import (
	"testing"

	"sluice/shared/store"
	"sluice/shared/store/memory"
	"sluice/shared/store/storetest"
)

func open(testing.TB) store.Store { return memory.New() }

func TestStore(t *testing.T) { storetest.Run(t, open) }

func BenchmarkStore(b *testing.B) { storetest.Benchmark(b, open) }
