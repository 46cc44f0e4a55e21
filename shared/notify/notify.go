// Package notify tells operators what happened: it turns events into notices, keeps them in the store until they are sent,
// and speaks the protocols of the services that people read.
//
// Emit only writes to the store, so that an event survives the end of a function's invocation; Deliver sends, on one
// instance at a time, with retries that the store remembers. A notice may be sent twice (when a process dies between the
// service's answer and the store's), under the same delivery id; it is never lost before it is given up.
//
// The package has more than 1,500 lines because it holds eight protocols side by side; each is small, and they share the
// outbox, the bounds on text and the way failures are told.
package notify

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"sluice/shared/core"
	"sluice/shared/seal"
	"sluice/shared/store"
)

// The kinds of channels.
const (
	KindWebhook  = "webhook"
	KindSlack    = "slack"
	KindDingTalk = "dingtalk"
	KindFeishu   = "feishu" // also Lark
	KindWeCom    = "wecom"
	KindTelegram = "telegram"
	KindEmail    = "email"
	KindSNS      = "sns"

	// The names that Guide A has for WeCom robots.
	KindWeChatWork     = "wechat_work"
	KindWeChatPersonal = "wechat_personal"
)

// Channel is where an account's notifications go.
type Channel struct {
	ID        string      `json:"id"` // "chn-1"
	Account   string      `json:"account"`
	Name      string      `json:"name"`
	Kind      string      `json:"kind"`   // one of Kinds
	Config    core.Sealed `json:"config"` // what ParseConfig made, sealed by Hub.Seal
	Enabled   bool        `json:"enabled"`
	CreatedAt time.Time   `json:"created_at"`
	UpdatedAt time.Time   `json:"updated_at"`
}

// Subscription sends one type of an account's events to one of its channels. A channel has at most one per type.
type Subscription struct {
	ID        string         `json:"id"` // "sub-1"
	Account   string         `json:"account"`
	Channel   string         `json:"channel"` // id
	Event     core.EventType `json:"event"`
	Enabled   bool           `json:"enabled"`
	CreatedAt time.Time      `json:"created_at"`
}

// The kinds of alert rules.
const (
	RuleErrorRate  = "error_rate"  // percent of requests of the window that failed
	RuleLatencyP95 = "latency_p95" // ms until the first byte, of the window's requests
	RuleSpendDay   = "spend_day"   // USD since the day began
	RuleSpendMonth = "spend_month" // USD since the month began
	RuleForecast   = "forecast"    // USD that the month will have cost, at the pace of the last 7 days
	RuleNodeDown   = "node_down"   // minutes that a node has been failed
)

// Rule is a condition of an account that raises an alert. Who evaluates it emits EventAlert and EventAlertEnded.
type Rule struct {
	ID          string    `json:"id"` // "alr-1"
	Account     string    `json:"account"`
	Name        string    `json:"name"`
	Kind        string    `json:"kind"`                   // RuleErrorRate...
	Threshold   float64   `json:"threshold"`              // in the kind's unit
	Window      int       `json:"window,omitempty"`       // minutes; of RuleErrorRate and RuleLatencyP95
	MinRequests int       `json:"min_requests,omitempty"` // fewer in the window say nothing
	Enabled     bool      `json:"enabled"`
	Raised      bool      `json:"raised,omitempty"`
	RaisedAt    time.Time `json:"raised_at,omitzero"`
	CreatedAt   time.Time `json:"created_at"`
}

// Notice is an event on its way to one channel.
type Notice struct {
	ID        string     `json:"id"` // also the delivery id that the receiver sees
	Account   string     `json:"account"`
	Channel   string     `json:"channel"` // id; of the same account, or nothing is sent
	Event     core.Event `json:"event"`
	Attempts  int        `json:"attempts,omitempty"` // that failed
	NextAt    time.Time  `json:"next_at"`            // not sent before
	Error     string     `json:"error,omitempty"`    // of the last attempt
	CreatedAt time.Time  `json:"created_at"`
	Expires   time.Time  `json:"expires"` // the document's; giving up comes much earlier
}

