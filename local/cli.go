package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"sluice/shared/boot"
	"sluice/shared/cli"
	"sluice/shared/config"
	"sluice/shared/logging"
	"sluice/shared/store/sqlite"
)

var errNoGateway = errors.New("no gateway runs on this machine; start one with: sluice serve, or name another with --url or SLUICE_URL")

// cliCommand runs a command of the admin API, see package cli.
func cliCommand(args []string, env map[string]string, stdout, stderr io.Writer) error {
	return cli.Run(cli.Env{Stdin: os.Stdin, Stdout: stdout, Stderr: stderr, Vars: env, Words: otherWords(),
		Local: func(ctx context.Context, need cli.Need, stderr io.Writer) (cli.Target, func() error, error) {
			return localGateway(ctx, env, need, stderr)
		}}, args)
}

// otherWords are the commands of this program that are not of package cli.
func otherWords() map[string][]string {
	return map[string][]string{"serve": {"--port"}, "healthcheck": {"--port"}, "version": nil, "help": nil,
		"key create":  {"--account", "--name", "--admin", "--nodes", "--rpm", "--rpd", "--concurrency", "--tpm", "--usd-day", "--usd-month", "--expires", "--cidr"},
		"store check": nil, "store init": nil, "store copy": nil, "store backup": nil, "store help": nil,
		"import qcc-plus": nil, "import amq2api": nil, "import accounts": nil, "login amazonq": {"--start-url", "--region", "--name", "--kiro"},
		"audit export": {"-o", "--format", "--from", "--to", "--account", "--action"}, "audit verify": {"--head"},
		"prices update": {"--dry-run"}, "prices list": {"--json", "--account"}}
}

// localGateway finds the gateway on this machine, or builds one on the configured store where that is enough. A file that is
// not there is not made: more often than not the command was run in the wrong folder.
func localGateway(ctx context.Context, env map[string]string, need cli.Need, stderr io.Writer) (cli.Target, func() error, error) {
	c, err := config.Parse(env)
	if err != nil {
		return cli.Target{}, nil, err
	}
	url, name := c.Store()
	if missingFile(url) {
		return cli.Target{}, nil, errors.New(name + ": " + fileOf(url) + " is not there; run this where the gateway runs, or name one with --url or SLUICE_URL")
	}
	embedded := fileOf(url) != ""
	switch {
	case need == cli.NeedQuick && !embedded:
		return cli.Target{}, nil, errNoGateway // a server may take long to answer
	case embedded && need != cli.NeedStore:
		if err := inUse(ctx, c); err != nil {
			return cli.Target{}, nil, err
		}
	}
	ctl, done, err := connect(ctx, c, stderr)
	if err != nil {
		return cli.Target{}, nil, err
	}
	return cli.Target{URL: strings.TrimRight(ctl.URL, "/"), Key: ctl.Token, Local: true}, done, nil
}

// inUse reports an error unless a gateway holds the embedded store. Without a control file none does, and the store is left
// alone: opening it would keep a gateway from starting in that moment.
func inUse(ctx context.Context, c *config.Config) error {
	if ctl, err := readControl(c); err != nil || ctl == nil {
		return errors.Join(errNoGateway, err)
	}
	u, name := c.Store()
	opened, err := boot.OpenStore(ctx, openers, u, name, logging.New(io.Discard, "error", c.LogFormat))
	if err == nil {
		return errors.Join(errNoGateway, opened.Store.Close())
	}
	if errors.Is(err, sqlite.ErrInUse) {
		return nil
	}
	return err
}
