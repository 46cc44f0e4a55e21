// Package metrics counts what the gateway does, for Prometheus. On Lambda package metrics/emf takes the same observations.
//
// Labels are few and fixed: kinds, model families, outcomes and the like, never a key, session, node or model name. Accounts
// have series of their own, up to a number. Observations take no lock and do not allocate once a series exists.
package metrics

import (
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sluice/shared/core"
	"sluice/shared/metrics/internal/label"
)

// Options are settings of New; the zero value serves.
type Options struct {
	Version  string       // of the gateway; empty: "unknown"
	Accounts int          // that have series of their own, the first ones seen; the others share "other". 0: 100; negative: none has
	Log      *slog.Logger // told when a scrape fails; nil: nobody is
}

const (
	defaultAccounts = 100
	maxVerbs        = 64 // of the store that have series of their own: it has fewer methods
	maxScrapes      = 4  // at once; more get 503
)

// Bounds of histograms, in seconds. A first byte later than 2 minutes and an answer later than 30 are as good as none.
var (
	firstByteBounds = []float64{0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 30, 60, 120}
	durationBounds  = []float64{0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800}
	storeBounds     = []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5}
)

// Metrics holds the series of one process. All methods are safe for concurrent use.
type Metrics struct {
	registry    *prometheus.Registry
	log         *slog.Logger
	maxAccounts int
	nodes       nodes

	requests, attempts, tokens, cost, unpriced, estimated *prometheus.CounterVec
	refusals, refreshes, storeErrors                      *prometheus.CounterVec
	accountRequests, accountErrors, accountTokens         *prometheus.CounterVec
	accountCost, dropped                                  *prometheus.CounterVec
	firstByte, duration, storeTook                        *prometheus.HistogramVec
	inFlight                                              prometheus.Gauge

	// series that were resolved once; a cell is made when it is first needed, so that nothing is exported that never was
	cells     [len(label.Kinds)][len(label.Families)]atomic.Pointer[cell]
	attemptOf [len(label.Kinds)]atomic.Pointer[[len(label.Classes)]prometheus.Counter]
	refreshOf [len(label.Kinds)]atomic.Pointer[[len(label.Refreshes)]prometheus.Counter]
	refusalOf [len(label.Limits)]prometheus.Counter
	accounts  copied[account]
	verbs     copied[verb]
	drops     [len(label.Routes)]copied[drop]
}

// cell is the series of one kind and model family.
type cell struct {
	outcomes                  [len(label.Outcomes)]prometheus.Counter
	tokens                    [len(label.Tokens)]prometheus.Counter
	cost, unpriced, estimated prometheus.Counter
	firstByte, duration       prometheus.Observer
}

// account is the series of one account.
type account struct{ requests, errors, tokens, cost prometheus.Counter }

// drop is the series of a name that was left out on one route.
type drop struct{ count prometheus.Counter }

// verb is the series of one method of the store.
type verb struct {
	took   prometheus.Observer
	failed prometheus.Counter
}

// New makes the series of a process, with those of the Go runtime and of the process itself.
func New(o Options) *Metrics {
	if o.Accounts == 0 {
		o.Accounts = defaultAccounts
	}
	if o.Version == "" {
		o.Version = "unknown"
	}
	m := &Metrics{registry: prometheus.NewRegistry(), log: o.Log, maxAccounts: o.Accounts}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &m.nodes)
	m.vectors()
	m.gauge("sluice_build_info", "Always 1; the label tells which version runs.", prometheus.Labels{"version": clean(o.Version)}).Set(1)
	for i := range m.refusalOf {
		m.refusalOf[i] = m.refusals.WithLabelValues(label.Limits[i])
	}
	return m
}

