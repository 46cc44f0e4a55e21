// Package redis keeps a whole store on a Redis or Valkey server, alone, behind Sentinel or as a Cluster. Many instances
// of the gateway share it. The package has more than 1,500 lines because all its parts share one layout of keys, which
// must be understood as a whole.
//
// # Keys
//
// All keys begin with the prefix. What belongs to an account carries the hash tag {a:ID}, so that it lives on one node of
// a Cluster and one script can change it in one step; what finds documents without their account carries {i}.
//
//	{a:A}:d:KIND:ID   hash: version, account, expiry, look-up strings, body and last claim of a document; expires with it
//	{a:A}:l:KIND      sorted set: ids of the account's documents of a kind
//	{a:A}:g           generation
//	{a:A}:h:KIND:ID   hash: version (v) and counters of what can be limited
//	{a:A}:z:KIND:ID   sorted set: request id by the end of its lease, microseconds; expires
//	{a:A}:y:KIND:ID   hash: request id -> tokens, micro-USD, day and month that its lease holds; expires
//	{a:A}:r:ID        string: a usage record
//	{a:A}:ri          sorted set: ids of the records by their end
//	{a:A}:ru          hash: kKEY and nNODE -> end of the newest record of a key, of a node; count: how many
//	                  records it knows of. Where there are others an older program stored some
//	{a:A}:rc          first hour that is not closed
//	{a:A}:s:HOUR      hash: sums of a closed hour; {a:A}:sh lists those hours
//	{a:A}:c:HOUR      hash: its costs, see costNumbers; {a:A}:ch lists those hours
//	{a:A}:w0:HOUR     string: the same in one, with sketches, see appendSum; an older program knows only the two before.
//	                  w1 to w4 are the same by account, key, node and model; missing: to be worked out from w0
//	{a:A}:e0:DAY      string: sums of a day; e1 to e4 likewise. {a:A}:el lists those days
//	{a:A}:wl          sorted set: w and hour, or e and day, that late records were appended to
//	{a:A}:rm          hash: days before e have sums; records before hour r, and sums before hour h, may be gone; v counts
//	                  how often these rose, and vDAY the late records of a day
//	{i}:n:KIND        hash: id -> entry; {i}:u:KIND: look-up string -> entry; {i}:l:KIND: sorted set of all ids
//	{i}:x             sorted set: documents that expire; {i}:a: accounts with records
//	{i}:k:NAME        counter; {i}:s: number of the last claim; {i}:schema: version of this layout
//	{l:NAME}          hash: holder, end and fencing number of a lease; expires
//
// # Documents and the index
//
// A document and the index are on different nodes of a Cluster, and so no step changes both. The document is the truth;
// an entry of the index names it, the number of the claim that made it and when. Create claims first and writes then;
// Replace claims new look-up strings, writes, and frees old ones; Delete removes the document, then its entries. Who
// crashes in between leaves an entry whose document does not exist or does not have the string: no reader is misled, and
// a claim overwrites it once it is 20 s old. A document is written within 10 s of its claim or not at all, which the
// script checks by the server's clock.
package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"sluice/shared/store"
)

var _ store.Store = (*Store)(nil)

// ErrMemory is the error of a write that the server refuses because its memory is full. Nothing of it was written.
var ErrMemory = errors.New("the Redis server is out of memory: raise maxmemory")

var errClosed = errors.New("the store is closed")

const (
	openTimeout   = 5 * time.Second
	settleTimeout = 10 * time.Second
	schema        = 1 // of the layout, and the oldest that can use it
)

// Store is a store on Redis. It is safe for concurrent use.
type Store struct {
	db      goredis.UniversalClient
	keys    keys
	where   string
	scripts scripts
	clock   clock
	now     func() time.Time
	closed  atomic.Bool
	known   sync.Map // accounts that the index of accounts with records has
}

// Options are a Store's. The zero value is good.
type Options struct {
	Logger *slog.Logger // gets one warning at open when the server may evict keys; nil discards it
	// Now is this machine's clock, which is compared with the server's; nil is time.Now.
	Now func() time.Time

	hooks []goredis.Hook // for tests
}

// quiet keeps the driver from writing to standard error: callers get its errors.
var quiet = sync.OnceFunc(func() { goredis.SetLogger(nowhere{}) })

type nowhere struct{}

func (nowhere) Printf(context.Context, string, ...any) {}

