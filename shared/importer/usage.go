package importer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"sluice/shared/core"
	"sluice/shared/prices"
	"sluice/shared/pricing"
	"sluice/shared/store"
)

// perFlush is how many records are settled before they are made safe.
const perFlush = 5000

// Price is a row of the old price list, in USD for a million tokens.
type Price struct {
	Model  string  `json:"model"`
	Name   string  `json:"name,omitempty"`
	Input  float64 `json:"input_usd"`
	Output float64 `json:"output_usd"`
	Active bool    `json:"active"`
}

func (r *run) takePrices(ctx context.Context) error {
	rows, err := r.all(ctx, "model_pricing")
	if err != nil || len(rows) == 0 {
		return err
	}
	var ps []Price
	for i := range rows {
		row := &rows[i]
		p := Price{Model: clip(row.Text("model_id"), 200), Name: clip(row.Text("model_name"), 200), Input: row.Float("input_price_mtok"),
			Output: row.Float("output_price_mtok"), Active: !row.Has("is_active") || row.Bool("is_active")}
		if p.Model == "" || p.Input < 0 || p.Output < 0 || p.Input > 1000 || p.Output > 1000 {
			r.skip("price of "+p.Model, "it is no price between 0 and 1,000 USD for a million tokens")
			continue
		}
		ps = append(ps, p)
	}
	r.report.Prices = len(ps)
	if err := r.Tables.WriteMeta(ctx, metaPrices, ps); err != nil {
		return err
	}
	return r.setPrices(ctx, ps)
}

// setPrices makes the old prices the operator's, once: a further run would undo what was edited or ended here since.
func (r *run) setPrices(ctx context.Context, ps []Price) error {
	var m mark
	err := r.Tables.ReadMeta(ctx, metaPriced, &m)
	if err == nil || !store.Missing(err) {
		return err
	}
	old := make([]pricing.Old, len(ps))
	for i, p := range ps {
		old[i] = pricing.Old{Model: p.Model, Input: p.Input, Output: p.Output, Active: p.Active}
	}
	rows, skipped := pricing.Builtin().FromOld(old, r.Now().UTC())
	for _, s := range skipped {
		model, why, _ := strings.Cut(s, ": ")
		r.skip("price of "+model, why)
	}
	n, err := prices.New(prices.Options{Tables: r.Tables, Now: r.Now}).Take(ctx, rows)
	switch {
	case errors.Is(err, prices.ErrFull):
		r.skip("the prices that differ from this gateway's own", "there are too many; set those that are needed")
	case err != nil:
		return fmt.Errorf("prices: %w", err)
	case n > 0:
		r.note("%d old prices differ from this gateway's own list and hold for new requests; see them with: sluice prices list", n)
	}
	return r.Tables.WriteMeta(ctx, metaPriced, mark{Done: true})
}

// takeUsage stores a record for each row of usage_logs, under a request id made of the row's own, so that a further run
// adds nothing.
func (r *run) takeUsage(ctx context.Context) error {
	if err := r.Tables.WriteMeta(ctx, metaTotals, r.report.Totals); err != nil {
		return err
	}
	return r.takeUsageLogs(ctx, "sluice import qcc-plus FILE or DSN", r.record)
}

// takeUsageLogs stores what record makes of each row of usage_logs; the rows that it gives a reason against are counted in
// the report. When there are too many, none is taken and the report names the command that takes them.
func (r *base) takeUsageLogs(ctx context.Context, command string, record func(*Row) (core.Settlement, string)) error {
	if many, err := r.tooMuchUsage(ctx, command); many || err != nil {
		return err
	}
	lost, taken := map[string]int{}, map[string]*usageMark{}
	err := r.rows(ctx, "usage_logs", func(row *Row) error {
		rec, why := record(row)
		if why != "" {
			lost[why]++
			return nil
		}
		known, err := r.takenBefore(ctx, taken, &rec)
		if known || err != nil {
			return err
		}
		return r.settle(ctx, &rec)
	})
	if err != nil {
		return fmt.Errorf("usage: %w", err)
	}
	for _, why := range sortedKeys(lost) {
		r.skip(fmt.Sprintf("%d usage records", lost[why]), why)
	}
	if err := r.Usage.Flush(ctx); err != nil {
		return err
	}
	for _, m := range taken {
		if m.newest.After(m.Until) {
			if err := r.Tables.WriteMeta(ctx, m.id, usageMark{Until: m.newest}); err != nil {
				return err
			}
		}
	}
	return nil
}

// usageMark is until when the usage of an account's key was taken from a database by earlier runs. Records are known by their
// ids only as long as they are kept: without the mark a further run would count again what was removed since.
type usageMark struct {
	Until  time.Time `json:"until"`
	id     string    // of its document
	newest time.Time
}

