package redis_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/redis"
)

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

// refusedByServer is an error as the server gives it.
type refusedByServer string

func (e refusedByServer) Error() string { return string(e) }
func (refusedByServer) RedisError()     {}

// crash lets the store's process die, for the server, before the nth run of a script: neither it nor what follows is sent.
func crash(s *redis.Store, w *watch, script string, nth int) {
	runs, dead := 0, false
	w.breaks(func(cmd goredis.Cmder) (error, bool) {
		if hash, _, ok := scriptKeys(cmd); ok && s.ScriptName(hash) == script {
			runs++
		}
		if dead = dead || runs == nth; dead {
			return io.ErrClosedPipe, false
		}
		return nil, false
	})
}

// A crash between index and document misleads no reader, and what it left makes way after 20 s.
func TestCrashBetween(t *testing.T) {
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	doc := store.Doc{Kind: store.KindKey, ID: "1", Account: "acme", Unique: []string{"x", "y"}}
	other := store.Doc{Kind: store.KindKey, ID: "2", Account: "other", Unique: []string{"y"}}
	for _, c := range []struct {
		why     string
		prepare []store.Doc // exist before
		act     func(s *redis.Store) error
		script  string // the crash is before its nth run
		nth     int
		exists  bool // document 1 afterwards
		finds   map[string]string
	}{
		{"Create has claimed and not written", nil,
			func(s *redis.Store) error { _, err := s.Create(t.Context(), doc); return err }, "create", 1, false, map[string]string{"x": "", "y": ""}},
		{"Replace has claimed and not written", []store.Doc{{Kind: store.KindKey, ID: "1", Account: "acme", Unique: []string{"x"}}},
			func(s *redis.Store) error {
				d := doc
				d.Version = 1
				_, err := s.Replace(t.Context(), d)
				return err
			}, "replace", 2, true, map[string]string{"x": "1", "y": ""}},
		{"Replace has written and not freed", []store.Doc{doc},
			func(s *redis.Store) error {
				d := doc
				d.Version, d.Unique = 1, []string{"x"}
				_, err := s.Replace(t.Context(), d)
				return err
			}, "release", 1, true, map[string]string{"x": "1", "y": ""}},
		{"Delete has removed and not freed", []store.Doc{doc},
			func(s *redis.Store) error { return s.Delete(t.Context(), doc.Kind, doc.ID, 0) }, "release", 1, false, map[string]string{"x": "", "y": ""}},
	} {
		t.Run(c.why, func(t *testing.T) {
			srv, w := miniredis.RunT(t), &watch{}
			srv.SetTime(at)
			s := openWith(t, "redis://"+srv.Addr(), redis.Options{Now: func() time.Time { return at }}.WithHooks(w))
			everything(t, s, "warm") // scripts are known by their hash
			for _, d := range c.prepare {
				if _, err := s.Create(t.Context(), d); err != nil {
					t.Fatal(err)
				}
			}
			crash(s, w, c.script, c.nth)
			if err := c.act(s); err == nil && c.script != "release" { // a change is made when only its tidying is missing
				t.Error("the crash did not happen")
			}
			w.breaks(nil)
			if _, err := s.Get(t.Context(), doc.Kind, doc.ID); (err == nil) != c.exists {
				t.Errorf("Get: %v", err)
			}
			for u, want := range c.finds {
				d, err := s.Find(t.Context(), doc.Kind, u)
				if d.ID != want || (want == "") != errors.Is(err, store.ErrNotFound) {
					t.Errorf("Find %s: %q, %v, want %q", u, d.ID, err, want)
				}
			}
			ds, err := s.List(t.Context(), doc.Kind, "", "", 2)
			if err != nil || slices.ContainsFunc(ds, func(d store.Doc) bool { return d.ID == doc.ID }) != c.exists {
				t.Errorf("List: %+v, %v", ds, err)
			}
			srv.SetTime(at.Add(25 * time.Second))
			if _, err := s.Create(t.Context(), other); err != nil {
				t.Errorf("another document cannot have the string: %v", err)
			}
			if d, err := s.Find(t.Context(), doc.Kind, "y"); err != nil || d.ID != "2" {
				t.Errorf("Find: %q, %v", d.ID, err)
			}
			if !c.exists {
				again := doc
				again.Account, again.Unique = "third", []string{"x"}
				if _, err := s.Create(t.Context(), again); err != nil {
					t.Errorf("the id cannot be used again: %v", err)
				}
			}
		})
	}
}

