package gateway_test

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/shared/core"
	"sluice/shared/gateway"
	"sluice/shared/store"
)

const resultsPath = "/v1/messages/batches/b1/results"

var bothResults = resultOne + "\n" + resultTwo + "\n"

// newResultsHandler starts an upstream of one handler.
func newResultsHandler(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestBatches_AreSettledOnceThoughTheirUsageIsRemoved(t *testing.T) {
	for _, c := range []struct{ why, first, second string }{
		{"the same address", resultsPath, resultsPath},
		{"one name of the batch is like another", resultsPath, "/v1/messages/batches/b%31/results"},
		{"with the prefix, and a query", "/anthropic" + resultsPath + "?beta=true", resultsPath},
	} {
		r := newRig(t)
		r.node("a", newResultsServer(t, bothResults, 0))
		r.do("GET", c.first, "")
		if got := r.settled(); len(got) != 2 {
			t.Errorf("%s: settled %+v", c.why, got)
		}
		if err := r.store.DeleteUsage(t.Context(), core.DefaultAccount); err != nil {
			t.Fatal(err)
		}
		if got := r.do("GET", c.second, ""); got.status != 200 || got.body != bothResults {
			t.Errorf("%s: got %d %s", c.why, got.status, got.body)
		}
		if got := r.settled(); len(got) != 0 {
			t.Errorf("%s: settled again %+v", c.why, got)
		}
	}
}

func TestBatches_AreSettledForEachAccount(t *testing.T) {
	r := newRig(t)
	up := newResultsServer(t, bothResults, 0)
	r.node("a", up)
	r.node("b", up, func(n *core.Node) { n.Account = "other" })
	if _, err := r.app.Tables.Accounts.Create(t.Context(), core.Account{ID: "other", Name: "other"}); err != nil {
		t.Fatal(err)
	}
	_, key := r.key(func(k *core.Key) { k.Account = "other" })
	r.do("GET", resultsPath, "")
	r.do("GET", resultsPath, "", "X-Api-Key", key)
	count := map[string]int{}
	for _, rec := range r.records() {
		if rec.Endpoint == "batch usage" {
			count[rec.Account]++
		}
	}
	if count[core.DefaultAccount] != 2 || count["other"] != 2 {
		t.Errorf("records by account: %v", count)
	}
}

func TestBatches_OnlyWholeResultsAreSettled(t *testing.T) {
	plain := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/x-jsonl")
		_, _ = io.WriteString(w, bothResults)
	}
	serve := func(w http.ResponseWriter, q *http.Request) { // with all that HTTP has for parts
		w.Header().Set("Content-Type", "application/x-jsonl")
		w.Header().Set("Etag", `"v1"`)
		http.ServeContent(w, q, "", time.Unix(1_700_000_000, 0), strings.NewReader(bothResults))
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = io.WriteString(w, resultOne+"\n")
		}
	}
	for _, c := range []struct {
		why     string
		first   http.HandlerFunc // what the node does with the first fetch; the second gets it all
		headers []string
		settled int  // models, by the first
		cut     bool // the first answer is not all of it
	}{
		{"nothing special", serve, nil, 2, false},
		{"a part is asked for", serve, []string{"Range", "bytes=0-200"}, 2, false},
		{"the end is asked for", serve, []string{"Range", "bytes=-10"}, 2, false},
		{"a part, where it is still the same", serve, []string{"Range", "bytes=0-200", "If-Range", `"v1"`}, 2, false},
		{"all, if it changed", serve, []string{"If-None-Match", `"v1"`}, 2, false},
		{"all, if it is newer", serve, []string{"If-Modified-Since", "Tue, 14 Nov 2023 22:13:20 GMT"}, 2, false},
		{"all, if it is another", serve, []string{"If-Match", `"v2"`}, 2, false},
		{"all, if it is older", serve, []string{"If-Unmodified-Since", "Tue, 14 Nov 2000 22:13:20 GMT"}, 2, false},
		{"a part comes unasked", status(206), nil, 0, true},
		{"a transformed answer", status(203), nil, 0, true},
		{"compressed, unasked", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, bothResults)
			_ = z.Close()
		}, nil, 2, false},
		{"lines that are called JSON", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/jsonl")
			_, _ = io.WriteString(w, bothResults)
		}, nil, 2, false},
		{"a body without a length that is cut within a line", func(w http.ResponseWriter, _ *http.Request) {
			conn, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			_, _ = rw.WriteString("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + bothResults[:len(resultOne)+20])
			_ = rw.Flush()
			_ = conn.Close()
		}, nil, 0, true},
	} {
		t.Run(c.why, func(t *testing.T) {
			r := newRig(t)
			fetches := 0
			r.node("a", newResultsHandler(t, func(w http.ResponseWriter, q *http.Request) {
				if fetches++; fetches == 1 {
					c.first(w, q)
				} else {
					plain(w)
				}
			}))
			got := r.do("GET", resultsPath, "", c.headers...)
			if !c.cut && (got.status != 200 || got.body != bothResults || got.header.Get("Content-Encoding") != "") {
				t.Errorf("got %d %v %s", got.status, got.header, got.body)
			}
			if got := r.settled(); len(got) != c.settled {
				t.Errorf("settled %+v, want %d models", got, c.settled)
			}
			r.do("GET", resultsPath, "")
			if got := r.settled(); len(got) != 2 || got["claude-y"].Input != 100 {
				t.Errorf("then settled %+v, want both models", got)
			}
		})
	}
}

