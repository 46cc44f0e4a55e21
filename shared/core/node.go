package core

import "time"

// Kind is the kind of an upstream.
type Kind string

// The kinds of nodes.
const (
	KindAnthropic Kind = "anthropic"
	KindOpenAI    Kind = "openai"
	KindBedrock   Kind = "bedrock"
	KindAmazonQ   Kind = "amazonq"
)

// Dialect is a wire format of clients or upstreams.
type Dialect string

// The dialects.
const (
	DialectAnthropic       Dialect = "anthropic"
	DialectOpenAIChat      Dialect = "openai-chat"
	DialectOpenAIResponses Dialect = "openai-responses"
	DialectAmazonQ         Dialect = "amazonq"
	DialectBedrockInvoke   Dialect = "bedrock-invoke"
	DialectBedrockConverse Dialect = "bedrock-converse"
)

// Node is one upstream of an account.
type Node struct {
	ID           string            `json:"id"` // decimal, from a counter
	Account      string            `json:"account"`
	Name         string            `json:"name"`
	Kind         Kind              `json:"kind"`
	BaseURL      string            `json:"base_url"`
	Credential   Sealed            `json:"credential,omitempty"`
	Own          bool              `json:"own,omitempty"` // the account set Credential itself and may move it; false: an administrator did, or it is not known
	Weight       int               `json:"weight"`        // tier: the smaller number is preferred
	Models       []string          `json:"models,omitempty"`
	ModelMap     map[string]string `json:"model_map,omitempty"` // name asked for -> name sent
	Limits       Limits            `json:"limits,omitzero"`
	Disabled     bool              `json:"disabled,omitempty"`
	Operator     bool              `json:"operator,omitempty"`    // base URL set by environment: exempt from the address guard
	Wire         string            `json:"wire,omitempty"`        // openai nodes: chat, responses or both; empty: chat
	AuthHeader   string            `json:"auth_header,omitempty"` // header that carries the credential as it is; empty: Authorization: Bearer
	API          string            `json:"api,omitempty"`         // amazonq nodes: q or kiro, the service's two sets of hosts; empty: q. bedrock nodes: messages, invoke or converse; empty: messages
	Region       string            `json:"region,omitempty"`      // of the hosts; empty: amazonq nodes have the profile's, else us-east-1; bedrock nodes that of the base URL
	Profile      string            `json:"profile_arn,omitempty"` // amazonq nodes; empty: the service chooses
	Notes        string            `json:"notes,omitempty"`       // the operator's own
	HealthMethod string            `json:"health_check_method,omitempty"`
	HealthModel  string            `json:"health_check_model,omitempty"`
	CreatedAt    time.Time         `json:"created_at"`
	UpdatedAt    time.Time         `json:"updated_at"`
}

// NodeState is what the gateway learnt of a node from traffic and checks. It is kept apart from Node so that health
// never fights an edit over a document's version.
type NodeState struct {
	Node       string               `json:"node"`
	Account    string               `json:"account"`
	Failed     bool                 `json:"failed,omitempty"`
	FailedAt   time.Time            `json:"failed_at,omitzero"`
	FailStreak int                  `json:"fail_streak,omitempty"`
	LastError  string               `json:"last_error,omitempty"` // short, no secret, no content
	LastErrAt  time.Time            `json:"last_error_at,omitzero"`
	Cooling    map[string]time.Time `json:"cooling,omitempty"` // model asked of the node -> until; "" is every model
	// Degraded tells why the node is used only where nothing better is left, one of the Degraded constants; empty: it is not.
	// DegradedAt is when it became so, or when a trial last found it so.
	Degraded   string    `json:"degraded,omitempty"`
	DegradedAt time.Time `json:"degraded_at,omitzero"`
	// Since is when the condition began that the fields above make, and Reason why; zero and empty where it never changed.
	Since  time.Time `json:"since,omitzero"`
	Reason string    `json:"reason,omitempty"`
	// Blocked tells why the node gets no request until someone acts: its login ended, or the upstream suspended it. A new
	// credential or enabling the node clears it. One of the Blocked constants; empty: it is not.
	Blocked string `json:"blocked,omitempty"`
}

// Reasons why a node is blocked.
const (
	BlockedLogin     = "login_needed" // the refresh token is refused: log in again
	BlockedSuspended = "suspended"    // the upstream suspended the account behind the credential
)

// NodeToken is the access token that a node's credential was exchanged for, shared by all instances. It is kept apart from
// Node because it changes every hour.
type NodeToken struct {
	Node    string    `json:"node"`
	Account string    `json:"account"`
	Origin  string    `json:"origin"`            // hash of the part of the node credential that it comes from: another makes it void
	Access  Sealed    `json:"access,omitempty"`  // empty: none yet
	Refresh Sealed    `json:"refresh,omitempty"` // the latest; empty: the credential's own
	Made    time.Time `json:"made_at,omitzero"`  // when Access was received
	Expires time.Time `json:"expires_at,omitzero"`
	Fence   int64     `json:"fence,omitempty"`   // of the lease under which it was written
	Lost    bool      `json:"lost,omitempty"`    // the token service refuses Refresh: only an edited credential, or an operator's call, helps
	LostBy  string    `json:"lost_by,omitempty"` // hash of the whole credential that was refused
	// Edited is the node's UpdatedAt as its writer knew it: who knows an older node, and another credential, stands back.
	Edited time.Time `json:"edited_at,omitzero"`
}
