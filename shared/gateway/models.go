package gateway

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/rawjson"
	"sluice/shared/router"
	"sluice/shared/translator/anthropic"
	"sluice/shared/upstream"
)

const (
	modelsPatience = 2 * time.Second // that nodes may take to list their models: Claude Code waits 3 s
	modelsFresh    = 5 * time.Minute // that a node's list is kept
	maxModelLists  = 1000            // nodes whose lists are kept
	maxModels      = 5000            // names taken of one node
	maxModelBody   = 4 << 20
	maxListed      = 64 << 20 // bytes of all lists that are kept
	maxAsked       = 16       // nodes asked at a time
)

// models serves GET /v1/models and /v1/models/{id}. Where one node alone would answer, its answer passes as it is; else the
// list is what the account's nodes can serve.
func (x *exchange) models() {
	if err := x.admit(); err != nil {
		x.fail(err)
		return
	}
	x.brief = true
	if x.lone() {
		x.fallback = func() { x.listModels(false) }
		w := x.startWatch(modelsPatience, nil)
		x.watch = w
		defer w.stop()
		start := time.Now()
		x.forward(func(ctx context.Context, a *attempt) outcome {
			left := modelsPatience - time.Since(start)
			if left <= 0 {
				return outcome{f: upstream.Failure{Class: upstream.Timeout, Reason: errSilence.Error()}}
			}
			setNode(x.w.Header(), false, a.node.Name)
			w.attempt(a.cancel, left)
			return a.whole(ctx, false)
		})
		return
	}
	x.listModels(true)
}

// lone reports whether the account has one node, of the client's own dialect, and nothing that changes names.
func (x *exchange) lone() bool {
	var only *directory.Node
	for i := range x.account.Nodes {
		if n := &x.account.Nodes[i]; !n.Disabled {
			if only != nil {
				return false
			}
			only = n
		}
	}
	kind := core.KindOpenAI
	if x.client == dialectAnthropic {
		kind = core.KindAnthropic
	}
	return only != nil && only.Kind == kind &&
		len(only.Models)+len(only.ModelMap)+len(x.account.ModelMap)+len(x.key.Models) == 0
}

// model is one of a list.
type model struct{ id, name, owner string }

// listModels answers with what the account's nodes can serve. ask: also with what they say themselves.
func (x *exchange) listModels(ask bool) {
	x.rec.Node, x.rec.NodeName = "", ""
	h := x.w.Header()
	delete(h, "X-Proxy-Node")
	list := x.gatherModels(ask)
	var body []byte
	if id, ok := strings.CutPrefix(x.path, "/v1/models/"); ok {
		id, _ = url.PathUnescape(id) // which route has done before; names may have slashes
		i := slices.IndexFunc(list, func(m model) bool { return m.id == id })
		if i < 0 {
			x.fail(core.E(core.CodeNotFound, "model: "+clip(id, 100)+" is served by no node of this account."))
			return
		}
		body = x.appendModel(nil, &list[i])
	} else {
		body = x.appendModels(nil, list)
	}
	if x.client.openAI() {
		h["X-Request-Id"] = []string{x.info.ID}
	}
	x.limitHeaders(h)
	h["Content-Type"] = jsonType
	x.rec.Status = http.StatusOK
	x.writeBody(http.StatusOK, body)
}

// gatherModels joins what is configured with what open nodes list, each name once, and only what the key may use.
func (x *exchange) gatherModels(ask bool) []model {
	c := x.candidates()
	var out []model
	seen := map[string]bool{}
	add := func(m model) {
		if !seen[m.id] && x.mayUse(m.id) {
			seen[m.id] = true
			out = append(out, m)
		}
	}
	for _, id := range router.Models(&x.account.Account, c.list, x.key.Models) {
		add(model{id: id, name: id, owner: "sluice"})
	}
	for _, list := range x.askNodes(ask) {
		for _, m := range list {
			add(m)
		}
	}
	if x.client.openAI() { // clients that send names with "claude" elsewhere need others (D50)
		for _, m := range slices.Clone(out) {
			if alias := router.Aliases(m.id); alias != "" {
				add(model{id: alias, name: m.name, owner: m.owner})
			}
		}
	}
	return out
}

// askNodes asks the nodes that take any name what they have; one of Anthropic's that does not
// answer in time has what this version knows.
func (x *exchange) askNodes(ask bool) [][]model {
	nodes := x.account.Nodes
	lists := make([][]model, len(nodes))
	ctx, cancel := context.WithTimeout(x.r.Context(), modelsPatience)
	defer cancel()
	var wg sync.WaitGroup
	asking := make(chan struct{}, maxAsked)
	for i := range nodes {
		n := &nodes[i]
		if !router.Open(&n.Node) {
			continue
		}
		if list, ok := x.g.lists.get(n, x.g.o.Now()); ok {
			lists[i] = list
			continue
		}
		wg.Go(func() {
			var list []model
			if ask {
				asking <- struct{}{} // those who hold a place give it back when ctx ends
				list = x.g.askNode(ctx, n)
				<-asking
			}
			if list != nil {
				x.g.lists.put(n, list, x.g.o.Now())
			} else if w := x.wire(&n.Node); w == dialectAnthropic || w == dialectInvoke { // accounts of the others are offered different ones
				list = knownModels()
			}
			lists[i] = list
		})
	}
	wg.Wait()
	for i := range lists { // a node may be open for some names only
		lists[i] = slices.DeleteFunc(slices.Clone(lists[i]), func(m model) bool { return !router.Serves(&nodes[i].Node, m.id) })
	}
	return lists
}

