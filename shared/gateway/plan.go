package gateway

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/rawjson"
	"sluice/shared/router"
	"sluice/shared/translator"
	"sluice/shared/translator/amazonq"
	"sluice/shared/translator/bedrock"
	"sluice/shared/upstream"
)

// plan is how a request is put to one node.
type plan struct {
	wire  *dialect
	same  bool                // bytes pass; else they go through the hub
	sent  string              // model name that the node is sent
	hide  bool                // usage is asked for that the client did not ask for
	parts [][]byte            // of the body, in a row
	enc   *translator.Encoded // through the hub
	names map[string]string   // of tools that the node knows by others, through the hub
	fit   *fitted             // of a node of Bedrock; nil: of any other
}

// size is the memory that is reserved for what was made for the node.
func (p *plan) size() (n int64) {
	if p.enc != nil {
		n = int64(cap(p.enc.Body))
	}
	if p.fit != nil {
		n += int64(cap(p.fit.body))
	}
	return n
}

// forget lets go of the bodies: nothing will be sent of them any more.
func (p *plan) forget() {
	p.parts = nil // the transport has its own view of what it may still be sending
	if p.enc != nil {
		p.enc.Body = nil
	}
	if p.fit != nil {
		p.fit.body = nil
	}
}

// native reports whether the answer is the node's own, headers and all.
func (p *plan) native() bool { return p.same && p.wire != dialectInvoke }

// plan makes the plan for a node. The error is a *translator.FieldError or a *core.Error: the node cannot express the
// request, or nobody can.
func (x *exchange) plan(n *directory.Node) (*plan, error) {
	p := &plan{wire: x.wire(&n.Node), sent: router.SentModel(&n.Node, x.routed)}
	if p.wire.modelID != nil && p.sent != "" {
		p.sent = p.wire.modelID(p.sent)
	} else if namer, ok := x.g.o.Upstreams[n.Kind].(upstream.Namer); ok && p.sent != "" {
		p.sent = namer.ModelID(&n.Node, p.sent)
	}
	p.same = x.asked == x.client && !x.mixed && (p.wire == x.client || p.wire == dialectInvoke && x.client == dialectAnthropic)
	switch {
	case x.body == nil || len(x.body.buf) == 0:
		p.same = true
	case p.same && n.Kind == core.KindBedrock:
		return p, x.fit(p, &n.Node)
	case p.same:
		return p, x.splice(p)
	default:
		err := x.translate(p, &n.Node)
		switch {
		case err != nil || n.Kind != core.KindBedrock:
		case p.wire == dialectConverse:
			x.converseDrops(p)
		default:
			if err = x.fit(p, &n.Node); err != nil {
				x.release(p.size())
			}
		}
		return p, err
	}
	return p, nil
}

// edit replaces the bytes from at to end.
type edit struct {
	at, end int
	with    []byte
}

// splice makes a body of the client's bytes with the node's name of the model in it, and the option that asks for usage.
func (x *exchange) splice(p *plan) error {
	doc := x.body.buf
	var edits [2]edit
	n := 0
	if p.sent != x.name && x.model.Exists() {
		edits[n] = edit{x.model.Offset(), x.model.Offset() + len(x.model.Raw()), rawjson.AppendString(nil, p.sent)}
		n++
	}
	if p.wire == dialectChat && x.rec.Stream {
		e, ask, err := x.usageOption(doc)
		if err != nil {
			return err
		}
		if p.hide = ask; ask {
			edits[n] = e
			n++
		}
	}
	if n == 2 && edits[1].at < edits[0].at {
		edits[0], edits[1] = edits[1], edits[0]
	}
	from := 0
	p.parts = make([][]byte, 0, 2*n+1)
	for _, e := range edits[:n] {
		p.parts = append(p.parts, doc[from:e.at], e.with)
		from = e.end
	}
	p.parts = append(p.parts, doc[from:])
	return nil
}

var (
	usageMember  = []byte(`"include_usage":true`)
	usageObject  = []byte(`{"include_usage":true}`)
	usageTrue    = []byte(`true`)
	usageComma   = []byte(`"include_usage":true,`)
	usageOptions = []byte(`"stream_options":{"include_usage":true},`)
)

