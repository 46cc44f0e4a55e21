package adminui

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

func notifyPages() []*page {
	return []*page{{path: notifyPath, title: "notify.title", menu: "menu.watch", live: true, show: showNotify,
		acts: map[string]func(*view) error{"create": createChannel, "update": updateChannel, "enable": switchChannel, "disable": switchChannel, "delete": deleteChannel, "bulk": bulkChannels,
			"test": testChannel, "subscribe": subscribe, "rule-create": createRule, "rule-update": updateRule, "rule-enable": switchRule, "rule-disable": switchRule,
			"rule-delete": deleteRule, "rules": bulkRules}}}
}

const (
	notifyPath = "/admin/notifications"
	notifyAPI  = "/api/notification"
	channelAPI = notifyAPI + "/channels"
	subsAPI    = notifyAPI + "/subscriptions"
)

// channel is where notifications go, as the API tells. Its settings never come out of there.
type channel struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Kind      string    `json:"channel_type"`
	Enabled   bool      `json:"enabled"`
	UpdatedAt time.Time `json:"updated_at"`

	Events int64 // that it is told
}

// notice is what became of a message.
type notice struct {
	ID       string    `json:"id"`
	Channel  string    `json:"channel_id"`
	Event    string    `json:"event_type"`
	Title    string    `json:"title"`
	Content  string    `json:"content"`
	Status   string    `json:"status"`
	Failure  string    `json:"error"`
	Attempts int64     `json:"attempts"`
	SentAt   time.Time `json:"sent_at"`
}

// notifyView is the page: one of its four parts.
type notifyView struct {
	Tab string
	picker
	Channels list[channel]
	all      []channel
	Kind     string   // of the channel or rule in the form; empty: none is asked for
	Edit     *channel // nil: a new one
	Form     *form
	Err      *form // of a small form

	Groups []eventGroup
	Pinned []channel // the columns

	History list[notice]
	Next    string // cursor of older ones

	Rules    list[rule]
	Raised   []rule
	EditRule *rule
}

// Tabs are the parts of the page.
func (d *notifyView) Tabs() []string {
	return []string{"channels", "subscriptions", "rules", "history"}
}

// Is reports whether a part is shown.
func (d *notifyView) Is(tab string) bool { return d.Tab == tab }

// Columns are those of the matrix.
func (d *notifyView) Columns() int { return len(d.Pinned) + 1 }

// ChannelName is what a channel is called.
func (d *notifyView) ChannelName(id string) string {
	for i := range d.all {
		if d.all[i].ID == id {
			return d.all[i].Name
		}
	}
	return id
}

func showNotify(v *view) error { return v.notify(&notifyView{Tab: v.Query("tab")}) }

// notify shows the page with what became of a form.
func (v *view) notify(d *notifyView) (err error) {
	if !slices.Contains(d.Tabs(), d.Tab) {
		d.Tab = "channels"
	}
	v.keep("tab", d.Tab)
	if d.picker, err = v.picker(); err != nil {
		return err
	}
	if d.Tab != "rules" {
		var out struct{ Channels []channel }
		if err := v.get(channelAPI, account(d.Account), &out); err != nil {
			return err
		}
		d.all = out.Channels
	}
	switch d.Tab {
	case "channels":
		err = v.channels(d)
	case "subscriptions":
		err = v.matrix(d)
	case "rules":
		err = v.rules(d)
	case "history":
		err = v.history(d)
	}
	if err != nil {
		return err
	}
	return v.render("notify.html", d)
}

// keep puts a value into the page's address, so that its links and searches have it: that of a form lacks it.
func (v *view) keep(name, value string) {
	r, u := *v.r, *v.r.URL
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	r.URL, v.r = &u, &r
}

// channels fills in the list and the form.
func (v *view) channels(d *notifyView) error {
	subs, err := v.subscriptions(d.Account)
	if err != nil {
		return err
	}
	for i := range d.all {
		for _, s := range subs {
			if s.Enabled && s.Channel == d.all[i].ID {
				d.all[i].Events++
			}
		}
	}
	d.Channels = listOf(v, d.all, func(c channel) string { return c.ID + " " + c.Name + " " + v.t("notify.kind."+c.Kind) }, order[channel]{
		"id": byText(func(c channel) string { return c.ID }), "name": byText(func(c channel) string { return c.Name }), "kind": byText(func(c channel) string { return c.Kind }),
		"updated": byNumber(func(c channel) int64 { return c.UpdatedAt.Unix() }),
	}, "id")
	id := v.Query("edit")
	if d.Edit != nil {
		id = d.Edit.ID
	}
	for i := range d.all {
		if c := &d.all[i]; c.ID == id {
			d.Edit, d.Kind = c, c.Kind
			if d.Form == nil {
				d.Form = &form{Values: url.Values{"name": {c.Name}}}
			}
		}
	}
	if d.Form == nil {
		if k := v.Query("new"); slices.Contains(channelKinds(), k) {
			d.Kind = k
		}
		d.Form = &form{Values: url.Values{"port": {"587"}, "security": {"starttls"}}}
	}
	return nil
}

