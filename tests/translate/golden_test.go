package translate_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"sluice/shared/translator"
	"sluice/shared/upstream/upstreamtest"
)

var update = flag.Bool("update", false, "write the golden files anew; read each of them before you keep it")

// scene is one folder of testdata, testdata/<client>-<upstream>/<trap>. Written by hand, all but the first optional:
//
//	request.json        the client's body
//	model.txt           what the upstream calls the model, where it is not the dialect's usual one
//	upstream.sse        the upstream's streamed answer
//	upstream.events     that of Amazon Q, which is its whole answer too; see frames
//	upstream.json       its whole one
//	upstream_error.txt  its error: the status in the first line, then the body
//	request2.json       the client's next body, with "$REPLY" for what it heard
//
// The others are goldens. A scene is named after the fault it would show.
type scene struct {
	pair
	dir   string
	name  string // of the trap
	model string // the upstream's, from model.txt; empty: the pair's own
}

// scenes lists testdata/<client>-<upstream>/<trap>.
func scenes(tb testing.TB) []scene {
	tb.Helper()
	dirs, err := filepath.Glob("testdata/*-*/*/request.json")
	if err != nil {
		tb.Fatal(err)
	}
	if len(dirs) < 100 {
		tb.Fatalf("only %d scenes in testdata: the test would pass on next to nothing", len(dirs))
	}
	var all []scene
	for _, d := range dirs {
		dir := filepath.Dir(d)
		client, upstream, _ := strings.Cut(filepath.Base(filepath.Dir(dir)), "-")
		s := scene{pair: pair{dialectNamed(tb, client), dialectNamed(tb, upstream)}, dir: dir, name: filepath.Base(dir)}
		s.model = strings.TrimSpace(string(s.read(tb, "model.txt")))
		all = append(all, s)
	}
	return all
}

// read returns a file of the scene, nil when there is none.
func (s scene) read(tb testing.TB, name string) []byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		tb.Fatal(err)
	}
	return data
}

// streamed is the upstream's streamed answer, nil when there is none.
func (s scene) streamed(tb testing.TB) []byte {
	tb.Helper()
	if s.upstream.isQ() {
		return qFrames(tb, s.read(tb, "upstream.events"))
	}
	return s.read(tb, "upstream.sse")
}

// judge checks what Amazon Q is sent with the checks of its fake.
func (k *take) judge(t *testing.T, body []byte) {
	t.Helper()
	if k.upstream.isQ() {
		accepted(t, k.q, body)
	}
}

// golden compares with a file of the scene; nothing at all has no file.
func (s scene) golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join(s.dir, name)
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

// TestGolden compares every byte that the codecs make with what was reviewed by eye. The folders bear the names of the
// faults that other gateways had. It proves D26, D33-D38, D41-D43, D48 and D49 for translated requests, D15 for every
// upstream, and D27 for Amazon Q.
func TestGolden(t *testing.T) {
	q := newQ(t)
	for _, s := range scenes(t) {
		t.Run(s.String()+"/"+s.name, func(t *testing.T) { s.run(t, q) })
	}
}

// goldens are the files that are made; all others of a scene are written by hand.
var goldens = [...]string{"error.txt", "upstream_request.json", "dropped.txt", "reply.json", "reply.sse", "reply_error.txt",
	"usage.json", "upstream_request2.json"}

// take is one run of a scene.
type take struct {
	scene
	q    *upstreamtest.AmazonQ // judges what Amazon Q is sent
	req  *translator.Request
	enc  *sent
	out  map[string][]byte // by the name of the golden file
	used usages
}

func (s scene) run(t *testing.T, q *upstreamtest.AmazonQ) {
	k := &take{scene: s, q: q, out: map[string][]byte{}}
	k.request(t)
	for _, name := range goldens {
		s.golden(t, name, k.out[name])
	}
}

func (k *take) request(t *testing.T) {
	var err error
	step := "decode"
	if k.req, err = k.decode(k.read(t, "request.json")); err == nil {
		step = "encode"
		k.enc, err = k.encode(k.req, k.model)
	}
	if err != nil {
		k.out["error.txt"] = []byte(fieldError(t, err, k.client, step))
		return
	}
	k.judge(t, k.enc.Body)
	k.out["upstream_request.json"] = pretty(t, k.enc.Body)
	k.out["dropped.txt"] = []byte(dropped(k.enc.Encoded))
	k.answers(t)
}

func (k *take) answers(t *testing.T) {
	var second []byte
	if body := k.read(t, "upstream.json"); body != nil {
		second = k.reply(t, body)
	}
	if stream := k.streamed(t); stream != nil {
		if k.upstream.isQ() {
			second = k.reply(t, stream)
		}
		got := k.stream(t, stream)
		if second != nil && got != nil && !sameJSON(second, got) {
			t.Errorf("the next request differs after a streamed answer:\n%s\nafter a whole one:\n%s", got, second)
		}
		if second == nil {
			second = got
		}
	}
	if body := k.read(t, "upstream_error.txt"); body != nil {
		k.upstreamError(t, body)
	}
	if second != nil {
		k.out["upstream_request2.json"] = pretty(t, second)
	}
	k.out["usage.json"] = k.used.file(t)
}

// fieldError is the text of a refusal. Encoders and decoders return no other error.
func fieldError(t *testing.T, err error, client *dialect, step string) string {
	t.Helper()
	var fe *translator.FieldError
	if !errors.As(err, &fe) {
		t.Fatalf("%s: %v is no *FieldError", step, err)
	}
	return step + "\n" + fe.Path(client.id) + "\n" + fe.Message + "\n"
}

