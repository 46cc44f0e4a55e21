//go:build unix

package redis_test

import (
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/store/storetest"
)

// BenchmarkStore measures the hot path on a real server over loopback, where there is one; package memory has the same
// benchmark without a server.
func BenchmarkStore(b *testing.B) { storetest.Benchmark(b, benchServer(b).opener("")) }

func benchServer(b *testing.B) *server {
	path, err := exec.LookPath(programs[0])
	if err != nil {
		b.Skip("there is no " + programs[0])
	}
	return start(b, path)
}

// BenchmarkCPU tells what Admit and Settle of a request cost this process, without the server and the waiting: the
// difference to package memory's time is what Redis costs the gateway.
func BenchmarkCPU(b *testing.B) {
	s := open(b, benchServer(b).url(""))
	wide := core.Limits{RPM: 60_000_000, RPD: 1 << 40, Concurrency: 1000, TPM: 1 << 40}
	for _, c := range []struct {
		name         string
		key, account core.Limits
	}{{"unlimited", core.Limits{}, core.Limits{}}, {"key", wide, core.Limits{}}, {"key+account", wide, wide}} {
		b.Run(c.name, func(b *testing.B) {
			account := c.name + strconv.Itoa(b.N)
			subs := tenant(b, s, account, c.key)[:2]
			subs[1].Limits = c.account
			var n atomic.Int64
			before := cpu(b)
			b.ReportAllocs()
			b.SetParallelism(16) // a gateway has many requests at once
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					id := account + strconv.FormatInt(n.Add(1), 10)
					if _, err := s.Admit(b.Context(), request(id, account, subs...)); err != nil {
						b.Error(err)
					}
					if err := s.Settle(b.Context(), settlement(id, account, subs...)); err != nil {
						b.Error(err)
					}
				}
			})
			b.StopTimer()
			b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-us/op")
		})
	}
}

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
