// Package capture keeps requests and answers for inspection, where the operator gave a place for them (CAPTURE_URL) and an
// administrator turned it on for an account. What is kept is redacted, then encrypted, and removed when its time is over;
// nothing of it goes to a log.
//
// It has more than 1,500 lines because redaction, in all the ways that a secret may be written in a body, is as much as all the
// rest, and has no other user.
package capture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sluice/shared/core"
)

const (
	// writeTime bounds redaction, encryption and writing of one exchange: its handler waits for it.
	writeTime = 2 * time.Second
	// readTime bounds reading one back.
	readTime = 10 * time.Second
	// After failLimit failures in a row nothing is written for failPause: a place that is down must not cost every request
	// writeTime.
	failLimit = 3
	failPause = 30 * time.Second
	logEvery  = time.Minute
	// atOnce bounds how many exchanges are worked on together: redaction needs several times the size of a body.
	atOnce = 4
	// removeMost bounds how many captures one Expire removes.
	removeMost = 10_000
)

// ErrNone is returned where nothing is kept of a request: it was not captured, or its time is over.
var ErrNone = errors.New("nothing was captured of this request")

// Box seals the key of each capture.
type Box interface {
	Seal(owner string, s core.Secret) core.Sealed
	Open(owner string, v core.Sealed) (core.Secret, error)
}

// Record is what is kept of one exchange.
type Record struct {
	RequestID   string       `json:"request_id"`
	Account     string       `json:"account_id"`
	Key         string       `json:"key_id"`
	Node        string       `json:"node_id,omitempty"` // tried last
	NodeName    string       `json:"node_name,omitempty"`
	Endpoint    string       `json:"endpoint"`
	Dialect     core.Dialect `json:"dialect"`
	Model       string       `json:"model_id,omitempty"`
	Stream      bool         `json:"stream"`
	Status      int          `json:"status"`
	ErrorCode   string       `json:"error_code,omitempty"`
	StartedAt   time.Time    `json:"started_at"`
	EndedAt     time.Time    `json:"ended_at"`
	RequestCut  bool         `json:"request_truncated"`  // the end of Request is missing
	ResponseCut bool         `json:"response_truncated"` // likewise
	Redacted    int          `json:"redactions"`         // places in both
	Request     []byte       `json:"-"`                  // as the client sent it, without compression
	Response    []byte       `json:"-"`                  // as it was sent to the client
}

// Exchange is an exchange that is to be kept. Keep changes it.
type Exchange struct {
	Record
	Settings core.Capture
	Secrets  []string // texts that must not be kept, such as the client's own key
}

// Options are what a Capture is made of.
type Options struct {
	Place Place
	Box   Box
	Log   *slog.Logger
	Now   func() time.Time // nil: time.Now
}

// Capture writes, reads and removes captures. It is safe for concurrent use and starts no goroutine.
type Capture struct {
	o    Options
	sink sink
	work chan struct{}

	mu    sync.Mutex
	rules map[string]*ruleSet // by account: compiled ones
	fails int                 // in a row
	pause time.Time           // nothing is written before
	told  time.Time           // when the log was last told

	written, skipped, failed atomic.Int64
}

// Counts are of one process since its start.
type Counts struct {
	Written int64
	Skipped int64 // for want of memory, or while the place is down
	Failed  int64
}

// sink is where captures lie. Names of keys are made by this package only: ACCOUNT/YYYY-MM-DD/REQUEST.
type sink interface {
	put(ctx context.Context, key string, data []byte) error
	// get returns ErrNone where there is no such key.
	get(ctx context.Context, key string) ([]byte, error)
	// folders returns the names directly below; none where there is nothing.
	folders(ctx context.Context, under string) ([]string, error)
	// remove removes what lies below, at most most of it, and returns how many captures that were.
	remove(ctx context.Context, under string, most int) (int, error)
	close()
}

// Open makes a Capture. A folder is made at once, and the error tells when it cannot be; of S3 nothing is asked before the
// first capture.
func Open(o Options) (*Capture, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Capture{o: o, work: make(chan struct{}, atOnce), rules: map[string]*ruleSet{}}
	if o.Place.dir == "" {
		c.sink = newS3(o.Place, o.Now)
		return c, nil
	}
	f, err := openFiles(o.Place.dir)
	if err != nil {
		return nil, err
	}
	c.sink = f
	return c, nil
}

// Close frees what the Capture holds.
func (c *Capture) Close() { c.sink.close() }

// Counts tells what became of exchanges so far.
func (c *Capture) Counts() Counts {
	return Counts{Written: c.written.Load(), Skipped: c.skipped.Load(), Failed: c.failed.Load()}
}

// Skip counts an exchange that could not be captured, for the reason why.
func (c *Capture) Skip(why string) {
	c.skipped.Add(1)
	c.tell(errors.New(why))
}

