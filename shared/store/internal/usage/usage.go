// Package usage is what the backends share about usage records: how they are cut, filtered, added up and paged.
package usage

import (
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// HourUS is an hour in microseconds.
const HourUS = int64(time.Hour / time.Microsecond)

// CloseAfter is how long after its end an hour is closed: from then on its sums are read instead of its records.
const CloseAfter = 10 * time.Minute

// Normalize cuts the times of a record to microseconds in UTC, which is what every backend can keep.
func Normalize(r *core.Settlement) {
	r.StartedAt = r.StartedAt.UTC().Truncate(time.Microsecond)
	r.EndedAt = r.EndedAt.UTC().Truncate(time.Microsecond)
}

// HourOf numbers the hour of a time in microseconds; 0 began in 1970.
func HourOf(us int64) int64 {
	h := us / HourUS
	if us%HourUS < 0 {
		h--
	}
	return h
}

// Closed is the first hour that is not closed yet at now.
func Closed(now time.Time) int64 { return HourOf(now.Add(-CloseAfter).UnixMicro()) }

// Match reports whether the filter selects the record.
func Match(f *store.UsageFilter, r *core.Settlement) bool {
	return (f.Account == "" || f.Account == r.Account) &&
		(f.Key == "" || f.Key == r.Key) &&
		(f.Node == "" || f.Node == r.Node) &&
		(f.Model == "" || f.Model == r.Model) &&
		(f.Session == "" || f.Session == r.Session) &&
		(f.Agent == "" || f.Agent == r.Agent) &&
		!(f.Failed && r.Success()) &&
		(f.From.IsZero() || r.EndedAt.UnixMicro() >= f.From.UnixMicro()) &&
		(f.To.IsZero() || r.EndedAt.UnixMicro() < f.To.UnixMicro())
}

// One returns the sum over one record, without its sketches.
func One(r *core.Settlement) core.UsageSum {
	s := core.UsageSum{
		Requests: 1, Attempts: int64(r.Attempts), Tokens: r.Tokens, Bytes: r.Bytes,
		FirstByteMS: r.FirstByteMS, StreamMS: r.StreamMillis, TotalMS: r.TotalMS(), CostUSD: r.CostUSD,
	}
	if r.Success() {
		s.Success = 1
	}
	if r.Estimated {
		s.Estimated = 1
	}
	if r.FirstByteMS > 0 {
		s.FirstBytes = 1
	}
	if r.Unpriced {
		s.Unpriced = 1
	}
	return s
}

// Add adds o to s; the group stays that of s.
func Add(s *core.UsageSum, o core.UsageSum) {
	s.Requests += o.Requests
	s.Success += o.Success
	s.Estimated += o.Estimated
	s.Attempts += o.Attempts
	s.Tokens = s.Tokens.Add(o.Tokens)
	s.Bytes += o.Bytes
	s.FirstByteMS += o.FirstByteMS
	s.FirstBytes += o.FirstBytes
	s.StreamMS += o.StreamMS
	s.TotalMS += o.TotalMS
	s.CostUSD += o.CostUSD
	s.Unpriced += o.Unpriced
	s.FirstByte.Merge(o.FirstByte)
	s.Total.Merge(o.Total)
}

// Cursor is a place in the list of records: behind the one that ended at EndedUS under the request id. The zero Cursor
// is the beginning.
type Cursor struct {
	EndedUS int64
	ID      string
	Set     bool
}

// After is the cursor behind a record.
func After(r *core.Settlement) Cursor {
	return Cursor{EndedUS: r.EndedAt.UnixMicro(), ID: r.RequestID, Set: true}
}

// String is the cursor as callers see it.
func (c Cursor) String() string {
	if !c.Set {
		return ""
	}
	text := strconv.FormatInt(c.EndedUS, 10) + "." + c.ID
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%08x.%s", crc32.ChecksumIEEE([]byte(text)), text))
}

// ParseCursor reads what String wrote; store.ErrCursor for anything else.
func ParseCursor(s string) (Cursor, error) {
	if s == "" {
		return Cursor{}, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return Cursor{}, store.ErrCursor
	}
	sum, text, ok := strings.Cut(string(b), ".")
	us, id, ok2 := strings.Cut(text, ".")
	n, err := strconv.ParseInt(us, 10, 64)
	if !ok || !ok2 || err != nil || sum != fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(text))) {
		return Cursor{}, store.ErrCursor
	}
	return Cursor{EndedUS: n, ID: id, Set: true}, nil
}
