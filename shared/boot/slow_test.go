package boot_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/shared/boot/boottest"
	"sluice/shared/store"
	"sluice/shared/store/memory"
)

// sluggish takes two seconds over each admission.
type sluggish struct{ store.Store }

func (s sluggish) Admit(ctx context.Context, r store.AdmitRequest) (store.AdmitResult, error) {
	time.Sleep(2 * time.Second)
	return s.Store.Admit(ctx, r)
}

// TestSlowStoreIsTold: when requests wait for the store the operator reads so, in one line for many calls.
func TestSlowStoreIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := boottest.StartOn(t, sluggish{memory.New()}, map[string]string{"DEFAULT_PROXY_API_KEY": "alpha-proxy-key-123"})
		ask := func() {
			w := httptest.NewRecorder()
			g.Handler.ServeHTTP(w, boottest.Request("POST", "/v1/messages", `{"model":"m","max_tokens":1,"messages":[]}`, "x-api-key", "alpha-proxy-key-123"))
			if w.Code != 503 { // there is no node
				t.Fatalf("status %d: %s", w.Code, w.Body)
			}
		}
		for range 5 { // ten seconds
			ask()
		}
		if n := strings.Count(g.Log(), "the store is slow"); n != 1 {
			t.Errorf("%d lines of five slow calls within ten seconds, want 1:\n%s", n, g.Log())
		}
		ask()
		if said := g.Log(); strings.Count(said, "the store is slow") != 2 || !strings.Contains(said, `"others_since_last_line":4`) {
			t.Errorf("the next line does not tell of the four calls before it:\n%s", said)
		}
	})
}
