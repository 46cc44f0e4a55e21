package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// Options are what a log is made of.
type Options struct {
	Docs store.Docs
	Now  func() time.Time
	Keep time.Duration // that an entry is kept; 0: for ever

	// Hash stands for a secret that changed; its first 8 characters are shown. Open opens a sealed value for that.
	Hash func(secret string) string
	Open func(owner string, v core.Sealed) (core.Secret, error)
}

// Log writes and reads the chain. It is safe for concurrent use, by any number of processes over one store.
type Log struct {
	o    Options
	turn chan struct{} // holds one: within a process entries are written one after the other
	last head          // the newest entry that this process knows; under turn
	read bool          // last was read from the store
}

// head is what the next entry must know of the newest one.
type head struct {
	Seq     int64     `json:"seq"`
	Hash    string    `json:"hash"`
	At      time.Time `json:"at"`
	Expires time.Time `json:"expires,omitzero"`
}

// New makes a log.
func New(o Options) *Log { return &Log{o: o, turn: make(chan struct{}, 1)} }

// metaHead is the document of store.KindMeta that says which entry was the newest a moment ago, so that no start must look
// for it. It may lag behind: the entries themselves decide.
const metaHead = "audit-head"

// maxTries bounds the tries of a write that other processes keep overtaking.
const maxTries = 200

// ErrBusy is returned when others wrote all the while.
var ErrBusy = errors.New("audit log: other instances kept writing at the same time; the entry is lost")

// Append writes the entry with the next number, time and hashes, and returns it as it is kept. Texts that are too long are
// cut. An error means that there may be no such entry.
func (l *Log) Append(ctx context.Context, e Entry) (Entry, error) {
	done, err := l.enter(ctx)
	if err != nil {
		return e, err
	}
	defer done()
	if err := l.follow(ctx); err != nil {
		return e, err
	}
	e.clip()
	for try := range maxTries {
		ok, err := l.create(ctx, &e)
		if err != nil {
			return e, fmt.Errorf("audit entry not written: %w", err)
		}
		if ok {
			l.note(ctx)
			return e, nil
		}
		if err := store.Pause(ctx, time.Duration(rand.Int64N(int64(min(try+1, 20))*int64(time.Millisecond)))); err != nil {
			return e, err
		}
	}
	return e, ErrBusy
}

