package sqlstore

import (
	"context"
	"log/slog"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/store/internal/usage"
)

// Saver is the saver under test.
type Saver = saver

const (
	QueueMax   = queueMax
	SaveAtOnce = saveAtOnce
	SaveEvery  = saveEvery
	SaveRetry  = saveRetry
	SaveChunk  = saveChunk
)

// NewSaver starts a saver whose function is given.
func NewSaver(save func(context.Context, []core.Settlement) error, unsaved func() bool, logger *slog.Logger) *Saver {
	s := newSaver(save, unsaved, logger)
	go s.run()
	return s
}

func (s *saver) Add(r core.Settlement) error     { return s.add(&r) }
func (s *saver) Flush(ctx context.Context) error { return s.flush(ctx) }
func (s *saver) Close(ctx context.Context) error { return s.close(ctx) }
func (s *saver) Last() error                     { return s.last() }
func (s *saver) Wake()                           { signal(s.wake) }

// RecordsQuery is the query of the second page.
func RecordsQuery(f store.UsageFilter) (string, []any) {
	return recordsQuery(&f, usage.Cursor{EndedUS: 1, ID: "x", Set: true}, usage.Cursor{ID: "e", Set: true}, 10)
}

// EndQuery is the query that bounds the second page.
func EndQuery(f store.UsageFilter) (string, []any) {
	return endQuery(&f, usage.Cursor{EndedUS: 1, ID: "x", Set: true}, 10)
}

// SumsQuery is the query of Sums when the hours before closed are closed, and their days; those a week before it are gone.
func SumsQuery(f store.UsageFilter, by store.GroupBy, closed int64) (string, []any) {
	d := Dialect{Cost: "length(body)", Unpriced: "0", Join: "group_concat(%s, '')"}
	m := marks{usage.Marks{Closed: closed, Days: usage.DayOf(closed), Records: closed - 100, Hours: usage.HourFloor(closed - 168)}, closed}
	return d.sumsQuery(&f, by, &m)
}

// Query writes parameters the way of the dialect.
func (d Dialect) Query(q string) string { return d.query(q) }
