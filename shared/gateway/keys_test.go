package gateway_test

import (
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/core"
	"sluice/shared/gateway"
	"sluice/shared/seal"
)

// A mistyped key is refused by its checksum, without a look at the store; one that could exist costs one look.
func TestKey_MistypedCostsNoTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := &scripted{}
		b, trips := newBubbleWith(t, gateway.Settings{}, up, "a").instance(up)
		good := seal.NewKey().Reveal()
		for _, c := range []struct {
			why, key string
			looks    int
		}{
			{"a letter changed", good[:20] + string(good[20]^1) + good[21:], 0},
			{"cut", good[:len(good)-1], 0},
			{"too long", strings.Repeat("k", 600), 0},
			{"well-formed, but nobody's", good, 1},
			{"an operator's own, but nobody's", "some-key-of-a-team", 1},
		} {
			w := b.post(t.Context(), plainBody, "X-Api-Key", c.key)
			wantError(t, w.reply(), 401, "authentication_error", "")
			got := trips.taken()
			if got["find key"] != c.looks || len(got) != min(c.looks, 1) {
				t.Errorf("%s: trips %v, want %d looks", c.why, got, c.looks)
			}
		}
	})
}

// Bad keys from one address are throttled; good ones from there never are.
func TestKey_BadOnesAreThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{}, "a")
		b.key("2", limitedKey, core.Limits{})
		b.up.queue(streaming(step{data: whole}))
		from := func(addr, key string) *client {
			q := httptest.NewRequestWithContext(t.Context(), "POST", "/v1/messages", strings.NewReader(streamBody))
			q.RemoteAddr = addr
			q.Header.Set("X-Api-Key", key)
			w := newClient(t)
			b.handler.ServeHTTP(w, q)
			return w
		}
		const here, there = "192.0.2.7:1000", "192.0.2.8:1000"
		for i := range 20 {
			if w := from(here, "wrong-key-0123456789"); w.status != 401 {
				t.Fatalf("wrong key %d: status %d", i, w.status)
			}
		}
		for _, key := range []string{"wrong-key-0123456789", "sluice_mistyped", "another-wrong-key"} {
			w := from(here, key)
			wantError(t, w.reply(), 429, "rate_limit_error", "Too many wrong API keys")
			if got := w.sent.Get("Retry-After"); got != "59" || w.sent.Get("X-Should-Retry") != "false" {
				t.Errorf("retry-after %q", got)
			}
		}
		for _, key := range []string{proxyKey, limitedKey} { // seen here for the first time
			if w := from(here, key); w.status != 200 {
				t.Errorf("a good key is refused: %d %s", w.status, w.text())
			}
		}
		if w := from(there, "wrong-key-0123456789"); w.status != 401 {
			t.Errorf("another address: status %d", w.status)
		}
		_ = pause(t.Context(), 61*time.Second)
		if w := from(here, "wrong-key-0123456789"); w.status != 401 {
			t.Errorf("a minute later: status %d", w.status)
		}
	})
}

func TestKey_Networks(t *testing.T) {
	r := newRig(t, "TRUSTED_PROXIES", "127.0.0.1/32")
	r.fakeNode("a")
	id, key := r.key(func(k *core.Key) {
		k.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}
	})
	for _, c := range []struct {
		from   string
		status int
	}{{"192.0.2.77", 200}, {"2001:db8::5", 200}, {"::ffff:192.0.2.1", 200}, {"192.0.3.1", 403}, {"2001:db9::1", 403}, {"192.0.2.77, 198.51.100.1", 403}, {"garbage", 403}} {
		got := r.post(plainBody, "X-Api-Key", key, "X-Forwarded-For", c.from)
		if got.status != c.status {
			t.Errorf("from %s: got %d, want %d: %s", c.from, got.status, c.status, got.body)
		}
		if c.status == 403 && (got.header.Get("X-Should-Retry") != "false" || !strings.Contains(got.body, "may not be used from the address")) {
			t.Errorf("from %s: got %v %s", c.from, got.header, got.body)
		}
	}
	r.editKey(id, func(k *core.Key) { k.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.3.0/24")} })
	if a, b := r.post(plainBody, "X-Api-Key", key, "X-Forwarded-For", "192.0.3.1"), r.post(plainBody, "X-Api-Key", key, "X-Forwarded-For", "192.0.2.77"); a.status != 200 || b.status != 403 {
		t.Errorf("an edit holds at the next request: got %d and %d", a.status, b.status)
	}
}

// A rotated key works in both spellings until its overlap ends, and in the new one ever after.
func TestKey_Rotated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, gateway.Settings{}, "a")
		b.key("2", limitedKey, core.Limits{RPD: 100})
		b.up.queue(streaming(step{data: whole}))
		const second, third = "second-key-of-these-tests", "third-key-of-these-tests"
		want := func(why string, status map[string]int) {
			t.Helper()
			for key, s := range status {
				if w := b.post(t.Context(), streamBody, "X-Api-Key", key); w.status != s {
					t.Errorf("%s: %s got %d, want %d: %s", why, key, w.status, s, w.text())
				}
			}
		}
		rotate := func(to string, overlap time.Duration) {
			t.Helper()
			_, err := b.tables.Keys.Update(t.Context(), "2", func(k *core.Key) error {
				k.Rotate(b.box.Hash(to), "", time.Now().Add(overlap), time.Now())
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		want("before", map[string]int{limitedKey: 200, second: 401})
		rotate(second, time.Hour)
		want("within the overlap", map[string]int{limitedKey: 200, second: 200})
		_ = pause(t.Context(), 59*time.Minute)
		want("still", map[string]int{limitedKey: 200, second: 200})
		_ = pause(t.Context(), time.Minute)
		want("over", map[string]int{limitedKey: 401, second: 200})
		rotate(third, 0)
		want("without an overlap", map[string]int{limitedKey: 401, second: 401, third: 200})
		if w := b.post(t.Context(), streamBody, "X-Api-Key", second); !strings.Contains(w.text(), "Unknown API key") {
			t.Errorf("got %s", w.text())
		}
	})
}
