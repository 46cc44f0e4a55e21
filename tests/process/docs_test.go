//go:build unix

package process

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/shared/upstream/upstreamtest"
)

// blocks are the bash blocks of a document, with the server's address in place of the one that is printed.
func (s *server) blocks(file string) (out []string) {
	s.t.Helper()
	data, err := os.ReadFile("../../docs/" + file)
	if err != nil {
		s.t.Fatal(err)
	}
	for i, part := range strings.Split("\n"+string(data), "\n```") {
		if block, ok := strings.CutPrefix(part, "bash\n"); ok && i%2 == 1 {
			out = append(out, "set -euo pipefail\n"+strings.ReplaceAll(strings.ReplaceAll(block, "http://localhost:8000", s.url), "curl ", "curl -sSf "))
		}
	}
	return out
}

// TestDocumentedCalls: the commands of docs/pricing.md, docs/bedrock.md, docs/console.md and docs/capture.md do what they say, as they are printed.
func TestDocumentedCalls(t *testing.T) {
	const admin = "my-secure-admin-key"
	up := upstreamtest.NewAnthropic(t)
	dir := t.TempDir()
	s := start(t, dir, map[string]string{"UPSTREAM_BASE_URL": up.URL, "UPSTREAM_API_KEY": "sk-ant-x", "DEFAULT_PROXY_API_KEY": proxyKey, "ADMIN_API_KEY": admin,
		"CAPTURE_URL": "file:" + filepath.Join(dir, "captured")})
	do := func(script string) string {
		t.Helper()
		out, err := bash(t, dir, nil, script)
		if err != nil {
			t.Fatalf("%v: %s\n%s", err, script, out)
		}
		return out
	}
	prices := s.blocks("pricing.md")
	if len(prices) != 1 {
		t.Fatalf("%d blocks in pricing.md", len(prices))
	}
	do(prices[0])
	if _, list := s.get("/api/pricing?id=qwen3-coder", "x-admin-key", admin); !strings.Contains(list, "qwen3-coder") {
		t.Errorf("the price is not there: %s", list)
	}

	bedrock := s.blocks("bedrock.md")
	if len(bedrock) != 6 {
		t.Fatalf("%d blocks in bedrock.md", len(bedrock))
	}
	for _, b := range bedrock[:5] {
		do(b)
	}
	if _, list := s.get("/admin/api/nodes", "x-admin-key", admin); strings.Count(list, `"kind":"bedrock"`) != 4 || strings.Contains(list, "bedrock-api-key-xxx") || !strings.Contains(list, `"form":"default_chain"`) {
		t.Errorf("the nodes are not there: %s", list)
	}
	if _, table := s.get("/api/compat", "x-admin-key", admin); strings.Count(table, `"source":"operator"`) != 4 {
		t.Errorf("the rows are not there: %s", table)
	}
	for _, n := range []string{"2", "3", "4", "5"} { // what follows is for the first node
		s.do("DELETE", "/admin/api/nodes?id="+n, "", "x-admin-key", admin)
	}
	if out := do(strings.ReplaceAll(bedrock[5], "your-key", proxyKey)); !strings.Contains(out, `"type":"message"`) || !strings.Contains(out, `"stop_reason":"end_turn"`) {
		t.Errorf("a client in Bedrock mode is not served: %s", out)
	}

	console := s.blocks("console.md")
	if len(console) != 1 {
		t.Fatalf("%d blocks in console.md", len(console))
	}
	if out := do(console[0]); !strings.Contains(out, `"ended":`) || !strings.Contains(out, `"share_url":"`+s.url) {
		t.Errorf("%s", out)
	}

	captures := s.blocks("capture.md")
	if len(captures) != 1 {
		t.Fatalf("%d blocks in capture.md", len(captures))
	}
	set, read, ok := strings.Cut(captures[0], "# read one")
	if !ok {
		t.Fatal("the document does not read one")
	}
	do(set)
	if status, _, _ := s.ask(proxyKey); status != 200 {
		t.Fatalf("status %d", status)
	}
	up.Close()
	resp, _ := s.do("POST", "/v1/messages", strings.Replace(question, "Hello", "about case-4711", 1), "x-api-key", proxyKey)
	if resp.StatusCode < 500 || resp.Header.Get("X-Sluice-Captured") != "on-failure" {
		t.Fatalf("status %d, captured %q", resp.StatusCode, resp.Header.Get("X-Sluice-Captured"))
	}
	got := do("set -euo pipefail\n# read one" + strings.Replace(read, "req_01k80000000000000000000000", resp.Header.Get("Request-Id"), 1))
	if !strings.Contains(got, "about [redacted]") || strings.Contains(got, "4711") {
		t.Errorf("%s", got)
	}
}
