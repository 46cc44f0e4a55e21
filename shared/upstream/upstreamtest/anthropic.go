package upstreamtest

import (
	"net/http"
	"time"
)

// Anthropic is a running fake of the Anthropic API. All methods are safe for
// concurrent use.
type Anthropic struct {
	fake
	batches  batchStore
	files    fileStore
	orgID    []string // shared by all answers, never changed
	numbers  map[string][]string
	released time.Time
}

// StartAnthropic starts a fake that serves until Close. It fails only if it
// cannot listen.
func StartAnthropic(opts ...Option) (*Anthropic, error) {
	a := &Anthropic{
		orgID:    []string{"5b1d7a5e-8f0c-4c57-9d2e-2f6a1c3e9b40"},
		numbers:  rateLimits(),
		released: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	if err := a.start(a, defaultModels(), opts); err != nil {
		return nil, err
	}
	return a, nil
}

// Reset forgets the requests received, the script, the batches and the files:
// the fake is as if just started. Requests under way are answered as they were
// but no longer recorded.
func (a *Anthropic) Reset() {
	a.fake.Reset()
	a.batches.reset()
	a.files.reset()
}

// rateLimits are the rate limit headers that do not change.
func rateLimits() map[string][]string {
	m := map[string][]string{}
	for what, limit := range map[string][2]string{
		"Requests":      {"4000", "3999"},
		"Tokens":        {"2400000", "2399000"},
		"Input-Tokens":  {"2000000", "1999000"},
		"Output-Tokens": {"400000", "399000"},
	} {
		m["Anthropic-Ratelimit-"+what+"-Limit"] = []string{limit[0]}
		m["Anthropic-Ratelimit-"+what+"-Remaining"] = []string{limit[1]}
	}
	return m
}

// setLimits adds the rate limit headers of a success.
func (a *Anthropic) setLimits(h http.Header) {
	for name, value := range a.numbers {
		h[name] = value
	}
	reset := []string{time.Now().Add(time.Second).UTC().Format(time.RFC3339)}
	h["Anthropic-Ratelimit-Requests-Reset"] = reset
	h["Anthropic-Ratelimit-Tokens-Reset"] = reset
	h["Anthropic-Ratelimit-Input-Tokens-Reset"] = reset
	h["Anthropic-Ratelimit-Output-Tokens-Reset"] = reset
}

// Messages is Requests for POST /v1/messages alone.
func (a *Anthropic) Messages() []Request {
	return a.posts("/v1/messages")
}

func (a *Anthropic) variant(*exchange) variant { return variantAnthropic }

// render is message_start, the only event that differs for each request.
func (a *Anthropic) render(x *exchange, p *plan, _ *op, crlf bool) []byte {
	const head = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":"
	x.buf = x.appendHead(x.buf[:0], head, p.startEnd)
	if crlf {
		return toCRLF(x.buf)
	}
	return x.buf
}

func (a *Anthropic) body(x *exchange, p *plan) []byte {
	return x.appendHead(x.buf[:0], `{"model":`, p.wholeEnd)
}

// appendHead appends head, the model as asked, a new message id, and tail.
func (x *exchange) appendHead(dst []byte, head string, tail []byte) []byte {
	dst = append(dst, head...)
	model := x.fields.model
	if len(model) == 0 {
		model = []byte(`""`)
	}
	dst = append(dst, model...)
	dst = append(dst, `,"id":"`...)
	dst = appendID(dst, "msg_", x.f.nextID())
	return append(dst, tail...)
}

func (a *Anthropic) fault(x *exchange, s *spec, f *fault) {
	status, errType, message := f.anthropic()
	if f.limited {
		h := x.w.Header()
		for _, what := range []string{"Requests", "Input-Tokens"} {
			h.Set("Anthropic-Ratelimit-"+what+"-Limit", "50")
			h.Set("Anthropic-Ratelimit-"+what+"-Remaining", "0")
			h.Set("Anthropic-Ratelimit-"+what+"-Reset", f.reset.UTC().Format(time.RFC3339))
		}
	}
	x.setHeaders(s)
	x.fail(status, errType, message)
}

// fail answers with an error body.
func (x *exchange) fail(status int, errType, message string) {
	x.answer(status, appendError(x.buf[:0], errType, message, x.id))
}

// refuse is fail with the type that belongs to the status.
func (x *exchange) refuse(status int, message string) {
	errType, usual := errorOf(status)
	if message == "" {
		message = usual
	}
	x.fail(status, errType, message)
}
