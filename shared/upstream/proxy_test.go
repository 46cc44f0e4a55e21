package upstream

import (
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/http/httpproxy"
)

// sameAsTheirs holds the proxy for an address to what httpproxy says.
func sameAsTheirs(t *testing.T, address, no, target string) {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		return
	}
	want, err := (&httpproxy.Config{HTTPSProxy: address, NoProxy: no}).ProxyFunc()(u)
	if err != nil {
		t.Fatal(err)
	}
	var got *url.URL
	if p := newProxy(address, no); p != nil {
		got = p.of(u)
	}
	if (got == nil) != (want == nil) || got != nil && got.String() != want.String() {
		t.Errorf("proxy %q, without %q, to %s: %v, want %v", address, no, target, got, want)
	}
}

func TestProxy(t *testing.T) {
	for _, c := range []struct{ why, no, target, want string }{
		{"encrypted", "", "https://a.example/x", "p.example:3128"},
		{"not encrypted", "", "http://a.example/x", ""},
		{"the machine itself", "", "https://localhost:8443/", ""},
		{"its address", "", "https://127.3.2.1/", ""},
		{"in IPv6", "", "https://[::1]/", ""},
		{"everything is out", "b.example, * ", "https://a.example/", ""},
		{"the name", "a.example", "https://a.example/", ""},
		{"in capitals", "A.Example", "https://a.EXAMPLE/", ""},
		{"what is below it", "a.example", "https://b.a.example/", ""},
		{"what ends like it", "a.example", "https://ba.example/", "p.example:3128"},
		{"only what is below", ".a.example", "https://a.example/", "p.example:3128"},
		{"only what is below, with a star", "*.a.example", "https://b.a.example/", ""},
		{"at that port", "a.example:443", "https://a.example/", ""},
		{"at another port", "a.example:8443", "https://a.example/", "p.example:3128"},
		{"an address", "192.0.2.7", "https://192.0.2.7/", ""},
		{"an address at another port", "192.0.2.7:1", "https://192.0.2.7/", "p.example:3128"},
		{"a range", "192.0.2.0/24", "https://192.0.2.7/", ""},
		{"a range of IPv6", "2001:db8::/32", "https://[2001:db8::1]:9/", ""},
		{"an address within brackets", "[2001:db8::1]:443", "https://[2001:db8::1]/", ""},
		{"an address is below no name", "7", "https://192.0.2.7/", "p.example:3128"},
		{"what is no entry", ",  ,:80", "https://a.example/", "p.example:3128"},
	} {
		u, err := url.Parse(c.target)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if by := newProxy("p.example:3128", c.no).of(u); by != nil {
			got = by.Host
		}
		if got != c.want {
			t.Errorf("%s: by %q, want %q", c.why, got, c.want)
		}
		for _, address := range []string{"p.example:3128", "http://user:pass@p.example", "https://p.example/", "socks5://10.0.0.1:1080", ""} {
			sameAsTheirs(t, address, c.no, c.target)
		}
	}
}

// FuzzProxy: what the operator's variables and a tenant's address say means what it means elsewhere.
func FuzzProxy(f *testing.F) {
	for _, no := range []string{"", "*", "a.example,.b.example:443,*.c.example", "10.0.0.0/8,192.0.2.1:8443", "[::1]:443,2001:db8::/32", "::ffff:192.0.2.0/120"} {
		for _, target := range []string{"https://a.example/", "https://x.b.example:8443", "https://192.0.2.1", "https://[2001:db8::5]:443/v1"} {
			f.Add(no, target)
		}
	}
	f.Fuzz(func(t *testing.T, no, target string) {
		u, err := url.Parse(target)
		// names of other scripts are compared as they are written, zones are not, and what is no host is not dialled
		if err != nil || strings.ContainsFunc(u.Hostname()+no, func(r rune) bool { return r > 0x7e || r <= ' ' || strings.ContainsRune("[]%", r) }) {
			return
		}
		sameAsTheirs(t, "http://p.example:3128", no, target)
	})
}
