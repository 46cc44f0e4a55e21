package gateway

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/sse"
	"sluice/shared/store"
	"sluice/shared/translator"
)

// Responses clients may leave the conversation to the server: store and previous_response_id. Where the account allows it
// the gateway keeps it, sealed and with an expiry, and upstreams never learn of it; so it works over every node.

// maxKept bounds what is kept of one conversation, before compression.
const maxKept = 8 << 20

var epResponse = &endpoint{"/v1/responses/{id}", "GET DELETE", (*exchange).keptResponse}

// keeper takes care of one request's state.
type keeper struct {
	x        *exchange
	items    []byte // the conversation so far: elements of an array, without brackets
	reserved int64  // for them
	done     bool   // the answer came to its end, and was kept where it could be
}

// resume prepares the state of a Responses request: the earlier conversation goes in front of the input.
func (x *exchange) resume() error {
	if x.asked != dialectResponses || x.client != dialectResponses || x.account.ResponseDays <= 0 {
		return nil
	}
	var v [3]rawjson.Value
	doc := x.body.buf
	if err := rawjson.Scan(doc, []string{"input", "store", "previous_response_id"}, v[:]); err != nil {
		return badJSON(err)
	}
	k := &keeper{x: x}
	if err := k.load(v[2]); err != nil {
		return err
	}
	if err := k.add(v[0]); err != nil {
		return err
	}
	defer k.free()
	if err := k.reserve(); err != nil {
		return err
	}
	keep, isBool := v[1].Bool()
	x.previous = bytes.Clone(v[2].Raw())
	edits := []edit{{v[0].Offset(), v[0].Offset() + len(v[0].Raw()), bytes.Join([][]byte{{'['}, k.items, {']'}}, nil)}}
	if v[2].Exists() {
		edits = append(edits, edit{v[2].Offset(), v[2].Offset() + len(v[2].Raw()), []byte("null")})
	}
	if v[1].Exists() {
		edits = append(edits, edit{v[1].Offset(), v[1].Offset() + len(v[1].Raw()), []byte("false")})
	}
	if !v[1].Exists() {
		at := bytes.IndexByte(doc, '{') + 1
		edits = append(edits, edit{at, at, []byte(`"store":false,`)})
	}
	if keep || !isBool { // stored is the API's default
		x.state = k
	}
	if err := x.body.rewrite(edits); err != nil {
		return err
	}
	return x.look()
}

// echo puts into the answer what the client wrote, where the body that upstreams see says otherwise.
func (x *exchange) echo() {
	say := func(name string, value []byte) {
		for i := range x.hub.Echo {
			if f := &x.hub.Echo[i]; f.Name == name {
				f.Value = value
				return
			}
		}
		x.hub.Echo = append(x.hub.Echo, translator.Field{Name: name, Value: value})
	}
	if x.state != nil {
		say("store", []byte("true"))
	}
	if x.previous != nil {
		say("previous_response_id", x.previous)
	}
}

// reserve counts the memory of the conversation, which lives as long as the request where the answer is kept.
func (k *keeper) reserve() error {
	n := int64(len(k.items))
	if err := k.x.g.bodies.reserve(n); err != nil {
		return err
	}
	k.reserved = n
	return nil
}

// free gives it back, unless the keeper is still in use.
func (k *keeper) free() {
	if k.x.state != k {
		k.x.g.bodies.used.Add(-k.reserved)
		k.reserved = 0
	}
}

// load reads the conversation that the request goes on with.
func (k *keeper) load(id rawjson.Value) error {
	if !id.Exists() || id.Kind() == rawjson.Null {
		return nil
	}
	name, ok := id.Text()
	if !ok || name == "" || len(name) > 256 {
		return badField("previous_response_id", "must be the id of a response")
	}
	doc, err := k.x.kept(name)
	if err != nil {
		return err
	}
	items, err := rawjson.Find(doc, "items")
	if err != nil || items.Kind() != rawjson.Array {
		return errors.New("a kept response cannot be read")
	}
	k.items = bytes.TrimSpace(items.Raw()[1 : len(items.Raw())-1])
	return nil
}

// add appends the request's own input.
func (k *keeper) add(input rawjson.Value) error {
	var more []byte
	switch input.Kind() {
	case rawjson.String:
		more = append(append([]byte(`{"type":"message","role":"user","content":`), input.Raw()...), '}')
	case rawjson.Array:
		more = bytes.TrimSpace(input.Raw()[1 : len(input.Raw())-1])
	default:
		return badField("input", "must be a string or an array")
	}
	k.items = joinElements(k.items, more)
	return nil
}

func joinElements(a, b []byte) []byte {
	switch {
	case len(a) == 0:
		return bytes.Clone(b)
	case len(b) == 0:
		return bytes.Clone(a)
	}
	return bytes.Join([][]byte{a, b}, []byte{','})
}

