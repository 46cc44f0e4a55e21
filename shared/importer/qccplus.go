package importer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/bcrypt"

	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/store"
)

type run struct {
	base
	accounts map[string]mark // that exist here, by id
	nodes    map[string]nodeRef
	settings map[string]Row // of config, by account
}

type nodeRef struct{ id, name, account string }

// ErrUnknown tells that a database is none of the older system's.
var ErrUnknown = errors.New("holds no tables of the older gateway (nodes, config, accounts)")

// QccPlus imports the older multi-tenant gateway's database: accounts with their keys and passwords, nodes with their
// credentials, weights and state, prices, usage. A database from before it had accounts, and nodes without one, land
// under the account "default". ErrUnknown when the database is another's. The report is there also with an error, which
// a further run may mend.
func QccPlus(ctx context.Context, src Source, o Options) (*Report, error) {
	r := &run{base: newBase(o, src, fromQccPlus), accounts: make(map[string]mark), nodes: make(map[string]nodeRef), settings: make(map[string]Row)}
	ok, err := IsQccPlus(ctx, src)
	if err == nil && !ok {
		err = ErrUnknown
	}
	if err != nil {
		return &r.report, err
	}
	if r.tables, err = src.Tables(ctx); err != nil {
		return &r.report, err
	}
	for _, step := range []func(context.Context) error{r.readSettings, r.takeAccounts, r.takeNodes, r.takePrices, r.takeUsage, r.finish} {
		if err := step(ctx); err != nil {
			return &r.report, err
		}
	}
	return &r.report, nil
}

func (r *run) readSettings(ctx context.Context) error {
	rows, err := r.all(ctx, "config")
	for _, row := range rows {
		id := row.Text("account_id")
		if id == "" {
			id = core.DefaultAccount // the one row of a database without accounts
		}
		r.settings[id] = row
	}
	return err
}

func (r *run) takeAccounts(ctx context.Context) error {
	rows, err := r.all(ctx, "accounts")
	if err != nil {
		return err
	}
	for i := range rows {
		if err := r.account(ctx, &rows[i]); err != nil {
			return fmt.Errorf("account %s: %w", rows[i].Text("id"), err)
		}
	}
	return nil
}

func (r *run) account(ctx context.Context, row *Row) error {
	id := row.Text("id")
	what := "account " + id
	if id == "" || len(id) > 60 || !plainID.MatchString(id) {
		r.skip("account "+clip(id, 60), "its id cannot be used here")
		return nil
	}
	var m mark
	meta := r.metaOf("account", id)
	if err := r.Tables.ReadMeta(ctx, meta, &m); err != nil && !store.Missing(err) {
		return err
	}
	_, err := r.Tables.Accounts.Get(ctx, id)
	gone := store.Missing(err)
	switch {
	case err != nil && !gone:
		return err
	case m.Done && gone:
		r.skip(what, "it was taken before and deleted here since")
		return nil
	case m.Done:
		r.report.Before++
		r.accounts[id] = m
		return nil
	}
	m.ID = id
	if err := r.Tables.WriteMeta(ctx, meta, m); err != nil {
		return err
	}
	if gone {
		if err := r.createAccount(ctx, id, row); err != nil {
			return err
		}
	}
	if err := r.complete(ctx, id, row); err != nil {
		return err
	}
	if m.Key, err = r.key(ctx, id, row); err != nil {
		return err
	}
	m.Done = true
	r.accounts[id] = m
	r.report.Accounts++
	return r.Tables.WriteMeta(ctx, meta, m)
}

func (r *run) createAccount(ctx context.Context, id string, row *Row) error {
	name, err := r.freeName(ctx, id, row.Text("name"))
	if err != nil {
		return err
	}
	now := r.Now().UTC()
	a := core.Account{ID: id, Name: name, Admin: row.Bool("is_admin"), CreatedAt: row.Time("created_at"), UpdatedAt: now}
	if a.CreatedAt.IsZero() {
		a.CreatedAt = now
	}
	_, err = r.Tables.Accounts.Create(ctx, a)
	if errors.Is(err, store.ErrExists) { // another instance that imports beside us
		err = nil
	}
	return err
}

// freeName is a name that no other account has: names are user names here.
func (r *run) freeName(ctx context.Context, id, name string) (string, error) {
	if config.CheckName(name) != nil || name == "" {
		return id, nil
	}
	rows, err := r.Tables.Accounts.All(ctx, "")
	for _, a := range rows {
		if a.Value.ID != id && (a.Value.Name == name || a.Value.ID == name) {
			r.note("account %s is named %q, because another account is named %q", id, id, name)
			return id, nil
		}
	}
	return name, err
}

// publishedPasswords are the old system's own; whoever read its code has them.
var publishedPasswords = []string{"admin123", "default123"}

// complete fills in what an account has not been given here.
func (r *run) complete(ctx context.Context, id string, row *Row) error {
	hash, err := r.password(id, row.Text("password"))
	if err != nil {
		return err
	}
	s, has := r.settings[id]
	_, err = r.Tables.Accounts.Update(ctx, id, func(a *core.Account) error {
		if a.PasswordHash == "" && hash != "" {
			a.PasswordHash = hash
		}
		if has {
			limits(a, &s)
		}
		return nil
	})
	if err == nil && hash != "" {
		r.report.Passwords++
	}
	return err
}

func (r *run) password(id, p string) (string, error) {
	why := ""
	switch {
	case p == "":
		return "", nil
	case slices.Contains(publishedPasswords, p):
		why = "it is one that the old system published; set another"
	case len(p) < 6 || len(p) > 72:
		why = "it must have 6 to 72 bytes; set another"
	}
	if why != "" {
		r.skip("password of account "+id, why)
		return "", nil
	}
	h, err := bcrypt.GenerateFromPassword([]byte(p), bcrypt.DefaultCost)
	return string(h), err
}

// limits takes the settings of an account that differ from what the old system gave everyone.
func limits(a *core.Account, s *Row) {
	take := func(to *int, n, usual, most int64) {
		if *to == 0 && n != usual && n >= 1 && n <= most {
			*to = int(n)
		}
	}
	take(&a.Retries, s.Int("retries"), 3, 10)
	take(&a.FailLimit, s.Int("fail_limit"), 3, 100)
	take(&a.HealthSec, s.Int("health_every_ms")/1000, 30, 3600)
}
