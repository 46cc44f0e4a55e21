package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sluice/shared/store"
)

// purgeBatch bounds one Purge, so that it does not keep other writers waiting.
const purgeBatch = 1000

const docColumns = "SELECT d.kind, d.id, d.account, d.version, d.expires_us, d.looks, d.body FROM sluice_docs d "

func scanDoc(scan func(...any) error) (store.Doc, error) {
	var d store.Doc
	var expires int64
	var looks string
	if err := scan(&d.Kind, &d.ID, &d.Account, &d.Version, &expires, &looks, &d.Body); err != nil {
		return d, err
	}
	if expires != 0 {
		d.Expires = time.UnixMicro(expires).UTC()
	}
	if looks != "" {
		if err := json.Unmarshal([]byte(looks), &d.Unique); err != nil {
			return d, fmt.Errorf("look-up strings of %s %s: %w", d.Kind, d.ID, err)
		}
	}
	return d, nil
}

func expiresUS(d *store.Doc) int64 {
	if d.Expires.IsZero() {
		return 0
	}
	return d.Expires.UnixMicro()
}

func looks(d *store.Doc) (string, error) {
	if len(d.Unique) == 0 {
		return "", nil
	}
	b, err := json.Marshal(d.Unique)
	return string(b), err
}

// Get implements store.Docs.
func (e *Engine) Get(ctx context.Context, kind, id string) (store.Doc, error) {
	ctx, cancel := e.bounded(ctx)
	defer cancel()
	if !e.dialect.holds(id) {
		return store.Doc{}, fmt.Errorf("%s %q: %w", kind, id, store.ErrNotFound)
	}
	q := e.dialect.query(docColumns + "WHERE d.kind = ? AND d.id = ?")
	d, err := scanDoc(e.r.QueryRowContext(ctx, q, kind, id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return d, fmt.Errorf("%s %s: %w", kind, id, store.ErrNotFound)
	}
	return d, e.fail(ctx, "read "+kind, err)
}

// Find implements store.Docs.
func (e *Engine) Find(ctx context.Context, kind, unique string) (store.Doc, error) {
	ctx, cancel := e.bounded(ctx)
	defer cancel()
	if !e.dialect.holds(unique) {
		return store.Doc{}, fmt.Errorf("%s by look-up string: %w", kind, store.ErrNotFound)
	}
	q := e.dialect.query(docColumns + "JOIN sluice_uniques u ON u.kind = d.kind AND u.id = d.id WHERE u.kind = ? AND u.value = ?")
	d, err := scanDoc(e.r.QueryRowContext(ctx, q, kind, unique).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return d, fmt.Errorf("%s by look-up string: %w", kind, store.ErrNotFound)
	}
	return d, e.fail(ctx, "find "+kind, err)
}

// List implements store.Docs.
func (e *Engine) List(ctx context.Context, kind, account, after string, limit int) ([]store.Doc, error) {
	ctx, cancel := e.bounded(ctx)
	defer cancel()
	q, args := docColumns+"WHERE d.kind = ? AND d.id > ?", []any{kind, e.dialect.key(after)}
	if account != "" {
		q, args = q+" AND d.account = ?", append(args, e.dialect.key(account))
	}
	var out []store.Doc
	err := e.read(ctx, q+" ORDER BY d.id LIMIT ?", append(args, max(limit, 0)), func(rows *sql.Rows) error {
		d, err := scanDoc(rows.Scan)
		out = append(out, d)
		return err
	})
	if err != nil {
		return nil, e.fail(ctx, "list "+kind, err)
	}
	return out, nil
}

// change runs fn and raises the generation of the document's account in one transaction.
func (e *Engine) change(ctx context.Context, op string, d *store.Doc, fn func(*sql.Tx) (version int64, err error)) (int64, error) {
	account := d.Account
	var version, generation int64
	err := e.write(ctx, op+" "+d.Kind+" "+d.ID, func(tx *sql.Tx) (err error) {
		if version, err = fn(tx); err != nil || !store.Generational(d.Kind) {
			return err
		}
		if account = d.Account; d.Kind == store.KindAccount { // fn may have found the account
			account = d.ID
		}
		generation, err = e.increment(ctx, tx, "sluice_generations", "account", account)
		return err
	}, func() {
		if e.changed != nil && store.Generational(d.Kind) {
			e.changed(d.Kind, d.ID, version, account, generation)
		}
	})
	return version, err
}

// Create implements store.Docs.
func (e *Engine) Create(ctx context.Context, d store.Doc) (int64, error) {
	ctx, cancel := e.bounded(ctx)
	defer cancel()
	return e.change(ctx, "create", &d, func(tx *sql.Tx) (int64, error) {
		text, err := looks(&d)
		if err != nil {
			return 0, err
		}
		if !e.dialect.holds(d.ID) || !e.dialect.holds(d.Account) {
			return 0, fmt.Errorf("its id must be valid text of at most %d bytes", e.dialect.KeyBytes)
		}
		_, err = e.exec(ctx, tx, "INSERT INTO sluice_docs (kind, id, account, version, expires_us, looks, body) VALUES (?, ?, ?, 1, ?, ?, ?)",
			d.Kind, d.ID, d.Account, expiresUS(&d), text, body(&d))
		if err != nil {
			return 0, e.exists(err)
		}
		return 1, e.claim(ctx, tx, &d)
	})
}

// body is never NULL.
func body(d *store.Doc) []byte {
	if d.Body == nil {
		return []byte{}
	}
	return d.Body
}

func (e *Engine) exists(err error) error {
	if e.dialect.Taken(err) {
		return store.ErrExists
	}
	return err
}

func (e *Engine) claim(ctx context.Context, tx *sql.Tx, d *store.Doc) error {
	for _, u := range d.Unique {
		if _, err := e.exec(ctx, tx, "INSERT INTO sluice_uniques (kind, value, id) VALUES (?, ?, ?)", d.Kind, u, d.ID); err != nil {
			return fmt.Errorf("look-up string: %w", e.exists(err))
		}
	}
	return nil
}

// at locks a document and compares its version; 0 is any. It returns the version and the account.
func (e *Engine) at(ctx context.Context, tx *sql.Tx, kind, id string, version int64) (have int64, account string, err error) {
	if !e.dialect.holds(id) {
		return 0, "", store.ErrNotFound
	}
	q := "SELECT version, account FROM sluice_docs WHERE kind = ? AND id = ?" + e.dialect.ForUpdate
	switch err := e.row(ctx, tx, q, kind, id).Scan(&have, &account); {
	case errors.Is(err, sql.ErrNoRows):
		return 0, "", store.ErrNotFound
	case err != nil:
		return 0, "", err
	case version != 0 && version != have:
		return have, account, store.ErrConflict
	}
	return have, account, nil
}

// Replace implements store.Docs.
func (e *Engine) Replace(ctx context.Context, d store.Doc) (int64, error) {
	ctx, cancel := e.bounded(ctx)
	defer cancel()
	return e.change(ctx, "replace", &d, func(tx *sql.Tx) (int64, error) {
		have, account, err := e.at(ctx, tx, d.Kind, d.ID, d.Version)
		if err != nil {
			return 0, err
		}
		if have != d.Version {
			return 0, store.ErrConflict // version 0
		}
		if account != d.Account {
			return 0, errors.New("the account of a document cannot change")
		}
		text, err := looks(&d)
		if err != nil {
			return 0, err
		}
		_, err = e.exec(ctx, tx, "UPDATE sluice_docs SET version = ?, expires_us = ?, looks = ?, body = ? WHERE kind = ? AND id = ?",
			have+1, expiresUS(&d), text, body(&d), d.Kind, d.ID)
		if err != nil {
			return 0, err
		}
		if _, err := e.exec(ctx, tx, "DELETE FROM sluice_uniques WHERE kind = ? AND id = ?", d.Kind, d.ID); err != nil {
			return 0, err
		}
		return have + 1, e.claim(ctx, tx, &d)
	})
}

// Delete implements store.Docs.
func (e *Engine) Delete(ctx context.Context, kind, id string, version int64) error {
	ctx, cancel := e.bounded(ctx)
	defer cancel()
	d := store.Doc{Kind: kind, ID: id}
	_, err := e.change(ctx, "delete", &d, func(tx *sql.Tx) (int64, error) {
		_, account, err := e.at(ctx, tx, kind, id, version)
		if err != nil {
			return 0, err
		}
		d.Account = account
		return 0, e.erase(ctx, tx, kind, id)
	})
	return err
}

// erase removes a document with all that belongs to it.
func (e *Engine) erase(ctx context.Context, tx *sql.Tx, kind, id string) error {
	tables := []string{"sluice_docs", "sluice_uniques"}
	if store.Generational(kind) {
		tables = append(tables, "sluice_limits", "sluice_inflight")
	}
	for _, table := range tables {
		if _, err := e.exec(ctx, tx, "DELETE FROM "+table+" WHERE kind = ? AND id = ?", kind, id); err != nil {
			return err
		}
	}
	return nil
}

// Next implements store.Docs.
func (e *Engine) Next(ctx context.Context, counter string) (n int64, err error) {
	ctx, cancel := e.bounded(ctx)
	defer cancel()
	err = e.write(ctx, "count "+counter, func(tx *sql.Tx) (err error) {
		n, err = e.increment(ctx, tx, "sluice_counters", "name", counter)
		return err
	}, nil)
	return n, err
}

// Purge implements store.Docs. It removes at most 1000 documents.
func (e *Engine) Purge(ctx context.Context, now time.Time) (int, error) {
	var old []store.Doc
	q := docColumns + "WHERE d.expires_us > 0 AND d.expires_us < ? ORDER BY d.expires_us LIMIT ?"
	err := e.read(ctx, q, []any{now.UnixMicro(), purgeBatch}, func(rows *sql.Rows) error {
		d, err := scanDoc(rows.Scan)
		old = append(old, d)
		return err
	})
	if err != nil {
		return 0, e.fail(ctx, "find expired documents", err)
	}
	var plain []store.Doc
	n := 0
	for _, d := range old {
		if !store.Generational(d.Kind) {
			plain = append(plain, d)
			continue
		}
		switch err := e.Delete(ctx, d.Kind, d.ID, d.Version); {
		case err == nil:
			n++
		case !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound):
			return n, err
		}
	}
	if len(plain) == 0 {
		return n, nil
	}
	gone := 0
	err = e.write(ctx, "purge", func(tx *sql.Tx) error {
		gone = 0
		for _, d := range plain {
			// It may have been extended since it was read.
			_, _, err := e.at(ctx, tx, d.Kind, d.ID, d.Version)
			if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err == nil {
				err = e.erase(ctx, tx, d.Kind, d.ID)
			}
			if err != nil {
				return err
			}
			gone++
		}
		return nil
	}, nil)
	if err != nil {
		return n, err
	}
	return n + gone, nil
}
