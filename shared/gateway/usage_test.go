package gateway_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/gateway"
	"sluice/shared/store"
	"sluice/shared/upstream/upstreamtest"
)

func TestUsage_EqualsWhatTheUpstreamReported(t *testing.T) {
	used := upstreamtest.Usage{Input: 1234, CacheRead: 55, CacheWrite5m: 77, CacheWrite1h: 88, Output: 4321, Thinking: 100, WebSearches: 2}
	want := core.Tokens{Input: 1234, CacheRead: 55, CacheWrite5m: 77, CacheWrite1h: 88, Output: 4321}
	r := newRig(t)
	up := r.fakeNode("a")
	up.Default(upstreamtest.Events(20).Usage(used))
	for _, body := range []string{plainBody, streamBody} {
		if got := r.post(body, "X-Claude-Code-Session-Id", "sess", "X-Claude-Code-Agent-Id", "agent", "X-Claude-Code-Parent-Agent-Id", "parent"); got.status != 200 {
			t.Fatalf("got %d", got.status)
		}
	}
	for i, rec := range r.records() {
		if rec.Tokens != want || rec.Estimated || rec.Status != 200 || rec.ErrorCode != "" || rec.Attempts != 1 || !rec.Success() {
			t.Errorf("recorded %+v", rec)
		}
		if rec.Stream != (i == 1) || rec.NodeName != "a" || rec.Node != "1" || rec.Key == "" || rec.Account != core.DefaultAccount || rec.Model != "claude-x" || rec.Endpoint != "/v1/messages" {
			t.Errorf("recorded %+v", rec)
		}
		if rec.Session != "sess" || rec.Agent != "agent" || rec.ParentAgent != "parent" || rec.ClientAddr != "127.0.0.1" || rec.FirstByteMS < 1 || rec.Bytes == 0 || rec.Dialect != core.DialectAnthropic {
			t.Errorf("recorded %+v", rec)
		}
	}
	sums, err := r.store.Sums(t.Context(), store.UsageFilter{}, store.GroupNone)
	if err != nil || sums[0].Requests != 2 || sums[0].Tokens != want.Add(want) {
		t.Errorf("got %+v, %v", sums, err)
	}
}

func TestUsage_OfLongStreamsIsTakenFromTheirEnd(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a")
	up.Default(upstreamtest.EventsSized(3000, 200).Usage(upstreamtest.Usage{Input: 9, Output: 123456}))
	got := r.post(streamBody)
	if len(got.body) < 600<<10 {
		t.Fatalf("got %d bytes", len(got.body))
	}
	if rec := r.record(); rec.Tokens.Output != 123456 || rec.Estimated || rec.Bytes != int64(len(got.body)) {
		t.Errorf("recorded %+v", rec)
	}
}

func TestUsage_OfStreamsInAllTheirForms(t *testing.T) {
	delta := func(usage string) string {
		return upstreamtest.Event("message_delta", `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":`+usage+`}`)
	}
	stop := evClose
	for _, c := range []struct {
		reason    string
		events    string
		want      core.Tokens
		estimated bool
	}{
		{"cumulative counts replace", head + evText + delta(`{"output_tokens":10}`) + delta(`{"input_tokens":20,"cache_read_input_tokens":6,"output_tokens":30}`) + stop + evStop,
			core.Tokens{Input: 20, CacheRead: 6, CacheWrite5m: 3, Output: 30}, false},
		{"compaction is billed beside the totals", head + evText + delta(`{"output_tokens":10,"iterations":[{"type":"compaction","input_tokens":100,"output_tokens":7},{"type":"message","input_tokens":11,"output_tokens":10},{"type":"compaction","input_tokens":1,"cache_creation_input_tokens":2,"output_tokens":1}]}`) + evStop,
			core.Tokens{Input: 11 + 101, CacheRead: 5, CacheWrite5m: 3 + 2, Output: 10 + 8}, false},
		{"the split of the cache writes", upstreamtest.Event("message_start", `{"type":"message_start","message":{"usage":{"input_tokens":1,"cache_creation_input_tokens":30,"cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20},"output_tokens":1}}}`) + evText + delta(`{"output_tokens":5,"cache_creation_input_tokens":30}`) + evStop,
			core.Tokens{Input: 1, CacheWrite5m: 10, CacheWrite1h: 20, Output: 5}, false},
		{"no final usage", head + evText + strings.Repeat(evMore, 100) + upstreamtest.Event("message_delta", `{"type":"message_delta","delta":{}}`) + evStop,
			core.Tokens{Input: 11, CacheRead: 5, CacheWrite5m: 3, Output: -1}, true},
		{"no counts at all", upstreamtest.Event("message_start", `{"type":"message_start","message":{}}`) + evText + evStop, core.Tokens{Input: int64(len(streamBody)+3) / 4, Output: -1}, true},
		{"insane counts", head + evText + delta(`{"output_tokens":-5}`) + delta(`{"output_tokens":"7"}`) + delta(`{"output_tokens":1.5}`) + delta(`[]`) + delta(`null`) + evStop,
			core.Tokens{Input: 11, CacheRead: 5, CacheWrite5m: 3, Output: -1}, true},
		{"no event names", strings.Join(dataLines(whole), ""), core.Tokens{Input: 11, CacheRead: 5, CacheWrite5m: 3, Output: 42}, false},
		{"a message without content", evStart + evDelta + evStop, core.Tokens{Input: 11, CacheRead: 5, CacheWrite5m: 3, Output: 42}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, gateway.Settings{}, "a")
			b.up.queue(streaming(step{data: c.events}))
			w := b.post(t.Context(), streamBody)
			rec := b.record()
			if c.want.Output < 0 && rec.Tokens.Output > 0 { // an estimate: some number
				c.want.Output = rec.Tokens.Output
			}
			if rec.Tokens != c.want || rec.Estimated != c.estimated || w.text() != c.events {
				t.Errorf("%s: recorded %+v, want %+v", c.reason, rec, c.want)
			}
		})
	}
}

