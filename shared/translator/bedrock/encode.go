package bedrock

import (
	"math"
	"strconv"
	"strings"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/translator"
	"sluice/shared/translator/internal/aws"
)

// encoder writes one request. Its first error stays.
type encoder struct {
	r      *translator.Request
	f      family
	out    *translator.Encoded
	b      []byte
	first  bool // no member of the body has been written yet
	tools  []*translator.Tool
	system []item
	turns  []turn
	think  thinking
	stops  bool           // stop sequences are sent
	ids    map[string]int // names of documents, and how often each has come
	skip   int            // cache marks that are left out: so many of the first
	err    *translator.FieldError
}

// Encode implements translator.Back: a body for POST /model/{id}/converse and converse-stream. The names of the request's
// tools must have been fitted to Names.
func (Codec) Encode(r *translator.Request, t translator.Target) (*translator.Encoded, error) {
	e := &encoder{r: r, f: familyFor(&t), out: &translator.Encoded{}, first: true, ids: map[string]int{}}
	e.err = aws.Refuse(r, e.out, refused, "metadata")
	e.chooseTools()
	e.makeTurns()
	e.finishTurns()
	e.decideThinking()
	e.placeMarks()
	if e.err != nil {
		return nil, e.err
	}
	e.b = append(make([]byte, 0, e.size()), '{')
	e.writeSystem()
	e.writeTurns()
	e.inference()
	e.writeTools()
	e.outputConfig()
	e.additional()
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

func (e *encoder) lit(s string) { e.b = append(e.b, s...) }

// member begins a member of the body; name has the quotes and the colon.
func (e *encoder) member(name string) {
	if !e.first {
		e.b = append(e.b, ',')
	}
	e.first = false
	e.b = append(e.b, name...)
}

// comma writes one before all but the first element.
func (e *encoder) comma(i int) {
	if i > 0 {
		e.b = append(e.b, ',')
	}
}

// size is about how large the body will be, so that it is not copied as it grows.
func (e *encoder) size() int {
	n := 1024
	for _, it := range e.system {
		n += len(it.block.Text) + 64
	}
	for i := range e.turns {
		for _, it := range e.turns[i].items {
			n += blockSize(it.block)
		}
	}
	for _, t := range e.tools {
		n += len(t.Description) + len(t.Schema) + 160
	}
	return n
}

func blockSize(b *translator.Block) int {
	n := 160 + len(b.Text) + len(b.Signature) + len(b.Input) + len(b.Media.Data)
	for i := range b.Content {
		n += blockSize(&b.Content[i])
	}
	return n
}

// refused are fields that this service has no place for, besides those that neither of AWS's has.
var refused = map[string]string{"container": "leave it out, or name a model of another upstream"}

// name is a field's name in the client's dialect.
func (e *encoder) name(anthropic, chat, responses string) string {
	switch e.r.From {
	case core.DialectOpenAIChat:
		return chat
	case core.DialectOpenAIResponses:
		return responses
	}
	return anthropic
}

// number reads one that the client gave; ok is false when it is absent.
func number(r translator.Raw) (float64, bool) {
	f, err := strconv.ParseFloat(string(r), 64)
	return f, err == nil && !math.IsNaN(f)
}

// usualLimit is what a Claude that thinks is given where the client set no limit: the budget must be below it.
const usualLimit = 32_000

func (e *encoder) limit() int64 {
	if f, ok := number(e.r.MaxTokens); ok {
		return int64(min(max(f, 0), 1e15))
	}
	return usualLimit
}

// inference writes inferenceConfig: what all models have. Bounds: API_runtime_InferenceConfiguration.
func (e *encoder) inference() {
	start, n := len(e.b), 0
	was := e.first
	e.member(`"inferenceConfig":{`)
	put := func(name string, value []byte) {
		e.comma(n)
		e.lit(name)
		e.b = append(e.b, value...)
		n++
	}
	if limit := e.maxTokens(); limit != nil {
		put(`"maxTokens":`, limit)
	}
	temperature, topP := e.sampling()
	if temperature != nil {
		put(`"temperature":`, temperature)
	}
	if topP != nil {
		put(`"topP":`, topP)
	}
	if stops := e.stopList(); len(stops) > 0 {
		e.stops = true
		var list []byte
		for i, s := range stops {
			if i > 0 {
				list = append(list, ',')
			}
			list = rawjson.AppendString(list, s)
		}
		put(`"stopSequences":[`, append(list, ']'))
	}
	if n == 0 {
		e.b, e.first = e.b[:start], was
		return
	}
	e.lit("}")
}

// maxTokens is never lowered: the service refuses what is too much in its own words, which clients know (D28).
func (e *encoder) maxTokens() []byte {
	f, ok := number(e.r.MaxTokens)
	switch {
	case !ok && e.think.budget > 0:
		return strconv.AppendInt(nil, usualLimit, 10)
	case !ok:
		return nil // the service's default is the most that the model has
	case f < 1:
		e.fail(translator.Place{}, e.name("max_tokens", "max_tokens", "max_output_tokens"), "must be at least 1 at the upstream that serves this model")
	case !plainInt(e.r.MaxTokens):
		return strconv.AppendInt(nil, int64(min(f, math.MaxInt32)), 10)
	}
	return e.r.MaxTokens
}

func plainInt(r translator.Raw) bool { return strings.Trim(string(r), "0123456789") == "" }

// sampling returns temperature and top_p as far as the model takes them beside each other and beside thinking.
func (e *encoder) sampling() (temperature, topP translator.Raw) {
	r := e.r
	if e.think.on() {
		for _, f := range []translator.Field{{Name: "temperature", Value: r.Temperature}, {Name: "top_p", Value: r.TopP}, {Name: "top_k", Value: r.TopK}} {
			if len(f.Value) > 0 {
				e.out.Drop(f.Name)
			}
		}
		return nil, nil
	}
	temperature, topP = r.Temperature, r.TopP
	if t, ok := number(temperature); ok && t > 1 {
		temperature = translator.Raw("1")
		e.out.Drop("temperature")
	}
	if len(temperature) > 0 && len(topP) > 0 && e.f.atLeast(4, 1) { // which refuse the two together
		topP = nil
		e.out.Drop("top_p")
	}
	return temperature, topP
}

// The most stop sequences that are sent: of the API, and of Nova's request schema.
const (
	maxStops     = 2500
	maxStopsNova = 4
)

// stopList is the stop sequences that the service is told of. The gateway holds those of whitespace alone, which Claude
// refuses, those beyond the bounds, and all of models of which it is not known that they have any: some refuse the field.
func (e *encoder) stopList() (list []string) {
	most := 0
	switch {
	case e.f.claude:
		most = maxStops
	case e.f.nova:
		most = maxStopsNova
	}
	for _, s := range e.r.Stop {
		switch {
		case s == "":
		case len(list) == most || strings.TrimSpace(s) == "":
			e.out.Enforce.Stop = append(e.out.Enforce.Stop, s)
		default:
			list = append(list, s)
		}
	}
	return list
}

// rest writes tier and metadata, and names what has no place.
func (e *encoder) rest() {
	r := e.r
	switch r.ServiceTier {
	case "", "auto", "default", "standard_only":
	case "flex", "priority": // API_runtime_ServiceTier
		e.member(`"serviceTier":{"type":"` + r.ServiceTier + `"}`)
	default:
		e.out.Drop("service_tier")
	}
	e.metadata()
	if r.CacheKey != "" {
		e.out.Drop("prompt_cache_key")
	}
	if r.Summary != "" && !e.think.on() {
		e.out.Drop("reasoning.summary")
	}
}

// Bounds of requestMetadata. Source: API_runtime_Converse.
const (
	maxMetadata = 16
	maxMetaText = 256
)

// metadata writes requestMetadata, by which invocation logs are filtered: as a whole, or not at all.
func (e *encoder) metadata() {
	var list []byte
	n, named := 0, ""
	add := func(key, value string) bool {
		if n++; n > maxMetadata || key == "" || !loggable(key) || !loggable(value) {
			return false
		}
		list = rawjson.AppendString(append(list, ','), key)
		list = rawjson.AppendString(append(list, ':'), value)
		return true
	}
	if m := e.r.Extra("metadata"); len(m) > 0 && m[0] == '{' {
		ok := true
		_ = rawjson.Members(m, func(key, value rawjson.Value) bool {
			k, _ := key.Text()
			v, text := value.Text()
			if ok = text && add(k, v); k == "user_id" {
				named = v
			}
			return ok
		})
		if !ok {
			e.out.Drop("metadata")
			list, n = nil, 0
		}
	}
	switch user := e.r.User; {
	case user == "" || list != nil && user == named:
	case list != nil && named != "", !add("user_id", user): // one key cannot stand twice
		e.out.Drop(e.name("metadata", "user", "user"))
	}
	if len(list) > 0 {
		list[0] = '{'
		e.member(`"requestMetadata":`)
		e.b = append(append(e.b, list...), '}')
	}
}

// loggable reports whether the service takes a text as a key or a value of requestMetadata.
func loggable(s string) bool {
	for i := range len(s) {
		if c := s[i]; !alnum(c) && !strings.ContainsRune(" \t\n\r:_@$#=/+,-.", rune(c)) {
			return false
		}
	}
	return len(s) <= maxMetaText
}

func alnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
