package translate_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sluice/shared/translator"
)

// rounds is how many random conversations and answers each pair is given.
const rounds = 100

// plainModels are models that take all settings of a talk.
var plainModels = map[string]string{"anthropic": "claude-sonnet-4-6", "chat": "gpt-4.1", "responses": "gpt-4.1"}

// across decodes a body of one dialect and encodes it for another, or for the same.
func across(t *testing.T, from, to *dialect, body []byte) (out []byte, enforce translator.Enforce) {
	t.Helper()
	p := pair{from, to}
	req, err := p.decode(body)
	if err != nil {
		t.Fatalf("%s: %v\n%s", from.name, err, body)
	}
	enc, err := to.Encode(req, p.target(plainModels[to.name]))
	if err != nil {
		t.Fatalf("%s for %s: %v\n%s", from.name, to.name, err, body)
	}
	if len(enc.Dropped) > 0 || len(enc.Tools) > 0 {
		t.Fatalf("%s for %s: dropped %v, tools %v", from.name, to.name, enc.Dropped, enc.Tools)
	}
	if to.name == "anthropic" && !alternate(enc.Body) {
		t.Fatalf("%s: turns do not alternate: %s", from.name, enc.Body)
	}
	return enc.Body, enc.Enforce
}

// TestRequestsKeepTheirWords: text, images, tools, calls, arguments and results of a request are the same in every dialect,
// and the same again on the way back.
func TestRequestsKeepTheirWords(t *testing.T) {
	for _, client := range dialects() {
		for _, upstream := range dialects() {
			t.Run(client.name+"-"+upstream.name, func(t *testing.T) {
				for i := range rounds {
					r := rand.New(rand.NewPCG(7, uint64(i)))
					one := someTalk(r)
					body := one.body(r, client.name)
					want := mustSee(t, client.name, body)
					there, enforce := across(t, client, upstream, body)
					compare(t, i, "there", want, mustSee(t, upstream.name, there), there)
					if got := stops(t, upstream.name, there, enforce); client.name != "responses" && !slices.Equal(got, one.stop) {
						t.Fatalf("round %d: stop sequences %q, want %q", i, got, one.stop)
					}
					back, _ := across(t, upstream, client, there)
					compare(t, i, "and back", want, mustSee(t, client.name, back), back)
				}
			})
		}
	}
}

func mustSee(t *testing.T, dialect string, body []byte) []string {
	t.Helper()
	lines, err := seen(dialect, body)
	if err != nil {
		t.Fatalf("%s: %v\n%s", dialect, err, body)
	}
	return lines
}

func compare(t *testing.T, round int, where string, want, got []string, body []byte) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Fatalf("round %d, %s: line %d\n got %q\nwant %q\n%s", round, where, i, got[min(i, len(got)):], want[i:], body)
		}
	}
	t.Fatalf("round %d, %s: more than there was: %q\n%s", round, where, got[len(want):], body)
}

// stops are the stop sequences that an upstream was told of, and those that the gateway holds itself.
func stops(t *testing.T, dialect string, body []byte, enforce translator.Enforce) []string {
	t.Helper()
	var o object
	if err := decodeNumbers(body, &o); err != nil {
		t.Fatal(err)
	}
	name := map[string]string{"anthropic": "stop_sequences", "chat": "stop"}[dialect]
	var told []string
	switch v := o[name].(type) {
	case string:
		told = []string{v}
	case []any:
		for _, s := range v {
			told = append(told, fmt.Sprint(s))
		}
	}
	return append(told, enforce.Stop...)
}

// answer is a random answer, told to a Builder.
type answer struct {
	parts []part
	stop  translator.StopReason
	usage translator.Usage
}

