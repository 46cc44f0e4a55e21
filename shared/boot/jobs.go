package boot

import (
	"cmp"
	"context"
	"slices"
	"time"

	"sluice/shared/core"
	"sluice/shared/health/probe"
)

// JobReport is what a job did, for the caller of a function.
type JobReport struct {
	Job       string `json:"job"`
	Checked   int    `json:"checked,omitempty"`   // nodes
	Recovered int    `json:"recovered,omitempty"` // of those: failed before, not any more
	Left      int    `json:"left,omitempty"`      // nodes or notices that the next one begins with: time was up, or they are not due
	Elsewhere bool   `json:"elsewhere,omitempty"` // another instance is at it
	Sent      int    `json:"sent,omitempty"`      // notices
	GivenUp   int    `json:"given_up,omitempty"`  // notices
	Raised    int    `json:"raised,omitempty"`    // alerts
	Ended     int    `json:"ended,omitempty"`     // alerts
}

// JobNames are the jobs of the scheduler.
func JobNames() []string { return []string{"notify", "probe", "refresh", "retention", "sweep"} }

// job returns how a job is run, nil for one that is unknown.
func job(name string) func(*App, context.Context) (JobReport, error) {
	i := slices.Index(JobNames(), name)
	if i < 0 {
		return nil
	}
	return []func(*App, context.Context) (JobReport, error){
		(*App).Notify,
		(*App).Probe,
		func(a *App, ctx context.Context) (JobReport, error) { a.RefreshTokens(ctx); return JobReport{}, nil },
		func(a *App, ctx context.Context) (JobReport, error) { a.Maintain(ctx); return JobReport{}, nil },
		(*App).Sweep,
	}[i]
}

func probed(r probe.Report, err error) (JobReport, error) {
	return JobReport{Checked: r.Checked, Recovered: r.Recovered, Left: r.Left, Elsewhere: r.Elsewhere}, err
}

// Probe checks the failed and the degraded nodes that are due, each by its own method, and brings back those that are well. A
// round runs on one instance at a time. It ends with ctx; the next begins where it stopped.
func (a *App) Probe(ctx context.Context) (JobReport, error) { return probed(a.checker.Probe(ctx)) }

// ProbeDue is Probe for who calls it every second: it costs nothing while no node is due.
func (a *App) ProbeDue(ctx context.Context) (JobReport, error) { return probed(a.checker.Tick(ctx)) }

// Sweep checks all enabled nodes in the same way.
func (a *App) Sweep(ctx context.Context) (JobReport, error) { return probed(a.checker.Sweep(ctx)) }

// SweepDue is Sweep unless some instance swept less than about every ago.
func (a *App) SweepDue(ctx context.Context, every time.Duration) (JobReport, error) {
	return probed(a.checker.SweepDue(ctx, every))
}

// CheckNode asks one node now, for a person who wants to know. It takes up to 35 s.
func (a *App) CheckNode(ctx context.Context, n core.Node) (core.HealthCheck, error) {
	return a.checker.Check(ctx, n)
}

// alertsTime bounds an evaluation of alert rules: what one tenant has to read must not take the time of all notifications.
const alertsTime = 20 * time.Second

// Notify sends what there is to tell, evaluates alert rules, and sends what they raised or ended. Sending comes first: whatever
// the rules cost, what is known already is told.
func (a *App) Notify(ctx context.Context) (JobReport, error) {
	rep, err := a.deliverFirst(ctx)
	found, aerr := a.Alerts(ctx)
	rep.Raised, rep.Ended = found.Raised, found.Ended
	rep.Elsewhere = rep.Elsewhere && found.Elsewhere
	if found.Raised+found.Ended > 0 {
		again, derr := a.Deliver(ctx)
		rep.Sent, rep.GivenUp, rep.Left = rep.Sent+again.Sent, rep.GivenUp+again.GivenUp, again.Left
		err = cmp.Or(err, derr)
	}
	return rep, cmp.Or(err, aerr)
}

// deliverFirst is Deliver, ended where that is needed to leave time for alert rules; of little time it leaves a half.
func (a *App) deliverFirst(ctx context.Context) (JobReport, error) {
	if d, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, d.Add(-min(2*alertsTime, time.Until(d)/2)))
		defer cancel()
	}
	return a.Deliver(ctx)
}

// Deliver sends what is due of the notifications. It waits for nothing, so it is for every few seconds.
func (a *App) Deliver(ctx context.Context) (JobReport, error) {
	r, err := a.hub.Deliver(ctx)
	return JobReport{Sent: r.Sent, GivenUp: r.Failed, Left: r.Left, Elsewhere: r.Held}, err
}

// Alerts evaluates the alert rules, for at most 20 s: the next time goes on with what was not reached. It is for every minute.
func (a *App) Alerts(ctx context.Context) (JobReport, error) {
	ctx, cancel := context.WithTimeout(ctx, alertsTime)
	defer cancel()
	r, err := a.alerts.Run(ctx)
	return JobReport{Raised: r.Raised, Ended: r.Ended, Elsewhere: r.Elsewhere}, err
}
