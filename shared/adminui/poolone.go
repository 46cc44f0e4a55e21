package adminui

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// poolDetail is an account as the API tells of it alone.
type poolDetail struct {
	poolAccount
	AccountID string `json:"account_id"`
	API       string `json:"api"`
	Region    string `json:"region"`
	Success   int64  `json:"success_requests"`
	Input     int64  `json:"input_tokens"`
	Output    int64  `json:"output_tokens"`
	Token     *struct {
		Cached    bool      `json:"cached"`
		Valid     bool      `json:"is_valid"`
		ExpiresAt time.Time `json:"expires_at"`
	} `json:"token_info"`
}

// Rate is the share of requests that succeeded.
func (d *poolDetail) Rate() float64 { return (&sum{Requests: d.Requests, Success: d.Success}).Rate() }

// poolQuota is what the service says of an account's use.
type poolQuota struct {
	Subscription string `json:"subscription"`
	Email        string `json:"email"`
	poolUsage
	Overages string      `json:"overage_status"`
	Others   []poolUsage `json:"others"`

	Problem string `json:"-"` // why there is none
}

// poolUsage is the use of one kind of resource.
type poolUsage struct {
	Resource string     `json:"resource_type"`
	Called   string     `json:"name"`
	Unit     string     `json:"unit"`
	Used     float64    `json:"used"`
	Limit    float64    `json:"limit"`
	ResetsAt time.Time  `json:"resets_at"`
	Trial    *poolTrial `json:"free_trial"`
	Overage  *struct {
		Used     float64 `json:"used"`
		Cap      float64 `json:"cap"`
		Charges  float64 `json:"charges"`
		Currency string  `json:"currency"`
	} `json:"overage"`
}

type poolTrial struct {
	Status  string    `json:"status"`
	Used    float64   `json:"used"`
	Limit   float64   `json:"limit"`
	Expires time.Time `json:"expires_at"`
}

// Usages are the use of all kinds of resources, the account's main one first.
func (q *poolQuota) Usages() []poolUsage { return append([]poolUsage{q.poolUsage}, q.Others...) }

// QuotaName is what the service calls the resource.
func (u *poolUsage) QuotaName() string { return cmp.Or(u.Called, u.Resource, u.Unit) }

// poolBar is a share that is used, with words.
type poolBar struct{ Share, Text, Level string }

// barOf makes a bar: from 80 % on it warns, at the limit it tells that nothing is left.
func barOf(used, limit float64) poolBar {
	share := 0.0
	if limit > 0 {
		share = min(max(used/limit, 0), 1)
	}
	b := poolBar{Share: strconv.FormatFloat(share, 'f', 3, 64), Text: amount(used) + " / " + amount(limit), Level: "ok"}
	switch {
	case share >= 1 || limit <= 0:
		b.Level = "full"
	case share >= 0.8:
		b.Level = "high"
	}
	return b
}

// amount writes a number with at most two digits behind the point.
func amount(f float64) string {
	whole, frac, _ := strings.Cut(strconv.FormatFloat(f, 'f', 2, 64), ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil { // beyond what a count can be
		return strconv.FormatFloat(f, 'g', 3, 64)
	}
	if frac = strings.TrimRight(frac, "0"); frac != "" {
		frac = "." + frac
	}
	return grouped(n) + frac
}

// Bar is the use of the limit.
func (u *poolUsage) Bar() poolBar { return barOf(u.Used, u.Limit) }

// Bar is the use of the trial.
func (t *poolTrial) Bar() poolBar { return barOf(t.Used, t.Limit) }

// poolOneView is the page of one account.
type poolOneView struct {
	Detail  *poolDetail
	Quota   *poolQuota // nil: not asked for
	Form    *form
	Err     *form
	Warning string
}

func showPoolOne(v *view) error {
	d := &poolOneView{}
	if v.part() == "quota" {
		// alone: a list asks for each row, and nothing else of it is needed
		d.Quota = v.poolQuota()
		return v.render("poolone.html", d)
	}
	if v.Query("quota") != "" {
		d.Quota = v.poolQuota()
	}
	return v.poolOne(d)
}

// poolQuota asks the service. That it refuses is what the place of the bars tells; the page is none the worse.
func (v *view) poolQuota() *poolQuota {
	q := &poolQuota{}
	if err := v.get(poolPath(v.id)+"/quota", nil, q); err != nil {
		q.Problem = v.t("error.internal")
		if no := (*Refusal)(nil); errors.As(err, &no) {
			q.Problem = no.Message
		}
	}
	return q
}

func (v *view) poolOne(d *poolOneView) error {
	d.Detail = &poolDetail{}
	if err := v.get(poolPath(v.id)+"/stats", nil, d.Detail); err != nil {
		return err
	}
	if d.Form == nil {
		a := d.Detail
		vs := url.Values{"name": {a.Name}, "notes": {a.Notes}, "profile_arn": {a.Profile}, "api": {a.API}, "region": {a.Region}}
		if a.RPM > 0 {
			vs.Set("requests_per_minute", strconv.FormatInt(a.RPM, 10))
		}
		d.Form = &form{Values: vs}
	}
	return v.render("poolone.html", d)
}

// poolInput is what a form says of an account.
type poolInput struct {
	Name         string          `json:"name"`
	Notes        string          `json:"notes"`
	RPM          json.RawMessage `json:"requests_per_minute,omitempty"`
	Profile      *string         `json:"profile_arn,omitempty"`
	API          string          `json:"api,omitempty"`
	Region       *string         `json:"region,omitempty"`
	APIKey       string          `json:"api_key,omitempty"` // this and the next five keep what there is when they are empty
	RefreshToken string          `json:"refresh_token,omitempty"`
	ClientID     string          `json:"client_id,omitempty"`
	ClientSecret string          `json:"client_secret,omitempty"`
	TokenRegion  string          `json:"token_region,omitempty"`
	StartURL     string          `json:"start_url,omitempty"`
}

// poolInput reads the form of an account. rpm is what an empty field of requests a minute says; empty: nothing.
func (v *view) poolInput(rpm string) (*poolInput, error) {
	profile, region := v.text("profile_arn"), v.text("region")
	in := &poolInput{Name: v.text("name"), Notes: v.form.Get("notes"), Profile: &profile, API: v.text("api"), Region: &region, APIKey: v.text("api_key"), RefreshToken: v.text("refresh_token"),
		ClientID: v.text("client_id"), ClientSecret: v.text("client_secret"), TokenRegion: v.text("token_region"), StartURL: v.text("start_url")}
	n, err := v.number("requests_per_minute")
	if err != nil {
		return nil, err
	}
	if n != nil {
		rpm = strconv.FormatInt(*n, 10)
	}
	in.RPM = json.RawMessage(rpm)
	return in, nil
}

func updatePool(v *view) error {
	d := &poolOneView{}
	in, err := v.poolInput("0")
	if err == nil {
		var out poolAccount
		if err = v.call(http.MethodPut, poolPath(v.id), nil, in, &out); err == nil {
			if d.Warning = out.Warning; d.Warning != "" {
				return v.poolOne(d)
			}
			return v.done(v.poolBack(), "pool.saved", in.Name)
		}
	}
	if d.Form, err = v.refused(err, nil); err != nil {
		return err
	}
	return v.poolOne(d)
}
