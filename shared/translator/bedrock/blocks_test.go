package bedrock_test

import (
	"fmt"
	"strings"
	"testing"
)

// Blocks that come beside each other are told apart by their index; a client gets them one after another, in the order in which
// they began, each whole.
func TestSource_BesideEachOther(t *testing.T) {
	a, b := `"{\"x\":`, `"{\"y\":`
	one, two := `1}"`, `2}"`
	q := func(s string) string { return `"` + s }
	for _, c := range []struct {
		why    string
		events []string
		want   string
	}{
		{"two calls at once", []string{begin(0, "a"), begin(1, "b"), input(0, a+`"`), input(1, b+`"`), input(0, q(one)), input(1, q(two)), end(0), end(1)},
			`a=f_a({"x":1}); b=f_b({"y":2}); tool_use`},
		{"the second ends first", []string{begin(0, "a"), begin(1, "b"), input(1, b+two), end(1), input(0, a+one), end(0)}, `a=f_a({"x":1}); b=f_b({"y":2}); tool_use`},
		{"neither ends", []string{begin(0, "a"), begin(1, "b"), input(0, a+one), input(1, b+two)}, `a=f_a({"x":1}); b=f_b({"y":2}); tool_use`},
		{"D26: without input, both", []string{begin(0, "a"), begin(1, "b"), end(1), end(0)}, `a=f_a({}); b=f_b({}); tool_use`},
		{"without input, the first", []string{begin(0, "a"), begin(1, "b"), input(1, b+two), end(0), end(1)}, `a=f_a({}); b=f_b({"y":2}); tool_use`},
		{"text between two calls", []string{begin(0, "a"), say(1, "So"), begin(2, "b"), input(0, a+one), say(1, "."), input(2, b+two), end(0), end(1), end(2)},
			`a=f_a({"x":1}); text "So."; b=f_b({"y":2}); tool_use`},
		{"text that goes on behind a call's begin", []string{say(0, "Hel"), begin(1, "a"), say(0, "lo"), input(1, a+one), end(0), end(1)}, `text "Hello"; a=f_a({"x":1}); tool_use`},
		{"text that is never closed before a call", []string{say(0, "x"), begin(1, "a"), input(1, a+one), end(1)}, `text "x"; a=f_a({"x":1}); tool_use`},
		{"text that ends another while a call waits", []string{say(0, "x"), begin(1, "a"), say(2, "y"), input(1, a+one), end(1), end(2)}, `text "x"; a=f_a({"x":1}); text "y"; tool_use`},
		{"thinking beside a call", []string{think(0, `"text":"h"`), begin(1, "a"), think(0, `"text":"m"`), input(1, a+one), think(0, `"signature":"s"`), end(0), end(1)},
			`thinking "hm" "s"; a=f_a({"x":1}); tool_use`},
		{"the service's own call beside one", []string{`contentBlockStart {"contentBlockIndex":0,"start":{"toolUse":{"toolUseId":"s","name":"g","type":"server_tool_use"}}}`, begin(1, "a"), input(0, `"{}"`), input(1, a+one), end(0), end(1)},
			`a=f_a({"x":1}); tool_use`},
		{"three, of which the limit cuts the last", []string{begin(0, "a"), begin(1, "b"), begin(2, "c"), input(2, `"{"`), input(1, b+two), input(0, a+one), end(0), end(1)},
			`a=f_a({"x":1}); b=f_b({"y":2}); c=f_c({"arguments":"{"}); tool_use`},
		{"an end without an index is that of the block that is read", []string{begin(0, "a"), begin(1, "b"), input(0, a+one), `contentBlockStop {}`, input(1, b+two), end(1)}, `a=f_a({"x":1}); b=f_b({"y":2}); tool_use`},
		{"an end of no block", []string{begin(0, "a"), end(7), input(0, a+one), end(0)}, `a=f_a({"x":1}); tool_use`},
	} {
		t.Run(c.why, func(t *testing.T) {
			l := newListener()
			events := append(append([]string{start}, c.events...), stop("tool_use"), counts)
			if err := l.feed(stream(t, events...)); err != nil || l.bad != "" || l.b.Status().Broken != nil {
				t.Fatal(err, l.bad, l.b.Status().Broken)
			}
			if got := describe(&l.c.Reply); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// What waits is bounded, in blocks and in bytes.
func TestSource_TooMuchWaits(t *testing.T) {
	many := []string{start}
	for i := range 10_002 {
		many = append(many, begin(i, "a"))
	}
	large := []string{start, begin(0, "a"), begin(1, "b")}
	for range 18 {
		large = append(large, input(1, `"`+strings.Repeat("x", 1<<20)+`"`))
	}
	for why, events := range map[string][]string{"blocks": many, "bytes": large} {
		l := newListener()
		if err := l.feed(stream(t, events...)); err == nil || !strings.Contains(fmt.Sprint(err), "beside each other") {
			t.Errorf("%s: %v", why, err)
		}
	}
}
