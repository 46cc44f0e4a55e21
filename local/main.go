// Command sluice is the gateway in one program: every handler on one port, an embedded store, and the operator's commands.
//
// It has more than 1,500 lines because each of those commands has its words, arguments and answers here, beside the server.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	_ "time/tzdata" // for LIMITS_TIME_ZONE in images that have no zones

	"sluice/shared/boot"
	"sluice/shared/cli"
	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/store/dynamodb"
	"sluice/shared/store/memory"
	"sluice/shared/store/mysql"
	"sluice/shared/store/postgres"
	"sluice/shared/store/redis"
	"sluice/shared/store/sqlite"
)

// version is set by the linker.
var version = ""

const usage = `Usage: sluice [command]

  serve [--port N]      run the gateway (default)
  healthcheck           exit 0 when the gateway on this machine is healthy, else 1
  key create            make a key: --account ID, --name TEXT, --admin, --nodes, --rpm N, --rpd N, --concurrency N,
                        --tpm N, --usd-day N, --usd-month N, --expires TIME, --cidr LIST
  store check           look whether a gateway can start on the configured store, and count what it holds
  store init            make what the configured store needs, such as its table
  store copy FROM TO    copy everything from one store URL to another
  store backup FILE     copy the embedded store to a file
  import qcc-plus X     take over the older gateway's database: X is its SQLite file or MySQL DSN
  import amq2api X      take over an Amazon Q account pool: X is its SQLite file or a DSN
  import accounts FILE  add accounts of Amazon Q or Kiro from JSON, lines, an .env or API keys; - is standard input
  login amazonq         log in to Amazon Q or Kiro with a browser, and add the account: --start-url URL, --region REGION,
                        --name TEXT, --kiro
  prices update X       take over a price list in LiteLLM's format from a file or an https address: --dry-run
  prices list           show the prices in force: --json, --account ID
  audit export          write the log of who changed what: -o FILE, --format jsonl|csv, --from TIME, --to TIME, --account ID
  audit verify [FILE]   look whether the log, or an export of it, is whole: --head HASH
  version               print the version

The admin API, of the gateway on this machine or of the one that --url or SLUICE_URL names; --help tells the flags of each:

  usage                 requests, tokens and cost by model, node, key, account, hour, day, month, session or agent; exports
  logs                  the last requests: --failed, --follow
  top                   what the gateway does now
  keys COMMAND          list, create, update, rotate, revoke, delete
  nodes COMMAND         list, add, update, enable, disable, activate, delete, check, health
  accounts COMMAND      list, create, update, delete
  completion SHELL      print a script for bash, zsh or fish

Settings are environment variables; README.md lists them.
`

// openers are the stores that this program links.
var openers = map[string]boot.Opener{
	"sqlite": func(ctx context.Context, rest core.Secret, log *slog.Logger) (boot.Opened, error) {
		path := strings.TrimPrefix(rest.Reveal(), "//")
		if path == "" {
			return boot.Opened{}, errors.New("sqlite: needs a path, such as sqlite:data/sluice.db")
		}
		s, err := sqlite.Open(ctx, path, sqlite.Options{Logger: log})
		if err != nil {
			return boot.Opened{}, err
		}
		where := path
		if abs, err := filepath.Abs(path); err == nil {
			where = abs
		}
		return boot.Opened{Store: s, File: path, Where: where}, nil
	},
	"mysql":      openMySQL,
	"postgres":   openPostgres,
	"postgresql": openPostgres,
	"dynamodb": func(ctx context.Context, rest core.Secret, _ *slog.Logger) (boot.Opened, error) {
		s, err := dynamodb.Open(ctx, rest.Reveal(), dynamodb.Options{})
		if err != nil {
			return boot.Opened{}, err
		}
		return boot.Opened{Store: s, Where: s.Where()}, nil
	},
	"redis":           openRedis("redis"),
	"rediss":          openRedis("rediss"),
	"redis+sentinel":  openRedis("redis+sentinel"),
	"rediss+sentinel": openRedis("rediss+sentinel"),
	"memory": func(context.Context, core.Secret, *slog.Logger) (boot.Opened, error) {
		return boot.Opened{Store: memory.New(), Where: "memory (lost at exit)"}, nil
	},
}

func openMySQL(ctx context.Context, rest core.Secret, log *slog.Logger) (boot.Opened, error) {
	s, err := mysql.Open(ctx, rest.Reveal(), mysql.Options{Logger: log})
	if err != nil {
		return boot.Opened{}, err
	}
	return boot.Opened{Store: s, Where: s.Where}, nil
}

func openPostgres(ctx context.Context, rest core.Secret, log *slog.Logger) (boot.Opened, error) {
	s, err := postgres.Open(ctx, rest.Reveal(), postgres.Options{Logger: log})
	if err != nil {
		return boot.Opened{}, err
	}
	return boot.Opened{Store: s, Where: s.Where}, nil
}

