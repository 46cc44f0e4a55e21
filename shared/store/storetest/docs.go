package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"sluice/shared/store"
)

var docCases = []testcase{
	{"CreateGet", "a document comes back as it was stored, at version 1, its time accurate to the microsecond", func(t *T) {
		d := store.Doc{
			Kind: "session", ID: "ü/1 x", Account: "acme", Version: 77, Unique: []string{"u1", "u2"},
			Expires: t.Now.Add(1234567 * time.Microsecond).In(time.FixedZone("x", 3600)), Body: []byte(`{"a":"\u0000é"}`),
		}
		v, err := t.S.Create(t.Ctx, d)
		t.ok(err, "create")
		got, err := t.S.Get(t.Ctx, d.Kind, d.ID)
		t.ok(err, "get")
		if v != 1 || got.Version != 1 || got.Kind != d.Kind || got.ID != d.ID || got.Account != d.Account ||
			!got.Expires.Equal(d.Expires) || !bytes.Equal(got.Body, d.Body) || !slices.Equal(got.Unique, d.Unique) {
			t.Errorf("version %d, got %+v, want %+v", v, got, d)
		}
		plain := t.create("meta", "p", "")
		if got, err := t.S.Get(t.Ctx, "meta", "p"); err != nil || !got.Expires.IsZero() || got.Account != "" || len(got.Unique) != 0 {
			t.Errorf("got %+v, %v, want %+v", got, err, plain)
		}
	}},
	{"Missing", "every verb on a missing document is ErrNotFound, and the kind is part of the name", func(t *T) {
		t.create("session", "1", "acme", "look")
		_, err := t.S.Get(t.Ctx, "meta", "1")
		t.is(err, store.ErrNotFound, "Get")
		_, err = t.S.Find(t.Ctx, "meta", "look")
		t.is(err, store.ErrNotFound, "Find")
		_, err = t.S.Replace(t.Ctx, store.Doc{Kind: "meta", ID: "1", Version: 1})
		t.is(err, store.ErrNotFound, "Replace")
		t.is(t.S.Delete(t.Ctx, "meta", "1", 0), store.ErrNotFound, "Delete")
		t.is(t.S.Delete(t.Ctx, "meta", "1", 1), store.ErrNotFound, "Delete of a version")
	}},
	{"CreateTwice", "Create is ErrExists when the id is taken and leaves the first as it was", func(t *T) {
		t.create("meta", "1", "acme")
		_, err := t.S.Create(t.Ctx, store.Doc{Kind: "meta", ID: "1", Account: "other", Body: []byte(`{"n":9}`)})
		t.is(err, store.ErrExists, "second create")
		if got, err := t.S.Get(t.Ctx, "meta", "1"); err != nil || got.Account != "acme" || string(got.Body) != `{"n":0}` {
			t.Errorf("got %+v, %v", got, err)
		}
		t.create("session", "1", "acme") // another kind
	}},
	{"Unique", "a look-up string belongs to one document of a kind: taken is ErrExists, Replace moves it, Delete frees it", func(t *T) {
		a := t.create("key", "1", "acme", "x", "y")
		b := t.create("key", "2", "acme", "z")
		find := func(u, want string) {
			t.Helper()
			got, err := t.S.Find(t.Ctx, "key", u)
			if want == "" {
				t.is(err, store.ErrNotFound, "find %s", u)
			} else if err != nil || got.ID != want {
				t.Errorf("find %s: %q, %v, want %q", u, got.ID, err, want)
			}
		}
		find("x", "1")
		find("y", "1")
		find("z", "2")
		_, err := t.S.Create(t.Ctx, store.Doc{Kind: "key", ID: "3", Unique: []string{"w", "y"}})
		t.is(err, store.ErrExists, "create with a taken string")
		_, err = t.S.Get(t.Ctx, "key", "3")
		t.is(err, store.ErrNotFound, "get what was not created")
		find("w", "")
		b.Unique = []string{"v", "x"}
		_, err = t.S.Replace(t.Ctx, b)
		t.is(err, store.ErrExists, "replace with a taken string")
		find("v", "")
		find("z", "2")
		a.Unique = []string{"y", "u"} // gives x up
		t.replace(a)
		find("x", "")
		find("u", "1")
		b = t.replace(b)
		find("x", "2")
		find("z", "")
		t.ok(t.S.Delete(t.Ctx, "key", "2", b.Version), "delete")
		find("x", "")
		t.create("key", "4", "acme", "x", "v")
		t.create("node", "4", "acme", "x") // another kind
		find("x", "4")
	}},
	{"CompareAndSwap", "Replace and Delete of another version are ErrConflict and change nothing; versions rise by 1", func(t *T) {
		d := t.create("meta", "1", "acme")
		old := d
		d.Body = []byte(`{"n":1}`)
		if d = t.replace(d); d.Version != 2 {
			t.Errorf("version %d, want 2", d.Version)
		}
		for _, v := range []int64{0, 1, 3} {
			old.Version = v
			_, err := t.S.Replace(t.Ctx, old)
			t.is(err, store.ErrConflict, "replace over version %d", v)
		}
		t.is(t.S.Delete(t.Ctx, "meta", "1", 1), store.ErrConflict, "delete of version 1")
		if got, err := t.S.Get(t.Ctx, "meta", "1"); err != nil || got.Version != 2 || string(got.Body) != `{"n":1}` {
			t.Errorf("got %+v, %v", got, err)
		}
		t.ok(t.S.Delete(t.Ctx, "meta", "1", 2), "delete of version 2")
		if again := t.create("meta", "1", "acme"); again.Version != 1 {
			t.Errorf("version %d after a new start, want 1", again.Version)
		}
		t.ok(t.S.Delete(t.Ctx, "meta", "1", 0), "delete of any version")
	}},
	{"AccountStays", "a document never moves to another account", func(t *T) {
		d := t.create("node", "1", "acme")
		d.Account = "other"
		if _, err := t.S.Replace(t.Ctx, d); err == nil {
			t.Error("the account changed")
		}
		if got, err := t.S.Get(t.Ctx, "node", "1"); err != nil || got.Account != "acme" || got.Version != 1 {
			t.Errorf("got %+v, %v", got, err)
		}
	}},
	{"NoSharing", "what a caller does to its slices afterwards does not reach the store, nor the other way round", func(t *T) {
		body := []byte(`{"n":1}`)
		_, err := t.S.Create(t.Ctx, store.Doc{Kind: "meta", ID: "1", Body: body, Unique: []string{"a"}})
		t.ok(err, "create")
		body[5] = '2'
		got, err := t.S.Get(t.Ctx, "meta", "1")
		t.ok(err, "get")
		got.Body[5] = '3'
		got.Unique[0] = "b"
		if got, err = t.S.Get(t.Ctx, "meta", "1"); err != nil || string(got.Body) != `{"n":1}` || got.Unique[0] != "a" {
			t.Errorf("got %s %v, %v", got.Body, got.Unique, err)
		}
	}},
	{"List", "List goes through a kind by the bytes of the ids, in pages, for one account or for all", func(t *T) {
		ids := []string{"1", "10", "2", "B", "a", "é"}
		for i := range ids {
			id := ids[(i*5)%len(ids)]
			account := "acme"
			if id == "10" || id == "a" {
				account = "other"
			}
			t.create("node", id, account)
		}
		t.create("meta", "0", "acme")
		for _, c := range []struct {
			account string
			want    []string
		}{
			{"", ids}, {"acme", []string{"1", "2", "B", "é"}}, {"other", []string{"10", "a"}}, {"nobody", nil},
		} {
			for _, page := range []int{1, 2, 100} {
				var got []string
				after := ""
				for range 20 {
					ds, err := t.S.List(t.Ctx, "node", c.account, after, page)
					t.ok(err, "list")
					for _, d := range ds {
						got = append(got, d.ID)
						after = d.ID
					}
					if len(ds) < page {
						break
					}
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("account %q in pages of %d: %q, want %q", c.account, page, got, c.want)
				}
			}
		}
		if ds, err := t.S.List(t.Ctx, "node", "", "15", 1); err != nil || len(ds) != 1 || ds[0].ID != "2" || string(ds[0].Body) != `{"n":0}` {
			t.Errorf("after an id that does not exist: %+v, %v", ds, err)
		}
	}},
	{"Counters", "numbers of a counter begin with 1 and never repeat, also among many callers", func(t *T) {
		for want := int64(1); want <= 3; want++ {
			if n, err := t.S.Next(t.Ctx, "a"); err != nil || n < want || (want == 1 && n != 1) {
				t.Errorf("next is %d, %v, want %d", n, err, want)
			}
		}
		if n, err := t.S.Next(t.Ctx, "b"); err != nil || n != 1 {
			t.Errorf("another counter begins with %d, %v", n, err)
		}
		var mu sync.Mutex
		seen := map[int64]bool{}
		t.parallel(40, func(int) error {
			n, err := t.S.Next(t.Ctx, "c")
			mu.Lock()
			defer mu.Unlock()
			if seen[n] {
				return fmt.Errorf("%d came twice", n)
			}
			seen[n] = true
			return err
		})
	}},
	{"NoLostUpdate", "of many writers of one document none is lost", func(t *T) {
		const workers = 100
		tab := store.NewTable(t.S, "meta", func() time.Time { return t.Now }, func(v *counted) store.Meta { return store.Meta{ID: v.ID} })
		_, err := tab.Create(t.Ctx, counted{ID: "1"})
		t.ok(err, "create")
		t.parallel(workers, func(int) error {
			for {
				_, err := tab.Update(t.Ctx, "1", func(v *counted) error { v.N++; return nil })
				if !errors.Is(err, store.ErrConflict) { // Table gives up after many collisions
					return err
				}
			}
		})
		row, err := tab.Get(t.Ctx, "1")
		if err != nil || row.Value.N != workers || row.Version != workers+1 {
			t.Errorf("%+v, %v, want %d at version %d", row, err, workers, workers+1)
		}
	}},
	{"OneCreator", "of many who create the same id or look-up string one succeeds, all others get ErrExists, and can read at once what exists", func(t *T) {
		var mu sync.Mutex
		won := map[string]int{}
		t.parallel(40, func(i int) error {
			d, what := store.Doc{Kind: "meta", ID: "same"}, "id"
			if i%2 == 0 {
				d, what = store.Doc{Kind: "meta", ID: fmt.Sprint(i), Unique: []string{"same"}}, "string"
			}
			_, err := t.S.Create(t.Ctx, d)
			if errors.Is(err, store.ErrExists) { // a start that heard it, and then found nothing, ended
				if what == "string" {
					_, err = t.S.Find(t.Ctx, "meta", "same")
				} else {
					_, err = t.S.Get(t.Ctx, "meta", "same")
				}
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			won[what]++
			return err
		})
		if won["id"] != 1 || won["string"] != 1 {
			t.Errorf("winners: %v", won)
		}
	}},
	{"Purge", "Purge removes what expired before now, with its look-up strings, and nothing else", func(t *T) {
		for i, after := range []time.Duration{-time.Hour, -time.Second, time.Second, 0} {
			d := store.Doc{Kind: "session", ID: fmt.Sprint(i), Account: "acme", Unique: []string{fmt.Sprint("u", i)}}
			if after != 0 {
				d.Expires = t.Now.Add(after)
			}
			_, err := t.S.Create(t.Ctx, d)
			t.ok(err, "create")
		}
		total := 0
		if t.Opt.PurgesItself {
			n, err := t.S.Purge(t.Ctx, t.Now)
			t.ok(err, "purge")
			for i := range 2 { // what would be gone by then may be deleted and made anew
				if err := t.S.Delete(t.Ctx, "session", fmt.Sprint(i), 0); err == nil {
					n++
				}
			}
			total = n
		}
		for range 10 { // it may do a part at a time
			n, err := t.S.Purge(t.Ctx, t.Now)
			t.ok(err, "purge")
			total += n
		}
		if total != 2 {
			t.Errorf("%d removed, want 2", total)
		}
		for i := range 4 {
			_, err := t.S.Get(t.Ctx, "session", fmt.Sprint(i))
			_, err2 := t.S.Find(t.Ctx, "session", fmt.Sprint("u", i))
			if gone := i < 2; gone != errors.Is(err, store.ErrNotFound) || gone != errors.Is(err2, store.ErrNotFound) {
				t.Errorf("session %d: %v, %v", i, err, err2)
			}
		}
		t.create("session", "0", "acme", "u0")
	}},
	{"Generations", "an account's generation differs after each change of its account, key and node documents and of its nodes' states, and only then", func(t *T) {
		last := map[string]int64{"acme": 0, "other": 0}
		moved := func(what string, want ...string) {
			t.Helper()
			for account, old := range last {
				n, err := t.S.Generation(t.Ctx, account)
				t.ok(err, "generation")
				if slices.Contains(want, account) != (n != old) {
					t.Errorf("%s: generation of %s went from %d to %d", what, account, old, n)
				}
				last[account] = n
			}
		}
		moved("nothing")
		t.create(store.KindAccount, "acme", "acme")
		moved("create an account", "acme")
		key := t.create(store.KindKey, "1", "acme")
		moved("create a key", "acme")
		node := t.create(store.KindNode, "1", "other")
		moved("create a node", "other")
		t.replace(node)
		moved("replace a node", "other")
		session := t.create(store.KindSession, "1", "acme")
		t.replace(session)
		t.ok(t.S.Delete(t.Ctx, store.KindSession, "1", 0), "delete")
		moved("other kinds")
		t.create(store.KindNodeState, "1", "acme")
		moved("create a node's state", "acme")
		old := key
		key = t.replace(key)
		moved("replace a key", "acme")
		_, err := t.S.Replace(t.Ctx, old)
		t.is(err, store.ErrConflict, "replace an old version")
		moved("a failed change")
		t.ok(t.S.Delete(t.Ctx, store.KindKey, "1", key.Version), "delete a key")
		moved("delete a key", "acme")
		t.ok(t.S.Delete(t.Ctx, store.KindNode, "1", 0), "delete a node")
		moved("delete a node", "other")
	}},
}

type counted struct {
	ID string `json:"id"`
	N  int    `json:"n"`
}

// parallel runs n workers at once and reports their errors.
func (t *T) parallel(n int, work func(i int) error) {
	t.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = work(i) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}
