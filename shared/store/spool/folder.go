package spool

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// segmentBytes is how large a file grows. Small ones make a store that comes and goes repeat little.
const segmentBytes = 1 << 20

// longestSegment is what one can be with its last line; a larger file of this name is none of ours.
const longestSegment = 4 * segmentBytes

const (
	prefix = "settle-"
	suffix = ".jsonl"
)

var errFull = errors.New("the folder of waiting settlements is full")

// folder is the files of settlements that wait, each written by one process. A file is locked by who writes or replays
// it, so that several processes may share a folder.
type folder struct {
	dir   string
	max   int64
	write func(f *os.File, b []byte, at int64) (int, error) // (*os.File).WriteAt but in tests

	mu     sync.Mutex
	segs   []*segment // oldest first; the last may be growing
	total  int64
	made   int
	closed bool
}

// segment is one file.
type segment struct {
	path  string
	f     *os.File
	size  int64
	lines int64 // that wait; of an adopted file: those read so far or, before, a guess
	grows bool  // this process adds to it
	next  int   // line to replay; who replays owns it
	dirty bool
}

func newFolder(dir string, most int64) *folder {
	return &folder{dir: dir, max: most, write: (*os.File).WriteAt}
}

// adopt takes over the files of processes that have ended, and returns how many bytes they hold.
func (d *folder) adopt() (int64, error) {
	names, err := filepath.Glob(filepath.Join(escape(d.dir), prefix+"*"+suffix))
	if err != nil {
		return 0, err
	}
	slices.Sort(names)
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, name := range names {
		if fi, err := os.Lstat(name); err != nil || !fi.Mode().IsRegular() {
			continue // not ours
		}
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if flock(f) != nil { // its process lives
			_ = f.Close()
			continue
		}
		size, lines, err := count(f)
		if err != nil || size == 0 {
			errs = append(errs, err, f.Close())
			if err == nil {
				errs = append(errs, os.Remove(name))
			}
			continue
		}
		d.segs = append(d.segs, &segment{path: name, f: f, size: size, lines: lines})
		d.total += size
	}
	return d.total, errors.Join(errs...)
}

func escape(dir string) string {
	return strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// count returns the size of a file and how many lines it has, a cut one included.
func count(f *os.File) (size, lines int64, err error) {
	data, err := io.ReadAll(io.LimitReader(f, longestSegment+1))
	if len(data) > longestSegment {
		return 0, 0, fmt.Errorf("%s is larger than any file that is written here; it is left alone", f.Name())
	}
	lines = int64(bytes.Count(data, []byte{'\n'}))
	if len(data) > 0 && data[len(data)-1] != '\n' {
		lines++
	}
	return int64(len(data)), lines, err
}

// add appends a line, which ends with a newline. Nothing of it stays when it fails.
func (d *folder) add(line []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return os.ErrClosed
	}
	if d.total+int64(len(line)) > d.max {
		return fmt.Errorf("%w (%d bytes)", errFull, d.total)
	}
	seg, err := d.growing(int64(len(line)))
	if err != nil {
		return err
	}
	if _, err := d.write(seg.f, line, seg.size); err != nil {
		// a full disk: what was written of the line would damage the next one
		if terr := seg.f.Truncate(seg.size); terr != nil {
			seg.grows = false
		}
		return err
	}
	seg.size += int64(len(line))
	d.total += int64(len(line))
	seg.lines++
	seg.dirty = true
	return nil
}

// growing is the file to add to, a new one when the last is large; the caller holds mu.
func (d *folder) growing(more int64) (*segment, error) {
	if n := len(d.segs); n > 0 && d.segs[n-1].grows && d.segs[n-1].size+more <= segmentBytes {
		return d.segs[n-1], nil
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return nil, err
	}
	d.made++
	// names sort by time, then by number; the random part keeps processes apart
	name := prefix + strconv.FormatInt(time.Now().UnixMilli(), 10) + "-" + fmt.Sprintf("%06d", d.made) + "-" + strings.ToLower(rand.Text()[:8]) + suffix
	f, err := os.OpenFile(filepath.Join(d.dir, name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	_ = flock(f) // without locks in the file system the folder must not be shared
	if n := len(d.segs); n > 0 {
		d.segs[n-1].grows = false
	}
	seg := &segment{path: f.Name(), f: f, grows: true}
	d.segs = append(d.segs, seg)
	return seg, nil
}

// oldest returns the file to replay next, which grows no more; nil when nothing waits.
func (d *folder) oldest() (*segment, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, os.ErrClosed
	}
	if len(d.segs) == 0 {
		return nil, nil
	}
	d.segs[0].grows = false
	return d.segs[0], nil
}

// read returns the lines of a file, without their ends.
func (s *segment) read() ([][]byte, error) {
	data, err := io.ReadAll(io.NewSectionReader(s.f, 0, longestSegment))
	if err != nil {
		return nil, err
	}
	data = bytes.TrimSuffix(data, []byte{'\n'})
	if len(data) == 0 {
		return nil, nil
	}
	return bytes.Split(data, []byte{'\n'}), nil
}

// remove forgets a file whose lines are stored.
func (d *folder) remove(seg *segment) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.Index(d.segs, seg)
	if i < 0 {
		return nil
	}
	if err := os.Remove(seg.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	d.segs = slices.Delete(d.segs, i, i+1)
	d.total -= seg.size
	return seg.f.Close()
}

// waiting is how many lines wait.
func (d *folder) waiting() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := int64(0)
	for _, s := range d.segs {
		n += s.lines
	}
	return n
}

// sync makes what was added survive a power cut.
func (d *folder) sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, s := range d.segs {
		if s.dirty {
			errs = append(errs, s.f.Sync())
			s.dirty = false
		}
	}
	return errors.Join(errs...)
}

// close leaves the files to the next process.
func (d *folder) close() error {
	err := d.sync()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	errs := []error{err}
	for _, s := range d.segs {
		errs = append(errs, s.f.Close())
	}
	d.segs = nil
	return errors.Join(errs...)
}
