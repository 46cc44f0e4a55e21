package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/router"
	"sluice/shared/store"
	"sluice/shared/upstream"
)

// Batches, files and skills live on one node: the one that made them. Bodies are streamed, so there is one attempt.

const (
	maxBatch    = 256 << 20
	maxFile     = 500 << 20
	maxCreated  = 4 << 20 // bytes of an answer that describes resources
	resourceTTL = 180 * 24 * time.Hour
)

// collection is a path under which resources live.
type collection struct {
	path      string
	below     []string // what may follow an id
	bodyLimit int64
}

const (
	batchesPath = "/v1/messages/batches"
	filesPath   = "/v1/files"
	skillsPath  = "/v1/skills"
	anyID       = "/{id}"
)

var collections = [...]collection{
	{batchesPath, []string{"", "cancel", "results"}, maxBatch},
	{filesPath, []string{"", "content"}, maxFile},
	{skillsPath, []string{"", "versions", "versions/*"}, maxFile},
}

// resourceEndpoints are the collections' and their members', in the order of collections. They are told as constants are: what
// is made as the program starts is linked by every program.
var resourceEndpoints = [len(collections)]struct{ all, one endpoint }{
	{endpoint{batchesPath, "GET POST", (*exchange).resources}, endpoint{batchesPath + anyID, "GET POST DELETE", (*exchange).resources}},
	{endpoint{filesPath, "GET POST", (*exchange).resources}, endpoint{filesPath + anyID, "GET HEAD DELETE", (*exchange).resources}},
	{endpoint{skillsPath, "GET POST", (*exchange).resources}, endpoint{skillsPath + anyID, "GET POST DELETE", (*exchange).resources}},
}

// resources serves the collection of the path, or one of its members.
func (x *exchange) resources() {
	for i := range collections {
		c := &collections[i]
		if rest, ok := strings.CutPrefix(x.path, c.path); ok && (rest == "" || rest[0] == '/') {
			id, _, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
			if plain, err := url.PathUnescape(id); err == nil { // one resource has one name here
				id = plain
			}
			x.resource(c, id)
			return
		}
	}
}

func resourceRoute(path string) *endpoint {
	for i := range collections {
		c := &collections[i]
		rest, ok := strings.CutPrefix(path, c.path)
		if !ok {
			continue
		}
		if rest == "" {
			return &resourceEndpoints[i].all
		}
		if rest[0] != '/' {
			continue
		}
		id, below, _ := strings.Cut(rest[1:], "/")
		if !plainID(id, false) {
			return nil
		}
		for _, b := range c.below {
			dir, wild := strings.CutSuffix(b, "*")
			if below == b || wild && strings.HasPrefix(below, dir) && len(below) > len(dir) && !strings.Contains(below[len(dir):], "/") {
				return &resourceEndpoints[i].one
			}
		}
		return nil
	}
	return nil
}

// resource serves a collection, or with an id one of its members.
func (x *exchange) resource(c *collection, id string) {
	if x.r.ContentLength > c.bodyLimit {
		x.fail(&core.Error{Code: core.CodeTooLarge, Message: "Request body is larger than " + sizeText(c.bodyLimit) + "."})
		return
	}
	if enc := x.r.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		x.fail(core.E(core.CodeInvalid, "Content-Encoding is not supported here: uploads are passed on as they come. Send the body uncompressed."))
		return
	}
	if err := x.admit(); err != nil {
		x.fail(err)
		return
	}
	if create := x.r.Method == http.MethodPost && id == ""; create && c.path == batchesPath && len(x.key.Models) > 0 {
		x.fail(core.E(core.CodeForbidden, "This key may use some models only, and a batch can name any. Use a key without a list of models."))
		return
	}
	w := x.startWatch(x.g.s.AnswerTimeout, nil)
	x.watch = w
	defer w.stop()
	i, known, choice := x.resourceNode(id)
	if i < 0 {
		x.fail(x.noNode(choice))
		return
	}
	n, err := x.takeOwner(&x.account.Nodes[i])
	if err != nil {
		x.fail(err)
		return
	}
	var results *store.Resource
	if x.fetchesResults(id) {
		results = known
		wholeResults(x.r.Header)
	}
	s := x.g.o.Health.Node(x.r.Context(), n.ID, n.Account)
	s.Begin(false)
	defer s.End(false)
	out := x.tryNode(n, s, &plan{wire: dialectAnthropic, same: true}, func(ctx context.Context, a *attempt) outcome {
		setNode(x.w.Header(), false, n.Name)
		w.attempt(a.cancel, x.g.s.AnswerTimeout)
		if x.r.ContentLength == 0 {
			return a.relayResource(ctx, w, x.r.Method == http.MethodPost && id == "", results)
		}
		u := &upload{ReadCloser: http.MaxBytesReader(x.w, x.r.Body, c.bodyLimit), w: w}
		a.body, a.size = u, x.r.ContentLength
		out := a.relayResource(ctx, w, x.r.Method == http.MethodPost && id == "", results)
		if !out.done && out.status == 0 && out.f.Class != upstream.Stopped && u.blame(x, c.bodyLimit) {
			return outcome{done: true}
		}
		return out
	})
	x.report(n, s, out.f, true)
	if !out.done {
		x.giveUp(out, router.Choice{Index: -1, Why: router.Tried})
	}
}

// uploadPatience is how long a client may pause within an upload.
const uploadPatience = 60 * time.Second

// upload is a body on its way to the upstream. That it could not be read to its end is the client's doing, not the node's.
type upload struct {
	io.ReadCloser
	w   *watch
	err atomic.Pointer[error]
}

