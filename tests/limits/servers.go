package main

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
)

// errMissing is the error of a server that this machine does not have.
var errMissing = errors.New("NOT SHOWN")

// The stores that can be shown.
const (
	storeMemory   = "memory"
	storeRedis    = "redis"
	storeDynamoDB = "dynamodb"
)

// required reports whether STORETEST_REQUIRE names a store: then its absence is an error.
func required(name string) bool {
	return slices.Contains(strings.Split(os.Getenv("STORETEST_REQUIRE"), ","), name)
}

// localEnvironment is what the AWS SDK needs to talk to DynamoDB Local, and nothing of the user's.
func localEnvironment() map[string]string {
	return map[string]string{"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull}
}

// server is a running server of ours.
type server struct {
	cmd  *exec.Cmd
	addr string // host:port
	url  string // of a store in it
}

func (s *server) stop() {
	if s == nil || s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait() // it was killed, which is an error
}

// startServer starts the server of a store with its files in dir. errMissing when this machine does not have it.
func startServer(ctx context.Context, name, dir string) (*server, error) {
	switch name {
	case storeRedis:
		return startRedis(ctx, dir)
	case storeDynamoDB:
		return startDynamoDB(ctx)
	}
	return &server{}, nil
}

func startRedis(ctx context.Context, dir string) (*server, error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		if program, err = exec.LookPath("valkey-server"); err != nil {
			return nil, fmt.Errorf("%w: there is no redis-server; install it", errMissing)
		}
	}
	s, err := spawn(func(host, port string) *exec.Cmd {
		return exec.Command(program, "--port", port, "--bind", host, "--save", "", "--dir", dir)
	})
	if err != nil {
		return nil, err
	}
	s.url = "redis://" + s.addr
	return s, s.await(ctx, func() error {
		_, err := askRedis(ctx, s.addr, "PING")
		return err
	})
}

func startDynamoDB(ctx context.Context) (*server, error) {
	cache := os.Getenv("SLUICE_TEST_CACHE")
	if home, err := os.UserHomeDir(); cache == "" && err == nil {
		cache = filepath.Join(home, ".cache", "sluice-tests")
	}
	jars, _ := filepath.Glob(filepath.Join(cache, "dynamodb-local-*", "DynamoDBLocal.jar"))
	if len(jars) == 0 {
		return nil, fmt.Errorf("%w: there is no DynamoDB Local; tests/stores/dynamodb.sh fetches it", errMissing)
	}
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, fmt.Errorf("%w: DynamoDB Local needs java, version 17 or later", errMissing)
	}
	s, err := spawn(func(_, port string) *exec.Cmd {
		cmd := exec.Command(java, "-Xmx512m", "-Djava.library.path=./DynamoDBLocal_lib", "-jar", "DynamoDBLocal.jar",
			"-inMemory", "-sharedDb", "-disableTelemetry", "-port", port)
		cmd.Dir = filepath.Dir(jars[len(jars)-1])
		return cmd
	})
	if err != nil {
		return nil, err
	}
	endpoint := "http://" + s.addr
	s.url = "dynamodb://limits?region=eu-west-1&endpoint=" + url.QueryEscape(endpoint)
	return s, s.await(ctx, func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint, nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		return res.Body.Close()
	})
}

// spawn starts a server on a free port of this machine.
func spawn(command func(host, port string) *exec.Cmd) (*server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	host, port, _ := net.SplitHostPort(addr)
	if err := l.Close(); err != nil {
		return nil, err
	}
	cmd := command(host, port)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return &server{cmd: cmd, addr: addr}, nil
}

// await asks until the server answers; one that does not is stopped.
func (s *server) await(ctx context.Context, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		if pause(ctx, 50*time.Millisecond); ctx.Err() != nil {
			s.stop()
			return fmt.Errorf("%s does not answer: %w", s.cmd.Path, err)
		}
	}
}

// askRedis sends one command in a line and returns the answer's first 64 KB.
func askRedis(ctx context.Context, addr, command string) (string, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	if _, err := c.Write([]byte(command + "\r\nQUIT\r\n")); err != nil {
		return "", err
	}
	var out []byte
	buf := make([]byte, 4096)
	for len(out) < 64<<10 {
		n, err := c.Read(buf)
		if out = append(out, buf[:n]...); err != nil {
			break // QUIT ends the connection
		}
	}
	if len(out) == 0 || out[0] == '-' {
		return "", fmt.Errorf("the server says %q", out)
	}
	return string(out), nil
}
