package boot

import (
	"context"
	"time"

	"sluice/shared/audit"
	"sluice/shared/config"
	"sluice/shared/core"
)

// auditTime is how long an entry of a start or an import may take to be written.
const auditTime = 10 * time.Second

// openAudit makes the audit log, once the keyring is open.
func (a *App) openAudit(c *config.Config) {
	if a.audit == nil {
		a.audit = audit.New(audit.Options{Docs: a.docs, Now: a.now, Keep: time.Duration(c.AuditDays) * 24 * time.Hour, Hash: a.Box.Hash, Open: a.Box.Open})
	}
}

// audited runs what changes the store without a call of the admin API, and writes an entry when it did. That the entry cannot
// be written is no reason not to start: the error is logged.
func (a *App) audited(ctx context.Context, action, actor string, run func(context.Context) error) error {
	watched, trail := audit.With(ctx)
	err := run(watched)
	if !trail.Changed() {
		return err
	}
	e := audit.Entry{Actor: audit.Actor{Kind: actor}, Action: action, Object: audit.Object{Kind: "installation"}, Result: audit.ResultOK}
	if err != nil {
		e.Result, e.Code = audit.ResultRefused, string(core.AsError(err).Code)
	}
	a.audit.Describe(&e, trail, e.Object.Kind, err == nil)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTime)
	defer cancel()
	if _, werr := a.audit.Append(ctx, e); werr != nil {
		a.log.Error("a change has no entry in the audit log", "action", action, "error", werr)
	}
	return err
}
