package bedrock

import (
	"bytes"
	"errors"

	"sluice/shared/rawjson"
)

// Blocks usually come one after another. Where they come beside each other, the one that began first is read as it comes, and
// what belongs to others waits for its end: no dialect of a client has blocks that overlap.

// waiting is a block whose turn is still to come.
type waiting struct {
	index int64
	parts []part
	ended bool
}

// part is a delta or a start that waits.
type part struct {
	obj   []byte
	start bool
}

// The bounds of what waits; partSize is about what a part costs beside its bytes.
const (
	maxWaiting = 16 << 20 // bytes
	maxBlocks  = 10_000
	partSize   = 64
)

var errWaits = errors.New("the upstream's answer has more blocks beside each other than any has")

// elsewhere reports whether another block is being read.
func (s *source) elsewhere(index int64) bool { return s.kind != kindNone && s.index != index }

// wait keeps a part of a block until its turn.
func (s *source) wait(index int64, obj []byte, start bool) error {
	w := s.byIndex[index]
	if w == nil {
		if len(s.queue) >= maxBlocks {
			return errWaits
		}
		if w = (&waiting{index: index}); s.byIndex == nil {
			s.byIndex = map[int64]*waiting{}
		}
		s.queue, s.byIndex[index] = append(s.queue, w), w
	}
	if s.held += len(obj) + partSize; s.held > maxWaiting {
		return errWaits
	}
	w.parts = append(w.parts, part{bytes.Clone(obj), start})
	return nil
}

// next reads what waits, up to a block that has not ended.
func (s *source) next() error {
	for s.kind == kindNone && len(s.queue) > 0 {
		w := s.queue[0]
		s.queue = s.queue[1:]
		delete(s.byIndex, w.index)
		for _, p := range w.parts {
			s.held -= len(p.obj) + partSize
			read := s.deltaOf
			if p.start {
				read = s.startOf
			}
			if err := read(w.index, p.obj); err != nil {
				return err
			}
		}
		if w.ended {
			s.blockStop()
		}
	}
	return nil
}

// blockEnd ends the block of an index; without one, the block that is being read.
func (s *source) blockEnd(data []byte) error {
	v, _ := rawjson.Find(data, "contentBlockIndex")
	if index, ok := v.Int(); ok && s.elsewhere(index) {
		if w := s.byIndex[index]; w != nil {
			w.ended = true
		}
		return nil
	}
	s.blockStop()
	return s.next()
}

// endAll ends the block that is being read, and those that wait, each in its turn.
func (s *source) endAll() error {
	for {
		s.blockStop()
		if len(s.queue) == 0 {
			return nil
		}
		if err := s.next(); err != nil {
			return err
		}
	}
}
