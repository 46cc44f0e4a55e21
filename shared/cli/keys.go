package cli

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

const keysPath = "/admin/api/keys"

func keyCommands() []command {
	return []command{
		{words: "keys list", brief: "all keys, or those of an account", setup: listKeys},
		{words: "keys create", brief: "make a key; it is printed once, alone, on standard output", setup: createKey},
		{words: "keys update", args: "ID", brief: "change a key; what is not given stays", least: 1, most: 1, ids: "keys", setup: updateKey},
		{words: "keys rotate", args: "ID", brief: "give a key a new credential, which is printed once", least: 1, most: 1, ids: "keys", setup: rotateKey},
		{words: "keys revoke", args: "ID", brief: "end a key and keep its row and usage", least: 1, most: 1, ids: "keys", setup: revokeKey},
		{words: "keys delete", args: "ID", brief: "delete a key", least: 1, most: 1, ids: "keys", setup: deleteKey},
	}
}

func keyFields() []field {
	return slices.Concat([]field{
		{"name", "name", asText, "`TEXT` that tells what it is for", nil},
		{"description", "description", asText, "`TEXT`", nil},
		{"scopes", "scopes", asList, "`LIST` of inference, nodes, admin", []string{"inference", "nodes", "admin"}},
		{"admin", "is_admin", asBool, "administers every account", nil},
		{"nodes", "nodes", asBool, "manages the account's nodes", nil},
	}, limitFields(""), []field{
		{"models", "models", asList, "`LIST` of names, or prefixes ending in *; empty: every model", nil},
		{"cidr", "networks", asList, "`LIST` of networks it may be used from; empty: any", nil},
		{"expires", "expires_at", asText, "`TIME` such as 2026-12-31T23:59:59Z; empty: never", nil},
	})
}

// limits are limits as lists tell them.
type limits struct {
	RPM         int64   `json:"requests_per_minute"`
	RPD         int64   `json:"requests_per_day"`
	TPM         int64   `json:"tokens_per_minute"`
	Concurrency int64   `json:"concurrency"`
	USDDay      float64 `json:"usd_per_day"`
	USDMonth    float64 `json:"usd_per_month"`
}

func (l *limits) String() string {
	var out []string
	for _, n := range []struct {
		n    int64
		unit string
	}{{l.RPM, "/min"}, {l.RPD, "/day"}, {l.TPM, " tok/min"}, {l.Concurrency, " at once"}} {
		if n.n > 0 {
			out = append(out, short(n.n)+n.unit)
		}
	}
	for _, n := range []struct {
		v    float64
		unit string
	}{{l.USDDay, "/day"}, {l.USDMonth, "/month"}} {
		if n.v > 0 {
			out = append(out, usd(&n.v)+n.unit)
		}
	}
	if out == nil {
		return none
	}
	return strings.Join(out, " ")
}

// keyRow is a key as tables show it.
type keyRow struct {
	ID        string   `json:"id"`
	AccountID string   `json:"account_id"`
	Name      string   `json:"name"`
	Prefix    string   `json:"prefix"`
	Scopes    []string `json:"scopes"`
	Default   bool     `json:"default"`
	Revoked   bool     `json:"revoked"`
	limits
	ExpiresAt  *time.Time `json:"expires_at"`
	OldUntil   *time.Time `json:"old_key_until"`
	LastUsedAt *time.Time `json:"last_used_at"`
}

func (k *keyRow) state(now time.Time) cell {
	switch {
	case k.Revoked:
		return cell{"revoked", red}
	case k.ExpiresAt != nil && !now.Before(*k.ExpiresAt):
		return cell{"expired", red}
	case k.OldUntil != nil:
		return cell{"rotating", yellow}
	case k.Default:
		return cell{"default", yellow}
	}
	return cell{"good", green}
}

func listKeys(f *flags) action {
	f.remote()
	account := f.account("whose keys are listed; default all")
	return func(ctx context.Context, s *session, _ []string) error {
		var out struct{ Keys []keyRow }
		if printed, err := s.ask(ctx, "GET", keysPath, ofAccount(*account), nil, &out); err != nil || printed {
			return err
		}
		rows := make([][]cell, 0, len(out.Keys))
		for i := range out.Keys {
			k := &out.Keys[i]
			rows = append(rows, []cell{text(k.ID), text(k.AccountID), text(k.Name), text(k.Prefix), text(strings.Join(k.Scopes, ",")), k.state(s.env.Now()),
				text(k.limits.String()), text(when(k.LastUsedAt)), text(when(k.ExpiresAt))})
		}
		return s.print(columns("=ID", "ACCOUNT", "NAME", "PREFIX", "SCOPES", "STATE", "LIMITS", "=LAST USED", "=EXPIRES"), rows)
	}
}

