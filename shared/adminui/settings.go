package adminui

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

func settingsPages() []*page {
	return []*page{{path: settingsPath, title: "settings.title", menu: "menu.manage", show: showSettings, acts: map[string]func(*view) error{"save": saveSettings, "everywhere": endSessions}},
		{path: "/admin/environment", title: "environment.title", menu: "menu.manage", admin: true, show: showEnvironment}}
}

const (
	settingsPath = "/admin/settings"
	configAPI    = "/admin/api/config"
)

// settingsView is the page of an account's settings.
type settingsView struct {
	picker
	Form    *form
	Err     *form // of the sessions
	History settingsHistory
}

// tuning are an account's settings as the API tells them, and takes them. A nil one changes nothing.
type tuning struct {
	Retries   *int64 `json:"retries,omitempty"`
	FailLimit *int64 `json:"fail_limit,omitempty"`
	HealthSec *int64 `json:"health_interval_sec,omitempty"`
}

func showSettings(v *view) error { return v.settings(&settingsView{}) }

func (v *view) settings(d *settingsView) (err error) {
	if d.picker, err = v.picker(); err != nil {
		return err
	}
	if d.Form == nil {
		var now tuning
		if err := v.get(configAPI, account(d.Account), &now); err != nil {
			return err
		}
		vs := url.Values{}
		for name, n := range map[string]*int64{"retries": now.Retries, "fail_limit": now.FailLimit, "health_interval_sec": now.HealthSec} {
			if n != nil {
				vs.Set(name, strconv.FormatInt(*n, 10))
			}
		}
		d.Form = &form{Values: vs}
	}
	if d.History, err = v.settingsHistory(d.Account); err != nil {
		return err
	}
	return v.render("settings.html", d)
}

// bounded is a number of a form that the API takes within bounds; it names no field when one is beyond.
func (v *view) bounded(name string, lo, hi int64) (*int64, error) {
	n, err := v.number(name)
	if err == nil && n != nil && (*n < lo || *n > hi) {
		err = &Refusal{Status: http.StatusBadRequest, Field: name, Message: v.t("form.between", strconv.FormatInt(lo, 10), strconv.FormatInt(hi, 10))}
	}
	return n, err
}

func saveSettings(v *view) error {
	var in tuning
	wrong := map[string]string{}
	for _, f := range [...]struct {
		name   string
		to     **int64
		lo, hi int64
	}{{"retries", &in.Retries, 1, 10}, {"fail_limit", &in.FailLimit, 1, 10}, {"health_interval_sec", &in.HealthSec, 5, 300}} {
		var err error
		if *f.to, err = v.bounded(f.name, f.lo, f.hi); err != nil {
			wrong[f.name] = err.Error()
		}
	}
	if len(wrong) > 0 {
		v.status = http.StatusBadRequest
		return v.settings(&settingsView{Form: &form{Values: v.form, errors: wrong}})
	}
	err := v.call(http.MethodPut, configAPI, account(v.Query("account_id")), in, nil)
	if err == nil {
		return v.done(v.back(settingsPath), "settings.saved")
	}
	f, err := v.refused(err, nil)
	if err != nil {
		return err
	}
	return v.settings(&settingsView{Form: f})
}

// endSessions signs the reader out everywhere, here, too.
func endSessions(v *view) error {
	var out struct{ Ended int64 }
	err := v.call(http.MethodDelete, "/admin/api/sessions", nil, nil, &out)
	if err == nil {
		return v.done("/login", "login.everywhere", grouped(out.Ended))
	}
	f, err := v.refused(err, nil)
	if err != nil {
		return err
	}
	return v.settings(&settingsView{Err: f})
}

// variable is a setting of the environment as the API tells; of a secret, a mask.
type variable struct {
	Name          string `json:"name"`
	Category      string `json:"category"`
	Default       string `json:"default_value"`
	Description   string `json:"description"`
	DescriptionZH string `json:"description_zh"`
	Secret        bool   `json:"is_secret"`
	Value         string `json:"current_value"`
	Set           bool   `json:"is_set"`
}

// TextIn is what it is for, in the reader's language.
func (e *variable) TextIn(lang string) string {
	if lang == languages[1] && e.DescriptionZH != "" {
		return e.DescriptionZH
	}
	return e.Description
}

// environmentView is the page of the environment.
type environmentView struct {
	List       list[variable]
	Categories []string
	Category   string
}

func showEnvironment(v *view) error {
	d := &environmentView{Category: v.Query("category")}
	q := url.Values{}
	if d.Category != "" {
		q.Set("category", d.Category)
	}
	var vars struct{ Data []variable }
	if err := v.get("/api/envvars", q, &vars); err != nil {
		return err
	}
	var cats struct{ Data []string }
	if err := v.get("/api/envvars/categories", nil, &cats); err != nil {
		return err
	}
	d.Categories = cats.Data
	d.List = listOf(v, vars.Data, func(e variable) string {
		return strings.Join([]string{e.Name, e.Value, e.TextIn(v.lang), v.t("environment.category." + e.Category)}, " ")
	}, order[variable]{
		"name": byText(func(e variable) string { return e.Name }),
		"set": byNumber(func(e variable) int {
			if e.Set {
				return 0
			}
			return 1
		}),
	}, "")
	return v.render("environment.html", d)
}
