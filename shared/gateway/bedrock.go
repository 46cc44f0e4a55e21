package gateway

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice/shared/compat"
	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/translator"
	"sluice/shared/translator/anthropic"
	"sluice/shared/translator/bedrock"
	"sluice/shared/upstream"
	awsbedrock "sluice/shared/upstream/bedrock"
)

// Nodes of Amazon Bedrock are spoken to in one of three ways, by their API: Anthropic's Messages API as it is, the same in the
// envelope of InvokeModel, and Converse through the hub. What the first two do not take is told by the table of package compat.

// Compat gives the table of what nodes of Amazon Bedrock do not take.
type Compat interface {
	// Table is the table as it was last read. It never waits.
	Table() *compat.Table
	// Refresh reads it when the one at hand is older than that. It waits a few seconds at most and, when another call is
	// reading, not at all; what cannot be read stays as it was.
	Refresh(ctx context.Context, older time.Duration)
}

// The ages at which the table is read again. After a request to such a node the client has everything, and a trip to the store
// holds up nobody; so an edit binds everywhere with the second request. Only where none came for long does one read first.
const (
	newTable = 2 * time.Second
	oldTable = time.Minute
)

// builtinTable is the same for all, always. It is made when it is first needed.
type builtinTable struct{ table func() *compat.Table }

func newBuiltinTable() Compat { return builtinTable{sync.OnceValue(compat.Builtin)} }

func (b builtinTable) Table() *compat.Table                 { return b.table() }
func (builtinTable) Refresh(context.Context, time.Duration) {}

// dialectInvoke is the Messages API in the envelope of InvokeModel: the bytes within pass.
var dialectInvoke = &dialect{front: anthropic.Codec{}, Back: enveloped{}, name: core.DialectBedrockInvoke, path: pathMessages, media: mediaFrames, newBatch: newUnwrapped}

// dialectConverse is Converse and ConverseStream.
var dialectConverse = &dialect{Back: bedrock.Codec{}, name: core.DialectBedrockConverse, path: pathMessages, media: mediaFrames, newBatch: newFrames}

func newUnwrapped(r io.Reader) batches { return bedrock.Unwrap(r, maxFrame) }

// enveloped is Anthropic's codec with the errors of the envelope.
type enveloped struct{ anthropic.Codec }

// ParseError implements translator.Back.
func (enveloped) ParseError(status int, body []byte) *translator.Error {
	return bedrock.Codec{}.ParseError(status, body)
}

// wireOfBedrock is the dialect of a node's API.
func wireOfBedrock(n *core.Node) *dialect {
	switch n.API {
	case awsbedrock.APIInvoke:
		return dialectInvoke
	case awsbedrock.APIConverse:
		return dialectConverse
	}
	return dialectAnthropic
}

// routeConverse stands beside the routes of the table, of which none says anything about it.
const routeConverse = "converse"

// routeOfBedrock is the route that rows of the table name, or routeConverse; empty: the node takes all that Anthropic does.
func routeOfBedrock(n *core.Node) string {
	base := strings.ToLower(n.BaseURL)
	switch {
	case n.API == awsbedrock.APIInvoke:
		return compat.RouteInvoke
	case n.API == awsbedrock.APIConverse:
		return routeConverse
	case strings.Contains(base, "aws-external-anthropic"):
		return ""
	case strings.Contains(base, "bedrock-runtime"):
		return compat.RouteRuntime
	}
	return compat.RouteMantle
}

// fitted is what a node of Bedrock is sent in place of what the client sent.
type fitted struct {
	body    []byte      // nil: the plan's parts
	header  http.Header // of the client's header, what is replaced; without values: what is left out
	dropped []string
	route   string // as rows of the table name it
}

// The members that InvokeModel wants elsewhere, or in another form.
var enveloping = []string{"model", "stream", "anthropic_version", "anthropic_beta"}

const bedrockVersion = "bedrock-2023-05-31"

