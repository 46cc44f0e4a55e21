package adminui

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

func monitorPages() []*page {
	return []*page{
		{path: "/admin/monitor", live: true, title: "monitor.title", menu: "menu.watch", show: showMonitor},
		{path: "/admin/monitor/shares", title: "monitor.shares", menu: "menu.watch", show: showShares, acts: map[string]func(*view) error{"create": createShare, "revoke": revokeShare, "bulk": revokeShares}},
		{path: "/monitor/share/{id}", live: true, title: "monitor.public", open: true, wide: true, show: showShared},
	}
}

// dashboard is a part of the monitor of an account, as the API tells.
type dashboard struct {
	Name    string    `json:"account_name"`
	Updated time.Time `json:"updated_at"`
	Nodes   []watched `json:"nodes"`
	Total   int       `json:"total"`
	Counts  counts    `json:"counts"`
	Traffic traffic   `json:"traffic"` // of all nodes
}

// wall is the page.
type wall struct {
	picker
	dashboard
	List    list[watched]
	Choices []choice
	Shared  bool // shown to who has a link, without a session
}

// traffic is what a node served, or all of them.
type traffic struct {
	Percent float64 `json:"success_rate"`
	MS      float64 `json:"avg_response_time"`
	Total   int64   `json:"total_requests"`
	Failed  int64   `json:"failed_requests"`
}

// watched is a node on the wall.
type watched struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	URL      string    `json:"url"` // not in a share's
	State    string    `json:"state"`
	Since    time.Time `json:"state_since"`
	Weight   int64     `json:"weight"`
	Active   bool      `json:"is_active"`
	Open     bool      `json:"circuit_open"`
	Disabled bool      `json:"disabled"`
	Error    string    `json:"last_error"`
	Traffic  traffic   `json:"traffic"`
	Health   struct {
		Status string    `json:"status"`
		At     time.Time `json:"last_check_at"`
		MS     float64   `json:"last_ping_ms"`
		Error  string    `json:"last_ping_err"`
		Method string    `json:"check_method"`
	} `json:"health"`
	Trend []trend `json:"trend_24h"`
	Bars  []tick  `json:"-"`
	Told  string  `json:"-"` // the trend in words
}

// trend is an hour with requests.
type trend struct {
	At      time.Time `json:"timestamp"`
	Percent float64   `json:"success_rate"`
	MS      float64   `json:"avg_time"`
}

// SuccessShare is the share of requests that succeeded.
func (t traffic) SuccessShare() float64 { return t.Percent / 100 }

// ProblemText is what went wrong of late, in a language; of a node that serves, at its last check alone.
func (w *watched) ProblemText(lang string) string {
	switch {
	case w.State == "online" || w.Error == "":
		return translate(lang, w.Health.Error)
	case w.Health.Error == "" || strings.Contains(w.Error, w.Health.Error):
		return translate(lang, w.Error)
	}
	return translate(lang, w.Error) + "; " + translate(lang, w.Health.Error)
}

func showMonitor(v *view) error {
	w := &wall{}
	if err := v.wallPart(w, "/api/monitor/dashboard"); err != nil {
		return err
	}
	var err error
	if w.picker, err = v.picker(); err != nil {
		return err
	}
	return v.render("monitor.html", w)
}

// wallPart asks for a part of the wall.
func (v *view) wallPart(w *wall, path string) (err error) {
	account := v.Query("account_id")
	if w.Shared { // the link names the account
		account = ""
	}
	w.List, err = listed(v, nil, "", func(q url.Values) ([]watched, int, error) {
		w.dashboard = dashboard{}
		err := v.get(path, v.ofState(q, account), &w.dashboard)
		return w.Nodes, w.Total, err
	})
	w.Choices = v.choices(w.Counts)
	if w.Shared { // which has none that are disabled
		w.Choices = w.Choices[:len(w.Choices)-1]
	}
	w.draw(v)
	return err
}

// showShared shows the wall to who has a link to it. What became of a link that opens nothing is not told.
func showShared(v *view) error {
	v.w.Header().Set("X-Robots-Tag", "noindex")
	w := &wall{Shared: true}
	err := error(&Refusal{Status: http.StatusNotFound})
	if v.id != "" && strings.Trim(v.id, "0123456789abcdef") == "" {
		err = v.wallPart(w, "/api/monitor/share/"+v.id)
	}
	no, refused := err.(*Refusal)
	switch {
	case refused && v.live():
		v.goTo(v.Self()) // the whole page tells what is wrong
		return nil
	case refused && no.Status == http.StatusNotFound:
		return &Refusal{Status: no.Status, Message: v.t("monitor.gone")}
	case refused && no.Status == http.StatusTooManyRequests:
		return &Refusal{Status: no.Status, Message: v.t("monitor.often")}
	case err != nil:
		return err
	}
	return v.render("share.html", w)
}

const trendHours = 24

