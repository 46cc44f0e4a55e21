package sse

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// want is an event with its slices as text; noData stands for a nil Data.
type want struct{ name, data, raw string }

const noData = "<none>"

func view(ev Event) want {
	w := want{string(ev.Name), string(ev.Data), string(ev.Raw)}
	if ev.Data == nil {
		w.data = noData
	}
	return w
}

var streams = []struct {
	reason string
	in     string
	events []want
	rest   string // what no blank line ends
}{
	{"nothing at all", "", nil, ""},
	{"the common form", "event: a\ndata: {}\n\n", []want{{"a", "{}", "event: a\ndata: {}\n\n"}}, ""},
	{"two events", "data: 1\n\ndata: 2\n\n", []want{{"", "1", "data: 1\n\n"}, {"", "2", "data: 2\n\n"}}, ""},
	{"CRLF", "data: 1\r\n\r\ndata: 2\r\n\r\n", []want{{"", "1", "data: 1\r\n\r\n"}, {"", "2", "data: 2\r\n\r\n"}}, ""},
	{"bare CR, complete at the end of the source", "data: 1\r\rdata: 2\r\r", []want{{"", "1", "data: 1\r\r"}, {"", "2", "data: 2\r\r"}}, ""},
	{"LF then CR is a line end and a blank line", "data: 1\n\rdata: 2\n\n", []want{{"", "1", "data: 1\n\r"}, {"", "2", "data: 2\n\n"}}, ""},
	{"LF then CRLF", "data: 1\n\r\ndata: 2\n\n", []want{{"", "1", "data: 1\n\r\n"}, {"", "2", "data: 2\n\n"}}, ""},
	{"CR then CRLF", "data: 1\r\r\ndata: 2\n\n", []want{{"", "1", "data: 1\r\r\n"}, {"", "2", "data: 2\n\n"}}, ""},
	{"CRLF then LF", "data: 1\r\n\ndata: 2\n\n", []want{{"", "1", "data: 1\r\n\n"}, {"", "2", "data: 2\n\n"}}, ""},
	{"CRLF alone is no blank line", "data: 1\r\ndata: 2\r\n\r\n", []want{{"", "1\n2", "data: 1\r\ndata: 2\r\n\r\n"}}, ""},
	{"comment alone", ": ping\n\n", []want{{"", noData, ": ping\n\n"}}, ""},
	{"comment before data", ": ping\ndata: 1\n\n", []want{{"", "1", ": ping\ndata: 1\n\n"}}, ""},
	{"blank lines are events of their own", "\n\r\n\rdata: 1\n\n\n", []want{
		{"", noData, "\n"}, {"", noData, "\r\n"}, {"", noData, "\r"}, {"", "1", "data: 1\n\n"}, {"", noData, "\n"}}, ""},
	{"only one space is stripped", "data:  x\n\n", []want{{"", " x", "data:  x\n\n"}}, ""},
	{"no space after the colon", "event:a\ndata:x\n\n", []want{{"a", "x", "event:a\ndata:x\n\n"}}, ""},
	{"colons in the value", "data: a:b: c\n\n", []want{{"", "a:b: c", "data: a:b: c\n\n"}}, ""},
	{"data without a value is not no data", "data\n\n", []want{{"", "", "data\n\n"}}, ""},
	{"data with a colon only", "data:\n\n", []want{{"", "", "data:\n\n"}}, ""},
	{"several data lines", "data: a\ndata\ndata: c\n\n", []want{{"", "a\n\nc", "data: a\ndata\ndata: c\n\n"}}, ""},
	{"empty data lines", "data\ndata\n\n", []want{{"", "\n", "data\ndata\n\n"}}, ""},
	{"the last event line counts", "event: a\nevent: b\ndata: 1\n\n", []want{{"b", "1", "event: a\nevent: b\ndata: 1\n\n"}}, ""},
	{"an empty event line resets the name", "event: a\nevent\n\n", []want{{"", noData, "event: a\nevent\n\n"}}, ""},
	{"id and retry", "id: 7\nretry: 10\ndata: x\n\n", []want{{"", "x", "id: 7\nretry: 10\ndata: x\n\n"}}, ""},
	{"fields that only begin like ours", "database: x\neventual: y\nData: z\n data: w\n\n",
		[]want{{"", noData, "database: x\neventual: y\nData: z\n data: w\n\n"}}, ""},
	{"byte order mark", "\uFEFFevent: a\ndata: 1\n\n", []want{{"a", "1", "\uFEFFevent: a\ndata: 1\n\n"}}, ""},
	{"byte order mark alone on its line", "\uFEFF\ndata: 1\n\n", []want{{"", "1", "\uFEFF\ndata: 1\n\n"}}, ""},
	{"byte order mark on a later line is a part of the field", "id: 1\n\uFEFFdata: 1\n\n",
		[]want{{"", noData, "id: 1\n\uFEFFdata: 1\n\n"}}, ""},
	{"bytes that are not UTF-8", "data: \xff\x00\xfe\n\n", []want{{"", "\xff\x00\xfe", "data: \xff\x00\xfe\n\n"}}, ""},
	{"ends in a line", "data: 1\n\ndata: 2", []want{{"", "1", "data: 1\n\n"}}, "data: 2"},
	{"ends after a line", "data: 1\n\ndata: 2\n", []want{{"", "1", "data: 1\n\n"}}, "data: 2\n"},
	{"ends after a CR that could not be a blank line", "data: 2\r", nil, "data: 2\r"},
	{"ends after CRLF", "data: 2\r\n", nil, "data: 2\r\n"},
	{"ends after a blank line's CR", "data: 2\r\n\r", []want{{"", "2", "data: 2\r\n\r"}}, ""},
	{"longer than the search windows", "data: " + strings.Repeat("x", 1000) + "\r\n\r\n: y\n\n", []want{
		{"", strings.Repeat("x", 1000), "data: " + strings.Repeat("x", 1000) + "\r\n\r\n"}, {"", noData, ": y\n\n"}}, ""},
}

