package dynamodb

import (
	"strconv"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sluice/shared/limit"
	"sluice/shared/store"
)

const (
	// lag is how far a bucket in use may lie behind the clock, in microseconds: its price is 2 s of refill.
	lag = 2_000_000
	// grace is package limit's: beyond it a state is the work of a wrong clock.
	grace = 60_000_000
	// maxReap is how many dead leases one update removes: an expression has 300 operators and 4 KB.
	maxReap = 80
)

// expression is an update being written.
type expression struct {
	cond, set, add, remove []string
	names                  map[string]string
	values                 item
}

func newExpression() *expression { return &expression{values: make(item, 12)} }

// value gives a value a name.
func (e *expression) value(v types.AttributeValue) string {
	name := ":" + strconv.FormatInt(int64(len(e.values)), 36)
	e.values[name] = v
	return name
}

func (e *expression) num(n int64) string { return e.value(num(n)) }

// name gives an attribute a name that no word of the language is.
func (e *expression) name(s string) string {
	for short, long := range e.names {
		if long == s {
			return short
		}
	}
	if e.names == nil {
		e.names = make(map[string]string)
	}
	short := "#" + strconv.FormatInt(int64(len(e.names)), 36)
	e.names[short] = s
	return short
}

func (e *expression) when(cond string) { e.cond = append(e.cond, cond) }

// plus adds to a number; nothing when there is nothing to add.
func (e *expression) plus(attr string, n int64) {
	if n != 0 {
		e.add = append(e.add, attr+" "+e.num(n))
	}
}

// input is the request for an update of a hot item.
func (e *expression) input(k item) *sdk.UpdateItemInput {
	e.plus("n", 1)
	var b strings.Builder
	for _, c := range []struct {
		word  string
		parts []string
	}{{"SET ", e.set}, {"ADD ", e.add}, {"REMOVE ", e.remove}} {
		if len(c.parts) > 0 {
			b.WriteString(c.word)
			b.WriteString(strings.Join(c.parts, ", "))
			b.WriteByte(' ')
		}
	}
	in := &sdk.UpdateItemInput{Key: k, ReturnValues: types.ReturnValueAllNew, ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld}
	if b.Len() > 0 {
		in.UpdateExpression = new(b.String())
	}
	if len(e.cond) > 0 {
		in.ConditionExpression = new(strings.Join(e.cond, " AND "))
	}
	if len(e.names) > 0 {
		in.ExpressionAttributeNames = e.names
	}
	if len(e.values) > 0 {
		in.ExpressionAttributeValues = e.values
	}
	return in
}

// given is what dead leases give back: tokens as bucket time, and money of the day and month that count now.
type given struct{ tokens, day, month int64 }

// taking is what one admission takes of one subject, so that it can be undone.
type taking struct {
	leased          bool
	lease           limit.Lease
	requests        int64 // bucket time
	tokens          int64
	count           bool
	day, uday, umon int64 // the periods that were charged
	usd             int64
	money           bool
}

// asking is one subject's part of an admission.
type asking struct {
	sub  *store.Subject
	l    limit.Limits
	id   string
	ask  limit.Amount
	end  int64
	now  int64
	m    limit.Moment
	busy bool // do not trust the picture of the buckets
}

// admission writes the update that takes the request's share, given what is known of the item.
func (a *asking) admission(p *picture) (*expression, taking) {
	e, t := newExpression(), taking{leased: a.l.Leased()}
	e.when("v = " + e.num(a.sub.Version))
	dead := a.reap(e, p)
	g := a.give(p, dead)
	if a.l.RPM > 0 {
		c := limit.Rate(a.l.RPM).Cost()
		a.bucket(e, "ra", p.ra, limit.Rate(a.l.RPM).Depth(), c, 0)
		t.requests = c
	}
	if a.l.TPM > 0 {
		t.tokens = a.ask.Tokens * limit.Rate(a.l.TPM).Cost()
		a.bucket(e, "ta", p.ta, limit.Rate(a.l.TPM).Depth(), t.tokens, g.tokens)
		t.lease.Tokens = a.ask.Tokens
	}
	if a.l.RPD > 0 {
		d := current(p.rd, a.m.Day())
		name := a.calendar(e, dayName, d.n, a.m.Day(), a.l.RPD-1)
		e.plus(name, 1)
		t.count, t.day = true, d.n
	}
	if a.l.USDDay > 0 || a.l.USDMonth > 0 {
		a.money(e, p, &t, g)
	}
	a.tidy(e, p)
	if t.leased {
		t.lease.End = a.end
		a.hold(e, p, &t, len(dead))
	}
	return e, t
}

// reap removes leases that ended, provided that they are still as they were seen.
func (a *asking) reap(e *expression, p *picture) []string {
	if !a.l.Leased() {
		return nil
	}
	dead := p.dead(a.now)
	dead = dead[:min(len(dead), maxReap)]
	for _, id := range dead {
		path := "lz." + e.name(id)
		e.when(path + " = " + e.value(str(leaseText(p.leases[id]))))
		if id != a.id {
			e.remove = append(e.remove, path)
		}
	}
	return dead
}

