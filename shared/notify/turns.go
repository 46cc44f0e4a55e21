package notify

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	slow     = 3 * time.Second // a success that took longer lets its channel rest for as long
	turnTime = slow            // of a channel, while others wait
	passTime = 5 * time.Second // after which no turn begins: the outbox is looked at again, for what came meanwhile
	atOnce   = 2               // workers of one account
)

// queue is what an account has to send.
type queue struct {
	account string
	lanes   []*lane // that wait
	busy    int     // workers
	served  bool    // it had a turn
}

// lane is the due notices of one channel, the oldest first.
type lane struct {
	channel string
	due     []Notice
}

// turns hands lanes to workers: by account in turn, a second worker for an account only where no other one waits for its
// first. Any more would let a few slow accounts hold all workers.
type turns struct {
	now   func() time.Time
	until time.Time // after which no turn begins

	mu     sync.Mutex
	ended  *sync.Cond // a turn did
	queues []*queue   // in the order of their turns
	busy   int        // workers
}

func newTurns(queues []*queue, now func() time.Time) *turns {
	t := &turns{now: now, until: now().Add(passTime), queues: slices.Clone(queues)}
	t.ended = sync.NewCond(&t.mu)
	return t
}

// next waits for a lane that may be worked on; nil when there will be none.
func (t *turns) next(ctx context.Context) (*queue, *lane) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ctx.Err() == nil && t.now().Before(t.until) {
		if i := t.pick(); i >= 0 {
			q := t.queues[i]
			t.queues = append(slices.Delete(t.queues, i, i+1), q)
			l := q.lanes[0]
			q.lanes = q.lanes[1:]
			q.served = true
			q.busy++
			t.busy++
			return q, l
		}
		if t.busy == 0 {
			break
		}
		t.ended.Wait()
	}
	return nil, nil
}

// pick is the index of the queue whose turn it is, -1 for none.
func (t *turns) pick() int {
	for busy := range atOnce {
		if i := slices.IndexFunc(t.queues, func(q *queue) bool { return len(q.lanes) > 0 && q.busy == busy }); i >= 0 {
			return i
		}
	}
	return -1
}

// end takes a lane back; open: it has a turn again if there is something left in it.
func (t *turns) end(q *queue, l *lane, open bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if open && len(l.due) > 0 {
		q.lanes = append(q.lanes, l)
	}
	q.busy--
	t.busy--
	t.ended.Broadcast()
}

// pass sends what a part of the outbox holds now, several channels at a time. Accounts that time did not reach come first in
// the next one.
func (r *run) pass(ctx context.Context) error {
	queues, err := r.collect(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t := newTurns(queues, r.h.o.Now)
	var wg sync.WaitGroup
	for range min(workers, atOnce*len(queues)) {
		wg.Go(func() {
			for {
				q, l := t.next(ctx)
				if l == nil {
					return
				}
				if err := r.turn(ctx, l); err != nil {
					cancel(err)
				}
				t.end(q, l, !r.isClosed(l.channel))
			}
		})
	}
	wg.Wait()
	if i := slices.IndexFunc(queues, func(q *queue) bool { return !q.served }); i >= 0 {
		r.after = noticeBlock(queues[i].account)
	}
	r.cut = r.cut || slices.ContainsFunc(queues, func(q *queue) bool { return len(q.lanes) > 0 })
	return context.Cause(ctx)
}
