package cli

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"
)

const accountsPath = "/admin/api/accounts"

func accountCommands() []command {
	return []command{
		{words: "accounts list", brief: "all accounts, or the key's own", setup: listAccounts},
		{words: "accounts create", args: "NAME", brief: "make an account; its key is printed once, alone, on standard output", least: 1, most: 1, setup: createAccount},
		{words: "accounts update", args: "ID", brief: "change an account; what is not given stays", least: 1, most: 1, ids: "accounts", setup: updateAccount},
		{words: "accounts delete", args: "ID", brief: "delete an account with all it has", least: 1, most: 1, ids: "accounts", setup: deleteAccount},
	}
}

func accountFields() []field {
	return slices.Concat([]field{
		{"proxy-api-key", "proxy_api_key", asSecret, "`-` reads its key from standard input or asks for it; default: one is made", nil},
		{"password", "password", asSecret, "`-` reads the password for the web pages likewise, 6 to 72 bytes", nil},
		{"admin", "is_admin", asBool, "administers every account", nil},
		{"model-map", "model_map", asPairs, "`LIST` of NAME=NAME: what a client's name for a model stands for", nil},
		{"response-days", "response_days", asNumber, "days that stored answers are kept", nil},
	}, limitFields("limits."))
}

// accountRow is an account as tables show it.
type accountRow struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	IsAdmin     bool      `json:"is_admin"`
	HasPassword bool      `json:"has_password"`
	HasKey      bool      `json:"has_proxy_api_key"`
	Prefix      string    `json:"proxy_api_key_prefix"`
	ActiveNode  string    `json:"active_node"`
	Limits      limits    `json:"limits"`
	CreatedAt   time.Time `json:"created_at"`
}

func listAccounts(f *flags) action {
	f.remote()
	return func(ctx context.Context, s *session, _ []string) error {
		var out struct{ Accounts []accountRow }
		if printed, err := s.ask(ctx, "GET", accountsPath, nil, nil, &out); err != nil || printed {
			return err
		}
		rows := make([][]cell, 0, len(out.Accounts))
		for i := range out.Accounts {
			a := &out.Accounts[i]
			key := yes(a.HasKey)
			if a.Prefix != "" {
				key = a.Prefix + "…"
			}
			rows = append(rows, []cell{text(a.ID), text(a.Name), text(yes(a.IsAdmin)), text(key), text(yes(a.HasPassword)), text(a.ActiveNode), text(a.Limits.String()), text(when(&a.CreatedAt))})
		}
		return s.print(columns("=ID", "NAME", "ADMIN", "KEY", "PASSWORD", "ACTIVE NODE", "LIMITS", "CREATED"), rows)
	}
}

// newAccount is the answer that tells an account's key, where the call set it.
type newAccount struct {
	ID      string `json:"id"`
	Key     string `json:"proxy_api_key"`
	Warning string `json:"warning"`
}

func (s *session) tellAccount(a *newAccount, done string, given bool) error {
	if a.Warning != "" {
		fmt.Fprintf(s.env.Stderr, "sluice: warning: %s\n", clean(a.Warning))
	}
	if a.Key == "" || given { // who gave it knows it
		_, err := fmt.Fprintln(s.env.Stderr, clean(done))
		return err
	}
	return s.tell(a.Key, done+" This is its key.")
}

func createAccount(f *flags) action {
	f.remote()
	f.body(accountFields())
	return func(ctx context.Context, s *session, args []string) error {
		in, err := s.values(ctx)
		if err != nil {
			return err
		}
		in["name"] = args[0]
		var out newAccount
		if printed, err := s.ask(ctx, "POST", accountsPath, nil, in, &out); err != nil || printed {
			return err
		}
		return s.tellAccount(&out, "Account "+out.ID+" is made.", f.set("proxy-api-key"))
	}
}

func updateAccount(f *flags) action {
	f.remote()
	f.body(append(accountFields(), field{"name", "name", asText, "`TEXT`", nil}))
	return func(ctx context.Context, s *session, args []string) error {
		in, err := s.changes(ctx)
		if err != nil {
			return err
		}
		var out newAccount
		if printed, err := s.ask(ctx, "PUT", accountsPath, url.Values{"id": args}, in, &out); err != nil || printed {
			return err
		}
		return s.tellAccount(&out, "Account "+args[0]+" is changed.", true)
	}
}

func deleteAccount(f *flags) action {
	f.remote()
	f.destructive()
	return func(ctx context.Context, s *session, args []string) error {
		if err := s.sure(ctx, "accounts", args[0], "The keys, nodes and usage of", "are lost.", "Delete it?"); err != nil {
			return err
		}
		return s.said(ctx, "DELETE", accountsPath, url.Values{"id": args}, nil, "Account "+args[0]+" is deleted.")
	}
}