func someAnswer(r *rand.Rand) answer {
	a := answer{stop: translator.StopEndTurn}
	for i := range r.IntN(6) {
		switch n := r.IntN(5); {
		case n == 0:
			a.parts = append(a.parts, part{kind: "thinking", text: text(r), sig: fmt.Sprintf("sig%d+/==", i)})
		case n <= 2:
			a.parts = append(a.parts, part{kind: "text", text: text(r)})
		default:
			a.parts = append(a.parts, part{kind: "call", id: fmt.Sprintf("call_%d", i), name: fmt.Sprintf("tool_%d", r.IntN(3)), text: jsonText(arguments(r, 3))})
			a.stop = translator.StopToolUse
		}
	}
	if r.IntN(4) == 0 {
		a.stop = translator.StopMaxTokens
	}
	u := &a.usage
	u.Input, u.CacheRead, u.CacheWrite5m, u.Output = int64(r.IntN(1000)), int64(r.IntN(1000)), int64(r.IntN(1000)), int64(r.IntN(1000))
	u.Reasoning = u.Output / 2
	return a
}

// cutUp is a JSON string in pieces, each a JSON string. Pieces end between characters, as those of upstreams do.
func cutUp(r *rand.Rand, s string) []translator.Raw {
	var pieces []translator.Raw
	runes := []rune(s)
	for len(runes) > 0 {
		n := 1 + r.IntN(len(runes))
		pieces = append(pieces, translator.Quote(string(runes[:n])))
		runes = runes[n:]
	}
	return pieces
}

func (a answer) tell(r *rand.Rand, b *translator.Builder) {
	b.Start("up_1")
	for i := 0; i < len(a.parts); i++ {
		switch p := a.parts[i]; p.kind {
		case "thinking":
			for _, piece := range cutUp(r, p.text) {
				b.Thinking(piece)
			}
			b.Signature(translator.Quote(p.sig))
		case "text":
			for _, piece := range cutUp(r, p.text) {
				b.Text(piece, nil)
			}
			b.Close()
		case "call":
			i = a.tellCalls(r, b, i)
		}
	}
	*b.Usage(true) = a.usage
	b.Stop(a.stop, nil)
	b.End()
}

// tellCalls tells the calls that follow each other, one after the other or all at once; it returns the last one's place.
func (a answer) tellCalls(r *rand.Rand, b *translator.Builder, i int) int {
	mixed := r.IntN(2) == 0
	var keys []int
	waiting := map[int][]translator.Raw{}
	for ; i < len(a.parts) && a.parts[i].kind == "call"; i++ {
		p := a.parts[i]
		b.Tool(i, p.id, p.name, false)
		pieces := cutUp(r, p.text)
		if !mixed {
			for _, piece := range pieces {
				b.Input(i, piece)
			}
			continue
		}
		keys, waiting[i] = append(keys, i), pieces
	}
	for len(keys) > 0 {
		n := r.IntN(len(keys))
		key := keys[n]
		b.Input(key, waiting[key][0])
		if waiting[key] = waiting[key][1:]; len(waiting[key]) == 0 {
			keys = slices.Delete(keys, n, n+1)
		}
	}
	return i - 1
}

// words are an answer's words by kind, since a chat message has no order among them; calls with canonical arguments. Two
// thoughts may have a blank line between them.
func words(parts []part) string {
	var text, thinking strings.Builder
	var calls []string
	for _, p := range parts {
		switch p.kind {
		case "text":
			text.WriteString(p.text)
		case "thinking":
			thinking.WriteString(p.text)
		case "call":
			calls = append(calls, fmt.Sprintf("%s %s %s", p.id, p.name, canonical(p.text)))
		}
	}
	return fmt.Sprintf("text %q\nthinking %q\ncalls %q", text.String(), strings.ReplaceAll(thinking.String(), "\n\n", ""), calls)
}

func partsOf(r *translator.Reply) []part {
	var parts []part
	for _, b := range r.Blocks {
		switch b.Type {
		case translator.BlockText:
			parts = append(parts, part{kind: "text", text: b.Text.Text()})
		case translator.BlockThinking:
			parts = append(parts, part{kind: "thinking", text: b.Text.Text()})
		case translator.BlockToolUse:
			parts = append(parts, part{kind: "call", id: b.ID, name: b.Name, text: string(b.Input)})
		}
	}
	return parts
}

