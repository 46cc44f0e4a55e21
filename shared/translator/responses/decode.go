package responses

import (
	"fmt"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// The members of a request that are read here; all others become Extras.
const (
	fModel = iota
	fInput
	fStream
	fInstructions
	fTools
	fToolChoice
	fParallel
	fReasoning
	fText
	fMaxTokens
	fTemperature
	fTopP
	fTopLogprobs
	fInclude
	fCacheKey
	fUser
	fTier
	fStore
	fBackground
	fTruncation
	fStreamOptions
	fClientMetadata
	fMetadata
	fPrevious
	fCount
)

func fieldNames() [fCount]string {
	return [fCount]string{
		fModel: "model", fInput: "input", fStream: "stream", fInstructions: "instructions", fTools: "tools",
		fToolChoice: "tool_choice", fParallel: "parallel_tool_calls", fReasoning: "reasoning", fText: "text",
		fMaxTokens: "max_output_tokens", fTemperature: "temperature", fTopP: "top_p", fTopLogprobs: "top_logprobs",
		fInclude: "include", fCacheKey: "prompt_cache_key", fUser: "user", fTier: "service_tier", fStore: "store",
		fBackground: "background", fTruncation: "truncation", fStreamOptions: "stream_options",
		fClientMetadata: "client_metadata", fMetadata: "metadata", fPrevious: "previous_response_id",
	}
}

// echoed are the members that an answer repeats.
var echoed = [...]int{fToolChoice, fParallel, fTemperature, fTopP, fMaxTokens, fMetadata, fReasoning, fText, fTruncation,
	fStore, fUser, fTier, fPrevious}

// decoder reads one request.
type decoder struct {
	names [fCount]string
	f     [fCount]rawjson.Value
	req   *translator.Request
	tools names // of the tools, by the client's name
	again bool  // a tool may be declared once more

	toolCount, pieces int

	calls  map[string]string // ids of the calls so far, and ids of their items, to ids of calls
	stored bool              // earlier turns are at the upstream: a result may be of a call that is not here
}

// Decode implements translator.Front.
func (Codec) Decode(body []byte) (*translator.Request, error) {
	d := decoder{names: fieldNames(), calls: map[string]string{}}
	d.req = &translator.Request{From: core.DialectOpenAIResponses}
	if err := d.members(body); err != nil {
		return nil, err
	}
	for _, step := range []func() error{d.scalars, d.reasoning, d.form, d.include, d.readTools, d.toolChoice, d.instructions, d.input} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	d.leadingSystem()
	for _, i := range echoed {
		if given(d.f[i]) {
			d.req.Echo = append(d.req.Echo, translator.Field{Name: d.names[i], Value: d.f[i].Raw()})
		}
	}
	return d.req, nil
}

// members finds the members and keeps those that it does not know.
func (d *decoder) members(body []byte) error {
	var bad error
	err := rawjson.Members(body, func(key, v rawjson.Value) bool {
		if v.Kind() == rawjson.Null {
			return true
		}
		for i := range d.names {
			if !key.TextEquals(d.names[i]) {
				continue
			}
			if d.f[i].Exists() {
				bad = translator.Bad(d.names[i], "appears twice")
				return false
			}
			d.f[i] = v
			return true
		}
		name := text(key)
		if bad = d.piece(""); bad != nil {
			return false
		}
		d.req.Extras = append(d.req.Extras, translator.Field{Name: name, Value: v.Raw()})
		d.stored = d.stored || name == "conversation" || name == "prompt"
		return true
	})
	if bad != nil {
		return bad
	}
	if err != nil {
		return translator.Bad("", "the body is not a JSON object: "+err.Error())
	}
	for _, i := range [...]int{fMetadata, fPrevious} {
		if given(d.f[i]) {
			d.req.Extras = append(d.req.Extras, translator.Field{Name: d.names[i], Value: d.f[i].Raw()})
		}
	}
	d.stored = d.stored || given(d.f[fPrevious])
	return nil
}

// piece counts what takes memory in the hub's request.
func (d *decoder) piece(list string) error {
	if d.pieces++; d.pieces > translator.MaxPieces {
		return translator.Bad(list, translator.TooManyPieces)
	}
	return nil
}

// scalars reads the members that are one value.
func (d *decoder) scalars() error {
	r := d.req
	for _, c := range [...]struct {
		i    int
		kind rawjson.Kind
	}{
		{fModel, rawjson.String}, {fStream, rawjson.Bool}, {fParallel, rawjson.Bool}, {fMaxTokens, rawjson.Number},
		{fTemperature, rawjson.Number}, {fTopP, rawjson.Number}, {fTopLogprobs, rawjson.Number}, {fCacheKey, rawjson.String},
		{fUser, rawjson.String}, {fTier, rawjson.String}, {fStore, rawjson.Bool}, {fBackground, rawjson.Bool},
		{fTruncation, rawjson.String}, {fMetadata, rawjson.Object}, {fPrevious, rawjson.String},
	} {
		if v := d.f[c.i]; given(v) && v.Kind() != c.kind {
			return wrongKind(d.names[c.i], c.kind, v)
		}
	}
	r.Model, r.User, r.ServiceTier, r.CacheKey = text(d.f[fModel]), text(d.f[fUser]), text(d.f[fTier]), text(d.f[fCacheKey])
	r.Stream, _ = d.f[fStream].Bool()
	r.MaxTokens, r.Temperature, r.TopP = d.f[fMaxTokens].Raw(), d.f[fTemperature].Raw(), d.f[fTopP].Raw()
	r.TopLogprobs = d.f[fTopLogprobs].Raw()
	if n, ok := d.f[fTopLogprobs].Int(); ok && n == 0 {
		r.TopLogprobs = nil
	}
	if background, _ := d.f[fBackground].Bool(); background {
		d.extra(fBackground)
	}
	if v := d.f[fTruncation]; given(v) && !v.TextEquals("disabled") {
		d.extra(fTruncation)
	}
	return nil
}

func (d *decoder) extra(i int) {
	d.req.Extras = append(d.req.Extras, translator.Field{Name: d.names[i], Value: d.f[i].Raw()})
}

func wrongKind(field string, want rawjson.Kind, v rawjson.Value) error {
	return translator.Bad(field, fmt.Sprintf("must be %s, not %s", article(want), article(v.Kind())))
}

func article(k rawjson.Kind) string {
	switch k {
	case rawjson.Array, rawjson.Object:
		return "an " + k.String()
	case rawjson.Null:
		return "null"
	case rawjson.Bool:
		return "a boolean"
	}
	return "a " + k.String()
}

// reasoning reads reasoning.effort and reasoning.summary (generate_summary is the latter's old name).
func (d *decoder) reasoning() error {
	v := d.f[fReasoning]
	if !given(v) {
		return nil
	}
	if v.Kind() != rawjson.Object {
		return wrongKind("reasoning", rawjson.Object, v)
	}
	var m [3]rawjson.Value
	if err := scan(v, "reasoning", []string{"effort", "summary", "generate_summary"}, m[:]); err != nil {
		return err
	}
	for i, name := range [...]string{"effort", "summary", "generate_summary"} {
		if given(m[i]) && m[i].Kind() != rawjson.String {
			return wrongKind("reasoning."+name, rawjson.String, m[i])
		}
	}
	d.req.Effort, d.req.Summary = text(m[0]), text(m[1])
	if d.req.Summary == "" {
		d.req.Summary = text(m[2])
	}
	return nil
}

// scan is rawjson.Scan of a value that is an object, with an error that names the field.
func scan(v rawjson.Value, field string, names []string, out []rawjson.Value) error {
	if err := rawjson.Scan(v.Raw(), names, out); err != nil {
		return translator.Bad(field, err.Error())
	}
	return nil
}

// form reads text.format and text.verbosity.
func (d *decoder) form() error {
	v := d.f[fText]
	if !given(v) {
		return nil
	}
	if v.Kind() != rawjson.Object {
		return wrongKind("text", rawjson.Object, v)
	}
	var m [2]rawjson.Value
	if err := scan(v, "text", []string{"format", "verbosity"}, m[:]); err != nil {
		return err
	}
	if given(m[1]) {
		if m[1].Kind() != rawjson.String {
			return wrongKind("text.verbosity", rawjson.String, m[1])
		}
		d.req.Extras = append(d.req.Extras, translator.Field{Name: "verbosity", Value: m[1].Raw()})
	}
	if !given(m[0]) {
		return nil
	}
	if m[0].Kind() != rawjson.Object {
		return wrongKind("text.format", rawjson.Object, m[0])
	}
	return d.format(m[0])
}

func (d *decoder) format(v rawjson.Value) error {
	var m [5]rawjson.Value
	if err := scan(v, "text.format", []string{"type", "name", "schema", "strict", "description"}, m[:]); err != nil {
		return err
	}
	for i, c := range [...]struct {
		name string
		kind rawjson.Kind
	}{{"type", rawjson.String}, {"name", rawjson.String}, {"schema", rawjson.Object}, {"strict", rawjson.Bool}, {"description", rawjson.String}} {
		if given(m[i]) && m[i].Kind() != c.kind {
			return wrongKind("text.format."+c.name, c.kind, m[i])
		}
	}
	switch text(m[0]) {
	case "text":
	case "json_object":
		d.req.Format = &translator.Format{}
	case "json_schema":
		if !given(m[2]) {
			return translator.Bad("text.format.schema", "is required for the type json_schema")
		}
		d.req.Format = &translator.Format{Name: text(m[1]), Schema: m[2].Raw(), Description: stringOf(m[4])}
		if given(m[3]) {
			d.req.Format.Strict = m[3].Raw()
		}
	default:
		return translator.Bad("text.format.type", "must be text, json_object or json_schema")
	}
	return nil
}

// include is tolerated whatever it asks for: what the answer has of it comes anyway, the rest is none of a translation's.
func (d *decoder) include() error {
	v := d.f[fInclude]
	if !given(v) {
		d.req.TopLogprobs = nil // without effect
		return nil
	}
	if v.Kind() != rawjson.Array {
		return wrongKind("include", rawjson.Array, v)
	}
	_ = rawjson.Elements(v.Raw(), func(e rawjson.Value) bool {
		d.req.Logprobs = d.req.Logprobs || e.TextEquals("message.output_text.logprobs")
		return true
	})
	if !d.req.Logprobs {
		d.req.TopLogprobs = nil
	}
	return nil
}

func (d *decoder) instructions() error {
	v := d.f[fInstructions]
	switch {
	case !given(v):
		return nil
	case v.Kind() != rawjson.String:
		return wrongKind("instructions", rawjson.String, v)
	case !raw(v.Raw()).IsEmpty():
		d.req.System = append(d.req.System, translator.Block{Text: v.Raw(), Place: translator.Place{List: "instructions", I: -1, J: -1}})
	}
	return nil
}

// leadingSystem moves the developer's messages before the conversation to the system.
func (d *decoder) leadingSystem() {
	r := d.req
	for len(r.Messages) > 0 && r.Messages[0].Role == translator.RoleSystem {
		r.System = append(r.System, r.Messages[0].Content...)
		r.Messages = r.Messages[1:]
	}
}
