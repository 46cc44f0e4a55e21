package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"sluice/shared/store"
)

const (
	// claimSeconds is how long a claim waits for its document. Twice that makes it stale.
	claimSeconds = 10
	// claimPatience is how long Create waits for another one's document. A writer needs one round trip; one that died is not
	// waited for until its claim is stale.
	claimPatience = 2 * time.Second
	// forgetSeconds is the age of an entry without a document that Purge may remove: nobody is about to write it.
	forgetSeconds = 60
	// purgeBatch bounds one Purge.
	purgeBatch = 1000
	// undoTimeout bounds the freeing of a claim after a failure, which happens also under a done context.
	undoTimeout = 2 * time.Second
)

var (
	errPending = errors.New("about to be written")
	errLate    = errors.New("the document was not written in time: try again")
	errHome    = errors.New("an account's document belongs to itself")
	errReply   = errors.New("the server's answer has another form than its script gives")
)

// change is a document with what the scripts need of it.
type change struct {
	kind, id, home string
	account        string
	expires        int64 // microseconds, 0 never
	ttl            int64 // milliseconds, 0 for ever
	unique         []string
	looks          string // JSON of unique, "" when there are none
	body           []byte
}

func (s *Store) change(d *store.Doc) (*change, error) {
	c := &change{kind: d.Kind, id: d.ID, home: home(d.Kind, d.ID, d.Account), account: d.Account, unique: d.Unique, body: d.Body}
	if d.Account != "" && d.Account != c.home {
		return nil, errHome
	}
	if c.body == nil {
		c.body = []byte{}
	}
	if !d.Expires.IsZero() {
		c.expires = d.Expires.UnixMicro()
		c.ttl = (max(d.Expires.Sub(s.clock.at(s.now())), 0) + ttlGrace).Milliseconds()
	}
	for i, u := range d.Unique {
		if contains(d.Unique[:i], u) {
			return nil, fmt.Errorf("a look-up string twice: %w", store.ErrExists)
		}
	}
	if len(d.Unique) > 0 {
		b, err := json.Marshal(d.Unique)
		if err != nil {
			return nil, err
		}
		c.looks = string(b)
	}
	return c, nil
}

// member names a document in the list of those that expire.
func member(kind, id string) string { return kind + "\x00" + id }

// claim is a reservation in the index: its number and the second by which its document must be written.
type claim struct{ n, deadline int64 }

// reserve claims look-up strings and, when whole, the id. Entries that a crash left behind make way.
func (s *Store) reserve(ctx context.Context, c *change, unique []string, whole bool) (claim, error) {
	k := &s.keys
	stale := make([]string, len(unique)+1) // of the id, then of each string
	for range len(stale) + 1 {
		call := s.scripts.claim.call(k.claims(), k.ids(c.kind), k.uniques(c.kind), k.all(c.kind), k.expiring()).
			str(c.id, c.home, member(c.kind, c.id)).num(c.expires, claimSeconds).str(flag(whole), stale[0])
		for i, u := range unique {
			call.str(u, stale[i+1])
		}
		reply, err := s.run(ctx, &s.scripts.claim, false, call).Slice()
		if err != nil {
			return claim{}, err
		}
		if len(reply) == 3 {
			return claim{integer(reply, 1), integer(reply, 2)}, nil
		}
		if len(reply) != 4 {
			return claim{}, errReply
		}
		i := integer(reply, 1)
		raw, _ := reply[2].(string)
		if i < 0 || i >= int64(len(stale)) {
			return claim{}, errReply
		}
		e, err := parseEntry(raw)
		if err != nil {
			return claim{}, err
		}
		if integer(reply, 3) == 1 || stale[i] == raw {
			return claim{}, s.pending(c, &e) // someone is at it right now
		}
		held, err := s.holds(ctx, c, &e, unique, int(i))
		if err != nil {
			return claim{}, err
		}
		if held {
			return claim{}, store.ErrExists
		}
		stale[i] = raw
	}
	return claim{}, store.ErrExists
}

// pending is the error for an entry whose document is not written yet, or no longer has it and will soon free it.
func (s *Store) pending(c *change, e *entry) error {
	if e.id == c.id && e.home == c.home {
		return fmt.Errorf("%w: %w", errPending, store.ErrConflict)
	}
	return fmt.Errorf("%w: %w", errPending, store.ErrExists)
}

// holds reports whether the document that an entry names exists and, for a look-up string, has it.
func (s *Store) holds(ctx context.Context, c *change, e *entry, unique []string, i int) (bool, error) {
	d, err := s.read(ctx, e.home, c.kind, e.id)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil && (i == 0 || contains(d.Unique, unique[i-1])), err
}

