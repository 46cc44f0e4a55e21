package adminapi

import (
	"context"

	"sluice/shared/core"
	"sluice/shared/web"
)

// Events hears of edits that were made. It is safe for concurrent use.
type Events interface {
	// Emit notes an event; nothing is sent by it.
	Emit(ctx context.Context, e core.Event) error
}

// emit tells of what was done to a node, after it is stored. It is no reason for the call to fail.
func (c *call) emit(t core.EventType, n *core.Node, text string) {
	c.tell(core.Event{Type: t, Account: n.Account, Subject: "node " + n.ID, Node: n.ID, Name: n.Name, Text: text})
}

func (c *call) tell(e core.Event) {
	if c.a.o.Events == nil {
		return
	}
	e.At = c.a.o.Now().UTC()
	if err := c.a.o.Events.Emit(c.r.Context(), e); err != nil {
		c.a.o.Log.Warn("nobody will be notified of an edit", "request_id", web.FromContext(c.r.Context()).ID, "event", string(e.Type),
			"account", e.Account, "node_id", e.Node, "error", err)
	}
}

// edited tells of an update of a node.
func (c *call) edited(before, now *core.Node) {
	switch {
	case now.Disabled && !before.Disabled:
		c.emit(core.EventNodeDisabled, now, "The node was disabled and gets no requests.")
	case before.Disabled && !now.Disabled:
		c.emit(core.EventNodeEnabled, now, "The node was enabled.")
	default:
		c.emit(core.EventNodeUpdated, now, "The node's settings were edited.")
	}
}

func (c *call) added(n *core.Node) { c.emit(core.EventNodeAdded, n, "The node was added.") }