// fit makes a Messages body fit for a node of Bedrock: the client's own, or the one that the plan was encoded to. The error is
// a *core.Error: the node cannot serve the request.
func (x *exchange) fit(p *plan, n *core.Node) error {
	route := routeOfBedrock(n)
	if route == "" {
		if p.same {
			return x.splice(p)
		}
		return nil
	}
	doc := x.body.buf
	var flags, betas, strip []string
	if p.same {
		flags = x.flagsHere()
		betas = flags
	} else {
		doc = p.enc.Body
	}
	invoke := p.wire == dialectInvoke
	if invoke {
		strip = enveloping
		if p.same {
			own, err := betasOf(x.flags)
			if err != nil {
				return err
			}
			if !x.turns { // what is put in front of the body ends in a comma
				return badField("messages", "Field required")
			}
			betas = append(own, flags...)
		}
	}
	x.g.o.Compat.Refresh(x.r.Context(), oldTable)
	table := x.g.o.Compat.Table()
	res, err := table.Apply(route, x.family(p), betas, doc, strip...)
	if err != nil {
		return unfitFor(err)
	}
	p.fit = &fitted{dropped: res.Dropped, route: route}
	profile, err := x.profile(p, table, doc)
	if err != nil {
		return unfitFor(err)
	}
	edits := res.Edits
	if invoke {
		edits = append(edits, envelopeHead(doc, x.invokeVersion(p), res.Betas, profile))
	} else {
		if !slices.Equal(res.Betas, compat.SplitBetas(x.r.Header["Anthropic-Beta"])) {
			p.fit.instead("Anthropic-Beta", strings.Join(res.Betas, ","))
		}
		if day, _ := dayOf(x.r.Header.Get("Anthropic-Version")); day > firstDay && !after46(x.family(p)) {
			p.fit.instead("Anthropic-Version", firstDay) // as the head of InvokeModel's body
		}
		switch {
		case len(edits) == 0 && p.same:
			return x.splice(p)
		case len(edits) == 0:
			return nil
		case p.same && p.sent != x.name:
			at := x.model.Offset()
			edits = append(edits, compat.Edit{At: at, End: at + len(x.model.Raw()), With: rawjson.AppendString(nil, p.sent)})
		}
	}
	return x.refit(p, doc, edits)
}

// flagsHere are the client's flags for a node of Bedrock. A client in Bedrock mode that has some in the body keeps the header's
// from it: Claude Code knows which models refuse them.
func (x *exchange) flagsHere() []string {
	if f := x.front; f != nil && len(f.own) > 0 {
		return f.own
	}
	return compat.SplitBetas(x.r.Header["Anthropic-Beta"])
}

// refit puts the edits into the plan's body. It is sent in parts, most of them the client's own bytes; only a request to count
// tokens, which has another envelope, is made anew.
func (x *exchange) refit(p *plan, doc []byte, edits []compat.Edit) error {
	slices.SortStableFunc(edits, func(a, b compat.Edit) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.End, b.End)) })
	if x.only != nil && p.wire == dialectInvoke {
		return x.recount(p, doc, edits)
	}
	p.parts = make([][]byte, 0, 2*len(edits)+1)
	from := 0
	for _, e := range edits {
		if e.At > from {
			p.parts = append(p.parts, doc[from:e.At])
		}
		if len(e.With) > 0 {
			p.parts = append(p.parts, e.With)
		}
		from = e.End
	}
	p.parts = append(p.parts, doc[from:])
	return nil
}

