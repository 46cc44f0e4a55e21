package web

import (
	"hash/fnv"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice/shared/core"
)

// AccessLog writes a line per request, in the form of the process's other log lines. It writes them itself: through a
// general logger they cost as much as authentication, admission and usage together.
type AccessLog struct {
	w      io.Writer
	json   bool
	sample float64
	bufs   sync.Pool
}

// NewAccessLog makes one that writes to w, which must take lines from many goroutines and should gather them. json chooses
// JSON over key=value. sample is the share of requests without an error that get a line, 0 to 1, chosen by their ids; such
// lines tell it, so that they can be counted up.
func NewAccessLog(w io.Writer, json bool, sample float64) *AccessLog {
	return &AccessLog{w: w, json: json, sample: sample, bufs: sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}}
}

// takes reports whether a request gets a line.
func (a *AccessLog) takes(status int, i *Info) bool {
	if a.sample >= 1 || status >= 400 || i.ErrorCode != "" {
		return true
	}
	h := fnv.New64a()
	_, _ = io.WriteString(h, i.ID)
	return float64(h.Sum64()>>11)/(1<<53) < a.sample
}

// write writes the line of one request. Errors of a log have nobody to go to.
func (a *AccessLog) write(rec *recorder, r *http.Request, i *Info) {
	status := rec.status
	switch {
	case status != 0:
	case r.Context().Err() != nil:
		status = 499 // the client left before there was an answer
	default:
		status = http.StatusOK // which net/http sends for a handler that wrote nothing
	}
	if !a.takes(status, i) {
		return
	}
	p := a.bufs.Get().(*[]byte)
	l := line{b: (*p)[:0], json: a.json}
	now := time.Now()
	l.begin(now)
	l.text("request_id", i.ID)
	l.text("method", r.Method)
	l.text("path", LoggedPath(r.URL.Path))
	l.number("status", int64(status))
	l.number("bytes", rec.bytes)
	l.millis("total_ms", now.Sub(i.Start))
	l.text("client", i.Client.String())
	l.maybe("account", i.Account)
	l.maybe("key", i.Key)
	l.maybe("key_prefix", i.KeyPrefix)
	l.maybe("model", i.Model)
	if i.Usage != nil {
		l.usage(i.Usage, i.Wire)
	}
	l.maybe("error", i.ErrorCode)
	if a.sample < 1 && status < 400 && i.ErrorCode == "" {
		l.name("sample")
		l.b = strconv.AppendFloat(l.b, a.sample, 'g', -1, 64)
	}
	l.end()
	_, _ = a.w.Write(l.b)
	*p = l.b
	a.bufs.Put(p)
}

// usage appends what is recorded of a request that reached the gateway. wire is the dialect of the node.
func (l *line) usage(s *core.Settlement, wire core.Dialect) {
	l.maybe("served_model", s.ServedModel)
	l.maybe("node", s.NodeName)
	l.maybe("dialect", string(s.Dialect))
	l.maybe("upstream_dialect", string(wire))
	l.flag("stream", s.Stream)
	l.number("attempts", int64(s.Attempts))
	l.number("tokens_in", s.Tokens.Input) // uncached
	l.number("tokens_cache_read", s.Tokens.CacheRead)
	l.number("tokens_cache_write", s.Tokens.CacheWrite5m+s.Tokens.CacheWrite1h)
	l.number("tokens_out", s.Tokens.Output)
	l.flag("estimated", s.Estimated)
	if s.Unpriced {
		l.flag("unpriced", true)
	} else {
		l.name("cost_usd")
		l.b = strconv.AppendFloat(l.b, float64(s.CostUSD)/1e6, 'f', -1, 64)
	}
	if s.FirstByteMS > 0 {
		l.number("first_byte_ms", s.FirstByteMS)
	}
	l.maybe("upstream_request_id", s.UpstreamID)
}

// LoggedPath is a path as logs may show it. A monitor's link, /monitor/share/TOKEN and the same below /api, works without a
// key, and so for whoever reads logs: "-" stands for all that follows, whether or not this process serves the path, with what
// method, and however its slashes and letters are doubled or mixed up.
func LoggedPath(path string) string {
	const share, param = "share", "share_token="
	if at := strings.Index(path, param); at >= 0 { // a query that was taken for a part of the path
		path = path[:at] + param + "-"
	}
	monitor := false // was the segment before
	for at := 0; at < len(path); {
		end := len(path)
		if n := strings.IndexByte(path[at:], '/'); n >= 0 {
			end = at + n
		}
		switch s := path[at:end]; {
		case s == "":
		case monitor && len(s) >= len(share) && strings.EqualFold(s[:len(share)], share) && !strings.EqualFold(s, "shares"):
			if end == len(path) && len(s) == len(share) {
				return path
			}
			return path[:at+len(share)] + "/-"
		default:
			monitor = strings.EqualFold(s, "monitor")
		}
		at = end + 1
	}
	return path
}

// line is a log line in the making.
type line struct {
	b    []byte
	json bool
}

func (l *line) begin(now time.Time) {
	if l.json {
		l.b = append(l.b, `{"time":"`...)
		l.b = now.AppendFormat(l.b, time.RFC3339Nano)
		l.b = append(l.b, `","level":"INFO","msg":"request"`...)
		return
	}
	l.b = append(l.b, "time="...)
	l.b = now.AppendFormat(l.b, "2006-01-02T15:04:05.000Z07:00")
	l.b = append(l.b, " level=INFO msg=request"...)
}

func (l *line) end() {
	if l.json {
		l.b = append(l.b, '}')
	}
	l.b = append(l.b, '\n')
}

func (l *line) name(s string) {
	if l.json {
		l.b = append(l.b, ',', '"')
		l.b = append(l.b, s...)
		l.b = append(l.b, '"', ':')
		return
	}
	l.b = append(l.b, ' ')
	l.b = append(l.b, s...)
	l.b = append(l.b, '=')
}

func (l *line) number(name string, n int64) {
	l.name(name)
	l.b = strconv.AppendInt(l.b, n, 10)
}

func (l *line) millis(name string, d time.Duration) {
	l.name(name)
	l.b = strconv.AppendFloat(l.b, float64(d.Microseconds())/1000, 'f', -1, 64)
}

func (l *line) flag(name string, v bool) {
	l.name(name)
	l.b = strconv.AppendBool(l.b, v)
}

func (l *line) maybe(name, s string) {
	if s != "" {
		l.text(name, s)
	}
}

// text appends a value that a client may have chosen: nothing in it can end the line or begin a field.
func (l *line) text(name, s string) {
	l.name(name)
	if l.json {
		l.b = appendJSON(l.b, s)
		return
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == '"' || s[i] == '=' || s[i] == '\\' {
			l.b = strconv.AppendQuote(l.b, s)
			return
		}
	}
	if s == "" {
		l.b = append(l.b, '"', '"')
		return
	}
	l.b = append(l.b, s...)
}

// appendJSON quotes s; every byte that needs care becomes an escape.
func appendJSON(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s { // invalid UTF-8 comes as U+FFFD
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029:
			b = append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		default:
			b = append(b, string(r)...)
		}
	}
	return append(b, '"')
}
