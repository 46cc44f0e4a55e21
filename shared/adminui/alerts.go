package adminui

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

const rulesAPI = "/api/alerts/rules"

// rule is an alert rule as the API tells.
type rule struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Kind        string    `json:"kind"`
	Threshold   float64   `json:"threshold"`
	Window      int64     `json:"window_minutes"`
	MinRequests int64     `json:"min_requests"`
	Enabled     bool      `json:"enabled"`
	Raised      bool      `json:"raised"`
	RaisedAt    time.Time `json:"raised_at"`
}

// ruleKinds are the kinds of alert rules.
func ruleKinds() []string {
	return []string{"error_rate", "latency_p95", "spend_day", "spend_month", "forecast", "node_down"}
}

// Windowed reports whether a kind looks at the requests of some minutes.
func windowed(kind string) bool { return kind == "error_rate" || kind == "latency_p95" }

// Windowed is windowed.
func (r rule) Windowed() bool { return windowed(r.Kind) }

// LimitText is the threshold as people write it.
func (r rule) LimitText() string { return plainNumber(r.Threshold) }

// Shown is the threshold in a sentence.
func (r rule) Shown() string {
	switch r.Kind {
	case "spend_day", "spend_month", "forecast":
		return money(&r.Threshold)
	}
	return r.LimitText()
}

// RuleKinds are the kinds of alert rules.
func (d *notifyView) RuleKinds() []string { return ruleKinds() }

// Windowed reports whether the rule in the form has a window.
func (d *notifyView) Windowed() bool { return windowed(d.Kind) }

// rules fills in the alert rules and the form.
func (v *view) rules(d *notifyView) error {
	var out struct{ Rules []rule }
	if err := v.get(rulesAPI, account(d.Account), &out); err != nil {
		return err
	}
	d.Rules = listOf(v, out.Rules, func(r rule) string { return r.ID + " " + r.Name + " " + v.t("alerts.kind."+r.Kind) }, order[rule]{
		"id": byText(func(r rule) string { return r.ID }), "name": byText(func(r rule) string { return r.Name }), "kind": byText(func(r rule) string { return r.Kind }),
		"raised": byNumber(func(r rule) int64 { return r.RaisedAt.Unix() }),
	}, "id")
	for _, r := range out.Rules {
		if r.Raised {
			d.Raised = append(d.Raised, r)
		}
	}
	id := v.Query("edit")
	if d.EditRule != nil {
		id = d.EditRule.ID
	}
	for i := range out.Rules {
		if r := &out.Rules[i]; r.ID == id {
			d.EditRule, d.Kind = r, r.Kind
			if d.Form == nil {
				vs := url.Values{"name": {r.Name}, "threshold": {r.LimitText()}}
				if r.Windowed() {
					vs.Set("window_minutes", strconv.FormatInt(r.Window, 10))
					vs.Set("min_requests", strconv.FormatInt(r.MinRequests, 10))
				}
				d.Form = &form{Values: vs}
			}
		}
	}
	if d.Form == nil {
		if k := v.Query("new"); slices.Contains(ruleKinds(), k) {
			d.Kind = k
		}
		d.Form = &form{Values: url.Values{"window_minutes": {"5"}, "min_requests": {"20"}}}
	}
	return nil
}

// ruleInput is what a form says of a rule. A nil field changes nothing.
type ruleInput struct {
	Name        string          `json:"name"`
	Kind        string          `json:"kind"`
	Threshold   json.RawMessage `json:"threshold"`
	Window      *int64          `json:"window_minutes,omitempty"`
	MinRequests *int64          `json:"min_requests,omitempty"`
}

func (v *view) ruleInput() (in ruleInput, err error) {
	in = ruleInput{Name: v.text("name"), Kind: v.text("kind")}
	n, err := strconv.ParseFloat(v.text("threshold"), 64)
	if err != nil || !json.Valid([]byte(plainNumber(n))) {
		return in, &Refusal{Status: http.StatusBadRequest, Field: "threshold", Message: v.t("alerts.number")}
	}
	in.Threshold = json.RawMessage(plainNumber(n))
	if windowed(in.Kind) {
		if in.Window, err = v.number("window_minutes"); err == nil {
			in.MinRequests, err = v.number("min_requests")
		}
	}
	return in, err
}

func createRule(v *view) error {
	d := &notifyView{Tab: "rules", Kind: v.text("kind")}
	in, err := v.ruleInput()
	if err == nil {
		if in.Name == "" {
			in.Name = v.t("alerts.kind." + in.Kind)
		}
		if err = v.call(http.MethodPost, rulesAPI, account(v.Query("account_id")), in, nil); err == nil {
			return v.done(v.notifyLink("rules"), "alerts.made", in.Name)
		}
	}
	return d.refused(v, err, true)
}

func updateRule(v *view) error {
	id := v.Query("id")
	d := &notifyView{Tab: "rules", EditRule: &rule{ID: id, Name: v.text("name")}}
	in, err := v.ruleInput()
	if err == nil {
		if err = v.call(http.MethodPut, rulesAPI+"/"+url.PathEscape(id), nil, in, nil); err == nil {
			return v.done(v.notifyLink("rules"), "alerts.saved", in.Name)
		}
	}
	return d.refused(v, err, true)
}

func (v *view) switchRule(id string, on bool) error {
	return v.call(http.MethodPut, rulesAPI+"/"+url.PathEscape(id), nil, map[string]bool{"enabled": on}, nil)
}

func switchRule(v *view) error {
	on := v.Query("do") == "rule-enable"
	if err := v.switchRule(v.text("id"), on); err != nil {
		return (&notifyView{Tab: "rules"}).refused(v, err, false)
	}
	word := "alerts.enabled"
	if !on {
		word = "alerts.disabled"
	}
	return v.done(v.notifyLink("rules"), word, v.text("name"))
}

// bulkRules switches or deletes those that are ticked.
func bulkRules(v *view) error {
	what, n := v.text("what"), 0
	var err error
	switch what {
	case "delete":
		n, err = v.eachDeleted(func(id string) error {
			return v.call(http.MethodDelete, rulesAPI+"/"+url.PathEscape(id), nil, nil, nil)
		})
	case "enable", "disable":
		n, err = v.each(func(id string) error { return v.switchRule(id, what == "enable") })
	default:
		err = &Refusal{Status: http.StatusBadRequest, Message: v.t("error.form")}
	}
	if err != nil {
		return (&notifyView{Tab: "rules"}).refused(v, err, false)
	}
	return v.done(v.notifyLink("rules"), "alerts.bulk."+what, grouped(int64(n)))
}

func deleteRule(v *view) error {
	err := v.confirmed(v.text("name"))
	if err == nil {
		err = v.call(http.MethodDelete, rulesAPI+"/"+url.PathEscape(v.text("id")), nil, nil, nil)
	}
	if err != nil {
		return (&notifyView{Tab: "rules"}).refused(v, err, false)
	}
	return v.done(v.notifyLink("rules"), "alerts.deleted", v.text("name"))
}
