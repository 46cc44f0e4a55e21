package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"sluice/shared/boot"
	"sluice/shared/cli"
	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/logging"
	"sluice/shared/store/dynamodb"
	"sluice/shared/store/sqlite"
	"sluice/shared/store/transfer"
)

// inits make, by scheme, what a backend needs before it can be opened, such as a table that costs money; what they return
// says what was made, or that it was there. Backends without an entry make what they need when they are opened.
var inits = map[string]func(ctx context.Context, rest core.Secret) (string, error){
	"dynamodb": func(ctx context.Context, rest core.Secret) (string, error) {
		return "the table is there and can be used", dynamodb.CreateTable(ctx, rest.Reveal())
	},
}

const storeUsage = `Usage: sluice store COMMAND

  check            open the configured store, look whether a gateway can start on it, count what it holds; exit code 1 when not
  init             make what the configured store needs
  copy FROM TO     copy everything from one store URL to another, such as sqlite:data/sluice.db mysql://user:password@host/database
                   run again, it goes on where it broke off and takes over what changed
  backup FILE      write a copy of the embedded store to a file that does not exist
`

// storeCommand runs the words behind "sluice store".
func storeCommand(c *config.Config, args []string, stdout, stderr io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	word := ""
	if len(args) > 0 {
		word, args = args[0], args[1:]
	}
	want := map[string]int{"check": 0, "init": 0, "copy": 2, "backup": 1}
	n, known := want[word]
	if slices.Contains([]string{"", "help", "-h", "--help"}, word) || slices.ContainsFunc(args, func(a string) bool { return a == "-h" || a == "--help" }) {
		fmt.Fprint(stdout, storeUsage)
		if word == "" {
			return errors.New("the commands are: sluice store check, init, copy, backup")
		}
		return nil
	}
	switch {
	case !known:
		return fmt.Errorf("unknown command %q; the commands are: sluice store check, init, copy, backup", "store "+word)
	case len(args) != n:
		return fmt.Errorf("sluice store %s takes %d arguments, not %d; see: sluice store help", word, n, len(args))
	}
	switch word {
	case "check":
		return storeCheck(ctx, c, stdout, stderr)
	case "init":
		return storeInit(ctx, c, stdout, stderr)
	case "backup":
		return storeBackup(ctx, c, args[0], stdout, stderr)
	}
	return storeCopy(ctx, c, core.NewSecret(args[0]), core.NewSecret(args[1]), stdout, stderr)
}

// fileOf is the path of an embedded store's URL, "" for other stores.
func fileOf(url core.Secret) string {
	path, ok := strings.CutPrefix(url.Reveal(), "sqlite:")
	if !ok {
		return ""
	}
	return strings.TrimPrefix(path, "//")
}

// missingFile reports that an embedded store is not there yet: opening it would make it.
func missingFile(url core.Secret) bool {
	path := fileOf(url)
	if path == "" {
		return false
	}
	_, err := os.Stat(path)
	return errors.Is(err, os.ErrNotExist)
}

func isMemory(url core.Secret) bool { return strings.HasPrefix(url.Reveal(), "memory:") }

func storeCheck(ctx context.Context, c *config.Config, stdout, stderr io.Writer) error {
	url, name := c.Store()
	if missingFile(url) {
		return fmt.Errorf("%s: %s is not there yet; the first start makes it", name, fileOf(url))
	}
	r, err := boot.CheckStore(ctx, boot.Options{Part: boot.Everything(), Config: c, Openers: openers, Log: logging.New(stderr, "warn", c.LogFormat)})
	if errors.Is(err, sqlite.ErrInUse) {
		return checkRunning(c, err, stdout)
	}
	if r == nil {
		return err
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "store\t%s\n", r.Where)
	if err == nil || r.Ping > 0 {
		fmt.Fprintf(w, "answers within\t%s\n", r.Ping.Round(time.Microsecond))
	}
	if r.Schema != "" {
		fmt.Fprintf(w, "schema\t%s\n", r.Schema)
	}
	if r.Keyring != "" {
		fmt.Fprintf(w, "keyring\t%s\n", r.Keyring)
	}
	for _, n := range r.Counts {
		fmt.Fprintf(w, "%ss\t%d\n", n.Kind, n.Source)
	}
	if len(r.Counts) > 0 {
		fmt.Fprintf(w, "requests\t%d\n", r.Requests)
	}
	if r.Waiting > 0 {
		fmt.Fprintf(w, "waiting for the store\t%d\n", r.Waiting)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "%s\n", n)
	}
	return errors.Join(err, w.Flush())
}