// errBroken is a source's own error.
var errBroken = errors.New("broken")

// drain reads everything from src. It checks that no batch is empty and that
// each is cut into events without rest.
func drain(t *testing.T, src io.Reader, maxEvent int) (events []want, all string, partial string, err error) {
	t.Helper()
	r := NewReader(src, maxEvent)
	defer r.Release()
	for {
		batch, err := r.Batch()
		if err != nil {
			if len(batch) > 0 {
				t.Fatalf("batch %q beside error %v", batch, err)
			}
			if _, again := r.Batch(); again != err {
				t.Fatalf("error %v, then %v", err, again)
			}
			return events, all, string(r.Partial()), err
		}
		if len(batch) == 0 {
			t.Fatal("empty batch without an error")
		}
		all += string(batch)
		for len(batch) > 0 {
			ev, rest, ok := Cut(batch)
			if !ok || len(ev.Raw)+len(rest) != len(batch) {
				t.Fatalf("Cut(%q) = %q, rest %q, %v", batch, ev.Raw, rest, ok)
			}
			events = append(events, view(ev))
			batch = rest
		}
	}
}

// chunkings are ways to deliver in.
func chunkings(in string) map[string]io.Reader {
	ways := map[string]io.Reader{
		"whole":        strings.NewReader(in),
		"byte by byte": iotest.OneByteReader(strings.NewReader(in)),
		"halves":       iotest.HalfReader(strings.NewReader(in)),
		"data and EOF": iotest.DataErrReader(strings.NewReader(in)),
		"byte and EOF": iotest.DataErrReader(iotest.OneByteReader(strings.NewReader(in))),
	}
	for k := 1; k < len(in); k++ {
		ways["cut at "+in[:k]] = io.MultiReader(strings.NewReader(in[:k]), strings.NewReader(in[k:]))
	}
	return ways
}

