package adminui

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// setting is a field of a kind of channels. Label and Hint are keys of the catalogue.
type setting struct {
	Name, Type  string // text, password, number, url, choice, lines
	Needed      bool
	Label, Hint string
	Choices     []string
}

// channelKinds are the kinds that can be made here. The API knows more names of the same.
func channelKinds() []string {
	return []string{"webhook", "slack", "wecom", "dingtalk", "feishu", "telegram", "email", "sns"}
}

// settingsOf are the fields of a kind.
func settingsOf(kind string) []setting {
	hook := setting{Name: "webhook_url", Type: "url", Needed: true, Label: "notify.config.webhook_url"}
	robot := []setting{hook, {Name: "secret", Type: "password", Label: "notify.config.secret", Hint: "notify.hint.robot"}, {Name: "keyword", Type: "text", Label: "notify.config.keyword", Hint: "notify.hint.keyword"}}
	switch kind {
	case "webhook":
		return []setting{{Name: "url", Type: "url", Needed: true, Label: "notify.config.url"}, {Name: "secret", Type: "password", Label: "notify.config.secret", Hint: "notify.hint.secret"},
			{Name: "headers", Type: "lines", Label: "notify.config.headers", Hint: "notify.hint.headers"}}
	case "slack", "wecom", "wechat_work", "wechat_personal":
		return []setting{hook}
	case "dingtalk", "feishu":
		return robot
	case "telegram":
		return []setting{{Name: "bot_token", Type: "password", Needed: true, Label: "notify.config.bot_token", Hint: "notify.hint.bot_token"}, {Name: "chat_id", Type: "text", Needed: true, Label: "notify.config.chat_id", Hint: "notify.hint.chat_id"}}
	case "email":
		return []setting{{Name: "host", Type: "text", Needed: true, Label: "notify.config.host"}, {Name: "port", Type: "number", Label: "notify.config.port"},
			{Name: "security", Type: "choice", Label: "notify.config.security", Choices: []string{"starttls", "tls", "none"}},
			{Name: "username", Type: "text", Label: "notify.config.username"}, {Name: "password", Type: "password", Label: "notify.config.password"},
			{Name: "from", Type: "text", Needed: true, Label: "notify.config.from"}, {Name: "to", Type: "lines", Needed: true, Label: "notify.config.to", Hint: "notify.hint.to"}}
	case "sns":
		return []setting{{Name: "topic_arn", Type: "text", Needed: true, Label: "notify.config.topic_arn"}, {Name: "access_key_id", Type: "text", Label: "notify.config.access_key_id", Hint: "notify.hint.aws"},
			{Name: "secret_access_key", Type: "password", Label: "notify.config.secret_access_key"}, {Name: "session_token", Type: "password", Label: "notify.config.session_token"}}
	}
	return nil
}

// Kinds are the kinds of channels.
func (d *notifyView) Kinds() []string { return channelKinds() }

// Settings are the fields of the form's kind.
func (d *notifyView) Settings() []setting { return settingsOf(d.Kind) }

// channelInput is what a form says of a channel. Without a config the one that there is stays.
type channelInput struct {
	Name   string                     `json:"name"`
	Kind   string                     `json:"channel_type"`
	Config map[string]json.RawMessage `json:"config,omitempty"`
}

// channelInput reads the form of a channel. Settings go in as a whole: the API gives none out that the others could be added to.
func (v *view) channelInput(kind string, fresh bool) (in channelInput, err error) {
	in = channelInput{Name: v.text("name"), Kind: kind, Config: map[string]json.RawMessage{}}
	if in.Name == "" {
		return in, &Refusal{Status: http.StatusBadRequest, Field: "name", Message: v.t("form.needed")}
	}
	fields := settingsOf(kind)
	if fields == nil {
		return in, &Refusal{Status: http.StatusBadRequest, Message: v.t("error.form")}
	}
	told := fresh
	for _, f := range fields {
		told = told || v.text(f.Name) != ""
	}
	if !told {
		in.Config = nil
		return in, nil
	}
	for _, f := range fields {
		s := v.text(f.Name)
		if s == "" {
			if f.Needed || !fresh && (f.Type == "choice" || f.Type == "number") { // the old one would become the API's default without a word
				return in, &Refusal{Status: http.StatusBadRequest, Field: f.Name, Message: v.t("form.needed")}
			}
			continue
		}
		var value any = s
		switch {
		case f.Type == "number":
			n, err := v.number(f.Name)
			if err != nil {
				return in, err
			}
			value = n
		case f.Name == "to":
			value = v.lines("to")
		case f.Name == "headers":
			if value, err = v.headers(); err != nil {
				return in, err
			}
		}
		if in.Config[f.Name], err = json.Marshal(value); err != nil {
			return in, err
		}
	}
	return in, nil
}

