package sse

import "bytes"

// Event is one event of a stream. Its slices are views of the batch it was cut
// from, good as long as that is, and must not be written to; Data alone is a
// slice of its own when the event has several data lines.
type Event struct {
	Name []byte // value of the last event line; empty when there is none
	Data []byte // values of the data lines joined by LF; nil when there is none, empty but not nil when there is one without a value
	Raw  []byte // all bytes of the event, its blank line included
}

const byteOrderMark = "\uFEFF"

// Cut returns the first event of batch and the bytes after it. An event is
// everything up to and including the next blank line, so a blank line on its
// own or one after comments alone is an event too, with Name and Data nil. ok
// is false, and rest is batch, when batch has no blank line.
//
// batch should be what [Reader.Batch] returned or the rest of it: a CR at its
// end counts as a whole line end. A byte order mark before the first line of
// an event is skipped in reading that line's field and is in Raw; a line of
// nothing but the mark is not blank.
//
// Lines that are neither event nor data, such as id, retry and comments, are
// in Raw only. Work is in proportion to the event, not to the batch; memory is
// allocated only for several data lines.
func Cut(batch []byte) (ev Event, rest []byte, ok bool) {
	for pos := 0; pos < len(batch); {
		end := pos + lineEnd(batch[pos:])
		if end == len(batch) {
			break
		}
		line := batch[pos:end:end]
		if end++; batch[end-1] == '\r' && end < len(batch) && batch[end] == '\n' {
			end++
		}
		if len(line) == 0 {
			ev.Raw = batch[:end:end]
			return ev, batch[end:], true
		}
		if pos == 0 {
			line = bytes.TrimPrefix(line, []byte(byteOrderMark))
		}
		pos = end

		if value, is := field(line, "data"); is {
			if ev.Data == nil {
				ev.Data = value
			} else {
				// The view has no spare capacity, so this copies first.
				ev.Data = append(append(ev.Data, '\n'), value...)
			}
		} else if value, is := field(line, "event"); is {
			ev.Name = value
		}
	}
	return Event{}, batch, false
}

// Span returns the length of the first event of batch when its first line is
// "event: name", all its lines end in LF and it is complete; else 0. It is the
// cheap way past events whose content does not matter.
func Span(batch []byte, name string) int {
	const field = "event: "
	if len(batch) < len(field)+len(name)+1 || string(batch[:len(field)]) != field ||
		string(batch[len(field):len(field)+len(name)]) != name || batch[len(field)+len(name)] != '\n' {
		return 0
	}
	end := bytes.Index(batch, blankLine)
	if end < 0 || bytes.IndexByte(batch[:end], '\r') >= 0 {
		return 0
	}
	return end + len(blankLine)
}

// field returns the value of the line when it is one of the field name. The
// value is not nil even when it is empty.
func field(line []byte, name string) ([]byte, bool) {
	if len(line) < len(name) || string(line[:len(name)]) != name {
		return nil, false
	}
	value := line[len(name):]
	if len(value) == 0 {
		return value, true
	}
	if value[0] != ':' {
		return nil, false
	}
	if value = value[1:]; len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	return value, true
}

// AppendEvent appends one event to dst and returns the extended slice: an
// event line with name, unless name is empty, a data line for each line of
// data (one for empty data), and the blank line. Line ends in data, LF, CRLF
// or CR, are read back as LF. A line end in name would forge a line and is
// written as a space.
func AppendEvent(dst []byte, name string, data []byte) []byte {
	if name != "" {
		dst = append(dst, "event: "...)
		for i := range len(name) {
			c := name[i]
			if c == '\n' || c == '\r' {
				c = ' '
			}
			dst = append(dst, c)
		}
		dst = append(dst, '\n')
	}
	for more := true; more; {
		var line []byte
		line, data, more = cutLine(data)
		dst = append(dst, "data: "...)
		dst = append(dst, line...)
		dst = append(dst, '\n')
	}
	return append(dst, '\n')
}

// AppendComment appends a comment and a blank line to dst and returns the
// extended slice. Receivers ignore it; it keeps a connection alive. A text of
// several lines becomes as many comment lines.
func AppendComment(dst []byte, text string) []byte {
	rest := []byte(text)
	for more := true; more; {
		var line []byte
		line, rest, more = cutLine(rest)
		dst = append(dst, ": "...)
		dst = append(dst, line...)
		dst = append(dst, '\n')
	}
	return append(dst, '\n')
}

// cutLine cuts b at its first line end; more is false when it has none.
func cutLine(b []byte) (line, rest []byte, more bool) {
	i := lineEnd(b)
	if i == len(b) {
		return b, nil, false
	}
	n := 1
	if b[i] == '\r' && i+1 < len(b) && b[i+1] == '\n' {
		n = 2
	}
	return b[:i], b[i+n:], true
}
