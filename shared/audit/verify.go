package audit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Verdict is what verification found.
type Verdict struct {
	OK      bool      `json:"ok"`
	Entries int64     `json:"entries"`
	First   int64     `json:"first"` // number of the oldest entry; 0: there is none
	Last    int64     `json:"last"`
	Since   time.Time `json:"since,omitzero"`
	Head    string    `json:"head"`                // hash of the newest entry, for a note elsewhere
	Broken  int64     `json:"broken_at,omitempty"` // the first entry that is wrong
	Reason  string    `json:"reason,omitempty"`
	// Begun says that the chain does not begin with entry 1: what was before is not kept any more, or was removed.
	Begun bool `json:"begins_later"`
}

// chain follows entries in order.
type chain struct {
	v    Verdict
	last Entry
	want string // a hash that some entry must have; empty: none
	met  bool
}

// next takes one entry, and says what is wrong with it.
func (c *chain) next(line []byte, e Entry, bad error) error {
	c.v.Entries++
	switch {
	case bad != nil:
	case c.v.Last == 0:
		c.v.First, c.v.Since, c.v.Begun = e.Seq, e.At, e.Seq > 1
		if e.Seq == 1 && e.Prev != "" {
			bad = errChain
		}
	case e.Seq <= c.last.Seq:
		bad = errOrder
	case e.Seq != c.last.Seq+1:
		bad = errGap
	case e.Prev != c.last.Hash:
		bad = errChain
	case e.At.Before(c.last.At):
		bad = errClock
	}
	if bad != nil {
		c.v.Broken = e.Seq
		if e.Seq == 0 || errors.Is(bad, errOrder) { // what it says of itself cannot be believed
			c.v.Broken = c.last.Seq + 1
		}
		c.v.Reason = fmt.Sprintf("entry %d: %v", c.v.Broken, bad)
		return errBroken
	}
	c.last, c.v.Last, c.v.Head = e, e.Seq, e.Hash
	c.met = c.met || e.Hash == c.want
	return nil
}

var errBroken = errors.New("the chain is broken")

// end gives the verdict.
func (c *chain) end(err error) (Verdict, error) {
	if err != nil && !errors.Is(err, errBroken) {
		return Verdict{}, err
	}
	if c.v.Broken == 0 && c.want != "" && !c.met {
		c.v.Broken, c.v.Reason = max(1, c.v.Last+1), "no entry has the hash that was asked for: entries were removed, or the chain was written anew"
	}
	c.v.OK = c.v.Broken == 0
	return c.v, nil
}

// Verify follows the whole chain of the store. head, where it is not empty, is a hash that was noted before: an entry must
// have it. A store error is an error, a broken chain a verdict.
func (l *Log) Verify(ctx context.Context, head string) (Verdict, error) {
	_, hint, err := l.newest(ctx)
	if err != nil {
		return Verdict{}, err
	}
	c := chain{want: head}
	v, err := c.end(l.Walk(ctx, "", 0, c.next))
	kept := hint.Expires.IsZero() || l.o.Now().Before(hint.Expires)
	if err == nil && v.OK && hint.Seq > v.Last && kept {
		v.OK, v.Broken, v.Reason = false, v.Last+1, fmt.Sprintf("entry %d: it is missing, and so is what followed up to entry %d", v.Last+1, hint.Seq)
	}
	return v, err
}

// maxLine bounds a line of an export: an entry is far smaller.
const maxLine = 1 << 20

// VerifyExport follows a chain in the form that exports have: one entry a line, all of them. Anyone can write it anew from
// the changed entry on, so that only a noted head proves that nobody did.
func VerifyExport(r io.Reader, head string) (Verdict, error) {
	c := chain{want: head}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for lines.Scan() {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		e, bad := Parse(line)
		if err := c.next(line, e, bad); err != nil {
			return c.end(err)
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return c.end(c.next(nil, Entry{}, errForm))
	}
	return c.end(lines.Err())
}