// recount makes the body of CountTokens.
func (x *exchange) recount(p *plan, doc []byte, edits []compat.Edit) error {
	size := len(doc)
	for _, e := range edits {
		size += len(e.With) - (e.End - e.At)
	}
	made := int64(size) + countEnvelope(size) // the first lives beside the second for a moment only
	if err := x.g.bodies.reserve(made); err != nil {
		return err
	}
	x.reserved += made
	body, err := awsbedrock.CountBody(make([]byte, 0, countEnvelope(size)), compat.Splice(make([]byte, 0, size), doc, edits))
	if err != nil {
		x.release(made)
		return core.E(core.CodeInvalid, "The request body is not a JSON object.")
	}
	x.release(int64(size))
	if p.enc != nil { // nobody needs that any more
		x.release(int64(cap(p.enc.Body)))
		p.enc.Body = nil
	}
	p.fit.body = body
	p.parts = [][]byte{body}
	return nil
}

// countEnvelope bounds the size of CountTokens' body for one of InvokeModel.
func countEnvelope(size int) int64 { return int64(size+size/3) + 256 }

// release gives back memory that was reserved for bodies made of the request's.
func (x *exchange) release(n int64) {
	x.g.bodies.used.Add(-n)
	x.reserved -= n
}

// family is the name by which the table knows the model. The ARN of a profile that someone made does not tell it: then it is the
// client's name.
func (x *exchange) family(p *plan) string {
	if f := compat.Family(p.sent); strings.HasPrefix(f, "claude") {
		return f
	}
	return compat.Family(x.routed)
}

// maxFlag bounds a flag in a body, as it stands there: real ones have some 30 bytes.
const maxFlag = 1 << 10

// betasOf are the flags that a body has itself.
func betasOf(v rawjson.Value) (flags []string, err error) {
	if !v.Exists() || v.Kind() == rawjson.Null {
		return nil, nil
	}
	bad := v.Kind() != rawjson.Array
	if !bad {
		_ = rawjson.Elements(v.Raw(), func(e rawjson.Value) bool {
			s, ok := "", len(e.Raw()) <= maxFlag
			if ok {
				s, ok = e.Text()
			}
			flags, bad = append(flags, s), !ok
			return ok && len(flags) <= compat.MaxBetas
		})
	}
	if bad {
		return nil, badField("anthropic_beta", "must be a list of strings, none of them long")
	}
	return flags, nil
}

// profileHeader names the user of a platform for whom it asks. InvokeModel, which reads no header, has it in the body as
// profileField. Source: anthropic-sdk-go/v2 v2.13.0, bedrock.WithConfig.
const profileHeader, profileField = "Anthropic-User-Profile-Id", "user_profile_id"

// profile is what the client's header has of that, where the node takes it: rows of the table about the field hold for it, too.
func (x *exchange) profile(p *plan, table *compat.Table, doc []byte) (string, error) {
	id := x.r.Header.Get(profileHeader)
	if id == "" || !p.same || x.only != nil {
		return "", nil
	}
	res, err := table.Apply(p.fit.route, x.family(p), nil, append(rawjson.AppendString([]byte(`{"`+profileField+`":`), id), '}'))
	if err != nil {
		return "", err
	}
	if len(res.Dropped) > 0 {
		if p.fit.instead(profileHeader, ""); !slices.Contains(p.fit.dropped, profileField) {
			p.fit.dropped = append(slices.Clip(p.fit.dropped), profileField)
		}
		return "", nil
	}
	if own, err := rawjson.Find(doc, profileField); err != nil || own.Exists() { // it would stand there twice
		return "", nil
	}
	return id, nil
}

// envelopeHead is what InvokeModel's body begins with.
func envelopeHead(doc []byte, version string, betas []string, profile string) compat.Edit {
	at := bytes.IndexByte(doc, '{') + 1
	with := append(rawjson.AppendString([]byte(`"anthropic_version":`), version), ',')
	if len(betas) > 0 {
		with = append(with, `"anthropic_beta":[`...)
		for i, b := range betas {
			if i > 0 {
				with = append(with, ',')
			}
			with = rawjson.AppendString(with, b)
		}
		with = append(with, "],"...)
	}
	if profile != "" {
		with = append(rawjson.AppendString(append(with, `"`+profileField+`":`...), profile), ',')
	}
	return compat.Edit{At: at, End: at, With: with}
}

