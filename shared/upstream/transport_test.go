package upstream_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/shared/upstream"
)

func TestPolicy(t *testing.T) {
	open := upstream.Policy{}
	private := upstream.Policy{AllowPrivate: true}
	some := upstream.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("fc00::/7")}}
	for _, c := range []struct {
		addr, why          string
		open, private, cid bool
	}{
		{"8.8.8.8", "public", true, true, true},
		{"2606:4700::1111", "public", true, true, true},
		{"172.32.0.1", "just outside of private", true, true, true},
		{"127.0.0.1", "loopback", false, true, false},
		{"127.255.255.254", "loopback", false, true, false},
		{"::1", "loopback", false, true, false},
		{"10.0.0.1", "private", false, true, false},
		{"10.1.2.3", "private, listed", false, true, true},
		{"172.16.0.1", "private", false, true, false},
		{"192.168.1.1", "private", false, true, false},
		{"fd12::1", "unique local, listed", false, true, true},
		{"169.254.169.254", "metadata", false, false, false},
		{"169.254.1.1", "link-local, though listed", false, false, false},
		{"fe80::1", "link-local", false, false, false},
		{"fd00:ec2::254", "metadata over IPv6, though listed", false, false, false},
		{"fd20:ce::254", "metadata over IPv6, though listed", false, false, false},
		{"100.100.100.200", "metadata", false, false, false},
		{"192.0.0.192", "metadata", false, false, false},
		{"168.63.129.16", "metadata", false, false, false},
		{"100.64.0.1", "carrier-grade NAT", false, false, false},
		{"198.18.0.1", "benchmarking", false, false, false},
		{"0.0.0.0", "unspecified", false, false, false},
		{"0.1.2.3", "this network", false, false, false},
		{"::", "unspecified", false, false, false},
		{"224.0.0.1", "multicast", false, false, false},
		{"ff02::1", "multicast", false, false, false},
		{"255.255.255.255", "broadcast", false, false, false},
		{"240.0.0.1", "reserved", false, false, false},
		{"fec0::1", "site-local", false, false, false},
		{"::ffff:127.0.0.1", "loopback, v4-mapped", false, true, false},
		{"::ffff:169.254.169.254", "metadata, v4-mapped", false, false, false},
		{"::ffff:8.8.8.8", "public, v4-mapped", true, true, true},
		{"::127.0.0.1", "loopback, v4-compatible", false, false, false},
		{"64:ff9b::7f00:1", "loopback by NAT64", false, true, false},
		{"64:ff9b::a9fe:a9fe", "metadata by NAT64", false, false, false},
		{"64:ff9b::808:808", "public by NAT64", true, true, true},
		{"64:ff9b:1:a9fe:a9:fe00::", "metadata by a local NAT64", false, false, false},
		{"2002:7f00:1::", "loopback by 6to4", false, true, false},
		{"2002:a9fe:a9fe::1", "metadata by 6to4", false, false, false},
		{"2002:a01:203::1", "private by 6to4, listed", false, true, true},
		{"2001:0:a9fe:a9fe::1", "Teredo", false, false, false},
		{"fe80::1%eth0", "link-local with a zone", false, false, false},
	} {
		a := netip.MustParseAddr(c.addr)
		for _, p := range []struct {
			name   string
			policy upstream.Policy
			want   bool
		}{{"none", open, c.open}, {"true", private, c.private}, {"list", some, c.cid}} {
			err := p.policy.Check(a)
			var blocked *upstream.BlockedError
			if (err == nil) != p.want || err != nil && !errors.As(err, &blocked) {
				t.Errorf("%s (%s) with UPSTREAM_ALLOW_PRIVATE %s: %v, want allowed %v", c.addr, c.why, p.name, err, p.want)
			}
		}
	}
	if open.Check(netip.Addr{}) == nil || private.Check(netip.Addr{}) == nil {
		t.Error("no address at all is allowed")
	}
}

func get(t *testing.T, rt http.RoundTripper, url string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := rt.RoundTrip(r)
	if err == nil {
		_ = resp.Body.Close()
	}
	return err
}

