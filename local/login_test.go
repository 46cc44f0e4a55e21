package main

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/shared/config"
	"sluice/shared/core"
)

func controlToken() core.Secret { return core.NewSecret("the-control-credential") }

func parse(t *testing.T, env map[string]string) *config.Config {
	t.Helper()
	c, err := config.Parse(env)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var began = map[string]any{"id": "l/1", "user_code": "ABCD-EFGH", "verification_uri": "https://device.example/", "verification_uri_complete": "https://device.example/?user_code=ABCD-EFGH\x1b[2J",
	"expires_in": 600, "interval": 5}

// clock stands still but for waits, which it writes down.
type clock struct {
	at    time.Time
	waits []time.Duration
}

func (c *clock) now() time.Time { return c.at }

func (c *clock) wait(ctx context.Context, d time.Duration) error {
	c.at, c.waits = c.at.Add(d), append(c.waits, d)
	return ctx.Err()
}

// TestLogin: the calls of a login, and how each end is told.
func TestLogin(t *testing.T) {
	type answer struct {
		status int
		body   any
	}
	state := func(s string, more ...any) answer {
		m := map[string]any{"status": s}
		for i := 0; i < len(more); i += 2 {
			m[more[i].(string)] = more[i+1]
		}
		return answer{200, m}
	}
	failed := answer{502, map[string]any{"error": "the service refused"}}
	done := state("complete", "account", map[string]any{"id": 7, "name": "main"})
	for _, c := range []struct {
		why   string
		polls []answer // the last again and again
		waits []time.Duration
		name  string // of the account
		fails string // the error, in part
	}{
		{"confirmed at the third look", []answer{state("pending", "interval", 5), state("pending"), done}, []time.Duration{5e9, 5e9, 5e9}, "main", ""},
		{"asked too often, and the gateway says how often", []answer{state("slow_down", "interval", 10), done}, []time.Duration{5e9, 10e9}, "main", ""},
		{"asked too often, and it does not", []answer{state("slow_down"), done}, []time.Duration{5e9, 10e9}, "main", ""},
		{"an interval of an hour is not believed", []answer{state("pending", "interval", 3600), done}, []time.Duration{5e9, 60e9}, "main", ""},
		{"a service that is away for a moment", []answer{failed, failed, done}, []time.Duration{5e9, 5e9, 5e9}, "main", ""},
		{"a service that stays away", []answer{failed}, []time.Duration{5e9, 5e9, 5e9, 5e9, 5e9}, "", "502: the service refused"},
		{"a login that is gone", []answer{{404, map[string]any{"error": "login not found"}}}, []time.Duration{5e9}, "", "404: login not found"},
		{"refused", []answer{state("denied")}, []time.Duration{5e9}, "", "refused in the browser"},
		{"expired, as the gateway says", []answer{state("expired")}, []time.Duration{5e9}, "", "has expired"},
		{"expired, by the clock here", []answer{state("pending", "interval", 60)}, slices.Concat([]time.Duration{5e9}, slices.Repeat([]time.Duration{60e9}, 10)), "", "has expired"},
		{"a gateway of another version", []answer{state("later")}, []time.Duration{5e9}, "", `"later"`},
	} {
		t.Run(c.why, func(t *testing.T) {
			g := newGatewayFake(t, func(w http.ResponseWriter, path string, n int) {
				if n == 1 {
					reply(t, w, 200, began)
					return
				}
				a := c.polls[min(n-2, len(c.polls)-1)]
				reply(t, w, a.status, a.body)
			})
			var out bytes.Buffer
			k := &clock{at: time.Unix(1e9, 0)}
			l := &deviceLogin{ctl: g.control(), out: &out, now: k.now, wait: k.wait}
			name, err := l.run(t.Context(), loginRequest{Name: "main", API: "kiro"})
			if name != c.name || (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%q, %v", name, err)
			}
			if !slices.Equal(k.waits, c.waits) {
				t.Errorf("waited %v, want %v", k.waits, c.waits)
			}
			calls := g.seen()
			if calls[0] != `POST /admin/accounts/login {"name":"main","api":"kiro"}` || len(calls) > 1 && calls[1] != "POST /admin/accounts/login/l/1 {}" {
				t.Errorf("calls %q", calls)
			}
			if s := out.String(); !strings.Contains(s, "https://device.example/?user_code=ABCD-EFGH[2J\n") || !strings.Contains(s, "the code ABCD-EFGH") || strings.ContainsAny(s, "\x1b\r") {
				t.Errorf("it says %q", s)
			}
		})
	}
}

// TestLoginCountdown: a terminal sees the time that is left.
func TestLoginCountdown(t *testing.T) {
	g := newGatewayFake(t, func(w http.ResponseWriter, _ string, n int) {
		if n == 1 {
			reply(t, w, 200, began)
			return
		}
		reply(t, w, 200, map[string]any{"status": "complete", "account": map[string]any{"id": 7, "name": "main"}})
	})
	var out bytes.Buffer
	k := &clock{at: time.Unix(1e9, 0)}
	l := &deviceLogin{ctl: g.control(), out: &out, countdown: true, now: k.now, wait: k.wait}
	if name, err := l.run(t.Context(), loginRequest{}); err != nil || name != "main" {
		t.Fatalf("%q, %v", name, err)
	}
	if s := out.String(); !strings.Contains(s, "\rWaiting, 10:00 left ") || !strings.Contains(s, "\rWaiting, 9:56 left ") || strings.Contains(s, "9:55") || !strings.Contains(s, "\rAccount 7 is logged in:") {
		t.Errorf("it says %q", s)
	}
}

// TestLoginCommand: through the running gateway, whose control file leads there.
func TestLoginCommand(t *testing.T) {
	g := newGatewayFake(t, func(w http.ResponseWriter, _ string, n int) {
		if n == 1 {
			reply(t, w, 200, map[string]any{"id": "1", "user_code": "C", "verification_uri": "https://device.example/", "expires_in": 60, "interval": 1})
			return
		}
		reply(t, w, 200, map[string]any{"status": "complete", "account": map[string]any{"id": 7, "name": "main"}})
	})
	var stdout, stderr bytes.Buffer
	err := run([]string{"login", "amazonq", "--start-url", "https://d-1.awsapps.com/start", "--region", "eu-west-1", "--name", "main", "--kiro"}, g.env, &stdout, &stderr)
	if err != nil || stdout.String() != "main\n" || !strings.Contains(stderr.String(), "https://device.example/") {
		t.Errorf("%v, %q, %q", err, stdout.String(), stderr.String())
	}
	if calls := g.seen(); calls[0] != `POST /admin/accounts/login {"start_url":"https://d-1.awsapps.com/start","region":"eu-west-1","name":"main","api":"kiro"}` {
		t.Errorf("calls %q", calls)
	}
}

// TestLoginRefuses: wrong words say what the right ones are, and no gateway is asked.
func TestLoginRefuses(t *testing.T) {
	for _, c := range []struct {
		args []string
		env  map[string]string
		says string
	}{
		{nil, nil, "sluice login amazonq"},
		{[]string{"google"}, nil, "sluice login amazonq"},
		{[]string{"amazonq", "now"}, nil, `unknown argument "now"`},
		{[]string{"amazonq", "--nam", "x"}, nil, "not defined"},
		{[]string{"amazonq"}, map[string]string{"STORE_URL": "memory:"}, "STORE_URL"},
	} {
		g := newGatewayFake(t, func(w http.ResponseWriter, path string, _ int) {
			t.Errorf("%v: %s is asked", c.args, path)
			w.WriteHeader(500)
		})
		env := g.env
		if c.env != nil {
			env = c.env
		}
		var stdout, stderr bytes.Buffer
		if err := run(append([]string{"login"}, c.args...), env, &stdout, &stderr); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v", c.args, err)
		}
	}
}
