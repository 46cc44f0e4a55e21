package clients_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	up "sluice/shared/upstream/upstreamtest"
)

// wantAPIError fails the test unless err is the SDK's error of this status and type, with the request id of the answer.
func (f *fixture) wantAPIError(s sdk, err error, status int, kind string) apiError {
	f.Helper()
	e, ok := s.apiError(err)
	if !ok || e.status != status || e.kind != kind {
		f.Errorf("got %v (%+v), want status %d, %s", err, e, status, kind)
		return e
	}
	all := f.tap.exchanges("")
	if id := all[len(all)-1].Answer.Get("Request-Id"); e.requestID == "" || e.requestID != id {
		f.Errorf("the SDK's error names request %q, the answer %q", e.requestID, id)
	}
	return e
}

func TestGoSDKCountTokens(t *testing.T) {
	eachSDK(t, nil, func(f *fixture, open func(sdkOptions) sdk) {
		n, err := open(sdkOptions{}).countTokens(within(f.T, patience), strings.Repeat("word ", 100))
		f.noError(err)
		if want := up.CountTokens(f.up.Last().Body); n != want {
			f.Errorf("got %d tokens, want %d", n, want)
		}
		f.checkPassed()
		f.checkIDs()
		if u := f.gw.usages("/v1/messages/count_tokens", 1)[0]; u.Status != 200 || u.InputTokens != 0 {
			f.Errorf("recorded %+v: counting costs no tokens", u)
		}
	})
}

func TestGoSDKModels(t *testing.T) {
	eachSDK(t, nil, func(f *fixture, open func(sdkOptions) sdk) {
		s := open(sdkOptions{})
		ids, err := s.models(within(f.T, patience), 3)
		f.noError(err)
		if len(ids) < 4 || !slices.Contains(ids, model) || len(slices.Compact(slices.Sorted(slices.Values(ids)))) != len(ids) {
			f.Errorf("got %v", ids)
		}
		if pages := len(f.tap.exchanges("/v1/models")); pages != (len(ids)+2)/3 {
			f.Errorf("%d models came on %d pages of 3", len(ids), pages)
		}
		name, err := s.model(within(f.T, patience), model)
		f.noError(err)
		if name != "Claude Sonnet 5.5" {
			f.Errorf("got the display name %q", name)
		}
		_, err = s.model(within(f.T, patience), "claude-none")
		f.wantAPIError(s, err, http.StatusNotFound, "not_found_error")
		f.checkPassed()
		f.checkIDs()
	})
}

func TestGoSDKBatches(t *testing.T) {
	eachSDK(t, nil, func(f *fixture, open func(sdkOptions) sdk) {
		f.up.Default(up.Reply(up.Text("from ", "a batch")))
		s, ctx := open(sdkOptions{}), within(f.T, patience)
		id, err := s.batchCreate(ctx, "one", "two")
		f.noError(err)
		status, err := s.batchStatus(ctx, id)
		f.noError(err)
		if status != "ended" {
			f.Errorf("status %q", status)
		}
		got, err := s.batchResults(ctx, id)
		f.noError(err)
		if fmt.Sprint(got) != "map[one:from a batch two:from a batch]" {
			f.Errorf("results %v", got)
		}
		f.noError(s.batchDelete(ctx, id))
		_, err = s.batchStatus(ctx, id)
		f.wantAPIError(s, err, http.StatusNotFound, "not_found_error")
		f.checkPassed()
		f.checkIDs()
		for endpoint, n := range map[string]int{"/v1/messages/batches": 1, "/v1/messages/batches/{id}": 4} {
			if got := len(f.gw.usages(endpoint, n)); got != n {
				f.Errorf("%d requests to %s were recorded, want %d", got, endpoint, n)
			}
		}
	})
}

func TestGoSDKFiles(t *testing.T) {
	eachSDK(t, nil, func(f *fixture, open func(sdkOptions) sdk) {
		s, ctx := open(sdkOptions{}), within(f.T, patience)
		text := strings.Repeat("line of a file \x00\xff\n", 50_000)
		id, err := s.fileUpload(ctx, "notes.txt", text)
		f.noError(err)
		ids, err := s.files(ctx)
		f.noError(err)
		if !slices.Equal(ids, []string{id}) {
			f.Errorf("listed %v, uploaded %s", ids, id)
		}
		name, err := s.fileName(ctx, id)
		f.noError(err)
		if name != "notes.txt" {
			f.Errorf("the file's name is %q", name)
		}
		got, err := s.fileContent(ctx, id)
		f.noError(err)
		if got != text {
			f.Errorf("the content came back as %d bytes, want %d", len(got), len(text))
		}
		f.noError(s.fileDelete(ctx, id))
		_, err = s.fileName(ctx, id)
		f.wantAPIError(s, err, http.StatusNotFound, "not_found_error")
		f.checkPassed()
		f.checkIDs()
	})
}

// TestGoSDKResourcesStay: with two nodes, what belongs to a batch or a file goes to the node that has it, also when that
// is no longer the preferred one.
func TestGoSDKResourcesStay(t *testing.T) {
	eachSDK(t, []string{"UPSTREAM_ALLOW_PRIVATE=true"}, func(f *fixture, open func(sdkOptions) sdk) {
		second := up.NewAnthropic(f.T, up.WithKey(upstreamKey))
		s, ctx := open(sdkOptions{}), within(f.T, patience)
		f.up.Default(up.Reply(up.Text("first node")))
		second.Default(up.Reply(up.Text("second node")))
		id, err := s.batchCreate(ctx, "one")
		f.noError(err)
		file, err := s.fileUpload(ctx, "a.txt", "content")
		f.noError(err)
		f.gw.activate(f.gw.addNode("second", second.URL))
		var r reply
		poll(f.T, settle, "the change of nodes", func() bool {
			c := s.chat(chatOptions{})
			c.say("Hello")
			r, err = c.turn(ctx, false)
			f.noError(err)
			return lambda == nil || r.text == "second node" // over DynamoDB a function learns of it within 2 s
		})
		if r.text != "second node" {
			f.Fatalf("answered by %q: the active node is the second", r.text)
		}
		_, err = s.batchStatus(ctx, id)
		f.noError(err)
		got, err := s.batchResults(ctx, id)
		f.noError(err)
		if got["one"] != "first node" {
			f.Errorf("results %v", got)
		}
		data, err := s.fileContent(ctx, file)
		f.noError(err)
		if data != "content" {
			f.Errorf("content %q", data)
		}
	})
}
