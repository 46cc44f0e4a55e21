package clients_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/shared/upstream/upstreamtest"
)

// patience bounds what one call of a library may take here, its own retries included.
const patience = 60 * time.Second

// fixture is a fake upstream, a gateway in front of it, and a tap in front of that, whose URL the client is given.
type fixture struct {
	*testing.T
	gw  *gateway
	up  *upstreamtest.Anthropic
	tap *tap

	version version // set by eachSDK
}

// setUp starts a fixture for a test that runs beside others. env is added to the gateway's environment.
func setUp(t *testing.T, env ...string) *fixture {
	t.Helper()
	t.Parallel()
	up := upstreamtest.NewAnthropic(t, upstreamtest.WithKey(upstreamKey))
	gw := startGateway(t, up.URL, env...)
	return &fixture{T: t, gw: gw, up: up, tap: newTap(t, gw.URL)}
}

// noError ends the test on an error.
func (f *fixture) noError(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// wantStatuses compares the statuses of all answers on a path with want.
func (f *fixture) wantStatuses(path string, want ...int) {
	f.Helper()
	if got := f.tap.statuses(path); !slices.Equal(got, want) {
		f.Errorf("the client's requests to %s ended with %v, want %v", path, got, want)
	}
}

// wantUpstream checks how many message requests reached the upstream.
func (f *fixture) wantUpstream(n int) {
	f.Helper()
	if got := len(f.up.Messages()); got != n {
		f.Errorf("%d requests reached the upstream, want %d", got, n)
	}
}

// checkPassed compares every request that came by the tap with the one of the same place at the upstream. It holds when
// the gateway needed one attempt for each.
func (f *fixture) checkPassed() {
	f.Helper()
	sent, got := f.tap.exchanges(""), f.up.Requests()
	sent = slices.DeleteFunc(sent, func(x exchange) bool { return x.Method == http.MethodHead }) // probes end at the gateway
	if len(sent) != len(got) || len(sent) == 0 {
		f.Fatalf("%d requests were sent, %d arrived", len(sent), len(got))
	}
	for i := range sent {
		checkForwarded(f.T, sent[i], got[i])
	}
}

// checkIDs verifies D32 on every answer that came by: a request id of the gateway, all different, the upstream's own in a
// second header where one was asked, and both in the usage records of the messages.
func (f *fixture) checkIDs() {
	f.Helper()
	recorded := map[string]usage{}
	messages := f.tap.exchanges("/v1/messages")
	admitted := slices.DeleteFunc(slices.Clone(messages), func(x exchange) bool {
		return x.Status == http.StatusUnauthorized || x.Status == http.StatusRequestEntityTooLarge
	})
	for _, u := range f.gw.usages("/v1/messages", len(admitted)) {
		recorded[u.RequestID] = u
	}
	seen := map[string]bool{}
	for _, x := range f.tap.exchanges("") {
		if x.Status == 0 || x.Method == http.MethodHead {
			continue
		}
		id, upstream := x.Answer.Get("Request-Id"), x.Answer.Get("X-Upstream-Request-Id")
		if !strings.HasPrefix(id, "req_") || seen[id] || id == upstream {
			f.Errorf("%s %s: request-id %q, x-upstream-request-id %q", x.Method, x.Path, id, upstream)
		}
		seen[id] = true
		if u, ok := recorded[id]; ok && u.UpstreamID != upstream {
			f.Errorf("request %s: the upstream's id is %q in the usage record, %q in the answer", id, u.UpstreamID, upstream)
		}
	}
	for _, x := range admitted {
		if _, ok := recorded[x.Answer.Get("Request-Id")]; x.Status != 0 && !ok {
			f.Errorf("request %s is in no usage record", x.Answer.Get("Request-Id"))
		}
	}
}

// eventNames lists the events of a stream and fails the test where one lacks its event or its data line (D29).
func eventNames(t *testing.T, text string) []string {
	t.Helper()
	var names []string
	for raw := range strings.SplitSeq(strings.TrimSuffix(text, "\n\n"), "\n\n") {
		first, rest, _ := strings.Cut(raw, "\n")
		name, ok := strings.CutPrefix(first, "event: ")
		if !ok || !strings.HasPrefix(rest, "data: {") || strings.Contains(rest, "\n") {
			t.Errorf("an event without its two lines: %q", raw)
		}
		names = append(names, name)
	}
	return names
}