func check(t *testing.T, way string, src io.Reader, events []want, partial string, end error) {
	t.Helper()
	got, all, rest, err := drain(t, src, 1<<20)
	var raw strings.Builder
	for _, ev := range events {
		raw.WriteString(ev.raw)
	}
	if all != raw.String() || rest != partial {
		t.Errorf("%q: batches %q and %q, want %q and %q", way, all, rest, raw.String(), partial)
	}
	if err != end {
		t.Errorf("%q: error %v, want %v", way, err, end)
	}
	if len(got) != len(events) {
		t.Fatalf("%q: %d events %q, want %d", way, len(got), got, len(events))
	}
	for i := range got {
		if got[i] != events[i] {
			t.Errorf("%q: event %d is %q, want %q", way, i, got[i], events[i])
		}
	}
}

func TestStreams(t *testing.T) {
	for _, c := range streams {
		t.Run(c.reason, func(t *testing.T) {
			end := io.EOF
			if c.rest != "" {
				end = io.ErrUnexpectedEOF
			}
			for way, src := range chunkings(c.in) {
				check(t, way, src, c.events, c.rest, end)
			}
			broken := io.MultiReader(strings.NewReader(c.in), iotest.ErrReader(errBroken))
			check(t, "broken", broken, c.events, c.rest, errBroken)
		})
	}
}

// TestPrefixes cuts every stream off at every byte: what is received comes out
// whole, as events or as the partial one.
func TestPrefixes(t *testing.T) {
	for _, c := range streams {
		for k := range len(c.in) {
			_, all, partial, err := drain(t, strings.NewReader(c.in[:k]), 1<<20)
			if all+partial != c.in[:k] || (err == io.EOF) != (partial == "") {
				t.Errorf("%s: %q gives %q and %q, %v", c.reason, c.in[:k], all, partial, err)
			}
		}
	}
}

// steps delivers one string a Read and counts them.
type steps struct {
	parts []string
	reads int
}

func (s *steps) Read(p []byte) (int, error) {
	s.reads++
	if len(s.parts) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.parts[0])
	if s.parts[0] = s.parts[0][n:]; s.parts[0] == "" {
		s.parts = s.parts[1:]
	}
	return n, nil
}

func TestBatchDoesNotWait(t *testing.T) {
	cases := []struct {
		reason string
		parts  []string
		batch  string
		reads  int
	}{
		{"one event in one read", []string{"data: 1\n\n", "data: 2\n\n"}, "data: 1\n\n", 1},
		{"CRLF is decided by its LF", []string{"data: 1\r\n\r\n", "x"}, "data: 1\r\n\r\n", 1},
		{"two events in one read are one batch", []string{"data: 1\n\n: c\n\n", "x"}, "data: 1\n\n: c\n\n", 1},
		{"the start of the next event stays", []string{"data: 1\n\nda", "x"}, "data: 1\n\n", 1},
		{"an event in two reads", []string{"data: 1", "\n\n", "x"}, "data: 1\n\n", 2},
		{"a final CR waits for a byte", []string{"data: 1\r\r", "d"}, "data: 1\r\r", 2},
		{"the byte may be its LF", []string{"data: 1\r\n\r", "\n"}, "data: 1\r\n\r\n", 2},
		{"an earlier event does not wait for a later CR", []string{"data: 1\r\rdata: 2\r\r", "x"}, "data: 1\r\r", 1},
	}
	for _, c := range cases {
		src := &steps{parts: c.parts}
		r := NewReader(src, 100)
		batch, err := r.Batch()
		if string(batch) != c.batch || err != nil || src.reads != c.reads {
			t.Errorf("%s: %q, %v after %d reads, want %q after %d", c.reason, batch, err, src.reads, c.batch, c.reads)
		}
		r.Release()
	}
}

