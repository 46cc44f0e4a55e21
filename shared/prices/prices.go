// Package prices keeps the price lists that hold at run time. What a request of an account costs is found, in this order,
// in the account's own prices, the operator's, the list that the operator last imported, and the one the gateway ships.
//
// A process has copies in memory, so that looking a price up takes no trip to the store. They are read when somebody asks
// and they are old ([Book.Refresh]); nothing runs by itself. Edits through a process bind there at once, elsewhere with the
// next reading. Edits hold from a time on: what requests cost before is stored with them and stays.
package prices

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/shared/pricing"
	"sluice/shared/store"
)

// Where a price comes from.
const (
	Builtin  = "builtin"  // shipped with the gateway
	Imported = "list"     // the list that the operator imported last
	Operator = "operator" // set by the operator, for all accounts
	Account  = "account"  // set by the operator, for one account
)

// The documents of store.KindPrices: of what holds for all, named as above, and of accounts, with their ids behind this.
const accountPrefix = "account/"

// metaStamp is the document of store.KindMeta that changes with every edit: a process reads the lists only when it did.
const metaStamp = "prices"

const (
	readTime  = 2 * time.Second  // that a reading may take
	readAgain = 10 * time.Second // after one that failed
	fullEvery = 15 * time.Minute // the lists are read whatever the stamp says: an editor may have died before it wrote that
)

// Options are what a Book is made of.
type Options struct {
	Tables *store.Tables
	Now    func() time.Time // nil: time.Now
	Log    *slog.Logger     // nil: nobody is told
}

// Book is the price lists in force. It is safe for concurrent use.
type Book struct {
	o       Options
	builtin *pricing.List
	now     atomic.Pointer[edition]
	retry   atomic.Int64 // ns since 1970 before which nothing is read again after a failure
	reading sync.Mutex   // guards what follows, and lets one read at a time
	failed  bool         // the last reading
}

// edition is what was read at one time. It never changes.
type edition struct {
	read   time.Time // when the stamp was looked at; zero: never
	full   time.Time // when the lists were read
	stamp  string
	common *pricing.List // of accounts without prices of their own
	own    map[string]*pricing.List
	layers map[string]layer // by the id of their document
}

// layer is one document.
type layer struct {
	rows  []pricing.Row
	names map[string]string
}

// New makes a book that holds the built-in prices until it is told to read.
func New(o Options) *Book {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	b := &Book{o: o, builtin: pricing.Builtin()}
	b.now.Store(&edition{common: b.builtin})
	return b
}

// List is the account's price list, as it was last read; "" is the one of accounts without prices of their own. It neither
// waits nor allocates.
func (b *Book) List(account string) *pricing.List {
	e := b.now.Load()
	if l := e.own[account]; l != nil {
		return l
	}
	return e.common
}

// Refresh reads the lists when those at hand are older than that. It waits at most 2 s for the store, also when ctx is
// cancelled earlier, and not at all while another call reads, unless nothing was ever read. When the store fails, the copies
// stay; that is logged once, and tried again after 10 s.
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
	b.read(ctx, e)
}

func (b *Book) fresh(e *edition, older time.Duration) bool {
	now := b.o.Now()
	return !e.read.IsZero() && now.Sub(e.read) < older || now.UnixNano() < b.retry.Load()
}

// read makes a new edition, unless nothing changed.
func (b *Book) read(ctx context.Context, e *edition) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTime)
	defer cancel()
	next, err := b.load(ctx, e)
	if err != nil {
		b.retry.Store(b.o.Now().Add(readAgain).UnixNano())
		if !b.failed {
			b.o.Log.Error("prices not read; those read before stay in force", "error", err)
		}
		b.failed = true
		return
	}
	b.failed = false
	b.retry.Store(0)
	b.now.Store(next)
}

func (b *Book) load(ctx context.Context, e *edition) (*edition, error) {
	var stamp string
	// the stamp first: an edit in between makes it older than the lists, and they are read once more
	if err := b.o.Tables.ReadMeta(ctx, metaStamp, &stamp); err != nil && !store.Missing(err) {
		return nil, err
	}
	now := b.o.Now()
	next := *e
	next.read = now
	if !e.full.IsZero() && stamp == e.stamp && now.Sub(e.full) < fullEvery {
		return &next, nil
	}
	rows, err := b.o.Tables.Prices.All(ctx, "")
	if err != nil {
		return nil, err
	}
	next.full, next.stamp, next.layers = now, stamp, make(map[string]layer, len(rows))
	for i := range rows {
		d := &rows[i].Value
		l, err := open(d)
		if err == nil {
			_, err = pricing.New(l.rows)
		}
		if err != nil { // of one must not take the others' away
			b.o.Log.Error("a list of prices is not readable and left out", "id", d.ID, "error", err)
			continue
		}
		next.layers[d.ID] = l
	}
	return &next, b.lay(&next)
}

func open(d *store.PriceTable) (layer, error) {
	rows, err := pricing.ReadTable(strings.NewReader(d.Table))
	return layer{rows, d.Names}, err
}

// lay puts the lists over each other.
func (b *Book) lay(e *edition) (err error) {
	e.common = b.builtin
	for _, id := range []string{Imported, Operator} {
		if e.common, err = over(e.common, e.layers[id].rows); err != nil {
			return err
		}
	}
	e.own = make(map[string]*pricing.List)
	for id, l := range e.layers {
		if account, ok := strings.CutPrefix(id, accountPrefix); ok {
			if e.own[account], err = over(e.common, l.rows); err != nil {
				return err
			}
		}
	}
	return nil
}

func over(l *pricing.List, rows []pricing.Row) (*pricing.List, error) {
	if len(rows) == 0 {
		return l, nil
	}
	return l.With(rows)
}

// Row is a price with where it comes from.
type Row struct {
	pricing.Row
	From string // Builtin, Imported, Operator or Account
	Name string // of the model, for people; empty: none was given
}

// Rows are all prices of an account as they were last read, by model, kind and time; "" is as with List.
func (b *Book) Rows(account string) []Row {
	e := b.now.Load()
	type named struct {
		from string
		rows []pricing.Row
		name map[string]string
	}
	layers := []named{{Builtin, b.builtin.Rows(), nil}}
	for _, n := range [...]struct{ from, id string }{{Imported, Imported}, {Operator, Operator}, {Account, accountPrefix + account}} {
		if l := e.layers[n.id]; len(l.rows) > 0 {
			layers = append(layers, named{n.from, l.rows, l.names})
		}
	}
	var list *pricing.List
	names := make(map[string]string)
	for _, l := range layers { // the source tells, for a moment, which list a row is of
		rows := slices.Clone(l.rows)
		for i := range rows {
			rows[i].Source = l.from + "\n" + rows[i].Source
		}
		for model, name := range l.name {
			names[model] = name
		}
		var err error
		if list == nil {
			list, err = pricing.New(rows)
		} else {
			list, err = list.With(rows)
		}
		if err != nil { // they were taken before
			return nil
		}
	}
	all := list.Rows()
	out := make([]Row, len(all))
	for i, r := range all {
		out[i].From, r.Source, _ = strings.Cut(r.Source, "\n")
		out[i].Row = r
		if out[i].From != Builtin {
			out[i].Name = names[r.Model]
		}
	}
	return out
}
