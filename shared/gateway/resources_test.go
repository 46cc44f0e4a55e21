package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/gateway"
	"sluice/shared/upstream/upstreamtest"
)

const batchBody = `{"requests":[{"custom_id":"c1","params":{"model":"claude-x","max_tokens":1,"messages":[{"role":"user","content":"x"}]}}]}`

func idOf(t *testing.T, got reply) string {
	t.Helper()
	var v struct{ ID string }
	if err := json.Unmarshal([]byte(got.body), &v); err != nil || got.status != 200 || v.ID == "" {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	return v.ID
}

func TestBatches_StayOnTheNodeThatMadeThem(t *testing.T) {
	r := newRig(t)
	a, b := r.fakeNode("a", weight(1)), r.fakeNode("b", weight(2))
	on := map[string]string{}
	create := func() string {
		got := r.do("POST", "/v1/messages/batches", batchBody)
		id := idOf(t, got)
		on[id] = got.header.Get("X-Proxy-Node")
		return id
	}
	first := create()
	r.editAccount(func(acct *core.Account) { acct.ActiveNode = "2" })
	second := create()
	if on[first] != "a" || on[second] != "b" {
		t.Fatalf("got %v", on)
	}
	for id, node := range on {
		for _, q := range []struct{ method, below string }{{"GET", ""}, {"POST", "/cancel"}, {"GET", "/results"}, {"GET", ""}} {
			got := r.do(q.method, "/anthropic/v1/messages/batches/"+id+q.below, "")
			if got.status != 200 || got.header.Get("X-Proxy-Node") != node {
				t.Errorf("%s %s%s: got %d from %s, want %s: %s", q.method, id, q.below, got.status, got.header.Get("X-Proxy-Node"), node, got.body)
			}
		}
	}
	// also when the node is out of favour for messages
	r.editNode("1", func(n *core.Node) { n.Weight = 99 })
	if got := r.do("GET", "/v1/messages/batches/"+first, ""); got.header.Get("X-Proxy-Node") != "a" {
		t.Errorf("got %s", got.header.Get("X-Proxy-Node"))
	}
	if got := r.do("DELETE", "/v1/messages/batches/"+first, ""); got.status != 200 && got.status != 400 {
		t.Errorf("got %d %s", got.status, got.body)
	}
	for _, path := range []string{"/v1/messages/batches/" + first + "/nope", "/v1/messages/batches/" + first + "/results/x", "/v1/messages/batches/", "/v1/files/x/y", "/v1/skills/x/versions/y/z"} {
		wantError(t, r.do("GET", path, ""), 404, "not_found_error", "No such endpoint")
	}
	got := r.do("GET", "/v1/messages/batches/msgbatch_none", "")
	if got.status != 404 || !strings.Contains(got.body, "not_found_error") || got.header.Get("X-Proxy-Node") == "" {
		t.Errorf("unknown id: got %d %s", got.status, got.body)
	}
	for _, rec := range r.records() {
		if rec.Endpoint != "batch usage" && !strings.HasPrefix(rec.Endpoint, "/v1/messages/batches") || rec.Attempts != 1 {
			t.Errorf("recorded %+v", rec)
		}
	}
	if a.Count() == 0 || b.Count() == 0 {
		t.Errorf("got %d and %d requests", a.Count(), b.Count())
	}
}

func TestBatches_KeyBoundToModelsMayMakeNone(t *testing.T) {
	r := newRig(t)
	up := r.fakeNode("a")
	_, key := r.key(func(k *core.Key) { k.Models = []string{"claude-haiku-*"} })
	wantError(t, r.do("POST", "/v1/messages/batches", batchBody, "X-Api-Key", key), 403, "permission_error", "a batch can name any")
	if up.Count() != 0 {
		t.Error("it went upstream")
	}
}

func upload(t *testing.T, size int) (contentType string, body []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	f, err := w.CreateFormFile("file", "x.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.Write(bytes.Repeat([]byte("z"), size))
	_ = w.Close()
	return w.FormDataContentType(), b.Bytes()
}

func TestFiles_UploadAndDownloadAreStreamed(t *testing.T) {
	r := newRig(t, "MAX_BODY_BYTES", "65536", "MAX_BODY_MEMORY", "65536") // of no account here: nothing is held
	r.fakeNode("a")
	r.fakeNode("b")
	const size = 8 << 20
	kind, body := upload(t, size)
	var id string
	for _, length := range []int64{int64(len(body)), -1} {
		q := r.request(deadline(t), "POST", "/v1/files", "", "Content-Type", kind, "Anthropic-Beta", "files-api-2025-04-14")
		q.Body, q.ContentLength = io.NopCloser(bytes.NewReader(body)), length
		got := r.send(q)
		id = idOf(t, got)
		home := got.header.Get("X-Proxy-Node")
		down := r.do("GET", "/v1/files/"+id+"/content", "")
		if down.status != 200 || len(down.body) != size || down.header.Get("X-Proxy-Node") != home {
			t.Errorf("got %d, %d bytes from %s", down.status, len(down.body), down.header.Get("X-Proxy-Node"))
		}
	}
	if got := r.do("GET", "/v1/files/"+id, ""); got.status != 200 || !strings.Contains(got.body, id) {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if got := r.do("DELETE", "/v1/files/"+id, ""); got.status != 200 {
		t.Errorf("got %d %s", got.status, got.body)
	}
}

func TestFiles_UploadTooLargeIsTheClientsFault(t *testing.T) {
	for _, c := range []struct {
		path   string
		length int64
		chunks bool
	}{{"/v1/files", 501 << 20, false}, {"/v1/messages/batches", 257 << 20, false}, {"/v1/messages/batches", 257 << 20, true}} {
		b := newBubble(t, gateway.Settings{FailThreshold: 1}, "a")
		b.up.discard = true
		b.up.queue(refusing(500, "api_error", "not reached"))
		q := httptest.NewRequestWithContext(t.Context(), http.MethodPost, c.path, io.LimitReader(endless{}, c.length))
		if q.ContentLength = c.length; c.chunks {
			q.ContentLength = -1
		}
		q.Header.Set("X-Api-Key", proxyKey)
		w := newClient(t)
		b.handler.ServeHTTP(w, q)
		wantError(t, w.reply(), 413, "request_too_large", "MiB")
		if s := b.state("1"); s.Failed || s.FailStreak != 0 {
			t.Errorf("%+v: the node was blamed: %+v", c, s)
		}
		for _, rec := range b.records() {
			if rec.Status != 413 || rec.ErrorCode != "request_too_large" {
				t.Errorf("%+v: recorded %+v", c, rec)
			}
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestFiles_DownloadThatIsCutIsNotTakenForWhole(t *testing.T) {
	r := newRig(t)
	r.node("a", newCutServer(t))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	resp, err := r.client.Do(r.request(ctx, http.MethodGet, "/v1/files/file_1/content", ""))
	if err == nil {
		defer resp.Body.Close()
		if data, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("got a clean end after %d bytes", len(data))
		}
	}
	if rec := r.record(); rec.ErrorCode != "stream_cut" || rec.Success() {
		t.Errorf("recorded %+v", rec)
	}
}

func TestResources_RateLimitCoolsNoModel(t *testing.T) {
	r := newRig(t)
	up := newStatusServer(t, 429, map[string]string{"Retry-After": "100"}, `{"type":"error","error":{"type":"rate_limit_error","message":"files"}}`)
	r.node("a", up)
	got := r.do("GET", "/v1/files", "")
	if got.status != 429 || got.header.Get("Retry-After") != "100" {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if s := r.state("1"); len(s.Cooling) != 0 {
		t.Errorf("files cooled the node for every model: %+v", s)
	}
}

func TestResources_NoNode(t *testing.T) {
	r := newRig(t)
	wantError(t, r.do("GET", "/v1/files", ""), 503, "api_error", "no enabled node")
	r.node("down", upstreamtest.NewRefused(t))
	wantError(t, r.do("POST", "/v1/messages/batches", batchBody), 502, "api_error", "connection refused")
	if r.state("1").FailStreak != 1 {
		t.Error("not counted")
	}
}

func TestResources_OtherAccountsDoNotShareThem(t *testing.T) {
	r := newRig(t)
	r.fakeNode("a")
	id := idOf(t, r.do("POST", "/v1/messages/batches", batchBody))
	if _, err := r.app.Tables.Accounts.Create(t.Context(), core.Account{ID: "other", Name: "other"}); err != nil {
		t.Fatal(err)
	}
	_, key := r.key(func(k *core.Key) { k.Account = "other" })
	wantError(t, r.do("GET", "/v1/messages/batches/"+id, "", "X-Api-Key", key), 503, "api_error", "no enabled node")
}