// release frees what claims of these numbers hold for the document. It works under a done context, too. What cannot be
// freed is stale and makes way later, so that an error is of no use to the caller.
func (s *Store) release(ctx context.Context, c *change, low, high int64, whole bool, unique []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	k := &s.keys
	call := s.scripts.release.call(k.ids(c.kind), k.uniques(c.kind), k.all(c.kind), k.expiring()).
		str(c.id).num(low, high).str(member(c.kind, c.id), flag(whole)).str(unique...)
	_ = s.run(ctx, &s.scripts.release, true, call)
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// integer is a number of a script's answer, -1 when it is not there.
func integer(reply []any, i int) int64 {
	if i < len(reply) {
		if n, ok := reply[i].(int64); ok {
			return n
		}
	}
	return -1
}

// Create implements store.Docs.
func (s *Store) Create(ctx context.Context, d store.Doc) (int64, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	c, err := s.change(&d)
	if err == nil {
		err = s.create(ctx, c)
	}
	if err != nil {
		return 0, s.fail(ctx, "create "+d.Kind+" "+d.ID, err)
	}
	return 1, nil
}

// reserveSoon is reserve of a whole document, which waits for who is about to write it: ErrExists must not come before what
// exists can be read, for a caller that hears it reads.
func (s *Store) reserveSoon(ctx context.Context, c *change) (claim, error) {
	until := time.Now().Add(claimPatience)
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		cl, err := s.reserve(ctx, c, c.unique, true)
		if !errors.Is(err, errPending) || !time.Now().Before(until) {
			return cl, err
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return cl, err
		}
	}
}

func (s *Store) create(ctx context.Context, c *change) error {
	cl, err := s.reserveSoon(ctx, c)
	if err != nil {
		if errors.Is(err, store.ErrConflict) {
			err = store.ErrExists
		}
		return err
	}
	status, err := s.run(ctx, &s.scripts.create, false, s.scripts.create.call(s.keys.docKeys(c.home, c.kind, c.id)...).
		str(c.id, c.account).num(c.expires).str(c.looks).bytes(c.body).num(c.ttl, cl.deadline, cl.n)).Int64()
	switch {
	case err == nil && status == 0:
		return nil
	case err == nil && status == 1:
		err = store.ErrExists
	case err == nil:
		err = errLate
	case !refused(err):
		return err // it may have been written: the entries must stay, and are stale when it was not
	}
	s.release(ctx, c, cl.n, cl.n, true, c.unique)
	return err
}

// refused reports whether the server itself answered with an error, so that nothing was written.
func refused(err error) bool {
	var remote goredis.Error
	return errors.As(err, &remote)
}

// lost reports whether an error of swap leaves open what was written, because no answer came.
func lost(err error) bool {
	for _, known := range []error{store.ErrConflict, store.ErrNotFound, errAccount, errLate} {
		if errors.Is(err, known) {
			return false
		}
	}
	return !refused(err)
}

// Replace implements store.Docs.
func (s *Store) Replace(ctx context.Context, d store.Doc) (int64, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	c, err := s.change(&d)
	if err == nil {
		err = s.replace(ctx, c, d.Version)
	}
	if err != nil {
		return 0, s.fail(ctx, "replace "+d.Kind+" "+d.ID, err)
	}
	return d.Version + 1, nil
}

// replace needs one round trip, and three more when look-up strings or the expiry change.
func (s *Store) replace(ctx context.Context, c *change, version int64) error {
	looks, err := s.swap(ctx, c, version, claim{}, "")
	if !errors.Is(err, errIndex) {
		return err
	}
	var old []string
	if looks != "" {
		if err := json.Unmarshal([]byte(looks), &old); err != nil {
			return fmt.Errorf("its look-up strings are not readable: %w", err)
		}
	}
	fresh := without(c.unique, old)
	cl, err := s.reserve(ctx, c, fresh, false)
	if err != nil {
		return err
	}
	switch _, err = s.swap(ctx, c, version, cl, looks); {
	case err == nil:
		if gone := without(old, c.unique); len(gone) > 0 {
			s.release(ctx, c, 0, cl.n-1, false, gone)
		}
	case len(fresh) > 0 && !lost(err):
		s.release(ctx, c, cl.n, cl.n, false, fresh)
	}
	return err
}

func without(list, minus []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return contains(minus, s) })
}

// errIndex tells that the index must know of a change first.
var errIndex = errors.New("look-up strings or expiry change")

