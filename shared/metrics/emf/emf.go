// Package emf writes what the gateway observes as log lines that CloudWatch makes metrics of, for functions: nothing there lives
// long enough to be scraped. It takes the observations of package metrics and links no Prometheus.
//
// A line is a document of CloudWatch's embedded metric format
// (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html). Each
// metric of each set of dimensions is billed, so that there are two: the function alone, and the function with node kind and
// model family, both of fixed lists. What would be a label more is a member that no metric refers to: CloudWatch Logs Insights
// finds outcome, refusals and attempts by their names.
package emf

import (
	"encoding/json"
	"io"
	"iter"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice/shared/core"
	"sluice/shared/metrics/internal/label"
)

// Options are settings of New; the zero value serves.
type Options struct {
	Function  string           // dimension of all metrics; empty: "sluice"
	Namespace string           // of the metrics; empty: "Sluice"
	Now       func() time.Time // nil: time.Now
}

// Limits of the format: of names and of the numbers of one metric in a line.
const (
	maxName   = 255
	maxValues = 100
)

// Writer writes lines. It is safe for concurrent use; each line is one Write.
type Writer struct {
	mu   sync.Mutex
	w    io.Writer
	now  func() time.Time
	name string // JSON of the namespace
	tail string // the function's member
	err  error  // of a Write since Flush last told

	line    []byte // reused
	defs    []byte // of the metrics of the present directive
	values  []byte // their members
	pending pending
}

// pending is what no line tells of yet.
type pending struct {
	attempts  [len(label.Classes)]int
	refused   [len(label.Limits)]int
	refreshes [len(label.Refreshes)]int
	dropped   drops
	store     [maxValues]time.Duration
	calls     int // of the store
	errors    int // of those
}

// New makes a writer of lines to w: on Lambda that is the standard output, which CloudWatch Logs reads.
func New(w io.Writer, o Options) *Writer {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Writer{w: w, now: o.Now, name: text(o.Namespace, "Sluice"), tail: `,"Function":` + text(o.Function, "sluice")}
}

// text makes a JSON string that CloudWatch takes as a name or a dimension: printable ASCII, not empty, no colon first.
func text(s, def string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s[:min(len(s), maxName)])
	s = strings.TrimLeft(strings.TrimSpace(s), ":")
	if strings.TrimSpace(s) == "" {
		s = def
	}
	data, err := json.Marshal(s)
	if err != nil {
		return `"` + def + `"` // no string fails
	}
	return string(data)
}

// Observe writes a line for one request that ended, with what was told since the last line. kind is the kind of the node that
// answered last; empty: none was reached. It keeps nothing of s.
func (w *Writer) Observe(s *core.Settlement, kind core.Kind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	outcome := label.Outcome(s)
	w.begin()
	w.line = append(w.line, perKind...)
	w.count("Requests", 1)
	w.count("Errors", flag(outcome != label.Success))
	w.count("Faults", flag(label.OurFault(outcome)))
	w.used(s)
	if s.FirstByteMS > 0 {
		w.define("FirstByte", "Milliseconds")
		w.values = strconv.AppendInt(w.values, s.FirstByteMS, 10)
	}
	w.define("Duration", "Milliseconds")
	w.values = strconv.AppendInt(w.values, max(0, s.TotalMS()), 10)
	w.close(s, kind, label.Outcomes[outcome])
}

// Used writes a line for what was settled without a request of its own: a batch. It keeps nothing of s.
func (w *Writer) Used(s *core.Settlement, kind core.Kind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begin()
	w.line = append(w.line, perKind...)
	if w.used(s); len(w.defs) > 0 {
		w.close(s, kind, "")
	}
}

// perKind is the second set of dimensions.
const perKind = `,["Function","Kind","ModelFamily"]],"Metrics":[`

// used defines the metrics of what was used.
func (w *Writer) used(s *core.Settlement) {
	for i, n := range label.Counts(&s.Tokens) {
		if n > 0 {
			w.count(tokenNames[i], n)
		}
	}
	if s.CostUSD > 0 {
		w.define("CostUSD", "None")
		w.values = strconv.AppendFloat(w.values, float64(s.CostUSD)/1e6, 'f', 6, 64)
	}
	if s.Unpriced {
		w.count("Unpriced", 1)
	}
	if s.Estimated {
		w.count("Estimated", 1)
	}
}

// close ends a line that has both sets of dimensions, with what was told since the last.
func (w *Writer) close(s *core.Settlement, kind core.Kind, outcome string) {
	w.property("Kind", label.Kinds[label.Kind(kind)])
	w.property("ModelFamily", label.Families[label.Family(s)])
	if outcome != "" {
		w.property("outcome", outcome)
	}
	w.line = append(w.line, w.defs...)
	if w.told() {
		w.line = append(w.line, `]},`...)
		w.directive()
		w.line = append(w.line, `],"Metrics":[`...)
		w.defs = w.defs[:0]
		w.rest()
		w.line = append(w.line, w.defs...)
	}
	w.end()
}

