package upstream

import (
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// proxy tells which requests go by the operator's proxy. It decides as golang.org/x/net/http/httpproxy does, which brings the
// tables of international domain names into every function, some 150 KB; that package judges it in the tests.
type proxy struct {
	url *url.URL
	no  []bypass
}

// bypass is an entry of NO_PROXY.
type bypass struct {
	all  bool
	net  netip.Prefix
	name string // begins with a dot
	self bool   // the name itself, too, not only what is below it
	port string // empty: any
}

// newProxy reads addresses as the variables HTTPS_PROXY, which may lack the scheme, and NO_PROXY have them; nil: address is none.
// Entries of noProxy that cannot be read are none.
func newProxy(address, noProxy string) *proxy {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "" || u.Host == "" {
		if with, err2 := url.Parse("http://" + address); err2 == nil {
			u, err = with, nil
		}
	}
	if address == "" || err != nil {
		return nil
	}
	p := &proxy{url: u}
	for entry := range strings.SplitSeq(noProxy, ",") {
		if b, ok := readBypass(strings.ToLower(strings.TrimSpace(entry))); ok {
			p.no = append(p.no, b)
		}
	}
	return p
}

func readBypass(s string) (b bypass, ok bool) {
	if s == "*" {
		return bypass{all: true}, true
	}
	if b.net, ok = parsePrefix(s); ok {
		return b, true
	}
	host := s
	if h, port, err := net.SplitHostPort(s); err == nil {
		host, b.port = h, port
	}
	if a, err := netip.ParseAddr(host); err == nil && a.Zone() == "" {
		a = a.Unmap()
		b.net = netip.PrefixFrom(a, a.BitLen())
		return b, true
	}
	if host == "" {
		return b, false
	}
	if strings.HasPrefix(host, "*.") {
		host = host[1:]
	}
	if b.self = !strings.HasPrefix(host, "."); b.self {
		host = "." + host
	}
	b.name = host
	return b, true
}

// parsePrefix reads a range; one of IPv4 written as IPv6 is that of IPv4.
func parsePrefix(s string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, false
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), true
}

// of is the proxy for an address; nil: none. Only what is encrypted goes by it, and nothing to the machine itself.
func (p *proxy) of(u *url.URL) *url.URL {
	if u.Scheme != "https" {
		return nil
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if port == "" {
		port = "443"
	}
	a, err := netip.ParseAddr(host)
	if a = a.Unmap(); host == "localhost" || err == nil && a.IsLoopback() {
		return nil
	}
	for i := range p.no {
		if b := &p.no[i]; (b.port == "" || b.port == port) && b.holds(host, a) {
			return nil
		}
	}
	return p.url
}

func (b *bypass) holds(host string, a netip.Addr) bool {
	switch {
	case b.all:
		return true
	case b.net.IsValid():
		return a.IsValid() && b.net.Contains(a)
	}
	return !a.IsValid() && (strings.HasSuffix(host, b.name) || b.self && host == b.name[1:])
}
