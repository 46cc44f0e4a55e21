package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
	"unicode"

	"sluice/shared/boot"
	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/logging"
	"sluice/shared/store/sqlite"
)

// control is how commands on this machine reach a running gateway that holds the store's lock: a file beside the store,
// readable by its owner only, with the address and a credential that lives as long as the process.
type control struct {
	path  string
	away  bool   // not on this machine
	URL   string `json:"url"`
	Token string `json:"token"`
}

func writeControl(store string, addr net.Addr, token core.Secret) (*control, error) {
	if store == "" {
		return &control{}, nil
	}
	c := &control{path: store + ".ctl", URL: strings.Replace(localURL(addr), "//localhost", "//127.0.0.1", 1), Token: token.Reveal()}
	data, err := json.Marshal(c)
	if err != nil {
		return &control{}, err
	}
	_ = os.Remove(c.path) // a stale one may have another owner's mode
	if err := os.WriteFile(c.path, data, 0o600); err != nil {
		return &control{}, err
	}
	return c, nil
}

func (c *control) remove() {
	if c.path != "" {
		_ = os.Remove(c.path)
	}
}

// readControl finds a running gateway; nil when there is none.
func readControl(c *config.Config) (*control, error) {
	u, _ := c.Store()
	path, ok := strings.CutPrefix(u.Reveal(), "sqlite:")
	if !ok {
		return nil, nil
	}
	data, err := os.ReadFile(strings.TrimPrefix(path, "//") + ".ctl")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var ctl control
	if err := json.Unmarshal(data, &ctl); err != nil {
		return nil, fmt.Errorf("%s.ctl: %w", path, err)
	}
	return &ctl, nil
}

// call sends a request to the admin API; see connect.
func call(c *config.Config, stderr io.Writer, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	ctx := context.Background()
	ctl, done, err := connect(ctx, c, stderr)
	if err != nil {
		return err
	}
	return errors.Join(ctl.call(ctx, method, path, body, out), done())
}

// connect finds the admin API: of the gateway that holds the store's lock, or of one built in this process when none does.
// The lock decides, not the control file: that one stays behind when a gateway is killed, and its port may by then belong
// to another program. done must be called; it ends the gateway of this process.
func connect(ctx context.Context, c *config.Config, stderr io.Writer) (ctl *control, done func() error, err error) {
	if u, _ := c.Store(); strings.HasPrefix(u.Reveal(), "memory:") {
		return nil, nil, errors.New("STORE_URL: a memory store lives in the running gateway alone; use its admin API")
	}
	token := core.NewSecret(rand.Text() + rand.Text())
	app, err := boot.Open(ctx, boot.Options{Part: boot.Everything(), Config: c, Openers: openers, Old: oldDatabases, Log: logging.New(stderr, "warn", c.LogFormat), Version: versionText(), Control: token})
	if errors.Is(err, sqlite.ErrInUse) {
		ctl, cerr := readControl(c)
		if cerr != nil || ctl == nil {
			return nil, nil, errors.Join(err, cerr)
		}
		return ctl, func() error { return nil }, nil
	}
	if err != nil {
		return nil, nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, errors.Join(err, app.Close())
	}
	srv := &http.Server{Handler: app.Handler, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	return &control{URL: "http://" + ln.Addr().String(), Token: token.Reveal()}, func() error {
		_ = srv.Close()
		<-served
		return app.Close()
	}, nil
}

// callTimeout is longer than the gateway itself takes for a call that asks another service.
const callTimeout = 45 * time.Second

// call sends a request.
func (c *control) call(ctx context.Context, method, path string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.URL+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("X-Admin-Key", c.Token)
	resp, err := c.client(callTimeout).Do(req)
	if err != nil {
		return fmt.Errorf("the running gateway does not answer: %w", err)
	}
	defer resp.Body.Close()
	return decodeReply(resp.StatusCode, resp.Body, out)
}

// replyError is an answer that is none of success.
type replyError struct {
	status  int
	message string
}

func (e *replyError) Error() string {
	return fmt.Sprintf("the gateway answered %d: %s", e.status, e.message)
}

// printable is text of elsewhere without what would steer a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, s)
}

