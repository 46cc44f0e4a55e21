// Package config turns the environment into a struct. Parsing is a pure function of a map: it reads nothing else,
// changes nothing, and reports every problem at once.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"sluice/shared/core"
	"sluice/shared/seal"
)

// The published defaults of the two older systems. They work only as DESIGN 9 allows.
const (
	DefaultAdminKey  = "admin"
	DefaultProxyKey  = "default-proxy-key"
	DefaultAdminKey2 = "amq-admin-default-key-change-immediately"
)

// Config is the whole configuration. Field comments name the unit; tags name the variable and its default.
type Config struct {
	ListenAddr string `env:"LISTEN_ADDR"` // host:port; beats PORT
	Port       int    `env:"PORT" envDefault:"8000"`
	PublicURL  string `env:"PUBLIC_URL"`

	StoreURL     core.Secret `env:"STORE_URL"`
	MySQLDSN     core.Secret `env:"PROXY_MYSQL_DSN"`
	DatabasePath string      `env:"DATABASE_PATH"`
	MasterKey    core.Secret `env:"SLUICE_MASTER_KEY"`
	StoreOutage  string      `env:"STORE_OUTAGE" envDefault:"closed"` // closed or open: what becomes of requests while the store is away
	SpoolDir     string      `env:"STORE_SPOOL_DIR"`                  // for settlements that the store did not take; empty: see boot; off: the log
	SpoolMax     int64       `env:"STORE_SPOOL_MAX_BYTES" envDefault:"67108864"`

	AdminAPIKey     core.Secret `env:"ADMIN_API_KEY"`
	AccountName     string      `env:"DEFAULT_ACCOUNT_NAME"`
	ProxyAPIKey     core.Secret `env:"DEFAULT_PROXY_API_KEY"`
	UpstreamBaseURL string      `env:"UPSTREAM_BASE_URL"`
	UpstreamAPIKey  core.Secret `env:"UPSTREAM_API_KEY"`
	UpstreamName    string      `env:"UPSTREAM_NAME"`
	AllowDefaults   bool        `env:"ALLOW_DEFAULT_CREDENTIALS"`

	AmazonQRefreshToken  core.Secret `env:"AMAZONQ_REFRESH_TOKEN"`
	AmazonQClientID      core.Secret `env:"AMAZONQ_CLIENT_ID"`
	AmazonQClientSecret  core.Secret `env:"AMAZONQ_CLIENT_SECRET"`
	AmazonQProfileARN    string      `env:"AMAZONQ_PROFILE_ARN"`
	AmazonQEndpoint      string      `env:"AMAZONQ_API_ENDPOINT"`   // of all amazonq nodes without an address of their own
	AmazonQTokenEndpoint string      `env:"AMAZONQ_TOKEN_ENDPOINT"` // likewise

	AWSRegion        string `env:"AWS_REGION"` // of the machine; Lambda sets it
	AWSDefaultRegion string `env:"AWS_DEFAULT_REGION"`

	RetryMax       int `env:"PROXY_RETRY_MAX" envDefault:"3"`            // tries on one node
	FailThreshold  int `env:"PROXY_FAIL_THRESHOLD" envDefault:"3"`       // counted failures in a row
	HealthInterval int `env:"PROXY_HEALTH_INTERVAL_SEC" envDefault:"30"` // seconds until a failed node is tried again
	SweepInterval  int `env:"HEALTH_ALL_INTERVAL_MIN" envDefault:"10"`   // minutes between checks of all nodes; 0: never

	SlowFirstByte time.Duration `env:"AFFINITY_MAX_FIRST_BYTE" envDefault:"15s"` // mean beyond which sessions leave a node; 0: never
	MaxErrorRate  float64       `env:"AFFINITY_MAX_ERROR_RATE" envDefault:"0.5"` // share, 0 to 1, beyond which they do; 0: never

	Warmup         bool `env:"WARMUP_ENABLED" envDefault:"true"`
	WarmupAttempts int  `env:"WARMUP_ATTEMPTS" envDefault:"2"`         // checks of a failed node before it comes back
	WarmupTimeout  int  `env:"WARMUP_TIMEOUT_MS" envDefault:"17000"`   // of each
	WarmupRequired int  `env:"WARMUP_REQUIRED_SUCCESS" envDefault:"1"` // of them
	WarmupAtOnce   int  `env:"WARMUP_CONCURRENCY" envDefault:"1"`      // nodes

	MaxBodyBytes   int64         `env:"MAX_BODY_BYTES" envDefault:"33554432"`   // of one request, decoded
	MaxBodyMemory  int64         `env:"MAX_BODY_MEMORY" envDefault:"536870912"` // of all requests together
	StreamSilence  time.Duration `env:"STREAM_SILENCE_TIMEOUT" envDefault:"300s"`
	AnswerTimeout  time.Duration `env:"ANSWER_TIMEOUT" envDefault:"30m"` // of a request that is not streamed
	DrainTimeout   time.Duration `env:"DRAIN_TIMEOUT" envDefault:"25s"`
	AllowPrivate   AllowPrivate  `env:"UPSTREAM_ALLOW_PRIVATE"`
	TrustedProxies Prefixes      `env:"TRUSTED_PROXIES"`
	CORSOrigins    []string      `env:"CORS_ALLOW_ORIGINS"`
	HTTPSProxy     core.Secret   `env:"HTTPS_PROXY"`
	NoProxy        string        `env:"NO_PROXY"`
	LimitsZone     Zone          `env:"LIMITS_TIME_ZONE"` // calendar days of limits; default UTC

	LogLevel  string `env:"LOG_LEVEL" envDefault:"info"`
	LogFormat string `env:"LOG_FORMAT" envDefault:"text"`
	AccessLog bool   `env:"ACCESS_LOG" envDefault:"true"`
	// share of requests without an error that the access log has, 0 to 1
	AccessSample float64 `env:"ACCESS_LOG_SAMPLE" envDefault:"1"`

	KeepRecords int `env:"USAGE_RECORDS_DAYS" envDefault:"30"` // days that a request's record is kept; 0: for ever
	KeepHours   int `env:"USAGE_HOURS_DAYS" envDefault:"90"`   // likewise hourly sums
	KeepDays    int `env:"USAGE_DAYS_DAYS" envDefault:"1095"`  // and daily ones

	AuditDays int `env:"AUDIT_DAYS" envDefault:"365"` // days that an entry of the audit log is kept

	MetricsEMF  bool   `env:"METRICS_EMF" envDefault:"true"` // functions write metrics for CloudWatch into their log
	MetricsAddr string `env:"METRICS_ADDR"`                  // host:port that serves /metrics without a key; empty: the main port does, with an admin key

	Traces Traces `env:"-"` // OTEL_*; filled by Parse

	CaptureURL string `env:"CAPTURE_URL"` // where bodies of accounts go that are captured: file:DIR or s3://BUCKET/PREFIX?region=R; empty: none are

	// Warnings are for the log: unknown names, beaten settings. Filled by Parse.
	Warnings []string `env:"-"`
	// Variables are all settings as administrators may see them. Filled by Parse.
	Variables []Variable `env:"-"`
}

