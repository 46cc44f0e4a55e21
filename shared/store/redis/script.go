package redis

import (
	"context"
	"embed"
	"errors"
	"io"
	"net"
	"strings"

	goredis "github.com/redis/go-redis/v9"
)

//go:embed lua/*.lua
var sources embed.FS

// script is a Lua program that the server keeps under the hash of its text.
type script struct {
	text, hash string
}

// scripts are the programs that a Store runs.
type scripts struct {
	admit, settle, renew, raise, claim, release, create, replace, delete, acquire, giveUp, close, costs, day, keep, tidy, unlist script
}

func loadScripts() (s scripts, err error) {
	limits, err := sources.ReadFile("lua/limit.lua")
	if err != nil {
		return s, err
	}
	for _, p := range []struct {
		to     *script
		file   string
		limits bool
	}{
		{&s.admit, "admit", true}, {&s.settle, "settle", true}, {&s.renew, "renew", false}, {&s.raise, "raise", true},
		{&s.claim, "claim", false}, {&s.release, "release", false},
		{&s.create, "create", false}, {&s.replace, "replace", false}, {&s.delete, "delete", false},
		{&s.acquire, "acquire", false}, {&s.giveUp, "giveup", false}, {&s.close, "close", false}, {&s.costs, "costs", false}, {&s.day, "day", false}, {&s.keep, "keep", false}, {&s.tidy, "tidy", false}, {&s.unlist, "unlist", false},
	} {
		text, err := sources.ReadFile("lua/" + p.file + ".lua")
		if err != nil {
			return s, err
		}
		if p.limits {
			text = append(append([]byte{}, limits...), text...)
		}
		p.to.text = string(text)
		p.to.hash = goredis.NewScript(p.to.text).Hash()
	}
	return s, nil
}

// call collects the keys and arguments of one run of a script.
type call struct {
	words   []any // EVALSHA hash n keys... args...
	keys    int
	numbers [maxNumbers]int64 // what words point to: an integer in an interface would be an allocation
	used    int
}

// maxNumbers is what Admit of four limited subjects needs.
const maxNumbers = 48

func (sc *script) call(keys ...string) *call {
	c := &call{words: make([]any, 3, 40)}
	c.words[0], c.words[1] = "evalsha", sc.hash
	return c.key(keys...)
}

// key adds keys; all of them come before the first argument.
func (c *call) key(keys ...string) *call {
	for _, k := range keys {
		c.words = append(c.words, k)
	}
	c.keys += len(keys)
	return c
}

// str adds arguments that are texts.
func (c *call) str(args ...string) *call {
	for _, a := range args {
		c.words = append(c.words, a)
	}
	return c
}

// num adds arguments that are numbers.
func (c *call) num(args ...int64) *call {
	for _, a := range args {
		if c.used == maxNumbers {
			c.words = append(c.words, a)
			continue
		}
		c.numbers[c.used] = a
		c.words = append(c.words, &c.numbers[c.used])
		c.used++
	}
	return c
}

// bytes adds an argument that the caller does not change until the call is over.
func (c *call) bytes(arg []byte) *call {
	c.words = append(c.words, arg)
	return c
}

// run sends a call by the script's hash and, when the server does not know it (its first use, after a restart or a
// failover), by its text. One that may be repeated is sent once more when the connection broke before the answer.
func (s *Store) run(ctx context.Context, sc *script, repeat bool, c *call) *goredis.Cmd {
	c.words[2] = c.keys
	cmd := s.send(ctx, c)
	if err := cmd.Err(); err != nil && repeat && broken(err) && ctx.Err() == nil {
		cmd = s.send(ctx, c)
	}
	if err := cmd.Err(); err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") {
		c.words[0], c.words[1] = "eval", sc.text
		cmd = s.send(ctx, c)
	}
	return cmd
}

func (s *Store) send(ctx context.Context, c *call) *goredis.Cmd {
	cmd := goredis.NewCmd(ctx, c.words...)
	cmd.SetFirstKeyPos(3)
	_ = s.db.Process(ctx, cmd) // cmd has the error
	return cmd
}

// broken reports whether the connection failed, or the server it leads to became a replica or is still loading. A call
// that timed out is not among these: the server is slow, and asking again would not help it.
func broken(err error) bool {
	var op *net.OpError
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || (errors.As(err, &op) && !op.Timeout()) {
		return true
	}
	return strings.HasPrefix(err.Error(), "READONLY") || strings.HasPrefix(err.Error(), "LOADING")
}
