package importer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/seal"
	"sluice/shared/store"
)

// What the older pool gave a key.
const (
	usualKeyRPM = 60
	usualKeyRPD = 10_000
)

// maxKeptID is the greatest old id of a key that is kept: the counter of ids is advanced to it one by one.
const maxKeptID = 1000

func (r *poolRun) takeKeys(ctx context.Context) error {
	rows, err := r.sorted(ctx, "api_keys")
	if err != nil {
		return err
	}
	zone := false
	for i := range rows {
		row := &rows[i]
		if err := r.key(ctx, row); err != nil {
			return fmt.Errorf("%s: %w", label("key", row), err)
		}
		zone = zone || row.Has("expires_at")
	}
	if zone {
		r.note("the old database's times have no zone and are taken as UTC; look at the ends of the keys")
	}
	return nil
}

// key takes an API key by its hash.
func (r *poolRun) key(ctx context.Context, row *Row) error {
	cred, what := row.Text("key"), label("key", row)
	if why := r.refusedKey(cred); why != "" {
		r.skip(what, why)
		return nil
	}
	hash := r.Box.Hash(cred)
	var m mark
	meta := r.metaOf("key", hash)
	if err := r.Tables.ReadMeta(ctx, meta, &m); err != nil && !store.Missing(err) {
		return err
	}
	k, err := r.Tables.Keys.Find(ctx, hash)
	there := err == nil
	switch {
	case err != nil && !store.Missing(err):
		return err
	case there && k.Value.ID != m.ID:
		r.skip(what, "key "+k.Value.ID+" of this gateway is the same")
		if k.Value.Account == core.DefaultAccount {
			r.keys[row.Text("id")] = k.Value.ID
		}
		return nil
	case m.Done:
		return r.keyAgain(ctx, row, m.ID)
	case m.ID == "":
		if m.ID, err = r.keyID(ctx, row.Int("id"), meta); err != nil {
			return err
		}
	}
	if !there {
		if err := r.makeKey(ctx, row, m.ID, hash, cred); err != nil {
			return err
		}
	}
	r.report.Keys++
	r.keys[row.Text("id")] = m.ID
	m.Done = true
	return r.Tables.WriteMeta(ctx, meta, m)
}

// keyAgain is for a key that an earlier run took.
func (r *poolRun) keyAgain(ctx context.Context, row *Row, id string) error {
	r.keys[row.Text("id")] = id
	_, err := r.Tables.Keys.Get(ctx, id)
	if store.Missing(err) {
		r.skip(label("key", row), "it was taken before and deleted here since")
		return nil
	}
	if err == nil {
		r.report.Before++
	}
	return err
}

func (r *poolRun) refusedKey(cred string) string {
	if cred == "" {
		return "it is empty"
	}
	if err := config.CheckKey(cred); err != nil {
		return "it " + err.Error()
	}
	if r.Reserved != nil {
		return r.Reserved(cred)
	}
	return ""
}

// keyID is the old id where the counter of ids has not come that far: an id that it passed may have been another key's,
// whose usage it would inherit. Id 1 is the published admin credential's, here as there.
func (r *poolRun) keyID(ctx context.Context, old int64, meta string) (string, error) {
	for {
		id, err := r.Tables.NextID(ctx, store.KindKey)
		if err != nil {
			return "", err
		}
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			return "", err
		}
		if n >= old || old > maxKeptID {
			return r.claimAs(ctx, meta, id)
		}
	}
}

func (r *poolRun) makeKey(ctx context.Context, row *Row, id, hash, cred string) error {
	k := r.keyOf(row, id, cred)
	k.Hashes = []string{hash}
	_, err := r.Tables.Keys.Create(ctx, k)
	if errors.Is(err, store.ErrExists) { // another instance that imports beside us
		if other, ferr := r.Tables.Keys.Find(ctx, hash); ferr == nil && other.Value.ID == id {
			err = nil
		}
	}
	return err
}

// keyOf reads a key without its credential.
func (r *poolRun) keyOf(row *Row, id, cred string) core.Key {
	now, what := r.Now().UTC(), label("key", row)
	k := core.Key{ID: id, Account: core.DefaultAccount, Name: oneLine(row.Text("name"), 100), Description: oneLine(row.Text("description"), 1000),
		Prefix: seal.Prefix(cred), Scopes: []core.Scope{core.ScopeInference}, Revoked: row.Has("is_active") && !row.Bool("is_active"),
		ExpiresAt: row.Time("expires_at"), CreatedAt: row.Time("created_at"), UpdatedAt: now}
	if k.CreatedAt.IsZero() {
		k.CreatedAt = now
	}
	if row.Has("expires_at") && k.ExpiresAt.IsZero() { // never let an end that cannot be read become none
		k.ExpiresAt = time.Unix(0, 0).UTC()
		r.note("the end of %s cannot be read; it is taken as expired", what)
	}
	if row.Bool("is_admin") {
		k.Scopes = []core.Scope{core.ScopeAdmin}
		r.note("%s is key %s here and administers the gateway, as it did there", what, id)
	}
	for _, l := range []struct {
		col   string
		usual int64
		to    *int64
	}{{"requests_per_minute", usualKeyRPM, &k.Limits.RPM}, {"requests_per_day", usualKeyRPD, &k.Limits.RPD}} {
		*l.to = l.usual
		if !row.Has(l.col) {
			continue
		}
		if *l.to = min(row.Int(l.col), 1_000_000_000); *l.to <= 0 { // there it let nothing through; 0 here is no limit
			*l.to, k.Revoked = l.usual, true
			r.note("%s had a limit that let nothing through; it is taken as revoked", what)
		}
	}
	if len(cred) < 16 {
		r.note("%s has fewer than 16 characters and can be guessed; change it", what)
	}
	return k
}
