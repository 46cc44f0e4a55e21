package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"sluice/shared/config"
	"sluice/shared/pricing"
)

const pricesUsage = `Usage: sluice prices COMMAND

  update FILE|URL [--dry-run]     take over a price list in LiteLLM's format, such as its model_prices_and_context_window.json;
                                  --dry-run only tells how many prices differ
  list [--json] [--account ID]    show the prices in force, of one account with its own
`

const fetchTimeout = time.Minute

// pricesCommand runs the words behind "sluice prices".
func pricesCommand(c *config.Config, args []string, stdout, stderr io.Writer) error {
	word := ""
	if len(args) > 0 {
		word, args = args[0], args[1:]
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	f := flag.NewFlagSet("sluice prices "+word, flag.ContinueOnError)
	f.SetOutput(stderr)
	var err error
	switch word {
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, pricesUsage)
	case "update":
		dry := f.Bool("dry-run", false, "only tell how many prices differ")
		var from []string
		if from, err = between(f, args); err == nil {
			if len(from) != 1 {
				return errors.New("the command is: sluice prices update FILE|URL [--dry-run]")
			}
			err = updatePrices(ctx, c, from[0], *dry, stdout, stderr)
		}
	case "list":
		asJSON := f.Bool("json", false, "print JSON")
		account := f.String("account", "", "show the prices of this account; empty: of those without prices of their own")
		var rest []string
		if rest, err = between(f, args); err == nil {
			if len(rest) > 0 {
				return fmt.Errorf("unknown argument %q", rest[0])
			}
			err = listPrices(ctx, c, *account, *asJSON, stdout, stderr)
		}
	default:
		return errors.New("the commands are: sluice prices update FILE|URL, sluice prices list")
	}
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	return err
}

// between parses flags that stand before, between or behind the other words, and returns these.
func between(f *flag.FlagSet, args []string) (words []string, err error) {
	for {
		if err := f.Parse(args); err != nil {
			return nil, err
		}
		if f.NArg() == 0 {
			return words, nil
		}
		words, args = append(words, f.Arg(0)), f.Args()[1:]
	}
}

func updatePrices(ctx context.Context, c *config.Config, from string, dry bool, stdout, stderr io.Writer) error {
	list, err := readPrices(ctx, from)
	if err != nil {
		return err
	}
	if !json.Valid(list) {
		return fmt.Errorf("%s is no JSON; the list must be in LiteLLM's format", from)
	}
	path := "/api/pricing/import"
	if dry {
		path += "?dry_run=true"
	}
	var out struct{ Rows, Changed, Skipped int }
	if err := call(c, stderr, http.MethodPost, path, json.RawMessage(list), &out); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "prices    %d, and %d entries that are no price of a model\n", out.Rows, out.Skipped)
	if dry {
		fmt.Fprintf(stdout, "differ    %d; nothing was changed\n", out.Changed)
		return nil
	}
	fmt.Fprintf(stdout, "changed   %d, for requests from now on\n", out.Changed)
	return nil
}

// readPrices reads a file, or what an address answers with.
func readPrices(ctx context.Context, from string) ([]byte, error) {
	if !strings.HasPrefix(from, "https://") && !strings.HasPrefix(from, "http://") {
		file, err := os.Open(from)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		return bounded(file, from)
	}
	client := &http.Client{Timeout: fetchTimeout, CheckRedirect: checkRedirect}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	if err := safeAddress(req.URL); err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %d", from, resp.StatusCode)
	}
	return bounded(resp.Body, from)
}

// checkRedirect refuses what safeAddress does, and a way from elsewhere to this machine: the services on it are not for whoever
// publishes a list.
func checkRedirect(r *http.Request, via []*http.Request) error {
	switch {
	case len(via) >= 5:
		return errors.New("too many redirects")
	case via[0].URL.Scheme == "https" && r.URL.Scheme != "https":
		return fmt.Errorf("%s: the address must begin with https://", r.URL.Redacted())
	}
	return safeAddress(r.URL)
}

// safeAddress refuses what others on the way could change: prices decide over budgets.
func safeAddress(u *url.URL) error {
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()) {
		return nil
	}
	return fmt.Errorf("%s: the address must begin with https://", u.Redacted())
}

func bounded(r io.Reader, from string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, pricing.MaxList+1))
	if err == nil && len(data) > pricing.MaxList {
		err = fmt.Errorf("%s is larger than %d MiB", from, pricing.MaxList>>20)
	}
	return data, err
}

// shownPrice is what of a price the table shows.
type shownPrice struct {
	Model     string   `json:"model_id"`
	Kind      string   `json:"kind"`
	Input     *float64 `json:"input_price_mtok"`
	Output    *float64 `json:"output_price_mtok"`
	CacheRead *float64 `json:"cache_read_price_mtok"`
	Write5m   *float64 `json:"cache_write_5m_price_mtok"`
	Write1h   *float64 `json:"cache_write_1h_price_mtok"`
	Active    bool     `json:"is_active"`
	From      string   `json:"from"`
	Source    string   `json:"source"`
}

// pricesPage is how many prices are asked for at once: far less than an answer may have.
const pricesPage = 1000

func listPrices(ctx context.Context, c *config.Config, account string, asJSON bool, stdout, stderr io.Writer) error {
	ctl, done, err := connect(ctx, c, stderr)
	if err != nil {
		return err
	}
	var all []json.RawMessage
	for {
		var page struct {
			Pricing []json.RawMessage
			Count   int
		}
		q := url.Values{"limit": {strconv.Itoa(pricesPage)}, "offset": {strconv.Itoa(len(all))}}
		if account != "" {
			q.Set("account_id", account)
		}
		if err := ctl.call(ctx, http.MethodGet, "/api/pricing?"+q.Encode(), nil, &page); err != nil {
			return errors.Join(err, done())
		}
		all = append(all, page.Pricing...)
		if len(page.Pricing) == 0 || len(all) >= page.Count {
			break
		}
	}
	if err := done(); err != nil {
		return err
	}
	if asJSON {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(map[string]any{"pricing": all})
	}
	return tabulate(stdout, all)
}

// tabulate writes prices in columns: USD for a million tokens.
func tabulate(stdout io.Writer, all []json.RawMessage) error {
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MODEL\tKIND\tINPUT\tOUTPUT\tREAD\tWRITE 5M\tWRITE 1H\tFROM\tSOURCE")
	for _, raw := range all {
		var p shownPrice
		if err := json.Unmarshal(raw, &p); err != nil {
			return fmt.Errorf("the gateway's answer: %w", err)
		}
		from := "always"
		if p.From != "" {
			from, _, _ = strings.Cut(p.From, "T")
		}
		if !p.Active {
			from += " (to come)"
		}
		fmt.Fprintln(w, strings.Join([]string{printable(p.Model), printable(p.Kind), usdText(p.Input), usdText(p.Output), usdText(p.CacheRead), usdText(p.Write5m), usdText(p.Write1h),
			printable(from), printable(p.Source)}, "\t"))
	}
	return w.Flush()
}

// usdText is a price for people; one that is not known is no 0.
func usdText(usd *float64) string {
	if usd == nil {
		return "?"
	}
	return strconv.FormatFloat(*usd, 'f', -1, 64)
}
