package audit

import (
	"context"
	"slices"
	"sync"

	"sluice/shared/store"
)

// maxChanges bounds the documents of one call whose content is remembered: an import makes thousands.
const maxChanges = 200

// Trail is what one call did to documents, as Watch saw it. It is safe for concurrent use.
type Trail struct {
	mu      sync.Mutex
	changes []change
	more    int                  // changes beyond maxChanges
	read    map[name]store.Doc   // as last read, for what comes before a change
	seen    map[string]store.Doc // by kind, the document that was read last
}

type name struct{ kind, id string }

// change is what became of one document; a nil Body says that there was, or is, none.
type change struct {
	name
	account       string
	before, after []byte
}

type trailKey struct{}

// With returns a context under which Watch notes what is done to documents.
func With(ctx context.Context) (context.Context, *Trail) {
	t := &Trail{read: make(map[name]store.Doc), seen: make(map[string]store.Doc)}
	return context.WithValue(ctx, trailKey{}, t), t
}

// Changed reports whether anything was changed.
func (t *Trail) Changed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.list()) > 0
}

// list is the changes without those that came to nothing. Under mu.
func (t *Trail) list() []change {
	return slices.DeleteFunc(slices.Clone(t.changes), func(c change) bool { return c.before == nil && c.after == nil || string(c.before) == string(c.after) })
}

func (t *Trail) saw(d *store.Doc) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.read) < maxChanges {
		t.read[name{d.Kind, d.ID}] = *d
	}
	t.seen[d.Kind] = *d
}

// known is what a document was before a change; false: nobody read it.
func (t *Trail) known(n name) (store.Doc, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d, ok := t.read[n]
	return d, ok
}

// note adds a change. Several of one document become one.
func (t *Trail) note(n name, account string, before, after []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.read, n)
	if after != nil {
		t.read[n] = store.Doc{Kind: n.kind, ID: n.id, Account: account, Body: after}
	}
	for i := range t.changes {
		if c := &t.changes[i]; c.name == n {
			c.after = after
			return
		}
	}
	if len(t.changes) == maxChanges {
		t.more++
		return
	}
	t.changes = append(t.changes, change{name: n, account: account, before: before, after: after})
}

// watched reports whether changes of a document belong in the log. The others are what the gateway learns or keeps by itself.
func watched(kind, id string) bool {
	if kind == store.KindMeta {
		return id == store.MetaCompat // people edit it
	}
	switch kind {
	case store.KindNodeState, store.KindNodeToken, store.KindLogin, store.KindSession, store.KindResource, store.KindResponse,
		store.KindNodeCheck, store.KindHealthDay, store.KindNotice, store.KindNoticeLog, store.KindNoticeSeen, store.KindAudit:
		return false
	}
	return true
}

// docs is a store.Docs that tells the context's trail of what is done.
type docs struct{ store.Docs }

// Watch wraps documents. Without a trail in the context it does nothing, which is what requests of clients are: they pay for
// one look into the context, and write no entry.
func Watch(d store.Docs) store.Docs { return docs{d} }

func trailOf(ctx context.Context, kind, id string) *Trail {
	if !watched(kind, id) {
		return nil
	}
	t, _ := ctx.Value(trailKey{}).(*Trail)
	return t
}

// Get implements store.Docs.
func (s docs) Get(ctx context.Context, kind, id string) (store.Doc, error) {
	d, err := s.Docs.Get(ctx, kind, id)
	if t := trailOf(ctx, kind, id); t != nil && err == nil {
		t.saw(&d)
	}
	return d, err
}

// Find implements store.Docs.
func (s docs) Find(ctx context.Context, kind, unique string) (store.Doc, error) {
	d, err := s.Docs.Find(ctx, kind, unique)
	if t := trailOf(ctx, kind, d.ID); t != nil && err == nil {
		t.saw(&d)
	}
	return d, err
}

// Create implements store.Docs.
func (s docs) Create(ctx context.Context, d store.Doc) (int64, error) {
	v, err := s.Docs.Create(ctx, d)
	if t := trailOf(ctx, d.Kind, d.ID); t != nil && err == nil {
		t.note(name{d.Kind, d.ID}, d.Account, nil, d.Body)
	}
	return v, err
}

// Replace implements store.Docs.
func (s docs) Replace(ctx context.Context, d store.Doc) (int64, error) {
	t := trailOf(ctx, d.Kind, d.ID)
	if t == nil {
		return s.Docs.Replace(ctx, d)
	}
	before := s.before(ctx, t, d.Kind, d.ID)
	v, err := s.Docs.Replace(ctx, d)
	if err == nil {
		t.note(name{d.Kind, d.ID}, d.Account, before.Body, d.Body)
	}
	return v, err
}

// Delete implements store.Docs.
func (s docs) Delete(ctx context.Context, kind, id string, version int64) error {
	t := trailOf(ctx, kind, id)
	if t == nil {
		return s.Docs.Delete(ctx, kind, id, version)
	}
	before := s.before(ctx, t, kind, id)
	err := s.Docs.Delete(ctx, kind, id, version)
	if err == nil {
		t.note(name{kind, id}, before.Account, before.Body, nil)
	}
	return err
}

// before is the document as it was read, or as it is now. What cannot be read is left out: the call itself will tell why.
func (s docs) before(ctx context.Context, t *Trail, kind, id string) store.Doc {
	if d, ok := t.known(name{kind, id}); ok {
		return d
	}
	d, err := s.Docs.Get(ctx, kind, id)
	if err != nil {
		return store.Doc{Kind: kind, ID: id}
	}
	return d
}
