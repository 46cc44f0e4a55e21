package translate_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sluice/shared/translator"
)

// qMessage is a message of Amazon Q's body, of either side.
type qMessage struct {
	User *struct {
		Content string
		Images  []struct{ Source struct{ Bytes string } }
		Context struct {
			Results []struct {
				ID      string `json:"toolUseId"`
				Content []struct{ Text string }
			} `json:"toolResults"`
			Tools []struct {
				Spec struct {
					Name        string
					Description string
					Schema      struct{ JSON json.RawMessage } `json:"inputSchema"`
				} `json:"toolSpecification"`
			}
		} `json:"userInputMessageContext"`
	} `json:"userInputMessage"`
	Assistant *struct {
		Content string
		Uses    []struct {
			ID    string `json:"toolUseId"`
			Name  string
			Input json.RawMessage
		} `json:"toolUses"`
	} `json:"assistantResponseMessage"`
}

// qSeen is what a request for Amazon Q says. Its messages hold what others say in several, and images stand apart from
// text: the words alone are the same.
type qSeen struct {
	texts                string // of all messages, one after the other
	images, calls, tools []string
	results              map[string]string // by the call's id
}

func seenByQ(t *testing.T, body []byte) (v qSeen) {
	t.Helper()
	var b struct {
		State struct {
			History []qMessage
			Current qMessage `json:"currentMessage"`
		} `json:"conversationState"`
	}
	if err := json.Unmarshal(body, &b); err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	v.results = map[string]string{}
	for _, m := range append(b.State.History, b.State.Current) {
		if a := m.Assistant; a != nil {
			v.texts += a.Content + "\n"
			for _, u := range a.Uses {
				v.calls = append(v.calls, fmt.Sprintf("%s %s %s", u.ID, u.Name, canonical(string(u.Input))))
			}
			continue
		}
		v.texts += m.User.Content + "\n"
		for _, i := range m.User.Images {
			v.images = append(v.images, i.Source.Bytes)
		}
		for _, r := range m.User.Context.Results {
			for _, c := range r.Content {
				v.results[r.ID] += c.Text
			}
		}
		for _, x := range m.User.Context.Tools {
			v.tools = append(v.tools, fmt.Sprintf("%s %q %s", x.Spec.Name, x.Spec.Description, canonical(string(x.Spec.Schema.JSON))))
		}
	}
	return v
}

// told is what a talk says, its texts in their order.
func (t talk) told() (texts []string, v qSeen) {
	v.results = map[string]string{}
	if t.system != "" {
		texts = append(texts, t.system)
	}
	for _, u := range t.turns {
		for _, r := range u.results {
			v.results[r.id] = r.text
		}
		for _, s := range u.said {
			if isImage(s) {
				v.images = append(v.images, base64Of(s))
			} else {
				texts = append(texts, s)
			}
		}
		for _, c := range u.calls {
			v.calls = append(v.calls, fmt.Sprintf("%s %s %s", c.id, c.name, canonical(jsonText(c.args))))
		}
	}
	for _, x := range t.tools {
		v.tools = append(v.tools, fmt.Sprintf("%s %q %s", x.name, x.about, canonical(jsonText(x.schema))))
	}
	return texts, v
}

// toQ encodes a body for Amazon Q.
func toQ(t *testing.T, p pair, body []byte) *sent {
	t.Helper()
	req, err := p.decode(body)
	if err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	s, err := p.encode(req, "")
	if err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	return s
}

// sameWords fails unless the body for Amazon Q says what was told.
func sameWords(t *testing.T, texts []string, want qSeen, body []byte) {
	t.Helper()
	got := seenByQ(t, body)
	rest := got.texts
	for _, s := range texts {
		_, after, ok := strings.Cut(rest, s)
		if !ok {
			t.Fatalf("%q is not where it should be in\n%s", s, body)
		}
		rest = after
	}
	for what, lists := range map[string][2][]string{"images": {got.images, want.images}, "calls": {got.calls, want.calls}, "tools": {got.tools, want.tools}} {
		if !slices.Equal(lists[0], lists[1]) {
			t.Fatalf("%s\n got %q\nwant %q\n%s", what, lists[0], lists[1], body)
		}
	}
	if !maps.Equal(got.results, want.results) {
		t.Fatalf("results\n got %q\nwant %q\n%s", got.results, want.results, body)
	}
}

// acrossToQ fails unless each message of a long conversation is in the body.
func acrossToQ(t *testing.T, p pair, body []byte) {
	t.Helper()
	want := mustSee(t, p.client.name, body)
	out := seenByQ(t, toQ(t, p, body).Body)
	all := strings.Join(append(append([]string{out.texts}, out.calls...), slices.Collect(maps.Values(out.results))...), "\n")
	for _, word := range []string{"The quick brown fox", "I look.", "Go on.", "And now?", "return fmt.Errorf"} {
		n := 0
		for _, line := range want {
			n += strings.Count(line, word)
		}
		if got := strings.Count(all, word); n == 0 || got != n {
			t.Errorf("%v: %q stands there %d times, want %d", p, word, got, n)
		}
	}
}

// TestAmazonQ_RequestsKeepTheirWords: text, images, tools, calls and results of any conversation arrive at Amazon Q, in a
// form that the service takes; what it has no place for is named or kept by the gateway.
func TestAmazonQ_RequestsKeepTheirWords(t *testing.T) {
	q := newQ(t)
	for _, client := range dialects() {
		p := pair{client, dialectNamed(t, "amazonq")}
		t.Run(p.String(), func(t *testing.T) {
			for i := range rounds {
				r := rand.New(rand.NewPCG(17, uint64(i)))
				one := someTalk(r)
				one.choice = "" // it is refused
				body := one.body(r, client.name)
				s := toQ(t, p, body)
				accepted(t, q, s.Body)
				texts, want := one.told()
				sameWords(t, texts, want, s.Body)
				if e := s.Enforce; client.name != "responses" && !slices.Equal(e.Stop, one.stop) || e.MaxTokens != int64(one.max) {
					t.Fatalf("round %d: enforces %+v, want %q and %d", i, e, one.stop, one.max)
				}
				if named := len(s.Dropped) == 1; named != (one.user != "") || len(s.Tools) > 0 {
					t.Fatalf("round %d: dropped %q, tools %q, of the user %q", i, s.Dropped, s.Tools, one.user)
				}
				if t.Failed() {
					t.FailNow()
				}
			}
		})
	}
}

// TestAmazonQ_AnswersKeepTheirWords: what an answer of Amazon Q says and counts arrives at every client.
func TestAmazonQ_AnswersKeepTheirWords(t *testing.T) {
	req := &translator.Request{Model: "alias", IncludeUsage: true}
	upstream := dialectNamed(t, "amazonq")
	for i := range rounds {
		r := rand.New(rand.NewPCG(19, uint64(i)))
		a := someAnswer(r)
		if len(a.parts) == 0 {
			continue // no answer of Amazon Q
		}
		var stream []byte
		sink := upstream.teller()
		b := translator.NewBuilder(func(e *translator.Event) { stream = sink.Event(stream, e) })
		a.tell(r, b)
		for _, client := range dialects() {
			a.through(t, i, pair{client, upstream}, req, stream)
		}
	}
}
