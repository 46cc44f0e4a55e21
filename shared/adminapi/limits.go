package adminapi

import (
	"encoding/json"
	"strconv"
	"strings"

	"sluice/shared/budget"
	"sluice/shared/core"
)

const (
	maxCount   = 60_000_000    // of requests, tokens and concurrent requests: one a microsecond
	maxDollars = 1_000_000_000 // of a budget
	microUSD   = 1_000_000
)

// limitsInput are limits as calls name them. A field that is missing or null changes nothing, 0 lifts the limit.
type limitsInput struct {
	RPM      *int64           `json:"requests_per_minute"`
	RPD      *int64           `json:"requests_per_day"`
	TPM      *int64           `json:"tokens_per_minute"`
	Parallel *int64           `json:"concurrency"`
	USDDay   *json.RawMessage `json:"usd_per_day"` // as it was written: a float would change it
	USDMonth *json.RawMessage `json:"usd_per_month"`
}

// apply puts the limits that are given into l, after checking them all. prefix stands before a field's name in errors.
func (in *limitsInput) apply(l *core.Limits, prefix string) error {
	if in == nil {
		return nil
	}
	out := *l
	for _, f := range []struct {
		name string
		from *int64
		to   *int64
	}{{"requests_per_minute", in.RPM, &out.RPM}, {"requests_per_day", in.RPD, &out.RPD}, {"tokens_per_minute", in.TPM, &out.TPM}, {"concurrency", in.Parallel, &out.Concurrency}} {
		if f.from == nil {
			continue
		}
		if *f.from < 0 || *f.from > maxCount {
			return bad(prefix + f.name + ": must be 0 (unlimited) to " + itoa(maxCount))
		}
		*f.to = *f.from
	}
	for _, f := range []struct {
		name string
		from *json.RawMessage
		to   *int64
	}{{"usd_per_day", in.USDDay, &out.USDDay}, {"usd_per_month", in.USDMonth, &out.USDMonth}} {
		if f.from == nil {
			continue
		}
		micro, ok := parseDollars(string(*f.from))
		if !ok {
			return bad(prefix + f.name + ": must be dollars from 0 (unlimited) to " + itoa(maxDollars) + ", with at most 6 decimals, such as 12.50")
		}
		*f.to = micro
	}
	if err := in.contradiction(&out, prefix); err != nil {
		return err
	}
	*l = out
	return nil
}

// carry lets a budget that the call gives, and that l has of it, find what was spent before: only while there is a budget is
// anything counted. It comes before the budget holds, so that none is ever without what was spent.
func (in *limitsInput) carry(c *call, l core.Limits, account, kind, id string) error {
	if in == nil || in.USDDay == nil && in.USDMonth == nil || l.USDDay+l.USDMonth == 0 {
		return nil
	}
	return budget.Carry(c.r.Context(), c.a.o.Usage, c.a.o.Budgets, account, kind, id, c.a.o.Zone, c.a.o.Now())
}

// contradiction refuses a limit that a longer period's smaller one would always end first: one of the two is a mistake. It
// names the field that the call gave.
func (in *limitsInput) contradiction(l *core.Limits, prefix string) error {
	for _, p := range []struct {
		short, long         int64
		shortName, longName string
		shortGiven, given   bool
	}{
		{l.RPM, l.RPD, "requests_per_minute", "requests_per_day", in.RPM != nil, in.RPM != nil || in.RPD != nil},
		{l.USDDay, l.USDMonth, "usd_per_day", "usd_per_month", in.USDDay != nil, in.USDDay != nil || in.USDMonth != nil},
	} {
		if !p.given || p.short <= p.long || p.long == 0 {
			continue
		}
		if p.shortGiven {
			return bad(prefix + p.shortName + ": must not be above " + p.longName)
		}
		return bad(prefix + p.longName + ": must not be below " + p.shortName)
	}
	return nil
}

// parseDollars reads decimal dollars, a JSON number or the same as a string, as micro-USD. Exponents are not taken: nobody
// means 1e9 dollars.
func parseDollars(s string) (micro int64, ok bool) {
	if len(s) > 1 && s[0] == '"' && s[len(s)-1] == '"' {
		s = s[1 : len(s)-1]
	}
	whole, frac, dot := strings.Cut(s, ".")
	frac6 := strings.TrimRight(frac, "0")
	if whole == "" || len(s) > 40 || len(frac6) > 6 || dot && frac == "" || strings.Trim(whole+frac, "0123456789") != "" {
		return 0, false
	}
	dollars, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || dollars > maxDollars {
		return 0, false
	}
	rest, err := strconv.ParseInt((frac6 + "000000")[:6], 10, 64)
	micro = dollars*microUSD + rest
	return micro, err == nil && micro <= maxDollars*microUSD
}

// limitsView are limits as lists show them; 0: unlimited.
type limitsView struct {
	RPM      int64   `json:"requests_per_minute"`
	RPD      int64   `json:"requests_per_day"`
	TPM      int64   `json:"tokens_per_minute"`
	Parallel int64   `json:"concurrency"`
	USDDay   float64 `json:"usd_per_day"`
	USDMonth float64 `json:"usd_per_month"`
}

func viewLimits(l core.Limits) limitsView {
	return limitsView{RPM: l.RPM, RPD: l.RPD, TPM: l.TPM, Parallel: l.Concurrency, USDDay: dollars(l.USDDay), USDMonth: dollars(l.USDMonth)}
}

func dollars(micro int64) float64 { return float64(micro) / microUSD }
