package store

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"

	"sluice/shared/core"
)

// Tables are the typed documents of the gateway.
type Tables struct {
	Accounts  *Table[core.Account]
	Keys      *Table[core.Key] // looked up by each hash
	Nodes     *Table[core.Node]
	States    *Table[core.NodeState]
	Tokens    *Table[core.NodeToken]
	Sessions  *Table[Session]
	Resources *Table[Resource]
	Responses *Table[Response]
	Metas     *Table[MetaValue]
	Checks    *Table[core.NodeCheck] // by the node's id
	Days      *Table[core.HealthDay] // by DayID
	Shares    *Table[core.Share]     // looked up by Hash
	Prices    *Table[PriceTable]
	docs      Docs
}

// Session is a browser login. ID is a hash of the cookie.
type Session struct {
	ID      string `json:"id"`
	Account string `json:"account"`       // it was opened for
	Key     string `json:"key,omitempty"` // id of the key it was opened with; it ends with that key
	// KeyHashes are that key's: the session ends when the key gets a new credential.
	KeyHashes []string  `json:"key_hashes,omitempty"`
	Operator  string    `json:"operator,omitempty"`      // hash of the ADMIN_API_KEY it was opened with; it ends when that changes
	Password  string    `json:"password_hash,omitempty"` // of the login it was opened with; it ends when that changes
	Created   time.Time `json:"created"`
	Expires   time.Time `json:"expires"`
}

// Resource remembers which node made a batch or a file, so that later calls go there.
type Resource struct {
	ID      string    `json:"id"` // account + "/" + upstream's id
	Account string    `json:"account"`
	Node    string    `json:"node"`
	Expires time.Time `json:"expires"`
	// Of a batch; see BatchFetched.
	FetchedAt time.Time `json:"fetched_at,omitzero"` // when its results were first read to their end
	Settled   bool      `json:"settled,omitempty"`   // what it used is recorded
}

// Response is a conversation kept for a Responses client: its items and last answer, compressed and sealed.
type Response struct {
	ID      string      `json:"id"` // account + "/" + the response's id
	Account string      `json:"account"`
	Data    core.Sealed `json:"data"`
	Expires time.Time   `json:"expires"`
}

// ResponseOwner is what a Response's data is sealed for.
func ResponseOwner(id string) string { return "response/" + id }

// MetaValue is a named value of the installation itself.
type MetaValue struct {
	ID   string          `json:"id"`
	Data json.RawMessage `json:"data"`
}

// PriceTable is a list of prices that differ from the built-in ones.
type PriceTable struct {
	ID      string            `json:"id"`
	Account string            `json:"account,omitempty"` // that it holds for; empty: all
	Table   string            `json:"table"`             // as pricing.ReadTable reads it
	Names   map[string]string `json:"names,omitempty"`   // of models, for people
	Updated time.Time         `json:"updated"`
}

// NewTables binds the documents. now is the clock for expiry.
func NewTables(docs Docs, now func() time.Time) *Tables {
	return &Tables{
		docs:     docs,
		Accounts: NewTable(docs, KindAccount, now, func(a *core.Account) Meta { return Meta{ID: a.ID, Account: a.ID} }),
		Keys: NewTable(docs, KindKey, now, func(k *core.Key) Meta {
			return Meta{ID: k.ID, Account: k.Account, Unique: k.Hashes}
		}),
		Nodes:  NewTable(docs, KindNode, now, func(n *core.Node) Meta { return Meta{ID: n.ID, Account: n.Account} }),
		States: NewTable(docs, KindNodeState, now, func(s *core.NodeState) Meta { return Meta{ID: s.Node, Account: s.Account} }),
		Tokens: NewTable(docs, KindNodeToken, now, func(t *core.NodeToken) Meta { return Meta{ID: t.Node, Account: t.Account} }),
		Sessions: NewTable(docs, KindSession, now, func(s *Session) Meta {
			return Meta{ID: s.ID, Account: s.Account, Expires: s.Expires}
		}),
		Resources: NewTable(docs, KindResource, now, func(r *Resource) Meta {
			return Meta{ID: r.ID, Account: r.Account, Expires: r.Expires}
		}),
		Responses: NewTable(docs, KindResponse, now, func(r *Response) Meta {
			return Meta{ID: r.ID, Account: r.Account, Expires: r.Expires}
		}),
		Checks: NewTable(docs, KindNodeCheck, now, func(c *core.NodeCheck) Meta { return Meta{ID: c.Node, Account: c.Account} }),
		Days: NewTable(docs, KindHealthDay, now, func(d *core.HealthDay) Meta {
			return Meta{ID: DayID(d.Node, d.Day), Account: d.Account, Expires: dayEnds(d.Day)}
		}),
		Shares: NewTable(docs, KindShare, now, func(s *core.Share) Meta {
			return Meta{ID: s.ID, Account: s.Account, Unique: []string{s.Hash}}
		}),
		Prices: NewTable(docs, KindPrices, now, func(p *PriceTable) Meta { return Meta{ID: p.ID, Account: p.Account} }),
		Metas:  NewTable(docs, KindMeta, now, func(m *MetaValue) Meta { return Meta{ID: m.ID} }),
	}
}

// HistoryKept is how long a node's history is kept.
const HistoryKept = 30 * 24 * time.Hour

// DayID is the id of a node's history of a day, 2006-01-02: the days of a node follow each other in a listing.
func DayID(node, day string) string { return node + "/" + day }

// dayEnds is when a day's history is old enough to go.
func dayEnds(day string) time.Time {
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return time.Time{}
	}
	return t.Add(24*time.Hour + HistoryKept)
}

// NextID returns the next decimal id of a kind. Keys begin at 2: id 1 is the published admin credential's, whether or not
// it exists.
func (t *Tables) NextID(ctx context.Context, kind string) (string, error) {
	n, err := t.docs.Next(ctx, kind)
	if kind == KindKey {
		n++
	}
	return strconv.FormatInt(n, 10), err
}

// SortNodes orders nodes as they are shown and preferred: weight, then age, then id.
func SortNodes(ns []core.Node) {
	slices.SortFunc(ns, func(a, b core.Node) int {
		if a.Weight != b.Weight {
			return a.Weight - b.Weight
		}
		if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
			return c
		}
		return CompareIDs(a.ID, b.ID)
	})
}

// CompareIDs orders decimal ids by their number.
func CompareIDs(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// ReadMeta decodes the named value into v; ErrNotFound when it is not set.
func (t *Tables) ReadMeta(ctx context.Context, id string, v any) error {
	r, err := t.Metas.Get(ctx, id)
	if err != nil {
		return err
	}
	return json.Unmarshal(r.Value.Data, v)
}

// CreateMeta sets the named value; ErrExists when it is set already.
func (t *Tables) CreateMeta(ctx context.Context, id string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = t.Metas.Create(ctx, MetaValue{ID: id, Data: data})
	return err
}

// WriteMeta sets the named value, whatever it was.
func (t *Tables) WriteMeta(ctx context.Context, id string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = t.Metas.Upsert(ctx, id, func(m *MetaValue) error {
		m.ID, m.Data = id, data
		return nil
	})
	return err
}

// Missing reports whether err is ErrNotFound.
func Missing(err error) bool { return errors.Is(err, ErrNotFound) }
