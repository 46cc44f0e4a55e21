package importer

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/directory"
	"sluice/shared/store"
)

func (r *run) takeNodes(ctx context.Context) error {
	rows, err := r.all(ctx, "nodes")
	if err != nil {
		return err
	}
	for i := range rows {
		if err := r.node(ctx, &rows[i]); err != nil {
			return fmt.Errorf("node %s: %w", rows[i].Text("id"), err)
		}
	}
	return nil
}

// origin tells nodes apart that several databases call "default".
func origin(row *Row) string {
	id := row.Text("id")
	if at := row.Time("created_at"); !at.IsZero() && !strings.HasPrefix(id, "n-") {
		return fmt.Sprintf("%s@%d", id, at.Unix())
	}
	return id
}

func (r *run) node(ctx context.Context, row *Row) error {
	what := fmt.Sprintf("node %s (%s)", clip(row.Text("id"), 60), clip(row.Text("name"), 60))
	account, why, err := r.owner(ctx, row)
	if err != nil {
		return err
	}
	if why == "" {
		why = unusable(row)
	}
	if why != "" {
		r.skip(what, why)
		return nil
	}
	var m mark
	meta := r.metaOf("node", origin(row))
	if err := r.Tables.ReadMeta(ctx, meta, &m); err != nil && !store.Missing(err) {
		return err
	}
	if m.Done {
		_, err := r.Tables.Nodes.Get(ctx, m.ID)
		switch {
		case err == nil:
			r.report.Before++
		case store.Missing(err):
			r.skip(what, "it was taken before and deleted here since")
		default:
			return err
		}
		r.remember(row, m.ID, account)
		return nil
	}
	if m.ID == "" {
		if m.ID, err = r.claim(ctx, meta, store.KindNode); err != nil {
			return err
		}
	}
	n := r.makeNode(row, m.ID, account)
	if _, err := r.Tables.Nodes.Create(ctx, n); err != nil && !errors.Is(err, store.ErrExists) {
		return err
	}
	if err := r.state(ctx, row, &n); err != nil {
		return err
	}
	m.Done = true
	r.report.Nodes++
	r.remember(row, m.ID, account)
	r.adviseOn(&n)
	return r.Tables.WriteMeta(ctx, meta, m)
}

func (r *run) remember(row *Row, id, account string) {
	r.nodes[row.Text("id")] = nodeRef{id: id, name: clip(row.Text("name"), 100), account: account}
	t := &r.report.Totals
	t.Requests += row.Int("requests")
	t.Failed += row.Int("fail_count")
	t.Input += row.Int("total_input")
	t.Output += row.Int("total_output")
	t.Bytes += row.Int("total_bytes")
}

// owner finds the account of a node. Those of the time before accounts belong to "default", which is made for them.
func (r *run) owner(ctx context.Context, row *Row) (account, why string, err error) {
	if account = row.Text("account_id"); account == "" {
		account = core.DefaultAccount
	}
	if _, ok := r.accounts[account]; ok {
		return account, "", nil
	}
	if account != core.DefaultAccount {
		return "", "its account " + clip(account, 60) + " was not taken", nil
	}
	now := r.Now().UTC()
	a := core.Account{ID: account, Name: "default", CreatedAt: now, UpdatedAt: now}
	s, has := r.settings[account]
	if has {
		limits(&a, &s)
	}
	if _, err := r.Tables.Accounts.Create(ctx, a); err != nil && !errors.Is(err, store.ErrExists) {
		return "", "", err
	}
	r.accounts[account] = mark{ID: account}
	return account, "", nil
}

func unusable(row *Row) string {
	u := row.Text("base_url")
	if row.Text("id") == "" {
		return "it has no id"
	}
	if err := config.CheckURL(u); err != nil {
		return "its base_url " + err.Error()
	}
	if len(u) > 500 {
		return "its base_url is longer than 500 characters"
	}
	k := row.Text("api_key")
	if len(k) > 8192 || strings.ContainsFunc(k, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "its api_key cannot be sent in a header"
	}
	return ""
}

func (r *run) makeNode(row *Row, id, account string) core.Node {
	now := r.Now().UTC()
	n := core.Node{ID: id, Account: account, Kind: core.KindAnthropic, Name: row.Text("name"), BaseURL: strings.TrimRight(row.Text("base_url"), "/"),
		Credential: r.Box.Seal(directory.CredentialOwner(id), core.NewSecret(row.Text("api_key"))),
		Weight:     int(min(max(row.Int("weight"), 1), 1_000_000)), Disabled: row.Bool("disabled"),
		HealthMethod: row.Text("health_check_method"), HealthModel: clip(row.Text("health_check_model"), 200),
		CreatedAt: row.Time("created_at"), UpdatedAt: now}
	if n.CreatedAt.IsZero() {
		n.CreatedAt = now
	}
	if n.Name == "" || config.CheckName(n.Name) != nil {
		if u, err := url.Parse(n.BaseURL); err == nil {
			n.Name = u.Host
		}
	}
	if !slices.Contains([]string{"api", "head", "cli"}, n.HealthMethod) {
		n.HealthMethod = "api"
	}
	return n
}

// state takes over that a node has failed, and why: it is tried again like any other.
func (r *run) state(ctx context.Context, row *Row, n *core.Node) error {
	if !row.Bool("failed") {
		return nil
	}
	at := row.Time("last_health_check_at")
	if at.IsZero() {
		at = r.Now().UTC()
	}
	s := core.NodeState{Node: n.ID, Account: n.Account, Failed: true, FailedAt: at, FailStreak: int(min(max(row.Int("fail_streak"), 1), 1000)),
		LastError: plainText(row.Text("last_error"), row.Text("api_key")), LastErrAt: at}
	if _, err := r.Tables.States.Create(ctx, s); err != nil && !errors.Is(err, store.ErrExists) {
		return err
	}
	return nil
}

// plainText makes an old error fit to be shown: one short line without the credential.
func plainText(s, secret string) string {
	if secret != "" {
		s = strings.ReplaceAll(s, secret, "[redacted]")
	}
	return clip(plainRunes(s), 200)
}

// plainRunes has blanks in the place of what would break a line or a page.
func plainRunes(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || c == unicode.ReplacementChar || c == '\u2028' || c == '\u2029' {
			return ' '
		}
		return c
	}, s)
}

// adviseOn tells what keeps a node from serving.
func (r *run) adviseOn(n *core.Node) {
	if n.Credential == "" {
		r.note("node %s (%s) has no credential, in the old database neither; give it one", n.ID, n.Name)
	}
	u, err := url.Parse(n.BaseURL)
	if err != nil {
		return
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if u.Hostname() == "localhost" || err == nil && (addr.IsLoopback() || addr.IsPrivate()) {
		r.note("node %s (%s) has a private address; set UPSTREAM_ALLOW_PRIVATE to let it serve", n.ID, n.Name)
	}
}
