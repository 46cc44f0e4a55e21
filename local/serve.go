package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"sluice/shared/boot"
	"sluice/shared/config"
	"sluice/shared/core"
	"sluice/shared/gateway"
	"sluice/shared/logging"
	"sluice/shared/metrics"
)

const (
	afterDrain = 3 * time.Second // for handlers to end their streams once told to
	lastBytes  = time.Second     // for the ends of answers whose handlers have returned
)

// gcPercent lets the heap grow to five times what is live before it is collected. What is live is small (some 10 MiB, 40
// KiB an open stream), so the default of 100 would collect a hundred times a second under load. GOGC overrides it, and
// GOMEMLIMIT bounds it.
const gcPercent = 400

// serve runs the gateway until SIGINT or SIGTERM. A second signal ends it at once.
func serve(c *config.Config, stderr io.Writer) (err error) {
	log, lines := logging.NewBuffered(stderr, c.LogLevel, c.LogFormat)
	defer lines.Flush()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)

	control := core.NewSecret(rand.Text() + rand.Text())
	opening, giveUp := context.WithCancelCause(context.Background())
	defer giveUp(nil)
	opened := listen(signals, giveUp)
	counters := metrics.New(metrics.Options{Version: versionText(), Log: log})
	app, err := boot.Open(opening, boot.Options{Part: boot.Everything(), Config: c, Metrics: counters, Scrape: counters.Handler(), Openers: openers, Old: oldDatabases, Log: log, Version: versionText(), Access: lines, Control: control, CLI: true, Trace: boot.Tracing, Console: console,
		AWS: boot.AWSFromEnvironment(environ(os.Environ()))})
	opened()
	switch {
	case opening.Err() != nil && err == nil:
		return app.Close()
	case opening.Err() != nil:
		log.Info("stopped before the store was there")
		return nil
	case err != nil:
		return err
	}
	defer func() { err = errors.Join(err, app.Close()) }()

	ln, err := net.Listen("tcp", c.Address())
	if err != nil {
		return listenError(c, err)
	}
	defer ln.Close()
	ctl, err := writeControl(app.Opened.File, ln.Addr(), control)
	if err != nil {
		log.Warn("commands on this machine cannot reach the running gateway", "error", err)
	}
	defer ctl.remove()

	base, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	srv := &http.Server{
		Handler:           app.Handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    128 << 10,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	counters.WatchNodes(app.Nodes())
	at, scraped, err := serveMetrics(c.MetricsAddr, counters.Handler())
	if err != nil {
		return err
	}
	defer scraped()
	announce(stderr, app, ln.Addr(), at)

	var wg sync.WaitGroup
	wg.Go(func() { tick(base, log, jobs(app, c)) })
	failed := make(chan error, 1)
	wg.Go(func() { failed <- srv.Serve(ln) })

	select {
	case err := <-failed:
		stop(nil)
		wg.Wait()
		return fmt.Errorf("serving: %w", err)
	case s := <-signals:
		log.Info("shutting down", "signal", s.String(), "grace", c.DrainTimeout.String())
	}
	drain(app, c.DrainTimeout, stop, signals)
	stop(gateway.ErrDraining) // ends the jobs, too
	closeServer(srv)
	wg.Wait()
	log.Info("stopped")
	return nil
}

// closeServer ends the connections. An answer's last chunk is written after its handler has returned, so what is idle to the
// drain may still be torn by Close alone.
func closeServer(srv *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), lastBytes)
	defer cancel()
	if srv.Shutdown(ctx) != nil {
		_ = srv.Close()
	}
}

var errStopped = errors.New("stopped by a signal")

// listen cancels at the first signal: a store that is not there yet may be waited for. It ends when the function it returns is
// called; a signal that comes later is left in the channel.
func listen(signals <-chan os.Signal, cancel context.CancelCauseFunc) (done func()) {
	end, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		select {
		case <-signals:
			cancel(errStopped)
		case <-end:
		}
	}()
	return func() {
		close(end)
		<-over
	}
}

// drain refuses new requests, gives running ones their time, then has them end with an error event.
func drain(app *boot.App, grace time.Duration, stop context.CancelCauseFunc, signals <-chan os.Signal) {
	idle := app.Drain.Start()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-idle:
		return
	case <-timer.C:
	case <-signals:
	}
	stop(gateway.ErrDraining)
	timer.Reset(afterDrain)
	select {
	case <-idle:
	case <-timer.C:
	}
}

func announce(w io.Writer, app *boot.App, addr, scraped net.Addr) {
	url := localURL(addr)
	var b strings.Builder // one write: it must not be mixed with the log
	fmt.Fprintf(&b, "Sluice %s\n- Listening on %s (base URL %s)\n- Admin page: %s/admin\n- Database: %s\n", versionText(), addr, url, url, app.Opened.Where)
	if scraped != nil {
		fmt.Fprintf(&b, "- Metrics: %s/metrics\n", localURL(scraped))
	}
	for _, n := range app.Notes {
		b.WriteString("- " + n + "\n")
	}
	_, _ = io.WriteString(w, b.String())
}

// localURL is how this machine reaches a listener.
func localURL(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return "http://" + addr.String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}

func listenError(c *config.Config, err error) error {
	name := "PORT"
	if c.ListenAddr != "" {
		name = "LISTEN_ADDR"
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s: address %s is in use; stop the other program or choose another port", name, c.Address())
	}
	return fmt.Errorf("%s: cannot listen on %s: %w", name, c.Address(), err)
}

// serveMetrics serves metrics without a key on an address of their own, which it returns; empty: nothing. The function it
// returns ends that.
func serveMetrics(addr string, handler http.Handler) (at net.Addr, stop func(), err error) {
	if addr == "" {
		return nil, func() {}, nil
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, nil, fmt.Errorf("METRICS_ADDR: cannot listen on %s: %w", addr, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", handler)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(ln)
	}()
	return ln.Addr(), func() {
		_ = srv.Close()
		<-done
	}, nil
}
