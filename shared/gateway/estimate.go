package gateway

import (
	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/pricing"
	"sluice/shared/rawjson"
	"sluice/shared/router"
	"sluice/shared/store"
	"sluice/shared/tokencount"
)

const (
	bytesPerToken = 4
	mostOutput    = 4096 // tokens of output that an estimate counts, also where max_tokens is missing or larger
	encodedRun    = 512  // bytes of base64 in a row that are taken for a file rather than a word
)

// estimate is what a request will use, guessed from its body (DESIGN 7).
type estimate struct {
	in, out         int64
	haveIn, haveOut bool
	counted         bool // in was
}

// inputTokens guesses the input from the body's size. It keeps the answer, for the body is freed early.
func (x *exchange) inputTokens() int64 {
	if e := &x.est; !e.haveIn && x.body != nil {
		e.in, e.haveIn = (int64(len(x.body.buf)-encodedBytes(x.body.buf))+bytesPerToken-1)/bytesPerToken, true
	}
	return x.est.in
}

// countedInput is a closer look than inputTokens, at some milliseconds for a body of a MiB: for upstreams that may never tell.
func (x *exchange) countedInput() int64 {
	if e := &x.est; !e.counted && x.body != nil {
		if n, err := tokencount.Request(x.body.buf); err == nil {
			e.in, e.haveIn = int64(n), true
		}
		e.counted = true
	}
	return x.inputTokens()
}

// outputTokens is what the client lets the answer be, within reason.
func (x *exchange) outputTokens() int64 {
	e := &x.est
	if e.haveOut || x.body == nil {
		return e.out
	}
	e.out, e.haveOut = mostOutput, true
	var v [3]rawjson.Value
	if rawjson.Scan(x.body.buf, []string{"max_tokens", "max_completion_tokens", "max_output_tokens"}, v[:]) == nil {
		for i := range v {
			if n, ok := v[i].Int(); ok && n >= 0 {
				e.out = min(e.out, n)
			}
		}
	}
	return e.out
}

// encodedBytes counts the bytes of base64 in a body: files, whose tokens have nothing to do with their size. It looks at
// one byte in encodedRun until it meets such a run.
func encodedBytes(doc []byte) int {
	n := 0
	for i := encodedRun - 1; i < len(doc); {
		if !inBase64(doc[i]) {
			i += encodedRun
			continue
		}
		from, to := i, i+1
		for from > 0 && inBase64(doc[from-1]) {
			from--
		}
		for to < len(doc) && inBase64(doc[to]) {
			to++
		}
		if to-from >= encodedRun {
			n += to - from
		}
		i = to + encodedRun
	}
	return n
}

// inBase64 reports whether a byte may stand in base64 within JSON, where a slash may be escaped.
func inBase64(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '+' || c == '/' || c == '=' || c == '\\'
}

// spends reports whether the request makes a model work; others take nothing of limits on tokens and money.
func (x *exchange) spends() bool {
	return !x.unsent && x.ep.name == x.client.path
}

// ask is what the key and the account must have left: the estimate, at the dearest price of the nodes that may serve it.
// It is worked out only where one of them has a limit that it matters for.
func (x *exchange) ask(acct *directory.Snapshot) (a store.Amount) {
	key, own := x.key.Limits, acct.Limits
	if !key.Metered() && !own.Metered() || !x.spends() {
		return a
	}
	a.Tokens = x.inputTokens() + x.outputTokens()
	if key.USDDay+key.USDMonth+own.USDDay+own.USDMonth == 0 {
		return a
	}
	list := make([]router.Candidate, len(acct.Nodes))
	for i := range acct.Nodes {
		list[i].Node = &acct.Nodes[i].Node
	}
	routed := router.Resolve(&acct.Account, list, x.name)
	for i := range list {
		if n := list[i].Node; !n.Disabled && router.Serves(n, routed) {
			a.USD = max(a.USD, x.price(router.SentModel(n, routed), n.Kind))
		}
	}
	return a
}

// price is the estimate in micro-USD with a model, 0 where that has no price.
func (x *exchange) price(model string, kind core.Kind) int64 {
	usd, _ := x.g.o.Prices.CostOf(pricing.Use{Model: model, Kind: kind, At: x.g.o.Now(),
		Tokens: core.Tokens{Input: x.inputTokens(), Output: x.outputTokens()}})
	return usd
}

// noteTokens puts the tokens of an answer into the record. Some upstreams tell the input at the very end: when that did not
// come, it is guessed.
func (x *exchange) noteTokens(t core.Tokens, estimated bool, wire *dialect) {
	if estimated && t.TotalInput() == 0 && wire.lateIn {
		t.Input = x.inputTokens()
	}
	x.rec.Tokens, x.rec.Estimated = t, estimated
}
