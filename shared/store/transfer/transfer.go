// Package transfer copies a whole store into another, whatever their backends: documents, records of usage, and the
// numbers that ids are made from. A copy that was broken off goes on when it is run again, and a copy that is run again
// takes over what changed since. Leases, and what limits counted of the day and month, begin anew; budgets
// count what the records say once package alerts has looked at them, within minutes of the first start.
package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"sluice/shared/store"
)

// The errors that callers act on.
var (
	// ErrOther tells that the target holds something that is not this copy. Nothing was changed.
	ErrOther = errors.New("holds other data")
	// ErrEmpty tells that the source was never used by a gateway.
	ErrEmpty = errors.New("holds nothing to copy")
	// ErrUnfinished tells that a copy into the store was broken off.
	ErrUnfinished = errors.New("a copy into this store was broken off")
	// ErrDiffers tells that source and target differ after the copy: the source is being changed.
	ErrDiffers = errors.New("the copy differs from its source")
)

const (
	metaCopy = "copy" // in the target, from the beginning of a copy until a gateway starts on it
	metaSeal = "seal" // the keyring: no two installations have the same
	page     = 200
	perFlush = 5000
)

// kinds are all kinds of documents. Accounts come first, so that nothing is without its owner.
var kinds = []string{store.KindAccount, store.KindKey, store.KindNode, store.KindNodeState, store.KindNodeToken, store.KindLogin, store.KindSession, store.KindResource, store.KindResponse, store.KindMeta,
	store.KindNodeCheck, store.KindHealthDay, store.KindShare, store.KindChannel, store.KindSubscription, store.KindAlertRule, store.KindNotice, store.KindNoticeLog, store.KindNoticeSeen, store.KindPrices, store.KindAudit}

// Kinds returns the kinds of documents there are, in the order they are copied in.
func Kinds() []string { return slices.Clone(kinds) }

// mark is the document metaCopy.
type mark struct {
	From string    `json:"from"` // identity of the source
	Done bool      `json:"done"`
	At   time.Time `json:"at"`
}

// Options are a copy's.
type Options struct {
	Now func() time.Time
	// Leave are ids of KindMeta that are neither copied nor removed: what belongs to a place, such as a master key.
	Leave []string
	// Ready is called once the target is known to be fit, before anything is copied; nil: nobody waits for it.
	Ready func(context.Context) error
	// Progress is told now and then how many of a kind were looked at; nil: nobody wants to know.
	Progress func(kind string, n int)
}

// Count is what became of one kind of document, or of the usage records.
type Count struct {
	Kind    string
	Source  int // there are in the source, expired ones left out
	Written int // by this run; the others were there
	Removed int // from the target, because the source has them no more
	Target  int // there are now
}

// Records is the Kind of the count of usage records.
const Records = "usage record"

// Report is what a copy did.
type Report struct {
	Counts   []Count
	Requests int64 // in the sums of usage, equal in both
}

type copier struct {
	from, to store.Store
	tables   *store.Tables // of the target
	o        Options
	report   Report
	oldest   time.Time // end of the oldest record of the source
}

// Copy copies a store into another and then compares the two. Errors that wrap one of this package's say which store, and
// what to do, is for the caller to tell; any other error leaves a copy that can be gone on with.
func Copy(ctx context.Context, from, to store.Store, o Options) (*Report, error) {
	c := &copier{from: from, to: to, tables: store.NewTables(to, o.Now), o: o}
	if c.o.Progress == nil {
		c.o.Progress = func(string, int) {}
	}
	m, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	if o.Ready != nil {
		if err := o.Ready(ctx); err != nil {
			return nil, err
		}
	}
	for _, kind := range kinds {
		if err := c.documents(ctx, kind); err != nil {
			return nil, fmt.Errorf("copy of %ss: %w", kind, err)
		}
	}
	if err := c.numbers(ctx); err != nil {
		return nil, err
	}
	if err := c.records(ctx); err != nil {
		return nil, fmt.Errorf("copy of usage records: %w", err)
	}
	if err := c.compare(ctx); err != nil {
		return &c.report, err
	}
	m.Done, m.At = true, o.Now().UTC()
	if err := c.tables.WriteMeta(ctx, metaCopy, m); err != nil {
		return nil, err
	}
	return &c.report, to.Flush(ctx)
}

// begin looks whether the target may be written, and marks it.
func (c *copier) begin(ctx context.Context) (mark, error) {
	var m mark
	ring, err := c.from.Get(ctx, store.KindMeta, metaSeal)
	if store.Missing(err) {
		return m, ErrEmpty
	}
	if err != nil {
		return m, err
	}
	sum := sha256.Sum256(ring.Body)
	self := hex.EncodeToString(sum[:])
	var source mark
	if err := store.NewTables(c.from, c.o.Now).ReadMeta(ctx, metaCopy, &source); err == nil && !source.Done {
		return m, fmt.Errorf("the source: %w", ErrUnfinished)
	}
	switch err := c.tables.ReadMeta(ctx, metaCopy, &m); {
	case err == nil && m.From == self:
	case err == nil:
		return m, ErrOther
	case !store.Missing(err):
		return m, err
	default:
		if err := c.vacant(ctx); err != nil {
			return m, err
		}
	}
	m = mark{From: self, At: c.o.Now().UTC()}
	return m, c.tables.WriteMeta(ctx, metaCopy, m)
}

// vacant reports ErrOther unless the target holds nothing.
func (c *copier) vacant(ctx context.Context) error {
	for _, kind := range kinds {
		ds, err := c.to.List(ctx, kind, "", "", 1)
		if err != nil {
			return err
		}
		if len(ds) > 0 {
			return ErrOther
		}
	}
	rs, _, err := c.to.Records(ctx, store.UsageFilter{}, "", 1)
	if err == nil && len(rs) > 0 {
		err = ErrOther
	}
	return err
}

