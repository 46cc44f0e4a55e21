package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"sluice/shared/store"
)

// Acquire implements store.Leases.
func (e *Engine) Acquire(ctx context.Context, name, holder string, now time.Time, ttl time.Duration) (fence int64, err error) {
	ctx, cancel := e.bounded(ctx)
	defer cancel()
	err = e.write(ctx, "lease "+name, func(tx *sql.Tx) error {
		var by string
		var until int64
		fence = 0
		q := "SELECT holder, until_us, fence FROM sluice_leases WHERE name = ?" + e.dialect.ForUpdate
		err := e.row(ctx, tx, q, name).Scan(&by, &until, &fence)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		fresh := err != nil
		live := by != "" && now.UnixMicro() < until
		if live && by != holder {
			return store.ErrHeld
		}
		if !live {
			fence++
		}
		if until = now.Add(ttl).UnixMicro(); fresh {
			_, err = e.exec(ctx, tx, "INSERT INTO sluice_leases (name, holder, until_us, fence) VALUES (?, ?, ?, ?)", name, holder, until, fence)
			if e.dialect.Taken(err) {
				return store.ErrHeld // someone else was first a moment ago
			}
			return err
		}
		_, err = e.exec(ctx, tx, "UPDATE sluice_leases SET holder = ?, until_us = ?, fence = ? WHERE name = ?", holder, until, fence, name)
		return err
	}, nil)
	if err != nil {
		return 0, err
	}
	return fence, nil
}

// Release implements store.Leases.
func (e *Engine) Release(ctx context.Context, name, holder string) error {
	ctx, cancel := e.bounded(ctx)
	defer cancel()
	return e.write(ctx, "release "+name, func(tx *sql.Tx) error {
		_, err := e.exec(ctx, tx, "UPDATE sluice_leases SET holder = '' WHERE name = ? AND holder = ?", name, holder)
		return err
	}, nil)
}
