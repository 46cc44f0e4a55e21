package adminui

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"sluice/shared/web"
)

func setupPages() []*page {
	return []*page{{path: "/admin/setup", title: "setup.title", menu: "menu.tools", show: showSetup,
		acts: map[string]func(*view) error{"show": showSetup, "file": setupFile}}}
}

const (
	defaultModel = "claude-sonnet-5-5"
	smallModel   = "claude-haiku-5-5"

	// keyPlace stands for the key in what the page shows. The browser puts the key in; it is never sent here.
	keyPlace = "YOUR_KEY"

	maxRules = 200 // of what Claude Code may and may not do
)

// What an address and a model may be made of. The two stand in shells, TOML, JSON and source code between quotes, so nothing
// that ends a text there, or means something within it, may be in them.
var (
	addressForm = regexp.MustCompile(`^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*$|^https?://\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*$`)
	modelForm   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}(\[[A-Za-z0-9]{1,10}\])?$`)
)

func modelName(s string) bool { return modelForm.MatchString(s) }

// setupView is the page.
type setupView struct {
	Form     *form
	Models   []string
	Groups   []setupGroup
	KeyPlace string
	Local    bool // the address is one that other machines do not reach
}

// setupGroup is what a client needs.
type setupGroup struct {
	ID, Title, Text string // keys of the catalogue
	Snippets        []snippet
}

// snippet is a text to copy, or a file.
type snippet struct {
	ID    string
	Title string // key of the catalogue, or what the file is called where it has a place
	Place string // of the file, on the client's machine
	File  string // its name as it is downloaded; empty: it is none
	Text  string
}

// client is what the snippets are made of.
type client struct {
	URL, Model, Small string
	Allow, Deny       []string
}

// showSetup shows the page for what the form says; before it was sent, for this gateway's own address.
func showSetup(v *view) error {
	d := &setupView{KeyPlace: keyPlace}
	var err error
	if d.Models, err = v.models(); err != nil {
		return err
	}
	c, err := v.client()
	if err != nil {
		f, err := v.refused(err, nil)
		if err != nil {
			return err
		}
		d.Form = f
		return v.render("setup.html", d)
	}
	d.Form = &form{Values: url.Values{"url": {c.URL}, "model": {c.Model}, "small": {c.Small}, "allow": {strings.Join(c.Allow, "\n")}, "deny": {strings.Join(c.Deny, "\n")}}}
	d.Groups, d.Local = snippets(c), local(c.URL)
	return v.render("setup.html", d)
}

// setupFile answers with a file as a download, for browsers without scripts. The key's place is where it was.
func setupFile(v *view) error {
	c, err := v.client()
	if err != nil {
		return showSetup(v)
	}
	for _, g := range snippets(c) {
		for _, s := range g.Snippets {
			if s.ID == v.form.Get("id") && s.File != "" {
				h := v.w.Header()
				h.Set("Content-Type", "application/octet-stream")
				h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": s.File}))
				_, _ = v.w.Write([]byte(s.Text))
				return nil
			}
		}
	}
	return &Refusal{Status: http.StatusNotFound, Message: v.t("error.form")}
}

// client reads the form. Only a form that was posted counts: a link must not be able to name an address that people then send
// their keys to.
func (v *view) client() (client, error) {
	c := client{URL: v.gateway(), Model: defaultModel, Small: smallModel}
	if v.r.Method != http.MethodPost {
		return c, nil
	}
	c = client{URL: strings.TrimSuffix(strings.TrimRight(v.text("url"), "/"), "/v1"), Model: v.text("model"), Small: v.text("small")}
	no := func(field, word string) (client, error) {
		return c, &Refusal{Status: http.StatusBadRequest, Field: field, Message: v.t(word)}
	}
	switch {
	case len(c.URL) > 300 || !addressForm.MatchString(c.URL):
		return no("url", "setup.url.bad")
	case !modelName(c.Model):
		return no("model", "setup.model.bad")
	case c.Small != "" && !modelName(c.Small):
		return no("small", "setup.model.bad")
	}
	for name, out := range map[string]*[]string{"allow": &c.Allow, "deny": &c.Deny} {
		for line := range strings.Lines(v.form.Get(name)) {
			if line = strings.TrimSpace(line); line != "" {
				*out = append(*out, line)
			}
		}
		if len(*out) > maxRules {
			return no(name, "setup.rules.bad")
		}
	}
	return c, nil
}

// gateway is this gateway's address for clients: what PUBLIC_URL says, else as the browser asked.
func (v *view) gateway() string {
	if v.c.o.PublicURL != "" {
		return strings.TrimRight(v.c.o.PublicURL, "/")
	}
	scheme := "http"
	if first, _, _ := strings.Cut(v.r.Header.Get("X-Forwarded-Proto"), ","); v.r.TLS != nil || strings.EqualFold(strings.TrimSpace(first), "https") {
		scheme = "https"
	}
	u := scheme + "://" + v.r.Host + web.Prefix(v.r.Context())
	if !addressForm.MatchString(u) { // a Host that is none
		return "http://localhost:8000"
	}
	return u
}

// local reports whether only this machine reaches an address.
func local(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	host := u.Hostname()
	return host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.")
}

// claudeSettings is Claude Code's settings.json.
type claudeSettings struct {
	Env struct {
		URL   string `json:"ANTHROPIC_BASE_URL"`
		Token string `json:"ANTHROPIC_AUTH_TOKEN"`
		Small string `json:"ANTHROPIC_DEFAULT_HAIKU_MODEL,omitempty"`
	} `json:"env"`
	Model       string       `json:"model"`
	Permissions *permissions `json:"permissions,omitempty"`
}

type permissions struct {
	Allow []string `json:"allow,omitempty"`
	Deny  []string `json:"deny,omitempty"`
}

func settingsJSON(c client) string {
	s := claudeSettings{Model: c.Model}
	s.Env.URL, s.Env.Token, s.Env.Small = c.URL, keyPlace, c.Small
	if len(c.Allow)+len(c.Deny) > 0 {
		s.Permissions = &permissions{c.Allow, c.Deny}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	_ = e.Encode(s) // texts can be encoded
	return b.String()
}
