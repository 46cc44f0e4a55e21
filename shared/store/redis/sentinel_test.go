package redis_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"sluice/shared/core"
	"sluice/shared/store"
)

// Behind Sentinel the store finds the master, and after a failover the new one, which knows no script by its hash.
func TestSentinel(t *testing.T) {
	servers(t, func(t *testing.T, program string) {
		master, replica := start(t, program), start(t, program)
		host, port, _ := net.SplitHostPort(master.addr)
		second := replica.client(t)
		if err := second.ReplicaOf(t.Context(), host, port).Err(); err != nil {
			t.Fatal(err)
		}
		until(t, "the replica follows", func(ctx context.Context) bool {
			n, err := master.client(t).Wait(ctx, 1, 0).Result()
			return err == nil && n == 1
		})
		sentinelPort := freePort(t)
		conf := filepath.Join(t.TempDir(), "sentinel.conf")
		text := fmt.Sprintf("port %s\nbind 127.0.0.1\nsentinel monitor main %s %s 1\nsentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n", sentinelPort, host, port)
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		watcher := spawn(t, program, sentinelPort, []string{conf, "--sentinel"})
		ask := watcher.client(t)
		until(t, "Sentinel knows the replica", func(ctx context.Context) bool {
			known, err := ask.Do(ctx, "sentinel", "replicas", "main").Slice()
			return err == nil && len(known) == 1
		})

		s := open(t, "redis+sentinel://"+watcher.addr+"/main?prefix=s:")
		ctx := t.Context()
		subs := tenant(t, s, "acme", core.Limits{RPD: 10, Concurrency: 5})
		if _, err := s.Admit(ctx, request("a", "acme", subs[0])); err != nil {
			t.Fatal(err)
		}
		// The limit may be passed by what did not reach the replica; here it waits until everything has.
		if n, err := master.client(t).Wait(ctx, 1, 0).Result(); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		until(t, "Sentinel lets the replica take over", func(ctx context.Context) bool {
			return ask.Do(ctx, "sentinel", "failover", "main").Err() == nil
		})
		var res store.AdmitResult
		until(t, "the store works with the new master", func(ctx context.Context) bool {
			addr, err := ask.Do(ctx, "sentinel", "get-master-addr-by-name", "main").StringSlice()
			if err != nil || net.JoinHostPort(addr[0], addr[1]) != replica.addr {
				return false
			}
			res, err = s.Admit(ctx, request("b", "acme", subs[0]))
			if errors.Is(err, store.ErrStale) {
				t.Fatal("the new master has not the old one's documents")
			}
			return err == nil
		})
		if res.Figures[0].Remaining != 8 || res.Figures[1].Remaining != 3 {
			t.Errorf("after the failover: %+v", res.Figures)
		}
	})
}