// Keep redacts, encrypts and writes an exchange, within 2 s. A failure is counted, and logged at most once a minute: it must
// never become the request's. What could not be redacted in time is not written.
func (c *Capture) Keep(ctx context.Context, e *Exchange) {
	if c.paused() {
		c.skipped.Add(1)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	err := c.keep(ctx, e)
	c.note(err)
	if err == nil {
		c.written.Add(1)
		return
	}
	c.failed.Add(1)
	c.tell(err)
}

func (c *Capture) keep(ctx context.Context, e *Exchange) error {
	select {
	case c.work <- struct{}{}:
		defer func() { <-c.work }()
	case <-ctx.Done():
		return errors.New("too many captures at once")
	}
	set, err := c.compiled(e)
	if err != nil {
		return err
	}
	if err := e.redact(ctx, set); err != nil {
		return err
	}
	day := dayOf(e.RequestID, e.StartedAt)
	key, err := objectKey(e.Account, day, e.RequestID)
	if err != nil {
		return err
	}
	data, err := c.seal(key, &e.Record)
	if err != nil {
		return err
	}
	return c.sink.put(ctx, key, data)
}

// compiled returns the account's rules. They were checked when they were set.
func (c *Capture) compiled(e *Exchange) (*ruleSet, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.rules[e.Account]; s != nil && slices.Equal(s.from, e.Settings.Redact) {
		return s, nil
	}
	s, err := compile(e.Settings.Redact)
	if err != nil {
		return nil, err
	}
	if len(c.rules) >= 1000 { // accounts come and go
		clear(c.rules)
	}
	c.rules[e.Account] = s
	return s, nil
}

func (c *Capture) paused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.o.Now().Before(c.pause)
}

func (c *Capture) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil || errors.Is(err, errRules) { // the place is not to blame
		c.fails = 0
		return
	}
	if c.fails++; c.fails >= failLimit {
		c.fails, c.pause = 0, c.o.Now().Add(failPause)
	}
}

func (c *Capture) tell(err error) {
	c.mu.Lock()
	now := c.o.Now()
	quiet := !c.told.IsZero() && now.Sub(c.told) < logEvery
	if !quiet {
		c.told = now
	}
	c.mu.Unlock()
	if !quiet {
		n := c.Counts()
		c.o.Log.Warn("exchanges are not captured", "written", n.Written, "skipped", n.Skipped, "failed", n.Failed, "error", err)
	}
}

// Read returns what was kept of a request, ErrNone where nothing was or where it is older than days.
func (c *Capture) Read(ctx context.Context, account, request string, days int) (*Record, error) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	at, ok := timeOf(request)
	if !ok {
		return nil, ErrNone
	}
	day := at.Format(time.DateOnly)
	key, err := objectKey(account, day, request)
	if err != nil || expired(day, c.o.Now(), days) {
		return nil, ErrNone
	}
	data, err := c.sink.get(ctx, key)
	if err != nil {
		return nil, err
	}
	return c.open(account, key, data)
}

// Drop removes everything that was kept of an account.
func (c *Capture) Drop(ctx context.Context, account string) error {
	name, err := safeName(account)
	if err != nil {
		return nil // nothing was written either
	}
	for {
		n, err := c.sink.remove(ctx, name, removeMost)
		if err != nil {
			return fmt.Errorf("captures of the account not removed: %w", err)
		}
		if n < removeMost {
			return nil
		}
	}
}

// Expire removes the days that are over, at most 10,000 captures in a call, and returns how many. keep tells for how many
// days an account keeps them; false: there is no such account, and everything of it goes. A capture is kept for that many
// days after the UTC day it is from.
func (c *Capture) Expire(ctx context.Context, now time.Time, keep func(account string) (days int, ok bool)) (int, error) {
	accounts, err := c.sink.folders(ctx, "")
	if err != nil {
		return 0, err
	}
	removed, failed := 0, error(nil) // what cannot be removed is told, and keeps nothing else from going
	for _, name := range accounts {
		account, ok := nameOf(name)
		if !ok {
			continue // not ours
		}
		days, ok := keep(account)
		if !ok {
			days = -1
		}
		n, err := c.expire(ctx, name, now, days, removeMost-removed)
		removed += n
		if failed = cmp.Or(failed, err); removed >= removeMost || ctx.Err() != nil {
			break
		}
	}
	return removed, failed
}

func (c *Capture) expire(ctx context.Context, account string, now time.Time, days, most int) (removed int, failed error) {
	list, err := c.sink.folders(ctx, account)
	if err != nil {
		return 0, err
	}
	ours := len(list) > 0
	for _, day := range list {
		if _, err := time.Parse(time.DateOnly, day); err != nil {
			ours = false // whatever lies beside captures has other names, and is not ours to remove
			continue
		}
		if days >= 0 && !expired(day, now, days) {
			continue
		}
		n, err := c.sink.remove(ctx, account+"/"+day, most-removed)
		removed += n
		if failed = cmp.Or(failed, err); removed >= most || ctx.Err() != nil {
			return removed, failed
		}
	}
	if days < 0 && ours && failed == nil {
		n, err := c.sink.remove(ctx, account, most-removed)
		return removed + n, err
	}
	return removed, failed
}

// expired reports whether a day is over by more than so many days; false for what is no day.
func expired(day string, now time.Time, days int) bool {
	d, err := time.Parse(time.DateOnly, day)
	return err == nil && !now.Before(d.AddDate(0, 0, days+1))
}
