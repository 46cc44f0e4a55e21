package usage

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/limit"
	"sluice/shared/store"
)

// maxText is how long the texts of sketches get, one after the other, before they are added up.
const maxText = 4096

// Tally adds sums up. Sketches are only put one after the other until Sum reads them.
type Tally struct {
	sum          core.UsageSum
	first, total []byte
	err          error
}

// Record counts a record.
func (t *Tally) Record(r *core.Settlement) {
	one := One(r)
	Add(&t.sum, one)
	t.first, t.total = Samples(t.first, t.total, r)
	t.shrink()
}

// Samples appends the texts of a record's sketches.
func Samples(first, total []byte, r *core.Settlement) (f, t []byte) {
	if r.FirstByteMS > 0 {
		first = core.AppendSample(first, r.FirstByteMS)
	}
	return first, core.AppendSample(total, r.TotalMS())
}

// Add counts a sum.
func (t *Tally) Add(o core.UsageSum) {
	t.first, t.total = append(t.first, o.FirstByte.String()...), append(t.total, o.Total.String()...)
	o.FirstByte, o.Total = core.Sketch{}, core.Sketch{}
	Add(&t.sum, o)
	t.shrink()
}

// AddText is Add for a sum whose sketches were not read: their texts are put to the others as they are. What is no text of
// a sketch is found by Err.
func (t *Tally) AddText(o *core.UsageSum, first, total string) {
	t.first, t.total = append(t.first, first...), append(t.total, total...)
	Add(&t.sum, *o)
	t.shrink()
}

// Merge counts what another tally counts.
func (t *Tally) Merge(o *Tally) {
	t.first, t.total = append(t.first, o.first...), append(t.total, o.total...)
	Add(&t.sum, o.sum)
	if t.err == nil {
		t.err = o.err
	}
	t.shrink()
}

func (t *Tally) shrink() {
	if len(t.first) > maxText || len(t.total) > maxText {
		s := t.Sum()
		t.first, t.total = append(t.first[:0], s.FirstByte.String()...), append(t.total[:0], s.Total.String()...)
	}
}

// Sum is what was counted.
func (t *Tally) Sum() core.UsageSum {
	s := t.sum
	var err, err2 error
	s.FirstByte, err = core.ParseSketch(t.first)
	s.Total, err2 = core.ParseSketch(t.total)
	if err = errors.Join(err, err2); err != nil {
		t.err = err
	}
	return s
}

// Err is an error where a text that Sum has read was none of a sketch.
func (t *Tally) Err() error { return t.err }

// Dims are what sums are kept apart by, and what only records tell.
type Dims struct{ Account, Key, Node, Model, Session, Agent string }

// DimsOf are a record's.
func DimsOf(r *core.Settlement) Dims {
	return Dims{r.Account, r.Key, r.Node, r.Model, r.Session, r.Agent}
}

// Match reports whether a filter selects sums that are kept apart by account, key, node and model.
func (d *Dims) Match(f *store.UsageFilter) bool {
	return (f.Account == "" || f.Account == d.Account) && (f.Key == "" || f.Key == d.Key) &&
		(f.Node == "" || f.Node == d.Node) && (f.Model == "" || f.Model == d.Model)
}

// slot is a group: its value, or its hour.
type slot struct {
	name string
	at   int64 // microseconds
}

// Groups are sums by group. They are not for several goroutines.
type Groups struct {
	by   store.GroupBy
	zone *time.Location
	top  int
	sums map[slot]*Tally
	rest *Tally   // of groups beyond store.MaxGroups, not nil: then there are no sums to tell
	last struct { // the slot of the hour that was asked for last
		hour int64
		day  bool
		slot slot
		set  bool
	}
}

// NewGroups are the groups of a call of Sums.
func NewGroups(f *store.UsageFilter, by store.GroupBy) *Groups {
	g := &Groups{by: by, zone: f.Zone, top: f.Top, sums: make(map[slot]*Tally)}
	if g.zone == nil {
		g.zone = time.UTC
	}
	if g.top <= 0 || g.top > store.MaxTop {
		g.top = store.MaxTop
	}
	if by == store.GroupNone {
		g.sums[slot{}] = &Tally{}
	}
	return g
}

