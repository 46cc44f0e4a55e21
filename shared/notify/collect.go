package notify

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"sluice/shared/store"
)

const (
	pageSize = 200
	maxPass  = 2_000 // notices that a pass keeps in memory
	maxRead  = 5_000 // that it reads
	ofOne    = 200   // that it keeps of one account; one of each channel in any case
	maxBlock = 2_000 // that it reads of one account; more than may wait
)

// noticeBlock begins the ids of an account's notices, so that they follow each other in a listing of all, and one account's
// can be passed over. Ids of earlier versions have no such beginning; they are found all the same.
func noticeBlock(account string) string { return hashID("account", account)[:12] }

func noticeID(account, rest string) string { return noticeBlock(account) + "-" + rest }

// collection is what a pass takes from the outbox.
type collection struct {
	r      *run
	now    time.Time
	queues []*queue // in the order of the listing
	of     map[string]*queue
	lanes  map[[2]string]*lane // by account and channel
	kept   int
	read   int
	last   string // account
	block  int    // read of it in a row
}

// collect lists a part of the outbox, from r.after on; r.after is empty again at its end. Of each channel that is open it
// takes no more due notices than it may get in a minute, and of each account a share.
func (r *run) collect(ctx context.Context) ([]*queue, error) {
	c := &collection{r: r, now: r.h.o.Now(), of: make(map[string]*queue), lanes: make(map[[2]string]*lane)}
	for {
		docs, err := r.h.docs.List(ctx, store.KindNotice, "", r.after, pageSize)
		if err != nil {
			return nil, err
		}
		end := len(docs) < pageSize
		for i := range docs {
			if docs[i].Account != c.last && !c.turnTo(docs[i].Account) {
				return c.queues, nil
			}
			r.after = docs[i].ID
			c.add(ctx, &docs[i])
			if block := noticeBlock(c.last); c.block >= maxBlock && strings.HasPrefix(r.after, block+"-") {
				r.after, end = block+".", false // the first id that is no more of this account
				break
			}
		}
		if end {
			c.turnTo("")
			r.after = ""
			return c.queues, nil
		}
	}
}

// turnTo ends one account and begins another; false when the pass has enough.
func (c *collection) turnTo(account string) bool {
	if q := c.of[c.last]; q != nil {
		c.kept -= q.trim()
	}
	c.last, c.block = account, 0
	return c.kept < maxPass && c.read < maxRead
}

func (c *collection) add(ctx context.Context, d *store.Doc) {
	c.read++
	c.block++
	n, ok := c.r.decode(ctx, d)
	if !ok {
		return
	}
	c.r.seen++
	if n.NextAt.After(c.now) || c.r.isClosed(n.Channel) {
		return
	}
	q := c.of[n.Account]
	if q == nil {
		q = &queue{account: n.Account}
		c.of[n.Account] = q
		c.queues = append(c.queues, q)
	}
	key := [2]string{n.Account, n.Channel}
	l := c.lanes[key]
	if l == nil {
		l = &lane{channel: n.Channel}
		c.lanes[key] = l
		q.lanes = append(q.lanes, l)
	}
	before := len(l.due)
	l.add(n)
	c.kept += len(l.due) - before
}

func byAge(a, b Notice) int {
	return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
}

func (l *lane) add(n Notice) {
	at, _ := slices.BinarySearchFunc(l.due, n, byAge)
	l.due = slices.Insert(l.due, at, n)
	l.due = l.due[:min(len(l.due), perMinute)]
}

// trim keeps an account's share of the oldest of each channel, the longest-waiting channel first, and returns how many it
// let go of.
func (q *queue) trim() (gone int) {
	share := max(1, ofOne/len(q.lanes))
	for _, l := range q.lanes {
		if over := len(l.due) - share; over > 0 {
			gone += over
			l.due = slices.Clone(l.due[:share]) // the others' texts are let go of
		}
	}
	slices.SortStableFunc(q.lanes, func(a, b *lane) int { return byAge(a.due[0], b.due[0]) })
	return gone
}
