package openaichat

import (
	"errors"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// The members of a body that have a place in the hub's request, or none because they change nothing.
const (
	bModel = iota
	bMessages
	bStream
	bStreamOptions
	bTools
	bToolChoice
	bFunctions
	bFunctionCall
	bParallel
	bMaxTokens
	bMaxCompletion
	bStop
	bTemperature
	bTopP
	bTopK
	bEffort
	bFormat
	bUser
	bTier
	bCacheKey
	bCacheControl
	bLogprobs
	bTopLogprobs
	bN
	bModalities
	bStore
	bodyCount
)

var bodyFields = []string{
	"model", "messages", "stream", "stream_options", "tools", "tool_choice", "functions", "function_call",
	"parallel_tool_calls", "max_tokens", "max_completion_tokens", "stop", "temperature", "top_p", "top_k",
	"reasoning_effort", "response_format", "user", "service_tier", "prompt_cache_key", "cache_control", "logprobs",
	"top_logprobs", "n", "modalities", "store",
}

// decoder reads one body. The first problem stays in err, after which nothing matters.
type decoder struct {
	r      *translator.Request
	err    *translator.FieldError
	calls  map[string]bool   // ids of the calls so far
	legacy map[string]string // name of a function -> id made for its last call
	began  bool              // the conversation has: system messages are part of it
	pieces int
}

// Decode implements translator.Front. Members that are null are absent ones. Unknown members of the body become Extras,
// those of messages and parts are ignored.
func (Codec) Decode(body []byte) (*translator.Request, error) {
	d := decoder{r: &translator.Request{From: core.DialectOpenAIChat}, calls: map[string]bool{}}
	var v [bodyCount]rawjson.Value
	if err := rawjson.Scan(body, bodyFields, v[:]); err != nil {
		var twice *rawjson.DuplicateError
		if errors.As(err, &twice) {
			return nil, translator.Bad(twice.Name, "stands in the body twice; send it once")
		}
		return nil, translator.Bad("", "the body is not a JSON object: "+err.Error())
	}
	d.settings(&v)
	d.sampling(&v)
	d.tools(&v)
	d.messages(v[bMessages])
	d.extras(body)
	if d.err != nil {
		return nil, d.err
	}
	return d.r, nil
}

func (d *decoder) settings(v *[bodyCount]rawjson.Value) {
	r, body := d.r, translator.Place{}
	r.Model = d.text(v[bModel], body, "model")
	r.Stream = d.boolean(v[bStream], body, "stream")
	if o, ok := d.object(v[bStreamOptions], body, "stream_options", "include_usage"); ok {
		r.IncludeUsage = d.boolean(o[0], body, "stream_options.include_usage") && r.Stream
	}
	r.User = d.text(v[bUser], body, "user")
	r.ServiceTier = d.text(v[bTier], body, "service_tier")
	r.CacheKey = d.text(v[bCacheKey], body, "prompt_cache_key")
	r.CacheControl = d.value(v[bCacheControl], rawjson.Object, body, "cache_control")
	r.Logprobs = d.boolean(v[bLogprobs], body, "logprobs")
	r.TopLogprobs = d.integer(v[bTopLogprobs], "top_logprobs")
	r.Effort = d.text(v[bEffort], body, "reasoning_effort")
	switch r.Effort {
	case "", "none", "minimal", "low", "medium", "high", "xhigh", "max":
	default:
		d.fail(body, "reasoning_effort", "must be one of none, minimal, low, medium, high, xhigh and max")
	}
	d.format(v[bFormat])
}

func (d *decoder) sampling(v *[bodyCount]rawjson.Value) {
	r, body := d.r, translator.Place{}
	r.MaxTokens = d.integer(v[bMaxTokens], "max_tokens")
	if m := d.integer(v[bMaxCompletion], "max_completion_tokens"); m != nil {
		r.MaxTokens = m
	}
	r.Temperature = d.value(v[bTemperature], rawjson.Number, body, "temperature")
	r.TopP = d.value(v[bTopP], rawjson.Number, body, "top_p")
	r.TopK = d.integer(v[bTopK], "top_k")
	switch stop := v[bStop]; stop.Kind() {
	case rawjson.Absent, rawjson.Null:
	case rawjson.String:
		d.stop(stop)
	case rawjson.Array:
		_ = rawjson.Elements(stop.Raw(), func(el rawjson.Value) bool {
			if el.Kind() != rawjson.String {
				d.fail(body, "stop", "must be a string or an array of strings")
			}
			d.stop(el)
			return d.err == nil
		})
	default:
		d.fail(body, "stop", "must be a string or an array of strings")
	}
}

func (d *decoder) stop(v rawjson.Value) {
	if s, _ := v.Text(); s != "" {
		d.r.Stop = append(d.r.Stop, s)
	}
}

// format reads response_format.
func (d *decoder) format(v rawjson.Value) {
	body := translator.Place{}
	o, ok := d.object(v, body, "response_format", "type", "json_schema")
	if !ok {
		return
	}
	switch typ := d.required(o[0], body, "response_format.type"); typ {
	case "text", "":
	case "json_object":
		d.r.Format = &translator.Format{}
	case "json_schema":
		const at = "response_format.json_schema"
		s, ok := d.object(o[1], body, at, "name", "description", "schema", "strict")
		if !ok {
			d.fail(body, at, "is required with this type")
			return
		}
		f := &translator.Format{
			Name:        d.required(s[0], body, at+".name"),
			Description: d.value(s[1], rawjson.String, body, at+".description"),
			Schema:      d.value(s[2], rawjson.Object, body, at+".schema"),
			Strict:      d.value(s[3], rawjson.Bool, body, at+".strict"),
		}
		if f.Schema == nil {
			d.fail(body, at+".schema", "is required: a JSON schema")
		}
		d.r.Format = f
	default:
		d.fail(body, "response_format.type", "must be text, json_object or json_schema")
	}
}

// extras keeps what has no place in the hub's request but a value that matters.
func (d *decoder) extras(body []byte) {
	if d.err != nil {
		return
	}
	known := make(map[string]bool, bodyCount)
	for _, name := range bodyFields {
		known[name] = true
	}
	_ = rawjson.Members(body, func(key, value rawjson.Value) bool {
		name, _ := key.Text()
		if value.Kind() == rawjson.Null {
			return true
		}
		switch name {
		case "n":
			if n, ok := value.Int(); !ok {
				d.fail(translator.Place{}, name, "must be an integer")
			} else if n == 1 {
				return true
			}
		case "modalities":
			if only(value, "text") {
				return true
			}
		default:
			if known[name] {
				return true
			}
		}
		d.piece("")
		d.r.Extras = append(d.r.Extras, translator.Field{Name: name, Value: value.Raw()})
		return d.err == nil
	})
}

// only reports whether v is an array of nothing but the one string.
func only(v rawjson.Value, s string) bool {
	if v.Kind() != rawjson.Array {
		return false
	}
	n, ok := 0, true
	_ = rawjson.Elements(v.Raw(), func(el rawjson.Value) bool {
		n++
		ok = el.TextEquals(s)
		return ok
	})
	return ok && n == 1
}

func (d *decoder) fail(p translator.Place, field, message string) {
	if d.err == nil {
		d.err = translator.BadAt(p, field, message)
	}
}

// piece counts what takes memory in the hub's request.
func (d *decoder) piece(list string) {
	if d.pieces++; d.pieces > translator.MaxPieces {
		d.fail(translator.Place{}, list, translator.TooManyPieces)
	}
}

// value returns a value of a kind, nil when it is absent or null.
func (d *decoder) value(v rawjson.Value, k rawjson.Kind, p translator.Place, field string) translator.Raw {
	switch v.Kind() {
	case rawjson.Absent, rawjson.Null:
		return nil
	case k:
		return v.Raw()
	}
	what := "a " + k.String()
	switch k {
	case rawjson.Array, rawjson.Object:
		what = "an " + k.String()
	case rawjson.Bool:
		what = "true or false"
	}
	d.fail(p, field, "must be "+what)
	return nil
}

func (d *decoder) text(v rawjson.Value, p translator.Place, field string) string {
	return d.value(v, rawjson.String, p, field).Text()
}

// required returns a string that must not be empty.
func (d *decoder) required(v rawjson.Value, p translator.Place, field string) string {
	s := d.text(v, p, field)
	if s == "" {
		d.fail(p, field, "is required: a string that is not empty")
	}
	return s
}

func (d *decoder) boolean(v rawjson.Value, p translator.Place, field string) bool {
	return d.value(v, rawjson.Bool, p, field).IsTrue()
}

func (d *decoder) integer(v rawjson.Value, field string) translator.Raw {
	raw := d.value(v, rawjson.Number, translator.Place{}, field)
	if _, ok := v.Int(); raw != nil && !ok {
		d.fail(translator.Place{}, field, "must be an integer")
	}
	return raw
}

// object returns members of an object; ok is false when there is none, or a problem with it.
func (d *decoder) object(v rawjson.Value, p translator.Place, field string, names ...string) (out [12]rawjson.Value, ok bool) {
	raw := d.value(v, rawjson.Object, p, field)
	if raw == nil {
		return out, false
	}
	if err := rawjson.Scan(raw, names, out[:len(names)]); err != nil {
		var twice *rawjson.DuplicateError
		if errors.As(err, &twice) {
			d.fail(p, sub(field, twice.Name), "stands there twice; send it once")
		}
		return out, false
	}
	return out, true
}

// sub is the path of a member.
func sub(field, name string) string {
	if field == "" {
		return name
	}
	return field + "." + name
}
