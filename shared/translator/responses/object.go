package responses

import (
	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// state is what differs between the forms of one response object.
type state struct {
	status        string
	output        []byte // items, joined by commas
	usage         *translator.Usage
	reason        string // of an incomplete answer
	code, message string // of the error
	echo          []byte // what appendEcho made; nil: made anew
}

// appendResponse appends a response object. What no one here knows is null, among it the time of completion.
func appendResponse(dst []byte, o translator.ReplyOptions, s state) []byte {
	dst = append(dst, `{"id":`...)
	dst = appendString(dst, "resp_"+o.ID)
	dst = append(dst, `,"object":"response","created_at":`...)
	dst = appendInt(dst, o.Created)
	dst = append(dst, `,"completed_at":null,"status":"`...)
	dst = append(append(dst, s.status...), `","error":`...)
	if s.code == "" {
		dst = append(dst, "null"...)
	} else {
		dst = append(dst, `{"code":`...)
		dst = appendString(dst, s.code)
		dst = append(dst, `,"message":`...)
		dst = append(appendString(dst, s.message), '}')
	}
	dst = append(dst, `,"incomplete_details":`...)
	if s.reason == "" {
		dst = append(dst, "null"...)
	} else {
		dst = append(dst, `{"reason":"`...)
		dst = append(append(dst, s.reason...), `"}`...)
	}
	dst = append(dst, `,"model":`...)
	dst = appendString(dst, o.Model)
	dst = append(dst, `,"output":[`...)
	dst = append(append(dst, s.output...), `],"usage":`...)
	dst = appendUsage(dst, s.usage)
	if s.echo == nil {
		return append(appendEcho(dst, o.Request), '}')
	}
	return append(append(dst, s.echo...), '}')
}

// appendUsage appends the counts. Those of the input add up here.
func appendUsage(dst []byte, u *translator.Usage) []byte {
	if u == nil {
		return append(dst, "null"...)
	}
	write := u.CacheWrite5m + u.CacheWrite1h
	input := u.Input + u.CacheRead + write
	dst = append(dst, `{"input_tokens":`...)
	dst = appendInt(dst, input)
	dst = append(dst, `,"input_tokens_details":{"cached_tokens":`...)
	dst = appendInt(dst, u.CacheRead)
	dst = append(dst, `,"cache_write_tokens":`...)
	dst = appendInt(dst, write)
	dst = append(dst, `},"output_tokens":`...)
	dst = appendInt(dst, u.Output)
	dst = append(dst, `,"output_tokens_details":{"reasoning_tokens":`...)
	dst = appendInt(dst, u.Reasoning)
	dst = append(dst, `},"total_tokens":`...)
	return append(appendInt(dst, input+u.Output), '}')
}

// defaults are the members that repeat the request, with their values where it has none. Tools and instructions are not
// repeated: they are long, and the client has them.
var defaults = [...]struct{ name, value string }{
	{"tool_choice", `"auto"`},
	{"parallel_tool_calls", "true"},
	{"temperature", "null"},
	{"top_p", "null"},
	{"max_output_tokens", "null"},
	{"metadata", "{}"},
	{"reasoning", `{"effort":null,"summary":null}`},
	{"text", `{"format":{"type":"text"}}`},
	{"truncation", `"disabled"`},
	{"store", "false"},
	{"user", "null"},
	{"service_tier", `"default"`},
	{"previous_response_id", "null"},
}

// appendEcho appends the members that repeat the request, each after a comma.
func appendEcho(dst []byte, r *translator.Request) []byte {
	dst = append(dst, `,"instructions":null,"tools":[]`...)
	for _, m := range defaults {
		dst = append(append(append(dst, `,"`...), m.name...), `":`...)
		if v := echoOf(r, m.name); v != nil {
			dst = appendCompact(dst, v)
		} else {
			dst = append(dst, m.value...)
		}
	}
	return dst
}

func echoOf(r *translator.Request, name string) raw {
	if r == nil {
		return nil
	}
	for i := range r.Echo {
		if r.Echo[i].Name == name {
			return r.Echo[i].Value
		}
	}
	return nil
}

// outcome is the status of an answer that ended, and the reason when it is incomplete. A refusal in words is complete.
func outcome(stop translator.StopReason, refused bool) (status, reason string) {
	switch stop {
	case translator.StopMaxTokens, translator.StopContext:
		return statusIncomplete, "max_output_tokens"
	case translator.StopRefusal:
		if !refused {
			return statusIncomplete, "content_filter"
		}
	}
	return statusCompleted, ""
}

// readUsage reads the API's counts, in which the input includes what caches have of it. Counts that no upstream can mean
// are left out, and told by Partial; ok is false without an output count.
func readUsage(u *translator.Usage, obj []byte) (ok bool) {
	var v [4]rawjson.Value
	if rawjson.Scan(obj, []string{"input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details"}, v[:]) != nil {
		return false
	}
	var in [2]rawjson.Value
	if v[1].Kind() == rawjson.Object && rawjson.Scan(v[1].Raw(), []string{"cached_tokens", "cache_write_tokens"}, in[:]) != nil {
		in = [2]rawjson.Value{}
	}
	read, sane := count(in[0])
	write, saneToo := count(in[1])
	u.Partial = !sane && given(in[0]) || !saneToo && given(in[1])
	if n, ok := count(v[0]); ok {
		u.Partial = u.Partial || read+write > n
		u.CacheRead = min(read, n)
		u.CacheWrite5m = min(write, n-u.CacheRead)
		u.Input = n - u.CacheRead - u.CacheWrite5m
	} else {
		u.Partial = true
	}
	if v[3].Kind() == rawjson.Object {
		if r, err := rawjson.Find(v[3].Raw(), "reasoning_tokens"); err == nil {
			u.Reasoning, _ = count(r)
		}
	}
	n, ok := count(v[2])
	if ok {
		u.Output = n
	}
	return ok
}

// maxCount is more tokens than any answer has.
const maxCount = 1 << 40

func count(v rawjson.Value) (int64, bool) {
	n, ok := v.Int()
	if !ok || n < 0 || n > maxCount {
		return 0, false
	}
	return n, true
}
