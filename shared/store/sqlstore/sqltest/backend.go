//go:build unix

package sqltest

import (
	"context"
	"database/sql"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"sluice/shared/store"
)

// Backend is one kind of server as the tests see it.
type Backend struct {
	Name string // as STORETEST_REQUIRE has it
	// Open opens the store.
	Open func(ctx context.Context, dsn string, log *slog.Logger) (store.Store, error)
	// Look opens the database behind the store's back.
	Look func(tb testing.TB, dsn string) *sql.DB
	// Empty makes an empty database on the server and returns its DSN.
	Empty func(tb testing.TB, s *Server) string
	// Via is the DSN with another address, host:port.
	Via func(dsn, addr string) string
	// Start starts a server of its own, which ends with the test; it skips or fails the test by Missing.
	Start func(tb testing.TB) *Server
	// Refused are DSNs that must fail at once, made from one that works, with what the error must say.
	Refused []Refusal
	// Trips are how many the calls of the hot path may cost.
	Trips Trips
}

// Refusal is a DSN that must be refused at once.
type Refusal struct {
	Why   string
	DSN   func(good string) string
	Setup []string // statements for the server before
	Words []string
}

// Trips are round trips to the server.
type Trips struct {
	Unlimited, Rate, Leased, Pair, Refused, Renew   int // Admit with nothing limited, a key's RPM, also its concurrency, account too
	SettleUnlimited, SettleLeased, SettlePair, Late int
}

// Missing skips the test because there is no server, loudly; it fails where STORETEST_REQUIRE has the name.
func Missing(tb testing.TB, name, what string) {
	tb.Helper()
	if slices.Contains(strings.Split(os.Getenv("STORETEST_REQUIRE"), ","), name) {
		tb.Fatalf("STORETEST_REQUIRE has %s, but %s", name, what)
	}
	tb.Skipf("NOT TESTED: %s. Install it to test the store on it.", what)
}

// freePort is a loopback port that nobody listens on.
func freePort(tb testing.TB) string {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// WithParam adds a parameter to a DSN.
func WithParam(dsn, name, value string) string {
	sep := "?"
	if strings.Contains(dsn, "?") {
		sep = "&"
	}
	return dsn + sep + name + "=" + url.QueryEscape(value)
}