// Read implements io.Reader. What the client sends is a sign of life: a large file over a slow line takes its time.
func (u *upload) Read(p []byte) (int, error) {
	n, err := u.ReadCloser.Read(p)
	switch err {
	case nil:
		u.w.sign(u.w.x.since())
		_ = u.w.x.rc.SetReadDeadline(time.Now().Add(uploadPatience))
	case io.EOF:
		_ = u.w.x.rc.SetReadDeadline(time.Time{})
	default:
		u.err.Store(&err)
	}
	return n, err
}

// blame answers for a client that sent too much or broke off; false when the body was not what failed.
func (u *upload) blame(x *exchange, limit int64) bool {
	err := u.err.Load()
	var large *http.MaxBytesError
	switch {
	case err == nil:
		return false
	case errors.As(*err, &large):
		x.fail(&core.Error{Code: core.CodeTooLarge, Message: "Request body is larger than " + sizeText(limit) + "."})
	default:
		WriteError(x.w, x.r, core.E(core.CodeInvalid, "The request body could not be read to its end."))
		x.gone()
	}
	return true
}

// resourceNode finds the node that made the resource; for a new or unknown one, the node that routing prefers. It also tells
// what is known of the resource.
func (x *exchange) resourceNode(id string) (int, *store.Resource, router.Choice) {
	known := &store.Resource{ID: x.key.Account + "/" + id, Account: x.key.Account}
	if id != "" {
		r, err := x.g.o.Tables.Resources.Get(x.r.Context(), known.ID)
		if err == nil {
			known = &r.Value
			for i := range x.account.Nodes {
				if n := &x.account.Nodes[i]; n.ID == known.Node && !n.Disabled {
					return i, known, router.Choice{}
				}
			}
		} else if !store.Missing(err) {
			x.g.o.Log.Warn("resource not looked up", "request_id", x.info.ID, "error", err)
		}
	}
	c := x.candidates()
	for i := range c.list {
		c.list[i].Tried = c.list[i].Node.Kind != core.KindAnthropic // the only kind that has these endpoints
	}
	now := x.g.o.Now()
	c.refresh(now)
	choice := router.Pick(c.list, &router.Request{Active: x.account.ActiveNode, Now: now, Policy: x.policy(), Session: "resources"}, random)
	return choice.Index, known, choice
}

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// relayResource sends the request and streams the answer. The answer to a creation is read whole: its id is remembered. results
// is the batch whose results are fetched; nil: something else is.
func (a *attempt) relayResource(ctx context.Context, w *watch, create bool, results *store.Resource) outcome {
	x := a.x
	resp, out := a.send(ctx)
	if resp == nil {
		return out
	}
	defer resp.Body.Close()
	ok := outcome{done: true, f: upstream.Failure{Status: resp.StatusCode}}
	src, why := io.Reader(resp.Body), ""
	described := create || results == nil && x.describesBatches(resp)
	if described || results != nil {
		src, why = plainBody(resp)
	}
	if why != "" && ctx.Err() == nil {
		return outcome{f: upstream.Failure{Class: upstream.Server, Status: resp.StatusCode, Reason: why}}
	}
	if described {
		body, err := []byte(nil), ctx.Err()
		if err == nil {
			body, err = io.ReadAll(io.LimitReader(src, maxCreated+1))
		}
		if len(body) > maxCreated {
			return outcome{f: upstream.Failure{Class: upstream.Server, Status: resp.StatusCode, Reason: "description of a resource larger than 4 MiB"}}
		}
		if err != nil {
			return a.broken(ctx, err)
		}
		if create {
			a.remember(body)
		}
		x.answer(resp, x.ownAddress(body), a)
		return ok
	}
	h := x.w.Header()
	upstream.CopyAnswer(h, resp.Header)
	if src != resp.Body {
		delete(h, "Content-Encoding")
	} else if resp.ContentLength >= 0 {
		h["Content-Length"] = []string{itoa(resp.ContentLength)}
	}
	x.limitHeaders(h)
	x.rec.Status = resp.StatusCode
	x.w.WriteHeader(resp.StatusCode)
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	meter := x.newBatchMeter(ctx, results, resp)
	for {
		n, err := src.Read(*buf)
		w.sign(x.since())
		if n > 0 {
			_ = x.rc.SetWriteDeadline(time.Now().Add(stuckAfter))
			meter.write((*buf)[:n])
			m, werr := x.w.Write((*buf)[:n])
			x.rec.Bytes += int64(m)
			if werr != nil {
				x.gone()
				return outcome{done: true}
			}
		}
		if err == io.EOF {
			_ = x.rc.SetWriteDeadline(time.Time{})
			x.settleBatch(meter)
			return ok
		}
		if err != nil {
			x.rec.ErrorCode = "stream_cut"
			if o := a.broken(ctx, err); o.done {
				return o
			}
			// the length or the chunked end is missing then: the only honest sign that the body is not whole
			panic(http.ErrAbortHandler)
		}
	}
}

// describesBatches reports whether an answer is JSON about batches, which names the address of their results.
func (x *exchange) describesBatches(resp *http.Response) bool {
	return strings.HasPrefix(x.path, batchesPath) && x.r.Method != http.MethodHead && strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json")
}

// remember stores which node made the resource that an answer describes.
func (a *attempt) remember(body []byte) {
	x := a.x
	v, err := rawjson.Find(body, "id")
	id, ok := v.Text()
	if err != nil || !ok || id == "" || len(id) > 256 {
		return
	}
	_, err = x.g.o.Tables.Resources.Create(detached(x.r), store.Resource{ID: x.key.Account + "/" + id, Account: x.key.Account,
		Node: a.node.ID, Expires: x.g.o.Now().Add(resourceTTL)})
	if err != nil {
		x.g.o.Log.Error("node of a new resource not stored", "request_id", x.info.ID, "error", err)
	}
}