// MachineRegion is the AWS region of the machine as AWS's SDKs find it: AWS_REGION, else AWS_DEFAULT_REGION.
func (c *Config) MachineRegion() string { return cmp.Or(c.AWSRegion, c.AWSDefaultRegion) }

// AllowPrivate is UPSTREAM_ALLOW_PRIVATE: "true" lets every private and loopback address through, a list of CIDRs those.
type AllowPrivate struct {
	All   bool
	CIDRs Prefixes
}

// UnmarshalText parses "", "true", "false" or a comma list of CIDRs.
func (a *AllowPrivate) UnmarshalText(b []byte) error {
	if v, err := strconv.ParseBool(string(b)); err == nil {
		a.All = v
		return nil
	}
	if err := a.CIDRs.UnmarshalText(b); err != nil {
		return fmt.Errorf("%w; use true, false or CIDRs such as 10.0.0.0/8,127.0.0.0/8", err)
	}
	return nil
}

// Prefixes is a comma list of CIDRs or single addresses.
type Prefixes []netip.Prefix

// UnmarshalText parses the list.
func (p *Prefixes) UnmarshalText(b []byte) error {
	for part := range strings.SplitSeq(string(b), ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		if a, err := netip.ParseAddr(part); err == nil {
			*p = append(*p, netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()))
			continue
		}
		x, err := netip.ParsePrefix(part)
		if err != nil {
			return fmt.Errorf("%q is no CIDR", part)
		}
		*p = append(*p, x.Masked())
	}
	return nil
}