// newKey is the answer that tells a credential, this once.
type newKey struct {
	ID        string     `json:"id"`
	AccountID string     `json:"account_id"`
	Key       string     `json:"key"`
	OldUntil  *time.Time `json:"old_key_until"`
}

// tell prints the credential alone on standard output.
func (s *session) tell(key, about string) error {
	fmt.Fprintf(s.env.Stderr, "%s It is shown this once:\n", clean(about))
	_, err := fmt.Fprintln(s.env.Stdout, clean(key))
	return err
}

func createKey(f *flags) action {
	f.remote()
	account := f.account("it belongs to; default: default")
	f.body(keyFields())
	return func(ctx context.Context, s *session, _ []string) error {
		in, err := s.values(ctx)
		if err != nil {
			return err
		}
		var out newKey
		if printed, err := s.ask(ctx, "POST", keysPath, ofAccount(*account), in, &out); err != nil || printed {
			return err
		}
		return s.tell(out.Key, "Key "+out.ID+" of account "+out.AccountID+".")
	}
}

// said prints what was done, or the answer with --json.
func (s *session) said(ctx context.Context, method, path string, q url.Values, body any, done string) error {
	if printed, err := s.ask(ctx, method, path, q, body, &struct{}{}); err != nil || printed {
		return err
	}
	_, err := fmt.Fprintln(s.env.Stdout, done)
	return err
}

// changes are the values of an update, at least one.
func (s *session) changes(ctx context.Context) (map[string]any, error) {
	in, err := s.values(ctx)
	if err == nil && len(in) == 0 {
		err = usageError("nothing to change was given; see: sluice %s --help", s.f.c.words)
	}
	return in, err
}

func updateKey(f *flags) action {
	f.remote()
	f.body(append(keyFields(), field{"revoked", "revoked", asBool, "end it, or with =false let it live again", nil}))
	return func(ctx context.Context, s *session, args []string) error {
		in, err := s.changes(ctx)
		if err != nil {
			return err
		}
		return s.said(ctx, "PUT", keysPath, url.Values{"id": args}, in, "Key "+args[0]+" is changed.")
	}
}

func rotateKey(f *flags) action {
	f.remote()
	f.destructive()
	overlap := f.String("overlap", "", "`SPAN` that the old credential goes on, such as 1h or 7d; default: it ends now")
	return func(ctx context.Context, s *session, args []string) error {
		var d time.Duration
		if *overlap != "" {
			var err error
			if d, err = span(*overlap); err != nil {
				return usageError("--overlap: %s", err)
			}
		} else if err := s.sure(ctx, "keys", args[0], "The old credential of", "ends at once.", "Go on?"); err != nil {
			return err
		}
		var out newKey
		if printed, err := s.ask(ctx, "POST", keysPath+"/rotate", url.Values{"id": args}, map[string]any{"overlap": int64(d / time.Second)}, &out); err != nil || printed {
			return err
		}
		about := "Key " + out.ID + " of account " + out.AccountID + " has a new credential"
		if out.OldUntil != nil {
			about += ", the old one works until " + when(out.OldUntil)
		}
		return s.tell(out.Key, about+".")
	}
}

func revokeKey(f *flags) action {
	f.remote()
	f.destructive()
	return func(ctx context.Context, s *session, args []string) error {
		if err := s.sure(ctx, "keys", args[0], "Clients with", "get 401 from now on.", "Revoke it?"); err != nil {
			return err
		}
		return s.said(ctx, "PUT", keysPath, url.Values{"id": args}, map[string]any{"revoked": true}, "Key "+args[0]+" is revoked.")
	}
}

func deleteKey(f *flags) action {
	f.remote()
	f.destructive()
	return func(ctx context.Context, s *session, args []string) error {
		if err := s.sure(ctx, "keys", args[0], "Clients with", "get 401 from now on.", "Delete it?"); err != nil {
			return err
		}
		return s.said(ctx, "DELETE", keysPath, url.Values{"id": args}, nil, "Key "+args[0]+" is deleted.")
	}
}

// sure asks before something that cannot be undone, and calls the thing by its name.
func (s *session) sure(ctx context.Context, what, id, before, after, question string) error {
	name := strings.TrimSuffix(what, "s") + " " + id
	if !s.f.yes && IsTerminal(s.env.Stdin) {
		if n := s.names(ctx, what, "")[id]; n != "" && n != id {
			name += " (" + clean(n) + ")"
		}
	}
	return s.confirm(ctx, before+" "+name+" "+after+" "+question)
}
