package audit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/shared/audit"
	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/memory"
)

// sealedNote is a sealed value of these tests; it opens to what follows the dash.
func opened(owner string, v core.Sealed) (core.Secret, error) {
	at, text, ok := strings.Cut(string(v), "-")
	if !ok || at != "sealed" || owner != "node/7" {
		return core.Secret{}, errors.New("does not open")
	}
	text, _, _ = strings.Cut(text, "#")
	return core.NewSecret(text), nil
}

func hashed(s string) string {
	sum := 0
	for _, c := range s {
		sum = (sum*31 + int(c)) & 0xffffffff
	}
	return fmt.Sprintf("%08x", sum) + strings.Repeat("0", 56)
}

// rig runs edits over watched tables.
type rig struct {
	t      *testing.T
	log    *audit.Log
	tables *store.Tables
}

func newRig(t *testing.T) *rig {
	s := memory.New()
	o := options(s, newClock())
	o.Hash, o.Open = hashed, opened
	return &rig{t, audit.New(o), store.NewTables(audit.Watch(s), newClock().now)}
}

// do returns the entry that edits make.
func (r *rig) do(noun string, found bool, edits ...func(ctx context.Context) error) audit.Entry {
	r.t.Helper()
	ctx, trail := audit.With(r.t.Context())
	for _, edit := range edits {
		if err := edit(ctx); err != nil {
			r.t.Fatal(err)
		}
	}
	e := audit.Entry{Object: audit.Object{Kind: noun, ID: "asked"}, Account: "caller", Result: audit.ResultOK}
	r.log.Describe(&e, trail, noun, found)
	return e
}

func TestBeforeAndAfter(t *testing.T) {
	r := newRig(t)
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	node := core.Node{ID: "7", Account: "acc-1", Name: "one", Kind: core.KindAnthropic, BaseURL: "https://user:pass@host.example/v1?token=abc", Credential: "sealed-sk-ant-1#nonce1", Weight: 1, CreatedAt: at, UpdatedAt: at}
	create := func(ctx context.Context) error { _, err := r.tables.Nodes.Create(ctx, node); return err }
	update := func(edit func(*core.Node)) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := r.tables.Nodes.Update(ctx, "7", func(n *core.Node) error { edit(n); n.UpdatedAt = n.UpdatedAt.Add(time.Hour); return nil })
			return err
		}
	}
	fp := func(s string) string { return `"fingerprint ` + hashed(s)[:8] + `"` }
	for _, c := range []struct {
		why           string
		edits         []func(context.Context) error
		before, after string
	}{
		{"a new one shows all of it, secrets as fingerprints, of addresses no user and no query", []func(context.Context) error{create}, "",
			`{"base_url":"https://host.example/v1","credential":` + fp("sk-ant-1") + `,"kind":"anthropic","name":"one","weight":1}`},
		{"an edit shows what changed alone", []func(context.Context) error{update(func(n *core.Node) { n.Weight = 5 })}, `{"weight":1}`, `{"weight":5}`},
		{"the same credential sealed anew is no change of it", []func(context.Context) error{update(func(n *core.Node) { n.Credential, n.Name = "sealed-sk-ant-1#nonce2", "two" })}, `{"name":"one"}`, `{"name":"two"}`},
		{"another credential", []func(context.Context) error{update(func(n *core.Node) { n.Credential = "sealed-sk-ant-2#nonce3" })}, `{"credential":` + fp("sk-ant-1") + `}`, `{"credential":` + fp("sk-ant-2") + `}`},
		{"two edits of one call are one", []func(context.Context) error{update(func(n *core.Node) { n.Weight = 6 }), update(func(n *core.Node) { n.Weight, n.Notes = 7, "x" })}, `{"weight":5}`, `{"notes":"x","weight":7}`},
		{"what is undone is none", []func(context.Context) error{update(func(n *core.Node) { n.Disabled = true }), update(func(n *core.Node) { n.Disabled = false })}, "", ""},
		{"a look and nothing more", []func(context.Context) error{func(ctx context.Context) error { _, err := r.tables.Nodes.Get(ctx, "7"); return err }}, "", ""},
		{"a deletion shows what there was", []func(context.Context) error{func(ctx context.Context) error { return r.tables.Nodes.Delete(ctx, "7") }},
			`{"base_url":"https://host.example/v1","credential":` + fp("sk-ant-2") + `,"kind":"anthropic","name":"two","notes":"x","weight":7}`, ""},
	} {
		e := r.do(store.KindNode, true, c.edits...)
		if string(e.Before) != c.before || string(e.After) != c.after {
			t.Errorf("%s:\nbefore %s\nwant   %s\nafter  %s\nwant   %s", c.why, e.Before, c.before, e.After, c.after)
		}
		if e.Object.ID != "7" || e.Object.Name == "" || e.Account != "acc-1" || len(e.Also) > 0 {
			t.Errorf("%s: object %+v, account %q, also %v", c.why, e.Object, e.Account, e.Also)
		}
	}
}

