package adminapi

import (
	"context"
	"errors"
	"slices"
	"time"

	"sluice/shared/store"
)

const (
	defaultKeptDays = 365
	maxKeptDays     = 36_500
	// retainTime bounds how long a call removes: API Gateway waits for 29 s.
	retainTime = 20 * time.Second
	// restoreTime is for telling the store again what is configured, whatever became of the caller.
	restoreTime = 10 * time.Second
)

// cleanUsage removes records that are older than the call says. Sums stay. Records that the configured retention lets go are
// not kept longer by it.
func (c *call) cleanUsage() error {
	if err := c.adminOnly(); err != nil {
		return err
	}
	var in struct {
		Days int `json:"retention_days"`
	}
	if err := c.optional(&in); err != nil {
		return err
	}
	if in.Days <= 0 {
		in.Days = defaultKeptDays
	}
	if in.Days > maxKeptDays {
		return bad("retention_days: must be at most " + itoa(maxKeptDays))
	}
	keep := store.Retention{Records: time.Duration(in.Days) * 24 * time.Hour} // hours and days for ever: they are not what is asked for
	if k := c.a.o.Keep.Records; k > 0 && k < keep.Records {
		keep.Records = k
	}
	defer c.keepAsConfigured()
	removed, all, err := c.retain(keep)
	if err != nil {
		return err
	}
	message := itoa(removed) + " records older than " + itoa(int(keep.Records/(24*time.Hour))) + " days were removed"
	if !all {
		message += "; there are more: send the request again"
	}
	return c.ok(map[string]any{"message": message, "retention_days": in.Days})
}

// keepAsConfigured tells the store what is configured after it was told something else: some stores note with what they write
// for how long it is kept.
func (c *call) keepAsConfigured() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.r.Context()), restoreTime)
	defer cancel()
	if _, err := c.a.o.Usage.Retain(ctx, c.a.o.Now(), c.a.o.Keep); err != nil {
		c.a.o.Log.Error("the store was not told again how long usage is kept; the next clean-up does it", "error", err)
	}
}

// retain removes until nothing is left to remove, or the time is up: then all is false.
func (c *call) retain(keep store.Retention) (removed int, all bool, err error) {
	ctx, cancel := context.WithTimeout(c.r.Context(), retainTime)
	defer cancel()
	now := c.a.o.Now()
	for {
		n, err := c.a.o.Usage.Retain(ctx, now, keep)
		removed += n
		switch {
		case err != nil && c.r.Context().Err() == nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
			return removed, false, nil
		case err != nil || n == 0:
			return removed, err == nil, err
		}
	}
}

// aggregateUsage writes the sums that are due, as the scheduler does every few minutes. What the older API let choose is checked and
// else without effect: sums are of all accounts, and those of hours and days come together.
func (c *call) aggregateUsage() error {
	if err := c.adminOnly(); err != nil {
		return err
	}
	var in struct {
		Target  string `json:"target"`
		Account string `json:"account_id"`
	}
	if err := c.optional(&in); err != nil {
		return err
	}
	if !slices.Contains([]string{"", "hour", "day", "month"}, in.Target) {
		return bad("target: must be hour, day or month")
	}
	if _, err := c.targetOf(in.Account); err != nil {
		return err
	}
	if err := c.a.o.Usage.Rollup(c.r.Context(), c.a.o.Now()); err != nil {
		return err
	}
	return c.ok(map[string]string{"status": "ok"})
}

// cleanMetrics removes what the configured retention lets go, of all accounts, as the scheduler does.
func (c *call) cleanMetrics() error {
	if err := c.adminOnly(); err != nil {
		return err
	}
	var in struct {
		Account string `json:"account_id"`
	}
	if err := c.optional(&in); err != nil {
		return err
	}
	if _, err := c.targetOf(in.Account); err != nil {
		return err
	}
	if _, _, err := c.retain(c.a.o.Keep); err != nil {
		return err
	}
	return c.ok(map[string]string{"status": "ok"})
}