// stillComes is how far back an old gateway may yet add records: it writes one when a request ends, with whatever time. They
// are kept here for longer, and so known by their ids.
const stillComes = 24 * time.Hour

// takenBefore reports whether an earlier run took the record. The first one that is read tells which database it is of: an
// operator may take over several, one after the other.
func (r *base) takenBefore(ctx context.Context, taken map[string]*usageMark, rec *core.Settlement) (bool, error) {
	subject := rec.Account + "/" + rec.Key
	m := taken[subject]
	if m == nil {
		m = &usageMark{}
		id := r.metaOf("usage", fmt.Sprintf("%s/%s/%d", subject, rec.RequestID, rec.EndedAt.UnixMicro()))
		if err := r.Tables.ReadMeta(ctx, id, m); err != nil && !store.Missing(err) {
			return false, err
		}
		m.id = id
		taken[subject] = m
	}
	now := r.Now()
	if rec.EndedAt.After(m.newest) && !rec.EndedAt.After(now) {
		m.newest = rec.EndedAt
	}
	return !rec.EndedAt.After(m.Until) && now.Sub(rec.EndedAt) > stillComes, nil
}

// settle stores a record.
func (r *base) settle(ctx context.Context, rec *core.Settlement) error {
	err := r.Usage.Settle(ctx, store.SettleRequest{ID: rec.RequestID, Account: rec.Account, Now: rec.EndedAt, Zone: time.UTC, Record: *rec})
	if err != nil {
		return err
	}
	if r.report.Usage++; r.report.Usage%perFlush == 0 {
		return r.Usage.Flush(ctx)
	}
	return nil
}

func (r *run) record(row *Row) (core.Settlement, string) {
	id, account, at := row.Text("id"), row.Text("account_id"), row.Time("created_at")
	if account == "" {
		account = core.DefaultAccount
	}
	owner, ok := r.accounts[account]
	switch {
	case id == "" || len(id) > 100:
		return core.Settlement{}, "they have no id"
	case at.IsZero():
		return core.Settlement{}, "they have no time"
	case !ok:
		return core.Settlement{}, "their account was not taken"
	}
	in, out := max(row.Int("input_tokens"), 0), max(row.Int("output_tokens"), 0)
	rec := core.Settlement{RequestID: "qcc-plus-" + id, UpstreamID: clip(row.Text("request_id"), 100), Account: account, Key: owner.Key,
		Endpoint: "/v1/messages", Dialect: core.DialectAnthropic, Model: clip(row.Text("model_id"), 200), Status: 200, Attempts: 1,
		Tokens: core.Tokens{Input: in, Output: out}, StartedAt: at, EndedAt: at,
		// the old system lost the input of streams
		Estimated: in == 0}
	rec.ServedModel = rec.Model
	if n, ok := r.nodes[row.Text("node_id")]; ok && n.account == account {
		rec.Node, rec.NodeName = n.id, n.name
	}
	if row.Has("success") && !row.Bool("success") {
		rec.Status, rec.ErrorCode = core.CodeBadGateway.Status(), string(core.CodeBadGateway)
	}
	if usd := row.Float("cost_usd"); usd > 0 && usd < 1e6 {
		rec.CostUSD = int64(math.Round(usd * 1e6))
	} else if in+out > 0 {
		rec.Unpriced = true // an unknown model cost 0 there
	}
	return rec, ""
}

func sortedKeys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// notTaken are the tables that have nothing for this gateway, and why.
var notTaken = []Skipped{
	{"settings", "they have other names here; see the README's settings"},
	{"health_check_history", "checks begin anew"},
	{"node_metrics_raw", "sums are made from the usage records"},
	{"node_metrics_hourly", "sums are made from the usage records"},
	{"node_metrics_daily", "sums are made from the usage records"},
	{"node_metrics_monthly", "sums are made from the usage records"},
	{"monitor_shares", "make new links"},
	{"notification_channels", "set them up anew"},
	{"notification_subscriptions", "set them up anew"},
	{"notification_history", "it has passed"},
	{"tunnel_config", "tunnels are not part of this gateway"},
}

// finish reports the tables that hold something and were not taken, and remembers the import.
func (r *run) finish(ctx context.Context) error {
	for _, t := range notTaken {
		n, err := r.atLeast(ctx, t.What, 1)
		if err != nil {
			return err
		}
		if n > 0 {
			r.skip("table "+t.What, t.Why)
		}
	}
	for _, id := range sortedKeys(r.settings) {
		s := r.settings[id]
		if n := s.Text("active_node"); n != "" && r.nodes[n].id != "" {
			r.skip("active node of account "+clip(id, 60), "it followed the weights, which were taken; activate one to prefer it")
		}
	}
	return nil
}
