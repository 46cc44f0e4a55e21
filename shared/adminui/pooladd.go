package adminui

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

func createPool(v *view) error {
	d := &poolView{Add: "hand"}
	in, err := v.poolInput("")
	if err == nil {
		if in.APIKey != "" && v.text("api") == "q" {
			in.API = "" // whose keys they are
		}
		var out poolAccount
		if err = v.call(http.MethodPost, poolAPI, account(v.Query("account_id")), in, &out); err == nil {
			if d.Warning = out.Warning; d.Warning != "" {
				return v.pool(d)
			}
			return v.done(v.poolBack(), "pool.made", in.Name)
		}
	}
	if d.Form, err = v.refused(err, nil); err != nil {
		return err
	}
	return v.pool(d)
}

// poolLogin is a device login as the API tells of it.
type poolLogin struct {
	ID          string      `json:"id"`
	Status      string      `json:"status"`
	UserCode    string      `json:"user_code"`
	URI         string      `json:"verification_uri"`
	URIComplete string      `json:"verification_uri_complete"`
	ExpiresIn   int64       `json:"expires_in"`
	Interval    int         `json:"interval"`
	Account     poolAccount `json:"account"`

	Problem string    `json:"-"` // why it cannot go on, or why it was not told
	Again   bool      `json:"-"` // the problem may pass
	Until   time.Time `json:"-"`
	Poll    string    `json:"-"` // where the page asks again
}

// Pending reports whether there is a use in asking again.
func (l *poolLogin) Pending() bool {
	return l.Again || l.Status == "pending" || l.Status == "slow_down"
}

// ConfirmAt is where the user confirms: of an address that is no web page nothing is made.
func (l *poolLogin) ConfirmAt() string {
	u := cmp.Or(l.URIComplete, l.URI)
	if !strings.HasPrefix(u, "https://") && !strings.HasPrefix(u, "http://") {
		return ""
	}
	return u
}

// Every is how often the page asks.
func (l *poolLogin) Every() string { return fmt.Sprintf("%ds", cmp.Or(max(l.Interval, 0), 5)) }

// Left is the time that is left, as a clock shows it.
func (l *poolLogin) Left() string {
	n := max(l.ExpiresIn, 0)
	return fmt.Sprintf("%d:%02d", n/60, n%60)
}

// loginInput is what a device login begins with.
type loginInput struct {
	Name     string `json:"name,omitempty"`
	StartURL string `json:"start_url,omitempty"`
	Region   string `json:"region,omitempty"`
	Profile  string `json:"profile_arn,omitempty"`
	API      string `json:"api,omitempty"`
	RPM      *int64 `json:"requests_per_minute,omitempty"`
}

func beginLogin(v *view) error {
	d := &poolView{Add: "login"}
	in := loginInput{Name: v.text("name"), StartURL: v.text("start_url"), Region: v.text("region"), Profile: v.text("profile_arn"), API: v.text("api")}
	var err error
	if in.RPM, err = v.number("requests_per_minute"); err == nil {
		var l poolLogin
		if err = v.call(http.MethodPost, poolAPI+"/login", account(v.Query("account_id")), in, &l); err == nil {
			v.goTo(v.poolLoginLink(l.ID))
			return nil
		}
	}
	if d.Form, err = v.refused(err, nil); err != nil {
		return err
	}
	return v.pool(d)
}

// poolLoginLink is the page with a login on it: whoever began it may load it anew.
func (v *view) poolLoginLink(id string) string {
	q := url.Values{"login": {id}}
	if a := v.Query("account_id"); a != "" {
		q.Set("account_id", a)
	}
	return v.link(poolAPI) + "?" + q.Encode()
}

// askLogin asks how a login stands, for d to show. done: it is complete, and the browser was sent on.
func (v *view) askLogin(id string, d *poolView) (done bool, err error) {
	l := &poolLogin{}
	d.Login, d.Add = l, "login"
	err = v.call(http.MethodPost, poolAPI+"/login/"+url.PathEscape(id), nil, nil, l)
	var no *Refusal
	switch {
	case errors.As(err, &no) && no.Status != http.StatusUnauthorized:
		l.Problem, l.Again = no.Message, no.Status >= 500 || no.Status == http.StatusTooManyRequests
	case err != nil:
		return false, err
	case l.Status == "complete":
		return true, v.done(v.poolBack(), "pool.login", l.Account.Name)
	}
	l.ID, l.Until, l.Poll = id, v.Now().Add(time.Duration(l.ExpiresIn)*time.Second), v.poolLoginLink(id)+"&do=poll"
	return false, nil
}

// pollLogin is askLogin for a browser without scripts, and for the page's own asking.
func pollLogin(v *view) error {
	d := &poolView{}
	done, err := v.askLogin(v.Query("login"), d)
	switch {
	case err != nil || done:
		return err
	case v.part() == "login":
		return v.render("pool.html", d)
	}
	return v.pool(d)
}