// TestAnswersKeepTheirWords: an answer written in a dialect is read from it as it was, streamed and whole, and through
// every pipe the text, the thinking, the calls and the counts stay.
func TestAnswersKeepTheirWords(t *testing.T) {
	req := &translator.Request{Model: "alias", IncludeUsage: true}
	for _, d := range dialects() {
		t.Run(d.name, func(t *testing.T) {
			for i := range rounds {
				r := rand.New(rand.NewPCG(11, uint64(i)))
				a := someAnswer(r)
				var stream []byte
				sink := d.NewSink(replyOptions(req))
				var c translator.Collector
				b := translator.NewBuilder(func(e *translator.Event) {
					stream = sink.Event(stream, e)
					c.Event(e)
				})
				a.tell(r, b)
				if err := b.Whole(); err != nil {
					t.Fatal(err)
				}
				if _, err := d.check(stream, checkOptions{usage: true}); err != nil {
					t.Fatalf("round %d: %v\n%s", i, err, stream)
				}
				a.readBack(t, i, d, stream, d.AppendReply(nil, &c.Reply, replyOptions(req)))
				for _, client := range dialects() {
					a.through(t, i, pair{client, d}, req, stream)
				}
			}
		})
	}
}

// readBack reads an answer with the dialect's own Source and ReadReply.
func (a answer) readBack(t *testing.T, round int, d *dialect, stream, whole []byte) {
	t.Helper()
	var streamed translator.Collector
	b := translator.NewBuilder(streamed.Event)
	src := d.NewSource(b)
	for _, ev := range sseEvents(t, stream) {
		if err := src.Event(ev); err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, stream)
		}
	}
	if err := b.Whole(); err != nil {
		t.Fatalf("round %d: %v\n%s", round, err, stream)
	}
	a.same(t, round, &streamed.Reply, stream)
	reply, _, err := pair{d, d}.whole(whole, &sent{Encoded: &translator.Encoded{}})
	if err != nil {
		t.Fatalf("round %d: %v\n%s", round, err, whole)
	}
	a.same(t, round, reply, whole)
}

func (a answer) same(t *testing.T, round int, r *translator.Reply, doc []byte) {
	t.Helper()
	if got, want := words(partsOf(r)), words(a.parts); got != want {
		t.Fatalf("round %d:\n%s\nwant\n%s\n%s", round, got, want, doc)
	}
	if r.Stop != a.stop {
		t.Fatalf("round %d: stop %q, want %q\n%s", round, r.Stop, a.stop, doc)
	}
	if r.Usage.Tokens != a.usage.Tokens || r.Usage.Reasoning != a.usage.Reasoning {
		t.Fatalf("round %d: usage %+v, want %+v\n%s", round, r.Usage, a.usage, doc)
	}
}

// through sends a stream through a pipe to a client.
func (a answer) through(t *testing.T, round int, p pair, req *translator.Request, stream []byte) {
	t.Helper()
	pipe := p.pipe(req, translator.Enforce{})
	out := append(slices.Clone(pipe.Batch(stream)), pipe.End()...)
	h, err := p.client.check(out, checkOptions{usage: true})
	if err != nil {
		t.Fatalf("round %d, %v: %v\n%s", round, p, err, out)
	}
	if got, want := words(h.parts), words(a.parts); got != want {
		t.Fatalf("round %d, %v:\n%s\nwant\n%s\n%s", round, p, got, want, out)
	}
	if tokens, estimated := pipe.Tokens(); tokens != a.usage.Tokens || estimated {
		t.Fatalf("round %d, %v: tokens %+v (estimated: %v), want %+v", round, p, tokens, estimated, a.usage.Tokens)
	}
}
