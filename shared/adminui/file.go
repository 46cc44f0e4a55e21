package adminui

import "net/http"

// filePage is the address of a file of the API for browsers: the file, or in words why there is none. of is the page that leads to
// it.
func filePage(path, of, title string) *page {
	return &page{path: path, of: of, title: title, show: showFile}
}

func showFile(v *view) error {
	f := &file{answer: answer{header: http.Header{}}, v: v}
	if err := v.ask(f, http.MethodGet, v.page.path, v.r.URL.Query(), nil); err != nil {
		return err
	}
	switch {
	case f.to != nil:
		return nil
	case f.part || f.status == http.StatusRequestEntityTooLarge && f.whole():
		return &Refusal{Status: http.StatusRequestEntityTooLarge, Message: v.t("error.part")}
	}
	return f.refusal(v)
}

// file passes a file of the API on to the browser as it comes. A refusal is held back, and so is a file that stops in the middle,
// which would look like a whole one, unless a part was asked for.
type file struct {
	answer
	v    *view
	to   http.ResponseWriter // nil: held back
	part bool
}

// whole reports whether all was asked for.
func (f *file) whole() bool { return f.v.Query("limit")+f.v.Query("cursor") == "" }

func (f *file) WriteHeader(status int) {
	f.answer.WriteHeader(status)
	if f.status != http.StatusOK || f.to != nil || f.part {
		return
	}
	if f.part = f.header.Get("X-Next-Cursor") != "" && f.whole(); f.part {
		return
	}
	f.to = f.v.w
	for _, name := range [...]string{"Content-Type", "Content-Disposition", "X-Next-Cursor"} {
		if h, ok := f.header[name]; ok {
			f.to.Header()[name] = h
		}
	}
	f.to.WriteHeader(f.status)
}

func (f *file) Write(p []byte) (int, error) {
	f.WriteHeader(http.StatusOK)
	switch {
	case f.to != nil:
		return f.to.Write(p)
	case f.part:
		return len(p), nil
	}
	return f.answer.Write(p)
}

// Unwrap is what is flushed, and has deadlines: nothing as long as the file is held back.
func (f *file) Unwrap() http.ResponseWriter { return f.to }
