package limit

import (
	"sort"
	"time"
)

// Moment is one instant as a calendar sees it. It works out the day only when asked, because most limits need none.
// A Moment is for one goroutine.
type Moment struct {
	now     time.Time
	us      int64
	zone    *time.Location
	today   int64
	haveDay bool
	endDay  int64 // the day that end was worked out for; 0: none
	end     time.Time
}

// At makes a Moment. zone nil means UTC.
func At(now time.Time, zone *time.Location) Moment {
	if zone == nil {
		zone = time.UTC
	}
	return Moment{now: now, us: now.UnixMicro(), zone: zone}
}

// Day is the number of the calendar day in the zone; see Day.
func (m *Moment) Day() int64 {
	if !m.haveDay {
		m.today, m.haveDay = Day(m.now, m.zone), true
	}
	return m.today
}

// Month is the number of the calendar month in the zone; see Month.
func (m *Moment) Month() int64 { return Month(m.now, m.zone) }

// Agree returns sums of the day and month of t, each 0 where the moment has another.
func (m *Moment) Agree(t time.Time, day, month int64) (int64, int64) {
	if Day(t, m.zone) != m.Day() {
		day = 0
	}
	if Month(t, m.zone) != m.Month() {
		month = 0
	}
	return day, month
}

// dayEnd is when the day begins that follows the given one.
func (m *Moment) dayEnd(day int64) time.Time {
	if m.endDay != day || m.end.IsZero() {
		m.endDay, m.end = day, DayStart(day+1, m.zone)
	}
	return m.end
}

// Day numbers the calendar days of a zone: 0 is 1970-01-01 there.
func Day(t time.Time, zone *time.Location) int64 {
	y, mon, d := t.In(zone).Date()
	return time.Date(y, mon, d, 0, 0, 0, 0, time.UTC).Unix() / 86400
}

// Month numbers the calendar months of a zone: 0 is January 1970 there.
func Month(t time.Time, zone *time.Location) int64 {
	y, mon, _ := t.In(zone).Date()
	return int64(y-1970)*12 + int64(mon) - 1
}

// MonthStart is the first instant of a month in the zone.
func MonthStart(month int64, zone *time.Location) time.Time {
	first := time.Date(1970+int(month/12), time.Month(month%12+1), 1, 0, 0, 0, 0, time.UTC)
	return DayStart(first.Unix()/86400, zone)
}

// DayStart is the first instant of a day in the zone, also where clocks change at midnight.
func DayStart(day int64, zone *time.Location) time.Time {
	y, mon, d := time.Unix(day*86400, 0).UTC().Date()
	t := time.Date(y, mon, d, 0, 0, 0, 0, zone)
	if zone == time.UTC {
		return t
	}
	if Day(t, zone) == day && Day(t.Add(-time.Second), zone) < day {
		return t
	}
	// Midnight does not exist or comes twice: look for the change of date around it.
	from := t.Add(-4 * time.Hour)
	n := sort.Search(8*3600, func(i int) bool { return Day(from.Add(time.Duration(i)*time.Second), zone) >= day })
	return from.Add(time.Duration(n) * time.Second)
}