// Open connects to the server that a URL names and checks that it answers, within 5 s. The forms, where rediss stands
// for redis over TLS:
//
//	redis://[user:password@]host[:6379][/db]
//	redis://[user:password@]host1,host2[?cluster=true]      a Cluster; with one host cluster=true is needed
//	redis+sentinel://[user:password@]host1,host2/master[/db]  Sentinel, port 26379; or redis://host1,host2?master=NAME
//
// Parameters: prefix (of all keys, default "sluice:"), pool_size (connections to a node), sentinel_user and
// sentinel_password. The error is one line and tells nothing of user and password.
func Open(ctx context.Context, url string, o Options) (*Store, error) {
	quiet()
	t, err := parse(url)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	s := &Store{db: t.client(), keys: keys{t.prefix}, where: t.where(), now: o.Now}
	if s.now == nil {
		s.now = time.Now
	}
	for _, h := range o.hooks {
		s.db.AddHook(h)
	}
	if s.scripts, err = loadScripts(); err == nil {
		ctx, cancel := context.WithTimeout(ctx, openTimeout)
		defer cancel()
		err = s.start(ctx, o.Logger)
	}
	if err != nil {
		_ = s.db.Close() // the first error tells more
		return nil, err
	}
	return s, nil
}

// Where names the servers and the prefix of the keys, without user and password.
func (s *Store) Where() string { return s.where }

func (s *Store) start(ctx context.Context, log *slog.Logger) error {
	asked := s.now()
	server, err := s.db.Time(ctx).Result()
	if err != nil {
		return fmt.Errorf("%s: %w", s.where, connectError(ctx, err))
	}
	s.clock.learn(asked, s.now().Sub(asked), server)
	s.clock.ask(asked)
	if err := s.checkSchema(ctx); err != nil {
		return fmt.Errorf("%s: %w", s.where, connectError(ctx, err))
	}
	// Not every server tells, and not every user may ask.
	if info, err := s.db.Info(ctx, "memory").Result(); err == nil && log != nil {
		if policy := field(info, "maxmemory_policy"); policy != "" && policy != "noeviction" {
			log.Warn("The Redis server may evict keys when its memory is full, and with them accounts, keys and limits: set its maxmemory-policy to noeviction", "policy", policy)
		}
	}
	return nil
}

// connectError says in one line what is wrong with the first calls.
func connectError(ctx context.Context, err error) error {
	text := err.Error()
	switch {
	case strings.HasPrefix(text, "WRONGPASS"), strings.HasPrefix(text, "ERR invalid password"), strings.HasPrefix(text, "ERR AUTH"), strings.HasPrefix(text, "ERR Client sent AUTH"):
		return errors.New("the server refuses the user name or password")
	case strings.HasPrefix(text, "NOAUTH"):
		return errors.New("the server wants a password: redis://:PASSWORD@HOST")
	case strings.HasPrefix(text, "NOPERM"):
		return errors.New("the user may not do what the gateway needs: allow it the commands of its keys and scripts")
	case strings.HasPrefix(text, "MOVED"), strings.HasPrefix(text, "CLUSTERDOWN"):
		return errors.New("the server is part of a Cluster: add ?cluster=true")
	case strings.Contains(text, "cluster support disabled"):
		return errors.New("the server is not a Cluster: give one address, without cluster=true")
	case errors.Is(err, store.ErrNewer), refused(err):
		return typed(err)
	}
	var slow net.Error
	if ctx.Err() != nil || (errors.As(err, &slow) && slow.Timeout()) {
		return errors.New("no answer in time: is it the right address, and TLS (rediss) or not?")
	}
	return fmt.Errorf("cannot connect: %w", err)
}

func field(info, name string) string {
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return v
		}
	}
	return ""
}

// checkSchema notes the layout's version with the oldest that can use it, and refuses one that is too new for us.
func (s *Store) checkSchema(ctx context.Context) error {
	own := fmt.Sprintf("%d %d", schema, schema)
	have, err := s.db.Get(ctx, s.keys.schema()).Result()
	if errors.Is(err, goredis.Nil) {
		return s.db.SetNX(ctx, s.keys.schema(), own, 0).Err()
	}
	if err != nil {
		return err
	}
	_, oldest, _ := strings.Cut(have, " ")
	if n, err := strconv.Atoi(oldest); err != nil || n > schema {
		return fmt.Errorf("layout %q: %w", have, store.ErrNewer)
	}
	return nil
}

// usable reports why a call cannot begin.
func (s *Store) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.closed.Load() {
		return errClosed
	}
	return nil
}

// typed makes errors that callers compare of the server's.
func typed(err error) error {
	var remote goredis.Error
	if errors.As(err, &remote) && strings.HasPrefix(remote.Error(), "OOM") {
		return ErrMemory
	}
	return err
}

// fail says where an error happened. A done context is the reason, whatever the driver calls it.
func (s *Store) fail(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		err = ctx.Err()
	}
	return fmt.Errorf("redis: %s: %w", op, typed(err))
}

// Ping implements store.Store.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	return s.fail(ctx, "ping", s.db.Ping(ctx).Err())
}

// Flush implements store.Store: nothing is buffered here. How safe what was written is, is up to the server's persistence.
func (s *Store) Flush(ctx context.Context) error { return s.usable(ctx) }

// Close implements store.Store.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	return s.db.Close()
}