// swap runs the script of Replace. With errIndex come the look-up strings that the document has.
func (s *Store) swap(ctx context.Context, c *change, version int64, cl claim, old string) (looks string, err error) {
	reply, err := s.run(ctx, &s.scripts.replace, false, s.scripts.replace.call(s.keys.docKeys(c.home, c.kind, c.id)...).
		num(version).str(c.account).num(c.expires).str(c.looks).bytes(c.body).num(c.ttl, cl.deadline, cl.n).str(old)).Slice()
	if err != nil {
		return "", err
	}
	switch integer(reply, 0) {
	case 0:
		return "", nil
	case 1:
		if at, err := s.homeOf(ctx, c.kind, c.id); err == nil && at != c.home {
			return "", errAccount
		}
		return "", store.ErrNotFound
	case 2:
		return "", store.ErrConflict
	case 3:
		return "", errAccount
	case 4:
		if len(reply) > 1 {
			looks, _ = reply[1].(string)
		}
		return looks, errIndex
	case 5:
		return "", errLate
	}
	return "", errReply
}

// Delete implements store.Docs.
func (s *Store) Delete(ctx context.Context, kind, id string, version int64) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	return s.fail(ctx, "delete "+kind+" "+id, s.delete(ctx, kind, id, version))
}

func (s *Store) delete(ctx context.Context, kind, id string, version int64) error {
	c := &change{kind: kind, id: id}
	var err error
	if c.home, err = s.homeOf(ctx, kind, id); err != nil {
		return err
	}
	reply, err := s.run(ctx, &s.scripts.delete, false, s.scripts.delete.call(s.keys.docKeys(c.home, kind, id)...).str(id).num(version)).Slice()
	if err != nil {
		return err
	}
	switch integer(reply, 0) {
	case 0:
		if len(reply) != 3 {
			return errReply
		}
		if text, _ := reply[1].(string); text != "" {
			if err := json.Unmarshal([]byte(text), &c.unique); err != nil {
				return fmt.Errorf("its look-up strings are not readable: %w", err)
			}
		}
		// Later claims than its last belong to who creates it anew.
		s.release(ctx, c, 0, integer(reply, 2), true, c.unique)
		return nil
	case 1:
		return store.ErrNotFound
	case 2:
		return store.ErrConflict
	}
	return errReply
}

// Purge implements store.Docs. It looks at no more than 1000 documents. The server removes an expired document by itself
// an hour later; what the index has of it goes here.
func (s *Store) Purge(ctx context.Context, now time.Time) (int, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	us := now.UnixMicro()
	names, err := s.db.ZRangeByScore(ctx, s.keys.expiring(), &goredis.ZRangeBy{
		Min: "-inf", Max: "(" + strconv.FormatInt(us, 10), Count: purgeBatch,
	}).Result()
	n := 0
	for _, name := range names {
		var gone bool
		if gone, err = s.purge(ctx, name, us); err != nil {
			break
		}
		if gone {
			n++
		}
	}
	return n, s.fail(ctx, "purge", err)
}

// purge removes one document of the list of those that expire, if it is still what the list says.
func (s *Store) purge(ctx context.Context, name string, now int64) (bool, error) {
	kind, id, _ := strings.Cut(name, "\x00")
	e, err := s.lookUp(ctx, s.keys.ids(kind), id)
	if errors.Is(err, store.ErrNotFound) {
		return false, s.db.ZRem(ctx, s.keys.expiring(), name).Err()
	}
	if err != nil {
		return false, err
	}
	d, err := s.read(ctx, e.home, kind, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return s.purgeEntry(ctx, &e, kind, name)
	case err != nil:
		return false, err
	case d.Expires.IsZero():
		return false, s.db.ZRem(ctx, s.keys.expiring(), name).Err()
	case d.Expires.UnixMicro() >= now:
		return false, s.db.ZAdd(ctx, s.keys.expiring(), goredis.Z{Score: float64(d.Expires.UnixMicro()), Member: name}).Err()
	}
	err = s.delete(ctx, kind, id, d.Version)
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
		return false, nil // it was prolonged, or another instance was first
	}
	return err == nil, err
}

// purgeEntry forgets a document that the server removed by itself, unless it is about to be written.
func (s *Store) purgeEntry(ctx context.Context, e *entry, kind, name string) (bool, error) {
	_, rest, _ := strings.Cut(e.raw, ":")
	second, _, _ := strings.Cut(rest, ":")
	made, err := strconv.ParseInt(second, 10, 64)
	if err != nil || s.clock.at(s.now()).Unix()-made < forgetSeconds {
		return false, nil
	}
	c := &change{kind: kind, id: e.id, home: e.home}
	call := s.scripts.delete.call(s.keys.docKeys(c.home, kind, c.id)...).str(c.id).num(0)
	if err := s.run(ctx, &s.scripts.delete, true, call).Err(); err != nil {
		return false, err
	}
	s.release(ctx, c, e.claim, e.claim, true, nil)
	return true, nil
}
