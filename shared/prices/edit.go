package prices

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"sluice/shared/core"
	"sluice/shared/pricing"
	"sluice/shared/store"
)

// The sizes of lists in bytes: DynamoDB's items have at most 400 KB, and a list takes less than a hundred a price.
const (
	maxCommon = 300_000
	maxOwn    = 60_000 // of an account
)

// maxName bounds the name of a model for people.
const maxName = 100

// kept is for how long a price that ended stays in its list, so that one can see what held when.
const kept = 90 * 24 * time.Hour

// ErrFull tells that a list has no room for more prices.
var ErrFull = errors.New("the list of prices is full: end prices that are not needed any more, or import a smaller list")

// ErrNone tells that there is no price to end.
var ErrNone = fmt.Errorf("no price to end: %w", store.ErrNotFound)

func documentOf(account string) string {
	if account == "" {
		return Operator
	}
	return accountPrefix + account
}

// Set lays a price over the account's, or, with "", over the operator's. It holds from row.From until row.To in place of what
// the same list has for the model and kind. name is the model's for people; empty keeps the one it has. The row must be one
// that pricing.New takes; ErrFull when there are too many.
func (b *Book) Set(ctx context.Context, account string, row pricing.Row, name string) error {
	return b.edit(ctx, documentOf(account), account, func(l *layer) error {
		l.rows = pricing.Put(l.rows, row)
		if name != "" && len(name) <= maxName {
			if l.names == nil {
				l.names = make(map[string]string)
			}
			l.names[row.Model] = name
		}
		return nil
	})
}

// End ends the account's or, with "", the operator's price of a model and kind at a time, those that begin later included.
// From then on the next list has the word. ErrNone when there is none.
func (b *Book) End(ctx context.Context, account, model string, kind core.Kind, at time.Time) error {
	return b.edit(ctx, documentOf(account), account, func(l *layer) error {
		rows, ended := pricing.End(l.rows, pricing.Row{Model: model, Kind: kind}, at)
		if !ended {
			return ErrNone
		}
		l.rows = rows
		return nil
	})
}

// Take adds prices to the operator's, of models and kinds that these do not have yet. It returns how many it took.
func (b *Book) Take(ctx context.Context, rows []pricing.Row) (taken int, err error) {
	if len(rows) == 0 {
		return 0, nil
	}
	err = b.edit(ctx, Operator, "", func(l *layer) error {
		have := slices.Clone(l.rows)
		taken = 0
		for _, r := range rows {
			if !slices.ContainsFunc(have, func(h pricing.Row) bool { return h.Model == r.Model && h.Kind == r.Kind }) {
				l.rows = append(l.rows, r)
				taken++
			}
		}
		return nil
	})
	return taken, err
}

// Update makes rows the imported list, from a time on: prices that differ from those of the list before, or of the built-in
// one, are changed, others stay. What an operator set is not touched and goes before. With dry nothing is stored. changed is
// how many prices differ; ErrFull as with Set.
func (b *Book) Update(ctx context.Context, rows []pricing.Row, at time.Time, source string, dry bool) (changed int, err error) {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].Source = source
	}
	change := func(l *layer) error {
		before, err := over(b.builtin, l.rows)
		if err != nil {
			return err
		}
		differ := before.Changed(rows, at)
		changed = len(differ)
		own := make(map[place]bool) // that differ from the built-in prices, too
		for _, r := range b.builtin.Changed(differ, at) {
			own[place{r.Model, r.Kind, r.From}] = true
		}
		var news []pricing.Row
		for _, r := range differ {
			if own[place{r.Model, r.Kind, r.From}] {
				news = append(news, r)
			} else { // it is the built-in price again
				l.rows, _ = pricing.End(l.rows, r, r.From)
			}
		}
		l.rows = pricing.Put(l.rows, news...)
		return nil
	}
	if !dry {
		err = b.edit(ctx, Imported, "", change)
		return changed, err
	}
	r, err := b.o.Tables.Prices.Get(ctx, Imported)
	if err != nil && !store.Missing(err) {
		return 0, err
	}
	err = b.alter(&r.Value, Imported, "", change)
	return changed, err
}

// place is which row of a list one is.
type place struct {
	model string
	kind  core.Kind
	from  time.Time
}

// Drop removes an account's prices, with the account.
func (b *Book) Drop(ctx context.Context, account string) error {
	err := b.o.Tables.Prices.Delete(ctx, accountPrefix+account)
	if store.Missing(err) {
		return nil
	}
	if err == nil {
		err = b.changed(ctx)
	}
	return err
}

// edit changes a list by compare-and-swap, tells the other processes and binds this one.
func (b *Book) edit(ctx context.Context, id, account string, change func(*layer) error) error {
	_, err := b.o.Tables.Prices.Upsert(ctx, id, func(d *store.PriceTable) error { return b.alter(d, id, account, change) })
	if err != nil {
		return err
	}
	return b.changed(ctx)
}

// changed goes on when the caller leaves: the others must hear of an edit that is stored.
func (b *Book) changed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*readTime)
	defer cancel()
	if err := b.o.Tables.WriteMeta(ctx, metaStamp, rand.Text()); err != nil {
		return err
	}
	b.reading.Lock()
	defer b.reading.Unlock()
	b.read(ctx, b.now.Load())
	return nil
}

// alter makes a change in a document.
func (b *Book) alter(d *store.PriceTable, id, account string, change func(*layer) error) error {
	l, err := open(d)
	if err != nil {
		return fmt.Errorf("the stored prices %q: %w", id, err)
	}
	if err := change(&l); err != nil {
		return err
	}
	now := b.o.Now().UTC()
	l.rows = slices.DeleteFunc(l.rows, func(r pricing.Row) bool { return !r.To.IsZero() && r.To.Before(now.Add(-kept)) })
	table := pricing.AppendTable(nil, l.rows)
	size := len(table)
	for model, name := range l.names {
		if !slices.ContainsFunc(l.rows, func(r pricing.Row) bool { return r.Model == model }) {
			delete(l.names, model)
			continue
		}
		size += len(model) + len(name)
	}
	if size > maxCommon || account != "" && size > maxOwn {
		return ErrFull
	}
	*d = store.PriceTable{ID: id, Account: account, Table: string(table), Names: l.names, Updated: now}
	// what was written must be what is read: a name may hold what the table gives a meaning
	again, err := open(d)
	if err == nil {
		_, err = pricing.New(l.rows)
	}
	if err == nil && !slices.EqualFunc(again.rows, l.rows, same) {
		err = errors.New("the name of a model cannot be stored")
	}
	return err
}

func same(a, b pricing.Row) bool {
	if !a.From.Equal(b.From) || !a.To.Equal(b.To) {
		return false
	}
	a.From, a.To, a.Source = b.From, b.To, b.Source
	return a == b
}
