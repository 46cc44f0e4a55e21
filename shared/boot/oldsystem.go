package boot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/importer"
	"sluice/shared/store"
	"sluice/shared/upstream/anthropic"
)

// maxStartUsage bounds the usage records that a start imports: some seconds.
const maxStartUsage = 20_000

// imported is what importer.MetaQccPlus holds.
type imported struct {
	At   time.Time `json:"at"`
	Done bool      `json:"done"`
}

// importOld imports the tables of an older system that the store's own database holds: at the first start, and again
// until it has come to its end.
func (a *App) importOld(ctx context.Context, o *Options, url core.Secret) error {
	var m imported
	err := a.Tables.ReadMeta(ctx, importer.MetaQccPlus, &m)
	if err != nil && !store.Missing(err) {
		return err
	}
	_, nerr := a.Tables.Accounts.Get(ctx, core.DefaultAccount) // the seeds, which come later, make it
	first := store.Missing(err) && store.Missing(nerr)
	begun := err == nil && !m.Done
	scheme, rest, _ := strings.Cut(url.Reveal(), ":")
	open := o.Old[scheme]
	if !first && !begun || open == nil {
		return nil
	}
	src, err := open(ctx, core.NewSecret(rest))
	if err != nil || src == nil {
		return err
	}
	defer func() { _ = src.Close() }() // it was only read
	if err := a.Tables.WriteMeta(ctx, importer.MetaQccPlus, imported{At: a.now().UTC()}); err != nil {
		return err
	}
	r, err := a.importFrom(ctx, src, maxStartUsage)
	if err != nil {
		return fmt.Errorf("import of the older system's tables: %w. It goes on at the next start", err)
	}
	a.Notes = append(a.Notes, fmt.Sprintf("imported from the older system's tables, which stay as they are: %d accounts, %d keys, %d nodes, %d usage records", r.Accounts, r.Keys, r.Nodes, r.Usage))
	for _, s := range r.Skipped {
		a.Notes = append(a.Notes, "not imported: "+s.What+": "+s.Why)
	}
	a.Notes = append(a.Notes, r.Notes...)
	return a.adopt(ctx, o.Config)
}

// ImportQccPlus imports the older gateway's database; see importer.QccPlus.
func (a *App) ImportQccPlus(ctx context.Context, src importer.Source) (*importer.Report, error) {
	return a.importFrom(ctx, src, 0)
}

func (a *App) importFrom(ctx context.Context, src importer.Source, maxUsage int) (*importer.Report, error) {
	r, err := importer.QccPlus(ctx, src, importer.Options{Tables: a.Tables, Usage: a.Opened.Store, Box: a.Box, Reserved: a.reserved, MaxUsage: maxUsage, Now: a.now})
	if err != nil {
		return r, err
	}
	return r, a.Tables.WriteMeta(ctx, importer.MetaQccPlus, imported{At: a.now().UTC(), Done: true})
}

// reserved tells why a credential cannot be an account's key.
func (a *App) reserved(cred string) string {
	switch {
	case slices.Contains([]string{config.DefaultAdminKey, config.DefaultAdminKey2, config.DefaultProxyKey}, cred):
		return "it is one that the guides publish; set another"
	case !a.adminKey.IsZero() && cred == a.adminKey.Reveal():
		return "it is ADMIN_API_KEY, which administers the gateway and calls no models"
	}
	return ""
}

// adopt makes the imported node of UPSTREAM_* the one that the variables govern, so that the upgrade of an installation
// that sets them does not make a second one.
func (a *App) adopt(ctx context.Context, c *config.Config) error {
	if c.UpstreamBaseURL == "" && c.UpstreamAPIKey.IsZero() {
		return nil
	}
	address := strings.TrimRight(c.UpstreamBaseURL, "/")
	if address == "" {
		address = anthropic.DefaultBaseURL
	}
	nodes, err := a.Tables.Nodes.All(ctx, core.DefaultAccount)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if n.Value.BaseURL != address {
			continue
		}
		key, err := a.Box.Open(directory.CredentialOwner(n.Value.ID), n.Value.Credential)
		if err != nil || !key.IsZero() && key.Reveal() != c.UpstreamAPIKey.Reveal() {
			continue
		}
		err = a.editSeeds(ctx, func(s *seeded) {
			if s.Node == "" {
				s.Node = n.Value.ID
			}
		})
		return err
	}
	return nil
}

var errNoImport = errors.New("STORE_URL: a store in memory keeps nothing; set the store to import into")

// CanImport reports why the configured store cannot be imported into.
func CanImport(c *config.Config) error {
	if u, _ := c.Store(); strings.HasPrefix(u.Reveal(), "memory:") {
		return errNoImport
	}
	return nil
}
