package spool

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// settlement is a line of the folder: a store.SettleRequest with the zone by its name. It holds no content.
type settlement struct {
	ID       string          `json:"id"`
	Account  string          `json:"account"`
	Now      time.Time       `json:"now"`
	Zone     string          `json:"zone,omitempty"`
	Subjects []store.Subject `json:"subjects,omitempty"`
	Used     store.Amount    `json:"used,omitzero"`
	Free     []store.Subject `json:"free,omitempty"`
	Record   core.Settlement `json:"record"`
}

func encode(r *store.SettleRequest) ([]byte, error) {
	s := settlement{ID: r.ID, Account: r.Account, Now: r.Now, Subjects: r.Subjects, Used: r.Used, Free: r.Free, Record: r.Record}
	if r.Zone != nil {
		s.Zone = r.Zone.String()
	}
	line, err := json.Marshal(&s)
	return append(line, '\n'), err
}

var errLine = errors.New("no settlement")

// decode reads a line that encode wrote. A zone that this machine does not know counts as UTC.
func decode(line []byte) (store.SettleRequest, error) {
	var s settlement
	if err := json.Unmarshal(line, &s); err != nil {
		return store.SettleRequest{}, errLine
	}
	if s.Record.RequestID == "" || s.Account == "" {
		return store.SettleRequest{}, errLine
	}
	zone := time.UTC
	if z, err := time.LoadLocation(s.Zone); err == nil && s.Zone != "" {
		zone = z
	}
	return store.SettleRequest{ID: s.ID, Account: s.Account, Now: s.Now, Zone: zone, Subjects: s.Subjects, Used: s.Used, Free: s.Free, Record: s.Record}, nil
}

// later makes the goroutine, which is started when first needed, try what waits.
func (s *Store) later() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if !s.running {
		ctx, cancel := context.WithCancel(context.Background())
		s.running, s.cancel = true, cancel
		s.done.Go(func() { s.run(ctx) })
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run tries what waits, with growing pauses, until Close.
func (s *Store) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	armed, pause := false, firstPause
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
			if !armed {
				timer.Reset(pause)
				armed = true
			}
			continue
		case <-timer.C:
		}
		if armed = !s.round(ctx); armed {
			pause = min(2*pause, longestPause)
			timer.Reset(pause)
		} else {
			pause = firstPause
		}
	}
}

// round reports whether nothing waits any more.
func (s *Store) round(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, replayTimeout)
	defer cancel()
	_ = s.files.sync()
	err := s.replay(ctx)
	return err == nil && s.files.waiting() == 0
}

// replay stores what waits, oldest first, and tells how much it was, whoever asked for it. It ends at the first error that says
// that the store is still away.
func (s *Store) replay(ctx context.Context) error {
	select {
	case s.replaying <- struct{}{}:
		defer func() { <-s.replaying }()
	case <-ctx.Done():
		return ctx.Err()
	}
	before := s.replayed.Load()
	defer func() {
		if n := s.replayed.Load() - before; n > 0 {
			s.o.Log.Info("settlements that waited are stored", "settlements", n, "waiting", s.files.waiting())
		}
	}()
	if err := s.Store.Ping(ctx); err != nil {
		return err
	}
	for {
		seg, err := s.files.oldest()
		if seg == nil || err != nil {
			return err
		}
		if err := s.segment(ctx, seg); err != nil {
			return err
		}
	}
}

// segment stores the lines of one file from where the last try ended, and removes it when all are stored. A process that
// dies in between stores some of them again, which the store knows by their request ids.
func (s *Store) segment(ctx context.Context, seg *segment) error {
	lines, err := seg.read()
	if err != nil {
		return err
	}
	bad := 0
	for ; seg.next < len(lines); seg.next++ {
		r, err := decode(lines[seg.next])
		if err != nil {
			bad++ // the last line of a process that was killed, or a damaged disk
			continue
		}
		if err := s.again(ctx, &r, lines[seg.next]); err != nil {
			return err
		}
	}
	if bad > 0 {
		s.o.Log.Warn("lines that are cut or damaged were passed over", "file", seg.path, "lines", bad)
	}
	// what a store keeps in memory for a moment must be safe before the file goes
	if err := s.Store.Flush(ctx); err != nil {
		return err
	}
	return s.files.remove(seg)
}

func (s *Store) again(ctx context.Context, r *store.SettleRequest, line []byte) error {
	err := s.Store.Settle(ctx, *r)
	if err == nil {
		delete(s.refusals, r.Record.RequestID)
		s.replayed.Add(1)
		return nil
	}
	if ctx.Err() != nil || s.Store.Ping(ctx) != nil {
		return err
	}
	// the store works and does not want this one: the others must not wait for it for ever
	if s.refusals[r.Record.RequestID]++; s.refusals[r.Record.RequestID] < triesOfOne {
		return err
	}
	delete(s.refusals, r.Record.RequestID)
	s.logged.Add(1)
	s.o.Log.Error("settlement not stored", "request_id", r.Record.RequestID, "account", r.Account, "settlement", string(line), "error", err)
	return nil
}
