package adminui

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// login is what the login page shows again after an attempt that failed.
type login struct {
	Problem  string
	Username string
	ByKey    bool
	Next     string
}

func showLogin(v *view) error {
	if v.identify() == nil {
		v.goTo(v.link(cmp.Or(next(v.Query("next")), "/admin")))
		return nil
	}
	return v.render("login.html", &login{Next: next(v.Query("next"))})
}

// next is where a login leads, if it is a path of the console: another site's address, or one that browsers take for one, is not.
func next(path string) string {
	if !strings.HasPrefix(path, "/admin") || strings.ContainsAny(path, "\\\r\n") || strings.HasPrefix(path, "//") {
		return ""
	}
	return path
}

// noSession answers who has none, or none any more: with the way to the login page. What a form brought is not lost: the browser
// still holds it, and sends it again when the answer is loaded anew after a login in another tab.
func (v *view) noSession() {
	q := url.Values{}
	_, err := v.r.Cookie("session_token")
	had := err == nil
	switch {
	case v.r.Method == http.MethodPost && had && v.r.Header.Get("HX-Request") == "" && v.c.cop.Check(v.r) == nil:
		_, _ = io.Copy(io.Discard, http.MaxBytesReader(v.w, v.r.Body, cmp.Or(v.page.body, maxForm))) // or the browser is cut off while it sends
		v.page = &page{path: v.page.path, title: "ended.title", open: true}
		v.status = http.StatusUnauthorized
		err := v.render("ended.html", nil)
		if err == nil {
			return
		}
		v.c.o.Log.Error("console page failed", "error", err)
	case v.r.Method == http.MethodGet && v.page.path != "/admin":
		to := v.r.URL.Path
		if v.page.of != "" { // a login that leads to a file leads nowhere
			to = v.page.of
		} else if v.r.URL.RawQuery != "" && v.r.Header.Get("HX-Request") == "" {
			to += "?" + v.r.URL.RawQuery
		}
		q.Set("next", to)
	}
	if had {
		q.Set("done", "login.ended")
	}
	to := v.link("/login")
	if len(q) > 0 {
		to += "?" + q.Encode()
	}
	v.goTo(to)
}

func doLogin(v *view) error {
	l := &login{Username: v.form.Get("username"), ByKey: v.form.Has("admin_key"), Next: next(v.form.Get("next"))}
	in := url.Values{"username": {l.Username}, "password": v.form["password"]}
	if l.ByKey {
		in = url.Values{"admin_key": v.form["admin_key"]}
	}
	return v.entered(v.call(http.MethodPost, "/login", nil, in, nil), l)
}

// followLink opens a session by a link with a key, which leaves the address. Where the browser has somebody else's session, as
// when another site sent it here, the API says so, and the reader is asked: the form of that page comes back to the same address.
func (v *view) followLink(key string) error {
	v.page = v.c.pages["/login"]
	l := &login{ByKey: true, Next: next(v.r.URL.Path)}
	if v.r.Method == http.MethodPost {
		if v.c.cop.Check(v.r) != nil {
			return &Refusal{Status: http.StatusForbidden, Message: v.t("error.origin")}
		}
		return v.entered(v.call(http.MethodPost, "/login", nil, url.Values{"admin_key": {key}}, nil), l)
	}
	err := v.call(http.MethodGet, "/admin", url.Values{"admin_key": {key}}, nil, nil)
	if no, ok := err.(*Refusal); ok && no.Status == http.StatusConflict {
		if err := v.identify(); err != nil {
			var no *Refusal
			if !errors.As(err, &no) || no.Status != http.StatusUnauthorized {
				return err
			}
			v.Me = me{} // nobody is signed in, and another site led here
		}
		v.page = &page{path: "/login", title: "login.other.title", open: true}
		return v.render("loginother.html", nil)
	}
	return v.entered(err, l)
}

// entered leads on who has signed in; err is the API's answer, and a redirect is its success.
func (v *view) entered(err error, l *login) error {
	if no, ok := err.(*Refusal); ok && no.Status != http.StatusSeeOther {
		v.status, l.Problem = no.Status, no.Message
		return v.render("login.html", l)
	} else if err != nil && !ok {
		return err
	}
	v.goTo(v.link(cmp.Or(l.Next, "/admin")))
	return nil
}

func doLanguage(v *view) error {
	lang := v.form.Get("lang")
	for _, l := range languages {
		if l == lang {
			http.SetCookie(v.w, &http.Cookie{Name: langCookie, Value: l, Path: v.link("/"), MaxAge: 365 * 24 * 3600, HttpOnly: true,
				SameSite: http.SameSiteLaxMode, Secure: v.r.TLS != nil || strings.HasPrefix(v.c.o.PublicURL, "https://")})
		}
	}
	to, back := v.link("/admin"), v.form.Get("back")
	path, _, _ := strings.Cut(strings.TrimPrefix(back, v.link("")), "?") // it may be behind a prefix, or outside /admin
	if p, _ := v.c.page(path); p != nil || next(back) != "" {
		to = back
	}
	v.goTo(to)
	return nil
}
