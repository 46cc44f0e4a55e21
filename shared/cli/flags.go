package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// flags are the flags of one command: those that all have, and its own.
type flags struct {
	*flag.FlagSet
	c       *command
	url     string
	key     string
	json    bool
	yes     bool
	choices map[string][]string // values of a flag, for completion
	ids     map[string]string   // flags whose value is an id: of what
	fields  []field
}

func newFlags(c *command) *flags {
	f := &flags{FlagSet: flag.NewFlagSet("sluice "+c.words, flag.ContinueOnError), c: c, choices: map[string][]string{}, ids: map[string]string{}}
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	return f
}

// remote declares what every command has that calls a gateway.
func (f *flags) remote() {
	f.StringVar(&f.url, "url", "", "`URL` of the gateway; default SLUICE_URL, else the gateway on this machine")
	f.StringVar(&f.key, "admin-key", "", "`-` reads its key from standard input or asks for it; default SLUICE_ADMIN_KEY")
	f.BoolVar(&f.json, "json", false, "print the answer of the API as it is")
}

// destructive declares --yes.
func (f *flags) destructive() {
	f.BoolVar(&f.yes, "yes", false, "do not ask")
}

// account declares --account.
func (f *flags) account(what string) *string {
	f.ids["account"] = "accounts"
	return f.String("account", "", "`ID` of the account "+what)
}

// ofAccount is a query that names an account; "": none.
func ofAccount(id string) url.Values {
	q := url.Values{}
	if id != "" {
		q.Set("account_id", id)
	}
	return q
}

// choice is a flag with few values; "" is allowed where def is "".
func (f *flags) choice(name, def, what string, values ...string) *string {
	f.choices[name] = values
	v := def
	if def != "" {
		defer func() { f.Lookup(name).DefValue = def }()
	}
	f.Func(name, what+"`WORD`, one of "+strings.Join(values, ", "), func(s string) error {
		if !slices.Contains(values, s) {
			return errors.New("must be one of " + strings.Join(values, ", "))
		}
		v = s
		return nil
	})
	return &v
}

// parse takes flags before, between and behind the arguments, and returns these.
func (f *flags) parse(args []string) ([]string, error) {
	var list []string
	for {
		if err := f.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, usageError("%s; see: sluice %s --help", clean(err.Error()), f.c.words)
		}
		if f.NArg() == 0 {
			return list, nil
		}
		before := args[:len(args)-f.NArg()]
		if len(before) > 0 && before[len(before)-1] == "--" {
			return append(list, f.Args()...), nil
		}
		list = append(list, f.Arg(0))
		args = f.Args()[1:]
	}
}

// line is how the command is written.
func (f *flags) line() string {
	l := "sluice " + f.c.words
	if f.c.args != "" {
		l += " " + f.c.args
	}
	return l
}

func (f *flags) help(w io.Writer) {
	fmt.Fprintf(w, "Usage: %s [flags]\n\n%s\n\n", f.line(), f.c.brief)
	f.VisitAll(func(g *flag.Flag) {
		value, text := flag.UnquoteUsage(g)
		dashes := "--"
		if len(g.Name) == 1 {
			dashes = "-"
		}
		if g.DefValue != "" && g.DefValue != "false" && g.DefValue != "0" && g.DefValue != "0s" {
			text += " (default " + g.DefValue + ")"
		}
		fmt.Fprintf(w, "  %-26s %s\n", strings.TrimSpace(dashes+g.Name+" "+value), text)
	})
}

// set reports whether a flag was given.
func (f *flags) set(name string) (was bool) {
	f.Visit(func(g *flag.Flag) { was = was || g.Name == name })
	return was
}

// form is how the text of a flag becomes JSON.
type form int

const (
	asText   form = iota
	asNumber      // a whole number
	asBool
	asList   // with commas between; empty: an empty list
	asPairs  // NAME=NAME, with commas between
	asSecret // - : read from standard input, or asked for
)

// field is a flag that becomes a field of a body. A field that is not given is left out: then the API changes nothing.
type field struct {
	flag, json string // json may be "limits.NAME"
	form       form
	usage      string
	choices    []string
}

