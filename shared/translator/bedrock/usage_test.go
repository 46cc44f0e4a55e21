package bedrock_test

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/sse"
	"sluice/shared/translator"
	"sluice/shared/translator/anthropic"
)

// TestD27_CacheWritesApart: what was written to caches for five minutes and for an hour costs differently, and a client of the
// Messages API is told both, in a stream's last counts and in a whole answer.
func TestD27_CacheWritesApart(t *testing.T) {
	for _, c := range []struct {
		why, usage  string
		short, long int64
		guess       bool
	}{
		{"both, the longer first as the service sorts them", `"cacheWriteInputTokens":10,"cacheDetails":[{"ttl":"1h","inputTokens":4},{"ttl":"5m","inputTokens":6}]`, 6, 4, false},
		{"an hour only", `"cacheWriteInputTokens":10,"cacheDetails":[{"ttl":"1h","inputTokens":10}]`, 0, 10, false},
		{"no details, as before there were any", `"cacheWriteInputTokens":10`, 10, 0, false},
		{"empty details, as without writes", `"cacheWriteInputTokens":0,"cacheDetails":[]`, 0, 0, false},
		{"details without the total, which is optional", `"cacheDetails":[{"ttl":"1h","inputTokens":4},{"ttl":"5m","inputTokens":6}]`, 6, 4, false},
		{"a total that is null", `"cacheWriteInputTokens":null,"cacheDetails":[{"ttl":"1h","inputTokens":4}]`, 0, 4, false},
		{"two details of a time", `"cacheWriteInputTokens":10,"cacheDetails":[{"ttl":"1h","inputTokens":4},{"ttl":"1h","inputTokens":5}]`, 1, 9, false},
		{"the total is what is billed", `"cacheWriteInputTokens":10,"cacheDetails":[{"ttl":"1h","inputTokens":40}]`, 0, 10, false},
		{"a time that is new", `"cacheWriteInputTokens":10,"cacheDetails":[{"ttl":"1d","inputTokens":4}]`, 10, 0, false},
		{"details that are none", `"cacheWriteInputTokens":10,"cacheDetails":[1,{},{"ttl":"1h"},{"ttl":"1h","inputTokens":-1},{"ttl":"1h","inputTokens":4e30}]`, 10, 0, false},
		{"details of another form", `"cacheWriteInputTokens":10,"cacheDetails":{"ttl":"1h"}`, 10, 0, false},
		{"a total that cannot be", `"cacheWriteInputTokens":-10,"cacheDetails":[{"ttl":"1h","inputTokens":4}]`, 0, 0, true},
		{"more than any answer has, a piece at a time", `"cacheDetails":[` + strings.Repeat(`{"ttl":"1h","inputTokens":1099511627776},`, 9) + `{"ttl":"5m","inputTokens":1}]`, 0, 1 << 40, false},
	} {
		t.Run(c.why, func(t *testing.T) {
			usage := `{"inputTokens":10,"outputTokens":7,"totalTokens":47,"cacheReadInputTokens":20,` + c.usage + `}`
			want := core.Tokens{Input: 10, Output: 7, CacheRead: 20, CacheWrite5m: c.short, CacheWrite1h: c.long}
			told := `"cache_creation":{"ephemeral_5m_input_tokens":` + strconv.FormatInt(c.short, 10) + `,"ephemeral_1h_input_tokens":` + strconv.FormatInt(c.long, 10) + `}`

			pipe := translator.NewPipe(codec, anthropic.Codec{}.NewSink(translator.ReplyOptions{ID: "r", Model: "m"}), translator.Enforce{})
			out := pipe.Batch(stream(t, start, say(0, "x"), end(0), stop("end_turn"), `metadata {"usage":`+usage+`}`))
			_, last, _ := bytes.Cut(out, []byte("event: message_delta\n"))
			if c.short+c.long == 0 {
				last = out // message_start has told it
			}
			if !bytes.Contains(last, []byte(told)) || bytes.Count(last, []byte("event: message_stop")) != 1 {
				t.Errorf("no %s in %s", told, last)
			}
			var m anthropic.Meter // what a gateway or a client behind this one counts
			for rest := out; len(rest) > 0; {
				ev, next, ok := sse.Cut(rest)
				if !ok {
					t.Fatalf("no event in %s", rest)
				}
				m.Event(anthropic.Kind(ev), ev)
				rest = next
			}
			if tokens, guess := m.Result(); tokens != want || guess {
				t.Errorf("the stream counts to %+v, a guess: %v; want %+v", tokens, guess, want)
			}

			l := newListener()
			if err := codec.ReadReply([]byte(`{"output":{"message":{"content":[{"text":"x"}]}},"stopReason":"end_turn","usage":`+usage+`}`), l.b); err != nil {
				t.Fatal(err)
			}
			if tokens, guess := l.b.Tokens(); tokens != want || guess != c.guess {
				t.Errorf("%+v, a guess: %v; want %+v", tokens, guess, want)
			}
			if whole := (anthropic.Codec{}).AppendReply(nil, &l.c.Reply, translator.ReplyOptions{ID: "r", Model: "m"}); !bytes.Contains(whole, []byte(told)) {
				t.Errorf("no %s in %s", told, whole)
			}
		})
	}
}