// Started is called when a gateway starts on a store. ErrUnfinished where a copy into it was broken off; a finished one
// is a store of its own from then on, which no copy changes any more.
func Started(ctx context.Context, t *store.Tables) error {
	if err := Whole(ctx, t); err != nil {
		return err
	}
	if err := t.Metas.Delete(ctx, metaCopy); err != nil && !store.Missing(err) {
		return err
	}
	return nil
}

// Whole reports ErrUnfinished for a store into which a copy was broken off, and changes nothing.
func Whole(ctx context.Context, t *store.Tables) error {
	var m mark
	err := t.ReadMeta(ctx, metaCopy, &m)
	if store.Missing(err) || err == nil && m.Done {
		return nil
	}
	if err == nil {
		err = ErrUnfinished
	}
	return err
}

// walker lists the documents of a kind in the order of their ids.
type walker struct {
	docs  store.Docs
	kind  string
	leave func(*store.Doc) bool
	queue []store.Doc
	after string
	end   bool
}

// next returns the next document, nil behind the last.
func (w *walker) next(ctx context.Context) (*store.Doc, error) {
	for {
		for len(w.queue) > 0 {
			d := &w.queue[0]
			w.queue = w.queue[1:]
			if !w.leave(d) {
				return d, nil
			}
		}
		if w.end {
			return nil, nil
		}
		ds, err := w.docs.List(ctx, w.kind, "", w.after, page)
		if err != nil {
			return nil, err
		}
		w.queue, w.end = ds, len(ds) < page
		if len(ds) > 0 {
			w.after = ds[len(ds)-1].ID
		}
	}
}

func (c *copier) walk(docs store.Docs, kind string, expired bool) *walker {
	now := c.o.Now()
	return &walker{docs: docs, kind: kind, leave: func(d *store.Doc) bool {
		if kind == store.KindMeta && (d.ID == metaCopy || slices.Contains(c.o.Leave, d.ID)) {
			return true
		}
		return !expired && !d.Expires.IsZero() && !now.Before(d.Expires)
	}}
}

// documents makes the target's documents of a kind those of the source, in one walk along both.
func (c *copier) documents(ctx context.Context, kind string) error {
	n := Count{Kind: kind}
	ws, wt := c.walk(c.from, kind, false), c.walk(c.to, kind, true)
	s, err := ws.next(ctx)
	if err != nil {
		return err
	}
	t, err := wt.next(ctx)
	if err != nil {
		return err
	}
	var blocked []store.Doc // whose look-up string another document of the target still has
	for s != nil || t != nil {
		switch {
		case s == nil || t != nil && t.ID < s.ID:
			n.Removed++
			err = c.to.Delete(ctx, kind, t.ID, 0)
		case t == nil || s.ID < t.ID:
			n.Written++
			_, err = c.to.Create(ctx, *s)
		case !equal(s, t):
			n.Written++
			err = c.replace(ctx, s, t)
		}
		if errors.Is(err, store.ErrExists) {
			blocked, err = append(blocked, *s), nil
		}
		if err != nil && !store.Missing(err) {
			return err
		}
		s, t, err = c.step(ctx, ws, wt, s, t, &n)
		if err != nil {
			return err
		}
	}
	for i := range blocked {
		if err := c.unblock(ctx, &blocked[i]); err != nil {
			return err
		}
	}
	c.report.Counts = append(c.report.Counts, n)
	return nil
}

// step moves on whichever of the two came first, or both.
func (c *copier) step(ctx context.Context, ws, wt *walker, s, t *store.Doc, n *Count) (*store.Doc, *store.Doc, error) {
	first := s != nil && (t == nil || s.ID <= t.ID)
	second := t != nil && (s == nil || t.ID <= s.ID)
	var err error
	if first {
		if n.Source++; n.Source%1000 == 0 {
			c.o.Progress(n.Kind, n.Source)
		}
		if s, err = ws.next(ctx); err != nil {
			return nil, nil, err
		}
	}
	if second {
		t, err = wt.next(ctx)
	}
	return s, t, err
}

func (c *copier) replace(ctx context.Context, s, t *store.Doc) error {
	if s.Account == t.Account {
		d := *s
		d.Version = t.Version
		_, err := c.to.Replace(ctx, d)
		return err
	}
	if err := c.to.Delete(ctx, t.Kind, t.ID, 0); err != nil && !store.Missing(err) {
		return err
	}
	_, err := c.to.Create(ctx, *s)
	return err
}

// unblock stores a document now that all others of its kind are as they should be.
func (c *copier) unblock(ctx context.Context, s *store.Doc) error {
	t, err := c.to.Get(ctx, s.Kind, s.ID)
	if store.Missing(err) {
		_, err = c.to.Create(ctx, *s)
		return err
	}
	if err != nil {
		return err
	}
	return c.replace(ctx, s, &t)
}

func equal(a, b *store.Doc) bool {
	return a.Account == b.Account && slices.Equal(a.Unique, b.Unique) && bytes.Equal(a.Body, b.Body) && a.Expires.UnixMicro() == b.Expires.UnixMicro()
}

// numbers raises the target's counters to those of the source, so that an id that was given away, even one whose document
// is gone, is not given again. It takes one number of each from the source: there is no other way to learn them.
func (c *copier) numbers(ctx context.Context) error {
	for _, kind := range kinds {
		n, err := c.from.Next(ctx, kind)
		if err != nil {
			return err
		}
		for m := int64(0); m < n; {
			if m, err = c.to.Next(ctx, kind); err != nil {
				return err
			}
		}
	}
	return nil
}
