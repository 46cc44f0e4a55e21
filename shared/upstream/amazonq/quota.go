package amazonq

import (
	"context"
	"encoding/json"
	"math"
	"time"

	"sluice/shared/upstream"
)

// Quota is what an account may use and has used. Its Usage is that of agentic requests or credits; Others are of other kinds.
type Quota struct {
	Subscription string `json:"subscription,omitempty"` // title, such as "Q DEVELOPER PRO"
	Type         string `json:"subscription_type,omitempty"`
	Email        string `json:"email,omitempty"` // only where the service tells it
	Usage
	OverageStatus string  `json:"overage_status,omitempty"` // ENABLED or DISABLED
	Others        []Usage `json:"others,omitempty"`
}

// Usage is the use of one kind of resource. Amounts are in Unit, charges in Currency.
type Usage struct {
	Resource string    `json:"resource_type,omitempty"` // AGENTIC_REQUEST, CREDIT, SPEC, VIBE, ...
	Name     string    `json:"name,omitempty"`
	Unit     string    `json:"unit,omitempty"`
	Used     float64   `json:"used"`
	Limit    float64   `json:"limit"`
	ResetsAt time.Time `json:"resets_at,omitzero"`
	Trial    *Trial    `json:"free_trial,omitempty"`
	Overage  *Overage  `json:"overage,omitempty"`
}

// Trial is a free trial, used before the limit.
type Trial struct {
	Status  string    `json:"status,omitempty"` // ACTIVE or EXPIRED
	Used    float64   `json:"used"`
	Limit   float64   `json:"limit"`
	Expires time.Time `json:"expires_at,omitzero"`
}

// Overage is use beyond the limit that is paid for.
type Overage struct {
	Used     float64 `json:"used"`
	Cap      float64 `json:"cap"`
	Rate     float64 `json:"rate"`
	Charges  float64 `json:"charges"`
	Currency string  `json:"currency,omitempty"`
}

// Room reports whether there is something left of the limit, the free trial or what may be paid for.
func (q Quota) Room(now time.Time) bool {
	t, o := q.Trial, q.Overage
	return q.Used < q.Limit ||
		t != nil && t.Status == "ACTIVE" && t.Used < t.Limit && (t.Expires.IsZero() || t.Expires.After(now)) ||
		o != nil && q.OverageStatus == "ENABLED" && o.Used < o.Cap
}

// ResetAfter is how long a used-up quota lasts: until it resets, else until the next month (UTC). Always more than 0.
func (q Quota) ResetAfter(now time.Time) time.Duration {
	if d := q.ResetsAt.Sub(now); d > 0 && d < 40*24*time.Hour {
		return d
	}
	now = now.UTC()
	return nextMonth(now).Sub(now)
}

type limitsInput struct {
	Profile string `json:"profileArn,omitempty"`
	Origin  string `json:"origin,omitempty"`
	Email   bool   `json:"isEmailRequired,omitempty"`
}

type limitsOutput struct {
	Limits []struct {
		Type  label  `json:"type"`
		Used  number `json:"currentUsage"`
		Limit number `json:"totalUsageLimit"`
	} `json:"limits"`
	NextDateReset  stamp       `json:"nextDateReset"`
	DaysUntilReset number      `json:"daysUntilReset"`
	Breakdown      *breakdown  `json:"usageBreakdown"`
	Breakdowns     []breakdown `json:"usageBreakdownList"`
	Subscription   struct {
		Title label `json:"subscriptionTitle"`
		Type  label `json:"type"`
	} `json:"subscriptionInfo"`
	Overage struct {
		Status label `json:"overageStatus"`
	} `json:"overageConfiguration"`
	User struct {
		Email label `json:"email"`
	} `json:"userInfo"`
}

type breakdown struct {
	Resource      label   `json:"resourceType"`
	Name          label   `json:"displayName"`
	Unit          label   `json:"unit"`
	Used          number  `json:"currentUsage"`
	UsedExactly   *number `json:"currentUsageWithPrecision"`
	Limit         number  `json:"usageLimit"`
	LimitExactly  *number `json:"usageLimitWithPrecision"`
	Overages      number  `json:"currentOverages"`
	OverageCap    number  `json:"overageCap"`
	OverageRate   number  `json:"overageRate"`
	Charges       number  `json:"overageCharges"`
	Currency      label   `json:"currency"`
	NextDateReset stamp   `json:"nextDateReset"`
	Trial         *struct {
		Status       label   `json:"freeTrialStatus"`
		Expires      stamp   `json:"freeTrialExpiry"`
		Used         number  `json:"currentUsage"`
		UsedExactly  *number `json:"currentUsageWithPrecision"`
		Limit        number  `json:"usageLimit"`
		LimitExactly *number `json:"usageLimitWithPrecision"`
	} `json:"freeTrialInfo"`
}

