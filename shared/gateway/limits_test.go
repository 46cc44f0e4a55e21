package gateway_test

import (
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/gateway"
	"sluice/shared/upstream/upstreamtest"
)

const limitedKey = "limited-key-of-these-tests"

func TestLimit_RequestsPerMinute(t *testing.T) {
	for _, c := range []struct {
		rpm  int64
		wait int
	}{{1, 59}, {2, 30}, {7, 9}, {60, 1}, {600, 1}} {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, gateway.Settings{}, "a")
			b.key("2", limitedKey, core.Limits{RPM: c.rpm})
			b.up.queue(streaming(step{data: whole}))
			for i := range c.rpm {
				w := b.post(t.Context(), streamBody, "X-Api-Key", limitedKey)
				if w.status != 200 || w.sent.Get("Anthropic-Ratelimit-Requests-Limit") != strconv.FormatInt(c.rpm, 10) || w.sent.Get("Anthropic-Ratelimit-Requests-Remaining") != strconv.FormatInt(c.rpm-i-1, 10) {
					t.Fatalf("request %d of %d: got %d, %v", i, c.rpm, w.status, w.sent)
				}
				if _, err := time.Parse(time.RFC3339, w.sent.Get("Anthropic-Ratelimit-Requests-Reset")); err != nil {
					t.Fatal(err)
				}
			}
			sent := len(b.up.sent)
			w := b.post(t.Context(), streamBody, "X-Api-Key", limitedKey)
			wantError(t, w.reply(), 429, "rate_limit_error", "This API key has reached its limit of "+strconv.FormatInt(c.rpm, 10)+" requests per minute")
			if got := w.sent.Get("Retry-After"); got != strconv.Itoa(c.wait) || len(b.up.sent) != sent || w.sent.Get("Anthropic-Ratelimit-Requests-Remaining") != "0" {
				t.Errorf("%d a minute: got retry-after %s, want %d: under 60 and whole (D16)", c.rpm, got, c.wait)
			}
			_ = pause(t.Context(), time.Duration(c.wait+1)*time.Second)
			if w := b.post(t.Context(), streamBody, "X-Api-Key", limitedKey); w.status != 200 {
				t.Errorf("%d a minute: still refused after %d s: %s", c.rpm, c.wait+1, w.text())
			}
		})
	}
}

func TestLimit_RequestsPerDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{}, "a")
		b.key("2", limitedKey, core.Limits{RPD: 2})
		b.up.queue(streaming(step{data: whole}))
		for range 2 {
			if w := b.post(t.Context(), streamBody, "X-Api-Key", limitedKey); w.status != 200 || w.sent.Get("Anthropic-Ratelimit-Requests-Limit") != "" {
				t.Fatalf("got %d %v", w.status, w.sent)
			}
		}
		w := b.post(t.Context(), streamBody, "X-Api-Key", limitedKey)
		wantError(t, w.reply(), 429, "rate_limit_error", "2 requests per day")
		if w.sent.Get("Retry-After") != "86400" {
			t.Errorf("got retry-after %s at midnight", w.sent.Get("Retry-After"))
		}
		_ = pause(t.Context(), 24*time.Hour)
		if w := b.post(t.Context(), streamBody, "X-Api-Key", limitedKey); w.status != 200 {
			t.Errorf("the next day: %s", w.text())
		}
	})
}

func TestLimit_OfTheAccountCountsForAllItsKeys(t *testing.T) {
	r := newRig(t)
	r.fakeNode("a")
	r.editAccount(func(a *core.Account) { a.Limits.RPM = 2 })
	_, other := r.key(limits(core.Limits{RPM: 100}))
	if got := r.post(plainBody); got.header.Get("Anthropic-Ratelimit-Requests-Limit") != "2" {
		t.Errorf("got %v", got.header)
	}
	if got := r.post(plainBody, "X-Api-Key", other); got.header.Get("Anthropic-Ratelimit-Requests-Limit") != "2" { // the tighter one
		t.Errorf("got %v", got.header)
	}
	wantError(t, r.post(plainBody, "X-Api-Key", other), 429, "rate_limit_error", "This account has reached its limit of 2 requests per minute")
}

