package boot

import (
	"context"
	"fmt"
	"strings"

	"sluice/shared/audit"
	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/store"
)

// A function is started many times with the same settings. What the first start with them did (imports, seeds, a look at all
// keys and nodes) the others need not do again: it would be a dozen trips to the store before the first request, more with
// every key. A document per part remembers the settings, hashed.

// settingsVersion is raised when the first start does more than it did.
const settingsVersion = "1"

func metaStarted(p Part) string { return fmt.Sprintf("started-%d", p.kind) }

// settingsHash stands for the settings that a start writes into the store.
func (a *App) settingsHash(c *config.Config) string {
	var b strings.Builder
	b.WriteString("settings " + settingsVersion)
	for _, v := range []string{c.AdminAPIKey.Reveal(), c.AccountName, c.ProxyAPIKey.Reveal(), c.UpstreamBaseURL, c.UpstreamAPIKey.Reveal(), c.UpstreamName,
		c.AmazonQRefreshToken.Reveal(), c.AmazonQClientID.Reveal(), c.AmazonQClientSecret.Reveal(), c.AmazonQProfileARN} {
		fmt.Fprintf(&b, " %d:%s", len(v), v)
	}
	return a.Box.Hash(b.String())
}

// prepare brings the store into the state that the settings ask for: the keyring, what older systems left, the seeds.
func (a *App) prepare(ctx context.Context, o *Options, url core.Secret, name string) error {
	if !o.Hosted {
		err := a.unfinished(ctx, name, true)
		if err == nil {
			err = a.unseal(ctx, o.Config)
		}
		if err == nil {
			err = a.fill(ctx, o, url)
		}
		return err
	}
	type read struct {
		hash string
		err  error
	}
	last := make(chan read, 1)
	go func() {
		var r read
		r.err = a.Tables.ReadMeta(ctx, metaStarted(o.Part), &r.hash)
		last <- r
	}()
	err := a.unfinished(ctx, name, true)
	was := <-last
	if err == nil && !store.Missing(was.err) {
		err = was.err
	}
	if err != nil {
		return err
	}
	if err := a.unseal(ctx, o.Config); err != nil {
		return err
	}
	hash := a.settingsHash(o.Config)
	if was.hash == hash {
		return nil
	}
	if err := a.fill(ctx, o, url); err != nil {
		return err
	}
	return a.Tables.WriteMeta(ctx, metaStarted(o.Part), hash)
}

// fill writes what the store lacks.
func (a *App) fill(ctx context.Context, o *Options, url core.Secret) error {
	a.openAudit(o.Config)
	if err := a.importOld(ctx, o, url); err != nil {
		return err
	}
	return a.audited(ctx, "settings.seed", audit.ActorEnvironment, func(ctx context.Context) error {
		if err := a.seed(ctx, o.Config, o.Import); err != nil {
			return fmt.Errorf("first settings: %w", err)
		}
		return nil
	})
}
