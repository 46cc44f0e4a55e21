package usage

import (
	"fmt"
	"math"
	"time"

	"sluice/shared/store"
)

// MinHour is before every hour whose microseconds fit: where nothing was ever closed or removed.
const MinHour = math.MinInt64 / HourUS

// HourFloor is the last multiple of 24 hours that is not after an hour: the first hour of its day.
func HourFloor(hour int64) int64 { return DayOf(hour) * 24 }

// DayOf is the day that an hour is in; 0 began in 1970.
func DayOf(hour int64) int64 {
	d := hour / 24
	if hour%24 < 0 {
		d--
	}
	return d
}

// ceilHour is the first hour that does not begin before a time in microseconds.
func ceilHour(us int64) int64 {
	h := HourOf(us)
	if h < MinHour || h*HourUS < us {
		h++
	}
	return h
}

func ceilDay(hour int64) int64 { return -DayOf(-hour) }

// Check returns an error for a grouping or a window that the contract does not allow.
func Check(f *store.UsageFilter, by store.GroupBy) error {
	switch by {
	case store.GroupNone, store.GroupAccount, store.GroupKey, store.GroupNode, store.GroupModel, store.GroupHour,
		store.GroupDay, store.GroupMonth, store.GroupSession, store.GroupAgent:
	default:
		return fmt.Errorf("usage cannot be grouped by %q", by)
	}
	if OfRecords(f, by) && (f.From.IsZero() || f.To.IsZero() || f.To.Sub(f.From) > store.RecordWindow) {
		return fmt.Errorf("usage by session, agent or failure %w", store.ErrWindow)
	}
	return nil
}

// OfRecords reports whether only the records can tell such sums.
func OfRecords(f *store.UsageFilter, by store.GroupBy) bool {
	return f.Session != "" || f.Agent != "" || f.Failed || by == store.GroupSession || by == store.GroupAgent
}

// Marks tell what of usage there is. All are numbers of hours or days since 1970.
type Marks struct {
	Closed  int64 // hours before it have sums
	Days    int64 // days before it have sums; Days*24 <= Closed
	Records int64 // records of hours before it may be gone; <= Closed
	Hours   int64 // sums of hours before it, the first of a day, may be gone; <= Records, <= Days*24
}

// NoMarks are those of a store that never closed an hour.
func NoMarks() Marks { return Marks{MinHour, MinHour / 24, MinHour, HourFloor(MinHour) + 24} }

// Again bounds how often sums are read anew because something was removed while they were read.
const Again = 5

// Kept reports whether all that was there by these marks is still there by later ones. What is read by marks that
// someone raises meanwhile may lack what was removed.
func (m *Marks) Kept(later *Marks) bool {
	return m.Records == later.Records && m.Hours == later.Hours
}

// Range is numbers from From up to To, without To.
type Range struct{ From, To int64 }

// Empty reports whether nothing is in the range.
func (r Range) Empty() bool { return r.From >= r.To }

// Plan is of what sums are put together, so that nothing counts twice: days, hours, and records by microseconds, where
// math.MinInt64 and math.MaxInt64 are open ends.
type Plan struct {
	Days    Range
	Hours   []Range // up to two, neither empty
	Records []Range // likewise
}

// Span is the filter's time in microseconds, with open ends as those of a Plan.
func Span(f *store.UsageFilter) Range {
	r := Range{math.MinInt64, math.MaxInt64}
	if !f.From.IsZero() {
		r.From = f.From.UnixMicro()
	}
	if !f.To.IsZero() {
		r.To = f.To.UnixMicro()
	}
	return r
}

// daysServe reports whether daily sums of UTC serve a grouping.
func daysServe(f *store.UsageFilter, by store.GroupBy) bool {
	return by != store.GroupHour && (by != store.GroupDay && by != store.GroupMonth || f.Zone == nil || f.Zone == time.UTC)
}

// Plan works out how to answer.
func (m *Marks) Plan(f *store.UsageFilter, by store.GroupBy) (p Plan) {
	all := Span(f)
	if all.Empty() {
		return p
	}
	records := func(from, to int64) {
		if r := (Range{from, to}); !r.Empty() {
			p.Records = append(p.Records, r)
		}
	}
	if OfRecords(f, by) {
		records(all.From, all.To)
		return p
	}
	kept := int64(math.MinInt64) // where records begin
	if m.Records > MinHour {
		kept = m.Records * HourUS
	}
	first, last := ceilHour(all.From), HourOf(all.To) // whole hours
	if last < m.Records {
		last = ceilHour(all.To) // records cannot tell a part of it
	}
	if last = min(last, m.Closed); first >= last {
		records(max(all.From, kept), all.To)
		return p
	}
	if all.From > math.MinInt64 {
		records(max(all.From, kept), first*HourUS)
	}

	// Days where hours are gone, those that begin in the filter; beyond, where they serve.
	gone := DayOf(m.Hours)
	p.Days = Range{ceilDay(first), min(ceilDay(ceilHour(all.To)), gone)}
	if serve := min(DayOf(last), m.Days); daysServe(f, by) && serve > max(p.Days.From, gone) {
		p.Days.To = serve
	}
	hours := func(from, to int64) {
		if r := (Range{max(from, m.Hours), to}); !r.Empty() {
			p.Hours = append(p.Hours, r)
		}
	}
	if p.Days.Empty() {
		p.Days = Range{}
		hours(first, last)
	} else {
		hours(first, min(last, p.Days.From*24))
		hours(max(first, p.Days.To*24), last)
	}
	records(max(all.From, last*HourUS, kept), all.To)
	return p
}

// Due are how far removal may go, by what is closed: from now on records of hours before Records, hours before Hours and
// days before Days may go.
type Due struct{ Records, Hours, Days int64 }

// Due works out what a retention lets go. It never goes back.
func (m *Marks) Due(now time.Time, keep store.Retention) (d Due) {
	before := func(keep time.Duration, never int64) int64 {
		if keep <= 0 {
			return never
		}
		return HourOf(now.Add(-keep).UnixMicro())
	}
	d.Records = max(m.Records, min(before(keep.Records, MinHour), m.Closed))
	d.Hours = max(m.Hours, min(HourFloor(min(before(keep.Hours, m.Hours), d.Records)), m.Days*24))
	d.Days = DayOf(min(before(keep.Days, MinHour), d.Hours))
	return d
}