func TestTooLarge(t *testing.T) {
	fill := func(n int) string { return "data: " + strings.Repeat("x", n-8) + "\n\n" }
	cases := []struct {
		reason string
		in     string
		max    int
		all    string
		err    error
	}{
		{"exactly the bound", fill(50) + ": c\n\n", 50, fill(50) + ": c\n\n", io.EOF},
		{"one byte more", fill(51) + ": c\n\n", 50, "", ErrTooLarge},
		{"events before it come first", ": c\n\n" + fill(51) + ": d\n\n", 50, ": c\n\n", ErrTooLarge},
		{"never complete", ": c\n\ndata: " + strings.Repeat("x", 60), 50, ": c\n\n", ErrTooLarge},
		{"partial within the bound", ": c\n\ndata: " + strings.Repeat("x", 44), 50, ": c\n\n", io.ErrUnexpectedEOF},
		{"LF of the last CRLF is over the bound", "data:x\r\n\r\n", 9, "", ErrTooLarge},
		{"CRs within the bound and a byte after", "data:x\r\r:\r\r", 8, "data:x\r\r:\r\r", io.EOF},
		{"bound beyond the first buffer", fill(smallSize+1) + fill(smallSize+1), smallSize + 1, fill(smallSize+1) + fill(smallSize+1), io.EOF},
		{"over a bound beyond the first buffer", fill(smallSize + 2), smallSize + 1, "", ErrTooLarge},
		{"bound of 0 is 1", "\n\n: c\n\n", 0, "\n\n", ErrTooLarge},
	}
	for _, c := range cases {
		for way, src := range map[string]io.Reader{
			"whole":        strings.NewReader(c.in),
			"byte by byte": iotest.OneByteReader(strings.NewReader(c.in)),
			"data and EOF": iotest.DataErrReader(strings.NewReader(c.in)),
			"in two reads": &steps{parts: []string{c.in[:len(c.in)/2], c.in[len(c.in)/2:]}},
		} {
			_, all, _, err := drain(t, src, c.max)
			if all != c.all || err != c.err {
				t.Errorf("%s, %s: %d bytes, %v, want %d, %v", c.reason, way, len(all), err, len(c.all), c.err)
			}
		}
	}
}

// wrong returns counts no Read may return.
type wrong int

func (w wrong) Read(p []byte) (int, error) {
	if w < 0 {
		return -1, nil
	}
	return len(p) + int(w), nil
}

func TestBadSources(t *testing.T) {
	cases := []struct {
		reason string
		src    io.Reader
		err    error
	}{
		{"negative count", wrong(-1), errCount},
		{"count beyond the buffer", wrong(1), errCount},
		{"never anything", &idle{}, io.ErrNoProgress},
	}
	for _, c := range cases {
		if _, _, _, err := drain(t, c.src, 100); err != c.err {
			t.Errorf("%s: %v, want %v", c.reason, err, c.err)
		}
	}
}

type idle struct{}

func (*idle) Read([]byte) (int, error) { return 0, nil }

func TestBufferIsGivenBack(t *testing.T) {
	huge := "data: " + strings.Repeat("x", 1<<20) + "\n\n"
	src := &steps{parts: []string{": a\n\n", huge, ": b\n\nda", "ta: c\n\n"}}
	r := NewReader(src, 2<<20)
	if r.buf != nil {
		t.Error("buffer before the first Batch")
	}
	sizes := []int{smallSize, 0, smallSize, smallSize}
	for i, in := range []string{": a\n\n", huge, ": b\n\n", "data: c\n\n"} {
		batch, err := r.Batch()
		if err != nil || string(batch) != in {
			t.Fatalf("batch %d has %d bytes, %v", i, len(batch), err)
		}
		if sizes[i] > 0 && len(r.buf) != sizes[i] {
			t.Errorf("after batch %d the buffer has %d bytes", i, len(r.buf))
		}
	}
	r.Release()
	r.Release()
	if r.buf != nil || r.lent != nil {
		t.Error("Release kept the buffer")
	}
	if _, err := r.Batch(); err != errReleased {
		t.Errorf("Batch after Release: %v", err)
	}
	if p := r.Partial(); len(p) != 0 {
		t.Errorf("Partial after Release: %q", p)
	}
}

