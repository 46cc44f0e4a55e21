package openaichat

import (
	"strconv"

	"sluice/shared/rawjson"
	"sluice/shared/translator"
)

// maxCount is more tokens than any answer has: larger counts are not believed.
const maxCount = 1 << 40

var (
	usageFields  = []string{"prompt_tokens", "completion_tokens", "prompt_tokens_details", "completion_tokens_details"}
	inputDetails = []string{"cached_tokens", "cache_write_tokens"}
)

// readUsage reads a usage object into u; false when it has no output count. prompt_tokens include what was read from a
// cache and written to one, which the hub counts apart: never more than they are.
func readUsage(v rawjson.Value, u *translator.Usage) bool {
	var f [4]rawjson.Value
	if v.Kind() != rawjson.Object || rawjson.Scan(v.Raw(), usageFields, f[:]) != nil {
		return false
	}
	var total, read, write int64
	u.Partial = false
	if f[2].Kind() == rawjson.Object {
		var d [2]rawjson.Value
		if rawjson.Scan(f[2].Raw(), inputDetails, d[:]) == nil {
			u.Partial = !count(&read, d[0]) && set(d[0]) || !count(&write, d[1]) && set(d[1])
		}
	}
	if count(&total, f[0]) {
		u.Partial = u.Partial || read+write > total
		u.CacheRead = min(read, total)
		u.CacheWrite5m = min(write, total-u.CacheRead)
		u.Input = total - u.CacheRead - u.CacheWrite5m
	} else {
		u.Partial = true
	}
	if f[3].Kind() == rawjson.Object {
		var d [1]rawjson.Value
		if rawjson.Scan(f[3].Raw(), []string{"reasoning_tokens"}, d[:]) == nil {
			count(&u.Reasoning, d[0])
		}
	}
	return count(&u.Output, f[1])
}

// count stores a count that is present and sane.
func count(dst *int64, v rawjson.Value) bool {
	n, ok := v.Int()
	if !ok || n < 0 || n > maxCount {
		return false
	}
	*dst = n
	return true
}

// appendUsage appends a usage object.
func appendUsage(dst []byte, u *translator.Usage) []byte {
	in := u.TotalInput()
	dst = appendInt(dst, `{"prompt_tokens":`, in)
	dst = appendInt(dst, `,"completion_tokens":`, u.Output)
	dst = appendInt(dst, `,"total_tokens":`, in+u.Output)
	dst = appendInt(dst, `,"prompt_tokens_details":{"cached_tokens":`, u.CacheRead)
	dst = appendInt(dst, `,"cache_write_tokens":`, u.CacheWrite5m+u.CacheWrite1h)
	dst = appendInt(dst, `},"completion_tokens_details":{"reasoning_tokens":`, u.Reasoning)
	return append(dst, "}}"...)
}

func appendInt(dst []byte, prefix string, n int64) []byte {
	return strconv.AppendInt(append(dst, prefix...), n, 10)
}
