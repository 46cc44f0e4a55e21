package adminapi

import (
	"strings"
	"time"
)

// Pattern is the pattern of a path.
func (a *API) Pattern(path string) string {
	if rest, ok := strings.CutPrefix(path, apiKeysPath); ok {
		pattern, _ := keysPattern(rest)
		return pattern
	}
	_, pattern, _ := a.route(path)
	return pattern
}

// Changing are the routes that may change something, as "POST /path/{id}".
func (a *API) Changing() []string {
	out := []string{"POST " + apiKeysPath, "PUT " + apiKeysPath + "/{id}", "DELETE " + apiKeysPath + "/{id}", "POST " + apiKeysPath + "/{id}/revoke"}
	for pattern, rt := range a.mux {
		for method := range rt {
			if method != "GET" && method != "HEAD" {
				out = append(out, method+" "+pattern)
			}
		}
	}
	return out
}

// Named reports whether the log has a name of its own for a route.
func Named(route string) bool {
	_, ok := actions()[route]
	return ok
}

// MetricsBegin is where the metrics up to a time begin when a call does not say.
func MetricsBegin(granularity string, to time.Time, zone *time.Location) time.Time {
	m := metricsQuery{granularity: granularity, to: to, zone: zone}
	return m.begin()
}
