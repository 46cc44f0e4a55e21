package adminui

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

func tenantPages() []*page {
	return []*page{{path: tenantsPath, title: "tenants.title", menu: "menu.manage", show: showTenants,
		acts: map[string]func(*view) error{"create": createTenant, "update": updateTenant, "capture": captureTenant, "delete": deleteTenant, "bulk": deleteTenants}}}
}

const (
	tenantsPath = "/admin/tenants"
	tenantsAPI  = "/admin/api/accounts"
)

// tenant is an account as the API's list tells.
type tenant struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Admin       bool              `json:"is_admin"`
	HasPassword bool              `json:"has_password"`
	HasKey      bool              `json:"has_proxy_api_key"`
	Prefix      string            `json:"proxy_api_key_prefix"`
	ModelMap    map[string]string `json:"model_map"`
	Days        int64             `json:"response_days"`
	Limits      limits            `json:"limits"`
	CreatedAt   time.Time         `json:"created_at"`
	UpdatedAt   time.Time         `json:"updated_at"`
	Until       time.Time         `json:"capturing_until"` // bodies of its requests are kept until then; zero: they are not
	Capture     *captureSet       `json:"capture"`         // nil: not for the reader, or nothing can be captured

	Keys, Nodes int64 // how many it has
}

// IsFirst reports whether it is the account that there always is.
func (t *tenant) IsFirst() bool { return t.ID == "default" }

// Maps are the lines of its model map.
func (t *tenant) Maps() (out []string) {
	for _, from := range slices.Sorted(maps.Keys(t.ModelMap)) {
		out = append(out, from+" = "+t.ModelMap[from])
	}
	return out
}

// tenantsView is the page: of administrators the list, of others their own account.
type tenantsView struct {
	List   list[tenant]
	Own    *tenant // of who is no administrator
	Form   *form   // of the account being made or edited
	Edit   *tenant // nil: a new one
	Bodies *form   // of capture
	Secret string
	Said   string // what the API thinks of the key
	Err    *form  // of a small form
}

func showTenants(v *view) error { return v.tenants(&tenantsView{}) }

// tenants shows the page with what became of a form.
func (v *view) tenants(d *tenantsView) error {
	id := v.Query("edit")
	if d.Edit != nil {
		id = d.Edit.ID
	}
	if !v.Me.Admin {
		id = v.Me.AccountID
	}
	if id != "" {
		t, err := v.oneTenant(id)
		if err != nil {
			return err
		}
		if t != nil {
			if d.Edit = t; d.Form == nil {
				d.Form = formOfTenant(t)
			}
			if d.Bodies == nil && t.Capture != nil {
				d.Bodies = v.formOfCapture(t)
			}
		}
	}
	if d.Form == nil {
		d.Form = &form{Values: url.Values{"response_days": {"0"}}}
	}
	if !v.Me.Admin {
		if d.Own = d.Edit; d.Own == nil {
			return &Refusal{Status: http.StatusNotFound, Message: v.t("tenants.gone")}
		}
		return v.render("tenants.html", d)
	}
	var err error
	d.List, err = listed(v, []string{"name", "id", "keys", "nodes", "created"}, "created", func(q url.Values) ([]tenant, int, error) {
		q.Set("count", "true")
		var out struct {
			Accounts []tenant
			Total    int
		}
		err := v.get(tenantsAPI, q, &out)
		return out.Accounts, out.Total, err
	})
	if err != nil {
		return err
	}
	return v.render("tenants.html", d)
}

// oneTenant is an account with its counts; nil: there is none of that id.
func (v *view) oneTenant(id string) (*tenant, error) {
	var out struct{ Accounts []tenant }
	if err := v.get(tenantsAPI, url.Values{"id": {id}, "count": {"true"}}, &out); err != nil || len(out.Accounts) == 0 {
		return nil, err
	}
	return &out.Accounts[0], nil
}

