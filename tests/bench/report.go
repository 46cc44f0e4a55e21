package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"
)

// report is everything one run measured, as -json writes it.
type report struct {
	Machine   string           `json:"machine"`
	Command   string           `json:"command"`
	Rounds    int              `json:"rounds"`
	Seconds   float64          `json:"seconds"`                      // of one load in one round
	Others    float64          `json:"cpu_share_of_other_processes"` // of all cores, 0 to 1
	Scenarios []scenarioResult `json:"scenarios"`
}

// scenarioResult is one table.
type scenarioResult struct {
	ID      string          `json:"id"`
	Title   string          `json:"title"`
	Targets []*targetResult `json:"targets"`
	goals   []goal
	columns []column
}

// targetResult is one row. Times are microseconds. What a scenario does not
// measure is absent.
type targetResult struct {
	Name      string    `json:"target"`
	Requests  int       `json:"requests"`
	Rate      *spread   `json:"requests_per_second,omitempty"`
	P50       float64   `json:"p50_us"` // over all rounds
	P99       float64   `json:"p99_us"`
	CPU       *spread   `json:"cpu_us_per_request,omitempty"`
	CPURatio  *spread   `json:"cpu_ratio,omitempty"` // to the bare ReverseProxy, or to passing on
	Peak      float64   `json:"peak_mib,omitempty"`
	Added50   *spread   `json:"added_p50_us,omitempty"` // to going to the upstream directly
	Added99   *float64  `json:"added_p99_us,omitempty"`
	Stream    *spread   `json:"kib_per_stream,omitempty"`
	MemRatio  *spread   `json:"memory_ratio,omitempty"`
	Before    float64   `json:"before_mib,omitempty"`
	Open      float64   `json:"open_mib,omitempty"`
	CPURounds []float64 `json:"cpu_us_rounds,omitempty"`
	Errors    int       `json:"errors"`
	Error     string    `json:"error,omitempty"`
}

// column is one column of a table.
type column struct {
	title string
	value func(*targetResult) string
}

// The columns of all tables.
var (
	colTarget = column{"target", func(t *targetResult) string { return t.Name }}
	colRate   = column{"requests/s", func(t *targetResult) string { return middle(t.Rate, "%.0f") }}
	colP50    = column{"p50", func(t *targetResult) string { return duration(t.P50) }}
	colP99    = column{"p99", func(t *targetResult) string { return duration(t.P99) }}
	colCPU    = column{"CPU µs/request", func(t *targetResult) string { return middle(t.CPU, "%.0f") }}
	colRatio  = column{"CPU ratio", func(t *targetResult) string { return ranged(t.CPURatio, "%.2f") }}
	colPeak   = column{"peak MiB", func(t *targetResult) string { return number(t.Peak) }}
	colAdd50  = column{"added p50 µs", func(t *targetResult) string { return ranged(t.Added50, "%.0f") }}
	colAdd99  = column{"added p99 µs", func(t *targetResult) string { return plain(t.Added99, "%.0f") }}
	colStream = column{"KiB/stream", func(t *targetResult) string { return ranged(t.Stream, "%.1f") }}
	colMem    = column{"memory ratio", func(t *targetResult) string { return ranged(t.MemRatio, "%.2f") }}
	colBefore = column{"MiB before", func(t *targetResult) string { return number(t.Before) }}
	colOpen   = column{"MiB open", func(t *targetResult) string { return number(t.Open) }}
	colOpened = column{"time to first delta p50", func(t *targetResult) string { return duration(t.P50) }}
)

func middle(s *spread, format string) string {
	if s == nil {
		return "-"
	}
	return fmt.Sprintf(format, s.Median)
}

func plain(v *float64, format string) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf(format, *v)
}

// ranged shows the median and the ends.
func ranged(s *spread, format string) string {
	switch {
	case s == nil:
		return "-"
	case s.Min == s.Max:
		return fmt.Sprintf(format, s.Median)
	}
	return fmt.Sprintf(format+" ("+format+" to "+format+")", s.Median, s.Min, s.Max)
}

func number(v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", v)
}

