package metrics

import (
	"iter"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/shared/core"
	"sluice/shared/metrics/internal/label"
)

// NodeStates yields the kind and condition of each node. It is called at each scrape, maybe by several at a time, so it must
// read memory alone; a blocked node's condition is why it is blocked.
type NodeStates = iter.Seq2[core.Kind, core.Condition]

// WatchNodes tells where the nodes' conditions are read; before, and after nil, there are no series of nodes.
func (m *Metrics) WatchNodes(all NodeStates) {
	if all == nil {
		m.nodes.all.Store(nil)
		return
	}
	m.nodes.all.Store(&all)
}

// nodes is the collector of nodes by kind and condition.
type nodes struct{ all atomic.Pointer[NodeStates] }

// nodesDesc describes its one metric; it never changes.
var nodesDesc = prometheus.NewDesc("sluice_nodes", "Nodes of all accounts by condition.", []string{"kind", "condition"}, nil)

// Describe implements prometheus.Collector.
func (n *nodes) Describe(ch chan<- *prometheus.Desc) { ch <- nodesDesc }

// Collect implements prometheus.Collector. A kind that has nodes tells of every condition, so that an alert sees it return to 0.
func (n *nodes) Collect(ch chan<- prometheus.Metric) {
	all := n.all.Load()
	if all == nil {
		return
	}
	var counts [len(label.Kinds)][len(label.Conditions)]int
	var has [len(label.Kinds)]bool
	for kind, condition := range *all {
		k := label.Kind(kind)
		counts[k][label.Condition(condition)]++
		has[k] = true
	}
	for k := range counts {
		if !has[k] {
			continue
		}
		for c, count := range counts[k] {
			ch <- prometheus.MustNewConstMetric(nodesDesc, prometheus.GaugeValue, float64(count), label.Kinds[k], label.Conditions[c])
		}
	}
}
