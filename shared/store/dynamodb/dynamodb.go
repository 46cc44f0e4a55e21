package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/aws/smithy-go/logging"

	"sluice/shared/awsenv"
	"sluice/shared/store"
)

var _ store.Store = (*Store)(nil)

// Options are what tests and unusual hosts change. The zero value is right.
type Options struct {
	// HTTPClient sends the requests; nil: one that keeps many connections.
	HTTPClient interface {
		Do(*http.Request) (*http.Response, error)
	}
	// Timeout bounds one request to the table with all its tries; 0: 5 s.
	Timeout time.Duration
	// Now tells whether an hour is closed already when its record comes; nil: time.Now.
	Now func() time.Time
	// Keep is for how long usage is kept: records get a TTL when they are written, so that removing them costs nothing.
	// What Retain is told takes its place.
	Keep store.Retention
}

// Store is a store in one table. It is safe for concurrent use.
type Store struct {
	db      *sdk.Client
	table   string
	where   string
	clock   clock
	timeout time.Duration
	closed  atomic.Bool
	keeping atomic.Pointer[store.Retention]
	floors  atomic.Pointer[floors]

	hots   cache[subject, *hot]
	held   cache[holding, held]
	gens   cache[string, time.Time] // when an account's generation was read last
	marks  cache[mark, time.Time]   // which hours are known to the index of records
	broken cache[string, *progress] // settlements that failed half-way
}

// target is what a URL says.
type target struct{ table, region, endpoint string }

var tableName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{3,255}$`)

// parse reads dynamodb://TABLE?region=R&endpoint=U, with or without the scheme.
func parse(raw string) (target, error) {
	rest := strings.TrimPrefix(strings.TrimPrefix(raw, "dynamodb:"), "//")
	name, query, _ := strings.Cut(rest, "?")
	t := target{table: strings.TrimSuffix(name, "/")}
	if !tableName.MatchString(t.table) {
		return t, errors.New("dynamodb: needs a table of 3 to 255 letters, digits, _ . or -, such as dynamodb://sluice?region=eu-west-1")
	}
	q, err := url.ParseQuery(query)
	if err != nil {
		return t, errors.New("dynamodb: what follows the ? is not name=value pairs joined by &")
	}
	for name, values := range q {
		switch {
		case len(values) != 1:
			return t, fmt.Errorf("dynamodb: %q is given more than once", name)
		case name == "region":
			t.region = values[0]
		case name == "endpoint":
			t.endpoint = values[0]
		default:
			return t, fmt.Errorf("dynamodb: unknown setting %q; there are region and endpoint", name)
		}
	}
	if t.endpoint != "" {
		if u, err := url.Parse(t.endpoint); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil {
			return t, errors.New("dynamodb: endpoint must be http://HOST:PORT or https://HOST")
		}
	}
	return t, nil
}

// Open opens the store in the table that the URL names: dynamodb://TABLE?region=eu-west-1&endpoint=http://HOST:PORT. Region
// and credentials come from where the AWS SDK finds them when the URL is silent. A table that has the right keys and is
// empty is taken into use; a missing or foreign one is an error of one line.
func Open(ctx context.Context, rawURL string, o Options) (*Store, error) {
	s, err := connect(ctx, rawURL, o)
	if err != nil {
		return nil, err
	}
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func connect(ctx context.Context, rawURL string, o Options) (*Store, error) {
	t, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	cfg, err := awsenv.Load(ctx, t.region)
	if err != nil {
		return nil, fmt.Errorf("dynamodb: the AWS configuration of this machine is not readable: %w", err)
	}
	if cfg.Region == "" {
		return nil, errors.New("dynamodb: needs a region: add ?region=eu-west-1 to the URL or set AWS_REGION")
	}
	s := &Store{table: t.table, where: "dynamodb table " + t.table + " in " + cfg.Region, timeout: o.Timeout}
	s.keeping.Store(&o.Keep)
	if s.clock.now = o.Now; s.clock.now == nil {
		s.clock.now = time.Now
	}
	if s.timeout == 0 {
		s.timeout = 5 * time.Second
	}
	next := doer(o.HTTPClient)
	if next == nil {
		next = awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
			tr.MaxIdleConns, tr.MaxIdleConnsPerHost = 512, 256
		})
	}
	s.db = sdk.NewFromConfig(cfg, func(so *sdk.Options) {
		so.Logger = logging.Nop{}
		so.DisableValidateResponseChecksum = true // TLS does that
		so.Retryer = aws.NopRetryer{}             // call tries again, because it must know what a try may have done
		so.HTTPClient = listener{next, &s.clock}
		so.Credentials = credentials{cfg.Credentials}
		if t.endpoint != "" {
			so.BaseEndpoint = &t.endpoint
		}
	})
	return s, nil
}

// credentials marks the errors of a provider, which have no type of their own.
type credentials struct{ aws.CredentialsProvider }

func (c credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	if c.CredentialsProvider == nil {
		return aws.Credentials{}, &credentialsError{errors.New("none")}
	}
	v, err := c.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		return v, &credentialsError{err}
	}
	return v, nil
}

// Where says for people which table this is.
func (s *Store) Where() string { return s.where }

// usable reports why the store cannot serve.
func (s *Store) usable(ctx context.Context) error {
	if s.closed.Load() {
		return errClosed
	}
	return ctx.Err()
}

// Ping implements store.Store: it reads the schema's item.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	_, err := s.get(ctx, "ping", schemaKey(), "v")
	return err
}

// Flush implements store.Store: nothing is buffered.
func (s *Store) Flush(ctx context.Context) error { return s.usable(ctx) }

// Close implements store.Store.
func (s *Store) Close() error {
	s.closed.Store(true)
	return nil
}

// lasting is a context for what must be done although the caller has gone.
func (s *Store) lasting(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 2*s.timeout)
}
