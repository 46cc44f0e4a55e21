package prometheus_test

import (
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// TestAlerts does what `promtool check rules` does: fields, expressions, templates and durations.
func TestAlerts(t *testing.T) {
	groups, errs := rulefmt.ParseFile("alerts.yaml", false, model.LegacyValidation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	if t.Failed() {
		return
	}
	seen := map[string]bool{}
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			if seen[r.Alert] || !strings.HasPrefix(r.Alert, "Sluice") {
				t.Errorf("%q: there is another, or it does not tell whose it is", r.Alert)
			}
			seen[r.Alert] = true
			if s := r.Labels["severity"]; s != "critical" && s != "warning" && s != "info" {
				t.Errorf("%s: severity %q", r.Alert, s)
			}
			if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("%s: it must say what is wrong and what to do", r.Alert)
			}
		}
	}
	if len(seen) < 10 {
		t.Errorf("%d rules: the test would pass on nothing", len(seen))
	}
}

// TestDashboard: every query of the Grafana dashboard is one that Prometheus understands, once Grafana filled it in.
func TestDashboard(t *testing.T) {
	data, err := os.ReadFile("../grafana/sluice.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	p, queries := parser.NewParser(parser.Options{}), 0
	for _, panel := range d.Panels {
		for _, q := range panel.Targets {
			queries++
			if _, err := p.ParseExpr(strings.ReplaceAll(q.Expr, "$__rate_interval", "5m")); err != nil {
				t.Errorf("%s: %v", panel.Title, err)
			}
		}
	}
	if queries < 20 {
		t.Errorf("%d queries: the test would pass on nothing", queries)
	}
}
