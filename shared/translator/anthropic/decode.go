package anthropic

import (
	"errors"
	"slices"
	"strings"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// The fields of a body that the hub knows, in the order of fields.
const (
	fModel = iota
	fMaxTokens
	fMessages
	fSystem
	fTools
	fToolChoice
	fStop
	fStream
	fTemperature
	fTopP
	fTopK
	fThinking
	fOutput
	fOutputFormat // of the beta before output_config
	fMetadata
	fTier
	fCache
	fCount
)

var fields = [fCount]string{"model", "max_tokens", "messages", "system", "tools", "tool_choice", "stop_sequences", "stream",
	"temperature", "top_p", "top_k", "thinking", "output_config", "output_format", "metadata", "service_tier", "cache_control"}

// decoder reads one body. Its first error stays; what it returns after that is of no use.
type decoder struct {
	req   *translator.Request
	calls map[string]struct{} // ids of the calls so far
	err   *translator.FieldError

	pieces int
}

// piece counts what takes memory in the hub's request.
func (d *decoder) piece(list string) {
	if d.pieces++; d.pieces > translator.MaxPieces {
		d.fail(spot{}, list, translator.TooManyPieces)
	}
}

// spot is where an object stands: a place, and the path from there with a dot behind it.
type spot struct {
	place  translator.Place
	prefix string
}

func (s spot) in(name string) spot { return spot{s.place, s.prefix + name + "."} }

func (d *decoder) fail(s spot, name, message string) {
	if d.err == nil {
		d.err = translator.BadAt(s.place, strings.TrimSuffix(s.prefix+name, "."), message)
	}
}

var kindNames = [...]string{rawjson.Null: "null", rawjson.Bool: "true or false", rawjson.Number: "a number", rawjson.String: "a string",
	rawjson.Array: "an array", rawjson.Object: "an object"}

// opt returns a member of a kind, nil when it is absent or null.
func (d *decoder) opt(s spot, name string, v rawjson.Value, kind rawjson.Kind) translator.Raw {
	switch v.Kind() {
	case rawjson.Absent, rawjson.Null:
		return nil
	case kind:
		return v.Raw()
	}
	d.fail(s, name, "must be "+kindNames[kind])
	return nil
}

// need is opt for a member that must be there.
func (d *decoder) need(s spot, name string, v rawjson.Value, kind rawjson.Kind) translator.Raw {
	if v.Kind() == rawjson.Absent || v.Kind() == rawjson.Null {
		d.fail(s, name, "is required and must be "+kindNames[kind])
		return nil
	}
	return d.opt(s, name, v, kind)
}

// name returns a string that must be there and say something.
func (d *decoder) name(s spot, name string, v rawjson.Value) string {
	text := d.need(s, name, v, rawjson.String).Text()
	if text == "" {
		d.fail(s, name, "must not be empty")
	}
	return text
}

// word returns a string that must be one of some; empty when it is absent.
func (d *decoder) word(s spot, name string, v rawjson.Value, words ...string) string {
	text := d.opt(s, name, v, rawjson.String).Text()
	if v.Kind() == rawjson.String && !slices.Contains(words, text) {
		message := "must be "
		for i, w := range words {
			if i > 0 {
				message += ", "
			}
			message += w
		}
		d.fail(s, name, message)
	}
	return text
}

// scan reads members of an object that was checked to be one.
func (d *decoder) scan(s spot, obj []byte, names []string, out []rawjson.Value) {
	if err := rawjson.Scan(obj, names, out); err != nil {
		var twice *rawjson.DuplicateError
		if errors.As(err, &twice) {
			d.fail(s, twice.Name, "is given twice")
			return
		}
		d.fail(s, "", "is not a JSON object")
	}
}

// each calls fn for the elements of an array, until there is an error.
func (d *decoder) each(list []byte, fn func(i int, v rawjson.Value)) {
	i := 0
	_ = rawjson.Elements(list, func(v rawjson.Value) bool { // the body has been checked as a whole
		fn(i, v)
		i++
		return d.err == nil
	})
}

// Decode implements translator.Front for bodies of POST /v1/messages.
func (Codec) Decode(body []byte) (*translator.Request, error) {
	d := &decoder{req: &translator.Request{From: core.DialectAnthropic}, calls: map[string]struct{}{}}
	var v [fCount]rawjson.Value
	if err := rawjson.Scan(body, fields[:], v[:]); err != nil {
		var twice *rawjson.DuplicateError
		if errors.As(err, &twice) {
			return nil, translator.Bad(twice.Name, "is given twice")
		}
		return nil, translator.Bad("body", "is not a JSON object")
	}
	d.top(&v)
	if d.err == nil {
		d.extras(body)
	}
	if d.err != nil {
		return nil, d.err
	}
	return d.req, nil
}

func (d *decoder) top(v *[fCount]rawjson.Value) {
	r, top := d.req, spot{}
	r.Model = d.name(top, "model", v[fModel])
	r.MaxTokens = d.need(top, "max_tokens", v[fMaxTokens], rawjson.Number)
	if n, ok := v[fMaxTokens].Int(); !ok || n < 0 {
		d.fail(top, "max_tokens", "must be a whole number that is not negative")
	}
	r.Stream = d.opt(top, "stream", v[fStream], rawjson.Bool).IsTrue()
	r.Temperature = d.opt(top, "temperature", v[fTemperature], rawjson.Number)
	r.TopP = d.opt(top, "top_p", v[fTopP], rawjson.Number)
	r.TopK = d.opt(top, "top_k", v[fTopK], rawjson.Number)
	r.ServiceTier = d.word(top, "service_tier", v[fTier], "auto", "standard_only")
	r.CacheControl = d.opt(top, "cache_control", v[fCache], rawjson.Object)
	d.each(d.opt(top, "stop_sequences", v[fStop], rawjson.Array), func(i int, v rawjson.Value) {
		r.Stop = append(r.Stop, d.need(spot{place: translator.At("stop_sequences", i)}, "", v, rawjson.String).Text())
	})
	if m := d.opt(top, "metadata", v[fMetadata], rawjson.Object); m != nil {
		var u [1]rawjson.Value
		d.scan(top.in("metadata"), m, []string{"user_id"}, u[:])
		r.User = d.opt(top.in("metadata"), "user_id", u[0], rawjson.String).Text()
	}
	d.settings(v)
	d.system(v[fSystem])
	d.tools(v[fTools], v[fToolChoice])
	list := d.need(top, "messages", v[fMessages], rawjson.Array)
	d.each(list, d.message)
	if len(r.Messages) == 0 {
		d.fail(top, "messages", "must have at least one message")
	}
}

// settings reads thinking and output_config.
func (d *decoder) settings(v *[fCount]rawjson.Value) {
	r, top := d.req, spot{}
	if t := d.opt(top, "thinking", v[fThinking], rawjson.Object); t != nil {
		var m [3]rawjson.Value
		at := top.in("thinking")
		d.scan(at, t, []string{"type", "budget_tokens", "display"}, m[:])
		d.need(at, "type", m[0], rawjson.String)
		r.Thinking = &translator.Thinking{
			Type:    d.word(at, "type", m[0], "adaptive", "enabled", "disabled", "between_tools"),
			Budget:  d.opt(at, "budget_tokens", m[1], rawjson.Number),
			Display: d.word(at, "display", m[2], "summarized", "omitted", "highlights", "updates"),
		}
		if r.Thinking.Type == "enabled" {
			d.need(at, "budget_tokens", m[1], rawjson.Number)
		}
	}
	if f := d.opt(top, "output_format", v[fOutputFormat], rawjson.Object); f != nil {
		d.format(top.in("output_format"), f)
	}
	if o := d.opt(top, "output_config", v[fOutput], rawjson.Object); o != nil {
		var m [2]rawjson.Value
		at := top.in("output_config")
		d.scan(at, o, []string{"effort", "format"}, m[:])
		r.Effort = d.word(at, "effort", m[0], "none", "minimal", "low", "medium", "high", "xhigh", "max")
		if f := d.opt(at, "format", m[1], rawjson.Object); f != nil {
			d.format(at.in("format"), f)
		}
	}
}

func (d *decoder) format(at spot, obj []byte) {
	var m [2]rawjson.Value
	d.scan(at, obj, []string{"type", "schema"}, m[:])
	d.need(at, "type", m[0], rawjson.String)
	d.word(at, "type", m[0], "json_schema")
	d.req.Format = &translator.Format{Schema: d.need(at, "schema", m[1], rawjson.Object)}
}

// extras keeps what the hub has no field for.
func (d *decoder) extras(body []byte) {
	_ = rawjson.Members(body, func(key, value rawjson.Value) bool {
		name, _ := key.Text()
		if value.Kind() != rawjson.Null && !slices.Contains(fields[:], name) && !neutral(name, value) {
			d.piece("body")
			d.req.Extras = append(d.req.Extras, translator.Field{Name: name, Value: value.Raw()})
		}
		return d.err == nil
	})
}

// neutral reports whether an extra field says no more than its absence would.
func neutral(name string, v rawjson.Value) bool {
	switch name {
	case "speed":
		return v.TextEquals("standard")
	case "mcp_servers", "betas":
		return string(v.Raw()) == "[]"
	}
	return false
}

// system reads the system prompt: a string or text blocks.
func (d *decoder) system(v rawjson.Value) {
	switch v.Kind() {
	case rawjson.Absent, rawjson.Null:
	case rawjson.String:
		if !v.TextEquals("") {
			d.req.System = []translator.Block{{Type: translator.BlockText, Text: v.Raw(), Place: translator.At("system", -1)}}
		}
	case rawjson.Array:
		d.each(v.Raw(), func(i int, v rawjson.Value) {
			b := d.block(spot{place: translator.At("system", i)}, v)
			if d.err == nil && b.Type != translator.BlockText {
				d.fail(spot{place: b.Place}, "type", "must be text")
			}
			d.req.System = append(d.req.System, b)
		})
	default:
		d.fail(spot{}, "system", "must be a string or an array of text blocks")
	}
}
