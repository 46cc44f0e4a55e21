package adminapi

import (
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sluice/shared/audit"
	"sluice/shared/core"
	"sluice/shared/web"
)

const (
	auditPath     = "/api/audit"
	maxAuditPage  = 500
	maxAuditPart  = 5000 // entries of an export that names a limit
	auditFlush    = 200  // entries between two flushes of an export
	maxFilterText = 200
)

// auditLog is the log, or an error that tells that there is none.
func (c *call) auditLog() (*audit.Log, error) {
	if c.a.o.Audit == nil {
		return nil, core.E(core.CodeUnavailable, "not implemented here: this process keeps no audit log")
	}
	return c.a.o.Audit, nil
}

// auditFilter reads what a call asks for. Who administers nothing but an account sees the account's entries, and of who is
// not the account's own only that an operator did it.
func (c *call) auditFilter() (audit.Filter, error) {
	q := c.r.URL.Query()
	f := audit.Filter{Account: q.Get("account_id"), Actor: q.Get("actor"), Action: q.Get("action"), Object: q.Get("object")}
	for _, s := range []struct{ name, value string }{{"account_id", f.Account}, {"actor", f.Actor}, {"action", f.Action}, {"object", f.Object}} {
		if len(s.value) > maxFilterText {
			return f, bad(s.name + ": is too long")
		}
	}
	if !c.who.nodes && !c.who.admin {
		return f, core.E(core.CodeForbidden, "forbidden")
	}
	var err error
	if f.Account, err = c.scopeOf(f.Account); err != nil {
		return f, err
	}
	if !c.who.admin {
		f.View = func(e *audit.Entry) { hideOthers(e, c.who.account) }
	}
	f.From, f.To, err = queryWindow(q)
	return f, err
}

// auditCursor reads the number that a page, or a part of an export, goes on from.
func (c *call) auditCursor() (int64, error) {
	s := c.r.URL.Query().Get("cursor")
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 {
		return 0, bad("cursor: is not one that this API gave")
	}
	return n, nil
}

// listAudit shows the audit log, the newest entry first.
func (c *call) listAudit() error {
	log, err := c.auditLog()
	if err != nil {
		return err
	}
	f, err := c.auditFilter()
	if err != nil {
		return err
	}
	limit, err := queryInt(c.r.URL.Query(), "limit", 50, 1, maxAuditPage)
	if err != nil {
		return err
	}
	cursor, err := c.auditCursor()
	if err != nil {
		return err
	}
	entries, next, err := log.Page(c.r.Context(), f, cursor, limit)
	if err != nil {
		return err
	}
	if entries == nil {
		entries = []audit.Entry{}
	}
	out := map[string]any{"entries": entries, "next_cursor": ""}
	if next > 0 {
		out["next_cursor"] = strconv.FormatInt(next, 10)
	}
	return c.ok(out)
}

// verifyAudit follows the chain from its beginning to its end.
func (c *call) verifyAudit() error {
	if err := c.adminOnly(); err != nil {
		return err
	}
	log, err := c.auditLog()
	if err != nil {
		return err
	}
	head := c.r.URL.Query().Get("head")
	if raw, err := hex.DecodeString(head); err != nil || head != "" && len(raw) != 32 {
		return bad("head: must be the hash of an entry, 64 characters of hexadecimal")
	}
	if err := c.a.exports.enter(c.who.account, c.who.admin); err != nil {
		return err
	}
	defer c.a.exports.leave(c.who.account)
	v, err := log.Verify(c.r.Context(), strings.ToLower(head))
	if err != nil {
		return err
	}
	return c.ok(v)
}

// auditFile is an export under way.
type auditFile struct {
	c     *call
	rc    *http.ResponseController
	csv   bool
	limit int   // of entries; 0: none
	room  int64 // above 0: the answer goes out in one piece of at most that many bytes
	held  []byte
	rows  int
	last  int64 // number of the entry that was written last
	begun bool
}

var errPartFull = errors.New("the part is full")

