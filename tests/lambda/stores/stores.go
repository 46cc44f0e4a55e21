// Package stores starts the stores that functions can have, for tests of real function binaries: a Redis in the test's own
// process, which is always there, redis-server, and DynamoDB Local.
package stores

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// The stores.
const (
	InProcess = "in-process redis"
	Redis     = "redis"
	DynamoDB  = "dynamodb"
)

// ErrMissing is the error of a server that this machine does not have.
var ErrMissing = errors.New("NOT TESTED")

// Required reports whether STORETEST_REQUIRE names a store: then its absence is a failure.
func Required(name string) bool {
	return slices.Contains(strings.Split(os.Getenv("STORETEST_REQUIRE"), ","), name)
}

// Credentials are what the AWS SDK needs to talk to DynamoDB Local, and nothing of the user's, as NAME=value.
func Credentials() []string {
	return []string{"AWS_ACCESS_KEY_ID=local", "AWS_SECRET_ACCESS_KEY=local", "AWS_SESSION_TOKEN=", "AWS_PROFILE=",
		"AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull}
}

// Server is a running store.
type Server struct {
	Addr string // host:port
	URL  string // STORE_URL of it; of DynamoDB without a table that exists
	stop func()
}

// Stop ends it.
func (s *Server) Stop() { s.stop() }

// Table is the STORE_URL of a table of DynamoDB.
func (s *Server) Table(name string) string {
	return "dynamodb://" + name + "?region=eu-west-1&endpoint=" + url.QueryEscape("http://"+s.Addr)
}

// Start starts a store by its name. dir is for files.
func Start(ctx context.Context, name, dir string) (*Server, error) {
	switch name {
	case InProcess:
		m := miniredis.NewMiniRedis()
		if err := m.Start(); err != nil {
			return nil, err
		}
		return &Server{Addr: m.Addr(), URL: "redis://" + m.Addr(), stop: m.Close}, nil
	case Redis:
		program, err := exec.LookPath("redis-server")
		if err != nil {
			return nil, fmt.Errorf("%w: there is no redis-server; install it", ErrMissing)
		}
		s, err := spawn(ctx, func(host, port string) *exec.Cmd {
			return exec.Command(program, "--port", port, "--bind", host, "--save", "", "--dir", dir)
		}, answersPing)
		if err == nil {
			s.URL = "redis://" + s.Addr
		}
		return s, err
	}
	return startDynamoDB(ctx)
}

func startDynamoDB(ctx context.Context) (*Server, error) {
	cache := os.Getenv("SLUICE_TEST_CACHE")
	if home, err := os.UserHomeDir(); cache == "" && err == nil {
		cache = filepath.Join(home, ".cache", "sluice-tests")
	}
	jars, _ := filepath.Glob(filepath.Join(cache, "dynamodb-local-*", "DynamoDBLocal.jar"))
	java, err := exec.LookPath("java")
	if len(jars) == 0 || err != nil {
		return nil, fmt.Errorf("%w: DynamoDB Local is not there; tests/stores/dynamodb.sh fetches it, and it needs java 17", ErrMissing)
	}
	s, err := spawn(ctx, func(_, port string) *exec.Cmd {
		cmd := exec.Command(java, "-Xmx512m", "-Djava.library.path=./DynamoDBLocal_lib", "-jar", "DynamoDBLocal.jar",
			"-inMemory", "-sharedDb", "-disableTelemetry", "-port", port)
		cmd.Dir = filepath.Dir(jars[len(jars)-1])
		return cmd
	}, answersHTTP)
	if err == nil {
		s.URL = s.Table("sluice")
	}
	return s, err
}

func answersPing(ctx context.Context, addr string) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 7))
	return err
}

func answersHTTP(ctx context.Context, addr string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// FreeAddr is an address of this machine where nobody listens.
func FreeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func spawn(ctx context.Context, command func(host, port string) *exec.Cmd, answers func(context.Context, string) error) (*Server, error) {
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	host, port, _ := net.SplitHostPort(addr)
	cmd := command(host, port)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &Server{Addr: addr, stop: func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed, which is an error
	}}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := answers(ctx, addr)
		if err == nil {
			return s, nil
		}
		select {
		case <-ctx.Done():
			s.stop()
			return nil, fmt.Errorf("%s does not start: %w", cmd.Path, err)
		case <-tick.C:
		}
	}
}
