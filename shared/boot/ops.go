package boot

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"sluice"
	"sluice/shared/release"
	"sluice/shared/store"
	"sluice/shared/web"
)

// ops serves what load balancers, Docker and people ask without a key.
type ops struct {
	app     *App
	version string
	home    func(*http.Request) string // where a browser that asks for / is sent; nil: it gets what others get
	store   store.Store
	mu      sync.Mutex
	at      time.Time
	counts  counts
	err     error
}

type counts struct{ Nodes, EnabledNodes, Keys, Accounts int }

// countsFor is how long /health may show old numbers: it needs no key, so it must not cost a look at the store each time.
const countsFor = 5 * time.Second

func (o *ops) serve(w http.ResponseWriter, r *http.Request) bool {
	switch r.URL.Path {
	case "/", "/health", "/livez", "/readyz", "/version", "/changelog":
	default:
		return false
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	web.FromContext(r.Context()).Quiet = true
	switch r.URL.Path {
	case "/":
		if o.home != nil && r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html") {
			http.Redirect(w, r, o.home(r), http.StatusSeeOther)
			return true
		}
		reply(w, r, http.StatusOK, map[string]any{"name": "sluice", "version": o.version})
	case "/version":
		reply(w, r, http.StatusOK, versionOf(o.version, release.Read()))
	case "/changelog":
		w.Header().Set("Content-Type", "text/markdown; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if r.Method != http.MethodHead {
			_, _ = io.WriteString(w, sluice.Changelog())
		}
	case "/livez":
		reply(w, r, http.StatusOK, map[string]any{"status": "alive"})
	case "/readyz":
		o.ready(w, r)
	case "/health":
		o.health(w, r)
	}
	return true
}

// versionView is which program this is, with the names of the older gateway. What is not known is empty.
type versionView struct {
	Version string `json:"version"`
	Commit  string `json:"git_commit"`
	Built   string `json:"build_date"`         // RFC 3339
	Beijing string `json:"build_date_beijing"` // the same, "2006-01-02 15:04:05" eight hours ahead of UTC
	Go      string `json:"go_version"`
}

func versionOf(version string, i release.Info) versionView {
	v := versionView{Version: version, Commit: i.Commit, Go: i.Go}
	if !i.Date.IsZero() {
		v.Built, v.Beijing = i.Date.Format(time.RFC3339), i.Date.Add(8*time.Hour).Format(time.DateTime)
	}
	return v
}

func (o *ops) ready(w http.ResponseWriter, r *http.Request) {
	if o.app.Drain.Started() {
		reply(w, r, http.StatusServiceUnavailable, map[string]any{"status": "shutting down"})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if err := o.store.Ping(ctx); err != nil {
		o.app.log.Error("store not ready", "error", err)
		reply(w, r, http.StatusServiceUnavailable, map[string]any{"status": "store not ready"})
		return
	}
	reply(w, r, http.StatusOK, map[string]any{"status": "ready"})
}

func (o *ops) health(w http.ResponseWriter, r *http.Request) {
	c, err := o.count(r.Context())
	if err == nil {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		err = o.store.Ping(ctx)
	}
	if err != nil {
		o.app.log.Error("health check", "error", err)
		reply(w, r, http.StatusServiceUnavailable, map[string]any{"status": "unhealthy", "version": o.version, "error": "the store does not answer; see the log"})
		return
	}
	status := "healthy"
	if o.app.Drain.Started() {
		status = "shutting down"
	}
	reply(w, r, http.StatusOK, map[string]any{"status": status, "version": o.version, "accounts": c.Accounts, "nodes": c.Nodes, "keys": c.Keys,
		"active_accounts": c.EnabledNodes, "active_api_keys": c.Keys}) // the last two as the amazonq pool named them
}

func (o *ops) count(ctx context.Context) (counts, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.at.IsZero() && time.Since(o.at) < countsFor {
		return o.counts, o.err
	}
	// not the caller's cancellation: what is found is kept for the others
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	var c counts
	nodes, err := o.app.Tables.Nodes.All(ctx, "")
	for _, n := range nodes {
		c.Nodes++
		if !n.Value.Disabled {
			c.EnabledNodes++
		}
	}
	if err == nil {
		keys, kerr := o.app.Tables.Keys.All(ctx, "")
		err = kerr
		for _, k := range keys {
			if ok, _ := k.Value.Usable(o.app.now()); ok {
				c.Keys++
			}
		}
	}
	if err == nil {
		accounts, aerr := o.app.Tables.Accounts.All(ctx, "")
		c.Accounts, err = len(accounts), aerr
	}
	o.at, o.counts, o.err = time.Now(), c, err
	return c, err
}

func reply(w http.ResponseWriter, r *http.Request, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_ = json.NewEncoder(w).Encode(v)
	}
}