// Hour is the tally of an hour's sums of some dimensions.
func (g *Groups) Hour(d *Dims, hour int64) *Tally { return g.tally(d, hour, false) }

// Day is the same of a day of UTC.
func (g *Groups) Day(d *Dims, day int64) *Tally { return g.tally(d, day*24, true) }

// Merge adds what another has, of the same call.
func (g *Groups) Merge(o *Groups) {
	if o.rest != nil {
		g.rest = &Tally{}
	}
	for k, t := range o.sums {
		g.of(k).Merge(t)
	}
}

// Full reports whether there are more groups than are told apart; List then fails with store.ErrGroups.
func (g *Groups) Full() bool { return g.rest != nil }

// of is the tally of a group.
func (g *Groups) of(k slot) *Tally {
	t := g.sums[k]
	if t != nil {
		return t
	}
	if len(g.sums) >= store.MaxGroups && (g.by == store.GroupSession || g.by == store.GroupAgent) {
		if g.rest == nil {
			g.rest = &Tally{}
		}
		return g.rest
	}
	t = &Tally{}
	g.sums[k] = t
	return t
}

// Record counts a record.
func (g *Groups) Record(r *core.Settlement) {
	d := DimsOf(r)
	g.Hour(&d, HourOf(r.EndedAt.UnixMicro())).Record(r)
}

func (g *Groups) tally(d *Dims, hour int64, day bool) *Tally {
	return g.of(g.slot(d, hour, day))
}

func (g *Groups) slot(d *Dims, hour int64, day bool) slot {
	switch g.by {
	case store.GroupAccount:
		return slot{name: d.Account}
	case store.GroupKey:
		return slot{name: d.Key}
	case store.GroupNode:
		return slot{name: d.Node}
	case store.GroupModel:
		return slot{name: d.Model}
	case store.GroupSession:
		return slot{name: d.Session}
	case store.GroupAgent:
		return slot{name: d.Agent}
	case store.GroupNone:
		return slot{}
	}
	if l := &g.last; !l.set || l.hour != hour || l.day != day {
		l.hour, l.day, l.slot, l.set = hour, day, g.moment(hour, day), true
	}
	return g.last.slot
}

// moment is the slot of an hour, or of the day that begins with it, where times are grouped by.
func (g *Groups) moment(hour int64, day bool) slot {
	at := time.UnixMicro(hour * HourUS).UTC()
	if g.by == store.GroupHour {
		return slot{at: at.UnixMicro()}
	}
	if !day {
		at = at.In(g.zone)
	}
	if g.by == store.GroupMonth {
		return slot{at.Format("2006-01"), limit.MonthStart(limit.Month(at, at.Location()), g.zone).UnixMicro()}
	}
	return slot{at.Format(time.DateOnly), limit.DayStart(limit.Day(at, at.Location()), g.zone).UnixMicro()}
}

// List are the sums in order. It fails where a text that was added was none of a sketch.
func (g *Groups) List() ([]core.UsageSum, error) {
	if g.Full() {
		return nil, store.ErrGroups
	}
	var out []core.UsageSum
	timed := g.by == store.GroupHour || g.by == store.GroupDay || g.by == store.GroupMonth
	for k, t := range g.sums {
		s := t.Sum()
		if err := t.Err(); err != nil {
			return nil, err
		}
		if s.Group = k.name; timed {
			s.Hour = time.UnixMicro(k.at).UTC()
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b core.UsageSum) int {
		return cmp.Or(a.Hour.Compare(b.Hour), strings.Compare(a.Group, b.Group))
	})
	if g.by != store.GroupSession && g.by != store.GroupAgent {
		return out, nil
	}
	slices.SortStableFunc(out, func(a, b core.UsageSum) int { return cmp.Compare(b.Requests, a.Requests) })
	if len(out) <= g.top {
		return out, nil
	}
	var rest Tally
	for _, s := range out[g.top:] {
		s.Group = ""
		rest.Add(s)
	}
	last := rest.Sum()
	last.Others = int64(len(out) - g.top)
	return append(out[:g.top:g.top], last), nil
}
