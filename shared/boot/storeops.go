package boot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/importer"
	"sluice/shared/seal"
	"sluice/shared/store"
	"sluice/shared/store/measure"
	"sluice/shared/store/spool"
	"sluice/shared/store/transfer"
)

// storeTimeout bounds a call of the hot path to a store that is not in this process.
const storeTimeout = 5 * time.Second

// OldDatabase opens what follows the scheme of a store's URL for reading, when it holds tables of an older system; nil
// without an error when it holds none.
type OldDatabase func(ctx context.Context, rest core.Secret) (importer.Source, error)

// OpenStore opens the store that a URL names. name is the variable or argument that the URL came from, for messages.
func OpenStore(ctx context.Context, openers map[string]Opener, url core.Secret, name string, log *slog.Logger) (Opened, error) {
	scheme, rest, ok := strings.Cut(url.Reveal(), ":")
	open := openers[scheme]
	if !ok || open == nil {
		var known []string
		for s := range openers {
			known = append(known, s+":")
		}
		remedy := ""
		if openers["sqlite"] != nil {
			remedy = ". Unset it to use the embedded file data/sluice.db"
		}
		return Opened{}, fmt.Errorf("%s: this program has no store of this kind; it has %s%s", name, strings.Join(sorted(known), ", "), remedy)
	}
	opened, err := open(ctx, core.NewSecret(rest), log)
	if err != nil {
		return Opened{}, fmt.Errorf("%s: %w", name, err)
	}
	return opened, nil
}

// whenAway wraps a store for the times when it is away, as STORE_OUTAGE and STORE_SPOOL_* say. What it could not take waits
// beside an embedded store, else in data/spool; a store in memory is never away, and nothing of it outlives the process.
func whenAway(o *Options, opened Opened, url core.Secret) store.Store {
	c := o.Config
	opts := spool.Options{Open: c.StoreOutage == "open", Dir: c.SpoolDir, MaxBytes: c.SpoolMax, Log: o.Log}
	inProcess := opened.File != "" || strings.HasPrefix(url.Reveal(), "memory:")
	switch {
	case c.SpoolDir == "off":
		opts.Dir = ""
	case c.SpoolDir != "":
	case opened.File != "":
		opts.Dir = opened.File + ".spool"
	case !inProcess:
		opts.Dir = "data/spool"
	}
	if !inProcess {
		opts.Timeout = storeTimeout
	}
	return spool.New(opened.Store, opts)
}

// A call of the hot path that takes longer than slowCall holds requests up; a line tells of it, at most every slowLine.
const (
	slowCall = time.Second
	slowLine = 10 * time.Second
)

// slowCalls tells the operator when requests wait for the store.
func slowCalls(log *slog.Logger) func(measure.Call) {
	var next, more atomic.Int64 // when the next line may come, and how many calls none told of
	return func(c measure.Call) {
		if c.Took < slowCall || c.Verb != "admit" && c.Verb != "settle" && c.Verb != "renew" && c.Verb != "generation" {
			return
		}
		now, at := time.Now().UnixNano(), next.Load()
		if now < at || !next.CompareAndSwap(at, now+int64(slowLine)) {
			more.Add(1)
			return
		}
		log.Warn("the store is slow, and requests wait for it", "call", c.Verb, "milliseconds", c.Took.Milliseconds(), "others_since_last_line", more.Swap(0))
	}
}

// CopyStore copies one opened store into another, and the master key with it where it lies beside the source or in it: a
// gateway that starts on the target needs it. It returns what the operator must know.
func CopyStore(ctx context.Context, c *config.Config, from, to Opened, now func() time.Time, progress func(kind string, n int)) (*transfer.Report, []string, error) {
	if from.File != "" {
		// what a gateway could not store waits beside the file
		from.Store = spool.New(from.Store, spool.Options{Dir: from.File + ".spool"})
	}
	var notes []string
	r, err := transfer.Copy(ctx, from.Store, to.Store, transfer.Options{Now: now, Leave: []string{metaMaster}, Progress: progress,
		Ready: func(ctx context.Context) (err error) {
			notes, err = carryKey(ctx, c, from, to, now)
			return err
		}})
	switch {
	case errors.Is(err, transfer.ErrEmpty):
		err = fmt.Errorf("FROM: %s %w: no gateway was ever started on it", from.Where, transfer.ErrEmpty)
	case errors.Is(err, transfer.ErrOther):
		err = fmt.Errorf("TO: %s %w; nothing was changed. Copy into an empty store", to.Where, transfer.ErrOther)
	case errors.Is(err, transfer.ErrDiffers):
		err = fmt.Errorf("%w. Stop the gateways that use FROM and run it again: it goes on where it is", err)
	}
	if from.File != "" {
		err = errors.Join(err, from.Store.Close())
	}
	return r, notes, err
}

