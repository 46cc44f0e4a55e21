package upstreamtest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// openAIFields are what an OpenAI answer has of its request.
type openAIFields struct {
	responses bool // else a chat
	detail    bool // usage in a chat stream, encrypted reasoning in a response
	plain     bool // no obfuscation
	echo      [len(echoed)][]byte
}

// echoed are the settings that a response repeats, and what they are when the
// request has none.
var echoed = [...]struct{ name, absent string }{
	{"instructions", "null"}, {"max_output_tokens", "null"}, {"max_tool_calls", "null"}, {"metadata", "{}"},
	{"parallel_tool_calls", "true"}, {"previous_response_id", "null"}, {"prompt_cache_key", "null"},
	{"reasoning", `{"effort":null,"summary":null}`}, {"safety_identifier", "null"}, {"store", "true"}, {"temperature", "1.0"},
	{"text", `{"format":{"type":"text"},"verbosity":"medium"}`}, {"tool_choice", `"auto"`}, {"tools", "[]"},
	{"top_logprobs", "0"}, {"top_p", "1.0"}, {"truncation", `"disabled"`}, {"user", "null"},
}

func (f *openAIFields) appendEcho(dst []byte) []byte {
	for i, e := range echoed {
		dst = append(append(append(dst, '"'), e.name...), `":`...)
		switch v := f.echo[i]; {
		case v == nil || string(v) == "null":
			dst = append(dst, e.absent...)
		case bytes.IndexByte(v, '\n') >= 0 || bytes.IndexByte(v, '\r') >= 0: // would end the event's line
			var b bytes.Buffer
			_ = json.Compact(&b, v) // the body is valid JSON
			dst = append(dst, b.Bytes()...)
		default:
			dst = append(dst, v...)
		}
		dst = append(dst, ',')
	}
	return dst
}

// scanOpenAI reads the fields of a body and reports whether it is an object.
func (x *exchange) scanOpenAI(responses bool) bool {
	f := &x.openai
	f.responses = responses
	return members(x.req.Body, func(key, value []byte) {
		switch string(key) {
		case `"model"`:
			x.fields.model = value
		case `"stream"`:
			x.fields.stream = value
		case `"stream_options"`:
			members(value, func(key, value []byte) {
				switch string(key) {
				case `"include_usage"`:
					f.detail = f.detail || !responses && string(value) == "true"
				case `"include_obfuscation"`:
					f.plain = string(value) == "false"
				}
			})
		case `"include"`:
			f.detail = f.detail || responses && bytes.Contains(value, []byte(`"reasoning.encrypted_content"`))
		}
		if !responses || len(key) < 2 {
			return
		}
		name := key[1 : len(key)-1]
		for i := range echoed {
			if string(name) == echoed[i].name {
				f.echo[i] = value
			}
		}
	})
}

func (o *OpenAI) serve(x *exchange) {
	h := x.w.Header()
	h["X-Request-Id"] = []string{o.newID("req_")}
	h["Openai-Version"] = o.version
	h["Openai-Organization"] = o.org
	path, ok := strings.CutPrefix(x.req.Path, o.base)
	x.openai.responses = path == "/responses"
	switch {
	case x.tooLarge:
		o.fault(x, nil, &fault{status: http.StatusRequestEntityTooLarge})
	case !ok || path != "/chat/completions" && path != "/responses" && path != "/models" && !strings.HasPrefix(path, "/models/"):
		x.refuseOpenAI(openAIError{http.StatusNotFound, invalidRequest, "", "", "Invalid URL (" + x.req.Method + " " + x.req.Path + ")"})
	case !o.authorized(x):
	case strings.HasPrefix(path, "/models"):
		o.model(x, strings.TrimPrefix(strings.TrimPrefix(path, "/models"), "/"))
	case x.req.Method != http.MethodPost:
		x.wrongMethod()
	default:
		o.complete(x)
	}
}

const invalidRequest = "invalid_request_error"

func (x *exchange) refuseOpenAI(e openAIError) { x.answer(e.status, e.append(x.buf[:0])) }

func (x *exchange) wrongMethod() {
	x.refuseOpenAI(openAIError{http.StatusMethodNotAllowed, invalidRequest, "", "method_not_supported", "Not allowed to " + x.req.Method + " on " +
		x.req.Path + ". (HINT: Perhaps you meant to use a different HTTP method?)"})
}

func (o *OpenAI) authorized(x *exchange) bool {
	got := bearer(x.req.Header)
	if got == "" {
		got = x.req.Header.Get("Api-Key")
	}
	message := "Incorrect API key provided: " + masked(got) + ". You can find your API key at https://platform.openai.com/account/api-keys."
	switch {
	case got == "":
		message = "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth " +
			"(i.e. Authorization: Bearer YOUR_KEY). You can obtain an API key from https://platform.openai.com/account/api-keys."
	case o.key == "" || got == o.key:
		return true
	}
	x.refuseOpenAI(openAIError{http.StatusUnauthorized, invalidRequest, "", "invalid_api_key", message})
	return false
}

// masked shows a key as the API does.
func masked(key string) string {
	if len(key) < 13 {
		return strings.Repeat("*", len(key))
	}
	return key[:8] + strings.Repeat("*", len(key)-12) + key[len(key)-4:]
}

func (o *OpenAI) complete(x *exchange) {
	const notJSON = "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library correctly. " +
		"The OpenAI API expects a JSON payload, but what was sent was not valid JSON. If you have trouble figuring out how to fix this, " +
		"please contact us through our help center at help.openai.com.)"
	if o.validating && !json.Valid(x.req.Body) || !x.scanOpenAI(x.openai.responses) {
		x.refuseOpenAI(openAIError{http.StatusBadRequest, invalidRequest, "", "", notJSON})
		return
	}
	if o.validating {
		check := checkChat
		if x.openai.responses {
			check = checkResponse
		}
		if problem := check(x.req.Body); problem != nil {
			x.refuseOpenAI(*problem)
			return
		}
	}
	x.play(o.script.next(x.req))
}

type openAIModel struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

// model serves GET /models and /models/{id}.
func (o *OpenAI) model(x *exchange, id string) {
	if x.req.Method != http.MethodGet {
		x.wrongMethod()
		return
	}
	all := make([]openAIModel, 0, len(o.models))
	want, _ := url.PathUnescape(id)
	for i, name := range o.models {
		m := openAIModel{ID: name, Object: "model", Created: int64(1_767_225_600 - 86_400*i), OwnedBy: "system"}
		if want == name {
			o.object(x, m)
			return
		}
		all = append(all, m)
	}
	if id != "" {
		x.refuseOpenAI(openAIError{http.StatusNotFound, invalidRequest, "model", "model_not_found", "The model '" + want + "' does not exist"})
		return
	}
	o.object(x, struct {
		Object string        `json:"object"`
		Data   []openAIModel `json:"data"`
	}{"list", all})
}

func (o *OpenAI) object(x *exchange, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		o.fault(x, nil, &fault{status: http.StatusInternalServerError})
		return
	}
	x.answer(http.StatusOK, body)
}
