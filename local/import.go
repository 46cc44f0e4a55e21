package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"sluice/shared/boot"
	"sluice/shared/cli"
	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/importer"
	"sluice/shared/logging"
)

const importUsage = `Usage: sluice import WHAT FROM

  qcc-plus X       take over the older gateway's database: X is its SQLite file or MySQL DSN
  amq2api X        take over an Amazon Q account pool: X is its SQLite file, such as data/amq2api.db, or a DSN
  accounts FILE    add accounts of Amazon Q or Kiro, - for standard input: AWS SSO JSON (one object or a list),
                   lines label|clientId|clientSecret|refreshToken or email|password|clientId|clientSecret|refreshToken,
                   an .env with AMAZONQ_REFRESH_TOKEN, or Kiro API keys (ksk_...) one a line

An import may be run again: nothing is taken twice.
`

const importWords = "the commands are: sluice import qcc-plus FILE|DSN, sluice import amq2api FILE|DSN, sluice import accounts FILE|-"

// oldKind is an older system to import from.
type oldKind struct {
	file    string // where it usually is
	dsn     string
	holds   func(context.Context, importer.Source) (bool, error)
	unknown error
	take    func(*boot.App, context.Context, importer.Source) (*importer.Report, error)
}

func oldKinds() map[string]*oldKind {
	return map[string]*oldKind{
		"qcc-plus": {"~/.qccplus/qccplus.db", "user:password@tcp(host:3306)/database", importer.IsQccPlus, importer.ErrUnknown, (*boot.App).ImportQccPlus},
		"amq2api":  {"data/amq2api.db", "postgres://user:password@host/database", importer.IsAmq2API, importer.ErrUnknownPool, (*boot.App).ImportAmq2API},
	}
}

// importCommand runs the words behind "sluice import".
func importCommand(c *config.Config, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if slices.ContainsFunc(args, func(a string) bool { return slices.Contains([]string{"help", "-h", "-help", "--help"}, a) }) {
		fmt.Fprint(stdout, importUsage)
		return nil
	}
	word := ""
	if len(args) > 0 {
		word, args = args[0], args[1:]
	}
	old := oldKinds()[word]
	if old == nil && word != "accounts" {
		return errors.New(importWords)
	}
	if len(args) != 1 || args[0] == "" {
		if old == nil {
			return errors.New("the command is: sluice import accounts FILE, or - for standard input")
		}
		return fmt.Errorf("the command is: sluice import %s FILE|DSN, a SQLite file or %s", word, old.dsn)
	}
	if err := boot.CanImport(c); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if old == nil {
		return importAccounts(ctx, c, args[0], stdin, stdout, stderr)
	}
	return importOld(ctx, c, old, core.NewSecret(args[0]), stdout, stderr)
}

// importOld imports a database into the configured store, which no gateway may have locked.
func importOld(ctx context.Context, c *config.Config, old *oldKind, where core.Secret, stdout, stderr io.Writer) error {
	src, err := openOld(ctx, old, where)
	if err != nil {
		return err
	}
	app, err := boot.Open(ctx, boot.Options{Part: boot.Everything(), Config: c, Openers: openers, Import: true, Log: logging.New(stderr, "warn", c.LogFormat), Version: versionText()})
	if err != nil {
		return errors.Join(err, src.Close())
	}
	bar := cli.NewProgress(stderr, "Importing")
	r, err := old.take(app, ctx, src)
	bar.Stop()
	err = errors.Join(err, src.Close(), app.Close())
	for _, l := range r.Lines() {
		fmt.Fprintln(stdout, l)
	}
	if err != nil {
		return fmt.Errorf("%w. Run it again: it goes on where it is", err)
	}
	return nil
}

// importAccounts hands a text with accounts to the gateway, running or not.
func importAccounts(ctx context.Context, c *config.Config, path string, stdin io.Reader, stdout, stderr io.Writer) error {
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, importer.MaxAccountsText+1))
	if err != nil {
		return err
	}
	if _, _, err := importer.ParseAccounts(text); err != nil { // before a gateway is started for it
		return err
	}
	ctl, done, err := connect(ctx, c, stderr)
	if err != nil {
		return err
	}
	return errors.Join(sendAccounts(ctx, ctl, string(text), stdout, stderr), done())
}

func sendAccounts(ctx context.Context, ctl *control, text string, stdout, stderr io.Writer) error {
	body := []byte(text)
	if strings.HasPrefix(strings.TrimSpace(text), "{") { // one object may be taken for an envelope
		body = []byte("[" + strings.TrimSpace(text) + "]")
		if !json.Valid(body) { // several objects, one after the other
			body = []byte(text)
		}
	}
	var out struct {
		Taken []struct {
			Entry, Name string
			ID          int64
		}
		Skipped []struct{ Entry, Why string }
	}
	bar := cli.NewProgress(stderr, "Importing")
	err := ctl.call(ctx, http.MethodPost, "/admin/accounts/import", body, &out)
	bar.Stop()
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "accounts  %d\n", len(out.Taken))
	for _, a := range out.Taken {
		fmt.Fprintf(stdout, "taken     %s: account %d (%s)\n", printable(a.Entry), a.ID, printable(a.Name))
	}
	for _, s := range out.Skipped {
		fmt.Fprintf(stdout, "skipped   %s: %s\n", printable(s.Entry), printable(s.Why))
	}
	return nil
}