// duration shows microseconds with three digits.
func duration(us float64) string {
	switch {
	case us == 0:
		return "-"
	case us < 1000:
		return fmt.Sprintf("%.0f µs", us)
	case us < 10_000:
		return fmt.Sprintf("%.2f ms", us/1000)
	case us < 100_000:
		return fmt.Sprintf("%.1f ms", us/1000)
	}
	return fmt.Sprintf("%.0f ms", us/1000)
}

// goal is a figure that the gateway is to reach.
type goal struct {
	row   string // whose figure it is
	what  string
	limit float64
	under bool   // the limit itself is a miss
	form  string // of the figures
	value func(*targetResult) *spread
}

func cpuGoal(limit float64) goal {
	return goal{targetGateway, "CPU", limit, false, "%.2fx", func(t *targetResult) *spread { return t.CPURatio }}
}

// translationGoal bounds what translating costs, in terms of passing on.
func translationGoal(limit float64) goal {
	g := cpuGoal(limit)
	g.row = targetTranslated
	return g
}

var (
	memoryGoal = goal{targetGateway, "memory per open stream", 1, false, "%.2fx", func(t *targetResult) *spread { return t.MemRatio }}
	addedGoal  = goal{targetGateway, "added p50", 500, true, "%.0f µs", func(t *targetResult) *spread { return t.Added50 }}
)

// verdict compares the row's figure with the goal; it is empty if there is no
// such row.
func (g goal) verdict(targets []*targetResult) string {
	sign := "<="
	if g.under {
		sign = "<"
	}
	line := fmt.Sprintf("%s %s, target %s "+g.form+": ", g.row, g.what, sign, g.limit)
	for _, t := range targets {
		if t.Name != g.row {
			continue
		}
		s := g.value(t)
		if s == nil {
			return line + "not measured"
		}
		word := "ok"
		shown := math.Round(s.Median*100) / 100 // no "2.20, target <= 2.20: MISSED"
		if shown > g.limit || g.under && shown == g.limit {
			word = "MISSED"
		}
		return line + fmt.Sprintf(g.form, s.Median) + " " + word
	}
	return ""
}

// verdicts are the lines under a table.
func (s *scenarioResult) verdicts() []string {
	var out []string
	for _, g := range s.goals {
		if v := g.verdict(s.Targets); v != "" {
			out = append(out, v)
		}
	}
	for _, t := range s.Targets {
		if t.Error != "" {
			out = append(out, "FAILED: "+t.Name+": "+t.Error)
		}
	}
	return out
}

// cells are the table with its header as text.
func (s *scenarioResult) cells() [][]string {
	rows := [][]string{nil}
	for _, c := range s.columns {
		rows[0] = append(rows[0], c.title)
	}
	for _, t := range s.Targets {
		var row []string
		for _, c := range s.columns {
			row = append(row, c.value(t))
		}
		rows = append(rows, row)
	}
	return rows
}

// writeText prints a table for the terminal.
func (s *scenarioResult) writeText(w io.Writer) {
	fmt.Fprintf(w, "\n(%s) %s\n", s.ID, s.Title)
	rows := s.cells()
	widths := make([]int, len(s.columns))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				b.WriteString("  " + cell + pad)
			} else {
				b.WriteString("  " + pad + cell)
			}
		}
		fmt.Fprintln(w, b.String())
	}
	for _, line := range s.verdicts() {
		fmt.Fprintln(w, "  "+line)
	}
}

// writeMarkdown prints a table for a document.
func (s *scenarioResult) writeMarkdown(w io.Writer) {
	fmt.Fprintf(w, "\n**(%s) %s**\n\n", s.ID, s.Title)
	for i, row := range s.cells() {
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(w, "| --- |%s\n", strings.Repeat(" ---: |", len(row)-1))
		}
	}
	for i, line := range s.verdicts() {
		if i == 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "- %s\n", line)
	}
}

// head is the line above the tables.
func (r *report) head() string {
	return fmt.Sprintf("%s; %d rounds of %g s for each target", r.Machine, r.Rounds, r.Seconds)
}

// failures counts the rows that did not work.
func (r *report) failures() int {
	n := 0
	for _, s := range r.Scenarios {
		for _, t := range s.Targets {
			if t.Error != "" {
				n++
			}
		}
	}
	return n
}
