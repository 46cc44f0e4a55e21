package upstreamtest

import (
	"net/http"
	"strconv"
	"time"
)

// OpenAI is a running fake of the OpenAI API: POST {base}/chat/completions and
// {base}/responses, GET {base}/models and {base}/models/{id}, where the base is
// [WithBase]. All methods are safe for concurrent use.
//
// [AfterStart] is after the chunk with the role, or after
// response.in_progress; [BeforeStop] before [DONE], or response.completed;
// [AfterDeltas] counts pieces of text, reasoning and arguments.
type OpenAI struct {
	fake
	version []string // shared by all answers, never changed
	org     []string
	millis  []string
	limits  map[string][]string
}

// StartOpenAI starts a fake that serves until Close. It fails only if it
// cannot listen.
func StartOpenAI(opts ...Option) (*OpenAI, error) {
	o := &OpenAI{
		version: []string{"2020-10-01"},
		org:     []string{"org-fake"},
		millis:  []string{"12"},
		limits: map[string][]string{
			"X-Ratelimit-Limit-Requests": {"5000"}, "X-Ratelimit-Remaining-Requests": {"4999"}, "X-Ratelimit-Reset-Requests": {"12ms"},
			"X-Ratelimit-Limit-Tokens": {"800000"}, "X-Ratelimit-Remaining-Tokens": {"799990"}, "X-Ratelimit-Reset-Tokens": {"0s"},
		},
	}
	models := []string{"gpt-6-sol", "gpt-6-luna", "gpt-5.5", "gpt-5.4-mini", "o3", "gpt-4.1", "gpt-4o"}
	if err := o.start(o, models, opts); err != nil {
		return nil, err
	}
	return o, nil
}

// BaseURL is the address as SDKs of this API want it: the URL with the base.
func (o *OpenAI) BaseURL() string { return o.URL + o.base }

// Completions is Requests for the requests for replies alone: POST to
// chat/completions and responses.
func (o *OpenAI) Completions() []Request {
	return o.posts(o.base+"/chat/completions", o.base+"/responses")
}

func (o *OpenAI) maxBody(string) int64 { return maxBody }

func (o *OpenAI) setLimits(h http.Header) {
	h["Openai-Processing-Ms"] = o.millis
	for name, value := range o.limits {
		h[name] = value
	}
}

// variant also fills in what an answer has of its request.
func (o *OpenAI) variant(x *exchange) variant {
	f := &x.openai
	v := variantChat
	if f.responses {
		v = variantResponses
		x.head[slotEcho[0]] = f.appendEcho(nil)
	}
	if f.detail {
		v++
	}
	if !f.plain {
		v += 2
	}
	if x.head[slotModel[0]] = x.fields.model; len(x.fields.model) == 0 {
		x.head[slotModel[0]] = []byte(`""`)
	}
	x.head[slotID[0]] = appendID(nil, "", o.nextID())
	x.head[slotCreated[0]] = strconv.AppendInt(nil, time.Now().Unix(), 10)
	return v
}

func (o *OpenAI) render(x *exchange, _ *plan, step *op, _ bool) []byte {
	x.buf = step.parts.append(x.buf[:0], &x.head)
	return x.buf
}

func (o *OpenAI) body(x *exchange, p *plan) []byte {
	return p.parts.append(x.buf[:0], &x.head)
}

func (o *OpenAI) fault(x *exchange, s *spec, f *fault) {
	e := f.openAI(x.openai.responses)
	if f.limited {
		h := x.w.Header()
		h.Set("X-Ratelimit-Limit-Requests", "500")
		h.Set("X-Ratelimit-Remaining-Requests", "0")
		h.Set("X-Ratelimit-Reset-Requests", f.wait.String())
	}
	x.setHeaders(s)
	x.answer(e.status, e.append(x.buf[:0]))
}
