package gateway

import (
	"bytes"
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"sluice/shared/compat"
	"sluice/shared/core"
	"sluice/shared/eventstream"
	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// Clients that speak to Amazon Bedrock themselves (Claude Code in its Bedrock mode, Anthropic's Bedrock SDKs, those of AWS with
// another endpoint) have routes of their own below /bedrock. What they send is a request of the Messages API in the envelope of
// InvokeModel. It is taken out of it when it comes, by edits of bytes, so that the same exchange serves it as all others, by any
// kind of node; the answer is put into the envelope on its way out, see frameWriter.

// envelope is what an exchange on these routes has besides. Source of the wire: anthropic-sdk-go/bedrock, and aws-sdk-go-v2
// service/bedrockruntime and service/bedrock.
type envelope struct {
	model  string // the id in the path
	stream bool
	counts bool
	bad    error    // why the id can be none
	own    []string // the flags in the body
	day    string   // its version of the Messages API
	spells string   // the same, as the body has it
	native bool     // a request of the Messages API, with a version and flags in its body
	out    *frameWriter
}

const prefixBedrock = "/bedrock"

// The operations of the runtime, as the last segment of their paths.
const (
	opInvoke = "invoke"
	opStream = "invoke-with-response-stream"
	opCount  = "count-tokens"
)

// The names of the endpoints in records.
const (
	nameInvoke       = prefixBedrock + "/model/{id}/" + opInvoke
	nameInvokeStream = prefixBedrock + "/model/{id}/" + opStream
)

var (
	epInvoke       = &endpoint{nameInvoke, "POST", (*exchange).messages}
	epInvokeStream = &endpoint{nameInvokeStream, "POST", (*exchange).messages}
	epInvokeCount  = &endpoint{prefixBedrock + "/model/{id}/" + opCount, "POST", (*exchange).countTokens}
	epProfiles     = &endpoint{prefixBedrock + pathProfiles, "GET HEAD", (*exchange).bedrockModels}
	epProfile      = &endpoint{prefixBedrock + pathProfiles + "/{id}", "GET HEAD", (*exchange).bedrockModels}
	epFoundation   = &endpoint{prefixBedrock + pathFoundation, "GET HEAD", (*exchange).bedrockModels}
)

// The paths of the control plane.
const (
	pathProfiles   = "/inference-profiles"
	pathFoundation = "/foundation-models"
)

// bedrockRoute finds the endpoint of an escaped path below /bedrock.
func bedrockRoute(path string) *endpoint {
	switch path {
	case pathMessages: // anthropic-sdk-go leaves the path as it is where the base URL has one
		return epMessages
	case pathMessages + "/count_tokens":
		return epCountTokens
	case pathProfiles:
		return epProfiles
	case pathFoundation:
		return epFoundation
	}
	if id, ok := strings.CutPrefix(path, pathProfiles+"/"); ok && plainID(id, true) {
		return epProfile
	}
	id, op := modelPath(path)
	if id == "" || !plainID(id, true) {
		return nil
	}
	switch op {
	case opInvoke:
		return epInvoke
	case opStream:
		return epInvokeStream
	case opCount:
		return epInvokeCount
	}
	return nil
}

// modelPath is the escaped id and the operation of a path of the runtime. The slash in an ARN comes escaped or, where something
// before the gateway unescaped it, not.
func modelPath(path string) (id, op string) {
	rest, ok := strings.CutPrefix(path, "/model/")
	i := strings.LastIndexByte(rest, '/')
	if !ok || i < 1 {
		return "", ""
	}
	return rest[:i], rest[i+1:]
}

// noBedrockRoute is the error of a path below /bedrock that has no endpoint.
func noBedrockRoute(path string) *core.Error {
	switch _, op := modelPath(path); op {
	case "converse", "converse-stream":
		return core.E(core.CodeInvalid, "The gateway takes Converse of nodes, not of clients. Use InvokeModel or InvokeModelWithResponseStream with a body of the Messages API, or POST /v1/messages.")
	case "invoke-with-bidirectional-stream", "async-invoke":
		return core.E(core.CodeInvalid, "The gateway has no "+op+". Use InvokeModel or InvokeModelWithResponseStream.")
	}
	return core.E(core.CodeNotFound, "No such operation: "+clip(path, 200)+". Below /bedrock the gateway serves InvokeModel, InvokeModelWithResponseStream, CountTokens, ListInferenceProfiles, GetInferenceProfile and ListFoundationModels.")
}

// beginFront notes what the path says, before the body is read.
func (x *exchange) beginFront() {
	f := &envelope{}
	x.front = f
	id, op := modelPath(x.path)
	switch {
	case strings.HasPrefix(x.path, "/v1/"):
		f.native, f.counts = true, x.ep == epCountTokens
		return
	case id == "":
		return
	}
	id, _ = url.PathUnescape(id) // which route has done before
	f.stream, f.counts = op == opStream, op == opCount
	if f.model = ownARN(id); !recordable(f.model) {
		f.model, f.bad = "", badField("modelId", "must have at most "+strconv.Itoa(maxModel)+" characters, and none that cannot be printed")
	}
	f.out = &frameWriter{ResponseWriter: x.w}
	x.w = f.out
	x.path = pathMessages
	if f.counts {
		x.path += "/count_tokens"
	}
}

// recordable reports whether an id may stand in records and logs, also of a request that is refused.
func recordable(id string) bool {
	return len(id) <= maxModel && utf8.ValidString(id) && strings.IndexFunc(id, unicode.IsControl) < 0
}

// framed reports whether the client reads AWS's forms.
func (f *envelope) framed() bool { return f != nil && !f.native }

// members of InvokeModel's body that the Messages API has elsewhere, and those that only a request for an answer has: its
// count_tokens takes none of them, CountTokens wants some, which CountBody adds.
var (
	frontMembers  = []string{"anthropic_version", "anthropic_beta", profileField, "model", "stream"}
	answerMembers = []string{"max_tokens", "temperature", "top_p", "top_k", "stop_sequences", "metadata", "service_tier"}
)

// openFront makes of the client's request one of the Messages API: its body, and the header that goes with it.
func (x *exchange) openFront() error {
	f := x.front
	if f.bad != nil {
		return f.bad
	}
	if !f.native {
		x.name = f.model
		x.rec.Model, x.info.Model = f.model, f.model
	}
	h := frontHeader(x.r.Header, f.stream)
	r := new(http.Request)
	*r = *x.r
	r.Header, r.URL = h, new(url.URL)
	*r.URL = *x.r.URL
	r.URL.RawQuery = ""
	x.r = r
	if f.counts && !f.native {
		if err := x.body.unpack(); err != nil {
			return err
		}
	}
	return f.unwrap(x.body, h)
}

// frontHeader is the client's header without what its SDK says to AWS.
func frontHeader(in http.Header, stream bool) http.Header {
	h := maps.Clone(in)
	for name := range h {
		if strings.HasPrefix(name, "X-Amz-") || strings.HasPrefix(name, "Amz-Sdk-") || name == "X-Amzn-Bedrock-Accept" {
			delete(h, name)
		}
	}
	h["Content-Type"], h["Accept"] = jsonType, jsonType
	if stream {
		h["Accept"] = []string{mediaSSE}
	}
	return h
}

// unpack replaces the body of CountTokens by the one in it: {"input":{"invokeModel":{"body":"<base64>"}}}.
func (b *body) unpack() error {
	input, err := rawjson.Find(b.buf, "input")
	if err != nil {
		return badJSON(err)
	}
	if input.Kind() != rawjson.Object {
		return badField("input", "Field required")
	}
	inner, err := rawjson.Find(input.Raw(), "invokeModel", "body")
	if err != nil {
		return badJSON(err)
	}
	text := inner.Raw()
	if inner.Kind() != rawjson.String {
		return badField("input.invokeModel.body", "Field required; the gateway counts bodies of InvokeModel only, not of Converse")
	}
	if text = text[1 : len(text)-1]; bytes.IndexByte(text, '\\') >= 0 { // of encoders that escape slashes
		copies := 2 * int64(len(text))
		if err := b.pool.reserve(copies); err != nil {
			return err
		}
		defer b.pool.used.Add(-copies)
		s, _ := inner.Text()
		text = []byte(s)
	}
	next := &body{pool: b.pool, class: -1}
	if err := next.grow(int64(base64.StdEncoding.DecodedLen(len(text)) + 1)); err != nil {
		return err
	}
	if next.buf, err = base64.StdEncoding.AppendDecode(next.buf[:0], text); err != nil {
		next.free()
		return badField("input.invokeModel.body", "must be base64")
	}
	b.free()
	b.buf, b.class = next.buf, next.class
	return nil
}

// unwrap takes the members of the envelope out of the body, puts the path's in, and the version and flags into the header.
func (f *envelope) unwrap(b *body, h http.Header) error {
	out := frontMembers
	switch {
	case f.native:
		out = frontMembers[:3]
	case f.counts:
		out = append(slices.Clip(frontMembers), answerMembers...)
	}
	cut := make([]rawjson.Value, len(out))
	edits, kept, err := cutMembers(b.buf, out, cut)
	if err != nil {
		return badJSON(err)
	}
	version, flags := cut[0], cut[1]
	own, err := betasOf(flags)
	if err != nil {
		return err
	}
	f.own = frontBetas(own, nil)
	if flags := frontBetas(own, compat.SplitBetas(h["Anthropic-Beta"])); len(flags) > 0 {
		h["Anthropic-Beta"] = []string{strings.Join(flags, ",")}
	}
	switch id, ok := cut[2].Text(); {
	case cut[2].Kind() <= rawjson.Null:
	case !ok || len(id) > maxFlag || headerText(id) != id:
		return badField(profileField, "must be a string, not a long one, of printable characters of ASCII")
	case id != "":
		h[profileHeader] = []string{id}
	}
	f.day, f.spells = versionOf(version)
	if h["Anthropic-Version"] == nil || version.Exists() && !f.native { // Bedrock reads no header
		h["Anthropic-Version"] = []string{f.day}
	}
	if !f.native {
		edits = slices.Insert(edits, 0, f.head(b.buf, kept)) // a member may go from the same place
	}
	if len(edits) == 0 {
		return nil
	}
	return b.rewrite(edits)
}

// head is what the body of the Messages API has that InvokeModel's path says.
func (f *envelope) head(doc []byte, more bool) edit {
	with := rawjson.AppendString([]byte(`"model":`), f.model)
	if f.stream {
		with = append(with, `,"stream":true`...)
	}
	if more {
		with = append(with, ',')
	}
	at := bytes.IndexByte(doc, '{') + 1
	return edit{at, at, with}
}

// cutMembers are the edits that take the named members out of an object, whose values go to cut; kept reports whether others
// stay. One that stands twice is a *rawjson.DuplicateError: there are no more edits than names.
func cutMembers(doc []byte, names []string, cut []rawjson.Value) (edits []edit, kept bool, err error) {
	twice := ""
	end := bytes.IndexByte(doc, '{') + 1 // of the last member that stays
	from, to := -1, 0                    // of the run of members that go
	err = rawjson.Members(doc, func(key, value rawjson.Value) bool {
		i := slices.IndexFunc(names, key.TextEquals)
		switch {
		case i >= 0 && cut[i].Exists():
			twice = names[i]
			return false
		case i >= 0:
			cut[i] = value
			if from < 0 {
				from = key.Offset()
			}
			to = value.Offset() + len(value.Raw())
			return true
		case from >= 0: // with the comma behind it
			edits = append(edits, edit{at: from, end: key.Offset()})
			from = -1
		}
		kept, end = true, value.Offset()+len(value.Raw())
		return true
	})
	if err == nil && twice != "" {
		err = &rawjson.DuplicateError{Name: twice}
	}
	if from >= 0 { // with the comma before it
		edits = append(edits, edit{at: end, end: to})
	}
	return edits, kept, err
}

// toolSearch is a flag that Bedrock knows by another name than Anthropic. The table has it the other way round.
const toolSearchAtBedrock, toolSearch = "tool-search-tool-2025-10-19", "advanced-tool-use-2025-11-20"

// frontBetas joins the flags of body and header, each once, as Anthropic spells them.
func frontBetas(own, header []string) []string {
	var out []string
	for _, flag := range append(own, header...) {
		if flag == toolSearchAtBedrock {
			flag = toolSearch
		}
		if flag != "" && !strings.Contains(flag, ",") && headerText(flag) == flag && !slices.Contains(out, flag) && len(out) < compat.MaxBetas {
			out = append(out, flag)
		}
	}
	return out
}

// versionOf is the version of the Messages API that a body names, and how it spells it: a day, with Bedrock's name before it or
// not. All else is the one that Bedrock's own stands for.
func versionOf(v rawjson.Value) (day, spells string) {
	if len(v.Raw()) > 2*len(bedrockVersion) {
		return firstDay, bedrockVersion
	}
	s, _ := v.Text()
	if day, ok := dayOf(strings.TrimPrefix(s, "bedrock-")); ok && s != bedrockVersion {
		return day, s
	}
	return firstDay, bedrockVersion
}

// dayOf is a version of the Messages API, which is a day.
func dayOf(s string) (day string, ok bool) {
	if len(s) != len(firstDay) || s[4] != '-' || s[7] != '-' || !digits(s[:4]+s[5:7]+s[8:]) {
		return "", false
	}
	return s, true
}

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// firstDay is the version of the Messages API that Bedrock's own stands for.
const firstDay = "2023-06-01"

// invokeVersion is the version that the body of InvokeModel names: Bedrock's own, which all models take, or a newer day by which
// a client of Bedrock wrote its body, which models up to Claude 4.6 refuse and the later ones read. Source: anthropic-sdk-go/v2,
// bedrock.WithConfig, which sends 2026-10-21 there, and https://platform.claude.com/docs/en/api/versioning.
func (x *exchange) invokeVersion(p *plan) string {
	if f := x.front; f != nil && p.same && x.only == nil && f.day > firstDay && after46(x.family(p)) {
		return f.spells
	}
	return bedrockVersion
}

// after46 reports whether a family is of Claude 4.7 or later: claude-LINE-MAJOR-MINOR.
func after46(family string) bool {
	rest, ok := strings.CutPrefix(family, "claude-")
	line, version, _ := strings.Cut(rest, "-")
	ok = ok && line != "" && !digits(line[:1]) // claude-3-7-sonnet is older
	first, second, _ := strings.Cut(version, "-")
	major, err := strconv.Atoi(first)
	minor, _ := strconv.Atoi(second)
	return ok && err == nil && (major > 4 || major == 4 && minor >= 7)
}

// frontAnswer is a whole answer as the client reads it, with its header.
func (x *exchange) frontAnswer(h http.Header, body []byte) []byte {
	h["Content-Type"] = jsonType
	x.frontID(h)
	if !x.front.counts {
		x.tokenHeaders(h)
		return body
	}
	n, err := rawjson.Find(body, "input_tokens")
	if count, ok := n.Int(); err == nil && ok {
		return []byte(`{"inputTokens":` + itoa(count) + `}`)
	}
	return body
}

// tokenHeaders tells what the service tells of a whole answer.
func (x *exchange) tokenHeaders(h http.Header) {
	t := x.rec.Tokens
	if x.rec.Estimated || t == (core.Tokens{}) {
		return
	}
	for _, c := range [...]struct {
		name string
		n    int64
	}{{"Input-Token-Count", t.Input}, {"Output-Token-Count", t.Output}, {"Cache-Read-Input-Token-Count", t.CacheRead},
		{"Cache-Write-Input-Token-Count", t.CacheWrite5m + t.CacheWrite1h}, {"Invocation-Latency", x.since() / 1e6}} {
		h["X-Amzn-Bedrock-"+c.name] = []string{itoa(c.n)}
	}
}

// frontID names the request as AWS's SDKs look for it.
func (x *exchange) frontID(h http.Header) { h["X-Amzn-Requestid"] = []string{x.info.ID} }

// frontStream makes the header of a stream one of frames.
func (x *exchange) frontStream(h http.Header) {
	x.frontID(h)
	h["Content-Type"] = []string{mediaFrames}
	h["X-Amzn-Bedrock-Content-Type"] = jsonType
	delete(h, "X-Accel-Buffering")
}

// count notes for the last event what was used.
func (f *envelope) count(x *exchange, s translator.Stream, now int64) {
	t, estimated := s.Tokens()
	f.out.used = usedTokens{known: !estimated, tokens: t, latency: max(1, now/1e6), firstByteLag: x.rec.FirstByteMS}
	if x.rec.FirstByteMS == 0 { // all of it came at once
		f.out.used.firstByteLag = f.out.used.latency
	}
}

var chunkHead, idleHead = eventstream.EventHead("chunk"), eventstream.EventHead("ping")
