package redis

import (
	"context"
	"fmt"
	"time"

	"sluice/shared/store"
)

// fenceKeep is how long a lease's fencing number stays beyond its end. Later ones begin with the time, which is greater.
const fenceKeep = 7 * 24 * time.Hour

// Acquire implements store.Leases.
func (s *Store) Acquire(ctx context.Context, name, holder string, now time.Time, ttl time.Duration) (int64, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	now = s.clock.at(now)
	fence, err := s.run(ctx, &s.scripts.acquire, true, s.scripts.acquire.call(s.keys.lease(name)).
		str(holder).num(now.UnixMicro(), now.Add(ttl).UnixMicro(), (max(ttl, 0)+fenceKeep).Milliseconds())).Int64()
	if err == nil && fence == 0 {
		return 0, fmt.Errorf("lease %s: %w", name, store.ErrHeld)
	}
	return fence, s.fail(ctx, "lease "+name, err)
}

// Release implements store.Leases.
func (s *Store) Release(ctx context.Context, name, holder string) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	return s.fail(ctx, "release "+name, s.run(ctx, &s.scripts.giveUp, true, s.scripts.giveUp.call(s.keys.lease(name)).str(holder)).Err())
}
