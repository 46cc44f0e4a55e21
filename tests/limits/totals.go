package main

import (
	"context"
	"fmt"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// tally is what records or sums add up to.
type tally struct {
	requests, attempts             int64
	tokens                         core.Tokens
	bytes, first, firsts, str, all int64
}

func (t *tally) record(r *core.Settlement) {
	t.requests++
	t.attempts += int64(r.Attempts)
	t.tokens = t.tokens.Add(r.Tokens)
	t.bytes += r.Bytes
	t.first += r.FirstByteMS
	t.firsts++
	t.str += r.StreamMillis
	t.all += r.TotalMS()
}

func (t *tally) sum(s *core.UsageSum) {
	t.requests += s.Requests
	t.attempts += s.Attempts
	t.tokens = t.tokens.Add(s.Tokens)
	t.bytes += s.Bytes
	t.first += s.FirstByteMS
	t.firsts += s.FirstBytes
	t.str += s.StreamMS
	t.all += s.TotalMS
}

// totalsRow compares an account's records with what the processes told and with the sums, before and after the hours
// are closed.
func totalsRow(ctx context.Context, st store.Store, l *log, account string, end time.Time) (row, error) {
	out := row{promise: "usage totals", bound: "the sums of the records, each once"}
	if err := st.Flush(ctx); err != nil {
		return out, err
	}
	f := store.UsageFilter{Account: account}
	ids := make(map[string]bool)
	var records tally
	wrong := 0
	for cursor, first := "", true; first || cursor != ""; first = false {
		page, next, err := st.Records(ctx, f, cursor, 1000)
		if err != nil {
			return out, err
		}
		for i := range page {
			ids[page[i].RequestID] = true
			records.record(&page[i])
			if r := l.requests[page[i].RequestID]; r != nil && r.tokens != page[i].Tokens {
				wrong++
			}
		}
		cursor = next
	}
	lost, strange := 0, len(ids)
	for _, r := range l.order {
		switch {
		case ids[r.id]:
			strange--
		case r.settled > 0:
			lost++
		}
	}
	for range 2 {
		for _, by := range []store.GroupBy{store.GroupNone, store.GroupKey, store.GroupHour} {
			sums, err := st.Sums(ctx, f, by)
			if err != nil {
				return out, err
			}
			var all tally
			for i := range sums {
				all.sum(&sums[i])
			}
			if all != records {
				wrong++
			}
		}
		if err := st.Rollup(ctx, end.Add(3*time.Hour)); err != nil {
			return out, err
		}
	}
	double := int(records.requests) - len(ids) + strange
	out.measured = fmt.Sprintf("%d records, %d lost, %d double, %d sums or records wrong", records.requests, lost, double, wrong)
	out.ok = records.requests > 0 && lost == 0 && double == 0 && wrong == 0
	return out, nil
}
