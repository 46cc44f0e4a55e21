package bedrock_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/shared/core"
	"sluice/shared/translator"
	"sluice/shared/translator/anthropic"
	"sluice/shared/translator/openaichat"
	"sluice/shared/translator/responses"
)

var update = flag.Bool("update", false, "write the golden files anew; read each of them before you keep it")

var fronts = map[string]translator.Front{"anthropic": anthropic.Codec{}, "chat": openaichat.Codec{}, "responses": responses.Codec{}}

// scene is one folder of testdata, testdata/<client>/<scene>. Written by hand, all but the first optional:
//
//	request.json     the client's body
//	model.txt        the id of the model; empty: a Claude
//	upstream.events  the streamed answer, see stream
//	upstream.json    the whole one
//
// The others are goldens.
type scene struct {
	dir   string
	front translator.Front
	out   map[string][]byte // by the name of the golden file
}

var goldens = [...]string{"upstream_request.json", "dropped.txt", "error.txt", "reply.sse", "reply.json", "usage.txt"}

func (s *scene) read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return data
}

// TestGolden compares every byte that is made with what was reviewed by eye. It proves D27 for Converse.
func TestGolden(t *testing.T) {
	dirs, err := filepath.Glob("testdata/*/*/request.json")
	if err != nil || len(dirs) < 8 {
		t.Fatalf("%d scenes, %v: the test would pass on next to nothing", len(dirs), err)
	}
	for _, d := range dirs {
		s := &scene{dir: filepath.Dir(d), front: fronts[filepath.Base(filepath.Dir(filepath.Dir(d)))], out: map[string][]byte{}}
		t.Run(s.dir, func(t *testing.T) {
			s.run(t)
			for _, name := range goldens {
				s.golden(t, name)
			}
		})
	}
}

func (s *scene) run(t *testing.T) {
	r, err := s.front.Decode(s.read(t, "request.json"))
	if err != nil {
		t.Fatal(err)
	}
	fitted, names := r.FitNamesTo(codec.Names())
	model := strings.TrimSpace(string(s.read(t, "model.txt")))
	if model == "" {
		model = sonnet
	}
	e, err := codec.Encode(fitted, translator.Target{Model: model})
	if err != nil {
		var f *translator.FieldError
		if !errors.As(err, &f) {
			t.Fatal(err)
		}
		s.out["error.txt"] = []byte(f.Path(r.From) + ": " + f.Message + "\n")
		return
	}
	if _, problem := valid(e.Body); problem != "" {
		t.Fatalf("the service refuses %s: %s", problem, e.Body)
	}
	s.out["upstream_request.json"] = append(e.Body, '\n')
	for _, d := range e.Dropped {
		s.out["dropped.txt"] = append(s.out["dropped.txt"], d+"\n"...)
	}
	for _, d := range e.Tools {
		s.out["dropped.txt"] = append(s.out["dropped.txt"], "tool "+d+"\n"...)
	}
	o := translator.ReplyOptions{ID: "r1", Model: r.Model, Created: 1, Request: r}
	s.streamed(t, e, names, o)
	s.whole(t, e, names, o)
}

func (s *scene) streamed(t *testing.T, e *translator.Encoded, names map[string]string, o translator.ReplyOptions) {
	events := s.read(t, "upstream.events")
	if events == nil {
		return
	}
	p := translator.NewPipe(codec, s.front.NewSink(o), e.Enforce)
	p.Rename(names)
	out := bytes.Clone(p.Batch(stream(t, strings.Split(strings.TrimSpace(string(events)), "\n")...)))
	st := p.Status()
	if !st.Ended {
		out = append(out, p.End()...)
	}
	if st.Broken != nil {
		t.Fatal(st.Broken)
	}
	if st.Err != nil && !st.Content { // another node may answer: the client is sent nothing yet
		out = s.front.AppendErrorEvent(nil, st.Err, o)
	}
	s.out["reply.sse"] = out
	tokens, guess := p.Tokens()
	s.out["usage.txt"] = usage(tokens, guess)
}

func usage(t core.Tokens, guess bool) []byte { return fmt.Appendf(nil, "%+v estimated=%v\n", t, guess) }

func (s *scene) whole(t *testing.T, e *translator.Encoded, names map[string]string, o translator.ReplyOptions) {
	body := s.read(t, "upstream.json")
	if body == nil {
		return
	}
	var c translator.Collector
	b := translator.NewBuilder(c.Event)
	b.Enforce(e.Enforce)
	b.Rename(names)
	err := codec.ReadReply(body, b)
	var reported *translator.Error
	if errors.As(err, &reported) {
		s.out["reply.json"] = append(s.front.AppendError(nil, reported, o.ID), '\n')
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	s.out["reply.json"] = append(s.front.AppendReply(nil, &c.Reply, o), '\n')
	tokens, guess := b.Tokens()
	if got := usage(tokens, guess); !bytes.Equal(got, s.out["usage.txt"]) {
		t.Errorf("the whole answer has other counts than the streamed one: %s", got)
	}
}

func (s *scene) golden(t *testing.T, name string) {
	path, got := filepath.Join(s.dir, name), s.out[name]
	if *update {
		err := os.WriteFile(path, got, 0o644)
		if len(got) == 0 {
			if err = os.Remove(path); errors.Is(err, os.ErrNotExist) {
				err = nil
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	if want := s.read(t, name); !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test -run Golden -update writes it anew)\n got:\n%s\nwant:\n%s", path, got, want)
	}
}
