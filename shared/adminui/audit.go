package adminui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

func auditPages() []*page {
	return []*page{{path: auditPath, title: "audit.title", menu: "menu.watch", show: showAudit, acts: map[string]func(*view) error{"verify": verifyAudit}},
		filePage(auditAPI+"/export", auditPath, "audit.title")}
}

const (
	auditPath = "/admin/audit"
	auditAPI  = "/api/audit"
)

// entry is an entry of the audit log as the API tells it.
type entry struct {
	Seq   int64     `json:"seq"`
	At    time.Time `json:"at"`
	Actor struct {
		Kind    string `json:"kind"`
		Key     string `json:"key_id"`
		Prefix  string `json:"key_prefix"`
		Account string `json:"account_id"`
		Name    string `json:"name"`
	} `json:"actor"`
	Address string `json:"address"`
	Agent   string `json:"user_agent"`
	Request string `json:"request_id"`
	Action  string `json:"action"`
	Object  struct {
		Kind string `json:"kind"`
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"object"`
	Account    string          `json:"account_id"`
	Before     json.RawMessage `json:"before"`
	After      json.RawMessage `json:"after"`
	Also       []string        `json:"also"`
	More       int             `json:"more"`
	Result     string          `json:"result"`
	Code       string          `json:"code"`
	Muted      bool            `json:"muted"`
	Unrecorded int             `json:"unrecorded"`
	Hash       string          `json:"hash"`
}

// WasRefused reports whether the call was.
func (e *entry) WasRefused() bool { return e.Result != "ok" }

// Ref is the object as the filter takes it.
func (e *entry) Ref() string {
	if e.Object.ID == "" {
		return e.Object.Kind
	}
	return e.Object.Kind + "/" + e.Object.ID
}

// AlsoText are the other documents that changed.
func (e *entry) AlsoText() string {
	s := strings.Join(e.Also, ", ")
	if e.More > 0 {
		s += " +" + strconv.Itoa(e.More)
	}
	return s
}

// value is what a field was, or is.
type value struct {
	Text string
	Set  bool // false: there was no such field
}

// change is a field that an entry tells of.
type change struct {
	Field         string
	Before, After value
}

// Differences are the fields that differ between before and after, by name; those of an object within one are named with a dot.
func (e *entry) Differences() (out []change) {
	before, after := map[string]string{}, map[string]string{}
	flatten(before, "", e.Before, 4)
	flatten(after, "", e.After, 4)
	names := map[string]bool{}
	for _, m := range []map[string]string{before, after} {
		for k := range m {
			names[k] = true
		}
	}
	for _, k := range slices.Sorted(maps.Keys(names)) {
		b, was := before[k]
		a, is := after[k]
		if was != is || b != a {
			out = append(out, change{Field: k, Before: value{b, was}, After: value{a, is}})
		}
	}
	return out
}

// flatten puts the fields of a JSON object into out, at most deep objects down; what is no object, or deeper, is a text.
func flatten(out map[string]string, name string, raw json.RawMessage, deep int) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return
	}
	var fields map[string]json.RawMessage
	if deep > 0 && raw[0] == '{' && json.Unmarshal(raw, &fields) == nil && len(fields) > 0 {
		for k, v := range fields {
			if name != "" {
				k = name + "." + k
			}
			flatten(out, k, v, deep-1)
		}
		return
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		var b bytes.Buffer
		if json.Compact(&b, raw) != nil {
			return
		}
		s = b.String()
	}
	if name == "" {
		name = "–"
	}
	out[name] = s
}

// verdict is what verification of the chain found.
type verdict struct {
	OK      bool      `json:"ok"`
	Entries int64     `json:"entries"`
	First   int64     `json:"first"`
	Last    int64     `json:"last"`
	Since   time.Time `json:"since"`
	Head    string    `json:"head"`
	Broken  int64     `json:"broken_at"`
	Reason  string    `json:"reason"`
	Begun   bool      `json:"begins_later"`
}

// auditView is the page.
type auditView struct {
	Form       *form // the filter
	Accounts   []accountRow
	Entries    []entry
	Older      string // address of the page after this one; empty: it is the last
	Newest     string // of the first page; empty: it is this one
	CSV, JSONL string
	Verdict    *verdict
	Verify     *form
}

// NameOfAccount is what an account is called.
func (d *auditView) NameOfAccount(id string) string {
	for _, a := range d.Accounts {
		if a.ID == id {
			return a.Name
		}
	}
	return id
}

// Filtered reports whether something is looked for.
func (d *auditView) Filtered() bool {
	for _, name := range auditFilters() {
		if d.Form.ValueOf(name) != "" {
			return true
		}
	}
	return false
}

func auditFilters() []string {
	return []string{"action", "actor", "object", "from", "to", "account_id"}
}

// Actions are those that the filter proposes; one before the dot stands for all of a kind.
func (d *auditView) Actions() []string {
	return []string{"account", "capture.read", "channel", "key", "key.create", "key.delete", "key.rotate", "key.update", "login.failed", "login.ok", "logout", "node", "node.activate",
		"node.create", "node.delete", "node.disable", "node.enable", "node.update", "price", "rule", "settings", "share", "subscription", "usage"}
}

func showAudit(v *view) error { return v.audit(&auditView{}) }

// audit shows the page with what became of a verification.
func (v *view) audit(d *auditView) error {
	asked := v.r.URL.Query()
	d.Form = &form{Values: asked}
	q, err := v.auditQuery(asked)
	if err == nil {
		page := url.Values{"limit": {strconv.Itoa(perPage)}}
		maps.Copy(page, q)
		if c := asked.Get("cursor"); c != "" {
			page.Set("cursor", c)
			d.Newest = v.With("cursor", "")
		}
		var out struct {
			Entries []entry
			Next    string `json:"next_cursor"`
		}
		if err = v.get(auditAPI, page, &out); err == nil {
			if d.Entries = out.Entries; out.Next != "" {
				d.Older = v.With("cursor", out.Next)
			}
		}
	}
	if err != nil {
		sent := v.form
		v.form = asked // the filter is the form that was refused
		d.Form, err = v.refused(err, nil)
		v.form = sent
		if err != nil {
			return err
		}
	}
	if v.Me.Admin {
		var accounts struct{ Accounts []accountRow }
		if err := v.get(tenantsAPI, light(""), &accounts); err != nil {
			return err
		}
		d.Accounts = accounts.Accounts
	}
	d.CSV, d.JSONL = v.auditExport(q, "csv"), v.auditExport(q, "jsonl")
	return v.render("audit.html", d)
}

// auditQuery is the filter as the API takes it.
func (v *view) auditQuery(asked url.Values) (url.Values, error) {
	q := url.Values{}
	for _, name := range auditFilters() {
		s := strings.TrimSpace(asked.Get(name))
		if s == "" {
			continue
		}
		if name == "from" || name == "to" {
			at, err := time.Parse("2006-01-02T15:04", s)
			if err != nil {
				return q, &Refusal{Status: http.StatusBadRequest, Field: name, Message: v.t("form.time")}
			}
			s = at.UTC().Format(time.RFC3339)
		}
		q.Set(name, s)
	}
	return q, nil
}

func (v *view) auditExport(q url.Values, format string) string {
	of := url.Values{"format": {format}}
	maps.Copy(of, q)
	return v.link(auditAPI+"/export") + "?" + of.Encode()
}

// verifyAudit follows the whole chain.
func verifyAudit(v *view) error {
	d := &auditView{}
	q := url.Values{}
	if head := v.text("head"); head != "" {
		q.Set("head", head)
	}
	var found verdict
	err := v.get(auditAPI+"/verify", q, &found)
	if err == nil {
		d.Verdict = &found
	} else if d.Verify, err = v.refused(err, nil); err != nil {
		return err
	}
	return v.audit(d)
}

// ActionText says an action in words; one that has none is empty.
func (v *view) ActionText(name string) string {
	noun, verb, _ := strings.Cut(name, ".")
	n, ok := v.known(fmt.Sprintf("audit.noun.%s", noun))
	if verb == "" || !ok {
		return n
	}
	w, ok := v.known(fmt.Sprintf("audit.verb.%s", verb))
	if !ok {
		return ""
	}
	return v.t("audit.done", n, w)
}

// Noun says a kind of object in words, or as the API names it.
func (v *view) Noun(kind string) string {
	if s, ok := v.known(fmt.Sprintf("audit.noun.%s", kind)); ok {
		return s
	}
	return kind
}

// known are the words of a key that there may be none for.
func (v *view) known(key string) (string, bool) {
	s, ok := v.words[key]
	return s, ok
}
