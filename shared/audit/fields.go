package audit

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"sluice/shared/core"
	"sluice/shared/store"
)

// care is how a field of a document is shown.
type care uint8

const (
	stranger care = iota // not in the table: only that it changed, as a fingerprint, so that no new field gives a secret away
	plain
	secret  // a fingerprint of what it hides
	address // without user, password and query
	first   // the fingerprint of the first of a list of hashes: of a key's credentials, the current one
	lines   // a text as the list of its lines
	rows    // the list that a document of rows has
	silent  // not at all: it follows from the rest
)

// fieldsOf says how the fields of a kind's documents are shown. Kinds that are not here show fingerprints only.
func fieldsOf(kind string) map[string]care {
	switch kind {
	case store.KindAccount:
		return map[string]care{"id": silent, "name": plain, "admin": plain, "password_hash": secret, "active_node": plain, "model_map": plain, "proxy_key": plain,
			"limits": plain, "retries": plain, "fail_limit": plain, "health_interval_sec": plain, "response_days": plain, "capture": plain, "created_at": silent, "updated_at": silent}
	case store.KindKey:
		return map[string]care{"id": silent, "account": silent, "name": plain, "description": plain, "prefix": plain, "hashes": first, "scopes": plain, "limits": plain,
			"models": plain, "default": plain, "revoked": plain, "expires_at": plain, "networks": plain, "retiring": silent, "created_at": silent, "updated_at": silent}
	case store.KindNode:
		return map[string]care{"id": silent, "account": silent, "name": plain, "kind": plain, "base_url": address, "credential": secret, "own": plain, "weight": plain,
			"models": plain, "model_map": plain, "limits": plain, "disabled": plain, "operator": plain, "wire": plain, "auth_header": plain, "api": plain, "region": plain,
			"profile_arn": plain, "notes": plain, "health_check_method": plain, "health_check_model": plain, "created_at": silent, "updated_at": silent}
	case store.KindShare:
		return map[string]care{"id": silent, "account": silent, "hash": silent, "token": secret, "created_by": silent, "created_at": silent, "expire_at": plain,
			"revoked": plain, "revoked_at": plain}
	case store.KindChannel:
		return map[string]care{"id": silent, "account": silent, "name": plain, "kind": plain, "config": secret, "enabled": plain, "created_at": silent, "updated_at": silent}
	case store.KindSubscription:
		return map[string]care{"id": silent, "account": silent, "channel": plain, "event": plain, "enabled": plain, "created_at": silent}
	case store.KindAlertRule:
		return map[string]care{"id": silent, "account": silent, "name": plain, "kind": plain, "threshold": plain, "window": plain, "min_requests": plain,
			"enabled": plain, "raised": silent, "raised_at": silent, "created_at": silent}
	case store.KindPrices:
		return map[string]care{"id": silent, "account": silent, "table": lines, "names": plain, "updated": silent}
	case store.KindMeta: // of which the log has store.MetaCompat alone
		return map[string]care{"id": silent, "data": rows}
	}
	return nil
}

// shownAs is what a field is called where a fingerprint stands in it.
func shownAs(field string) string {
	switch field {
	case "hashes":
		return "credential"
	case "password_hash":
		return "password"
	case "data":
		return "rows"
	}
	return field
}

// fingerprint stands for a secret: it tells whether two are the same, and nothing else, as the hash is keyed.
func (l *Log) fingerprint(s string) json.RawMessage {
	return short(l.o.Hash(s))
}

func short(hash string) json.RawMessage {
	return encoded("fingerprint " + hash[:min(8, len(hash))])
}

// fields are a document's fields as entries show them; nil for no document.
func (l *Log) fields(n name, body []byte) map[string]json.RawMessage {
	var raw map[string]json.RawMessage
	if body == nil || json.Unmarshal(body, &raw) != nil {
		return nil
	}
	known := fieldsOf(n.kind)
	out := make(map[string]json.RawMessage, len(raw))
	for f, v := range raw {
		if v := l.shown(n, known[f], v); v != nil {
			out[shownAs(f)] = v
		}
	}
	return out
}

// shown is a value as entries show it; nil: not at all.
func (l *Log) shown(n name, c care, v json.RawMessage) json.RawMessage {
	var s string
	switch c {
	case silent:
		return nil
	case plain:
		return v
	case first:
		var list []string
		if json.Unmarshal(v, &list) != nil || len(list) == 0 {
			return nil
		}
		return short(list[0]) // as the fingerprint of the credential itself
	case rows:
		var d struct {
			Rows json.RawMessage `json:"rows"`
		}
		if json.Unmarshal(v, &d) != nil {
			return nil
		}
		return d.Rows
	}
	if json.Unmarshal(v, &s) != nil {
		return l.fingerprint(string(v))
	}
	if s == "" {
		return nil
	}
	switch c {
	case address:
		return bareURL(s)
	case lines:
		return encoded(strings.Split(strings.TrimSpace(s), "\n"))
	}
	if clear, err := l.o.Open(n.kind+"/"+n.id, core.Sealed(s)); c == secret && err == nil {
		s = clear.Reveal() // sealed twice it differs, though it is the same
	}
	return l.fingerprint(s)
}

