package web_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/web"
)

func TestAccessLog(t *testing.T) {
	for _, c := range []struct{ reason, path, model, key string }{
		{"an ordinary request", "/v1/messages", "claude-sonnet-5", "2"},
		{"a path that tries to end the line", "/v1/a\nlevel=ERROR msg=forged", "m", "2"},
		{"a model that tries to begin a field", "/v1/messages", `x" account=root y="`, "2"},
		{"a model of control characters and bad UTF-8", "/v1/messages", "\x00\x1b[31m\xff\u2028", "2"},
	} {
		for _, asJSON := range []bool{false, true} {
			var out bytes.Buffer
			h := web.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				i := web.FromContext(r.Context())
				i.Account, i.Key, i.Model, i.Attempts = "default", c.key, c.model, 1
				i.Tokens = core.Tokens{Input: 3, CacheRead: 4, Output: 5}
				_, _ = w.Write([]byte("four"))
			}), web.Options{Log: slog.New(slog.DiscardHandler), Access: web.NewAccessLog(&out, asJSON)})
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			r.URL.Path = c.path
			h.ServeHTTP(httptest.NewRecorder(), r)
			if n := strings.Count(out.String(), "\n"); n != 1 {
				t.Errorf("%s: %d lines: %q", c.reason, n, out.String())
			}
			if !asJSON {
				for _, want := range []string{" msg=request ", " status=200 bytes=4 ", " account=default ", " tokens_in=7 tokens_out=5\n"} {
					if !strings.Contains(out.String(), want) {
						t.Errorf("%s: no %q in %q", c.reason, want, out.String())
					}
				}
				if strings.Contains(out.String(), " account=root") && !strings.Contains(out.String(), `\" account=root`) {
					t.Errorf("%s: a field was forged: %q", c.reason, out.String())
				}
				continue
			}
			var got struct {
				Path, Model, Msg string
				Status           int
				TokensIn         int `json:"tokens_in"`
			}
			if err := json.Unmarshal(out.Bytes(), &got); err != nil {
				t.Errorf("%s: %v in %q", c.reason, err, out.String())
			} else if got.Path != c.path || got.Model != strings.ToValidUTF8(c.model, "\ufffd") || got.Status != 200 || got.TokensIn != 7 || got.Msg != "request" {
				t.Errorf("%s: %+v", c.reason, got)
			}
		}
	}
}

// TestLoggedPath: tokens of monitor links reached the log whenever no handler had taken them out of the path first: with
// another method, another slash, or in a process that does not serve the path.
func TestLoggedPath(t *testing.T) {
	for _, c := range []struct{ why, path, want string }{
		{"the page", "/monitor/share/T0KEN", "/monitor/share/-"},
		{"the call", "/api/monitor/share/T0KEN", "/api/monitor/share/-"},
		{"a slash behind", "/api/monitor/share/T0KEN/", "/api/monitor/share/-"},
		{"two slashes", "/api/monitor/share//T0KEN", "/api/monitor/share/-"},
		{"slashes elsewhere", "//monitor//share/T0KEN", "//monitor//share/-"},
		{"below a stage", "/prod/monitor/share/T0KEN", "/prod/monitor/share/-"},
		{"more behind", "/monitor/share/a/T0KEN?x", "/monitor/share/-"},
		{"capitals", "/Monitor/SHARE/T0KEN", "/Monitor/SHARE/-"},
		{"a slash that was escaped twice", "/monitor/share%2FT0KEN", "/monitor/share/-"},
		{"a query that was escaped", "/api/nodes/1/health-history?share_token=T0KEN", "/api/nodes/1/health-history?share_token=-"},
		{"after another monitor", "/monitor/monitor/share/T0KEN", "/monitor/monitor/share/-"},
		{"no token", "/api/monitor/share", "/api/monitor/share"},
		{"a share's id is no secret", "/api/monitor/shares/share-abc", "/api/monitor/shares/share-abc"},
		{"another path", "/v1/messages", "/v1/messages"},
		{"another share", "/share/x/monitor/y/share/z", "/share/x/monitor/y/share/z"},
		{"the root", "/", "/"},
		{"nothing", "", ""},
	} {
		if got := web.LoggedPath(c.path); got != c.want {
			t.Errorf("%s: %q is logged as %q, want %q", c.why, c.path, got, c.want)
		}
		var access, log bytes.Buffer
		h := web.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("x") }), web.Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Access: web.NewAccessLog(&access, true),
			Error: func(w http.ResponseWriter, _ *http.Request, _ *core.Error) { w.WriteHeader(500) }})
		r := httptest.NewRequest(http.MethodOptions, "/", nil)
		r.URL.Path = c.path
		h.ServeHTTP(httptest.NewRecorder(), r)
		if s := access.String() + log.String(); strings.Contains(s, "T0KEN") || strings.Count(s, "path") < 2 {
			t.Errorf("%s: the logs: %s", c.why, s)
		}
	}
}

func BenchmarkAccessLog(b *testing.B) {
	h := web.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i := web.FromContext(r.Context())
		i.Account, i.Key, i.Model, i.Node, i.Attempts = "default", "2", "claude-sonnet-5", "default", 1
	}), web.Options{Log: slog.New(slog.DiscardHandler), Access: web.NewAccessLog(discard{}, false)})
	r := httptest.NewRequest(http.MethodPost, "/v1/messages", nil)
	w := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
