package adminapi

import (
	"cmp"
	"slices"
	"time"

	"sluice/shared/budget"
	"sluice/shared/core"
	"sluice/shared/store"
)

// budgetView is a budget of an account or key, in dollars.
type budgetView struct {
	AccountID string     `json:"account_id"`
	KeyID     string     `json:"key_id,omitempty"` // empty: it is the account's own
	Name      string     `json:"name"`             // of the account or key
	Period    string     `json:"period"`           // day or month
	Limit     float64    `json:"limit_usd"`
	Spent     float64    `json:"spent_usd"`
	Share     float64    `json:"used"` // of the limit: 1 is all
	Forecast  float64    `json:"forecast_usd"`
	UsedUpAt  *time.Time `json:"used_up_at"` // at the present pace; null: it lasts
	ResetsAt  time.Time  `json:"resets_at"`
}

// listBudgets tells of the budgets of an account and its keys, of an administrator's call without account_id of all; with limit
// of those that are used up the furthest.
func (c *call) listBudgets() error {
	account, err := c.scopeOf(c.r.URL.Query().Get("account_id"))
	if err != nil {
		return err
	}
	limit, err := queryInt(c.r.URL.Query(), "limit", 0, 1, maxListed)
	if err != nil {
		return err
	}
	ctx := c.r.Context()
	var accounts []store.Row[core.Account]
	if account == "" {
		all, err := c.a.o.Tables.Accounts.All(ctx, "")
		if err != nil {
			return err
		}
		accounts = all
	} else {
		one, err := c.a.o.Tables.Accounts.Get(ctx, account)
		if store.Missing(err) {
			return core.E(core.CodeNotFound, "account not found")
		}
		if err != nil {
			return err
		}
		accounts = append(accounts, one)
	}
	rows, err := c.a.o.Tables.Keys.All(ctx, account)
	if err != nil {
		return err
	}
	keys := make(map[string][]core.Key)
	for i := range rows {
		k := &rows[i].Value
		keys[k.Account] = append(keys[k.Account], *k)
	}
	views := []budgetView{}
	for i := range accounts {
		a := &accounts[i].Value
		lines, err := budget.Lines(ctx, c.a.o.Usage, a, keys[a.ID], c.a.o.Zone, c.a.o.Now())
		if err != nil {
			return err
		}
		for j := range lines {
			views = append(views, viewBudget(a.ID, &lines[j]))
		}
	}
	out := map[string]any{"budgets": views}
	if limit > 0 {
		slices.SortStableFunc(views, func(a, b budgetView) int { return cmp.Compare(b.Share, a.Share) })
		out["budgets"], out["total"] = views[:min(limit, len(views))], len(views)
	}
	return c.ok(out)
}

func viewBudget(account string, l *budget.Line) budgetView {
	v := budgetView{AccountID: account, Name: l.Name, Period: string(l.Period), Limit: dollars(l.Limit), Spent: dollars(l.Spent), Forecast: dollars(l.Forecast()),
		Share: float64(l.Spent) / float64(l.Limit), UsedUpAt: momentOf(l.UsedUp(l.Limit)), ResetsAt: l.To.UTC()}
	if l.Kind == store.KindKey {
		v.KeyID = l.ID
	}
	return v
}