// Quota asks what the account behind the node may use and has used. An *upstream.Error tells of a refusal, such as a
// suspended account.
func (c *Client) Quota(ctx context.Context, t upstream.Target) (Quota, error) {
	var out limitsOutput
	if err := c.control(ctx, t, "GetUsageLimits", limitsInput{Profile: profileOf(t.Node), Origin: origin(t.Node), Email: true}, &out); err != nil {
		return Quota{}, err
	}
	q := Quota{Subscription: string(out.Subscription.Title), Type: string(out.Subscription.Type), Email: string(out.User.Email), OverageStatus: string(out.Overage.Status)}
	reset := time.Time(out.NextDateReset)
	if days := float64(out.DaysUntilReset); reset.IsZero() && days > 0 && days < 400 {
		reset = c.o.Now().Add(time.Duration(days * float64(24*time.Hour))).UTC()
	}
	list := out.usages()
	main := 0
	for i := range list {
		if list[i].ResetsAt.IsZero() {
			list[i].ResetsAt = reset
		}
		if rank(list[i].Resource) > rank(list[main].Resource) {
			main = i
		}
	}
	if q.ResetsAt = reset; len(list) > 0 {
		q.Usage = list[main]
		q.Others = append(list[:main:main], list[main+1:]...)
	}
	return q, nil
}

// rank orders the kinds of resources by how much they say about requests of this gateway.
func rank(resource string) int {
	switch resource {
	case "CREDIT":
		return 2
	case "AGENTIC_REQUEST":
		return 1
	}
	return 0
}

// usages reads the breakdown, else the older list of limits.
func (o *limitsOutput) usages() []Usage {
	if len(o.Breakdowns) == 0 && o.Breakdown != nil {
		o.Breakdowns = []breakdown{*o.Breakdown}
	}
	var list []Usage
	for i := range min(len(o.Breakdowns), maxPages) {
		list = append(list, o.Breakdowns[i].usage())
	}
	if len(list) > 0 {
		return list
	}
	for _, l := range o.Limits[:min(len(o.Limits), maxPages)] {
		list = append(list, Usage{Resource: string(l.Type), Used: float64(l.Used), Limit: float64(l.Limit)})
	}
	return list
}

func (b *breakdown) usage() Usage {
	u := Usage{Resource: string(b.Resource), Name: string(b.Name), Unit: string(b.Unit), Used: exactly(b.UsedExactly, b.Used),
		Limit: exactly(b.LimitExactly, b.Limit), ResetsAt: time.Time(b.NextDateReset)}
	if t := b.Trial; t != nil {
		u.Trial = &Trial{Status: string(t.Status), Used: exactly(t.UsedExactly, t.Used), Limit: exactly(t.LimitExactly, t.Limit), Expires: time.Time(t.Expires)}
	}
	if b.Overages != 0 || b.OverageCap != 0 || b.Charges != 0 {
		u.Overage = &Overage{Used: float64(b.Overages), Cap: float64(b.OverageCap), Rate: float64(b.OverageRate), Charges: float64(b.Charges), Currency: string(b.Currency)}
	}
	return u
}

func exactly(precise *number, rounded number) float64 {
	if precise != nil {
		return float64(*precise)
	}
	return float64(rounded)
}

// number is a JSON number, 0 for anything else: a new form of one member must not hide the others.
type number float64

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(b []byte) error {
	var v float64
	if json.Unmarshal(b, &v) == nil && !math.IsInf(v, 0) {
		*n = number(v)
	}
	return nil
}

// label is a short plain string, "" for anything else.
type label string

// UnmarshalJSON implements json.Unmarshaler.
func (l *label) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*l = label(named(s))
	}
	return nil
}

// stamp is a time: seconds since 1970 with a fraction, milliseconds, or RFC 3339; zero for anything else.
type stamp time.Time

// UnmarshalJSON implements json.Unmarshaler.
func (s *stamp) UnmarshalJSON(b []byte) error {
	var v float64
	var text string
	switch {
	case json.Unmarshal(b, &v) == nil:
		if v > 1e11 {
			v /= 1000
		}
		if v > 0 && v < 1e11 {
			*s = stamp(time.UnixMilli(int64(v * 1000)).UTC())
		}
	case json.Unmarshal(b, &text) == nil:
		if t, err := time.Parse(time.RFC3339, text); err == nil {
			*s = stamp(t.UTC())
		}
	}
	return nil
}