// TestSeveralDocuments: those beside the object stand below their names.
func TestSeveralDocuments(t *testing.T) {
	r := newRig(t)
	e := r.do(store.KindAccount, true, func(ctx context.Context) error {
		_, err := r.tables.Keys.Create(ctx, core.Key{ID: "5", Account: "acc-1", Hashes: []string{hashed("k")}, Scopes: []core.Scope{core.ScopeNodes}})
		return err
	}, func(ctx context.Context) error {
		_, err := r.tables.Accounts.Create(ctx, core.Account{ID: "acc-1", Name: "n", PasswordHash: "$2a$10$abc"})
		return err
	})
	var after map[string]json.RawMessage
	if err := json.Unmarshal(e.After, &after); err != nil {
		t.Fatal(err)
	}
	if e.Object != (audit.Object{Kind: "account", ID: "acc-1", Name: "n"}) || len(e.Also) != 1 || e.Also[0] != "key/5" || !strings.Contains(string(after["key/5"]), `"scopes":["nodes"]`) {
		t.Errorf("%+v\n%s", e, e.After)
	}
	for _, s := range []string{"$2a$", hashed("k")[:20]} {
		if strings.Contains(string(e.After), s) {
			t.Errorf("shows %q: %s", s, e.After)
		}
	}
}

// TestMany: an import of thousands makes an entry of the usual size, and says how many there were.
func TestMany(t *testing.T) {
	r := newRig(t)
	e := r.do(store.KindNode, true, func(ctx context.Context) error {
		for i := range 1000 {
			if _, err := r.tables.Nodes.Create(ctx, core.Node{ID: fmt.Sprint(i), Account: "acc-1", Name: strings.Repeat("n", 150)}); err != nil {
				return err
			}
		}
		return nil
	})
	if len(e.After) > audit.MaxFields || !json.Valid(e.After) || len(e.Also) != audit.MaxAlso || e.More != 1000-audit.MaxAlso || e.Account != "acc-1" {
		t.Errorf("%d bytes after, %d also, %d more, account %q", len(e.After), len(e.Also), e.More, e.Account)
	}
}

// TestLongLists show what came and went; a text that is too long gives way to its fingerprint.
func TestLongLists(t *testing.T) {
	r := newRig(t)
	table := func(rows int, last string) string { return strings.Repeat("model,price,1\n", 1) + many(rows) + last }
	create := func(ctx context.Context) error {
		_, err := r.tables.Prices.Create(ctx, store.PriceTable{ID: "operator", Table: table(300, "old,1\n")})
		return err
	}
	if e := r.do(store.KindPrices, true, create); len(e.After) > audit.MaxFields || !strings.Contains(string(e.After), " more") {
		t.Errorf("%s", e.After)
	}
	e := r.do(store.KindPrices, true, func(ctx context.Context) error {
		_, err := r.tables.Prices.Update(ctx, "operator", func(p *store.PriceTable) error { p.Table = table(300, "new,2\n"); return nil })
		return err
	})
	if string(e.Before) != `{"table":["old,1"]}` || string(e.After) != `{"table":["new,2"]}` {
		t.Errorf("before %s, after %s", e.Before, e.After)
	}
	e = r.do(store.KindNode, true, func(ctx context.Context) error {
		_, err := r.tables.Nodes.Create(ctx, core.Node{ID: "8", Notes: strings.Repeat("x", 5000)})
		return err
	})
	if !strings.Contains(string(e.After), `"notes":"fingerprint `) {
		t.Errorf("%s", e.After)
	}
}

