package adminapi

import (
	"context"
	"time"

	"sluice/shared/store"
)

// boundTime is for the look after a creation, whatever became of the caller.
const boundTime = 10 * time.Second

// within is for what an account may have only so many of. Each process makes one at a time and looks before, but others may
// create at the same moment, so all look again after: whoever finds too many takes its own back. So the account has too many
// only for as long as these looks take, and by no more than one for each process; for good only by those whose process died,
// or whose store failed twice, between the two. look refuses when there are too many; undo removes what was created.
func (c *call) within(look, undo func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.r.Context()), boundTime) // a caller who hangs up must gain nothing
	defer cancel()
	err := look(ctx)
	if err == nil {
		return nil
	}
	if uerr := undo(ctx); uerr != nil && !store.Missing(uerr) {
		return uerr
	}
	return err
}

// room refuses when an account has more than most documents of a table with those that are to come.
func room[T any](ctx context.Context, t *store.Table[T], account string, more, most int, what string) error {
	rows, err := t.All(ctx, account)
	if err == nil && len(rows)+more > most {
		err = bad("an account can have at most " + itoa(most) + " " + what)
	}
	return err
}
