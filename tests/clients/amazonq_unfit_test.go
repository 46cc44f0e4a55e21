package clients_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	up "sluice/shared/upstream/upstreamtest"
)

// TestPoolUnfit: what no account can express is refused at once, also while one of them is cooling and could be waited for.
func TestPoolUnfit(t *testing.T) {
	p := poolOn(t).asOpenAI()
	p.q.Default(up.Reply(up.Text("Hello")))
	for _, tt := range []struct {
		path   string
		params object
	}{
		{"/v1/messages", object{"max_tokens": 10, "messages": []object{{"role": "user", "content": "Hello"}}, "tools": []object{{"name": "f", "input_schema": object{"type": "object"}}}, "tool_choice": object{"type": "any"}}},
		{"/v1/chat/completions", object{"messages": []object{{"role": "user", "content": "Hello"}}, "logprobs": true}},
		{"/v1/responses", object{"input": []object{{"type": "item_reference", "id": "msg_1"}}}},
		{"/v1/responses", object{"input": "Hello", "text": object{"format": object{"type": "json_schema", "name": "fruit", "schema": fruit}}}},
	} {
		tt.params["model"] = p.model
		for _, warm := range []bool{true, false} {
			params := tt.params
			if warm {
				params = object{"model": p.model, "max_tokens": 10, "messages": []object{{"role": "user", "content": "Hello"}}}
			}
			path := tt.path
			if warm {
				path = "/v1/messages"
			}
			start := time.Now()
			p.post(path, params)
			if d := time.Since(start); d > 5*time.Second {
				p.Errorf("%s was answered after %v", path, d)
			}
		}
	}
	for i, x := range p.asked() {
		if want := []int{http.StatusOK, http.StatusBadRequest}[i%2]; x.Status != want {
			p.Errorf("%s: status %d: %s", x.Path, x.Status, x.Text)
		}
	}
}

// post sends a request as no client of this suite does.
func (p *pool) post(path string, params object) {
	p.Helper()
	req, err := http.NewRequestWithContext(within(p.T, patience), http.MethodPost, p.tap.URL+path, strings.NewReader(canonical(params)))
	p.noError(err)
	req.Header.Set("Authorization", "Bearer "+proxyKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Client{}).Do(req)
	p.noError(err)
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	p.noError(err)
}
