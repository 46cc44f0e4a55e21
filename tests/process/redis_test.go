//go:build unix

package process

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/shared/store/sqlstore/sqltest"
	"sluice/shared/upstream/upstreamtest"
)

// certificate writes a certificate of its own authority for 127.0.0.1, and its key.
func certificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis of a test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "EC PRIVATE KEY", private)
}

// TestRedisTLS: a gateway on a Redis that speaks TLS only and wants a password; a certificate that nobody vouches for is one
// clear line, and so is plain text.
func TestRedisTLS(t *testing.T) {
	program := sqltest.Program("redis-server", "valkey-server")
	if program == "" {
		sqltest.Missing(t, "redis", "there is no redis-server (apt-get install redis-server)")
	}
	dir := t.TempDir()
	cert, key := certificate(t, dir)
	s := sqltest.NewServer(t, nil, dir, program, func(port string) []string {
		return []string{"--port", "0", "--tls-port", port, "--bind", "127.0.0.1", "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert,
			"--tls-auth-clients", "no", "--requirepass", "hunter2", "--save", "", "--dir", dir}
	})
	s.Up(t)
	sqltest.Await(t, "the server's start", func(ctx context.Context) error {
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // only whether it listens
		c, err := d.DialContext(ctx, "tcp", "127.0.0.1:"+s.Port)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
	up := upstreamtest.NewAnthropic(t)
	at := "127.0.0.1:" + s.Port
	env := map[string]string{"STORE_URL": "rediss://:hunter2@" + at + "/0", "SSL_CERT_FILE": cert, "UPSTREAM_BASE_URL": up.URL, "UPSTREAM_API_KEY": "sk-ant-x",
		"DEFAULT_PROXY_API_KEY": proxyKey, "ADMIN_API_KEY": adminKey}
	gw := start(t, dir, env)
	if status, _, _ := gw.ask(proxyKey); status != 200 {
		t.Errorf("status %d", status)
	}
	gw.stop()
	does(t, dir, env, 0, []string{"requests        1"}, "store", "check")

	for why, bad := range map[string]map[string]string{
		"an unknown authority": {"SSL_CERT_FILE": key}, "the wrong password": {"STORE_URL": "rediss://:hunter3@" + at + "/0"}, "plain text": {"STORE_URL": "redis://:hunter2@" + at + "/0"},
	} {
		e := with(env)
		for k, v := range bad {
			e[k] = v
		}
		if out := does(t, dir, e, 1, []string{"STORE_URL: "}, "serve"); len(out) > 400 || strings.Contains(out, "hunter") {
			t.Errorf("%s: more than a clear line, or a secret: %s", why, out)
		}
	}
}

// TestRedisWithoutMemory: a server that takes no more writes ends the start with one line that names the variable and the
// remedy, and nothing half-written stays behind.
func TestRedisWithoutMemory(t *testing.T) {
	program := sqltest.Program("redis-server", "valkey-server")
	if program == "" {
		sqltest.Missing(t, "redis", "there is no redis-server (apt-get install redis-server)")
	}
	dir := t.TempDir()
	s := sqltest.NewServer(t, nil, dir, program, func(port string) []string {
		return []string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", dir, "--maxmemory", "1", "--maxmemory-policy", "noeviction"}
	})
	s.Up(t)
	sqltest.Await(t, "the server's start", func(ctx context.Context) error {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:"+s.Port)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
	env := map[string]string{"STORE_URL": "redis://127.0.0.1:" + s.Port}
	if out := does(t, dir, env, 1, []string{"STORE_URL: ", "out of memory", "maxmemory"}, "serve"); strings.Count(strings.TrimSpace(out), "\n") > 0 {
		t.Errorf("more than one line: %s", out)
	}
}