func TestLimit_Concurrency(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a")
	_, key := r.key(limits(core.Limits{Concurrency: 2}))
	up.Default(upstreamtest.Events(3).Silence(upstreamtest.AfterDeltas(1)))
	first, rd1 := r.open(deadline(t), streamBody, "X-Api-Key", key)
	readUntil(t, rd1, "tok0")
	_, rd2 := r.open(deadline(t), streamBody, "X-Api-Key", key)
	readUntil(t, rd2, "tok0")
	for _, body := range []string{plainBody, streamBody} {
		got := r.post(body, "X-Api-Key", key)
		wantError(t, got, 429, "rate_limit_error", "2 concurrent requests")
		if got.header.Get("Retry-After") != "1" {
			t.Errorf("got retry-after %s", got.header.Get("Retry-After"))
		}
	}
	up.Queue(upstreamtest.Events(3))
	if got := r.post(plainBody); got.status != 200 || up.Count() != 3 {
		t.Errorf("another key: %d %s", got.status, got.body)
	}
	_ = first.Body.Close()
	if _, err := up.WaitAborted(deadline(t)); err != nil {
		t.Fatal(err)
	}
	up.Queue(upstreamtest.Events(3))
	for range 1000 { // until the handler of the one that left has settled
		if got := r.post(streamBody, "X-Api-Key", key); got.status == 200 {
			return
		}
	}
	t.Error("the slot of a client that left was not freed")
}

func TestLimit_HeadersAreOursOnlyWhenLimited(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a")
	_, key := r.key(limits(core.Limits{RPM: 5}))
	for _, body := range []string{plainBody, streamBody} {
		free, bound := r.post(body), r.post(body, "X-Api-Key", key)
		if free.header.Get("Anthropic-Ratelimit-Requests-Limit") != "4000" || bound.header.Get("Anthropic-Ratelimit-Requests-Limit") != "5" {
			t.Errorf("got %q and %q", free.header.Get("Anthropic-Ratelimit-Requests-Limit"), bound.header.Get("Anthropic-Ratelimit-Requests-Limit"))
		}
		if bound.header.Get("Anthropic-Ratelimit-Tokens-Limit") == "" {
			t.Error("the upstream's other figures do not pass")
		}
	}
	up.Default(upstreamtest.Status(400, "x"))
	if got := r.post(plainBody, "X-Api-Key", key); got.header.Get("Anthropic-Ratelimit-Requests-Limit") != "5" || got.header.Get("Anthropic-Ratelimit-Requests-Remaining") != "2" {
		t.Errorf("on an upstream's error: got %v", got.header)
	}
}

func TestEdits_OfKeysHoldAtTheNextRequest(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a")
	id, key := r.key()
	want := func(reason string, status int, says string) {
		t.Helper()
		got := r.post(plainBody, "X-Api-Key", key)
		if got.status != status || !strings.Contains(got.body, says) {
			t.Errorf("%s: got %d %s", reason, got.status, got.body)
		}
	}
	want("new", 200, "")
	r.editKey(id, func(k *core.Key) { k.Revoked = true })
	want("revoked", 401, "was revoked")
	r.editKey(id, func(k *core.Key) { k.Revoked = false })
	want("revived", 200, "")
	r.editKey(id, func(k *core.Key) { k.ExpiresAt = time.Now().Add(-time.Hour) })
	want("expired", 401, "expired on")
	r.editKey(id, func(k *core.Key) { k.ExpiresAt = time.Time{} })
	want("extended", 200, "")
	r.editKey(id, func(k *core.Key) { k.Models = []string{"claude-haiku-*"} })
	want("bound to a model", 403, "may not use the model claude-x")
	r.editKey(id, func(k *core.Key) { k.Models = []string{"claude-x"} })
	want("bound to this model", 200, "")
	r.editKey(id, func(k *core.Key) { k.Scopes = []core.Scope{core.ScopeNodes} })
	want("may manage nodes only", 403, "may not call models")
	r.editKey(id, func(k *core.Key) { k.Scopes = []core.Scope{core.ScopeInference} })
	want("may call again", 200, "")
	r.editKey(id, func(k *core.Key) { k.Limits.RPD = 1 })
	want("limited", 200, "")
	want("limit reached", 429, "1 requests per day")
	before := up.Count()
	if err := r.app.Tables.Keys.Delete(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	want("deleted", 401, "Unknown API key")
	if up.Count() != before {
		t.Error("a deleted key reached a node")
	}
}

func TestEdits_DeletedAccount(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a")
	r.post(plainBody)
	if err := r.app.Tables.Accounts.Delete(t.Context(), core.DefaultAccount); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		wantError(t, r.post(plainBody), 401, "authentication_error", "account of this API key was deleted")
	}
	if up.Count() != 1 {
		t.Error("a deleted account reached a node")
	}
}
