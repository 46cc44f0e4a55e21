package adminapi

import (
	"context"
	"slices"
	"sync"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

const (
	maxUses = 50_000 // sums that are remembered, some hundred bytes each

	// trustedFor is for how long sums of hours that ended an hour ago or earlier are taken as they were. Requests that are
	// told of later than that are few, and to look whether there are any takes as long as adding the hours up.
	trustedFor = time.Minute
)

// uses remembers what the nodes of accounts were used for, ever. That is a sum of every node's every day, which a list of
// nodes must not cost at each look. The days that are over are kept, and read again only when the account's own sums of days
// changed; the hours of today that are over are read once a minute, the last hour or two each time.
type uses struct {
	mu   sync.Mutex
	by   map[string]*useKept // by account, "" for all
	size int                 // of all together
}

// useKept are an account's sums by node of two spans.
type useKept struct {
	day, hour, read time.Time       // where the first span ends, where the second does, and when that was read
	days            []core.UsageSum // the account's, true of past
	past, today     []core.UsageSum
}

func (k *useKept) size() int {
	if k == nil {
		return 0
	}
	return len(k.days) + len(k.past) + len(k.today) + 1
}

// of returns sums by node, without the spread of times.
func (u *uses) of(ctx context.Context, from store.Usage, account string, now time.Time) (map[string]core.UsageSum, error) {
	k := useKept{hour: openHour(now), read: now}
	k.day = k.hour.Truncate(24 * time.Hour)
	days, err := from.Sums(ctx, store.UsageFilter{Account: account, To: k.day}, store.GroupDay)
	if err != nil {
		return nil, err
	}
	k.days = plainSums(days)
	past, today := u.recall(account, &k)
	if !past && len(k.days) > 0 {
		if k.past, err = from.Sums(ctx, store.UsageFilter{Account: account, To: k.day}, store.GroupNode); err != nil {
			return nil, err
		}
		plainSums(k.past)
	}
	if !today && k.day.Before(k.hour) {
		if k.today, err = from.Sums(ctx, store.UsageFilter{Account: account, From: k.day, To: k.hour}, store.GroupNode); err != nil {
			return nil, err
		}
		plainSums(k.today)
	}
	u.keep(account, &k)
	last, err := from.Sums(ctx, store.UsageFilter{Account: account, From: k.hour}, store.GroupNode)
	if err != nil {
		return nil, err
	}
	out := make(map[string]core.UsageSum, max(len(k.past), len(k.today), len(last)))
	for _, list := range [...][]core.UsageSum{k.past, k.today, last} {
		for i := range list {
			out[list[i].Group] = addSums(out[list[i].Group], &list[i])
		}
	}
	return out, nil
}

// openHour is the first hour that records are still expected of.
func openHour(now time.Time) time.Time { return now.UTC().Truncate(time.Hour).Add(-time.Hour) }

// recall fills in the spans that are remembered and hold.
func (u *uses) recall(account string, k *useKept) (past, today bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	old := u.by[account]
	if old == nil || !old.day.Equal(k.day) {
		return false, false
	}
	if past = slices.Equal(old.days, k.days); past {
		k.past = old.past
	}
	if age := k.read.Sub(old.read); old.hour.Equal(k.hour) && age >= 0 && age < trustedFor {
		today, k.today, k.read = true, old.today, old.read
	}
	return past, today
}

func (u *uses) keep(account string, k *useKept) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.size += k.size() - u.by[account].size()
	if u.by == nil || u.size > maxUses {
		u.by, u.size = make(map[string]*useKept), k.size()
	}
	if u.size > maxUses { // alone, too
		u.size = 0
		return
	}
	u.by[account] = k
}

// plainSums leaves out the spread of times: it takes more room than all the rest, and may be written in several ways.
func plainSums(list []core.UsageSum) []core.UsageSum {
	for i := range list {
		s := &list[i]
		s.FirstByte, s.Total, s.Hour = core.Sketch{}, core.Sketch{}, s.Hour.UTC()
	}
	return list
}

// addSums adds up what lists of nodes tell.
func addSums(s core.UsageSum, o *core.UsageSum) core.UsageSum {
	s.Group = o.Group
	s.Requests += o.Requests
	s.Success += o.Success
	s.Estimated += o.Estimated
	s.Attempts += o.Attempts
	s.Tokens = s.Tokens.Add(o.Tokens)
	s.Bytes += o.Bytes
	s.FirstByteMS += o.FirstByteMS
	s.FirstBytes += o.FirstBytes
	s.StreamMS += o.StreamMS
	s.TotalMS += o.TotalMS
	s.CostUSD += o.CostUSD
	s.Unpriced += o.Unpriced
	return s
}

// used are the sums by node of an account, "" for all.
func (c *call) used(account string) (map[string]core.UsageSum, error) {
	return c.a.uses.of(c.r.Context(), c.a.o.Usage, account, c.a.o.Now())
}