// draw makes the trends: a bar an hour, as high as the share of requests that succeeded.
func (w *wall) draw(v *view) {
	first := w.Updated.UTC().Truncate(time.Hour).Add(-(trendHours - 1) * time.Hour)
	for i := range w.List.Items {
		n := &w.List.Items[i]
		n.Bars = make([]tick, trendHours)
		for h := range n.Bars {
			n.Bars[h] = tick{X: h * barStep, Y: barHeight - 2, H: 2, Class: "none", Title: v.t("monitor.hour.none", strconv.Itoa(trendHours-1-h))}
		}
		worst, hours := 100.0, 0
		for _, t := range n.Trend {
			h := int(t.At.Sub(first) / time.Hour)
			if t.At.Before(first) || h >= trendHours {
				continue
			}
			hours++
			worst = min(worst, t.Percent)
			b := tick{X: h * barStep, H: max(4, int(t.Percent*barHeight/100)), Class: "ok", Title: v.t("monitor.hour", strconv.Itoa(trendHours-1-h), percent(t.Percent/100), millis(t.MS))}
			switch {
			case t.Percent < 90:
				b.Class = "bad"
			case t.Percent < 99:
				b.Class = "mixed"
			}
			b.Y = barHeight - b.H
			n.Bars[h] = b
		}
		n.Told = v.t("monitor.trend.none")
		if hours > 0 {
			n.Told = v.t("monitor.trend.said", strconv.Itoa(hours), percent(worst/100))
		}
	}
}

// share is a link to a wall.
type share struct {
	ID        string    `json:"id"`
	URL       string    `json:"share_url"`
	ExpireAt  time.Time `json:"expire_at"`
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by"`
	Revoked   bool      `json:"revoked"`
	RevokedAt time.Time `json:"revoked_at"`
	Status    string    `json:"-"` // valid, expired, revoked
}

// sharesView is the page of links.
type sharesView struct {
	picker
	List list[share]
	Form *form
	Err  *form
	Made *share // just now
}

const sharesAPI = "/api/monitor/shares"

// Terms are how long a link may open the wall.
func (d *sharesView) Terms() []string { return []string{"1h", "24h", "168h", "permanent"} }

func showShares(v *view) error { return v.shares(&sharesView{}) }

func (v *view) shares(d *sharesView) error {
	q := url.Values{"include_revoked": {"true"}, "limit": {"100"}} // an account has no more
	if id := v.Query("account_id"); id != "" {
		q.Set("account_id", id)
	}
	var out struct{ Shares []share }
	if err := v.get(sharesAPI, q, &out); err != nil {
		return err
	}
	var err error
	if d.picker, err = v.picker(); err != nil {
		return err
	}
	for i := range out.Shares {
		s := &out.Shares[i]
		switch {
		case s.Revoked:
			s.Status = "revoked"
		case !s.ExpireAt.IsZero() && !v.Now().Before(s.ExpireAt):
			s.Status = "expired"
		default:
			s.Status = "valid"
		}
	}
	d.List = listOf(v, out.Shares, func(s share) string {
		return strings.Join([]string{s.ID, s.URL, s.CreatedBy, v.t("monitor.status." + s.Status)}, " ")
	},
		order[share]{"made": byTime(func(s share) time.Time { return s.CreatedAt }), "by": byText(func(s share) string { return s.CreatedBy }),
			"expires": byTime(func(s share) time.Time { return s.ExpireAt }), "status": byText(func(s share) string { return s.Status })}, "-made")
	if d.Form == nil {
		d.Form = &form{Values: url.Values{"expire_in": {"24h"}}}
	}
	return v.render("shares.html", d)
}

// refusedShare shows the page again when a form was refused.
func (v *view) refusedShare(err error, whole bool) error {
	f, err := v.refused(err, nil)
	if err != nil {
		return err
	}
	if whole {
		return v.shares(&sharesView{Form: f})
	}
	return v.shares(&sharesView{Err: f.small()})
}

func createShare(v *view) error {
	in := struct {
		Account string `json:"account_id"`
		Term    string `json:"expire_in"`
	}{v.Query("account_id"), v.text("expire_in")}
	var s share
	if err := v.call(http.MethodPost, sharesAPI, nil, in, &s); err != nil {
		return v.refusedShare(err, true)
	}
	return v.shares(&sharesView{Made: &s})
}

// revokeShare revokes one, whose name nobody would type: the word for what cannot be undone stands for it.
func revokeShare(v *view) error {
	err := v.confirmed(v.t("list.bulk.word"))
	if err == nil {
		err = v.call(http.MethodDelete, sharesAPI+"/"+url.PathEscape(v.text("id")), nil, nil, nil)
	}
	if err != nil {
		return v.refusedShare(err, false)
	}
	return v.done(v.back("/admin/monitor/shares"), "monitor.revoked")
}

// revokeShares revokes those that are ticked: no link comes back, so the word for it must have been typed.
func revokeShares(v *view) error {
	n, err := v.eachDeleted(func(id string) error {
		return v.call(http.MethodDelete, sharesAPI+"/"+url.PathEscape(id), nil, nil, nil)
	})
	if err != nil {
		return v.refusedShare(err, false)
	}
	return v.done(v.back("/admin/monitor/shares"), "monitor.bulk", grouped(int64(n)))
}
