package gateway

import (
	"strings"

	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/pricing"
	"sluice/shared/rawjson"
	"sluice/shared/router"
	"sluice/shared/store"
	"sluice/shared/tokencount"
	"sluice/shared/translator"
	"sluice/shared/upstream"
	awsbedrock "sluice/shared/upstream/bedrock"
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
	us              bool // the client wants it processed in the US
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

// geo is where the client wants the request processed, as far as that has a price.
func (x *exchange) geo() string {
	if x.outputTokens(); x.est.us {
		return "us"
	}
	return ""
}

// outputTokens is what the client lets the answer be, within reason.
func (x *exchange) outputTokens() int64 {
	e := &x.est
	if e.haveOut || x.body == nil {
		return e.out
	}
	e.out, e.haveOut = mostOutput, true
	var v [4]rawjson.Value
	if rawjson.Scan(x.body.buf, []string{"max_tokens", "max_completion_tokens", "max_output_tokens", "inference_geo"}, v[:]) == nil {
		for i := range v[:3] {
			if n, ok := v[i].Int(); ok && n >= 0 {
				e.out = min(e.out, n)
			}
		}
		e.us = v[3].TextEquals("us")
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
	return !x.unsent && x.ep.answers()
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
	x.g.o.Prices.Refresh(x.r.Context(), oldPrices)
	if x.front != nil {
		acct, _ = x.frontAccount(acct) // where it cannot serve the request, that is told after the admission
	}
	list := make([]router.Candidate, len(acct.Nodes))
	for i := range acct.Nodes {
		list[i].Node = &acct.Nodes[i].Node
	}
	routed := router.Resolve(&acct.Account, list, x.name)
	for i := range list {
		if n := list[i].Node; !n.Disabled && router.Serves(n, routed) {
			a.USD = max(a.USD, x.price(x.servedModel(n, routed), routed, n.Kind))
		}
	}
	return a
}

// servedModel is the name that a node's request will say, as far as it is known before a plan is made: prices of Amazon Bedrock
// depend on the inference profile.
func (x *exchange) servedModel(n *core.Node, routed string) string {
	model := router.SentModel(n, routed)
	if namer, ok := x.g.o.Upstreams[n.Kind].(upstream.Namer); ok && model != "" {
		return namer.ModelID(n, model)
	}
	return model
}

// price is the estimate in micro-USD with a model, 0 where that has no price.
func (x *exchange) price(model, routed string, kind core.Kind) int64 {
	use := pricing.Use{Model: model, Kind: kind, At: x.g.o.Now(), Tokens: core.Tokens{Input: x.inputTokens(), Output: x.outputTokens()}, Geo: x.geo()}
	usd, _ := priced(x.prices(), use, routed)
	return usd
}

// priced is what a request cost; routed is the model's name before the node's own is made of it. It counts where the node is
// sent the ARN of a profile that someone made, which does not tell the model and has no price of its own: at the rates of a
// region, for it does not tell either whether it stays in some.
func priced(list *pricing.List, use pricing.Use, routed string) (int64, bool) {
	cost, ok := list.CostOf(use)
	if ok || use.Kind != core.KindBedrock || !strings.HasPrefix(use.Model, "arn:") || awsbedrock.BareID(use.Model) != use.Model {
		return cost, ok
	}
	if use.Model = routed; strings.HasPrefix(routed, "claude-") {
		use.Model = "anthropic." + routed
	}
	return list.CostOf(use)
}

// guess is the input of an answer whose upstream does not tell it. Amazon Q often does not.
func (x *exchange) guess(wire *dialect) int64 {
	if wire == dialectAmazonQ {
		return x.countedInput()
	}
	return x.inputTokens()
}

// noteTokens puts the tokens of an answer into the record, and what else its price depends on. Some upstreams tell the input
// at the very end, or never: when it did not come, it is guessed.
func (x *exchange) noteTokens(t core.Tokens, terms translator.Terms, estimated bool) {
	if estimated && t.TotalInput() == 0 {
		t.Input = x.inputTokens()
	}
	x.rec.Tokens, x.rec.Estimated = t, estimated
	x.rec.Fast, x.rec.Geo, x.rec.Searches, x.priority = terms.Fast || terms.Priority, terms.Geo, terms.Searches, terms.Priority
}
