package compatbook_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/shared/compat"
	"sluice/shared/compatbook"
	"sluice/shared/store"
	"sluice/shared/store/memory"
)

// counted counts readings, and fails while it must.
type counted struct {
	store.Docs
	reads atomic.Int64
	away  atomic.Bool
}

var errAway = errors.New("away")

func (c *counted) Get(ctx context.Context, kind, id string) (store.Doc, error) {
	c.reads.Add(1)
	if c.away.Load() {
		return store.Doc{}, errAway
	}
	return c.Docs.Get(ctx, kind, id)
}

const keepNew = `{"rows":[{"route":"*","model":"*","kind":"beta","name":"new-flag-2027-01-01","action":"keep","evidence":"operator, 2027"}]}`

// takes tells whether the table keeps the flag of keepNew.
func takes(t *testing.T, table *compat.Table) bool {
	t.Helper()
	r, err := table.Apply(compat.RouteMantle, "claude-opus-5-5", []string{"new-flag-2027-01-01"}, []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	return len(r.Betas) == 1
}

func TestBook(t *testing.T) {
	docs := &counted{Docs: memory.New()}
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	var log bytes.Buffer
	instance := func() *compatbook.Book {
		return compatbook.New(compatbook.Options{Tables: store.NewTables(docs, clock), Now: clock, Log: slog.New(slog.NewTextHandler(&log, nil))})
	}
	ctx := t.Context()
	a, b := instance(), instance()
	a.Refresh(ctx, time.Minute)
	if takes(t, a.Table()) || docs.reads.Load() != 1 {
		t.Fatalf("without rows: %d readings", docs.reads.Load())
	}
	for range 3 { // what is young is not read again
		a.Refresh(ctx, time.Minute)
	}
	if docs.reads.Load() != 1 {
		t.Errorf("got %d readings, want 1", docs.reads.Load())
	}
	set, err := b.Set(ctx, []byte(keepNew))
	if err != nil || !takes(t, set) || !takes(t, b.Table()) {
		t.Fatalf("an edit binds its process at once: %v", err)
	}
	a.Refresh(ctx, time.Minute)
	if takes(t, a.Table()) {
		t.Error("a copy that is young was read again")
	}
	now = now.Add(3 * time.Second)
	if a.Refresh(ctx, 2*time.Second); !takes(t, a.Table()) {
		t.Error("the other process has not read the edit")
	}
	same := a.Table()
	now = now.Add(3 * time.Second)
	if a.Refresh(ctx, 2*time.Second); a.Table() != same {
		t.Error("rows that did not change were parsed again")
	}
	var invalid *compatbook.Invalid
	if _, err := a.Set(ctx, []byte(`{"rows":[{"kind":"wrong"}]}`)); !errors.As(err, &invalid) || !takes(t, a.Table()) {
		t.Errorf("got %v, want an Invalid and the rows as they were", err)
	}
	if table, err := a.Edit(ctx, func(have *compat.Table) ([]byte, error) {
		if !takes(t, have) {
			t.Error("an edit does not see the rows before it")
		}
		return nil, nil
	}); err != nil || takes(t, table) {
		t.Errorf("no rows: %v", err)
	}
	if table, err := b.Read(ctx); err != nil || takes(t, table) || takes(t, b.Table()) {
		t.Errorf("Read: %v", err)
	}
	docs.away.Store(true)
	for range 3 {
		now = now.Add(time.Second)
		b.Refresh(ctx, 0)
	}
	if n := strings.Count(log.String(), "not read"); n != 1 {
		t.Errorf("told %d times: %s", n, log.String())
	}
	before := docs.reads.Load()
	docs.away.Store(false)
	now = now.Add(10 * time.Second)
	if b.Refresh(ctx, 0); docs.reads.Load() != before+1 {
		t.Error("not read again after the pause")
	}
}

// TestBook_Verbs: rows with conditions and new places are checked when they are written, not when a request comes.
func TestBook_Verbs(t *testing.T) {
	row := func(members string) []byte {
		return []byte(`{"rows":[{"route":"*","model":"*","kind":"field","name":"tools[].old","evidence":"operator, 2027",` + members + `}]}`)
	}
	docs := memory.New()
	book := func() *compatbook.Book {
		return compatbook.New(compatbook.Options{Tables: store.NewTables(docs, time.Now)})
	}
	a := book()
	for _, c := range []struct{ why, members string }{
		{"no place", `"action":"rename","to":"tools[]."`},
		{"another array", `"action":"rename","to":"old"`},
		{"no condition", `"action":"drop","when":["tools[].old"]`},
		{"elements of another array", `"action":"drop","when":["system[].x=1"]`},
	} {
		var invalid *compatbook.Invalid
		if _, err := a.Set(t.Context(), row(c.members)); !errors.As(err, &invalid) {
			t.Errorf("%s: %v", c.why, err)
		}
	}
	if _, err := a.Set(t.Context(), row(`"action":"rename","to":"tools[].new","when":["tools[].old!=never","thinking.type=adaptive"]`)); err != nil {
		t.Fatal(err)
	}
	b := book()
	b.Refresh(t.Context(), time.Minute)
	body := []byte(`{"thinking":{"type":"adaptive"},"tools":[{"old":1},{"old":"never"}]}`)
	got, err := b.Table().Apply(compat.RouteMantle, "claude-opus-5-5", nil, body)
	if want := `{"thinking":{"type":"adaptive"},"tools":[{"new":1},{"old":"never"}]}`; err != nil || string(compat.Splice(nil, body, got.Edits)) != want {
		t.Errorf("another process: %s, %v", compat.Splice(nil, body, got.Edits), err)
	}
}

// TestBook_Unreadable: rows of a version that knows more are not lost to one edit here; only a whole table takes their place.
func TestBook_Unreadable(t *testing.T) {
	tables := store.NewTables(memory.New(), time.Now)
	const newer = `{"rows":[{"route":"*","model":"*","kind":"header","name":"x","action":"keep","evidence":"a kind of later"}]}`
	stored := func(put string) (data string) {
		if _, err := tables.Metas.Upsert(t.Context(), "bedrock_compat", func(m *store.MetaValue) error {
			if m.ID = "bedrock_compat"; put != "" {
				m.Data = []byte(put)
			}
			data = string(m.Data)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return data
	}
	stored(newer)
	b := compatbook.New(compatbook.Options{Tables: tables})
	var unreadable *compatbook.Unreadable
	if _, err := b.Edit(t.Context(), func(*compat.Table) ([]byte, error) {
		t.Error("an edit of rows that cannot be read")
		return []byte(keepNew), nil
	}); !errors.As(err, &unreadable) || stored("") != newer {
		t.Errorf("%v; stored is %s", err, stored(""))
	}
	if _, err := b.Read(t.Context()); !errors.As(err, &unreadable) {
		t.Errorf("read: %v", err)
	}
	if table, err := b.Set(t.Context(), []byte(keepNew)); err != nil || !takes(t, table) || stored("") == newer {
		t.Errorf("a whole table: %v", err)
	}
	if _, err := b.Edit(t.Context(), func(*compat.Table) ([]byte, error) { return nil, nil }); err != nil {
		t.Error(err)
	}
}
