package boot

import (
	"context"
	"slices"
)

// JobReport is what a job did, for the caller of a function.
type JobReport struct {
	Job       string `json:"job"`
	Checked   int    `json:"checked,omitempty"`   // nodes
	Recovered int    `json:"recovered,omitempty"` // of those: failed before, not any more
	Left      int    `json:"left,omitempty"`      // nodes that the next one begins with: time was up
	Elsewhere bool   `json:"elsewhere,omitempty"` // another instance is at it
}

// JobNames are the jobs of the scheduler.
func JobNames() []string { return []string{"probe", "refresh", "retention", "sweep"} }

// job returns how a job is run, nil for one that is unknown.
func job(name string) func(*App, context.Context) (JobReport, error) {
	i := slices.Index(JobNames(), name)
	if i < 0 {
		return nil
	}
	return []func(*App, context.Context) (JobReport, error){
		(*App).Probe,
		func(a *App, ctx context.Context) (JobReport, error) { a.RefreshTokens(ctx); return JobReport{}, nil },
		func(a *App, ctx context.Context) (JobReport, error) { a.Maintain(ctx); return JobReport{}, nil },
		(*App).Sweep,
	}[i]
}