// usageOption is the edit that makes a chat upstream send its usage; ask is false when the client asked for it itself.
func (x *exchange) usageOption(doc []byte) (e edit, ask bool, err error) {
	o := x.options
	switch o.Kind() {
	case rawjson.Absent: // after the brace; look has seen a member, so a comma follows
		at := bytes.IndexByte(doc, '{') + 1
		return edit{at, at, usageOptions}, true, nil
	case rawjson.Null:
		return edit{o.Offset(), o.Offset() + len(o.Raw()), usageObject}, true, nil
	case rawjson.Object:
		var v [1]rawjson.Value
		if err := rawjson.Scan(o.Raw(), []string{"include_usage"}, v[:]); err != nil {
			return e, false, badField("stream_options.include_usage", "stands twice; send it once")
		}
		if wanted, _ := v[0].Bool(); wanted {
			return e, false, nil
		}
		if v[0].Exists() {
			at := o.Offset() + v[0].Offset()
			return edit{at, at + len(v[0].Raw()), usageTrue}, true, nil
		}
		with := usageComma
		if len(bytes.TrimSpace(o.Raw()[1:len(o.Raw())-1])) == 0 {
			with = usageMember
		}
		return edit{o.Offset() + 1, o.Offset() + 1, with}, true, nil
	}
	return e, false, badField("stream_options", "must be an object")
}

// decode reads the client's request into the hub, once.
func (x *exchange) decode() (*translator.Request, error) {
	if x.hub == nil && x.hubErr == nil {
		x.hub, x.hubErr = x.asked.Decode(x.body.buf)
		if x.hub != nil {
			x.hub.Stream = x.rec.Stream
			x.echo()
			x.hub.IncludeUsage = x.hub.IncludeUsage || x.wantsUsage()
		}
	}
	return x.hub, x.hubErr
}

// wantsUsage reports whether a client of chat wants the usage chunk. A body of the Responses API, as Cursor sends them to
// chat, cannot say so to its own codec.
func (x *exchange) wantsUsage() bool {
	if x.client != dialectChat || !x.rec.Stream || x.options.Kind() != rawjson.Object {
		return false
	}
	v, err := rawjson.Find(x.options.Raw(), "include_usage")
	wanted, _ := v.Bool()
	return err == nil && wanted
}

// fitNames gives tools names that the dialect takes.
func (d *dialect) fitNames(r *translator.Request) (*translator.Request, map[string]string) {
	switch {
	case d.openAI():
		return r.FitNames(translator.NameOpenAI)
	case d == dialectAmazonQ:
		return r.FitNamesTo(amazonq.Codec{}.Names())
	case d == dialectConverse:
		return r.FitNamesTo(bedrock.Codec{}.Names())
	}
	return r.FitNames(translator.NameAnthropic)
}

// conversation makes a UUID of a request's id: the service wants one of each conversation, and here each request is whole.
func conversation(id string) string {
	h := sha256.Sum256([]byte(id))
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80 // version 8: made by a rule of our own
	x := hex.EncodeToString(h[:16])
	return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}

// encode makes a body through the hub.
func (x *exchange) encode(p *plan, n *core.Node) error {
	req, err := x.decode()
	if err != nil {
		return err
	}
	req, p.names = p.wire.fitNames(req)
	p.enc, err = p.wire.Encode(req, translator.Target{Model: p.sent, Asked: x.routed, Same: p.wire.openAI() && x.asked.openAI(),
		Conversation: conversation(x.info.ID), Profile: n.Profile})
	if err != nil {
		return err
	}
	if err := x.enforceable(p.enc.Enforce.Stop); err != nil {
		return err
	}
	size := int64(cap(p.enc.Body))
	if err := x.g.bodies.reserve(size); err != nil {
		return err
	}
	x.reserved += size
	p.parts = [][]byte{p.enc.Body}
	return nil
}

// Bounds of the stop sequences that the gateway looks for itself: all of them in each piece of text.
const (
	maxStops     = 256
	maxStopBytes = 16 << 10
)

func (x *exchange) enforceable(stops []string) error {
	size := 0
	for _, s := range stops {
		size += len(s)
	}
	if len(stops) <= maxStops && size <= maxStopBytes {
		return nil
	}
	field := "stop"
	if x.asked == dialectAnthropic {
		field = "stop_sequences"
	}
	return badField(field, "are too many or too long for the upstream that serves this model; send at most "+itoa(maxStops)+" of together 16 KiB")
}

// planned makes the plan for a candidate unless there is one. false: the node cannot serve this request.
func (x *exchange) planned(c *candidates, i int) bool {
	if c.plans[i] != nil {
		return true
	}
	p, err := x.plan(c.nodes[i])
	if err != nil {
		x.unfit = err
		c.list[i].Unable = true
		return false
	}
	c.plans[i] = p
	return true
}

