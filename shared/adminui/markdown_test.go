package adminui

import (
	"net/url"
	"reflect"
	"strings"
	"testing"
)

func TestMarkdown(t *testing.T) {
	line := func(ps ...piece) [][]piece { return [][]piece{ps} }
	for _, c := range []struct {
		why, text string
		want      []block
	}{
		{"the first heading is the page's", "# T\n\nOne\ntwo.\n\n## A\n### B", []block{{"p", line(piece{Text: "One two."})}, {"h2", line(piece{Text: "A"})}, {"h3", line(piece{Text: "B"})}}},
		{"a list, lines that go on", "- a\n  b\n- `c<d` **e**\ntext", []block{{"ul", [][]piece{{{Text: "a b"}}, {{Kind: "code", Text: "c<d"}, {Text: " "}, {Kind: "strong", Text: "e"}, {Text: " text"}}}}}},
		{"HTML is text", "<script>x</script>", []block{{"p", line(piece{Text: "<script>x</script>"})}}},
		{"links of the web alone", "[a](https://x.example/b) [c](javascript:alert) [d](docs/x.md) [e] (f)", []block{{"p", line(piece{Kind: "a", Text: "a", Href: "https://x.example/b"}, piece{Text: " c d [e] (f)"})}}},
		{"what is not closed is text", "a `b **c", []block{{"p", line(piece{Text: "a `b **c"})}}},
		{"code", "```go\n a # b\n\n- c\n```\nd", []block{{"pre", line(piece{Text: " a # b\n\n- c"})}, {"p", line(piece{Text: "d"})}}},
		{"no heading", "#x\n####### y", []block{{"p", line(piece{Text: "#x ####### y"})}}},
	} {
		if got := markdown(c.text); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q", c.why, got)
		}
	}
}

// FuzzMarkdown: whatever a text says, there are blocks that the template knows, and links of the web alone.
func FuzzMarkdown(f *testing.F) {
	for _, s := range []string{"# a\n- b\n```\nc", "[a](http://b)", "**`[](", "- \n-  \n\n* x", "```", "######  "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, b := range markdown(text) {
			if !strings.Contains(" h2 h3 p ul pre ", " "+b.Kind+" ") || len(b.Lines) == 0 {
				t.Errorf("%q: %+v", text, b)
			}
			for _, l := range b.Lines {
				for _, p := range l {
					if u, err := url.Parse(p.Href); p.Kind == "a" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
						t.Errorf("%q: %+v", text, p)
					}
				}
			}
		}
	})
}