// Zone is a time zone by its IANA name.
type Zone struct{ *time.Location }

// UnmarshalText loads the zone.
func (z *Zone) UnmarshalText(b []byte) error {
	l, err := time.LoadLocation(string(b))
	if err != nil {
		return fmt.Errorf("%q is no time zone such as Asia/Shanghai", b)
	}
	z.Location = l
	return nil
}

// OrUTC returns the zone, UTC when none is set.
func (z Zone) OrUTC() *time.Location {
	if z.Location == nil {
		return time.UTC
	}
	return z.Location
}

// Parse reads environ (a map of variable to value). The error lists every problem, one a line, each naming its variable
// and never a value that may be secret.
func Parse(environ map[string]string) (*Config, error) {
	c := &Config{}
	var problems []string
	set := make(map[string]string, len(environ))
	for k, v := range environ {
		if v != "" { // an empty variable counts as unset, as compose files pass it
			set[k] = v
		}
	}
	if err := env.ParseWithOptions(c, env.Options{Environment: set}); err != nil {
		problems = append(problems, envProblems(err, set)...)
	}
	for _, p := range c.check() {
		name, _, _ := strings.Cut(p, ":")
		// what could not be parsed was left at zero, which is a second problem of the same variable
		if !slices.ContainsFunc(problems, func(q string) bool { return strings.HasPrefix(q, name+":") }) {
			problems = append(problems, p)
		}
	}
	problems = append(problems, c.traces(set)...)
	c.Warnings = append(c.Warnings, unknownNames(set)...)
	c.beaten()
	c.Variables = Variables(set)
	if len(problems) > 0 {
		slices.Sort(problems)
		return nil, errors.New(strings.Join(problems, "\n"))
	}
	return c, nil
}

// envProblems rewrites the parser's errors: it names Go fields and may quote values, which can be secrets.
func envProblems(err error, set map[string]string) []string {
	var agg env.AggregateError
	if !errors.As(err, &agg) {
		return []string{err.Error()}
	}
	var out []string
	t := reflect.TypeFor[Config]()
	for _, e := range agg.Errors {
		var p env.ParseError
		if !errors.As(e, &p) {
			out = append(out, e.Error())
			continue
		}
		f, _ := t.FieldByName(p.Name)
		name := f.Tag.Get("env")
		why := "cannot be parsed"
		switch f.Type.Kind() {
		case reflect.Int:
			why = fmt.Sprintf("%q is no whole number", set[name])
		case reflect.Int64:
			why = fmt.Sprintf("%q is no whole number", set[name])
			if f.Type == reflect.TypeFor[time.Duration]() {
				why = fmt.Sprintf("%q is no duration such as 30s or 5m", set[name])
			}
		case reflect.Float64:
			why = fmt.Sprintf("%q is no number such as 0.5", set[name])
		case reflect.Bool:
			why = fmt.Sprintf("%q is neither true nor false", set[name])
		default:
			if p.Err != nil && f.Type != reflect.TypeFor[core.Secret]() {
				why = p.Err.Error()
			}
		}
		out = append(out, name+": "+why)
	}
	return out
}