// A write that the server refuses after the claim frees the claim at once.
func TestRefusedBetween(t *testing.T) {
	w := &watch{}
	s := openWith(t, "redis://"+miniredis.RunT(t).Addr(), redis.Options{}.WithHooks(w))
	everything(t, s, "warm")
	d := store.Doc{Kind: store.KindKey, ID: "1", Account: "acme", Unique: []string{"x"}}
	w.breaks(func(cmd goredis.Cmder) (error, bool) {
		if hash, _, ok := scriptKeys(cmd); ok && s.ScriptName(hash) == "create" {
			return refusedByServer("OOM command not allowed"), false
		}
		return nil, false
	})
	if _, err := s.Create(t.Context(), d); !errors.Is(err, redis.ErrMemory) {
		t.Errorf("error %v, want ErrMemory", err)
	}
	w.breaks(nil)
	d.ID = "2"
	if _, err := s.Create(t.Context(), d); err != nil {
		t.Errorf("the string is not free: %v", err)
	}
	d.ID, d.Unique = "1", nil
	if _, err := s.Create(t.Context(), d); err != nil {
		t.Errorf("the id is not free: %v", err)
	}
}

// A claim that waited too long for its document is not written any more: somebody else may have its strings by then.
func TestTooLate(t *testing.T) {
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	srv, w := miniredis.RunT(t), &watch{}
	srv.SetTime(at)
	s := openWith(t, "redis://"+srv.Addr(), redis.Options{}.WithHooks(w))
	w.breaks(func(cmd goredis.Cmder) (error, bool) {
		if hash, _, ok := scriptKeys(cmd); ok && s.ScriptName(hash) == "create" {
			srv.SetTime(at.Add(11 * time.Second))
		}
		return nil, false
	})
	d := store.Doc{Kind: store.KindKey, ID: "1", Account: "acme", Unique: []string{"x"}}
	if _, err := s.Create(t.Context(), d); err == nil {
		t.Error("it was written")
	}
	w.breaks(nil)
	if _, err := s.Create(t.Context(), d); err != nil {
		t.Errorf("the claim was not freed: %v", err)
	}
}

