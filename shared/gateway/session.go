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
		add(firstMessages(messages.Raw()))
	}
	if !some {
		return ""
	}
	return string(h.Sum(nil))
}

// firstMessages are the elements of messages up to the first user's, or what of long ones is sampled: the rest need not
// be read again. In OpenAI's dialects the system prompt, which many conversations share, is one of them.
func firstMessages(messages []byte) []byte {
	head := messages[:min(len(messages), sampled)]
	first := head
	_ = rawjson.Elements(head, func(v rawjson.Value) bool { // an error: they are longer than head
		first = messages[:v.Offset()+len(v.Raw())]
		role, _ := rawjson.Find(v.Raw(), "role")
		return role.TextEquals("system") || role.TextEquals("developer")
	})
	return first
}