func (a *asking) give(p *picture, dead []string) (g given) {
	cost := int64(0)
	if a.l.TPM > 0 {
		cost = limit.Rate(a.l.TPM).Cost()
	}
	day, month := current(p.ud, a.m.Day()).n, current(p.um, a.m.Month()).n
	for _, id := range dead {
		l := p.leases[id]
		g.tokens += l.Tokens * cost
		if l.Day == day {
			g.day += l.USD
		}
		if l.Month == month {
			g.month += l.USD
		}
	}
	return g
}

// bucket takes take from a token bucket, after give came back to it. It has the form that fits the state seen.
func (a *asking) bucket(e *expression, attr string, state, depth, take, give int64) {
	full := a.now + depth // an empty bucket
	switch {
	case state > full+grace: // a wrong clock's: it becomes an empty bucket that has just let this request in
		e.when(attr + " > " + e.num(full+grace))
		e.set = append(e.set, attr+" = "+e.num(full))
	case state >= a.now-lag+give || a.busy:
		e.when(attr + " BETWEEN " + e.num(a.now-lag+give) + " AND " + e.num(full-take+give))
		e.plus(attr, take-give)
	default:
		e.when("(attribute_not_exists(" + attr + ") OR " + attr + " < " + e.num(a.now+give) + ")")
		e.set = append(e.set, attr+" = "+e.num(a.now+take))
	}
}

// calendar demands that the sum of a period is at most most, and that no later period has begun by another clock.
func (a *asking) calendar(e *expression, name func(int64) string, n, now, most int64) string {
	attr := e.name(name(n))
	e.when("(attribute_not_exists(" + attr + ") OR " + attr + " <= " + e.num(most) + ")")
	if n == now {
		e.when("attribute_not_exists(" + e.name(name(n+1)) + ")")
	}
	return attr
}

func (a *asking) money(e *expression, p *picture, t *taking, g given) {
	day, month := current(p.ud, a.m.Day()), current(p.um, a.m.Month())
	least := max(a.ask.USD, 1)
	attr := func(name func(int64) string, n, now, budget, give int64) string {
		if budget <= 0 {
			return e.name(name(n))
		}
		return a.calendar(e, name, n, now, budget-least+give)
	}
	if u := a.ask.USD - g.day; u != 0 || a.l.USDDay > 0 {
		e.plus(attr(moneyName, day.n, a.m.Day(), a.l.USDDay, g.day), u)
	}
	if u := a.ask.USD - g.month; u != 0 || a.l.USDMonth > 0 {
		e.plus(attr(monthName, month.n, a.m.Month(), a.l.USDMonth, g.month), u)
	}
	t.money, t.uday, t.umon, t.usd = true, day.n, month.n, a.ask.USD
	t.lease.USD, t.lease.Day, t.lease.Month = a.ask.USD, day.n, month.n
}

// tidy removes the sums of periods that are over.
func (a *asking) tidy(e *expression, p *picture) {
	if len(p.rd)+len(p.ud)+len(p.um) < 2 {
		return
	}
	for _, c := range []struct {
		ps   []period
		name func(int64) string
		now  int64
	}{{p.rd, dayName, a.m.Day()}, {p.ud, moneyName, a.m.Day()}, {p.um, monthName, a.m.Month()}} {
		for _, old := range c.ps {
			if old.n < c.now || old.n > c.now+1 {
				e.remove = append(e.remove, e.name(c.name(old.n)))
			}
		}
	}
}

// hold puts the lease, under the limit on concurrency.
func (a *asking) hold(e *expression, p *picture, t *taking, dead int) {
	path := "lz." + e.name(a.id)
	if l, ok := p.leases[a.id]; !ok || l.End > a.now {
		e.when("attribute_not_exists(" + path + ")") // else reap demands what it replaces
	}
	if a.l.Concurrency > 0 {
		e.when("size(lz) < " + e.num(a.l.Concurrency+int64(dead)))
	}
	e.set = append(e.set, path+" = "+e.value(str(leaseText(t.lease))))
}

// sweep writes the update that only removes dead leases.
func (a *asking) sweep(p *picture) *expression {
	e := newExpression()
	dead := a.reap(e, p)
	g := a.give(p, dead)
	if a.l.TPM > 0 {
		e.plus("ta", -g.tokens)
	}
	if g.day != 0 {
		e.plus(e.name(moneyName(current(p.ud, a.m.Day()).n)), -g.day)
	}
	if g.month != 0 {
		e.plus(e.name(monthName(current(p.um, a.m.Month()).n)), -g.month)
	}
	return e
}

// undo writes the update that gives back what was taken.
func (t *taking) undo(id string) *expression {
	e := newExpression()
	if t.leased {
		path := "lz." + e.name(id)
		e.when(path + " = " + e.value(str(leaseText(t.lease))))
		e.remove = append(e.remove, path)
	} else {
		e.when("attribute_exists(v)")
	}
	e.plus("ra", -t.requests)
	e.plus("ta", -t.tokens)
	if t.count {
		e.plus(e.name(dayName(t.day)), -1)
	}
	if t.money && t.usd != 0 {
		e.plus(e.name(moneyName(t.uday)), -t.usd)
		e.plus(e.name(monthName(t.umon)), -t.usd)
	}
	return e
}
