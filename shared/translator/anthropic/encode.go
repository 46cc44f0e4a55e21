package anthropic

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"strconv"
	"strings"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// encoder writes one request. Its first error stays.
type encoder struct {
	r     *translator.Request
	f     family
	out   *translator.Encoded
	b     []byte
	turns []turn
	tools []*translator.Tool // that are sent
	think thinking
	err   *translator.FieldError
}

// Encode implements translator.Back: a body for POST /v1/messages.
func (Codec) Encode(r *translator.Request, t translator.Target) (*translator.Encoded, error) {
	e := &encoder{r: r, f: familyOf(t.Model), out: &translator.Encoded{}}
	e.refuse()
	e.chooseTools()
	e.makeTurns()
	e.decideThinking()
	if e.err != nil {
		return nil, e.err
	}
	e.b = make([]byte, 0, e.size())
	e.b = rawjson.AppendString(append(e.b, `{"model":`...), t.Model)
	e.b = member(e.b, "max_tokens", e.maxTokens())
	if r.Stream {
		e.b = member(e.b, "stream", []byte("true"))
	}
	e.system()
	e.messages()
	e.writeTools()
	e.writeThinking()
	e.outputConfig()
	e.sampling()
	e.stop()
	e.rest()
	if e.err != nil {
		return nil, e.err
	}
	e.out.Body = append(e.b, '}')
	return e.out, nil
}

func (e *encoder) fail(p translator.Place, field, message string) {
	if e.err == nil {
		e.err = translator.BadAt(p, field, message)
	}
}

// size is about how large the body will be, so that it is not copied as it grows.
func (e *encoder) size() int {
	n := 1024
	for i := range e.r.System {
		n += len(e.r.System[i].Text) + 64
	}
	for _, t := range e.turns {
		for _, b := range t.blocks {
			n += blockSize(b)
		}
	}
	for _, t := range e.tools {
		n += len(t.Description) + len(t.Schema) + 128
	}
	return n
}

func blockSize(b *translator.Block) int {
	n := 128 + len(b.Text) + len(b.Signature) + len(b.Input) + len(b.Media.Data) + len(b.Raw)
	for i := range b.Content {
		n += blockSize(&b.Content[i])
	}
	return n
}

// refused are fields that change what is answered and that this API has no place for.
var refused = map[string]string{
	"n":                    "send one request for each choice",
	"best_of":              "send one request for each choice",
	"audio":                "ask for text",
	"modalities":           "ask for text",
	"web_search_options":   "name a model of an OpenAI upstream, or leave it out",
	"background":           "leave it out and wait for the answer",
	"conversation":         "send the whole conversation in input",
	"prompt":               "send the prompt's text in input",
	"previous_response_id": "send the whole conversation in input",
}

func (e *encoder) refuse() {
	r := e.r
	if r.Logprobs || len(r.TopLogprobs) > 0 {
		field := "logprobs"
		switch {
		case len(r.TopLogprobs) > 0:
			field = "top_logprobs"
		case r.From == core.DialectOpenAIResponses:
			field = "include"
		}
		e.fail(translator.Place{}, field, "log probabilities are not offered by the upstream that serves this model; leave them out")
	}
	for i := range r.Extras {
		x := &r.Extras[i]
		if remedy, no := refused[x.Name]; no {
			e.fail(translator.Place{}, x.Name, "is not offered by the upstream that serves this model; "+remedy)
		}
	}
}

// number reads one that the client gave; ok is false when it is absent.
func number(r translator.Raw) (float64, bool) {
	f, err := strconv.ParseFloat(string(r), 64)
	return f, err == nil && !math.IsNaN(f)
}

// limit is max_tokens as a number.
func (e *encoder) limit() int64 {
	if f, ok := number(e.r.MaxTokens); ok {
		return int64(min(max(f, 0), 1e15))
	}
	return e.f.maxTokens()
}

// maxTokens is never lowered: the upstream refuses what is too much in its own words, which clients know (D28).
func (e *encoder) maxTokens() []byte {
	if len(e.r.MaxTokens) > 0 {
		return e.r.MaxTokens
	}
	return strconv.AppendInt(nil, e.f.maxTokens(), 10)
}

// sampling writes temperature, top_p and top_k as far as the API takes them beside each other and beside thinking.
func (e *encoder) sampling() {
	r := e.r
	if e.think.on() {
		for _, f := range []translator.Field{{Name: "temperature", Value: r.Temperature}, {Name: "top_p", Value: r.TopP}, {Name: "top_k", Value: r.TopK}} {
			if len(f.Value) > 0 {
				e.out.Drop(f.Name)
			}
		}
		return
	}
	if t, ok := number(r.Temperature); ok {
		value := []byte(r.Temperature)
		if t > 1 {
			value = []byte("1")
			e.out.Drop("temperature")
		}
		e.b = member(e.b, "temperature", value)
		if len(r.TopP) > 0 {
			e.out.Drop("top_p")
		}
	} else {
		e.b = optional(e.b, "top_p", r.TopP)
	}
	e.b = optional(e.b, "top_k", r.TopK)
}

// stop writes the stop sequences; the API refuses those of whitespace alone.
func (e *encoder) stop() {
	n := 0
	for _, s := range e.r.Stop {
		switch {
		case s == "":
		case strings.TrimSpace(s) == "":
			e.out.Enforce.Stop = append(e.out.Enforce.Stop, s)
		default:
			if n == 0 {
				e.b = append(e.b, `,"stop_sequences":[`...)
			} else {
				e.b = append(e.b, ',')
			}
			e.b = rawjson.AppendString(e.b, s)
			n++
		}
	}
	if n > 0 {
		e.b = append(e.b, ']')
	}
}

// maxUser is the most characters that metadata.user_id may have. Source: platform.claude.com/docs/en/api/messages.
const maxUser = 256

// rest writes metadata, tier and mark, and names what has no place.
func (e *encoder) rest() {
	r := e.r
	if user := r.User; user != "" {
		if len(user) > maxUser {
			sum := sha256.Sum256([]byte(user))
			user = hex.EncodeToString(sum[:16])
		}
		e.b = append(e.b, `,"metadata":{"user_id":`...)
		e.b = append(rawjson.AppendString(e.b, user), '}')
	}
	switch r.ServiceTier {
	case "":
	case "auto":
		e.b = stringMember(e.b, "service_tier", "auto")
	case "default", "standard_only":
		e.b = stringMember(e.b, "service_tier", "standard_only")
	default:
		e.out.Drop("service_tier")
	}
	e.b = optional(e.b, "cache_control", r.CacheControl)
	if r.CacheKey != "" {
		e.out.Drop("prompt_cache_key")
	}
	for i := range r.Extras {
		x := &r.Extras[i]
		if r.From == core.DialectAnthropic {
			e.b = append(rawjson.AppendString(append(e.b, ','), x.Name), ':')
			e.b = append(e.b, x.Value...)
			continue
		}
		e.out.Drop(x.Name)
	}
}
