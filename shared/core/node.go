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
)

// Node is one upstream of an account.
type Node struct {
	ID           string            `json:"id"` // decimal, from a counter
	Account      string            `json:"account"`
	Name         string            `json:"name"`
	Kind         Kind              `json:"kind"`
	BaseURL      string            `json:"base_url"`
	Credential   Sealed            `json:"credential,omitempty"`
	Weight       int               `json:"weight"` // tier: the smaller number is preferred
	Models       []string          `json:"models,omitempty"`
	ModelMap     map[string]string `json:"model_map,omitempty"` // name asked for -> name sent
	Limits       Limits            `json:"limits,omitzero"`
	Disabled     bool              `json:"disabled,omitempty"`
	Operator     bool              `json:"operator,omitempty"`    // base URL set by environment: exempt from the address guard
	Wire         string            `json:"wire,omitempty"`        // openai nodes: chat, responses or both; empty: chat
	AuthHeader   string            `json:"auth_header,omitempty"` // header that carries the credential as it is; empty: Authorization: Bearer
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
}
