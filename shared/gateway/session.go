package gateway

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"

	"sluice/shared/rawjson"
	"sluice/shared/seal"
)

func wellFormed(credential string) bool { return seal.WellFormed(credential) }

var cacheMark = []byte(`"cache_control"`)

func hasCacheMark(doc []byte) bool { return bytes.Contains(doc, cacheMark) }

// sampled is how much of a long prefix its hash looks at: enough to tell conversations apart, little enough to cost
// nothing on a megabyte.
const sampled = 4 << 10

// prefixSession derives an affinity key from what stays the same in every turn of a conversation: the system prompt and
// the first message. "" when there is neither.
func prefixSession(system, messages rawjson.Value) string {
	h := fnv.New64a()
	some := false
	add := func(raw []byte) {
		if len(raw) == 0 {
			return
		}
		some = true
		var n [8]byte
		binary.LittleEndian.PutUint64(n[:], uint64(len(raw)))
		_, _ = h.Write(n[:])
		if len(raw) > 2*sampled {
			_, _ = h.Write(raw[:sampled])
			raw = raw[len(raw)-sampled:]
		}
		_, _ = h.Write(raw)
	}
	add(system.Raw())
	if messages.Kind() == rawjson.Array {
		add(firstMessage(messages.Raw()))
	}
	if !some {
		return ""
	}
	return string(h.Sum(nil))
}

// firstMessage is the first element of messages, or what of a long one is sampled: the rest need not be read again.
func firstMessage(messages []byte) []byte {
	head := messages[:min(len(messages), sampled)]
	first := head
	_ = rawjson.Elements(head, func(v rawjson.Value) bool { // an error: it is longer than head
		first = v.Raw()
		return false
	})
	return first
}
