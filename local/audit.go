package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"sluice/shared/audit"
	"sluice/shared/cli"
	"sluice/shared/config"
)

const auditUsage = `Usage: sluice audit COMMAND

  export [-o FILE] [--format jsonl|csv] [--from TIME] [--to TIME] [--account ID] [--action NAME]
                             write the audit log, the oldest entry first; only an export of all as jsonl can be verified
  verify [FILE] [--head HASH]
                             follow the chain of the gateway's log, or of an export, - for standard input; --head is a hash
                             that was noted before, which an entry must have

The gateway is the one on this machine, or the one of SLUICE_URL with SLUICE_ADMIN_KEY.
`

const auditWords = "the commands are: sluice audit export, sluice audit verify [FILE]"

// auditCommand runs the words behind "sluice audit".
func auditCommand(env map[string]string, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	word := ""
	if len(args) > 0 {
		word, args = args[0], args[1:]
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	f := flag.NewFlagSet("sluice audit "+word, flag.ContinueOnError)
	f.SetOutput(stderr)
	var err error
	switch word {
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, auditUsage)
	case "export":
		q := url.Values{}
		for flagName, param := range map[string]string{"format": "format", "from": "from", "to": "to", "account": "account_id", "action": "action"} {
			f.Func(flagName, param, func(s string) error { q.Set(param, s); return nil })
		}
		file := f.String("o", "", "write into this file")
		if err = f.Parse(args); err == nil {
			if f.NArg() > 0 {
				return fmt.Errorf("unknown argument %q", f.Arg(0))
			}
			err = exportAudit(ctx, env, q, *file, stdout, stderr)
		}
	case "verify":
		head := f.String("head", "", "a hash that an entry must have")
		var from []string
		if from, err = between(f, args); err == nil {
			if len(from) > 1 {
				return errors.New("the command is: sluice audit verify [FILE] [--head HASH]")
			}
			err = verifyAudit(ctx, env, strings.Join(from, ""), *head, stdin, stdout, stderr)
		}
	default:
		return errors.New(auditWords)
	}
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	return err
}

// auditGateway finds the gateway; done must be called.
func auditGateway(ctx context.Context, env map[string]string, stderr io.Writer) (*control, func() error, error) {
	if address := env["SLUICE_URL"]; address != "" {
		if err := config.CheckURL(address); err != nil {
			return nil, nil, fmt.Errorf("SLUICE_URL: %w", err)
		}
		if env["SLUICE_ADMIN_KEY"] == "" {
			return nil, nil, errors.New("SLUICE_ADMIN_KEY: set it to an admin key of the gateway of SLUICE_URL")
		}
		return &control{away: true, URL: strings.TrimRight(address, "/"), Token: env["SLUICE_ADMIN_KEY"]}, func() error { return nil }, nil
	}
	c, err := config.Parse(env)
	if err != nil {
		return nil, nil, err
	}
	return connect(ctx, c, stderr)
}

// exportAudit writes the log to standard output or a file, which is there only when it is complete.
func exportAudit(ctx context.Context, env map[string]string, q url.Values, file string, stdout, stderr io.Writer) error {
	ctl, done, err := auditGateway(ctx, env, stderr)
	if err != nil {
		return err
	}
	if file == "" {
		return errors.Join(ctl.auditParts(ctx, q, cli.Steady(stdout)), done())
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".sluice-audit-*") // 0600
	if err != nil {
		return errors.Join(err, done())
	}
	err = errors.Join(ctl.auditParts(ctx, q, tmp), tmp.Sync(), tmp.Close(), done())
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}

// auditParts fetches the export, in parts where the gateway answers in parts.
func (c *control) auditParts(ctx context.Context, q url.Values, to io.Writer) error {
	for part := 0; ; part++ {
		next, err := c.auditPart(ctx, q, part > 0 && q.Get("format") == "csv", to)
		if err != nil || next == "" {
			return err
		}
		if next == q.Get("cursor") {
			return errors.New("the gateway gives the same cursor again")
		}
		q.Set("cursor", next)
	}
}

func (c *control) auditPart(ctx context.Context, q url.Values, titled bool, to io.Writer) (next string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL+"/api/audit/export?"+q.Encode(), nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("X-Admin-Key", c.Token)
	resp, err := c.client(0).Do(req) // a long log takes its time
	if err != nil {
		return "", fmt.Errorf("the gateway does not answer: %w", err)
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		return "", decodeReply(resp.StatusCode, resp.Body, nil)
	}
	if next, err = cli.CopyPart(to, resp, titled); err != nil {
		return "", fmt.Errorf("the export broke off and is not complete: %w; run it again", err)
	}
	return next, nil
}

// verifyAudit follows a chain and tells what it found; a broken one is an error.
func verifyAudit(ctx context.Context, env map[string]string, from, head string, stdin io.Reader, stdout, stderr io.Writer) error {
	var v audit.Verdict
	var err error
	switch from {
	case "":
		v, err = verifyGateway(ctx, env, head, stderr)
	case "-":
		v, err = audit.VerifyExport(stdin, strings.ToLower(head))
	default:
		v, err = verifyFile(from, strings.ToLower(head))
	}
	if err != nil {
		return err
	}
	if !v.OK {
		return fmt.Errorf("the audit log is not whole: %s", printable(v.Reason))
	}
	fmt.Fprintf(stdout, "entries  %d\n", v.Entries)
	if v.Entries > 0 {
		fmt.Fprintf(stdout, "first    %d, %s\nlast     %d\nhead     %s\n", v.First, v.Since.Format("2006-01-02 15:04:05 UTC"), v.Last, printable(v.Head))
	}
	if v.Begun {
		fmt.Fprintf(stdout, "note     the log begins with entry %d: what was before is not kept any more\n", v.First)
	}
	return nil
}

func verifyFile(path, head string) (audit.Verdict, error) {
	f, err := os.Open(path)
	if err != nil {
		return audit.Verdict{}, err
	}
	defer f.Close()
	return audit.VerifyExport(f, head)
}

// verifyGateway has the gateway follow its chain. Who does not trust it exports the log and verifies the file.
func verifyGateway(ctx context.Context, env map[string]string, head string, stderr io.Writer) (audit.Verdict, error) {
	ctl, done, err := auditGateway(ctx, env, stderr)
	if err != nil {
		return audit.Verdict{}, err
	}
	var v audit.Verdict
	err = ctl.call(ctx, http.MethodGet, "/api/audit/verify?head="+url.QueryEscape(head), nil, &v)
	return v, errors.Join(err, done())
}
