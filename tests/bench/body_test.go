package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// message is what the test reads of a request.
type message struct {
	Model     string
	MaxTokens int `json:"max_tokens"`
	Stream    bool
	Messages  []struct {
		Role    string
		Content json.RawMessage
	}
}

func TestLargeBodies(t *testing.T) {
	for _, tt := range []struct {
		name   string
		make   func(int) []byte
		lo, hi float64 // backslashes for each byte
	}{
		{"Prose", proseBody, 0.001, 0.02},
		{"SourceCode", codeBody, 0.07, 0.2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{100_000, mib, mib + 1, 2*mib - 7} {
				if got := len(tt.make(size)); got != size {
					t.Errorf("%d bytes, want %d", got, size)
				}
			}
			body := tt.make(mib)
			if !bytes.Equal(body, tt.make(mib)) {
				t.Error("two calls differ")
			}
			var m message
			if err := json.Unmarshal(body, &m); err != nil {
				t.Fatal(err)
			}
			if m.Model != benchModel || m.MaxTokens == 0 || m.Stream {
				t.Errorf("model %q, max_tokens %d, stream %v", m.Model, m.MaxTokens, m.Stream)
			}
			if len(m.Messages) < 50 {
				t.Errorf("only %d messages", len(m.Messages))
			}
			for i, msg := range m.Messages {
				if want := []string{"user", "assistant"}[i%2]; msg.Role != want {
					t.Fatalf("message %d is of the %s, want %s", i, msg.Role, want)
				}
			}
			share := float64(bytes.Count(body, []byte(`\`))) / mib
			if share < tt.lo || share > tt.hi {
				t.Errorf("%.3f backslashes for each byte, want %v to %v", share, tt.lo, tt.hi)
			}
		})
	}
}

// TestLinesVary shows that no line of source code is repeated so often that a
// body would be easier than real code.
func TestLinesVary(t *testing.T) {
	var m message
	if err := json.Unmarshal(codeBody(mib), &m); err != nil {
		t.Fatal(err)
	}
	var blocks []struct{ Text string }
	seen, total := map[string]bool{}, 0
	for _, msg := range m.Messages {
		if err := json.Unmarshal(msg.Content, &blocks); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(blocks[0].Text) {
			if len(strings.TrimSpace(line)) > 1 {
				total++
				seen[line] = true
			}
		}
	}
	if len(seen)*2 < total {
		t.Errorf("%d different lines of %d", len(seen), total)
	}
}

func TestSmallBody(t *testing.T) {
	for _, stream := range []bool{false, true} {
		var m message
		if err := json.Unmarshal(smallBody(stream), &m); err != nil {
			t.Fatal(err)
		}
		if m.Stream != stream || len(m.Messages) != 1 {
			t.Errorf("stream %v with %d messages, want %v with 1", m.Stream, len(m.Messages), stream)
		}
	}
}
