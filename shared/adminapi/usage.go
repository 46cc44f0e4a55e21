package adminapi

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// usageFilter reads account_id, node_id, key_id, model_id, session_id, agent_id, failed, from and to. Without account_id an
// administrator gets all.
func (c *call) usageFilter() (store.UsageFilter, error) {
	q := c.r.URL.Query()
	f := store.UsageFilter{Account: q.Get("account_id"), Node: q.Get("node_id"), Key: q.Get("key_id"), Model: q.Get("model_id"), Session: q.Get("session_id"),
		Agent: q.Get("agent_id")}
	var err error
	if f.Account, err = c.scopeOf(f.Account); err != nil {
		return f, err
	}
	if f.Failed, err = queryBool(q, "failed"); err != nil {
		return f, err
	}
	f.From, f.To, err = queryWindow(q)
	return f, err
}

// windowed gives sums that only records tell the window they need where the call names none: the last 31 days.
func (c *call) windowed(f *store.UsageFilter, by store.GroupBy) {
	if by != store.GroupSession && by != store.GroupAgent && f.Session == "" && f.Agent == "" && !f.Failed {
		return
	}
	if f.To.IsZero() {
		f.To = c.a.o.Now().Add(time.Minute) // clocks of instances differ
		if !f.From.IsZero() && !f.From.Before(f.To) {
			f.To = f.From.Add(store.RecordWindow)
		}
	}
	if f.From.IsZero() {
		f.From = f.To.Add(-store.RecordWindow)
	}
}

// lookPages bounds how far a last use is looked for where records are sparse: a page passes over thousands of others.
const lookPages = 20

// lastUse is when the newest record that the filter selects ended; nil when there is none, or none near enough.
func (c *call) lastUse(f store.UsageFilter) (*time.Time, error) {
	for cursor, page := "", 0; page < lookPages; page++ {
		recs, next, err := c.a.o.Usage.Records(c.r.Context(), f, cursor, 1)
		if err != nil {
			return nil, err
		}
		if len(recs) > 0 {
			return &recs[0].EndedAt, nil
		}
		if cursor = next; next == "" {
			break
		}
	}
	return nil, nil
}

func queryTime(q url.Values, name string) (time.Time, error) {
	s := q.Get(name)
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, strings.ReplaceAll(s, " ", "+")) // a plus that nobody escaped
	if err != nil {
		return t, bad(name + ": must be a time such as 2026-01-31T15:04:05Z")
	}
	return t, nil
}

// queryWindow reads from and to; each is the zero time where the call does not name it.
func queryWindow(q url.Values) (from, to time.Time, err error) {
	if from, err = queryTime(q, "from"); err != nil {
		return from, to, err
	}
	if to, err = queryTime(q, "to"); err != nil {
		return from, to, err
	}
	if !from.IsZero() && !to.IsZero() && !from.Before(to) {
		err = bad("from: must be before to")
	}
	return from, to, err
}

// maxZone bounds the name of a time zone: the longest that there is has 32 characters.
const maxZone = 64

// queryZone reads time_zone, a name of the IANA data base; UTC where the call names none. "Local" would be whatever the
// machine is set to.
func queryZone(q url.Values) (*time.Location, error) {
	s := q.Get("time_zone")
	if s == "" {
		return time.UTC, nil
	}
	zone, err := (*time.Location)(nil), error(nil)
	if len(s) <= maxZone && s != "Local" {
		zone, err = time.LoadLocation(s) // takes no path that leaves the data base
	}
	if err != nil || zone == nil {
		return nil, bad("time_zone: must be a name such as Europe/Berlin or Asia/Shanghai")
	}
	return zone, nil
}

