package upstreamtest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

func defaultModels() []string {
	return []string{
		"claude-fable-5-2", "claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5",
		"claude-opus-5", "claude-sonnet-5", "claude-sonnet-4-6", "claude-haiku-4-5",
	}
}

type modelObject struct {
	Type           string         `json:"type"`
	ID             string         `json:"id"`
	DisplayName    string         `json:"display_name"`
	CreatedAt      time.Time      `json:"created_at"`
	Lifecycle      string         `json:"lifecycle"`
	Line           *string        `json:"line"`
	MaxInputTokens int            `json:"max_input_tokens"`
	MaxTokens      int            `json:"max_tokens"`
	DeprecatedAt   *time.Time     `json:"deprecated_at"`
	RetiresAt      *time.Time     `json:"retires_at"`
	Capabilities   map[string]any `json:"capabilities"`
}

// modelAt describes the i-th model; the list is newest first.
func (a *Anthropic) modelAt(i int) modelObject {
	id := a.models[i]
	m := modelObject{
		Type: "model", ID: id, DisplayName: displayName(id), Lifecycle: "active",
		CreatedAt:      a.released.AddDate(0, 0, -i),
		MaxInputTokens: 1_000_000, MaxTokens: 128_000, Capabilities: map[string]any{},
	}
	for _, line := range []string{"haiku", "sonnet", "opus", "fable", "mythos"} {
		if strings.Contains(id, line) {
			m.Line = &line
		}
	}
	yes := map[string]any{"supported": true}
	for _, name := range []string{"batch", "citations", "code_execution", "image_input", "pdf_input", "server_tools", "structured_outputs"} {
		m.Capabilities[name] = yes
	}
	m.Capabilities["context_management"] = map[string]any{"supported": true,
		"clear_thinking_20251015": yes, "clear_tool_uses_20250919": yes, "compact_20260112": yes}
	m.Capabilities["effort"] = map[string]any{"supported": true,
		"low": yes, "medium": yes, "high": yes, "xhigh": yes, "max": yes}
	m.Capabilities["thinking"] = map[string]any{"supported": true,
		"types": map[string]any{"adaptive": yes, "enabled": yes}}
	return m
}

// displayName makes "Claude Opus 5.5" of "claude-opus-5-5".
func displayName(id string) string {
	var b strings.Builder
	digit := false
	for i, part := range strings.Split(id, "-") {
		if part == "" {
			continue
		}
		isDigit := part[0] >= '0' && part[0] <= '9'
		switch {
		case i > 0 && digit && isDigit:
			b.WriteByte('.')
		case i > 0:
			b.WriteByte(' ')
		}
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		digit = isDigit
	}
	return b.String()
}

// model serves GET /v1/models and /v1/models/{id}.
func (x *exchange) model(id string) {
	if x.req.Method != http.MethodGet {
		x.notAllowed()
		return
	}
	a := x.a
	if id == "" {
		listPage(x, len(a.models), func(i int) string { return a.models[i] }, a.modelAt)
		return
	}
	id, err := url.PathUnescape(id)
	if err == nil {
		for i, known := range a.models {
			if known == id {
				x.object200(a.modelAt(i))
				return
			}
		}
	}
	x.refuse(http.StatusNotFound, "model: "+id)
}

// listPage answers a list of n things with one page of it, honouring limit
// (1 to 1000, 20 by default), after_id and before_id.
func listPage[T any](x *exchange, n int, id func(int) string, at func(int) T) {
	q, err := url.ParseQuery(x.req.RawQuery)
	if err != nil {
		x.refuse(http.StatusBadRequest, "Invalid query string")
		return
	}
	limit := 20
	if v := q.Get("limit"); v != "" {
		limit, err = strconv.Atoi(v)
		switch {
		case err != nil:
			x.refuse(http.StatusBadRequest, "limit: Input should be a valid integer")
			return
		case limit < 1:
			x.refuse(http.StatusBadRequest, "limit: Input should be greater than or equal to 1")
			return
		case limit > 1000:
			x.refuse(http.StatusBadRequest, "limit: Input should be less than or equal to 1000")
			return
		}
	}
	position := func(name string) (int, bool) {
		want := q.Get(name)
		for i := range n {
			if id(i) == want {
				return i, true
			}
		}
		if want != "" {
			x.refuse(http.StatusBadRequest, name+": Invalid cursor")
		}
		return -1, want == ""
	}
	after, ok := position("after_id")
	if !ok {
		return
	}
	before, ok := position("before_id")
	if !ok {
		return
	}
	from, to := after+1, min(after+1+limit, n)
	more := to < n
	if before >= 0 {
		from, to = max(before-limit, 0), before
		more = from > 0
	}
	page := struct {
		Data    []T     `json:"data"`
		HasMore bool    `json:"has_more"`
		FirstID *string `json:"first_id"`
		LastID  *string `json:"last_id"`
	}{Data: []T{}, HasMore: more}
	for i := from; i < to; i++ {
		page.Data = append(page.Data, at(i))
	}
	if from < to {
		first, last := id(from), id(to-1)
		page.FirstID, page.LastID = &first, &last
	}
	x.object200(page)
}

// object200 answers v as JSON.
func (x *exchange) object200(v any) {
	body, err := json.Marshal(v)
	if err != nil {
		x.refuse(http.StatusInternalServerError, "")
		return
	}
	x.answer(http.StatusOK, body)
}
