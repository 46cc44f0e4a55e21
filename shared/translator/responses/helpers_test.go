package responses_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/sse"
	"sluice/shared/translator"
	"sluice/shared/translator/responses"
)

var update = flag.Bool("update", false, "write the golden files anew")

var codec responses.Codec

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (run with -update to write it anew):\n%s", path, got)
	}
}

// dump writes what a request says of the conversation and the tools, a line each.
func dump(r *translator.Request) string {
	var b strings.Builder
	for _, s := range r.System {
		fmt.Fprintf(&b, "system %s\n", s.Text)
	}
	for _, m := range r.Messages {
		fmt.Fprintf(&b, "%s:", [...]string{"user", "assistant", "system"}[m.Role])
		for i := range m.Content {
			b.WriteString(" " + dumpBlock(&m.Content[i]))
		}
		b.WriteString("\n")
	}
	for _, t := range r.Tools {
		fmt.Fprintf(&b, "tool %d %s", t.Type, t.Name)
		if t.Namespace != "" {
			fmt.Fprintf(&b, " (%s / %s)", t.Namespace, t.Original)
		}
		fmt.Fprintf(&b, " %s%s%s\n", t.Kind, t.Schema, t.Grammar)
	}
	if c := r.ToolChoice; c != nil {
		fmt.Fprintf(&b, "choice %d %q allowed=%q noparallel=%v implied=%v\n", c.Type, c.Name, c.Allowed, c.NoParallel, c.Implied)
	}
	return b.String()
}

func dumpBlock(b *translator.Block) string {
	switch b.Type {
	case translator.BlockText:
		if b.Refusal {
			return fmt.Sprintf("refusal(%s)", b.Text)
		}
		return fmt.Sprintf("text(%s)", b.Text)
	case translator.BlockImage, translator.BlockDocument:
		return fmt.Sprintf("media(%d %s %s %s)", b.Media.Type, b.Media.MIME, b.Media.Data, b.Media.Title)
	case translator.BlockThinking, translator.BlockRedacted:
		if id, enc, ok := translator.Reasoning(b.Signature); ok {
			return fmt.Sprintf("openai-thinking(%s %s %s)", b.Text, id, enc)
		}
		return fmt.Sprintf("thinking(%s %s)", b.Text, b.Signature)
	case translator.BlockToolUse:
		return fmt.Sprintf("call(%s %s %s custom=%v)", b.ID, b.Name, b.Input, b.Custom)
	case translator.BlockToolResult:
		s := fmt.Sprintf("result(%s", b.ID)
		for i := range b.Content {
			s += " " + dumpBlock(&b.Content[i])
		}
		return s + ")"
	}
	return "other(" + b.Kind + ")"
}

func path(t *testing.T, err error) string {
	t.Helper()
	var fe *translator.FieldError
	if !errors.As(err, &fe) {
		t.Fatalf("got %v, not a FieldError", err)
	}
	if fe.Message == "" {
		t.Errorf("%v has no message", err)
	}
	return fe.Path(core.DialectOpenAIResponses)
}

// log writes the events that a Builder makes, a line each.
type log struct{ strings.Builder }

func (l *log) event(e *translator.Event) {
	switch e.Type {
	case translator.EvStart:
		fmt.Fprintf(l, "start %s\n", e.Upstream)
	case translator.EvBlockStart:
		fmt.Fprintf(l, "%d begin %d %s %s custom=%v refusal=%v\n", e.Index, e.Block.Type, e.Block.ID, e.Block.Name, e.Block.Custom, e.Block.Refusal)
	case translator.EvText, translator.EvThinking, translator.EvInput:
		fmt.Fprintf(l, "%d + %s %s\n", e.Index, e.Data, e.Logprobs)
	case translator.EvSignature:
		id, enc, _ := translator.Reasoning(e.Data)
		fmt.Fprintf(l, "%d signature %s %s\n", e.Index, id, enc)
	case translator.EvCitation:
		fmt.Fprintf(l, "%d cite %s %s %d-%d\n", e.Index, e.Citation.URL, e.Citation.Title, e.Citation.Start, e.Citation.End)
	case translator.EvBlockStop:
		if e.Block.Type == translator.BlockRedacted {
			id, enc, _ := translator.Reasoning(e.Block.Signature)
			fmt.Fprintf(l, "%d redacted %s %s\n", e.Index, id, enc)
		}
		fmt.Fprintf(l, "%d end\n", e.Index)
	case translator.EvFinal:
		fmt.Fprintf(l, "final %s in=%d read=%d write=%d out=%d reasoning=%d\n", e.Stop, e.Usage.Input, e.Usage.CacheRead, e.Usage.CacheWrite5m, e.Usage.Output, e.Usage.Reasoning)
	case translator.EvStop:
		l.WriteString("stop\n")
	}
}

