package dynamodb

import (
	"context"
	"math"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"sluice/shared/store"
	"sluice/shared/store/internal/usage"
)

const (
	// retainAtOnce is about how many items one call of Retain changes.
	retainAtOnce = 5_000
	// floorsFor is how long this instance trusts what it knows of what is gone.
	floorsFor = time.Minute
)

// floors tell what may be gone, and how far the removal is.
type floors struct {
	records, hours         int64 // records of hours before, and sums of hours before, may be gone
	recordsDone, hoursDone int64 // records of hours before, and sums of days before, were removed
	read                   time.Time
}

func floorsKey() item { return key("K", "K") }

// keep is what this instance was told.
func (s *Store) keep() store.Retention { return *s.keeping.Load() }

// Keep tells for how long what is written from now on is kept, in place of Options.Keep.
func (s *Store) Keep(r store.Retention) { s.keeping.Store(&r) }

// readFloors may be a minute out of date: floors only rise, and sums above them stay true.
func (s *Store) readFloors(ctx context.Context) (floors, error) {
	now := s.clock.now()
	if f := s.floors.Load(); f != nil && now.Sub(f.read).Abs() < floorsFor {
		return *f, nil
	}
	it, err := s.get(ctx, "read what is kept", floorsKey(), "")
	if err != nil {
		return floors{}, err
	}
	no := usage.NoMarks()
	f := floors{no.Records, no.Hours, -epoch + 1, -epoch + 1, now}
	for name, to := range map[string]*int64{"r": &f.records, "h": &f.hours, "p": &f.recordsDone, "q": &f.hoursDone} {
		if n, ok := getN(it, name); ok {
			*to = n
		}
	}
	s.floors.Store(&f)
	return f, nil
}

// raise raises a floor.
func (s *Store) raise(ctx context.Context, name string, to int64) error {
	s.floors.Store(nil)
	_, _, err := s.update(ctx, "note what is kept", &sdk.UpdateItemInput{Key: floorsKey(), UpdateExpression: new("SET " + name + " = :n"),
		ConditionExpression: new("attribute_not_exists(" + name + ") OR " + name + " < :n"), ExpressionAttributeValues: item{":n": num(to)}})
	if _, higher := unmet(err); err == nil || higher {
		return nil
	}
	return s.fail(ctx, "note what is kept", err)
}

// retaining is one call of Retain.
type retaining struct {
	s       *Store
	left    int // how many items it may change
	removed int
}

// Retain implements store.Usage. Records mostly go by the table's TTL; here the sums of their hours are marked first, so
// that nobody adds them up anew, and what has no TTL is removed. The index of days and accounts tells what there is.
func (s *Store) Retain(ctx context.Context, now time.Time, keep store.Retention) (int, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	s.keeping.Store(&keep)
	now = s.clock.correct(now)
	s.floors.Store(nil)
	f, err := s.readFloors(ctx)
	if err != nil {
		return 0, err
	}
	closed, err := s.firstPending(ctx, "P", usage.Closed(now))
	if err != nil {
		return 0, err
	}
	m := usage.Marks{Closed: closed, Days: usage.DayOf(closed), Records: min(f.records, closed), Hours: f.hours}
	due := m.Due(now, keep)
	r := &retaining{s: s, left: retainAtOnce}
	for _, step := range []func() error{
		func() error { return r.markHours(ctx, &f, due.Records) },
		func() error { return r.removeRecords(ctx, &f, now) },
		func() error { return r.markDays(ctx, &f, min(due.Hours, usage.HourFloor(f.records))) },
		func() error { return r.removeHours(ctx, &f) },
		func() error { return r.removeDays(ctx, due.Days, keep.Days, now) },
	} {
		if err := step(); err != nil {
			return r.removed, err
		}
	}
	return r.removed, nil
}

