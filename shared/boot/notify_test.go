package boot_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"sluice/shared/boot/boottest"
	"sluice/shared/core"
	"sluice/shared/notify"
	"sluice/shared/store"
	"sluice/shared/store/memory"
)

// heavy is a store in which evaluating alert rules ends badly.
type heavy struct {
	store.Store
	sums func(context.Context) error
}

func (h *heavy) Sums(ctx context.Context, f store.UsageFilter, by store.GroupBy) ([]core.UsageSum, error) {
	if h.sums == nil {
		return h.Store.Sums(ctx, f, by)
	}
	return nil, h.sums(ctx)
}

// TestAlertsDoNotStopDeliveries: rules were evaluated before anything was sent, so that an evaluation that ran out of memory
// or time stopped the notifications of every tenant.
func TestAlertsDoNotStopDeliveries(t *testing.T) {
	for _, c := range []struct {
		why  string
		sums func(context.Context) error
	}{
		{"the function runs out of memory", func(context.Context) error { panic("out of memory") }},
		{"the function's time is up", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
	} {
		t.Run(c.why, func(t *testing.T) {
			s := &heavy{Store: memory.New()}
			g := boottest.StartOn(t, s, probeEnv)
			in := newInbox(t)
			tables := in.subscribe(t, g, core.EventNodeFailed)
			if _, err := tables.Rules.Create(t.Context(), notify.Rule{ID: "alr-1", Account: core.DefaultAccount, Kind: notify.RuleSpendDay, Threshold: 5, Enabled: true}); err != nil {
				t.Fatal(err)
			}
			addNode(t, g, core.Node{BaseURL: newUpstream(t, 500).url}, "")
			if _, err := g.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.sums = func(ctx context.Context) error { // whoever dies now has sent
				if in.of(core.EventNodeFailed) != 1 {
					t.Error("rules are evaluated before what is known was sent")
				}
				if d, ok := ctx.Deadline(); !ok || time.Until(d) > 20*time.Second {
					t.Error("the evaluation has no time of its own")
				}
				return c.sums(ctx)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			func() {
				defer func() { _ = recover() }()
				if rep, err := g.Notify(ctx); !errors.Is(err, context.DeadlineExceeded) || rep.Sent != 1 {
					t.Errorf("%+v, %v", rep, err)
				}
			}()
			if in.of(core.EventNodeFailed) != 1 {
				t.Errorf("%q", in.got)
			}
		})
	}
}