// What expires is removed by the server an hour later, also when nobody purges; Purge then tidies the index.
func TestServerExpires(t *testing.T) {
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	srv := miniredis.RunT(t)
	srv.SetTime(at)
	s := openWith(t, "redis://"+srv.Addr(), redis.Options{Now: func() time.Time { return at }})
	d := store.Doc{Kind: store.KindSession, ID: "1", Account: "acme", Expires: at.Add(time.Hour)}
	if _, err := s.Create(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	forever := store.Doc{Kind: store.KindSession, ID: "2", Account: "acme", Expires: at.Add(time.Hour)}
	if _, err := s.Create(t.Context(), forever); err != nil {
		t.Fatal(err)
	}
	forever.Version, forever.Expires = 1, time.Time{}
	if _, err := s.Replace(t.Context(), forever); err != nil {
		t.Fatal(err)
	}
	srv.FastForward(2*time.Hour - time.Minute)
	if _, err := s.Get(t.Context(), d.Kind, "1"); err != nil {
		t.Errorf("within the hour: %v", err)
	}
	srv.FastForward(2 * time.Minute)
	if _, err := s.Get(t.Context(), d.Kind, "1"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after it: %v", err)
	}
	if _, err := s.Get(t.Context(), d.Kind, "2"); err != nil {
		t.Errorf("what does not expire any more: %v", err)
	}
	for _, account := range []string{"", "acme"} {
		if ds, err := s.List(t.Context(), d.Kind, account, "", 1); err != nil || len(ds) != 1 || ds[0].ID != "2" {
			t.Errorf("List %q: %+v, %v", account, ds, err)
		}
	}
	at = at.Add(2*time.Hour + time.Minute)
	if n, err := s.Purge(t.Context(), at); err != nil || n != 1 {
		t.Errorf("Purge: %d, %v, want 1", n, err)
	}
	for _, key := range []string{"sluice:{i}:x", "sluice:{i}:l:session", "sluice:{a:acme}:l:session"} {
		if members, _ := srv.ZMembers(key); slices.Contains(members, "1") || slices.Contains(members, "session\x001") {
			t.Errorf("%s still has it", key)
		}
	}
	if srv.HGet("sluice:{i}:n:session", "1") != "" {
		t.Error("the ids still have it")
	}
}

// Keys that come with traffic expire; those that stay belong to documents, records or names that an operator chose.
func TestEphemeralKeysExpire(t *testing.T) {
	srv := miniredis.RunT(t)
	s := openWith(t, "redis://"+srv.Addr(), redis.Options{})
	subs := tenant(t, s, "acme", everyLimit)
	if _, err := s.Admit(t.Context(), request("a", "acme", subs...)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Acquire(t.Context(), "l", "me", now, time.Minute); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, sub := range subs {
		_, z, y := s.Subject("acme", sub.Kind, sub.ID)
		for _, key := range []string{z, y, "sluice:{l:l}"} {
			if n++; srv.TTL(key) <= 0 {
				t.Errorf("%s does not expire", key)
			}
		}
	}
	if n != 9 {
		t.Error("not all were looked at")
	}
}

// Every number of a sum has its field in a closed hour.
func TestSumNumbers(t *testing.T) {
	var s core.UsageSum
	seen := map[*int64]bool{}
	for i, n := range redis.SumNumbers(&s) {
		*n = int64(i + 1)
		seen[n] = true
	}
	if zero := zeroFields(s); len(zero) > 0 || len(seen) != len(redis.SumNumbers(&s)) {
		t.Errorf("sums of closed hours would lose %v", zero)
	}
}

// Who frees entries late, when their document was created anew meanwhile, frees none of the new one's.
func TestLateRelease(t *testing.T) {
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	old := store.Doc{Kind: store.KindKey, ID: "1", Account: "acme", Unique: []string{"x", "y"}}
	for _, c := range []struct {
		why       string
		late      func(s *redis.Store) error // its release comes last
		meanwhile func(s *redis.Store) error
		finds     []string
	}{
		{"Delete, and the document is created again",
			func(s *redis.Store) error { return s.Delete(t.Context(), old.Kind, old.ID, 0) },
			func(s *redis.Store) error { _, err := s.Create(t.Context(), old); return err }, []string{"x", "y"}},
		{"Replace gives up y, and another change takes it again",
			func(s *redis.Store) error {
				d := old
				d.Version, d.Unique = 1, []string{"x"}
				_, err := s.Replace(t.Context(), d)
				return err
			},
			func(s *redis.Store) error {
				d := old
				d.Version = 2
				_, err := s.Replace(t.Context(), d)
				return err
			}, []string{"x", "y"}},
	} {
		srv, w := miniredis.RunT(t), &watch{}
		srv.SetTime(at)
		url := "redis://" + srv.Addr()
		s, other := openWith(t, url, redis.Options{}.WithHooks(w)), open(t, url)
		everything(t, s, "warm")
		if _, err := s.Create(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		srv.SetTime(at.Add(time.Minute))
		w.breaks(func(cmd goredis.Cmder) (error, bool) {
			if hash, _, ok := scriptKeys(cmd); ok && s.ScriptName(hash) == "release" {
				w.breaks(nil)
				if err := c.meanwhile(other); err != nil {
					t.Errorf("%s: %v", c.why, err)
				}
			}
			return nil, false
		})
		if err := c.late(s); err != nil {
			t.Errorf("%s: %v", c.why, err)
		}
		if _, err := s.Get(t.Context(), old.Kind, old.ID); err != nil {
			t.Errorf("%s: Get: %v", c.why, err)
		}
		for _, u := range c.finds {
			if _, err := s.Find(t.Context(), old.Kind, u); err != nil {
				t.Errorf("%s: Find %s: %v", c.why, u, err)
			}
		}
	}
}

// Four processes that began on an empty server at the same time: one heard that the first account exists, looked, found nothing
// and ended. Its maker had claimed the id and not yet written the document.
func TestExistsMeansReadable(t *testing.T) {
	srv, w := miniredis.RunT(t), &watch{}
	slow := openWith(t, "redis://"+srv.Addr(), redis.Options{}.WithHooks(w))
	quick := open(t, "redis://"+srv.Addr())
	everything(t, slow, "warm")
	everything(t, quick, "warm too")
	doc := store.Doc{Kind: store.KindAccount, ID: "default", Account: "default", Unique: []string{"u"}}
	for _, c := range []struct {
		why  string
		doc  store.Doc
		read func() error
	}{
		{"by its id", store.Doc{Kind: doc.Kind, ID: doc.ID, Account: doc.Account}, func() error { _, err := quick.Get(t.Context(), doc.Kind, doc.ID); return err }},
		{"by a look-up string", store.Doc{Kind: doc.Kind, ID: "other", Account: "other", Unique: doc.Unique},
			func() error { _, err := quick.Find(t.Context(), doc.Kind, "u"); return err }},
	} {
		second := make(chan error, 1)
		w.breaks(func(cmd goredis.Cmder) (error, bool) {
			if hash, _, ok := scriptKeys(cmd); ok && slow.ScriptName(hash) == "create" {
				w.breaks(nil)
				began := make(chan struct{})
				go func() {
					close(began)
					_, err := quick.Create(t.Context(), c.doc)
					if err == nil || !errors.Is(err, store.ErrExists) {
						second <- fmt.Errorf("create: %w", errors.Join(err, errors.New("want ErrExists")))
						return
					}
					second <- c.read()
				}()
				<-began
				select {
				case err := <-second:
					second <- fmt.Errorf("it was told before there was anything: %w", err)
				case <-time.After(100 * time.Millisecond):
				}
			}
			return nil, false
		})
		if _, err := slow.Create(t.Context(), doc); err != nil {
			t.Fatal(err)
		}
		if err := <-second; err != nil {
			t.Errorf("%s: %v", c.why, err)
		}
		if err := slow.Delete(t.Context(), doc.Kind, doc.ID, 0); err != nil {
			t.Fatal(err)
		}
	}
}
