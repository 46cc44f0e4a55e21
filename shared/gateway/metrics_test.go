package gateway_test

import (
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"sluice/shared/core"
	"sluice/shared/gateway"
)

// counted notes what a gateway counts.
type counted struct {
	mu       sync.Mutex
	said     []string
	inFlight int
}

func (c *counted) say(words ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said = append(c.said, strings.Join(words, " "))
}

func (c *counted) Observe(s *core.Settlement, kind core.Kind) {
	c.say("observe", string(kind), s.ErrorCode)
}
func (c *counted) Used(s *core.Settlement, kind core.Kind) {
	c.say("used", string(kind), s.Account, s.Model, strconv.FormatInt(s.Tokens.TotalInput(), 10), strconv.FormatInt(s.Tokens.Output, 10))
}
func (c *counted) Attempt(kind core.Kind, class string) { c.say("attempt", string(kind), class) }
func (c *counted) Refused(limit string)                 { c.say("refused", limit) }
func (c *counted) Dropped(route, name string)           { c.say("dropped", route, name) }
func (c *counted) InFlight(delta int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inFlight += delta
}

func TestMetrics(t *testing.T) {
	for _, c := range []struct {
		why    string
		plays  []play
		limits core.Limits
		posts  int
		want   string
	}{
		{"an answer", []play{streaming(step{data: whole})}, core.Limits{}, 1, "attempt anthropic ok, observe anthropic "},
		{"one that another node gave", []play{refusing(529, "overloaded_error", "x"), streaming(step{data: whole})}, core.Limits{}, 1,
			"attempt anthropic overloaded, attempt anthropic ok, observe anthropic "},
		{"none", []play{refusing(400, "invalid_request_error", "x")}, core.Limits{}, 1, "attempt anthropic client_fault, observe anthropic upstream_invalid_request_error"},
		{"a limit", []play{streaming(step{data: whole})}, core.Limits{RPM: 1}, 2, "attempt anthropic ok, observe anthropic , refused requests per minute"},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := &counted{}
			b := newBubble(t, gateway.Settings{RetryMax: 1}, "a", "b")
			b.count(m)
			b.key("2", limitedKey, c.limits)
			b.up.queue(c.plays...)
			for range c.posts {
				b.post(t.Context(), streamBody, "X-Api-Key", limitedKey)
			}
			if got := strings.Join(m.said, ", "); got != c.want || m.inFlight != 0 {
				t.Errorf("%s: counted %q, want %q; %d in flight", c.why, got, c.want, m.inFlight)
			}
		})
	}
}