// carryKey takes care that the target's keyring can be opened.
func carryKey(ctx context.Context, c *config.Config, from, to Opened, now func() time.Time) (notes []string, err error) {
	source := &App{Opened: from, Tables: store.NewTables(from.Store, now)}
	if _, _, err := source.openRing(ctx, c); err != nil {
		return nil, fmt.Errorf("FROM: %w", err)
	}
	if !c.MasterKey.IsZero() {
		return []string{"the copy needs the same SLUICE_MASTER_KEY"}, nil
	}
	text := ""
	if from.File != "" {
		data, err := os.ReadFile(from.File + ".key")
		if err != nil {
			return nil, fmt.Errorf("FROM: %w", err)
		}
		text = strings.TrimSpace(string(data))
	} else if err := source.Tables.ReadMeta(ctx, metaMaster, &text); err != nil {
		return nil, fmt.Errorf("FROM: master key: %w", err)
	}
	if to.File != "" {
		path := to.File + ".key"
		data, err := os.ReadFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			err = writeKeyFile(path, core.NewSecret(text))
		case err == nil && strings.TrimSpace(string(data)) != text:
			err = fmt.Errorf("%s is another master key; move it away", path)
		}
		if err != nil {
			return nil, fmt.Errorf("TO: %w", err)
		}
		return []string{"the master key was copied to " + path}, nil
	}
	target := store.NewTables(to.Store, now)
	err = target.CreateMeta(ctx, metaMaster, text)
	if errors.Is(err, store.ErrExists) {
		have := ""
		if err = target.ReadMeta(ctx, metaMaster, &have); err == nil && have != text {
			err = errors.New("TO: it has another master key")
		}
	}
	return []string{"warning: the master key was copied into " + to.Where + " itself, so it protects nothing from who reads that store. " +
		"To keep it apart, set SLUICE_MASTER_KEY to it before the copy, here and where the gateway runs"}, err
}

// openRing opens the keyring of a store that was started before, and changes nothing. store.ErrNotFound when there is none.
func (a *App) openRing(ctx context.Context, c *config.Config) (box *seal.Box, source string, err error) {
	var ring seal.Keyring
	if err := a.Tables.ReadMeta(ctx, metaSeal, &ring); err != nil {
		return nil, "", fmt.Errorf("keyring: %w", err)
	}
	master, source, err := a.masterKey(ctx, c, false)
	if err != nil {
		return nil, source, err
	}
	box, err = ring.Open(ctx, master)
	if errors.Is(err, seal.ErrWrongKey) {
		err = fmt.Errorf("%s: this master key does not open %s; use the one it was first started with", source, a.Opened.Where)
	}
	return box, source, err
}

// Checked is what CheckStore found.
type Checked struct {
	Where    string
	Ping     time.Duration
	Schema   string // "" where the backend has none to tell of; opening it has checked it
	Keyring  string
	Counts   []transfer.Count // Source is the number
	Requests int64            // in the totals
	Waiting  int64            // settlements that wait on disk for the store
	Notes    []string
}

// CheckStore opens the configured store and looks whether a gateway could start on it. It makes neither keys nor seeds.
func CheckStore(ctx context.Context, o Options) (_ *Checked, err error) {
	url, name := o.Config.Store()
	opened, err := OpenStore(ctx, o.Openers, url, name, o.Log)
	if err != nil {
		return nil, err
	}
	opened.Store = whenAway(&o, opened, url)
	defer func() { err = errors.Join(err, opened.Store.Close()) }()
	out := &Checked{Where: opened.Where}
	began := time.Now()
	pctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := opened.Store.Ping(pctx); err != nil {
		return out, fmt.Errorf("%s: the store does not answer: %w", name, err)
	}
	out.Ping = time.Since(began)
	if out.Schema, err = schemaOf(ctx, opened.Store); err != nil {
		return out, fmt.Errorf("%s: %w", name, err)
	}
	a := &App{Opened: opened, Tables: store.NewTables(opened.Store, time.Now)}
	switch _, source, err := a.openRing(ctx, o.Config); {
	case errors.Is(err, store.ErrNotFound):
		out.Keyring = "none yet; the first start makes it"
	case err != nil:
		return out, err
	default:
		out.Keyring = "opened by " + source
	}
	out.Notes = a.Notes
	if out.Counts, err = transfer.Counts(ctx, opened.Store, time.Now); err != nil {
		return out, err
	}
	sums, err := opened.Store.Sums(ctx, store.UsageFilter{}, store.GroupNone)
	if err != nil {
		return out, err
	}
	for _, s := range sums {
		out.Requests += s.Requests
	}
	if s, ok := opened.Store.(*spool.Store); ok {
		out.Waiting = s.Stats().Waiting
	}
	return out, a.unfinished(ctx, name, false)
}

// schemaOf asks a backend that can tell for the version of its schema.
func schemaOf(ctx context.Context, s store.Store) (string, error) {
	for {
		if v, ok := s.(interface {
			SchemaVersion(ctx context.Context) (version, compatible int, err error)
		}); ok {
			version, compatible, err := v.SchemaVersion(ctx)
			return fmt.Sprintf("version %d, for programs that know version %d or later", version, compatible), err
		}
		w, ok := s.(interface{ Unwrap() store.Store })
		if !ok {
			return "", nil
		}
		s = w.Unwrap()
	}
}

// unfinished reports a copy into the store that was broken off. A start, which makes it a store of its own, says so.
func (a *App) unfinished(ctx context.Context, name string, start bool) error {
	err := error(nil)
	if start {
		err = transfer.Started(ctx, a.Tables)
	} else {
		err = transfer.Whole(ctx, a.Tables)
	}
	if errors.Is(err, transfer.ErrUnfinished) {
		return fmt.Errorf("%s: %w; run sluice store copy again, to its end", name, err)
	}
	return err
}