// poolImport is an import: what was given, and what would become or became of it.
type poolImport struct {
	Form   *form
	Text   string     // of the preview, for the import to send again
	More   url.Values // what else was filled in, as Text
	Report *importReport
}

// taken is an account that an import makes, or made.
type taken struct {
	Entry string `json:"entry"`
	ID    int64  `json:"id"`
	Name  string `json:"name"`
}

// importReport is the API's answer to an import.
type importReport struct {
	DryRun  bool    `json:"dry_run"`
	Taken   []taken `json:"taken"`
	Skipped []struct {
		Entry string `json:"entry"`
		Why   string `json:"why"`
	} `json:"skipped"`
}

// importInput is what an import is given.
type importInput struct {
	Text string `json:"text"`
}

// previewImport reads a file or a text and tells what would be made of it. Nothing is.
func previewImport(v *view) error { return v.importPool(true) }

func doImport(v *view) error { return v.importPool(false) }

func (v *view) importPool(dry bool) error {
	d := &poolView{Add: "import", Import: &poolImport{Form: &form{}}}
	text, from, err := v.importText()
	if err == nil {
		q := url.Values{}
		if a := v.Query("account_id"); a != "" {
			q.Set("account_id", a)
		}
		if dry {
			q.Set("dry_run", "true")
		}
		var out struct {
			importReport
			Account *taken                 // of one account's upload, in the place of a report
			Token   struct{ Error string } `json:"token_refresh"`
		}
		more := v.importMore()
		text = strings.TrimPrefix(strings.TrimSpace(text), "\ufeff")
		one := strings.HasPrefix(text, "{")
		switch {
		case len(more) > 0 && !one && !strings.HasPrefix(text, "["):
			err = &Refusal{Status: http.StatusBadRequest, Field: "text", Message: v.t("pool.import.more.json")}
		case len(more) > 0 && !dry: // the call that takes them has no preview
			up := formData{"json_file": text}
			for name := range more {
				up[name] = more.Get(name)
			}
			err = v.call(http.MethodPost, poolAPI+"/upload-json", q, up, &out)
		default:
			err = v.call(http.MethodPost, poolAPI+"/import", q, importInput{text}, &out)
		}
		if err == nil {
			if out.Account != nil {
				out.Account.Entry = "1"
				out.Taken = []taken{*out.Account}
			}
			if why := out.Token.Error; why != "" {
				d.Warning = v.t("pool.import.stale", v.Say(why))
			}
			if dry {
				if d.Import.Text, d.Import.More = text, more; one && len(out.Taken) == 1 && more.Has("name") {
					out.Taken[0].Name = more.Get("name")
				}
			}
			d.Import.Report = &out.importReport
			return v.pool(d)
		}
	}
	f, err := v.refused(err, map[string]string{"text": from, "json_file": from})
	if err != nil {
		return err
	}
	d.Import.Form = f
	return v.pool(d)
}

// importMore is what of the form is said of the accounts beside the text.
func (v *view) importMore() url.Values {
	more := url.Values{}
	for _, name := range [...]string{"name", "profile_arn", "requests_per_minute", "notes"} {
		if s := v.text(name); s != "" {
			more.Set(name, s)
		}
	}
	return more
}

// importText is the text of the form's file, else what was pasted; from is the field that it stood in.
func (v *view) importText() (text, from string, err error) {
	if strings.HasPrefix(v.r.Header.Get("Content-Type"), "multipart/form-data") {
		if err := v.r.ParseMultipartForm(maxForm); err != nil {
			v.form = url.Values{}
			var large *http.MaxBytesError
			if errors.As(err, &large) {
				return "", "", &Refusal{Status: http.StatusRequestEntityTooLarge, Message: v.t("pool.import.large")}
			}
			return "", "", &Refusal{Status: http.StatusBadRequest, Message: v.t("error.form")}
		}
		v.form = url.Values(v.r.MultipartForm.Value)
		if files := v.r.MultipartForm.File["file"]; len(files) > 0 && files[0].Size > 0 {
			v.form.Set("file", "")
			f, err := files[0].Open()
			if err != nil {
				return "", "", err
			}
			defer func() { _ = f.Close() }()
			data, err := io.ReadAll(f)
			if err != nil {
				return "", "", err
			}
			if !utf8.Valid(data) {
				return "", "file", &Refusal{Status: http.StatusBadRequest, Field: "file", Message: v.t("pool.import.utf8")}
			}
			return string(data), "file", nil
		}
	}
	if text = v.form.Get("text"); strings.TrimSpace(text) == "" {
		v.form.Set("text", "")
		return "", "text", &Refusal{Status: http.StatusBadRequest, Field: "text", Message: v.t("pool.import.empty")}
	}
	return text, "text", nil
}