func TestTransports_GuardAtDial(t *testing.T) {
	var hits atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer s.Close()
	tr := upstream.NewTransports(upstream.TransportOptions{})
	defer tr.CloseIdle()
	name := strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
	mapped := strings.Replace(s.URL, "127.0.0.1", "[::ffff:127.0.0.1]", 1)
	// what the operator set by environment is the operator's own; its open connection must not carry a tenant's request
	if err := get(t, tr.Operator, s.URL); err != nil || hits.Load() != 1 {
		t.Fatalf("operator: %v", err)
	}
	for _, url := range []string{s.URL, name, mapped} {
		err := get(t, tr.Guarded, url)
		var blocked *upstream.BlockedError
		if !errors.As(err, &blocked) || hits.Load() != 1 {
			t.Errorf("%s: got %v after %d requests", url, err, hits.Load())
			continue
		}
		f := upstream.ClassifyError(err)
		if f.Class != upstream.Connection || !strings.Contains(f.Reason, "UPSTREAM_ALLOW_PRIVATE") || strings.Contains(f.Reason, "127.") {
			t.Errorf("%s: got %+v", url, f)
		}
	}
	allowed := upstream.NewTransports(upstream.TransportOptions{Policy: upstream.Policy{AllowPrivate: true}})
	defer allowed.CloseIdle()
	if err := get(t, allowed.Guarded, name); err != nil {
		t.Errorf("with UPSTREAM_ALLOW_PRIVATE: %v", err)
	}
}

func TestTransports_FollowNoRedirect(t *testing.T) {
	var hits atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		http.Redirect(w, r, "/other", http.StatusTemporaryRedirect)
	}))
	defer s.Close()
	tr := upstream.NewTransports(upstream.TransportOptions{Policy: upstream.Policy{AllowPrivate: true}})
	defer tr.CloseIdle()
	if err := get(t, tr.Guarded, s.URL); err != nil || hits.Load() != 1 {
		t.Errorf("got %v after %d requests", err, hits.Load())
	}
}

func TestTransports_ProxyIsTheOperatorsButJudgesWrittenAddresses(t *testing.T) {
	var asked atomic.Pointer[string]
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		asked.Store(&host)
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer proxy.Close()
	tr := upstream.NewTransports(upstream.TransportOptions{HTTPSProxy: proxy.URL, NoProxy: "direct.example"})
	defer tr.CloseIdle()
	_ = get(t, tr.Guarded, "https://api.example.com")
	if p := asked.Load(); p == nil || *p != "api.example.com:443" {
		t.Errorf("the proxy was asked for %v", p)
	}
	asked.Store(nil)
	for _, url := range []string{"https://169.254.169.254", "https://[::1]:8443", "https://10.0.0.1"} {
		err := get(t, tr.Guarded, url)
		var blocked *upstream.BlockedError
		if !errors.As(err, &blocked) || asked.Load() != nil {
			t.Errorf("%s: got %v", url, err)
		}
	}
}

// TestTransports_ProxysOwnAddressIsGuarded: the proxy's host and port were dialled without a look at the policy for whatever
// request named them, also for one that does not go by the proxy.
func TestTransports_ProxysOwnAddressIsGuarded(t *testing.T) {
	var hits atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer proxy.Close()
	at := strings.TrimPrefix(proxy.URL, "http://")
	name := strings.Replace(at, "127.0.0.1", "localhost", 1)
	for _, c := range []struct {
		why, proxy, noProxy, url string
		allowed                  bool
	}{
		{"plain http is not proxied", "http://" + at, "", "http://" + at + "/hook", false},
		{"by name", "http://" + name, "", "http://" + name + "/hook", false},
		{"an exception of the proxy", "http://" + name, "localhost", "https://" + name + "/hook", false},
		{"the operator allows private addresses", "http://" + at, "", "http://" + at + "/hook", true},
	} {
		tr := upstream.NewTransports(upstream.TransportOptions{Policy: upstream.Policy{AllowPrivate: c.allowed}, HTTPSProxy: c.proxy, NoProxy: c.noProxy})
		// a connection of the proxy's that is open must not be lent, either
		_ = get(t, tr.Guarded, "https://api.example.com")
		before := hits.Load()
		err := get(t, tr.Guarded, c.url)
		tr.CloseIdle()
		var blocked *upstream.BlockedError
		if c.allowed != (err == nil) || !c.allowed && (!errors.As(err, &blocked) || hits.Load() != before) {
			t.Errorf("%s: got %v after %d requests", c.why, err, hits.Load()-before)
		}
		if before == 0 {
			t.Errorf("%s: the proxy itself was not reached", c.why)
		}
	}
}