// tokenNames are the metrics of the classes of tokens, in the order of label.Tokens.
var tokenNames = [len(label.Tokens)]string{"TokensInput", "TokensCacheRead", "TokensCacheWrite5m", "TokensCacheWrite1h", "TokensOutput"}

// Attempt notes one attempt on a node. class is the upstream.Class in lower case with underscores: "ok", "rate_limited".
func (w *Writer) Attempt(_ core.Kind, class string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending.attempts[label.Class(class)]++
}

// Refused notes one request that a limit refused. limit is a store.LimitName.
func (w *Writer) Refused(limit string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending.refused[label.Limit(limit)]++
}

// Dropped notes one flag, field or tool that the compatibility table left out of a request to a node of Amazon Bedrock. name is
// a row's.
func (w *Writer) Dropped(route, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending.dropped.note(label.Routes[label.Route(route)], name)
}

// InFlight does nothing: CloudWatch itself tells how many invocations run at once.
func (w *Writer) InFlight(int) {}

// StoreCall notes one call of the store. failed means that the store did not serve: a refusal, a missing document or a
// conflict is an answer.
func (w *Writer) StoreCall(_ string, took time.Duration, failed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := &w.pending
	p.store[p.calls] = max(0, took)
	p.calls++
	if failed {
		p.errors++
	}
	if p.calls == maxValues {
		w.flush()
	}
}

// TokenRefresh notes one refresh of a node's access token. result is "ok", "login_needed" (the refresh token is refused) or
// "failed".
func (w *Writer) TokenRefresh(_ core.Kind, result string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending.refreshes[label.Refresh(result)]++
}

// Nodes writes a line for each kind that has nodes: how many serve, how many do not, and how many of these need someone to act.
// Disabled nodes do not count. A blocked node's condition is why it is blocked.
func (w *Writer) Nodes(all iter.Seq2[core.Kind, core.Condition]) {
	var serving, down, blocked [len(label.Kinds)]int64
	for kind, condition := range all {
		k := label.Kind(kind)
		switch condition {
		case core.Disabled:
		case core.Online, core.Degraded, core.HalfOpen:
			serving[k]++
		case core.BlockedLogin, core.BlockedSuspended:
			blocked[k]++
			down[k]++
		default:
			down[k]++
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for k := range serving {
		if serving[k]+down[k] == 0 {
			continue
		}
		w.begin()
		w.line = append(w.line, `,["Function","Kind"]],"Metrics":[`...)
		w.count("NodesServing", serving[k])
		w.count("NodesDown", down[k])
		w.count("NodesBlocked", blocked[k])
		w.property("Kind", label.Kinds[k])
		w.line = append(w.line, w.defs...)
		w.end()
	}
}

// Flush writes a line of what no other tells of, if there is any: call it before an invocation returns. It returns the first
// error that a Write met since the last call; the lines it met are lost.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flush()
	err := w.err
	w.err = nil
	return err
}

func (w *Writer) flush() {
	if !w.told() {
		return
	}
	w.begin()
	w.line = append(w.line, `],"Metrics":[`...)
	w.rest()
	w.line = append(w.line, w.defs...)
	w.end()
}

func (w *Writer) told() bool {
	p := &w.pending
	return p.calls > 0 || p.attempts != [len(label.Classes)]int{} || p.refused != [len(label.Limits)]int{} || p.refreshes != [len(label.Refreshes)]int{} ||
		p.dropped.all > 0
}

// rest defines the metrics of what is pending, and forgets it.
func (w *Writer) rest() {
	p := &w.pending
	if p.calls > 0 {
		w.define("StoreLatency", "Milliseconds")
		w.values = append(w.values, '[')
		for i, d := range p.store[:p.calls] {
			if i > 0 {
				w.values = append(w.values, ',')
			}
			w.values = strconv.AppendFloat(w.values, float64(d.Microseconds())/1e3, 'f', 3, 64)
		}
		w.values = append(w.values, ']')
		w.count("StoreErrors", int64(p.errors))
	}
	var all, failed, refused int
	for i, n := range p.attempts {
		all += n
		if label.FailedClass(i) {
			failed += n
		}
	}
	if all > 0 {
		w.count("Attempts", int64(all))
		w.count("AttemptsFailed", int64(failed))
		w.parts("attempts", label.Classes[:], p.attempts[:])
	}
	for _, n := range p.refused {
		refused += n
	}
	if refused > 0 {
		w.count("LimitRefusals", int64(refused))
		w.parts("refusals", label.Limits[:], p.refused[:])
	}
	if r := p.refreshes; r != [len(label.Refreshes)]int{} {
		w.count("TokenRefreshes", int64(r[0]+r[1]+r[2]))
		w.count("TokenRefreshFailures", int64(r[1]+r[2]))
	}
	if d := &p.dropped; d.all > 0 {
		w.count("BedrockDropped", int64(d.all))
		w.parts("dropped", d.names, d.counts)
	}
	*p = pending{}
}
