package redis_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"sluice/shared/store"
	"sluice/shared/store/redis"
)

// Many instances create, change and delete the same few documents with the same few look-up strings. Afterwards index and
// documents agree: each string leads to who has it, nobody has another's, and what nobody has is free at once.
func TestIndexUnderLoad(t *testing.T) {
	t.Run("in process", func(t *testing.T) { indexUnderLoad(t, "redis://"+miniredis.RunT(t).Addr(), 200) })
	plain(t, func(t *testing.T, program string) { indexUnderLoad(t, start(t, program).url(""), 600) })
}

func indexUnderLoad(t *testing.T, url string, rounds int) {
	stores := []*redis.Store{open(t, url), open(t, url)}
	strs := []string{"a", "b", "c", "d", "e", "f"}
	var mu sync.Mutex
	seen := map[string]int{}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			rng, s := rand.New(rand.NewPCG(uint64(w), 3)), stores[w%2]
			for range rounds {
				id := fmt.Sprint(rng.IntN(5))
				d := store.Doc{Kind: store.KindKey, ID: id, Account: []string{"acme", "other"}[id[0]%2]}
				for _, u := range strs {
					if rng.IntN(6) == 0 {
						d.Unique = append(d.Unique, u)
					}
				}
				var err error
				verb := []string{"create", "replace", "replace", "delete"}[rng.IntN(4)]
				switch verb {
				case "create":
					_, err = s.Create(t.Context(), d)
				case "replace":
					var old store.Doc
					if old, err = s.Get(t.Context(), d.Kind, id); err == nil {
						d.Version = old.Version
						_, err = s.Replace(t.Context(), d)
					}
				case "delete":
					err = s.Delete(t.Context(), d.Kind, id, 0)
				}
				if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrExists) && !errors.Is(err, store.ErrConflict) {
					t.Errorf("%s %s: %v", verb, id, err)
				}
				mu.Lock()
				if err == nil {
					seen[verb]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if seen["create"] < 20 || seen["replace"] < 20 || seen["delete"] < 20 {
		t.Errorf("too little happened: %v", seen)
	}
	s := stores[0]
	ds, err := s.List(t.Context(), store.KindKey, "", "", 100)
	if err != nil {
		t.Fatal(err)
	}
	holder := map[string]string{}
	for _, d := range ds {
		for _, u := range d.Unique {
			if other, ok := holder[u]; ok {
				t.Errorf("%s belongs to %s and to %s", u, other, d.ID)
			}
			holder[u] = d.ID
			if got, err := s.Find(t.Context(), d.Kind, u); err != nil || got.ID != d.ID {
				t.Errorf("Find %s: %q, %v, want %s", u, got.ID, err, d.ID)
			}
		}
		if got, err := s.Get(t.Context(), d.Kind, d.ID); err != nil || got.Version != d.Version {
			t.Errorf("Get %s: %v", d.ID, err)
		}
	}
	for _, u := range strs {
		_, err := s.Create(t.Context(), store.Doc{Kind: store.KindKey, ID: "new " + u, Unique: []string{u}})
		if _, held := holder[u]; held != errors.Is(err, store.ErrExists) || (!held && err != nil) {
			t.Errorf("a document for %s, held %v: %v", u, held, err)
		}
	}
	for _, account := range []string{"acme", "other"} {
		mine, err := s.List(t.Context(), store.KindKey, account, "", 100)
		if err != nil || len(mine) != len(slices.DeleteFunc(slices.Clone(ds), func(d store.Doc) bool { return d.Account != account })) {
			t.Errorf("List of %s: %+v, %v", account, mine, err)
		}
	}
}
