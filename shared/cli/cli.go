// Package cli is the admin API for people who live in a shell: usage, the request log, a live view, and the keys, nodes and
// accounts of a gateway, on this machine or far away. It knows the API by its documented routes alone (docs/admin-api.md).
//
// What a gateway answers is not trusted: bodies are bounded, and nothing reaches a terminal that could steer it.
//
// It has more than 1,500 lines because each command has its words, flags and table here, and there is one for every route.
package cli

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Exit codes of a program, see ExitCode.
const (
	ExitOK          = 0
	ExitError       = 1
	ExitUsage       = 2
	ExitInterrupted = 130 // as shells tell of SIGINT
)

// ErrInterrupted is returned by a command that Ctrl-C or a signal ended.
var ErrInterrupted = errors.New("interrupted")

// UsageError is a command that was written wrongly; its text says how it is written.
type UsageError struct{ message string }

// Error implements error.
func (e *UsageError) Error() string { return e.message }

func usageError(format string, args ...any) error {
	return &UsageError{fmt.Sprintf(format, args...)}
}

// ExitCode is what a program ends with after err: 0, 1, 2 for a UsageError, 130 for ErrInterrupted.
func ExitCode(err error) int {
	var u *UsageError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &u):
		return ExitUsage
	case errors.Is(err, ErrInterrupted):
		return ExitInterrupted
	}
	return ExitError
}

// Need says what a command asks of the gateway on this machine.
type Need int

// The needs.
const (
	NeedStore   Need = iota // its store is enough: a gateway may be built for the call
	NeedRunning             // it must run, as nothing happens in a store that nobody uses
	NeedQuick               // it must run and be found without waiting, as for completion
)

// Env is the world of a command.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Vars           map[string]string // environment variables
	// Local finds the gateway on this machine, used where no URL is given. close is called at the end.
	Local func(ctx context.Context, need Need, stderr io.Writer) (t Target, close func() error, err error)
	// Words are the program's commands that are not of this package, such as "store copy", and their flags, for completion.
	Words map[string][]string
	Now   func() time.Time // nil: time.Now
}

// action runs a command with its arguments.
type action func(ctx context.Context, s *session, args []string) error

// command is one command. setup declares its flags and returns what runs it.
type command struct {
	words string // such as "nodes add"
	args  string // such as "ID"
	brief string
	least int // arguments
	most  int
	ids   string // what completes the arguments: nodes, keys or accounts
	setup func(f *flags) action
}

func commands() []command {
	return slices.Concat(usageCommands(), keyCommands(), nodeCommands(), accountCommands(), completionCommands())
}

// Has reports whether a command of this package begins with word.
func Has(word string) bool {
	return word == completeWord || slices.ContainsFunc(commands(), func(c command) bool {
		first, _, _ := strings.Cut(c.words, " ")
		return first == word
	})
}

// Run runs a command, such as "nodes", "list", "--json". Errors name the cause and the remedy; see ExitCode.
func Run(env Env, args []string) error {
	if env.Now == nil {
		env.Now = time.Now
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := run(ctx, env, args)
	if err != nil && (ctx.Err() != nil || errors.Is(err, ErrInterrupted)) {
		return ErrInterrupted
	}
	return err
}

func run(ctx context.Context, env Env, args []string) error {
	if len(args) > 0 && args[0] == completeWord {
		return complete(ctx, env, args[1:])
	}
	all := commands()
	c, rest := find(all, args)
	if c == nil {
		return group(env, all, args)
	}
	f := newFlags(c)
	act := c.setup(f)
	list, err := f.parse(rest)
	if errors.Is(err, flag.ErrHelp) {
		f.help(env.Stdout)
		return nil
	}
	if err != nil {
		return err
	}
	if len(list) < c.least || c.most >= 0 && len(list) > c.most {
		return usageError("the command is: %s; see: sluice %s --help", f.line(), c.words)
	}
	if c.ids != "" {
		for _, id := range list {
			if !validID(id) {
				return usageError("%q is no id; see: sluice %s list", clean(id), c.ids)
			}
		}
	}
	s := &session{env: env, f: f, in: bufio.NewReader(env.Stdin)}
	err = act(ctx, s, list)
	var r *refusal
	if c.ids != "" && errors.As(err, &r) && r.status == http.StatusNotFound && r.remedy == "" {
		r.remedy = "see: sluice " + c.ids + " list"
	}
	return errors.Join(err, s.close())
}

// find returns the command that args begin with, and what follows its words.
func find(all []command, args []string) (*command, []string) {
	for i := range all {
		words := strings.Fields(all[i].words)
		if len(args) >= len(words) && slices.Equal(args[:len(words)], words) {
			return &all[i], args[len(words):]
		}
	}
	return nil, nil
}

// group answers to the first word of commands of two words.
func group(env Env, all []command, args []string) error {
	var names, lines []string
	for i := range all {
		if first, second, _ := strings.Cut(all[i].words, " "); len(args) > 0 && first == args[0] {
			names = append(names, second)
			lines = append(lines, fmt.Sprintf("  %-28s %s", strings.TrimSpace(second+" "+all[i].args), all[i].brief))
		}
	}
	if len(names) == 0 {
		return usageError("unknown command; see: sluice help")
	}
	if len(args) > 1 && slices.Contains([]string{"help", "-h", "-help", "--help"}, args[1]) {
		fmt.Fprintf(env.Stdout, "Usage: sluice %s COMMAND\n\n%s\n\nsluice %s COMMAND --help tells the flags of each.\n", args[0], strings.Join(lines, "\n"), args[0])
		return nil
	}
	if len(args) > 1 {
		return usageError("unknown command %q; the commands are: sluice %s %s", args[0]+" "+clean(args[1]), args[0], strings.Join(names, ", "))
	}
	return usageError("the commands are: sluice %s %s", args[0], strings.Join(names, ", "))
}

// validID reports whether s can be an id: they stand in addresses, and completion puts them into a shell's line.
func validID(s string) bool {
	if s == "" || len(s) > 100 || s[0] == '.' || s[0] == '-' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == ""
}

// session is one command that runs.
type session struct {
	env  Env
	f    *flags
	in   *bufio.Reader // standard input: several secrets may stand in its lines
	key  string        // that --admin-key read
	api  *client
	done func() error
}

func (s *session) close() error {
	if s.done == nil {
		return nil
	}
	return s.done()
}

// width is how many columns a line may have; 0: any number.
func (s *session) width() int {
	w, _ := size(s.env.Stdout)
	return w
}

// colour reports whether the output may have colours.
func (s *session) colour() bool {
	return s.env.Vars["NO_COLOR"] == "" && s.env.Vars["TERM"] != "dumb" && IsTerminal(s.env.Stdout)
}
