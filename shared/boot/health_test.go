package boot_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/boot"
	"sluice/shared/boot/boottest"
	"sluice/shared/core"
	"sluice/shared/notify"
)

// inbox is a webhook's receiver.
type inbox struct {
	url string
	mu  sync.Mutex
	got []string
}

func newInbox(t *testing.T) *inbox {
	in := &inbox{}
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		in.mu.Lock()
		defer in.mu.Unlock()
		in.got = append(in.got, string(b))
	}))
	t.Cleanup(srv.Close)
	in.url = srv.URL
	return in
}

func (in *inbox) of(t core.EventType) (n int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, b := range in.got {
		if strings.Contains(b, `"`+string(t)+`"`) {
			n++
		}
	}
	return n
}

// subscribe sends events of the default account to the inbox.
func (in *inbox) subscribe(t *testing.T, g *boottest.Gateway, events ...core.EventType) *notify.Tables {
	t.Helper()
	hub := notify.New(notify.Options{Docs: g.Store, Leases: g.Store, Box: g.Box, Now: g.Now, Log: slog.New(slog.DiscardHandler)})
	raw, err := json.Marshal(map[string]string{"url": in.url})
	if err != nil {
		t.Fatal(err)
	}
	conf, err := notify.ParseConfig(notify.KindWebhook, raw)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hub.Channels.Create(t.Context(), notify.Channel{ID: "chn-1", Account: core.DefaultAccount, Kind: notify.KindWebhook, Enabled: true, Config: hub.Seal("chn-1", conf)}); err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		s := notify.Subscription{ID: "sub-" + string(e), Account: core.DefaultAccount, Channel: "chn-1", Event: e, Enabled: true}
		if _, err := hub.Subscriptions.Create(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	return hub.Tables
}

// TestAFailureIsTold: from a health check that fails a node to the operator's webhook, and back, each once.
func TestAFailureIsTold(t *testing.T) {
	g := boottest.Start(t, probeEnv)
	in := newInbox(t)
	in.subscribe(t, g, core.EventNodeFailed, core.EventNodeRecovered)
	u := newUpstream(t, 500)
	n := addNode(t, g, core.Node{BaseURL: u.url}, "")
	for range 2 {
		if _, err := g.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := g.Notify(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	u.status = 200
	g.Advance(time.Minute)
	if rep, err := g.ProbeDue(t.Context()); err != nil || rep.Recovered != 1 {
		t.Errorf("%+v, %v, %+v", rep, err, stateOf(t, g, n))
	}
	rep, err := g.Notify(t.Context())
	if err != nil || rep.Sent != 1 || rep.Left != 0 {
		t.Errorf("%+v, %v", rep, err)
	}
	if in.of(core.EventNodeFailed) != 1 || in.of(core.EventNodeRecovered) != 1 {
		t.Errorf("%q", in.got)
	}
	if c, err := g.Tables.Checks.Get(t.Context(), n.ID); err != nil || c.Value.Told != core.Online {
		t.Errorf("%+v, %v", c.Value, err)
	}
}

// TestTrafficIsTold: the same of a node that requests found failed, without any health check.
func TestTrafficIsTold(t *testing.T) {
	u := newUpstream(t, 500)
	g := boottest.Start(t, map[string]string{"PROXY_FAIL_THRESHOLD": "1", "PROXY_RETRY_MAX": "1", "UPSTREAM_ALLOW_PRIVATE": "true",
		"UPSTREAM_BASE_URL": u.url, "UPSTREAM_API_KEY": "k-12345678901234567890", "DEFAULT_PROXY_API_KEY": "alpha-proxy-key-123"})
	in := newInbox(t)
	in.subscribe(t, g, core.EventNodeFailed, core.EventRequestFailed)
	g.Call("POST", "/v1/messages", question, "x-api-key", "alpha-proxy-key-123")
	if rep, err := g.Notify(t.Context()); err != nil || rep.Sent != 2 || in.of(core.EventNodeFailed) != 1 || in.of(core.EventRequestFailed) != 1 {
		t.Errorf("%+v, %v, %q", rep, err, in.got)
	}
	days, err := g.Tables.Days.All(t.Context(), "")
	if err != nil || len(days) != 1 || days[0].Value.Checks[0].Condition != core.Failed || days[0].Value.Checks[0].Source != core.SourceTraffic {
		t.Errorf("%+v, %v", days, err)
	}
}

// TestAnAlertIsSent by the same run that found it.
func TestAnAlertIsSent(t *testing.T) {
	g := boottest.Start(t, probeEnv)
	in := newInbox(t)
	tables := in.subscribe(t, g, core.EventAlert, core.EventAlertEnded)
	u := newUpstream(t, 500)
	addNode(t, g, core.Node{BaseURL: u.url}, "")
	if _, err := tables.Rules.Create(t.Context(), notify.Rule{ID: "alr-1", Account: core.DefaultAccount, Kind: notify.RuleNodeDown, Threshold: 5, Enabled: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		why           string
		status        int
		raised, ended int
	}{{"not yet", 500, 0, 0}, {"after 6 minutes", 500, 1, 0}, {"once", 500, 0, 0}, {"it is back", 200, 0, 1}} {
		u.mu.Lock()
		u.status = c.status
		u.mu.Unlock()
		if _, err := g.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
		rep, err := g.Notify(t.Context())
		if err != nil || rep.Raised != c.raised || rep.Ended != c.ended || rep.Sent != c.raised+c.ended {
			t.Errorf("%s: %+v, %v", c.why, rep, err)
		}
		g.Advance(6 * time.Minute)
	}
	if in.of(core.EventAlert) != 1 || in.of(core.EventAlertEnded) != 1 {
		t.Errorf("%q", in.got)
	}
}

// TestCheckNode: the admin's button.
func TestCheckNode(t *testing.T) {
	g := boottest.Start(t, probeEnv)
	u := newUpstream(t, 200)
	n := addNode(t, g, core.Node{BaseURL: u.url, HealthMethod: core.CheckCLI}, "status 500")
	found, err := g.CheckNode(t.Context(), n)
	if err != nil || !found.OK || found.Source != core.SourceManual || found.Method != core.CheckAPI || stateOf(t, g, n).Failed {
		t.Errorf("%+v, %v", found, err)
	}
	if last, err := g.Tables.Checks.Get(t.Context(), n.ID); err != nil || last.Value.Last.Source != core.SourceManual {
		t.Errorf("%+v, %v", last.Value, err)
	}
}

// TestWarmupSettings: the older gateway's variables are heard.
func TestWarmupSettings(t *testing.T) {
	for _, c := range []struct {
		why   string
		env   map[string]string
		asked int
	}{
		{"by default", nil, 1},
		{"two of two", map[string]string{"WARMUP_REQUIRED_SUCCESS": "2"}, 2},
		{"four of five", map[string]string{"WARMUP_ATTEMPTS": "5", "WARMUP_REQUIRED_SUCCESS": "4"}, 4},
		{"off", map[string]string{"WARMUP_ENABLED": "0", "WARMUP_REQUIRED_SUCCESS": "2"}, 1},
	} {
		env := map[string]string{}
		for k, v := range probeEnv {
			env[k] = v
		}
		for k, v := range c.env {
			env[k] = v
		}
		g := boottest.Start(t, env)
		u := newUpstream(t, 200)
		addNode(t, g, core.Node{BaseURL: u.url}, "status 500")
		if rep, err := g.Probe(t.Context()); err != nil || rep.Recovered != 1 || u.count() != c.asked {
			t.Errorf("%s: %+v, %v, asked %d times", c.why, rep, err, u.count())
		}
	}
}

// TestNotificationsAreGuarded: a webhook of a tenant must not reach this machine's network.
func TestNotificationsAreGuarded(t *testing.T) {
	g := boottest.Start(t, map[string]string{"PROXY_FAIL_THRESHOLD": "1"})
	in := newInbox(t)
	tables := in.subscribe(t, g, core.EventNodeFailed)
	addNode(t, g, core.Node{BaseURL: "http://127.0.0.1:1"}, "status 500")
	if _, err := g.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rep, err := g.Notify(t.Context()); err != nil || rep.Sent != 0 || len(in.got) != 0 {
		t.Errorf("%+v, %v, %q", rep, err, in.got)
	}
	ns, err := tables.Notices.All(t.Context(), "")
	if err != nil || len(ns) != 1 || !strings.Contains(ns[0].Value.Error, "not public") {
		t.Errorf("%+v, %v", ns, err)
	}
}

// TestAWSFromEnvironment: half a credential is none.
func TestAWSFromEnvironment(t *testing.T) {
	if boot.AWSFromEnvironment(map[string]string{"AWS_ACCESS_KEY_ID": "AKIA"}) != nil || boot.AWSFromEnvironment(nil) != nil {
		t.Error("half a credential is taken")
	}
	f := boot.AWSFromEnvironment(map[string]string{"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"})
	if c, err := f(t.Context()); err != nil || c.AccessKeyID != "AKIA" || c.SecretAccessKey.Reveal() != "s" || c.SessionToken.Reveal() != "t" {
		t.Errorf("%v, %v", c, err)
	}
}