// firstPending is the first hour that waits for its sums, or to when none before it does.
func (s *Store) firstPending(ctx context.Context, pk string, to int64) (int64, error) {
	err := s.query(ctx, "list pending hours", span{pk: pk, to: hourText(to), fields: "SK", limit: 1}, func(it item) (bool, error) {
		at, err := parseWork(getS(it, "SK"))
		to = min(to, at.hour)
		return false, err
	})
	return to, err
}

// eachDay calls fn for the days from one to another, without it, that have records, and their accounts, until fn returns
// false or nothing may be changed any more. It returns the first day that is not done.
func (r *retaining) eachDay(ctx context.Context, from, to int64, fn func(day int64, account string) (bool, error)) (int64, error) {
	for day := from; day < to; {
		next := to
		err := r.s.query(ctx, "list days", span{pk: "X", from: hourText(day), fields: "SK", limit: 1}, func(it item) (bool, error) {
			at, err := parseWork(getS(it, "SK"))
			next = min(next, at.hour)
			return false, err
		})
		if err != nil || next == to {
			return to, err
		}
		accounts, err := r.s.dayAccounts(ctx, next)
		if err != nil {
			return next, err
		}
		for _, a := range accounts {
			if r.left <= 0 {
				return next, nil
			}
			if ok, err := fn(next, a); err != nil || !ok {
				return next, err
			}
		}
		day = next + 1
	}
	return to, nil
}

// markGone notes in sums that what they were made of may go from now on: a late record is added to them. It reports false
// when they lack one.
func (r *retaining) markGone(ctx context.Context, k item) (bool, error) {
	r.left--
	_, _, err := r.s.update(ctx, "retain usage", &sdk.UpdateItemInput{Key: k, UpdateExpression: new("SET g = :o"),
		ConditionExpression:       new("attribute_exists(s) AND (c = l OR (c = :z AND attribute_not_exists(l)))"),
		ExpressionAttributeValues: item{":o": num(1), ":z": num(0)}})
	if _, open := unmet(err); open {
		return false, nil
	}
	if err != nil {
		return false, r.s.fail(ctx, "retain usage", err)
	}
	return true, nil
}

// mendHour writes the sums of an hour that lacks them, and marks it.
func (r *retaining) mendHour(ctx context.Context, account string, k item) (bool, error) {
	hour, err := parseHour(getS(k, "SK"))
	if err == nil {
		r.left -= 24
		err = r.s.closeHour(ctx, mark{account, hour}, "")
	}
	if err != nil {
		return false, err
	}
	return r.markGone(ctx, k)
}

// markHours marks the hours before one, and raises the floor of records to where all are marked.
func (r *retaining) markHours(ctx context.Context, f *floors, to int64) error {
	if to <= f.records {
		return nil
	}
	day, err := r.eachDay(ctx, usage.DayOf(max(f.records, -epoch+1)), usage.DayOf(to-1)+1, func(day int64, account string) (bool, error) {
		whole := true
		q := span{pk: hoursPK(account), from: hourText(max(day*24, f.records)), to: hourText(min(day*24+23, to-1)), fields: "SK, g"}
		err := r.s.query(ctx, "list hours", q, func(it item) (bool, error) {
			if hasN(it, "g") {
				return true, nil
			}
			k := key(hoursPK(account), getS(it, "SK"))
			ok, err := r.markGone(ctx, k)
			if err == nil && !ok { // whoever was to put it up for Rollup died, or an older program left it without sums
				ok, err = r.mendHour(ctx, account, k)
			}
			whole = whole && ok
			return ok, err
		})
		return whole, err
	})
	if err != nil {
		return err
	}
	if to = min(to, day*24); to <= f.records {
		return nil
	}
	f.records = to
	return r.s.raise(ctx, "r", to)
}

