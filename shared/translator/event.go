package translator

import "sluice/shared/core"

// EventType is what an event of an answer says.
type EventType uint8

// The events of an answer, in the order of their grammar:
//
//	Start ( BlockStart Delta* BlockStop )* Final Stop
const (
	EvStart      EventType = iota
	EvBlockStart           // Block: type, id and name; no content
	EvText                 // Data; Logprobs
	EvThinking             // Data
	EvSignature            // Data: the whole of it, once, after the thinking
	EvInput                // Data: a piece of the JSON text of a call's input
	EvCitation             // Citation, of the open text block
	EvBlockStop            // Block: as in its BlockStart
	EvFinal                // Stop, Sequence, Usage
	EvStop
)

// Event is one step of an answer. It and what it points to are good only during the call that brings it.
type Event struct {
	Type     EventType
	Index    int    // of the block, from 0
	Block    *Block // BlockStart, deltas and BlockStop
	Data     Raw    // a JSON string
	Logprobs Raw    // EvText: an array of OpenAI's, nil: none
	Citation *Citation
	Stop     StopReason
	Sequence Raw // EvFinal: the stop sequence, a JSON string; nil: none
	Usage    *Usage
	Upstream string // EvStart: the upstream's own id of the answer
}

// StopReason says why an answer ended, in Anthropic's words.
type StopReason string

// The reasons.
const (
	StopEndTurn   StopReason = "end_turn"
	StopMaxTokens StopReason = "max_tokens"
	StopSequence  StopReason = "stop_sequence"
	StopToolUse   StopReason = "tool_use"
	StopPauseTurn StopReason = "pause_turn"
	StopRefusal   StopReason = "refusal"
	StopContext   StopReason = "model_context_window_exceeded"
)

// Usage is what an answer used. Input counts are apart: Input is what was neither read from a cache nor written to one.
type Usage struct {
	core.Tokens
	Terms
	Reasoning int64 // of Output, spent on thinking
	Tier      string
	Partial   bool // the upstream left out the input, or told a count that no answer has: the tokens are not all its own
}

// Terms are what an answer's price depends on besides its tokens, as the upstream told it. The zero value costs the normal
// price.
type Terms struct {
	Fast     bool   // Anthropic's fast mode answered
	Priority bool   // OpenAI's service tier "priority" answered
	Geo      string // Anthropic's inference_geo, where it is a place: "us"
	Searches int64  // of the web, by Anthropic's own tool; the usage of OpenAI's does not name them
}

// PriorityTier is how OpenAI names the tier of Terms.Priority.
const PriorityTier = "priority"

// Reply is a whole answer.
type Reply struct {
	Upstream string // the upstream's own id
	Blocks   []Block
	Logprobs []Raw // per block; nil where there are none, or as a whole
	Stop     StopReason
	Sequence Raw
	Usage    Usage
}

// Collector makes a Reply of the events of a Builder.
type Collector struct {
	Reply Reply
	text  []byte // of the open block's strings, without quotes
	logs  []byte
}

// Event takes one event; it is what a Builder's emit calls.
func (c *Collector) Event(e *Event) {
	r := &c.Reply
	switch e.Type {
	case EvStart:
		r.Upstream = e.Upstream
	case EvBlockStart:
		b := *e.Block
		b.Signature, b.Raw = clone(b.Signature), clone(b.Raw)
		r.Blocks = append(r.Blocks, b)
		c.text, c.logs = nil, nil
	case EvText, EvThinking, EvInput:
		c.text = append(c.text, inner(e.Data)...)
		if len(e.Logprobs) > 2 {
			if len(c.logs) > 0 {
				c.logs = append(c.logs, ',')
			}
			c.logs = append(c.logs, e.Logprobs[1:len(e.Logprobs)-1]...)
		}
	case EvSignature:
		r.Blocks[len(r.Blocks)-1].Signature = clone(e.Data)
	case EvCitation:
		b := &r.Blocks[len(r.Blocks)-1]
		cite := *e.Citation
		cite.Raw, cite.URL, cite.Title, cite.Text = clone(cite.Raw), clone(cite.URL), clone(cite.Title), clone(cite.Text)
		b.Citations = append(b.Citations, cite)
	case EvBlockStop:
		c.closeBlock()
	case EvFinal:
		r.Stop, r.Sequence, r.Usage = e.Stop, clone(e.Sequence), *e.Usage
	}
}

func (c *Collector) closeBlock() {
	r := &c.Reply
	b := &r.Blocks[len(r.Blocks)-1]
	switch b.Type {
	case BlockText, BlockThinking:
		b.Text = quoted(c.text)
	case BlockToolUse:
		b.Input = ObjectOf(quoted(c.text))
	}
	if c.logs != nil {
		for len(r.Logprobs) < len(r.Blocks) {
			r.Logprobs = append(r.Logprobs, nil)
		}
		r.Logprobs[len(r.Blocks)-1] = append(append([]byte{'['}, c.logs...), ']')
	}
}
