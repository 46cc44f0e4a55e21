package upstreamtest

import "bytes"

// variant is a form of an answer: that of an API and what the request can
// choose of it. A Behaviour is rendered once for each that is asked for.
type variant uint8

const (
	variantAnthropic variant = 0
	variantChat      variant = 1 // plus 1 with usage, plus 2 with obfuscation
	variantResponses variant = 5 // plus 1 with encrypted reasoning, plus 2 with obfuscation
	variantAmazonQ   variant = 9
	variantMessages  variant = 10 // of Bedrock, as the next two
	variantInvoke    variant = 11
	variantConverse  variant = 12
	variants                 = 13
)

// The places in a rendered answer that differ for each request. They stand in
// it as control characters, which JSON text cannot have.
const (
	slotID      = "\x00" // the part of its ids that is new
	slotModel   = "\x01" // the model as asked, JSON
	slotCreated = "\x02" // seconds
	slotEcho    = "\x03" // settings that a response repeats, JSON members with a comma at the end

	slotInitial  = "\x04" // of Amazon Q, the frame initial-response
	slotMetadata = "\x05" // of Amazon Q, the frame messageMetadataEvent
	slots        = 6
)

// template is a rendered answer cut at its slots: fixed text, slot, fixed
// text, and so on.
type template []part

type part struct {
	text []byte
	slot int8 // that follows the text; -1: none
}

func newTemplate(text string, crlf bool) template {
	rest := []byte(text)
	if crlf {
		rest = toCRLF(rest)
	}
	var t template
	for {
		i := bytes.IndexAny(rest, slotID+slotModel+slotCreated+slotEcho)
		if i < 0 {
			return append(t, part{rest, -1})
		}
		t = append(t, part{rest[:i:i], int8(rest[i])})
		rest = rest[i+1:]
	}
}

func (t template) append(dst []byte, fill *[slots][]byte) []byte {
	for _, p := range t {
		dst = append(dst, p.text...)
		if p.slot >= 0 {
			dst = append(dst, fill[p.slot]...)
		}
	}
	return dst
}
