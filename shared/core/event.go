package core

import "time"

// EventType names what happened, for notifications.
type EventType string

// The catalogue of events.
const (
	EventNodeStatus      EventType = "node.status_changed"
	EventNodeSwitched    EventType = "node.switched"
	EventNodeFailed      EventType = "node.failed"
	EventNodeRecovered   EventType = "node.recovered"
	EventNodeAdded       EventType = "node.added"
	EventNodeDeleted     EventType = "node.deleted"
	EventNodeUpdated     EventType = "node.updated"
	EventNodeEnabled     EventType = "node.enabled"
	EventNodeDisabled    EventType = "node.disabled"
	EventNodeCheckFailed EventType = "node.health_check_failed"
	EventRequestFailed   EventType = "request.failed"
	EventUpstreamError   EventType = "request.upstream_error"
	EventProxyError      EventType = "request.proxy_error"
	EventQuotaWarning    EventType = "account.quota_warning"
	EventAuthFailed      EventType = "account.auth_failed"
	EventAlert           EventType = "alert.raised" // a rule of the account
	EventAlertEnded      EventType = "alert.ended"
	EventSystemError     EventType = "system.error" // told to subscriptions of administrators' accounts
)

// Event is something that an operator may want to hear of. It holds no secret, no content and no base URL.
type Event struct {
	Type    EventType `json:"type"`
	Account string    `json:"account"`        // whose it is; empty: of the installation
	Subject string    `json:"subject"`        // what it is about, "node 5": the same type and subject is told once in 5 minutes
	Node    string    `json:"node,omitempty"` // id
	Name    string    `json:"name,omitempty"` // of the node or key, as its owner named it: hostile text
	Text    string    `json:"text"`           // one or two sentences in English
	At      time.Time `json:"at"`
	// Once makes the event's notices the same whoever emits it, and however often: an id of what happened. Empty: every Emit
	// is another one.
	Once string `json:"once,omitempty"`
}
