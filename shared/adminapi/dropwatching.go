package adminapi

import (
	"context"

	"sluice/shared/core"
	"sluice/shared/notify"
	"sluice/shared/store"
)

// maxDropped bounds how much of what expires by itself is removed with an account: the rest cannot be reached any more.
const maxDropped = 1000

// dropWatching removes an account's prices, shares, health history, channels, subscriptions, alert rules and notifications.
func (c *call) dropWatching(account string) error {
	ctx, t := c.r.Context(), c.a.o.Tables
	err := dropAll(ctx, t.Shares, account, func(s *core.Share) string { return s.ID })
	if err == nil {
		err = dropAll(ctx, t.Checks, account, func(k *core.NodeCheck) string { return k.Node })
	}
	if err == nil {
		err = dropSome(ctx, t.Days, account, maxDayPage, func(d *core.HealthDay) string { return store.DayID(d.Node, d.Day) })
	}
	if err == nil {
		err = c.a.o.Prices.Drop(ctx, account)
	}
	h := c.a.o.Notify
	if err != nil || h == nil {
		return err
	}
	if err := dropAll(ctx, h.Subscriptions, account, func(s *notify.Subscription) string { return s.ID }); err != nil {
		return err
	}
	if err := dropAll(ctx, h.Channels, account, func(ch *notify.Channel) string { return ch.ID }); err != nil {
		return err
	}
	if err := dropAll(ctx, h.Rules, account, func(r *notify.Rule) string { return r.ID }); err != nil {
		return err
	}
	if err := dropSome(ctx, h.Notices, account, 200, func(n *notify.Notice) string { return n.ID }); err != nil {
		return err
	}
	h.Changed(account)
	return dropSome(ctx, h.Log, account, 200, func(s *notify.Sent) string { return s.ID })
}

// dropAll removes all documents of an account, of a kind whose number is bounded.
func dropAll[T any](ctx context.Context, t *store.Table[T], account string, id func(*T) string) error {
	rows, err := t.All(ctx, account)
	if err != nil {
		return err
	}
	return drop(ctx, t, rows, id)
}

// dropSome removes documents of an account that expire by themselves, up to maxDropped of them.
func dropSome[T any](ctx context.Context, t *store.Table[T], account string, page int, id func(*T) string) error {
	for dropped := 0; dropped < maxDropped; {
		rows, err := t.Page(ctx, account, "", page)
		if err != nil || len(rows) == 0 {
			return err
		}
		if err := drop(ctx, t, rows, id); err != nil {
			return err
		}
		dropped += len(rows)
	}
	return nil
}

func drop[T any](ctx context.Context, t *store.Table[T], rows []store.Row[T], id func(*T) string) error {
	for i := range rows {
		if err := t.Delete(ctx, id(&rows[i].Value)); err != nil && !store.Missing(err) {
			return err
		}
	}
	return nil
}
