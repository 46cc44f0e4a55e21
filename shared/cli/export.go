package cli

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// export streams an export to standard output or a file. A file is there only when it is complete.
func (s *session) export(ctx context.Context, q url.Values, format string, logs bool, path string) (err error) {
	if err := s.connect(ctx, NeedStore); err != nil {
		return err
	}
	q.Set("format", format)
	q.Set("what", "summary")
	var total int64
	if logs {
		if path != "" {
			total = s.total(ctx, q)
		}
		q.Set("what", "logs")
		q.Del("group_by")
	}
	r, err := s.parts(ctx, q, format)
	if err != nil {
		return err
	}
	defer r.Close()
	if path == "" {
		_, err := io.Copy(Steady(s.env.Stdout), r)
		return broken(err)
	}
	bar := NewProgress(s.env.Stderr, "Exporting")
	defer bar.Stop()
	return save(path, &watched{r: r, bar: bar, total: total})
}

// parts opens an export. A gateway that has to answer in one piece (the Lambda function) refuses a large one with 413; then
// it is fetched in parts, each with a cursor for the next, and read as one.
func (s *session) parts(ctx context.Context, q url.Values, format string) (io.ReadCloser, error) {
	resp, err := s.api.send(ctx, "GET", exportPath, q, nil)
	if err == nil {
		return resp.Body, nil
	}
	var r *refusal
	if !errors.As(err, &r) || r.status != http.StatusRequestEntityTooLarge || q.Get("what") != "logs" {
		return nil, err
	}
	if format == "json" {
		r.remedy = "use --format jsonl or csv, which can be fetched in parts"
		return nil, err
	}
	q.Set("limit", strconv.Itoa(partRows))
	out, in := io.Pipe()
	ctx, cancel := context.WithCancel(ctx)
	p := &joined{PipeReader: out, cancel: cancel}
	p.done.Go(func() { in.CloseWithError(s.copyParts(ctx, q, format == "csv", in)) })
	return p, nil
}

// partRows is how many requests a part has: some megabytes.
const partRows = 4000

// joined reads parts as one.
type joined struct {
	*io.PipeReader
	cancel func()
	done   sync.WaitGroup
}

// Close implements io.Closer.
func (p *joined) Close() error {
	p.cancel()
	err := p.PipeReader.Close()
	p.done.Wait()
	return err
}

func (s *session) copyParts(ctx context.Context, q url.Values, titled bool, to io.Writer) error {
	for n := 0; ; n++ {
		resp, err := s.api.send(ctx, "GET", exportPath, q, nil)
		if err != nil {
			return err
		}
		next, err := CopyPart(to, resp, titled && n > 0)
		if err != nil || next == "" {
			return err
		}
		if next == q.Get("cursor") {
			return errors.New("the gateway gives the same cursor again")
		}
		q.Set("cursor", next)
	}
}

// CopyPart copies a part of an export, without its first line where it says the titles again, and closes it. next is the cursor
// of the next part, empty behind the last.
func CopyPart(to io.Writer, resp *http.Response, again bool) (next string, err error) {
	body := bufio.NewReader(resp.Body)
	for again {
		_, err = body.ReadSlice('\n')
		again = errors.Is(err, bufio.ErrBufferFull) // a line may have any length
	}
	if err == nil || errors.Is(err, io.EOF) {
		_, err = io.Copy(to, body)
	}
	return resp.Header.Get("X-Next-Cursor"), errors.Join(err, resp.Body.Close())
}

func broken(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the export broke off and is not complete: %w; run it again, or ask for less with --from and --to", err)
}

// total is how many requests a filter selects; 0 where that cannot be told.
func (s *session) total(ctx context.Context, q url.Values) int64 {
	alone := url.Values{}
	for k, v := range q {
		if k != "group_by" && k != "format" && k != "what" && k != "top" {
			alone[k] = v
		}
	}
	var m sum
	data, err := s.call(ctx, "GET", summaryPath, alone, nil)
	if err != nil || json.Unmarshal(data, &m) != nil {
		return 0
	}
	return m.Requests
}

// save writes r to a file beside path and renames it at the end, so that half an export is not taken for a whole one. A link
// stays, and what is no file, such as a pipe or a device, is written to as it is.
func save(path string, r io.Reader) (err error) {
	switch i, serr := os.Stat(path); {
	case serr == nil:
		if out, oerr := os.Stdout.Stat(); oerr == nil && os.SameFile(i, out) { // a shell that opened it may go on writing there
			_, err = io.Copy(os.Stdout, r)
			return broken(err)
		}
		if !i.Mode().IsRegular() {
			return saveTo(path, r)
		}
	case !os.IsNotExist(serr): // links that lead in a ring
		return fmt.Errorf("-o: %w", serr)
	}
	dir, _ := filepath.Split(path)
	for range 40 { // as many links as Linux follows
		to, lerr := os.Readlink(path)
		if lerr != nil { // no link
			break
		}
		if path = to; !filepath.IsAbs(to) {
			path = dir + to
		}
		dir, _ = filepath.Split(path)
	}
	f, err := os.CreateTemp(cmp.Or(dir, "."), ".sluice-export-*")
	if err != nil {
		return fmt.Errorf("-o: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = io.Copy(f, r)
	if err = errors.Join(broken(err), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// saveTo writes r to what is there.
func saveTo(path string, r io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("-o: %w", err)
	}
	_, err = io.Copy(f, r)
	return errors.Join(broken(err), f.Close())
}

// watched tells a progress of the lines that pass.
type watched struct {
	r     io.Reader
	bar   *Progress
	lines int64
	bytes int64
	total int64 // lines; 0: not known
}

// Read implements io.Reader.
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	for _, b := range p[:n] {
		if b == '\n' {
			w.lines++
		}
	}
	w.bytes += int64(n)
	w.bar.Set(w.lines, w.total, "lines, "+strconv.FormatInt(w.bytes>>10, 10)+" KiB")
	return n, err
}
