package importer

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"sluice/shared/core"
	"sluice/shared/store"
)

// ErrUnknownPool tells that a database is none of the older pool's.
var ErrUnknownPool = errors.New("holds no accounts table of amq2api (refresh_token, client_id, client_secret)")

// poolRun is an import of the older pool's database.
type poolRun struct {
	pool
	nodes map[string]nodeRef // by old account id
	keys  map[string]string  // old key id -> id here
}

// Amq2API imports the older account pool's database into the account "default": its accounts as nodes of kind amazonq with
// their logins, requests per minute, notes and whether they are in use; its API keys by hash, so that they go on working,
// with their limits, end, and whether they administer; its usage log. What the old code published or kept for the
// operator is not taken (Options.Reserved). Columns that a version has not are read as that version meant them.
//
// ErrUnknownPool when the database is another's. The report is there also with an error, which a further run may mend.
func Amq2API(ctx context.Context, src Source, o Options) (*Report, error) {
	r := &poolRun{pool: pool{base: newBase(o, src, fromAmq2API)}, nodes: make(map[string]nodeRef), keys: make(map[string]string)}
	ok, err := IsAmq2API(ctx, src)
	if err == nil && !ok {
		err = ErrUnknownPool
	}
	if err != nil {
		return &r.report, err
	}
	if r.tables, err = src.Tables(ctx); err != nil {
		return &r.report, err
	}
	for _, step := range []func(context.Context) error{r.begin, r.takeNodes, r.takeKeys, r.takeUsage, r.finish} {
		if err := step(ctx); err != nil {
			return &r.report, err
		}
	}
	return &r.report, nil
}

// sorted reads a table in the order of its decimal ids.
func (r *poolRun) sorted(ctx context.Context, table string) ([]Row, error) {
	rows, err := r.all(ctx, table)
	slices.SortStableFunc(rows, func(a, b Row) int { return store.CompareIDs(a.Text("id"), b.Text("id")) })
	return rows, err
}

// label names a row in the report.
func label(kind string, row *Row) string {
	return fmt.Sprintf("%s %s (%s)", kind, oneLine(row.Text("id"), 60), oneLine(row.Text("name"), 60))
}

func (r *poolRun) takeNodes(ctx context.Context) error {
	rows, err := r.sorted(ctx, "accounts")
	if err != nil {
		return err
	}
	p := &parser{seen: make(map[string]string)}
	for i := range rows {
		row := &rows[i]
		t := &r.report.Totals
		t.Requests += max(row.Int("total_requests"), 0)
		t.Tokens += max(row.Int("total_tokens"), 0)
		before := len(p.accounts)
		p.take(&given{where: label("account", row), name: row.Text("name"), refresh: row.Text("refresh_token"), client: row.Text("client_id"),
			secret: row.Text("client_secret"), profile: row.Text("profile_arn"), notes: row.Text("notes"), rpm: row.Int("requests_per_minute"),
			disabled: row.Has("is_active") && !row.Bool("is_active")})
		if len(p.accounts) == before {
			continue
		}
		a := &p.accounts[before]
		id, err := r.take(ctx, a, row.Time("created_at"))
		if err != nil {
			return fmt.Errorf("%s: %w", a.Where, err)
		}
		r.nodes[row.Text("id")] = nodeRef{id: id, name: a.Name, account: core.DefaultAccount}
	}
	r.report.Skipped = append(r.report.Skipped, p.skipped...)
	if p.more > 0 {
		r.skip(fmt.Sprintf("%d more accounts", p.more), "for reasons like these")
	}
	return r.Tables.WriteMeta(ctx, r.prefix+"/totals", r.report.Totals)
}

// takeUsage stores a record for each row of usage_logs, under a request id made of the row's own.
func (r *poolRun) takeUsage(ctx context.Context) error {
	return r.takeUsageLogs(ctx, "sluice import amq2api FILE or DSN", r.record)
}

func (r *poolRun) record(row *Row) (core.Settlement, string) {
	id, at := row.Text("id"), row.Time("timestamp")
	switch {
	case id == "" || len(id) > 60:
		return core.Settlement{}, "they have no id"
	case at.IsZero():
		return core.Settlement{}, "they have no time"
	}
	rec := core.Settlement{
		// the time tells the rows of several old databases apart
		RequestID: fmt.Sprintf("amq2api-%s-%d", id, at.UnixMicro()), Account: core.DefaultAccount, Key: r.keys[row.Text("api_key_id")],
		Endpoint: "/v1/messages", Dialect: core.DialectAnthropic, Model: oneLine(row.Text("model"), 200), Status: int(row.Int("status_code")), Attempts: 1,
		Tokens:    core.Tokens{Input: max(row.Int("input_tokens"), 0), Output: max(row.Int("output_tokens"), 0)},
		Estimated: true, // it counted by a tokenizer, and nothing for /v1/messages
		EndedAt:   at,
	}
	rec.ServedModel, rec.Unpriced = rec.Model, rec.Tokens != core.Tokens{} // it knew no prices
	if row.Text("endpoint") == "/v1/chat/completions" {
		rec.Endpoint, rec.Dialect = "/v1/chat/completions", core.DialectOpenAIChat
	}
	if rec.Status < 100 || rec.Status > 599 {
		rec.Status = 200
	}
	took := min(max(row.Float("response_time"), 0), 3600)
	rec.StartedAt = at.Add(-time.Duration(took * float64(time.Second)))
	if addr, err := netip.ParseAddr(row.Text("ip_address")); err == nil {
		rec.ClientAddr = addr.Unmap().WithZone("").String()
	}
	if n, ok := r.nodes[row.Text("account_id")]; ok {
		rec.Node, rec.NodeName = n.id, n.name
	}
	return rec, ""
}

// finish reports what holds something and was not taken.
func (r *poolRun) finish(ctx context.Context) error {
	for _, table := range []string{"admin_users", "admin_sessions"} {
		n, err := r.atLeast(ctx, table, 1)
		if err != nil {
			return err
		}
		if n > 0 {
			r.skip("table "+table, "the old system did not use it either; the admin page takes an admin key")
		}
	}
	if r.report.Totals.Requests > 0 {
		r.note("the old totals count the requests of streams twice; what is counted here begins anew")
	}
	return nil
}