// faulty is a store some of whose calls fail. Each process of a test has one of its own.
type faulty struct {
	store.Docs
	store.Admission
	why                      string
	marks, settles, flushes  bool
	settlements, noteUpdates int
}

var errFaulty = errors.New("away")

func (f *faulty) Create(ctx context.Context, d store.Doc) (int64, error) {
	if f.marks && d.Kind == store.KindResource {
		return 0, errFaulty
	}
	return f.Docs.Create(ctx, d)
}

func (f *faulty) Replace(ctx context.Context, d store.Doc) (int64, error) {
	if d.Kind == store.KindResource {
		f.noteUpdates++
	}
	return f.Docs.Replace(ctx, d)
}

func (f *faulty) Settle(ctx context.Context, r store.SettleRequest) error {
	if r.Record.Endpoint == "batch usage" {
		if f.settlements++; f.settles {
			return errFaulty
		}
	}
	return f.Admission.Settle(ctx, r)
}

func (f *faulty) Flush(context.Context) error {
	if f.flushes {
		return errFaulty
	}
	return nil
}

func resultsPlay(context.Context) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/x-jsonl"}}, ContentLength: int64(len(bothResults)),
		Body: io.NopCloser(strings.NewReader(bothResults))}, nil
}

// fetch gets the results of batch b1.
func (b *bubble) fetch() reply {
	w, q := newClient(b.t), httptest.NewRequestWithContext(b.t.Context(), http.MethodGet, resultsPath, nil)
	q.Header.Set("X-Api-Key", proxyKey)
	b.handler.ServeHTTP(w, q)
	return w.reply()
}

func TestBatches_AreSettledAndCountedOnceWhateverFails(t *testing.T) {
	used := []string{"used anthropic default claude-x 12 3", "used anthropic default claude-y 100 30"}
	for _, c := range []struct {
		first   faulty // what fails at the first fetch
		records int    // after it
		counted int    // by it
	}{
		{faulty{why: "nothing"}, 2, 2},
		{faulty{why: "no record is taken", settles: true}, 0, 0},
		{faulty{why: "records are taken, and not saved", flushes: true}, 2, 0},
		{faulty{why: "no note is taken: a store that is away may keep the records", marks: true}, 2, 0},
	} {
		t.Run(c.first.why, func(t *testing.T) {
			m := &counted{}
			b := newBubble(t, gateway.Settings{}, "a")
			b.up.queue(resultsPlay)
			begin := time.Now().Truncate(time.Hour)
			now := begin
			b.o.Now = func() time.Time { return now }
			serve := func(f *faulty) (told []string) {
				t.Helper()
				m.said = nil
				f.Docs, f.Admission = b.store, b.store
				b.o.Admission, b.o.Tables = f, store.NewTables(f, b.o.Now)
				b.count(m)
				if got := b.fetch(); got.status != 200 || got.body != bothResults {
					t.Errorf("got %d %s", got.status, got.body)
				}
				for _, s := range m.said {
					if strings.HasPrefix(s, "used") {
						told = append(told, s)
					}
				}
				slices.Sort(told)
				return told
			}
			batches := func() (n int) {
				for _, rec := range b.records() {
					if rec.Endpoint == "batch usage" {
						n++
						if !rec.EndedAt.Equal(begin) {
							t.Errorf("%s ends at %v, want %v", rec.RequestID, rec.EndedAt, begin)
						}
					}
				}
				return n
			}
			if told := serve(&c.first); len(told) != c.counted || batches() != c.records {
				t.Errorf("the first fetch counted %q and made %d records, want %d and %d", told, batches(), c.counted, c.records)
			}
			now = now.Add(3 * time.Hour)
			again := &faulty{}
			told := serve(again)
			if c.counted > 0 && (len(told) > 0 || again.settlements > 0 || again.noteUpdates > 0) {
				t.Errorf("the second fetch counted %q, with %d settlements and %d notes", told, again.settlements, again.noteUpdates)
			}
			if c.counted == 0 && !slices.Equal(told, used) || batches() != 2 {
				t.Errorf("the second fetch counted %q, want %q; there are %d records, want 2", told, used, batches())
			}
			if again := (&faulty{}); len(serve(again)) > 0 || again.settlements > 0 || batches() != 2 {
				t.Errorf("the third fetch settles again: %d, %d records", again.settlements, batches())
			}
		})
	}
}