func queryInt(q url.Values, name string, def, lo, hi int) (int, error) {
	s := q.Get(name)
	if s == "" {
		return def, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < lo || n > hi {
		return 0, bad(name + ": must be a whole number from " + itoa(lo) + " to " + itoa(hi))
	}
	return n, nil
}

// logView is one request.
type logView struct {
	ID           string    `json:"id"`
	RequestID    string    `json:"request_id"`
	UpstreamID   string    `json:"upstream_request_id,omitempty"`
	AccountID    string    `json:"account_id"`
	KeyID        string    `json:"key_id"`
	NodeID       string    `json:"node_id"`
	NodeName     string    `json:"node_name"`
	Endpoint     string    `json:"endpoint"`
	Dialect      string    `json:"dialect"`
	ModelID      string    `json:"model_id"`
	ServedModel  string    `json:"served_model,omitempty"`
	Session      string    `json:"session_id,omitempty"`
	Agent        string    `json:"agent_id,omitempty"`
	ParentAgent  string    `json:"parent_agent_id,omitempty"`
	ClientAddr   string    `json:"client_addr,omitempty"`
	Stream       bool      `json:"stream"`
	Status       int       `json:"status"`
	ErrorCode    string    `json:"error_code,omitempty"`
	Attempts     int       `json:"attempts"`
	InputTokens  int64     `json:"input_tokens"` // all classes
	OutputTokens int64     `json:"output_tokens"`
	Uncached     int64     `json:"uncached_input_tokens"`
	CacheRead    int64     `json:"cache_read_tokens"`
	CacheWrite5m int64     `json:"cache_write_5m_tokens"`
	CacheWrite1h int64     `json:"cache_write_1h_tokens"`
	Estimated    bool      `json:"estimated"`
	CostUSD      *float64  `json:"cost_usd"`
	Fast         bool      `json:"fast"`
	Geo          string    `json:"geo,omitempty"`
	Searches     int64     `json:"searches"`
	Success      bool      `json:"success"`
	Bytes        int64     `json:"bytes"`
	FirstByteMS  int64     `json:"first_byte_ms"`
	StreamMS     int64     `json:"stream_ms"` // from the first content to the end
	TotalMS      int64     `json:"total_ms"`
	CreatedAt    time.Time `json:"created_at"`
	Tries        []tryView `json:"tries,omitempty"`
}

// tryView is one attempt of a request that took several, or whose only one failed.
type tryView struct {
	NodeID   string `json:"node_id"`
	NodeName string `json:"node_name"`
	Status   int    `json:"status"` // 0: the node sent none
	Reason   string `json:"reason"` // why it was given up; empty: it answered
	StartMS  int64  `json:"start_ms"`
	TookMS   int64  `json:"took_ms"`
}

func viewLog(s *core.Settlement) logView {
	v := logView{ID: s.RequestID, RequestID: s.RequestID, UpstreamID: s.UpstreamID, AccountID: s.Account, KeyID: s.Key, NodeID: s.Node, NodeName: s.NodeName,
		Endpoint: s.Endpoint, Dialect: string(s.Dialect), ModelID: s.Model, ServedModel: s.ServedModel, Session: s.Session, Agent: s.Agent, ParentAgent: s.ParentAgent,
		ClientAddr: s.ClientAddr, Stream: s.Stream, Status: s.Status, ErrorCode: s.ErrorCode, Attempts: s.Attempts, InputTokens: s.Tokens.TotalInput(),
		OutputTokens: s.Tokens.Output, Uncached: s.Tokens.Input, CacheRead: s.Tokens.CacheRead, CacheWrite5m: s.Tokens.CacheWrite5m, CacheWrite1h: s.Tokens.CacheWrite1h,
		Estimated: s.Estimated, CostUSD: cost(s), Fast: s.Fast, Geo: s.Geo, Searches: s.Searches, Success: s.Success(), Bytes: s.Bytes,
		FirstByteMS: s.FirstByteMS, StreamMS: s.StreamMillis, TotalMS: s.TotalMS(), CreatedAt: s.EndedAt.UTC()}
	for _, t := range s.Tries {
		v.Tries = append(v.Tries, tryView{NodeID: t.Node, NodeName: t.Name, Status: t.Status, Reason: t.Reason, StartMS: t.StartMS, TookMS: t.TookMS})
	}
	return v
}

// cost is what a request cost in dollars; null where its tokens have no price.
func cost(s *core.Settlement) *float64 {
	if s.Unpriced {
		return nil
	}
	usd := dollars(s.CostUSD)
	return &usd
}

// recordPage is how many records are read at once.
const recordPage = 1000

func (c *call) usageLogs() error {
	f, err := c.usageFilter()
	if err != nil {
		return err
	}
	q := c.r.URL.Query()
	limit, err := queryInt(q, "limit", 100, 1, recordPage)
	if err != nil {
		return err
	}
	skip, err := queryInt(q, "offset", 0, 0, 100_000)
	if err != nil {
		return err
	}
	logs := make([]logView, 0, limit)
	next, err := c.records(f, q.Get("cursor"), skip, limit, func(r *core.Settlement) { logs = append(logs, viewLog(r)) })
	if err != nil {
		return err
	}
	return c.ok(map[string]any{"logs": logs, "count": len(logs), "next_cursor": next})
}

// records calls fn for up to limit records, newest first, after those that are skipped, and returns the next page's cursor.
func (c *call) records(f store.UsageFilter, cursor string, skip, limit int, fn func(*core.Settlement)) (next string, err error) {
	for n := 0; n < limit; {
		recs, next, err := c.a.o.Usage.Records(c.r.Context(), f, cursor, min(recordPage, skip+limit-n))
		if errors.Is(err, store.ErrCursor) {
			return "", bad("cursor: is not one that this API gave")
		}
		if err != nil {
			return "", err
		}
		for i := range recs {
			if skip > 0 {
				skip--
				continue
			}
			fn(&recs[i])
			n++
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	return cursor, nil
}
