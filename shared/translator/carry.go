package translator

import (
	"encoding/base64"
	"strings"

	"sluice/shared/rawjson"
)

// Thinking must come back to its upstream as it left, through a client that speaks another dialect. What that dialect has
// no field for travels in an envelope in the field that it does have: Anthropic's signature, OpenAI's encrypted_content.
// The envelopes are neither secret nor signed: a client can only spoil its own conversation, which the upstream checks.
const (
	carryOpenAI    = "sluice-r1."
	carryAnthropic = "sluice-a1."
)

// CarryReasoning puts an OpenAI reasoning item's id and encrypted content (a JSON string) into a signature.
func CarryReasoning(id string, encrypted Raw) Raw {
	if encrypted == nil {
		encrypted = EmptyString
	}
	doc := append(rawjson.AppendString([]byte(`{"id":`), id), `,"encrypted_content":`...)
	doc = append(append(doc, encrypted...), '}')
	return Quote(carryOpenAI + base64.RawStdEncoding.EncodeToString(doc))
}

// Reasoning opens what CarryReasoning made; ok is false for any other signature.
func Reasoning(signature Raw) (id string, encrypted Raw, ok bool) {
	doc, ok := openCarry(signature, carryOpenAI)
	if !ok {
		return "", nil, false
	}
	var v [2]rawjson.Value
	if rawjson.Scan(doc, []string{"id", "encrypted_content"}, v[:]) != nil || v[1].Kind() != rawjson.String {
		return "", nil, false
	}
	id, _ = v[0].Text()
	return id, v[1].Raw(), true
}

// CarryThinking puts a thinking or redacted block of Anthropic's into an encrypted content. The text travels too: the
// signature binds it, and the client may have changed the summary it was shown.
func CarryThinking(b *Block) Raw {
	signature := b.Signature
	if signature == nil {
		signature = EmptyString
	}
	doc := []byte(`{`)
	if b.Type == BlockThinking {
		doc = append(append(append(doc, `"thinking":`...), b.Text...), `,"signature":`...)
	} else {
		doc = append(doc, `"data":`...)
	}
	doc = append(append(doc, signature...), '}')
	return Quote(carryAnthropic + base64.RawStdEncoding.EncodeToString(doc))
}

// ThinkingBlock opens what CarryThinking made; ok is false for anything else.
func ThinkingBlock(encrypted Raw) (b Block, ok bool) {
	doc, ok := openCarry(encrypted, carryAnthropic)
	if !ok {
		return b, false
	}
	var v [3]rawjson.Value
	if rawjson.Scan(doc, []string{"thinking", "signature", "data"}, v[:]) != nil {
		return b, false
	}
	switch {
	case v[0].Kind() == rawjson.String && v[1].Kind() == rawjson.String:
		return Block{Type: BlockThinking, Text: v[0].Raw(), Signature: v[1].Raw()}, true
	case v[2].Kind() == rawjson.String:
		return Block{Type: BlockRedacted, Signature: v[2].Raw()}, true
	}
	return b, false
}

// Native reports whether the signature of a thinking or redacted block is Anthropic's own, so that an Anthropic upstream
// may be sent it.
func (b *Block) Native() bool {
	return len(b.Signature) > 2 && !strings.HasPrefix(string(inner(b.Signature)), carryOpenAI)
}

func openCarry(r Raw, prefix string) ([]byte, bool) {
	s, ok := strings.CutPrefix(r.Text(), prefix) // a client may have written / as \/
	if !ok {
		return nil, false
	}
	doc, err := base64.RawStdEncoding.DecodeString(s)
	return doc, err == nil
}