// removeRecords removes the records before the floor that no TTL removes soon.
func (r *retaining) removeRecords(ctx context.Context, f *floors, now time.Time) error {
	if f.records <= f.recordsDone || f.records == usage.MinHour {
		return nil
	}
	soon := now.Add(ttlGrace + time.Hour).Unix()
	day, err := r.eachDay(ctx, usage.DayOf(f.recordsDone), usage.DayOf(f.records-1)+1, func(day int64, account string) (bool, error) {
		for shard := range recordShards {
			pk := recordsPK(account, day, shard)
			q := span{pk: pk, from: timeText(max(day*24, f.recordsDone) * usage.HourUS), to: timeText(f.records * usage.HourUS)}
			if err := r.remove(ctx, q, soon); err != nil {
				return false, err
			}
		}
		return r.left > 0, nil
	})
	if done := min(f.records, day*24); err == nil && done > f.recordsDone {
		f.recordsDone = done
		err = r.s.raise(ctx, "p", done)
	}
	return err
}

// remove removes the items of a span whose TTL is not before a time, or that have none.
func (r *retaining) remove(ctx context.Context, q span, soon int64) error {
	var writes []types.WriteRequest
	err := r.s.query(ctx, "retain usage", q, func(it item) (bool, error) {
		if ttl, ok := getN(it, "ttl"); ok && ttl < soon {
			return true, nil
		}
		writes = append(writes, deleteRequest(key(q.pk, getS(it, "SK"))))
		return len(writes) < r.left, nil
	})
	if err == nil {
		err = r.s.batch(ctx, "retain usage", writes)
	}
	if err == nil {
		r.removed += len(writes)
		r.left -= len(writes)
	}
	return err
}

// markDays makes sure that the days before an hour have sums, marks these, and raises the floor of hours.
func (r *retaining) markDays(ctx context.Context, f *floors, to int64) error {
	if to <= f.hours {
		return nil
	}
	day, err := r.eachDay(ctx, max(usage.DayOf(f.hours), -epoch/24), usage.DayOf(to), func(day int64, account string) (bool, error) {
		k := key(daysPK(account), hourText(day))
		if ok, err := r.markGone(ctx, k); ok || err != nil {
			return ok, err
		}
		r.left -= 24
		if done, err := r.s.closeDay(ctx, account, day, true); err != nil || !done { // hours of an older program
			return false, err
		}
		if _, err := r.markGone(ctx, k); err != nil {
			return false, err
		}
		return true, nil // a late record may have come: its hours stay
	})
	if err != nil {
		return err
	}
	if to = min(to, day*24); to <= f.hours {
		return nil
	}
	f.hours = to
	return r.s.raise(ctx, "h", to)
}

// removeHours removes the sums of hours before the floor, where the day has its own.
func (r *retaining) removeHours(ctx context.Context, f *floors) error {
	if f.hours <= f.hoursDone*24 || f.hours < -epoch {
		return nil
	}
	day, err := r.eachDay(ctx, f.hoursDone, usage.DayOf(f.hours), func(day int64, account string) (bool, error) {
		it, err := r.s.get(ctx, "retain usage", key(daysPK(account), hourText(day)), "g")
		if err != nil || !hasN(it, "g") {
			return err == nil, err
		}
		q := span{pk: hoursPK(account), from: hourText(day * 24), to: hourText(day*24 + 23), fields: "SK"}
		if err := r.remove(ctx, q, math.MinInt64); err != nil || r.left <= 0 {
			return false, err
		}
		return true, r.s.batch(ctx, "retain usage", []types.WriteRequest{deleteRequest(key("X", hourText(day)+"#"+account))})
	})
	if err == nil && day > f.hoursDone {
		f.hoursDone = day
		err = r.s.raise(ctx, "q", day)
	}
	return err
}

// removeDays removes the sums of days before one that no TTL removes soon.
func (r *retaining) removeDays(ctx context.Context, before int64, keep time.Duration, now time.Time) error {
	if keep <= 0 || r.left <= 0 || before <= -epoch {
		return nil
	}
	accounts, err := r.s.accounts(ctx)
	for _, a := range accounts {
		if err == nil && r.left > 0 {
			err = r.remove(ctx, span{pk: daysPK(a), to: hourText(before - 1)}, now.Add(ttlGrace+time.Hour).Unix())
		}
	}
	return err
}
