package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// Policy says which addresses that a tenant entered may be dialled.
type Policy struct {
	AllowPrivate bool           // loopback and private ranges
	Allow        []netip.Prefix // these ranges
}

// BlockedError is a dial that the policy forbids.
type BlockedError struct{ Addr netip.Addr }

// Error implements error.
func (e *BlockedError) Error() string {
	return "address is not public; the operator can allow it with UPSTREAM_ALLOW_PRIVATE"
}

var (
	metadata = []netip.Addr{ // of clouds, outside the link-local range
		netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("192.0.0.192"),
		netip.MustParseAddr("168.63.129.16"), netip.MustParseAddr("fd20:ce::254"),
	}
	reserved = []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
		netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("::/96"),
		netip.MustParsePrefix("fec0::/10"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2001::/32"),
	}
	embedding = []netip.Prefix{ // IPv6 ranges that carry an IPv4 address, which is judged instead
		netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("2002::/16"),
	}
)

// Check returns a *BlockedError when the address may not be dialled.
func (p Policy) Check(a netip.Addr) error {
	a = a.Unmap().WithZone("")
	blocked := &BlockedError{Addr: a}
	for _, m := range metadata {
		if a == m {
			return blocked
		}
	}
	for i, e := range embedding {
		if e.Contains(a) {
			b := a.As16()
			v4 := netip.AddrFrom4([4]byte(b[12:16]))
			if i == 1 {
				v4 = netip.AddrFrom4([4]byte(b[2:6]))
			}
			return p.Check(v4)
		}
	}
	if a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsInterfaceLocalMulticast() || !a.IsValid() {
		return blocked
	}
	for _, allow := range p.Allow {
		if allow.Contains(a) {
			return nil
		}
	}
	if a.IsLoopback() || a.IsPrivate() || a.IsUnspecified() {
		if p.AllowPrivate && !a.IsUnspecified() {
			return nil
		}
		return blocked
	}
	for _, r := range reserved {
		if r.Contains(a) {
			return blocked
		}
	}
	return nil
}

// Transports are the two ways out: Operator for addresses the operator set by environment, Guarded for those a tenant
// entered. They share no connection, so that a guarded request never rides on an unguarded one.
type Transports struct {
	Operator http.RoundTripper
	Guarded  http.RoundTripper
}

// TransportOptions configures NewTransports.
type TransportOptions struct {
	Policy     Policy
	HTTPSProxy string // URL of a proxy for https upstreams, set by the operator
	NoProxy    string
}

// NewTransports makes both.
func NewTransports(o TransportOptions) *Transports {
	return &Transports{Operator: newTransport(nil, o), Guarded: newTransport(&o.Policy, o)}
}

// CloseIdle closes idle connections of both.
func (t *Transports) CloseIdle() {
	for _, rt := range []http.RoundTripper{t.Operator, t.Guarded} {
		if c, ok := rt.(interface{ CloseIdleConnections() }); ok {
			c.CloseIdleConnections()
		}
	}
}

// newTransport makes one way out. A request that goes by the proxy and one that does not share no dialer: the proxy is the
// operator's and may have any address, and a tenant's request to that same address must be judged like any other.
func newTransport(guard *Policy, o TransportOptions) http.RoundTripper {
	free := dialer()
	own := free
	if guard != nil {
		own = dialer()
		// after resolution and for each address tried: a name cannot be changed in between
		own.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("address %q: %w", address, err)
			}
			return guard.Check(ap.Addr())
		}
	}
	direct := transportBy(own)
	by := newProxy(o.HTTPSProxy, o.NoProxy)
	if by == nil {
		return direct
	}
	proxied := transportBy(free)
	proxied.Proxy = func(r *http.Request) (*url.URL, error) {
		u := by.of(r.URL)
		if u == nil {
			return nil, errNoProxy
		}
		if guard != nil {
			// the proxy resolves names itself, so only what is written as an address can be judged here
			if a, err := netip.ParseAddr(strings.Trim(r.URL.Hostname(), "[]")); err == nil {
				if err := guard.Check(a); err != nil {
					return nil, err
				}
			}
		}
		return u, nil
	}
	return &split{by: by, direct: direct, proxied: proxied}
}

// errNoProxy keeps a request that the proxy is not for from the dialer that nothing guards.
var errNoProxy = errors.New("the proxy is not for this address")

// split sends what the proxy is for by it, and all else directly.
type split struct {
	by              *proxy
	direct, proxied *http.Transport
}

// RoundTrip implements http.RoundTripper.
func (s *split) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.by.of(r.URL) == nil {
		return s.direct.RoundTrip(r)
	}
	return s.proxied.RoundTrip(r)
}

// CloseIdleConnections lets http.Client.CloseIdleConnections and Transports.CloseIdle reach both.
func (s *split) CloseIdleConnections() {
	s.direct.CloseIdleConnections()
	s.proxied.CloseIdleConnections()
}

func dialer() *net.Dialer {
	return &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
}

func transportBy(d *net.Dialer) *http.Transport {
	return &http.Transport{
		DialContext: d.DialContext,
		// a connection that died without a word is noticed by its pings, not by the silence of the next request on it
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		TLSHandshakeTimeout:    10 * time.Second,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    256,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 1 << 20,
		WriteBufferSize:        2 << 10, // holds a head with a small body; larger bodies pass it by, open streams pay for it
	}
}
