package gateway

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"sluice/shared/store"
)

const (
	stuckAfter   = 120 * time.Second // a write that takes so long is given up: the client reads no more
	pingDeadline = 10 * time.Second
	afterEnd     = time.Second // how long the upstream may keep the connection open after the last event
)

// watch is the one timer of an exchange. It pings a silent client, ends an attempt whose upstream is silent, and renews
// leases. Its callback runs beside the handler but never after stop has returned.
type watch struct {
	x     *exchange
	timer *time.Timer
	tick  sync.Mutex // held while the callback runs

	stopped bool // under tick
	renewed time.Time

	limit  atomic.Int64 // of the upstream's silence, ns
	seen   atomic.Int64 // last sign of the upstream, ns since the request's start
	cancel atomic.Pointer[context.CancelCauseFunc]

	stream *clientStream // nil: the answer is not streamed
}

// clientStream is the client's side of a streamed answer. The handler and the watch write to it in turn.
type clientStream struct {
	mu      sync.Mutex
	w       http.ResponseWriter
	rc      *http.ResponseController
	started bool  // the status line is out
	last    int64 // last write, ns since start; before the first one, when to give up holding
	bytes   int64
	err     error // the client's connection failed
	writing atomic.Int64
}

func (x *exchange) since() int64 { return int64(time.Since(x.info.Start)) }

// startWatch begins to watch; silence is what the upstream may be silent for.
func (x *exchange) startWatch(silence time.Duration, s *clientStream) *watch {
	w := &watch{x: x, stream: s, renewed: time.Now()}
	w.limit.Store(int64(silence))
	now := x.since()
	w.seen.Store(now)
	if s != nil {
		s.last = now + int64(x.g.s.HoldFor) - int64(x.g.s.PingEvery)
	}
	w.tick.Lock() // the callback reads timer
	defer w.tick.Unlock()
	w.timer = time.AfterFunc(w.next(now), w.fire)
	return w
}

// attempt says which attempt silence ends.
func (w *watch) attempt(cancel context.CancelCauseFunc, silence time.Duration) {
	w.limit.Store(int64(silence))
	w.seen.Store(w.x.since())
	w.cancel.Store(&cancel)
}

// hurry bounds how long a trial of a failed or degraded node is waited for where another node could answer: one user must not
// pay for finding out that it still hangs.
func (x *exchange) hurry(w *watch, patience time.Duration) {
	if x.spare {
		w.shorten(patience)
	}
}

// sign notes a sign of life of the upstream.
func (w *watch) sign(now int64) { w.seen.Store(now) }

// shorten changes how long the upstream may be silent from its last sign on, and sees to it that it is noticed in time.
func (w *watch) shorten(silence time.Duration) {
	w.tick.Lock()
	defer w.tick.Unlock()
	if !w.stopped && w.limit.Swap(int64(silence)) != int64(silence) {
		w.timer.Reset(w.next(w.x.since()))
	}
}

// stop ends the watch. When it returns, the callback is not running and never will.
func (w *watch) stop() {
	w.timer.Stop()
	w.tick.Lock()
	w.stopped = true
	w.tick.Unlock()
}

func (w *watch) next(now int64) time.Duration {
	due := w.seen.Load() + w.limit.Load()
	if w.stream != nil {
		if w.stream.mu.TryLock() {
			due = min(due, w.stream.last+int64(w.x.g.s.PingEvery))
			w.stream.mu.Unlock()
		} else {
			due = min(due, now+int64(w.x.g.s.PingEvery))
		}
	}
	due = min(due, now+int64(renewEvery))
	return time.Duration(max(due-now, int64(time.Millisecond)))
}

func (w *watch) fire() {
	w.tick.Lock()
	defer w.tick.Unlock()
	if w.stopped {
		return
	}
	c := w.cancel.Load() // first: another attempt may begin meanwhile, and this silence is not its
	now := w.x.since()
	if now-w.seen.Load() >= w.limit.Load() {
		if c != nil && w.cancel.CompareAndSwap(c, nil) {
			(*c)(errSilence)
		}
		w.seen.Store(now)
	}
	if w.stream != nil {
		w.stream.keepAlive(now, w.x)
	}
	w.renew()
	w.timer.Reset(w.next(now))
}

// renew keeps the leases of a long request from running out.
func (w *watch) renew() {
	now := time.Now()
	if now.Sub(w.renewed) < renewEvery {
		return
	}
	w.renewed = now
	var leased []store.Subject
	for _, s := range w.x.subjectList() {
		if s.Limits.Leased() {
			leased = append(leased, s)
		}
	}
	if n := w.x.current.Load(); n != nil {
		leased = append(leased, *n)
	}
	if len(leased) == 0 {
		return
	}
	err := w.x.g.o.Admission.Renew(w.x.r.Context(), w.x.admitRequest(leased, store.Amount{}))
	if err != nil {
		w.x.g.o.Log.Warn("lease not renewed", "request_id", w.x.info.ID, "error", err)
	}
}

// keepAlive pings when the client has heard nothing for a while. The first ping also sends the status line.
func (s *clientStream) keepAlive(now int64, x *exchange) {
	if !s.mu.TryLock() {
		// the handler is writing; a client that takes nothing for minutes is gone in all but name
		if since := s.writing.Load(); since > 0 && now-since > int64(stuckAfter) {
			_ = s.rc.SetWriteDeadline(time.Unix(1, 0))
		}
		return
	}
	defer s.mu.Unlock()
	if s.err != nil || now-s.last < int64(x.g.s.PingEvery) {
		return
	}
	first := !s.started
	if first {
		x.earlyHeader(s.w.Header())
		s.w.WriteHeader(http.StatusOK)
		s.started = true
	}
	_ = s.rc.SetWriteDeadline(time.Now().Add(pingDeadline))
	s.write(x.client.AppendKeepAlive(nil, first, x.replyAlone()), now)
	if s.err == nil {
		_ = s.rc.SetWriteDeadline(time.Time{})
	}
}

// write writes and flushes; mu is held.
func (s *clientStream) write(p []byte, now int64) {
	s.last = now
	s.writing.Store(now)
	n, err := s.w.Write(p)
	s.bytes += int64(n)
	if err == nil {
		err = s.rc.Flush()
	}
	s.writing.Store(0)
	if err != nil && s.err == nil {
		s.err = err
	}
}

// sendFirst is send for the beginning of an answer: resume takes out of it what keep-alives have said already.
func (s *clientStream) sendFirst(p []byte, now int64, header func(http.Header), resume func([]byte) []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started {
		p = resume(p)
	}
	return s.sendLocked(p, now, header)
}

// begun reports whether the status line is out.
func (s *clientStream) begun() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.started
}

// send writes whole events to the client. header fills the header of the status line if that is still to be sent.
func (s *clientStream) send(p []byte, now int64, header func(http.Header)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sendLocked(p, now, header)
}

func (s *clientStream) sendLocked(p []byte, now int64, header func(http.Header)) error {
	if s.err != nil {
		return s.err
	}
	if !s.started {
		header(s.w.Header())
		s.w.WriteHeader(http.StatusOK)
		s.started = true
	}
	s.write(p, now)
	return s.err
}
