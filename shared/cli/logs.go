package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// entry is a row of the request log, as far as the table shows it.
type entry struct {
	ID          string    `json:"id"`
	AccountID   string    `json:"account_id"`
	KeyID       string    `json:"key_id"`
	NodeID      string    `json:"node_id"`
	NodeName    string    `json:"node_name"`
	ModelID     string    `json:"model_id"`
	Status      int       `json:"status"`
	ErrorCode   string    `json:"error_code"`
	Attempts    int       `json:"attempts"`
	Input       int64     `json:"input_tokens"`
	Output      int64     `json:"output_tokens"`
	Estimated   bool      `json:"estimated"`
	CostUSD     *float64  `json:"cost_usd"`
	Success     bool      `json:"success"`
	FirstByteMS int64     `json:"first_byte_ms"`
	TotalMS     int64     `json:"total_ms"`
	CreatedAt   time.Time `json:"created_at"`

	raw json.RawMessage // as it came
}

const (
	pollEvery   = 2 * time.Second
	maxFailures = 30              // polls in a row: a restart of the gateway is no end
	maxFollow   = 10              // pages of one poll
	followBack  = 2 * time.Minute // a poll looks back so far: settlements of several instances arrive in any order
)

func logsCommand(f *flags) action {
	f.remote()
	t := newFilter(f)
	limit := f.Int("limit", 50, "how many, 1 to 1000")
	follow := f.Bool("follow", false, "go on with what comes, until Ctrl-C")
	return func(ctx context.Context, s *session, _ []string) error {
		if *limit < 1 || *limit > 1000 {
			return usageError("--limit: must be 1 to 1000")
		}
		q, err := t.query(s)
		if err != nil {
			return err
		}
		q.Del("time_zone")
		q.Set("limit", strconv.Itoa(*limit))
		l := &logView{s: s, t: &table{cols: columns("=TIME", ">STATUS", "MODEL", "NODE", "KEY", ">INPUT", ">OUTPUT", ">COST", ">FIRST", ">TOTAL", ">TRIES", "ERROR")}}
		if !*follow {
			return l.once(ctx, q)
		}
		if *t.to != "" {
			return usageError("--follow: goes on, so --to cannot stand beside it")
		}
		if err := s.connect(ctx, NeedRunning); err != nil {
			return err
		}
		return l.follow(ctx, q)
	}
}

// logView prints the request log.
type logView struct {
	s     *session
	t     *table
	seen  map[string]time.Time // when the requests ended that were printed lately
	begun bool                 // the first poll is done
	from  time.Time            // what ended before is older than what it showed
}

func (l *logView) once(ctx context.Context, q url.Values) error {
	var page struct{ Logs []entry }
	if printed, err := l.s.ask(ctx, "GET", logsPath, q, nil, &page); err != nil || printed {
		return err
	}
	return l.show(page.Logs)
}

// show prints entries that came newest first, the newest last.
func (l *logView) show(logs []entry) error {
	if l.s.f.json { // a line each
		for _, e := range slices.Backward(logs) {
			if err := l.s.printJSON(e.raw); err != nil {
				return err
			}
		}
		return nil
	}
	rows := make([][]cell, 0, len(logs))
	for _, e := range slices.Backward(logs) {
		rows = append(rows, e.row())
	}
	return l.s.more(l.t, rows)
}

func (e *entry) row() []cell {
	status, out := text(strconv.Itoa(e.Status)), count(e.Output)
	switch {
	case e.Status >= 500 || e.Status < 100:
		status.paint = red
	case !e.Success:
		status.paint = yellow
	}
	if e.Estimated {
		out = "~" + out
	}
	first := none
	if e.FirstByteMS > 0 {
		first = millis(float64(e.FirstByteMS))
	}
	return []cell{text(e.CreatedAt.Local().Format("01-02 15:04:05")), status, text(e.ModelID), text(cmp.Or(e.NodeName, e.NodeID, none)), text(e.KeyID), text(count(e.Input)), text(out),
		text(usd(e.CostUSD)), text(first), text(millis(float64(e.TotalMS))), text(strconv.Itoa(e.Attempts)), text(e.ErrorCode)}
}

// follow prints the last entries, and those that come until ctx ends.
func (l *logView) follow(ctx context.Context, q url.Values) error {
	l.seen = map[string]time.Time{}
	for failures := 0; ; {
		err := l.poll(ctx, q)
		if failures++; err == nil {
			failures = 0
		} else if !l.begun || failures >= maxFailures || ctx.Err() != nil {
			return err
		} else {
			fmt.Fprintf(l.s.env.Stderr, "sluice: %v; asking again\n", err)
		}
		newest := time.Time{}
		for _, at := range l.seen {
			if at.After(newest) {
				newest = at
			}
		}
		if !newest.IsZero() {
			q.Set("from", newest.Add(-followBack).UTC().Format(time.RFC3339))
			for id, at := range l.seen {
				if at.Before(newest.Add(-2 * followBack)) {
					delete(l.seen, id)
				}
			}
		}
		q.Set("limit", "1000")
		timer := time.NewTimer(pollEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ErrInterrupted
		case <-timer.C:
		}
	}
}

// poll prints what was not printed yet.
func (l *logView) poll(ctx context.Context, q url.Values) error {
	var fresh []entry
	cursor := ""
	for range maxFollow {
		if q.Del("cursor"); cursor != "" {
			q.Set("cursor", cursor)
		}
		var page struct {
			Logs []json.RawMessage
			Next string `json:"next_cursor"`
		}
		data, err := l.s.call(ctx, "GET", logsPath, q, nil)
		if err != nil {
			return err
		}
		if err := decode(data, &page); err != nil {
			return err
		}
		for _, raw := range page.Logs {
			e := entry{raw: raw}
			if err := decode(raw, &e); err != nil {
				return err
			}
			if _, old := l.seen[e.ID]; !old && !e.CreatedAt.Before(l.from) {
				fresh = append(fresh, e)
			}
		}
		if cursor = page.Next; cursor != "" && !l.begun && len(fresh) > 0 {
			l.from = fresh[len(fresh)-1].CreatedAt
		}
		if cursor == "" || !l.begun {
			break // the first poll shows its limit, later ones all that came
		}
	}
	l.begun = true
	for i := range fresh { // only now: of a poll that fails midway nothing is shown
		l.seen[fresh[i].ID] = fresh[i].CreatedAt
	}
	q.Del("cursor")
	return l.show(fresh)
}