func (m *Metrics) vectors() {
	const kind, family = "kind", "model_family"
	m.requests = m.counters("sluice_requests_total", "Requests that ended, by how they ended for the client.", kind, family, "outcome")
	m.attempts = m.counters("sluice_attempts_total", "Attempts on nodes, by how they ended.", kind, "class")
	m.tokens = m.counters("sluice_tokens_total", "Tokens by class; all classes but output are input.", kind, family, "class")
	m.cost = m.counters("sluice_cost_usd_total", "Cost of requests and batches in USD, at the prices of their time.", kind, family)
	m.unpriced = m.counters("sluice_unpriced_requests_total", "Requests, and models of batches, that used tokens which have no price: the cost lacks them.", kind, family)
	m.estimated = m.counters("sluice_estimated_requests_total", "Requests, and models of batches, whose tokens are not, or not only, what the upstream reported.", kind, family)
	m.refusals = m.counters("sluice_limit_refusals_total", "Requests that a limit refused.", "limit")
	m.refreshes = m.counters("sluice_token_refreshes_total", "Refreshes of nodes' access tokens, by how they ended.", kind, "result")
	m.storeErrors = m.counters("sluice_store_errors_total", "Calls that the store failed.", "verb")
	m.dropped = m.counters("sluice_bedrock_dropped_total", "Flags, fields and tools that the compatibility table left out of requests to Amazon Bedrock.", "route", "name")
	m.accountRequests = m.counters("sluice_account_requests_total", "Requests that ended, by account.", "account")
	m.accountErrors = m.counters("sluice_account_errors_total", "Requests that did not end well, by account.", "account")
	m.accountTokens = m.counters("sluice_account_tokens_total", "Tokens of all classes, by account.", "account")
	m.accountCost = m.counters("sluice_account_cost_usd_total", "Cost of requests and batches in USD, by account.", "account")
	m.firstByte = m.histograms("sluice_first_byte_seconds", "Time to the first content of requests that got any.", firstByteBounds, kind, family)
	m.duration = m.histograms("sluice_request_duration_seconds", "Time from the start of requests to their end.", durationBounds, kind, family)
	m.storeTook = m.histograms("sluice_store_call_duration_seconds", "Time that calls of the store took.", storeBounds, "verb")
	m.inFlight = m.gauge("sluice_requests_in_flight", "Requests that the gateway works on.", nil)
}

func (m *Metrics) counters(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(v)
	return v
}

func (m *Metrics) histograms(name, help string, bounds []float64, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: bounds}, labels)
	m.registry.MustRegister(v)
	return v
}

func (m *Metrics) gauge(name, help string, labels prometheus.Labels) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels})
	m.registry.MustRegister(g)
	return g
}

// Handler serves the series in Prometheus' formats. It asks for no key: who mounts it where others reach it must.
func (m *Metrics) Handler() http.Handler {
	o := promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: maxScrapes}
	if m.log != nil {
		o.ErrorLog = slog.NewLogLogger(m.log.Handler(), slog.LevelWarn)
	}
	return promhttp.HandlerFor(m.registry, o)
}

// Observe counts one request that ended. kind is the kind of the node that answered last; empty: none was reached. It keeps
// nothing of s.
func (m *Metrics) Observe(s *core.Settlement, kind core.Kind) {
	c := m.cell(label.Kind(kind), label.Family(s))
	outcome := label.Outcome(s)
	c.outcomes[outcome].Inc()
	c.used(s)
	if s.FirstByteMS > 0 {
		c.firstByte.Observe(float64(s.FirstByteMS) / 1e3)
	}
	c.duration.Observe(max(0, s.EndedAt.Sub(s.StartedAt).Seconds()))
	if a := m.account(s.Account); a != nil {
		a.requests.Inc()
		if outcome != label.Success {
			a.errors.Inc()
		}
		a.used(s)
	}
}

// Used counts tokens and cost of what was settled without a request of its own: a batch. It keeps nothing of s.
func (m *Metrics) Used(s *core.Settlement, kind core.Kind) {
	m.cell(label.Kind(kind), label.Family(s)).used(s)
	if a := m.account(s.Account); a != nil {
		a.used(s)
	}
}

// used counts what was used, and what of it is not known.
func (c *cell) used(s *core.Settlement) {
	for i, n := range label.Counts(&s.Tokens) {
		if n > 0 { // a counter panics on less, and a count comes from upstreams
			c.tokens[i].Add(float64(n))
		}
	}
	if s.CostUSD > 0 {
		c.cost.Add(usd(s))
	}
	if s.Unpriced {
		c.unpriced.Inc()
	}
	if s.Estimated {
		c.estimated.Inc()
	}
}

func (a *account) used(s *core.Settlement) {
	var sum int64
	for _, n := range label.Counts(&s.Tokens) {
		sum += max(n, 0)
	}
	if sum > 0 { // less: the sum passed what an int64 holds
		a.tokens.Add(float64(sum))
	}
	a.cost.Add(usd(s))
}

func usd(s *core.Settlement) float64 { return float64(max(s.CostUSD, 0)) / 1e6 }

// Attempt counts one attempt on a node. class is the upstream.Class in lower case with underscores: "ok", "rate_limited".
func (m *Metrics) Attempt(kind core.Kind, class string) {
	k := label.Kind(kind)
	p := m.attemptOf[k].Load()
	if p == nil {
		p = new([len(label.Classes)]prometheus.Counter)
		for i := range p {
			p[i] = m.attempts.WithLabelValues(label.Kinds[k], label.Classes[i])
		}
		m.attemptOf[k].Store(p)
	}
	p[label.Class(class)].Inc()
}

// Refused counts one request that a limit refused. limit is a store.LimitName.
func (m *Metrics) Refused(limit string) { m.refusalOf[label.Limit(limit)].Inc() }