// askedTier is where the service tier will stand that a node of Bedrock served the request at; nil: the client names none.
func (x *exchange) askedTier() *string {
	if x.r.Header[awsbedrock.TierHeader] == nil {
		return nil
	}
	tier := new(string)
	x.r = x.r.WithContext(awsbedrock.OnTier(x.r.Context(), func(told string) { *tier = told }))
	return tier
}

// noteTier puts it into the record: it is priced as OpenAI's tier of that name.
func (x *exchange) noteTier(tier *string) {
	if tier != nil && *tier == translator.PriorityTier && x.kind == core.KindBedrock && x.rec.Tokens != (core.Tokens{}) {
		x.priority, x.rec.Fast = true, true
	}
}

func unfitFor(err error) error {
	var no *compat.Refusal
	if errors.As(err, &no) {
		return badField(no.Field, no.Message)
	}
	return core.E(core.CodeInvalid, "The request body is not a JSON object.")
}

// instead replaces a header of the client's; an empty value leaves it out.
func (f *fitted) instead(name, value string) {
	if f.header == nil {
		f.header = http.Header{}
	}
	f.header[name] = nil
	if value != "" {
		f.header[name] = []string{value}
	}
}

// replace is a client's header as the node takes it.
func (f *fitted) replace(h http.Header) http.Header {
	if f == nil || len(f.header) == 0 {
		return h
	}
	h = maps.Clone(h)
	for name, values := range f.header {
		if h[name] = values; values == nil {
			delete(h, name)
		}
	}
	return h
}

// counted makes the answer of the Messages API of CountTokens'.
func counted(body []byte) ([]byte, bool) {
	n, err := awsbedrock.ReadCount(body)
	if err != nil {
		return nil, false
	}
	return []byte(`{"input_tokens":` + itoa(n) + `}`), true
}

// toldStatus is where toldByBedrock leaves the status that goes with a body of its own. It is of the names that no client is
// sent: see hideAWS.
const toldStatus = "X-Amzn-Told-Status"

// toldByBedrock is the body of an error as clients may read it: with the shape that the header names, and of the Messages API
// without the words that name the operator's account. The service's front door answers there in AWS's form, with statuses by
// which Anthropic's SDKs would not try again.
func toldByBedrock(wire *dialect, resp *http.Response, body []byte) []byte {
	delete(resp.Header, toldStatus)
	shaped := bedrock.WithType(resp.Header.Get("X-Amzn-Errortype"), body)
	if wire != dialectAnthropic {
		return shaped
	}
	told, err := rawjson.Find(body, "error", "type")
	own := err == nil && told.Kind() == rawjson.String
	if own && !bytes.Contains(bytes.ToLower(body), []byte("arn:")) {
		return body
	}
	e := bedrock.Codec{}.ParseError(resp.StatusCode, shaped)
	if own {
		e.Status = resp.StatusCode
		e.Type, _ = told.Text()
		e.Message = "the upstream refused the request in words that name its account; the operator of the gateway finds the reason in the request's record"
		delete(resp.Header, "X-Amzn-Errortype") // the body tells more
	}
	resp.Header[toldStatus] = []string{itoa(int64(e.Status))}
	return anthropic.Codec{}.AppendError(nil, e, upstream.RequestID(resp.Header))
}

// retold is the status of an error whose body toldByBedrock made; 0: the body is the upstream's own.
func (o *outcome) retold() int {
	status, _ := strconv.Atoi(o.header.Get(toldStatus))
	return status
}

// hideAWS takes AWS's own headers out of an answer: they are of the hop between the gateway and AWS. The request's id stands
// in x-upstream-request-id.
func hideAWS(h http.Header) {
	for name := range h {
		if strings.HasPrefix(name, "X-Amz") {
			delete(h, name)
		}
	}
}
