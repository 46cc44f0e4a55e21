package adminapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
	"sluice/shared/web"
)

// exportPath is where usage is exported.
const exportPath = "/api/usage/export"

const (
	maxExportPart = 5000             // rows of an export that names a limit
	maxHeld       = 32 << 20         // bytes of an answer that is made before it is sent
	exportSpare   = 16 << 10         // for the header of an answer in one piece
	exportStuck   = 60 * time.Second // a page that takes so long is given up: the client reads no more
	exportsAtOnce = 16
	exportsOfOne  = 4 // of one account
)

// exportGate bounds how many exports run at once: each holds a page of records for as long as its client reads.
type exportGate struct {
	mu  sync.Mutex
	all int
	of  map[string]int
}

func newExportGate() *exportGate { return &exportGate{of: make(map[string]int)} }

// enter lets an export of an account in; who was let in must call leave. Tenants together leave room for an administrator's.
func (g *exportGate) enter(account string, admin bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all >= exportsAtOnce || !admin && g.all >= exportsAtOnce-exportsOfOne || g.of[account] >= exportsOfOne {
		return &core.Error{Code: core.CodeRateLimited, RetryAfter: 10 * time.Second, Message: "other exports are under way; try again when they have ended"}
	}
	g.all++
	g.of[account]++
	return nil
}

func (g *exportGate) leave(account string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all--
	if g.of[account]--; g.of[account] == 0 {
		delete(g.of, account)
	}
}

// mediaType is that of a form of exports; "" for one that there is not.
func mediaType(format string) string {
	switch format {
	case "csv":
		return "text/csv; charset=utf-8; header=present"
	case "json":
		return "application/json; charset=utf-8"
	case "jsonl":
		return "application/x-ndjson; charset=utf-8"
	}
	return ""
}

// export is an answer under way.
type export struct {
	c      *call
	rc     *http.ResponseController
	format string
	media  string
	name   string
	next   string       // cursor of what the call left out by its limit
	buf    bytes.Buffer // what was not sent
	enc    *json.Encoder
	rows   int
	room   int64 // above 0: all is held until the end, and may have that many bytes as a JSON string
	seen   int   // of buf, while all is held: bytes that room was taken for
	begun  bool  // the header is out
	gone   bool  // the client takes no more
}

// usageExport sends records or sums as a file. Records are read and sent by pages, so that any number of them takes little
// memory. When the store fails midway the connection is broken off: what came is no whole file, and must not look like one.
func (c *call) usageExport() error {
	q := c.r.URL.Query()
	what := q.Get("what")
	if what == "" {
		what = "logs"
	}
	if what != "logs" && what != "summary" {
		return bad("what: must be logs or summary")
	}
	e := &export{c: c, rc: http.NewResponseController(c.w), format: q.Get("format")}
	if e.format == "" {
		e.format = "csv"
	}
	if e.media = mediaType(e.format); e.media == "" {
		return bad("format: must be csv, json or jsonl")
	}
	e.name = "sluice-usage-" + what + "-" + c.a.o.Now().UTC().Format("20060102T150405Z") + "." + e.format
	e.enc = json.NewEncoder(&e.buf)
	e.enc.SetEscapeHTML(false)
	if limit := web.AnswerLimit(c.r.Context()); limit > 0 {
		e.hold(limit - exportSpare)
	}
	if err := c.a.exports.enter(c.who.account, c.who.admin); err != nil {
		return err
	}
	defer c.a.exports.leave(c.who.account)
	send := e.logs
	if what == "summary" {
		send = e.sums
	}
	err := send()
	if err == nil || !e.begun {
		return err
	}
	if !e.gone && c.r.Context().Err() == nil {
		c.a.o.Log.Error("export broken off: usage could not be read to its end", "request_id", web.FromContext(c.r.Context()).ID, "rows", e.rows, "error", err)
	}
	panic(http.ErrAbortHandler)
}

// hold makes the answer wait for its end, and bounds it.
func (e *export) hold(bytes int64) {
	if e.room == 0 || bytes < e.room {
		e.room = max(bytes, 1)
	}
}

