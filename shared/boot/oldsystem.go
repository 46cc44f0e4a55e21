package boot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/shared/audit"
	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/importer"
	"sluice/shared/store"
	"sluice/shared/upstream/amazonq"
	"sluice/shared/upstream/anthropic"
)

// maxStartUsage bounds the usage records that a start imports: some seconds.
const maxStartUsage = 20_000

// imported is what the document of an older system, such as importer.MetaQccPlus, holds.
type imported struct {
	At   time.Time `json:"at"`
	Done bool      `json:"done"`
}

// oldSystem is one of the two that this gateway replaces.
type oldSystem struct {
	meta  string // the document that remembers its import
	holds func(context.Context, importer.Source) (bool, error)
	take  func(context.Context, importer.Source, importer.Options) (*importer.Report, error)
	took  func(*importer.Report) string // for people
}

func qccPlus() oldSystem {
	return oldSystem{importer.MetaQccPlus, importer.IsQccPlus, importer.QccPlus, func(r *importer.Report) string {
		return fmt.Sprintf("imported from the older system's tables, which stay as they are: %d accounts, %d keys, %d nodes, %d usage records", r.Accounts, r.Keys, r.Nodes, r.Usage)
	}}
}

func amq2API() oldSystem {
	return oldSystem{importer.MetaAmq2API, importer.IsAmq2API, importer.Amq2API, func(r *importer.Report) string {
		return fmt.Sprintf("imported from amq2api's tables, which stay as they are: %d accounts as nodes, %d keys, %d usage records", r.Nodes, r.Keys, r.Usage)
	}}
}

// importOld imports the tables of an older system that the store's own database holds: at the first start, and again
// until it has come to its end.
func (a *App) importOld(ctx context.Context, o *Options, url core.Secret) error {
	_, err := a.Tables.Accounts.Get(ctx, core.DefaultAccount) // the seeds, which come later, make it
	if err != nil && !store.Missing(err) {
		return err
	}
	first := store.Missing(err)
	var begun []oldSystem
	systems := []oldSystem{qccPlus(), amq2API()}
	for _, s := range systems {
		var m imported
		err := a.Tables.ReadMeta(ctx, s.meta, &m)
		if err != nil && !store.Missing(err) {
			return err
		}
		if err == nil {
			first = false
			if !m.Done {
				begun = append(begun, s)
			}
		}
	}
	if first {
		begun = systems
	}
	scheme, rest, _ := strings.Cut(url.Reveal(), ":")
	open := o.Old[scheme]
	if len(begun) == 0 || open == nil {
		return nil
	}
	src, err := open(ctx, core.NewSecret(rest))
	if err != nil || src == nil {
		return err
	}
	defer func() { _ = src.Close() }() // it was only read
	for _, s := range begun {
		if err := a.importAtStart(ctx, o.Config, s, src); err != nil {
			return err
		}
	}
	return nil
}

// importAtStart imports what src holds of a system, and tells of it.
func (a *App) importAtStart(ctx context.Context, c *config.Config, s oldSystem, src importer.Source) error {
	if ok, err := s.holds(ctx, src); err != nil || !ok {
		return err
	}
	if err := a.Tables.WriteMeta(ctx, s.meta, imported{At: a.now().UTC()}); err != nil {
		return err
	}
	var r *importer.Report
	err := a.audited(ctx, "store.import", audit.ActorEnvironment, func(ctx context.Context) (err error) {
		r, err = a.importFrom(ctx, s, src, maxStartUsage)
		return err
	})
	if err != nil {
		return fmt.Errorf("import of the older system's tables: %w. It goes on at the next start", err)
	}
	a.Notes = append(a.Notes, s.took(r))
	for _, s := range r.Skipped {
		a.Notes = append(a.Notes, "not imported: "+s.What+": "+s.Why)
	}
	a.Notes = append(a.Notes, r.Notes...)
	return a.adopt(ctx, c)
}

// ImportQccPlus imports the older gateway's database; see importer.QccPlus.
func (a *App) ImportQccPlus(ctx context.Context, src importer.Source) (*importer.Report, error) {
	return a.importByHand(ctx, qccPlus(), src)
}

