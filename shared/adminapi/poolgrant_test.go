package adminapi_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/adminapi"
	"sluice/shared/store"
)

// moody is a store that heeds the end of a call, and whose calls of a kind fail a number of times.
type moody struct {
	store.Docs
	mu    sync.Mutex
	fails map[string]int // by method and kind
}

func (m *moody) heed(ctx context.Context, what string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fails[what] > 0 {
		m.fails[what]--
		return errors.New("the store is away")
	}
	return nil
}

func (m *moody) fail(what string, times int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fails[what] = times
}

func (m *moody) Get(ctx context.Context, kind, id string) (store.Doc, error) {
	if err := m.heed(ctx, "get "+kind); err != nil {
		return store.Doc{}, err
	}
	return m.Docs.Get(ctx, kind, id)
}

func (m *moody) List(ctx context.Context, kind, account, after string, limit int) ([]store.Doc, error) {
	if err := m.heed(ctx, "list "+kind); err != nil {
		return nil, err
	}
	return m.Docs.List(ctx, kind, account, after, limit)
}

func (m *moody) Create(ctx context.Context, d store.Doc) (int64, error) {
	if err := m.heed(ctx, "create "+d.Kind); err != nil {
		return 0, err
	}
	return m.Docs.Create(ctx, d)
}

func (m *moody) Replace(ctx context.Context, d store.Doc) (int64, error) {
	if err := m.heed(ctx, "replace "+d.Kind); err != nil {
		return 0, err
	}
	return m.Docs.Replace(ctx, d)
}

func (m *moody) Next(ctx context.Context, counter string) (int64, error) {
	if err := m.heed(ctx, "next "+counter); err != nil {
		return 0, err
	}
	return m.Docs.Next(ctx, counter)
}

// The service grants a login once. The grant was lost when the poller had left by the time it came, or when the store failed
// before the node was kept.
func TestGrantIsNotLost(t *testing.T) {
	for _, c := range []struct {
		why   string
		fails string // of the store, after the service answered
		times int
		leave bool // the poller leaves when the service answers
	}{
		{"the poller leaves", "", 0, true},
		{"no id", "next node", 1, false},
		{"names cannot be read", "list node", 1, false},
		{"the login cannot be written at once", "replace " + store.KindLogin, 2, false},
		{"the node cannot be created", "create node", 1, false},
		{"nor read", "get node", 1, false},
		{"the poller leaves, and the node cannot be created", "create node", 1, true},
	} {
		m := &moody{fails: map[string]int{}}
		q := &fakeQ{status: adminapi.LoginComplete}
		p := newPoolOver(t, q, func(d store.Docs) store.Docs { m.Docs = d; return m })
		path := p.begin(`{"name":"by login"}`)
		p.advance(5 * time.Second)
		ctx, leave := context.WithCancel(t.Context())
		q.told = func() {
			if m.fail(c.fails, c.times); c.leave {
				leave()
			}
		}
		r := httptest.NewRequestWithContext(ctx, "POST", path, nil)
		r.Header.Set("X-Admin-Key", poolAdmin)
		p.h.ServeHTTP(httptest.NewRecorder(), r)
		leave()
		q.status = adminapi.LoginDenied // as the service says of a code that was used
		doc, err := p.store.Get(t.Context(), store.KindLogin, path[strings.LastIndex(path, "/")+1:])
		if err != nil || strings.Contains(string(doc.Body), "refresh-secret") {
			t.Errorf("%s: what is kept is not sealed: %v %s", c.why, err, doc.Body)
		}
		if rows, err := p.tables.Nodes.All(t.Context(), ""); err != nil || c.times == 0 && len(rows) != 1 {
			t.Errorf("%s: %d nodes (%v)", c.why, len(rows), err)
		}
		for range 2 { // the next poll finishes it, and the one after that is told the same
			if a := p.poll(path, "complete")["account"].(map[string]any); a["name"] != "by login" {
				t.Errorf("%s: %v", c.why, a)
			}
		}
		rows, err := p.tables.Nodes.All(t.Context(), "")
		if err != nil || len(rows) != 1 || len(q.polls) != 1 {
			t.Fatalf("%s: %d nodes, %d questions (%v)", c.why, len(rows), len(q.polls), err)
		}
		if cr := p.credential(rows[0].Value); cr.RefreshToken != "refresh-secret-of-login" || cr.ClientSecret != "client-secret-of-login" {
			t.Errorf("%s: stored %+v", c.why, rows[0].Value)
		}
	}
}