func openRedis(scheme string) boot.Opener {
	return func(ctx context.Context, rest core.Secret, log *slog.Logger) (boot.Opened, error) {
		s, err := redis.Open(ctx, scheme+":"+rest.Reveal(), redis.Options{Logger: log})
		if err != nil {
			return boot.Opened{}, err
		}
		return boot.Opened{Store: s, Where: s.Where()}, nil
	}
}

func main() {
	if err := run(os.Args[1:], environ(os.Environ()), os.Stdout, os.Stderr); err != nil {
		for line := range strings.Lines(err.Error()) {
			if err != cli.ErrInterrupted { // who pressed Ctrl-C knows
				fmt.Fprintln(os.Stderr, "sluice: "+strings.TrimRight(line, "\n"))
			}
		}
		os.Exit(exitCode(err))
	}
}

func exitCode(err error) int {
	if errors.Is(err, errInterrupted) {
		return 130 // as shells tell of SIGINT
	}
	return cli.ExitCode(err)
}

func environ(list []string) map[string]string {
	m := make(map[string]string, len(list))
	for _, kv := range list {
		if k, v, ok := strings.Cut(kv, "="); ok {
			m[k] = v
		}
	}
	return m
}

func run(args []string, env map[string]string, stdout, stderr io.Writer) error {
	args = guideArgs(args, env)
	command := "serve"
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	if err := leaveRoot(runAs, command); err != nil {
		return err
	}
	if cli.Has(command) {
		return cliCommand(append([]string{command}, args...), env, stdout, stderr)
	}
	switch command {
	case "version", "--version", "-v":
		fmt.Fprintln(stdout, "sluice", versionText())
		return nil
	case "help", "--help", "-h":
		fmt.Fprint(stdout, usage)
		return nil
	case "serve":
		if err := portFlag(args, env); err != nil {
			return err
		}
		c, err := config.Parse(env)
		if err != nil {
			return err
		}
		return serve(c, stderr)
	case "healthcheck":
		if err := portFlag(args, env); err != nil {
			return err
		}
		c, err := config.Parse(env)
		if err != nil {
			return err
		}
		return healthcheck(c)
	case "key":
		if len(args) == 0 || args[0] != "create" {
			return errors.New("the command is: sluice key create")
		}
		c, err := config.Parse(env)
		if err != nil {
			return err
		}
		return keyCreate(c, args[1:], stdout, stderr)
	case "store", "import":
		c, err := config.Parse(env)
		if err != nil {
			return err
		}
		if command == "import" {
			return importCommand(c, args, os.Stdin, stdout, stderr)
		}
		return storeCommand(c, args, stdout, stderr)
	case "login":
		c, err := config.Parse(env)
		if err != nil {
			return err
		}
		return loginCommand(c, args, stdout, stderr)
	case "audit":
		return auditCommand(env, args, os.Stdin, stdout, stderr)
	case "prices":
		c, err := config.Parse(env)
		if err != nil {
			return err
		}
		return pricesCommand(c, args, stdout, stderr)
	}
	return fmt.Errorf("unknown command %q; see: sluice help", command)
}

// guideArgs maps how the older systems were started onto serve: "proxy", "python app_new.py [--port N]", "python main.py". The
// Python ones listened on port 8080 where nothing else was said, which is what their guide opens.
func guideArgs(args []string, env map[string]string) []string {
	if len(args) == 0 {
		return args
	}
	if args[0] == "proxy" {
		return append([]string{"serve"}, args[1:]...)
	}
	if strings.HasPrefix(filepath.Base(args[0]), "python") && len(args) > 1 {
		if script := filepath.Base(args[1]); script == "app_new.py" || script == "main.py" {
			if env["PORT"] == "" && env["LISTEN_ADDR"] == "" {
				env["PORT"] = "8080"
			}
			return append([]string{"serve"}, args[2:]...)
		}
	}
	if strings.HasPrefix(args[0], "--port") {
		return append([]string{"serve"}, args...)
	}
	return args
}

// portFlag lets --port N (or --port=N) stand for PORT, which then also beats LISTEN_ADDR.
func portFlag(args []string, env map[string]string) error {
	for len(args) > 0 {
		name, value, inline := strings.Cut(args[0], "=")
		if name != "--port" && name != "-port" {
			return fmt.Errorf("unknown argument %q; settings are environment variables, see: sluice help", args[0])
		}
		args = args[1:]
		if !inline {
			if len(args) == 0 {
				return errors.New("--port needs a number")
			}
			value, args = args[0], args[1:]
		}
		env["PORT"] = value
		delete(env, "LISTEN_ADDR")
	}
	return nil
}

func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return "dev-" + s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return "dev"
}