func many(rows int) string {
	var b strings.Builder
	for i := range rows {
		fmt.Fprintf(&b, "model-%d,3.25\n", i)
	}
	return b.String()
}

// TestUnknownFields: a field, or a kind, that nobody said how to show is not shown.
func TestUnknownFields(t *testing.T) {
	s := memory.New()
	o := options(s, newClock())
	o.Hash, o.Open = hashed, opened
	l := audit.New(o)
	for _, kind := range []string{store.KindNode, "someday"} {
		ctx, trail := audit.With(t.Context())
		if _, err := audit.Watch(s).Create(ctx, store.Doc{Kind: kind, ID: "1", Body: []byte(`{"new_secret":"hunter2","list":["hunter3"]}`)}); err != nil {
			t.Fatal(err)
		}
		var e audit.Entry
		l.Describe(&e, trail, kind, true)
		if strings.Contains(string(e.After), "hunter") || !strings.Contains(string(e.After), `"new_secret":"fingerprint `) {
			t.Errorf("%s: %s", kind, e.After)
		}
	}
}

// TestRefusedIsToldNothing: a call that is refused after it looked at another's object does not show that object's name.
func TestRefusedIsToldNothing(t *testing.T) {
	r := newRig(t)
	if _, err := r.tables.Nodes.Create(t.Context(), core.Node{ID: "7", Account: "acc-other", Name: "private"}); err != nil {
		t.Fatal(err)
	}
	look := func(ctx context.Context) error { _, err := r.tables.Nodes.Get(ctx, "7"); return err }
	if e := r.do(store.KindNode, false, look); e.Object.ID != "asked" || e.Object.Name != "" || e.Account != "caller" {
		t.Errorf("refused: %+v of %q", e.Object, e.Account)
	}
	if e := r.do(store.KindNode, true, look); e.Object.Name != "private" || e.Account != "acc-other" {
		t.Errorf("served: %+v of %q", e.Object, e.Account)
	}
}

// TestWithoutTrail: what is done under no trail, as requests of clients are, is noted by none, and pays nothing for it.
func TestWithoutTrail(t *testing.T) {
	s := memory.New()
	d := audit.Watch(s)
	if _, err := d.Create(t.Context(), store.Doc{Kind: store.KindNode, ID: "1", Body: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	_, trail := audit.With(t.Context())
	if _, err := d.Get(t.Context(), store.KindNode, "1"); err != nil || trail.Changed() {
		t.Errorf("noted: %v", err)
	}
	ctx := t.Context()
	plain := testing.AllocsPerRun(100, func() { _, _ = s.Get(ctx, store.KindNode, "1") })
	if got := testing.AllocsPerRun(100, func() { _, _ = d.Get(ctx, store.KindNode, "1") }); got > plain {
		t.Errorf("%v allocations, without the log %v", got, plain)
	}
}

// TestGate: of a flood five entries a minute are written, one that stands for the rest, and the next minute's first says how
// many there were.
func TestGate(t *testing.T) {
	c := newClock()
	g := audit.NewGate(5, c.now)
	written, muted := 0, 0
	for range 1000 {
		var e audit.Entry
		if g.Pass("203.0.113.7", &e) {
			written++
			if e.Muted {
				muted++
			}
		}
	}
	if written != 6 || muted != 1 {
		t.Errorf("%d entries, %d of them the last", written, muted)
	}
	var other, next audit.Entry
	if !g.Pass("203.0.113.8", &other) || other.Muted {
		t.Error("another address pays for it")
	}
	c.add(time.Minute)
	if !g.Pass("203.0.113.7", &next) || next.Unrecorded != 994 || next.Muted {
		t.Errorf("the next minute: %+v", next)
	}
	c.add(time.Minute)
	written = 0
	for i := range 50_000 {
		var e audit.Entry
		if g.Pass(fmt.Sprint("address ", i), &e) {
			written++
		}
	}
	if written != audit.MaxAll+1 {
		t.Errorf("a flood from everywhere wrote %d entries", written)
	}
}
