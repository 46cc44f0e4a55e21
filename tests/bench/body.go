package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

const (
	benchModel  = "claude-sonnet-4-5"
	chatModel   = "gpt-5.4-mini" // what the node of chat is asked for
	poolModel   = "pool-model"   // what the node of Amazon Q is asked for
	mib         = 1 << 20
	messageSize = 6 << 10 // text of one message in a large body, before escaping
)

// smallBody is a request of one short message.
func smallBody(stream bool) []byte {
	s := ""
	if stream {
		s = `"stream":true,`
	}
	return []byte(`{"model":"` + benchModel + `","max_tokens":256,` + s +
		`"messages":[{"role":"user","content":"Say hello in three languages, one line each."}]}`)
}

// streamBody is smallBody for a stream, as a client of an API asks for it. Chat
// clients ask for the usage, without which nobody could bill.
func streamBody(a api, model string) []byte {
	const say = "Say hello in three languages, one line each."
	const messages = `"messages":[{"role":"user","content":"` + say + `"}]}`
	head := `{"model":"` + model + `","stream":true,`
	switch a {
	case apiChat:
		return []byte(head + `"max_completion_tokens":4096,"stream_options":{"include_usage":true},` + messages)
	case apiResponses:
		return []byte(head + `"max_output_tokens":4096,"store":false,"input":"` + say + `"}`)
	}
	return []byte(head + `"max_tokens":4096,` + messages)
}

// proseBody is a conversation of plain text, exactly size bytes long.
func proseBody(size int) []byte { return largeBody(size, prose) }

// codeBody is a conversation whose messages are source code: tabs, quotes,
// backslashes and newlines, all escaped by JSON. It is exactly size bytes long.
func codeBody(size int) []byte { return largeBody(size, sourceCode) }

// largeBody is a conversation of messages of about messageSize, the same for
// every call, exactly size bytes long. The size must allow for at least one
// message.
func largeBody(size int, text func(*rand.Rand, *strings.Builder)) []byte {
	const tail = `]}`
	rng := rand.New(rand.NewPCG(1, 2))
	body := []byte(`{"model":"` + benchModel + `","max_tokens":256,"system":"You are a careful engineer.","messages":[`)
	for i := 0; ; i++ {
		role := "user"
		if i%2 == 1 {
			role = "assistant"
		}
		head := fmt.Sprintf(`{"role":"%s","content":[{"type":"text","text":`, role)
		var s strings.Builder
		for s.Len() < messageSize {
			text(rng, &s)
		}
		quoted := appendJSON(nil, s.String())
		if len(body)+2*(len(head)+len(quoted))+64 > size {
			// The last one: as much plain text as is left.
			body = append(body, head...)
			n := size - len(body) - len(`""}]}`) - len(tail)
			quoted = appendJSON(nil, strings.Repeat("That is all. ", n/13+1)[:n])
			body = append(append(body, quoted...), `}]}`...)
			return append(body, tail...)
		}
		body = append(body, head...)
		body = append(append(body, quoted...), `}]},`...)
	}
}

// appendJSON appends s as a JSON string, escaped no more than needed, as
// JavaScript and Python clients do.
func appendJSON(dst []byte, s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic(err) // a string always encodes
	}
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

var words = strings.Fields(`the a of to and in that it with for as was on are by this be from have
	river harbour engine morning letter garden answer window story winter number teacher company market
	island question evening reason science history journey village mountain question memory language
	carried opened followed remembered answered measured waited promised returned described believed
	slowly carefully perhaps already seldom quietly together early later often small bright heavy
	patient ancient careful distant familiar ordinary`)

// pieces are n pieces of text as a model sends them, a word each. They differ
// in length, as the padding that the OpenAI API adds to each of them does.
func pieces(n int) []string {
	rng := rand.New(rand.NewPCG(3, 4))
	out := make([]string, n)
	for i := range out {
		out[i] = " " + words[rng.IntN(len(words))]
	}
	return out
}

// prose appends one paragraph.
func prose(rng *rand.Rand, s *strings.Builder) {
	for range 4 + rng.IntN(4) {
		n := 8 + rng.IntN(14)
		for i := range n {
			w := words[rng.IntN(len(words))]
			switch {
			case i == 0:
				s.WriteString(strings.ToUpper(w[:1]) + w[1:])
			case rng.IntN(60) == 0:
				s.WriteString(` "` + w + `"`)
			default:
				s.WriteString(" " + w)
			}
		}
		s.WriteString(". ")
	}
	s.WriteString("\n\n")
}

// sourceCode appends one Go function.
func sourceCode(rng *rand.Rand, s *strings.Builder) {
	name := func() string {
		w := words[16+rng.IntN(len(words)-16)]
		return w + strings.ToUpper(words[rng.IntN(16)][:1])
	}
	fn, arg, key := name(), name(), name()
	fmt.Fprintf(s, "// %s returns the %s of %q.\nfunc %s(ctx context.Context, %s map[string]int) (string, error) {\n", fn, key, arg, fn, arg)
	for range 4 + rng.IntN(8) {
		switch rng.IntN(6) {
		case 0:
			fmt.Fprintf(s, "\tif v, ok := %s[%q]; ok && v > %d {\n\t\treturn \"\", fmt.Errorf(\"%s %%q: %%w\", %q, err)\n\t}\n",
				arg, name(), rng.IntN(1000), fn, key)
		case 1:
			fmt.Fprintf(s, "\tlog.Printf(\"%s=%%d\\t%%s\\n\", %d, %s)\n", name(), rng.IntN(1e6), name())
		case 2:
			fmt.Fprintf(s, "\tre := regexp.MustCompile(\"^\\\\s*(\\\\w+)\\\\.%s\\\\(\\\"([^\\\"]*)\\\"\\\\)$\")\n", name())
		case 3:
			fmt.Fprintf(s, "\tfor i := range %d {\n\t\t%s = append(%s, byte('\\n'), %d)\n\t}\n", rng.IntN(99), name(), name(), rng.IntN(256))
		case 4:
			fmt.Fprintf(s, "\t%s := map[string]string{\"%s\": \"%s\", \"path\": \"C:\\\\%s\\\\%d\"}\n", name(), name(), name(), name(), rng.IntN(1000))
		default:
			fmt.Fprintf(s, "\t// %s %s %s, see %s.\n", name(), name(), name(), key)
		}
	}
	fmt.Fprintf(s, "\treturn %s.%s(\"%s\"), nil\n}\n\n", arg, name(), key)
}
