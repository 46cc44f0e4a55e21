// Package compatbook keeps the compatibility table of Amazon Bedrock that holds at run time: the built-in rows of package compat
// with the operator's over them, which are one document of the store.
//
// A process has a copy in memory, so that a request takes no trip to the store for it. It is read when somebody asks and it is
// old ([Book.Refresh]); nothing runs by itself. An edit through a process binds there at once, elsewhere with the next reading.
package compatbook

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sluice/shared/compat"
	"sluice/shared/store"
)

// metaRows is the document of store.KindMeta with the operator's rows.
const metaRows = store.MetaCompat

const (
	readTime  = 2 * time.Second  // that a reading may take
	readAgain = 10 * time.Second // after one that failed
)

// Options are what a Book is made of.
type Options struct {
	Tables *store.Tables
	Now    func() time.Time // nil: time.Now
	Log    *slog.Logger     // nil: nobody is told
}

// Book is the table in force. It is safe for concurrent use.
type Book struct {
	o       Options
	builtin func() *compat.Table // made when it is first needed
	now     atomic.Pointer[edition]
	retry   atomic.Int64  // ns since 1970 before which nothing is read again after a failure
	editing chan struct{} // holds the right to edit
	reading sync.Mutex    // guards what follows, and lets one read at a time
	failed  bool          // the last reading
}

// edition is what was read at one time. It never changes.
type edition struct {
	read  time.Time     // zero: never
	doc   []byte        // the operator's rows as they are stored
	table *compat.Table // nil: the built-in rows
}

// New makes a book that holds the built-in rows until it is told to read.
func New(o Options) *Book {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	b := &Book{o: o, builtin: sync.OnceValue(compat.Builtin), editing: make(chan struct{}, 1)}
	b.now.Store(&edition{})
	return b
}

// Table is the table as it was last read. It neither waits nor allocates.
func (b *Book) Table() *compat.Table { return b.of(b.now.Load()) }

func (b *Book) of(e *edition) *compat.Table {
	if e.table == nil {
		return b.builtin()
	}
	return e.table
}

// Refresh reads the operator's rows when those at hand are older than that. It waits at most 2 s for the store, also when ctx
// is cancelled earlier, and not at all while another call reads, unless nothing was ever read. When the store fails, or its
// document cannot be read, the rows at hand stay; that is logged once, and tried again after 10 s.
func (b *Book) Refresh(ctx context.Context, older time.Duration) {
	e := b.now.Load()
	if b.fresh(e, older) {
		return
	}
	if e.read.IsZero() {
		b.reading.Lock()
	} else if !b.reading.TryLock() {
		return
	}
	defer b.reading.Unlock()
	if e = b.now.Load(); b.fresh(e, older) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTime)
	defer cancel()
	if _, err := b.read(ctx, e); err != nil {
		b.retry.Store(b.o.Now().Add(readAgain).UnixNano())
		if !b.failed {
			b.o.Log.Error("the compatibility rows are not read; those read before stay in force", "error", err)
		}
		b.failed = true
		return
	}
	b.failed = false
	b.retry.Store(0)
}

func (b *Book) fresh(e *edition, older time.Duration) bool {
	now := b.o.Now()
	return !e.read.IsZero() && now.Sub(e.read) < older || now.UnixNano() < b.retry.Load()
}

// Read returns the table with what the store has now, and puts it in force in this process: for whoever looks at it, or is
// about to edit it.
func (b *Book) Read(ctx context.Context) (*compat.Table, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	return b.read(ctx, b.now.Load())
}

func (b *Book) read(ctx context.Context, e *edition) (*compat.Table, error) {
	now := b.o.Now()
	var doc []byte
	r, err := b.o.Tables.Metas.Get(ctx, metaRows)
	if err == nil {
		doc = r.Value.Data
	} else if !store.Missing(err) {
		return nil, err
	}
	next := edition{read: now, doc: doc, table: e.table}
	if !bytes.Equal(doc, e.doc) {
		if next.table, err = compat.Parse(doc); err != nil {
			return nil, &Unreadable{err}
		}
	}
	b.now.Store(&next)
	return b.of(&next), nil
}

// Set makes the rows of a document the operator's, in place of all there were, and binds this process. It returns the table
// then in force. The document is what compat.Parse takes, and one that it does not take is its error: the client's mistake,
// see [Book.Edit].
//
// It is the only way out when what is stored is [Unreadable].
func (b *Book) Set(ctx context.Context, document []byte) (*compat.Table, error) {
	return b.edit(ctx, func([]byte) ([]byte, error) { return document, nil })
}

// Invalid is the error of Set and Edit for a document that compat.Parse does not take. Its text is for the client.
type Invalid struct{ Err error }

// Error implements error.
func (e *Invalid) Error() string { return e.Err.Error() }

// Unwrap returns what is wrong.
func (e *Invalid) Unwrap() error { return e.Err }

// Unreadable is the error of Read and Edit for stored rows that compat.Parse does not take, as those of a newer version. Its
// text is for the operator.
type Unreadable struct{ Err error }

// Error implements error.
func (e *Unreadable) Error() string {
	return "the stored compatibility rows cannot be read by this version: " + e.Err.Error()
}

// Unwrap returns what is wrong.
func (e *Unreadable) Unwrap() error { return e.Err }

// Edit is Set with the document that change makes of the table as it is stored, by compare-and-swap: change may be called
// again when another edit came between. Its error ends the edit and is returned. Of rows that are [Unreadable] nothing is
// changed: an edit would be the end of all others.
func (b *Book) Edit(ctx context.Context, change func(*compat.Table) ([]byte, error)) (*compat.Table, error) {
	return b.edit(ctx, func(stored []byte) ([]byte, error) {
		before, err := compat.Parse(stored)
		if err != nil {
			return nil, &Unreadable{err}
		}
		return change(before)
	})
}

func (b *Book) edit(ctx context.Context, change func(stored []byte) ([]byte, error)) (*compat.Table, error) {
	select {
	case b.editing <- struct{}{}: // an older edit must not come behind
		defer func() { <-b.editing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var next edition
	_, err := b.o.Tables.Metas.Upsert(ctx, metaRows, func(m *store.MetaValue) error {
		doc, err := change(m.Data)
		if err != nil {
			return err
		}
		table, err := compat.Parse(doc)
		if err != nil {
			return &Invalid{err}
		}
		m.ID, m.Data = metaRows, table.Overrides()
		next = edition{doc: bytes.Clone(m.Data), table: table}
		return nil
	})
	if err != nil {
		return nil, err
	}
	b.reading.Lock() // nor an older reading
	defer b.reading.Unlock()
	next.read = b.o.Now()
	b.now.Store(&next)
	return next.table, nil
}
