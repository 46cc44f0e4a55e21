package adminui

import (
	"net/http"
	"net/url"
	"slices"
	"time"
)

const (
	zoneCookie = "sluice_zone" // the browser's time zone, which its script writes
	maxZone    = 64            // bytes of its name
	localTime  = "2006-01-02T15:04"
	year       = 365 * 24 * time.Hour
)

// zone is the reader's: of the form, of the address, else as the browser's script told; UTC where it is none that is known.
func (v *view) zone() *time.Location {
	name := v.form.Get("time_zone")
	if name == "" {
		name = v.Query("time_zone")
	}
	if ck, err := v.r.Cookie(zoneCookie); name == "" && err == nil {
		name = ck.Value
	}
	if len(name) > maxZone || name == "Local" { // that would be the server's
		return time.UTC
	}
	z, err := time.LoadLocation(name) // takes no path that leaves the data base
	if err != nil {
		return time.UTC
	}
	return z
}

// ZoneName is the reader's zone.
func (v *view) ZoneName() string { return v.zone().String() }

// localTime reads a field of the kind datetime-local in the reader's zone; the zero time where it is empty.
func (v *view) localTime(name string) (time.Time, error) {
	s := v.text(name)
	if s == "" {
		return time.Time{}, nil
	}
	at, err := time.ParseInLocation(localTime, s, v.zone())
	if err != nil {
		at, err = time.ParseInLocation(localTime+":05", s, v.zone())
	}
	if err != nil || at.Year() < 2000 || at.Year() > 9000 {
		return at, &Refusal{Status: http.StatusBadRequest, Field: name, Message: v.t("form.time")}
	}
	return at, nil
}

// span is a period that may be chosen. Those of days are whole days of the reader's zone, today's the last.
type span struct {
	Key  string
	back time.Duration
	days int
}

// spanOwn is the period between two times that the reader names.
const spanOwn = "own"

func spans() []span {
	return []span{{"1h", time.Hour, 0}, {"24h", 24 * time.Hour, 0}, {"7d", 0, 7}, {"30d", 0, 30}, {"90d", 0, 90}}
}

// period is the time that sums are of.
type period struct {
	Key      string
	From, To time.Time // zero: without end
	By       string    // group of its chart: hour, day or month
	zone     *time.Location
	now      time.Time
}

// periodOf is the period of one of the spans; def where there is no such one.
func (v *view) periodOf(key, def string) period {
	all := spans()
	i := slices.IndexFunc(all, func(s span) bool { return s.Key == key })
	if i < 0 {
		i = slices.IndexFunc(all, func(s span) bool { return s.Key == def })
	}
	s := all[i]
	p := period{Key: s.Key, zone: v.zone(), now: v.Now(), By: "hour"}
	p.From = p.now.Add(-s.back)
	if s.days > 0 {
		y, m, d := p.now.In(p.zone).Date()
		p.From, p.By = dayStart(y, m, d-s.days+1, p.zone), "day"
	}
	return p
}

// ownPeriod is the period between the form's times.
func (v *view) ownPeriod() (p period, err error) {
	p = period{Key: spanOwn, zone: v.zone(), now: v.Now()}
	if p.From, err = v.localTime("from"); err != nil {
		return p, err
	}
	if p.To, err = v.localTime("to"); err != nil {
		return p, err
	}
	if !p.From.IsZero() && !p.To.IsZero() && !p.From.Before(p.To) {
		return p, &Refusal{Status: http.StatusBadRequest, Field: "to", Message: v.t("usage.order")}
	}
	switch {
	case p.From.IsZero() || p.Length() > year+24*time.Hour:
		p.By = "month"
	case p.Length() > 3*24*time.Hour:
		p.By = "day"
	default:
		p.By = "hour"
	}
	return p, nil
}

// end is where the period ends, now where it has no end yet.
func (p *period) end() time.Time {
	if p.To.IsZero() || p.To.After(p.now) {
		return p.now
	}
	return p.To
}

// Length is how long the period is; without a beginning it is longer than any.
func (p *period) Length() time.Duration {
	if p.From.IsZero() {
		return 1<<63 - 1
	}
	return p.end().Sub(p.From)
}

// ZoneName is the name of the zone that its days are of.
func (p *period) ZoneName() string { return p.zone.String() }

// fill puts the period into a query of the API.
func (p *period) fill(q url.Values) {
	if !p.From.IsZero() {
		q.Set("from", p.From.UTC().Format(time.RFC3339))
	}
	if !p.To.IsZero() {
		q.Set("to", p.To.UTC().Format(time.RFC3339))
	}
	q.Set("time_zone", p.ZoneName())
}

// charted is the period that charts of p show: of an hour, the day that ends with it, as sums by hour would be a bar or two.
func (p *period) charted() period {
	c := *p
	if p.Key == "1h" {
		c.From = p.now.Add(-24 * time.Hour)
	}
	return c
}

// Marked is the part of its chart that the period is, in seconds from and to; empty where it is all of it.
func (p *period) Marked() []int64 {
	if p.Key != "1h" {
		return nil
	}
	return []int64{p.From.Unix(), p.end().Unix()}
}

// maxPoints bounds a chart: ten years of months, a year of days.
const maxPoints = 400

// dayStart is when a day begins: later than at midnight where the clocks go forward then, for which time.Date has the evening before.
func dayStart(y int, m time.Month, d int, zone *time.Location) time.Time {
	t, noon := time.Date(y, m, d, 0, 0, 0, 0, zone), time.Date(y, m, d, 12, 0, 0, 0, zone)
	for t.Day() != noon.Day() {
		t = t.Add(15 * time.Minute)
	}
	return t
}

// starts are the beginnings of the hours, days or months of the period.
func (p *period) starts(from time.Time) (out []time.Time) {
	y, m, d := from.In(p.zone).Date()
	for i := range maxPoints {
		var at time.Time
		switch p.By {
		case "hour":
			at = from.UTC().Truncate(time.Hour).Add(time.Duration(i) * time.Hour)
		case "day":
			at = dayStart(y, m, d+i, p.zone)
		default:
			at = dayStart(y, m+time.Month(i), 1, p.zone)
		}
		if i > 0 && !at.Before(p.end()) && !at.Equal(p.now) {
			break
		}
		out = append(out, at)
	}
	return out
}

// at is when a sum by time begins.
func (p *period) at(s *sum) time.Time {
	for _, day := range [...]struct{ layout, text string }{{time.DateOnly, s.Day}, {"2006-01", s.Month}} {
		if at, err := time.ParseInLocation(day.layout, day.text, p.zone); err == nil {
			return at
		}
	}
	return s.Hour
}

// whole puts a sum of nothing where the API has none: a chart that left such times out would join what is far apart.
func (p *period) whole(sums []sum) (times []int64, out []sum) {
	from := p.From
	if from.IsZero() && len(sums) > 0 {
		from = p.at(&sums[0])
	}
	have := make(map[int64]*sum, len(sums))
	for i := range sums {
		have[p.at(&sums[i]).Unix()] = &sums[i]
	}
	if from.IsZero() {
		return nil, nil
	}
	for _, at := range p.starts(from) {
		s := have[at.Unix()]
		if s == nil {
			s = &sum{}
		}
		times, out = append(times, at.Unix()), append(out, *s)
	}
	return times, out
}