func (c *Config) check() []string {
	var out []string
	bad := func(name, why string) { out = append(out, name+": "+why) }
	between := func(name string, v, lo, hi int) {
		if v < lo || v > hi {
			bad(name, fmt.Sprintf("%d is not between %d and %d", v, lo, hi))
		}
	}
	between("PORT", c.Port, 0, 65535)
	between("PROXY_RETRY_MAX", c.RetryMax, 1, 10)
	between("PROXY_FAIL_THRESHOLD", c.FailThreshold, 1, 100)
	between("PROXY_HEALTH_INTERVAL_SEC", c.HealthInterval, 1, 3600)
	between("HEALTH_ALL_INTERVAL_MIN", c.SweepInterval, 0, 1440)
	between("USAGE_RECORDS_DAYS", c.KeepRecords, 0, 36500)
	between("USAGE_HOURS_DAYS", c.KeepHours, 0, 36500)
	between("USAGE_DAYS_DAYS", c.KeepDays, 0, 36500)
	between("AUDIT_DAYS", c.AuditDays, 1, 36500)
	between("WARMUP_ATTEMPTS", c.WarmupAttempts, 1, 10)
	between("WARMUP_TIMEOUT_MS", c.WarmupTimeout, 100, 60_000)
	between("WARMUP_REQUIRED_SUCCESS", c.WarmupRequired, 1, 10)
	between("WARMUP_CONCURRENCY", c.WarmupAtOnce, 1, 8)
	if c.WarmupRequired > c.WarmupAttempts && c.WarmupRequired <= 10 && c.WarmupAttempts >= 1 {
		bad("WARMUP_REQUIRED_SUCCESS", "is more than WARMUP_ATTEMPTS: no node would come back")
	}
	if c.SlowFirstByte < 0 {
		bad("AFFINITY_MAX_FIRST_BYTE", "must not be negative; 0 turns it off")
	}
	if !(c.MaxErrorRate >= 0 && c.MaxErrorRate <= 1) { // and no NaN
		bad("AFFINITY_MAX_ERROR_RATE", "is not between 0 and 1")
	}
	if !(c.AccessSample >= 0 && c.AccessSample <= 1) {
		bad("ACCESS_LOG_SAMPLE", "is not between 0 and 1")
	}
	if c.MaxBodyBytes < 1024 {
		bad("MAX_BODY_BYTES", "must be at least 1024")
	}
	if c.MaxBodyMemory < c.MaxBodyBytes {
		bad("MAX_BODY_MEMORY", "must be at least MAX_BODY_BYTES")
	}
	if !slices.Contains([]string{"closed", "open"}, c.StoreOutage) {
		bad("STORE_OUTAGE", fmt.Sprintf("%q is neither closed nor open", c.StoreOutage))
	}
	if u := c.CaptureURL; u != "" && !strings.HasPrefix(u, "file:") && !strings.HasPrefix(u, "s3://") { // boot judges the rest
		bad("CAPTURE_URL", "is neither file:DIR nor s3://BUCKET/PREFIX?region=REGION")
	}
	if c.SpoolMax < 64<<10 {
		bad("STORE_SPOOL_MAX_BYTES", "must be at least 65536")
	}
	for name, d := range map[string]time.Duration{"STREAM_SILENCE_TIMEOUT": c.StreamSilence, "ANSWER_TIMEOUT": c.AnswerTimeout, "DRAIN_TIMEOUT": c.DrainTimeout} {
		if d <= 0 {
			bad(name, "must be above 0")
		}
	}
	for name, u := range map[string]string{"UPSTREAM_BASE_URL": c.UpstreamBaseURL, "PUBLIC_URL": c.PublicURL,
		"AMAZONQ_API_ENDPOINT": c.AmazonQEndpoint, "AMAZONQ_TOKEN_ENDPOINT": c.AmazonQTokenEndpoint} {
		if u == "" {
			continue
		}
		if err := CheckURL(u); err != nil {
			bad(name, err.Error())
		}
	}
	if c.AmazonQRefreshToken.IsZero() != c.AmazonQClientID.IsZero() || c.AmazonQClientID.IsZero() != c.AmazonQClientSecret.IsZero() {
		bad("AMAZONQ_REFRESH_TOKEN", "goes together with AMAZONQ_CLIENT_ID and AMAZONQ_CLIENT_SECRET; set all three or none")
	}
	if !c.HTTPSProxy.IsZero() { // it may hold a password
		if u, err := url.Parse(c.HTTPSProxy.Reveal()); err != nil || u.Host == "" {
			bad("HTTPS_PROXY", "is no URL such as http://proxy:3128")
		}
	}
	if !c.MasterKey.IsZero() {
		if _, err := seal.ParseLocalKey(c.MasterKey); err != nil {
			bad("SLUICE_MASTER_KEY", err.Error())
		}
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.LogLevel) {
		bad("LOG_LEVEL", fmt.Sprintf("%q is none of debug, info, warn, error", c.LogLevel))
	}
	if !slices.Contains([]string{"text", "json"}, c.LogFormat) {
		bad("LOG_FORMAT", fmt.Sprintf("%q is neither text nor json", c.LogFormat))
	}
	for name, s := range map[string]core.Secret{"ADMIN_API_KEY": c.AdminAPIKey, "DEFAULT_PROXY_API_KEY": c.ProxyAPIKey} {
		if s.IsZero() {
			continue
		}
		if err := CheckKey(s.Reveal()); err != nil {
			bad(name, err.Error())
		}
	}
	for name, s := range map[string]string{"DEFAULT_ACCOUNT_NAME": c.AccountName, "UPSTREAM_NAME": c.UpstreamName} {
		if err := CheckName(s); err != nil {
			bad(name, err.Error())
		}
	}
	switch k := c.ProxyAPIKey.Reveal(); {
	case k == "":
	case k == DefaultAdminKey || k == DefaultAdminKey2:
		bad("DEFAULT_PROXY_API_KEY", "is the published admin key; choose another")
	case k == c.AdminAPIKey.Reveal():
		bad("DEFAULT_PROXY_API_KEY", "must differ from ADMIN_API_KEY: who calls models would administer the gateway")
	}
	if c.AdminAPIKey.Reveal() == DefaultProxyKey {
		bad("ADMIN_API_KEY", "is the published proxy key; choose another")
	}
	return out
}

