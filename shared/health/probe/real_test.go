package probe_test

import (
	"os"
	"testing"

	"sluice/shared/core"
	"sluice/shared/health/probe"
	"sluice/shared/store/memory"
	"sluice/shared/upstream"
	"sluice/shared/upstream/anthropic"
	"sluice/shared/upstream/upstreamtest"
)

// TestRealCLI runs the program that the clients' suite installs against a strict fake of the API, where it is installed.
func TestRealCLI(t *testing.T) {
	path := "../../../tests/clients/node_modules/.bin/claude"
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("NEED_CLIENTS") != "" {
			t.Fatal("the clients' suite is not installed; tests/clients/run.sh does it")
		}
		t.Skip("SKIPPED: the clients' suite is not installed; make test-clients runs this")
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	up := upstreamtest.NewAnthropic(t)
	transports := upstream.NewTransports(upstream.TransportOptions{})
	t.Cleanup(transports.CloseIdle)
	r := newRig(t, memory.New(), func(o *probe.Options) {
		o.CLI = &probe.CLI{Path: wd + "/" + path}
		o.Clients = map[core.Kind]upstream.Client{core.KindAnthropic: anthropic.New(transports)}
	})
	n := cliNode()
	n.BaseURL, n.HealthModel = up.URL, "claude-haiku-5-5"
	n = r.add(n, "")
	found, err := r.Check(t.Context(), n)
	if err != nil || !found.OK || found.Method != core.CheckCLI || up.Count() == 0 {
		t.Errorf("%+v, %v, %d requests\n%s", found, err, up.Count(), r.log)
	}
}