// unfitToo makes the plans of the nodes that were not tried yet, and tells whether one of them cannot serve this request.
func (x *exchange) unfitToo(c *candidates) (found bool) {
	for i := range c.list {
		if !c.list[i].Tried && !c.list[i].Unable && !x.planned(c, i) {
			found = true
		}
	}
	return found
}

// prepareBody makes the body of one attempt.
func (a *attempt) prepareBody() {
	b := a.x.body
	if b == nil || len(b.buf) == 0 {
		return
	}
	parts := a.plan.parts
	for _, p := range parts {
		a.size += int64(len(p))
	}
	if len(parts) > 1 && !b.lent() {
		parts = [][]byte{slices.Concat(parts...)} // once, however often it is read
	}
	a.body = b.reader(parts)
	a.again = func() (io.ReadCloser, error) { return b.reader(parts), nil }
}

// header is what the node is sent besides its credential: the client's own where the dialect is the same. What a client of
// another dialect says in headers means nothing there.
func (a *attempt) header() http.Header {
	if a.plan.same {
		return a.traced(a.plan.fit.replace(a.x.r.Header))
	}
	h := http.Header{"Content-Type": jsonType, "Accept": jsonType}
	if a.x.rec.Stream {
		h["Accept"] = []string{"text/event-stream"}
	}
	if ua := a.x.r.Header["User-Agent"]; len(ua) > 0 {
		h["User-Agent"] = ua[:1]
	}
	return a.traced(h)
}

// stream makes what turns the node's stream into the client's.
func (a *attempt) newStream() translator.Stream {
	x, p := a.x, a.plan
	if p.same {
		return p.wire.NewTap(translator.TapOptions{Model: a.alias(), HideUsage: p.hide, ID: x.info.ID, Created: x.info.Start.Unix()})
	}
	pipe := translator.NewPipe(p.wire.Back, x.client.NewSink(x.reply()), p.enc.Enforce)
	pipe.Rename(p.names)
	pipe.Guess(x.guess(p.wire))
	return pipe
}

// alias is the client's name of the model where the node's is another.
func (a *attempt) alias() string {
	if a.plan.sent == a.x.name {
		return ""
	}
	return a.x.name
}

// reply is what an answer of ours says besides its content.
func (x *exchange) reply() translator.ReplyOptions {
	o := x.replyAlone()
	o.Request = x.hub
	return o
}

// droppedHeader names the fields that the target had no place for.
const droppedHeader = "X-Sluice-Dropped"

// note tells client and operator what of the request the node will not see.
func (a *attempt) note() {
	a.countDropped()
	enc := a.plan.enc
	if enc == nil {
		return
	}
	if len(enc.Tools) > 0 {
		a.x.g.o.Log.Info("tools left out", "request_id", a.x.info.ID, "account", a.x.key.Account, "node", a.node.Name, "tools", len(enc.Tools))
	}
}

// setDropped sets the header of a translated answer.
func (a *attempt) setDropped(h http.Header) {
	delete(h, droppedHeader)
	var names []string
	add := func(prefix string, dropped []string, most int) {
		for _, d := range dropped[:min(len(dropped), most)] {
			names = append(names, prefix+headerText(clip(d, 64)))
		}
	}
	if enc := a.plan.enc; enc != nil {
		add("", enc.Dropped, 20)
		add("tools:", enc.Tools, 40-len(names))
	}
	if f := a.plan.fit; f != nil {
		add("", f.dropped, 40)
	}
	if len(names) > 0 {
		h[droppedHeader] = []string{strings.Join(names, ", ")}
	}
}

// badField is a client's mistake in one field of its body.
func badField(field, message string) *core.Error {
	return &core.Error{Code: core.CodeInvalid, Param: field, Message: field + ": " + message}
}

// badJSON is a body that is no JSON object.
func badJSON(err error) *core.Error {
	var twice *rawjson.DuplicateError
	if errors.As(err, &twice) {
		return badField(twice.Name, "stands twice in the request body; send it once")
	}
	return core.E(core.CodeInvalid, "The request body is not a JSON object: "+err.Error()+".")
}

// clientError makes an error that a client may see of what a codec or the gateway found.
func (x *exchange) clientError(err error) *core.Error {
	var f *translator.FieldError
	if errors.As(err, &f) {
		path := f.Path(x.asked.name)
		if path == "" {
			path = "body"
		}
		return &core.Error{Code: core.CodeInvalid, Param: path, Message: path + ": " + f.Message}
	}
	return core.AsError(err)
}
