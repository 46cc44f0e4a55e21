package adminui

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

func nodesPages() []*page {
	acts := map[string]func(*view) error{"create": createNode, "update": updateNode, "delete": deleteNode, "check": checkNode, "bulk": bulkNodes, "move": moveNode, "order": orderNodes}
	for _, do := range [...]string{"enable", "disable", "activate", "deactivate"} {
		acts[do] = switchNode
	}
	return []*page{
		{path: "/admin/nodes", title: "nodes.title", menu: "menu.manage", live: true, show: showNodes, acts: acts},
		{path: "/admin/nodes/{id}", title: "nodes.one", live: true, show: showNode, acts: map[string]func(*view) error{"check": checkNode, "enable": switchNode, "disable": switchNode, "activate": switchNode, "deactivate": switchNode}},
	}
}

const nodesAPI = "/admin/api/nodes"

// nodeRow is a node as the API's list tells.
type nodeRow struct {
	ID           string            `json:"id"`
	AccountID    string            `json:"account_id"`
	Name         string            `json:"name"`
	Kind         string            `json:"kind"`
	BaseURL      string            `json:"base_url"`
	HasKey       bool              `json:"has_api_key"`
	Weight       int64             `json:"weight"`
	Models       []string          `json:"models"`
	ModelMap     map[string]string `json:"model_map"`
	Limits       limits            `json:"limits"`
	Wire         string            `json:"wire"`
	AuthHeader   string            `json:"auth_header"`
	Notes        string            `json:"notes"`
	HealthMethod string            `json:"health_check_method"`
	HealthModel  string            `json:"health_check_model"`
	Active       bool              `json:"active"`
	Disabled     bool              `json:"disabled"`
	State        string            `json:"state"`
	Since        time.Time         `json:"state_since"`
	Reason       string            `json:"state_reason"`
	CoolingUntil time.Time         `json:"cooling_until"`
	FailStreak   int64             `json:"fail_streak"`
	LastError    string            `json:"last_error"`
	LastErrorAt  time.Time         `json:"last_error_at"`
	CreatedAt    time.Time         `json:"created_at"`
	UpdatedAt    time.Time         `json:"updated_at"`
	Requests     int64             `json:"requests"`
	Failures     int64             `json:"fail_count"`
	Percent      float64           `json:"health_rate"`
	InputTokens  int64             `json:"input_tokens"`
	OutputTokens int64             `json:"output_tokens"`
	FirstByteMS  float64           `json:"first_byte_ms"` // 0: none came
	PingMS       *float64          `json:"ping_ms"`       // nil before the first check
	PingError    string            `json:"ping_error"`
	CheckedAt    time.Time         `json:"last_health_check_at"`
	CacheRatio   *float64          `json:"cache_read_ratio"`

	Region string             `json:"region"`
	API    string             `json:"api"`
	Cred   *bedrockCredential `json:"credential"` // of nodes of kind bedrock
}

// SuccessShare is the share of requests that succeeded.
func (n *nodeRow) SuccessShare() float64 { return n.Percent / 100 }

// CachedShare is the share of its input tokens that came from the upstream's cache.
func (n *nodeRow) CachedShare() float64 {
	if n.CacheRatio == nil {
		return 0
	}
	return *n.CacheRatio
}

// picker is the choice of an account, which administrators have.
type picker struct {
	Accounts []accountRow
	Account  string
}

func (v *view) picker() (p picker, err error) {
	if !v.Me.Admin {
		return p, nil
	}
	p.Account = v.Query("account_id")
	if p.Account == "" {
		p.Account = v.Me.AccountID
	}
	if v.live() { // the choice is not in there
		return p, nil
	}
	var out struct{ Accounts []accountRow }
	err = v.get(tenantsAPI, light(""), &out)
	p.Accounts = out.Accounts
	return p, err
}