// read feeds a stream to a Source; cut says after how many bytes each piece ends.
func read(stream string, cut func(rest int) int) (*log, *translator.Builder) {
	l := &log{}
	b := translator.NewBuilder(l.event)
	feed(codec.NewSource(b), b, stream, cut)
	return l, b
}

func feed(src translator.Source, b *translator.Builder, stream string, cut func(rest int) int) {
	var held []byte
	for len(stream) > 0 {
		n := min(len(stream), cut(len(stream)))
		held, stream = append(held, stream[:n]...), stream[n:]
		for {
			ev, rest, ok := sse.Cut(held)
			if !ok || b.Status().Ended || b.Status().Broken != nil {
				break
			}
			if err := src.Event(ev); err != nil {
				b.Break(err)
			}
			held = rest
		}
	}
}

func whole(rest int) int { return rest }
func bytewise(int) int   { return 1 }

// events makes a stream of data objects; the event's name is the object's type.
func events(data ...string) string {
	var b strings.Builder
	for i, d := range data {
		var m map[string]any
		if err := json.Unmarshal([]byte(d), &m); err != nil {
			panic(err)
		}
		d = strings.TrimSuffix(d, "}") + fmt.Sprintf(`,"sequence_number":%d}`, i)
		fmt.Fprintf(&b, "event: %s\ndata: %s\n\n", m["type"], d)
	}
	return b.String()
}

// checkStream holds an answer's stream against what every client of the API relies on.
func checkStream(t *testing.T, stream []byte) {
	t.Helper()
	sequence := 0
	open := map[float64]map[string]any{}
	for len(stream) > 0 {
		ev, rest, ok := sse.Cut(stream)
		if !ok {
			t.Fatalf("the end is no whole event: %q", stream)
		}
		stream = rest
		if bytes.Count(ev.Raw, []byte("data: ")) != 1 {
			t.Errorf("data of several lines: %q", ev.Raw)
		}
		var m map[string]any
		if err := json.Unmarshal(ev.Data, &m); err != nil {
			t.Fatalf("%v: %s", err, ev.Data)
		}
		if m["type"] != string(ev.Name) {
			t.Errorf("event %q has the type %v", ev.Name, m["type"])
		}
		if m["sequence_number"] != float64(sequence) {
			t.Errorf("%s: sequence_number %v, want %d", ev.Name, m["sequence_number"], sequence)
		}
		sequence++
		checkItem(t, string(ev.Name), m, open)
	}
	if len(open) > 0 {
		t.Errorf("items that never ended: %v", open)
	}
}

func checkItem(t *testing.T, name string, m map[string]any, open map[float64]map[string]any) {
	t.Helper()
	index, about := m["output_index"].(float64)
	switch {
	case name == "response.output_item.added":
		open[index] = m["item"].(map[string]any)
	case name == "response.output_item.done":
		if open[index]["id"] != m["item"].(map[string]any)["id"] {
			t.Errorf("item %v ends with another id: %v", open[index], m["item"])
		}
		delete(open, index)
	case about && (open[index] == nil || open[index]["id"] != m["item_id"]):
		t.Errorf("%s is about no open item: %v", name, m)
	}
}
