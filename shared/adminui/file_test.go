package adminui

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestFile: the links to files lead to whole files, or to a page in the reader's language that says why there is none; who has no
// session is led to the login, and from there to the page with the link.
func TestFile(t *testing.T) {
	const audit, usage = auditAPI + "/export?format=csv", usageAPI + "/export?what=logs&format=csv"
	for _, c := range []struct {
		why, target, lang string
		status            int
		body, cursor      string // of the API
		want              int
		location          string
		has               []string
	}{
		{"a whole log", audit, "en", 200, "seq,at", "", 200, "", []string{"seq,at", "!<html"}},
		{"a whole file of usage", usage, "en", 200, "id", "", 200, "", []string{"id", "!<html"}},
		{"a log that stops in the middle", audit, "en", 200, "seq,at", "7", 413, "", []string{"<html", "Choose a shorter time", "Audit log", "!seq,at"}},
		{"and in Chinese", audit, "zh", 200, "seq,at", "7", 413, "", []string{"<html", "请选择更短的时间范围", "!seq,at"}},
		{"a part that was asked for", audit + "&limit=1", "en", 200, "seq,at", "7", 200, "", []string{"seq,at"}},
		{"the next of such parts", audit + "&cursor=7", "en", 200, "seq,at", "9", 200, "", []string{"seq,at"}},
		{"usage that is too large", usage, "zh", 413, `{"error":"the export is larger than what can be sent in one piece"}`, "", 413, "", []string{"<html", "请选择更短的时间范围", "!x-next-cursor"}},
		{"other exports are under way", usage, "zh", 429, `{"error":"other exports are under way; try again when they have ended"}`, "", 429, "", []string{"<html", "其他导出正在进行", "!{&#34;"}},
		{"refused", audit, "en", 403, `{"error":"<b>forbidden"}`, "", 403, "", []string{"<html", "&lt;b&gt;forbidden"}},
		{"the session ended", audit, "en", 401, `{"error":"unauthorized"}`, "", 303, "/login?next=%2Fadmin%2Faudit", nil},
		{"the session ended, of usage", usage, "en", 401, `{"error":"unauthorized"}`, "", 303, "/login?next=%2Fadmin%2Fusage", nil},
	} {
		api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/admin/api/me" {
				_, _ = io.WriteString(w, adminMe)
				return
			}
			if c.status == 200 {
				w.Header().Set("Content-Type", "text/csv")
				w.Header().Set("Content-Disposition", `attachment; filename="x.csv"`)
			}
			if c.cursor != "" {
				w.Header().Set("X-Next-Cursor", c.cursor)
			}
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
			_ = http.NewResponseController(w).Flush() // which must not send the header of what is held back
		})
		r := requestOf("GET", c.target)
		r.Header.Set("Accept-Language", c.lang)
		console, w := New(Options{API: api}), httptest.NewRecorder()
		if !console.Handles(r) {
			t.Errorf("%s: not the console's", c.why)
		}
		console.ServeHTTP(w, r)
		isFile := w.Header().Get("Content-Disposition") != "" && w.Header().Get("Content-Type") == "text/csv"
		if w.Code != c.want || w.Header().Get("Location") != c.location || isFile != (c.want == 200) || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", c.why, w.Code, w.Header())
		}
		for _, text := range c.has {
			text, not := strings.CutPrefix(text, "!")
			if strings.Contains(w.Body.String(), text) == not {
				t.Errorf("%s: %q (unwanted: %v) in %s", c.why, text, not, w.Body)
			}
		}
	}
	r := requestOf("GET", audit)
	r.Header.Set("Accept", "*/*")
	if New(Options{}).Handles(r) {
		t.Error("a program's call is the API's own")
	}
}

// TestFileAsItComes: a file of any size goes through, and is not held.
func TestFileAsItComes(t *testing.T) {
	piece := strings.Repeat("x", 1<<20)
	w := httptest.NewRecorder()
	api := http.HandlerFunc(func(to http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/admin/api/me" {
			_, _ = io.WriteString(to, adminMe)
			return
		}
		for i := range maxAnswer>>20 + 2 {
			if _, err := io.WriteString(to, piece); err != nil {
				panic(err)
			}
			if err := http.NewResponseController(to).Flush(); err != nil || !w.Flushed || w.Body.Len() != (i+1)<<20 {
				panic(fmt.Sprint(i, w.Body.Len(), err))
			}
		}
	})
	New(Options{API: api}).ServeHTTP(w, requestOf("GET", usageAPI+"/export"))
	if w.Code != 200 || w.Body.Len() != maxAnswer+2<<20 {
		t.Errorf("%d, %d bytes", w.Code, w.Body.Len())
	}
}
