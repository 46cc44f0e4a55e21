package storetest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// sumsAreRecords compares Sums with sums that it works out itself.
func sumsAreRecords(t *T) {
	rng := rand.New(rand.NewPCG(7, 11))
	pick := func(of ...string) string { return of[rng.IntN(len(of))] }
	var all []core.Settlement
	add := func(n int) {
		for range n {
			r := core.Settlement{
				RequestID: fmt.Sprint("r", len(all)), Account: pick("acme", "other"), Key: pick("1", "2"), Node: pick("", "1", "2"), Model: pick("a", "b", ""),
				Session: pick("", "s", "s2"), Agent: pick("", "a", "b"), Status: 200 + 300*rng.IntN(2), Estimated: rng.IntN(3) == 0, Attempts: rng.IntN(4), Bytes: rng.Int64N(9999),
				Tokens:    core.Tokens{Input: rng.Int64N(99), CacheRead: rng.Int64N(99), CacheWrite5m: rng.Int64N(99), CacheWrite1h: rng.Int64N(99), Output: rng.Int64N(99)},
				StartedAt: t.Now, FirstByteMS: rng.Int64N(3) * rng.Int64N(900), StreamMillis: rng.Int64N(999), CostUSD: rng.Int64N(99_999),
			}
			if rng.IntN(4) == 0 {
				r.CostUSD, r.Unpriced = 0, true
			}
			r.EndedAt = t.Now.Add(time.Duration(rng.Int64N(int64(50 * time.Hour))))
			if rng.IntN(5) == 0 {
				r.EndedAt = r.EndedAt.Truncate(time.Hour) // right on the edge
			}
			r.EndedAt = r.EndedAt.Truncate(time.Microsecond)
			t.put(r)
			all = append(all, r)
		}
	}
	zones := []*time.Location{nil, time.UTC, time.FixedZone("east", 9*3600), time.FixedZone("west", -5*3600)}
	check := func(stage string) {
		for range 12 {
			f := store.UsageFilter{Account: pick("", "acme"), Key: pick("", "", "1"), Node: pick("", "", "2"), Model: pick("", "", "b"), Zone: zones[rng.IntN(len(zones))], Top: rng.IntN(4)}
			moment := func() time.Time {
				at := t.Now.Add(time.Duration(rng.Int64N(int64(52*time.Hour)) - int64(time.Hour)))
				if rng.IntN(2) == 0 {
					return at.Truncate(time.Hour)
				}
				return at.Truncate(time.Microsecond)
			}
			if rng.IntN(3) > 0 {
				f.From = moment()
			}
			if rng.IntN(3) > 0 {
				f.To = moment()
			}
			groupings := []store.GroupBy{store.GroupNone, store.GroupAccount, store.GroupKey, store.GroupNode, store.GroupModel, store.GroupHour, store.GroupDay, store.GroupMonth}
			if !f.From.IsZero() && !f.To.IsZero() {
				f.Session, f.Agent, f.Failed = pick("", "", "s"), pick("", "", "a"), rng.IntN(3) == 0
				groupings = append(groupings, store.GroupSession, store.GroupAgent)
			}
			for _, by := range groupings {
				if diff, ok := same(t.sums(f, by), bruteForce(all, f, by)); !ok {
					t.Fatalf("%s, %+v by %q:\n%s", stage, f, by, diff)
				}
			}
		}
	}
	add(300)
	check("before any rollup")
	for _, after := range []time.Duration{3 * time.Hour, 3*time.Hour + 30*time.Minute, 16 * time.Hour, 40 * time.Hour, 100 * time.Hour} {
		t.ok(t.S.Rollup(t.Ctx, t.Now.Add(after)), "rollup")
		check(fmt.Sprintf("after the rollup at +%v", after))
		add(40)
		check(fmt.Sprintf("with late records after the rollup at +%v", after))
	}
}