// checkRunning asks the gateway that holds the store's lock.
func checkRunning(c *config.Config, inUse error, stdout io.Writer) error {
	ctl, err := readControl(c)
	if err != nil || ctl == nil {
		return errors.Join(inUse, err)
	}
	resp, err := direct(5 * time.Second).Get(ctl.URL + "/readyz")
	if err != nil {
		return fmt.Errorf("%w; it does not answer: %w", inUse, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%w; it answers %d at %s/readyz", inUse, resp.StatusCode, ctl.URL)
	}
	fmt.Fprintf(stdout, "in use by the gateway at %s, which says that its store is ready\n", ctl.URL)
	return nil
}

func storeInit(ctx context.Context, c *config.Config, stdout, stderr io.Writer) error {
	url, name := c.Store()
	scheme, rest, _ := strings.Cut(url.Reveal(), ":")
	if openers[scheme] != nil && inits[scheme] == nil {
		if isMemory(url) {
			fmt.Fprintln(stdout, "a store in memory needs nothing")
			return nil
		}
		opened, err := boot.OpenStore(ctx, openers, url, name, logging.New(stderr, "warn", c.LogFormat))
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s needs nothing beforehand: what it needs is made when it is opened, and is there now\n", opened.Where)
		return opened.Store.Close()
	}
	if inits[scheme] == nil {
		_, err := boot.OpenStore(ctx, openers, url, name, nil) // says which there are
		return err
	}
	said, err := inits[scheme](ctx, core.NewSecret(rest))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	fmt.Fprintln(stdout, said)
	return nil
}

func storeCopy(ctx context.Context, c *config.Config, from, to core.Secret, stdout, stderr io.Writer) error {
	switch {
	case isMemory(from) || isMemory(to):
		return errors.New("a store in memory lives in its gateway alone and cannot be copied")
	case from.Reveal() == to.Reveal() || fileOf(from) != "" && fileOf(from) == fileOf(to):
		return errors.New("FROM and TO are the same store")
	case missingFile(from):
		return fmt.Errorf("FROM: there is no file %s", fileOf(from))
	}
	log := logging.New(stderr, "warn", c.LogFormat)
	source, err := boot.OpenStore(ctx, openers, from, "FROM", log)
	if err != nil {
		return err
	}
	target, err := boot.OpenStore(ctx, openers, to, "TO", log)
	if err != nil {
		return errors.Join(err, source.Store.Close())
	}
	bar := cli.NewProgress(stderr, "Copying")
	r, notes, err := boot.CopyStore(ctx, c, source, target, time.Now, func(kind string, n int) {
		if bar.Shown() {
			bar.Set(int64(n), 0, kind+"s")
			return
		}
		fmt.Fprintf(stderr, "%d %ss\n", n, kind)
	})
	bar.Stop()
	err = errors.Join(err, target.Store.Close(), source.Store.Close())
	if r != nil {
		printCopy(stdout, r)
	}
	if err != nil {
		if ctx.Err() != nil {
			return errors.New("broken off; run it again, and it goes on where it is")
		}
		return err
	}
	fmt.Fprintf(stdout, "Copied to %s and compared: equal.\n", target.Where)
	for _, n := range notes {
		fmt.Fprintln(stdout, n)
	}
	fmt.Fprintln(stdout, "What limits counted today and this month begins anew there.")
	return nil
}

func printCopy(stdout io.Writer, r *transfer.Report) {
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tsource\twritten\tremoved\ttarget\t")
	for _, n := range r.Counts {
		fmt.Fprintf(w, "%ss\t%d\t%d\t%d\t%d\t\n", n.Kind, n.Source, n.Written, n.Removed, n.Target)
	}
	fmt.Fprintf(w, "requests in totals\t\t\t\t%d\t\n", r.Requests)
	_ = w.Flush()
}

// storeBackup copies the file of the embedded store while no gateway has it open.
func storeBackup(ctx context.Context, c *config.Config, path string, stdout, stderr io.Writer) error {
	url, name := c.Store()
	if fileOf(url) == "" {
		return fmt.Errorf("%s: only the embedded store is backed up by this command; use the server's own tools, or: sluice store copy", name)
	}
	if missingFile(url) {
		return fmt.Errorf("%s: there is no file %s", name, fileOf(url))
	}
	s, err := boot.OpenStore(ctx, openers, url, name, logging.New(stderr, "warn", c.LogFormat))
	if err != nil {
		return err
	}
	b, ok := s.Store.(interface {
		Backup(ctx context.Context, path string) error
	})
	if !ok {
		return errors.Join(fmt.Errorf("%s: this store cannot be backed up", name), s.Store.Close())
	}
	if err := errors.Join(b.Backup(ctx, path), s.Store.Close()); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s is a copy of %s. Keep %s.key with it, or SLUICE_MASTER_KEY: without it the node credentials are lost.\n", path, s.Where, s.File)
	return nil
}
