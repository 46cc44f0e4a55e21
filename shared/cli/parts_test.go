package cli

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestCopyPart: of a part that says the titles again everything but its first line is copied, however long that is.
func TestCopyPart(t *testing.T) {
	long := strings.Repeat("title,", 10_000)
	for _, c := range []struct {
		why, body string
		again     bool
		want      string
	}{
		{"the first part", "a,b\r\n1,2\r\n", false, "a,b\r\n1,2\r\n"},
		{"a later one", "a,b\r\n1,2\r\n", true, "1,2\r\n"},
		{"titles longer than a buffer", long + "\r\n1,2\r\n", true, "1,2\r\n"},
		{"nothing but titles", long, true, ""},
		{"nothing", "", true, ""},
	} {
		var to strings.Builder
		resp := &http.Response{Header: http.Header{"X-Next-Cursor": {"7"}}, Body: io.NopCloser(strings.NewReader(c.body))}
		if next, err := CopyPart(&to, resp, c.again); err != nil || next != "7" || to.String() != c.want {
			t.Errorf("%s: %q, next %q, %v; want %q", c.why, to.String(), next, err, c.want)
		}
	}
}
