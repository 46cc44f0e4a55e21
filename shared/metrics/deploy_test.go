package metrics_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

// exported are the labels of each name that a query may use: of a histogram its three, each with what its samples carry.
func exported(t *testing.T) map[string]map[string]bool {
	t.Helper()
	names := map[string]map[string]bool{}
	label := regexp.MustCompile(`([a-z_]+)="`)
	for l := range strings.Lines(scrape(t, busy())) {
		if strings.HasPrefix(l, "#") {
			continue
		}
		name := l[:strings.IndexAny(l, "{ ")]
		if names[name] == nil {
			names[name] = map[string]bool{"job": true, "instance": true}
		}
		if i := strings.LastIndex(l, "}"); i > 0 {
			for _, m := range label.FindAllStringSubmatch(l[:i], -1) {
				names[name][m[1]] = true
			}
		}
	}
	return names
}

var (
	metricName = regexp.MustCompile(`\b(?:sluice|go|process)_[a-z0-9_]+`)
	selector   = regexp.MustCompile(`\b([a-z]+_[a-z0-9_]+)\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)\s*"`)
	grouping   = regexp.MustCompile(`\bby \(([a-z_, ]+)\)`)
	values     = regexp.MustCompile(`label_values\(([a-z_]+), ([a-z_]+)\)`)
)

// checkQuery reports names and labels in a query that nothing exports, and tells how many metrics it names.
func checkQuery(t *testing.T, where, query string, names map[string]map[string]bool) int {
	t.Helper()
	found := metricName.FindAllString(query, -1)
	any := map[string]bool{}
	for _, n := range found {
		if names[n] == nil {
			t.Errorf("%s: no metric is named %s", where, n)
		}
		for l := range names[n] {
			any[l] = true
		}
	}
	for _, s := range selector.FindAllStringSubmatch(query, -1) {
		for _, l := range matcher.FindAllStringSubmatch(s[2], -1) {
			if !names[s[1]][l[1]] {
				t.Errorf("%s: %s has no label %s", where, s[1], l[1])
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(query, -1) {
		for l := range strings.SplitSeq(g[1], ",") {
			if l = strings.TrimSpace(l); !any[l] {
				t.Errorf("%s: groups by %s, which none of its metrics has", where, l)
			}
		}
	}
	return len(found)
}

// TestDashboard: every query of the Grafana dashboard asks for what is exported, and panels neither share an id nor overlap.
func TestDashboard(t *testing.T) {
	data, err := os.ReadFile("../../deploy/grafana/sluice.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		UID, Title string
		Templating struct {
			List []struct {
				Name  string
				Query json.RawMessage
			}
		}
		Panels []struct {
			ID         int
			Type       string
			Title      string
			GridPos    struct{ X, Y, W, H int }
			Datasource struct{ Type, UID string }
			Targets    []struct{ Expr, RefID string }
		}
	}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	names, used := exported(t), map[string]bool{}
	for _, v := range d.Templating.List {
		for _, m := range values.FindAllStringSubmatch(string(v.Query), -1) {
			if !names[m[1]][m[2]] {
				t.Errorf("variable %s: no %s{%s}", v.Name, m[1], m[2])
			}
		}
	}
	taken, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("%s: another panel has the id %d", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%s lies over %q or beside the grid", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
			t.Errorf("%s: no query, or not of the data source that the reader chose", p.Title)
		}
		for _, q := range p.Targets {
			if checkQuery(t, p.Title, q.Expr, names) == 0 {
				t.Errorf("%s: no metric in %q", p.Title, q.Expr)
			}
			for _, n := range metricName.FindAllString(q.Expr, -1) {
				used[n] = true
			}
		}
	}
	for n := range names {
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(n, "_bucket"), "_sum"), "_count")
		if strings.HasPrefix(n, "sluice_") && !used[n] && !used[base+"_bucket"] {
			t.Errorf("no panel shows %s", n)
		}
	}
}

// TestAlerts: every rule asks for what is exported. That the file is what Prometheus takes is proved beside it, with
// Prometheus' own parser.
func TestAlerts(t *testing.T) {
	data, err := os.ReadFile("../../deploy/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	names := exported(t)
	rules := strings.Split(string(data), "- alert: ")[1:]
	if len(rules) < 10 {
		t.Fatalf("%d rules: the test would pass on nothing", len(rules))
	}
	for _, r := range rules {
		name, rest, _ := strings.Cut(r, "\n")
		_, expr, ok := strings.Cut(rest, "expr: ")
		expr, _, ok2 := strings.Cut(expr, "labels: ")
		if !ok || !ok2 || checkQuery(t, name, expr, names) == 0 {
			t.Errorf("%s: no expression before the labels, or no metric in it", name)
		}
		for _, m := range regexp.MustCompile(`\$labels\.([a-z_]+)`).FindAllStringSubmatch(rest, -1) {
			if !regexp.MustCompile(`by \([a-z_, ]*\b` + m[1] + `\b`).MatchString(expr) {
				t.Errorf("%s: its text names the label %s, which the expression does not keep", name, m[1])
			}
		}
	}
}

// outcomes and the like that queries choose by must be ones that are exported: a typing error in a value raises no error.
func TestQueriedValues(t *testing.T) {
	body := scrape(t, busy())
	for _, file := range []string{"../../deploy/grafana/sluice.json", "../../deploy/prometheus/alerts.yaml"} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(data), `\"`, `"`)
		found := regexp.MustCompile(`(outcome|class|condition|verb|result)\s*(?:=~|!~|!=|=)\s*"([^"]+)"`).FindAllStringSubmatch(text, -1)
		if len(found) == 0 {
			t.Errorf("%s chooses by nothing: the test would pass on nothing", file)
		}
		for _, m := range found {
			for v := range strings.SplitSeq(m[2], "|") {
				if !strings.Contains(body, m[1]+`="`+v+`"`) {
					t.Errorf("%s: no sample has %s=%q", file, m[1], v)
				}
			}
		}
	}
}