func bareURL(s string) json.RawMessage {
	u, err := url.Parse(s)
	if err != nil {
		return json.RawMessage(`"unreadable"`)
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return encoded(u.String())
}

func encoded(v any) json.RawMessage {
	out, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return out
}

// differing takes out what is the same on both sides: of long lists, such as prices, the elements that both have.
func differing(before, after map[string]json.RawMessage) {
	for f, v := range before {
		w, ok := after[f]
		switch {
		case ok && bytes.Equal(v, w):
			delete(before, f)
			delete(after, f)
		case !ok && len(v) > maxValue: // it, or all of the document, is gone
			before[f] = without(v, nil)
		case ok && (len(v) > maxValue/2 || len(w) > maxValue/2):
			before[f], after[f] = without(v, w), without(w, v)
		}
	}
	for f, w := range after {
		if _, ok := before[f]; !ok && len(w) > maxValue {
			after[f] = without(w, nil)
		}
	}
}

// without is a list's elements that the other has not, as many as fit; what is no list stays as it is.
func without(list, other json.RawMessage) json.RawMessage {
	var have, no []json.RawMessage
	if json.Unmarshal(list, &have) != nil || have == nil {
		return list
	}
	_ = json.Unmarshal(other, &no) // no list has no elements
	drop := make(map[string]bool, len(no))
	for _, v := range no {
		drop[string(v)] = true
	}
	out, size, more := []json.RawMessage{}, 0, 0
	for _, v := range have {
		switch {
		case drop[string(v)]:
		case size+len(v) > maxValue-100:
			more++
		default:
			out, size = append(out, v), size+len(v)+1
		}
	}
	if more > 0 {
		out = append(out, encoded(strconv.Itoa(more)+" more"))
	}
	return encoded(out)
}

// maxValue bounds the value of one field.
const maxValue = 2 << 10

// object encodes fields in order, within MaxFields. What is too long gives way to its size and fingerprint.
func (l *Log) object(fields map[string]json.RawMessage) json.RawMessage {
	if len(fields) == 0 {
		return nil
	}
	b := []byte{'{'}
	left := len(fields)
	for _, f := range slices.Sorted(maps.Keys(fields)) {
		v := fields[f]
		if len(v) > maxValue {
			v = l.fingerprint(string(v))
		}
		name, err := json.Marshal(Clip(f))
		if err != nil || len(b)+len(name)+len(v) > MaxFields-64 {
			break
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, name...), ':'), v...)
		left--
	}
	if left > 0 {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(b, `"...":"more fields than fit"`...)
	}
	return append(b, '}')
}

// textOf reads a field that is text.
func textOf(body []byte, field string) string {
	var raw map[string]json.RawMessage
	var s string
	if json.Unmarshal(body, &raw) != nil || json.Unmarshal(raw[field], &s) != nil {
		return ""
	}
	return s
}

// Describe fills an entry with what a call did: the object, whose it is, what changed. noun is the kind that the call is
// about. The one document of that kind that changed is the object, else, where the call succeeded (found), the one that it
// read; who was refused is told nothing of it. Object and Account of e stay where the trail knows of none.
func (l *Log) Describe(e *Entry, t *Trail, noun string, found bool) {
	t.mu.Lock()
	changes, more := t.list(), t.more
	seen, ok := t.seen[noun]
	t.mu.Unlock()
	main := -1
	for i := range changes {
		if changes[i].noun() == noun {
			if main >= 0 {
				main = -1
				break
			}
			main = i
		}
	}
	switch {
	case main >= 0:
		c := &changes[main]
		if e.Account = c.account; c.kind != store.KindMeta { // of whose rows the call names one
			e.Object = Object{c.kind, c.id, textOf(c.latest(), "name")}
		}
	case ok && found && !slices.ContainsFunc(changes, func(c change) bool { return c.noun() == noun }):
		e.Object = Object{noun, seen.ID, textOf(seen.Body, "name")}
		e.Account = seen.Account
	case len(changes) > 0:
		e.Account = common(changes)
	}
	l.describe(e, changes, main)
	e.More += more
	if len(e.Also) > MaxAlso {
		e.More += len(e.Also) - MaxAlso
		e.Also = e.Also[:MaxAlso]
	}
}

// describe writes what changed. Fields of the object stand as they are, those of other documents below their name.
func (l *Log) describe(e *Entry, changes []change, main int) {
	before, after := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	for i := range changes {
		c := &changes[i]
		b, a := l.fields(c.name, c.before), l.fields(c.name, c.after)
		differing(b, a)
		if i == main {
			maps.Copy(before, b)
			maps.Copy(after, a)
			continue
		}
		at := c.kind + "/" + c.id
		e.Also = append(e.Also, at)
		if v := l.object(b); v != nil {
			before[at] = v
		}
		if v := l.object(a); v != nil {
			after[at] = v
		}
	}
	e.Before, e.After = l.object(before), l.object(after)
}

// noun is what a document is called in entries.
func (c *change) noun() string {
	if c.kind == store.KindMeta {
		return "compat"
	}
	return c.kind
}

func (c *change) latest() []byte {
	if c.after != nil {
		return c.after
	}
	return c.before
}

// common is the account of all changes, empty when they are of several.
func common(changes []change) string {
	account := changes[0].account
	for _, c := range changes {
		if c.account != account {
			return ""
		}
	}
	return account
}

// MatchesAction reports whether an action is the one asked for: "node.update", or "node" for all that is done to nodes.
func MatchesAction(action, asked string) bool {
	return action == asked || strings.HasPrefix(action, strings.TrimSuffix(asked, ".")+".")
}
