package adminapi

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// column is a column of a CSV export: the field's name in JSON, and what appends its cell.
type column[T any] struct {
	name string
	cell func(dst []byte, v *T) []byte
}

func appendComma(dst []byte, i int) []byte {
	if i > 0 {
		dst = append(dst, ',')
	}
	return dst
}

// appendCell appends a text as a cell of RFC 4180. A text that a spreadsheet would take for a formula gets an apostrophe:
// models and sessions are named by whoever sends requests, and who opens the file is not them.
func appendCell(dst []byte, s string) []byte {
	s = harmless(strings.ToValidUTF8(s, "\uFFFD"))
	if !strings.ContainsAny(s, "\",;\r\n\t ") {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	dst = append(dst, strings.ReplaceAll(s, `"`, `""`)...)
	return append(dst, '"')
}

// harmless keeps spreadsheets from taking a text for a formula, or a part of it: where a semicolon parts cells, as in many
// countries, or a tab does, quotes within a line do not hold a cell together.
func harmless(s string) string {
	var b strings.Builder
	signs := "=+-@＝＋－＠\t\r\n"
	for s != "" {
		if formula(s, signs) {
			b.WriteByte('\'')
		}
		n := strings.IndexAny(s, ";\t\r\n") + 1
		if n == 0 {
			n = len(s)
		}
		b.WriteString(s[:n])
		s, signs = s[n:], "=+-@＝＋－＠" // what parts cells is no sign behind another
	}
	return b.String()
}

// formula reports whether a spreadsheet may take a text for more than a text. Some take the wide forms of the signs, too, and
// some pass over blanks.
func formula(s, signs string) bool {
	first, size := utf8.DecodeRuneInString(strings.TrimLeft(s, " \u00a0\u3000\ufeff\x00"))
	return size > 0 && strings.ContainsRune(signs, first)
}

func textColumn[T any](name string, get func(*T) string) column[T] {
	return column[T]{name, func(dst []byte, v *T) []byte { return appendCell(dst, get(v)) }}
}

func wholeColumn[T any](name string, get func(*T) int64) column[T] {
	return column[T]{name, func(dst []byte, v *T) []byte { return strconv.AppendInt(dst, get(v), 10) }}
}

// realColumn has no text where there is no number.
func realColumn[T any](name string, get func(*T) *float64) column[T] {
	return column[T]{name, func(dst []byte, v *T) []byte {
		if f := get(v); f != nil {
			dst = strconv.AppendFloat(dst, *f, 'f', -1, 64)
		}
		return dst
	}}
}

func boolColumn[T any](name string, get func(*T) bool) column[T] {
	return column[T]{name, func(dst []byte, v *T) []byte { return strconv.AppendBool(dst, get(v)) }}
}

// logColumns are those of the log of requests.
func logColumns() []column[logView] {
	type v = logView
	return []column[v]{
		textColumn("created_at", func(v *v) string { return v.CreatedAt.Format(time.RFC3339Nano) }),
		textColumn("id", func(v *v) string { return v.ID }),
		textColumn("request_id", func(v *v) string { return v.RequestID }),
		textColumn("upstream_request_id", func(v *v) string { return v.UpstreamID }),
		textColumn("account_id", func(v *v) string { return v.AccountID }),
		textColumn("key_id", func(v *v) string { return v.KeyID }),
		textColumn("node_id", func(v *v) string { return v.NodeID }),
		textColumn("node_name", func(v *v) string { return v.NodeName }),
		textColumn("endpoint", func(v *v) string { return v.Endpoint }),
		textColumn("dialect", func(v *v) string { return v.Dialect }),
		textColumn("model_id", func(v *v) string { return v.ModelID }),
		textColumn("served_model", func(v *v) string { return v.ServedModel }),
		textColumn("session_id", func(v *v) string { return v.Session }),
		textColumn("agent_id", func(v *v) string { return v.Agent }),
		textColumn("parent_agent_id", func(v *v) string { return v.ParentAgent }),
		textColumn("client_addr", func(v *v) string { return v.ClientAddr }),
		boolColumn("stream", func(v *v) bool { return v.Stream }),
		wholeColumn("status", func(v *v) int64 { return int64(v.Status) }),
		boolColumn("success", func(v *v) bool { return v.Success }),
		textColumn("error_code", func(v *v) string { return v.ErrorCode }),
		wholeColumn("attempts", func(v *v) int64 { return int64(v.Attempts) }),
		wholeColumn("input_tokens", func(v *v) int64 { return v.InputTokens }),
		wholeColumn("output_tokens", func(v *v) int64 { return v.OutputTokens }),
		wholeColumn("uncached_input_tokens", func(v *v) int64 { return v.Uncached }),
		wholeColumn("cache_read_tokens", func(v *v) int64 { return v.CacheRead }),
		wholeColumn("cache_write_5m_tokens", func(v *v) int64 { return v.CacheWrite5m }),
		wholeColumn("cache_write_1h_tokens", func(v *v) int64 { return v.CacheWrite1h }),
		boolColumn("estimated", func(v *v) bool { return v.Estimated }),
		realColumn("cost_usd", func(v *v) *float64 { return v.CostUSD }),
		boolColumn("fast", func(v *v) bool { return v.Fast }),
		textColumn("geo", func(v *v) string { return v.Geo }),
		wholeColumn("searches", func(v *v) int64 { return v.Searches }),
		wholeColumn("bytes", func(v *v) int64 { return v.Bytes }),
		wholeColumn("first_byte_ms", func(v *v) int64 { return v.FirstByteMS }),
		wholeColumn("stream_ms", func(v *v) int64 { return v.StreamMS }),
		wholeColumn("total_ms", func(v *v) int64 { return v.TotalMS }),
		textColumn("tries", func(v *v) string { return triesText(v.Tries) }),
	}
}

// triesText is the attempts as JSON; empty where there are none to tell of.
func triesText(tries []tryView) string {
	if len(tries) == 0 {
		return ""
	}
	text, _ := json.Marshal(tries) // strings and numbers
	return string(text)
}

// sumColumns are those of sums.
func sumColumns() []column[sumView] {
	type v = sumView
	columns := []column[v]{
		textColumn("account_id", func(v *v) string { return v.AccountID }),
		textColumn("model_id", func(v *v) string { return v.ModelID }),
		textColumn("node_id", func(v *v) string { return v.NodeID }),
		textColumn("key_id", func(v *v) string { return v.KeyID }),
		textColumn("hour", func(v *v) string { return v.Hour }),
		textColumn("day", func(v *v) string { return v.Day }),
		textColumn("month", func(v *v) string { return v.Month }),
		textColumn("session_id", func(v *v) string { return deref(v.SessionID) }),
		textColumn("agent_id", func(v *v) string { return deref(v.AgentID) }),
		wholeColumn("others", func(v *v) int64 { return v.Others }),
		wholeColumn("total_requests", func(v *v) int64 { return v.Requests }),
		wholeColumn("success_requests", func(v *v) int64 { return v.Success }),
		realColumn("success_rate", func(v *v) *float64 { return v.SuccessRate }),
		wholeColumn("estimated_requests", func(v *v) int64 { return v.Estimated }),
		wholeColumn("attempts", func(v *v) int64 { return v.Attempts }),
		wholeColumn("total_input_tokens", func(v *v) int64 { return v.InputTokens }),
		wholeColumn("total_output_tokens", func(v *v) int64 { return v.OutputTokens }),
		wholeColumn("uncached_input_tokens", func(v *v) int64 { return v.Uncached }),
		wholeColumn("cache_read_tokens", func(v *v) int64 { return v.CacheRead }),
		wholeColumn("cache_write_5m_tokens", func(v *v) int64 { return v.CacheWrite5m }),
		wholeColumn("cache_write_1h_tokens", func(v *v) int64 { return v.CacheWrite1h }),
		realColumn("cache_read_ratio", func(v *v) *float64 { return v.CacheRatio }),
		realColumn("total_cost_usd", func(v *v) *float64 { return v.CostUSD }),
		wholeColumn("unpriced_requests", func(v *v) int64 { return v.Unpriced }),
		wholeColumn("bytes", func(v *v) int64 { return v.Bytes }),
	}
	columns = append(columns, timesColumns("first_byte_ms", func(v *v) *timesView { return v.FirstByte })...)
	return append(columns, timesColumns("total_ms", func(v *v) *timesView { return v.Total })...)
}

// timesColumns are those of times: the name of the object, a dot, and the name in it.
func timesColumns(name string, get func(*sumView) *timesView) []column[sumView] {
	var columns []column[sumView]
	for _, part := range []struct {
		name string
		of   func(*timesView) *float64
	}{
		{"avg", func(t *timesView) *float64 { return &t.Avg }}, {"p50", func(t *timesView) *float64 { return t.P50 }}, {"p90", func(t *timesView) *float64 { return t.P90 }},
		{"p95", func(t *timesView) *float64 { return t.P95 }}, {"p99", func(t *timesView) *float64 { return t.P99 }},
	} {
		columns = append(columns, realColumn(name+"."+part.name, func(v *sumView) *float64 {
			if t := get(v); t != nil {
				return part.of(t)
			}
			return nil
		}))
	}
	return columns
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
