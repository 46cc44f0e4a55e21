package core

import "time"

// Condition is what a node is in, in one word.
type Condition string

// The conditions of a node. Beside these a blocked node's is why it is blocked.
const (
	Online   Condition = "online"
	Degraded Condition = "degraded"  // too slow, or too many failures: used where nothing better is left
	Cooling  Condition = "cooling"   // its upstream's limit is reached for a model, or for all
	Failed   Condition = "failed"    // gets no requests
	HalfOpen Condition = "half_open" // failed, and the next request is its trial
	Disabled Condition = "disabled"  // by its owner
)

// Reasons why a node is degraded.
const (
	DegradedSlow   = "slow"
	DegradedErrors = "errors"
)

// How a node was checked.
const (
	CheckAPI   = "api"   // a message of one token
	CheckHead  = "head"  // any answer below 500
	CheckCLI   = "cli"   // the real Claude CLI
	CheckProxy = "proxy" // a client's request
)

// Why a node was checked.
const (
	SourceProbe   = "recovery"   // it had failed
	SourceSweep   = "scheduled"  // all are, from time to time
	SourceWarmup  = "warmup"     // before it comes back
	SourceManual  = "manual"     // someone asked for it
	SourceTraffic = "proxy_fail" // its condition changed while it served clients
)

// HealthCheck is one look at a node, or one change of its condition.
type HealthCheck struct {
	At        time.Time `json:"t"`
	OK        bool      `json:"ok,omitempty"`
	MS        int64     `json:"ms,omitempty"`  // until the answer
	Error     string    `json:"err,omitempty"` // short, no secret, no address
	Method    string    `json:"m,omitempty"`   // one of the Check constants
	Source    string    `json:"s,omitempty"`   // one of the Source constants
	Condition Condition `json:"c,omitempty"`   // of the node after it
}

// NodeCheck is what was last seen and told of a node. It is kept apart from NodeState because a check that changes nothing
// must not make every instance read the account again.
type NodeCheck struct {
	Node    string      `json:"node"`
	Account string      `json:"account"`
	Last    HealthCheck `json:"last,omitzero"`    // zero: never checked
	Sampled time.Time   `json:"sampled,omitzero"` // when the history last got an entry
	// Told is the condition that history and subscribers know, and Since when it began. Empty: online.
	Told  Condition `json:"told,omitempty"`
	Since time.Time `json:"since,omitzero"`
}

// HealthDay is a node's history of one day (UTC), oldest first, at most MaxDayChecks.
type HealthDay struct {
	Node    string        `json:"node"`
	Account string        `json:"account"`
	Day     string        `json:"day"` // 2006-01-02
	Checks  []HealthCheck `json:"checks"`
}

// MaxDayChecks bounds a day's entries: a sample each 5 minutes, and as many changes. Beyond it the oldest of the day go.
const MaxDayChecks = 400

// Share is a link to an account's monitor page for people without a login.
type Share struct {
	ID        string    `json:"id"`
	Account   string    `json:"account"`
	Hash      string    `json:"hash"`  // of the token
	Token     Sealed    `json:"token"` // to show the link again to its owner
	CreatedBy string    `json:"created_by,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	ExpireAt  time.Time `json:"expire_at,omitzero"` // zero: never
	Revoked   bool      `json:"revoked,omitempty"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
}