// TestCutLeavesBatch sees to it that joined data and appending to a view do
// not write into the batch.
func TestCutLeavesBatch(t *testing.T) {
	const in = "event: n\ndata: a\ndata: b\n\ndata: c\n\n"
	batch := []byte(in)
	ev, rest, _ := Cut(batch)
	_ = append(ev.Name, "XXXX"...)
	_ = append(ev.Raw, "XXXX"...)
	next, _, _ := Cut(rest)
	_ = append(next.Data, "XXXX"...)
	if string(batch) != in {
		t.Errorf("batch is now %q", batch)
	}
}

func TestAppend(t *testing.T) {
	cases := []struct{ reason, got, want string }{
		{"plain", string(AppendEvent([]byte("x"), "ping", []byte("{}"))), "xevent: ping\ndata: {}\n\n"},
		{"no name", string(AppendEvent(nil, "", []byte("{}"))), "data: {}\n\n"},
		{"no data", string(AppendEvent(nil, "a", nil)), "event: a\ndata: \n\n"},
		{"lines", string(AppendEvent(nil, "", []byte("a\nb\r\nc\rd\n"))), "data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"},
		{"a name cannot forge a line", string(AppendEvent(nil, "a\r\ndata: b", nil)), "event: a  data: b\ndata: \n\n"},
		{"comment", string(AppendComment([]byte("x"), "ping")), "x: ping\n\n"},
		{"empty comment", string(AppendComment(nil, "")), ": \n\n"},
		{"a comment cannot forge a line", string(AppendComment(nil, "a\ndata: b")), ": a\n: data: b\n\n"},
	}
	for _, c := range cases {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.reason, c.got, c.want)
		}
	}
}

// loop is an endless stream that comes in reads of at most 1000 bytes.
type loop struct {
	text string
	at   int
}

func (l *loop) Read(p []byte) (int, error) {
	n := copy(p[:min(len(p), 1000)], l.text[l.at:])
	l.at = (l.at + n) % len(l.text)
	return n, nil
}

func TestNoAllocations(t *testing.T) {
	r := NewReader(&loop{text: string(anthropicStream(200))}, 1<<20)
	defer r.Release()
	if _, err := r.Batch(); err != nil {
		t.Fatal(err)
	}
	n := testing.AllocsPerRun(500, func() {
		batch, err := r.Batch()
		if err != nil {
			t.Fatal(err)
		}
		for len(batch) > 0 {
			ev, rest, ok := Cut(batch)
			if !ok || len(ev.Data) == 0 {
				t.Fatal("bad event")
			}
			batch = rest
		}
	})
	if n != 0 {
		t.Errorf("%v allocations a batch", n)
	}
}

// TestHostileLineEnds would take minutes if a search went over the whole
// buffer for each line.
func TestHostileLineEnds(t *testing.T) {
	cases := []struct{ reason, line string }{
		{"LF is searched for in vain", "\r"},
		{"CR is searched for in vain", "\n"},
		{"lines of an event, no LF", "x\r"},
		{"lines of an event, no CR", "x\n"},
		{"blank CRLF lines", "\r\n"},
	}
	for _, c := range cases {
		in := strings.Repeat(c.line, 1<<19)
		_, all, partial, _ := drain(t, strings.NewReader(in), 2<<20)
		if all+partial != in {
			t.Errorf("%s: %d and %d bytes of %d", c.reason, len(all), len(partial), len(in))
		}
		for batch, more := []byte(in), true; more; {
			_, batch, more = Cut(batch)
		}
	}
}