// bruteForce is what Sums must return, worked out without any of the backends' code.
func bruteForce(recs []core.Settlement, f store.UsageFilter, by store.GroupBy) []core.UsageSum {
	var out []core.UsageSum
	if by == store.GroupNone {
		out = append(out, core.UsageSum{})
	}
	for _, r := range recs {
		if f.Account != "" && r.Account != f.Account || f.Key != "" && r.Key != f.Key || f.Node != "" && r.Node != f.Node ||
			f.Model != "" && r.Model != f.Model || f.Session != "" && r.Session != f.Session || f.Agent != "" && r.Agent != f.Agent || f.Failed && r.Success() ||
			!f.From.IsZero() && r.EndedAt.Before(f.From) || !f.To.IsZero() && !r.EndedAt.Before(f.To) {
			continue
		}
		g := core.UsageSum{}
		switch by {
		case store.GroupAccount:
			g.Group = r.Account
		case store.GroupKey:
			g.Group = r.Key
		case store.GroupNode:
			g.Group = r.Node
		case store.GroupModel:
			g.Group = r.Model
		case store.GroupHour:
			g.Hour = r.EndedAt.UTC().Truncate(time.Hour)
		case store.GroupDay, store.GroupMonth:
			zone := f.Zone
			if zone == nil {
				zone = time.UTC
			}
			y, m, d := r.EndedAt.In(zone).Date()
			if g.Group = fmt.Sprintf("%04d-%02d-%02d", y, m, d); by == store.GroupMonth {
				g.Group, d = g.Group[:7], 1
			}
			g.Hour = time.Date(y, m, d, 0, 0, 0, 0, zone).UTC()
		case store.GroupSession:
			g.Group = r.Session
		case store.GroupAgent:
			g.Group = r.Agent
		}
		i := slices.IndexFunc(out, func(s core.UsageSum) bool { return s.Group == g.Group && s.Hour.Equal(g.Hour) })
		if i < 0 {
			i = len(out)
			out = append(out, g)
		}
		s := &out[i]
		s.Requests++
		if r.Success() {
			s.Success++
		}
		if r.Estimated {
			s.Estimated++
		}
		if r.FirstByteMS > 0 {
			s.FirstBytes++
		}
		if r.Unpriced {
			s.Unpriced++
		}
		s.CostUSD += r.CostUSD
		s.Attempts += int64(r.Attempts)
		s.Tokens = s.Tokens.Add(r.Tokens)
		s.Bytes += r.Bytes
		s.FirstByteMS += r.FirstByteMS
		s.StreamMS += r.StreamMillis
		s.TotalMS += r.TotalMS()
		s.Total.Add(r.TotalMS())
		if r.FirstByteMS > 0 {
			s.FirstByte.Add(r.FirstByteMS)
		}
	}
	slices.SortFunc(out, func(a, b core.UsageSum) int { return cmp.Or(a.Hour.Compare(b.Hour), cmp.Compare(a.Group, b.Group)) })
	if by != store.GroupSession && by != store.GroupAgent {
		return out
	}
	slices.SortStableFunc(out, func(a, b core.UsageSum) int { return cmp.Compare(b.Requests, a.Requests) })
	if top := f.Top; top > 0 && len(out) > top {
		rest := core.UsageSum{Others: int64(len(out) - top)}
		for _, s := range out[top:] {
			rest = addSums(rest, s)
		}
		out = append(out[:top], rest)
	}
	return out
}

func addSums(a, b core.UsageSum) core.UsageSum {
	a.Requests += b.Requests
	a.Success += b.Success
	a.Estimated += b.Estimated
	a.FirstBytes += b.FirstBytes
	a.Unpriced += b.Unpriced
	a.CostUSD += b.CostUSD
	a.Attempts += b.Attempts
	a.Tokens = a.Tokens.Add(b.Tokens)
	a.Bytes += b.Bytes
	a.FirstByteMS += b.FirstByteMS
	a.StreamMS += b.StreamMS
	a.TotalMS += b.TotalMS
	a.Total.Merge(b.Total)
	a.FirstByte.Merge(b.FirstByte)
	return a
}