// body declares the flags of fields.
func (f *flags) body(fields []field) {
	f.fields = fields
	for _, d := range fields {
		switch {
		case d.form == asBool:
			f.Bool(d.flag, false, d.usage)
		case d.form == asNumber:
			f.Int64(d.flag, 0, d.usage)
		default:
			f.String(d.flag, "", d.usage)
		}
		if d.choices != nil {
			f.choices[d.flag] = d.choices
		}
	}
}

// values makes the body of the fields that were given; secrets are read now.
func (s *session) values(ctx context.Context) (map[string]any, error) {
	out := map[string]any{}
	if s.f.key != "" { // it stands before other secrets on standard input
		if _, err := s.adminKey(ctx); err != nil {
			return nil, err
		}
	}
	for _, d := range s.f.fields {
		if !s.f.set(d.flag) {
			continue
		}
		v, err := s.value(ctx, d)
		if err != nil {
			return nil, err
		}
		if outer, inner, ok := strings.Cut(d.json, "."); ok {
			m, _ := out[outer].(map[string]any)
			if m == nil {
				m = map[string]any{}
				out[outer] = m
			}
			m[inner] = v
			continue
		}
		out[d.json] = v
	}
	return out, nil
}

func (s *session) value(ctx context.Context, d field) (any, error) {
	text := s.f.Lookup(d.flag).Value.String()
	switch d.form {
	case asNumber:
		return strconv.ParseInt(text, 10, 64)
	case asBool:
		return strconv.ParseBool(text)
	case asList:
		return split(text), nil
	case asPairs:
		m := map[string]string{}
		for _, p := range split(text) {
			from, to, ok := strings.Cut(p, "=")
			if !ok || from == "" || to == "" {
				return nil, usageError("--%s: must be NAME=NAME, with commas between", d.flag)
			}
			m[from] = to
		}
		return m, nil
	case asSecret:
		if text == "" {
			return "", nil // takes it away
		}
		return s.secret(ctx, "--"+d.flag, text)
	}
	return text, nil
}

func split(text string) []string {
	out := []string{}
	for p := range strings.SplitSeq(text, ",") {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return out
}

// limitFields are the limits; prefix is "limits." where they have an object of their own.
func limitFields(prefix string) []field {
	return []field{
		{"rpm", prefix + "requests_per_minute", asNumber, "requests a minute; 0: unlimited", nil},
		{"rpd", prefix + "requests_per_day", asNumber, "requests a day; 0: unlimited", nil},
		{"tpm", prefix + "tokens_per_minute", asNumber, "tokens a minute; 0: unlimited", nil},
		{"concurrency", prefix + "concurrency", asNumber, "requests at the same time; 0: unlimited", nil},
		{"usd-day", prefix + "usd_per_day", asText, "`dollars` a day, such as 2.50; 0: unlimited", nil},
		{"usd-month", prefix + "usd_per_month", asText, "`dollars` a month; 0: unlimited", nil},
	}
}

// span reads a duration; beside Go's units it knows days (d) and weeks (w).
func span(s string) (time.Duration, error) {
	unit := time.Duration(0)
	switch {
	case strings.HasSuffix(s, "d"):
		unit = 24 * time.Hour
	case strings.HasSuffix(s, "w"):
		unit = 7 * 24 * time.Hour
	}
	var d time.Duration
	var err error
	if unit > 0 {
		var n uint64
		if n, err = strconv.ParseUint(s[:len(s)-1], 10, 16); err == nil && n <= 36_500 {
			d = time.Duration(n) * unit
		}
	} else {
		d, err = time.ParseDuration(s)
	}
	if err != nil || d <= 0 {
		return 0, errors.New("must be a time span such as 30m, 24h, 7d or 4w")
	}
	return d, nil
}

// moment reads a time: RFC 3339, or a date, alone or with hours and minutes, in the zone.
func moment(s string, zone *time.Location) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02 15:04:05"} {
		if t, err := time.ParseInLocation(layout, s, zone); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New("must be a date such as 2026-01-31, or a time such as 2026-01-31T15:04:05Z")
}
