package adminapi

import (
	"encoding/json"
	"strings"

	"sluice/shared/audit"
	"sluice/shared/store"
)

// hideOthers makes an entry what an account may see of it.
func hideOthers(e *audit.Entry, account string) {
	if e.Actor.Account != account {
		e.Actor = audit.Actor{Kind: audit.ActorOperator}
		e.Address, e.Agent, e.Request = "", "", ""
	}
	e.Before, e.After = hideCapture(e.Before), hideCapture(e.After)
	e.Prev, e.Hash = "", "" // they are of what was hidden
}

// hideCapture leaves of an account's settings of body capture what GET /admin/api/accounts tells that account: whether it is on,
// and until when. The rest, such as patterns of what is not kept, is the operator's.
func hideCapture(fields json.RawMessage) json.RawMessage {
	if len(fields) == 0 {
		return fields
	}
	var all map[string]json.RawMessage
	if json.Unmarshal(fields, &all) != nil {
		return nil
	}
	for name, v := range all {
		switch {
		case strings.HasPrefix(name, store.KindAccount+"/"): // beside the object of the call
			all[name] = hideCapture(v)
		case name == "capture":
			var told struct {
				Enabled bool   `json:"enabled"`
				Until   string `json:"until,omitempty"`
			}
			_ = json.Unmarshal(v, &told) // of what is no object nothing is told
			all[name] = must(told)
		}
	}
	return must(all)
}

// must encodes what always can be.
func must(v any) json.RawMessage {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return out
}