// enter waits for its turn.
func (l *Log) enter(ctx context.Context) (done func(), err error) {
	select {
	case l.turn <- struct{}{}:
		return func() { <-l.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// create tries to be the next. false: another process was, and is the newest known now.
func (l *Log) create(ctx context.Context, e *Entry) (bool, error) {
	// clocks of instances differ; entries that went back in time could not be found by time, nor expire in order
	e.At = l.o.Now().UTC().Truncate(time.Millisecond)
	if e.At.Before(l.last.At) {
		e.At = l.last.At
	}
	e.Seq, e.Prev = l.last.Seq+1, l.last.Hash
	body, err := seal(e)
	if err != nil {
		return false, err
	}
	d := store.Doc{Kind: store.KindAudit, ID: id(e.Seq), Account: e.Account, Expires: l.expiry(e.At), Body: body}
	_, err = l.o.Docs.Create(ctx, d)
	if errors.Is(err, store.ErrExists) {
		have, gerr := l.o.Docs.Get(ctx, store.KindAudit, d.ID)
		if gerr != nil {
			return false, gerr
		}
		l.last = headOf(&have)
		if l.last.Hash == e.Hash { // it is this very entry: the store's client sent it twice
			return true, nil
		}
		return false, l.gallop(ctx)
	}
	if err != nil {
		return false, err
	}
	l.last = head{Seq: e.Seq, Hash: e.Hash, At: e.At, Expires: d.Expires}
	return true, nil
}

// expiry is when an entry of that time may go: never before the one before it, or the chain would have a hole after the
// setting was lowered.
func (l *Log) expiry(at time.Time) time.Time {
	if l.o.Keep == 0 {
		return time.Time{}
	}
	end := at.Add(l.o.Keep)
	if end.Before(l.last.Expires) {
		return l.last.Expires
	}
	return end
}

// headOf reads what follows from a document. One that was spoilt still has a successor, which verification finds broken.
func headOf(d *store.Doc) head {
	h := head{Seq: seqOf(d.ID), Expires: d.Expires}
	e, err := Parse(d.Body)
	if err != nil {
		h.Hash = digest(d.Body)
		return h
	}
	h.Hash, h.At = e.Hash, e.At
	return h
}

// follow finds the newest entry: from the newest known, from the hint, or from the oldest one that is kept.
func (l *Log) follow(ctx context.Context) error {
	h := l.last
	if !l.read {
		var err error
		if h, _, err = l.hint(ctx); err != nil {
			return err
		}
	}
	if h.Seq == 0 || over(h.Expires, l.o.Now()) {
		// what follows one that expired may have expired, too, and looking for its successor would end at once
		old, err := l.oldest(ctx)
		if err != nil {
			return err
		}
		if old.Seq > h.Seq {
			h = old
		}
	}
	l.last, l.read = h, true
	return l.gallop(ctx)
}

// oldest is the oldest entry whose time is not over: behind it there are no holes. Where there is none it is the newest that
// the store has not removed yet, in whatever order it does that.
func (l *Log) oldest(ctx context.Context) (h head, err error) {
	for from := ""; ; {
		ds, err := l.o.Docs.List(ctx, store.KindAudit, "", from, pageSize)
		if err != nil {
			return h, fmt.Errorf("audit log: %w", err)
		}
		for i := range ds {
			if h = headOf(&ds[i]); !over(h.Expires, l.o.Now()) {
				return h, nil
			}
		}
		if len(ds) < pageSize {
			return h, nil
		}
		from = ds[len(ds)-1].ID
	}
}

// over reports whether an end has come; the zero time is none.
func over(end, now time.Time) bool { return !end.IsZero() && !now.Before(end) }

// gallop goes from the newest entry known to the newest there is, in steps that double and then halve: entries have no holes.
func (l *Log) gallop(ctx context.Context) error {
	get := func(seq int64) (bool, error) {
		d, err := l.o.Docs.Get(ctx, store.KindAudit, id(seq))
		if errors.Is(err, store.ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("audit log: %w", err)
		}
		l.last = headOf(&d)
		return true, nil
	}
	low, step := l.last.Seq, int64(1)
	for {
		ok, err := get(low + step)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		low, step = low+step, step*2
	}
	for high := low + step; high-low > 1; {
		mid := low + (high-low)/2
		ok, err := get(mid)
		if err != nil {
			return err
		}
		if ok {
			low = mid
		} else {
			high = mid
		}
	}
	return nil
}

// hint reads metaHead; a zero head when there is none.
func (l *Log) hint(ctx context.Context) (head, int64, error) {
	d, err := l.o.Docs.Get(ctx, store.KindMeta, metaHead)
	if errors.Is(err, store.ErrNotFound) {
		return head{}, 0, nil
	}
	if err != nil {
		return head{}, 0, fmt.Errorf("audit log: %w", err)
	}
	var v store.MetaValue
	var h head
	if json.Unmarshal(d.Body, &v) != nil || json.Unmarshal(v.Data, &h) != nil || h.Seq < 0 {
		return head{}, d.Version, nil // it is only a hint
	}
	return h, d.Version, nil
}

// note moves the hint on, unless another process has moved it further. Its failure costs the next start a few looks, no more.
func (l *Log) note(ctx context.Context) {
	have, version, err := l.hint(ctx)
	if err != nil || have.Seq >= l.last.Seq {
		return
	}
	data, err := json.Marshal(l.last)
	if err != nil {
		return
	}
	body, err := json.Marshal(store.MetaValue{ID: metaHead, Data: data})
	if err != nil {
		return
	}
	d := store.Doc{Kind: store.KindMeta, ID: metaHead, Version: version, Body: body}
	if version == 0 {
		_, _ = l.o.Docs.Create(ctx, d)
		return
	}
	_, _ = l.o.Docs.Replace(ctx, d)
}

// newest is the newest entry now, whoever wrote it, and the hint as it stood before the look.
func (l *Log) newest(ctx context.Context) (last, hint head, err error) {
	done, err := l.enter(ctx)
	if err != nil {
		return last, hint, err
	}
	defer done()
	if hint, _, err = l.hint(ctx); err != nil {
		return last, hint, err
	}
	if err := l.follow(ctx); err != nil {
		return last, hint, err
	}
	return l.last, hint, nil
}