// exportAudit sends the log as a file, the oldest entry first: as JSON lines, which are the entries byte by byte as they are
// kept and can be verified anywhere, or as CSV. When the store fails midway the connection is broken off: what came is no
// whole file, and must not look like one. With a limit, or where answers are sent in one piece, the header x-next-cursor says
// where to go on.
func (c *call) exportAudit() error {
	log, err := c.auditLog()
	if err != nil {
		return err
	}
	f, err := c.auditFilter()
	if err != nil {
		return err
	}
	x := &auditFile{c: c, rc: http.NewResponseController(c.w)}
	q := c.r.URL.Query()
	switch q.Get("format") {
	case "", "jsonl":
	case "csv":
		x.csv = true
	default:
		return bad("format: must be jsonl or csv")
	}
	if x.limit, err = queryInt(q, "limit", 0, 1, maxAuditPart); err != nil {
		return err
	}
	after, err := c.auditCursor()
	if err != nil {
		return err
	}
	if limit := web.AnswerLimit(c.r.Context()); limit > 0 {
		x.room = max(limit-exportSpare, 1)
	} else if x.limit > 0 {
		x.room = maxHeld // the cursor stands before the entries
	}
	if err := c.a.exports.enter(c.who.account, c.who.admin); err != nil {
		return err
	}
	defer c.a.exports.leave(c.who.account)
	if x.csv {
		x.held = append(x.held, strings.Join(auditColumns(), ",")+"\r\n"...)
	}
	err = log.Export(c.r.Context(), f, after, func(line []byte, e audit.Entry) error { return x.add(line, &e, f.View != nil) })
	full := errors.Is(err, errPartFull)
	if err == nil || full {
		err = x.send(full)
	}
	_ = x.rc.SetWriteDeadline(time.Time{})
	if err == nil || !x.begun {
		return err
	}
	if c.r.Context().Err() == nil {
		c.a.o.Log.Error("export of the audit log broken off", "request_id", web.FromContext(c.r.Context()).ID, "entries", x.rows, "error", err)
	}
	panic(http.ErrAbortHandler)
}

// add takes an entry.
func (x *auditFile) add(line []byte, e *audit.Entry, changed bool) error {
	if x.limit > 0 && x.rows == x.limit {
		return errPartFull
	}
	row, err := x.row(line, e, changed)
	if err != nil {
		return err
	}
	if x.room > 0 {
		for _, b := range row {
			x.room -= escaped(b)
		}
		if x.room <= 0 {
			if x.rows == 0 {
				return core.E(core.CodeTooLarge, "an entry is larger than what can be sent in one piece")
			}
			return errPartFull
		}
	}
	x.held, x.last = append(x.held, row...), e.Seq
	if x.rows++; x.room == 0 && x.rows%auditFlush == 0 {
		return x.flush("")
	}
	return nil
}

// send ends the file. A part that is full names the entry that the next one begins behind.
func (x *auditFile) send(full bool) error {
	next := ""
	if full {
		next = strconv.FormatInt(x.last, 10)
	}
	return x.flush(next)
}

func (x *auditFile) flush(next string) error {
	if !x.begun {
		x.begun = true
		h, ext := x.c.w.Header(), "jsonl"
		if x.csv {
			ext = "csv"
		}
		h.Set("Content-Type", mediaType(ext))
		h.Set("Content-Disposition", `attachment; filename="sluice-audit-`+x.c.a.o.Now().UTC().Format("20060102T150405Z")+"."+ext+`"`)
		if next != "" {
			h.Set("X-Next-Cursor", next)
		}
		x.c.w.WriteHeader(http.StatusOK)
	}
	_ = x.rc.SetWriteDeadline(time.Now().Add(exportStuck))
	_, err := x.c.w.Write(x.held)
	x.held = x.held[:0]
	if ferr := x.rc.Flush(); err == nil && !errors.Is(ferr, http.ErrNotSupported) {
		err = ferr
	}
	return err
}

// row is an entry in the form of the file.
func (x *auditFile) row(line []byte, e *audit.Entry, changed bool) ([]byte, error) {
	if !x.csv {
		if changed {
			var err error
			if line, err = e.Plain(); err != nil {
				return nil, err
			}
		}
		return append(line[:len(line):len(line)], '\n'), nil
	}
	var row []byte
	for i, cell := range auditCells(e) {
		row = appendCell(appendComma(row, i), cell)
	}
	return append(row, "\r\n"...), nil
}

func auditColumns() []string {
	return []string{"seq", "at", "actor_kind", "actor_key_id", "actor_key_prefix", "actor_account_id", "actor_name", "address", "user_agent", "request_id", "action",
		"object_kind", "object_id", "object_name", "account_id", "before", "after", "also", "result", "code", "prev", "hash"}
}

func auditCells(e *audit.Entry) []string {
	return []string{strconv.FormatInt(e.Seq, 10), e.At.Format(time.RFC3339Nano), e.Actor.Kind, e.Actor.Key, e.Actor.Prefix, e.Actor.Account, e.Actor.Name, e.Address, e.Agent,
		e.Request, e.Action, e.Object.Kind, e.Object.ID, e.Object.Name, e.Account, string(e.Before), string(e.After), strings.Join(e.Also, " "), e.Result, e.Code, e.Prev, e.Hash}
}
