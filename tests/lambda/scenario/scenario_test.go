package scenario_test

import (
	"io"
	"log/slog"
	"testing"

	"sluice/shared/lambdahttp"
	"sluice/tests/lambda/scenario"
)

func TestHosts(t *testing.T) {
	hosts := scenario.Hosts(t, scenario.NewHandler(), lambdahttp.Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	scenario.Run(t, hosts, scenario.Table())
}
