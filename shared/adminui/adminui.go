// Package adminui is the web console: pages over the admin API, in English and Simplified Chinese. A page asks the API as
// the browser's session would, within the process, so that what an account may see and do is decided in one place; the
// console holds no rights and no data of its own.
//
// It has more than 1,500 lines because each page has its view here, and they share one frame, one catalogue of words and one
// way to ask and to answer.
package adminui

import (
	"bytes"
	"cmp"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	template "github.com/DataDog/datadog-agent/pkg/template/html"

	"sluice/shared/web"
)

// Options are what a console is made of.
type Options struct {
	API       http.Handler // the admin API
	PublicURL string       // address of the gateway for browsers; empty: as the request was addressed
	Version   string
	Streams   bool            // answers reach the browser as they are written: live parts may be event streams
	Ending    <-chan struct{} // closed when the server begins to shut down, which ends those streams; nil: never
	Log       *slog.Logger
	Now       func() time.Time // nil: time.Now
}

// Console is the http.Handler of the pages. It is safe for concurrent use.
type Console struct {
	o      Options
	pages  map[string]*page
	words  map[string]catalogue
	tmpl   *template.Template
	cop    *http.CrossOriginProtection
	assets *assets

	watchers watchers
	pace     pace
}

// page is one page of the console.
type page struct {
	path  string // {id} stands for one segment
	title string // key of the catalogue; the menu and the heading say it
	menu  string // group of the menu; empty: it is not in there
	of    string // the page that leads to this one, which is a file; empty: it is none
	icon  string
	admin bool  // of administrators alone: others are not shown the way to it, and the API refuses them
	open  bool  // without a session
	live  bool  // it has a part that is told as it changes
	wide  bool  // an open page that needs the room
	body  int64 // bytes that a form of it may have; 0: maxForm
	show  func(*view) error
	acts  map[string]func(*view) error // forms of the page, by the value of their field "do"
}

// New makes a console.
func New(o Options) *Console {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Console{o: o, assets: loadAssets(), words: catalogues(), cop: http.NewCrossOriginProtection()}
	if u, err := url.Parse(o.PublicURL); err == nil && u.Host != "" {
		_ = c.cop.AddTrustedOrigin(u.Scheme + "://" + u.Host) // what browsers name as their origin behind a proxy that changes Host
	}
	c.pages = make(map[string]*page)
	for _, p := range pages() {
		c.pages[p.path] = p
	}
	c.tmpl = parseTemplates(c)
	return c
}

// Handles reports whether the console serves the request: the console's files, its pages where a browser asks for one, and the
// forms on them.
func (c *Console) Handles(r *http.Request) bool {
	if strings.HasPrefix(r.URL.Path, assetPath) {
		return true
	}
	p, _ := c.page(r.URL.Path)
	if p == nil {
		return false
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return strings.Contains(r.Header.Get("Accept"), "text/html") || r.Header.Get("HX-Request") != ""
	case http.MethodPost:
		// a script that posts a form to the API's own paths names no "do", and is no browser that confirms a link with a key
		return r.URL.Query().Has("do") || !p.open && r.URL.Query().Has("admin_key") && strings.Contains(r.Header.Get("Accept"), "text/html")
	}
	return false
}

// page finds the page of a path, and what stands for {id} in it.
func (c *Console) page(path string) (p *page, id string) {
	path = strings.TrimSuffix(path, "/")
	if path == "/admin/dashboard" { // as the older guides have it
		path = "/admin"
	}
	if p := c.pages[path]; p != nil {
		return p, ""
	}
	at := strings.LastIndexByte(path, '/')
	if at < 0 {
		return nil, ""
	}
	if p := c.pages[path[:at]+"/{id}"]; p != nil && path[at+1:] != "" {
		return p, path[at+1:]
	}
	return nil, ""
}

// policy lets the browser load nothing but this console's own files, and run nothing that stands in a page.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; manifest-src 'none'"

// ServeHTTP implements http.Handler.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "strict-origin")
	if strings.HasPrefix(r.URL.Path, assetPath) {
		c.assets.serve(w, r)
		return
	}
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Accept, Accept-Language, Cookie, HX-Request")
	p, id := c.page(r.URL.Path)
	if p == nil {
		http.NotFound(w, r)
		return
	}
	if c.streamed(r, p) {
		c.live(w, r, p, id)
		return
	}
	v := c.view(w, r, p, id)
	if err := v.serve(); err != nil {
		v.fail(err)
	}
}

