package gateway

import (
	"path"
	"strings"
	"sync/atomic"

	"sluice/shared/compat"
)

// otherDropped is the name in metrics of what no row of the table names: flags and types of tools are a client's words, which
// must not make series.
const otherDropped = "other"

// dropNames are the names under which drops are counted, for one table.
type dropNames struct {
	of    *compat.Table
	exact map[string]string // as reported -> as counted
	tools []string          // patterns
	betas []string          // likewise
}

// drops finds the names for the table in force, which changes now and then. The zero value is ready.
type drops struct{ now atomic.Pointer[dropNames] }

// names are those of a table. Two that make them at a time make the same.
func (d *drops) names(t *compat.Table) *dropNames {
	if n := d.now.Load(); n != nil && n.of == t {
		return n
	}
	n := &dropNames{of: t, exact: map[string]string{}}
	for _, r := range t.Rows() {
		switch star := strings.Contains(r.Name, "*"); {
		case r.Kind == compat.KindField:
			n.exact[r.Name] = r.Name
		case !star:
			said := string(r.Kind) + ":" + r.Name
			n.exact[said] = said
		case strings.Trim(r.Name, "*") == "": // it names nothing
		case r.Kind == compat.KindTool:
			n.tools = append(n.tools, r.Name)
		default:
			n.betas = append(n.betas, r.Name)
		}
	}
	d.now.Store(n)
	return n
}

// name is a row's name for what compat.Result reports as dropped: the path of a field, beta:NAME or tool:TYPE, where NAME and
// TYPE may be a row's pattern.
func (n *dropNames) name(dropped string) string {
	if said, ok := n.exact[dropped]; ok {
		return said
	}
	if kind, ok := strings.CutPrefix(dropped, "tool:"); ok {
		if _, marked := strings.CutSuffix(kind, ".cache_control"); marked { // of a tool that goes, which is counted itself
			return "tools[].cache_control"
		}
		return matched("tool:", kind, n.tools)
	}
	if flag, ok := strings.CutPrefix(dropped, "beta:"); ok {
		return matched("beta:", flag, n.betas)
	}
	return otherDropped
}

func matched(prefix, name string, patterns []string) string {
	for _, p := range patterns {
		if ok, err := path.Match(p, name); ok && err == nil {
			return prefix + p
		}
	}
	return prefix + otherDropped
}

// countDropped counts what was left out of the attempt's request.
func (a *attempt) countDropped() {
	f, m := a.plan.fit, a.x.g.o.Metrics
	if m == nil || f == nil {
		return
	}
	names := a.x.g.drops.names(a.x.g.o.Compat.Table())
	if f.route == routeConverse {
		a.countConverse(m, names)
		return
	}
	for _, d := range f.dropped {
		m.Dropped(f.route, names.name(d))
	}
}
