package sqlstore

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

const (
	saveEvery   = 200 * time.Millisecond // how long a record may wait
	saveAtOnce  = 4_000                  // how many may wait that long
	saveChunk   = 5_000                  // most in one transaction
	saveRetry   = 5 * time.Second        // longest pause after errors
	saveTimeout = 30 * time.Second       // of one transaction
	queueMax    = 65_536                 // records that wait; some 30 MB
)

// saver keeps records until they are saved in groups by a goroutine that run is.
type saver struct {
	save    func(context.Context, []core.Settlement) error // all or nothing
	unsaved func() bool                                    // something else than records waits
	logger  *slog.Logger

	mu     sync.Mutex
	queue  []core.Settlement // oldest first, those being saved included
	err    error             // of the last attempt
	closed bool

	writing chan struct{} // held by the one who saves
	wake    chan struct{} // something waits
	hurry   chan struct{} // much waits
	stop    chan struct{}
	done    chan struct{}
}

func newSaver(save func(context.Context, []core.Settlement) error, unsaved func() bool, logger *slog.Logger) *saver {
	return &saver{
		save: save, unsaved: unsaved, logger: logger,
		writing: make(chan struct{}, 1),
		wake:    make(chan struct{}, 1),
		hurry:   make(chan struct{}, 1),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
	}
}

// signal is never lost: one that is pending serves.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// add queues a record. store.ErrFull when too many wait.
func (s *saver) add(r *core.Settlement) error {
	s.mu.Lock()
	switch {
	case s.closed:
		s.mu.Unlock()
		return errClosed
	case len(s.queue) >= queueMax:
		err := s.err
		s.mu.Unlock()
		if err != nil {
			return fmt.Errorf("%w: %w", store.ErrFull, err)
		}
		return store.ErrFull
	}
	s.queue = append(s.queue, *r)
	n := len(s.queue)
	s.mu.Unlock()
	switch n {
	case 1:
		signal(s.wake)
	case saveAtOnce:
		signal(s.hurry)
	}
	return nil
}

// has reports whether a record waits.
func (s *saver) has(requestID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.queue, func(r core.Settlement) bool { return r.RequestID == requestID })
}

// run saves until stop is closed.
func (s *saver) run() {
	defer close(s.done)
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	armed, delay := false, saveEvery
	for {
		hurry := s.hurry
		if delay > saveEvery {
			hurry = nil // after an error, patience
		}
		select {
		case <-s.stop:
			timer.Stop()
			return
		case <-s.wake:
			if !armed {
				timer.Reset(delay)
				armed = true
			}
			continue
		case <-hurry:
			timer.Stop()
		case <-timer.C:
		}
		delay = s.attempt(delay)
		if armed = s.waiting() > 0 || s.unsaved(); armed {
			timer.Reset(delay)
		}
	}
}

// attempt saves what waits and returns how long to wait before the next. Only changes between good and bad are logged.
func (s *saver) attempt(delay time.Duration) time.Duration {
	ctx, cancel := context.WithTimeout(context.Background(), saveTimeout)
	defer cancel()
	err := s.flush(ctx)
	switch {
	case err == nil && delay > saveEvery:
		s.logger.Info("usage is saved again")
	case err != nil && delay == saveEvery:
		s.logger.Error("usage cannot be saved; it is kept in memory and tried again", "error", err, "waiting", s.waiting())
	}
	if err == nil {
		return saveEvery
	}
	return min(2*delay, saveRetry)
}

func (s *saver) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue)
}

// last is the error of the last attempt, nil when it went well.
func (s *saver) last() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// flush saves what waits when it is called. What cannot be saved keeps waiting.
func (s *saver) flush(ctx context.Context) error {
	select {
	case s.writing <- struct{}{}:
		defer func() { <-s.writing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	left := s.waiting()
	if left == 0 && !s.unsaved() {
		return nil
	}
	for first := true; first || left > 0; first = false {
		s.mu.Lock()
		batch := s.queue[:min(left, saveChunk)]
		s.mu.Unlock()
		err := s.save(ctx, batch) // others only append, so the batch stays as it is
		s.mu.Lock()
		if err == nil || ctx.Err() == nil { // a caller who left says nothing about the disk
			s.err = err
		}
		if err == nil {
			s.queue = drop(s.queue, len(batch))
		}
		s.mu.Unlock()
		if err != nil {
			return err
		}
		left -= len(batch)
	}
	return nil
}

// drop removes the first n, keeping the array unless it has grown far beyond its use.
func drop(queue []core.Settlement, n int) []core.Settlement {
	if n == len(queue) && cap(queue) > 4*saveChunk {
		return nil
	}
	return slices.Delete(queue, 0, n)
}

// close ends the goroutine and saves what waits, within ctx.
func (s *saver) close(ctx context.Context) error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	if again {
		return nil
	}
	close(s.stop)
	<-s.done
	if err := s.flush(ctx); err != nil {
		return fmt.Errorf("%d usage records are lost: %w", s.waiting(), err)
	}
	return nil
}
