package adminui

import (
	"net/http"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"
)

// logRow is a request as the API's log tells. What was asked and answered is not in there.
type logRow struct {
	ID           string    `json:"id"`
	UpstreamID   string    `json:"upstream_request_id"`
	AccountID    string    `json:"account_id"`
	KeyID        string    `json:"key_id"`
	NodeID       string    `json:"node_id"`
	NodeName     string    `json:"node_name"`
	Endpoint     string    `json:"endpoint"`
	Dialect      string    `json:"dialect"`
	ModelID      string    `json:"model_id"`
	ServedModel  string    `json:"served_model"`
	Session      string    `json:"session_id"`
	Agent        string    `json:"agent_id"`
	ParentAgent  string    `json:"parent_agent_id"`
	ClientAddr   string    `json:"client_addr"`
	Stream       bool      `json:"stream"`
	Status       int       `json:"status"`
	ErrorCode    string    `json:"error_code"`
	Attempts     int64     `json:"attempts"`
	InputTokens  int64     `json:"input_tokens"`
	OutputTokens int64     `json:"output_tokens"`
	Uncached     int64     `json:"uncached_input_tokens"`
	CacheRead    int64     `json:"cache_read_tokens"`
	CacheWrite5m int64     `json:"cache_write_5m_tokens"`
	CacheWrite1h int64     `json:"cache_write_1h_tokens"`
	Estimated    bool      `json:"estimated"`
	CostUSD      *float64  `json:"cost_usd"`
	Fast         bool      `json:"fast"`
	Geo          string    `json:"geo"`
	Searches     int64     `json:"searches"`
	Success      bool      `json:"success"`
	Bytes        int64     `json:"bytes"`
	FirstByteMS  float64   `json:"first_byte_ms"`
	StreamMS     float64   `json:"stream_ms"`
	TotalMS      float64   `json:"total_ms"`
	CreatedAt    time.Time `json:"created_at"`
	Tries        []struct {
		NodeID   string  `json:"node_id"`
		NodeName string  `json:"node_name"`
		Status   int     `json:"status"`
		Reason   string  `json:"reason"`
		StartMS  float64 `json:"start_ms"`
		TookMS   float64 `json:"took_ms"`
	} `json:"tries"`

	Dialog string // id of its details
	Bodies string // address of what was captured of it; empty: nothing can have been kept, or not for the reader
}

// NodeTitle is what the node was called.
func (l *logRow) NodeTitle() string {
	switch {
	case l.NodeName != "":
		return l.NodeName
	case l.NodeID != "":
		return "#" + l.NodeID
	}
	return "–"
}

// StatusCode is the status as text.
func (l *logRow) StatusCode() string { return strconv.Itoa(l.Status) }

// Classes are the tokens by class.
func (l *logRow) Classes() []class {
	s := sum{InputTokens: l.InputTokens, OutputTokens: l.OutputTokens, Uncached: l.Uncached, CacheRead: l.CacheRead, CacheWrite5m: l.CacheWrite5m, CacheWrite1h: l.CacheWrite1h}
	return s.Classes()
}

// usageLog asks for a page of the log.
func (v *view) usageLog(d *usageView) error {
	q := url.Values{"limit": {strconv.Itoa(logPage)}}
	for k, vs := range d.query {
		if k != "time_zone" {
			q[k] = vs
		}
	}
	if c := v.Query("cursor"); c != "" {
		q.Set("cursor", c)
	}
	var out struct {
		Logs []*logRow
		Next string `json:"next_cursor"`
	}
	if err := v.get(usageAPI+"/logs", q, &out); err != nil {
		return err
	}
	kept, err := v.captured(out.Logs)
	if err != nil {
		return err
	}
	for i, l := range out.Logs {
		l.Dialog = "request-" + strconv.Itoa(i)
		if from, ok := kept[l.AccountID]; ok && l.ID != "" && !l.CreatedAt.Before(from) {
			l.Bodies = v.link(usagePath+"/"+url.PathEscape(l.ID)) + "?" + account(l.AccountID).Encode()
		}
		if l.ID == v.Query("id") {
			d.One = l
		}
	}
	d.Logs, d.Next = out.Logs, out.Next
	return nil
}

// bodies are what was captured of a request.
type bodies struct {
	ID          string    `json:"request_id"`
	AccountID   string    `json:"account_id"`
	Endpoint    string    `json:"endpoint"`
	ModelID     string    `json:"model_id"`
	NodeName    string    `json:"node_name"`
	Status      int64     `json:"status"`
	StartedAt   time.Time `json:"started_at"`
	Request     string    `json:"request"`
	Response    string    `json:"response"`
	RequestCut  bool      `json:"request_truncated"`
	ResponseCut bool      `json:"response_truncated"`
	Redactions  int64     `json:"redactions"`
}

// showBodies shows what was captured of a request, to administrators. The API notes each reading.
func showBodies(v *view) error {
	if !v.Me.Admin {
		return &Refusal{Status: http.StatusForbidden, Message: v.t("usage.bodies.admin")}
	}
	if v.id == "" || !utf8.ValidString(v.id) || len(v.id) > 200 {
		return &Refusal{Status: http.StatusNotFound, Message: v.t("usage.bodies.none")}
	}
	var b bodies
	if err := v.get(usageAPI+"/logs/"+url.PathEscape(v.id)+"/bodies", account(v.Query("account_id")), &b); err != nil {
		return err
	}
	return v.render("bodies.html", &b)
}
