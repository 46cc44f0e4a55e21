//go:build !lambda.norpc

package bedrock_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/upstream/bedrock"
)

// TestMachine_Rotated: temporary keys of the machine that a service refuses as expired are looked up anew, once: those of a
// container's role, and those that a tool writes into a profile. (A function's are in its environment, which nobody rotates under
// a running process.)
func TestMachine_Rotated(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "credentials")
	var serial atomic.Int64
	serial.Store(1)
	id := func(n int64) string { return fmt.Sprintf("ASIAROTATEDEXAMPL%03d", n) }
	write := func() {
		body := fmt.Sprintf("[dev]\naws_access_key_id = %s\naws_secret_access_key = secret\naws_session_token = token\n", id(serial.Load()))
		if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write()
	var asked atomic.Int64
	container := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Header.Get("Authorization") != "container-token" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = fmt.Fprintf(w, `{"AccessKeyId":%q,"SecretAccessKey":"secret","Token":"token","Expiration":%q}`, id(serial.Load()), time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	t.Cleanup(container.Close)
	for k, v := range map[string]string{"AWS_SHARED_CREDENTIALS_FILE": file, "AWS_CONFIG_FILE": file + ".none", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI": strings.Replace(container.URL, "127.0.0.1", "localhost", 1), "AWS_CONTAINER_AUTHORIZATION_TOKEN": "container-token"} {
		t.Setenv(k, v)
	}
	for _, c := range []struct{ why, credential string }{{"a container's role", `{"default_chain":true}`}, {"a profile", `{"profile":"dev"}`}} {
		t.Run(c.why, func(t *testing.T) {
			clk := newClock()
			d := newDouble(t, "bedrock", clk)
			cl := bedrock.New(bedrock.Options{Transports: real(t, true), Now: clk.now})
			to := target(c.credential, core.Node{API: "invoke", Region: "eu-west-1", BaseURL: d.url})
			for range 2 {
				d.mu.Lock()
				d.known, d.got = account{id(serial.Load()): {"secret", "token"}}, nil
				d.mu.Unlock()
				for range 2 {
					if status, body := send(t, cl, to, request(`{"a":1}`)); status != 200 {
						t.Errorf("status %d: %s", status, body)
					}
				}
				if got := d.seen(); len(got) > 3 || got[len(got)-1].stamp.key != id(serial.Load()) || got[len(got)-1].body != `{"a":1}` {
					t.Errorf("%d requests, the last by %s", len(got), got[len(got)-1].stamp.key)
				}
				serial.Add(1)
				write()
			}
		})
	}
	if n := asked.Load(); n != 2 {
		t.Errorf("the container's keys were asked for %d times, want 2", n)
	}
}