// back is a page's path with what of the address should outlast a form: the account, the filters, the search, the order, the page.
func (v *view) back(path string) string {
	q := url.Values{}
	for _, name := range [...]string{"account_id", "state", "q", "sort", "page", "kind", "action", "source", "tab"} {
		if s := v.Query(name); s != "" {
			q.Set(name, s)
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// NodeLink is the page of a node of the account that is looked at.
func (v *view) NodeLink(id string) string {
	to := v.link("/admin/nodes/" + url.PathEscape(id))
	if q := account(v.Query("account_id")); q != nil {
		to += "?" + q.Encode()
	}
	return to
}

// live reports whether the page asks for its live part alone.
func (v *view) live() bool { return v.r.Header.Get("HX-Request") != "" }

// tested is what a test of a node found.
type tested struct {
	Name    string  `json:"name"`
	OK      bool    `json:"success"`
	MS      float64 `json:"response_time_ms"`
	Failure string  `json:"error_message"`
	Method  string  `json:"check_method"`
	State   string  `json:"state"`
}

// nodesView is the page.
type nodesView struct {
	picker
	List     list[nodeRow]
	Choices  []choice
	Narrowed bool // by a search or a state
	Order    bool // it is shown as it is preferred, and may be changed
	Form     *form
	Kind     string   // of the form
	Edit     *nodeRow // nil: a new one
	Err      *form    // of a small form
	Live     bool
	Test     *tested
	Said     string // of what was moved
}

func showNodes(v *view) error { return v.nodes(&nodesView{}) }

// nodesPart asks for a part of the nodes of the account that is looked at.
func (v *view) nodesPart(d *nodesView) (n counts, err error) {
	d.List, err = listed(v, []string{"weight", "name", "state", "method", "latency", "success", "requests"}, "weight", func(q url.Values) ([]nodeRow, int, error) {
		var out struct {
			Nodes  []nodeRow
			Total  int
			Counts counts
		}
		err := v.get(nodesAPI, v.ofState(q, v.Query("account_id")), &out)
		n = out.Counts
		return out.Nodes, out.Total, err
	})
	return n, err
}

// oneNode is a node of the account that is looked at; nil: it has none of that id.
func (v *view) oneNode(id string) (*nodeRow, error) {
	q := url.Values{"id": {id}}
	if a := v.Query("account_id"); a != "" {
		q.Set("account_id", a)
	}
	var out struct{ Nodes []nodeRow }
	if err := v.get(nodesAPI, q, &out); err != nil || len(out.Nodes) == 0 {
		return nil, err
	}
	return &out.Nodes[0], nil
}

// placed is a node in the order of all.
type placed struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Weight int64  `json:"weight"`
}

// nodeOrder are all nodes of the account that is looked at, as they are preferred.
func (v *view) nodeOrder() ([]placed, error) {
	var out struct{ Nodes []placed }
	err := v.get(nodesAPI, light(v.Query("account_id")), &out)
	return out.Nodes, err
}

// nodes shows the page with what became of a form.
func (v *view) nodes(d *nodesView) error {
	d.Live = v.live()
	n, err := v.nodesPart(d)
	if err != nil {
		return err
	}
	if d.picker, err = v.picker(); err != nil {
		return err
	}
	d.Choices = v.choices(n)
	d.Narrowed = d.List.Q != "" || v.state() != ""
	d.Order = d.List.Sort == "weight" && !d.Narrowed
	if err := d.form(v); err != nil {
		return err
	}
	return v.render("nodes.html", d)
}

// form finds what the form of the page is about.
func (d *nodesView) form(v *view) error {
	if kind := v.Query("new"); slices.Contains(d.Kinds(), kind) {
		d.Kind = kind
		if d.Form == nil {
			d.Form = &form{Values: url.Values{"health_check_method": {"api"}, "credential": {"api_key"}}}
		}
		return nil
	}
	if id := v.Query("edit"); id != "" {
		n, err := v.oneNode(id)
		if err != nil {
			return err
		}
		if n != nil {
			d.Edit, d.Kind = n, n.Kind
			if d.Form == nil {
				d.Form = formOfNode(n)
			}
			return nil
		}
	}
	if d.Form != nil { // what it was about is gone
		d.Err, d.Form = d.Form, nil
		if d.Err.Problem == "" {
			d.Err.Problem = v.t("nodes.gone")
		}
	}
	return nil
}

// refusedNode shows the page again when one of its small forms was refused.
func (v *view) refusedNode(err error) error {
	f, err := v.refused(err, nil)
	if err != nil {
		return err
	}
	for _, said := range f.errors { // its field may be in a dialog that is closed now
		f.Problem = said
	}
	if v.id != "" {
		return v.node(&nodeView{Err: f})
	}
	return v.nodes(&nodesView{Err: f})
}

func deleteNode(v *view) error {
	err := v.confirmed(v.text("name"))
	if err == nil {
		err = v.call(http.MethodDelete, nodesAPI, url.Values{"id": {v.text("id")}}, nil, nil)
	}
	if err != nil {
		return v.refusedNode(err)
	}
	return v.done(v.back("/admin/nodes"), "nodes.deleted", v.text("name"))
}

type ofNode struct {
	ID string `json:"id"`
}

// switchNode enables, disables, activates, or ends an activation.
func switchNode(v *view) error {
	do := v.Query("do")
	var err error
	if do == "deactivate" {
		err = v.call(http.MethodPost, nodesAPI+"/activate", account(v.Query("account_id")), ofNode{}, nil)
	} else {
		err = v.call(http.MethodPost, nodesAPI+"/"+do, nil, ofNode{v.text("id")}, nil)
	}
	if err != nil {
		return v.refusedNode(err)
	}
	to := "/admin/nodes"
	if v.id != "" {
		to += "/" + url.PathEscape(v.id)
	}
	return v.done(v.back(to), "nodes."+do, v.text("name"))
}

// bulkNodes does one thing with all that are ticked.
func bulkNodes(v *view) error {
	what := v.text("to")
	each := v.each
	do := func(id string) error { return v.call(http.MethodPost, nodesAPI+"/"+what, nil, ofNode{id}, nil) }
	switch {
	case v.text("what") == "delete":
		what, each = "delete", v.eachDeleted
		do = func(id string) error { return v.call(http.MethodDelete, nodesAPI, url.Values{"id": {id}}, nil, nil) }
	case what != "disable" && what != "enable":
		each = v.nothing
	}
	n, err := each(do)
	if err != nil {
		return v.refusedNode(err)
	}
	return v.done(v.back("/admin/nodes"), "nodes.bulk."+what, grouped(int64(n)))
}

// checkNode tests a node now and shows what was found in the answer.
func checkNode(v *view) error {
	var t tested
	if err := v.call(http.MethodPost, nodesAPI+"/check", nil, ofNode{v.text("id")}, &t); err != nil {
		return v.refusedNode(err)
	}
	if v.id != "" {
		return v.node(&nodeView{Test: &t})
	}
	return v.nodes(&nodesView{Test: &t})
}

// moveNode puts a node before its neighbour, or after it.
func moveNode(v *view) error {
	all, err := v.nodeOrder()
	if err != nil {
		return err
	}
	at := slices.IndexFunc(all, func(n placed) bool { return n.ID == v.text("id") })
	to := at + 1
	if v.text("to") == "up" {
		to = at - 1
	}
	if at < 0 {
		return v.refusedNode(&Refusal{Status: http.StatusNotFound, Message: v.t("nodes.gone")})
	}
	if to >= 0 && to < len(all) {
		all[at], all[to] = all[to], all[at]
	} else {
		to = at
	}
	return v.weigh(all, v.t("nodes.moved", all[to].Name, strconv.Itoa(to+1), strconv.Itoa(len(all))), all[to].Name)
}

// orderNodes puts the nodes that were shown into the order that they were dragged to. Those that were not shown keep their places.
func orderNodes(v *view) error {
	all, err := v.nodeOrder()
	if err != nil {
		return err
	}
	by := make(map[string]placed, len(all))
	for i := range all {
		by[all[i].ID] = all[i]
	}
	ids, seen := v.form["ids"], map[string]bool{}
	for _, id := range ids {
		if _, ok := by[id]; !ok || seen[id] {
			return v.refusedNode(&Refusal{Status: http.StatusConflict, Message: v.t("nodes.gone")})
		}
		seen[id] = true
	}
	for i, next := 0, 0; i < len(all); i++ {
		if seen[all[i].ID] {
			all[i] = by[ids[next]]
			next++
		}
	}
	return v.weigh(all, v.t("done.nodes.ordered"), "")
}

// weigh saves the order of nodes as their weights, from 1.
func (v *view) weigh(all []placed, said, name string) error {
	for i := range all {
		w := int64(i + 1)
		if all[i].Weight == w {
			continue
		}
		if err := v.call(http.MethodPut, nodesAPI, url.Values{"id": {all[i].ID}}, map[string]int64{"weight": w}, nil); err != nil {
			var no *Refusal
			if errors.As(err, &no) {
				no.Message = all[i].Name + ": " + no.Message
			}
			return v.refusedNode(err)
		}
	}
	if v.live() {
		return v.nodes(&nodesView{Said: said})
	}
	if name != "" {
		return v.done(v.back("/admin/nodes"), "nodes.moved", name)
	}
	return v.done(v.back("/admin/nodes"), "nodes.ordered")
}
