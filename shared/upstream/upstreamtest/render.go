package upstreamtest

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// PingEvent is a ping as the API sends it, for [Behaviour.Inject].
const PingEvent = "event: ping\ndata: {\"type\": \"ping\"}\n\n"

// Event returns one server-sent event as text, for [Behaviour.Inject]. An
// empty name leaves the event line out.
func Event(name, data string) string {
	if name == "" {
		return "data: " + data + "\n\n"
	}
	return "event: " + name + "\ndata: " + data + "\n\n"
}

// ErrorEvent returns an error event as text, for [Behaviour.Inject].
func ErrorEvent(errType, message string) string {
	return Event("error", string(appendError(nil, errType, message, "")))
}

// UnknownEvent returns an event of a type that no client knows yet.
func UnknownEvent() string {
	return Event("future_thing", `{"type":"future_thing","note":"added later"}`)
}

// UnknownDelta returns a content_block_delta whose delta type no client knows
// yet, for the block at index.
func UnknownDelta(index int) string {
	return Event("content_block_delta", `{"type":"content_block_delta","index":`+strconv.Itoa(index)+
		`,"delta":{"type":"future_delta","future":"x"}}`)
}

// appendString appends s as a JSON string. Like the API it leaves <, > and &
// as they are, which json.Marshal would not.
func appendString(dst []byte, s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return append(dst, `""`...)
	}
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

func quote(s string) string { return string(appendString(nil, s)) }

// appendError appends an error body; an empty requestID leaves that field out,
// as in error events.
func appendError(dst []byte, errType, message, requestID string) []byte {
	dst = append(dst, `{"type":"error","error":{"type":`...)
	dst = appendString(dst, errType)
	dst = append(dst, `,"message":`...)
	dst = appendString(dst, message)
	dst = append(dst, '}')
	if requestID != "" {
		dst = append(dst, `,"request_id":"`...)
		dst = append(dst, requestID...)
		dst = append(dst, '"')
	}
	return append(dst, '}')
}

func renderEvent(name string, parts ...string) []byte {
	return []byte("event: " + name + "\ndata: " + strings.Join(parts, "") + "\n\n")
}

// appendID appends prefix and 24 characters that look like the API's ids and
// differ for every n.
func appendID(dst []byte, prefix string, n uint64) []byte {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	dst = append(append(dst, prefix...), "01"...)
	for range 2 {
		n += 0x9e3779b97f4a7c15
		z := n
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		z ^= z >> 31
		for range 11 {
			dst = append(dst, digits[z%62])
			z /= 62
		}
	}
	return dst
}

// Usage is the token count of a reply. All figures are tokens; the input kinds
// do not overlap, as in the API.
type Usage struct {
	Input        int // uncached input
	CacheRead    int
	CacheWrite5m int // written to the cache for five minutes
	CacheWrite1h int // written to the cache for one hour
	Output       int
	Thinking     int    // of Output; reported in output_tokens_details if not 0
	WebSearches  int    // requests, reported in server_tool_use if not 0
	ServiceTier  string // "" is "standard"
	Speed        string // left out if empty
	InferenceGeo string // left out if empty
}

// appendFull appends the usage object of a whole message or, with the few
// output tokens known by then, of message_start.
func (u Usage) appendFull(dst []byte, start bool) []byte {
	dst = u.appendCounts(dst)
	dst = append(dst, `,"cache_creation":{"ephemeral_5m_input_tokens":`...)
	dst = strconv.AppendInt(dst, int64(u.CacheWrite5m), 10)
	dst = append(dst, `,"ephemeral_1h_input_tokens":`...)
	dst = strconv.AppendInt(dst, int64(u.CacheWrite1h), 10)
	dst = append(dst, `},"output_tokens":`...)
	output := u.Output
	if start {
		output = min(output, 1)
	}
	dst = strconv.AppendInt(dst, int64(output), 10)
	dst = append(dst, `,"service_tier":`...)
	tier := u.ServiceTier
	if tier == "" {
		tier = "standard"
	}
	dst = appendString(dst, tier)
	if u.Speed != "" {
		dst = appendString(append(dst, `,"speed":`...), u.Speed)
	}
	if u.InferenceGeo != "" {
		dst = appendString(append(dst, `,"inference_geo":`...), u.InferenceGeo)
	}
	if !start {
		dst = u.appendDetails(dst)
	}
	return append(dst, '}')
}

// appendDelta appends the usage object of message_delta: cumulative, and
// without the cache split, tier, speed and place.
func (u Usage) appendDelta(dst []byte) []byte {
	dst = u.appendCounts(dst)
	dst = append(dst, `,"output_tokens":`...)
	dst = strconv.AppendInt(dst, int64(u.Output), 10)
	dst = u.appendDetails(dst)
	return append(dst, '}')
}

func (u Usage) appendCounts(dst []byte) []byte {
	dst = append(dst, `{"input_tokens":`...)
	dst = strconv.AppendInt(dst, int64(u.Input), 10)
	dst = append(dst, `,"cache_creation_input_tokens":`...)
	dst = strconv.AppendInt(dst, int64(u.CacheWrite5m+u.CacheWrite1h), 10)
	dst = append(dst, `,"cache_read_input_tokens":`...)
	return strconv.AppendInt(dst, int64(u.CacheRead), 10)
}

func (u Usage) appendDetails(dst []byte) []byte {
	if u.Thinking > 0 {
		dst = append(dst, `,"output_tokens_details":{"thinking_tokens":`...)
		dst = append(strconv.AppendInt(dst, int64(u.Thinking), 10), '}')
	}
	if u.WebSearches > 0 {
		dst = append(dst, `,"server_tool_use":{"web_search_requests":`...)
		dst = strconv.AppendInt(dst, int64(u.WebSearches), 10)
		dst = append(dst, `,"web_fetch_requests":0}`...)
	}
	return dst
}
