package clients_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	up "sluice/shared/upstream/upstreamtest"
)

// TestD36OpenAIGoErrors: errors that no attempt can mend are the SDK's typed errors, with OpenAI's codes, after one request.
func TestD36OpenAIGoErrors(t *testing.T) {
	for _, tt := range []struct {
		name, why string
		behaviour up.Behaviour
		key       string
		status    int
		code      string
		wording   string
		upstream  int
	}{
		{"WrongKey", "the gateway's own 401", up.Behaviour{}, "no-such-key-anywhere-1", 401, "invalid_api_key", "key", 0},
		{"NotFound", "a model that the upstream does not know", up.Status(404, "model: gone"), "", 404, "model_not_found", "model: gone", 1},
		{"TooLong", "clients compact their history on this code", up.PromptTooLong(210_000, 200_000), "", 400, "context_length_exceeded", "", 1},
		{"Invalid", "an upstream's 400 passes with its wording", up.Status(400, "odd <thing>"), "", 400, "", "odd <thing>", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachAPI(t, allKinds, func(s *stage, _ api, open func(talkOptions) talk) {
				s.up.Default(tt.behaviour)
				s.ways(func(s *stage, stream bool) {
					before := s.up.Count()
					c := open(talkOptions{key: tt.key, retries: 2})
					c.say("Hello")
					_, err := c.turn(within(s.T, patience), stream)
					status, code, message := broken(err)
					if status != tt.status || code != tt.code || !strings.Contains(message, tt.wording) || message == "" {
						s.Errorf("%s: got %d %q: %s", tt.why, status, code, message)
					}
					if got := s.up.Count() - before; got != tt.upstream {
						s.Errorf("%s: %d requests arrived", tt.why, got)
					}
				})
				if n := len(s.asked()); n != 2 {
					s.Errorf("the SDK sent %d requests", n)
				}
			})
		})
	}
}

// TestD40OpenAIGoRateLimit: for Chat the SDK waits for as long as retry-after says, when that is 5 s or more. Responses has clients that do not, so
// there the gateway waits.
func TestD40OpenAIGoRateLimit(t *testing.T) {
	eachAPI(t, allKinds, func(s *stage, a api, open func(talkOptions) talk) {
		s.up.Queue(up.RateLimited(6 * time.Second))
		s.up.Default(up.Reply(up.Text("recovered")))
		c := open(talkOptions{retries: 2})
		c.say("Hello")
		start := time.Now()
		got, err := c.turn(within(s.T, patience), true)
		s.noError(err)
		if took := time.Since(start); got.text != "recovered" || took < 6*time.Second || took > 30*time.Second {
			s.Errorf("got %+v after %v", got, took)
		}
		want := []int{http.StatusTooManyRequests, http.StatusOK}
		if a.name == "Responses" {
			want = want[1:]
		}
		s.wantStatuses(a.endpoint, want...)
		s.wantReached(2)
	})
}

// TestD36OpenAIGoRecovers: what passes is mended by the gateway, unseen.
func TestD36OpenAIGoRecovers(t *testing.T) {
	for _, tt := range []struct {
		name      string
		behaviour up.Behaviour
	}{
		{"Overloaded", up.Overloaded()},
		{"ErrorFirst", up.Events(3).ErrorAt(up.AfterStart, "overloaded_error", "Overloaded")},
		{"CutAfterStart", up.Events(3).Cut(up.AfterStart, up.EndReset)},
		{"Garbage", up.GarbageStream()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachAPI(t, allKinds, func(s *stage, a api, open func(talkOptions) talk) {
				s.up.Queue(tt.behaviour)
				s.up.Default(up.Reply(up.Text("whole")))
				c := open(talkOptions{})
				c.say("Hello")
				got, err := c.turn(within(s.T, patience), true)
				s.noError(err)
				if got.text != "whole" {
					s.Errorf("got %+v", got)
				}
				s.wantStatuses(a.endpoint, http.StatusOK)
				s.wantReached(2)
			})
		})
	}
}

// TestD33OpenAIGoBrokenStreams: an error in the stream raises, and no cut looks like a whole answer.
func TestD33OpenAIGoBrokenStreams(t *testing.T) {
	whole := up.Events(6).Usage(up.Usage{Input: 21, Output: 600})
	for _, tt := range []struct {
		name, why string
		behaviour up.Behaviour
		partial   string
	}{
		{"ErrorEvent", "an error of the upstream", whole.ErrorAt(up.AfterDeltas(2), "overloaded_error", "Overloaded"), "tok0 tok1 "},
		{"CleanEnd", "HTTP is content", whole.Cut(up.AfterDeltas(3), up.EndClean), "tok0 tok1 tok2 "},
		{"InsideEvent", "half an event must not reach the client", whole.CutInside(up.AfterDeltas(3), up.EndClose), "tok0 tok1 tok2 "},
		{"BeforeStop", "all text is there and still it is not whole", whole.Cut(up.BeforeStop, up.EndClean), "tok0 tok1 tok2 tok3 tok4 tok5 "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachAPI(t, allKinds, func(s *stage, a api, open func(talkOptions) talk) {
				s.up.Default(tt.behaviour)
				c := open(talkOptions{retries: 2})
				c.say("Hello")
				got, err := c.turn(within(s.T, patience), true)
				status, code, message := broken(err)
				if status != 0 || code == "unreadable" || message == "" {
					s.Errorf("%s: got %d %q: %s (%v)", tt.why, status, code, message, err)
				}
				if got.text != tt.partial {
					s.Errorf("%s: got the text %q", tt.why, got.text)
				}
				s.wantReached(1)
				if u := s.gw.usages(a.endpoint, 1)[0]; u.Success || u.ErrorCode == "" {
					s.Errorf("recorded %+v", u)
				}
			})
		})
	}
}
