package openaichat_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"sluice/shared/sse"
	"sluice/shared/translator"
	"sluice/shared/translator/openaichat"
)

var (
	codec   = openaichat.Codec{}
	options = translator.ReplyOptions{ID: "r1", Model: "client-model", Created: 1700000000}
)

// events makes a stream of data events and its [DONE].
func events(data ...string) string { return unended(data...) + "data: [DONE]\n\n" }

func unended(data ...string) string {
	var b strings.Builder
	for _, d := range data {
		b.WriteString("data: " + d + "\n\n")
	}
	return b.String()
}

// chunkOf is a chunk with one choice; finish is JSON.
func chunkOf(delta, finish string) string {
	return `{"id":"up1","object":"chat.completion.chunk","created":1,"model":"up","choices":[{"index":0,"delta":` + delta +
		`,"finish_reason":` + finish + `}]}`
}

const usageChunk = `{"id":"up1","object":"chat.completion.chunk","created":1,"model":"up","choices":[],"usage":{"prompt_tokens":100,` +
	`"completion_tokens":9,"total_tokens":109,"prompt_tokens_details":{"cached_tokens":60,"cache_write_tokens":10},` +
	`"completion_tokens_details":{"reasoning_tokens":4}}}`

// listener writes the hub's events as lines and collects the reply.
type listener struct {
	lines strings.Builder
	c     translator.Collector
	b     *translator.Builder
	grammar
}

func newListener() *listener {
	l := &listener{}
	l.b = translator.NewBuilder(l.event)
	return l
}

func (l *listener) event(e *translator.Event) {
	l.c.Event(e)
	l.check(e)
	fmt.Fprintf(&l.lines, "%d", e.Type)
	if e.Block != nil {
		fmt.Fprintf(&l.lines, " %d %d %s %s %v", e.Index, e.Block.Type, e.Block.ID, e.Block.Name, e.Block.Custom)
	}
	fmt.Fprintf(&l.lines, " %s %s %s", e.Data, e.Stop, e.Sequence)
	if e.Type == translator.EvFinal {
		fmt.Fprintf(&l.lines, " %+v", *e.Usage)
	}
	l.lines.WriteByte('\n')
}

// grammar checks the order of events.
type grammar struct {
	state int // 0 nothing, 1 between blocks, 2 in a block, 3 after Final, 4 after Stop
	bad   string
}

func (g *grammar) check(e *translator.Event) {
	from, to := 2, 2
	switch e.Type {
	case translator.EvStart:
		from, to = 0, 1
	case translator.EvBlockStart:
		from, to = 1, 2
	case translator.EvBlockStop:
		from, to = 2, 1
	case translator.EvFinal:
		from, to = 1, 3
	case translator.EvStop:
		from, to = 3, 4
	}
	if g.state != from && g.bad == "" {
		g.bad = fmt.Sprintf("event %d in state %d", e.Type, g.state)
	}
	g.state = to
	if e.Data != nil && !json.Valid(e.Data) {
		g.bad = fmt.Sprintf("data is no JSON: %q", e.Data)
	}
}

// feed gives all events of a stream to a source and stops at the first error.
func (l *listener) feed(stream string) error {
	s := codec.NewSource(l.b)
	rest := []byte(stream)
	for {
		ev, next, ok := sse.Cut(rest)
		if !ok {
			return l.b.Status().Broken
		}
		rest = next
		if err := s.Event(ev); err != nil {
			return err
		}
	}
}

func decode(t *testing.T, body string) *translator.Request {
	t.Helper()
	r, err := codec.Decode([]byte(body))
	if err != nil {
		t.Fatalf("Decode: %v", err)
	}
	return r
}

func encode(t *testing.T, r *translator.Request, model string) *translator.Encoded {
	t.Helper()
	e, err := codec.Encode(r, translator.Target{Model: model})
	if err != nil {
		t.Fatalf("Encode: %v", err)
	}
	if !json.Valid(e.Body) {
		t.Fatalf("the body is no JSON: %s", e.Body)
	}
	return e
}

// sameJSON compares two documents by what they mean.
func sameJSON(t *testing.T, got, want string) {
	t.Helper()
	if g, w := normal(t, got), normal(t, want); g != w {
		t.Errorf("got  %s\nwant %s", g, w)
	}
}

func normal(t *testing.T, doc string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(doc), &v); err != nil {
		t.Fatalf("%v in %s", err, doc)
	}
	out, _ := json.Marshal(v)
	return string(out)
}

// chunks are the data of a stream's events.
func chunks(t *testing.T, stream []byte) (out []string) {
	t.Helper()
	for rest := stream; ; {
		ev, next, ok := sse.Cut(rest)
		if !ok {
			if len(rest) > 0 {
				t.Fatalf("not whole events: %q", rest)
			}
			return out
		}
		rest = next
		out = append(out, string(ev.Data))
	}
}
