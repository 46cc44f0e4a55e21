package redis_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"sluice/shared/store"
	"sluice/shared/store/redis"
	"sluice/shared/store/storetest"
)

func open(tb testing.TB, url string) *redis.Store {
	tb.Helper()
	return openWith(tb, url, redis.Options{})
}

func openWith(tb testing.TB, url string, o redis.Options) *redis.Store {
	tb.Helper()
	s, err := redis.Open(context.Background(), url, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func inProcess(tb testing.TB) store.Store {
	return open(tb, "redis://"+miniredis.RunT(tb).Addr())
}

func TestInProcess(t *testing.T) { storetest.Run(t, inProcess) }

func TestServer(t *testing.T) {
	plain(t, func(t *testing.T, program string) { storetest.Run(t, start(t, program).opener("")) })
}

func TestCluster(t *testing.T) {
	servers(t, func(t *testing.T, program string) {
		hosts := cluster(t, program)
		storetest.Run(t, func(tb testing.TB) store.Store {
			return open(tb, fmt.Sprintf("redis://%s?prefix=t%d:", hosts, prefixes.Add(1)))
		})
	})
}