// What became of a notice.
const (
	StatusSent   = "sent"
	StatusFailed = "failed" // given up
)

// Sent is an entry of an account's log. Ids sort the newest first. An entry expires after 30 days.
type Sent struct {
	ID       string     `json:"id"`
	Account  string     `json:"account"`
	Channel  string     `json:"channel"`
	Notice   string     `json:"notice"` // delivery id
	Event    core.Event `json:"event"`  // of type EventTest for a test
	Title    string     `json:"title"`
	Status   string     `json:"status"`          // StatusSent or StatusFailed
	Error    string     `json:"error,omitempty"` // names no address and no secret
	Attempts int        `json:"attempts"`
	At       time.Time  `json:"at"`
	Expires  time.Time  `json:"expires"`
}

// EventTest is the type of what Hub.Test sends. Nobody can subscribe to it.
const EventTest core.EventType = "test"

// Tables are the typed documents of this package.
type Tables struct {
	Channels      *store.Table[Channel]
	Subscriptions *store.Table[Subscription] // found by SubscriptionKey
	Rules         *store.Table[Rule]
	Notices       *store.Table[Notice]
	Log           *store.Table[Sent]
	docs          store.Docs
	now           func() time.Time
}

// NewTables binds the documents. now is the clock for expiry.
func NewTables(docs store.Docs, now func() time.Time) *Tables {
	return &Tables{
		docs: docs, now: now,
		Channels: store.NewTable(docs, store.KindChannel, now, func(c *Channel) store.Meta {
			return store.Meta{ID: c.ID, Account: c.Account}
		}),
		Subscriptions: store.NewTable(docs, store.KindSubscription, now, func(s *Subscription) store.Meta {
			return store.Meta{ID: s.ID, Account: s.Account, Unique: []string{SubscriptionKey(s.Channel, s.Event)}}
		}),
		Rules: store.NewTable(docs, store.KindAlertRule, now, func(r *Rule) store.Meta {
			return store.Meta{ID: r.ID, Account: r.Account}
		}),
		Notices: store.NewTable(docs, store.KindNotice, now, func(n *Notice) store.Meta {
			return store.Meta{ID: n.ID, Account: n.Account, Expires: n.Expires}
		}),
		Log: store.NewTable(docs, store.KindNoticeLog, now, func(s *Sent) store.Meta {
			return store.Meta{ID: s.ID, Account: s.Account, Expires: s.Expires}
		}),
	}
}

// SubscriptionKey is the look-up string of a subscription: creating a second one of the same channel and type is ErrExists.
func SubscriptionKey(channel string, event core.EventType) string {
	return channel + "/" + string(event)
}

// NextID returns the next id of a kind: "chn-1" of store.KindChannel, "sub-1" of store.KindSubscription, "alr-1" of
// store.KindAlertRule.
func (t *Tables) NextID(ctx context.Context, kind string) (string, error) {
	prefix := ""
	switch kind {
	case store.KindChannel:
		prefix = "chn-"
	case store.KindSubscription:
		prefix = "sub-"
	case store.KindAlertRule:
		prefix = "alr-"
	default:
		return "", fmt.Errorf("documents of kind %q are not numbered here", kind)
	}
	n, err := t.docs.Next(ctx, kind)
	return prefix + strconv.FormatInt(n, 10), err
}

// History returns up to limit entries of an account's log, newest first; after is the id of the last one of the page
// before, "" for the first page.
func (t *Tables) History(ctx context.Context, account, after string, limit int) ([]Sent, error) {
	docs, err := t.docs.List(ctx, store.KindNoticeLog, account, after, limit)
	if err != nil {
		return nil, err
	}
	out := make([]Sent, 0, len(docs))
	for i := range docs {
		var s Sent
		if err := json.Unmarshal(docs[i].Body, &s); err != nil {
			return nil, fmt.Errorf("log of notifications, entry %s, is not readable: %w", docs[i].ID, err)
		}
		if t.now().Before(s.Expires) {
			out = append(out, s)
		}
	}
	return out, nil
}