// direct is a client that uses no proxy, whatever the environment says: it talks to this machine. It follows no redirect:
// net/http would send X-Admin-Key along, wherever that leads.
func direct(timeout time.Duration) *http.Client {
	return &http.Client{Timeout: timeout, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// client is direct, but heeds the environment's proxy on the way to another machine.
func (c *control) client(timeout time.Duration) *http.Client {
	client := direct(timeout)
	if c.away {
		client.Transport = http.DefaultTransport
	}
	return client
}

func decodeReply(status int, body io.Reader, out any) error {
	data, err := io.ReadAll(io.LimitReader(body, 1<<20))
	if err != nil {
		return err
	}
	if status >= 300 {
		var e struct {
			Error string `json:"error"`
		}
		_ = json.Unmarshal(data, &e)
		return &replyError{status, printable(e.Error)}
	}
	return json.Unmarshal(data, out)
}

// keyCreate makes a key and prints it, alone, on standard output.
func keyCreate(c *config.Config, args []string, stdout, stderr io.Writer) error {
	f := flag.NewFlagSet("sluice key create", flag.ContinueOnError)
	f.SetOutput(stderr)
	account := f.String("account", core.DefaultAccount, "id of the account the key belongs to")
	name := f.String("name", "", "what the key is for")
	admin := f.Bool("admin", false, "administers every account")
	nodes := f.Bool("nodes", false, "manages the account's nodes")
	rpm := f.Int64("rpm", 0, "requests per minute, 0: unlimited")
	rpd := f.Int64("rpd", 0, "requests per day, 0: unlimited")
	parallel := f.Int64("concurrency", 0, "requests at the same time, 0: unlimited")
	tpm := f.Int64("tpm", 0, "tokens per minute, 0: unlimited")
	usdDay := f.String("usd-day", "0", "dollars per day, such as 2.50; 0: unlimited")
	usdMonth := f.String("usd-month", "0", "dollars per month; 0: unlimited")
	expires := f.String("expires", "", "when it ends, such as 2026-12-31T23:59:59Z; empty: never")
	cidr := f.String("cidr", "", "networks it may be used from, with commas between them; empty: any")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", f.Arg(0))
	}
	var out struct{ ID, Key string }
	in := map[string]any{"name": *name, "is_admin": *admin, "nodes": *nodes, "requests_per_minute": *rpm, "requests_per_day": *rpd, "concurrency": *parallel,
		"tokens_per_minute": *tpm, "usd_per_day": *usdDay, "usd_per_month": *usdMonth, "expires_at": *expires}
	if *cidr != "" {
		in["networks"] = strings.Split(*cidr, ",")
	}
	if err := call(c, stderr, http.MethodPost, "/admin/api/keys?account_id="+url.QueryEscape(*account), in, &out); err != nil {
		return err
	}
	fmt.Fprintf(stderr, "Key %s of account %s. It is shown this once:\n", out.ID, *account)
	fmt.Fprintln(stdout, out.Key)
	return nil
}

// healthcheck asks the gateway on this machine how it is; Docker runs it. Where it listens says its control file, which
// knows of a --port that the environment does not; else the environment.
func healthcheck(c *config.Config) error {
	addr, err := net.ResolveTCPAddr("tcp", c.Address())
	if err != nil {
		return fmt.Errorf("LISTEN_ADDR: %w", err)
	}
	u := strings.Replace(localURL(addr), "//localhost", "//127.0.0.1", 1) + "/health"
	var resp *http.Response
	if ctl, cerr := readControl(c); cerr == nil && ctl != nil && ctl.URL+"/health" != u {
		if resp, err = direct(3 * time.Second).Get(ctl.URL + "/health"); err == nil {
			u = ctl.URL + "/health"
		}
	}
	if resp == nil {
		resp, err = direct(3 * time.Second).Get(u)
	}
	if err != nil {
		return fmt.Errorf("no healthy gateway at %s: %w", u, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the gateway at %s answered %d", u, resp.StatusCode)
	}
	return nil
}
