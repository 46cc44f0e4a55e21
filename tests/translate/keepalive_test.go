package translate_test

import (
	"bytes"
	"slices"
	"testing"

	"sluice/shared/translator"
)

// TestKeepAlive: a stream that began with keep-alives, while the upstream was silent, goes on as one that did not: its
// beginning is not said twice (D11, D33, D39).
func TestKeepAlive(t *testing.T) {
	for _, p := range pairs() {
		t.Run(p.String(), func(t *testing.T) {
			req, err := p.decode(plainRequest(p.client.name))
			if err != nil {
				t.Fatal(err)
			}
			stream := plainStream(t, p.upstream)
			want := p.drain(t, p.pipe(req, translator.Enforce{}), bytes.NewReader(stream))

			o := replyOptions(req)
			first := p.client.AppendKeepAlive(nil, true, o)
			more := p.client.AppendKeepAlive(nil, false, o)
			if len(first) == 0 || len(more) == 0 || !bytes.HasSuffix(first, []byte("\n\n")) || !bytes.HasSuffix(more, []byte("\n\n")) {
				t.Fatalf("keep-alives %q and %q", first, more)
			}
			pipe := p.pipe(req, translator.Enforce{})
			var held []byte
			rest := p.upstream.events(stream)
			for !pipe.Status().Content {
				held = append(held, pipe.Batch(rest[0])...)
				rest = rest[1:]
			}
			got := slices.Concat(first, p.client.Resume(held))
			for _, ev := range rest {
				got = append(got, pipe.Batch(ev)...)
			}
			got = append(got, pipe.End()...)
			h, err := p.client.check(got, checkOptions{usage: req.IncludeUsage})
			if err != nil {
				t.Fatalf("%v\n%s", err, got)
			}
			w, err := p.client.check(want, checkOptions{usage: req.IncludeUsage})
			if err != nil {
				t.Fatal(err)
			}
			if diff := h.diff(w); diff != "" {
				t.Errorf("after a keep-alive the answer differs: %s", diff)
			}

			// nothing but keep-alives, and then an error
			lost := p.client.AppendErrorEvent(slices.Concat(first, more), brokenOff(), o)
			lost = bytes.Replace(lost, more, nil, 1) // an event that no reader knows
			if _, err := p.client.check(lost, checkOptions{failed: true}); err != nil {
				t.Errorf("an error after keep-alives: %v\n%s", err, lost)
			}
		})
	}
}