// ImportAmq2API imports the older account pool's database; see importer.Amq2API.
func (a *App) ImportAmq2API(ctx context.Context, src importer.Source) (*importer.Report, error) {
	return a.importByHand(ctx, amq2API(), src)
}

// importByHand is the import of a command.
func (a *App) importByHand(ctx context.Context, s oldSystem, src importer.Source) (r *importer.Report, err error) {
	err = a.audited(ctx, "store.import", audit.ActorControl, func(ctx context.Context) error {
		r, err = a.importFrom(ctx, s, src, 0)
		return err
	})
	return r, err
}

func (a *App) importFrom(ctx context.Context, s oldSystem, src importer.Source, maxUsage int) (*importer.Report, error) {
	r, err := s.take(ctx, src, importer.Options{Tables: a.Tables, Usage: a.Opened.Store, Box: a.Box, Reserved: a.reserved, MaxUsage: maxUsage, Now: a.now})
	if err != nil {
		return r, err
	}
	return r, a.Tables.WriteMeta(ctx, s.meta, imported{At: a.now().UTC(), Done: true})
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

// adopt makes the imported nodes of UPSTREAM_* and AMAZONQ_* those that the variables govern, so that the upgrade of an
// installation that sets them does not make a second one.
func (a *App) adopt(ctx context.Context, c *config.Config) error {
	err := a.adoptNode(ctx, func(s *seeded) *string { return &s.Node }, func(n *core.Node, cred core.Secret) bool { return governed(c, n, cred) })
	if err != nil {
		return err
	}
	return a.adoptPool(ctx, c)
}

func (a *App) adoptPool(ctx context.Context, c *config.Config) error {
	return a.adoptNode(ctx, func(s *seeded) *string { return &s.Pool }, func(n *core.Node, cred core.Secret) bool { return governedPool(c, n, cred) })
}

// adoptNode remembers in the place that of tells the first node that fits, unless there is one.
func (a *App) adoptNode(ctx context.Context, of func(*seeded) *string, fits func(*core.Node, core.Secret) bool) error {
	var last seeded
	if err := a.Tables.ReadMeta(ctx, metaSeeds, &last); err != nil && !store.Missing(err) || *of(&last) != "" {
		return err
	}
	nodes, err := a.Tables.Nodes.All(ctx, core.DefaultAccount)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		cred, err := a.Box.Open(directory.CredentialOwner(n.Value.ID), n.Value.Credential)
		if err != nil || !fits(&n.Value, cred) {
			continue
		}
		return a.editSeeds(ctx, func(s *seeded) {
			if p := of(s); *p == "" {
				*p = n.Value.ID
			}
		})
	}
	return nil
}

// governed reports whether a node is the one that UPSTREAM_* would make.
func governed(c *config.Config, n *core.Node, cred core.Secret) bool {
	address := strings.TrimRight(c.UpstreamBaseURL, "/")
	if address == "" {
		address = anthropic.DefaultBaseURL
	}
	return (c.UpstreamBaseURL != "" || !c.UpstreamAPIKey.IsZero()) && n.Kind == core.KindAnthropic && n.BaseURL == address &&
		(cred.IsZero() || cred.Reveal() == c.UpstreamAPIKey.Reveal())
}

// governedPool reports whether a node is the one that AMAZONQ_* would make.
func governedPool(c *config.Config, n *core.Node, cred core.Secret) bool {
	if c.AmazonQRefreshToken.IsZero() || n.Kind != core.KindAmazonQ {
		return false
	}
	own, err := amazonq.ParseCredential(cred)
	return err == nil && own.RefreshToken == c.AmazonQRefreshToken.Reveal()
}

var errNoImport = errors.New("STORE_URL: a store in memory keeps nothing; set the store to import into")

// CanImport reports why the configured store cannot be imported into.
func CanImport(c *config.Config) error {
	if u, _ := c.Store(); strings.HasPrefix(u.Reveal(), "memory:") {
		return errNoImport
	}
	return nil
}
