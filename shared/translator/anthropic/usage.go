package anthropic

import (
	"sluice/shared/core"
	"sluice/shared/rawjson"
	"sluice/shared/sse"
	"sluice/shared/translator"
)

// Meter adds up what one answer used, from the events that say so. The zero value is ready.
//
// message_start has the input and its cache classes; message_delta has cumulative counts, which replace the earlier ones
// where present. Compaction is billed beside the totals, in usage.iterations.
type Meter struct {
	Tokens core.Tokens
	Terms  translator.Terms
	Model  string // as the upstream named it
	ID     string // of the message
	final  bool   // a message_delta with usage, or a whole message, was seen, and no content after it
	told   bool   // the input was
	absurd bool   // a count was that no answer has
	delta  int64  // bytes of deltas, for an estimate when the end is missing
	comp   core.Tokens
}

// envelope is roughly what of a delta event's data is not content.
const envelope = 84

// deltaLines are the bytes of such an event around its data: the event line, "data: " and the line ends.
const deltaLines = 35

// Event takes one event of a stream; kind is Kind(ev).
func (m *Meter) Event(kind EventKind, ev sse.Event) {
	switch kind {
	case EventContent, EventEmpty, EventBlockStart:
		if n := len(ev.Data) - envelope; n > 0 {
			m.delta += int64(n)
			m.final = false
		}
	case EventStart:
		msg, err := rawjson.Find(ev.Data, "message")
		if err == nil && msg.Kind() == rawjson.Object {
			m.message(msg.Raw())
		}
	case EventDelta:
		u, err := rawjson.Find(ev.Data, "usage")
		if err == nil && u.Kind() == rawjson.Object && m.usage(u.Raw()) {
			m.final = true
		}
	}
}

// Delta takes a content_block_delta of n bytes, all its lines included.
func (m *Meter) Delta(n int) {
	m.final = false
	if n -= envelope + deltaLines; n > 0 {
		m.delta += int64(n)
	}
}

// Message takes a whole message, the body of a request that was not streamed.
func (m *Meter) Message(body []byte) {
	if m.final = m.message(body); !m.final {
		m.delta = int64(len(body))
	}
}

// message reads a message object; false when it has no output count.
func (m *Meter) message(obj []byte) bool {
	var v [3]rawjson.Value
	if rawjson.Scan(obj, []string{"id", "model", "usage"}, v[:]) != nil {
		return false
	}
	m.ID, _ = v[0].Text()
	m.Model, _ = v[1].Text()
	return v[2].Kind() == rawjson.Object && m.usage(v[2].Raw())
}

// usage merges one usage object; false when it has no output count.
func (m *Meter) usage(u []byte) bool {
	var v [9]rawjson.Value
	if rawjson.Scan(u, []string{"input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation", "output_tokens", "iterations",
		"speed", "inference_geo", "server_tool_use"}, v[:]) != nil {
		return false
	}
	m.terms(v[6], v[7], v[8])
	t := &m.Tokens
	m.told = m.count(&t.Input, v[0]) || m.told
	m.count(&t.CacheRead, v[1])
	m.writes(t, v[2], v[3])
	ok := m.count(&t.Output, v[4])
	if v[5].Kind() == rawjson.Array {
		m.iterations(v[5].Raw())
	}
	return ok
}

// writes takes the tokens written to caches: their total, and how they split.
func (m *Meter) writes(t *core.Tokens, all, split rawjson.Value) {
	if split.Kind() == rawjson.Object {
		var c [2]rawjson.Value
		if rawjson.Scan(split.Raw(), []string{"ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"}, c[:]) == nil {
			m.count(&t.CacheWrite5m, c[0])
			m.count(&t.CacheWrite1h, c[1])
		}
	}
	if total := int64(0); m.count(&total, all) && total != t.CacheWrite5m+t.CacheWrite1h {
		// the split is missing or older than the total: what is not known to be 1-hour counts as 5-minute
		t.CacheWrite1h = min(t.CacheWrite1h, total)
		t.CacheWrite5m = total - t.CacheWrite1h
	}
}

// maxGeo bounds the name of a place.
const maxGeo = 32

// terms takes what of a usage object the price depends on. The final counts of a stream leave out speed and place, which
// then stay as message_start has them, and have the searches.
func (m *Meter) terms(speed, geo, tools rawjson.Value) {
	t := &m.Terms
	if speed.Kind() == rawjson.String {
		t.Fast = speed.TextEquals("fast")
	}
	switch {
	case geo.Kind() != rawjson.String:
	case geo.TextEquals("global"), geo.TextEquals("not_available"):
		t.Geo = ""
	case geo.TextEquals("us"): // the one that costs more, without making a string of it
		t.Geo = "us"
	default:
		if s, ok := geo.Text(); ok && len(s) <= maxGeo {
			t.Geo = s
		}
	}
	if tools.Kind() == rawjson.Object {
		if n, err := rawjson.Find(tools.Raw(), "web_search_requests"); err == nil {
			set(&t.Searches, n)
		}
	}
}

// iterations replaces the compaction tokens, which the totals leave out.
func (m *Meter) iterations(list []byte) {
	m.comp = core.Tokens{}
	_ = rawjson.Elements(list, func(e rawjson.Value) bool {
		if e.Kind() != rawjson.Object {
			return true
		}
		var v [6]rawjson.Value
		if rawjson.Scan(e.Raw(), []string{"type", "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation"}, v[:]) != nil || !v[0].TextEquals("compaction") {
			return true
		}
		var t core.Tokens
		m.count(&t.Input, v[1])
		m.count(&t.Output, v[2])
		m.count(&t.CacheRead, v[3])
		m.writes(&t, v[4], v[5])
		m.comp = m.comp.Add(t)
		return true
	})
}

// maxCount is more than any answer uses, and little enough that sums of such counts do not overflow.
const maxCount = 1 << 40

// set stores a count that is present and sane.
func set(dst *int64, v rawjson.Value) bool {
	n, ok := v.Int()
	if !ok || n < 0 || n > maxCount {
		return false
	}
	*dst = n
	return true
}

// count is set, and notes a count that is there and cannot be.
func (m *Meter) count(dst *int64, v rawjson.Value) bool {
	ok := set(dst, v)
	m.absurd = m.absurd || !ok && v.Kind() > rawjson.Null
	return ok
}

// partial reports whether final counts are not all that the upstream should have told.
func (m *Meter) partial() bool { return m.absurd || !m.told }

// Result returns the tokens, and whether they are an estimate, or have one in them: when the final counts never came, the
// output is at least a quarter of the bytes of content that passed. An input that never came is 0.
func (m *Meter) Result() (t core.Tokens, estimated bool) {
	t = m.Tokens.Add(m.comp)
	if m.final {
		return t, m.partial()
	}
	t.Output = max(t.Output, (m.delta+3)/4)
	return t, true
}
