package web_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode"

	"sluice/shared/core"
	"sluice/shared/web"
)

func TestAccessLog(t *testing.T) {
	for _, c := range []struct{ reason, path, model, key string }{
		{"an ordinary request", "/v1/messages", "claude-sonnet-5", "2"},
		{"a path that tries to end the line", "/v1/a\nlevel=ERROR msg=forged", "m", "2"},
		{"a model that tries to begin a field", "/v1/messages", `x" account=root y="`, "2"},
		{"a model of control characters and bad UTF-8", "/v1/messages", "\x00\x1b[31m\u009b31m\xff\u2028", "2"},
	} {
		for _, asJSON := range []bool{false, true} {
			var out bytes.Buffer
			h := web.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				i := web.FromContext(r.Context())
				i.Account, i.Key, i.KeyPrefix, i.Model, i.Wire = "default", c.key, "slui", c.model, core.DialectAnthropic
				i.Usage = &core.Settlement{NodeName: "n 1", ServedModel: "s" + c.model, Dialect: core.DialectOpenAIChat, Stream: true, Attempts: 2, CostUSD: 1230,
					FirstByteMS: 17, Tokens: core.Tokens{Input: 3, CacheRead: 4, CacheWrite5m: 1, CacheWrite1h: 5, Output: 5}}
				_, _ = w.Write([]byte("four"))
			}), web.Options{Log: slog.New(slog.DiscardHandler), Access: web.NewAccessLog(&out, asJSON, 1)})
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			r.URL.Path = c.path
			h.ServeHTTP(httptest.NewRecorder(), r)
			if n := strings.Count(out.String(), "\n"); n != 1 {
				t.Errorf("%s: %d lines: %q", c.reason, n, out.String())
			}
			if !asJSON {
				for _, want := range []string{" msg=request ", " status=200 bytes=4 ", " account=default ", " key_prefix=slui ", ` node="n 1" `, " dialect=openai-chat upstream_dialect=anthropic stream=true attempts=2 ",
					" tokens_in=3 tokens_cache_read=4 tokens_cache_write=6 tokens_out=5 estimated=false cost_usd=0.00123 first_byte_ms=17\n"} {
					if !strings.Contains(out.String(), want) {
						t.Errorf("%s: no %q in %q", c.reason, want, out.String())
					}
				}
				if strings.Contains(out.String(), " account=root") && !strings.Contains(out.String(), `\" account=root`) {
					t.Errorf("%s: a field was forged: %q", c.reason, out.String())
				}
				continue
			}
			if strings.ContainsFunc(strings.TrimSuffix(out.String(), "\n"), unicode.IsControl) {
				t.Errorf("%s: a terminal would be steered by %q", c.reason, out.String())
			}
			var got struct {
				Path, Model, Msg string
				Status           int
				TokensIn         int     `json:"tokens_in"`
				Cost             float64 `json:"cost_usd"`
				Stream           bool
			}
			if err := json.Unmarshal(out.Bytes(), &got); err != nil {
				t.Errorf("%s: %v in %q", c.reason, err, out.String())
			} else if got.Path != c.path || got.Model != strings.ToValidUTF8(c.model, "\ufffd") || got.Status != 200 || got.TokensIn != 3 || got.Cost != 0.00123 || !got.Stream || got.Msg != "request" {
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
		h := web.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("x") }), web.Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Access: web.NewAccessLog(&access, true, 1),
			Error: func(w http.ResponseWriter, _ *http.Request, _ *core.Error) { w.WriteHeader(500) }})
		r := httptest.NewRequest(http.MethodOptions, "/", nil)
		r.URL.Path = c.path
		h.ServeHTTP(httptest.NewRecorder(), r)
		if s := access.String() + log.String(); strings.Contains(s, "T0KEN") || strings.Count(s, "path") < 2 {
			t.Errorf("%s: the logs: %s", c.why, s)
		}
	}
}

// TestAccessLogSample: of successes the share that was asked for has a line, each of which tells the share; of failures all.
func TestAccessLogSample(t *testing.T) {
	for _, c := range []struct {
		why      string
		sample   float64
		status   int
		code     string
		from, to int // lines of 2000
	}{
		{"all", 1, 200, "", 2000, 2000},
		{"a tenth", 0.1, 200, "", 120, 280},
		{"none", 0, 200, "", 0, 0},
		{"errors are not sampled", 0, 429, "", 2000, 2000},
		{"nor those that came after the status", 0.1, 200, "upstream_error", 2000, 2000},
	} {
		var out bytes.Buffer
		h := web.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			web.FromContext(r.Context()).ErrorCode = c.code
			w.WriteHeader(c.status)
		}), web.Options{Log: slog.New(slog.DiscardHandler), Access: web.NewAccessLog(&out, false, c.sample)})
		for range 2000 {
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
		}
		n, told := strings.Count(out.String(), "\n"), strings.Count(out.String(), " sample=0.1\n")
		if n < c.from || n > c.to {
			t.Errorf("%s: %d lines", c.why, n)
		}
		if want := map[bool]int{true: n}[c.sample == 0.1 && c.code == ""]; told != want {
			t.Errorf("%s: %d lines tell the share, not %d", c.why, told, want)
		}
	}
}

var settled = &core.Settlement{NodeName: "default", ServedModel: "claude-sonnet-5", Dialect: core.DialectAnthropic, Stream: true, Attempts: 1, CostUSD: 123456,
	FirstByteMS: 17, Tokens: core.Tokens{Input: 312, CacheRead: 40123, Output: 512}}

func BenchmarkAccessLog(b *testing.B) {
	h := web.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i := web.FromContext(r.Context())
		i.Account, i.Key, i.KeyPrefix, i.Model, i.Wire, i.Usage = "default", "2", "slui", "claude-sonnet-5", core.DialectAnthropic, settled
	}), web.Options{Log: slog.New(slog.DiscardHandler), Access: web.NewAccessLog(discard{}, false, 1)})
	r := httptest.NewRequest(http.MethodPost, "/v1/messages", nil)
	w := httptest.NewRecorder()
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
