package main

import (
	"context"
	"fmt"
)

// way is one way of a stream through the gateway.
type way struct {
	client, node api // what each of them speaks
}

func (w way) passes() bool { return w.client == w.node }

var apiNames = [...]string{apiMessages: "Messages", apiChat: "chat", apiResponses: "Responses", apiAmazonQ: "Amazon Q"}

// translation is a scenario of streams that an upstream sends in one API and a
// client reads in another, next to the same streams for a client that reads
// them as they are, or where no client can, to Messages that pass.
func translation(id string, client, node api, goals ...goal) scenario {
	pass := node
	if node == apiAmazonQ {
		pass = apiMessages // no client speaks it
	}
	return scenario{
		id: id, title: fmt.Sprintf("streams of %d text deltas, upstream %s, translated for a %s client, 8 connections",
			textDeltas, apiNames[node], apiNames[client]),
		behaviour: "deltas", drive: closed(8), share: 1,
		ways:    []way{{pass, pass}, {client, node}},
		columns: closedColumns, goals: goals,
	}
}

// aimWays sets what the ways' processes are sent and have to answer. What is
// passed on must be as long as the upstream's own answer; what is translated
// is looked at once and must then stay as long as that. An error is the
// upstream's.
func (b *bench) aimWays(ctx context.Context, ways []way, runs []*targetRuns) error {
	for i, r := range runs {
		if r.failure != nil {
			continue
		}
		w, upstream, model := ways[i], b.lab.upstream.addr, benchModel
		switch w.node {
		case apiChat:
			upstream, model = b.lab.openAI, chatModel
		case apiAmazonQ:
			model = poolModel
		}
		body := streamBody(w.client, model)
		r.req = newRequestOf(w.client, r.addr, r.key, body)
		asked := r.req
		if w.passes() {
			asked = newRequestOf(w.client, upstream, upstreamKey, body)
		}
		var err error
		if r.want, err = probe(ctx, asked); err == nil {
			err = w.check(r.want)
		}
		switch {
		case err == nil:
		case w.passes():
			return err
		default:
			r.fail(r.child.explain(err))
		}
	}
	return nil
}

// check tells whether an answer is a whole stream with all deltas. How many
// events stand around them is the API's own affair.
func (w way) check(r reply) error {
	if r.Events <= textDeltas || r.Last != wires[w.client].last {
		return fmt.Errorf("not a whole stream of %d deltas for a client of %s: %v", textDeltas, apiNames[w.client], r)
	}
	return nil
}
