package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	// DefaultWait is how long OpenShared waits for a server.
	DefaultWait = time.Minute

	// DefaultMaxConns is how many connections one instance opens at most.
	DefaultMaxConns = 20

	pingWithin = 5 * time.Second
	sayEvery   = 5 * time.Second
	idleConn   = 30 * time.Second
	lifeOfConn = 30 * time.Minute // so that instances move to a server that came back
)

// Settings are what an operator may add to a database's URL for this program; see CutSettings.
type Settings struct {
	Wait     time.Duration // how long to wait for the server at start; negative: not at all
	MaxConns int           // connections of this instance at most
}

// CutSettings takes sluice_wait (a duration such as 90s) and sluice_max_conns (2 to 1000) out of the parameters at the
// end of a URL or DSN. The rest stays as it is.
func CutSettings(dsn string) (rest string, s Settings, err error) {
	s = Settings{Wait: DefaultWait, MaxConns: DefaultMaxConns}
	base, params, ok := cutLast(dsn, "?")
	if !ok {
		return dsn, s, nil
	}
	var others []string
	for p := range strings.SplitSeq(params, "&") {
		switch name, value, _ := strings.Cut(p, "="); name {
		case "sluice_wait":
			if s.Wait, err = time.ParseDuration(value); err != nil || s.Wait < 0 || s.Wait > time.Hour {
				return "", s, errors.New("sluice_wait must be a duration of at most 1h, such as 90s")
			}
			if s.Wait == 0 {
				s.Wait = -1
			}
		case "sluice_max_conns":
			if s.MaxConns, err = strconv.Atoi(value); err != nil || s.MaxConns < 2 || s.MaxConns > 1000 {
				return "", s, errors.New("sluice_max_conns must be a number from 2 to 1000")
			}
		default:
			others = append(others, p)
		}
	}
	if len(others) == 0 {
		return base, s, nil
	}
	return base + "?" + strings.Join(others, "&"), s, nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// OpenOptions are for OpenShared.
type OpenOptions struct {
	Name     string // of the database in errors and log lines; no password in it
	DB       *sql.DB
	Dialect  Dialect
	Settings Settings
	Logger   *slog.Logger // is told when the server lets itself be waited for; nil: nobody is
	// Explain says in words what an error at start means and what to do; "" when it cannot.
	Explain func(error) string
}

// OpenShared waits for the server, brings the schema up to date and returns the store, which closes o.DB. A server that
// is not there yet is waited for, within Settings.Wait; one that refuses is an error at once. The error is one line.
func OpenShared(ctx context.Context, o OpenOptions) (*Shared, error) {
	o.DB.SetMaxOpenConns(o.Settings.MaxConns)
	o.DB.SetMaxIdleConns(o.Settings.MaxConns)
	o.DB.SetConnMaxIdleTime(idleConn)
	o.DB.SetConnMaxLifetime(lifeOfConn)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	e := NewEngine(Options{Name: o.Name, Writer: o.DB, Reader: o.DB, Dialect: o.Dialect})
	if err := e.await(ctx, &o); err != nil {
		_ = o.DB.Close() // the first error tells more
		if why := o.Explain(err); why != "" {
			return nil, fmt.Errorf("%s: %w", why, oneLine{err})
		}
		return nil, oneLine{err}
	}
	return NewShared(e, o.DB.Close), nil
}

// await migrates as soon as the server can be reached.
func (e *Engine) await(ctx context.Context, o *OpenOptions) error {
	begin := time.Now()
	var said time.Time
	for wait := 200 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := e.reach(ctx)
		if err == nil {
			err = e.Migrate(ctx)
		}
		waited := time.Since(begin)
		switch {
		case err == nil && !said.IsZero():
			o.Logger.Info("the store's server is there", "store", e.name, "waited", waited.Round(time.Millisecond))
			return nil
		case err == nil || ctx.Err() != nil || !errors.Is(err, ErrAway):
			return err
		case waited+wait > o.Settings.Wait:
			return fmt.Errorf("gave up after %v; is the server running, and are host and port right? %w", waited.Round(time.Second), err)
		}
		if time.Since(said) >= sayEvery {
			said = time.Now()
			o.Logger.Warn("waiting for the store's server", "store", e.name, "for at most", (o.Settings.Wait - waited).Round(time.Second), "error", oneLine{err})
		}
		if err := pause(ctx, wait); err != nil {
			return e.fail(ctx, "connect", err)
		}
	}
}

// reach makes a connection.
func (e *Engine) reach(ctx context.Context) error {
	ctx, cancel := within(ctx, pingWithin)
	defer cancel()
	return e.fail(ctx, "connect", e.w.PingContext(ctx))
}

// oneLine is an error whose text is on one line, whatever a driver or server put into it.
type oneLine struct{ err error }

func (e oneLine) Error() string { return strings.Join(strings.Fields(e.err.Error()), " ") }
func (e oneLine) Unwrap() error { return e.err }

// Unreachable reports whether an error comes from the way to a server and not from the server. It is for Dialect.Away.
func Unreachable(err error) bool {
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return true
	}
	for _, e := range []error{io.EOF, io.ErrUnexpectedEOF, driver.ErrBadConn, net.ErrClosed, os.ErrDeadlineExceeded, context.DeadlineExceeded} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