func TestUsage_WholeAnswerWithoutCountsIsEstimated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{}, "a")
		b.up.queue(answer("application/json", step{data: `{"type":"message","content":[{"type":"text","text":"` + strings.Repeat("x", 400) + `"}]}`}))
		b.post(t.Context(), plainBody)
		if rec := b.record(); !rec.Estimated || rec.Tokens.Output < 50 || !rec.Success() {
			t.Errorf("recorded %+v", rec)
		}
	})
}

func TestUsage_FailuresAreSettledOnce(t *testing.T) {
	for _, c := range bad {
		for _, body := range []string{plainBody, streamBody} {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, gateway.Settings{RetryMax: 2}, "a", "b")
				b.up.queue(c.play)
				w := b.post(t.Context(), body)
				rec := b.record()
				if body == plainBody && w.status == 200 { // not every fault of a stream is one of a whole answer
					return
				}
				if rec.Success() || rec.Status != w.status || rec.Status < 400 || rec.ErrorCode == "" || rec.Attempts < 2 || rec.NodeName == "" {
					t.Errorf("%s: got %d, recorded %+v", c.reason, w.status, rec)
				}
			})
		}
	}
}

func TestUsage_FailedAttemptsDoNotAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{}, "a", "b")
		b.up.on("a", streaming(step{data: head + upstreamtest.ErrorEvent("overloaded_error", "x")}))
		b.up.on("b", streaming(step{data: whole}))
		b.post(t.Context(), streamBody)
		if rec := b.record(); rec.Tokens != (core.Tokens{Input: 11, CacheRead: 5, CacheWrite5m: 3, Output: 42}) || rec.Estimated {
			t.Errorf("recorded %+v", rec)
		}
	})
}

func TestUsage_TimesOfAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{}, "a")
		b.up.queue(streaming(step{wait: 2 * time.Second}, step{data: head}, step{wait: time.Second, data: evText}, step{wait: 4 * time.Second, data: ends}))
		b.post(t.Context(), streamBody)
		if rec := b.record(); rec.FirstByteMS != 3000 || rec.StreamMillis != 4000 || rec.TotalMS() != 7000 {
			t.Errorf("recorded %+v", rec)
		}
	})
}

// Bad bodies are recorded like every other failed request, so the key's limits must bound how many there can be.
func TestUsage_BadBodiesAreRecordedWithinTheLimits(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a")
	_, limited := r.key(limits(core.Limits{RPD: 2}))
	wantError(t, r.post("{", "X-Api-Key", limited), 400, "invalid_request_error", "not a JSON object")
	wantError(t, r.post(`{"messages":[]}`, "X-Api-Key", limited), 400, "invalid_request_error", "model: Field required")
	wantError(t, r.post("{", "X-Api-Key", limited), 429, "rate_limit_error", "requests per day")
	recs := r.records()
	if len(recs) != 2 || up.Count() != 0 {
		t.Fatalf("%d records, %d sent", len(recs), up.Count())
	}
	for _, rec := range recs {
		if rec.Status != 400 || rec.ErrorCode != "invalid_request" || rec.Attempts != 0 || rec.Tokens != (core.Tokens{}) || rec.Estimated {
			t.Errorf("recorded %+v", rec)
		}
	}
}

