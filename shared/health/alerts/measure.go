package alerts

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"sluice/shared/budget"
	"sluice/shared/core"
	"sluice/shared/notify"
	"sluice/shared/store"
)

// Finding is what was measured for a rule.
type Finding struct {
	Value float64 // in the unit of the rule's kind
	Of    int     // requests that it was measured over; of kinds that measure none: 1
	Text  string  // in words, without names
	Node  string  // that it is about; empty: none
}

// Verdict is what becomes of an alert.
type Verdict uint8

// The verdicts.
const (
	Stay Verdict = iota
	Raise
	End
)

// stays is the share of the threshold down to which an alert that was raised goes on: a value that dances around its
// threshold must not ring each minute.
const stays = 0.9

// Judge compares what was measured with the rule. Fewer requests than the rule wants raise nothing; an alert that was raised
// is judged by whatever requests there are, and ends when there are none.
func Judge(r *notify.Rule, f Finding) Verdict {
	switch {
	case !r.Raised && f.Of > 0 && f.Of >= r.MinRequests && f.Value >= r.Threshold:
		return Raise
	case r.Raised && (f.Of == 0 || f.Value < r.Threshold*stays):
		return End
	}
	return Stay
}

// Outcome is how a request ended, as far as an error rate wants to know.
type Outcome uint8

// The outcomes.
const (
	Answered Outcome = iota // also what a client did wrong, and limits
	Broke                   // a 5xx, or an error in the answer
	Left                    // the client did not wait
)

// Sample is what rules judge of a settlement. Nothing else of one is kept: there may be thousands at a time.
type Sample struct {
	EndedAt     time.Time
	FirstByteMS int64 // 0: no answer
	Outcome     Outcome
}

// SampleOf takes from a settlement what is judged.
func SampleOf(s *core.Settlement) Sample {
	out := Sample{EndedAt: s.EndedAt, FirstByteMS: s.FirstByteMS}
	switch {
	case s.Status == 499 || s.ErrorCode == "client_gone":
		out.Outcome = Left
	case s.Status >= 500 || s.Status < 400 && !s.Success():
		out.Outcome = Broke
	}
	return out
}

// ErrorRate is the share of requests that failed, in percent: those that ended with a 5xx, or with an error in the answer.
// What a client did wrong, limits, and clients that left are no failures, and the last do not count at all.
func ErrorRate(samples []Sample) Finding {
	failed, all := 0, 0
	for i := range samples {
		switch samples[i].Outcome {
		case Left:
			continue
		case Broke:
			failed++
		}
		all++
	}
	f := Finding{Of: all}
	if all > 0 {
		f.Value = 100 * float64(failed) / float64(all)
	}
	f.Text = fmt.Sprintf("%d of %d requests failed (%s %%)", failed, all, short(f.Value))
	return f
}

// LatencyP95 is the time to the first byte in ms that 95 % of the requests with an answer stayed below or at.
func LatencyP95(samples []Sample) Finding {
	var ms []int64
	for i := range samples {
		if v := samples[i].FirstByteMS; v > 0 {
			ms = append(ms, v)
		}
	}
	f := Finding{Of: len(ms)}
	if len(ms) > 0 {
		slices.Sort(ms)
		f.Value = float64(ms[(len(ms)*95+99)/100-1]) // nearest rank
	}
	f.Text = fmt.Sprintf("the first byte took %s ms for the slowest 5 %% of %d requests", short(f.Value), len(ms))
	return f
}

// NodeDown is for how many minutes the node that is down longest has been so: failed, or blocked until someone acts. Nodes
// that are disabled or gone are not counted.
func NodeDown(nodes []core.Node, checks []core.NodeCheck, now time.Time) Finding {
	enabled := make(map[string]bool, len(nodes))
	for i := range nodes {
		enabled[nodes[i].ID] = !nodes[i].Disabled
	}
	f := Finding{Of: 1, Text: "no node is down"}
	down := 0
	for i := range checks {
		c := &checks[i]
		switch c.Told {
		case core.Failed, core.BlockedLogin, core.BlockedSuspended:
		default:
			continue
		}
		if !enabled[c.Node] || c.Since.IsZero() {
			continue
		}
		down++
		if m := now.Sub(c.Since).Minutes(); f.Node == "" || m > f.Value {
			f.Value, f.Node = m, c.Node
		}
	}
	if down > 0 {
		f.Text = fmt.Sprintf("node %s has been down for %d minutes, and %d of %d nodes are down", f.Node, int(f.Value), down, len(nodes))
	}
	return f
}

// Spend is what requests cost since the day or month began, in USD. when says so in words.
func Spend(s *budget.Spending, when string) Finding {
	return Finding{Of: 1, Value: usd(s.Spent), Text: "spent " + when + ": " + dollars(s.Spent)}
}

// Forecast is what the month will have cost, in USD.
func Forecast(s *budget.Spending) Finding {
	end := s.Forecast()
	return Finding{Of: 1, Value: usd(end), Text: "at the present pace this month will cost " + dollars(end) + ", of which " + dollars(s.Spent) + " are spent"}
}

func usd(micro int64) float64 { return float64(micro) / 1e6 }

func dollars(micro int64) string { return strconv.FormatFloat(usd(micro), 'f', 2, 64) + " USD" }

func short(v float64) string {
	if v >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'f', 1, 64)
}

func event(t core.EventType, r *store.Row[notify.Rule], text string, now time.Time) core.Event {
	return core.Event{Type: t, Account: r.Value.Account, Subject: "alert " + r.Value.ID, Name: r.Value.Name, Text: text, At: now.UTC(),
		Once: string(t) + "/" + r.Value.ID + "/" + strconv.FormatInt(r.Version, 10)}
}