// headers reads lines of "name: value".
func (v *view) headers() (map[string]string, error) {
	out := map[string]string{}
	for line := range strings.Lines(v.form.Get("headers")) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, &Refusal{Status: http.StatusBadRequest, Field: "headers", Message: v.t("notify.header.line", line)}
		}
		out[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return out, nil
}

// subscription is a type of events that a channel is told.
type subscription struct {
	ID      string `json:"id"`
	Channel string `json:"channel_id"`
	Event   string `json:"event_type"`
	Enabled bool   `json:"enabled"`
}

// eventType is a type of events as the catalogue tells.
type eventType struct {
	Type          string `json:"type"`
	Category      string `json:"category"`
	Description   string `json:"description"`
	DescriptionZH string `json:"description_zh"`

	Cells []cell
}

// cell is a box of the matrix.
type cell struct {
	Value, Channel string
	On             bool
}

// TextIn is what it is, in the reader's language.
func (e *eventType) TextIn(lang string) string {
	if lang == languages[1] && e.DescriptionZH != "" {
		return e.DescriptionZH
	}
	return e.Description
}

// eventGroup are the types of a category.
type eventGroup struct {
	Name  string
	Types []eventType
}

func (v *view) subscriptions(id string) ([]subscription, error) {
	var out struct{ Subscriptions []subscription }
	err := v.get(subsAPI, account(id), &out)
	return out.Subscriptions, err
}

// matrix fills in which channel is told what.
func (v *view) matrix(d *notifyView) error {
	subs, err := v.subscriptions(d.Account)
	if err != nil {
		return err
	}
	on := map[string]bool{}
	for _, s := range subs {
		on[s.Channel+" "+s.Event] = s.Enabled
	}
	var out struct {
		Types []eventType `json:"event_types"`
	}
	if err := v.get(notifyAPI+"/event-types", nil, &out); err != nil {
		return err
	}
	d.Pinned = d.all
	for _, e := range out.Types {
		for _, c := range d.all {
			value := c.ID + " " + e.Type
			e.Cells = append(e.Cells, cell{Value: value, Channel: c.Name, On: on[value]})
		}
		i := slices.IndexFunc(d.Groups, func(g eventGroup) bool { return g.Name == e.Category })
		if i < 0 {
			d.Groups, i = append(d.Groups, eventGroup{Name: e.Category}), len(d.Groups)
		}
		d.Groups[i].Types = append(d.Groups[i].Types, e)
	}
	return nil
}

// subscribe saves what was changed in the matrix, and nothing else: somebody may have changed other boxes meanwhile.
func subscribe(v *view) error {
	d := &notifyView{Tab: "subscriptions"}
	add := map[string][]string{}
	for _, value := range v.form["on"] {
		if id, event, ok := strings.Cut(value, " "); ok && !slices.Contains(v.form["was"], value) {
			add[id] = append(add[id], event)
		}
	}
	for id, events := range add {
		in := struct {
			Channel string   `json:"channel_id"`
			Events  []string `json:"event_types"`
		}{id, events}
		if err := v.call(http.MethodPost, subsAPI, nil, in, nil); err != nil {
			return d.refused(v, err, false)
		}
	}
	subs, err := v.subscriptions(v.Query("account_id"))
	if err != nil {
		return d.refused(v, err, false)
	}
	for _, s := range subs {
		value := s.Channel + " " + s.Event
		if !slices.Contains(v.form["was"], value) || slices.Contains(v.form["on"], value) {
			continue
		}
		err := v.call(http.MethodDelete, subsAPI+"/"+url.PathEscape(s.ID), nil, nil, nil)
		if err != nil {
			return d.refused(v, err, false)
		}
	}
	return v.done(v.notifyLink("subscriptions"), "notify.subscribed")
}
