package gateway_test

import (
	"strings"
	"testing"

	"sluice/shared/upstream/upstreamtest"
)

// notOffered is how the service says that an account has not the model.
func notOffered() upstreamtest.Behaviour {
	return upstreamtest.Status(400, "").ErrorType("ValidationException").ErrorCode("INVALID_MODEL_ID")
}

// A client was told that there is no such model, though the account that has it had only lost its connection.
func TestPool_NotOfferedHidesNoFailure(t *testing.T) {
	for _, order := range []int{0, 1} { // which of the two is asked first
		r := newRig(t, "PROXY_RETRY_MAX", "1")
		free := r.fakePool("free", weight(1+order))
		paid := r.fakePool("paid", weight(2-order))
		free.Default(notOffered())
		paid.Default(upstreamtest.Reply().Cut(upstreamtest.BeforeHeaders, upstreamtest.EndReset))
		got := r.post(strings.Replace(streamBody, "claude-x", "claude-sonnet-4-5", 1))
		if got.status != 502 || strings.Contains(got.body, "not_found") || free.Count() == 0 || paid.Count() == 0 {
			t.Errorf("asked in order %d: %d %s after %d and %d requests", order, got.status, got.body, free.Count(), paid.Count())
		}
	}
}

// What was made for a node that is not tried again is given back before the next one is asked: eight nodes must not need the
// memory of eight bodies.
func TestPool_TranslatedBodiesAreGivenBack(t *testing.T) {
	r := newRig(t, "MAX_BODY_BYTES", "1500000", "MAX_BODY_MEMORY", "5000000")
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		r.fakePool(name).Default(notOffered())
	}
	last := r.fakePool("last", weight(2))
	last.Default(upstreamtest.Reply(upstreamtest.Text("Hello")))
	var talk strings.Builder
	for range 2 {
		talk.WriteString(`{"role":"user","content":"` + strings.Repeat("word ", 100_000) + `"},{"role":"assistant","content":"ok"},`)
	}
	body := `{"model":"claude-sonnet-4-5","max_tokens":9,"messages":[` + talk.String() + `{"role":"user","content":"end"}]}`
	if got := r.post(body); got.status != 200 {
		t.Errorf("%d %.300s", got.status, got.body)
	}
	if last.Count() != 1 {
		t.Errorf("the last node got %d requests", last.Count())
	}
}
