// Package audit keeps the log of who changed what: one entry for every call of the admin API that changes something, for
// every login, and for what a start takes over from the environment.
//
// The entries of an installation form one chain over all its instances: each has the next number and holds the hash of the
// one before, so that none can be changed, left out or put in between without every later hash telling. They are documents
// of store.KindAudit; the number is the id, and creating the document is the compare-and-swap that gives it away. Whoever
// can write the store can also write the whole chain anew: a head's hash that was noted elsewhere tells of that, too.
//
// Watch and Trail find before and after by themselves, under the handlers: a handler need not know of the log.
package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The kinds of actors.
const (
	ActorKey         = "key"         // an API key, or ADMIN_API_KEY
	ActorSession     = "session"     // a browser that signed in with a key
	ActorPassword    = "password"    // a browser that signed in with the account's password
	ActorControl     = "control"     // a command on the gateway's own machine
	ActorEnvironment = "environment" // the process itself at its start, for what its variables say
	ActorAnonymous   = "anonymous"   // nobody known: a login that failed
	ActorOperator    = "operator"    // what accounts see of an actor who is not their own
)

// Results of what an entry tells of.
const (
	ResultOK      = "ok"
	ResultRefused = "refused" // Entry.Code says why; what Before and After tell of was changed all the same
)

// Actor is who did it. It never holds a credential.
type Actor struct {
	Kind    string `json:"kind"`
	Key     string `json:"key_id,omitempty"`
	Prefix  string `json:"key_prefix,omitempty"` // of the key, 4 characters
	Account string `json:"account_id,omitempty"`
	Name    string `json:"name,omitempty"` // of the key or account: hostile text
}

// Object is what it was done to.
type Object struct {
	Kind string `json:"kind"`
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"` // hostile text
}

// Entry is an entry of the log.
type Entry struct {
	Seq     int64           `json:"seq"` // 1, 2, 3...
	At      time.Time       `json:"at"`  // never before the entry before; in ms
	Actor   Actor           `json:"actor"`
	Address string          `json:"address,omitempty"`
	Agent   string          `json:"user_agent,omitempty"`
	Request string          `json:"request_id,omitempty"`
	Action  string          `json:"action"` // "node.update"
	Object  Object          `json:"object"`
	Account string          `json:"account_id,omitempty"` // whose it is; empty: the installation's
	Before  json.RawMessage `json:"before,omitempty"`     // object of the changed fields, at most MaxFields bytes
	After   json.RawMessage `json:"after,omitempty"`
	Also    []string        `json:"also,omitempty"` // other documents that changed, "key/5"; at most MaxAlso
	More    int             `json:"more,omitempty"` // and how many beyond these
	Result  string          `json:"result"`
	Code    string          `json:"code,omitempty"` // of a refusal
	// Muted says that more of the kind follow within the minute that get no entry, Unrecorded how many had none before this one.
	Muted      bool   `json:"muted,omitempty"`
	Unrecorded int    `json:"unrecorded,omitempty"`
	Prev       string `json:"prev"` // hash of the entry before; empty: there was none
	Hash       string `json:"hash,omitempty"`
}

// What bounds an entry: together far below the 400 KB that DynamoDB takes.
const (
	MaxFields = 8 << 10 // bytes of Before, and of After
	MaxAlso   = 50
	maxText   = 200 // bytes of a name, an agent, an id
)

// tailSize is the length of the hash member that ends an entry's bytes.
const tailSize = len(`,"hash":"`) + 2*sha256.Size + len(`"}`)

// Errors of a chain; they are wrapped with the number of the entry.
var (
	errForm  = errors.New("is no entry of an audit log")
	errHash  = errors.New("its hash does not fit what it says: it was changed")
	errOrder = errors.New("is not where its number says")
	errGap   = errors.New("an entry before it is missing")
	errChain = errors.New("it does not follow the entry before it: one of the two was replaced")
	errClock = errors.New("its time is before that of the entry before it")
)

// seal encodes an entry and closes it with its hash: SHA-256 over the bytes of the object without the member "hash", which
// is always the last.
func seal(e *Entry) ([]byte, error) {
	e.Hash = ""
	body, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode an audit entry: %w", err)
	}
	e.Hash = digest(body)
	return append(body[:len(body)-1], `,"hash":"`+e.Hash+`"}`...), nil
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Parse reads an entry's bytes and checks its hash.
func Parse(line []byte) (Entry, error) {
	var e Entry
	cut := len(line) - tailSize
	if cut < 2 || !bytes.HasPrefix(line[cut:], []byte(`,"hash":"`)) || !bytes.HasSuffix(line, []byte(`"}`)) {
		return e, errForm
	}
	if err := json.Unmarshal(line, &e); err != nil || e.Seq < 1 {
		return Entry{}, errForm
	}
	said := string(line[cut+len(`,"hash":"`) : len(line)-len(`"}`)])
	whole := append(bytes.Clone(line[:cut]), '}')
	if e.Hash != said || digest(whole) != said {
		return e, errHash
	}
	return e, nil
}

// id is the document's id: padded, so that ids order as numbers do.
func id(seq int64) string { return fmt.Sprintf("%019d", seq) }

func seqOf(id string) int64 {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || len(id) != 19 {
		return 0
	}
	return n
}

// Clip makes text of elsewhere fit for an entry: printable, valid UTF-8, at most 200 bytes.
func Clip(s string) string {
	if len(s) > 4*maxText {
		s = s[:4*maxText]
	}
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	for len(s) > maxText {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}

// clip bounds all texts of an entry.
func (e *Entry) clip() {
	for _, s := range []*string{&e.Actor.Kind, &e.Actor.Key, &e.Actor.Prefix, &e.Actor.Account, &e.Actor.Name, &e.Address, &e.Agent, &e.Request, &e.Action,
		&e.Object.Kind, &e.Object.ID, &e.Object.Name, &e.Account, &e.Code} {
		*s = Clip(*s)
	}
	if len(e.Also) > MaxAlso {
		e.More += len(e.Also) - MaxAlso
		e.Also = e.Also[:MaxAlso]
	}
}

// Plain encodes an entry that was changed for a reader: what it then says of hashes is of no use.
func (e *Entry) Plain() ([]byte, error) { return json.Marshal(e) }
