package upstreamtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

type batchCounts struct {
	Processing int `json:"processing"`
	Succeeded  int `json:"succeeded"`
	Errored    int `json:"errored"`
	Canceled   int `json:"canceled"`
	Expired    int `json:"expired"`
}

type batchObject struct {
	ID                string      `json:"id"`
	Type              string      `json:"type"`
	ProcessingStatus  string      `json:"processing_status"`
	RequestCounts     batchCounts `json:"request_counts"`
	EndedAt           *time.Time  `json:"ended_at"`
	CreatedAt         time.Time   `json:"created_at"`
	ExpiresAt         time.Time   `json:"expires_at"`
	ArchivedAt        *time.Time  `json:"archived_at"`
	CancelInitiatedAt *time.Time  `json:"cancel_initiated_at"`
	ResultsURL        *string     `json:"results_url"`

	polls    int
	requests []batchRequest
}

type batchRequest struct {
	CustomID string          `json:"custom_id"`
	Params   json.RawMessage `json:"params"`
}

// batchStore holds the message batches, newest first.
type batchStore struct {
	mu  sync.Mutex
	all []*batchObject
}

func (s *batchStore) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = nil
}

func (s *batchStore) find(id string) *batchObject {
	for _, b := range s.all {
		if b.ID == id {
			return b
		}
	}
	return nil
}

// batch serves /v1/messages/batches and below; rest is the path after it.
func (x *exchange) batch(rest string) {
	id, verb, _ := strings.Cut(rest, "/")
	post, get := x.req.Method == http.MethodPost, x.req.Method == http.MethodGet
	s := &x.a.batches
	s.mu.Lock()
	defer s.mu.Unlock()
	if id == "" {
		switch {
		case post:
			x.createBatch(s)
		case get:
			listPage(x, len(s.all), func(i int) string { return s.all[i].ID }, func(i int) *batchObject { return s.all[i] })
		default:
			x.notAllowed()
		}
		return
	}
	b := s.find(id)
	switch {
	case b == nil:
		x.refuse(http.StatusNotFound, "Message batch "+id+" not found.")
	case verb == "" && get:
		x.a.advance(b)
		x.object200(b)
	case verb == "" && x.req.Method == http.MethodDelete:
		if b.ProcessingStatus != "ended" {
			x.refuse(http.StatusBadRequest, "Message batch "+id+" cannot be deleted while it is "+b.ProcessingStatus+".")
			return
		}
		s.all = slices.DeleteFunc(s.all, func(o *batchObject) bool { return o == b })
		x.object200(map[string]string{"id": id, "type": "message_batch_deleted"})
	case verb == "cancel" && post:
		if b.ProcessingStatus == "in_progress" {
			now := time.Now().UTC()
			b.ProcessingStatus, b.CancelInitiatedAt = "canceling", &now
		}
		x.object200(b)
	case verb == "results" && get:
		x.batchResults(b)
	case verb == "" || verb == "cancel" || verb == "results":
		x.notAllowed()
	default:
		x.refuse(http.StatusNotFound, "")
	}
}

func (x *exchange) createBatch(s *batchStore) {
	if !x.object() {
		return
	}
	var body struct {
		Requests []batchRequest `json:"requests"`
	}
	if err := x.req.Decode(&body); err != nil {
		x.refuse(http.StatusBadRequest, "requests: Input should be a valid list")
		return
	}
	if len(body.Requests) == 0 {
		x.refuse(http.StatusBadRequest, "requests: Field required")
		return
	}
	seen := map[string]bool{}
	for i, r := range body.Requests {
		f, ok := scan(r.Params)
		problem := check(f, true)
		switch {
		case r.CustomID == "":
			problem = "custom_id: Field required"
		case seen[r.CustomID]:
			problem = "custom_id: Duplicate custom_id"
		case !ok:
			problem = "params: Field required"
		case problem != "":
			problem = "params." + problem
		}
		if problem != "" {
			x.refuse(http.StatusBadRequest, fmt.Sprintf("requests.%d.%s", i, problem))
			return
		}
		seen[r.CustomID] = true
	}
	now := time.Now().UTC()
	b := &batchObject{
		ID: x.a.newID("msgbatch_"), Type: "message_batch", ProcessingStatus: "in_progress",
		RequestCounts: batchCounts{Processing: len(body.Requests)},
		CreatedAt:     now, ExpiresAt: now.Add(24 * time.Hour), requests: body.Requests,
	}
	s.all = append([]*batchObject{b}, s.all...)
	x.object200(b)
}

// advance moves a batch on by one retrieval.
func (a *Anthropic) advance(b *batchObject) {
	b.polls++
	if b.ProcessingStatus == "ended" || b.ProcessingStatus == "in_progress" && b.polls <= a.batchPolls {
		return
	}
	now := time.Now().UTC()
	b.RequestCounts = batchCounts{Succeeded: len(b.requests)}
	if b.CancelInitiatedAt != nil {
		b.RequestCounts = batchCounts{Canceled: len(b.requests)}
	}
	results := a.URL + "/v1/messages/batches/" + b.ID + "/results"
	b.ProcessingStatus, b.EndedAt, b.ResultsURL = "ended", &now, &results
}

// batchResults answers one line for each request: canceled, or the default
// reply (a short text if the default is something else) at the batch tier.
func (x *exchange) batchResults(b *batchObject) {
	if b.ProcessingStatus != "ended" {
		x.refuse(http.StatusNotFound, "Message batch "+b.ID+" has no results yet.")
		return
	}
	x.a.script.mu.Lock()
	reply := x.a.script.fallback
	x.a.script.mu.Unlock()
	if reply.spec == nil || reply.spec.kind != kindReply {
		reply = x.a.short
	}
	reply = reply.with(func(s *settings) {
		if !s.usageGiven {
			s.usage, s.usageGiven = Usage{Input: 10, Output: 3}, true
		}
		s.usage.ServiceTier = "batch"
	})
	end := reply.spec.plan(variantAnthropic).wholeEnd
	var out []byte
	for _, r := range b.requests {
		out = appendString(append(out, `{"custom_id":`...), r.CustomID)
		if b.CancelInitiatedAt != nil {
			out = append(out, `,"result":{"type":"canceled"}}`+"\n"...)
			continue
		}
		x.fields, _ = scan(r.Params)
		out = append(out, `,"result":{"type":"succeeded","message":`...)
		out = x.appendHead(out, `{"model":`, end)
		out = append(out, "}}\n"...)
	}
	x.w.Header().Set("Content-Type", "application/x-jsonl")
	x.answer(http.StatusOK, out)
}