// askNode reads a node's list; nil when it gave none.
func (g *Gateway) askNode(ctx context.Context, n *directory.Node) []model {
	client := g.o.Upstreams[n.Kind]
	if l, ok := client.(upstream.Lister); ok {
		return askLister(ctx, l, n)
	}
	if client == nil || n.Kind != core.KindAnthropic && n.Kind != core.KindOpenAI {
		return nil
	}
	req := &upstream.Request{Method: http.MethodGet, Path: "/v1/models", Header: http.Header{"Accept": jsonType}}
	if n.Kind == core.KindAnthropic {
		req.Query = "limit=1000"
	}
	resp, err := client.Send(ctx, upstream.Target{Node: &n.Node, Credential: n.Credential}, req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	src, why := plainBody(resp)
	if resp.StatusCode != http.StatusOK || why != "" {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(src, maxModelBody))
	if err != nil {
		return nil
	}
	data, err := rawjson.Find(body, "data")
	if err != nil || data.Kind() != rawjson.Array {
		return nil
	}
	list := []model{}
	_ = rawjson.Elements(data.Raw(), func(e rawjson.Value) bool {
		var v [3]rawjson.Value
		if e.Kind() != rawjson.Object || rawjson.Scan(e.Raw(), []string{"id", "display_name", "owned_by"}, v[:]) != nil {
			return true
		}
		var m model
		m.id, _ = v[0].Text()
		m.name, _ = v[1].Text()
		m.owner, _ = v[2].Text()
		if m.id != "" && len(m.id) <= 256 && len(m.name) <= 256 && len(m.owner) <= 256 {
			list = append(list, m.filled(n.Kind))
		}
		return len(list) < maxModels
	})
	return list
}

// askLister is askNode for kinds with a way of their own.
func askLister(ctx context.Context, l upstream.Lister, n *directory.Node) []model {
	told, err := l.Models(ctx, upstream.Target{Node: &n.Node, Credential: n.Credential})
	if err != nil || told == nil {
		return nil
	}
	list := make([]model, 0, len(told))
	for _, m := range told[:min(len(told), maxModels)] {
		list = append(list, model{id: m.ID, name: m.Name, owner: m.Owner}.filled(n.Kind))
	}
	return list
}

func (m model) filled(k core.Kind) model {
	if m.name == "" {
		m.name = m.id
	}
	if m.owner == "" {
		m.owner = string(k)
	}
	return m
}

func knownModels() []model {
	var out []model
	for _, m := range anthropic.Known() {
		out = append(out, model{id: m.ID, name: m.Name, owner: "anthropic"})
	}
	return out
}

// appendModels writes a list in the client's dialect. Release dates are the epoch, as Anthropic's API says where it does
// not know one.
func (x *exchange) appendModels(b []byte, list []model) []byte {
	if x.client.openAI() {
		b = append(b, `{"object":"list","data":[`...)
	} else {
		b = append(b, `{"data":[`...)
	}
	for i := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = x.appendModel(b, &list[i])
	}
	b = append(b, ']')
	if !x.client.openAI() {
		b = append(b, `,"has_more":false,"first_id":`...)
		if len(list) == 0 {
			return append(b, `null,"last_id":null}`...)
		}
		b = rawjson.AppendString(b, list[0].id)
		b = append(b, `,"last_id":`...)
		b = rawjson.AppendString(b, list[len(list)-1].id)
	}
	return append(b, '}')
}

func (x *exchange) appendModel(b []byte, m *model) []byte {
	if x.client.openAI() {
		b = append(b, `{"id":`...)
		b = rawjson.AppendString(b, m.id)
		b = append(b, `,"object":"model","created":0,"owned_by":`...)
		b = rawjson.AppendString(b, m.owner)
		return append(b, '}')
	}
	b = append(b, `{"type":"model","id":`...)
	b = rawjson.AppendString(b, m.id)
	b = append(b, `,"display_name":`...)
	b = rawjson.AppendString(b, m.name)
	return append(b, `,"created_at":"1970-01-01T00:00:00Z"}`...)
}

// modelLists keeps what nodes listed. It is safe for concurrent use.
type modelLists struct {
	mu   sync.Mutex
	m    map[string]modelList
	size int // of all
}

type modelList struct {
	base    string // address it came from
	version int64  // of the node: an edit may change where it comes from, or what the credential is offered
	until   time.Time
	list    []model
	size    int // bytes, about
}

func (l *modelLists) get(n *directory.Node, now time.Time) ([]model, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.m[n.ID]
	return e.list, ok && e.base == n.BaseURL && e.version == n.Version && now.Before(e.until)
}

func (l *modelLists) put(n *directory.Node, list []model, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.m == nil {
		l.m = make(map[string]modelList)
	}
	e := modelList{base: n.BaseURL, version: n.Version, until: now.Add(modelsFresh), list: list}
	for i := range list {
		e.size += 64 + len(list[i].id) + len(list[i].name) + len(list[i].owner)
	}
	l.size -= l.m[n.ID].size
	delete(l.m, n.ID)
	if len(l.m) >= maxModelLists || l.size+e.size > maxListed {
		clear(l.m)
		l.size = 0
	}
	l.m[n.ID] = e
	l.size += e.size
}