// AWSCredentials are what signs calls of Amazon SNS.
type AWSCredentials struct {
	AccessKeyID                   string
	SecretAccessKey, SessionToken core.Secret
}

// Options are what a Hub needs.
type Options struct {
	Docs   store.Docs
	Leases store.Leases
	Box    *seal.Box
	// HTTP must refuse addresses that are not public; redirects are never followed, whatever it says. nil: nothing is sent
	// over HTTP.
	HTTP *http.Client
	// Dial must refuse addresses that are not public; for SMTP. nil: no mail is sent.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Roots are the certificate authorities of mail servers. nil: the system's.
	Roots *x509.CertPool
	// AWS returns the process's own credentials, for SNS channels of administrators' accounts that have none in their
	// config. nil: there are none.
	AWS func(ctx context.Context) (AWSCredentials, error)
	// AdminAccounts lists the accounts that hear of the installation's own events. nil: nobody does.
	AdminAccounts func(ctx context.Context) ([]string, error)
	Now           func() time.Time
	Log           *slog.Logger
	PublicURL     string // of the gateway, named in messages; empty: not named

	TelegramURL string // for tests; empty: https://api.telegram.org
	SNSURL      string // for tests; empty: the region's endpoint
}

// Hub notes events and sends them. It is safe for concurrent use.
type Hub struct {
	*Tables
	o       Options
	client  *http.Client
	seen    *store.Table[mark]
	rates   *store.Table[rate]
	holder  string
	running sync.Mutex // of Deliver
	from    string     // where the next Deliver goes on in the outbox; under running

	mu     sync.Mutex
	told   map[string]time.Time // what need not be told again -> until
	subs   map[string]*audience // by account
	rooms  map[string]*room     // by account
	admins *audience
}

// New makes a hub. Docs, Leases, Box, Now and Log must be set.
func New(o Options) *Hub {
	h := &Hub{
		Tables: NewTables(o.Docs, o.Now), o: o, holder: randomID(),
		told: make(map[string]time.Time), subs: make(map[string]*audience), rooms: make(map[string]*room), admins: new(audience),
		seen: store.NewTable(o.Docs, store.KindNoticeSeen, o.Now, func(m *mark) store.Meta {
			return store.Meta{ID: m.ID, Account: m.Account, Expires: m.Expires}
		}),
		rates: store.NewTable(o.Docs, store.KindNoticeSeen, o.Now, func(r *rate) store.Meta {
			return store.Meta{ID: r.ID, Account: r.Account, Expires: r.Expires}
		}),
	}
	if o.HTTP != nil {
		h.client = &http.Client{
			Transport: o.HTTP.Transport,
			// a redirect could lead anywhere, and would carry the message along
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return h
}

func sealOwner(channel string) string { return "channel/" + channel }

// Seal seals what ParseConfig returned for the channel with that id; it opens for no other channel.
func (h *Hub) Seal(channel string, config json.RawMessage) core.Sealed {
	return h.o.Box.Seal(sealOwner(channel), core.NewSecret(string(config)))
}

// Open returns the channel's config in the clear. It holds secrets: nobody may be shown it.
func (h *Hub) Open(c Channel) (json.RawMessage, error) {
	s, err := h.o.Box.Open(sealOwner(c.ID), c.Config)
	if err != nil {
		return nil, fmt.Errorf("settings of channel %s: %w", c.ID, err)
	}
	if s.IsZero() {
		return nil, errors.New("the channel has no settings")
	}
	return json.RawMessage(s.Reveal()), nil
}

func randomID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails
	return hex.EncodeToString(b[:])
}

// hashID is an id that is the same for the same parts.
func hashID(parts ...string) string {
	text, _ := json.Marshal(parts) // strings always encode
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}
