package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"sluice/shared/store"
)

const (
	// ttlGrace is how much longer than its document's life a key stays: readers check the expiry anyway, and Purge gets
	// the chance to remove the document with what the index has of it.
	ttlGrace = time.Hour
	// page bounds what one round trip of a listing reads.
	page = 500
)

var errAccount = errors.New("the account of a document cannot change")

// entry is what the index knows of an id or a look-up string.
type entry struct {
	raw      string
	claim    int64
	home, id string
}

// parseEntry reads what claim.lua wrote: claim, second, length of home, home and id.
func parseEntry(raw string) (entry, error) {
	e := entry{raw: raw}
	claim, rest, ok := strings.Cut(raw, ":")
	_, rest, ok2 := strings.Cut(rest, ":")
	size, rest, ok3 := strings.Cut(rest, ":")
	n, err := strconv.Atoi(size)
	if !ok || !ok2 || !ok3 || err != nil || n < 0 || n > len(rest) {
		return e, errors.New("an entry of the index is not readable")
	}
	if e.claim, err = strconv.ParseInt(claim, 10, 64); err != nil {
		return e, errors.New("an entry of the index is not readable")
	}
	e.home, e.id = rest[:n], rest[n:]
	return e, nil
}

func notFound(kind, id string) error { return fmt.Errorf("%s %s: %w", kind, id, store.ErrNotFound) }

// lookUp reads an entry of the index, ErrNotFound when there is none.
func (s *Store) lookUp(ctx context.Context, key, field string) (entry, error) {
	var raw string
	err := s.twice(ctx, func() (err error) {
		raw, err = s.db.HGet(ctx, key, field).Result()
		return err
	})
	if errors.Is(err, goredis.Nil) {
		return entry{}, store.ErrNotFound
	}
	if err != nil {
		return entry{}, err
	}
	return parseEntry(raw)
}

// twice repeats a read whose connection broke.
func (s *Store) twice(ctx context.Context, read func() error) error {
	err := read()
	if err != nil && broken(err) && ctx.Err() == nil {
		err = read()
	}
	return err
}

// homeOf finds the account whose tag a document carries.
func (s *Store) homeOf(ctx context.Context, kind, id string) (string, error) {
	if kind == store.KindAccount {
		return id, nil
	}
	e, err := s.lookUp(ctx, s.keys.ids(kind), id)
	return e.home, err
}

var docFields = []string{"v", "a", "e", "u", "b"}

// scanDoc reads the answer to a question for docFields.
func scanDoc(kind, id string, values []any) (store.Doc, error) {
	d := store.Doc{Kind: kind, ID: id}
	var text [5]string
	for i := range text {
		v, ok := values[i].(string)
		if !ok {
			return d, notFound(kind, id)
		}
		text[i] = v
	}
	version, err := strconv.ParseInt(text[0], 10, 64)
	expires, err2 := strconv.ParseInt(text[2], 10, 64)
	if err = errors.Join(err, err2); err == nil && text[3] != "" {
		err = json.Unmarshal([]byte(text[3]), &d.Unique)
	}
	if err != nil {
		return d, fmt.Errorf("%s %s is not readable: %w", kind, id, err)
	}
	if expires != 0 {
		d.Expires = time.UnixMicro(expires).UTC()
	}
	d.Version, d.Account, d.Body = version, text[1], []byte(text[4])
	return d, nil
}

func (s *Store) read(ctx context.Context, home, kind, id string) (store.Doc, error) {
	var values []any
	err := s.twice(ctx, func() (err error) {
		values, err = s.db.HMGet(ctx, s.keys.doc(home, kind, id), docFields...).Result()
		return err
	})
	if err != nil {
		return store.Doc{}, err
	}
	return scanDoc(kind, id, values)
}

// Get implements store.Docs.
func (s *Store) Get(ctx context.Context, kind, id string) (store.Doc, error) {
	if err := s.usable(ctx); err != nil {
		return store.Doc{}, err
	}
	at, err := s.homeOf(ctx, kind, id)
	if errors.Is(err, store.ErrNotFound) {
		return store.Doc{}, notFound(kind, id)
	}
	if err != nil {
		return store.Doc{}, s.fail(ctx, "find "+kind, err)
	}
	d, err := s.read(ctx, at, kind, id)
	return d, s.fail(ctx, "read "+kind, err)
}

// Find implements store.Docs.
func (s *Store) Find(ctx context.Context, kind, unique string) (store.Doc, error) {
	if err := s.usable(ctx); err != nil {
		return store.Doc{}, err
	}
	e, err := s.lookUp(ctx, s.keys.uniques(kind), unique)
	if err == nil {
		var d store.Doc
		if d, err = s.read(ctx, e.home, kind, e.id); err == nil && contains(d.Unique, unique) {
			return d, nil
		}
	}
	if err == nil || errors.Is(err, store.ErrNotFound) {
		return store.Doc{}, fmt.Errorf("%s by look-up string: %w", kind, store.ErrNotFound)
	}
	return store.Doc{}, s.fail(ctx, "find "+kind, err)
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// List implements store.Docs. A page costs two round trips for an account and three for all.
func (s *Store) List(ctx context.Context, kind, account, after string, limit int) ([]store.Doc, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	key := s.keys.all(kind)
	if account != "" {
		key = s.keys.list(account, kind)
	}
	var out []store.Doc
	for len(out) < limit {
		from := "-"
		if after != "" {
			from = "(" + after
		}
		n := min(limit-len(out), page)
		ids, err := s.db.ZRangeByLex(ctx, key, &goredis.ZRangeBy{Min: from, Max: "+", Count: int64(n)}).Result()
		if err == nil && len(ids) > 0 {
			out, err = s.readAll(ctx, out, kind, account, ids)
		}
		if err != nil {
			return nil, s.fail(ctx, "list "+kind, err)
		}
		if len(ids) < n {
			break
		}
		after = ids[len(ids)-1] // ids without a document make a page short: go on until it is full
	}
	return out, nil
}

// readAll appends the documents of ids that exist. account "": each is looked for.
func (s *Store) readAll(ctx context.Context, dst []store.Doc, kind, account string, ids []string) ([]store.Doc, error) {
	homes := make([]string, len(ids))
	for i := range ids {
		homes[i] = account
	}
	if account == "" {
		entries, err := s.db.HMGet(ctx, s.keys.ids(kind), ids...).Result()
		if err != nil {
			return dst, err
		}
		for i, v := range entries {
			raw, _ := v.(string)
			if raw == "" {
				continue // deleted a moment ago: its document will not be found under "" either
			}
			e, err := parseEntry(raw)
			if err != nil {
				return dst, err
			}
			homes[i] = e.home
		}
	}
	pipe := s.db.Pipeline()
	cmds := make([]*goredis.SliceCmd, len(ids))
	for i, id := range ids {
		cmds[i] = pipe.HMGet(ctx, s.keys.doc(homes[i], kind, id), docFields...)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return dst, err
	}
	for i, cmd := range cmds {
		d, err := scanDoc(kind, ids[i], cmd.Val())
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return dst, err
		}
		dst = append(dst, d)
	}
	return dst, nil
}

// Next implements store.Docs.
func (s *Store) Next(ctx context.Context, counter string) (int64, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	n, err := s.db.Incr(ctx, s.keys.counter(counter)).Result()
	return n, s.fail(ctx, "count "+counter, err)
}
