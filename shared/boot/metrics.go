package boot

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/gateway"
	"sluice/shared/router"
	"sluice/shared/store"
	"sluice/shared/store/measure"
	"sluice/shared/web"
)

// Metrics takes what a process does: metrics.Metrics on a server, emf.Writer on Lambda.
type Metrics interface {
	gateway.Metrics
	// StoreCall counts one call of the store; failed means that the store did not serve.
	StoreCall(method string, took time.Duration, failed bool)
	// TokenRefresh counts one refresh of a node's access token: "ok", "login_needed" or "failed".
	TokenRefresh(kind core.Kind, result string)
}

// FunctionMetrics are Metrics that are written, as nothing on Lambda lives long enough to be asked.
type FunctionMetrics interface {
	Metrics
	// Nodes writes how many nodes are in which condition.
	Nodes(all iter.Seq2[core.Kind, core.Condition])
	// Flush writes what is not written yet.
	Flush() error
}

// storeCalls passes the store's calls on.
func storeCalls(m Metrics) func(measure.Call) {
	if m == nil {
		return func(measure.Call) {}
	}
	return func(c measure.Call) { m.StoreCall(c.Verb, c.Took, failedCall(c.Err)) }
}

// failedCall reports whether an error is the store's own failure, not its answer.
func failedCall(err error) bool {
	if err == nil {
		return false
	}
	for _, answer := range []error{store.ErrNotFound, store.ErrExists, store.ErrConflict, store.ErrStale, store.ErrHeld, context.Canceled} {
		if errors.Is(err, answer) {
			return false
		}
	}
	var refused *store.Refusal
	return !errors.As(err, &refused)
}

// nodeKind is a node as metrics know it.
type nodeKind struct {
	kind      core.Kind
	condition core.Condition
}

// CountNodes reads the conditions of all nodes, for Nodes. It is for every half minute: a scrape must not read the store.
func (a *App) CountNodes(ctx context.Context) error {
	nodes, err := a.Tables.Nodes.All(ctx, "")
	if err != nil {
		return err
	}
	states, err := a.Tables.States.All(ctx, "")
	if err != nil {
		return err
	}
	known := make(map[string]*core.NodeState, len(states))
	for i := range states {
		known[states[i].Value.Node] = &states[i].Value
	}
	counted := make([]nodeKind, len(nodes))
	for i := range nodes {
		n := &nodes[i].Value
		counted[i] = nodeKind{n.Kind, core.Disabled}
		if !n.Disabled {
			counted[i].condition, _, _ = router.ConditionOf(known[n.ID], a.now())
		}
	}
	a.counted.Store(&counted)
	return nil
}

// Nodes yields kind and condition of each node as CountNodes last read them.
func (a *App) Nodes() iter.Seq2[core.Kind, core.Condition] {
	return func(yield func(core.Kind, core.Condition) bool) {
		if all := a.counted.Load(); all != nil {
			for _, n := range *all {
				if !yield(n.kind, n.condition) {
					return
				}
			}
		}
	}
}

const metricsPath = "/metrics"

// keyed serves metrics to who has an admin key.
func keyed(serve http.Handler, dir *directory.Directory, now func() time.Time) http.HandlerFunc {
	bad := directory.NewThrottle(directory.MaxBadKeys, now)
	return func(w http.ResponseWriter, r *http.Request) {
		info := web.FromContext(r.Context())
		info.Quiet = true
		cred := r.Header.Get("X-Admin-Key")
		if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && cred == "" && strings.EqualFold(scheme, "bearer") {
			cred = strings.TrimSpace(token)
		}
		who, err := dir.Authenticate(r.Context(), cred, directory.Origin{Addr: info.Client, Direct: info.Direct})
		switch {
		case err == nil && (who.Operator || who.Key.Has(core.ScopeAdmin)):
			serve.ServeHTTP(w, r)
		case err == nil:
			WriteError(w, r, core.E(core.CodeForbidden, "Metrics are for administrators' keys; or set METRICS_ADDR to serve them on an address of their own."))
		default:
			e := core.AsError(err)
			if e.Code == core.CodeUnauthenticated { // that the store is away is no wrong key
				e = core.E(core.CodeUnauthenticated, "Metrics need an admin key: send it as x-admin-key or as Authorization: Bearer; or set METRICS_ADDR to serve them on an address of their own.")
				if wait := bad.Take(info.Client); wait > 0 {
					e = &core.Error{Code: core.CodeRateLimited, RetryAfter: wait, Message: "Too many wrong keys from this address. Try again in a minute."}
				}
			}
			WriteError(w, r, e)
		}
	}
}