// Dropped counts one flag, field or tool that the compatibility table left out of a request to a node of Amazon Bedrock. name is
// a row's; operators write rows, so that a route has a number of names with series of their own.
func (m *Metrics) Dropped(route, name string) {
	r := label.Route(route)
	d := m.drops[r].get(name)
	if d == nil {
		d = m.drops[r].add(name, label.Drops, func(name string) *drop {
			return &drop{m.dropped.WithLabelValues(label.Routes[r], clean(name))}
		})
	}
	d.count.Inc()
}

// InFlight adds to the number of requests under way: 1 at a request's start, -1 at its end.
func (m *Metrics) InFlight(delta int) { m.inFlight.Add(float64(delta)) }

// StoreCall counts one call of the store, by its method in lower case. failed means that the store did not serve: a refusal, a
// missing document or a conflict is an answer.
func (m *Metrics) StoreCall(method string, took time.Duration, failed bool) {
	v := m.verbs.get(method)
	if v == nil {
		v = m.verbs.add(method, maxVerbs, m.verb)
	}
	v.took.Observe(max(0, took.Seconds()))
	if failed {
		v.failed.Inc()
	}
}

// TokenRefresh counts one refresh of a node's access token. result is "ok", "login_needed" (the refresh token is refused) or
// "failed".
func (m *Metrics) TokenRefresh(kind core.Kind, result string) {
	k := label.Kind(kind)
	p := m.refreshOf[k].Load()
	if p == nil {
		p = new([len(label.Refreshes)]prometheus.Counter)
		for i := range p {
			p[i] = m.refreshes.WithLabelValues(label.Kinds[k], label.Refreshes[i])
		}
		m.refreshOf[k].Store(p)
	}
	p[label.Refresh(result)].Inc()
}

// cell finds or makes the series of a kind and family. Two that make one at a time get the same series.
func (m *Metrics) cell(kind, family int) *cell {
	p := &m.cells[kind][family]
	if c := p.Load(); c != nil {
		return c
	}
	k, f := label.Kinds[kind], label.Families[family]
	c := &cell{cost: m.cost.WithLabelValues(k, f), unpriced: m.unpriced.WithLabelValues(k, f), estimated: m.estimated.WithLabelValues(k, f),
		firstByte: m.firstByte.WithLabelValues(k, f), duration: m.duration.WithLabelValues(k, f)}
	for i := range c.outcomes {
		c.outcomes[i] = m.requests.WithLabelValues(k, f, label.Outcomes[i])
	}
	for i := range c.tokens {
		c.tokens[i] = m.tokens.WithLabelValues(k, f, label.Tokens[i])
	}
	p.Store(c)
	return c
}

func (m *Metrics) verb(name string) *verb {
	name = clean(name)
	return &verb{m.storeTook.WithLabelValues(name), m.storeErrors.WithLabelValues(name)}
}

func (m *Metrics) account(id string) *account {
	if m.maxAccounts < 0 {
		return nil
	}
	if id == "" {
		id = label.None
	}
	a := m.accounts.get(id)
	if a == nil {
		a = m.accounts.add(id, m.maxAccounts, m.newAccount)
	}
	return a
}

func (m *Metrics) newAccount(id string) *account {
	id = clean(id)
	return &account{m.accountRequests.WithLabelValues(id), m.accountErrors.WithLabelValues(id), m.accountTokens.WithLabelValues(id),
		m.accountCost.WithLabelValues(id)}
}

// maxLabel bounds a label that is not of a fixed list.
const maxLabel = 64

// clean makes a label of any text: Prometheus takes UTF-8 alone.
func clean(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxLabel)], "?")
}

// copied is a map that is read without a lock and copied to add to it: it is small, and soon complete. What has no place any
// more shares the value of "other". The zero value is empty.
type copied[V any] struct {
	m  atomic.Pointer[copiedMap[V]]
	mu sync.Mutex // of add
}

type copiedMap[V any] struct {
	of    map[string]*V
	other *V // set once the map is full
}

// get is the value of a key, or nil when add must be asked.
func (c *copied[V]) get(key string) *V {
	m := c.m.Load()
	if m == nil {
		return nil
	}
	if v := m.of[key]; v != nil {
		return v
	}
	return m.other
}

// add makes the value of a key while fewer than limit have one, else of "other".
func (c *copied[V]) add(key string, limit int, fresh func(string) *V) *V {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.get(key); v != nil {
		return v
	}
	next := &copiedMap[V]{of: map[string]*V{}}
	if old := c.m.Load(); old != nil {
		maps.Copy(next.of, old.of)
	}
	v := fresh(key)
	next.of[strings.Clone(key)] = v
	if len(next.of) >= limit {
		next.other = fresh(label.Other)
	}
	c.m.Store(next)
	return v
}