// history fills in what became of the last messages.
func (v *view) history(d *notifyView) error {
	q := url.Values{"limit": {"200"}}
	if d.Account != "" {
		q.Set("account_id", d.Account)
	}
	if c := v.Query("cursor"); c != "" {
		q.Set("cursor", c)
	}
	var out struct {
		History []notice
		Next    string `json:"next_cursor"`
	}
	if err := v.get(notifyAPI+"/history", q, &out); err != nil {
		return err
	}
	d.Next = out.Next
	d.History = listOf(v, out.History, func(n notice) string {
		return strings.Join([]string{n.Event, n.Title, n.Content, n.Status, n.Failure, d.ChannelName(n.Channel)}, " ")
	}, order[notice]{
		"at": byNumber(func(n notice) int64 { return n.SentAt.UnixNano() }), "event": byText(func(n notice) string { return n.Event }),
		"channel": byText(func(n notice) string { return d.ChannelName(n.Channel) }), "status": byText(func(n notice) string { return n.Status }),
	}, "-at")
	return nil
}

// notifyLink is the address of a part of the page, with what was looked at.
func (v *view) notifyLink(tab string) string {
	v.keep("tab", tab)
	return v.back(notifyPath)
}

// refused shows a part again when a form on it was refused.
func (d *notifyView) refused(v *view, err error, whole bool) error {
	f, err := v.refused(atField(err), nil)
	if err != nil {
		return err
	}
	if whole {
		d.Form = f
	} else {
		d.Err = f.small()
	}
	return v.notify(d)
}

// atField finds the field that the API's words begin with: "config.url is missing", "name is required".
func atField(err error) error {
	var no *Refusal
	if !errors.As(err, &no) {
		return err
	}
	at := *no
	if at.Field == "" {
		if field, rest, ok := strings.Cut(at.Message, " "); ok && (strings.HasPrefix(field, "config.") || strings.HasPrefix(rest, "is required")) {
			at.Field, at.Message = field, rest
		}
	}
	if at.Field == "kind" || at.Field == "channel_type" { // those are not typed
		at.Message, at.Field = at.Field+": "+at.Message, ""
	}
	at.Field = strings.TrimPrefix(at.Field, "config.")
	if strings.HasPrefix(at.Field, "headers.") {
		at.Message, at.Field = strings.TrimPrefix(at.Field, "headers.")+" "+at.Message, "headers"
	}
	return &at
}

func createChannel(v *view) error {
	d := &notifyView{Tab: "channels", Kind: v.text("kind")}
	in, err := v.channelInput(d.Kind, true)
	if err == nil {
		if err = v.call(http.MethodPost, channelAPI, account(v.Query("account_id")), in, nil); err == nil {
			return v.done(v.notifyLink("channels"), "notify.made", in.Name)
		}
	}
	return d.refused(v, err, true)
}

func updateChannel(v *view) error {
	id := v.Query("id")
	d := &notifyView{Tab: "channels", Edit: &channel{ID: id, Name: v.text("name")}}
	in, err := v.channelInput(v.text("kind"), false)
	if err == nil {
		if err = v.call(http.MethodPut, channelAPI+"/"+url.PathEscape(id), nil, in, nil); err == nil {
			return v.done(v.notifyLink("channels"), "notify.saved", in.Name)
		}
	}
	return d.refused(v, err, true)
}

func switchChannel(v *view) error {
	on := v.Query("do") == "enable"
	err := v.call(http.MethodPut, channelAPI+"/"+url.PathEscape(v.text("id")), nil, map[string]bool{"enabled": on}, nil)
	if err != nil {
		return (&notifyView{Tab: "channels"}).refused(v, err, false)
	}
	word := "notify.enabled"
	if !on {
		word = "notify.disabled"
	}
	return v.done(v.notifyLink("channels"), word, v.text("name"))
}

func deleteChannel(v *view) error {
	err := v.confirmed(v.text("name"))
	if err == nil {
		err = v.call(http.MethodDelete, channelAPI+"/"+url.PathEscape(v.text("id")), nil, nil, nil)
	}
	if err != nil {
		return (&notifyView{Tab: "channels"}).refused(v, err, false)
	}
	return v.done(v.notifyLink("channels"), "notify.deleted", v.text("name"))
}

// bulkChannels switches or deletes those that are ticked.
func bulkChannels(v *view) error {
	what, n := v.text("what"), 0
	path := func(id string) string { return channelAPI + "/" + url.PathEscape(id) }
	var err error
	switch what {
	case "delete":
		n, err = v.eachDeleted(func(id string) error { return v.call(http.MethodDelete, path(id), nil, nil, nil) })
	case "enable", "disable":
		n, err = v.each(func(id string) error {
			return v.call(http.MethodPut, path(id), nil, map[string]bool{"enabled": what == "enable"}, nil)
		})
	default:
		err = &Refusal{Status: http.StatusBadRequest, Message: v.t("error.form")}
	}
	if err != nil {
		return (&notifyView{Tab: "channels"}).refused(v, err, false)
	}
	return v.done(v.notifyLink("channels"), "notify.bulk."+what, grouped(int64(n)))
}

// testChannel sends a message at once; what the service answered is told.
func testChannel(v *view) error {
	in := struct {
		Channel string `json:"channel_id"`
		Title   string `json:"title"`
		Content string `json:"content"`
	}{v.text("id"), v.t("notify.test.title"), v.t("notify.test.content")}
	if err := v.call(http.MethodPost, notifyAPI+"/test", nil, in, nil); err != nil {
		var no *Refusal
		if errors.As(err, &no) && no.Status != http.StatusUnauthorized {
			if no.Field != "" { // the service's words are no field of ours
				no.Message = no.Field + ": " + no.Message
			}
			err = &Refusal{Status: no.Status, Message: v.t("notify.test.failed", v.text("name"), no.Message)}
		}
		return (&notifyView{Tab: "channels"}).refused(v, err, false)
	}
	return v.done(v.notifyLink("channels"), "notify.tested", v.text("name"))
}