func formOfTenant(t *tenant) *form {
	vs := url.Values{"name": {t.Name}, "response_days": {strconv.FormatInt(t.Days, 10)}, "model_map": {strings.Join(t.Maps(), "\n")}}
	if t.Admin {
		vs.Set("is_admin", "1")
	}
	t.Limits.fill(vs)
	return &form{Values: vs}
}

// tenantInput is what a form says of an account. A nil or empty field changes nothing.
type tenantInput struct {
	Name     string                     `json:"name"`
	Password string                     `json:"password,omitempty"`
	Key      string                     `json:"proxy_api_key,omitempty"`
	Admin    *bool                      `json:"is_admin,omitempty"`
	ModelMap map[string]string          `json:"model_map"`
	Days     *int64                     `json:"response_days,omitempty"`
	Limits   map[string]json.RawMessage `json:"limits,omitempty"`
}

func (v *view) tenantInput() (in tenantInput, err error) {
	in = tenantInput{Name: v.text("name"), Password: v.form.Get("password"), Key: v.text("proxy_api_key")}
	if in.Name == "" {
		return in, &Refusal{Status: http.StatusBadRequest, Field: "name", Message: v.t("form.needed")}
	}
	if v.Me.Admin { // others may not say any of it
		admin := v.form.Has("is_admin")
		in.Admin, in.Limits = &admin, map[string]json.RawMessage{}
		v.limitsOf(in.Limits)
	}
	if in.Days, err = v.number("response_days"); err == nil {
		in.ModelMap, err = v.modelMap()
	}
	return in, err
}

// refused shows the page again when a form was refused.
func (d *tenantsView) refused(v *view, err error, whole bool) error {
	names := map[string]string{}
	for _, n := range [...]string{"requests_per_minute", "requests_per_day", "tokens_per_minute", "concurrency", "usd_per_day", "usd_per_month"} {
		names["limits."+n] = n
	}
	f, err := v.refused(err, names)
	if err != nil {
		return err
	}
	if whole {
		d.Form = f
	} else {
		d.Err = f.small()
	}
	return v.tenants(d)
}

// keyed is the API's answer that may hold a credential.
type keyed struct {
	Key     string `json:"proxy_api_key"`
	Warning string `json:"warning"`
}

func createTenant(v *view) error {
	d := &tenantsView{}
	in, err := v.tenantInput()
	if err == nil {
		var out keyed
		if err = v.call(http.MethodPost, tenantsAPI, nil, in, &out); err == nil {
			d.Secret, d.Said = out.Key, out.Warning
			return v.shown(d.Secret, v.tenants(d))
		}
	}
	return d.refused(v, err, true)
}

func updateTenant(v *view) error {
	id := v.Query("id")
	d := &tenantsView{Edit: &tenant{ID: id, Name: v.text("name")}}
	in, err := v.tenantInput()
	if err == nil {
		err = v.emptied("response_days")
	}
	if err == nil {
		var out keyed
		err = v.call(http.MethodPut, tenantsAPI, url.Values{"id": {id}}, in, &out)
		if err == nil && out.Key != "" {
			return v.shown(out.Key, v.tenants(&tenantsView{Secret: out.Key, Said: out.Warning}))
		}
		if err == nil {
			return v.done(v.back(tenantsPath), "tenants.saved", in.Name)
		}
	}
	return d.refused(v, err, true)
}

func deleteTenant(v *view) error {
	err := v.confirmed(v.text("name"))
	if err == nil {
		err = v.call(http.MethodDelete, tenantsAPI, url.Values{"id": {v.text("id")}}, nil, nil)
	}
	if err != nil {
		return (&tenantsView{}).refused(v, err, false)
	}
	return v.done(v.back(tenantsPath), "tenants.deleted", v.text("name"))
}

// deleteTenants deletes those that are ticked.
func deleteTenants(v *view) error {
	n, err := v.eachDeleted(func(id string) error {
		return v.call(http.MethodDelete, tenantsAPI, url.Values{"id": {id}}, nil, nil)
	})
	if err != nil {
		return (&tenantsView{}).refused(v, err, false)
	}
	return v.done(v.back(tenantsPath), "tenants.bulk", grouped(int64(n)))
}
