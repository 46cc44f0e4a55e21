package boot

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"sluice/shared/audit"
	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/health"
	"sluice/shared/health/alerts"
	"sluice/shared/health/probe"
	"sluice/shared/notify"
	"sluice/shared/router"
	"sluice/shared/store"
	"sluice/shared/upstream"
)

// tellTime bounds one connection of a notification.
const tellTime = 10 * time.Second

// policyOf is what makes a node failed or degraded, unless its account has its own numbers.
func policyOf(c *config.Config) router.Policy {
	return router.Policy{FailThreshold: c.FailThreshold, TrialAfter: time.Duration(c.HealthInterval) * time.Second,
		SlowFirstByte: c.SlowFirstByte, ErrorRate: c.MaxErrorRate}
}

// heal makes what watches over nodes and tells of them.
func (a *App) heal(o *Options, s store.Store) {
	c := o.Config
	guard := upstreamPolicy(c)
	a.hub = notify.New(notify.Options{Docs: audit.Watch(s), Leases: s, Box: a.Box, Now: a.now, Log: a.log, PublicURL: c.PublicURL,
		HTTP: &http.Client{Transport: a.transports.Guarded, Timeout: tellTime, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		Dial: guarded(guard), AWS: o.AWS, AdminAccounts: a.adminAccounts})
	journal := health.NewJournal(health.JournalOptions{Tables: a.Tables, Events: a.hub, Log: a.log, Now: a.now})
	a.tracker = health.New(health.Options{States: a.Tables.States, Log: a.log, Now: a.now, Changed: func(ctx context.Context, id string, is core.Condition) {
		if is == core.Failed || is == core.Degraded {
			a.checker.Noticed()
		}
		journal.Changed(ctx, id, is)
	}})
	warm := probe.Warmup{Attempts: 1, Required: 1}
	if c.Warmup {
		warm = probe.Warmup{Attempts: c.WarmupAttempts, Required: c.WarmupRequired, AtOnce: c.WarmupAtOnce, Timeout: time.Duration(c.WarmupTimeout) * time.Millisecond}
	}
	po := probe.Options{Tables: a.Tables, Leases: s, Tracker: a.tracker, Journal: journal, Clients: a.clients, Policy: a.policy, Warmup: warm, Log: a.log, Now: a.now,
		Target: a.pool.target,
		Own: map[core.Kind]func(context.Context, upstream.Target) error{core.KindAmazonQ: func(ctx context.Context, t upstream.Target) error {
			_, err := a.pool.client.Quota(ctx, t)
			return err
		}}}
	if o.CLI {
		po.CLI = &probe.CLI{}
	}
	a.checker = probe.New(po)
	a.alerts = alerts.New(alerts.Options{Tables: a.Tables, Rules: a.hub.Rules, Usage: s, Budgets: s, Leases: s, Events: a.hub, Zone: c.LimitsZone.OrUTC(), Log: a.log, Now: a.now})
}

func upstreamPolicy(c *config.Config) upstream.Policy {
	return upstream.Policy{AllowPrivate: c.AllowPrivate.All, Allow: c.AllowPrivate.CIDRs}
}

// guarded dials what the policy allows, judged after the name is resolved and for each address tried.
func guarded(p upstream.Policy) func(ctx context.Context, network, addr string) (net.Conn, error) {
	d := &net.Dialer{Timeout: tellTime, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("address %q: %w", address, err)
		}
		return p.Check(ap.Addr())
	}}
	return d.DialContext
}

// adminAccounts are those that hear of the installation's own events.
func (a *App) adminAccounts(ctx context.Context) ([]string, error) {
	accounts, err := a.Tables.Accounts.All(ctx, "")
	if err != nil {
		return nil, err
	}
	var out []string
	for i := range accounts {
		if accounts[i].Value.Admin {
			out = append(out, accounts[i].Value.ID)
		}
	}
	return out, nil
}

// AWSFromEnvironment returns a reader of the AWS credentials in the environment, as Lambda gives them to a function; nil when
// there are none.
func AWSFromEnvironment(env map[string]string) func(context.Context) (notify.AWSCredentials, error) {
	c := notify.AWSCredentials{AccessKeyID: env["AWS_ACCESS_KEY_ID"], SecretAccessKey: core.NewSecret(env["AWS_SECRET_ACCESS_KEY"]), SessionToken: core.NewSecret(env["AWS_SESSION_TOKEN"])}
	if c.AccessKeyID == "" || c.SecretAccessKey.IsZero() {
		return nil
	}
	return func(context.Context) (notify.AWSCredentials, error) { return c, nil }
}
