package adminui

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
)

const (
	settingsAction = "settings.update" // in the audit log; what a start seeds is none of it
	maxHistory     = 20                // changes of settings that the page shows
)

// settingsHistory are the last changes of an account's settings, as the audit log tells them.
type settingsHistory struct {
	Entries []entry // the newest first
	Log     string  // address of the audit log with these entries alone
	More    bool    // older ones may be there
	Problem string  // why they cannot be told; empty: they can
}

// settingsHistory reads the changes. That the log cannot be read is no reason to show no settings.
func (v *view) settingsHistory(account string) (settingsHistory, error) {
	of := url.Values{"action": {settingsAction}}
	if account != "" {
		of.Set("account_id", account)
	}
	h := settingsHistory{Log: v.link("/admin/audit") + "?" + of.Encode()}
	of.Set("limit", strconv.Itoa(perPage)) // some of them changed nothing
	var out struct {
		Entries []entry
		Next    string `json:"next_cursor"`
	}
	err := v.get(auditAPI, of, &out)
	if no := (*Refusal)(nil); errors.As(err, &no) && no.Status != http.StatusUnauthorized {
		h.Problem = no.Message
		return h, nil
	}
	if err != nil {
		return h, err
	}
	h.More = out.Next != ""
	for i := range out.Entries {
		if e := &out.Entries[i]; e.WasRefused() || len(e.Differences()) == 0 {
			continue
		}
		if len(h.Entries) == maxHistory {
			h.More = true
			break
		}
		h.Entries = append(h.Entries, out.Entries[i])
	}
	return h, nil
}

// SettingName is what the page calls a setting, or else what the API does.
func (v *view) SettingName(field string) string {
	switch field {
	case "retries":
		return v.t("settings.retries")
	case "fail_limit":
		return v.t("settings.fail")
	case "health_interval_sec":
		return v.t("settings.interval")
	}
	return field
}
