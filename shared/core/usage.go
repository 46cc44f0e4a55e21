package core

import "time"

// Tokens are one request's tokens by class. Total input is Input + CacheRead + CacheWrite5m + CacheWrite1h.
type Tokens struct {
	Input        int64 `json:"input,omitempty"` // uncached
	CacheRead    int64 `json:"cache_read,omitempty"`
	CacheWrite5m int64 `json:"cache_write_5m,omitempty"`
	CacheWrite1h int64 `json:"cache_write_1h,omitempty"`
	Output       int64 `json:"output,omitempty"`
}

// TotalInput sums every class of input.
func (t Tokens) TotalInput() int64 { return t.Input + t.CacheRead + t.CacheWrite5m + t.CacheWrite1h }

// Add returns the sum of two.
func (t Tokens) Add(o Tokens) Tokens {
	return Tokens{t.Input + o.Input, t.CacheRead + o.CacheRead, t.CacheWrite5m + o.CacheWrite5m, t.CacheWrite1h + o.CacheWrite1h, t.Output + o.Output}
}

// Settlement is the record of one request, written exactly once, under its RequestID. It holds no content.
type Settlement struct {
	RequestID    string    `json:"request_id"`
	UpstreamID   string    `json:"upstream_request_id,omitempty"`
	Account      string    `json:"account"`
	Key          string    `json:"key"`
	Node         string    `json:"node,omitempty"`      // id of the node that answered last; empty: none was reached
	NodeName     string    `json:"node_name,omitempty"` // as it was then
	Endpoint     string    `json:"endpoint"`            // route, "/v1/messages"
	Dialect      Dialect   `json:"dialect"`
	Model        string    `json:"model,omitempty"`        // as asked for
	ServedModel  string    `json:"served_model,omitempty"` // as sent upstream
	Session      string    `json:"session,omitempty"`
	Agent        string    `json:"agent,omitempty"`
	ParentAgent  string    `json:"parent_agent,omitempty"`
	ClientAddr   string    `json:"client_addr,omitempty"`
	Stream       bool      `json:"stream,omitempty"`
	Status       int       `json:"status"` // HTTP status the client was sent; 499: it left before one
	ErrorCode    string    `json:"error_code,omitempty"`
	Attempts     int       `json:"attempts"`
	Tokens       Tokens    `json:"tokens,omitzero"`
	Estimated    bool      `json:"estimated,omitempty"`       // Tokens are not, or not only, what the upstream reported
	CostUSD      int64     `json:"cost_usd_micros,omitempty"` // micro-USD at the prices of that time
	Unpriced     bool      `json:"unpriced,omitempty"`        // tokens were used that have no price: CostUSD is 0 and means nothing
	Bytes        int64     `json:"bytes,omitempty"`           // of the body sent to the client
	StartedAt    time.Time `json:"started_at"`
	EndedAt      time.Time `json:"ended_at"`                // decides the hour that the record counts in
	FirstByteMS  int64     `json:"first_byte_ms,omitempty"` // from start to the first content sent; 0: none was sent
	StreamMillis int64     `json:"stream_ms,omitempty"`     // from the first content to the end

	// What else the price depends on, as the upstream told it.
	Fast     bool   `json:"fast,omitempty"`     // answered in fast mode, or at the tier "priority" of OpenAI or Bedrock
	Geo      string `json:"geo,omitempty"`      // where it was answered, as the upstream names it; empty: anywhere
	Searches int64  `json:"searches,omitempty"` // of the web, by the upstream's own tool

	// Tries are the attempts, where there was more than one or the only one failed: at most 8.
	Tries []Try `json:"tries,omitempty"`
}

// Try is one attempt at a node.
type Try struct {
	Node    string `json:"node"`             // id
	Name    string `json:"name,omitempty"`   // as it was then
	Status  int    `json:"status,omitempty"` // HTTP status of the upstream; 0: it sent none
	Reason  string `json:"reason,omitempty"` // why it was given up; empty: it answered
	StartMS int64  `json:"start_ms"`         // from the request's start
	TookMS  int64  `json:"took_ms"`
}

// Success reports whether the client got a whole answer.
func (s *Settlement) Success() bool { return s.Status >= 200 && s.Status < 400 && s.ErrorCode == "" }

// TotalMS is the time from start to end in milliseconds.
func (s *Settlement) TotalMS() int64 { return s.EndedAt.Sub(s.StartedAt).Milliseconds() }

// UsageSum is a sum over settlements: of one group when Group is set, else of all.
type UsageSum struct {
	Group       string    `json:"group,omitempty"` // value of what was grouped by: of a day 2026-03-14, of a month 2026-03
	Hour        time.Time `json:"hour,omitzero"`   // set when grouped by hour, day or month: its start, UTC
	Requests    int64     `json:"requests"`
	Success     int64     `json:"success"`
	Estimated   int64     `json:"estimated"` // requests whose tokens are estimates
	Attempts    int64     `json:"attempts"`
	Tokens      Tokens    `json:"tokens"`
	Bytes       int64     `json:"bytes"`
	FirstByteMS int64     `json:"first_byte_ms"` // sum over FirstBytes requests
	FirstBytes  int64     `json:"first_bytes"`
	StreamMS    int64     `json:"stream_ms"` // sum
	TotalMS     int64     `json:"total_ms"`  // sum
	CostUSD     int64     `json:"cost_usd_micros"`
	Unpriced    int64     `json:"unpriced"` // requests that CostUSD lacks because their tokens have no price

	// The times of which FirstByteMS and TotalMS are the sums, each within 5 %. They count fewer than FirstBytes and
	// Requests, or none, where a program wrote the sum that knew no sketches.
	FirstByte Sketch `json:"first_byte,omitzero"`
	Total     Sketch `json:"total,omitzero"`

	Others int64 `json:"others,omitempty"` // of the last sum by session or agent: how many groups it is of, all that have no sum of their own
}
