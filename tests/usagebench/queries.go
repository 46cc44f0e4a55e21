package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sluice/shared/store"
)

// query is what a page asks for.
type query struct {
	name    string
	filter  store.UsageFilter
	by      store.GroupBy
	records int // how many, of a list of records; 0: sums
	cursor  string
}

// list collects queries.
type list struct {
	f   *filler
	out []query
}

func (l *list) last(d time.Duration) store.UsageFilter {
	return store.UsageFilter{From: l.f.end.Add(-d), To: l.f.end}
}

// sums adds a query over all accounts, and the same of one.
func (l *list) sums(name string, u store.UsageFilter, by store.GroupBy) {
	l.out = append(l.out, query{name: name + ", all accounts", filter: u, by: by})
	u.Account = account(3)
	l.out = append(l.out, query{name: name + ", one account", filter: u, by: by})
}

func (l *list) page(name string, u store.UsageFilter) {
	l.out = append(l.out, query{name: name, filter: u, records: 50})
}

const day = 24 * time.Hour

func queries(ctx context.Context, s store.Store, f *filler) ([]query, error) {
	l := &list{f: f}
	for _, w := range []struct {
		name string
		last time.Duration
	}{{"1 h", time.Hour}, {"24 h", day}, {"7 days", 7 * day}, {"30 days", 30 * day}, {"90 days", 90 * day}} {
		l.sums(w.name+": total and percentiles", l.last(w.last), store.GroupNone)
	}
	month := l.last(30 * day)
	l.sums("24 h by hour", l.last(day), store.GroupHour)
	for _, by := range []store.GroupBy{store.GroupDay, store.GroupAccount, store.GroupKey, store.GroupNode, store.GroupModel} {
		l.sums("30 days by "+string(by), month, by)
	}
	l.sums("90 days by day", l.last(90*day), store.GroupDay)
	l.sums("90 days by month", l.last(90*day), store.GroupMonth)
	zoned := month
	zoned.Zone = time.FixedZone("east", 8*3600)
	l.sums("30 days by day of UTC+8", zoned, store.GroupDay)
	both := month
	both.Key, both.Model = key(3, 1), model(1)
	l.sums("30 days of a key and a model by day", both, store.GroupDay)
	trend := l.last(day)
	trend.Node = node(3, 1)
	l.sums("24 h of a node by hour", trend, store.GroupHour)
	l.sums("24 h by session", l.last(day), store.GroupSession)
	l.sums("24 h by agent", l.last(day), store.GroupAgent)
	failed := l.last(day)
	failed.Failed = true
	l.sums("24 h of failures by node", failed, store.GroupNode)
	err := l.pages(ctx, s)
	return l.out, err
}

// pages adds lists of records.
func (l *list) pages(ctx context.Context, s store.Store) error {
	f := l.f
	one := store.UsageFilter{Account: account(3)}
	with := func(set func(u *store.UsageFilter)) store.UsageFilter { u := one; set(&u); return u }
	l.page("log: last 50, all accounts", store.UsageFilter{})
	l.page("log: last 50, one account", one)
	l.page("log: 50 of 24 h a week ago, all accounts", store.UsageFilter{From: f.end.Add(-8 * day), To: f.end.Add(-7 * day)})
	for i, u := range []store.UsageFilter{{}, one} {
		name, deep := []string{"all accounts", "one account"}[i], u
		deep.To = f.end.Add(-20 * day)
		_, cursor, err := s.Records(ctx, deep, "", 50)
		if err != nil {
			return err
		}
		l.out = append(l.out, query{name: "log: 50 behind a cursor 20 days back, " + name, filter: u, records: 50, cursor: cursor})
	}
	ofKey := with(func(u *store.UsageFilter) { u.Key = key(3, 1) })
	l.out = append(l.out, query{name: "last use of a key", filter: ofKey, records: 1})
	l.page("log of a key", ofKey)
	l.page("log of a node", with(func(u *store.UsageFilter) { u.Node = node(3, 1) }))
	l.page("log of a model, all accounts", store.UsageFilter{Model: model(1)})
	l.page("log of a session", with(func(u *store.UsageFilter) { u.Session = f.session }))
	l.page("log of an agent", with(func(u *store.UsageFilter) { u.Agent = "agent-7" }))
	l.page("log of failures, all accounts", store.UsageFilter{Failed: true})
	l.page("log of failures of a key", with(func(u *store.UsageFilter) { u.Key, u.Failed = key(3, 1), true }))
	l.page("log of a model that nobody used, all accounts", store.UsageFilter{Model: "none"})
	l.page("log of a key that nobody used, all accounts", store.UsageFilter{Key: "none"})
	return nil
}

// time asks some times, prints a row and reports whether the median is within the target.
func (q *query) time(ctx context.Context, s store.Store, rounds int, within time.Duration) (bool, error) {
	var took []time.Duration
	rows := 0
	for range rounds {
		start := time.Now()
		if q.records > 0 {
			recs, _, err := s.Records(ctx, q.filter, q.cursor, q.records)
			if err != nil {
				return false, err
			}
			rows = len(recs)
		} else {
			sums, err := s.Sums(ctx, q.filter, q.by)
			if err != nil {
				return false, err
			}
			rows = len(sums)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	median, verdict := took[len(took)/2], "kept"
	if median > within {
		verdict = "MISSED"
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	fmt.Printf("| %s | %d | %.1f | %.1f | %.0f | %s |\n", q.name, rows, ms(median), ms(took[len(took)-1]), ms(within), verdict)
	return median <= within, nil
}