// kept reads a kept response; the error says that there is none.
func (x *exchange) kept(id string) ([]byte, error) {
	missing := &core.Error{Code: core.CodeInvalid, Kind: "previous_response_not_found", Param: "previous_response_id", Message: "Previous response with id '" + clip(id, 100) + "' not found."}
	r, err := x.g.o.Tables.Responses.Get(x.r.Context(), x.key.Account+"/"+id)
	if store.Missing(err) {
		return nil, missing
	}
	if err != nil {
		return nil, x.storeAway(err)
	}
	text, err := x.g.o.Box.Open(store.ResponseOwner(r.Value.ID), r.Value.Data)
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(strings.NewReader(text.Reveal()))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, 4*maxKept))
}

var completedEvents = [][]byte{[]byte("response.completed"), []byte("response.incomplete")}

// keep shows what the client is sent to the keeper, if there is one.
func (x *exchange) keep(out []byte) {
	if x.state != nil {
		x.state.watch(out)
	}
}

// watch looks for the end of the answer in what the client is sent.
func (k *keeper) watch(out []byte) {
	if k.done || !bytes.Contains(out, completedEvents[0]) && !bytes.Contains(out, completedEvents[1]) {
		return
	}
	for {
		ev, rest, ok := sse.Cut(out)
		if !ok {
			return
		}
		out = rest
		var v [2]rawjson.Value
		if len(ev.Data) == 0 || rawjson.Scan(ev.Data, []string{"type", "response"}, v[:]) != nil || v[1].Kind() != rawjson.Object {
			continue
		}
		if v[0].TextEquals("response.completed") || v[0].TextEquals("response.incomplete") {
			k.save(v[1].Raw())
		}
	}
}

// save keeps the conversation and the answer's response object, before the client learns that the answer is complete: its
// next request may come at once. A failure is only logged, for the answer itself is good.
func (k *keeper) save(response []byte) {
	x := k.x
	k.done = true
	var v [2]rawjson.Value
	if len(response) > maxKept || len(k.items) > maxKept {
		k.tooLarge()
		return
	}
	if rawjson.Scan(response, []string{"id", "output"}, v[:]) != nil || v[1].Kind() != rawjson.Array {
		return
	}
	id, _ := v[0].Text()
	if id == "" || len(id) > 256 {
		return
	}
	doc := make([]byte, 0, len(k.items)+2*len(response)+64)
	doc = append(append(doc, `{"items":[`...), k.items...)
	first := len(k.items) == 0
	_ = rawjson.Elements(v[1].Raw(), func(e rawjson.Value) bool {
		if usable(e) {
			if !first {
				doc = append(doc, ',')
			}
			doc = append(doc, e.Raw()...)
			first = false
		}
		return true
	})
	doc = append(append(append(doc, `],"response":`...), response...), '}')
	if len(doc) > maxKept {
		k.tooLarge()
		return
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, err := w.Write(doc)
	if err = errors.Join(err, w.Close()); err == nil {
		key := x.key.Account + "/" + id
		_, err = x.g.o.Tables.Responses.Create(detached(x.r), store.Response{ID: key, Account: x.key.Account,
			Data:    x.g.o.Box.Seal(store.ResponseOwner(key), core.NewSecret(z.String())),
			Expires: x.g.o.Now().Add(time.Duration(x.account.ResponseDays) * 24 * time.Hour)})
	}
	if err != nil {
		x.g.o.Log.Error("response not kept", "request_id", x.info.ID, "account", x.key.Account, "error", err)
	}
}

func (k *keeper) tooLarge() {
	k.x.g.o.Log.Warn("response not kept: the conversation is larger than 8 MiB", "request_id", k.x.info.ID, "account", k.x.key.Account)
}

// usable reports whether an output item can be sent again: reasoning without its content lives on the upstream alone.
func usable(item rawjson.Value) bool {
	var v [2]rawjson.Value
	if item.Kind() != rawjson.Object || rawjson.Scan(item.Raw(), []string{"type", "encrypted_content"}, v[:]) != nil {
		return false
	}
	return !v[0].TextEquals("reasoning") || v[1].Kind() == rawjson.String
}

// keptResponse serves GET and DELETE of a kept response.
func (x *exchange) keptResponse() {
	if err := x.admit(); err != nil {
		x.fail(err)
		return
	}
	id := strings.TrimPrefix(x.path, dialectResponses.path+"/")
	doc, err := x.kept(id)
	if err != nil {
		var e *core.Error
		if errors.As(err, &e) && e.Code == core.CodeInvalid {
			err = core.E(core.CodeNotFound, "Response with id '"+clip(id, 100)+"' not found.")
		}
		x.fail(err)
		return
	}
	v, _ := rawjson.Find(doc, "response")
	body := v.Raw()
	if x.r.Method == http.MethodDelete {
		if err := x.g.o.Tables.Responses.Delete(x.r.Context(), x.key.Account+"/"+id); err != nil && !store.Missing(err) {
			x.fail(x.storeAway(err))
			return
		}
		body = rawjson.AppendString([]byte(`{"id":`), id)
		body = append(body, `,"object":"response.deleted","deleted":true}`...)
	}
	h := x.w.Header()
	h["X-Request-Id"], h["Content-Type"] = []string{x.info.ID}, jsonType
	x.limitHeaders(h)
	x.rec.Status = http.StatusOK
	x.writeBody(http.StatusOK, body)
}
