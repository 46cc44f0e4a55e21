package redis

import (
	"context"
	"maps"
	"slices"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"sluice/shared/core"
)

// WithHooks makes the driver call hooks, by which tests count and break calls.
func (o Options) WithHooks(h ...goredis.Hook) Options {
	o.hooks = append(o.hooks, h...)
	return o
}

// At is a time as the store corrects it.
func (s *Store) At(t time.Time) time.Time { return s.clock.at(t) }

// DB is the store's client.
func (s *Store) DB() goredis.UniversalClient { return s.db }

// Subject are the keys of a subject.
func (s *Store) Subject(account, kind, id string) (hash, leases, held string) {
	return s.keys.subject(account, kind, id)
}

// Target is what parse made of a URL.
type Target struct {
	Addrs                []string
	User, Password       string
	DB                   int
	TLS, Cluster         bool
	Master               string
	SentUser, SentSecret string
	Prefix               string
	Pool                 int
}

// Parse is parse.
func Parse(text string) (Target, error) {
	t, err := parse(text)
	if err != nil {
		return Target{}, err
	}
	return Target{t.addrs, t.user, t.password, t.db, t.tls, t.cluster, t.master, t.sentUser, t.sentSecret, t.prefix, t.pool}, nil
}

// ScriptName tells which script a hash is of.
func (s *Store) ScriptName(hash string) string {
	for name, sc := range s.byName() {
		if sc.hash == hash {
			return name
		}
	}
	return ""
}

// ScriptNames are the names of all scripts.
func (s *Store) ScriptNames() []string {
	return slices.Sorted(maps.Keys(s.byName()))
}

func (s *Store) byName() map[string]*script {
	c := &s.scripts
	return map[string]*script{"admit": &c.admit, "settle": &c.settle, "renew": &c.renew, "claim": &c.claim, "release": &c.release,
		"create": &c.create, "replace": &c.replace, "delete": &c.delete, "acquire": &c.acquire, "giveup": &c.giveUp, "close": &c.close,
		"costs": &c.costs, "day": &c.day, "keep": &c.keep, "tidy": &c.tidy, "unlist": &c.unlist}
}

// Uncost makes the closed hours of account those of a program that knew no costs.
func (s *Store) Uncost(ctx context.Context, account string) error {
	return s.db.Del(ctx, s.keys.costed(account)).Err()
}

// SumNumbers is dayNumbers.
func SumNumbers(s *core.UsageSum) []*int64 { return dayNumbers(s) }

// ParseEntry reads an entry of the index.
func ParseEntry(raw string) (home, id string, err error) {
	e, err := parseEntry(raw)
	return e.home, e.id, err
}
