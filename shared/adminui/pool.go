package adminui

import (
	"cmp"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

func poolPages() []*page {
	return []*page{
		{path: poolAPI, title: "pool.title", menu: "menu.manage", icon: "cloud", show: showPool, acts: map[string]func(*view) error{"create": createPool, "login": beginLogin, "poll": pollLogin,
			"preview": previewImport, "import": doImport, "refresh": refreshPool, "enable": switchPool, "disable": switchPool, "delete": deletePool, "bulk": bulkPool}},
		{path: poolAPI + "/{id}", title: "pool.one", show: showPoolOne, acts: map[string]func(*view) error{"update": updatePool, "refresh": refreshPool, "enable": switchPool, "disable": switchPool,
			"delete": deletePool}},
	}
}

// poolAPI is where the API has the accounts of Amazon Q, and the console their page.
const poolAPI = "/admin/accounts"

// poolAccount is an account of Amazon Q or Kiro as the API's list tells. What is null there is empty here.
type poolAccount struct {
	ID         int64     `json:"id"`
	Name       string    `json:"name"`
	Profile    string    `json:"profile_arn"`
	IsActive   bool      `json:"is_active"`
	IsHealthy  bool      `json:"is_healthy"`
	Requests   int64     `json:"total_requests"`
	Tokens     int64     `json:"total_tokens"`
	LastUsed   time.Time `json:"last_used"`
	LastCheck  time.Time `json:"last_health_check"`
	CheckError string    `json:"health_check_error"`
	RecoverAt  time.Time `json:"auto_recover_at"`
	RPM        int64     `json:"requests_per_minute"`
	CreatedAt  time.Time `json:"created_at"`
	Notes      string    `json:"notes"`
	Warning    string    `json:"warning"` // of the call that made or changed it

	State  string `json:"state"`
	Reason string `json:"state_reason"`
}

// IDText is the account's number as addresses have it.
func (a *poolAccount) IDText() string { return strconv.FormatInt(a.ID, 10) }

// WhyUnwell is what is known of why the account is not well.
func (a *poolAccount) WhyUnwell() string {
	if a.State == "online" {
		return ""
	}
	return cmp.Or(a.Reason, a.CheckError)
}

// poolView is the page.
type poolView struct {
	List     list[poolAccount]
	Choices  []choice
	Narrowed bool // by a search or a state
	Accounts []accountRow
	Account  string // whose pool it is; empty: the reader's, who has no choice
	Add      string // way to add that is shown
	First    bool   // before the list: it is what the reader waits for
	Form     *form  // of an account made by hand, of a login
	Login    *poolLogin
	Import   *poolImport
	Stats    *poolStats
	Warning  string
	Err      *form // of a small form
}

// Ways are those to add an account.
func (d *poolView) Ways() []string { return []string{"login", "import", "hand"} }

// poolPath is where the account of a call by its number is.
func poolPath(id string) string { return poolAPI + "/" + url.PathEscape(id) }

func showPool(v *view) error {
	d := &poolView{}
	if id := v.Query("login"); id != "" {
		switch done, err := v.askLogin(id, d); {
		case err != nil || done:
			return err
		case v.part() == "login":
			return v.render("pool.html", d)
		}
	}
	return v.pool(d)
}

// pool shows the page with what became of a form.
func (v *view) pool(d *poolView) error {
	d.Account = v.Query("account_id")
	if v.Me.Admin {
		var accounts struct{ Accounts []accountRow }
		if err := v.get(tenantsAPI, light(""), &accounts); err != nil {
			return err
		}
		d.Accounts, d.Account = accounts.Accounts, cmp.Or(d.Account, v.Me.AccountID)
	}
	n, err := v.poolPart(d)
	if err != nil {
		return err
	}
	d.Narrowed = d.List.Q != "" || v.state() != ""
	if n.All > 0 {
		d.Choices = v.choices(n)
	}
	if v.Me.Admin && n.All > 0 {
		if d.Stats, err = v.poolStats(d.Account); err != nil {
			return err
		}
	}
	d.First = d.Form != nil || d.Import != nil || d.Add == "" && v.Query("add") != ""
	d.Add = cmp.Or(d.Add, v.Query("add"))
	if d.Add != "import" && d.Add != "hand" {
		d.Add = "login"
	}
	if d.Form == nil {
		d.Form = &form{Values: url.Values{"api": {"q"}}}
	}
	if d.Import == nil {
		d.Import = &poolImport{Form: &form{}}
	}
	return v.render("pool.html", d)
}

// poolPart asks for a part of the pool of an account of the gateway.
func (v *view) poolPart(d *poolView) (n counts, err error) {
	d.List, err = listed(v, []string{"id", "name", "state", "requests", "tokens", "used", "checked"}, "id", func(q url.Values) ([]poolAccount, int, error) {
		var out struct {
			Accounts []poolAccount
			Total    int
			Counts   counts
		}
		err := v.get(poolAPI, v.ofState(q, d.Account), &out)
		n = out.Counts
		return out.Accounts, out.Total, err
	})
	return n, err
}

// poolUse are tokens as the statistics tell them.
type poolUse struct {
	Date     string `json:"date"`
	ID       int64  `json:"account_id"`
	Name     string `json:"account_name"`
	Input    int64  `json:"input_tokens"`
	Output   int64  `json:"output_tokens"`
	Requests int64  `json:"requests"`
	Ever     int64  `json:"total_tokens_all_time"`
}

// poolStats are the statistics of seven days.
type poolStats struct {
	Total    poolUse
	Daily    []poolUse
	Accounts []poolUse // the most used first, those that were used
}

// maxUsed is how many accounts the statistics list.
const maxUsed = 10

func (v *view) poolStats(of string) (*poolStats, error) {
	s := &poolStats{}
	if err := v.get("/admin/stats/tokens", url.Values{"days": {"7"}, "account_id": {of}, "light": {"true"}}, s); err != nil {
		return nil, err
	}
	var use struct{ Accounts []poolUse }
	if err := v.get("/admin/stats/account-usage", url.Values{"days": {"7"}, "account_id": {of}, "limit": {strconv.Itoa(maxUsed)}}, &use); err != nil {
		return nil, err
	}
	for _, u := range use.Accounts {
		if u.Requests > 0 {
			s.Accounts = append(s.Accounts, u)
		}
	}
	return s, nil
}

// Chart is what the chart draws: days in seconds, input and output tokens.
func (s *poolStats) Chart() [3][]int64 {
	var out [3][]int64
	for _, d := range s.Daily {
		at, _ := time.Parse(time.DateOnly, d.Date)
		out[0], out[1], out[2] = append(out[0], at.Unix()), append(out[1], d.Input), append(out[2], d.Output)
	}
	return out
}

// PoolLink is the page of an account, from which its forms lead back to the list as it is looked at.
func (v *view) PoolLink(id string) string { return v.link(v.back(poolPath(id))) }

// PoolList is the list as it was looked at.
func (v *view) PoolList() string { return v.link(v.back(poolAPI)) }

// poolBack is the page that a small form came from.
func (v *view) poolBack() string {
	if v.id != "" && v.Query("do") != "delete" {
		return v.back(poolPath(v.id))
	}
	return v.back(poolAPI)
}

// poolRefused shows the page that a small form came from, with what was wrong.
func (v *view) poolRefused(err error) error {
	f, err := v.refused(err, nil)
	if err != nil {
		return err
	}
	f.Problem = strings.TrimSpace(cmp.Or(f.Problem, f.ErrorOf("confirm")))
	if name := v.text("name"); name != "" {
		f.Problem = name + ": " + f.Problem
	}
	if v.id != "" {
		return v.poolOne(&poolOneView{Err: f})
	}
	return v.pool(&poolView{Err: f})
}

// poolID is the account that a small form is about.
func (v *view) poolID() string { return cmp.Or(v.id, v.text("id")) }

func refreshPool(v *view) error {
	var out struct {
		ExpiresIn int64 `json:"expires_in"`
	}
	if err := v.call(http.MethodPost, poolPath(v.poolID())+"/refresh-token", nil, nil, &out); err != nil {
		return v.poolRefused(err)
	}
	if out.ExpiresIn <= 0 { // an API key
		return v.done(v.poolBack(), "pool.fresh", v.text("name"))
	}
	return v.done(v.poolBack(), "pool.refreshed", v.text("name"), grouped(out.ExpiresIn/60))
}

// poolActive switches an account on or off.
type poolActive struct {
	IsActive bool `json:"is_active"`
}

func switchPool(v *view) error {
	on := v.Query("do") == "enable"
	if err := v.call(http.MethodPut, poolPath(v.poolID()), nil, poolActive{on}, nil); err != nil {
		return v.poolRefused(err)
	}
	word := "pool.disabled"
	if on {
		word = "pool.enabled"
	}
	return v.done(v.poolBack(), word, v.text("name"))
}

func deletePool(v *view) error {
	err := v.confirmed(v.text("name"))
	if err == nil {
		err = v.call(http.MethodDelete, poolPath(v.poolID()), nil, nil, nil)
	}
	if err != nil {
		return v.poolRefused(err)
	}
	return v.done(v.poolBack(), "pool.deleted", v.text("name"))
}

// bulkPool does one thing with all that are ticked.
func bulkPool(v *view) error {
	what, each := v.text("what"), v.each
	do := func(id string) error {
		return v.call(http.MethodPut, poolPath(id), nil, poolActive{what == "enable"}, nil)
	}
	switch what {
	case "delete":
		each = v.eachDeleted
		do = func(id string) error { return v.call(http.MethodDelete, poolPath(id), nil, nil, nil) }
	case "enable", "disable":
	default:
		each = v.nothing
	}
	n, err := each(do)
	if err != nil {
		return v.poolRefused(err)
	}
	return v.done(v.poolBack(), "pool.bulk."+what, grouped(int64(n)))
}
