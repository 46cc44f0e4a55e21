package gateway_test

import (
	"io"
	"strconv"
	"strings"
	"testing"
)

func TestBody_MemoryForOneBodyOfTheLargestSizeIsEnough(t *testing.T) {
	for _, c := range []struct {
		reason string
		size   int
	}{
		{"as it begins", 64 << 10},
		{"that grows several times", 1 << 20},
		{"more than is given for an announcement", 8 << 20},
		{"no power of two", 100_000},
	} {
		t.Run(c.reason, func(t *testing.T) {
			r := newRig(t, "MAX_BODY_BYTES", strconv.Itoa(c.size), "MAX_BODY_MEMORY", strconv.Itoa(c.size))
			up := r.fakeNode("a")
			full := strings.Replace(plainBody, "hi", strings.Repeat("x", c.size-len(plainBody)+2), 1)
			for try := range 3 { // nothing of the one before is still counted
				for _, length := range []int64{int64(c.size), -1} {
					for _, body := range []string{full, full + " "} {
						r.rest()
						q := r.request(deadline(t), "POST", "/v1/messages", "")
						q.Body, q.ContentLength = io.NopCloser(strings.NewReader(body)), min(length, 0)
						if length > 0 {
							q.ContentLength = int64(len(body))
						}
						got := r.send(q)
						if len(body) > c.size {
							wantError(t, got, 413, "request_too_large", "larger than the gateway's limit")
						} else if got.status != 200 || len(up.Last().Body) != c.size {
							t.Errorf("try %d, length %d: got %d %s", try, length, got.status, got.body)
						}
					}
				}
			}
		})
	}
}
