package adminapi

import (
	"context"
	"slices"
	"time"

	"sluice/shared/core"
	"sluice/shared/notify"
	"sluice/shared/store"
)

const (
	rulesPath = "/api/alerts/rules"
	maxRules  = 50 // of an account

	defaultWindow      = 5    // minutes
	maxWindow          = 1440 // minutes
	defaultMinRequests = 20
	maxMinRequests     = 1_000_000
)

var errNoRule = core.E(core.CodeNotFound, "alert rule not found")

// ruleKind is what a kind of rules takes.
type ruleKind struct {
	name     string
	lo, hi   float64 // of the threshold
	unit     string
	windowed bool // over the requests of some minutes
}

func ruleKinds() []ruleKind {
	return []ruleKind{
		{notify.RuleErrorRate, 0.1, 100, "percent, 0.1 to 100", true},
		{notify.RuleLatencyP95, 1, 3_600_000, "ms, 1 to 3600000", true},
		{notify.RuleSpendDay, 0.01, maxDollars, "dollars, 0.01 to 1000000000", false},
		{notify.RuleSpendMonth, 0.01, maxDollars, "dollars, 0.01 to 1000000000", false},
		{notify.RuleForecast, 0.01, maxDollars, "dollars, 0.01 to 1000000000", false},
		{notify.RuleNodeDown, 1, 10_080, "minutes, 1 to 10080", false},
	}
}

// ruleView is an alert rule as lists show it.
type ruleView struct {
	ID          string     `json:"id"`
	AccountID   string     `json:"account_id"`
	Name        string     `json:"name"`
	Kind        string     `json:"kind"`
	Threshold   float64    `json:"threshold"`
	Window      int        `json:"window_minutes,omitempty"`
	MinRequests int        `json:"min_requests,omitempty"`
	Enabled     bool       `json:"enabled"`
	Raised      bool       `json:"raised"`
	RaisedAt    *time.Time `json:"raised_at"`
	CreatedAt   time.Time  `json:"created_at"`
}

func viewRule(r *notify.Rule) ruleView {
	return ruleView{ID: r.ID, AccountID: r.Account, Name: r.Name, Kind: r.Kind, Threshold: r.Threshold, Window: r.Window, MinRequests: r.MinRequests,
		Enabled: r.Enabled, Raised: r.Raised, RaisedAt: momentOf(r.RaisedAt), CreatedAt: r.CreatedAt}
}

// ruleInput is the body of create and update. On update a missing field changes nothing.
type ruleInput struct {
	Name        *string  `json:"name"`
	Kind        *string  `json:"kind"`
	Threshold   *float64 `json:"threshold"`
	Window      *int     `json:"window_minutes"`
	MinRequests *int     `json:"min_requests"`
	Enabled     *bool    `json:"enabled"`
}

// apply checks the input and puts it into r, whose kind is set.
func (in *ruleInput) apply(r *notify.Rule) error {
	kinds := ruleKinds()
	at := slices.IndexFunc(kinds, func(k ruleKind) bool { return k.name == r.Kind })
	if at < 0 {
		return bad("kind: must be error_rate, latency_p95, spend_day, spend_month, forecast or node_down")
	}
	k := kinds[at]
	if s := text(in.Name); s != "" {
		if err := checkName("name", s); err != nil {
			return err
		}
		r.Name = s
	}
	if in.Threshold != nil {
		r.Threshold = *in.Threshold
	}
	if r.Threshold < k.lo || r.Threshold > k.hi {
		return bad("threshold: must be in " + k.unit)
	}
	if !k.windowed && (in.Window != nil || in.MinRequests != nil) {
		return bad("window_minutes and min_requests are of the kinds error_rate and latency_p95 alone")
	}
	if in.Window != nil {
		r.Window = *in.Window
		if r.Window < 1 || r.Window > maxWindow {
			return bad("window_minutes: must be 1 to " + itoa(maxWindow))
		}
	}
	if in.MinRequests != nil {
		r.MinRequests = *in.MinRequests
		if r.MinRequests < 1 || r.MinRequests > maxMinRequests {
			return bad("min_requests: must be 1 to " + itoa(maxMinRequests))
		}
	}
	if in.Enabled != nil {
		r.Enabled = *in.Enabled
	}
	if !r.Enabled { // nobody looks at it any more
		r.Raised, r.RaisedAt = false, time.Time{}
	}
	return nil
}

func (c *call) listRules() error {
	h, account, err := c.hubOf()
	if err != nil {
		return err
	}
	rows, err := h.Rules.All(c.r.Context(), account)
	if err != nil {
		return err
	}
	views := make([]ruleView, 0, len(rows))
	for i := range rows {
		views = append(views, viewRule(&rows[i].Value))
	}
	slices.SortFunc(views, func(a, b ruleView) int { return store.CompareIDs(a.ID, b.ID) })
	return c.ok(map[string]any{"rules": views})
}

func (c *call) createRule() error {
	h, account, err := c.hubOf()
	if err != nil {
		return err
	}
	var in ruleInput
	if err := c.decode(&in); err != nil {
		return err
	}
	r := notify.Rule{Account: account, Kind: text(in.Kind), Name: text(in.Kind), Enabled: true, CreatedAt: c.a.o.Now().UTC()}
	if r.Kind == notify.RuleErrorRate || r.Kind == notify.RuleLatencyP95 {
		r.Window, r.MinRequests = defaultWindow, defaultMinRequests
	}
	if err := in.apply(&r); err != nil {
		return err
	}
	done, err := c.alone()
	if err != nil {
		return err
	}
	defer done()
	if err := room(c.r.Context(), h.Rules, account, 1, maxRules, "alert rules"); err != nil {
		return err
	}
	if r.ID, err = h.NextID(c.r.Context(), store.KindAlertRule); err != nil {
		return err
	}
	if _, err := h.Rules.Create(c.r.Context(), r); err != nil {
		return err
	}
	err = c.within(func(ctx context.Context) error { return room(ctx, h.Rules, account, 0, maxRules, "alert rules") },
		func(ctx context.Context) error { return h.Rules.Delete(ctx, r.ID) })
	if err != nil {
		return err
	}
	return c.created(viewRule(&r))
}

// rule reads an alert rule that the caller may manage.
func (c *call) rule() (*notify.Hub, notify.Rule, error) {
	h, err := c.hub()
	if err != nil {
		return nil, notify.Rule{}, err
	}
	r, err := owned(c, h.Rules, c.id, errNoRule, func(r *notify.Rule) string { return r.Account })
	return h, r, err
}

func (c *call) updateRule() error {
	h, old, err := c.rule()
	if err != nil {
		return err
	}
	var in ruleInput
	if err := c.decode(&in); err != nil {
		return err
	}
	if k := text(in.Kind); k != "" && k != old.Kind {
		return bad("kind: cannot be changed; add a new rule")
	}
	r, err := h.Rules.Update(c.r.Context(), old.ID, func(r *notify.Rule) error { return in.apply(r) })
	if err != nil {
		return err
	}
	return c.ok(viewRule(&r.Value))
}

func (c *call) deleteRule() error {
	h, r, err := c.rule()
	if err != nil {
		return err
	}
	if err := h.Rules.Delete(c.r.Context(), r.ID); err != nil && !store.Missing(err) {
		return err
	}
	return c.ok(map[string]string{"deleted": r.ID})
}