// logs sends the log of requests, newest first: all that the filter selects, or as many as the call asks for, with a cursor
// to go on from as a header.
func (e *export) logs() error {
	f, err := e.c.usageFilter()
	if err != nil {
		return err
	}
	q := e.c.r.URL.Query()
	limit, err := queryInt(q, "limit", 0, 1, maxExportPart)
	if err != nil {
		return err
	}
	if limit > 0 {
		e.hold(maxHeld) // the cursor stands before the rows
	}
	columns := logColumns()
	begin(e, columns)
	cursor := q.Get("cursor")
	for {
		page := recordPage
		if limit > 0 {
			page = min(page, limit-e.rows)
		}
		recs, next, err := e.c.a.o.Usage.Records(e.c.r.Context(), f, cursor, page)
		if errors.Is(err, store.ErrCursor) {
			return bad("cursor: is not one that this API gave")
		}
		if err != nil {
			return err
		}
		for i := range recs {
			v := viewLog(&recs[i])
			if err := appendRow(e, columns, &v); err != nil {
				return err
			}
		}
		if cursor = next; cursor == "" || limit > 0 && e.rows >= limit {
			break
		}
		if err := e.flush(); err != nil {
			return err
		}
	}
	e.next = cursor
	return e.end()
}

// sums sends sums as the summary has them.
func (e *export) sums() error {
	q := e.c.r.URL.Query()
	for _, name := range []string{"limit", "cursor"} {
		if q.Get(name) != "" {
			return bad(name + ": goes with what=logs")
		}
	}
	views, _, err := e.c.summaries()
	if err != nil {
		return err
	}
	columns := sumColumns()
	begin(e, columns)
	for i := range views {
		if err := appendRow(e, columns, &views[i]); err != nil {
			return err
		}
		if e.rows%recordPage == 0 {
			if err := e.flush(); err != nil {
				return err
			}
		}
	}
	return e.end()
}

// begin writes what comes before the first row.
func begin[T any](e *export, columns []column[T]) {
	if e.format == "csv" {
		line := e.buf.AvailableBuffer()
		for i := range columns {
			line = appendComma(line, i)
			line = append(line, columns[i].name...)
		}
		e.buf.Write(append(line, "\r\n"...))
	}
}

// appendRow writes a row. Nothing is sent before flush.
func appendRow[T any](e *export, columns []column[T], v *T) error {
	if e.format == "csv" {
		line := e.buf.AvailableBuffer()
		for i := range columns {
			line = columns[i].cell(appendComma(line, i), v)
		}
		e.buf.Write(append(line, "\r\n"...))
		e.rows++
		return nil
	}
	if e.format == "json" {
		if e.rows == 0 {
			e.buf.WriteByte('[')
		} else {
			e.buf.WriteByte(',')
		}
	}
	e.rows++
	return e.enc.Encode(v)
}

// flush sends what there is, or takes the room that it needs.
func (e *export) flush() error {
	if e.room > 0 {
		for _, b := range e.buf.Bytes()[e.seen:] {
			e.room -= escaped(b)
		}
		e.seen = e.buf.Len()
		if e.room <= 0 {
			e.room = 1
			return errExportTooLarge()
		}
		return nil
	}
	e.head()
	_ = e.rc.SetWriteDeadline(time.Now().Add(exportStuck))
	_, err := e.c.w.Write(e.buf.Bytes())
	e.buf.Reset()
	if ferr := e.rc.Flush(); err == nil && !errors.Is(ferr, http.ErrNotSupported) {
		err = ferr
	}
	e.gone = err != nil
	return err
}

func errExportTooLarge() error {
	return core.E(core.CodeTooLarge, "the export is larger than what can be sent in one piece; name a shorter time by from and to, or, of logs, a limit "+
		"(such as 2000), and go on with the cursor that the answer then has as the header x-next-cursor")
}

// escaped is how many bytes a byte becomes in a JSON string, which an answer in one piece is part of.
func escaped(b byte) int64 {
	switch {
	case b == '"', b == '\\', b == '\n', b == '\r', b == '\t':
		return 2
	case b < ' ', b == 0xE2: // the first byte of U+2028, which is escaped, too
		return 6
	}
	return 1
}

// head sends the header.
func (e *export) head() {
	if e.begun {
		return
	}
	e.begun = true
	h := e.c.w.Header()
	h.Set("Content-Type", e.media)
	h.Set("Content-Disposition", `attachment; filename="`+e.name+`"`)
	if e.next != "" {
		h.Set("X-Next-Cursor", e.next)
	}
	e.c.w.WriteHeader(http.StatusOK)
}

// end sends the rest.
func (e *export) end() error {
	if e.format == "json" {
		if e.rows == 0 {
			e.buf.WriteByte('[')
		}
		e.buf.WriteString("]\n")
	}
	if e.room > 0 {
		if err := e.flush(); err != nil {
			return err
		}
		e.room = 0
	}
	err := e.flush()
	_ = e.rc.SetWriteDeadline(time.Time{})
	return err
}
