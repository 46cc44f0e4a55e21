// Package label reduces what the gateway observes to the few words that a time series may be named by. Every function gives
// one of a fixed list, whatever it is told: no model name, error text or endpoint of a client's choice makes a new series.
package label

import (
	"net/http"
	"strings"

	"sluice/shared/core"
)

// Kinds are the labels of a node's kind.
var Kinds = [...]string{string(core.KindAnthropic), string(core.KindOpenAI), string(core.KindBedrock), string(core.KindAmazonQ), None, Other}

// None stands for what there was not: no node was reached, no model was named. Other stands for what has no label of its own.
const (
	None  = "none"
	Other = "other"
)

// Kind is the place of a kind in Kinds; an empty one is None.
func Kind(k core.Kind) int {
	if k == "" {
		return len(Kinds) - 2
	}
	return index(Kinds[:], string(k))
}

// Conditions are the labels of a node's condition.
var Conditions = [...]string{string(core.Online), string(core.Degraded), string(core.Cooling), string(core.Failed), string(core.HalfOpen),
	string(core.Disabled), core.BlockedLogin, core.BlockedSuspended, Other}

// Condition is the place of a condition in Conditions.
func Condition(c core.Condition) int { return index(Conditions[:], string(c)) }

// Classes are the labels of an attempt's end, named as upstream.Class.
var Classes = [...]string{"ok", "client_fault", "not_offered", "rate_limited", "overloaded", "server", "credential", "timeout", "connection", "stopped", Other}

// Class is the place of an attempt's class in Classes.
func Class(c string) int { return index(Classes[:], c) }

// FailedClass reports whether a class is a failure of the upstream or of the way to it.
func FailedClass(i int) bool {
	c := Classes[i]
	return c != "ok" && c != "client_fault" && c != "stopped"
}

// Limits are the labels of limits, and limitNames how store.LimitName says them.
var (
	Limits     = [...]string{"requests_minute", "tokens_minute", "requests_day", "concurrency", "budget_day", "budget_month", Other}
	limitNames = [...]string{"requests per minute", "tokens per minute", "requests per day", "concurrent requests", "micro-USD per day",
		"micro-USD per month", Other}
)

// Limit is the place of a limit, named as store.LimitName, in Limits.
func Limit(name string) int { return index(limitNames[:], name) }

// Routes are the labels of the routes that rows of the compatibility table name, and of Converse, whose form lacks members.
var Routes = [...]string{"messages-mantle", "messages-runtime", "invoke", "converse", Other}

// Route is the place of a route in Routes.
func Route(name string) int { return index(Routes[:], name) }

// Drops is how many names of what the compatibility table leaves out are kept apart on one route.
const Drops = 200

// Refreshes are the labels of how the refresh of a node's token ended.
var Refreshes = [...]string{"ok", "login_needed", "failed"}

// Refresh is the place of a result in Refreshes; one that it does not know is "failed".
func Refresh(result string) int { return index(Refreshes[:], result) }

// Tokens are the labels of the classes of tokens, in the order that Counts gives.
var Tokens = [...]string{"input", "cache_read", "cache_write_5m", "cache_write_1h", "output"}

// Counts are the tokens by class.
func Counts(t *core.Tokens) [len(Tokens)]int64 {
	return [...]int64{t.Input, t.CacheRead, t.CacheWrite5m, t.CacheWrite1h, t.Output}
}

// index finds a name in a list, else gives the list's last place.
func index(names []string, name string) int {
	for i := range names {
		if names[i] == name {
			return i
		}
	}
	return len(names) - 1
}

// Outcomes are the labels of how a request ended for its client.
var Outcomes = [...]string{"success", "client_gone", "invalid", "auth", "rate_limited", "unavailable", "timeout", "upstream", "internal"}

// Places in Outcomes.
const (
	Success = iota
	clientGone
	invalid
	auth
	rateLimited
	unavailable
	timeout
	upstream
	internal
)

// statusGone is what a request is recorded with whose client left before it was answered.
const statusGone = 499

// Outcome is the place in Outcomes of how a request ended. A stream that broke has the status 200 and tells by its error code.
func Outcome(s *core.Settlement) int {
	if s.Success() {
		return Success
	}
	if s.ErrorCode == "client_gone" || s.Status == statusGone {
		return clientGone
	}
	theirs := s.ErrorCode == "stream_cut" || strings.HasPrefix(s.ErrorCode, "upstream_")
	status := s.Status
	if status < 400 {
		status = core.Code(s.ErrorCode).Status() // 500 for those of theirs
	}
	switch {
	case status == http.StatusTooManyRequests:
		return rateLimited
	case status == http.StatusUnauthorized || status == http.StatusPaymentRequired || status == http.StatusForbidden:
		return auth
	case status < 500:
		return invalid
	case status == http.StatusServiceUnavailable || status == 529:
		return unavailable
	case status == http.StatusGatewayTimeout:
		return timeout
	case theirs || status == http.StatusBadGateway:
		return upstream
	default:
		return internal
	}
}

// OurFault reports whether an outcome counts against the gateway and its upstreams, not against the client.
func OurFault(i int) bool { return i >= unavailable }
