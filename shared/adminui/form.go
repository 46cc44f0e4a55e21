package adminui

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// form is what a form shows: the values of an attempt that failed, and what was wrong with which.
type form struct {
	Values  url.Values
	Problem string // with the whole
	errors  map[string]string
	again   map[string]string // at secrets that were typed, and do not come back
}

// ValueOf is what a field shows.
func (f *form) ValueOf(name string) string { return f.Values.Get(name) }

// Has reports whether a box is ticked, or an option chosen.
func (f *form) Has(name, value string) bool {
	for _, v := range f.Values[name] {
		if v == value {
			return true
		}
	}
	return false
}

// ErrorOf is what is wrong with a field.
func (f *form) ErrorOf(name string) string {
	if f == nil {
		return ""
	}
	return cmp.Or(f.errors[name], f.again[name])
}

// refused makes a form to show again of what was sent and of why it was refused. names are the form's fields by the API's, where
// they differ. An error that is no refusal is returned. Secrets are not sent back: at each that was typed the form says so, or the
// next attempt would save what is weaker.
func (v *view) refused(err error, names map[string]string) (*form, error) {
	var no *Refusal
	if !errors.As(err, &no) || no.Status == http.StatusUnauthorized {
		return nil, err
	}
	f := &form{Values: v.form, errors: map[string]string{}, again: map[string]string{}}
	field := no.Field
	if n, ok := names[field]; ok {
		field = n
	}
	if field != "" && v.form.Has(field) {
		f.errors[field] = no.Message
	} else if no.Field != "" {
		f.Problem = no.Field + ": " + no.Message
	} else {
		f.Problem = no.Message
	}
	for _, name := range secretFields() {
		if f.Values.Get(name) != "" {
			f.Values.Del(name)
			f.again[name] = v.t("form.again")
		}
	}
	v.status = no.Status
	return f, nil
}

// secretFields are those of all forms, by the API's names.
func secretFields() []string {
	return []string{"password", "proxy_api_key", "api_key", "secret_access_key", "session_token", "external_id", "secret", "bot_token", "refresh_token", "client_secret"}
}

// emptied refuses a field that was there and is empty now, where that changes nothing for the API.
func (v *view) emptied(names ...string) error {
	for _, name := range names {
		if v.form.Has(name) && v.text(name) == "" {
			return &Refusal{Status: http.StatusBadRequest, Field: name, Message: v.t("form.needed")}
		}
	}
	return nil
}

// small is the form where its fields are not shown again: they were in a dialog, which is closed now, or in a row.
func (f *form) small() *form {
	for _, said := range f.errors {
		f.Problem = said
	}
	return f
}

// text is a field without what people paste around it.
func (v *view) text(name string) string { return strings.TrimSpace(v.form.Get(name)) }

// number is a field that may be empty; what is no number is refused at the field.
func (v *view) number(name string) (*int64, error) {
	s := v.text(name)
	if s == "" {
		return nil, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return nil, &Refusal{Status: http.StatusBadRequest, Field: name, Message: v.t("form.number")}
	}
	return &n, nil
}

// confirmed reports whether the name of what is to be destroyed was typed.
func (v *view) confirmed(name string) error {
	if v.text("confirm") != strings.TrimSpace(name) {
		return &Refusal{Status: http.StatusBadRequest, Field: "confirm", Message: v.t("form.confirm", name)}
	}
	return nil
}

// done sends the browser back to the page, which says so in the words of done.KEY. args stand for {0}...
func (v *view) done(to, key string, args ...string) error {
	q := url.Values{"done": append([]string{key}, args...)}
	sep := "?"
	if strings.Contains(to, "?") {
		sep = "&"
	}
	v.goTo(v.link(to) + sep + q.Encode())
	return nil
}

// DoneText are the words of what was done before the page was shown; empty: nothing.
func (v *view) DoneText() string {
	said := v.r.URL.Query()["done"]
	if len(said) == 0 {
		return ""
	}
	if _, ok := v.words["done."+said[0]]; !ok { // not what somebody put into a link
		return ""
	}
	for i, a := range said {
		if r := []rune(a); len(r) > 100 {
			said[i] = string(r[:100]) + "…"
		}
	}
	return v.t("done."+said[0], said[1:]...)
}