func TestUsage_WhatWasNeverAdmittedIsNotRecorded(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a")
	_, limited := r.key(limits(core.Limits{RPD: 1}))
	r.post(plainBody, "X-Api-Key", limited)
	r.post(plainBody, "X-Api-Key", limited)     // refused by the limit
	r.post(plainBody, "X-Api-Key", "unknown")   // unknown key
	r.post(plainBody, "X-Api-Key", operatorKey) // may not call models
	r.do("GET", "/v1/messages", "")
	r.do("GET", "/v1/unknown", "")
	if rec := r.record(); !rec.Success() || up.Count() != 1 {
		t.Errorf("recorded %+v, %d sent", rec, up.Count())
	}
	r.do("POST", "/v1/messages/count_tokens", plainBody)
	if got := r.records()[1]; got.Endpoint != "/v1/messages/count_tokens" || got.Status != 200 || got.Tokens != (core.Tokens{}) || got.Estimated {
		t.Errorf("recorded %+v", got)
	}
}

func TestUsage_ManyAtOnceAreAllSettled(t *testing.T) {
	r := newRig(t, "PROXY_FAIL_THRESHOLD", "100")
	a := r.fakeNode("a")
	r.fakeNode("b", weight(2))
	a.Respond(func(q upstreamtest.Request) upstreamtest.Behaviour {
		switch len(q.Body) % 5 {
		case 0:
			return upstreamtest.Overloaded()
		case 1:
			return upstreamtest.Events(5).Cut(upstreamtest.AfterDeltas(3), upstreamtest.EndReset)
		case 2:
			return upstreamtest.Events(5).Cut(upstreamtest.AfterStart, upstreamtest.EndReset)
		}
		return upstreamtest.Events(5)
	})
	var wg sync.WaitGroup
	const n = 60
	for i := range n {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			body := strings.Replace(streamBody, "hi", strings.Repeat("h", i+1), 1)
			resp, err := r.client.Do(r.request(ctx, http.MethodPost, "/v1/messages", body))
			if err != nil {
				t.Error(err)
				return
			}
			if i%7 == 0 {
				cancel() // leaves in the middle
			}
			buf := make([]byte, 1<<16)
			for err == nil {
				_, err = resp.Body.Read(buf)
			}
			_ = resp.Body.Close()
		})
	}
	wg.Wait()
	if got := r.records(); len(got) != n {
		t.Errorf("got %d records of %d requests", len(got), n)
	}
}

func TestPanic_SettlesFreesAndAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{}, "a")
		b.key("2", "limited-key-of-this-test", core.Limits{Concurrency: 1})
		b.up.queue(func(context.Context) (*http.Response, error) { panic("in the transport") }, streaming(step{data: whole}))
		w := b.post(t.Context(), streamBody, "X-Api-Key", "limited-key-of-this-test")
		wantError(t, w.reply(), 500, "api_error", "Internal error")
		if rec := b.record(); rec.Status != 500 || rec.ErrorCode != "internal" {
			t.Errorf("recorded %+v", rec)
		}
		if w := b.post(t.Context(), streamBody, "X-Api-Key", "limited-key-of-this-test"); w.text() != whole {
			t.Errorf("the slot was not freed: %s", w.text())
		}
	})
	synctest.Test(t, func(t *testing.T) { // once the answer has begun, only breaking it off is honest
		b := newBubble(t, gateway.Settings{}, "a")
		b.up.queue(streaming(step{data: head + evText}, step{wait: time.Second, data: evMore}))
		w := newClient(t)
		w.onWrite = func(p []byte) error {
			if strings.Contains(string(p), " there") {
				panic("in the writer")
			}
			return nil
		}
		func() {
			defer func() {
				if p := recover(); p != http.ErrAbortHandler {
					t.Errorf("got panic %v", p)
				}
			}()
			b.serve(t.Context(), w, streamBody)
		}()
		if rec := b.record(); rec.Tokens.Input != 11 {
			t.Errorf("recorded %+v", rec)
		}
	})
}
