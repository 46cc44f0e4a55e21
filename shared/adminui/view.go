package adminui

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sluice/shared/web"
)

// view is one request to the console.
type view struct {
	c      *Console
	w      http.ResponseWriter
	r      *http.Request
	page   *page
	id     string // what stood for {id}
	form   url.Values
	lang   string
	words  catalogue
	status int // of the answer; 0: 200

	content string // template of the page

	Me   me
	Data any // of the page
}

// me is who the browser's session is, as the API tells.
type me struct {
	AccountID   string `json:"account_id"`
	AccountName string `json:"account_name"`
	Admin       bool   `json:"is_admin"`
	Person      bool   `json:"person"` // signed in by password
	Version     string `json:"version"`
}

func (c *Console) view(w http.ResponseWriter, r *http.Request, p *page, id string) *view {
	lang := language(r)
	return &view{c: c, w: w, r: r, page: p, id: id, lang: lang, words: c.words[lang]}
}

// Refusal is an answer of the API that is no success, or one of the console's own.
type Refusal struct {
	Status  int
	Message string
	Field   string // of the form that it is about; empty: of none
}

// Error implements error.
func (e *Refusal) Error() string { return e.Message }

func (v *view) identify() error { return v.get("/admin/api/me", nil, &v.Me) }

func (v *view) get(path string, q url.Values, out any) error {
	return v.call(http.MethodGet, path, q, nil, out)
}

// maxAnswer bounds what the API may answer a page with.
const maxAnswer = 16 << 20

// call asks the API, and reads what it answers into out.
func (v *view) call(method, path string, q url.Values, in, out any) error {
	a := &answer{header: http.Header{}}
	if err := v.ask(a, method, path, q, in); err != nil {
		return err
	}
	for _, c := range a.header.Values("Set-Cookie") {
		v.w.Header().Add("Set-Cookie", c)
	}
	if a.status >= 300 {
		return a.refusal(v)
	}
	if out == nil || a.body.Len() == 0 {
		return nil
	}
	return json.Unmarshal(a.body.Bytes(), out)
}

// formData is a form as the API takes files: its fields, whose names are the console's own.
type formData map[string]string

// ask asks the API as the browser does: by its session, from its address, with what says from which site the request came. w takes
// the answer.
func (v *view) ask(w http.ResponseWriter, method, path string, q url.Values, in any) error {
	var body io.Reader = http.NoBody
	kind := "application/json"
	if form, ok := in.(url.Values); ok {
		body, kind = strings.NewReader(form.Encode()), "application/x-www-form-urlencoded"
	} else if up, ok := in.(formData); ok {
		mark, b := rand.Text(), &strings.Builder{}
		for name, text := range up {
			b.WriteString("--" + mark + "\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + text + "\r\n")
		}
		body, kind = strings.NewReader(b.String()+"--"+mark+"--\r\n"), "multipart/form-data; boundary="+mark
	} else if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(v.r.Context(), method, path, body)
	if err != nil {
		return err
	}
	r.URL.RawQuery = q.Encode()
	r.Host, r.RemoteAddr, r.TLS, r.RequestURI = v.r.Host, v.r.RemoteAddr, v.r.TLS, r.URL.RequestURI()
	for _, name := range [...]string{"Cookie", "Origin", "Sec-Fetch-Dest", "Sec-Fetch-Site", "User-Agent", "X-Forwarded-Proto"} {
		if h, ok := v.r.Header[name]; ok {
			r.Header[name] = h
		}
	}
	r.Header.Set("Content-Type", kind)
	r.Header.Set("Accept", "application/json")
	v.c.o.API.ServeHTTP(w, r)
	return nil
}

// answer takes what the API answers.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 {
		a.status = status
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.body.Len()+len(p) > maxAnswer {
		return 0, io.ErrShortBuffer
	}
	return a.body.Write(p)
}

func (a *answer) refusal(v *view) error {
	var e struct{ Error, Detail string }
	_ = json.Unmarshal(a.body.Bytes(), &e)
	no := &Refusal{Status: a.status, Message: e.Error}
	if no.Message == "" {
		no.Message = v.t("error.internal")
	}
	if field, rest, ok := strings.Cut(no.Message, ": "); ok && field != "" && !strings.ContainsAny(field, " ,") {
		no.Field, no.Message = field, rest
	} else if field, ok := strings.CutSuffix(no.Message, " is required"); ok && field != "" && !strings.ContainsAny(field, " ,") {
		no.Field, no.Message = field, v.t("form.required")
	}
	no.Message = translate(v.lang, no.Message)
	return no
}

// link makes a path of ours into one that the browser can follow behind a prefix.
func (v *view) link(path string) string {
	if u, err := url.Parse(v.c.o.PublicURL); err == nil && v.c.o.PublicURL != "" {
		return strings.TrimRight(u.Path, "/") + path
	}
	return web.Prefix(v.r.Context()) + path
}

// T are the words of a key in the reader's language.
func (v *view) T(key string, args ...string) string { return v.t(key, args...) }

// Say is a text of the API in the reader's language, where it is one of its own.
func (v *view) Say(text string) string { return translate(v.lang, text) }

// Lang is the reader's language, as HTML names it.
func (v *view) Lang() string { return v.lang }

// OtherLang is what the switch leads to.
func (v *view) OtherLang() string {
	if v.lang == languages[0] {
		return languages[1]
	}
	return languages[0]
}

// LinkTo is link, for templates.
func (v *view) LinkTo(path string) string { return v.link(path) }

// Asset is the address of one of the console's files.
func (v *view) Asset(name string) string { return v.link(v.c.assets.path(name)) }

// PageTitle is the page's, in words.
func (v *view) PageTitle() string { return v.t(v.page.title) }

// Inside reports whether the page is for those who have signed in.
func (v *view) Inside() bool { return !v.page.open }

// Wide reports whether a page without the frame needs the room.
func (v *view) Wide() bool { return v.page.wide && v.status < 300 }

// Self is the page's own address.
func (v *view) Self() string { return v.link(v.r.URL.Path) }

// Return is where the language switch comes back to: the page with its query, but for a key and another site's address in it.
func (v *view) Return() string {
	return v.With("page", v.Query("page"), "admin_key", "", "next", cmp.Or(next(v.Query("next")), next(v.form.Get("next"))))
}

// Query is a value of the page's query.
func (v *view) Query(name string) string { return v.r.URL.Query().Get(name) }

// GatewayVersion is the gateway's.
func (v *view) GatewayVersion() string { return v.c.o.Version }

// Now is the time of the answer.
func (v *view) Now() time.Time { return v.c.o.Now().UTC() }
