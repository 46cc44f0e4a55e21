package adminui

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// seen is an entry of a node's health history.
type seen struct {
	At      time.Time `json:"check_time"`
	OK      bool      `json:"success"`
	MS      float64   `json:"response_time_ms"`
	Failure string    `json:"error_message"`
	Method  string    `json:"check_method"`
	Source  string    `json:"check_source"`
	State   string    `json:"state"`
}

// Took is how long the check took; nil of a change that requests of clients made, for which nothing was timed.
func (k *seen) Took() *float64 {
	if k.MS == 0 && k.Source == "proxy_fail" {
		return nil
	}
	return &k.MS
}

// nodeView is the page of one node.
type nodeView struct {
	Node    nodeRow
	From    time.Time
	To      time.Time
	Bars    []tick
	Summary string
	Latency *[2][]*float64 // seconds and ms of the checks that were good; nil: none
	Changes []seen         // of its state, the newest first
	List    list[seen]
	Test    *tested
	Err     *form
}

// tick is a bar of a timeline: where it is drawn, how it is painted, and what it says.
type tick struct {
	X, Y, H int
	Class   string
	Title   string
}

func showNode(v *view) error { return v.node(&nodeView{}) }

func (v *view) node(d *nodeView) error {
	n, err := v.oneNode(v.id)
	if err != nil {
		return err
	}
	if n == nil {
		return &Refusal{Status: http.StatusNotFound, Message: v.t("nodes.gone")}
	}
	d.Node = *n
	var h struct {
		From, To time.Time
		Checks   []seen
	}
	if err := v.get("/api/nodes/"+url.PathEscape(v.id)+"/health-history", url.Values{"limit": {"2000"}}, &h); err != nil {
		return err
	}
	d.From, d.To = h.From, h.To
	d.draw(v, h.Checks)
	was := "" // before the first of them, which is therefore no change
	for _, k := range h.Checks {
		if was != "" && k.State != "" && k.State != was {
			d.Changes = append(d.Changes, k)
		}
		was = cmp.Or(k.State, was)
	}
	slices.Reverse(d.Changes)
	d.List = listOf(v, h.Checks, func(k seen) string {
		return strings.Join([]string{k.Failure, k.Method, k.Source, k.State}, " ")
	}, order[seen]{
		"time": byTime(func(k seen) time.Time { return k.At }), "latency": byNumber(func(k seen) float64 { return k.MS }),
		"result": func(a, b seen) int { return cmp.Compare(flag(a.OK), flag(b.OK)) },
	}, "-time")
	return v.render("node.html", d)
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

func byTime[T any](of func(T) time.Time) func(a, b T) int {
	return func(a, b T) int { return of(a).Compare(of(b)) }
}

const (
	quarters  = 96 // of the timeline: a quarter of an hour each
	barStep   = 10
	barHeight = 40
)

// draw makes the timeline: a bar a quarter of an hour, low and pale where nothing was seen, high where something failed, so
// that it does not speak by colour alone.
func (d *nodeView) draw(v *view, checks []seen) {
	var good, bad [quarters]int64
	width := d.To.Sub(d.From) / quarters
	var times, ms []*float64
	var all, failed int64
	for _, k := range checks {
		at := 0
		if width > 0 {
			at = min(max(0, int(k.At.Sub(d.From)/width)), quarters-1)
		}
		all++
		if !k.OK {
			bad[at]++
			failed++
			continue
		}
		good[at]++
		if took := k.Took(); took != nil {
			sec := float64(k.At.Unix())
			times, ms = append(times, &sec), append(ms, took)
		}
	}
	for i := range good {
		b := tick{X: i * barStep, H: 6, Class: "none"}
		switch {
		case bad[i] > 0 && good[i] > 0:
			b.H, b.Class = 32, "mixed"
		case bad[i] > 0:
			b.H, b.Class = barHeight, "bad"
		case good[i] > 0:
			b.H, b.Class = 22, "ok"
		}
		b.Y = barHeight - b.H
		ago := time.Duration(quarters-i) * width
		b.Title = v.t("nodes.bar", strconv.Itoa(int(ago/time.Hour)), strconv.Itoa(int(ago%time.Hour/time.Minute)), grouped(good[i]), grouped(bad[i]))
		d.Bars = append(d.Bars, b)
	}
	d.Summary = v.t("nodes.timeline.summary", grouped(all), grouped(failed))
	if len(times) > 1 {
		d.Latency = &[2][]*float64{times, ms}
	}
}

// BarClasses are the paints of the timeline's bars, for its legend.
func (d *nodeView) BarClasses() []string { return []string{"ok", "mixed", "bad", "none"} }
