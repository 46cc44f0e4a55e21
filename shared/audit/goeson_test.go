package audit_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/shared/audit"
	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/memory"
)

// TestOthersWentOn: an instance that looks again after everything it knew of expired, and one that starts with an old hint
// while a backend removes what expired in any order, go on behind the newest entry.
func TestOthersWentOn(t *testing.T) {
	stores(t, func(t *testing.T, s store.Store) {
		c := newClock()
		o := options(s, c)
		o.Keep = 24 * time.Hour
		idle, busy := audit.New(o), audit.New(o)
		write(t, idle, "a")
		old, err := s.Get(t.Context(), store.KindMeta, "audit-head")
		if err != nil {
			t.Fatal(err)
		}
		for range 6 { // of 2 to 7, the last three are left
			c.add(10 * time.Hour)
			write(t, busy, "b")
		}
		for _, seq := range []int64{2, 4} { // 1 and 3 are still there
			if err := s.Delete(t.Context(), store.KindAudit, fmt.Sprintf("%019d", seq), 0); err != nil {
				t.Fatal(err)
			}
		}
		write(t, idle, "c")
		if v := verify(t, idle, 4); v.Last != 8 {
			t.Errorf("the idle one: %+v", v)
		}
		now, err := s.Get(t.Context(), store.KindMeta, "audit-head")
		if err != nil {
			t.Fatal(err)
		}
		now.Body = old.Body
		if _, err := s.Replace(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		started := audit.New(o)
		write(t, started, "d")
		if v := verify(t, busy, 5); v.Last != 9 {
			t.Errorf("the one with an old hint: %+v", v)
		}
	})
}

// TestExportPassesWhatWasSpoilt: an export that ends behind a spoilt entry can be gone on with from there.
func TestExportPassesWhatWasSpoilt(t *testing.T) {
	for why, body := range map[string]func(*store.Doc){
		"no JSON":        func(d *store.Doc) { d.Body = []byte(`{}`) },
		"another number": func(d *store.Doc) { d.Body = bytes.Replace(d.Body, []byte(`"seq":2`), []byte(`"seq":1`), 1) },
	} {
		s := memory.New()
		l := audit.New(options(s, newClock()))
		write(t, l, "a", "b", "c")
		spoil(t, s, 2, body)
		var got []int64
		err := l.Export(t.Context(), audit.Filter{}, 0, func(_ []byte, e audit.Entry) error { got = append(got, e.Seq); return nil })
		if err != nil || fmt.Sprint(got) != "[1 2 3]" {
			t.Errorf("%s: %v, %v", why, got, err)
		}
	}
}

// TestLongValuesGo: a document, or a field of it, that goes has nothing that comes after, however long it was.
func TestLongValuesGo(t *testing.T) {
	for why, edit := range map[string]func(r *rig, ctx context.Context) error{
		"the document": func(r *rig, ctx context.Context) error { return r.tables.Nodes.Delete(ctx, "8") },
		"the field": func(r *rig, ctx context.Context) error {
			_, err := r.tables.Nodes.Update(ctx, "8", func(n *core.Node) error { n.Notes, n.Weight = "", 7; return nil })
			return err
		},
	} {
		r := newRig(t)
		if _, err := r.tables.Nodes.Create(t.Context(), core.Node{ID: "8", Notes: strings.Repeat("x", 5000)}); err != nil {
			t.Fatal(err)
		}
		e := r.do(store.KindNode, true, func(ctx context.Context) error { return edit(r, ctx) })
		if !strings.Contains(string(e.Before), `"notes":"fingerprint `) || strings.Contains(string(e.After), "notes") {
			t.Errorf("%s: before %s, after %s", why, e.Before, e.After)
		}
		if _, err := r.log.Append(t.Context(), e); err != nil {
			t.Errorf("%s: %v", why, err)
		}
	}
}
