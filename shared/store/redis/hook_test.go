package redis_test

import (
	"context"
	"net"
	"strings"
	"sync"

	goredis "github.com/redis/go-redis/v9"
)

// watch is a hook that sees each round trip, and can break some.
type watch struct {
	mu    sync.Mutex
	trips []goredis.Cmder // the first command of each
	// fail, when set, is asked before a command is sent; an error takes the place of the answer. It says by sent whether
	// the command is sent all the same.
	fail func(cmd goredis.Cmder) (err error, sent bool)
}

func (w *watch) DialHook(next goredis.DialHook) goredis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (w *watch) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		fail := w.note(cmd)
		if fail != nil {
			if err, sent := fail(cmd); err != nil {
				if sent {
					_ = next(ctx, cmd)
				}
				cmd.SetErr(err)
				return err
			}
		}
		return next(ctx, cmd)
	}
}

func (w *watch) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		if first := strings.ToLower(cmds[0].Name()); first != "hello" && first != "client" { // how a connection begins
			w.note(cmds[0])
		}
		return next(ctx, cmds)
	}
}

func (w *watch) note(cmd goredis.Cmder) func(goredis.Cmder) (error, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trips = append(w.trips, cmd)
	return w.fail
}

// take returns the round trips since the last call.
func (w *watch) take() []goredis.Cmder {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.trips
	w.trips = nil
	return out
}

func (w *watch) breaks(f func(cmd goredis.Cmder) (error, bool)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail = f
}

// scriptKeys are hash and declared keys of a run of a script.
func scriptKeys(cmd goredis.Cmder) (hash string, keys []string, ok bool) {
	args := cmd.Args()
	if len(args) < 3 || args[0] != "evalsha" {
		return "", nil, false
	}
	hash, _ = args[1].(string)
	n, _ := args[2].(int)
	for _, k := range args[3 : 3+n] {
		s, _ := k.(string)
		keys = append(keys, s)
	}
	return hash, keys, true
}
