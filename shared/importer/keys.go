package importer

import (
	"context"
	"errors"

	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/seal"
	"sluice/shared/store"
)

// key takes an account's proxy_api_key and returns the id of the key that has it, "" when there is none.
func (r *run) key(ctx context.Context, account string, row *Row) (string, error) {
	cred := row.Text("proxy_api_key")
	what := "key of account " + account
	if cred == "" {
		return "", nil
	}
	if why := r.refused(cred); why != "" {
		r.skip(what, why)
		return "", nil
	}
	acct, err := r.Tables.Accounts.Get(ctx, account)
	if err != nil {
		return "", err
	}
	hash := r.Box.Hash(cred)
	if k, err := r.Tables.Keys.Find(ctx, hash); err == nil {
		if k.Value.Account != account {
			r.skip(what, "another account of this gateway has the same key")
			return "", nil
		}
		return k.Value.ID, r.bind(ctx, account, k.Value.ID)
	} else if !store.Missing(err) {
		return "", err
	}
	id, err := r.makeKey(ctx, &acct.Value, cred, hash)
	if errors.Is(err, store.ErrExists) { // another instance that imports beside us
		k, ferr := r.Tables.Keys.Find(ctx, hash)
		if ferr != nil || k.Value.Account != account {
			return "", errors.Join(err, ferr)
		}
		id, err = k.Value.ID, nil
	}
	if err != nil {
		return "", err
	}
	r.report.Keys++
	if len(cred) < 16 {
		r.note("the key of account %s has fewer than 16 characters and can be guessed; change it", account)
	}
	return id, r.bind(ctx, account, id)
}

func (r *run) refused(cred string) string {
	if err := config.CheckKey(cred); err != nil {
		return "it " + err.Error()
	}
	if r.Reserved != nil {
		return r.Reserved(cred)
	}
	return ""
}

// makeKey stores the key. The published key of the account makes way for it. A key of an account that administers calls
// models only: in the old system it could do no more, while here its holder would administer the gateway.
func (r *run) makeKey(ctx context.Context, acct *core.Account, cred, hash string) (string, error) {
	now := r.Now().UTC()
	scopes := []core.Scope{core.ScopeInference, core.ScopeNodes}
	if acct.Admin {
		scopes = scopes[:1]
		r.note("the key of account %s calls models and does not administer, as before; for that use ADMIN_API_KEY, or make a key: sluice key create --admin", acct.ID)
	}
	if acct.ProxyKey != "" {
		old, err := r.Tables.Keys.Get(ctx, acct.ProxyKey)
		if err != nil && !store.Missing(err) {
			return "", err
		}
		if err == nil && old.Value.Default && old.Value.Account == acct.ID {
			_, err := r.Tables.Keys.Update(ctx, old.Value.ID, func(k *core.Key) error {
				k.Hashes, k.Prefix, k.Default, k.UpdatedAt = []string{hash}, seal.Prefix(cred), false, now
				return nil
			})
			return old.Value.ID, err
		}
	}
	id, err := r.Tables.NextID(ctx, store.KindKey)
	if err != nil {
		return "", err
	}
	_, err = r.Tables.Keys.Create(ctx, core.Key{ID: id, Account: acct.ID, Name: "proxy_api_key", Prefix: seal.Prefix(cred), Hashes: []string{hash},
		Scopes: scopes, CreatedAt: now, UpdatedAt: now})
	return id, err
}

// bind makes a key the account's proxy_api_key where it has none.
func (r *run) bind(ctx context.Context, account, key string) error {
	_, err := r.Tables.Accounts.Update(ctx, account, func(a *core.Account) error {
		if a.ProxyKey == "" {
			a.ProxyKey = key
		}
		return nil
	})
	return err
}
