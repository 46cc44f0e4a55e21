package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"sluice/shared/boot"
	"sluice/shared/config"
)

// errInterrupted makes the program end with 130.
var errInterrupted = errors.New("interrupted; nothing was added")

const loginUsage = "the command is: sluice login amazonq [--start-url URL] [--region REGION] [--name TEXT] [--kiro]"

// loginRequest is what the admin API takes.
type loginRequest struct {
	StartURL string `json:"start_url,omitempty"`
	Region   string `json:"region,omitempty"`
	Name     string `json:"name,omitempty"`
	API      string `json:"api,omitempty"`
}

// loginCommand runs the words behind "sluice login": a device login at Amazon Q or Kiro that the gateway does and a person
// confirms in a browser, anywhere.
func loginCommand(c *config.Config, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 || args[0] != "amazonq" {
		return errors.New(loginUsage)
	}
	var in loginRequest
	f := flag.NewFlagSet("sluice login amazonq", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&in.StartURL, "start-url", "", "of IAM Identity Center, such as https://d-1234567890.awsapps.com/start; empty: AWS Builder ID")
	f.StringVar(&in.Region, "region", "", "of IAM Identity Center; empty: us-east-1")
	f.StringVar(&in.Name, "name", "", "of the account here; empty: one is made")
	kiro := f.Bool("kiro", false, "use Kiro's hosts instead of Amazon Q's")
	if err := f.Parse(args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unknown argument %q; %s", f.Arg(0), loginUsage)
	}
	if *kiro {
		in.API = "kiro"
	}
	if err := boot.CanImport(c); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctl, done, err := connect(ctx, c, stderr)
	if err != nil {
		return orInterrupted(ctx, err)
	}
	l := &deviceLogin{ctl: ctl, out: stderr, countdown: isTerminal(stderr), now: time.Now, wait: wait}
	name, err := l.run(ctx, in)
	if err = errors.Join(err, done()); err != nil {
		return orInterrupted(ctx, err)
	}
	fmt.Fprintln(stdout, name)
	return nil
}

func orInterrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errInterrupted
	}
	return err
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	fi, err := f.Stat()
	return err == nil && fi.Mode()&os.ModeCharDevice != 0
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// deviceLogin asks the admin API for a login until it has ended.
type deviceLogin struct {
	ctl       *control
	out       io.Writer
	countdown bool // out is a terminal
	now       func() time.Time
	wait      func(context.Context, time.Duration) error
}

// maxLoginFailures is how many polls in a row may fail: the login goes on meanwhile.
const maxLoginFailures = 5

// begun is the answer to the first call.
type begun struct {
	ID       string `json:"id"`
	Code     string `json:"user_code"`
	URI      string `json:"verification_uri"`
	Complete string `json:"verification_uri_complete"`
	Expires  int64  `json:"expires_in"` // seconds
	Interval int64  `json:"interval"`   // seconds
}

// loginState is the answer to a poll.
type loginState struct {
	Status   string `json:"status"`
	Interval int64  `json:"interval"`
	Account  struct {
		ID   json.Number `json:"id"`
		Name string      `json:"name"`
	} `json:"account"`
}

// run returns the new account's name.
func (l *deviceLogin) run(ctx context.Context, in loginRequest) (string, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return "", err
	}
	var b begun
	if err := l.ctl.call(ctx, http.MethodPost, "/admin/accounts/login", body, &b); err != nil {
		return "", err
	}
	if b.ID == "" || b.URI == "" {
		return "", errors.New("the gateway's answer has no login; is it of the same version as this program?")
	}
	end := l.now().Add(time.Duration(min(max(b.Expires, 30), 3600)) * time.Second)
	l.show(&b)
	interval := seconds(b.Interval)
	for failures := 0; ; {
		if err := l.pause(ctx, interval, end); err != nil {
			return "", err
		}
		if !l.now().Before(end) {
			return "", errors.New("the code has expired; run the command again")
		}
		var s loginState
		err := l.ctl.call(ctx, http.MethodPost, "/admin/accounts/login/"+url.PathEscape(b.ID), []byte("{}"), &s)
		if err != nil {
			if failures++; failures >= maxLoginFailures || ctx.Err() != nil || !passing(err) {
				return "", err
			}
			l.line("not answered yet: " + err.Error() + "; asking again")
			continue
		}
		failures = 0
		if s.Interval > 0 {
			interval = seconds(s.Interval)
		} else if s.Status == "slow_down" {
			interval += 5 * time.Second
		}
		if done, err := l.judge(&s); done || err != nil {
			return printable(s.Account.Name), err
		}
	}
}

func seconds(n int64) time.Duration { return time.Duration(min(max(n, 1), 60)) * time.Second }

// passing reports whether a failed poll is worth another.
func passing(err error) bool {
	var r *replyError
	return !errors.As(err, &r) || r.status >= 500 || r.status == http.StatusTooManyRequests
}

// judge tells whether a login has ended, and how.
func (l *deviceLogin) judge(s *loginState) (bool, error) {
	switch s.Status {
	case "pending", "slow_down":
		return false, nil
	case "complete":
		l.line(fmt.Sprintf("Account %s is logged in:", printable(s.Account.ID.String())))
		return true, nil
	case "expired":
		return false, errors.New("the code has expired; run the command again")
	case "denied":
		return false, errors.New("the login was refused in the browser")
	}
	return false, fmt.Errorf("the gateway tells of a login that is %q; is it of the same version as this program?", printable(s.Status))
}

func (l *deviceLogin) show(b *begun) {
	to := b.Complete
	if to == "" {
		to = b.URI
	}
	fmt.Fprintf(l.out, "Open this address in a browser, on any machine:\n\n    %s\n\nand confirm that it shows the code %s. It is good for %d minutes.\n",
		printable(to), printable(b.Code), max(b.Expires/60, 1))
}

// line writes a line in the place of the countdown.
func (l *deviceLogin) line(s string) {
	if l.countdown {
		s = "\r" + s + "                "
	}
	fmt.Fprintln(l.out, s)
}

// pause waits between polls, on a terminal with a countdown.
func (l *deviceLogin) pause(ctx context.Context, d time.Duration, end time.Time) error {
	if !l.countdown {
		return l.wait(ctx, d)
	}
	for ; d > 0; d -= time.Second {
		left := max(end.Sub(l.now()), 0).Round(time.Second)
		fmt.Fprintf(l.out, "\rWaiting, %d:%02d left ", int(left/time.Minute), int(left%time.Minute/time.Second))
		if err := l.wait(ctx, min(d, time.Second)); err != nil {
			fmt.Fprintln(l.out)
			return err
		}
	}
	return nil
}