// serve answers with the page, or with what became of one of its forms.
func (v *view) serve() error {
	if key := v.r.URL.Query().Get("admin_key"); key != "" && (v.r.Method == http.MethodGet || v.r.Method == http.MethodPost && !v.r.URL.Query().Has("do")) {
		return v.followLink(key)
	}
	if !v.page.open {
		if err := v.identify(); err != nil {
			return err
		}
	}
	if v.r.Method != http.MethodPost {
		return v.page.show(v)
	}
	// the API refuses what changes something; forms that only show something, or ask it nothing, must not be sent from elsewhere either
	if v.c.cop.Check(v.r) != nil {
		return &Refusal{Status: http.StatusForbidden, Message: v.t("error.origin")}
	}
	act := v.page.acts[v.r.URL.Query().Get("do")]
	if act == nil {
		return &Refusal{Status: http.StatusNotFound, Message: v.t("error.form")}
	}
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, cmp.Or(v.page.body, maxForm))
	if err := v.r.ParseForm(); err != nil {
		return &Refusal{Status: http.StatusBadRequest, Message: v.t("error.form")}
	}
	v.form = v.r.PostForm
	return act(v)
}

const maxForm = 1 << 20

// fail answers with an error: the login page to who has no session, else words in the page's frame.
func (v *view) fail(err error) {
	var no *Refusal
	if !errors.As(err, &no) {
		v.c.o.Log.Error("console page failed", "request_id", web.FromContext(v.r.Context()).ID, "path", v.page.path, "error", err)
		no = &Refusal{Status: http.StatusInternalServerError, Message: v.t("error.internal")}
	}
	if no.Status == http.StatusUnauthorized && !v.page.open {
		v.noSession()
		return
	}
	v.status = no.Status
	if err := v.render(errorPage, no); err != nil {
		v.c.o.Log.Error("console page failed", "error", err)
		http.Error(v.w, no.Message, no.Status)
	}
}

// goTo sends the browser to an address of ours.
func (v *view) goTo(to string) {
	if v.r.Header.Get("HX-Request") != "" {
		v.w.Header().Set("HX-Redirect", to)
		v.w.WriteHeader(http.StatusNoContent)
		return
	}
	http.Redirect(v.w, v.r, to, http.StatusSeeOther)
}

// pageHeader marks what the console itself answers: its script puts nothing else into a page, as what is in front of the gateway
// may answer in its place.
const pageHeader = "X-Sluice-Page"

const errorPage = "error.html"

// render answers with a template in the frame; a request of htmx gets the block of the page alone that it names.
func (v *view) render(name string, data any) error {
	v.Data = data
	t := v.c.tmpl.Lookup(name)
	block := "frame.html"
	if v.page.open {
		block = "bare.html"
	}
	if part := v.part(); part != "" {
		block = name // an error, where a part was asked for
		if b := strings.TrimSuffix(name, ".html") + "/" + part; v.c.tmpl.Lookup(b) != nil {
			block = b
		}
	}
	if t == nil {
		return errors.New("no template " + name)
	}
	v.content = name
	var b bytes.Buffer
	if err := v.c.tmpl.ExecuteTemplate(&b, block, v); err != nil {
		return err
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.Header().Set("Content-Language", v.lang)
	v.w.Header().Set(pageHeader, "page")
	if name == errorPage {
		v.w.Header().Set(pageHeader, "error")
	}
	body := b.Bytes()
	if gzipped(v.r) {
		v.w.Header().Set("Content-Encoding", "gzip")
		body = squeeze(body)
	}
	if v.status == 0 {
		v.status = http.StatusOK
	}
	v.w.WriteHeader(v.status)
	_, _ = v.w.Write(body) // the status is out
	return nil
}

// part is the block of the page that a request of htmx asks for, by the id of what it fills; of one in a row of a list the
// row's number behind a dash is left out. Empty: the whole page.
func (v *view) part() string {
	if v.r.Header.Get("HX-Request") == "" {
		return ""
	}
	_, part, _ := strings.Cut(v.r.Header.Get("HX-Target"), "#")
	return strings.TrimRight(part, "-0123456789")
}

// Menu are the groups of the menu with the pages that the reader may open.
func (v *view) Menu() (out []menuGroup) {
	for _, p := range pages() {
		if p.menu == "" || p.admin && !v.Me.Admin {
			continue
		}
		i := slices.IndexFunc(out, func(g menuGroup) bool { return g.Name == p.menu })
		if i < 0 {
			out, i = append(out, menuGroup{Name: p.menu}), len(out)
		}
		out[i].Items = append(out[i].Items, menuItem{Path: v.link(p.path), Title: p.title, Icon: p.icon, Here: p.path == v.page.path || p.path == v.page.of || p.path+"/{id}" == v.page.path})
	}
	return out
}

type menuGroup struct {
	Name  string
	Items []menuItem
}

type menuItem struct {
	Path, Title, Icon string
	Here              bool
}
