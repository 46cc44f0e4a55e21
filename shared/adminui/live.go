package adminui

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Live parts of pages are streams of events where answers reach the browser as they are written: the part now, and again
// when it has changed. Elsewhere, and where too many look on, the browser asks again.
const (
	liveEvery   = 5 * time.Second
	liveQuiet   = 16 * time.Second // until a comment keeps the connection
	livePerson  = 16
	liveAll     = 256
	liveRetry   = "30000" // milliseconds, where too many look on
	livePatient = 30 * time.Second
	liveQuery   = "stream"
)

// watchers counts the streams of each account, and of each share.
type watchers struct {
	mu  sync.Mutex
	all int
	of  map[string]int
}

// enter reports whether there is room for one more.
func (w *watchers) enter(who string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all >= liveAll || w.of[who] >= livePerson {
		return false
	}
	if w.of == nil {
		w.of = map[string]int{}
	}
	w.all++
	w.of[who]++
	return true
}

func (w *watchers) leave(who string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all--
	if w.of[who]--; w.of[who] == 0 {
		delete(w.of, who)
	}
}

// LiveStream is the address of the stream of a live part, for a template that has the part's own; empty where parts are asked for.
func (v *view) LiveStream(part string) string {
	switch {
	case !v.c.o.Streams:
		return ""
	case strings.Contains(part, "?"):
		return part + "&" + liveQuery + "=1"
	}
	return part + "?" + liveQuery + "=1"
}

// streamed reports whether a request asks for the stream of a page's live part.
func (c *Console) streamed(r *http.Request, p *page) bool {
	return c.o.Streams && p.live && r.Method == http.MethodGet && r.Header.Get("HX-Request") != "" && r.URL.Query().Has(liveQuery)
}

// look is the part as the page answers it now, and whose session or which share it is for.
func (c *Console) look(r *http.Request, p *page, id string) (a *answer, who string) {
	r = r.Clone(r.Context())
	q := r.URL.Query()
	q.Del(liveQuery)
	r.URL.RawQuery = q.Encode()
	r.Header.Del("Accept-Encoding")
	a = &answer{header: http.Header{}}
	v := c.view(a, r, p, id)
	if err := v.serve(); err != nil {
		v.fail(err)
	}
	if p.open {
		return a, "share " + id
	}
	return a, v.Me.AccountID
}

// live answers with the stream of a part. It ends with the request, with the session, and when the server begins to shut down.
func (c *Console) live(w http.ResponseWriter, r *http.Request, p *page, id string) {
	a, who := c.look(r, p, id)
	room := c.watchers.enter(who)
	if room {
		defer c.watchers.leave(who)
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	send := (&told{w: w}).send
	switch {
	case a.over():
		send(ended)
		return
	case a.status != http.StatusOK: // it is asked for again, and the page stays as it is
		send("retry: " + liveRetry + "\n" + later)
		return
	case !room:
		send("retry: " + liveRetry + "\n" + event(a.body.Bytes()))
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	r = r.WithContext(ctx)
	var quiet sync.WaitGroup
	quiet.Go(func() { // however long a look takes
		every := time.NewTicker(liveQuiet)
		defer every.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-every.C:
				if !send(":\n\n") {
					cancel()
				}
			}
		}
	})
	defer quiet.Wait()
	defer cancel()
	wait := time.NewTimer(liveEvery)
	defer wait.Stop()
	var shown []byte
	for {
		switch body := a.body.Bytes(); {
		case a.over():
			send(ended)
			return
		case a.status == http.StatusOK && !bytes.Equal(body, shown):
			if shown = body; !send(event(body)) {
				return
			}
		case a.status != http.StatusOK && shown != nil: // the next good one is told in any case
			if shown = nil; !send(later) {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-c.o.Ending:
			return
		case <-wait.C:
		}
		began := time.Now()
		a, _ = c.look(r, p, id)
		wait.Reset(max(liveEvery, liveShare*time.Since(began)))
	}
}

// told is what a stream is written to, by what looks and by what keeps it.
type told struct {
	mu sync.Mutex
	w  http.ResponseWriter
}

// send reports whether the other side still reads.
func (t *told) send(text string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	rc := http.NewResponseController(t.w)
	_ = rc.SetWriteDeadline(time.Now().Add(livePatient)) // who does not read is gone
	_, err := t.w.Write([]byte(text))
	return err == nil && rc.Flush() == nil
}

// ended has the page loaded anew: the server says then where to.
const ended = "event: ended\ndata:\n\n"

// later has the page say since when it is not up to date.
const later = "event: later\ndata:\n\n"

// over reports whether the part will not come again: the session, the right or the thing is gone.
func (a *answer) over() bool {
	switch a.status {
	case http.StatusNoContent, http.StatusSeeOther, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone:
		return true
	}
	return false
}

// event is a message of HTML.
func event(html []byte) string {
	return "data: " + lines.Replace(string(html)) + "\n\n"
}

// lines are all that end one in a stream of events: https://html.spec.whatwg.org/multipage/server-sent-events.html
var lines = strings.NewReplacer("\r\n", "\ndata: ", "\r", "\ndata: ", "\n", "\ndata: ")