// dropped is what of the request the upstream is not told.
func dropped(e *translator.Encoded) string {
	var b strings.Builder
	list := func(name string, items []string) {
		if len(items) > 0 {
			fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(items, ", "))
		}
	}
	list("dropped", e.Dropped)
	list("tools", e.Tools)
	for _, s := range e.Enforce.Stop {
		fmt.Fprintf(&b, "stop: %q\n", s)
	}
	if e.Enforce.MaxTokens != 0 {
		fmt.Fprintf(&b, "max tokens: %d\n", e.Enforce.MaxTokens)
	}
	return b.String()
}

// usages are what was counted, and how the answer came to its end.
type usages struct {
	Whole  *counted `json:"whole,omitempty"`
	Stream *counted `json:"stream,omitempty"`
}

type counted struct {
	Tokens    any    `json:"tokens"`
	Estimated bool   `json:"estimated"`
	End       string `json:"end"` // whole, error, broken, cut (no end), enforced
}

func (u *usages) file(t *testing.T) []byte {
	t.Helper()
	if *u == (usages{}) {
		return nil
	}
	doc, err := json.Marshal(u)
	if err != nil {
		t.Fatal(err)
	}
	return pretty(t, doc)
}

func ending(st *translator.Status) string {
	switch {
	case st.Broken != nil:
		return "broken"
	case st.Err != nil:
		return "error"
	case st.Cut:
		return "enforced"
	case st.Ended:
		return "whole"
	}
	return "cut"
}

// reply is the answer that was not streamed; it returns the next request.
func (k *take) reply(t *testing.T, body []byte) []byte {
	r, b, err := k.whole(body, k.enc)
	tokens, estimated := b.Tokens()
	k.used.Whole = &counted{tokens, estimated, ending(b.Status())}
	var upstream *translator.Error
	if errors.As(err, &upstream) {
		k.used.Whole.End = "error"
		k.out["reply_error.txt"] = k.errorText(upstream)
		return nil
	}
	if err != nil {
		k.used.Whole.End = "broken"
		return nil
	}
	out := k.client.AppendReply(nil, r, replyOptions(k.req))
	k.out["reply.json"] = pretty(t, out)
	h, err := hearReply(k.client.name, out)
	if err != nil {
		t.Errorf("reply: %v", err)
		return nil
	}
	return k.second(t, h)
}

// stream is the streamed answer; it returns the next request.
func (k *take) stream(t *testing.T, stream []byte) []byte {
	pipe := k.pipeOf(k.req, k.enc)
	out := k.drain(t, pipe, bytes.NewReader(stream))
	st := pipe.Status()
	tokens, estimated := pipe.Tokens()
	k.used.Stream = &counted{tokens, estimated, ending(st)}
	switch {
	case st.Err != nil && !st.Content: // the gateway answers with a status in place of a stream
		k.out["reply_error.txt"] = k.errorText(st.Err)
		return nil
	case !st.Ended && !st.Content: // likewise
		k.out["reply_error.txt"] = k.errorText(brokenOff())
		return nil
	case !st.Ended:
		out = append(out, pipe.Fail(brokenOff())...)
	}
	k.out["reply.sse"] = out
	bad := k.name == "badarguments"
	h, err := k.client.check(out, checkOptions{usage: k.req.IncludeUsage, failed: !st.Ended || st.Err != nil, legacy: k.req.Legacy, bad: bad})
	if err != nil {
		t.Errorf("the client's stream: %v\n%s", err, out)
		return nil
	}
	if !st.Ended || st.Err != nil {
		return nil
	}
	if reply := k.out["reply.json"]; reply != nil && !bad {
		w, err := hearReply(k.client.name, reply)
		if err != nil {
			t.Fatal(err)
		}
		if st.Cut {
			h.usage = nil // the upstream was not heard out
		}
		if diff := h.diff(w); diff != "" {
			t.Errorf("the streamed answer says other things than the whole one: %s", diff)
		}
	}
	return k.second(t, h)
}

// upstreamError is an error body: its first line is the status.
func (k *take) upstreamError(t *testing.T, file []byte) {
	line, body, _ := bytes.Cut(file, []byte("\n"))
	status, err := strconv.Atoi(string(line))
	if err != nil {
		t.Fatal(err)
	}
	k.out["reply_error.txt"] = k.errorText(k.upstream.ParseError(status, body))
}

// errorText is what the client is sent for an error: status, body, and the event where the stream has begun.
func (k *take) errorText(e *translator.Error) []byte {
	o := translator.ReplyOptions{ID: replyID, Model: "m", Created: created}
	out := append([]byte(strconv.Itoa(e.Status)), '\n')
	out = append(k.client.AppendError(out, e, replyID), "\n\n"...)
	return k.client.AppendErrorEvent(out, e, o)
}

// second encodes request2.json, in which "$REPLY" stands for what the client heard.
func (k *take) second(t *testing.T, h *heard) []byte {
	body := k.read(t, "request2.json")
	if body == nil {
		return nil
	}
	said, err := json.Marshal(h.history)
	if err != nil {
		t.Fatal(err)
	}
	body = bytes.Replace(body, []byte(`"$REPLY"`), bytes.Trim(said, "[]"), 1)
	req, err := k.decode(body)
	if err != nil {
		t.Fatalf("the next request: %v\n%s", err, body)
	}
	enc, err := k.encode(req, k.model)
	if err != nil {
		t.Fatalf("the next request: %v\n%s", err, body)
	}
	k.judge(t, enc.Body)
	return enc.Body
}
