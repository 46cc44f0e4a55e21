package capture_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/shared/capture"
	"sluice/shared/core"
	"sluice/shared/seal"
	"sluice/shared/seal/sealtest"
	"sluice/shared/web"
)

// rig is a Capture with a clock that the test moves.
type rig struct {
	*capture.Capture
	t   testing.TB
	box *seal.Box
	log lockedBuffer

	mu  sync.Mutex
	now time.Time
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newRig(t testing.TB, place string) *rig {
	t.Helper()
	r := &rig{t: t, box: sealtest.Box(t), now: time.Now()}
	p, err := capture.ParsePlace(place)
	if err != nil {
		t.Fatal(err)
	}
	r.Capture, err = capture.Open(capture.Options{Place: p, Box: r.box, Log: slog.New(slog.NewTextHandler(&r.log, nil)), Now: r.clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func (r *rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *rig) advance(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

// exchange makes one of an account.
func exchange(account, request, response string) *capture.Exchange {
	return &capture.Exchange{Record: capture.Record{RequestID: web.NewID(), Account: account, Key: "7", Node: "3", NodeName: "alpha",
		Endpoint: "/v1/messages", Dialect: core.DialectAnthropic, Model: "claude-x", Status: 200, StartedAt: time.Now().UTC().Truncate(time.Second),
		EndedAt: time.Now().UTC().Truncate(time.Second), Request: []byte(request), Response: []byte(response)}}
}

// kept keeps an exchange and reads it back.
func (r *rig) kept(e *capture.Exchange) *capture.Record {
	r.t.Helper()
	id, account := e.RequestID, e.Account
	r.Keep(r.t.(*testing.T).Context(), e)
	got, err := r.Read(r.t.(*testing.T).Context(), account, id, 7)
	if err != nil {
		r.t.Fatalf("not kept: %v; the log: %s", err, r.log.String())
	}
	return got
}

// silent fails when the log shows anything of what was captured.
func (r *rig) silent(secrets ...string) {
	r.t.Helper()
	for _, s := range secrets {
		if strings.Contains(r.log.String(), s) {
			r.t.Errorf("the log shows %q: %s", s, r.log.String())
		}
	}
}
