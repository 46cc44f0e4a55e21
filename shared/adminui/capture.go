package adminui

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// captureSet are an account's settings of body capture, as administrators see them where the operator gave a place for bodies.
type captureSet struct {
	Until    time.Time `json:"until"`
	Redact   []string  `json:"redact"`
	Emails   bool      `json:"redact_emails"`
	KeepDays int64     `json:"keep_days"`
	Failed   bool      `json:"failed_only"`
	MaxBytes int64     `json:"max_bytes"`
}

// formOfCapture ticks that bodies are kept only where they still are: what has ended begins again with another end.
func (v *view) formOfCapture(t *tenant) *form {
	c := t.Capture
	vs := url.Values{"redact": {strings.Join(c.Redact, "\n")}, "keep_days": {strconv.FormatInt(c.KeepDays, 10)}, "max_bytes": {strconv.FormatInt(c.MaxBytes, 10)}}
	if !c.Until.IsZero() {
		at := c.Until.In(v.zone()).Format(localTime)
		vs["until"], vs["was"] = []string{at}, []string{at}
	}
	for name, on := range map[string]bool{"enabled": !t.Until.IsZero(), "redact_emails": c.Emails, "failed_only": c.Failed} {
		if on {
			vs.Set(name, "1")
		}
	}
	return &form{Values: vs}
}

// captureInput reads the form of an account's capture. An end that nobody changed is not sent: the form knows no seconds of it.
func (v *view) captureInput() (map[string]any, error) {
	in := map[string]any{}
	rules := []string{}
	for line := range strings.Lines(v.form.Get("redact")) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			rules = append(rules, line)
		}
	}
	in["redact"] = rules
	for _, name := range [...]string{"enabled", "redact_emails", "failed_only"} {
		in[name] = v.form.Has(name)
	}
	for _, name := range [...]string{"keep_days", "max_bytes"} {
		n, err := v.number(name)
		if err == nil {
			err = v.emptied(name)
		}
		if err != nil {
			return nil, err
		}
		in[name] = n
	}
	at, err := v.localTime("until")
	if v.text("until") != v.form.Get("was") {
		if err == nil && at.IsZero() {
			err = v.emptied("until")
		}
		in["until"] = at
	}
	return in, err
}

func captureTenant(v *view) error {
	id := v.Query("id")
	in, err := v.captureInput()
	if err == nil {
		err = v.call(http.MethodPut, tenantsAPI, url.Values{"id": {id}}, map[string]any{"capture": in}, nil)
	}
	if err == nil {
		return v.done(v.back(tenantsPath), "tenants.saved", v.text("name"))
	}
	d := &tenantsView{Edit: &tenant{ID: id, Name: v.text("name")}}
	if d.Bodies, err = v.refused(err, map[string]string{"capture.until": "until", "capture.keep_days": "keep_days", "capture.max_bytes": "max_bytes", "capture.redact": "redact"}); err != nil {
		return err
	}
	return v.tenants(d)
}

// captured tells since when bodies of the requests' accounts may be there still, of those accounts that ever had any kept and for
// administrators alone. It is one question a page: what is kept outlasts the time that it is kept of.
func (v *view) captured(logs []*logRow) (map[string]time.Time, error) {
	if !v.Me.Admin || len(logs) == 0 {
		return nil, nil
	}
	q := url.Values{"id": {logs[0].AccountID}}
	for _, l := range logs {
		if l.AccountID != logs[0].AccountID {
			q = nil // of several
		}
	}
	var out struct{ Accounts []tenant }
	if err := v.get(tenantsAPI, q, &out); err != nil {
		return nil, err
	}
	kept := map[string]time.Time{}
	for _, a := range out.Accounts {
		if c := a.Capture; c != nil && !c.Until.IsZero() {
			kept[a.ID] = v.Now().Truncate(24*time.Hour).AddDate(0, 0, -int(c.KeepDays))
		}
	}
	return kept, nil
}