// beaten notes which of the three names for the store lost.
func (c *Config) beaten() {
	lost := func(name, by string) {
		c.Warnings = append(c.Warnings, name+" is ignored because "+by+" is set")
	}
	switch {
	case !c.StoreURL.IsZero():
		if !c.MySQLDSN.IsZero() {
			lost("PROXY_MYSQL_DSN", "STORE_URL")
		}
		if c.DatabasePath != "" {
			lost("DATABASE_PATH", "STORE_URL")
		}
	case !c.MySQLDSN.IsZero() && c.DatabasePath != "":
		lost("DATABASE_PATH", "PROXY_MYSQL_DSN")
	}
}

// Store returns the URL of the store: STORE_URL, else PROXY_MYSQL_DSN as mysql://DSN, else DATABASE_PATH or the default
// file as sqlite:PATH. Name is the variable that decided, for messages.
func (c *Config) Store() (u core.Secret, name string) {
	switch {
	case !c.StoreURL.IsZero():
		return c.StoreURL, "STORE_URL"
	case !c.MySQLDSN.IsZero():
		return core.NewSecret("mysql://" + c.MySQLDSN.Reveal()), "PROXY_MYSQL_DSN"
	case c.DatabasePath != "":
		return core.NewSecret("sqlite:" + c.DatabasePath), "DATABASE_PATH"
	}
	return core.NewSecret("sqlite:data/sluice.db"), "STORE_URL"
}

// Address is where to listen.
func (c *Config) Address() string {
	if c.ListenAddr != "" {
		return c.ListenAddr
	}
	return ":" + strconv.Itoa(c.Port)
}

// AdminKey returns the operator's own admin key, empty when ADMIN_API_KEY is unset or is a published default.
func (c *Config) AdminKey() core.Secret {
	if k := c.AdminAPIKey.Reveal(); k == DefaultAdminKey || k == DefaultAdminKey2 {
		return core.Secret{}
	}
	return c.AdminAPIKey
}

// unknownNames warns of SLUICE_* names that nothing reads.
func unknownNames(set map[string]string) []string {
	known := []string{"SLUICE_URL", "SLUICE_ADMIN_KEY"} // of commands: which gateway they call, see package cli
	t := reflect.TypeFor[Config]()
	for i := range t.NumField() {
		if n := t.Field(i).Tag.Get("env"); n != "" && n != "-" {
			known = append(known, n)
		}
	}
	var out []string
	for name := range set {
		if !strings.HasPrefix(name, "SLUICE_") || slices.Contains(known, name) || kubernetes(name) {
			continue
		}
		msg := name + " is no setting and is ignored"
		if near := nearest(strings.TrimPrefix(name, "SLUICE_"), known); near != "" {
			msg += "; did you mean " + near + "?"
		}
		out = append(out, msg)
	}
	slices.Sort(out)
	return out
}

// kubernetes reports names that a cluster injects for a service called sluice.
func kubernetes(name string) bool {
	rest := strings.TrimPrefix(name, "SLUICE_")
	return rest == "PORT" || strings.HasPrefix(rest, "PORT_") || strings.HasPrefix(rest, "SERVICE_") ||
		strings.Contains(rest, "_SERVICE_") || strings.Contains(rest, "_PORT_") || strings.HasSuffix(rest, "_PORT")
}

func nearest(name string, known []string) string {
	best, score := "", 5 // more than four edits is no slip
	for _, k := range known {
		for _, cand := range []string{k, strings.TrimPrefix(k, "SLUICE_")} {
			if d := edits(name, cand); d < score {
				best, score = k, d
			}
		}
	}
	return best
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost = 1 + min(diag, row[j], row[j+1])
			}
			diag, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
